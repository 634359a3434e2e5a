//! The items of a file, one after the other; values are passed over, not decoded.
//!
//! ```text
//!   magic version | item item item ... | FF | CRC-64
//!
//!   item = opcode, arguments                          aux field, function, database, hints ...
//!        | [FC ms] [FD s] [F8 idle] [F9 freq] [F3 meta]  type  key  value
//! ```
//!
//! Attributes hold for the next key record and are then forgotten. An aux field may stand anywhere, also between the attributes of
//! a key and its type byte.

use super::entry::Entry;
use super::header::{Dialect, HEADER_LEN, Header};
use super::length;
use super::opcode;
use super::skip;
use super::string::{RdbStr, Scratch};
use super::template::Templates;
use super::value_type::ValueType;
use crate::cursor::Cursor;
use crate::error::{RdbError, Result};

/// One item of a file.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// A key record.
    Key(Entry<'a>),
    /// An auxiliary field.
    Aux {
        /// Its name.
        name: RdbStr<'a>,
        /// Its value.
        value: RdbStr<'a>,
    },
    /// The source of a function library.
    Function {
        /// The code, beginning `#!<engine> name=<library>`.
        code: RdbStr<'a>,
    },
    /// A function as the 7.0 release candidates wrote it.
    FunctionPreGa {
        /// The name of the library.
        name: RdbStr<'a>,
        /// The engine, `LUA`.
        engine: RdbStr<'a>,
        /// The code, without the `#!` line of later versions.
        code: RdbStr<'a>,
    },
    /// The keys that follow are in this database.
    SelectDb(u64),
    /// Data of a module beside the keys.
    ModuleAux {
        /// The module's id.
        id: u64,
        /// 1 before the keys, 2 after them.
        when: u64,
        /// Its items, the EOF included.
        items: &'a [u8],
        /// Where they lie in the file.
        offset: u64,
    },
    /// Slots that were being imported by a cluster node (Valkey 9).
    SlotImport {
        /// The job, 40 bytes.
        job: RdbStr<'a>,
        /// LEN first, LEN last for each range.
        ranges: &'a [u8],
        /// Where they lie in the file.
        offset: u64,
    },
    /// Something that says nothing of the data: sizes of hash tables, keys of a slot, a hash template (which is remembered).
    Hint,
    /// The EOF opcode.
    End,
}

/// What a walk has read of the record it is in: the attributes so far, and then the key.
///
/// It is filled in place and used again for the next record: handing entries about by value cost more than reading them.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// The entry; its body is empty until whoever walks has found its end.
    pub(crate) entry: Entry<'a>,
    /// Whether attributes have been read whose key has not.
    pub(crate) pending: bool,
}

impl<'a> Record<'a> {
    pub(crate) fn new() -> Self {
        Record {
            entry: Entry {
                db: 0,
                key: RdbStr::raw(b"", 0),
                expire_at_ms: None,
                idle_s: None,
                freq: None,
                value_type: ValueType::String,
                metadata: &[],
                body: &[],
                body_offset: 0,
                offset: 0,
            },
            pending: false,
        }
    }

    /// An attribute that stands at `offset` is being read; the first one is where the record begins.
    #[inline]
    fn attribute(&mut self, offset: u64) -> &mut Entry<'a> {
        if !self.pending {
            self.pending = true;
            self.entry.offset = offset;
        }
        &mut self.entry
    }
}

/// What a walk has come to.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A key: it is in the record, and the cursor stands where its value begins.
    Key,
    /// Anything else.
    Item(Item<'a>),
}

/// What the meaning of an item depends on.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) header: Header,
    pub(crate) db: u64,
    pub(crate) templates: Templates,
}

impl Context {
    pub(crate) fn new(header: Header) -> Self {
        Context {
            header,
            db: 0,
            templates: Templates::default(),
        }
    }
}

/// Reads up to the next item, or up to the value of a key record.
#[inline(always)]
pub(crate) fn read_head<'a>(
    c: &mut Cursor<'a>,
    cx: &mut Context,
    record: &mut Record<'a>,
    whole: bool,
) -> Result<Step<'a>> {
    if !record.pending {
        let e = &mut record.entry;
        (e.expire_at_ms, e.idle_s, e.freq, e.metadata) = (None, None, None, &[]);
    }
    loop {
        let offset = c.offset();
        let b = c.u8("an opcode or a value type")?;
        if b == opcode::EXPIRETIME_MS {
            record.attribute(offset).expire_at_ms = Some(c.i64_le("an expiry")?);
            continue;
        }
        if let Some(value_type) = ValueType::from_byte(b, cx.header.dialect) {
            let e = &mut record.entry;
            if !record.pending {
                e.offset = offset;
            }
            record.pending = false;
            e.db = cx.db;
            e.value_type = value_type;
            e.key = RdbStr::read(c)?;
            e.body_offset = c.offset();
            return Ok(Step::Key);
        }
        if let Some(item) = read_opcode(c, cx, record, whole, b, offset)? {
            return Ok(Step::Item(item));
        }
    }
}

/// Reads the arguments of an opcode. `None` for an attribute of the next key.
#[inline(never)]
fn read_opcode<'a>(
    c: &mut Cursor<'a>,
    cx: &mut Context,
    record: &mut Record<'a>,
    whole: bool,
    op: u8,
    offset: u64,
) -> Result<Option<Item<'a>>> {
    Ok(Some(match op {
        opcode::EXPIRETIME => {
            let seconds = i32::from_le_bytes(c.array("an expiry")?);
            record.attribute(offset).expire_at_ms = Some(i64::from(seconds) * 1000);
            return Ok(None);
        }
        opcode::IDLE => {
            record.attribute(offset).idle_s = Some(length::read(c, "an idle time")?);
            return Ok(None);
        }
        opcode::FREQ => {
            record.attribute(offset).freq = Some(c.u8("an access counter")?);
            return Ok(None);
        }
        opcode::KEY_META if cx.header.dialect == Dialect::Redis => {
            let from = c.position();
            for _ in 0..skip::count(c, 5, whole, "metadata classes")? {
                c.take(4, "a metadata class")?;
                skip::module_items(c)?;
            }
            record.attribute(offset).metadata = c.since(from);
            return Ok(None);
        }
        opcode::SLOT_IMPORT => {
            let job = RdbStr::read(c)?;
            let n = skip::count(c, 2, whole, "slot ranges")?;
            let (from, ranges_offset) = (c.position(), c.offset());
            for _ in 0..n {
                let at = c.offset();
                let first = length::read(c, "a first slot")?;
                let last = length::read(c, "a last slot")?;
                if first > last || last > 16383 {
                    return Err(RdbError::corrupt(
                        at,
                        format!("slots {first} to {last}: expected a range within 0 to 16383"),
                    ));
                }
            }
            Item::SlotImport {
                job,
                ranges: c.since(from),
                offset: ranges_offset,
            }
        }
        opcode::EOF => Item::End,
        opcode::SELECTDB => {
            cx.db = length::read(c, "a database number")?;
            Item::SelectDb(cx.db)
        }
        opcode::RESIZEDB => {
            length::read(c, "a number of keys")?;
            length::read(c, "a number of expiries")?;
            Item::Hint
        }
        opcode::AUX => Item::Aux {
            name: RdbStr::read(c)?,
            value: RdbStr::read(c)?,
        },
        opcode::MODULE_AUX => {
            let id = length::read(c, "a module id")?;
            let at = c.offset();
            match length::read(c, "a module opcode")? {
                2 => {}
                op => {
                    return Err(RdbError::corrupt(
                        at,
                        format!("module opcode {op} before a module's aux data: expected 2"),
                    ));
                }
            }
            let when = length::read(c, "when a module's aux data is to be loaded")?;
            let (from, items_offset) = (c.position(), c.offset());
            skip::module_items(c)?;
            Item::ModuleAux {
                id,
                when,
                items: c.since(from),
                offset: items_offset,
            }
        }
        opcode::FUNCTION2 => Item::Function {
            code: RdbStr::read(c)?,
        },
        opcode::FUNCTION_PRE_GA => {
            let name = RdbStr::read(c)?;
            let engine = RdbStr::read(c)?;
            if length::read(c, "whether a description follows")? != 0 {
                RdbStr::read(c)?;
            }
            Item::FunctionPreGa {
                name,
                engine,
                code: RdbStr::read(c)?,
            }
        }
        opcode::SLOT_INFO => {
            for what in ["a slot", "a number of keys", "a number of expiries"] {
                length::read(c, what)?;
            }
            Item::Hint
        }
        opcode::HASH_TEMPLATE if cx.header.dialect == Dialect::Redis => {
            cx.templates.read(c, whole)?;
            Item::Hint
        }
        opcode::SLOT_NUM | opcode::RAM_LRU => {
            length::read(c, "an argument")?;
            Item::Hint
        }
        _ => {
            let what = if op < opcode::RAM_LRU {
                "value type"
            } else {
                "opcode"
            };
            let text = format!("unknown {what} 0x{op:02x} ({})", cx.header.known());
            return Err(if cx.header.is_known() {
                RdbError::corrupt(offset, text)
            } else {
                RdbError::unsupported(offset, text)
            });
        }
    }))
}

/// Iterates over the items of a file that is wholly in memory.
///
/// ```
/// use rdbtool::rdb::scan::{Item, Scanner};
/// use rdbtool::rdb::string::Scratch;
///
/// let file = b"REDIS0004\xfe\x00\x00\x05hello\x05world\xff";
/// let mut scratch = Scratch::new();
/// let mut keys = 0;
/// for item in Scanner::new(file)? {
///     if let Item::Key(entry) = item? {
///         assert_eq!(entry.key.as_bytes(&mut scratch)?, b"hello");
///         assert_eq!(entry.body, b"\x05world");
///         keys += 1;
///     }
/// }
/// assert_eq!(keys, 1);
/// # Ok::<(), rdbtool::RdbError>(())
/// ```
#[derive(Debug)]
pub struct Scanner<'a> {
    c: Cursor<'a>,
    cx: Context,
    record: Record<'a>,
    ended: bool,
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of a file. Does not verify the checksum; [`Scanner::checksum`] tells what it should be.
    pub fn new(file: &'a [u8]) -> Result<Self> {
        let header = Header::read(file)?;
        let mut c = Cursor::new(file, 0);
        c.set_position(HEADER_LEN);
        Ok(Scanner::within(c, Context::new(header)))
    }

    /// A scanner over items in the middle of a file.
    pub(crate) fn within(c: Cursor<'a>, cx: Context) -> Self {
        Scanner {
            c,
            cx,
            record: Record::new(),
            ended: false,
        }
    }

    /// Magic and version.
    pub fn header(&self) -> Header {
        self.cx.header
    }

    /// Templates declared so far, which hashes of RDB 15 refer to.
    pub fn templates(&self) -> &Templates {
        &self.cx.templates
    }

    /// Offset of the next item.
    pub fn offset(&self) -> u64 {
        self.c.offset()
    }

    /// The checksum that the file ends with, once [`Item::End`] has been seen: `None` before version 5, and when the file says
    /// (by a zero) that none was computed.
    pub fn checksum(&self) -> Result<Option<u64>> {
        if !self.cx.header.has_checksum() {
            return Ok(None);
        }
        let stored = self.c.clone().u64_le("the checksum")?;
        Ok((stored != 0).then_some(stored))
    }

    /// The next item, `None` after the last: behind the EOF opcode, at the end of the window, after an error.
    pub fn next_item(&mut self) -> Result<Option<Item<'a>>> {
        Ok(match self.step()? {
            Some(Step::Key) => Some(Item::Key(self.record.entry)),
            Some(Step::Item(item)) => Some(item),
            None => None,
        })
    }

    /// The same, but a key is left in [`Scanner::entry`].
    #[inline(always)]
    pub(crate) fn step(&mut self) -> Result<Option<Step<'a>>> {
        if self.ended {
            return Ok(None);
        }
        let r = self.read();
        if matches!(r, Err(_) | Ok(Step::Item(Item::End))) {
            self.ended = true;
        }
        r.map(Some)
    }

    /// The key that was come to last.
    #[inline]
    pub(crate) fn entry(&self) -> &Entry<'a> {
        &self.record.entry
    }

    #[inline(always)]
    fn read(&mut self) -> Result<Step<'a>> {
        let Scanner { c, cx, record, .. } = self;
        let step = read_head(c, cx, record, true)?;
        if matches!(step, Step::Key) {
            let from = c.position();
            let t = record.entry.value_type;
            if let Err(e) = skip::value(c, t, &cx.templates, true, usize::MAX) {
                return Err(name(e, &record.entry));
            }
            record.entry.body = c.since(from);
        }
        Ok(step)
    }

    /// Whether every byte of the window has been read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.c.is_empty()
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Result<Item<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_item().transpose()
    }
}

/// Adds the key and type of an entry to an error about it.
#[cold]
pub(crate) fn name(e: RdbError, entry: &Entry<'_>) -> RdbError {
    let mut scratch = Scratch::new();
    let key = entry.key.as_bytes(&mut scratch).unwrap_or(b"?");
    e.with_key(key, entry.value_type.name())
}
