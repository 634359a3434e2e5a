//! What has become of the commands, and up to which mark.

use crate::error::{quote, quote_up_to};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How many kinds of errors are told apart, and how many of each are told in full.
const KINDS: usize = 20;
const TOLD: usize = 5;

/// What has become of the commands.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// Commands of the stream that the target has answered.
    pub commands: u64,
    /// How many of those are of a log, and came between MULTI and EXEC.
    pub of_logs: u64,
    /// Keys among them that are new in the stream: not the one of the command before.
    pub keys_sent: u64,
    /// Bytes of those commands.
    pub bytes: u64,
    /// Keys that were there already and were left alone.
    pub skipped: u64,
    /// Commands that the target refused for good.
    pub failed: u64,
    /// Why, by kind.
    pub errors: Vec<Failure>,
    /// Commands that were sent more than once.
    pub retries: u64,
    /// How often there was a reason to wait, by reason.
    pub waited_for: BTreeMap<&'static str, u64>,
    /// How long that took.
    pub waited: Duration,
    /// How often a server was found restarted, or replaced by another: what it had taken may be lost, if it keeps nothing on disk.
    pub restarted: u64,
    /// Commands that were not confirmed by as many replicas as wanted.
    pub unconfirmed: u64,
    /// Keys that a run before this one had done, and that were not sent.
    pub passed: u64,
    /// Keys that runs before this one left alone.
    pub skipped_before: u64,
    /// Keys that a run before may have sent, and that are there.
    pub found: u64,
    /// The same where others were there to begin with, so that it is not known whose they are.
    pub doubtful: u64,
    /// The first few of those: database and key, quoted.
    pub doubtful_first: Vec<(u64, String)>,
}

/// Errors of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the server said, the first of them.
    pub kind: String,
    /// How many there were.
    pub count: u64,
    /// Database, key, quoted, and what the server said, of the first few.
    pub first: Vec<(u64, String, String)>,
}

impl Report {
    /// Counts a key that is there, and may have been sent by a run before.
    #[cold]
    pub(super) fn find(&mut self, db: u64, key: &[u8], was_empty: bool) {
        if was_empty {
            self.found += 1;
            return;
        }
        self.doubtful += 1;
        if self.doubtful_first.len() < TOLD {
            self.doubtful_first.push((db, quote(key)));
        }
    }

    /// Counts a failed command.
    #[cold]
    pub(super) fn fail(&mut self, db: u64, key: &[u8], text: &[u8]) {
        self.failed += 1;
        let said = quote_up_to(200, text);
        let said = said.trim_matches('"').to_owned();
        // `WRONGTYPE Operation ...`, `ERR Bad data format`: without what stands behind it in detail.
        let kind: String = said.chars().take(48).collect();
        let kind = match self.errors.len() {
            KINDS.. if !self.errors.iter().any(|f| f.kind == kind) => "other".to_owned(),
            _ => kind,
        };
        let at = match self.errors.iter().position(|f| f.kind == kind) {
            Some(at) => at,
            None => {
                self.errors.push(Failure {
                    kind,
                    count: 0,
                    first: Vec::new(),
                });
                self.errors.len() - 1
            }
        };
        if let Some(failure) = self.errors.get_mut(at) {
            failure.count += 1;
            if failure.first.len() < TOLD {
                failure.first.push((db, quote(key), said));
            }
        }
    }
}

/// Between which marks there are commands that have no answer.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Number of the first of `open`.
    first: u64,
    /// The position that each epoch begins at, and how many commands of it have no answer.
    open: VecDeque<(u64, u64)>,
}

impl Marks {
    /// The epoch that commands are in now; one more is.
    pub(super) fn add(&mut self, n: u64) -> u64 {
        if self.open.is_empty() {
            self.open.push_back((0, 0));
        }
        if let Some((_, left)) = self.open.back_mut() {
            *left += n;
        }
        self.first + self.open.len() as u64 - 1
    }

    /// A command has its answer.
    pub(super) fn settle(&mut self, epoch: u64) {
        if let Some(left) = self.left(epoch) {
            *left = left.saturating_sub(1);
        }
        self.shorten();
    }

    /// So many more answers are due in an epoch.
    pub(super) fn add_to(&mut self, epoch: u64, n: u64) {
        if let Some(left) = self.left(epoch) {
            *left += n;
        }
    }

    fn left(&mut self, epoch: u64) -> Option<&mut u64> {
        let at = usize::try_from(epoch.checked_sub(self.first)?).ok()?;
        self.open.get_mut(at).map(|(_, left)| left)
    }

    pub(super) fn mark(&mut self, position: u64) {
        match self.open.back_mut() {
            // Nothing since the last one.
            Some((at, 0)) => *at = position,
            _ => self.open.push_back((position, 0)),
        }
        self.shorten();
    }

    fn shorten(&mut self) {
        while self.open.len() > 1 && self.open.front().is_some_and(|&(_, left)| left == 0) {
            self.open.pop_front();
            self.first += 1;
        }
    }

    /// The last mark before which everything has its answer.
    pub(super) fn settled(&self) -> u64 {
        self.open.front().map_or(0, |&(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_settle_in_order() {
        let mut m = Marks::default();
        assert_eq!(m.settled(), 0);
        m.mark(10);
        assert_eq!(m.settled(), 10);
        let a = m.add(2);
        m.mark(20);
        let b = m.add(1);
        m.mark(30);
        assert_eq!(m.settled(), 10);
        m.settle(b);
        m.settle(a);
        assert_eq!(m.settled(), 10);
        m.settle(a);
        assert_eq!(m.settled(), 30);
        m.mark(40);
        assert_eq!(m.settled(), 40);
        let c = m.add(1);
        assert_eq!(m.settled(), 40);
        m.mark(50);
        m.settle(c);
        assert_eq!(m.settled(), 50);
    }

    #[test]
    fn failures_are_bounded() {
        let mut r = Report::default();
        for i in 0..1000 {
            r.fail(0, b"k", format!("ERR {i} x").as_bytes());
        }
        assert_eq!(r.failed, 1000);
        assert_eq!(r.errors.iter().map(|f| f.count).sum::<u64>(), 1000);
        assert!(r.errors.len() <= KINDS + 1);
    }
}
