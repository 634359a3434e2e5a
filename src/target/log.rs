//! What was given to a connection and has not been answered: kept, to be sent again.
//!
//! ```text
//!   chunks     |  128 KiB  |  128 KiB  |  300 MB, in a file without a name  |  128 KiB ... |
//!   places      ^ kept from     ^ answered up to       ^ sent up to            appended up to ^
//! ```
//!
//! A command lies within one chunk. Its bytes go when it has been answered, unless what has been answered is kept, too: while there
//! is trouble, and as long as replicas have not confirmed it.

use super::route::Class;
use super::split::ARGS;
use crate::error::{RdbError, Result};
use crate::resp::read::command::{Arg, Splitter};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

/// Bytes of a chunk, unless a command is larger.
const CHUNK: usize = 128 << 10;
/// Bytes of a file that are sent at a time.
const STEP: usize = 256 << 10;
/// Chunks kept for use.
const SPARE: usize = 8;

/// How far a command has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not answered.
    Waiting,
    /// Done.
    Done,
    /// Not done, for a reason that may pass.
    Failed,
}

/// A command that is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    /// Its length.
    pub(super) bytes: u64,
    pub(super) db: u64,
    /// What was answered, if that is a number.
    pub(super) answer: u64,
    /// Between which marks it lies.
    pub(super) epoch: u64,
    /// Arguments behind the key, where that is counted.
    pub(super) elements: u32,
    pub(super) class: Class,
    pub(super) state: State,
    /// Whether it may have been done before.
    pub(super) again: bool,
    /// The node that is taking over its slot, counted from 1 in a list of those: it goes there, behind ASKING.
    pub(super) ask: usize,
    /// Which key it is about, where that is asked.
    pub(super) key: u64,
    /// Whether it begins a key.
    pub(super) first: bool,
    /// Whether a run before may have done it.
    pub(super) before: bool,
    /// Whether it is ours, though it is done like the others, and is not counted.
    pub(super) quiet: bool,
    /// Of a transaction of units: the number of the last one.
    pub(super) unit: u64,
    /// How many commands stand between its MULTI and its EXEC.
    pub(super) queue: u32,
    /// How many answers are due, with those to these two.
    pub(super) left: u32,
}

impl Pending {
    /// A command of `bytes` bytes, nothing known of it.
    pub(super) fn new(class: Class, bytes: u64, db: u64) -> Pending {
        Pending {
            bytes,
            db,
            answer: 0,
            epoch: 0,
            elements: 0,
            class,
            state: State::Waiting,
            again: false,
            ask: 0,
            key: 0,
            first: false,
            before: false,
            quiet: false,
            unit: 0,
            queue: 0,
            left: 0,
        }
    }
}

/// The bytes of a chunk.
#[derive(Debug)]
pub(super) enum Bytes {
    Memory(Vec<u8>),
    /// One command that is too large, and its beginning.
    File(Spilled),
}

/// A command in a file.
#[derive(Debug)]
pub(super) struct Spilled {
    file: File,
    len: u64,
    /// With name and key.
    head: Vec<u8>,
}

impl Spilled {
    pub(super) fn new(head: &[u8]) -> Result<Spilled> {
        let mut spilled = Spilled {
            file: tempfile::tempfile().map_err(failed)?,
            len: 0,
            head: head.to_vec(),
        };
        spilled.push(head)?;
        Ok(spilled)
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(failed)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }
}

#[cold]
fn failed(e: std::io::Error) -> RdbError {
    let dir = std::env::temp_dir();
    let what = format!(
        "cannot keep a large command in {} (set TMPDIR to a directory with room)",
        dir.display()
    );
    RdbError::io(what, e)
}

impl Bytes {
    fn len(&self) -> u64 {
        match self {
            Bytes::Memory(b) => b.len() as u64,
            Bytes::File(s) => s.len,
        }
    }
}

/// A place: a chunk, and how far into it. Its end is the start of the next.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    chunk: usize,
    at: usize,
    /// The same for files, which may be larger than memory.
    beyond: u64,
}

impl Place {
    fn bytes(self) -> u64 {
        self.at as u64 + self.beyond
    }

    fn add(&mut self, n: u64, of: &Bytes) {
        match of {
            Bytes::Memory(_) => self.at += usize::try_from(n).unwrap_or(usize::MAX),
            Bytes::File(_) => self.beyond += n,
        }
    }
}

/// The commands of one connection.
#[derive(Debug, Default)]
pub(super) struct Log {
    chunks: VecDeque<Bytes>,
    queue: VecDeque<Pending>,
    /// How many of the queue have been answered and are kept.
    answered: usize,
    kept_from: Place,
    answered_to: Place,
    sent_to: Place,
    /// Bytes ever sent, answered, appended, dropped.
    sent: u64,
    replied: u64,
    appended: u64,
    dropped: u64,
    /// Bytes after which nothing is sent.
    stop: Option<u64>,
    spare: Vec<Vec<u8>>,
    /// Part of a file.
    step: Vec<u8>,
    step_at: u64,
}

impl Log {
    /// Bytes that are kept in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.appended - self.dropped
    }

    pub(super) fn commands(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many of them have been answered.
    pub(super) fn kept(&self) -> usize {
        self.answered
    }

    /// Whether everything has been answered.
    #[cfg(test)]
    pub(super) fn is_answered(&self) -> bool {
        self.replied == self.appended
    }

    /// Whether an answer is due.
    pub(super) fn is_waiting(&self) -> bool {
        self.sent > self.replied
    }

    /// Bytes that may be sent now.
    pub(super) fn unsent(&self) -> u64 {
        self.stop.unwrap_or(self.appended).min(self.appended) - self.sent.min(self.appended)
    }

    /// Nothing is sent any more but the rest of what is begun.
    pub(super) fn stop(&mut self) {
        let mut end = self.replied;
        for p in self.queue.iter().skip(self.answered) {
            if end >= self.sent {
                break;
            }
            end += p.bytes;
        }
        self.stop = Some(end.max(self.sent));
    }

    /// Only the first command is sent.
    pub(super) fn first_alone(&mut self) {
        // With what is ours before it.
        let mut end = self.replied;
        for p in self.queue.iter().skip(self.answered) {
            end += p.bytes;
            if !p.class.is_ours() {
                break;
            }
        }
        self.stop = Some(end);
    }

    pub(super) fn go_on(&mut self) {
        self.stop = None;
    }

    pub(super) fn append(&mut self, bytes: &[u8], pending: Pending) {
        let room = match self.chunks.back() {
            Some(Bytes::Memory(b)) => b.len() + bytes.len() <= CHUNK,
            _ => false,
        };
        if !room {
            let mut chunk = self.spare.pop().unwrap_or_default();
            chunk.reserve_exact(CHUNK.max(bytes.len()));
            self.chunks.push_back(Bytes::Memory(chunk));
        }
        if let Some(Bytes::Memory(b)) = self.chunks.back_mut() {
            b.extend_from_slice(bytes);
        }
        self.appended += pending.bytes;
        self.queue.push_back(pending);
    }

    pub(super) fn append_file(&mut self, file: Spilled, pending: Pending) {
        self.chunks.push_back(Bytes::File(file));
        self.appended += pending.bytes;
        self.queue.push_back(pending);
    }

    /// What is to be sent next.
    pub(super) fn out(&mut self) -> Result<&[u8]> {
        let left = self.unsent();
        if left == 0 {
            return Ok(&[]);
        }
        while let Some(chunk) = self.chunks.get(self.sent_to.chunk) {
            if self.sent_to.bytes() < chunk.len() {
                break;
            }
            self.sent_to = Place {
                chunk: self.sent_to.chunk + 1,
                ..Place::default()
            };
            self.step.clear();
        }
        let all: &[u8] = match self.chunks.get_mut(self.sent_to.chunk) {
            None => &[],
            Some(Bytes::Memory(b)) => b.get(self.sent_to.at..).unwrap_or_default(),
            Some(Bytes::File(s)) => {
                let at = self.sent_to.beyond;
                let within = at
                    .checked_sub(self.step_at)
                    .and_then(|n| usize::try_from(n).ok());
                let ready = within.is_some_and(|n| n < self.step.len());
                if !ready {
                    self.step.clear();
                    s.file.seek(SeekFrom::Start(at)).map_err(failed)?;
                    (&s.file)
                        .take(STEP as u64)
                        .read_to_end(&mut self.step)
                        .map_err(failed)?;
                    self.step_at = at;
                }
                let within = if ready { within.unwrap_or(0) } else { 0 };
                self.step.get(within..).unwrap_or_default()
            }
        };
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(all.len());
        Ok(all.get(..n).unwrap_or_default())
    }

    pub(super) fn sent(&mut self, n: usize) {
        if let Some(chunk) = self.chunks.get(self.sent_to.chunk) {
            self.sent_to.add(n as u64, chunk);
        }
        self.sent += n as u64;
    }

    /// The command that the next answer is for, and its bytes: of one in a file, the first of them.
    pub(super) fn next(&mut self) -> Option<(&mut Pending, &[u8])> {
        let pending = self.queue.get_mut(self.answered)?;
        while let Some(chunk) = self.chunks.get(self.answered_to.chunk) {
            if self.answered_to.bytes() < chunk.len() {
                break;
            }
            self.answered_to = Place {
                chunk: self.answered_to.chunk + 1,
                ..Place::default()
            };
        }
        let bytes = match self.chunks.get(self.answered_to.chunk) {
            None => &[],
            Some(Bytes::Memory(b)) => {
                let n = usize::try_from(pending.bytes).unwrap_or(usize::MAX);
                let rest = b.get(self.answered_to.at..).unwrap_or_default();
                rest.get(..n).unwrap_or(rest)
            }
            Some(Bytes::File(s)) => &s.head,
        };
        Some((pending, bytes))
    }

    /// The lists that are still to be pushed to.
    pub(super) fn keys_pushed(&self) -> impl Iterator<Item = u64> + '_ {
        let pushes = self.queue.iter().filter(|p| p.class == Class::Push);
        pushes.map(|p| p.key)
    }

    /// The next command has its answer.
    pub(super) fn answered(&mut self) {
        let Some(pending) = self.queue.get(self.answered) else {
            return;
        };
        self.replied += pending.bytes;
        if let Some(chunk) = self.chunks.get(self.answered_to.chunk) {
            self.answered_to.add(pending.bytes, chunk);
        }
        self.answered += 1;
    }

    /// Drops the first of those that have been answered, if there is one, and gives it.
    pub(super) fn drop_answered(&mut self) -> Option<Pending> {
        self.answered = self.answered.checked_sub(1)?;
        let pending = self.queue.pop_front()?;
        self.dropped += pending.bytes;
        self.skip_ended();
        if let Some(chunk) = self.chunks.front() {
            self.kept_from.add(pending.bytes, chunk);
        }
        if self.queue.is_empty() {
            self.reset();
        } else {
            self.skip_ended();
        }
        Some(pending)
    }

    /// Drops the chunks before what is kept.
    fn skip_ended(&mut self) {
        while self.chunks.len() > 1
            && let Some(chunk) = self.chunks.front()
            && self.kept_from.bytes() >= chunk.len()
        {
            let ended = self.chunks.pop_front();
            self.recycle(ended);
            self.kept_from = Place::default();
            if self.sent_to.chunk == 0 {
                // What is read of a file is of that one.
                self.step.clear();
            }
            for place in [&mut self.answered_to, &mut self.sent_to] {
                match place.chunk.checked_sub(1) {
                    Some(chunk) => place.chunk = chunk,
                    None => *place = Place::default(),
                }
            }
        }
    }

    /// Nothing is kept.
    fn reset(&mut self) {
        while let Some(chunk) = self.chunks.pop_back() {
            self.recycle(Some(chunk));
        }
        (self.kept_from, self.answered_to, self.sent_to) = Default::default();
        self.step.clear();
    }

    fn recycle(&mut self, chunk: Option<Bytes>) {
        if let Some(Bytes::Memory(mut b)) = chunk
            && b.capacity() <= 2 * CHUNK
            && self.spare.len() < SPARE
        {
            b.clear();
            self.spare.push(b);
        }
    }

    /// All that is kept, in order, each with whether it was sent, if only in part.
    pub(super) fn take(&mut self) -> Vec<Kept> {
        let mut all = Vec::with_capacity(self.queue.len());
        let mut sent = self.sent - self.dropped;
        self.skip_ended();
        let mut place = self.kept_from;
        let mut chunks = std::mem::take(&mut self.chunks);
        for pending in std::mem::take(&mut self.queue) {
            let was_sent = sent > 0;
            sent = sent.saturating_sub(pending.bytes);
            while let Some(chunk) = chunks.front()
                && place.bytes() >= chunk.len()
            {
                let ended = chunks.pop_front();
                self.recycle(ended);
                place = Place::default();
            }
            let stored = match chunks.front() {
                Some(Bytes::Memory(b)) => {
                    let end = place.at + usize::try_from(pending.bytes).unwrap_or(0);
                    let bytes = b.get(place.at..end).unwrap_or_default().to_vec();
                    place.at = end;
                    Bytes::Memory(bytes)
                }
                Some(Bytes::File(_)) => match chunks.pop_front() {
                    Some(file) => file,
                    None => continue,
                },
                None => continue,
            };
            all.push(Kept {
                pending,
                bytes: stored,
                was_sent,
            });
        }
        *self = Log {
            spare: std::mem::take(&mut self.spare),
            ..Log::default()
        };
        all
    }
}

/// A command that was kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) pending: Pending,
    pub(super) bytes: Bytes,
    /// Whether at least its beginning was sent.
    pub(super) was_sent: bool,
}

impl Kept {
    /// Its bytes, or the first of them.
    pub(super) fn head(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Memory(b) => b,
            Bytes::File(s) => &s.head,
        }
    }
}

/// Does something with the key of a command, of which the bytes up to there are given.
pub(super) fn key_of(bytes: &[u8]) -> Option<&[u8]> {
    let mut args = [Arg::default(); ARGS];
    let mut splitter = Splitter::default();
    splitter.step(bytes, 0, &mut args).ok()?;
    let there = usize::try_from(splitter.complete())
        .unwrap_or(ARGS)
        .min(ARGS);
    super::route::key(bytes, args.get(..there)?)
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may panic"
)]
mod tests {
    use super::*;

    fn pending(bytes: u64) -> Pending {
        Pending::new(Class::Plain, bytes, 0)
    }

    /// Commands of many sizes, some in files, sent in pieces, answered late: each comes out once, in order.
    #[test]
    fn everything_comes_out_in_order() {
        let (mut log, mut want, mut got) = (Log::default(), Vec::new(), Vec::new());
        let mut x = 12345u64;
        let mut below = move |n: u64| {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1);
            (x >> 33) % n
        };
        let mut lens = VecDeque::new();
        for i in 0..3000u64 {
            let n = [5, 300, 40_000, 200_000, 700_000][[0, 0, 1, 1, 1, 2, 3, 4][below(8) as usize]];
            let n = 1 + below(n) as usize;
            let bytes: Vec<u8> = (0..n).map(|k| (k as u64 * 7 + i) as u8).collect();
            want.extend_from_slice(&bytes);
            lens.push_back(n as u64);
            if below(20) == 0 {
                let mut file = Spilled::new(&bytes[..n.div_ceil(2)]).unwrap();
                file.push(&bytes[n.div_ceil(2)..]).unwrap();
                assert_eq!(file.len(), n as u64);
                log.append_file(file, pending(n as u64));
            } else {
                log.append(&bytes, pending(n as u64));
            }
            while log.bytes() > 1 << 20 || (i == 2999 && !log.is_empty()) {
                let out = log.out().unwrap();
                let n = (1 + below(out.len().max(1) as u64) as usize).min(out.len());
                got.extend_from_slice(&out[..n]);
                log.sent(n);
                // What was sent as a whole may be answered.
                while let Some(p) = log.queue.get(log.answered)
                    && log.replied + p.bytes <= log.sent
                    && below(3) > 0
                {
                    let (p, bytes) = log.next().unwrap();
                    assert_eq!(Some(p.bytes), lens.pop_front());
                    assert!(!bytes.is_empty());
                    log.answered();
                    if below(2) == 0 {
                        while log.drop_answered().is_some() {}
                    }
                }
                if log.is_answered() {
                    while log.drop_answered().is_some() {}
                }
            }
        }
        assert!(want == got && lens.is_empty());
    }
}
