//! Listpack entries whose length, which stands behind them too, has two forms.
//!
//! ```text
//!   f0 | length u32 LE | data | back length of E = 5 + length, 7 bits a byte
//!
//!   length        16378       2097146      268435450
//!   E             16383       2097151      268435455
//!   old           00 ff ff    00 ff ff ff  00 ff ff ff ff      to Redis 8.6 and Valkey 9.0
//!   new              7f ff       7f ff ff     7f ff ff ff      from Redis 8.8 and Valkey 9.1 on
//! ```
//!
//! Every server takes its own form only, and a later patch of an older release may have changed sides. So a value with such an entry is written
//! without listpacks: hashes, sets and sorted sets in their plain types, an element of a list in a node of its own. Where that cannot be, in the
//! nodes of streams and in those of lists that hold more than such an element, the entry gets the form of the release that is written for.

use super::list;
use crate::cursor::Cursor;
use crate::encode::Part;
use crate::error::Result;
use crate::out::Out;
use crate::rdb::entry::Entry;
use crate::rdb::packed::{Blob, Element, listpack};
use crate::rdb::release::Release;
use crate::rdb::skip::{Unit, Units};
use crate::rdb::string::{RdbStr, Scratch};
use crate::rdb::value::Elements;
use crate::rdb::value::list::{PACKED, PLAIN};
use crate::rdb::value_type::ValueType;
use crate::rdb::write;

/// Lengths of the strings in question, and the size of the back length in the new form.
const LENGTHS: [(usize, usize); 3] = [(16_378, 2), (2_097_146, 3), (268_435_450, 4)];

/// Size of the smallest listpack that can hold one: header, entry, back length, terminator.
const SMALLEST: usize = 6 + 16_383 + 2 + 1;

/// Size of what stands before a string of such a length.
const HEAD: usize = 5;

/// Which of the two forms a release has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Old,
    New,
}

impl Form {
    pub(super) fn of(release: Release) -> Form {
        match release.is_at_least((8, 8), (9, 1)) {
            true => Form::New,
            false => Form::Old,
        }
    }
}

/// What to write a value as that has such an entry and would be passed on as it is; `None` if it has none. A broken value is passed on.
pub(super) fn way_around(
    e: &Entry<'_>,
    release: Option<Release>,
    scratch: &mut Scratch,
) -> Option<ValueType> {
    let to = match e.value_type {
        ValueType::SetListpack => ValueType::Set,
        ValueType::ZsetListpack => ValueType::Zset2,
        ValueType::HashListpack => ValueType::Hash,
        ValueType::HashListpackEx => ValueType::HashMetadata,
        ValueType::ListQuicklist2 => {
            let elements = Elements::of(e).ok()?.0;
            return in_list(&elements, scratch).then_some(e.value_type);
        }
        t if t.stream_version().is_some() => {
            let mut c = Cursor::new(e.body, e.body_offset);
            let units = Units::read(&mut c, Unit::Pair, 0, true).ok()?;
            let found = release.is_some() && in_stream(&mut c, units.left, scratch);
            return found.then_some(t);
        }
        _ => return None,
    };
    let elements = Elements::of(e).ok()?.0;
    let mut c = Cursor::new(elements.bytes, elements.offset);
    is_in(&RdbStr::read(&mut c).ok()?, scratch).then_some(to)
}

/// Whether part of a value has such an entry.
pub(crate) fn in_part(part: &Part<'_>, release: Option<Release>, scratch: &mut Scratch) -> bool {
    let t = part.entry.value_type;
    if t == ValueType::ListQuicklist2 {
        return in_list(&part.elements(), scratch);
    }
    t.stream_version().is_some()
        && release.is_some()
        && in_stream(&mut Cursor::new(part.units, part.offset), u64::MAX, scratch)
}

fn in_list(elements: &Elements<'_>, scratch: &mut Scratch) -> bool {
    let mut found = false;
    let walked = list::each_node(elements, |container, node, _| {
        found |= container == PACKED && is_in(&node, scratch);
        Ok(())
    });
    found && walked.is_ok()
}

fn in_stream(c: &mut Cursor<'_>, nodes: u64, scratch: &mut Scratch) -> bool {
    for _ in 0..nodes {
        if c.is_empty() {
            return false;
        }
        let (Ok(_), Ok(node)) = (RdbStr::read(c), RdbStr::read(c)) else {
            return false;
        };
        if is_in(&node, scratch) {
            return true;
        }
    }
    false
}

/// Whether a listpack has such an entry; not if it is broken.
fn is_in(listpack: &RdbStr<'_>, scratch: &mut Scratch) -> bool {
    if listpack.len() < SMALLEST {
        return false;
    }
    let walk = |scratch| -> Result<bool> {
        let mut iter = listpack::Iter::new(listpack.as_blob(scratch)?)?;
        while let Some(e) = iter.next_element()? {
            if back_len(e).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    };
    walk(scratch).unwrap_or(false)
}

/// Size of the back length of such an entry in the new form.
fn back_len(e: Element<'_>) -> Option<usize> {
    let Element::Bytes(b) = e else { return None };
    let (_, size) = LENGTHS.iter().find(|(len, _)| *len == b.len())?;
    Some(*size)
}

/// Appends the nodes of a quicklist; those with such an entry in another way.
pub(super) fn list(
    elements: &Elements<'_>,
    form: Option<Form>,
    scratch: &mut Scratch,
    out: &mut Out<'_>,
) -> Result<()> {
    list::each_node(elements, |container, node, _| {
        if container == PACKED && is_in(&node, scratch) {
            let blob = node.as_blob(scratch)?;
            let mut iter = listpack::Iter::new(blob)?;
            if let (Some(Element::Bytes(only)), None) = (iter.next_element()?, iter.next_element()?)
            {
                write::len(PLAIN, out);
                write::len(only.len() as u64, out);
                return write::bytes(only, out);
            }
            write::len(PACKED, out);
            return listpack(blob, form, out);
        }
        write::len(container, out);
        write::rdb_str(&node, out)?;
        out.checkpoint()
    })
}

/// Appends nodes of a stream until none is left; those with such an entry in the given form.
pub(super) fn stream(
    c: &mut Cursor<'_>,
    nodes: u64,
    form: Option<Form>,
    scratch: &mut Scratch,
    out: &mut Out<'_>,
) -> Result<()> {
    for _ in 0..nodes {
        if c.is_empty() {
            break;
        }
        write::rdb_str(&RdbStr::read(c)?, out)?;
        let node = RdbStr::read(c)?;
        match is_in(&node, scratch) {
            true => listpack(node.as_blob(scratch)?, form, out)?,
            false => write::rdb_str(&node, out)?,
        }
        out.checkpoint()?;
    }
    Ok(())
}

/// Appends a listpack as a string, such entries in the given form.
fn listpack(blob: Blob<'_>, form: Option<Form>, out: &mut Out<'_>) -> Result<()> {
    let Some(form) = form else {
        write::len(blob.bytes.len() as u64, out);
        return write::bytes(blob.bytes, out);
    };
    // What is copied as it is, and after each but the last such an entry's back length.
    let (mut pieces, mut from) = (Vec::new(), 6);
    let mut iter = listpack::Iter::new(blob)?;
    loop {
        let at = iter.offset();
        let Some(e) = iter.next_element()? else { break };
        if let (Some(size), Element::Bytes(b)) = (back_len(e), e) {
            pieces.push((from..at + HEAD + b.len(), size));
            from = iter.offset();
        }
    }
    let size_of = |new: usize| match form {
        Form::New => new,
        Form::Old => new + 1,
    };
    let tail = blob.bytes.get(from..).unwrap_or_default();
    let entries: usize = pieces.iter().map(|(r, n)| r.len() + size_of(*n)).sum();
    let total = 6 + entries + tail.len();
    let too_large = |_| {
        blob.origin
            .corrupt(0, "a listpack of 4 GiB, which grows by another byte")
    };
    write::len(total as u64, out);
    out.raw(&u32::try_from(total).map_err(too_large)?.to_le_bytes());
    out.raw(blob.bytes.get(4..6).unwrap_or_default());
    for (range, new) in pieces {
        write::bytes(blob.bytes.get(range).unwrap_or_default(), out)?;
        let ones = [0xff; 4];
        out.byte(match form {
            Form::New => 0x7f,
            Form::Old => 0,
        });
        out.raw(ones.get(..size_of(new) - 1).unwrap_or_default());
    }
    write::bytes(tail, out)
}
