//! Clusters: which slot a key belongs to.

pub mod slot;
