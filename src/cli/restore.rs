//! `rdbtool restore`

use super::common::{Filters, Output, Run, Sources, Transforms};
use super::compat::Compat;
use super::exit::Outcome;
use rdbtool::Dump;
use rdbtool::dump::Format;
use rdbtool::filter::Size;

/// Write the data as RESTORE commands, for a pipe into a server
///
/// Values are copied as they are serialized, so this is the fastest way into a server. The commands carry the lowest
/// version that each value needs: most go into servers much older than the file. For a server that is older than that, say which
/// with --for.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,

    /// Write values larger than SIZE as ordinary commands (as 100k, 64M)
    ///
    /// A server takes nothing larger than its proto-max-bulk-len (512M unless configured) at once, and stands still while it loads it.
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    big_key: Size,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    compat: Compat,

    #[command(flatten)]
    filters: Filters,

    #[command(flatten)]
    transforms: Transforms,

    #[command(flatten)]
    run: Run,
}

const EXAMPLES: &str = r#"Examples:
  rdbtool restore dump.rdb | redis-cli --pipe
  rdbtool restore --on-conflict replace --key 'user:*' dump.rdb | redis-cli -h new --pipe
  rdbtool restore --for redis-3.2 dump.rdb | redis-cli --pipe

Exit status:
  0  done
  1  failed: what was wrong is on standard error
  2  wrong usage
  3  done, but something was left out or could not be kept, and named"#;

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let dump = Dump {
        format: Format::Restore {
            big_key: args.big_key.0,
        },
        release: args.compat.release,
        filter: args.filters.build()?,
        transform: args.transforms.build(),
        on_conflict: args.compat.on_conflict(),
        threads: args.run.threads(),
        ignore_checksum: args.run.no_checksum,
        on_error: args.run.on_error(),
        limit: args.filters.limit,
    };
    args.output.refuse_terminal("RESTORE commands")?;
    args.compat.foresee(&dump, &args.sources)?;
    let mut sources = args.sources.open()?;
    let mut output = args.output.open()?;
    let names: Vec<String> = sources.iter().map(|s| s.name().to_owned()).collect();
    let bar = args.run.bar(args.output.is_stdout());
    let result = dump.run(&mut sources, bar.progress(), output.sink());
    let elapsed = bar.finish();
    match result {
        Ok(dumped) => {
            output.commit()?;
            args.compat.report(&args.run, &names, &dumped, elapsed)
        }
        Err(e) => Err(output.keep(e)),
    }
}
