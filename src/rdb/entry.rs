//! One key record: everything that is known of a key without decoding its value.

use super::string::RdbStr;
use super::value_type::ValueType;

/// A key, what the file says of it, and its value as serialized.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The database.
    pub db: u64,
    /// The key, in whatever form the file has it.
    pub key: RdbStr<'a>,
    /// Milliseconds since 1970 at which the key expires, as stored; may lie in the past, or be negative.
    pub expire_at_ms: Option<i64>,
    /// Seconds since the last access; files of servers with an LRU policy.
    pub idle_s: Option<u64>,
    /// Logarithmic access counter, 0 to 255; files of servers with an LFU policy.
    pub freq: Option<u8>,
    /// What the value is and how it is encoded.
    pub value_type: ValueType,
    /// Metadata that modules attached to the key (Redis 8.6 and later): everything after the opcode. Empty when there is none.
    pub metadata: &'a [u8],
    /// The value as serialized: what follows the key, up to the next item.
    pub body: &'a [u8],
    /// Offset of the first byte of `body` in the file.
    pub body_offset: u64,
    /// Offset of the record in the file: of its first attribute, or of its type byte.
    pub offset: u64,
}
