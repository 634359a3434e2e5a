//! The columns of a table (RFC 4180).
//!
//! ```text
//!   db,key,type,expire_at_ms,idle_s,freq,value
//!   0,user:1,hash,4102444800000,,,"{""name"":""Ann""}"
//! ```
//!
//! A key or a string value is its text; one that is not UTF-8, or that itself begins with `base64:`, is `base64:` and its base64. Any
//! other value is its JSON. A cell that holds a comma, a quote or a line break is in quotes, with the quotes in it doubled.

use super::Measured;
use crate::cluster::slot::slot;
use crate::error::Result;
use crate::ndjson::escape;
use crate::out::{Drain, Out};
use crate::rdb::entry::Entry;
use crate::rdb::string::Scratch;
use std::sync::{Mutex, PoisonError};

/// How much text is quoted between two checkpoints.
const PIECE: usize = 48 << 10;

/// The columns before the value.
pub(super) fn open(e: &Entry<'_>, scratch: &mut Scratch, out: &mut Out<'_>) -> Result<()> {
    out.u64(e.db);
    out.byte(b',');
    text(e.key.as_bytes(scratch)?, out)?;
    out.byte(b',');
    out.raw(e.value_type.logical().name().as_bytes());
    out.byte(b',');
    if let Some(ms) = e.expire_at_ms {
        out.i64(ms);
    }
    out.byte(b',');
    if let Some(s) = e.idle_s {
        out.u64(s);
    }
    out.byte(b',');
    if let Some(n) = e.freq {
        out.u64(n.into());
    }
    out.byte(b',');
    Ok(())
}

/// The columns of `--meta`, behind the value.
pub(super) fn meta(e: &Entry<'_>, m: &Measured, key: &[u8], out: &mut Out<'_>) {
    out.byte(b',');
    out.raw(m.encoding.as_bytes());
    for n in [
        Some(e.value_type.byte().into()),
        Some(m.rdb_bytes),
        m.elements,
    ] {
        out.byte(b',');
        if let Some(n) = n {
            out.u64(n);
        }
    }
    out.byte(b',');
    out.u64(slot(key).into());
    out.byte(b',');
    out.u64(e.offset);
}

/// A cell that is a byte string.
pub(super) fn text(bytes: &[u8], out: &mut Out<'_>) -> Result<()> {
    if bytes.starts_with(b"base64:") || simdutf8::basic::from_utf8(bytes).is_err() {
        out.lit(b"base64:");
        return escape::base64_pieces(bytes, out);
    }
    if !bytes
        .iter()
        .any(|b| matches!(b, b',' | b'"' | b'\r' | b'\n'))
    {
        for piece in bytes.chunks(PIECE) {
            out.raw(piece);
            out.checkpoint()?;
        }
        return Ok(());
    }
    out.byte(b'"');
    doubled(bytes, out)?;
    out.byte(b'"');
    Ok(())
}

/// Runs `write` on a buffer whose bytes end up in `out` with every quote doubled.
pub(super) fn cell<T>(
    out: &mut Out<'_>,
    write: impl FnOnce(&mut Out<'_>) -> Result<T>,
) -> Result<T> {
    struct Doubling<'o, 'd>(Mutex<&'o mut Out<'d>>);
    impl Drain for Doubling<'_, '_> {
        fn drain(&self, bytes: &[u8]) -> Result<()> {
            let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            doubled(bytes, &mut out)
        }
    }
    let doubling = Doubling(Mutex::new(out));
    let mut inner = Out::draining(Vec::new(), &doubling);
    let r = write(&mut inner)?;
    let (buffer, len) = inner.into_parts();
    doubling.drain(&buffer[..len])?;
    Ok(r)
}

fn doubled(bytes: &[u8], out: &mut Out<'_>) -> Result<()> {
    for piece in bytes.chunks(PIECE) {
        let mut from = 0;
        for at in memchr::memchr_iter(b'"', piece) {
            out.raw(&piece[from..=at]);
            from = at;
        }
        out.raw(&piece[from..]);
        out.checkpoint()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells() {
        let rows: [(&[u8], &str); 6] = [
            (b"plain", "plain"),
            (b"", ""),
            (b"a,b", "\"a,b\""),
            (b"say \"hi\"", "\"say \"\"hi\"\"\""),
            (b"\xff", "base64:/w=="),
            (b"base64:", "base64:YmFzZTY0Og=="),
        ];
        for (bytes, want) in rows {
            let mut out = Out::new();
            text(bytes, &mut out).unwrap();
            assert_eq!(out.as_bytes(), want.as_bytes());
        }
        let mut out = Out::new();
        cell(&mut out, |out| {
            out.raw(b"[\"a\"]");
            Ok(())
        })
        .unwrap();
        assert_eq!(out.as_bytes(), b"[\"\"a\"\"]");
    }
}
