//! What filters and changes make of a command.
//!
//! ```text
//!   --key 'a*'   SET a 1                as it stands
//!                SET b 1                left out
//!                DEL a b                DEL a            does the same to each of its keys, so it is taken apart
//!                MSET a 1 b 2           MSET a 1
//!                SINTERSTORE a b        as it stands, counted: some of its keys are wanted
//!                FLUSHALL, FUNCTION ..  as it stands: no key
//!   --db 0       MOVE a 1               left out, counted: from a database that is wanted into one that is not
//!   --to-db 5    SWAPDB 0 1             left out: both are 5 now
//!   rename       RENAME a b             RENAME x:a x:b
//! ```
//!
//! What a filter can only ask of a value (its type, size, expiry) cannot be asked of a command, nor can the expiries it sets be changed: such
//! a filter or change is an error at the first command.

use super::keys::{KeySet, number};
use super::table::Role;
use super::{Argument, Command, Raw};
use crate::error::Result;
use crate::filter::{Filter, Transform, Ttl};
use crate::loss::{Losses, Reason};

/// A changed command: what of it is changed, found again for each argument, so that it may be of any size.
#[derive(Debug, Clone, Copy)]
pub struct Edit<'b> {
    count: u64,
    keys: KeySet,
    /// Whose keys stay, if some do not.
    filter: Option<&'b Filter>,
    /// What the keys are called, if they are renamed.
    names: Option<&'b Transform>,
    /// Arguments that are numbers of databases, and what they become.
    dbs: [Option<(u64, Digits)>; 2],
}

/// A number in decimal.
#[derive(Debug, Clone, Copy)]
struct Digits {
    text: [u8; 20],
    len: usize,
}

impl Digits {
    fn of(n: u64) -> Digits {
        let mut digits = Digits {
            text: [0; 20],
            len: 0,
        };
        let mut buffer = itoa::Buffer::new();
        let text = buffer.format(n).as_bytes();
        if let Some(to) = digits.text.get_mut(..text.len()) {
            to.copy_from_slice(text);
            digits.len = text.len();
        }
        digits
    }

    fn bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }
}

impl<'b> Edit<'b> {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn keys(&self) -> KeySet {
        self.keys
    }

    pub(super) fn keeps(&self, key: &[u8]) -> bool {
        self.filter.is_none_or(|f| f.key(key))
    }

    pub(super) fn argument<'e>(&'e self, mut a: Argument<'e>, index: u64) -> Argument<'e> {
        if let (true, Some(t)) = (a.is_key, self.names) {
            (a.before, a.bytes) = t.name(a.bytes);
        }
        for (at, digits) in self.dbs.iter().flatten() {
            if *at == index {
                a.bytes = digits.bytes();
            }
        }
        a
    }
}

/// What is asked of each command.
#[derive(Debug, Clone, Copy)]
pub struct Chooser<'b> {
    filter: &'b Filter,
    transform: &'b Transform,
    /// Whether everything goes on as it is.
    all: bool,
}

impl<'b> Chooser<'b> {
    /// One for these.
    pub fn new(filter: &'b Filter, transform: &'b Transform) -> Chooser<'b> {
        Chooser {
            filter,
            transform,
            all: filter.is_pass_all() && transform.is_identity(),
        }
    }

    /// What goes on of a command in database `db`, if anything does. `edit` is where its changes are kept.
    ///
    /// # Errors
    ///
    /// A question that cannot be asked of commands; a command that is not known, where its keys must be.
    #[inline]
    pub fn choose<'e>(
        &self,
        raw: Raw<'e>,
        db: u64,
        offset: u64,
        edit: &'e mut Option<Edit<'b>>,
        losses: &mut Losses,
    ) -> Result<Option<Command<'e>>>
    where
        'b: 'e,
    {
        let spec = raw.spec();
        let command = Command::as_is(db, offset, spec, raw);
        if command.role() == Role::Node {
            losses.note_with(Reason::NodeLocal, db, || raw.example());
        }
        if self.all {
            return Ok(Some(command));
        }
        self.decide(command, edit, losses)
    }

    fn decide<'e>(
        &self,
        mut command: Command<'e>,
        edit: &'e mut Option<Edit<'b>>,
        losses: &mut Losses,
    ) -> Result<Option<Command<'e>>>
    where
        'b: 'e,
    {
        let Chooser {
            filter, transform, ..
        } = *self;
        if let Some(option) = filter.asks_of_values() {
            return Err(command.refuse(&format!(
                "{option} asks of a value what a command does not tell"
            )));
        }
        if transform.ttl != Ttl::Keep {
            return Err(command.refuse("--ttl cannot change the expiries that commands set"));
        }
        let (raw, db) = (command.raw, command.db);
        command.db = transform.db(db);
        let wanted = filter.db(db);
        let by_key = filter.needs_key() || transform.renames();
        let Some(spec) = command.spec else {
            if by_key {
                return Err(command.refuse(
                    "it is not known, and so neither are its keys: no filter or change of keys is possible",
                ));
            }
            return Ok(wanted.then_some(command));
        };
        let keys = KeySet::of(spec, &raw);
        let mut made = Edit {
            count: raw.count(),
            keys,
            filter: None,
            names: None,
            dbs: [None, None],
        };
        let other_db = |index: usize| raw.args().nth(index).and_then(number);
        match spec.role {
            Role::FlushDb if transform.dbs.merges() => {
                return Err(
                    command.refuse("it empties one database, which is to become one with others")
                );
            }
            Role::SwapDb => {
                let (Some(a), Some(b)) = (other_db(1), other_db(2)) else {
                    return Ok(Some(command));
                };
                match (filter.db(a), filter.db(b)) {
                    (false, false) => return Ok(None),
                    (true, true) => {}
                    _ => {
                        losses.note_with(Reason::AcrossDatabases, db, || raw.example());
                        return Ok(None);
                    }
                }
                let (to_a, to_b) = (transform.db(a), transform.db(b));
                if to_a == to_b {
                    return Ok(None);
                }
                if transform.dbs.merges() {
                    return Err(command.refuse(
                        "it swaps two databases, of which some are to become one with others",
                    ));
                }
                if (to_a, to_b) != (a, b) {
                    made.dbs = [Some((1, Digits::of(to_a))), Some((2, Digits::of(to_b)))];
                    *edit = Some(made);
                    command.edit = edit.as_ref();
                }
                return Ok(Some(command));
            }
            Role::Move | Role::Copy => {
                let at = match spec.role {
                    Role::Move => Some(2),
                    _ => raw
                        .args()
                        .skip(3)
                        .position(|a| a.eq_ignore_ascii_case(b"DB"))
                        .map(|i| i + 4),
                };
                if let Some(at) = at
                    && let Some(other) = other_db(at)
                {
                    match (wanted, filter.db(other)) {
                        (false, false) => return Ok(None),
                        (true, true) => {}
                        _ => {
                            if self.passing(&raw, keys) > 0 {
                                losses.note_with(Reason::AcrossDatabases, db, || raw.example());
                            }
                            return Ok(None);
                        }
                    }
                    if transform.db(other) != other {
                        made.dbs[0] = Some((at as u64, Digits::of(transform.db(other))));
                    }
                }
            }
            // Neither of a database nor of a key.
            Role::Data if keys.is_empty() => return Ok(Some(command)),
            Role::FlushAll | Role::Node => return Ok(Some(command)),
            _ => {}
        }
        if !wanted {
            return Ok(None);
        }
        if filter.needs_key() && !keys.is_empty() {
            let passing = self.passing(&raw, keys);
            match passing {
                0 => return Ok(None),
                n if n == keys.len() => {}
                n if spec.role == Role::Each => {
                    made.filter = Some(filter);
                    made.count = raw.count() - (keys.len() - n) * keys.step();
                }
                _ => losses.note_with(Reason::PartialCommand, db, || raw.example()),
            }
        }
        if by_key && reaches_further(&raw, spec.role, spec.name) {
            losses.note_with(Reason::HiddenKeys, db, || raw.example());
        }
        if transform.renames() && !keys.is_empty() {
            made.names = Some(transform);
        }
        if made.filter.is_some() || made.names.is_some() || made.dbs[0].is_some() {
            *edit = Some(made);
            command.edit = edit.as_ref();
        }
        Ok(Some(command))
    }

    /// How many of its keys are wanted.
    fn passing(&self, raw: &Raw<'_>, keys: KeySet) -> u64 {
        let mut n = 0;
        for (arg, i) in raw.args().zip(0..) {
            n += u64::from(keys.has(i) && self.filter.key(arg));
        }
        n
    }
}

/// Whether a command may reach keys beside those that it names: a script, SORT by a pattern.
fn reaches_further(raw: &Raw<'_>, role: Role, name: &str) -> bool {
    let by_pattern = || {
        raw.args()
            .skip(2)
            .any(|a| a.eq_ignore_ascii_case(b"BY") || a.eq_ignore_ascii_case(b"GET"))
    };
    role == Role::Script || name == "SORT" && by_pattern()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Options;
    use crate::out::Out;
    use crate::resp::write;

    fn chosen(
        filter: &Filter,
        transform: &Transform,
        text: &str,
        losses: &mut Losses,
    ) -> Result<String> {
        let args: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        let mut out = Out::new();
        write::command(&args, &mut out);
        let raw = Raw::read(out.as_bytes(), 0)?.unwrap();
        let mut edit = None;
        let chooser = Chooser::new(filter, transform);
        let Some(command) = chooser.choose(raw, 1, 0, &mut edit, losses)? else {
            return Ok("-".to_owned());
        };
        let mut written = Out::new();
        command.write(&mut written)?;
        let again = Raw::read(written.as_bytes(), 0)?.unwrap();
        assert_eq!(again.bytes().len(), written.len(), "{text}");
        assert_eq!(again.count(), command.count(), "{text}");
        let args: Vec<_> = again.args().map(String::from_utf8_lossy).collect();
        Ok(format!("{} {}", command.db, args.join(" ")))
    }

    #[test]
    fn what_goes_on() {
        let keys = Options {
            key: vec!["a*".parse().unwrap()],
            ..Options::default()
        };
        let db = |text: &str| Options {
            db: Some(text.parse().unwrap()),
            ..Options::default()
        };
        let same = Transform::default();
        let to = |dbs: &str| Transform {
            dbs: dbs.parse().unwrap(),
            ..Transform::default()
        };
        let named = Transform {
            strip: b"a".to_vec(),
            add: b"x:".to_vec(),
            ..Transform::default()
        };
        let all = Options::default();
        let rows: &[(&Options, &Transform, &str, &str, Option<Reason>)] = &[
            (&keys, &same, "SET a 1", "1 SET a 1", None),
            (&keys, &same, "SET b a", "-", None),
            (&keys, &same, "del a b ab c", "1 del a ab", None),
            (
                &keys,
                &same,
                "MSET b 1 a 2 c 3 ab 4",
                "1 MSET a 2 ab 4",
                None,
            ),
            (
                &keys,
                &same,
                "JSON.MSET b $ 1 a $ 2",
                "1 JSON.MSET a $ 2",
                None,
            ),
            (
                &keys,
                &same,
                "MSETNX a 1 b 2",
                "1 MSETNX a 1 b 2",
                Some(Reason::PartialCommand),
            ),
            (&keys, &same, "SINTERSTORE b c", "-", None),
            (
                &keys,
                &same,
                "EVAL s 0",
                "1 EVAL s 0",
                Some(Reason::HiddenKeys),
            ),
            (&keys, &same, "FLUSHALL", "1 FLUSHALL", None),
            (&keys, &same, "FLUSHDB", "1 FLUSHDB", None),
            (&keys, &same, "FUNCTION LOAD x", "1 FUNCTION LOAD x", None),
            (&keys, &same, "SWAPDB 0 1", "1 SWAPDB 0 1", None),
            (&db("0"), &same, "SET a 1", "-", None),
            (&db("0"), &same, "FLUSHDB", "-", None),
            (&db("0"), &same, "FLUSHALL", "1 FLUSHALL", None),
            (&db("0"), &same, "SWAPDB 1 2", "-", None),
            (
                &db("0"),
                &same,
                "SWAPDB 0 2",
                "-",
                Some(Reason::AcrossDatabases),
            ),
            (
                &db("0"),
                &same,
                "MOVE a 0",
                "-",
                Some(Reason::AcrossDatabases),
            ),
            (&db("0,1"), &same, "MOVE a 0", "1 MOVE a 0", None),
            (
                &db("1"),
                &same,
                "COPY a b DB 2 REPLACE",
                "-",
                Some(Reason::AcrossDatabases),
            ),
            (
                &db("1"),
                &same,
                "COPY a b REPLACE",
                "1 COPY a b REPLACE",
                None,
            ),
            (&all, &to("1:5"), "MOVE a 1", "5 MOVE a 5", None),
            (&all, &to("1:5,5:1"), "SWAPDB 1 2", "5 SWAPDB 5 2", None),
            (&all, &to("1:5,2:5"), "SWAPDB 1 2", "-", None),
            (&all, &to("1:5"), "COPY a b db 1", "5 COPY a b db 5", None),
            (&all, &named, "RENAME ab b", "1 RENAME x:b x:b", None),
            (&all, &named, "SET ab a", "1 SET x:b a", None),
            (&keys, &named, "DEL ab b a", "1 DEL x:b x:", None),
            (
                &all,
                &named,
                "XREADGROUP GROUP a a STREAMS a >",
                "1 XREADGROUP GROUP a a STREAMS x: >",
                None,
            ),
            (
                &all,
                &named,
                "SORT a BY w_* STORE b",
                "1 SORT x: BY w_* STORE x:b",
                Some(Reason::HiddenKeys),
            ),
            (&all, &same, "NOSUCH a", "1 NOSUCH a", None),
            (&db("0"), &same, "NOSUCH a", "-", None),
            (
                &all,
                &same,
                "TRIMSLOTS 0 1",
                "1 TRIMSLOTS 0 1",
                Some(Reason::NodeLocal),
            ),
        ];
        for (options, transform, command, want, loss) in rows {
            let filter = Filter::new((*options).clone(), 0).unwrap();
            let mut losses = Losses::default();
            let got = chosen(&filter, transform, command, &mut losses).unwrap();
            assert_eq!(got, *want, "{command}");
            let found: Vec<_> = losses.iter().map(|l| l.reason).collect();
            assert_eq!(found, loss.iter().copied().collect::<Vec<_>>(), "{command}");
        }
    }

    #[test]
    fn what_cannot_be_asked() {
        let rows: [(Options, Transform, &str, &str); 5] = [
            (
                Options {
                    types: Some("hash".parse().unwrap()),
                    ..Options::default()
                },
                Transform::default(),
                "SET a 1",
                "--type",
            ),
            (
                Options {
                    key: vec!["a".parse().unwrap()],
                    ..Options::default()
                },
                Transform::default(),
                "NOSUCH a",
                "not known",
            ),
            (
                Options::default(),
                Transform {
                    ttl: Ttl::None,
                    ..Transform::default()
                },
                "SET a 1",
                "--ttl",
            ),
            (
                Options::default(),
                Transform {
                    dbs: "1:0".parse().unwrap(),
                    ..Transform::default()
                },
                "FLUSHDB",
                "one with others",
            ),
            (
                Options::default(),
                Transform {
                    dbs: "1:0".parse().unwrap(),
                    ..Transform::default()
                },
                "SWAPDB 1 2",
                "one with others",
            ),
        ];
        for (options, transform, command, what) in rows {
            let filter = Filter::new(options, 0).unwrap();
            let e = chosen(&filter, &transform, command, &mut Losses::default()).unwrap_err();
            assert!(e.to_string().contains(what), "{e}");
        }
    }
}
