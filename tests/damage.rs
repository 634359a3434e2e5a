//! Broken files: an error that says where, never a panic, a hang, or memory taken by a claimed length.
//!
//! Two ways to break things. The sweep changes bytes itself: every truncation and several changes of each byte, decoded inside this process with
//! the checksum not enforced, so that the change reaches the parsers. A sample of it runs each time; all of it, 20 million
//! cases, when `RDBTOOL_DAMAGE=full` is set (use `--release`). The other way is the corpus of damaged files, decoded by the
//! program, where it is known which keys lie wholly before the damage.

// The allocator below counts, and only an `unsafe impl` can be one.
#![allow(unsafe_code)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdbtool::ErrorKind;
use rdbtool::rdb::header::Header;
use support::json::Json;
use support::line::{self, Key, Line};
use support::{
    Report, corpus, facts, lines, names, rdbtool, rdbtool_reading, read, testdata, truth,
};

// ---- memory -----------------------------------------------------------------------------------------------------------

/// Bytes that decoding one file may have in use at once, whatever the file claims.
const MEMORY_LIMIT: i64 = 16 << 20;

/// A request this large is not served: it can only come from a length in the file, and the case is named before the process ends.
const ABSURD: usize = 1 << 30;

/// What a thread has in use. Each case runs on one thread, so threads need not wait for each other.
struct Heap {
    live: Cell<i64>,
    peak: Cell<i64>,
    largest: Cell<usize>,
    /// File, place and change of the case this thread is at.
    case: Cell<(usize, usize, usize)>,
}

thread_local! {
    static HEAP: Heap = const {
        Heap {
            live: Cell::new(0),
            peak: Cell::new(0),
            largest: Cell::new(0),
            case: Cell::new((usize::MAX, 0, 0)),
        }
    };
}

impl Heap {
    /// Counts a request, and says whether to serve it.
    fn take(size: usize) -> bool {
        HEAP.try_with(|h| {
            h.live.set(h.live.get() + size as i64);
            h.peak.set(h.peak.get().max(h.live.get()));
            h.largest.set(h.largest.get().max(size));
            if size >= ABSURD {
                let (file, at, change) = h.case.get();
                let _ = writeln!(
                    std::io::stderr(),
                    "a request for {size} bytes: file {file}, byte {at}, change {change}"
                );
            }
            size < ABSURD
        })
        .unwrap_or(true)
    }

    fn give(size: usize) {
        let _ = HEAP.try_with(|h| h.live.set(h.live.get() - size as i64));
    }

    /// Runs `work` and gives the most it had in use beyond what was in use before, and its largest request.
    fn watch<T>(work: impl FnOnce() -> T) -> (T, i64, usize) {
        let before = HEAP.with(|h| {
            h.peak.set(h.live.get());
            h.largest.set(0);
            h.live.get()
        });
        let result = work();
        HEAP.with(|h| (result, h.peak.get() - before, h.largest.get()))
    }
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came, or, for an absurd size, fails as an allocator may.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !Heap::take(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the promises of `alloc`, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !Heap::take(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        Heap::give(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !Heap::take(size) {
            return std::ptr::null_mut();
        }
        Heap::give(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// ---- one case ---------------------------------------------------------------------------------------------------------

/// Time one case may take. A file of 64 KiB takes far less than a millisecond in a release build.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// What was done to a file.
#[derive(Clone, Copy)]
enum Change {
    /// Only the bytes before this one are left.
    Cut(usize),
    /// The byte here has another value.
    Set(usize, u8),
    /// Nothing.
    Whole,
}

impl Change {
    fn numbers(self) -> (usize, usize) {
        match self {
            Change::Cut(at) => (at, 256),
            Change::Set(at, value) => (at, usize::from(value)),
            Change::Whole => (0, 257),
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Cut(at) => write!(f, "cut after {at} bytes"),
            Change::Set(at, value) => write!(f, "byte {at} set to {value:#04x}"),
            Change::Whole => write!(f, "unchanged"),
        }
    }
}

thread_local! {
    /// Where and why this thread panicked last.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
    /// Whether a panic of this thread is one that a case is being watched for.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the words of a panic inside a case for the report, instead of printing thousands of them.
fn gather_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if WATCHED.with(Cell::get) {
                PANIC.with(|p| *p.borrow_mut() = info.to_string());
            } else {
                print(info);
            }
        }));
    });
}

/// Decodes the bytes and checks all that is promised of any bytes, by every way through them if `every_way`. Gives the number of keys, if it
/// came to the end.
fn decode_anything(bytes: &[u8], every_way: bool) -> Result<Option<u64>, String> {
    let started = Instant::now();
    WATCHED.with(|w| w.set(true));
    let (decoded, peak, largest) = Heap::watch(|| {
        catch_unwind(AssertUnwindSafe(|| {
            if !every_way {
                return rdbtool::fuzz::once(bytes);
            }
            drop(rdbtool::fuzz::check(bytes));
            rdbtool::fuzz::decode(bytes)
        }))
    });
    WATCHED.with(|w| w.set(false));
    let took = started.elapsed();
    let Ok(decoded) = decoded else {
        return Err(PANIC.with(|p| p.borrow().replace('\n', " ")));
    };
    if took > TIME_LIMIT {
        return Err(format!("it took {took:?}"));
    }
    if peak > MEMORY_LIMIT {
        return Err(format!(
            "{peak} bytes in use at once, largest request {largest}"
        ));
    }
    match decoded {
        Ok(keys) => Ok(Some(keys)),
        Err(e) => match e.offset() {
            Some(at) if at <= bytes.len() as u64 => Ok(None),
            // What is no RDB file at all has no place to name.
            None if e.kind() == ErrorKind::Unsupported && !Header::is_magic(bytes) => Ok(None),
            at => Err(format!("offset {at:?} in {} bytes: {e}", bytes.len())),
        },
    }
}

// ---- the sweep --------------------------------------------------------------------------------------------------------

/// Files up to this size are broken at every byte.
const SWEPT_SIZE: usize = 64 << 10;

/// Places at which a larger file is broken.
const PLACES: usize = 400;

/// Places at which a file up to that size is broken in the sample that runs each time.
const PLACES_IN_SAMPLE: usize = 8;

/// Of how many changes of the whole sweep one is looked at by every way; no multiple of the four there are of a byte.
const EVERY_WAY: usize = 17;

/// Files up to this size are broken at every byte in the sample, too, one of each theme.
const SWEPT_SIZE_IN_SAMPLE: usize = 600;

struct Victim {
    name: String,
    bytes: Vec<u8>,
    /// Whether each byte has its turn, or only some.
    every_byte: bool,
    places: usize,
    /// Of how many changes one is looked at by every way there is through the bytes; the others by one.
    every_way: usize,
}

/// What a thread of the sweep is doing, for the watchdog.
#[derive(Default)]
struct Worker {
    /// Milliseconds since the start of the sweep at which the case began, and one more; 0 when there is none.
    since: AtomicU64,
    file: AtomicUsize,
    at: AtomicUsize,
    change: AtomicUsize,
}

#[derive(Default)]
struct Totals {
    cases: AtomicUsize,
    errors: AtomicUsize,
}

#[test]
fn any_change_is_an_error_or_an_answer() {
    // `full`, or `full:200` to go on with the file of that number.
    let asked = std::env::var("RDBTOOL_DAMAGE").unwrap_or_default();
    let full = asked.starts_with("full");
    let from = asked
        .split_once(':')
        .map_or(0, |(_, n)| n.parse().expect("the number of a file"));
    let mut victims = Vec::new();
    let damaged = testdata().join("damaged/rdb");
    for server in ["redis-7.2.6", "valkey-9.1.2"] {
        let name = format!("base-{server}");
        let bytes = read(&damaged.join(format!("{name}.rdb")));
        victims.push((name, bytes, true));
    }
    let mut themes = std::collections::HashSet::new();
    for case in corpus() {
        let small = case.bytes.len() <= SWEPT_SIZE_IN_SAMPLE;
        let sample = small && themes.insert(case.theme.clone());
        victims.push((case.name, case.bytes, sample));
    }
    assert!(victims.len() > 330, "only {} files", victims.len());
    let victims: Vec<Victim> = victims
        .into_iter()
        .map(|(name, bytes, sample)| Victim {
            every_byte: sample || full && bytes.len() <= SWEPT_SIZE,
            places: match (full, bytes.len() <= SWEPT_SIZE) {
                (true, _) => PLACES,
                (false, true) => PLACES_IN_SAMPLE,
                // Whole megabytes in a debug build.
                (false, false) => 1,
            },
            every_way: if full { EVERY_WAY } else { 1 },
            name,
            bytes,
        })
        .collect();
    let totals = sweep(&victims, from);
    let cases = totals.cases.into_inner();
    let errors = totals.errors.into_inner();
    eprintln!("{cases} cases, {errors} of them errors");
    assert!(cases >= 20_000, "only {cases} cases");
    assert!(errors > cases / 3, "only {errors} errors in {cases} cases");
}

fn sweep(victims: &[Victim], from: usize) -> Totals {
    gather_panics();
    let report = Report::default();
    let totals = Totals::default();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let workers: Vec<Worker> = (0..threads).map(|_| Worker::default()).collect();
    let next = AtomicUsize::new(from);
    let started = Instant::now();
    let done = AtomicBool::new(false);
    // Shared borrows for the threads.
    let (report_, totals_, next_, done_, workers_) = (&report, &totals, &next, &done, &workers);
    std::thread::scope(|s| {
        let running: Vec<_> = workers
            .iter()
            .map(|worker| {
                s.spawn(move || {
                    loop {
                        let i = next_.fetch_add(1, Ordering::Relaxed);
                        let Some(victim) = victims.get(i) else { break };
                        worker.file.store(i, Ordering::Relaxed);
                        break_everywhere(i, victim, worker, started, report_, totals_);
                        if i % 20 == 19 {
                            let cases = totals_.cases.load(Ordering::Relaxed);
                            let took = started.elapsed().as_secs();
                            eprintln!(
                                "{} of {} files, {cases} cases, {took} s",
                                i + 1,
                                victims.len()
                            );
                        }
                    }
                })
            })
            .collect();
        s.spawn(move || watch(victims, workers_, started, done_));
        let ended: Vec<_> = running.into_iter().map(|r| r.join()).collect();
        done.store(true, Ordering::Relaxed);
        for end in ended {
            end.expect("a thread of the sweep came to its end");
        }
    });
    report.finish();
    totals
}

/// Ends the process with the name of the case when one hangs: a thread cannot be stopped from outside.
fn watch(victims: &[Victim], workers: &[Worker], started: Instant, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        let now = started.elapsed().as_millis() as u64;
        for w in workers {
            let since = w.since.load(Ordering::Relaxed);
            if since != 0 && now.saturating_sub(since) > 2 * TIME_LIMIT.as_millis() as u64 {
                let file = w.file.load(Ordering::Relaxed);
                let name = victims.get(file).map_or("?", |v| &v.name);
                let at = w.at.load(Ordering::Relaxed);
                let change = w.change.load(Ordering::Relaxed);
                let _ = writeln!(
                    std::io::stderr(),
                    "{name} does not end: byte {at}, change {change} (a value; 256 cuts there)"
                );
                std::process::abort();
            }
        }
    }
}

fn break_everywhere(
    index: usize,
    victim: &Victim,
    worker: &Worker,
    started: Instant,
    report: &Report,
    totals: &Totals,
) {
    let mut bytes = victim.bytes.clone();
    let mut cases = 0;
    let mut one = |change: Change| {
        let every_way = cases % victim.every_way == 0;
        cases += 1;
        let (at, number) = change.numbers();
        HEAP.with(|h| h.case.set((index, at, number)));
        worker.at.store(at, Ordering::Relaxed);
        worker.change.store(number, Ordering::Relaxed);
        let now = started.elapsed().as_millis() as u64 + 1;
        worker.since.store(now, Ordering::Relaxed);
        let result = match change {
            Change::Whole => decode_anything(&bytes, every_way),
            Change::Cut(at) => decode_anything(&bytes[..at], every_way),
            Change::Set(at, value) => {
                let good = std::mem::replace(&mut bytes[at], value);
                let result = decode_anything(&bytes, every_way);
                bytes[at] = good;
                result
            }
        };
        worker.since.store(0, Ordering::Relaxed);
        totals.cases.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(Some(_)) if matches!(change, Change::Cut(at) if cut_is_noticed(victim, at)) => {
                report.fail(&victim.name, format!("{change}: taken for a whole file"));
            }
            Ok(None) if matches!(change, Change::Whole) => {
                report.fail(&victim.name, "the good file is refused");
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                totals.errors.fetch_add(1, Ordering::Relaxed);
            }
            Err(how) => {
                // Told at once, too: the whole sweep takes its time.
                eprintln!("{}: {change}: {how}", victim.name);
                report.fail(&victim.name, format!("{change}: {how}"));
            }
        }
    };
    one(Change::Whole);
    let len = victim.bytes.len();
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ len as u64);
    let places: Vec<usize> = if victim.every_byte {
        (0..len).collect()
    } else {
        (0..victim.places).map(|_| random.below(len)).collect()
    };
    for at in places {
        one(Change::Cut(at));
        for value in other_values(victim.bytes[at], at) {
            one(Change::Set(at, value));
        }
    }
}

/// Whether a file cut here must be refused even when its checksum is not enforced: all but those that lose (part of) the checksum alone.
fn cut_is_noticed(victim: &Victim, at: usize) -> bool {
    let trailer = if victim.bytes.starts_with(b"REDIS000") && victim.bytes[8] < b'5' {
        0
    } else {
        8
    };
    at + trailer < victim.bytes.len()
}

/// Three values a byte does not have: of those that mean something where they stand, and of those next to the good one.
fn other_values(good: u8, at: usize) -> [u8; 3] {
    let mut values = [
        0xff,
        0x00,
        0x81,
        good ^ 1,
        0x80,
        0x7f,
        !good,
        0xc3,
        good.wrapping_add(1),
        0xfe,
        good ^ 0x40,
    ];
    let turn = at % values.len();
    values.rotate_left(turn);
    let mut three = [good; 3];
    let mut n = 0;
    for v in values {
        if n < 3 && v != good && !three[..n].contains(&v) {
            three[n] = v;
            n += 1;
        }
    }
    three
}

/// A xorshift generator: the same places in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

// ---- the damaged files of the corpus ----------------------------------------------------------------------------------

/// Damaged files in the corpus.
const DAMAGED: usize = 64;

/// How the program ends on a kind of damage.
#[derive(PartialEq)]
enum End {
    /// With an error.
    Fails,
    /// Well: the file is odd, but what it says is clear.
    Reads,
    /// Well, with status 3: something follows that was not read.
    Leaves,
    /// Either is defensible.
    Either,
}

fn end(damage: &str) -> End {
    match damage {
        // An old time is a time; other databases are other keys.
        "expire-negative" | "duplicate-key" => End::Reads,
        // What follows the checksum is not ours, but may be somebody's data.
        "file-twice" | "garbage-after-end" => End::Leaves,
        // No server takes these, but nothing in them is unclear: a key twice, an expiry of no key, a database no server has.
        "duplicate-key-same-db" | "expire-then-eof" | "select-huge-db" => End::Either,
        _ => End::Fails,
    }
}

#[test]
fn keys_before_the_damage_come_out() {
    let dir = testdata().join("damaged/rdb");
    let report = Report::default();
    let mut bases = HashMap::new();
    for server in ["redis-7.2.6", "valkey-9.1.2"] {
        let base = format!("base-{server}");
        let truth = read(&dir.join(format!("{base}.truth.ndjson")));
        let truth: Vec<Json> = lines(&truth)
            .map(|l| support::json::parse(l).expect("good truth"))
            .collect();
        bases.insert(base, truth);
    }
    let mut damaged = Vec::new();
    for file in names(&dir) {
        if let Some(name) = file.strip_suffix(".meta.json")
            && name.contains("--")
        {
            damaged.push(name.to_owned());
        }
    }
    assert_eq!(damaged.len(), DAMAGED);
    support::for_each(&damaged, |name| {
        let path = dir.join(format!("{name}.rdb"));
        let facts = facts(&dir.join(format!("{name}.meta.json")));
        let base = facts.need("base").and_then(Json::str).expect("a base");
        for how in one_damaged(name, &path, &facts, &bases[base]) {
            report.fail(name, how);
        }
    });
    report.finish();
}

fn one_damaged(name: &str, path: &Path, facts: &Json, base: &[Json]) -> Vec<String> {
    let mut wrong = Vec::new();
    let (_, damage) = name.split_once("--").unwrap_or(("", name));
    // Quiet, since a summary says how long it took.
    let flags = ["decode", "-q", "--meta"].map(AsRef::as_ref);
    let run = rdbtool(flags.into_iter().chain([path.as_os_str()]));
    let end = end(damage);
    match run.status {
        Some(0) if end == End::Fails => wrong.push("it was read without an error".into()),
        Some(0) if end == End::Leaves => wrong.push("what follows was not named".into()),
        Some(1) if matches!(end, End::Reads | End::Leaves) => {
            wrong.push(format!("it was refused: {}", run.stderr.trim_end()));
        }
        Some(3) if end == End::Leaves => {}
        Some(0) => {}
        _ => wrong.extend(error(damage, &run, path, facts).err()),
    }
    match keys(&run.stdout) {
        Ok(keys) => wrong.extend(before_the_damage(facts, base, &keys)),
        Err(how) => wrong.push(how),
    }
    for threads in ["1", "8"] {
        let flags = ["decode", "-q", "--meta", "--threads", threads].map(AsRef::as_ref);
        let other = rdbtool(flags.into_iter().chain([path.as_os_str()]));
        if other.status != run.status || other.stderr != run.stderr || other.stdout != run.stdout {
            wrong.push(format!(
                "another result with --threads {threads}: {:?} {}",
                other.status,
                other.stderr.trim_end()
            ));
        }
    }
    let piped = rdbtool_reading(["decode", "-q", "--meta", "-"], &read(path));
    let says = |stderr: &str| stderr.split_once(": byte ").map(|s| s.1.to_owned());
    // Only of a file that is all there is it known at once that a count is too large for it.
    let sooner = run.stderr.contains(" cannot be in the ");
    if piped.status != run.status || says(&piped.stderr) != says(&run.stderr) && !sooner {
        wrong.push(format!(
            "another result from stdin: {:?} {}",
            piped.status,
            piped.stderr.trim_end()
        ));
    } else if piped.stdout != run.stdout {
        wrong.push("other lines from stdin".into());
    }
    wrong
}

/// The error says where: inside the file, and not before the record that is damaged.
fn error(damage: &str, run: &support::Run, path: &Path, facts: &Json) -> Result<(), String> {
    let len = facts.need("bytes")?.int()?;
    if len == 0 {
        // There is no byte to name.
        let named = run.stderr.contains(&path.display().to_string());
        return match run.status {
            Some(1) if named => Ok(()),
            status => Err(format!("{status:?}: {}", run.stderr.trim_end())),
        };
    }
    if matches!(damage, "bad-magic" | "cut-in-magic") {
        let none = format!(
            "rdbtool: {}: not an RDB or append-only file: ",
            path.display()
        );
        return match run.status {
            Some(1) if run.stderr.starts_with(&none) => Ok(()),
            status => Err(format!("{status:?}: {}", run.stderr.trim_end())),
        };
    }
    let at = i128::from(run.error_offset(path)?);
    // In the nine bytes of magic and version the whole of them may be named.
    let first = match facts.need("damage_offset")?.int()? {
        0..9 => 0,
        offset => offset,
    };
    if (first..=len).contains(&at) || damage == "nul-hole" && at <= len {
        Ok(())
    } else {
        let error = run.stderr.trim_end();
        Err(format!("not at byte {first} to {len}: {error}"))
    }
}

/// The keys of an output, all of whose lines are whole.
fn keys(output: &[u8]) -> Result<Vec<Key>, String> {
    if !output.is_empty() && !output.ends_with(b"\n") {
        return Err("the last line has no end".into());
    }
    let mut keys = Vec::new();
    for text in lines(output) {
        if let Line::Key(key) = line::parse(text)? {
            keys.push(*key);
        }
    }
    Ok(keys)
}

fn before_the_damage(facts: &Json, base: &[Json], keys: &[Key]) -> Vec<String> {
    let file = truth::File {
        magic: "",
        rdb_version: 11,
    };
    let whole = facts.need("keys_wholly_before_damage").expect("a list");
    let mut wrong = Vec::new();
    for name in whole.elements().expect("a list") {
        let name = name.str().expect("a name").as_bytes();
        let told = base.iter().find(|l| {
            let key = l.need("key_b64").and_then(Json::base64);
            key.is_ok_and(|k| k == name)
        });
        let told = told.expect("the base has the key");
        let db = told.need("db").and_then(Json::int).expect("a number");
        let shown = support::value::show(name);
        match keys.iter().find(|k| k.db == db && k.key == name) {
            None => wrong.push(format!("{shown}: missing, it lies before the damage")),
            Some(key) => {
                for how in truth::compare(told, key, file) {
                    wrong.push(format!("{shown}: {how}"));
                }
            }
        }
    }
    wrong
}

#[test]
fn the_allocator_counts() {
    let (len, peak, largest) = Heap::watch(|| {
        let small = vec![1u8; 1000];
        let large = vec![0u8; 5000];
        small.len() + large.len()
    });
    assert_eq!((len, peak, largest), (6000, 6000, 5000));
    let ((), peak, _) = Heap::watch(|| {
        for _ in 0..10 {
            drop(vec![0u8; 7000]);
        }
    });
    assert_eq!(peak, 7000);
}

#[test]
fn changes_change() {
    for good in 0..=255u8 {
        for at in 0..11 {
            let [a, b, c] = other_values(good, at);
            assert!(a != good && b != good && c != good);
            assert!(a != b && b != c && a != c);
        }
    }
}
