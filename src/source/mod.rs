//! Where bytes come from: a file, a pipe, either of them compressed.
//!
//! A [`Source`] knows formats only well enough to tell files apart. It gives a [`Window`]: the whole file in memory, or a buffer
//! that grows as bytes arrive, so that what reads it has one way to go.

pub mod detect;
mod file;
mod spill;
mod window;

pub use window::{Chunk, Window};

use crate::error::{ErrorKind, RdbError, Result};
use detect::Kind;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Something to read: opened, looked at, not yet read.
pub struct Source {
    name: String,
    from: From,
}

enum From {
    Map(memmap2::Mmap),
    Stream(Box<dyn Read + Send>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Opens a file (`-` is standard input). A regular file is mapped, anything else is read as a stream.
    pub fn open(path: &Path) -> Result<Source> {
        if path.as_os_str() == "-" {
            return Ok(Source::from_reader("standard input", std::io::stdin()));
        }
        let name = path.display().to_string();
        let named = |e: RdbError| e.with_file(&name);
        let from = match file::open(path).map_err(named)? {
            file::Opened::Mapped(map) => From::Map(map),
            file::Opened::Stream(file) => From::Stream(Box::new(file)),
        };
        Ok(Source { name, from })
    }

    /// A source that is read from `reader`; `name` is what errors call it.
    pub fn from_reader(name: &str, reader: impl Read + Send + 'static) -> Source {
        Source {
            name: name.to_owned(),
            from: From::Stream(Box::new(reader)),
        }
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its size as stored, when that is known.
    pub fn stored_size(&self) -> Option<u64> {
        match &self.from {
            From::Map(m) => Some(m.len() as u64),
            From::Stream(_) => None,
        }
    }

    /// Looks at the first bytes, unpacks if they are those of gzip or zstd, and gives a window on an RDB file. `read` counts the
    /// stored bytes as they are read; of a mapped file, whose reading is seen only by whoever takes from the window, nothing.
    pub fn window<'a>(&'a mut self, read: &'a AtomicU64) -> Result<Window<'a>> {
        let Source { name, from } = self;
        match from {
            From::Map(map) => match detect::kind(map) {
                Kind::Rdb => Ok(Window::whole(map)),
                Kind::Gzip | Kind::Zstd => {
                    let reader = Counting {
                        inner: &map[..],
                        read,
                    };
                    unpacked(detect::kind(map), Box::new(reader))
                }
                other => Err(refuse(other)),
            },
            From::Stream(reader) => {
                let mut reader = Counting {
                    inner: reader,
                    read,
                };
                let mut first = vec![0; detect::LOOK];
                let n = read_full(&mut reader, &mut first)?;
                first.truncate(n);
                match detect::kind(&first) {
                    Kind::Rdb => Ok(Window::growing(first, Box::new(reader))),
                    kind @ (Kind::Gzip | Kind::Zstd) => {
                        unpacked(kind, Box::new(std::io::Cursor::new(first).chain(reader)))
                    }
                    other => Err(refuse(other)),
                }
            }
        }
        .map_err(|e| e.with_file(name))
    }
}

/// A window on what `reader` unpacks to, which must be an RDB file.
fn unpacked<'a>(kind: Kind, reader: Box<dyn Read + Send + 'a>) -> Result<Window<'a>> {
    let mut reader: Box<dyn Read + Send + 'a> = match kind {
        Kind::Zstd => Box::new(
            zstd::stream::read::Decoder::new(reader)
                .map_err(|e| RdbError::io("cannot unpack zstd", e))?,
        ),
        _ => Box::new(flate2::read::MultiGzDecoder::new(reader)),
    };
    let mut first = vec![0; detect::LOOK];
    let n = read_full(&mut reader, &mut first)?;
    first.truncate(n);
    match detect::kind(&first) {
        Kind::Rdb => Ok(Window::growing(first, reader)),
        other => Err(refuse(other)),
    }
}

/// The error of a source that holds something else.
#[cold]
fn refuse(kind: Kind) -> RdbError {
    RdbError::other(
        ErrorKind::Unsupported,
        format!("not an RDB file: {}", kind.describe()),
    )
}

/// Fills `buffer` as far as the input goes.
fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    let mut n = 0;
    while let Some(rest) = buffer.get_mut(n..).filter(|b| !b.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(k) => n += k,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(RdbError::io("cannot read", e)),
        }
    }
    Ok(n)
}

/// A reader that counts what it reads.
struct Counting<'a, R> {
    inner: R,
    read: &'a AtomicU64,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
