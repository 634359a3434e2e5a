//! Arrays: sparse, indexed by 64-bit numbers. Redis 8.8, RDB 14, type 28.
//!
//! ```text
//!   LEN n | LEN has cursor (0, 1) | LEN cursor, if it has one | n × ( LEN index | LEN tag | payload )
//!
//!     tag 0  STR                   1  i64 LE
//!         3  STR of at most 7      2  f64 LE
//!
//!   01 01 00   00 03 0178  = {0: "x"}, cursor 0
//! ```
//!
//! Indexes ascend. An element is always a string: tags 1 and 2 hold one that is the text of a number, and give it back.
//! The cursor is the index that the inserting command used last.

use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use crate::rdb::length;
use crate::rdb::string::{RdbStr, Scratch};

/// Payload: a string.
pub const TAG_STRING: u64 = 0;
/// Payload: an integer of 8 bytes.
pub const TAG_INT: u64 = 1;
/// Payload: a double.
pub const TAG_DOUBLE: u64 = 2;
/// Payload: a string that the server keeps in a pointer's place.
pub const TAG_SHORT: u64 = 3;

/// The longest string under [`TAG_SHORT`].
const SHORT_MAX: usize = 7;

/// What stands before the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of elements.
    pub len: u64,
    /// The index last used by the inserting command.
    pub cursor: Option<u64>,
}

impl Head {
    /// Reads the head of an array; the elements follow.
    pub fn read(c: &mut Cursor<'_>) -> Result<Self> {
        let len = length::read(c, "the number of elements of an array")?;
        let at = c.offset();
        let cursor = match length::read(c, "the cursor flag of an array")? {
            0 => None,
            1 => Some(length::read(c, "the cursor of an array")?),
            n => {
                return Err(RdbError::corrupt(
                    at,
                    format!("cursor flag {n} in an array: expected 0 or 1"),
                ));
            }
        };
        Ok(Head { len, cursor })
    }
}

/// The elements of an array, or any run of whole elements out of one.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    cursor: Cursor<'a>,
    last: Option<u64>,
}

/// An element as the file has it. A number stands for its text.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A string.
    Str(RdbStr<'a>),
    /// The decimal text of an integer.
    Int(i64),
    /// The text of a double, as [`DoubleText`] has it.
    Double(f64),
}

impl<'a> Elements<'a> {
    /// Elements in `bytes`, which lie at `offset` in the file: whole ones, to the last byte.
    pub fn new(bytes: &'a [u8], offset: u64) -> Self {
        Elements {
            cursor: Cursor::new(bytes, offset),
            last: None,
        }
    }

    /// The next element and its index. Nothing more comes after an error.
    #[inline]
    pub fn next_element(&mut self) -> Result<Option<(u64, Value<'a>)>> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let mut c = self.cursor;
        // Where an error leaves the walk.
        self.cursor = Cursor::new(&[], c.offset());
        let at = c.offset();
        let (index, value) = element(&mut c)?;
        if let Some(last) = self.last
            && index <= last
        {
            return Err(RdbError::corrupt(
                at,
                format!("array index {index} after {last}: expected ascending ones"),
            ));
        }
        self.last = Some(index);
        self.cursor = c;
        Ok(Some((index, value)))
    }
}

/// Reads one element: index and value.
#[inline]
fn element<'a>(c: &mut Cursor<'a>) -> Result<(u64, Value<'a>)> {
    let start = c.offset();
    let index = length::read(c, "an array index")?;
    if index == u64::MAX {
        return Err(RdbError::corrupt(
            start,
            format!("array index {index}: the largest is {}", u64::MAX - 1),
        ));
    }
    let at = c.offset();
    let value = match length::read(c, "the tag of an array element")? {
        TAG_STRING => Value::Str(RdbStr::read(c)?),
        TAG_INT => Value::Int(c.i64_le("an array element")?),
        TAG_DOUBLE => Value::Double(c.f64_le("an array element")?),
        TAG_SHORT => {
            let s = RdbStr::read(c)?;
            if s.len() > SHORT_MAX {
                return Err(RdbError::corrupt(
                    at,
                    format!(
                        "short array element of {} bytes: expected at most {SHORT_MAX}",
                        s.len()
                    ),
                ));
            }
            Value::Str(s)
        }
        tag => {
            return Err(RdbError::corrupt(
                at,
                format!("array element tag {tag}: expected 0 to 3"),
            ));
        }
    };
    Ok((index, value))
}

impl<'a> Value<'a> {
    /// The bytes of the element: borrowed from the file when they stand there, otherwise made in `scratch` or `text`.
    pub fn as_bytes<'s>(
        &self,
        text: &'s mut DoubleText,
        scratch: &'s mut Scratch,
    ) -> Result<&'s [u8]>
    where
        'a: 's,
    {
        match *self {
            Value::Str(s) => s.as_bytes(scratch),
            Value::Int(n) => Ok(text.format_int(n)),
            Value::Double(x) => Ok(text.format(x)),
        }
    }
}

/// A place for the text of a double, as servers since 7.2 write it: the shortest digits that read back as the same double.
///
/// With digits d (n of them) and value d × 10^K:
///
/// ```text
///   0 <= K <= 7                              d and K zeros       10000000   123456789012345680
///   K < 0, and K > -7 or |K + n - 1| < 4     plain decimal       0.00001    12345.678
///   otherwise                                d.ddde±x            1e+22      1.2345678e-5
/// ```
#[derive(Debug, Clone)]
pub struct DoubleText {
    bytes: [u8; TEXT_MAX],
    len: usize,
}

/// `-`, `0.`, six zeros and 17 digits; every form is shorter.
const TEXT_MAX: usize = 32;
/// The most digits a double needs.
const DIGITS_MAX: usize = 17;

impl Default for DoubleText {
    fn default() -> Self {
        Self::new()
    }
}

impl DoubleText {
    /// An empty place.
    pub fn new() -> Self {
        DoubleText {
            bytes: [0; TEXT_MAX],
            len: 0,
        }
    }

    /// The text of `x`.
    ///
    /// ```
    /// use rdbtool::rdb::value::array::DoubleText;
    /// let mut text = DoubleText::new();
    /// assert_eq!(text.format(2.5), b"2.5");
    /// assert_eq!(text.format(1e22), b"1e+22");
    /// ```
    pub fn format(&mut self, x: f64) -> &[u8] {
        self.len = 0;
        if x.is_nan() {
            self.put(b"nan");
        } else {
            if x.is_sign_negative() {
                self.put(b"-");
            }
            if x.is_infinite() {
                self.put(b"inf");
            } else {
                self.finite(x.abs());
            }
        }
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The text of an integer, for which there is room too.
    pub fn format_int(&mut self, n: i64) -> &[u8] {
        self.len = 0;
        self.put(itoa::Buffer::new().format(n).as_bytes());
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn put(&mut self, text: &[u8]) {
        if let Some(to) = self.bytes.get_mut(self.len..self.len + text.len()) {
            to.copy_from_slice(text);
            self.len += text.len();
        }
    }

    fn finite(&mut self, x: f64) {
        let (digits, n, k) = shortest(x);
        let digits = digits.get(..n).unwrap_or_default();
        // The exponent of the first digit.
        let first = k + n as i32 - 1;
        if (0..=7).contains(&k) {
            self.put(digits);
            self.put(b"0000000".get(..k as usize).unwrap_or_default());
        } else if k < 0 && (k > -7 || first.abs() < 4) {
            if first < 0 {
                self.put(b"0.");
                self.put(b"000000".get(..(-first - 1) as usize).unwrap_or_default());
                self.put(digits);
            } else {
                let (whole, part) = digits.split_at((first + 1) as usize);
                self.put(whole);
                self.put(b".");
                self.put(part);
            }
        } else {
            let (one, rest) = digits.split_at(1);
            self.put(one);
            if !rest.is_empty() {
                self.put(b".");
                self.put(rest);
            }
            self.put(if first < 0 { b"e-" } else { b"e+" });
            self.put(itoa::Buffer::new().format(first.unsigned_abs()).as_bytes());
        }
    }
}

/// The shortest digits of a finite, not negative double without zeros at either end (a lone `0` for zero), the number of
/// them, and the power of ten of the last.
fn shortest(x: f64) -> ([u8; DIGITS_MAX], usize, i32) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(x).as_bytes();
    let mut digits = [b'0'; DIGITS_MAX];
    // Digits kept, zeros met since the last that is not zero, digits after the point, and the exponent written out.
    let (mut n, mut zeros, mut after, mut exponent) = (0usize, 0usize, 0i32, 0i32);
    let mut point = false;
    for (i, &b) in text.iter().enumerate() {
        match b {
            b'.' => point = true,
            b'0' if n == 0 => after += i32::from(point),
            b'0' => {
                zeros += 1;
                after += i32::from(point);
            }
            b'1'..=b'9' => {
                after += i32::from(point);
                n += zeros;
                zeros = 0;
                if let Some(d) = digits.get_mut(n) {
                    *d = b;
                }
                n += 1;
            }
            _ => {
                let rest = text.get(i + 1..).unwrap_or_default();
                exponent = std::str::from_utf8(rest)
                    .ok()
                    .and_then(|t| t.parse().ok())
                    .unwrap_or_default();
                break;
            }
        }
    }
    if n == 0 {
        return (digits, 1, 0);
    }
    (digits, n.min(DIGITS_MAX), exponent - after + zeros as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_doubles() {
        let rows: [(f64, &str); 26] = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (2.5, "2.5"),
            (100.0, "100"),
            (10000000.0, "10000000"),
            (100000000.0, "1e+8"),
            (123456789012345680.0, "123456789012345680"),
            (1e22, "1e+22"),
            (1e300, "1e+300"),
            (0.1, "0.1"),
            (0.00001, "0.00001"),
            (0.000001, "0.000001"),
            (1e-7, "1e-7"),
            (1.2345678e-5, "1.2345678e-5"),
            (12345.678, "12345.678"),
            (3.3333333333333335, "3.3333333333333335"),
            (1234.5678901234567, "1234.5678901234567"),
            (12345.678901234567, "1.2345678901234567e+4"),
            (0.0012345678, "0.0012345678"),
            (5e-324, "5e-324"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        let mut text = DoubleText::new();
        for (x, want) in rows {
            assert_eq!(
                String::from_utf8_lossy(text.format(x)),
                want,
                "{x:?} {want}"
            );
        }
    }

    #[test]
    fn the_text_reads_back_as_the_same_double() {
        let mut text = DoubleText::new();
        let mut bits = 1u64;
        for _ in 0..20_000 {
            bits = bits
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            // Half of them of everyday size.
            let x = match bits >> 63 {
                0 => f64::from_bits(bits),
                _ => (bits >> 40) as f64 / 4096.0,
            };
            if x.is_finite() {
                let t = std::str::from_utf8(text.format(x)).unwrap();
                assert_eq!(t.parse::<f64>().unwrap().to_bits(), x.to_bits(), "{t}");
            }
        }
    }

    #[test]
    fn what_is_refused() {
        let rows: [(&str, &[u8]); 7] = [
            ("cursor flag", &[1, 2]),
            ("descending", &[2, 0, 5, 3, 1, b'x', 4, 3, 1, b'y']),
            ("equal", &[2, 0, 5, 3, 1, b'x', 5, 3, 1, b'y']),
            ("tag", &[1, 0, 0, 4, 1, b'x']),
            ("short of 8", b"\x01\x00\x00\x03\x08abcdefgh"),
            (
                "largest",
                b"\x01\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff\x03\x01x",
            ),
            ("cut", &[1, 0, 0, 1, 0, 0]),
        ];
        for (name, bytes) in rows {
            let read = || -> Result<()> {
                let mut c = Cursor::new(bytes, 0);
                Head::read(&mut c)?;
                let mut e = Elements::new(c.rest(), c.offset());
                while e.next_element()?.is_some() {}
                Ok(())
            };
            assert!(read().is_err(), "{name}");
        }
    }
}
