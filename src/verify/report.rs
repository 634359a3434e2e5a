//! What a check found, for people and for programs.
//!
//! ```text
//!   dump.rdb: whole
//!     format      RDB 11, by Redis 7.2.6 (64 bits), saved 2026-10-01T09:00:00Z
//!     data        14 keys, values of 1,523 bytes
//!     expiries    2 keys, 1 of them in the past; 3 hash fields
//!     db 0        12 keys
//!       string      4 keys, 96 bytes
//!       hash        2 keys, 58 elements, 610 bytes
//!     ...
//!     checksum    ok
//! ```

use super::tally::{DbTally, Findings, Kind, LogTally, Tally, TypeTally};
use crate::error::{ErrorKind, RdbError, quote};
use crate::rdb::header::{Dialect, Header};
use crate::rdb::value::module::ModuleId;
use serde_json::{Map, Value, json};
use std::fmt::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

/// Aux fields and module data told one by one; the rest is counted.
const TOLD: usize = 64;
/// Bytes kept of an aux field's name or value; some hold whole scripts.
const KEPT: usize = 256;

/// What one check found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// The source.
    pub name: String,
    /// What the file says of itself.
    pub about: About,
    /// Keys that are whole: of a file that breaks off, those before the damage.
    pub keys: u64,
    /// Commands of a log that are whole, without MULTI and EXEC.
    pub commands: u64,
    /// Bytes that have been read, unpacked; where a run breaks off, to the next batch or so.
    pub bytes: u64,
    /// What was counted, if all of the file could be walked.
    pub tally: Option<Tally>,
    /// How the checksum stands, if the end was reached.
    pub checksum: Option<Checksum>,
    /// First byte of what follows the file, if something does.
    pub trailing: Option<u8>,
    /// What ended the run, or a wrong checksum.
    pub error: Option<RdbError>,
}

/// How the checksum stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// It is that of the bytes.
    Ok,
    /// It is not.
    Wrong,
    /// The version has none.
    Absent,
    /// The file says that its writer computed none.
    NotComputed,
    /// It was not asked for.
    NotVerified,
}

impl Checksum {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Checksum::Ok => "ok",
            Checksum::Wrong => "wrong",
            Checksum::Absent => "absent",
            Checksum::NotComputed => "not computed",
            Checksum::NotVerified => "not verified",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Checksum::Absent => "absent: versions before 5 have none",
            Checksum::NotComputed => {
                "not computed: written by a server with `rdbchecksum no`, so changed bytes may go unnoticed"
            }
            Checksum::NotVerified => "not verified, as asked",
            other => other.name(),
        }
    }
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Whole,
    /// Values are broken and were passed over; the rest is whole.
    Incomplete,
    /// All can be read, but servers will stumble over some of it.
    Problems,
    /// It breaks off, or its checksum is wrong.
    Broken,
}

impl Verdict {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Whole => "whole",
            Verdict::Incomplete => "incomplete",
            Verdict::Problems => "problems",
            Verdict::Broken => "broken",
        }
    }
}

/// What a file says of itself.
#[derive(Debug, Default)]
pub struct About {
    /// Magic and version, if they could be read.
    pub header: Option<Header>,
    /// Whether it is a log from its first byte on.
    pub is_log: bool,
    /// Function libraries.
    pub functions: u64,
    /// Aux fields by name.
    aux: Vec<Aux>,
    /// Aux fields of further names.
    more_aux: u64,
    /// What modules keep beside the keys.
    module_aux: Vec<ModuleAux>,
    more_module_aux: u64,
}

/// An aux field.
#[derive(Debug)]
struct Aux {
    offset: u64,
    name: Vec<u8>,
    /// The first value.
    value: Vec<u8>,
    count: u64,
}

#[derive(Debug)]
struct ModuleAux {
    offset: u64,
    id: ModuleId,
    when: u64,
    bytes: u64,
}

impl About {
    /// Counts an aux field. They come from many workers, in any order.
    pub(super) fn aux(&mut self, offset: u64, name: &[u8], value: &[u8]) {
        let cut = |b: &[u8]| b.get(..KEPT).unwrap_or(b).to_vec();
        let name = cut(name);
        if let Some(aux) = self.aux.iter_mut().find(|a| a.name == name) {
            aux.count += 1;
            if offset < aux.offset {
                (aux.offset, aux.value) = (offset, cut(value));
            }
        } else if self.aux.len() < TOLD {
            self.aux.push(Aux {
                offset,
                name,
                value: cut(value),
                count: 1,
            });
            self.aux.sort_by_key(|a| a.offset);
        } else {
            self.more_aux += 1;
        }
    }

    pub(super) fn module_aux(&mut self, offset: u64, id: ModuleId, when: u64, bytes: u64) {
        if self.module_aux.len() == TOLD {
            self.more_module_aux += 1;
            return;
        }
        self.module_aux.push(ModuleAux {
            offset,
            id,
            when,
            bytes,
        });
        self.module_aux.sort_by_key(|a| a.offset);
    }

    /// The first value of an aux field, as far as it is text.
    fn text(&self, name: &str) -> Option<&str> {
        let aux = self
            .aux
            .iter()
            .find(|a| a.name.eq_ignore_ascii_case(name.as_bytes()))?;
        std::str::from_utf8(&aux.value)
            .ok()
            .filter(|s| s.chars().all(|c| !c.is_control()))
    }

    /// Who wrote it, as `Redis 7.2.6`, if the file says.
    pub fn writer(&self) -> Option<String> {
        ["Valkey", "Redis"].into_iter().find_map(|name| {
            let version = self.text(&format!("{}-ver", name.to_lowercase()))?;
            Some(format!("{name} {version}"))
        })
    }

    /// When it was written, if the file says.
    fn saved(&self) -> Option<String> {
        calendar(self.text("ctime")?.parse().ok()?)
    }
}

/// A time in seconds since 1970, if it is one that the calendar has.
fn calendar(s: u64) -> Option<String> {
    /// The last second of year 9999.
    const LAST: u64 = 253_402_300_799;
    let s = Some(s).filter(|s| *s <= LAST)?;
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(s))?;
    Some(humantime::format_rfc3339_seconds(time).to_string())
}

fn time(s: u64) -> String {
    calendar(s).unwrap_or_else(|| s.to_string())
}

impl Report {
    /// Of a source that cannot even be opened.
    pub fn unread(name: String, error: RdbError) -> Self {
        Report {
            name,
            about: About::default(),
            keys: 0,
            commands: 0,
            bytes: 0,
            tally: None,
            checksum: None,
            trailing: None,
            error: Some(error),
        }
    }

    /// What it comes to.
    pub fn verdict(&self) -> Verdict {
        match &self.tally {
            _ if self.error.is_some() => Verdict::Broken,
            Some(t) if problems(t).next().is_some() => Verdict::Problems,
            Some(t) if t.broken.count > 0 => Verdict::Incomplete,
            _ => Verdict::Whole,
        }
    }

    /// What is wrong beside what ended the run: broken values, then problems, each in a line.
    pub fn complaints(&self) -> String {
        let mut text = String::new();
        if let Some(t) = &self.tally {
            let _ = self.write_complaints(t, &mut text);
        }
        text
    }

    /// For people: a heading and indented lines.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, to: &mut String) -> fmt::Result {
        let verdict = match self.verdict() {
            Verdict::Whole => "whole",
            Verdict::Incomplete => "whole but for the values named below",
            Verdict::Problems => "can be read, but servers will stumble over it",
            Verdict::Broken => "broken",
        };
        writeln!(to, "{}: {verdict}", self.name)?;
        if let Some(e) = &self.error {
            let what = match (e.offset(), e.key()) {
                (Some(at), Some(key)) => format!("byte {at}, key {key}: {}", e.what()),
                (Some(at), None) => format!("byte {at}: {}", e.what()),
                _ => {
                    // The name stands in the heading.
                    let text = e.to_string();
                    let named = format!("{}: ", self.name);
                    text.strip_prefix(&named).unwrap_or(&text).to_owned()
                }
            };
            line(to, "broken", &what)?;
        }
        if let Some(h) = self.about.header {
            let mut what = format!("RDB {}", h.version);
            if h.dialect == Dialect::Valkey {
                what += " of Valkey";
            }
            if let Some(writer) = self.about.writer() {
                what += &format!(", by {writer}");
            }
            if let Some(bits) = self.about.text("redis-bits") {
                what += &format!(" ({bits} bits)");
            }
            if let Some(saved) = self.about.saved() {
                what += &format!(", saved {saved}");
            }
            if self.has_commands() {
                what += ", then commands";
            }
            line(to, "format", &what)?;
        } else if self.about.is_log {
            line(to, "format", "commands")?;
        }
        match &self.tally {
            Some(t) => self.write_tally(t, to),
            // Nothing that could hold a key has been read.
            None if self.about.header.is_none() && !self.about.is_log => Ok(()),
            None => {
                let mut what = count(self.keys, "key");
                if self.has_commands() {
                    what += &format!(" and {}", count(self.commands, "command"));
                }
                what += " whole before the damage";
                line(to, "data", &what)?;
                match self.good() {
                    Some(end) => line(
                        to,
                        "good",
                        &format!("{}: what -o writes", count(end, "byte")),
                    ),
                    None => Ok(()),
                }
            }
        }
    }

    /// Whether there is a log, as far as has been seen.
    fn has_commands(&self) -> bool {
        self.about.is_log || self.commands > 0 || self.good().is_some()
    }

    /// Of a log that breaks off: up to where it is good. That is where its last whole command or transaction ends.
    pub fn good(&self) -> Option<u64> {
        self.error.as_ref().and_then(RdbError::whole)
    }

    fn write_log(&self, t: &LogTally, to: &mut String) -> fmt::Result {
        /// How many names are told.
        const NAMES: usize = 8;
        let mut what = count(t.commands, "command");
        if t.transactions > 0 {
            what += &format!("; {}", count(t.transactions, "transaction"));
        }
        line(to, "commands", &what)?;
        for (name, n) in t.most(NAMES) {
            writeln!(to, "    {name:<11} {}", number(n))?;
        }
        if t.names.len() > NAMES {
            writeln!(to, "    and {} other names", t.names.len() - NAMES)?;
        }
        if t.databases.len() > 1 || t.databases.keys().any(|&db| db > 0) {
            for (db, n) in &t.databases {
                line(to, &format!("db {db}"), &count(*n, "command"))?;
            }
        }
        if let Some((first, last)) = t.stamps {
            line(
                to,
                "time stamps",
                &format!("{} to {}", time(first), time(last)),
            )?;
        }
        Ok(())
    }

    fn write_tally(&self, t: &Tally, to: &mut String) -> fmt::Result {
        let all = t.total();
        let total = all.total();
        let mut what = count(total.keys, "key");
        if total.keys > 0 {
            what += &format!(", values of {}", count(total.bytes, "byte"));
        }
        if !self.about.is_log {
            line(to, "data", &what)?;
        }
        let mut what = String::new();
        if all.expires > 0 {
            what += &count(all.expires, "key");
            match all.expired {
                0 => {}
                1 => what += ", 1 of them in the past",
                n => what += &format!(", {} of them in the past", number(n)),
            }
        }
        if all.fields_with_expiry > 0 {
            if !what.is_empty() {
                what += "; ";
            }
            what += &count(all.fields_with_expiry, "hash field");
        }
        if !what.is_empty() {
            line(to, "expiries", &what)?;
        }
        for (db, tally) in &t.databases {
            write_db(&format!("db {db}"), tally, to)?;
        }
        if t.other_databases.total().keys > 0 {
            write_db("other dbs", &t.other_databases, to)?;
        }
        if self.about.functions > 0 {
            let what = match self.about.functions {
                1 => "1 library".to_owned(),
                n => format!("{} libraries", number(n)),
            };
            line(to, "functions", &what)?;
        }
        for a in &self.about.aux {
            let mut what = format!("{} {}", plain(&a.name), quote(&a.value));
            if a.count > 1 {
                what += &format!(" and {} more", number(a.count - 1));
            }
            line(to, "aux", &what)?;
        }
        if self.about.more_aux > 0 {
            let what = format!("{} of other names", number(self.about.more_aux));
            line(to, "aux", &what)?;
        }
        for m in &self.about.module_aux {
            let what = format!(
                "{} version {}, {}, {}",
                m.id,
                m.id.version(),
                when(m.when),
                count(m.bytes, "byte")
            );
            line(to, "module aux", &what)?;
        }
        if self.about.more_module_aux > 0 {
            let what = format!("{} more", number(self.about.more_module_aux));
            line(to, "module aux", &what)?;
        }
        if let Some(sum) = self.checksum.filter(|_| !self.about.is_log) {
            line(to, "checksum", sum.meaning())?;
        }
        if self.has_commands() {
            self.write_log(&t.log, to)?;
        }
        if self.trailing.is_some() {
            let what = "bytes follow the end; servers ignore them, and so does this";
            line(to, "trailing", what)?;
        }
        self.write_complaints(t, to)?;
        for kind in Kind::ALL.into_iter().filter(|k| !k.is_problem()) {
            findings("note", kind.meaning(), t.found(kind), to)?;
        }
        Ok(())
    }

    fn write_complaints(&self, t: &Tally, to: &mut String) -> fmt::Result {
        findings("broken", "a value that cannot be read", &t.broken, to)?;
        for kind in problems(t) {
            findings("problem", kind.meaning(), t.found(kind), to)?;
        }
        Ok(())
    }

    /// For programs: one JSON object.
    pub fn json(&self) -> Value {
        let header = self.about.header;
        let mut o = Map::new();
        let mut put = |name: &str, value: Value| {
            o.insert(name.to_owned(), value);
        };
        put("file", json!(self.name));
        put("verdict", json!(self.verdict().name()));
        put(
            "magic",
            json!(header.map(|h| match h.dialect {
                Dialect::Redis => "REDIS",
                Dialect::Valkey => "VALKEY",
            })),
        );
        put("version", json!(header.map(|h| h.version)));
        put("writer", json!(self.about.writer()));
        put("keys", json!(self.keys));
        if self.has_commands() {
            put("commands", json!(self.commands));
        }
        if let Some(end) = self.good() {
            put("good_bytes", json!(end));
        }
        if let Some(e) = &self.error {
            put("error", error(e));
        }
        if let Some(t) = &self.tally {
            let all = t.total();
            put("bytes", json!(self.bytes));
            put("value_bytes", json!(all.total().bytes));
            put("expires", json!(all.expires));
            put("expired", json!(all.expired));
            put("fields_with_expiry", json!(all.fields_with_expiry));
            let mut dbs: Vec<Value> = t
                .databases
                .iter()
                .map(|(db, tally)| database(json!(db), tally))
                .collect();
            if t.other_databases.total().keys > 0 {
                dbs.push(database(Value::Null, &t.other_databases));
            }
            put("databases", dbs.into());
            put("functions", json!(self.about.functions));
            let aux = self.about.aux.iter().map(
                |a| json!({"name": bytes(&a.name), "value": bytes(&a.value), "count": a.count}),
            );
            put("aux", aux.collect());
            put("aux_of_other_names", json!(self.about.more_aux));
            let module_aux = self.about.module_aux.iter().map(|m| {
                json!({
                    "module": m.id.to_string(),
                    "version": m.id.version(),
                    "when": m.when,
                    "bytes": m.bytes,
                    "offset": m.offset,
                })
            });
            put("module_aux", module_aux.collect());
            put("module_aux_more", json!(self.about.more_module_aux));
            if self.has_commands() {
                let log = &t.log;
                let dbs = log.databases.iter();
                put(
                    "log",
                    json!({
                        "commands": log.commands,
                        "transactions": log.transactions,
                        "names": log.names,
                        "databases": dbs.map(|(db, n)| json!({"db": db, "commands": n})).collect::<Vec<_>>(),
                        "first_timestamp": log.stamps.map(|s| s.0),
                        "last_timestamp": log.stamps.map(|s| s.1),
                    }),
                );
            }
            put("broken_values", told(&t.broken));
            let kinds = |problem: bool| -> Value {
                let mut o = Map::new();
                for kind in Kind::ALL.into_iter().filter(|k| k.is_problem() == problem) {
                    if t.found(kind).count > 0 {
                        o.insert(kind.name().to_owned(), told(t.found(kind)));
                    }
                }
                o.into()
            };
            put("problems", kinds(true));
            put("notes", kinds(false));
        }
        put("checksum", json!(self.checksum.map(Checksum::name)));
        put("trailing_byte", json!(self.trailing));
        o.into()
    }
}

fn problems(t: &Tally) -> impl Iterator<Item = Kind> {
    Kind::ALL
        .into_iter()
        .filter(|k| k.is_problem() && t.found(*k).count > 0)
}

fn line(to: &mut String, name: &str, what: &str) -> fmt::Result {
    writeln!(to, "  {name:<11} {what}")
}

fn write_db(name: &str, tally: &DbTally, to: &mut String) -> fmt::Result {
    let total = tally.total();
    let mut what = count(total.keys, "key");
    if tally.expires > 0 {
        what += &format!(", {} with an expiry", number(tally.expires));
    }
    line(to, name, &what)?;
    for (
        t,
        TypeTally {
            keys,
            elements,
            bytes,
        },
    ) in tally.by_type()
    {
        let mut what = count(keys, "key");
        if elements > 0 {
            what += &format!(", {}", count(elements, "element"));
        }
        what += &format!(", {}", count(bytes, "byte"));
        writeln!(to, "    {:<11} {what}", t.name())?;
    }
    Ok(())
}

fn findings(name: &str, meaning: &str, found: &Findings, to: &mut String) -> fmt::Result {
    if found.count == 0 {
        return Ok(());
    }
    line(to, name, &format!("{} × {meaning}", number(found.count)))?;
    for e in &found.first {
        writeln!(to, "    {e}")?;
    }
    if found.count > found.first.len() as u64 && found.first.iter().any(|e| e.offset().is_some()) {
        writeln!(
            to,
            "    and {} more",
            number(found.count - found.first.len() as u64)
        )?;
    }
    Ok(())
}

/// A number with its thousands apart.
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(d);
    }
    text
}

fn count(n: u64, what: &str) -> String {
    format!("{} {what}{}", number(n), if n == 1 { "" } else { "s" })
}

/// A name as it is, if it is one that cannot harm a terminal; otherwise in quotes.
fn plain(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(s) if !s.is_empty() && s.bytes().all(|b| b.is_ascii_graphic()) => s.to_owned(),
        _ => quote(name),
    }
}

fn when(when: u64) -> String {
    match when {
        1 => "before the keys".into(),
        2 => "after the keys".into(),
        n => format!("when = {n}"),
    }
}

fn database(db: Value, tally: &DbTally) -> Value {
    let total = tally.total();
    let types: Map<String, Value> = tally
        .by_type()
        .map(|(t, n)| {
            let counts = json!({"keys": n.keys, "elements": n.elements, "bytes": n.bytes});
            (t.name().to_owned(), counts)
        })
        .collect();
    json!({
        "db": db,
        "keys": total.keys,
        "bytes": total.bytes,
        "expires": tally.expires,
        "expired": tally.expired,
        "fields_with_expiry": tally.fields_with_expiry,
        "types": types,
    })
}

fn told(found: &Findings) -> Value {
    json!({
        "count": found.count,
        "first": found.first.iter().map(error).collect::<Vec<_>>(),
    })
}

fn error(e: &RdbError) -> Value {
    let kind = match e.kind() {
        ErrorKind::UnexpectedEof => "unexpected_eof",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Loss => "loss",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Checksum => "checksum",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Limit => "limit",
        ErrorKind::Io => "io",
        ErrorKind::Server => "server",
    };
    let mut o = Map::new();
    o.insert("kind".into(), kind.into());
    for (name, at) in [("offset", e.offset()), ("lzf_offset", e.lzf_offset())] {
        if let Some(at) = at {
            o.insert(name.into(), at.into());
        }
    }
    if let Some(key) = e.key() {
        o.insert("key".into(), key.into());
    }
    o.insert("message".into(), e.what().into());
    o.into()
}

/// A byte string as `decode` has it.
fn bytes(b: &[u8]) -> Value {
    match std::str::from_utf8(b) {
        Ok(s) => s.into(),
        Err(_) => json!({"base64": base64_simd::STANDARD.encode_to_string(b)}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (n, want) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(number(n), want);
        }
    }

    #[test]
    fn names_that_could_harm_a_terminal_are_quoted() {
        assert_eq!(plain(b"redis-ver"), "redis-ver");
        assert_eq!(plain(b"a\x1b[0m"), r#""a\x1b[0m""#);
        let mut about = About::default();
        about.aux(9, b"redis-ver", b"\x1b[31m");
        assert_eq!(about.writer(), None);
        about.aux(20, b"valkey-ver", b"9.1.2");
        assert_eq!(about.writer().as_deref(), Some("Valkey 9.1.2"));
    }

    #[test]
    fn a_time_that_no_calendar_has_is_left_out() {
        let mut about = About::default();
        about.aux(9, b"ctime", b"18446744073709551615");
        assert_eq!(about.saved(), None);
    }

    #[test]
    fn aux_fields_are_bounded_and_in_order() {
        let mut about = About::default();
        for i in (0..1000u64).rev() {
            about.aux(i, format!("n{}", i % 100).as_bytes(), &[b'x'; 5000]);
        }
        assert_eq!(about.aux.len(), TOLD);
        assert!(about.aux.is_sorted_by_key(|a| a.offset));
        assert!(
            about
                .aux
                .iter()
                .all(|a| a.count == 10 && a.value.len() == KEPT)
        );
        assert_eq!(about.more_aux, 360);
    }
}
