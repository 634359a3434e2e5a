//! `rdbtool split`: files that new clusters start with, and have exactly the data of the source.
//!
//! Nobody has to move or fix anything: `--cluster check` is content, each key is found where a client looks for it, and the digests of
//! the nodes add up to that of the source.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rdbtool::aof::manifest::Manifest;
use rdbtool::cluster::slot::slot;
use rdbtool::cluster::topology::Topology;
use rdbtool::cluster::topology::read::topology;

use crate::chance::Rng;
use crate::fill::fill;
use crate::moved::commands_in;
use crate::resp::{Client, Reply, cmd};
use crate::server::{Installed, Server, free_port, installed};

fn some(name: &str) -> Option<&'static Installed> {
    installed()?.iter().find(|i| i.name == name)
}

/// The client of a server that has one which knows clusters, or that of another.
fn cli(of: &Installed) -> PathBuf {
    of.cli()
        .filter(|_| !of.name.starts_with("redis-3"))
        .or_else(|| some("redis-7.0")?.cli())
        .expect("Redis 7.0 has a client")
}

/// Settings for a server that may be asked for digests.
fn with<'s>(installed: &Installed, settings: &[&'s str]) -> Vec<&'s str> {
    let mut all = settings.to_vec();
    let old = ["redis-3.", "redis-5.", "redis-6."];
    if !old.iter().any(|o| installed.name.starts_with(o)) {
        all.extend(["--enable-debug-command", "yes"]);
    }
    all
}

/// A new, empty directory's name.
fn scratch(name: &str) -> PathBuf {
    let dir =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("seed-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    dir
}

/// `rdbtool split`: it may have to say that something is lost, but nothing worse.
fn split(sources: &[PathBuf], args: &[&str], to: &Path) {
    let out = Command::new(env!("CARGO_BIN_EXE_rdbtool"))
        .arg("split")
        .args(sources)
        .args(args)
        .arg("-o")
        .arg(to)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(matches!(out.status.code(), Some(0 | 3)), "{args:?}: {said}");
    assert!(!said.contains("left out"), "{args:?}: {said}");
}

type Digest = [u8; 20];

pub(super) fn xor(a: Digest, b: Digest) -> Digest {
    std::array::from_fn(|i| a[i] ^ b[i])
}

fn digest(c: &mut Client) -> Digest {
    let hex = cmd!(c, "DEBUG", "DIGEST").text();
    std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
}

/// Part of the digest of a database stands for its number, once in each server that has keys. It is what remains of three sets of keys of
/// which the third is the other two.
pub(super) fn part_of_the_database(c: &mut Client) -> Digest {
    let mut all = Digest::default();
    for keys in [&["a"][..], &["b"], &["a", "b"]] {
        cmd!(c, "FLUSHALL");
        for key in keys {
            cmd!(c, "SET", key, "1");
        }
        all = xor(all, digest(c));
    }
    cmd!(c, "FLUSHALL");
    all
}

/// What a whole cluster must have.
struct Truth {
    keys: Vec<Vec<u8>>,
    /// Of all keys together.
    digest: Digest,
    database: Digest,
    functions: bool,
}

/// Data of every type in one database; as one file, and as those of two masters that had half of the slots each.
fn sources(of: &Installed, seed: &str) -> (Truth, PathBuf, [PathBuf; 2]) {
    let (truth, whole, halves) = data(of, seed);
    let halves = halves.map(|server| saved(of, &server));
    (truth, saved(of, &whole), halves)
}

/// A copy of what a server has saved.
fn saved(of: &Installed, server: &Server) -> PathBuf {
    let name = format!(
        "seed-{}-{}-{}.rdb",
        of.name,
        std::process::id(),
        server.port()
    );
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::copy(server.save(), &path).unwrap();
    path
}

/// The servers that have such data: all of it, and half of the slots each.
fn data(of: &Installed, seed: &str) -> (Truth, Server, [Server; 2]) {
    let server = Server::start(of, &with(of, &[]));
    let c = &mut server.client();
    let database = part_of_the_database(c);
    fill(&server, &mut Rng::new(seed));
    for db in ["1", "7", "15"] {
        cmd!(c, "SELECT", db);
        cmd!(c, "FLUSHDB");
    }
    cmd!(c, "SELECT", "0");
    // Larger than a batch of the program, so that it comes in parts, and many in one slot.
    for i in 0..40 {
        let mut argv = vec![b"RPUSH".to_vec(), b"{tag}:giant".to_vec()];
        argv.extend((0..500).map(|j| format!("{i}:{j}:{}", "x".repeat(20)).into_bytes()));
        c.must(&argv);
    }
    for i in 0..200 {
        cmd!(c, "SET", format!("{{tag}}:{i}"), "1");
        cmd!(c, "SET", format!("many:{i}"), i.to_string());
    }
    let whole = fs::read(server.save()).unwrap();
    let truth = Truth {
        keys: cmd!(c, "KEYS", "*").strings(),
        digest: xor(digest(c), database),
        database,
        functions: server.since((7, 0), (0, 0)),
    };
    let halves = [0, 1].map(|half| {
        let master = Server::start_on(of, &with(of, &[]), &whole);
        let c = &mut master.client();
        for key in &truth.keys {
            if slot(key) / 8192 != half {
                cmd!(c, "DEL", key);
            }
        }
        master
    });
    (truth, server, halves)
}

/// What a server writes into its log, behind what it has: all that is about keys in some slots.
fn write_on(c: &mut Client, has: impl Fn(&[u8]) -> bool) {
    let mut told: Vec<Vec<String>> = Vec::new();
    let mut tell = |text: String| told.push(text.split(' ').map(str::to_owned).collect());
    for i in 0..240 {
        let key = format!("log:{i}");
        tell(match i % 8 {
            0 => format!("SET {key} {i}"),
            1 => format!("RPUSH {key} a b {i}"),
            2 => format!("ZADD {key} {i} a -1.5 b"),
            3 => format!("HMSET {key} f {i} g 2"),
            4 => format!("SADD {key} a b {i}"),
            5 => format!("XADD {key} {i}-1 f v"),
            6 => format!("INCRBY {key} {i}"),
            _ => format!("APPEND {key} text"),
        });
        tell(format!("PEXPIREAT {key} {}", 9_000_000_000_000_i64 + i));
        tell(format!("APPEND many:{i} more"));
    }
    for i in 0..30 {
        tell(format!("DEL many:{i}"));
        tell(format!("RENAME {{tag}}:{i} {{tag}}:renamed:{i}"));
        tell("MULTI".to_owned());
        tell(format!("INCR tx:{i}"));
        tell(format!("LPUSH {{tx:{i}}}list {i}"));
        tell("EXEC".to_owned());
    }
    tell("LTRIM {tag}:giant 10 -1".to_owned());
    for argv in &told {
        let (name, key) = (&argv[0], argv.get(1).map(String::as_bytes));
        // A transaction of nobody's keys is not logged.
        if key.is_none_or(&has) {
            let reply = c.call(argv);
            assert!(!matches!(reply, Reply::Error(_)), "{name}: {reply:?}");
        }
    }
    // With keys of several nodes.
    for name in ["MSET", "DEL"] {
        let all: Vec<_> = (50..90).map(|i| format!("many:{i}")).collect();
        let keys = all.iter().filter(|k| has(k.as_bytes()));
        let mut argv = vec![name.to_owned()];
        match name {
            "MSET" => argv.extend(keys.flat_map(|k| [k.clone(), "again".to_owned()])),
            _ => argv.extend(keys.filter(|k| k.ends_with('7')).cloned()),
        }
        c.must(&argv);
    }
}

/// Has a server write a log: what it has, and then what is written on. Gives it as a directory, where it is one, and as one file.
fn logged(
    of: &Installed,
    server: &Server,
    has: impl Fn(&[u8]) -> bool,
) -> (Option<PathBuf>, PathBuf) {
    let c = &mut server.client();
    cmd!(c, "CONFIG", "SET", "appendfsync", "always");
    cmd!(c, "CONFIG", "SET", "aof-use-rdb-preamble", "yes");
    cmd!(c, "CONFIG", "SET", "appendonly", "yes");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let info = cmd!(c, "INFO", "persistence").text();
        if info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0") {
            assert!(info.contains("aof_last_bgrewrite_status:ok"), "{info}");
            break;
        }
        assert!(Instant::now() < deadline, "{info}");
        std::thread::sleep(Duration::from_millis(50));
    }
    write_on(c, has);
    let to = scratch(&format!("{}-log-{}", of.name, server.port()));
    fs::create_dir(&to).unwrap();
    let plain = to.join("plain.aof");
    let from = server.dir().join("appendonlydir");
    if !from.exists() {
        fs::copy(server.dir().join("appendonly.aof"), &plain).unwrap();
        return (None, plain);
    }
    let dir = to.join("appendonlydir");
    fs::create_dir(&dir).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
    }
    let manifest = fs::read(dir.join("appendonly.aof.manifest")).unwrap();
    let mut all = Vec::new();
    for file in Manifest::read(&manifest).unwrap().loaded() {
        let name = std::str::from_utf8(&file.name).unwrap();
        all.extend(fs::read(dir.join(name)).unwrap());
    }
    fs::write(&plain, all).unwrap();
    (Some(dir), plain)
}

/// Waits for a cluster to be well.
fn well(nodes: &[Server]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    for node in nodes {
        let c = &mut node.client();
        loop {
            let info = cmd!(c, "CLUSTER", "INFO").text();
            if info.contains("cluster_state:ok")
                && info.contains(&format!("cluster_known_nodes:{}", nodes.len()))
            {
                break;
            }
            assert!(Instant::now() < deadline, "{}: {info}", node.name);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Each key where a client finds it, all there is and nothing else.
fn holds(what: &str, cli: &Path, nodes: &[Server], truth: &Truth) {
    let out = Command::new(cli)
        .args([
            "--cluster",
            "check",
            &format!("127.0.0.1:{}", nodes[0].port()),
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{what}: {said}");
    assert!(said.contains("All 16384 slots covered"), "{what}: {said}");
    assert!(
        !said.contains("[WARNING]") && !said.contains("[ERR]"),
        "{what}: {said}"
    );
    let counted = format!("{} keys in {} ", truth.keys.len(), nodes.len());
    assert!(said.contains(&counted), "{what}: {said}");

    let mut clients: BTreeMap<u16, Client> = nodes.iter().map(|n| (n.port(), n.client())).collect();
    let first = nodes[0].port();
    for key in &truth.keys {
        let mut at = first;
        let mut reply = clients.get_mut(&at).unwrap().call(&[&b"TYPE"[..], key]);
        if let Reply::Error(e) = &reply {
            let (moved, port) = e.rsplit_once(':').unwrap();
            assert!(moved.starts_with("MOVED "), "{what}: {e}");
            at = port.parse().unwrap();
            reply = clients.get_mut(&at).unwrap().call(&[&b"TYPE"[..], key]);
        }
        let kind = reply.text();
        assert_ne!(
            kind,
            "none",
            "{what}: {} is not at {at}",
            key.escape_ascii()
        );
    }
    let mut all = Digest::default();
    for (i, c) in clients.values_mut().enumerate() {
        let keys = cmd!(c, "DBSIZE").int();
        all = xor(all, digest(c));
        if keys > 0 {
            all = xor(all, truth.database);
        }
        if truth.functions {
            assert_eq!(
                cmd!(c, "FUNCTION", "LIST").array().len(),
                2,
                "{what}: node {i}"
            );
        }
    }
    assert_eq!(all, truth.digest, "{what}");
    for node in nodes {
        let log = fs::read_to_string(node.dir().join("log")).unwrap();
        assert!(!log.contains("CRITICAL"), "{what}: {log}");
    }
}

/// Puts a node's file in its place.
fn put(seed: &Path, format: &str, number: usize, dir: &Path) {
    let (from, to) = match format {
        "rdb" => (format!("rdb-{number}"), "dump.rdb"),
        "appendonlydir" => {
            let from = seed.join(format!("appendonlydir-{number}"));
            let to = dir.join("appendonlydir");
            fs::create_dir(&to).unwrap();
            for entry in fs::read_dir(from).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
            return;
        }
        _ => (format!("aof-{number}"), "appendonly.aof"),
    };
    fs::copy(seed.join(from), dir.join(to)).unwrap();
}

fn settings(of: &Installed, format: &str) -> Vec<&'static str> {
    let aof = if ["rdb", "restore", "none"].contains(&format) {
        "no"
    } else {
        "yes"
    };
    with(
        of,
        &[
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "5000",
            "--appendonly",
            aof,
        ],
    )
}

/// Nodes that are a cluster when they start: with data, and the configuration that was written for them.
fn start_seeded(
    of: &Installed,
    n: usize,
    format: &str,
    from: &[PathBuf],
    seed: &Path,
) -> Vec<Server> {
    let ports: Vec<u16> = (0..n).map(|_| free_port()).collect();
    let places: Vec<_> = ports.iter().map(|p| format!("127.0.0.1:{p}")).collect();
    let n = n.to_string();
    split(
        from,
        &[
            "--nodes",
            &n,
            "--format",
            format,
            "--for",
            &of.name,
            "--addresses",
            &places.join(","),
        ],
        seed,
    );
    let start = |(i, &port): (usize, &u16)| {
        Server::try_start_at(of, port, &settings(of, format), |dir| {
            fs::copy(
                seed.join(format!("nodes-{}.conf", i + 1)),
                dir.join("nodes.conf"),
            )
            .unwrap();
            put(seed, format, i + 1, dir);
        })
        .unwrap_or_else(|log| panic!("{}: {log}", of.name))
    };
    let nodes: Vec<_> = ports.iter().enumerate().map(start).collect();
    well(&nodes);
    nodes
}

/// Nodes that are given their slots while they are empty, and then started with data.
fn start_then_seed(
    of: &Installed,
    n: usize,
    format: &str,
    from: &[PathBuf],
    seed: &Path,
) -> Vec<Server> {
    split(
        from,
        &[
            "--nodes",
            &n.to_string(),
            "--format",
            format,
            "--for",
            &of.name,
        ],
        seed,
    );
    let mut nodes: Vec<_> = (0..n)
        .map(|_| Server::start(of, &settings(of, "none")))
        .collect();
    let assign = |first: u16| {
        let mut ports: Vec<_> = nodes
            .iter()
            .map(|s| format!("127.0.0.1:{}", s.port()))
            .collect();
        if first == 0 {
            ports.pop();
        }
        Command::new("sh")
            .arg(seed.join("assign-slots.sh"))
            .args(ports)
            .env("REDIS_CLI", of.cli().unwrap_or_else(|| cli(of)))
            .output()
            .unwrap()
    };
    assert_eq!(assign(0).status.code(), Some(2)); // one address is missing
    let out = assign(1);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}: {said}", of.name);
    // They are no longer empty nodes of no cluster.
    assert_eq!(assign(1).status.code(), Some(1));
    well(&nodes);
    for (i, node) in nodes.iter_mut().enumerate() {
        if format == "restore" {
            let commands = fs::read(seed.join(format!("restore-{}", i + 1))).unwrap();
            for reply in node.client().pipe(&commands, commands_in(&commands)) {
                assert!(!matches!(reply, Reply::Error(_)), "{}: {reply:?}", of.name);
            }
            continue;
        }
        node.kill();
        put(seed, format, i + 1, node.dir());
    }
    if format != "restore" {
        for node in &mut nodes {
            node.restart_with(&settings(of, format));
        }
    }
    well(&nodes);
    nodes
}

fn seeding(name: &str) {
    let Some(of) = some(name) else {
        return;
    };
    let (truth, whole, halves) = sources(of, name);
    let (one, two) = (vec![whole], halves.to_vec());
    let mut runs = vec![
        ("aof", 3, &one),
        ("aof", 7, &two),
        ("rdb", 7, &one),
        ("rdb", 3, &two),
        ("restore", 3, &two),
        ("restore", 7, &one),
    ];
    if !name.starts_with("redis-3.") {
        runs.extend([("aof-rdb-preamble", 3, &one), ("aof-rdb-preamble", 7, &two)]);
    }
    if truth.functions {
        runs.extend([("appendonlydir", 7, &one), ("appendonlydir", 3, &two)]);
    }
    if name < "redis-6" {
        runs.truncate(4);
    }
    for (i, (format, n, from)) in runs.into_iter().enumerate() {
        let what = format!("{name}: {format} of {} for {n}", from.len());
        let seed = scratch(&format!("{name}-{i}"));
        let nodes = match format != "restore" && i % 2 == 0 {
            true => start_seeded(of, n, format, from, &seed),
            false => start_then_seed(of, n, format, from, &seed),
        };
        holds(&what, &cli(of), &nodes, &truth);
        slots_of(&what, &mut nodes[0].client(), &truth.keys);
        fs::remove_dir_all(seed).unwrap();
    }
    for file in one.iter().chain(&two) {
        fs::remove_file(file).unwrap();
    }
}

/// From logs: keys, and commands behind them. Of one server, and of two masters.
fn seeding_from_logs(name: &str) {
    let Some(of) = some(name) else {
        return;
    };
    let (mut truth, whole, halves) = data(of, &format!("logs of {name}"));
    let (dir, plain) = logged(of, &whole, |_| true);
    let [(dir_1, plain_1), (dir_2, plain_2)] = [0, 1].map(|half| {
        let has = |key: &[u8]| slot(key) / 8192 == half;
        logged(of, &halves[usize::from(half)], has)
    });
    let c = &mut whole.client();
    truth.keys = cmd!(c, "KEYS", "*").strings();
    truth.digest = xor(digest(c), truth.database);
    let of_halves = halves.each_ref().map(|half| {
        let c = &mut half.client();
        xor(digest(c), truth.database)
    });
    assert_eq!(xor(of_halves[0], of_halves[1]), truth.digest);

    let mut logs = vec![vec![plain], vec![plain_1, plain_2]];
    logs.extend(dir.map(|dir| vec![dir]));
    logs.extend(dir_1.zip(dir_2).map(|(a, b)| vec![a, b]));
    assert_eq!(logs.len(), if truth.functions { 4 } else { 2 });
    let mut formats = vec!["aof", "restore", "aof-rdb-preamble"];
    formats.extend(truth.functions.then_some("appendonlydir"));
    let mut i = 0;
    for from in &logs {
        for format in &formats {
            // The last of all has more nodes.
            i += 1;
            let n = if i == logs.len() * formats.len() {
                7
            } else {
                3
            };
            let what = format!("{name}: {format} of {from:?} for {n}");
            let seed = scratch(&format!("{name}-logs-{i}"));
            let nodes = match *format != "restore" && i % 2 == 0 {
                true => start_seeded(of, n, format, from, &seed),
                false => start_then_seed(of, n, format, from, &seed),
            };
            holds(&what, &cli(of), &nodes, &truth);
            let manifest = fs::read(seed.join("manifest.json")).unwrap();
            let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
            for node in manifest["nodes"].as_array().unwrap() {
                let commands = node["commands"].as_u64().unwrap();
                assert!(commands > 50, "{what}: {node}");
            }
            fs::remove_dir_all(seed).unwrap();
        }
    }
    for log in logs.iter().flatten() {
        let _ = fs::remove_dir_all(log.parent().unwrap());
    }
}

#[test]
fn clusters_of_logs_of_redis_6_0() {
    seeding_from_logs("redis-6.0");
}

#[test]
fn clusters_of_logs_of_redis_7_0() {
    seeding_from_logs("redis-7.0");
}

#[test]
fn clusters_of_logs_of_valkey_9() {
    seeding_from_logs("valkey-9");
}

/// The slot of each key, as the server computes it.
fn slots_of(what: &str, c: &mut Client, keys: &[Vec<u8>]) {
    for key in keys {
        let told = cmd!(c, "CLUSTER", "KEYSLOT", key).int();
        assert_eq!(told, i64::from(slot(key)), "{what}: {}", key.escape_ascii());
    }
}

#[test]
fn clusters_of_redis_6_0() {
    seeding("redis-6.0");
}

#[test]
fn clusters_of_redis_7_0() {
    seeding("redis-7.0");
}

#[test]
fn clusters_of_redis_8_6() {
    seeding("redis-8.6");
}

#[test]
fn clusters_of_valkey_9() {
    seeding("valkey-9");
}

#[test]
fn clusters_of_redis_3_2() {
    seeding("redis-3.2");
}

#[test]
fn clusters_of_redis_5_0() {
    seeding("redis-5.0");
}

/// A cluster that redis-cli makes: it deals out the slots as we do; what it prints of them in any form is read as what they are; and files
/// are made for its very nodes, unless a slot is being moved.
#[test]
fn topologies_of_clusters_that_are_there() {
    for name in [
        "redis-3.2",
        "redis-6.0",
        "redis-7.0",
        "redis-8.6",
        "valkey-9",
    ] {
        let Some(of) = some(name) else {
            continue;
        };
        let cli = cli(of);
        for n in if name == "redis-7.0" {
            [3, 7].as_slice()
        } else {
            &[3]
        } {
            let n = *n;
            let nodes: Vec<_> = (0..n)
                .map(|_| Server::start(of, &settings(of, "none")))
                .collect();
            let places: Vec<_> = nodes
                .iter()
                .map(|s| format!("127.0.0.1:{}", s.port()))
                .collect();
            let out = Command::new(&cli)
                .args(["--cluster", "create"])
                .args(&places)
                .args(["--cluster-replicas", "0", "--cluster-yes"])
                .output()
                .unwrap();
            assert!(
                out.status.success(),
                "{name}: {}",
                String::from_utf8_lossy(&out.stdout)
            );
            well(&nodes);
            agree(&nodes);
            let even = Topology::even(n);
            let mut forms = Vec::new();
            for what in ["NODES", "SLOTS", "SHARDS"] {
                let since_7 = nodes[0].since((7, 0), (0, 0));
                if what == "SHARDS" && !since_7 {
                    continue;
                }
                for form in [&[][..], &["--no-raw"], &["--json"], &["-3", "--no-raw"]] {
                    // Clients before 7.0 have no --json, and servers before 6.0 no version 3.
                    if !since_7 && (form.contains(&"--json") || form.contains(&"-3")) {
                        continue;
                    }
                    let out = Command::new(&cli)
                        .args(["-p", &nodes[0].port().to_string()])
                        .args(form)
                        .args(["CLUSTER", what])
                        .output()
                        .unwrap();
                    forms.push((format!("{what} {form:?}"), out.stdout));
                }
            }
            forms.push((
                "nodes.conf".to_owned(),
                fs::read(nodes[0].dir().join("nodes.conf")).unwrap(),
            ));
            for (form, text) in &forms {
                let what = || format!("{name}: {form}: {}", String::from_utf8_lossy(text));
                let t =
                    topology(text, Some("127.0.0.1")).unwrap_or_else(|e| panic!("{}: {e}", what()));
                let got: Vec<_> = t
                    .nodes()
                    .iter()
                    .map(|n| (n.to_string(), n.slots.clone()))
                    .collect();
                let want: Vec<_> = places
                    .iter()
                    .cloned()
                    .zip(even.nodes().iter().map(|n| n.slots.clone()))
                    .collect();
                assert_eq!(got, want, "{}", what());
            }

            let rdb =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/rdb/redis-2.8.24/keys.rdb");
            let seed = scratch(&format!("there-{name}"));
            let url = format!("redis://{}", places[1]);
            let sources = [rdb.clone()];
            split(
                &sources,
                &[
                    "--cluster",
                    &url,
                    "--format",
                    "restore",
                    "--to-db",
                    "0",
                    "--on-conflict",
                    "error",
                ],
                &seed,
            );
            let manifest: serde_json::Value =
                serde_json::from_slice(&fs::read(seed.join("manifest.json")).unwrap()).unwrap();
            for (i, node) in nodes.iter().enumerate() {
                assert_eq!(manifest["nodes"][i]["address"], places[i]);
                let commands = fs::read(seed.join(format!("restore-{}", i + 1))).unwrap();
                for reply in node.client().pipe(&commands, commands_in(&commands)) {
                    assert!(!matches!(reply, Reply::Error(_)), "{name}: {reply:?}");
                }
            }
            assert!(!seed.join("assign-slots.sh").exists() && !seed.join("nodes-1.conf").exists());
            fs::remove_dir_all(&seed).unwrap();

            let c = &mut nodes[2].client();
            let id = cmd!(nodes[0].client(), "CLUSTER", "NODES").text();
            let id = id
                .lines()
                .find(|l| l.contains("myself"))
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .to_owned();
            let slot = even.nodes()[2].slots.first().unwrap().to_string();
            cmd!(c, "CLUSTER", "SETSLOT", slot, "MIGRATING", id);
            let out = Command::new(env!("CARGO_BIN_EXE_rdbtool"))
                .args(["split", "--cluster", &url, "-o"])
                .arg(&seed)
                .arg(&rdb)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&out.stderr);
            assert_eq!(out.status.code(), Some(1), "{said}");
            assert!(
                said.contains(&format!("slot {slot} is on its way")),
                "{said}"
            );
            assert!(!seed.exists());
        }
    }
}

/// Waits until all nodes tell the same of all slots.
fn agree(nodes: &[Server]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let told = |node: &Server| {
        let text = cmd!(node.client(), "CLUSTER", "NODES").text();
        let t = topology(text.as_bytes(), Some("127.0.0.1")).ok()?;
        Some(
            t.nodes()
                .iter()
                .map(|n| (n.id.clone(), n.slots.clone()))
                .collect::<Vec<_>>(),
        )
    };
    while nodes
        .iter()
        .any(|n| told(n).is_none() || told(n) != told(&nodes[0]))
    {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Valkey 9 has databases in clusters, if it is configured so.
#[test]
fn databases_of_valkey_9() {
    let Some(of) = some("valkey-9") else {
        return;
    };
    let server = Server::start(of, &with(of, &[]));
    fill(&server, &mut Rng::new("databases"));
    let file = server.save();
    let c = &mut server.client();
    for format in ["aof", "rdb", "appendonlydir"] {
        let seed = scratch("databases");
        let sources = [file.clone()];
        split(
            &sources,
            &["--nodes", "3", "--for", "valkey-9", "--format", format],
            &seed,
        );
        let steps = fs::read_to_string(seed.join("NEXT-STEPS")).unwrap();
        assert!(steps.contains("cluster-databases 16"), "{steps}");
        let mut with_databases = settings(of, "none");
        with_databases.extend(["--cluster-databases", "16"]);
        let mut nodes: Vec<_> = (0..3).map(|_| Server::start(of, &with_databases)).collect();
        let places = nodes.iter().map(|s| format!("127.0.0.1:{}", s.port()));
        let out = Command::new("sh")
            .arg(seed.join("assign-slots.sh"))
            .args(places)
            .env("REDIS_CLI", of.cli().unwrap_or_else(|| cli(of)))
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        let mut with_data = settings(of, format);
        with_data.extend(["--cluster-databases", "16"]);
        for (i, node) in nodes.iter_mut().enumerate() {
            node.kill();
            put(&seed, format, i + 1, node.dir());
        }
        for node in &mut nodes {
            node.restart_with(&with_data);
        }
        well(&nodes);
        let topology = Topology::even(3);
        for db in ["0", "1", "7", "15"] {
            cmd!(c, "SELECT", db);
            let mut clients: Vec<_> = nodes.iter().map(Server::client).collect();
            for c in &mut clients {
                cmd!(c, "SELECT", db);
            }
            let keys = cmd!(c, "KEYS", "*").strings();
            let there: i64 = clients.iter_mut().map(|c| cmd!(c, "DBSIZE").int()).sum();
            assert_eq!(there, keys.len() as i64, "{format}: database {db}");
            for key in keys {
                let node = &mut clients[usize::from(topology.owner(slot(&key)))];
                assert_eq!(
                    cmd!(node, "DEBUG", "DIGEST-VALUE", key),
                    cmd!(c, "DEBUG", "DIGEST-VALUE", key),
                    "{format}: database {db}: {}",
                    key.escape_ascii()
                );
            }
        }
        fs::remove_dir_all(seed).unwrap();
    }
}
