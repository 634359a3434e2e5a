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
//! Commands of a log stand behind RDB data:
//!
//! ```text
//!   | 0 K .. | 0 C .. | 1 C .. | 0 K .. |
//!
//!   Behind::Here     | header key end  SELECT 0  command |      ends with the first command; no key may follow it
//!   Behind::Late     | header key key end  SELECT 0  command |  the commands wait in a second file, which goes in the end
//!   Behind::Apart    | header key key end |    | SELECT 0  command |
//! ```
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
use std::io::{Read, Write};
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
    /// An RDB file. Its header is known once the first source that has one has been looked at.
    Rdb {
        /// Magic and version.
        header: &'h OnceLock<Header>,
        /// The same if no source has any.
        or: Header,
        /// An aux field to begin with, which is given the value 1.
        mark: Option<&'static str>,
    },
}

/// Where the commands of a log go that come to RDB files.
#[derive(Debug, Default)]
pub enum Behind {
    /// Into the same file, whose RDB data end with the first of them: no key may come to a lane after a command.
    #[default]
    Here,
    /// The same, but keys may come after commands, and stand before them: these wait in files of their own, one a lane, until the end.
    Late(Vec<PathBuf>),
    /// Into files of their own, one a lane. Those that get none are not made.
    Apart(Vec<PathBuf>),
}

/// A file with commands of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apart {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its checksum.
    pub cksum: u32,
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
    /// The file that the commands are in, if that is another.
    pub apart: Option<Apart>,
}

impl Written {
    /// Bytes of all that the lane has got.
    pub fn size(&self) -> u64 {
        self.bytes + self.apart.as_ref().map_or(0, |a| a.bytes)
    }
}

/// Files, one a lane.
#[derive(Debug)]
pub struct Lanes<'h> {
    shape: Shape<'h>,
    /// As many as keys go to, and behind them as many again if commands go to others.
    lanes: Vec<Lane>,
    /// How many keys go to.
    count: usize,
    /// Whether commands have files of their own only until the end.
    late: bool,
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
    /// Whether it is in RDB data.
    is_rdb: bool,
    /// Whether these have ended, so that no key may come.
    ended: bool,
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
    /// Creates files, which must not be there, in directories that are. Where commands go matters for RDB files only.
    pub fn create(paths: Vec<PathBuf>, shape: Shape<'h>, behind: Behind) -> Result<Self> {
        let is_rdb = matches!(shape, Shape::Rdb { .. });
        let (count, late) = (paths.len(), matches!(behind, Behind::Late(_)));
        let behind = match behind {
            Behind::Late(paths) | Behind::Apart(paths) if is_rdb => paths,
            _ => Vec::new(),
        };
        let all = count + behind.len();
        let mut lanes = Lanes {
            shape,
            lanes: Vec::with_capacity(all),
            count,
            late,
            open: VecDeque::new(),
            room: (BUFFERS / all.max(1)).clamp(BUFFER.0, BUFFER.1),
            db: 0,
            begun: false,
        };
        for path in paths {
            let number = lanes.lanes.len();
            lanes.lanes.push(Lane::new(path, is_rdb));
            lanes.open(number)?;
        }
        // Made when something comes.
        let behind = behind.into_iter().map(|path| Lane::new(path, false));
        lanes.lanes.extend(behind);
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
        let Some(lane) = self.lanes.get_mut(number) else {
            return Err(broken());
        };
        if lane.is_rdb {
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
            Shape::Rdb { header, or, mark } if lane.is_rdb => {
                let header = header.get().copied().unwrap_or(or);
                out.lit(&rdb::header(header));
                if let Some(mark) = mark.filter(|_| header.version >= 7) {
                    rdb::aux(mark.as_bytes(), b"1", &mut out);
                }
            }
            _ => {
                resp::write::command(&[b"SELECT", b"0"], &mut out);
                lane.db = 0;
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
        let Some(lane) = self.lanes.get_mut(number) else {
            return Err(broken());
        };
        if lane.db == db {
            return Ok(());
        }
        lane.db = db;
        let mut out = Out::new();
        match lane.is_rdb {
            true => rdb::select_db(db, &mut out),
            false => resp::write::command(&[b"SELECT", db.to_string().as_bytes()], &mut out),
        }
        self.append(number, out.as_bytes())
    }

    /// Where commands for a lane go. Its RDB data end, if that is the same file.
    #[inline]
    fn behind(&mut self, number: usize) -> Result<usize> {
        if self.lanes.len() > self.count {
            return Ok(number + self.count);
        }
        if self.lanes.get(number).is_some_and(|l| l.is_rdb) {
            self.end_rdb(number)?;
        }
        Ok(number)
    }

    /// A command goes to a lane.
    fn command(&mut self, number: usize, bytes: &[u8]) -> Result<()> {
        let number = self.behind(number)?;
        self.key(number)?;
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.commands += 1;
        }
        self.append(number, bytes)
    }

    /// What stands among the commands of a lane.
    fn log(&mut self, number: usize, bytes: &[u8]) -> Result<()> {
        let number = self.behind(number)?;
        self.append(number, bytes)
    }

    /// The end of a lane's RDB data.
    fn end_rdb(&mut self, number: usize) -> Result<()> {
        self.begin(number)?;
        self.flush(number)?;
        if let Shape::Rdb { header, or, .. } = self.shape {
            let header = header.get().copied().unwrap_or(or);
            let crc = self.lanes.get(number).map_or(0, |l| l.crc);
            self.direct(number, &rdb::file_end(crc, header))?;
        }
        if let Some(lane) = self.lanes.get_mut(number) {
            (lane.is_rdb, lane.ended) = (false, true);
            // What reads the commands begins anew.
            lane.db = NONE;
        }
        Ok(())
    }

    /// Whether something may come to a lane that stands before its commands.
    fn may_come(&self, number: usize) -> Result<()> {
        match self.lanes.get(number) {
            Some(lane) if !lane.ended => Ok(()),
            _ => Err(broken()),
        }
    }

    /// The commands that have waited for the end of a lane's RDB data.
    fn join(&mut self, number: usize) -> Result<()> {
        let Some(from) = self.lanes.get_mut(number + self.count) else {
            return Err(broken());
        };
        let (path, last) = (from.path.clone(), std::mem::take(&mut from.buffer));
        if from.bytes == 0 && last.is_empty() {
            return Ok(());
        }
        from.file = None;
        let has_file = from.bytes > 0;
        self.end_rdb(number)?;
        if has_file {
            // One more file needs a handle, and only two are needed from now on.
            while !self.open.is_empty() {
                self.close_oldest();
            }
            let named = |e| RdbError::io("cannot read", e).with_file(&path.display().to_string());
            let mut file = File::open(&path).map_err(named)?;
            let mut buffer = vec![0; self.room];
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => self.direct(number, buffer.get(..n).unwrap_or_default())?,
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(named(e)),
                }
            }
            std::fs::remove_file(&path).map_err(named)?;
        }
        self.direct(number, &last)
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
            && !to.ended
            && to.buffer.len() + bytes.len() <= self.room
        {
            to.keys += 1;
            to.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        match kind {
            Kind::Key => {
                self.may_come(number)?;
                self.key(number)?;
                self.count(number);
            }
            Kind::Part => {
                self.may_come(number)?;
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
                return (0..self.count).try_for_each(|n| self.command(n, bytes));
            }
            Kind::Command => return self.command(number, bytes),
            Kind::Log if lane == EVERY => {
                return (0..self.count).try_for_each(|n| self.log(n, bytes));
            }
            Kind::Log => return self.log(number, bytes),
            Kind::More | Kind::Item if lane == EVERY => {
                return (0..self.count).try_for_each(|n| {
                    self.may_come(n)?;
                    self.append(n, bytes)
                });
            }
            Kind::More | Kind::Item => self.may_come(number)?,
        }
        self.append(number, bytes)
    }

    /// Ends all files. What they hold is then whole.
    pub fn finish(mut self) -> Result<Vec<Written>> {
        let mut written = Vec::with_capacity(self.count);
        for number in 0..self.count {
            let mut behind = None;
            if self.lanes.len() > self.count {
                match self.late {
                    true => self.join(number)?,
                    false => self.flush(number + self.count)?,
                }
                self.close(number + self.count);
                behind = self.lanes.get(number + self.count);
            }
            let commands = behind.map_or(0, |l| l.commands);
            let apart = behind.filter(|l| !self.late && l.bytes > 0);
            let apart = apart.map(|l| Apart {
                path: l.path.clone(),
                bytes: l.bytes,
                cksum: cksum(&l.cksum, l.bytes),
            });
            self.begin(number)?;
            self.flush(number)?;
            if self.lanes.get(number).is_some_and(|l| l.is_rdb) {
                self.end_rdb(number)?;
            }
            self.close(number);
            let Some(lane) = self.lanes.get(number) else {
                return Err(broken());
            };
            written.push(Written {
                path: lane.path.clone(),
                bytes: lane.bytes,
                keys: lane.keys,
                commands: lane.commands + commands,
                cksum: cksum(&lane.cksum, lane.bytes),
                apart,
            });
        }
        Ok(written)
    }

    fn close(&mut self, number: usize) {
        if let Some(lane) = self.lanes.get_mut(number)
            && lane.file.take().is_some()
        {
            self.open.retain(|&n| n != number);
        }
    }
}

impl Lane {
    fn new(path: PathBuf, is_rdb: bool) -> Lane {
        Lane {
            path,
            file: None,
            created: false,
            buffer: Vec::new(),
            db: NONE,
            is_rdb,
            ended: false,
            keys: 0,
            commands: 0,
            bytes: 0,
            crc: 0,
            cksum: Digest::new(Crc32Cksum),
        }
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
        let mut lanes = Lanes::create(paths, Shape::Commands, Behind::Here).unwrap();
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
            or: Header::NEWEST,
            mark: Some("aof-base"),
        };
        let mut lanes = Lanes::create(paths, shape, Behind::Here).unwrap();
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

    /// RDB data, whole and with a right checksum, and what stands behind them.
    fn taken_apart(file: &[u8]) -> (Header, usize, &[u8]) {
        let mut items = crate::rdb::scan::Scanner::new(file).unwrap();
        let mut keys = 0;
        while let Some(item) = items.next_item().unwrap() {
            keys += usize::from(matches!(item, crate::rdb::scan::Item::Key(_)));
        }
        // The first end there is: no value has such a byte.
        let end = file.iter().position(|&b| b == 0xff).unwrap() + 1;
        let (crc, rest) = file[end..].split_first_chunk::<8>().unwrap();
        assert_eq!(crc64::checksum(&file[..end]), u64::from_le_bytes(*crc));
        (Header::read(file).unwrap(), keys, rest)
    }

    #[test]
    fn commands_behind_rdb_data() {
        let dir = dir("behind");
        let key = |name: u8| [&b"\x00\x01"[..], &[name], b"\x01v"].concat();
        let select = |n| format!("*2\r\n$6\r\nSELECT\r\n$1\r\n{n}\r\n");
        // More than a buffer, so that a file is needed to wait in.
        let much = "m".repeat(3 * BUFFER.1);
        let header = OnceLock::new();
        let least = Header::read(b"REDIS0008").unwrap();
        let shape = Shape::Rdb {
            header: &header,
            or: least,
            mark: Some("aof-preamble"),
        };
        let paths = |stem: &str| (0..3).map(|n| dir.join(format!("{stem}-{n}"))).collect();
        for name in ["here", "late", "apart"] {
            let behind = match name {
                "here" => Behind::Here,
                "late" => Behind::Late(paths("late-waiting")),
                _ => Behind::Apart(paths("apart-incr")),
            };
            let mut lanes = Lanes::create(paths(name), shape, behind).unwrap();
            let mut out = Out::new();
            put(&mut out, 0, Kind::Key, &key(b'a'));
            put(&mut out, 0, Kind::Command, b"first;");
            put(&mut out, EVERY, Kind::Select, &3u64.to_le_bytes());
            put(&mut out, EVERY, Kind::Log, b"#1;");
            put(&mut out, 0, Kind::Command, much.as_bytes());
            put(&mut out, 0, Kind::Log, b";");
            put(&mut out, 2, Kind::Command, b"third;");
            lanes.write(out.as_bytes()).unwrap();
            let mut out = Out::new();
            put(&mut out, 0, Kind::Key, &key(b'b'));
            put(&mut out, 1, Kind::Key, &key(b'c'));
            let late = lanes.write(out.as_bytes());
            assert_eq!(late.is_err(), name == "here");
            let written = lanes.finish().unwrap();
            let counts: Vec<_> = written.iter().map(|w| (w.keys, w.commands)).collect();
            let late = usize::from(name != "here");
            assert_eq!(counts, [(1 + late as u64, 2), (late as u64, 0), (0, 1)]);
            // What stands among commands is of no database.
            let begin = if name == "here" {
                String::new()
            } else {
                select(0)
            };
            let want = [
                format!("{}first;#1;{}{much};", select(0), select(3)),
                format!("{begin}#1;"),
                format!("{begin}#1;{}third;", select(3)),
            ];
            for (i, (w, want)) in written.iter().zip(&want).enumerate() {
                let file = std::fs::read(&w.path).unwrap();
                let (header, keys, rest) = taken_apart(&file);
                assert_eq!((header, keys as u64), (least, counts[i].0));
                assert_eq!(w.bytes, file.len() as u64);
                let mut digest = Digest::new(Crc32Cksum);
                digest.update(&file);
                assert_eq!(w.cksum, cksum(&digest, w.bytes));
                let commands = match &w.apart {
                    None => rest.to_vec(),
                    Some(a) => {
                        assert!(rest.is_empty());
                        let file = std::fs::read(&a.path).unwrap();
                        let mut digest = Digest::new(Crc32Cksum);
                        digest.update(&file);
                        assert_eq!(a.bytes, file.len() as u64);
                        assert_eq!(a.cksum, cksum(&digest, a.bytes));
                        assert_eq!(w.size(), w.bytes + a.bytes);
                        file
                    }
                };
                assert!(commands == want.as_bytes(), "{name} {i}");
                assert_eq!(w.apart.is_some(), name == "apart");
            }
        }
        // Nothing that has waited is left.
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 3 + 3 + 6);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_is_there_is_not_written_to() {
        let dir = dir("there");
        std::fs::write(dir.join("0"), "mine").unwrap();
        let mine = vec![dir.join("0")];
        assert!(Lanes::create(mine, Shape::Commands, Behind::Here).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
