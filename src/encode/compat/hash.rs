//! Hashes: fields and values one by one, with their expiries where the other type has them.
//!
//! ```text
//!   24  i64 LE min, LEN n, n × (LEN t, STR, STR)        expiry = min + t - 1, t 0 = none
//!   22  LEN n, n × (STR, STR, i64 LE expiry)            -1 = none                          Valkey 9
//!   4   LEN n, n × (STR, STR)
//! ```
//!
//! Type 24 begins with the smallest expiry. In a value that is written in parts it is not known in time: then expiries count from 1970,
//! which only makes them longer.

use crate::error::Result;
use crate::out::Out;
use crate::rdb::packed::Element;
use crate::rdb::template::Templates;
use crate::rdb::value::{Elements, Scratches, hash};
use crate::rdb::value_type::ValueType;
use crate::rdb::write;

/// What expiries of type 24 count from when the smallest is not known.
pub(super) const SINCE_1970: i64 = 0;

/// A field and its value.
enum Pair<'a> {
    /// As they are in the file.
    Serialized(&'a [u8]),
    /// Out of a packed blob.
    Elements(Element<'a>, Element<'a>),
}

/// Appends any hash as a type 4, 22 or 24; gives whether an expiry was lost.
pub(super) fn value(
    elements: &Elements<'_>,
    templates: &Templates,
    to: ValueType,
    scratch: &mut Scratches,
    out: &mut Out<'_>,
) -> Result<bool> {
    let (mut n, mut min) = (0, None::<i64>);
    each(elements, templates, scratch, |_, expiry| {
        n += 1;
        if let Some(ms) = expiry {
            min = Some(min.map_or(ms, |min| min.min(ms)));
        }
        Ok(())
    })?;
    let min = min.unwrap_or(SINCE_1970);
    if to == ValueType::HashMetadata {
        out.lit(&min.to_le_bytes());
    }
    write::len(n, out);
    let mut lost = 0;
    each(elements, templates, scratch, |pair, expiry| {
        append(pair, expiry, to, min, &mut lost, out)
    })?;
    Ok(lost > 0)
}

/// Appends units of one of the types with an expiry in each; gives how many expiries were lost.
pub(super) fn units(
    elements: &Elements<'_>,
    to: ValueType,
    min: i64,
    out: &mut Out<'_>,
) -> Result<u64> {
    let mut lost = 0;
    hash::each_serialized(elements, |pair, expiry| {
        append(Pair::Serialized(pair), expiry, to, min, &mut lost, out)
    })?;
    Ok(lost)
}

fn each(
    elements: &Elements<'_>,
    templates: &Templates,
    scratch: &mut Scratches,
    mut f: impl FnMut(Pair<'_>, Option<i64>) -> Result<()>,
) -> Result<()> {
    match elements.value_type {
        ValueType::HashMetadataPreGa | ValueType::HashMetadata | ValueType::Hash2 => {
            hash::each_serialized(elements, |pair, expiry| f(Pair::Serialized(pair), expiry))
        }
        _ => hash::each(elements, templates, scratch, |field, value, expiry| {
            f(Pair::Elements(field, value), expiry)
        }),
    }
}

#[inline]
fn append(
    pair: Pair<'_>,
    expiry: Option<i64>,
    to: ValueType,
    min: i64,
    lost: &mut u64,
    out: &mut Out<'_>,
) -> Result<()> {
    // Valkey knows expiries so far away that Redis would not load them.
    let kept = match to {
        ValueType::HashMetadata => expiry.filter(|&ms| hash::is_expiry(ms)),
        ValueType::Hash2 => expiry,
        _ => None,
    };
    *lost += u64::from(kept != expiry);
    if to == ValueType::HashMetadata {
        write::len(kept.map_or(0, |ms| (ms - min) as u64 + 1), out);
    }
    match pair {
        Pair::Serialized(bytes) => write::bytes(bytes, out)?,
        Pair::Elements(field, value) => {
            write::element(field, out)?;
            write::element(value, out)?;
        }
    }
    if to == ValueType::Hash2 {
        out.lit(&kept.unwrap_or(-1).to_le_bytes());
    }
    out.checkpoint()
}
