//! The buffer that encoders append to: bytes already zeroed, written by index, so that appending is a bounds check and a copy.
//!
//! Its size is bounded: between two elements an encoder calls [`Out::checkpoint`], and once more than a budget has
//! gathered the buffer is handed to its [`Drain`], which waits for its turn in the output and writes it.

use crate::error::Result;

/// Bytes after which a checkpoint hands the buffer on.
pub const BUDGET: usize = 2 << 20;

/// Where a buffer that is over its budget goes.
pub trait Drain: Sync {
    /// Takes the bytes, in order after all that came before.
    fn drain(&self, bytes: &[u8]) -> Result<()>;
}

/// Where bytes go when an encoder is only asked whether a value is sound.
#[derive(Debug)]
pub struct Nowhere;

impl Drain for Nowhere {
    fn drain(&self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// Bytes on their way out.
#[derive(Default)]
pub struct Out<'d> {
    buffer: Vec<u8>,
    len: usize,
    drained: u64,
    drain: Option<&'d dyn Drain>,
}

impl std::fmt::Debug for Out<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Out")
            .field("len", &self.len)
            .field("drained", &self.drained)
            .finish_non_exhaustive()
    }
}

impl<'d> Out<'d> {
    /// An empty buffer that grows without bound.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer that takes over the space of `spare` and goes to `drain` when it is over its budget.
    pub fn draining(spare: Vec<u8>, drain: &'d dyn Drain) -> Self {
        Out {
            buffer: spare,
            drain: Some(drain),
            ..Self::default()
        }
    }

    /// An empty buffer that takes over the space of `spare` and grows without bound.
    pub fn over(spare: Vec<u8>) -> Self {
        Out {
            buffer: spare,
            ..Self::default()
        }
    }

    /// The buffer and how many bytes of it are to be written.
    pub fn into_parts(self) -> (Vec<u8>, usize) {
        (self.buffer, self.len)
    }

    /// Between two elements: hands the buffer on if it is over its budget.
    #[inline]
    pub fn checkpoint(&mut self) -> Result<()> {
        if self.len >= BUDGET {
            self.flush()?;
        }
        Ok(())
    }

    #[cold]
    fn flush(&mut self) -> Result<()> {
        if let Some(drain) = self.drain {
            drain.drain(&self.buffer[..self.len])?;
            self.drained += self.len as u64;
            self.len = 0;
        }
        Ok(())
    }

    /// A place to come back to with [`Out::rewind`].
    #[inline]
    pub fn mark(&self) -> u64 {
        self.drained + self.len as u64
    }

    /// Forgets what was appended since the mark; false if part of it has been handed on already.
    pub fn rewind(&mut self, mark: u64) -> bool {
        match mark.checked_sub(self.drained) {
            Some(len) => {
                self.truncate(len as usize);
                true
            }
            None => false,
        }
    }

    /// What has been appended since the last drain.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Bytes appended since the last drain.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been appended since the last drain.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets what was appended after `len` (a length this buffer had).
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// What was appended after `len` (a length this buffer had), to be changed in place.
    #[inline]
    pub fn since(&mut self, len: usize) -> &mut [u8] {
        self.buffer.get_mut(len..self.len).unwrap_or_default()
    }

    /// Makes room for `n` more bytes and gives it, whatever it holds; [`Out::advance`] says how much of it was filled.
    #[inline(always)]
    pub fn room(&mut self, n: usize) -> &mut [u8] {
        if self.buffer.len() - self.len < n {
            self.grow(n);
        }
        &mut self.buffer[self.len..]
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, n: usize) {
        let want = (self.len + n).max(self.buffer.len() * 2).max(64 << 10);
        self.buffer.resize(want, 0);
    }

    /// Counts the first `n` bytes of the room as appended.
    #[inline(always)]
    pub fn advance(&mut self, n: usize) {
        self.len = (self.len + n).min(self.buffer.len());
    }

    /// Appends bytes.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends a literal.
    #[inline(always)]
    pub fn lit<const N: usize>(&mut self, bytes: &[u8; N]) {
        if let Some(to) = self.room(N).first_chunk_mut::<N>() {
            *to = *bytes;
        }
        self.len += N;
    }

    /// Appends one byte.
    #[inline(always)]
    pub fn byte(&mut self, b: u8) {
        self.lit(&[b]);
    }

    /// Appends an unsigned integer in decimal.
    #[inline]
    pub fn u64(&mut self, n: u64) {
        self.raw(itoa::Buffer::new().format(n).as_bytes());
    }

    /// Appends a signed integer in decimal.
    #[inline]
    pub fn i64(&mut self, n: i64) {
        self.raw(itoa::Buffer::new().format(n).as_bytes());
    }
}
