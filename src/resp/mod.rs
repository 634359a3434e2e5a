//! RESP, the protocol of the servers.
//!
//! ```text
//!   command   *3\r\n $3\r\nSET\r\n $1\r\nk\r\n $1\r\nv\r\n      an array of byte strings, each with its length before it
//! ```

pub mod write;
