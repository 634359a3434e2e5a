//! Replies, and [commands](command), out of a buffer that is still being filled.
//!
//! ```text
//!   buffer   | +OK\r\n | :1\r\n | -ERR no such key\r\n | *2\r\n $1\r\na\r\n $5\r\nhe
//!              head()    head()   head()                 End::find(): not yet; later: here
//! ```
//!
//! Two layers. [`head`] reads one line, borrows, and counts millions of replies a second. [`End`] finds where a reply with others
//! inside ends, going on where it stopped when more bytes have come; [`Reply`] is then made of it, for conversations.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::panic
    )
)]

pub mod command;

use crate::error::{RdbError, Result, quote};
use memchr::memchr;
use std::fmt;

/// Replies nest no deeper than this; CLUSTER SHARDS and COMMAND DOCS come to 6.
pub const DEPTH: usize = 32;
/// Longest status or error. The longest that servers make quote a script's error, of some KiB.
pub const MAX_LINE: usize = 1 << 20;
/// Longest string, and most elements, that may be announced: more than any server can hold.
pub const MAX_LEN: u64 = 1 << 40;
/// Bytes of the longest line that is a number.
const NUMBER: usize = 24;

/// What the first line of a reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head<'a> {
    /// `+OK`
    Status(&'a [u8]),
    /// `-ERR ...`
    Error(&'a [u8]),
    /// `:42`
    Int(i64),
    /// `$5`: so many bytes and a line end follow.
    Bulk(u64),
    /// `*2`: so many replies follow.
    Array(u64),
    /// `$-1`, `*-1`
    Nil,
}

/// The first line of the reply at the start of `bytes`, and its length with the line end; `None` if the line is not all there.
///
/// `at` is where `bytes` lie in all that was received: errors say it.
///
/// ```
/// use rdbtool::resp::read::{Head, head};
/// assert_eq!(head(b"+OK\r\n:1\r\n", 0)?, Some((Head::Status(b"OK"), 5)));
/// assert_eq!(head(b":1\r", 0)?, None);
/// # Ok::<(), rdbtool::RdbError>(())
/// ```
#[inline]
pub fn head(bytes: &[u8], at: u64) -> Result<Option<(Head<'_>, usize)>> {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let limit = match kind {
        b'+' | b'-' => MAX_LINE,
        b':' | b'$' | b'*' => NUMBER,
        _ => return Err(no_reply(bytes, at)),
    };
    let Some((text, len)) = line(rest, limit, at)? else {
        return Ok(None);
    };
    let head = match kind {
        b'+' => Head::Status(text),
        b'-' => Head::Error(text),
        b':' => Head::Int(number(text, at)?),
        _ => match number(text, at)? {
            -1 => Head::Nil,
            n => match u64::try_from(n) {
                Ok(n) if n <= MAX_LEN && kind == b'$' => Head::Bulk(n),
                Ok(n) if n <= MAX_LEN => Head::Array(n),
                _ => return Err(bad_len(n, at)),
            },
        },
    };
    Ok(Some((head, 1 + len)))
}

/// The text of the line that `bytes` start with, and its length with the line end.
#[inline]
fn line(bytes: &[u8], limit: usize, at: u64) -> Result<Option<(&[u8], usize)>> {
    let within = bytes.get(..limit).unwrap_or(bytes);
    match memchr(b'\n', within) {
        Some(n) => match within.get(..n).and_then(|l| l.strip_suffix(b"\r")) {
            Some(text) => Ok(Some((text, n + 1))),
            None => Err(RdbError::corrupt(
                at,
                format!(
                    "a line that ends in \\n alone: {}",
                    quote(within.get(..n).unwrap_or_default())
                ),
            )),
        },
        None if within.len() < limit => Ok(None),
        None => Err(RdbError::corrupt(
            at,
            format!("a line longer than {limit} bytes: {}", quote(within)),
        )),
    }
}

/// A decimal number: `-` and digits, nothing else.
#[inline]
fn number(text: &[u8], at: u64) -> Result<i64> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let mut n = 0i64;
    let mut ok = !digits.is_empty();
    for d in digits {
        let d = i64::from(d.wrapping_sub(b'0'));
        // Counted downwards, where there is one number more.
        match n.checked_mul(10).and_then(|n| n.checked_sub(d)) {
            Some(m) if d < 10 => n = m,
            _ => ok = false,
        }
    }
    match if negative { Some(n) } else { n.checked_neg() } {
        Some(n) if ok => Ok(n),
        _ => Err(RdbError::corrupt(
            at,
            format!("{} where a number is expected", quote(text)),
        )),
    }
}

#[cold]
fn bad_len(n: i64, at: u64) -> RdbError {
    RdbError::corrupt(
        at,
        format!("a length of {n}: expected -1, or 0 to {MAX_LEN}"),
    )
}

#[cold]
fn no_reply(bytes: &[u8], at: u64) -> RdbError {
    let shown = bytes.get(..bytes.len().min(32)).unwrap_or_default();
    // What a TLS server says to a client that does not speak TLS: an alert, of version 3.x.
    let what = match shown {
        [0x15, 0x03, ..] => "an alert of TLS".to_owned(),
        _ => quote(shown),
    };
    RdbError::corrupt(
        at,
        format!("{what} where a reply is expected (one of + - : $ *)"),
    )
}

/// Checks the line end behind a string.
fn line_end(bytes: &[u8], at: u64) -> Result<()> {
    match bytes {
        b"\r\n" => Ok(()),
        other => Err(RdbError::corrupt(
            at,
            format!("{} where a string's line end is expected", quote(other)),
        )),
    }
}

/// Finds where a reply ends, whatever is inside it. Keeps its place while more bytes come.
///
/// ```
/// use rdbtool::resp::read::End;
/// let mut end = End::default();
/// assert_eq!(end.find(b"*2\r\n$1\r\na\r\n$5\r\nhe", 0)?, None);
/// assert_eq!(end.find(b"*2\r\n$1\r\na\r\n$5\r\nhello\r\n:1\r\n", 0)?, Some(22));
/// # Ok::<(), rdbtool::RdbError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct End {
    /// Every byte before this has been looked at.
    at: usize,
    /// Replies still to come, of each array that is open.
    open: Vec<u64>,
}

impl End {
    /// The length of the reply that `bytes` start with, or `None` if it is not all there. The next call must have the same bytes and
    /// more; after an end was found, those of the next reply. `base` is where they lie in all that was received.
    pub fn find(&mut self, bytes: &[u8], base: u64) -> Result<Option<usize>> {
        loop {
            let at = base + self.at as u64;
            let rest = bytes.get(self.at..).unwrap_or_default();
            let Some((head, mut len)) = head(rest, at)? else {
                return Ok(None);
            };
            match head {
                Head::Bulk(n) => {
                    let end = (len as u64).saturating_add(n).saturating_add(2);
                    let Some(end) = usize::try_from(end).ok().filter(|&e| e <= rest.len()) else {
                        return Ok(None);
                    };
                    line_end(
                        rest.get(end - 2..end).unwrap_or_default(),
                        base + (self.at + end - 2) as u64,
                    )?;
                    len = end;
                }
                Head::Array(n) if n > 0 => {
                    if self.open.len() == DEPTH {
                        return Err(RdbError::corrupt(
                            at,
                            format!("replies nested deeper than {DEPTH}"),
                        ));
                    }
                    self.at += len;
                    self.open.push(n);
                    continue;
                }
                _ => {}
            }
            self.at += len;
            while let Some(left) = self.open.last_mut() {
                *left -= 1;
                if *left > 0 {
                    break;
                }
                self.open.pop();
            }
            if self.open.is_empty() {
                return Ok(Some(std::mem::take(&mut self.at)));
            }
        }
    }
}

/// A reply that owns what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`
    Status(String),
    /// `-ERR ...`, without the minus
    Error(String),
    /// `:42`
    Int(i64),
    /// A byte string.
    Bulk(Vec<u8>),
    /// Replies.
    Array(Vec<Reply>),
    /// No string, or no array.
    Nil,
}

impl Reply {
    /// The reply that `bytes` start with, whose end has been found with [`End`]: of bytes that end before, none.
    pub fn read(bytes: &[u8], base: u64) -> Result<Option<Reply>> {
        Ok(match End::default().find(bytes, base)? {
            Some(n) => Reply::take(&mut bytes.get(..n).unwrap_or_default(), base)?,
            None => None,
        })
    }

    /// Takes a whole reply off `bytes`, which are known to hold one; so the depth is bounded, and so are the counts, by what is there.
    pub(crate) fn take(bytes: &mut &[u8], base: u64) -> Result<Option<Reply>> {
        let Some((head, len)) = head(bytes, base)? else {
            return Ok(None);
        };
        *bytes = bytes.get(len..).unwrap_or_default();
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Ok(Some(match head {
            Head::Status(s) => Reply::Status(text(s)),
            Head::Error(s) => Reply::Error(text(s)),
            Head::Int(n) => Reply::Int(n),
            Head::Nil => Reply::Nil,
            Head::Bulk(n) => {
                let Some((string, rest)) = usize::try_from(n)
                    .ok()
                    .and_then(|n| bytes.split_at_checked(n))
                else {
                    return Ok(None);
                };
                *bytes = rest.get(2..).unwrap_or_default();
                Reply::Bulk(string.to_vec())
            }
            Head::Array(n) => {
                let mut all = Vec::new();
                for _ in 0..n {
                    let Some(reply) = Reply::take(bytes, base)? else {
                        return Ok(None);
                    };
                    all.push(reply);
                }
                Reply::Array(all)
            }
        }))
    }

    /// The bytes of a string or a status.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Reply::Bulk(b) => Some(b),
            Reply::Status(s) => Some(s.as_bytes()),
            _ => None,
        }
    }

    /// The same, where they are UTF-8.
    pub fn text(&self) -> Option<&str> {
        self.bytes().and_then(|b| std::str::from_utf8(b).ok())
    }

    /// An integer, or a string that is one.
    pub fn int(&self) -> Option<i64> {
        match self {
            Reply::Int(n) => Some(*n),
            other => other.text().and_then(|t| t.parse().ok()),
        }
    }

    /// The elements of an array.
    pub fn array(&self) -> Option<&[Reply]> {
        match self {
            Reply::Array(a) => Some(a),
            _ => None,
        }
    }

    /// Whether it is `+OK`.
    pub fn is_ok(&self) -> bool {
        matches!(self, Reply::Status(s) if s == "OK")
    }
}

/// As an error shows it: short, on one line.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Status(s) | Reply::Error(s) => f.write_str(&quote(s.as_bytes())),
            Reply::Int(n) => write!(f, "{n}"),
            Reply::Bulk(b) => f.write_str(&quote(b)),
            Reply::Array(a) => write!(f, "an array of {}", a.len()),
            Reply::Nil => f.write_str("nothing"),
        }
    }
}

#[cfg(test)]
mod tests;
