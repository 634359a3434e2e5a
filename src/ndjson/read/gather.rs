//! Bytes whose number must be known before the first of them can be written: in memory, or, of more than some MiB, on disk.
//!
//! ```text
//!   LEN n | element element element ...
//!         ^ gathered here, while they are counted
//! ```

use crate::error::{RdbError, Result};
use crate::rdb::length;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

/// Where bytes of a text go as they are read.
pub(super) trait Sink {
    /// Takes the next bytes.
    fn put(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Keeps nothing.
pub(super) struct Nothing;

impl Sink for Nothing {
    fn put(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// So many bytes stay in memory whatever the limit: the texts of numbers do.
const LEAST: usize = 64;

/// Bytes that are being gathered.
#[derive(Debug)]
pub(super) struct Gather {
    /// Those at the end.
    memory: Vec<u8>,
    /// Those before them, in a file without a name.
    disk: Option<File>,
    on_disk: u64,
    /// How many stay in memory at the most.
    limit: usize,
}

impl Sink for Gather {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.memory.len() + bytes.len() > self.limit {
            self.spill()?;
        }
        self.memory.extend_from_slice(bytes);
        Ok(())
    }
}

impl Gather {
    /// Nothing yet; of what comes at most about `limit` bytes stay in memory.
    pub(super) fn new(limit: usize) -> Self {
        Gather {
            memory: Vec::new(),
            disk: None,
            on_disk: 0,
            limit: limit.max(LEAST),
        }
    }

    #[cold]
    fn spill(&mut self) -> Result<()> {
        let mut write = || {
            let file = match &mut self.disk {
                Some(file) => file,
                none => none.insert(tempfile::tempfile()?),
            };
            file.write_all(&self.memory)
        };
        write().map_err(RdbError::no_room)?;
        self.on_disk += self.memory.len() as u64;
        self.memory.clear();
        Ok(())
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> u64 {
        self.on_disk + self.memory.len() as u64
    }

    /// Forgets them.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.memory.clear();
        if self.disk.is_some() {
            self.disk = None;
            self.on_disk = 0;
        }
    }

    /// The bytes, unless some are on disk.
    #[inline]
    pub(super) fn in_memory(&self) -> Option<&[u8]> {
        match self.disk {
            None => Some(&self.memory),
            Some(_) => None,
        }
    }

    /// Adds a length.
    #[inline]
    pub(super) fn length(&mut self, n: u64) {
        length::write(n, &mut self.memory);
    }

    /// Adds a string: its length and its bytes.
    #[inline]
    pub(super) fn string(&mut self, bytes: &[u8]) -> Result<()> {
        self.length(bytes.len() as u64);
        self.put(bytes)
    }

    /// Adds all the bytes of another, as a string.
    #[inline]
    pub(super) fn string_of(&mut self, other: &mut Gather) -> Result<()> {
        self.length(other.len());
        self.all_of(other)
    }

    /// Adds all the bytes of another, which is left as it is.
    pub(super) fn all_of(&mut self, other: &mut Gather) -> Result<()> {
        if let Some(from) = &mut other.disk {
            self.spill()?;
            let mut copy = || {
                from.seek(SeekFrom::Start(0))?;
                match &mut self.disk {
                    Some(to) => std::io::copy(from, to),
                    None => Ok(0),
                }
            };
            self.on_disk += copy().map_err(RdbError::no_room)?;
        }
        self.put(&other.memory)
    }

    /// Reads them from the first.
    pub(super) fn reader(&mut self) -> Result<Box<dyn Read + Send + '_>> {
        Ok(match &mut self.disk {
            None => Box::new(&self.memory[..]),
            Some(file) => {
                rewind(file)?;
                Box::new((&*file).chain(&self.memory[..]))
            }
        })
    }

    /// Appends them to `out`, or, where some are on disk, behind what is in `more` already.
    pub(super) fn give(
        &mut self,
        out: &mut Vec<u8>,
        more: &mut Option<Box<dyn Read + Send>>,
    ) -> Result<()> {
        if more.is_none() && self.disk.is_none() {
            out.extend_from_slice(&self.memory);
            return Ok(());
        }
        let memory = std::io::Cursor::new(std::mem::take(&mut self.memory));
        let mine: Box<dyn Read + Send> = match self.disk.take() {
            None => Box::new(memory),
            Some(mut file) => {
                rewind(&mut file)?;
                Box::new(file.chain(memory))
            }
        };
        self.on_disk = 0;
        *more = Some(match more.take() {
            None => mine,
            Some(before) => Box::new(before.chain(mine)),
        });
        Ok(())
    }
}

fn rewind(file: &mut File) -> Result<()> {
    file.seek(SeekFrom::Start(0))
        .map(drop)
        .map_err(|e| RdbError::io("cannot read a temporary file", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_memory_and_on_disk_are_the_same_bytes() {
        for limit in [1, 7, 1000] {
            let (mut a, mut b) = (Gather::new(limit), Gather::new(limit));
            let mut want = Vec::new();
            for i in 0..100u8 {
                a.put(&[i; 3]).unwrap();
                b.string(&[i, i]).unwrap();
                want.extend([i; 3]);
            }
            want.extend((0..100).flat_map(|i| [2, i, i]));
            a.all_of(&mut b).unwrap();
            assert_eq!(a.len(), want.len() as u64);
            let mut read = Vec::new();
            a.reader().unwrap().read_to_end(&mut read).unwrap();
            assert!(read == want);
            let (mut out, mut more) = (Vec::new(), None);
            a.give(&mut out, &mut more).unwrap();
            b.give(&mut out, &mut more).unwrap();
            if let Some(mut more) = more {
                more.read_to_end(&mut out).unwrap();
            }
            want.extend((0..100).flat_map(|i| [2, i, i]));
            assert!(out == want);
            a.clear();
            assert_eq!((a.len(), a.in_memory()), (0, Some(&b""[..])));
        }
    }
}
