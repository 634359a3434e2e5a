//! What a check counts: keys by database and type, and what it found, each kind with its first places.
//!
//! Every worker has a tally of its own; they are added up at the end, and the sum is the same for any number of workers.

use crate::error::RdbError;
use crate::rdb::LogicalType;
use std::collections::BTreeMap;

/// How many of a kind are told with place and key; the rest is counted.
pub const TOLD: usize = 10;
/// Databases counted each for itself; what there is beyond them is counted together.
const DATABASES: usize = 1024;
/// How many databases a server has unless it is told otherwise.
pub const USUAL_DATABASES: u64 = 16;

/// Keys of one type in one database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TypeTally {
    /// Keys.
    pub keys: u64,
    /// Elements of collections, entries of streams.
    pub elements: u64,
    /// Bytes of the values as serialized in the file.
    pub bytes: u64,
}

/// Keys of one database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DbTally {
    /// By type, in the order of [`LogicalType::ALL`].
    pub types: [TypeTally; LogicalType::ALL.len()],
    /// Keys that have an expiry.
    pub expires: u64,
    /// Keys whose expiry has passed.
    pub expired: u64,
    /// Hash fields that have an expiry of their own.
    pub fields_with_expiry: u64,
}

impl DbTally {
    /// Of all types together.
    pub fn total(&self) -> TypeTally {
        let mut sum = TypeTally::default();
        for t in &self.types {
            sum.keys += t.keys;
            sum.elements += t.elements;
            sum.bytes += t.bytes;
        }
        sum
    }

    /// The types there are keys of.
    pub fn by_type(&self) -> impl Iterator<Item = (LogicalType, TypeTally)> {
        LogicalType::ALL
            .into_iter()
            .zip(self.types)
            .filter(|(_, t)| t.keys > 0)
    }

    pub(crate) fn merge(&mut self, other: &DbTally) {
        for (a, b) in self.types.iter_mut().zip(&other.types) {
            a.keys += b.keys;
            a.elements += b.elements;
            a.bytes += b.bytes;
        }
        self.expires += other.expires;
        self.expired += other.expired;
        self.fields_with_expiry += other.fields_with_expiry;
    }
}

/// What a check can find beside bytes that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Problem: a member of a set or sorted set, or a field of a hash, is there twice.
    Duplicate,
    /// Problem: a packed sorted set is not in the order of its scores.
    Unsorted,
    /// Problem: a packed hash is not in the order of its fields' expiries.
    UnsortedExpiries,
    /// Problem: a stream says it has another number of entries than are there.
    StreamLength,
    /// Problem: a stream has two groups, or a group two consumers, of one name.
    StreamNames,
    /// Problem: a function library does not say which engine it is for.
    Library,
    /// Note: a collection without elements.
    Empty,
    /// Note: a list node of more elements than servers count.
    LongNode,
    /// Note: keys in a database that a server has only when it is configured so.
    Database,
    /// Note: a function as only 7.0 and its release candidates load it.
    OldFunction,
    /// Note: a version newer than this build.
    NewVersion,
    /// Note: a value of so many elements that none was compared with the others.
    Uncompared,
    /// Note: a command of a log that is of no server and no module known here.
    UnknownCommand,
}

impl Kind {
    /// All kinds, problems first.
    pub const ALL: [Kind; 13] = [
        Kind::Duplicate,
        Kind::Unsorted,
        Kind::UnsortedExpiries,
        Kind::StreamLength,
        Kind::StreamNames,
        Kind::Library,
        Kind::Empty,
        Kind::LongNode,
        Kind::Database,
        Kind::OldFunction,
        Kind::NewVersion,
        Kind::Uncompared,
        Kind::UnknownCommand,
    ];

    /// Whether it makes a file one that is not whole.
    pub fn is_problem(self) -> bool {
        !matches!(
            self,
            Kind::Empty
                | Kind::LongNode
                | Kind::Database
                | Kind::OldFunction
                | Kind::NewVersion
                | Kind::Uncompared
                | Kind::UnknownCommand
        )
    }

    /// A name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Duplicate => "duplicate",
            Kind::Unsorted => "unsorted",
            Kind::UnsortedExpiries => "unsorted_expiries",
            Kind::StreamLength => "stream_length",
            Kind::StreamNames => "stream_names",
            Kind::Library => "library",
            Kind::Empty => "empty",
            Kind::LongNode => "long_node",
            Kind::Database => "database",
            Kind::OldFunction => "old_function",
            Kind::NewVersion => "new_version",
            Kind::Uncompared => "uncompared",
            Kind::UnknownCommand => "unknown_command",
        }
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Kind::Duplicate => {
                "a member or field is there twice: servers refuse such a value, or lose one of the two"
            }
            Kind::Unsorted => {
                "a sorted set is not sorted: servers load it and answer ranges wrongly"
            }
            Kind::UnsortedExpiries => {
                "a hash is not sorted by its fields' expiries: servers refuse it, or let fields live too long"
            }
            Kind::StreamLength => {
                "a stream has another number of entries than it says: Redis 8.8 and later refuse it, others answer XLEN wrongly"
            }
            Kind::StreamNames => {
                "a consumer group or consumer is there twice: servers refuse the stream"
            }
            Kind::Library => "a function library without its #! line: servers refuse the file",
            Kind::Empty => "an empty collection: servers leave it out when they load the file",
            Kind::LongNode => {
                "a list node of more than 65535 elements: servers lose some of them when they load the file"
            }
            Kind::Database => {
                "keys in databases beyond 15: a server needs a higher `databases` setting to load the file"
            }
            Kind::OldFunction => {
                "a function in the form of the 7.0 release candidates: servers from 7.2 on refuse the file"
            }
            Kind::NewVersion => "a version newer than this build of rdbtool knows",
            Kind::UnknownCommand => {
                "a command that is not known: a server that lacks it, or its module, refuses the log"
            }
            Kind::Uncompared => {
                "a value too large for its elements to be compared: duplicates would not have been noticed"
            }
        }
    }
}

/// How many of a kind, and the first of them.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many.
    pub count: u64,
    /// The first [`TOLD`], by their place in the file.
    pub first: Vec<RdbError>,
}

impl Findings {
    /// Counts one at `offset`, and keeps it if it is among the first.
    pub(crate) fn add(&mut self, offset: u64, told: impl FnOnce() -> RdbError) {
        self.count += 1;
        if self.first.len() < TOLD
            || self
                .first
                .last()
                .is_some_and(|last| Some(offset) < last.offset())
        {
            self.keep(told());
        }
    }

    fn keep(&mut self, e: RdbError) {
        let at = self.first.partition_point(|f| f.offset() <= e.offset());
        self.first.insert(at, e);
        self.first.truncate(TOLD);
    }

    pub(crate) fn merge(&mut self, other: Findings) {
        self.count += other.count;
        other.first.into_iter().for_each(|e| self.keep(e));
    }
}

/// All that is counted.
#[derive(Debug, Default)]
pub struct Tally {
    /// By database; those there are keys of.
    pub databases: BTreeMap<u64, DbTally>,
    /// Keys of the databases beyond the first 1024.
    pub other_databases: DbTally,
    /// The highest database there are keys of.
    pub highest_db: u64,
    /// Values that cannot be read, when the run goes on behind them.
    pub broken: Findings,
    /// What the log holds.
    pub log: LogTally,
    findings: [Findings; Kind::ALL.len()],
}

/// Commands of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogTally {
    /// How many there are, without SELECT, MULTI and EXEC.
    pub commands: u64,
    /// How many transactions.
    pub transactions: u64,
    /// How many of each name, for those that are known.
    pub names: BTreeMap<&'static str, u64>,
    /// How many for each database; what there is beyond the first 1024 is left out.
    pub databases: BTreeMap<u64, u64>,
    /// The first and the last time stamp, in seconds since 1970.
    pub stamps: Option<(u64, u64)>,
}

impl LogTally {
    /// Counts a command.
    pub(crate) fn add(&mut self, name: Option<&'static str>, db: u64) {
        self.commands += 1;
        if let Some(name) = name {
            *self.names.entry(name).or_default() += 1;
        }
        if self.databases.len() < DATABASES || self.databases.contains_key(&db) {
            *self.databases.entry(db).or_default() += 1;
        }
    }

    /// Counts a time stamp.
    pub(crate) fn stamp(&mut self, s: u64) {
        let (first, last) = self.stamps.unwrap_or((s, s));
        self.stamps = Some((first.min(s), last.max(s)));
    }

    fn merge(&mut self, other: LogTally) {
        self.commands += other.commands;
        self.transactions += other.transactions;
        for (name, n) in other.names {
            *self.names.entry(name).or_default() += n;
        }
        for (db, n) in other.databases {
            if self.databases.len() < DATABASES || self.databases.contains_key(&db) {
                *self.databases.entry(db).or_default() += n;
            }
        }
        for s in other.stamps.into_iter().flat_map(|(a, b)| [a, b]) {
            self.stamp(s);
        }
    }

    /// The names there are most commands of, and how many.
    pub fn most(&self, n: usize) -> Vec<(&'static str, u64)> {
        let mut all: Vec<_> = self.names.iter().map(|(name, n)| (*name, *n)).collect();
        all.sort_by_key(|&(name, n)| (std::cmp::Reverse(n), name));
        all.truncate(n);
        all
    }
}

impl Tally {
    /// What was found of a kind.
    pub fn found(&self, kind: Kind) -> &Findings {
        &self.findings[kind as usize]
    }

    pub(crate) fn found_mut(&mut self, kind: Kind) -> &mut Findings {
        &mut self.findings[kind as usize]
    }

    /// Of all databases together.
    pub fn total(&self) -> DbTally {
        let mut sum = self.other_databases;
        self.databases.values().for_each(|db| sum.merge(db));
        sum
    }

    /// Adds what was counted of a database.
    pub(crate) fn add(&mut self, db: u64, tally: &DbTally) {
        if tally.total().keys == 0 && tally.fields_with_expiry == 0 {
            return;
        }
        self.highest_db = self.highest_db.max(db);
        if self.databases.len() < DATABASES || self.databases.contains_key(&db) {
            self.databases.entry(db).or_default().merge(tally);
        } else {
            self.other_databases.merge(tally);
        }
    }

    pub(crate) fn merge(&mut self, other: Tally) {
        self.highest_db = self.highest_db.max(other.highest_db);
        for (db, tally) in &other.databases {
            self.add(*db, tally);
        }
        self.other_databases.merge(&other.other_databases);
        self.broken.merge(other.broken);
        self.log.merge(other.log);
        for (a, b) in self.findings.iter_mut().zip(other.findings) {
            a.merge(b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_kept_in_the_order_of_the_file() {
        let (mut a, mut b) = (Findings::default(), Findings::default());
        for i in 0..30 {
            // One worker has the even places, the other the odd ones, last first.
            let (f, at) = if i % 2 == 0 {
                (&mut a, i)
            } else {
                (&mut b, 30 - i)
            };
            f.add(at, || RdbError::corrupt(at, "x"));
        }
        a.merge(b);
        assert_eq!(a.count, 30);
        let places: Vec<_> = a.first.iter().filter_map(RdbError::offset).collect();
        assert_eq!(places, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn many_databases_are_counted_together() {
        let mut tally = Tally::default();
        let mut one = DbTally::default();
        one.types[0].keys = 1;
        for db in 0..2000 {
            tally.add(db, &one);
        }
        assert_eq!(tally.databases.len(), DATABASES);
        assert_eq!(tally.total().total().keys, 2000);
        assert_eq!(tally.highest_db, 1999);
    }

    #[test]
    fn kinds_stand_in_their_places() {
        for (i, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, i, "{kind:?}");
        }
    }
}
