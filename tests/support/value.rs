//! One form for a value, whichever side told it, and the first place where two of them differ.
//!
//! Where the order has no meaning there is a map by name, where it has there is a sequence; scores are bits of a double, so
//! that the sign of zero counts.

use std::collections::BTreeMap;

use super::json::Json;
use super::line::{Key, bytes, name};

/// A value, comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Not known, or not there although it could be.
    Nothing,
    /// A whole number.
    Int(i128),
    /// A double, as its bits.
    Double(u64),
    /// A byte string.
    Bytes(Vec<u8>),
    /// Things in order.
    Seq(Vec<Value>),
    /// Things by name.
    Map(BTreeMap<Vec<u8>, Value>),
}

use Value::{Bytes, Double, Int, Map, Nothing, Seq};

/// Adds to a map; a name that is there already is an error.
fn add(to: &mut BTreeMap<Vec<u8>, Value>, name: Vec<u8>, value: Value) -> Result<(), String> {
    let shown = show(&name);
    match to.insert(name, value) {
        None => Ok(()),
        Some(_) => Err(format!("{shown} comes twice")),
    }
}

fn map<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let there = members.into_iter().filter_map(|(n, v)| Some((n, v?)));
    Map(there.map(|(n, v)| (n.as_bytes().to_vec(), v)).collect())
}

fn seq(of: &Json, each: impl Fn(&Json) -> Result<Value, String>) -> Result<Value, String> {
    of.elements()?
        .iter()
        .map(each)
        .collect::<Result<_, _>>()
        .map(Seq)
}

/// A stream id as the bytes it is written with; the form is checked, so that equal ids have equal bytes.
fn id(of: &Json) -> Result<Vec<u8>, String> {
    let text = of.str()?;
    let wrong = || format!("not a stream id: {text:?}");
    let (ms, seq) = text.split_once('-').ok_or_else(wrong)?;
    let number = |t: &str| t.parse::<u64>().map_err(|_| wrong());
    let canonical = format!("{}-{}", number(ms)?, number(seq)?);
    if canonical == text {
        Ok(canonical.into_bytes())
    } else {
        Err(wrong())
    }
}

fn id_value(of: &Json) -> Result<Value, String> {
    id(of).map(Bytes)
}

fn int(of: &Json) -> Result<Value, String> {
    of.int().map(Int)
}

/// A double from text: a JSON number, or one of the words for those JSON has no numbers for.
fn double(text: &str) -> Result<Value, String> {
    match text {
        "inf" => Ok(Double(f64::INFINITY.to_bits())),
        "-inf" => Ok(Double(f64::NEG_INFINITY.to_bits())),
        "nan" | "-nan" => Ok(Double(f64::NAN.to_bits())),
        _ => match text.parse::<f64>() {
            Ok(x) if x.is_finite() => Ok(Double(x.to_bits())),
            _ => Err(format!("not a double: {text:?}")),
        },
    }
}

// ---- as decode writes it ----------------------------------------------------------------------------------------------

/// Types whose fields may carry expiries of their own; their hashes are arrays.
const HASH_TYPES_WITH_EXPIRIES: std::ops::RangeInclusive<i128> = 22..=25;

/// The layout version of a stream by the number of its type.
fn stream_version(rdb_type: i128) -> Option<u8> {
    match rdb_type {
        15 => Some(1),
        19 => Some(2),
        21 => Some(3),
        26 => Some(4),
        27 => Some(5),
        _ => None,
    }
}

/// What a line of `decode --meta` says the value is. What the design promises of the shape is checked on the way.
pub fn found(key: &Key) -> Result<Value, String> {
    let rdb_type = key.rdb_type().ok_or("meta has no rdb_type")?;
    let v = &key.value;
    match key.kind.as_str() {
        "string" => bytes(v).map(Bytes),
        "list" => seq(v, |e| bytes(e).map(Bytes)),
        "set" => {
            let mut members = BTreeMap::new();
            for e in v.elements()? {
                add(&mut members, bytes(e)?, Nothing)?;
            }
            Ok(Map(members))
        }
        "zset" => {
            let mut members = BTreeMap::new();
            for e in v.elements()? {
                let [member, score] = e.shape(["member", "score"])?;
                let member = bytes(member.ok_or("no member")?)?;
                let score = match score.ok_or("no score")? {
                    Json::Num(n) => double(n)?,
                    Json::Str(word) if matches!(word.as_str(), "inf" | "-inf" | "nan") => {
                        double(word)?
                    }
                    other => return Err(format!("not a score: {}", other.short())),
                };
                add(&mut members, member, score)?;
            }
            Ok(Map(members))
        }
        "hash" => {
            let array = matches!(v, Json::Arr(_));
            if array != HASH_TYPES_WITH_EXPIRIES.contains(&rdb_type) {
                let short = v.short();
                return Err(format!(
                    "the wrong shape for a hash of type {rdb_type}: {short}"
                ));
            }
            let mut fields = BTreeMap::new();
            if let Json::Obj(members) = v {
                for (field, value) in members {
                    let value = Seq(vec![Bytes(bytes(value)?), Nothing]);
                    add(&mut fields, name(field)?, value)?;
                }
            } else {
                for e in v.elements()? {
                    let [field, value, at] = e.shape(["field", "value", "expire_at_ms?"])?;
                    let at = at.map_or(Ok(Nothing), int)?;
                    let value = Seq(vec![Bytes(bytes(value.ok_or("no value")?)?), at]);
                    add(&mut fields, bytes(field.ok_or("no field")?)?, value)?;
                }
            }
            Ok(Map(fields))
        }
        "stream" => {
            let wrong = || format!("type {rdb_type} is no stream");
            stream(v, stream_version(rdb_type).ok_or_else(wrong)?)
        }
        "module" => {
            let [name, version, value] = [v.need("module")?, v.need("version")?, v.need("value")?];
            version.int()?;
            if !matches!(value, Json::Obj(_)) {
                return Err(format!("not the value of a module: {}", value.short()));
            }
            Ok(Bytes(name.str()?.as_bytes().to_vec()))
        }
        other => Err(format!("unknown type {other:?}")),
    }
}

fn stream(v: &Json, version: u8) -> Result<Value, String> {
    let names: [&str; 8] = match version {
        1 => ["length", "last_id", "-", "-", "-", "entries", "groups", "-"],
        2 | 3 => [
            "length",
            "last_id",
            "first_id",
            "max_deleted_id",
            "entries_added",
            "entries",
            "groups",
            "-",
        ],
        _ => [
            "length",
            "last_id",
            "first_id",
            "max_deleted_id",
            "entries_added",
            "entries",
            "groups",
            "idmp",
        ],
    };
    let [length, last, first, deleted, added, entries, groups, idmp] = v.shape(absent(names))?;
    if let Some(idmp) = idmp {
        // No server tells these, so only the shape is checked here; tests/vectors.rs has the numbers.
        idmp.shape([
            "duration_s",
            "max_entries",
            "producers",
            "iids_added",
            "iids_duplicates",
        ])?;
    }
    let entries = seq(entries.ok_or("no entries")?, |e| {
        let [at, fields] = e.shape(["id", "fields"])?;
        let fields = seq(fields.ok_or("no fields")?, |f| match f.elements()? {
            [field, value] => Ok(Seq(vec![Bytes(bytes(field)?), Bytes(bytes(value)?)])),
            _ => Err(format!("not a pair: {}", f.short())),
        })?;
        Ok(Seq(vec![id_value(at.ok_or("no id")?)?, fields]))
    })?;
    let mut by_name = BTreeMap::new();
    for g in groups.ok_or("no groups")?.elements()? {
        let (name, group) = group(g, version)?;
        add(&mut by_name, name, group)?;
    }
    Ok(map([
        ("length", Some(int(length.ok_or("no length")?)?)),
        ("last_id", Some(id_value(last.ok_or("no last_id")?)?)),
        ("first_id", first.map(id_value).transpose()?),
        ("max_deleted_id", deleted.map(id_value).transpose()?),
        ("entries_added", added.map(int).transpose()?),
        ("entries", Some(entries)),
        ("groups", Some(Map(by_name))),
    ]))
}

/// `-` stands for a member that may not be there: a name that no JSON of ours has, marked as one that may be missing.
fn absent<const N: usize>(names: [&'static str; N]) -> [&'static str; N] {
    names.map(|n| if n == "-" { "\0?" } else { n })
}

fn group(g: &Json, version: u8) -> Result<(Vec<u8>, Value), String> {
    let read = if version >= 2 { "entries_read" } else { "-" };
    let nacked = if version >= 5 { "nacked" } else { "-" };
    let names = ["name", "last_id", read, "pending", "consumers", nacked];
    let [name, last, read, pending, consumers, _] = g.shape(absent(names))?;
    let mut by_id = BTreeMap::new();
    for p in pending.ok_or("no pending")?.elements()? {
        let owner = if version >= 5 {
            "consumer?"
        } else {
            "consumer"
        };
        let [at, consumer, time, count] =
            p.shape(["id", owner, "delivered_at_ms", "deliveries"])?;
        let entry = Seq(vec![
            consumer.map_or(Ok(Nothing), |c| bytes(c).map(Bytes))?,
            int(time.ok_or("no time")?)?,
            int(count.ok_or("no count")?)?,
        ]);
        add(&mut by_id, id(at.ok_or("no id")?)?, entry)?;
    }
    let mut by_name = BTreeMap::new();
    for c in consumers.ok_or("no consumers")?.elements()? {
        let active = if version >= 3 { "active_at_ms" } else { "-" };
        let names = absent(["name", "seen_at_ms", active, "pending"]);
        let [name, seen, active, pending] = c.shape(names)?;
        let consumer = map([
            ("seen", Some(int(seen.ok_or("no seen_at_ms")?)?)),
            ("active", active.map(ever).transpose()?),
            ("pending", Some(ids(pending.ok_or("no pending")?)?)),
        ]);
        add(&mut by_name, bytes(name.ok_or("no name")?)?, consumer)?;
    }
    let group = map([
        ("last_id", Some(id_value(last.ok_or("no last_id")?)?)),
        ("entries_read", read.map(known).transpose()?),
        ("pending", Some(Map(by_id))),
        ("consumers", Some(Map(by_name))),
    ]);
    Ok((bytes(name.ok_or("no name")?)?, group))
}

/// A number, or `null` where it is not known (the file has -1 there).
fn known(of: &Json) -> Result<Value, String> {
    match of {
        Json::Null => Ok(Nothing),
        n => int(n),
    }
}

/// The time a consumer was active: -1, as in the file, for one that never was. (A server says `null`.)
fn ever(of: &Json) -> Result<Value, String> {
    match int(of)? {
        Int(-1) => Ok(Nothing),
        at => Ok(at),
    }
}

/// Ids whose order has no meaning.
fn ids(of: &Json) -> Result<Value, String> {
    let mut all = BTreeMap::new();
    for e in of.elements()? {
        add(&mut all, id(e)?, Nothing)?;
    }
    Ok(Map(all))
}

// ---- as the server told it --------------------------------------------------------------------------------------------

/// What a line of truth says the value is.
pub fn expected(line: &Json) -> Result<Value, String> {
    let v = line.need("value")?;
    let b64 = |e: &Json| e.base64().map(Bytes);
    match line.need("type")?.str()? {
        "string" => b64(v),
        "list" => seq(v, b64),
        "set" => {
            let mut members = BTreeMap::new();
            for e in v.elements()? {
                add(&mut members, e.base64()?, Nothing)?;
            }
            Ok(Map(members))
        }
        "zset" => {
            let mut members = BTreeMap::new();
            for e in v.elements()? {
                let [member, score] = tuple(e)?;
                add(&mut members, member.base64()?, double(score.str()?)?)?;
            }
            Ok(Map(members))
        }
        "hash" => {
            let mut fields = BTreeMap::new();
            for e in v.elements()? {
                let [field, value, at] = tuple(e)?;
                let value = Seq(vec![b64(value)?, known(at)?]);
                add(&mut fields, field.base64()?, value)?;
            }
            Ok(Map(fields))
        }
        "stream" => {
            let entries = seq(v.need("entries")?, |e| {
                let [at, fields] = tuple(e)?;
                let fields = seq(fields, |f| seq(f, b64))?;
                Ok(Seq(vec![id_value(at)?, fields]))
            })?;
            let mut groups = BTreeMap::new();
            for g in v.need("groups")?.elements()? {
                let mut pending = BTreeMap::new();
                for p in g.need("pel")?.elements()? {
                    let [at, consumer, time, count] = tuple(p)?;
                    let entry = Seq(vec![b64(consumer)?, int(time)?, int(count)?]);
                    add(&mut pending, id(at)?, entry)?;
                }
                let mut consumers = BTreeMap::new();
                for c in g.need("consumers")?.elements()? {
                    let consumer = map([
                        ("seen", Some(int(c.need("seen_time_ms")?)?)),
                        ("active", c.get("active_time_ms").map(known).transpose()?),
                        ("pending", Some(ids(c.need("pending")?)?)),
                    ]);
                    add(&mut consumers, c.need("name_b64")?.base64()?, consumer)?;
                }
                let group = map([
                    ("last_id", Some(id_value(g.need("last_delivered_id")?)?)),
                    (
                        "entries_read",
                        g.get("entries_read").map(known).transpose()?,
                    ),
                    ("pending", Some(Map(pending))),
                    ("consumers", Some(Map(consumers))),
                ]);
                add(&mut groups, g.need("name_b64")?.base64()?, group)?;
            }
            Ok(map([
                ("length", Some(int(v.need("length")?)?)),
                ("last_id", Some(id_value(v.need("last_id")?)?)),
                ("first_id", v.get("first_id").map(id_value).transpose()?),
                (
                    "max_deleted_id",
                    v.get("max_deleted_id").map(id_value).transpose()?,
                ),
                (
                    "entries_added",
                    v.get("entries_added").map(int).transpose()?,
                ),
                ("entries", Some(entries)),
                ("groups", Some(Map(groups))),
            ]))
        }
        module => match module.strip_prefix("module:") {
            Some(name) => Ok(Bytes(name.as_bytes().to_vec())),
            None => Err(format!("the truth has an unknown type {module:?}")),
        },
    }
}

fn tuple<const N: usize>(of: &Json) -> Result<&[Json; N], String> {
    let elements = of.elements()?;
    let wrong = || format!("expected {N} elements: {}", of.short());
    elements.try_into().map_err(|_| wrong())
}

// ---- how they differ --------------------------------------------------------------------------------------------------

/// The first place where two values differ: where, what was expected, what was found.
pub fn differ(expected: &Value, found: &Value) -> Option<String> {
    first(expected, found, String::from("value"))
}

fn first(expected: &Value, found: &Value, at: String) -> Option<String> {
    match (expected, found) {
        (Seq(e), Seq(f)) => {
            let mut pairs = e.iter().zip(f).enumerate();
            let inner = pairs.find_map(|(i, (e, f))| first(e, f, format!("{at}[{i}]")));
            inner.or_else(|| {
                let (e, f) = (e.len(), f.len());
                (e != f).then(|| format!("{at}: expected {e} elements, found {f}"))
            })
        }
        (Map(e), Map(f)) => {
            for (name, e) in e {
                let at = format!("{at}.{}", show(name));
                match f.get(name) {
                    None => return Some(format!("{at}: missing, expected {}", text(e))),
                    Some(f) => {
                        if let Some(inner) = first(e, f, at) {
                            return Some(inner);
                        }
                    }
                }
            }
            let extra = f.iter().find(|(name, _)| !e.contains_key(*name))?;
            let name = show(extra.0);
            Some(format!(
                "{at}.{name}: not expected, found {}",
                text(extra.1)
            ))
        }
        _ if expected == found => None,
        (Bytes(e), Bytes(f)) => {
            let same = e.iter().zip(f).take_while(|(a, b)| a == b).count();
            let (e, f) = (window(e, same), window(f, same));
            Some(format!(
                "{at}: from byte {same} on: expected {e}, found {f}"
            ))
        }
        _ => Some(format!(
            "{at}: expected {}, found {}",
            text(expected),
            text(found)
        )),
    }
}

fn window(bytes: &[u8], at: usize) -> String {
    let from = at.saturating_sub(8);
    let shown = show(&bytes[from..bytes.len().min(at + 40)]);
    format!("{shown} (of {} bytes)", bytes.len())
}

fn text(value: &Value) -> String {
    match value {
        Nothing => "nothing".into(),
        Int(n) => n.to_string(),
        Double(bits) => format!("{:?}", f64::from_bits(*bits)),
        Bytes(b) => show(b),
        Seq(s) => format!("{} elements", s.len()),
        Map(m) => format!("{} members", m.len()),
    }
}

/// Bytes as text for a failure message.
pub fn show(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(60)];
    let more = if cut.len() < bytes.len() { "…" } else { "" };
    format!("\"{}{more}\"", cut.escape_ascii())
}
