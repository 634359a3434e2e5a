//! Topologies as servers and their CLIs tell them.
//!
//! ```text
//!   nodes.conf, CLUSTER NODES, a line a node:
//!     <id> <host>:<port>@<bus>,<hostname>,<k=v> <flags> <master> <ping> <pong> <epoch> <link> 0-5460 [7-<-<id>] [8->-<id>]
//!     vars currentEpoch 3 lastVoteEpoch 0                                   nodes.conf only
//!
//!   CLUSTER SLOTS    [[first, last, [host, port, id, [k, v ...]], replica ...] ...]
//!   CLUSTER SHARDS   [["slots", [first, last ...], "nodes", [["id", .., "port", .., "role", ..] ...]] ...]
//!     each as RESP, as redis-cli prints it to a file (a line each, no brackets), to a terminal (1) 1) (integer) 0), or with --json
//!
//!   ours             {"nodes": [{"slots": "0-5460,7000", "address": "10.0.0.1:7000", "id": ".."}, ...]}
//!                    the list alone will do, and so will its "slots" alone: ["0-5460", "5461-16383"]; or the same as TOML, see `tables`
//! ```
//!
//! What the CLIs print is read without regard to how it is nested: what comes after what is enough. A slot that is on its way from
//! one node to another is an error, and so is one that has no node or two, or one that has failed.
//!
//! Source: what Redis 3.2 to 8.6 and Valkey 8.1 and 9 answer and write, and the spelling of 3.0 to 9.1 in their documentation.

mod printed;
mod tables;

use super::{Gather, Topology};
use crate::cluster::slot::SLOTS;
use crate::error::{ErrorKind, RdbError, Result, quote};
use crate::resp::Reply;
use crate::resp::read::End;
use printed::{flat, words};
use serde_json::Value;

/// The largest text that is read: some hundred bytes for each slot.
pub const LARGEST: usize = 16 << 20;

/// Reads a topology of any of the forms, which are told apart by their first bytes. A node without a host is at `asked`, if that is known:
/// a server that has never met another does not know its own address.
///
/// ```
/// use rdbtool::cluster::topology::read::topology;
/// let t = topology(br#"["0-8191", "8192-16383"]"#, None)?;
/// assert_eq!((t.nodes().len(), t.owner(8192)), (2, 1));
/// # Ok::<(), rdbtool::RdbError>(())
/// ```
pub fn topology(bytes: &[u8], asked: Option<&str>) -> Result<Topology> {
    if bytes.len() > LARGEST {
        let what = format!("a topology of more than {LARGEST} bytes");
        return Err(RdbError::limit(LARGEST as u64, what));
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = text.trim_ascii();
    let at = (text.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize) as u64;
    if let Ok(text) = std::str::from_utf8(text)
        && tables::is_toml(text)
    {
        return tables::topology(text, at, bytes);
    }
    match text {
        [b'*' | b'$', ..] => return resp(bytes, at, asked),
        [b'[' | b'{', ..] => return json(text, at, asked),
        [b'%' | b'~' | b'=' | b'>', ..] => {
            return Err(RdbError::unsupported(
                at,
                "a reply in version 3 of the protocol: ask in version 2",
            ));
        }
        _ => {}
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| RdbError::corrupt(e.valid_up_to() as u64, "a topology that is no text"))?;
    let text = text.trim_start_matches('\u{feff}');
    let first = text.lines().map(str::trim).find(|l| !l.is_empty());
    let columns = first.unwrap_or_default().split(' ').count();
    match first {
        Some(line) if columns > 4 && is_id(line.split(' ').next().unwrap_or_default()) => {
            nodes(text, asked)
        }
        Some(line) if line == "slots" || line.starts_with(['1', '0']) || is_number(line) => {
            let all = words(text)?;
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            flat(&all, asked).map_err(|what| RdbError::corrupt(0, what))
        }
        other => {
            let found = match other {
                Some(line) => quote(line.as_bytes()),
                None => "nothing".to_owned(),
            };
            let what = format!(
                "{found} where nodes.conf, an answer to CLUSTER NODES, SLOTS or SHARDS, or JSON or TOML is expected"
            );
            Err(RdbError::corrupt(0, what))
        }
    }
}

fn is_id(word: &str) -> bool {
    word.len() == 40 && word.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
}

fn slot(word: &str) -> Option<u16> {
    let n: u16 = is_number(word).then(|| word.parse().ok())??;
    (n < SLOTS).then_some(n)
}

/// A range of slots, `5` or `0-5460`.
fn range(word: &str) -> Option<(u16, u16)> {
    match word.split_once('-') {
        Some((first, last)) => Some((slot(first)?, slot(last)?)),
        None => slot(word).map(|s| (s, s)),
    }
}

/// `host:port`, the host perhaps in brackets.
///
/// ```
/// use rdbtool::cluster::topology::read::address;
/// assert_eq!(address("[::1]:7000"), Some(("::1", 7000)));
/// assert_eq!(address("::1:7000"), Some(("::1", 7000)));
/// assert_eq!(address("host"), None);
/// ```
pub fn address(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = is_number(port).then(|| port.parse().ok())??;
    let host = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    (port > 0 && is_plain(host)).then_some((host, port))
}

/// Whether a host is fit for lists, files and scripts.
fn is_plain(host: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "-_.:%".contains(c);
    host.chars().all(plain) && !host.starts_with('-')
}

/// The place of a node whose host may be empty, `?`, or not told.
fn placed<'a>(host: &'a str, port: Option<u16>, asked: Option<&'a str>) -> Option<(&'a str, u16)> {
    let host = match host {
        "" | "?" => asked?,
        host => host.trim_matches(['[', ']']),
    };
    is_plain(host).then_some((host, port.filter(|&p| p > 0)?))
}

// ---- nodes.conf, CLUSTER NODES -----------------------------------------------------------------------------------------

fn nodes(text: &str, asked: Option<&str>) -> Result<Topology> {
    let mut gather = Gather::new();
    let mut at = 0u64;
    for (number, line) in (1u64..).zip(text.split('\n')) {
        node(line.trim(), asked, &mut gather)
            .map_err(|what| RdbError::corrupt(at, what).on_line(number))?;
        at += line.len() as u64 + 1;
    }
    gather
        .finish(true)
        .map_err(|what| RdbError::corrupt(0, what))
}

fn node(line: &str, asked: Option<&str>, gather: &mut Gather) -> Result<(), String> {
    let mut words = line.split(' ');
    let id = match words.next().unwrap_or_default() {
        "" | "vars" => return Ok(()),
        id if is_id(id) => id,
        other => {
            return Err(format!(
                "{} where a node's id is expected",
                quote(other.as_bytes())
            ));
        }
    };
    let mut word = |what: &str| match words.next() {
        Some(word) if !word.is_empty() => Ok(word),
        _ => Err(format!("node {id}: the line ends where {what} expected")),
    };
    let place = word("an address is")?;
    let flags: Vec<&str> = word("flags are")?.split(',').collect();
    for what in [
        "a master is",
        "a time is",
        "a time is",
        "an epoch is",
        "a link's state is",
    ] {
        word(what)?;
    }
    let has = |flag: &str| flags.contains(&flag);
    let place = place.split(',').next().unwrap_or_default();
    let place = place.split('@').next().unwrap_or_default();
    let place = place.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse().ok();
        placed(host, port, asked)
    });
    let mut number = None;
    for word in words.filter(|w| !w.is_empty()) {
        if let Some(open) = word.strip_prefix('[') {
            let slot = open.split("->-").next().unwrap_or_default();
            let slot = slot.split("-<-").next().unwrap_or_default();
            let way = if open.contains("-<-") { "to" } else { "from" };
            return Err(format!(
                "slot {} is on its way {way} node {id}: finish moving it first",
                quote(slot.as_bytes()).trim_matches('"')
            ));
        }
        let Some((first, last)) = range(word) else {
            let word = quote(word.as_bytes());
            return Err(format!("node {id}: {word} where slots are expected"));
        };
        for (flag, why) in [
            ("fail", "has failed"),
            ("noaddr", "has no known address"),
            ("handshake", "is not part of the cluster yet"),
        ] {
            if has(flag) {
                return Err(format!(
                    "node {id} {why}, and slots {first}-{last} are its own"
                ));
            }
        }
        let n = match number {
            Some(n) => n,
            None => gather.node(Some(id), place)?,
        };
        number = Some(n);
        gather.give(first, last, n)?;
    }
    Ok(())
}

// ---- CLUSTER SLOTS ---------------------------------------------------------------------------------------------------

/// A range of CLUSTER SLOTS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRange<'r> {
    /// The first slot.
    pub first: u16,
    /// The last slot.
    pub last: u16,
    /// The master, then its replicas: host, port, and id where the release has them. An empty host is that of whoever was asked.
    pub nodes: Vec<(&'r str, u16, Option<&'r str>)>,
}

/// The ranges of an answer to CLUSTER SLOTS, or `None` if it is something else.
pub fn slot_ranges(reply: &Reply) -> Option<Vec<SlotRange<'_>>> {
    fn number(r: &Reply) -> Option<u16> {
        u16::try_from(r.int()?).ok()
    }
    fn node(r: &Reply) -> Option<(&str, u16, Option<&str>)> {
        let [host, port, rest @ ..] = r.array()? else {
            return None;
        };
        let id = rest.first().and_then(Reply::text);
        Some((host.text().unwrap_or_default(), number(port)?, id))
    }
    fn range(r: &Reply) -> Option<SlotRange<'_>> {
        let [first, last, nodes @ ..] = r.array()? else {
            return None;
        };
        Some(SlotRange {
            first: number(first).filter(|&s| s < SLOTS)?,
            last: number(last).filter(|&s| s < SLOTS)?,
            nodes: nodes.iter().map(node).collect::<Option<_>>()?,
        })
    }
    reply.array()?.iter().map(range).collect()
}

/// Out of RESP: an answer to any of the three commands.
fn resp(bytes: &[u8], at: u64, asked: Option<&str>) -> Result<Topology> {
    let start = bytes
        .get(usize::try_from(at).unwrap_or(0)..)
        .unwrap_or_default();
    let end = End::default().find(start, at)?;
    let Some(reply) = Reply::read(start, at)?.filter(|_| end.is_some()) else {
        let what = format!("the reply that begins at byte {at} ends before it is whole");
        return Err(RdbError::eof(bytes.len() as u64, what));
    };
    match &reply {
        Reply::Bulk(text) => match std::str::from_utf8(text) {
            Ok(text) => nodes(text, asked),
            Err(_) => Err(RdbError::corrupt(
                at,
                "an answer to CLUSTER NODES that is no text",
            )),
        },
        reply => {
            let mut words = Vec::new();
            flatten(reply, &mut words);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            flat(&words, asked).map_err(|what| RdbError::corrupt(at, what))
        }
    }
}

fn flatten(reply: &Reply, words: &mut Vec<String>) {
    match reply {
        Reply::Array(all) => all.iter().for_each(|r| flatten(r, words)),
        Reply::Int(n) => words.push(n.to_string()),
        other => words.push(other.text().unwrap_or_default().to_owned()),
    }
}

// ---- JSON ------------------------------------------------------------------------------------------------------------

fn json(text: &[u8], at: u64, asked: Option<&str>) -> Result<Topology> {
    let value: Value = serde_json::from_slice(text)
        .map_err(|e| RdbError::corrupt(at, format!("JSON that cannot be read: {e}")))?;
    let wrong = |what: String| RdbError::corrupt(at, what);
    let list = match &value {
        Value::Array(list) => list,
        Value::Object(o) => match o.get("nodes") {
            Some(Value::Array(list)) => list,
            _ => return Err(wrong("a JSON object without an array \"nodes\"".to_owned())),
        },
        _ => return Err(wrong("neither an array nor an object".to_owned())),
    };
    // Of a CLI: arrays that begin with a number, or objects that have nodes.
    let is_reply = |v: &Value| v.is_array() || v.get("nodes").is_some();
    if value.is_array() && list.iter().any(is_reply) {
        let mut words = Vec::new();
        json_words(&value, &mut words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        return flat(&words, asked).map_err(wrong);
    }
    let mut gather = Gather::new();
    for (i, node) in list.iter().enumerate() {
        planned(node, &mut gather).map_err(|what| wrong(format!("node {}: {what}", i + 1)))?;
    }
    gather.finish(false).map_err(wrong)
}

fn json_words(value: &Value, words: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|v| json_words(v, words)),
        Value::Object(all) => {
            for (name, v) in all {
                words.push(name.clone());
                json_words(v, words);
            }
        }
        Value::String(s) => words.push(s.clone()),
        Value::Null => words.push(String::new()),
        other => words.push(other.to_string()),
    }
}

/// A node of a topology that somebody wrote down.
fn planned(node: &Value, gather: &mut Gather) -> Result<(), String> {
    let text = |name: &str| match node.get(name) {
        None => Ok(None),
        Some(Value::String(s)) => Ok(Some(s.as_str())),
        Some(_) => Err(format!("{name:?} is no string")),
    };
    let slots = match node {
        Value::String(slots) => slots.as_str(),
        _ => text("slots")?.ok_or("no \"slots\", a string such as \"0-5460,7000\"")?,
    };
    let place = text("address")?.map(place_of).transpose()?;
    let id = text("id")?.map(id_of).transpose()?;
    let number = number_of(id, place, gather)?;
    give_all(slots, number, gather)
}

/// The address of a node in a plan.
fn place_of(text: &str) -> Result<(&str, u16), String> {
    let place = address(text).filter(|(host, _)| !host.is_empty());
    place.ok_or_else(|| format!("{} is no HOST:PORT", quote(text.as_bytes())))
}

/// Its id.
fn id_of(id: &str) -> Result<&str, String> {
    match is_id(id) {
        true => Ok(id),
        false => Err(format!(
            "{} is no id of 40 digits in hex",
            quote(id.as_bytes())
        )),
    }
}

/// Its number.
fn number_of(
    id: Option<&str>,
    place: Option<(&str, u16)>,
    gather: &mut Gather,
) -> Result<u16, String> {
    match (id, place) {
        (None, None) => gather.add(super::Node::default()),
        _ => gather.node(id, place),
    }
}

/// Gives it the slots that a text names.
fn give_all(slots: &str, number: u16, gather: &mut Gather) -> Result<(), String> {
    for word in slots.split(',').map(str::trim) {
        let bad = || {
            format!(
                "{} is no slot, and no range of them",
                quote(word.as_bytes())
            )
        };
        let (first, last) = range(word).ok_or_else(bad)?;
        gather.give(first, last, number)?;
    }
    Ok(())
}

/// The error of a server's answer that is no topology.
pub fn unreadable(command: &str, reply: &Reply) -> RdbError {
    RdbError::other(
        ErrorKind::Server,
        format!("{command}: the server says {reply}"),
    )
}

#[cfg(test)]
mod tests;
