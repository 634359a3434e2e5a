//! One file, read to its last byte.
//!
//! ```text
//!   frame      every item to the EOF opcode, the checksum, what follows           the pipeline does that anyway
//!   values     every element, LZF data, listpack back length, stream record       the walks of rdb/value
//!   sense      no name twice, sorted where servers rely on it, counts that hold   here
//! ```
//!
//! A checker is an encoder that encodes nothing: for each key or command that is whole it appends one byte, which nobody keeps. As the
//! output is in the order of the file, their number at the end of a run that broke off is that of the whole keys before the damage.
//!
//! What is wrong with a value but does not stop it from being read is a [`Kind`], a problem or a note.

use super::duplicates::{Names, Seeds, Wide};
use super::report::{About, Checksum, Report};
use super::tally::{DbTally, Kind, Tally, USUAL_DATABASES};
use super::walk::{
    Compare, NODE_MAX, Seen, Walk, array_elements, at_end, each_name, module_items, string,
};
use crate::aof::{self, scan::time_stamp};
use crate::command::Command;
use crate::command::table::Role;
use crate::cursor::Cursor;
use crate::encode::{Encode, Part};
use crate::error::{ErrorKind, RdbError, Result};
use crate::filter::{Filter, Transform};
use crate::out::Out;
use crate::pipeline::{self, OnError, Options, Progress};
use crate::rdb::entry::Entry;
use crate::rdb::header::Header;
use crate::rdb::packed::{listpack, ziplist};
use crate::rdb::scan::{self, Item};
use crate::rdb::skip::{Unit, Units};
use crate::rdb::string::{RdbStr, Scratch};
use crate::rdb::template::Templates;
use crate::rdb::value::module::ModuleId;
use crate::rdb::value::stream::{StreamId, Tail};
use crate::rdb::value::{Elements, Scratches, list};
use crate::rdb::value_type::ValueType;
use crate::rdb::{LogicalType, length};
use crate::sink::Sink;
use crate::source::Source;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How to check.
///
/// ```
/// use rdbtool::{Progress, source::Source, verify::{Check, Verdict}};
/// let file: &[u8] = b"REDIS0004\xfe\x00\x02\x03set\x02\x01a\x01a\xff";
/// let report = Check::default().run(&mut Source::from_reader("example", file), &Progress::new());
/// assert_eq!((report.verdict(), report.keys), (Verdict::Problems, 1));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Check {
    /// How many threads work; 0 for as many as there are cores.
    pub threads: usize,
    /// Whether to leave the trailing checksum unverified.
    pub ignore_checksum: bool,
    /// Whether a value that cannot be read ends the run, or is counted and passed over where the frame around it holds.
    pub on_error: OnError,
    /// Now, in milliseconds since 1970: which expiries have passed.
    pub now_ms: i64,
}

impl Check {
    /// Reads a source to its end, or to where it breaks.
    pub fn run(&self, source: &mut Source, progress: &Progress) -> Report {
        let shared = Shared {
            check: self,
            seeds: Seeds::random(),
            about: Mutex::default(),
            tally: Mutex::default(),
            giants: Mutex::default(),
        };
        let filter = Filter::default();
        let options = Options {
            threads: self.threads,
            transform: &Transform::default(),
            unique: None,
            libraries: None,
            filter: &filter,
            checksum: !self.ignore_checksum,
            // A checker passes over broken values itself, so that values of any size are still read in parts.
            on_error: OnError::Stop,
            limit: None,
            log: aof::Options {
                tail: aof::Tail::Refuse,
                ..aof::Options::default()
            },
        };
        let mut whole = Whole::default();
        let run = pipeline::run(source, &options, progress, &mut whole, |header| {
            let mut about = lock(&shared.about);
            about.header = Some(header).filter(|h| *h != Header::NONE);
            about.is_log |= header == Header::NONE;
            drop(about);
            Checker::new(&shared)
        });
        // The checkers of a run that went well hand in what they counted when they are dropped here, the others have been.
        let run = run.map(|(summary, _)| summary);
        let about = into_inner(shared.about);
        let mut tally = into_inner(shared.tally);
        if tally.highest_db >= USUAL_DATABASES {
            let db = tally.highest_db;
            let beyond = tally.databases.range(USUAL_DATABASES..).count();
            let found = tally.found_mut(Kind::Database);
            found.count = beyond.max(1) as u64;
            found.first = vec![RdbError::other(
                ErrorKind::Unsupported,
                format!("the highest is database {db}"),
            )];
        }
        if let Some(header) = about.header.filter(|h| !h.is_known()) {
            let what = format!("version {}", header.version);
            let e = RdbError::other(ErrorKind::Unsupported, what);
            tally.found_mut(Kind::NewVersion).add(0, || e);
        }
        let has_checksum = about.header.is_some_and(|h| h.has_checksum());
        let (checksum, trailing, error) = match run {
            Ok(s) => {
                let sum = match s.checksum {
                    Some(_) => Checksum::Ok,
                    None if !has_checksum => Checksum::Absent,
                    None if self.ignore_checksum => Checksum::NotVerified,
                    None => Checksum::NotComputed,
                };
                (Some(sum), s.trailing, None)
            }
            Err(e) if e.kind() == ErrorKind::Checksum => (Some(Checksum::Wrong), None, Some(e)),
            Err(e) => (None, None, Some(e)),
        };
        Report {
            name: source.name().to_owned(),
            about,
            keys: whole.keys,
            commands: whole.commands,
            bytes: progress.bytes_of_file(),
            // Behind the place where a run broke off other workers may have counted on.
            tally: checksum.map(|_| tally),
            checksum,
            trailing,
            error,
        }
    }
}

/// Counts what the checkers append: [`KEY`] or [`COMMAND`].
#[derive(Default)]
struct Whole {
    keys: u64,
    commands: u64,
}

const KEY: u8 = b'.';
const COMMAND: u8 = b':';

impl Sink for Whole {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let keys = bytes.iter().filter(|&&b| b == KEY).count();
        self.keys += keys as u64;
        self.commands += (bytes.len() - keys) as u64;
        Ok(())
    }
}

/// What the checkers of a run have in common.
struct Shared<'c> {
    check: &'c Check,
    seeds: Seeds,
    about: Mutex<About>,
    tally: Mutex<Tally>,
    /// What has to be known of a giant value across its parts, by where its record begins; while it is being read.
    giants: Mutex<HashMap<u64, Arc<Mutex<Giant>>>>,
}

#[derive(Default)]
struct Giant {
    names: Wide,
    /// One name that is there twice has been told.
    told: bool,
    /// Why it cannot be read, where that is passed over.
    broken: Option<RdbError>,
    /// Of a stream: where each part lies, and the keys of its first and last node.
    nodes: Vec<(u64, StreamId, StreamId)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// What the checker of one worker needs and gathers. Hands it in when it is dropped, since a run that fails gives no encoders back.
struct Checker<'s, 'c> {
    shared: &'s Shared<'c>,
    tally: Tally,
    /// The database at hand; it goes into the tally when the next comes.
    db: (u64, DbTally),
    walk: Walk,
    key: Scratch,
}

impl Drop for Checker<'_, '_> {
    fn drop(&mut self) {
        self.tally.add(self.db.0, &self.db.1);
        lock(&self.shared.tally).merge(std::mem::take(&mut self.tally));
    }
}

impl<'s, 'c> Checker<'s, 'c> {
    fn new(shared: &'s Shared<'c>) -> Self {
        Checker {
            shared,
            tally: Tally::default(),
            db: (0, DbTally::default()),
            walk: Walk {
                scratch: Scratches::default(),
                names: Names::new(shared.seeds),
                previous: Vec::new(),
            },
            key: Scratch::new(),
        }
    }

    fn db(&mut self, db: u64) -> &mut DbTally {
        if self.db.0 != db {
            self.tally.add(self.db.0, &self.db.1);
            self.db = (db, DbTally::default());
        }
        &mut self.db.1
    }

    /// Counts a key that is whole.
    fn count(&mut self, e: &Entry<'_>, elements: u64, bytes: u64) {
        let now = self.shared.check.now_ms;
        let db = self.db(e.db);
        // The logical types stand in the order of the table.
        let t = &mut db.types[e.value_type.logical() as usize];
        t.keys += 1;
        t.elements += elements;
        t.bytes += bytes;
        if let Some(ms) = e.expire_at_ms {
            db.expires += 1;
            db.expired += u64::from(ms < now);
        }
    }

    /// What to do about a value that cannot be read.
    #[cold]
    fn broken(&mut self, error: RdbError, e: &Entry<'_>) -> Result<()> {
        if self.shared.check.on_error == OnError::Stop {
            return Err(error);
        }
        self.count_broken(error, e);
        Ok(())
    }

    #[cold]
    fn count_broken(&mut self, error: RdbError, e: &Entry<'_>) {
        let at = error.offset().unwrap_or(e.offset);
        self.tally.broken.add(at, || scan::name(error, e));
    }

    #[cold]
    fn found(&mut self, kind: Kind, e: &Entry<'_>, what: impl FnOnce() -> String) {
        let at = e.body_offset;
        self.tally
            .found_mut(kind)
            .add(at, || scan::name(RdbError::corrupt(at, what()), e));
    }

    /// Reads a value to its end; gives how many elements it has.
    fn value(&mut self, e: &Entry<'_>, templates: &Templates) -> Result<u64> {
        e.key.as_element(&mut self.key)?;
        if !e.metadata.is_empty() {
            self.metadata(e)?;
        }
        let t = e.value_type.logical();
        if t == LogicalType::String {
            let s = RdbStr::read(&mut Cursor::new(e.body, e.body_offset))?;
            return string(&s, &mut self.walk.scratch.first).map(|()| 0);
        }
        if matches!(
            t,
            LogicalType::List | LogicalType::Set | LogicalType::Zset | LogicalType::Hash
        ) {
            return self.collection(e, templates);
        }
        let mut c = Cursor::new(e.body, e.body_offset);
        match t {
            LogicalType::Stream => return self.stream(e),
            LogicalType::Array => {
                let n = array_elements(&mut c, &mut self.walk.scratch.first)?;
                if n == 0 {
                    self.found(Kind::Empty, e, || "no elements".into());
                }
                return Ok(n);
            }
            LogicalType::Module => {
                ModuleId::read(&mut c)?;
                module_items(&mut c, &mut self.walk.scratch.first)?;
            }
            // What is left: a rate limiter.
            _ => length::read(&mut c, "an arrival time").map(drop)?,
        }
        at_end(&c)?;
        Ok(0)
    }

    #[cold]
    fn metadata(&mut self, e: &Entry<'_>) -> Result<()> {
        let mut c = Cursor::new(e.metadata, e.offset);
        let mut walk = || {
            while !c.is_empty() {
                c.take(4, "a metadata class")?;
                module_items(&mut c, &mut self.walk.scratch.first)?;
            }
            Ok(())
        };
        // The entry does not tell where among the attributes it stands.
        walk().map_err(|broken: RdbError| {
            RdbError::corrupt(e.offset, format!("metadata of the key: {}", broken.what()))
        })
    }

    #[inline]
    fn collection(&mut self, e: &Entry<'_>, templates: &Templates) -> Result<u64> {
        let (elements, _) = Elements::of(e)?;
        let seen = self.walk.elements(&elements, templates, Compare::Value)?;
        self.judge(e, &elements, &seen)?;
        if seen.elements == 0 {
            self.found(Kind::Empty, e, || "no elements".into());
        }
        let suspects = self.walk.names.suspects();
        if !suspects.is_empty() {
            let Walk { scratch, names, .. } = &mut self.walk;
            let twice =
                names.confirm(&suspects, |f| each_name(&elements, templates, scratch, f))?;
            if let Some(name) = twice {
                self.twice(e, &name);
            }
        }
        if self.walk.names.is_over() {
            self.found(Kind::Uncompared, e, || {
                format!("{} elements", seen.elements)
            });
        }
        Ok(seen.elements)
    }

    #[cold]
    fn twice(&mut self, e: &Entry<'_>, name: &[u8]) {
        self.found(Kind::Duplicate, e, || {
            let what = match e.value_type.logical() {
                LogicalType::Hash => "field",
                _ => "member",
            };
            format!("{what} {} is there twice", crate::quote(name))
        });
    }

    /// What the walk over elements of a collection has shown.
    #[inline]
    fn judge(&mut self, e: &Entry<'_>, elements: &Elements<'_>, seen: &Seen) -> Result<()> {
        if seen.fields_with_expiry > 0 {
            self.db(e.db).fields_with_expiry += seen.fields_with_expiry;
        }
        if let Some(n) = seen.unsorted {
            let (kind, what) = match e.value_type.logical() {
                LogicalType::Zset => (Kind::Unsorted, "member"),
                _ => (Kind::UnsortedExpiries, "field"),
            };
            self.found(kind, e, || {
                format!("{what} {n}, counted from 0, is less than the one before it")
            });
        }
        if e.value_type.logical() == LogicalType::List && seen.elements > NODE_MAX {
            self.long_nodes(e, elements)?;
        }
        Ok(())
    }

    /// Looks for quicklist nodes of more elements than servers count.
    #[cold]
    fn long_nodes(&mut self, e: &Entry<'_>, elements: &Elements<'_>) -> Result<()> {
        let packed = match e.value_type {
            ValueType::ListQuicklist => false,
            ValueType::ListQuicklist2 => true,
            _ => return Ok(()),
        };
        let mut c = Cursor::new(elements.bytes, elements.offset);
        while !c.is_empty() {
            if packed && length::read(&mut c, "the container of a quicklist node")? == list::PLAIN {
                RdbStr::read(&mut c)?;
                continue;
            }
            let at = c.offset();
            let blob = RdbStr::read(&mut c)?.as_blob(&mut self.walk.scratch.blob)?;
            let n = if packed {
                listpack::count(blob)? as u64
            } else {
                let mut n = 0;
                let mut iter = ziplist::Iter::new(blob)?;
                while iter.next_element()?.is_some() {
                    n += 1;
                }
                n
            };
            if n > NODE_MAX {
                self.tally.found_mut(Kind::LongNode).add(at, || {
                    scan::name(RdbError::corrupt(at, format!("a node of {n} elements")), e)
                });
            }
        }
        Ok(())
    }

    fn stream(&mut self, e: &Entry<'_>) -> Result<u64> {
        let mut c = Cursor::new(e.body, e.body_offset);
        let mut units = Units::read(&mut c, Unit::Pair, 0, true)?;
        let (from, at) = (c.position(), c.offset());
        units.skip(&mut c, usize::MAX)?;
        let nodes = c.since(from);
        let tail = Tail::read(&mut c, e.value_type.stream_version().unwrap_or(1))?;
        at_end(&c)?;
        let (live, _) = self.walk.nodes(nodes, at)?;
        self.stream_tail(e, &tail, live)?;
        Ok(live)
    }

    fn stream_tail(&mut self, e: &Entry<'_>, tail: &Tail<'_>, live: u64) -> Result<()> {
        if tail.length != live {
            self.found(Kind::StreamLength, e, || {
                format!("{live} entries where the stream says {}", tail.length)
            });
        }
        if let Some(what) = self.walk.groups(tail)? {
            self.found(Kind::StreamNames, e, || what);
        }
        if let Some(idmp) = &tail.idmp {
            let mut producers = idmp.producers();
            while let Some(p) = producers.next_producer()? {
                string(&p.id, &mut self.walk.scratch.first)?;
                let mut iids = p.iids;
                while let Some((iid, _)) = iids.next_iid()? {
                    string(&iid, &mut self.walk.scratch.first)?;
                }
            }
        }
        Ok(())
    }

    /// What is known of a giant value across its parts.
    fn giant(&self, e: &Entry<'_>) -> Arc<Mutex<Giant>> {
        Arc::clone(lock(&self.shared.giants).entry(e.offset).or_default())
    }

    /// Reads a part of a giant value; gives how many elements it has.
    fn part_of_value(&mut self, part: &Part<'_>) -> Result<u64> {
        let e = &part.entry;
        if e.value_type.stream_version().is_some() {
            let (live, span) = self.walk.nodes(part.units, part.offset)?;
            if let Some((first, last)) = span {
                lock(&self.giant(e)).nodes.push((part.offset, first, last));
            }
            return Ok(live);
        }
        if part.first && !e.metadata.is_empty() {
            self.metadata(e)?;
        }
        let elements = part.elements();
        // A value large enough to be cut is of no template.
        let templates = Templates::default();
        if e.value_type.logical() == LogicalType::List {
            let seen = self.walk.elements(&elements, &templates, Compare::No)?;
            self.judge(e, &elements, &seen)?;
            return Ok(seen.elements);
        }
        let giant = self.giant(e);
        let compare = match lock(&giant).names.is_over() {
            true => Compare::No,
            false => Compare::Part,
        };
        let seen = self.walk.elements(&elements, &templates, compare)?;
        self.judge(e, &elements, &seen)?;
        let mut shared = lock(&giant);
        let twice = match compare {
            Compare::Part => self.walk.names.put_into(&mut shared.names),
            _ => None,
        };
        let twice = twice.filter(|_| !std::mem::replace(&mut shared.told, true));
        drop(shared);
        if let Some(hashes) = twice {
            let mut name = Vec::new();
            let Walk { scratch, names, .. } = &mut self.walk;
            each_name(&elements, &templates, scratch, &mut |e| {
                if names.is(e, hashes) {
                    name.clear();
                    e.append_to(&mut name);
                }
                Ok(())
            })?;
            self.twice(e, &name);
        }
        Ok(seen.elements)
    }

    /// What can be asked of a giant value once all its parts have been read. `elements` are those of all parts.
    fn end_of_giant(&mut self, part: &Part<'_>, giant: Giant, elements: u64) -> Result<()> {
        let e = &part.entry;
        if let Some(error) = giant.broken {
            return Err(error);
        }
        if giant.names.is_over() {
            self.found(Kind::Uncompared, e, || format!("{elements} elements"));
        }
        let (Some(version), Some((bytes, at))) = (e.value_type.stream_version(), part.tail) else {
            return Ok(());
        };
        let mut nodes = giant.nodes;
        nodes.sort_unstable_by_key(|(offset, ..)| *offset);
        for (before, after) in nodes.iter().zip(nodes.iter().skip(1)) {
            if after.1 <= before.2 {
                return Err(RdbError::corrupt(
                    after.0,
                    format!(
                        "stream node {} after node {}: expected ascending keys",
                        after.1, before.2
                    ),
                ));
            }
        }
        let tail = Tail::read(&mut Cursor::new(bytes, at), version)?;
        self.stream_tail(e, &tail, elements)
    }
}

impl Encode for Checker<'_, '_> {
    fn item(&mut self, item: &Item<'_>, _: &mut Out<'_>) -> Result<()> {
        let Scratches { first, second, .. } = &mut self.walk.scratch;
        let mut about = lock(&self.shared.about);
        match *item {
            Item::Aux { name, value } => {
                let name_bytes = name.as_bytes(first)?;
                about.aux(name.offset(), name_bytes, value.as_bytes(second)?);
            }
            Item::Function { code } => {
                about.functions += 1;
                let at = code.offset();
                if !code.as_bytes(first)?.starts_with(b"#!") {
                    self.tally.found_mut(Kind::Library).add(at, || {
                        RdbError::corrupt(at, "a function library that does not begin with #!")
                    });
                }
            }
            Item::FunctionPreGa { name, engine, code } => {
                about.functions += 1;
                engine.as_bytes(first)?;
                code.as_bytes(first)?;
                let at = name.offset();
                let name = name.as_bytes(first)?;
                self.tally.found_mut(Kind::OldFunction).add(at, || {
                    RdbError::corrupt(at, format!("function {}", crate::quote(name)))
                });
            }
            Item::ModuleAux {
                id,
                when,
                items,
                offset,
            } => {
                let mut c = Cursor::new(items, offset);
                module_items(&mut c, first)?;
                about.module_aux(offset, ModuleId(id), when, items.len() as u64);
            }
            Item::SlotImport { job, .. } => string(&job, first)?,
            Item::Key(_) | Item::SelectDb(_) | Item::Hint | Item::End => {}
        }
        Ok(())
    }

    #[inline]
    fn entry(&mut self, e: &Entry<'_>, templates: &Templates, out: &mut Out<'_>) -> Result<()> {
        match self.value(e, templates) {
            Ok(elements) => {
                self.count(e, elements, e.body.len() as u64);
                out.byte(KEY);
                Ok(())
            }
            Err(error) => self.broken(error, e),
        }
    }

    fn command(&mut self, c: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        match c.role() {
            Role::Multi => self.tally.log.transactions += 1,
            Role::Exec => {}
            _ => {
                self.tally.log.add(c.spec.map(|s| s.name), c.db);
                out.byte(COMMAND);
            }
        }
        if c.spec.is_none() {
            self.tally
                .found_mut(Kind::UnknownCommand)
                .add(c.offset, || RdbError::corrupt(c.offset, c.raw.quoted()));
        }
        Ok(())
    }

    fn annotation(&mut self, line: &[u8], _: &mut Out<'_>) -> Result<()> {
        if let Some(s) = time_stamp(line) {
            self.tally.log.stamp(s);
        }
        Ok(())
    }

    fn part(&mut self, part: &Part<'_>, elements: &mut u64, out: &mut Out<'_>) -> Result<()> {
        let e = &part.entry;
        match self.part_of_value(part) {
            Ok(n) => *elements += n,
            Err(error) if self.shared.check.on_error == OnError::Stop => return Err(error),
            Err(error) => {
                let giant = self.giant(e);
                let mut giant = lock(&giant);
                if giant
                    .broken
                    .as_ref()
                    .is_none_or(|b| error.offset() < b.offset())
                {
                    giant.broken = Some(error);
                }
            }
        }
        let Some(end) = part.last else {
            return Ok(());
        };
        // Asking waits for the parts before this one; then all that is known of the value is in its giant.
        let all = (part.elements_before)().saturating_add(*elements);
        let giant = lock(&self.shared.giants).remove(&e.offset);
        let giant = giant.map(|g| std::mem::take(&mut *lock(&g)));
        match self.end_of_giant(part, giant.unwrap_or_default(), all) {
            Ok(()) => {
                self.count(e, all, end.saturating_sub(e.body_offset));
                out.byte(KEY);
                Ok(())
            }
            Err(error) => self.broken(error, e),
        }
    }
}
