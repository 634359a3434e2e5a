//! Every server's data into every other server: newer, older, of the other line.
//!
//! What the target then writes must say the same as the source's file, apart from exactly what `--loss-report` names. Three ways lead
//! there: RESTORE commands and ordinary commands through a pipe, and an RDB file that the target starts with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::chance::Rng;
use super::decode;
use super::fill::fill;
use super::resp::{Reply, cmd};
use super::server::{Installed, Server, installed};
use super::told::normal;

/// What a run of the program wrote, and the reasons for which something was not kept.
struct Written {
    bytes: Vec<u8>,
    reasons: Vec<String>,
}

fn rdbtool(args: &[&str], file: &Path) -> Written {
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "loss-{}-{:?}.json",
        std::process::id(),
        std::thread::current().id()
    ));
    let out = Command::new(env!("CARGO_BIN_EXE_rdbtool"))
        .args(args)
        .arg("--quiet")
        .arg("--loss-report")
        .arg(&report)
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    let text = fs::read_to_string(&report).unwrap_or_default();
    let _ = fs::remove_file(&report);
    let reasons: Vec<String> = text
        .lines()
        .map(|l| {
            serde_json::from_str::<Value>(l).unwrap()["reason"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let want = if reasons.is_empty() { 0 } else { 3 };
    assert_eq!(out.status.code(), Some(want), "{args:?}: {said}");
    Written {
        bytes: out.stdout,
        reasons,
    }
}

/// The lines that a file decodes to, by what they are about.
fn lines(file: &Path) -> BTreeMap<String, Value> {
    decode(file, &[])
        .into_iter()
        .map(|mut line| {
            if let Some(o) = line.as_object_mut() {
                // How often a key is used depends on who asks for it.
                o.shift_remove("freq");
                o.shift_remove("idle_s");
            }
            match line.get("function") {
                Some(code) => (code.to_string(), line),
                None => (format!("db {} {}", line["db"], line["key"]), normal(line)),
            }
        })
        .collect()
}

/// The names that a reason takes away, wherever they stand.
fn names(reason: &str) -> &'static [&'static str] {
    match reason {
        "field-expiry" => &["expire_at_ms"],
        "stream-counters" => &["first_id", "max_deleted_id", "entries_added"],
        "group-counters" => &["entries_read"],
        "consumer-times" => &["seen_at_ms", "active_at_ms"],
        "stream-producers" => &["idmp"],
        "pending-unowned" => &["nacked"],
        _ => &[],
    }
}

/// What a server that learns of streams makes up itself where an older file does not say it.
const ADDED: [&str; 6] = [
    "idmp",
    "first_id",
    "max_deleted_id",
    "entries_added",
    "entries_read",
    "active_at_ms",
];

/// Takes out of a value what is said not to be kept.
fn strip(value: &mut Value, reasons: &[String]) {
    match value {
        Value::Object(o) => {
            for name in reasons.iter().flat_map(|r| names(r)) {
                o.shift_remove(*name);
            }
            o.values_mut().for_each(|v| strip(v, reasons));
        }
        Value::Array(a) => a.iter_mut().for_each(|v| strip(v, reasons)),
        _ => {}
    }
}

/// Takes the pending entries out of a stream that are no longer in it.
fn without_deleted(stream: &mut Value) {
    if stream.get("entries").is_none() {
        return; // it is none
    }
    let entries = stream["entries"].as_array().into_iter().flatten();
    let there: BTreeSet<String> = entries.map(|e| e["id"].to_string()).collect();
    for group in stream["groups"].as_array_mut().into_iter().flatten() {
        if let Some(pending) = group["pending"].as_array_mut() {
            pending.retain(|p| there.contains(&p["id"].to_string()));
        }
        for consumer in group["consumers"].as_array_mut().into_iter().flatten() {
            if let Some(pending) = consumer["pending"].as_array_mut() {
                pending.retain(|id| there.contains(&id.to_string()));
            }
        }
    }
}

/// Where the target differs from the source, if it does.
fn difference(source: &Value, target: &Value, at: &str) -> Option<String> {
    match (source, target) {
        (Value::Object(a), Value::Object(b)) => {
            let missing = a.iter().find_map(|(name, v)| match b.get(name) {
                Some(w) => difference(v, w, &format!("{at}.{name}")),
                None => Some(format!("{at}.{name} is missing")),
            });
            let more = || {
                let name = b
                    .keys()
                    .find(|n| !a.contains_key(*n) && !ADDED.contains(&n.as_str()));
                name.map(|n| format!("{at}.{n} is more"))
            };
            missing.or_else(more)
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(i, (v, w))| difference(v, w, &format!("{at}[{i}]"))),
        (a, b) if a == b => None,
        (a, b) => {
            let (a, b) = (a.to_string(), b.to_string());
            Some(format!(
                "{at}: {a:.300} in the source, {b:.300} in the target"
            ))
        }
    }
}

fn compare(what: &str, source: &BTreeMap<String, Value>, target: &Path, reasons: &[String]) {
    let target = lines(target);
    let has = |r: &str| reasons.iter().any(|x| x == r);
    let mut found = 0;
    for (name, line) in source {
        let gone = line["type"] == "stream" && has("stream")
            || line.get("function").is_some() && has("function");
        let Some(there) = target.get(name) else {
            assert!(
                gone,
                "{what}: {name:.100} is missing, and it was not said: {reasons:?}"
            );
            continue;
        };
        found += 1;
        let (mut a, mut b) = (line.clone(), there.clone());
        // The expiry of the key itself is never given up.
        assert_eq!(a["expire_at_ms"], b["expire_at_ms"], "{what}: {name:.100}");
        for value in [&mut a["value"], &mut b["value"]] {
            strip(value, reasons);
            if has("pending-deleted") {
                without_deleted(value);
            }
        }
        if let Some(difference) = difference(&a, &b, "") {
            panic!("{what}: {name:.100}: {difference}; said to be lost: {reasons:?}");
        }
    }
    assert_eq!(found, target.len(), "{what}: the target has more");
}

/// Gives a server commands, each of which must succeed.
fn pipe(what: &str, server: &Server, commands: &[u8]) {
    let c = &mut server.client();
    let count = commands_in(commands);
    for reply in c.pipe(commands, count) {
        assert!(!matches!(reply, Reply::Error(_)), "{what}: {reply:?}");
    }
}

/// How many commands there are.
pub(crate) fn commands_in(mut bytes: &[u8]) -> usize {
    let number = |kind: u8, bytes: &mut &[u8]| -> usize {
        assert_eq!(bytes[0], kind);
        let end = bytes.iter().position(|&b| b == b'\r').unwrap();
        let n = std::str::from_utf8(&bytes[1..end])
            .unwrap()
            .parse()
            .unwrap();
        *bytes = &bytes[end + 2..];
        n
    };
    let mut n = 0;
    while !bytes.is_empty() {
        for _ in 0..number(b'*', &mut bytes) {
            let len = number(b'$', &mut bytes);
            bytes = &bytes[len + 2..];
        }
        n += 1;
    }
    n
}

/// The release a server is of, as `--for` has it.
fn release(server: &Installed) -> String {
    // An installation is named by its major version alone where that is enough.
    server.name.clone()
}

#[test]
fn every_server_s_data_into_every_server() {
    let all = installed().unwrap_or_default();
    let mut sources = Vec::new();
    for from in all {
        let server = Server::start(from, &[]);
        fill(&server, &mut Rng::new("moved"));
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "moved-{}-{}.rdb",
            from.name,
            std::process::id()
        ));
        fs::copy(server.save(), &file).unwrap();
        sources.push((&from.name, file.clone(), lines(&file)));
    }
    for to in all {
        let to_release = release(to);
        let target = Server::start(to, &[]);
        for (from, file, truth) in &sources {
            for command in ["restore", "dump"] {
                let what = format!("{from} to {} by {command}", to.name);
                let written = rdbtool(&[command, "--for", &to_release], file);
                pipe(&what, &target, &written.bytes);
                compare(&what, truth, &target.save(), &written.reasons);
                let c = &mut target.client();
                cmd!(c, "FLUSHALL");
                if target.since((7, 0), (0, 0)) {
                    cmd!(c, "FUNCTION", "FLUSH");
                }
            }
            let what = format!("{from} to {} by a file", to.name);
            let written = rdbtool(&["dump", "--format", "rdb", "--for", &to_release], file);
            let started = Server::start_on(to, &[], &written.bytes);
            compare(&what, truth, &started.save(), &written.reasons);
        }
    }
    for (_, file, _) in sources {
        let _ = fs::remove_file(file);
    }
}

/// The masters of a cluster all have the same function libraries; of two with one name and other code the server could take only one.
#[test]
fn libraries_of_several_sources() {
    for installed in super::server::newest(installed().unwrap_or_default()) {
        let code = |value: &str| {
            format!("#!lua name=one\nredis.register_function('f', function() return {value} end)")
        };
        let dir = tempfile::tempdir().unwrap();
        let [a, b, other] = [("a", "1"), ("b", "1"), ("c", "2")].map(|(key, value)| {
            let server = Server::start(installed, &[]);
            let c = &mut server.client();
            cmd!(c, "SET", key, "v");
            cmd!(c, "FUNCTION", "LOAD", code(value));
            let path = dir.path().join(key);
            fs::copy(server.save(), &path).unwrap();
            path
        });
        let dump = |args: &[&str], files: &[&Path]| {
            let args = args.iter().map(AsRef::as_ref);
            crate::support::rdbtool(args.chain(files.iter().map(|f| f.as_os_str())))
        };
        let loaded = |file: &[u8], keys: i64| {
            let server = Server::start_on(installed, &[], file);
            let c = &mut server.client();
            assert_eq!(cmd!(c, "DBSIZE").int(), keys);
            assert_eq!(cmd!(c, "FCALL", "f", "0").int(), 1);
        };
        let run = dump(&["dump", "--format", "rdb"], &[&a, &b]);
        assert_eq!(run.status, Some(0), "{}", run.stderr);
        loaded(&run.stdout, 2);
        let run = dump(&["dump"], &[&a, &b]);
        assert_eq!(run.status, Some(0), "{}", run.stderr);
        pipe("libraries", &Server::start(installed, &[]), &run.stdout);

        let run = dump(&["dump", "--format", "rdb"], &[&a, &b, &other]);
        assert_eq!(run.status, Some(1), "{}", run.stderr);
        let said = "library \"one\" is there already, with other code";
        assert!(run.stderr.contains(said), "{}", run.stderr);
        let skip = ["dump", "--format", "rdb", "--on-conflict", "skip"];
        let run = dump(&skip, &[&a, &b, &other]);
        assert_eq!(run.status, Some(3), "{}", run.stderr);
        let said = "1 function library left out because another has the same name";
        assert!(run.stderr.contains(said), "{}", run.stderr);
        loaded(&run.stdout, 3);
    }
}

/// Straight into a server: once, again under each policy, and after everything was deleted.
#[test]
fn restored_into_a_live_server() {
    for installed in super::server::newest(installed().unwrap_or_default()) {
        let server = Server::start(installed, &[]);
        fill(&server, &mut Rng::new("live"));
        let file = server.save();
        let truth = lines(&file);
        let target = Server::start(installed, &[]);
        cmd!(target.client(), "CONFIG", "SET", "requirepass", "secret");
        let url = format!("redis://:secret@127.0.0.1:{}", target.port());
        let run = |more: &[&str]| {
            let out = Command::new(env!("CARGO_BIN_EXE_rdbtool"))
                .args(["restore", "--to", &url])
                .args(more)
                .arg(&file)
                .output()
                .unwrap();
            assert_eq!(out.stdout, b"");
            let said = String::from_utf8(out.stderr).unwrap();
            assert!(!said.contains("secret"), "{said}");
            (out.status.code(), said)
        };
        let keys = truth.values().filter(|l| l.get("key").is_some()).count();
        let holds_all = |what: &str| {
            let c = &mut target.client();
            cmd!(c, "AUTH", "secret");
            cmd!(c, "SAVE");
            compare(what, &truth, &target.dump(), &[]);
        };
        let what = &server.name;
        let (status, said) = run(&["--dry-run"]);
        assert_eq!(status, Some(0), "{what}: {said}");
        assert!(said.contains("nothing has been written"), "{said}");
        let (status, said) = run(&[]);
        assert_eq!(status, Some(0), "{what}: {said}");
        assert!(
            said.contains(&format!("{} keys sent", indicated(keys))),
            "{said}"
        );
        holds_all(what);
        let (status, said) = run(&[]);
        assert_eq!(status, Some(1), "{what}: {said}");
        assert!(said.contains("--on-conflict"), "{said}");
        let (status, said) = run(&["--on-conflict", "skip"]);
        assert_eq!(status, Some(3), "{what}: {said}");
        assert!(
            said.contains("left alone because they were there"),
            "{said}"
        );
        let (status, said) = run(&["--on-conflict", "replace", "--big-key", "1k"]);
        assert_eq!(
            status,
            Some(if said.contains("not kept") { 3 } else { 0 }),
            "{what}: {said}"
        );
        assert!(said.contains("as ordinary commands"), "{said}");
        let (status, said) = run(&["--flush-target"]);
        assert_eq!(status, Some(2), "{what}: {said}");
        let (status, said) = run(&["--flush-target", "--yes"]);
        assert_eq!(status, Some(0), "{what}: {said}");
        holds_all(what);
    }
}

/// A number as the program shows it.
fn indicated(n: usize) -> String {
    match n {
        0..1000 => n.to_string(),
        _ => format!("{},{:03}", n / 1000, n % 1000),
    }
}
