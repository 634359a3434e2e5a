//! A live server, or a cluster, as a sink for commands.
//!
//! ```text
//!             split        route                 node (a lane: one connection)
//!   bytes ──► commands ──► slot of the key ──┬─► log ──► pipelined ──► server
//!             SELECT: remembered             ├─► log ──►               ▲
//!             FUNCTION: everywhere           └─► log ──►               │
//!                                                 ▲                    │
//!                 recover: all at rest, wait, reconnect, repair, send again
//! ```
//!
//! - Commands for one key go over one connection, in order, whatever happens.
//! - What was sent is kept until it was answered. If a link breaks or a server says "not now", all connections come to rest, and what
//!   is not done is sent again, possibly elsewhere. That is exact: commands that are not the same twice are asked about first.
//! - Memory is bounded: when a connection has its share of bytes or commands, [`write`](Sink::write) waits for answers. A
//!   command too large for that lies in a file without a name until it is answered.
//!
//! Not exact is one thing: when XADDs of one key are refused (BUSY, READONLY, NOREPLICAS) and, before that is known here, later ones of
//! the same key are done. Then the key is named as failed. For want of memory that does not happen on a
//! server that had a maxmemory when it was opened: there the XADDs of one key go one at a time.
//!
//! A stream that was broken off because the process ended is gone on with by its [`Journal`]: see `resume`.
//!
//! What stands between MULTI and EXEC may be any commands, as a log has them: see `units`. Outside of them there is no place for commands with
//! several keys, or whose answer matters.
//!
//! One thread does it all: it exchanges with each connection until none moves, and then waits for any.

#![warn(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::panic
)]

mod cluster;
pub(crate) mod journal;
mod log;
mod node;
mod recover;
mod report;
mod resume;
mod retry;
mod route;
pub mod split;
mod units;

pub use journal::Journal;
pub use report::{Failure, Report};

use crate::error::{ErrorKind, RdbError, Result};
use crate::filter::OnConflict;
use crate::net::client::hint;
use crate::net::{self, Address, Client, Endpoint, Wait, wait};
use crate::rdb::release::Release;
use crate::resp::Reply;
use crate::sink::Sink;
use cluster::Map;
use log::{Pending, Spilled};
use node::{Kind, Lane, Ledger};
use report::Marks;
use resume::Resume;
use route::{Class, Route};
use split::{Command, Piece, Split};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use units::Units;

/// Bytes that are kept for all connections together.
const KEPT: u64 = 24 << 20;
/// Bytes that are kept for one of them: at the least, at the most.
const KEPT_EACH: (u64, u64) = (256 << 10, 4 << 20);
/// Bytes from which on a command that comes in pieces is gathered in a file.
const LARGE: usize = 4 << 20;
/// Bytes that are sent as soon as there are as many.
const SEND: u64 = 128 << 10;
/// The longest string that servers take unless told otherwise.
const PROTO_MAX_BULK_LEN: u64 = 512 << 20;

/// How to write to a target.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections; to a cluster, for all masters together, but at least one each.
    pub connections: usize,
    /// Commands that may be without an answer on one connection.
    pub pipeline: usize,
    /// What is done when a key is there already: whether the commands are made for that is for their encoder. Here it is what an
    /// answer of BUSYKEY means.
    pub on_conflict: OnConflict,
    /// Keys a second, at the most.
    pub keys_per_second: Option<u64>,
    /// Bytes of commands a second, at the most.
    pub bytes_per_second: Option<u64>,
    /// How to connect.
    pub net: net::Options,
    /// Whether it is a cluster; else the target is asked.
    pub cluster: Option<bool>,
    /// How long to try without any success before giving up.
    pub retry_for: Duration,
    /// How many replicas must have a command before it counts as done (WAIT), if the master has as many. With none, a master that dies takes with it what its
    /// replicas do not have yet.
    pub replicas: u64,
    /// Is told what is waited for.
    pub notice: fn(&str),
}

impl Default for Options {
    fn default() -> Self {
        Options {
            connections: 1,
            pipeline: 16384,
            on_conflict: OnConflict::Error,
            keys_per_second: None,
            bytes_per_second: None,
            net: net::Options::default(),
            cluster: None,
            retry_for: Duration::from_secs(300),
            replicas: 0,
            notice: |_| {},
        }
    }
}

/// A live target.
///
/// ```no_run
/// use rdbtool::net::Endpoint;
/// use rdbtool::sink::Sink;
/// use rdbtool::target::{Options, Target};
/// let endpoint = Endpoint::parse("redis://localhost").unwrap();
/// let mut target = Target::open(&endpoint, Options::default())?;
/// target.write(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n")?;
/// target.write(b"v\r\n")?;
/// assert_eq!(target.finish()?.commands, 1);
/// # Ok::<(), rdbtool::RdbError>(())
/// ```
#[derive(Debug)]
pub struct Target {
    split: Split,
    lanes: Lanes,
    release: Release,
    proto_max_bulk_len: u64,
}

/// All connections.
#[derive(Debug)]
struct Lanes {
    endpoint: Endpoint,
    options: Options,
    ledger: Ledger,
    map: Map,
    /// Of each master so many, one master behind the other.
    all: Vec<Lane>,
    each: usize,
    /// Bytes that are kept for one.
    room: u64,
    /// Databases there are.
    databases: u64,
    /// Whether the target's memory is. An XADD that is refused for that and followed by one that is not cannot be made good: the
    /// server takes no lower id any more. So of those for one key only one is on its way.
    limited: bool,
    /// The id of each server's run.
    runs: HashMap<String, String>,
    /// Where to go on, if a run may be gone on with.
    resume: Option<Resume>,
    /// The commands of a log.
    units: Units,

    /// What is being taken in.
    db: u64,
    last_key: Option<u64>,
    large: Option<(Spilled, Pending, Option<u16>)>,
    keys: u64,
    bytes: u64,
    begun: Instant,

    /// What is being waited for.
    tries: u32,
    since: Option<Instant>,
    progress: u64,
}

impl Target {
    /// Connects, and asks what it is.
    pub fn open(endpoint: &Endpoint, options: Options) -> Result<Target> {
        let since = Instant::now();
        let mut first = loop {
            match Client::connect(endpoint, &options.net) {
                Ok(client) => break client,
                // With a database in the URL, that is as far as one gets.
                Err(e)
                    if retry::of_conversation(&e) == Some(retry::Trouble::Says("LOADING"))
                        && since.elapsed() < options.retry_for =>
                {
                    (options.notice)(&format!("waiting: {e}"));
                    std::thread::sleep(Duration::from_secs(1));
                }
                Err(e) => return Err(e),
            }
        };
        let info = first.info()?;
        let cluster = options.cluster.unwrap_or(info.cluster);
        let config = |name: &str, client: &mut Client| -> Result<Option<u64>> {
            // Not everyone may ask.
            let reply = client.call(&[b"CONFIG", b"GET", name.as_bytes()])?;
            let value = reply.array().and_then(|a| a.get(1)).and_then(Reply::int);
            Ok(value.and_then(|n| u64::try_from(n).ok()))
        };
        let proto_max_bulk_len =
            config("proto-max-bulk-len", &mut first)?.unwrap_or(PROTO_MAX_BULK_LEN);
        let databases = match cluster {
            true => config("cluster-databases", &mut first)?.unwrap_or(1),
            false => u64::MAX,
        };
        let memory = first.must(&[b"INFO", b"memory"])?;
        let mut lines = memory.text().unwrap_or_default().lines();
        let limit = lines.find_map(|l| l.strip_prefix("maxmemory:"));
        let limited = limit.is_some_and(|n| n.trim() != "0");
        drop(first);
        let ledger = Ledger {
            report: Report::default(),
            marks: Marks::default(),
            on_conflict: options.on_conflict,
            cluster,
            was_empty: false,
            conflict: None,
            progress: 0,
            pushed: HashMap::new(),
            units: HashMap::new(),
            bad: HashMap::new(),
            asked: Vec::new(),
            moved: HashMap::new(),
        };
        let mut lanes = Lanes {
            db: endpoint.db.unwrap_or(0),
            map: Map::of_one(endpoint.address.clone()),
            endpoint: endpoint.clone(),
            ledger,
            all: Vec::new(),
            each: 1,
            room: 0,
            databases,
            limited,
            runs: HashMap::new(),
            resume: None,
            units: Units::new(None, false),
            last_key: None,
            large: None,
            keys: 0,
            bytes: 0,
            begun: Instant::now(),
            tries: 0,
            since: None,
            progress: 0,
            options,
        };
        lanes.recover()?;
        Ok(Target {
            split: Split::new(LARGE),
            lanes,
            release: info.release,
            proto_max_bulk_len,
        })
    }

    /// Which release it is, by the node that was named.
    pub fn release(&self) -> Release {
        self.release
    }

    /// The longest string it takes.
    pub fn proto_max_bulk_len(&self) -> u64 {
        self.proto_max_bulk_len
    }

    /// Whether it is a cluster.
    pub fn is_cluster(&self) -> bool {
        self.lanes.ledger.cluster
    }

    /// Deletes everything that is in it, function libraries too.
    pub fn flush(&mut self) -> Result<()> {
        self.lanes.drain()?;
        for master in &self.lanes.map.masters {
            let at = self.lanes.endpoint.at(master.clone());
            let mut options = self.lanes.options.net.clone();
            // A large database takes its time.
            options.timeouts.io = options.timeouts.io.max(Duration::from_secs(600));
            let mut client = Client::connect(&at, &options)?;
            client.must(&[b"FLUSHALL"])?;
            if self.release.is_at_least((7, 0), (0, 0)) {
                client.must(&[b"FUNCTION", b"FLUSH"])?;
            }
        }
        Ok(())
    }

    /// Names the place in the stream that has been reached; to be called between two commands. What `position` counts is the
    /// caller's. A target that [goes on](Target::resume) with a stream names places itself.
    pub fn mark(&mut self, position: u64) {
        self.lanes.ledger.marks.mark(position);
    }

    /// The last mark before which the target has answered everything; 0 if there is none.
    pub fn settled(&self) -> u64 {
        self.lanes.ledger.marks.settled()
    }

    /// Sends and receives for so long, or until all is answered: for a caller that has nothing to write for a while.
    pub fn turn(&mut self, most: Duration) -> Result<()> {
        self.lanes.turn_until(Instant::now() + most)
    }

    /// What has become of the commands so far.
    pub fn report(&self) -> &Report {
        &self.lanes.ledger.report
    }

    /// Waits for all answers.
    pub fn finish(mut self) -> Result<Report> {
        self.settle()?;
        self.lanes.delete_markers()?;
        Ok(self.lanes.ledger.report)
    }

    /// Waits for all answers to what has been written.
    pub fn settle(&mut self) -> Result<()> {
        if !self.split.is_between() {
            let what = "the stream of commands ends inside one";
            return Err(RdbError::other(ErrorKind::UnexpectedEof, what));
        }
        self.lanes.end_units()?;
        self.lanes.drain()
    }
}

/// A write may begin and end anywhere in a command. It waits when too much is without an answer.
impl Sink for Target {
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some(piece) = self.split.next(&mut bytes)? {
            self.lanes.take(piece)?;
        }
        self.lanes.exchange()?;
        Ok(())
    }
}

impl Lanes {
    /// Takes what the stream has next.
    #[inline]
    fn take(&mut self, piece: Piece<'_>) -> Result<()> {
        if self.is_of_unit(&piece)? {
            return self.gather(&piece);
        }
        match piece {
            Piece::Whole(command) => {
                let prepared = self.prepare(&command)?;
                self.pass(command.bytes);
                if let Some((pending, slot)) = prepared {
                    self.place(Kind::Memory(command.bytes), pending, slot)?;
                }
            }
            Piece::Begin(command) => {
                let prepared = self.prepare(&command)?;
                self.pass(command.bytes);
                if let Some((pending, slot)) = prepared {
                    self.large = Some((Spilled::new(command.bytes)?, pending, slot));
                }
            }
            Piece::More(bytes) => {
                self.pass(bytes);
                if let Some((file, ..)) = &mut self.large {
                    file.push(bytes)?;
                }
                self.exchange()?;
            }
            Piece::End(bytes) => {
                self.pass(bytes);
                if let Some((mut file, mut pending, slot)) = self.large.take() {
                    file.push(bytes)?;
                    pending.bytes = file.len();
                    self.place(Kind::File(file), pending, slot)?;
                }
            }
        }
        Ok(())
    }

    /// So much more of the stream has been looked at.
    #[inline]
    fn pass(&mut self, bytes: &[u8]) {
        if let Some(resume) = &mut self.resume {
            resume.pass(bytes);
        }
    }

    /// What is known of a command, and its slot if it has a key; nothing if it goes nowhere.
    #[inline]
    fn prepare(&mut self, command: &Command<'_>) -> Result<Option<(Pending, Option<u16>)>> {
        let arg = |i: usize| command.args.get(i).map(|a| a.of(command.bytes));
        let (class, key) = match route::route(arg(0).unwrap_or_default()) {
            Route::Select => {
                self.select(arg(1).unwrap_or_default())?;
                return Ok(None);
            }
            Route::Everywhere => (Class::Keyless, None),
            Route::Key(class, at) => (class, arg(at)),
            Route::BehindStreams => (Class::Plain, route::key(command.bytes, command.args)),
        };
        let mut pending = Pending::new(class, command.bytes.len() as u64, self.db);
        let slot = match key {
            Some(key) => {
                let (slot, of_slot) = route::slot_and_hash(key, self.db);
                pending.first = self.last_key != Some(of_slot);
                self.last_key = Some(of_slot);
                if matches!(class, Class::Push | Class::Delete) {
                    pending.key = route::identity(self.db, key);
                    let elements = command.count.saturating_sub(2);
                    pending.elements = u32::try_from(elements).unwrap_or(u32::MAX);
                }
                Some(slot)
            }
            None => {
                pending.class = Class::Keyless;
                None
            }
        };
        if self.resume.is_some() && !self.is_due(command, &mut pending)? {
            return Ok(None);
        }
        Ok(Some((pending, slot)))
    }

    fn select(&mut self, text: &[u8]) -> Result<()> {
        let db = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
        self.db = db.ok_or_else(|| {
            let what = format!("SELECT {}: no database", crate::error::quote(text));
            RdbError::other(ErrorKind::Corrupt, what)
        })?;
        if self.db >= self.databases {
            let what = match self.databases {
                1 => format!(
                    "database {}: a cluster has database 0 only (--to-db 0)",
                    self.db
                ),
                n => format!("database {}: the cluster has {n}", self.db),
            };
            let e = RdbError::other(ErrorKind::Server, what);
            return Err(e.with_file(&self.endpoint.address.to_string()));
        }
        Ok(())
    }

    /// Gives a command to its lane, when there is room.
    #[inline]
    fn place(&mut self, bytes: Kind<'_>, mut pending: Pending, slot: Option<u16>) -> Result<()> {
        let Some(slot) = slot else {
            return self.everywhere(bytes, pending);
        };
        let at = loop {
            match self.lane(slot).map(|at| (at, self.all.get(at))) {
                Some((at, Some(lane))) if self.has_room(lane, pending.bytes) => break at,
                _ => self.wait_a_turn()?,
            }
        };
        if pending.class == Class::Add && self.limited && !pending.first {
            while self
                .lane(slot)
                .and_then(|at| self.all.get(at))
                .is_none_or(|l| !l.log.is_empty())
            {
                self.wait_a_turn()?;
            }
        }
        // That may have moved it.
        let at = self.lane(slot).unwrap_or(at);
        pending.epoch = self.ledger.marks.add(1);
        let room = self.room;
        let (n, first) = (pending.bytes, pending.first);
        let mut full = false;
        if let Some(lane) = self.all.get_mut(at) {
            lane.append(bytes, pending);
            let many = lane.log.commands() - lane.log.kept() >= self.options.pipeline / 4;
            if lane.replicas > 0 && (lane.unconfirmed >= room / 4 || many) {
                lane.confirm();
            }
            if lane.log.unsent() >= SEND {
                lane.exchange(&mut self.ledger)?;
                full = lane.trouble.is_some();
            }
        }
        if full {
            self.recover()?;
        }
        if self.options.keys_per_second.is_some() || self.options.bytes_per_second.is_some() {
            self.keys += u64::from(first);
            self.bytes += n;
            self.slow_down()?;
        }
        Ok(())
    }

    /// The lane of a slot.
    #[inline]
    fn lane(&self, slot: u16) -> Option<usize> {
        Some(self.map.master(slot)? * self.each + usize::from(slot) % self.each)
    }

    #[inline]
    fn has_room(&self, lane: &Lane, bytes: u64) -> bool {
        let log = &lane.log;
        // A command that is larger than the room goes alone; in a file it takes none.
        (log.bytes() + bytes <= self.room || log.is_empty())
            && log.commands() < self.options.pipeline.max(1)
    }

    /// A command without a key: to every master, done before anything else is sent.
    fn everywhere(&mut self, bytes: Kind<'_>, mut pending: Pending) -> Result<()> {
        let Kind::Memory(bytes) = bytes else {
            let what = format!("a command without a key of more than {LARGE} bytes");
            return Err(RdbError::other(ErrorKind::Limit, what));
        };
        self.drain()?;
        pending.epoch = self.ledger.marks.add(self.map.masters.len() as u64);
        for lane in self.all.iter_mut().step_by(self.each.max(1)) {
            lane.append(Kind::Memory(bytes), pending);
        }
        self.drain()
    }

    /// Sends and receives what can be without waiting; whether anything moved.
    fn exchange(&mut self) -> Result<bool> {
        let mut moved = false;
        for lane in &mut self.all {
            if !lane.log.is_empty() || lane.connection.is_none() {
                moved |= lane.exchange(&mut self.ledger)?;
            }
        }
        if self.all.iter().any(|l| l.trouble.is_some()) {
            self.recover()?;
            moved = true;
        }
        Ok(moved)
    }

    /// Sends and receives, and if there is nothing to, waits until there is.
    fn wait_a_turn(&mut self) -> Result<()> {
        if !self.exchange()? {
            self.wait(Instant::now() + Duration::from_secs(1))?;
        }
        Ok(())
    }

    /// Waits until something can be sent or received. A server that is silent for too long is given up.
    fn wait(&mut self, until: Instant) -> Result<bool> {
        let mut waits: Vec<_> = self
            .all
            .iter()
            .filter(|l| !l.log.is_empty())
            .filter_map(|l| Some(Wait::new(l.connection.as_ref()?, l.log.unsent() > 0)))
            .collect();
        let ready = wait(&mut waits, until).map_err(|e| RdbError::io("cannot wait", e))?;
        if !ready {
            let most = self.options.net.timeouts.io;
            for lane in &mut self.all {
                let due = lane.log.is_waiting() || lane.log.unsent() > 0;
                if due && lane.connection.is_some() && lane.moved_at.elapsed() > most {
                    let what = format!("no answer for {} s", most.as_secs());
                    let e = RdbError::other(ErrorKind::Server, what);
                    lane.lose(e.with_file(&lane.address.to_string()));
                }
            }
        }
        Ok(ready)
    }

    fn turn_until(&mut self, until: Instant) -> Result<()> {
        while Instant::now() < until && self.all.iter().any(|l| !l.log.is_empty()) {
            if !self.exchange()? {
                self.wait(until.min(Instant::now() + Duration::from_secs(1)))?;
            }
        }
        Ok(())
    }

    /// Waits until everything has been answered.
    fn drain(&mut self) -> Result<()> {
        while self.all.iter().any(|l| !l.log.is_empty()) {
            for lane in self.all.iter_mut().filter(|l| l.replicas > 0) {
                if lane.unconfirmed > 0 && !lane.log.is_empty() {
                    lane.confirm();
                }
            }
            self.wait_a_turn()?;
        }
        Ok(())
    }

    /// Waits, if there have been more keys or bytes than there may be.
    fn slow_down(&mut self) -> Result<()> {
        let seconds = |n: u64, rate: Option<u64>| match rate {
            Some(rate) => n as f64 / rate.max(1) as f64,
            None => 0.0,
        };
        let due = seconds(self.keys, self.options.keys_per_second)
            .max(seconds(self.bytes, self.options.bytes_per_second));
        let Some(due) = self
            .begun
            .checked_add(Duration::from_secs_f64(due.min(1e9)))
        else {
            return Ok(());
        };
        // Not for less than it takes to wait.
        while due.saturating_duration_since(Instant::now()) > Duration::from_millis(1) {
            if !self.exchange()? {
                let until = due.min(Instant::now() + Duration::from_secs(1));
                if !self.wait(until)? && self.all.iter().all(|l| l.log.is_empty()) {
                    std::thread::sleep(until.saturating_duration_since(Instant::now()));
                }
            }
        }
        Ok(())
    }

    /// What each lane may keep, for so many of them.
    fn share(&mut self) {
        let n = self.all.len().max(1) as u64;
        self.room = (KEPT / n).clamp(KEPT_EACH.0, KEPT_EACH.1);
    }
}

/// An error of the target's, with what may be done about it.
#[cold]
fn refused(address: &Address, command: &str, said: &str) -> RdbError {
    let hint = hint(said).map_or(String::new(), |h| format!(" ({h})"));
    let said = crate::error::quote_up_to(300, said.as_bytes());
    let what = format!("{command}: the server says {said}{hint}");
    RdbError::other(ErrorKind::Server, what).with_file(&address.to_string())
}
