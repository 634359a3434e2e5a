//! Commands of a log: each unit as a whole, in order, and once.
//!
//! ```text
//!   written   MULTI  SET a 1  EXEC  MULTI  INCR b  EXEC  ...           units; what is no unit is of keys
//!   sent      MULTI  SET a 1  INCR b  ..  SET rdbtool:{log}:id 1234  EXEC
//!                                         marker: up to which unit     one transaction of many units
//!   cluster   one for each slot, with a marker in that slot            rdbtool:{4a7}:id
//! ```
//!
//! A window of units is sent and answered before the next one is, and has one transaction for each slot: so what the server refuses for a
//! while has nothing behind it that it does not refuse. When a link breaks the marker says whether a transaction has been done. A
//! server that knows less than it had confirmed has lost something, which nobody here still has: that is an error.
//!
//! The markers are deleted at the end. A run that may be gone on with finds them again, and goes on behind the units that they name.

use super::log::Pending;
use super::node::{Kind, Lane, Ledger, Said};
use super::retry::{Meaning, Trouble, meaning};
use super::route::Class;
use super::split::Piece;
use super::{Lanes, refused};
use crate::cluster::slot::{SLOTS, slot};
use crate::command::table::Role;
use crate::command::{Command, Raw};
use crate::error::{ErrorKind, RdbError, Result, quote};
use crate::net::Address;
use crate::net::client::hint;
use crate::out::Out;
use crate::resp::{Reply, write};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Bytes of a window.
const WINDOW: usize = 1 << 20;
/// Commands of a window.
const COMMANDS: usize = 16384;
/// How long a window waits for more.
const SOON: Duration = Duration::from_millis(20);
/// Bytes of the largest command that is gathered: servers take no larger ones.
const LARGEST: usize = 1 << 30;

/// The units that are being taken in.
#[derive(Debug, Default)]
pub(super) struct Units {
    /// What the markers are called.
    id: String,
    /// Whether a run before may have done some.
    resumed: bool,
    /// How many there have been.
    number: u64,
    open: Option<Unit>,
    /// A command in pieces.
    large: Vec<u8>,
    /// The window.
    batches: Vec<Batch>,
    /// Which of them is that of a place.
    at: HashMap<u16, usize>,
    bytes: usize,
    commands: usize,
    since: Option<Instant>,
    /// Whether one has been sent since the last that was no unit.
    begun: bool,
    /// Places that may have a marker of which nothing is known here.
    passed: HashSet<u16>,
    /// Databases that are known to be there.
    databases: HashSet<u64>,
    /// A hash tag for each slot.
    tags: Vec<u32>,
}

/// A unit of which some has come.
#[derive(Debug)]
struct Unit {
    body: Body,
    /// Its slot; 0 if it is not asked for.
    place: Option<u16>,
    /// Whether it is to be done at all.
    due: bool,
}

/// Commands, with the SELECTs that they take.
#[derive(Debug)]
struct Body {
    bytes: Vec<u8>,
    /// How many, with the SELECTs.
    commands: u32,
    /// How many of the log.
    counted: u32,
    first_db: u64,
    db: u64,
    /// Whether databases change places, so that a marker would go with one.
    swaps: bool,
}

/// The units of a window that have one place.
#[derive(Debug)]
struct Batch {
    place: u16,
    body: Body,
    /// The number of the last one.
    last: u64,
    epoch: u64,
}

/// What has been answered of a transaction, before its EXEC.
#[derive(Debug, Default)]
pub(super) struct Answered {
    trouble: Option<Trouble>,
    /// The commands that are refused for good, counted from 1, and what is said of them.
    bad: Vec<(u32, Vec<u8>)>,
}

impl Body {
    fn new(db: u64) -> Body {
        Body {
            bytes: Vec::new(),
            commands: 0,
            counted: 0,
            first_db: db,
            db,
            swaps: false,
        }
    }

    /// Whatever comes next is for this database.
    fn select(&mut self, db: u64) {
        if self.commands == 0 {
            (self.first_db, self.db) = (db, db);
        }
        if self.db != db {
            self.db = db;
            self.push(&[b"SELECT", db.to_string().as_bytes()]);
        }
    }

    fn push(&mut self, argv: &[&[u8]]) {
        let mut out = Out::new();
        write::command(argv, &mut out);
        self.bytes.extend_from_slice(out.as_bytes());
        self.commands += 1;
    }

    /// The commands of another behind these.
    fn append(&mut self, other: &Body) {
        self.select(other.first_db);
        self.bytes.extend_from_slice(&other.bytes);
        self.commands += other.commands;
        self.counted += other.counted;
        self.db = other.db;
        self.swaps |= other.swaps;
    }
}

impl Units {
    /// With markers of this name; `resumed` says whether a run before may have set some.
    pub(super) fn new(id: Option<&str>, resumed: bool) -> Units {
        let id = match id {
            Some(id) => id.to_owned(),
            None => {
                let random = RandomState::new().hash_one(std::process::id());
                format!("{random:016x}")
            }
        };
        Units {
            id,
            resumed,
            ..Units::default()
        }
    }

    /// Whether there have been any.
    pub(super) fn is_used(&self) -> bool {
        self.number > 0
    }

    /// The marker of a place.
    fn marker(&mut self, place: u16, cluster: bool) -> Vec<u8> {
        let tag = match cluster {
            true => format!("{:x}", self.tag(place)),
            false => "log".to_owned(),
        };
        format!("rdbtool:{{{tag}}}:{}", self.id).into_bytes()
    }

    /// A number that, written as a hash tag, belongs to a slot.
    fn tag(&mut self, place: u16) -> u32 {
        if self.tags.is_empty() {
            let mut tags = vec![None; usize::from(SLOTS)];
            let mut left = tags.len();
            for n in 0.. {
                if left == 0 {
                    break;
                }
                let of = slot(format!("{n:x}").as_bytes());
                if let Some(tag @ None) = tags.get_mut(usize::from(of)) {
                    *tag = Some(n);
                    left -= 1;
                }
            }
            self.tags = tags.into_iter().flatten().collect();
        }
        self.tags.get(usize::from(place)).copied().unwrap_or(0)
    }
}

/// Whether a piece begins with this name.
fn is(piece: &Piece<'_>, name: &[u8]) -> bool {
    match piece {
        Piece::Whole(c) | Piece::Begin(c) => {
            let arg = c.args.first().map(|a| a.of(c.bytes));
            arg.is_some_and(|a| a.len() == name.len() && a.eq_ignore_ascii_case(name))
        }
        Piece::More(_) | Piece::End(_) => false,
    }
}

impl Lanes {
    /// Whether a piece belongs to a unit. What does not is not sent before all units have been answered.
    #[inline]
    pub(super) fn is_of_unit(&mut self, piece: &Piece<'_>) -> Result<bool> {
        if self.units.open.is_some() || is(piece, b"MULTI") {
            return Ok(true);
        }
        if self.units.begun && !is(piece, b"SELECT") {
            self.end_units()?;
        }
        Ok(false)
    }

    /// Takes a piece of a unit.
    pub(super) fn gather(&mut self, piece: &Piece<'_>) -> Result<()> {
        match piece {
            Piece::Whole(c) => {
                let due = match self.units.open {
                    None if self.resume.is_some() => {
                        let mut pending = Pending::new(Class::Keyless, 0, self.db);
                        self.is_due(c, &mut pending)?
                    }
                    _ => true,
                };
                self.pass(c.bytes);
                self.command_of_unit(c.bytes, due)
            }
            Piece::Begin(c) => {
                self.pass(c.bytes);
                self.units.large = c.bytes.to_vec();
                Ok(())
            }
            Piece::More(bytes) | Piece::End(bytes) => {
                self.pass(bytes);
                let large = &mut self.units.large;
                large.extend_from_slice(bytes);
                if large.len() > LARGEST {
                    let what = format!("a command of a log of more than {LARGEST} bytes");
                    return Err(RdbError::other(ErrorKind::Limit, what));
                }
                if matches!(piece, Piece::End(_)) {
                    let large = std::mem::take(large);
                    self.command_of_unit(&large, true)?;
                }
                self.exchange()?;
                Ok(())
            }
        }
    }

    fn command_of_unit(&mut self, bytes: &[u8], due: bool) -> Result<()> {
        let Some(raw) = Raw::read(bytes, 0)? else {
            return Ok(());
        };
        let (spec, db) = (raw.spec(), self.db);
        let Some(unit) = &mut self.units.open else {
            self.units.open = Some(Unit {
                body: Body::new(db),
                place: (!self.ledger.cluster).then_some(0),
                due,
            });
            return Ok(());
        };
        match spec.map_or(Role::Data, |s| s.role) {
            Role::Exec => self.end_unit(),
            Role::Select => self.select(raw.args().nth(1).unwrap_or_default()),
            role => {
                if unit.place.is_none() {
                    let mut room = Vec::new();
                    Command::as_is(db, 0, spec, raw).each_key(|key| {
                        unit.place.get_or_insert(slot(key.joined(&mut room)));
                        Ok(())
                    })?;
                }
                unit.body.select(db);
                unit.body.bytes.extend_from_slice(bytes);
                unit.body.commands += 1;
                unit.body.counted += 1;
                unit.body.swaps |= role == Role::SwapDb;
                self.has_database(db)
            }
        }
    }

    /// A single server is asked before anything goes to a database: when a SELECT is refused within a transaction, what follows goes to
    /// another.
    fn has_database(&mut self, db: u64) -> Result<()> {
        if db != 0 && !self.ledger.cluster && !self.units.databases.contains(&db) {
            let mut client = self.client(&self.endpoint.address)?;
            client.must(&[b"SELECT", db.to_string().as_bytes()])?;
            self.units.databases.insert(db);
        }
        Ok(())
    }

    /// A unit is there as a whole.
    fn end_unit(&mut self) -> Result<()> {
        let Some(unit) = self.units.open.take() else {
            return Ok(());
        };
        self.units.number += 1;
        let number = self.units.number;
        if !unit.due || unit.body.counted == 0 {
            self.units.passed.extend(unit.place);
            return Ok(());
        }
        let Some(place) = unit.place else {
            return self.unit_for_all(&unit.body);
        };
        if self.units.resumed && !self.ledger.units.contains_key(&place) {
            let done = self.marked(place)?;
            self.ledger.units.insert(place, done);
        }
        if self.units.resumed && self.ledger.units.get(&place).is_some_and(|&n| n >= number) {
            return Ok(());
        }
        let at = match self.units.at.get(&place) {
            Some(&at) => at,
            None => {
                let epoch = self.ledger.marks.add(1);
                self.units.batches.push(Batch {
                    place,
                    body: Body::new(unit.body.first_db),
                    last: number,
                    epoch,
                });
                let at = self.units.batches.len() - 1;
                self.units.at.insert(place, at);
                at
            }
        };
        let body = &unit.body;
        self.units.bytes += body.bytes.len();
        self.units.commands += body.counted as usize;
        self.units.begun = true;
        if let Some(batch) = self.units.batches.get_mut(at) {
            batch.body.append(body);
            batch.last = number;
        }
        let since = *self.units.since.get_or_insert_with(Instant::now);
        let full = self.units.bytes >= WINDOW || self.units.commands >= COMMANDS;
        if full || since.elapsed() >= SOON && self.is_at_rest() {
            self.send_window()?;
        }
        if self.options.keys_per_second.is_some() || self.options.bytes_per_second.is_some() {
            self.keys += u64::from(body.counted);
            self.bytes += body.bytes.len() as u64;
            self.slow_down()?;
        }
        Ok(())
    }

    /// A unit without a key: its commands to every master, one after the other. All are the same done twice.
    fn unit_for_all(&mut self, body: &Body) -> Result<()> {
        if self.resume.is_some() {
            let name = Raw::read(&body.bytes, 0)?.map_or(String::new(), |raw| raw.quoted());
            let what = format!(
                "{name} is for every node of the cluster, and a run that goes on could not tell whether it has been done: without --resume"
            );
            return Err(RdbError::other(ErrorKind::Server, what));
        }
        self.end_units()?;
        let mut rest = &body.bytes[..];
        let db = self.db;
        while let Some(raw) = Raw::read(rest, 0)? {
            let bytes = raw.bytes();
            rest = rest.get(bytes.len()..).unwrap_or_default();
            match raw.spec().map_or(Role::Data, |s| s.role) {
                Role::Select => self.select(raw.args().nth(1).unwrap_or_default())?,
                _ => {
                    let pending = Pending::new(Class::Keyless, bytes.len() as u64, self.db);
                    self.everywhere(Kind::Memory(bytes), pending)?;
                }
            }
        }
        self.db = db;
        // The markers may be gone, or they may not.
        let places = std::mem::take(&mut self.ledger.units);
        self.units.passed.extend(places.into_keys());
        Ok(())
    }

    /// Whether there is nothing that has no answer; of replicas it need not be known.
    fn is_at_rest(&self) -> bool {
        let waits = |l: &Lane| l.log.is_waiting() || l.log.unsent() > 0;
        !self.all.iter().any(waits)
    }

    /// Sends the window, when the one before it has been answered.
    fn send_window(&mut self) -> Result<()> {
        self.drain()?;
        self.units.at.clear();
        self.units.since = None;
        (self.units.bytes, self.units.commands) = (0, 0);
        for batch in std::mem::take(&mut self.units.batches) {
            let cluster = self.ledger.cluster;
            let marker = self.units.marker(batch.place, cluster);
            let number = batch.last.to_string();
            let mut whole = Out::new();
            write::command(&[b"MULTI"], &mut whole);
            let mut body = Body::new(batch.body.first_db);
            if batch.body.swaps {
                body.select(0);
                body.push(&[b"DEL", &marker]);
            }
            body.append(&batch.body);
            body.select(0);
            body.push(&[b"SET", &marker, number.as_bytes()]);
            whole.raw(&body.bytes);
            write::command(&[b"EXEC"], &mut whole);
            let mut pending =
                Pending::new(Class::Unit, whole.as_bytes().len() as u64, body.first_db);
            pending.epoch = batch.epoch;
            pending.elements = body.counted;
            pending.key = u64::from(batch.place);
            pending.unit = batch.last;
            pending.queue = body.commands;
            pending.left = body.commands + 2;
            let at = loop {
                match self.lane(batch.place).map(|at| (at, self.all.get(at))) {
                    Some((at, Some(lane))) if self.has_room(lane, pending.bytes) => break at,
                    _ => self.wait_a_turn()?,
                }
            };
            if let Some(lane) = self.all.get_mut(at) {
                lane.append(Kind::Memory(whole.as_bytes()), pending);
                lane.db = Some(0);
            }
        }
        self.exchange()?;
        Ok(())
    }

    /// Sends what there is of units, and waits for the answers.
    pub(super) fn end_units(&mut self) -> Result<()> {
        if std::mem::take(&mut self.units.begun) {
            self.send_window()?;
            self.drain()?;
        }
        Ok(())
    }

    /// All has been done: the markers go.
    pub(super) fn delete_markers(&mut self) -> Result<()> {
        self.end_units()?;
        let mut places = std::mem::take(&mut self.units.passed);
        places.extend(self.ledger.units.keys());
        for place in places {
            let marker = self.units.marker(place, self.ledger.cluster);
            let mut del = Out::new();
            write::command(&[b"DEL", &marker], &mut del);
            let mut pending = Pending::new(Class::Plain, del.as_bytes().len() as u64, 0);
            pending.quiet = true;
            self.place(Kind::Memory(del.as_bytes()), pending, Some(place))?;
        }
        self.drain()?;
        self.ledger.units.clear();
        Ok(())
    }

    /// Up to which unit a place has them, by its marker.
    pub(super) fn marked(&mut self, place: u16) -> Result<u64> {
        let marker = self.units.marker(place, self.ledger.cluster);
        match self.ask(0, &marker, &[&b"GET"[..], &marker])? {
            Reply::Nil => Ok(0),
            Reply::Error(e) => Err(refused(&self.endpoint.address, "GET", &e)),
            reply => {
                let n = reply.int().and_then(|n| u64::try_from(n).ok());
                n.ok_or_else(|| {
                    let what = format!(
                        "key {}: is not the number that it was set to",
                        quote(&marker)
                    );
                    RdbError::other(ErrorKind::Server, what)
                        .with_file(&self.endpoint.address.to_string())
                })
            }
        }
    }

    /// Whether a transaction has been done of which that is not known.
    pub(super) fn is_done(&mut self, p: &Pending) -> Result<bool> {
        let place = u16::try_from(p.key).unwrap_or(0);
        let marked = self.marked(place)?;
        self.has_kept(place, marked)?;
        Ok(marked >= p.unit)
    }

    /// A server that was restarted, or replaced by another, still has to have what had been confirmed.
    pub(super) fn have_kept(&mut self) -> Result<()> {
        let places: Vec<u16> = self.ledger.units.keys().copied().collect();
        for place in places {
            let marked = self.marked(place)?;
            self.has_kept(place, marked)?;
        }
        Ok(())
    }

    fn has_kept(&self, place: u16, marked: u64) -> Result<()> {
        let confirmed = self.ledger.units.get(&place).copied().unwrap_or(0);
        if marked >= confirmed {
            return Ok(());
        }
        let what = format!(
            "the target has lost commands of the log that it had confirmed ({} of them by its marker, {confirmed} before): it was restarted, or \
             replaced by a replica, without them. They cannot be sent again; begin anew with an empty target",
            marked
        );
        Err(RdbError::other(ErrorKind::Server, what).with_file(&self.endpoint.address.to_string()))
    }
}

/// What an answer makes of the transaction whose bytes these are. `None` while more are due; then what is in its way, if it was not done.
pub(super) fn answer(
    p: &mut Pending,
    bytes: &[u8],
    said: &Said<'_>,
    so_far: &mut Answered,
    address: &Address,
    ledger: &mut Ledger,
) -> Result<Option<Option<Trouble>>> {
    // MULTI, as many as are queued, EXEC.
    let queued = p.queue;
    p.left = p.left.saturating_sub(1);
    let at = queued + 1 - p.left.min(queued + 1);
    if at == 0 {
        *so_far = Answered::default();
    }
    if at <= queued {
        if let Said::Error(text) = said {
            match not_now(text, address, ledger)? {
                Some(trouble) => so_far.trouble = so_far.trouble.max(Some(trouble)),
                None if at == 0 => return Err(refusal(address, "MULTI", text)),
                None => so_far.bad.push((at, text.to_vec())),
            }
        }
        return Ok(None);
    }
    let before = std::mem::take(so_far);
    match said {
        Said::Array(array) => {
            let mut rest = *array;
            let replies = match Reply::take(&mut rest, 0)? {
                Some(Reply::Array(replies)) => replies,
                _ => Vec::new(),
            };
            for (at, reply) in (1..).zip(&replies) {
                if let Reply::Error(text) = reply {
                    if let Meaning::Refused = meaning(text.as_bytes(), address) {
                        return Err(refusal(address, "a command", text.as_bytes()));
                    }
                    fail(p, bytes, at, text.as_bytes(), address, ledger)?;
                }
            }
            Ok(Some(None))
        }
        Said::Error(text) => {
            // `EXECABORT Transaction discarded because of: OOM command not allowed ...`
            let because = memchr::memmem::find(text, b"because of: ");
            let because = because.and_then(|at| text.get(at + 12..)).unwrap_or(text);
            let trouble = before.trouble.or(not_now(because, address, ledger)?);
            if trouble.is_some() {
                return Ok(Some(trouble));
            }
            if before.bad.is_empty() {
                return Err(refusal(address, "EXEC", text));
            }
            for (at, text) in &before.bad {
                fail(p, bytes, *at, text, address, ledger)?;
            }
            ledger.progress += 1;
            let bad = before.bad.into_iter().map(|(at, _)| at).collect();
            ledger.bad.insert(p.unit, bad);
            Ok(Some(Some(Trouble::Apart)))
        }
        _ => Err(refusal(address, "EXEC", b"an answer that is no list")),
    }
}

/// What an error is in the way of for a while; nothing, if it is for good.
fn not_now(text: &[u8], address: &Address, ledger: &mut Ledger) -> Result<Option<Trouble>> {
    match meaning(text, address) {
        Meaning::Later(trouble) => Ok(Some(trouble)),
        Meaning::Moved(..) | Meaning::Ask(_) if !ledger.cluster => {
            Err(refusal(address, "the log", text))
        }
        Meaning::Moved(slot, to) => {
            if let Some(to) = to {
                ledger.moved.insert(slot, to);
            }
            Ok(Some(Trouble::Elsewhere))
        }
        // Half of the slot is elsewhere, and a transaction is of one node: until it has moved as a whole.
        Meaning::Ask(_) => Ok(Some(Trouble::Says("TRYAGAIN"))),
        Meaning::Refused => Err(refusal(address, "a command", text)),
        Meaning::Conflict | Meaning::Failed => Ok(None),
    }
}

/// Counts the command of this number as failed. One of ours must not fail.
fn fail(
    p: &Pending,
    bytes: &[u8],
    at: u32,
    text: &[u8],
    address: &Address,
    ledger: &mut Ledger,
) -> Result<()> {
    let (mut rest, mut db, mut i) = (bytes, p.db, 0);
    while let Some(raw) = Raw::read(rest, 0)? {
        rest = rest.get(raw.bytes().len()..).unwrap_or_default();
        let spec = raw.spec();
        let is_select = spec.is_some_and(|s| s.role == Role::Select);
        if i == at {
            if is_select || i == p.queue {
                return Err(refusal(address, &raw.quoted(), text));
            }
            let mut key = Vec::new();
            let mut room = Vec::new();
            Command::as_is(db, 0, spec, raw).each_key(|k| {
                if key.is_empty() {
                    key = k.joined(&mut room).to_vec();
                }
                Ok(())
            })?;
            ledger.report.fail(db, &key, text);
            return Ok(());
        }
        if is_select {
            let number = raw.args().nth(1).and_then(|n| std::str::from_utf8(n).ok());
            db = number.and_then(|n| n.parse().ok()).unwrap_or(db);
        }
        i += 1;
    }
    Ok(())
}

/// The bytes of a transaction without the commands of these numbers, as it is to be sent again.
pub(super) fn without(p: &mut Pending, bytes: &[u8], bad: &[u32]) -> Result<Vec<u8>> {
    let (mut rest, mut left, mut i) = (bytes, Vec::with_capacity(bytes.len()), 0);
    while let Some(raw) = Raw::read(rest, 0)? {
        rest = rest.get(raw.bytes().len()..).unwrap_or_default();
        if bad.binary_search(&i).is_err() {
            left.extend_from_slice(raw.bytes());
        }
        i += 1;
    }
    let gone = u32::try_from(bad.len()).unwrap_or(u32::MAX);
    p.elements = p.elements.saturating_sub(gone);
    p.queue = p.queue.saturating_sub(gone);
    p.left = p.queue + 2;
    p.bytes = left.len() as u64;
    Ok(left)
}

#[cold]
fn refusal(address: &Address, command: &str, said: &[u8]) -> RdbError {
    let text = String::from_utf8_lossy(said);
    let hint = hint(&text).map_or(String::new(), |h| format!(" ({h})"));
    let what = format!(
        "{command}: the server says {}{hint}",
        crate::error::quote_up_to(300, said)
    );
    RdbError::other(ErrorKind::Server, what).with_file(&address.to_string())
}
