//! Append-only files, through the binary: the logs of the corpus, damage, filters, point in time.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rdbtool::Progress;
use rdbtool::aof::manifest::Manifest;
use rdbtool::decode::Decode;
use rdbtool::error::ErrorKind;
use rdbtool::rdb::header::Header;
use rdbtool::rdb::scan::Scanner;
use rdbtool::sink::Plain;
use rdbtool::source::Source;
use support::{Report, Run, facts, for_each, names, rdbtool, rdbtool_reading, read, testdata};

/// The directories of a kind of logs, with their names.
fn logs(kind: &str) -> Vec<(String, PathBuf)> {
    let root = testdata().join(kind);
    let mut all = Vec::new();
    let dirs = |dir: &Path| {
        let names = names(dir).into_iter();
        names.filter(|n| dir.join(n).is_dir()).collect::<Vec<_>>()
    };
    for name in dirs(&root) {
        if kind.starts_with("damaged") {
            all.push((name.clone(), root.join(name)));
            continue;
        }
        for case in dirs(&root.join(&name)) {
            all.push((format!("{name}/{case}"), root.join(&name).join(case)));
        }
    }
    all
}

/// What to give rdbtool: a directory with a manifest, or the file in it.
fn source(dir: &Path) -> PathBuf {
    match dir.join("appendonly.aof") {
        file if file.exists() => file,
        _ => dir.to_owned(),
    }
}

/// The files of a log that are loaded, in order.
fn files(dir: &Path) -> Vec<Vec<u8>> {
    let file = dir.join("appendonly.aof");
    if file.exists() {
        return vec![read(&file)];
    }
    let dir = dir.join(&names(dir)[0]);
    let name = names(&dir).into_iter().find(|n| n.ends_with(".manifest"));
    let manifest = Manifest::read(&read(&dir.join(name.unwrap()))).unwrap();
    let loaded = manifest.loaded();
    loaded
        .map(|f| read(&dir.join(std::str::from_utf8(&f.name).unwrap())))
        .collect()
}

/// One command of arguments with blanks between them.
fn command(text: &str) -> Vec<u8> {
    let args: Vec<&str> = text.split(' ').collect();
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for a in args {
        bytes.extend(format!("${}\r\n{a}\r\n", a.len()).into_bytes());
    }
    bytes
}

/// Commands, and `#` lines, with semicolons between them.
fn log(text: &str) -> Vec<u8> {
    let one = |t: &str| match t.starts_with('#') {
        true => format!("{t}\r\n").into_bytes(),
        false => command(t),
    };
    text.split(';').flat_map(one).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const SELECT_0: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";

/// What a log is dumped as: itself, with a SELECT between its files, where the first is no RDB file.
#[test]
fn logs_are_dumped_as_they_are() {
    let all = logs("aof");
    assert!(all.len() > 50);
    let report = Report::default();
    for_each(&all, |(name, dir)| {
        let run = rdbtool(["dump".as_ref(), source(dir).as_os_str()]);
        if !matches!(run.status, Some(0 | 3)) {
            return report.fail(name, run.stderr);
        }
        let files = files(dir);
        let mut tail = Vec::new();
        for (i, file) in files.iter().enumerate() {
            if i > 0 {
                tail.extend_from_slice(SELECT_0);
            }
            if !file.starts_with(b"REDIS") && !file.starts_with(b"VALKEY") {
                tail.extend_from_slice(file);
            }
        }
        let is_rdb = files[0].starts_with(b"REDIS") || files[0].starts_with(b"VALKEY");
        if is_rdb && !run.stdout.ends_with(&tail) || !is_rdb && run.stdout != tail {
            report.fail(name, "other commands than those of the log");
        }
        // On one thread, and with several, of a file and of a pipe.
        let one = rdbtool(["dump", "--threads=1", &source(dir).display().to_string()]);
        if one.stdout != run.stdout {
            report.fail(name, "otherwise with one thread");
        }
        if let [file] = &files[..] {
            for args in [["dump", "--threads=3", "-"], ["dump", "--threads=1", "-"]] {
                let piped = rdbtool_reading(args, file);
                if piped.stdout != run.stdout || piped.status != run.status {
                    report.fail(name, "otherwise by pipe");
                }
            }
        }
        let check = rdbtool(["check".as_ref(), source(dir).as_os_str()]);
        if check.status != Some(0) {
            report.fail(name, format!("check: {}", text(&check.stdout)));
        }
        // What is decoded is decoded alike.
        let json = rdbtool(["decode".as_ref(), source(dir).as_os_str()]);
        if json.status != Some(0) {
            report.fail(name, format!("decode: {}", json.stderr));
        }
        for line in text(&json.stdout).lines() {
            if let Err(e) = serde_json::from_str::<serde_json::Value>(line) {
                report.fail(name, format!("{e}: {line}"));
            }
        }
    });
    report.finish();
}

/// What stands behind the RDB data of a file.
fn behind_rdb(file: &[u8]) -> &[u8] {
    let mut scanner = Scanner::new(file).unwrap();
    while scanner.next_item().unwrap().is_some() {}
    &file[scanner.offset() as usize + 8..]
}

/// What decode writes of a log is that log again: the same commands, byte for byte, wherever the lines go.
#[test]
fn lines_of_a_log_are_that_log() {
    let report = Report::default();
    for_each(&logs("aof"), |(name, dir)| {
        let path = source(dir).display().to_string();
        let base = &files(dir)[0];
        let is_rdb = Header::is_magic(base);
        // Of lines nobody knows how old the server was: the keys of an older one's base come as commands of newer ones.
        let old = is_rdb && base.starts_with(b"REDIS000");
        let log = if old { behind_rdb(base) } else { b"" };
        assert!(!old || log.len() > 1000, "{name}");
        for args in [
            &["--format=ndjson"][..],
            &["--format=json", "--threads=1"],
            &["--meta", "--threads=3"],
        ] {
            let decode: Vec<&str> = ["decode"].iter().chain(args).copied().collect();
            let lines = rdbtool(decode.into_iter().chain([&path[..]]));
            if lines.status != Some(0) {
                return report.fail(name, lines.stderr);
            }
            for way in [
                &["dump"][..],
                &["restore", "--threads=2"],
                &["decode"],
                &["dump", "--key=*[a-m]*", "--format=aof"],
                &["decode", "--db=0", "--key-prefix-add=x:", "--format=csv"],
                &["dump", "--for=redis-4.0", "--limit=20"],
                &["dump", "--until=1"],
                &["dump", "--until=2026-11-20T21:08:14Z"],
            ] {
                // The payloads of a base are in simpler layouts; when it was written is told with --meta.
                if is_rdb
                    && (way[0] == "restore" || way[1..].iter().any(|w| w.starts_with("--until")))
                    && (way[0] == "restore" || args[0] != "--meta")
                {
                    continue;
                }
                if old && way[0] == "dump" && way.len() > 1 {
                    continue;
                }
                let straight = rdbtool(way.iter().copied().chain([&path[..]]));
                let read = rdbtool_reading(way.iter().copied().chain(["-"]), &lines.stdout);
                if match old && way[0] == "dump" {
                    true => !read.stdout.ends_with(log) || !straight.stdout.ends_with(log),
                    false => read.stdout != straight.stdout,
                } {
                    report.fail(name, format!("{args:?} {way:?}: otherwise"));
                }
                if read.status != straight.status {
                    let (a, b) = (&straight.stderr, &read.stderr);
                    report.fail(name, format!("{args:?} {way:?}: {a}\nof its lines: {b}"));
                }
            }
            let check = rdbtool_reading(["check", "--format=json", "-"], &lines.stdout);
            let straight = rdbtool(["check", "--format=json", &path]);
            let counted = |run: &Run| -> (u64, u64) {
                let reports = serde_json::Deserializer::from_slice(&run.stdout).into_iter();
                let reports = reports.map(|r: Result<serde_json::Value, _>| r.unwrap());
                reports.fold((0, 0), |(keys, commands), r| {
                    let n = |name: &str| r[name].as_u64().unwrap_or(0);
                    (keys + n("keys"), commands + n("commands"))
                })
            };
            if (check.status, counted(&check)) != (Some(0), counted(&straight)) {
                report.fail(name, format!("check: {}", text(&check.stdout)));
            }
        }
    });
    report.finish();
}

/// Where the damage is, and where the good part ends, as the servers' own checker says it.
#[test]
fn damage_is_where_the_checker_says() {
    let report = Report::default();
    let mut compared = 0;
    for (name, dir) in logs("damaged/aof") {
        let meta = facts(&dir.with_file_name(format!("{name}.meta.json")));
        let checker = meta.need("check_aof").unwrap();
        let says: Vec<String> = match checker.get("says").map(|s| s.elements().unwrap()) {
            Some(lines) => lines.iter().map(|l| l.str().unwrap().to_owned()).collect(),
            None => continue,
        };
        let ok_up_to = says.iter().rev().find_map(|l| {
            let rest = l.split("ok_up_to=").nth(1)?;
            rest.split(',').next()?.parse::<u64>().ok()
        });
        let valid = checker.get("rc").unwrap().int().unwrap() == 0;
        let run = rdbtool([
            "check",
            "--format=json",
            &source(&dir).display().to_string(),
        ]);
        let reports: Vec<serde_json::Value> = text(&run.stdout)
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        let good = reports.iter().find_map(|r| r["good_bytes"].as_u64());
        // The checker takes an empty manifest for an empty log, and counts the line of a negative count as good.
        if name.ends_with("manifest-empty") || name.ends_with("negative-argc") {
            continue;
        }
        if valid != (run.status == Some(0)) {
            report.fail(&name, format!("{:?}: {}", run.status, run.stderr));
        }
        if let (false, Some(want)) = (valid, ok_up_to)
            && name != "redis-7.4.1--incr-missing"
        {
            compared += 1;
            if good != Some(want) {
                report.fail(
                    &name,
                    format!("good up to {good:?}, the checker says {want}"),
                );
            }
        }
        // The good part is a log that is whole.
        let out = tempfile::tempdir().unwrap();
        let repaired = out.path().join("good.aof");
        let args = [
            "check",
            "-o",
            &repaired.display().to_string(),
            &source(&dir).display().to_string(),
        ]
        .map(str::to_owned);
        let run = rdbtool(args);
        if good.is_some() {
            if run.status != Some(3) {
                report.fail(&name, format!("-o: {:?}: {}", run.status, run.stderr));
            }
            let check = rdbtool(["check".as_ref(), repaired.as_os_str()]);
            if check.status != Some(0) {
                report.fail(&name, format!("the good part: {}", text(&check.stdout)));
            }
        }
    }
    assert!(compared > 15, "{compared}");
    report.finish();
}

/// A decode of bytes that are a log, as one thread reads them from memory: lines, and how it ended.
fn decode(bytes: &[u8]) -> (String, Result<Option<u64>, rdbtool::RdbError>) {
    let mut lines = Vec::new();
    let options = Decode {
        threads: 1,
        ..Decode::default()
    };
    let r = options.run(
        &mut [Source::from_bytes("log", bytes)],
        &Progress::new(),
        &mut Plain(&mut lines),
    );
    let end = r.map(|s| s[0].truncated.as_ref().map(|t| t.offset));
    (text(&lines), end)
}

/// Every truncation of small logs: what is whole comes out, and the tail is told; the RDB part must be whole.
#[test]
fn cut_anywhere() {
    for name in ["redis-2.8.24--good", "redis-6.2.14--good"] {
        let file = read(&testdata().join(format!("damaged/aof/{name}/appendonly.aof")));
        let (whole, end) = decode(&file);
        assert_eq!(end.unwrap(), None, "{name}");
        let rdb = file.windows(3).position(|w| w == b"*2\r").unwrap();
        let rdb = if file.starts_with(b"REDIS") { rdb } else { 0 };
        let mut ends = 0;
        for cut in 1..file.len() {
            let (lines, end) = decode(&file[..cut]);
            assert!(whole.starts_with(&lines), "{name} cut at {cut}");
            match end {
                Ok(None) => ends += 1,
                Ok(Some(at)) => {
                    assert!(
                        (at as usize) < cut && at as usize >= rdb,
                        "{name} cut at {cut}: {at}"
                    );
                    // Up to there it is whole.
                    if at as usize > rdb {
                        let (again, end) = decode(&file[..at as usize]);
                        assert!(again == lines && end.unwrap().is_none(), "{name} {cut}");
                    }
                }
                Err(e) => assert!(
                    cut < rdb || cut == 1 && rdb == 0,
                    "{name} cut at {cut}: {e}"
                ),
            }
        }
        assert!(ends > 10, "{name}: whole at {ends} places");
    }
}

/// Every byte changed: an error at or before it, or other data, but never what stands before it.
#[test]
fn any_byte_changed() {
    let file = read(&testdata().join("damaged/aof/redis-2.8.24--good/appendonly.aof"));
    let (whole, _) = decode(&file);
    let lines: Vec<&str> = whole.lines().collect();
    // How many commands are whole before each byte.
    let mut errors = 0;
    for at in 0..file.len() {
        for b in [b'0', b'9', b'\n', 0, b'*', b'$', file[at] ^ 1] {
            let mut changed = file.clone();
            changed[at] = b;
            let before = decode(&file[..at]).0.lines().count();
            let (got, end) = decode(&changed);
            let same = got.lines().zip(&lines).take_while(|(a, b)| a == *b).count();
            assert!(
                same + 1 >= before
                    || end
                        .as_ref()
                        .is_err_and(|e| e.kind() == ErrorKind::Unsupported),
                "byte {at} changed to {b}: {same} of {before} lines"
            );
            if let Err(e) = end
                && let Some(whole) = e.whole()
            {
                errors += 1;
                assert!(whole <= e.offset().unwrap(), "{e}");
            }
        }
    }
    assert!(errors > 1000, "{errors}");
}

fn run(args: &[&str], log: &[u8]) -> Run {
    rdbtool_reading(args.iter().copied().chain(["--quiet", "-"]), log)
}

#[test]
fn lines_of_commands() {
    let bytes = log("SELECT 3;#TS:7;SET k v;# by hand;MULTI;DEL a b;EXEC;MULTI;EXEC");
    let cases = [
        (
            &["decode"][..],
            "{\"select\":3}\n{\"timestamp\":7}\n{\"db\":3,\"command\":[\"SET\",\"k\",\"v\"]}\n{\"annotation\":\" by hand\"}\n{\"db\":3,\"command\":[\"MULTI\"]}\n\
             {\"db\":3,\"command\":[\"DEL\",\"a\",\"b\"]}\n{\"db\":3,\"command\":[\"EXEC\"]}\n",
        ),
        (
            &["decode", "--meta", "--key=k"],
            "{\"timestamp\":7}\n{\"db\":3,\"command\":[\"SET\",\"k\",\"v\"],\"meta\":{\"offset\":30}}\n{\"annotation\":\" by hand\"}\n",
        ),
        (&["decode", "--format=keys"], "\"k\"\n\"a\"\n\"b\"\n"),
        (
            &["decode", "--format=csv", "--key-prefix-add=x:"],
            "db,key,type,expire_at_ms,idle_s,freq,value\n3,x:k,command,,,,\"[\"\"SET\"\",\"\"x:k\"\",\"\"v\"\"]\"\n3,,command,,,,\"[\"\"MULTI\"\"]\"\n\
             3,x:a,command,,,,\"[\"\"DEL\"\",\"\"x:a\"\",\"\"x:b\"\"]\"\n3,,command,,,,\"[\"\"EXEC\"\"]\"\n",
        ),
    ];
    for (args, want) in cases {
        let run = run(args, &bytes);
        assert_eq!(
            (run.status, text(&run.stdout)),
            (Some(0), want.to_owned()),
            "{}",
            run.stderr
        );
    }
    let array = run(&["decode", "--format=json"], &bytes);
    let array: serde_json::Value = serde_json::from_slice(&array.stdout).unwrap();
    assert_eq!(array.as_array().unwrap().len(), 7);
    // Bytes that are no text.
    let bytes = [&b"*2\r\n$3\r\nGET\r\n$1\r\n"[..], b"\xff", b"\r\n"].concat();
    let run = run(&["decode"], &bytes);
    assert_eq!(
        text(&run.stdout),
        "{\"db\":0,\"command\":[\"GET\",{\"base64\":\"/w==\"}]}\n"
    );
}

#[test]
fn what_goes_on() {
    let rows: &[(&[&str], &str, &str, i32)] = &[
        (
            &["dump"],
            "SELECT 1;#TS:1;SET a 1",
            "SELECT 1;#TS:1;SET a 1",
            0,
        ),
        (
            &["restore"],
            "SELECT 1;#TS:1;SET a 1",
            "SELECT 1;SET a 1",
            0,
        ),
        (&["dump", "--for=redis-6.2"], "#TS:1;SET a 1", "SET a 1", 3),
        (
            &["dump", "--for=redis-6.0"],
            "SET a 1 PXAT 9",
            "SET a 1;PEXPIREAT a 9",
            0,
        ),
        (
            &["dump", "--for=redis-4.0"],
            "XADD a 1-1 f v;SET b 1",
            "SET b 1",
            3,
        ),
        (
            &["dump", "--db=1"],
            "SET a 1;SELECT 1;SET b 2;SELECT 0;SET c 3",
            "SELECT 1;SET b 2",
            0,
        ),
        (
            &["dump", "--to-db=5", "--on-conflict=replace"],
            "SET a 1;SELECT 1;SET b 2",
            "SELECT 5;SET a 1;SELECT 5;SET b 2",
            0,
        ),
        // A transaction of which nothing is wanted goes, but for the database that it selects.
        (
            &["dump", "--key=b"],
            "MULTI;SELECT 2;SET a 1;EXEC;SET b 2",
            "SELECT 2;SET b 2",
            0,
        ),
        (
            &["dump", "--key=b"],
            "MULTI;SET a 1;SELECT 2;SET b 2;EXEC",
            "MULTI;SELECT 2;SET b 2;EXEC",
            0,
        ),
        (
            &["dump", "--key=b"],
            "MULTI;SET b 1;SELECT 2;SET a 2;EXEC",
            "MULTI;SET b 1;SELECT 2;EXEC",
            0,
        ),
        (
            &["dump"],
            "MULTI;SET a 1;MULTI;SET b 1;EXEC;EXEC;DISCARD",
            "MULTI;SET a 1;SET b 1;EXEC",
            0,
        ),
        (
            &["dump", "--key=b"],
            "DEL a b;RENAME a b",
            "DEL b;RENAME a b",
            3,
        ),
        (
            &["dump", "--limit=2"],
            "SET a 1;MULTI;SET b 2;SET c 3;EXEC;SET d 4",
            "SET a 1;MULTI;SET b 2;SET c 3;EXEC",
            0,
        ),
        (
            &["dump", "--until=1"],
            "SET a 1;#TS:1;SET b 2;#TS:2;SET c 3",
            "SET a 1;#TS:1;SET b 2",
            0,
        ),
        (
            &["dump", "--until=1970-01-01T00:00:01Z"],
            "#TS:1;SET b 2;#TS:2;SET c 3",
            "#TS:1;SET b 2",
            0,
        ),
        (&["dump", "--until=1"], "SET a 1", "SET a 1", 3),
        (&["dump"], "SET a 1;MULTI;SET b 2", "SET a 1", 3),
        (&["dump"], "SET a 1 EX 100", "SET a 1 EX 100", 3),
    ];
    for (args, bytes, want, status) in rows {
        for threads in ["--threads=1", "--threads=2"] {
            let args: Vec<&str> = args.iter().copied().chain([threads]).collect();
            let run = run(&args, &log(bytes));
            assert_eq!(
                run.stdout,
                log(want),
                "{args:?} {bytes}: {}\n{}",
                text(&run.stdout),
                run.stderr
            );
            assert_eq!(
                run.status,
                Some(*status),
                "{args:?} {bytes}: {}",
                run.stderr
            );
            assert_eq!(
                run.stderr.is_empty(),
                *status == 0,
                "{args:?} {bytes}: {}",
                run.stderr
            );
        }
    }
}

/// A log begins in database 0 also behind RDB data of another, as servers have it.
#[test]
fn the_database_behind_rdb_data() {
    let rdb = b"REDIS0004\xfe\x03\x00\x05hello\x05world\xff";
    let rows = [
        ("SET a 1", "SELECT 0;SET a 1"),
        (
            "#TS:1;MULTI;SET a 1;EXEC",
            "#TS:1;SELECT 0;MULTI;SET a 1;EXEC",
        ),
        ("SELECT 3;SET a 1", "SELECT 3;SET a 1"),
        ("#TS:1", "#TS:1;SELECT 0"),
    ];
    for (behind, want) in rows {
        let file = [&rdb[..], &log(behind)].concat();
        let want = log(&format!("SELECT 3;SET hello world;{want}"));
        for threads in ["--threads=1", "--threads=2"] {
            let dump = run(&["dump", threads], &file);
            assert_eq!(text(&dump.stdout), text(&want), "{behind}");
            let lines = run(&["decode", threads], &file).stdout;
            assert_eq!(
                text(&run(&["dump"], &lines).stdout),
                text(&want),
                "{behind}"
            );
        }
    }
    // Of keys that are wanted, a filter leaves no line of a SELECT.
    let file = [&rdb[..], &log("SELECT 0;SET a 1;SELECT 2;SET b 2")].concat();
    let lines = run(&["decode", "--key=b"], &file).stdout;
    assert_eq!(
        text(&lines),
        "{\"db\":2,\"command\":[\"SET\",\"b\",\"2\"]}\n"
    );
    assert_eq!(run(&["dump"], &lines).stdout, log("SELECT 2;SET b 2"));
}

/// Lines that are not whole, or no log: what stands before is kept, and the error has the line.
#[test]
fn lines_of_a_log_that_are_broken() {
    let good = "{\"db\":1,\"command\":[\"SET\",\"a\",\"1\"]}\n";
    let rows = [
        (
            format!("{good}{{\"command\":[\"SET\",1]}}"),
            "byte 53, line 2: a number: expected a string",
            1,
        ),
        (
            format!("{good}{{\"key\":\"a\",\"type\":\"set\",\"value\":[]}}"),
            "byte 36, line 2: \"key\": a line of a key",
            1,
        ),
        (
            format!("{good}{{\"db\":1,\"comm"),
            "line 2: the input ends inside a string",
            1,
        ),
        (
            format!("{good}{{\"db\":1,\"command\":[\"MULTI\"]}}"),
            "left out: the file ends in a transaction without EXEC",
            3,
        ),
    ];
    for (lines, want, status) in rows {
        let dump = rdbtool_reading(["dump", "-"], lines.as_bytes());
        assert_eq!(
            text(&dump.stdout),
            text(&log("SELECT 1;SET a 1")),
            "{lines}"
        );
        assert_eq!(dump.status, Some(status), "{lines}");
        assert!(dump.stderr.contains(want), "{lines}: {}", dump.stderr);
        // The part that is good, as a log.
        let d = tempfile::tempdir().unwrap();
        let (path, good) = (d.path().join("x.ndjson"), d.path().join("good.aof"));
        fs::write(&path, lines).unwrap();
        let check = rdbtool([
            "check".as_ref(),
            "-o".as_ref(),
            good.as_os_str(),
            path.as_os_str(),
        ]);
        assert_eq!(check.status, Some(3), "{}", check.stderr);
        assert_eq!(text(&read(&good)), text(&log("SELECT 1;SET a 1")));
    }
}

/// A command of tens of megabytes, and one of very many arguments.
#[test]
fn lines_of_large_commands() {
    let large = "x".repeat(20 << 20);
    let many: Vec<String> = (0..300_000).map(|i| format!("member:{i}")).collect();
    let bytes = log(&format!(
        "SELECT 0;SET k {large};SADD s {};DEL k",
        many.join(" ")
    ));
    let lines = run(&["decode"], &bytes).stdout;
    assert!(run(&["dump"], &lines).stdout == bytes);
}

#[test]
fn what_is_refused() {
    let rows: &[(&[&str], &str, &str)] = &[
        (
            &["dump", "--format=rdb"],
            "SET a 1",
            "an RDB file holds keys, not commands",
        ),
        (
            &["dump", "--type=hash"],
            "SELECT 0;SET a 1",
            "byte 23: command \"SET\": --type",
        ),
        (&["decode", "--ttl=none"], "SET a 1", "--ttl"),
        (&["dump", "--key=a"], "NOSUCH a", "not known"),
        (&["dump", "--to-db=1"], "SET a 1", "--on-conflict replace"),
        (
            &["dump", "--truncated=error"],
            "SET a 1;MULTI;SET b 1",
            "byte 27: the file ends in a transaction without EXEC",
        ),
        (&["dump"], "SELECT x", "expected the number of a database"),
    ];
    for (args, bytes, want) in rows {
        let run = run(args, &log(bytes));
        assert_eq!(run.status, Some(1), "{args:?} {bytes}");
        assert!(
            run.stderr.contains(want),
            "{args:?} {bytes}: {}",
            run.stderr
        );
    }
    let strict = tempfile::tempdir().unwrap();
    let path = strict.path().join("x.aof");
    fs::write(&path, log("XADD a 1-1 f v")).unwrap();
    let path = path.display().to_string();
    let run = rdbtool(["dump", "--strict", "--for=redis-4.0", &path]);
    assert_eq!(run.status, Some(1));
    assert!(
        run.stdout.is_empty()
            && run
                .stderr
                .contains("commands that the target does not have"),
        "{}",
        run.stderr
    );
}

/// A directory, however it is named, and with its files compressed.
#[test]
fn directories() {
    let d = tempfile::tempdir().unwrap();
    let dir = d.path().join("appendonlydir");
    fs::create_dir(&dir).unwrap();
    let manifest = "file i.1 seq 1 type i\nfile base seq 1 type b\nfile \"i 2\" seq 2 type i\nfile gone seq 1 type h\n";
    fs::write(dir.join("x.manifest"), manifest).unwrap();
    fs::write(
        dir.join("base"),
        b"REDIS0004\xfe\x03\x00\x05hello\x05world\xff",
    )
    .unwrap();
    fs::write(dir.join("i.1"), log("SET a 1;SELECT 2;SET b 2")).unwrap();
    let mut second = log("SET c 3");
    second.extend_from_slice(b"*2\r\n$3");
    fs::write(dir.join("i 2"), &second).unwrap();
    let want =
        [&log("SELECT 3;SET hello world;SELECT 0;SET a 1;SELECT 2;SET b 2;SELECT 0;SET c 3")[..]]
            .concat();
    for path in [d.path(), &dir, &dir.join("x.manifest")] {
        let run = rdbtool(["dump".as_ref(), path.as_os_str()]);
        assert_eq!((run.status, text(&run.stdout)), (Some(3), text(&want)));
        assert!(
            run.stderr
                .contains("i 2: byte 27: left out: the file ends inside a command; 6 bytes"),
            "{}",
            run.stderr
        );
    }
    // The good part of all of it is one log.
    let good = d.path().join("good.aof");
    let run = rdbtool([
        "check",
        "-o",
        &good.display().to_string(),
        &dir.display().to_string(),
    ]);
    assert_eq!(run.status, Some(3), "{}", run.stderr);
    let run = rdbtool(["dump".as_ref(), good.as_os_str()]);
    assert_eq!((run.status, text(&run.stdout)), (Some(0), text(&want)));
    // Only the last file may be cut.
    fs::write(dir.join("i.1"), &second).unwrap();
    let run = rdbtool(["dump".as_ref(), dir.as_os_str()]);
    assert_eq!(run.status, Some(1));
    assert!(
        run.stderr
            .contains("i.1: byte 27: the file ends inside a command"),
        "{}",
        run.stderr
    );
    // Compressed files, each under its name with an ending.
    fs::write(dir.join("i.1"), log("SET a 1;SELECT 2;SET b 2")).unwrap();
    fs::write(dir.join("i 2"), log("SET c 3")).unwrap();
    for (file, ending) in [("base", ".gz"), ("i.1", ".gz"), ("i 2", ".zst")] {
        let bytes = read(&dir.join(file));
        let packed = match ending {
            ".zst" => zstd::encode_all(&bytes[..], 0).unwrap(),
            _ => {
                let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gz.write_all(&bytes).unwrap();
                gz.finish().unwrap()
            }
        };
        fs::write(dir.join(format!("{file}{ending}")), packed).unwrap();
        fs::remove_file(dir.join(file)).unwrap();
    }
    let run = rdbtool(["dump".as_ref(), dir.as_os_str()]);
    assert_eq!(
        (run.status, text(&run.stdout)),
        (Some(0), text(&want)),
        "{}",
        run.stderr
    );
    fs::remove_file(dir.join("base.gz")).unwrap();
    let run = rdbtool(["dump".as_ref(), dir.as_os_str()]);
    assert!(
        run.stderr.contains("base, which is not there"),
        "{}",
        run.stderr
    );
}

/// What was rewritten later than a time cannot be gone back behind.
#[test]
fn a_base_that_is_too_new() {
    let d = tempfile::tempdir().unwrap();
    let base = b"REDIS0011\xfa\x05ctime\x041000\xff\0\0\0\0\0\0\0\0";
    fs::write(d.path().join("b"), base).unwrap();
    fs::write(d.path().join("i"), log("#TS:1001;SET a 1;#TS:1005;SET b 1")).unwrap();
    let manifest = "file b seq 1 type b\nfile i seq 1 type i\n";
    fs::write(d.path().join("x.manifest"), manifest).unwrap();
    let dump = |until: &str| rdbtool(["dump", "--until", until, &d.path().display().to_string()]);
    let run = dump("999");
    assert_eq!(run.status, Some(1));
    assert!(
        run.stderr
            .contains("1970-01-01T00:16:40Z, later than --until"),
        "{}",
        run.stderr
    );
    let run = dump("1004");
    assert_eq!(
        (run.status, run.stdout),
        (Some(0), log("SELECT 0;#TS:1001;SET a 1"))
    );
}

/// A transaction larger than a batch, by file and by pipe, whole and filtered.
#[test]
fn a_large_transaction() {
    let value = "v".repeat(3000);
    let mut all = vec!["SET a 1".to_owned(), "MULTI".to_owned()];
    for i in 0..1500 {
        all.push(format!(
            "SET {} {value}",
            if i % 2 == 0 { "a" } else { "b" }
        ));
    }
    all.push("EXEC".to_owned());
    all.push("SET b 1".to_owned());
    let bytes = log(&all.join(";"));
    let some: Vec<_> = all
        .iter()
        .filter(|c| !c.starts_with("SET a"))
        .cloned()
        .collect();
    let want = log(&some.join(";"));
    let d = tempfile::tempdir().unwrap();
    let path = d.path().join("x.aof");
    fs::write(&path, &bytes).unwrap();
    let path = path.display().to_string();
    for threads in ["--threads=1", "--threads=3"] {
        assert!(rdbtool(["dump", threads, &path]).stdout == bytes);
        assert!(rdbtool(["dump", threads, "--key=b", &path]).stdout == want);
        assert!(run(&["dump", threads, "--key=b"], &bytes).stdout == want);
    }
}
