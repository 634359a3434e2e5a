//! Lines of a log: commands, and what stands between them, as they stand in an append-only file.
//!
//! ```text
//!   {"db":3,"command":["SET","k","v"]}     *3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n     *2 SELECT 3 before it, if that was not the database
//!   {"select":3}                           *2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n             also if it was
//!   {"timestamp":1795208898}               #TS:1795208898\r\n
//!   {"annotation":" by hand"}              # by hand\r\n                             a text that ends with a line end keeps its own
//! ```
//!
//! MULTI, EXEC and their like are of no database, so there is never a SELECT before them: within a transaction it stands behind the MULTI.

use super::bytes;
use super::gather::Sink;
use super::lexer::Lexer;
use super::{Line, SoFar, ToRdb, Written, unknown};
use crate::aof::scan::{LINE, control};
use crate::command::table::Role;
use crate::error::{RdbError, Result};
use crate::rdb::header::Dialect;

/// Refuses a member that only lines of RDB data have: within the line of a command, or behind the first of a log.
pub(super) fn refuse_keys(lex: &Lexer<'_>, at: u64, in_command: bool) -> Result<()> {
    if !matches!(
        lex.last_name(),
        b"key"
            | b"type"
            | b"expire_at_ms"
            | b"idle_s"
            | b"freq"
            | b"key_meta"
            | b"value"
            | b"function"
            | b"aux"
            | b"module_aux"
            | b"slot_import"
    ) {
        return Ok(());
    }
    if in_command {
        return Err(unknown(lex, at, "a line of a command"));
    }
    let what = format!(
        "{}: a line of a key, or of what stands before keys, behind lines of commands: expected all of them before the first command, as a log has \
         them; lines of several logs are several sources, a file for each",
        lex.last()
    );
    Err(RdbError::unsupported(at, what).on_line(lex.line()))
}

/// Reads the arguments of a command, its name among them; gives what it means for those behind it.
pub(super) fn arguments(lex: &mut Lexer<'_>, w: &mut Written) -> Result<Role> {
    lex.peek()?;
    let at = lex.offset();
    lex.punctuation(b'[', "an array of strings, the arguments of a command")?;
    let (mut n, mut first) = (0, true);
    let mut role = Role::Data;
    let mut digits = itoa::Buffer::new();
    w.body.clear();
    while lex.more(b']', &mut first)? {
        lex.peek()?;
        let arg_at = lex.offset();
        if let Some(bytes) = lex.plain()? {
            if n == 0 {
                role = control(bytes);
            }
            w.body.put(b"$")?;
            w.body.put(digits.format(bytes.len()).as_bytes())?;
            w.body.put(b"\r\n")?;
            w.body.put(bytes)?;
        } else {
            w.first.clear();
            bytes::bytes(lex, &mut w.first)?;
            if n == 0 {
                role = w.first.in_memory().map_or(Role::Data, control);
            }
            w.body.put(b"$")?;
            w.body.put(digits.format(w.first.len()).as_bytes())?;
            w.body.put(b"\r\n")?;
            w.body.all_of(&mut w.first)?;
        }
        w.body.put(b"\r\n")?;
        if role == Role::Select {
            let what = "SELECT in the line of a command, whose database its \"db\" says: leave the line out, or write {\"select\":n}";
            return Err(lex.corrupt(arg_at, what));
        }
        n += 1;
    }
    if n == 0 {
        let what = "a command of no arguments: expected at least its name";
        return Err(lex.corrupt(at, what));
    }
    w.head.clear();
    w.head.push(b'*');
    w.head.extend_from_slice(digits.format(n).as_bytes());
    w.head.extend_from_slice(b"\r\n");
    Ok(role)
}

impl ToRdb<'_> {
    /// Begins the log, unless it has been: ends the RDB data, or takes back their header.
    fn begin_log(&mut self) {
        match self.so_far {
            SoFar::Header => self.out.clear(),
            SoFar::Rdb => self.end_rdb(),
            SoFar::Log => return,
        }
        self.so_far = SoFar::Log;
        self.dialect.get_or_insert(Dialect::Redis);
        // In which every log begins, whatever stands before it.
        self.db = Some(0);
    }

    /// All members of a line have been read: writes the command.
    pub(super) fn command_line(&mut self, line: &Line, role: Role) -> Result<()> {
        let db = database(line.db.unwrap_or(0), line.db_at)?;
        self.begin_log();
        if role == Role::Data && self.db != Some(db) {
            self.write_select(db);
        }
        self.give().map(drop)
    }

    /// Reads the database of a SELECT.
    pub(super) fn select(&mut self) -> Result<bool> {
        self.lex.peek()?;
        let at = (self.lex.offset(), self.lex.line());
        let db = database(self.lex.u64("the number of a database")?, at)?;
        self.begin_log();
        self.write_select(db);
        Ok(false)
    }

    fn write_select(&mut self, db: u64) {
        let db_digits = db.to_string();
        self.out.extend_from_slice(b"*2\r\n$6\r\nSELECT\r\n$");
        self.out
            .extend_from_slice(db_digits.len().to_string().as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(db_digits.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.db = Some(db);
    }

    /// Reads the seconds of a time stamp.
    pub(super) fn time_stamp(&mut self) -> Result<bool> {
        let seconds = self.lex.u64("seconds since 1970")?;
        self.begin_log();
        let line = format!("#TS:{seconds}\r\n");
        self.out.extend_from_slice(line.as_bytes());
        Ok(false)
    }

    /// Reads the text of a line that is no command.
    pub(super) fn annotation(&mut self) -> Result<bool> {
        let (lex, w) = (&mut self.lex, &mut self.written);
        lex.peek()?;
        let at = lex.offset();
        w.first.clear();
        bytes::bytes(lex, &mut w.first)?;
        let text = w.first.in_memory().unwrap_or_default();
        let end: &[u8] = if text.ends_with(b"\n") { b"" } else { b"\r\n" };
        if 1 + w.first.len() + end.len() as u64 > LINE as u64 {
            let what = format!("an annotation longer than {LINE} bytes, which no server reads");
            return Err(RdbError::limit(at, what).on_line(lex.line()));
        }
        let within = text.strip_suffix(b"\n").unwrap_or(text);
        if within.contains(&b'\n') {
            let what = "a line end within an annotation, which is one line: what follows would be taken for a command";
            return Err(lex.corrupt(at, what));
        }
        let line = [b"#", text, end].concat();
        self.begin_log();
        self.out.extend_from_slice(&line);
        Ok(false)
    }
}

/// A database as a log can name it.
fn database(db: u64, (at, line): (u64, u64)) -> Result<u64> {
    match u32::try_from(db) {
        Ok(_) => Ok(db),
        Err(_) => {
            let what = format!("database {db} of a command: expected 0 to {}", u32::MAX);
            Err(RdbError::corrupt(at, what).on_line(line))
        }
    }
}
