//! Up to the first byte of the snapshot.

use super::Options;
use crate::error::{ErrorKind, RdbError, quote};
use crate::net::client::refusal;
use crate::net::{Client, Connection, Endpoint};
use crate::resp::Reply;
use memchr::memmem::Finder;
use std::io::{Read, Write};

/// The version that is announced: the newest Valkey whose snapshots are known.
const VERSION: &[u8] = b"9.1.0";
/// Bytes of the mark behind a snapshot of unknown length.
pub(super) const MARK: usize = 40;
/// Longest line that a server answers with.
const LONGEST: usize = 64 << 10;

/// A snapshot that begins with the next byte.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) connection: Connection,
    /// What came already.
    pub(super) input: Vec<u8>,
    pub(super) history: Option<(String, u64)>,
    pub(super) frame: Frame,
    /// Whether the server hangs up behind the snapshot.
    pub(super) alone: bool,
}

/// Where a snapshot ends.
#[derive(Debug)]
pub(super) enum Frame {
    /// After so many bytes.
    Len(u64),
    /// Before these.
    Until(Box<Finder<'static>>),
}

impl Frame {
    pub(super) fn len(&self) -> Option<u64> {
        match self {
            Frame::Len(n) => Some(*n),
            Frame::Until(_) => None,
        }
    }
}

/// Why there is no snapshot.
#[derive(Debug)]
pub(super) enum Failed {
    /// It may be there when asked for again.
    Later(RdbError),
    /// It will not.
    Now(RdbError),
}

impl From<RdbError> for Failed {
    fn from(e: RdbError) -> Self {
        Failed::Now(e)
    }
}

/// Connects and asks.
pub(super) fn begin(endpoint: &Endpoint, options: &Options) -> Result<Begun, Failed> {
    let mut nowhere = endpoint.clone();
    nowhere.db = None; // SELECT may be forbidden, and means nothing here
    let mut client = Client::connect(&nowhere, &options.net)?;
    ask(&mut client, &[b"PING"])?;
    // One by one: an option that is not known must not hide the others. None of them is vital.
    ask(
        &mut client,
        &[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"],
    )?;
    ask(&mut client, &[b"REPLCONF", b"version", VERSION])?;
    let alone = ask(&mut client, &[b"REPLCONF", b"rdb-only", b"1"])?;

    client.send(&[options.psync.as_bytes(), b"?", b"-1"])?;
    let (connection, input) = client.into_parts();
    let mut lines = Lines { connection, input };
    let answer = lines.next("PSYNC")?;
    let history = match answer.strip_prefix("+FULLRESYNC ") {
        Some(rest) => Some(history(rest).ok_or_else(|| lines.unexpected("PSYNC", &answer))?),
        None => None,
    };
    let (asked, announced) = if history.is_some() {
        ("PSYNC", lines.next("PSYNC")?)
    } else if unknown(&answer) && options.psync.eq_ignore_ascii_case("PSYNC") {
        lines.send(b"SYNC\r\n")?;
        ("SYNC", lines.next("SYNC")?)
    } else {
        // Servers ask what they were called by: under another name PSYNC does what SYNC does.
        ("PSYNC", answer)
    };
    let frame = match announced.strip_prefix('$') {
        Some(of) => frame(of).ok_or_else(|| lines.unexpected(asked, &announced))?,
        None if asked == "SYNC" && unknown(&announced) => {
            let what = "the server knows neither PSYNC nor SYNC, so it gives no snapshot (some providers forbid it)";
            return Err(Failed::Now(lines.error(what)));
        }
        None => return Err(lines.refused(asked, &announced)),
    };
    Ok(Begun {
        connection: lines.connection,
        input: lines.input,
        history,
        frame,
        alone,
    })
}

/// Says something that the server need not know; whether it does. An error is only that it answers nothing at all without a password.
fn ask(client: &mut Client, args: &[&[u8]]) -> Result<bool, Failed> {
    match client.call(args)? {
        Reply::Error(e) if e.starts_with("NOAUTH") || e.contains("operation not permitted") => {
            let what = String::from_utf8_lossy(args.first().copied().unwrap_or_default());
            Err(Failed::Now(client.refused(&what, &e)))
        }
        reply => Ok(!matches!(reply, Reply::Error(_))),
    }
}

/// Whether it is the error for a command that is not there.
fn unknown(answer: &str) -> bool {
    answer.starts_with("-ERR unknown command") || answer.starts_with("-ERR Unsupported command")
}

/// `<id> <offset>`
fn history(text: &str) -> Option<(String, u64)> {
    let (id, offset) = text.split_once(' ')?;
    let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
    Some((id.to_owned(), offset.parse().ok()?)).filter(|_| plain)
}

/// `<length>`, or `EOF:` and the mark.
fn frame(text: &str) -> Option<Frame> {
    match text.strip_prefix("EOF:") {
        Some(mark) => (mark.len() == MARK)
            .then(|| Frame::Until(Box::new(Finder::new(mark.as_bytes()).into_owned()))),
        None => text.parse().ok().map(Frame::Len),
    }
}

/// A connection on which the server speaks from now on.
struct Lines {
    connection: Connection,
    input: Vec<u8>,
}

impl Lines {
    fn send(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        let sent = self
            .connection
            .write_all(bytes)
            .and_then(|()| self.connection.flush());
        Ok(sent
            .map_err(|e| RdbError::io("cannot send SYNC", e).with_file(self.connection.name()))?)
    }

    /// The next line that is not empty: those are sent once a second to show that the server still works on it.
    fn next(&mut self, asked: &str) -> Result<String, Failed> {
        loop {
            let empty = self.input.iter().take_while(|&&b| b == b'\n').count();
            self.input.drain(..empty);
            if let Some(n) = memchr::memchr(b'\n', &self.input) {
                let line: Vec<u8> = self.input.drain(..=n).collect();
                let line = line.strip_suffix(b"\r\n").unwrap_or(&line);
                return Ok(String::from_utf8_lossy(line).into_owned());
            }
            if self.input.len() > LONGEST {
                let text = String::from_utf8_lossy(&self.input);
                return Err(Failed::Now(self.unexpected(asked, &text)));
            }
            let mut step = [0; 4096];
            match self.connection.read(&mut step) {
                Ok(0) => {
                    let what = format!(
                        "{asked}: the server closed the connection before the snapshot began (its log may say why)"
                    );
                    return Err(Failed::Later(self.error(&what)));
                }
                Ok(n) => self
                    .input
                    .extend_from_slice(step.get(..n).unwrap_or_default()),
                Err(e) => {
                    let what = format!("no answer to {asked}");
                    return Err(Failed::Later(
                        RdbError::io(what, e).with_file(self.connection.name()),
                    ));
                }
            }
        }
    }

    fn refused(&self, asked: &str, answer: &str) -> Failed {
        let Some(said) = answer.strip_prefix('-') else {
            return Failed::Now(self.unexpected(asked, answer));
        };
        let e = refusal(self.connection.name(), asked, said);
        let word = said.split(' ').next().unwrap_or_default();
        match word {
            "LOADING" | "NOMASTERLINK" | "MASTERDOWN" | "BUSY" => Failed::Later(e),
            _ if said.contains("BGSAVE failed")
                || said.contains("not connected with my master") =>
            {
                Failed::Later(e)
            }
            _ => Failed::Now(e),
        }
    }

    fn unexpected(&self, asked: &str, answer: &str) -> RdbError {
        let answer = quote(answer.as_bytes());
        self.error(&format!("{asked}: the server answers {answer}"))
    }

    fn error(&self, what: &str) -> RdbError {
        RdbError::other(ErrorKind::Server, what).with_file(self.connection.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced() {
        assert_eq!(frame("0").unwrap().len(), Some(0));
        assert_eq!(frame("18446744073709551615").unwrap().len(), Some(u64::MAX));
        let mark = "0123456789abcdef0123456789abcdef01234567";
        assert!(frame(&format!("EOF:{mark}")).unwrap().len().is_none());
        for bad in [
            "",
            "-1",
            "x",
            "18446744073709551616",
            "EOF:",
            "EOF:0123",
            mark,
        ] {
            assert!(frame(bad).is_none(), "{bad}");
        }
        assert_eq!(history("ab 0"), Some(("ab".into(), 0)));
        for bad in ["", "ab", "ab ", "ab x", " 1", "a\x1b 1", "ab -1"] {
            assert!(history(bad).is_none(), "{bad}");
        }
    }
}
