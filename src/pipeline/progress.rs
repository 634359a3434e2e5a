//! How far a run is: counters that workers add to and whoever draws a bar reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counters of a run; of several sources one after the other.
#[derive(Debug, Default)]
pub struct Progress {
    source: Mutex<(String, Option<u64>)>,
    read: AtomicU64,
    input: AtomicU64,
    keys: AtomicU64,
}

impl Progress {
    /// All at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// A source is begun; the bytes start again at zero.
    pub(crate) fn begin(&self, name: &str, size: Option<u64>) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = (name.to_owned(), size);
        self.read.store(0, Ordering::Relaxed);
        self.input.store(0, Ordering::Relaxed);
    }

    /// What counts the stored bytes of a stream or a compressed file.
    pub(crate) fn read(&self) -> &AtomicU64 {
        &self.read
    }

    pub(crate) fn add(&self, keys: u64, input: u64, stored: bool) {
        self.keys.fetch_add(keys, Ordering::Relaxed);
        self.input.fetch_add(input, Ordering::Relaxed);
        if stored {
            self.read.fetch_add(input, Ordering::Relaxed);
        }
    }

    /// The source being read and its size as stored, if known.
    pub fn source(&self) -> (String, Option<u64>) {
        self.source
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Bytes of the source read so far, as stored (compressed, that is, if it is).
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes of RDB of this source done with, unpacked.
    pub fn bytes_of_file(&self) -> u64 {
        self.input.load(Ordering::Relaxed)
    }

    /// Keys encoded so far, of all sources.
    pub fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }
}
