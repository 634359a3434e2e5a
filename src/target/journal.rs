//! The file that says how far a stream has come.
//!
//! ```text
//!   {"rdbtool_restore":1,"of":{"target":"new:6379", ...},"position":1048613,"sum":"..","bound":35651584, ...}\n
//!   crc64 0123456789abcdef\n                                                         of the line before
//! ```
//!
//! It is written beside its place, on disk, and renamed, so that it is whole at any moment. The one in place is locked by whoever writes
//! the next. What the positions mean: see [`resume`](super::resume).

use super::report::Failure;
use crate::error::{ErrorKind, RdbError, Result};
use crate::rdb::crc64;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind as Io, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the first line says it is.
const FORMAT: &str = "rdbtool_restore";
const VERSION: u64 = 1;
/// Bytes that are read of a file: more than one ever has.
const LARGEST: u64 = 4 << 20;

/// A place in the stream between two commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Bytes before it.
    pub(super) at: u64,
    /// Their sum.
    pub(super) sum: u64,
    /// Keys before it.
    pub(super) keys: u64,
}

/// What is in the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    /// What makes the stream what it is, by name.
    pub(super) of: Vec<(String, String)>,
    /// Whether anything may have been sent.
    pub(super) begun: bool,
    pub(super) started_ms: i64,
    /// The name of its connections.
    pub(super) client: String,
    /// What the markers in the target are called: as the connections of the first run.
    pub(super) markers: String,
    /// Whether there was no key in the target to begin with.
    pub(super) was_empty: bool,
    /// Everything before it has been answered. It lies before the first command of a key.
    pub(super) done: Mark,
    /// No command that begins here, or further on, has been sent.
    pub(super) bound: u64,
    /// Commands that found a key that was not ours.
    pub(super) conflicts: Vec<u64>,
    pub(super) skipped: u64,
    pub(super) failed: u64,
    pub(super) restarted: u64,
    pub(super) unconfirmed: u64,
    pub(super) errors: Vec<Failure>,
    /// The id of each server's run.
    pub(super) runs: BTreeMap<String, String>,
}

/// The position of a restore, in a file. Given to a [`Target`](super::Target), it is kept up to date there.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// The file in its place, locked.
    file: Option<File>,
    pub(super) state: State,
    /// The name of the connections of this run.
    client: String,
}

impl Journal {
    /// Reads `path`, or begins anew if there is no such file. `now_ms` is now, in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// Something else is in the file, it is damaged, or another process uses it.
    pub fn open(path: &Path, now_ms: i64) -> Result<Journal> {
        let named = |e: RdbError| e.with_file(&path.display().to_string());
        let client = format!("rdbtool-{:x}-{now_ms:x}", std::process::id());
        let mut journal = Journal {
            path: path.to_owned(),
            file: None,
            state: State {
                started_ms: now_ms,
                markers: client.clone(),
                ..State::default()
            },
            client,
        };
        let Some(file) = lock_in_place(path).map_err(named)? else {
            return Ok(journal);
        };
        let mut bytes = Vec::new();
        (&file)
            .take(LARGEST)
            .read_to_end(&mut bytes)
            .map_err(|e| named(RdbError::io("cannot read", e)))?;
        let state = State::read(&bytes).map_err(|what| {
            let what = format!("{what}; if it is not needed, delete it and begin anew");
            named(RdbError::other(ErrorKind::Corrupt, what))
        })?;
        if state.begun {
            journal.state = state;
        }
        journal.file = Some(file);
        Ok(journal)
    }

    /// Whether a run before has begun.
    pub fn is_begun(&self) -> bool {
        self.state.begun
    }

    /// When the first run began, in milliseconds since 1970: what "now" is for all of them.
    pub fn started_ms(&self) -> i64 {
        self.state.started_ms
    }

    /// Keys that are done, and bytes of commands.
    pub fn done(&self) -> (u64, u64) {
        (self.state.done.keys, self.state.done.at)
    }

    /// What the connections of this run are to be called.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// What is not as it was, a line each: of all that makes the stream what it is.
    pub fn differences(&self, of: &[(String, String)]) -> Vec<String> {
        let find = |list: &[(String, String)], name: &str| {
            let found = list.iter().find(|(n, _)| n == name);
            found.map(|(_, value)| value.clone())
        };
        let mut names: Vec<&String> = self.state.of.iter().chain(of).map(|(n, _)| n).collect();
        let mut seen = std::collections::HashSet::new();
        names.retain(|n| seen.insert(*n));
        let mut lines = Vec::new();
        for name in names {
            let line = match (find(&self.state.of, name), find(of, name)) {
                (was, is) if was == is => continue,
                (Some(was), Some(is)) => format!("{name} was {was}, and is {is}"),
                (Some(was), None) => format!("{name} was {was}, and is not given"),
                (None, is) => format!("{name} was not given, and is {}", is.unwrap_or_default()),
            };
            lines.push(line);
        }
        lines
    }

    /// Says what makes the stream what it is, of one that begins anew, and sees to it that the file can be written.
    pub fn begin(&mut self, of: Vec<(String, String)>) -> Result<()> {
        self.state.of = of;
        self.save()
    }

    /// Takes over the connections' name.
    pub(super) fn take_over(&mut self) -> String {
        std::mem::replace(&mut self.state.client, self.client.clone())
    }

    /// Writes the file. When this returns it is on disk.
    pub(super) fn save(&mut self) -> Result<()> {
        let named =
            |what: &str, e| RdbError::io(what, e).with_file(&self.path.display().to_string());
        let beside = self.beside();
        let write = || {
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&beside)?;
            lock(&file)?;
            file.write_all(&self.state.write())?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.path)?;
            // A name is on disk once its directory is.
            let dir = self.path.parent().filter(|p| !p.as_os_str().is_empty());
            File::open(dir.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(file)
        };
        let file = write().map_err(|e| named("cannot save the position", e))?;
        self.file = Some(file);
        Ok(())
    }

    /// There is nothing to go on with.
    pub(super) fn remove(self) -> Result<()> {
        let _ = std::fs::remove_file(self.beside());
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != Io::NotFound => {
                Err(RdbError::io("cannot delete", e).with_file(&self.path.display().to_string()))
            }
            _ => Ok(()),
        }
    }

    fn beside(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        self.path.with_file_name(name)
    }
}

/// Opens and locks the file at `path`, if there is one.
fn lock_in_place(path: &Path) -> Result<Option<File>> {
    loop {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == Io::NotFound => return Ok(None),
            Err(e) => return Err(RdbError::io("cannot open", e)),
        };
        let meta = file
            .metadata()
            .map_err(|e| RdbError::io("cannot look at", e))?;
        if !meta.is_file() {
            let what = "no regular file: a position is renamed into its place";
            return Err(RdbError::other(ErrorKind::Unsupported, what));
        }
        lock(&file).map_err(|e| RdbError::io("cannot lock", e))?;
        // Until it was locked another may have taken its place.
        match std::fs::metadata(path) {
            Ok(now) if (now.dev(), now.ino()) == (meta.dev(), meta.ino()) => return Ok(Some(file)),
            _ => {}
        }
    }
}

/// Locks a file, where that can be done.
fn lock(file: &File) -> std::io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(std::io::Error::other(
            "another rdbtool is at work with this file",
        )),
        // Some file systems know no locks.
        Err(TryLockError::Error(_)) | Ok(()) => Ok(()),
    }
}

impl State {
    pub(crate) fn write(&self) -> Vec<u8> {
        let errors: Vec<Value> = self
            .errors
            .iter()
            .map(|f| json!({"kind": f.kind, "count": f.count, "first": f.first}))
            .collect();
        let conflicts: Vec<String> = self.conflicts.iter().map(|c| format!("{c:016x}")).collect();
        let of: Map<String, Value> = self
            .of
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let line = json!({
            FORMAT: VERSION,
            "of": of,
            "begun": self.begun,
            "started_ms": self.started_ms,
            "client": self.client,
            "markers": self.markers,
            "was_empty": self.was_empty,
            "position": self.done.at,
            "sum": format!("{:016x}", self.done.sum),
            "keys": self.done.keys,
            "bound": self.bound,
            "conflicts": conflicts,
            "skipped": self.skipped,
            "failed": self.failed,
            "restarted": self.restarted,
            "unconfirmed": self.unconfirmed,
            "errors": errors,
            "runs": self.runs,
        });
        State::sealed(line.to_string()).into_bytes()
    }

    /// A first line with its second.
    pub(crate) fn sealed(line: String) -> String {
        let sum = crc64::checksum(line.as_bytes());
        format!("{line}\ncrc64 {sum:016x}\n")
    }

    /// Reads what [`State::write`] wrote; or else says what is wrong.
    pub(crate) fn read(bytes: &[u8]) -> std::result::Result<State, String> {
        const DAMAGED: &str = "is damaged";
        let strange = || "is no position of `rdbtool restore --resume`".to_owned();
        let text = std::str::from_utf8(bytes).map_err(|_| strange())?;
        if !text.starts_with(&format!("{{\"{FORMAT}\":")) {
            return Err(strange());
        }
        let (line, rest) = text
            .split_once('\n')
            .ok_or(format!("{DAMAGED}: it ends in its first line"))?;
        if rest != format!("crc64 {:016x}\n", crc64::checksum(line.as_bytes())) {
            return Err(format!(
                "{DAMAGED}: its first line has not the sum in its second"
            ));
        }
        let fields: Value = serde_json::from_str(line).map_err(|e| format!("{DAMAGED}: {e}"))?;
        match fields.get(FORMAT).and_then(Value::as_u64) {
            Some(VERSION) => {}
            n => {
                let n = n.map_or("unknown".to_owned(), |n| n.to_string());
                return Err(format!("has format {n}; this build knows {VERSION}"));
            }
        }
        State::of_fields(&fields)
            .map_err(|name| format!("{DAMAGED}: no {name} in it, or a strange one"))
    }

    fn of_fields(fields: &Value) -> std::result::Result<State, &'static str> {
        let number = |name| fields.get(name).and_then(Value::as_u64).ok_or(name);
        let flag = |name| fields.get(name).and_then(Value::as_bool).ok_or(name);
        let text = |name| fields.get(name).and_then(Value::as_str).ok_or(name);
        let list = |name| fields.get(name).and_then(Value::as_array).ok_or(name);
        let pairs = |name| {
            let map = fields.get(name).and_then(Value::as_object).ok_or(name)?;
            map.iter()
                .map(|(k, v)| Ok((k.clone(), v.as_str().ok_or(name)?.to_owned())))
                .collect::<std::result::Result<Vec<_>, &'static str>>()
        };
        let hex = |text: &str, name| u64::from_str_radix(text, 16).map_err(|_| name);
        let state = State {
            of: pairs("of")?,
            begun: flag("begun")?,
            started_ms: fields
                .get("started_ms")
                .and_then(Value::as_i64)
                .ok_or("started_ms")?,
            client: text("client")?.to_owned(),
            markers: text("markers")?.to_owned(),
            was_empty: flag("was_empty")?,
            done: Mark {
                at: number("position")?,
                sum: hex(text("sum")?, "sum")?,
                keys: number("keys")?,
            },
            bound: number("bound")?,
            conflicts: list("conflicts")?
                .iter()
                .map(|v| hex(v.as_str().ok_or("conflicts")?, "conflicts"))
                .collect::<std::result::Result<_, _>>()?,
            skipped: number("skipped")?,
            failed: number("failed")?,
            restarted: number("restarted")?,
            unconfirmed: number("unconfirmed")?,
            errors: list("errors")?
                .iter()
                .map(|v| failure(v).ok_or("errors"))
                .collect::<std::result::Result<_, _>>()?,
            runs: pairs("runs")?.into_iter().collect(),
        };
        match state.bound < state.done.at {
            true => Err("bound"),
            false => Ok(state),
        }
    }
}

fn failure(v: &Value) -> Option<Failure> {
    let first = v.get("first")?.as_array()?.iter().map(|f| {
        let [db, key, said] = f.as_array()?.as_slice() else {
            return None;
        };
        Some((
            db.as_u64()?,
            key.as_str()?.to_owned(),
            said.as_str()?.to_owned(),
        ))
    });
    Some(Failure {
        kind: v.get("kind")?.as_str()?.to_owned(),
        count: v.get("count")?.as_u64()?,
        first: first.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            of: vec![
                ("target".into(), "h:1".into()),
                ("--key".into(), "\"a\n\"".into()),
            ],
            begun: true,
            started_ms: 5,
            client: "rdbtool-1".into(),
            markers: "rdbtool-0".into(),
            was_empty: true,
            done: Mark {
                at: u64::MAX - 1,
                sum: u64::MAX,
                keys: 7,
            },
            bound: u64::MAX,
            conflicts: vec![1, u64::MAX],
            skipped: 1,
            failed: 2,
            restarted: 3,
            unconfirmed: 4,
            errors: vec![Failure {
                kind: "ERR".into(),
                count: 2,
                first: vec![(0, "\"k\"".into(), "ERR x".into())],
            }],
            runs: BTreeMap::from([("h:1".to_owned(), "id".to_owned())]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for s in [state(), State::default()] {
            assert_eq!(State::read(&s.write()), Ok(s));
        }
    }

    /// Wherever it is cut, and whichever byte is another, that is noticed.
    #[test]
    fn damage_is_noticed() {
        let whole = state().write();
        for n in 0..whole.len() {
            assert!(State::read(&whole[..n]).is_err(), "cut at {n}");
            let mut other = whole.clone();
            other[n] ^= 1;
            assert!(State::read(&other).is_err(), "byte {n}");
        }
        let says = |bytes: &[u8]| State::read(bytes).unwrap_err();
        assert!(says(b"REDIS0011").contains("is no position"));
        let newer = State::sealed("{\"rdbtool_restore\":2}".to_owned());
        assert!(says(newer.as_bytes()).contains("has format 2; this build knows 1"));
    }

    #[test]
    fn one_process_at_a_time_and_none_of_it_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("position");
        let of = |v: &str| vec![("target".to_owned(), v.to_owned())];
        let mut first = Journal::open(&path, 1).unwrap();
        first.begin(of("a")).unwrap();
        for _ in 0..2 {
            let e = Journal::open(&path, 2).unwrap_err().to_string();
            assert!(e.contains("another rdbtool"), "{e}");
            first.save().unwrap();
        }
        // Nothing had been sent: it begins anew.
        drop(first);
        let mut second = Journal::open(&path, 3).unwrap();
        assert_eq!((second.is_begun(), second.started_ms()), (false, 3));
        second.begin(of("b")).unwrap();
        second.state.begun = true;
        second.save().unwrap();
        drop(second);
        let third = Journal::open(&path, 4).unwrap();
        assert_eq!((third.is_begun(), third.started_ms()), (true, 3));
        assert!(third.differences(&of("b")).is_empty());
        assert_eq!(third.differences(&of("c")), ["target was b, and is c"]);
        assert_eq!(third.differences(&[]), ["target was b, and is not given"]);
        third.remove().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump.rdb");
        std::fs::write(&path, b"REDIS0011").unwrap();
        let e = Journal::open(&path, 1).unwrap_err().to_string();
        assert!(e.contains("dump.rdb: is no position"), "{e}");
        let e = Journal::open(dir.path(), 1).unwrap_err().to_string();
        assert!(e.contains("no regular file"), "{e}");
        assert_eq!(std::fs::read(&path).unwrap(), b"REDIS0011");
    }
}
