//! Values of every type a server knows, in all the forms it keeps them in.

use std::collections::BTreeMap;

use super::chance::Rng;
use super::resp::{Client, Reply, cmd};
use super::server::Server;

/// 2100-01-01 in milliseconds: no expiry comes true while a test runs.
const FAR: u64 = 4_102_444_800_000;

/// Whether hashes can have fields that expire.
pub(crate) fn has_field_expiry(s: &Server) -> bool {
    s.since((7, 4), (9, 0))
}

/// Puts values of every type the server knows into several databases. Returns the expiries given, by database and
/// key: servers before 7.0 only tell the time left, which is not exact.
pub(crate) fn fill(server: &Server, rng: &mut Rng) -> BTreeMap<(u64, Vec<u8>), u64> {
    let c = &mut server.client();
    let mut expiries = BTreeMap::new();
    for (db, rounds) in [(0u64, 14), (1, 4), (7, 2), (15, 1)] {
        cmd!(c, "SELECT", db.to_string());
        for round in 0..rounds {
            let mut keys = Vec::new();
            for (kind, make) in [
                (
                    "string",
                    strings as fn(&Server, &mut Client, &mut Rng, &[u8]),
                ),
                ("list", list),
                ("set", set),
                ("zset", zset),
                ("hash", hash),
                ("stream", stream),
            ] {
                if kind == "stream" && server.version < (5, 0) {
                    continue;
                }
                let mut key = format!("{kind}:{round}").into_bytes();
                match round % 7 {
                    3 => key.extend(rng.string()),
                    4 => key = [rng.bytes(12), key].concat(), // anything in front, so not UTF-8 most times
                    5 => key = [key, vec![b'.'; 100]].concat(), // long enough to be compressed
                    _ => {}
                }
                make(server, c, rng, &key);
                keys.push(key);
            }
            if round == 0 {
                for key in [
                    &b""[..],
                    b"12345",
                    b"-1",
                    b"\xff\x00\xfe",
                    b"{tag}:1",
                    b"2147483648",
                ] {
                    strings(server, c, rng, key);
                    keys.push(key.to_vec());
                }
            }
            for key in keys {
                if rng.below(3) == 0 {
                    let at = FAR + rng.next() % 1_000_000_000_000;
                    // A draw may have made nothing: a set of no members is no key.
                    if cmd!(c, "PEXPIREAT", key, at.to_string()) == Reply::Int(1) {
                        expiries.insert((db, key), at);
                    }
                }
            }
        }
    }
    if server.since((7, 0), (0, 0)) {
        for (name, text) in [
            ("one", "return 1"),
            ("two", "return '\u{e9} \"quoted\" \\\\'"),
        ] {
            let code = format!(
                "#!lua name={name}\nredis.register_function('{name}_f', function(keys, args) {text} end)"
            );
            cmd!(c, "FUNCTION", "LOAD", code);
        }
    }
    expiries
}

fn strings(_: &Server, c: &mut Client, rng: &mut Rng, key: &[u8]) {
    let value = match rng.below(12) {
        0 => rng.bytes(20_000),
        1 => b"compress me, "
            .iter()
            .copied()
            .cycle()
            .take(100_000)
            .collect(),
        _ => rng.string(),
    };
    cmd!(c, "SET", key, value);
}

/// How many elements: mostly few, now and then beyond the packed encodings.
fn elements(rng: &mut Rng) -> usize {
    match rng.below(5) {
        0 => 1,
        1 | 2 => 2 + rng.below(20),
        3 => 100 + rng.below(100),
        _ => 600 + rng.below(600),
    }
}

fn list(_: &Server, c: &mut Client, rng: &mut Rng, key: &[u8]) {
    let push = rng.pick(&["RPUSH", "LPUSH"]);
    for i in 0..elements(rng) {
        let element = if i == 50 {
            vec![b'q'; 9000]
        } else {
            rng.string()
        }; // a node of its own
        cmd!(c, push, key, element);
    }
}

fn set(_: &Server, c: &mut Client, rng: &mut Rng, key: &[u8]) {
    let (integers, width) = (
        rng.below(2) == 0,
        [100, 30_000, 2_000_000_000, i64::MAX][rng.below(4)],
    );
    for _ in 0..elements(rng) {
        let member = if integers {
            (rng.next() as i64 % width).to_string().into_bytes()
        } else {
            rng.string()
        };
        cmd!(c, "SADD", key, member);
    }
}

fn zset(server: &Server, c: &mut Client, rng: &mut Rng, key: &[u8]) {
    for _ in 0..elements(rng) {
        let mut score = rng.score();
        if score == "-0" && server.version < (4, 0) {
            score = "0".to_owned(); // those save it as 0 when the set is large
        }
        cmd!(c, "ZADD", key, score, rng.string());
    }
}

fn hash(server: &Server, c: &mut Client, rng: &mut Rng, key: &[u8]) {
    for i in 0..elements(rng) {
        let value = if i == 30 {
            vec![b'v'; 70]
        } else {
            rng.string()
        };
        cmd!(c, "HSET", key, rng.string(), value);
    }
    if has_field_expiry(server) && rng.below(2) == 0 {
        for field in cmd!(c, "HKEYS", key).strings() {
            if rng.below(3) == 0 {
                let at = FAR + rng.next() % 1_000_000_000;
                cmd!(c, "HPEXPIREAT", key, at.to_string(), "FIELDS", "1", field);
            }
        }
    }
}

fn stream(server: &Server, c: &mut Client, rng: &mut Rng, key: &[u8]) {
    let mut ids = Vec::new();
    let mut ms = rng.next() % 2_000_000_000_000;
    for i in 0..elements(rng) {
        ms += rng.next() % 50;
        let id = format!("{ms}-{}", i + rng.below(3) + 1);
        let mut command = vec![b"XADD".to_vec(), key.to_vec(), id.clone().into_bytes()];
        // Mostly the same fields, which are stored once a node; now and then others.
        for field in 0..if rng.below(6) == 0 {
            1 + rng.below(4)
        } else {
            2
        } {
            let name = if rng.below(9) == 0 {
                rng.string()
            } else {
                format!("f{field}").into_bytes()
            };
            command.extend([name, rng.string()]);
        }
        if !matches!(c.call(&command), Reply::Error(_)) {
            ids.push(id); // an error: not larger than the id before
        }
    }
    if server.since((8, 6), (99, 0)) {
        cmd!(c, "XADD", key, "IDMP", "producer", "1", "*", "a", "b");
        cmd!(c, "XADD", key, "IDMP", "producer", "1", "*", "a", "b");
        cmd!(
            c,
            "XADD",
            key,
            "IDMP",
            rng.bytes(5),
            rng.bytes(9),
            "*",
            "a",
            "b"
        );
    }
    for g in 0..rng.below(4) {
        let group = if g == 2 {
            rng.string_short()
        } else {
            format!("group-{g}").into_bytes()
        };
        let from = if rng.below(2) == 0 {
            "0".to_owned()
        } else {
            ids[rng.below(ids.len())].clone()
        };
        if matches!(
            c.call(&[b"XGROUP", b"CREATE", key, &group, from.as_bytes()]),
            Reply::Error(_)
        ) {
            continue; // the name is taken
        }
        for _ in 0..rng.below(4) {
            let (name, count) = (rng.string_short(), (1 + rng.below(70)).to_string());
            cmd!(
                c,
                "XREADGROUP",
                "GROUP",
                group,
                name,
                "COUNT",
                count,
                "STREAMS",
                key,
                ">"
            );
        }
        if rng.below(2) == 0 {
            let acked = ids[rng.below(ids.len())].clone();
            cmd!(c, "XACK", key, group, acked);
        }
        if server.version >= (6, 2) {
            cmd!(c, "XGROUP", "CREATECONSUMER", key, group, "idle \u{1f634}");
        }
    }
    for _ in 0..rng.below(8) {
        let gone = ids[rng.below(ids.len())].clone();
        cmd!(c, "XDEL", key, gone); // perhaps one that is still pending
    }
    if rng.below(4) == 0 {
        cmd!(c, "XTRIM", key, "MAXLEN", "3");
    }
    if rng.below(8) == 0 {
        cmd!(c, "XTRIM", key, "MAXLEN", "0");
    }
}
