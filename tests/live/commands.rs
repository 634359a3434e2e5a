//! Files as commands: real servers that are given them must hold what the files say.
//!
//! The files are those of the corpus. A server of the same line that is no older than the one that wrote a file must come to the same
//! `DEBUG DIGEST` as when it loads the file itself; any other to the same data but for what is said to be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rdbtool::encode::commands::{Commands, Options, PROLOGUE};
use rdbtool::encode::loss::{Losses, Reason};
use rdbtool::filter::{Filter, Transform};
use rdbtool::pipeline::{self, OnError, Progress};
use rdbtool::rdb::release::{Engine, Release};
use rdbtool::sink::Plain;
use rdbtool::source::Source;
use serde_json::{Value, json};

use super::resp::{Client, Reply, cmd};
use super::server::{Installed, Server, installed};
use super::support::{Case, corpus, for_each};
use super::told::normal;
use super::{assert_same, bytes, decode};

/// What is not asked of a server: modules that it does not have, and keys that are gone once it has looked at them.
const LEFT_OUT: [&str; 2] = ["modules", "expired"];

/// Releases whose files are like those of another: to keep the test short. Those of release candidates newer servers refuse.
const LIKE_OTHERS: [&str; 6] = [
    "redis-2.2.15",
    "redis-2.6.17",
    "redis-7.0-rc1",
    "redis-7.4-rc1",
    "redis-8.0-m01",
    "redis-8.0.2",
];

/// Files of one release.
pub(super) struct Written {
    pub(super) by: Release,
    name: String,
    pub(super) cases: Vec<Case>,
    /// What all of them say; no two share a key.
    keys: Keys,
    functions: BTreeSet<String>,
}

/// The files of the corpus, by the release that wrote them.
pub(super) fn written(wanted: impl Fn(&str) -> bool) -> Vec<Written> {
    let mut all: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in corpus() {
        let left_out = LEFT_OUT.contains(&case.theme.as_str());
        if !left_out && wanted(&case.server) {
            all.entry(case.server.clone()).or_default().push(case);
        }
    }
    let read = |(name, cases): (String, Vec<Case>)| {
        let (mut held, mut functions) = (Keys::new(), BTreeSet::new());
        for case in &cases {
            let (keys, libraries) = keys(&case.path);
            let before = held.len() + keys.len();
            held.extend(keys);
            assert_eq!(held.len(), before, "{}", case.name);
            functions.extend(libraries);
        }
        Written {
            by: release(&name),
            name,
            cases,
            keys: held,
            functions,
        }
    };
    all.into_iter().map(read).collect()
}

/// `redis-7.0.15`, `valkey-9`.
pub(super) fn release(name: &str) -> Release {
    name.parse().unwrap()
}

/// Whether a release loads the files of another: those of its own line that is no newer.
pub(super) fn reads(from: Release, to: Release) -> bool {
    match (from.engine, to.engine) {
        // Every Valkey takes what Redis 7.2 wrote.
        (Engine::Redis, Engine::Valkey) => from.version <= (7, 2),
        (Engine::Valkey, Engine::Redis) => false,
        _ => from.version <= to.version,
    }
}

/// The commands of a file.
fn commands(file: &[u8], release: Option<Release>) -> (Vec<u8>, Losses) {
    let options = pipeline::Options {
        log: Default::default(),
        threads: 1,
        filter: &Filter::default(),
        transform: &Transform::default(),
        unique: None,
        libraries: None,
        checksum: true,
        on_error: OnError::Stop,
        limit: None,
    };
    let mut out = PROLOGUE.to_vec();
    let how = Options {
        release,
        replace: false,
    };
    let (_, encoders) = pipeline::run(
        &mut Source::from_bytes("a file", file),
        &options,
        &Progress::new(),
        &mut Plain(&mut out),
        |header| Commands::new(header, how),
    )
    .unwrap();
    let mut losses = Losses::default();
    for e in encoders {
        losses.merge(e.into_losses());
    }
    (out, losses)
}

/// The arguments of each command.
fn parse(mut all: &[u8]) -> Vec<Vec<&[u8]>> {
    fn number(kind: u8, rest: &mut &[u8]) -> usize {
        let end = rest.windows(2).position(|w| w == b"\r\n").unwrap();
        let (line, after) = rest.split_at(end);
        assert_eq!(line[0], kind);
        *rest = &after[2..];
        std::str::from_utf8(&line[1..]).unwrap().parse().unwrap()
    }
    let mut commands = Vec::new();
    while !all.is_empty() {
        let arguments = 0..number(b'*', &mut all);
        commands.push(
            arguments
                .map(|_| {
                    let n = number(b'$', &mut all);
                    let (arg, rest) = all.split_at(n);
                    all = rest.strip_prefix(b"\r\n").unwrap();
                    arg
                })
                .collect(),
        );
    }
    commands
}

/// A setting without which newer servers have no DEBUG.
pub(super) fn with_debug(of: &Installed) -> &'static [&'static str] {
    match release(&of.name).is_at_least((7, 0), (0, 0)) {
        true => &["--enable-debug-command", "yes"],
        false => &[],
    }
}

pub(super) fn clear(server: &Server, c: &mut Client) {
    cmd!(c, "FLUSHALL");
    if server.since((7, 0), (0, 0)) {
        cmd!(c, "FUNCTION", "FLUSH");
    }
}

/// Gives a server commands, none of which it may complain of.
pub(super) fn give(what: &str, c: &mut Client, all: &[u8]) {
    let told = parse(all);
    for (reply, command) in c.pipe(all, told.len()).iter().zip(&told) {
        if let Reply::Error(e) = reply {
            let shown = command.iter().take(8).map(|a| a.escape_ascii().to_string());
            panic!("{what}: {e}: {}", shown.collect::<Vec<_>>().join(" "));
        }
    }
}

pub(super) fn digest(c: &mut Client) -> [u8; 20] {
    let text = cmd!(c, "DEBUG", "DIGEST").text();
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

/// A directory that is gone when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("commands-{}-{n}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a server makes of the file itself.
pub(super) fn digest_of_file(of: &Installed, server: &Server, file: &[u8]) -> [u8; 20] {
    if server.since((6, 0), (0, 0)) {
        let c = &mut server.client();
        clear(server, c);
        fs::write(server.save(), file).unwrap();
        cmd!(c, "DEBUG", "RELOAD", "NOSAVE");
        return digest(c);
    }
    let dir = Dir::new(&format!("{}-file", of.name));
    fs::write(dir.0.join("dump.rdb"), file).unwrap();
    let server = Server::start(of, &["--dir", dir.0.to_str().unwrap()]);
    digest(&mut server.client())
}

pub(super) type Keys = BTreeMap<(u64, Vec<u8>), Value>;

/// The keys of a file as `rdbtool decode` tells them, and its functions.
pub(super) fn keys(file: &Path) -> (Keys, BTreeSet<String>) {
    let (mut keys, mut functions) = (Keys::new(), BTreeSet::new());
    for line in decode(file, &[]) {
        if let Some(code) = line.get("function") {
            functions.insert(code.to_string());
            continue;
        }
        let key = (line["db"].as_u64().unwrap(), bytes(&line["key"]));
        keys.insert(key, kept(normal(line)));
    }
    (keys, functions)
}

/// Takes out what no command can set.
fn kept(mut line: Value) -> Value {
    let object = line.as_object_mut().unwrap();
    for name in ["idle_s", "freq"] {
        object.shift_remove(name);
    }
    if object["type"] == "zset" {
        for m in object["value"].as_array_mut().unwrap() {
            // Small sorted sets have lost it since 7.0, whoever fills them.
            if m["score"].as_str().unwrap().starts_with("-0.0 ") {
                m["score"] = json!("0.0 = 0000000000000000");
            }
        }
    }
    if object["type"] == "stream" {
        for group in line["value"]["groups"].as_array_mut().unwrap() {
            for c in group["consumers"].as_array_mut().unwrap() {
                let c = c.as_object_mut().unwrap();
                c.shift_remove("seen_at_ms");
                c.shift_remove("active_at_ms");
            }
        }
    }
    line
}

/// Takes out of a stream what pends of deleted entries; gives whether there was something.
fn drop_deleted(stream: &mut Value) -> bool {
    let entries = stream["entries"].as_array().unwrap();
    let there: BTreeSet<String> = entries.iter().map(|e| e["id"].to_string()).collect();
    let mut some = false;
    let mut keep = |list: &mut Value, id: fn(&Value) -> &Value| {
        let list = list.as_array_mut().unwrap();
        let n = list.len();
        list.retain(|p| there.contains(&id(p).to_string()));
        some |= list.len() < n;
    };
    for group in stream["groups"].as_array_mut().unwrap() {
        keep(&mut group["pending"], |p| &p["id"]);
        for c in group["consumers"].as_array_mut().unwrap() {
            keep(&mut c["pending"], |p| p);
        }
    }
    some
}

/// What a stream has of idempotent producers that has none.
fn no_producers() -> Value {
    json!({
        "duration_s": 100, "max_entries": 100, "producers": 0,
        "iids_added": 0, "iids_duplicates": 0, "iids": 0,
    })
}

/// Takes out what only one of the two has, of the members of streams that came with later versions.
fn common(a: &mut Value, b: &mut Value) {
    for members in [
        "first_id",
        "max_deleted_id",
        "entries_added",
        "idmp",
        "entries_read",
    ] {
        if a.get(members).is_none() || b.get(members).is_none() {
            for v in [&mut *a, &mut *b] {
                v.as_object_mut().unwrap().shift_remove(members);
            }
        }
    }
}

/// The same of two streams and their groups.
pub(super) fn in_common(a: &mut Value, b: &mut Value) {
    common(a, b);
    let groups = a["groups"].as_array_mut().unwrap().iter_mut();
    let others = b["groups"].as_array_mut().unwrap().iter_mut();
    groups.zip(others).for_each(|(a, b)| common(a, b));
}

/// Every key of `file` but what is lost must be in `held`, and nothing else.
fn compare(what: &str, file: Keys, held: &mut Keys, losses: &Losses) {
    let lost = |reason| losses.iter().find(|l| l.reason == reason).map(|l| l.count);
    let mut counted: BTreeMap<Reason, u64> = BTreeMap::new();
    let mut count = |reason| *counted.entry(reason).or_default() += 1;
    for (key, mut line) in file {
        let of = format!("{what}: {}", line["key"]);
        let kind = line["type"].as_str().unwrap().to_owned();
        let Some(mut other) = held.remove(&key) else {
            match kind.as_str() {
                "stream" if lost(Reason::Stream).is_some() => count(Reason::Stream),
                "module" if lost(Reason::Module).is_some() => count(Reason::Module),
                _ => panic!("{of} is missing"),
            }
            continue;
        };
        if kind == "hash" && lost(Reason::FieldExpiry).is_some() {
            let mut some = false;
            for field in line["value"].as_array_mut().unwrap() {
                some |= field
                    .as_object_mut()
                    .unwrap()
                    .shift_remove("expire_at_ms")
                    .is_some();
            }
            if some {
                count(Reason::FieldExpiry);
            }
            line = normal(line);
        }
        if kind == "stream" {
            let (a, b) = (&mut line["value"], &mut other["value"]);
            if drop_deleted(a) {
                count(Reason::PendingDeleted);
            }
            let (idmp, kept) = (a.get("idmp"), b.get("idmp"));
            if idmp.is_some_and(|i| Some(i) != kept && (kept.is_some() || *i != no_producers())) {
                count(Reason::StreamProducers);
                a.as_object_mut().unwrap().shift_remove("idmp");
            }
            in_common(a, b);
        }
        if kind != "module" {
            // The nodes of a vector set have no order that it keeps; the digest has been compared.
            assert_same(&of, &other, &line);
        }
    }
    let more: Vec<_> = held.values().map(|l| l["key"].to_string()).collect();
    assert!(more.is_empty(), "{what}: where do {more:?} come from?");
    for reason in [
        Reason::Stream,
        Reason::Module,
        Reason::FieldExpiry,
        Reason::PendingDeleted,
        Reason::StreamProducers,
    ] {
        let found = counted.get(&reason).copied();
        assert_eq!(found, lost(reason), "{what}: {reason}");
    }
}

/// An append-only file of these commands, where a server looks for it when it starts.
pub(super) fn start_with(of: &Installed, all: &[u8]) -> Server {
    let dir = Dir::new(&format!("{}-aof", of.name));
    let mut settings = vec!["--dir", dir.0.to_str().unwrap(), "--appendonly", "yes"];
    settings.extend(with_debug(of));
    if release(&of.name).is_at_least((7, 0), (0, 0)) {
        let aof = dir.0.join("appendonlydir");
        fs::create_dir_all(&aof).unwrap();
        fs::write(aof.join("appendonly.aof.1.base.aof"), all).unwrap();
        let manifest = "file appendonly.aof.1.base.aof seq 1 type b\n";
        fs::write(aof.join("appendonly.aof.manifest"), manifest).unwrap();
    } else {
        fs::write(dir.0.join("appendonly.aof"), all).unwrap();
    }
    let server = Server::start(of, &settings);
    let c = &mut server.client();
    let mut waited = 0;
    while !cmd!(c, "INFO", "persistence")
        .text()
        .contains("\nloading:0")
    {
        waited += 1;
        assert!(waited < 1000, "{} does not finish loading", of.name);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    server
}

#[test]
fn commands_make_what_the_file_says() {
    let all_written = written(|server| !LIKE_OTHERS.contains(&server));
    for_each(installed().unwrap_or_default(), |of| {
        let to = release(&of.name);
        let reader = Server::start(of, with_debug(of));
        let target = Server::start(of, with_debug(of));
        let c = &mut target.client();
        let mut files = 0;
        for from in &all_written {
            if !reads(from.by, to) {
                continue;
            }
            let what = format!("{} for {}", from.name, of.name);
            let (mut all, mut losses) = (Vec::new(), Losses::default());
            for case in &from.cases {
                if case.theme == "vectorsets" && of.name == "redis-8.0" {
                    // Not every 8.0 loads those of another.
                    continue;
                }
                files += 1;
                let of_file = digest_of_file(of, &reader, &case.bytes);
                let (made, lost) = commands(&case.bytes, None);
                let what = format!("{what}, {}", case.theme);
                clear(&target, c);
                give(&what, c, &made);
                assert!(digest(c) == of_file, "{what}: another digest");
                losses.merge(lost);
                all.extend(made);
            }
            // All of them together.
            clear(&target, c);
            give(&what, c, &all);
            let (mut keys_now, functions_now) = keys(&target.save());
            let mut held = from.keys.clone();
            held.retain(|(_, k), _| of.name != "redis-8.0" || !k.starts_with(b"vectorsets:"));
            compare(&what, held, &mut keys_now, &losses);
            assert_eq!(functions_now, from.functions, "{what}");

            let loaded = start_with(of, &all);
            assert!(
                digest(&mut loaded.client()) == digest(c),
                "{what}: another digest, by file"
            );
        }
        assert!(files > 40, "{} was given {files} files only", of.name);
    });
}

/// Towards older servers and those of the other line: all but what is said to be lost.
#[test]
fn commands_for_other_releases_lose_what_they_say() {
    let looked_at = ["7.0.15", "7.4.1", "8.6.3", "valkey-9.1.2"];
    let newest = written(|name| looked_at.iter().any(|l| name.ends_with(l)));
    for_each(installed().unwrap_or_default(), |of| {
        let to = release(&of.name);
        let target = Server::start(of, &[]);
        let c = &mut target.client();
        for from in &newest {
            if from.by.engine == to.engine && from.by.version <= to.version {
                continue;
            }
            let what = format!("{} for {}", from.name, of.name);
            let (mut all, mut losses) = (Vec::new(), Losses::default());
            for case in &from.cases {
                let (made, lost) = commands(&case.bytes, Some(to));
                losses.merge(lost);
                all.extend(made);
            }
            clear(&target, c);
            give(&what, c, &all);
            let (mut keys_now, _) = keys(&target.save());
            compare(&what, from.keys.clone(), &mut keys_now, &losses);
            if !to.is_at_least((7, 0), (0, 0)) {
                assert!(
                    losses.iter().any(|l| l.reason == Reason::Function),
                    "{what}"
                );
            }
        }
    });
}
