//! What follows the nodes of a stream: its ids and counters, its consumer groups, its producers. The layout is drawn in
//! [`stream`](super).

use super::{ID16, Pending, StreamId};
use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use crate::rdb::length;
use crate::rdb::string::RdbStr;

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
    pub(super) cursor: Cursor<'a>,
    pub(super) left: u64,
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
    pub(super) fn is_ascending(&self) -> bool {
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
