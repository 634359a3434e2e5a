//! Walks over values that read every element, and see what a decoder need not: order, names, counts.

use super::duplicates::{Names, with_text};
use crate::cursor::Cursor;
use crate::error::RdbError;
use crate::error::Result;
use crate::rdb::packed::Element;
use crate::rdb::string::{Form, RdbStr, Scratch};
use crate::rdb::template::Templates;
use crate::rdb::value::module::{self, Items};
use crate::rdb::value::stream::{Nodes, Records, StreamId, Tail};
use crate::rdb::value::{Elements, Scratches, array, hash, list, set, zset};
use crate::rdb::value_type::ValueType;
use crate::rdb::{LogicalType, lzf};
use std::cmp::Ordering;

/// Servers count the elements of a quicklist node in 16 bits.
pub(super) const NODE_MAX: u64 = 65535;

/// How the names of a value are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    /// Not at all.
    No,
    /// All are there.
    Value,
    /// They are some of those of a giant value.
    Part,
}

/// What the walk over elements has shown.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) elements: u64,
    pub(super) fields_with_expiry: u64,
    /// The first element that is less than the one before it, where servers rely on the order.
    pub(super) unsorted: Option<u64>,
}

/// What a walk over a value needs; all of it is used again for the next.
pub(super) struct Walk {
    pub(super) scratch: Scratches,
    pub(super) names: Names,
    /// The member before the one at hand.
    pub(super) previous: Vec<u8>,
}

impl Walk {
    /// Reads elements of a collection; gathers their names.
    #[inline]
    pub(super) fn elements(
        &mut self,
        elements: &Elements<'_>,
        templates: &Templates,
        compare: Compare,
    ) -> Result<Seen> {
        let Walk {
            scratch,
            names,
            previous,
        } = self;
        names.clear();
        let mut seen = Seen::default();
        let n = &mut seen.elements;
        let mut name = |e: Element<'_>| match compare {
            Compare::Value => names.add(e),
            Compare::Part => names.add_wide(e),
            Compare::No => {}
        };
        match elements.value_type.logical() {
            LogicalType::List => list::each(elements, scratch, |_| {
                *n += 1;
                Ok(())
            })?,
            // Its members ascend, or it cannot be read.
            LogicalType::Set if elements.value_type == ValueType::SetIntset => {
                set::each(elements, scratch, |_| {
                    *n += 1;
                    Ok(())
                })?;
            }
            LogicalType::Set => set::each(elements, scratch, |e| {
                *n += 1;
                name(e);
                Ok(())
            })?,
            LogicalType::Zset => {
                let packed = matches!(
                    elements.value_type,
                    ValueType::ZsetListpack | ValueType::ZsetZiplist
                );
                let mut last = f64::NEG_INFINITY;
                let unsorted = &mut seen.unsorted;
                previous.clear();
                zset::each(elements, scratch, |member, score| {
                    name(member);
                    if packed {
                        let order = last.partial_cmp(&score).unwrap_or(Ordering::Less);
                        with_text(member, |b| {
                            let less = match order {
                                Ordering::Less => false,
                                Ordering::Equal => *n > 0 && b < previous.as_slice(),
                                Ordering::Greater => true,
                            };
                            if less && unsorted.is_none() {
                                *unsorted = Some(*n);
                            }
                            previous.clear();
                            previous.extend_from_slice(b);
                        });
                        last = score;
                    }
                    *n += 1;
                    Ok(())
                })?;
            }
            _ if elements.value_type.has_field_expiry() => {
                let packed = matches!(
                    elements.value_type,
                    ValueType::HashListpackEx | ValueType::HashListpackExPreGa
                );
                let mut last = 0;
                let (unsorted, expiries) = (&mut seen.unsorted, &mut seen.fields_with_expiry);
                hash::each(elements, templates, scratch, |field, _, expiry| {
                    name(field);
                    *expiries += u64::from(expiry.is_some());
                    if packed {
                        // Fields without an expiry come last.
                        let this = expiry.unwrap_or(i64::MAX);
                        if this < last && unsorted.is_none() {
                            *unsorted = Some(*n);
                        }
                        last = this;
                    }
                    *n += 1;
                    Ok(())
                })?;
            }
            _ => hash::each(elements, templates, scratch, |field, _, _| {
                *n += 1;
                name(field);
                Ok(())
            })?,
        }
        Ok(seen)
    }

    /// Reads nodes of a stream; gives how many entries they have, and their first and last key.
    pub(super) fn nodes(
        &mut self,
        bytes: &[u8],
        offset: u64,
    ) -> Result<(u64, Option<(StreamId, StreamId)>)> {
        let mut nodes = Nodes::new(bytes, offset);
        let (mut live, mut span) = (0, None);
        while let Some((key, blob)) = nodes.next_node(&mut self.scratch.blob)? {
            span = Some((span.map_or(key, |(first, _)| first), key));
            let mut records = Records::new(key, blob)?;
            while records.next_record()?.is_some() {
                live += 1;
            }
        }
        Ok((live, span))
    }

    /// Reads the consumer groups of a stream; gives what name is there twice, if one is.
    pub(super) fn groups(&mut self, tail: &Tail<'_>) -> Result<Option<String>> {
        let mut found = self.twice(|first, f| {
            let mut groups = tail.groups();
            while let Some(g) = groups.next_group()? {
                f(g.name.as_element(first)?)?;
            }
            Ok(())
        })?;
        found = found.map(|name| format!("consumer group {name} is there twice"));
        let mut groups = tail.groups();
        while let Some(group) = groups.next_group()? {
            let mut pending = group.pending()?;
            while pending.next_entry()?.is_some() {}
            let twice = self.twice(|first, f| {
                let mut consumers = group.consumers.clone();
                while let Some(c) = consumers.next_consumer()? {
                    f(c.name.as_element(first)?)?;
                }
                Ok(())
            })?;
            if let (None, Some(name)) = (&found, twice) {
                let group = crate::quote(group.name.as_bytes(&mut self.scratch.first)?);
                found = Some(format!("consumer {name} is there twice in group {group}"));
            }
        }
        Ok(found)
    }

    /// Whether a name occurs twice among those that `walk` gives; it is called again to make sure.
    pub(super) fn twice(
        &mut self,
        walk: impl Fn(&mut Scratch, &mut dyn FnMut(Element<'_>) -> Result<()>) -> Result<()>,
    ) -> Result<Option<String>> {
        let Walk { scratch, names, .. } = self;
        names.clear();
        walk(&mut scratch.first, &mut |e| {
            names.add(e);
            Ok(())
        })?;
        let suspects = names.suspects();
        if suspects.is_empty() {
            return Ok(None);
        }
        let found = names.confirm(&suspects, |f| walk(&mut scratch.first, f))?;
        Ok(found.map(|name| crate::quote(&name)))
    }
}

/// Calls `f` with each member of a set or sorted set, each field of a hash.
pub(super) fn each_name(
    elements: &Elements<'_>,
    templates: &Templates,
    scratch: &mut Scratches,
    f: &mut dyn FnMut(Element<'_>) -> Result<()>,
) -> Result<()> {
    match elements.value_type.logical() {
        LogicalType::Set => set::each(elements, scratch, f),
        LogicalType::Zset => zset::each(elements, scratch, |member, _| f(member)),
        _ => hash::each(elements, templates, scratch, |field, _, _| f(field)),
    }
}

/// Reads a string: what is compressed is decompressed, a large one piece by piece.
#[inline]
pub(super) fn string(s: &RdbStr<'_>, scratch: &mut Scratch) -> Result<()> {
    match s.form() {
        Form::Raw(_) | Form::Int(_) => {}
        Form::Lzf { data, len } if len > lzf::WHOLE => {
            let mut pieces = lzf::Pieces::new(data, len);
            let next = |p: &mut lzf::Pieces<'_>| match p.next_piece() {
                Ok(piece) => Ok(piece.is_some()),
                Err(e) => Err(e.into_error(s.offset())),
            };
            while next(&mut pieces)? {}
        }
        Form::Lzf { .. } => s.as_bytes(scratch).map(drop)?,
    }
    Ok(())
}

/// Reads module data up to its EOF opcode, and puts the cursor behind it.
pub(super) fn module_items(c: &mut Cursor<'_>, scratch: &mut Scratch) -> Result<()> {
    let mut items = Items::new(*c);
    while let Some(item) = items.next_item()? {
        if let module::Item::String(s) = item {
            string(&s, scratch)?;
        }
    }
    *c = items.cursor();
    Ok(())
}

/// Reads an array; gives how many elements it has.
pub(super) fn array_elements(c: &mut Cursor<'_>, scratch: &mut Scratch) -> Result<u64> {
    let at = c.offset();
    let head = array::Head::read(c)?;
    let mut elements = array::Elements::new(c.rest(), c.offset());
    let mut n = 0;
    while let Some((_, value)) = elements.next_element()? {
        if let array::Value::Str(s) = value {
            string(&s, scratch)?;
        }
        n += 1;
    }
    if n != head.len {
        return Err(RdbError::corrupt(
            at,
            format!("array of {n} elements: expected {}", head.len),
        ));
    }
    Ok(n)
}

/// Nothing may follow what the cursor has passed.
pub(super) fn at_end(c: &Cursor<'_>) -> Result<()> {
    match c.remaining() {
        0 => Ok(()),
        n => Err(RdbError::corrupt(
            c.offset(),
            format!("{n} bytes after the end of the value"),
        )),
    }
}
