//! `rdbtool check`

use super::common::{Run, Sources};
use super::exit::{Outcome, tell};
use clap::ValueEnum;
use rdbtool::verify::{Check, Report, Verdict};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Check that RDB files are whole: every value to its last element, and the checksum
///
/// Says for each file what is in it, or where and how it is broken. Also finds what can be read but a server would stumble over:
/// members that are there twice, sorted sets that are not sorted, streams that count wrongly.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,

    /// What the output looks like
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = FormatArg::Text)]
    format: FormatArg,

    #[command(flatten)]
    run: Run,
}

const EXAMPLES: &str = r#"Examples:
  rdbtool check backup/*.rdb.gz
  ssh backup cat dump.rdb.zst | rdbtool check -
  rdbtool check --on-error skip dump.rdb
  rdbtool check --format json dump.rdb | jq .verdict

Exit status:
  0  every file is whole
  1  a file is broken, or a server would stumble over something in it
  2  wrong usage
  3  with --on-error skip: values are broken, all else is whole"#;

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
    let sources = args.sources.each()?;
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
        outcome = match (report.verdict(), outcome) {
            (Verdict::Whole, so_far) => so_far,
            (Verdict::Incomplete, Outcome::Done) => Outcome::Incomplete,
            (Verdict::Incomplete, so_far) => so_far,
            (Verdict::Problems | Verdict::Broken, _) => Outcome::Failed,
        };
    }
    bar.finish();
    Ok(outcome)
}

/// Without a summary, what is wrong still has to be said.
fn complain(report: &Report) {
    let text = report.complaints();
    if !text.is_empty() {
        tell(&format!("{}:\n{}", report.name, text.trim_end()));
    }
}
