//! Live servers: an address, a connection, a conversation.
//!
//! ```text
//!   url          redis://ann:secret@host:6379/2     -> Endpoint
//!   connection   TCP, TLS or a unix socket; never blocks unless asked to
//!                  exchange()   writes what goes, reads what is there      wait()   sleeps until one of many has something to do
//!   client       AUTH, SELECT, one command and its answer at a time
//! ```
//!
//! Every wait has an end: [`Timeouts`]. An error says whose server, what was asked, what it answered, and what may be done about it;
//! none has a password in it.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::panic
    )
)]

pub mod client;
pub mod connection;
mod tls;
pub mod url;

pub use client::{Client, Info, Role};
pub use connection::{Connection, Exchanged, Wait, wait};
pub use url::{Address, Endpoint, Secret};

use std::path::PathBuf;
use std::time::Duration;

/// How to connect, beside what the URL says.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Who to be, if the URL names nobody.
    pub user: Option<String>,
    /// The password, if the URL has none.
    pub password: Option<Secret>,
    /// TLS.
    pub tls: TlsOptions,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// What CLIENT LIST shows; `rdbtool` unless given.
    pub name: Option<String>,
}

/// How to speak TLS: redis-cli's options.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Whether to speak it though the URL does not say so.
    pub enabled: bool,
    /// A file of certificates (PEM) to trust, instead of the system's.
    pub cacert: Option<PathBuf>,
    /// A directory of such files.
    pub cacertdir: Option<PathBuf>,
    /// The client's certificate and those it was signed with (PEM).
    pub cert: Option<PathBuf>,
    /// Its private key (PEM).
    pub key: Option<PathBuf>,
    /// Whether to believe any certificate.
    pub insecure: bool,
    /// The name to ask for and to find in the certificate, instead of the URL's.
    pub sni: Option<String>,
}

/// How long to wait for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For each of its addresses to take the connection, and then for the TLS handshake.
    pub connect: Duration,
    /// For it to take or send a single byte.
    pub io: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(10),
            io: Duration::from_secs(60),
        }
    }
}

/// The password that the environment has: `REDISCLI_AUTH`, as for redis-cli, or `VALKEYCLI_AUTH`, as for valkey-cli.
///
/// Weaker than one that was given in any other way.
pub fn password_from_env() -> Option<Secret> {
    ["REDISCLI_AUTH", "VALKEYCLI_AUTH"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|v| !v.is_empty())
        .map(|v| Secret::new(v.into_encoded_bytes()))
}
