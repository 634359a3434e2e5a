//! The commands that servers know: since when, what they are about, which of their arguments are keys.
//!
//! The rows stand in `commands.tsv`, which says of each column what it is in its first line; it was made from what servers answer to
//! `COMMAND` and `COMMAND DOCS`, and for modules from their documentation. They are read once, when first asked for.
//!
//! ```text
//!   name    subcommand  since                     server  flags          first last step  movable          ...
//!   DEL     -           1.0.0                     both    write          1     -1   1     -
//!   XGROUP  CREATE      5.0.0                     both    write,denyoom  2     2    1     -
//!   MSETEX  -           redis:8.4.0;valkey:9.1.0  both    write,denyoom  0     0    0     NUMKEYSPAIRS@1
//! ```

use crate::rdb::release::Release;
use std::sync::LazyLock;

/// How the keys of a command are found. Arguments are counted from the name, which is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// It has none.
    None,
    /// Every `step`th argument from `first` to `last`; a `last` below 0 counts from behind, -1 is the last argument.
    Range {
        /// The first key.
        first: u64,
        /// The last argument that may be one.
        last: i64,
        /// From key to key.
        step: u64,
    },
    /// As many as the argument of this number says, behind it.
    Counted(u64),
    /// The first argument, and as many as the argument of this number says, behind it.
    FirstAndCounted(u64),
    /// As many as the argument of this number says, behind it, each with a value.
    CountedPairs(u64),
    /// XREAD, XREADGROUP: the first half of what stands behind STREAMS.
    Streams,
    /// SORT: the first argument, and the one behind the last STORE.
    Sort,
    /// GEORADIUS, GEORADIUSBYMEMBER: the first argument, and from this one on the one behind the last STORE or STOREDIST.
    GeoStore(u64),
    /// MIGRATE: the third argument if it is not empty, or what stands behind KEYS.
    Migrate,
}

/// What a command does beside reading and writing its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing.
    Data,
    /// SELECT: what follows is for another database.
    Select,
    /// MULTI: what follows is done at once, at EXEC.
    Multi,
    /// EXEC
    Exec,
    /// DISCARD, WATCH, UNWATCH: nothing where commands are only repeated.
    Transaction,
    /// FLUSHALL
    FlushAll,
    /// FLUSHDB
    FlushDb,
    /// SWAPDB: of two databases.
    SwapDb,
    /// MOVE: its second argument is another database.
    Move,
    /// COPY: may name another database.
    Copy,
    /// It does the same to each key by itself: with some of its keys left out it does to the others what it would have done.
    Each,
    /// EVAL, FCALL and their like: may reach keys that they do not name.
    Script,
    /// Of a node in a cluster, not of the data.
    Node,
}

/// A command, or a subcommand of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// In capitals.
    pub name: &'static str,
    /// In capitals.
    pub subcommand: Option<&'static str>,
    /// Where its keys are.
    pub keys: Keys,
    /// What else it does.
    pub role: Role,
    /// Whether it may change data.
    pub writes: bool,
    /// The module it is of.
    pub module: Option<&'static str>,
    /// The first releases that have it.
    redis: Option<(u16, u16)>,
    valkey: Option<(u16, u16)>,
}

impl Spec {
    /// Whether servers of a release have it. Of a command of a module that cannot be told: true.
    pub fn is_in(&self, release: Release) -> bool {
        const NEVER: (u16, u16) = (u16::MAX, u16::MAX);
        self.module.is_some()
            || release.is_at_least(self.redis.unwrap_or(NEVER), self.valkey.unwrap_or(NEVER))
    }

    fn read(row: &'static str) -> Option<Spec> {
        let mut columns = row.split('\t');
        let mut column = || columns.next();
        let name = column()?;
        let subcommand = Some(column()?).filter(|s| *s != "-");
        let since = column()?;
        let server = column()?;
        let flags = column()?;
        let [first, last, step]: [i64; 3] = [
            column()?.parse().ok()?,
            column()?.parse().ok()?,
            column()?.parse().ok()?,
        ];
        let keys = match column()? {
            "-" if first == 0 => Keys::None,
            "-" => Keys::Range {
                first: first.unsigned_abs(),
                last,
                step: step.unsigned_abs().max(1),
            },
            rule => Keys::read(rule)?,
        };
        let (redis, valkey) = versions(since, server);
        Some(Spec {
            name,
            subcommand,
            keys,
            role: role(name, keys),
            writes: flags.split(',').any(|f| f == "write"),
            module: server.strip_prefix("module:"),
            redis,
            valkey,
        })
    }
}

impl Keys {
    /// A rule of the column `movable`.
    fn read(rule: &str) -> Option<Keys> {
        let (name, at) = rule.split_once('@').unwrap_or((rule, "0"));
        let range = |last| Keys::Range {
            first: 1,
            last,
            step: 1,
        };
        Some(match name {
            "NUMKEYS" => Keys::Counted(at.parse().ok()?),
            "NUMKEYSPAIRS" => Keys::CountedPairs(at.parse().ok()?),
            "KEY" => match at.split_once("+NUMKEYS@") {
                Some((_, at)) => Keys::FirstAndCounted(at.parse().ok()?),
                None => range(1),
            },
            "KEYS" => range(2),
            "STREAMS" => Keys::Streams,
            "SORT" => Keys::Sort,
            "GEOSTORE" => Keys::GeoStore(at.parse().ok()?),
            "MIGRATE" => Keys::Migrate,
            _ => return None,
        })
    }
}

/// The first Redis and the first Valkey that have a command. What was there before Valkey began, with 7.2, it has too.
fn versions(since: &str, server: &str) -> (Option<(u16, u16)>, Option<(u16, u16)>) {
    let version = |text: &str| -> Option<(u16, u16)> {
        let mut numbers = text.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    };
    if let Some((redis, valkey)) = since.split_once(';') {
        let of = |text: &str, family| text.strip_prefix(family).and_then(version);
        return (of(redis, "redis:"), of(valkey, "valkey:"));
    }
    let first = version(since);
    match server {
        "redis" => (first, None),
        "valkey" => (None, first),
        _ => (first, first.map(|v| if v <= (7, 2) { (0, 0) } else { v })),
    }
}

fn role(name: &str, keys: Keys) -> Role {
    match name {
        "SELECT" => Role::Select,
        "MULTI" => Role::Multi,
        "EXEC" => Role::Exec,
        "DISCARD" | "WATCH" | "UNWATCH" => Role::Transaction,
        "FLUSHALL" => Role::FlushAll,
        "FLUSHDB" => Role::FlushDb,
        "SWAPDB" => Role::SwapDb,
        "MOVE" => Role::Move,
        "COPY" => Role::Copy,
        "DEL" | "UNLINK" | "TOUCH" | "EXISTS" | "MSET" | "JSON.MSET" | "TS.MADD" => Role::Each,
        "CLUSTER" | "TRIMSLOTS" => Role::Node,
        _ if keys == Keys::Counted(2) && name.contains("EVAL") || name.starts_with("FCALL") => {
            Role::Script
        }
        _ => Role::Data,
    }
}

/// The rows, by name, and where each is found.
struct Table {
    rows: Vec<Spec>,
    /// By hash of the name: the row of that name, plus one; 0 for none. Collisions are in the places behind.
    places: Vec<u16>,
}

/// More places than rows, and a power of two.
const PLACES: usize = 2048;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut rows: Vec<Spec> = include_str!("commands.tsv")
        .lines()
        .skip(1)
        .filter_map(Spec::read)
        .collect();
    // A name's own row before those of its subcommands.
    rows.sort_by(|a, b| (a.name, a.subcommand).cmp(&(b.name, b.subcommand)));
    let mut places = vec![0; PLACES];
    let mut last = "";
    for (i, row) in rows.iter().enumerate() {
        if row.name == last {
            continue;
        }
        last = row.name;
        let mut at = hash(row.name.as_bytes());
        while places[at] != 0 {
            at = (at + 1) % PLACES;
        }
        places[at] = i as u16 + 1;
    }
    Table { rows, places }
});

/// Where a name is looked for first, whatever its case.
#[inline]
fn hash(name: &[u8]) -> usize {
    let mut h = 0xcbf2_9ce4_8422_2325u64 ^ name.len() as u64;
    for &b in name {
        h = (h ^ u64::from(b | 0x20)).wrapping_mul(0x0100_0000_01b3);
    }
    (h ^ h >> 32) as usize % PLACES
}

/// What is known of a command: of its subcommand, if `second`, its first argument, is the name of one; `None` if it is of no server and
/// no module known here. Case does not matter.
///
/// ```
/// use rdbtool::command::table::{Keys, lookup};
/// assert_eq!(lookup(b"xgroup", Some(b"create")).unwrap().subcommand, Some("CREATE"));
/// assert_eq!(lookup(b"FLUSHALL", None).unwrap().keys, Keys::None);
/// assert!(lookup(b"NOSUCH", None).is_none());
/// ```
#[inline]
pub fn lookup(name: &[u8], second: Option<&[u8]>) -> Option<&'static Spec> {
    lookup_with(name, || second)
}

/// The same where the second name is asked for only if there are subcommands.
#[inline]
pub(super) fn lookup_with<'a>(
    name: &[u8],
    second: impl FnOnce() -> Option<&'a [u8]>,
) -> Option<&'static Spec> {
    let table = &*TABLE;
    let mut at = hash(name);
    loop {
        let row = usize::from(*table.places.get(at)?).checked_sub(1)?;
        let found = table.rows.get(row)?;
        if found.name.as_bytes().eq_ignore_ascii_case(name) {
            let behind = table.rows.get(row + 1..).unwrap_or_default();
            return Some(match behind.first() {
                Some(next) if next.name == found.name => {
                    subcommand(behind, found.name, second()).unwrap_or(found)
                }
                _ => found,
            });
        }
        at = (at + 1) % PLACES;
    }
}

/// The row of a subcommand, of those at the start of `rows` that have this name.
fn subcommand(rows: &'static [Spec], name: &str, second: Option<&[u8]>) -> Option<&'static Spec> {
    let second = second?;
    let is = |s: &str| s.as_bytes().eq_ignore_ascii_case(second);
    let mut rows = rows.iter().take_while(|r| r.name == name);
    rows.find(|r| r.subcommand.is_some_and(is))
}

/// Every row, sorted by name.
pub fn all() -> &'static [Spec] {
    &TABLE.rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_found() {
        let rows = include_str!("commands.tsv").lines().skip(1).count();
        assert_eq!(all().len(), rows);
        for spec in all() {
            let second = spec.subcommand.map(str::as_bytes);
            for name in [spec.name.to_owned(), spec.name.to_lowercase()] {
                assert_eq!(lookup(name.as_bytes(), second), Some(spec), "{name}");
            }
        }
    }

    #[test]
    fn releases() {
        let redis = Release::redis;
        let valkey = Release::valkey;
        let rows: [(&str, Option<&str>, Release, bool); 12] = [
            ("GET", None, redis(2, 4), true),
            ("GET", None, valkey(8, 0), true),
            ("UNLINK", None, redis(3, 2), false),
            ("UNLINK", None, redis(4, 0), true),
            ("UNLINK", None, valkey(7, 2), true),
            ("HPEXPIREAT", None, redis(7, 2), false),
            ("HPEXPIREAT", None, valkey(8, 1), false),
            ("HPEXPIREAT", None, valkey(9, 0), true),
            ("VADD", None, valkey(9, 1), false),
            ("DELIFEQ", None, redis(8, 8), false),
            ("XGROUP", Some("CREATECONSUMER"), redis(6, 0), false),
            ("JSON.SET", None, redis(4, 0), true),
        ];
        for (name, sub, release, want) in rows {
            let spec = lookup(name.as_bytes(), sub.map(str::as_bytes)).unwrap();
            assert_eq!(spec.is_in(release), want, "{name} {sub:?} {release}");
        }
    }

    #[test]
    fn a_container_with_an_unknown_subcommand_is_itself() {
        assert_eq!(lookup(b"XGROUP", Some(b"BREED")).unwrap().subcommand, None);
        assert_eq!(lookup(b"", None), None);
    }

    #[test]
    fn roles() {
        for (name, want) in [
            ("eval", Role::Script),
            ("evalsha_ro", Role::Script),
            ("fcall", Role::Script),
            ("bzmpop", Role::Data),
            ("del", Role::Each),
            ("multi", Role::Multi),
            ("trimslots", Role::Node),
        ] {
            assert_eq!(lookup(name.as_bytes(), None).unwrap().role, want, "{name}");
        }
    }
}
