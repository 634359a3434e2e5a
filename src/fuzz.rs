//! One function a parser: takes any bytes, walks everything that can be reached, and asserts what must hold. For fuzzers, and for
//! the tests that run the same functions over damaged files.
//!
//! ```text
//!   scan, decode, commands                         a file
//!   ndjson                                         lines of JSON
//!   listpack, ziplist, intset, zipmap, string      the thing itself
//!   lzf                                            u32 LE size | compressed data
//!   list, set, zset, hash, stream, module, array,
//!   giant, rewrite                                 which of the types, 1 byte | value as serialized
//!   resp                                           replies, and commands
//!   split                                          commands for a target
//!   journal                                        how far a restore has come
//!   topology                                       which node has which slots
//!   aof, manifest                                  an append-only file, and the manifest of a directory of them
//! ```
//!
//! What must hold, beside that nothing panics: an error lies within the bytes; a walk ends, and stays ended; nothing reaches past
//! the end; and what is told twice is told alike ("twins"): where a value ends, found by passing over it and by decoding it; fast and plain
//! decompression; a file at once and in pieces; a large value whole and in parts. [`seeds`] takes a file apart into inputs for all of them.

mod container;
mod file;
mod journal;
mod log;
mod resp;
mod split;
mod topology;
mod value;

pub use container::{intset, listpack, lzf, string, ziplist, zipmap};
pub use file::{check, commands, decode, ndjson, once, scan, seeds};
pub use journal::{JOURNAL, journal};
pub use log::{aof, manifest};
pub use resp::resp;
pub use split::split;
pub use topology::topology;
pub use value::{array, giant, hash, list, module, rewrite, set, stream, zset};

use crate::error::RdbError;
use crate::rdb::crc64;

/// Where the bytes of a part are said to lie in a file, so that an offset counted from a wrong place is seen.
const BASE: u64 = 1 << 40;

/// The offset of an error about bytes at `base` must lie in them, or just behind.
fn assert_inside(e: &RdbError, base: u64, bytes: &[u8]) {
    let end = base + bytes.len() as u64;
    match e.offset() {
        Some(at) => assert!(
            (base..=end).contains(&at),
            "offset {at}, not {base} to {end}: {e}"
        ),
        None => panic!("no offset: {e}"),
    }
}

/// Choices that are a function of the input: the same in every run.
struct Dice(u64);

impl Dice {
    fn new(bytes: &[u8]) -> Self {
        Dice(crc64::checksum(bytes) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}

#[cfg(test)]
mod tests;
