//! Streams as commands.
//!
//! ```text
//!   XADD key 1-1 field value ...               each entry
//!     XCFGSET key IDMP-DURATION s IDMP-MAXSIZE n         behind the first, when they are not the defaults    Redis 8.6
//!     XIDMPRECORD key producer iid 1-1                   behind the entry that it names                      Redis 8.6
//!   XADD key MAXLEN 0 0-1 x y                  when there is none
//!   XSETID key 9-1 ENTRIESADDED n MAXDELETEDID 3-1               the options from 7.0 on
//!   each group
//!     XGROUP CREATE key group 5-1 ENTRIESREAD n                  the option from 7.0 on; -1 when it is not known
//!     XGROUP CREATECONSUMER key group consumer                   those that have nothing; from 6.2 on, before that
//!     XREADGROUP GROUP group consumer STREAMS key 0              which makes a consumer by asking for what it has
//!     XCLAIM key group consumer 0 1-1 TIME ms RETRYCOUNT n JUSTID FORCE      each pending entry, by id
//!     XNACK key group FAIL IDS 1 1-1 RETRYCOUNT n FORCE                      those without an owner          Redis 8.8
//! ```
//!
//! An entry that has been deleted cannot be claimed, though it may be pending, nor recorded: servers pass over it. Which of them
//! there still are is found while the entries are written. When the stream comes in parts, each part counts those that it has, and the
//! last one adds them up.

use super::chunks::any_element;
use super::{Lost, consumer_commands};
use crate::cursor::Cursor;
use crate::encode::Part;
use crate::encode::loss::Reason;
use crate::error::{RdbError, Result};
use crate::out::Out;
use crate::rdb::release::Release;
use crate::rdb::skip::{Unit, Units};
use crate::rdb::string::RdbStr;
use crate::rdb::value::Scratches;
use crate::rdb::value::stream::{Group, Nodes, Pel, Records, StreamId, Tail};
use crate::resp::write;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// What servers take for the settings of idempotent producers when nobody has set them: seconds, and ids a producer.
const IDMP_DEFAULT: (u64, u64) = (100, 100);

/// A stream on its way to a key of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream<'k> {
    pub(super) key: &'k [u8],
    pub(super) release: Release,
}

impl Stream<'_> {
    /// Appends a whole stream of layout `version`: `body` is the value as serialized, at `offset` in the file.
    pub(super) fn value(
        self,
        body: &[u8],
        offset: u64,
        version: u8,
        scratch: &mut Scratches,
        lost: &mut Lost,
        out: &mut Out<'_>,
    ) -> Result<()> {
        let mut c = Cursor::new(body, offset);
        let mut units = Units::read(&mut c, Unit::Pair, 0, true)?;
        let (from, at) = (c.position(), c.offset());
        units.skip(&mut c, usize::MAX)?;
        let nodes = c.since(from);
        let tail = Tail::read(&mut c, version)?;
        if !c.is_empty() {
            return Err(RdbError::corrupt(
                c.offset(),
                format!("{} bytes after the end of a stream", c.remaining()),
            ));
        }
        let mut wanted = Wanted::new(&tail, self.release)?;
        let n = self.nodes(nodes, at, &tail, true, &mut wanted, scratch, out)?;
        self.tail(&tail, n == 0, wanted.found, scratch, lost, out)
    }

    /// Appends part of a stream: some of its nodes, and after the last of them the rest.
    pub(super) fn part(
        self,
        part: &Part<'_>,
        version: u8,
        elements: &mut u64,
        scratch: &mut Scratches,
        lost: &mut Lost,
        out: &mut Out<'_>,
    ) -> Result<()> {
        let (bytes, at) = part.tail.unwrap_or_default();
        let tail = Tail::read(&mut Cursor::new(bytes, at), version)?;
        let mut wanted = Wanted::new(&tail, self.release)?;
        let (units, at) = (part.units, part.offset);
        self.nodes(units, at, &tail, part.first, &mut wanted, scratch, out)?;
        *elements += wanted.found.packed();
        if part.last.is_some() {
            let found = Found::unpacked((part.elements_before)() + *elements);
            self.tail(&tail, tail.length == 0, found, scratch, lost, out)?;
        }
        Ok(())
    }

    /// Appends the entries of some nodes; gives how many there are.
    #[allow(clippy::too_many_arguments)] // what a walk over nodes needs
    fn nodes(
        self,
        bytes: &[u8],
        offset: u64,
        tail: &Tail<'_>,
        first: bool,
        wanted: &mut Wanted<'_>,
        scratch: &mut Scratches,
        out: &mut Out<'_>,
    ) -> Result<u64> {
        let Scratches {
            blob,
            first: name,
            second,
        } = scratch;
        let mut nodes = Nodes::new(bytes, offset);
        let mut n = 0;
        while let Some((node, blob)) = nodes.next_node(blob)? {
            let origin = blob.origin;
            let mut records = Records::new(node, blob)?;
            while let Some(mut record) = records.next_record()? {
                let id = record.id;
                let pairs = record.pairs_left();
                if pairs == 0 {
                    return Err(origin.corrupt(0, format!("stream entry {id} without a field")));
                }
                write::head(3 + 2 * pairs, out);
                out.lit(b"$4\r\nXADD\r\n");
                write::arg(self.key, out);
                id_arg(id, out);
                while let Some((field, value)) = record.next_pair()? {
                    any_element(field, out)?;
                    any_element(value, out)?;
                }
                if first && n == 0 {
                    self.settings(tail, out);
                }
                n += 1;
                if id >= wanted.next {
                    wanted.see(id, |producer, iid| {
                        write::head(5, out);
                        out.lit(b"$11\r\nXIDMPRECORD\r\n");
                        write::arg(self.key, out);
                        write::arg(producer.as_bytes(name)?, out);
                        write::arg(iid.as_bytes(second)?, out);
                        id_arg(id, out);
                        Ok(())
                    })?;
                }
                out.checkpoint()?;
            }
        }
        Ok(n)
    }

    /// Appends the settings of idempotent producers. They come before what is recorded of them, since changing them forgets it.
    fn settings(self, tail: &Tail<'_>, out: &mut Out<'_>) {
        if let Some(idmp) = &tail.idmp
            && (idmp.duration_s, idmp.max_entries) != IDMP_DEFAULT
            && has_producers(self.release)
        {
            write::head(6, out);
            out.lit(b"$7\r\nXCFGSET\r\n");
            write::arg(self.key, out);
            out.lit(b"$13\r\nIDMP-DURATION\r\n");
            write::arg_u64(idmp.duration_s, out);
            out.lit(b"$12\r\nIDMP-MAXSIZE\r\n");
            write::arg_u64(idmp.max_entries, out);
        }
    }

    /// Appends what comes after the entries.
    fn tail(
        self,
        tail: &Tail<'_>,
        is_empty: bool,
        found: Found,
        scratch: &mut Scratches,
        lost: &mut Lost,
        out: &mut Out<'_>,
    ) -> Result<()> {
        let counters = self.release.is_at_least((7, 0), (0, 0));
        if is_empty {
            write::head(7, out);
            out.lit(b"$4\r\nXADD\r\n");
            write::arg(self.key, out);
            out.lit(b"$6\r\nMAXLEN\r\n$1\r\n0\r\n$3\r\n0-1\r\n$1\r\nx\r\n$1\r\ny\r\n");
            self.settings(tail, out);
        }
        let more = tail.entries_added.zip(tail.max_deleted_id);
        write::head(if counters && more.is_some() { 7 } else { 3 }, out);
        out.lit(b"$6\r\nXSETID\r\n");
        write::arg(self.key, out);
        id_arg(tail.last_id, out);
        if let Some((added, deleted)) = more {
            if counters {
                out.lit(b"$12\r\nENTRIESADDED\r\n");
                write::arg_u64(added, out);
                out.lit(b"$12\r\nMAXDELETEDID\r\n");
                id_arg(deleted, out);
            } else if added != tail.length || deleted != StreamId::default() {
                // A release that counts these takes a file without them to mean just that.
                lost.note(Reason::StreamCounters);
            }
        }
        let mut pending = 0;
        let mut groups = tail.groups();
        while let Some(g) = groups.next_group()? {
            pending += g.pel.left();
        }
        let some_deleted = found.pending < pending;
        if some_deleted {
            lost.note(Reason::PendingDeleted);
        }
        let mut groups = tail.groups();
        while let Some(g) = groups.next_group()? {
            if g.entries_read.is_some() && !counters {
                lost.note(Reason::GroupCounters);
            }
            self.group(&g, tail.version, some_deleted, scratch, lost, out)?;
        }
        self.producers(tail, found, lost)
    }

    fn group(
        self,
        g: &Group<'_>,
        version: u8,
        some_deleted: bool,
        scratch: &mut Scratches,
        lost: &mut Lost,
        out: &mut Out<'_>,
    ) -> Result<()> {
        let Scratches { blob, first, .. } = scratch;
        let name = g.name.as_bytes(blob)?;
        let counters = version >= 2 && self.release.is_at_least((7, 0), (0, 0));
        write::head(if counters { 7 } else { 5 }, out);
        out.lit(b"$6\r\nXGROUP\r\n$6\r\nCREATE\r\n");
        write::arg(self.key, out);
        write::arg(name, out);
        id_arg(g.last_delivered_id, out);
        if counters {
            out.lit(b"$11\r\nENTRIESREAD\r\n");
            match g.entries_read {
                Some(n) => write::arg_u64(n, out),
                None => out.lit(b"$2\r\n-1\r\n"),
            }
        }
        let mut consumers = g.consumers.clone();
        while let Some(c) = consumers.next_consumer()? {
            lost.note(Reason::ConsumerTimes);
            // A consumer comes into being with what it claims; if that is gone, it must be made.
            if c.pending.is_empty() || some_deleted {
                let consumer = c.name.as_bytes(first)?;
                consumer_commands(self.key, name, consumer, self.release, out);
                out.checkpoint()?;
            }
        }
        let mut pending = g.pending()?;
        while let Some(p) = pending.next_entry()? {
            let Some(consumer) = p.consumer else {
                self.unowned(name, p.entry.id, p.entry.deliveries, lost, out);
                continue;
            };
            out.lit(b"*12\r\n$6\r\nXCLAIM\r\n");
            write::arg(self.key, out);
            write::arg(name, out);
            write::arg(consumer.as_bytes(first)?, out);
            out.lit(b"$1\r\n0\r\n");
            id_arg(p.entry.id, out);
            out.lit(b"$4\r\nTIME\r\n");
            write::arg_i64(p.entry.delivered_at_ms, out);
            out.lit(b"$10\r\nRETRYCOUNT\r\n");
            write::arg_u64(p.entry.deliveries, out);
            out.lit(b"$6\r\nJUSTID\r\n$5\r\nFORCE\r\n");
            out.checkpoint()?;
        }
        out.checkpoint()
    }

    /// Appends a pending entry that no consumer has.
    fn unowned(
        self,
        group: &[u8],
        id: StreamId,
        deliveries: u64,
        lost: &mut Lost,
        out: &mut Out<'_>,
    ) {
        if !self.release.is_at_least((8, 8), (u16::MAX, 0)) {
            return lost.note(Reason::PendingUnowned);
        }
        out.lit(b"*10\r\n$5\r\nXNACK\r\n");
        write::arg(self.key, out);
        write::arg(group, out);
        out.lit(b"$4\r\nFAIL\r\n$3\r\nIDS\r\n$1\r\n1\r\n");
        id_arg(id, out);
        out.lit(b"$10\r\nRETRYCOUNT\r\n");
        write::arg_u64(deliveries, out);
        out.lit(b"$5\r\nFORCE\r\n");
    }

    /// Notes what of the idempotent producers is not kept.
    fn producers(self, tail: &Tail<'_>, found: Found, lost: &mut Lost) -> Result<()> {
        let Some(idmp) = &tail.idmp else {
            return Ok(());
        };
        let mut iids = 0;
        let mut producers = idmp.producers();
        while let Some(p) = producers.next_producer()? {
            iids += p.iids.left();
        }
        let kept = if has_producers(self.release) {
            // The server counts what it is told to record.
            found.iids == iids && idmp.iids_added == iids && idmp.iids_duplicates == 0
        } else {
            let counts = [iids, idmp.iids_added, idmp.iids_duplicates];
            counts == [0; 3] && (idmp.duration_s, idmp.max_entries) == IDMP_DEFAULT
        };
        if !kept {
            lost.note(Reason::StreamProducers);
        }
        Ok(())
    }
}

/// Whether streams of a release know idempotent producers.
fn has_producers(release: Release) -> bool {
    release.is_at_least((8, 6), (u16::MAX, 0))
}

/// An id as an argument.
fn id_arg(id: StreamId, out: &mut Out<'_>) {
    let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (ms, seq) = (ms.format(id.ms), seq.format(id.seq));
    write::arg_len((ms.len() + 1 + seq.len()) as u64, out);
    out.raw(ms.as_bytes());
    out.byte(b'-');
    out.raw(seq.as_bytes());
    out.lit(b"\r\n");
}

/// How many of the ids that the stream's tail names have been met.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    pending: u64,
    iids: u64,
}

impl Found {
    /// Bits for the first count, in the one number that parts add up. Both are of things that are in memory.
    const BITS: u32 = 40;

    fn packed(self) -> u64 {
        self.pending + (self.iids << Self::BITS)
    }

    fn unpacked(n: u64) -> Found {
        Found {
            pending: n & ((1 << Self::BITS) - 1),
            iids: n >> Self::BITS,
        }
    }
}

/// The ids that a stream's tail names, to be met among its entries: pending ones, and those that producers gave ids of their own.
///
/// The lists of pending ids ascend, as the entries do, so both are walked side by side; a list that does not is sorted.
struct Wanted<'a> {
    /// No id before this one is wanted.
    next: StreamId,
    lists: Vec<Ids<'a>>,
    /// The next id of each list, smallest on top.
    heap: BinaryHeap<Reverse<(StreamId, usize)>>,
    /// Producers' ids, by the entry's.
    iids: std::iter::Peekable<std::vec::IntoIter<Iid<'a>>>,
    found: Found,
}

struct Iid<'a> {
    entry: StreamId,
    producer: RdbStr<'a>,
    iid: RdbStr<'a>,
}

enum Ids<'a> {
    Ascending(Pel<'a>),
    Sorted(std::vec::IntoIter<StreamId>),
}

impl Ids<'_> {
    fn next_id(&mut self) -> Result<Option<StreamId>> {
        Ok(match self {
            Ids::Ascending(pel) => pel.next_entry()?.map(|e| e.id),
            Ids::Sorted(ids) => ids.next(),
        })
    }
}

impl<'a> Wanted<'a> {
    fn new(tail: &Tail<'a>, release: Release) -> Result<Self> {
        let mut lists = Vec::new();
        let mut groups = tail.groups();
        while let Some(mut g) = groups.next_group()? {
            if g.pel.is_ascending() {
                lists.push(Ids::Ascending(g.pel));
            } else {
                let mut ids = Vec::new();
                while let Some(e) = g.pel.next_entry()? {
                    ids.push(e.id);
                }
                ids.sort_unstable();
                lists.push(Ids::Sorted(ids.into_iter()));
            }
        }
        let mut heap = BinaryHeap::with_capacity(lists.len());
        for (i, list) in lists.iter_mut().enumerate() {
            heap.extend(list.next_id()?.map(|id| Reverse((id, i))));
        }
        let mut iids = Vec::new();
        if let Some(idmp) = &tail.idmp
            && has_producers(release)
        {
            let mut producers = idmp.producers();
            while let Some(mut p) = producers.next_producer()? {
                while let Some((iid, entry)) = p.iids.next_iid()? {
                    let producer = p.id;
                    iids.push(Iid {
                        entry,
                        producer,
                        iid,
                    });
                }
            }
        }
        iids.sort_by_key(|i| i.entry);
        let mut wanted = Wanted {
            next: StreamId::default(),
            lists,
            heap,
            iids: iids.into_iter().peekable(),
            found: Found::default(),
        };
        wanted.find_next();
        Ok(wanted)
    }

    fn find_next(&mut self) {
        let pending = self.heap.peek().map(|top| top.0.0);
        let iid = self.iids.peek().map(|i| i.entry);
        self.next = [pending, iid]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(StreamId {
                ms: u64::MAX,
                seq: u64::MAX,
            });
    }

    /// An entry is there; `record` is called for each id that a producer gave it.
    #[cold]
    fn see(
        &mut self,
        id: StreamId,
        mut record: impl FnMut(RdbStr<'a>, RdbStr<'a>) -> Result<()>,
    ) -> Result<()> {
        while let Some(mut top) = self.heap.peek_mut()
            && top.0.0 <= id
        {
            let (wanted, list) = top.0;
            self.found.pending += u64::from(wanted == id);
            match self.lists.get_mut(list).map(Ids::next_id).transpose()? {
                Some(Some(next)) => *top = Reverse((next, list)),
                _ => drop(PeekMut::pop(top)),
            }
        }
        while let Some(i) = self.iids.next_if(|i| i.entry <= id) {
            if i.entry == id {
                self.found.iids += 1;
                record(i.producer, i.iid)?;
            }
        }
        self.find_next();
        Ok(())
    }
}
