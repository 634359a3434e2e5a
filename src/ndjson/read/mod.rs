//! NDJSON back to RDB: a reader of lines of JSON from which the bytes of an RDB file can be read.
//!
//! ```text
//!   {"db":0,"key":"k","type":"string","value":"v"}        REDIS0015 | 00 01 6b 01 76
//!   {"db":2,"key":"l","type":"list","value":["a"]}        FE 02 | 01 01 6c 01 01 61
//!                                                         FF | 0, a checksum that was not computed
//!   {"db":2,"command":["DEL","k"]}                        *2 SELECT 2 | *2 DEL k          behind it, as servers keep a log
//! ```
//!
//! Lines of commands begin a log, behind the end of the RDB data, or instead of them if no line of a key has come: an append-only file, as a source
//! may be anyway. A key behind a command is an error: such a file has no place for it.
//!
//! So all that stands behind a source has one way: whatever reads RDB reads this. Each value takes the simplest layout that has
//! all that the line says. The header is that of the newest Redis, which knows every type; where a line before the first key says that slots were being imported, that of
//! Valkey, which alone has those.
//!
//! Lines may have been through other hands: members in any order, blanks, numbers written otherwise, objects over several lines
//! or in one array. What is not understood is an error.
//!
//! # Memory
//!
//! A value's count stands before its elements, so a value is gathered before the first byte of it is given out: up to some MiB in
//! memory, the rest in a file without a name. The parts of a value that wait for others (a key, a value that stands before its type, the
//! groups of a stream) each have such a place. In memory are one stream entry, and 8 bytes for each array and object in a document of RedisJSON
//! of the layouts 0 and 4.

mod bytes;
mod command;
mod document;
mod gather;
mod lexer;
mod module;
mod stream;
mod value;

use crate::command::table::Role;
use crate::error::{RdbError, Result};
use crate::rdb::header::{Dialect, HEADER_LEN, Header, NEWEST_REDIS, NEWEST_VALKEY};
use crate::rdb::logical_type::LogicalType;
use crate::rdb::value_type::ValueType;
use crate::rdb::{length, opcode, write};
use gather::{Gather, Sink};
use lexer::Lexer;
use std::io::Read;

/// How much of what is gathered stays in memory.
const IN_MEMORY: usize = 4 << 20;
/// How many bytes are made at a time.
const AT_A_TIME: usize = 64 << 10;
/// How many bytes may wait for the first key, which decides about the header.
const BEFORE_KEYS: usize = 1 << 20;
/// The largest number of a slot.
const MAX_SLOT: u64 = 16383;

/// Reads JSON, gives RDB.
///
/// An error in the JSON comes out of [`Read::read`] as an [`RdbError`] within the [`std::io::Error`], after all that stands before it;
/// [`RdbError::io`] gives it back.
///
/// ```
/// use rdbtool::ndjson::read::ToRdb;
/// use std::io::Read;
///
/// let line: &[u8] = br#"{"db":0,"key":"k","type":"string","value":"v"}"#;
/// let mut rdb = Vec::new();
/// ToRdb::new(line).read_to_end(&mut rdb)?;
/// assert_eq!(rdb, b"REDIS0015\xfe\x00\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ToRdb<'a> {
    lex: Lexer<'a>,
    buffer: usize,
    /// What can be read, and how much of it has been.
    out: Vec<u8>,
    taken: usize,
    /// What comes behind it.
    more: Option<Box<dyn Read + Send>>,
    /// Whose header the file has, once that is settled.
    dialect: Option<Dialect>,
    /// What has been written so far.
    so_far: SoFar,
    /// The database that has been selected.
    db: Option<u64>,
    /// Within an array of lines: whether none has come yet.
    array: Option<bool>,
    ended: bool,
    failed: Option<RdbError>,
    written: Written,
    parts: stream::Parts,
    key: Gather,
    metadata: Gather,
    kept: Gather,
}

impl std::fmt::Debug for ToRdb<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToRdb")
            .field("lex", &self.lex)
            .finish_non_exhaustive()
    }
}

/// Which part of a file is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SoFar {
    /// The header alone, which can be taken back.
    Header,
    /// RDB data.
    Rdb,
    /// Commands.
    Log,
}

/// A value that is being written, in the order of its parts.
#[derive(Debug)]
struct Written {
    /// Counts, and what else stands before the elements.
    head: Vec<u8>,
    body: Gather,
    /// What stands behind the nodes of a stream.
    tail: Gather,
    first: Gather,
    second: Gather,
    doc: Gather,
}

impl Written {
    fn new(limit: usize) -> Self {
        let new = || Gather::new(limit);
        Written {
            head: Vec::new(),
            body: new(),
            tail: new(),
            first: new(),
            second: new(),
            doc: new(),
        }
    }

    fn clear(&mut self) {
        self.head.clear();
        self.body.clear();
        self.tail.clear();
    }
}

/// What a line says of a key beside key, metadata and value.
#[derive(Debug, Default)]
struct Line {
    db: Option<u64>,
    /// Where that stands: byte and line.
    db_at: (u64, u64),
    has_key: bool,
    logical: Option<LogicalType>,
    expire_at_ms: Option<i64>,
    idle_s: Option<u64>,
    freq: Option<u8>,
    has_metadata: bool,
    has_meta: bool,
    value: Value,
    /// Set of a command.
    command: Option<Role>,
}

impl Line {
    /// Whether it has said something that only a key has.
    fn is_key(&self) -> bool {
        self.has_key
            || self.logical.is_some()
            || self.expire_at_ms.is_some()
            || self.idle_s.is_some()
            || self.freq.is_some()
            || self.has_metadata
            || !matches!(self.value, Value::None)
    }
}

/// How far the value of a line is.
#[derive(Debug, Default)]
enum Value {
    #[default]
    None,
    /// Its text is kept, from this byte and line on, until the type is known.
    Kept(u64, u64),
    Written(ValueType),
}

/// The error of a member that comes twice.
#[cold]
fn twice(lex: &Lexer<'_>, at: u64) -> RdbError {
    lex.corrupt(at, format!("{} comes twice", lex.last()))
}

/// The error of a member that is not known.
#[cold]
fn unknown(lex: &Lexer<'_>, at: u64, of: &str) -> RdbError {
    lex.corrupt(at, format!("{}: no such field in {of}", lex.last()))
}

impl<'a> ToRdb<'a> {
    /// Reads JSON from `reader`.
    pub fn new(reader: impl Read + Send + 'a) -> Self {
        Self::with_limits(reader, lexer::BUFFER, IN_MEMORY)
    }

    /// The same with a buffer of `buffer` bytes and `in_memory` bytes of what is gathered in memory.
    pub(crate) fn with_limits(
        reader: impl Read + Send + 'a,
        buffer: usize,
        in_memory: usize,
    ) -> Self {
        let header = Header {
            dialect: Dialect::Redis,
            version: NEWEST_REDIS,
        };
        let new = || Gather::new(in_memory);
        ToRdb {
            lex: Lexer::new(Box::new(reader), 0, 1, buffer),
            buffer,
            out: write::header(header).to_vec(),
            taken: 0,
            more: None,
            dialect: None,
            so_far: SoFar::Header,
            db: None,
            array: None,
            ended: false,
            failed: None,
            written: Written::new(in_memory),
            parts: stream::Parts::new(in_memory),
            key: new(),
            metadata: new(),
            kept: new(),
        }
    }

    /// Makes the next bytes.
    fn make(&mut self) {
        let enough = |s: &Self| match s.dialect {
            None => BEFORE_KEYS,
            Some(_) => AT_A_TIME,
        };
        while !self.ended && self.more.is_none() && self.out.len() < enough(self) {
            let mark = self.out.len();
            match self.item() {
                Ok(true) => {}
                Ok(false) => {
                    if self.so_far != SoFar::Log {
                        self.end_rdb();
                    }
                    self.ended = true;
                }
                Err(e) => {
                    self.out.truncate(mark);
                    self.more = None;
                    self.failed = Some(e);
                    self.ended = true;
                }
            }
        }
        self.dialect.get_or_insert(Dialect::Redis);
    }

    /// Writes the end of the RDB data.
    fn end_rdb(&mut self) {
        self.out.push(opcode::EOF);
        self.out.extend_from_slice(&[0; 8]);
    }

    /// Reads one object; false at the end.
    fn item(&mut self) -> Result<bool> {
        loop {
            if let Some(first) = &mut self.array {
                if self.lex.more(b']', first)? {
                    break;
                }
                self.array = None;
                continue;
            }
            match self.lex.peek()? {
                None => return Ok(false),
                Some(b'[') => {
                    self.lex.punctuation(b'[', "")?;
                    self.array = Some(true);
                }
                Some(_) => break,
            }
        }
        self.lex
            .punctuation(b'{', "an object, as decode writes them")?;
        let start = self.lex.offset() - 1;
        self.written.clear();
        let mut line = Line::default();
        let (mut first, mut members) = (true, 0);
        while self.lex.more(b'}', &mut first)? {
            let at = self.lex.offset();
            self.lex.name()?;
            members += 1;
            let r = self.member(&mut line, at, members == 1);
            match r {
                Ok(true) => {}
                Ok(false) => {
                    // A line of another kind than keys.
                    if self.lex.more(b'}', &mut false)? {
                        return Err(self.lex.expected("}, the end of this line"));
                    }
                    return Ok(true);
                }
                Err(e) => return Err(self.named(e, &line)),
            }
        }
        if let Some(role) = line.command {
            return self.command_line(&line, role).map(|()| true);
        }
        let r = self.key_line(&mut line, start);
        r.map(|()| true).map_err(|e| self.named(e, &line))
    }

    /// Adds the key to an error, when it is known.
    #[cold]
    fn named(&self, e: RdbError, line: &Line) -> RdbError {
        match self.key.in_memory() {
            Some(key) if line.has_key => {
                e.with_key(key, line.logical.map_or("?", LogicalType::name))
            }
            _ => e,
        }
    }

    /// Reads the member whose name has just been read; false if it makes the line one of another kind than keys.
    fn member(&mut self, line: &mut Line, at: u64, alone: bool) -> Result<bool> {
        /// A field that may come once.
        fn once<T>(slot: &mut Option<T>, lex: &Lexer<'_>, at: u64, value: T) -> Result<()> {
            match slot.replace(value) {
                None => Ok(()),
                Some(_) => Err(lex.corrupt(at, "a field that comes twice")),
            }
        }
        let lex = &mut self.lex;
        if line.command.is_some() || self.so_far == SoFar::Log {
            command::refuse_keys(lex, at, line.command.is_some())?;
        }
        match lex.last_name() {
            b"db" => {
                lex.peek()?;
                line.db_at = (lex.offset(), lex.line());
                let db = lex.u64("the number of a database")?;
                once(&mut line.db, lex, at, db)?;
            }
            b"key" if !line.has_key => {
                self.key.clear();
                bytes::bytes(lex, &mut self.key)?;
                line.has_key = true;
            }
            b"type" => {
                let logical = logical_type(lex)?;
                once(&mut line.logical, lex, at, logical)?;
            }
            b"expire_at_ms" => {
                let ms = lex.i64("an expiry")?;
                once(&mut line.expire_at_ms, lex, at, ms)?;
            }
            b"idle_s" => {
                let s = lex.u64("seconds")?;
                once(&mut line.idle_s, lex, at, s)?;
            }
            b"freq" => {
                lex.peek()?;
                let value_at = lex.offset();
                let n = lex.u64("a number up to 255")?;
                let Ok(n) = u8::try_from(n) else {
                    return Err(lex.corrupt(value_at, format!("{n}: expected 0 to 255")));
                };
                once(&mut line.freq, lex, at, n)?;
            }
            b"key_meta" if !line.has_metadata => {
                self.metadata.clear();
                module::serialized(lex, true, &mut self.metadata)?;
                line.has_metadata = true;
            }
            b"value" if matches!(line.value, Value::None) => match line.logical {
                Some(logical) => line.value = Value::Written(self.value(logical)?),
                None => {
                    lex.peek()?;
                    line.value = Value::Kept(lex.offset(), lex.line());
                    let kept = std::mem::replace(&mut self.kept, Gather::new(0));
                    self.kept = lex.keep(kept)?;
                }
            },
            b"meta" if !line.has_meta => {
                lex.skip()?;
                line.has_meta = true;
            }
            b"key" | b"key_meta" | b"value" | b"meta" => return Err(twice(lex, at)),
            b"function" if alone => return self.function(),
            b"aux" if alone => return self.aux(),
            b"module_aux" if alone => {
                module::aux(lex, &mut self.written)?;
                self.out.push(opcode::MODULE_AUX);
                return self.give();
            }
            b"slot_import" if alone => return self.slot_import(at),
            b"select" if alone => return self.select(),
            b"timestamp" if alone => return self.time_stamp(),
            b"annotation" if alone => return self.annotation(),
            b"command" if line.command.is_none() && !line.is_key() => {
                line.command = Some(command::arguments(lex, &mut self.written)?);
            }
            b"command" if line.command.is_some() => return Err(twice(lex, at)),
            b"ttl" | b"size" => {
                return Err(RdbError::unsupported(
                    at,
                    format!(
                        "{}: this looks like a line of redis-dump, which says how long a key had to live but not from when, \
                         and does not keep bytes that are not text; such lines are not read",
                        lex.last()
                    ),
                )
                .on_line(lex.line()));
            }
            _ => return Err(unknown(lex, at, "a line of a key")),
        }
        Ok(true)
    }

    /// Appends what has been written to what can be read. Gives false, as [`ToRdb::member`] does of lines that are no keys.
    fn give(&mut self) -> Result<bool> {
        let w = &mut self.written;
        if self.so_far == SoFar::Header {
            self.so_far = SoFar::Rdb;
        }
        if let Some(more) = self.more.take() {
            let head = std::io::Cursor::new(std::mem::take(&mut w.head));
            self.more = Some(Box::new(more.chain(head)));
        } else {
            self.out.extend_from_slice(&w.head);
        }
        w.body.give(&mut self.out, &mut self.more)?;
        w.tail.give(&mut self.out, &mut self.more)?;
        Ok(false)
    }

    /// The source of a function library.
    fn function(&mut self) -> Result<bool> {
        value::plain(&mut self.lex, &mut self.written)?;
        self.out.push(opcode::FUNCTION2);
        self.give()
    }

    /// Facts about the file.
    fn aux(&mut self) -> Result<bool> {
        let (lex, w) = (&mut self.lex, &mut self.written);
        lex.punctuation(b'{', "an object {\"NAME\":S}")?;
        let mut first = true;
        while lex.more(b'}', &mut first)? {
            w.body.put(&[opcode::AUX])?;
            bytes::name(lex, &mut w.first, &mut w.body)?;
            bytes::string(lex, &mut w.first, &mut w.body)?;
        }
        self.give()
    }

    /// Slots that were being imported, which only files of Valkey have.
    fn slot_import(&mut self, at: u64) -> Result<bool> {
        if *self.dialect.get_or_insert(Dialect::Valkey) != Dialect::Valkey {
            let what = "\"slot_import\" behind the first key: only files of Valkey have it, and this is read as one of Redis by now; \
                        put the line first, or leave it out";
            return Err(self.lex.corrupt(at, what));
        }
        let header = write::header(Header {
            dialect: Dialect::Valkey,
            version: NEWEST_VALKEY,
        });
        if let (0, Some(start)) = (self.taken, self.out.first_chunk_mut::<HEADER_LEN>()) {
            *start = header;
        }
        let (lex, w) = (&mut self.lex, &mut self.written);
        lex.punctuation(b'{', "an object {\"job\":S,\"slots\":[...]}")?;
        let start = lex.offset();
        let (mut job, mut n, mut first) = (false, None, true);
        while lex.more(b'}', &mut first)? {
            let at = lex.offset();
            match lex.name()? {
                b"job" if !job => {
                    w.second.clear();
                    bytes::bytes(lex, &mut w.second)?;
                    job = true;
                }
                b"slots" if n.is_none() => n = Some(slots(lex, &mut w.tail)?),
                b"job" | b"slots" => return Err(twice(lex, at)),
                _ => return Err(unknown(lex, at, "slots being imported")),
            }
        }
        let Some(n) = n.filter(|_| job) else {
            return Err(lex.corrupt(start, "expected both \"job\" and \"slots\""));
        };
        w.body.put(&[opcode::SLOT_IMPORT])?;
        w.body.string_of(&mut w.second)?;
        w.body.length(n);
        self.give()
    }

    /// Converts the value that comes next, which must be of this type.
    fn value(&mut self, logical: LogicalType) -> Result<ValueType> {
        let dialect = *self.dialect.get_or_insert(Dialect::Redis);
        let (w, p) = (&mut self.written, &mut self.parts);
        convert(&mut self.lex, logical, dialect, self.buffer, w, p)
    }

    /// All members of a line have been read: writes the key.
    fn key_line(&mut self, line: &mut Line, start: u64) -> Result<()> {
        let missing = [
            ("key", line.has_key),
            ("type", line.logical.is_some()),
            ("value", !matches!(line.value, Value::None)),
        ];
        if let Some((name, _)) = missing.iter().find(|(_, is)| !is) {
            let what = format!("a line without \"{name}\"");
            return Err(self.lex.corrupt(start, what));
        }
        let dialect = *self.dialect.get_or_insert(Dialect::Redis);
        if let (Value::Kept(at, on), Some(logical)) = (&line.value, line.logical) {
            let (w, p) = (&mut self.written, &mut self.parts);
            let mut lex = Lexer::new(self.kept.reader()?, *at, *on, self.buffer);
            let t = convert(&mut lex, logical, dialect, self.buffer, w, p)?;
            line.value = Value::Written(t);
        }
        let Value::Written(t) = line.value else {
            return Ok(());
        };
        if dialect == Dialect::Valkey
            && (ValueType::from_byte(t.byte(), dialect) != Some(t) || line.has_metadata)
        {
            let what = "files of Valkey, which \"slot_import\" says this is, have no such values";
            return Err(self.lex.corrupt(start, what));
        }
        let out = &mut self.out;
        let db = line.db.unwrap_or(0);
        if self.db != Some(db) {
            out.push(opcode::SELECTDB);
            length::write(db, out);
            self.db = Some(db);
        }
        if let Some(ms) = line.expire_at_ms {
            out.push(opcode::EXPIRETIME_MS);
            out.extend_from_slice(&ms.to_le_bytes());
        }
        if let Some(s) = line.idle_s {
            out.push(opcode::IDLE);
            length::write(s, out);
        }
        if let Some(n) = line.freq {
            out.extend_from_slice(&[opcode::FREQ, n]);
        }
        if line.has_metadata {
            out.push(opcode::KEY_META);
            self.metadata.give(out, &mut self.more)?;
        }
        let mut before_key = vec![t.byte()];
        length::write(self.key.len(), &mut before_key);
        match self.more.take() {
            None => out.extend_from_slice(&before_key),
            Some(more) => {
                self.more = Some(Box::new(more.chain(std::io::Cursor::new(before_key))));
            }
        }
        self.key.give(out, &mut self.more)?;
        self.give().map(drop)
    }
}

/// Converts the value that comes next.
fn convert(
    lex: &mut Lexer<'_>,
    logical: LogicalType,
    dialect: Dialect,
    buffer: usize,
    w: &mut Written,
    p: &mut stream::Parts,
) -> Result<ValueType> {
    match logical {
        LogicalType::String => value::plain(lex, w),
        LogicalType::List => value::strings(lex, ValueType::List, w),
        LogicalType::Set => value::strings(lex, ValueType::Set, w),
        LogicalType::Zset => value::zset(lex, w),
        LogicalType::Hash => value::hash(lex, dialect, w),
        LogicalType::Stream => stream::stream(lex, w, p),
        LogicalType::Module => module::value(lex, buffer, w),
        LogicalType::Array => value::array(lex, w),
        LogicalType::RateLimiter => value::gcra(lex, w),
    }
}

fn logical_type(lex: &mut Lexer<'_>) -> Result<LogicalType> {
    if lex.peek()? != Some(b'"') {
        return Err(lex.expected("a type, a string"));
    }
    let at = lex.offset();
    let name = lex.short()?;
    let known = LogicalType::ALL
        .into_iter()
        .find(|t| t.name().as_bytes() == name);
    known.ok_or_else(|| {
        let names = LogicalType::ALL.map(LogicalType::name).join(", ");
        lex.corrupt(at, format!("type {}: expected one of {names}", lex.last()))
    })
}

/// Ranges of slots; gives how many.
fn slots(lex: &mut Lexer<'_>, to: &mut Gather) -> Result<u64> {
    const EXPECTED: &str = "an array of a first and a last slot";
    lex.punctuation(b'[', "an array of slots")?;
    let (mut n, mut first) = (0, true);
    while lex.more(b']', &mut first)? {
        lex.punctuation(b'[', EXPECTED)?;
        let at = lex.offset();
        let from = lex.u64("a slot")?;
        lex.punctuation(b',', "a comma")?;
        let until = lex.u64("a slot")?;
        lex.punctuation(b']', "]")?;
        if from > until || until > MAX_SLOT {
            let what = format!("slots {from} to {until}: expected a range within 0 to {MAX_SLOT}");
            return Err(lex.corrupt(at, what));
        }
        to.length(from);
        to.length(until);
        n += 1;
    }
    Ok(n)
}

impl Read for ToRdb<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        if self.dialect.is_none() {
            self.make();
        }
        loop {
            let left = self.out.get(self.taken..).unwrap_or_default();
            if !left.is_empty() || to.is_empty() {
                let n = left.len().min(to.len());
                if let (Some(to), Some(from)) = (to.get_mut(..n), left.get(..n)) {
                    to.copy_from_slice(from);
                }
                self.taken += n;
                return Ok(n);
            }
            if let Some(more) = &mut self.more {
                match more.read(to)? {
                    0 => self.more = None,
                    n => return Ok(n),
                }
                continue;
            }
            if let Some(e) = self.failed.take() {
                return Err(std::io::Error::other(e));
            }
            if self.ended {
                return Ok(0);
            }
            self.out.clear();
            self.taken = 0;
            self.make();
        }
    }
}

#[cfg(test)]
mod tests;
