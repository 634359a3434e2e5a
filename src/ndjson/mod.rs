//! The shape of a line.
mod block;
pub mod escape;
pub mod number;
