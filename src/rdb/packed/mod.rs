//! Blobs with a layout of their own, in which servers keep small collections: intset, listpack, ziplist, zipmap.
//!
//! Each room reads one layout, front to back, through an iterator that borrows from the blob and checks all that the
//! layout promises as it goes: no entry past the end, back lengths and counts that are true, a terminator that is there.

pub mod intset;
pub mod listpack;
pub mod ziplist;
pub mod zipmap;

use crate::error::{RdbError, Result};

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

/// The last byte of a listpack, ziplist or zipmap.
const END: u8 = 0xff;

/// What the frames of listpacks and ziplists have in common: `total`, the first four bytes, is the size of the blob, and
/// the last byte is FF. `smallest` is the size of an empty one, so that its fields are there when this has returned.
fn check_frame(blob: Blob<'_>, smallest: usize, name: &str) -> Result<()> {
    let bytes = blob.bytes;
    let (Some(total), Some(&last)) = (bytes.first_chunk::<4>(), bytes.last()) else {
        return Err(too_short(blob, smallest, name));
    };
    if bytes.len() < smallest {
        return Err(too_short(blob, smallest, name));
    }
    let total = u32::from_le_bytes(*total);
    if u64::from(total) != bytes.len() as u64 {
        return Err(blob.origin.corrupt(
            0,
            format!(
                "the {name} header says {total} bytes where the {name} has {}",
                bytes.len()
            ),
        ));
    }
    if last != END {
        return Err(no_end(blob, last, name));
    }
    Ok(())
}

#[cold]
fn too_short(blob: Blob<'_>, smallest: usize, name: &str) -> RdbError {
    blob.origin.corrupt(
        0,
        format!(
            "a {name} of {} bytes, where the smallest has {smallest}",
            blob.bytes.len()
        ),
    )
}

#[cold]
fn no_end(blob: Blob<'_>, last: u8, name: &str) -> RdbError {
    blob.origin.corrupt(
        blob.bytes.len() - 1,
        format!("the {name} ends in {last:#04x} where its terminator 0xff belongs"),
    )
}

/// A little-endian integer of 1, 2, 3, 4 or 8 bytes, the sign in its top bit.
#[inline(always)]
fn int_le(le: &[u8]) -> i64 {
    match *le {
        [a] => (a as i8).into(),
        [a, b] => i16::from_le_bytes([a, b]).into(),
        // Read as the upper three bytes of four, so that the shift back extends the sign.
        [a, b, c] => (i32::from_le_bytes([0, a, b, c]) >> 8).into(),
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
        _ => le.first_chunk().map_or(0, |le| i64::from_le_bytes(*le)),
    }
}

/// What the tests of the four readers share.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// The bytes of a hex dump; spaces do not count.
    pub(crate) fn hex(dump: &str) -> Vec<u8> {
        let digits: Vec<u8> = dump.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// A blob at file offset 0, so that error offsets are offsets in the blob.
    pub(crate) fn blob(bytes: &[u8]) -> Blob<'_> {
        Blob::in_file(bytes, 0)
    }

    /// All elements, or the first error. A walk that does not end, or goes on after its end, is a panic.
    pub(crate) fn walk<'a, I>(bytes: &[u8], iter: Result<I>) -> Result<Vec<Element<'a>>>
    where
        I: Iterator<Item = Result<Element<'a>>>,
    {
        let mut iter = iter?;
        let mut found = Vec::new();
        let end = loop {
            assert!(found.len() <= bytes.len(), "an endless walk");
            match iter.next() {
                Some(Ok(element)) => found.push(element),
                Some(Err(e)) => break Err(e),
                None => break Ok(()),
            }
        };
        for _ in 0..3 {
            assert!(iter.next().is_none(), "more after the end or an error");
        }
        end.map(|()| found)
    }

    /// Walks every truncation of `sample`, which must all fail, and every change of one byte, which must end and stay
    /// inside the blob. Returns how many of the changes were noticed.
    pub(crate) fn damage(sample: &[u8], walk: impl Fn(&[u8]) -> Result<usize>) -> usize {
        walk(sample).expect("the sample is sound");
        for len in 0..sample.len() {
            let e = walk(&sample[..len]).expect_err("a truncation");
            assert!(e.offset() <= Some(len as u64), "{len}: {e}");
        }
        let mut noticed = 0;
        let mut bytes = sample.to_vec();
        for at in 0..sample.len() {
            for change in 1..=255 {
                bytes[at] = sample[at] ^ change;
                match walk(&bytes) {
                    Ok(_) => {}
                    Err(e) => {
                        assert!(e.offset() < Some(sample.len() as u64), "{at}: {e}");
                        noticed += 1;
                    }
                }
            }
            bytes[at] = sample[at];
        }
        noticed
    }
}
