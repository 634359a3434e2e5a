//! Commands of a log to the nodes that have their keys.
//!
//! ```text
//!   SET a 1                  | node of a | Command |
//!   DEL a b                  | node of a | DEL a |  | node of b | DEL b |       does the same to each key, so it is taken apart
//!   RENAME a b               | node |      if one node has both; or else an error, or left out
//!   FLUSHALL, FUNCTION ..    | all |
//!   MULTI SET a 1 SET b 2 EXEC
//!                            | node of a | MULTI |  | .. | SET a 1 |  | node of b | MULTI |  | .. | SET b 2 |  | both | EXEC |
//! ```
//!
//! A node that loads a log does not ask whether the keys of a command are of one slot, only a running one that is given it does.

use super::{Routed, Router};
use crate::cluster::slot::slot;
use crate::command::table::Role;
use crate::command::{Argument, Command, Raw};
use crate::encode::Encode;
use crate::error::{RdbError, Result, quote};
use crate::loss::Reason;
use crate::out::{EVERY, Kind, Out};

/// A transaction of which some has been read.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Its MULTI, as it stood.
    multi: Vec<u8>,
    /// The lanes that have some of it.
    begun: Vec<u16>,
}

/// Where the keys of a command go.
pub(super) enum Way {
    /// All of them to one place.
    One(u16),
    /// There is none: to every place.
    Every,
    /// To several places.
    Several,
}

/// How many keys an error names.
const NAMED: usize = 3;

impl Router<'_> {
    /// The place of a key: all keys of a command must have the same.
    fn place(&self, key: &Argument<'_>, room: &mut Vec<u8>) -> u16 {
        let slot = slot(key.joined(room));
        match self.live {
            true => slot,
            false => self.topology.owner(slot),
        }
    }

    /// The lane of a place.
    fn lane_at(&self, place: u16) -> u16 {
        match self.live {
            true => self.topology.owner(place),
            false => place,
        }
    }

    /// Where a command goes; nowhere, if it cannot and is to be left out.
    pub(super) fn way(&self, c: &Command<'_>, room: &mut Vec<u8>) -> Result<Option<Way>> {
        let Some(spec) = c.spec else {
            return self.cannot(
                c,
                "it is not known, and so neither is which node has its keys",
            );
        };
        let (mut first, mut several) = (None, false);
        c.each_key(|key| {
            let place = self.place(&key, room);
            several |= *first.get_or_insert(place) != place;
            Ok(())
        })?;
        match (first, several, spec.role) {
            (Some(place), false, _) => Ok(Some(Way::One(place))),
            (Some(_), true, Role::Each) => Ok(Some(Way::Several)),
            (Some(_), true, _) => {
                let what = match self.live {
                    true => "slots",
                    false => "nodes",
                };
                let what = format!("its keys are of several {what}: {}", self.named(c)?);
                self.cannot(c, &what)
            }
            (None, _, Role::Script) => self.cannot(
                c,
                "a script that names no key, so that nobody can tell which node has what it writes",
            ),
            (None, _, _) => Ok(Some(Way::Every)),
        }
    }

    /// Some keys of a command, and where they go.
    fn named(&self, c: &Command<'_>) -> Result<String> {
        let (mut text, mut n) = (String::new(), 0);
        let mut room = Vec::new();
        c.each_key(|key| {
            n += 1;
            if n > NAMED {
                return Ok(());
            }
            let place = match self.live {
                true => format!("slot {}", slot(key.joined(&mut room))),
                false => format!("node {}", self.lane(key.joined(&mut room)) + 1),
            };
            let comma = if n > 1 { ", " } else { "" };
            text += &format!("{comma}{} ({place})", quote(key.joined(&mut room)));
            Ok(())
        })?;
        if n > NAMED {
            text += " ...";
        }
        Ok(text)
    }

    #[cold]
    fn cannot(&self, c: &Command<'_>, why: &str) -> Result<Option<Way>> {
        match self.lenient {
            true => Ok(None),
            false => Err(c.refuse(&format!("{why}; --on-error skip leaves such commands out"))),
        }
    }

    /// Takes a command apart: for each place one with the keys that belong there.
    pub(super) fn parts(
        &self,
        c: &Command<'_>,
        mut give: impl FnMut(u16, &Command<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut places = Vec::new();
        let mut room = Vec::new();
        c.each_key(|key| {
            places.push(self.place(&key, &mut room));
            Ok(())
        })?;
        places.sort_unstable();
        places.dedup();
        let mut some = Out::new();
        for place in places {
            some.truncate(0);
            let is_here = |key: &Argument<'_>| self.place(key, &mut Vec::new()) == place;
            c.write_some(is_here, &mut some)?;
            let raw = read(some.as_bytes(), c.offset)?;
            give(place, &Command::as_is(c.db, c.offset, c.spec, raw))?;
        }
        Ok(())
    }
}

impl<E: Encode> Routed<'_, E> {
    /// Deals out a command.
    pub(super) fn deal(&mut self, c: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        match c.role() {
            Role::Multi => {
                let mut group = self.group.take().unwrap_or_default();
                group.multi.clear();
                group.multi.extend_from_slice(c.raw.bytes());
                group.begun.clear();
                self.group = Some(group);
                return Ok(());
            }
            Role::Exec => return self.end_group(c, out),
            // Of a node of the cluster that was.
            Role::Node => return Ok(()),
            _ => {}
        }
        if !self.counted_of(c.db, c.offset) {
            return Ok(());
        }
        let router = self.router;
        match router.way(c, &mut self.room)? {
            Some(Way::One(place)) => self.give(router.lane_at(place), c, out),
            Some(Way::Every) if self.group.is_none() => self.give(EVERY, c, out),
            Some(Way::Every) => {
                let lanes = u16::try_from(self.router.lanes()).unwrap_or(EVERY);
                (0..lanes).try_for_each(|lane| self.give(lane, c, out))
            }
            Some(Way::Several) => {
                router.parts(c, |place, part| self.give(router.lane_at(place), part, out))
            }
            None => {
                let example = || c.raw.example();
                self.losses.note_with(Reason::AcrossNodes, c.db, example);
                Ok(())
            }
        }
    }

    /// Gives a command to a lane, within the transaction that it is in.
    fn give(&mut self, lane: u16, c: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        if let Some(group) = &mut self.group
            && !group.begun.contains(&lane)
        {
            group.begun.push(lane);
            let multi = read(&group.multi, c.offset)?;
            let multi = Command::as_is(c.db, c.offset, multi.spec(), multi);
            out.open(lane, Kind::Command);
            let r = self.inner.command(&multi, out);
            out.close();
            r?;
        }
        out.open(lane, Kind::Command);
        let r = self.inner.command(c, out);
        out.close();
        r?;
        out.checkpoint()
    }

    fn end_group(&mut self, exec: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        let Some(group) = self.group.take() else {
            return Ok(());
        };
        if group.begun.len() > 1 {
            let example = || exec.raw.example();
            self.losses
                .note_with(Reason::TransactionApart, exec.db, example);
        }
        group
            .begun
            .iter()
            .try_for_each(|&lane| self.give(lane, exec, out))
    }
}

/// A command that was written here.
pub(super) fn read(bytes: &[u8], offset: u64) -> Result<Raw<'_>> {
    Raw::read(bytes, offset)?.ok_or_else(|| RdbError::corrupt(offset, "half a command"))
}
