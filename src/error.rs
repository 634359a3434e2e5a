//! The one error of the library: what kind, where, and what was being read.
//!
//! ```text
//! dump.rdb: byte 1048577: key "user:1" (hash, listpack): element 12 runs 7 bytes past the end of the listpack
//! ^ file    ^ offset      ^ key        ^ type, encoding  ^ what was found
//! ```
//!
//! The value is one boxed pointer, built on a cold path, so that `Result<T, RdbError>` costs nothing where all is well.

use std::fmt;

/// `Result` with [`RdbError`].
pub type Result<T, E = RdbError> = std::result::Result<T, E>;

/// What sort of trouble an [`RdbError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input ends inside something.
    UnexpectedEof,
    /// The bytes contradict the format.
    Corrupt,
    /// The trailing CRC-64 is not that of the bytes before it.
    Checksum,
    /// Well formed as far as can be told, but nothing this build can read.
    Unsupported,
    /// A limit of this program was reached.
    Limit,
    /// A key is there already.
    Conflict,
    /// Something cannot be kept, and must be.
    Loss,
    /// The operating system, or the other end of a connection, refused to read or write.
    Io,
    /// A server refused, or answered what it should not.
    Server,
}

/// An error, with the absolute byte offset at which the broken thing starts.
///
/// ```
/// use rdbtool::{ErrorKind, RdbError};
/// let e = RdbError::corrupt(9, "unknown opcode 0xf0");
/// assert_eq!(e.kind(), ErrorKind::Corrupt);
/// assert_eq!(e.offset(), Some(9));
/// assert_eq!(e.to_string(), "byte 9: unknown opcode 0xf0");
/// ```
pub struct RdbError(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    offset: Option<u64>,
    lzf: Option<u64>,
    line: Option<u64>,
    whole: Option<u64>,
    what: String,
    key: Option<String>,
    file: Option<String>,
    io: Option<std::io::Error>,
}

impl RdbError {
    #[cold]
    fn new(kind: ErrorKind, offset: Option<u64>, what: String) -> Self {
        RdbError(Box::new(Inner {
            kind,
            offset,
            lzf: None,
            line: None,
            whole: None,
            what,
            key: None,
            file: None,
            io: None,
        }))
    }

    /// The input ends inside what starts at `offset`.
    #[cold]
    pub fn eof(offset: u64, what: impl Into<String>) -> Self {
        Self::new(ErrorKind::UnexpectedEof, Some(offset), what.into())
    }

    /// The bytes at `offset` contradict the format.
    #[cold]
    pub fn corrupt(offset: u64, what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, Some(offset), what.into())
    }

    /// The bytes at `offset` are something this build cannot read.
    #[cold]
    pub fn unsupported(offset: u64, what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, Some(offset), what.into())
    }

    /// The trailing checksum at `offset` is wrong.
    #[cold]
    pub fn checksum(offset: u64, what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Checksum, Some(offset), what.into())
    }

    /// A limit of this program was reached at `offset`.
    #[cold]
    pub fn limit(offset: u64, what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limit, Some(offset), what.into())
    }

    /// The key at `offset` is there already.
    #[cold]
    pub fn conflict(offset: u64, what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, Some(offset), what.into())
    }

    /// The operating system refused; `what` says what was being done.
    ///
    /// An error of ours that came through a [`Read`](std::io::Read), which has room only for those of the system, comes out
    /// as what it was.
    #[cold]
    pub fn io(what: impl Into<String>, error: std::io::Error) -> Self {
        let error = match error.downcast::<RdbError>() {
            Ok(ours) => return ours,
            Err(error) => error,
        };
        let mut e = Self::new(ErrorKind::Io, None, what.into());
        e.0.io = Some(error);
        e
    }

    /// A value that is too large to wait for in memory cannot be gathered on disk.
    #[cold]
    pub(crate) fn no_room(error: std::io::Error) -> Self {
        let dir = std::env::temp_dir();
        let dir = dir.display();
        Self::io(
            format!("cannot gather a large value in {dir} (set TMPDIR to a directory with room)"),
            error,
        )
    }

    /// A trouble that has no place in a file (a source that is no RDB file, say).
    #[cold]
    pub fn other(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self::new(kind, None, what.into())
    }

    /// What sort of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Absolute byte offset at which the broken thing starts, counted from the start of the (unpacked) file.
    ///
    /// For trouble inside LZF data this is where the compressed string starts; see [`RdbError::lzf_offset`].
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// Bytes into the decompressed data, when the trouble is inside an LZF string.
    pub fn lzf_offset(&self) -> Option<u64> {
        self.0.lzf
    }

    /// The key whose record was being read, quoted and shortened, with its type.
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// What was found, without file, offset and key.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// The error of the operating system behind an [`ErrorKind::Io`].
    pub fn io_error(&self) -> Option<&std::io::Error> {
        self.0.io.as_ref()
    }

    /// Says that the offset lies in the LZF string that starts at `string`: the offset so far counts
    /// from the start of its decompressed bytes.
    #[must_use]
    pub fn inside_lzf(mut self, string: u64) -> Self {
        self.0.lzf = self.0.offset;
        self.0.offset = Some(string);
        self
    }

    /// Line of the input in which the offset lies, counted from 1, where the input is text.
    pub fn line(&self) -> Option<u64> {
        self.0.line
    }

    /// Adds the line of the input in which the offset lies.
    #[must_use]
    pub fn on_line(mut self, line: u64) -> Self {
        self.0.line = Some(line);
        self
    }

    /// Of a log: where the last whole command or transaction before the trouble ends. Up to there the file is good.
    pub fn whole(&self) -> Option<u64> {
        self.0.whole
    }

    /// Adds where the last whole command before it ends.
    #[must_use]
    pub fn with_whole(mut self, end: u64) -> Self {
        self.0.whole = Some(end);
        self
    }

    /// Adds the key (and its type), unless one is there already.
    #[must_use]
    pub fn with_key(mut self, key: &[u8], value: &str) -> Self {
        if self.0.key.is_none() {
            self.0.key = Some(format!("{} ({value})", quote(key)));
        }
        self
    }

    /// Adds the name of the file, unless one is there already.
    #[must_use]
    pub fn with_file(mut self, file: &str) -> Self {
        if self.0.file.is_none() {
            self.0.file = Some(file.to_owned());
        }
        self
    }
}

impl fmt::Display for RdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &self.0;
        if let Some(file) = &e.file {
            write!(f, "{file}: ")?;
        }
        if let Some(offset) = e.offset {
            write!(f, "byte {offset}")?;
            if let Some(n) = e.lzf {
                write!(f, ", {n} bytes into its LZF data")?;
            }
            if let Some(n) = e.line {
                write!(f, ", line {n}")?;
            }
            write!(f, ": ")?;
        }
        if let Some(key) = &e.key {
            write!(f, "key {key}: ")?;
        }
        f.write_str(&e.what)?;
        if let Some(io) = &e.io {
            write!(f, ": {io}")?;
        }
        match e.whole {
            // Of text it is a place in the log that is made of it, which nobody sees.
            Some(end) if e.offset != Some(end) && e.line.is_none() => {
                write!(f, " (whole commands end at byte {end})")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for RdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RdbError({:?}, {self})", self.0.kind)
    }
}

impl std::error::Error for RdbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.io.as_ref().map(|e| e as _)
    }
}

/// A key as an error shows it: in quotes, control and non-ASCII bytes escaped, at most 64 bytes of it.
///
/// ```
/// assert_eq!(rdbtool::quote(b"a\x1b[0m"), r#""a\x1b[0m""#);
/// ```
pub fn quote(key: &[u8]) -> String {
    quote_up_to(64, key)
}

/// The same with at most so many bytes shown.
pub(crate) fn quote_up_to(shown: usize, key: &[u8]) -> String {
    let mut s = String::from("\"");
    for &b in key.iter().take(shown) {
        match b {
            b'"' | b'\\' => {
                s.push('\\');
                s.push(b as char);
            }
            b' '..=b'~' => s.push(b as char),
            _ => s.push_str(&format!("\\x{b:02x}")),
        }
    }
    s.push('"');
    if key.len() > shown {
        s.push_str(&format!("... {} bytes", key.len()));
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_file_offset_key_and_what() {
        let e = RdbError::corrupt(
            1048577,
            "element 12 runs 7 bytes past the end of the listpack",
        )
        .with_key(b"user:1", "hash, listpack")
        .with_file("dump.rdb");
        assert_eq!(
            e.to_string(),
            "dump.rdb: byte 1048577: key \"user:1\" (hash, listpack): element 12 runs 7 bytes past the end of the listpack"
        );
    }

    #[test]
    fn inside_lzf_gives_both_offsets() {
        let e = RdbError::corrupt(33, "bad head").inside_lzf(4711);
        assert_eq!(
            e.to_string(),
            "byte 4711, 33 bytes into its LZF data: bad head"
        );
        assert_eq!((e.offset(), e.lzf_offset()), (Some(4711), Some(33)));
    }

    #[test]
    fn an_error_of_ours_comes_through_a_reader() {
        let e = RdbError::corrupt(305, "a lone surrogate").on_line(17);
        let e = RdbError::io("cannot read", std::io::Error::other(e)).with_file("out.json");
        assert_eq!((e.kind(), e.line()), (ErrorKind::Corrupt, Some(17)));
        assert_eq!(
            e.to_string(),
            "out.json: byte 305, line 17: a lone surrogate"
        );
    }

    #[test]
    fn keys_are_shortened() {
        let q = quote(&[b'k'; 100]);
        assert!(q.ends_with("k\"... 100 bytes") && q.len() < 100 + 20, "{q}");
    }
}
