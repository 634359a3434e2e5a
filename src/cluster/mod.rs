//! Clusters: which slot a key belongs to, and which node a slot.

pub mod slot;
pub mod topology;
