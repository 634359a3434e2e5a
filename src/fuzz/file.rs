//! Whole files.

use super::value::{counted, types, walk};
use super::{Dice, assert_inside};
use crate::Decode;
use crate::aof::scan::{self as log, Scan};
use crate::cursor::Cursor;
use crate::dump::Dump;
use crate::encode::commands::Commands;
use crate::encode::json::{Format, Json};
use crate::encode::{self, Encode};
use crate::error::{ErrorKind, RdbError, Result};
use crate::filter::{Filter, Transform};
use crate::ndjson::read::ToRdb;
use crate::out::Out;
use crate::pipeline::{self, OnError, Progress};
use crate::rdb::crc64;
use crate::rdb::header::Header;
use crate::rdb::logical_type::LogicalType;
use crate::rdb::opcode;
use crate::rdb::release::Release;
use crate::rdb::scan::{Item, Scanner};
use crate::rdb::skip;
use crate::rdb::string::{Form, RdbStr, Scratch};
use crate::rdb::value_type::ValueType;
use crate::sink::{Count, Plain, Sink};
use crate::source::Source;
use crate::verify::Check;
use std::io::Read;

/// The items of a file: each ends before the next begins, values decode to where they end, and a file that is cut short
/// begins with the same items.
pub fn scan(bytes: &[u8]) {
    let (items, end) = scanned(bytes);
    if let Err(e) = &end {
        assert_inside(e, 0, bytes);
    }
    let cut = Dice::new(bytes).below(bytes.len());
    let (less, broken) = scanned(&bytes[..cut]);
    assert!(items.starts_with(&less), "other items when cut at {cut}");
    match (broken, end) {
        (Err(e), end) => {
            assert_inside(&e, 0, &bytes[..cut]);
            assert!(
                e.kind() == ErrorKind::UnexpectedEof || end.is_err(),
                "cut at {cut}: {e}"
            );
        }
        // Behind the end of the file there may be anything.
        (Ok(()), Ok(())) => assert_eq!(items, less),
        (Ok(()), Err(e)) => panic!("whole when cut at {cut}, but: {e}"),
    }
}

/// Where each item ends, and of keys where the record, the value and the value's end are; and how the file ends.
fn scanned(bytes: &[u8]) -> (Vec<[u64; 4]>, Result<()>) {
    let mut found = Vec::new();
    let mut scanner = match Scanner::new(bytes) {
        Ok(scanner) => scanner,
        Err(e) => return (found, Err(e)),
    };
    let mut scratch = Scratch::new();
    let mut last = scanner.offset();
    let mut key_ended = last;
    let mut ended = false;
    let end = loop {
        let item = match scanner.next_item() {
            Ok(Some(item)) => item,
            Ok(None) => break Ok(()),
            Err(e) => break Err(e),
        };
        assert!(!ended, "an item behind the end");
        let at = scanner.offset();
        assert!(at > last && at <= bytes.len() as u64, "{at} after {last}");
        found.push(match item {
            Item::Key(e) => {
                let end = e.body_offset + e.body.len() as u64;
                // Another item may stand between the attributes and the type.
                assert!(key_ended <= e.offset && e.offset < e.body_offset && end == at);
                key_ended = at;
                let place = e.body_offset as usize;
                assert_eq!(bytes.get(place..end as usize), Some(e.body));
                let mut c = Cursor::new(e.body, e.body_offset);
                let again =
                    skip::value(&mut c, e.value_type, scanner.templates(), true, usize::MAX);
                assert!(matches!(again, Ok(None)) && c.is_empty());
                match e.key.as_bytes(&mut scratch) {
                    Ok(_) => walk(&e, scanner.templates()),
                    Err(e) => assert_inside(&e, 0, bytes),
                }
                [at, e.offset, e.body_offset, end]
            }
            other => {
                ended = matches!(other, Item::End);
                [at; 4]
            }
        });
        last = at;
    };
    for _ in 0..3 {
        assert!(
            matches!(scanner.next_item(), Ok(None)),
            "more after the end"
        );
    }
    (found, end)
}

/// Decodes any bytes to JSON; the checksum is not enforced. Gives the number of keys.
///
/// At once and in pieces gives the same, and so does the plain way, one item after the other.
pub fn decode(bytes: &[u8]) -> Result<u64> {
    let mut dice = Dice::new(bytes);
    let format = match dice.below(8) {
        0 => Format::Json,
        1 => Format::Csv,
        2 => Format::Keys,
        _ => Format::Ndjson,
    };
    let options = Decode {
        format,
        meta: dice.below(2) == 0,
        threads: 1,
        ignore_checksum: true,
        on_error: match dice.below(4) {
            0 => OnError::Skip,
            _ => OnError::Stop,
        },
        ..Decode::default()
    };
    let (found, json) = run(&options, Source::from_bytes("input", bytes));
    let step = 16 << dice.below(12);
    let reader = std::io::Cursor::new(bytes.to_vec());
    let source = Source::from_reader("input", reader).in_steps(step);
    // One thread alone has its own way through; a pool is slow to start.
    let threads = 1 + usize::from(dice.below(8) == 0);
    let (other, other_json) = run(
        &Decode {
            threads,
            ..options.clone()
        },
        source,
    );
    match (&found, &other) {
        (Ok(a), Ok(b)) => assert_eq!(a, b),
        (Err(a), Err(b)) if (a.kind(), a.offset()) != (b.kind(), b.offset()) => {
            // Only with all bytes at hand it is known at once that a count is too large for them.
            assert!(
                a.kind() == ErrorKind::UnexpectedEof && a.offset() < b.offset(),
                "at once {a}, in steps of {step} {b}"
            );
        }
        (Err(a), Err(b)) => assert_eq!(a.key(), b.key()),
        _ => panic!("at once {found:?}, in steps of {step} {other:?}"),
    }
    assert!(json == other_json, "other output in steps of {step}");
    if found.is_ok() && options.on_error == OnError::Stop && options.meta {
        let plain = plainly(bytes, format);
        if format != Format::Json && format != Format::Csv {
            assert!(plain == Some(json), "other output the plain way");
        }
    }
    found
}

/// Decodes any bytes once and checks them once, whole or in pieces; the checksum is not enforced. Gives the number of keys.
///
/// [`decode()`] and [`check`] compare several ways through the same bytes; this is for going through very many inputs.
pub fn once(bytes: &[u8]) -> Result<u64> {
    let mut dice = Dice::new(bytes);
    let mut on_error = || match dice.below(4) {
        0 => OnError::Skip,
        _ => OnError::Stop,
    };
    let check = Check {
        threads: 1,
        ignore_checksum: true,
        on_error: on_error(),
        now_ms: 0,
    };
    check.run(&mut Source::from_bytes("input", bytes), &Progress::new());
    let decode = Decode {
        meta: true,
        threads: 1,
        ignore_checksum: true,
        on_error: on_error(),
        ..Decode::default()
    };
    let source = match dice.below(4) {
        0 => {
            let reader = std::io::Cursor::new(bytes.to_vec());
            Source::from_reader("input", reader).in_steps(16 << dice.below(12))
        }
        _ => Source::from_bytes("input", bytes),
    };
    let summaries = decode.run(&mut [source], &Progress::new(), &mut Count::default())?;
    Ok(summaries.iter().map(|s| s.keys).sum())
}

/// Lines of JSON, or anything else that may be taken for them: what they become is the same however they come and are gathered, it is RDB
/// with an end, or a log, with such RDB before it or without, and the lines it decodes to come back as they are: of a log to the very same bytes.
pub fn ndjson(bytes: &[u8]) {
    let read = |mut reader: ToRdb<'_>| {
        let mut rdb = Vec::new();
        let end = reader.read_to_end(&mut rdb);
        (rdb, end.map_err(|e| RdbError::io("reading", e)))
    };
    let mut dice = Dice::new(bytes);
    let (rdb, end) = read(ToRdb::new(bytes));
    let (buffer, in_memory) = (32 + dice.below(100), dice.below(100));
    let (other, other_end) = read(ToRdb::with_limits(bytes, buffer, in_memory));
    assert!(rdb == other, "other RDB with a buffer of {buffer}");
    match (&end, &other_end) {
        (Ok(_), Ok(_)) => {}
        (Err(a), Err(b)) => {
            assert_inside(a, 0, bytes);
            assert_eq!((a.kind(), a.offset()), (b.kind(), b.offset()), "{a}, {b}");
        }
        _ => panic!("at once {end:?}, with a buffer of {buffer} {other_end:?}"),
    }
    if end.is_err() {
        return;
    }
    let mut behind = &rdb[..];
    if Header::is_magic(&rdb) {
        let (items, frame) = scanned(&rdb);
        if let Err(e) = frame {
            panic!("what was made is no RDB: {e}");
        }
        let end = items.last().map_or(0, |[.., end]| *end as usize);
        let (checksum, log) = rdb[end..].split_at(8);
        assert!(rdb[end - 1] == opcode::EOF && checksum == [0; 8]);
        behind = log;
    }
    assert_log(behind);
    let lines = |bytes: &[u8]| {
        let mut out = Vec::new();
        let mut sources = [Source::from_bytes("input", bytes)];
        let decode = Decode {
            threads: 1,
            ..Decode::default()
        };
        let r = decode.run(&mut sources, &Progress::new(), &mut Plain(&mut out));
        r.map(|_| out)
    };
    // Some things only their readers see: the order of pending entries, a module's own layout.
    let Ok(once) = lines(&rdb) else { return };
    if once.is_empty() {
        return;
    }
    match lines(&once) {
        Ok(twice) => assert!(once == twice, "other lines when they are read back"),
        Err(e) => panic!("lines cannot be read back: {e}"),
    }
    // The commands of a log come out as they stand in it, whether it is read or its lines.
    let dumped = |bytes: &[u8]| {
        let mut out = Vec::new();
        let mut sources = [Source::from_bytes("input", bytes)];
        let dump = Dump {
            threads: 1,
            ..Dump::default()
        };
        let r = dump.run(&mut sources, &Progress::new(), &mut Plain(&mut out));
        r.map(|_| out)
    };
    if behind.len() == rdb.len() {
        match (dumped(&rdb), dumped(&once)) {
            (Ok(a), Ok(b)) => assert!(a == b, "other commands when they are read back"),
            (a, b) => panic!("{a:?}, but of its lines {b:?}"),
        }
    }
}

/// Whole commands and annotations, and nothing else.
fn assert_log(bytes: &[u8]) {
    let mut scan = Scan::default();
    while scan.at() < bytes.len() {
        match scan.step(bytes, 0) {
            Ok(log::Step::More) | Err(_) => panic!("no log: {}", bytes.escape_ascii()),
            Ok(_) => {}
        }
    }
}

/// Checks any bytes; the checksum is not enforced. Gives the number of keys that are whole.
///
/// Asserts that a check which passes over broken values comes to the same: it ends where the other does, or goes on behind a
/// value that ended the other.
pub fn check(bytes: &[u8]) -> Result<u64> {
    let run = |on_error| {
        let check = Check {
            threads: 1,
            ignore_checksum: true,
            on_error,
            now_ms: 0,
        };
        let mut source = Source::from_bytes("input", bytes);
        check.run(&mut source, &Progress::new())
    };
    let stopping = run(OnError::Stop);
    let skipping = run(OnError::Skip);
    assert!(stopping.keys <= skipping.keys);
    if let Some(tally) = &stopping.tally {
        assert_eq!(stopping.keys, tally.total().total().keys);
    }
    if let Some(tally) = &skipping.tally {
        assert_eq!(skipping.keys, tally.total().total().keys);
        assert_eq!(stopping.error.is_some(), tally.broken.count > 0);
    }
    match stopping.error {
        Some(e) => Err(e),
        None => Ok(stopping.keys),
    }
}

/// Makes commands of any file; the checksum is not enforced. Gives the number of keys.
///
/// What comes out are whole commands, but for the last one when the file is broken.
pub fn commands(bytes: &[u8]) -> Result<u64> {
    const RELEASES: [Option<Release>; 6] = [
        None,
        Some(Release::redis(3, 2)),
        Some(Release::redis(6, 0)),
        Some(Release::redis(7, 4)),
        Some(Release::redis(8, 8)),
        Some(Release::valkey(9, 0)),
    ];
    let mut dice = Dice::new(bytes);
    let how = encode::commands::Options {
        release: RELEASES[dice.below(RELEASES.len())],
        replace: dice.below(2) == 0,
    };
    let filter = Filter::default();
    let options = pipeline::Options {
        log: Default::default(),
        threads: 1,
        filter: &filter,
        transform: &Transform::default(),
        unique: None,
        libraries: None,
        checksum: false,
        on_error: match dice.below(4) {
            0 => OnError::Skip,
            _ => OnError::Stop,
        },
        limit: None,
    };
    let mut out = Vec::new();
    let r = pipeline::run(
        &mut Source::from_bytes("input", bytes),
        &options,
        &Progress::new(),
        &mut Plain(&mut out),
        |header| Commands::new(header, how),
    );
    assert_commands(&out, r.is_ok());
    r.map(|(summary, _)| summary.keys)
}

/// Whole commands, between them the annotations of a log, and nothing else; if not `whole`, the last may be cut.
fn assert_commands(bytes: &[u8], whole: bool) {
    let mut rest = bytes;
    let mut left = 0u64;
    while !rest.is_empty() {
        let kind = if left == 0 { b'*' } else { b'$' };
        let Some(end) = memchr::memchr(b'\n', rest) else {
            break;
        };
        let (line, after) = rest.split_at(end + 1);
        if left == 0 && line.starts_with(b"#") {
            rest = after;
            continue;
        }
        let number = match line {
            [first, digits @ .., b'\r', b'\n'] if *first == kind => std::str::from_utf8(digits),
            _ => panic!("{}: expected {}", line.escape_ascii(), char::from(kind)),
        };
        let number = number
            .ok()
            .filter(|n| !n.starts_with(['0', '+']) || *n == "0");
        let Some(n) = number.and_then(|n| n.parse::<u64>().ok()) else {
            panic!("{}: expected a number", line.escape_ascii());
        };
        if kind == b'*' {
            assert!(n > 0, "a command without a name");
            (left, rest) = (n, after);
            continue;
        }
        let Some((_, after)) = after.split_at_checked(n as usize) else {
            break;
        };
        match after {
            [b'\r', b'\n', after @ ..] => rest = after,
            [] | [b'\r'] => break,
            _ => panic!("no line end after an argument"),
        }
        left -= 1;
    }
    assert!(!whole || (rest.is_empty() && left == 0), "a command is cut");
}

/// Decodes a source; gives the number of keys, and what came out.
pub(super) fn run(options: &Decode, source: Source) -> (Result<u64>, Seen) {
    let mut seen = Seen::new(options.format);
    let summaries = options.run(&mut [source], &Progress::new(), &mut seen);
    if summaries.is_ok() {
        seen.end();
    }
    seen.line.clear();
    (summaries.map(|s| s.iter().map(|s| s.keys).sum()), seen)
}

/// What decoding gives with `--meta`, an item after the other without batches; `None` if the file is broken.
pub(super) fn plainly(bytes: &[u8], format: Format) -> Option<Seen> {
    let mut scanner = Scanner::new(bytes).ok()?;
    let mut encoder = Json::new(format, true, scanner.header());
    let mut seen = Seen::new(format);
    let mut out = Out::new();
    while let Some(item) = scanner.next_item().ok()? {
        match item {
            Item::Key(entry) => encoder.entry(&entry, scanner.templates(), &mut out),
            other => encoder.item(&other, &mut out),
        }
        .ok()?;
        seen.write(out.as_bytes()).ok()?;
        out.truncate(0);
    }
    seen.end();
    Some(seen)
}

/// Lines larger than this are not looked at: read, they would take many times their size.
const LINE: usize = 128 << 10;

/// What came out, as a number to compare; of NDJSON every line is checked.
#[derive(Debug)]
pub(super) struct Seen {
    format: Format,
    len: u64,
    hash: u64,
    line: Vec<u8>,
    too_long: bool,
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        (self.len, self.hash) == (other.len, other.hash)
    }
}

impl Seen {
    fn new(format: Format) -> Self {
        Seen {
            format,
            len: 0,
            hash: 0,
            line: Vec::new(),
            too_long: false,
        }
    }

    /// The end of a run without an error.
    fn end(&self) {
        assert!(
            self.line.is_empty() && !self.too_long,
            "the last line has no end"
        );
    }
}

impl Sink for Seen {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.len += bytes.len() as u64;
        self.hash = crc64::combine(self.hash, crc64::checksum(bytes), bytes.len() as u64);
        if !matches!(self.format, Format::Ndjson | Format::Keys) {
            return Ok(());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let (part, left) = rest.split_at(end.map_or(rest.len(), |at| at + 1));
            rest = left;
            self.too_long |= self.line.len() + part.len() > LINE;
            if self.too_long {
                self.line.clear();
            } else if end.is_some() && self.line.is_empty() {
                assert_json(part);
                continue;
            } else {
                self.line.extend_from_slice(part);
            }
            if end.is_some() {
                if !std::mem::take(&mut self.too_long) {
                    assert_json(&self.line);
                }
                self.line.clear();
            }
        }
        Ok(())
    }
}

/// One line of strict JSON.
pub(super) fn assert_json(line: &[u8]) {
    let Some(line) = line.strip_suffix(b"\n") else {
        panic!("a line without an end");
    };
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(e) => panic!("{e}"),
    };
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) => {}
        // Documents may nest deeper than this reader likes.
        Err(e) if e.to_string().starts_with("recursion limit") => {}
        Err(e) => panic!("{e}: {text:.1000}"),
    }
}

/// Values larger than this make no good seed.
const SEED: usize = 4 << 10;

/// Takes a file apart into inputs for the other functions, each with the name of the function.
pub fn seeds(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::new();
    let Ok(scanner) = Scanner::new(bytes) else {
        return all;
    };
    for item in scanner.map_while(Result::ok) {
        let Item::Key(e) = item else { continue };
        string_seeds(e.key, &mut all);
        if e.body.len() > SEED {
            continue;
        }
        let t = e.value_type;
        let picked = |types: Vec<ValueType>| {
            let i = types.iter().position(|&other| other == t)?;
            Some([&[i as u8], e.body].concat())
        };
        let name = match t.logical() {
            LogicalType::String | LogicalType::RateLimiter => "string",
            LogicalType::List => "list",
            LogicalType::Set => "set",
            LogicalType::Zset => "zset",
            LogicalType::Hash => "hash",
            LogicalType::Stream => "stream",
            LogicalType::Module => "module",
            LogicalType::Array => "array",
        };
        match name {
            "string" => all.push((name, e.body.to_vec())),
            _ => all.extend(picked(types(t.logical())).map(|seed| (name, seed))),
        }
        all.extend(picked(counted()).map(|seed| ("giant", seed)));
        all.extend(picked(ValueType::ALL.to_vec()).map(|seed| ("rewrite", seed)));
        blob_seeds(t, e.body, &mut all);
    }
    all
}

fn string_seeds(s: RdbStr<'_>, all: &mut Vec<(&'static str, Vec<u8>)>) {
    if let Form::Lzf { data, len } = s.form()
        && data.len() <= SEED
    {
        all.push(("lzf", [&(len as u32).to_le_bytes(), data].concat()));
    }
}

/// The blobs in a value, found by trying: a string that begins with its own size, or is an intset.
fn blob_seeds(t: ValueType, body: &[u8], all: &mut Vec<(&'static str, Vec<u8>)>) {
    let name = match t {
        ValueType::SetIntset => "intset",
        ValueType::HashZipmap => "zipmap",
        ValueType::ListZiplist
        | ValueType::ListQuicklist
        | ValueType::ZsetZiplist
        | ValueType::HashZiplist => "ziplist",
        _ => "listpack",
    };
    let mut scratch = Scratch::new();
    let mut c = Cursor::new(body, 0);
    while !c.is_empty() {
        let mut ahead = c;
        match RdbStr::read(&mut ahead) {
            Ok(s) if s.len() > 6 || matches!(name, "zipmap") => {
                string_seeds(s, all);
                if let Ok(blob) = s.as_bytes(&mut scratch) {
                    let sized = blob.first_chunk().map(|b| u32::from_le_bytes(*b) as usize);
                    if sized == Some(blob.len()) || matches!(name, "intset" | "zipmap") {
                        all.push((name, blob.to_vec()));
                    }
                }
                c = ahead;
            }
            Ok(_) => c = ahead,
            Err(_) => c.set_position(c.position() + 1),
        }
    }
}
