//! Keys that would be there twice: several sources into one, databases or names that become one.
//!
//! A server that finds a key twice in a file does not start, and commands would add to what the first had. So when sources are
//! merged, every key is remembered: 16 bytes of hash and its source, which is the one thing here that grows with the number of keys.

use crate::error::{RdbError, Result, quote};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is done with a key that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// The run ends.
    #[default]
    Error,
    /// The later one is what counts.
    Replace,
    /// The later one is left out, and counted.
    Skip,
}

/// Is told the database and the name of each key that is there already.
pub type Told = Box<dyn FnMut(u64, &[u8]) -> Result<()> + Send>;

/// Who has brought a key.
#[derive(Clone, Copy)]
struct Owner {
    /// The number of the source.
    source: u32,
    /// Whether the key itself has been there, and not only a command about it: which of them is seen first is up to the threads.
    has_come: bool,
}

/// The keys there have been.
pub struct Unique {
    seen: Mutex<HashMap<u128, Owner>>,
    source: AtomicU32,
    hashers: [RandomState; 2],
    refuse: bool,
    twice: AtomicU64,
    told: Option<Mutex<Told>>,
}

impl std::fmt::Debug for Unique {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unique")
            .field("twice", &self.twice)
            .finish_non_exhaustive()
    }
}

impl Unique {
    /// None yet. `refuse` says that a key that is there twice is an error.
    pub fn new(refuse: bool) -> Self {
        Unique {
            seen: Mutex::default(),
            source: AtomicU32::new(0),
            hashers: [RandomState::new(), RandomState::new()],
            refuse,
            twice: AtomicU64::new(0),
            told: None,
        }
    }

    /// None yet, and `told` is told of each that comes again.
    pub fn telling(told: Told) -> Self {
        Unique {
            told: Some(Mutex::new(told)),
            ..Unique::new(false)
        }
    }

    /// What comes now is of another source.
    pub fn next_source(&self) {
        self.source.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the key is this source's: nobody else's, and if it comes itself, for the first time.
    fn take(&self, db: u64, key: &[u8], comes: bool) -> bool {
        let [a, b] = &self.hashers;
        let hash = u128::from(a.hash_one((db, key))) << 64 | u128::from(b.hash_one((db, key)));
        let source = self.source.load(Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.entry(hash) {
            Entry::Occupied(mut e) => {
                let owner = e.get_mut();
                let is_ours = owner.source == source && !(comes && owner.has_come);
                owner.has_come |= is_ours && comes;
                is_ours
            }
            Entry::Vacant(e) => {
                e.insert(Owner {
                    source,
                    has_come: comes,
                });
                true
            }
        }
    }

    /// Whether this is the first of its name in its database.
    pub fn is_first(&self, db: u64, key: &[u8], offset: u64) -> Result<bool> {
        match self.take(db, key, true) {
            true => Ok(true),
            false => self.again(db, key, offset).map(|()| false),
        }
    }

    /// Whether a key that a command of a log is about is of no other source. It may be of this one.
    pub fn is_ours(&self, db: u64, key: &[u8], offset: u64) -> Result<bool> {
        match self.take(db, key, false) {
            true => Ok(true),
            false => self.again(db, key, offset).map(|()| false),
        }
    }

    #[cold]
    fn again(&self, db: u64, key: &[u8], offset: u64) -> Result<()> {
        if self.refuse {
            return Err(RdbError::conflict(
                offset,
                format!("key {} is in database {db} already", quote(key)),
            ));
        }
        self.twice.fetch_add(1, Ordering::Relaxed);
        if let Some(told) = &self.told {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told(db, key)?;
        }
        Ok(())
    }

    /// How many were left out.
    pub fn left_out(&self) -> u64 {
        self.twice.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log's keys and commands about them, in whatever order threads come to them.
    #[test]
    fn keys_and_commands_of_one_source() {
        let u = Unique::new(false);
        u.next_source();
        assert!(u.is_ours(0, b"a", 9).unwrap());
        assert!(u.is_first(0, b"a", 1).unwrap());
        assert!(u.is_ours(0, b"a", 8).unwrap());
        assert!(!u.is_first(0, b"a", 2).unwrap());
        assert!(u.is_first(0, b"b", 3).unwrap());
        assert!(u.is_ours(0, b"b", 7).unwrap());
        assert_eq!(u.left_out(), 1);
        u.next_source();
        assert!(!u.is_ours(0, b"a", 9).unwrap());
        assert!(!u.is_first(0, b"b", 1).unwrap());
        assert_eq!(u.left_out(), 3);
    }

    #[test]
    fn by_database_and_name() {
        let skipping = Unique::new(false);
        assert!(skipping.is_first(0, b"a", 9).unwrap());
        assert!(skipping.is_first(1, b"a", 9).unwrap());
        assert!(!skipping.is_first(0, b"a", 9).unwrap());
        assert_eq!(skipping.left_out(), 1);
        let refusing = Unique::new(true);
        assert!(refusing.is_first(0, b"a", 9).unwrap());
        let e = refusing.is_first(0, b"a", 9).unwrap_err();
        assert!(e.to_string().contains("key \"a\""), "{e}");
        let list = std::sync::Arc::new(Mutex::new(Vec::new()));
        let to = list.clone();
        let telling = Unique::telling(Box::new(move |db, key| {
            to.lock().unwrap().push((db, key.to_vec()));
            Ok(())
        }));
        for key in [&b"a"[..], b"b", b"a", b"a"] {
            telling.is_first(2, key, 9).unwrap();
        }
        assert_eq!(
            *list.lock().unwrap(),
            [(2, b"a".to_vec()), (2, b"a".to_vec())]
        );
    }
}
