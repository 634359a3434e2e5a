//! Sorted sets: members and scores one by one.
//!
//! ```text
//!   12 STR ziplist, 17 STR listpack  ──►  5  LEN n, n × (STR, f64 LE)  ──►  3  LEN n, n × (STR, text)
//! ```
//!
//! The text of a score is the shortest decimal that reads back as the same double, which has at most 17 digits.

use super::count;
use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use crate::out::Out;
use crate::rdb::string::RdbStr;
use crate::rdb::value::{Elements, Scratches, zset};
use crate::rdb::value_type::ValueType;
use crate::rdb::write;

/// Appends any sorted set as a type 3 or 5.
pub(super) fn value(
    elements: &Elements<'_>,
    known: Option<u64>,
    to: ValueType,
    scratch: &mut Scratches,
    out: &mut Out<'_>,
) -> Result<()> {
    if let (ValueType::Zset2, ValueType::Zset, Some(n)) = (elements.value_type, to, known) {
        write::len(n, out);
        return units(elements, out);
    }
    let mut n = 0;
    zset::each(elements, scratch, |_, _| count(&mut n))?;
    write::len(n, out);
    zset::each(elements, scratch, |member, x| {
        write::element(member, out)?;
        match to {
            ValueType::Zset => text(x, out),
            _ => out.lit(&x.to_le_bytes()),
        }
        out.checkpoint()
    })
}

/// Appends units of type 5 as those of type 3, the members in whatever form they are.
pub(super) fn units(elements: &Elements<'_>, out: &mut Out<'_>) -> Result<()> {
    let mut c = Cursor::new(elements.bytes, elements.offset);
    while !c.is_empty() {
        let from = c.position();
        RdbStr::read(&mut c)?;
        write::bytes(c.since(from), out)?;
        let at = c.offset();
        let x = c.f64_le("a score")?;
        if x.is_nan() {
            return Err(RdbError::corrupt(at, "a score that is not a number"));
        }
        text(x, out);
        out.checkpoint()?;
    }
    Ok(())
}

/// A score as type 3 has it.
fn text(x: f64, out: &mut Out<'_>) {
    match x {
        f64::INFINITY => out.byte(254),
        f64::NEG_INFINITY => out.byte(255),
        _ => {
            let mut buffer = zmij::Buffer::new();
            let text = buffer.format_finite(x);
            // Servers write whole numbers without a point.
            let text = text.strip_suffix(".0").unwrap_or(text);
            out.byte(text.len() as u8);
            out.raw(text.as_bytes());
        }
    }
}
