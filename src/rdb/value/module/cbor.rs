//! Documents of RedisJSON from Redis 8.8 on (`ReJSON-RL`, version 4): CBOR, RFC 8949, as far as JSON needs it.
//!
//! ```text
//!   first byte: 3 bits of major type, 5 of argument (24 to 27: 1, 2, 4, 8 bytes follow, big-endian)
//!     0 n         integer            4 n         array of n          7 20 21 22      false true null
//!     1 n         -1 - n             5 n         map of n pairs      7 25 26 27      f16 f32 f64
//!     3 n         text of n bytes    4 31, 5 31  up to 7 31
//!
//!     6 tag, 2 n  bytes that are numbers of one kind, RFC 8746:
//!         64 69 70 71 u8 u16 u32 u64    72 77 78 79 i8 i16 i32 i64    84 85 86 f16 f32 f64    65536 bfloat16
//!
//!   a1 61 61 82 01 f5 = {"a":[1,true]}
//! ```

use super::document::{Document, Event, Kind, Numbers, half};
use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use crate::rdb::string::RdbStr;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// Argument of an array or map that goes on to the end mark.
const OPEN: u8 = 31;
/// The end mark.
const BREAK: u8 = 0xff;

/// A reader of CBOR.
#[derive(Debug, Clone)]
pub struct Cbor<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Cbor<'a> {
    /// The document in `bytes`. Offsets in errors count from `offset`.
    pub fn new(bytes: &'a [u8], offset: u64) -> Self {
        Cbor {
            cursor: Cursor::new(bytes, offset),
        }
    }

    /// A first byte's two parts.
    fn head(&mut self) -> Result<(u8, u8)> {
        let b = self.cursor.u8("a CBOR item")?;
        Ok((b >> 5, b & 31))
    }

    fn argument(&mut self, small: u8) -> Result<u64> {
        let c = &mut self.cursor;
        let what = "a CBOR argument";
        Ok(match small {
            0..24 => small.into(),
            24 => c.u8(what)?.into(),
            25 => u16::from_be_bytes(c.array(what)?).into(),
            26 => u32::from_be_bytes(c.array(what)?).into(),
            27 => u64::from_be_bytes(c.array(what)?),
            _ => return Err(self.corrupt(format!("CBOR argument {small}"))),
        })
    }

    fn text(&mut self, small: u8) -> Result<RdbStr<'a>> {
        let n = self.argument(small)?;
        let at = self.cursor.offset();
        Ok(RdbStr::raw(self.cursor.take(n, "a CBOR text")?, at))
    }

    fn size(&mut self, small: u8) -> Result<Option<u64>> {
        if small == OPEN {
            Ok(None)
        } else {
            self.argument(small).map(Some)
        }
    }

    fn numbers(&mut self, tag: u64) -> Result<Numbers<'a>> {
        let kind = match tag {
            64 => Kind::U8,
            69 => Kind::U16,
            70 => Kind::U32,
            71 => Kind::U64,
            72 => Kind::I8,
            77 => Kind::I16,
            78 => Kind::I32,
            79 => Kind::I64,
            84 => Kind::F16,
            85 => Kind::F32,
            86 => Kind::F64,
            65536 => Kind::Bf16,
            _ => return Err(self.corrupt(format!("CBOR tag {tag}"))),
        };
        let (BYTES, small) = self.head()? else {
            return Err(self.corrupt(format!("CBOR tag {tag}: expected bytes")));
        };
        let n = self.argument(small)?;
        let bytes = self.cursor.take(n, "numbers in CBOR")?;
        Numbers::new(kind, bytes)
            .ok_or_else(|| self.corrupt(format!("{n} bytes of numbers of {} bytes", kind.width())))
    }

    #[cold]
    fn corrupt(&self, what: String) -> RdbError {
        RdbError::corrupt(self.cursor.offset(), what)
    }
}

impl<'a> Document<'a> for Cbor<'a> {
    fn value(&mut self) -> Result<Event<'a>> {
        let (major, small) = self.head()?;
        Ok(match major {
            UNSIGNED => Event::Uint(self.argument(small)?),
            NEGATIVE => match i64::try_from(self.argument(small)?) {
                Ok(n) => Event::Int(-1 - n),
                Err(_) => return Err(self.corrupt("CBOR integer below -2^63".into())),
            },
            TEXT => Event::Text(self.text(small)?),
            ARRAY => Event::Array(self.size(small)?),
            MAP => Event::Map(self.size(small)?),
            TAG => {
                let tag = self.argument(small)?;
                Event::Numbers(self.numbers(tag)?)
            }
            BYTES => return Err(self.corrupt("bytes in a JSON document".into())),
            _ => match small {
                20 => Event::Bool(false),
                21 => Event::Bool(true),
                22 => Event::Null,
                25 => Event::Float(half(self.argument(small)? as u16)),
                26 => Event::Float(f32::from_bits(self.argument(small)? as u32).into()),
                27 => Event::Float(f64::from_bits(self.argument(small)?)),
                _ => return Err(self.corrupt(format!("CBOR simple value {small}"))),
            },
        })
    }

    fn key(&mut self) -> Result<RdbStr<'a>> {
        match self.head()? {
            (TEXT, small) => self.text(small),
            (major, _) => Err(self.corrupt(format!("CBOR key of major type {major}"))),
        }
    }

    fn ended(&mut self) -> bool {
        let ended = self.cursor.peek() == Some(BREAK);
        if ended {
            self.cursor.set_position(self.cursor.position() + 1);
        }
        ended
    }

    fn end(&mut self) -> Result<()> {
        if self.cursor.is_empty() {
            Ok(())
        } else {
            Err(self.corrupt("bytes after a CBOR document".into()))
        }
    }
}
