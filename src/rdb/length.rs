//! Lengths: unsigned integers of 6, 14, 32 or 64 bits, and the special form that marks an encoded string.
//!
//! ```text
//!   00xxxxxx                    6 bits
//!   01xxxxxx xxxxxxxx          14 bits, big-endian
//!   10000000 + 4 bytes         32 bits, big-endian
//!   10000001 + 8 bytes         64 bits, big-endian (RDB 8 and later)
//!   11xxxxxx                   not a length: the string that follows is encoded (see `string`)
//!
//!   5 = 05    67 = 40 43    16384 = 80 00004000    2^32 = 81 0000000100000000
//! ```
//!
//! Overlong forms are legal: servers read them. Any other `10xxxxxx` is not; servers up to 3.2 took it for
//! the 32-bit form but none ever wrote it.

use crate::cursor::Cursor;
use crate::error::{RdbError, Result};

/// Leading byte of a 32-bit length.
pub const LEN_32: u8 = 0x80;
/// Leading byte of a 64-bit length.
pub const LEN_64: u8 = 0x81;

/// What stands where a string begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// A length.
    Len(u64),
    /// The low six bits of a special form.
    Special(u8),
}

/// Reads a length or a special form.
#[inline]
pub fn read_form(c: &mut Cursor<'_>) -> Result<Length> {
    let start = *c;
    let b = c.u8("a length")?;
    match b >> 6 {
        0 => Ok(Length::Len(u64::from(b))),
        1 => match c.u8("a length") {
            Ok(low) => Ok(Length::Len((u64::from(b & 0x3f) << 8) | u64::from(low))),
            Err(e) => {
                *c = start;
                Err(e)
            }
        },
        3 => Ok(Length::Special(b & 0x3f)),
        _ => read_wide(c, start, b),
    }
}

#[inline(never)]
fn read_wide(c: &mut Cursor<'_>, start: Cursor<'_>, b: u8) -> Result<Length> {
    let r = match b {
        LEN_32 => c
            .array::<4>("a 32-bit length")
            .map(|b| u64::from(u32::from_be_bytes(b))),
        LEN_64 => c.array::<8>("a 64-bit length").map(u64::from_be_bytes),
        _ => Err(RdbError::corrupt(
            start.offset(),
            format!("length form 0x{b:02x}: expected 00-7f, 80 or 81"),
        )),
    };
    r.map(Length::Len)
}

/// Reads a length; a special form is an error.
#[inline]
pub fn read(c: &mut Cursor<'_>, what: &str) -> Result<u64> {
    let at = c.offset();
    match read_form(c)? {
        Length::Len(n) => Ok(n),
        Length::Special(s) => Err(RdbError::corrupt(
            at,
            format!("special form 0x{:02x} where {what} is expected", 0xc0 | s),
        )),
    }
}

/// Appends the shortest form of `n`.
pub fn write(n: u64, out: &mut Vec<u8>) {
    match n {
        0..64 => out.push(n as u8),
        64..16384 => out.extend_from_slice(&[0x40 | (n >> 8) as u8, n as u8]),
        16384..=0xffff_ffff => {
            out.push(LEN_32);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
        _ => {
            out.push(LEN_64);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_written_and_read() {
        for n in [
            0,
            5,
            63,
            64,
            67,
            16383,
            16384,
            (1 << 32) - 1,
            1 << 32,
            u64::MAX,
        ] {
            let mut b = Vec::new();
            write(n, &mut b);
            let mut c = Cursor::new(&b, 0);
            assert_eq!(read(&mut c, "n").unwrap(), n);
            assert!(c.is_empty(), "{n}");
        }
    }

    #[test]
    fn overlong_is_legal_other_forms_are_not() {
        let read = |b: &[u8]| read(&mut Cursor::new(b, 0), "n");
        assert_eq!(read(&[0x80, 0, 0, 0, 5]).unwrap(), 5);
        assert_eq!(read(&[0x40, 0x43]).unwrap(), 67);
        for bad in [&[0x82, 0, 0, 0, 5][..], &[0xbf], &[0xc0, 1], &[0x40], &[]] {
            assert!(read(bad).is_err(), "{bad:02x?}");
        }
    }
}
