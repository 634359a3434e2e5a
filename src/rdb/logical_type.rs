//! The types a user knows: string, list, set, and so on, whatever the encoding in the file.
//!
//! ```text
//!   hash <- type bytes 4, 9, 13, 16, 22 to 25 ...     a logical type has many type bytes, a type byte one logical type
//! ```
//!
//! The names are those of the server's TYPE command, except for module values, which TYPE calls by the name of their
//! module's type.

use std::fmt;
use std::str::FromStr;

/// What a key holds, as the server's TYPE command tells it.
///
/// ```
/// use rdbtool::rdb::LogicalType;
/// assert_eq!("zset".parse(), Ok(LogicalType::Zset));
/// assert_eq!(LogicalType::Zset.name(), "zset");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogicalType {
    /// A byte string; bitmaps and HyperLogLogs are strings too.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set; geo indexes are sorted sets too.
    Zset,
    /// A hash, with or without expiries per field.
    Hash,
    /// A stream (Redis 5.0 and later).
    Stream,
    /// A value of a module, RedisJSON for one; vector sets are module values too.
    Module,
    /// A sparse array (Redis 8.8 and later).
    Array,
    /// A rate limiter, GCRA (special builds of Redis 8.10 only).
    RateLimiter,
}

impl LogicalType {
    /// Every type, in the order of the variants.
    pub const ALL: [LogicalType; 9] = [
        LogicalType::String,
        LogicalType::List,
        LogicalType::Set,
        LogicalType::Zset,
        LogicalType::Hash,
        LogicalType::Stream,
        LogicalType::Module,
        LogicalType::Array,
        LogicalType::RateLimiter,
    ];

    /// The name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            LogicalType::String => "string",
            LogicalType::List => "list",
            LogicalType::Set => "set",
            LogicalType::Zset => "zset",
            LogicalType::Hash => "hash",
            LogicalType::Stream => "stream",
            LogicalType::Module => "module",
            LogicalType::Array => "array",
            LogicalType::RateLimiter => "gcra",
        }
    }
}

impl fmt::Display for LogicalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Reads a [`name`](LogicalType::name), in any case, as the server's `SCAN ... TYPE` does.
impl FromStr for LogicalType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|t| t.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("{text:?} is no type: the types are {names}")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for (i, t) in LogicalType::ALL.into_iter().enumerate() {
            assert_eq!(t as usize, i, "{t} stands in its place in ALL");
            assert_eq!(t.name().parse(), Ok(t));
            assert_eq!(t.name().to_uppercase().parse(), Ok(t));
            assert_eq!(t.to_string(), t.name());
        }
    }

    #[test]
    fn other_names_are_refused() {
        for text in ["", "strings", "sortedset", " hash", "ratelimiter", "hásh"] {
            let e = text.parse::<LogicalType>().unwrap_err();
            assert!(e.contains("string, list, set, zset, hash"), "{text:?}: {e}");
        }
    }
}
