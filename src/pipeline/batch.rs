//! Cutting the input into jobs: batches of whole items, and parts of values larger than a batch.
//!
//! ```text
//!   items   |k1|k2|k3|k4|       giant key k5        |k6|k7| ...
//!   jobs    |  batch    | part 0  | part 1 | part 2 | batch
//! ```
//!
//! The jobs are contiguous: every byte is in one of them, so that their checksums combine to that of the file. Nothing is
//! decoded here; this runs under a lock, by whichever worker needs a job next.

use super::Options;
use super::log::{Log, LogEnd, is_later, too_late};
use crate::aof::Place;
use crate::cursor::Cursor;
use crate::error::{ErrorKind, RdbError, Result};
use crate::filter::{Filter, Renamed, Transform, Unique};
use crate::rdb::entry::Entry;
use crate::rdb::header::{HEADER_LEN, Header};
use crate::rdb::scan::{self, Context, Item, Record, Step};
use crate::rdb::skip::{self, Unit, Units};
use crate::rdb::string::{RdbStr, Scratch};
use crate::rdb::template::Templates;
use crate::rdb::value::Open;
use crate::rdb::value_type::ValueType;
use crate::source::{Chunk, Window};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Bytes after which a batch is cut. Small enough for a core's own cache: the worker that scans it encodes it next.
pub(crate) const BATCH: usize = 256 << 10;

/// Items of fewer bytes than this, on average, are scanned in order as it is.
const DENSE: usize = 256;

/// A piece of work, with its bytes.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) chunk: Chunk<'a>,
    /// Offset in the file of the chunk's first byte.
    pub(crate) offset: u64,
    pub(crate) work: Work,
}

/// What there is to do with the bytes of a job, beside their checksum.
#[derive(Debug)]
pub(crate) enum Work {
    /// Nothing.
    Pass,
    /// Walk the items.
    Items(Context),
    /// Nothing more: whoever asked for the job has been shown its items.
    Seen,
    /// Walk the commands of a log, the first of which are for this database. Whether that is another than the one selected so far, by RDB data
    /// before them.
    Commands(u64, bool),
    /// Units of a giant value.
    Part {
        giant: Arc<Giant>,
        /// Where the units lie in the chunk.
        units: std::ops::Range<usize>,
        /// Where in the chunk the value, or the rest of it, begins.
        value: usize,
        first: bool,
        last: bool,
    },
}

/// A value that is cut into parts.
#[derive(Debug)]
pub(crate) struct Giant {
    entry: Entry<'static>,
    key: Vec<u8>,
    metadata: Vec<u8>,
    /// What field expiries of type 24 count from.
    pub(crate) min_expiry: i64,
    /// What follows a stream's nodes, which the JSON of a stream begins with, and its offset.
    pub(crate) tail: Option<(Vec<u8>, u64)>,
    /// Elements in the parts that have been written.
    pub(crate) elements: AtomicU64,
    /// Whether an element has been written.
    pub(crate) begun: AtomicBool,
}

impl Giant {
    /// Key and attributes; the body is empty.
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry {
            key: RdbStr::raw(&self.key, self.entry.key.offset()),
            metadata: &self.metadata,
            ..self.entry
        }
    }
}

/// The end of the file, once it has been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// The checksum the file carries, unless its version has none or it says that none was computed.
    pub(crate) stored: Option<u64>,
    /// Where the checksum stands.
    pub(crate) offset: u64,
    /// First byte after the file, if more follows.
    pub(crate) trailing: Option<u8>,
}

enum State {
    /// Between items.
    Items,
    /// In a giant value; `head` bytes stand before its next unit, of which the value's own begin at `value`.
    Giant {
        units: Units,
        head: usize,
        value: usize,
    },
    /// In a log: of a file that has nothing else, or behind the RDB data.
    Log(Box<Log>),
    /// Behind the EOF opcode, or an error.
    Ended,
}

/// Gives jobs until the input ends.
pub(crate) struct Feed<'a, 'f> {
    window: Window<'a>,
    filter: &'f Filter,
    transform: &'f Transform,
    unique: Option<&'f Unique>,
    /// Up to how many bytes a value is not cut.
    whole_up_to: usize,
    log: crate::aof::Options,
    place: Place,
    cx: Context,
    state: State,
    /// The giant value being cut, if it is wanted.
    giant: Option<Arc<Giant>>,
    /// Its type, wanted or not.
    giant_type: ValueType,
    /// Whether the items of the last batch were far between.
    sparse: bool,
    failed: Option<RdbError>,
    end: Option<End>,
}

/// A part of a giant value whose end is not known.
pub(crate) struct OpenPart<'a> {
    pub(crate) giant: Arc<Giant>,
    /// All that follows in the file.
    pub(crate) bytes: &'a [u8],
    /// Where that lies in the file.
    pub(crate) offset: u64,
    pub(crate) open: Open,
}

/// What became of it.
pub(crate) struct Walked<'a> {
    pub(crate) chunk: Chunk<'a>,
    pub(crate) last: bool,
    pub(crate) error: Option<RdbError>,
}

/// How the walk over a window ended.
enum Cut {
    /// Where `batch` ends.
    Batch,
    /// More bytes are needed to go on.
    More,
    /// With a value larger than a batch, at the window's start.
    Giant,
    /// With the EOF opcode, where `batch` ends.
    End,
}

/// What the walk over a window has found so far.
struct Batch {
    /// Where the last item ended that leaves no attribute open.
    len: usize,
    /// Whether any of it can be of interest: something else than keys of a database that is filtered out.
    wanted: bool,
    /// How many items there are in it.
    items: usize,
}

impl<'a, 'f> Feed<'a, 'f> {
    /// Reads magic and version. Anything but the magic of an RDB file begins a log.
    pub(crate) fn new(
        mut window: Window<'a>,
        place: Place,
        options: &'f Options<'_>,
    ) -> Result<Self> {
        while window.bytes().len() < HEADER_LEN && !window.is_whole() {
            window.fill();
        }
        let bytes = window.bytes();
        let has_rdb = Header::is_magic(bytes);
        let header = match has_rdb {
            true => Header::read(bytes)?,
            false => Header::NONE,
        };
        Ok(Feed {
            window,
            filter: options.filter,
            transform: options.transform,
            unique: options.unique,
            whole_up_to: 0,
            log: options.log,
            place,
            cx: Context::new(header),
            state: match has_rdb {
                true => State::Items,
                false => State::Log(Box::new(Log::new(options.log, place))),
            },
            giant: None,
            giant_type: ValueType::String,
            sparse: true,
            failed: None,
            end: None,
        })
    }

    /// Values of up to so many bytes are not cut into parts.
    pub(crate) fn keep_whole(&mut self, up_to: u64) {
        self.whole_up_to = usize::try_from(up_to).unwrap_or(usize::MAX);
    }

    /// Magic and version; [`Header::NONE`] if there is only a log.
    pub(crate) fn header(&self) -> Header {
        self.cx.header
    }

    /// What was found where the log ends, if there is one and it has been reached.
    pub(crate) fn log_end(&self) -> Option<&LogEnd> {
        match &self.state {
            State::Log(log) => Some(&log.end),
            _ => None,
        }
    }

    /// What stands behind the EOF opcode, once it has been reached.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    /// Gives back a chunk that is done with.
    pub(crate) fn recycle(&mut self, chunk: Chunk<'a>) {
        self.window.recycle(chunk);
    }

    /// Whether [`Feed::next_seen`] can be used.
    pub(crate) fn is_whole(&self) -> bool {
        self.window.is_whole()
    }

    /// The next job; `None` behind the last. An error comes after the jobs of all that stands before it.
    pub(crate) fn next(&mut self) -> Result<Option<Job<'a>>> {
        self.next_job(None::<fn(&Step<'_>, &Entry<'_>, &Templates) -> Result<bool>>)
    }

    /// The same for one thread alone, and a window that is whole: `see` is shown each item as it is scanned, so that nobody
    /// need walk it again. It may ask, by true, for the batch to end there.
    pub(crate) fn next_seen(
        &mut self,
        see: impl FnMut(&Step<'_>, &Entry<'_>, &Templates) -> Result<bool>,
    ) -> Result<Option<Job<'a>>> {
        self.next_job(Some(see))
    }

    fn next_job(
        &mut self,
        see: Option<impl FnMut(&Step<'_>, &Entry<'_>, &Templates) -> Result<bool>>,
    ) -> Result<Option<Job<'a>>> {
        if let Some(e) = self.failed.take() {
            self.state = State::Ended;
            return Err(self.why(e));
        }
        let job = match &mut self.state {
            State::Items => self.items(see),
            &mut State::Giant { units, head, value } => self.part(units, head, value).map(Some),
            State::Log(log) => return log.next(&mut self.window),
            State::Ended => Ok(None),
        };
        job.map_err(|e| {
            self.state = State::Ended;
            self.why(e)
        })
    }

    /// A source that broke off says why; that its bytes end is only what follows.
    fn why(&mut self, e: RdbError) -> RdbError {
        match e.kind() {
            ErrorKind::UnexpectedEof => self.window.failure().unwrap_or(e),
            _ => e,
        }
    }

    fn items(
        &mut self,
        mut see: Option<impl FnMut(&Step<'_>, &Entry<'_>, &Templates) -> Result<bool>>,
    ) -> Result<Option<Job<'a>>> {
        let seen = see.is_some();
        if self.sparse {
            self.touch();
        }
        loop {
            let context = self.cx.clone();
            let mut batch = Batch {
                len: 0,
                wanted: self.filter.db(context.db),
                items: 0,
            };
            match self.walk(&mut batch, &mut see)? {
                Cut::Batch => return Ok(Some(self.job(&batch, context, seen))),
                Cut::More => {
                    self.cx = context;
                    self.window.fill();
                }
                Cut::Giant => {
                    self.cx = context;
                    return self.begin_giant().map(Some);
                }
                Cut::End => {
                    let job = self.job(&batch, context, seen);
                    self.finish();
                    return Ok(Some(job));
                }
            }
        }
    }

    /// Reads a byte of every cache line of the batch to come: in order, which the processor does far faster than the jumps of
    /// a scan from key to key. What is read here is needed again at once, for the checksum.
    fn touch(&self) {
        let bytes = self.window.bytes();
        let ahead = &bytes[..bytes.len().min(BATCH)];
        let mut sum = 0u8;
        for line in ahead.chunks(64) {
            sum |= line[0];
        }
        std::hint::black_box(sum);
    }

    /// What a mapped file holds behind the batch to come.
    pub(crate) fn beyond(&self) -> &'a [u8] {
        self.window.mapped(BATCH, BATCH)
    }

    fn job(&mut self, batch: &Batch, context: Context, seen: bool) -> Job<'a> {
        self.sparse = batch.items * DENSE < batch.len;
        Job {
            offset: self.window.offset(),
            chunk: self.window.take(batch.len),
            work: match (seen, batch.wanted) {
                (true, _) => Work::Seen,
                (false, true) => Work::Items(context),
                (false, false) => Work::Pass,
            },
        }
    }

    /// Walks items from the window's start until there is enough for a batch.
    #[inline]
    fn walk(
        &mut self,
        batch: &mut Batch,
        see: &mut Option<impl FnMut(&Step<'_>, &Entry<'_>, &Templates) -> Result<bool>>,
    ) -> Result<Cut> {
        let whole = self.window.is_whole();
        let mut c = first_item(&self.window);
        let mut record = Record::new();
        // Where an item ends that stands between the attributes of a key and its type. The key is read together with it, however
        // large.
        let mut between = None;
        // What stands before an error is a batch of its own.
        let stop = |batch: &mut Batch,
                    between: Option<usize>,
                    e: RdbError,
                    failed: &mut Option<RdbError>| {
            if e.kind() == ErrorKind::UnexpectedEof && !whole {
                Ok(if batch.len == 0 {
                    Cut::More
                } else {
                    Cut::Batch
                })
            } else if batch.len.max(between.unwrap_or(0)) == 0 {
                Err(e)
            } else {
                batch.len = between.unwrap_or(batch.len);
                *failed = Some(e);
                Ok(Cut::Batch)
            }
        };
        loop {
            // The commonest records by far, when nobody wants to see them.
            if see.is_none() && !record.pending {
                let mut at = c.position();
                while let Some(end) = skip::string_record_end(c.window(), at) {
                    at = end;
                    batch.items += 1;
                    if at >= BATCH {
                        break;
                    }
                }
                if at > c.position() {
                    c.set_position(at);
                    batch.len = at;
                    if at >= BATCH {
                        return Ok(Cut::Batch);
                    }
                }
            }
            let db = self.cx.db;
            let step = match scan::read_head(&mut c, &mut self.cx, &mut record, whole) {
                Ok(step) => step,
                Err(e) => {
                    self.cx.db = db;
                    return stop(batch, between, e, &mut self.failed);
                }
            };
            match &step {
                Step::Key => {
                    let from = c.position();
                    let until = match between {
                        Some(_) => usize::MAX,
                        None => from.saturating_add(self.whole_up_to.max(BATCH)),
                    };
                    let (t, templates) = (record.entry.value_type, &self.cx.templates);
                    match skip::value(&mut c, t, templates, whole, until) {
                        Ok(None) => record.entry.body = c.since(from),
                        Ok(Some(_)) if batch.len == 0 => return Ok(Cut::Giant),
                        Ok(Some(_)) => return Ok(Cut::Batch),
                        Err(e) => {
                            let e = scan::name(e, &record.entry);
                            return stop(batch, between, e, &mut self.failed);
                        }
                    }
                }
                Step::Item(Item::SelectDb(_)) if batch.len > 0 && between.is_none() => {
                    // A batch is of one database, unless there is no place to cut it.
                    self.cx.db = db;
                    return Ok(Cut::Batch);
                }
                Step::Item(Item::SelectDb(db)) => {
                    batch.wanted = self.filter.db(*db) || between.is_some();
                }
                Step::Item(Item::End) => {
                    batch.len = c.position();
                    return Ok(Cut::End);
                }
                Step::Item(Item::Hint) => {}
                Step::Item(Item::Aux { name, value }) => {
                    batch.wanted = true;
                    if let Some(until) = self.log.until {
                        saved_before(until, name, value)?;
                    }
                }
                Step::Item(_) => batch.wanted = true,
            }
            let enough = match see {
                Some(see) => see(&step, &record.entry, &self.cx.templates)?,
                None => false,
            };
            between = record.pending.then_some(c.position());
            if between.is_none() {
                batch.len = c.position();
                batch.items += 1;
                if batch.len >= BATCH || enough {
                    return Ok(Cut::Batch);
                }
            }
        }
    }

    /// Reads the head of the giant value at the window's start and decides whether it is wanted.
    fn begin_giant(&mut self) -> Result<Job<'a>> {
        let whole = self.window.is_whole();
        let mut c = first_item(&self.window);
        let mut record = Record::new();
        while !matches!(
            scan::read_head(&mut c, &mut self.cx, &mut record, whole)?,
            Step::Key
        ) {}
        let entry = record.entry;
        let mut scratch = Scratch::new();
        let key = entry.key.as_bytes(&mut scratch)?;
        let t = entry.value_type;
        let (unit, prefix) = Unit::of(t).unwrap_or((Unit::Str, 0));
        let value = c.position();
        let min_expiry = match prefix {
            0 => 0,
            _ => c.clone().i64_le("the smallest field expiry")?,
        };
        let units = Units::read(&mut c, unit, prefix, whole)?;
        let head = c.position();
        let wanted = self.filter.db(entry.db)
            && self.filter.head(t.logical(), entry.expire_at_ms)
            && self.filter.key(key);
        let mut room = Renamed::default();
        let entry = self.transform.entry(&entry, &mut room)?;
        let mut unpacked = Scratch::new();
        let key = entry.key.as_bytes(&mut unpacked)?;
        let mut giant = Giant {
            entry: Entry {
                key: RdbStr::raw(b"", entry.key.offset()),
                metadata: b"",
                body: b"",
                ..entry
            },
            key: key.to_vec(),
            metadata: entry.metadata.to_vec(),
            min_expiry,
            tail: None,
            elements: AtomicU64::new(0),
            begun: AtomicBool::new(false),
        };
        self.giant = None;
        self.giant_type = t;
        if wanted {
            // The JSON of a stream begins with what stands behind its nodes; a size is known only at the end.
            let mut size = None;
            if t.stream_version().is_some() || self.filter.needs_size() {
                let name = |e: RdbError| e.with_key(&giant.key, t.name());
                let tail = self.find_tail(units, head).map_err(name)?;
                size = Some((tail.end - value) as u64);
                if t.stream_version().is_some() {
                    let bytes = self.window.bytes()[tail.clone()].to_vec();
                    giant.tail = Some((bytes, self.window.offset() + tail.start as u64));
                }
            }
            let first = |g: &Giant| match self.unique {
                Some(unique) => unique.is_first(g.entry.db, &g.key, g.entry.offset),
                None => Ok(true),
            };
            if size.is_none_or(|n| self.filter.size(n)) && first(&giant)? {
                self.giant = Some(Arc::new(giant));
            }
        }
        self.part(units, head, value)
    }

    /// Walks all the units from `at` on; gives where what follows them lies in the window.
    fn find_tail(&mut self, mut units: Units, at: usize) -> Result<std::ops::Range<usize>> {
        let mut from = at;
        loop {
            let whole = self.window.is_whole();
            let mut c = Cursor::new(self.window.bytes(), self.window.offset());
            c.set_position(from);
            let mut walk = || {
                units.skip(&mut c, usize::MAX)?;
                from = c.position();
                skip::after_units(&mut c, self.giant_type, whole)
            };
            match walk() {
                Ok(()) => return Ok(from..c.position()),
                Err(e) if e.kind() != ErrorKind::UnexpectedEof || whole => return Err(e),
                Err(_) if units.left > 0 => from = c.position(),
                Err(_) => {}
            }
            self.window.fill();
        }
    }

    /// The next part of a giant value, for whoever decodes it without knowing where it ends; then [`Feed::walked`] must be told. Only
    /// of units that nothing follows, where all bytes are at hand, and not the first part.
    pub(crate) fn open_part(&self) -> Option<OpenPart<'a>> {
        let State::Giant { units, head: 0, .. } = self.state else {
            return None;
        };
        let bytes = self.window.mapped(0, usize::MAX);
        if bytes.is_empty() || self.giant_type.stream_version().is_some() || self.failed.is_some() {
            return None;
        }
        Some(OpenPart {
            giant: Arc::clone(self.giant.as_ref()?),
            bytes,
            offset: self.window.offset(),
            open: Open::new(units.left, BATCH),
        })
    }

    /// How far the open part was walked; gives its bytes, and whether the value ends with it.
    ///
    /// An error of the decoder is told as that of the scanner if that cannot pass over the unit either: the same error
    /// whichever of the two comes first.
    pub(crate) fn walked(&mut self, part: &OpenPart<'a>, error: Option<RdbError>) -> Walked<'a> {
        let (left, used) = part.open.left();
        let mut error = error;
        if let (State::Giant { units, .. }, Some(e)) = (&self.state, &mut error) {
            let mut units = Units { left, ..*units };
            let mut c = Cursor::new(self.window.bytes(), self.window.offset());
            c.set_position(used);
            if e.kind() != ErrorKind::Io
                && let Err(found) = units.skip(&mut c, used + 1)
            {
                *e = found;
            }
        }
        let last = left == 0 && error.is_none();
        match (&mut self.state, last || error.is_some()) {
            (State::Giant { units, .. }, false) => units.left = left,
            (state, _) => {
                *state = if last { State::Items } else { State::Ended };
                self.giant = None;
            }
        }
        Walked {
            chunk: self.window.take(used),
            last,
            error,
        }
    }

    /// The next part of a giant value, `head` bytes behind the window's start.
    fn part(&mut self, mut units: Units, head: usize, value: usize) -> Result<Job<'a>> {
        let first = head > 0;
        let (to, len) = loop {
            let whole = self.window.is_whole();
            let mut c = Cursor::new(self.window.bytes(), self.window.offset());
            c.set_position(head);
            let before = units;
            let mut to = head;
            let r = units.skip(&mut c, head + BATCH).and_then(|()| {
                to = c.position();
                match units.left {
                    0 => skip::after_units(&mut c, self.giant_type, whole),
                    _ => Ok(()),
                }
            });
            match r {
                Ok(()) => break (to, c.position()),
                Err(e) if e.kind() == ErrorKind::UnexpectedEof && !whole => {
                    if units.left > 0 && c.position() > head {
                        break (c.position(), c.position());
                    }
                    units = before;
                    self.window.fill();
                }
                Err(e) => {
                    let e = match &self.giant {
                        Some(g) => e.with_key(&g.key, self.giant_type.name()),
                        None => e,
                    };
                    if units.left == 0 || c.position() == head {
                        return Err(e);
                    }
                    self.failed = Some(e);
                    break (c.position(), c.position());
                }
            }
        };
        let last = units.left == 0;
        self.state = if last {
            State::Items
        } else {
            State::Giant {
                units,
                head: 0,
                value: 0,
            }
        };
        let work = match &self.giant {
            Some(giant) => Work::Part {
                giant: Arc::clone(giant),
                units: head..to,
                value,
                first,
                last,
            },
            None => Work::Pass,
        };
        if last {
            self.giant = None;
        }
        Ok(Job {
            offset: self.window.offset(),
            chunk: self.window.take(len),
            work,
        })
    }

    /// Reads what stands behind the EOF opcode: a log, or nothing.
    fn finish(&mut self) {
        let size = if self.cx.header.has_checksum() { 8 } else { 0 };
        while self.window.bytes().len() <= size && !self.window.is_whole() {
            self.window.fill();
        }
        let offset = self.window.offset();
        let mut c = Cursor::new(self.window.bytes(), offset);
        self.state = State::Ended;
        let mut stored = None;
        if size > 0 {
            match c.u64_le("the checksum") {
                Ok(0) => {}
                Ok(sum) => stored = Some(sum),
                Err(e) => self.failed = Some(e),
            }
        }
        let mut trailing = c.peek();
        // In a directory nothing else may follow; elsewhere servers pass over what is no log.
        if self.failed.is_none()
            && (trailing.is_some() && self.place != Place::ALONE
                || matches!(trailing, Some(b'*' | b'#')))
        {
            let chunk = self.window.take(size);
            self.window.recycle(chunk);
            let log = Log::new(self.log, self.place).behind(self.cx.db);
            self.state = State::Log(Box::new(log));
            trailing = None;
        }
        self.end = Some(End {
            stored,
            offset,
            trailing,
        });
    }
}

/// A cursor at the first item of a window.
fn first_item<'w>(window: &'w Window<'_>) -> Cursor<'w> {
    let mut c = Cursor::new(window.bytes(), window.offset());
    if window.offset() == 0 {
        c.set_position(HEADER_LEN);
    }
    c
}

/// Fails if RDB data were saved later than what is wanted: what there was before is not in them.
fn saved_before(until: i64, name: &RdbStr<'_>, value: &RdbStr<'_>) -> Result<()> {
    let mut scratch = Scratch::new();
    if name.as_bytes(&mut scratch)? != b"ctime" {
        return Ok(());
    }
    let saved = std::str::from_utf8(value.as_bytes(&mut scratch)?)
        .ok()
        .and_then(|s| s.parse().ok());
    match saved {
        Some(s) if is_later(s, until) => Err(RdbError::unsupported(name.offset(), too_late(s))),
        _ => Ok(()),
    }
}
