//! What a split would come to, by the sizes in the file: nothing is encoded, and values are passed over.

use crate::cluster::slot::{SLOTS, slot};
use crate::cluster::topology::Topology;
use crate::command::Command;
use crate::encode::{Encode, Part};
use crate::error::Result;
use crate::out::Out;
use crate::rdb::entry::Entry;
use crate::rdb::scan::Item;
use crate::rdb::string::Scratch;
use crate::rdb::template::Templates;
use std::collections::BTreeMap;

/// How many of the largest keys are told of each node.
const LARGEST: usize = 3;

/// Keys and their bytes: names, and values as they are serialized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// How many keys.
    pub keys: u64,
    /// How many commands of a log, each counted once, with its first key. Those without keys are not counted.
    pub commands: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Load {
    fn add(&mut self, other: Load) {
        self.keys += other.keys;
        self.commands += other.commands;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Of a longer key only so much is kept.
const LONGEST: usize = 64 << 10;

/// One of the largest keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Large {
    /// Bytes of its name and of its value as serialized.
    pub bytes: u64,
    /// Its name; of a very long one the beginning.
    pub key: Vec<u8>,
    /// How long the name is.
    pub key_bytes: u64,
}

/// What there is in the sources.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Of each slot.
    pub slots: Vec<Load>,
    /// Of each database, keys.
    pub databases: BTreeMap<u64, u64>,
    /// Of each node the largest keys; the largest first.
    pub largest: Vec<Vec<Large>>,
}

impl Survey {
    /// Nothing so far, for so many nodes.
    pub(super) fn new(nodes: usize) -> Self {
        Survey {
            slots: vec![Load::default(); usize::from(SLOTS)],
            databases: BTreeMap::new(),
            largest: vec![Vec::new(); nodes],
        }
    }

    pub(super) fn merge(&mut self, other: Survey) {
        for (mine, theirs) in self.slots.iter_mut().zip(other.slots) {
            mine.add(theirs);
        }
        for (db, n) in other.databases {
            *self.databases.entry(db).or_default() += n;
        }
        for (mine, theirs) in self.largest.iter_mut().zip(other.largest) {
            mine.extend(theirs);
            mine.sort_by(|a, b| b.cmp(a));
            mine.truncate(LARGEST);
        }
    }

    /// Bytes of each slot.
    pub fn weights(&self) -> Vec<u64> {
        self.slots.iter().map(|l| l.bytes).collect()
    }

    /// What each node would have.
    pub fn loads(&self, topology: &Topology) -> Vec<Load> {
        let mut loads = vec![Load::default(); topology.nodes().len()];
        for (slot, load) in (0..SLOTS).zip(&self.slots) {
            if let Some(node) = loads.get_mut(usize::from(topology.owner(slot))) {
                node.add(*load);
            }
        }
        loads
    }

    /// How many times the mean the node with the most bytes has: 1 if all have the same.
    pub fn skew(&self, topology: &Topology) -> f64 {
        let loads = self.loads(topology);
        let most = loads.iter().map(|l| l.bytes).max().unwrap_or_default();
        let all: f64 = loads.iter().map(|l| l.bytes as f64).sum();
        match all {
            0.0 => 1.0,
            all => most as f64 * loads.len() as f64 / all,
        }
    }

    /// The slots with the most bytes, which no split makes smaller.
    pub fn heaviest(&self, n: usize) -> Vec<(u16, Load)> {
        let mut slots: Vec<_> = (0..SLOTS).zip(self.slots.iter().copied()).collect();
        slots.retain(|(_, l)| l.keys + l.commands > 0);
        slots.sort_by_key(|(slot, l)| (std::cmp::Reverse(l.bytes), *slot));
        slots.truncate(n);
        slots
    }
}

/// Adds up; encodes nothing.
#[derive(Debug)]
pub(super) struct Surveyor<'t> {
    topology: &'t Topology,
    key: Scratch,
    room: Vec<u8>,
    pub(super) survey: Survey,
}

impl<'t> Surveyor<'t> {
    pub(super) fn new(topology: &'t Topology) -> Self {
        Surveyor {
            topology,
            key: Scratch::new(),
            room: Vec::new(),
            survey: Survey::new(topology.nodes().len()),
        }
    }
}

impl Encode for Surveyor<'_> {
    // A mapped file has its values whole anyway.
    fn whole_up_to(&self) -> u64 {
        u64::MAX
    }

    fn item(&mut self, _: &Item<'_>, _: &mut Out<'_>) -> Result<()> {
        Ok(())
    }

    fn entry(&mut self, e: &Entry<'_>, _: &Templates, _: &mut Out<'_>) -> Result<()> {
        let key = e.key.as_bytes(&mut self.key)?;
        let slot = slot(key);
        let bytes = (key.len() + e.body.len()) as u64;
        let survey = &mut self.survey;
        if let Some(load) = survey.slots.get_mut(usize::from(slot)) {
            load.add(Load {
                keys: 1,
                commands: 0,
                bytes,
            });
        }
        *survey.databases.entry(e.db).or_default() += 1;
        let node = usize::from(self.topology.owner(slot));
        if let Some(largest) = survey.largest.get_mut(node) {
            // Of keys of one size it is the name that decides, not which thread came to them.
            let name = key.get(..LONGEST).unwrap_or(key);
            let before = |l: &Large| (l.bytes, &l.key[..]) >= (bytes, name);
            if largest.len() < LARGEST || !largest.last().is_some_and(before) {
                let at = largest.partition_point(before);
                let large = Large {
                    bytes,
                    key: name.to_vec(),
                    key_bytes: key.len() as u64,
                };
                largest.insert(at, large);
                largest.truncate(LARGEST);
            }
        }
        Ok(())
    }

    /// A command is a load for the node of its first key.
    fn command(&mut self, c: &Command<'_>, _: &mut Out<'_>) -> Result<()> {
        let (mut first, room) = (None, &mut self.room);
        c.each_key(|key| {
            first.get_or_insert_with(|| slot(key.joined(room)));
            Ok(())
        })?;
        let Some(load) = first.and_then(|s| self.survey.slots.get_mut(usize::from(s))) else {
            return Ok(());
        };
        let bytes = c.raw.bytes().len() as u64;
        load.add(Load {
            keys: 0,
            commands: 1,
            bytes,
        });
        *self.survey.databases.entry(c.db).or_default() += 1;
        Ok(())
    }

    fn part(&mut self, _: &Part<'_>, _: &mut u64, _: &mut Out<'_>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_and_skew() {
        let mut survey = Survey::new(2);
        let load = |keys, commands, bytes| Load {
            keys,
            commands,
            bytes,
        };
        survey.slots[0] = load(3, 0, 30);
        survey.slots[16383] = load(0, 2, 10);
        let even = Topology::even(2);
        let loads = survey.loads(&even);
        assert_eq!((loads[0].bytes, loads[1].commands), (30, 2));
        assert_eq!(survey.skew(&even), 1.5);
        assert_eq!(survey.heaviest(1), [(0, load(3, 0, 30))]);
        assert_eq!(survey.heaviest(9)[1], (16383, load(0, 2, 10)));
        assert_eq!(Survey::new(2).skew(&even), 1.0);
    }
}
