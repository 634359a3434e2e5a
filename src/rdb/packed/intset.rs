//! Intset: a set of integers of one width, sorted.
//!
//! ```text
//!   0       4       8
//!   | width | n     | integer | integer | ...
//!     width    u32 LE, bytes of every integer: 2, 4 or 8
//!     n        u32 LE, integers, at least 1
//!     integer  signed, LE, each greater than the one before
//!
//!   {1, 2, 70000} is   04 00 00 00  03 00 00 00  01 00 00 00  02 00 00 00  70 11 01 00
//! ```
//!
//! There is no terminator: the two numbers of the header give the size. The width may be larger than needed, because a set
//! does not shrink back when its large members go.
//!
//! Checked: the width, that width and count give the size of the blob, that there is a member, and the order, which also
//! says that no member is there twice. Members are counted from 0 in errors, as elements.

use std::iter::FusedIterator;

use super::{Blob, Element, Origin, int_le};
use crate::error::{RdbError, Result};

/// Bytes before the first integer.
const HEADER: usize = 8;

/// The members of an intset, ascending; each is an [`Element::Int`].
///
/// ```
/// use rdbtool::rdb::packed::{Blob, Element, intset};
/// let blob = Blob::in_file(b"\x02\0\0\0\x02\0\0\0\xff\xff\x07\0", 0);
/// let found: Vec<_> = intset::Iter::new(blob)?.collect::<Result<_, _>>()?;
/// assert_eq!(found, [Element::Int(-1), Element::Int(7)]);
/// # Ok::<(), rdbtool::RdbError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    /// From the next integer to the end; a multiple of `width`.
    rest: &'a [u8],
    origin: Origin,
    /// Size of the blob, at most 8 + 8 * (2^32 - 1).
    total: usize,
    /// The member before the next one.
    last: Option<i64>,
    width: Width,
}

/// Bytes of an integer.
#[derive(Debug, Clone, Copy)]
enum Width {
    Two = 2,
    Four = 4,
    Eight = 8,
}

impl<'a> Iter<'a> {
    /// Checks the header and the size, and stands before the first member.
    pub fn new(blob: Blob<'a>) -> Result<Self> {
        let corrupt = |at, what| Err(blob.origin.corrupt(at, what));
        let [w0, w1, w2, w3, n0, n1, n2, n3, ref rest @ ..] = *blob.bytes else {
            return corrupt(
                0,
                format!(
                    "an intset of {} bytes, where the header alone has {HEADER}",
                    blob.bytes.len()
                ),
            );
        };
        let count = u32::from_le_bytes([n0, n1, n2, n3]);
        let width = match u32::from_le_bytes([w0, w1, w2, w3]) {
            2 => Width::Two,
            4 => Width::Four,
            8 => Width::Eight,
            other => {
                return corrupt(
                    0,
                    format!("intset members of {other} bytes, where 2, 4 and 8 exist"),
                );
            }
        };
        if count == 0 {
            return corrupt(4, "an intset without members".into());
        }
        if width as u64 * u64::from(count) != rest.len() as u64 {
            return corrupt(
                4,
                format!(
                    "the intset header says {count} members of {} bytes, and {} bytes follow",
                    width as u64,
                    rest.len()
                ),
            );
        }
        Ok(Iter {
            rest,
            origin: blob.origin,
            total: blob.bytes.len(),
            last: None,
            width,
        })
    }

    /// The next member, or `None` at the end and after an error. The form for inner loops.
    #[inline]
    pub fn next_element(&mut self) -> Result<Option<Element<'a>>> {
        // One arm a width, so that each reads its integer with one load.
        let (n, rest) = match self.width {
            Width::Two => match self.rest.split_first_chunk::<2>() {
                Some((le, rest)) => (int_le(le), rest),
                None => return Ok(None),
            },
            Width::Four => match self.rest.split_first_chunk::<4>() {
                Some((le, rest)) => (int_le(le), rest),
                None => return Ok(None),
            },
            Width::Eight => match self.rest.split_first_chunk::<8>() {
                Some((le, rest)) => (int_le(le), rest),
                None => return Ok(None),
            },
        };
        if let Some(last) = self.last
            && last >= n
        {
            return Err(self.unsorted(n, last));
        }
        self.last = Some(n);
        self.rest = rest;
        Ok(Some(Element::Int(n)))
    }

    /// The number of members by the header, which [`new`](Self::new) has compared with the size. Never `None`; the other
    /// packed readers have the same method, and there it can be.
    pub fn declared_len(&self) -> Option<usize> {
        Some((self.total - HEADER) / self.width as usize)
    }

    /// Offset in the blob of the next member, or its end.
    #[inline]
    pub fn offset(&self) -> usize {
        self.total - self.rest.len()
    }

    /// Where the blob lies, for errors about a member.
    #[inline]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The error about the next member, after which the walk is over.
    #[cold]
    #[inline(never)]
    fn unsorted(&mut self, n: i64, last: i64) -> RdbError {
        let at = self.offset();
        let index = (at - HEADER) / self.width as usize;
        self.rest = &[];
        self.origin.corrupt(
            at,
            format!("element {index}: {n} after {last}, where an intset ascends"),
        )
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Result<Element<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.next_element().transpose()
    }
}

impl FusedIterator for Iter<'_> {}

/// An intset of `width` bytes a member, whatever the members are.
#[cfg(test)]
pub(crate) fn build(width: usize, members: &[i64]) -> Vec<u8> {
    let mut out = (width as u32).to_le_bytes().to_vec();
    out.extend((members.len() as u32).to_le_bytes());
    for n in members {
        out.extend(&n.to_le_bytes()[..width]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing::{blob, damage, hex, walk};
    use super::*;

    fn members(bytes: &[u8]) -> Result<Vec<i64>> {
        let found = walk(bytes, Iter::new(blob(bytes)))?;
        Ok(found
            .into_iter()
            .map(|element| match element {
                Element::Int(n) => n,
                Element::Bytes(text) => panic!("{text:?} in an intset"),
            })
            .collect())
    }

    #[test]
    fn sets_of_every_width() {
        #[rustfmt::skip]
        let rows: &[(&str, &str, &[i64])] = &[
            ("2.8, three members", "0400000003000000 01000000 02000000 70110100", &[1, 2, 70000]),
            ("2.4, two members", "0200000002000000 0100 0200", &[1, 2]),
            ("i16 edges", "0200000004000000 0080 ffff 0000 ff7f", &[-32768, -1, 0, 32767]),
            ("i32 edges", "0400000004000000 00000080 ffffffff 00000000 ffffff7f", &[-2147483648, -1, 0, 2147483647]),
            ("i64 edges", "0800000003000000 0000000000000080 ffffffffffffffff ffffffffffffff7f", &[i64::MIN, -1, i64::MAX]),
            ("wider than needed", "0800000001000000 0100000000000000", &[1]),
        ];
        for (name, dump, want) in rows {
            let bytes = hex(dump);
            assert_eq!(members(&bytes).unwrap(), *want, "{name}");
            assert_eq!(
                build(bytes[0].into(), want),
                bytes,
                "{name}: the builder writes the same"
            );
            assert_eq!(
                Iter::new(blob(&bytes)).unwrap().declared_len(),
                Some(want.len()),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_refused_and_where() {
        #[rustfmt::skip]
        let rows: &[(&str, usize, &str)] = &[
            ("", 0, "an intset of 0 bytes, where the header alone has 8"),
            ("02000000010000", 0, "an intset of 7 bytes, where the header alone has 8"),
            ("0200000000000000", 4, "an intset without members"),
            ("0300000001000000 010000", 0, "intset members of 3 bytes, where 2, 4 and 8 exist"),
            ("0000000001000000", 0, "intset members of 0 bytes, where 2, 4 and 8 exist"),
            ("0200000002000000 0100", 4, "the intset header says 2 members of 2 bytes, and 2 bytes follow"),
            ("0200000001000000 010002", 4, "the intset header says 1 members of 2 bytes, and 3 bytes follow"),
            ("08000000ffffffff 0100", 4, "the intset header says 4294967295 members of 8 bytes, and 2 bytes follow"),
            ("0200000002000000 0200 0100", 10, "element 1: 1 after 2, where an intset ascends"),
            ("0200000003000000 0100 0200 0200", 12, "element 2: 2 after 2, where an intset ascends"),
            ("0400000002000000 00000000 ffffffff", 12, "element 1: -1 after 0, where an intset ascends"),
        ];
        for (dump, at, what) in rows {
            let e = members(&hex(dump)).unwrap_err();
            assert_eq!((e.what(), e.offset()), (*what, Some(*at as u64)), "{dump}");
            assert_eq!(e.kind(), crate::ErrorKind::Corrupt, "{dump}");
        }
    }

    #[test]
    fn offsets_on_the_way() {
        let bytes = build(4, &[5, 6]);
        let mut iter = Iter::new(Blob {
            bytes: &bytes,
            origin: Origin::Lzf(5),
        })
        .unwrap();
        let mut offsets = vec![iter.offset()];
        while iter.next_element().unwrap().is_some() {
            offsets.push(iter.offset());
        }
        assert_eq!((offsets, iter.origin()), (vec![8, 12, 16], Origin::Lzf(5)));
        assert_eq!(iter.declared_len(), Some(2));
    }

    #[test]
    fn damage_is_an_error_or_another_intset() {
        for (width, at_least) in [(2, 2_800), (4, 3_000), (8, 4_000)] {
            let sample = build(width, &[-3, -2, -1, 0, 1, 2]);
            let noticed = damage(&sample, |bytes| {
                let found = members(bytes)?;
                assert!(found.is_sorted_by(|a, b| a < b));
                Ok(found.len())
            });
            assert!(noticed > at_least, "{width}: {noticed}");
        }
    }
}
