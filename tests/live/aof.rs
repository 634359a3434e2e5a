//! Append-only files: what rdbtool makes of them gives a server the data that it has after loading them itself; and the keys of commands
//! are those that the server names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;

use rdbtool::command::Raw;
use rdbtool::rdb::release::Engine;

use super::chance::{Rng, seed};
use super::commands::{digest, release, start_with, with_debug};
use super::resp::{Client, Reply, cmd};
use super::seed as clusters;
use super::server::{Installed, Server, installed, newest, say};
use super::support::{facts, for_each, json::Json, names, testdata};

/// A log of the corpus.
struct Case {
    name: String,
    server: String,
    meta: Json,
    dir: PathBuf,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let root = testdata().join("aof");
    for server in names(&root) {
        for file in names(&root.join(&server)) {
            if let Some(case) = file.strip_suffix(".meta.json") {
                cases.push(Case {
                    name: format!("{server}/{case}"),
                    meta: facts(&root.join(&server).join(&file)),
                    dir: root.join(&server).join(case),
                    server: server.clone(),
                });
            }
        }
    }
    assert!(cases.len() > 50);
    cases
}

fn damaged() -> Vec<Case> {
    let root = testdata().join("damaged/aof");
    let mut cases = Vec::new();
    for file in names(&root) {
        if let Some(name) = file.strip_suffix(".meta.json") {
            cases.push(Case {
                name: name.to_owned(),
                meta: facts(&root.join(&file)),
                dir: root.join(name),
                server: name.split("--").next().unwrap().to_owned(),
            });
        }
    }
    assert!(cases.len() > 40);
    cases
}

/// The oldest installed server that is not older than the one that wrote a log, of the same line.
fn server_for(case: &Case) -> Option<&'static Installed> {
    server_from(case, (0, 0))
}

/// The same, and no older than a version of Redis.
fn server_from(case: &Case, least: (u16, u16)) -> Option<&'static Installed> {
    let wants = release(&case.server);
    let mut all: Vec<_> = installed()?
        .iter()
        .filter(|i| {
            let r = release(&i.name);
            // What is installed as valkey-9 is some 9.x.
            r.engine == wants.engine
                && r.is_at_least(least, (0, 0))
                && (r.version >= wants.version
                    || r.engine == Engine::Valkey && r.version.0 == wants.version.0)
        })
        .collect();
    all.sort_by_key(|i| release(&i.name).version);
    all.first().copied()
}

/// A server that has loaded the log of a case itself; `None` if it does not start with it.
fn load_itself(of: &Installed, case: &Case) -> Result<(Server, tempfile::TempDir), String> {
    let config = |name: &str| {
        let config = case.meta.get("config")?;
        let text = config.get(name)?.str().ok()?;
        Some(text.trim_matches('"').to_owned())
    };
    let (file, sub) = (config("appendfilename"), config("appenddirname"));
    let mut said = String::new();
    for _ in 0..3 {
        // A new copy each time: a server that does not start may have changed it.
        let dir = tempfile::tempdir().unwrap();
        copy(&case.dir, dir.path());
        let mut settings = vec!["--dir", dir.path().to_str().unwrap(), "--appendonly", "yes"];
        settings.extend(with_debug(of));
        for (name, value) in [("--appendfilename", &file), ("--appenddirname", &sub)] {
            if let Some(value) = value {
                settings.extend([name, value]);
            }
        }
        // One that ends while it is asked what it is does not start either; or the port was somebody else's.
        match catch_unwind(|| Server::try_start(of, &settings, &[])) {
            Ok(Ok(server)) => return Ok((server, dir)),
            Ok(Err(log)) => said = log,
            Err(_) => said += "it ended while it was asked",
        }
    }
    Err(said)
}

fn copy(from: &Path, to: &Path) {
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// What to give rdbtool: a directory with a manifest, or the file in it.
fn source(dir: &Path) -> PathBuf {
    match dir.join("appendonly.aof") {
        file if file.exists() => file,
        _ => dir.to_owned(),
    }
}

fn rdbtool(args: &[&str], source: &Path) -> (Option<i32>, Vec<u8>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_rdbtool"))
        .args(args)
        .arg("--quiet")
        .arg(source)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    (out.status.code(), out.stdout, said)
}

/// Gives a server commands, of which some may fail, as they did when they were logged. Time stamps it would not take so.
fn pipe(c: &mut Client, all: &[u8]) {
    let (mut n, mut commands) = (0, Vec::new());
    let mut rest = all;
    while !rest.is_empty() {
        if rest[0] == b'#' {
            let end = rest.iter().position(|&b| b == b'\n').unwrap();
            rest = &rest[end + 1..];
            continue;
        }
        let raw = Raw::read(rest, 0).unwrap().expect("whole commands");
        n += 1;
        commands.extend_from_slice(raw.bytes());
        rest = &rest[raw.bytes().len()..];
    }
    c.pipe(&commands, n);
}

#[test]
fn logs_give_what_a_server_makes_of_them() {
    let all = cases();
    let tried = std::sync::atomic::AtomicUsize::new(0);
    for_each(&all, |case| {
        let Some(of) = server_for(case) else {
            return say(&format!("no server for {}", case.name));
        };
        let what = format!("{} on {}, seed {}", case.name, of.name, seed());
        let (itself, _dir) = load_itself(of, case).unwrap_or_else(|e| panic!("{what}: {e}"));
        let want = digest(&mut itself.client());
        let source = source(&case.dir);

        let (status, log, said) = rdbtool(&["dump"], &source);
        assert!(matches!(status, Some(0 | 3)), "{what}: {said}");
        let loaded = start_with(of, &log);
        assert!(digest(&mut loaded.client()) == want, "{what}: dump\n{said}");

        let (status, commands, said) = rdbtool(&["restore"], &source);
        assert!(matches!(status, Some(0 | 3)), "{what}: {said}");
        let piped = Server::start(of, with_debug(of));
        pipe(&mut piped.client(), &commands);
        assert!(
            digest(&mut piped.client()) == want,
            "{what}: restore\n{said}"
        );

        let live = Server::start(of, with_debug(of));
        let url = format!("redis://127.0.0.1:{}", live.port());
        let (status, _, said) = rdbtool(&["restore", "--to", &url], &source);
        // What failed when it was logged fails again.
        let refused = status == Some(1) && said.contains("refused: ");
        assert!(matches!(status, Some(0 | 3)) || refused, "{what}: {said}");
        assert!(digest(&mut live.client()) == want, "{what}: live\n{said}");

        // The same by way of JSON. Of keys it takes the simplest layouts, of which servers may make something else (a score of -0), and those of a
        // preamble have such.
        if !case.name.ends_with("/preamble") {
            let (status, lines, said) = rdbtool(&["decode"], &source);
            assert!(matches!(status, Some(0 | 3)), "{what}: {said}");
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("lines");
            fs::write(&path, lines).unwrap();
            let (status, log, said) = rdbtool(&["dump"], &path);
            assert!(matches!(status, Some(0 | 3)), "{what}: {said}");
            let loaded = start_with(of, &log);
            let same = digest(&mut loaded.client()) == want;
            assert!(same, "{what}: dump of lines\n{said}");
        }
        tried.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    if installed().is_some() {
        let tried = tried.into_inner();
        assert!(tried > 10, "{tried} logs only");
    }
}

/// The files of all nodes together are the log, where it can be split at all: to one node nearly every log. Of database 0, since a cluster has no other.
#[test]
fn split_logs_add_up() {
    let all = cases();
    let split = std::sync::atomic::AtomicUsize::new(0);
    let cases: Vec<_> = all.iter().flat_map(|c| [(c, 1), (c, 3)]).collect();
    for_each(&cases, |&(case, nodes)| {
        let Some(of) = server_for(case) else { return };
        let what = format!("{} on {}, to {nodes} nodes", case.name, of.name);
        let dir = tempfile::tempdir().unwrap();
        let seed = dir.path().join("seed");
        let (n, seed_text) = (nodes.to_string(), seed.to_str().unwrap());
        let to = ["split", "--db", "0", "--nodes", &n, "-o", seed_text];
        let (status, _, said) = rdbtool(&to, &source(&case.dir));
        if status == Some(1) {
            let why = [
                "several nodes",
                "keys elsewhere",
                "names no key",
                "not known",
            ];
            assert!(why.iter().any(|w| said.contains(w)), "{what}: {said}");
            return;
        }
        assert!(matches!(status, Some(0 | 3)), "{what}: {said}");
        let parts: Vec<_> = (1..=nodes)
            .map(|n| fs::read(seed.join(format!("aof-{n}"))).unwrap())
            .collect();
        let flushes = |part: &[u8]| {
            part.to_ascii_uppercase()
                .windows(7)
                .any(|w| w == b"\nFLUSHA" || w == b"\nFLUSHD")
        };
        if nodes > 1 && parts.iter().any(|p| flushes(p)) {
            return; // one node's would empty the others, in one server
        }
        let (_, log, _) = rdbtool(&["dump", "--db", "0"], &source(&case.dir));
        let (one, together) = (
            Server::start(of, with_debug(of)),
            Server::start(of, with_debug(of)),
        );
        pipe(&mut one.client(), &log);
        let c = &mut together.client();
        for part in &parts {
            pipe(c, part);
        }
        assert!(digest(c) == digest(&mut one.client()), "{what}\n{said}");
        split.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    if installed().is_some() {
        let split = split.into_inner();
        assert!(split >= 20, "{split} logs only");
    }
}

/// The nodes' files as RDB data and commands: each is loaded by a server of its own, and together they have what a server makes of the log
/// itself. Of database 0.
#[test]
fn split_logs_load() {
    let all = cases();
    let loaded = std::sync::Mutex::new(BTreeMap::new());
    let formats = [("aof-rdb-preamble", (4, 0)), ("appendonlydir", (7, 0))];
    let cases: Vec<_> = all
        .iter()
        .flat_map(|c| formats.map(|(f, least)| (c, f, least)))
        .collect();
    for_each(&cases, |&(case, format, least)| {
        let Some(of) = server_from(case, least) else {
            return;
        };
        let (_, log, said) = rdbtool(&["dump", "--db", "0"], &source(&case.dir));
        // What goes from one database to another does not with one of them alone.
        let (itself, _dir) = match said.contains("between a database") {
            true => (start_with(of, &log), None),
            false => {
                let loaded = load_itself(of, case);
                let (server, dir) =
                    loaded.unwrap_or_else(|e| panic!("{} on {}: {e}", case.name, of.name));
                (server, Some(dir))
            }
        };
        let c = &mut itself.client();
        for db in 1..16 {
            cmd!(c, "SELECT", db.to_string());
            cmd!(c, "FLUSHDB");
        }
        cmd!(c, "SELECT", "0");
        let (want, keys) = (digest(c), cmd!(c, "DBSIZE").int());
        let database = clusters::part_of_the_database(c);
        for nodes in [1, 3] {
            let what = format!("{} on {}, to {nodes} of {format}", case.name, of.name);
            let dir = tempfile::tempdir().unwrap();
            let seed = dir.path().join("seed");
            let (n, to) = (nodes.to_string(), seed.to_str().unwrap());
            let args = [
                "split", "--db", "0", "--nodes", &n, "--format", format, "-o", to,
            ];
            let (status, _, said) = rdbtool(&args, &source(&case.dir));
            if status == Some(1) {
                let why = [
                    "several nodes",
                    "keys elsewhere",
                    "names no key",
                    "not known",
                ];
                assert!(why.iter().any(|w| said.contains(w)), "{what}: {said}");
                continue;
            }
            assert!(matches!(status, Some(0 | 3)), "{what}: {said}");
            let (mut sum, mut there) = ([0; 20], 0);
            for node in 1..=nodes {
                let dir = dir.path().join(format!("node-{node}"));
                fs::create_dir(&dir).unwrap();
                if format == "appendonlydir" {
                    let from = seed.join(format!("appendonlydir-{node}"));
                    fs::rename(from, dir.join("appendonlydir")).unwrap();
                } else {
                    let from = seed.join(format!("aof-{node}"));
                    fs::rename(from, dir.join("appendonly.aof")).unwrap();
                }
                let mut settings = vec!["--dir", dir.to_str().unwrap(), "--appendonly", "yes"];
                settings.extend(with_debug(of));
                let server = Server::try_start(of, &settings, &[])
                    .unwrap_or_else(|log| panic!("{what}: node {node}: {log}"));
                let c = &mut server.client();
                let n = cmd!(c, "DBSIZE").int();
                if n > 0 {
                    sum = clusters::xor(sum, clusters::xor(digest(c), database));
                }
                there += n;
            }
            if keys > 0 {
                sum = clusters::xor(sum, database);
            }
            assert_eq!(there, keys, "{what}\n{said}");
            assert!(sum == want, "{what}\n{said}");
            *loaded.lock().unwrap().entry((format, nodes)).or_insert(0) += 1;
        }
    });
    let loaded = loaded.into_inner().unwrap();
    say(&format!("logs that were split and loaded: {loaded:?}"));
    if installed().is_some() {
        assert_eq!(loaded.len(), 4);
        assert!(loaded.values().all(|&n| n >= 8), "{loaded:?}");
    }
}

/// The digest after the checker of the same version had cut the log at that time.
#[test]
fn logs_until_a_time() {
    let mut tried = 0;
    for case in cases() {
        let Some(until) = case.meta.get("until") else {
            continue;
        };
        let Some(of) = server_for(&case) else {
            continue;
        };
        if release(&of.name).version != release(&case.server).version {
            // Digests of other versions are computed otherwise.
            continue;
        }
        let t = until.need("timestamp").unwrap().int().unwrap().to_string();
        let (status, log, said) = rdbtool(&["dump", "--until", &t], &source(&case.dir));
        assert_eq!(status, Some(0), "{}: {said}", case.name);
        let loaded = start_with(of, &log);
        let hex: String = digest(&mut loaded.client())
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let want = until.need("digest").unwrap().str().unwrap();
        assert_eq!(hex, want, "{} on {}", case.name, of.name);
        tried += 1;
    }
    assert!(installed().is_none() || tried > 0);
}

/// A damaged log gives what the server makes of it, where it starts at all.
#[test]
fn damaged_logs_give_what_a_server_makes_of_them() {
    let all = damaged();
    for_each(&all, |case| {
        let Some(of) = server_for(case) else { return };
        let what = format!("{} on {}", case.name, of.name);
        // Before 4.0 an unfinished transaction is done.
        if !release(&of.name).is_at_least((4, 0), (0, 0)) && case.name.ends_with("open-multi") {
            return;
        }
        // What a server makes of nothing is not told to be a log.
        if ["empty-file", "manifest-missing"]
            .iter()
            .any(|e| case.name.ends_with(e))
        {
            return;
        }
        let itself = load_itself(of, case);
        let (status, log, said) = rdbtool(&["dump"], &source(&case.dir));
        match itself {
            Ok((server, _dir)) => {
                assert!(matches!(status, Some(0 | 3)), "{what}: {said}");
                let loaded = start_with(of, &log);
                let want = digest(&mut server.client());
                assert!(digest(&mut loaded.client()) == want, "{what}: {said}");
            }
            Err(log) => {
                // It is no server that is asked whether it knows a command.
                let unknown = case.name.ends_with("unknown-command");
                let want = if unknown { Some(0) } else { Some(1) };
                assert_eq!(status, want, "{what}: {said}\nthe server: {log}");
            }
        }
    });
}

// --- the keys of commands ---------------------------------------------------------

/// Every command of a server, with random arguments.
#[test]
fn keys_are_those_that_the_server_names() {
    const WORDS: &[&str] = &[
        "0",
        "1",
        "2",
        "3",
        "a",
        "b",
        "c",
        "k",
        "STORE",
        "STOREDIST",
        "LIMIT",
        "GET",
        "BY",
        "STREAMS",
        "COUNT",
        "NOACK",
        "GROUP",
        "BLOCK",
        "KEYS",
        "",
        "AUTH",
        "AUTH2",
        "WEIGHTS",
        "m",
        "DB",
        "LEFT",
    ];
    const READS: &[&[&str]] = &[
        &[
            "xread STREAMS a 0",
            "xread COUNT 2 BLOCK 5 STREAMS a b c 0 0 0",
            "xread block 5 streams STREAMS COUNT 0 0",
        ],
        &[
            "xreadgroup GROUP g c STREAMS a >",
            "xreadgroup GROUP STREAMS NOACK NOACK STREAMS a b > >",
            "xreadgroup GROUP NOACK STREAMS COUNT 1 BLOCK 5 NOACK streams a 1",
        ],
    ];
    for of in newest(installed().unwrap_or_default()) {
        let server = Server::start(of, &[]);
        let c = &mut server.client();
        let rng = &mut Rng::new("keys");
        let mut compared = BTreeMap::new();
        let mut all = Vec::new();
        for row in cmd!(c, "COMMAND").array() {
            let row = row.array();
            all.push((row[0].clone().text(), row[1].clone().int()));
            for sub in row.get(9).cloned().map(Reply::array).unwrap_or_default() {
                let sub = sub.array();
                all.push((sub[0].clone().text(), sub[1].clone().int()));
            }
        }
        assert!(all.len() > 300);
        all.sort(); // a server tells them in another order each time
        let mut unknown = BTreeSet::new();
        for (name, arity) in &all {
            for i in 0..25 {
                let mut args: Vec<Vec<u8>> =
                    name.split('|').map(|n| n.as_bytes().to_vec()).collect();
                if let Some(reads) = READS.iter().find(|r| r[0].starts_with(&format!("{name} "))) {
                    // Of options that are none a server makes what it will.
                    let read = reads[i % reads.len()];
                    args = read.split(' ').map(|n| n.as_bytes().to_vec()).collect();
                }
                let least = usize::try_from(arity.unsigned_abs()).unwrap();
                let more = if *arity < 0 { rng.below(8) } else { 0 };
                while args.len() < least + more && !name.starts_with("xread") {
                    args.push(rng.pick(WORDS).as_bytes().to_vec());
                }
                let mut asked: Vec<&[u8]> = vec![b"COMMAND", b"GETKEYS"];
                asked.extend(args.iter().map(|a| &a[..]));
                let mut command = format!("*{}\r\n", args.len()).into_bytes();
                for a in &args {
                    command.extend(format!("${}\r\n", a.len()).into_bytes());
                    command.extend_from_slice(a);
                    command.extend_from_slice(b"\r\n");
                }
                let raw = Raw::read(&command, 0).unwrap().unwrap();
                let (spec, keys) = raw.keys();
                if spec.is_none() {
                    unknown.insert(name.clone());
                    continue;
                }
                let Reply::Array(told) = c.call(&asked) else {
                    // It does not take such arguments, or none of them is a key.
                    continue;
                };
                let mut told: Vec<_> = told.into_iter().map(Reply::bytes).collect();
                let mut found: Vec<_> = raw
                    .args()
                    .zip(0..)
                    .filter(|(_, i)| keys.has(*i))
                    .map(|(a, _)| a.to_vec())
                    .collect();
                told.sort();
                found.sort();
                // Of several STORE the last is written to; which ones are named differs.
                // What stands where an option cannot stand is none.
                let stores = args.iter().filter(|a| a.starts_with(b"STORE")).count();
                let first = args.iter().position(|a| a.starts_with(b"STORE"));
                if name.starts_with("georadius") && (stores > 1 || first.is_some_and(|i| i < 6)) {
                    continue;
                }
                // A key that is itself called STORE: GETKEYS takes it for the word, SORT does not.
                if name == "sort" && stores > 1 {
                    continue;
                }
                let shown = String::from_utf8_lossy(&args.join(&b' ')).into_owned();
                assert_eq!(found, told, "{}: {shown}, seed {}", of.name, seed());
                *compared.entry(name.clone()).or_insert(0) += 1;
            }
        }
        let n: usize = compared.values().sum();
        say(&format!(
            "{}: the keys of {} commands, {n} times; not known: {unknown:?}",
            of.name,
            compared.len()
        ));
        assert!(compared.len() > 180, "{} commands only", compared.len());
    }
}
