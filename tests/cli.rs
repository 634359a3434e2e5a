//! The program as its user meets it: every option changes something, every error says what is wrong and ends with the status it should.
//!
//! What the values look like is for `corpus.rs` and `vectors.rs` to say; here one small file goes through everything.

mod support;

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::file::file;
use support::{Run, json, lines, rdbtool, rdbtool_reading, scratch, testdata};

// ---- files ------------------------------------------------------------------------------------------------------------

/// A string as an RDB file has it.
fn s(text: &[u8]) -> Vec<u8> {
    assert!(text.len() < 64);
    [&[text.len() as u8], text].concat()
}

fn expiry(ms: i64) -> Vec<u8> {
    [&[0xfc], &ms.to_le_bytes()[..]].concat()
}

/// Two databases, an aux field, a function; all types of keys that have one line each in [`LINES`].
fn sample() -> Vec<u8> {
    let score = |x: f64| x.to_le_bytes().to_vec();
    let items = [
        [&[0xfa], &s(b"redis-ver")[..], &s(b"7.2.4")].concat(),
        [&[0xf5], &s(b"#!lua name=lib\n")[..]].concat(),
        vec![0xfe, 0],
        [&[0x00], &s(b"plain")[..], &s(b"one")].concat(),
        expiry(4_102_444_800_000),
        [&[0x04], &s(b"user:1")[..], &[1], &s(b"name"), &s(b"Ann")].concat(),
        expiry(1_000_000_000_000),
        [&[0x02], &s(b"gone")[..], &[1], &s(b"x")].concat(),
        [&[0x05], &s(b"board")[..], &[2], &s(b"a"), &score(1.5)].concat(),
        [s(b"b"), score(f64::INFINITY)].concat(),
        vec![0xfe, 3],
        [&[0x01], &s(b"list")[..], &[2], &s(b"x"), &s(b"y, \"z\"")].concat(),
        [&[0x00], &s(b"bin\xff")[..], &s(&[b'v'; 60])].concat(),
    ];
    file(11, &items.concat())
}

const LINES: [&str; 7] = [
    r##"{"function":"#!lua name=lib\n"}"##,
    r#"{"db":0,"key":"plain","type":"string","value":"one"}"#,
    r#"{"db":0,"key":"user:1","type":"hash","expire_at_ms":4102444800000,"value":{"name":"Ann"}}"#,
    r#"{"db":0,"key":"gone","type":"set","expire_at_ms":1000000000000,"value":["x"]}"#,
    r#"{"db":0,"key":"board","type":"zset","value":[{"member":"a","score":1.5},{"member":"b","score":"inf"}]}"#,
    r#"{"db":3,"key":"list","type":"list","value":["x","y, \"z\""]}"#,
    r#"{"db":3,"key":{"base64":"Ymlu/w=="},"type":"string","value":"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"}"#,
];

/// One good key, one whose intset says that it has more members than it has bytes, one good key.
fn broken_value() -> Vec<u8> {
    let intset = b"\x02\0\0\0\x05\0\0\0\x01\0";
    let items = [
        [&[0xfe, 0, 0x00], &s(b"before")[..], &s(b"1")].concat(),
        [&[0x0b], &s(b"bad")[..], &s(intset)].concat(),
        [&[0x00], &s(b"after")[..], &s(b"2")].concat(),
    ];
    file(11, &items.concat())
}

/// A file that takes a while to print: some megabytes of JSON.
fn long() -> Vec<u8> {
    let mut items = vec![0xfe, 0];
    for i in 0..40_000 {
        items.push(0);
        items.extend(s(format!("key:{i}").as_bytes()));
        items.extend(s(&[b'v'; 60]));
    }
    file(11, &items)
}

/// A directory of its own for a test, empty.
fn dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}"));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a directory");
    dir
}

fn put(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).expect("a file");
    path
}

fn sample_file() -> PathBuf {
    scratch("cli-sample.rdb", &sample())
}

// ---- runs -------------------------------------------------------------------------------------------------------------

/// `rdbtool decode FLAGS FILE`, flags between blanks.
fn decode(flags: &str, file: &Path) -> Run {
    let flags = flags.split_whitespace().map(OsString::from);
    let args = std::iter::once("decode".into()).chain(flags);
    rdbtool(args.chain([file.as_os_str().to_owned()]))
}

#[track_caller]
fn text(run: Run) -> String {
    let out = run.ok().unwrap_or_else(|how| panic!("{how}"));
    String::from_utf8(out).expect("UTF-8")
}

/// Status, and standard error with `dir` shown as `DIR`.
fn said(run: &Run, dir: &Path) -> (Option<i32>, String) {
    let said = run.stderr.replace(&dir.display().to_string(), "DIR");
    (run.status, said)
}

// ---- what comes out ---------------------------------------------------------------------------------------------------

#[test]
fn a_line_a_key() {
    let run = decode("", &sample_file());
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains(": 6 keys, 215 B in "), "{}", run.stderr);
    assert_eq!(text(run), LINES.join("\n") + "\n");
    assert_eq!(
        text(decode("--format ndjson", &sample_file())),
        LINES.join("\n") + "\n"
    );
}

#[test]
fn one_array() {
    let got = text(decode("--format json", &sample_file()));
    assert_eq!(got, format!("[{}\n]\n", LINES.join("\n,")));
    json::parse(got.trim().as_bytes()).expect("JSON");
    let none = decode("--format json --type stream --db 9", &sample_file());
    assert_eq!(text(none), format!("[{}\n]\n", LINES[0]));
    // Behind the damage the array is closed, so that what there is can be read.
    let run = decode("--format json", &scratch("cli-cut.rdb", &sample()[..100]));
    assert_eq!(run.status, Some(1));
    let got = json::parse(run.stdout.trim_ascii()).expect("JSON");
    assert_eq!(got.elements().map(<[_]>::len), Ok(3));
}

#[test]
fn only_keys() {
    assert_eq!(
        text(decode("--format keys --meta", &sample_file())),
        "\"plain\"\n\"user:1\"\n\"gone\"\n\"board\"\n\"list\"\n{\"base64\":\"Ymlu/w==\"}\n"
    );
}

#[test]
fn a_table() {
    let got = text(decode("--format csv", &sample_file()));
    let want = [
        "db,key,type,expire_at_ms,idle_s,freq,value",
        "0,plain,string,,,,one",
        "0,user:1,hash,4102444800000,,,\"{\"\"name\"\":\"\"Ann\"\"}\"",
        "0,gone,set,1000000000000,,,\"[\"\"x\"\"]\"",
        "0,board,zset,,,,\"[{\"\"member\"\":\"\"a\"\",\"\"score\"\":1.5},{\"\"member\"\":\"\"b\"\",\"\"score\"\":\"\"inf\"\"}]\"",
        "3,list,list,,,,\"[\"\"x\"\",\"\"y, \\\"\"z\\\"\"\"\"]\"",
        "3,base64:Ymlu/w==,string,,,,vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv",
    ];
    assert_eq!(got, want.join("\n") + "\n");
}

#[test]
fn what_meta_adds() {
    let got = text(decode("--meta --limit 2", &sample_file()));
    let want = [
        r#"{"aux":{"redis-ver":"7.2.4"}}"#,
        LINES[0],
        r#"{"db":0,"key":"plain","type":"string","value":"one","meta":{"encoding":"embstr","rdb_type":0,"rdb_bytes":4,"slot":7143,"offset":45}}"#,
        r#"{"db":0,"key":"user:1","type":"hash","expire_at_ms":4102444800000,"value":{"name":"Ann"},"meta":{"encoding":"hashtable","rdb_type":4,"rdb_bytes":10,"elements":1,"slot":10778,"offset":56}}"#,
    ];
    assert_eq!(lines(got.as_bytes()).count(), want.len(), "{got}");
    for (got, want) in lines(got.as_bytes()).zip(want) {
        assert_eq!(String::from_utf8_lossy(got), want);
    }
    let csv = text(decode("--meta --limit 1 --format csv", &sample_file()));
    assert_eq!(
        csv,
        "db,key,type,expire_at_ms,idle_s,freq,value,encoding,rdb_type,rdb_bytes,elements,slot,offset\n\
         0,plain,string,,,,one,embstr,0,4,,7143,45\n"
    );
}

#[test]
fn every_change() {
    let heads = |args: &str| -> Vec<String> {
        let run = text(decode(args, &sample_file()));
        let keys = run
            .lines()
            .filter(|l| l.starts_with("{\"db\"") && !l.contains("base64"));
        keys.map(|l| l.split(",\"value\"").next().unwrap().to_owned())
            .collect()
    };
    let rows = [
        (
            "--to-db 9",
            1,
            r#"{"db":9,"key":"user:1","type":"hash","expire_at_ms":4102444800000"#,
        ),
        (
            "--db-map 0:4,3:5",
            4,
            r#"{"db":5,"key":"list","type":"list""#,
        ),
        (
            "--db-map 0:4,3:5",
            0,
            r#"{"db":4,"key":"plain","type":"string""#,
        ),
        (
            "--db-map 3:5",
            0,
            r#"{"db":0,"key":"plain","type":"string""#,
        ),
        (
            "--key-prefix-strip user:",
            1,
            r#"{"db":0,"key":"1","type":"hash","expire_at_ms":4102444800000"#,
        ),
        (
            "--key-prefix-strip user:",
            0,
            r#"{"db":0,"key":"plain","type":"string""#,
        ),
        (
            "--key-prefix-add a:",
            0,
            r#"{"db":0,"key":"a:plain","type":"string""#,
        ),
        (
            "--key-prefix-add a: --key user:*",
            0,
            r#"{"db":0,"key":"a:user:1","type":"hash","expire_at_ms":4102444800000"#,
        ),
        ("--ttl none", 1, r#"{"db":0,"key":"user:1","type":"hash""#),
        (
            "--ttl at=4000000000000",
            0,
            r#"{"db":0,"key":"plain","type":"string","expire_at_ms":4000000000000"#,
        ),
        (
            "--ttl -1s",
            1,
            r#"{"db":0,"key":"user:1","type":"hash","expire_at_ms":4102444799000"#,
        ),
        ("--ttl +1s", 0, r#"{"db":0,"key":"plain","type":"string""#),
    ];
    for (args, at, want) in rows {
        assert_eq!(heads(args)[at], want, "{args}");
    }
}

/// What comes out for servers, and what several sources come to.
#[test]
fn dumps_and_restores() {
    let file = sample_file();
    let path = file.to_str().unwrap();
    let commands = text(rdbtool(["dump", "-q", "--key", "user:*", path]));
    let want = "*2 $6 SELECT $1 0 *4 $5 HMSET $6 user:1 $4 name $3 Ann *3 $9 PEXPIREAT $6 user:1 $13 4102444800000";
    assert!(commands.replace("\r\n", " ").contains(want), "{commands}");

    let run = rdbtool([
        "restore",
        "-q",
        "--db",
        "0",
        "--key",
        "plain",
        "--on-conflict",
        "replace",
        path,
    ]);
    let bytes = run.ok().unwrap();
    // Type 0, "one", version 6; the checksum is that of Redis 2.6.
    let want = b"*5\r\n$7\r\nRESTORE\r\n$5\r\nplain\r\n$1\r\n0\r\n$15\r\n\x00\x03one\x06\x00";
    assert!(
        bytes.windows(want.len()).any(|w| w == want),
        "{}",
        bytes.escape_ascii()
    );
    assert!(bytes.ends_with(b"\r\n$7\r\nREPLACE\r\n"));

    let dir = dir("dumps");
    let out = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    // By the name of -o; the filter and the changes hold.
    let (a, b) = (out("a.rdb"), out("b.rdb"));
    text(rdbtool(["dump", "-q", "-o", &a, "--key", "plain", path]));
    text(rdbtool([
        "dump", "-q", "-o", &b, "--db", "0", "--ttl", "none", path,
    ]));
    let keys = |file: &str| text(rdbtool(["decode", "-q", "--format", "keys", file]));
    assert_eq!(keys(&a), "\"plain\"\n");
    assert_eq!(keys(&b), "\"plain\"\n\"user:1\"\n\"gone\"\n\"board\"\n");

    let merged = out("merged.rdb");
    let merge = |how: &[&str]| {
        let mut args = vec!["dump", "-q", "--force", "-o", &merged];
        args.extend_from_slice(how);
        args.extend([b.as_str(), &a]);
        rdbtool(args)
    };
    let run = merge(&[]);
    assert_eq!(run.status, Some(1));
    assert!(
        run.stderr
            .contains("key \"plain\" is in database 0 already"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("hint: --on-conflict"), "{}", run.stderr);
    for (how, want) in [
        ("skip", "\"plain\"\n\"user:1\"\n\"gone\"\n\"board\"\n"),
        ("replace", "\"plain\"\n\"user:1\"\n\"gone\"\n\"board\"\n"),
    ] {
        let run = merge(&["--on-conflict", how]);
        assert_eq!(run.status, Some(3), "{}", run.stderr);
        assert!(
            run.stderr
                .contains("1 key left out because another has the same name")
        );
        assert_eq!(keys(&merged), want, "{how}");
        assert!(text(rdbtool(["check", &merged])).contains("whole"));
    }
}

/// What an older server has no place for is named, or refused beforehand.
#[test]
fn losses_are_told() {
    let dir = dir("losses");
    let (report, out) = (dir.join("report"), dir.join("out.rdb"));
    let (report, out) = (report.to_str().unwrap(), out.to_str().unwrap());
    let file = sample_file();
    let path = file.to_str().unwrap();
    let old = [
        "dump",
        "-q",
        "--for",
        "redis-6.2",
        "--loss-report",
        report,
        "-o",
        out,
    ];
    let run = rdbtool(old.iter().chain([&path]).map(OsString::from));
    let want = "rdbtool: not kept: function libraries, 1 of them: \"#!lua name=lib\"\n";
    assert_eq!((run.status, run.stderr.as_str()), (Some(3), want));
    let told = fs::read_to_string(report).unwrap();
    assert!(
        told.starts_with("{\"reason\":\"function\",") && told.ends_with("\n"),
        "{told}"
    );
    fs::remove_file(out).unwrap();

    let run = rdbtool(old.iter().chain([&"--strict", &path]).map(OsString::from));
    assert_eq!(run.status, Some(1));
    let want = "rdbtool: not everything can be kept, and nothing has been written:\n  function libraries, 1 of them";
    assert!(run.stderr.starts_with(want), "{}", run.stderr);
    assert!(!Path::new(out).exists());

    let run = rdbtool_reading(["dump", "--strict", "-"], &sample());
    assert_eq!(run.status, Some(2));
    assert!(
        run.stderr.contains("--strict reads its sources twice"),
        "{}",
        run.stderr
    );
}

#[test]
fn every_filter() {
    const BIN: &str = "{\"base64\":\"Ymlu/w==\"}";
    let rows: [(&str, &[&str]); 25] = [
        ("--db 3", &["list", BIN]),
        ("--db 1-2,0", &["plain", "user:1", "gone", "board"]),
        ("--db 7", &[]),
        ("--key user:*", &["user:1"]),
        ("--key user:* --key l?st", &["user:1", "list"]),
        ("--not-key *o*", &["plain", "user:1", "list", BIN]),
        ("--not-key *o* --not-key l*", &["plain", "user:1", BIN]),
        ("--key-regex ^[a-l]", &["gone", "board", "list", BIN]),
        ("--key-regex ^l --key plain", &["plain", "list"]),
        ("--type hash,zset", &["user:1", "board"]),
        ("--type gcra", &[]),
        ("--slot 7143", &["plain"]),
        (
            "--slot 0-7142,7144-16383 --db 0",
            &["user:1", "gone", "board"],
        ),
        ("--expires any", &["user:1", "gone"]),
        ("--expires none --db 0", &["plain", "board"]),
        ("--expires before=2026-01-31", &["gone"]),
        ("--expires after=now", &["user:1"]),
        (
            "--expires after=now-30000d --expires before=4102444800001",
            &["user:1", "gone"],
        ),
        (
            "--expired keep --db 0",
            &["plain", "user:1", "gone", "board"],
        ),
        ("--expired drop --db 0", &["plain", "user:1", "board"]),
        ("--min-size 60", &[BIN]),
        ("--max-size 4", &["plain", "gone"]),
        ("--min-size 5 --max-size 50", &["user:1", "board", "list"]),
        ("--limit 2", &["plain", "user:1"]),
        ("--limit 0", &[]),
    ];
    let file = sample_file();
    for (flags, want) in rows {
        let got = text(decode(&format!("--format keys {flags}"), &file));
        let got: Vec<&str> = got.lines().map(|l| l.trim_matches('"')).collect();
        assert_eq!(got, want, "{flags}");
    }
}

#[test]
fn any_number_of_threads() {
    let mixed = support::read(&testdata().join("rdb/redis-7.2.6/mixed.rdb"));
    let mixed = scratch("cli-mixed.rdb", &mixed);
    let one = text(decode("--threads 1", &mixed));
    assert!(one.lines().count() > 1000);
    assert!(text(decode("--threads 4", &mixed)) == one);
    assert!(text(decode("", &mixed)) == one);
}

#[test]
fn compressed_or_piped() {
    let want = LINES.join("\n") + "\n";
    let plain = sample();
    let zst = zstd::encode_all(&plain[..], 3).expect("zstd");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(&plain).expect("gzip");
    let gz = gz.finish().expect("gzip");
    for (name, bytes) in [("plain", &plain), ("gz", &gz), ("zst", &zst)] {
        // The name says nothing.
        let path = scratch(&format!("cli-{name}.rdb"), bytes);
        assert_eq!(text(decode("", &path)), want, "{name}");
        let piped = rdbtool_reading(["decode", "-"], bytes);
        assert!(
            piped
                .stderr
                .starts_with("rdbtool: standard input: 6 keys, ")
        );
        assert_eq!(text(piped), want, "{name} from a pipe");
    }
}

#[test]
fn several_sources_make_one_output() {
    let file = sample_file();
    let (a, b) = (file.as_os_str(), broken_value());
    let b = scratch("cli-small.rdb", &self::file(11, &b[9..21]));
    let args = |flags: &str| {
        let flags = flags.split_whitespace().map(OsString::from);
        let args = std::iter::once("decode".into()).chain(flags);
        rdbtool(args.chain([a.to_owned(), b.clone().into()]))
    };
    let before = r#"{"db":0,"key":"before","type":"string","value":"1"}"#;
    let run = args("");
    assert!(
        run.stderr.starts_with("rdbtool: 2 sources: 7 keys, "),
        "{}",
        run.stderr
    );
    assert_eq!(text(run), format!("{}\n{before}\n", LINES.join("\n")));
    assert_eq!(
        text(args("--format json")),
        format!("[{}\n,{before}\n]\n", LINES.join("\n,"))
    );
    let csv = text(args("--format csv"));
    assert_eq!(csv.matches("db,key,type").count(), 1);
    assert_eq!(csv.lines().count(), 8);
    // The limit is one for all of them.
    assert_eq!(text(args("--limit 7 --format keys")).lines().count(), 7);
    assert_eq!(text(args("--limit 6 --format keys")).lines().count(), 6);

    let run = args("-v");
    let told: Vec<&str> = run.stderr.lines().collect();
    assert!(
        matches!(told[..], [x, y, z] if x.contains("cli-sample.rdb: 6 keys")
            && y.contains("cli-small.rdb: 1 key, ") && z.contains("2 sources")),
        "{told:?}"
    );
}

// ---- where it goes ----------------------------------------------------------------------------------------------------

#[test]
fn an_output_file_appears_when_it_is_whole() {
    let dir = dir("whole");
    let out = dir.join("out.json");
    let mut child = Command::new(env!("CARGO_BIN_EXE_rdbtool"))
        .args(["decode", "-q", "-", "-o"])
        .arg(&out)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let bytes = sample();
    stdin.write_all(&bytes[..50]).expect("it reads");
    let beside = format!("out.json.partial-{}", child.id());
    let since = Instant::now();
    while support::names(&dir).is_empty() && since.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(support::names(&dir), [beside]);
    stdin.write_all(&bytes[50..]).expect("it reads");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
    assert_eq!(support::names(&dir), ["out.json"]);
    assert_eq!(
        fs::read_to_string(&out).expect("an output"),
        LINES.join("\n") + "\n"
    );
}

#[test]
fn an_existing_file_is_replaced_only_by_force() {
    let dir = dir("force");
    let out = put(&dir, "out.json", b"precious");
    let flag = format!("-o {}", out.display());
    let run = decode(&flag, &sample_file());
    let want = "rdbtool: DIR/out.json: exists; --force replaces it\n";
    assert_eq!(said(&run, &dir), (Some(1), want.into()));
    assert_eq!(fs::read(&out).expect("a file"), b"precious");
    // Damage in the source does not cost the old file.
    let cut = scratch("cli-cut.rdb", &sample()[..100]);
    assert_eq!(decode(&format!("--force {flag}"), &cut).status, Some(1));
    assert_eq!(fs::read(&out).expect("a file"), b"precious");
    text(decode(&format!("--force {flag}"), &sample_file()));
    assert_eq!(
        fs::read_to_string(&out).expect("a file"),
        LINES.join("\n") + "\n"
    );
}

#[test]
fn what_stands_before_damage_is_kept_and_named() {
    let dir = dir("partial");
    let out = dir.join("out.json");
    let cut = put(&dir, "cut.rdb", &sample()[..100]);
    let run = decode(&format!("-o {}", out.display()), &cut);
    let names = support::names(&dir);
    let [_, partial] = &names[..] else {
        panic!("{names:?}")
    };
    let (status, told) = said(&run, &dir);
    assert_eq!(status, Some(1));
    let told: Vec<&str> = told.lines().collect();
    assert!(
        matches!(told[..], [error, _] if error.starts_with("rdbtool: DIR/cut.rdb: byte ") && error.contains("key \"gone\" (set")),
        "{told:?}"
    );
    assert_eq!(
        told[1],
        format!("hint: what stands before the damage is in DIR/{partial}")
    );
    assert!(partial.starts_with("out.json.partial-"));
    assert_eq!(
        fs::read_to_string(dir.join(partial)).expect("a file"),
        LINES[..3].join("\n") + "\n"
    );
}

/// `| head` has seen enough: that is no failure and no news.
#[test]
fn a_closed_pipe_ends_quietly() {
    let file = scratch("cli-long.rdb", &long());
    for format in ["ndjson", "json", "csv", "keys"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rdbtool"))
            .args(["decode", "--format", format])
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        drop(out);
        let mut told = String::new();
        let mut err = child.stderr.take().expect("a pipe");
        err.read_to_string(&mut told).expect("its errors");
        let status = child.wait().expect("it ends").code();
        assert_eq!((status, &told[..]), (Some(0), ""), "{format}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    let full = |stdout: bool, args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rdbtool"));
        command.args(args).stdin(Stdio::null());
        if stdout {
            let full = fs::File::options().write(true).open("/dev/full");
            command.stdout(full.expect("a full device"));
        }
        let out = command.output().expect("the program runs");
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let file = sample_file();
    let file = file.to_str().expect("UTF-8");
    let no_space = "cannot write: No space left on device (os error 28)\n";
    let hint = "hint: make room, or write to another disk\n";
    assert_eq!(
        full(false, &["decode", "-o", "/dev/full", file]),
        (Some(1), format!("rdbtool: /dev/full: {no_space}{hint}"))
    );
    assert_eq!(
        full(true, &["decode", file]),
        (
            Some(1),
            format!("rdbtool: standard output: {no_space}{hint}")
        )
    );
    for args in [&["completions", "bash"][..], &["man"]] {
        let want = format!("rdbtool: standard output: {no_space}");
        assert_eq!(full(true, args), (Some(1), want), "{args:?}");
    }
}

// ---- what is said -----------------------------------------------------------------------------------------------------

/// What cannot be read, and what is said of it.
#[test]
fn sources_that_are_none() {
    let dir = dir("none");
    let gz = {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(b"hello, world\n").expect("gzip");
        gz.finish().expect("gzip")
    };
    let files: [(&str, &[u8]); 7] = [
        ("empty.rdb", b""),
        ("text", b"hello, world\n"),
        ("text.gz", &gz),
        ("lines.json", b"{\"db\":0}\n"),
        ("page.html", b"<!DOCTYPE html>"),
        ("random", b"\x01\x02\xff\xfe"),
        ("zeros", &[0; 4096]),
    ];
    for (name, bytes) in files {
        put(&dir, name, bytes);
    }
    for sub in ["empty", "backup"] {
        fs::create_dir(dir.join(sub)).expect("a directory");
    }
    put(&dir, "backup/dump.rdb", &sample());
    let rows = [
        (
            "missing.rdb",
            "cannot open: No such file or directory (os error 2)",
        ),
        (
            "empty.rdb",
            "the file is empty: a server that has saved nothing yet, or a copy that failed",
        ),
        (
            "text",
            "not an RDB or append-only file: it looks like plain text",
        ),
        (
            "text.gz",
            "not an RDB or append-only file: it looks like plain text",
        ),
        ("lines.json", "byte 0, line 1: a line without \"key\""),
        (
            "page.html",
            "not an RDB or append-only file: it looks like HTML or XML; perhaps an error page was saved in its place",
        ),
        (
            "random",
            "not an RDB or append-only file: it begins with neither REDIS nor VALKEY",
        ),
        (
            "zeros",
            "not an RDB or append-only file: it begins with zeros, as a file that was never written to the end does",
        ),
        (
            "empty",
            "is a directory, and not an append-only one (it has no manifest)",
        ),
        (
            "backup",
            "is a directory without a manifest; give the file in it: DIR/backup/dump.rdb",
        ),
    ];
    for (name, what) in rows {
        let run = decode("", &dir.join(name));
        let want = format!("rdbtool: DIR/{name}: {what}\n");
        assert_eq!(said(&run, &dir), (Some(1), want));
        assert!(run.stdout.is_empty(), "{name}");
    }
    let run = rdbtool_reading(["decode", "-"], b"");
    let want = "rdbtool: standard input: not an RDB or append-only file: there is nothing in it\n";
    assert_eq!(said(&run, &dir), (Some(1), want.into()));
}

/// All sources are opened before the first byte is read, and the output before that.
#[test]
fn a_wrong_name_is_told_before_any_work() {
    let dir = dir("early");
    let missing = dir.join("missing.rdb");
    let out = dir.join("out.json");
    let run = rdbtool([
        "decode".into(),
        sample_file(),
        missing,
        "-o".into(),
        out.clone(),
    ]);
    assert_eq!((run.status, run.stdout.len()), (Some(1), 0));
    assert!(run.stderr.contains("missing.rdb: cannot open"));
    assert!(!out.exists());
    let nowhere = dir.join("no/such/out.json");
    let run = decode(&format!("-o {}", nowhere.display()), &sample_file());
    let want =
        "rdbtool: DIR/no/such/out.json: cannot create: No such file or directory (os error 2)\n";
    assert_eq!(said(&run, &dir), (Some(1), want.into()));
    let run = decode(&format!("-o {}", dir.display()), &sample_file());
    let want = "rdbtool: DIR: cannot write to: Is a directory (os error 21)\n";
    assert_eq!(said(&run, &dir), (Some(1), want.into()));
}

#[test]
fn wrong_usage() {
    let file = sample_file();
    let rows = [
        (
            "--db x",
            "\"x\" is not a list of numbers and ranges: expected databases such as 0,3-5",
        ),
        ("--db 5-3", "5-3 is reversed"),
        (
            "--type hsh",
            "\"hsh\" is no type: the types are string, list, set, zset, hash, stream, module, array, gcra",
        ),
        ("--slot 16384", "16384 is too large, the largest is 16383"),
        (
            "--expires soon",
            "expected any, none, before=T or after=T, as in before=now+2h",
        ),
        ("--expires before=x", "\"x\" is no time"),
        (
            "--expires any --expires none",
            "no key can meet all of --expires and --expired",
        ),
        ("--expired x", "expected keep or drop"),
        (
            "--min-size 4q",
            "\"4q\" is no size: expected bytes such as 1000, 64k, 10MB or 2GiB",
        ),
        (
            "--min-size 5k --max-size 1k",
            "--min-size (5120 bytes) is more than --max-size (1024 bytes)",
        ),
        ("--key-regex a(b", "unclosed group"),
        ("--limit x", "invalid value 'x' for '--limit <N>'"),
        ("--threads 0", "0 is not in 1..=1024"),
        ("--format xml", "[possible values: ndjson, json, keys, csv]"),
        ("--on-error ignore", "[possible values: stop, skip]"),
        (
            "--progress yes",
            "[possible values: auto, always, never, json]",
        ),
        ("-q -v", "cannot be used with"),
        ("--force", "--output <FILE>"),
        ("--fromat json", "a similar argument exists: '--format'"),
        ("- -", "standard input (-) can be read only once"),
    ];
    for (flags, what) in rows {
        let run = decode(flags, &file);
        assert_eq!(run.status, Some(2), "{flags}: {}", run.stderr);
        assert!(run.stderr.contains(what), "{flags}: {}", run.stderr);
        assert!(run.stdout.is_empty(), "{flags}");
    }
    for (args, what) in [
        (&["decode"][..], "<SOURCE>"),
        (&["decod", "x"], "a similar subcommand exists: 'decode'"),
        (&["completions", "tcsh"], "[possible values: bash"),
        (&[], "Usage: rdbtool <COMMAND>"),
    ] {
        let run = rdbtool(args);
        assert_eq!(run.status, Some(2), "{args:?}");
        assert!(run.stderr.contains(what), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn a_wrong_checksum() {
    let dir = dir("checksum");
    let mut bytes = sample();
    *bytes.last_mut().expect("bytes") ^= 0x80;
    let bad = put(&dir, "bad.rdb", &bytes);
    let run = decode("", &bad);
    let (status, told) = said(&run, &dir);
    assert_eq!(status, Some(1));
    let told: Vec<&str> = told.lines().collect();
    let at = format!("rdbtool: DIR/bad.rdb: byte {}: checksum ", bytes.len() - 8);
    assert!(told[0].starts_with(&at), "{told:?}");
    assert!(told[1].starts_with("hint: --no-checksum "), "{told:?}");
    // All there is has been written by then.
    assert_eq!(
        String::from_utf8_lossy(&run.stdout),
        LINES.join("\n") + "\n"
    );
    assert_eq!(text(decode("--no-checksum", &bad)), LINES.join("\n") + "\n");
}

#[test]
fn a_broken_value() {
    let dir = dir("skip");
    let bad = put(&dir, "bad.rdb", &broken_value());
    let line = |key, value| {
        format!("{{\"db\":0,\"key\":\"{key}\",\"type\":\"string\",\"value\":\"{value}\"}}\n")
    };
    for flags in ["", "--on-error stop", "-q"] {
        let run = decode(flags, &bad);
        let (status, told) = said(&run, &dir);
        assert_eq!(status, Some(1));
        assert!(
            told.starts_with("rdbtool: DIR/bad.rdb: byte ")
                && told.contains(": key \"bad\" (set, intset): "),
            "{told}"
        );
        assert_eq!(String::from_utf8_lossy(&run.stdout), line("before", 1));
    }
    for flags in ["--on-error skip", "--on-error skip -q"] {
        let run = decode(flags, &bad);
        let (status, told) = said(&run, &dir);
        assert_eq!(status, Some(3), "{told}");
        assert_eq!(
            String::from_utf8_lossy(&run.stdout),
            line("before", 1) + &line("after", 2)
        );
        let told: Vec<&str> = told.lines().collect();
        assert!(
            told[0].starts_with("rdbtool: DIR/bad.rdb: left out: byte ")
                && told[0].contains("key \"bad\""),
            "{told:?}"
        );
        assert_eq!(
            told.last(),
            Some(&"rdbtool: 1 value left out because broken")
        );
    }
}

/// Two files in one: what is not read is named. Commands behind the end are read.
#[test]
fn bytes_behind_the_end() {
    let dir = dir("behind");
    let path = put(&dir, "two.rdb", &[sample(), sample()].concat());
    let run = decode("-q", &path);
    let want = "rdbtool: DIR/two.rdb: more bytes stand after the end of the RDB data, not read\n";
    assert_eq!(said(&run, &dir), (Some(3), want.to_owned()));
    let lines = LINES.join("\n") + "\n";
    assert_eq!(String::from_utf8_lossy(&run.stdout), lines);
    let path = put(
        &dir,
        "preamble.aof",
        &[&sample(), &b"*1\r\n$4\r\nPING\r\n"[..]].concat(),
    );
    let run = decode("-q", &path);
    assert_eq!(said(&run, &dir), (Some(0), String::new()));
    let lines = lines + "{\"db\":0,\"command\":[\"PING\"]}\n";
    assert_eq!(String::from_utf8_lossy(&run.stdout), lines);
}

#[test]
fn quiet() {
    let run = decode("-q", &sample_file());
    assert_eq!((run.status, &run.stderr[..]), (Some(0), ""));
    assert_eq!(run.stdout, decode("", &sample_file()).stdout);
}

/// Half a file, a pause, the other half.
fn slowly(args: &[&str]) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rdbtool"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let bytes = sample();
    stdin.write_all(&bytes[..50]).expect("it reads");
    std::thread::sleep(Duration::from_millis(1300));
    stdin.write_all(&bytes[50..]).expect("it reads");
    drop(stdin);
    let out = child.wait_with_output().expect("it ends");
    (
        out.status.code(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    )
}

#[test]
fn progress() {
    let run = |args: &'static [&str]| std::thread::spawn(move || slowly(args));
    let always = run(&["decode", "-", "--progress", "always"]);
    let json = run(&["decode", "-", "--progress", "json"]);
    // No terminal, or not wanted: nothing but the summary.
    let auto = run(&["decode", "-"]);
    let never = run(&["decode", "-", "--progress", "never"]);
    let quiet = run(&["decode", "-", "--progress", "json", "-q"]);
    let [always, json, auto, never, quiet] =
        [always, json, auto, never, quiet].map(|run| run.join().expect("no panic"));

    let first = always.1.lines().next().unwrap_or_default();
    assert_eq!(always.0, Some(0));
    assert!(
        first.starts_with("rdbtool: standard input: ")
            && first.contains(", 0 keys, ")
            && first.ends_with("s so far"),
        "{always:?}"
    );

    assert_eq!(json.0, Some(0));
    let told: Vec<&str> = json.1.lines().collect();
    let [first, .., last, _] = told[..] else {
        panic!("{told:?}")
    };
    for (line, keys) in [(first, 0), (last, 6)] {
        let line = json::parse(line.as_bytes()).expect("JSON");
        let names = ["source", "bytes", "total_bytes", "keys", "elapsed_s"];
        let [source, _, total, n, _] = line.shape(names).expect("its members");
        assert_eq!(source.map(json::Json::str), Some(Ok("standard input")));
        assert_eq!(total, Some(&json::Json::Null));
        assert_eq!(n.map(json::Json::int), Some(Ok(keys)));
    }
    for (status, told) in [auto, never] {
        assert_eq!((status, told.lines().count()), (Some(0), 1), "{told}");
    }
    assert_eq!(quiet, (Some(0), String::new()));
}

// ---- help -------------------------------------------------------------------------------------------------------------

const SUBCOMMANDS: [&str; 7] = [
    "decode",
    "restore",
    "dump",
    "split",
    "check",
    "completions",
    "man",
];

/// Help as it is where no terminal says how wide it is.
fn help(args: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_rdbtool"))
        .args(args)
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .expect("the program runs");
    assert!(out.status.success(), "{args:?}");
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    // Blanks at line ends are clap's.
    text.lines()
        .map(|l| format!("{}\n", l.trim_end()))
        .collect()
}

#[test]
fn help_shows_examples() {
    assert!(help(&["--help"]).contains("\nExamples:\n  rdbtool decode"));
    for sub in SUBCOMMANDS.iter().filter(|s| **s != "check") {
        let long = help(&[sub, "--help"]);
        assert!(
            long.contains(&format!("\nExamples:\n  rdbtool {sub}")),
            "{sub}"
        );
        assert!(help(&[sub, "-h"]).len() < long.len(), "{sub}");
    }
    assert_eq!(
        help(&["--version"]),
        format!("rdbtool {}\n", env!("CARGO_PKG_VERSION"))
    );
}

/// The manual is the help: `UPDATE_GOLDEN=1 cargo test --test cli` writes it anew.
#[test]
fn the_manual_says_what_the_help_says() {
    let mut want = String::from(
        "# The command line\n\n\
         What `--help` says, of each command. Written by `UPDATE_GOLDEN=1 cargo test --test cli`; not to be edited.\n",
    );
    let names = std::iter::once("").chain(SUBCOMMANDS);
    for name in names {
        let args: Vec<&str> = name.split_whitespace().chain(["--help"]).collect();
        let title = format!("rdbtool {name}");
        want += &format!("\n## {}\n\n```text\n{}```\n", title.trim(), help(&args));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &want).expect("docs/cli.md");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    if found != want {
        let at = found.lines().zip(want.lines()).position(|(f, w)| f != w);
        let at = at.unwrap_or(found.lines().count().min(want.lines().count()));
        panic!(
            "docs/cli.md is not what --help says, from line {} on:\n  file {:?}\n  help {:?}\n\
             UPDATE_GOLDEN=1 cargo test --test cli writes it anew",
            at + 1,
            found.lines().nth(at),
            want.lines().nth(at),
        );
    }
}

/// What the README shows is what comes out.
#[test]
fn the_readme_shows_the_truth() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("README.md");
    let (command, rest) = readme.split_once(" | head -4\n").expect("an example");
    let file = command.rsplit(' ').next().expect("a file");
    let shown = rest.split("```text\n").nth(1).expect("its output");
    let (shown, _) = shown.split_once("```").expect("the end of it");
    assert_eq!(shown.lines().count(), 4);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    assert!(text(decode("", &path)).starts_with(shown));
}

#[test]
fn completions_and_man_pages() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let got = text(rdbtool(["completions", shell]));
        assert!(
            got.contains("key-regex") && got.contains("check"),
            "{shell}"
        );
    }
    let page = text(rdbtool(["man"]));
    assert!(page.contains(".TH rdbtool 1"), "{page}");
    let dir = dir("man").join("new");
    let run = rdbtool(["man".as_ref(), "-o".as_ref(), dir.as_os_str()]);
    assert_eq!(text(run), "");
    let mut want: Vec<String> = SUBCOMMANDS.map(|s| format!("rdbtool-{s}.1")).to_vec();
    want.push("rdbtool.1".into());
    want.sort();
    assert_eq!(support::names(&dir), want);
    let file = put(&dir, "file", b"");
    let run = rdbtool(["man".as_ref(), "-o".as_ref(), file.as_os_str()]);
    let want = "rdbtool: DIR/file: cannot write the pages there: File exists (os error 17)\n";
    assert_eq!(said(&run, &dir), (Some(1), want.into()));
}
