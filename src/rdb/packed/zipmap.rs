//! zipmap
