//! rdbtool
pub mod cursor;
pub mod encode;
pub mod error;
pub mod ndjson;
pub mod rdb;

pub use error::{ErrorKind, RdbError, Result, quote};
