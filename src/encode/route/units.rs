//! Commands of a log for running servers: in units, each of which is to be done as a whole, and once.
//!
//! ```text
//!   SET a 1                            MULTI  SET a 1  EXEC
//!   MULTI  SET a 1  INCR b  EXEC       MULTI  SET a 1  INCR b  EXEC
//!                     in a cluster     MULTI  SET a 1  EXEC    MULTI  INCR b  EXEC       a unit for each slot
//!   DEL a b           in a cluster     MULTI  DEL a  EXEC      MULTI  DEL b  EXEC
//!   FLUSHALL          in a cluster     MULTI  FLUSHALL  EXEC                             no key: for every master
//! ```
//!
//! Keys, which are not of a log, come without MULTI. That is how a [target](crate::target) tells them apart.

use super::super::{Encode, Part};
use super::Router;
use super::log::Way;
use crate::command::Command;
use crate::command::table::Role;
use crate::error::Result;
use crate::loss::{Losses, Reason};
use crate::out::Out;
use crate::rdb::entry::Entry;
use crate::rdb::scan::Item;
use crate::rdb::template::Templates;
use crate::resp::write;

/// An encoder for running servers.
#[derive(Debug)]
pub struct Units<'r, E> {
    inner: E,
    /// Where the keys of a command go, if it is a cluster.
    router: Option<&'r Router<'r>>,
    /// The transaction that is being read.
    group: Option<Vec<Gathered>>,
    /// The database at its end.
    db: u64,
    losses: Losses,
    room: Vec<u8>,
    some: Out<'static>,
}

/// What a transaction has for one slot; for none, it is for every master.
#[derive(Debug)]
struct Gathered {
    place: Option<u16>,
    db: u64,
    commands: Vec<u8>,
}

impl<'r, E: Encode> Units<'r, E> {
    /// The same encoder, for a single server, or for the nodes of a cluster.
    pub fn new(inner: E, router: Option<&'r Router<'r>>) -> Self {
        Units {
            inner,
            router,
            group: None,
            db: 0,
            losses: Losses::default(),
            room: Vec::new(),
            some: Out::new(),
        }
    }

    /// The encoder, when it is done; and what of commands could not be kept.
    pub fn into_parts(self) -> (E, Losses) {
        (self.inner, self.losses)
    }

    /// A unit of one command, or more of the transaction that is being read.
    fn give(&mut self, place: Option<u16>, c: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        let Some(group) = &mut self.group else {
            self.some.truncate(0);
            self.inner.command(c, &mut self.some)?;
            if !self.some.is_empty() {
                unit(self.some.as_bytes(), out);
            }
            return out.checkpoint();
        };
        self.db = c.db;
        self.some.truncate(0);
        let at = match place {
            // What is for all stands by itself, in its place.
            Some(_) => {
                let since = group.iter().rposition(|g| g.place.is_none());
                let since = since.map_or(0, |i| i + 1);
                let of = |g: &Gathered| g.place == place;
                let found = group.iter().skip(since).position(of);
                found.map(|i| i + since)
            }
            None => None,
        };
        match at.and_then(|at| group.get_mut(at)) {
            Some(gathered) => {
                if gathered.db != c.db {
                    gathered.db = c.db;
                    select(c.db, &mut self.some);
                }
                self.inner.command(c, &mut self.some)?;
                gathered.commands.extend_from_slice(self.some.as_bytes());
            }
            None => {
                select(c.db, &mut self.some);
                self.inner.command(c, &mut self.some)?;
                group.push(Gathered {
                    place,
                    db: c.db,
                    commands: self.some.as_bytes().to_vec(),
                });
            }
        }
        Ok(())
    }

    /// Writes what a transaction has become.
    fn end_group(&mut self, exec: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        let group = self.group.take().unwrap_or_default();
        if group.len() > 1 {
            let example = || exec.raw.example();
            self.losses
                .note_with(Reason::TransactionApart, exec.db, example);
        }
        for gathered in &group {
            unit(&gathered.commands, out);
        }
        if !group.is_empty() {
            select(self.db, out);
        }
        out.checkpoint()
    }

    /// For a single server: as it stands, but in a unit.
    fn plain(&mut self, c: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        match c.role() {
            Role::Multi => {
                self.group = Some(Vec::new());
                self.inner.command(c, out)
            }
            Role::Exec => {
                self.group = None;
                self.inner.command(c, out)?;
                out.checkpoint()
            }
            Role::Node => Ok(()),
            _ if self.group.is_some() => self.inner.command(c, out),
            _ => {
                write::command(&[b"MULTI"], out);
                self.inner.command(c, out)?;
                write::command(&[b"EXEC"], out);
                out.checkpoint()
            }
        }
    }
}

fn unit(commands: &[u8], out: &mut Out<'_>) {
    write::command(&[b"MULTI"], out);
    out.raw(commands);
    write::command(&[b"EXEC"], out);
}

fn select(db: u64, out: &mut Out<'_>) {
    write::command(&[b"SELECT", db.to_string().as_bytes()], out);
}

impl<E: Encode> Encode for Units<'_, E> {
    const SEPARATOR: Option<u8> = E::SEPARATOR;

    fn whole_up_to(&self) -> u64 {
        self.inner.whole_up_to()
    }

    fn item(&mut self, item: &Item<'_>, out: &mut Out<'_>) -> Result<()> {
        if let Item::SelectDb(db) = item
            && self.group.is_some()
            && self.router.is_some()
        {
            self.db = *db;
            return Ok(());
        }
        self.inner.item(item, out)
    }

    #[inline]
    fn entry(&mut self, e: &Entry<'_>, templates: &Templates, out: &mut Out<'_>) -> Result<()> {
        self.inner.entry(e, templates, out)
    }

    fn finds_ends(&self) -> bool {
        self.inner.finds_ends()
    }

    fn part(&mut self, part: &Part<'_>, elements: &mut u64, out: &mut Out<'_>) -> Result<()> {
        self.inner.part(part, elements, out)
    }

    fn command(&mut self, c: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        let Some(router) = self.router else {
            return self.plain(c, out);
        };
        match c.role() {
            Role::Multi => {
                self.group = Some(Vec::new());
                Ok(())
            }
            Role::Exec => self.end_group(c, out),
            // Of a node of the cluster that was.
            Role::Node => Ok(()),
            _ => match router.way(c, &mut self.room)? {
                Some(Way::One(place)) => self.give(Some(place), c, out),
                Some(Way::Every) => self.give(None, c, out),
                Some(Way::Several) => {
                    router.parts(c, |place, part| self.give(Some(place), part, out))
                }
                None => {
                    let example = || c.raw.example();
                    self.losses.note_with(Reason::AcrossNodes, c.db, example);
                    Ok(())
                }
            },
        }
    }

    fn annotation(&mut self, line: &[u8], out: &mut Out<'_>) -> Result<()> {
        self.inner.annotation(line, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::topology::Topology;
    use crate::command::Raw;
    use crate::encode::commands::{Commands, Options};
    use crate::rdb::header::Header;

    /// What becomes of a log, a unit or SELECT a line.
    fn units(log: &[&str], cluster: bool) -> Vec<String> {
        let topology = Topology::even(1);
        let router = Router::new(&topology, u64::MAX).live(true);
        let options = Options {
            release: None,
            replace: false,
        };
        let inner = Commands::new(Header::NONE, options);
        let mut units = Units::new(inner, cluster.then_some(&router));
        let (mut out, mut db) = (Out::new(), 0);
        for line in log {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            if let [b"SELECT", n] = args[..] {
                db = std::str::from_utf8(n).unwrap().parse().unwrap();
                units.item(&Item::SelectDb(db), &mut out).unwrap();
                continue;
            }
            let mut one = Out::new();
            write::command(&args, &mut one);
            let raw = Raw::read(one.as_bytes(), 0).unwrap().unwrap();
            let c = Command::as_is(db, 0, raw.spec(), raw);
            units.command(&c, &mut out).unwrap();
        }
        let (mut rest, mut lines, mut line) = (out.as_bytes(), Vec::new(), String::new());
        while let Some(raw) = Raw::read(rest, 0).unwrap() {
            rest = &rest[raw.bytes().len()..];
            let args: Vec<_> = raw.args().map(String::from_utf8_lossy).collect();
            let is_in = !line.is_empty();
            line += &args.join(" ");
            match &*args[0] {
                "EXEC" => lines.push(std::mem::take(&mut line)),
                "SELECT" if !is_in => lines.push(std::mem::take(&mut line)),
                _ => line.push_str(", "),
            }
        }
        assert!(line.is_empty() && rest.is_empty());
        lines
    }

    #[test]
    fn for_a_single_server_they_are_the_transactions_of_the_log() {
        let log = [
            "SET a 1", "SELECT 2", "MULTI", "INCR a", "SELECT 0", "DEL a b", "EXEC", "FLUSHALL",
        ];
        let want = [
            "MULTI, SET a 1, EXEC",
            "SELECT 2",
            "MULTI, INCR a, SELECT 0, DEL a b, EXEC",
            "MULTI, FLUSHALL, EXEC",
        ];
        assert_eq!(units(&log, false), want);
    }

    #[test]
    fn for_a_cluster_each_is_of_one_slot() {
        let log = [
            "SET a 1",
            "DEL a b",
            "MULTI",
            "INCR a",
            "INCR b",
            "SELECT 1",
            "APPEND {a}c x",
            "FLUSHDB",
            "INCR a",
            "EXEC",
            "SET b 1",
        ];
        let want = [
            "MULTI, SET a 1, EXEC",
            // By slot: of b it is 3300, of a 15495.
            "MULTI, DEL b, EXEC",
            "MULTI, DEL a, EXEC",
            "MULTI, SELECT 0, INCR a, SELECT 1, APPEND {a}c x, EXEC",
            "MULTI, SELECT 0, INCR b, EXEC",
            "MULTI, SELECT 1, FLUSHDB, EXEC",
            "MULTI, SELECT 1, INCR a, EXEC",
            "SELECT 1",
            "MULTI, SET b 1, EXEC",
        ];
        assert_eq!(units(&log, true), want);
    }
}
