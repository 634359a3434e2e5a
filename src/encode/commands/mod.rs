//! Keys as the ordinary commands that make them, as a server's own rewrite of its append-only file has them.
//!
//! ```text
//!   FUNCTION LOAD code                 before the keys                                     7.0
//!   SELECT n                           whenever the database changes
//!   SET key value                      a string
//!   RPUSH key e ...                    a list             at most 64 elements a command
//!   SADD key m ...                     a set
//!   ZADD key score m ...               a sorted set; then, for a score of -0, ZADD key 1 m -0 m
//!   HMSET key f v ...                  a hash             known to every release, HSET of several only from 4.0 on
//!     HPEXPIREAT key ms FIELDS 1 f     a field's expiry                                    7.4, Valkey 9.0
//!   XADD key id f v ...                a stream: see `stream`                              5.0
//!   RESTORE key 0 payload              what has no commands: module values, arrays, a small sorted set with a score of -0
//!   PEXPIREAT key ms                   after the value
//!   SCRIPT LOAD script                 a script that the file keeps
//! ```
//!
//! The times are absolute, and are written also when they have passed: the server decides. What the target does not know, and what no
//! command can set (idle times, when a consumer was last seen), is noted in [`Losses`].
//!
//! Where the commands of a value larger than a batch begin and end depends on how it was cut into parts, and so on whether the file is
//! mapped or comes by a pipe; the data they make does not.

mod chunks;
mod stream;

use super::loss::{Losses, Reason};
use super::{Encode, Part, replay};
use crate::command::Command;
use crate::cursor::Cursor;
use crate::error::Result;
use crate::ndjson::number;
use crate::out::Out;
use crate::rdb::entry::Entry;
use crate::rdb::header::{Dialect, Header};
use crate::rdb::logical_type::LogicalType;
use crate::rdb::packed::Element;
use crate::rdb::release::{self, Release};
use crate::rdb::scan::Item;
use crate::rdb::string::{Form, RdbStr, Scratch};
use crate::rdb::template::Templates;
use crate::rdb::value::module::ModuleId;
use crate::rdb::value::{Elements, Scratches, hash, list, set, zset};
use crate::rdb::value_type::ValueType;
use crate::rdb::{crc64, lzf, write as rdb_write};
use crate::resp::write;
use chunks::{Chunks, any_element, small_element};
use stream::Stream;

/// What stands before the commands of a file: keys that no SELECT precedes are in database 0.
pub const PROLOGUE: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";

/// How commands are made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Who reads them. When this is not known, it is taken to be of the same line as the server that wrote the file, and no
    /// older; commands that only newer servers than that know are not used.
    pub release: Option<Release>,
    /// Whether what the target has under the same name gives way: keys are deleted before they are made, function libraries loaded
    /// with REPLACE.
    pub replace: bool,
}

/// Encodes items as commands.
#[derive(Debug)]
pub struct Commands {
    options: Options,
    /// What the commands are made for.
    release: Release,
    /// RDB version of the file.
    version: u32,
    scratch: Scratches,
    key: Scratch,
    /// Commands that come after the one at hand.
    later: Out<'static>,
    lost: Lost,
    losses: Losses,
    /// Where the last key that lost something stands in its file, and what it lost: a value may be encoded twice.
    noted: (u64, Lost),
}

/// What is lost of the value at hand, a bit for each reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Lost(u32);

impl Lost {
    fn note(&mut self, reason: Reason) {
        self.0 |= 1 << reason as u32;
    }

    fn has(self, reason: Reason) -> bool {
        self.0 & (1 << reason as u32) != 0
    }
}

/// The oldest release that reads a file with this header, of those that have PEXPIREAT.
fn oldest(header: Header) -> Release {
    match (header.dialect, header.version) {
        (Dialect::Valkey, _) => Release::valkey(9, 0),
        (_, ..7) => Release::redis(2, 6),
        (_, 7) => Release::redis(3, 2),
        (_, 8) => Release::redis(4, 0),
        (_, 9) => Release::redis(5, 0),
        (_, 10) => Release::redis(7, 0),
        (_, 11) => Release::redis(7, 2),
        (_, 12) => Release::redis(7, 4),
        (_, 13) => Release::redis(8, 6),
        (_, 14) => Release::redis(8, 8),
        _ => Release::redis(8, 10),
    }
}

impl Commands {
    /// An encoder for the items of a file with this header.
    pub fn new(header: Header, options: Options) -> Self {
        Commands {
            options,
            release: options.release.unwrap_or_else(|| oldest(header)),
            version: header.version,
            scratch: Scratches::default(),
            key: Scratch::new(),
            later: Out::new(),
            lost: Lost::default(),
            losses: Losses::default(),
            noted: (u64::MAX, Lost::default()),
        }
    }

    /// What could not be kept so far.
    pub fn into_losses(self) -> Losses {
        self.losses
    }

    /// Whether the target has no such value at all; then the reason is noted.
    fn is_unknown(&mut self, e: &Entry<'_>) -> Result<bool> {
        let t = e.value_type;
        let (known, reason) = match t.logical() {
            LogicalType::Stream => (self.release.is_at_least((5, 0), (0, 0)), Reason::Stream),
            LogicalType::Array => (self.release.loads(t), Reason::Array),
            LogicalType::RateLimiter => (self.release.loads(t), Reason::RateLimiter),
            LogicalType::Module => {
                let id = ModuleId::read(&mut Cursor::new(e.body, e.body_offset))?;
                // Vector sets are part of Redis from 8.0 on, but 8.0 does not load those of 8.6, which say more of each node.
                // Which other modules a server has its release does not tell.
                let vectors = self.options.release.is_none_or(|r| {
                    r.is_at_least((8, 0), (u16::MAX, 0)) && r.rdb_version() >= self.version
                });
                let known = self.release.loads(t) && (vectors || &id.name() != b"vectorset");
                (known, Reason::Module)
            }
            _ => return Ok(false),
        };
        if !known {
            self.lost.note(reason);
        }
        Ok(!known)
    }

    /// What the key has beside its value, and the end of it.
    #[inline]
    fn close(&mut self, e: &Entry<'_>, out: &mut Out<'_>) -> Result<()> {
        if let Some(ms) = e.expire_at_ms
            && ms != NEVER
        {
            let key = e.key.as_bytes(&mut self.key)?;
            out.lit(b"*3\r\n$9\r\nPEXPIREAT\r\n");
            write::arg(key, out);
            write::arg_i64(ms, out);
        }
        if e.idle_s.is_some() || e.freq.is_some() {
            self.lost.note(Reason::IdleOrFreq);
        }
        if !e.metadata.is_empty() {
            self.lost.note(Reason::KeyMetadata);
        }
        Ok(())
    }

    /// Counts what was lost of a key that has been written.
    #[inline]
    fn settle(&mut self, e: &Entry<'_>) -> Result<()> {
        match self.lost {
            Lost(0) => Ok(()),
            _ => self.settle_losses(e),
        }
    }

    #[cold]
    fn settle_losses(&mut self, e: &Entry<'_>) -> Result<()> {
        let lost = std::mem::take(&mut self.lost);
        if self.noted != (e.offset, lost) {
            self.noted = (e.offset, lost);
            let key = e.key.as_bytes(&mut self.key)?;
            for reason in Reason::ALL {
                if lost.has(reason) {
                    self.losses.note(reason, e.db, key);
                }
            }
        }
        Ok(())
    }

    /// Elements of a list, set, sorted set or hash; gives how many, and how many of them are odd: fields of a hash that lost
    /// their expiry, members of a sorted set with a score of -0.
    fn elements(
        &mut self,
        key: RdbStr<'_>,
        elements: &Elements<'_>,
        count: Option<u64>,
        templates: &Templates,
        out: &mut Out<'_>,
    ) -> Result<(u64, u64)> {
        let Commands {
            key: key_scratch,
            scratch,
            later,
            release,
            ..
        } = self;
        let key = key.as_bytes(key_scratch)?;
        let mut odd = 0;
        later.truncate(0);
        let chunks = match elements.value_type.logical() {
            LogicalType::List => {
                let mut chunks = Chunks::new(b"$5\r\nRPUSH\r\n", key, 1, count);
                list::each(elements, scratch, |e| chunks.one(e, out).map(drop))?;
                chunks.finish(out)?;
                chunks
            }
            LogicalType::Set => {
                let mut chunks = Chunks::new(b"$4\r\nSADD\r\n", key, 1, count);
                set::each(elements, scratch, |e| chunks.one(e, out).map(drop))?;
                chunks.finish(out)?;
                chunks
            }
            LogicalType::Zset => {
                let mut chunks = Chunks::new(b"$4\r\nZADD\r\n", key, 2, count);
                let mut text = number::Text::new();
                zset::each(elements, scratch, |member, score| {
                    if score == 0.0 && score.is_sign_negative() {
                        odd += 1;
                        negative_zero(key, member, later);
                    }
                    let score = Element::Bytes(text.format(score).as_bytes());
                    chunks.two(score, member, out).map(drop)
                })?;
                chunks.finish(out)?;
                append(later, out)?;
                chunks
            }
            _ if elements.value_type.has_field_expiry() => {
                let mut chunks = Chunks::new(b"$5\r\nHMSET\r\n", key, 2, count);
                let keeps = release.is_at_least((7, 4), (9, 0));
                hash::each(elements, templates, scratch, |field, value, expiry| {
                    match expiry {
                        Some(ms) if keeps => field_expiry(key, field, ms, later),
                        Some(_) => odd += 1,
                        None => {}
                    }
                    if chunks.two(field, value, out)? {
                        append(later, out)?;
                    }
                    Ok(())
                })?;
                chunks.finish(out)?;
                append(later, out)?;
                chunks
            }
            _ => {
                let mut chunks = Chunks::new(b"$5\r\nHMSET\r\n", key, 2, count);
                hash::each(elements, templates, scratch, |field, value, _| {
                    chunks.two(field, value, out).map(drop)
                })?;
                chunks.finish(out)?;
                chunks
            }
        };
        Ok((chunks.total, odd))
    }

    /// What makes room for a key, where that is wanted.
    #[inline]
    fn delete(&mut self, key: RdbStr<'_>, out: &mut Out<'_>) -> Result<()> {
        if self.options.replace {
            let key = key.as_bytes(&mut self.key)?;
            write::command(&[b"DEL", key], out);
        }
        Ok(())
    }

    /// The value as a payload.
    fn restore(&mut self, e: &Entry<'_>, out: &mut Out<'_>) -> Result<()> {
        let t = e.value_type;
        let label = match self.options.release {
            Some(release) => release.label(t),
            None => release::label(t),
        };
        write::head(if self.options.replace { 5 } else { 4 }, out);
        out.lit(b"$7\r\nRESTORE\r\n");
        write::arg(e.key.as_bytes(&mut self.key)?, out);
        out.lit(b"$1\r\n0\r\n");
        let len = e.body.len() as u64;
        write::arg_len(1 + len + rdb_write::FOOTER_LEN as u64, out);
        out.byte(t.byte());
        write::raw_pieces(e.body, out)?;
        let (first, rest) = (crc64::checksum(&[t.byte()]), crc64::checksum(e.body));
        out.lit(&rdb_write::footer(crc64::combine(first, rest, len), label));
        out.lit(b"\r\n");
        if self.options.replace {
            out.lit(b"$7\r\nREPLACE\r\n");
        }
        Ok(())
    }

    /// A function library.
    fn library(&mut self, code: &[u8], out: &mut Out<'_>) -> Result<()> {
        if !self.release.is_at_least((7, 0), (0, 0)) {
            self.losses.note(Reason::Function, 0, library_name(code));
            return Ok(());
        }
        write::head(if self.options.replace { 4 } else { 3 }, out);
        out.lit(b"$8\r\nFUNCTION\r\n$4\r\nLOAD\r\n");
        if self.options.replace {
            out.lit(b"$7\r\nREPLACE\r\n");
        }
        any_element(Element::Bytes(code), out)
    }
}

/// An expiry that servers take for none.
const NEVER: i64 = -1;

/// The name in the first line of a library, `#!lua name=...`; the line as it is if there is none.
fn library_name(code: &[u8]) -> &[u8] {
    let line = code.split(|&b| b == b'\n').next().unwrap_or_default();
    let mut words = line.split(|&b| b == b' ');
    words.find_map(|w| w.strip_prefix(b"name=")).unwrap_or(line)
}

/// Appends what gives a member the score -0. While a sorted set is small servers from 7.0 on make 0 of it, and then take -0 for no
/// change; so it is given once more, after another score, when the set has its final size.
#[cold]
fn negative_zero(key: &[u8], member: Element<'_>, out: &mut Out<'_>) {
    out.lit(b"*6\r\n$4\r\nZADD\r\n");
    write::arg(key, out);
    for score in [b"$1\r\n1\r\n", b"$2\r\n-0\r\n".as_slice()] {
        out.raw(score);
        small_element(member, out);
    }
}

/// Appends what sets the expiry of a field.
fn field_expiry(key: &[u8], field: Element<'_>, ms: i64, out: &mut Out<'_>) {
    out.lit(b"*6\r\n$10\r\nHPEXPIREAT\r\n");
    write::arg(key, out);
    write::arg_i64(ms, out);
    out.lit(b"$6\r\nFIELDS\r\n$1\r\n1\r\n");
    small_element(field, out);
}

/// Appends what has been put by.
fn append(from: &mut Out<'_>, out: &mut Out<'_>) -> Result<()> {
    write::raw_pieces(from.as_bytes(), out)?;
    from.truncate(0);
    out.checkpoint()
}

/// Appends what makes a consumer that has nothing.
fn consumer_commands(
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    release: Release,
    out: &mut Out<'_>,
) {
    if release.is_at_least((6, 2), (0, 0)) {
        let name: &[u8] = b"CREATECONSUMER";
        return write::command(&[b"XGROUP", name, key, group, consumer], out);
    }
    // There is no command for it, but a consumer that asks for what it has already been given comes into being.
    write::command(
        &[
            b"XREADGROUP",
            b"GROUP",
            group,
            consumer,
            b"STREAMS",
            key,
            b"0",
        ],
        out,
    );
}

/// Appends a string value.
#[inline]
fn string(key: &[u8], e: &Entry<'_>, scratch: &mut Scratch, out: &mut Out<'_>) -> Result<()> {
    let s = RdbStr::read(&mut Cursor::new(e.body, e.body_offset))?;
    out.lit(b"*3\r\n$3\r\nSET\r\n");
    write::arg(key, out);
    match s.form() {
        Form::Lzf { data, len } if len > lzf::WHOLE => {
            write::arg_len(len as u64, out);
            let mut pieces = lzf::Pieces::new(data, len);
            while let Some(piece) = pieces.next_piece().map_err(|e| e.into_error(s.offset()))? {
                out.raw(piece);
                out.checkpoint()?;
            }
            out.lit(b"\r\n");
            Ok(())
        }
        _ => any_element(s.as_element(scratch)?, out),
    }
}

impl Encode for Commands {
    fn item(&mut self, item: &Item<'_>, out: &mut Out<'_>) -> Result<()> {
        match *item {
            Item::SelectDb(db) => {
                out.lit(b"*2\r\n$6\r\nSELECT\r\n");
                write::arg_u64(db, out);
            }
            Item::Function { code } => {
                let mut scratch = std::mem::take(&mut self.scratch.first);
                let r = code
                    .as_bytes(&mut scratch)
                    .and_then(|code| self.library(code, out));
                self.scratch.first = scratch;
                r?;
            }
            Item::FunctionPreGa { name, engine, code } => {
                let text = super::library(&name, &engine, &code, &mut self.scratch.first)?;
                self.library(&text, out)?;
            }
            Item::Aux { name, value } => {
                if name.as_bytes(&mut self.scratch.first)? == b"lua" {
                    let script = value.as_element(&mut self.scratch.second)?;
                    out.lit(b"*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n");
                    any_element(script, out)?;
                }
            }
            Item::ModuleAux { id, .. } => {
                let name = ModuleId(id).name();
                self.losses.note(Reason::ModuleAux, 0, &name);
            }
            Item::SlotImport { job, .. } => {
                let job = job.as_bytes(&mut self.scratch.first)?;
                self.losses.note(Reason::SlotImport, 0, job);
            }
            Item::Key(_) | Item::Hint | Item::End => {}
        }
        out.checkpoint()
    }

    #[inline]
    fn entry(&mut self, e: &Entry<'_>, templates: &Templates, out: &mut Out<'_>) -> Result<()> {
        self.lost = Lost::default();
        match e.value_type.logical() {
            LogicalType::String => {
                let key = e.key.as_bytes(&mut self.key)?;
                string(key, e, &mut self.scratch.first, out)?;
            }
            logical => {
                if self.is_unknown(e)? {
                    return self.settle(e);
                }
                match logical {
                    LogicalType::Stream => {
                        self.delete(e.key, out)?;
                        let stream = Stream {
                            key: e.key.as_bytes(&mut self.key)?,
                            release: self.release,
                        };
                        let version = e.value_type.stream_version().unwrap_or(1);
                        let (scratch, lost) = (&mut self.scratch, &mut self.lost);
                        stream.value(e.body, e.body_offset, version, scratch, lost, out)?;
                    }
                    LogicalType::Module | LogicalType::Array | LogicalType::RateLimiter => {
                        self.restore(e, out)?;
                    }
                    _ => {
                        let mark = out.mark();
                        self.delete(e.key, out)?;
                        let (elements, count) = Elements::of(e)?;
                        let (n, odd) = self.elements(e.key, &elements, count, templates, out)?;
                        if n == 0 {
                            // Servers pass over a collection without elements.
                            return Ok(());
                        }
                        let small = matches!(
                            e.value_type,
                            ValueType::ZsetZiplist | ValueType::ZsetListpack
                        );
                        if odd > 0 && logical == LogicalType::Hash {
                            self.lost.note(Reason::FieldExpiry);
                        } else if odd > 0
                            && small
                            && self.release.loads(e.value_type)
                            && out.rewind(mark)
                        {
                            // Servers from 7.0 on make 0 of a score of -0 in a small sorted set, but keep one that they load.
                            self.restore(e, out)?;
                        }
                    }
                }
            }
        }
        self.close(e, out)?;
        self.settle(e)?;
        out.checkpoint()
    }

    /// What parts count as elements is what the last of them must know of all: how many expiries were lost, which pending entries there
    /// are.
    fn part(&mut self, part: &Part<'_>, elements: &mut u64, out: &mut Out<'_>) -> Result<()> {
        let e = &part.entry;
        let t = e.value_type;
        self.lost = Lost::default();
        if self.is_unknown(e)? {
            return match part.last {
                Some(_) => self.settle(e),
                None => Ok(()),
            };
        }
        if part.first {
            self.delete(e.key, out)?;
        }
        if let Some(version) = t.stream_version() {
            let stream = Stream {
                key: e.key.as_bytes(&mut self.key)?,
                release: self.release,
            };
            let (scratch, lost) = (&mut self.scratch, &mut self.lost);
            stream.part(part, version, elements, scratch, lost, out)?;
        } else {
            let units = part.elements();
            // A value large enough to be cut is of no template, and its parts have many full commands.
            let templates = Templates::default();
            let (_, odd) = self.elements(e.key, &units, Some(u64::MAX), &templates, out)?;
            *elements += odd;
            if part.last.is_some()
                && t.has_field_expiry()
                && (part.elements_before)() + *elements > 0
            {
                self.lost.note(Reason::FieldExpiry);
            }
        }
        if part.last.is_some() {
            self.close(e, out)?;
            self.settle(e)?;
        }
        Ok(())
    }

    #[inline]
    fn command(&mut self, command: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        replay::command(command, self.options.release, &mut self.losses, out)
    }

    fn annotation(&mut self, line: &[u8], out: &mut Out<'_>) -> Result<()> {
        replay::annotation(line, self.options.release, &mut self.losses, out);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
