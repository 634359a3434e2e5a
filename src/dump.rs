//! The high level: sources in, what a server takes in out: commands, RESTORE payloads, or a new RDB file.

use crate::aof;
use crate::cluster::topology::Topology;
use crate::encode::Encode;
use crate::encode::commands::{self, Commands};
use crate::encode::loss::Losses;
use crate::encode::rdb::Rdb;
use crate::encode::restore::{self, Restore};
use crate::encode::route::units::Units;
use crate::encode::route::{self, Routed, Router};
use crate::error::Result;
use crate::filter::{Filter, Libraries, OnConflict, Told, Transform, Unique};
use crate::out::Out;
use crate::pipeline::{self, OnError, Options, Progress, Summary};
use crate::rdb::header::Header;
use crate::rdb::release::Release;
use crate::rdb::{crc64, write};
use crate::resp;
use crate::sink::{Count, Sink};
use crate::source::Source;
use std::sync::OnceLock;

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// An append-only file: the ordinary commands that rebuild the data, as the server's own rewrite has them.
    #[default]
    Aof,
    /// RESTORE commands: values as they are serialized.
    Restore {
        /// Values larger than so many bytes come as ordinary commands.
        big_key: u64,
        /// Or are an error.
        whole: bool,
    },
    /// An RDB file.
    Rdb,
}

/// What the commands go into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Live {
    /// A file or a pipe.
    #[default]
    No,
    /// A [target](crate::target) that is a single server: commands of a log come in [units](Units).
    Server,
    /// A target that is a cluster: each unit is for one slot, too.
    Cluster,
}

/// How to dump.
#[derive(Debug, Clone, Default)]
pub struct Dump {
    /// What comes out.
    pub format: Format,
    /// Who shall read it; `None` for a server at least as new as the one that wrote the first source.
    pub release: Option<Release>,
    /// Which keys are wanted.
    pub filter: Filter,
    /// What is changed of them.
    pub transform: Transform,
    /// What is done with a key that another source, or another database, has brought already. In a stream of commands, also
    /// with what the target holds under that name.
    pub on_conflict: OnConflict,
    /// How many threads work; 0 for as many as there are cores.
    pub threads: usize,
    /// Whether to leave the trailing checksum unverified.
    pub ignore_checksum: bool,
    /// What is done with broken values.
    pub on_error: OnError,
    /// How many keys and commands to give at the most, of all sources together.
    pub limit: Option<u64>,
    /// How the commands of append-only files are read.
    pub log: aof::Options,
    /// Whether the sink is a live target.
    pub live: Live,
}

/// What a run has come to.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Dumped {
    /// What was seen of each source.
    pub summaries: Vec<Summary>,
    /// What could not be kept.
    pub losses: Losses,
    /// Keys that came as ordinary commands instead of RESTORE.
    pub converted: u64,
    /// Keys left out because an earlier one has their name.
    pub left_out: u64,
    /// Function libraries left out because an earlier one has their name, and other code.
    pub libraries_left_out: u64,
}

impl Dump {
    /// Writes the sources, one after the other, into `sink`.
    ///
    /// # Errors
    ///
    /// The first trouble there is; everything before it has been written.
    ///
    /// # Example
    ///
    /// ```
    /// use rdbtool::{Dump, Progress, sink::Plain, source::Source};
    /// let file: &[u8] = b"REDIS0004\xfe\x00\x00\x05hello\x05world\xff";
    /// let mut commands = Vec::new();
    /// Dump::default().run(
    ///     &mut [Source::from_reader("example", file)],
    ///     &Progress::new(),
    ///     &mut Plain(&mut commands),
    /// )?;
    /// assert_eq!(
    ///     commands,
    ///     b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$5\r\nhello\r\n$5\r\nworld\r\n"
    /// );
    /// # Ok::<(), rdbtool::RdbError>(())
    /// ```
    pub fn run(
        &self,
        sources: &mut [Source],
        progress: &Progress,
        sink: &mut dyn Sink,
    ) -> Result<Dumped> {
        if self.format == Format::Rdb {
            let header = OnceLock::new();
            let mut file = RdbFile {
                sink,
                header: &header,
                crc: None,
            };
            let dumped = self.each(sources, progress, &mut file, &header, None)?;
            file.end()?;
            return Ok(dumped);
        }
        self.each(sources, progress, sink, &OnceLock::new(), None)
    }

    /// The same in frames, as [`Out`] has them, for the nodes of a cluster. `header` becomes that of the RDB files, if they are to be
    /// some. A key that comes twice is told to `told`; what is written is one of them, the last under [`OnConflict::Replace`] and
    /// otherwise the first.
    pub fn routed(
        &self,
        sources: &mut [Source],
        progress: &Progress,
        sink: &mut dyn Sink,
        header: &OnceLock<Header>,
        router: &Router<'_>,
        told: Told,
    ) -> Result<Dumped> {
        self.each(sources, progress, sink, header, Some((router, told)))
    }

    /// What a run would come to, without writing anything.
    pub fn dry(&self, sources: &mut [Source], progress: &Progress) -> Result<Dumped> {
        self.run(sources, progress, &mut Count::default())
    }

    fn each(
        &self,
        sources: &mut [Source],
        progress: &Progress,
        sink: &mut dyn Sink,
        header: &OnceLock<Header>,
        routed: Option<(&Router<'_>, Told)>,
    ) -> Result<Dumped> {
        let datasets = sources.iter().filter(|s| !s.continues()).count();
        let merges = datasets > 1 || self.transform.merges();
        let rdb = self.format == Format::Rdb;
        let (router, told) = routed.unzip();
        // Commands that delete, or replace, what is there need not be told apart; but for nodes that are empty nothing is deleted.
        let firsts = rdb || router.is_some();
        let unique =
            (merges && (firsts || self.on_conflict != OnConflict::Replace)).then(|| match told {
                Some(told) => Unique::telling(told),
                None => Unique::new(self.on_conflict == OnConflict::Error),
            });
        let libraries = (unique.is_some() || router.is_some())
            .then(|| Libraries::new(self.on_conflict == OnConflict::Error));
        if merges && firsts && self.on_conflict == OnConflict::Replace {
            // The last one counts: so the last source comes first, and later ones are left out. The files of one log stay in their order.
            sources.reverse();
            for log in sources.split_inclusive_mut(|s| !s.continues()) {
                log.reverse();
            }
        }
        let mut stopped = false;
        // Of the log that is being read.
        let mut commands = 0;
        let mut dumped = Dumped::default();
        let mut limit = self.limit;
        for (i, source) in sources.iter_mut().enumerate() {
            if std::mem::take(&mut stopped) && source.continues() {
                stopped = true;
                continue;
            }
            if !source.continues() {
                commands = 0;
                if let Some(unique) = &unique {
                    unique.next_source();
                }
            }
            let options = Options {
                // Of keys that one source brings twice the first counts, so it must be known which is first.
                threads: match self.transform.merges() {
                    true => 1,
                    false => self.threads,
                },
                filter: &self.filter,
                transform: &self.transform,
                unique: unique.as_ref(),
                libraries: libraries.as_ref(),
                checksum: !self.ignore_checksum,
                on_error: self.on_error,
                limit,
                log: self.log,
            };
            if i > 0 || self.transform.db(0) != 0 {
                // A file need not say which database it begins with.
                let db = self.transform.db(0);
                let mut out = Out::new();
                match (router, rdb) {
                    (Some(_), _) => route::select(db, &mut out),
                    (None, true) => write::select_db(db, &mut out),
                    (None, false) => {
                        resp::write::command(&[b"SELECT", db.to_string().as_bytes()], &mut out);
                    }
                }
                sink.write(out.as_bytes())?;
            }
            let replace = self.on_conflict == OnConflict::Replace && router.is_none();
            let release = |source: Header| match (self.release, rdb) {
                (None, true) => {
                    let first = *header.get_or_init(|| source);
                    (first != source).then(|| Release::writing(first))
                }
                (release, _) => release,
            };
            let run = Run {
                options: &options,
                progress,
                sink,
                router,
                live: self.live,
            };
            let summary = match self.format {
                Format::Aof => run.with(
                    source,
                    &mut dumped,
                    |h| {
                        let release = release(h);
                        Commands::new(h, commands::Options { release, replace })
                    },
                    |e| (e.into_losses(), 0),
                ),
                Format::Restore { big_key, whole } => run.with(
                    source,
                    &mut dumped,
                    |h| {
                        let options = restore::Options {
                            release: release(h),
                            replace,
                            big_key,
                            whole,
                        };
                        Restore::new(h, options)
                    },
                    Restore::into_losses,
                ),
                Format::Rdb => run.with(
                    source,
                    &mut dumped,
                    |h| {
                        let has_log = router.is_some_and(Router::has_log);
                        if h == Header::NONE && has_log {
                            // Commands only: which files its readers take it does not say, perhaps another source does.
                            return Rdb::new(Header::NEWEST, self.release)
                                .with_log(self.release, false);
                        }
                        let h = if h == Header::NONE { Header::NEWEST } else { h };
                        header.get_or_init(|| Rdb::header(h, self.release));
                        let encoder = Rdb::new(h, release(h));
                        match has_log {
                            true => encoder.with_log(self.release, commands > 0),
                            false => encoder,
                        }
                    },
                    |e| (e.into_losses(), 0),
                ),
            }?;
            commands += summary.commands;
            limit = limit.map(|n| n.saturating_sub(summary.keys + summary.commands));
            stopped = summary.stopped;
            dumped.losses.merge(summary.losses.clone());
            dumped.summaries.push(summary);
            if limit == Some(0) {
                break;
            }
        }
        dumped.left_out = unique.map_or(0, |u| u.left_out());
        dumped.libraries_left_out = libraries.map_or(0, |l| l.left_out());
        Ok(dumped)
    }
}

/// One source, with whichever encoder.
struct Run<'r, 's> {
    options: &'r Options<'r>,
    progress: &'r Progress,
    sink: &'s mut dyn Sink,
    router: Option<&'r Router<'r>>,
    live: Live,
}

impl Run<'_, '_> {
    fn with<E: Encode>(
        self,
        source: &mut Source,
        dumped: &mut Dumped,
        encoder: impl Fn(Header) -> E + Sync,
        losses: impl Fn(E) -> (Losses, u64),
    ) -> Result<Summary> {
        let Run {
            options,
            progress,
            sink,
            router,
            live,
        } = self;
        let mut inner = |(encoder, losses)| {
            dumped.losses.merge(losses);
            encoder
        };
        let (summary, encoders): (_, Vec<E>) = match (router, live) {
            (Some(router), _) => {
                let routed = |header| Routed::new(encoder(header), router);
                let (summary, all) = pipeline::run(source, options, progress, sink, routed)?;
                let all = all.into_iter().map(|e| inner(e.into_parts()));
                (summary, all.collect())
            }
            (None, Live::No) => pipeline::run(source, options, progress, sink, encoder)?,
            (None, live) => {
                let topology = Topology::even(1);
                let router = Router::new(&topology, u64::MAX)
                    .live(true)
                    .lenient(options.on_error == OnError::Skip);
                let router = (live == Live::Cluster).then_some(&router);
                let units = |header| Units::new(encoder(header), router);
                let (summary, all) = pipeline::run(source, options, progress, sink, units)?;
                let all = all.into_iter().map(|e| inner(e.into_parts()));
                (summary, all.collect())
            }
        };
        for e in encoders {
            let (lost, converted) = losses(e);
            dumped.losses.merge(lost);
            dumped.converted += converted;
        }
        Ok(summary)
    }
}

/// An RDB file on its way: the header before it, the end and the checksum behind it.
struct RdbFile<'s, 'h> {
    sink: &'s mut dyn Sink,
    /// Known once the first source has been looked at, which is before anything is written.
    header: &'h OnceLock<Header>,
    /// The checksum of what has been written, once the header has.
    crc: Option<u64>,
}

impl RdbFile<'_, '_> {
    fn end(&mut self) -> Result<()> {
        self.write(&[])?;
        let header = self.header.get().copied().unwrap_or(Header::NEWEST);
        self.sink
            .write(&write::file_end(self.crc.unwrap_or_default(), header))
    }

    fn pass(&mut self, bytes: &[u8]) -> Result<()> {
        let crc = self.crc.unwrap_or_default();
        let sum = crc64::checksum(bytes);
        self.crc = Some(crc64::combine(crc, sum, bytes.len() as u64));
        self.sink.write(bytes)
    }
}

impl Sink for RdbFile<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.crc.is_none() {
            let header = self.header.get().copied().unwrap_or(Header::NEWEST);
            self.pass(&write::header(header))?;
        }
        self.pass(bytes)
    }
}
