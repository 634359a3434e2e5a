//! Strings: raw bytes, an integer, or LZF data; turned into bytes only when asked.
//!
//! ```text
//!   LEN n, n bytes                          raw
//!   C0 i8      C1 i16 LE      C2 i32 LE     the integer's decimal text
//!   C3 LEN clen  LEN ulen  clen bytes       LZF, ulen bytes when decompressed
//!
//!   05 68656c6c6f = "hello"    c1 7fff = "-129"    c0 fb = "-5"    00 = ""
//! ```
//!
//! Keys, fields, members and the blobs of packed collections are all such strings.

use super::length::{self, Length};
use super::lzf;
use super::packed::{Blob, Element, Origin};
use crate::cursor::Cursor;
use crate::error::{RdbError, Result};

/// Special form: an 8-bit integer follows.
pub const ENC_INT8: u8 = 0;
/// Special form: a 16-bit little-endian integer follows.
pub const ENC_INT16: u8 = 1;
/// Special form: a 32-bit little-endian integer follows.
pub const ENC_INT32: u8 = 2;
/// Special form: LZF data follows.
pub const ENC_LZF: u8 = 3;

/// A string as the file has it.
#[derive(Debug, Clone, Copy)]
pub struct RdbStr<'a> {
    form: Form<'a>,
    offset: u64,
}

/// How a string is encoded.
#[derive(Debug, Clone, Copy)]
pub enum Form<'a> {
    /// The bytes themselves.
    Raw(&'a [u8]),
    /// An integer; the string is its decimal text.
    Int(i32),
    /// LZF data and the size of what it stands for, at most [`lzf::MAX_RATIO`] times the data.
    Lzf {
        /// The compressed bytes.
        data: &'a [u8],
        /// Size when decompressed.
        len: usize,
    },
}

/// A buffer for strings that do not stand in the file as they are. Grows to the largest of them, and is kept.
#[derive(Debug, Default)]
pub struct Scratch(Vec<u8>);

impl Scratch {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The buffer, at least `n` bytes long; what it holds is left from before.
    pub(crate) fn grow(&mut self, n: usize) -> &mut Vec<u8> {
        if self.0.len() < n {
            self.0.resize(n, 0);
        } else if self.0.len() > KEEP && n <= KEEP {
            self.0.truncate(KEEP);
            self.0.shrink_to(KEEP);
        }
        &mut self.0
    }
}

/// A scratch buffer that a rare large string blew up falls back to this size.
const KEEP: usize = 1 << 20;

impl<'a> RdbStr<'a> {
    /// A string that is these bytes, at `offset` in the file.
    pub fn raw(bytes: &'a [u8], offset: u64) -> Self {
        RdbStr {
            form: Form::Raw(bytes),
            offset,
        }
    }

    /// Reads a string.
    #[inline(always)]
    pub fn read(c: &mut Cursor<'a>) -> Result<Self> {
        // The 6-bit length: nearly every string there is.
        match c.rest().split_first() {
            Some((&n, rest)) if n < 0x40 && rest.len() >= usize::from(n) => {
                c.set_position(c.position() + 1 + usize::from(n));
                Ok(RdbStr {
                    offset: c.offset() - u64::from(n),
                    form: Form::Raw(&rest[..usize::from(n)]),
                })
            }
            _ => Self::read_any(c),
        }
    }

    #[inline(never)]
    fn read_any(c: &mut Cursor<'a>) -> Result<Self> {
        let start = c.offset();
        match length::read_form(c)? {
            Length::Len(n) => Ok(RdbStr {
                offset: c.offset(),
                form: Form::Raw(c.take(n, "a string")?),
            }),
            Length::Special(s) => Self::read_special(c, start, s),
        }
    }

    fn read_special(c: &mut Cursor<'a>, start: u64, s: u8) -> Result<Self> {
        let form = match s {
            ENC_INT8 => Form::Int(i8::from_le_bytes(c.array("an 8-bit integer")?).into()),
            ENC_INT16 => Form::Int(i16::from_le_bytes(c.array("a 16-bit integer")?).into()),
            ENC_INT32 => Form::Int(i32::from_le_bytes(c.array("a 32-bit integer")?)),
            ENC_LZF => {
                let data = length::read(c, "the compressed length")?;
                let len = length::read(c, "the uncompressed length")?;
                if len > data.saturating_mul(lzf::MAX_RATIO) {
                    return Err(RdbError::corrupt(
                        start,
                        format!(
                            "LZF string of {data} bytes claims {len} uncompressed ones, more than {} times as many",
                            lzf::MAX_RATIO
                        ),
                    ));
                }
                let data = c.take(data, "LZF data")?;
                // With the data at hand, `len` is at most 88 times a size in memory.
                let len = usize::try_from(len)
                    .map_err(|_| RdbError::limit(start, "string too large for this machine"))?;
                Form::Lzf { data, len }
            }
            _ => {
                return Err(RdbError::corrupt(
                    start,
                    format!(
                        "string form 0x{:02x}: expected a length or c0 to c3",
                        0xc0 | s
                    ),
                ));
            }
        };
        Ok(RdbStr {
            form,
            offset: start,
        })
    }

    /// How the string is encoded.
    #[inline]
    pub fn form(&self) -> Form<'a> {
        self.form
    }

    /// Where the bytes of a raw string lie in the file; of any other form, where the string begins.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Length of the string in bytes, found without decompressing it.
    pub fn len(&self) -> usize {
        match self.form {
            Form::Raw(b) => b.len(),
            Form::Int(n) => itoa::Buffer::new().format(n).len(),
            Form::Lzf { len, .. } => len,
        }
    }

    /// Whether it is the empty string.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes: borrowed from the file when they stand there, otherwise made in `scratch`.
    #[inline]
    pub fn as_bytes<'s>(&self, scratch: &'s mut Scratch) -> Result<&'s [u8]>
    where
        'a: 's,
    {
        match self.form {
            Form::Raw(b) => Ok(b),
            Form::Int(n) => {
                let mut digits = itoa::Buffer::new();
                let text = digits.format(n).as_bytes();
                let buffer = &mut scratch.grow(text.len())[..text.len()];
                buffer.copy_from_slice(text);
                Ok(buffer)
            }
            Form::Lzf { data, len } => {
                lzf::decompress(data, len, scratch).map_err(|e| e.into_error(self.offset))
            }
        }
    }

    /// The string as an element: an integer stays one.
    #[inline]
    pub fn as_element<'s>(&self, scratch: &'s mut Scratch) -> Result<Element<'s>>
    where
        'a: 's,
    {
        match self.form {
            Form::Raw(b) => Ok(Element::Bytes(b)),
            Form::Int(n) => Ok(Element::Int(n.into())),
            Form::Lzf { .. } => self.as_bytes(scratch).map(Element::Bytes),
        }
    }

    /// The bytes as a packed blob that knows where it comes from.
    #[inline]
    pub fn as_blob<'s>(&self, scratch: &'s mut Scratch) -> Result<Blob<'s>>
    where
        'a: 's,
    {
        let origin = match self.form {
            Form::Raw(_) => Origin::File(self.offset),
            _ => Origin::Lzf(self.offset),
        };
        Ok(Blob {
            bytes: self.as_bytes(scratch)?,
            origin,
        })
    }
}

/// Passes over a string; gives the size it has when decompressed.
#[inline]
pub fn skip(c: &mut Cursor<'_>) -> Result<usize> {
    Ok(match RdbStr::read(c)?.form {
        Form::Raw(b) => b.len(),
        Form::Int(_) => 1,
        Form::Lzf { len, .. } => len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn bytes(hex: &[u8]) -> Result<Vec<u8>> {
        let mut c = Cursor::new(hex, 0);
        let s = RdbStr::read(&mut c)?;
        let mut scratch = Scratch::new();
        let b = s.as_bytes(&mut scratch)?.to_vec();
        assert_eq!(b.len(), s.len());
        assert!(c.is_empty());
        Ok(b)
    }

    #[test]
    fn every_form() {
        let rows: [(&[u8], &[u8]); 8] = [
            (b"\x05hello", b"hello"),
            (b"\x00", b""),
            (b"\xc0\xfb", b"-5"),
            (b"\xc1\x7f\xff", b"-129"),
            (b"\xc2\x87\xd6\x12\x00", b"1234567"),
            (b"\xc2\x00\x00\x00\x80", b"-2147483648"),
            (b"\x80\x00\x00\x00\x01x", b"x"),
            (
                b"\xc3\x0d\x1f\x01aa\xe0\x0e\x00\x00b\x20\x00\x01bb",
                b"aaaaaaaaaaaaaaaaaaaaaaaaabbbbbb",
            ),
        ];
        for (input, want) in rows {
            assert_eq!(bytes(input).unwrap(), want, "{input:02x?}");
        }
    }

    #[test]
    fn what_servers_refuse() {
        let rows: [(&[u8], ErrorKind); 6] = [
            (b"\xc4\x00", ErrorKind::Corrupt),
            (b"\x05hell", ErrorKind::UnexpectedEof),
            (b"\x81\x40\0\0\0\0\0\0\0x", ErrorKind::UnexpectedEof),
            // A reference before the start, and a size that no three bytes can stand for.
            (b"\xc3\x02\x05\x20\x00", ErrorKind::Corrupt),
            (
                b"\xc3\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00",
                ErrorKind::Corrupt,
            ),
            (b"\xc3\x05\x05ab", ErrorKind::UnexpectedEof),
        ];
        for (input, kind) in rows {
            assert_eq!(bytes(input).unwrap_err().kind(), kind, "{input:02x?}");
        }
    }
}
