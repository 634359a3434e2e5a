//! Commands of a log into live servers: each is done once, whatever happens. Most of them are not the same twice.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdbtool::dump::{Dump, Format, Live};
use rdbtool::filter::OnConflict;
use rdbtool::out::Out;
use rdbtool::resp::write;
use rdbtool::source::Source;
use rdbtool::target::{Options, Report, Target};
use rdbtool::{ErrorKind, Progress};

use crate::chance::{Rng, seed};
use crate::resp::{Client, Reply, cmd};
use crate::resume::Restore;
use crate::server::Server;
use crate::target::{Cluster, Proxy, digest, digests, move_slots, open, some, start};

/// A log of so many commands; of the last key of each group every command is written down, in order.
fn log(rng: &mut Rng, n: usize, databases: usize) -> Vec<u8> {
    let mut out = Out::new();
    let mut group = false;
    let mut push = |words: &str, more: &[&[u8]]| {
        let mut argv: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        argv.extend(more);
        write::command(&argv, &mut out);
    };
    push("SELECT 0", &[]);
    for i in 0..n {
        if databases > 1 && rng.below(60) == 0 {
            push(&format!("SELECT {}", rng.below(databases)), &[]);
        }
        if !group && rng.below(10) == 0 {
            push("MULTI", &[]);
            group = true;
        }
        let g = rng.below(40);
        let len = 1 + rng.below(30);
        let value = rng.bytes(len);
        match rng.below(16) {
            0 => push(&format!("INCRBY {{{g}}}:n {}", rng.below(1000)), &[]),
            1 => push(&format!("RPUSH {{{g}}}:l"), &[&value]),
            2 => push(&format!("LPUSH {{{g}}}:l"), &[&value]),
            3 => push(&format!("LPOP {{{g}}}:l"), &[]),
            4 => push(&format!("RPOPLPUSH {{{g}}}:l {{{g}}}:m"), &[]),
            5 => push(&format!("RENAME {{{g}}}:m {{{g}}}:l"), &[]), // may fail, as it did
            6 => push(&format!("HINCRBY {{{g}}}:h f{} 7", rng.below(9)), &[]),
            7 => push(&format!("ZINCRBY {{{g}}}:z 1.5 m{}", rng.below(9)), &[]),
            8 => push(&format!("SADD {{{g}}}:s"), &[&value]),
            9 => push(&format!("XADD {{{g}}}:x {}-1 f", i + 1), &[&value]),
            10 => push(&format!("SETRANGE {{{g}}}:r {}", rng.below(50)), &[&value]),
            11 => push(
                &format!(
                    "DEL {{{g}}}:n {{{}}}:s {{{}}}:z",
                    rng.below(40),
                    rng.below(40)
                ),
                &[],
            ),
            12 => push(
                &format!("MSET {{{g}}}:a {i} {{{}}}:a {i}", rng.below(40)),
                &[],
            ),
            13 if databases > 1 && rng.below(6) == 0 => push("SWAPDB 0 2", &[]),
            13 => push(
                &format!("PEXPIREAT {{{g}}}:h 4102444800{:03}", rng.below(999)),
                &[],
            ),
            14 if rng.below(200) == 0 => {
                push(if databases > 1 { "FLUSHDB" } else { "FLUSHALL" }, &[])
            }
            14 => push(&format!("BITOP NOT {{{g}}}:r {{{g}}}:r"), &[]),
            _ => push(&format!("LTRIM {{{g}}}:l 1 -1"), &[]),
        }
        push(&format!("APPEND {{{g}}}:told {i},"), &[]);
        if group && rng.below(6) == 0 {
            push("EXEC", &[]);
            group = false;
        }
    }
    if group {
        push("EXEC", &[]);
    }
    out.as_bytes().to_vec()
}

/// A server that has been given all of a log.
fn undisturbed(family: &str, log: &[u8]) -> Option<Server> {
    let server = start(some(family)?, &[]);
    let mut n = 0;
    let mut rest = log;
    while let Some(raw) = rdbtool::command::Raw::read(rest, 0).unwrap() {
        n += 1;
        rest = &rest[raw.bytes().len()..];
    }
    server.client().pipe(log, n);
    Some(server)
}

fn options() -> Options {
    Options {
        on_conflict: OnConflict::Error,
        retry_for: Duration::from_secs(40),
        ..Options::default()
    }
}

/// Gives a target all of a log.
fn restore(target: &mut Target, log: &[u8]) -> rdbtool::Result<()> {
    let dump = Dump {
        format: Format::Restore {
            big_key: 1 << 30,
            whole: true,
        },
        on_conflict: OnConflict::Error,
        live: match target.is_cluster() {
            true => Live::Cluster,
            false => Live::Server,
        },
        ..Dump::default()
    };
    let source = Source::from_reader("log", std::io::Cursor::new(log.to_vec()));
    dump.run(&mut [source], &Progress::new(), target)?;
    target.settle()
}

#[test]
fn over_links_that_are_cut() {
    for family in ["redis-3.", "redis-7", "valkey-"] {
        let log = known_by(family, log(&mut Rng::new("once"), 12_000, 3));
        let Some(plain) = undisturbed(family, &log) else {
            continue;
        };
        let server = start(some(family).unwrap(), &[]);
        let proxy = Proxy::new(server.port(), 400_000, 8);
        let mut target = loop {
            // To begin with, a broken link is an error.
            if let Ok(target) = open(proxy.port, options()) {
                break target;
            }
        };
        let done = restore(&mut target, &log);
        let what = format!("{}, seed {}", server.name, seed());
        assert!(done.is_ok(), "{what}: {done:?}");
        let cuts = proxy.cuts.load(Ordering::Relaxed);
        assert!(cuts > 3, "{what}: only {cuts} cuts");
        let report = target.finish().unwrap();
        assert!(report.retries > 0, "{what}: {report:?}");
        same(&server, &plain, &format!("{what}, {cuts} cuts"));
    }
}

/// The same as a file.
fn file(dir: &Path, log: &[u8]) -> PathBuf {
    let path = dir.join("log.aof");
    std::fs::write(&path, log).unwrap();
    path
}

#[test]
fn killed_again_and_again_until_it_is_through() {
    for family in ["redis-5", "redis-8", "valkey-"] {
        let log = log(&mut Rng::new("killed"), 40_000, 3);
        let Some(plain) = undisturbed(family, &log) else {
            continue;
        };
        let dir = tempfile::tempdir().unwrap();
        let server = start(some(family).unwrap(), &[]);
        let path = file(dir.path(), &log);
        let restore = Restore::new(&path, server.port(), "", dir.path());
        let rng = &mut Rng::new(family);
        let (_, run) = restore.through(rng, 1500, "--rate 1M");
        let what = format!("{}, seed {}: {}", server.name, seed(), run.stderr);
        assert!(run.stderr.contains("going on"), "{what}");
        same(&server, &plain, &what);
    }
}

#[test]
fn killed_with_a_cluster_as_target() {
    let mut rng = Rng::new("killed, cluster");
    let log: Vec<u8> = log(&mut rng, 20_000, 1);
    // What is for all nodes cannot be gone on with.
    let log = without(&log, b"FLUSHALL");
    let Some(plain) = undisturbed("redis-7", &log) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(some("redis-7").unwrap(), 0);
    let path = file(dir.path(), &log);
    let restore = Restore::new(&path, cluster.nodes[1].port(), "", dir.path());
    let (_, run) = restore.through(&mut rng, 1500, "--rate 500k");
    let what = format!("seed {}: {}", seed(), run.stderr);
    assert!(run.stderr.contains("going on"), "{what}");
    is_all_there(&cluster, &plain, &what);
}

/// Redis 3.2 has neither streams nor SWAPDB, and of a transaction with a command that it does not have it does nothing.
fn known_by(family: &str, log: Vec<u8>) -> Vec<u8> {
    match family {
        "redis-3." => without(&without(&log, b"XADD"), b"SWAPDB"),
        _ => log,
    }
}

/// Panics with the first keys that are not the same, if any are not.
#[track_caller]
fn same(server: &Server, plain: &Server, what: &str) {
    if digest(server) == digest(plain) {
        return;
    }
    for db in 0..3 {
        let [have, want] = [server, plain].map(|s| {
            let c = &mut s.client();
            cmd!(c, "SELECT", db.to_string());
            cmd!(c, "KEYS", "*")
                .strings()
                .into_iter()
                .map(|k| (k.clone(), cmd!(c, "DUMP", k).bytes()))
                .collect::<std::collections::BTreeMap<_, _>>()
        });
        for (key, value) in &want {
            if have.get(key) != Some(value) {
                let [have, want] = [server, plain].map(|s| {
                    let c = &mut s.client();
                    cmd!(c, "SELECT", db.to_string());
                    format!("{:?}", c.call(&[&b"GET"[..], key]))
                });
                panic!("{what}: {db} {}: {have}\n{want}", key.escape_ascii());
            }
        }
        for key in have.keys() {
            assert!(
                want.contains_key(key),
                "{what}: {db} {}",
                key.escape_ascii()
            );
        }
    }
    panic!("{what}: the digests differ");
}

/// A log without the commands of a name.
fn without(log: &[u8], name: &[u8]) -> Vec<u8> {
    let (mut rest, mut left) = (log, Vec::new());
    while let Some(raw) = rdbtool::command::Raw::read(rest, 0).unwrap() {
        rest = &rest[raw.bytes().len()..];
        if raw.name() != name {
            left.extend_from_slice(raw.bytes());
        }
    }
    left
}

fn is_all_there(cluster: &Cluster, plain: &Server, what: &str) {
    let (have, n) = cluster.digests(None);
    let want = digests(&mut plain.client());
    for (key, digest) in &want {
        assert_eq!(
            have.get(key),
            Some(digest),
            "{what}: {}",
            key.escape_ascii()
        );
    }
    assert_eq!((have.len(), n), (want.len(), want.len()), "{what}");
}

/// A log into a cluster to which something happens meanwhile.
fn meanwhile(
    family: &str,
    replicas: usize,
    what: &str,
    happen: impl FnOnce(&mut Cluster),
) -> Option<Report> {
    let log = log(&mut Rng::new(what), 15_000, 1);
    let plain = undisturbed(family, &log)?;
    let mut cluster = Cluster::start(some(family)?, replicas);
    let options = Options {
        keys_per_second: Some(5000),
        replicas: replicas as u64,
        ..options()
    };
    let mut target = open(cluster.nodes[1].port(), options).unwrap();
    let report = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            restore(&mut target, &log)?;
            target.finish()
        });
        happen(&mut cluster);
        writer.join().unwrap()
    });
    let report = report.unwrap_or_else(|e| panic!("{what}, seed {}: {e}", seed()));
    is_all_there(
        &cluster,
        &plain,
        &format!("{what}, seed {}: {report:?}", seed()),
    );
    Some(report)
}

/// Whether it has come to the target that something happened. What it had not sent by then is not sent again, only elsewhere.
fn noticed(report: &Report) -> bool {
    report.retries > 0 || !report.waited_for.is_empty()
}

#[test]
fn while_slots_move() {
    for family in ["redis-6", "redis-7", "valkey-"] {
        let report = meanwhile(family, 0, "slots move", |cluster| {
            move_slots(cluster, 0..1500);
        });
        assert!(report.as_ref().is_none_or(noticed), "{report:?}");
    }
}

#[test]
fn while_a_master_hands_over() {
    let report = meanwhile("redis-7", 1, "hands over", |cluster| {
        std::thread::sleep(Duration::from_millis(700));
        cluster.hand_over(3);
        std::thread::sleep(Duration::from_millis(500));
        cluster.hand_over(0);
    });
    assert!(report.as_ref().is_none_or(noticed), "{report:?}");
}

#[test]
fn a_server_killed_and_started_again() {
    let log = log(&mut Rng::new("restarted"), 30_000, 3);
    let Some(plain) = undisturbed("redis-7", &log) else {
        return;
    };
    let settings = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = start(some("redis-7").unwrap(), &settings);
    let options = Options {
        keys_per_second: Some(20_000),
        ..options()
    };
    let mut target = open(server.port(), options).unwrap();
    let report = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            restore(&mut target, &log)?;
            target.finish()
        });
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(400));
            server.kill();
            std::thread::sleep(Duration::from_millis(100));
            server.restart();
        }
        writer.join().unwrap().unwrap()
    });
    assert!(report.restarted > 0, "{report:?}");
    same(&server, &plain, &format!("seed {}", seed()));
}

/// What it had confirmed is gone: nobody has it any more, and to go on would leave a hole.
#[test]
fn a_server_that_comes_back_without_them() {
    let Some(installed) = some("redis-7") else {
        return;
    };
    let log = log(&mut Rng::new("lost"), 30_000, 1);
    let mut server = start(installed, &["--save", ""]);
    let options = Options {
        keys_per_second: Some(20_000),
        ..options()
    };
    let mut target = open(server.port(), options).unwrap();
    let e = std::thread::scope(|scope| {
        let writer = scope.spawn(|| restore(&mut target, &log));
        std::thread::sleep(Duration::from_millis(1800));
        server.kill();
        server.restart();
        writer.join().unwrap().unwrap_err()
    });
    assert_eq!(e.kind(), ErrorKind::Server);
    assert!(
        e.to_string().contains("has lost commands of the log"),
        "{e}"
    );
    let dbsize = |c: &mut Client| cmd!(c, "DBSIZE").int();
    assert_eq!(dbsize(&mut server.client()), 0);
}

#[test]
fn a_full_memory_that_is_enlarged() {
    for family in ["redis-3.", "redis-5", "redis-7", "valkey-"] {
        let log = known_by(family, log(&mut Rng::new("full"), 30_000, 2));
        let Some(plain) = undisturbed(family, &log) else {
            continue;
        };
        let server = start(some(family).unwrap(), &[]);
        let c = &mut server.client();
        let used = cmd!(c, "INFO", "memory").text();
        let used = used.lines().find_map(|l| l.strip_prefix("used_memory:"));
        let used: usize = used.unwrap().trim().parse().unwrap();
        cmd!(
            c,
            "CONFIG",
            "SET",
            "maxmemory",
            (used + 300_000).to_string()
        );
        static WAITS: AtomicBool = AtomicBool::new(false);
        WAITS.store(false, Ordering::Relaxed);
        let options = Options {
            notice: |_| WAITS.store(true, Ordering::Relaxed),
            ..options()
        };
        let mut target = open(server.port(), options).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                restore(&mut target, &log)?;
                target.finish()
            });
            while !WAITS.load(Ordering::Relaxed) && !writer.is_finished() {
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(WAITS.load(Ordering::Relaxed), "{family}: it was never full");
            std::thread::sleep(Duration::from_millis(300));
            cmd!(c, "CONFIG", "SET", "maxmemory", "0");
            writer.join().unwrap().unwrap();
        });
        same(&server, &plain, &format!("{family}, seed {}", seed()));
    }
}

/// A library goes to every master, and no marker is left behind.
#[test]
fn what_is_for_every_master() {
    let Some(installed) = some("redis-7") else {
        return;
    };
    let (cluster, mut out) = (Cluster::start(installed, 0), Out::new());
    let code = b"#!lua name=l\nredis.register_function('f', function() return 1 end)";
    for argv in [
        &[&b"INCR"[..], b"a"][..],
        &[b"INCR", b"b"],
        &[b"FUNCTION", b"LOAD", code],
        &[b"INCR", b"c"],
    ] {
        write::command(argv, &mut out);
    }
    let mut target = open(cluster.nodes[0].port(), options()).unwrap();
    restore(&mut target, out.as_bytes()).unwrap();
    let report = target.finish().unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    for node in &cluster.nodes {
        let libraries = cmd!(node.client(), "FUNCTION", "LIST").array();
        assert_eq!(libraries.len(), 1);
    }
    let keys: Vec<_> = cluster.digests(None).0.into_keys().collect();
    assert_eq!(keys, [b"a", b"b", b"c"]);
}

/// Commands that a server does not know are counted and named, and all others are done.
#[test]
fn commands_that_are_not_there() {
    let Some(installed) = some("redis-7") else {
        return;
    };
    let (server, mut out) = (start(installed, &[]), Out::new());
    for i in 0..300 {
        write::command(&[b"MULTI"], &mut out);
        write::command(&[b"INCR", b"n"], &mut out);
        if i % 3 == 0 {
            write::command(&[b"JSON.SET", b"doc", b"$", b"1"], &mut out);
        }
        write::command(&[b"RPUSH", b"n", b"no list"], &mut out);
        write::command(&[b"INCR", b"n"], &mut out);
        write::command(&[b"EXEC"], &mut out);
    }
    let mut target = open(server.port(), options()).unwrap();
    restore(&mut target, out.as_bytes()).unwrap();
    let report = target.finish().unwrap();
    assert_eq!(report.failed, 400, "{report:?}");
    assert_eq!(report.errors.len(), 2, "{report:?}");
    assert!(
        report
            .errors
            .iter()
            .any(|e| e.count == 100 && e.first[0].1 == "\"doc\""),
        "{report:?}"
    );
    let c = &mut server.client();
    assert_eq!(cmd!(c, "GET", "n").text(), "600");
    // And nothing of ours is left.
    assert_eq!(cmd!(c, "DBSIZE"), Reply::Int(1));
}
