//! What is changed of a key on its way: its database, its name, its expiry. The value stays as it is.
//!
//! ```text
//!   --to-db 0              every key into one database
//!   --db-map 1:5,3:0       these databases, the others stay
//!   --key-prefix-strip P   then --key-prefix-add P
//!   --ttl keep | none | at=T | in=SPAN | +SPAN | -SPAN | max=SPAN
//! ```
//!
//! Filters ask about the key as it stands in the source; what they keep is transformed.

use super::value::{Moment, span_ms};
use crate::error::Result;
use crate::rdb::entry::Entry;
use crate::rdb::string::{RdbStr, Scratch};
use std::str::FromStr;

/// Which database keys go to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DbMap {
    /// The one they are in.
    #[default]
    Same,
    /// One for all.
    All(u64),
    /// These to those, any other to the one it is.
    Some(Vec<(u64, u64)>),
}

impl DbMap {
    /// Where keys of database `db` go.
    #[inline]
    pub fn map(&self, db: u64) -> u64 {
        match self {
            DbMap::Same => db,
            DbMap::All(to) => *to,
            DbMap::Some(pairs) => pairs
                .iter()
                .find(|(from, _)| *from == db)
                .map_or(db, |(_, to)| *to),
        }
    }

    /// Whether two databases may become one.
    pub fn merges(&self) -> bool {
        match self {
            DbMap::Same => false,
            DbMap::All(_) => true,
            // A database that is not moved may be where another goes.
            DbMap::Some(pairs) => pairs.iter().any(|(_, to)| {
                pairs.iter().filter(|(_, t)| t == to).count() > 1
                    || !pairs.iter().any(|(from, _)| from == to)
            }),
        }
    }
}

/// Reads `1:5,3:0`.
impl FromStr for DbMap {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let bad =
            || format!("{text:?} is no map of databases: expected FROM:TO pairs such as 1:5,3:0");
        let mut pairs: Vec<(u64, u64)> = Vec::new();
        for pair in text.split(',') {
            let (from, to) = pair.trim().split_once(':').ok_or_else(bad)?;
            let from = from.parse().map_err(|_| bad())?;
            if pairs.iter().any(|(f, _)| *f == from) {
                return Err(format!("{text:?} maps database {from} twice"));
            }
            pairs.push((from, to.parse().map_err(|_| bad())?));
        }
        Ok(DbMap::Some(pairs))
    }
}

/// What becomes of expiries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ttl {
    /// They stay.
    #[default]
    Keep,
    /// No key expires.
    None,
    /// Every key expires then.
    At(Moment),
    /// Those that there are move by so many milliseconds.
    Shift(i64),
    /// No key expires later than then, and every key expires.
    Max(Moment),
}

/// Reads `keep`, `none`, `at=T`, `in=SPAN`, `+SPAN`, `-SPAN` or `max=SPAN`.
impl FromStr for Ttl {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let bad = || {
            format!(
                "{text:?} says nothing of expiries: expected keep, none, at=T, in=SPAN, +SPAN, -SPAN or max=SPAN, as in in=7d"
            )
        };
        let span = |s: &str| span_ms(s).ok_or_else(bad);
        match text {
            "keep" => return Ok(Ttl::Keep),
            "none" => return Ok(Ttl::None),
            _ => {}
        }
        if let Some(s) = text.strip_prefix('+') {
            return span(s).map(Ttl::Shift);
        }
        if let Some(s) = text.strip_prefix('-') {
            return span(s).map(|ms| Ttl::Shift(-ms));
        }
        match text.split_once('=') {
            Some(("at", t)) => t.parse().map(Ttl::At),
            Some(("in", s)) => Ok(Ttl::At(Moment::FromNow(span(s)?))),
            Some(("max", s)) => Ok(Ttl::Max(Moment::FromNow(span(s)?))),
            _ => Err(bad()),
        }
    }
}

/// What is changed of each key; the default changes nothing.
#[derive(Debug, Clone, Default)]
pub struct Transform {
    /// `--to-db`, `--db-map`.
    pub dbs: DbMap,
    /// `--key-prefix-strip`: a name that does not begin with it stays.
    pub strip: Vec<u8>,
    /// `--key-prefix-add`.
    pub add: Vec<u8>,
    /// `--ttl`.
    pub ttl: Ttl,
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
}

/// Room for a key under its new name.
#[derive(Debug, Default)]
pub struct Renamed {
    unpacked: Scratch,
    name: Vec<u8>,
}

impl Transform {
    /// Whether it changes nothing.
    #[inline]
    pub fn is_identity(&self) -> bool {
        self.dbs == DbMap::Same && self.ttl == Ttl::Keep && !self.renames()
    }

    /// Whether names change.
    pub fn renames(&self) -> bool {
        !self.strip.is_empty() || !self.add.is_empty()
    }

    /// Whether two keys of one file may come to have the same name in the same database.
    pub fn merges(&self) -> bool {
        self.dbs.merges() || !self.strip.is_empty()
    }

    /// Where keys of database `db` go.
    #[inline]
    pub fn db(&self, db: u64) -> u64 {
        self.dbs.map(db)
    }

    /// What a key is called as it goes on: what is put before it, and what stays of it.
    #[inline]
    pub fn name<'k>(&'k self, old: &'k [u8]) -> (&'k [u8], &'k [u8]) {
        let rest = old.strip_prefix(&self.strip[..]).unwrap_or(old);
        (&self.add, rest)
    }

    /// The key as it goes on.
    pub fn entry<'e>(&self, entry: &Entry<'e>, room: &'e mut Renamed) -> Result<Entry<'e>> {
        let mut e = *entry;
        e.db = self.dbs.map(e.db);
        e.expire_at_ms = self.expiry(e.expire_at_ms);
        if self.renames() {
            let Renamed { unpacked, name } = room;
            let old = entry.key.as_bytes(unpacked)?;
            name.clear();
            let (added, rest) = self.name(old);
            name.extend_from_slice(added);
            name.extend_from_slice(rest);
            e.key = RdbStr::raw(name, entry.key.offset());
        }
        Ok(e)
    }

    fn expiry(&self, at: Option<i64>) -> Option<i64> {
        match self.ttl {
            Ttl::Keep => at,
            Ttl::None => None,
            Ttl::At(t) => Some(t.at(self.now_ms)),
            Ttl::Shift(ms) => at.map(|t| t.saturating_add(ms)),
            Ttl::Max(t) => {
                let latest = t.at(self.now_ms);
                Some(at.map_or(latest, |t| t.min(latest)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases() {
        let map: DbMap = "1:5, 3:0".parse().unwrap();
        assert_eq!([0, 1, 3, 5].map(|db| map.map(db)), [0, 5, 0, 5]);
        assert!(map.merges() && DbMap::All(0).merges() && !DbMap::Same.merges());
        let swap: DbMap = "0:1,1:0".parse().unwrap();
        assert!(!swap.merges());
        for bad in ["", "1", "1:", "a:1", "1:2,1:3"] {
            assert!(bad.parse::<DbMap>().is_err(), "{bad}");
        }
    }

    #[test]
    fn expiries() {
        let rows = [
            ("keep", Some(500), Some(500)),
            ("none", Some(500), None),
            ("in=1s", None, Some(2000)),
            ("at=1800000000000", Some(5), Some(1_800_000_000_000)),
            ("+1s", Some(500), Some(1500)),
            ("-1s", Some(500), Some(-500)),
            ("+1s", None, None),
            ("max=1s", None, Some(2000)),
            ("max=1s", Some(1500), Some(1500)),
            ("max=1s", Some(9999), Some(2000)),
        ];
        for (ttl, at, want) in rows {
            let t = Transform {
                ttl: ttl.parse().unwrap(),
                now_ms: 1000,
                ..Transform::default()
            };
            assert_eq!(t.expiry(at), want, "{ttl} of {at:?}");
        }
        for bad in ["", "1s", "in", "in=", "in=x", "+", "at=", "later=5"] {
            assert!(bad.parse::<Ttl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names() {
        let t = Transform {
            strip: b"old:".to_vec(),
            add: b"new:".to_vec(),
            ..Transform::default()
        };
        let renamed = |name: &[u8]| {
            let file = [
                b"REDIS0004\xfe\x00\x00".as_slice(),
                &[name.len() as u8],
                name,
                b"\x01v\xff",
            ]
            .concat();
            let mut scanner = crate::rdb::scan::Scanner::new(&file).unwrap();
            while let Some(item) = scanner.next_item().unwrap() {
                if let crate::rdb::scan::Item::Key(e) = item {
                    let mut room = Renamed::default();
                    let e = t.entry(&e, &mut room).unwrap();
                    return e.key.as_bytes(&mut Scratch::new()).unwrap().to_vec();
                }
            }
            Vec::new()
        };
        assert_eq!(renamed(b"old:a"), b"new:a");
        assert_eq!(renamed(b"a"), b"new:a");
    }
}
