//! rdbtool
pub mod cursor;
pub mod error;
pub mod rdb;

pub use error::{ErrorKind, RdbError, Result, quote};
