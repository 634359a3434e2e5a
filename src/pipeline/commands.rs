//! The commands of a batch: which of them are wanted, and in which transaction.
//!
//! ```text
//!   MULTI  SET a 1  SET b 1  EXEC        --key 'a*'        MULTI  SET a 1  EXEC
//!   MULTI  SET b 1  EXEC                                   nothing
//!   MULTI  SELECT 3  SET a 1  EXEC                         MULTI  SELECT 3  SET a 1  EXEC
//! ```
//!
//! A transaction is never cut: all of it is in one batch.

use super::batch::Job;
use super::{Room, Shared};
use crate::aof::scan::{self as log_scan, Scan};
use crate::command::choose::Chooser;
use crate::command::table::Role;
use crate::command::{Command, Raw};
use crate::encode::Encode;
use crate::error::Result;
use crate::filter::{Transform, Unique};
use crate::out::Out;
use crate::rdb::scan::Item;
use std::sync::atomic::Ordering;

/// Where a walk over commands stands to the transactions in them.
enum Group<'b> {
    /// In none.
    None,
    /// In one of which nothing has been encoded: its MULTI, where that stands, and the database that has been selected since.
    Begun(Raw<'b>, u64, Option<u64>),
    /// In one that has been begun in the output too.
    Open,
}

/// Walks the commands of a batch, and leaves out what is not wanted: of a transaction of which nothing is, MULTI and EXEC too.
pub(super) fn walk<E: Encode>(
    shared: &Shared<'_, '_>,
    encoder: &mut E,
    job: &Job<'_>,
    (mut db, mut changes): (u64, bool),
    room: &mut Room,
    out: &mut Out<'_>,
    n: &mut u64,
) -> Result<()> {
    let options = shared.options;
    let chooser = Chooser::new(options.filter, options.transform);
    let to = |db| options.transform.db(db);
    let is_enough = |n: u64| {
        let before =
            || shared.keys.load(Ordering::Relaxed) + shared.commands.load(Ordering::Relaxed);
        options.limit.is_some_and(|limit| before() + n >= limit)
    };
    let bytes = job.chunk.bytes();
    let mut scan = Scan::default();
    let mut group = Group::None;
    while scan.at() < bytes.len() {
        let offset = job.offset + scan.at() as u64;
        let raw = match scan.step(bytes, job.offset)? {
            log_scan::Step::Command(raw) => raw,
            log_scan::Step::Annotation(line) => {
                encoder.annotation(line, out)?;
                continue;
            }
            log_scan::Step::More => break,
        };
        let role = log_scan::control(raw.name());
        // A log begins in database 0 whatever stands before it; servers begin it with a SELECT, so that this is seldom needed.
        if std::mem::take(&mut changes) && role != Role::Select && options.filter.db(db) {
            encoder.item(&Item::SelectDb(to(db)), out)?;
        }
        match role {
            Role::Data => {
                let mut edit = None;
                let chosen = chooser.choose(raw, db, offset, &mut edit, &mut room.losses)?;
                let Some(command) = chosen else {
                    continue;
                };
                if let Some(unique) = options.unique
                    && !is_of_this_source(&command, unique, options.transform)?
                {
                    continue;
                }
                if let Group::Begun(multi, at, selected) = group {
                    encoder.command(&Command::as_is(to(db), at, multi.spec(), multi), out)?;
                    if let Some(db) = selected {
                        encoder.select(db, out)?;
                    }
                    group = Group::Open;
                }
                encoder.command(&command, out)?;
                *n += 1;
            }
            Role::Select => {
                db = log_scan::selected(&raw, offset)?;
                if options.filter.db(db) {
                    match &mut group {
                        Group::Begun(_, _, selected) => *selected = Some(to(db)),
                        _ => encoder.select(to(db), out)?,
                    }
                }
            }
            Role::Multi if matches!(group, Group::None) => {
                group = Group::Begun(raw, offset, None);
            }
            Role::Exec => match std::mem::replace(&mut group, Group::None) {
                Group::Open => {
                    encoder.command(&Command::as_is(to(db), offset, raw.spec(), raw), out)?;
                }
                Group::Begun(_, _, Some(db)) => encoder.select(db, out)?,
                _ => {}
            },
            // Servers pass over them where commands are repeated, and so would nobody else.
            _ => {}
        }
        out.checkpoint()?;
        if matches!(group, Group::None) && is_enough(*n) {
            shared.limited.store(true, Ordering::Relaxed);
            break;
        }
    }
    if changes && options.filter.db(db) {
        encoder.item(&Item::SelectDb(to(db)), out)?;
    }
    Ok(())
}

/// Whether the keys of a command are of its own source, when several become one; not if none of them is.
fn is_of_this_source(
    command: &Command<'_>,
    unique: &Unique,
    transform: &Transform,
) -> Result<bool> {
    if transform.merges() {
        return Err(command.refuse(
            "whether its keys are there already, from another database or under another name, cannot be told; dump and restore play it anyway \
             with --on-conflict replace",
        ));
    }
    let (mut ours, mut others) = (0, 0);
    let mut room = Vec::new();
    command.each_key(|key| {
        let is_ours = unique.is_ours(command.db, key.joined(&mut room), command.offset)?;
        *(if is_ours { &mut ours } else { &mut others }) += 1;
        Ok(())
    })?;
    let is_of_all = matches!(
        command.role(),
        Role::FlushAll | Role::FlushDb | Role::SwapDb | Role::Script
    );
    if ours + others == 0 && (is_of_all || command.spec.is_none()) {
        return Err(command.refuse("it is about keys of the other sources, too"));
    }
    if ours > 0 && others > 0 {
        return Err(command.refuse("some of its keys are those of another source"));
    }
    Ok(others == 0)
}
