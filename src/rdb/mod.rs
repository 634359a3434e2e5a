//! The snapshot format.

pub mod crc64;
pub mod entry;
pub mod header;
pub mod length;
pub mod logical_type;
pub mod lzf;
pub mod opcode;
pub mod packed;
pub mod scan;
pub mod skip;
pub mod string;
pub mod template;
pub mod value;
pub mod value_type;

pub use logical_type::LogicalType;
