//! `rdbtool dump`

use super::common::{Filters, Output, Run, Sources, Transforms};
use super::compat::Compat;
use super::exit::Outcome;
use clap::ValueEnum;
use rdbtool::Dump;
use rdbtool::dump::{Format, Live};

/// Write the data as an append-only file of ordinary commands, or as a new RDB file
///
/// The commands are those that the server's own rewrite would write: loading or piping them gives the same data. An RDB file is made of one
/// or several sources, filtered, changed or merged; values are copied as bytes, unless --for wants another type of them.
/// The commands of append-only files are written as they stand, behind those that make what they begin with.
/// A URL as source makes a backup of a live server, which is asked for a copy as a replica would.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,

    /// What comes out
    ///
    /// Default: aof; rdb if the name of -o ends in .rdb.
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<FormatArg>,

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
  rdbtool dump dump.rdb > appendonly.aof
  rdbtool dump dump.rdb | redis-cli --pipe
  rdbtool dump --format rdb --for redis-6.2 -o old.rdb new.rdb
  rdbtool dump a.rdb b.rdb --on-conflict skip -o merged.rdb
  rdbtool dump --key 'user:*' --to-db 0 -o users.rdb dump.rdb
  rdbtool dump --until 2027-01-31T12:00:00Z -o appendonly.aof appendonlydir
  rdbtool dump redis://localhost:6379 -o backup.rdb

Exit status:
  0  done
  1  failed: what was wrong is on standard error
  2  wrong usage
  3  done, but something was left out or could not be kept, and named"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// An append-only file: commands
    Aof,
    /// An RDB file
    Rdb,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let format = match args.format {
        Some(FormatArg::Aof) => Format::Aof,
        Some(FormatArg::Rdb) => Format::Rdb,
        None if args.output.ends_in("rdb") => Format::Rdb,
        None => Format::Aof,
    };
    let dump = Dump {
        format,
        release: args.compat.release,
        filter: args.filters.build()?,
        transform: args.transforms.build(),
        on_conflict: args.compat.on_conflict(),
        threads: args.run.threads(),
        ignore_checksum: args.run.no_checksum,
        on_error: args.run.on_error(),
        limit: args.filters.limit,
        log: args.filters.logs.options(),
        live: Live::No,
    };
    if format == Format::Rdb {
        args.output.refuse_terminal("an RDB file")?;
    }
    args.compat
        .write(&dump, &args.sources, &args.output, &args.run)
}
