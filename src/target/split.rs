//! A stream of commands that was cut anywhere, as commands again.
//!
//! ```text
//!   written    | *3.. SET a 1  *3.. SET b | 2  *5.. RESTORE c 0 <300 MB of | payload  | payload    | payload> REPLACE |
//!   pieces       Whole ─────►  Whole ────────► Begin ─────────────────────►  More ──►   More ────►   End ──────────►
//! ```
//!
//! What lies whole in what is written is not copied. What was cut is put together in a buffer, up to a limit; of what is larger
//! its beginning is given out, with name and key, and then the rest as it comes.

use super::route;
use crate::error::{RdbError, Result};
use crate::resp::read::command::{Arg, Found, Splitter};
use crate::resp::read::{Head, head};

/// How many arguments are looked at: as many as it takes to find any key.
pub const ARGS: usize = 10;
/// Bytes of the longest line before an argument.
const LINE: usize = 24;
/// Bytes of the longest key that is gathered: more than servers take.
const LONGEST: usize = 1 << 30;

/// A command, or its beginning.
#[derive(Debug, Clone, Copy)]
pub struct Command<'b> {
    /// Its bytes.
    pub bytes: &'b [u8],
    /// Where its first arguments lie in them.
    pub args: &'b [Arg],
    /// How many arguments it has.
    pub count: u64,
}

/// What was found.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'b> {
    /// A whole command.
    Whole(Command<'b>),
    /// The beginning of a large one; its key is there.
    Begin(Command<'b>),
    /// More of it.
    More(&'b [u8]),
    /// The rest of it.
    End(&'b [u8]),
}

/// Cuts a stream into commands.
#[derive(Debug)]
pub struct Split {
    splitter: Splitter,
    args: [Arg; ARGS],
    /// The beginning of a command that was cut.
    carry: Vec<u8>,
    /// Whether that has been given out.
    spent: bool,
    /// The rest of a large one.
    tail: Option<Tail>,
    /// Where the command, or the rest of it, starts in the stream.
    base: u64,
    /// Bytes from which on a command is large.
    large: usize,
}

impl Split {
    /// The beginning of a stream. Commands of at least `large` bytes that do not come in one piece are given out in several.
    pub fn new(large: usize) -> Split {
        Split {
            splitter: Splitter::default(),
            args: [Arg::default(); ARGS],
            carry: Vec::new(),
            spent: false,
            tail: None,
            base: 0,
            large,
        }
    }

    /// Whether the stream may end here.
    pub fn is_between(&self) -> bool {
        (self.spent || self.carry.is_empty()) && self.tail.is_none()
    }

    /// Where the next command starts in the stream, if it [may end](Split::is_between) here.
    pub fn offset(&self) -> u64 {
        self.base
    }

    /// Takes the next piece off `input`; `None` when that is used up.
    #[inline]
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<Piece<'s>>> {
        if self.spent {
            self.spent = false;
            self.carry.clear();
        }
        if input.is_empty() {
            return Ok(None);
        }
        if self.tail.is_some() {
            return self.rest(input);
        }
        if !self.carry.is_empty() {
            return self.put_together(input);
        }
        match self.splitter.step(input, self.base, &mut self.args)? {
            Found::Whole(n) => {
                let (bytes, rest) = input.split_at_checked(n).unwrap_or((input, &[]));
                *input = rest;
                let count = self.splitter.args();
                self.base += n as u64;
                self.splitter.restart();
                Ok(Some(Piece::Whole(Command {
                    bytes,
                    args: known(&self.args, count),
                    count,
                })))
            }
            Found::More => {
                self.carry.extend_from_slice(input);
                *input = &[];
                self.large_or_nothing()
            }
        }
    }

    /// Goes on with a command that was cut.
    fn put_together<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<Piece<'s>>> {
        while !input.is_empty() {
            // So much is certain to be of this command.
            let want = match self.splitter.begun() {
                Some(arg) => {
                    let end = (arg.start as u64).saturating_add(arg.len) + 2;
                    let want = end.saturating_sub(self.carry.len() as u64).max(1);
                    usize::try_from(want).unwrap_or(usize::MAX)
                }
                None => 1,
            };
            let room = self.large.saturating_sub(self.carry.len()).max(LINE);
            let n = want.min(room).min(input.len());
            let (taken, rest) = input.split_at_checked(n).unwrap_or((input, &[]));
            self.carry.extend_from_slice(taken);
            *input = rest;
            let found = self.splitter.step(&self.carry, self.base, &mut self.args)?;
            if let Found::Whole(n) = found {
                let count = self.splitter.args();
                self.base += n as u64;
                self.splitter.restart();
                self.spent = true;
                return Ok(Some(Piece::Whole(Command {
                    bytes: &self.carry,
                    args: known(&self.args, count),
                    count,
                })));
            }
            if self.is_large()? {
                break;
            }
        }
        self.large_or_nothing()
    }

    /// Whether what has been gathered is the beginning of a large command, and enough of it.
    fn is_large(&self) -> Result<bool> {
        if self.carry.len() < self.large || self.splitter.begun().is_none() {
            return Ok(false);
        }
        let there = known(&self.args, self.splitter.complete());
        let name = there.first().map_or(&b""[..], |a| a.of(&self.carry));
        let found = route::route(name) == route::Route::Everywhere && !name.is_empty()
            || route::key(&self.carry, there).is_some();
        if !found && self.carry.len() >= LONGEST {
            let what = format!("a command whose key is not within its first {LONGEST} bytes");
            return Err(RdbError::limit(self.base, what));
        }
        Ok(found)
    }

    fn large_or_nothing(&mut self) -> Result<Option<Piece<'_>>> {
        if !self.is_large()? {
            return Ok(None);
        }
        let Some(begun) = self.splitter.begun() else {
            return Ok(None);
        };
        let (count, complete) = (self.splitter.args(), self.splitter.complete());
        let end = (begun.start as u64).saturating_add(begun.len);
        let there = self.carry.len() as u64;
        self.tail = Some(Tail {
            args: count - complete - 1,
            body: end.saturating_sub(there),
            // A part of the line end may be there already; it is checked with the rest.
            line: self
                .carry
                .get(usize::try_from(end).unwrap_or(usize::MAX)..)
                .unwrap_or_default()
                .to_vec(),
            in_head: false,
        });
        self.base += there;
        self.splitter.restart();
        self.spent = true;
        Ok(Some(Piece::Begin(Command {
            bytes: &self.carry,
            args: known(&self.args, complete),
            count,
        })))
    }

    /// Goes on with a large command.
    fn rest<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Piece<'i>>> {
        let Some(tail) = &mut self.tail else {
            return Ok(None);
        };
        let (n, ended) = tail.take(input, self.base)?;
        let (bytes, rest) = input.split_at_checked(n).unwrap_or((input, &[]));
        *input = rest;
        self.base += n as u64;
        if ended {
            self.tail = None;
            return Ok(Some(Piece::End(bytes)));
        }
        Ok(Some(Piece::More(bytes)))
    }
}

/// The first `n` of the arguments, of those that were looked at.
fn known(args: &[Arg; ARGS], n: u64) -> &[Arg] {
    let n = usize::try_from(n).unwrap_or(ARGS).min(ARGS);
    args.get(..n).unwrap_or_default()
}

/// What is still to come of a command.
#[derive(Debug)]
struct Tail {
    /// Arguments of which nothing has come.
    args: u64,
    /// Bytes to come of the one that is begun.
    body: u64,
    /// What has come of the line end behind it, or of the line before the next.
    line: Vec<u8>,
    in_head: bool,
}

impl Tail {
    /// How many bytes are of this command, and whether it ends there.
    fn take(&mut self, input: &[u8], base: u64) -> Result<(usize, bool)> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            if self.body > 0 {
                let n = usize::try_from(self.body)
                    .unwrap_or(usize::MAX)
                    .min(rest.len());
                self.body -= n as u64;
                at += n;
                if self.body > 0 {
                    return Ok((at, false));
                }
                continue;
            }
            if !self.in_head && self.line.len() == 2 {
                if self.line != b"\r\n" {
                    let end = (base + at as u64).saturating_sub(2);
                    let what = format!(
                        "{} where a string's line end is expected",
                        crate::error::quote(&self.line)
                    );
                    return Err(RdbError::corrupt(end, what));
                }
                self.line.clear();
                if self.args == 0 {
                    return Ok((at, true));
                }
                self.args -= 1;
                self.in_head = true;
                continue;
            }
            let Some(&b) = rest.first() else {
                return Ok((at, false));
            };
            self.line.push(b);
            at += 1;
            if !self.in_head {
                continue;
            }
            let start = (base + at as u64).saturating_sub(self.line.len() as u64);
            if self.line.first() != Some(&b'$') {
                let what = format!(
                    "{} where an argument ($) is expected",
                    crate::error::quote(&self.line)
                );
                return Err(RdbError::corrupt(start, what));
            }
            match head(&self.line, start)? {
                None => {}
                Some((Head::Bulk(n), _)) => {
                    self.body = n;
                    self.line.clear();
                    self.in_head = false;
                }
                Some(_) => {
                    let what = format!(
                        "{} where an argument's length is expected",
                        crate::error::quote(&self.line)
                    );
                    return Err(RdbError::corrupt(start, what));
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    /// The commands of a stream that is written in pieces of `n` bytes.
    fn commands(stream: &[u8], n: usize, large: usize) -> Vec<Vec<u8>> {
        let mut split = Split::new(large);
        let (mut all, mut open) = (Vec::new(), Vec::new());
        for mut part in stream.chunks(n) {
            while let Some(piece) = split.next(&mut part).unwrap() {
                match piece {
                    Piece::Whole(c) => all.push(c.bytes.to_vec()),
                    Piece::Begin(c) => {
                        assert_eq!(route::key(c.bytes, c.args), Some(&b"key"[..]));
                        open = c.bytes.to_vec();
                    }
                    Piece::More(b) => open.extend_from_slice(b),
                    Piece::End(b) => {
                        open.extend_from_slice(b);
                        all.push(std::mem::take(&mut open));
                    }
                }
            }
            assert!(open.is_empty() || !split.is_between());
        }
        assert!(split.is_between());
        assert_eq!(split.offset(), stream.len() as u64);
        all
    }

    #[test]
    fn wherever_it_is_cut() {
        let mut out = crate::out::Out::new();
        let mut want = Vec::new();
        for argv in [
            &[&b"SELECT"[..], b"1"][..],
            &[b"SET", b"key", b""],
            &[b"RPUSH", b"key", &[b'x'; 300], b"\r\n", &[b'$'; 70]],
            &[b"RESTORE", b"key", b"0", &[0; 100], b"REPLACE"],
            &[b"FUNCTION", b"LOAD", b"code"],
        ] {
            let start = out.len();
            crate::resp::write::command(argv, &mut out);
            want.push(out.as_bytes()[start..].to_vec());
        }
        for large in [40, 60, 1000] {
            for n in 1..=out.len() {
                assert_eq!(commands(out.as_bytes(), n, large), want, "{n}, {large}");
            }
        }
    }
}
