//! A buffer on disk, for the rare value on a pipe that is too large to wait for in memory.
//!
//! Some values must be there as a whole before the first byte of their JSON can be written (is a string UTF-8 to its end? what
//! stands behind the nodes of a stream?). In a mapped file they are; on a pipe they are gathered, and beyond some size in a file
//! without a name, which is gone with the process.

use super::file;
use crate::error::{RdbError, Result};
use memmap2::Mmap;
use std::fs::File;
use std::io::{Read, Write};

/// Bytes in a temporary file, mapped.
#[derive(Debug)]
pub(super) struct Spill {
    file: File,
    map: Mmap,
}

impl Spill {
    /// A file that begins with `bytes`.
    pub(super) fn new(bytes: &[u8]) -> Result<Spill> {
        let make = || -> std::io::Result<Spill> {
            let mut file = tempfile::tempfile()?;
            file.write_all(bytes)?;
            let map = file::map(&file)?;
            Ok(Spill { file, map })
        };
        make().map_err(RdbError::no_room)
    }

    /// Adds up to `n` bytes from `reader`; gives how many there were.
    pub(super) fn extend(&mut self, reader: &mut dyn Read, n: u64) -> Result<u64> {
        let got = std::io::copy(&mut reader.take(n), &mut self.file).map_err(RdbError::no_room)?;
        self.map = file::map(&self.file).map_err(RdbError::no_room)?;
        Ok(got)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The memory; the file stays as long as it does.
    pub(super) fn into_map(self) -> Mmap {
        self.map
    }
}
