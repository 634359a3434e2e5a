//! Items as RDB: the same file again, for the same release or for another.
//!
//! ```text
//!   FC ms | FD s     F8 idle | F9 freq     F3 metadata     type  key  value
//!   from 3  below    from 9                Redis 8.6       what the release loads, see compat
//!
//!   FE db            as it comes
//!   FA name value    from 7; without those that are true of one file, of one process or of one replica only
//!   F5 code          from 10; libraries of a release candidate in the form of 7.0
//!   F7 module data   from 9
//!   F3 slots         Valkey 9
//! ```
//!
//! A value that the release loads is copied as it is, and so are keys, in whatever form the file has them. What cannot be kept is counted
//! in [`Losses`]. Not written: hints (sizes of tables, slots), and templates, whose hashes are written with the names in them.
//!
//! The file around the items is the caller's: [`write::header`] before them and
//! [`write::file_end`] behind. The commands of a log are refused, unless the caller has a place for them ([`Rdb::with_log`]): then they go on as
//! commands do.

use super::compat::{self, Rewriter, Way};
use super::loss::{Losses, Reason};
use super::{Encode, Part, replay};
use crate::command::Command;
use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use crate::out::Out;
use crate::rdb::entry::Entry;
use crate::rdb::header::{Dialect, Header};
use crate::rdb::length;
use crate::rdb::release::{Engine, Release};
use crate::rdb::scan::Item;
use crate::rdb::string::{RdbStr, Scratch};
use crate::rdb::template::Templates;
use crate::rdb::value_type::ValueType;
use crate::rdb::{opcode, write};

/// Aux fields that would not be true of the new file: whether commands follow it, what the server that wrote the old one needed and
/// whom it replicated, what a cluster was doing, and how many keys a slot has.
///
/// Those that tell who wrote the data and when (`redis-ver`, `valkey-ver`, `redis-bits`, `ctime`) stay, and so does whatever is not known.
const UNTRUE: &[&[u8]] = &[
    b"aof-base",
    b"aof-preamble",
    b"used-mem",
    b"repl-stream-db",
    b"repl-id",
    b"repl-offset",
    b"cluster-asm-task",
    b"cluster-slot-states",
    b"slot-info",
];

/// The aux field of a Lua script, which replicas of 4.0 to 6.2 were given.
const LUA: &[u8] = b"lua";

/// Encodes items as RDB.
#[derive(Debug)]
pub struct Rdb {
    to: Header,
    release: Option<Release>,
    /// By type, in the order of [`ValueType::ALL`].
    ways: Vec<Way>,
    rewriter: Rewriter,
    losses: Losses,
    /// Where the entry was that losses have been noted of last: an entry may be encoded twice, the first time to see whether it is sound.
    noted: Option<u64>,
    /// What of the attributes of an entry is not kept.
    lost: Vec<Reason>,
    scratch: Scratch,
    log: Option<Log>,
}

/// What becomes of the commands of a log.
#[derive(Debug)]
struct Log {
    /// Who reads them.
    release: Option<Release>,
    /// Whether there were some before what is read now.
    before: bool,
}

impl Rdb {
    /// An encoder for the items of a file with this header, for servers of `release`; without one, for those of the same line and
    /// version that wrote it.
    pub fn new(header: Header, release: Option<Release>) -> Self {
        Rdb {
            to: Self::header(header, release),
            release,
            ways: ValueType::ALL
                .iter()
                .map(|&t| compat::way(t, release))
                .collect(),
            rewriter: Rewriter::new(release),
            losses: Losses::default(),
            noted: None,
            lost: Vec::new(),
            scratch: Scratch::new(),
            log: None,
        }
    }

    /// Commands go on too, for servers of `release`, or whoever reads them: there is a place for them behind the RDB data. `before` says that there
    /// were some already that belong before what is read now; then keys are refused, which would come before them.
    #[must_use]
    pub fn with_log(mut self, release: Option<Release>, before: bool) -> Self {
        self.log = Some(Log { release, before });
        self
    }

    /// Whether what is written now would have to stand behind commands.
    #[inline]
    fn follows_commands(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.before)
    }

    /// An item behind commands: those that tell of the file only may go.
    #[cold]
    fn item_behind(item: &Item<'_>) -> Result<()> {
        match *item {
            Item::Function { code } | Item::FunctionPreGa { code, .. } => {
                Err(Self::behind(code.offset()))
            }
            Item::ModuleAux { offset, .. } | Item::SlotImport { offset, .. } => {
                Err(Self::behind(offset))
            }
            Item::SelectDb(_) | Item::Aux { .. } | Item::Key(_) | Item::Hint | Item::End => Ok(()),
        }
    }

    #[cold]
    fn behind(offset: u64) -> RdbError {
        RdbError::unsupported(
            offset,
            "RDB data behind commands of the same log, where an RDB file has its keys before all of them: have them as commands (--format aof)",
        )
    }

    /// Magic and version of the file that the items make, for a source with this header.
    pub fn header(header: Header, release: Option<Release>) -> Header {
        release.map_or(header, Release::header)
    }

    /// What could not be kept.
    pub fn into_losses(self) -> Losses {
        self.losses
    }

    #[inline]
    fn way(&mut self, e: &Entry<'_>) -> Result<Way> {
        match self.ways.get(e.value_type as usize) {
            Some(way) if *way != Way::AsIs || !compat::depends(e.value_type) => Ok(*way),
            _ => self.rewriter.way_of(e),
        }
    }

    /// Attributes, type and key.
    #[inline]
    fn open(&mut self, e: &Entry<'_>, t: ValueType, out: &mut Out<'_>) -> Result<()> {
        if let Some(ms) = e.expire_at_ms {
            if self.to.version >= 3 {
                out.byte(opcode::EXPIRETIME_MS);
                out.lit(&ms.to_le_bytes());
            } else {
                self.seconds(ms, out);
            }
        }
        if e.idle_s.is_some() || e.freq.is_some() {
            self.use_of(e, out);
        }
        if !e.metadata.is_empty() {
            if self.to.dialect == Dialect::Redis && self.to.version >= 13 {
                out.byte(opcode::KEY_META);
                write::bytes(e.metadata, out)?;
            } else {
                self.lost.push(Reason::KeyMetadata);
            }
        }
        out.byte(t.byte());
        write::rdb_str(&e.key, out)
    }

    #[cold]
    fn seconds(&mut self, ms: i64, out: &mut Out<'_>) {
        // Not before its time.
        let s = ms.div_euclid(1000) + i64::from(ms.rem_euclid(1000) > 0);
        let s = s.clamp(i32::MIN.into(), i32::MAX.into());
        if s.checked_mul(1000) != Some(ms) {
            self.lost.push(Reason::ExpiryRounded);
        }
        out.byte(opcode::EXPIRETIME);
        out.lit(&(s as i32).to_le_bytes());
    }

    fn use_of(&mut self, e: &Entry<'_>, out: &mut Out<'_>) {
        if self.to.version < 9 {
            self.lost.push(Reason::IdleOrFreq);
            return;
        }
        if let Some(s) = e.idle_s {
            out.byte(opcode::IDLE);
            write::len(s, out);
        }
        if let Some(n) = e.freq {
            out.lit(&[opcode::FREQ, n]);
        }
    }

    /// Notes what has been lost of an entry that has been encoded.
    #[cold]
    fn note(&mut self, e: &Entry<'_>, losses: &mut Losses) -> Result<()> {
        let lost = std::mem::take(&mut self.lost);
        let r = self.rewriter.note(e, &lost, losses);
        self.lost = lost;
        if self.noted != Some(e.offset) {
            self.noted = Some(e.offset);
            self.losses.merge(std::mem::take(losses));
        }
        r
    }

    fn aux(&mut self, name: &RdbStr<'_>, value: &RdbStr<'_>, out: &mut Out<'_>) -> Result<()> {
        let text = name.as_bytes(&mut self.scratch)?;
        let is_lua = text.eq_ignore_ascii_case(LUA);
        if UNTRUE.iter().any(|n| text.eq_ignore_ascii_case(n)) {
            return Ok(());
        }
        let loads = match self.release {
            Some(r) if is_lua => r.engine == Engine::Redis && (8..10).contains(&self.to.version),
            _ => self.to.version >= 7,
        };
        if loads {
            out.byte(opcode::AUX);
            write::rdb_str(name, out)?;
            write::rdb_str(value, out)?;
        } else if is_lua {
            let script = value.as_bytes(&mut self.scratch)?;
            self.losses.note(Reason::Script, 0, script);
        }
        Ok(())
    }

    fn function(&mut self, code: &RdbStr<'_>, out: &mut Out<'_>) -> Result<()> {
        if self.to.version >= 10 {
            out.byte(opcode::FUNCTION2);
            return write::rdb_str(code, out);
        }
        let code = code.as_bytes(&mut self.scratch)?;
        let line = code.split(|&b| b == b'\n').next().unwrap_or_default();
        self.losses.note(Reason::Function, 0, line);
        Ok(())
    }
}

impl Encode for Rdb {
    fn item(&mut self, item: &Item<'_>, out: &mut Out<'_>) -> Result<()> {
        match *item {
            Item::SelectDb(db) => write::select_db(db, out),
            _ if self.follows_commands() => return Self::item_behind(item),
            Item::Aux { name, value } => self.aux(&name, &value, out)?,
            Item::Function { code } => self.function(&code, out)?,
            Item::FunctionPreGa { name, engine, code } => {
                let text = super::library(&name, &engine, &code, &mut self.scratch)?;
                self.function(&RdbStr::raw(&text, code.offset()), out)?;
            }
            Item::ModuleAux {
                id, when, items, ..
            } => {
                if self.to.version >= 9 {
                    out.byte(opcode::MODULE_AUX);
                    write::len(id, out);
                    write::len(crate::rdb::value::module::UINT, out);
                    write::len(when, out);
                    write::bytes(items, out)?;
                } else {
                    let name = crate::rdb::value::module::ModuleId(id).name();
                    self.losses.note(Reason::ModuleAux, 0, &name);
                }
            }
            Item::SlotImport {
                job,
                ranges,
                offset,
            } => {
                if self.to.dialect == Dialect::Valkey {
                    out.byte(opcode::SLOT_IMPORT);
                    write::rdb_str(&job, out)?;
                    write::len(count_ranges(ranges, offset)?, out);
                    write::bytes(ranges, out)?;
                } else {
                    let job = job.as_bytes(&mut self.scratch)?;
                    self.losses.note(Reason::SlotImport, 0, job);
                }
            }
            Item::Key(_) | Item::Hint | Item::End => {}
        }
        out.checkpoint()
    }

    #[inline]
    fn entry(&mut self, e: &Entry<'_>, templates: &Templates, out: &mut Out<'_>) -> Result<()> {
        if self.follows_commands() {
            return Err(Self::behind(e.offset));
        }
        self.lost.clear();
        let mut losses = Losses::default();
        match self.way(e)? {
            Way::AsIs => {
                self.open(e, e.value_type, out)?;
                write::bytes(e.body, out)?;
            }
            Way::As(to) => {
                self.open(e, to, out)?;
                self.rewriter.value(e, templates, to, &mut losses, out)?;
            }
            Way::Lost(reason) => self.lost.push(reason),
            Way::Commands => return Err(self.only_commands(e)),
        }
        if !self.lost.is_empty() || !losses.is_empty() {
            self.note(e, &mut losses)?;
        }
        out.checkpoint()
    }

    fn command(&mut self, command: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        match &self.log {
            Some(log) => replay::command(command, log.release, &mut self.losses, out),
            None => Err(command.refuse(
                "an RDB file holds keys, not commands: load the log into a server and save there, or have it as commands (--format aof)",
            )),
        }
    }

    fn annotation(&mut self, line: &[u8], out: &mut Out<'_>) -> Result<()> {
        if let Some(log) = &self.log {
            replay::annotation(line, log.release, &mut self.losses, out);
        }
        Ok(())
    }

    fn part(&mut self, part: &Part<'_>, elements: &mut u64, out: &mut Out<'_>) -> Result<()> {
        let e = &part.entry;
        if self.follows_commands() {
            return Err(Self::behind(e.offset));
        }
        let way = compat::way_in_parts(e.value_type, self.release);
        let mut losses = Losses::default();
        self.lost.clear();
        let t = match way {
            Way::AsIs => e.value_type,
            Way::As(to) => to,
            Way::Lost(reason) => {
                if part.first {
                    self.lost.push(reason);
                    self.note(e, &mut losses)?;
                }
                return Ok(());
            }
            Way::Commands => return Err(self.only_commands(e)),
        };
        if part.first {
            self.open(e, t, out)?;
        }
        if way == Way::AsIs && !self.rewriter.wants(part) {
            write::bytes(part.raw, out)?;
        } else {
            self.rewriter.part(part, t, elements, &mut losses, out)?;
        }
        if !self.lost.is_empty() || !losses.is_empty() {
            // Of one part the attributes, of another the value.
            self.noted = None;
            self.note(e, &mut losses)?;
        }
        out.checkpoint()
    }
}

impl Rdb {
    #[cold]
    fn only_commands(&self, e: &Entry<'_>) -> RdbError {
        let release = self.release.map_or(String::new(), |r| format!(" of {r}"));
        RdbError::unsupported(
            e.body_offset,
            format!(
                "a value so large cannot be written to a file{release}; it can be sent as commands"
            ),
        )
    }
}

fn count_ranges(ranges: &[u8], offset: u64) -> Result<u64> {
    let mut c = Cursor::new(ranges, offset);
    let mut n = 0;
    while !c.is_empty() {
        length::read(&mut c, "a first slot")?;
        length::read(&mut c, "a last slot")?;
        n += 1;
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Filter, Transform};
    use crate::pipeline::{self, OnError, Options, Progress};
    use crate::rdb::crc64;
    use crate::rdb::scan::Scanner;
    use crate::sink::Plain;
    use crate::source::Source;

    /// A file as another, and what was lost.
    fn converted(file: &[u8], release: Option<Release>) -> (Vec<u8>, Losses) {
        let header = Rdb::header(Header::read(file).unwrap(), release);
        let mut all: Vec<(Vec<u8>, Losses)> = Vec::new();
        for (threads, on_error) in [(1, OnError::Stop), (3, OnError::Stop), (1, OnError::Skip)] {
            let mut out = write::header(header).to_vec();
            let filter = Filter::default();
            let transform = Transform::default();
            let options = Options {
                log: Default::default(),
                threads,
                filter: &filter,
                transform: &transform,
                unique: None,
                libraries: None,
                checksum: false,
                on_error,
                limit: None,
            };
            let mut source = Source::from_bytes("test", file);
            let (_, encoders) = pipeline::run(
                &mut source,
                &options,
                &Progress::new(),
                &mut Plain(&mut out),
                |header| Rdb::new(header, release),
            )
            .unwrap();
            let mut losses = Losses::default();
            for e in encoders {
                losses.merge(e.into_losses());
            }
            let end = write::file_end(crc64::checksum(&out), header);
            out.extend(end);
            all.push((out, losses));
        }
        assert!(all[0] == all[1]);
        // Whole values are looked at twice, and what they lose counts once.
        assert_eq!(all[0].1, all[2].1);
        all.swap_remove(0)
    }

    fn reasons(losses: &Losses) -> Vec<(Reason, u64)> {
        losses.iter().map(|l| (l.reason, l.count)).collect()
    }

    /// All that can stand beside keys, and a key with every attribute.
    const FILE: &[u8] = b"REDIS0013\xfa\x09redis-ver\x058.6.3\xfa\x08AOF-base\xc0\x00\xfa\x03lua\x08return 1\
        \xf7\x81\xb5\xeb\x2d\xff\xfa\xdd\x6c\x01\x02\x01\x02\x05\x00\xf5\x13#!lua name=m\nreturn\
        \xfe\x02\xfb\x01\x00\xfc\x7b\xd8\xc3\x2c\xbb\x03\0\0\xf8\x07\xf3\x01\x09\xf5\xc4\x28\x00\x00\xc0\x07\x01v\xff\0\0\0\0\0\0\0\0";

    #[test]
    fn what_stands_beside_the_keys() {
        let file = FILE.to_vec();
        let (same, losses) = converted(&file, None);
        assert!(losses.is_empty());
        let want = b"REDIS0013\xfa\x09redis-ver\x058.6.3\xfa\x03lua\x08return 1\
            \xf7\x81\xb5\xeb\x2d\xff\xfa\xdd\x6c\x01\x02\x01\x02\x05\x00\xf5\x13#!lua name=m\nreturn\
            \xfe\x02\xfc\x7b\xd8\xc3\x2c\xbb\x03\0\0\xf8\x07\xf3\x01\x09\xf5\xc4\x28\x00\x00\xc0\x07\x01v\xff";
        assert_eq!(
            same[..same.len() - 8].escape_ascii().to_string(),
            want.escape_ascii().to_string()
        );
        let crc = crc64::checksum(want).to_le_bytes();
        assert_eq!(same[same.len() - 8..], crc);

        let rows: [(Release, &[(Reason, u64)], &[u8]); 4] = [
            (
                Release::valkey(9, 0),
                &[(Reason::KeyMetadata, 1), (Reason::Script, 1)],
                b"\xfc\x7b\xd8\xc3\x2c\xbb\x03\0\0\xf8\x07\x00\xc0\x07\x01v\xff",
            ),
            (
                Release::redis(5, 0),
                &[(Reason::KeyMetadata, 1), (Reason::Function, 1)],
                b"\xfc\x7b\xd8\xc3\x2c\xbb\x03\0\0\xf8\x07\x00\xc0\x07\x01v\xff",
            ),
            (
                Release::redis(3, 2),
                &[
                    (Reason::IdleOrFreq, 1),
                    (Reason::KeyMetadata, 1),
                    (Reason::ModuleAux, 1),
                    (Reason::Function, 1),
                    (Reason::Script, 1),
                ],
                b"\xfc\x7b\xd8\xc3\x2c\xbb\x03\0\0\x00\xc0\x07\x01v\xff",
            ),
            (
                Release::redis(2, 4),
                &[
                    (Reason::ExpiryRounded, 1),
                    (Reason::IdleOrFreq, 1),
                    (Reason::KeyMetadata, 1),
                    (Reason::ModuleAux, 1),
                    (Reason::Function, 1),
                    (Reason::Script, 1),
                ],
                b"\xfd\xff\xff\xff\x7f\x00\xc0\x07\x01v\xff",
            ),
        ];
        for (release, lost, end) in rows {
            let (other, losses) = converted(&file, Some(release));
            assert_eq!(reasons(&losses), lost, "{release}");
            let body = other.len() - if release.rdb_version() >= 5 { 8 } else { 0 };
            assert!(
                other[..body].ends_with(end),
                "{release}: {}",
                other.escape_ascii()
            );
            for item in Scanner::new(&other).unwrap() {
                item.unwrap();
            }
        }
    }

    #[test]
    fn a_release_candidates_function_gets_its_first_line() {
        let file = b"REDIS0010\xf6\x01m\x03LUA\x00\x06return\xff\0\0\0\0\0\0\0\0";
        let (same, losses) = converted(file, None);
        assert!(losses.is_empty());
        assert!(
            same.starts_with(b"REDIS0010\xf5\x13#!lua name=m\nreturn\xff"),
            "{}",
            same.escape_ascii()
        );
    }

    #[test]
    fn slots_being_imported_are_of_valkey_9() {
        let mut file = b"VALKEY080\xf3\x28".to_vec();
        file.extend([b'j'; 40]);
        file.extend(b"\x02\x00\x0a\x40\x41\x40\xff\xff\0\0\0\0\0\0\0\0");
        let (same, losses) = converted(&file, None);
        assert!(losses.is_empty());
        assert_eq!(same[..same.len() - 8], file[..file.len() - 8]);
        let (_, losses) = converted(&file, Some(Release::valkey(8, 1)));
        assert_eq!(reasons(&losses), [(Reason::SlotImport, 1)]);
    }

    /// Values larger than a batch, which are written in parts by several workers.
    #[test]
    fn giants() {
        let mut file = b"VALKEY080\x16\x01h".to_vec();
        let n = 20_000;
        let mut want = b"REDIS0010\x04\x01h".to_vec();
        crate::rdb::length::write(n, &mut file);
        crate::rdb::length::write(n, &mut want);
        for i in 0..n {
            let pair = format!("\x0bfield:{i:05}\x0bvalue:{i:05}");
            file.extend(pair.as_bytes());
            want.extend(pair.as_bytes());
            let expiry = if i == 9_999 { 4_102_444_800_000 } else { -1i64 };
            file.extend(expiry.to_le_bytes());
        }
        file.extend(b"\x05\x01z");
        want.extend(b"\x05\x01z");
        let mut scores = Vec::new();
        crate::rdb::length::write(n, &mut scores);
        for i in 0..n {
            scores.extend(format!("\x0cmember:{i:05}").as_bytes());
            scores.extend((i as f64 / 4.0).to_le_bytes());
        }
        for f in [&mut file, &mut want] {
            f.extend(&scores);
            f.push(0xff);
        }
        file.extend([0; 8]);
        let (other, losses) = converted(&file, Some(Release::redis(7, 0)));
        assert!(other[..other.len() - 8] == want);
        assert_eq!(reasons(&losses), [(Reason::FieldExpiry, 1)]);
        // There and back again.
        let (other, losses) = converted(&file, Some(Release::redis(8, 0)));
        assert!(losses.is_empty());
        let (back, losses) = converted(&other, Some(Release::valkey(9, 0)));
        assert!(losses.is_empty());
        assert!(back[..back.len() - 8] == file[..file.len() - 8]);
    }
}
