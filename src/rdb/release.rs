//! Releases of servers: which RDB version each writes, which value types it loads, which label its RESTORE takes.
//!
//! ```text
//!   Redis   2.4   2.6-3.0   3.2   4.0   5.0-6.2   7.0   7.2   7.4-8.4   8.6   8.8   8.10
//!   RDB     2     6         7     8     9         10    11    12        13    14    15
//!
//!   Valkey  7.2-8.1   9.0-
//!   RDB     11        80      the 12 to 79 of the other line are refused, even around a type that Valkey knows
//! ```
//!
//! A type is loaded by every release of its line whose RDB version is not lower than the one that brought it
//! ([`ValueType::since`]).

use super::header::{Dialect, Header};
use super::value_type::ValueType;
use std::fmt;
use std::str::FromStr;

/// Whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
}

/// A release of a server, as far as formats and commands depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Release {
    /// Whose.
    pub engine: Engine,
    /// Major and minor version.
    pub version: (u16, u16),
}

/// RESTORE came with this RDB version; labels below it are refused by the servers that brought it.
const FIRST_LABEL: u32 = 6;

impl Release {
    /// Redis `major.minor`.
    pub const fn redis(major: u16, minor: u16) -> Release {
        Release {
            engine: Engine::Redis,
            version: (major, minor),
        }
    }

    /// Valkey `major.minor`.
    pub const fn valkey(major: u16, minor: u16) -> Release {
        Release {
            engine: Engine::Valkey,
            version: (major, minor),
        }
    }

    /// The RDB version it writes.
    pub fn rdb_version(self) -> u32 {
        match (self.engine, self.version) {
            (Engine::Valkey, v) if v >= (9, 0) => 80,
            (Engine::Valkey, _) => 11,
            (Engine::Redis, v) if v >= (8, 10) => 15,
            (Engine::Redis, v) if v >= (8, 8) => 14,
            (Engine::Redis, v) if v >= (8, 6) => 13,
            (Engine::Redis, v) if v >= (7, 4) => 12,
            (Engine::Redis, v) if v >= (7, 2) => 11,
            (Engine::Redis, v) if v >= (7, 0) => 10,
            (Engine::Redis, v) if v >= (5, 0) => 9,
            (Engine::Redis, v) if v >= (4, 0) => 8,
            (Engine::Redis, v) if v >= (3, 2) => 7,
            (Engine::Redis, v) if v >= (2, 6) => 6,
            (Engine::Redis, v) if v >= (2, 4) => 2,
            (Engine::Redis, _) => 1,
        }
    }

    /// Magic and version of the files it writes.
    pub fn header(self) -> Header {
        let version = self.rdb_version();
        Header {
            dialect: match version {
                80.. => Dialect::Valkey,
                _ => Dialect::Redis,
            },
            version,
        }
    }

    /// The first release that wrote files with this header, or one that stands for it.
    pub fn writing(h: Header) -> Release {
        match (h.dialect, h.version) {
            (Dialect::Valkey, _) => Release::valkey(9, 0),
            (Dialect::Redis, ..2) => Release::redis(2, 2),
            (Dialect::Redis, 2..6) => Release::redis(2, 4),
            (Dialect::Redis, 6) => Release::redis(2, 8),
            (Dialect::Redis, 7) => Release::redis(3, 2),
            (Dialect::Redis, 8) => Release::redis(4, 0),
            (Dialect::Redis, 9) => Release::redis(5, 0),
            (Dialect::Redis, 10) => Release::redis(7, 0),
            (Dialect::Redis, 11) => Release::redis(7, 2),
            (Dialect::Redis, 12) => Release::redis(7, 4),
            (Dialect::Redis, 13) => Release::redis(8, 6),
            (Dialect::Redis, 14) => Release::redis(8, 8),
            (Dialect::Redis, _) => Release::redis(8, 10),
        }
    }

    /// Whether it loads values of type `t`, from a file or a RESTORE payload.
    pub fn loads(self, t: ValueType) -> bool {
        match t {
            // Only release candidates wrote these, and nothing else reads them.
            ValueType::ModulePreGa
            | ValueType::HashMetadataPreGa
            | ValueType::HashListpackExPreGa => false,
            ValueType::Hash2 => self.rdb_version() >= 80,
            _ => {
                t.since()
                    <= self.rdb_version().min(match self.engine {
                        Engine::Redis => u32::MAX,
                        Engine::Valkey => 11,
                    })
            }
        }
    }

    /// The version to put on a RESTORE payload of type `t`, which it [loads](Release::loads).
    ///
    /// The lowest that has the type; but Redis 2.6 to 3.2.0 take no other than their own.
    pub fn label(self, t: ValueType) -> u32 {
        match (self.engine, self.version) {
            (Engine::Redis, v) if v < (4, 0) => self.rdb_version(),
            _ => label(t),
        }
    }

    /// Whether it is Redis of at least, or Valkey of at least, these versions. Every Valkey is at least Redis 7.2.
    pub fn is_at_least(self, redis: (u16, u16), valkey: (u16, u16)) -> bool {
        match self.engine {
            Engine::Redis => self.version >= redis,
            Engine::Valkey => self.version >= valkey,
        }
    }
}

/// The version to put on a RESTORE payload of type `t` when it is not known who reads it: the lowest that has the type.
pub fn label(t: ValueType) -> u32 {
    t.since().max(FIRST_LABEL)
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = match self.engine {
            Engine::Redis => "redis",
            Engine::Valkey => "valkey",
        };
        write!(f, "{engine}-{}.{}", self.version.0, self.version.1)
    }
}

/// `redis-6.2`, `valkey-8.1.3`, `redis-7`.
impl FromStr for Release {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{s:?} is no release: expected redis-MAJOR.MINOR or valkey-MAJOR.MINOR, as redis-6.2"
            )
        };
        let (engine, version) = s.split_once('-').ok_or_else(bad)?;
        let engine = match engine.to_ascii_lowercase().as_str() {
            "redis" => Engine::Redis,
            "valkey" => Engine::Valkey,
            _ => return Err(bad()),
        };
        let mut numbers = version
            .split('.')
            .map(|n| n.parse::<u16>().map_err(|_| bad()));
        let major = numbers.next().ok_or_else(bad)??;
        let minor = numbers.next().transpose()?.unwrap_or(0);
        numbers.try_for_each(|n| n.map(drop))?;
        if engine == Engine::Valkey && (major, minor) < (7, 2) {
            return Err(format!(
                "there is no Valkey {major}.{minor}: the first was 7.2"
            ));
        }
        Ok(Release {
            engine,
            version: (major, minor),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        assert_eq!("redis-6.2".parse(), Ok(Release::redis(6, 2)));
        assert_eq!("redis-6.2.16".parse(), Ok(Release::redis(6, 2)));
        assert_eq!("Valkey-9".parse(), Ok(Release::valkey(9, 0)));
        assert_eq!(Release::valkey(8, 1).to_string(), "valkey-8.1");
        for bad in [
            "",
            "redis",
            "redis-",
            "redis-x",
            "redis-6.x",
            "redis-6.2.x",
            "keydb-6.2",
            "valkey-6.2",
        ] {
            assert!(bad.parse::<Release>().is_err(), "{bad}");
        }
    }

    #[test]
    fn who_loads_what() {
        use ValueType as T;
        let rows = [
            (Release::redis(2, 8), T::HashZiplist, true),
            (Release::redis(2, 8), T::ListQuicklist, false),
            (Release::redis(6, 2), T::StreamListpacks, true),
            (Release::redis(6, 2), T::HashListpack, false),
            (Release::redis(7, 2), T::SetListpack, true),
            (Release::redis(8, 6), T::HashMetadata, true),
            (Release::redis(8, 6), T::HashMetadataPreGa, false),
            (Release::redis(8, 6), T::Hash2, false),
            (Release::valkey(8, 1), T::SetListpack, true),
            (Release::valkey(8, 1), T::HashMetadata, false),
            (Release::valkey(9, 0), T::HashMetadata, false),
            (Release::valkey(9, 0), T::Hash2, true),
            (Release::valkey(9, 0), T::StreamListpacks4, false),
        ];
        for (release, t, want) in rows {
            assert_eq!(release.loads(t), want, "{release} {t:?}");
        }
    }

    #[test]
    fn labels() {
        assert_eq!(Release::redis(3, 0).label(ValueType::String), 6);
        assert_eq!(Release::redis(3, 2).label(ValueType::String), 7);
        assert_eq!(Release::redis(8, 6).label(ValueType::String), 6);
        assert_eq!(Release::valkey(9, 1).label(ValueType::String), 6);
        assert_eq!(Release::valkey(9, 1).label(ValueType::Hash2), 80);
        assert_eq!(label(ValueType::HashListpackEx), 12);
    }
}
