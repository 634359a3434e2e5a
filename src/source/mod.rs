//! Where bytes come from: a file, a pipe, either of them compressed; a directory, as the files in it.
//!
//! A [`Source`] knows formats only well enough to tell files apart. It gives a [`Window`] on an RDB or append-only file: the whole file in
//! memory, or a buffer that grows as bytes arrive, so that what reads it has one way to go. Lines of JSON become RDB on the way.

pub mod detect;
mod directory;
mod file;
mod spill;
mod window;

pub use window::{Chunk, Window};

use crate::aof::Place;
use crate::error::{ErrorKind, RdbError, Result};
use crate::ndjson::read::ToRdb;
use detect::Kind;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Something to read: opened, looked at, not yet read.
pub struct Source {
    name: String,
    from: From,
    /// How much of a stream is read at a time.
    step: usize,
    /// How long a stream is, if somebody said so.
    size: Option<u64>,
    /// Which of the files of an append-only directory it is, if it is one.
    place: Option<Place>,
}

/// Bytes at either end of a file that tell it from others.
const ENDS: usize = 64 << 10;

enum From {
    Map(memmap2::Mmap),
    Bytes(Vec<u8>),
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
        let source = Source::file(path, None)?;
        if matches!(&source.from, From::Bytes(_)) {
            let e = RdbError::other(
                ErrorKind::UnexpectedEof,
                "the file is empty: a server that has saved nothing yet, or a copy that failed",
            );
            return Err(e.with_file(&source.name));
        }
        Ok(source)
    }

    /// Opens a file, or an append-only directory: the files that are loaded, in order. The directory is given by its path, that of its
    /// manifest, or that of the directory it is in.
    pub fn open_all(path: &Path) -> Result<Vec<Source>> {
        match directory::manifest_of(path)? {
            Some(manifest) => directory::open(&manifest),
            None => Source::open(path).map(|source| vec![source]),
        }
    }

    /// A file; as one of a directory, if it has a place there.
    fn file(path: &Path, place: Option<Place>) -> Result<Source> {
        let name = path.display().to_string();
        let named = |e: RdbError| e.with_file(&name);
        let from = match file::open(path).map_err(named)? {
            file::Opened::Mapped(map) => From::Map(map),
            file::Opened::Stream(file) => From::Stream(Box::new(file)),
            file::Opened::Empty => From::Bytes(Vec::new()),
        };
        Ok(Source {
            name,
            from,
            step: window::READ,
            size: None,
            place,
        })
    }

    /// A source that is read from `reader`; `name` is what errors call it.
    pub fn from_reader(name: &str, reader: impl Read + Send + 'static) -> Source {
        Source {
            name: name.to_owned(),
            from: From::Stream(Box::new(reader)),
            step: window::READ,
            size: None,
            place: None,
        }
    }

    /// A source that is in memory already.
    ///
    /// ```
    /// use rdbtool::{Decode, Progress, sink::Count, source::Source};
    /// let file = b"REDIS0004\xfe\x00\x00\x05hello\x05world\xff";
    /// let mut sources = [Source::from_bytes("example", file)];
    /// let seen = Decode::default().run(&mut sources, &Progress::new(), &mut Count::default())?;
    /// assert_eq!(seen[0].keys, 1);
    /// # Ok::<(), rdbtool::RdbError>(())
    /// ```
    pub fn from_bytes(name: &str, bytes: impl Into<Vec<u8>>) -> Source {
        Source {
            name: name.to_owned(),
            from: From::Bytes(bytes.into()),
            step: window::READ,
            size: None,
            place: None,
        }
    }

    /// Says how long a stream will be.
    #[must_use]
    pub(crate) fn with_size(mut self, size: u64) -> Source {
        self.size = Some(size);
        self
    }

    /// Looks at so many bytes of a stream (at least 16, enough to know an RDB file by) and reads on in steps of as many.
    #[must_use]
    pub(crate) fn in_steps(mut self, step: usize) -> Source {
        self.step = step.max(16);
        self
    }

    /// Says that it is one of the files of an append-only directory.
    #[must_use]
    pub(crate) fn at(mut self, place: Place) -> Source {
        self.place = Some(place);
        self
    }

    /// Its place among the files of an append-only directory; [`Place::ALONE`] if it is in none.
    pub fn place(&self) -> Place {
        self.place.unwrap_or(Place::ALONE)
    }

    /// Whether it belongs to the source before it: another file of the same directory.
    pub fn continues(&self) -> bool {
        self.place().continues
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its size as stored, when that is known.
    pub fn stored_size(&self) -> Option<u64> {
        match &self.from {
            From::Map(m) => Some(m.len() as u64),
            From::Bytes(b) => Some(b.len() as u64),
            From::Stream(_) => self.size,
        }
    }

    /// What tells it from other files, whatever it is called: its size, and a sum of its first and last bytes, which in an RDB file are the
    /// checksum of all others. `None` for what comes but once.
    ///
    /// ```
    /// use rdbtool::source::Source;
    /// let of = |bytes: &[u8]| Source::from_bytes("any name", bytes).fingerprint();
    /// assert_eq!(of(b"REDIS0004\xff").unwrap(), "10 bytes (e3471c0979e66c8e)");
    /// assert_ne!(of(b"REDIS0004\xff"), of(b"REDIS0003\xff"));
    /// assert_eq!(Source::from_reader("a pipe", &b""[..]).fingerprint(), None);
    /// ```
    pub fn fingerprint(&self) -> Option<String> {
        let bytes: &[u8] = match &self.from {
            From::Map(map) => map,
            From::Bytes(bytes) => bytes,
            From::Stream(_) => return None,
        };
        let ends = bytes.len().min(ENDS);
        // Not the CRC of RDB files: of all that end with it that is the same.
        let mut sum = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
        sum.update(&bytes[..ends]);
        sum.update(&bytes[bytes.len() - ends..]);
        Some(format!("{} bytes ({:016x})", bytes.len(), sum.finalize()))
    }

    /// Looks at the first bytes, unpacks if they are those of gzip or zstd, makes RDB of JSON, and gives a window on an RDB file or commands.
    /// What a manifest lists is taken for one of the two whatever it begins with, as servers do. `read` counts the stored bytes as they are
    /// read; of a mapped file, whose reading is seen only by whoever takes from the window, nothing.
    pub fn window<'a>(&'a mut self, read: &'a AtomicU64) -> Result<Window<'a>> {
        let Source {
            name,
            from,
            step,
            place,
            ..
        } = self;
        let kind = |first: &[u8]| match detect::kind(first) {
            kind @ (Kind::Rdb | Kind::Gzip | Kind::Zstd) => kind,
            _ if place.is_some() => Kind::Aof,
            kind => kind,
        };
        match from {
            From::Map(map) => in_memory(map, kind, read),
            From::Bytes(bytes) => in_memory(bytes, kind, read),
            From::Stream(reader) => {
                let mut reader = Counting {
                    inner: reader,
                    read,
                };
                let mut first = vec![0; detect::LOOK.min(*step)];
                let n = read_full(&mut reader, &mut first)?;
                first.truncate(n);
                match kind(&first) {
                    Kind::Rdb | Kind::Aof => Ok(Window::growing(first, Box::new(reader), *step)),
                    packed @ (Kind::Gzip | Kind::Zstd) => {
                        let reader = std::io::Cursor::new(first).chain(reader);
                        unpacked(packed, kind, Box::new(reader))
                    }
                    Kind::Json => Ok(from_json(std::io::Cursor::new(first).chain(reader), *step)),
                    other => Err(refuse(other)),
                }
            }
        }
        .map_err(|e| e.with_file(name))
    }
}

/// A window on bytes that are all there.
fn in_memory<'a>(
    bytes: &'a [u8],
    kind: impl Fn(&[u8]) -> Kind,
    read: &'a AtomicU64,
) -> Result<Window<'a>> {
    match kind(bytes) {
        Kind::Rdb | Kind::Aof => Ok(Window::whole(bytes)),
        packed @ (Kind::Gzip | Kind::Zstd) => {
            let reader = Counting { inner: bytes, read };
            unpacked(packed, kind, Box::new(reader))
        }
        Kind::Json => Ok(from_json(Counting { inner: bytes, read }, window::READ)),
        other => Err(refuse(other)),
    }
}

/// A window on what `reader` unpacks to, which must be an RDB file, commands, or JSON.
fn unpacked<'a>(
    packed: Kind,
    kind: impl Fn(&[u8]) -> Kind,
    reader: Box<dyn Read + Send + 'a>,
) -> Result<Window<'a>> {
    let mut reader: Box<dyn Read + Send + 'a> = match packed {
        Kind::Zstd => Box::new(
            zstd::stream::read::Decoder::new(reader)
                .map_err(|e| RdbError::io("cannot unpack zstd", e))?,
        ),
        _ => Box::new(flate2::read::MultiGzDecoder::new(reader)),
    };
    let mut first = vec![0; detect::LOOK];
    let n = read_full(&mut reader, &mut first)?;
    first.truncate(n);
    match kind(&first) {
        Kind::Rdb | Kind::Aof => Ok(Window::growing(first, reader, window::READ)),
        Kind::Json => Ok(from_json(
            std::io::Cursor::new(first).chain(reader),
            window::READ,
        )),
        other => Err(refuse(other)),
    }
}

/// A window on what lines of JSON become.
fn from_json<'a>(reader: impl Read + Send + 'a, step: usize) -> Window<'a> {
    Window::growing(Vec::new(), Box::new(ToRdb::new(reader)), step)
}

/// The error of a source that holds something else.
#[cold]
fn refuse(kind: Kind) -> RdbError {
    RdbError::other(
        ErrorKind::Unsupported,
        format!("not an RDB or append-only file: {}", kind.describe()),
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
