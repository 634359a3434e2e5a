//! `rdbtool restore --to URL --resume FILE`, ended at any moment and run again until it is through: then the target holds what one run
//! that nothing disturbed would have put there.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use rdbtool::out::Out;
use rdbtool::resp::write;
use serde_json::Value;

use crate::chance::{Rng, seed};
use crate::decode;
use crate::fill::fill;
use crate::resp::{Client, Reply, cmd};
use crate::server::{Installed, Server, free_port};
use crate::support::{Run, rdbtool};
use crate::target::{Cluster, digest, digests, some, start};
use crate::told::normal;

/// Values of every type in several databases, and so many of each common type that it takes a while.
fn file(installed: &Installed, n: usize, dir: &Path) -> PathBuf {
    let server = start(installed, &[]);
    let rng = &mut Rng::new("resumed");
    fill(&server, rng);
    for db in ["0", "7"] {
        let (mut out, mut count) = (Out::new(), 1);
        write::command(&[b"SELECT", db.as_bytes()], &mut out);
        for i in 0..n {
            let key = |kind: &str| format!("more:{kind}:{i}").into_bytes();
            let some = |rng: &mut Rng| rng.bytes(60);
            write::command(&[b"SET", &key("string"), &some(rng)], &mut out);
            let elements: Vec<_> = (0..100 + rng.below(100)).map(|_| some(rng)).collect();
            let list = key("list");
            let mut argv = vec![&b"RPUSH"[..], &list];
            argv.extend(elements.iter().map(Vec::as_slice));
            write::command(&argv, &mut out);
            write::command(&[b"PEXPIREAT", &list, b"4102444800000"], &mut out);
            argv[0] = b"SADD";
            let set = key("set");
            argv[1] = &set;
            write::command(&argv[..20], &mut out);
            count += 4;
            if i % 4 == 0 {
                let stream = key("stream");
                for entry in &elements[..30] {
                    write::command(&[b"XADD", &stream, b"*", b"f", entry], &mut out);
                }
                write::command(&[b"XGROUP", b"CREATE", &stream, b"g", b"0"], &mut out);
                let read = "XREADGROUP GROUP g c COUNT 9 STREAMS";
                let mut argv: Vec<_> = read.split(' ').map(str::as_bytes).collect();
                argv.extend([&stream[..], b">"]);
                write::command(&argv, &mut out);
                count += 32;
            }
        }
        // Larger than a batch.
        for _ in 0..60 {
            let elements: Vec<_> = (0..100).map(|_| rng.bytes(60)).collect();
            for (name, key) in [
                (b"RPUSH", b"more:large:list"),
                (b"HMSET", b"more:large:hash"),
            ] {
                let mut argv = vec![&name[..], &key[..]];
                argv.extend(elements.iter().map(Vec::as_slice));
                write::command(&argv, &mut out);
                count += 1;
            }
        }
        server.client().pipe(out.as_bytes(), count);
    }
    let path = dir.join("source.rdb");
    std::fs::copy(server.save(), &path).unwrap();
    path
}

/// The same file, compressed.
fn gzip(path: &Path) -> PathBuf {
    let packed = path.with_extension("rdb.gz");
    let file = std::fs::File::create(&packed).unwrap();
    let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    file.write_all(&std::fs::read(path).unwrap()).unwrap();
    file.finish().unwrap();
    packed
}

/// What is in a server: each key with all that is known of it, but when consumers were there.
fn content(server: &Server) -> Vec<String> {
    let mut lines: Vec<_> = decode(&server.save(), &[])
        .into_iter()
        .map(|line| {
            let mut line = normal(line);
            let groups = line
                .pointer_mut("/value/groups")
                .and_then(Value::as_array_mut);
            for group in groups.into_iter().flatten() {
                for consumer in group["consumers"].as_array_mut().into_iter().flatten() {
                    let consumer = consumer.as_object_mut().unwrap();
                    consumer.retain(|name, _: &mut Value| !name.ends_with("_at_ms"));
                }
            }
            line.to_string()
        })
        .collect();
    lines.sort();
    lines
}

/// A restore and where its position is kept.
pub(crate) struct Restore {
    args: Vec<String>,
    position: PathBuf,
}

impl Restore {
    pub(crate) fn new(source: &Path, port: u16, args: &str, dir: &Path) -> Restore {
        let position = dir.join(format!("position-{port}"));
        let url = format!("redis://127.0.0.1:{port}");
        let mut all = vec!["restore".into(), source.display().to_string()];
        all.extend(["--to".into(), url]);
        all.extend(args.split_whitespace().map(str::to_owned));
        Restore {
            args: all,
            position,
        }
    }

    /// With the position, and further arguments.
    fn args(&self, more: &str) -> Vec<String> {
        let mut args = self.args.clone();
        args.extend(["--resume".into(), self.position.display().to_string()]);
        args.extend(more.split_whitespace().map(str::to_owned));
        args
    }

    fn run(&self, more: &str) -> Run {
        rdbtool(self.args(more))
    }

    /// Starts it and ends it after so long, as `kill -9` does; the run, if it was through before that.
    fn kill(&self, after: Duration, more: &str) -> Option<Run> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rdbtool"))
            .args(self.args(more))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(after);
        let _ = child.kill();
        let out = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        out.status.code().map(|status| Run {
            status: Some(status),
            stdout: out.stdout,
            stderr,
        })
    }

    /// Kills it again and again until it is through; gives how often it went on behind something, and the last run.
    pub(crate) fn through(&self, rng: &mut Rng, most_ms: usize, more: &str) -> (usize, Run) {
        let mut went_on = 0;
        for kills in 0.. {
            assert!(kills < 60, "seed {}: it does not come to an end", seed());
            let after = Duration::from_millis(50 + rng.below(most_ms) as u64);
            let more = format!("{more} --threads {}", 1 + kills % 3);
            if let Some(run) = self.kill(after, &more) {
                assert!(!self.position.exists(), "{}", run.stderr);
                return (went_on, run);
            }
            went_on += usize::from(self.behind() > 0);
        }
        unreachable!("it has no end");
    }

    /// How many keys are done.
    fn behind(&self) -> u64 {
        let Ok(text) = std::fs::read_to_string(&self.position) else {
            return 0;
        };
        let fields: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        fields["keys"].as_u64().unwrap()
    }
}

fn text(c: &mut Client, key: &str) -> String {
    cmd!(c, "GET", key).text()
}

/// What is in the target before: of each kind of key that comes something else, and something that does not come.
fn occupy(server: &Server) {
    let c = &mut server.client();
    for i in (0..4000).step_by(10) {
        cmd!(c, "SET", format!("more:list:{i}"), "foreign");
        cmd!(c, "RPUSH", format!("more:string:{i}"), "foreign");
        cmd!(c, "HSET", format!("more:other:{i}"), "foreign", "1");
    }
}

#[test]
fn killed_again_and_again_until_it_is_through() {
    for (family, args, occupied, packed) in [
        (
            "redis-8",
            "--on-conflict replace --big-key 300",
            true,
            false,
        ),
        ("valkey-", "--on-conflict replace --big-key 0", true, true),
        (
            "redis-5",
            "--on-conflict replace --big-key 300",
            false,
            false,
        ),
        ("redis-7", "--on-conflict skip", true, false),
        (
            "redis-8",
            "--on-conflict error --connections 1 --pipeline 50",
            false,
            true,
        ),
    ] {
        let Some(installed) = some(family) else {
            continue;
        };
        let dir = tempfile::tempdir().unwrap();
        let mut source = file(installed, 500, dir.path());
        if packed {
            source = gzip(&source);
        }
        let (plain, server) = (start(installed, &[]), start(installed, &[]));
        if occupied {
            occupy(&plain);
            occupy(&server);
        }
        let undisturbed = Restore::new(&source, plain.port(), args, dir.path());
        let want = rdbtool(&undisturbed.args);
        assert!(matches!(want.status, Some(0 | 3)), "{}", want.stderr);
        let restore = Restore::new(&source, server.port(), args, dir.path());
        let rng = &mut Rng::new(args);
        let (went_on, run) = restore.through(rng, 2500, "--rate 4M");
        let what = format!("{}, {args}, seed {}: {}", server.name, seed(), run.stderr);
        assert!(went_on > 0, "{what}");
        assert!(run.stderr.contains("going on behind"), "{what}");
        assert!(run.stderr.contains("done before"), "{what}");
        assert!(!run.stderr.contains("refused"), "{what}");
        assert_eq!(digest(&server), digest(&plain), "{what}");
        assert!(content(&server) == content(&plain), "{what}");
        // Where something was there to begin with it may not be known what is ours.
        assert!(
            run.status == want.status || occupied && run.status == Some(3),
            "{what}"
        );
    }
}

#[test]
fn killed_again_and_again_with_a_cluster_as_target() {
    let Some(installed) = some("redis-7") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let source = file(installed, 500, dir.path());
    let plain = start(installed, &[]);
    let cluster = Cluster::start(installed, 0);
    let args = "--db 0 --on-conflict replace --big-key 300 --connections 6";
    let want = rdbtool(&Restore::new(&source, plain.port(), args, dir.path()).args);
    assert!(matches!(want.status, Some(0 | 3)), "{}", want.stderr);
    let restore = Restore::new(&source, cluster.nodes[1].port(), args, dir.path());
    let (went_on, run) = restore.through(&mut Rng::new("cluster"), 2000, "--rate 3M");
    assert_eq!(run.status, want.status, "{}", run.stderr);
    assert!(went_on > 0, "{}", run.stderr);
    let (have, n) = cluster.digests(None);
    let want = digests(&mut plain.client());
    assert_eq!(n, want.len());
    assert!(have == want, "seed {}: {}", seed(), run.stderr);
}

/// The target is gone for longer than one waits, and comes back with its data.
#[test]
fn a_target_that_comes_back_later() {
    let Some(installed) = some("redis-7") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let source = file(installed, 400, dir.path());
    let plain = start(installed, &[]);
    let settings = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = start(installed, &settings);
    let args = "--on-conflict replace --big-key 300 --flush-target --yes";
    rdbtool(&Restore::new(&source, plain.port(), args, dir.path()).args);
    cmd!(server.client(), "SET", "before", "x");
    let restore = Restore::new(&source, server.port(), args, dir.path());
    let first = std::thread::scope(|scope| {
        let run = scope.spawn(|| restore.run("--rate 3M --retry-for 1s"));
        std::thread::sleep(Duration::from_millis(2500));
        server.kill();
        run.join().unwrap()
    });
    let said = &first.stderr;
    assert_eq!(first.status, Some(1), "{said}");
    assert!(said.contains("given up after"), "{said}");
    assert!(
        said.contains("the same command goes on from here (--resume"),
        "{said}"
    );
    let behind = restore.behind();
    assert!(behind > 0, "{said}");
    server.restart();
    let c = &mut server.client();
    while matches!(c.call(&["GET", "before"]), Reply::Error(_)) {
        std::thread::sleep(Duration::from_millis(20)); // still loading
    }
    // It is not emptied a second time.
    cmd!(server.client(), "SET", "between", "x");
    cmd!(plain.client(), "SET", "between", "x");
    let second = restore.run("");
    let said = &second.stderr;
    assert_eq!(second.status, Some(3), "{said}");
    assert!(said.contains("was restarted or replaced"), "{said}");
    let passed = said.lines().find(|l| l.contains("done before")).unwrap();
    let digits: String = passed.chars().filter(|c| *c != ',').collect();
    assert!(
        digits.contains(&format!("; {behind} done before")),
        "{behind}: {said}"
    );
    assert_eq!(digest(&server), digest(&plain), "{said}");
    assert!(content(&server) == content(&plain), "{said}");
    assert!(!restore.position.exists());
}

/// The memory is full for longer than one waits, and is enlarged then.
#[test]
fn a_target_without_memory() {
    let Some(installed) = some("valkey-") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let source = file(installed, 300, dir.path());
    let (plain, server) = (start(installed, &[]), start(installed, &[]));
    let args = "--on-conflict replace --big-key 300 --retry-for 1s";
    rdbtool(&Restore::new(&source, plain.port(), args, dir.path()).args);
    let restore = Restore::new(&source, server.port(), args, dir.path());
    let c = &mut server.client();
    for mb in [6, 10] {
        cmd!(c, "CONFIG", "SET", "maxmemory", format!("{mb}mb"));
        let run = restore.run("");
        assert_eq!(run.status, Some(1), "{}", run.stderr);
        assert!(run.stderr.contains("OOM"), "{}", run.stderr);
        assert!(run.stderr.contains("goes on from here"), "{}", run.stderr);
    }
    assert!(restore.behind() > 0);
    cmd!(c, "CONFIG", "SET", "maxmemory", "0");
    let run = restore.run("");
    assert!(run.stderr.contains("done before"), "{}", run.stderr);
    assert_eq!(digest(&server), digest(&plain), "{}", run.stderr);
    assert!(content(&server) == content(&plain), "{}", run.stderr);
}

/// A way to a server that takes all there is at once, and passes it on slowly, also when who sent it is no more.
fn slow_way(to: u16) -> (u16, Arc<AtomicBool>) {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let slow = Arc::new(AtomicBool::new(true));
    let is_slow = slow.clone();
    std::thread::spawn(move || {
        for from in listener.incoming().flatten() {
            let Ok(to) = TcpStream::connect(("127.0.0.1", to)) else {
                continue;
            };
            let slow = is_slow.load(Ordering::Relaxed);
            let (bytes, passed_on) = channel::<Vec<u8>>();
            let (mut back, mut answers) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut answers, &mut back);
            });
            std::thread::spawn(move || {
                for piece in passed_on.iter().flat_map(|b| pieces(&b)) {
                    if slow {
                        std::thread::sleep(Duration::from_millis(piece.len() as u64 / 2000));
                    }
                    if (&to).write_all(&piece).is_err() {
                        break;
                    }
                }
            });
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                while let Ok(n @ 1..) = (&from).read(&mut buffer) {
                    if bytes.send(buffer[..n].to_vec()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    (port, slow)
}

fn pieces(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.chunks(8000).map(<[u8]>::to_vec).collect()
}

/// A list of commands that comes to the server late must not be pushed into what the next run puts there.
#[test]
fn what_a_run_before_has_sent_is_not_done_any_more() {
    for family in ["redis-7", "redis-3.", "valkey-"] {
        let Some(installed) = some(family) else {
            continue;
        };
        let dir = tempfile::tempdir().unwrap();
        let lists = start(installed, &[]);
        let c = &mut lists.client();
        let rng = &mut Rng::new("late");
        for list in 0..60 {
            let mut out = Out::new();
            let key = format!("list:{list}").into_bytes();
            for _ in 0..2000 {
                write::command(&[b"RPUSH", &key, &rng.bytes(60)], &mut out);
            }
            c.pipe(out.as_bytes(), 2000);
        }
        let source = dir.path().join("source.rdb");
        std::fs::copy(lists.save(), &source).unwrap();
        let server = start(installed, &[]);
        let (port, slow) = slow_way(server.port());
        let args = "--on-conflict replace --big-key 0";
        let restore = Restore::new(&source, port, args, dir.path());
        assert!(restore.kill(Duration::from_millis(900), "").is_none());
        slow.store(false, Ordering::Relaxed);
        let run = restore.run("");
        assert_eq!(run.status, Some(0), "{}", run.stderr);
        // As long as anything of the first run could be on its way.
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(digest(&server), digest(&lists), "{family}: {}", run.stderr);
    }
}

/// What it has restored is gone: to go on would leave a hole.
#[test]
fn a_target_that_comes_back_empty() {
    let Some(installed) = some("redis-7") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let source = file(installed, 300, dir.path());
    let mut server = start(installed, &[]);
    let restore = Restore::new(&source, server.port(), "", dir.path());
    assert!(
        restore
            .kill(Duration::from_millis(2500), "--rate 2M")
            .is_none()
    );
    assert!(restore.behind() > 0);
    server.kill();
    server.restart();
    let run = restore.run("");
    assert_eq!(run.status, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("it has lost them"), "{}", run.stderr);
    assert_eq!(cmd!(server.client(), "DBSIZE").int(), 0);
}

/// A key that is not ours is not taken for ours because the run that found it was ended by it.
#[test]
fn a_conflict_stays_one() {
    let Some(installed) = some("redis-7") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let source = file(installed, 100, dir.path());
    let server = start(installed, &[]);
    let c = &mut server.client();
    cmd!(c, "SET", "more:list:50", "foreign");
    let restore = Restore::new(&source, server.port(), "", dir.path());
    for _ in 0..3 {
        let run = restore.run("");
        assert_eq!(run.status, Some(1), "{}", run.stderr);
        assert!(
            run.stderr
                .contains("key \"more:list:50\": is in the target already"),
            "{}",
            run.stderr
        );
        assert!(run.stderr.contains("goes on from here"), "{}", run.stderr);
    }
    // What is sent is the same.
    let run = restore.run("--on-conflict skip");
    assert_eq!(run.status, Some(3), "{}", run.stderr);
    assert!(
        run.stderr.contains("1 left alone because they were there"),
        "{}",
        run.stderr
    );
    assert_eq!(text(c, "more:list:50"), "foreign");
    let plain = start(installed, &[]);
    cmd!(plain.client(), "SET", "more:list:50", "foreign");
    let args = Restore::new(&source, plain.port(), "--on-conflict skip", dir.path()).args;
    assert_eq!(rdbtool(args).status, Some(3));
    assert_eq!(digest(&server), digest(&plain));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let Some(installed) = some("redis-7") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let source = file(installed, 300, dir.path());
    let (server, other) = (start(installed, &[]), start(installed, &[]));
    let restore = Restore::new(&source, server.port(), "--key more:*", dir.path());
    assert!(
        restore
            .kill(Duration::from_millis(2500), "--rate 2M")
            .is_none()
    );
    assert!(restore.behind() > 0);
    let (saved, data) = (std::fs::read(&restore.position).unwrap(), digest(&server));
    let done = restore.behind();
    let refused = |args: &[String], says: &[&str]| {
        let run = rdbtool(args);
        assert!(
            matches!(run.status, Some(1 | 2)),
            "{args:?}: {}",
            run.stderr
        );
        for what in says {
            assert!(
                run.stderr.contains(what),
                "{what:?} is not in {}",
                run.stderr
            );
        }
    };
    let shown = restore.position.display().to_string();
    let begin_anew = format!("delete {shown} to begin anew");
    let mut args = restore.args("");
    let key = args.iter().position(|a| a == "more:*").unwrap();
    args[key] = "other:*".into();
    refused(&args, &["--key was more:*, and is other:*", &begin_anew]);
    refused(
        &restore.args("--ttl none --big-key 5 --on-conflict replace"),
        &[
            "--ttl was not given, and is none",
            "--big-key was",
            "--on-conflict was error or skip, and is replace",
        ],
    );
    let mut args = restore.args("");
    let url = args.iter().position(|a| a.starts_with("redis:")).unwrap();
    args[url] = format!("redis://127.0.0.1:{}", other.port());
    refused(&args, &["the target was 127.0.0.1:", ", and is 127.0.0.1:"]);
    let mut args = restore.args("");
    let changed = dir.path().join("changed.rdb");
    let mut bytes = std::fs::read(&source).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&changed, &bytes).unwrap();
    args[1] = changed.display().to_string();
    refused(&args, &["the source was", "bytes ("]);
    // Of the same size, and the same at both ends: only what is made of it tells.
    let middle = bytes.len() / 2;
    *bytes.last_mut().unwrap() ^= 1;
    let at = (65_536..middle)
        .find(|&i| bytes[i..].starts_with(b"more:string:"))
        .unwrap();
    bytes[at + 5] = b'S';
    std::fs::write(&changed, &bytes).unwrap();
    args.push("--no-checksum".into());
    refused(
        &args,
        &["are not those of the run before", "Nothing has been sent"],
    );
    // A file that comes only once.
    args[1] = "-".into();
    refused(
        &args,
        &["--resume reads its sources again, which standard input cannot be"],
    );
    args[1] = format!("redis://127.0.0.1:{}", other.port());
    refused(&args, &["which a live server cannot be"]);
    assert_eq!((restore.behind(), digest(&server)), (done, data));
    assert_eq!(cmd!(other.client(), "DBSIZE").int(), 0);
    // Moved it is the same file.
    let moved = dir.path().join("moved.rdb");
    std::fs::rename(&source, &moved).unwrap();
    let mut args = restore.args("");
    args[1] = moved.display().to_string();
    let run = rdbtool(&args);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    // Damaged.
    std::fs::write(&restore.position, &saved[..saved.len() / 2]).unwrap();
    refused(&args, &[&shown, "is damaged", "delete it and begin anew"]);
    // Something else, which stays what it is.
    std::fs::write(&restore.position, b"my notes").unwrap();
    refused(&args, &["is no position of `rdbtool restore --resume`"]);
    assert_eq!(std::fs::read(&restore.position).unwrap(), b"my notes");
}
