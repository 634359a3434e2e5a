//! Byte strings in JSON, without loss: a JSON string when the bytes are UTF-8, base64 when they are not.
//!
//! ```text
//!   caf\xc3\xa9 "x"\n    ->  "caf\u00e9 \"x\"\n"  (the two bytes of the e as they are)
//!   \xff\x00             ->  {"base64":"/wA="}
//! ```
//!
//! One pass: sixteen bytes are copied, and looked at for what must be escaped and for what is not ASCII. Only at the first byte
//! that is not ASCII is the rest checked for UTF-8, and if it fails what was written is taken back.

use super::block::{classify, classify_words, words};
use crate::error::Result;
use crate::out::Out;
use crate::rdb::packed::Element;

/// Strings longer than this are written in pieces, so that the output buffer stays small. A multiple of three, for base64.
const PIECE: usize = 48 << 10;

/// Appends a byte string S: a JSON string when it is valid UTF-8, `{"base64":"..."}` when it is not.
///
/// ```
/// use rdbtool::{ndjson::escape, out::Out};
/// let mut out = Out::new();
/// escape::string(b"say \"hi\"\n", &mut out)?;
/// escape::string(b"\xff\x00", &mut out)?;
/// assert_eq!(out.as_bytes(), br#""say \"hi\"\n"{"base64":"/wA="}"#);
/// # Ok::<(), rdbtool::RdbError>(())
/// ```
#[inline]
pub fn string(bytes: &[u8], out: &mut Out<'_>) -> Result<()> {
    if bytes.len() > PIECE {
        return large(bytes, out);
    }
    if !quoted(bytes, false, out) {
        out.lit(b"{\"base64\":\"");
        base64(bytes, out);
        out.lit(b"\"}");
    }
    Ok(())
}

/// Appends a packed element as S; an integer as the string of its digits.
#[inline]
pub fn element(e: Element<'_>, out: &mut Out<'_>) -> Result<()> {
    match e {
        Element::Bytes(b) => string(b, out),
        Element::Int(n) => {
            integer(n, out);
            Ok(())
        }
    }
}

/// Appends a byte string where JSON wants a name: one that is not UTF-8, or that itself begins with `base64:`, is
/// written as `base64:` and its base64.
#[inline]
pub fn name(e: Element<'_>, out: &mut Out<'_>) {
    match e {
        Element::Bytes(b) => {
            if b.starts_with(NAME) || !quoted(b, false, out) {
                out.byte(b'"');
                out.raw(NAME);
                base64(b, out);
                out.byte(b'"');
            }
        }
        Element::Int(n) => integer(n, out),
    }
}

/// What a name that could not be written as it is begins with.
const NAME: &[u8] = b"base64:";

#[inline]
fn integer(n: i64, out: &mut Out<'_>) {
    out.byte(b'"');
    out.i64(n);
    out.byte(b'"');
}

/// A string too long to be written in one go.
#[cold]
fn large(bytes: &[u8], out: &mut Out<'_>) -> Result<()> {
    if simdutf8::basic::from_utf8(bytes).is_ok() {
        out.byte(b'"');
        for piece in bytes.chunks(PIECE) {
            escaped(piece, out);
            out.checkpoint()?;
        }
        out.byte(b'"');
    } else {
        out.lit(b"{\"base64\":\"");
        base64_pieces(bytes, out)?;
        out.lit(b"\"}");
    }
    Ok(())
}

/// Appends bytes that are known to be part of valid UTF-8, escaped, without quotes.
pub fn escaped(bytes: &[u8], out: &mut Out<'_>) {
    escape(bytes, true, false, out);
}

/// Appends a JSON string, or nothing and gives false if the bytes are not UTF-8.
#[inline]
pub fn quoted(bytes: &[u8], valid: bool, out: &mut Out<'_>) -> bool {
    escape(bytes, valid, true, out)
}

/// Appends the base64 of `bytes` (standard alphabet, padded).
pub fn base64(bytes: &[u8], out: &mut Out<'_>) {
    use base64_simd::AsOut;
    let n = base64_simd::STANDARD.encoded_length(bytes.len());
    let room = &mut out.room(n)[..n];
    let _ = base64_simd::STANDARD.encode(bytes, room.as_out());
    out.advance(n);
}

/// Appends the base64 of any number of bytes, a piece at a time.
pub fn base64_pieces(bytes: &[u8], out: &mut Out<'_>) -> Result<()> {
    for piece in bytes.chunks(PIECE) {
        base64(piece, out);
        out.checkpoint()?;
    }
    Ok(())
}

/// How each byte that must be escaped is written, and how long that is.
static ESCAPES: [([u8; 8], u8); 256] = {
    let mut table = [([0; 8], 0); 256];
    let hex = b"0123456789abcdef";
    let mut b = 0;
    while b < 0x20 {
        table[b] = ([b'\\', b'u', b'0', b'0', hex[b >> 4], hex[b & 15], 0, 0], 6);
        b += 1;
    }
    let short = b"\"\"\\\\\x08b\x0cf\nn\rr\tt";
    let mut i = 0;
    while i < short.len() {
        table[short[i] as usize] = ([b'\\', short[i + 1], 0, 0, 0, 0, 0, 0], 2);
        i += 2;
    }
    table
};

/// Appends `bytes` escaped, in quotes if so wanted; if they are not `valid` already and turn out not to be UTF-8, appends
/// nothing and gives false.
#[inline]
fn escape(bytes: &[u8], valid: bool, quotes: bool, out: &mut Out<'_>) -> bool {
    // Every byte may take six, and blocks are written whole.
    let room = out.room(bytes.len() * 6 + 32);
    let mut o = 0;
    if quotes {
        room[0] = b'"';
        o = 1;
    }
    let n = bytes.len();
    let (i, clean) = if n < 16 {
        let (low, high) = words(bytes);
        let marks = classify_words(low, high);
        copy(room, o, &low.to_le_bytes());
        copy(room, o + 8, &high.to_le_bytes());
        let within = (1 << n) - 1;
        (0, (marks.escape | marks.high) & within == 0)
    } else {
        let mut i = 0;
        loop {
            let Some(block) = bytes.get(i..).and_then(|b| b.first_chunk::<16>()) else {
                break (i, true);
            };
            copy(room, o + i, block);
            let marks = classify(block);
            if marks.escape | marks.high != 0 {
                break (i, false);
            }
            i += 16;
            if i + 16 > n && i < n {
                // The last block, again from where it is whole.
                i = n - 16;
            }
        }
    };
    o += match clean {
        true => n,
        false => match rest(bytes, i, valid, room.get_mut(o..).unwrap_or_default()) {
            Some(written) => written,
            None => return false,
        },
    };
    if quotes {
        room[o] = b'"';
        o += 1;
    }
    out.advance(o);
    true
}

/// Goes on from byte `at`, before which nothing had to be escaped, where something must be or may not be UTF-8. Gives how many bytes
/// are in `to` then, or nothing if the bytes are not UTF-8.
fn rest(bytes: &[u8], at: usize, mut valid: bool, to: &mut [u8]) -> Option<usize> {
    let (mut i, mut o) = (at, at);
    // Blocks with another behind them: what follows an escape is copied sixteen bytes at a time too.
    while let Some(two) = bytes.get(i..).and_then(|b| b.first_chunk::<32>()) {
        let block = two.first_chunk::<16>()?;
        let marks = classify(block);
        copy(to, o, block);
        if marks.high != 0 && !valid {
            valid = is_utf8_from(bytes, i)?;
        }
        let (mut left, mut from) = (marks.escape, 0);
        while left != 0 {
            let k = left.trailing_zeros() as usize;
            left &= left - 1;
            o += k - from;
            from = k + 1;
            o += put_escape(two[k & 15], to, o);
            copy(to, o, two.get(from..)?.first_chunk::<16>()?);
        }
        o += 16 - from;
        i += 16;
    }
    while let Some(&b) = bytes.get(i) {
        if b >= 0x80 && !valid {
            valid = is_utf8_from(bytes, i)?;
        }
        if ESCAPES[usize::from(b)].1 == 0 {
            *to.get_mut(o)? = b;
            o += 1;
        } else {
            o += put_escape(b, to, o);
        }
        i += 1;
    }
    Some(o)
}

/// Whether the bytes are UTF-8, given that those before `i` are ASCII.
fn is_utf8_from(bytes: &[u8], i: usize) -> Option<bool> {
    simdutf8::basic::from_utf8(bytes.get(i..)?)
        .ok()
        .map(|_| true)
}

/// Writes the escape of a byte; gives its length.
#[inline(always)]
fn put_escape(b: u8, to: &mut [u8], o: usize) -> usize {
    if b >= 0x20 {
        // A quote or a backslash: known without waiting for the table.
        copy(to, o, &[b'\\', b]);
        return 2;
    }
    let (text, len) = &ESCAPES[usize::from(b)];
    copy(to, o, text);
    usize::from(*len)
}

/// Copies `N` bytes to `to[o..]`, where there is room for them: see [`escape`].
#[inline(always)]
fn copy<const N: usize>(to: &mut [u8], o: usize, bytes: &[u8; N]) {
    if let Some(to) = to.get_mut(o..).and_then(|t| t.first_chunk_mut::<N>()) {
        *to = *bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(bytes: &[u8]) -> String {
        let mut out = Out::new();
        string(bytes, &mut out).unwrap();
        String::from_utf8(out.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn every_byte_at_every_place_reads_back() {
        for len in 0..40 {
            for at in 0..len {
                for b in 0..=255u8 {
                    let mut bytes = vec![b'a'; len];
                    bytes[at] = b;
                    let text = json(&bytes);
                    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                    match std::str::from_utf8(&bytes) {
                        Ok(s) => assert_eq!(value.as_str(), Some(s), "{text}"),
                        Err(_) => {
                            let b64 = value["base64"].as_str().unwrap();
                            let back = base64_simd::STANDARD.decode_to_vec(b64).unwrap();
                            assert_eq!(back, bytes);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rows() {
        let rows: [(&[u8], &str); 9] = [
            (b"", r#""""#),
            (b"\x00\x1f\x7f", "\"\\u0000\\u001f\x7f\""),
            (b"\x08\x0c\n\r\t", r#""\b\f\n\r\t""#),
            (
                "caf\u{e9}, \u{1f600}".as_bytes(),
                "\"caf\u{e9}, \u{1f600}\"",
            ),
            (b"overlong \xc0\x80", r#"{"base64":"b3ZlcmxvbmcgwIA="}"#),
            (b"\xed\xa0\x80", r#"{"base64":"7aCA"}"#), // a surrogate
            (b"\xf4\x90\x80\x80", r#"{"base64":"9JCAgA=="}"#), // past the last code point
            (b"cut \xe2\x82", r#"{"base64":"Y3V0IOKC"}"#),
            (
                b"a quote in the second block \"",
                r#""a quote in the second block \"""#,
            ),
        ];
        for (bytes, want) in rows {
            assert_eq!(json(bytes), want);
        }
    }

    #[test]
    fn long_strings_in_pieces() {
        for n in [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5] {
            let text: String = (0..n).map(|i| ['a', '"', '\u{e9}', '\n'][i % 4]).collect();
            assert_eq!(
                serde_json::from_str::<String>(&json(text.as_bytes())).unwrap(),
                text
            );
            let mut bytes = text.into_bytes();
            bytes.push(0xff);
            let value: serde_json::Value = serde_json::from_str(&json(&bytes)).unwrap();
            let b64 = value["base64"].as_str().unwrap();
            assert!(base64_simd::STANDARD.decode_to_vec(b64).unwrap() == bytes);
        }
    }

    #[test]
    fn names() {
        let name = |bytes: &[u8]| {
            let mut out = Out::new();
            super::name(Element::Bytes(bytes), &mut out);
            String::from_utf8(out.as_bytes().to_vec()).unwrap()
        };
        assert_eq!(name(b"f"), r#""f""#);
        assert_eq!(name(b"\xff"), r#""base64:/w==""#);
        assert_eq!(name(b"base64:x"), r#""base64:YmFzZTY0Ong=""#);
    }
}
