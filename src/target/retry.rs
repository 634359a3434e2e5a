//! What a server's error means for the command it answers.
//!
//! ```text
//!   MOVED 3999 host:port   ASK 3999 host:port            another node has it
//!   LOADING  MASTERDOWN  OOM  READONLY  BUSY  TRYAGAIN
//!   CLUSTERDOWN  MISCONF  NOREPLICAS                     not now: wait and send it again
//!   BUSYKEY                                              the key is there
//!   NOAUTH  NOPERM  WRONGPASS  DENIED                    never: the run ends
//!   anything else                                        never: counted
//! ```

use crate::error::RdbError;
use crate::net::Address;
use std::time::Duration;

/// Why a command was not done that may be done later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// One command of a transaction is refused for good: it goes again without that one.
    Apart,
    /// Another node has it.
    Elsewhere,
    /// The server says so, with this word.
    Says(&'static str),
    /// No connection.
    Link,
}

impl Trouble {
    /// As notices and reports say it.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Trouble::Apart => "a transaction has a command that the target refuses",
            Trouble::Elsewhere => "slots move to other nodes",
            Trouble::Link => "the connection is lost",
            Trouble::Says("LOADING") => "the target is loading its data (LOADING)",
            Trouble::Says("MASTERDOWN") => "a replica has lost its master (MASTERDOWN)",
            Trouble::Says("OOM") => "the target's memory is full (OOM, maxmemory)",
            Trouble::Says("READONLY") => "the target is a replica (READONLY)",
            Trouble::Says("BUSY") => "the target runs a script (BUSY)",
            Trouble::Says("TRYAGAIN") => "a slot is being moved (TRYAGAIN)",
            Trouble::Says("CLUSTERDOWN") => "the cluster lacks nodes (CLUSTERDOWN)",
            Trouble::Says("MISCONF") => "the target cannot save and takes no writes (MISCONF)",
            Trouble::Says("NOREPLICAS") => "the target lacks replicas (NOREPLICAS)",
            Trouble::Says(_) => "the target has no connection to spare",
        }
    }
}

/// Words that errors begin with, and that pass.
const PASSING: [&str; 9] = [
    "LOADING",
    "MASTERDOWN",
    "OOM",
    "READONLY",
    "BUSY",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "MISCONF",
    "NOREPLICAS",
];

/// What an error means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Not now.
    Later(Trouble),
    /// The slot has another owner.
    Moved(u16, Option<Address>),
    /// Only for this command.
    Ask(Option<Address>),
    /// The key is there.
    Conflict,
    /// Whatever is sent.
    Refused,
    /// Anything else.
    Failed,
}

/// What an error means; `asked` is who says it.
pub(super) fn meaning(text: &[u8], asked: &Address) -> Meaning {
    let mut words = text.split(|&b| b == b' ');
    let word = words.next().unwrap_or_default();
    let mut where_to = || {
        let slot = words.next().and_then(|w| std::str::from_utf8(w).ok());
        let slot = slot.and_then(|s| s.parse::<u16>().ok()).unwrap_or(0);
        let place = words.next().and_then(|w| std::str::from_utf8(w).ok());
        (slot, place.and_then(|p| place_of(p, asked)))
    };
    match word {
        b"MOVED" => {
            let (slot, to) = where_to();
            Meaning::Moved(slot, to)
        }
        b"ASK" => Meaning::Ask(where_to().1),
        b"BUSYKEY" => Meaning::Conflict,
        b"NOAUTH" | b"NOPERM" | b"WRONGPASS" | b"DENIED" => Meaning::Refused,
        _ => match PASSING.iter().find(|w| w.as_bytes() == word) {
            Some(word) => Meaning::Later(Trouble::Says(word)),
            None => Meaning::Failed,
        },
    }
}

/// `host:port`; without a host, or with `?` for one, it is that of the node that was asked.
pub(super) fn place_of(text: &str, asked: &Address) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    node_at(host, port, asked)
}

/// A node at a host that may be empty: that of the node that was asked.
pub(super) fn node_at(host: &str, port: u16, asked: &Address) -> Option<Address> {
    let host = host.trim_matches(['[', ']']);
    match (host, asked) {
        ("" | "?", Address::Tcp(host, _)) => Some(Address::Tcp(host.clone(), port)),
        ("" | "?", Address::Unix(_)) => None,
        (host, _) => Some(Address::Tcp(host.to_owned(), port)),
    }
}

/// The trouble behind an error of connecting or asking, if it may pass.
pub(super) fn of_conversation(e: &RdbError) -> Option<Trouble> {
    if e.io_error().is_some() || e.what().contains("closed the connection") {
        return Some(Trouble::Link);
    }
    if e.what().contains("max number of clients") {
        return Some(Trouble::Says("max number of clients"));
    }
    let (_, says) = e.what().split_once("the server says \"")?;
    PASSING
        .iter()
        .find(|w| says.starts_with(*w))
        .map(|w| Trouble::Says(w))
}

/// How long to wait before try number `n`.
pub(super) fn pause(n: u32) -> Duration {
    Duration::from_millis((50u64 << n.min(6)).min(2000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_errors_mean() {
        let asked = Address::Tcp("h".into(), 1);
        let at = |h: &str, p| Some(Address::Tcp(h.into(), p));
        let rows = [
            (
                "MOVED 5 10.0.0.1:7000",
                Meaning::Moved(5, at("10.0.0.1", 7000)),
            ),
            ("MOVED 5 :7000", Meaning::Moved(5, at("h", 7000))),
            ("MOVED 5 ?:7000", Meaning::Moved(5, at("h", 7000))),
            ("MOVED 5 ::1:7000", Meaning::Moved(5, at("::1", 7000))),
            ("MOVED 5", Meaning::Moved(5, None)),
            ("ASK 5 a.b:7", Meaning::Ask(at("a.b", 7))),
            ("BUSYKEY Target key name already exists.", Meaning::Conflict),
            ("BUSY Redis is busy", Meaning::Later(Trouble::Says("BUSY"))),
            (
                "OOM command not allowed",
                Meaning::Later(Trouble::Says("OOM")),
            ),
            ("BUSYGROUP Consumer", Meaning::Failed),
            ("NOPERM this user", Meaning::Refused),
            ("ERR Bad data format", Meaning::Failed),
            ("", Meaning::Failed),
        ];
        for (text, want) in rows {
            assert_eq!(meaning(text.as_bytes(), &asked), want, "{text}");
        }
    }

    #[test]
    fn pauses_grow_and_end() {
        assert_eq!(pause(0), Duration::from_millis(50));
        assert_eq!(pause(40), Duration::from_secs(2));
    }
}
