//! `rdbtool completions` and `rdbtool man`: from the same definitions as `--help`.

use super::Cli;
use super::exit::Outcome;
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::Write;
use std::path::PathBuf;

/// Write completions for a shell to standard output
///
/// Example: rdbtool completions bash > /etc/bash_completion.d/rdbtool
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

pub(crate) fn completions(args: &Completions) -> anyhow::Result<Outcome> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rdbtool", &mut text);
    std::io::stdout().write_all(&text)?;
    Ok(Outcome::Done)
}

/// Write the man page to standard output, or one page a subcommand into a directory
///
/// Example: rdbtool man | man -l -
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Write rdbtool.1, rdbtool-decode.1 and so on into DIR
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn man(args: &Man) -> anyhow::Result<Outcome> {
    match &args.output {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            clap_mangen::generate_to(Cli::command(), dir)?;
        }
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text)?;
            std::io::stdout().write_all(&text)?;
        }
    }
    Ok(Outcome::Done)
}
