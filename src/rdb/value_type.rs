//! Type byte -> logical type, encoding, and how the value is laid out.
//!
//! A new type touches: the table below, `skip`, the room of its logical type in `value/`, and the JSON encoder.

use super::header::Dialect;
use super::logical_type::LogicalType;

macro_rules! value_types {
    ($($variant:ident = $byte:literal, $logical:ident, $name:literal, $doc:literal;)*) => {
        /// The value type of a key record: what it is and how it is encoded.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ValueType {
            $(#[doc = $doc] $variant,)*
        }

        impl ValueType {
            /// Every type there is.
            pub const ALL: &'static [ValueType] = &[$(ValueType::$variant,)*];

            /// The byte in the file.
            pub fn byte(self) -> u8 {
                match self { $(ValueType::$variant => $byte,)* }
            }

            /// The type a client sees.
            pub fn logical(self) -> LogicalType {
                match self { $(ValueType::$variant => LogicalType::$logical,)* }
            }

            /// Logical type and encoding in words, as errors show them.
            pub fn name(self) -> &'static str {
                match self { $(ValueType::$variant => $name,)* }
            }
        }
    };
}

value_types! {
    String = 0, String, "string", "STR. RDB 1.";
    List = 1, List, "list", "LEN n, n × STR. RDB 1.";
    Set = 2, Set, "set", "LEN n, n × STR. RDB 1.";
    Zset = 3, Zset, "zset, text scores", "LEN n, n × (STR, text double). RDB 1.";
    Hash = 4, Hash, "hash", "LEN n, n × (STR, STR). RDB 1.";
    Zset2 = 5, Zset, "zset", "LEN n, n × (STR, f64 LE). RDB 8.";
    ModulePreGa = 6, Module, "module, 4.0 release candidate", "LEN id, bytes only the module can delimit. RDB 8.";
    Module2 = 7, Module, "module", "LEN id, module items. RDB 8.";
    HashZipmap = 9, Hash, "hash, zipmap", "STR zipmap. RDB 2.";
    ListZiplist = 10, List, "list, ziplist", "STR ziplist. RDB 2.";
    SetIntset = 11, Set, "set, intset", "STR intset. RDB 2.";
    ZsetZiplist = 12, Zset, "zset, ziplist", "STR ziplist of member, score. RDB 2.";
    HashZiplist = 13, Hash, "hash, ziplist", "STR ziplist of field, value. RDB 4.";
    ListQuicklist = 14, List, "list, quicklist", "LEN n, n × STR ziplist. RDB 7.";
    StreamListpacks = 15, Stream, "stream", "Stream, layout 1. RDB 9.";
    HashListpack = 16, Hash, "hash, listpack", "STR listpack of field, value. RDB 10.";
    ZsetListpack = 17, Zset, "zset, listpack", "STR listpack of member, score. RDB 10.";
    ListQuicklist2 = 18, List, "list, quicklist", "LEN n, n × (LEN container, STR). RDB 10.";
    StreamListpacks2 = 19, Stream, "stream", "Stream, layout 2. RDB 10.";
    SetListpack = 20, Set, "set, listpack", "STR listpack. RDB 11.";
    StreamListpacks3 = 21, Stream, "stream", "Stream, layout 3. RDB 11.";
    HashMetadataPreGa = 22, Hash, "hash with field expiry, 7.4 release candidate", "LEN n, n × (LEN expiry, STR, STR); `REDIS` magic. RDB 12.";
    HashListpackExPreGa = 23, Hash, "hash with field expiry, listpack, 7.4 release candidate", "STR listpack of field, value, expiry. RDB 12.";
    HashMetadata = 24, Hash, "hash with field expiry", "i64 LE min, LEN n, n × (LEN, STR, STR). RDB 12.";
    HashListpackEx = 25, Hash, "hash with field expiry, listpack", "i64 LE min, STR listpack of field, value, expiry. RDB 12.";
    StreamListpacks4 = 26, Stream, "stream", "Stream, layout 4. RDB 13.";
    StreamListpacks5 = 27, Stream, "stream", "Stream, layout 5. RDB 14.";
    Array = 28, Array, "array", "LEN n, LEN has cursor, \\[LEN cursor\\], n × (LEN index, LEN tag, payload). RDB 14.";
    HashTemplateListpack = 29, Hash, "hash, template with listpack", "field names, STR listpack of values. RDB 15.";
    HashTemplateListpackRef = 30, Hash, "hash, reference to a template, listpack", "STR listpack of template id, values. RDB 15.";
    HashTemplateArray = 31, Hash, "hash, template", "field names, values. RDB 15.";
    HashTemplateArrayRef = 32, Hash, "hash, reference to a template", "LEN template id, values. RDB 15.";
    Gcra = 33, RateLimiter, "gcra", "LEN theoretical arrival time. RDB 15.";
    Hash2 = 22, Hash, "hash with field expiry", "LEN n, n × (STR, STR, i64 LE expiry); `VALKEY` magic. RDB 80.";
}

impl ValueType {
    /// The type that byte `b` stands for, if any.
    #[inline]
    pub fn from_byte(b: u8, dialect: Dialect) -> Option<ValueType> {
        match dialect {
            Dialect::Redis => REDIS.get(usize::from(b)).copied().flatten(),
            Dialect::Valkey if b <= 21 => REDIS.get(usize::from(b)).copied().flatten(),
            Dialect::Valkey if b == 22 => Some(ValueType::Hash2),
            Dialect::Valkey => None,
        }
    }

    /// The RDB version that brought it.
    pub fn since(self) -> u32 {
        match self.byte() {
            _ if self == ValueType::Hash2 => 80,
            0..=4 => 1,
            9..=12 => 2,
            13 => 4,
            14 => 7,
            5..=8 => 8,
            15 => 9,
            16..=19 => 10,
            20 | 21 => 11,
            22..=25 => 12,
            26 => 13,
            27 | 28 => 14,
            _ => 15,
        }
    }

    /// Layout version 1 to 5 of a stream type.
    pub fn stream_version(self) -> Option<u8> {
        Some(match self {
            ValueType::StreamListpacks => 1,
            ValueType::StreamListpacks2 => 2,
            ValueType::StreamListpacks3 => 3,
            ValueType::StreamListpacks4 => 4,
            ValueType::StreamListpacks5 => 5,
            _ => return None,
        })
    }

    /// Whether the type carries an expiry for each field.
    pub fn has_field_expiry(self) -> bool {
        matches!(
            self,
            ValueType::HashMetadataPreGa
                | ValueType::HashListpackExPreGa
                | ValueType::HashMetadata
                | ValueType::HashListpackEx
                | ValueType::Hash2
        )
    }
}

/// The table of the `REDIS` magic, by byte.
static REDIS: [Option<ValueType>; 34] = {
    let mut table = [None; 34];
    let mut i = 0;
    while i < ValueType::ALL.len() {
        let t = ValueType::ALL[i];
        if !matches!(t, ValueType::Hash2) {
            table[byte(t)] = Some(t);
        }
        i += 1;
    }
    table
};

const fn byte(t: ValueType) -> usize {
    // Declared in the order of their bytes, with 8 left out.
    let n = t as usize;
    if n < 8 { n } else { n + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_types_agree() {
        for &t in ValueType::ALL {
            let dialect = if t == ValueType::Hash2 {
                Dialect::Valkey
            } else {
                Dialect::Redis
            };
            assert_eq!(ValueType::from_byte(t.byte(), dialect), Some(t));
        }
    }

    #[test]
    fn the_two_magics_part_at_22() {
        use Dialect::{Redis, Valkey};
        let rows = [
            (8, Redis, None),
            (8, Valkey, None),
            (21, Valkey, Some(ValueType::StreamListpacks3)),
            (22, Redis, Some(ValueType::HashMetadataPreGa)),
            (22, Valkey, Some(ValueType::Hash2)),
            (23, Valkey, None),
            (33, Redis, Some(ValueType::Gcra)),
            (34, Redis, None),
            (200, Redis, None),
        ];
        for (b, dialect, want) in rows {
            assert_eq!(ValueType::from_byte(b, dialect), want, "{b} {dialect:?}");
        }
    }
}
