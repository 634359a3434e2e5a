//! What a server says of its keys, in the shape of the lines of `rdbtool decode`.
//!
//! Made from the answers to ordinary commands, never from a file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::fill::has_field_expiry;
use super::resp::{Client, Reply, cmd};
use super::server::Server;

/// A byte string as JSON.
pub(crate) fn s(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({"base64": base64(bytes)}),
    }
}

/// Plain base64, by the book, since the tool's own is what is being tested.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0usize, |n, i| {
            n << 8 | usize::from(*three.get(i).unwrap_or(&0))
        });
        for i in 0..4 {
            out.push(if i <= three.len() {
                char::from(DIGITS[bits >> (18 - 6 * i) & 63])
            } else {
                '='
            });
        }
    }
    out
}

/// A score as something that is equal exactly when the doubles are the same bits.
fn score(x: f64) -> Value {
    json!(format!("{x:?} = {:016x}", x.to_bits()))
}

/// Puts what has no order into one: sets and sorted sets by member, fields by name. A hash becomes an array of
/// fields in either of its two shapes, a score the bits of its double, and the producers of a stream their number.
pub(crate) fn normal(mut line: Value) -> Value {
    let kind = line["type"].as_str().unwrap_or_default().to_owned();
    let value = &mut line["value"];
    match (kind.as_str(), &mut *value) {
        ("set", Value::Array(members)) => members.sort_by_key(Value::to_string),
        ("zset", Value::Array(members)) => {
            for m in members.iter_mut() {
                let x = match &m["score"] {
                    Value::String(s) if s == "inf" => f64::INFINITY,
                    Value::String(s) if s == "-inf" => f64::NEG_INFINITY,
                    Value::Number(n) => n.as_f64().unwrap(),
                    _ => continue, // stays, and is seen to be different
                };
                m["score"] = score(x);
            }
            members.sort_by_key(Value::to_string);
        }
        ("hash", Value::Object(fields)) => {
            let fields = std::mem::take(fields).into_iter();
            let mut fields: Vec<_> = fields
                .map(|(k, v)| json!({"field": unhidden(&k), "value": v}))
                .collect();
            fields.sort_by_key(Value::to_string);
            *value = Value::Array(fields);
        }
        ("hash", Value::Array(fields)) => fields.sort_by_key(Value::to_string),
        ("stream", Value::Object(stream)) => {
            if let Some(idmp) = stream.get_mut("idmp") {
                let producers = idmp["producers"].as_array().cloned().unwrap_or_default();
                let iids: usize = producers
                    .iter()
                    .map(|p| p["iids"].as_array().unwrap().len())
                    .sum();
                idmp["producers"] = json!(producers.len());
                idmp["iids"] = json!(iids);
            }
        }
        _ => {}
    }
    line
}

/// A field name out of the key of a JSON object, where base64 has a mark of its own.
fn unhidden(name: &str) -> Value {
    match name.strip_prefix("base64:") {
        None => json!(name),
        Some(digits) => {
            let bytes = unbase64(digits);
            assert!(
                std::str::from_utf8(&bytes).is_err() || bytes.starts_with(b"base64:"),
                "a field name that needs no base64: {name}"
            );
            s(&bytes)
        }
    }
}

pub(crate) fn unbase64(digits: &str) -> Vec<u8> {
    let decoded = base64_simd::STANDARD.decode_to_vec(digits).expect("base64");
    assert_eq!(base64(&decoded), digits);
    decoded
}

/// What the server says of one key, in `normal` form.
pub(crate) fn told(
    server: &Server,
    c: &mut Client,
    db: u64,
    key: &[u8],
    expire_at_ms: Option<u64>,
) -> Value {
    let kind = cmd!(c, "TYPE", key).text();
    let value = match kind.as_str() {
        "string" => s(&cmd!(c, "GET", key).bytes()),
        "list" => cmd!(c, "LRANGE", key, "0", "-1")
            .strings()
            .iter()
            .map(|e| s(e))
            .collect(),
        "set" => cmd!(c, "SMEMBERS", key)
            .strings()
            .iter()
            .map(|e| s(e))
            .collect(),
        "zset" => cmd!(c, "ZRANGE", key, "0", "-1", "WITHSCORES")
            .pairs()
            .iter()
            .map(|(m, x)| {
                let x: f64 = std::str::from_utf8(x).unwrap().parse().unwrap();
                json!({"member": s(m), "score": score(x)})
            })
            .collect(),
        "hash" => hash_told(server, c, key),
        "stream" if server.version >= (6, 0) => {
            stream_told(&cmd!(c, "XINFO", "STREAM", key, "FULL", "COUNT", "0"))
        }
        "stream" => stream_told_5(c, key),
        other => panic!("a key of type {other}"),
    };
    let mut line = json!({"db": db, "key": s(key), "type": kind});
    if let Some(at) = expire_at_ms {
        line["expire_at_ms"] = json!(at);
    }
    line["value"] = value;
    if ["set", "zset", "hash"].contains(&kind.as_str()) {
        line["value"]
            .as_array_mut()
            .unwrap()
            .sort_by_key(Value::to_string);
    }
    line
}

fn hash_told(server: &Server, c: &mut Client, key: &[u8]) -> Value {
    let fields = cmd!(c, "HGETALL", key).pairs();
    let mut expiries = vec![-1; fields.len()];
    if has_field_expiry(server) {
        let count = fields.len().to_string();
        let mut ask: Vec<&[u8]> = vec![b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()];
        ask.extend(fields.iter().map(|(f, _)| &f[..]));
        expiries = c.must(&ask).array().into_iter().map(Reply::int).collect();
    }
    let field = |((f, v), at): (&(Vec<u8>, Vec<u8>), i64)| match at {
        -1 => json!({"field": s(f), "value": s(v)}),
        at => json!({"field": s(f), "value": s(v), "expire_at_ms": at}),
    };
    fields.iter().zip(expiries).map(field).collect()
}

/// An entry of a stream: `[id, [field, value, ...]]`.
fn entry_told(entry: &Reply) -> Value {
    let [id, fields] = <[Reply; 2]>::try_from(entry.clone().array()).unwrap();
    let fields: Vec<_> = fields
        .pairs()
        .iter()
        .map(|(f, v)| json!([s(f), s(v)]))
        .collect();
    json!({"id": id.text(), "fields": fields})
}

fn stream_told(full: &Reply) -> Value {
    let mut stream = json!({
        "length": full.field("length").int(),
        "last_id": full.field("last-generated-id").text(),
    });
    for (name, theirs) in [
        ("first_id", "recorded-first-entry-id"),
        ("max_deleted_id", "max-deleted-entry-id"),
    ] {
        if let Some(id) = full.get(theirs) {
            stream[name] = json!(id.text());
        }
    }
    if let Some(n) = full.get("entries-added") {
        stream["entries_added"] = json!(n.int());
    }
    stream["entries"] = full
        .field("entries")
        .array()
        .iter()
        .map(entry_told)
        .collect();
    let group = |g: &Reply| {
        let mut group = json!({"name": s(&g.field("name").bytes()), "last_id": g.field("last-delivered-id").text()});
        match g.get("entries-read") {
            None => {}
            Some(Reply::Nil) => group["entries_read"] = Value::Null,
            Some(n) => group["entries_read"] = json!(n.int()),
        }
        let pending = |p: &Reply| {
            let [id, consumer, at, times] = <[Reply; 4]>::try_from(p.clone().array()).unwrap();
            json!({"id": id.text(), "consumer": s(&consumer.bytes()), "delivered_at_ms": at.int(), "deliveries": times.int()})
        };
        group["pending"] = g.field("pending").array().iter().map(pending).collect();
        let consumer = |c: &Reply| {
            let mut consumer = json!({"name": s(&c.field("name").bytes()), "seen_at_ms": c.field("seen-time").int()});
            if let Some(at) = c.get("active-time") {
                consumer["active_at_ms"] = json!(at.int());
            }
            let id = |p: &Reply| json!(p.clone().array().remove(0).text());
            consumer["pending"] = c.field("pending").array().iter().map(id).collect();
            consumer
        };
        group["consumers"] = g.field("consumers").array().iter().map(consumer).collect();
        group
    };
    stream["groups"] = full.field("groups").array().iter().map(group).collect();
    if let Some(duration) = full.get("idmp-duration") {
        stream["idmp"] = json!({
            "duration_s": duration.int(),
            "max_entries": full.field("idmp-maxsize").int(),
            "producers": full.field("pids-tracked").int(),
            "iids_added": full.field("iids-added").int(),
            "iids_duplicates": full.field("iids-duplicates").int(),
            "iids": full.field("iids-tracked").int(),
        });
    }
    stream
}

/// Redis 5 has no FULL, and tells times only as time passed since; those are left out, see `without_times`.
fn stream_told_5(c: &mut Client, key: &[u8]) -> Value {
    let info = cmd!(c, "XINFO", "STREAM", key);
    let entries: Vec<_> = cmd!(c, "XRANGE", key, "-", "+")
        .array()
        .iter()
        .map(entry_told)
        .collect();
    let mut groups = Vec::new();
    for g in cmd!(c, "XINFO", "GROUPS", key).array() {
        let name = g.field("name").bytes();
        let mut pending = Vec::new();
        let mut by_consumer: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
        for p in cmd!(c, "XPENDING", key, name, "-", "+", "1000000").array() {
            let [id, consumer, _, times] = <[Reply; 4]>::try_from(p.array()).unwrap();
            let (id, consumer) = (id.text(), consumer.bytes());
            by_consumer
                .entry(consumer.clone())
                .or_default()
                .push(id.clone());
            pending.push(json!({"id": id, "consumer": s(&consumer), "deliveries": times.int()}));
        }
        let consumer = |c: Reply| {
            let name = c.field("name").bytes();
            let pending = by_consumer.get(&name).cloned().unwrap_or_default();
            json!({"name": s(&name), "pending": pending})
        };
        let consumers: Vec<_> = cmd!(c, "XINFO", "CONSUMERS", key, name)
            .array()
            .into_iter()
            .map(consumer)
            .collect();
        let last = g.field("last-delivered-id").text();
        groups.push(
            json!({"name": s(&name), "last_id": last, "pending": pending, "consumers": consumers}),
        );
    }
    json!({
        "length": info.field("length").int(),
        "last_id": info.field("last-generated-id").text(),
        "entries": entries,
        "groups": groups,
    })
}

/// Takes the times out of a stream's groups, each of which must lie within the last hour.
pub(crate) fn without_times(mut line: Value) -> Value {
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_millis() as u64;
    for group in line["value"]["groups"].as_array_mut().into_iter().flatten() {
        for (list, time) in [("pending", "delivered_at_ms"), ("consumers", "seen_at_ms")] {
            for one in group[list].as_array_mut().into_iter().flatten() {
                let at = one.as_object_mut().unwrap().shift_remove(time);
                let at = at
                    .as_ref()
                    .and_then(Value::as_u64)
                    .unwrap_or_else(|| panic!("no {time} in {one}"));
                assert!(
                    at <= now + 1000 && at > now - 3_600_000,
                    "{time} {at}, and now it is {now}"
                );
            }
        }
    }
    line
}

/// All keys of the selected database.
pub(crate) fn keys(c: &mut Client) -> BTreeSet<Vec<u8>> {
    let mut keys = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let mut answer = cmd!(c, "SCAN", cursor, "COUNT", "1000").array();
        keys.extend(answer.remove(1).strings());
        cursor = answer.remove(0).text();
        if cursor == "0" {
            return keys;
        }
    }
}

/// The databases that have keys.
pub(crate) fn databases(c: &mut Client) -> Vec<u64> {
    let info = cmd!(c, "INFO", "keyspace").text();
    let number = |l: &str| l.strip_prefix("db")?.split(':').next()?.parse().ok();
    info.lines().filter_map(number).collect()
}
