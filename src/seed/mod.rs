//! The high level: sources in, a directory out, with a file for each node of a cluster.
//!
//! ```text
//!   sources ──► filter, transform ──► encoder, in frames ──► a file a node ──┐
//!                                       slot of the key                      ├──► DIR, when all of it is there
//!                         manifest.json, NEXT-STEPS, nodes-1.conf ... ───────┘
//!
//!   DIR/  aof-1 aof-2 ...   or rdb-1, restore-1, appendonlydir-1/ ...     in the order of the topology's nodes
//!
//!   of a log               keys                                 commands
//!     aof, restore         as commands                          behind them
//!     aof-rdb-preamble     RDB data                             behind them
//!     appendonlydir        appendonly.aof.1.base.rdb            appendonly.aof.1.incr.aof
//!     rdb                  RDB data                             an error
//! ```
//!
//! Where there are several logs, their keys are others', so that those of all may stand before the commands of any.
//!
//! Every file holds exactly its node's slots, so that nothing is left to be moved when the cluster has started.

pub mod cluster;
mod steps;
pub mod survey;

use crate::aof::manifest::{Listed, Manifest, Use};
use crate::cluster::topology::Topology;
use crate::dump::{self, Dump, Dumped};
use crate::encode::route::{Router, refusal};
use crate::error::{ErrorKind, RdbError, Result};
use crate::filter::OnConflict;
use crate::ndjson::escape;
use crate::out::Out;
use crate::pipeline::{self, OnError, Options, Progress};
use crate::rdb::header::{Dialect, Header};
use crate::rdb::release::Release;
use crate::sink::Count;
use crate::sink::dir::NewDir;
use crate::sink::lanes::{Behind, Lanes, Shape, Written};
use crate::source::Source;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use survey::{Survey, Surveyor};

/// What a node gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// An append-only file of ordinary commands. Any release takes it.
    #[default]
    Aof,
    /// An append-only file that begins with RDB data: what the releases of 4.0 to 6.2 write themselves when they rewrite theirs.
    AofRdbPreamble,
    /// An RDB file.
    Rdb,
    /// RESTORE commands, to be piped into the running node.
    Restore,
    /// A directory of append-only files with a manifest, as from 7.0 on.
    AppendOnlyDir,
}

impl Format {
    /// The name, without the number of the node.
    fn stem(self) -> &'static str {
        match self {
            Format::Aof | Format::AofRdbPreamble => "aof",
            Format::Rdb => "rdb",
            Format::Restore => "restore",
            Format::AppendOnlyDir => "appendonlydir",
        }
    }

    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Aof => "aof",
            Format::AofRdbPreamble => "aof-rdb-preamble",
            Format::Rdb => "rdb",
            Format::Restore => "restore",
            Format::AppendOnlyDir => "appendonlydir",
        }
    }
}

/// The file whose presence says that a directory was made here.
pub const MANIFEST: &str = "manifest.json";

/// The keys in a directory of append-only files.
const BASE: &str = "appendonly.aof.1.base.rdb";

/// The commands of a log in one.
const INCR: &str = "appendonly.aof.1.incr.aof";

/// Values larger than this come as commands where others come as RESTORE.
const BIG_KEY: u64 = 64 << 20;

/// How to split.
#[derive(Debug, Clone)]
pub struct Seed {
    /// What is read, for whom and how; its format is that which [`Seed::format`] takes.
    pub dump: Dump,
    /// Which node has which slots.
    pub topology: Topology,
    /// Whether that is a cluster that exists, with configuration files of its own.
    pub exists: bool,
    /// What a node gets.
    pub format: Format,
    /// How many databases the cluster has.
    pub databases: u64,
}

/// What has become of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Seeded {
    /// What was read, and what could not be kept.
    pub dumped: Dumped,
    /// The files, in the order of the nodes.
    pub written: Vec<Written>,
}

impl Seed {
    /// Whether the release takes what is asked for; if not, why.
    pub fn check(&self) -> Result<(), String> {
        let Some(release) = self.dump.release else {
            return Ok(());
        };
        let since = |version| release.is_at_least(version, (0, 0));
        let why = match self.format {
            _ if !since((3, 0)) => "it has no clusters: they came with Redis 3.0",
            Format::AofRdbPreamble if !since((4, 0)) => {
                "it reads no append-only file that begins with RDB: those came with Redis 4.0"
            }
            Format::AppendOnlyDir if !since((7, 0)) => {
                "it reads no directory of append-only files: those came with Redis 7.0"
            }
            _ => return Ok(()),
        };
        Err(format!("{} for {release}: {why}", self.format.name()))
    }

    /// How many databases a cluster of this release can have; what it has is a matter of its configuration (`cluster-databases`).
    pub fn databases_of(release: Option<Release>) -> u64 {
        match release {
            Some(r) if r.is_at_least((u16::MAX, 0), (9, 0)) => u64::MAX,
            _ => 1,
        }
    }

    /// The name of each node's file.
    pub fn files(&self) -> Vec<String> {
        let stem = self.format.stem();
        let numbers = 1..=self.topology.nodes().len();
        numbers.map(|n| format!("{stem}-{n}")).collect()
    }

    fn dumper(&self) -> Dump {
        Dump {
            format: match self.format {
                Format::Aof => dump::Format::Aof,
                Format::Restore => dump::Format::Restore {
                    big_key: BIG_KEY,
                    whole: false,
                },
                Format::AofRdbPreamble | Format::Rdb | Format::AppendOnlyDir => dump::Format::Rdb,
            },
            ..self.dump.clone()
        }
    }

    fn router(&self) -> Router<'_> {
        Router::new(&self.topology, self.databases)
            .live(self.format == Format::Restore)
            .lenient(self.dump.on_error == OnError::Skip)
            .with_log(self.format != Format::Rdb)
    }

    /// Adds up what is in the sources: keys and bytes by slot and node.
    pub fn survey(&self, sources: &mut [Source], progress: &Progress) -> Result<Survey> {
        let mut all = Survey::new(self.topology.nodes().len());
        let mut limit = self.dump.limit;
        let mut stopped = false;
        for source in sources {
            if stopped && source.continues() {
                continue;
            }
            let options = Options {
                threads: self.dump.threads,
                filter: &self.dump.filter,
                transform: &self.dump.transform,
                unique: None,
                libraries: None,
                checksum: false,
                // Values are not looked at, so that none is found to be broken.
                on_error: OnError::Stop,
                limit,
                log: self.dump.log,
            };
            let mut nothing = Count::default();
            let (summary, surveyors) =
                pipeline::run(source, &options, progress, &mut nothing, |_| {
                    Surveyor::new(&self.topology)
                })?;
            for s in surveyors {
                all.merge(s.survey);
            }
            stopped = summary.stopped;
            limit = limit.map(|n| n.saturating_sub(summary.keys + summary.commands));
        }
        Ok(all)
    }

    /// What a run would come to, without writing anything: what could not be kept, what would be left out. Keys of
    /// databases that the cluster does not have are no error here.
    pub fn dry(&self, sources: &mut [Source], progress: &Progress) -> Result<Dumped> {
        let router = self.router().lenient(true);
        let mut nothing = Count::default();
        let told = Box::new(|_: u64, _: &[u8]| Ok(()));
        self.dumper().routed(
            sources,
            progress,
            &mut nothing,
            &OnceLock::new(),
            &router,
            told,
        )
    }

    /// Writes the directory, which must not be there, or be empty; with `force` one that was made here is replaced.
    ///
    /// # Errors
    ///
    /// The first trouble there is, and then nothing is left; but for keys that come twice, of which there is a list beside the directory.
    ///
    /// # Example
    ///
    /// ```
    /// use rdbtool::cluster::topology::Topology;
    /// use rdbtool::seed::{Format, Seed};
    /// use rdbtool::{Dump, Progress, source::Source};
    /// # let dir = std::env::temp_dir().join(format!("rdbtool-doc-seed-{}", std::process::id()));
    /// let file: &[u8] = b"REDIS0004\xfe\x00\x00\x03foo\x011\x00\x03bar\x012\xff";
    /// let seed = Seed {
    ///     dump: Dump::default(),
    ///     topology: Topology::even(3),
    ///     exists: false,
    ///     format: Format::Aof,
    ///     databases: 1,
    /// };
    /// let seeded = seed.run(&mut [Source::from_bytes("example", file)], &Progress::new(), &dir, false)?;
    /// let keys: Vec<_> = seeded.written.iter().map(|w| w.keys).collect();
    /// assert_eq!(keys, [1, 0, 1]); // bar is of slot 5061, foo of 12182
    /// assert!(dir.join("aof-3").exists() && dir.join("NEXT-STEPS").exists());
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), rdbtool::RdbError>(())
    /// ```
    pub fn run(
        &self,
        sources: &mut [Source],
        progress: &Progress,
        path: &Path,
        force: bool,
    ) -> Result<Seeded> {
        self.check()
            .map_err(|why| RdbError::other(ErrorKind::Unsupported, why))?;
        let names: Vec<String> = sources.iter().map(|s| s.name().to_owned()).collect();
        let dir = NewDir::create(path, force, MANIFEST)?;
        let header = OnceLock::new();
        let router = self.router();
        let twice = Twice::new(dir.partial().join(TWICE));
        let several = sources.iter().filter(|s| !s.continues()).count() > 1;
        let paths = self.paths(dir.partial())?;
        let behind = self.behind(&paths, several);
        let mut lanes = Lanes::create(paths, self.shape(&header), behind)?;
        let to = Arc::clone(&twice);
        let dumped = self.dumper().routed(
            sources,
            progress,
            &mut lanes,
            &header,
            &router,
            Box::new(move |db, key| to.tell(db, key)),
        )?;
        if let Some(counts) = router.refused() {
            return Err(refusal(&counts, self.databases));
        }
        twice.end()?;
        if self.dump.on_conflict == OnConflict::Error && dumped.left_out > 0 {
            return Err(twice.keep(path, dumped.left_out));
        }
        let mut written = lanes.finish()?;
        if self.format == Format::AppendOnlyDir {
            written.iter().try_for_each(list)?;
        }
        let plan = steps::Plan {
            seed: self,
            written: &written,
            databases: match self.databases {
                u64::MAX => router.highest().saturating_add(1),
                n => n,
            },
        };
        for (name, text) in plan.files()? {
            put(&dir.partial().join(name), text.as_bytes())?;
        }
        let manifest = self.manifest(&names, &written, dumped.left_out);
        put(&dir.partial().join(MANIFEST), manifest.as_bytes())?;
        for w in &mut written {
            let apart = w.apart.as_mut().map(|a| &mut a.path);
            for at in [Some(&mut w.path), apart].into_iter().flatten() {
                if let Ok(below) = at.strip_prefix(dir.partial()) {
                    *at = path.join(below);
                }
            }
        }
        dir.commit()?;
        Ok(Seeded { dumped, written })
    }

    /// Where each node's data go. Makes the directories they are in.
    fn paths(&self, dir: &Path) -> Result<Vec<PathBuf>> {
        let files = self.files().into_iter().map(|name| dir.join(name));
        if self.format != Format::AppendOnlyDir {
            return Ok(files.collect());
        }
        files
            .map(|dir| {
                let named =
                    |e| RdbError::io("cannot create", e).with_file(&dir.display().to_string());
                std::fs::create_dir(&dir).map_err(named)?;
                Ok(dir.join(BASE))
            })
            .collect()
    }

    /// Where the commands of a log go, or of several.
    fn behind(&self, paths: &[PathBuf], several: bool) -> Behind {
        match self.format {
            Format::AppendOnlyDir => {
                Behind::Apart(paths.iter().map(|p| p.with_file_name(INCR)).collect())
            }
            // The keys of one log come before its commands; those of another come after them.
            Format::AofRdbPreamble if several => {
                let waiting = paths.iter().map(|p| p.with_extension("commands"));
                Behind::Late(waiting.collect())
            }
            _ => Behind::Here,
        }
    }

    fn shape<'h>(&self, header: &'h OnceLock<Header>) -> Shape<'h> {
        // Of commands alone nobody can tell who wrote them. RDB data without keys are the same in any version: so that of the first release that
        // reads such a file.
        let or = |version| {
            let least = Header {
                dialect: Dialect::Redis,
                version,
            };
            self.dump.release.map_or(least, Release::header)
        };
        match self.format {
            Format::Aof | Format::Restore => Shape::Commands,
            Format::Rdb => Shape::Rdb {
                header,
                or: Header::NEWEST,
                mark: None,
            },
            Format::AofRdbPreamble => Shape::Rdb {
                header,
                or: or(8),
                mark: Some("aof-preamble"),
            },
            Format::AppendOnlyDir => Shape::Rdb {
                header,
                or: or(10),
                mark: Some("aof-base"),
            },
        }
    }

    fn manifest(&self, sources: &[String], written: &[Written], left_out: u64) -> String {
        let nodes = self.topology.nodes().iter().zip(self.files()).zip(written);
        let nodes: Vec<_> = nodes
            .map(|((node, file), w)| {
                let mut line = json!({
                    "file": file,
                    "slots": node.slots.to_string(),
                    "keys": w.keys,
                    "bytes": w.bytes,
                    "cksum": w.cksum,
                });
                if w.commands > 0 {
                    line["commands"] = json!(w.commands);
                }
                if self.format == Format::AppendOnlyDir {
                    line["file"] = json!(format!("{file}/{BASE}"));
                }
                if let Some(incr) = &w.apart {
                    line["incr"] = json!({
                        "file": format!("{file}/{INCR}"),
                        "bytes": incr.bytes,
                        "cksum": incr.cksum,
                    });
                }
                if node.address.is_some() {
                    line["address"] = json!(node.to_string());
                }
                if let Some(id) = &node.id {
                    line["id"] = json!(id);
                }
                line
            })
            .collect();
        let manifest = json!({
            "rdbtool": env!("CARGO_PKG_VERSION"),
            "format": self.format.name(),
            "for": self.dump.release.map(|r| r.to_string()),
            "sources": sources,
            "keys": written.iter().map(|w| w.keys).sum::<u64>(),
            "bytes": written.iter().map(Written::size).sum::<u64>(),
            "left_out": left_out,
            "nodes": nodes,
        });
        format!("{manifest:#}\n")
    }
}

/// Writes the manifest of a node's directory.
fn list(w: &Written) -> Result<()> {
    let listed = |name: &str, what| Listed {
        name: name.as_bytes().to_vec(),
        seq: 1,
        what,
        start_offset: None,
        end_offset: None,
    };
    let mut files = vec![listed(BASE, Use::Base)];
    if w.apart.is_some() {
        files.push(listed(INCR, Use::Incr));
    }
    let path = w.path.with_file_name("appendonly.aof.manifest");
    put(&path, &Manifest { files }.write())
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes)
        .map_err(|e| RdbError::io("cannot write", e).with_file(&path.display().to_string()))
}

/// The list of keys that come twice.
const TWICE: &str = "twice.ndjson";

/// Keys that come twice, written down one by one: there may be many.
struct Twice {
    path: PathBuf,
    file: Mutex<Option<BufWriter<File>>>,
}

impl Twice {
    fn new(path: PathBuf) -> Arc<Twice> {
        Arc::new(Twice {
            path,
            file: Mutex::new(None),
        })
    }

    fn named(&self, e: std::io::Error) -> RdbError {
        RdbError::io("cannot write", e).with_file(&self.path.display().to_string())
    }

    fn tell(&self, db: u64, key: &[u8]) -> Result<()> {
        let mut out = Out::new();
        out.raw(b"{\"db\":");
        out.u64(db);
        out.raw(b",\"key\":");
        escape::string(key, &mut out)?;
        out.raw(b"}\n");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let to = match &mut *file {
            Some(to) => to,
            none => none.insert(BufWriter::new(
                File::create(&self.path).map_err(|e| self.named(e))?,
            )),
        };
        to.write_all(out.as_bytes()).map_err(|e| self.named(e))
    }

    fn end(&self) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match file.take() {
            Some(mut file) => file.flush().map_err(|e| self.named(e)),
            None => Ok(()),
        }
    }

    /// The error of them; the list is put beside where the directory would have been.
    fn keep(&self, dir: &Path, count: u64) -> RdbError {
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{TWICE}"));
        let kept = dir.with_file_name(name);
        let list = match std::fs::rename(&self.path, &kept) {
            Ok(()) => format!("{} names them", kept.display()),
            Err(e) => format!("their list cannot be kept: {e}"),
        };
        let what = format!("{count} times a key comes whose name has been there before; {list}");
        RdbError::other(ErrorKind::Conflict, what)
    }
}
