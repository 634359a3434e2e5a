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

mod pending;
mod tail;

pub use pending::{Pending, PendingEntry};
pub use tail::{
    Consumer, Consumers, Group, Groups, Idmp, Ids, Iids, Pel, PelEntry, Producer, Producers, Tail,
};

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
