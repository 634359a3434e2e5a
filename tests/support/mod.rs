//! What the tests of the binary share: the corpus, a way to run the program, and a report that names every failure.
//!
//! ```text
//! testdata/rdb/<server>/<theme>.rdb[.gz]             a file some real server wrote
//!                       <theme>.truth.ndjson[.gz]    what that server itself answered, a line a key
//!                       <theme>.meta.json            facts about the whole file
//! testdata/damaged/rdb/                              the same for small files that were then broken
//! ```

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub)]

pub mod file;
pub mod json;
pub mod line;
pub mod truth;
pub mod value;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use json::Json;

/// Longest time one run of the program may take. Far more than any needs, so that only a hang reaches it.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// A file of the corpus with what is known of it.
#[derive(Debug)]
pub struct Case {
    /// `redis-7.2.6/streams`.
    pub name: String,
    /// The release that wrote it, `redis-7.2.6`.
    pub server: String,
    /// What it is about, `streams`.
    pub theme: String,
    /// The file, never compressed: one that is kept compressed has been unpacked to here.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// `meta.json`.
    pub meta: Json,
    dir: PathBuf,
}

impl Case {
    /// The truth, line by line.
    pub fn truth(&self) -> Vec<Json> {
        let file = self.dir.join(format!("{}.truth.ndjson", self.theme));
        lines(&read(&file))
            .map(|l| {
                json::parse(l).unwrap_or_else(|e| panic!("{}: {e}: bad truth", file.display()))
            })
            .collect()
    }
}

/// Every file of `testdata/rdb`, sorted by name.
pub fn corpus() -> Vec<Case> {
    let root = testdata().join("rdb");
    let mut found = Vec::new();
    for server in names(&root) {
        let dir = root.join(&server);
        for file in names(&dir) {
            if let Some(theme) = file.strip_suffix(".meta.json") {
                found.push(case(&dir, &server, theme));
            }
        }
    }
    found
}

fn case(dir: &Path, server: &str, theme: &str) -> Case {
    let plain = dir.join(format!("{theme}.rdb"));
    let bytes = read(&plain);
    let path = if plain.exists() {
        plain
    } else {
        scratch(&format!("{server}-{theme}.rdb"), &bytes)
    };
    Case {
        name: format!("{server}/{theme}"),
        server: server.to_owned(),
        theme: theme.to_owned(),
        path,
        bytes,
        meta: facts(&dir.join(format!("{theme}.meta.json"))),
        dir: dir.to_owned(),
    }
}

/// A `meta.json`.
pub fn facts(path: &Path) -> Json {
    json::parse(&read(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Where the samples are.
pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// Names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut names: Vec<String> = entries
        .map(|e| e.expect("a directory entry").file_name())
        .map(|n| n.into_string().expect("a UTF-8 file name"))
        .collect();
    names.sort();
    names
}

/// A file's bytes, from `path` or, unpacked, from `path.gz`.
pub fn read(path: &Path) -> Vec<u8> {
    if let Ok(bytes) = fs::read(path) {
        return bytes;
    }
    let mut gz = path.as_os_str().to_owned();
    gz.push(".gz");
    let packed = fs::read(&gz).unwrap_or_else(|e| panic!("{} (or .gz): {e}", path.display()));
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(&packed[..])
        .read_to_end(&mut bytes)
        .unwrap_or_else(|e| panic!("{}: {e}", gz.display()));
    bytes
}

/// Writes a file for the program to read, and says where.
///
/// Two test binaries may make the same file at the same moment, so it is put in place by renaming.
pub fn scratch(name: &str, bytes: &[u8]) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = dir.join(name);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let part = dir.join(format!("{name}.{}-{count}", std::process::id()));
    fs::write(&part, bytes).unwrap_or_else(|e| panic!("{}: {e}", part.display()));
    fs::rename(&part, &path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}

/// A number that tells files apart. Not their checksum: that of a file with its own checksum at the end is always 0.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Lines of `text` without their ends; nothing after the last end.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let empty = text.is_empty();
    text.split(|&b| b == b'\n').filter(move |_| !empty)
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// What it wrote on stdout.
    pub stdout: Vec<u8>,
    /// What it wrote on stderr.
    pub stderr: String,
}

impl Run {
    /// The standard output of a run that had to succeed.
    pub fn ok(self) -> Result<Vec<u8>, String> {
        match self.status {
            Some(0) => Ok(self.stdout),
            status => Err(format!(
                "exit status {status:?}, not 0; stderr: {}",
                self.stderr.trim_end()
            )),
        }
    }

    /// The byte offset in the error of a run that had to fail on `path`.
    pub fn error_offset(&self, path: &Path) -> Result<u64, String> {
        if self.status != Some(1) {
            return Err(format!(
                "exit status {:?}, not 1; stderr: {}",
                self.status,
                self.stderr.trim_end()
            ));
        }
        let begin = format!("rdbtool: {}: byte ", path.display());
        let says = || format!("stderr lacks a line \"{begin}N...\": {:?}", self.stderr);
        let rest = self.stderr.lines().find_map(|l| l.strip_prefix(&begin));
        let rest = rest.ok_or_else(says)?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        rest[..digits].parse().map_err(|_| says())
    }
}

/// Runs the program with nothing on its stdin.
pub fn rdbtool<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Run {
    rdbtool_reading(args, &[])
}

/// Runs the program with `input` on its stdin.
pub fn rdbtool_reading<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>, input: &[u8]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rdbtool"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut stderr = child.stderr.take().expect("a pipe");
    std::thread::scope(|s| {
        s.spawn(move || {
            // A program that has seen enough closes the pipe; that is its right.
            let _ = stdin.write_all(input);
        });
        let out = s.spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).map(|_| bytes)
        });
        let err = s.spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).map(|_| bytes)
        });
        let started = Instant::now();
        let mut pause = Duration::from_micros(200);
        let status = loop {
            if let Some(status) = child.try_wait().expect("the program is ours") {
                break status.code();
            }
            if started.elapsed() > RUN_LIMIT {
                child.kill().expect("the program is ours");
                child.wait().expect("the program is ours");
                panic!("the program still ran after {RUN_LIMIT:?}");
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        };
        let stdout = out.join().expect("reads").expect("stdout reads");
        let stderr = err.join().expect("reads").expect("stderr reads");
        Run {
            status,
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    })
}

/// Calls `work` with each item, on all cores, and waits.
pub fn for_each<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|s| {
        for _ in 0..threads {
            s.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

/// Gathers failures from all files, so that one run shows them all.
#[derive(Debug, Default)]
pub struct Report(Mutex<BTreeMap<String, Vec<String>>>);

impl Report {
    /// Failures of one file that are shown in full; the rest of them is counted.
    const SHOWN: usize = 12;

    /// Notes that `file` failed, and how.
    pub fn fail(&self, file: &str, how: impl Into<String>) {
        let mut all = self.0.lock().expect("no panic while held");
        all.entry(file.to_owned()).or_default().push(how.into());
    }

    /// Notes the error, if it is one.
    pub fn check(&self, file: &str, result: Result<(), String>) {
        if let Err(how) = result {
            self.fail(file, how);
        }
    }

    /// Panics with the list, unless it is empty.
    #[track_caller]
    pub fn finish(self) {
        let all = self.0.into_inner().expect("no panic while held");
        let count: usize = all.values().map(Vec::len).sum();
        if count == 0 {
            return;
        }
        let mut text = format!("{count} failures in {} files\n", all.len());
        for (file, failures) in &all {
            for how in failures.iter().take(Self::SHOWN) {
                text.push_str(&format!("  {file}: {how}\n"));
            }
            if failures.len() > Self::SHOWN {
                let more = failures.len() - Self::SHOWN;
                text.push_str(&format!("  {file}: ... and {more} more\n"));
            }
        }
        panic!("{text}");
    }
}
