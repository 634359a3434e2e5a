//! Snapshots of running servers, taken as a replica takes them. The truth: a server that loads the snapshot has the source's digest.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdbtool::net::Endpoint;
use rdbtool::replication::{Options, Snapshot, snapshot, source};
use rdbtool::sink::Count;
use rdbtool::{Decode, Progress};

use crate::chance::Rng;
use crate::fill::fill;
use crate::net::Certificates;
use crate::resp::{Client, cmd};
use crate::server::{Installed, Server, free_port, installed};

fn endpoint(port: u16) -> Endpoint {
    Endpoint::parse(&format!("redis://127.0.0.1:{port}/3")).unwrap()
}

/// The bytes of a snapshot.
fn dump(port: u16) -> (Snapshot, Vec<u8>) {
    let (about, mut stream) = snapshot(&endpoint(port), &Options::default()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    (about, bytes)
}

fn digest(c: &mut Client) -> String {
    cmd!(c, "DEBUG", "DIGEST").text()
}

/// Settings under which snapshots come at once, and what DEBUG needs from 7.0 on.
fn settings(installed: &Installed, more: &[&'static str]) -> Vec<&'static str> {
    let debug = !["redis-3.", "redis-5.", "redis-6."]
        .iter()
        .any(|old| installed.name.starts_with(old));
    let mut all = more.to_vec();
    all.extend(["--repl-diskless-sync-delay", "0"]);
    if debug {
        all.extend(["--enable-debug-command", "yes"]);
    }
    all
}

/// The same data in a server that loads the snapshot; and it decodes.
fn assert_same_data(installed: &Installed, server: &Server, how: &str) {
    let what = format!("{}, {how}", server.name);
    let before = digest(&mut server.client());
    let (about, bytes) = dump(server.port());
    let (id, _) = about.history.as_ref().unwrap();
    assert_eq!(id.len(), 40, "{what}");
    if let Some(len) = about.len {
        assert_eq!(len, bytes.len() as u64, "{what}");
    }
    assert_eq!(
        about.len.is_none(),
        how.starts_with("diskless"),
        "{what}: {about:?}"
    );
    assert_eq!(
        digest(&mut load(installed, &bytes).client()),
        before,
        "{what}"
    );
    let (_, source) = source(&endpoint(server.port()), &Options::default()).unwrap();
    let seen = Decode::default()
        .run(&mut [source], &Progress::new(), &mut Count::default())
        .unwrap();
    let keys: i64 = (0..16)
        .map(|db| {
            let c = &mut server.client();
            cmd!(c, "SELECT", db.to_string());
            cmd!(c, "DBSIZE").int()
        })
        .sum();
    assert_eq!(seen[0].keys, keys as u64, "{what}");
    assert_eq!(digest(&mut server.client()), before, "{what}");
}

/// A server of the same release that has loaded `bytes`.
fn load(installed: &Installed, bytes: &[u8]) -> Server {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("loaded.rdb"), bytes).unwrap();
    let dir = dir.path().to_str().unwrap().to_owned();
    let mut all = settings(installed, &["--dbfilename", "loaded.rdb"]);
    all.extend(["--dir", &dir]); // of two the last counts
    let server = Server::start(installed, &all);
    let c = &mut server.client();
    wait_until("loaded", || {
        !cmd!(c, "INFO", "persistence").text().contains("loading:1")
    });
    server
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < until, "never {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Values that do not compress, `megabytes` of them.
fn large(server: &Server, megabytes: usize) {
    let c = &mut server.client();
    let mut state = 1u64;
    for i in 0..megabytes {
        let value: Vec<u8> = (0..1 << 17)
            .flat_map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (state ^ state >> 29).to_le_bytes()
            })
            .collect();
        cmd!(c, "SET", format!("large:{i}"), value);
    }
}

#[test]
fn snapshots_have_the_digest_of_their_source() {
    for installed in installed().unwrap_or_default() {
        let server = Server::start(installed, &settings(installed, &[]));
        fill(&server, &mut Rng::new(&server.name));
        let c = &mut server.client();
        // Nothing may expire between the two digests.
        for db in 0..16 {
            cmd!(c, "SELECT", db.to_string());
            for key in cmd!(c, "KEYS", "*").strings() {
                let left = cmd!(c, "PTTL", key).int();
                if (0..600_000).contains(&left) {
                    cmd!(c, "PERSIST", key);
                }
            }
        }
        cmd!(c, "CONFIG", "SET", "repl-diskless-sync", "no");
        assert_same_data(installed, &server, "disk");
        cmd!(c, "CONFIG", "SET", "repl-diskless-sync", "yes");
        cmd!(c, "CONFIG", "SET", "repl-diskless-sync-delay", "0");
        assert_same_data(installed, &server, "diskless");
        for (name, from) in [
            ("repl-rdb-channel", "redis-8."),
            ("dual-channel-replication-enabled", "valkey-"),
        ] {
            if server.name.starts_with(from) {
                cmd!(c, "CONFIG", "SET", name, "yes");
                assert_same_data(installed, &server, "diskless, with two channels");
            }
        }
    }
}

#[test]
fn a_replica_as_the_source() {
    for installed in installed().unwrap_or_default() {
        let master = Server::start(installed, &settings(installed, &[]));
        let replica = Server::start(
            installed,
            &settings(installed, &["--repl-diskless-sync-delay", "0"]),
        );
        let c = &mut replica.client();
        cmd!(&mut master.client(), "SET", "k", "v");
        cmd!(c, "SLAVEOF", "127.0.0.1", master.port().to_string());
        wait_until("linked", || {
            cmd!(c, "INFO", "replication")
                .text()
                .contains("master_link_status:up")
        });
        let (about, bytes) = dump(replica.port());
        assert!(about.history.is_some());
        let loaded = load(installed, &bytes);
        let (a, b) = (digest(&mut master.client()), digest(&mut loaded.client()));
        assert_eq!(a, b, "{}", installed.name);

        // One that has lost its master: an error, or patience.
        cmd!(c, "SLAVEOF", "127.0.0.1", free_port().to_string());
        let impatient = Options {
            patience: Duration::ZERO,
            ..Options::default()
        };
        let e = snapshot(&endpoint(replica.port()), &impatient)
            .unwrap_err()
            .to_string();
        assert!(e.contains("PSYNC: the server says"), "{e}");
        assert!(e.contains("try again later"), "{e}");
        let port = replica.port();
        let dumping = std::thread::spawn(move || dump(port));
        std::thread::sleep(Duration::from_millis(300));
        cmd!(c, "SLAVEOF", "NO", "ONE");
        let (_, bytes) = dumping.join().unwrap();
        assert_eq!(
            digest(&mut load(installed, &bytes).client()),
            a,
            "{}",
            installed.name
        );
    }
}

/// Two keys are always written together, so a snapshot has them equal.
#[test]
fn writes_while_it_is_taken() {
    for installed in installed().unwrap_or_default() {
        let server = Server::start(installed, &settings(installed, &[]));
        large(&server, 24);
        cmd!(
            &mut server.client(),
            "CONFIG",
            "SET",
            "repl-diskless-sync-delay",
            "0"
        );
        for diskless in ["no", "yes"] {
            let stop = Arc::new(AtomicBool::new(false));
            let writing = std::thread::spawn({
                let (mut c, stop) = (server.client(), Arc::clone(&stop));
                move || {
                    let mut n = 0u64;
                    while !stop.load(Ordering::Relaxed) {
                        n += 1;
                        let n = n.to_string();
                        cmd!(c, "MSET", "a", n, "b", n, format!("new:{n}"), n);
                    }
                    n
                }
            });
            let c = &mut server.client();
            cmd!(c, "CONFIG", "SET", "repl-diskless-sync", diskless);
            wait_until("written to", || cmd!(c, "EXISTS", "new:11").int() == 1);
            let (_, bytes) = dump(server.port());
            stop.store(true, Ordering::Relaxed);
            let written = writing.join().unwrap();
            let loaded = load(installed, &bytes);
            let c = &mut loaded.client();
            let (a, b) = (cmd!(c, "GET", "a"), cmd!(c, "GET", "b"));
            assert_eq!(a, b, "{}", installed.name);
            let keys = cmd!(c, "DBSIZE").int();
            assert!(
                keys > 24 && written > 10,
                "{}: {keys} keys, {written} writes",
                installed.name
            );
        }
    }
}

/// Nobody reads for longer than the server waits for one who is silent. Of the sizes one waits here whole; of one the end waits in
/// the system, while the server has sent all and may hang up; and one is so large that the server waits.
#[test]
fn a_slow_reader_keeps_its_server() {
    let all = installed().unwrap_or_default();
    for installed in all
        .iter()
        .filter(|i| ["redis-5.0", "redis-7.0", "valkey-9"].contains(&&*i.name))
    {
        let server = Server::start(installed, &settings(installed, &["--repl-timeout", "2"]));
        cmd!(
            &mut server.client(),
            "CONFIG",
            "SET",
            "repl-diskless-sync",
            "no"
        );
        for megabytes in [10, 12, 40] {
            large(&server, megabytes);
            let (about, mut stream) =
                snapshot(&endpoint(server.port()), &Options::default()).unwrap();
            let mut bytes = vec![0; 100_000];
            stream.read_exact(&mut bytes).unwrap();
            std::thread::sleep(Duration::from_secs(4));
            stream.read_to_end(&mut bytes).unwrap();
            let what = format!("{}, {megabytes} MB", installed.name);
            assert_eq!(about.len, Some(bytes.len() as u64), "{what}");
            let before = digest(&mut server.client());
            assert_eq!(
                digest(&mut load(installed, &bytes).client()),
                before,
                "{what}"
            );
        }
        // Nobody reads on: the connection goes.
        let (_, mut stream) = snapshot(&endpoint(server.port()), &Options::default()).unwrap();
        stream.read_exact(&mut [0; 100]).unwrap();
        drop(stream);
        let c = &mut server.client();
        wait_until("left alone", || {
            cmd!(c, "INFO", "replication")
                .text()
                .contains("connected_slaves:0")
        });
    }
}

/// Passes connections on to `port`, and cuts each after so many bytes towards the client.
fn proxy(port: u16, limit: usize) -> u16 {
    let at = free_port();
    let listener = TcpListener::bind(("127.0.0.1", at)).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let mut step = vec![0; 10_000];
            let mut left = limit;
            while left > 0 {
                let most = left.min(step.len());
                let n = server.read(&mut step[..most]).unwrap_or(0);
                if n == 0 || client.write_all(&step[..n]).is_err() {
                    break;
                }
                left -= n;
            }
            let _ = server.shutdown(std::net::Shutdown::Both);
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
    });
    at
}

#[test]
fn a_link_that_is_cut_is_an_error_wherever() {
    let all = installed().unwrap_or_default();
    for installed in all
        .iter()
        .filter(|i| ["redis-3.2", "redis-7.0", "valkey-9"].contains(&&*i.name))
    {
        let server = Server::start(installed, &["--repl-diskless-sync-delay", "0"]);
        large(&server, 1);
        let impatient = Options {
            patience: Duration::ZERO,
            ..Options::default()
        };
        for diskless in ["no", "yes"] {
            cmd!(
                &mut server.client(),
                "CONFIG",
                "SET",
                "repl-diskless-sync",
                diskless
            );
            let (_, whole) = dump(proxy(server.port(), usize::MAX));
            // What is said before and behind it takes some hundred bytes.
            for cut in [
                1,
                10,
                40,
                100,
                150,
                180,
                1000,
                100_000,
                whole.len(),
                whole.len() + 40,
            ] {
                let at = proxy(server.port(), cut);
                let e = match snapshot(&endpoint(at), &impatient) {
                    Err(e) => e.to_string(),
                    Ok((_, mut stream)) => {
                        let mut bytes = Vec::new();
                        let e = stream.read_to_end(&mut bytes).unwrap_err();
                        assert!(whole.starts_with(&bytes[..bytes.len().min(9)]));
                        assert!(bytes.len() < whole.len() + 40);
                        // It stays an error.
                        assert!(stream.read(&mut [0]).is_err());
                        e.to_string()
                    }
                };
                let what = format!("{}, diskless {diskless}, cut at {cut}: {e}", installed.name);
                assert!(
                    e.contains("closed the connection") || e.contains("reset"),
                    "{what}"
                );
                if cut >= 1000 {
                    assert!(e.contains("the snapshot broke off after "), "{what}");
                    let of = format!(" of {} bytes", whole.len());
                    assert_eq!(e.contains(&of), diskless == "no", "{what}");
                }
            }
        }
    }
}

#[test]
fn users_that_may_copy_and_servers_that_do_not_let_them() {
    for installed in installed().unwrap_or_default() {
        let hidden = settings(installed, &["--rename-command", "PSYNC", ""]);
        let server = Server::start(installed, &hidden);
        cmd!(&mut server.client(), "SET", "k", "v");
        let (about, bytes) = dump(server.port());
        assert_eq!(about.history, None, "{}", installed.name);
        let before = digest(&mut server.client());
        assert_eq!(
            digest(&mut load(installed, &bytes).client()),
            before,
            "{}",
            installed.name
        );

        let mut both = hidden.clone();
        both.extend(["--rename-command", "SYNC", ""]);
        let server = Server::start(installed, &both);
        let e = snapshot(&endpoint(server.port()), &Options::default()).unwrap_err();
        assert!(
            e.to_string().contains("knows neither PSYNC nor SYNC"),
            "{e}"
        );

        let renamed = settings(installed, &["--rename-command", "PSYNC", "psync-x"]);
        let server = Server::start(installed, &renamed);
        let options = Options {
            psync: "psync-x".into(),
            ..Options::default()
        };
        let (_, mut stream) = snapshot(&endpoint(server.port()), &options).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert!(rdbtool::rdb::scan::Scanner::new(&bytes).is_ok());

        let server = Server::start(installed, &settings(installed, &[]));
        let theirs = &mut server.client();
        if server.since((6, 0), (0, 0)) {
            cmd!(
                theirs,
                "ACL",
                "SETUSER",
                "may",
                "on",
                ">p",
                "+psync",
                "+replconf",
                "+ping"
            );
            cmd!(
                theirs,
                "ACL",
                "SETUSER",
                "not",
                "on",
                ">p",
                "+ping",
                "+replconf",
                "~*"
            );
            let url = |user: &str| format!("redis://{user}:p@127.0.0.1:{}", server.port());
            let as_user = |user: &str| {
                let to = Endpoint::parse(&url(user)).unwrap();
                snapshot(&to, &Options::default())
                    .map(|(_, mut s)| s.read_to_end(&mut Vec::new()).unwrap())
            };
            as_user("may").unwrap();
            let e = as_user("not").unwrap_err().to_string();
            assert!(e.contains("PSYNC: the server says \"NOPERM"), "{e}");
        }
        cmd!(theirs, "CONFIG", "SET", "requirepass", "p");
        let e = snapshot(&endpoint(server.port()), &Options::default()).unwrap_err();
        assert!(
            e.to_string().contains("PING: the server says \"NOAUTH"),
            "{e}"
        );
    }
}

#[test]
fn a_snapshot_over_tls() {
    let Some(newest) = installed().and_then(|all| all.last()) else {
        return;
    };
    let Some(certificates) = Certificates::make() else {
        return;
    };
    if let Some((server, port)) = certificates.server(newest, &["--tls-auth-clients", "no"]) {
        large(&server, 12);
        let mut options = Options::default();
        options.net.tls.cacert = Some(certificates.path("ca.crt"));
        let to = Endpoint::parse(&format!("rediss://127.0.0.1:{port}")).unwrap();
        let (_, mut stream) = snapshot(&to, &options).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert!(bytes.len() > 12 << 20);
        let loaded = load(newest, &bytes);
        assert_eq!(cmd!(&mut loaded.client(), "DBSIZE").int(), 12);
    }
}
