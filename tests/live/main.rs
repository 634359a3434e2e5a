//! Files that real servers write at this moment, against what those servers say is in them.
//!
//! Each server is filled with values of every type it knows, out of a seeded generator, and asked for all of
//! them; its file, decoded, must say the same. The server's answers are the only truth here: what the test sent
//! is forgotten. `RDBTOOL_SEED` gives another data set; every failure names its seed.
//!
//! How to bring the servers: `tests/run`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod aof;
mod backlen;
mod chance;
mod commands;
mod fill;
mod moved;
mod net;
mod once;
mod replication;
mod resp;
mod restored;
mod resume;
mod rewritten;
mod seed;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod target;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chance::{Rng, seed};
use crate::fill::fill;
use crate::resp::{Reply, cmd};
use crate::server::{Server, installed};
use crate::told::{databases, keys, normal, s, told, unbase64, without_times};

/// Settings under which the same data takes other encodings; the old names are understood by every release.
const PLAIN: &str = "--rdbcompression no --rdbchecksum no --hash-max-ziplist-entries 4 \
    --zset-max-ziplist-entries 4 --set-max-intset-entries 4 --list-max-ziplist-size 3 --list-compress-depth 1";

/// Settings under which servers from 4.0 on keep, and write, how often a key is used. With a limit to the memory, or
/// small integers would be shared and their use counted together; with frequencies that stand still while we ask.
const LFU: &str = "--maxmemory 8gb --maxmemory-policy allkeys-lfu --lfu-decay-time 0";

fn compare_with_every_server(settings: &str, lfu: bool) {
    for installed in installed().unwrap_or_default() {
        let lfu = lfu && !installed.name.starts_with("redis-3.");
        let settings = settings
            .split_whitespace()
            .chain(LFU.split_whitespace().filter(|_| lfu));
        let server = Server::start(installed, &settings.collect::<Vec<_>>());
        let what = &server.name;
        let expiries = fill(&server, &mut Rng::new(what));
        let dump = server.save();
        let c = &mut server.client();

        let mut functions = BTreeSet::new();
        if server.since((7, 0), (0, 0)) {
            for library in cmd!(c, "FUNCTION", "LIST", "WITHCODE").array() {
                functions.insert(s(&library.field("library_code").bytes()).to_string());
            }
            assert_eq!(functions.len(), 2);
        }
        // Asked for first: reading a value counts as use of it.
        let mut frequencies = BTreeMap::new();
        if lfu {
            for db in databases(c) {
                cmd!(c, "SELECT", db.to_string());
                for key in keys(c) {
                    let freq = cmd!(c, "OBJECT", "FREQ", key).int();
                    frequencies.insert((db, key), freq);
                }
            }
        }

        let mut decoded = BTreeMap::new();
        for line in decode(&dump, &[]) {
            if let Some(code) = line.get("function") {
                assert!(decoded.is_empty(), "{what}: a function after the first key");
                assert!(
                    functions.remove(&code.to_string()),
                    "{what}: not the server's function: {code}"
                );
                continue;
            }
            let key = (
                line["db"].as_u64().expect("a database"),
                bytes(&line["key"]),
            );
            let shown = line["key"].to_string();
            assert!(decoded.insert(key, line).is_none(), "{what}: {shown} twice");
        }
        assert!(
            functions.is_empty(),
            "{what}: functions not decoded: {functions:?}"
        );

        let mut asked = 0;
        for db in databases(c) {
            cmd!(c, "SELECT", db.to_string());
            for key in keys(c) {
                asked += 1;
                let expiry = if server.since((7, 0), (0, 0)) {
                    u64::try_from(cmd!(c, "PEXPIRETIME", key).int()).ok()
                } else {
                    let given = expiries.get(&(db, key.clone())).copied();
                    assert_eq!(cmd!(c, "PTTL", key).int() > 0, given.is_some());
                    given
                };
                let mut told = told(&server, c, db, &key, expiry);
                if let Some(freq) = frequencies.get(&(db, key.clone())) {
                    told["freq"] = json!(freq);
                }
                let of = format!("{what}: {}", told["key"]);
                let line = decoded
                    .remove(&(db, key))
                    .unwrap_or_else(|| panic!("{of} is not in the output"));
                let mut line = normal(line);
                if server.version < (6, 0) && line["type"] == "stream" {
                    line = without_times(line);
                }
                assert_same(&of, &line, &told);
            }
        }
        assert!(asked > 100, "{what} has {asked} keys only");
        let more: Vec<_> = decoded.values().map(|l| l["key"].to_string()).collect();
        assert!(more.is_empty(), "{what} does not have {more:?}");
    }
}

#[test]
fn every_value_is_what_the_server_says() {
    compare_with_every_server("", false);
}

#[test]
fn every_value_in_other_encodings_too() {
    compare_with_every_server(PLAIN, true);
}

/// Keys with and without hash tags, whole and broken ones.
#[test]
fn slots_are_those_the_server_computes() {
    for installed in installed().unwrap_or_default() {
        let server = Server::start(installed, &["--cluster-enabled", "yes"]);
        let c = &mut server.client();
        let mut command = vec!["CLUSTER".to_owned(), "ADDSLOTS".to_owned()];
        command.extend((0..16384).map(|n: u32| n.to_string()));
        c.must(&command);
        let rng = &mut Rng::new("slots");
        let mut slots = BTreeMap::new();
        for i in 0..400 {
            let mut key = Vec::new();
            for _ in 0..rng.below(5) {
                key.extend(
                    rng.pick(&["{", "}", "{}", "user", "{tag}", "\u{e9}"])
                        .bytes(),
                );
            }
            key.extend(if i % 2 == 0 { rng.string() } else { Vec::new() });
            let deadline = Instant::now() + Duration::from_secs(20);
            while let Reply::Error(e) = c.call(&[b"SET", &key[..], b"1"]) {
                // Until the node notices that it has all slots.
                assert!(
                    e.starts_with("CLUSTERDOWN") && Instant::now() < deadline,
                    "{e}"
                );
                std::thread::sleep(Duration::from_millis(20));
            }
            let slot = cmd!(c, "CLUSTER", "KEYSLOT", key).int();
            slots.insert(key, slot);
        }
        let what = &server.name;
        for line in decode(&server.save(), &["--meta"]) {
            if line.get("key").is_none() {
                continue; // a line about the file
            }
            let slot = slots.remove(&bytes(&line["key"]));
            assert_eq!(
                line["meta"]["slot"].as_i64(),
                slot,
                "{what}: {}, seed {}",
                line["key"],
                seed()
            );
        }
        assert!(slots.is_empty(), "{what}: keys not decoded: {slots:?}");
    }
}

/// `--key` is the glob of the server's KEYS, oddities included, such as a set that is never closed.
#[test]
fn globs_match_what_keys_matches() {
    const PIECES: &[&str] = &[
        "a", "b", "c", "-", "^", "]", "[", "*", "?", "\\", "[ab]", "[^a]", "[a-c]", "[c-a]",
        "[\\]]", "[^]", "[]", "a*", "**", "\\*", "\u{e9}",
    ];
    // All agree on such patterns from Redis 5.0 on; 3.2 does not survive some of them.
    let all = installed().unwrap_or_default();
    let newest = |family: &str| all.iter().rfind(|i| i.name.starts_with(family));
    let mut servers: Vec<_> = ["redis-", "valkey-"]
        .into_iter()
        .filter_map(newest)
        .collect();
    if servers.is_empty() {
        servers.extend(all.last());
    }
    for installed in servers {
        let server = Server::start(installed, &[]);
        let c = &mut server.client();
        let rng = &mut Rng::new("globs");
        for _ in 0..500 {
            let mut key = Vec::new();
            for _ in 0..rng.below(6) {
                key.extend_from_slice(rng.pick(&[
                    &b"a"[..],
                    b"b",
                    b"c",
                    b"-",
                    b"^",
                    b"]",
                    b"[",
                    b"*",
                    b"\\",
                    b"\xff",
                ]));
            }
            cmd!(c, "SET", key, "1");
        }
        cmd!(c, "SET", "\u{e9}", "1");
        let dump = server.save();
        let mut matching = 0;
        for _ in 0..150 {
            let pattern: String = (0..1 + rng.below(5)).map(|_| rng.pick(PIECES)).collect();
            let told: BTreeSet<_> = cmd!(c, "KEYS", pattern).strings().into_iter().collect();
            let decoded: BTreeSet<_> = decode(&dump, &[&format!("--key={pattern}")])
                .iter()
                .map(|l| bytes(&l["key"]))
                .collect();
            let show = |keys: &BTreeSet<Vec<u8>>, other: &BTreeSet<Vec<u8>>| {
                keys.difference(other)
                    .map(|k| k.escape_ascii().to_string())
                    .collect::<Vec<_>>()
                    .join("  ")
            };
            assert!(
                decoded == told,
                "{}: --key {pattern:?}, seed {}\n  only rdbtool:    {}\n  only the server: {}",
                server.name,
                seed(),
                show(&decoded, &told),
                show(&told, &decoded)
            );
            matching += usize::from(!told.is_empty());
        }
        assert!(matching > 30, "only {matching} patterns match anything");
    }
}

// --- what rdbtool says ------------------------------------------------------------

/// The lines of `rdbtool decode FILE ARGUMENTS`.
fn decode(file: &Path, args: &[&str]) -> Vec<Value> {
    let out = Command::new(env!("CARGO_BIN_EXE_rdbtool"))
        .arg("decode")
        .arg(file)
        .args(args)
        .arg("--quiet") // no summary, so that whatever is said is a complaint
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.success(),
        "rdbtool decode {} {args:?}: {}: {said}",
        file.display(),
        out.status
    );
    assert_eq!(said, "", "nothing to complain of in {}", file.display());
    let text = String::from_utf8(out.stdout).expect("the output is UTF-8");
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e} in {l}")))
        .collect()
}

/// A decoded byte string as bytes.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => unbase64(other["base64"].as_str().expect("a string, or its base64")),
    }
}

/// Fails with the smallest part of a key in which the two differ.
#[track_caller]
fn assert_same(what: &str, decoded: &Value, told: &Value) {
    if decoded != told {
        let (path, a, b) = first_difference(decoded, told, String::new());
        let short = |v: Option<&Value>| {
            v.map_or("nothing".into(), |v| {
                v.to_string().chars().take(400).collect()
            })
        };
        let (a, b): (String, String) = (short(a), short(b));
        panic!(
            "{what}, seed {}, at {path}:\n  rdbtool says    {a}\n  the server says {b}",
            seed()
        );
    }
}

fn first_difference<'a>(
    a: &'a Value,
    b: &'a Value,
    at: String,
) -> (String, Option<&'a Value>, Option<&'a Value>) {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            for name in x.keys().chain(y.keys()) {
                let at = format!("{at}.{name}");
                match (x.get(name), y.get(name)) {
                    (Some(p), Some(q)) if p == q => {}
                    (Some(p), Some(q)) => return first_difference(p, q, at),
                    (p, q) => return (at, p, q),
                }
            }
        }
        (Value::Array(x), Value::Array(y)) => {
            for i in 0..x.len().max(y.len()) {
                let at = format!("{at}[{i}]");
                match (x.get(i), y.get(i)) {
                    (Some(p), Some(q)) if p == q => {}
                    (Some(p), Some(q)) => return first_difference(p, q, at),
                    (p, q) => return (at, p, q),
                }
            }
        }
        _ => {}
    }
    (at, Some(a), Some(b))
}
