//! `--resume FILE`: what a restore must have in common with the one it goes on with.

use super::common::{count, hint, size};
use super::exit::{Usage, tell};
use clap::CommandFactory;
use clap::parser::ValueSource;
use rdbtool::dump::{Dump, Format};
use rdbtool::filter::OnConflict;
use rdbtool::net::Endpoint;
use rdbtool::source::Source;
use rdbtool::target::Journal;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Options that leave the data as they are, or that are told apart by what they come to. Any other one must be as it was.
const FREE: [&str; 32] = [
    "paths",
    "to",
    "resume",
    "release",
    "big_key",
    "on_conflict",
    "flush_target",
    "yes",
    "dry_run",
    "connections",
    "pipeline",
    "rate",
    "replicas",
    "retry_for",
    "strict",
    "loss_report",
    "threads",
    "no_checksum",
    "progress",
    "quiet",
    "verbose",
    "output",
    "force",
    "password",
    "user",
    "tls",
    "cacert",
    "cacertdir",
    "cert",
    "cert_key",
    "insecure",
    "sni",
];

/// The position of a restore, and where it is kept.
#[derive(Debug)]
pub(crate) struct Position {
    path: PathBuf,
    journal: Journal,
}

impl Position {
    /// Reads FILE, if it is there.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Position> {
        let journal = Journal::open(path, super::common::now_ms()).map_err(hint)?;
        Ok(Position {
            path: path.to_owned(),
            journal,
        })
    }

    /// When the first run began, in milliseconds since 1970.
    pub(crate) fn started_ms(&self) -> i64 {
        self.journal.started_ms()
    }

    /// What connections are to be called.
    pub(crate) fn client(&self) -> &str {
        self.journal.client()
    }

    /// Whether something is gone on with.
    pub(crate) fn is_begun(&self) -> bool {
        self.journal.is_begun()
    }

    /// Begins; or fails, if what is to be gone on with is something else.
    pub(crate) fn begin(
        &mut self,
        endpoint: &Endpoint,
        sources: &[Source],
        dump: &Dump,
    ) -> anyhow::Result<()> {
        let mut of = vec![("the target".to_owned(), endpoint.address.to_string())];
        for (i, source) in sources.iter().enumerate() {
            let name = match sources.len() {
                1 => "the source".to_owned(),
                _ => format!("source {}", i + 1),
            };
            of.push((name, source.fingerprint().unwrap_or_default()));
        }
        if let Some(release) = dump.release {
            of.push((
                "the target's release (--for)".to_owned(),
                release.to_string(),
            ));
        }
        if let Format::Restore { big_key, .. } = dump.format {
            of.push(("--big-key".to_owned(), big_key.to_string()));
        }
        // What error and skip send is the same.
        let replace = match dump.on_conflict {
            OnConflict::Replace => "replace",
            OnConflict::Error | OnConflict::Skip => "error or skip",
        };
        of.push(("--on-conflict".to_owned(), replace.to_owned()));
        of.extend(given());
        if !self.journal.is_begun() {
            return self.journal.begin(of).map_err(hint);
        }
        let path = self.path.display();
        let differences = self.journal.differences(&of);
        if !differences.is_empty() {
            let text = format!(
                "{path} is the position of another restore:\n  {}\nhint: give the command as it was, or delete {path} to begin anew",
                differences.join("\n  ")
            );
            return Err(Usage(text).into());
        }
        Ok(())
    }

    /// Says where it goes on.
    pub(crate) fn announce(&self) {
        let path = self.path.display();
        let (keys, bytes) = self.journal.done();
        tell(&format!(
            "{path}: going on behind {}, {} of commands",
            count(keys, "key"),
            size(bytes)
        ));
    }

    /// The position, and where it is kept.
    pub(crate) fn into_parts(self) -> (PathBuf, Journal) {
        (self.path, self.journal)
    }
}

/// The options of the command line that change the data, by name.
fn given() -> Vec<(String, String)> {
    let command = super::Cli::command();
    let Ok(matches) = command.clone().try_get_matches() else {
        return Vec::new();
    };
    let (Some((name, matches)), command) = (matches.subcommand(), command) else {
        return Vec::new();
    };
    let Some(command) = command.find_subcommand(name) else {
        return Vec::new();
    };
    let mut given = Vec::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        if FREE.contains(&id) || matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let values: Vec<&OsStr> = matches.get_raw(id).into_iter().flatten().collect();
        if values == arg.get_default_values() {
            continue;
        }
        let values: Vec<_> = values.iter().map(|v| v.to_string_lossy()).collect();
        let name = arg.get_long().unwrap_or(id);
        given.push((format!("--{name}"), values.join(" ")));
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that no option has would let an option pass that has another.
    #[test]
    fn options_that_do_not_matter_are_options() {
        let command = super::super::Cli::command();
        let restore = command.find_subcommand("restore").unwrap();
        for id in FREE {
            assert!(
                restore.get_arguments().any(|a| a.get_id() == id),
                "{id}: no such option"
            );
        }
        let matter: Vec<_> = restore
            .get_arguments()
            .map(|a| a.get_id().as_str())
            .filter(|id| !FREE.contains(id))
            .collect();
        assert!(
            matter.contains(&"key") && matter.contains(&"ttl"),
            "{matter:?}"
        );
    }
}
