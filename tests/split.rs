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
use support::{Report, Run, corpus, for_each, lines, names, rdbtool, rdbtool_reading, testdata};
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
    // For programs: what the run then writes, and the same figures as in the text.
    let path_text = path.to_str().unwrap();
    let json = ["split", "--nodes=3", "--balance=bytes", "--report=json"];
    let run = rdbtool(json.into_iter().chain([path_text]));
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    done(split("--nodes 3 --balance bytes", &[&path], &dir)).unwrap();
    let written = manifest(&dir);
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(report["keys"], 2000);
    assert_eq!(report["databases"], serde_json::json!({"0": 2000}));
    assert_eq!(report["sources"], serde_json::json!([path_text]));
    let nodes = report["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    let (mut sum, mut most) = (0, 0.0f64);
    for (node, w) in nodes.iter().zip(written["nodes"].as_array().unwrap()) {
        for field in ["file", "slots", "keys"] {
            assert_eq!(node[field], w[field]);
        }
        sum += node["bytes"].as_u64().unwrap();
        most = most.max(node["of_mean"].as_f64().unwrap());
        let largest = node["largest"].as_array().unwrap();
        assert_eq!(largest.len(), 3);
        for l in largest {
            let key = l["key"].as_str().unwrap();
            let file = fs::read(&path).unwrap();
            assert!(file.windows(key.len()).any(|w| w == key.as_bytes()));
            // The name, and what the value takes in the file: 3000 bytes, or 10, with their length.
            let value = l["bytes"].as_u64().unwrap() - key.len() as u64;
            assert!([3002, 11].contains(&value), "{l}");
            assert!(text.contains(&format!("\"{key}\"")), "{key}");
        }
    }
    assert_eq!(report["bytes"], sum);
    assert_eq!(report["heaviest_of_mean"].as_f64().unwrap(), most);
    let even = report["heaviest_of_mean_with_equal_slots"].as_f64();
    assert!((2.9..3.0).contains(&even.unwrap()), "{even:?}");
    assert_eq!(report["heaviest_slots"].as_array().unwrap().len(), 5);
    assert_eq!(report["refused"], serde_json::json!([]));
    assert_eq!(report["losses"], serde_json::json!([]));

    // What would be refused is told, with the status that it would have.
    let path = small("refused", &[vec![0xfe, 2], string("a", "1")]);
    let path_text = path.to_str().unwrap();
    let run = rdbtool(["split", "--nodes=1", "--report=json", path_text]);
    assert_eq!(run.status, Some(1));
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(report["refused"][0]["reason"], "databases");
    let what = report["refused"][0]["what"].as_str().unwrap();
    assert!(what.contains("1 in database 2"), "{what}");
    assert!(report["heaviest_of_mean_with_equal_slots"].is_null());
    // A name that comes twice, of bytes that are no text; and a file that is broken.
    let bytes = [&[0xfe, 0, 0, 1, 0xff, 1, b'v'][..]].concat();
    let twice = small("twice-told", &[bytes]);
    let twice = twice.to_str().unwrap();
    for (flags, status, refused) in [("--strict", 1, 1), ("--on-conflict=skip", 3, 0)] {
        let run = rdbtool(["split", "--nodes=1", "--report=json", flags, twice, twice]);
        assert_eq!(run.status, Some(status), "{}", run.stderr);
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        assert_eq!(report["left_out"], 1);
        assert_eq!(report["refused"].as_array().unwrap().len(), refused);
        let key = serde_json::json!({"base64": "/w=="});
        assert_eq!(report["nodes"][0]["largest"][0]["key"], key);
    }
    let broken = small(
        "broken-told",
        &[vec![0xfe, 0, 2, 1, b's', 1, 0xc3, 1, 2, 0xff]],
    );
    let run = rdbtool([
        "split",
        "--nodes=1",
        "--report=json",
        broken.to_str().unwrap(),
    ]);
    assert_eq!(run.status, Some(1));
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

    // An RDB file has no place for commands, and it is said what has.
    for hint in [
        "an RDB file holds keys, not commands",
        "hint: --format aof-rdb-preamble",
    ] {
        let run = split("--nodes 3 --format rdb", &[&whole], &dir);
        fails(run, &dir, 1, hint);
    }
    let run = rdbtool(["split", "--nodes", "3", "--report", whole.to_str().unwrap()]);
    let text = String::from_utf8(run.stdout).unwrap();
    assert_eq!(run.status, Some(3), "{}", run.stderr);
    assert!(
        text.starts_with("0 keys and then 7 commands for 3 nodes"),
        "{text}"
    );
    let row = text.lines().find(|l| l.starts_with("aof-3")).unwrap();
    let row: Vec<_> = row.split_whitespace().collect();
    assert_eq!(row[..4], ["aof-3", "10923-16383", "0", "4"], "{text}");
    let args = ["split", "--nodes", "3", "--report", "--format", "rdb"];
    let run = rdbtool(args.into_iter().chain([whole.to_str().unwrap()]));
    assert_eq!(run.status, Some(1));
    assert!(run.stderr.contains("hint: --format aof-rdb-preamble"));
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
        // As the run does, with each of the two.
        let skip = split("--nodes 3 --report --on-error skip", &[&broken], &dir);
        assert_eq!(skip.status, Some(3), "{}", skip.stderr);
        let run = split("--nodes 3 --report=json", &[&broken], &dir);
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        assert_eq!(report["refused"][0]["reason"], "across-nodes", "{report}");
        assert_eq!(report["losses"][0]["count"], 1, "{report}");
        let run = split("--nodes 3 --report", &[&broken], &dir);
        assert_eq!(run.status, Some(1), "{}", run.stderr);
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

// ---- logs into formats that begin with RDB data -------------------------------------------------------------------------

/// The commands of a log, without the SELECTs that change nothing, and its annotations.
fn told_in(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut db = b"0".to_vec();
    let mut all = Vec::new();
    while !bytes.is_empty() {
        if bytes[0] == b'#' {
            let end = bytes.iter().position(|&b| b == b'\n').unwrap() + 1;
            all.push(bytes[..end].to_vec());
            bytes = &bytes[end..];
            continue;
        }
        let raw = rdbtool::command::Raw::read(bytes, 0).unwrap().unwrap();
        let is_select = raw.name().eq_ignore_ascii_case(b"SELECT");
        let to = raw.args().nth(1).unwrap_or_default();
        if !is_select || to != db {
            all.push(raw.bytes().to_vec());
        }
        if is_select {
            db = to.to_vec();
        }
        bytes = &bytes[raw.bytes().len()..];
    }
    all
}

/// RDB data, and what stands behind them.
fn rdb_and_rest(file: &[u8]) -> (&[u8], &[u8]) {
    let mut scanner = rdbtool::rdb::scan::Scanner::new(file).unwrap();
    while scanner.next_item().unwrap().is_some() {}
    let end = usize::try_from(scanner.offset()).unwrap() + 8;
    file.split_at(end)
}

/// A log with RDB data before it.
fn with_rdb(name: &str, rdb: &Path, commands: &[&str]) -> PathBuf {
    let log = log(name, commands);
    let all = [fs::read(rdb).unwrap(), fs::read(&log).unwrap()].concat();
    fs::write(&log, all).unwrap();
    log
}

/// What is given to a node is what the format of commands has, whatever form the log had: as commands again it is the same.
#[test]
fn rdb_data_and_commands_are_the_log() {
    let root = testdata().join("aof");
    let mut cases = Vec::new();
    for server in names(&root) {
        for file in names(&root.join(&server)) {
            if let Some(case) = file.strip_suffix(".meta.json") {
                cases.extend([1, 3].map(|n| (format!("{server}/{case}"), n)));
            }
        }
    }
    assert!(cases.len() > 100);
    let tried = std::sync::Mutex::new((0, 0, 0));
    for_each(&cases, |(case, nodes)| {
        let source = match root.join(case) {
            dir if dir.join("appendonly.aof").exists() => dir.join("appendonly.aof"),
            dir => dir,
        };
        let what = format!("{case} to {nodes}");
        let name =
            |format: &str| absent(&format!("log-{}-{nodes}-{format}", case.replace('/', "-")));
        let flags = |format: &str| format!("--db 0 --nodes {nodes} --format {format}");
        let plain = name("aof");
        let run = split(&flags("aof"), &[&source], &plain);
        let status = run.status;
        for format in ["aof-rdb-preamble", "appendonlydir"] {
            let dir = name(format);
            let run = split(&flags(format), &[&source], &dir);
            // RDB data lose less than commands do.
            let is_same = (run.status == Some(1)) == (status == Some(1));
            assert!(is_same, "{what}: {format}: {}", run.stderr);
            if status == Some(1) {
                continue;
            }
            for n in 1..=*nodes {
                let want = told_in(&fs::read(plain.join(format!("aof-{n}"))).unwrap());
                let seeded = match format {
                    "appendonlydir" => dir.join(format!("appendonlydir-{n}")),
                    _ => dir.join(format!("aof-{n}")),
                };
                let base = match format {
                    "appendonlydir" => seeded.join("appendonly.aof.1.base.rdb"),
                    _ => seeded.clone(),
                };
                let base = fs::read(base).unwrap();
                let (rdb, rest) = rdb_and_rest(&base);
                assert!(rdb.starts_with(b"REDIS") || rdb.starts_with(b"VALKEY"));
                assert!(format != "appendonlydir" || rest.is_empty(), "{what}");
                let run = rdbtool([OsString::from("dump"), seeded.clone().into()]);
                assert!(
                    matches!(run.status, Some(0 | 3)),
                    "{what}: {format}: {}",
                    run.stderr
                );
                let got = told_in(&run.stdout);
                assert!(got == want, "{what}: {format} {n}");
                let incr = seeded.join("appendonly.aof.1.incr.aof");
                let mut tried = tried.lock().unwrap();
                tried.0 += 1;
                tried.1 += usize::from(!rest.is_empty() || incr.exists());
                tried.2 += usize::from(rdb.len() > 300);
            }
            fs::remove_dir_all(dir).unwrap();
        }
        let _ = fs::remove_dir_all(plain);
    });
    let (files, with_commands, with_keys) = tried.into_inner().unwrap();
    assert!(
        files > 150 && with_commands > 80 && with_keys > 20,
        "{files}, {with_commands}, {with_keys}"
    );
}

/// Keys of a later log stand before the commands of an earlier one: they are others.
#[test]
fn of_several_logs_with_rdb_data() {
    let one = small("log-rdb-1", &[vec![0xfe, 0], string("foo", "1")]);
    let two = small(
        "log-rdb-2",
        &[
            vec![0xf5],
            s(b"#!lua name=f\n1"),
            vec![0xfe, 0],
            string("bar", "1"),
        ],
    );
    let one = with_rdb("log-with-1", &one, &["SELECT 0", "APPEND foo 2"]);
    let two = with_rdb(
        "log-with-2",
        &two,
        &["SELECT 0", "MULTI", "APPEND bar 2", "EXEC"],
    );
    let three = log("log-with-3", &["SELECT 0", "SET a 9"]);
    let sources = [&*three, &*one, &*two];
    let dir = absent("rdb-several");
    let keys_in = |path: &Path| -> Vec<String> {
        let text = String::from_utf8(decode(&["--format", "keys"], path).unwrap()).unwrap();
        let mut keys: Vec<_> = text
            .lines()
            .map(|l| l.trim_matches('"').to_owned())
            .collect();
        keys.sort();
        keys
    };
    let rest = [
        "SELECT 0",
        "SET a 9",
        "APPEND foo 2",
        "MULTI",
        "APPEND bar 2",
        "EXEC",
    ];
    let text = |bytes: &[u8]| -> Vec<String> {
        let text = |argv: Vec<&[u8]>| String::from_utf8(argv.join(&b" "[..])).unwrap();
        commands(bytes).into_iter().map(text).collect()
    };

    done(split("--nodes 1 --format aof-rdb-preamble", &sources, &dir)).unwrap();
    let file = fs::read(dir.join("aof-1")).unwrap();
    let (rdb, behind) = rdb_and_rest(&file);
    assert!(rdb.starts_with(b"REDIS0011\xfa\x0caof-preamble"));
    assert_eq!(text(behind), rest);
    let base = support::scratch("split-log-base.rdb", rdb);
    assert_eq!(keys_in(&base), ["bar", "foo"]);
    let all = String::from_utf8(decode(&[], &base).unwrap()).unwrap();
    assert!(all.contains("name=f"), "{all}");
    let node = &manifest(&dir)["nodes"][0];
    assert_eq!((&node["keys"], &node["commands"]), (&2.into(), &5.into()));
    assert_eq!(node["bytes"], file.len());
    // What waited is gone.
    assert_eq!(
        names(&dir),
        ["NEXT-STEPS", "aof-1", "assign-slots.sh", "manifest.json"]
    );
    fs::remove_dir_all(&dir).unwrap();

    done(split("--nodes 3 --format appendonlydir", &sources, &dir)).unwrap();
    let at = |n: u8, name: &str| dir.join(format!("appendonlydir-{n}/appendonly.aof.{name}"));
    let listed = |n| fs::read_to_string(at(n, "manifest")).unwrap();
    let base = "file appendonly.aof.1.base.rdb seq 1 type b\n";
    let incr = "file appendonly.aof.1.incr.aof seq 1 type i\n";
    assert_eq!(
        [1, 2, 3].map(listed),
        [&[base, incr].concat(), base, &[base, incr].concat()]
    );
    assert_eq!(keys_in(&at(1, "1.base.rdb")), ["bar"]);
    assert_eq!(keys_in(&at(3, "1.base.rdb")), ["foo"]);
    assert_eq!(
        said(&at(1, "1.incr.aof")),
        ["SELECT 0", "MULTI", "APPEND bar 2", "EXEC"]
    );
    assert_eq!(
        said(&at(3, "1.incr.aof")),
        ["SELECT 0", "SET a 9", "APPEND foo 2"]
    );
    assert!(!at(2, "1.incr.aof").exists());
    let told = manifest(&dir);
    let mut bytes = 0;
    for node in told["nodes"].as_array().unwrap() {
        for file in [Some(node), node.get("incr")].into_iter().flatten() {
            let path = dir.join(file["file"].as_str().unwrap());
            let out = Command::new("cksum").arg(path).output().unwrap();
            let sum = String::from_utf8(out.stdout).unwrap();
            let want = format!("{} {} ", file["cksum"], file["bytes"]);
            assert!(sum.starts_with(&want), "{sum}: {file}");
            bytes += file["bytes"].as_u64().unwrap();
        }
    }
    assert_eq!(told["bytes"], bytes);
    let steps = fs::read_to_string(dir.join("NEXT-STEPS")).unwrap();
    for words in ["2 keys and then 5 commands", "1.incr.aof with the commands"] {
        assert!(steps.contains(words), "{steps}");
    }
    fs::remove_dir_all(&dir).unwrap();

    // Of commands alone: RDB data that any reader of such a file takes.
    for (flags, header) in [
        ("--format aof-rdb-preamble", "REDIS0008"),
        ("--format aof-rdb-preamble --for redis-6.2", "REDIS0009"),
        ("--format aof-rdb-preamble --for valkey-9.0", "VALKEY080"),
    ] {
        done(split(&format!("--nodes 2 {flags}"), &[&three], &dir)).unwrap();
        for n in [1, 2] {
            let file = fs::read(dir.join(format!("aof-{n}"))).unwrap();
            let (rdb, behind) = rdb_and_rest(&file);
            assert!(rdb.starts_with(header.as_bytes()), "{flags}");
            assert_eq!(behind.is_empty(), n == 1);
        }
        fs::remove_dir_all(&dir).unwrap();
    }
    done(split("--nodes 1 --format appendonlydir", &[&three], &dir)).unwrap();
    assert!(
        fs::read(at(1, "1.base.rdb"))
            .unwrap()
            .starts_with(b"REDIS0010")
    );
    fs::remove_dir_all(&dir).unwrap();
    // And of a base alone an RDB file.
    let base = support::scratch("split-log-base-only.rdb", rdb);
    done(split("--nodes 1 --format rdb", &[&base], &dir)).unwrap();
    assert_eq!(keys_in(&dir.join("rdb-1")), ["bar", "foo"]);
    fs::remove_dir_all(&dir).unwrap();
}

/// No server writes such a directory. Its keys must not overtake the commands before them.
#[test]
fn rdb_data_behind_commands() {
    let dir = absent("odd-directory");
    fs::create_dir(&dir).unwrap();
    let commands = log("odd-base", &["SELECT 0", "SET foo 1", "SET bar 1"]);
    let rdb = small("odd-incr", &[vec![0xfe, 0], string("a", "1")]);
    fs::copy(commands, dir.join("x.1.base.aof")).unwrap();
    fs::copy(rdb, dir.join("x.1.incr.aof")).unwrap();
    let text = "file x.1.base.aof seq 1 type b\nfile x.1.incr.aof seq 1 type i\n";
    fs::write(dir.join("x.manifest"), text).unwrap();
    let other = log("odd-other", &["SELECT 0", "SET other 1"]);
    let to = absent("odd-to");
    for format in ["aof-rdb-preamble", "appendonlydir"] {
        for sources in [&[&*dir][..], &[&other, &dir]] {
            let run = split(&format!("--nodes 2 --format {format}"), sources, &to);
            fails(run, &to, 1, "RDB data behind commands of the same log");
        }
        // It is others' commands that stand before them.
        let run = split(
            &format!("--nodes 2 --format {format} --key a"),
            &[&other, &dir],
            &to,
        );
        done(run).unwrap();
        fs::remove_dir_all(&to).unwrap();
    }
    done(split("--nodes 2", &[&dir], &to)).unwrap();
    assert!(said(&to.join("aof-2")).contains(&"SET a 1".to_owned()));
    fs::remove_dir_all(to).unwrap();
    fs::remove_dir_all(dir).unwrap();
}

/// Large logs: the same bytes for any number of threads and from a pipe, a command larger than any buffer counts once, and a thousand nodes
/// with two files each need no more handles than there are.
#[test]
fn large_logs_behind_rdb_data() {
    let rdb = fs::read(giant_file()).unwrap();
    let large = "x".repeat(5 << 20);
    let mut told: Vec<_> = (0..20_000).map(|i| format!("SET key:{i} {i}")).collect();
    told.push(format!("SET large {large}"));
    told.insert(0, "SELECT 0".to_owned());
    let told: Vec<_> = told.iter().map(|t| &**t).collect();
    let whole = with_rdb("large-1", &support::scratch("split-large.rdb", &rdb), &told);
    let other: Vec<_> = (0..20_000).map(|i| format!("SET other:{i} {i}")).collect();
    let other: Vec<_> = std::iter::once("SELECT 0")
        .chain(other.iter().map(|t| &**t))
        .collect();
    let other = log("large-2", &other);
    let tree = |dir: &Path| -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        for node in manifest(dir)["nodes"].as_array().unwrap() {
            for file in [Some(node), node.get("incr")].into_iter().flatten() {
                let name = file["file"].as_str().unwrap();
                all.insert(name.to_owned(), fs::read(dir.join(name)).unwrap());
            }
        }
        all
    };
    let (one, many, piped) = (absent("l-one"), absent("l-many"), absent("l-piped"));
    for format in ["aof-rdb-preamble", "appendonlydir"] {
        let flags = format!("--nodes 5 --format {format}");
        done(split(&format!("{flags} --threads 1"), &[&whole], &one)).unwrap();
        done(split(&format!("{flags} --threads 4"), &[&whole], &many)).unwrap();
        let args = format!("split {flags} - -o");
        let args = args.split(' ').map(OsString::from);
        let args = args.chain([piped.clone().into()]);
        done(rdbtool_reading(args, &fs::read(&whole).unwrap())).unwrap();
        assert!(
            tree(&one) == tree(&many) && tree(&one) == tree(&piped),
            "{format}"
        );
        let commands = |dir: &Path| -> u64 {
            let told = manifest(dir);
            let nodes = told["nodes"].as_array().unwrap();
            nodes.iter().filter_map(|n| n["commands"].as_u64()).sum()
        };
        assert_eq!(
            (&manifest(&one)["keys"], commands(&one)),
            (&20_002.into(), 20_001)
        );
        for dir in [&one, &many, &piped] {
            fs::remove_dir_all(dir).unwrap();
        }
        let out = Command::new("sh")
            .args(["-c", "ulimit -n 50; exec \"$@\"", "sh"])
            .arg(env!("CARGO_BIN_EXE_rdbtool"))
            .args(["split", "--nodes", "1000", "--format", format, "-o"])
            .args([&one, &whole, &other])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        assert_eq!(
            (&manifest(&one)["keys"], commands(&one)),
            (&20_002.into(), 40_001)
        );
        let (mut keys, mut all) = (0, 0);
        for (name, bytes) in tree(&one) {
            let log = match name.ends_with(".incr.aof") {
                true => &bytes,
                false => {
                    let (rdb, rest) = rdb_and_rest(&bytes);
                    let mut scanner = rdbtool::rdb::scan::Scanner::new(rdb).unwrap();
                    while let Some(item) = scanner.next_item().unwrap() {
                        keys += usize::from(matches!(item, rdbtool::rdb::scan::Item::Key(_)));
                    }
                    rest
                }
            };
            all += told_in(log).len();
        }
        assert_eq!((keys, all), (20_002, 40_001), "{format}");
        fs::remove_dir_all(&one).unwrap();
    }
}
