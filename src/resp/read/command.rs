//! Commands, as they stand in an append-only file and in the stream of a master.
//!
//! ```text
//!   *3\r\n $3\r\nSET\r\n $1\r\nk\r\n $1000000000\r\nvvvvv
//!   count   Arg           Arg          Arg, announced, begun: the command is larger than the buffer
//! ```
//!
//! Nothing is copied: an argument is a place in the buffer. Not handled here: what may stand between two commands (line ends in a
//! stream, `#TS:` lines in a file), and commands typed as a plain line, which neither has.

use super::{MAX_LEN, NUMBER, line, line_end, number};
use crate::error::{RdbError, Result, quote};

/// The most arguments a command may announce; servers count them in 32 bits.
pub const MAX_ARGS: u64 = i32::MAX as u64;

/// Where an argument lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arg {
    /// Its first byte, from the start of the command.
    pub start: usize,
    /// Its length: as announced, for one that is only begun.
    pub len: u64,
}

impl Arg {
    /// Its bytes, or those of them that are there. `command` are the bytes from the start of the command.
    pub fn of<'b>(&self, command: &'b [u8]) -> &'b [u8] {
        let there = command.get(self.start..).unwrap_or_default();
        match usize::try_from(self.len) {
            Ok(n) => there.get(..n).unwrap_or(there),
            Err(_) => there,
        }
    }
}

/// How far a command has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// All of it, of so many bytes.
    Whole(usize),
    /// More is needed.
    More,
}

/// Takes the arguments of one command after the other out of a buffer; keeps its place while more bytes come.
///
/// ```
/// use rdbtool::resp::read::command::{Arg, Found, Splitter};
/// let (mut splitter, mut args) = (Splitter::default(), [Arg::default(); 8]);
/// let bytes = b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*1\r\n$4\r\nPI";
/// assert_eq!(splitter.step(bytes, 0, &mut args)?, Found::Whole(23));
/// assert_eq!(splitter.args(), 2);
/// assert_eq!(args[1].of(bytes), b"3");
///
/// let rest = &bytes[23..];
/// splitter.restart();
/// assert_eq!(splitter.step(rest, 23, &mut args)?, Found::More);
/// assert_eq!((splitter.args(), splitter.complete()), (1, 0));
/// assert_eq!(splitter.begun().unwrap().of(rest), b"PI");
/// # Ok::<(), rdbtool::RdbError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Splitter {
    /// Every byte before this has been looked at.
    at: usize,
    args: u64,
    complete: u64,
    begun: Option<Arg>,
}

impl Splitter {
    /// Looks at the command that `bytes` start with. Its first arguments go into `args`, as many as have room there; the others are
    /// counted and checked. Until it is whole, the next call must have the same bytes and more, and the same `args`; behind a
    /// whole one, [`restart`](Splitter::restart) must be called. `base` is where the bytes lie in the file or stream.
    #[inline]
    pub fn step(&mut self, bytes: &[u8], base: u64, args: &mut [Arg]) -> Result<Found> {
        if self.at == 0 {
            let Some((n, len)) = announced(bytes, b'*', base)? else {
                return Ok(Found::More);
            };
            if n == 0 || n > MAX_ARGS {
                return Err(RdbError::corrupt(
                    base,
                    format!("a command of {n} arguments: expected 1 to {MAX_ARGS}"),
                ));
            }
            (self.args, self.at) = (n, len);
        }
        while self.complete < self.args {
            let arg = match self.begun {
                Some(arg) => arg,
                None => {
                    let rest = bytes.get(self.at..).unwrap_or_default();
                    let Some((len, head)) = announced(rest, b'$', base + self.at as u64)? else {
                        return Ok(Found::More);
                    };
                    let start = self.at + head;
                    let arg = Arg { start, len };
                    self.at = start;
                    self.begun = Some(arg);
                    arg
                }
            };
            let end = (arg.start as u64).saturating_add(arg.len);
            let Some(end) = usize::try_from(end).ok() else {
                return Ok(Found::More);
            };
            let Some(after) = bytes.get(end..end.saturating_add(2)) else {
                return Ok(Found::More);
            };
            line_end(after, base + end as u64)?;
            if let Some(slot) = usize::try_from(self.complete)
                .ok()
                .and_then(|i| args.get_mut(i))
            {
                *slot = arg;
            }
            self.complete += 1;
            self.at = end + 2;
            self.begun = None;
        }
        Ok(Found::Whole(self.at))
    }

    /// How many arguments the command has, its name among them; 0 as long as that has not come.
    pub fn args(&self) -> u64 {
        self.args
    }

    /// How many of them are there.
    pub fn complete(&self) -> u64 {
        self.complete
    }

    /// The argument of which the length has come, but not all of its bytes.
    pub fn begun(&self) -> Option<Arg> {
        self.begun
    }

    /// Starts with the next command.
    pub fn restart(&mut self) {
        *self = Splitter::default();
    }
}

/// A line of `kind` and a number that is not negative; its length with the line end.
#[inline]
pub(crate) fn announced(bytes: &[u8], kind: u8, at: u64) -> Result<Option<(u64, usize)>> {
    match plain(bytes, kind) {
        Some(found) => Ok(Some(found)),
        None => announced_slowly(bytes, kind, at),
    }
}

/// The same of a number of up to three digits, as nearly all are; `None` if it is anything else.
#[inline(always)]
fn plain(bytes: &[u8], kind: u8) -> Option<(u64, usize)> {
    let digits = |k: u8, digits: &[u8]| {
        let mut n = 0;
        for d in digits {
            let d = d.wrapping_sub(b'0');
            if d > 9 {
                return None;
            }
            n = 10 * n + u64::from(d);
        }
        (k == kind).then_some((n, digits.len() + 3))
    };
    match bytes {
        [k, a, b'\r', b'\n', ..] => digits(*k, &[*a]),
        [k, a, b, b'\r', b'\n', ..] => digits(*k, &[*a, *b]),
        [k, a, b, c, b'\r', b'\n', ..] => digits(*k, &[*a, *b, *c]),
        _ => None,
    }
}

fn announced_slowly(bytes: &[u8], kind: u8, at: u64) -> Result<Option<(u64, usize)>> {
    match bytes.split_first() {
        None => Ok(None),
        Some((&k, rest)) if k == kind => {
            let Some((text, len)) = line(rest, NUMBER, at)? else {
                return Ok(None);
            };
            let n = number(text, at)?;
            match u64::try_from(n) {
                Ok(n) if n <= MAX_LEN => Ok(Some((n, 1 + len))),
                _ => Err(super::bad_len(n, at)),
            }
        }
        Some(_) => Err(unexpected(bytes, kind, at)),
    }
}

/// The arguments of a command that is known to be whole, one after the other.
///
/// ```
/// use rdbtool::resp::read::command::Args;
/// let args: Vec<&[u8]> = Args::of(b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n").collect();
/// assert_eq!(args, [&b"SELECT"[..], b"3"]);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Args<'b> {
    rest: &'b [u8],
    left: u64,
}

impl<'b> Args<'b> {
    /// The arguments of the command that `bytes` are, its name among them. Of bytes that are none, those that can be read.
    #[inline]
    pub fn of(bytes: &'b [u8]) -> Args<'b> {
        match announced(bytes, b'*', 0) {
            Ok(Some((left, head))) => Args {
                rest: bytes.get(head..).unwrap_or_default(),
                left,
            },
            _ => Args { rest: &[], left: 0 },
        }
    }

    /// How many are still to come.
    #[inline]
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl<'b> Iterator for Args<'b> {
    type Item = &'b [u8];

    #[inline]
    fn next(&mut self) -> Option<&'b [u8]> {
        if self.left == 0 {
            return None;
        }
        let Ok(Some((len, head))) = announced(self.rest, b'$', 0) else {
            self.left = 0;
            return None;
        };
        let arg = self.rest.get(head..).unwrap_or_default();
        let Some((arg, rest)) = usize::try_from(len)
            .ok()
            .and_then(|n| arg.split_at_checked(n))
        else {
            self.left = 0;
            return None;
        };
        self.left -= 1;
        self.rest = rest.get(2..).unwrap_or_default();
        Some(arg)
    }
}

#[cold]
fn unexpected(bytes: &[u8], kind: u8, at: u64) -> RdbError {
    let shown = bytes.get(..bytes.len().min(32)).unwrap_or_default();
    let what = match kind {
        b'*' => "a command (*)",
        _ => "an argument ($)",
    };
    RdbError::corrupt(at, format!("{} where {what} is expected", quote(shown)))
}
