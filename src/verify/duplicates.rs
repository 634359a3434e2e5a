//! Does a name occur twice? By 64-bit hashes in an open-addressing table that is used again for every value.
//!
//! ```text
//!   names of a value ──► hashes ──► a hash twice? ──► walk again, compare bytes ──► it does
//!
//!   names of a part  ──► two hashes each ──► table of the whole giant value, under its lock
//! ```
//!
//! The hashes are seeded at random, so that no file can be made to collide. A value that lies in one batch is confirmed by
//! comparing the bytes. The parts of a giant value are never in memory together; there 128 bits have to agree.

use crate::error::Result;
use crate::rdb::packed::Element;
use std::hash::{BuildHasher, RandomState};

/// Names are compared in values of at most so many. The table of a giant value grows to 32 MiB.
pub(super) const MAX_NAMES: usize = 1 << 20;

/// Up to so many hashes are compared each with each.
const FEW: usize = 8;
/// A buffer of more numbers than this is not kept for the next value.
const KEEP: usize = 1 << 16;
/// So many suspects are looked into; already the second is a once in a lifetime event, unless it is no false alarm.
const SUSPECTS: usize = 16;

/// What the hashes depend on; the same for all workers of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seeds([u64; 4]);

impl Seeds {
    pub(super) fn random() -> Self {
        let state = RandomState::new();
        Seeds([0u8, 1, 2, 3].map(|i| state.hash_one(i)))
    }

    #[inline]
    fn first(&self, bytes: &[u8]) -> u64 {
        hash(self.0[0], self.0[1], bytes)
    }

    #[inline]
    fn second(&self, bytes: &[u8]) -> u64 {
        hash(self.0[2], self.0[3], bytes)
    }
}

/// Multiplies to 128 bits and folds the halves.
#[inline]
fn fold(x: u64, y: u64) -> u64 {
    let p = u128::from(x) * u128::from(y);
    p as u64 ^ (p >> 64) as u64
}

#[inline]
fn hash(s: u64, t: u64, bytes: &[u8]) -> u64 {
    let mut s = s;
    let (a, b) = match (
        bytes.first_chunk::<8>(),
        bytes.last_chunk::<8>(),
        bytes.first_chunk::<4>(),
        bytes.last_chunk::<4>(),
    ) {
        (Some(first), Some(last), ..) => {
            if bytes.len() > 16 {
                for c in bytes.as_chunks::<16>().0 {
                    let n = u128::from_le_bytes(*c);
                    s = fold(n as u64 ^ s, (n >> 64) as u64 ^ t);
                }
                // What the whole chunks have left over is in the last 16 bytes.
                let end = bytes
                    .last_chunk::<16>()
                    .map_or(0, |c| u128::from_le_bytes(*c));
                (end as u64, (end >> 64) as u64)
            } else {
                (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
            }
        }
        (.., Some(first), Some(last)) => (
            u32::from_le_bytes(*first).into(),
            u32::from_le_bytes(*last).into(),
        ),
        _ => match *bytes {
            [a] => (a.into(), 0),
            [a, b] => (a.into(), b.into()),
            [a, b, c] => (u64::from(a) << 8 | u64::from(b), c.into()),
            _ => (0, 0),
        },
    };
    fold(fold(a ^ s, b ^ t) ^ t, s ^ bytes.len() as u64)
}

/// Calls `f` with the bytes of an element, an integer's text included.
#[inline]
pub(super) fn with_text<T>(e: Element<'_>, f: impl FnOnce(&[u8]) -> T) -> T {
    match e {
        Element::Bytes(b) => f(b),
        Element::Int(n) => f(itoa::Buffer::new().format(n).as_bytes()),
    }
}

/// The names of one value, or of a part of one.
#[derive(Debug)]
pub(super) struct Names {
    seeds: Seeds,
    hashes: Vec<u64>,
    /// Of a part of a giant value: the second hashes.
    seconds: Vec<u64>,
    table: Vec<u64>,
    /// How many names there were, gathered or not.
    count: usize,
}

impl Names {
    pub(super) fn new(seeds: Seeds) -> Self {
        Names {
            seeds,
            hashes: Vec::new(),
            seconds: Vec::new(),
            table: Vec::new(),
            count: 0,
        }
    }

    /// Begins the next value.
    pub(super) fn clear(&mut self) {
        for v in [&mut self.hashes, &mut self.seconds, &mut self.table] {
            if v.capacity() > KEEP {
                *v = Vec::new();
            }
        }
        self.hashes.clear();
        self.seconds.clear();
        self.count = 0;
    }

    /// One more name of a value.
    #[inline]
    pub(super) fn add(&mut self, e: Element<'_>) {
        self.count += 1;
        if self.count <= MAX_NAMES {
            self.hashes.push(with_text(e, |b| self.seeds.first(b)));
        }
    }

    /// One more name of a part of a giant value.
    #[inline]
    pub(super) fn add_wide(&mut self, e: Element<'_>) {
        self.count += 1;
        if self.count <= MAX_NAMES {
            let (first, second) = with_text(e, |b| (self.seeds.first(b), self.seeds.second(b)));
            self.hashes.push(first);
            self.seconds.push(second);
        }
    }

    /// Whether there were more names than are compared.
    pub(super) fn is_over(&self) -> bool {
        self.count > MAX_NAMES
    }

    /// Hashes that occur twice: nearly always none.
    pub(super) fn suspects(&mut self) -> Vec<u64> {
        let mut suspects = Vec::new();
        let hashes = &self.hashes;
        if hashes.len() <= FEW {
            for (i, h) in hashes.iter().enumerate() {
                if hashes.iter().take(i).any(|g| g == h) {
                    suspects.push(*h);
                }
            }
            return suspects;
        }
        let size = (hashes.len() * 2).next_power_of_two();
        if self.table.len() < size {
            self.table.resize(size, 0);
        }
        let Some(table) = self.table.get_mut(..size) else {
            return suspects;
        };
        table.fill(0);
        for &h in hashes {
            // 0 is an empty place; two hashes share the number 1.
            let h = h.max(1);
            let mut at = h as usize & (size - 1);
            // At most half of the places are taken, so the walk ends.
            while table[at] != 0 {
                if table[at] == h {
                    if suspects.len() < SUSPECTS {
                        suspects.push(h);
                    }
                    break;
                }
                at = (at + 1) & (size - 1);
            }
            table[at] = h;
        }
        suspects
    }

    /// Walks the names again and gives one that really occurs twice.
    pub(super) fn confirm(
        &self,
        suspects: &[u64],
        walk: impl FnOnce(&mut dyn FnMut(Element<'_>) -> Result<()>) -> Result<()>,
    ) -> Result<Option<Vec<u8>>> {
        let mut seen: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut found = None;
        walk(&mut |e| {
            with_text(e, |b| {
                let h = self.seeds.first(b);
                if found.is_some() || !(suspects.contains(&h) || suspects.contains(&h.max(1))) {
                    return;
                }
                if seen.iter().any(|(g, name)| *g == h && name == b) {
                    found = Some(b.to_vec());
                } else if seen.len() < 2 * SUSPECTS {
                    seen.push((h, b.to_vec()));
                }
            });
            Ok(())
        })?;
        Ok(found)
    }

    /// Puts the names of a part into the table of its value; gives both hashes of one that was there already.
    pub(super) fn put_into(&self, table: &mut Wide) -> Option<(u64, u64)> {
        if self.is_over() {
            table.give_up();
        }
        let mut twice = None;
        for (&a, &b) in self.hashes.iter().zip(&self.seconds) {
            if table.insert(a, b) {
                twice = twice.or(Some((a, b)));
            }
        }
        twice
    }

    /// Whether a name has these hashes.
    pub(super) fn is(&self, e: Element<'_>, hashes: (u64, u64)) -> bool {
        with_text(e, |b| (self.seeds.first(b), self.seeds.second(b)) == hashes)
    }
}

/// The names of a giant value, gathered from its parts.
#[derive(Debug, Default)]
pub(super) struct Wide {
    /// (0, 0) is an empty place.
    places: Vec<(u64, u64)>,
    len: usize,
    over: bool,
}

impl Wide {
    /// Whether there are more names than are compared.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    fn give_up(&mut self) {
        *self = Wide {
            over: true,
            ..Wide::default()
        };
    }

    /// Gives whether it was there already.
    fn insert(&mut self, a: u64, b: u64) -> bool {
        if self.len >= MAX_NAMES {
            self.give_up();
        }
        if self.over {
            return false;
        }
        if self.len * 2 >= self.places.len() {
            let bigger = vec![(0, 0); (self.places.len() * 4).max(1 << 11)];
            for (a, b) in std::mem::replace(&mut self.places, bigger) {
                if (a, b) != (0, 0) {
                    let at = self.place(a, b);
                    self.places[at] = (a, b);
                }
            }
        }
        let name = if (a, b) == (0, 0) { (0, 1) } else { (a, b) };
        let at = self.place(name.0, name.1);
        if self.places[at] == name {
            return true;
        }
        self.places[at] = name;
        self.len += 1;
        false
    }

    /// Where it is, or where it may go. At most half of the places are taken, and their number is a power of two.
    fn place(&self, a: u64, b: u64) -> usize {
        let mask = self.places.len() - 1;
        let mut at = a as usize & mask;
        while self.places[at] != (0, 0) && self.places[at] != (a, b) {
            at = (at + 1) & mask;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[Element<'_>]) -> Option<Vec<u8>> {
        let mut names = Names::new(Seeds::random());
        names.clear();
        list.iter().for_each(|e| names.add(*e));
        let suspects = names.suspects();
        if suspects.is_empty() {
            return None;
        }
        names
            .confirm(&suspects, |f| list.iter().try_for_each(|e| f(*e)))
            .unwrap()
    }

    #[test]
    fn a_name_twice_is_found_at_any_size() {
        for n in [2, 7, 8, 9, 64, 1000, 70_000] {
            let mut list: Vec<_> = (0..n).map(Element::Int).collect();
            assert_eq!(names(&list), None, "{n}");
            // The same text, once as an integer and once as bytes.
            let text = (n / 2).to_string();
            list.push(Element::Bytes(text.as_bytes()));
            assert_eq!(names(&list), Some(text.clone().into_bytes()), "{n}");
        }
    }

    #[test]
    fn every_length_and_every_byte_counts() {
        let seeds = Seeds::random();
        let mut seen = std::collections::HashSet::new();
        for len in 0..70 {
            let mut bytes = vec![b'a'; len];
            assert!(seen.insert(seeds.first(&bytes)), "{len}");
            for i in 0..len {
                bytes[i] = b'b';
                assert!(seen.insert(seeds.first(&bytes)), "{len} {i}");
                bytes[i] = b'a';
            }
        }
    }

    #[test]
    fn suspects_are_not_taken_at_their_word() {
        let list = [Element::Bytes(b"a"), Element::Bytes(b"b")];
        let names = Names::new(Seeds::random());
        let suspects = [names.seeds.first(b"a"), names.seeds.first(b"b")];
        let found = names.confirm(&suspects, |f| list.iter().try_for_each(|e| f(*e)));
        assert_eq!(found.unwrap(), None);
    }

    #[test]
    fn names_across_parts() {
        let mut names = Names::new(Seeds::random());
        let mut table = Wide::default();
        for part in 0..20 {
            names.clear();
            for i in 0..1000 {
                names.add_wide(Element::Int(part * 1000 + i));
            }
            assert_eq!(names.put_into(&mut table), None, "{part}");
        }
        names.clear();
        names.add_wide(Element::Int(70_000));
        names.add_wide(Element::Bytes(b"12345"));
        let hashes = names.put_into(&mut table).expect("12345 is there");
        assert!(names.is(Element::Int(12345), hashes));
        assert!(!names.is(Element::Int(70_000), hashes));
    }

    #[test]
    fn too_many_names_are_given_up() {
        let mut names = Names::new(Seeds::random());
        let mut table = Wide::default();
        for part in 0..3 {
            names.clear();
            for i in 0..MAX_NAMES as i64 / 2 {
                names.add_wide(Element::Int(part * MAX_NAMES as i64 + i));
            }
            assert_eq!(names.put_into(&mut table), None);
            assert_eq!(table.is_over(), part == 2);
        }
        assert!(table.places.is_empty());
    }
}
