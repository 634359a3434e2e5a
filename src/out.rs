//! The buffer that encoders append to: bytes already zeroed, written by index, so that appending is a bounds check and a copy.
//!
//! Its size is bounded: between two elements an encoder calls [`Out::checkpoint`], and once more than a budget has
//! gathered the buffer is handed to its [`Drain`], which waits for its turn in the output and writes it.
//!
//! What goes to one of several outputs is put into frames, of which a buffer that is handed on holds whole ones only:
//!
//! ```text
//!   | lane u16 LE | kind u8 | 0 | len u32 LE | len bytes |  | lane ...
//!
//!   Out::open(3, Key)   3 K 0 ....  *3..SET..       over its budget: the length is filled in, the buffer handed on,
//!                       3 M 0 ....  ..              and the rest goes to the same lane in a frame of its own
//!   Out::close()
//! ```

use crate::error::Result;

/// Bytes before those of a frame.
pub const FRAME_HEAD: usize = 8;

/// The lane of what every output gets.
pub const EVERY: u16 = u16::MAX;

/// What the bytes of a frame are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A key, or its beginning.
    Key,
    /// More of what the frame before it held.
    More,
    /// Some of a key that comes in parts.
    Part,
    /// The end of a key that came in parts. No bytes.
    End,
    /// What belongs to no key.
    Item,
    /// The database of the keys that follow: u64 LE.
    Select,
    /// A command for that database.
    Command,
    /// What stands among commands and is none: an annotation; more of the command that the frame before it held.
    Log,
}

impl Kind {
    const ALL: [Kind; 8] = [
        Kind::Key,
        Kind::More,
        Kind::Part,
        Kind::End,
        Kind::Item,
        Kind::Select,
        Kind::Command,
        Kind::Log,
    ];
}

/// A frame, and what stands behind it; `None` if `bytes` do not begin with a whole one.
///
/// ```
/// use rdbtool::out::{Kind, Out, frame};
/// let mut out = Out::new();
/// out.open(3, Kind::Key);
/// out.raw(b"SET");
/// out.close();
/// assert_eq!(frame(out.as_bytes()), Some(((3, Kind::Key, &b"SET"[..]), &b""[..])));
/// ```
#[inline]
pub fn frame(bytes: &[u8]) -> Option<((u16, Kind, &[u8]), &[u8])> {
    let (&[a, b, kind, _, l0, l1, l2, l3], rest) = bytes.split_first_chunk::<FRAME_HEAD>()?;
    let kind = *Kind::ALL.get(usize::from(kind))?;
    let len = u32::from_le_bytes([l0, l1, l2, l3]);
    if len == u32::MAX {
        return None; // more than a frame can hold
    }
    let (bytes, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    Some(((u16::from_le_bytes([a, b]), kind, bytes), rest))
}

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
    /// Where the frame that is open begins, and what it is.
    frame: Option<(usize, u16, Kind)>,
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
            let open = self.frame;
            self.fill_in();
            drain.drain(&self.buffer[..self.len])?;
            self.drained += self.len as u64;
            self.len = 0;
            if let Some((_, lane, kind)) = open {
                let kind = match kind {
                    Kind::Key => Kind::More,
                    Kind::Command => Kind::Log,
                    same => same,
                };
                self.open(lane, kind);
            }
        }
        Ok(())
    }

    /// Begins a frame: what is appended from now on goes to this lane.
    #[inline]
    pub fn open(&mut self, lane: u16, kind: Kind) {
        self.frame = Some((self.len, lane, kind));
        let [a, b] = lane.to_le_bytes();
        self.lit(&[a, b, kind as u8, 0, 0, 0, 0, 0]);
    }

    /// Ends it. A frame without bytes goes, unless it is one of an end.
    #[inline]
    pub fn close(&mut self) {
        if let Some((at, _, kind)) = self.frame
            && self.len <= at + FRAME_HEAD
            && kind != Kind::End
        {
            self.len = self.len.min(at);
        }
        self.fill_in();
        self.frame = None;
    }

    /// Writes the length of the frame that is open into its head.
    #[inline]
    fn fill_in(&mut self) {
        if let Some((at, ..)) = self.frame
            && let Some([_, _, _, _, head @ ..]) = self.buffer.get_mut(at..at + FRAME_HEAD)
        {
            // What is large is appended in pieces; but for a key, and no server has one of 4 GiB.
            let len = u32::try_from(self.len.saturating_sub(at + FRAME_HEAD)).unwrap_or(u32::MAX);
            head.copy_from_slice(&len.to_le_bytes());
        }
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
                self.frame = self.frame.filter(|(at, ..)| *at < self.len);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Kept(Mutex<Vec<Vec<u8>>>);

    impl Drain for Kept {
        fn drain(&self, bytes: &[u8]) -> Result<()> {
            self.0.lock().unwrap().push(bytes.to_vec());
            Ok(())
        }
    }

    fn frames(mut bytes: &[u8]) -> Vec<(u16, Kind, usize)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let ((lane, kind, of), rest) = frame(bytes).expect("whole frames only");
            found.push((lane, kind, of.len()));
            bytes = rest;
        }
        found
    }

    #[test]
    fn whole_frames_only_are_handed_on() {
        let kept = Kept::default();
        let mut out = Out::draining(Vec::new(), &kept);
        out.open(1, Kind::Item);
        out.close();
        assert!(out.is_empty());
        out.open(7, Kind::Key);
        out.raw(&vec![b'x'; BUDGET]);
        out.checkpoint().unwrap();
        out.raw(b"abc");
        out.close();
        out.open(2, Kind::Part);
        out.raw(&vec![b'y'; BUDGET]);
        out.checkpoint().unwrap();
        // Handed on to the last byte.
        out.close();
        out.open(2, Kind::Command);
        out.raw(&vec![b'z'; BUDGET]);
        out.checkpoint().unwrap();
        out.raw(b"d");
        out.close();
        out.open(2, Kind::End);
        out.close();
        let kept = kept.0.lock().unwrap();
        assert_eq!(frames(&kept[0]), [(7, Kind::Key, BUDGET)]);
        assert_eq!(
            frames(&kept[1]),
            [(7, Kind::More, 3), (2, Kind::Part, BUDGET)]
        );
        assert_eq!(frames(&kept[2]), [(2, Kind::Command, BUDGET)]);
        assert_eq!(
            frames(out.as_bytes()),
            [(2, Kind::Log, 1), (2, Kind::End, 0)]
        );
    }

    #[test]
    fn what_is_taken_back_leaves_no_frame() {
        let mut out = Out::new();
        out.open(1, Kind::Key);
        out.raw(b"good");
        out.close();
        let mark = out.mark();
        out.open(2, Kind::Key);
        out.raw(b"bad");
        assert!(out.rewind(mark));
        out.close();
        out.open(3, Kind::Key);
        let mark = out.mark();
        out.raw(b"bad");
        assert!(out.rewind(mark));
        out.raw(b"better");
        out.close();
        assert_eq!(
            frames(out.as_bytes()),
            [(1, Kind::Key, 4), (3, Kind::Key, 6)]
        );
        for cut in 1..out.len() {
            let mut rest = &out.as_bytes()[..cut];
            while let Some((_, more)) = frame(rest) {
                rest = more;
            }
            assert!(cut == FRAME_HEAD + 4 || !rest.is_empty());
        }
        assert_eq!(frame(&[0, 0, 8, 0, 0, 0, 0, 0]), None);
    }
}
