//! From a result to an exit status.

use rdbtool::RdbError;
use std::fmt::Write as _;
use std::process::ExitCode;

/// How a subcommand that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All was done.
    Done,
    /// Something is wrong with what was looked at, and has been told.
    Failed,
    /// Done, but something was left out, and has been told.
    Incomplete,
}

/// Options that cannot be meant.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The status of a result; tells an error on standard error.
pub(crate) fn status(result: anyhow::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(1),
        Ok(Outcome::Incomplete) => ExitCode::from(3),
        Err(e) if is_closed_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            tell(&in_words(&e));
            ExitCode::from(if e.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// An error and what it comes from. An error may tell its cause itself: that is not told twice.
fn in_words(e: &anyhow::Error) -> String {
    let mut text = e.to_string();
    for cause in e.chain().skip(1) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The status of arguments that could not be read, or of help.
pub(crate) fn usage(e: &clap::Error) -> ExitCode {
    ExitCode::from(e.exit_code() as u8)
}

/// Prints an error, or any other word to the user, with the program's name.
pub(crate) fn tell(text: &str) {
    let mut line = String::new();
    for (i, part) in text.lines().enumerate() {
        let _ = match i {
            0 => writeln!(line, "rdbtool: {part}"),
            _ => writeln!(line, "{part}"),
        };
    }
    eprint!("{line}");
}

/// Whoever read our output has had enough (`| head`): that is no failure.
fn is_closed_pipe(e: &anyhow::Error) -> bool {
    let io = match e.downcast_ref::<RdbError>() {
        Some(e) => e.io_error(),
        None => e.downcast_ref::<std::io::Error>(),
    };
    io.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
