//! Commands that take many elements: at most 64 each, as servers write them, with the count in front.
//!
//! ```text
//!   *66 RPUSH key e1 ... e64      *66 RPUSH key e65 ... e128      *4 RPUSH key e129 e130
//! ```
//!
//! How many elements are left is often not known before they have been walked. So the head is written with what is expected, and
//! where that was wrong it is mended when the command ends, which stays in the buffer until then. That is at most a few hundred KiB: a
//! command ends early when its elements are large, and an element larger still gets a command of its own, with a
//! head that is right from the start, and goes out in pieces.

use crate::error::Result;
use crate::out::Out;
use crate::rdb::packed::Element;
use crate::resp::write;

/// Elements of a command at the most (AOF_REWRITE_ITEMS_PER_CMD).
const ELEMENTS: u64 = 64;
/// A command of more bytes takes no further element.
const FULL: usize = 256 << 10;
/// An element of more bytes has a command of its own.
const LARGE: usize = 64 << 10;
/// What is expected of a value whose count is not known: its head has two digits, as those of most small values have.
const SMALL: u64 = 16;

/// Writes elements as commands that add them to a key.
#[derive(Debug)]
pub(super) struct Chunks<'k> {
    /// The name of the command, as an argument.
    name: &'static [u8],
    key: &'k [u8],
    /// Arguments of an element.
    width: u64,
    /// Elements still expected.
    left: u64,
    /// How many the head of the open command says.
    expected: u64,
    /// How many it has; 0 when none is open.
    n: u64,
    /// Where in the buffer it begins.
    start: usize,
    /// Elements of all commands.
    pub(super) total: u64,
}

impl<'k> Chunks<'k> {
    /// Commands with this name, given as an argument; `count` elements are expected, if that is known.
    pub(super) fn new(name: &'static [u8], key: &'k [u8], width: u64, count: Option<u64>) -> Self {
        Chunks {
            name,
            key,
            width,
            left: count.unwrap_or(SMALL),
            expected: 0,
            n: 0,
            start: 0,
            total: 0,
        }
    }

    /// Adds an element of one argument; gives whether it ended a command.
    #[inline(always)]
    pub(super) fn one(&mut self, e: Element<'_>, out: &mut Out<'_>) -> Result<bool> {
        if is_large(e) {
            return self.alone([Some(e), None], out);
        }
        self.open(out);
        small_element(e, out);
        self.added(out)
    }

    /// Adds an element of two arguments; gives whether it ended a command.
    #[inline(always)]
    pub(super) fn two(
        &mut self,
        a: Element<'_>,
        b: Element<'_>,
        out: &mut Out<'_>,
    ) -> Result<bool> {
        if is_large(a) || is_large(b) {
            return self.alone([Some(a), Some(b)], out);
        }
        self.open(out);
        small_element(a, out);
        small_element(b, out);
        self.added(out)
    }

    /// Ends the open command, if there is one.
    pub(super) fn finish(&mut self, out: &mut Out<'_>) -> Result<()> {
        if self.n > 0 {
            self.close(out)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn open(&mut self, out: &mut Out<'_>) {
        if self.n == 0 {
            self.start = out.len();
            self.expected = self.left.clamp(1, ELEMENTS);
            self.head(self.expected, out);
        }
    }

    #[inline]
    fn head(&self, n: u64, out: &mut Out<'_>) {
        write::head(2 + self.width * n, out);
        out.raw(self.name);
        write::arg(self.key, out);
    }

    #[inline(always)]
    fn added(&mut self, out: &mut Out<'_>) -> Result<bool> {
        self.n += 1;
        if self.n == ELEMENTS || out.len() - self.start > FULL {
            self.close(out)?;
            return Ok(true);
        }
        Ok(false)
    }

    #[inline(never)]
    fn close(&mut self, out: &mut Out<'_>) -> Result<()> {
        if self.n != self.expected {
            self.mend(out);
        }
        self.total += self.n;
        // Once a command is full more of them are likely to be.
        self.left = match self.left.saturating_sub(self.n) {
            0 => ELEMENTS,
            left => left,
        };
        self.n = 0;
        out.checkpoint()
    }

    /// Puts the true count into the head of the command that ends.
    fn mend(&mut self, out: &mut Out<'_>) {
        let mut text = itoa::Buffer::new();
        let new = text.format(2 + self.width * self.n).as_bytes();
        let old = digits(2 + self.width * self.expected);
        if let Some(more) = new.len().checked_sub(old) {
            out.room(more);
            out.advance(more);
            let bytes = out.since(self.start);
            let end = bytes.len() - more;
            if more > 0 {
                bytes.copy_within(..end, more);
            }
        } else {
            let less = old - new.len();
            out.since(self.start).copy_within(less.., 0);
            out.truncate(out.len() - less);
        }
        if let Some([star, rest @ ..]) = out.since(self.start).get_mut(..=new.len()) {
            *star = b'*';
            rest.copy_from_slice(new);
        }
    }

    /// A command of one element, in pieces.
    #[cold]
    fn alone(&mut self, arguments: [Option<Element<'_>>; 2], out: &mut Out<'_>) -> Result<bool> {
        self.finish(out)?;
        self.head(1, out);
        for e in arguments.into_iter().flatten() {
            any_element(e, out)?;
        }
        self.total += 1;
        self.left = self.left.saturating_sub(1);
        Ok(true)
    }
}

fn digits(n: u64) -> usize {
    match n {
        0..10 => 1,
        10..100 => 2,
        _ => 3,
    }
}

#[inline(always)]
fn is_large(e: Element<'_>) -> bool {
    matches!(e, Element::Bytes(b) if b.len() > LARGE)
}

/// An argument that goes out in one piece.
#[inline(always)]
pub(super) fn small_element(e: Element<'_>, out: &mut Out<'_>) {
    match e {
        Element::Bytes(b) => write::arg(b, out),
        Element::Int(n) => write::arg_i64(n, out),
    }
}

/// An argument of any size. The head of its command must be right already.
#[inline]
pub(super) fn any_element(e: Element<'_>, out: &mut Out<'_>) -> Result<()> {
    if let Element::Bytes(b) = e
        && is_large(e)
    {
        return write::arg_pieces(b, out);
    }
    small_element(e, out);
    Ok(())
}
