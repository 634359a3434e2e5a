//! The shape of a line, written and read.
mod block;
pub mod escape;
pub mod number;
pub mod read;
