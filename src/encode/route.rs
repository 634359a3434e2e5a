//! Keys to the nodes that have their slots: any other encoder, in frames.
//!
//! ```text
//!   key          its slot's node     | node | Key  | what the encoder makes of it |
//!   part         the same            | node | Part | ...  |    the last one: | node | End |
//!   SELECTDB     nobody yet          | all  | Select | db |    each node is told when its next key comes
//!   library ...  every node          | all  | Item | ...  |
//!   command      see `log`           | node | Command | ...  |    its annotations: | all | Log |
//! ```
//!
//! The frames are those of [`Out`]; [`Lanes`](crate::sink::lanes::Lanes) takes them apart.

mod log;
pub mod units;

use super::{Encode, Part};
use crate::cluster::slot::slot;
use crate::cluster::topology::Topology;
use crate::command::Command;
use crate::error::{ErrorKind, RdbError, Result};
use crate::loss::Losses;
use crate::out::{EVERY, Kind, Out};
use crate::rdb::entry::Entry;
use crate::rdb::scan::Item;
use crate::rdb::string::Scratch;
use crate::rdb::template::Templates;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Where keys go, and which cannot go anywhere. All workers share it, and all sources.
#[derive(Debug)]
pub struct Router<'t> {
    topology: &'t Topology,
    databases: u64,
    /// Whether a key of a database has been met that the cluster does not have.
    refused: AtomicBool,
    /// How many keys each database has.
    counts: Mutex<BTreeMap<u64, u64>>,
    /// Whether it is for running nodes, which take a command only if all of its keys are of one slot.
    live: bool,
    /// Whether commands that cannot go anywhere are left out; or else they are errors.
    lenient: bool,
    /// Whether the nodes' RDB data have a place behind them for the commands of a log.
    log: bool,
}

impl<'t> Router<'t> {
    /// To the nodes of `topology`, which have so many databases.
    pub fn new(topology: &'t Topology, databases: u64) -> Self {
        Router {
            topology,
            databases,
            refused: AtomicBool::new(false),
            counts: Mutex::default(),
            live: false,
            lenient: false,
            log: false,
        }
    }

    /// For running nodes, which take a command only if all of its keys are of one slot.
    pub fn live(mut self, live: bool) -> Self {
        self.live = live;
        self
    }

    /// Commands that cannot go to any one node are left out; or else they are errors.
    pub fn lenient(mut self, lenient: bool) -> Self {
        self.lenient = lenient;
        self
    }

    /// The nodes' RDB data have a place behind them for the commands of a log, as an append-only file has; or else these are errors.
    pub fn with_log(mut self, log: bool) -> Self {
        self.log = log;
        self
    }

    /// Whether commands may come together with RDB data.
    pub(crate) fn has_log(&self) -> bool {
        self.log
    }

    /// The lane of a key: the number of the node that has its slot.
    #[inline]
    pub fn lane(&self, key: &[u8]) -> u16 {
        self.topology.owner(slot(key))
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.topology.nodes().len()
    }

    /// How many keys there were of each database, if there were any of one that the cluster does not have.
    pub fn refused(&self) -> Option<BTreeMap<u64, u64>> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        self.refused.load(Ordering::Relaxed).then(|| counts.clone())
    }

    /// The highest database that has keys.
    pub fn highest(&self) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.last_key_value().map_or(0, |(db, _)| *db)
    }
}

/// An encoder whose output goes to the nodes.
#[derive(Debug)]
pub struct Routed<'r, E> {
    inner: E,
    router: &'r Router<'r>,
    key: Scratch,
    /// Keys of the database at hand.
    db: u64,
    count: u64,
    /// Where the last of them stands: a key may be encoded twice, the first time to see whether its value is sound.
    last: Option<u64>,
    /// The transaction that is being read.
    group: Option<log::Group>,
    losses: Losses,
    room: Vec<u8>,
}

impl<'r, E> Routed<'r, E> {
    /// The same encoder, in frames.
    pub fn new(inner: E, router: &'r Router<'r>) -> Self {
        Routed {
            inner,
            router,
            key: Scratch::new(),
            db: 0,
            count: 0,
            last: None,
            group: None,
            losses: Losses::default(),
            room: Vec::new(),
        }
    }

    /// The encoder, when it is done; and what of commands could not be kept.
    pub fn into_parts(mut self) -> (E, Losses) {
        self.settle();
        (self.inner, self.losses)
    }

    /// Adds up what was counted of a database.
    fn settle(&mut self) {
        if self.count > 0 {
            let counts = self.router.counts.lock();
            let mut counts = counts.unwrap_or_else(PoisonError::into_inner);
            *counts.entry(self.db).or_default() += self.count;
            self.count = 0;
        }
    }

    /// Counts a key; gives whether it is to be written. Nothing is any more once one cannot be: then they are counted only, so that it can
    /// be said how many there are.
    #[inline]
    fn counted(&mut self, e: &Entry<'_>) -> bool {
        self.counted_of(e.db, e.offset)
    }

    /// The same of a key or command at `offset`.
    #[inline]
    fn counted_of(&mut self, db: u64, offset: u64) -> bool {
        if db != self.db {
            self.settle();
            self.db = db;
        }
        if self.last.replace(offset) != Some(offset) {
            self.count += 1;
        }
        self.may(db)
    }

    #[inline]
    fn may(&self, db: u64) -> bool {
        if db >= self.router.databases {
            self.router.refused.store(true, Ordering::Relaxed);
        }
        !self.router.refused.load(Ordering::Relaxed)
    }
}

impl<E: Encode> Encode for Routed<'_, E> {
    fn whole_up_to(&self) -> u64 {
        self.inner.whole_up_to()
    }

    fn item(&mut self, item: &Item<'_>, out: &mut Out<'_>) -> Result<()> {
        if let Item::SelectDb(db) = item {
            select(*db, out);
            return out.checkpoint();
        }
        out.open(EVERY, Kind::Item);
        let r = self.inner.item(item, out);
        out.close();
        r
    }

    #[inline]
    fn entry(&mut self, e: &Entry<'_>, templates: &Templates, out: &mut Out<'_>) -> Result<()> {
        if !self.counted(e) {
            return Ok(());
        }
        let lane = self.router.lane(e.key.as_bytes(&mut self.key)?);
        out.open(lane, Kind::Key);
        let r = self.inner.entry(e, templates, out);
        // Also behind an error: what is written up to there is whole frames.
        out.close();
        r
    }

    fn finds_ends(&self) -> bool {
        self.inner.finds_ends()
    }

    fn command(&mut self, command: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        self.deal(command, out)
    }

    fn annotation(&mut self, line: &[u8], out: &mut Out<'_>) -> Result<()> {
        out.open(EVERY, Kind::Log);
        let r = self.inner.annotation(line, out);
        out.close();
        r
    }

    fn part(&mut self, part: &Part<'_>, elements: &mut u64, out: &mut Out<'_>) -> Result<()> {
        let e = &part.entry;
        let wanted = match part.first {
            true => self.counted(e),
            false => self.may(e.db),
        };
        if !wanted {
            return Ok(());
        }
        let lane = self.router.lane(e.key.as_bytes(&mut self.key)?);
        out.open(lane, Kind::Part);
        let r = self.inner.part(part, elements, out);
        out.close();
        if r.is_ok() && part.end().is_some() {
            out.open(lane, Kind::End);
            out.close();
        }
        r
    }
}

/// Says which database the keys that follow are in.
pub fn select(db: u64, out: &mut Out<'_>) {
    out.open(EVERY, Kind::Select);
    out.lit(&db.to_le_bytes());
    out.close();
}

/// The error of keys in databases that the cluster does not have.
#[cold]
pub fn refusal(counts: &BTreeMap<u64, u64>, databases: u64) -> RdbError {
    let list: Vec<_> = counts
        .iter()
        .map(|(db, n)| format!("{n} in database {db}"))
        .collect();
    let has = match databases {
        1 => "database 0 only".to_owned(),
        n => format!("databases 0 to {}", n - 1),
    };
    let what = format!(
        "the cluster has {has}, and there are keys elsewhere: {}",
        list.join(", ")
    );
    RdbError::other(ErrorKind::Unsupported, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::commands::{Commands, Options};
    use crate::out::frame;
    use crate::rdb::header::Header;
    use crate::rdb::scan::Scanner;

    #[test]
    fn keys_go_where_their_slots_are() {
        let topology = Topology::even(3);
        let router = Router::new(&topology, 1);
        // foo: 12182, bar: 5061; a library; a list without elements is no key.
        let file = b"REDIS0011\xf5\x13#!lua name=m\nreturn\xfe\x00\
            \x00\x03foo\x011\x00\x03bar\x012\x01\x01l\x00\xff\0\0\0\0\0\0\0\0";
        let file = file.as_slice();
        let inner = Commands::new(Header::read(file).unwrap(), Options::default());
        let mut routed = Routed::new(inner, &router);
        let mut out = Out::new();
        let mut scanner = Scanner::new(file).unwrap();
        while let Some(item) = scanner.next_item().unwrap() {
            match item {
                Item::Key(e) => routed.entry(&e, scanner.templates(), &mut out).unwrap(),
                item => routed.item(&item, &mut out).unwrap(),
            }
        }
        let mut rest = out.as_bytes();
        let mut seen = Vec::new();
        while let Some(((lane, kind, bytes), more)) = frame(rest) {
            seen.push((lane, kind, bytes.len()));
            rest = more;
        }
        assert!(rest.is_empty());
        let want = [
            (EVERY, Kind::Item, 54),
            (EVERY, Kind::Select, 8),
            (2, Kind::Key, 29),
            (0, Kind::Key, 29),
        ];
        assert_eq!(seen, want);
        drop(routed.into_parts());
        assert_eq!((router.refused(), router.highest()), (None, 0));
    }

    #[test]
    fn what_is_refused_is_counted() {
        let counts = BTreeMap::from([(0, 7), (3, 2)]);
        let e = refusal(&counts, 1).to_string();
        assert!(
            e.contains("database 0 only") && e.contains("7 in database 0, 2 in database 3"),
            "{e}"
        );
    }
}
