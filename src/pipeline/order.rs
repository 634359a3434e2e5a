//! Output in the order of the input, whichever worker is done first.
//!
//! ```text
//!   workers done with    3       1    0 2          written   0 1 2 3
//!                        waits        ^ its turn: writes itself and all that waits behind it
//! ```
//!
//! A worker whose turn it is writes; another leaves its bytes here and takes the next job, unless as many wait already as may:
//! then it waits itself. The worker whose turn it is never waits for another, so this cannot lock up.

use super::batch::Giant;
use crate::error::{ErrorKind, RdbError, Result};
use crate::out::Drain;
use crate::rdb::crc64;
use crate::sink::Sink;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What a worker made of a job.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The bytes to write: the first `len` of the buffer.
    pub(crate) buffer: Vec<u8>,
    pub(crate) len: usize,
    /// Checksum of the job's input, and of how many bytes: of commands there is none.
    pub(crate) crc: u64,
    pub(crate) summed: u64,
    /// Length of the job's input.
    pub(crate) input: u64,
    /// Keys that were encoded.
    pub(crate) keys: u64,
    /// Commands that were encoded.
    pub(crate) commands: u64,
    /// For a part of a giant value: the seam to the part before it, and how many elements the part holds.
    pub(crate) part: Option<(Seam, u64)>,
    /// Why the job ended early, if it did; its bytes are still written.
    pub(crate) error: Option<RdbError>,
}

/// The output and whose turn it is.
pub(crate) struct Order<'s> {
    state: Mutex<State<'s>>,
    turned: Condvar,
    stopped: AtomicBool,
    /// How many may be done and waiting.
    may_wait: usize,
}

struct State<'s> {
    next: u64,
    waiting: BTreeMap<u64, Done>,
    /// Taken out by whoever writes.
    sink: Option<&'s mut dyn Sink>,
    spare: Vec<Vec<u8>>,
    crc: u64,
    error: Option<RdbError>,
}

impl<'s> Order<'s> {
    pub(crate) fn new(sink: &'s mut dyn Sink, threads: usize) -> Self {
        Order {
            state: Mutex::new(State {
                next: 0,
                waiting: BTreeMap::new(),
                sink: Some(sink),
                spare: Vec::new(),
                crc: 0,
                error: None,
            }),
            turned: Condvar::new(),
            stopped: AtomicBool::new(false),
            may_wait: 2 * threads,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<'s>> {
        // Nothing is left half done under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is no point in going on.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// A buffer to encode into.
    pub(crate) fn spare(&self) -> Vec<u8> {
        self.lock().spare.pop().unwrap_or_default()
    }

    /// Waits until it is the turn of `seq`; false if the run has been stopped.
    pub(crate) fn wait(&self, seq: u64) -> bool {
        let mut state = self.lock();
        while state.next != seq && !self.is_stopped() {
            state = self
                .turned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !self.is_stopped()
    }

    /// Writes `bytes` for `seq`, whose turn it must be.
    fn write(&self, bytes: &[u8]) -> Result<()> {
        let Some(sink) = self.lock().sink.take() else {
            return Err(stopped());
        };
        let r = sink.write(bytes);
        self.lock().sink = Some(sink);
        r
    }

    /// Takes what a worker made of job `seq`. Gives the keys written and the input passed while doing so.
    pub(crate) fn deliver(&self, seq: u64, done: Done, progress: impl Fn(&Done)) {
        let mut state = self.lock();
        while state.next != seq && state.waiting.len() >= self.may_wait && !self.is_stopped() {
            state = self
                .turned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if self.is_stopped() {
            return;
        }
        if state.next != seq {
            state.waiting.insert(seq, done);
            return;
        }
        let mut done = done;
        let mut crc = state.crc;
        loop {
            drop(state);
            let mut bytes = &done.buffer[..done.len];
            if let Some((seam, elements)) = &done.part {
                bytes = seam.join(bytes, *elements);
                seam.giant.elements.fetch_add(*elements, Ordering::Relaxed);
            }
            let written = if bytes.is_empty() {
                Ok(())
            } else {
                self.write(bytes)
            };
            let error = written.err().or(done.error.take());
            if error.is_none() {
                progress(&done);
            }
            crc = crc64::combine(crc, done.crc, done.summed);
            state = self.lock();
            state.crc = crc;
            if error.is_some() {
                state.error = error;
                self.stop_locked();
                return;
            }
            if state.spare.len() < 2 * self.may_wait && done.buffer.len() <= SPARE_MAX {
                state.spare.push(done.buffer);
            }
            state.next += 1;
            let next = state.next;
            match state.waiting.remove(&next) {
                Some(d) => done = d,
                None => break,
            }
            self.turned.notify_all();
        }
        drop(state);
        self.turned.notify_all();
    }

    fn stop_locked(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.turned.notify_all();
    }

    /// The checksum of all input, or why the run ended early.
    pub(crate) fn finish(self) -> Result<u64> {
        let state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        match state.error {
            Some(e) => Err(e),
            None => Ok(state.crc),
        }
    }
}

/// A buffer larger than this is not kept for reuse.
const SPARE_MAX: usize = 2 * crate::out::BUDGET;

#[cold]
fn stopped() -> RdbError {
    RdbError::other(ErrorKind::Io, "stopped")
}

/// Where a part of a giant value meets the part before it.
///
/// Every part but the first begins each of its elements with the encoder's separator, if it has one. Only here, in the order of
/// the output, is it known whether an element stands before it: if none does, the separator goes.
#[derive(Debug)]
pub(crate) struct Seam {
    pub(crate) giant: Arc<Giant>,
    first: bool,
    separator: Option<u8>,
    joined: AtomicBool,
}

impl Seam {
    pub(crate) fn new(giant: Arc<Giant>, first: bool, separator: Option<u8>) -> Self {
        Seam {
            giant,
            first,
            separator,
            joined: AtomicBool::new(false),
        }
    }

    fn join<'b>(&self, bytes: &'b [u8], elements: u64) -> &'b [u8] {
        if elements == 0 || self.joined.swap(true, Ordering::Relaxed) {
            return bytes;
        }
        let begun = self.giant.begun.swap(true, Ordering::Relaxed);
        match bytes {
            [b, rest @ ..] if Some(*b) == self.separator && !begun && !self.first => rest,
            _ => bytes,
        }
    }
}

/// The way out for a job whose bytes are more than its budget: waits for its turn, then writes.
pub(crate) struct Turn<'o, 's> {
    pub(crate) order: &'o Order<'s>,
    pub(crate) seq: u64,
    /// For a part of a giant value.
    pub(crate) seam: Option<Seam>,
}

impl Drain for Turn<'_, '_> {
    fn drain(&self, bytes: &[u8]) -> Result<()> {
        if !self.order.wait(self.seq) {
            return Err(stopped());
        }
        self.order.write(match &self.seam {
            // More than a budget of bytes is at least one element.
            Some(seam) => seam.join(bytes, 1),
            None => bytes,
        })
    }
}
