//! What CLIs print of CLUSTER SLOTS and CLUSTER SHARDS, read without regard to how it is nested.
//!
//! ```text
//!   to a file         to a terminal                  to a terminal, version 3
//!     0                 1) 1) (integer) 0              1) 1# "slots" =>
//!     5460                 2) (integer) 5460                   1) (integer) 0
//!     10.0.0.1             3) 1) "10.0.0.1"                    2) (integer) 5460
//!     7000                    2) (integer) 7000           2# "nodes" =>
//!     <id>                    3) "<id>"                        1) 1# "id" => "<id>"
//!     (metadata)              4) (empty array)                    2# "port" => (integer) 7000
//! ```

use super::super::{Gather, MOST, Topology};
use super::{is_id, is_number, placed, slot};
use crate::error::{RdbError, Result, quote};

/// The words in what a CLI printed, a line each: without the numbers before elements, and without quotes.
pub(super) fn words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut at = 0u64;
    for (number, line) in (1u64..).zip(text.split('\n')) {
        let mut rest = line.trim();
        let wrong = |rest: &str| {
            let what = format!("{} in what a CLI printed", quote(rest.as_bytes()));
            RdbError::corrupt(at, what).on_line(number)
        };
        // `1) 1# "slots" => 2) `, any number of them.
        let mut numbered = false;
        loop {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let Some(after) = rest.get(digits..).filter(|_| digits > 0) else {
                break;
            };
            let Some(after) = after.strip_prefix([')', '#']) else {
                break;
            };
            numbered = true;
            rest = after.trim_start();
        }
        let (key, value) = match rest.strip_prefix('"').and_then(|r| r.split_once("\" =>")) {
            Some((key, value)) if numbered => (Some(key), value.trim()),
            _ => (None, rest),
        };
        words.extend(key.map(str::to_owned));
        let word = match value {
            "" if key.is_some() => None,
            "" => Some(String::new()),
            v if v.starts_with("(empty") || v == "(nil)" => Some(String::new()),
            v if v.starts_with("(error)") => return Err(wrong(v)),
            v => match v.strip_prefix("(integer) ") {
                Some(n) => Some(n.to_owned()),
                None => match v.strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
                    Some(inner) => Some(inner.to_owned()),
                    None if numbered => return Err(wrong(v)),
                    None => Some(v.to_owned()),
                },
            },
        };
        words.extend(word);
        at += line.len() as u64 + 1;
    }
    Ok(words)
}

/// CLUSTER SLOTS or SHARDS, of which only the order of the words is known.
pub(super) fn flat(words: &[&str], asked: Option<&str>) -> Result<Topology, String> {
    match words.iter().find(|w| !w.is_empty()) {
        Some(first) if slot(first).is_some() => flat_slots(words, asked),
        Some(first) if ["slots", "nodes", "id"].contains(first) => flat_shards(words, asked),
        Some(other) => Err(format!(
            "{} where an answer to CLUSTER SLOTS or SHARDS is expected",
            quote(other.as_bytes())
        )),
        None => Err("an answer without anything in it".to_owned()),
    }
}

/// ```text
///   first last  host port [id [metadata ...]]  host port ...   first last ...
/// ```
fn flat_slots(words: &[&str], asked: Option<&str>) -> Result<Topology, String> {
    let word = |i: usize| words.get(i).copied();
    let is_port = |i: usize| word(i).is_some_and(|w| is_number(w) && w.parse::<u16>().is_ok());
    let is_slot = |i: usize| word(i).and_then(slot).is_some();
    let has_id = |i: usize| word(i).is_some_and(is_id);
    let mut gather = Gather::new();
    let mut i = 0;
    while i < words.len() {
        if word(i) == Some("") {
            i += 1; // no metadata
            continue;
        }
        let (Some(first), Some(last)) = (word(i).and_then(slot), word(i + 1).and_then(slot)) else {
            let found = quote(word(i).unwrap_or_default().as_bytes());
            return Err(format!(
                "{found} where the first and last slot of a range are expected"
            ));
        };
        i += 2;
        let (Some(host), true) = (word(i), is_port(i + 1)) else {
            return Err(format!(
                "slots {first}-{last}: no host and port behind them"
            ));
        };
        let port = word(i + 1).and_then(|w| w.parse().ok());
        i += 2;
        let id = word(i).filter(|w| is_id(w));
        if id.is_none() && placed(host, port, asked).is_none() {
            return Err(format!(
                "slots {first}-{last}: neither a host nor an id of their node"
            ));
        }
        let node = gather.node(id, placed(host, port, asked))?;
        gather.give(first, last, node)?;
        // Whatever else there is, up to the next range: replicas, metadata.
        while i < words.len() {
            let replica = is_port(i + 1) && (has_id(i + 2) || id.is_none() && !is_slot(i));
            if is_slot(i) && is_slot(i + 1) && !replica {
                break;
            }
            i += match (replica, has_id(i + 2)) {
                (true, true) => 3,
                (true, false) => 2,
                (false, _) => 1,
            };
        }
    }
    gather.finish(true)
}

/// ```text
///   slots first last ...  nodes  id .. port .. role master ..  id ..   [id of the shard]   slots ...
/// ```
fn flat_shards(words: &[&str], asked: Option<&str>) -> Result<Topology, String> {
    #[derive(Default)]
    struct Member<'a> {
        id: Option<&'a str>,
        host: &'a str,
        ip: &'a str,
        port: Option<u16>,
        tls_port: Option<u16>,
        master: bool,
        failed: bool,
    }
    fn end(
        slots: &mut Vec<(u16, u16)>,
        members: &mut Vec<Member<'_>>,
        asked: Option<&str>,
        gather: &mut Gather,
    ) -> Result<(), String> {
        let (slots, members) = (std::mem::take(slots), std::mem::take(members));
        let Some(&(first, last)) = slots.first() else {
            return Ok(());
        };
        let Some(m) = members.iter().find(|m| m.master && !m.failed) else {
            return Err(format!("slots {first}-{last} have no master that is well"));
        };
        let host = match m.host {
            "" | "?" => m.ip,
            host => host,
        };
        let node = gather.node(m.id, placed(host, m.port.or(m.tls_port), asked))?;
        for (first, last) in slots {
            gather.give(first, last, node)?;
        }
        Ok(())
    }
    let mut gather = Gather::new();
    let (mut slots, mut members): (Vec<(u16, u16)>, Vec<Member<'_>>) = Default::default();
    let mut rest = words.iter().copied().peekable();
    while let Some(key) = rest.next() {
        match key {
            "" | "nodes" => {}
            "slots" => {
                end(&mut slots, &mut members, asked, &mut gather)?;
                while let Some(first) = rest.peek().copied().and_then(slot) {
                    rest.next();
                    let Some(last) = rest.next().and_then(slot) else {
                        return Err(format!("slot {first} begins a range that has no end"));
                    };
                    if slots.len() >= MOST {
                        return Err("more ranges than there are slots".to_owned());
                    }
                    slots.push((first, last));
                }
            }
            key => {
                let Some(value) = rest.next() else {
                    return Err(format!("{} without a value", quote(key.as_bytes())));
                };
                if key == "id" {
                    members.push(Member {
                        id: Some(value).filter(|v| is_id(v)),
                        ..Member::default()
                    });
                }
                let Some(m) = members.last_mut() else {
                    continue;
                };
                match key {
                    "port" => m.port = value.parse().ok(),
                    "tls-port" => m.tls_port = value.parse().ok(),
                    "ip" => m.ip = value,
                    "endpoint" => m.host = value,
                    "role" => m.master = value == "master",
                    "health" => m.failed = value == "failed" || value == "fail",
                    _ => {}
                }
            }
        }
    }
    end(&mut slots, &mut members, asked, &mut gather)?;
    gather.finish(true)
}
