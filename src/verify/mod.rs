//! Is it whole, is it the same: files looked at for their own sake.
//!
//! ```text
//!   pipeline ──► Checker of each worker ──► Tally ──┐
//!                   aux fields, functions ──► About ┼──► Report ──► text, JSON
//!                          where the run ended ─────┘
//! ```
//!
//! Nothing here reads the format itself: the walks of `rdb/value` do, and this room adds what they do not ask, because a
//! decoder need not know it and a server does.

pub mod check;
mod duplicates;
mod good;
pub mod report;
pub mod tally;
mod walk;

pub use check::Check;
pub use good::write_good;
pub use report::{Report, Verdict};
