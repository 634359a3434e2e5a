//! Commands that change data: as they stand in an append-only file, which keys they are about, and what goes on of them.
//!
//! ```text
//!   bytes   *3\r\n $3\r\nset\r\n $1\r\nk\r\n $1\r\nv\r\n          a Raw: a place in a buffer, and how many arguments there are
//!   lookup  table: SET, write, its key is argument 1            a Spec; case does not matter
//!   keys    keys: {1}                                           a KeySet; four numbers, nothing is allocated
//!   choose  filter and transform: pass, drop, or with changes   a Command: what an encoder is given
//! ```
//!
//! Whoever sends commands to different places asks a [`Command`] for its keys with [`each_key`](Command::each_key), and the slot of each
//! of [`slot`](crate::cluster::slot::slot).

pub mod choose;
pub mod keys;
pub mod table;

use crate::error::{RdbError, Result};
use crate::out::Out;
use crate::resp::read::command::{Arg, Args, Found, Splitter};
use crate::resp::write;
use choose::Edit;
use keys::KeySet;
use table::{Role, Spec};

/// A whole command where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'b> {
    bytes: &'b [u8],
    name: &'b [u8],
    count: u64,
}

impl<'b> Raw<'b> {
    /// The command that `bytes` start with; `None` if it is not whole. `base` is where they lie in the file.
    pub fn read(bytes: &'b [u8], base: u64) -> Result<Option<Raw<'b>>> {
        let mut splitter = Splitter::default();
        let mut args = [Arg::default()];
        Ok(match splitter.step(bytes, base, &mut args)? {
            Found::Whole(n) => Some(Raw::found(
                bytes.get(..n).unwrap_or_default(),
                args[0],
                splitter.args(),
            )),
            Found::More => None,
        })
    }

    /// One that has been found: its bytes, where its name is, how many arguments it has.
    #[inline]
    pub(crate) fn found(bytes: &'b [u8], name: Arg, count: u64) -> Raw<'b> {
        Raw {
            bytes,
            name: name.of(bytes),
            count,
        }
    }

    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// Its name, in whatever case it is written.
    #[inline]
    pub fn name(&self) -> &'b [u8] {
        self.name
    }

    /// How many arguments it has, its name among them.
    #[inline]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The arguments, its name among them.
    #[inline]
    pub fn args(&self) -> Args<'b> {
        Args::of(self.bytes)
    }

    /// What is known of it.
    #[inline]
    pub fn spec(&self) -> Option<&'static Spec> {
        table::lookup_with(self.name, || self.args().nth(1))
    }

    /// What is known of it, and its keys.
    pub fn keys(&self) -> (Option<&'static Spec>, KeySet) {
        let spec = self.spec();
        (
            spec,
            spec.map_or_else(KeySet::default, |s| KeySet::of(s, self)),
        )
    }

    /// As an error names it.
    pub fn quoted(&self) -> String {
        crate::error::quote(self.name)
    }

    /// Its name and the first of its arguments behind it, as examples show it.
    pub fn example(&self) -> Vec<u8> {
        /// Bytes of each.
        const SHOWN: usize = 30;
        let mut text = Vec::new();
        for (i, arg) in self.args().take(2).enumerate() {
            if i > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(arg.get(..SHOWN).unwrap_or(arg));
        }
        text
    }
}

/// A command as it goes on: of a log, through filters and changes.
///
/// MULTI and EXEC come as commands too. Between them stands at least one other, and no other group begins.
#[derive(Debug, Clone, Copy)]
pub struct Command<'b> {
    /// The database it goes to.
    pub db: u64,
    /// Where it stands in its file.
    pub offset: u64,
    /// What is known of it.
    pub spec: Option<&'static Spec>,
    /// As it stood.
    pub raw: Raw<'b>,
    /// What is changed of it.
    edit: Option<&'b Edit<'b>>,
}

/// An argument, in two pieces: what has been put before it, and what there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument<'b> {
    /// Mostly nothing.
    pub before: &'b [u8],
    /// The bytes, or the rest of them.
    pub bytes: &'b [u8],
    /// Whether it is a key.
    pub is_key: bool,
}

impl Argument<'_> {
    /// Both pieces as one; in `room` if they are not.
    pub fn joined<'s>(&'s self, room: &'s mut Vec<u8>) -> &'s [u8] {
        if self.before.is_empty() {
            return self.bytes;
        }
        room.clear();
        room.extend_from_slice(self.before);
        room.extend_from_slice(self.bytes);
        room
    }
}

impl<'b> Command<'b> {
    /// One that goes on as it stands.
    #[inline]
    pub fn as_is(db: u64, offset: u64, spec: Option<&'static Spec>, raw: Raw<'b>) -> Command<'b> {
        Command {
            db,
            offset,
            spec,
            raw,
            edit: None,
        }
    }

    /// What it does beside reading and writing keys.
    #[inline]
    pub fn role(&self) -> Role {
        self.spec.map_or(Role::Data, |s| s.role)
    }

    /// Its bytes, if nothing of it is changed.
    #[inline]
    pub fn unchanged(&self) -> Option<&'b [u8]> {
        match self.edit {
            None => Some(self.raw.bytes()),
            Some(_) => None,
        }
    }

    /// How many arguments it has, its name among them.
    pub fn count(&self) -> u64 {
        self.edit.map_or(self.raw.count(), Edit::count)
    }

    /// Its arguments, its name among them.
    pub fn each(&self, f: impl FnMut(Argument<'_>) -> Result<()>) -> Result<()> {
        self.walk(|_| true, f)
    }

    /// Its arguments, but for the keys that are not to be kept, and what stands behind each of these.
    fn walk(
        &self,
        keep: impl Fn(&Argument<'_>) -> bool,
        mut f: impl FnMut(Argument<'_>) -> Result<()>,
    ) -> Result<()> {
        let keys = match self.edit {
            Some(edit) => edit.keys(),
            None => self
                .spec
                .map_or_else(KeySet::default, |s| KeySet::of(s, &self.raw)),
        };
        let mut left_out = false;
        for (bytes, i) in self.raw.args().zip(0u64..) {
            let is_key = keys.has(i);
            let mut argument = Argument {
                before: &[],
                bytes,
                is_key,
            };
            let is_wanted = self.edit.is_none_or(|e| !is_key || e.keeps(bytes));
            if let Some(edit) = self.edit {
                argument = edit.argument(argument, i);
            }
            // What stands behind a key, up to the next one, goes with it.
            if is_key {
                left_out = !is_wanted || !keep(&argument);
            }
            if left_out && keys.in_row(i).is_some() {
                continue;
            }
            f(argument)?;
        }
        Ok(())
    }

    /// Its keys.
    pub fn each_key(&self, mut f: impl FnMut(Argument<'_>) -> Result<()>) -> Result<()> {
        self.each(|a| if a.is_key { f(a) } else { Ok(()) })
    }

    /// Appends it.
    #[inline]
    pub fn write(&self, out: &mut Out<'_>) -> Result<()> {
        match self.unchanged() {
            Some(bytes) => write::raw_pieces(bytes, out),
            None => {
                write::head(self.count(), out);
                self.each(|a| write_argument(&a, out))
            }
        }
    }

    /// Appends one that does the same to each of its keys by itself, with some of them only.
    pub fn write_some(
        &self,
        keep: impl Fn(&Argument<'_>) -> bool,
        out: &mut Out<'_>,
    ) -> Result<()> {
        let mut count = 0;
        self.walk(&keep, |_| {
            count += 1;
            Ok(())
        })?;
        write::head(count, out);
        self.walk(&keep, |a| write_argument(&a, out))
    }

    /// An error about it.
    #[cold]
    pub fn refuse(&self, why: &str) -> RdbError {
        RdbError::unsupported(self.offset, format!("command {}: {why}", self.raw.quoted()))
    }
}

/// Appends an argument.
pub(crate) fn write_argument(a: &Argument<'_>, out: &mut Out<'_>) -> Result<()> {
    write::arg_len((a.before.len() + a.bytes.len()) as u64, out);
    out.raw(a.before);
    write::raw_pieces(a.bytes, out)?;
    out.lit(b"\r\n");
    Ok(())
}
