//! One file a lane, out of frames.
//!
//! ```text
//!   | 0 K .. | 2 K .. | all S 3 | 0 K .. | all I .. |      frames, see `out`
//!
//!   lane 0    SELECT 0   key   SELECT 3   key   item
//!   lane 1    SELECT 0                          item
//!   lane 2    SELECT 0   key                    item
//! ```
//!
//! Each file has a beginning, a database and an end of its own, as files of its shape have them. A file is told of a database when
//! its next key comes, so that a thousand of them are not told of what they have no keys in.
//!
//! Memory and handles are bounded, however many files there are: each lane has its share of some MiB of buffers, and of the files those that were
//! opened last are open.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::panic
    )
)]

use super::Sink;
use crate::error::{ErrorKind, RdbError, Result};
use crate::out::{EVERY, Kind, Out, frame};
use crate::rdb::header::Header;
use crate::rdb::{crc64, write as rdb};
use crate::resp;
use crc_fast::{CrcAlgorithm::Crc32Cksum, Digest};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Bytes of all buffers together.
const BUFFERS: usize = 16 << 20;
/// Bytes of one of them: at the least, at the most.
const BUFFER: (usize, usize) = (1 << 10, 256 << 10);
/// Files that are open at a time, at the most.
const OPEN: usize = 400;

/// What stands around the keys of a file.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'h> {
    /// Commands.
    Commands,
    /// An RDB file. Its header is known once the first source has been looked at.
    Rdb {
        /// Magic and version.
        header: &'h OnceLock<Header>,
        /// An aux field to begin with, which is given the value 1.
        mark: Option<&'static str>,
    },
}

/// What has been written to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The keys in it.
    pub keys: u64,
    /// The commands of a log behind them.
    pub commands: u64,
    /// Its checksum: what POSIX `cksum` prints first.
    pub cksum: u32,
}

/// Files, one a lane.
#[derive(Debug)]
pub struct Lanes<'h> {
    shape: Shape<'h>,
    lanes: Vec<Lane>,
    /// The numbers of those whose files are open, the longest open first.
    open: VecDeque<usize>,
    /// Bytes of one buffer.
    room: usize,
    /// The database of the keys that come.
    db: u64,
    /// Whether the key that comes in parts has had any bytes.
    begun: bool,
}

/// The database of a file before its first key, and of one that has not begun.
const NONE: u64 = u64::MAX;

#[derive(Debug)]
struct Lane {
    /// The database of its last key. If it has one, it has begun.
    db: u64,
    keys: u64,
    commands: u64,
    buffer: Vec<u8>,
    path: PathBuf,
    file: Option<File>,
    created: bool,
    /// Bytes that have been written, and their checksums.
    bytes: u64,
    crc: u64,
    cksum: Digest,
}

impl<'h> Lanes<'h> {
    /// Creates files, which must not be there, in directories that are.
    pub fn create(paths: Vec<PathBuf>, shape: Shape<'h>) -> Result<Self> {
        let room = (BUFFERS / paths.len().max(1)).clamp(BUFFER.0, BUFFER.1);
        let mut lanes = Lanes {
            shape,
            lanes: Vec::new(),
            open: VecDeque::new(),
            room,
            db: 0,
            begun: false,
        };
        for path in paths {
            let number = lanes.lanes.len();
            lanes.lanes.push(Lane {
                path,
                file: None,
                created: false,
                buffer: Vec::new(),
                db: NONE,
                keys: 0,
                commands: 0,
                bytes: 0,
                crc: 0,
                cksum: Digest::new(Crc32Cksum),
            });
            lanes.open(number)?;
        }
        Ok(lanes)
    }

    /// The database of the keys that come next.
    pub fn select(&mut self, db: u64) {
        self.db = db;
    }

    /// Opens a file to go on with, and closes others if there are too many.
    fn open(&mut self, number: usize) -> Result<()> {
        while self.open.len() >= OPEN {
            self.close_oldest();
        }
        loop {
            let Some(lane) = self.lanes.get_mut(number) else {
                return Err(broken());
            };
            let file = File::options()
                .append(true)
                .create_new(!lane.created)
                .open(&lane.path);
            match file {
                Ok(file) => {
                    (lane.file, lane.created) = (Some(file), true);
                    self.open.push_back(number);
                    return Ok(());
                }
                // The process, or the machine, may have fewer.
                Err(e) if is_many(&e) && !self.open.is_empty() => {
                    for _ in 0..self.open.len().div_ceil(2) {
                        self.close_oldest();
                    }
                }
                Err(e) => {
                    let name = lane.path.display().to_string();
                    return Err(RdbError::io("cannot create", e).with_file(&name));
                }
            }
        }
    }

    fn close_oldest(&mut self) {
        if let Some(oldest) = self.open.pop_front()
            && let Some(lane) = self.lanes.get_mut(oldest)
        {
            lane.file = None;
        }
    }

    /// Writes out what a lane has gathered.
    fn flush(&mut self, number: usize) -> Result<()> {
        let buffer = match self.lanes.get_mut(number) {
            Some(lane) => std::mem::take(&mut lane.buffer),
            None => return Err(broken()),
        };
        let r = self.direct(number, &buffer);
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.buffer = buffer;
            lane.buffer.clear();
        }
        r
    }

    /// Writes bytes to a file.
    fn direct(&mut self, number: usize, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.lanes.get(number).is_some_and(|l| l.file.is_none()) {
            self.open(number)?;
        }
        let is_rdb = matches!(self.shape, Shape::Rdb { .. });
        let Some(lane) = self.lanes.get_mut(number) else {
            return Err(broken());
        };
        if is_rdb {
            lane.crc = crc64::combine(lane.crc, crc64::checksum(bytes), bytes.len() as u64);
        }
        lane.cksum.update(bytes);
        lane.bytes += bytes.len() as u64;
        match &mut lane.file {
            Some(file) => file.write_all(bytes).map_err(|e| {
                RdbError::io("cannot write", e).with_file(&lane.path.display().to_string())
            }),
            None => Err(broken()),
        }
    }

    /// Appends to a lane.
    #[inline]
    fn append(&mut self, number: usize, bytes: &[u8]) -> Result<()> {
        self.begin(number)?;
        let room = self.room;
        match self.lanes.get_mut(number) {
            Some(lane) if lane.buffer.len() + bytes.len() <= room => {
                lane.buffer.extend_from_slice(bytes);
                Ok(())
            }
            _ => self.append_much(number, bytes),
        }
    }

    #[cold]
    fn append_much(&mut self, number: usize, bytes: &[u8]) -> Result<()> {
        self.flush(number)?;
        if bytes.len() > self.room / 2 {
            return self.direct(number, bytes);
        }
        match self.lanes.get_mut(number) {
            Some(lane) => lane.buffer.extend_from_slice(bytes),
            None => return Err(broken()),
        }
        Ok(())
    }

    /// What a file begins with, unless it has begun.
    fn begin(&mut self, number: usize) -> Result<()> {
        let shape = self.shape;
        let Some(lane) = self.lanes.get_mut(number) else {
            return Err(broken());
        };
        if lane.bytes > 0 || !lane.buffer.is_empty() {
            return Ok(());
        }
        let mut out = Out::new();
        match shape {
            Shape::Commands => {
                resp::write::command(&[b"SELECT", b"0"], &mut out);
                lane.db = 0;
            }
            Shape::Rdb { header, mark } => {
                let header = header.get().copied().unwrap_or(Header::NEWEST);
                out.lit(&rdb::header(header));
                if let Some(mark) = mark.filter(|_| header.version >= 7) {
                    rdb::aux(mark.as_bytes(), b"1", &mut out);
                }
            }
        }
        lane.buffer.extend_from_slice(out.as_bytes());
        Ok(())
    }

    /// A key goes to a lane, whose database may be another.
    #[inline]
    fn key(&mut self, number: usize) -> Result<()> {
        match self.lanes.get(number) {
            Some(lane) if lane.db == self.db => Ok(()),
            Some(_) => self.change_db(number),
            None => Err(broken()),
        }
    }

    #[cold]
    fn change_db(&mut self, number: usize) -> Result<()> {
        self.begin(number)?;
        let db = self.db;
        if self.lanes.get(number).is_some_and(|l| l.db == db) {
            return Ok(());
        }
        let mut out = Out::new();
        match self.shape {
            Shape::Commands => {
                resp::write::command(&[b"SELECT", db.to_string().as_bytes()], &mut out);
            }
            Shape::Rdb { .. } => rdb::select_db(db, &mut out),
        }
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.db = db;
        }
        self.append(number, out.as_bytes())
    }

    /// A command goes to a lane.
    fn command(&mut self, number: usize) -> Result<()> {
        self.key(number)?;
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.commands += 1;
        }
        Ok(())
    }

    fn count(&mut self, number: usize) {
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.keys += 1;
        }
    }

    #[inline]
    fn take(&mut self, lane: u16, kind: Kind, bytes: &[u8]) -> Result<()> {
        let number = usize::from(lane);
        // What nearly all frames are.
        if kind == Kind::Key
            && let Some(to) = self.lanes.get_mut(number)
            && to.db == self.db
            && to.buffer.len() + bytes.len() <= self.room
        {
            to.keys += 1;
            to.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        match kind {
            Kind::Key => {
                self.key(number)?;
                self.count(number);
            }
            Kind::Part => {
                self.key(number)?;
                self.begun = true;
            }
            Kind::End => {
                if std::mem::take(&mut self.begun) {
                    self.count(number);
                }
                return Ok(());
            }
            Kind::Select => {
                let db = bytes.first_chunk().ok_or_else(broken)?;
                self.select(u64::from_le_bytes(*db));
                return Ok(());
            }
            Kind::Command if lane == EVERY => {
                for n in 0..self.lanes.len() {
                    self.command(n)?;
                    self.append(n, bytes)?;
                }
                return Ok(());
            }
            Kind::Command => self.command(number)?,
            Kind::More | Kind::Item if lane == EVERY => {
                return (0..self.lanes.len()).try_for_each(|n| self.append(n, bytes));
            }
            Kind::More | Kind::Item => {}
        }
        self.append(number, bytes)
    }

    /// Ends all files. What they hold is then whole.
    pub fn finish(mut self) -> Result<Vec<Written>> {
        let mut written = Vec::with_capacity(self.lanes.len());
        for number in 0..self.lanes.len() {
            self.begin(number)?;
            self.flush(number)?;
            if let Shape::Rdb { header, .. } = self.shape {
                let header = header.get().copied().unwrap_or(Header::NEWEST);
                let crc = self.lanes.get(number).map_or(0, |l| l.crc);
                self.direct(number, &rdb::file_end(crc, header))?;
            }
            let Some(lane) = self.lanes.get_mut(number) else {
                return Err(broken());
            };
            if lane.file.take().is_some() {
                self.open.retain(|&n| n != number);
            }
            written.push(Written {
                path: lane.path.clone(),
                bytes: lane.bytes,
                keys: lane.keys,
                commands: lane.commands,
                cksum: cksum(&lane.cksum, lane.bytes),
            });
        }
        Ok(written)
    }
}

impl Sink for Lanes<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let ((lane, kind, bytes), more) = frame(rest).ok_or_else(broken)?;
            self.take(lane, kind, bytes)?;
            rest = more;
        }
        Ok(())
    }
}

/// What POSIX `cksum` says: the CRC of the bytes and then of their number, its lowest byte first, without leading zeros.
fn cksum(bytes: &Digest, len: u64) -> u32 {
    let mut all = *bytes;
    let digits = 8 - len.leading_zeros() / 8;
    let len = len.to_le_bytes();
    all.update(len.get(..digits as usize).unwrap_or_default());
    u32::try_from(all.finalize()).unwrap_or_default()
}

/// Whether the system has no handle left, for this process or at all: EMFILE, ENFILE, alike on all Unix systems.
fn is_many(e: &std::io::Error) -> bool {
    matches!(e.raw_os_error(), Some(23 | 24))
}

/// A frame that no encoder makes, or one for a lane that is not there.
#[cold]
fn broken() -> RdbError {
    RdbError::other(ErrorKind::Limit, "a key too large for a frame")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("rdbtool-lanes-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn put(out: &mut Out<'_>, lane: u16, kind: Kind, bytes: &[u8]) {
        out.open(lane, kind);
        out.raw(bytes);
        out.close();
    }

    #[test]
    fn each_file_has_its_database() {
        let dir = dir("databases");
        let paths = (0..3).map(|n| dir.join(n.to_string())).collect();
        let mut lanes = Lanes::create(paths, Shape::Commands).unwrap();
        let mut out = Out::new();
        put(&mut out, EVERY, Kind::Item, b"library;");
        put(&mut out, 0, Kind::Key, b"a;");
        put(&mut out, EVERY, Kind::Select, &3u64.to_le_bytes());
        put(&mut out, 0, Kind::Part, b"b");
        put(&mut out, 0, Kind::Part, b"b;");
        put(&mut out, 0, Kind::End, b"");
        put(&mut out, 1, Kind::End, b""); // of a key that nothing was made of
        put(&mut out, 2, Kind::Key, b"c");
        put(&mut out, 2, Kind::More, b"c;");
        lanes.write(out.as_bytes()).unwrap();
        let written = lanes.finish().unwrap();
        let select = |n| format!("*2\r\n$6\r\nSELECT\r\n$1\r\n{n}\r\n");
        let want = [
            format!("{}library;a;{}bb;", select(0), select(3)),
            format!("{}library;", select(0)),
            format!("{}library;{}cc;", select(0), select(3)),
        ];
        for (w, want) in written.iter().zip(&want) {
            assert_eq!(std::fs::read_to_string(&w.path).unwrap(), *want);
            assert_eq!(w.bytes, want.len() as u64);
        }
        assert_eq!(
            written.iter().map(|w| w.keys).collect::<Vec<_>>(),
            [2, 0, 1]
        );
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// `printf 123456789 | cksum`, and of nothing.
    #[test]
    fn checksums_are_those_of_cksum() {
        let mut digest = Digest::new(Crc32Cksum);
        assert_eq!(cksum(&digest, 0), 4_294_967_295);
        digest.update(b"123456789");
        assert_eq!(cksum(&digest, 9), 930_766_865);
    }

    #[test]
    fn more_files_than_may_be_open() {
        let dir = dir("many");
        let n = OPEN + 100;
        let paths = (0..n).map(|n| dir.join(n.to_string())).collect();
        let header = OnceLock::from(Header::read(b"REDIS0011").unwrap());
        let shape = Shape::Rdb {
            header: &header,
            mark: Some("aof-base"),
        };
        let mut lanes = Lanes::create(paths, shape).unwrap();
        for round in 0..4u8 {
            for lane in 0..n as u16 {
                let mut out = Out::new();
                let key = [
                    &b"\x00\x01"[..],
                    &[b'a' + round],
                    b"\x80\x00\x00\x80\x00",
                    &[b'v'; 32768],
                ]
                .concat();
                put(&mut out, lane, Kind::Key, &key);
                lanes.write(out.as_bytes()).unwrap();
                assert!(lanes.open.len() <= OPEN);
            }
        }
        for w in lanes.finish().unwrap() {
            let file = std::fs::read(&w.path).unwrap();
            assert_eq!((w.keys, w.bytes), (4, file.len() as u64));
            let (body, crc) = file.split_last_chunk::<8>().unwrap();
            assert_eq!(crc64::checksum(body), u64::from_le_bytes(*crc));
            let items = crate::rdb::scan::Scanner::new(&file).unwrap();
            // An aux field, a database, four keys and the end.
            assert_eq!(items.filter(|i| i.is_ok()).count(), 1 + 1 + 4 + 1);
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_is_there_is_not_written_to() {
        let dir = dir("there");
        std::fs::write(dir.join("0"), "mine").unwrap();
        assert!(Lanes::create(vec![dir.join("0")], Shape::Commands).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
