//! Keys that would be there twice: several sources into one, databases or names that become one.
//!
//! A server that finds a key twice in a file does not start, and commands would add to what the first had. So when sources are
//! merged, every key is remembered: 16 bytes of hash, which is the one thing here that grows with the number of keys.

use crate::error::{RdbError, Result, quote};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
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

/// The keys there have been.
#[derive(Debug)]
pub struct Unique {
    seen: Mutex<HashSet<u128>>,
    hashers: [RandomState; 2],
    refuse: bool,
    twice: AtomicU64,
}

impl Unique {
    /// None yet. `refuse` says that a key that is there twice is an error.
    pub fn new(refuse: bool) -> Self {
        Unique {
            seen: Mutex::default(),
            hashers: [RandomState::new(), RandomState::new()],
            refuse,
            twice: AtomicU64::new(0),
        }
    }

    /// Whether this is the first of its name in its database.
    pub fn is_first(&self, db: u64, key: &[u8], offset: u64) -> Result<bool> {
        let [a, b] = &self.hashers;
        let hash = u128::from(a.hash_one((db, key))) << 64 | u128::from(b.hash_one((db, key)));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(hash) {
            return Ok(true);
        }
        if self.refuse {
            return Err(RdbError::conflict(
                offset,
                format!("key {} is in database {db} already", quote(key)),
            ));
        }
        self.twice.fetch_add(1, Ordering::Relaxed);
        Ok(false)
    }

    /// How many were left out.
    pub fn left_out(&self) -> u64 {
        self.twice.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
