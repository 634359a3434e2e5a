//! Zipmap: the small hashes of servers before 2.6.
//!
//! ```text
//!   0   1
//!   | n | key size | key | value size | free | value | free bytes of junk | ... | FF |
//!     n      u8, pairs; 254 means "254 or more, walk to FF"
//!     size   00 to FD, or FE and a u32 LE of 254 or more; FF where a key size would be ends the map
//!     free   u8, bytes after the value that an update has left over
//!
//!   {"f": "v", "g": "12"} is   02  01 66  01 00 76  01 67  02 00 31 32  ff
//! ```
//!
//! All is text here: a number is its digits. Some descriptions give 253 as the escape of a long size; servers write and
//! read 254.
//!
//! Checked: the terminator, that every key and value with its junk ends before it, that a size below 254 takes one byte,
//! `n`, and that there is a pair: an empty hash is no key, and servers that check refuse an empty zipmap. In errors
//! keys and values are elements, counted from 0.

use std::fmt;
use std::iter::FusedIterator;

use super::{Blob, END, Element, Origin};
use crate::error::{RdbError, Result};

/// Bytes before the first pair.
const HEADER: usize = 1;
/// The count of a zipmap that has 254 pairs or more.
const UNKNOWN: u8 = 254;
/// First byte of a size that takes 5 bytes, and the smallest such size.
const WIDE: u8 = 254;

/// The pairs of a zipmap, front to back: key, value, key, value, each an [`Element::Bytes`].
///
/// ```
/// use rdbtool::rdb::packed::{Blob, Element, zipmap};
/// let blob = Blob::in_file(b"\x01\x01f\x01\x02v--\xff", 0);
/// let found: Vec<_> = zipmap::Iter::new(blob)?.collect::<Result<_, _>>()?;
/// assert_eq!(found, [Element::Bytes(b"f"), Element::Bytes(b"v")]);
/// # Ok::<(), rdbtool::RdbError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    /// From the next key or value to the terminator, which is left out.
    rest: &'a [u8],
    origin: Origin,
    /// Size of the blob.
    total: usize,
    /// Number of the next element; a value has an odd one.
    index: usize,
    declared: u8,
    failed: bool,
}

impl<'a> Iter<'a> {
    /// Checks the terminator, and stands before the first key.
    pub fn new(blob: Blob<'a>) -> Result<Self> {
        match *blob.bytes {
            [declared @ 0..=UNKNOWN, ref rest @ .., END] => Ok(Iter {
                rest,
                origin: blob.origin,
                total: blob.bytes.len(),
                index: 0,
                declared,
                failed: false,
            }),
            [declared, .., END] => Err(blob.origin.corrupt(
                0,
                format!("the zipmap header says {declared:#04x}, which is no count"),
            )),
            [_, .., last] => Err(super::no_end(blob, last, "zipmap")),
            _ => Err(super::too_short(blob, HEADER + 1, "zipmap")),
        }
    }

    /// The next key or value, or `None` at the end and after an error. Keys and values alternate, a key first; the end
    /// never comes between the two.
    #[inline]
    pub fn next_element(&mut self) -> Result<Option<Element<'a>>> {
        let is_value = self.index % 2 == 1;
        let (len, body) = match *self.rest {
            [] if !is_value => return self.end(),
            [len @ 0..WIDE, ref body @ ..] => (usize::from(len), body),
            _ => self.wide()?,
        };
        // A value stands behind the byte that says how much junk follows it.
        let (free, body) = match *body {
            [free, ref body @ ..] if is_value => (usize::from(free), body),
            [] if is_value => return Err(self.cut()),
            _ => (0, body),
        };
        let Some((text, after)) = body.split_at_checked(len) else {
            return Err(self.past_end((len - body.len()) as u64 + free as u64));
        };
        let Some(rest) = after.get(free..) else {
            return Err(self.past_end((free - after.len()) as u64));
        };
        self.rest = rest;
        self.index += 1;
        Ok(Some(Element::Bytes(text)))
    }

    /// The number of **pairs** by the header; `None` if it does not know. The walk checks it at the end.
    pub fn declared_len(&self) -> Option<usize> {
        (self.declared < UNKNOWN).then_some(usize::from(self.declared))
    }

    /// Offset in the blob of the next key or value (of its size), or of the terminator.
    #[inline]
    pub fn offset(&self) -> usize {
        self.total - 1 - self.rest.len()
    }

    /// Where the blob lies, for errors about a key or a value.
    #[inline]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// A size that is not one byte, and what follows it.
    #[cold]
    fn wide(&mut self) -> Result<(usize, &'a [u8])> {
        let (at, index) = (self.offset(), self.index);
        let left = self.rest.len();
        let (len, body) = match *self.rest {
            [WIDE, a, b, c, d, ref body @ ..] => (u32::from_le_bytes([a, b, c, d]), body),
            [END, ..] if index % 2 == 0 => {
                return Err(self.fail(
                    at,
                    format_args!(
                        "element {index}: a terminator {left} bytes before the end of the zipmap"
                    ),
                ));
            }
            [END, ..] => {
                return Err(self.fail(
                    at,
                    format_args!("element {index}: a terminator where a value belongs"),
                ));
            }
            _ => return Err(self.cut()),
        };
        if len < WIDE.into() {
            return Err(self.fail(
                at,
                format_args!("element {index}: size {len} in five bytes where one would do"),
            ));
        }
        Ok((len as usize, body))
    }

    /// Nothing left before the terminator: the count must be true.
    fn end(&mut self) -> Result<Option<Element<'a>>> {
        if self.failed {
            return Ok(None);
        }
        let (declared, found) = (self.declared, self.index / 2);
        if declared != UNKNOWN && usize::from(declared) != found {
            return Err(self.fail(
                0,
                format_args!("the zipmap header says {declared} pairs where there are {found}"),
            ));
        }
        if found == 0 {
            return Err(self.fail(0, format_args!("a zipmap without pairs")));
        }
        Ok(None)
    }

    #[cold]
    fn cut(&mut self) -> RdbError {
        let (at, index) = (self.offset(), self.index);
        self.fail(
            at,
            format_args!("element {index}: its size is cut by the end of the zipmap"),
        )
    }

    #[cold]
    fn past_end(&mut self, over: u64) -> RdbError {
        let (at, index) = (self.offset(), self.index);
        self.fail(
            at,
            format_args!("element {index} runs {over} bytes past the end of the zipmap"),
        )
    }

    /// The error, after which the walk is over.
    #[cold]
    #[inline(never)]
    fn fail(&mut self, at: usize, what: fmt::Arguments<'_>) -> RdbError {
        self.rest = &[];
        // Stand before a key, where nothing left means the end.
        self.index = 0;
        self.failed = true;
        self.origin.corrupt(at, what.to_string())
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

/// A zipmap of these pairs, without junk.
#[cfg(test)]
pub(crate) fn build(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    fn size(out: &mut Vec<u8>, len: usize) {
        if len < WIDE.into() {
            out.push(len as u8);
        } else {
            out.push(WIDE);
            out.extend((len as u32).to_le_bytes());
        }
    }
    let mut out = vec![pairs.len().min(UNKNOWN.into()) as u8];
    for (key, value) in pairs {
        size(&mut out, key.len());
        out.extend(*key);
        size(&mut out, value.len());
        out.push(0);
        out.extend(*value);
    }
    out.push(END);
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing::{blob, damage, hex, walk};
    use super::*;

    fn texts(bytes: &[u8]) -> Result<Vec<&[u8]>> {
        let found = walk(bytes, Iter::new(blob(bytes)))?;
        assert!(found.len() % 2 == 0, "a key without a value");
        Ok(found
            .into_iter()
            .map(|element| match element {
                Element::Bytes(text) => text,
                Element::Int(n) => panic!("{n} in a zipmap"),
            })
            .collect())
    }

    #[test]
    fn maps_small_and_with_junk() {
        #[rustfmt::skip]
        let rows: &[(&str, &str, &[&str])] = &[
            ("2.4, two pairs", "02 0166 010076 0167 02003132 ff", &["f", "v", "g", "12"]),
            ("count not known", "fe 0166 010076 ff", &["f", "v"]),
            ("junk behind a value", "02 0166 010376ffff00 0167 02003132 ff", &["f", "v", "g", "12"]),
            ("junk at the end", "01 0166 010276ffff ff", &["f", "v"]),
            ("empty key", "01 00 010076 ff", &["", "v"]),
            ("empty value", "01 0166 0000 ff", &["f", ""]),
            ("empty value, all junk", "01 0166 000161 ff", &["f", ""]),
        ];
        for (name, dump, want) in rows {
            let bytes = hex(dump);
            let want: Vec<&[u8]> = want.iter().map(|text| text.as_bytes()).collect();
            assert_eq!(texts(&bytes).unwrap(), want, "{name}");
            let declared = (bytes[0] != 254).then_some(want.len() / 2);
            assert_eq!(
                Iter::new(blob(&bytes)).unwrap().declared_len(),
                declared,
                "{name}"
            );
        }
    }

    #[test]
    fn sizes_at_their_edges() {
        // 253 is a size and not the escape, whatever old descriptions say.
        for (len, size) in [
            (252, "fc"),
            (253, "fd"),
            (254, "fefe000000"),
            (255, "feff000000"),
            (70000, "fe70110100"),
        ] {
            let text = vec![b'x'; len];
            let bytes = [&[1], &hex(size)[..], &text, &hex(size), &[0], &text, &[END]].concat();
            assert_eq!(texts(&bytes).unwrap(), [&text, &text], "{len}");
            assert_eq!(
                build(&[(&text, &text)]),
                bytes,
                "{len}: the builder writes the same"
            );
        }
    }

    #[test]
    fn counts_up_to_not_known() {
        for n in [1, 253, 254, 255, 300] {
            let pair: (&[u8], &[u8]) = (b"k", b"v");
            let bytes = build(&vec![pair; n]);
            assert_eq!(texts(&bytes).unwrap().len(), 2 * n);
            let declared = Iter::new(blob(&bytes)).unwrap().declared_len();
            assert_eq!(declared, (n < 254).then_some(n));
        }
    }

    #[test]
    fn what_is_refused_and_where() {
        #[rustfmt::skip]
        let rows: &[(&str, usize, &str)] = &[
            ("", 0, "a zipmap of 0 bytes, where the smallest has 2"),
            ("ff", 0, "a zipmap of 1 bytes, where the smallest has 2"),
            ("ffff", 0, "the zipmap header says 0xff, which is no count"),
            ("01 0166 010076", 5, "the zipmap ends in 0x76 where its terminator 0xff belongs"),
            ("00 ff", 0, "a zipmap without pairs"),
            ("fe ff", 0, "a zipmap without pairs"),
            ("01 ff", 0, "the zipmap header says 1 pairs where there are 0"),
            ("02 0166 010076 ff", 0, "the zipmap header says 2 pairs where there are 1"),
            ("00 0166 010076 ff", 0, "the zipmap header says 0 pairs where there are 1"),
            ("01 fe05000000 6162636465 010076 ff", 1, "element 0: size 5 in five bytes where one would do"),
            ("01 0166 fefd000000 0076 ff", 3, "element 1: size 253 in five bytes where one would do"),
            ("01 0166 010076 ff 00 ff", 6, "element 2: a terminator 2 bytes before the end of the zipmap"),
            ("01 0166 ff", 3, "element 1: its size is cut by the end of the zipmap"),
            ("01 0166 01 ff", 3, "element 1: its size is cut by the end of the zipmap"),
            ("01 0166 fe000001 ff", 3, "element 1: its size is cut by the end of the zipmap"),
            ("01 0166 ff 00 ff", 3, "element 1: a terminator where a value belongs"),
            ("01 0566 ff", 1, "element 0 runs 4 bytes past the end of the zipmap"),
            ("01 0166 030076 ff", 3, "element 1 runs 2 bytes past the end of the zipmap"),
            ("01 0166 030576 ff", 3, "element 1 runs 7 bytes past the end of the zipmap"),
            ("01 0166 010576aa ff", 3, "element 1 runs 4 bytes past the end of the zipmap"),
            ("01 0166 feffffffff 00 ff", 3, "element 1 runs 4294967295 bytes past the end of the zipmap"),
        ];
        for (dump, at, what) in rows {
            let e = texts(&hex(dump)).unwrap_err();
            assert_eq!((e.what(), e.offset()), (*what, Some(*at as u64)), "{dump}");
            assert_eq!(e.kind(), crate::ErrorKind::Corrupt, "{dump}");
        }
    }

    #[test]
    fn offsets_on_the_way() {
        let bytes = hex("02 0166 010276ffff 0167 02003132 ff");
        let mut iter = Iter::new(Blob {
            bytes: &bytes,
            origin: Origin::Lzf(5),
        })
        .unwrap();
        let mut offsets = vec![iter.offset()];
        while iter.next_element().unwrap().is_some() {
            offsets.push(iter.offset());
        }
        assert_eq!(
            (offsets, iter.origin()),
            (vec![1, 3, 8, 10, 14], Origin::Lzf(5))
        );
    }

    #[test]
    fn damage_is_an_error_or_another_zipmap() {
        let wide = [b'w'; 260];
        let mut sample = build(&[
            (b"f", b"v"),
            (b"", b""),
            (b"wide", &wide),
            (&wide, b"\xff\xff"),
        ]);
        // Some junk behind the first value.
        sample[4] = 2;
        sample.splice(6..6, [0xff, 0xff]);
        let noticed = damage(&sample, |bytes| texts(bytes).map(|found| found.len()));
        // Text and junk can change unseen; the count, sizes and the terminator cannot.
        assert!(noticed > 4_000, "{noticed}");
    }
}
