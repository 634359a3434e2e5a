//! The commands and annotations of a log, one after the other.
//!
//! ```text
//!   #TS:1795208898\r\n                                      an annotation: # to the line end
//!   *2\r\n $6\r\nSELECT\r\n $1\r\n0\r\n                     a command: lengths are read, what they are of is passed over
//! ```
//!
//! Strict where servers are not: they take line ends of LF alone, numbers with something behind them, and any two bytes behind an argument.
//! No server writes those, so they are damage.

use crate::command::Raw;
use crate::command::table::Role;
use crate::error::{RdbError, Result, quote};
use crate::resp::read::command::{Arg, Found, Splitter};
use memchr::memchr;

/// Servers read lines into so many bytes, the last of which is a zero.
pub(crate) const LINE: usize = 1024;

/// What stands at a place.
#[derive(Debug, Clone, Copy)]
pub enum Step<'b> {
    /// A command.
    Command(Raw<'b>),
    /// A line that is none, with its end.
    Annotation(&'b [u8]),
    /// Something that is not all there.
    More,
}

/// Where the scan of a buffer is; keeps its place while more bytes come, within a command too.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    at: usize,
    splitter: Splitter,
    args: [Arg; 1],
}

impl Scan {
    /// What stands at the place, and goes on behind it. `bytes` are the same as in the call before, and more; `base` is where they lie
    /// in the file.
    #[inline]
    pub fn step<'b>(&mut self, bytes: &'b [u8], base: u64) -> Result<Step<'b>> {
        let rest = bytes.get(self.at..).unwrap_or_default();
        let base = base + self.at as u64;
        if rest.first() == Some(&b'#') {
            return self.annotation(rest, base);
        }
        Ok(match self.splitter.step(rest, base, &mut self.args)? {
            Found::More => Step::More,
            Found::Whole(n) => {
                let count = self.splitter.args();
                self.splitter.restart();
                self.at += n;
                let command = rest.get(..n).unwrap_or_default();
                Step::Command(Raw::found(command, self.args[0], count))
            }
        })
    }

    fn annotation<'b>(&mut self, rest: &'b [u8], base: u64) -> Result<Step<'b>> {
        let within = rest.get(..LINE).unwrap_or(rest);
        match memchr(b'\n', within) {
            Some(n) => {
                self.at += n + 1;
                Ok(Step::Annotation(rest.get(..=n).unwrap_or_default()))
            }
            None if within.len() < LINE => Ok(Step::More),
            None => Err(RdbError::corrupt(
                base,
                format!("an annotation longer than {LINE} bytes: {}", quote(within)),
            )),
        }
    }

    /// How far the scan is: everything before is whole.
    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The first `n` bytes have been taken out of the buffer.
    pub fn taken(&mut self, n: usize) {
        self.at = self.at.saturating_sub(n);
    }
}

/// The time that an annotation tells, in seconds since 1970.
///
/// ```
/// use rdbtool::aof::scan::time_stamp;
/// assert_eq!(time_stamp(b"#TS:1795208898\r\n"), Some(1_795_208_898));
/// assert_eq!(time_stamp(b"# by hand\n"), None);
/// ```
pub fn time_stamp(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"#TS:")?.trim_ascii_end();
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What a command means for how those behind it are read; of most nothing, and that is all that is asked of each.
#[inline]
pub fn control(name: &[u8]) -> Role {
    let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
    match name.len() {
        4 if is(b"EXEC") => Role::Exec,
        5 if is(b"MULTI") => Role::Multi,
        5 if is(b"WATCH") => Role::Transaction,
        6 if is(b"SELECT") => Role::Select,
        7 if is(b"DISCARD") || is(b"UNWATCH") => Role::Transaction,
        _ => Role::Data,
    }
}

/// The database that a SELECT names.
///
/// A server drops one whose number it cannot read, and goes on in the database before; no server writes one.
pub fn selected(raw: &Raw<'_>, offset: u64) -> Result<u64> {
    let arg = raw.args().nth(1).unwrap_or_default();
    let n = std::str::from_utf8(arg)
        .ok()
        .and_then(|n| n.parse::<u32>().ok());
    n.map(u64::from).ok_or_else(|| {
        let what = format!("SELECT {}: expected the number of a database", quote(arg));
        RdbError::corrupt(offset, what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const LOG: &[u8] = b"#TS:7\r\n*2\r\n$6\r\nselect\r\n$1\r\n3\r\n*1\r\n$5\r\nMULTI\r\n#by hand\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n*1\r\n$4\r\nexec\r\n";

    fn steps(bytes: &[u8], piece: usize) -> Vec<String> {
        let mut scan = Scan::default();
        let (mut found, mut there) = (Vec::new(), 0);
        loop {
            match scan.step(&bytes[..there], 100).unwrap() {
                Step::Command(raw) => found.push(format!(
                    "{:?} {}",
                    control(raw.name()),
                    raw.args()
                        .map(|a| a.escape_ascii().to_string())
                        .collect::<Vec<_>>()
                        .join(" ")
                )),
                Step::Annotation(line) => found.push(format!("{:?}", time_stamp(line))),
                Step::More if there == bytes.len() => {
                    assert_eq!(scan.at(), there);
                    return found;
                }
                Step::More => there = (there + piece).min(bytes.len()),
            }
        }
    }

    #[test]
    fn in_pieces_of_any_size() {
        let want = [
            "Some(7)",
            "Select select 3",
            "Multi MULTI",
            "None",
            "Data SET  \\r\\n",
            "Exec exec",
        ];
        for piece in 1..LOG.len() {
            assert_eq!(steps(LOG, piece), want, "{piece}");
        }
    }

    #[test]
    fn what_no_server_writes() {
        for (bytes, at) in [
            (&b"*1\n$4\nPING\r\n"[..], 0),
            (b"*1\r\n$4\r\nPING\n\n", 12),
            (b"PING\r\n", 0),
            (b"*0\r\n", 0),
            (b"*-1\r\n", 0),
            (b"*1\r\n$-1\r\n", 4),
            (b"*1\r\n:1\r\n", 4),
            (b"\r\n", 0),
            (b"\0\0\0", 0),
            (b"*2147483648\r\n", 0),
            (b"*1\r\n$1099511627777\r\n", 4),
        ] {
            let e = Scan::default().step(bytes, 0).unwrap_err();
            assert_eq!(
                (e.kind(), e.offset()),
                (ErrorKind::Corrupt, Some(at)),
                "{}: {e}",
                bytes.escape_ascii()
            );
        }
        let long = [&b"#"[..], &[b'x'; LINE]].concat();
        assert!(Scan::default().step(&long, 0).is_err());
        assert!(matches!(
            Scan::default().step(&long[..LINE - 1], 0).unwrap(),
            Step::More
        ));
    }

    #[test]
    fn databases() {
        for (arg, want) in [
            ("3", Some(3)),
            ("-1", None),
            ("x", None),
            ("99999999999", None),
        ] {
            let bytes = format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{arg}\r\n", arg.len());
            let raw = Raw::read(bytes.as_bytes(), 0).unwrap().unwrap();
            assert_eq!(selected(&raw, 0).ok(), want, "{arg}");
        }
    }
}
