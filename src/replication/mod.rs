//! A live server as a source: the snapshot that it gives a new replica.
//!
//! ```text
//!   connect, AUTH, PING
//!     │
//!   REPLCONF capa eof capa psync2      may send the snapshot as it makes it
//!   REPLCONF version 9.1.0             Valkey 9 else sends one for 8, and fails at hash fields that expire
//!   REPLCONF rdb-only 1                6.2 on: nothing but the snapshot, so nothing piles up for us meanwhile
//!     │
//!   PSYNC ? -1 ──► unknown command ──► SYNC (2.6)
//!     │  ├──► -LOADING, -NOMASTERLINK, closed ... ──► again, a little later
//!     │  └──► other errors: the end
//!   +FULLRESYNC <id> <offset>          line ends meanwhile, one a second: it is saving
//!     │
//!   $<length>            or  $EOF:<40 bytes>            REPLCONF ACK <offset>, each second, however slowly
//!   so many bytes            bytes, the 40 again        the bytes are used; none where rdb-only is known
//!     │
//!   close
//! ```
//!
//! No `REPLCONF listening-port` is sent: the source would tell its Sentinels of a replica on a port where somebody else may listen.
//! The ways to get the snapshot over a second connection (Redis 8, Valkey 8) are not announced, so no server takes them.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::panic
    )
)]

mod handshake;
mod stream;

pub use stream::Stream;

use crate::error::Result;
use crate::net::{self, Endpoint};
use crate::source::Source;
use handshake::Failed;
use std::time::{Duration, Instant};

/// How to act as a replica.
#[derive(Debug, Clone)]
pub struct Options {
    /// How to connect.
    pub net: net::Options,
    /// What PSYNC is called there, as it may be renamed.
    pub psync: String,
    /// How long to try again with a server that cannot now: one that is loading, or a replica that has lost its master.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            net: net::Options::default(),
            psync: "PSYNC".to_owned(),
            patience: Duration::from_secs(60),
        }
    }
}

/// What a server says of the snapshot it sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The id of its history, and how many bytes of that are in the snapshot. SYNC, of servers without PSYNC, tells neither.
    pub history: Option<(String, u64)>,
    /// The length of the RDB file, if it was saved before it was sent.
    pub len: Option<u64>,
}

/// Asks for a snapshot and waits until it begins; then it is read from the stream: the bytes of an RDB file, and no more. The database of
/// the endpoint is ignored, for a snapshot has all of them.
pub fn snapshot(endpoint: &Endpoint, options: &Options) -> Result<(Snapshot, Stream)> {
    let give_up = Instant::now() + options.patience;
    let mut pause = Duration::from_millis(500);
    loop {
        match handshake::begin(endpoint, options) {
            Ok(begun) => {
                let about = Snapshot {
                    history: begun.history.clone(),
                    len: begun.frame.len(),
                };
                return Ok((about, Stream::start(begun)?));
            }
            Err(Failed::Later(_)) if Instant::now() + pause < give_up => {
                std::thread::sleep(pause);
                pause = (2 * pause).min(Duration::from_secs(10));
            }
            Err(Failed::Later(e) | Failed::Now(e)) => return Err(e),
        }
    }
}

/// The same as a [`Source`], for all that reads RDB files.
pub fn source(endpoint: &Endpoint, options: &Options) -> Result<(Snapshot, Source)> {
    let (about, stream) = snapshot(endpoint, options)?;
    let mut source = Source::from_reader(&endpoint.to_string(), stream);
    if let Some(len) = about.len {
        source = source.with_size(len);
    }
    Ok((about, source))
}
