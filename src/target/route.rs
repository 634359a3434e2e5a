//! What a command is about: which of its arguments is the key, and what is known of doing it twice.
//!
//! ```text
//!   SELECT 3                        which database what follows is for
//!   FUNCTION LOAD ..  SCRIPT ..     no key: every master
//!   RESTORE key ..  SET key ..      the key is the first argument; XGROUP, OBJECT: the second; XREADGROUP: behind STREAMS
//! ```

use crate::cluster::slot::slot;
use crate::resp::read::command::Arg;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is known of doing a command twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Twice is as good as once.
    Plain,
    /// RESTORE: without REPLACE the second one says BUSYKEY.
    Restore,
    /// RPUSH: twice is not once. It answers the new length.
    Push,
    /// XADD with an id: the second one is told that the id is not above the last.
    Add,
    /// XGROUP CREATE: the second one says BUSYGROUP.
    Group,
    /// DEL, UNLINK: what came before it does not matter.
    Delete,
    /// MULTI, units of a log, EXEC: its marker says whether it has been done.
    Unit,
    /// Without a key. FUNCTION LOAD without REPLACE: the second one says that it exists.
    Keyless,
    /// Ours, not of the stream: SELECT, ASKING, WAIT.
    Select,
    /// See [`Class::Select`].
    Asking,
    /// See [`Class::Select`].
    Wait,
}

impl Class {
    /// Whether the command was added here and is of no stream.
    pub(super) fn is_ours(self) -> bool {
        matches!(self, Class::Select | Class::Asking | Class::Wait)
    }
}

/// Where a command goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// SELECT: nowhere.
    Select,
    /// To every master.
    Everywhere,
    /// Where the argument of this number lives.
    Key(Class, usize),
    /// Where the argument behind STREAMS lives.
    BehindStreams,
}

/// Where a command of this name goes.
#[inline]
pub(super) fn route(name: &[u8]) -> Route {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    match name.len() {
        3 if is(b"DEL") => Route::Key(Class::Delete, 1),
        4 if is(b"XADD") => Route::Key(Class::Add, 1),
        4 if is(b"PING") || is(b"WAIT") => Route::Everywhere,
        5 if is(b"RPUSH") => Route::Key(Class::Push, 1),
        6 if is(b"SELECT") => Route::Select,
        6 if is(b"SCRIPT") => Route::Everywhere,
        6 if is(b"XGROUP") => Route::Key(Class::Group, 2),
        6 if is(b"UNLINK") => Route::Key(Class::Delete, 1),
        6 if is(b"OBJECT") => Route::Key(Class::Plain, 2),
        7 if is(b"RESTORE") => Route::Key(Class::Restore, 1),
        7 if is(b"FLUSHDB") => Route::Everywhere,
        8 if is(b"FUNCTION") || is(b"FLUSHALL") => Route::Everywhere,
        10 if is(b"XREADGROUP") => Route::BehindStreams,
        _ => Route::Key(Class::Plain, 1),
    }
}

/// The key of a command, as far as its bytes are there. `args` are the places of its first arguments.
pub(super) fn key<'b>(bytes: &'b [u8], args: &[Arg]) -> Option<&'b [u8]> {
    let arg = |i: usize| args.get(i).map(|a| a.of(bytes));
    match route(arg(0)?) {
        Route::Select | Route::Everywhere => None,
        Route::Key(_, at) => arg(at),
        Route::BehindStreams => {
            let at = (1..args.len())
                .find(|&i| arg(i).is_some_and(|a| a.eq_ignore_ascii_case(b"STREAMS")))?;
            arg(at + 1)
        }
    }
}

/// A key told from others, within one run. Databases tell it apart, too.
pub(super) fn identity(db: u64, key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    db.hash(&mut hasher);
    key.hash(&mut hasher);
    hasher.finish()
}

/// The slot of a key, and a cheap number by which two keys that follow each other are told apart.
#[inline]
pub(super) fn slot_and_hash(key: &[u8], db: u64) -> (u16, u64) {
    let mut hash = db ^ (key.len() as u64) << 32;
    for eight in key.chunks(8) {
        let mut word = [0; 8];
        if let Some(to) = word.get_mut(..eight.len()) {
            to.copy_from_slice(eight);
        }
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (slot(key), hash)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::resp::read::command::Splitter;

    #[test]
    fn where_the_key_is() {
        let rows: &[(&[&str], Option<&str>)] = &[
            (&["SET", "k", "v"], Some("k")),
            (&["restore", "k", "0", "x", "REPLACE"], Some("k")),
            (&["SELECT", "3"], None),
            (&["FUNCTION", "LOAD", "x"], None),
            (&["XGROUP", "CREATE", "k", "g", "0"], Some("k")),
            (
                &["XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">"],
                Some("k"),
            ),
            (
                &[
                    "XREADGROUP",
                    "GROUP",
                    "g",
                    "c",
                    "COUNT",
                    "1",
                    "STREAMS",
                    "k",
                    ">",
                ],
                Some("k"),
            ),
            (&["SET"], None),
        ];
        for (argv, want) in rows {
            let mut out = crate::out::Out::new();
            let argv: Vec<_> = argv.iter().map(|a| a.as_bytes()).collect();
            crate::resp::write::command(&argv, &mut out);
            let mut args = [Arg::default(); super::super::split::ARGS];
            let mut splitter = Splitter::default();
            splitter.step(out.as_bytes(), 0, &mut args).unwrap();
            let args = &args[..argv.len()];
            let want = want.map(str::as_bytes);
            assert_eq!(key(out.as_bytes(), args), want, "{argv:?}");
        }
    }
}
