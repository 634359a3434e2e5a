//! The part of a log that is good, as a log.
//!
//! ```text
//!   one file      ... SET a 1 | SET b          up to the last whole command
//!   a directory   base | *2.. SELECT 0 | incr 1 | *2.. SELECT 0 | incr 2 ...
//! ```
//!
//! What the files of a directory hold is one log, once it is said that each begins in database 0.

use crate::encode::commands::PROLOGUE;
use crate::error::{ErrorKind, RdbError, Result};
use crate::rdb::header::Header;
use crate::sink::Sink;
use crate::source::Source;
use std::sync::atomic::AtomicU64;

/// How much is written at once.
const PIECE: usize = 1 << 20;

/// Writes a log up to `end`, or to its last byte; gives how many bytes those were.
pub fn write_good(source: &mut Source, end: Option<u64>, sink: &mut dyn Sink) -> Result<u64> {
    let name = source.name().to_owned();
    let continues = source.continues();
    let read = AtomicU64::new(0);
    let mut window = source.window(&read)?;
    let mut left = end.unwrap_or(u64::MAX);
    let mut written = 0;
    while left > 0 {
        while window.bytes().len() < PIECE && !window.is_whole() {
            window.fill();
        }
        let n = window.bytes().len().min(PIECE);
        let n = usize::try_from(left).map_or(n, |left| left.min(n));
        if n == 0 {
            if let Some(e) = window.failure() {
                return Err(e.with_file(&name));
            }
            break;
        }
        let chunk = window.take(n);
        if written == 0 && continues {
            if Header::is_magic(chunk.bytes()) {
                let what = "RDB data behind other files: no single log can hold them there";
                return Err(RdbError::other(ErrorKind::Unsupported, what).with_file(&name));
            }
            sink.write(PROLOGUE)?;
        }
        sink.write(chunk.bytes())?;
        written += n as u64;
        left -= n as u64;
        window.recycle(chunk);
    }
    Ok(written)
}
