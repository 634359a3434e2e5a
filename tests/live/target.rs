//! `rdbtool::target` with real servers that misbehave: links cut at any byte, servers killed, full memory, slots that move, masters
//! that are replaced. Afterwards the data are those of an undisturbed run: nothing lost, nothing twice.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdbtool::ErrorKind;
use rdbtool::cluster::slot::slot;
use rdbtool::filter::OnConflict;
use rdbtool::net::Endpoint;
use rdbtool::out::Out;
use rdbtool::resp::write;
use rdbtool::sink::Sink;
use rdbtool::target::{Options, Report, Target};

use crate::chance::{Rng, seed};
use crate::resp::{Client, Reply, cmd};
use crate::server::{Installed, Server, free_port, installed};

/// The newest of those whose name begins so.
pub(crate) fn some(family: &str) -> Option<&'static Installed> {
    installed()?.iter().rfind(|i| i.name.starts_with(family))
}

/// A server that may be asked for its digest.
pub(crate) fn start(installed: &Installed, settings: &[&str]) -> Server {
    let mut settings = settings.to_vec();
    if !["redis-3.", "redis-5.", "redis-6."]
        .iter()
        .any(|old| installed.name.starts_with(old))
    {
        settings.extend(["--enable-debug-command", "yes"]);
    }
    Server::start(installed, &settings)
}

fn options() -> Options {
    Options {
        on_conflict: OnConflict::Error,
        retry_for: Duration::from_secs(40),
        ..Options::default()
    }
}

pub(crate) fn open(port: u16, options: Options) -> rdbtool::Result<Target> {
    let url = format!("redis://127.0.0.1:{port}");
    Target::open(&Endpoint::parse(&url).unwrap(), options)
}

/// A stream of commands, and each of them.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    commands: Vec<Vec<Vec<u8>>>,
}

impl Stream {
    fn push(&mut self, argv: &[&[u8]]) {
        let mut out = Out::new();
        write::command(argv, &mut out);
        self.bytes.extend_from_slice(out.as_bytes());
        self.commands
            .push(argv.iter().map(|a| a.to_vec()).collect());
    }

    /// What an encoder would write for `n` keys of all kinds, in so many databases. `payload` is what DUMP says of some value.
    fn of_all_kinds(rng: &mut Rng, n: usize, databases: usize, payload: &[u8]) -> Stream {
        let mut s = Stream::default();
        for i in 0..n {
            if i % 50 == 0 && databases > 1 {
                s.push(&[b"SELECT", rng.below(databases).to_string().as_bytes()]);
            }
            let key = format!("key:{i}").into_bytes();
            let some = |rng: &mut Rng| vec![b'a' + rng.below(26) as u8; 1 + rng.below(60)];
            match i % 6 {
                0 => s.push(&[b"SET", &key, &some(rng)]),
                1 => {
                    for _ in 0..=rng.below(12) {
                        let elements: Vec<_> = (0..=rng.below(20)).map(|_| some(rng)).collect();
                        let mut argv = vec![&b"RPUSH"[..], &key];
                        argv.extend(elements.iter().map(Vec::as_slice));
                        s.push(&argv);
                    }
                    s.push(&[b"PEXPIREAT", &key, b"4102444800000"]);
                }
                2 => {
                    for f in 0..5 {
                        let field = format!("f{f}").into_bytes();
                        s.push(&[b"HSET", &key, &field, &some(rng)]);
                    }
                }
                3 => {
                    for id in 1..=rng.below(20) {
                        let id = format!("{id}-1").into_bytes();
                        s.push(&[b"XADD", &key, &id, b"f", &some(rng)]);
                    }
                    s.push(&[b"XGROUP", b"CREATE", &key, b"g", b"0", b"MKSTREAM"]);
                }
                4 => s.push(&[b"RESTORE", &key, b"0", payload]),
                _ => s.push(&[b"ZADD", &key, b"1.5", &some(rng), b"2", &some(rng)]),
            }
        }
        s
    }

    /// Writes it in pieces cut anywhere.
    fn write_to(&self, target: &mut Target, rng: &mut Rng) -> rdbtool::Result<()> {
        let mut rest = &self.bytes[..];
        while !rest.is_empty() {
            let (part, more) = rest.split_at(rest.len().min(1 + rng.below(30_000)));
            target.write(part)?;
            rest = more;
        }
        Ok(())
    }

    /// Sends it one command after the other.
    fn send_plainly(&self, c: &mut Client) {
        for argv in &self.commands {
            c.must(argv);
        }
    }
}

/// What DUMP says of a list.
fn payload(c: &mut Client) -> Vec<u8> {
    cmd!(c, "RPUSH", "payload", "a", "b", "3");
    let payload = cmd!(c, "DUMP", "payload").bytes();
    cmd!(c, "DEL", "payload");
    payload
}

pub(crate) fn digest(server: &Server) -> String {
    cmd!(server.client(), "DEBUG", "DIGEST").text()
}

/// Each key's digest.
pub(crate) fn digests(c: &mut Client) -> BTreeMap<Vec<u8>, String> {
    let keys = cmd!(c, "KEYS", "*").strings();
    keys.into_iter()
        .map(|k| {
            let digest = cmd!(c, "DEBUG", "DIGEST-VALUE", k).array().remove(0).text();
            (k, digest)
        })
        .collect()
}

fn sound(report: &Report) {
    assert!(
        report.failed == 0 && report.skipped == 0,
        "seed {}: {report:?}",
        seed()
    );
}

#[test]
fn many_commands_over_one_and_over_many_connections() {
    for installed in installed().unwrap_or_default() {
        if installed.name.starts_with("redis-3.") {
            continue; // no streams
        }
        let rng = &mut Rng::new(&installed.name);
        let (plain, one, four) = (
            start(installed, &[]),
            start(installed, &[]),
            start(installed, &[]),
        );
        let stream = Stream::of_all_kinds(rng, 2000, 5, &payload(&mut plain.client()));
        stream.send_plainly(&mut plain.client());
        for (server, connections, pipeline) in [(&one, 1, 100), (&four, 4, 16384)] {
            let options = Options {
                connections,
                pipeline,
                ..options()
            };
            let mut target = open(server.port(), options).unwrap();
            assert!(!target.is_cluster());
            assert_eq!(target.proto_max_bulk_len(), 512 << 20);
            stream.write_to(&mut target, rng).unwrap();
            target.mark(7);
            target.settle().unwrap();
            assert_eq!(target.settled(), 7);
            let report = target.finish().unwrap();
            sound(&report);
            let selects = stream.commands.iter().filter(|c| c[0] == b"SELECT").count();
            assert_eq!(report.commands as usize, stream.commands.len() - selects);
            assert_eq!(digest(server), digest(&plain), "{}", server.name);
        }
    }
}

/// A key counts once, by however many commands it is made: the first of all, too, and if it is the empty one.
#[test]
fn keys_are_counted() {
    let Some(installed) = some("redis-7") else {
        return;
    };
    for keys in [&[&b""[..]][..], &[b"", b"\0", b"k"], &[b"k", b""]] {
        let server = start(installed, &[]);
        let mut stream = Stream::default();
        for key in keys {
            for element in [b"a", b"b"] {
                stream.push(&[b"RPUSH", key, element]);
            }
        }
        let mut target = open(server.port(), options()).unwrap();
        target.write(&stream.bytes).unwrap();
        target.settle().unwrap();
        let report = target.finish().unwrap();
        assert_eq!(report.keys_sent, keys.len() as u64, "{keys:?}");
        assert_eq!(
            cmd!(server.client(), "DBSIZE"),
            Reply::Int(keys.len() as i64)
        );
    }
}

#[test]
fn keys_that_are_there() {
    for installed in installed().unwrap_or_default() {
        let server = start(installed, &[]);
        let c = &mut server.client();
        let payload = payload(c);
        for policy in [OnConflict::Error, OnConflict::Replace, OnConflict::Skip] {
            cmd!(c, "FLUSHALL");
            cmd!(c, "SET", "key:500", "old");
            let mut stream = Stream::default();
            for i in 0..1000 {
                let key = format!("key:{i}").into_bytes();
                let mut argv = vec![&b"RESTORE"[..], &key, b"0", &payload];
                argv.extend((policy == OnConflict::Replace).then_some(&b"REPLACE"[..]));
                stream.push(&argv);
            }
            // No list, and no value.
            stream.push(&[b"SET", b"string", b"s"]);
            stream.push(&[b"RPUSH", b"string", b"s"]);
            stream.push(&[b"RESTORE", b"broken", b"0", b"broken"]);
            let mut target = open(
                server.port(),
                Options {
                    on_conflict: policy,
                    ..options()
                },
            )
            .unwrap();
            let done = target.write(&stream.bytes).and_then(|()| target.settle());
            let value = cmd!(c, "TYPE", "key:500").text();
            if policy == OnConflict::Error {
                let e = done.unwrap_err();
                assert_eq!(e.kind(), ErrorKind::Conflict);
                let e = e.to_string();
                assert!(e.contains("key:500") && e.contains("--on-conflict"), "{e}");
                assert_eq!(value, "string");
                continue;
            }
            done.unwrap();
            let skip = policy == OnConflict::Skip;
            let report = target.report();
            assert_eq!((report.skipped, report.failed), (skip.into(), 2));
            assert_eq!(report.errors.len(), 2, "{report:?}");
            assert!(report.errors[0].kind.starts_with("WRONGTYPE"), "{report:?}");
            assert_eq!(report.errors[1].first[0].1, "\"broken\"");
            assert_eq!(value, if skip { "string" } else { "list" });
            assert_eq!(cmd!(c, "DBSIZE").int(), 1001);
        }
    }
}

/// A way to a server that is cut, again and again.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    pub(crate) cuts: Arc<AtomicUsize>,
}

impl Proxy {
    /// Cuts after so many bytes at the most, so many times.
    pub(crate) fn new(to: u16, most: usize, times: usize) -> Proxy {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let cuts = Arc::new(AtomicUsize::new(0));
        let counted = cuts.clone();
        std::thread::spawn(move || {
            let mut rng = Rng::new("proxy");
            for from in listener.incoming().flatten() {
                let Ok(to) = TcpStream::connect(("127.0.0.1", to)) else {
                    continue;
                };
                let left = Arc::new(AtomicUsize::new(
                    match counted.load(Ordering::Relaxed) < times {
                        true => 1 + rng.below(most),
                        false => usize::MAX,
                    },
                ));
                for (mut from, mut to) in [
                    (from.try_clone().unwrap(), to.try_clone().unwrap()),
                    (to, from),
                ] {
                    let (left, counted) = (left.clone(), counted.clone());
                    std::thread::spawn(move || {
                        let mut buffer = [0; 5000];
                        while let Ok(n) = from.read(&mut buffer) {
                            let room = left.load(Ordering::Relaxed);
                            let take = n.min(room);
                            if n == 0 || to.write_all(&buffer[..take]).is_err() {
                                break;
                            }
                            if take == room {
                                counted.fetch_add(1, Ordering::Relaxed);
                                break;
                            }
                            if room != usize::MAX {
                                left.fetch_sub(take, Ordering::Relaxed);
                            }
                        }
                        let _ = from.shutdown(Shutdown::Both);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Proxy { port, cuts }
    }
}

#[test]
fn links_cut_at_any_byte() {
    for family in ["redis-5", "redis-7", "valkey-"] {
        let Some(installed) = some(family) else {
            continue;
        };
        let rng = &mut Rng::new("cut");
        let (plain, server) = (start(installed, &[]), start(installed, &[]));
        let stream = Stream::of_all_kinds(rng, 6000, 3, &payload(&mut plain.client()));
        stream.send_plainly(&mut plain.client());
        let proxy = Proxy::new(server.port(), 150_000, 40);
        let mut target = loop {
            let options = Options {
                connections: 3,
                ..options()
            };
            // To begin with, a broken link is an error.
            if let Ok(target) = open(proxy.port, options) {
                break target;
            }
        };
        stream.write_to(&mut target, rng).unwrap();
        let report = target.finish().unwrap();
        sound(&report);
        let cuts = proxy.cuts.load(Ordering::Relaxed);
        assert!(cuts > 10, "only {cuts} cuts: {report:?}");
        assert_eq!(
            digest(&server),
            digest(&plain),
            "{}, seed {}, {cuts} cuts",
            server.name,
            seed()
        );
    }
}

/// They lie in files until they are answered.
#[test]
fn large_commands_over_links_that_are_cut() {
    let Some(installed) = some("redis-7") else {
        return;
    };
    let rng = &mut Rng::new("large");
    let (plain, server) = (start(installed, &[]), start(installed, &[]));
    let mut stream = Stream::default();
    for i in 0..8usize {
        let large: Vec<u8> = (0..(3 << 20) + i * 700_000)
            .map(|n| (n * 31 + i) as u8)
            .collect();
        stream.push(&[b"RPUSH", b"list", &large, b"small", &large]);
        stream.push(&[b"SET", format!("key:{i}").as_bytes(), &large]);
        stream.push(&[b"RPUSH", b"list", b"small"]);
    }
    stream.send_plainly(&mut plain.client());
    let proxy = Proxy::new(server.port(), 20 << 20, 8);
    let mut target = open(proxy.port, options()).unwrap();
    stream.write_to(&mut target, rng).unwrap();
    let report = target.finish().unwrap();
    sound(&report);
    assert!(report.retries > 0, "{report:?}");
    assert_eq!(digest(&server), digest(&plain), "seed {}", seed());
}

#[test]
fn a_server_killed_and_started_again() {
    let Some(installed) = some("redis-7") else {
        return;
    };
    let rng = &mut Rng::new("killed");
    let plain = start(installed, &[]);
    let mut server = start(
        installed,
        &["--appendonly", "yes", "--appendfsync", "always"],
    );
    let stream = Stream::of_all_kinds(rng, 20_000, 3, &payload(&mut plain.client()));
    stream.send_plainly(&mut plain.client());
    let options = Options {
        connections: 2,
        ..options()
    };
    let port = server.port();
    let mut target = open(port, options).unwrap();
    let report = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let rng = &mut Rng::new("killed, written");
            stream.write_to(&mut target, rng)?;
            target.finish()
        });
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(250));
            server.kill();
            std::thread::sleep(Duration::from_millis(100));
            server.restart();
        }
        writer.join().unwrap()
    });
    let report = report.unwrap();
    sound(&report);
    assert!(report.restarted > 0 && report.retries > 0, "{report:?}");
    assert_eq!(digest(&server), digest(&plain), "seed {}", seed());
}

#[test]
fn a_full_memory_that_is_enlarged() {
    for family in ["redis-7", "valkey-"] {
        let Some(installed) = some(family) else {
            continue;
        };
        let rng = &mut Rng::new("full");
        let plain = start(installed, &[]);
        let server = start(installed, &["--maxmemory", "3mb"]);
        let stream = Stream::of_all_kinds(rng, 12_000, 2, &payload(&mut plain.client()));
        stream.send_plainly(&mut plain.client());
        static WAITS: AtomicBool = AtomicBool::new(false);
        WAITS.store(false, Ordering::Relaxed);
        let options = Options {
            connections: 2,
            notice: |_| WAITS.store(true, Ordering::Relaxed),
            ..options()
        };
        let mut target = open(server.port(), options).unwrap();
        let done = AtomicBool::new(false);
        let report = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let rng = &mut Rng::new("full, written");
                let report = stream
                    .write_to(&mut target, rng)
                    .and_then(|()| target.finish());
                done.store(true, Ordering::Relaxed);
                report
            });
            let c = &mut server.client();
            for mb in 4.. {
                std::thread::sleep(Duration::from_millis(150));
                // However slow the machine is, it is full once before there is more.
                while !WAITS.load(Ordering::Relaxed) && !done.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                if done.load(Ordering::Relaxed) {
                    break;
                }
                cmd!(c, "CONFIG", "SET", "maxmemory", format!("{mb}mb"));
            }
            writer.join().unwrap()
        });
        let report = report.unwrap();
        sound(&report);
        let oom = |r: &str| r.contains("OOM");
        assert!(report.waited_for.keys().any(|r| oom(r)), "{report:?}");
        assert_eq!(digest(&server), digest(&plain), "seed {}", seed());
    }
}

#[test]
fn without_a_server_it_ends() {
    let Some(installed) = some("redis-7") else {
        return;
    };
    let port = free_port();
    let e = open(port, options()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Io);

    let mut server = start(installed, &[]);
    static SAID: AtomicU64 = AtomicU64::new(0);
    let options = Options {
        retry_for: Duration::from_secs(1),
        notice: |said| {
            assert!(said.starts_with("waiting for 127.0.0.1:"), "{said}");
            SAID.fetch_add(1, Ordering::Relaxed);
        },
        ..options()
    };
    let mut target = open(server.port(), options).unwrap();
    server.kill();
    let e = target
        .write(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n")
        .and_then(|()| target.settle());
    let e = e.unwrap_err().to_string();
    assert!(e.contains("given up after") && e.contains("refused"), "{e}");
    assert!(SAID.load(Ordering::Relaxed) > 0);
}

// --- clusters -------------------------------------------------------------------------

/// Three masters with a third of the slots each, and so many replicas of the first.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) fn start(installed: &Installed, replicas: usize) -> Cluster {
        let nodes: Vec<_> = (0..3 + replicas)
            .map(|_| {
                start(
                    installed,
                    &["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"],
                )
            })
            .collect();
        for (i, node) in nodes.iter().enumerate() {
            let c = &mut node.client();
            cmd!(c, "CLUSTER", "SET-CONFIG-EPOCH", (i + 1).to_string());
            if let Some((from, to)) = [(0, 5460), (5461, 10922), (10923, 16383)].get(i) {
                let mut argv = vec!["CLUSTER".to_owned(), "ADDSLOTS".to_owned()];
                argv.extend((*from..=*to).map(|s: u32| s.to_string()));
                c.must(&argv);
            }
            if i > 0 {
                cmd!(
                    c,
                    "CLUSTER",
                    "MEET",
                    "127.0.0.1",
                    nodes[0].port().to_string()
                );
            }
        }
        let cluster = Cluster { nodes };
        let all = cluster.nodes.len();
        cluster.wait(|info| {
            info.contains("cluster_state:ok")
                && info.contains(&format!("cluster_known_nodes:{all}"))
        });
        let first = cluster.id(0);
        for node in cluster.nodes.iter().skip(3) {
            let c = &mut node.client();
            cmd!(c, "CLUSTER", "REPLICATE", first);
            wait_for(|| {
                cmd!(c, "INFO", "replication")
                    .text()
                    .contains("master_link_status:up")
            });
        }
        cluster
    }

    fn id(&self, node: usize) -> String {
        cmd!(self.nodes[node].client(), "CLUSTER", "MYID").text()
    }

    /// Makes a replica the master.
    pub(crate) fn hand_over(&self, replica: usize) {
        let c = &mut self.nodes[replica].client();
        let mut tries = 0;
        wait_for(|| {
            // It is refused, or comes to nothing, until the replica is up to date.
            if tries % 50 == 0 {
                c.call(&["CLUSTER", "FAILOVER"]);
            }
            tries += 1;
            cmd!(c, "INFO", "replication")
                .text()
                .contains("role:master")
        });
    }

    fn wait(&self, mut is: impl FnMut(&str) -> bool) {
        for node in &self.nodes {
            let c = &mut node.client();
            wait_for(|| is(&cmd!(c, "CLUSTER", "INFO").text()));
        }
    }

    /// The digest of every key, and how many there are on all masters together.
    pub(crate) fn digests(&self, skip: Option<usize>) -> (BTreeMap<Vec<u8>, String>, usize) {
        let (mut all, mut n) = (BTreeMap::new(), 0);
        for (i, node) in self.nodes.iter().enumerate() {
            let c = &mut match Some(i) == skip {
                true => continue,
                false => node.client(),
            };
            if cmd!(c, "INFO", "replication")
                .text()
                .contains("role:master")
            {
                let some = digests(c);
                n += some.len();
                all.extend(some);
            }
        }
        (all, n)
    }
}

#[track_caller]
fn wait_for(mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes a stream into a cluster to which something happens meanwhile, again and again with other keys until that is over; then all
/// is as in one server. `gone` says which node is no more.
fn write_while(
    installed: &Installed,
    replicas: usize,
    what: &str,
    options: Options,
    happen: impl FnOnce(&mut Cluster) -> Option<usize>,
) -> Report {
    let rng = &mut Rng::new(what);
    let plain = start(installed, &[]);
    let mut cluster = Cluster::start(installed, replicas);
    let stream = Stream::of_all_kinds(rng, 18_000, 1, &payload(&mut plain.client()));
    stream.send_plainly(&mut plain.client());
    // Any node will do, but the one that may go.
    let mut target = open(cluster.nodes[1].port(), options).unwrap();
    assert!(target.is_cluster());
    let (report, gone) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let rng = &mut Rng::new("written");
            stream.write_to(&mut target, rng)?;
            target.finish()
        });
        let gone = happen(&mut cluster);
        (writer.join().unwrap().unwrap(), gone)
    });
    sound(&report);
    let (have, n) = cluster.digests(gone);
    let want = digests(&mut plain.client());
    for (key, digest) in &want {
        assert_eq!(
            have.get(key),
            Some(digest),
            "{what}, seed {}: {}: {report:?}",
            seed(),
            key.escape_ascii()
        );
    }
    assert_eq!((have.len(), n), (want.len(), want.len()), "{what}");
    report
}

/// Slow enough that something can happen meanwhile.
fn slowly() -> Options {
    Options {
        connections: 6,
        keys_per_second: Some(8000),
        ..options()
    }
}

/// Moves slots from the first node to the second, one after the other.
pub(crate) fn move_slots(cluster: &Cluster, slots: std::ops::Range<u32>) {
    let (from, to) = (cluster.id(0), cluster.id(1));
    let mut clients: Vec<_> = cluster.nodes.iter().map(|n| n.client()).collect();
    let port = cluster.nodes[1].port().to_string();
    for s in slots.map(|s| s.to_string()) {
        cmd!(clients[1], "CLUSTER", "SETSLOT", s, "IMPORTING", from);
        cmd!(clients[0], "CLUSTER", "SETSLOT", s, "MIGRATING", to);
        std::thread::sleep(Duration::from_millis(3));
        loop {
            let keys = cmd!(clients[0], "CLUSTER", "GETKEYSINSLOT", s, "10").strings();
            if keys.is_empty() {
                break;
            }
            for key in keys {
                assert_eq!(slot(&key).to_string(), s);
                cmd!(clients[0], "MIGRATE", "127.0.0.1", port, key, "0", "5000");
            }
        }
        for at in [1, 0, 2] {
            cmd!(clients[at], "CLUSTER", "SETSLOT", s, "NODE", to);
        }
    }
}

#[test]
fn slots_that_move() {
    for family in ["redis-6", "valkey-"] {
        let Some(installed) = some(family) else {
            continue;
        };
        let report = write_while(installed, 0, "slots that move", slowly(), |cluster| {
            move_slots(cluster, 100..250);
            None
        });
        assert!(report.retries > 0, "{report:?}");
    }
}

#[test]
fn a_master_that_hands_over() {
    for family in ["redis-7", "valkey-"] {
        let Some(installed) = some(family) else {
            continue;
        };
        let report = write_while(installed, 1, "hands over", slowly(), |cluster| {
            std::thread::sleep(Duration::from_millis(500));
            for at in [3, 0] {
                cluster.hand_over(at);
                std::thread::sleep(Duration::from_millis(500));
            }
            None
        });
        assert!(report.retries > 0, "{report:?}");
    }
}

#[test]
fn a_master_that_is_killed() {
    for family in ["redis-7", "valkey-"] {
        let Some(installed) = some(family) else {
            continue;
        };
        let options = Options {
            replicas: 1,
            ..slowly()
        };
        // The other masters have no replica.
        let report = write_while(installed, 1, "killed", options, |cluster| {
            std::thread::sleep(Duration::from_millis(700));
            cluster.nodes[0].kill();
            Some(0)
        });
        assert!(report.retries > 0, "{report:?}");
    }
}

#[test]
fn a_cluster_has_one_database() {
    let Some(installed) = some("redis-7") else {
        return;
    };
    let cluster = Cluster::start(installed, 0);
    let mut target = open(cluster.nodes[2].port(), options()).unwrap();
    let mut stream = Stream::default();
    stream.push(&[b"SELECT", b"0"]);
    stream.push(&[
        b"FUNCTION",
        b"LOAD",
        b"#!lua name=l\nredis.register_function('f', function() return 1 end)",
    ]);
    stream.push(&[b"SET", b"k", b"v"]);
    target.write(&stream.bytes).unwrap();
    target.settle().unwrap();
    for node in &cluster.nodes {
        let list = cmd!(node.client(), "FUNCTION", "LIST").array();
        assert_eq!(list.len(), 1);
    }
    target.flush().unwrap();
    let left = |n: &Server| cmd!(n.client(), "DBSIZE").int();
    assert_eq!(cluster.nodes.iter().map(left).sum::<i64>(), 0);
    let e = target
        .write(b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n")
        .unwrap_err();
    assert!(
        e.to_string().contains("a cluster has database 0 only"),
        "{e}"
    );
    assert!(matches!(
        cluster.nodes[0].client().call(&["PING"]),
        Reply::Status(_)
    ));
}
