//! `rdbtool check`

use super::common::{Run, Sources, count, hint};
use super::exit::{Outcome, Usage, tell};
use clap::ValueEnum;
use rdbtool::sink::file::NewFile;
use rdbtool::verify::{Check, Report, Verdict, write_good};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Check that RDB and append-only files are whole: every value to its last element, the checksum, every command
///
/// Says for each file what is in it, or where and how it is broken; of an append-only file, up to where it is good. Also finds what can be read
/// but a server would stumble over: members that are there twice, sorted sets that are not sorted, streams that count wrongly.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,

    /// What the output looks like
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = FormatArg::Text)]
    format: FormatArg,

    /// Write the part of an append-only file that is good to FILE
    ///
    /// Up to the last whole command that is in no open transaction, as redis-check-aof --fix cuts it. The files of a directory become one.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace FILE if it exists
    #[arg(long, requires = "output")]
    force: bool,

    #[command(flatten)]
    run: Run,
}

const EXAMPLES: &str = r#"Examples:
  rdbtool check backup/*.rdb.gz
  ssh backup cat dump.rdb.zst | rdbtool check -
  rdbtool check --on-error skip dump.rdb
  rdbtool check --format json dump.rdb | jq .verdict
  rdbtool check -o repaired.aof appendonly.aof

Exit status:
  0  every file is whole
  1  a file is broken, or a server would stumble over something in it
  2  wrong usage
  3  with --on-error skip: values are broken, all else is whole; with -o: the good part was written, and is not all"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// Some lines a file
    Text,
    /// One JSON object a file, each on a line
    Json,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let check = Check {
        threads: args.run.threads(),
        ignore_checksum: args.run.no_checksum,
        on_error: args.run.on_error(),
        now_ms: now.as_millis() as i64,
    };
    if args.output.is_some() {
        if args.sources.count() > 1 {
            return Err(Usage("-o takes one source".to_owned()).into());
        }
        args.sources.refuse_once("-o reads its source twice")?;
    }
    let sources = args.sources.each()?;
    let mut ends = Vec::new();
    let bar = args.run.bar(true);
    let mut stdout = std::io::stdout().lock();
    let mut outcome = Outcome::Done;
    for (name, source) in sources {
        // One that cannot be opened says nothing of the others.
        let report = match source? {
            Ok(mut source) => check.run(&mut source, bar.progress()),
            Err(e) => Report::unread(name, e),
        };
        match args.format {
            FormatArg::Json => writeln!(stdout, "{}", report.json())?,
            FormatArg::Text if !args.run.quiet => stdout.write_all(report.text().as_bytes())?,
            FormatArg::Text => complain(&report),
        }
        stdout.flush()?;
        if let Some(e) = &report.error {
            tell(&e.to_string());
        }
        if args.output.is_some() {
            ends.push((report.error.is_none(), report.good()));
        }
        outcome = match (report.verdict(), outcome) {
            (Verdict::Whole, so_far) => so_far,
            (Verdict::Incomplete, Outcome::Done) => Outcome::Incomplete,
            (Verdict::Incomplete, so_far) => so_far,
            (Verdict::Problems | Verdict::Broken, _) => Outcome::Failed,
        };
    }
    bar.finish();
    match &args.output {
        Some(path) => write(&args, path, &ends).map(|all| match outcome {
            Outcome::Failed if !all => Outcome::Incomplete,
            other => other,
        }),
        None => Ok(outcome),
    }
}

/// Writes what is good of a log, whose files are whole, or good up to somewhere. Gives whether that was all of it.
fn write(args: &Args, path: &Path, ends: &[(bool, Option<u64>)]) -> anyhow::Result<bool> {
    let sources = args.sources.each()?;
    let mut file = NewFile::create(path, args.force).map_err(hint)?;
    let mut bytes = 0;
    for ((name, source), &(is_whole, good)) in sources.zip(ends) {
        if !is_whole && good.is_none() {
            anyhow::bail!(
                "{name}: broken before the commands of a log, so no part of it is good by itself"
            );
        }
        bytes += write_good(&mut source??, good, &mut file).map_err(hint)?;
        if !is_whole {
            file.commit()?;
            let what = "good; what stands behind them in the source was left out";
            tell(&format!(
                "{}: {}, {what}",
                path.display(),
                count(bytes, "byte")
            ));
            return Ok(false);
        }
    }
    file.commit()?;
    Ok(true)
}

/// Without a summary, what is wrong still has to be said.
fn complain(report: &Report) {
    let text = report.complaints();
    if !text.is_empty() {
        tell(&format!("{}:\n{}", report.name, text.trim_end()));
    }
}
