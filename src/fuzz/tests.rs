use super::*;
use std::path::Path;

/// A function that a seed is for.
fn function(name: &str) -> fn(&[u8]) {
    match name {
        "ndjson" => ndjson,
        "commands" => |file| drop(commands(file)),
        "scan" => scan,
        "listpack" => listpack,
        "ziplist" => ziplist,
        "intset" => intset,
        "zipmap" => zipmap,
        "lzf" => lzf,
        "string" => string,
        "list" => list,
        "set" => set,
        "zset" => zset,
        "hash" => hash,
        "stream" => stream,
        "module" => module,
        "array" => array,
        "giant" => giant,
        "rewrite" => rewrite,
        "resp" => resp,
        "split" => split,
        "journal" => journal,
        "aof" => aof,
        "manifest" => manifest,
        other => panic!("{other}"),
    }
}

/// Small files of the corpus.
fn files() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/rdb");
    let mut files = Vec::new();
    for server in std::fs::read_dir(dir).unwrap() {
        for file in std::fs::read_dir(server.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|e| e == "rdb") {
                files.push(path);
            }
        }
    }
    files.sort();
    let files = files.iter().map(|p| std::fs::read(p).unwrap());
    files.filter(|f| f.len() <= 8 << 10).collect()
}

#[test]
fn what_servers_wrote_keeps_every_promise() {
    let mut seen = std::collections::BTreeMap::new();
    for file in files() {
        scan(&file);
        assert!(decode(&file).is_ok());
        assert!(commands(&file).is_ok());
        for (name, seed) in seeds(&file) {
            let n: &mut usize = seen.entry(name).or_default();
            *n += 1;
            // The same few values are in most of the files.
            if *n < 60 {
                function(name)(&seed);
            }
        }
    }
    // Arrays are of a release that no file is of.
    for name in [
        "listpack", "ziplist", "intset", "lzf", "string", "list", "set", "zset", "hash", "stream",
        "module", "giant", "rewrite", "zipmap",
    ] {
        assert!(seen.contains_key(name), "no seed for {name}: {seen:?}");
    }
}

#[test]
fn damaged_parts_keep_every_promise() {
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let mut tried = std::collections::BTreeMap::new();
    for file in files() {
        for (name, seed) in seeds(&file) {
            let n: &mut usize = tried.entry(name).or_default();
            *n += 1;
            // Giants are slow.
            if *n > if name == "giant" { 6 } else { 60 } {
                continue;
            }
            for _ in 0..8 {
                let mut broken = seed.clone();
                for _ in 0..=dice.below(2) {
                    let at = dice.below(broken.len());
                    match dice.below(4) {
                        0 => broken.truncate(at + 1),
                        1 => broken[at] = dice.below(256) as u8,
                        2 => broken[at] ^= 1 << dice.below(8),
                        _ => broken[at] = [0, 0x3f, 0x7f, 0x80, 0x81, 0xc3, 0xff][dice.below(7)],
                    }
                }
                function(name)(&broken);
            }
        }
    }
}

#[test]
fn damaged_replies_keep_every_promise() {
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let whole: &[u8] = b"+OK\r\n:-12\r\n*3\r\n$4\r\nHSET\r\n$0\r\n\r\n$12\r\nhello, world\r\n*2\r\n*1\r\n$-1\r\n*0\r\n-ERR no\r\n";
    for _ in 0..2000 {
        let mut broken = whole.get(dice.below(whole.len())..).unwrap().to_vec();
        for _ in 0..dice.below(3) {
            let at = dice.below(broken.len());
            broken[at] = b"+-:$*0129\r\n\xff"[dice.below(12)];
        }
        resp(&broken);
        split(&broken);
    }
    resp(whole);
    split(whole);
}

/// Logs of the corpus, and a manifest.
fn logs() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/damaged/aof");
    let mut logs = Vec::new();
    for case in [
        "redis-2.8.24--good",
        "redis-6.2.14--good",
        "redis-2.8.24--tail-open-multi",
    ] {
        logs.push(std::fs::read(dir.join(case).join("appendonly.aof")).unwrap());
    }
    logs.push(b"#TS:100\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$6\r\nselect\r\n$1\r\n3\r\n*3\r\n$3\r\nDEL\r\n$2\r\nka\r\n$1\r\nz\r\n*1\r\n$4\r\nEXEC\r\n#x\n*7\r\n$10\r\nXREADGROUP\r\n$5\r\nGROUP\r\n$1\r\ng\r\n$1\r\nc\r\n$7\r\nSTREAMS\r\n$1\r\nk\r\n$1\r\n>\r\n*3\r\n$6\r\nSWAPDB\r\n$1\r\n0\r\n$1\r\n1\r\n*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nz\r\n$1\r\n2\r\n".to_vec());
    logs
}

#[test]
fn logs_whole_and_damaged_keep_every_promise() {
    let mut dice = Dice(0x0123_4567_89ab_cdef);
    for log in logs() {
        aof(&log);
        for _ in 0..400 {
            let mut broken = log.clone();
            for _ in 0..dice.below(3) {
                let at = dice.below(broken.len());
                match dice.below(4) {
                    0 => broken.truncate(at + 1),
                    1 => broken[at] ^= 1 << dice.below(8),
                    2 => drop(broken.remove(at)),
                    _ => broken[at] = b"*$#0129\r\nkz"[dice.below(11)],
                }
            }
            aof(&broken);
        }
    }
    let text = b"# x\nfile \"a \\x41\\n\" seq 1 type b\nfile b seq 1 type i startoffset 5\nfile 'c' seq 2 type h\n";
    manifest(text);
    for _ in 0..3000 {
        let mut broken = text.to_vec();
        for _ in 0..=dice.below(3) {
            let at = dice.below(broken.len());
            match dice.below(3) {
                0 => broken[at] = b"\"'\\ \n\0x#/"[dice.below(9)],
                1 => broken.insert(at, dice.below(256) as u8),
                _ => drop(broken.remove(at)),
            }
        }
        manifest(&broken);
    }
}

#[test]
fn a_damaged_journal_keeps_every_promise() {
    let mut dice = Dice(0x0bad_cafe_0bad_cafe);
    for _ in 0..5000 {
        let mut broken = JOURNAL.to_vec();
        for _ in 0..=dice.below(2) {
            let at = dice.below(broken.len());
            match dice.below(3) {
                0 => drop(broken.remove(at)),
                _ => broken[at] = b"{}[],:\"\\0-e1\n"[dice.below(13)],
            }
        }
        journal(&broken);
    }
    journal(JOURNAL);
    let line = String::from_utf8(JOURNAL.to_vec()).unwrap();
    let whole = crate::target::journal::State::sealed(line);
    assert!(crate::target::journal::State::read(whole.as_bytes()).is_ok());
}

#[test]
fn lines_whole_and_damaged_keep_every_promise() {
    let mut dice = Dice(0x0fed_cba9_8765_4321);
    for file in files().iter().step_by(9) {
        let mut lines = Vec::new();
        let mut sources = [crate::source::Source::from_bytes("file", &file[..])];
        let decode = crate::Decode {
            meta: true,
            threads: 1,
            ..crate::Decode::default()
        };
        let mut sink = crate::sink::Plain(&mut lines);
        decode
            .run(&mut sources, &crate::Progress::new(), &mut sink)
            .unwrap();
        ndjson(&lines);
        for line in lines.split_inclusive(|&b| b == b'\n').take(40) {
            let mut broken = line.to_vec();
            let at = dice.below(broken.len());
            match dice.below(4) {
                0 => broken.truncate(at + 1),
                1 => broken[at] ^= 1 << dice.below(8),
                2 => drop(broken.remove(at)),
                _ => broken[at] = b"{}[],:\"\\0-e1"[dice.below(12)],
            }
            ndjson(&broken);
        }
    }
    for log in logs() {
        let mut lines = Vec::new();
        let mut sources = [crate::source::Source::from_bytes("log", &log[..])];
        let mut sink = crate::sink::Plain(&mut lines);
        crate::Decode::default()
            .run(&mut sources, &crate::Progress::new(), &mut sink)
            .unwrap();
        ndjson(&lines);
        let all: Vec<&[u8]> = lines.split_inclusive(|&b| b == b'\n').collect();
        for _ in 0..100 {
            // Some lines in a row, one of them damaged, or in another order.
            let from = dice.below(all.len());
            let mut some = all[from..(from + 6).min(all.len())].to_vec();
            if dice.below(4) == 0 {
                some.reverse();
            }
            let mut broken = some.concat();
            if dice.below(4) > 0 {
                let at = dice.below(broken.len());
                broken[at] = b"{}[],:\"\\0-e1"[dice.below(12)];
            }
            ndjson(&broken);
        }
    }
}

/// Inputs that once broke a promise: what was wrong, the function, the input.
const FOUND: &[(&str, &str, &[u8])] = &[
    (
        "which of two errors in a string was told depended on the buffer",
        "ndjson",
        b"{\"db\":0,\"key\":\"k\",\"type\":\"string\",\"value\":{\"base64\":\"AAAA#AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\xc5C\"}}",
    ),
    (
        "which of base64 and what it stands for was told to be wrong depended on the buffer",
        "ndjson",
        b"{\"key\":\"k\",\"type\":\"module\",\"value\":{\"module\":\"hellotype\",\"version\":0,\"value\":{\"base64\":\"AhAoH/////9999999999a name=mylib redis.register_functio///8CBAIGAgwCEQIUAhoA\"}}}",
    ),
    (
        "the place of a name that is no base64 depended on the buffer",
        "ndjson",
        b"{\"db\":0,\"key\":\"k\",\"type\":\"hash\",\"value\":{\"base64:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA#A\":\"v\"}}",
    ),
    (
        "the encoding of a quicklist without nodes was read from behind it",
        "list",
        b"\x03\x00",
    ),
    (
        "a giant that is the very first item was looked for in the header",
        "giant",
        b"\x0e\x01\x04only\x05field\xff\xd7\xc3,\xbb\x03\0\0",
    ),
    (
        "values were read for more names than their listpack counts",
        "hash",
        b"\x0a\x00\x10\x10\0\0\0\0\0\0\x01\x01\x40\x95\0\0\0\0\xff",
    ),
    (
        "pending entries that nobody has, and that are not named so either, came into older types",
        "rewrite",
        b"\x1a\0\0\0\0\0\0\0\0\0\x09\0\0\x02\0\0\0\0\0\0\0\0\x01\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xc0\x01\0\xc0\xaf\xd6\x916\0\0\x01b\xc0\x02C\xfb\xff\x99\x03",
    ),
    (
        "an annotation behind RDB data was not expected among commands",
        "commands",
        b"REDIS0011\xff\0\0\0\0\0\0\0\0#by hand\n",
    ),
];

#[test]
fn what_was_found_stays_fixed() {
    for (name, target, input) in FOUND {
        eprintln!("{target}: {name}");
        function(target)(input);
    }
}
