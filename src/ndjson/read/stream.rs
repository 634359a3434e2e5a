//! Streams.
//!
//! ```text
//!   {"length":n,"last_id":"1-1", ...      the tail
//!    "entries":[...],                     nodes of up to a hundred entries, as a server packs them
//!    "groups":[...],"idmp":{...}}         the tail
//! ```
//!
//! Which of the five layouts it is follows from the fields that are there; it must be one that has all of them and no other. An
//! entry is held in memory, a node of them at the most; groups and consumers are gathered.

use super::bytes::{bytes, string};
use super::gather::{Gather, Sink};
use super::lexer::Lexer;
use super::value::canonical_int;
use super::{Written, twice, unknown};
use crate::error::{ErrorKind, RdbError, Result};
use crate::rdb::length;
use crate::rdb::packed::Element;
use crate::rdb::packed::listpack::Builder;
use crate::rdb::value::stream::{FLAG_SAMEFIELDS, StreamId};
use crate::rdb::value_type::ValueType;
use std::hash::{BuildHasher, RandomState};

/// A node is closed when it has so many bytes or entries: the defaults of servers.
const NODE_BYTES: usize = 4096;
const NODE_ENTRIES: u64 = 100;
/// An entry must fit in a listpack, which servers keep below this.
const MAX_ENTRY: usize = 1 << 30;

/// What streams are put together from.
#[derive(Debug)]
pub(super) struct Parts {
    node: Node,
    entry: Entry,
    groups: Gather,
    pending: Gather,
    consumers: Gather,
    ids: Gather,
    nacked: Gather,
    name: Gather,
    inner: Gather,
    iids: Gather,
    idmp: Gather,
    hasher: RandomState,
}

impl Parts {
    pub(super) fn new(limit: usize) -> Self {
        let new = || Gather::new(limit);
        Parts {
            node: Node::new(),
            entry: Entry::default(),
            groups: new(),
            pending: new(),
            consumers: new(),
            ids: new(),
            nacked: new(),
            name: new(),
            inner: new(),
            iids: new(),
            idmp: new(),
            hasher: RandomState::new(),
        }
    }
}

/// Which fields that only some layouts have are there: they must be there in all groups, or in none.
#[derive(Debug, Default)]
struct Layout {
    entries_read: Option<bool>,
    active: Option<bool>,
    nacked: Option<bool>,
}

fn agree(lex: &Lexer<'_>, at: u64, has: bool, so_far: &mut Option<bool>, name: &str) -> Result<()> {
    match so_far.replace(has) {
        Some(other) if other != has => {
            let what = format!("\"{name}\" is there in some groups and not in others");
            Err(lex.corrupt(at, what))
        }
        _ => Ok(()),
    }
}

/// A stream.
pub(super) fn stream(lex: &mut Lexer<'_>, w: &mut Written, p: &mut Parts) -> Result<ValueType> {
    lex.punctuation(b'{', "an object {\"length\":n,\"last_id\":...}")?;
    let start = lex.offset();
    let mut layout = Layout::default();
    let (mut len, mut last, mut first_id, mut deleted, mut added) = (None, None, None, None, None);
    let (mut nodes, mut groups, mut idmp, mut first) = (None, None, false, true);
    p.groups.clear();
    p.idmp.clear();
    while lex.more(b'}', &mut first)? {
        let at = lex.offset();
        match lex.name()? {
            b"length" if len.is_none() => len = Some(lex.u64("a length")?),
            b"last_id" if last.is_none() => last = Some(id(lex)?),
            b"first_id" if first_id.is_none() => first_id = Some(id(lex)?),
            b"max_deleted_id" if deleted.is_none() => deleted = Some(id(lex)?),
            b"entries_added" if added.is_none() => added = Some(lex.u64("a count of entries")?),
            b"entries" if nodes.is_none() => nodes = Some(entries(lex, w, p)?),
            b"groups" if groups.is_none() => {
                lex.punctuation(b'[', "an array of groups")?;
                let (mut n, mut first) = (0, true);
                while lex.more(b']', &mut first)? {
                    group(lex, w, p, &mut layout)?;
                    n += 1;
                }
                groups = Some(n);
            }
            b"idmp" if !idmp => {
                producers(lex, w, p)?;
                idmp = true;
            }
            b"length" | b"last_id" | b"first_id" | b"max_deleted_id" | b"entries_added"
            | b"entries" | b"groups" | b"idmp" => return Err(twice(lex, at)),
            _ => return Err(unknown(lex, at, "a stream")),
        }
    }
    let (Some(len), Some(last), Some(nodes), Some(groups)) = (len, last, nodes, groups) else {
        let what = "expected all of \"length\", \"last_id\", \"entries\" and \"groups\"";
        return Err(lex.corrupt(start, what));
    };
    let counters = match (first_id, deleted, added) {
        (Some(first), Some(deleted), Some(added)) => Some((first, deleted, added)),
        (None, None, None) => None,
        _ => {
            let what =
                "expected all or none of \"first_id\", \"max_deleted_id\" and \"entries_added\"";
            return Err(lex.corrupt(start, what));
        }
    };
    let version = match () {
        () if layout.nacked == Some(true) => 5,
        () if idmp => 4,
        () if layout.active == Some(true) => 3,
        () if counters.is_some() || layout.entries_read == Some(true) => 2,
        () => 1,
    };
    let missing = [
        (2, counters.is_some(), "first_id"),
        (2, layout.entries_read != Some(false), "entries_read"),
        (3, layout.active != Some(false), "active_at_ms"),
        (4, idmp, "idmp"),
    ];
    if let Some((_, _, name)) = missing
        .iter()
        .find(|(since, is, _)| version >= *since && !is)
    {
        let what =
            format!("\"{name}\" is missing, which the other fields of this stream come with");
        return Err(lex.corrupt(start, what));
    }
    length::write(nodes, &mut w.head);
    let tail = &mut w.tail;
    tail.length(len);
    put_id(last, tail);
    if let Some((first, deleted, added)) = counters {
        put_id(first, tail);
        put_id(deleted, tail);
        tail.length(added);
    }
    tail.length(groups);
    tail.all_of(&mut p.groups)?;
    tail.all_of(&mut p.idmp)?;
    Ok(match version {
        1 => ValueType::StreamListpacks,
        2 => ValueType::StreamListpacks2,
        3 => ValueType::StreamListpacks3,
        4 => ValueType::StreamListpacks4,
        _ => ValueType::StreamListpacks5,
    })
}

/// An id, `"1-1"`.
fn id(lex: &mut Lexer<'_>) -> Result<StreamId> {
    const EXPECTED: &str = "an id, \"MILLISECONDS-SEQUENCE\"";
    if lex.peek()? != Some(b'"') {
        return Err(lex.expected(EXPECTED));
    }
    let at = lex.offset();
    let half = |text: &[u8]| match text.iter().all(u8::is_ascii_digit) {
        true => std::str::from_utf8(text).ok()?.parse().ok(),
        false => None,
    };
    let text = lex.short()?;
    let dash = text.iter().position(|&b| b == b'-');
    let id = dash.and_then(|dash| {
        Some(StreamId {
            ms: half(text.get(..dash)?)?,
            seq: half(text.get(dash + 1..)?)?,
        })
    });
    id.ok_or_else(|| lex.corrupt(at, format!("{}: expected {EXPECTED}", lex.last())))
}

/// An id as two lengths.
fn put_id(id: StreamId, to: &mut Gather) {
    to.length(id.ms);
    to.length(id.seq);
}

/// An id in 16 bytes.
fn id16(id: StreamId) -> [u8; 16] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

/// Names and values of an entry, one after the other.
#[derive(Debug, Default)]
struct Entry {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Sink for Entry {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.bytes.len() + bytes.len() > MAX_ENTRY {
            let what = "a stream entry of more than 1 GiB";
            return Err(RdbError::other(ErrorKind::Limit, what));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Entry {
    /// Names and values.
    fn all(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |&end| {
            self.bytes
                .get(std::mem::replace(&mut from, end)..end)
                .unwrap_or(b"")
        })
    }

    fn pairs(&self) -> u64 {
        self.ends.len() as u64 / 2
    }
}

/// The node that is being filled.
#[derive(Debug)]
struct Node {
    key: StreamId,
    entries: u64,
    /// The field names of its first entry.
    names: Vec<Vec<u8>>,
    records: Builder,
    whole: Builder,
}

impl Node {
    fn new() -> Self {
        Node {
            key: StreamId::default(),
            entries: 0,
            names: Vec::new(),
            records: Builder::new(),
            whole: Builder::new(),
        }
    }

    fn add(&mut self, id: StreamId, entry: &Entry) {
        if self.entries == 0 {
            self.key = id;
            self.names.clear();
            self.names
                .extend(entry.all().step_by(2).map(<[u8]>::to_vec));
        }
        self.entries += 1;
        let same = entry.all().step_by(2).eq(self.names.iter().map(|n| &n[..]));
        let n = entry.pairs() as i64;
        let records = &mut self.records;
        records.push(Element::Int(if same { FLAG_SAMEFIELDS } else { 0 }));
        records.push(Element::Int(id.ms.wrapping_sub(self.key.ms) as i64));
        records.push(Element::Int(id.seq.wrapping_sub(self.key.seq) as i64));
        if same {
            for value in entry.all().skip(1).step_by(2) {
                records.push(element(value));
            }
            records.push(Element::Int(n + 3));
        } else {
            records.push(Element::Int(n));
            for text in entry.all() {
                records.push(element(text));
            }
            records.push(Element::Int(2 * n + 4));
        }
    }

    /// Writes the node, if it has entries, and empties it; gives how many nodes that are.
    fn write(&mut self, to: &mut Gather) -> Result<u64> {
        if self.entries == 0 {
            return Ok(0);
        }
        let whole = &mut self.whole;
        whole.clear();
        whole.push(Element::Int(self.entries as i64));
        whole.push(Element::Int(0));
        whole.push(Element::Int(self.names.len() as i64));
        for name in &self.names {
            whole.push(element(name));
        }
        whole.push(Element::Int(0));
        whole.extend(&self.records);
        to.string(&id16(self.key))?;
        to.string(whole.finish())?;
        self.records.clear();
        self.entries = 0;
        Ok(1)
    }
}

/// An element as servers pack it: what is the text of an integer as one.
fn element(text: &[u8]) -> Element<'_> {
    match canonical_int(text) {
        Some(n) => Element::Int(n),
        None => Element::Bytes(text),
    }
}

/// The entries; gives the number of nodes they were packed into.
fn entries(lex: &mut Lexer<'_>, w: &mut Written, p: &mut Parts) -> Result<u64> {
    lex.punctuation(b'[', "an array of entries")?;
    p.node.entries = 0;
    p.node.records.clear();
    let (mut nodes, mut last, mut first) = (0, None, true);
    while lex.more(b']', &mut first)? {
        lex.punctuation(b'{', "an object {\"id\":\"1-1\",\"fields\":[[S,S],...]}")?;
        let start = lex.offset();
        p.entry.bytes.clear();
        p.entry.ends.clear();
        let (mut found, mut fields, mut first) = (None, false, true);
        while lex.more(b'}', &mut first)? {
            let at = lex.offset();
            match lex.name()? {
                b"id" if found.is_none() => found = Some(id(lex)?),
                b"fields" if !fields => {
                    pairs(lex, &mut p.entry)?;
                    fields = true;
                }
                b"id" | b"fields" => return Err(twice(lex, at)),
                _ => return Err(unknown(lex, at, "a stream entry")),
            }
        }
        let Some(id) = found.filter(|_| fields) else {
            return Err(lex.corrupt(start, "expected both \"id\" and \"fields\""));
        };
        if let Some(last) = last.filter(|last| id <= *last) {
            let what = format!("entry {id} after {last}: expected ascending ids");
            return Err(lex.corrupt(start, what));
        }
        last = Some(id);
        let full = p.node.entries >= NODE_ENTRIES
            || p.node.records.len() + p.entry.bytes.len() >= NODE_BYTES;
        if full {
            nodes += p.node.write(&mut w.body)?;
        }
        p.node.add(id, &p.entry);
    }
    nodes += p.node.write(&mut w.body)?;
    Ok(nodes)
}

fn pairs(lex: &mut Lexer<'_>, entry: &mut Entry) -> Result<()> {
    const EXPECTED: &str = "an array of a name and a value";
    lex.punctuation(b'[', "an array of fields")?;
    let mut first = true;
    while lex.more(b']', &mut first)? {
        lex.punctuation(b'[', EXPECTED)?;
        let mut first = true;
        for _ in 0..2 {
            if !lex.more(b']', &mut first)? {
                return Err(lex.corrupt(lex.offset(), format!("expected {EXPECTED}")));
            }
            bytes(lex, entry)?;
            entry.ends.push(entry.bytes.len());
        }
        if lex.more(b']', &mut first)? {
            return Err(lex.expected("] after a name and a value"));
        }
    }
    Ok(())
}

/// A consumer group.
fn group(lex: &mut Lexer<'_>, w: &mut Written, p: &mut Parts, layout: &mut Layout) -> Result<()> {
    lex.punctuation(b'{', "an object {\"name\":S,\"last_id\":...}")?;
    let start = lex.offset();
    let (mut name, mut last, mut read, mut first) = (false, None, None, true);
    let (mut pending, mut consumers, mut nacked) = (None, None, None);
    // Of each pending entry the product of a hash of its id and one of its consumer's name: both tellings must come to the same sum.
    let (mut owned, mut held) = (0u64, 0u64);
    p.name.clear();
    while lex.more(b'}', &mut first)? {
        let at = lex.offset();
        match lex.name()? {
            b"name" if !name => {
                bytes(lex, &mut p.name)?;
                name = true;
            }
            b"last_id" if last.is_none() => last = Some(id(lex)?),
            b"entries_read" if read.is_none() => {
                read = Some(match lex.peek()? {
                    Some(b'n') => {
                        lex.word(b"null")?;
                        u64::MAX
                    }
                    _ => lex.u64("a count of entries")?,
                });
            }
            b"pending" if pending.is_none() => {
                pending = Some(pending_entries(lex, w, p, &mut owned)?)
            }
            b"consumers" if consumers.is_none() => {
                p.consumers.clear();
                lex.punctuation(b'[', "an array of consumers")?;
                let (mut n, mut first) = (0u64, true);
                while lex.more(b']', &mut first)? {
                    let (at, active, sum) = consumer(lex, w, p)?;
                    agree(lex, at, active, &mut layout.active, "active_at_ms")?;
                    held = held.wrapping_add(sum);
                    n += 1;
                }
                consumers = Some(n);
            }
            b"nacked" if nacked.is_none() => {
                let (n, sum) = ids(lex, &mut p.nacked, &p.hasher)?;
                held = held.wrapping_add(sum.wrapping_mul(nobody(p)));
                nacked = Some(n);
            }
            b"name" | b"last_id" | b"entries_read" | b"pending" | b"consumers" | b"nacked" => {
                return Err(twice(lex, at));
            }
            _ => return Err(unknown(lex, at, "a consumer group")),
        }
    }
    let (Some(last), Some(pending), Some(consumers), true) = (last, pending, consumers, name)
    else {
        let what = "expected all of \"name\", \"last_id\", \"pending\" and \"consumers\"";
        return Err(lex.corrupt(start, what));
    };
    if owned != held {
        let what = "the pending entries of the group and those of its consumers (and \"nacked\") are not the same";
        return Err(lex.corrupt(start, what));
    }
    agree(
        lex,
        start,
        read.is_some(),
        &mut layout.entries_read,
        "entries_read",
    )?;
    agree(lex, start, nacked.is_some(), &mut layout.nacked, "nacked")?;
    let to = &mut p.groups;
    to.string_of(&mut p.name)?;
    put_id(last, to);
    if let Some(read) = read {
        to.length(read);
    }
    to.length(pending);
    to.all_of(&mut p.pending)?;
    to.length(consumers);
    to.all_of(&mut p.consumers)?;
    if let Some(n) = nacked {
        to.length(n);
        to.all_of(&mut p.nacked)?;
    }
    Ok(())
}

/// A hash of a consumer's name, never 0.
fn owner(p: &Parts, name: &Gather) -> u64 {
    p.hasher.hash_one(name.in_memory()) | 1
}

/// The same of what no consumer has.
fn nobody(p: &Parts) -> u64 {
    p.hasher.hash_one(()) | 1
}

/// The pending entries of a group; gives how many, and adds them up.
fn pending_entries(
    lex: &mut Lexer<'_>,
    w: &mut Written,
    p: &mut Parts,
    owned: &mut u64,
) -> Result<u64> {
    lex.punctuation(b'[', "an array of pending entries")?;
    p.pending.clear();
    let (mut n, mut first) = (0, true);
    while lex.more(b']', &mut first)? {
        lex.punctuation(b'{', "an object {\"id\":\"1-1\",\"consumer\":S,...}")?;
        let start = lex.offset();
        let (mut entry, mut consumer, mut time, mut count, mut first) =
            (None, false, None, None, true);
        while lex.more(b'}', &mut first)? {
            let at = lex.offset();
            match lex.name()? {
                b"id" if entry.is_none() => entry = Some(id(lex)?),
                b"consumer" if !consumer => {
                    w.first.clear();
                    bytes(lex, &mut w.first)?;
                    consumer = true;
                }
                b"delivered_at_ms" if time.is_none() => time = Some(lex.i64("a time")?),
                b"deliveries" if count.is_none() => count = Some(lex.u64("a count")?),
                b"id" | b"consumer" | b"delivered_at_ms" | b"deliveries" => {
                    return Err(twice(lex, at));
                }
                _ => return Err(unknown(lex, at, "a pending entry")),
            }
        }
        let (Some(entry), Some(time), Some(count)) = (entry, time, count) else {
            let what = "expected all of \"id\", \"delivered_at_ms\" and \"deliveries\"";
            return Err(lex.corrupt(start, what));
        };
        let by = match consumer {
            true => owner(p, &w.first),
            false => nobody(p),
        };
        *owned = owned.wrapping_add(p.hasher.hash_one(entry).wrapping_mul(by));
        p.pending.put(&id16(entry))?;
        p.pending.put(&time.to_le_bytes())?;
        p.pending.length(count);
        n += 1;
    }
    Ok(n)
}

/// Ids in an array; gives how many, and the sum of their hashes.
fn ids(lex: &mut Lexer<'_>, to: &mut Gather, hasher: &RandomState) -> Result<(u64, u64)> {
    lex.punctuation(b'[', "an array of ids")?;
    to.clear();
    let (mut n, mut sum, mut first) = (0, 0u64, true);
    while lex.more(b']', &mut first)? {
        let id = id(lex)?;
        sum = sum.wrapping_add(hasher.hash_one(id));
        to.put(&id16(id))?;
        n += 1;
    }
    Ok((n, sum))
}

/// A consumer; gives where it stands, whether it says when it was active, and its pending entries added up.
fn consumer(lex: &mut Lexer<'_>, w: &mut Written, p: &mut Parts) -> Result<(u64, bool, u64)> {
    lex.punctuation(b'{', "an object {\"name\":S,\"seen_at_ms\":n,...}")?;
    let start = lex.offset();
    let (mut name, mut seen, mut active, mut pending, mut first) = (false, None, None, None, true);
    w.first.clear();
    while lex.more(b'}', &mut first)? {
        let at = lex.offset();
        match lex.name()? {
            b"name" if !name => {
                bytes(lex, &mut w.first)?;
                name = true;
            }
            b"seen_at_ms" if seen.is_none() => seen = Some(lex.i64("a time")?),
            b"active_at_ms" if active.is_none() => active = Some(lex.i64("a time")?),
            b"pending" if pending.is_none() => pending = Some(ids(lex, &mut p.ids, &p.hasher)?),
            b"name" | b"seen_at_ms" | b"active_at_ms" | b"pending" => return Err(twice(lex, at)),
            _ => return Err(unknown(lex, at, "a consumer")),
        }
    }
    let (Some(seen), Some((n, sum)), true) = (seen, pending, name) else {
        let what = "expected all of \"name\", \"seen_at_ms\" and \"pending\"";
        return Err(lex.corrupt(start, what));
    };
    let sum = sum.wrapping_mul(owner(p, &w.first));
    let to = &mut p.consumers;
    to.string_of(&mut w.first)?;
    to.put(&seen.to_le_bytes())?;
    if let Some(active) = active {
        to.put(&active.to_le_bytes())?;
    }
    to.length(n);
    to.all_of(&mut p.ids)?;
    Ok((start, active.is_some(), sum))
}

/// What a stream remembers of its producers.
fn producers(lex: &mut Lexer<'_>, w: &mut Written, p: &mut Parts) -> Result<()> {
    lex.punctuation(b'{', "an object {\"duration_s\":n,...}")?;
    let start = lex.offset();
    let (mut duration, mut most, mut n, mut first) = (None, None, None, true);
    let (mut added, mut duplicates) = (None, None);
    p.inner.clear();
    while lex.more(b'}', &mut first)? {
        let at = lex.offset();
        match lex.name()? {
            b"duration_s" if duration.is_none() => duration = Some(lex.u64("seconds")?),
            b"max_entries" if most.is_none() => most = Some(lex.u64("a count")?),
            b"iids_added" if added.is_none() => added = Some(lex.u64("a count")?),
            b"iids_duplicates" if duplicates.is_none() => duplicates = Some(lex.u64("a count")?),
            b"producers" if n.is_none() => {
                lex.punctuation(b'[', "an array of producers")?;
                let (mut count, mut first) = (0u64, true);
                while lex.more(b']', &mut first)? {
                    producer(lex, w, p)?;
                    count += 1;
                }
                n = Some(count);
            }
            b"duration_s" | b"max_entries" | b"iids_added" | b"iids_duplicates" | b"producers" => {
                return Err(twice(lex, at));
            }
            _ => return Err(unknown(lex, at, "what a stream knows of producers")),
        }
    }
    let (Some(duration), Some(most), Some(n), Some(added), Some(duplicates)) =
        (duration, most, n, added, duplicates)
    else {
        let what = "expected all of \"duration_s\", \"max_entries\", \"producers\", \"iids_added\" and \"iids_duplicates\"";
        return Err(lex.corrupt(start, what));
    };
    let to = &mut p.idmp;
    to.length(duration);
    to.length(most);
    to.length(n);
    to.all_of(&mut p.inner)?;
    to.length(added);
    to.length(duplicates);
    Ok(())
}

fn producer(lex: &mut Lexer<'_>, w: &mut Written, p: &mut Parts) -> Result<()> {
    lex.punctuation(b'{', "an object {\"id\":S,\"iids\":[...]}")?;
    let start = lex.offset();
    let (mut name, mut n, mut first) = (false, None, true);
    p.name.clear();
    while lex.more(b'}', &mut first)? {
        let at = lex.offset();
        match lex.name()? {
            b"id" if !name => {
                bytes(lex, &mut p.name)?;
                name = true;
            }
            b"iids" if n.is_none() => n = Some(iids(lex, w, p)?),
            b"id" | b"iids" => return Err(twice(lex, at)),
            _ => return Err(unknown(lex, at, "a producer")),
        }
    }
    let Some(n) = n.filter(|_| name) else {
        return Err(lex.corrupt(start, "expected both \"id\" and \"iids\""));
    };
    p.inner.string_of(&mut p.name)?;
    p.inner.length(n);
    p.inner.all_of(&mut p.iids)
}

fn iids(lex: &mut Lexer<'_>, w: &mut Written, p: &mut Parts) -> Result<u64> {
    lex.punctuation(b'[', "an array of a producer's ids")?;
    p.iids.clear();
    let (mut n, mut first) = (0, true);
    while lex.more(b']', &mut first)? {
        lex.punctuation(b'{', "an object {\"iid\":S,\"entry_id\":\"1-1\"}")?;
        let start = lex.offset();
        let (mut iid, mut entry, mut first) = (false, None, true);
        while lex.more(b'}', &mut first)? {
            let at = lex.offset();
            match lex.name()? {
                b"iid" if !iid => {
                    string(lex, &mut w.first, &mut p.iids)?;
                    iid = true;
                }
                b"entry_id" if entry.is_none() => entry = Some(id(lex)?),
                b"iid" | b"entry_id" => return Err(twice(lex, at)),
                _ => return Err(unknown(lex, at, "an id of a producer")),
            }
        }
        let Some(entry) = entry.filter(|_| iid) else {
            return Err(lex.corrupt(start, "expected both \"iid\" and \"entry_id\""));
        };
        put_id(entry, &mut p.iids);
        n += 1;
    }
    Ok(n)
}
