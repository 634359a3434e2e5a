//! The nine bytes a file begins with.
//!
//! ```text
//!   "REDIS"  4 digits      versions 1 to 79: Redis, and Valkey up to 8.1
//!   "VALKEY" 3 digits      versions 80 and up: Valkey 9 and later
//! ```
//!
//! The magic decides what type 22 and opcode 243 mean, so it is kept.

use crate::error::{RdbError, Result};

/// Bytes of magic and version together.
pub const HEADER_LEN: usize = 9;
/// The newest version of the Redis line known here.
pub const NEWEST_REDIS: u32 = 15;
/// The newest version of the Valkey line known here.
pub const NEWEST_VALKEY: u32 = 80;
/// From this version on a CRC-64 follows the EOF opcode.
pub const CHECKSUM_SINCE: u32 = 5;

/// Whose tables of types and opcodes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The `REDIS` magic.
    Redis,
    /// The `VALKEY` magic.
    Valkey,
}

/// Magic and version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// Whose tables hold.
    pub dialect: Dialect,
    /// The version: 1 to 79 for Redis, 80 and up for Valkey.
    pub version: u32,
}

impl Header {
    /// The newest there is of Redis: for a file that is made of nothing.
    pub const NEWEST: Header = Header {
        dialect: Dialect::Redis,
        version: NEWEST_REDIS,
    };

    /// Of what has no RDB data, as a log from its first byte on: a version that no file has.
    pub const NONE: Header = Header {
        dialect: Dialect::Redis,
        version: 0,
    };

    /// Whether `bytes` begin as an RDB file does.
    pub fn is_magic(bytes: &[u8]) -> bool {
        bytes.starts_with(b"REDIS") || bytes.starts_with(b"VALKEY")
    }

    /// Reads the nine bytes.
    ///
    /// ```
    /// use rdbtool::rdb::header::{Dialect, Header};
    /// let h = Header::read(b"VALKEY080").unwrap();
    /// assert_eq!((h.dialect, h.version), (Dialect::Valkey, 80));
    /// ```
    pub fn read(bytes: &[u8]) -> Result<Header> {
        if bytes.len() < HEADER_LEN {
            return Err(RdbError::eof(
                0,
                format!(
                    "the input ends inside the magic and version: {HEADER_LEN} bytes expected, {} there",
                    bytes.len()
                ),
            ));
        }
        let (dialect, digits) = if bytes.starts_with(b"REDIS") {
            (Dialect::Redis, &bytes[5..HEADER_LEN])
        } else if bytes.starts_with(b"VALKEY") {
            (Dialect::Valkey, &bytes[6..HEADER_LEN])
        } else {
            return Err(RdbError::corrupt(
                0,
                "no RDB file: it begins with neither REDIS nor VALKEY",
            ));
        };
        let mut version = 0;
        for &d in digits {
            if !d.is_ascii_digit() {
                return Err(RdbError::corrupt(
                    0,
                    format!("version \"{}\": expected digits", digits.escape_ascii()),
                ));
            }
            version = version * 10 + u32::from(d - b'0');
        }
        let known = match dialect {
            Dialect::Redis => 1..=79,
            Dialect::Valkey => 80..=99,
        };
        if !known.contains(&version) {
            return Err(RdbError::unsupported(
                0,
                format!(
                    "version {version} cannot be under the magic {}: expected {} to {}",
                    match dialect {
                        Dialect::Redis => "REDIS",
                        Dialect::Valkey => "VALKEY",
                    },
                    known.start(),
                    known.end()
                ),
            ));
        }
        Ok(Header { dialect, version })
    }

    /// Whether a CRC-64 follows the EOF opcode.
    pub fn has_checksum(&self) -> bool {
        self.version >= CHECKSUM_SINCE
    }

    /// Whether this build knows all that a file of this version may hold.
    pub fn is_known(&self) -> bool {
        match self.dialect {
            Dialect::Redis => self.version <= NEWEST_REDIS,
            Dialect::Valkey => self.version <= NEWEST_VALKEY,
        }
    }

    /// The versions this build knows, for messages.
    pub(crate) fn known(&self) -> String {
        format!(
            "file version {}; this build knows versions 1 to {NEWEST_REDIS} of Redis and {NEWEST_VALKEY} of Valkey",
            self.version
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn magics() {
        let rows: [(&[u8], Result<(Dialect, u32), ErrorKind>); 8] = [
            (b"REDIS0001", Ok((Dialect::Redis, 1))),
            (b"REDIS0012x", Ok((Dialect::Redis, 12))),
            (b"VALKEY080", Ok((Dialect::Valkey, 80))),
            (b"REDIS0000", Err(ErrorKind::Unsupported)),
            (b"REDIS0080", Err(ErrorKind::Unsupported)),
            (b"VALKEY011", Err(ErrorKind::Unsupported)),
            (b"REDIS00x1", Err(ErrorKind::Corrupt)),
            (b"REDIS001", Err(ErrorKind::UnexpectedEof)),
        ];
        for (bytes, want) in rows {
            let got = Header::read(bytes)
                .map(|h| (h.dialect, h.version))
                .map_err(|e| e.kind());
            assert_eq!(got, want, "{}", bytes.escape_ascii());
        }
    }
}
