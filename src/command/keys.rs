//! Which arguments of a command are its keys.
//!
//! ```text
//!   DEL a b c                              1 2 3
//!   MSET a 1 b 2                           1   3
//!   ZUNIONSTORE d 2 a b WEIGHTS 1 1        1   3 4
//!   XREADGROUP GROUP g c STREAMS a b > >             5 6        a group may itself be called STREAMS
//!   SORT a BY w_* STORE x STORE y          1             7      the last STORE wins
//! ```
//!
//! Whatever the rule, the keys are one argument and a regular row of others, so they are told by four numbers, and nothing is allocated.
//! They are those that `COMMAND GETKEYS` of the servers gives; but of GEORADIUS with both STORE and STOREDIST, where Redis from 7.0 on names
//! two, only the one that is written to.

use super::Raw;
use super::table::{Keys, Spec};

/// The places of the keys among the arguments, of which the command's name is number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeySet {
    /// One that stands outside the row; 0 for none.
    extra: u64,
    /// The row: from here, so many, in such steps.
    first: u64,
    count: u64,
    step: u64,
}

impl KeySet {
    /// The keys of a command that `spec` is about.
    pub fn of(spec: &Spec, raw: &Raw<'_>) -> KeySet {
        let n = raw.count();
        match spec.keys {
            Keys::None => KeySet::default(),
            Keys::Range { first, last, step } => {
                let last = match u64::try_from(last) {
                    Ok(last) => last,
                    Err(_) => match n.checked_sub(last.unsigned_abs()) {
                        Some(last) => last,
                        None => return KeySet::default(),
                    },
                };
                KeySet::row(first, last, step, n)
            }
            Keys::Counted(at) => counted(raw, at, 1),
            Keys::CountedPairs(at) => counted(raw, at, 2),
            Keys::FirstAndCounted(at) => KeySet {
                extra: u64::from(n > 1),
                ..counted(raw, at, 1)
            },
            Keys::Streams => streams(raw),
            Keys::Sort => KeySet::one_and(sort_store(raw), n),
            Keys::GeoStore(from) => KeySet::one_and(geo_store(raw, from), n),
            Keys::Migrate => migrate(raw),
        }
    }

    /// Every `step`th argument from `first` to `last`, of `n`.
    fn row(first: u64, last: u64, step: u64, n: u64) -> KeySet {
        let last = last.min(n.saturating_sub(1));
        if first > last || first == 0 {
            return KeySet::default();
        }
        KeySet {
            extra: 0,
            first,
            count: (last - first) / step + 1,
            step,
        }
    }

    /// The first argument and another.
    fn one_and(other: u64, n: u64) -> KeySet {
        KeySet {
            extra: other,
            ..KeySet::row(1, 1, 1, n)
        }
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> u64 {
        self.count + u64::from(self.extra > 0)
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the argument of this number is a key.
    #[inline]
    pub fn has(&self, index: u64) -> bool {
        index > 0 && index == self.extra || self.in_row(index).is_some_and(|n| n % self.step == 0)
    }

    /// How far into the row an argument stands, values between the keys included.
    #[inline]
    pub(super) fn in_row(&self, index: u64) -> Option<u64> {
        let n = index.checked_sub(self.first)?;
        (self.count > 0 && n < self.count * self.step).then_some(n)
    }

    /// From one key of the row to the next.
    pub(super) fn step(&self) -> u64 {
        self.step
    }
}

/// A number that is an argument; servers read it with C's rules, but only write it plainly.
pub(super) fn number(arg: &[u8]) -> Option<u64> {
    std::str::from_utf8(arg).ok()?.parse().ok()
}

fn counted(raw: &Raw<'_>, at: u64, step: u64) -> KeySet {
    let n = usize::try_from(at)
        .ok()
        .and_then(|at| raw.args().nth(at))
        .and_then(number)
        .unwrap_or(0);
    // Of more keys than there are arguments a server takes none.
    let last = at.saturating_add(n.saturating_sub(1).saturating_mul(step).saturating_add(1));
    match n {
        1.. if last < raw.count() => KeySet::row(at + 1, last, step, raw.count()),
        _ => KeySet::default(),
    }
}

/// The options before STREAMS are walked, since a group or a consumer may have the name of an option.
fn streams(raw: &Raw<'_>) -> KeySet {
    let mut args = raw.args().zip(0u64..).skip(1);
    while let Some((arg, i)) = args.next() {
        let is = |word: &[u8]| arg.eq_ignore_ascii_case(word);
        if is(b"STREAMS") {
            let half = raw.count().saturating_sub(i + 1) / 2;
            return KeySet::row(i + 1, i + half, 1, raw.count());
        }
        let skipped = if is(b"GROUP") {
            2
        } else if is(b"NOACK") {
            0
        } else {
            // COUNT, BLOCK, CLAIM, MAXCOUNT, MAXSIZE
            1
        };
        for _ in 0..skipped {
            args.next();
        }
    }
    KeySet::default()
}

fn sort_store(raw: &Raw<'_>) -> u64 {
    let mut store = 0;
    let mut args = raw.args().zip(0u64..).skip(2);
    while let Some((arg, _)) = args.next() {
        let is = |word: &[u8]| arg.eq_ignore_ascii_case(word);
        let skipped = if is(b"LIMIT") {
            2
        } else if is(b"STORE") {
            if let Some((_, i)) = args.next() {
                store = i;
            }
            0
        } else {
            u64::from(is(b"GET") || is(b"BY"))
        };
        for _ in 0..skipped {
            args.next();
        }
    }
    store
}

fn geo_store(raw: &Raw<'_>, from: u64) -> u64 {
    let mut store = 0;
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let mut args = raw.args().zip(0u64..).skip(from);
    while let Some((arg, _)) = args.next() {
        if (arg.eq_ignore_ascii_case(b"STORE") || arg.eq_ignore_ascii_case(b"STOREDIST"))
            && let Some((_, i)) = args.next()
        {
            store = i;
        }
    }
    store
}

/// A password behind AUTH or AUTH2 may be the word KEYS.
fn migrate(raw: &Raw<'_>) -> KeySet {
    let n = raw.count();
    if raw.args().nth(3).is_some_and(|key| !key.is_empty()) {
        return KeySet::row(3, 3, 1, n);
    }
    let mut args = raw.args().zip(0u64..).skip(6);
    while let Some((arg, i)) = args.next() {
        let is = |word: &[u8]| arg.eq_ignore_ascii_case(word);
        if is(b"KEYS") && i + 1 < n {
            return KeySet::row(i + 1, u64::MAX, 1, n);
        }
        let skipped = match () {
            () if is(b"AUTH2") => 2,
            () => u64::from(is(b"AUTH")),
        };
        for _ in 0..skipped {
            args.next();
        }
    }
    KeySet::row(3, 3, 1, n)
}

#[cfg(test)]
mod tests {
    use super::super::Raw;
    use crate::out::Out;
    use crate::resp::write;

    /// The keys of a command whose arguments have blanks between them.
    fn keys(text: &str) -> String {
        let args: Vec<&[u8]> = text
            .split(' ')
            .map(|a| match a {
                "''" => b"",
                other => other.as_bytes(),
            })
            .collect();
        let mut out = Out::new();
        write::command(&args, &mut out);
        let raw = Raw::read(out.as_bytes(), 0).unwrap().unwrap();
        let (_, keys) = raw.keys();
        let names: Vec<_> = raw
            .args()
            .zip(0..)
            .filter(|(_, i)| keys.has(*i))
            .map(|(a, _)| String::from_utf8(a.to_vec()).unwrap())
            .collect();
        assert_eq!(names.len() as u64, keys.len(), "{text}");
        names.join(" ")
    }

    #[test]
    fn by_every_rule() {
        for (command, want) in [
            ("SET k v", "k"),
            ("set k v", "k"),
            ("DEL a b c", "a b c"),
            ("MSET a 1 b 2", "a b"),
            ("BLPOP a b 0", "a b"),
            ("BITOP AND d a b", "d a b"),
            ("RENAME a b", "a b"),
            ("XGROUP CREATE k g $", "k"),
            ("XGROUP HELP", ""),
            ("EVAL s 2 a b x", "a b"),
            ("EVAL s 0 x", ""),
            ("EVAL s -1 x", ""),
            ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "a b d"),
            ("LMPOP 2 a b LEFT", "a b"),
            ("MSETEX 2 a 1 b 2 EX 5", "a b"),
            ("XREAD COUNT 2 STREAMS a b 0 0", "a b"),
            (
                "XREADGROUP GROUP STREAMS NOACK NOACK STREAMS a b > >",
                "a b",
            ),
            (
                "XREADGROUP GROUP g c COUNT 1 BLOCK 5 CLAIM 7 STREAMS a >",
                "a",
            ),
            ("SORT k BY STORE GET STORE LIMIT 0 1 STORE x STORE y", "k y"),
            ("SORT k BY w", "k"),
            ("GEORADIUS k 1 2 3 m STORE d", "d k"),
            ("GEORADIUS k 1 2 3 m COUNT 2 STORE a STOREDIST b", "b k"),
            ("GEORADIUSBYMEMBER k m 3 km STOREDIST d", "d k"),
            ("MIGRATE h 1 k 0 9", "k"),
            ("MIGRATE h 1 '' 0 9 COPY AUTH KEYS KEYS a b", "a b"),
            ("MIGRATE h 1 '' 0 9 AUTH2 KEYS KEYS KEYS a", "a"),
            ("JSON.MSET a $ 1 b $ 2", "a b"),
            ("TS.CREATERULE a b AGGREGATION avg 5", "a b"),
            ("FLUSHALL", ""),
            ("SELECT 1", ""),
            // Too few arguments for the rule.
            ("SET", ""),
            ("DEL", ""),
            ("BLPOP 0", ""),
            ("EVAL s", ""),
            ("EVAL s 9 a b", ""),
            ("EVAL s 18446744073709551615 a b", ""),
            ("MSETEX 18446744073709551615 a b", ""),
            ("MSETEX 2 a b c", "a c"),
            ("MSETEX 2 a b", ""),
            ("ZUNIONSTORE d", "d"),
            ("RENAME a", "a"),
            ("XREAD STREAMS", ""),
            ("SORT k STORE", "k"),
            ("MIGRATE h 1 '' 0 9", ""),
        ] {
            let mut got: Vec<_> = keys(command).split(' ').map(str::to_owned).collect();
            let mut want: Vec<_> = want.split(' ').map(str::to_owned).collect();
            got.sort();
            want.sort();
            assert_eq!(got, want, "{command}");
        }
    }
}
