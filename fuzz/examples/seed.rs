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
];

fn main() -> std::io::Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let corpus = args.next().expect("usage: seed CORPUS FILE...");
    for (target, seed) in BY_HAND {
        put(&corpus, target, seed)?;
    }
    for file in args {
        let bytes = std::fs::read(&file)?;
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
