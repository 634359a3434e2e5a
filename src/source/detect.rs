//! What a file is, by its first bytes; its name does not matter.

/// How many bytes are looked at.
pub const LOOK: usize = 512;

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An RDB file.
    Rdb,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// Redis commands: an append-only file.
    Aof,
    /// The manifest of an append-only directory.
    Manifest,
    /// JSON.
    Json,
    /// Nothing at all.
    Empty,
    /// Something else, in words.
    Other(&'static str),
}

/// Tells what begins like this.
///
/// ```
/// use rdbtool::source::detect::{Kind, kind};
/// assert_eq!(kind(b"REDIS0011\xfa..."), Kind::Rdb);
/// assert_eq!(kind(b"*2\r\n$6\r\nSELECT\r\n"), Kind::Aof);
/// ```
pub fn kind(first: &[u8]) -> Kind {
    const KNOWN: &[(&[u8], Kind)] = &[
        (b"REDIS", Kind::Rdb),
        (b"VALKEY", Kind::Rdb),
        (b"\x1f\x8b", Kind::Gzip),
        (b"\x28\xb5\x2f\xfd", Kind::Zstd),
        (b"file ", Kind::Manifest),
        (b"#TS:", Kind::Aof),
        (
            b"BZh",
            Kind::Other("it is bzip2 data; unpack it first (bzip2 -dc FILE | rdbtool ... -)"),
        ),
        (
            b"\xfd7zXZ\0",
            Kind::Other("it is xz data; unpack it first (xz -dc FILE | rdbtool ... -)"),
        ),
        (
            b"\x04\x22\x4d\x18",
            Kind::Other("it is lz4 data; unpack it first (lz4 -dc FILE | rdbtool ... -)"),
        ),
        (
            b"PK\x03\x04",
            Kind::Other("it is a zip archive; unpack it first"),
        ),
        (
            b"7z\xbc\xaf\x27\x1c",
            Kind::Other("it is a 7z archive; unpack it first"),
        ),
        (
            b"SQLite format 3\0",
            Kind::Other("it is an SQLite database"),
        ),
        (b"\x7fELF", Kind::Other("it is a program (ELF)")),
        (
            b"$",
            Kind::Other(
                "it looks like a reply of a server (RESP), as a replication stream begins; the RDB file starts after its first line",
            ),
        ),
        (
            b"<",
            Kind::Other("it looks like HTML or XML; perhaps an error page was saved in its place"),
        ),
        (b"-----BEGIN", Kind::Other("it looks like a PEM file")),
        (
            b"Salted__",
            Kind::Other("it is encrypted by openssl; decrypt it first"),
        ),
    ];
    if first.is_empty() {
        return Kind::Empty;
    }
    if let Some((_, kind)) = KNOWN.iter().find(|(magic, _)| first.starts_with(magic)) {
        return *kind;
    }
    if first.get(257..262) == Some(b"ustar") {
        return Kind::Other("it is a tar archive; unpack it first");
    }
    match first {
        [b'*', b'0'..=b'9', ..] => Kind::Aof,
        _ if matches!(first.trim_ascii_start(), [b'{' | b'[', ..]) => Kind::Json,
        _ if first.iter().all(|&b| b == 0) => {
            Kind::Other("it begins with zeros, as a file that was never written to the end does")
        }
        _ if first
            .iter()
            .all(|&b| matches!(b, b' '..=b'~' | b'\t' | b'\r' | b'\n')) =>
        {
            Kind::Other("it looks like plain text")
        }
        _ => Kind::Other("it begins with neither REDIS nor VALKEY"),
    }
}

impl Kind {
    /// What the source is instead of an RDB file, and what to do.
    pub fn describe(self) -> &'static str {
        match self {
            Kind::Rdb => "it is an RDB file",
            Kind::Gzip => "it is gzip data inside compressed data; unpack it first",
            Kind::Zstd => "it is zstd data inside compressed data; unpack it first",
            Kind::Aof => "it is an append-only file",
            Kind::Manifest => {
                "it is the manifest of an append-only directory; give the directory, where the files are that it lists"
            }
            Kind::Json => "it is JSON",
            Kind::Empty => "there is nothing in it",
            Kind::Other(what) => what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_content() {
        let rows: [(&[u8], Kind); 9] = [
            (b"REDIS0001", Kind::Rdb),
            (b"VALKEY080", Kind::Rdb),
            (b"\x1f\x8b\x08", Kind::Gzip),
            (b"\x28\xb5\x2f\xfd", Kind::Zstd),
            (b"*3\r\n", Kind::Aof),
            (b"{\"db\":0", Kind::Json),
            (b"\r\n  [{", Kind::Json),
            (b"", Kind::Empty),
            (
                b"file appendonly.aof.1.base.rdb seq 1 type b",
                Kind::Manifest,
            ),
        ];
        for (bytes, want) in rows {
            assert_eq!(kind(bytes), want, "{}", bytes.escape_ascii());
        }
        assert!(matches!(kind(b"\0\0\0"), Kind::Other(w) if w.contains("zeros")));
        assert!(matches!(kind(b"hello"), Kind::Other(w) if w.contains("text")));
    }
}
