//! Arrays as JSON: `{"cursor":n,"elements":[{"index":0,"value":S},...]}`, the cursor left out when none is set.

use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use crate::ndjson::escape;
use crate::out::Out;
use crate::rdb::packed::Element;
use crate::rdb::string::Scratch;
use crate::rdb::value::array::{DoubleText, Elements, Head, Value};

/// Appends what stands before the elements.
fn head(head: &Head, out: &mut Out) {
    out.byte(b'{');
    if let Some(cursor) = head.cursor {
        out.lit(b"\"cursor\":");
        out.u64(cursor);
        out.byte(b',');
    }
    out.lit(b"\"elements\":[");
}

/// Appends what stands after the elements.
fn tail(out: &mut Out) {
    out.lit(b"]}");
}

/// Appends the elements in `bytes` (whole ones, at `offset` in the file), a comma before each but the very first of
/// the array; gives the number of them.
fn elements(
    bytes: &[u8],
    offset: u64,
    first: &mut bool,
    scratch: &mut Scratch,
    out: &mut Out,
) -> Result<u64> {
    let mut all = Elements::new(bytes, offset);
    let mut text = DoubleText::new();
    let mut n = 0;
    while let Some((index, value)) = all.next_element()? {
        if !std::mem::take(first) {
            out.byte(b',');
        }
        out.lit(b"{\"index\":");
        out.u64(index);
        out.lit(b",\"value\":");
        match value {
            Value::Str(s) => super::stream::string(s, scratch, out)?,
            Value::Int(i) => escape::element(Element::Int(i), out)?,
            Value::Double(x) => escape::string(text.format(x), out)?,
        }
        out.byte(b'}');
        n += 1;
        out.checkpoint()?;
    }
    Ok(n)
}

/// Appends a whole array: `body` is the value as serialized, at `offset` in the file. Gives the number of elements.
pub(super) fn value(body: &[u8], offset: u64, scratch: &mut Scratch, out: &mut Out) -> Result<u64> {
    let mut c = Cursor::new(body, offset);
    let h = Head::read(&mut c)?;
    head(&h, out);
    let n = elements(c.rest(), c.offset(), &mut true, scratch, out)?;
    if n != h.len {
        return Err(RdbError::corrupt(
            offset,
            format!("array of {n} elements: expected {}", h.len),
        ));
    }
    tail(out);
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values as an 8.8 development build dumped them, without type byte.
    const VECTORS: [(&str, &[u8], &str); 2] = [
        (
            "every tag",
            b"\x05\x00\x00\x01\x0a\0\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\x04\x40\x02\x03\x05short\x03\x00\x0fa longer string\x41\x2c\x01\xff\xff\xff\xff\xff\xff\xff\xff",
            r#"{"elements":[{"index":0,"value":"10"},{"index":1,"value":"2.5"},{"index":2,"value":"short"},{"index":3,"value":"a longer string"},{"index":300,"value":"-1"}]}"#,
        ),
        (
            "a cursor",
            b"\x01\x01\x00\x00\x03\x01x",
            r#"{"cursor":0,"elements":[{"index":0,"value":"x"}]}"#,
        ),
    ];

    fn json(body: &[u8]) -> Result<String> {
        let mut out = Out::new();
        value(body, 0, &mut Scratch::new(), &mut out)?;
        Ok(String::from_utf8(out.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn arrays() {
        for (name, body, want) in VECTORS {
            assert_eq!(json(body).unwrap(), want, "{name}");
        }
        assert!(
            json(b"\x02\x00\x00\x03\x01x").is_err(),
            "an element missing"
        );
    }

    #[test]
    fn damage_is_an_error_or_another_array() {
        for (name, body, _) in VECTORS {
            for n in 0..body.len() {
                assert!(json(&body[..n]).is_err(), "{name}: cut at {n}");
            }
            for i in 0..body.len() {
                for flip in [0x01, 0x80, 0xff] {
                    let mut b = body.to_vec();
                    b[i] ^= flip;
                    if let Ok(text) = json(&b) {
                        serde_json::from_str::<serde_json::Value>(&text).unwrap();
                    }
                }
            }
        }
    }
}
