//! The bytes that have been read and not yet taken: a whole file, or a buffer that grows.

use crate::error::RdbError;
use std::io::Read;

/// How much is read at a time when the window is small.
const READ: usize = 256 << 10;
/// Buffers kept for reuse.
const SPARE: usize = 16;

/// Bytes of a file from [`Window::offset`] on.
pub struct Window<'a> {
    held: Held<'a>,
    offset: u64,
}

enum Held<'a> {
    Whole(&'a [u8]),
    Growing {
        buffer: Vec<u8>,
        reader: Box<dyn Read + Send + 'a>,
        ended: bool,
        failed: Option<RdbError>,
        spare: Vec<Vec<u8>>,
    },
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
}

impl Chunk<'_> {
    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Mapped(b) => b,
            Chunk::Owned(b) => b,
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

    /// A window on what `reader` gives after `first`.
    pub fn growing(first: Vec<u8>, reader: Box<dyn Read + Send + 'a>) -> Self {
        Window {
            held: Held::Growing {
                buffer: first,
                reader,
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
            Held::Growing { buffer, .. } => buffer,
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
            reader,
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
        let want = buffer.len().clamp(READ, 64 * READ);
        match reader.take(want as u64).read_to_end(buffer) {
            Ok(n) => *ended = n < want,
            Err(e) => {
                *ended = true;
                *failed = Some(RdbError::io("cannot read on", e));
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
                tail.extend_from_slice(&buffer[n..]);
                buffer.truncate(n);
                Chunk::Owned(std::mem::replace(buffer, tail))
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
        let bytes: Vec<u8> = (0..1_000_000u32).map(|i| (i * 7 / 3) as u8).collect();
        let mut w = Window::growing(Vec::new(), Box::new(&bytes[..]));
        let mut got = Vec::new();
        let mut step = 1;
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
            got.extend_from_slice(chunk.bytes());
            w.recycle(chunk);
            step = step * 5 / 3 + 1;
        }
        assert!(got == bytes);
    }
}
