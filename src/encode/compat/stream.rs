//! Streams: the nodes are the same in all layouts (but for entries of [some sizes](super::backlen)), what follows them has grown.
//!
//! ```text
//!   nodes | tail of 5  ──►  of 4  ──►  of 3  ──►  of 2  ──►  of 1
//!           27              26         21         19         15
//!           no owner        idmp       active     ids, counters
//! ```
//!
//! What a layout does not have is left out, and noted where a server that loads the value would not come to the same by itself. Pending entries
//! that nobody owns (5) are not pending any more: every other layout wants a consumer for each.

use super::{backlen, count_of};
use crate::cursor::Cursor;
use crate::encode::Part;
use crate::encode::loss::Reason;
use crate::error::Result;
use crate::out::Out;
use crate::rdb::entry::Entry;
use crate::rdb::skip::{Unit, Units};
use crate::rdb::string::Scratch;
use crate::rdb::value::stream::{Group, Idmp, PelEntry, StreamId, Tail};
use crate::rdb::write;

/// Limits of idempotent production that a server has unless it is told otherwise.
const IDMP_DEFAULT: u64 = 100;

/// From which layout to which, and the form that some entries of the nodes are to have.
type How = (u8, u8, Option<backlen::Form>);

/// Appends a stream in another layout; adds what was lost to `lost`.
pub(super) fn value(
    entry: &Entry<'_>,
    (from, to, form): How,
    scratch: &mut Scratch,
    lost: &mut Vec<Reason>,
    out: &mut Out<'_>,
) -> Result<()> {
    let mut c = Cursor::new(entry.body, entry.body_offset);
    let nodes = Units::read(&mut c, Unit::Pair, 0, true)?.left;
    write::len(nodes, out);
    backlen::stream(&mut c, nodes, form, scratch, out)?;
    tail(&Tail::read(&mut c, from)?, to, lost, out)
}

/// Appends part of one: nodes as they are, and behind the last of them the tail.
pub(super) fn part(
    part: &Part<'_>,
    (from, to, form): How,
    scratch: &mut Scratch,
    lost: &mut Vec<Reason>,
    out: &mut Out<'_>,
) -> Result<()> {
    if part.first {
        write::len(count_of(part)?, out);
    }
    let mut c = Cursor::new(part.units, part.offset);
    backlen::stream(&mut c, u64::MAX, form, scratch, out)?;
    let Some((bytes, offset)) = part.tail.filter(|_| part.last.is_some()) else {
        return Ok(());
    };
    tail(
        &Tail::read(&mut Cursor::new(bytes, offset), from)?,
        to,
        lost,
        out,
    )
}

fn tail(tail: &Tail<'_>, to: u8, lost: &mut Vec<Reason>, out: &mut Out<'_>) -> Result<()> {
    write::len(tail.length, out);
    id(tail.last_id, out);
    let none = StreamId::default();
    let max_deleted = tail.max_deleted_id.unwrap_or(none);
    let added = tail.entries_added.unwrap_or(tail.length);
    if to >= 2 {
        id(tail.first_id.unwrap_or(none), out);
        id(max_deleted, out);
        write::len(added, out);
    } else if max_deleted != none || added != tail.length {
        // The first id is that of the first entry.
        note(Reason::StreamCounters, lost);
    }
    let mut groups = tail.groups();
    write::len(groups.left(), out);
    while let Some(g) = groups.next_group()? {
        group(&g, to, lost, out)?;
    }
    match &tail.idmp {
        Some(known) if to >= 4 => idmp(known, out)?,
        Some(known)
            if known.producers().left() > 0
                || (known.duration_s, known.max_entries) != (IDMP_DEFAULT, IDMP_DEFAULT)
                || (known.iids_added, known.iids_duplicates) != (0, 0) =>
        {
            note(Reason::StreamProducers, lost);
        }
        _ => {}
    }
    Ok(())
}

fn group(g: &Group<'_>, to: u8, lost: &mut Vec<Reason>, out: &mut Out<'_>) -> Result<()> {
    write::rdb_str(&g.name, out)?;
    id(g.last_delivered_id, out);
    if to >= 2 {
        write::len(g.entries_read.unwrap_or(u64::MAX), out);
    } else if g.entries_read.is_some() {
        note(Reason::GroupCounters, lost);
    }
    if to >= 5 || g.nacked.is_none() {
        write::len(g.pel.left(), out);
        let mut pel = g.pel.clone();
        while let Some(e) = pel.next_entry()? {
            pending(e, out)?;
        }
    } else {
        // How many are without an owner is found out by the walk: those that are named so, and those that nobody names.
        let mut owned = 0;
        let mut all = g.pending()?;
        while let Some(e) = all.next_entry()? {
            owned += u64::from(e.consumer.is_some());
        }
        if owned < g.pel.left() {
            note(Reason::PendingUnowned, lost);
        }
        write::len(owned, out);
        let mut all = g.pending()?;
        while let Some(e) = all.next_entry()? {
            if e.consumer.is_some() {
                pending(e.entry, out)?;
            }
        }
    }
    let mut consumers = g.consumers.clone();
    write::len(consumers.left(), out);
    while let Some(c) = consumers.next_consumer()? {
        write::rdb_str(&c.name, out)?;
        out.lit(&c.seen_at_ms.to_le_bytes());
        let active = c.active_at_ms.unwrap_or(c.seen_at_ms);
        if to >= 3 {
            out.lit(&active.to_le_bytes());
        } else if active != c.seen_at_ms {
            note(Reason::ConsumerTimes, lost);
        }
        write::len(c.pending.len() as u64, out);
        write::bytes(c.pending.as_bytes(), out)?;
        out.checkpoint()?;
    }
    if to >= 5 {
        write::len(g.nacked.map_or(0, |ids| ids.len() as u64), out);
        write::bytes(g.nacked.map_or(&[], |ids| ids.as_bytes()), out)?;
    }
    Ok(())
}

#[inline]
fn pending(e: PelEntry, out: &mut Out<'_>) -> Result<()> {
    out.lit(&e.id.to_bytes());
    out.lit(&e.delivered_at_ms.to_le_bytes());
    write::len(e.deliveries, out);
    out.checkpoint()
}

fn idmp(known: &Idmp<'_>, out: &mut Out<'_>) -> Result<()> {
    write::len(known.duration_s, out);
    write::len(known.max_entries, out);
    let mut producers = known.producers();
    write::len(producers.left(), out);
    while let Some(mut producer) = producers.next_producer()? {
        write::rdb_str(&producer.id, out)?;
        write::len(producer.iids.left(), out);
        while let Some((iid, entry)) = producer.iids.next_iid()? {
            write::rdb_str(&iid, out)?;
            id(entry, out);
            out.checkpoint()?;
        }
    }
    write::len(known.iids_added, out);
    write::len(known.iids_duplicates, out);
    Ok(())
}

fn id(id: StreamId, out: &mut Out<'_>) {
    write::len(id.ms, out);
    write::len(id.seq, out);
}

fn note(reason: Reason, lost: &mut Vec<Reason>) {
    if !lost.contains(&reason) {
        lost.push(reason);
    }
}
