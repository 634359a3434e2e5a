//! Blobs with a layout of their own, in which servers keep small collections: intset, listpack, ziplist, zipmap.
//!
//! Each room reads one layout, front to back, through an iterator that borrows from the blob and checks all that the
//! layout promises as it goes: no entry past the end, back lengths and counts that are true, a terminator that is there.

pub mod intset;
pub mod listpack;
pub mod ziplist;
pub mod zipmap;

use crate::error::RdbError;

/// Where the first byte of a blob lies: in the file as it is, or in the decompressed bytes of an LZF string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Offset in the file of the blob's first byte.
    File(u64),
    /// Offset in the file of the LZF string whose decompressed bytes are the blob.
    Lzf(u64),
}

impl Origin {
    /// An error about byte `at` of the blob.
    #[cold]
    pub fn corrupt(self, at: usize, what: impl Into<String>) -> RdbError {
        match self {
            Origin::File(base) => RdbError::corrupt(base + at as u64, what),
            Origin::Lzf(string) => RdbError::corrupt(at as u64, what).inside_lzf(string),
        }
    }
}

/// The bytes of a packed blob and where they come from.
#[derive(Debug, Clone, Copy)]
pub struct Blob<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Where the first of them lies.
    pub origin: Origin,
}

impl<'a> Blob<'a> {
    /// A blob that lies in the file as it is.
    pub fn in_file(bytes: &'a [u8], offset: u64) -> Self {
        Blob {
            bytes,
            origin: Origin::File(offset),
        }
    }
}

/// One entry of a packed blob. An integer stands for its decimal text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element<'a> {
    /// A signed integer.
    Int(i64),
    /// A byte string.
    Bytes(&'a [u8]),
}

impl Element<'_> {
    /// Appends the element's bytes, an integer as decimal text.
    pub fn append_to(self, out: &mut Vec<u8>) {
        match self {
            Element::Int(n) => out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes()),
            Element::Bytes(b) => out.extend_from_slice(b),
        }
    }
}
