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
//!                    the list alone will do, and so will its "slots" alone: ["0-5460", "5461-16383"]
//! ```
//!
//! What the CLIs print is read without regard to how it is nested: what comes after what is enough. A slot that is on its way from
//! one node to another is an error, and so is one that has no node or two, or one that has failed.
//!
//! Source: what Redis 3.2 to 8.6 and Valkey 8.1 and 9 answer and write, and the spelling of 3.0 to 9.1 in their documentation.

use super::{Gather, MOST, Topology};
use crate::cluster::slot::SLOTS;
use crate::error::{ErrorKind, RdbError, Result, quote};
use crate::resp::Reply;
use crate::resp::read::End;
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
    let words = first.unwrap_or_default().split(' ').count();
    match first {
        Some(line) if words > 4 && is_id(line.split(' ').next().unwrap_or_default()) => {
            nodes(text, asked)
        }
        Some(line) if line == "slots" || line.starts_with(['1', '0']) || is_number(line) => {
            let words = printed(text)?;
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            flat(&words, asked).map_err(|what| RdbError::corrupt(0, what))
        }
        other => {
            let found = match other {
                Some(line) => quote(line.as_bytes()),
                None => "nothing".to_owned(),
            };
            let what = format!(
                "{found} where nodes.conf, an answer to CLUSTER NODES, SLOTS or SHARDS, or JSON is expected"
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
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
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
    gather.finish(true).map_err(|what| RdbError::corrupt(0, what))
}

fn node(line: &str, asked: Option<&str>, gather: &mut Gather) -> Result<(), String> {
    let mut words = line.split(' ');
    let id = match words.next().unwrap_or_default() {
        "" | "vars" => return Ok(()),
        id if is_id(id) => id,
        other => return Err(format!("{} where a node's id is expected", quote(other.as_bytes()))),
    };
    let mut word = |what: &str| match words.next() {
        Some(word) if !word.is_empty() => Ok(word),
        _ => Err(format!("node {id}: the line ends where {what} expected")),
    };
    let place = word("an address is")?;
    let flags: Vec<&str> = word("flags are")?.split(',').collect();
    for what in ["a master is", "a time is", "a time is", "an epoch is", "a link's state is"] {
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
                return Err(format!("node {id} {why}, and slots {first}-{last} are its own"));
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
    let start = bytes.get(usize::try_from(at).unwrap_or(0)..).unwrap_or_default();
    let end = End::default().find(start, at)?;
    let Some(reply) = Reply::read(start, at)?.filter(|_| end.is_some()) else {
        let what = format!("the reply that begins at byte {at} ends before it is whole");
        return Err(RdbError::eof(bytes.len() as u64, what));
    };
    match &reply {
        Reply::Bulk(text) => match std::str::from_utf8(text) {
            Ok(text) => nodes(text, asked),
            Err(_) => Err(RdbError::corrupt(at, "an answer to CLUSTER NODES that is no text")),
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

// ---- what CLIs print -------------------------------------------------------------------------------------------------

/// The words in what a CLI printed, a line each: without the numbers before elements, and without quotes.
fn printed(text: &str) -> Result<Vec<String>> {
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
fn flat(words: &[&str], asked: Option<&str>) -> Result<Topology, String> {
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
            return Err(format!("{found} where the first and last slot of a range are expected"));
        };
        i += 2;
        let (Some(host), true) = (word(i), is_port(i + 1)) else {
            return Err(format!("slots {first}-{last}: no host and port behind them"));
        };
        let port = word(i + 1).and_then(|w| w.parse().ok());
        i += 2;
        let id = word(i).filter(|w| is_id(w));
        if id.is_none() && placed(host, port, asked).is_none() {
            return Err(format!("slots {first}-{last}: neither a host nor an id of their node"));
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

// ---- JSON ------------------------------------------------------------------------------------------------------------

fn json(text: &[u8], at: u64, asked: Option<&str>) -> Result<Topology> {
    let value: Value = serde_json::from_slice(text).map_err(|e| {
        RdbError::corrupt(at, format!("JSON that cannot be read: {e}"))
    })?;
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
    let place = match text("address")? {
        Some(text) => {
            let bad = || format!("{} is no HOST:PORT", quote(text.as_bytes()));
            Some(address(text).filter(|(host, _)| !host.is_empty()).ok_or_else(bad)?)
        }
        None => None,
    };
    let id = text("id")?;
    if let Some(id) = id.filter(|id| !is_id(id)) {
        return Err(format!("{} is no id of 40 digits in hex", quote(id.as_bytes())));
    }
    let number = match (id, place) {
        (None, None) => gather.add(super::Node::default())?,
        _ => gather.node(id, place)?,
    };
    for word in slots.split(',').map(str::trim) {
        let bad = || format!("{} is no slot, and no range of them", quote(word.as_bytes()));
        let (first, last) = range(word).ok_or_else(bad)?;
        gather.give(first, last, number)?;
    }
    Ok(())
}

/// The error of a server's answer that is no topology.
pub fn unreadable(command: &str, reply: &Reply) -> RdbError {
    RdbError::other(ErrorKind::Server, format!("{command}: the server says {reply}"))
}

#[cfg(test)]
mod tests;
