//! `rdbtool split`

mod report;

use super::common::{Filters, Run, Sources, Transforms, count, hint, size};
use super::compat::Compat;
use super::connect::endpoint;
use super::exit::{Outcome, Usage, tell};
use anyhow::Context;
use clap::ValueEnum;
use rdbtool::cluster::topology::Topology;
use rdbtool::cluster::topology::read::{LARGEST, address, topology};
use rdbtool::rdb::release::Release;
use rdbtool::seed::cluster::ask;
use rdbtool::seed::{Format, Seed};
use rdbtool::sink::lanes::Written;
use rdbtool::{Dump, ErrorKind, Progress, RdbError};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Write a file for each node of a cluster, with exactly the keys of that node's slots
///
/// The files go into a directory, together with NEXT-STEPS (which file goes where, with which settings), what gives the nodes their slots,
/// and manifest.json (slots, keys, bytes and checksum of each). One or several sources, such as the files of the masters of
/// another cluster; keys with hash tags go where a server puts them, function libraries to every node.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,

    #[command(flatten)]
    nodes: Nodes,

    /// What a node gets
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = FormatArg::Aof)]
    format: FormatArg,

    /// Read everything, tell what each node would get and what would be refused, and write nothing
    ///
    /// Keys, bytes as they are in the file, the largest keys of each node, how even it is. The sources are read twice, so they must be files.
    /// --report=json is one JSON object, with all keys as they are, what would be refused, and what could not be kept.
    #[arg(long, value_name = "FORMAT", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    report: Option<ReportArg>,

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

/// Which node has which slots.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The cluster (one of --nodes, --topology, --cluster)")]
struct Nodes {
    /// N new nodes, 1 to 16384, with as many slots each
    ///
    /// The ranges are those that redis-cli --cluster create gives to N masters.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16384), required_unless_present_any = ["topology", "cluster"], conflicts_with_all = ["topology", "cluster"])]
    nodes: Option<u16>,

    /// The nodes that FILE tells of
    ///
    /// nodes.conf; what CLUSTER NODES, CLUSTER SLOTS or CLUSTER SHARDS answer, as redis-cli prints it (to a file, to a terminal, or with
    /// --json) or as RESP; or JSON of one's own: {"nodes": [{"slots": "0-5460,7000", "address": "10.0.0.1:7000"}, ...]}, of which the
    /// list alone will do, or the slots alone: ["0-8191", "8192-16383"]; or the same as TOML, a table [[nodes]] for each.
    #[arg(long, value_name = "FILE", conflicts_with = "cluster")]
    topology: Option<PathBuf>,

    /// The nodes of the cluster to which the server at URL belongs (redis://host:7000)
    ///
    /// It is also asked which release it is, unless --for says so.
    #[arg(long, value_name = "URL")]
    cluster: Option<String>,

    /// How to deal out the slots
    ///
    /// With bytes the ranges are such that the largest node is as small as can be, by the sizes in the file. The sources are read twice, so
    /// they must be files.
    #[arg(long, value_name = "BY", value_enum, default_value_t = BalanceArg::Slots)]
    balance: BalanceArg,

    /// Where the new nodes will be, in the order of the files: HOST:PORT,HOST:PORT,...
    ///
    /// IP addresses. A nodes.conf is written for each, with which the nodes are a cluster when they start.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    addresses: Vec<String>,
}

/// Where it goes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct Output {
    /// The directory to write, which must not exist, or be empty
    ///
    /// It appears when all of it is there. If something fails, there is none.
    #[arg(short, long, value_name = "DIR", required_unless_present = "report")]
    output: Option<PathBuf>,

    /// Replace DIR if it was made by split
    #[arg(long, requires = "output")]
    force: bool,
}

const EXAMPLES: &str = r#"Examples:
  rdbtool split dump.rdb --nodes 3 -o seed
  rdbtool split dump.rdb --nodes 3 --addresses 10.0.0.1:6379,10.0.0.2:6379,10.0.0.3:6379 -o seed
  rdbtool split old-1.rdb old-2.rdb --nodes 7 --format appendonlydir --for valkey-9.0 -o seed
  rdbtool split dump.rdb --nodes 3 --balance bytes --report
  rdbtool split dump.rdb --nodes 3 --report=json | jq '.nodes[] | [.file, .keys, .bytes]'
  rdbtool split dump.rdb --topology nodes.conf --format rdb -o seed
  rdbtool split dump.rdb --cluster redis://10.0.0.1:6379 --to-db 0 -o seed

Exit status:
  0  done
  1  failed: what was wrong is on standard error, and nothing was written
  2  wrong usage
  3  done, but something was left out or could not be kept, and named"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// An append-only file of ordinary commands: for any release
    Aof,
    /// An append-only file that begins with RDB data, for 4.0 and newer: smaller, and faster to load
    AofRdbPreamble,
    /// An RDB file, which has no place for the commands of a log
    Rdb,
    /// RESTORE commands, to be piped into running nodes
    Restore,
    /// A directory of append-only files, for 7.0 and newer
    #[value(name = "appendonlydir")]
    AppendOnlyDir,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportArg {
    /// A table
    Text,
    /// One JSON object
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BalanceArg {
    /// As many slots each
    Slots,
    /// As many bytes each, as far as that is possible
    Bytes,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let Known {
        topology,
        exists,
        release,
        databases,
    } = args.nodes.find(&args)?;
    let release = args.compat.release.or(release);
    let mut seed = Seed {
        dump: Dump {
            release,
            filter: args.filters.build()?,
            transform: args.transforms.build(),
            on_conflict: args.compat.on_conflict(),
            threads: args.run.threads(),
            ignore_checksum: args.run.no_checksum,
            on_error: args.run.on_error(),
            limit: args.filters.limit,
            log: args.filters.logs.options(),
            ..Dump::default()
        },
        topology,
        exists,
        format: match args.format {
            FormatArg::Aof => Format::Aof,
            FormatArg::AofRdbPreamble => Format::AofRdbPreamble,
            FormatArg::Rdb => Format::Rdb,
            FormatArg::Restore => Format::Restore,
            FormatArg::AppendOnlyDir => Format::AppendOnlyDir,
        },
        databases: databases.unwrap_or_else(|| Seed::databases_of(release)),
    };
    seed.check().map_err(Usage)?;
    let even = balance(&args, &mut seed)?;
    if let Some(form) = args.report {
        return report::report(&args, form, &seed, even.as_ref());
    }
    let Some(dir) = &args.output.output else {
        return Err(Usage("-o names the directory to write".to_owned()).into());
    };
    if args.compat.is_strict() {
        args.sources
            .refuse_once("--strict reads its sources twice")?;
        let dumped = seed.dry(&mut args.sources.open()?, &Progress::new());
        args.compat.refuse_losses(&dumped.map_err(told)?)?;
    }
    let mut sources = args.sources.open()?;
    let names: Vec<String> = sources.iter().map(|s| s.name().to_owned()).collect();
    let bar = args.run.bar(false);
    let result = seed.run(&mut sources, bar.progress(), dir, args.output.force);
    let elapsed = bar.finish();
    let seeded = result.map_err(told)?;
    let outcome = args
        .compat
        .report(&args.run, &names, &seeded.dumped, elapsed)?;
    if seeded.dumped.left_out > 0 {
        tell(&format!(
            "{} names them",
            dir.join("twice.ndjson").display()
        ));
    }
    if !args.run.quiet {
        let most = seeded.written.iter().map(Written::size).max().unwrap_or(0);
        let all: u64 = seeded.written.iter().map(Written::size).sum();
        tell(&format!(
            "{}: {}, {}; the largest {}. {} tells how to go on",
            dir.display(),
            count(seeded.written.len() as u64, "node"),
            size(all),
            size(most),
            dir.join("NEXT-STEPS").display()
        ));
    }
    Ok(outcome)
}

/// What is known of the cluster.
struct Known {
    topology: Topology,
    exists: bool,
    release: Option<Release>,
    databases: Option<u64>,
}

impl Nodes {
    fn find(&self, args: &Args) -> anyhow::Result<Known> {
        // Said by hand: clap does not ask for --nodes where something else excludes it.
        let of_new = [
            (self.balance == BalanceArg::Bytes, "--balance bytes"),
            (!self.addresses.is_empty(), "--addresses"),
        ];
        for (given, what) in of_new {
            if given && self.nodes.is_none() {
                return Err(Usage(format!("{what} is for new nodes: it wants --nodes")).into());
            }
        }
        if let Some(url) = &self.cluster {
            let endpoint = endpoint(url)?;
            let asked = ask(&endpoint, &args.sources.connect().options()).map_err(hint)?;
            if asked.keys > 0 {
                tell(&format!(
                    "{endpoint}: the cluster holds {} already, which the files would replace",
                    count(asked.keys, "key")
                ));
            }
            return Ok(Known {
                topology: asked.topology,
                exists: true,
                release: Some(asked.release),
                databases: Some(asked.databases),
            });
        }
        if let Some(path) = &self.topology {
            let topology = read(path)?;
            return Ok(Known {
                // A plan of one's own gives no ids; servers always do.
                exists: topology.nodes().iter().all(|n| n.id.is_some()),
                topology,
                release: None,
                databases: None,
            });
        }
        let mut topology = Topology::even(self.nodes.unwrap_or(1));
        self.place(&mut topology)?;
        Ok(Known {
            topology,
            exists: false,
            release: None,
            databases: None,
        })
    }

    fn place(&self, topology: &mut Topology) -> anyhow::Result<()> {
        if self.addresses.is_empty() {
            return Ok(());
        }
        let mut places = Vec::new();
        for text in &self.addresses {
            let bad = || {
                Usage(format!(
                    "--addresses: {text:?} is no IP:PORT, as 10.0.0.1:6379"
                ))
            };
            let (host, port) = address(text.trim()).ok_or_else(bad)?;
            host.parse::<std::net::IpAddr>().map_err(|_| bad())?;
            let place = (host.to_owned(), port);
            if places.contains(&place) {
                return Err(Usage(format!("--addresses: {text} is there twice")).into());
            }
            places.push(place);
        }
        let wrong = |e| Usage(format!("--addresses: {e}")).into();
        topology.place(places).map_err(wrong)
    }
}

/// Reads a topology out of a file.
fn read(path: &Path) -> anyhow::Result<Topology> {
    let name = path.display().to_string();
    let mut text = Vec::new();
    let file: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => {
            Box::new(std::fs::File::open(path).with_context(|| format!("{name}: cannot read"))?)
        }
    };
    file.take(LARGEST as u64 + 1)
        .read_to_end(&mut text)
        .with_context(|| format!("{name}: cannot read"))?;
    topology(&text, None).map_err(|e| e.with_file(&name).into())
}

/// Deals out the slots by the bytes of their keys, if that is wanted; gives what was seen, and the ranges that were dealt out before.
fn balance(args: &Args, seed: &mut Seed) -> anyhow::Result<Option<Topology>> {
    if args.nodes.balance == BalanceArg::Slots {
        return Ok(None);
    }
    args.sources
        .refuse_once("--balance bytes reads its sources twice")?;
    let bar = args.run.bar(false);
    let survey = seed.survey(&mut args.sources.open()?, bar.progress());
    bar.finish();
    let survey = survey.map_err(told)?;
    let n = args.nodes.nodes.unwrap_or(1);
    let mut balanced = Topology::by_weight(n, &survey.weights());
    args.nodes.place(&mut balanced)?;
    let even = std::mem::replace(&mut seed.topology, balanced);
    if !args.run.quiet && args.report.is_none() {
        tell(&format!(
            "the heaviest node has {:.3} times the mean of bytes; with equal slots it would have {:.3}",
            survey.skew(&seed.topology),
            survey.skew(&even)
        ));
    }
    Ok(Some(even))
}

/// An error, with what may be done about it here.
fn told(e: RdbError) -> anyhow::Error {
    let hint_here = match e.kind() {
        ErrorKind::Unsupported if e.what().contains("there are keys elsewhere") => {
            "--to-db 0 puts all of them there, --db 0 leaves the others out; from Valkey 9.0 on (--for valkey-9.0) clusters can have databases"
        }
        ErrorKind::Unsupported if e.what().contains("holds keys, not commands") => {
            "--format aof-rdb-preamble (4.0 and newer) and appendonlydir (7.0 and newer) have the keys as RDB and the commands behind them"
        }
        ErrorKind::Conflict if e.offset().is_none() => {
            "--on-conflict skip keeps the first of the same name, replace the last"
        }
        _ if e.io_error().map(std::io::Error::kind) == Some(std::io::ErrorKind::AlreadyExists) => {
            return anyhow::anyhow!("{e}");
        }
        _ => return hint(e),
    };
    anyhow::anyhow!("{e}\nhint: {hint_here}")
}
