//! The bytes that have been read and not yet taken: a whole file, or a buffer that grows.

use super::spill::Spill;
use crate::error::{RdbError, Result};
use memmap2::Mmap;
use std::io::Read;

/// How much is read at a time when the window is small.
pub(super) const READ: usize = 256 << 10;
/// Buffers kept for reuse.
const SPARE: usize = 16;
/// A buffer that grows beyond this goes to disk.
const IN_MEMORY: usize = 16 << 20;

/// Bytes of a file from [`Window::offset`] on.
pub struct Window<'a> {
    held: Held<'a>,
    offset: u64,
}

enum Held<'a> {
    Whole(&'a [u8]),
    Growing {
        buffer: Buffer,
        /// How large it may become in memory.
        in_memory: usize,
        reader: Box<dyn Read + Send + 'a>,
        step: usize,
        ended: bool,
        failed: Option<RdbError>,
        spare: Vec<Vec<u8>>,
    },
}

enum Buffer {
    Memory(Vec<u8>),
    Disk(Spill),
}

impl Buffer {
    fn bytes(&self) -> &[u8] {
        match self {
            Buffer::Memory(b) => b,
            Buffer::Disk(s) => s.bytes(),
        }
    }

    /// Reads up to `n` more bytes; gives how many there were.
    fn extend(&mut self, reader: &mut dyn Read, n: usize, in_memory: usize) -> Result<u64> {
        if let Buffer::Memory(b) = self
            && b.len() >= in_memory
        {
            *self = Buffer::Disk(Spill::new(b)?);
        }
        match self {
            Buffer::Memory(b) => reader
                .take(n as u64)
                .read_to_end(b)
                .map(|n| n as u64)
                .map_err(|e| RdbError::io("cannot read on", e)),
            Buffer::Disk(s) => s.extend(reader, n as u64),
        }
    }
}

impl std::fmt::Debug for Window<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Window")
            .field("offset", &self.offset)
            .field("len", &self.bytes().len())
            .finish_non_exhaustive()
    }
}

/// Bytes taken from a window.
#[derive(Debug)]
pub enum Chunk<'a> {
    /// Borrowed from a map.
    Mapped(&'a [u8]),
    /// Read into a buffer of their own.
    Owned(Vec<u8>),
    /// Gathered on disk: the first so many bytes of a map.
    Spilled(Mmap, usize),
}

impl Chunk<'_> {
    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Mapped(b) => b,
            Chunk::Owned(b) => b,
            Chunk::Spilled(m, n) => m.get(..*n).unwrap_or_default(),
        }
    }
}

impl<'a> Window<'a> {
    /// A window on bytes that are all there.
    pub fn whole(bytes: &'a [u8]) -> Self {
        Window {
            held: Held::Whole(bytes),
            offset: 0,
        }
    }

    /// A window on what `reader` gives after `first`, read `step` bytes at a time while it is small.
    pub fn growing(first: Vec<u8>, reader: Box<dyn Read + Send + 'a>, step: usize) -> Self {
        Window {
            held: Held::Growing {
                buffer: Buffer::Memory(first),
                in_memory: IN_MEMORY,
                reader,
                step,
                ended: false,
                failed: None,
                spare: Vec::new(),
            },
            offset: 0,
        }
    }

    /// The bytes at hand.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match &self.held {
            Held::Whole(b) => b,
            Held::Growing { buffer, .. } => buffer.bytes(),
        }
    }

    /// Bytes that stand in memory, or in a mapped file, without having been read: `n` of them from `from` on.
    pub fn mapped(&self, from: usize, n: usize) -> &'a [u8] {
        match &self.held {
            Held::Whole(b) => {
                let rest = b.get(from..).unwrap_or_default();
                rest.get(..n).unwrap_or(rest)
            }
            Held::Growing { .. } => &[],
        }
    }

    /// Where the first of them lies in the (unpacked) file.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether no more will come.
    #[inline]
    pub fn is_whole(&self) -> bool {
        match &self.held {
            Held::Whole(_) => true,
            Held::Growing { ended, .. } => *ended,
        }
    }

    /// Reads on: as much as there is already, at least one read's worth, unless the end is reached. A source that fails
    /// ends here too; [`Window::failure`] tells why, once what did arrive has been read.
    pub fn fill(&mut self) {
        let Held::Growing {
            buffer,
            in_memory,
            reader,
            step,
            ended,
            failed,
            ..
        } = &mut self.held
        else {
            return;
        };
        if *ended {
            return;
        }
        // In ever larger steps, for some values are scanned again from their start; but what is read too far, which the next
        // buffer begins with, is to fit in memory.
        let want = buffer.bytes().len().clamp(*step, IN_MEMORY);
        match buffer.extend(reader, want, *in_memory) {
            Ok(n) => *ended = n < want as u64,
            Err(e) => {
                *ended = true;
                *failed = Some(e);
            }
        }
    }

    /// Why the source ended before its time, if it did.
    pub fn failure(&mut self) -> Option<RdbError> {
        match &mut self.held {
            Held::Whole(_) => None,
            Held::Growing { failed, .. } => failed.take(),
        }
    }

    /// Takes the first `n` bytes out of the window.
    pub fn take(&mut self, n: usize) -> Chunk<'a> {
        self.offset += n as u64;
        match &mut self.held {
            Held::Whole(b) => {
                let (head, tail) = b.split_at(n.min(b.len()));
                *b = tail;
                Chunk::Mapped(head)
            }
            Held::Growing { buffer, spare, .. } => {
                let mut tail = spare.pop().unwrap_or_default();
                tail.extend_from_slice(buffer.bytes().get(n..).unwrap_or_default());
                match std::mem::replace(buffer, Buffer::Memory(tail)) {
                    Buffer::Memory(mut head) => {
                        head.truncate(n);
                        Chunk::Owned(head)
                    }
                    Buffer::Disk(spill) => Chunk::Spilled(spill.into_map(), n),
                }
            }
        }
    }

    /// Gives back the buffer of a chunk that is done with.
    pub fn recycle(&mut self, chunk: Chunk<'a>) {
        if let (Held::Growing { spare, .. }, Chunk::Owned(mut buffer)) = (&mut self.held, chunk)
            && spare.len() < SPARE
            && buffer.capacity() <= 4 * READ
        {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_window_gives_the_same_bytes_in_any_pieces() {
        let bytes: Vec<u8> = (0..2_000_000u32).map(|i| (i * 7 / 3) as u8).collect();
        for disk_from in [IN_MEMORY, 1, 100_000] {
            let mut w = Window::growing(Vec::new(), Box::new(&bytes[..]), READ);
            if let Held::Growing { in_memory, .. } = &mut w.held {
                *in_memory = disk_from;
            }
            let mut got = Vec::new();
            let (mut step, mut spilled) = (1, false);
            loop {
                while w.bytes().len() < step && !w.is_whole() {
                    w.fill();
                }
                let n = step.min(w.bytes().len());
                if n == 0 {
                    break;
                }
                assert_eq!(w.offset(), got.len() as u64);
                let chunk = w.take(n);
                spilled |= matches!(chunk, Chunk::Spilled(..));
                got.extend_from_slice(chunk.bytes());
                w.recycle(chunk);
                step = step * 5 / 3 + 1;
            }
            assert!(w.failure().is_none());
            assert!(got == bytes);
            assert_eq!(spilled, disk_from != IN_MEMORY);
        }
    }
}
