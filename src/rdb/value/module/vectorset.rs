//! Vector sets (`vectorset`, version 0), built into Redis since 8.0.
//!
//! ```text
//!   dim | elements | config | flags | input dim, STRING matrix, if flags & 1
//!     config: bits 0-7 quantisation (0 none, 1 int8, 2 binary), bits 8-23 M, links of a node (0: 16)
//!   elements × ( STRING member | STRING attributes, if flags & 2 | STRING vector | P | P × number )
//!     vector: dim × f32 LE    dim × i8    bits in u64 LE words, 1 for positive
//!     numbers: node id
//!              bits 0-7 level, bits 24-31 version
//!              for each layer 0 to level: n links | most links | n × id | worst link, from version 1 on
//!              f32 bits of the length (low half) and of the range (high half)
//! ```
//!
//! What has no name is an integer item. Vectors are stored at length 1; the last number of an element has the length they came
//! with, and the range of those in int8. Where the set reduces vectors, dim is that of the reduced ones.

use super::Items;
use crate::error::{RdbError, Result};
use crate::rdb::string::RdbStr;

/// Flag: vectors were multiplied by a matrix that stands in the head.
const HAS_MATRIX: u64 = 1;
/// Flag: elements have attributes.
const HAS_ATTRIBUTES: u64 = 2;

/// How components are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// As single floats.
    Float32,
    /// As signed bytes, 127 for the range.
    Int8,
    /// As signs.
    Binary,
}

impl Quantization {
    /// The name in output.
    pub fn name(self) -> &'static str {
        match self {
            Quantization::Float32 => "float32",
            Quantization::Int8 => "int8",
            Quantization::Binary => "binary",
        }
    }

    /// Bytes of a vector of `dim` components.
    fn size(self, dim: u64) -> Option<u64> {
        match self {
            Quantization::Float32 => dim.checked_mul(4),
            Quantization::Int8 => Some(dim),
            Quantization::Binary => dim.div_ceil(64).checked_mul(8),
        }
    }
}

/// A vector set; its elements are read one by one.
#[derive(Debug, Clone)]
pub struct VectorSet<'a> {
    /// Components of a stored vector.
    pub dim: u64,
    /// How they are kept.
    pub quantization: Quantization,
    /// Links of a node, as asked for when the set was made.
    pub m: u64,
    /// Components of the vectors as they were given, when they were reduced.
    pub input_dim: Option<u64>,
    left: u64,
    attributes: bool,
    items: Items<'a>,
}

/// An element of a vector set.
#[derive(Debug, Clone, Copy)]
pub struct VectorElement<'a> {
    /// Its name.
    pub member: RdbStr<'a>,
    /// Its attributes, text that is JSON by custom; `None` when there are none.
    pub attributes: Option<RdbStr<'a>>,
    /// The stored components.
    pub vector: RdbStr<'a>,
    /// Length that the vector was given with.
    pub l2: f32,
    /// The component that 127 stands for.
    pub range: f32,
}

impl<'a> VectorSet<'a> {
    /// Reads the head of a vector set from its items.
    pub fn read(mut items: Items<'a>) -> Result<Self> {
        let at = items.cursor().offset();
        let dim = items.uint("the dimension")?;
        let left = items.uint("the number of elements")?;
        let config = items.uint("the configuration")?;
        let flags = items.uint("the flags")?;
        let quantization = match config & 0xff {
            0 => Quantization::Float32,
            1 => Quantization::Int8,
            2 => Quantization::Binary,
            n => return Err(RdbError::corrupt(at, format!("quantisation {n}"))),
        };
        if flags & !(HAS_MATRIX | HAS_ATTRIBUTES) != 0 {
            return Err(RdbError::corrupt(at, format!("vector set flags {flags}")));
        }
        let mut input_dim = None;
        if flags & HAS_MATRIX != 0 {
            let input = items.uint("the dimension of the input")?;
            let matrix = items.string("the matrix")?.len() as u64;
            if input.checked_mul(dim).and_then(|n| n.checked_mul(4)) != Some(matrix) {
                return Err(RdbError::corrupt(
                    at,
                    format!("matrix of {matrix} bytes: expected {input} × {dim} floats"),
                ));
            }
            input_dim = Some(input);
        }
        Ok(VectorSet {
            dim,
            quantization,
            m: match config >> 8 & 0xffff {
                0 => 16,
                m => m,
            },
            input_dim,
            left,
            attributes: flags & HAS_ATTRIBUTES != 0,
            items,
        })
    }

    /// The next element; the module data must end after the last.
    pub fn next_element(&mut self) -> Result<Option<VectorElement<'a>>> {
        if self.left == 0 {
            self.items.end()?;
            return Ok(None);
        }
        self.left -= 1;
        let at = self.items.cursor().offset();
        let member = self.items.string("a member")?;
        let attributes = match self.attributes {
            true => Some(self.items.string("attributes")?).filter(|a| !a.is_empty()),
            false => None,
        };
        let vector = self.items.string("a vector")?;
        if self.quantization.size(self.dim) != Some(vector.len() as u64) {
            return Err(RdbError::corrupt(
                at,
                format!("vector of {} bytes, dimension {}", vector.len(), self.dim),
            ));
        }
        let last = self.graph(at)?;
        Ok(Some(VectorElement {
            member,
            attributes,
            vector,
            l2: f32::from_bits(last as u32),
            range: f32::from_bits((last >> 32) as u32),
        }))
    }

    /// Passes over an element's place in the graph; gives the last number.
    fn graph(&mut self, at: u64) -> Result<u64> {
        let short = || RdbError::corrupt(at, "vector set element with too few numbers");
        let mut left = self.items.uint("the count of numbers")?;
        let items = &mut self.items;
        let mut number = || -> Result<u64> {
            left = left.checked_sub(1).ok_or_else(short)?;
            items.uint("the graph")
        };
        number()?;
        let level = number()?;
        let has_worst = level >> 24 & 0xff >= 1;
        for _ in 0..=level & 0xff {
            let links = number()?;
            number()?;
            for _ in 0..links {
                number()?;
            }
            if has_worst {
                number()?;
            }
        }
        let last = number()?;
        match left {
            0 => Ok(last),
            _ => Err(RdbError::corrupt(
                at,
                "vector set element with too many numbers",
            )),
        }
    }
}

impl VectorElement<'_> {
    /// The components in `vector`, the bytes of this element's, at the length they were given with.
    ///
    /// The server computes them in single floats, so these are what it answers.
    pub fn components<'v>(
        &self,
        quantization: Quantization,
        dim: u64,
        vector: &'v [u8],
    ) -> impl Iterator<Item = f32> + use<'v> {
        let (l2, range) = (self.l2, self.range);
        // No more than there are bits, and `dim` of those.
        let n = match quantization {
            Quantization::Float32 => vector.len() / 4,
            Quantization::Int8 => vector.len(),
            Quantization::Binary => vector.len().saturating_mul(8),
        };
        let n = usize::try_from(dim).map_or(n, |dim| n.min(dim));
        (0..n).map_while(move |i| match quantization {
            Quantization::Float32 => {
                let b = vector.get(4 * i..)?.first_chunk()?;
                Some(f32::from_le_bytes(*b) * l2)
            }
            Quantization::Int8 => {
                let b = i8::from_le_bytes([*vector.get(i)?]);
                Some(f32::from(b) * range / 127.0 * l2)
            }
            Quantization::Binary => {
                // Little-endian words: bit i lies in byte i / 8.
                let b = vector.get(i / 8)? >> (i % 8) & 1;
                Some(if b == 1 { 1.0 } else { -1.0 })
            }
        })
    }
}
