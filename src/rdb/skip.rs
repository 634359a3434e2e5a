//! Where a value ends, found without decoding it.
//!
//! ```text
//!   one string                 types 0 9-13 16 17 20 23 30;  25 after 8 bytes
//!   LEN n, n units             1 2 14: STR            3: STR, text double      4: STR STR        5: STR, 8 bytes
//!                              18: LEN STR            22 REDIS: LEN STR STR    22 VALKEY: STR STR 8 bytes
//!   8 bytes, LEN n, n units    24: LEN STR STR
//!   LEN n, n × (STR STR), ...  streams: nodes, then ids, groups and the rest
//!   items up to their EOF      modules
//! ```
//!
//! Values have no length prefix, so this walk is what the scanner lives on. A value of many units can be paused between two
//! of them: that is how a value larger than a batch is cut, and how one that is still arriving is walked only once.

use super::length::{self, Length};
use super::opcode;
use super::packed::listpack;
use super::string::{self, RdbStr, Scratch};
use super::template::Templates;
use super::value_type::ValueType;
use crate::cursor::Cursor;
use crate::error::{RdbError, Result};

/// What one element of a counted value is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// STR: an element of a list or set, or a ziplist of a quicklist.
    Str,
    /// STR STR: a field and its value, or a stream node's key and listpack.
    Pair,
    /// STR, text double: a member and its score in RDB 1 to 7.
    TextScore,
    /// STR, f64 LE: a member and its score.
    Score,
    /// LEN container, STR: a quicklist node.
    Node,
    /// LEN expiry, STR, STR.
    ExpiryPair,
    /// STR, STR, i64 LE expiry.
    PairExpiry,
}

impl Unit {
    /// Bytes of the smallest unit there can be.
    fn least(self) -> u64 {
        match self {
            Unit::Str => 1,
            Unit::Pair | Unit::TextScore | Unit::Node => 2,
            Unit::ExpiryPair => 3,
            Unit::Score => 9,
            Unit::PairExpiry => 10,
        }
    }

    /// The unit of a type that consists of counted units, and the bytes that stand before the count.
    #[inline]
    pub fn of(t: ValueType) -> Option<(Unit, u64)> {
        Some(match t {
            ValueType::List | ValueType::Set | ValueType::ListQuicklist => (Unit::Str, 0),
            ValueType::Hash => (Unit::Pair, 0),
            ValueType::Zset => (Unit::TextScore, 0),
            ValueType::Zset2 => (Unit::Score, 0),
            ValueType::ListQuicklist2 => (Unit::Node, 0),
            ValueType::HashMetadataPreGa => (Unit::ExpiryPair, 0),
            ValueType::HashMetadata => (Unit::ExpiryPair, 8),
            ValueType::Hash2 => (Unit::PairExpiry, 0),
            ValueType::StreamListpacks
            | ValueType::StreamListpacks2
            | ValueType::StreamListpacks3
            | ValueType::StreamListpacks4
            | ValueType::StreamListpacks5 => (Unit::Pair, 0),
            _ => return None,
        })
    }
}

/// Units of a value still to be walked.
#[derive(Debug, Clone, Copy)]
pub struct Units {
    /// What each is made of.
    pub unit: Unit,
    /// How many are left.
    pub left: u64,
}

impl Units {
    /// Reads what stands before the units: the prefix and the count. `whole` says that the window holds all there will
    /// ever be, so that a count larger than it can be refused at once.
    #[inline]
    pub fn read(c: &mut Cursor<'_>, unit: Unit, prefix: u64, whole: bool) -> Result<Units> {
        c.take(prefix, "the smallest field expiry")?;
        let left = count(c, unit.least(), whole, "elements")?;
        Ok(Units { unit, left })
    }

    /// Walks units until none is left or the cursor has reached position `stop`. After an error the cursor stands where
    /// the broken unit starts.
    #[inline]
    pub fn skip(&mut self, c: &mut Cursor<'_>, stop: usize) -> Result<()> {
        match self.unit {
            Unit::Str => self.walk(c, stop, str_end),
            Unit::Pair => self.walk(c, stop, |b, at| str_end(b, str_end(b, at)?)),
            Unit::Score => self.walk(c, stop, |b, at| Some(str_end(b, at)? + 8)),
            Unit::TextScore | Unit::Node | Unit::ExpiryPair | Unit::PairExpiry => {
                self.walk(c, stop, |_, _| None)
            }
        }
    }

    /// `quick` tells where the unit at a position ends, if that can be told quickly; any other unit is read in full.
    #[inline(always)]
    fn walk(
        &mut self,
        c: &mut Cursor<'_>,
        stop: usize,
        quick: impl Fn(&[u8], usize) -> Option<usize>,
    ) -> Result<()> {
        let bytes = c.window();
        let (mut at, mut left) = (c.position(), self.left);
        while left > 0 && at < stop {
            match quick(bytes, at) {
                Some(end) if end <= bytes.len() => at = end,
                _ => {
                    c.set_position(at);
                    self.left = left;
                    if let Err(e) = self.unit(c) {
                        c.set_position(at);
                        return Err(e);
                    }
                    at = c.position();
                }
            }
            left -= 1;
        }
        c.set_position(at);
        self.left = left;
        Ok(())
    }

    /// Passes over one unit.
    #[inline(never)]
    fn unit(&self, c: &mut Cursor<'_>) -> Result<()> {
        match self.unit {
            Unit::Str => skip_str(c),
            Unit::Pair => {
                skip_str(c)?;
                skip_str(c)
            }
            Unit::TextScore => {
                skip_str(c)?;
                match c.u8("a score")? {
                    253..=255 => Ok(()),
                    n => c.take(n.into(), "a score").map(drop),
                }
            }
            Unit::Score => {
                skip_str(c)?;
                c.take(8, "a score").map(drop)
            }
            Unit::Node => {
                length::read(c, "the container of a quicklist node")?;
                skip_str(c)
            }
            Unit::ExpiryPair => {
                length::read(c, "a field expiry")?;
                skip_str(c)?;
                skip_str(c)
            }
            Unit::PairExpiry => {
                skip_str(c)?;
                skip_str(c)?;
                c.take(8, "a field expiry").map(drop)
            }
        }
    }
}

/// Where the string at position `at` ends, by its first byte alone or with one more; nothing for the rarer forms, nor at the end of
/// the window. The end may lie beyond the window. The plain version is [`skip_str`].
#[inline(always)]
pub(crate) fn str_end(bytes: &[u8], at: usize) -> Option<usize> {
    let &b = bytes.get(at)?;
    let len = match b {
        0..0x40 => 1 + usize::from(b),
        0x40..0x80 => 2 + (usize::from(b & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?)),
        0xc0 => 2,
        0xc1 => 3,
        0xc2 => 5,
        _ => return None,
    };
    Some(at + len)
}

/// Where the record at position `at` ends if it is a string with at most an expiry in milliseconds, and lies in the window.
#[inline(always)]
pub(crate) fn string_record_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    if *bytes.get(at)? == opcode::EXPIRETIME_MS {
        at += 9;
    }
    if *bytes.get(at)? != 0 {
        return None;
    }
    let end = str_end(bytes, str_end(bytes, at + 1)?)?;
    (end <= bytes.len()).then_some(end)
}

/// Reads a count of things of at least `least` bytes each. One that is more than a whole window can hold is refused.
#[inline]
pub fn count(c: &mut Cursor<'_>, least: u64, whole: bool, what: &str) -> Result<u64> {
    let at = c.offset();
    let n = length::read(c, what)?;
    if whole && n > c.remaining() as u64 / least {
        return Err(absurd(at, n, c.remaining(), what));
    }
    Ok(n)
}

#[cold]
fn absurd(at: u64, n: u64, left: usize, what: &str) -> RdbError {
    RdbError::eof(
        at,
        format!("{n} {what} cannot be in the {left} bytes that are left"),
    )
}

/// Passes over a string.
#[inline(always)]
pub fn skip_str(c: &mut Cursor<'_>) -> Result<()> {
    match c.peek() {
        // The 6-bit length: nearly every string there is.
        Some(b) if b < 0x40 => c.take(u64::from(b) + 1, "a string").map(drop),
        _ => skip_long_str(c),
    }
}

#[inline(never)]
fn skip_long_str(c: &mut Cursor<'_>) -> Result<()> {
    let start = c.position();
    let r = match length::read_form(c) {
        Ok(Length::Len(n)) => c.take(n, "a string").map(drop),
        Ok(Length::Special(string::ENC_INT8)) => c.take(1, "an 8-bit integer").map(drop),
        Ok(Length::Special(string::ENC_INT16)) => c.take(2, "a 16-bit integer").map(drop),
        Ok(Length::Special(string::ENC_INT32)) => c.take(4, "a 32-bit integer").map(drop),
        Ok(Length::Special(_)) => {
            c.set_position(start);
            RdbStr::read(c).map(drop)
        }
        Err(e) => Err(e),
    };
    if r.is_err() {
        c.set_position(start);
    }
    r
}

/// Walks a value until it ends (`None`), or until the cursor passes position `stop` inside a counted value: then what is left of
/// its units.
#[inline(always)]
pub fn value(
    c: &mut Cursor<'_>,
    t: ValueType,
    templates: &Templates,
    whole: bool,
    stop: usize,
) -> Result<Option<Units>> {
    if t == ValueType::String {
        return skip_str(c).map(|()| None);
    }
    collection(c, t, templates, whole, stop)
}

#[inline(never)]
fn collection(
    c: &mut Cursor<'_>,
    t: ValueType,
    templates: &Templates,
    whole: bool,
    stop: usize,
) -> Result<Option<Units>> {
    if let Some((unit, prefix)) = Unit::of(t) {
        let mut units = Units::read(c, unit, prefix, whole)?;
        units.skip(c, stop)?;
        if units.left > 0 {
            return Ok(Some(units));
        }
        after_units(c, t, whole)?;
        return Ok(None);
    }
    other_value(c, t, templates, whole).map(|()| None)
}

/// Passes over what follows the units of a value: a stream's ids and groups, nothing for any other type.
pub fn after_units(c: &mut Cursor<'_>, t: ValueType, whole: bool) -> Result<()> {
    match t.stream_version() {
        Some(v) => stream_tail(c, v, whole),
        None => Ok(()),
    }
}

fn other_value(c: &mut Cursor<'_>, t: ValueType, templates: &Templates, whole: bool) -> Result<()> {
    match t {
        ValueType::HashListpackEx => {
            c.take(8, "the smallest field expiry")?;
            skip_str(c)
        }
        ValueType::Module2 => {
            length::read(c, "a module id")?;
            module_items(c)
        }
        ValueType::ModulePreGa => Err(RdbError::unsupported(
            c.offset(),
            "a module value as 4.0 release candidates wrote it: only the module knows where it ends",
        )),
        ValueType::Array => array(c, whole),
        ValueType::HashTemplateListpack => {
            template_fields(c, whole)?;
            skip_str(c)
        }
        ValueType::HashTemplateArray => {
            let n = template_fields(c, whole)?;
            strings(c, n)
        }
        ValueType::HashTemplateArrayRef => {
            let at = c.offset();
            let id = length::read(c, "a template id")?;
            let n = templates
                .get(id)
                .ok_or_else(|| unknown_template(at, id))?
                .fields;
            strings(c, n)
        }
        ValueType::Gcra => length::read(c, "an arrival time").map(drop),
        _ => skip_str(c),
    }
}

/// The error of a hash whose template the file did not declare.
#[cold]
pub(crate) fn unknown_template(at: u64, id: u64) -> RdbError {
    RdbError::corrupt(at, format!("hash template {id} has not been declared"))
}

fn strings(c: &mut Cursor<'_>, n: u64) -> Result<()> {
    for _ in 0..n {
        skip_str(c)?;
    }
    Ok(())
}

/// Passes over the field names of a template hash that carries its own; gives their number.
pub(crate) fn template_fields(c: &mut Cursor<'_>, whole: bool) -> Result<u64> {
    let at = c.offset();
    match length::read(c, "the form of the field names")? {
        0 => {
            let names = RdbStr::read(c)?;
            let mut scratch = Scratch::new();
            Ok(listpack::count(names.as_blob(&mut scratch)?)? as u64)
        }
        1 => {
            let n = count(c, 1, whole, "field names")?;
            strings(c, n)?;
            Ok(n)
        }
        form => Err(RdbError::corrupt(
            at,
            format!("field names in form {form}: expected 0 or 1"),
        )),
    }
}

/// Passes over the items of a module value, module aux or key metadata, their EOF included.
///
/// ```text
///   1 SINT LEN    2 UINT LEN    3 FLOAT 4 bytes    4 DOUBLE 8 bytes    5 STRING STR    0 EOF
/// ```
pub fn module_items(c: &mut Cursor<'_>) -> Result<()> {
    loop {
        let at = c.offset();
        match length::read(c, "a module opcode")? {
            0 => return Ok(()),
            1 | 2 => length::read(c, "a module integer").map(drop)?,
            3 => c.take(4, "a module float").map(drop)?,
            4 => c.take(8, "a module double").map(drop)?,
            5 => skip_str(c)?,
            op => {
                return Err(RdbError::corrupt(
                    at,
                    format!("module opcode {op}: expected 0 to 5"),
                ));
            }
        }
    }
}

fn array(c: &mut Cursor<'_>, whole: bool) -> Result<()> {
    let n = count(c, 3, whole, "elements")?;
    let at = c.offset();
    match length::read(c, "the cursor flag")? {
        0 => {}
        1 => length::read(c, "the cursor").map(drop)?,
        f => {
            return Err(RdbError::corrupt(
                at,
                format!("cursor flag {f}: expected 0 or 1"),
            ));
        }
    }
    for _ in 0..n {
        length::read(c, "an index")?;
        let at = c.offset();
        match length::read(c, "an element's tag")? {
            0 | 3 => skip_str(c)?,
            1 | 2 => c.take(8, "an element").map(drop)?,
            tag => {
                return Err(RdbError::corrupt(
                    at,
                    format!("element tag {tag}: expected 0 to 3"),
                ));
            }
        }
    }
    Ok(())
}

/// Passes over what follows the nodes of a stream of layout `v`.
fn stream_tail(c: &mut Cursor<'_>, v: u8, whole: bool) -> Result<()> {
    let lens = |c: &mut Cursor<'_>, n: u8, what: &str| -> Result<()> {
        for _ in 0..n {
            length::read(c, what)?;
        }
        Ok(())
    };
    lens(c, if v >= 2 { 8 } else { 3 }, "a stream's length and ids")?;
    for _ in 0..count(c, 5, whole, "consumer groups")? {
        skip_str(c)?;
        lens(c, if v >= 2 { 3 } else { 2 }, "a group's position")?;
        for _ in 0..count(c, 25, whole, "pending entries")? {
            c.take(24, "a pending entry")?;
            length::read(c, "a delivery count")?;
        }
        let times = if v >= 3 { 16 } else { 8 };
        for _ in 0..count(c, times + 2, whole, "consumers")? {
            skip_str(c)?;
            c.take(times, "a consumer's times")?;
            ids(c, whole, "pending ids")?;
        }
        if v >= 5 {
            ids(c, whole, "ids without an owner")?;
        }
    }
    if v >= 4 {
        lens(c, 2, "the limits of idempotent production")?;
        for _ in 0..count(c, 2, whole, "producers")? {
            skip_str(c)?;
            for _ in 0..count(c, 3, whole, "producer entries")? {
                skip_str(c)?;
                lens(c, 2, "an entry id")?;
            }
        }
        lens(c, 2, "the counts of idempotent production")?;
    }
    Ok(())
}

/// Passes over a counted array of raw 16-byte stream ids.
fn ids(c: &mut Cursor<'_>, whole: bool, what: &str) -> Result<()> {
    let n = count(c, 16, whole, what)?;
    c.take(n.saturating_mul(16), what).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look like strings often enough, whatever they are.
    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut x = seed;
        (0..len)
            .map(|_| {
                x = x
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                match (x >> 40) as u8 {
                    b @ 0..0xd0 => b & 0x0f,
                    b @ 0xd0..0xe0 => 0xc0 | (b & 3),
                    b => b,
                }
            })
            .collect()
    }

    #[test]
    fn quick_equals_plain() {
        let mut quick = 0;
        for seed in 0..200_000 {
            let bytes = noise(seed, 40);
            let mut c = Cursor::new(&bytes, 0);
            if let Some(end) = str_end(&bytes, 0) {
                match skip_str(&mut c) {
                    Ok(()) => assert_eq!(c.position(), end, "{bytes:02x?}"),
                    Err(_) => assert!(end > bytes.len(), "{bytes:02x?}"),
                }
                quick += 1;
            }
            let mut record = vec![0];
            record.extend_from_slice(&bytes);
            if let Some(end) = string_record_end(&record, 0) {
                let mut c = Cursor::new(&record, 0);
                c.set_position(1);
                skip_str(&mut c).unwrap();
                skip_str(&mut c).unwrap();
                assert_eq!(c.position(), end, "{record:02x?}");
            }
            for unit in [Unit::Str, Unit::Pair, Unit::Score] {
                let units = Units { unit, left: 3 };
                let (mut a, mut c) = (units, Cursor::new(&bytes, 0));
                let r = a.skip(&mut c, usize::MAX);
                let (mut left, mut plain) = (3, Cursor::new(&bytes, 0));
                while left > 0 && units.unit(&mut plain).is_ok() {
                    left -= 1;
                }
                assert_eq!((r.is_ok(), a.left), (left == 0, left), "{bytes:02x?}");
                if r.is_ok() {
                    assert_eq!(c.position(), plain.position(), "{bytes:02x?}");
                }
            }
        }
        assert!(quick > 100_000, "{quick}");
    }
}
