//! The flow: scan -> batch -> encode -> sink, on as many threads as there are.
//!
//! ```text
//!             ┌─ lock ─┐
//!   window ──►│  feed  │──► job ──► worker: checksum, walk, filter, encode ──► order ──► sink
//!             └────────┘     ▲                                                  │
//!                            └──────────────── a buffer comes back ─────────────┘
//! ```
//!
//! There is no thread that only scans and none that only writes: a worker that needs a job scans it, under a lock, so that the bytes
//! are in its own cache when it encodes them; the worker whose turn it is writes. What is in flight is bounded by the
//! number of workers. The output is the same bytes for any number of them. Only this room knows the thread pool.

mod batch;
mod commands;
mod log;
mod order;
mod progress;

pub use progress::Progress;

use crate::aof::Truncated;
use crate::cursor::Cursor;
use crate::encode::{self, Encode, Part};
use crate::error::{ErrorKind, RdbError, Result};
use crate::filter::{Filter, Libraries, Renamed, Transform, Unique};
use crate::loss::Losses;
use crate::out::{Nowhere, Out};
use crate::rdb::crc64;
use crate::rdb::entry::Entry;
use crate::rdb::header::{HEADER_LEN, Header};
use crate::rdb::scan::{self, Item, Scanner, Step};
use crate::rdb::string::Scratch;
use crate::rdb::template::Templates;
use crate::sink::Sink;
use crate::source::Source;
use batch::{Feed, Job, OpenPart, Work};
use order::{Done, Order, Seam, Turn};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is done with a value whose own bytes are broken while the frame around it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The run ends there.
    #[default]
    Stop,
    /// The value is left out and counted.
    Skip,
}

/// How to run.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// How many threads work; 0 for as many as there are cores.
    pub threads: usize,
    /// Which keys are wanted.
    pub filter: &'a Filter,
    /// Whether the trailing checksum is verified.
    pub checksum: bool,
    /// What is done with broken values.
    pub on_error: OnError,
    /// What is changed of them.
    pub transform: &'a Transform,
    /// The keys written so far, if none may be written twice.
    pub unique: Option<&'a Unique>,
    /// The same of function libraries.
    pub libraries: Option<&'a Libraries>,
    /// How many keys and commands to encode at the most. With a limit one thread works, so that it stops at the very key. A transaction
    /// comes whole.
    pub limit: Option<u64>,
    /// How the commands of a log are read.
    pub log: crate::aof::Options,
}

/// What a run has seen.
#[derive(Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Magic and version of the file; [`Header::NONE`] if it is a log from its first byte on.
    pub header: Header,
    /// Keys encoded.
    pub keys: u64,
    /// Commands of a log encoded.
    pub commands: u64,
    /// Bytes read, unpacked.
    pub bytes: u64,
    /// Values left out because they are broken.
    pub skipped: u64,
    /// Why, for the first few of them.
    pub skipped_because: Vec<RdbError>,
    /// Whether a checksum was there and is right; `None` when there was none, or it was not asked for, or not all was read.
    pub checksum: Option<bool>,
    /// First byte of what follows the file, if something does.
    pub trailing: Option<u8>,
    /// What of the commands could not be kept by filters and changes.
    pub losses: Losses,
    /// The tail of a log that was left out because it is not whole.
    pub truncated: Option<Truncated>,
    /// The last time stamp of a log, in seconds since 1970.
    pub last_stamp: Option<u64>,
    /// Whether a log was left at a time stamp later than what is wanted.
    pub stopped: bool,
    /// Whether it should have been left so, but has no time stamps.
    pub unstamped: bool,
}

/// How many errors a summary tells in full.
const TOLD: usize = 10;

/// A value of so many bytes cannot become more than a buffer holds, LZF and escapes included.
const SURE_TO_FIT: usize = 2 << 10;

/// A worker's room for keys: unpacked, and renamed. What it could not keep of commands.
#[derive(Default)]
struct Room {
    key: Scratch,
    renamed: Renamed,
    losses: Losses,
}

/// What the workers share.
struct Shared<'a, 'r> {
    feed: Mutex<(Feed<'a, 'r>, u64)>,
    order: Order<'r>,
    options: &'r Options<'r>,
    progress: &'r Progress,
    keys: AtomicU64,
    commands: AtomicU64,
    skipped: Mutex<(u64, Vec<RdbError>)>,
    losses: Mutex<Losses>,
    limited: AtomicBool,
    /// Whether one thread does it all.
    alone: bool,
}

/// Sends every wanted item of `source` through an encoder of each worker and into `sink`, in order. Gives the
/// encoders back, for those that gather something.
///
/// # Errors
///
/// The first trouble in the order of the file; everything before it has been written.
pub fn run<E: Encode>(
    source: &mut Source,
    options: &Options<'_>,
    progress: &Progress,
    sink: &mut dyn Sink,
    encoder: impl Fn(Header) -> E + Sync,
) -> Result<(Summary, Vec<E>)> {
    let name = source.name().to_owned();
    let named = |e: RdbError| e.with_file(&name);
    let stored = source.stored_size();
    let place = source.place();
    progress.begin(&name, stored);
    let window = source.window(progress.read())?;
    let seen_by_jobs = stored.is_some() && window.is_whole();
    let threads = match (options.limit, options.threads) {
        (Some(_), _) => 1,
        (None, 0) => std::thread::available_parallelism().map_or(1, |n| n.get()),
        (None, n) => n,
    };
    let mut feed = Feed::new(window, place, options).map_err(named)?;
    let header = feed.header();
    feed.keep_whole(match options.on_error {
        // Whether a value is sound is known when all of it has been looked at.
        OnError::Skip => u64::MAX,
        OnError::Stop => encoder(header).whole_up_to(),
    });
    let shared = Shared {
        feed: Mutex::new((feed, 0)),
        order: Order::new(sink, threads),
        options,
        progress,
        keys: AtomicU64::new(0),
        commands: AtomicU64::new(0),
        skipped: Mutex::new((0, Vec::new())),
        losses: Mutex::default(),
        limited: AtomicBool::new(options.limit == Some(0)),
        alone: threads == 1,
    };
    let work = || {
        let mut e = encoder(header);
        let mut room = Room::default();
        work(&shared, &mut e, seen_by_jobs, &mut room);
        let mut losses = shared.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.merge(room.losses);
        e
    };
    let encoders = if threads == 1 {
        vec![work()]
    } else {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("worker-{i}"))
            .build()
            .map_err(|e| {
                RdbError::other(
                    ErrorKind::Limit,
                    format!("cannot start {threads} threads: {e}"),
                )
            })?
            .broadcast(|_| work())
    };
    let crc = shared.order.finish().map_err(named)?;
    let (feed, _) = shared
        .feed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let (skipped, skipped_because) = shared
        .skipped
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let mut checksum = None;
    if let Some(end) = feed.end()
        && let Some(want) = end.stored
        && options.checksum
    {
        if want != crc {
            return Err(named(RdbError::checksum(
                end.offset,
                format!(
                    "checksum {want:016x}, but the bytes before it have {crc:016x}: the file has been altered or damaged"
                ),
            )));
        }
        checksum = Some(true);
    }
    let log = feed.log_end().cloned().unwrap_or_default();
    let losses = shared
        .losses
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let commands = shared.commands.into_inner();
    let summary = Summary {
        header,
        keys: shared.keys.into_inner(),
        commands,
        bytes: progress.bytes_of_file(),
        skipped,
        skipped_because,
        checksum,
        trailing: feed.end().and_then(|e| e.trailing),
        losses,
        truncated: log.truncated,
        last_stamp: log.last_stamp,
        stopped: log.stopped,
        unstamped: options.log.until.is_some()
            && commands > 0
            && log.last_stamp.is_none()
            && !log.stopped,
    };
    Ok((summary, encoders))
}

/// What one worker does until there is nothing left to do.
fn work<E: Encode>(
    shared: &Shared<'_, '_>,
    encoder: &mut E,
    seen_by_jobs: bool,
    scratch: &mut Room,
) {
    let report = |done: &Done| {
        shared.keys.fetch_add(done.keys, Ordering::Relaxed);
        shared.commands.fetch_add(done.commands, Ordering::Relaxed);
        let things = done.keys + done.commands;
        shared.progress.add(things, done.input, seen_by_jobs);
    };
    let mut done_with = None;
    loop {
        let mut feed = shared.feed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = done_with.take() {
            feed.0.recycle(chunk);
        }
        if shared.order.is_stopped() || shared.limited.load(Ordering::Relaxed) {
            return;
        }
        let seq = feed.1;
        feed.1 += 1;
        let mut turn = Turn {
            order: &shared.order,
            seq,
            seam: None,
        };
        let mut done = Done::default();
        if shared.alone
            && encoder.finds_ends()
            && let Some(part) = feed.0.open_part()
        {
            let failed = open_part(shared, encoder, &mut feed.0, &part, &mut turn, &mut done);
            drop(feed);
            shared.order.deliver(seq, done, report);
            if failed {
                return;
            }
            continue;
        }
        let job = if shared.alone && feed.0.is_whole() {
            let mut out = Out::draining(shared.order.spare(), &turn);
            let r = feed.0.next_seen(|step, entry, templates| {
                one(
                    shared,
                    encoder,
                    step,
                    entry,
                    templates,
                    scratch,
                    &mut out,
                    &mut done.keys,
                )
            });
            (done.buffer, done.len) = out.into_parts();
            r
        } else {
            feed.0.next()
        };
        let beyond = feed.0.beyond();
        drop(feed);
        if !shared.alone {
            map_in(beyond);
        }
        match job {
            Ok(None) => return,
            Ok(Some(job)) => {
                do_job(shared, encoder, &job, &mut turn, scratch, &mut done);
                shared.order.deliver(seq, done, report);
                done_with = Some(job.chunk);
            }
            Err(e) => {
                done.error = Some(e);
                shared.order.deliver(seq, done, report);
                return;
            }
        }
    }
}

/// A part of a giant value for one thread alone, which decodes it without having passed over it first. Gives whether it failed.
fn open_part<'a, E: Encode>(
    shared: &Shared<'_, '_>,
    encoder: &mut E,
    feed: &mut Feed<'a, '_>,
    it: &OpenPart<'a>,
    turn: &mut Turn<'_, '_>,
    done: &mut Done,
) -> bool {
    turn.seam = Some(Seam::new(it.giant.clone(), false, E::SEPARATOR));
    let mut out = Out::draining(shared.order.spare(), turn);
    let part = Part {
        entry: it.giant.entry(),
        units: it.bytes,
        raw: &[],
        offset: it.offset,
        min_expiry: it.giant.min_expiry,
        tail: None,
        open: Some(&it.open),
        first: false,
        last: None,
        elements_before: &|| it.giant.elements.load(Ordering::Relaxed),
    };
    let mut elements = 0;
    let r = encoder.part(&part, &mut elements, &mut out);
    (done.buffer, done.len) = out.into_parts();
    let walked = feed.walked(it, r.err());
    let bytes = walked.chunk.bytes();
    done.input = bytes.len() as u64;
    if shared.options.checksum {
        done.crc = crc64::checksum(bytes);
        done.summed = done.input;
    }
    done.keys = walked.last.into();
    done.part = turn.seam.take().map(|s| (s, elements));
    done.error = walked.error.map(|e| scan::name(e, &part.entry));
    done.error.is_some()
}

/// Reads a byte of every page, so that the kernel has mapped them before another worker scans them under the lock: for a file of
/// small strings that took a third of the scan.
fn map_in(bytes: &[u8]) {
    const PAGE: usize = 4096;
    let mut sum = 0u8;
    for page in bytes.chunks(PAGE) {
        sum |= page[0];
    }
    std::hint::black_box(sum);
}

fn do_job<E: Encode>(
    shared: &Shared<'_, '_>,
    encoder: &mut E,
    job: &Job<'_>,
    turn: &mut Turn<'_, '_>,
    scratch: &mut Room,
    done: &mut Done,
) {
    let bytes = job.chunk.bytes();
    done.input = bytes.len() as u64;
    if shared.options.checksum && !matches!(job.work, Work::Commands(..)) {
        done.crc = crc64::checksum(bytes);
        done.summed = done.input;
    }
    let spare = |done: &mut Done| match done.buffer.capacity() {
        0 => shared.order.spare(),
        // Taken for items to be seen on the way, of which there were none.
        _ => std::mem::take(&mut done.buffer),
    };
    match &job.work {
        Work::Pass | Work::Seen => {}
        Work::Items(context) => {
            let mut out = Out::draining(spare(done), turn);
            let keys = &mut done.keys;
            let r = items(
                shared,
                encoder,
                job,
                context.clone(),
                scratch,
                &mut out,
                keys,
            );
            done.error = r.err();
            (done.buffer, done.len) = out.into_parts();
        }
        &Work::Commands(db, changes) => {
            let mut out = Out::draining(spare(done), turn);
            let n = &mut done.commands;
            let r = commands::walk(shared, encoder, job, (db, changes), scratch, &mut out, n);
            done.error = r.err();
            (done.buffer, done.len) = out.into_parts();
        }
        Work::Part {
            giant,
            units,
            value,
            first,
            last,
        } => {
            turn.seam = Some(Seam::new(giant.clone(), *first, E::SEPARATOR));
            let mut out = Out::draining(spare(done), turn);
            let total = || {
                // Parts before this one have been counted once it is this one's turn.
                shared.order.wait(turn.seq);
                giant.elements.load(Ordering::Relaxed)
            };
            let part = Part {
                entry: giant.entry(),
                units: bytes.get(units.clone()).unwrap_or_default(),
                raw: bytes.get(*value..).unwrap_or_default(),
                offset: job.offset + units.start as u64,
                min_expiry: giant.min_expiry,
                open: None,
                tail: giant.tail.as_ref().map(|(b, at)| (&b[..], *at)),
                first: *first,
                last: last.then_some(job.offset + bytes.len() as u64),
                elements_before: &total,
            };
            let mut elements = 0;
            let r = encoder.part(&part, &mut elements, &mut out);
            done.error = r.map_err(|e| scan::name(e, &part.entry)).err();
            (done.buffer, done.len) = out.into_parts();
            done.keys = u64::from(*last);
            done.part = turn.seam.take().map(|s| (s, elements));
        }
    }
}

/// Walks the items of a batch.
fn items<E: Encode>(
    shared: &Shared<'_, '_>,
    encoder: &mut E,
    job: &Job<'_>,
    context: scan::Context,
    scratch: &mut Room,
    out: &mut Out<'_>,
    keys: &mut u64,
) -> Result<()> {
    let mut c = Cursor::new(job.chunk.bytes(), job.offset);
    if job.offset == 0 {
        c.set_position(HEADER_LEN);
    }
    let mut scanner = Scanner::within(c, context);
    while !scanner.is_at_end() {
        let Some(step) = scanner.step()? else {
            break;
        };
        let (entry, templates) = (scanner.entry(), scanner.templates());
        if one(shared, encoder, &step, entry, templates, scratch, out, keys)? {
            break;
        }
    }
    Ok(())
}

/// Whether an item is no library that another source has brought.
fn is_new(libraries: Option<&Libraries>, item: &Item<'_>, scratch: &mut Scratch) -> Result<bool> {
    let Some(libraries) = libraries else {
        return Ok(true);
    };
    match item {
        Item::Function { code } => libraries.is_new(code.as_bytes(scratch)?, code.offset()),
        Item::FunctionPreGa { name, engine, code } => {
            let text = encode::library(name, engine, code, scratch)?;
            libraries.is_new(&text, code.offset())
        }
        _ => Ok(true),
    }
}

/// Filters and encodes one item; gives whether it was the last that is wanted.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // the loop's variables, called from the two places that walk items
fn one<E: Encode>(
    shared: &Shared<'_, '_>,
    encoder: &mut E,
    step: &Step<'_>,
    entry: &Entry<'_>,
    templates: &Templates,
    scratch: &mut Room,
    out: &mut Out<'_>,
    keys: &mut u64,
) -> Result<bool> {
    let options = shared.options;
    if let Step::Item(item) = step {
        match item {
            // Of a database that is not wanted an encoder hears nothing, whether or not its batch is passed over.
            Item::SelectDb(db) if !options.filter.db(*db) => {}
            Item::SelectDb(db) => encoder.item(&Item::SelectDb(options.transform.db(*db)), out)?,
            item => {
                if is_new(options.libraries, item, &mut scratch.key)? {
                    encoder.item(item, out)?;
                }
            }
        }
        return Ok(false);
    }
    if !is_wanted(options.filter, entry, &mut scratch.key)? {
        return Ok(false);
    }
    let changed;
    let entry = match options.transform.is_identity() {
        true => entry,
        false => {
            changed = options.transform.entry(entry, &mut scratch.renamed)?;
            &changed
        }
    };
    if let Some(unique) = options.unique
        && !unique.is_first(
            entry.db,
            entry.key.as_bytes(&mut scratch.key)?,
            entry.offset,
        )?
    {
        return Ok(false);
    }
    let mark = out.mark();
    let mut r = Ok(());
    if options.on_error == OnError::Skip && entry.body.len() > SURE_TO_FIT {
        // Part of it may be written before the rest is found to be broken: look first.
        let mut nowhere = Out::draining(Vec::new(), &Nowhere);
        r = encoder.entry(entry, templates, &mut nowhere);
    }
    if let Err(e) = r.and_then(|()| encoder.entry(entry, templates, out)) {
        let e = scan::name(e, entry);
        out.rewind(mark);
        if options.on_error == OnError::Stop || e.kind() == ErrorKind::Io {
            return Err(e);
        }
        let mut skipped = shared
            .skipped
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        skipped.0 += 1;
        if skipped.1.len() < TOLD {
            skipped.1.push(e);
        }
        return Ok(false);
    }
    *keys += 1;
    match options.limit {
        Some(limit) if shared.keys.load(Ordering::Relaxed) + *keys >= limit => {
            shared.limited.store(true, Ordering::Relaxed);
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Asks the filter, the cheapest question first.
#[inline]
fn is_wanted(filter: &Filter, entry: &Entry<'_>, scratch: &mut Scratch) -> Result<bool> {
    if filter.is_pass_all() {
        return Ok(true);
    }
    Ok(filter.db(entry.db)
        && filter.head(entry.value_type.logical(), entry.expire_at_ms)
        && filter.size(entry.body.len() as u64)
        && (!filter.needs_key() || filter.key(entry.key.as_bytes(scratch)?)))
}

#[cfg(test)]
mod tests;
