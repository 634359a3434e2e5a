//! Which keys are wanted: the cheapest question first, each asked as soon as it can be answered.
//!
//! ```text
//!   SELECTDB ──► db        a whole database is passed over unread
//!   type byte, expiry ──► head    a bit mask, two comparisons; the key's bytes are not looked at
//!   key ──► key            globs, then the slot, then regular expressions
//!   value passed over ──► size    the one question that wants the value's end
//! ```
//!
//! What is kept may go on under another name, in another database, with another expiry: [`Transform`].
//!
//! [`Options`] are what the command line gives, a field an option, each type reading its own text. [`Filter::new`] checks
//! that they agree and makes them ready; after that nothing can fail and nothing is allocated. All that is asked must
//! hold; within one list (databases, types, slots, patterns) one hit is enough.

mod key;
mod libraries;
mod transform;
mod unique;
mod value;

pub use key::{Glob, SlotSet, parse_regex};
pub use libraries::Libraries;
pub use transform::{DbMap, Renamed, Transform, Ttl};
pub use unique::{OnConflict, Told, Unique};
pub use value::{Expired, Expires, Moment, Size, TypeSet};

use std::str::FromStr;

use regex::bytes::Regex;

use crate::cluster::slot::slot;
use crate::rdb::LogicalType;
use value::ExpiryRange;

/// What is asked, as given. The default asks nothing.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--db`: the databases that are kept.
    pub db: Option<DbSet>,
    /// `--key`: a key is kept when one of these or of `key_regex` matches.
    pub key: Vec<Glob>,
    /// `--key-regex`: see `key`; read with [`parse_regex`].
    pub key_regex: Vec<Regex>,
    /// `--not-key`: a key is dropped when one of these matches.
    pub not_key: Vec<Glob>,
    /// `--type`: the types that are kept.
    pub types: Option<TypeSet>,
    /// `--slot`: the slots that are kept.
    pub slot: Option<SlotSet>,
    /// `--expires`: all must hold.
    pub expires: Vec<Expires>,
    /// `--expired`.
    pub expired: Expired,
    /// `--min-size`: a value of this many serialized bytes is kept.
    pub min_size: Option<Size>,
    /// `--max-size`: a value of this many serialized bytes is kept.
    pub max_size: Option<Size>,
}

/// The questions, ready to be asked of each entry.
///
/// Regular expressions keep caches that threads share, so give each worker a clone.
///
/// ```
/// use rdbtool::filter::{Filter, Options};
/// use rdbtool::rdb::LogicalType;
/// let filter = Filter::new(
///     Options {
///         key: vec!["user:*".parse().unwrap()],
///         types: Some("hash,zset".parse().unwrap()),
///         expires: vec!["after=now".parse().unwrap()],
///         ..Options::default()
///     },
///     1_769_860_800_000,
/// )
/// .unwrap();
/// assert!(filter.head(LogicalType::Hash, Some(1_769_860_800_001)));
/// assert!(!filter.head(LogicalType::Hash, None));
/// assert!(filter.key(b"user:17") && !filter.key(b"session:17"));
/// assert!(!filter.needs_size());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Filter {
    db: Option<DbSet>,
    types: TypeSet,
    expiry: ExpiryRange,
    keys: KeyFilter,
    sizes: SizeRange,
}

#[derive(Debug, Clone, Default)]
struct KeyFilter {
    globs: Box<[Glob]>,
    regexes: Box<[Regex]>,
    not_globs: Box<[Glob]>,
    slots: Option<SlotSet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SizeRange {
    min: u64,
    max: u64,
}

impl Default for SizeRange {
    fn default() -> Self {
        SizeRange {
            min: 0,
            max: u64::MAX,
        }
    }
}

impl Filter {
    /// Makes a filter; `now_ms` is now, in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// Says which options cannot hold of one key together.
    pub fn new(options: Options, now_ms: i64) -> Result<Self, String> {
        let expiry = ExpiryRange::new(&options.expires, options.expired, now_ms);
        if expiry.is_none() {
            return Err(
                "no key can meet all of --expires and --expired: expected a span such as --expires after=now \
                 --expires before=now+2h"
                    .to_owned(),
            );
        }
        let sizes = SizeRange {
            min: options.min_size.map_or(0, |s| s.0),
            max: options.max_size.map_or(u64::MAX, |s| s.0),
        };
        if sizes.min > sizes.max {
            return Err(format!(
                "--min-size ({} bytes) is more than --max-size ({} bytes): expected a span such as --min-size 1k \
                 --max-size 1m",
                sizes.min, sizes.max
            ));
        }
        // What every key passes is no question.
        let (globs, regexes) = if options.key.iter().any(Glob::is_all) {
            (Vec::new(), Vec::new())
        } else {
            (options.key, options.key_regex)
        };
        Ok(Filter {
            db: options.db,
            types: options.types.unwrap_or_default(),
            expiry,
            keys: KeyFilter {
                globs: globs.into(),
                regexes: regexes.into(),
                not_globs: options.not_key.into(),
                slots: options.slot.filter(|s| !s.is_all()),
            },
            sizes,
        })
    }

    /// Whether keys of a database are wanted; asked first, so that a database is passed over as a whole.
    #[inline]
    pub fn db(&self, db: u64) -> bool {
        self.db.as_ref().is_none_or(|set| set.has(db))
    }

    /// Whether there is nothing to ask: every key of every database is wanted.
    pub fn is_pass_all(&self) -> bool {
        self.db.is_none()
            && self.types == TypeSet::ALL
            && self.expiry.is_all()
            && !self.needs_key()
            && !self.needs_size()
    }

    /// The option, if there is one, that asks of a value what only the value tells: its type, expiry or size. Of a command that would make
    /// or change the value it cannot be asked.
    pub fn asks_of_values(&self) -> Option<&'static str> {
        if self.types != TypeSet::ALL {
            Some("--type")
        } else if !self.expiry.is_all() {
            Some("--expires, or --expired drop,")
        } else if self.needs_size() {
            Some("--min-size or --max-size")
        } else {
            None
        }
    }

    /// Whether a key of this type and expiry (milliseconds since 1970) may be wanted.
    #[inline]
    pub fn head(&self, type_name: LogicalType, expire_at_ms: Option<i64>) -> bool {
        self.types.has(type_name) && self.expiry.has(expire_at_ms)
    }

    /// Whether [`key`](Filter::key) has anything to ask; if not, the key need not be decompressed.
    #[inline]
    pub fn needs_key(&self) -> bool {
        let k = &self.keys;
        !(k.globs.is_empty() && k.regexes.is_empty() && k.not_globs.is_empty()) || k.slots.is_some()
    }

    /// Whether a key of this name may be wanted.
    #[inline]
    pub fn key(&self, key: &[u8]) -> bool {
        let k = &self.keys;
        let hit = if k.globs.is_empty() {
            k.regexes.is_empty()
        } else {
            k.globs.iter().any(|g| g.matches(key))
        };
        (hit || !k.regexes.is_empty())
            && !k.not_globs.iter().any(|g| g.matches(key))
            && k.slots.as_ref().is_none_or(|s| s.has(slot(key)))
            && (hit || k.regexes.iter().any(|r| r.is_match(key)))
    }

    /// Whether [`size`](Filter::size) has anything to ask; if not, the value's end need not be known.
    #[inline]
    pub fn needs_size(&self) -> bool {
        self.sizes != SizeRange::default()
    }

    /// Whether a value of this many bytes, as serialized in the file, may be wanted.
    #[inline]
    pub fn size(&self, rdb_bytes: u64) -> bool {
        self.sizes.min <= rdb_bytes && rdb_bytes <= self.sizes.max
    }
}

/// A set of database numbers.
///
/// ```
/// use rdbtool::filter::DbSet;
/// let set: DbSet = "0,3-5".parse().unwrap();
/// assert!(set.has(0) && set.has(4) && !set.has(1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DbSet(Vec<(u64, u64)>);

impl DbSet {
    /// Whether a database is in the set.
    #[inline]
    pub fn has(&self, db: u64) -> bool {
        self.0.iter().any(|&(from, to)| from <= db && db <= to)
    }
}

/// Reads numbers and ranges of numbers between commas: `0,3-5`.
impl FromStr for DbSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ranges(text, u64::MAX, "databases such as 0,3-5").map(DbSet)
    }
}

/// Numbers up to `max` and ranges of them, between commas: `0,3-5` is (0, 0), (3, 5).
fn ranges(text: &str, max: u64, example: &str) -> Result<Vec<(u64, u64)>, String> {
    let number = |digits: &str| {
        let digits = digits.trim();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!(
                "{text:?} is not a list of numbers and ranges: expected {example}"
            ));
        }
        match digits.parse::<u64>() {
            Ok(n) if n <= max => Ok(n),
            _ => Err(format!(
                "{digits} is too large, the largest is {max}: expected {example}"
            )),
        }
    };
    text.split(',')
        .map(|item| {
            if item.trim().is_empty() {
                return Err(format!("{text:?} has an empty place: expected {example}"));
            }
            let (from, to) = item.split_once('-').unwrap_or((item, item));
            let (from, to) = (number(from)?, number(to)?);
            if from > to {
                return Err(format!("{from}-{to} is reversed: expected {example}"));
            }
            Ok((from, to))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_769_860_800_000;

    fn filter(options: Options) -> Filter {
        Filter::new(options, NOW).unwrap()
    }

    fn globs(patterns: &[&str]) -> Vec<Glob> {
        patterns.iter().map(|p| Glob::new(p.as_bytes())).collect()
    }

    #[test]
    fn databases() {
        let rows: &[(&str, &[u64], &[u64])] = &[
            ("0", &[0], &[1]),
            ("0,3-5", &[0, 3, 4, 5], &[1, 2, 6]),
            ("5-5", &[5], &[4, 6]),
            ("3-5,4-9", &[3, 9], &[2, 10]),
            (" 1 , 3 - 4 ", &[1, 3], &[2]),
            ("18446744073709551615", &[u64::MAX], &[0]),
        ];
        for &(text, yes, no) in rows {
            let f = filter(Options {
                db: Some(text.parse().unwrap()),
                ..Options::default()
            });
            assert!(yes.iter().all(|&db| f.db(db)), "{text}");
            assert!(!no.iter().any(|&db| f.db(db)), "{text}");
            assert!(!f.is_pass_all());
        }
    }

    #[test]
    fn databases_refused() {
        for (text, what) in [
            ("", "empty place"),
            (" ", "empty place"),
            ("1,", "empty place"),
            (",1", "empty place"),
            ("5-3", "5-3 is reversed"),
            ("1,7-3", "7-3 is reversed"),
            ("-1", "not a list"),
            ("1-", "not a list"),
            ("1-2-3", "not a list"),
            ("+1", "not a list"),
            ("0x1", "not a list"),
            ("one", "not a list"),
            ("\u{661}", "not a list"),
            (
                "18446744073709551616",
                "18446744073709551616 is too large, the largest is 18446744073709551615",
            ),
        ] {
            let e = text.parse::<DbSet>().unwrap_err();
            assert!(e.contains(what) && e.contains("0,3-5"), "{text:?}: {e}");
        }
    }

    #[test]
    fn no_options_pass_everything() {
        for f in [Filter::default(), filter(Options::default())] {
            assert!(f.is_pass_all() && !f.needs_key() && !f.needs_size());
            assert!(f.db(u64::MAX) && f.key(b"") && f.size(0) && f.size(u64::MAX));
            for t in LogicalType::ALL {
                assert!(f.head(t, None) && f.head(t, Some(i64::MIN)) && f.head(t, Some(i64::MAX)));
            }
        }
    }

    #[test]
    fn what_passes_all_is_no_question() {
        let f = filter(Options {
            key: globs(&["a", "*"]),
            key_regex: vec![parse_regex("x").unwrap()],
            slot: Some("0-16383".parse().unwrap()),
            types: Some(TypeSet::ALL),
            min_size: Some(Size(0)),
            max_size: Some(Size(u64::MAX)),
            ..Options::default()
        });
        assert!(f.is_pass_all(), "{f:?}");
    }

    /// Each option by itself makes a question, and exactly that one.
    #[test]
    fn each_option_asks() {
        let d = Options::default;
        let rows = [
            (
                "db",
                Options {
                    db: Some("1".parse().unwrap()),
                    ..d()
                },
                false,
                false,
            ),
            (
                "key",
                Options {
                    key: globs(&["a"]),
                    ..d()
                },
                true,
                false,
            ),
            (
                "not-key",
                Options {
                    not_key: globs(&["a"]),
                    ..d()
                },
                true,
                false,
            ),
            (
                "key-regex",
                Options {
                    key_regex: vec![parse_regex("a").unwrap()],
                    ..d()
                },
                true,
                false,
            ),
            (
                "slot",
                Options {
                    slot: Some("1".parse().unwrap()),
                    ..d()
                },
                true,
                false,
            ),
            (
                "type",
                Options {
                    types: Some("set".parse().unwrap()),
                    ..d()
                },
                false,
                false,
            ),
            (
                "expires",
                Options {
                    expires: vec![Expires::Any],
                    ..d()
                },
                false,
                false,
            ),
            (
                "expired",
                Options {
                    expired: Expired::Drop,
                    ..d()
                },
                false,
                false,
            ),
            (
                "min-size",
                Options {
                    min_size: Some(Size(1)),
                    ..d()
                },
                false,
                true,
            ),
            (
                "max-size",
                Options {
                    max_size: Some(Size(1)),
                    ..d()
                },
                false,
                true,
            ),
        ];
        for (name, options, key, size) in rows {
            let f = filter(options);
            assert!(!f.is_pass_all(), "{name}");
            assert_eq!((f.needs_key(), f.needs_size()), (key, size), "{name}");
        }
    }

    #[test]
    fn keys() {
        // Slots: foo 12182, bar 5061.
        let rows: &[(&str, [&[&str]; 3], &str, &[&str], &[&str])] = &[
            (
                "one glob",
                [&["a*"], &[], &[]],
                "",
                &["a", "ab"],
                &["b", ""],
            ),
            (
                "any glob",
                [&["a*", "b"], &[], &[]],
                "",
                &["a", "b"],
                &["c"],
            ),
            (
                "any not-glob drops",
                [&[], &["a*", "b"], &[]],
                "",
                &["c", ""],
                &["a1", "b"],
            ),
            (
                "not-glob beats glob",
                [&["a*"], &["*z"], &[]],
                "",
                &["ab"],
                &["az", "b"],
            ),
            (
                "any regex",
                [&[], &[], &["^a", "z$"]],
                "",
                &["ab", "bz"],
                &["bb"],
            ),
            (
                "glob or regex",
                [&["a*"], &[], &["z$"]],
                "",
                &["ab", "bz"],
                &["bb"],
            ),
            (
                "not-glob beats regex",
                [&[], &["x*"], &["z$"]],
                "",
                &["bz"],
                &["xz", "b"],
            ),
            (
                "slot",
                [&[], &[], &[]],
                "12182",
                &["foo", "{foo}1"],
                &["bar", ""],
            ),
            (
                "slot and glob",
                [&["f*"], &[], &[]],
                "5061,12182",
                &["foo"],
                &["bar", "f"],
            ),
            (
                "slot and regex",
                [&[], &[], &["o$"]],
                "12182",
                &["foo"],
                &["bar", "zoo", "{foo}1"],
            ),
        ];
        for (name, [key, not_key, regex], slot, yes, no) in rows {
            let f = filter(Options {
                key: globs(key),
                not_key: globs(not_key),
                key_regex: regex.iter().map(|r| parse_regex(r).unwrap()).collect(),
                slot: (!slot.is_empty()).then(|| slot.parse().unwrap()),
                ..Options::default()
            });
            for k in *yes {
                assert!(f.key(k.as_bytes()), "{name}: {k:?}");
            }
            for k in *no {
                assert!(!f.key(k.as_bytes()), "{name}: {k:?}");
            }
        }
    }

    #[test]
    fn heads() {
        let f = filter(Options {
            types: Some("hash,zset".parse().unwrap()),
            expires: vec!["before=now+2h".parse().unwrap()],
            expired: Expired::Drop,
            ..Options::default()
        });
        let rows = [
            (
                "in two hours",
                LogicalType::Hash,
                Some(NOW + 7_200_000),
                false,
            ),
            (
                "just before",
                LogicalType::Hash,
                Some(NOW + 7_199_999),
                true,
            ),
            ("now is not expired", LogicalType::Zset, Some(NOW), true),
            ("expired", LogicalType::Zset, Some(NOW - 1), false),
            ("without", LogicalType::Hash, None, false),
            ("other type", LogicalType::Set, Some(NOW), false),
        ];
        for (name, t, expire, want) in rows {
            assert_eq!(f.head(t, expire), want, "{name}");
        }
    }

    #[test]
    fn sizes_include_both_ends() {
        let f = filter(Options {
            min_size: Some(Size(10)),
            max_size: Some("1k".parse().unwrap()),
            ..Options::default()
        });
        for (size, want) in [(9, false), (10, true), (1024, true), (1025, false)] {
            assert_eq!(f.size(size), want, "{size}");
        }
    }

    #[test]
    fn contradictions_refused() {
        let rows = [
            (
                Options {
                    min_size: Some(Size(2)),
                    max_size: Some(Size(1)),
                    ..Options::default()
                },
                "--min-size (2 bytes) is more than --max-size (1 bytes)",
            ),
            (
                Options {
                    expires: vec![Expires::None, Expires::Any],
                    ..Options::default()
                },
                "no key can meet all of --expires",
            ),
        ];
        for (options, what) in rows {
            let e = Filter::new(options, NOW).unwrap_err();
            assert!(e.contains(what), "{e}");
        }
    }
}
