//! A topology that somebody wrote down as TOML.
//!
//! ```text
//!   [[nodes]]                          nodes = ["0-8191", "8192-16383"]      of which only the slots are told
//!   slots = "0-5460,7000"
//!   address = "10.0.0.1:7000"          may be missing, and so may be an id
//! ```
//!
//! The same names and values as in JSON, and the same order: that of the files. A key that is not known is an error, as it is mostly one that
//! is known, misspelt.
//!
//! Source: <https://toml.io/en/v1.1.0>.

use super::{Gather, Topology, give_all, id_of, number_of, place_of};
use crate::error::{RdbError, Result, quote};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is expected of a file.
const EXPECTED: &str = "a table [[nodes]] for each node, or nodes = [\"0-8191\", \"8192-16383\"]";

/// Whether a text is meant to be TOML: it begins with a comment, a `key =`, or a table's head, which no JSON has.
pub(super) fn is_toml(text: &str) -> bool {
    let is_key = |c: char| c.is_ascii_alphanumeric() || "-_.\"' \t".contains(c);
    let line = text.lines().next().unwrap_or_default();
    if let Some(head) = line.strip_prefix('[') {
        let head = head.strip_prefix('[').unwrap_or(head).trim_start();
        let word = head.split(|c| !is_key(c)).next().unwrap_or_default();
        let word = word.trim_end();
        // What JSON has there in words.
        return word.starts_with(|c: char| c.is_ascii_alphabetic())
            && !["null", "true", "false"].contains(&word);
    }
    line.starts_with('#')
        || line
            .split_once('=')
            .is_some_and(|(key, _)| !key.is_empty() && key.chars().all(is_key))
}

/// Where something is wrong, in the text, and what.
type Wrong = (usize, String);

/// Reads one. `text` begins at byte `base` of `whole`.
pub(super) fn topology(text: &str, base: u64, whole: &[u8]) -> Result<Topology> {
    nodes(text).map_err(|(at, what)| {
        let at = base + at as u64;
        let before = whole.iter().take(usize::try_from(at).unwrap_or(0));
        let line = 1 + before.filter(|&&b| b == b'\n').count() as u64;
        RdbError::corrupt(at, what).on_line(line)
    })
}

fn nodes(text: &str) -> Result<Topology, Wrong> {
    let table = DeTable::parse(text).map_err(|e| {
        let at = e.span().map_or(0, |s| s.start).min(text.len());
        let what = e.message().lines().collect::<Vec<_>>().join(", ");
        (at, format!("TOML that cannot be read: {what}"))
    })?;
    let mut nodes = None;
    for (name, value) in table.get_ref() {
        match &**name.get_ref() {
            "nodes" => nodes = Some(value),
            other => {
                let other = quote(other.as_bytes());
                return Err((start(name), format!("{other}: expected {EXPECTED}")));
            }
        }
    }
    let Some(nodes) = nodes else {
        return Err((0, format!("no nodes: expected {EXPECTED}")));
    };
    let DeValue::Array(list) = nodes.get_ref() else {
        let found = nodes.get_ref().type_str();
        let what = format!("nodes, which is here of the type {found}: expected {EXPECTED}");
        return Err((start(nodes), what));
    };
    let mut gather = Gather::new();
    for (i, node) in list.iter().enumerate() {
        let named = |(at, what)| (at, format!("node {}: {what}", i + 1));
        one(node, &mut gather).map_err(named)?;
    }
    gather.finish(false).map_err(|what| (0, what))
}

fn start<T>(value: &Spanned<T>) -> usize {
    let Range { start, .. } = value.span();
    start
}

/// A text, and where it stands.
fn text<'v>(name: &str, value: &'v Spanned<DeValue<'_>>) -> Result<(&'v str, usize), Wrong> {
    match value.get_ref().as_str() {
        Some(text) => Ok((text, start(value))),
        None => {
            let found = value.get_ref().type_str();
            Err((
                start(value),
                format!("{name:?} is no string, but of the type {found}"),
            ))
        }
    }
}

fn one(node: &Spanned<DeValue<'_>>, gather: &mut Gather) -> Result<(), Wrong> {
    let (mut slots, mut place, mut id) = (None, None, None);
    match node.get_ref() {
        DeValue::Table(table) => {
            for (name, value) in table {
                let (to, name) = match &**name.get_ref() {
                    "slots" => (&mut slots, "slots"),
                    "address" => (&mut place, "address"),
                    "id" => (&mut id, "id"),
                    other => {
                        let other = quote(other.as_bytes());
                        let what = format!("{other}: expected slots, address or id");
                        return Err((start(name), what));
                    }
                };
                *to = Some(text(name, value)?);
            }
        }
        _ => slots = Some(text("slots", node)?),
    }
    let Some((slots, at)) = slots else {
        let what = "no slots, a string such as \"0-5460,7000\"";
        return Err((start(node), what.to_owned()));
    };
    let place = place.map(|(text, at)| place_of(text).map_err(|what| (at, what)));
    let id = id.map(|(text, at)| id_of(text).map_err(|what| (at, what)));
    let number = number_of(id.transpose()?, place.transpose()?, gather);
    let number = number.map_err(|what| (start(node), what))?;
    give_all(slots, number, gather).map_err(|what| (at, what))
}
