//! Streams as JSON.
//!
//! ```text
//!   {"length":n,"last_id":"1-1","first_id":"1-1","max_deleted_id":"0-0","entries_added":n,      head
//!    "entries":[{"id":"1-1","fields":[[S,S],...]},...                                           nodes
//!    ],"groups":[{"name":S,"last_id":"1-1","entries_read":n,                                    tail
//!      "pending":[{"id":"1-1","consumer":S,"delivered_at_ms":n,"deliveries":n},...],
//!      "consumers":[{"name":S,"seen_at_ms":n,"active_at_ms":n,"pending":["1-1",...]},...],
//!      "nacked":["1-1",...]},...],
//!    "idmp":{"duration_s":n,"max_entries":n,"producers":[{"id":S,"iids":[{"iid":S,"entry_id":"1-1"},...]},...],
//!      "iids_added":n,"iids_duplicates":n}}
//! ```
//!
//! What the layout version of the value does not have is left out: 1 has no first_id, max_deleted_id, entries_added and
//! entries_read, 1 and 2 no active_at_ms, 1 to 3 no idmp, 1 to 4 no nacked. `entries_read` is null when the server did not
//! know it, `active_at_ms` -1 when a consumer never got anything. A pending entry that nobody has is without `consumer`.
//!
//! A stream may be larger than memory, so it is written in parts: [`head`], which needs what stands after the nodes; [`nodes`]
//! for any run of them; and [`TailWriter`], piece by piece.

use crate::cursor::Cursor;
use crate::encode::Part;
use crate::error::{RdbError, Result};
use crate::ndjson::escape;
use crate::out::Out;
use crate::rdb::packed::Blob;
use crate::rdb::skip::{Unit, Units};
use crate::rdb::string::{RdbStr, Scratch};
use crate::rdb::value::stream::{
    Consumers, Group, Groups, Idmp, Ids, Iids, Nodes, Pending, Producers, Records, StreamId, Tail,
};

/// Bytes after which [`TailWriter::step`] has done its piece.
const PIECE: usize = 64 << 10;

/// Appends a string as S.
#[inline]
pub(super) fn string(s: RdbStr<'_>, scratch: &mut Scratch, out: &mut Out) -> Result<()> {
    escape::element(s.as_element(scratch)?, out)
}

/// Appends an id: `"1-1"`.
#[inline]
fn id(id: StreamId, out: &mut Out) {
    out.byte(b'"');
    out.u64(id.ms);
    out.byte(b'-');
    out.u64(id.seq);
    out.byte(b'"');
}

/// Appends a comma, but for the first time.
#[inline]
fn comma(first: &mut bool, out: &mut Out) {
    if !std::mem::take(first) {
        out.byte(b',');
    }
}

/// Appends what stands before the entries.
pub(super) fn head(tail: &Tail<'_>, out: &mut Out) {
    out.lit(b"{\"length\":");
    out.u64(tail.length);
    out.lit(b",\"last_id\":");
    id(tail.last_id, out);
    if let Some(first) = tail.first_id {
        out.lit(b",\"first_id\":");
        id(first, out);
    }
    if let Some(deleted) = tail.max_deleted_id {
        out.lit(b",\"max_deleted_id\":");
        id(deleted, out);
    }
    if let Some(added) = tail.entries_added {
        out.lit(b",\"entries_added\":");
        out.u64(added);
    }
    out.lit(b",\"entries\":[");
}

/// Appends the entries of the nodes in `bytes` (whole ones, at `offset` in the file), a comma before each but the very
/// first of the stream; gives the number of them.
pub(super) fn nodes(
    bytes: &[u8],
    offset: u64,
    first: &mut bool,
    scratch: &mut Scratch,
    out: &mut Out,
) -> Result<u64> {
    let mut all = Nodes::new(bytes, offset);
    let mut n = 0;
    while let Some((key, blob)) = all.next_node(scratch)? {
        n += node(key, blob, first, out)?;
        out.checkpoint()?;
    }
    Ok(n)
}

/// Appends the entries of one node, as [`nodes`] does.
fn node(key: StreamId, blob: Blob<'_>, first: &mut bool, out: &mut Out) -> Result<u64> {
    let mut records = Records::new(key, blob)?;
    let mut n = 0;
    while let Some(mut record) = records.next_record()? {
        comma(first, out);
        out.lit(b"{\"id\":");
        id(record.id, out);
        out.lit(b",\"fields\":[");
        let mut first = true;
        while let Some((field, value)) = record.next_pair()? {
            comma(&mut first, out);
            out.byte(b'[');
            escape::element(field, out)?;
            out.byte(b',');
            escape::element(value, out)?;
            out.byte(b']');
        }
        out.lit(b"]}");
        n += 1;
    }
    Ok(n)
}

/// Appends what stands after the entries, in pieces of bounded size however many entries are pending.
#[derive(Debug)]
struct TailWriter<'a> {
    groups: Groups<'a>,
    version: u8,
    idmp: Option<Idmp<'a>>,
    at: At<'a>,
    /// Whether nothing stands yet in the innermost list.
    first: bool,
}

/// The innermost list that is open.
#[derive(Debug)]
enum At<'a> {
    Start,
    Groups,
    Pending(Pending<'a>, Box<Group<'a>>),
    Consumers(Consumers<'a>, Option<Ids<'a>>),
    ConsumerPending(Ids<'a>, Consumers<'a>, Option<Ids<'a>>),
    Nacked(Ids<'a>),
    Producers(Producers<'a>),
    Iids(Iids<'a>, Producers<'a>),
    Done,
}

impl<'a> TailWriter<'a> {
    /// A writer of this tail.
    fn new(tail: &Tail<'a>) -> Self {
        TailWriter {
            groups: tail.groups(),
            version: tail.version,
            idmp: tail.idmp.clone(),
            at: At::Start,
            first: true,
        }
    }

    /// Appends the next piece; gives whether there are more.
    fn step(&mut self, scratch: &mut Scratch, out: &mut Out) -> Result<bool> {
        let from = out.len();
        while !matches!(self.at, At::Done) {
            if out.len() - from >= PIECE {
                return Ok(true);
            }
            self.item(scratch, out)?;
        }
        Ok(false)
    }

    /// Appends one item of the innermost list, or its end.
    fn item(&mut self, scratch: &mut Scratch, out: &mut Out) -> Result<()> {
        let first = &mut self.first;
        let next = match &mut self.at {
            At::Start => {
                out.lit(b"],\"groups\":[");
                At::Groups
            }
            At::Groups => match self.groups.next_group()? {
                Some(group) => {
                    comma(first, out);
                    group_head(&group, self.version, scratch, out)?;
                    *first = true;
                    At::Pending(group.pending()?, Box::new(group))
                }
                None => {
                    out.byte(b']');
                    match &self.idmp {
                        Some(idmp) => {
                            out.lit(b",\"idmp\":{\"duration_s\":");
                            out.u64(idmp.duration_s);
                            out.lit(b",\"max_entries\":");
                            out.u64(idmp.max_entries);
                            out.lit(b",\"producers\":[");
                            *first = true;
                            At::Producers(idmp.producers())
                        }
                        None => {
                            out.byte(b'}');
                            At::Done
                        }
                    }
                }
            },
            At::Pending(pending, group) => match pending.next_entry()? {
                Some(e) => {
                    comma(first, out);
                    out.lit(b"{\"id\":");
                    id(e.entry.id, out);
                    if let Some(name) = e.consumer {
                        out.lit(b",\"consumer\":");
                        string(name, scratch, out)?;
                    }
                    out.lit(b",\"delivered_at_ms\":");
                    out.i64(e.entry.delivered_at_ms);
                    out.lit(b",\"deliveries\":");
                    out.u64(e.entry.deliveries);
                    out.byte(b'}');
                    return Ok(());
                }
                None => {
                    out.lit(b"],\"consumers\":[");
                    *first = true;
                    At::Consumers(group.consumers.clone(), group.nacked)
                }
            },
            At::Consumers(consumers, nacked) => match consumers.next_consumer()? {
                Some(c) => {
                    comma(first, out);
                    out.lit(b"{\"name\":");
                    string(c.name, scratch, out)?;
                    out.lit(b",\"seen_at_ms\":");
                    out.i64(c.seen_at_ms);
                    if let Some(active) = c.active_at_ms {
                        out.lit(b",\"active_at_ms\":");
                        out.i64(active);
                    }
                    out.lit(b",\"pending\":[");
                    *first = true;
                    At::ConsumerPending(c.pending, consumers.clone(), *nacked)
                }
                None => {
                    out.byte(b']');
                    match *nacked {
                        Some(ids) => {
                            out.lit(b",\"nacked\":[");
                            *first = true;
                            At::Nacked(ids)
                        }
                        None => {
                            out.byte(b'}');
                            *first = false;
                            At::Groups
                        }
                    }
                }
            },
            At::ConsumerPending(ids, consumers, nacked) => match ids.next() {
                Some(pending) => {
                    comma(first, out);
                    id(pending, out);
                    return Ok(());
                }
                None => {
                    out.lit(b"]}");
                    *first = false;
                    At::Consumers(consumers.clone(), *nacked)
                }
            },
            At::Nacked(ids) => match ids.next() {
                Some(nacked) => {
                    comma(first, out);
                    id(nacked, out);
                    return Ok(());
                }
                None => {
                    out.lit(b"]}");
                    *first = false;
                    At::Groups
                }
            },
            At::Producers(producers) => match (producers.next_producer()?, &self.idmp) {
                (Some(p), _) => {
                    comma(first, out);
                    out.lit(b"{\"id\":");
                    string(p.id, scratch, out)?;
                    out.lit(b",\"iids\":[");
                    *first = true;
                    At::Iids(p.iids, producers.clone())
                }
                (None, idmp) => {
                    if let Some(idmp) = idmp {
                        out.lit(b"],\"iids_added\":");
                        out.u64(idmp.iids_added);
                        out.lit(b",\"iids_duplicates\":");
                        out.u64(idmp.iids_duplicates);
                    }
                    out.lit(b"}}");
                    At::Done
                }
            },
            At::Iids(iids, producers) => match iids.next_iid()? {
                Some((iid, entry)) => {
                    comma(first, out);
                    out.lit(b"{\"iid\":");
                    string(iid, scratch, out)?;
                    out.lit(b",\"entry_id\":");
                    id(entry, out);
                    out.byte(b'}');
                    return Ok(());
                }
                None => {
                    out.lit(b"]}");
                    *first = false;
                    At::Producers(producers.clone())
                }
            },
            At::Done => return Ok(()),
        };
        self.at = next;
        Ok(())
    }
}

fn group_head(group: &Group<'_>, version: u8, scratch: &mut Scratch, out: &mut Out) -> Result<()> {
    out.lit(b"{\"name\":");
    string(group.name, scratch, out)?;
    out.lit(b",\"last_id\":");
    id(group.last_delivered_id, out);
    match group.entries_read {
        Some(n) => {
            out.lit(b",\"entries_read\":");
            out.u64(n);
        }
        None if version >= 2 => out.lit(b",\"entries_read\":null"),
        None => {}
    }
    out.lit(b",\"pending\":[");
    Ok(())
}

/// Appends what stands after the entries, all of it.
pub(super) fn tail(tail: &Tail<'_>, scratch: &mut Scratch, out: &mut Out) -> Result<()> {
    let mut writer = TailWriter::new(tail);
    while writer.step(scratch, out)? {
        out.checkpoint()?;
    }
    Ok(())
}

/// Appends a whole stream of layout `version`: `body` is the value as serialized, at `offset` in the file. Gives the number
/// of entries.
pub(super) fn value(
    body: &[u8],
    offset: u64,
    version: u8,
    scratch: &mut Scratch,
    out: &mut Out,
) -> Result<u64> {
    let mut c = Cursor::new(body, offset);
    let mut units = Units::read(&mut c, Unit::Pair, 0, true)?;
    let (from, at) = (c.position(), c.offset());
    units.skip(&mut c, usize::MAX)?;
    let packed = c.since(from);
    let end = Tail::read(&mut c, version)?;
    if !c.is_empty() {
        return Err(RdbError::corrupt(
            c.offset(),
            format!("{} bytes after the end of a stream", c.remaining()),
        ));
    }
    head(&end, out);
    let n = nodes(packed, at, &mut true, scratch, out)?;
    tail(&end, scratch, out)?;
    Ok(n)
}

/// Appends part of a stream: some of its nodes, and what stands before or after them.
pub(super) fn part(
    part: &Part<'_>,
    version: u8,
    elements: &mut u64,
    scratch: &mut Scratch,
    out: &mut Out,
) -> Result<()> {
    let (bytes, at) = part.tail.unwrap_or_default();
    let end = Tail::read(&mut Cursor::new(bytes, at), version)?;
    let mut first = part.first;
    if first {
        head(&end, out);
    }
    *elements += nodes(part.units, part.offset, &mut first, scratch, out)?;
    if part.last.is_some() {
        tail(&end, scratch, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
