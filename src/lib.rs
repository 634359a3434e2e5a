//! rdbtool
pub mod cluster;
pub mod cursor;
pub mod decode;
pub mod encode;
pub mod error;
pub mod filter;
pub mod fuzz;
pub mod ndjson;
pub mod pipeline;
pub mod rdb;
pub mod sink;
pub mod source;

pub use decode::Decode;
pub use error::{ErrorKind, RdbError, Result, quote};
pub use pipeline::Progress;
