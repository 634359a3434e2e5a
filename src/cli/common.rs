//! Arguments that subcommands share: sources, filters, how to run, where the output goes.

use super::bar::{Bar, When};
use super::connect::{Connect, endpoint};
use super::exit::{Outcome, Usage, tell};
use anyhow::Context;
use clap::{Args, ValueEnum};
use rdbtool::aof::Tail;
use rdbtool::filter::{
    DbMap, DbSet, Expired, Expires, Filter, Glob, Moment, Size, SlotSet, Transform, Ttl, TypeSet,
    parse_regex,
};
use rdbtool::net::url::is_url;
use rdbtool::pipeline::{OnError, Summary};
use rdbtool::sink::Sink;
use rdbtool::sink::file::NewFile;
use rdbtool::source::Source;
use rdbtool::{ErrorKind, RdbError};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is read.
#[derive(Debug, Args)]
pub(crate) struct Sources {
    /// RDB files, append-only files or directories, NDJSON from decode, compressed or not; `-` is standard input; URLs of live servers
    ///
    /// Told apart by content, not by name; gzip and zstd are unpacked. Several are read one after the other, into one output. An append-only
    /// directory is named by its path, its manifest's, or that of the directory it is in. A live server (redis://host:6379) is asked
    /// for a copy of its data as a replica would ask, and needs the right to: PSYNC and REPLCONF.
    #[arg(value_name = "SOURCE", required = true)]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    connect: Connect,
}

impl Sources {
    /// Opens all of them, so that a wrong name is told before any work is done.
    pub(crate) fn open(&self) -> anyhow::Result<Vec<Source>> {
        self.each()?.map(|(_, s)| s?.map_err(hint)).collect()
    }

    /// How many there are, each directory counted as one.
    pub(crate) fn count(&self) -> usize {
        self.paths.len()
    }

    /// Opens one after the other, each with its name, where one that cannot be opened does not keep the others from being read.
    pub(crate) fn each(
        &self,
    ) -> anyhow::Result<impl Iterator<Item = (String, anyhow::Result<rdbtool::Result<Source>>)> + '_>
    {
        let stdin = self.paths.iter().filter(|p| p.as_os_str() == "-").count();
        if stdin > 1 {
            return Err(Usage("standard input (-) can be read only once".into()).into());
        }
        Ok(self.paths.iter().flat_map(|p| match url(p) {
            Some(url) => vec![match endpoint(url) {
                Ok(e) => (e.to_string(), self.connect.source(&e)),
                Err(e) => ("a URL".to_owned(), Err(e)),
            }],
            None => match Source::open_all(p) {
                Ok(sources) => sources
                    .into_iter()
                    .map(|s| (s.name().to_owned(), Ok(Ok(s))))
                    .collect(),
                Err(e) => vec![(p.display().to_string(), Ok(Err(e)))],
            },
        }))
    }

    /// How to speak to live servers.
    pub(crate) fn connect(&self) -> &Connect {
        &self.connect
    }

    /// Fails if one of them may give something else when it is read again.
    pub(crate) fn refuse_once(&self, why: &str) -> anyhow::Result<()> {
        for p in &self.paths {
            if url(p).is_some()
                || !p.metadata().is_ok_and(|m| m.is_file() || m.is_dir()) && p.exists()
                || p.as_os_str() == "-"
            {
                let name = match (url(p), p.as_os_str() == "-") {
                    (Some(_), _) => "a live server".to_owned(),
                    (None, true) => "standard input".to_owned(),
                    (None, false) => p.display().to_string(),
                };
                let text = format!("{why}, which {name} cannot be: put it into a file first");
                return Err(Usage(text).into());
            }
        }
        Ok(())
    }
}

/// The path of a source as a URL, if it is one.
fn url(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| is_url(text))
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

    /// Keep keys of these types: string, list, set, zset, hash, stream, module, array, gcra
    #[arg(long = "type", value_name = "LIST")]
    types: Option<TypeSet>,

    /// Keep keys of these cluster slots, as 0-5460,7000
    ///
    /// The slot is that of the key's name, whether or not the file comes from a cluster.
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
    ///
    /// What is counted is the value as serialized, compressed if it is: "rdb_bytes" of --meta. k, M, G and T are powers of 1024.
    #[arg(long, value_name = "SIZE")]
    min_size: Option<Size>,

    /// Keep keys whose value takes at most SIZE bytes in the file (as 100, 4k, 1M)
    #[arg(long, value_name = "SIZE")]
    max_size: Option<Size>,

    /// Stop after N keys and commands
    ///
    /// One thread works then, so that exactly the first N come out; a transaction comes out whole. The checksum is not verified if the end is
    /// not reached.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,

    #[command(flatten)]
    pub(crate) logs: Logs,
}

/// How the commands of append-only files are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Append-only files")]
pub(crate) struct Logs {
    /// Keep what had been logged by T: stop at the first time stamp (#TS) later than that
    ///
    /// Servers log time stamps with aof-timestamp-enabled yes. T as in --expires. What was rewritten after T cannot be gone back behind.
    #[arg(long, value_name = "T")]
    until: Option<Moment>,

    /// What to do with a last file that does not end with a whole command
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = TailArg::Ok)]
    truncated: TailArg,
}

/// What is done about a tail that is not whole.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum TailArg {
    /// Leave out the tail, tell where it begins, and end with status 3
    Ok,
    /// End with an error
    Error,
}

impl Logs {
    pub(crate) fn options(&self) -> rdbtool::aof::Options {
        rdbtool::aof::Options {
            until: self.until.map(|t| t.at(now_ms())),
            tail: match self.truncated {
                TailArg::Ok => Tail::Cut,
                TailArg::Error => Tail::Refuse,
            },
        }
    }
}

impl Filters {
    /// The filter they make.
    pub(crate) fn build(&self) -> anyhow::Result<Filter> {
        self.build_at(now_ms())
    }

    /// The same at another time.
    pub(crate) fn build_at(&self, now_ms: i64) -> anyhow::Result<Filter> {
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
        Filter::new(options, now_ms).map_err(|e| Usage(e).into())
    }
}

/// What is changed of the keys that are kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Changes")]
pub(crate) struct Transforms {
    /// Put every key into database N
    #[arg(long, value_name = "N", conflicts_with = "db_map")]
    to_db: Option<u64>,

    /// Put the keys of these databases into others, as 1:5,3:0
    ///
    /// Databases that are not named stay as they are.
    #[arg(long, value_name = "FROM:TO,...")]
    db_map: Option<DbMap>,

    /// Take PREFIX off the names of keys
    ///
    /// Names that do not begin with it stay as they are.
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    key_prefix_strip: String,

    /// Put PREFIX before the names of keys, after --key-prefix-strip
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    key_prefix_add: String,

    /// Change when keys expire: keep, none, at=T, in=SPAN, +SPAN, -SPAN, max=SPAN
    ///
    /// none: no key expires. at=T and in=SPAN: every key expires, then (T as in --expires, SPAN as 90s, 12h, 7d).
    /// +SPAN and -SPAN move the expiries that there are. max=SPAN: no key lives longer than that from now.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "keep",
        allow_hyphen_values = true
    )]
    ttl: Ttl,
}

impl Transforms {
    /// What they make.
    pub(crate) fn build(&self) -> Transform {
        self.build_at(now_ms())
    }

    /// The same at another time.
    pub(crate) fn build_at(&self, now_ms: i64) -> Transform {
        Transform {
            dbs: match (self.to_db, &self.db_map) {
                (Some(n), _) => DbMap::All(n),
                (None, Some(map)) => map.clone(),
                (None, None) => DbMap::Same,
            },
            strip: self.key_prefix_strip.clone().into(),
            add: self.key_prefix_add.clone().into(),
            ttl: self.ttl,
            now_ms,
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    now.as_millis() as i64
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

    /// When to show progress on standard error
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    progress: When,

    /// No progress and no summary; only errors, and what was left out
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Tell more: a line for each source
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

    /// Begins to show progress. `stdout` says that results go to standard output: no bar is drawn over them on the same terminal, nor
    /// where they go into a pipe, since what reads it (jq, less, head) mostly prints there too.
    pub(crate) fn bar(&self, stdout: bool) -> Bar {
        let shared = stdout && (std::io::stdout().is_terminal() || is_pipe(&std::io::stdout()));
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
        let mut rest = false;
        for (name, s) in names.iter().zip(summaries) {
            for e in &s.skipped_because {
                tell(&format!("{name}: left out: {e}"));
            }
            if s.trailing.is_some() {
                rest = true;
                tell(&format!(
                    "{name}: more bytes stand after the end of the RDB data, not read"
                ));
            }
            if let Some(t) = &s.truncated {
                rest = true;
                tell(&format!("{name}: byte {}: left out: {t}", t.offset));
            }
            if s.unstamped {
                rest = true;
                tell(&format!(
                    "{name}: no time stamps, so --until cannot tell where to stop, and all of it was kept"
                ));
            }
            if self.quiet {
                continue;
            }
            if self.verbose || (summaries.len() == 1 && names.len() == 1) {
                tell(&format!(
                    "{name}: {}",
                    told((s.keys, s.commands), s.bytes, elapsed, summaries.len() == 1)
                ));
            }
        }
        if !self.quiet && summaries.len() > 1 {
            let things = (
                summaries.iter().map(|s| s.keys).sum(),
                summaries.iter().map(|s| s.commands).sum(),
            );
            let bytes = summaries.iter().map(|s| s.bytes).sum();
            tell(&format!(
                "{} sources: {}",
                summaries.len(),
                told(things, bytes, elapsed, true)
            ));
        }
        if skipped > 0 {
            tell(&format!(
                "{} left out because broken",
                count(skipped, "value")
            ));
        }
        if skipped > 0 || rest {
            return Outcome::Incomplete;
        }
        Outcome::Done
    }
}

/// Keys and commands, bytes and how long it took.
fn told((keys, commands): (u64, u64), bytes: u64, elapsed: Duration, timed: bool) -> String {
    let mut text = count(keys, "key");
    if commands > 0 {
        text += &format!(", {}", count(commands, "command"));
    }
    text += &format!(", {}", size(bytes));
    if timed {
        text += &format!(" in {}", span(elapsed));
        // Of a blink the rate is that of starting the threads.
        if elapsed >= Duration::from_millis(100) {
            let rate = bytes as f64 / elapsed.as_secs_f64();
            text += &format!(" ({}/s)", size(rate as u64));
        }
    }
    text
}

/// A number of bytes, in three digits.
pub(crate) fn size(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut x = n as f64 / 1024.0;
    let mut unit = 0;
    // From here on it would be rounded to 1024.
    while x >= 1023.5 && unit + 1 < UNITS.len() {
        x /= 1024.0;
        unit += 1;
    }
    let digits = if x < 9.995 {
        2
    } else if x < 99.95 {
        1
    } else {
        0
    };
    format!("{x:.digits$} {}", UNITS[unit])
}

/// How long something took.
fn span(t: Duration) -> String {
    match t.as_secs() {
        0 if t < Duration::from_millis(1) => "under 1 ms".to_owned(),
        0 => format!("{} ms", t.as_millis()),
        1..60 => format!("{:.2} s", t.as_secs_f64()),
        _ => clock(t),
    }
}

/// How long something will take, or has taken so far.
pub(crate) fn clock(t: Duration) -> String {
    match t.as_secs() {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        s => format!("{}h {:02}m", s / 3600, s / 60 % 60),
    }
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
    /// Whether the name of the file ends in `.extension`.
    pub(crate) fn ends_in(&self, extension: &str) -> bool {
        self.output
            .as_ref()
            .is_some_and(|p| p.extension().is_some_and(|e| e == extension))
    }

    /// Fails if what is no text would go to a terminal.
    pub(crate) fn refuse_terminal(&self, what: &str) -> anyhow::Result<()> {
        if self.is_stdout() && std::io::stdout().is_terminal() {
            let text =
                format!("{what} would go to the terminal: give it a pipe, or a file with -o");
            return Err(Usage(text).into());
        }
        Ok(())
    }

    pub(crate) fn is_stdout(&self) -> bool {
        self.output.as_ref().is_none_or(|p| p.as_os_str() == "-")
    }

    /// Opens it.
    pub(crate) fn open(&self) -> anyhow::Result<OpenOutput> {
        match &self.output {
            Some(path) if path.as_os_str() != "-" => NewFile::create(path, self.force)
                .map(OpenOutput::File)
                .map_err(|e| match e.io_error().map(std::io::Error::kind) {
                    Some(std::io::ErrorKind::AlreadyExists) => {
                        anyhow::anyhow!("{}: exists; --force replaces it", path.display())
                    }
                    _ => hint(e),
                }),
            _ => OpenOutput::stdout(),
        }
    }
}

/// Whether a file is a pipe.
fn is_pipe(file: &impl std::os::fd::AsFd) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let file = file.as_fd().try_clone_to_owned().map(std::fs::File::from);
    file.and_then(|f| f.metadata())
        .is_ok_and(|m| m.file_type().is_fifo())
}

/// An opened output.
#[derive(Debug)]
pub(crate) enum OpenOutput {
    Stdout(Stdout),
    File(NewFile),
}

/// Standard output as a file, without the line buffer that std puts before it.
#[derive(Debug)]
pub(crate) struct Stdout(std::fs::File);

impl Sink for Stdout {
    fn write(&mut self, bytes: &[u8]) -> rdbtool::Result<()> {
        self.0
            .write_all(bytes)
            .map_err(|e| RdbError::io("cannot write", e).with_file("standard output"))
    }
}

impl OpenOutput {
    fn stdout() -> anyhow::Result<Self> {
        use std::os::fd::AsFd;
        let fd = std::io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .context("cannot write to standard output")?;
        Ok(OpenOutput::Stdout(Stdout(fd.into())))
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
            None => hint(e),
        }
    }
}

/// Adds what to do about an error, where that is known.
pub(crate) fn hint(e: RdbError) -> anyhow::Error {
    let hint = match (e.kind(), e.io_error().map(std::io::Error::kind)) {
        (_, Some(std::io::ErrorKind::StorageFull)) => "make room, or write to another disk",
        (ErrorKind::UnexpectedEof | ErrorKind::Corrupt, _) if e.whole().is_some() => {
            "`rdbtool check -o GOOD` writes the part that is good"
        }
        (ErrorKind::Conflict, _) if e.offset().is_some() => {
            "--on-conflict skip keeps the first of the same name, replace the last"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_three_digits() {
        for (n, want) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (10_230, "9.99 KiB"),
            (10_235, "10.0 KiB"),
            (102_348, "99.9 KiB"),
            (102_349, "100 KiB"),
            (1_048_063, "1023 KiB"),
            (1_048_064, "1.00 MiB"),
            (954_269_164, "910 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(n), want, "{n}");
        }
    }

    #[test]
    fn times() {
        for (ms, took, left) in [
            (0, "under 1 ms", "0s"),
            (999, "999 ms", "0s"),
            (1_404, "1.40 s", "1s"),
            (60_000, "1m 00s", "1m 00s"),
            (3_599_999, "59m 59s", "59m 59s"),
            (7_500_000, "2h 05m", "2h 05m"),
        ] {
            let t = Duration::from_millis(ms);
            assert_eq!((&span(t)[..], &clock(t)[..]), (took, left));
        }
    }
}
