//! Checked reads over a window of bytes that knows its place in the file.
//!
//! ```text
//!   file    |.......................................................|
//!   window            |==================|
//!                     base      ^ position()
//! ```
//!
//! No read can panic. One that runs out of bytes gives [`ErrorKind::UnexpectedEof`](crate::ErrorKind::UnexpectedEof)
//! with the offset of what it began to read; a scanner whose window may still grow takes that for
//! "need more" and tries again from the last item's start.

use crate::error::{RdbError, Result};

/// A position in a window of bytes.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    base: u64,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`, whose first byte lies at file offset `base`.
    #[inline]
    pub fn new(bytes: &'a [u8], base: u64) -> Self {
        Cursor { bytes, at: 0, base }
    }

    /// Absolute offset of the next byte in the file.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Offset of the next byte in the window.
    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Puts the next byte at `at` in the window (at most its length).
    #[inline]
    pub fn set_position(&mut self, at: usize) {
        self.at = at.min(self.bytes.len());
    }

    /// Bytes not yet read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether every byte is read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// All bytes of the window, those read included.
    #[inline]
    pub fn window(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes not yet read.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The bytes of the window from position `from` up to here.
    #[inline]
    pub fn since(&self, from: usize) -> &'a [u8] {
        self.bytes.get(from..self.at).unwrap_or_default()
    }

    #[cold]
    fn eof(&self, n: u64, what: &str) -> RdbError {
        let left = self.remaining();
        if left == 0 {
            RdbError::eof(self.offset(), format!("the input ends before {what}"))
        } else {
            RdbError::eof(
                self.offset(),
                format!("the input ends inside {what}: {n} bytes expected, {left} left"),
            )
        }
    }

    /// The next byte, not consumed.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, what: &str) -> Result<u8> {
        match self.bytes.get(self.at) {
            Some(&b) => {
                self.at += 1;
                Ok(b)
            }
            None => Err(self.eof(1, what)),
        }
    }

    /// The next `n` bytes. `n` is a number from the file: it is compared with what is there before it becomes a size.
    #[inline]
    pub fn take(&mut self, n: u64, what: &str) -> Result<&'a [u8]> {
        if n <= self.remaining() as u64 {
            let from = self.at;
            self.at += n as usize;
            Ok(&self.bytes[from..self.at])
        } else {
            Err(self.eof(n, what))
        }
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        match self.bytes.get(self.at..).and_then(|b| b.first_chunk::<N>()) {
            Some(b) => {
                self.at += N;
                Ok(*b)
            }
            None => Err(self.eof(N as u64, what)),
        }
    }

    /// A little-endian `u32`.
    #[inline]
    pub fn u32_le(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// A little-endian `u64`.
    #[inline]
    pub fn u64_le(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A little-endian `i64`.
    #[inline]
    pub fn i64_le(&mut self, what: &str) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array(what)?))
    }

    /// A little-endian IEEE double.
    #[inline]
    pub fn f64_le(&mut self, what: &str) -> Result<f64> {
        Ok(f64::from_le_bytes(self.array(what)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn an_absurd_length_is_refused_and_nothing_is_consumed() {
        let mut c = Cursor::new(b"abc", 100);
        let e = c.take(1 << 62, "a string").unwrap_err();
        assert_eq!(
            (e.kind(), e.offset()),
            (ErrorKind::UnexpectedEof, Some(100))
        );
        assert_eq!(c.take(3, "a string").unwrap(), b"abc");
        assert!(c.is_empty() && c.u8("a byte").is_err());
    }

    #[test]
    fn offsets_count_from_the_base() {
        let mut c = Cursor::new(&[1, 2, 3, 4, 5], 10);
        assert_eq!(c.u32_le("n").unwrap(), 0x04030201);
        assert_eq!((c.offset(), c.position(), c.remaining()), (14, 4, 1));
        assert_eq!(c.since(1), &[2, 3, 4]);
    }
}
