//! Hashes, with and without an expiry for each field.
//!
//! ```text
//!   4   n × (STR, STR)             9  STR zipmap        13  STR ziplist        16  STR listpack
//!   22  n × (LEN expiry, STR, STR)     0 = none                                    7.4 release candidate
//!   23  STR listpack of field, value, expiry       0 = none                        7.4 release candidate
//!   24  i64 LE min, n × (LEN t, STR, STR)          expiry = min + t - 1; t 0 = none
//!   25  i64 LE min, STR listpack of field, value, expiry         0 = none; min only informs
//!   22  n × (STR, STR, i64 LE expiry)              -1 = none                       Valkey 9
//!   29  FIELDS, STR listpack of (ignored), values        31  FIELDS, n × STR       RDB 15
//!   30  STR listpack of template id, values              32  LEN template id, n × STR
//! ```
//!
//! Expiries are milliseconds since 1970. Redis keeps fields that have expired when it loads a file, and so they are shown.

use super::{Elements, Names, Scratches, pair};
use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use crate::rdb::packed::{Element, Origin, listpack, ziplist, zipmap};
use crate::rdb::string::RdbStr;
use crate::rdb::template::Templates;
use crate::rdb::value_type::ValueType;
use crate::rdb::{length, string};

/// Calls `f` for each field, its value and its expiry, in the order of the file.
pub fn each(
    elements: &Elements<'_>,
    templates: &Templates,
    scratch: &mut Scratches,
    mut f: impl FnMut(Element<'_>, Element<'_>, Option<i64>) -> Result<()>,
) -> Result<()> {
    let mut c = elements.cursor();
    let Scratches {
        blob,
        first,
        second,
    } = scratch;
    match elements.value_type {
        ValueType::Hash => {
            while elements.more(&c) {
                let (field, value) = pair(&mut c, first, second)?;
                f(field, value, None)?;
            }
        }
        ValueType::HashMetadataPreGa | ValueType::HashMetadata => {
            while elements.more(&c) {
                let expiry = expiry_before(&mut c, elements)?;
                let (field, value) = pair(&mut c, first, second)?;
                f(field, value, expiry)?;
            }
        }
        ValueType::Hash2 => {
            while elements.more(&c) {
                let (field, value) = pair(&mut c, first, second)?;
                f(field, value, expiry_behind(&mut c)?)?;
            }
        }
        ValueType::HashListpack => {
            let mut iter = listpack::Iter::new(elements.blob(blob)?)?;
            while let Some(field) = iter.next_element()? {
                match iter.next_element()? {
                    Some(value) => f(field, value, None)?,
                    None => return Err(no_value(iter.origin(), iter.offset())),
                }
            }
        }
        ValueType::HashListpackExPreGa | ValueType::HashListpackEx => {
            let mut iter = listpack::Iter::new(elements.blob(blob)?)?;
            while let Some(field) = iter.next_element()? {
                let value = iter.next_element()?;
                let (origin, at) = (iter.origin(), iter.offset());
                match (value, iter.next_element()?) {
                    (Some(value), Some(Element::Int(0))) => f(field, value, None)?,
                    (Some(value), Some(Element::Int(ms))) if is_expiry(ms) => {
                        f(field, value, Some(ms))?;
                    }
                    (_, Some(Element::Int(ms))) => return Err(bad_expiry(origin, at, ms)),
                    (_, Some(Element::Bytes(_))) => {
                        return Err(origin.corrupt(at, "a field expiry that is not an integer"));
                    }
                    (_, None) => return Err(no_value(origin, at)),
                }
            }
        }
        ValueType::HashZiplist => {
            let mut iter = ziplist::Iter::new(elements.blob(blob)?)?;
            while let Some(field) = iter.next_element()? {
                match iter.next_element()? {
                    Some(value) => f(field, value, None)?,
                    None => return Err(no_value(iter.origin(), iter.offset())),
                }
            }
        }
        ValueType::HashZipmap => {
            let mut iter = zipmap::Iter::new(elements.blob(blob)?)?;
            while let Some(field) = iter.next_element()? {
                match iter.next_element()? {
                    Some(value) => f(field, value, None)?,
                    None => return Err(no_value(iter.origin(), iter.offset())),
                }
            }
        }
        ValueType::HashTemplateListpack => {
            // The names and the values are each in a blob, so the names take a buffer of their own.
            let mut names_blob = string::Scratch::new();
            let (names, _) = Names::read(&mut c, &mut names_blob)?;
            let blob = RdbStr::read(&mut c)?.as_blob(blob)?;
            let mut values = listpack::Iter::new(blob)?;
            values.next_element()?;
            zip(names, &mut values, first, f)?;
        }
        ValueType::HashTemplateListpackRef => {
            let mut values = listpack::Iter::new(elements.blob(blob)?)?;
            let (origin, at) = (values.origin(), values.offset());
            let id = match values.next_element()? {
                Some(Element::Int(id)) if id >= 0 => id as u64,
                _ => return Err(origin.corrupt(at, "no template id in front of the values")),
            };
            let (names, _) = Names::of_template(templates, id, elements.offset)?;
            zip(names, &mut values, first, f)?;
        }
        ValueType::HashTemplateArray => {
            let mut names_blob = string::Scratch::new();
            let at = c.offset();
            let (mut names, n) = Names::read(&mut c, &mut names_blob)?;
            // As many values follow as the names are said to be; a listpack tells at its end whether it was right.
            let mut left = n;
            while let Some(name) = names.next(first)? {
                left = left.checked_sub(1).ok_or_else(|| more_names(at, n))?;
                f(name, RdbStr::read(&mut c)?.as_element(second)?, None)?;
            }
        }
        ValueType::HashTemplateArrayRef => {
            let at = c.offset();
            let id = length::read(&mut c, "a template id")?;
            let (mut names, _) = Names::of_template(templates, id, at)?;
            while let Some(name) = names.next(first)? {
                f(name, RdbStr::read(&mut c)?.as_element(second)?, None)?;
            }
        }
        _ => return Err(elements.mismatch("hash")),
    }
    Ok(())
}

/// Calls `f` for each unit of a hash that has an expiry in each (types 22 and 24): field and value as they are in the file, both in
/// one, and the expiry. What is in the strings is not looked at.
pub fn each_serialized(
    elements: &Elements<'_>,
    mut f: impl FnMut(&[u8], Option<i64>) -> Result<()>,
) -> Result<()> {
    let mut c = elements.cursor();
    while elements.more(&c) {
        let mut expiry = match elements.value_type {
            ValueType::HashMetadataPreGa | ValueType::HashMetadata => {
                expiry_before(&mut c, elements)?
            }
            ValueType::Hash2 => None,
            _ => return Err(elements.mismatch("hash with an expiry in each unit")),
        };
        let from = c.position();
        RdbStr::read(&mut c)?;
        RdbStr::read(&mut c)?;
        let pair = c.since(from);
        if elements.value_type == ValueType::Hash2 {
            expiry = expiry_behind(&mut c)?;
        }
        f(pair, expiry)?;
    }
    Ok(())
}

/// The expiry that stands before a field, of the types 22 of the release candidate and 24.
#[inline]
fn expiry_before(c: &mut Cursor<'_>, elements: &Elements<'_>) -> Result<Option<i64>> {
    let at = c.offset();
    let absolute = elements.value_type == ValueType::HashMetadataPreGa;
    match length::read(c, "a field expiry")? {
        0 => Ok(None),
        t => i64::try_from(t)
            .ok()
            .and_then(|t| match absolute {
                true => Some(t),
                false => elements.min_expiry.checked_add(t - 1),
            })
            .filter(|&ms| is_expiry(ms))
            .map(Some)
            .ok_or_else(|| bad_expiry(Origin::File(at), 0, t as i64)),
    }
}

/// The expiry that stands behind a value, of type 22 of Valkey.
#[inline]
fn expiry_behind(c: &mut Cursor<'_>) -> Result<Option<i64>> {
    let at = c.offset();
    match c.i64_le("a field expiry")? {
        -1 => Ok(None),
        ms if ms >= 0 => Ok(Some(ms)),
        ms => Err(bad_expiry(Origin::File(at), 0, ms)),
    }
}

/// Walks names and values side by side; there must be as many of one as of the other.
fn zip(
    mut names: Names<'_>,
    values: &mut listpack::Iter<'_>,
    scratch: &mut string::Scratch,
    mut f: impl FnMut(Element<'_>, Element<'_>, Option<i64>) -> Result<()>,
) -> Result<()> {
    loop {
        let (origin, at) = (values.origin(), values.offset());
        match (names.next(scratch)?, values.next_element()?) {
            (Some(name), Some(value)) => f(name, value, None)?,
            (None, None) => return Ok(()),
            (Some(_), None) => {
                return Err(origin.corrupt(at, "fewer values than the template has fields"));
            }
            (None, Some(_)) => {
                return Err(origin.corrupt(at, "more values than the template has fields"));
            }
        }
    }
}

#[cold]
fn more_names(at: u64, n: u64) -> RdbError {
    RdbError::corrupt(
        at,
        format!("more field names than the {n} that are counted"),
    )
}

/// Whether it can be the expiry of a field in Redis: those are below 2^48.
pub fn is_expiry(ms: i64) -> bool {
    (0..1 << 48).contains(&ms)
}

#[cold]
fn bad_expiry(origin: Origin, at: usize, ms: i64) -> RdbError {
    origin.corrupt(at, format!("field expiry {ms}: out of range"))
}

#[cold]
fn no_value(origin: Origin, at: usize) -> RdbError {
    origin.corrupt(at, "the last field has no value")
}
