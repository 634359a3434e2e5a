//! Going on with a stream that was broken off, at any moment and without a warning.
//!
//! ```text
//!   stream     |──── answered ────|──── perhaps done ────|──── not sent ────
//!              0               position                bound
//!
//!   run again  |──── passed ──────|──── sent again ──────|──── as ever ─────
//! ```
//!
//! The stream is made once more, and is the same: of what is passed a sum is taken, and if it is not the one that was saved, nothing is
//! sent.
//!
//! - `position` lies before the first command of a key, and everything before it has been answered. So a value of several commands that
//!   was broken off is sent again from its first one, which for a list is DEL.
//! - `bound` is saved before anything behind it is sent, some seconds' worth ahead, so that saving costs nothing. What lies between the two
//!   may have been done. All of it is sent again, in order; where the server says that a key, an id or a group is there, it is taken to
//!   be ours. So a key that was there before the first run and is in that stretch is left alone, but not known for what it is, unless
//!   that was noticed before the end.
//! - Whatever the connections of the run before have sent, and the server has not read, it would still do: they are closed first.

use super::journal::{Journal, Mark};
use super::log::Pending;
use super::route::Class;
use super::split::Command;
use super::units::Units;
use super::{Lanes, Target};
use crate::error::{ErrorKind, RdbError, Result};
use crate::net::Client;
use crate::resp::Reply;
use crc_fast::{CrcAlgorithm::Crc64Nvme, Digest};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How often the position is saved.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes between two places that may be saved, at the least.
const STEP: u64 = 32 << 10;
/// How far ahead of the stream the bound is: at the least, at the most.
const AHEAD: (u64, u64) = (1 << 20, 256 << 20);
/// Bytes of a command by which it is known again.
const KNOWN_BY: usize = 4096;

/// A journal and how far the stream has come since it was read.
#[derive(Debug)]
pub(super) struct Resume {
    journal: Journal,
    /// The sum of the stream so far. Not the CRC that payloads end with: to that they would all be the same.
    sum: Digest,
    /// Where it ends.
    at: u64,
    keys: u64,
    /// Places that may be saved once everything before them has been answered.
    marks: VecDeque<Mark>,
    /// Up to where a run before may have sent.
    again_to: u64,
    /// Whether the stream is the one it was.
    known: bool,
    ahead: u64,
    saved: Instant,
    saved_at: u64,
}

impl Target {
    /// Goes on where `journal` says, and keeps it up to date from now on. To be called before anything is written; what is written is the
    /// stream from its beginning.
    pub fn resume(&mut self, mut journal: Journal) -> Result<()> {
        let lanes = &mut self.lanes;
        let begun = journal.is_begun();
        let old = journal.take_over();
        let mut empty = true;
        for master in &lanes.map.masters {
            let mut client = lanes.client(master)?;
            if begun {
                hang_up(&mut client, &old)?;
            }
            let keyspace = client.must(&[b"INFO", b"keyspace"])?;
            empty &= !keyspace.text().unwrap_or_default().contains("keys=");
        }
        let state = &mut journal.state;
        if !begun {
            state.was_empty = empty;
            state.begun = true;
        }
        if begun && empty && state.done.keys > 0 && state.failed == 0 {
            let what = format!(
                "has no key, though {} had been restored into it: it has lost them, or all have expired. To begin anew, delete the file of \
                 --resume",
                state.done.keys
            );
            let e = RdbError::other(ErrorKind::Server, what);
            return Err(e.with_file(&lanes.endpoint.address.to_string()));
        }
        let report = &mut lanes.ledger.report;
        report.skipped_before = state.skipped;
        report.failed = state.failed;
        report.errors = state.errors.clone();
        report.restarted = state.restarted;
        report.unconfirmed = state.unconfirmed;
        for (address, run) in &lanes.runs {
            if state.runs.get(address).is_some_and(|was| was != run) {
                report.restarted += 1;
            }
        }
        lanes.ledger.was_empty = state.was_empty;
        lanes.units = Units::new(Some(&state.markers), begun);
        let again_to = if begun { state.bound } else { 0 };
        lanes.resume = Some(Resume {
            journal,
            sum: Digest::new(Crc64Nvme),
            at: 0,
            keys: 0,
            marks: VecDeque::new(),
            again_to,
            known: false,
            ahead: 4 * AHEAD.0,
            saved: Instant::now(),
            saved_at: 0,
        });
        lanes.save()
    }

    /// Saves how far it has come, when the run has failed. Gives whether there is anything to go on with.
    pub fn suspend(&mut self) -> Result<bool> {
        let Some(resume) = &mut self.lanes.resume else {
            return Ok(false);
        };
        if resume.known {
            // Now it is known what was sent at the most.
            resume.journal.state.bound = resume.again_to.max(resume.at);
            self.lanes.write_journal()?;
        }
        Ok(true)
    }

    /// The stream has ended, and all of it has been answered: there is nothing to go on with any more.
    pub fn complete(&mut self) -> Result<()> {
        self.lanes.end_units()?;
        if self.lanes.units.is_used() {
            self.lanes.save_end()?;
        }
        self.lanes.delete_markers()?;
        match self.lanes.resume.take() {
            Some(resume) if !resume.known && resume.here() != resume.journal.state.done => {
                Err(resume.another_stream())
            }
            Some(resume) => resume.journal.remove(),
            None => Ok(()),
        }
    }
}

impl Resume {
    /// More of the stream.
    #[inline]
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.at += bytes.len() as u64;
    }

    fn here(&self) -> Mark {
        Mark {
            at: self.at,
            sum: self.sum.finalize(),
            keys: self.keys,
        }
    }

    #[cold]
    fn another_stream(&self) -> RdbError {
        let what = format!(
            "the commands made of the sources are not those of the run before ({} bytes of which had been done): the sources have changed, \
             or rdbtool has. Nothing has been sent; to begin anew, delete the file of --resume",
            self.journal.state.done.at
        );
        RdbError::other(ErrorKind::Corrupt, what)
    }
}

impl Lanes {
    /// Whether a command is to be sent, of a stream whose position is kept. It is the one that begins where the stream has come to.
    pub(super) fn is_due(&mut self, command: &Command<'_>, pending: &mut Pending) -> Result<bool> {
        let Some(resume) = &mut self.resume else {
            return Ok(true);
        };
        let done = resume.journal.state.done;
        if resume.at < done.at {
            resume.keys += u64::from(pending.first);
            self.ledger.report.passed += u64::from(pending.first);
            return Ok(false);
        }
        if !resume.known {
            if done.at > 0 && resume.here() != done {
                return Err(resume.another_stream());
            }
            resume.known = true;
            resume.saved_at = done.at;
            self.ledger.marks.mark(done.at);
        }
        let last = resume.marks.back().map_or(done.at, |m| m.at);
        if (pending.first || pending.class == Class::Keyless) && resume.at >= last + STEP {
            let here = resume.here();
            resume.marks.push_back(here);
            self.ledger.marks.mark(here.at);
            if resume.saved.elapsed() >= EVERY {
                self.save()?;
            }
        }
        let Some(resume) = &mut self.resume else {
            return Ok(true);
        };
        resume.keys += u64::from(pending.first);
        if resume.at >= resume.journal.state.bound {
            self.save()?;
        }
        if let Some(resume) = &self.resume {
            pending.before = resume.at < resume.again_to
                && !resume
                    .journal
                    .state
                    .conflicts
                    .contains(&known_by(command.bytes, pending.db));
        }
        Ok(true)
    }

    /// Saves how far it has come, and how far it may go before that is saved again.
    fn save(&mut self) -> Result<()> {
        if let Some(resume) = &mut self.resume {
            // Twice of what went since the last time, so that there is time to save again before the bound is reached.
            let went = resume.at.saturating_sub(resume.saved_at);
            let ahead = match resume.saved.elapsed() < EVERY {
                true => resume.ahead.max(2 * went),
                false => 2 * went,
            };
            resume.ahead = ahead.clamp(AHEAD.0, AHEAD.1);
            resume.saved_at = resume.at;
            let from = resume.at.max(resume.journal.state.done.at);
            let bound = &mut resume.journal.state.bound;
            *bound = (*bound).max(from + resume.ahead);
        }
        self.write_journal()
    }

    /// Saves that all of the stream has been done: the markers, which say more, are about to go.
    fn save_end(&mut self) -> Result<()> {
        if let Some(resume) = &mut self.resume
            && (resume.known || resume.journal.state.done.at == 0)
        {
            let here = resume.here();
            resume.marks.push_back(here);
            self.ledger.marks.mark(here.at);
            self.write_journal()?;
        }
        Ok(())
    }

    fn write_journal(&mut self) -> Result<()> {
        let Some(resume) = &mut self.resume else {
            return Ok(());
        };
        let ledger = &self.ledger;
        let settled = ledger.marks.settled();
        let state = &mut resume.journal.state;
        while let Some(mark) = resume.marks.front().filter(|m| m.at <= settled) {
            state.done = *mark;
            resume.marks.pop_front();
        }
        let report = &ledger.report;
        state.skipped = report.skipped_before + report.skipped;
        state.failed = report.failed;
        state.errors.clone_from(&report.errors);
        state.restarted = report.restarted;
        state.unconfirmed = report.unconfirmed;
        if let Some(conflict) = ledger.conflict
            && !state.conflicts.contains(&conflict)
        {
            state.conflicts.push(conflict);
        }
        for (address, run) in &self.runs {
            state.runs.insert(address.clone(), run.clone());
        }
        resume.journal.save()?;
        resume.saved = Instant::now();
        Ok(())
    }
}

/// A number by which a command is known again. Of a large one only its beginning is at hand.
pub(super) fn known_by(bytes: &[u8], db: u64) -> u64 {
    let head = bytes.get(..KNOWN_BY).unwrap_or(bytes);
    crc_fast::checksum(Crc64Nvme, head) ^ db
}

/// Closes the connections of this name.
fn hang_up(client: &mut Client, name: &str) -> Result<()> {
    let list = client.call(&[b"CLIENT", b"LIST"])?;
    let name = format!("name={name}");
    let mut refused = matches!(list, Reply::Error(_));
    for line in list.text().into_iter().flat_map(str::lines) {
        if !line.split(' ').any(|w| w == name) {
            continue;
        }
        if let Some(id) = line.split(' ').find_map(|w| w.strip_prefix("id=")) {
            let said = client.call(&[b"CLIENT", b"KILL", b"ID", id.as_bytes()])?;
            refused |= matches!(said, Reply::Error(e) if e.starts_with("NOPERM"));
        }
    }
    if refused {
        // Who may not has to hope that by then the server has noticed that they are closed.
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
