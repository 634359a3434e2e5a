//! The high level: sources in, JSON out.

use crate::aof;
use crate::encode::json::{Format, Json};
use crate::error::{ErrorKind, Result};
use crate::filter::{Filter, Transform};
use crate::out::Out;
use crate::pipeline::{self, OnError, Options, Progress, Summary};
use crate::sink::Sink;
use crate::source::Source;

/// How to decode.
#[derive(Debug, Clone, Default)]
pub struct Decode {
    /// What the output looks like.
    pub format: Format,
    /// Whether to add what the file knows of each key beside its data, and the aux fields.
    pub meta: bool,
    /// Which keys are wanted.
    pub filter: Filter,
    /// What is changed of them.
    pub transform: Transform,
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
}

impl Decode {
    /// Decodes the sources one after the other into `sink`; gives what was seen of each.
    ///
    /// # Errors
    ///
    /// The first trouble there is. Everything before it has been written.
    ///
    /// # Example
    ///
    /// ```
    /// use rdbtool::{Decode, Progress, sink::Plain, source::Source};
    /// let file: &[u8] = b"REDIS0004\xfe\x00\x00\x05hello\x05world\xff";
    /// let mut json = Vec::new();
    /// Decode::default().run(
    ///     &mut [Source::from_reader("example", file)],
    ///     &Progress::new(),
    ///     &mut Plain(&mut json),
    /// )?;
    /// assert_eq!(json, b"{\"db\":0,\"key\":\"hello\",\"type\":\"string\",\"value\":\"world\"}\n");
    /// # Ok::<(), rdbtool::RdbError>(())
    /// ```
    pub fn run(
        &self,
        sources: &mut [Source],
        progress: &Progress,
        sink: &mut dyn Sink,
    ) -> Result<Vec<Summary>> {
        sink.write(self.format.prologue(self.meta))?;
        if self.format != Format::Json {
            return self.each(sources, progress, sink);
        }
        let mut array = Array { sink, last: None };
        let r = self.each(sources, progress, &mut array);
        match &r {
            // Damage inside a line cannot be made good; behind one the array is closed, so that what there is can be read.
            Err(e) if e.kind() != ErrorKind::Io && array.last.is_none_or(|b| b == b'\n') => {
                array.close()?;
            }
            Err(_) => {}
            Ok(_) => array.close()?,
        }
        r
    }

    fn each(
        &self,
        sources: &mut [Source],
        progress: &Progress,
        sink: &mut dyn Sink,
    ) -> Result<Vec<Summary>> {
        let mut limit = self.limit;
        let mut summaries = Vec::new();
        let mut stopped = false;
        for source in sources {
            if std::mem::take(&mut stopped) && source.continues() {
                stopped = true;
                continue;
            }
            // Of what is left by a filter a SELECT would mostly tell nothing.
            let selects = self.filter.is_pass_all();
            if selects && source.continues() {
                // Each file of a directory begins in database 0; where one becomes of them, that must be said.
                let mut out = Out::new();
                self.format.select(self.transform.db(0), &mut out);
                sink.write(out.as_bytes())?;
            }
            let options = Options {
                threads: self.threads,
                filter: &self.filter,
                transform: &self.transform,
                unique: None,
                libraries: None,
                checksum: !self.ignore_checksum,
                on_error: self.on_error,
                limit,
                log: self.log,
            };
            let (summary, _) = pipeline::run(source, &options, progress, sink, |header| {
                Json::new(self.format, self.meta, header).with_selects(selects)
            })?;
            limit = limit.map(|n| n.saturating_sub(summary.keys + summary.commands));
            stopped = summary.stopped;
            summaries.push(summary);
            if limit == Some(0) {
                break;
            }
        }
        Ok(summaries)
    }
}

/// Makes one array of objects that each begin with a comma: the first comma of all becomes the bracket.
struct Array<'s> {
    sink: &'s mut dyn Sink,
    /// The last byte written.
    last: Option<u8>,
}

impl Array<'_> {
    fn close(&mut self) -> Result<()> {
        self.sink
            .write(if self.last.is_none() { b"[]\n" } else { b"]\n" })
    }
}

impl Sink for Array<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let (Some((_, rest)), Some(last)) = (bytes.split_first(), bytes.last()) else {
            return Ok(());
        };
        if self.last.replace(*last).is_some() {
            return self.sink.write(bytes);
        }
        self.sink.write(b"[")?;
        self.sink.write(rest)
    }
}
