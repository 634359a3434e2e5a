//! The shape of a line.
pub mod escape;
pub mod number;
