//! Module values, and other data of modules.
//!
//! ```text
//!   {"module":"bf__aaaaa","version":4,"value":{"base64":"AgEF..."}}       LEN id, these bytes
//!   {"module":"vectorset","version":0,"value":{...},"raw":{"base64":...}} the same; the readable form is passed over
//!   {"module":"ReJSON-RL","version":3,"value":{"a":1}}                    LEN id, STRING item, EOF
//! ```
//!
//! Module data has no length: it ends where its own opcodes say. So bytes from elsewhere are walked before they are believed.

use super::bytes::base64_object;
use super::document;
use super::gather::{Gather, Nothing, Sink};
use super::lexer::Lexer;
use super::{Written, twice, unknown};
use crate::cursor::Cursor;
use crate::error::{ErrorKind, RdbError, Result};
use crate::rdb::length::{self, Length};
use crate::rdb::string::{ENC_INT8, ENC_INT16, ENC_INT32, ENC_LZF};
use crate::rdb::value::module::{self, ModuleId};
use crate::rdb::value_type::ValueType;

/// A module value.
pub(super) fn value(lex: &mut Lexer<'_>, buffer: usize, w: &mut Written) -> Result<ValueType> {
    lex.punctuation(
        b'{',
        "an object {\"module\":...,\"version\":n,\"value\":...}",
    )?;
    let start = lex.offset();
    let (mut name, mut version, mut value, mut raw, mut first) = (None, None, None, false, true);
    while lex.more(b'}', &mut first)? {
        let at = lex.offset();
        match lex.name()? {
            b"module" if name.is_none() => name = Some(module_name(lex)?),
            b"version" if version.is_none() => version = Some(lex.u64("a version")?),
            b"value" if value.is_none() => {
                lex.peek()?;
                value = Some((lex.offset(), lex.line()));
                let doc = std::mem::replace(&mut w.doc, Gather::new(0));
                w.doc = lex.keep(doc)?;
            }
            b"raw" if !raw => {
                serialized(lex, false, &mut w.body)?;
                raw = true;
            }
            b"module" | b"version" | b"value" | b"raw" => return Err(twice(lex, at)),
            _ => return Err(unknown(lex, at, "a module value")),
        }
    }
    let (Some(name), Some(version), Some((at, line))) = (name, version, value) else {
        let what = "expected all of \"module\", \"version\" and \"value\"";
        return Err(lex.corrupt(start, what));
    };
    let id = module_id(lex, start, &name, version)?;
    length::write(id.0, &mut w.head);
    if raw {
        return Ok(ValueType::Module2);
    }
    let mut doc = std::mem::replace(&mut w.doc, Gather::new(0));
    let r = readable(id, &mut doc, (at, line, buffer), w);
    w.doc = doc;
    r.map(|()| ValueType::Module2)
}

fn module_name(lex: &mut Lexer<'_>) -> Result<[u8; 9]> {
    if lex.peek()? != Some(b'"') {
        return Err(lex.expected("the name of a module's type"));
    }
    let at = lex.offset();
    let name = lex.short()?.try_into();
    name.map_err(|_| {
        let what = format!("{}: expected nine characters", lex.last());
        lex.corrupt(at, what)
    })
}

fn module_id(lex: &Lexer<'_>, at: u64, name: &[u8], version: u64) -> Result<ModuleId> {
    ModuleId::new(name, version).ok_or_else(|| {
        let name = crate::error::quote(name);
        let what = format!(
            "module {name}, version {version}: expected letters, digits, - and _, and a version of at most 1023"
        );
        lex.corrupt(at, what)
    })
}

/// A value that was kept: base64, or readable.
fn readable(
    id: ModuleId,
    doc: &mut Gather,
    (at, line, buffer): (u64, u64, usize),
    w: &mut Written,
) -> Result<()> {
    if is_base64(&mut Lexer::new(doc.reader()?, at, line, buffer))? {
        let mut lex = Lexer::new(doc.reader()?, at, line, buffer);
        return serialized(&mut lex, false, &mut w.body);
    }
    match (&id.name(), id.version()) {
        (b"ReJSON-RL", version @ (2 | 3)) => {
            w.body.length(module::STRING);
            w.body.string_of(doc)?;
            if version == 2 {
                w.body.length(module::UINT);
                w.body.length(0);
            }
        }
        (b"ReJSON-RL", version @ (0 | 4)) => {
            let counts = document::counts(&mut Lexer::new(doc.reader()?, at, line, buffer))?;
            let mut lex = Lexer::new(doc.reader()?, at, line, buffer);
            if version == 0 {
                document::tree(&mut lex, &counts, &mut w.first, &mut w.body)?;
            } else {
                w.second.clear();
                document::cbor(&mut lex, &counts, &mut w.first, &mut w.second)?;
                w.body.length(module::STRING);
                w.body.string_of(&mut w.second)?;
            }
        }
        _ => {
            let what = format!(
                "a value of module {id}, version {}, cannot be made from its readable form: \"raw\" is missing",
                id.version()
            );
            return Err(RdbError::corrupt(at, what).on_line(line));
        }
    }
    w.body.length(module::EOF);
    Ok(())
}

/// Whether a value is an object with a member `base64`, a string, and nothing else: `decode` writes no document so.
fn is_base64(lex: &mut Lexer<'_>) -> Result<bool> {
    if lex.peek()? != Some(b'{') {
        return Ok(false);
    }
    lex.punctuation(b'{', "")?;
    if !lex.more(b'}', &mut true)? || lex.name()? != b"base64" || lex.peek()? != Some(b'"') {
        return Ok(false);
    }
    lex.text(&mut Nothing)?;
    Ok(!lex.more(b'}', &mut false)?)
}

/// Data of a module beside the keys: appends the item as a file has it.
pub(super) fn aux(lex: &mut Lexer<'_>, w: &mut Written) -> Result<()> {
    lex.punctuation(
        b'{',
        "an object {\"module\":...,\"version\":n,\"when\":n,...}",
    )?;
    let start = lex.offset();
    let (mut name, mut version, mut when, mut value, mut first) = (None, None, None, false, true);
    while lex.more(b'}', &mut first)? {
        let at = lex.offset();
        match lex.name()? {
            b"module" if name.is_none() => name = Some(module_name(lex)?),
            b"version" if version.is_none() => version = Some(lex.u64("a version")?),
            b"when" if when.is_none() => when = Some(lex.u64("1 or 2")?),
            b"value" if !value => {
                serialized(lex, false, &mut w.body)?;
                value = true;
            }
            b"module" | b"version" | b"when" | b"value" => return Err(twice(lex, at)),
            _ => return Err(unknown(lex, at, "data of a module")),
        }
    }
    let (Some(name), Some(version), Some(when), true) = (name, version, when, value) else {
        let what = "expected all of \"module\", \"version\", \"when\" and \"value\"";
        return Err(lex.corrupt(start, what));
    };
    let id = module_id(lex, start, &name, version)?;
    length::write(id.0, &mut w.head);
    length::write(module::UINT, &mut w.head);
    length::write(when, &mut w.head);
    Ok(())
}

/// Appends a serialization: module data up to its EOF, or the metadata of a key, which is counted.
pub(super) fn serialized(lex: &mut Lexer<'_>, metadata: bool, to: &mut Gather) -> Result<()> {
    lex.peek()?;
    let at = lex.offset();
    let mut framed = Framed {
        to,
        step: if metadata { Step::Count } else { Step::Item },
        left: 1,
        skip: 0,
        open: Vec::new(),
        metadata,
    };
    let r = base64_object(lex, &mut framed).and_then(|()| match framed.step {
        Step::End => Ok(()),
        _ => Err(misfit("it ends too early")),
    });
    r.map_err(|e| match (e.kind(), e.offset()) {
        // What was found in the data has no place of its own.
        (ErrorKind::Corrupt, None) => {
            let what = format!(
                "what this base64 stands for is no module data: {}",
                e.what()
            );
            lex.corrupt(at, what)
        }
        _ => e,
    })
}

#[cold]
fn misfit(what: &str) -> RdbError {
    RdbError::other(ErrorKind::Corrupt, what)
}

/// What must come next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// How many classes of metadata there are.
    Count,
    /// The number of a class.
    Class,
    /// An item, or the EOF.
    Item,
    /// Nothing.
    End,
}

/// Passes module data on, and sees that it has the frame that it must have.
///
/// ```text
///   module    item, item, ... EOF
///   metadata  LEN n, n × (u32, item, item, ... EOF)
/// ```
struct Framed<'g> {
    to: &'g mut Gather,
    step: Step,
    /// Sequences of items still to come, this one included.
    left: u64,
    /// Bytes of the last item still to come.
    skip: u64,
    /// The start of something that is not whole.
    open: Vec<u8>,
    metadata: bool,
}

/// All that is looked at is shorter: opcode, form and two lengths.
const LOOK: usize = 32;

impl Sink for Framed<'_> {
    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.to.put(bytes)?;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let n = usize::try_from(self.skip).map_or(bytes.len(), |n| n.min(bytes.len()));
                self.skip -= n as u64;
                bytes = bytes.get(n..).unwrap_or_default();
                continue;
            }
            if self.open.is_empty() {
                match self.atom(bytes)? {
                    Some(n) => bytes = bytes.get(n..).unwrap_or_default(),
                    None => {
                        self.open.extend_from_slice(bytes);
                        return Ok(());
                    }
                }
                continue;
            }
            let before = self.open.len();
            let more = bytes.get(..LOOK).unwrap_or(bytes);
            let mut open = std::mem::take(&mut self.open);
            open.extend_from_slice(more);
            match self.atom(&open)? {
                Some(n) => bytes = bytes.get(n.saturating_sub(before)..).unwrap_or_default(),
                None => {
                    bytes = bytes.get(more.len()..).unwrap_or_default();
                    self.open = open;
                }
            }
        }
        Ok(())
    }
}

impl Framed<'_> {
    /// Reads what must come next, up to where its own bytes begin; gives its size, or nothing if it is not whole.
    fn atom(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let mut c = Cursor::new(bytes, 0);
        match self.read(&mut c) {
            Ok((step, skip)) => {
                self.step = step;
                self.skip = skip;
                Ok(Some(c.position()))
            }
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(misfit(e.what())),
        }
    }

    fn read(&mut self, c: &mut Cursor<'_>) -> Result<(Step, u64)> {
        match self.step {
            Step::End => Err(misfit("bytes after its end")),
            Step::Count => {
                self.left = length::read(c, "a number of classes")?;
                Ok((self.next_class(), 0))
            }
            Step::Class => {
                c.take(4, "a class")?;
                Ok((Step::Item, 0))
            }
            Step::Item => {
                let skip = match length::read(c, "a module opcode")? {
                    module::EOF => {
                        self.left = self.left.saturating_sub(1);
                        return Ok((self.next_class(), 0));
                    }
                    module::SINT | module::UINT => {
                        length::read(c, "a module integer")?;
                        0
                    }
                    module::FLOAT => c.take(4, "a module float").map(|_| 0)?,
                    module::DOUBLE => c.take(8, "a module double").map(|_| 0)?,
                    module::STRING => string_bytes(c)?,
                    op => {
                        return Err(misfit(&format!("module opcode {op}: expected 0 to 5")));
                    }
                };
                Ok((Step::Item, skip))
            }
        }
    }

    fn next_class(&self) -> Step {
        match self.left {
            0 => Step::End,
            _ if self.metadata => Step::Class,
            _ => Step::Item,
        }
    }
}

/// Reads the head of a string; gives how many bytes follow.
fn string_bytes(c: &mut Cursor<'_>) -> Result<u64> {
    Ok(match length::read_form(c)? {
        Length::Len(n) => n,
        Length::Special(ENC_INT8) => 1,
        Length::Special(ENC_INT16) => 2,
        Length::Special(ENC_INT32) => 4,
        Length::Special(ENC_LZF) => {
            let n = length::read(c, "the compressed length")?;
            length::read(c, "the uncompressed length")?;
            n
        }
        Length::Special(s) => {
            return Err(misfit(&format!("string form 0x{:02x}", 0xc0 | s)));
        }
    })
}
