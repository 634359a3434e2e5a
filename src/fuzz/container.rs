//! Strings, and the blobs that have a layout of their own.

use super::{BASE, assert_inside};
use crate::cursor::Cursor;
use crate::error::Result;
use crate::rdb::length::{self, Length};
use crate::rdb::lzf::{self, Pieces};
use crate::rdb::packed::{self, Blob, Element, Origin};
use crate::rdb::skip;
use crate::rdb::string::{self, Form, RdbStr, Scratch};

/// A listpack.
pub fn listpack(bytes: &[u8]) {
    use packed::listpack::{Iter, count};
    let n = walk(bytes, Iter::new, Iter::offset, Iter::declared_len);
    if let Some(n) = n {
        assert_eq!(count(Blob::in_file(bytes, BASE)).ok(), Some(n));
    }
}

/// A ziplist.
pub fn ziplist(bytes: &[u8]) {
    use packed::ziplist::{Iter, count};
    let n = walk(bytes, Iter::new, Iter::offset, Iter::declared_len);
    if let Some(n) = n {
        assert_eq!(count(Blob::in_file(bytes, BASE)).ok(), Some(n));
    }
}

/// An intset.
pub fn intset(bytes: &[u8]) {
    use packed::intset::Iter;
    walk(bytes, Iter::new, Iter::offset, Iter::declared_len);
    if let Ok(iter) = Iter::new(Blob::in_file(bytes, BASE)) {
        let ascends = iter
            .map_while(Result::ok)
            .map(|e| match e {
                Element::Int(n) => n,
                Element::Bytes(_) => panic!("a string in an intset"),
            })
            .is_sorted_by(|a, b| a < b);
        assert!(ascends);
    }
}

/// A zipmap.
pub fn zipmap(bytes: &[u8]) {
    use packed::zipmap::Iter;
    let n = walk(bytes, Iter::new, Iter::offset, |i| {
        i.declared_len().map(|n| 2 * n)
    });
    assert!(n.is_none_or(|n| n % 2 == 0), "a field without a value");
}

/// Walks a blob; gives the number of elements, if all is well with it.
fn walk<'a, I: Iterator<Item = Result<Element<'a>>>>(
    bytes: &'a [u8],
    new: impl Fn(Blob<'a>) -> Result<I>,
    offset: impl Fn(&I) -> usize,
    declared: impl Fn(&I) -> Option<usize>,
) -> Option<usize> {
    let found = walk_one(bytes, new(Blob::in_file(bytes, BASE)), &offset, &declared);
    // Inside LZF data there is one offset in the file and one in the data.
    let inside = Blob {
        bytes,
        origin: Origin::Lzf(BASE),
    };
    let again = walk_one(bytes, new(inside), &offset, &declared);
    assert_eq!(found, again);
    found
}

fn walk_one<'a, I: Iterator<Item = Result<Element<'a>>>>(
    bytes: &'a [u8],
    iter: Result<I>,
    offset: impl Fn(&I) -> usize,
    declared: impl Fn(&I) -> Option<usize>,
) -> Option<usize> {
    let check = |e| {
        let e: crate::RdbError = e;
        match e.lzf_offset() {
            Some(at) => assert!(e.offset() == Some(BASE) && at <= bytes.len() as u64, "{e}"),
            None => assert_inside(&e, BASE, bytes),
        }
    };
    let mut iter = match iter {
        Ok(iter) => iter,
        Err(e) => {
            check(e);
            return None;
        }
    };
    let declared = declared(&iter);
    let range = bytes.as_ptr_range();
    let mut n = 0;
    let mut last = 0;
    let found = loop {
        let at = offset(&iter);
        assert!(at >= last && at <= bytes.len(), "{at} after {last}");
        last = at;
        match iter.next() {
            Some(Ok(element)) => {
                if let Element::Bytes(b) = element {
                    let part = b.as_ptr_range();
                    assert!(b.is_empty() || range.start <= part.start && part.end <= range.end);
                }
                n += 1;
                assert!(n <= bytes.len(), "an endless walk");
            }
            Some(Err(e)) => {
                check(e);
                break None;
            }
            None => {
                assert!(declared.is_none_or(|d| d == n), "{n}, not {declared:?}");
                break Some(n);
            }
        }
    };
    for _ in 0..3 {
        assert!(iter.next().is_none(), "more after the end or an error");
    }
    found
}

/// A size as the file claims it, then LZF data: all at once and in pieces gives the same.
pub fn lzf(bytes: &[u8]) {
    let Some((&len, data)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let len = u64::from(u32::from_le_bytes(len));
    if len > data.len() as u64 * lzf::MAX_RATIO {
        // Such a string is refused before it comes to that.
        return;
    }
    both_ways(data, len as usize);
}

/// Decompresses at once and in pieces; gives whether the data is sound.
fn both_ways(data: &[u8], len: usize) -> bool {
    let mut scratch = Scratch::new();
    let whole = lzf::decompress(data, len, &mut scratch);
    if let Err(e) = &whole {
        assert!(e.at <= data.len(), "{e:?} in {} bytes", data.len());
    }
    let mut pieces = Pieces::new(data, len);
    let mut done = 0;
    let sound = loop {
        match pieces.next_piece() {
            Ok(Some(piece)) => {
                if let Ok(whole) = whole {
                    assert_eq!(whole.get(done..done + piece.len()), Some(piece));
                }
                done += piece.len();
                assert!(done <= len, "{done} of {len} bytes");
            }
            Ok(None) => break true,
            Err(e) => {
                assert!(e.at <= data.len(), "{e:?} in {} bytes", data.len());
                break false;
            }
        }
    };
    assert_eq!(whole.is_ok(), sound, "{whole:?}");
    assert!(!sound || done == len);
    sound
}

/// A length or a string: reading it and passing over it end at the same place.
pub fn string(bytes: &[u8]) {
    let cursor = Cursor::new(bytes, BASE);
    let mut c = cursor;
    match length::read_form(&mut c) {
        Ok(Length::Len(n)) => {
            let mut shortest = Vec::new();
            length::write(n, &mut shortest);
            assert!(shortest.len() <= c.position());
            let mut again = Cursor::new(&shortest, 0);
            assert_eq!(length::read(&mut again, "a length").ok(), Some(n));
            assert!(again.is_empty());
        }
        Ok(Length::Special(form)) => assert!(form < 64 && c.position() == 1),
        Err(e) => assert_inside(&e, BASE, bytes),
    }
    let (mut a, mut b, mut c) = (cursor, cursor, cursor);
    let read = RdbStr::read(&mut a);
    let skipped = skip::skip_str(&mut b);
    let sized = string::skip(&mut c);
    match (read, skipped, sized) {
        (Ok(s), Ok(()), Ok(_)) => {
            assert_eq!((a.position(), a.position()), (b.position(), c.position()));
            text(&s, bytes);
        }
        (Err(a), Err(b), Err(c)) => {
            for e in [&a, &b, &c] {
                assert_inside(e, BASE, bytes);
            }
            assert_eq!((a.kind(), a.kind()), (b.kind(), c.kind()));
        }
        (a, b, c) => panic!("read {a:?}, passed over {b:?} and {c:?}"),
    }
}

/// What a string read from `bytes` (at [`BASE`]) says of itself is true.
fn text(s: &RdbStr<'_>, bytes: &[u8]) {
    let mut scratch = Scratch::new();
    let sound = match s.form() {
        Form::Lzf { data, len } => both_ways(data, len),
        Form::Raw(_) | Form::Int(_) => true,
    };
    match s.as_bytes(&mut scratch) {
        Ok(b) => {
            assert!(sound);
            assert_eq!(b.len(), s.len());
            assert_eq!(b.is_empty(), s.is_empty());
            let b = b.to_vec();
            let mut other = Scratch::new();
            let mut of_element = Vec::new();
            match s.as_element(&mut other) {
                Ok(e) => e.append_to(&mut of_element),
                Err(e) => panic!("{e}"),
            }
            assert_eq!(b, of_element);
        }
        Err(e) => {
            assert!(!sound, "{e}");
            assert_inside(&e, BASE, bytes);
        }
    }
}
