//! The snapshot format: bytes in, items and values out. No I/O and no threads here.
//!
//! ```text
//!   file   = magic, version            9 bytes: REDIS0001 to REDIS0015, VALKEY080                header
//!            item, item, ...
//!            FF                        EOF
//!            CRC-64                    u64 LE, from version 5 on; 0 says that none was computed  crc64
//!
//!   item   = FE LEN                    the keys that follow are in this database                 opcode
//!          | FA STR STR                a fact about the file (version 7)
//!          | F5 STR                    a function library (version 10)
//!          | ...                       hints, data of modules, slots being imported
//!          | attribute*, type byte, key STR, value                                               scan, entry
//!
//!   attribute = FC ms | FD s           when the key expires
//!             | F8 LEN | F9 u8         how long it was idle, how often it was used (version 9)
//!             | F3 ...                 metadata of modules (version 13)
//!
//!   LEN    = an unsigned integer in 1, 2, 5 or 9 bytes                                           length
//!   STR    = raw bytes, an integer, or LZF data                                                  string, lzf
//!   value  = by the type byte: 34 layouts of 9 types                                             value_type
//!            some made of LEN and STR, some one STR that holds a blob with a layout of its own   value, packed
//! ```
//!
//! Under the magic of Valkey one type byte (22) and one opcode (F3) mean something else, so all tables depend on
//! [`Dialect`](header::Dialect). Reading order: [`length`], [`string`], [`packed`] and its [`listpack`](packed::listpack), then
//! [`scan`] and [`entry`], then [`value`]. [`skip`] tells the same grammar a second time, for finding the end of a value without
//! decoding it; the tests hold the two against each other.

pub mod crc64;
pub mod entry;
pub mod header;
pub mod length;
pub mod logical_type;
pub mod lzf;
pub mod opcode;
pub mod packed;
pub mod release;
pub mod scan;
pub mod skip;
pub mod string;
pub mod template;
pub mod value;
pub mod value_type;
pub mod write;

pub use logical_type::LogicalType;
