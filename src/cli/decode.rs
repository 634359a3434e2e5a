//! `rdbtool decode`

use super::common::{Filters, Output, Run, Sources, Transforms};
use super::compat::words;
use super::exit::{Outcome, tell};
use clap::ValueEnum;
use rdbtool::Decode;
use rdbtool::encode::json::Format;
use rdbtool::loss::Losses;

/// Write the keys and values of RDB files as JSON, one line a key; of append-only files, the commands too
///
/// A byte string is a JSON string when it is valid UTF-8 and {"base64":"..."} when it is not, so nothing is ever lost. Keys come in the
/// order of the file. The checksum of the file is verified on the way, at the end.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,

    /// What the output looks like
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = FormatArg::Ndjson)]
    format: FormatArg,

    /// Add what the file knows of each key beside its data, and lines for its aux fields
    ///
    /// A last field "meta" with encoding, rdb_type, rdb_bytes, elements, slot and offset; lines {"aux":{...}}
    /// in front. More columns with --format csv; nothing with --format keys.
    #[arg(long)]
    meta: bool,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    filters: Filters,

    #[command(flatten)]
    transforms: Transforms,

    #[command(flatten)]
    run: Run,
}

const EXAMPLES: &str = r#"Examples:
  rdbtool decode dump.rdb > out.json
  rdbtool decode --key 'session:*' --expires none dump.rdb | head
  rdbtool decode --type hash --format csv -o hashes.csv dump.rdb
  rdbtool decode --format keys --min-size 1M dump.rdb
  rdbtool decode appendonlydir | jq -c 'select(.command) | .command'
  ssh backup cat dump.rdb.zst | rdbtool decode - | jq -r .key

Exit status:
  0  done
  1  failed: what was wrong is on standard error, and everything before it has been written
  2  wrong usage
  3  done, but something was left out, and named"#;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatArg {
    /// One JSON object a line
    Ndjson,
    /// One JSON array of the same objects
    Json,
    /// Only the keys, a JSON string (or {"base64":...}) a line
    Keys,
    /// Comma-separated values, with a header line
    Csv,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let decode = Decode {
        format: match args.format {
            FormatArg::Ndjson => Format::Ndjson,
            FormatArg::Json => Format::Json,
            FormatArg::Keys => Format::Keys,
            FormatArg::Csv => Format::Csv,
        },
        meta: args.meta,
        filter: args.filters.build()?,
        transform: args.transforms.build(),
        threads: args.run.threads(),
        ignore_checksum: args.run.no_checksum,
        on_error: args.run.on_error(),
        limit: args.filters.limit,
        log: args.filters.logs.options(),
    };
    let mut sources = args.sources.open()?;
    let mut output = args.output.open()?;
    let names: Vec<String> = sources.iter().map(|s| s.name().to_owned()).collect();
    let bar = args.run.bar(args.output.is_stdout());
    let result = decode.run(&mut sources, bar.progress(), output.sink());
    let elapsed = bar.finish();
    match result {
        Ok(summaries) => {
            output.commit()?;
            let outcome = args.run.report(&names, &summaries, elapsed);
            let mut losses = Losses::default();
            for s in summaries {
                losses.merge(s.losses);
            }
            for line in words(&losses) {
                tell(&format!("not kept: {line}"));
            }
            Ok(match outcome {
                Outcome::Done if !losses.is_empty() => Outcome::Incomplete,
                other => other,
            })
        }
        Err(e) => Err(output.keep(e)),
    }
}
