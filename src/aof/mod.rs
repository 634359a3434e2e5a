//! Append-only files: commands as servers log them, and the directories they are kept in since 7.0.
//!
//! ```text
//!   file        *( annotation | command )             2.x to 6.x, and what newer servers add to
//!               RDB file, *( annotation | command )   from 4.0 on: the RDB part is what there was when the file was rewritten
//!
//!   directory   NAME.manifest                         which files there are, in which order: see `manifest`
//!               NAME.2.base.rdb   NAME.2.incr.aof  NAME.3.incr.aof
//!
//!   annotation  #TS:1795208898 CR LF                  seconds since 1970; what follows was done then or later
//! ```
//!
//! What a file is its first bytes say, never its name. Each file begins in database 0 and outside of MULTI. The last file may end
//! anywhere, as a server that was killed left it: what is behind the last whole command, or the MULTI that no EXEC follows, is left out.

pub mod manifest;
pub mod scan;

/// What is done about the tail of a file that does not end with a whole command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tail {
    /// It is left out and told, of the last file of its directory; `aof-load-truncated yes`.
    #[default]
    Cut,
    /// It is an error.
    Refuse,
}

/// How the commands of a log are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Milliseconds since 1970: what stands behind the first time stamp greater than this is not read.
    pub until: Option<i64>,
    /// What is done about a tail that is not whole.
    pub tail: Tail,
}

/// The place of a file among those of its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Whether files stand before it.
    pub continues: bool,
    /// Whether it is the base: what there was when the log was rewritten.
    pub base: bool,
    /// Whether it is the last: only that may have a tail that is not whole.
    pub last: bool,
}

impl Place {
    /// Of a file that is alone.
    pub const ALONE: Place = Place {
        continues: false,
        base: false,
        last: true,
    };
}

/// The tail that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncated {
    /// Where it begins: the end of the last whole command that is in no open MULTI.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// How many whole commands are in it, behind a MULTI without EXEC.
    pub commands: u64,
    /// Whether a command in it is cut.
    pub cut: bool,
}

impl std::fmt::Display for Truncated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match (self.cut, self.commands) {
            (true, 0) => "the file ends inside a command",
            (true, _) => "the file ends inside a command, in a transaction without EXEC",
            (false, _) => "the file ends in a transaction without EXEC",
        };
        write!(f, "{what}; {} bytes behind the last whole ", self.bytes)?;
        match self.commands {
            0 => f.write_str("command"),
            n => write!(f, "command or transaction, {n} whole commands among them"),
        }
    }
}
