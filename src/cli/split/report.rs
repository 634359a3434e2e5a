//! `rdbtool split --report`: what a run would come to, for people and for programs.
//!
//! ```text
//!   survey   keys and bytes of each slot, the largest keys of each node      nothing is encoded
//!   dry      what could not be kept, or would be refused                     nothing is written
//! ```

use super::{Args, ReportArg, told};
use crate::cli::common::{count, size};
use crate::cli::exit::{Outcome, tell};
use rdbtool::cluster::topology::Topology;
use rdbtool::dump::Dumped;
use rdbtool::encode::loss::Reason;
use rdbtool::encode::route::refusal;
use rdbtool::filter::OnConflict;
use rdbtool::pipeline::OnError;
use rdbtool::seed::Seed;
use rdbtool::seed::survey::{Large, Survey};
use rdbtool::{Progress, quote};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write;

/// Tells what a run would come to.
pub(super) fn report(
    args: &Args,
    form: ReportArg,
    seed: &Seed,
    even: Option<&Topology>,
) -> anyhow::Result<Outcome> {
    args.sources
        .refuse_once("--report reads its sources twice")?;
    let mut sources = args.sources.open()?;
    let names: Vec<String> = sources.iter().map(|s| s.name().to_owned()).collect();
    let bar = args.run.bar(true);
    let survey = seed.survey(&mut sources, bar.progress());
    let elapsed = bar.finish();
    let survey = survey.map_err(told)?;
    let mut stdout = std::io::stdout().lock();
    if form == ReportArg::Text {
        stdout.write_all(text(seed, &survey, even).as_bytes())?;
    }
    let dry = seed.dry(&mut args.sources.open()?, &Progress::new());
    let (mut refused, dumped) = match dry {
        Ok(dumped) => (refusals(args, seed, &survey, &dumped), Ok(dumped)),
        Err(e) => (vec![("error", e.to_string())], Err(e)),
    };
    if form == ReportArg::Json {
        let losses = dumped.as_ref().ok();
        let report = json(seed, &survey, even, &names, &refused, losses);
        writeln!(stdout, "{report}")?;
    }
    let dumped = dumped.map_err(told)?;
    // What is told of losses is not told again.
    refused.retain(|(reason, _)| *reason != Reason::AcrossNodes.name());
    for (_, what) in &refused {
        tell(what);
    }
    let outcome = args.compat.report(&args.run, &names, &dumped, elapsed)?;
    let fails = !refusals(args, seed, &survey, &dumped).is_empty();
    Ok(if fails { Outcome::Failed } else { outcome })
}

/// For what a run would fail, each with a short name.
fn refusals(
    args: &Args,
    seed: &Seed,
    survey: &Survey,
    dumped: &Dumped,
) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if survey.databases.keys().any(|&db| db >= seed.databases) {
        let e = told(refusal(&survey.databases, seed.databases));
        all.push(("databases", e.to_string()));
    }
    let apart = dumped
        .losses
        .iter()
        .find(|l| l.reason == Reason::AcrossNodes);
    if let Some(l) = apart.filter(|_| seed.dump.on_error == OnError::Stop) {
        let what = format!(
            "{}, {} of them: an error without --on-error skip",
            l.reason, l.count
        );
        all.push((l.reason.name(), what));
    }
    if dumped.left_out > 0 && seed.dump.on_conflict == OnConflict::Error {
        let what = format!(
            "{} of a name that has been there before: --on-conflict says which is kept",
            count(dumped.left_out, "key")
        );
        all.push(("conflict", what));
    }
    if args.compat.is_strict() && !dumped.losses.is_empty() {
        let what = "not everything can be kept, and --strict is given".to_owned();
        all.push(("strict", what));
    }
    all
}

/// How many times the mean a node has.
fn of_mean(bytes: u64, mean: f64) -> f64 {
    if mean == 0.0 {
        1.0
    } else {
        bytes as f64 / mean
    }
}

/// How many of the heaviest slots are told.
const HEAVIEST: usize = 5;

/// The same as [`text`] for programs, and what would be refused or not kept.
fn json(
    seed: &Seed,
    survey: &Survey,
    even: Option<&Topology>,
    sources: &[String],
    refused: &[(&str, String)],
    dumped: Option<&Dumped>,
) -> Value {
    let loads = survey.loads(&seed.topology);
    let bytes: u64 = loads.iter().map(|l| l.bytes).sum();
    let mean = bytes as f64 / loads.len() as f64;
    let rows = seed.topology.nodes().iter().zip(seed.files());
    let nodes = rows.zip(&loads).zip(&survey.largest);
    let nodes: Vec<Value> = nodes
        .map(|(((node, file), load), largest)| {
            let mut line = json!({
                "file": file,
                "slots": node.slots.to_string(),
                "keys": load.keys,
                "commands": load.commands,
                "bytes": load.bytes,
                "of_mean": of_mean(load.bytes, mean),
                "largest": largest.iter().map(large).collect::<Vec<_>>(),
            });
            if node.address.is_some() {
                line["address"] = json!(node.to_string());
            }
            if let Some(id) = &node.id {
                line["id"] = json!(id);
            }
            line
        })
        .collect();
    let heaviest = survey.heaviest(HEAVIEST);
    let heaviest = heaviest.iter().map(
        |(slot, l)| json!({"slot": slot, "keys": l.keys, "commands": l.commands, "bytes": l.bytes}),
    );
    let databases = survey.databases.iter();
    let databases: serde_json::Map<_, _> = databases
        .map(|(db, n)| (db.to_string(), json!(n)))
        .collect();
    let refused = refused
        .iter()
        .map(|(reason, what)| json!({"reason": reason, "what": what}));
    let losses = dumped.into_iter().flat_map(|d| d.losses.iter()).map(|l| {
        let examples = l.examples.iter();
        let examples: Vec<_> = examples
            .map(|(db, key)| json!({"db": db, "key": key}))
            .collect();
        json!({"reason": l.reason.name(), "what": l.reason.describe(), "count": l.count, "examples": examples})
    });
    json!({
        "format": seed.format.name(),
        "for": seed.dump.release.map(|r| r.to_string()),
        "sources": sources,
        "keys": loads.iter().map(|l| l.keys).sum::<u64>(),
        "commands": loads.iter().map(|l| l.commands).sum::<u64>(),
        "bytes": bytes,
        "databases": databases,
        "heaviest_of_mean": survey.skew(&seed.topology),
        "heaviest_of_mean_with_equal_slots": even.map(|even| survey.skew(even)),
        "nodes": nodes,
        "heaviest_slots": heaviest.collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
        "losses": losses.collect::<Vec<_>>(),
        "left_out": dumped.map(|d| d.left_out),
    })
}

/// A large key; of one that is very long the beginning.
fn large(l: &Large) -> Value {
    let name = match l.key.len() as u64 == l.key_bytes {
        true => "key",
        false => "key_begins",
    };
    let key = match std::str::from_utf8(&l.key) {
        Ok(text) => json!(text),
        Err(_) => json!({"base64": base64_simd::STANDARD.encode_to_string(&l.key)}),
    };
    json!({name: key, "bytes": l.bytes})
}

/// What each node would get.
fn text(seed: &Seed, survey: &Survey, even: Option<&Topology>) -> String {
    let loads = survey.loads(&seed.topology);
    let (keys, commands, bytes) = loads.iter().fold((0, 0, 0), |(k, c, b), l| {
        (k + l.keys, c + l.commands, b + l.bytes)
    });
    // A log is told of as one.
    let is_log = commands > 0;
    let column = |text: &dyn std::fmt::Display| match is_log {
        true => format!(" {:>12}", text.to_string()),
        false => String::new(),
    };
    let mut t = format!(
        "{}{} for {}, {} of names and values in the file\n\n",
        count(keys, "key"),
        match is_log {
            true => format!(" and then {}", count(commands, "command")),
            false => String::new(),
        },
        count(loads.len() as u64, "node"),
        size(bytes)
    );
    let _ = writeln!(
        t,
        "{:<18} {:<20} {:>12}{} {:>10} {:>7}  largest keys",
        "file",
        "slots",
        "keys",
        column(&"commands"),
        "bytes",
        "of mean"
    );
    let mean = bytes as f64 / loads.len() as f64;
    let rows = seed.topology.nodes().iter().zip(seed.files());
    for (((node, file), load), largest) in rows.zip(&loads).zip(&survey.largest) {
        let largest: Vec<_> = largest
            .iter()
            .map(|l| format!("{} {}", quote(&l.key), size(l.bytes)))
            .collect();
        let of_mean = of_mean(load.bytes, mean);
        let line = format!(
            "{file:<18} {:<20} {:>12}{} {:>10} {:>7}  {}",
            node.slots.to_string(),
            load.keys,
            column(&load.commands),
            size(load.bytes),
            format!("{of_mean:.3}"),
            largest.join(", ")
        );
        let _ = writeln!(t, "{}", line.trim_end());
    }
    let _ = write!(
        t,
        "\nThe heaviest node has {:.3} times the mean",
        survey.skew(&seed.topology)
    );
    if let Some(even) = even {
        let _ = write!(
            t,
            "; with equal slots it would have {:.3}",
            survey.skew(even)
        );
    }
    t += ".\n";
    let heaviest = survey.heaviest(HEAVIEST);
    if !heaviest.is_empty() {
        t += "The heaviest slots, which cannot be divided:";
        for (i, (slot, load)) in heaviest.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let _ = write!(
                t,
                "{comma} {slot} ({}{}, {})",
                count(load.keys, "key"),
                match load.commands {
                    0 => String::new(),
                    n => format!(", {}", count(n, "command")),
                },
                size(load.bytes)
            );
        }
        t += ".\n";
    }
    t
}
