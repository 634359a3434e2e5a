//! Encoders.
pub mod out;
