//! Cutting a log of commands into batches.
//!
//! ```text
//!   log    |c|c|c|#TS|c| MULTI c c c EXEC |c|c| MULTI c c
//!   jobs   |  batch    |     batch          |  ^ no EXEC: left out
//! ```
//!
//! A batch ends behind a whole command that is in no transaction, so that whoever works on it sees transactions whole. One that is larger than a
//! batch is a batch by itself: in a mapped file that takes no memory, and from a pipe the window gathers it on disk.

use super::batch::{BATCH, Job, Work};
use crate::aof::scan::{Scan, Step, control, selected, time_stamp};
use crate::aof::{Options, Place, Tail, Truncated};
use crate::command::table::Role;
use crate::error::{RdbError, Result};
use crate::source::Window;

/// What was found where a log ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogEnd {
    /// The tail that was left out.
    pub(crate) truncated: Option<Truncated>,
    /// The last time stamp that was passed, in seconds since 1970.
    pub(crate) last_stamp: Option<u64>,
    /// Whether it was left where a time stamp is later than what is wanted.
    pub(crate) stopped: bool,
}

/// Gives batches until the log ends.
#[derive(Debug)]
pub(super) struct Log {
    options: Options,
    place: Place,
    scan: Scan,
    /// The database at the window's start, and at the scan.
    first_db: u64,
    db: u64,
    /// Whether RDB data stand before it of which the last are of another database than the first, in which every log begins.
    changes: bool,
    /// Where in the window the last whole command ends that is in no transaction, and the database there.
    whole: (usize, u64),
    /// The commands so far in the transaction that is open.
    open: Option<u64>,
    ended: bool,
    failed: Option<RdbError>,
    pub(super) end: LogEnd,
}

impl Log {
    pub(super) fn new(options: Options, place: Place) -> Log {
        Log {
            options,
            place,
            scan: Scan::default(),
            first_db: 0,
            db: 0,
            changes: false,
            whole: (0, 0),
            open: None,
            ended: false,
            failed: None,
            end: LogEnd::default(),
        }
    }

    /// Says that RDB data stand before it, the last of this database.
    pub(super) fn behind(mut self, db: u64) -> Log {
        self.changes = db != self.first_db;
        self
    }

    /// The next batch; `None` behind the last. An error comes after the batches of all that stands before it.
    pub(super) fn next<'a>(&mut self, window: &mut Window<'a>) -> Result<Option<Job<'a>>> {
        while !self.ended {
            let before = self.scan.at();
            let offset = window.offset() + before as u64;
            match self.scan.step(window.bytes(), window.offset()) {
                Ok(Step::Command(raw)) => match control(raw.name()) {
                    Role::Select => match selected(&raw, offset) {
                        Ok(db) => self.db = db,
                        Err(e) => self.fail(e),
                    },
                    // One within another is passed over by servers.
                    Role::Multi if self.open.is_none() => self.open = Some(0),
                    Role::Exec => self.open = None,
                    _ => {
                        if let Some(n) = &mut self.open {
                            *n += 1;
                        }
                    }
                },
                Ok(Step::Annotation(line)) => {
                    if let Some(s) = time_stamp(line) {
                        if self.options.until.is_some_and(|t| is_later(s, t)) {
                            self.stop(s, offset);
                        } else {
                            self.end.last_stamp = Some(s);
                        }
                    }
                }
                Ok(Step::More) if window.is_whole() => self.tail(window),
                Ok(Step::More) => window.fill(),
                Err(e) => self.fail(e),
            }
            if self.ended {
                break;
            }
            let at = self.scan.at();
            if self.open.is_none() && at > before {
                self.whole = (at, self.db);
            }
            if at >= BATCH && self.whole.0 > 0 {
                return Ok(self.batch(window));
            }
        }
        if self.whole.0 > 0 {
            return Ok(self.batch(window));
        }
        match self.failed.take() {
            Some(e) => Err(e.with_whole(window.offset())),
            None => Ok(None),
        }
    }

    /// What is whole, as a batch.
    fn batch<'a>(&mut self, window: &mut Window<'a>) -> Option<Job<'a>> {
        let (n, db) = std::mem::take(&mut self.whole);
        let first_db = std::mem::replace(&mut self.first_db, db);
        self.scan.taken(n);
        Some(Job {
            offset: window.offset(),
            chunk: window.take(n),
            work: Work::Commands(first_db, std::mem::take(&mut self.changes)),
        })
    }

    fn fail(&mut self, e: RdbError) {
        self.failed = Some(e);
        self.ended = true;
    }

    /// At a time stamp that is too late.
    fn stop(&mut self, stamp: u64, offset: u64) {
        self.ended = true;
        self.end.stopped = true;
        if self.place.base {
            self.failed = Some(RdbError::unsupported(offset, too_late(stamp)));
        }
    }

    /// Where the bytes end.
    fn tail(&mut self, window: &mut Window<'_>) {
        self.ended = true;
        if let Some(e) = window.failure() {
            self.failed = Some(e);
            return;
        }
        let len = window.bytes().len();
        let (whole, _) = self.whole;
        if len == whole {
            return;
        }
        let truncated = Truncated {
            offset: window.offset() + whole as u64,
            bytes: (len - whole) as u64,
            commands: self.open.unwrap_or(0),
            cut: self.scan.at() < len,
        };
        match (self.options.tail, self.place.last) {
            (Tail::Cut, true) => self.end.truncated = Some(truncated),
            (_, last) => {
                let mut what = truncated.to_string();
                if !last {
                    what += "; others follow it, so it was not cut by a server that was killed";
                }
                self.failed = Some(RdbError::eof(truncated.offset, what));
            }
        }
    }
}

/// Whether a time stamp, in seconds, is later than a time in milliseconds.
pub(super) fn is_later(seconds: u64, ms: i64) -> bool {
    i128::from(seconds) * 1000 > i128::from(ms)
}

/// Why a base that was written at a time cannot be gone back behind.
pub(super) fn too_late(seconds: u64) -> String {
    let at = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds));
    let at = at.map_or_else(
        || seconds.to_string(),
        |t| {
            // What no calendar has is refused by the formatter.
            let mut text = String::new();
            let rfc = humantime::format_rfc3339_seconds(t);
            match std::fmt::Write::write_fmt(&mut text, format_args!("{rfc}")) {
                Ok(()) => text,
                Err(_) => seconds.to_string(),
            }
        },
    );
    format!(
        "this was written at {at}, later than --until: what there was before the log was rewritten is gone"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(bytes: &[u8], step: usize, options: Options) -> (Vec<String>, Result<LogEnd>) {
        let reader: Box<dyn std::io::Read + Send> = Box::new(std::io::Cursor::new(bytes.to_vec()));
        let mut window = match step {
            0 => Window::whole(bytes),
            step => Window::growing(Vec::new(), reader, step),
        };
        let mut log = Log::new(options, Place::ALONE);
        let mut found = Vec::new();
        loop {
            match log.next(&mut window) {
                Ok(Some(job)) => {
                    let Work::Commands(db, _) = job.work else {
                        panic!("{:?}", job.work)
                    };
                    let bytes = job.chunk.bytes().escape_ascii().to_string();
                    found.push(format!("{db} {} {bytes}", job.offset));
                }
                Ok(None) => return (found, Ok(log.end)),
                Err(e) => return (found, Err(e)),
            }
        }
    }

    fn one(text: &str) -> Vec<u8> {
        let mut out = crate::out::Out::new();
        for command in text.split(';') {
            match command.strip_prefix('#') {
                Some(stamp) => out.raw(format!("#{stamp}\r\n").as_bytes()),
                None => {
                    let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
                    crate::resp::write::command(&args, &mut out);
                }
            }
        }
        out.as_bytes().to_vec()
    }

    #[test]
    fn the_end_of_a_log() {
        let set = one("SET a 1").len() as u64;
        let rows: &[(&str, usize, u64, Option<Truncated>)] = &[
            ("SET a 1", 0, set, None),
            (
                "SET a 1;SET b 2",
                3,
                set,
                Some(Truncated {
                    offset: set,
                    bytes: set - 3,
                    commands: 0,
                    cut: true,
                }),
            ),
            (
                "SET a 1;MULTI;SET b 2",
                0,
                set,
                Some(Truncated {
                    offset: set,
                    bytes: set + 15,
                    commands: 1,
                    cut: false,
                }),
            ),
            (
                "SET a 1;MULTI;SET b 2;EXEC",
                1,
                set,
                Some(Truncated {
                    offset: set,
                    bytes: set + 15 + 13,
                    commands: 1,
                    cut: true,
                }),
            ),
            ("SET a 1;multi;MULTI;SET b 2;exec", 0, 2 * set + 44, None),
            ("EXEC;DISCARD;SET a 1", 0, set + 14 + 17, None),
        ];
        for (text, cut, whole, truncated) in rows {
            let bytes = one(text);
            let bytes = &bytes[..bytes.len() - cut];
            for step in [0, 1, 7, 1000] {
                let (jobs, end) = batches(bytes, step, Options::default());
                assert_eq!(jobs.len(), 1, "{text}");
                let end = end.unwrap();
                assert_eq!(end.truncated, *truncated, "{text}");
                let n = end.truncated.map_or(bytes.len() as u64, |t| t.offset);
                assert_eq!(n, *whole, "{text}");
                let refuse = Options {
                    tail: Tail::Refuse,
                    ..Options::default()
                };
                let (_, end) = batches(bytes, step, refuse);
                assert_eq!(
                    end.err().map(|e| e.whole()),
                    truncated.as_ref().map(|t| Some(t.offset))
                );
            }
        }
    }

    #[test]
    fn until_a_time() {
        let log = one("SELECT 3;#TS:10;SET a 1;#TS:11;SET b 2;#TS:12;SET c 3");
        for (until, last) in [
            (9_999, "SELECT"),
            (10_999, "a"),
            (11_000, "b"),
            (12_000, "c"),
        ] {
            let options = Options {
                until: Some(until),
                ..Options::default()
            };
            let (jobs, end) = batches(&log, 0, options);
            let end = end.unwrap();
            assert_eq!(end.stopped, last != "c", "{until}");
            let first = jobs.first().unwrap();
            for name in ["a", "b", "c"] {
                let has = first.contains(&format!("$1\\r\\n{name}\\r\\n"));
                assert_eq!(has, last != "SELECT" && name <= last, "{until} {name}");
            }
        }
    }

    #[test]
    fn a_transaction_is_in_one_batch() {
        let value = "x".repeat(1000);
        let mut text = "SELECT 5;SET before 1;MULTI;SELECT 7".to_owned();
        for _ in 0..600 {
            text += &format!(";SET k {value}");
        }
        text += ";EXEC;SET after 1";
        for _ in 0..600 {
            text += &format!(";SET k {value}");
        }
        let log = one(&text);
        for step in [0, 10_000] {
            let (jobs, end) = batches(&log, step, Options::default());
            assert!(end.unwrap().truncated.is_none());
            let starts: Vec<_> = jobs.iter().map(|j| &j[..1]).collect();
            assert_eq!(starts[..3], ["0", "5", "7"], "{step}");
            assert!(jobs[1].contains("MULTI") && jobs[1].contains("EXEC"));
            let total: usize = jobs.iter().map(|j| j.matches("SET").count()).sum();
            assert_eq!(total, 1202);
        }
    }

    #[test]
    fn damage_comes_after_what_stands_before_it() {
        let mut log = one("SET a 1;MULTI;SET b 2");
        log.extend_from_slice(b"garbage");
        let (jobs, end) = batches(&log, 0, Options::default());
        let e = end.unwrap_err();
        let whole = one("SET a 1").len() as u64;
        assert_eq!(jobs.len(), 1);
        assert_eq!(
            (e.whole(), e.offset()),
            (Some(whole), Some(log.len() as u64 - 7))
        );
    }
}
