//! Arguments that subcommands share: sources, filters, how to run, where the output goes.

use super::bar::{Bar, When};
use super::exit::{Outcome, Usage, tell};
use anyhow::Context;
use clap::{Args, ValueEnum};
use rdbtool::filter::{DbSet, Expired, Expires, Filter, Glob, Size, SlotSet, TypeSet, parse_regex};
use rdbtool::pipeline::{OnError, Summary};
use rdbtool::sink::file::NewFile;
use rdbtool::sink::{Plain, Sink};
use rdbtool::source::Source;
use rdbtool::{ErrorKind, RdbError};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is read.
#[derive(Debug, Args)]
pub(crate) struct Sources {
    /// RDB files, plain or compressed with gzip or zstd; `-` is standard input
    ///
    /// What a file is is told by its content, not by its name. Several are read one after the other.
    #[arg(value_name = "SOURCE", required = true)]
    paths: Vec<PathBuf>,
}

impl Sources {
    /// Opens all of them, so that a wrong name is told before any work is done.
    pub(crate) fn open(&self) -> anyhow::Result<Vec<Source>> {
        let stdin = self.paths.iter().filter(|p| p.as_os_str() == "-").count();
        if stdin > 1 {
            return Err(Usage("standard input (-) can be read only once".into()).into());
        }
        self.paths
            .iter()
            .map(|p| Source::open(p).map_err(|e| hint(e).into()))
            .collect()
    }
}

/// Which keys are wanted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters (all must hold)")]
pub(crate) struct Filters {
    /// Keep keys of these databases
    ///
    /// Numbers and ranges: --db 0,3-5. Default: all. A database that is left out is passed over unread.
    #[arg(long, value_name = "LIST")]
    db: Option<DbSet>,

    /// Keep keys that match GLOB (repeatable; any match keeps the key)
    ///
    /// The server's own patterns, as KEYS and SCAN MATCH have them: * ? [abc] [^a] [a-z] and \ to take the next character as it is.
    /// Example: --key 'user:*'
    #[arg(long, value_name = "GLOB")]
    key: Vec<Glob>,

    /// Drop keys that match GLOB (repeatable; any match drops the key)
    #[arg(long, value_name = "GLOB")]
    not_key: Vec<Glob>,

    /// Keep keys in which RE matches (repeatable; any match of --key or --key-regex keeps the key)
    ///
    /// A regular expression of the Rust regex crate, matched anywhere in the key unless anchored. Example: --key-regex '^user:[0-9]+$'
    #[arg(long, value_name = "RE", value_parser = parse_regex)]
    key_regex: Vec<regex::bytes::Regex>,

    /// Keep keys of these types: string, list, set, zset, hash, stream, module, array
    #[arg(long = "type", value_name = "LIST")]
    types: Option<TypeSet>,

    /// Keep keys of these cluster slots, as 0-5460,7000
    #[arg(long, value_name = "LIST")]
    slot: Option<SlotSet>,

    /// Keep keys by their expiry: any, none, before=T, after=T (repeatable; all must hold)
    ///
    /// T is milliseconds or seconds since 1970, a date (2027-01-31), a time (2027-01-31T12:00:00Z), now, now+2h or now-7d.
    /// Example: what expires within the next day: --expires after=now --expires before=now+1d
    #[arg(long, value_name = "WHEN")]
    expires: Vec<Expires>,

    /// What to do with keys that had expired by now: keep or drop
    ///
    /// A server that loads the file drops them. Fields of hashes are not affected.
    #[arg(long, value_name = "WHAT", default_value = "keep")]
    expired: Expired,

    /// Keep keys whose value takes at least SIZE bytes in the file (as 100, 4k, 1M)
    #[arg(long, value_name = "SIZE")]
    min_size: Option<Size>,

    /// Keep keys whose value takes at most SIZE bytes in the file (as 100, 4k, 1M)
    #[arg(long, value_name = "SIZE")]
    max_size: Option<Size>,

    /// Stop after N keys
    ///
    /// One thread works then, so that exactly the first N keys come out. The checksum is not verified if the end is not reached.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

impl Filters {
    /// The filter they make.
    pub(crate) fn build(&self) -> anyhow::Result<Filter> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let options = rdbtool::filter::Options {
            db: self.db.clone(),
            key: self.key.clone(),
            key_regex: self.key_regex.clone(),
            not_key: self.not_key.clone(),
            types: self.types,
            slot: self.slot.clone(),
            expires: self.expires.clone(),
            expired: self.expired,
            min_size: self.min_size,
            max_size: self.max_size,
        };
        Filter::new(options, now.as_millis() as i64).map_err(|e| Usage(e).into())
    }
}

/// What is done with a broken value.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnErrorArg {
    /// Stop there; everything before it has been written
    Stop,
    /// Leave the value out if the file goes on behind it, count it, and end with status 3
    Skip,
}

/// How to run.
#[derive(Debug, Args)]
#[command(next_help_heading = "How to run")]
pub(crate) struct Run {
    /// How many threads work
    ///
    /// Default: as many as there are cores. The output is the same for any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Do not verify the checksum at the end of the file
    #[arg(long)]
    pub(crate) no_checksum: bool,

    /// What to do with a value whose own bytes are broken
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnErrorArg::Stop)]
    on_error: OnErrorArg,

    /// When to show progress on standard error; auto: when it is a terminal; json: a line a second
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    progress: When,

    /// No progress and no summary, only errors
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Tell more: each source as it is done
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
}

impl Run {
    pub(crate) fn threads(&self) -> usize {
        self.threads.unwrap_or(0).into()
    }

    pub(crate) fn on_error(&self) -> OnError {
        match self.on_error {
            OnErrorArg::Stop => OnError::Stop,
            OnErrorArg::Skip => OnError::Skip,
        }
    }

    /// Begins to show progress. `stdout` says that results go to standard output: not over a bar on the same terminal.
    pub(crate) fn bar(&self, stdout: bool) -> Bar {
        let shared = stdout && std::io::stdout().is_terminal();
        Bar::new(
            if self.quiet {
                When::Never
            } else {
                self.progress
            },
            shared,
        )
    }

    /// Tells what has been seen, and what was left out.
    pub(crate) fn report(
        &self,
        names: &[String],
        summaries: &[Summary],
        elapsed: Duration,
    ) -> Outcome {
        let skipped: u64 = summaries.iter().map(|s| s.skipped).sum();
        for (name, s) in names.iter().zip(summaries) {
            for e in &s.skipped_because {
                tell(&format!("{name}: left out: {e}"));
            }
            if self.quiet {
                continue;
            }
            if let Some(b) = s.trailing {
                tell(&format!(
                    "{name}: bytes follow the end of the RDB data and were not read{}",
                    match b {
                        b'*' | b'#' => ": commands, as in an append-only file with an RDB preamble",
                        _ => "",
                    }
                ));
            }
            if self.verbose || (summaries.len() == 1 && names.len() == 1) {
                tell(&format!(
                    "{name}: {}",
                    told(s.keys, s.bytes, elapsed, summaries.len() == 1)
                ));
            }
        }
        if !self.quiet && summaries.len() > 1 {
            let keys = summaries.iter().map(|s| s.keys).sum();
            let bytes = summaries.iter().map(|s| s.bytes).sum();
            tell(&format!(
                "{} sources: {}",
                summaries.len(),
                told(keys, bytes, elapsed, true)
            ));
        }
        if skipped > 0 {
            tell(&format!(
                "{} left out because broken",
                count(skipped, "value")
            ));
            return Outcome::Incomplete;
        }
        Outcome::Done
    }
}

/// Keys, bytes and how long it took.
fn told(keys: u64, bytes: u64, elapsed: Duration, timed: bool) -> String {
    let mut text = format!("{}, {}", count(keys, "key"), indicatif::BinaryBytes(bytes));
    if timed {
        let rate = bytes as f64 / elapsed.as_secs_f64().max(1e-9);
        text += &format!(
            " in {:.2} s ({}/s)",
            elapsed.as_secs_f64(),
            indicatif::BinaryBytes(rate as u64)
        );
    }
    text
}

/// A number of things, in words.
pub(crate) fn count(n: u64, what: &str) -> String {
    format!(
        "{} {what}{}",
        indicatif::HumanCount(n),
        if n == 1 { "" } else { "s" }
    )
}

/// Where the output goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// Write to FILE instead of standard output
    ///
    /// Written beside it and renamed when whole, so that FILE is never half done. If the source turns out to be damaged, what was
    /// decoded up to there is kept under the provisional name, which is told.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace FILE if it exists
    #[arg(long, requires = "output")]
    force: bool,
}

impl Output {
    pub(crate) fn is_stdout(&self) -> bool {
        self.output.as_ref().is_none_or(|p| p.as_os_str() == "-")
    }

    /// Opens it.
    pub(crate) fn open(&self) -> anyhow::Result<OpenOutput> {
        match &self.output {
            Some(path) if path.as_os_str() != "-" => NewFile::create(path, self.force)
                .map(OpenOutput::File)
                .map_err(|e| hint(e).into()),
            _ => OpenOutput::stdout(),
        }
    }
}

/// An opened output.
#[derive(Debug)]
pub(crate) enum OpenOutput {
    Stdout(Plain<std::fs::File>),
    File(NewFile),
}

impl OpenOutput {
    /// Standard output as a file, without the line buffer that std puts before it.
    fn stdout() -> anyhow::Result<Self> {
        use std::os::fd::AsFd;
        let fd = std::io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .context("cannot write to standard output")?;
        Ok(OpenOutput::Stdout(Plain(fd.into())))
    }

    pub(crate) fn sink(&mut self) -> &mut dyn Sink {
        match self {
            OpenOutput::Stdout(s) => s,
            OpenOutput::File(f) => f,
        }
    }

    /// Puts the file in its place, after a run that went well.
    pub(crate) fn commit(self) -> rdbtool::Result<()> {
        match self {
            OpenOutput::Stdout(_) => Ok(()),
            OpenOutput::File(f) => f.commit(),
        }
    }

    /// After a run that did not: keeps what stands before the damage, and tells where.
    pub(crate) fn keep(self, e: RdbError) -> anyhow::Error {
        let kept = match self {
            OpenOutput::File(f) if e.kind() != ErrorKind::Io => f.keep_partial(),
            _ => None,
        };
        match kept {
            Some(path) => anyhow::anyhow!(
                "{}\nhint: what stands before the damage is in {}",
                hint(e),
                path.display()
            ),
            None => hint(e).into(),
        }
    }
}

/// Adds what to do about an error, where that is known.
pub(crate) fn hint(e: RdbError) -> anyhow::Error {
    let hint = match (e.kind(), e.io_error().map(std::io::Error::kind)) {
        (_, Some(std::io::ErrorKind::StorageFull)) => {
            "make room, or write to another disk; nothing was left behind"
        }
        (ErrorKind::Checksum, _) => {
            "--no-checksum reads it all the same; `rdbtool check` tells whether every value can still be read"
        }
        _ => return e.into(),
    };
    Hinted { error: e, hint }.into()
}

/// An error and what to do about it.
#[derive(Debug)]
struct Hinted {
    error: RdbError,
    hint: &'static str,
}

impl std::fmt::Display for Hinted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nhint: {}", self.error, self.hint)
    }
}

impl std::error::Error for Hinted {}
