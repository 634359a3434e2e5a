//! Module values: a name, and items that say their own kind, so that what is unknown can be passed over and copied.
//!
//! ```text
//!   LEN id: 9 characters of 6 bits, the first highest, then 10 bits of version
//!           A-Z 0-25   a-z 26-51   0-9 52-61   - 62   _ 63
//!   items, each after its opcode, a LEN:
//!     1 SINT   LEN (two's complement)     4 DOUBLE  f64 LE
//!     2 UINT   LEN                        5 STRING  STR
//!     3 FLOAT  f32 LE                     0 EOF     the end
//!
//!   81 b5eb2dfffadd6c01 | 02 01 | 05 0568656c6c6f | 03 0000c03f | 00
//!   test__rdb, version 1: UINT 1, STRING "hello", FLOAT 1.5
//! ```
//!
//! Values of type 7 (RDB 8, Redis 4.0), the data of MODULE_AUX and of key metadata are such items. The values of a few
//! modules can be read further: [`vectorset`], and RedisJSON's [`tree`] and [`cbor`].

use std::fmt;

use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use crate::rdb::length;
use crate::rdb::string::RdbStr;

pub mod cbor;
pub mod document;
pub mod tree;
pub mod vectorset;

/// Item opcode: the end.
pub const EOF: u64 = 0;
/// Item opcode: a signed integer. Servers read it but write [`UINT`].
pub const SINT: u64 = 1;
/// Item opcode: an integer.
pub const UINT: u64 = 2;
/// Item opcode: a single float.
pub const FLOAT: u64 = 3;
/// Item opcode: a double.
pub const DOUBLE: u64 = 4;
/// Item opcode: a string.
pub const STRING: u64 = 5;

const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A module type: its name and the version of its encoding, in one number.
///
/// ```
/// use rdbtool::rdb::value::module::ModuleId;
/// let id = ModuleId(0xb5eb2dfffadd6c01);
/// assert_eq!((&id.name(), id.version()), (b"test__rdb", 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModuleId(pub u64);

impl ModuleId {
    /// Reads a module id.
    pub fn read(c: &mut Cursor<'_>) -> Result<Self> {
        length::read(c, "a module id").map(ModuleId)
    }

    /// The id of a name of nine such characters and a version of at most 1023.
    ///
    /// ```
    /// use rdbtool::rdb::value::module::ModuleId;
    /// assert_eq!(ModuleId::new(b"test__rdb", 1), Some(ModuleId(0xb5eb2dfffadd6c01)));
    /// assert_eq!(ModuleId::new(b"too short", 1), None); // a blank is no such character
    /// ```
    pub fn new(name: &[u8], version: u64) -> Option<Self> {
        let name: &[u8; 9] = name.try_into().ok()?;
        let mut id = 0;
        for c in name {
            id = id << 6 | CHARACTERS.iter().position(|known| known == c)? as u64;
        }
        (version <= 1023).then_some(ModuleId(id << 10 | version))
    }

    /// The name: letters, digits, `-` and `_`.
    pub fn name(self) -> [u8; 9] {
        std::array::from_fn(|i| CHARACTERS[(self.0 >> (58 - 6 * i)) as usize & 63])
    }

    /// The version of the encoding, 0 to 1023.
    pub fn version(self) -> u16 {
        (self.0 & 1023) as u16
    }
}

/// The name alone.
impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.name()))
    }
}

/// One item of module data.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// A signed integer.
    Sint(i64),
    /// An integer; modules put signed ones here too, in two's complement.
    Uint(u64),
    /// A single float.
    Float(f32),
    /// A double.
    Double(f64),
    /// A string.
    String(RdbStr<'a>),
}

/// The items of module data, up to the EOF opcode.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    cursor: Cursor<'a>,
    done: bool,
}

impl<'a> Items<'a> {
    /// Items from where the cursor stands.
    pub fn new(cursor: Cursor<'a>) -> Self {
        Items {
            cursor,
            done: false,
        }
    }

    /// Where the next item begins; once all are read, the place behind the EOF opcode.
    pub fn cursor(&self) -> Cursor<'a> {
        self.cursor
    }

    /// The next item; `None` once the EOF opcode is read, and after an error.
    #[inline]
    pub fn next_item(&mut self) -> Result<Option<Item<'a>>> {
        if self.done {
            return Ok(None);
        }
        match item(&mut self.cursor) {
            Ok(Some(item)) => Ok(Some(item)),
            end => {
                self.done = true;
                end
            }
        }
    }

    /// The next item, which must be an integer.
    pub fn uint(&mut self, what: &str) -> Result<u64> {
        let at = self.cursor.offset();
        match self.next_item()? {
            Some(Item::Uint(n)) => Ok(n),
            Some(Item::Sint(n)) => Ok(n as u64),
            other => Err(unlike(at, other, "an integer", what)),
        }
    }

    /// The next item, which must be a string.
    pub fn string(&mut self, what: &str) -> Result<RdbStr<'a>> {
        let at = self.cursor.offset();
        match self.next_item()? {
            Some(Item::String(s)) => Ok(s),
            other => Err(unlike(at, other, "a string", what)),
        }
    }

    /// The next item, which must be a double.
    pub fn double(&mut self, what: &str) -> Result<f64> {
        let at = self.cursor.offset();
        match self.next_item()? {
            Some(Item::Double(x)) => Ok(x),
            other => Err(unlike(at, other, "a double", what)),
        }
    }

    /// Nothing more may come.
    pub fn end(&mut self) -> Result<()> {
        let at = self.cursor.offset();
        match self.next_item()? {
            None => Ok(()),
            other => Err(unlike(at, other, "the end", "the module's layout")),
        }
    }
}

#[cold]
fn unlike(at: u64, found: Option<Item<'_>>, expected: &str, what: &str) -> RdbError {
    let found = match found {
        None => "the end",
        Some(Item::Sint(_) | Item::Uint(_)) => "an integer",
        Some(Item::Float(_)) => "a float",
        Some(Item::Double(_)) => "a double",
        Some(Item::String(_)) => "a string",
    };
    RdbError::corrupt(
        at,
        format!("{found} in module data: expected {expected} for {what}"),
    )
}

#[inline]
fn item<'a>(c: &mut Cursor<'a>) -> Result<Option<Item<'a>>> {
    let at = c.offset();
    Ok(Some(match length::read(c, "a module opcode")? {
        EOF => return Ok(None),
        SINT => Item::Sint(length::read(c, "a module integer")? as i64),
        UINT => Item::Uint(length::read(c, "a module integer")?),
        FLOAT => Item::Float(f32::from_le_bytes(c.array("a module float")?)),
        DOUBLE => Item::Double(c.f64_le("a module double")?),
        STRING => Item::String(RdbStr::read(c)?),
        op => {
            return Err(RdbError::corrupt(
                at,
                format!("module opcode {op}: expected 0 to 5"),
            ));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MODULE_AUX of the example module of Redis, from a file that 8.0.6 wrote (without the opcode F7).
    const AUX: &[u8] = b"\x81\xb5\xeb\x2d\xff\xfa\xdd\x6c\x01\x02\x01\x02\x01\x05\x03BEF\x00";

    #[test]
    fn aux_data() {
        let mut c = Cursor::new(AUX, 0);
        let id = ModuleId::read(&mut c).unwrap();
        assert_eq!((id.to_string().as_str(), id.version()), ("test__rdb", 1));
        assert_eq!(length::read(&mut c, "UINT").unwrap(), UINT);
        assert_eq!(length::read(&mut c, "when").unwrap(), 1);
        let mut items = Items::new(c);
        assert_eq!(items.uint("n").unwrap(), 1);
        let s = items.string("s").unwrap();
        assert_eq!(
            s.as_bytes(&mut crate::rdb::string::Scratch::new()).unwrap(),
            b"BEF"
        );
        items.end().unwrap();
        crate::rdb::skip::module_items(&mut c).unwrap();
        assert!(c.is_empty() && items.cursor().is_empty());
    }

    #[test]
    fn key_metadata() {
        // As 8.6.3 wrote it, after the class word.
        let b = b"\x05\x05meta1\x02\x01\x03\x00\x00\xc0\x3f\x05\xc3\x0f\x16\x04\x30xa.a\xe0\x03\x00\x049ep-5\x00";
        let mut items = Items::new(Cursor::new(b, 0));
        let mut n = 0;
        while let Some(item) = items.next_item().unwrap() {
            n += 1;
            match (n, item) {
                (1 | 4, Item::String(_)) | (2, Item::Uint(1)) => {}
                (3, Item::Float(x)) => assert_eq!(x, 1.5),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((n, items.cursor().position()), (4, b.len()));
    }

    #[test]
    fn names_use_every_character() {
        for (i, &c) in CHARACTERS.iter().enumerate() {
            let id = (0..9).fold(0u64, |id, _| id << 6 | i as u64) << 10 | 1023;
            assert_eq!(
                (ModuleId(id).name(), ModuleId(id).version()),
                ([c; 9], 1023)
            );
        }
    }

    #[test]
    fn nothing_follows_an_error() {
        let mut items = Items::new(Cursor::new(b"\x02\x01\x07\x02\x01\x00", 40));
        assert_eq!(items.uint("n").unwrap(), 1);
        assert_eq!(items.next_item().unwrap_err().offset(), Some(42));
        assert!(items.next_item().unwrap().is_none());
    }
}
