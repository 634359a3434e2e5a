//! Ziplist: small elements in one blob, each with the size of the one before it. Superseded by the listpack in 7.0.
//!
//! ```text
//!   0       4      8     10
//!   | total | tail | n   | element | element | ... | FF |
//!     total  u32 LE, bytes of the whole blob, itself and FF included
//!     tail   u32 LE, offset of the last element; 10 if there is none
//!     n      u16 LE, elements; 65535 means "65535 or more, walk to FF"
//!
//!   element = previous size, head, data
//!     previous size: all bytes of the element before, 0 for the first
//!       00 to FD             the size              FE, u32 LE           the size, large or small
//!     head:
//!       00xxxxxx             string, 6-bit length  01xxxxxx xxxxxxxx    string, 14-bit length, big-endian
//!       10------, u32 BE     string, 32-bit length
//!       FE C0 F0 D0 E0       i8 i16 i24 i32 i64    F1 to FD             0 to 12
//!
//!   ["a", -1] is   11 00 00 00  0d 00 00 00  02 00  00 01 61  03 fe ff  ff
//! ```
//!
//! String lengths are big-endian, all else is little-endian. The low bits of a 32-bit length's head mean nothing: writers
//! leave them 0, servers do not look.
//!
//! Checked: `total`, the terminator, that every element ends before it, every previous size, `tail`, and `n`. Not checked:
//! that a number or a length takes the smallest form that holds it. Elements are counted from 0 in errors.

use std::fmt;
use std::iter::FusedIterator;

use super::{Blob, END, Element, Origin, check_frame, int_le};
use crate::error::{RdbError, Result};

/// Bytes before the first element.
const HEADER: usize = 10;
/// The count of a ziplist that has 65535 elements or more.
const UNKNOWN: u16 = u16::MAX;
/// First byte of a previous size that takes 5 bytes.
const WIDE: u8 = 0xfe;

/// The elements of a ziplist, front to back.
///
/// ```
/// use rdbtool::rdb::packed::{Blob, Element, ziplist};
/// let blob = Blob::in_file(b"\x11\0\0\0\x0d\0\0\0\x02\0\x00\x01a\x03\xfe\xff\xff", 0);
/// let found: Vec<_> = ziplist::Iter::new(blob)?.collect::<Result<_, _>>()?;
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
    /// Offset of the last element by the header, compared at the end.
    tail: u32,
    /// Size of the element before the next one; less than `total`.
    previous: u32,
    /// Number of the next element. An element has at least 2 bytes, so `total` is never reached.
    index: u32,
    declared: u16,
    failed: bool,
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
        check_frame(blob, HEADER + 1, "ziplist")?;
        let [_, _, _, _, t0, t1, t2, t3, n0, n1, ref rest @ .., END] = *blob.bytes else {
            return Err(super::too_short(blob, HEADER + 1, "ziplist"));
        };
        let tail = u32::from_le_bytes([t0, t1, t2, t3]);
        let total = blob.bytes.len() as u32;
        // The last place is that of the terminator, and only when there is nothing else: 10.
        if tail < HEADER as u32 || tail >= total {
            return Err(blob.origin.corrupt(
                4,
                format!("the ziplist header puts the last element at {tail}, outside the ziplist of {total} bytes"),
            ));
        }
        Ok(Iter {
            rest,
            origin: blob.origin,
            total,
            tail,
            previous: 0,
            index: 0,
            declared: u16::from_le_bytes([n0, n1]),
            failed: false,
        })
    }

    /// The next element, or `None` at the end and after an error. The form for inner loops.
    #[inline]
    pub fn next_element(&mut self) -> Result<Option<Element<'a>>> {
        match short(self.rest, self.previous) {
            Some((element, size, rest)) => {
                self.rest = rest;
                self.previous = size;
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
        let (previous, body) = match *rest {
            [] => return self.end(),
            [WIDE, a, b, c, d, ref body @ ..] => (u32::from_le_bytes([a, b, c, d]), body),
            [WIDE, ..] => return Err(self.cut(at)),
            [END, ..] => {
                return Err(self.fail(
                    at,
                    format_args!(
                        "element {index}: a terminator {left} bytes before the end of the ziplist"
                    ),
                ));
            }
            [small, ref body @ ..] => (small.into(), body),
        };
        if previous != self.previous {
            let before = self.previous;
            return Err(self.fail(
                at,
                format_args!(
                    "element {index}: previous size {previous} where the element before has {before} bytes"
                ),
            ));
        }
        let size = match *body {
            [] => return Err(self.cut(at)),
            [head @ 0x00..=0x3f, ..] => 1 + u64::from(head),
            [head @ 0x40..=0x7f, low, ..] => 2 + u64::from(u16::from_be_bytes([head & 0x3f, low])),
            [0x80..=0xbf, a, b, c, d, ..] => 5 + u64::from(u32::from_be_bytes([a, b, c, d])),
            [0x40..=0xbf, ..] => return Err(self.cut(at)),
            [0xf1..=0xfd, ..] => 1,
            [0xfe, ..] => 2,
            [0xc0, ..] => 3,
            [0xf0, ..] => 4,
            [0xd0, ..] => 5,
            [0xe0, ..] => 9,
            [head, ..] => {
                return Err(self.fail(
                    at + (rest.len() - body.len()),
                    format_args!("element {index}: unknown head {head:#04x}"),
                ));
            }
        };
        let Some((entry, after)) = usize::try_from(size)
            .ok()
            .and_then(|size| body.split_at_checked(size))
        else {
            let over = size - body.len() as u64;
            return Err(self.fail(
                at,
                format_args!("element {index} runs {over} bytes past the end of the ziplist"),
            ));
        };
        let element = match *entry {
            [0x00..=0x3f, ref text @ ..]
            | [0x40..=0x7f, _, ref text @ ..]
            | [0x80..=0xbf, _, _, _, _, ref text @ ..] => Element::Bytes(text),
            [head @ 0xf1..=0xfd] => Element::Int(immediate(head)),
            // The fixed-size integers; a head that is none of these was refused above.
            [_, ref le @ ..] => Element::Int(int_le(le)),
            [] => return Ok(None),
        };
        self.previous = (rest.len() - after.len()) as u32;
        self.rest = after;
        self.index += 1;
        Ok(Some(element))
    }

    /// Nothing left before the terminator: the count and the place of the last element must be true.
    fn end(&mut self) -> Result<Option<Element<'a>>> {
        if self.failed {
            return Ok(None);
        }
        let (declared, found, tail) = (self.declared, self.index, self.tail);
        if declared != UNKNOWN && u32::from(declared) != found {
            return Err(self.fail(
                8,
                format_args!("the ziplist header says {declared} elements where there are {found}"),
            ));
        }
        // With no element at all this is the end of the header, which is what an empty ziplist says.
        let last = self.offset() - self.previous as usize;
        if tail as usize != last {
            return Err(self.fail(
                4,
                format_args!(
                    "the ziplist header puts the last element at {tail} where it is at {last}"
                ),
            ));
        }
        Ok(None)
    }

    #[cold]
    fn cut(&mut self, at: usize) -> RdbError {
        let index = self.index;
        self.fail(
            at,
            format_args!("element {index}: its head is cut by the end of the ziplist"),
        )
    }

    /// The error, after which the walk is over.
    #[cold]
    #[inline(never)]
    fn fail(&mut self, at: usize, what: fmt::Arguments<'_>) -> RdbError {
        self.rest = &[];
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

/// The first element of `rest`, its size and what follows it, if it is a short one: a string of at most 63 bytes or an
/// integer, behind a previous size of one byte that is right. `None` says nothing more than that it is not.
#[inline(always)]
fn short(rest: &[u8], previous: u32) -> Option<(Element<'_>, u32, &[u8])> {
    let [before @ 0..WIDE, head, ref data @ ..] = *rest else {
        return None;
    };
    if u32::from(before) != previous {
        return None;
    }
    let width = match head {
        0x00..=0x3f => {
            let (text, rest) = data.split_at_checked(head.into())?;
            return Some((Element::Bytes(text), 2 + u32::from(head), rest));
        }
        0xf1..=0xfd => return Some((Element::Int(immediate(head)), 2, data)),
        0xfe => 1,
        0xc0 => 2,
        0xf0 => 3,
        0xd0 => 4,
        0xe0 => 8,
        _ => return None,
    };
    let (le, rest) = data.split_at_checked(width)?;
    Some((Element::Int(int_le(le)), 2 + width as u32, rest))
}

/// The integer that a head F1 to FD stands for: 0 to 12.
#[inline(always)]
fn immediate(head: u8) -> i64 {
    i64::from(head & 15) - 1
}

/// Makes ziplists, one after the other, in a buffer that is kept. Elements are taken as they are: no string becomes an integer.
///
/// ```
/// use rdbtool::rdb::packed::{Element, ziplist::Builder};
/// let mut ziplist = Builder::new();
/// assert!(ziplist.push(Element::Bytes(b"a")) && ziplist.push(Element::Int(-1)));
/// assert_eq!(ziplist.finish(), b"\x11\0\0\0\x0d\0\0\0\x02\0\x00\x01a\x03\xfe\xff\xff");
/// ```
#[derive(Debug)]
pub struct Builder {
    bytes: Vec<u8>,
    /// Where the last element begins.
    last: usize,
    count: usize,
}

/// A buffer that a rare large ziplist blew up falls back to this size.
const KEEP: usize = 1 << 20;

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// One without elements.
    pub fn new() -> Self {
        let mut new = Builder {
            bytes: Vec::new(),
            last: 0,
            count: 0,
        };
        new.clear();
        new
    }

    /// Begins another.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.bytes.resize(HEADER, 0);
        self.last = HEADER;
        self.count = 0;
    }

    /// Appends an element; false, and nothing, if the ziplist would be larger than 4 GiB.
    #[must_use]
    pub fn push(&mut self, element: Element<'_>) -> bool {
        let previous = match self.count {
            0 => 0,
            _ => self.bytes.len() - self.last,
        };
        let size = match element {
            Element::Int(_) => 0,
            Element::Bytes(text) => text.len(),
        };
        // A previous size and a head take at most 10 bytes, an integer 8.
        if u32::try_from(self.bytes.len() as u64 + size as u64 + 19).is_err() {
            return false;
        }
        self.last = self.bytes.len();
        match previous {
            0..254 => self.bytes.push(previous as u8),
            _ => {
                self.bytes.push(WIDE);
                self.bytes.extend((previous as u32).to_le_bytes());
            }
        }
        match element {
            Element::Int(n @ 0..=12) => self.bytes.push(0xf1 + n as u8),
            Element::Int(n) => {
                let (head, width) = match n {
                    -0x80..=0x7f => (0xfe, 1),
                    -0x8000..=0x7fff => (0xc0, 2),
                    -0x80_0000..=0x7f_ffff => (0xf0, 3),
                    -0x8000_0000..=0x7fff_ffff => (0xd0, 4),
                    _ => (0xe0, 8),
                };
                self.bytes.push(head);
                self.bytes.extend(n.to_le_bytes().iter().take(width));
            }
            Element::Bytes(text) => {
                self.bytes
                    .extend_from_slice(Head::of(text.len()).as_bytes());
                self.bytes.extend_from_slice(text);
            }
        }
        self.count += 1;
        true
    }

    /// Whether nothing has been appended.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The whole ziplist. Another begins with [`Builder::clear`].
    pub fn finish(&mut self) -> &[u8] {
        self.bytes.push(END);
        let header = header(self.bytes.len() as u32, self.last as u32, self.count);
        for (to, from) in self.bytes.iter_mut().zip(header) {
            *to = from;
        }
        &self.bytes
    }
}

/// All that stands before the text in a ziplist of one string, and the size of that ziplist; nothing if it is larger than 4 GiB.
/// The text and FF complete it.
pub fn before_one(text: usize) -> Option<(Vec<u8>, u32)> {
    let head = Head::of(text);
    let mut bytes = Vec::with_capacity(HEADER + 6);
    bytes.resize(HEADER, 0);
    bytes.push(0);
    bytes.extend_from_slice(head.as_bytes());
    let total = u32::try_from(bytes.len() as u64 + text as u64 + 1).ok()?;
    let header = header(total, HEADER as u32, 1);
    for (to, from) in bytes.iter_mut().zip(header) {
        *to = from;
    }
    Some((bytes, total))
}

fn header(total: u32, last: u32, count: usize) -> impl Iterator<Item = u8> {
    let count = u16::try_from(count).unwrap_or(UNKNOWN);
    let fields = total.to_le_bytes().into_iter().chain(last.to_le_bytes());
    fields.chain(count.to_le_bytes())
}

/// The head of a string.
struct Head([u8; 5], usize);

impl Head {
    fn of(len: usize) -> Head {
        match len {
            0..64 => Head([len as u8, 0, 0, 0, 0], 1),
            64..16384 => {
                let [a, b] = (0x4000 | len as u16).to_be_bytes();
                Head([a, b, 0, 0, 0], 2)
            }
            _ => {
                let [a, b, c, d] = (len as u32).to_be_bytes();
                Head([0x80, a, b, c, d], 5)
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.get(..self.1).unwrap_or_default()
    }
}

/// A ziplist as a server would write it.
#[cfg(test)]
pub(crate) fn build(elements: &[Element<'_>]) -> Vec<u8> {
    let mut builder = Builder::new();
    for element in elements {
        assert!(builder.push(*element));
    }
    builder.finish().to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{blob, damage, hex, walk};
    use super::Element::{Bytes, Int};
    use super::*;

    fn elements(bytes: &[u8]) -> Result<Vec<Element<'_>>> {
        walk(bytes, Iter::new(blob(bytes)))
    }

    /// The walk, and that by [`Iter::next_plain`] alone, which must agree in what they find and complain about.
    fn both(bytes: &[u8]) -> Result<Vec<Element<'_>>> {
        let fast = elements(bytes);
        let plain = Iter::new(blob(bytes)).and_then(|mut iter| {
            let mut found = Vec::new();
            while let Some(element) = iter.next_plain()? {
                found.push(element);
            }
            Ok(found)
        });
        match (&fast, plain) {
            (Ok(fast), Ok(plain)) => assert_eq!(*fast, plain),
            (Err(fast), Err(plain)) => assert_eq!(fast.to_string(), plain.to_string()),
            (fast, plain) => panic!("{fast:?} but {plain:?}: {bytes:02x?}"),
        }
        fast
    }

    /// `n` entries with previous sizes, the last at `tail`, between header and terminator.
    fn framed(tail: usize, n: u16, entries: &[u8]) -> Vec<u8> {
        let mut out = (entries.len() as u32 + 11).to_le_bytes().to_vec();
        out.extend((tail as u32).to_le_bytes());
        out.extend(n.to_le_bytes());
        out.extend(entries);
        out.push(END);
        out
    }

    #[test]
    fn one_entry_of_every_form() {
        #[rustfmt::skip]
        let rows: &[(&str, &str, Element<'_>)] = &[
            ("immediate 0",              "f1",                     Int(0)),
            ("immediate 12",             "fd",                     Int(12)),
            ("i8 13",                    "fe0d",                   Int(13)),
            ("i8 largest",               "fe7f",                   Int(127)),
            ("i8 smallest",              "fe80",                   Int(-128)),
            ("i8 -1",                    "feff",                   Int(-1)),
            ("i8 0, wider than needed",  "fe00",                   Int(0)),
            ("i16 200",                  "c0c800",                 Int(200)),
            ("i16 largest",              "c0ff7f",                 Int(32767)),
            ("i16 smallest",             "c00080",                 Int(-32768)),
            ("i24 -40000",               "f0c063ff",               Int(-40000)),
            ("i24 largest",              "f0ffff7f",               Int(8388607)),
            ("i24 smallest",             "f0000080",               Int(-8388608)),
            ("i32 largest",              "d0ffffff7f",             Int(2147483647)),
            ("i32 smallest",             "d000000080",             Int(-2147483648)),
            ("i64 5000000000",           "e000f2052a01000000",     Int(5000000000)),
            ("i64 largest",              "e0ffffffffffffff7f",     Int(i64::MAX)),
            ("i64 smallest",             "e00000000000000080",     Int(i64::MIN)),
            ("str6 empty",               "00",                     Bytes(b"")),
            ("str6 hi",                  "026869",                 Bytes(b"hi")),
            ("str14 empty",              "4000",                   Bytes(b"")),
            ("str14 hi",                 "40026869",               Bytes(b"hi")),
            ("str32 hi",                 "80000000026869",         Bytes(b"hi")),
            ("str32, low bits set",      "bf000000026869",         Bytes(b"hi")),
            ("str6 with FF inside",      "02ffff",                 Bytes(b"\xff\xff")),
        ];
        for (name, entry, want) in rows {
            let entry = hex(entry);
            let bytes = framed(10, 1, &[&[0], &entry[..]].concat());
            assert_eq!(both(&bytes).unwrap(), [*want], "{name}");
            // The wide form of a previous size is legal for small ones, the first among them.
            let bytes = framed(10, 1, &[&hex("fe00000000"), &entry[..]].concat());
            assert_eq!(both(&bytes).unwrap(), [*want], "{name}, wide");
            // And in the middle, where something follows to run into.
            let size = 1 + entry.len();
            let middle = [&hex("00 0161 03"), &entry[..], &[size as u8], &hex("feff")].concat();
            let bytes = framed(13 + size, 3, &middle);
            assert_eq!(
                both(&bytes).unwrap(),
                [Bytes(b"a"), *want, Int(-1)],
                "{name}"
            );
        }
    }

    #[test]
    fn string_lengths_and_previous_sizes_at_their_edges() {
        // Length; the head; the previous size of what follows.
        #[rustfmt::skip]
        let rows: &[(usize, &str, &str)] = &[
            (63,    "3f",         "41"),
            (64,    "4040",       "43"),
            (250,   "40fa",       "fd"),            // 253 bytes
            (251,   "40fb",       "fefe000000"),    // 254 bytes
            (260,   "4104",       "fe07010000"),
            (4095,  "4fff",       "fe02100000"),
            (4096,  "5000",       "fe03100000"),
            (16383, "7fff",       "fe02400000"),
            (16384, "8000004000", "fe06400000"),
            (70000, "8000011170", "fe76110100"),
        ];
        for &(len, head, previous) in rows {
            let text: Vec<u8> = (0..len).map(|i| b'a' + (i % 26) as u8).collect();
            let first = [&[0], &hex(head)[..], &text].concat();
            let entries = [&first[..], &hex(previous), &hex("f8")].concat();
            let bytes = framed(10 + first.len(), 2, &entries);
            assert_eq!(both(&bytes).unwrap(), [Bytes(&text), Int(7)], "{len}");
            assert_eq!(
                build(&[Bytes(&text), Int(7)]),
                bytes,
                "{len}: the builder writes the same"
            );
        }
    }

    #[test]
    fn blobs_of_servers() {
        #[rustfmt::skip]
        let rows: &[(&str, &str, &[Element<'_>])] = &[
            ("2.8 list of every form",
                "39000000360000000b00 00f1 02fd 02fe0d 03fe80 03c0c800 04f0c063ff 05f0ffff7f 05d000000080 06e000f2052a01000000 \
                 0a026869 0400 ff",
                &[Int(0), Int(12), Int(13), Int(-128), Int(200), Int(-40000), Int(8388607), Int(-2147483648),
                  Int(5000000000), Bytes(b"hi"), Bytes(b"")]),
            ("2.8 zset", "19000000130000000400 000161 03fefe 030162 0303312e35 ff",
                &[Bytes(b"a"), Int(-2), Bytes(b"b"), Bytes(b"1.5")]),
            ("2.8 hash", "16000000130000000400 000166 030176 03016e 03f8 ff",
                &[Bytes(b"f"), Bytes(b"v"), Bytes(b"n"), Int(7)]),
            ("3.2 quicklist node", "140000000f0000000300 000161 03f2 02c02c01 ff", &[Bytes(b"a"), Int(1), Int(300)]),
            ("3.2 quicklist node of one string", "0e0000000a0000000100 000161 ff", &[Bytes(b"a")]),
            ("empty", "0b0000000a0000000000 ff", &[]),
            ("empty, count not known", "0b0000000a000000ffff ff", &[]),
            ("count not known", "0e0000000a000000ffff 000161 ff", &[Bytes(b"a")]),
        ];
        for (name, dump, want) in rows {
            let bytes = hex(dump);
            assert_eq!(both(&bytes).unwrap(), *want, "{name}");
            assert_eq!(count(blob(&bytes)).unwrap(), want.len(), "{name}");
            if !name.contains("not known") {
                assert_eq!(build(want), bytes, "{name}: the builder writes the same");
            }
        }
    }

    #[test]
    fn what_is_refused_and_where() {
        #[rustfmt::skip]
        let rows: &[(&str, usize, &str)] = &[
            ("", 0, "a ziplist of 0 bytes, where the smallest has 11"),
            ("0a0000000a000000ffff", 0, "a ziplist of 10 bytes, where the smallest has 11"),
            ("0c0000000a0000000000 ff", 0, "the ziplist header says 12 bytes where the ziplist has 11"),
            ("0b0000000a0000000000 fe", 10, "the ziplist ends in 0xfe where its terminator 0xff belongs"),
            ("0b000000090000000000 ff", 4, "the ziplist header puts the last element at 9, outside the ziplist of 11 bytes"),
            ("0b0000000b0000000000 ff", 4, "the ziplist header puts the last element at 11, outside the ziplist of 11 bytes"),
            ("0b000000ffffffff0000 ff", 4,
                "the ziplist header puts the last element at 4294967295, outside the ziplist of 11 bytes"),
            ("100000000a0000000200 000161 03f8 ff", 4, "the ziplist header puts the last element at 10 where it is at 13"),
            ("0e0000000d0000000100 000161 ff", 4, "the ziplist header puts the last element at 13 where it is at 10"),
            ("100000000d0000000300 000161 03f8 ff", 8, "the ziplist header says 3 elements where there are 2"),
            ("100000000d0000000100 000161 03f8 ff", 8, "the ziplist header says 1 elements where there are 2"),
            ("100000000d0000000200 000161 04f8 ff", 13,
                "element 1: previous size 4 where the element before has 3 bytes"),
            ("0e0000000a0000000100 010161 ff", 10, "element 0: previous size 1 where the element before has 0 bytes"),
            ("140000000d0000000200 000161 fe03000001f8 ff", 13,
                "element 1: previous size 16777219 where the element before has 3 bytes"),
            ("100000000d0000000200 000161 03ff ff", 14, "element 1: unknown head 0xff"),
            ("100000000d0000000200 000161 03c1 ff", 14, "element 1: unknown head 0xc1"),
            ("140000000d0000000200 000161 fe03000000ef ff", 18, "element 1: unknown head 0xef"),
            ("100000000d0000000200 000161 fff8 ff", 13, "element 1: a terminator 2 bytes before the end of the ziplist"),
            ("0f0000000d0000000200 000161 03 ff", 13, "element 1: its head is cut by the end of the ziplist"),
            ("120000000d0000000200 000161 fe030000 ff", 13, "element 1: its head is cut by the end of the ziplist"),
            ("130000000d0000000200 000161 fe03000000 ff", 13, "element 1: its head is cut by the end of the ziplist"),
            ("100000000d0000000200 000161 0340 ff", 13, "element 1: its head is cut by the end of the ziplist"),
            ("130000000d0000000200 000161 0380000000 ff", 13, "element 1: its head is cut by the end of the ziplist"),
            ("110000000d0000000200 000161 030562 ff", 13, "element 1 runs 4 bytes past the end of the ziplist"),
            ("110000000d0000000200 000161 03e001 ff", 13, "element 1 runs 7 bytes past the end of the ziplist"),
            ("140000000d0000000200 000161 0380ffffffff ff", 13,
                "element 1 runs 4294967295 bytes past the end of the ziplist"),
        ];
        for (dump, at, what) in rows {
            let e = both(&hex(dump)).unwrap_err();
            assert_eq!((e.what(), e.offset()), (*what, Some(*at as u64)), "{dump}");
            assert_eq!(e.kind(), crate::ErrorKind::Corrupt, "{dump}");
        }
    }

    #[test]
    fn offsets_and_counts_on_the_way() {
        let bytes = hex("160000001300000004000001660301760301 6e03f8ff");
        let mut iter = Iter::new(Blob {
            bytes: &bytes,
            origin: Origin::Lzf(5),
        })
        .unwrap();
        let mut offsets = vec![iter.offset()];
        while iter.next_element().unwrap().is_some() {
            offsets.push(iter.offset());
        }
        assert_eq!(offsets, [10, 13, 16, 19, 21]);
        assert_eq!(
            (iter.declared_len(), iter.origin()),
            (Some(4), Origin::Lzf(5))
        );
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
    fn damage_is_an_error_or_another_ziplist() {
        let text = [b'z'; 70];
        let wide = [b'z'; 260];
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
        // Text and numbers can change unseen; the frame, heads and previous sizes cannot.
        assert!(noticed > 9_000, "{noticed}");
    }
}
