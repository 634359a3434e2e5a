//! Sorted sets.
//!
//! ```text
//!   3   n × (STR, text)            text = u8 length, digits; FF -inf, FE +inf, FD nan
//!   5   n × (STR, f64 LE)          12  STR ziplist of member, score        17  STR listpack of member, score
//! ```
//!
//! A score that is not a number is refused, as servers do.

use super::{Elements, Scratches};
use crate::error::{RdbError, Result};
use crate::rdb::packed::{Element, Origin, listpack, ziplist};
use crate::rdb::string::RdbStr;
use crate::rdb::value_type::ValueType;

/// Calls `f` for each member and its score, in the order of the file.
pub fn each(
    elements: &Elements<'_>,
    scratch: &mut Scratches,
    mut f: impl FnMut(Element<'_>, f64) -> Result<()>,
) -> Result<()> {
    let mut c = elements.cursor();
    match elements.value_type {
        ValueType::Zset => {
            while elements.more(&c) {
                let member = RdbStr::read(&mut c)?.as_element(&mut scratch.first)?;
                let at = c.offset();
                let score = match c.u8("a score")? {
                    255 => f64::NEG_INFINITY,
                    254 => f64::INFINITY,
                    253 => f64::NAN,
                    n => {
                        let text = c.take(n.into(), "a score")?;
                        parse(text).ok_or_else(|| bad_text(Origin::File(at), 0, text))?
                    }
                };
                f(member, number(score, Origin::File(at), 0)?)?;
            }
        }
        ValueType::Zset2 => {
            while elements.more(&c) {
                let member = RdbStr::read(&mut c)?.as_element(&mut scratch.first)?;
                let at = c.offset();
                let score = c.f64_le("a score")?;
                f(member, number(score, Origin::File(at), 0)?)?;
            }
        }
        ValueType::ZsetListpack => {
            let mut iter = listpack::Iter::new(elements.blob(&mut scratch.blob)?)?;
            while let Some(member) = iter.next_element()? {
                let (origin, at) = (iter.origin(), iter.offset());
                match iter.next_element()? {
                    Some(e) => f(member, score(e, origin, at)?)?,
                    None => return Err(origin.corrupt(at, "the last member has no score")),
                }
            }
        }
        ValueType::ZsetZiplist => {
            let mut iter = ziplist::Iter::new(elements.blob(&mut scratch.blob)?)?;
            while let Some(member) = iter.next_element()? {
                let (origin, at) = (iter.origin(), iter.offset());
                match iter.next_element()? {
                    Some(e) => f(member, score(e, origin, at)?)?,
                    None => return Err(origin.corrupt(at, "the last member has no score")),
                }
            }
        }
        _ => return Err(elements.mismatch("sorted set")),
    }
    Ok(())
}

/// The score that a packed element stands for.
#[inline]
fn score(e: Element<'_>, origin: Origin, at: usize) -> Result<f64> {
    match e {
        Element::Int(n) => Ok(n as f64),
        Element::Bytes(text) => {
            let x = parse(text).ok_or_else(|| bad_text(origin, at, text))?;
            number(x, origin, at)
        }
    }
}

/// Text to the nearest double, as C's strtod reads what servers write.
fn parse(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[inline]
fn number(x: f64, origin: Origin, at: usize) -> Result<f64> {
    if x.is_nan() {
        return Err(origin.corrupt(at, "a score that is not a number"));
    }
    Ok(x)
}

#[cold]
fn bad_text(origin: Origin, at: usize, text: &[u8]) -> RdbError {
    origin.corrupt(
        at,
        format!("score \"{}\": expected a number", text.escape_ascii()),
    )
}
