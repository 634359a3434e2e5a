//! ziplist
