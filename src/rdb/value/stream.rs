//! Streams: nodes of packed entries, then what the stream knows about itself and its readers.
//!
//! ```text
//!   LEN nodes
//!     nodes × ( STR key, 16 bytes | STR listpack )              Nodes, Records
//!   LEN length | ID last                                        Tail
//!   ID first | ID max deleted | LEN entries added               2+
//!   LEN groups
//!     groups × ( STR name | ID last delivered | LEN entries read (2+)
//!       LEN n, n × ( id16 | i64 delivery time | LEN deliveries )            pending entries of the group
//!       LEN n, n × ( STR name | i64 seen | i64 active (3+) | LEN m, m × id16 )      consumers
//!       LEN n, n × id16                                                     5: pending, owned by nobody
//!     )
//!   LEN duration | LEN max entries                              4+: ids of messages already seen
//!   LEN n, n × ( STR producer | LEN m, m × ( STR iid | ID entry ) )
//!   LEN iids added | LEN duplicates
//!
//!   ID = LEN ms, LEN seq        id16 = u64 BE ms, u64 BE seq        times in ms since 1970
//!   2, 3, 4, 5: the layout version that brought the field; type 15 is 1, then 19, 21, 26, 27
//! ```
//!
//! A node's listpack begins with a master entry (counts and field names), then the records:
//!
//! ```text
//!   live | deleted | F | F names | 0
//!   flags | ms - key.ms | seq - key.seq | F values                   | F + 3       flags & 2: names of the master
//!   flags | ms - key.ms | seq - key.seq | F' | F' × ( name | value ) | 2F' + 4     otherwise
//!
//!   key 1-1:   2 1 1 "a" 0     2 0 0 1 4     3 0 1 2 4     0 1 -1 1 "b" 3 6
//!              master          1-1 {a: 1}    1-2, deleted  2-0 {b: 3}
//! ```
//!
//! Servers mark a deleted entry (flags & 1) and leave it in place, so deleted records are checked like the others and
//! passed over. The last number of a record counts its listpack elements before that number; servers walk backwards by it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fmt;

use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use crate::rdb::length;
use crate::rdb::packed::listpack;
use crate::rdb::packed::{Blob, Element};
use crate::rdb::string::{RdbStr, Scratch};

/// Record flag: the entry has been deleted.
pub const FLAG_DELETED: i64 = 1;
/// Record flag: the field names are those of the master entry.
pub const FLAG_SAMEFIELDS: i64 = 2;

/// Bytes of a node key and of an id in a pending list.
const ID16: usize = 16;

/// The id of an entry. Ids order by milliseconds, then sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Milliseconds since 1970, by the writer's clock or its caller's wish.
    pub ms: u64,
    /// Number of the entry within the millisecond.
    pub seq: u64,
}

impl StreamId {
    /// The id in 16 bytes, both halves big-endian, so that bytes order as ids do.
    #[inline]
    pub fn from_bytes(b: &[u8; ID16]) -> Self {
        let n = u128::from_be_bytes(*b);
        StreamId {
            ms: (n >> 64) as u64,
            seq: n as u64,
        }
    }

    /// The same 16 bytes.
    #[inline]
    pub fn to_bytes(self) -> [u8; ID16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    /// Reads an id of two lengths.
    pub fn read(c: &mut Cursor<'_>, what: &str) -> Result<Self> {
        Ok(StreamId {
            ms: length::read(c, what)?,
            seq: length::read(c, what)?,
        })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// The nodes of a stream, or any run of whole nodes out of a stream.
#[derive(Debug, Clone)]
pub struct Nodes<'a> {
    cursor: Cursor<'a>,
    last: Option<StreamId>,
}

impl<'a> Nodes<'a> {
    /// Nodes in `bytes`, which lie at `offset` in the file: whole ones, to the last byte.
    pub fn new(bytes: &'a [u8], offset: u64) -> Self {
        Nodes {
            cursor: Cursor::new(bytes, offset),
            last: None,
        }
    }

    /// The next node: its key, from which its records count, and its listpack. Keys ascend.
    ///
    /// Nothing more comes after an error.
    pub fn next_node<'s>(
        &mut self,
        scratch: &'s mut Scratch,
    ) -> Result<Option<(StreamId, Blob<'s>)>>
    where
        'a: 's,
    {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let mut c = self.cursor;
        // Where an error leaves the walk.
        self.cursor = Cursor::new(&[], c.offset());
        let at = c.offset();
        let key = RdbStr::read(&mut c)?;
        let key = match key.as_bytes(scratch)?.try_into() {
            Ok(b) => StreamId::from_bytes(b),
            Err(_) => {
                return Err(RdbError::corrupt(
                    at,
                    format!("stream node key of {} bytes: expected 16", key.len()),
                ));
            }
        };
        if let Some(last) = self.last
            && key <= last
        {
            return Err(RdbError::corrupt(
                at,
                format!("stream node {key} after node {last}: expected ascending keys"),
            ));
        }
        let blob = RdbStr::read(&mut c)?.as_blob(scratch)?;
        self.last = Some(key);
        self.cursor = c;
        Ok(Some((key, blob)))
    }
}

/// The records of one node that are not deleted.
///
/// ```
/// use rdbtool::rdb::packed::{Blob, Element};
/// use rdbtool::rdb::value::stream::{Records, StreamId};
///
/// let listpack = b"\x1d\0\0\0\x0a\0\x01\x01\x00\x01\x01\x01\x81a\x02\x00\x01\x02\x01\x00\x01\x00\x01\x81b\x02\x04\x01\xff";
/// let key = StreamId { ms: 5, seq: 7 };
/// let mut records = Records::new(key, Blob::in_file(listpack, 0))?;
/// let mut record = records.next_record()?.expect("one record");
/// assert_eq!(record.id, key);
/// assert_eq!(record.next_pair()?, Some((Element::Bytes(b"a"), Element::Bytes(b"b"))));
/// assert_eq!(record.next_pair()?, None);
/// assert!(records.next_record()?.is_none());
/// # Ok::<(), rdbtool::RdbError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Records<'a> {
    key: StreamId,
    blob: Blob<'a>,
    /// Where the master entry or the record at hand begins.
    start: usize,
    /// What is still to be read.
    items: listpack::Iter<'a>,
    /// The master's field names, and the number of them.
    names: listpack::Iter<'a>,
    fields: u64,
    /// The records to come.
    live: u64,
    deleted: u64,
    last: Option<StreamId>,
    /// Where in the names the record at hand is.
    name: listpack::Iter<'a>,
    /// Pairs of the record at hand still to be read, whether its names are the master's, and the count it must end with.
    pairs: u64,
    same: bool,
    ends_with: u64,
    /// Whether the record at hand has still to be read to its end.
    open: bool,
    /// Whether the end or an error has been met.
    done: bool,
}

/// A record, whose pairs are read one by one. Those not asked for are passed over.
#[derive(Debug)]
pub struct Record<'r, 'a> {
    /// The entry's id.
    pub id: StreamId,
    records: &'r mut Records<'a>,
}

impl<'a> Record<'_, 'a> {
    /// The next field and its value. Nothing more comes after an error.
    #[inline]
    pub fn next_pair(&mut self) -> Result<Option<(Element<'a>, Element<'a>)>> {
        let pair = self.records.pair();
        if pair.is_err() {
            self.records.stop();
        }
        pair
    }

    /// Pairs still to come.
    pub fn pairs_left(&self) -> u64 {
        self.records.pairs
    }
}

impl<'a> Records<'a> {
    /// The records in the listpack of the node with this key.
    pub fn new(key: StreamId, blob: Blob<'a>) -> Result<Self> {
        let items = listpack::Iter::new(blob)?;
        let mut r = Records {
            key,
            blob,
            start: items.offset(),
            names: items.clone(),
            name: items.clone(),
            items,
            fields: 0,
            live: 0,
            deleted: 0,
            last: None,
            pairs: 0,
            same: false,
            ends_with: 0,
            open: false,
            done: false,
        };
        r.live = r.count("the count of entries")?;
        r.deleted = r.count("the count of deleted entries")?;
        r.fields = r.count("the count of master fields")?;
        r.names = r.items.clone();
        for _ in 0..r.fields {
            r.item("a master field")?;
        }
        match r.count("the end of the master entry")? {
            0 => Ok(r),
            n => Err(r.corrupt(format!("{n} at the end of the master entry: expected 0"))),
        }
    }

    /// Records not deleted that are still to come.
    pub fn left(&self) -> u64 {
        self.live
    }

    /// The next record that is not deleted. Nothing more comes after an error.
    #[inline]
    pub fn next_record(&mut self) -> Result<Option<Record<'_, 'a>>> {
        match self.advance() {
            Ok(Some(id)) => Ok(Some(Record { id, records: self })),
            Ok(None) => Ok(None),
            Err(e) => {
                self.stop();
                Err(e)
            }
        }
    }

    fn stop(&mut self) {
        self.live = 0;
        self.deleted = 0;
        self.pairs = 0;
        self.open = false;
        self.done = true;
    }

    #[inline]
    fn advance(&mut self) -> Result<Option<StreamId>> {
        loop {
            while self.open {
                self.pair()?;
            }
            if self.live == 0 && self.deleted == 0 {
                return match self.done || self.items.next_element()?.is_none() {
                    true => Ok(None),
                    false => Err(self.corrupt("elements after the last entry")),
                };
            }
            self.start = self.items.offset();
            let flags = self.int("the flags of an entry")?;
            let ms = self.int("an entry's milliseconds")?;
            let seq = self.int("an entry's sequence number")?;
            if flags & !(FLAG_DELETED | FLAG_SAMEFIELDS) != 0 {
                return Err(self.corrupt(format!("entry flags {flags}: expected 0 to 3")));
            }
            // Servers add with wrap-around: the difference may be negative, and an id beyond 2^63.
            let id = StreamId {
                ms: self.key.ms.wrapping_add(ms as u64),
                seq: self.key.seq.wrapping_add(seq as u64),
            };
            if let Some(last) = self.last
                && id <= last
            {
                return Err(
                    self.corrupt(format!("entry {id} after {last}: expected ascending ids"))
                );
            }
            self.last = Some(id);
            self.same = flags & FLAG_SAMEFIELDS != 0;
            if self.same {
                self.name = self.names.clone();
                self.pairs = self.fields;
                self.ends_with = self.fields.saturating_add(3);
            } else {
                self.pairs = self.count("an entry's count of fields")?;
                self.ends_with = self.pairs.saturating_mul(2).saturating_add(4);
            }
            self.open = true;
            let left = if flags & FLAG_DELETED == 0 {
                &mut self.live
            } else {
                &mut self.deleted
            };
            if *left == 0 {
                return Err(self.corrupt(format!(
                    "entry {id}: more {} entries than the master entry counts",
                    if flags & FLAG_DELETED == 0 {
                        "live"
                    } else {
                        "deleted"
                    }
                )));
            }
            *left -= 1;
            if flags & FLAG_DELETED == 0 {
                return Ok(Some(id));
            }
        }
    }

    /// The next pair of the record at hand; after the last, its closing count is checked.
    #[inline]
    fn pair(&mut self) -> Result<Option<(Element<'a>, Element<'a>)>> {
        if self.pairs == 0 {
            if self.open {
                let n = self.count("the closing count of an entry")?;
                if n != self.ends_with {
                    return Err(self.corrupt(format!(
                        "entry says it has {n} elements: expected {}",
                        self.ends_with
                    )));
                }
                self.open = false;
            }
            return Ok(None);
        }
        self.pairs -= 1;
        let name = if self.same {
            self.name.next_element()?
        } else {
            self.items.next_element()?
        };
        match (name, self.items.next_element()?) {
            (Some(name), Some(value)) => Ok(Some((name, value))),
            _ => Err(self.ends_before("a field or value")),
        }
    }

    #[inline]
    fn item(&mut self, what: &str) -> Result<Element<'a>> {
        match self.items.next_element()? {
            Some(e) => Ok(e),
            None => Err(self.ends_before(what)),
        }
    }

    #[inline]
    fn int(&mut self, what: &str) -> Result<i64> {
        match self.items.next_element()? {
            Some(Element::Int(n)) => Ok(n),
            Some(Element::Bytes(_)) => Err(self.not_an_integer(what)),
            None => Err(self.ends_before(what)),
        }
    }

    #[inline]
    fn count(&mut self, what: &str) -> Result<u64> {
        let n = self.int(what)?;
        u64::try_from(n).map_err(|_| self.corrupt(format!("{what} is {n}")))
    }

    #[cold]
    fn not_an_integer(&self, what: &str) -> RdbError {
        self.corrupt(format!("a string where {what} is expected"))
    }

    #[cold]
    fn ends_before(&self, what: &str) -> RdbError {
        self.corrupt(format!("the listpack ends before {what}"))
    }

    #[cold]
    fn corrupt(&self, what: impl fmt::Display) -> RdbError {
        self.blob
            .origin
            .corrupt(self.start, format!("stream node {}: {what}", self.key))
    }
}

/// All that follows the nodes. Reading it walks it whole, so that what its iterators give has a sound frame; it is also the
/// way to pass over it.
#[derive(Debug, Clone)]
pub struct Tail<'a> {
    /// Layout version, 1 to 5.
    pub version: u8,
    /// Entries that are not deleted, as the stream counts them.
    pub length: u64,
    /// The largest id there ever was.
    pub last_id: StreamId,
    /// The first entry that is not deleted; 0-0 when there is none. From version 2.
    pub first_id: Option<StreamId>,
    /// The largest id ever deleted; 0-0 when there is none. From version 2.
    pub max_deleted_id: Option<StreamId>,
    /// Entries ever added. From version 2.
    pub entries_added: Option<u64>,
    /// What the stream remembers of producers' own message ids. From version 4.
    pub idmp: Option<Idmp<'a>>,
    groups: Groups<'a>,
}

impl<'a> Tail<'a> {
    /// Reads what follows the nodes of a stream of layout `version` (1 to 5).
    pub fn read(c: &mut Cursor<'a>, version: u8) -> Result<Self> {
        let length = length::read(c, "the length of a stream")?;
        let last_id = StreamId::read(c, "the last id of a stream")?;
        let (mut first_id, mut max_deleted_id, mut entries_added) = (None, None, None);
        if version >= 2 {
            first_id = Some(StreamId::read(c, "the first id of a stream")?);
            max_deleted_id = Some(StreamId::read(c, "the largest deleted id of a stream")?);
            entries_added = Some(length::read(c, "the number of entries added to a stream")?);
        }
        let left = length::read(c, "the number of consumer groups")?;
        let groups = Groups {
            cursor: *c,
            left,
            version,
        };
        for _ in 0..left {
            Group::read(c, version)?;
        }
        let idmp = if version >= 4 {
            Some(Idmp::read(c)?)
        } else {
            None
        };
        Ok(Tail {
            version,
            length,
            last_id,
            first_id,
            max_deleted_id,
            entries_added,
            idmp,
            groups,
        })
    }

    /// The consumer groups.
    pub fn groups(&self) -> Groups<'a> {
        self.groups.clone()
    }
}

/// The consumer groups of a stream.
#[derive(Debug, Clone)]
pub struct Groups<'a> {
    cursor: Cursor<'a>,
    left: u64,
    version: u8,
}

impl<'a> Groups<'a> {
    /// The next group.
    pub fn next_group(&mut self) -> Result<Option<Group<'a>>> {
        next(&mut self.left, || {
            Group::read(&mut self.cursor, self.version)
        })
    }

    /// Groups still to come.
    pub fn left(&self) -> u64 {
        self.left
    }
}

/// One more of `left`, none after an error.
#[inline]
fn next<T>(left: &mut u64, read: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
    if *left == 0 {
        return Ok(None);
    }
    match read() {
        Ok(item) => {
            *left -= 1;
            Ok(Some(item))
        }
        Err(e) => {
            *left = 0;
            Err(e)
        }
    }
}

/// A consumer group.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// Its name.
    pub name: RdbStr<'a>,
    /// The last id it handed out.
    pub last_delivered_id: StreamId,
    /// Entries it has read; `None` when the server does not know, and always before version 2.
    pub entries_read: Option<u64>,
    /// What was handed out and not acknowledged.
    pub pel: Pel<'a>,
    /// Its consumers.
    pub consumers: Consumers<'a>,
    /// Pending ids that no consumer owns any more. From version 5.
    pub nacked: Option<Ids<'a>>,
}

impl<'a> Group<'a> {
    fn read(c: &mut Cursor<'a>, version: u8) -> Result<Self> {
        let name = RdbStr::read(c)?;
        let last_delivered_id = StreamId::read(c, "the last id a group delivered")?;
        let entries_read = match version {
            // Servers write -1 for a count they cannot know.
            2.. => Some(length::read(c, "the number of entries a group read")?)
                .filter(|&n| n != u64::MAX),
            _ => None,
        };
        let left = length::read(c, "the number of pending entries")?;
        let mut pel = Pel {
            cursor: *c,
            left,
            ascending: true,
        };
        let mut last = None;
        for _ in 0..left {
            let e = PelEntry::read(c)?;
            pel.ascending &= last < Some(e.id);
            last = Some(e.id);
        }
        let left = length::read(c, "the number of consumers")?;
        let consumers = Consumers {
            cursor: *c,
            left,
            version,
        };
        for _ in 0..left {
            Consumer::read(c, version)?;
        }
        let nacked = match version {
            5.. => Some(Ids::read(c, "the entries without a consumer")?),
            _ => None,
        };
        Ok(Group {
            name,
            last_delivered_id,
            entries_read,
            pel,
            consumers,
            nacked,
        })
    }

    /// The pending entries, each with its consumer.
    pub fn pending(&self) -> Result<Pending<'a>> {
        Pending::new(self)
    }
}

/// The pending entries of a group, without their consumers.
#[derive(Debug, Clone)]
pub struct Pel<'a> {
    cursor: Cursor<'a>,
    left: u64,
    ascending: bool,
}

/// An entry that was handed out and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PelEntry {
    /// The entry's id; the entry itself may be deleted.
    pub id: StreamId,
    /// When it was last handed out, ms since 1970.
    pub delivered_at_ms: i64,
    /// How often it was handed out.
    pub deliveries: u64,
}

impl PelEntry {
    #[inline]
    fn read(c: &mut Cursor<'_>) -> Result<Self> {
        Ok(PelEntry {
            id: StreamId::from_bytes(&c.array("the id of a pending entry")?),
            delivered_at_ms: c.i64_le("the delivery time of a pending entry")?,
            deliveries: length::read(c, "the delivery count of a pending entry")?,
        })
    }
}

impl Pel<'_> {
    /// The next entry.
    #[inline]
    pub fn next_entry(&mut self) -> Result<Option<PelEntry>> {
        next(&mut self.left, || PelEntry::read(&mut self.cursor))
    }

    /// Entries still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Whether the ids of the whole list ascend, each occurring once. Servers write them so.
    pub fn is_ascending(&self) -> bool {
        self.ascending
    }
}

/// The consumers of a group.
#[derive(Debug, Clone)]
pub struct Consumers<'a> {
    cursor: Cursor<'a>,
    left: u64,
    version: u8,
}

/// A consumer of a group.
#[derive(Debug, Clone, Copy)]
pub struct Consumer<'a> {
    /// Its name.
    pub name: RdbStr<'a>,
    /// When it last tried something, ms since 1970.
    pub seen_at_ms: i64,
    /// When it last got something, ms since 1970; -1 for never. From version 3.
    pub active_at_ms: Option<i64>,
    /// The ids it has not acknowledged.
    pub pending: Ids<'a>,
}

impl<'a> Consumer<'a> {
    fn read(c: &mut Cursor<'a>, version: u8) -> Result<Self> {
        Ok(Consumer {
            name: RdbStr::read(c)?,
            seen_at_ms: c.i64_le("the time a consumer was seen")?,
            active_at_ms: match version {
                3.. => Some(c.i64_le("the time a consumer was active")?),
                _ => None,
            },
            pending: Ids::read(c, "the pending entries of a consumer")?,
        })
    }
}

impl<'a> Consumers<'a> {
    /// The next consumer.
    pub fn next_consumer(&mut self) -> Result<Option<Consumer<'a>>> {
        next(&mut self.left, || {
            Consumer::read(&mut self.cursor, self.version)
        })
    }

    /// Consumers still to come.
    pub fn left(&self) -> u64 {
        self.left
    }
}

/// Ids of 16 bytes, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Ids<'a> {
    bytes: &'a [u8],
    offset: u64,
}

impl<'a> Ids<'a> {
    fn read(c: &mut Cursor<'a>, what: &str) -> Result<Self> {
        let at = c.offset();
        let n = length::read(c, what)?;
        let size = n
            .checked_mul(ID16 as u64)
            .ok_or_else(|| RdbError::corrupt(at, format!("{what}: {n} of them")))?;
        Ok(Ids {
            offset: c.offset(),
            bytes: c.take(size, what)?,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / ID16
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes, 16 an id; they order as the ids do.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether they ascend, each occurring once.
    fn is_ascending(&self) -> bool {
        let (ids, _) = self.bytes.as_chunks::<ID16>();
        ids.is_sorted_by(|a, b| a < b)
    }
}

impl Iterator for Ids<'_> {
    type Item = StreamId;

    #[inline]
    fn next(&mut self) -> Option<StreamId> {
        let (id, rest) = self.bytes.split_first_chunk::<ID16>()?;
        self.bytes = rest;
        self.offset += ID16 as u64;
        Some(StreamId::from_bytes(id))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl ExactSizeIterator for Ids<'_> {}

/// The pending entries of a group, each with the consumer that has it.
///
/// The file gives the entries once for the group, with times and counts, and again as bare ids under each consumer. Servers
/// write all these lists in ascending order, so the owners are found by merging: one place in each consumer's list and
/// a heap over them, O(log consumers) an entry. Where some list does not ascend, all ids go into a sorted table instead.
///
/// An id that a consumer has and the group has not, that two consumers have, or that occurs twice is an error; so is, before
/// version 5, one that no consumer has.
#[derive(Debug, Clone)]
pub struct Pending<'a> {
    pel: Pel<'a>,
    holders: Vec<Holder<'a>>,
    owners: Owners,
    /// Whether an entry may be without an owner.
    free: bool,
}

/// A pending entry and its consumer.
#[derive(Debug, Clone, Copy)]
pub struct PendingEntry<'a> {
    /// The entry.
    pub entry: PelEntry,
    /// The name of its consumer; `None` if nobody has it (from version 5).
    pub consumer: Option<RdbStr<'a>>,
}

/// A list of ids: a consumer's, or that of the entries without one.
#[derive(Debug, Clone, Copy)]
struct Holder<'a> {
    name: Option<RdbStr<'a>>,
    ids: Ids<'a>,
}

#[derive(Debug, Clone)]
enum Owners {
    /// The next id of each holder, smallest on top.
    Merge(BinaryHeap<Reverse<(StreamId, usize)>>),
    /// Every id of every holder, ascending, and whether the group has named it.
    Table(Vec<Owned>),
}

#[derive(Debug, Clone, Copy)]
struct Owned {
    id: StreamId,
    holder: usize,
    seen: bool,
}

impl<'a> Pending<'a> {
    fn new(group: &Group<'a>) -> Result<Self> {
        let mut holders = Vec::new();
        let mut consumers = group.consumers.clone();
        while let Some(c) = consumers.next_consumer()? {
            if !c.pending.is_empty() {
                holders.push(Holder {
                    name: Some(c.name),
                    ids: c.pending,
                });
            }
        }
        if let Some(ids) = group.nacked.filter(|ids| !ids.is_empty()) {
            holders.push(Holder { name: None, ids });
        }
        let merge = group.pel.is_ascending() && holders.iter().all(|h| h.ids.is_ascending());
        let owners = if merge {
            let mut heap = BinaryHeap::with_capacity(holders.len());
            for (i, h) in holders.iter_mut().enumerate() {
                heap.extend(h.ids.next().map(|id| Reverse((id, i))));
            }
            Owners::Merge(heap)
        } else {
            Owners::table(&holders, group.pel.clone())?
        };
        Ok(Pending {
            pel: group.pel.clone(),
            holders,
            owners,
            free: group.nacked.is_some(),
        })
    }

    /// The next entry. Nothing more comes after an error.
    #[inline]
    pub fn next_entry(&mut self) -> Result<Option<PendingEntry<'a>>> {
        let r = self.advance();
        if r.is_err() {
            self.pel.left = 0;
            self.owners = Owners::Table(Vec::new());
        }
        r
    }

    fn advance(&mut self) -> Result<Option<PendingEntry<'a>>> {
        let at = self.pel.cursor.offset();
        let Some(entry) = self.pel.next_entry()? else {
            return match self.unclaimed() {
                None => Ok(None),
                Some((id, holder)) => Err(not_pending(at, id, self.holders.get(holder))),
            };
        };
        let holder = match &mut self.owners {
            Owners::Merge(heap) => match heap.peek().copied() {
                Some(Reverse((id, holder))) if id <= entry.id => {
                    let ids = self.holders.get_mut(holder).map(|h| &mut h.ids);
                    let next = ids.and_then(Iterator::next);
                    if let Some(mut top) = heap.peek_mut() {
                        match next {
                            Some(next) => *top = Reverse((next, holder)),
                            None => {
                                PeekMut::pop(top);
                            }
                        }
                    }
                    if id < entry.id {
                        return Err(not_pending(at, id, self.holders.get(holder)));
                    }
                    if heap.peek().is_some_and(|top| top.0.0 == id) {
                        return Err(twice(at, id));
                    }
                    Some(holder)
                }
                _ => None,
            },
            Owners::Table(table) => match table.binary_search_by_key(&entry.id, |o| o.id) {
                Ok(i) => table.get_mut(i).map(|o| {
                    o.seen = true;
                    o.holder
                }),
                Err(_) => None,
            },
        };
        if holder.is_none() && !self.free {
            return Err(RdbError::corrupt(
                at,
                format!("pending entry {} belongs to no consumer", entry.id),
            ));
        }
        Ok(Some(PendingEntry {
            entry,
            consumer: holder
                .and_then(|i| self.holders.get(i))
                .and_then(|h| h.name),
        }))
    }

    /// An id that some holder has and the group did not name.
    fn unclaimed(&self) -> Option<(StreamId, usize)> {
        match &self.owners {
            Owners::Merge(heap) => heap.peek().map(|top| top.0),
            Owners::Table(table) => table.iter().find(|o| !o.seen).map(|o| (o.id, o.holder)),
        }
    }
}

#[cold]
fn not_pending(at: u64, id: StreamId, holder: Option<&Holder<'_>>) -> RdbError {
    let held = match holder.and_then(|h| h.name) {
        Some(_) => "pending for a consumer",
        None => "marked as without a consumer",
    };
    RdbError::corrupt(
        at,
        format!("entry {id} is {held} but not pending in its group"),
    )
}

#[cold]
fn twice(at: u64, id: StreamId) -> RdbError {
    RdbError::corrupt(at, format!("pending entry {id} has two owners"))
}

impl Owners {
    #[cold]
    fn table(holders: &[Holder<'_>], mut pel: Pel<'_>) -> Result<Self> {
        let at = pel.cursor.offset();
        if !pel.is_ascending() {
            let mut ids = Vec::new();
            while let Some(e) = pel.next_entry()? {
                ids.push(e.id);
            }
            ids.sort_unstable();
            if let Some([id, ..]) = ids.windows(2).find(|w| w.first() == w.last()) {
                return Err(RdbError::corrupt(
                    at,
                    format!("entry {id} is pending twice in its group"),
                ));
            }
        }
        let mut table = Vec::new();
        for (holder, h) in holders.iter().enumerate() {
            table.extend(h.ids.map(|id| Owned {
                id,
                holder,
                seen: false,
            }));
        }
        table.sort_unstable_by_key(|o| o.id);
        let same = |w: &&[Owned]| matches!(w, [a, b] if a.id == b.id);
        match table.windows(2).find(same) {
            Some([o, ..]) => Err(twice(at, o.id)),
            _ => Ok(Owners::Table(table)),
        }
    }
}

/// What a stream remembers of its producers' own message ids, so that a message sent again is not added again.
#[derive(Debug, Clone)]
pub struct Idmp<'a> {
    /// Seconds an id is remembered.
    pub duration_s: u64,
    /// Ids remembered for each producer.
    pub max_entries: u64,
    /// Ids ever remembered.
    pub iids_added: u64,
    /// Messages that were not added because their id was known.
    pub iids_duplicates: u64,
    producers: Producers<'a>,
}

impl<'a> Idmp<'a> {
    fn read(c: &mut Cursor<'a>) -> Result<Self> {
        let duration_s = length::read(c, "the time message ids are remembered")?;
        let max_entries = length::read(c, "the number of message ids to remember")?;
        let left = length::read(c, "the number of producers")?;
        let producers = Producers { cursor: *c, left };
        for _ in 0..left {
            Producer::read(c)?;
        }
        Ok(Idmp {
            duration_s,
            max_entries,
            iids_added: length::read(c, "the number of message ids added")?,
            iids_duplicates: length::read(c, "the number of duplicate message ids")?,
            producers,
        })
    }

    /// The producers.
    pub fn producers(&self) -> Producers<'a> {
        self.producers.clone()
    }
}

/// The producers that a stream knows.
#[derive(Debug, Clone)]
pub struct Producers<'a> {
    cursor: Cursor<'a>,
    left: u64,
}

/// A producer and the message ids it used.
#[derive(Debug, Clone)]
pub struct Producer<'a> {
    /// Its id.
    pub id: RdbStr<'a>,
    /// Its message ids.
    pub iids: Iids<'a>,
}

impl<'a> Producer<'a> {
    fn read(c: &mut Cursor<'a>) -> Result<Self> {
        let id = RdbStr::read(c)?;
        let left = length::read(c, "the number of message ids of a producer")?;
        let iids = Iids { cursor: *c, left };
        for _ in 0..left {
            Iids::read(c)?;
        }
        Ok(Producer { id, iids })
    }
}

impl<'a> Producers<'a> {
    /// Producers still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next producer.
    pub fn next_producer(&mut self) -> Result<Option<Producer<'a>>> {
        next(&mut self.left, || Producer::read(&mut self.cursor))
    }
}

/// Message ids of a producer, each with the entry it became.
#[derive(Debug, Clone)]
pub struct Iids<'a> {
    cursor: Cursor<'a>,
    left: u64,
}

impl<'a> Iids<'a> {
    fn read(c: &mut Cursor<'a>) -> Result<(RdbStr<'a>, StreamId)> {
        Ok((
            RdbStr::read(c)?,
            StreamId::read(c, "the entry of a message id")?,
        ))
    }

    /// Message ids still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next message id and the id of its entry.
    pub fn next_iid(&mut self) -> Result<Option<(RdbStr<'a>, StreamId)>> {
        next(&mut self.left, || Self::read(&mut self.cursor))
    }
}
