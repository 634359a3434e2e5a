//! RESP, the protocol of the servers.
//!
//! ```text
//!   command   *3\r\n $3\r\nSET\r\n $1\r\nk\r\n $1\r\nv\r\n      an array of byte strings, each with its length before it
//!
//!   reply     +OK\r\n                            a status
//!             -ERR unknown command\r\n           an error
//!             :42\r\n                            an integer
//!             $5\r\nhello\r\n   $-1\r\n          a byte string; none
//!             *2\r\n ...        *-1\r\n          so many replies; none
//! ```
//!
//! That is version 2, which every release speaks unless asked for another, and nobody here asks. Nothing that is read is trusted: what
//! a length announces is neither allocated nor waited for in memory before it has come.

pub mod read;
pub mod write;

pub use read::Reply;
