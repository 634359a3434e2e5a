//! Who has which pending entry of a consumer group: two tellings in the file, merged into one.

use super::{Group, Ids, Pel, PelEntry, StreamId};
use crate::error::{RdbError, Result};
use crate::rdb::string::RdbStr;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

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
    pub(super) fn new(group: &Group<'a>) -> Result<Self> {
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
