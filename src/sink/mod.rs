//! Ordered bytes to somewhere.

pub mod dir;
pub mod file;
pub mod lanes;

use crate::error::{RdbError, Result};
use std::io::Write;

/// Takes the output, in order.
pub trait Sink: Send {
    /// Writes all of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Standard output, or anything else that can be written to.
#[derive(Debug)]
pub struct Plain<W>(pub W);

impl<W: Write + Send> Sink for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0
            .write_all(bytes)
            .map_err(|e| RdbError::io("cannot write the output", e))
    }
}

/// Counts what it takes, and drops it.
#[derive(Debug, Default)]
pub struct Count(pub u64);

impl Sink for Count {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
}
