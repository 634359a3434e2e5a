//! Values: one byte picks the type, the rest is the value as serialized, and more if there is more.

use super::{BASE, Dice, assert_inside, file};
use crate::Decode;
use crate::cursor::Cursor;
use crate::encode::Encode;
use crate::encode::compat::{Rewriter, Way};
use crate::encode::json::{Format, Json};
use crate::encode::loss::Losses;
use crate::error::{ErrorKind, Result};
use crate::out::Out;
use crate::rdb::entry::Entry;
use crate::rdb::header::{Dialect, Header};
use crate::rdb::length;
use crate::rdb::logical_type::LogicalType;
use crate::rdb::release::Release;
use crate::rdb::scan::{Item, Scanner};
use crate::rdb::skip::{self, Unit, Units};
use crate::rdb::string::{RdbStr, Scratch};
use crate::rdb::template::Templates;
use crate::rdb::value::module::vectorset::VectorSet;
use crate::rdb::value::module::{Items, ModuleId};
use crate::rdb::value::stream::{Nodes, Records, Tail};
use crate::rdb::value::{Elements, Scratches, array as arrays, hash as hashes, list as lists};
use crate::rdb::value::{set as sets, zset as zsets};
use crate::rdb::value_type::ValueType;
use crate::source::Source;

/// A list.
pub fn list(bytes: &[u8]) {
    value(LogicalType::List, bytes);
}

/// A set.
pub fn set(bytes: &[u8]) {
    value(LogicalType::Set, bytes);
}

/// A sorted set.
pub fn zset(bytes: &[u8]) {
    value(LogicalType::Zset, bytes);
}

/// A hash.
pub fn hash(bytes: &[u8]) {
    value(LogicalType::Hash, bytes);
}

/// A stream.
pub fn stream(bytes: &[u8]) {
    value(LogicalType::Stream, bytes);
}

/// A module value.
pub fn module(bytes: &[u8]) {
    value(LogicalType::Module, bytes);
}

/// An array.
pub fn array(bytes: &[u8]) {
    value(LogicalType::Array, bytes);
}

/// The types of which byte 0 of an input picks one.
pub(super) fn types(logical: LogicalType) -> Vec<ValueType> {
    let all = ValueType::ALL.iter().copied();
    all.filter(|t| t.logical() == logical).collect()
}

/// The types of which byte 0 of an input to [`giant`] picks one.
pub(super) fn counted() -> Vec<ValueType> {
    let all = ValueType::ALL.iter().copied();
    all.filter(|&t| Unit::of(t).is_some()).collect()
}

fn pick(types: &[ValueType], bytes: &[u8]) -> Option<(ValueType, usize)> {
    let first = *bytes.first()?;
    types.get(usize::from(first) % types.len()).map(|&t| (t, 1))
}

/// The templates that the values of a fuzzer can refer to: 1, with fields `a`, `b`, `c`.
const TEMPLATE: &[u8] = b"\x01\x03\x01a\x01b\x01c";

fn templates() -> Templates {
    let mut all = Templates::default();
    if let Err(e) = all.read(&mut Cursor::new(TEMPLATE, 0), true) {
        panic!("{e}");
    }
    all
}

fn value(logical: LogicalType, bytes: &[u8]) {
    let Some((t, from)) = pick(&types(logical), bytes) else {
        return;
    };
    let bytes = &bytes[from..];
    let templates = templates();
    let mut c = Cursor::new(bytes, BASE);
    match skip::value(&mut c, t, &templates, true, usize::MAX) {
        Ok(left) => assert!(left.is_none()),
        Err(e) => return assert_inside(&e, BASE, bytes),
    }
    let body = c.since(0);
    let mut dice = Dice::new(bytes);
    pauses(body, t, &templates, &mut dice);
    pieces(body, t, &templates, &mut dice);
    framed(body, t);
    walk(&entry(t, body), &templates);
}

/// Passing over a value in steps ends where passing over it at once ends.
fn pauses(body: &[u8], t: ValueType, templates: &Templates, dice: &mut Dice) {
    let mut c = Cursor::new(body, BASE);
    let stop = dice.below(body.len() + 1);
    match skip::value(&mut c, t, templates, true, stop) {
        Ok(None) => {}
        Ok(Some(mut units)) => {
            let mut steps = 0;
            while units.left > 0 {
                let stop = c.position() + 1 + dice.below(body.len());
                if let Err(e) = units.skip(&mut c, stop) {
                    panic!("in steps: {e}");
                }
                steps += 1;
                assert!(steps <= body.len(), "an endless walk");
            }
            if let Err(e) = skip::after_units(&mut c, t, true) {
                panic!("after the units: {e}");
            }
        }
        Err(e) => panic!("with a stop at {stop}: {e}"),
    }
    assert!(c.is_empty(), "{} bytes left", c.remaining());
}

/// Of a sound value that is not all there yet, only that can be said.
fn pieces(body: &[u8], t: ValueType, templates: &Templates, dice: &mut Dice) {
    let mut cuts = vec![0, body.len().saturating_sub(1)];
    cuts.extend((0..6).map(|_| dice.below(body.len())));
    for cut in cuts.into_iter().filter(|&n| n < body.len()) {
        for whole in [false, true] {
            let part = &body[..cut];
            match skip::value(
                &mut Cursor::new(part, BASE),
                t,
                templates,
                whole,
                usize::MAX,
            ) {
                Ok(_) => panic!("{cut} of {} bytes are a value", body.len()),
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::UnexpectedEof, "cut at {cut}: {e}");
                    assert_inside(&e, BASE, part);
                }
            }
        }
    }
}

/// A file of one key with this value; `before` stands before its type.
fn file_of(t: ValueType, before: &[u8], value: &[u8]) -> Vec<u8> {
    let mut file = match t {
        ValueType::Hash2 => b"VALKEY080".to_vec(),
        _ => [b"REDIS0015\xf2", TEMPLATE].concat(),
    };
    file.extend_from_slice(before);
    file.extend_from_slice(&[t.byte(), 1, b'k']);
    file.extend_from_slice(value);
    file.push(0xff);
    file.extend_from_slice(&[0; 8]);
    file
}

/// In a file the scanner finds the same body, and behind it the end.
fn framed(body: &[u8], t: ValueType) {
    let file = file_of(t, b"", body);
    let items: Result<Vec<Item<'_>>> = match Scanner::new(&file) {
        Ok(scanner) => scanner.collect(),
        Err(e) => Err(e),
    };
    let items = items.unwrap_or_else(|e| panic!("in a file: {e}"));
    let [.., Item::Key(entry), Item::End] = &items[..] else {
        panic!("{items:?}");
    };
    assert_eq!((entry.value_type, entry.body), (t, body));
}

/// Decodes a value that has been passed over without an error: what is in its units may be broken, but not their frame.
pub(super) fn walk(entry: &Entry<'_>, templates: &Templates) {
    let decoded = decode(entry, templates);
    if let Err(e) = &decoded {
        assert_inside(e, entry.body_offset, entry.body);
        assert_ne!(e.kind(), ErrorKind::UnexpectedEof, "{e}");
    }
    for format in [Format::Ndjson, Format::Csv] {
        let mut out = Out::new();
        let header = Header {
            dialect: Dialect::Redis,
            version: 15,
        };
        match Json::new(format, true, header).entry(entry, templates, &mut out) {
            Ok(()) => {
                assert!(decoded.is_ok(), "JSON of what is broken: {decoded:?}");
                if format == Format::Ndjson {
                    file::assert_json(out.as_bytes());
                }
            }
            Err(e) => {
                assert!(decoded.is_err(), "no JSON of what is sound: {e}");
                assert_inside(&e, entry.body_offset, entry.body);
            }
        }
    }
}

fn decode(entry: &Entry<'_>, templates: &Templates) -> Result<()> {
    let mut scratch = Scratches::default();
    let mut n = 0;
    let body = entry.body;
    let mut c = Cursor::new(body, entry.body_offset);
    let mut count = |_| {
        n += 1;
        Ok(())
    };
    match entry.value_type.logical() {
        LogicalType::String => {
            RdbStr::read(&mut c)?.as_bytes(&mut scratch.first)?;
            assert!(c.is_empty());
            return Ok(());
        }
        LogicalType::Stream => return streams(entry, &mut scratch.blob),
        LogicalType::Module => {
            modules(c);
            return Ok(());
        }
        LogicalType::Array => {
            let head = arrays::Head::read(&mut c)?;
            let mut elements = arrays::Elements::new(c.rest(), c.offset());
            let mut text = arrays::DoubleText::new();
            while let Some((_, value)) = elements.next_element()? {
                value.as_bytes(&mut text, &mut scratch.first)?;
                n += 1;
            }
            assert_eq!(n, head.len);
            return Ok(());
        }
        LogicalType::RateLimiter => {
            length::read(&mut c, "an arrival time")?;
            assert!(c.is_empty());
            return Ok(());
        }
        LogicalType::List => {
            let (elements, _) = Elements::of(entry)?;
            lists::each(&elements, &mut scratch, |_| count(()))?;
        }
        LogicalType::Set => {
            let (elements, _) = Elements::of(entry)?;
            sets::each(&elements, &mut scratch, |_| count(()))?;
        }
        LogicalType::Zset => {
            let (elements, _) = Elements::of(entry)?;
            zsets::each(&elements, &mut scratch, |_, score| {
                assert!(!score.is_nan());
                count(())
            })?;
        }
        LogicalType::Hash => {
            let (elements, _) = Elements::of(entry)?;
            hashes::each(&elements, templates, &mut scratch, |_, _, _| count(()))?;
        }
    }
    let (_, told) = Elements::of(entry)?;
    assert!(told.is_none_or(|told| told == n), "{n}, not {told:?}");
    match entry.value_type {
        ValueType::HashTemplateArray | ValueType::HashTemplateListpack => {
            assert_eq!(skip::template_fields(&mut c, true)?, n);
        }
        ValueType::HashTemplateArrayRef => {
            let id = length::read(&mut c, "a template id")?;
            assert_eq!(templates.get(id).map(|t| t.fields), Some(n));
        }
        _ => {}
    }
    Ok(())
}

fn streams(entry: &Entry<'_>, scratch: &mut Scratch) -> Result<()> {
    let version = entry.value_type.stream_version().unwrap_or(1);
    let mut c = Cursor::new(entry.body, entry.body_offset);
    let mut units = Units::read(&mut c, Unit::Pair, 0, true)?;
    let (from, at) = (c.position(), c.offset());
    units.skip(&mut c, usize::MAX)?;
    let packed = c.since(from);
    let tail = Tail::read(&mut c, version)?;
    assert!(c.is_empty(), "{} bytes behind the tail", c.remaining());
    let mut nodes = Nodes::new(packed, at);
    let mut walked = Ok(());
    loop {
        let (key, blob) = match nodes.next_node(scratch) {
            Ok(Some(node)) => node,
            Ok(None) => break,
            Err(e) => {
                walked = Err(e);
                break;
            }
        };
        let size = blob.bytes.len();
        let mut records = Records::new(key, blob)?;
        let mut last = None;
        let mut n = 0;
        while let Some(mut record) = records.next_record()? {
            assert!(last < Some(record.id), "{last:?} before {}", record.id);
            last = Some(record.id);
            while record.next_pair()?.is_some() {
                n += 1;
                assert!(n <= size, "an endless walk");
            }
        }
        assert!(records.next_record()?.is_none());
    }
    assert!(matches!(nodes.next_node(scratch), Ok(None)));
    walked?;
    let mut groups = tail.groups();
    while let Some(group) = groups.next_group()? {
        group.name.as_bytes(scratch)?;
        let mut consumers = group.consumers.clone();
        let mut owned = group.nacked.map_or(0, |ids| ids.len() as u64);
        while let Some(consumer) = consumers.next_consumer()? {
            consumer.name.as_bytes(scratch)?;
            assert_eq!(consumer.pending.count(), consumer.pending.len());
            owned += consumer.pending.len() as u64;
        }
        let mut pending = group.pending()?;
        let mut n = 0;
        while pending.next_entry()?.is_some() {
            n += 1;
        }
        assert!(matches!(pending.next_entry(), Ok(None)));
        assert_eq!(n, group.pel.left());
        assert!(
            owned == n || owned < n && version >= 5,
            "{owned} of {n} owned"
        );
    }
    if let Some(idmp) = &tail.idmp {
        let mut producers = idmp.producers();
        while let Some(mut producer) = producers.next_producer()? {
            producer.id.as_bytes(scratch)?;
            while let Some((iid, _)) = producer.iids.next_iid()? {
                iid.as_bytes(scratch)?;
            }
        }
    }
    Ok(())
}

/// Module data has been passed over, so its items are sound; whether they are what they should be the module alone knows.
fn modules(mut c: Cursor<'_>) {
    let id = ModuleId::read(&mut c).unwrap_or_else(|e| panic!("{e}"));
    assert!(id.name().iter().all(|b| b.is_ascii_graphic()));
    let mut items = Items::new(c);
    let all = items.clone();
    loop {
        match items.next_item() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(e) => panic!("{e}"),
        }
    }
    assert!(items.cursor().is_empty() && matches!(items.next_item(), Ok(None)));
    if let Ok(mut set) = VectorSet::read(all) {
        let mut scratch = Scratch::new();
        while let Ok(Some(e)) = set.next_element() {
            if let Ok(vector) = e.vector.as_bytes(&mut scratch) {
                let n = e.components(set.quantization, set.dim, vector).count();
                assert_eq!(n as u64, set.dim);
            }
        }
    }
}

/// Releases each of which loads something that the one before does not.
const RELEASES: [Release; 10] = [
    Release::redis(2, 4),
    Release::redis(2, 8),
    Release::redis(3, 2),
    Release::redis(6, 2),
    Release::redis(7, 0),
    Release::redis(7, 2),
    Release::redis(8, 4),
    Release::redis(8, 6),
    Release::valkey(8, 1),
    Release::valkey(9, 0),
];

/// A value of any type, written as each that it may have to become: if it is sound then so is what comes out, and it says the same.
pub fn rewrite(bytes: &[u8]) {
    let Some((t, from)) = pick(ValueType::ALL, bytes) else {
        return;
    };
    let bytes = &bytes[from..];
    let templates = templates();
    let mut c = Cursor::new(bytes, BASE);
    if skip::value(&mut c, t, &templates, true, usize::MAX).is_err() {
        return;
    }
    let e = entry(t, c.since(0));
    let said = json(&e, &templates);
    for release in RELEASES {
        let mut rewriter = Rewriter::new(Some(release));
        let Ok(Way::As(to)) = rewriter.way_of(&e) else {
            continue;
        };
        let (mut out, mut losses) = (Out::new(), Losses::default());
        match rewriter.value(&e, &templates, to, &mut losses, &mut out) {
            Ok(()) => {}
            Err(e) => {
                assert!(said.is_err(), "{t:?} as {to:?}: {e}");
                assert_inside(&e, BASE, bytes);
                continue;
            }
        }
        let mut c = Cursor::new(out.as_bytes(), BASE);
        if let Err(e) = skip::value(&mut c, to, &templates, true, usize::MAX) {
            panic!("{t:?} as {to:?} has no end: {e}");
        }
        assert!(
            c.is_empty(),
            "{t:?} as {to:?}: {} bytes left",
            c.remaining()
        );
        let says = json(&entry(to, out.as_bytes()), &templates);
        if let Ok(said) = &said {
            let says = says.unwrap_or_else(|e| panic!("{t:?} as {to:?}: {e}"));
            let same_shape = t.has_field_expiry() == to.has_field_expiry();
            if losses.is_empty() && same_shape && t.stream_version().is_none() {
                assert!(*said == says, "{t:?} as {to:?} says something else");
            }
        }
    }
}

fn entry(value_type: ValueType, body: &[u8]) -> Entry<'_> {
    Entry {
        db: 0,
        key: RdbStr::raw(b"k", 0),
        expire_at_ms: None,
        idle_s: None,
        freq: None,
        value_type,
        metadata: &[],
        body,
        body_offset: BASE,
        offset: BASE,
    }
}

fn json(e: &Entry<'_>, templates: &Templates) -> Result<Vec<u8>> {
    let header = Header {
        dialect: Dialect::Redis,
        version: 15,
    };
    let mut out = Out::new();
    Json::new(Format::Ndjson, false, header).entry(e, templates, &mut out)?;
    Ok(out.as_bytes().to_vec())
}

/// More bytes than a batch holds, so that a value they are in is cut into parts.
const LARGE: usize = 300 << 10;

/// A value that is too large for one batch: its first unit is, and the units of the input follow. Decoded in
/// parts, it gives what it gives whole, if it is sound whole; each part by itself may not see what is wrong with it.
pub fn giant(bytes: &[u8]) {
    let Some((t, from)) = pick(&counted(), bytes) else {
        return;
    };
    let Some((unit, prefix)) = Unit::of(t) else {
        return;
    };
    let bytes = &bytes[from..];
    let mut c = Cursor::new(bytes, BASE);
    let count = c
        .take(prefix, "a prefix")
        .and_then(|_| skip::count(&mut c, 1, true, "elements"));
    let Ok(n) = count else {
        return;
    };
    let mut body = bytes[..prefix as usize].to_vec();
    length::write(n + 1, &mut body);
    body.extend_from_slice(&large_unit(t, unit));
    body.extend_from_slice(c.rest());
    let mut c = Cursor::new(&body, BASE);
    if skip::value(&mut c, t, &Templates::default(), true, usize::MAX).is_err() {
        return;
    }
    let mut dice = Dice::new(bytes);
    let before = [
        &b""[..],
        b"\xf9\x07\xf8\x09",
        b"\x00\x01a\x01b\xfd\x01\0\0\0\xfa\x01a\x01b",
        b"\xfe\x05\xfc\x01\0\0\0\0\0\0\0",
    ][dice.below(4)];
    let file = file_of(t, before, c.since(0));
    let Some(whole) = file::plainly(&file, Format::Ndjson) else {
        return;
    };
    let step = 1 << (8 + dice.below(12));
    for (threads, source) in [
        (1, Source::from_bytes("parts", &file[..])),
        (2, Source::from_bytes("parts on threads", &file[..])),
        (
            1,
            Source::from_reader("parts in pieces", std::io::Cursor::new(file.clone()))
                .in_steps(step),
        ),
    ] {
        let options = Decode {
            meta: true,
            threads,
            ignore_checksum: true,
            ..Decode::default()
        };
        let (found, json) = file::run(&options, source);
        match found {
            Ok(keys) => assert!(keys == 1 || keys == 2),
            Err(e) => panic!("sound as a whole, but: {e}"),
        }
        assert!(json == whole, "other JSON");
    }
}

/// The first unit of a giant.
fn large_unit(t: ValueType, unit: Unit) -> Vec<u8> {
    let text = |n: usize| {
        let mut s = Vec::new();
        length::write(n as u64, &mut s);
        s.resize(s.len() + n, b'x');
        s
    };
    let mut bytes = Vec::new();
    match unit {
        _ if t.stream_version().is_some() => {
            // Before any other: node 0-0, with the entry 0-1.
            let mut packed = vec![0; 4];
            packed.extend_from_slice(b"\x0a\x00\x01\x01\x00\x01\x00\x01\x00\x01");
            packed.extend_from_slice(b"\x00\x01\x00\x01\x01\x01\x01\x01\x81p\x02\xf0");
            packed.extend_from_slice(&(LARGE as u32).to_le_bytes());
            packed.resize(packed.len() + LARGE, b'x');
            let size = LARGE + 5;
            packed.push((size >> 14) as u8);
            packed.push((size >> 7) as u8 | 0x80);
            packed.push(size as u8 | 0x80);
            packed.extend_from_slice(b"\x06\x01\xff");
            let total = packed.len() as u32;
            packed[..4].copy_from_slice(&total.to_le_bytes());
            bytes.push(16);
            bytes.extend_from_slice(&[0; 16]);
            length::write(packed.len() as u64, &mut bytes);
            bytes.extend_from_slice(&packed);
        }
        Unit::Str if t == ValueType::ListQuicklist => {
            let total = (LARGE + 17) as u32;
            length::write(total.into(), &mut bytes);
            bytes.extend_from_slice(&total.to_le_bytes());
            bytes.extend_from_slice(&[10, 0, 0, 0, 1, 0, 0, 0x80]);
            bytes.extend_from_slice(&(LARGE as u32).to_be_bytes());
            bytes.resize(bytes.len() + LARGE, b'x');
            bytes.push(0xff);
        }
        Unit::Str => bytes = text(LARGE),
        Unit::Pair => bytes.extend([text(LARGE), text(1)].concat()),
        Unit::TextScore => bytes.extend([&text(LARGE)[..], b"\x011"].concat()),
        Unit::Score => bytes.extend([&text(LARGE)[..], &1f64.to_le_bytes()].concat()),
        Unit::Node => bytes.extend([&[1][..], &text(LARGE)].concat()),
        Unit::ExpiryPair => bytes.extend([&[0][..], &text(LARGE), &text(1)].concat()),
        Unit::PairExpiry => {
            bytes.extend([&text(LARGE)[..], &text(1), &(-1i64).to_le_bytes()].concat());
        }
    }
    bytes
}
