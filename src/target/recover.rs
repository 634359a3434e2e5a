//! When something could not be done: wait, and send again what is to be sent again.
//!
//! ```text
//!   rest        nothing new is sent; what was begun is ended, what was sent is answered, or its connection is lost
//!   pause       longer each time, as long as nothing succeeds; gives up in the end
//!   mend        a cluster is asked which node has what; lost connections are made anew, and the server is told to forget the old
//!               ones, for what it has received over them it would still do
//!   repair      lists: how long are they? what was done is not sent again, what was done out of order is undone
//!   give out    everything not done, in order, to the lanes that it belongs to now; after a "not now", one command alone first
//! ```
//!
//! All lanes come to rest, not only the one in trouble: then no key has commands in two of them, wherever its slot goes. That costs a
//! round trip for a slot that moves.

use super::log::{Bytes, Kept, State, key_of};
use super::node::{Kind, Lane};
use super::retry::{Trouble, of_conversation, pause};
use super::route::{self, Class};
use super::units;
use super::{Lanes, Map, refused};
use crate::cluster::slot::slot;
use crate::cluster::topology::read::unreadable;
use crate::error::{ErrorKind, RdbError, Result, quote};
use crate::net::{Address, Client, Role};
use crate::resp::Reply;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How long a server may be silent while all come to rest.
const REST: Duration = Duration::from_secs(20);
/// How long connecting to a server that was there before may take.
const CONNECT: Duration = Duration::from_secs(3);

/// A list that is asked for.
struct List {
    db: u64,
    key: Vec<u8>,
    /// Which of the commands push to it.
    pushes: Vec<usize>,
    failed: bool,
    /// Whether it is deleted among them, and so begins anew.
    deleted: bool,
    unsure: bool,
}

impl Lanes {
    /// Brings everything back to work, or gives up. To begin with, it connects.
    pub(super) fn recover(&mut self) -> Result<()> {
        if self.ledger.progress != self.progress {
            (self.tries, self.since) = (0, None);
        }
        self.rest()?;
        let mut trouble = self.all.iter().filter_map(|l| l.trouble).max();
        let first = trouble;
        loop {
            if let Some(trouble) = trouble {
                self.pause(trouble)?;
            }
            match self.mend() {
                Ok(None) => break,
                Ok(again) => trouble = again,
                Err(e) => match of_conversation(&e) {
                    // To begin with, only a server that is loading is waited for.
                    Some(Trouble::Link) if self.runs.is_empty() && !self.ledger.cluster => {
                        return Err(e);
                    }
                    Some(again) => {
                        if let Some(lane) = self.all.first_mut() {
                            lane.lost = Some(e);
                        }
                        trouble = Some(again);
                    }
                    None => return Err(e),
                },
            }
        }
        self.give_out(matches!(first, Some(Trouble::Says(_))))?;
        self.progress = self.ledger.progress;
        Ok(())
    }

    /// Lets all lanes come to rest.
    fn rest(&mut self) -> Result<()> {
        for lane in &mut self.all {
            lane.log.stop();
        }
        loop {
            let mut moved = false;
            for lane in &mut self.all {
                moved |= lane.exchange(&mut self.ledger)?;
            }
            let busy =
                |l: &Lane| l.connection.is_some() && (l.log.is_waiting() || l.log.unsent() > 0);
            if !self.all.iter().any(busy) {
                return Ok(());
            }
            if !moved && !self.wait(Instant::now() + Duration::from_millis(500))? {
                for lane in self.all.iter_mut().filter(|l| busy(l)) {
                    if lane.moved_at.elapsed() > REST {
                        let what = format!("no answer for {} s", REST.as_secs());
                        let e = RdbError::other(ErrorKind::Server, what);
                        lane.lose(e.with_file(&lane.address.to_string()));
                    }
                }
            }
        }
    }

    /// Waits before the next try, or gives up.
    fn pause(&mut self, trouble: Trouble) -> Result<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let lane = self.all.iter().find(|l| l.trouble == Some(trouble));
        let lane = lane.or(self.all.iter().find(|l| l.lost.is_some()));
        let address = lane.map_or(&self.endpoint.address, |l| &l.address);
        let mut said = trouble.describe().to_owned();
        if let Some(e) = lane.and_then(|l| l.lost.as_ref()) {
            said = match e.io_error() {
                Some(io) => format!("{}: {io}", e.what()),
                None => e.what().to_owned(),
            };
        }
        if since.elapsed() > self.options.retry_for {
            let what = format!(
                "{said}; given up after {} s without success",
                since.elapsed().as_secs()
            );
            let e = RdbError::other(ErrorKind::Server, what);
            return Err(e.with_file(&address.to_string()));
        }
        let tries = self.tries;
        self.tries += 1;
        let waited_for = &mut self.ledger.report.waited_for;
        *waited_for.entry(trouble.describe()).or_default() += 1;
        // What moves, or only lost its connection, may well be done at once.
        if tries == 0 && !matches!(trouble, Trouble::Says(_)) {
            return Ok(());
        }
        if tries % 10 <= 1 && trouble != Trouble::Elsewhere {
            (self.options.notice)(&format!("waiting for {address}: {said}"));
        }
        let pause = pause(tries);
        std::thread::sleep(pause);
        self.ledger.report.waited += pause;
        Ok(())
    }

    /// Learns who has what, and connects to all of them; or says what is still in the way.
    fn mend(&mut self) -> Result<Option<Trouble>> {
        if self.ledger.cluster {
            let mut map = self.ask_for_map()?;
            for (slot, address) in self.ledger.moved.drain() {
                map.set(slot, &address);
            }
            if map.masters.is_empty() || map.hole().is_some() {
                return Ok(Some(Trouble::Says("CLUSTERDOWN")));
            }
            self.map = map;
        }
        let masters = self.map.masters.clone();
        let each = (self.options.connections / masters.len().max(1)).max(1);
        // Lanes beyond those that belong to a master wait behind them until their commands are given out.
        let mut old = std::mem::take(&mut self.all);
        let mut all = Vec::with_capacity(masters.len() * each);
        for master in &masters {
            for _ in 0..each {
                let at = old.iter().position(|l| l.address == *master);
                all.push(match at {
                    Some(at) => old.remove(at),
                    None => Lane::new(master.clone()),
                });
            }
        }
        let wanted = all.len();
        old.retain(|l| !l.log.is_empty());
        for lane in &mut old {
            (lane.cut, lane.replaced) = (true, true);
        }
        all.append(&mut old);
        (self.all, self.each) = (all, each);
        self.share();
        for at in 0..wanted {
            if let Some(trouble) = self.connect(at)? {
                return Ok(Some(trouble));
            }
        }
        Ok(None)
    }

    /// Asks any node that is known.
    fn ask_for_map(&self) -> Result<Map> {
        let mut known: Vec<&Address> = self.map.nodes.iter().collect();
        if !known.contains(&&self.endpoint.address) {
            known.push(&self.endpoint.address);
        }
        let mut best: Option<Map> = None;
        let mut last = None;
        for address in known {
            match self
                .client(address)
                .and_then(|mut c| c.must(&[b"CLUSTER", b"SLOTS"]))
            {
                Ok(reply) => match Map::read(&reply, address) {
                    Some(map) if map.hole().is_none() => {
                        // One whose masters answer; a node that does not know yet still names the dead one.
                        let alive = map.masters.iter().all(|m| self.answers(m));
                        if alive {
                            return Ok(map);
                        }
                        best = best.or(Some(map));
                    }
                    Some(map) => best = best.or(Some(map)),
                    None => {
                        let e = unreadable("CLUSTER SLOTS", &reply);
                        return Err(e.with_file(&address.to_string()));
                    }
                },
                Err(e) if of_conversation(&e).is_none() => return Err(e),
                Err(e) => last = Some(e),
            }
        }
        match (best, last) {
            (Some(map), _) => Ok(map),
            (None, Some(e)) => Err(e),
            (None, None) => Ok(Map::default()),
        }
    }

    /// Whether a master is there: there is a connection to it, or one can be made.
    fn answers(&self, address: &Address) -> bool {
        let mut lanes = self.all.iter();
        lanes.any(|l| l.address == *address && l.connection.is_some())
            || self.client(address).is_ok()
    }

    /// A conversation with a node.
    pub(super) fn client(&self, address: &Address) -> Result<Client> {
        let mut options = self.options.net.clone();
        if !self.runs.is_empty() {
            options.timeouts.connect = options.timeouts.connect.min(CONNECT);
        }
        Client::connect(&self.endpoint.at(address.clone()), &options)
    }

    /// Connects a lane, unless it is.
    fn connect(&mut self, at: usize) -> Result<Option<Trouble>> {
        let Some(lane) = self.all.get(at).filter(|l| l.connection.is_none()) else {
            return Ok(None);
        };
        let (address, old_id, old_run) =
            (lane.address.clone(), lane.client_id, lane.run_id.clone());
        let mut client = self.client(&address)?;
        let info = client.info()?;
        if info.loading {
            return Ok(Some(Trouble::Says("LOADING")));
        }
        if self.ledger.cluster && info.role != Role::Master {
            return Ok(Some(Trouble::Says("READONLY")));
        }
        if let Some(run) = self.runs.insert(address.to_string(), info.run_id.clone())
            && run != info.run_id
        {
            self.ledger.report.restarted += 1;
            (self.options.notice)(&format!(
                "{address} was restarted; what it had taken is lost if it does not keep it on disk"
            ));
        }
        let replaced = !old_run.is_empty() && old_run != info.run_id;
        if let Some(id) = old_id.filter(|_| !replaced) {
            let id = id.to_string();
            match client.call(&[b"CLIENT", b"KILL", b"ID", id.as_bytes()])? {
                // Who may not kill has to hope that by then the server has noticed.
                Reply::Error(e) if e.starts_with("NOPERM") => {
                    std::thread::sleep(Duration::from_secs(1));
                }
                _ => {}
            }
        }
        let id = own_id(&mut client)?;
        let replicas = match self.options.replicas {
            0 => 0,
            n => n.min(replicas(&mut client)?),
        };
        let (connection, input) = client.into_parts();
        if let Some(lane) = self.all.get_mut(at) {
            lane.connected(connection, input);
            lane.client_id = id;
            lane.run_id = info.run_id;
            lane.replicas = replicas;
            lane.replaced |= replaced;
        }
        Ok(None)
    }

    /// Takes what all lanes have kept, and gives what is not done to the lanes it belongs to.
    fn give_out(&mut self, probe: bool) -> Result<()> {
        let mut again = Vec::new();
        if self.all.iter().any(|l| l.replaced) {
            self.have_kept()?;
        }
        for at in 0..self.all.len() {
            let Some(lane) = self.all.get_mut(at) else {
                continue;
            };
            let (cut, replaced) = (lane.cut, lane.replaced);
            (lane.cut, lane.replaced, lane.trouble) = (false, false, None);
            (lane.db, lane.unconfirmed, lane.probing) = (None, 0, false);
            let kept = lane.log.take();
            again.extend(self.not_done(kept, cut, replaced)?);
        }
        self.all.truncate(self.map.masters.len() * self.each);
        for kept in again {
            self.ledger.report.retries += u64::from(kept.was_sent);
            self.give(kept);
        }
        self.ledger.asked.clear();
        if probe {
            for lane in self.all.iter_mut().filter(|l| !l.log.is_empty()) {
                lane.probing = true;
                lane.log.first_alone();
            }
        }
        Ok(())
    }

    /// Appends a command to the lane it belongs to.
    fn give(&mut self, mut kept: Kept) {
        let asked = kept.pending.ask.checked_sub(1);
        let asked = asked.and_then(|at| self.ledger.asked.get(at));
        let node = asked.and_then(|a| self.map.masters.iter().position(|m| m == a));
        kept.pending.ask = usize::from(node.is_some());
        kept.pending.state = State::Waiting;
        let at = match key_of(kept.head()) {
            _ if kept.pending.class == Class::Unit => {
                self.lane(u16::try_from(kept.pending.key).unwrap_or(0))
            }
            Some(key) => {
                let slot = slot(key);
                match node {
                    Some(node) => Some(node * self.each + usize::from(slot) % self.each),
                    None => self.lane(slot),
                }
            }
            None => None,
        };
        match (at, kept.bytes) {
            (Some(at), bytes) => {
                if let Some(lane) = self.all.get_mut(at) {
                    match bytes {
                        Bytes::Memory(b) => lane.append(Kind::Memory(&b), kept.pending),
                        Bytes::File(f) => lane.append(Kind::File(f), kept.pending),
                    }
                }
            }
            (None, Bytes::Memory(b)) => {
                // Not known which masters have done it: to all of them.
                let more = (self.map.masters.len() as u64).saturating_sub(1);
                self.ledger.marks.add_to(kept.pending.epoch, more);
                kept.pending.again = true;
                for lane in self.all.iter_mut().step_by(self.each.max(1)) {
                    lane.append(Kind::Memory(&b), kept.pending);
                }
            }
            (None, Bytes::File(_)) => {}
        }
    }

    /// What is to be sent again of what a lane has kept.
    fn not_done(&mut self, kept: Vec<Kept>, cut: bool, replaced: bool) -> Result<Vec<Kept>> {
        let mut again: Vec<Kept> = Vec::with_capacity(kept.len());
        let mut failed = HashSet::new();
        let mut lists: HashMap<u64, List> = HashMap::new();
        for mut kept in kept {
            let p = &mut kept.pending;
            if p.class.is_ours() {
                continue;
            }
            let (class, db) = (p.class, p.db);
            let key = key_of(kept.head()).unwrap_or_default().to_vec();
            let id = route::identity(db, &key);
            let p = &mut kept.pending;
            let done = p.state == State::Done;
            if class == Class::Unit {
                let unsure = match p.state {
                    State::Done if !replaced => {
                        self.ledger.settle(p);
                        continue;
                    }
                    State::Done => true,
                    State::Waiting => kept.was_sent && cut,
                    State::Failed => false,
                };
                if unsure && self.is_done(&kept.pending)? {
                    self.ledger.settle(&kept.pending);
                    continue;
                }
                let bad = self
                    .ledger
                    .bad
                    .remove(&kept.pending.unit)
                    .unwrap_or_default();
                if let Bytes::Memory(bytes) = &kept.bytes {
                    kept.bytes = Bytes::Memory(units::without(&mut kept.pending, bytes, &bad)?);
                }
                again.push(kept);
                continue;
            }
            match p.state {
                // After one for the same key that was not: the order is to be kept.
                State::Done if replaced || failed.contains(&id) => p.again = true,
                State::Done => {
                    self.ledger.settle(p);
                    continue;
                }
                State::Failed => {
                    failed.insert(id);
                }
                State::Waiting if kept.was_sent && cut => p.again = true,
                State::Waiting => {}
            }
            let (unsure, was_failed) = (p.again, p.state == State::Failed);
            match class {
                Class::Push => {
                    let list = lists.entry(id).or_insert_with(|| List {
                        db,
                        key,
                        pushes: Vec::new(),
                        failed: false,
                        deleted: false,
                        unsure: false,
                    });
                    list.pushes.push(again.len());
                    list.failed |= was_failed;
                    list.unsure |= unsure || done;
                }
                Class::Delete => {
                    let list = lists.entry(id).or_insert_with(|| List {
                        db,
                        key,
                        pushes: Vec::new(),
                        failed: false,
                        deleted: false,
                        unsure: false,
                    });
                    list.deleted = true;
                }
                _ => {}
            }
            again.push(kept);
        }
        let mut done = HashSet::new();
        for (id, list) in &lists {
            if list.unsure && !list.deleted && !list.pushes.is_empty() {
                self.repair(*id, list, &again, &mut done)?;
            }
        }
        let mut at = 0;
        again.retain(|kept| {
            at += 1;
            if done.contains(&(at - 1)) {
                self.ledger.settle(&kept.pending);
                return false;
            }
            true
        });
        Ok(again)
    }

    /// Finds out which pushes to a list have been done, or undoes them.
    fn repair(
        &mut self,
        id: u64,
        list: &List,
        commands: &[Kept],
        done: &mut HashSet<usize>,
    ) -> Result<()> {
        let pushes: Vec<_> = list
            .pushes
            .iter()
            .filter_map(|&at| Some((at, &commands.get(at)?.pending)))
            .collect();
        let Some((_, first)) = pushes.first() else {
            return Ok(());
        };
        let elements = |p: &super::log::Pending| u64::from(p.elements);
        // How long it was before the first of them.
        let known = match first.answer {
            0 => self.ledger.pushed.get(&id).copied(),
            n => n.checked_sub(elements(first)),
        };
        let reply = self.ask(list.db, &list.key, &[b"LLEN", &list.key])?;
        let Reply::Int(len) = reply else {
            // No list: the commands will be told so.
            return Ok(());
        };
        let len = u64::try_from(len).unwrap_or(0);
        let error = |what: &str| {
            let key = quote(&list.key);
            let what = format!("database {}, key {key}: {what}", list.db);
            RdbError::other(ErrorKind::Server, what).with_file(&self.endpoint.address.to_string())
        };
        let base = match known {
            Some(n) => n,
            None if !list.failed => 0,
            None => {
                let answered = pushes.iter().map(|(_, p)| p).filter(|p| p.answer > 0);
                len.saturating_sub(answered.map(|p| elements(p)).sum())
            }
        };
        if len < base {
            let what = format!(
                "ERR the list has {len} elements, and the target had confirmed {base}: it has lost some"
            );
            let report = &mut self.ledger.report;
            report.fail(list.db, &list.key, what.as_bytes());
            return Ok(());
        }
        if !list.failed {
            // They are done one after the other: the first so many were.
            let mut sum = base;
            for (n, (_, p)) in pushes.iter().enumerate() {
                if sum >= len {
                    break;
                }
                sum += elements(p);
                if sum == len {
                    done.extend(pushes.iter().take(n + 1).map(|(at, _)| *at));
                }
            }
            if sum == len {
                self.ledger.pushed.insert(id, len);
                return Ok(());
            }
            if known.is_none() {
                return Err(error(&format!(
                    "the connection was lost during RPUSH, and from the list's length, {len}, it cannot be told which elements are \
                     there: delete it and start again"
                )));
            }
        }
        self.ledger.pushed.insert(id, base);
        // Some are missing before others: all of them go, and come again in order.
        match base {
            0 => self.ask(list.db, &list.key, &[b"DEL", &list.key])?,
            n => {
                let last = (n - 1).to_string();
                self.ask(
                    list.db,
                    &list.key,
                    &[b"LTRIM", &list.key, b"0", last.as_bytes()],
                )?
            }
        };
        Ok(())
    }

    /// Asks the node that has a key, wherever that is.
    pub(super) fn ask(&mut self, db: u64, key: &[u8], argv: &[&[u8]]) -> Result<Reply> {
        let since = Instant::now();
        let owner = self.map.master(slot(key));
        let mut address = match owner.and_then(|at| self.map.masters.get(at)) {
            Some(address) => address.clone(),
            None => self.endpoint.address.clone(),
        };
        let mut asking = false;
        loop {
            let said = self.client(&address).and_then(|mut client| {
                client.must(&[b"SELECT", db.to_string().as_bytes()])?;
                if std::mem::take(&mut asking) {
                    client.must(&[b"ASKING"])?;
                }
                client.call(argv)
            });
            let e = match said {
                Ok(Reply::Error(text)) => match super::retry::meaning(text.as_bytes(), &address) {
                    super::retry::Meaning::Moved(_, Some(to)) => {
                        address = to;
                        continue;
                    }
                    super::retry::Meaning::Ask(Some(to)) => {
                        (address, asking) = (to, true);
                        continue;
                    }
                    super::retry::Meaning::Later(_) => refused(&address, "LLEN", &text),
                    super::retry::Meaning::Refused => return Err(refused(&address, "LLEN", &text)),
                    _ => return Ok(Reply::Error(text)),
                },
                Ok(reply) => return Ok(reply),
                Err(e) => e,
            };
            if of_conversation(&e).is_none() || since.elapsed() > self.options.retry_for {
                return Err(e);
            }
            std::thread::sleep(pause(2));
        }
    }
}

/// What the server calls this connection.
fn own_id(client: &mut Client) -> Result<Option<i64>> {
    if let Reply::Int(id) = client.call(&[b"CLIENT", b"ID"])? {
        return Ok(Some(id));
    }
    // Before 5.0 it is found by a name that only it has.
    let was = client.call(&[b"CLIENT", b"GETNAME"])?;
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("rdbtool-{}-{n}", std::process::id());
    client.call(&[b"CLIENT", b"SETNAME", name.as_bytes()])?;
    let list = client.call(&[b"CLIENT", b"LIST"])?;
    if let Some(was) = was.text() {
        client.call(&[b"CLIENT", b"SETNAME", was.as_bytes()])?;
    }
    let name = format!("name={name}");
    let line = list
        .text()
        .into_iter()
        .flat_map(str::lines)
        .find(|l| l.split(' ').any(|w| w == name));
    let id = line.and_then(|l| l.split(' ').find_map(|w| w.strip_prefix("id=")));
    Ok(id.and_then(|id| id.parse().ok()))
}

/// How many replicas a master has.
fn replicas(client: &mut Client) -> Result<u64> {
    let reply = client.must(&[b"INFO", b"replication"])?;
    let mut lines = reply.text().unwrap_or_default().lines();
    let n = lines.find_map(|l| l.strip_prefix("connected_slaves:"));
    Ok(n.and_then(|n| n.trim().parse().ok()).unwrap_or(0))
}
