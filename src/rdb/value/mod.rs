//! Values: every encoding of a logical type behind one walk.
//!
//! ```text
//!   entry.body = [8 bytes] [LEN n] units [tail]       Elements = the units, or the one string that holds them all
//! ```
//!
//! A value is walked by a visitor rather than an iterator: its elements may lie in LZF data, and then they live in the caller's
//! [`Scratches`], which are used again for the next. Nothing is allocated for an element.

pub mod array;
pub mod hash;
pub mod list;
pub mod module;
pub mod set;
pub mod stream;
pub mod zset;

use super::entry::Entry;
use super::length;
use super::packed::{Blob, Element};
use super::skip::{self, Unit};
use super::string::{RdbStr, Scratch};
use super::template::Templates;
use super::value_type::ValueType;
use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use std::cell::Cell;

/// Buffers for what does not stand in the file as it is: one for a blob, two for the strings of a pair.
#[derive(Debug, Default)]
pub struct Scratches {
    /// For a packed blob.
    pub blob: Scratch,
    /// For an element, a member or a field.
    pub first: Scratch,
    /// For the value of a field.
    pub second: Scratch,
}

/// How far to go where the end of the units is not known: to be found by whoever decodes them.
///
/// One thread alone that passed over the units first, to find their end, would walk them twice.
#[derive(Debug)]
pub struct Open {
    /// Units that are left.
    left: Cell<u64>,
    /// Position at or behind which no more units are wanted.
    stop: usize,
    /// Where the unit begins that is being decoded, or the next one.
    at: Cell<usize>,
}

impl Open {
    /// Up to `left` units, until `stop` bytes have been passed.
    pub fn new(left: u64, stop: usize) -> Self {
        Open {
            left: Cell::new(left),
            stop,
            at: Cell::new(0),
        }
    }

    /// How many are left, with the one being decoded; and how many bytes stand before these.
    pub fn left(&self) -> (u64, usize) {
        (self.left.get(), self.at.get())
    }

    /// Asked before each unit.
    #[inline]
    fn more(&self, c: &Cursor<'_>) -> bool {
        let begun = self.at.replace(c.position()) < c.position();
        let left = self.left.get() - u64::from(begun);
        self.left.set(left);
        left > 0 && c.position() < self.stop
    }
}

/// The elements of a value, or of a part of it.
#[derive(Debug, Clone, Copy)]
pub struct Elements<'a> {
    /// How they are encoded.
    pub value_type: ValueType,
    /// Their bytes: whole units, or the string that holds them all.
    pub bytes: &'a [u8],
    /// Where these lie in the file.
    pub offset: u64,
    /// What field expiries of type 24 count from.
    pub min_expiry: i64,
    /// Set when the units end before the bytes do.
    pub open: Option<&'a Open>,
}

impl<'a> Elements<'a> {
    /// The elements of a collection that is not a stream, a module value or an array; and their number where it stands before them.
    pub fn of(entry: &Entry<'a>) -> Result<(Elements<'a>, Option<u64>)> {
        let mut c = Cursor::new(entry.body, entry.body_offset);
        let t = entry.value_type;
        let (mut min_expiry, mut count) = (0, None);
        if matches!(t, ValueType::HashMetadata | ValueType::HashListpackEx) {
            min_expiry = c.i64_le("the smallest field expiry")?;
        }
        if let Some((unit, _)) = Unit::of(t) {
            count = Some(length::read(&mut c, "elements")?);
            if matches!(unit, Unit::Node) || t == ValueType::ListQuicklist {
                count = None; // of nodes
            }
        }
        let elements = Elements {
            value_type: t,
            bytes: c.rest(),
            offset: c.offset(),
            min_expiry,
            open: None,
        };
        Ok((elements, count))
    }

    fn cursor(&self) -> Cursor<'a> {
        Cursor::new(self.bytes, self.offset)
    }

    /// Whether another unit follows.
    #[inline]
    fn more(&self, c: &Cursor<'_>) -> bool {
        match self.open {
            None => !c.is_empty(),
            Some(open) => open.more(c),
        }
    }

    /// The one blob that holds all elements.
    fn blob<'s>(&self, scratch: &'s mut Scratch) -> Result<Blob<'s>>
    where
        'a: 's,
    {
        RdbStr::read(&mut self.cursor())?.as_blob(scratch)
    }

    #[cold]
    fn mismatch(&self, what: &str) -> RdbError {
        RdbError::unsupported(
            self.offset,
            format!("type {} is not a {what}", self.value_type.byte()),
        )
    }
}

/// Reads a pair of strings.
#[inline]
fn pair<'s, 'a: 's>(
    c: &mut Cursor<'a>,
    first: &'s mut Scratch,
    second: &'s mut Scratch,
) -> Result<(Element<'s>, Element<'s>)> {
    let a = RdbStr::read(c)?.as_element(first)?;
    let b = RdbStr::read(c)?.as_element(second)?;
    Ok((a, b))
}

/// The field names of a template hash.
enum Names<'a> {
    /// In a listpack.
    Listpack(super::packed::listpack::Iter<'a>),
    /// As strings.
    Strings(Cursor<'a>),
}

impl<'a> Names<'a> {
    /// The names that a hash of type 29 or 31 carries itself, and how many they are.
    fn read(c: &mut Cursor<'a>, scratch: &'a mut Scratch) -> Result<(Names<'a>, u64)> {
        let mut after = *c;
        let n = skip::template_fields(&mut after, true)?;
        let names = match length::read(c, "the form of the field names")? {
            0 => {
                let blob = RdbStr::read(c)?.as_blob(scratch)?;
                Names::Listpack(super::packed::listpack::Iter::new(blob)?)
            }
            _ => {
                length::read(c, "field names")?;
                Names::Strings(Cursor::new(after.since(c.position()), c.offset()))
            }
        };
        *c = after;
        Ok((names, n))
    }

    /// The names of a template that the file declared.
    fn of_template(templates: &'a Templates, id: u64, at: u64) -> Result<(Names<'a>, u64)> {
        let t = templates
            .get(id)
            .ok_or_else(|| skip::unknown_template(at, id))?;
        Ok((Names::Strings(Cursor::new(&t.names, t.offset)), t.fields))
    }

    fn next<'s>(&mut self, scratch: &'s mut Scratch) -> Result<Option<Element<'s>>>
    where
        'a: 's,
    {
        match self {
            Names::Listpack(iter) => iter.next_element(),
            Names::Strings(c) if c.is_empty() => Ok(None),
            Names::Strings(c) => RdbStr::read(c)?.as_element(scratch).map(Some),
        }
    }
}
