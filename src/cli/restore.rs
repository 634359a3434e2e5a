//! `rdbtool restore`

use super::common::{Filters, Output, Run, Sources, Transforms, count, hint, now_ms, size};
use super::compat::Compat;
use super::connect::endpoint;
use super::exit::{Outcome, Usage, tell};
use super::position::Position;
use rdbtool::dump::{self, Dumped, Format};
use rdbtool::filter::{OnConflict, Size};
use rdbtool::sink::Count;
use rdbtool::target::{self, Target};
use rdbtool::{Dump, ErrorKind};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Write the data as RESTORE commands: for a pipe, or straight into a live server or cluster
///
/// Values are copied as they are serialized, so this is the fastest way into a server. The commands carry the lowest version that each
/// value needs: most go into servers much older than the file. For a pipe into a server that is older than that, say which with --for; a
/// target (--to) is asked. The commands of append-only files follow as they stand; into a live target each goes once, whatever happens.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,

    /// Write into the live server at URL (redis://host:6379), or into the cluster it is a node of
    ///
    /// A link that breaks, a fail-over, a target that is loading or out of memory is waited for and gone on with. What had no answer is sent again so that nothing is there twice.
    #[arg(long, value_name = "URL", conflicts_with = "output")]
    to: Option<String>,

    /// Write values larger than SIZE as ordinary commands (as 100k, 64M)
    ///
    /// A server takes nothing larger than its proto-max-bulk-len (512M unless configured) at once, and stands still while it loads it.
    /// Default: 64M; what the target takes, if keys that are there already must be noticed.
    #[arg(long, value_name = "SIZE")]
    big_key: Option<Size>,

    #[command(flatten)]
    live: Live,

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

/// What goes for a live target.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Live target (--to)")]
struct Live {
    /// Delete everything in the target first
    ///
    /// Asks for a yes on a terminal; anywhere else --yes must say it.
    #[arg(long, requires = "to")]
    flush_target: bool,

    /// Do not ask
    #[arg(long, requires = "flush_target")]
    yes: bool,

    /// Read everything, and ask the target what it is, but write nothing
    #[arg(long, requires = "to")]
    dry_run: bool,

    /// Keep the position in FILE, so that the same command goes on where a run broke off
    ///
    /// However it ended, kill -9 and power cuts included. The sources must be files, and they and all options that change the data must be as
    /// they were. FILE is deleted at the end. Example: --resume restore.position
    #[arg(long, value_name = "FILE", requires = "to", conflicts_with = "dry_run")]
    resume: Option<PathBuf>,

    /// How many connections; to a cluster, for all masters together, but at least one each
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: u16,

    /// How many commands may wait for their answer on each connection
    #[arg(long, value_name = "N", default_value_t = 16384, value_parser = clap::value_parser!(u32).range(1..))]
    pipeline: u32,

    /// Write at most so many keys (5000) or bytes (20M) a second
    ///
    /// A number alone counts keys; with k, M or G, bytes.
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,

    /// Wait for so many replicas to have each command, so that a fail-over loses nothing
    #[arg(long, value_name = "N", default_value_t = 0)]
    replicas: u16,

    /// How long to wait for a target that has gone, is loading or has no memory
    #[arg(long, value_name = "SPAN", default_value = "5m")]
    retry_for: humantime::Duration,
}

/// A limit of `--rate`.
#[derive(Debug, Clone, Copy)]
enum Rate {
    Keys(u64),
    Bytes(u64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate = match text.parse() {
            Ok(n) => Rate::Keys(n),
            Err(_) => Rate::Bytes(text.parse::<Size>()?.0),
        };
        match rate {
            Rate::Keys(0) | Rate::Bytes(0) => Err("nothing would ever be written".to_owned()),
            rate => Ok(rate),
        }
    }
}

const EXAMPLES: &str = r#"Examples:
  rdbtool restore dump.rdb | redis-cli --pipe
  rdbtool restore dump.rdb --to redis://new:6379
  rdbtool restore --to redis://node1:7000 --on-conflict replace --key 'user:*' dump.rdb
  rdbtool restore dump.rdb --to redis://new:6379 --resume restore.position
  rdbtool restore --for redis-3.2 dump.rdb | redis-cli --pipe
  rdbtool decode a.rdb | jq -c 'select(.db == 0)' | rdbtool restore - --to redis://new:6379

Exit status:
  0  done
  1  failed: what was wrong is on standard error
  2  wrong usage
  3  done, but something was left out or could not be kept, and named"#;

/// Values larger than this come as commands, unless it is said otherwise.
const BIG_KEY: u64 = 64 << 20;

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let position = match &args.live.resume {
        Some(path) => {
            args.sources
                .refuse_once("--resume reads its sources again")?;
            Some(Position::open(path)?)
        }
        None => None,
    };
    // What is gone on with is of the time when it was begun.
    let now_ms = position.as_ref().map_or_else(now_ms, Position::started_ms);
    let dump = Dump {
        format: Format::Restore {
            big_key: args.big_key.map_or(BIG_KEY, |s| s.0),
            whole: false,
        },
        release: args.compat.release,
        filter: args.filters.build_at(now_ms)?,
        transform: args.transforms.build_at(now_ms),
        on_conflict: args.compat.on_conflict(),
        threads: args.run.threads(),
        ignore_checksum: args.run.no_checksum,
        on_error: args.run.on_error(),
        limit: args.filters.limit,
        log: args.filters.logs.options(),
        live: dump::Live::No,
    };
    match &args.to {
        Some(url) => live(&args, url, dump, position),
        None => pipe(&args, &dump),
    }
}

/// Into a pipe or a file.
fn pipe(args: &Args, dump: &Dump) -> anyhow::Result<Outcome> {
    args.output.refuse_terminal("RESTORE commands")?;
    args.compat
        .write(dump, &args.sources, &args.output, &args.run)
}

/// Into a live server or cluster.
fn live(
    args: &Args,
    url: &str,
    mut dump: Dump,
    mut position: Option<Position>,
) -> anyhow::Result<Outcome> {
    let endpoint = endpoint(url)?;
    let live = &args.live;
    if let Some(db) = endpoint.db {
        let text = format!(
            "{endpoint}: keys go to the databases they come from; --to-db {db} puts all of them there"
        );
        return Err(Usage(text).into());
    }
    let (keys_per_second, bytes_per_second) = match live.rate {
        Some(Rate::Keys(n)) => (Some(n), None),
        Some(Rate::Bytes(n)) => (None, Some(n)),
        None => (None, None),
    };
    let mut net = args.sources.connect().options();
    net.name = position.as_ref().map(|p| p.client().to_owned());
    let options = target::Options {
        connections: live.connections.into(),
        pipeline: live.pipeline as usize,
        on_conflict: dump.on_conflict,
        keys_per_second,
        bytes_per_second,
        net,
        retry_for: live.retry_for.into(),
        replicas: live.replicas.into(),
        notice: tell,
        ..target::Options::default()
    };
    let mut target = Target::open(&endpoint, options).map_err(hint)?;
    dump.release.get_or_insert(target.release());
    dump.live = match target.is_cluster() {
        true => dump::Live::Cluster,
        false => dump::Live::Server,
    };
    let most = target.proto_max_bulk_len();
    let whole = dump.on_conflict != OnConflict::Replace;
    dump.format = Format::Restore {
        big_key: match args.big_key {
            Some(size) => size.0.min(most),
            None if whole => most,
            None => BIG_KEY.min(most),
        },
        whole,
    };
    args.compat.foresee(&dump, &args.sources)?;
    let mut sources = args.sources.open()?;
    let names: Vec<String> = sources.iter().map(|s| s.name().to_owned()).collect();
    let begun = position.as_ref().is_some_and(Position::is_begun);
    let flush = live.flush_target && !live.dry_run && !begun;
    if flush {
        agree(&endpoint.to_string(), live.yes)?;
    }
    if let Some(position) = &mut position {
        position.begin(&endpoint, &sources, &dump)?;
        if begun && !args.run.quiet {
            position.announce();
        }
    }
    if flush {
        target.flush().map_err(hint)?;
    }
    let bar = args.run.bar(false);
    if live.dry_run {
        let mut counted = Count::default();
        let result = dump.run(&mut sources, bar.progress(), &mut counted);
        let elapsed = bar.finish();
        let dumped = result.map_err(hint)?;
        tell(&format!(
            "{endpoint} is {}{}; nothing has been written",
            if target.is_cluster() {
                "a cluster of "
            } else {
                ""
            },
            target.release()
        ));
        return args.compat.report(&args.run, &names, &dumped, elapsed);
    }
    let (path, resumed) = match position {
        Some(position) => {
            let (path, journal) = position.into_parts();
            (Some(path), target.resume(journal))
        }
        None => (None, Ok(())),
    };
    let result = resumed
        .and_then(|()| dump.run(&mut sources, bar.progress(), &mut target))
        .and_then(|dumped| target.settle().map(|()| dumped))
        .and_then(|dumped| target.complete().map(|()| dumped));
    let saved = match &result {
        Ok(_) => Ok(false),
        Err(_) => target.suspend(),
    };
    let elapsed = bar.finish();
    let report = target.report();
    match result {
        Ok(dumped) => {
            let outcome = args.compat.report(&args.run, &names, &dumped, elapsed)?;
            Ok(arrived(args, &dumped, report, outcome))
        }
        Err(e) => {
            arrived(args, &Dumped::default(), report, Outcome::Done);
            let goes_on = matches!(saved, Ok(true))
                && matches!(
                    e.kind(),
                    ErrorKind::Server | ErrorKind::Io | ErrorKind::Conflict
                );
            let e = hint(e);
            match (path, saved) {
                (_, Err(also)) => Err(anyhow::anyhow!("{e}\n{}", hint(also))),
                (Some(path), _) if goes_on => Err(anyhow::anyhow!(
                    "{e}\nhint: once that is mended, the same command goes on from here (--resume {})",
                    path.display()
                )),
                _ => Err(e),
            }
        }
    }
}

/// Tells what the target has taken.
fn arrived(args: &Args, dumped: &Dumped, report: &target::Report, outcome: Outcome) -> Outcome {
    if !args.run.quiet {
        let keys = count(report.keys_sent.saturating_sub(report.skipped), "key");
        let commands = match report.of_logs {
            0 => String::new(),
            n => format!(" and {} of the log", count(n, "command")),
        };
        let mut line = format!("{keys}{commands} sent, {}", size(report.bytes));
        for (n, what) in [
            (report.passed, "done before"),
            (report.found, "found done when sent again"),
            (
                report.skipped + report.skipped_before,
                "left alone because they were there",
            ),
            (dumped.converted, "as ordinary commands"),
            (report.failed, "commands refused"),
            (report.retries, "commands sent again"),
        ] {
            if n > 0 {
                line += &format!("; {} {what}", indicatif::HumanCount(n));
            }
        }
        if report.waited > Duration::ZERO {
            line += &format!("; {} s waiting", report.waited.as_secs());
        }
        tell(&line);
    }
    for failure in &report.errors {
        tell(&format!(
            "refused: {} times {}",
            failure.count, failure.kind
        ));
        for (db, key, said) in &failure.first {
            tell(&format!("  db {db}, key {key}: {said}"));
        }
    }
    if report.restarted > 0 {
        tell(&format!(
            "the target was restarted or replaced {}: what it had taken before and does not keep on disk is gone. \
             Once more with --on-conflict skip fills the gaps",
            count(report.restarted, "time")
        ));
    }
    if report.doubtful > 0 {
        tell(&format!(
            "{} there when sent again after the interruption, and left alone: sent before it, or in the target before the first run",
            count(report.doubtful, "key")
        ));
        for (db, key) in &report.doubtful_first {
            tell(&format!("  db {db}, key {key}"));
        }
    }
    if report.unconfirmed > 0 {
        tell(&format!(
            "{} not confirmed by as many replicas as wanted",
            count(report.unconfirmed, "command")
        ));
    }
    match outcome {
        _ if report.failed > 0 => Outcome::Failed,
        Outcome::Done
            if [
                report.skipped,
                report.skipped_before,
                report.doubtful,
                report.restarted,
                report.unconfirmed,
            ]
            .iter()
            .any(|&n| n > 0) =>
        {
            Outcome::Incomplete
        }
        other => other,
    }
}

/// Before everything is deleted.
fn agree(target: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let text = "--flush-target deletes everything in the target: --yes says that this is meant";
        return Err(Usage(text.to_owned()).into());
    }
    eprint!("delete everything in {target}? Type yes: ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    match line.trim() {
        "yes" => Ok(()),
        _ => Err(Usage("nothing was deleted, and nothing written".to_owned()).into()),
    }
}
