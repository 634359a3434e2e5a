//! Listpack entries whose length has two forms: each server writes, and takes, its own only.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::decode;
use super::resp::{Client, cmd};
use super::server::{Installed, Server, installed};
use super::told::normal;

/// Settings under which all of it is kept in listpacks.
fn packed(of: &Installed) -> Vec<&'static str> {
    let large = "1000000000";
    let mut settings = vec![
        "--hash-max-ziplist-value",
        large,
        "--zset-max-ziplist-value",
        large,
    ];
    if of.name.starts_with("valkey") || of.name.as_str() >= "redis-7.2" {
        settings.extend(["--set-max-listpack-value", large]);
    }
    settings
}

/// Every type that can hold them, with entries of these sizes, alone and beside others.
fn fill(server: &Server, c: &mut Client) {
    for len in [16_378, 2_097_146] {
        for fill in [b'x', 0] {
            // The first can be compressed, the second cannot.
            let mut seed = 1u32;
            let text: Vec<u8> = (0..len)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if fill == 0 { (seed >> 24) as u8 } else { fill }
                })
                .collect();
            let name = |kind: &str| format!("{kind}:{len}:{fill}");
            cmd!(c, "CONFIG", "SET", "list-max-ziplist-size", "5");
            cmd!(c, "RPUSH", name("list"), "a", text, "b", "12", text);
            cmd!(c, "CONFIG", "SET", "list-max-ziplist-size", "-2");
            cmd!(c, "RPUSH", name("list of nodes"), "a", text, "b");
            cmd!(c, "HSET", name("hash"), "field", text, text, "value");
            cmd!(c, "ZADD", name("zset"), "1.5", text, "2", "b");
            cmd!(c, "SADD", name("set"), "a", text, "b");
            cmd!(c, "XADD", name("stream"), "1-1", "f", text, "g", "w");
            cmd!(c, "XADD", name("stream"), "1-2", "f", text, "h", "w");
            cmd!(c, "XADD", name("stream"), "2-1", text, "1");
            cmd!(c, "XGROUP", "CREATE", name("stream"), "g", "1-1");
        }
        // Larger than a batch, so that it is written in parts.
        let text = "y".repeat(len);
        for i in 0..if len < 100_000 { 40 } else { 2 } {
            cmd!(
                c,
                "RPUSH",
                format!("long list:{len}"),
                i.to_string(),
                text,
                "z".repeat(3000)
            );
            let id = format!("1-{}", i + 1);
            cmd!(
                c,
                "XADD",
                format!("long stream:{len}"),
                id,
                "f",
                text,
                "i",
                i.to_string()
            );
        }
    }
    assert!(server.save().exists());
}

fn lines(file: &Path) -> Vec<Value> {
    let mut lines: Vec<Value> = decode(file, &[]).into_iter().map(normal).collect();
    lines.sort_by_key(|l| l["key"].to_string());
    lines
}

/// What the program writes of a file.
fn rdbtool(args: &[&str], file: &Path) -> Vec<u8> {
    let out = Command::new(env!("CARGO_BIN_EXE_rdbtool"))
        .args(args)
        .arg("--quiet")
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{args:?}: {said}");
    out.stdout
}

#[test]
fn entries_of_all_sizes_cross_the_line() {
    let wanted = ["redis-7.0", "redis-8.6", "valkey-8.1", "valkey-9"];
    let all = installed().unwrap_or_default().iter();
    let all: Vec<_> = all.filter(|i| wanted.contains(&i.name.as_str())).collect();
    for from in &all {
        let server = Server::start(from, &packed(from));
        fill(&server, &mut server.client());
        let file = server.dump();
        let truth = lines(&file);
        for to in &all {
            let target = Server::start(to, &["--sanitize-dump-payload", "yes"]);
            let what = format!("{} to {}", from.name, to.name);
            let (major, minor) = target.version;
            let line = if target.valkey { "valkey" } else { "redis" };
            let release = format!("{line}-{major}.{minor}");
            let same = |how: &str, held: &Path| {
                let held = lines(held);
                assert_eq!(held.len(), truth.len(), "{what}, {how}");
                for (a, b) in truth.iter().zip(&held) {
                    assert_eq!(a["key"], b["key"], "{what}, {how}");
                    let equal = match a["type"] == "stream" {
                        true => a["value"]["entries"] == b["value"]["entries"],
                        false => a["value"] == b["value"],
                    };
                    assert!(equal, "{what}, {how}: {}", a["key"]);
                }
            };
            let url = format!("redis://127.0.0.1:{}", target.port());
            rdbtool(&["restore", "--to", &url], &file);
            same("live", &target.save());
            // Read by the server, too, entry by entry.
            for line in &truth {
                let c = &mut target.client();
                let key = line["key"].as_str().unwrap();
                match line["type"].as_str() {
                    Some("list") => drop(cmd!(c, "LRANGE", key, "0", "-1").array()),
                    Some("stream") => drop(cmd!(c, "XREVRANGE", key, "+", "-").array()),
                    _ => {}
                }
            }
            let made = rdbtool(&["dump", "--format", "rdb", "--for", &release], &file);
            let started = Server::start_on(to, &["--sanitize-dump-payload", "yes"], &made);
            same("by a file", &started.save());
        }
    }
}
