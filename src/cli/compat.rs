//! Arguments of what writes for servers: which release shall read it, what becomes of what it has no place for.

use super::common::{Output, Run, Sources, count, hint};
use super::exit::{Outcome, tell};
use anyhow::Context;
use clap::{Args, ValueEnum};
use rdbtool::dump::{Dump, Dumped};
use rdbtool::encode::loss::Losses;
use rdbtool::filter::OnConflict;
use rdbtool::rdb::release::Release;
use rdbtool::{ErrorKind, Progress, RdbError};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Which release reads it, and what becomes of what it has no place for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Who reads it")]
pub(crate) struct Compat {
    /// Write for this release, as redis-6.2 or valkey-8.1
    ///
    /// Values of types that it does not load are written as types that it does, or as ordinary commands. Default: a server at least as new
    /// as the one that wrote the source, and of the same line.
    #[arg(long = "for", value_name = "RELEASE")]
    pub(crate) release: Option<Release>,

    /// Fail before anything is written if not everything can be kept
    ///
    /// The sources are read twice, so they must be files.
    #[arg(long)]
    strict: bool,

    /// Write what could not be kept to FILE, a JSON object for each reason
    #[arg(long, value_name = "FILE")]
    loss_report: Option<PathBuf>,

    /// What to do with a key that is there already
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = ConflictArg::Error)]
    on_conflict: ConflictArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ConflictArg {
    /// End with an error
    Error,
    /// Let the later one take its place: the last source's, or what the target has
    Replace,
    /// Leave it out and count it
    Skip,
}

impl Compat {
    pub(crate) fn on_conflict(&self) -> OnConflict {
        match self.on_conflict {
            ConflictArg::Error => OnConflict::Error,
            ConflictArg::Replace => OnConflict::Replace,
            ConflictArg::Skip => OnConflict::Skip,
        }
    }

    /// With --strict: reads the sources without writing anything, and fails if not all can be kept.
    pub(crate) fn foresee(&self, dump: &Dump, sources: &Sources) -> anyhow::Result<()> {
        if !self.strict {
            return Ok(());
        }
        sources.refuse_once("--strict reads its sources twice")?;
        let mut sources = sources.open()?;
        let dumped = dump.dry(&mut sources, &Progress::new()).map_err(hint)?;
        self.refuse_losses(&dumped)
    }

    /// Whether nothing shall be written if not all can be kept.
    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Fails if not all could be kept.
    pub(crate) fn refuse_losses(&self, dumped: &Dumped) -> anyhow::Result<()> {
        if dumped.losses.is_empty() {
            return Ok(());
        }
        let mut text = "not everything can be kept, and nothing has been written:".to_owned();
        for line in words(&dumped.losses) {
            let _ = write!(text, "\n  {line}");
        }
        self.write_report(&dumped.losses)?;
        Err(RdbError::other(ErrorKind::Loss, text).into())
    }

    /// Writes the sources into a pipe or a file.
    pub(crate) fn write(
        &self,
        dump: &Dump,
        sources: &Sources,
        output: &Output,
        run: &Run,
    ) -> anyhow::Result<Outcome> {
        self.foresee(dump, sources)?;
        let mut sources = sources.open()?;
        let mut opened = output.open()?;
        let names: Vec<String> = sources.iter().map(|s| s.name().to_owned()).collect();
        let bar = run.bar(output.is_stdout());
        let result = dump.run(&mut sources, bar.progress(), opened.sink());
        let elapsed = bar.finish();
        match result {
            Ok(dumped) => {
                opened.commit()?;
                self.report(run, &names, &dumped, elapsed)
            }
            Err(e) => Err(opened.keep(e)),
        }
    }

    /// Tells what has been seen, and what was left out or could not be kept.
    pub(crate) fn report(
        &self,
        run: &Run,
        names: &[String],
        dumped: &Dumped,
        elapsed: Duration,
    ) -> anyhow::Result<Outcome> {
        let outcome = run.report(names, &dumped.summaries, elapsed);
        self.write_report(&dumped.losses)?;
        for line in words(&dumped.losses) {
            tell(&format!("not kept: {line}"));
        }
        if dumped.left_out > 0 {
            tell(&format!(
                "{} left out because another has the same name",
                count(dumped.left_out, "key")
            ));
        }
        if dumped.libraries_left_out > 0 {
            tell(&format!(
                "{} left out because another has the same name",
                count(dumped.libraries_left_out, "function library")
                    .replace("librarys", "libraries")
            ));
        }
        if dumped.converted > 0 && !run.quiet {
            tell(&format!(
                "{} written as ordinary commands",
                count(dumped.converted, "key")
            ));
        }
        Ok(match outcome {
            Outcome::Done
                if !dumped.losses.is_empty() || dumped.left_out + dumped.libraries_left_out > 0 =>
            {
                Outcome::Incomplete
            }
            other => other,
        })
    }

    fn write_report(&self, losses: &Losses) -> anyhow::Result<()> {
        let Some(path) = &self.loss_report else {
            return Ok(());
        };
        let mut text = String::new();
        for l in losses.iter() {
            let examples: Vec<_> = l
                .examples
                .iter()
                .map(|(db, key)| serde_json::json!({"db": db, "key": key}))
                .collect();
            let line = serde_json::json!({
                "reason": l.reason.name(), "what": l.reason.describe(), "count": l.count, "examples": examples,
            });
            let _ = writeln!(text, "{line}");
        }
        std::fs::write(path, text).with_context(|| format!("{}: cannot write", path.display()))
    }
}

/// A line for each reason.
pub(crate) fn words(losses: &Losses) -> impl Iterator<Item = String> + '_ {
    losses.iter().map(|l| {
        let mut line = match l.reason.is_of_keys() {
            true => format!("{}, of {}", l.reason, count(l.count, "key")),
            false => format!("{}, {} of them", l.reason, indicatif::HumanCount(l.count)),
        };
        for (i, (db, key)) in l.examples.iter().enumerate() {
            let _ = match i {
                0 => write!(line, ": {key}"),
                _ => write!(line, ", {key}"),
            };
            if *db > 0 {
                let _ = write!(line, " (db {db})");
            }
        }
        if l.count > l.examples.len() as u64 {
            line += " ...";
        }
        line
    })
}
