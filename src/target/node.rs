//! One connection, kept full in both directions.
//!
//! ```text
//!   append ──► log ──► exchange ──► server
//!               ▲                     │
//!               └── done: dropped ◄── answers
//!                   later: kept, and the lane is in trouble
//! ```
//!
//! Nothing here waits, and nothing is sent twice: that is for `recover`, once all lanes are at rest.

use super::log::{Log, Pending, Spilled, State, key_of};
use super::report::{Marks, Report};
use super::resume::known_by;
use super::retry::{Meaning, Trouble, meaning};
use super::route::Class;
use super::units;
use crate::error::{ErrorKind, RdbError, Result, quote, quote_up_to};
use crate::filter::OnConflict;
use crate::net::client::hint;
use crate::net::{Address, Connection};
use crate::out::Out;
use crate::resp::read::{End, Head, head};
use crate::resp::write;
use std::collections::HashMap;
use std::time::Instant;

/// Lists of which the length is remembered, at the least.
const LISTS: usize = 8192;

/// What all connections write into.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) report: Report,
    pub(super) marks: Marks,
    pub(super) on_conflict: OnConflict,
    pub(super) cluster: bool,
    /// Whether there was no key before the first run.
    pub(super) was_empty: bool,
    /// Which command has found a key that was there.
    pub(super) conflict: Option<u64>,
    /// Commands that counted as done, and grows.
    pub(super) progress: u64,
    /// How long lists were after the last RPUSH that counts as done.
    pub(super) pushed: HashMap<u64, u64>,
    /// Up to which unit of a log each place has them.
    pub(super) units: HashMap<u16, u64>,
    /// Which commands of a transaction are not to be sent again, by its last unit.
    pub(super) bad: HashMap<u64, Vec<u32>>,
    /// Nodes that are taking over slots.
    pub(super) asked: Vec<Address>,
    /// Slots that have been found elsewhere.
    pub(super) moved: HashMap<u16, Address>,
}

impl Ledger {
    /// A command is done, or failed for good.
    pub(super) fn settle(&mut self, p: &Pending) {
        if p.class.is_ours() {
            // A server without memory takes any SELECT: that is no success.
            return;
        }
        self.progress += 1;
        if p.quiet {
            return;
        }
        let of_log = match p.class {
            Class::Unit => u64::from(p.elements),
            _ => 0,
        };
        self.report.of_logs += of_log;
        self.report.commands += of_log.max(1);
        self.report.bytes += p.bytes;
        self.report.keys_sent += u64::from(p.first);
        self.marks.settle(p.epoch);
        match p.class {
            Class::Push if p.answer > 0 => {
                self.pushed.insert(p.key, p.answer);
            }
            Class::Delete => {
                self.pushed.remove(&p.key);
            }
            Class::Unit => {
                self.units.insert(u16::try_from(p.key).unwrap_or(0), p.unit);
            }
            _ => {}
        }
    }
}

/// A connection and what it has to do.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) address: Address,
    pub(super) connection: Option<Connection>,
    /// What was received and not yet read, and bytes received before that.
    pub(super) input: Vec<u8>,
    base: u64,
    end: End,
    pub(super) log: Log,
    /// The database that what is appended next goes into without a SELECT.
    /// Not known before the first.
    pub(super) db: Option<u64>,
    /// What the server calls this connection.
    pub(super) client_id: Option<i64>,
    pub(super) run_id: String,
    pub(super) trouble: Option<Trouble>,
    /// What the connection was lost of.
    pub(super) lost: Option<RdbError>,
    /// Whether it is not known what became of what was sent.
    pub(super) cut: bool,
    /// Whether the server is not the one it was, and may not have what it had.
    pub(super) replaced: bool,
    /// One command goes first, to see whether it can be done now.
    pub(super) probing: bool,
    /// A SELECT has failed.
    astray: bool,
    /// Of the transaction that is being answered.
    unit: units::Answered,
    /// How many replicas must have a command before it counts as done.
    pub(super) replicas: u64,
    /// Bytes since replicas were last asked for.
    pub(super) unconfirmed: u64,
    pub(super) moved_at: Instant,
}

/// Where the bytes of a command are.
#[derive(Debug)]
pub(super) enum Kind<'b> {
    Memory(&'b [u8]),
    File(Spilled),
}

/// What a server answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Said<'a> {
    Something,
    /// A list, whole.
    Array(&'a [u8]),
    Int(i64),
    Error(&'a [u8]),
}

impl Lane {
    pub(super) fn new(address: Address) -> Lane {
        Lane {
            address,
            connection: None,
            input: Vec::new(),
            base: 0,
            end: End::default(),
            log: Log::default(),
            db: None,
            client_id: None,
            run_id: String::new(),
            trouble: None,
            lost: None,
            cut: false,
            replaced: false,
            probing: false,
            astray: false,
            unit: units::Answered::default(),
            replicas: 0,
            unconfirmed: 0,
            moved_at: Instant::now(),
        }
    }

    /// Has a new connection.
    pub(super) fn connected(&mut self, connection: Connection, input: Vec<u8>) {
        self.connection = Some(connection);
        self.input = input;
        (self.base, self.end) = (0, End::default());
        (self.db, self.astray) = (None, false);
        self.lost = None;
        self.moved_at = Instant::now();
    }

    /// Appends a command, with what it takes before it: SELECT, ASKING.
    pub(super) fn append(&mut self, bytes: Kind<'_>, pending: Pending) {
        if self.db != Some(pending.db) {
            self.db = Some(pending.db);
            self.ours(
                Class::Select,
                pending.db,
                &[b"SELECT", pending.db.to_string().as_bytes()],
            );
        }
        if pending.ask > 0 {
            self.ours(Class::Asking, pending.db, &[b"ASKING"]);
        }
        self.unconfirmed += pending.bytes;
        match bytes {
            Kind::Memory(bytes) => self.log.append(bytes, pending),
            Kind::File(file) => self.log.append_file(file, pending),
        }
    }

    /// Asks that replicas have all that was appended.
    pub(super) fn confirm(&mut self) {
        self.unconfirmed = 0;
        let db = self.db.unwrap_or(0);
        self.ours(
            Class::Wait,
            db,
            &[b"WAIT", self.replicas.to_string().as_bytes(), b"1000"],
        );
    }

    fn ours(&mut self, class: Class, db: u64, argv: &[&[u8]]) {
        let mut out = Out::new();
        write::command(argv, &mut out);
        self.log
            .append(out.as_bytes(), Pending::new(class, out.len() as u64, db));
    }

    /// The connection is no more.
    pub(super) fn lose(&mut self, e: RdbError) {
        self.connection = None;
        self.input.clear();
        self.lost = Some(e);
        self.cut = true;
        if !self.log.is_empty() {
            self.trouble = Some(Trouble::Link);
        }
    }

    /// Sends and receives what can be without waiting; whether anything moved.
    pub(super) fn exchange(&mut self, ledger: &mut Ledger) -> Result<bool> {
        let Some(connection) = &mut self.connection else {
            if self.log.unsent() > 0 {
                self.trouble = Some(Trouble::Link);
            }
            return Ok(false);
        };
        let out = self.log.out()?;
        let (moved, closed) = match connection.exchange(out, &mut self.input) {
            Ok(done) => {
                self.log.sent(done.written);
                (done.moved(), done.closed)
            }
            Err(e) => {
                let e =
                    RdbError::io("the connection is lost", e).with_file(&self.address.to_string());
                self.lose(e);
                return Ok(true);
            }
        };
        if moved {
            self.moved_at = Instant::now();
            self.answers(ledger)?;
        }
        if closed {
            let what = "the server closed the connection";
            let e = RdbError::other(ErrorKind::Server, what).with_file(&self.address.to_string());
            self.lose(e);
        }
        Ok(moved)
    }

    /// Reads all answers that are there.
    fn answers(&mut self, ledger: &mut Ledger) -> Result<()> {
        let mut input = std::mem::take(&mut self.input);
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let base = self.base + at as u64;
            let garbled = |e: RdbError| {
                let what = format!("no server of Redis or Valkey: {e}");
                RdbError::other(ErrorKind::Server, what).with_file(&self.address.to_string())
            };
            let Some((line, len)) = head(rest, base).map_err(garbled)? else {
                break;
            };
            let (said, len) = match line {
                Head::Status(_) | Head::Nil => (Said::Something, len),
                Head::Int(n) => (Said::Int(n), len),
                Head::Error(text) => (Said::Error(text), len),
                Head::Bulk(_) | Head::Array(_) => match self.end.find(rest, base) {
                    Ok(Some(len)) if matches!(line, Head::Array(_)) => {
                        (Said::Array(rest.get(..len).unwrap_or_default()), len)
                    }
                    Ok(Some(len)) => (Said::Something, len),
                    Ok(None) => break,
                    Err(e) => return Err(garbled(e)),
                },
            };
            self.answer(said, ledger)?;
            at += len;
        }
        input.drain(..at);
        self.base += at as u64;
        self.input = input;
        Ok(())
    }

    /// The next command has its answer.
    fn answer(&mut self, said: Said<'_>, ledger: &mut Ledger) -> Result<()> {
        let Some((p, bytes)) = self.log.next() else {
            let what = "an answer to nothing that was asked";
            let e = RdbError::other(ErrorKind::Server, what);
            return Err(e.with_file(&self.address.to_string()));
        };
        let class = p.class;
        match said {
            _ if class == Class::Unit => {
                let answered =
                    units::answer(p, bytes, &said, &mut self.unit, &self.address, ledger)?;
                match answered {
                    None => return Ok(()),
                    Some(None) => p.state = State::Done,
                    Some(trouble) => {
                        p.state = State::Failed;
                        self.trouble = trouble;
                    }
                }
            }
            Said::Error(text) => {
                if let Some(trouble) = failed(p, bytes, text, &self.address, ledger)? {
                    p.state = State::Failed;
                    self.trouble = Some(trouble);
                    self.astray |= class == Class::Select;
                } else {
                    p.state = State::Done;
                }
            }
            Said::Something | Said::Array(_) | Said::Int(_) => {
                p.state = State::Done;
                if let (Said::Int(n), Class::Push) = (said, class) {
                    p.answer = u64::try_from(n).unwrap_or(0);
                }
                if let (Said::Int(n), Class::Wait) = (said, class)
                    && u64::try_from(n).unwrap_or(0) < self.replicas
                {
                    ledger.report.unconfirmed += self.log.kept() as u64;
                }
                if class == Class::Select {
                    self.astray = false;
                } else if self.astray && !class.is_ours() {
                    let what =
                        "a SELECT was refused, and what followed it may be in the wrong database";
                    let e = RdbError::other(ErrorKind::Server, what);
                    return Err(e.with_file(&self.address.to_string()));
                }
            }
        }
        if self.probing && self.trouble.is_none() && !class.is_ours() {
            self.probing = false;
            self.log.go_on();
        }
        self.log.answered();
        if self.trouble.is_none() && (self.replicas == 0 || class == Class::Wait) {
            while let Some(p) = self.log.drop_answered() {
                ledger.settle(&p);
            }
            if ledger.pushed.len() > LISTS {
                let needed: std::collections::HashSet<u64> = self.log.keys_pushed().collect();
                ledger.pushed.retain(|k, _| needed.contains(k));
            }
        }
        Ok(())
    }
}

/// What an error means for the command: trouble that may pass, or none, and then the command is done with. An error that ends the
/// run is one here.
fn failed(
    p: &mut Pending,
    bytes: &[u8],
    text: &[u8],
    address: &Address,
    ledger: &mut Ledger,
) -> Result<Option<Trouble>> {
    let fatal = |kind, what: String| RdbError::other(kind, what).with_file(&address.to_string());
    let shown = || quote_up_to(300, text);
    if p.class == Class::Wait {
        // The server is no master any more.
        return Ok(Some(Trouble::Link));
    }
    let key = key_of(bytes).unwrap_or_default();
    match meaning(text, address) {
        Meaning::Later(trouble) => return Ok(Some(trouble)),
        Meaning::Moved(..) | Meaning::Ask(_) if !ledger.cluster => {
            let what = format!("the target is a cluster: {} (--cluster)", shown());
            return Err(fatal(ErrorKind::Server, what));
        }
        Meaning::Moved(slot, to) => {
            if let Some(to) = to {
                ledger.moved.insert(slot, to);
            }
            return Ok(Some(Trouble::Elsewhere));
        }
        Meaning::Ask(to) => {
            if let Some(to) = to {
                let at = ledger.asked.iter().position(|a| *a == to);
                let at = at.unwrap_or_else(|| {
                    ledger.asked.push(to);
                    ledger.asked.len() - 1
                });
                p.ask = at + 1;
            }
            return Ok(Some(Trouble::Elsewhere));
        }
        Meaning::Refused => {
            let said = text.escape_ascii().to_string();
            let hint = hint(&said).map_or(String::new(), |h| format!(" ({h})"));
            let what = format!("the server says {}{hint}", shown());
            return Err(fatal(ErrorKind::Server, what));
        }
        _ if p.class == Class::Select => {
            let what = format!("SELECT {}: the server says {}", p.db, shown());
            return Err(fatal(ErrorKind::Server, what));
        }
        Meaning::Conflict if p.again && !p.before => {}
        Meaning::Conflict if p.before => ledger.report.find(p.db, key, ledger.was_empty),
        Meaning::Conflict => match ledger.on_conflict {
            OnConflict::Skip => ledger.report.skipped += 1,
            OnConflict::Replace => ledger.report.fail(p.db, key, text),
            OnConflict::Error => {
                ledger.conflict = Some(known_by(bytes, p.db));
                let what = format!(
                    "database {}, key {}: is in the target already (--on-conflict replace or skip)",
                    p.db,
                    quote(key)
                );
                return Err(fatal(ErrorKind::Conflict, what));
            }
        },
        Meaning::Failed => {
            let says = |what: &[u8]| memchr::memmem::find(text, what).is_some();
            let exists = p.class == Class::Keyless && says(b"already exists");
            let done = match p.class {
                Class::Add => says(b"equal or smaller"),
                Class::Group => says(b"BUSYGROUP"),
                _ => exists,
            };
            match (done && (p.again || p.before), exists, ledger.on_conflict) {
                (true, ..) => {}
                (_, true, OnConflict::Skip) => ledger.report.skipped += 1,
                (_, true, OnConflict::Error) => {
                    ledger.conflict = Some(known_by(bytes, p.db));
                    let what = format!(
                        "a function library: the server says {} (--on-conflict replace or skip)",
                        shown()
                    );
                    return Err(fatal(ErrorKind::Conflict, what));
                }
                _ => ledger.report.fail(p.db, key, text),
            }
        }
    }
    Ok(None)
}
