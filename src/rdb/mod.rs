//! The snapshot format.

pub mod length;
pub mod lzf;
pub mod packed;
pub mod string;
