//! Takes files apart into a corpus for each target: `seed CORPUS FILE...`.

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

use rdbtool::sink::Plain;
use rdbtool::source::Source;
use rdbtool::{Decode, Progress};

/// Files larger than this make the fuzzer slow.
const LARGEST: usize = 8 << 10;

/// Of what no file has, or none that a server has written yet.
const BY_HAND: &[(&str, &[u8])] = &[
    (
        "array",
        b"\x00\x05\x00\x00\x01\x0a\0\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\x04\x40\x02\x03\x05short\x03\x00\x0fa longer string",
    ),
    ("array", b"\x00\x01\x01\x00\x00\x03\x01x"),
    ("resp", b"+OK\r\n:-12\r\n*2\r\n*1\r\n$-1\r\n*0\r\n-ERR no\r\n"),
    ("resp", b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$12\r\nhello, world\r\n*1\r\n$4\r\nPING\r\n"),
    ("journal", rdbtool::fuzz::JOURNAL),
    ("split", b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$12\r\nhello, world\r\n*1\r\n$4\r\nPING\r\n"),
    ("topology", b"0\n5460\nh\n7000\n0123456789012345678901234567890123456789\n\n5461\n16383\nh\n7001\n"),
    ("topology", b"1) 1) \"slots\"\n   2) 1) (integer) 0\n      2) (integer) 16383\n   3) \"nodes\"\n   4) 1) 1) \"id\"\n         2) \"\"\n         3) \"role\"\n         4) \"master\"\n         5) \"port\"\n         6) (integer) 7\n"),
    ("topology", b"0123456789012345678901234567890123456789 h:1@2,n,k=v myself,master - 0 0 1 connected 0-9 10 11-16383\nvars currentEpoch 3\n"),
    ("topology", b"[[0,16383,[\"h\",7,\"\",{}]]]"),
    ("topology", b"{\"nodes\":[{\"slots\":\"0-8191\",\"address\":\"h:1\"},{\"slots\":\"8192-16383\"}]}"),
    ("topology", b"# a plan\n[[nodes]]\nslots = \"0-8191\"\naddress = \"h:1\"\n[[nodes]]\nslots = '8192-16383'\nid = \"0123456789012345678901234567890123456789\"\n"),
    ("topology", b"nodes = [\"0-8191\", \"8192-16383\"]"),
    ("aof", b"#TS:100\r\n*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nDEL\r\n$2\r\nka\r\n$1\r\nz\r\n*1\r\n$4\r\nEXEC\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"),
    ("ndjson", b"{\"select\":0}\n{\"timestamp\":7}\n{\"db\":3,\"command\":[\"SET\",\"k\",{\"base64\":\"/w==\"}]}\n{\"annotation\":\" by hand\"}\n{\"db\":3,\"command\":[\"MULTI\"]}\n{\"db\":0,\"command\":[\"DEL\",\"a\"]}\n{\"db\":0,\"command\":[\"EXEC\"],\"meta\":{}}\n"),
    ("ndjson", b"{\"db\":3,\"key\":\"k\",\"type\":\"string\",\"value\":\"v\"}\n{\"command\":[\"DEL\",\"k\"]}\n"),
    ("manifest", b"# x\nfile \"a \\x41\" seq 1 type b\nfile b seq 1 type i startoffset 5\n"),
];

fn main() -> std::io::Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let corpus = args.next().expect("usage: seed CORPUS FILE...");
    for (target, seed) in BY_HAND {
        put(&corpus, target, seed)?;
    }
    for file in args {
        let bytes = std::fs::read(&file)?;
        if file.extension().is_some_and(|e| e == "aof") {
            put(&corpus, "aof", bytes.get(..LARGEST).unwrap_or(&bytes))?;
            let mut lines = Vec::new();
            let mut sources = [Source::from_bytes("seed", bytes)];
            // What stands before damage is lines too.
            let _ = Decode::default().run(&mut sources, &Progress::new(), &mut Plain(&mut lines));
            let mut end = LARGEST / 4;
            while end > 0 && lines.get(end - 1).is_some_and(|&b| b != b'\n') {
                end -= 1;
            }
            if end > 0 {
                put(&corpus, "ndjson", lines.get(..end).unwrap_or(&lines))?;
            }
            continue;
        }
        if bytes.len() <= LARGEST {
            put(&corpus, "scan", &bytes)?;
            put(&corpus, "decode", &bytes)?;
            put(&corpus, "check", &bytes)?;
            put(&corpus, "commands", &bytes)?;
            let mut lines = Vec::new();
            let mut sources = [Source::from_bytes("seed", bytes.clone())];
            let decode = Decode { meta: true, ..Decode::default() };
            if decode.run(&mut sources, &Progress::new(), &mut Plain(&mut lines)).is_ok() {
                for line in lines.split_inclusive(|&b| b == b'\n') {
                    if line.len() <= LARGEST / 4 {
                        put(&corpus, "ndjson", line)?;
                    }
                }
            }
        }
        for (target, seed) in rdbtool::fuzz::seeds(&bytes) {
            put(&corpus, target, &seed)?;
        }
    }
    Ok(())
}

/// Writes a seed under a name of its own, so that each is there once.
fn put(corpus: &Path, target: &str, seed: &[u8]) -> std::io::Result<()> {
    let mut hasher = DefaultHasher::new();
    hasher.write(seed);
    let dir = corpus.join(target);
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join(format!("seed-{:016x}", hasher.finish())), seed)
}
