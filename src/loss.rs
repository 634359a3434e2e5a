//! What could not be kept, counted by reason, with example keys.
//!
//! Each worker's encoder gathers its own; at the end they are put together.

use crate::error::quote;
use std::fmt;

/// Why something could not be kept, or not as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Expiries of single fields of a hash; the fields are kept.
    FieldExpiry,
    /// An expiry that is no whole second, or later than 2038: Redis 2.4 has no other.
    ExpiryRounded,
    /// How long a key was idle, or how often it was used.
    IdleOrFreq,
    /// Metadata that modules attached to a key.
    KeyMetadata,
    /// A stream's first id, greatest deleted id and count of entries ever added.
    StreamCounters,
    /// How many entries a consumer group has read.
    GroupCounters,
    /// When a consumer was last seen or active.
    ConsumerTimes,
    /// Pending entries whose entry has been deleted from the stream.
    PendingDeleted,
    /// Pending entries without an owner (Redis 8.8).
    PendingUnowned,
    /// A stream's memory of its idempotent producers (Redis 8.6).
    StreamProducers,
    /// A stream; the target has none.
    Stream,
    /// A value of a module.
    Module,
    /// Data of a module beside the keys.
    ModuleAux,
    /// An array (Redis 8.8); the target has none.
    Array,
    /// A rate limiter (Redis 8.10); the target has none.
    RateLimiter,
    /// A function library.
    Function,
    /// A Lua script kept in the file.
    Script,
    /// Slots that were being imported by a cluster node.
    SlotImport,
    /// A command of which only some keys are wanted; it goes on whole.
    PartialCommand,
    /// A command that reaches keys it does not name, where keys are filtered or renamed; it goes on as it is.
    HiddenKeys,
    /// A command between a database that is wanted and one that is not; it is left out.
    AcrossDatabases,
    /// A command for a node of a cluster; it goes on as it is.
    NodeLocal,
    /// A command whose keys are of several nodes; it is left out.
    AcrossNodes,
    /// A transaction whose keys are of several nodes; each has its own part of it.
    TransactionApart,
    /// A command that sets an expiry as time left, from a moment that is not known; it goes on as it is.
    RelativeExpiry,
    /// A command of which nothing is known, where the target must know it; it goes on as it is.
    UnknownCommand,
    /// A command that the target does not have; it is left out.
    LackingCommand,
    /// Time stamps of a log.
    TimeStamps,
}

impl Reason {
    /// Every reason there is, in the order of the variants.
    pub const ALL: [Reason; 28] = [
        Reason::FieldExpiry,
        Reason::ExpiryRounded,
        Reason::IdleOrFreq,
        Reason::KeyMetadata,
        Reason::StreamCounters,
        Reason::GroupCounters,
        Reason::ConsumerTimes,
        Reason::PendingDeleted,
        Reason::PendingUnowned,
        Reason::StreamProducers,
        Reason::Stream,
        Reason::Module,
        Reason::ModuleAux,
        Reason::Array,
        Reason::RateLimiter,
        Reason::Function,
        Reason::Script,
        Reason::SlotImport,
        Reason::PartialCommand,
        Reason::HiddenKeys,
        Reason::AcrossDatabases,
        Reason::NodeLocal,
        Reason::AcrossNodes,
        Reason::TransactionApart,
        Reason::RelativeExpiry,
        Reason::UnknownCommand,
        Reason::LackingCommand,
        Reason::TimeStamps,
    ];

    /// A short name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Reason::FieldExpiry => "field-expiry",
            Reason::ExpiryRounded => "expiry-rounded",
            Reason::IdleOrFreq => "idle-or-freq",
            Reason::KeyMetadata => "key-metadata",
            Reason::StreamCounters => "stream-counters",
            Reason::GroupCounters => "group-counters",
            Reason::ConsumerTimes => "consumer-times",
            Reason::PendingDeleted => "pending-deleted",
            Reason::PendingUnowned => "pending-unowned",
            Reason::StreamProducers => "stream-producers",
            Reason::Stream => "stream",
            Reason::Module => "module",
            Reason::ModuleAux => "module-aux",
            Reason::Array => "array",
            Reason::RateLimiter => "rate-limiter",
            Reason::Function => "function",
            Reason::Script => "script",
            Reason::SlotImport => "slot-import",
            Reason::PartialCommand => "partial-command",
            Reason::HiddenKeys => "hidden-keys",
            Reason::AcrossDatabases => "across-databases",
            Reason::NodeLocal => "node-local",
            Reason::AcrossNodes => "across-nodes",
            Reason::TransactionApart => "transaction-apart",
            Reason::RelativeExpiry => "relative-expiry",
            Reason::UnknownCommand => "unknown-command",
            Reason::LackingCommand => "lacking-command",
            Reason::TimeStamps => "time-stamps",
        }
    }

    /// In words: what is not kept.
    pub fn describe(self) -> &'static str {
        match self {
            Reason::FieldExpiry => "expiries of hash fields",
            Reason::ExpiryRounded => "milliseconds of expiries, and expiries after 2038",
            Reason::IdleOrFreq => "idle times and access counters",
            Reason::KeyMetadata => "metadata that modules attached to keys",
            Reason::StreamCounters => "first id, greatest deleted id and entries added of streams",
            Reason::GroupCounters => "entries read of consumer groups",
            Reason::ConsumerTimes => "times at which consumers were seen or active",
            Reason::PendingDeleted => "pending entries whose entry has been deleted",
            Reason::PendingUnowned => "pending entries without an owner",
            Reason::StreamProducers => "idempotent producers of streams",
            Reason::Stream => "streams",
            Reason::Module => "module values",
            Reason::ModuleAux => "data of modules beside the keys",
            Reason::Array => "arrays",
            Reason::RateLimiter => "rate limiters",
            Reason::Function => "function libraries",
            Reason::Script => "Lua scripts",
            Reason::SlotImport => "slots being imported",
            Reason::PartialCommand => {
                "what commands of which only some keys are wanted do to the others (they go on whole)"
            }
            Reason::HiddenKeys => {
                "which keys commands reach that they do not name (they go on as they are)"
            }
            Reason::AcrossDatabases => {
                "commands between a database that is wanted and one that is not"
            }
            Reason::NodeLocal => {
                "the node of a cluster that commands are for (they go on as they are)"
            }
            Reason::AcrossNodes => "commands whose keys are of several nodes, or are not known",
            Reason::TransactionApart => {
                "that transactions whose keys are of several nodes are done at once (each node has its part)"
            }
            Reason::RelativeExpiry => {
                "when keys expire whose commands say how long from then (they go on as they are)"
            }
            Reason::UnknownCommand => {
                "whether the target knows commands that are not known here (they go on as they are)"
            }
            Reason::LackingCommand => "commands that the target does not have",
            Reason::TimeStamps => "time stamps",
        }
    }

    /// Whether keys are counted; or else the things themselves.
    pub fn is_of_keys(self) -> bool {
        !matches!(
            self,
            Reason::ModuleAux
                | Reason::Function
                | Reason::Script
                | Reason::SlotImport
                | Reason::PartialCommand
                | Reason::HiddenKeys
                | Reason::AcrossDatabases
                | Reason::NodeLocal
                | Reason::AcrossNodes
                | Reason::TransactionApart
                | Reason::RelativeExpiry
                | Reason::UnknownCommand
                | Reason::LackingCommand
                | Reason::TimeStamps
        )
    }

    /// Whether a key as a whole is missing, rather than something of it.
    pub fn is_whole_key(self) -> bool {
        matches!(
            self,
            Reason::Stream | Reason::Module | Reason::Array | Reason::RateLimiter
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

/// How many examples are told of each reason.
const EXAMPLES: usize = 5;

/// One reason, how often, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub reason: Reason,
    /// Of how many keys (or libraries, scripts ...).
    pub count: u64,
    /// The first few of them, with their database: quoted keys, or names.
    pub examples: Vec<(u64, String)>,
}

/// All that could not be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses(Vec<Loss>);

impl Losses {
    /// Counts one; at most once for a key and reason.
    pub fn note(&mut self, reason: Reason, db: u64, key: &[u8]) {
        self.note_with(reason, db, || key);
    }

    /// The same where the name is only made if it is told.
    pub fn note_with<N: AsRef<[u8]>>(&mut self, reason: Reason, db: u64, name: impl FnOnce() -> N) {
        let loss = self.of(reason);
        loss.count += 1;
        if loss.examples.len() < EXAMPLES {
            loss.examples.push((db, quote(name().as_ref())));
        }
    }

    fn of(&mut self, reason: Reason) -> &mut Loss {
        let at = match self.0.iter().position(|l| l.reason == reason) {
            Some(at) => at,
            None => {
                self.0.push(Loss {
                    reason,
                    count: 0,
                    examples: Vec::new(),
                });
                self.0.len() - 1
            }
        };
        &mut self.0[at]
    }

    /// Adds those of another worker.
    pub fn merge(&mut self, other: Losses) {
        for l in other.0 {
            let mine = self.of(l.reason);
            mine.count += l.count;
            mine.examples.extend(l.examples);
            mine.examples.truncate(EXAMPLES);
        }
    }

    /// Whether everything was kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each reason, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = &Loss> {
        let mut all: Vec<&Loss> = self.0.iter().collect();
        all.sort_by_key(|l| l.reason);
        all.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_by_reason() {
        let (mut a, mut b) = (Losses::default(), Losses::default());
        for i in 0..7u8 {
            a.note(Reason::Stream, 0, &[b'a' + i]);
        }
        b.note(Reason::FieldExpiry, 3, b"\xff");
        b.note(Reason::Stream, 1, b"z");
        a.merge(b);
        let told: Vec<_> = a
            .iter()
            .map(|l| (l.reason, l.count, l.examples.len()))
            .collect();
        assert_eq!(told, [(Reason::FieldExpiry, 1, 1), (Reason::Stream, 8, 5)]);
    }
}
