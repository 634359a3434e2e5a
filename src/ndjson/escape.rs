//! Byte strings in JSON, without loss.

use crate::encode::out::Out;
use crate::rdb::packed::Element;

/// Appends a byte string S: a JSON string when it is valid UTF-8, `{"base64":"..."}` when it is not.
pub fn string(bytes: &[u8], out: &mut Out) {
    match std::str::from_utf8(bytes) {
        Ok(s) => out.raw(serde_json::Value::from(s).to_string().as_bytes()),
        Err(_) => {
            out.lit(b"{\"base64\":\"");
            base64(bytes, out);
            out.lit(b"\"}");
        }
    }
}

/// Appends a packed element as S; an integer as the string of its digits.
pub fn element(e: Element<'_>, out: &mut Out) {
    match e {
        Element::Int(n) => {
            out.byte(b'"');
            out.i64(n);
            out.byte(b'"');
        }
        Element::Bytes(b) => string(b, out),
    }
}

/// Appends a byte string where JSON wants a name: one that is not UTF-8, or that itself begins with `base64:`, is
/// written as `base64:` and its base64.
pub fn name(bytes: &[u8], out: &mut Out) {
    if bytes.starts_with(b"base64:") || std::str::from_utf8(bytes).is_err() {
        out.lit(b"\"base64:");
        base64(bytes, out);
        out.byte(b'"');
    } else {
        string(bytes, out);
    }
}

/// Appends the base64 of `bytes` (standard alphabet, padded).
pub fn base64(bytes: &[u8], out: &mut Out) {
    out.raw(base64_simd::STANDARD.encode_to_string(bytes).as_bytes());
}
