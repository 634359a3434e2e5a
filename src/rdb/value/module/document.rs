//! What JSON documents are made of, whatever layout a version of RedisJSON keeps them in.
//!
//! ```text
//!   {"a": [1, true]}     Map 1 | key "a" | Array 2 | Int 1 | Bool true
//! ```

use crate::error::Result;
use crate::rdb::string::RdbStr;

/// Levels of arrays and maps within each other that are made readable.
///
/// RedisJSON refuses more than 128. Many readers of JSON do too, of a whole line, in which the document has some levels
/// above it; so the few that go deeper than this are left as they are.
pub const MAX_DEPTH: usize = 120;

/// One value, or the head of one that contains others.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer that may be larger.
    Uint(u64),
    /// A number that is not an integer by its type, though it may be by its value.
    Float(f64),
    /// A text, which must be UTF-8.
    Text(RdbStr<'a>),
    /// An array; so many values follow, or as many as come before an end mark.
    Array(Option<u64>),
    /// A map; so many pairs of a key and a value follow, or as many as come before an end mark.
    Map(Option<u64>),
    /// An array of numbers of one kind.
    Numbers(Numbers<'a>),
}

/// A layout of documents. The caller keeps count of what is open: it asks for a key where one must be.
pub trait Document<'a> {
    /// The next value.
    fn value(&mut self) -> Result<Event<'a>>;
    /// The key of the next pair.
    fn key(&mut self) -> Result<RdbStr<'a>>;
    /// Whether an end mark stands here; reads it if so.
    fn ended(&mut self) -> bool;
    /// Nothing may follow the document.
    fn end(&mut self) -> Result<()>;
}

/// The kind of the numbers in an array, each little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // They say what they are.
pub enum Kind {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F16,
    Bf16,
    F32,
    F64,
}

impl Kind {
    /// Bytes of one number.
    pub fn width(self) -> usize {
        match self {
            Kind::U8 | Kind::I8 => 1,
            Kind::U16 | Kind::I16 | Kind::F16 | Kind::Bf16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 => 8,
        }
    }
}

/// Numbers of one kind, one after the other. Gives [`Event::Int`], [`Event::Uint`] and [`Event::Float`].
#[derive(Debug, Clone, Copy)]
pub struct Numbers<'a> {
    kind: Kind,
    bytes: &'a [u8],
}

impl<'a> Numbers<'a> {
    /// The numbers in `bytes`, if these are a whole number of them.
    pub fn new(kind: Kind, bytes: &'a [u8]) -> Option<Self> {
        bytes
            .len()
            .is_multiple_of(kind.width())
            .then_some(Numbers { kind, bytes })
    }
}

impl<'a> Iterator for Numbers<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        let (number, rest) = self.bytes.split_at_checked(self.kind.width())?;
        self.bytes = rest;
        // Widened with zeros; the signed kinds are cut back to their width.
        let mut wide = [0; 8];
        wide.get_mut(..number.len())?.copy_from_slice(number);
        let n = u64::from_le_bytes(wide);
        Some(match self.kind {
            Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 => Event::Uint(n),
            Kind::I8 => Event::Int((n as i8).into()),
            Kind::I16 => Event::Int((n as i16).into()),
            Kind::I32 => Event::Int((n as i32).into()),
            Kind::I64 => Event::Int(n as i64),
            Kind::F16 => Event::Float(half(n as u16)),
            Kind::Bf16 => Event::Float(f32::from_bits((n as u32) << 16).into()),
            Kind::F32 => Event::Float(f32::from_bits(n as u32).into()),
            Kind::F64 => Event::Float(f64::from_bits(n)),
        })
    }
}

/// A float of 16 bits: sign, 5 bits of exponent, 10 of fraction.
pub fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let x = match bits >> 10 & 0x1f {
        0 => fraction / f64::from(1 << 24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        e => (1.0 + fraction / 1024.0) * f64::powi(2.0, i32::from(e) - 15),
    };
    if bits & 0x8000 == 0 { x } else { -x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves() {
        let rows = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960464477539063e-8),
            (0x0400, 6.103515625e-5),
            (0x3555, 0.333251953125),
            (0x7c00, f64::INFINITY),
            (0xfc00, f64::NEG_INFINITY),
        ];
        for (bits, want) in rows {
            assert_eq!(half(bits), want, "{bits:04x}");
        }
        assert!(half(0x7e00).is_nan() && half(0x8000).is_sign_negative());
    }
}
