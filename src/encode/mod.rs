//! From an item to bytes. Pure: an encoder appends to a buffer and knows neither threads nor files.

pub mod commands;
pub mod compat;
pub mod json;
pub mod rdb;
mod replay;
pub mod restore;
pub mod route;

pub use crate::loss;

use crate::command::Command;
use crate::error::Result;
use crate::out::Out;
use crate::rdb::entry::Entry;
use crate::rdb::scan::Item;
use crate::rdb::string::{RdbStr, Scratch};
use crate::rdb::template::Templates;
use crate::rdb::value::{Elements, Open};

/// Part of a value larger than a batch: some of its units, in order.
#[derive(Clone, Copy)]
pub struct Part<'p> {
    /// Key and attributes; the body is empty.
    pub entry: Entry<'p>,
    /// The units of this part.
    pub units: &'p [u8],
    /// Where they lie in the file.
    pub offset: u64,
    /// The same and what belongs to the value around them, without a gap from part to part: the count before the first unit, what
    /// follows the last. Empty if the part is open.
    pub raw: &'p [u8],
    /// What field expiries of type 24 count from.
    pub min_expiry: i64,
    /// What follows the nodes of a stream, and where.
    pub tail: Option<(&'p [u8], u64)>,
    /// Set when the units end before their bytes do; only for an encoder that [finds ends](Encode::finds_ends).
    pub open: Option<&'p Open>,
    /// Whether the value begins with this part.
    pub first: bool,
    /// Where the value ends in the file, if it ends with this part. Ask [`Part::end`], behind the units.
    pub last: Option<u64>,
    /// Elements of the parts before this one. Asking waits until they have all been written.
    pub elements_before: &'p dyn Fn() -> u64,
}

impl<'p> Part<'p> {
    /// The elements in the units of a value that is no stream.
    pub fn elements(&self) -> Elements<'p> {
        Elements {
            value_type: self.entry.value_type,
            bytes: self.units,
            offset: self.offset,
            min_expiry: self.min_expiry,
            open: self.open,
        }
    }

    /// Where the value ends in the file, if it ends with this part and its units have been walked.
    pub fn end(&self) -> Option<u64> {
        match self.open.map(Open::left) {
            None => self.last,
            Some((0, used)) => Some(self.offset + used as u64),
            Some(_) => None,
        }
    }
}

impl std::fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part")
            .field("entry", &self.entry)
            .field("units", &self.units.len())
            .field("first", &self.first)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

/// What is made of items. Each worker has one of its own.
///
/// An encoder may assume that items come in the order of the file within a batch, that entries have passed the filter, and
/// that what it appends is written in that order; not that it sees all of a file.
pub trait Encode: Send {
    /// What stands between the elements of a value, and is left out before the first one, which only the output's order can tell
    /// when a value is encoded in parts: each part puts it before each of its elements.
    const SEPARATOR: Option<u8> = None;

    /// Up to how many bytes, as serialized, a value must come as a whole; larger ones may come in parts. From a pipe, such a value is gathered
    /// first, on disk if it is large.
    fn whole_up_to(&self) -> u64 {
        0
    }

    /// Something that is not a key.
    fn item(&mut self, item: &Item<'_>, out: &mut Out<'_>) -> Result<()>;

    /// A key and its value. On an error what has been appended is taken back, unless it was more than the buffer holds.
    fn entry(&mut self, entry: &Entry<'_>, templates: &Templates, out: &mut Out<'_>) -> Result<()>;

    /// Whether it can do with units whose end is not known, because it decodes them all: [`Part::open`].
    fn finds_ends(&self) -> bool {
        false
    }

    /// Part of a key and its value; adds the elements in it to `elements`.
    fn part(&mut self, part: &Part<'_>, elements: &mut u64, out: &mut Out<'_>) -> Result<()>;

    /// A SELECT of a log.
    fn select(&mut self, db: u64, out: &mut Out<'_>) -> Result<()> {
        self.item(&Item::SelectDb(db), out)
    }

    /// A command of a log. Which database it is for it says itself, and so does a [`select`](Encode::select) wherever that changes. MULTI and EXEC
    /// come as commands, with at least one other between them.
    fn command(&mut self, command: &Command<'_>, _out: &mut Out<'_>) -> Result<()> {
        Err(command.refuse("this output has no place for commands"))
    }

    /// A line of a log that is no command, with its end.
    fn annotation(&mut self, _line: &[u8], _out: &mut Out<'_>) -> Result<()> {
        Ok(())
    }
}

/// The source of a function library of a 7.0 release candidate as 7.0 has it: with a first line that names engine and library.
pub(crate) fn library(
    name: &RdbStr<'_>,
    engine: &RdbStr<'_>,
    code: &RdbStr<'_>,
    scratch: &mut Scratch,
) -> Result<Vec<u8>> {
    let mut text = b"#!".to_vec();
    text.extend(engine.as_bytes(scratch)?.to_ascii_lowercase());
    text.extend_from_slice(b" name=");
    text.extend_from_slice(name.as_bytes(scratch)?);
    text.push(b'\n');
    text.extend_from_slice(code.as_bytes(scratch)?);
    Ok(text)
}
