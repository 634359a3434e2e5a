//! Listpack: small elements in one blob, walked front to back.
//!
//! ```text
//!   0       4     6
//!   | total | n   | element | element | ... | FF |
//!     total  u32 LE, bytes of the whole blob, itself and FF included
//!     n      u16 LE, elements; 65535 means "not known, walk to FF"
//!
//!   element = head, data, back length
//!     0xxxxxxx             u7                10xxxxxx             string, 6-bit length
//!     110xxxxx xxxxxxxx    i13               1110xxxx xxxxxxxx    string, 12-bit length
//!     F1 F2 F3 F4          i16 i24 i32 i64   F0, u32 LE           string, 32-bit length
//!
//!   back length = E, the bytes of head and data, in groups of 7 bits, most significant first;
//!     every byte but the first has bit 7 set
//!
//!   ["a", -1] is   0d 00 00 00  02 00  81 61 02  df ff 02  ff
//! ```
//!
//! Three sizes E have two back lengths. Servers before May 2026 took one byte more than needed for 16383, 2097151 and
//! 268435455 (`00 ff ff` where `7f ff` would do); later ones write the short form. Nothing in a file tells which server
//! wrote it, so both are read.
//!
//! Checked: `total`, the terminator, that every element ends before it, every back length, and `n`. Not checked: that a
//! number or a length takes the smallest form that holds it. Elements are counted from 0 in errors.

use std::fmt;
use std::iter::FusedIterator;

use super::{Blob, END, Element, Origin, check_frame, int_le};
use crate::error::{RdbError, Result};

/// Bytes before the first element.
const HEADER: usize = 6;
/// The count of a listpack that has 65535 elements or more, or whose writer did not know.
const UNKNOWN: u16 = u16::MAX;

/// The elements of a listpack, front to back.
///
/// ```
/// use rdbtool::rdb::packed::{Blob, Element, listpack};
/// let blob = Blob::in_file(b"\x0d\0\0\0\x02\0\x81a\x02\xdf\xff\x02\xff", 0);
/// let found: Vec<_> = listpack::Iter::new(blob)?.collect::<Result<_, _>>()?;
/// assert_eq!(found, [Element::Bytes(b"a"), Element::Int(-1)]);
/// # Ok::<(), rdbtool::RdbError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    /// From the next element to the terminator, which is left out.
    rest: &'a [u8],
    origin: Origin,
    /// Size of the blob; the header has it in 32 bits.
    total: u32,
    /// Number of the next element. An element has at least 2 bytes, so `total` is never reached.
    index: u32,
    declared: u16,
}

/// The number of elements: the header's, or by walking where the header does not know.
pub fn count(blob: Blob<'_>) -> Result<usize> {
    let mut iter = Iter::new(blob)?;
    if let Some(n) = iter.declared_len() {
        return Ok(n);
    }
    let mut n = 0;
    while iter.next_element()?.is_some() {
        n += 1;
    }
    Ok(n)
}

impl<'a> Iter<'a> {
    /// Checks the header and the terminator, and stands before the first element.
    pub fn new(blob: Blob<'a>) -> Result<Self> {
        check_frame(blob, HEADER + 1, "listpack")?;
        let (declared, rest) = match *blob.bytes {
            [_, _, _, _, lo, hi, ref rest @ .., END] => (u16::from_le_bytes([lo, hi]), rest),
            _ => return Err(super::too_short(blob, HEADER + 1, "listpack")),
        };
        Ok(Iter {
            rest,
            origin: blob.origin,
            total: blob.bytes.len() as u32,
            index: 0,
            declared,
        })
    }

    /// The next element, or `None` at the end and after an error. The form for inner loops.
    #[inline]
    pub fn next_element(&mut self) -> Result<Option<Element<'a>>> {
        match short(self.rest) {
            Some((element, rest)) => {
                self.rest = rest;
                self.index += 1;
                Ok(Some(element))
            }
            None => self.next_plain(),
        }
    }

    /// The number of elements by the header; `None` if it does not know. The walk checks it at the end.
    pub fn declared_len(&self) -> Option<usize> {
        (self.declared != UNKNOWN).then_some(usize::from(self.declared))
    }

    /// Offset in the blob of the next element, or of the terminator.
    #[inline]
    pub fn offset(&self) -> usize {
        self.total as usize - 1 - self.rest.len()
    }

    /// Where the blob lies, for errors about an element.
    #[inline]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Reads whatever comes: any element, the end, or what is wrong. [`short`] is its fast half.
    #[inline(never)]
    fn next_plain(&mut self) -> Result<Option<Element<'a>>> {
        let (at, index, rest) = (self.offset(), self.index, self.rest);
        let left = rest.len() as u64;
        let size = match *rest {
            [] => return self.end(),
            [0x00..=0x7f, ..] => 1,
            [head @ 0x80..=0xbf, ..] => 1 + u64::from(head & 0x3f),
            [0xc0..=0xdf, ..] => 2,
            [head @ 0xe0..=0xef, low, ..] => 2 + u64::from(u16::from_be_bytes([head & 0x0f, low])),
            [0xf0, a, b, c, d, ..] => 5 + u64::from(u32::from_le_bytes([a, b, c, d])),
            [0xf1, ..] => 3,
            [0xf2, ..] => 4,
            [0xf3, ..] => 5,
            [0xf4, ..] => 9,
            [0xe0..=0xf0, ..] => {
                return Err(self.fail(
                    at,
                    format_args!("element {index}: its length is cut by the end of the listpack"),
                ));
            }
            [END, ..] => {
                return Err(self.fail(
                    at,
                    format_args!(
                        "element {index}: a terminator {left} bytes before the end of the listpack"
                    ),
                ));
            }
            [head, ..] => {
                return Err(self.fail(
                    at,
                    format_args!("element {index}: unknown head {head:#04x}"),
                ));
            }
        };
        // An entry larger than what is left gets an empty slice, too short for any back length.
        let (entry, after) = usize::try_from(size)
            .ok()
            .and_then(|size| rest.split_at_checked(size))
            .unwrap_or((rest, &[]));
        let back = match check_back(size, after) {
            Ok(back) => back,
            Err(Back::Cut(back)) => {
                let over = size + back as u64 - left;
                return Err(self.fail(
                    at,
                    format_args!("element {index} runs {over} bytes past the end of the listpack"),
                ));
            }
            Err(Back::Wrong(found)) if found != size => {
                return Err(self.fail(
                    at + entry.len(),
                    format_args!(
                        "element {index}: back length {found} where the entry has {size} bytes"
                    ),
                ));
            }
            Err(Back::Wrong(_)) => {
                return Err(self.fail(
                    at + entry.len(),
                    format_args!("element {index}: a back length without its continuation bits"),
                ));
            }
        };
        let element = match *entry {
            [n @ 0x00..=0x7f] => Element::Int(n.into()),
            [0x80..=0xbf, ref text @ ..]
            | [0xe0..=0xef, _, ref text @ ..]
            | [0xf0, _, _, _, _, ref text @ ..] => Element::Bytes(text),
            [high, low] => Element::Int(i13(high, low)),
            // The fixed-size integers; a head that is none of these was refused above.
            [_, ref le @ ..] => Element::Int(int_le(le)),
            [] => return Ok(None),
        };
        self.rest = after.get(back..).unwrap_or_default();
        self.index += 1;
        Ok(Some(element))
    }

    /// Nothing left before the terminator: the count must be true.
    fn end(&mut self) -> Result<Option<Element<'a>>> {
        let (declared, found) = (self.declared, self.index);
        if declared == UNKNOWN || u32::from(declared) == found {
            return Ok(None);
        }
        Err(self.fail(
            4,
            format_args!("the listpack header says {declared} elements where there are {found}"),
        ))
    }

    /// The error, after which the walk is over.
    #[cold]
    #[inline(never)]
    fn fail(&mut self, at: usize, what: fmt::Arguments<'_>) -> RdbError {
        self.rest = &[];
        // So that the end finds nothing to complain about.
        self.index = self.declared.into();
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

/// The first element of `rest` and what follows it, if it is a short one: a string of at most 63 bytes or an integer,
/// with a back length of one byte that is right. `None` says nothing more than that it is not.
#[inline(always)]
fn short(rest: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (element, size) = match *rest {
        [n @ 0x00..=0x7f, ..] => (Element::Int(n.into()), 1),
        [head @ 0x80..=0xbf, ref data @ ..] => {
            let len = usize::from(head & 0x3f);
            (Element::Bytes(data.get(..len)?), 1 + len)
        }
        [high @ 0xc0..=0xdf, low, ..] => (Element::Int(i13(high, low)), 2),
        [0xf1, a, b, ..] => (Element::Int(i16::from_le_bytes([a, b]).into()), 3),
        [0xf2, ref le @ ..] => (Element::Int(int_le(le.first_chunk::<3>()?)), 4),
        [0xf3, ref le @ ..] => (Element::Int(int_le(le.first_chunk::<4>()?)), 5),
        [0xf4, ref le @ ..] => (Element::Int(int_le(le.first_chunk::<8>()?)), 9),
        _ => return None,
    };
    match rest.get(size..)? {
        [back, rest @ ..] if usize::from(*back) == size => Some((element, rest)),
        _ => None,
    }
}

/// The 13-bit integer behind the head `110xxxxx`.
#[inline(always)]
fn i13(high: u8, low: u8) -> i64 {
    // The head's three marker bits go out at the top, then the sign comes back down.
    i64::from((u16::from_be_bytes([high, low]) << 3) as i16 >> 3)
}

/// Why a back length does not do.
#[derive(Debug, PartialEq, Eq)]
enum Back {
    /// It has this many bytes, and fewer are there.
    Cut(usize),
    /// Its bytes are not those that they should be; in groups of 7 bits they give this number.
    Wrong(u64),
}

/// The bytes that the back length of an entry of `size` bytes takes, which `after` must start with.
fn check_back(size: u64, after: &[u8]) -> Result<usize, Back> {
    let mut n = match size {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    };
    // All groups full: the three sizes with an older form, one byte longer, which begins with an empty group.
    if matches!(size, 0x3fff | 0x1f_ffff | 0xfff_ffff) && after.first() == Some(&0) {
        n += 1;
    }
    let found = after.get(..n).ok_or(Back::Cut(n))?;
    let right = found.iter().enumerate().all(|(i, &byte)| {
        let group = (size >> (7 * (n - 1 - i))) as u8 & 0x7f;
        byte == if i == 0 { group } else { group | 0x80 }
    });
    if right {
        Ok(n)
    } else {
        Err(Back::Wrong(
            found
                .iter()
                .fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f)),
        ))
    }
}

/// A listpack that is being made, as a server of 2026 would.
#[derive(Debug)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
    n: u64,
}

impl Builder {
    /// One without elements.
    pub(crate) fn new() -> Self {
        Builder {
            bytes: vec![0; HEADER],
            n: 0,
        }
    }

    /// Forgets the elements.
    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(HEADER);
        self.n = 0;
    }

    /// Bytes that [`Builder::finish`] would give.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + 1
    }

    /// Adds an element as it is: no string becomes an integer.
    pub(crate) fn push(&mut self, element: Element<'_>) {
        let out = &mut self.bytes;
        let start = out.len();
        match element {
            Element::Int(n @ 0..=127) => out.push(n as u8),
            Element::Int(n @ -4096..=4095) => {
                out.extend([0xc0 | (n >> 8) as u8 & 0x1f, n as u8]);
            }
            Element::Int(n) => {
                let (head, width) = match n {
                    -0x8000..=0x7fff => (0xf1, 2),
                    -0x80_0000..=0x7f_ffff => (0xf2, 3),
                    -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
                    _ => (0xf4, 8),
                };
                out.push(head);
                out.extend(&n.to_le_bytes()[..width]);
            }
            Element::Bytes(text) => {
                match text.len() {
                    len @ 0..64 => out.push(0x80 | len as u8),
                    len @ 64..4096 => out.extend([0xe0 | (len >> 8) as u8, len as u8]),
                    len => {
                        out.push(0xf0);
                        out.extend((len as u32).to_le_bytes());
                    }
                }
                out.extend(text);
            }
        }
        let size = out.len() - start;
        // Groups of seven bits, the most significant first.
        let groups = (usize::BITS - size.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let more = if group + 1 == groups { 0 } else { 0x80 };
            out.push((size >> (7 * group)) as u8 & 0x7f | more);
        }
        self.n += 1;
    }

    /// Adds all elements of another.
    pub(crate) fn extend(&mut self, other: &Builder) {
        self.bytes
            .extend_from_slice(other.bytes.get(HEADER..).unwrap_or_default());
        self.n += other.n;
    }

    /// The listpack, to which nothing can be added any more. It must be shorter than 4 GiB.
    pub(crate) fn finish(&mut self) -> &[u8] {
        self.bytes.push(END);
        let total = self.bytes.len() as u32;
        let n = u16::try_from(self.n).unwrap_or(UNKNOWN);
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        self.bytes[4..HEADER].copy_from_slice(&n.to_le_bytes());
        &self.bytes
    }
}

/// A listpack of these elements.
#[cfg(test)]
pub(crate) fn build(elements: &[Element<'_>]) -> Vec<u8> {
    let mut builder = Builder::new();
    for &element in elements {
        builder.push(element);
    }
    builder.finish().to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{blob, damage, hex, walk};
    use super::Element::{Bytes, Int};
    use super::*;
    use crate::rdb::string::Scratch;

    /// Entries in hex between a header, of which `n` is the count, and a terminator.
    fn framed(n: u16, entries: &[u8]) -> Vec<u8> {
        let mut out = (entries.len() as u32 + 7).to_le_bytes().to_vec();
        out.extend(n.to_le_bytes());
        out.extend(entries);
        out.push(END);
        out
    }

    fn elements(bytes: &[u8]) -> Result<Vec<Element<'_>>> {
        walk(bytes, Iter::new(blob(bytes)))
    }

    /// The same walk by [`Iter::next_plain`] alone.
    fn plain(bytes: &[u8]) -> Result<Vec<Element<'_>>> {
        let mut iter = Iter::new(blob(bytes))?;
        let mut found = Vec::new();
        while let Some(element) = iter.next_plain()? {
            found.push(element);
        }
        Ok(found)
    }

    /// Both walks, which must agree in what they find and in what they complain about.
    fn both(bytes: &[u8]) -> Result<Vec<Element<'_>>> {
        let fast = elements(bytes);
        match (&fast, plain(bytes)) {
            (Ok(fast), Ok(plain)) => assert_eq!(*fast, plain),
            (Err(fast), Err(plain)) => assert_eq!(fast.to_string(), plain.to_string()),
            (fast, plain) => panic!("{fast:?} but {plain:?}: {bytes:02x?}"),
        }
        fast
    }

    #[test]
    fn one_entry_of_every_form() {
        #[rustfmt::skip]
        let rows: &[(&str, &str, Element<'_>)] = &[
            ("u7 smallest",              "00 01",                          Int(0)),
            ("u7 largest",               "7f 01",                          Int(127)),
            ("i13 128",                  "c080 02",                        Int(128)),
            ("i13 largest",              "cfff 02",                        Int(4095)),
            ("i13 smallest",             "d000 02",                        Int(-4096)),
            ("i13 -1",                   "dfff 02",                        Int(-1)),
            ("i13 0, wider than needed", "c000 02",                        Int(0)),
            ("i16 4096",                 "f10010 03",                      Int(4096)),
            ("i16 largest",              "f1ff7f 03",                      Int(32767)),
            ("i16 smallest",             "f10080 03",                      Int(-32768)),
            ("i16 -1",                   "f1ffff 03",                      Int(-1)),
            ("i24 40000",                "f2409c00 04",                    Int(40000)),
            ("i24 largest",              "f2ffff7f 04",                    Int(8388607)),
            ("i24 smallest",             "f2000080 04",                    Int(-8388608)),
            ("i24 -1",                   "f2ffffff 04",                    Int(-1)),
            ("i32 largest",              "f3ffffff7f 05",                  Int(2147483647)),
            ("i32 smallest",             "f300000080 05",                  Int(-2147483648)),
            ("i64 3000000000",           "f4005ed0b200000000 09",          Int(3000000000)),
            ("i64 largest",              "f4ffffffffffffff7f 09",          Int(i64::MAX)),
            ("i64 smallest",             "f40000000000000080 09",          Int(i64::MIN)),
            ("str6 empty",               "80 01",                          Bytes(b"")),
            ("str6 hi",                  "826869 03",                      Bytes(b"hi")),
            ("str12 empty",              "e000 02",                        Bytes(b"")),
            ("str12 hi",                 "e0026869 04",                    Bytes(b"hi")),
            ("str32 empty",              "f000000000 05",                  Bytes(b"")),
            ("str32 hi",                 "f0020000006869 07",              Bytes(b"hi")),
            ("str6 with FF inside",      "82ffff 03",                      Bytes(b"\xff\xff")),
        ];
        for (name, entry, want) in rows {
            let bytes = framed(1, &hex(entry));
            assert_eq!(both(&bytes).unwrap(), [*want], "{name}");
            // And in the middle, where something follows to run into.
            let bytes = framed(3, &hex(&format!("8161 02 {entry} dfff 02")));
            assert_eq!(
                both(&bytes).unwrap(),
                [Bytes(b"a"), *want, Int(-1)],
                "{name}"
            );
        }
    }

    #[test]
    fn string_lengths_and_back_lengths_at_their_edges() {
        // Length; the head; the back length as newer servers write it, and as older ones do where they differ.
        #[rustfmt::skip]
        let rows: &[(usize, &str, &str, Option<&str>)] = &[
            (63,      "bf",         "40",       None),
            (64,      "e040",       "42",       None),
            (70,      "e046",       "48",       None),
            (125,     "e07d",       "7f",       None),              // E = 127
            (126,     "e07e",       "0180",     None),              // E = 128
            (130,     "e082",       "0184",     None),
            (4095,    "efff",       "2081",     None),
            (4096,    "f000100000", "2085",     None),
            (16377,   "f0f93f0000", "7ffe",     None),              // E = 16382
            (16378,   "f0fa3f0000", "7fff",     Some("00ffff")),    // E = 16383
            (16379,   "f0fb3f0000", "018080",   None),              // E = 16384
            (16383,   "f0ff3f0000", "018084",   None),
            (16384,   "f000400000", "018085",   None),
            (2097145, "f0f9ff1f00", "7ffffe",   None),              // E = 2097150
            (2097146, "f0faff1f00", "7fffff",   Some("00ffffff")),  // E = 2097151
            (2097147, "f0fbff1f00", "01808080", None),              // E = 2097152
        ];
        for &(len, head, back, old) in rows {
            let text: Vec<u8> = (0..len).map(|i| b'a' + (i % 26) as u8).collect();
            for back in [Some(back), old].into_iter().flatten() {
                let mut entries = hex(head);
                entries.extend(&text);
                entries.extend(hex(back));
                entries.extend(hex("07 01"));
                let bytes = framed(2, &entries);
                assert_eq!(
                    both(&bytes).unwrap(),
                    [Bytes(&text), Int(7)],
                    "{len}, {back}"
                );
            }
            // The builder writes the new form; others rely on it for their tests.
            let built = build(&[Bytes(&text)]);
            assert!(built.ends_with(&[&hex(back)[..], &[END]].concat()), "{len}");
            assert_eq!(both(&built).unwrap(), [Bytes(&text)], "{len}");
        }
    }

    #[test]
    fn back_lengths_of_entries_too_large_for_a_test() {
        let rows: &[(u64, &str, Result<usize, Back>)] = &[
            (127, "7f", Ok(1)),
            (127, "00ff", Err(Back::Wrong(0))), // never had a longer form
            (128, "0180", Ok(2)),
            (128, "0100", Err(Back::Wrong(128))), // no continuation bit
            (128, "01", Err(Back::Cut(2))),
            (16382, "00fffe", Err(Back::Wrong(127))),
            (16383, "7fff", Ok(2)),
            (16383, "00ffff", Ok(3)),
            (16383, "00ff", Err(Back::Cut(3))),
            (16383, "00ff7f", Err(Back::Wrong(16383))),
            (2097151, "7fffff", Ok(3)),
            (2097151, "00ffffff", Ok(4)),
            (268435454, "7ffffffe", Ok(4)),
            (268435455, "7fffffff", Ok(4)),
            (268435455, "00ffffffff", Ok(5)),
            (268435456, "0180808080", Ok(5)),
            (u64::from(u32::MAX) + 5, "1080808084", Ok(5)),
            (u64::from(u32::MAX) + 5, "", Err(Back::Cut(5))),
        ];
        for (size, after, want) in rows {
            let mut after = hex(after);
            assert_eq!(check_back(*size, &after), *want, "{size}, {after:02x?}");
            if want.is_ok() {
                after.push(0xff);
                assert_eq!(check_back(*size, &after), *want, "{size}, more follows");
            }
        }
    }

    #[test]
    fn blobs_of_servers() {
        let x70 = [b'x'; 70];
        let y130 = [b'y'; 130];
        #[rustfmt::skip]
        let rows: &[(&str, &str, &[Element<'_>])] = &[
            ("7.0 hash", "120000000400 816602 817602 816e02 0701 ff",
                &[Bytes(b"f"), Bytes(b"v"), Bytes(b"n"), Int(7)]),
            ("7.0 zset", "150000000400 816102 dffe02 816202 83312e3504 ff",
                &[Bytes(b"a"), Int(-2), Bytes(b"b"), Bytes(b"1.5")]),
            ("8.1 set", "0c0000000200 816102 0101 ff", &[Bytes(b"a"), Int(1)]),
            ("empty", "070000000000 ff", &[]),
            ("empty, count not known", "07000000ffff ff", &[]),
            ("count not known", "0a000000ffff 816202 ff", &[Bytes(b"b")]),
        ];
        for (name, dump, want) in rows {
            let bytes = hex(dump);
            assert_eq!(both(&bytes).unwrap(), *want, "{name}");
            assert_eq!(count(blob(&bytes)).unwrap(), want.len(), "{name}");
        }
        // Quicklist nodes, LZF data as 7.0 wrote them.
        #[rustfmt::skip]
        let rows: &[(&str, usize, &str, &[Element<'_>])] = &[
            ("7.0 list of every form", 127,
                "1f7f0000000d0000017f01c08002dfff02cfff02d00002f1001003f2409c0004f3090000800005f4005ed0b220280a00098268690\
                 38001e04678e03c000148ff",
                &[Int(0), Int(127), Int(128), Int(-1), Int(4095), Int(-4096), Int(4096), Int(40000), Int(8388608),
                  Int(3000000000), Bytes(b"hi"), Bytes(b""), Bytes(&x70)]),
            ("7.0 list with a back length of two bytes", 144, "08900000000200e08279e07800050184817102ff",
                &[Bytes(&y130), Bytes(b"q")]),
        ];
        for (name, len, dump, want) in rows {
            let mut scratch = Scratch::new();
            let bytes = crate::rdb::lzf::decompress(&hex(dump), *len, &mut scratch).unwrap();
            assert_eq!(both(bytes).unwrap(), *want, "{name}");
            assert_eq!(build(want), bytes, "{name}: the builder writes the same");
        }
    }

    #[test]
    fn what_is_refused_and_where() {
        #[rustfmt::skip]
        let rows: &[(&str, usize, &str)] = &[
            ("", 0, "a listpack of 0 bytes, where the smallest has 7"),
            ("0600000000ff", 0, "a listpack of 6 bytes, where the smallest has 7"),
            ("080000000000ff", 0, "the listpack header says 8 bytes where the listpack has 7"),
            ("07000000000000", 6, "the listpack ends in 0x00 where its terminator 0xff belongs"),
            ("0a0000000100 816203 ff", 8, "element 0: back length 3 where the entry has 2 bytes"),
            ("0a0000000200 816202 ff", 4, "the listpack header says 2 elements where there are 1"),
            ("070000000100 ff", 4, "the listpack header says 1 elements where there are 0"),
            ("0a0000000000 816202 ff", 4, "the listpack header says 0 elements where there are 1"),
            ("0a0000000100 836202 ff", 6, "element 0 runs 2 bytes past the end of the listpack"),
            ("090000000100 8162 ff", 6, "element 0 runs 1 bytes past the end of the listpack"),
            ("0c0000000200 0101 f40102 ff", 8, "element 1 runs 7 bytes past the end of the listpack"),
            ("0a0000000200 0101 c0 ff", 8, "element 1 runs 2 bytes past the end of the listpack"),
            ("0a0000000200 0101 e0 ff", 8, "element 1: its length is cut by the end of the listpack"),
            ("0d0000000200 0101 f0000000 ff", 8, "element 1: its length is cut by the end of the listpack"),
            ("0e0000000200 0101 f0ffffffff ff", 8, "element 1 runs 4294967300 bytes past the end of the listpack"),
            ("0c0000000200 0101 ff 8101 ff", 8, "element 1: a terminator 3 bytes before the end of the listpack"),
            ("0a0000000200 0101 f5 ff", 8, "element 1: unknown head 0xf5"),
            ("0a0000000200 0101 fe ff", 8, "element 1: unknown head 0xfe"),
        ];
        for (dump, at, what) in rows {
            let e = both(&hex(dump)).unwrap_err();
            assert_eq!((e.what(), e.offset()), (*what, Some(*at as u64)), "{dump}");
            assert_eq!(e.kind(), crate::ErrorKind::Corrupt, "{dump}");
        }
        // A continuation bit missing where the number is right.
        let mut entries = hex("e07e");
        entries.extend([b'x'; 126]);
        entries.extend(hex("0100"));
        let e = both(&framed(1, &entries)).unwrap_err();
        assert_eq!(
            e.what(),
            "element 0: a back length without its continuation bits"
        );
        assert_eq!(e.offset(), Some(6 + 128));
    }

    #[test]
    fn errors_know_where_the_blob_lies() {
        let bytes = hex("0a0000000100 816203 ff");
        for (origin, want) in [
            (Origin::File(1000), (Some(1008), None)),
            (Origin::Lzf(1000), (Some(1000), Some(8))),
        ] {
            let bytes = &bytes[..];
            let iter = Iter::new(Blob { bytes, origin }).unwrap();
            assert_eq!(iter.origin(), origin);
            let e = walk(bytes, Ok(iter)).unwrap_err();
            assert_eq!((e.offset(), e.lzf_offset()), want);
        }
    }

    #[test]
    fn offsets_and_counts_on_the_way() {
        let bytes = hex("0f0000000300 816102 dfff02 0701 ff");
        let mut iter = Iter::new(blob(&bytes)).unwrap();
        let mut offsets = vec![iter.offset()];
        while iter.next_element().unwrap().is_some() {
            offsets.push(iter.offset());
        }
        assert_eq!(offsets, [6, 9, 12, 14]);
        assert_eq!(iter.declared_len(), Some(3));
    }

    #[test]
    fn a_count_of_65535_is_no_count() {
        for n in [65534usize, 65535, 65536, 70000] {
            let bytes = build(&vec![Int(5); n]);
            let declared = (n < 65535).then_some(n);
            assert_eq!(Iter::new(blob(&bytes)).unwrap().declared_len(), declared);
            assert_eq!(count(blob(&bytes)).unwrap(), n);
            assert_eq!(both(&bytes).unwrap().len(), n);
        }
    }

    #[test]
    fn damage_is_an_error_or_another_listpack() {
        let text = [b'z'; 70];
        let wide = [b'z'; 130];
        let sample = build(&[
            Int(7),
            Int(-1),
            Int(4096),
            Int(-40000),
            Int(1 << 30),
            Int(i64::MIN),
            Bytes(b""),
            Bytes(b"hello"),
            Bytes(&text),
            Bytes(&wide),
            Bytes(b"\xff\xff\xff"),
            Int(0),
        ]);
        let noticed = damage(&sample, |bytes| both(bytes).map(|found| found.len()));
        // Text and numbers can change unseen; the frame, heads and back lengths cannot.
        assert!(noticed > 8_000, "{noticed}");
    }

    #[test]
    fn fast_equals_plain_on_made_up_listpacks() {
        let mut seed = 7u64;
        let mut random = move |below: usize| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) as usize % below
        };
        let text = [b't'; 5000];
        let mut sound = 0;
        for _ in 0..3_000 {
            let want: Vec<_> = (0..random(12))
                .map(|_| match random(4) {
                    0 => Bytes(&text[..random(100)]),
                    1 => Bytes(&text[..random(5000)]),
                    _ => {
                        let bits = random(64);
                        let n = (random(1 << 31) as i64) << 33 ^ (random(1 << 31) as i64) << 11;
                        Int(n >> bits)
                    }
                })
                .collect();
            let mut bytes = build(&want);
            assert_eq!(both(&bytes).unwrap(), want);
            for _ in 0..3 {
                let at = random(bytes.len());
                bytes[at] = random(256) as u8;
                sound += usize::from(both(&bytes).is_ok());
            }
        }
        assert!(sound > 100, "{sound}");
    }
}
