//! String values.

use crate::error::Result;
use crate::ndjson::escape;
use crate::out::Out;
use crate::rdb::lzf::Pieces;
use crate::rdb::string::{Form, RdbStr};

/// A string whose LZF data stands for more than is decompressed at once: read twice, first to see whether it is UTF-8.
#[cold]
pub(super) fn lzf(data: &[u8], len: usize, offset: u64, out: &mut Out<'_>) -> Result<()> {
    let mut pieces = Pieces::new(data, len);
    let mut utf8 = Utf8::default();
    while let Some(piece) = pieces.next_piece().map_err(|e| e.into_error(offset))? {
        utf8.check(piece);
    }
    let mut pieces = Pieces::new(data, len);
    if utf8.is_whole() {
        out.byte(b'"');
        while let Some(piece) = pieces.next_piece().map_err(|e| e.into_error(offset))? {
            escape::escaped(piece, out);
            out.checkpoint()?;
        }
        out.byte(b'"');
        return Ok(());
    }
    out.lit(b"{\"base64\":\"");
    // Base64 goes by threes; what is left of a piece waits for the next.
    let mut waiting = Vec::new();
    while let Some(piece) = pieces.next_piece().map_err(|e| e.into_error(offset))? {
        waiting.extend_from_slice(piece);
        let n = waiting.len() / 3 * 3;
        escape::base64(&waiting[..n], out);
        waiting.drain(..n);
        out.checkpoint()?;
    }
    escape::base64(&waiting, out);
    out.lit(b"\"}");
    Ok(())
}

/// Checks for UTF-8 what comes in pieces.
#[derive(Default)]
struct Utf8 {
    /// The start of a character that the last piece cut.
    open: Vec<u8>,
    broken: bool,
}

impl Utf8 {
    fn check(&mut self, mut piece: &[u8]) {
        while !self.broken && !self.open.is_empty() {
            let Some((&b, rest)) = piece.split_first() else {
                return;
            };
            self.open.push(b);
            piece = rest;
            match std::str::from_utf8(&self.open) {
                Ok(_) => self.open.clear(),
                Err(e) => self.broken = e.error_len().is_some(),
            }
        }
        if let Err(e) = simdutf8::compat::from_utf8(piece) {
            match e.error_len() {
                None => self.open = piece[e.valid_up_to()..].to_vec(),
                Some(_) => self.broken = true,
            }
        }
    }

    fn is_whole(&self) -> bool {
        !self.broken && self.open.is_empty()
    }
}

/// `int`, `embstr` or `raw`: what a server makes of such a string when it loads it.
pub(super) fn encoding(s: &RdbStr<'_>) -> &'static str {
    /// Longer strings are not embedded in their object.
    const EMBSTR: usize = 44;
    match s.form() {
        Form::Int(_) => "int",
        Form::Raw(b) if is_canonical_i64(b) => "int",
        _ if s.len() <= EMBSTR => "embstr",
        _ => "raw",
    }
}

fn is_canonical_i64(b: &[u8]) -> bool {
    b.len() <= 20
        && std::str::from_utf8(b)
            .ok()
            .and_then(|s| s.parse::<i64>().ok())
            .is_some_and(|n| itoa::Buffer::new().format(n).as_bytes() == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_in_any_pieces() {
        let whole = "a\u{e9}\u{20ac}\u{1f600}z".as_bytes();
        for step in 1..5 {
            let mut u = Utf8::default();
            whole.chunks(step).for_each(|p| u.check(p));
            assert!(u.is_whole(), "{step}");
            for bad in [&b"\xff"[..], b"a\xe2\x82", b"\xe2\x28\xa1", b"\xf0\x9f"] {
                let mut u = Utf8::default();
                bad.chunks(step).for_each(|p| u.check(p));
                assert!(!u.is_whole(), "{step} {bad:?}");
            }
        }
    }

    #[test]
    fn large_strings() {
        // The same 24 bytes over and over, once UTF-8 and once not: a literal run, then references.
        for (unit, utf8) in [
            (*b"0123456789abcdef\xc3\xa9\"\n4567", true),
            (*b"0123456789abcdef\xc3\xff\"\n4567", false),
        ] {
            let mut data = vec![23];
            data.extend(unit);
            let n = 30_000;
            for _ in 0..n {
                data.extend([0xe0, 0xff, 23]);
            }
            let len = 24 + n * 264;
            let mut out = Out::new();
            lzf(&data, len, 0, &mut out).unwrap();
            let want: Vec<u8> = unit.iter().copied().cycle().take(len).collect();
            let value: serde_json::Value = serde_json::from_slice(out.as_bytes()).unwrap();
            match utf8 {
                true => assert!(value.as_str().unwrap().as_bytes() == want),
                false => {
                    let b64 = value["base64"].as_str().unwrap();
                    assert!(base64_simd::STANDARD.decode_to_vec(b64).unwrap() == want);
                }
            }
        }
    }

    #[test]
    fn encodings() {
        let long = [b'x'; 45];
        let rows: [(&[u8], &str); 6] = [
            (b"12", "int"),
            (b"-9223372036854775808", "int"),
            (b"9223372036854775808", "embstr"),
            (b"007", "embstr"),
            (&long[..44], "embstr"),
            (&long, "raw"),
        ];
        for (b, want) in rows {
            assert_eq!(encoding(&RdbStr::raw(b, 0)), want);
        }
    }
}
