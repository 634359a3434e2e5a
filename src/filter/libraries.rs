//! Function libraries that would be there twice: the masters of a cluster all have the same ones.
//!
//! A server that finds a library twice in a file does not start, and refuses a second one of the same name.

use crate::error::{RdbError, Result, quote};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The libraries there have been.
#[derive(Debug)]
pub struct Libraries {
    /// A hash of each one's code, by name.
    seen: Mutex<HashMap<Vec<u8>, u64>>,
    hasher: RandomState,
    refuse: bool,
    left_out: AtomicU64,
}

impl Libraries {
    /// None yet. `refuse` says that one with the name of another and other code is an error; or else it is left out, and counted.
    pub fn new(refuse: bool) -> Self {
        Libraries {
            seen: Mutex::default(),
            hasher: RandomState::new(),
            refuse,
            left_out: AtomicU64::new(0),
        }
    }

    /// Whether a library has not been there yet.
    pub fn is_new(&self, code: &[u8], offset: u64) -> Result<bool> {
        let hash = self.hasher.hash_one(code);
        let line = code.split(|&b| b == b'\n').next().unwrap_or_default();
        let mut words = line.split(|&b| b == b' ' || b == b'\r');
        let name = words.find_map(|w| w.strip_prefix(b"name=")).unwrap_or(line);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get(name) {
            None => {
                seen.insert(name.to_vec(), hash);
                Ok(true)
            }
            Some(&other) if other == hash => Ok(false),
            Some(_) if self.refuse => Err(RdbError::conflict(
                offset,
                format!("library {} is there already, with other code", quote(name)),
            )),
            Some(_) => {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                Ok(false)
            }
        }
    }

    /// How many were left out.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_and_code() {
        let one = b"#!lua name=one\nreturn 1";
        let other = b"#!lua name=one\r\nreturn 2";
        let skipping = Libraries::new(false);
        assert!(skipping.is_new(one, 9).unwrap());
        assert!(!skipping.is_new(one, 19).unwrap());
        assert_eq!(skipping.left_out(), 0);
        assert!(!skipping.is_new(other, 29).unwrap());
        assert_eq!(skipping.left_out(), 1);
        assert!(skipping.is_new(b"#!lua name=two\n", 39).unwrap());

        let refusing = Libraries::new(true);
        assert!(refusing.is_new(one, 9).unwrap());
        assert!(!refusing.is_new(one, 19).unwrap());
        let e = refusing.is_new(other, 29).unwrap_err();
        assert!(
            e.to_string().contains("library \"one\" is there already"),
            "{e}"
        );
    }
}
