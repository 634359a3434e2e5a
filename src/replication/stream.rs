//! The snapshot's bytes, as something to read.
//!
//! ```text
//!   server ──► thread: receives, finds the end, acknowledges ──► a few MiB ──► Stream::read
//! ```
//!
//! A thread of its own, because a reader that thinks for a minute over what it has read must not lose the connection meanwhile. When the
//! few MiB are full it receives no more, and the server waits.

use super::handshake::{Begun, Frame, MARK};
use crate::error::{RdbError, Result};
use crate::net::Connection;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that wait to be read, at the most; and what one more receives.
const MOST: usize = 8 << 20;
/// How often the server hears from us.
const ACK: Duration = Duration::from_secs(1);

/// Yields the bytes of a snapshot, and an error if they do not come to their end.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    current: Vec<u8>,
    at: usize,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is more to read, or the end.
    filled: Condvar,
    /// There is room, or nobody reads any more.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Vec<u8>>,
    bytes: usize,
    /// A buffer to use again.
    spare: Vec<u8>,
    /// How it ended.
    end: Option<Result<(), String>>,
    /// Nobody reads any more.
    dropped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Starts to receive.
    pub(super) fn start(begun: Begun) -> Result<Stream> {
        let shared = Arc::new(Shared::default());
        let feeder = Feeder(Arc::clone(&shared));
        std::thread::Builder::new()
            .name("replication".to_owned())
            .spawn(move || {
                let end = Receiver::new(begun, &feeder).run();
                feeder.finish(end);
            })
            .map_err(|e| RdbError::io("cannot start a thread", e))?;
        Ok(Stream {
            shared,
            current: Vec::new(),
            at: 0,
        })
    }
}

impl Read for Stream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        if self.at >= self.current.len() {
            let mut queue = self.shared.lock();
            loop {
                if let Some(chunk) = queue.chunks.pop_front() {
                    queue.bytes -= chunk.len();
                    queue.spare = std::mem::replace(&mut self.current, chunk);
                    self.at = 0;
                    self.shared.emptied.notify_one();
                    break;
                }
                match &queue.end {
                    Some(Ok(())) => return Ok(0),
                    Some(Err(what)) => {
                        return Err(io::Error::new(
                            io::ErrorKind::ConnectionAborted,
                            what.clone(),
                        ));
                    }
                    None => {}
                }
                queue = self
                    .shared
                    .filled
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        let from = self.current.get(self.at..).unwrap_or_default();
        let n = from.len().min(to.len());
        if let (Some(to), Some(from)) = (to.get_mut(..n), from.get(..n)) {
            to.copy_from_slice(from);
        }
        self.at += n;
        Ok(n)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.lock().dropped = true;
        self.shared.emptied.notify_one();
    }
}

/// The thread's end of the queue. However the thread ends, the reader hears of it.
struct Feeder(Arc<Shared>);

impl Feeder {
    fn finish(&self, end: Result<(), String>) {
        self.0.lock().end.get_or_insert(end);
        self.0.filled.notify_one();
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.finish(Err("the thread that receives is gone".to_owned()));
    }
}

/// Receives a snapshot.
struct Receiver<'f> {
    feeder: &'f Feeder,
    connection: Connection,
    /// What was received and not handed on.
    input: Vec<u8>,
    cut: Cut,
    /// Bytes handed on.
    given: u64,
    /// What is sent each second, if anything.
    ack: Vec<u8>,
    /// What of it is still to be sent.
    out: Vec<u8>,
    next_ack: Instant,
}

impl<'f> Receiver<'f> {
    fn new(begun: Begun, feeder: &'f Feeder) -> Self {
        // Not to one that hangs up when it has sent all: what it sent last may still be in the system's hands, which throws it
        // away when the other side says that it is gone, and that is what it says to whatever comes.
        let history = begun.history.filter(|_| !begun.alone);
        let ack = history.map_or(String::new(), |(_, offset)| {
            let offset = offset.to_string();
            format!(
                "*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n${}\r\n{offset}\r\n",
                offset.len()
            )
        });
        Receiver {
            feeder,
            connection: begun.connection,
            input: begun.input,
            cut: Cut::new(begun.frame),
            given: 0,
            ack: ack.into_bytes(),
            out: Vec::new(),
            next_ack: Instant::now() + ACK,
        }
    }

    /// To the end; or why not.
    fn run(mut self) -> Result<(), String> {
        let mut last = Instant::now();
        loop {
            let (n, whole) = self.cut.take(&self.input);
            if n > 0 && !self.give(n) {
                return Ok(()); // nobody wants the rest
            }
            if whole {
                return Ok(());
            }
            self.acknowledge();
            match self.connection.exchange(&[], &mut self.input) {
                Ok(done) if done.read > 0 => last = Instant::now(),
                Ok(done) if done.closed => {
                    return Err(self.broken("the server closed the connection"));
                }
                Ok(_) => {
                    let timeout = last + self.connection.timeout();
                    let until = timeout.min(self.next_ack);
                    let write = !self.out.is_empty();
                    match self.connection.ready(write, until) {
                        Ok(false) if Instant::now() >= timeout => {
                            let seconds = self.connection.timeout().as_secs_f32();
                            return Err(self.broken(&format!("nothing came for {seconds} s")));
                        }
                        Ok(_) => {}
                        Err(e) => return Err(self.broken(&e.to_string())),
                    }
                    if self.feeder.0.lock().dropped {
                        return Ok(());
                    }
                }
                Err(e) => return Err(self.broken(&e.to_string())),
            }
        }
    }

    fn broken(&self, why: &str) -> String {
        let received = self.given + self.cut.held(&self.input);
        match self.cut.len {
            Some(len) => format!("the snapshot broke off after {received} of {len} bytes: {why}"),
            None => format!("the snapshot broke off after {received} bytes: {why}"),
        }
    }

    /// Tells the server that we are there, if it is time. It answers nothing to it. An error shows up when receiving.
    fn acknowledge(&mut self) {
        if Instant::now() >= self.next_ack {
            self.next_ack = Instant::now() + ACK;
            if self.out.is_empty() {
                self.out.extend_from_slice(&self.ack);
            }
        }
        if !self.out.is_empty()
            && let Ok(n) = self.connection.try_write(&self.out)
        {
            self.out.drain(..n);
        }
    }

    /// Hands on the first `n` bytes of the input, once there is room; false if nobody wants them.
    fn give(&mut self, n: usize) -> bool {
        let feeder = self.feeder;
        let mut queue = feeder.0.lock();
        while queue.bytes >= MOST && !queue.dropped {
            let left = self.next_ack.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(queue);
                self.acknowledge();
                queue = feeder.0.lock();
                continue;
            }
            queue = match feeder.0.emptied.wait_timeout(queue, left) {
                Ok((queue, _)) => queue,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        if queue.dropped {
            return false;
        }
        let mut rest = std::mem::take(&mut queue.spare);
        rest.clear();
        rest.extend_from_slice(self.input.get(n..).unwrap_or_default());
        self.input.truncate(n);
        let chunk = std::mem::replace(&mut self.input, rest);
        self.given += n as u64;
        queue.bytes += n;
        queue.chunks.push_back(chunk);
        feeder.0.filled.notify_one();
        true
    }
}

/// Finds where the snapshot ends in what is received.
struct Cut {
    frame: Frame,
    /// The length that was announced.
    len: Option<u64>,
}

impl Cut {
    fn new(frame: Frame) -> Cut {
        let len = frame.len();
        Cut { frame, len }
    }

    /// How many of these bytes belong to it, and whether they are the last. What may be the beginning of the mark stays for the
    /// next call.
    ///
    /// The mark is looked for everywhere, not at the end only: servers before 6.2 may send commands behind it. It is made at random
    /// for each transfer, so no value can have it.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        match &mut self.frame {
            Frame::Len(left) => {
                let n = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= n as u64;
                (n, *left == 0)
            }
            Frame::Until(mark) => match mark.find(bytes) {
                Some(n) => (n, true),
                None => (bytes.len().saturating_sub(MARK - 1), false),
            },
        }
    }

    /// How many of these bytes, which were not given out, were of the snapshot.
    fn held(&self, bytes: &[u8]) -> u64 {
        match self.frame {
            Frame::Len(_) => 0,
            Frame::Until(_) => bytes.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memchr::memmem::Finder;

    /// What a cut gives out of `sent`, in pieces of `step`; and whether it saw the end.
    fn cut(frame: Frame, sent: &[u8], step: usize) -> (Vec<u8>, bool) {
        let (mut cut, mut input, mut got) = (Cut::new(frame), Vec::new(), Vec::new());
        for piece in sent.chunks(step) {
            input.extend_from_slice(piece);
            let (n, whole) = cut.take(&input);
            got.extend(input.drain(..n));
            if whole {
                return (got, true);
            }
        }
        (got, false)
    }

    #[test]
    fn the_mark_is_found_however_it_is_split() {
        let mark = b"0123456789abcdef0123456789abcdef01234567";
        let frame = || Frame::Until(Box::new(Finder::new(mark).into_owned()));
        // With the beginning of a mark inside, and commands behind.
        let snapshot = [b"REDIS0009 ", &mark[..39], b" 0123"].concat();
        let sent = [&snapshot[..], mark, b"*1\r\n$4\r\nPING\r\n"].concat();
        for step in 1..sent.len() + 1 {
            assert_eq!(
                cut(frame(), &sent, step),
                (snapshot.clone(), true),
                "{step}"
            );
            let broken = &sent[..snapshot.len() + MARK - 1];
            assert!(!cut(frame(), broken, step).1);
        }
    }

    #[test]
    fn a_length_is_kept() {
        for step in 1..9 {
            assert_eq!(
                cut(Frame::Len(5), b"RDB 1*1\r\n", step),
                (b"RDB 1".into(), true)
            );
            assert_eq!(cut(Frame::Len(9), b"RDB 1", step), (b"RDB 1".into(), false));
        }
        assert_eq!(Cut::new(Frame::Len(0)).take(b""), (0, true));
    }
}
