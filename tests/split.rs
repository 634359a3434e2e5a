//! `rdbtool split` without servers: the files of the nodes are the source, each key in the file of its slot's owner, nothing twice.
//!
//! Slots are computed as the library does; that servers do the same is shown where there are servers, in `live`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rdbtool::cluster::slot::slot;
use rdbtool::cluster::topology::Topology;
use support::file::file;
use support::{Report, Run, corpus, for_each, lines, names, rdbtool, rdbtool_reading};
use support::{json, line};

// ---- runs -------------------------------------------------------------------------------------------------------------

/// The name of a directory that is not there.
fn absent(name: &str) -> PathBuf {
    let dir =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("split-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    dir
}

fn split(args: &str, sources: &[&Path], to: &Path) -> Run {
    let args = args.split_whitespace().map(OsString::from);
    let sources = sources.iter().map(|p| p.as_os_str().to_owned());
    rdbtool(
        std::iter::once("split".into())
            .chain(args)
            .chain(sources)
            .chain(["-o".into(), to.as_os_str().to_owned()]),
    )
}

/// Status 0, or 3 where something is said not to be kept.
fn done(run: Run) -> Result<(), String> {
    match run.status {
        Some(0) => Ok(()),
        Some(3) if run.stderr.contains("not kept") => Ok(()),
        other => Err(format!("status {other:?}: {}", run.stderr)),
    }
}

fn decode(args: &[&str], file: &Path) -> Result<Vec<u8>, String> {
    let args = args.iter().map(OsString::from);
    rdbtool(
        std::iter::once("decode".into())
            .chain(args)
            .chain([file.as_os_str().to_owned()]),
    )
    .ok()
}

/// Commands, each as its arguments.
fn commands(mut bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    fn number(kind: u8, bytes: &mut &[u8]) -> usize {
        assert_eq!(bytes[0], kind);
        let end = bytes.iter().position(|&b| b == b'\r').expect("a line");
        let n = std::str::from_utf8(&bytes[1..end])
            .unwrap()
            .parse()
            .unwrap();
        *bytes = &bytes[end + 2..];
        n
    }
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let n = number(b'*', &mut bytes);
        let argv = (0..n).map(|_| {
            let len = number(b'$', &mut bytes);
            let arg = &bytes[..len];
            bytes = &bytes[len + 2..];
            arg
        });
        all.push(argv.collect());
    }
    all
}

/// Whose a command is; `None` for everybody's.
fn key_of<'b>(argv: &[&'b [u8]]) -> Option<&'b [u8]> {
    match argv[0] {
        b"FUNCTION" | b"SCRIPT" => None,
        b"XGROUP" => Some(argv[2]),
        b"XREADGROUP" => argv
            .iter()
            .skip_while(|a| **a != b"STREAMS")
            .nth(1)
            .copied(),
        _ => Some(argv[1]),
    }
}

// ---- the corpus -------------------------------------------------------------------------------------------------------

/// Lines of keys and of functions, as if all keys were in database 0.
fn parts_of(text: &[u8], db: &str) -> Result<(BTreeSet<Vec<u8>>, BTreeSet<Vec<u8>>), String> {
    let (mut keys, mut functions) = (BTreeSet::new(), BTreeSet::new());
    for l in lines(text) {
        let prefix = format!("{{\"db\":{db},");
        match l.strip_prefix(prefix.as_bytes()) {
            Some(rest) => {
                if !keys.insert([b"{\"db\":0,", rest].concat()) {
                    return Err("a line comes twice".to_owned());
                }
            }
            None => drop(functions.insert(l.to_vec())),
        }
    }
    Ok((keys, functions))
}

/// The key of a line. The line itself is another test's matter, and may be long.
fn key(l: &[u8]) -> Result<Vec<u8>, String> {
    const NEXT: &[u8] = b",\"type\":"; // which cannot stand in a string
    let end = l
        .windows(NEXT.len())
        .position(|w| w == NEXT)
        .ok_or("no type")?;
    let head = json::parse(&[&l[..end], b"}"].concat())?;
    line::bytes(head.need("key")?)
}

#[test]
fn the_files_of_the_nodes_are_the_source() {
    let cases: Vec<_> = corpus().into_iter().enumerate().collect();
    assert_eq!(cases.len(), 338);
    let report = Report::default();
    let total = std::sync::atomic::AtomicUsize::new(0);
    for_each(&cases, |(number, case)| {
        let compared = || -> Result<(), String> {
            let all = decode(&[], &case.path)?;
            let mut dbs = BTreeSet::from(["0".to_owned()]);
            for l in lines(&all) {
                if let Some(rest) = l.strip_prefix(b"{\"db\":") {
                    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
                    dbs.insert(String::from_utf8_lossy(&rest[..digits]).into_owned());
                }
            }
            for (i, db) in dbs.iter().enumerate() {
                let want = parts_of(&decode(&["--db", db], &case.path)?, db)?;
                let n = [3, 7][i % 2];
                let topology = Topology::even(n);
                let to_db = if dbs.len() > 1 || db != "0" {
                    "--to-db 0"
                } else {
                    ""
                };
                let rdb = [
                    ("rdb", "rdb-@"),
                    ("aof-rdb-preamble", "aof-@"),
                    ("appendonlydir", "appendonlydir-@/appendonly.aof.1.base.rdb"),
                ];
                // The others are the same file in another place: not for all is worth the time.
                for (format, name) in &rdb[..if number % 6 == 0 { 3 } else { 1 }] {
                    let dir = absent(&format!("{}-{format}", case.name.replace('/', "-")));
                    let flags = format!("--nodes {n} --format {format} --db {db} {to_db} -q");
                    done(split(&flags, &[&case.path], &dir))
                        .map_err(|e| format!("{format}: {e}"))?;
                    let mut seen = BTreeSet::new();
                    for node in 0..n {
                        let file = dir.join(name.replace('@', &(node + 1).to_string()));
                        let (keys, functions) = parts_of(&decode(&[], &file)?, "0")?;
                        if functions != want.1 {
                            return Err(format!("{format}: node {node} has other functions"));
                        }
                        for l in keys {
                            let owner = topology.owner(slot(&key(&l)?));
                            if owner != node {
                                return Err(format!(
                                    "{format}: a key of node {owner} is at {node}"
                                ));
                            }
                            if !seen.insert(l) {
                                return Err(format!("{format}: a key is at two nodes"));
                            }
                        }
                        let check = rdbtool([
                            OsString::from("check"),
                            "--on-error".into(),
                            "skip".into(),
                            file.into(),
                        ]);
                        check.ok().map_err(|e| format!("{format}: {e}"))?;
                    }
                    if seen != want.0 {
                        return Err(format!("{format}: {} keys of {}", seen.len(), want.0.len()));
                    }
                    total.fetch_add(seen.len(), std::sync::atomic::Ordering::Relaxed);
                    fs::remove_dir_all(&dir).map_err(|e| e.to_string())?;
                }
                for (format, same) in [("aof", "dump"), ("restore", "restore")] {
                    let dir = absent(&format!("{}-{format}", case.name.replace('/', "-")));
                    let flags = format!("--nodes {n} --format {format} --db {db} {to_db} -q");
                    done(split(&flags, &[&case.path], &dir))
                        .map_err(|e| format!("{format}: {e}"))?;
                    let whole = rdbtool([same, "-q", "--db", db, case.path.to_str().unwrap()]);
                    let whole = commands(&whole.stdout);
                    for node in 0..n {
                        let file = fs::read(dir.join(format!("{format}-{}", node + 1)))
                            .map_err(|e| e.to_string())?;
                        let got = commands(&file);
                        if got[0] != [&b"SELECT"[..], b"0"] {
                            return Err(format!("{format}: begins with {:?}", got[0]));
                        }
                        let own = |argv: &&Vec<&[u8]>| {
                            argv[0] != b"SELECT"
                                && key_of(argv).is_none_or(|k| topology.owner(slot(k)) == node)
                        };
                        // In the same order, too.
                        if !whole.iter().filter(own).eq(got[1..].iter()) {
                            return Err(format!("{format}: node {node} has other commands"));
                        }
                    }
                    fs::remove_dir_all(&dir).map_err(|e| e.to_string())?;
                }
            }
            Ok(())
        };
        report.check(&case.name, compared());
    });
    report.finish();
    assert!(total.into_inner() > 32_000);
}

/// The bytes are the same for any number of threads, from a file and from a pipe; a thousand nodes need no more handles than there are.
#[test]
fn threads_pipes_and_a_thousand_nodes() {
    let path = giant_file();
    let tree = |dir: &Path| -> BTreeMap<String, Vec<u8>> {
        let files = names(dir)
            .into_iter()
            .filter(|n| n.contains('-') && n.starts_with(char::is_lowercase));
        files
            .filter(|n| n != "assign-slots.sh")
            .map(|n| {
                let bytes = fs::read(dir.join(&n)).unwrap();
                (n, bytes)
            })
            .collect()
    };
    for format in ["aof", "rdb", "restore"] {
        let (one, many, piped) = (absent("one"), absent("many"), absent("piped"));
        let flags = format!("--nodes 5 --format {format}");
        done(split(&format!("{flags} --threads 1"), &[&path], &one)).unwrap();
        done(split(&format!("{flags} --threads 4"), &[&path], &many)).unwrap();
        let args = format!("split {flags} - -o");
        let args = args
            .split(' ')
            .map(OsString::from)
            .chain([piped.clone().into()]);
        done(rdbtool_reading(args, &fs::read(&path).unwrap())).unwrap();
        let want = tree(&one);
        assert_eq!(want.len(), 5);
        assert!(want == tree(&many), "{format}");
        if format != "aof" {
            // Where the commands of a giant are cut depends on how it was read.
            assert!(want == tree(&piped), "{format}");
        }
        for dir in [one, many, piped] {
            fs::remove_dir_all(dir).unwrap();
        }
    }
    for format in ["aof", "rdb"] {
        let dir = absent("thousand");
        let out = Command::new("sh")
            .args(["-c", "ulimit -n 50; exec \"$@\"", "sh"])
            .arg(env!("CARGO_BIN_EXE_rdbtool"))
            .args(["split", "--nodes", "1000", "--format", format, "-o"])
            .arg(&dir)
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        let manifest = manifest(&dir);
        assert_eq!(manifest["nodes"].as_array().unwrap().len(), 1000);
        assert_eq!(manifest["keys"], 20_002);
        let mut keys = 0;
        for (i, node) in (1..=1000).zip(manifest["nodes"].as_array().unwrap()) {
            let bytes = fs::read(dir.join(format!("{format}-{i}"))).unwrap();
            assert_eq!(node["bytes"], bytes.len());
            keys += node["keys"].as_u64().unwrap();
        }
        assert_eq!(keys, 20_002);
        fs::remove_dir_all(dir).unwrap();
    }
    // What the manifest says is what POSIX cksum says.
    let dir = absent("cksum");
    done(split("--nodes 3", &[&path], &dir)).unwrap();
    for node in manifest(&dir)["nodes"].as_array().unwrap() {
        let out = Command::new("cksum")
            .arg(dir.join(node["file"].as_str().unwrap()))
            .output()
            .unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        assert!(
            said.starts_with(&format!("{} {} ", node["cksum"], node["bytes"])),
            "{said}: {node}"
        );
    }
    fs::remove_dir_all(dir).unwrap();
}

fn manifest(dir: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap()
}

fn s(text: &[u8]) -> Vec<u8> {
    let len = text.len() as u16;
    [&(len | 0x4000).to_be_bytes()[..], text].concat()
}

fn string(key: &str, value: &str) -> Vec<u8> {
    [&[0u8], &s(key.as_bytes())[..], &s(value.as_bytes())].concat()
}

/// Many strings, and two values larger than a batch: a list and a hash.
fn giant_file() -> PathBuf {
    let mut items = vec![0xfe, 0];
    for i in 0..20_000 {
        items.extend(string(&format!("key:{i}"), &"v".repeat(i % 90)));
    }
    for (kind, key) in [(1u8, "list"), (4, "hash")] {
        items.push(kind);
        items.extend(s(key.as_bytes()));
        items.extend([0x80, 0, 0, 0xc3, 0x50]); // 50000
        for i in 0..50_000 * if kind == 4 { 2 } else { 1 } {
            items.extend(s(format!("element {i}").as_bytes()));
        }
    }
    support::scratch("split-giant.rdb", &file(11, &items))
}

// ---- what is refused --------------------------------------------------------------------------------------------------

fn small(name: &str, items: &[Vec<u8>]) -> PathBuf {
    support::scratch(&format!("split-{name}.rdb"), &file(11, &items.concat()))
}

/// Status, and what was said, of a run that must leave nothing.
#[track_caller]
fn fails(run: Run, dir: &Path, status: i32, what: &str) {
    assert_eq!(run.status, Some(status), "{}", run.stderr);
    assert!(run.stderr.contains(what), "{what:?} in {}", run.stderr);
    assert!(!dir.exists());
    let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
    let left: Vec<_> = names(dir.parent().unwrap())
        .into_iter()
        .filter(|n| n.starts_with(&name) && !n.ends_with("twice.ndjson"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn databases_are_counted_before_they_are_refused() {
    let path = small(
        "databases",
        &[
            vec![0xfe, 0],
            string("a", "1"),
            string("b", "1"),
            vec![0xfe, 3],
            string("a", "3"),
            vec![0xfe, 9],
            string("c", "9"),
        ],
    );
    let dir = absent("databases");
    fails(
        split("--nodes 3", &[&path], &dir),
        &dir,
        1,
        "2 in database 0, 1 in database 3, 1 in database 9\nhint: --to-db 0",
    );
    // One of them names each, and keeps none.
    fails(
        split("--nodes 3 --to-db 0", &[&path], &dir),
        &dir,
        1,
        "1 times a key comes whose name has been there before",
    );
    let mut list = dir.clone().into_os_string();
    list.push(".twice.ndjson");
    assert_eq!(
        fs::read_to_string(&list).unwrap(),
        "{\"db\":0,\"key\":\"a\"}\n"
    );
    fs::remove_file(list).unwrap();

    let values = |dir: &Path| -> String {
        let all: Vec<u8> = (1..=3)
            .flat_map(|i| fs::read(dir.join(format!("aof-{i}"))).unwrap())
            .collect();
        let mut all: Vec<_> = commands(&all)
            .iter()
            .filter(|c| c[0] == b"SET")
            .map(|c| format!("{}={} ", c[1].escape_ascii(), c[2].escape_ascii()))
            .collect();
        all.sort();
        all.concat()
    };
    let run = split("--nodes 3 --to-db 0 --on-conflict skip", &[&path], &dir);
    assert_eq!(run.status, Some(3), "{}", run.stderr);
    assert!(
        run.stderr
            .contains("1 key left out because another has the same name"),
        "{}",
        run.stderr
    );
    assert_eq!(values(&dir), "a=1 b=1 c=9 ");
    assert_eq!(
        fs::read_to_string(dir.join("twice.ndjson")).unwrap(),
        "{\"db\":0,\"key\":\"a\"}\n"
    );
    assert_eq!(manifest(&dir)["left_out"], 1);
    fs::remove_dir_all(&dir).unwrap();

    done(split("--nodes 3 --db 9 --to-db 0", &[&path], &dir)).unwrap();
    assert_eq!(values(&dir), "c=9 ");
    fs::remove_dir_all(&dir).unwrap();
    done(split("--nodes 3 --for valkey-9.0", &[&path], &dir)).unwrap();
    assert_eq!(values(&dir), "a=1 a=3 b=1 c=9 ");
    let steps = fs::read_to_string(dir.join("NEXT-STEPS")).unwrap();
    assert!(steps.contains("cluster-databases 16"), "{steps}");
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn of_two_sources() {
    let one = small(
        "one",
        &[
            vec![0xf5],
            s(b"#!lua name=f\n1"),
            vec![0xfe, 0],
            string("a", "1"),
            string("b", "1"),
        ],
    );
    let two = small(
        "two",
        &[
            vec![0xf5],
            s(b"#!lua name=f\n1"),
            vec![0xfe, 0],
            string("c", "2"),
            string("b", "2"),
        ],
    );
    let other = small("other", &[vec![0xf5], s(b"#!lua name=f\n2")]);
    let dir = absent("two");
    fails(
        split("--nodes 2", &[&one, &two], &dir),
        &dir,
        1,
        "hint: --on-conflict skip keeps the first",
    );
    fails(
        split("--nodes 2", &[&one, &other], &dir),
        &dir,
        1,
        "library \"f\" is there already, with other code",
    );
    for (on_conflict, b) in [("skip", "1"), ("replace", "2")] {
        for format in ["aof", "rdb"] {
            let flags = format!("--nodes 1 --format {format} --on-conflict {on_conflict}");
            let run = split(&flags, &[&one, &two], &dir);
            assert_eq!(run.status, Some(3), "{}", run.stderr);
            let bytes = fs::read(dir.join(format!("{format}-1"))).unwrap();
            if format == "aof" {
                let all = commands(&bytes);
                let count = |name: &[u8]| all.iter().filter(|c| c[0] == name).count();
                assert_eq!(
                    (count(b"SET"), count(b"FUNCTION"), count(b"DEL")),
                    (3, 1, 0)
                );
                let set = all.iter().find(|c| c[0] == b"SET" && c[1] == b"b").unwrap();
                assert_eq!(set[2], b.as_bytes());
            } else {
                let text = String::from_utf8(decode(&[], &dir.join("rdb-1")).unwrap()).unwrap();
                assert_eq!(text.matches("function").count(), 1, "{text}");
                assert!(
                    text.contains(&format!(
                        "\"key\":\"b\",\"type\":\"string\",\"value\":\"{b}\""
                    )),
                    "{text}"
                );
            }
            fs::remove_dir_all(&dir).unwrap();
        }
    }
    let run = split("--nodes 1 --on-conflict skip", &[&one, &other], &dir);
    assert_eq!(run.status, Some(3), "{}", run.stderr);
    assert!(
        run.stderr.contains("1 function library left out"),
        "{}",
        run.stderr
    );
    fs::remove_dir_all(&dir).unwrap();
    let _ = fs::remove_file(format!("{}.twice.ndjson", dir.display()));
}

#[test]
fn a_directory_that_is_there() {
    let path = small("there", &[vec![0xfe, 0], string("a", "1")]);
    let dir = absent("there");
    fs::create_dir(&dir).unwrap();
    done(split("--nodes 3", &[&path], &dir)).unwrap();
    let run = split("--nodes 2", &[&path], &dir);
    assert_eq!(run.status, Some(1));
    assert!(
        run.stderr.contains("will not be replaced without --force"),
        "{}",
        run.stderr
    );
    done(split("--nodes 2 --force", &[&path], &dir)).unwrap();
    assert_eq!(manifest(&dir)["nodes"].as_array().unwrap().len(), 2);
    assert!(!dir.join("aof-3").exists());
    fs::remove_file(dir.join("manifest.json")).unwrap();
    let run = split("--nodes 3 --force", &[&path], &dir);
    assert!(run.stderr.contains("not made here"), "{}", run.stderr);
    assert!(dir.join("aof-2").exists());
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn nothing_is_left_of_a_failure() {
    let dir = absent("failure");
    let whole = file(
        11,
        &[vec![0xfe, 0], string("a", "1"), string("b", "2")].concat(),
    );
    for cut in [0, 5, 12, 20, whole.len() - 1] {
        let path = support::scratch("split-cut.rdb", &whole[..cut]);
        fails(split("--nodes 3", &[&path], &dir), &dir, 1, "split-cut.rdb");
    }
    let mut wrong = whole.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let path = support::scratch("split-wrong.rdb", &wrong);
    fails(
        split("--nodes 3", &[&path], &dir),
        &dir,
        1,
        "hint: --no-checksum",
    );
    done(split("--nodes 3 --no-checksum", &[&path], &dir)).unwrap();
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn what_cannot_be_meant() {
    let path = small("usage", &[vec![0xfe, 0], string("a", "1")]);
    let dir = absent("usage");
    let plan = support::scratch("split-plan.json", br#"["0-100", "100-16383"]"#);
    let rows = [
        ("", 2, "--nodes"),
        ("--nodes 0", 2, "--nodes"),
        ("--nodes 16385", 2, "--nodes"),
        ("--nodes 3 --topology x", 2, "cannot be used with"),
        (
            "--topology /nowhere/nodes.conf",
            1,
            "/nowhere/nodes.conf: cannot read",
        ),
        (
            "--topology PLAN",
            1,
            "node 2: slot 100 is given to node 1 and to node 2",
        ),
        (
            "--topology PLAN --balance bytes",
            2,
            "--balance bytes is for new nodes",
        ),
        (
            "--topology PLAN --addresses 10.0.0.1:7",
            2,
            "--addresses is for new nodes",
        ),
        (
            "--nodes 3 --for redis-2.8",
            2,
            "aof for redis-2.8: it has no clusters",
        ),
        (
            "--nodes 3 --for redis-3.2 --format aof-rdb-preamble",
            2,
            "came with Redis 4.0",
        ),
        (
            "--nodes 3 --for redis-6.2 --format appendonlydir",
            2,
            "came with Redis 7.0",
        ),
        (
            "--nodes 3 --addresses 10.0.0.1:7",
            2,
            "1 addresses for 3 nodes",
        ),
        ("--nodes 1 --addresses host:7", 2, "no IP:PORT"),
        (
            "--nodes 2 --addresses 10.0.0.1:7,10.0.0.1:7",
            2,
            "is there twice",
        ),
        ("--nodes 1 --addresses 10.0.0.1:60000", 1, "is no port"),
        ("--cluster redis://127.0.0.1:1", 1, "127.0.0.1:1"),
        ("--cluster nowhere", 2, "the URL of a server"),
    ];
    for (flags, status, what) in rows {
        let flags = flags.replace("PLAN", plan.to_str().unwrap());
        fails(split(&flags, &[&path], &dir), &dir, status, what);
    }
    let run = rdbtool(["split", "--nodes", "3", path.to_str().unwrap()]);
    assert_eq!(run.status, Some(2));
    for flags in [
        "--nodes 3 --balance bytes",
        "--nodes 3 --report",
        "--nodes 3 --strict",
    ] {
        let args = format!("split {flags} - -o {}", dir.display());
        fails(
            rdbtool_reading(args.split(' '), b""),
            &dir,
            2,
            "which standard input cannot be",
        );
    }
}

#[test]
fn balanced_by_bytes_and_told_before() {
    let mut items = vec![vec![0xfe, 0]];
    for i in 0..2000 {
        // Nearly all of it in the first third of the slots.
        let key = format!("key:{i}");
        let len = if slot(key.as_bytes()) < 5461 {
            3000
        } else {
            10
        };
        items.push(string(&key, &"x".repeat(len)));
    }
    let path = small("bytes", &items);
    let dir = absent("bytes");
    let sizes = |dir: &Path| -> Vec<u64> {
        manifest(dir)["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n["bytes"].as_u64().unwrap())
            .collect()
    };
    done(split("--nodes 3", &[&path], &dir)).unwrap();
    let even = sizes(&dir);
    assert!(even[0] > 50 * even[2], "{even:?}");
    fs::remove_dir_all(&dir).unwrap();
    let run = split("--nodes 3 --balance bytes", &[&path], &dir);
    assert!(
        run.stderr.contains("the heaviest node has 1.00")
            && run.stderr.contains("with equal slots it would have 2.9"),
        "{}",
        run.stderr
    );
    let balanced = sizes(&dir);
    assert!(
        balanced.iter().max().unwrap() * 100 < balanced.iter().min().unwrap() * 110,
        "{balanced:?}"
    );
    fs::remove_dir_all(&dir).unwrap();

    let run = rdbtool([
        "split",
        "--nodes",
        "3",
        "--balance",
        "bytes",
        "--report",
        path.to_str().unwrap(),
    ]);
    let text = String::from_utf8(run.stdout).unwrap();
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    for what in [
        "2,000 keys for 3 nodes",
        "aof-3",
        "-16383",
        "largest keys",
        "\"key:",
        "with equal slots it would have 2.9",
        "The heaviest slots",
    ] {
        assert!(text.contains(what), "{what:?} in {text}");
    }
    // What would be refused is told, with the status that it would have.
    let path = small("refused", &[vec![0xfe, 2], string("a", "1")]);
    let run = rdbtool(["split", "--nodes", "3", "--report", path.to_str().unwrap()]);
    assert_eq!(run.status, Some(1));
    assert!(run.stderr.contains("1 in database 2"), "{}", run.stderr);
    assert!(!dir.exists());
}

/// nodes.conf and what is printed of a cluster, and what they lead to.
#[test]
fn by_topology() {
    let path = small(
        "topology",
        &[vec![0xfe, 0], string("foo", "1"), string("bar", "2")],
    );
    let dir = absent("topology");
    let id = |c: &str| c.repeat(40);
    let conf = format!(
        "{} 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 8192-16383\n{} 10.0.0.2:7000@17000 master - 0 0 2 connected 0-8191\nvars currentEpoch 2 lastVoteEpoch 0\n",
        id("a"),
        id("b")
    );
    let conf = support::scratch("split-nodes.conf", conf.as_bytes());
    done(split(
        &format!("--topology {}", conf.display()),
        &[&path],
        &dir,
    ))
    .unwrap();
    let told = manifest(&dir);
    assert_eq!(told["nodes"][0]["address"], "10.0.0.2:7000");
    assert_eq!(told["nodes"][1]["id"], id("a"));
    assert_eq!(
        (&told["nodes"][0]["keys"], &told["nodes"][1]["keys"]),
        (&1.into(), &1.into())
    );
    let steps = fs::read_to_string(dir.join("NEXT-STEPS")).unwrap();
    assert!(
        steps.contains("Leave nodes.conf as it is") && !dir.join("nodes-1.conf").exists(),
        "{steps}"
    );
    fs::remove_dir_all(&dir).unwrap();

    let plan = r#"{"nodes": [{"slots": "0-5000,12182", "address": "10.0.0.1:7000"}, {"slots": "5001-12181,12183-16383", "address": "10.0.0.2:7000"}]}"#;
    let plan = support::scratch("split-own.json", plan.as_bytes());
    done(split(
        &format!("--topology {}", plan.display()),
        &[&path],
        &dir,
    ))
    .unwrap();
    let conf = fs::read_to_string(dir.join("nodes-2.conf")).unwrap();
    assert!(
        conf.contains(" 10.0.0.1:7000@17000 master - 0 0 1 connected 0-5000 12182\n"),
        "{conf}"
    );
    assert!(
        conf.contains(
            " 10.0.0.2:7000@17000 myself,master - 0 0 2 connected 5001-12181 12183-16383\n"
        ),
        "{conf}"
    );
    assert!(dir.join("assign-slots.sh").exists());
    fs::remove_dir_all(&dir).unwrap();
}

/// A log of these commands.
fn log(name: &str, commands: &[&str]) -> PathBuf {
    let mut all = Vec::new();
    for c in commands {
        let args: Vec<&str> = c.split(' ').collect();
        all.extend(format!("*{}\r\n", args.len()).into_bytes());
        for a in args {
            all.extend(format!("${}\r\n{a}\r\n", a.len()).into_bytes());
        }
    }
    let path = absent(name).with_extension("aof");
    fs::write(&path, all).unwrap();
    path
}

/// The commands in a node's file, with blanks between their arguments.
fn said(file: &Path) -> Vec<String> {
    let bytes = fs::read(file).unwrap();
    let text = |argv: Vec<&[u8]>| String::from_utf8(argv.join(&b" "[..])).unwrap();
    commands(&bytes).into_iter().map(text).collect()
}

#[test]
fn of_a_log() {
    // foo is of slot 12182, bar of 5061, a of 15495, {foo}2 with foo.
    let whole = log(
        "log",
        &[
            "SELECT 0",
            "set foo 1",
            "MSET bar 2 a 3 foo 4",
            "MULTI",
            "INCR bar",
            "EXEC",
            "MULTI",
            "INCR foo",
            "DEL bar a",
            "FLUSHALL",
            "EXEC",
            "RENAME foo {foo}2",
            "SCRIPT FLUSH",
            "del a nil foo",
        ],
    );
    let dir = absent("dealt");
    let run = split("--nodes 3 --format aof", &[&whole], &dir);
    assert_eq!(run.status, Some(3), "{}", run.stderr);
    assert!(
        run.stderr.contains("each node has its part"),
        "{}",
        run.stderr
    );
    let first = [
        "SELECT 0",
        "MSET bar 2",
        "MULTI",
        "INCR bar",
        "EXEC",
        "MULTI",
        "DEL bar",
        "FLUSHALL",
        "EXEC",
        "SCRIPT FLUSH",
    ];
    assert_eq!(said(&dir.join("aof-1")), first);
    let second = [
        "SELECT 0",
        "MULTI",
        "FLUSHALL",
        "EXEC",
        "SCRIPT FLUSH",
        "del nil",
    ];
    assert_eq!(said(&dir.join("aof-2")), second);
    let third = [
        "SELECT 0",
        "set foo 1",
        "MSET a 3 foo 4",
        "MULTI",
        "INCR foo",
        "DEL a",
        "FLUSHALL",
        "EXEC",
        "RENAME foo {foo}2",
        "SCRIPT FLUSH",
        "del a foo",
    ];
    assert_eq!(said(&dir.join("aof-3")), third);
    assert_eq!(manifest(&dir)["nodes"][1]["commands"], 5);
    fs::remove_dir_all(&dir).unwrap();

    // A running node wants all keys of a command in one slot.
    let run = split("--nodes 3 --format restore", &[&whole], &dir);
    assert_eq!(run.status, Some(3), "{}", run.stderr);
    assert!(said(&dir.join("restore-3")).contains(&"MSET a 3".to_owned()));
    fs::remove_dir_all(&dir).unwrap();

    // An RDB file has no place for commands.
    for format in ["rdb", "appendonlydir"] {
        let run = split(&format!("--nodes 3 --format {format}"), &[&whole], &dir);
        fails(run, &dir, 1, "--format aof");
    }
    // What cannot be taken apart.
    for (command, what) in [
        (
            "RENAME foo bar",
            "several nodes: \"foo\" (node 3), \"bar\" (node 1)",
        ),
        ("EVAL x 0", "names no key"),
        ("NOSUCH foo", "not known"),
    ] {
        let broken = log("odd", &["SELECT 0", "SET foo 1", command, "SET bar 1"]);
        let run = split("--nodes 3", &[&broken], &dir);
        assert!(run.stderr.contains("byte 52: command"), "{}", run.stderr);
        fails(run, &dir, 1, what);
        let run = split("--nodes 3 --on-error skip", &[&broken], &dir);
        assert_eq!(run.status, Some(3), "{}", run.stderr);
        assert_eq!(said(&dir.join("aof-1")), ["SELECT 0", "SET bar 1"]);
        fs::remove_dir_all(&dir).unwrap();
        let run = split("--nodes 3 --report", &[&broken], &dir);
        assert_eq!(run.status, Some(3), "{}", run.stderr);
        assert!(
            run.stderr.contains("of several nodes, or are not known"),
            "{}",
            run.stderr
        );
    }
    let broken = log("db", &["SELECT 1", "SET foo 1"]);
    fails(
        split("--nodes 3", &[&broken], &dir),
        &dir,
        1,
        "1 in database 1",
    );
}

#[test]
fn of_the_logs_of_several_masters() {
    let one = log("log-one", &["SELECT 0", "SET foo 1", "APPEND foo 2"]);
    let two = log("log-two", &["SELECT 0", "SET bar 1", "APPEND bar 2"]);
    let both = log("log-both", &["SELECT 0", "SET bar 8", "SET a 9"]);
    let flush = log("log-flush", &["SELECT 0", "FLUSHALL"]);
    let dir = absent("several");
    done(split("--nodes 3", &[&one, &two], &dir)).unwrap();
    assert_eq!(
        said(&dir.join("aof-1")),
        ["SELECT 0", "SET bar 1", "APPEND bar 2"]
    );
    assert_eq!(
        said(&dir.join("aof-3")),
        ["SELECT 0", "SET foo 1", "APPEND foo 2"]
    );
    fs::remove_dir_all(&dir).unwrap();
    fails(
        split("--nodes 3", &[&two, &both], &dir),
        &dir,
        1,
        "--on-conflict",
    );
    for (how, first, third) in [
        ("skip", &["SET bar 1", "APPEND bar 2"][..], &["SET a 9"][..]),
        ("replace", &["SET bar 8"], &["SET a 9"]),
    ] {
        let run = split(
            &format!("--nodes 3 --on-conflict {how}"),
            &[&two, &both],
            &dir,
        );
        assert_eq!(run.status, Some(3), "{}", run.stderr);
        assert_eq!(said(&dir.join("aof-1"))[1..], *first);
        assert_eq!(said(&dir.join("aof-3"))[1..], *third);
        fs::remove_dir_all(&dir).unwrap();
    }
    fails(
        split("--nodes 3", &[&one, &flush], &dir),
        &dir,
        1,
        "the other sources, too",
    );
}
