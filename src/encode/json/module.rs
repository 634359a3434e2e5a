//! Module values as JSON.
//!
//! ```text
//!   {"module":"test__rdb","version":1,"value":{"base64":"AgEF..."}}          what no layout is known of, or does not fit it
//!   {"module":"ReJSON-RL","version":3,"value":{"a":1}}                       the document itself
//!   {"module":"vectorset","version":0,"value":{"dim":2,"quantization":"float32","m":16,
//!     "elements":[{"member":"el","vector":[3,4],"attributes":S}]},"raw":{"base64":"AgIC..."}}
//! ```
//!
//! A document that begins with a member `base64` is written as base64 too, so that the two cannot be mistaken for each other.
//!
//! The base64 is that of the serialization after the module id, EOF opcode included. Where the readable form leaves something
//! out (a vector set's graph) it stands beside it as `raw`. A reduced vector set has `"input_dim"` after `"dim"`, and its
//! vectors are the reduced ones.

use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use crate::ndjson::{escape, number};
use crate::out::{BUDGET, Nowhere, Out};
use crate::rdb::skip::module_items;
use crate::rdb::string::{RdbStr, Scratch};
use crate::rdb::value::module::cbor::Cbor;
use crate::rdb::value::module::document::{Document, Event, MAX_DEPTH};
use crate::rdb::value::module::tree::Tree;
use crate::rdb::value::module::vectorset::VectorSet;
use crate::rdb::value::module::{Items, ModuleId};

mod text;

/// A module value of more bytes than this is tried out before its readable form is written. A smaller one cannot become more than
/// [`GROWTH`] times as much.
const LARGE: usize = 2 << 10;

/// LZF data gives at most 88 times its size, and a character at most six times its own.
const GROWTH: usize = 88 * 6;

/// The name of the only member of an object that is a serialization.
const BASE64: &[u8] = b"base64";

/// Whether a readable form says everything, or the serialization must stand beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    All,
    Less,
}

/// Appends `{"module":...,"version":...,"value":`.
fn head(id: ModuleId, out: &mut Out) {
    out.lit(b"{\"module\":\"");
    out.raw(&id.name());
    out.lit(b"\",\"version\":");
    out.u64(id.version().into());
    out.lit(b",\"value\":");
}

/// Appends a serialization as an object of base64.
fn base64(bytes: &[u8], out: &mut Out) -> Result<()> {
    out.lit(b"{\"base64\":\"");
    escape::base64_pieces(bytes, out)?;
    out.lit(b"\"}");
    Ok(())
}

/// Appends what stands after the value.
fn tail(out: &mut Out) {
    out.byte(b'}');
}

/// Appends a whole module value: `body` is the value as serialized, module id first, at `offset` in the file.
///
/// The readable form of a large one is tried out first, since it cannot be taken back once part of it is written.
pub(super) fn value(body: &[u8], offset: u64, scratch: &mut Scratch, out: &mut Out) -> Result<()> {
    let mut c = Cursor::new(body, offset);
    let id = ModuleId::read(&mut c)?;
    let items = Items::new(c);
    let serialized = c.rest();
    module_items(&mut c)?;
    if !c.is_empty() {
        return Err(RdbError::corrupt(
            c.offset(),
            format!("{} bytes after the end of module data", c.remaining()),
        ));
    }
    head(id, out);
    let start = out.mark();
    if body.len() > LARGE || out.len() + GROWTH * LARGE > BUDGET {
        let mut nowhere = Out::draining(Vec::new(), &Nowhere);
        if readable(id, items.clone(), scratch, &mut nowhere).is_none() {
            base64(serialized, out)?;
            tail(out);
            return Ok(());
        }
    }
    match readable(id, items, scratch, out) {
        Some(Says::All) => {}
        Some(Says::Less) => {
            out.lit(b",\"raw\":");
            base64(serialized, out)?;
        }
        None => {
            out.rewind(start);
            base64(serialized, out)?;
        }
    }
    tail(out);
    Ok(())
}

/// Appends what a module keeps beside the keys.
pub(super) fn aux(id: u64, when: u64, items: &[u8], out: &mut Out) -> Result<()> {
    let id = ModuleId(id);
    out.lit(b"{\"module\":\"");
    out.raw(&id.name());
    out.lit(b"\",\"version\":");
    out.u64(id.version().into());
    out.lit(b",\"when\":");
    out.u64(when);
    out.lit(b",\"value\":");
    base64(items, out)?;
    out.byte(b'}');
    Ok(())
}

/// Appends the readable form of a value, or part of one, and then nothing is given: its layout is not known or not kept to.
fn readable(id: ModuleId, items: Items<'_>, scratch: &mut Scratch, out: &mut Out) -> Option<Says> {
    match (&id.name(), id.version()) {
        (b"ReJSON-RL", 0) => document(&mut Tree::new(items), scratch, out).ok(),
        (b"ReJSON-RL", 2) => json_text(items, true, scratch, out).ok(),
        (b"ReJSON-RL", 3) => json_text(items, false, scratch, out).ok(),
        (b"ReJSON-RL", 4) => cbor(items, scratch, out).ok(),
        (b"vectorset", 0) => vectorset(items, scratch, out).ok(),
        _ => None,
    }
}

/// A string item with the document as JSON text. RedisJSON before 2.0 wrote more behind it.
fn json_text(
    mut items: Items<'_>,
    more: bool,
    scratch: &mut Scratch,
    out: &mut Out,
) -> Result<Says> {
    let at = items.cursor().offset();
    let text = items.string("the document")?;
    let mut says = Says::All;
    if more && items.uint("what follows the document")? != 0 {
        items.string("what follows the document")?;
        items.string("what follows the document")?;
        says = Says::Less;
    }
    items.end()?;
    let bytes = text.as_bytes(scratch)?;
    if text::begins_with(BASE64, bytes) {
        return Err(misfit("a document that looks like base64"));
    }
    match text::append(bytes, out) {
        true => Ok(says),
        false => Err(RdbError::corrupt(at, "not a JSON text")),
    }
}

fn cbor(mut items: Items<'_>, scratch: &mut Scratch, out: &mut Out) -> Result<Says> {
    let text = items.string("the document")?;
    items.end()?;
    let bytes = text.as_bytes(scratch)?;
    // Its texts stand in those bytes as they are, so this one stays empty.
    document(
        &mut Cbor::new(bytes, text.offset()),
        &mut Scratch::new(),
        out,
    )
}

/// An array or a map that is being written.
struct Open {
    map: bool,
    left: Option<u64>,
    first: bool,
}

fn document<'a>(
    source: &mut impl Document<'a>,
    scratch: &mut Scratch,
    out: &mut Out,
) -> Result<Says> {
    let mut open: Vec<Open> = Vec::new();
    loop {
        let container = match source.value()? {
            Event::Array(left) => Some((false, left)),
            Event::Map(left) => Some((true, left)),
            Event::Numbers(numbers) => {
                out.byte(b'[');
                for (i, n) in numbers.enumerate() {
                    if i > 0 {
                        out.byte(b',');
                    }
                    scalar(n, scratch, out)?;
                }
                out.byte(b']');
                None
            }
            other => {
                scalar(other, scratch, out)?;
                None
            }
        };
        if let Some((map, left)) = container {
            if open.len() == MAX_DEPTH {
                return Err(misfit("a document nested too deeply"));
            }
            out.byte(if map { b'{' } else { b'[' });
            let first = true;
            open.push(Open { map, left, first });
        }
        // Closes what is complete, and goes on in what is not.
        loop {
            let depth = open.len();
            let Some(top) = open.last_mut() else {
                source.end()?;
                return Ok(Says::All);
            };
            let complete = match &mut top.left {
                Some(0) => true,
                Some(n) => {
                    *n -= 1;
                    false
                }
                None => source.ended(),
            };
            if complete {
                out.byte(if top.map { b'}' } else { b']' });
                open.pop();
                continue;
            }
            let first = std::mem::take(&mut top.first);
            if !first {
                out.byte(b',');
            }
            out.checkpoint()?;
            if top.map {
                let key = source.key()?;
                if first && depth == 1 && key.as_bytes(scratch)? == BASE64 {
                    return Err(misfit("a document that looks like base64"));
                }
                utf8(key, scratch, out)?;
                out.byte(b':');
            }
            break;
        }
    }
}

fn scalar(event: Event<'_>, scratch: &mut Scratch, out: &mut Out) -> Result<()> {
    match event {
        Event::Null => out.lit(b"null"),
        Event::Bool(true) => out.lit(b"true"),
        Event::Bool(false) => out.lit(b"false"),
        Event::Int(n) => out.i64(n),
        Event::Uint(n) => out.u64(n),
        // With its point or exponent: RedisJSON tells 1.0 from 1.
        Event::Float(x) if x.is_finite() => {
            out.raw(zmij::Buffer::new().format_finite(x).as_bytes());
        }
        Event::Float(_) => return Err(misfit("a number that JSON does not have")),
        Event::Text(s) => return utf8(s, scratch, out),
        Event::Array(_) | Event::Map(_) | Event::Numbers(_) => {
            return Err(misfit("an array where a number is expected"));
        }
    }
    Ok(())
}

/// Appends a text of a document, which has no other form than a JSON string.
fn utf8(s: RdbStr<'_>, scratch: &mut Scratch, out: &mut Out) -> Result<()> {
    let bytes = s.as_bytes(scratch)?;
    if std::str::from_utf8(bytes).is_err() {
        return Err(misfit("a text that is not UTF-8"));
    }
    escape::string(bytes, out)
}

#[cold]
fn misfit(what: &'static str) -> RdbError {
    RdbError::other(crate::ErrorKind::Corrupt, what)
}

fn vectorset(items: Items<'_>, scratch: &mut Scratch, out: &mut Out) -> Result<Says> {
    let mut set = VectorSet::read(items)?;
    out.lit(b"{\"dim\":");
    out.u64(set.dim);
    if let Some(input) = set.input_dim {
        out.lit(b",\"input_dim\":");
        out.u64(input);
    }
    out.lit(b",\"quantization\":\"");
    out.raw(set.quantization.name().as_bytes());
    out.lit(b"\",\"m\":");
    out.u64(set.m);
    out.lit(b",\"elements\":[");
    let mut first = true;
    while let Some(e) = set.next_element()? {
        if !std::mem::take(&mut first) {
            out.byte(b',');
        }
        out.lit(b"{\"member\":");
        super::stream::string(e.member, scratch, out)?;
        out.lit(b",\"vector\":[");
        let bytes = e.vector.as_bytes(scratch)?;
        for (i, x) in e.components(set.quantization, set.dim, bytes).enumerate() {
            if i > 0 {
                out.byte(b',');
            }
            number::single(x, out);
        }
        out.byte(b']');
        if let Some(attributes) = e.attributes {
            out.lit(b",\"attributes\":");
            super::stream::string(attributes, scratch, out)?;
        }
        out.byte(b'}');
        out.checkpoint()?;
    }
    out.lit(b"]}");
    Ok(Says::Less)
}

#[cfg(test)]
mod tests;
