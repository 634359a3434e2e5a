//! The pieces of the format, appended to a buffer: the counterpart of [`length`](super::length) and
//! [`string`](super::string), and the two ways to close what has been written.
//!
//! ```text
//!   payload  = type byte, value, version u16 LE, CRC-64 u64 LE of all before it      RESTORE takes it, DUMP gives it
//!   file end = FF, CRC-64 u64 LE of all before it                                    the latter from version 5 on
//! ```

use super::header::{Dialect, HEADER_LEN, Header};
use super::{crc64, opcode};
use crate::out::Out;

/// Bytes of version and checksum behind a payload.
pub const FOOTER_LEN: usize = 10;

/// A length.
#[inline]
pub fn len(n: u64, out: &mut Out<'_>) {
    match n {
        0..0x40 => out.byte(n as u8),
        0x40..0x4000 => out.lit(&((n as u16) | 0x4000).to_be_bytes()),
        0x4000..=0xffff_ffff => {
            out.byte(0x80);
            out.lit(&(n as u32).to_be_bytes());
        }
        _ => {
            out.byte(0x81);
            out.lit(&n.to_be_bytes());
        }
    }
}

/// A string, as raw bytes.
#[inline]
pub fn string(bytes: &[u8], out: &mut Out<'_>) {
    len(bytes.len() as u64, out);
    out.raw(bytes);
}

/// Magic and version.
pub fn header(h: Header) -> [u8; HEADER_LEN] {
    let text = match h.dialect {
        Dialect::Redis => format!("REDIS{:04}", h.version),
        Dialect::Valkey => format!("VALKEY{:03}", h.version),
    };
    let mut bytes = [0; HEADER_LEN];
    for (to, from) in bytes.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    bytes
}

/// An aux field.
pub fn aux(name: &[u8], value: &[u8], out: &mut Out<'_>) {
    out.byte(opcode::AUX);
    string(name, out);
    string(value, out);
}

/// The opcode that says which database the keys after it are in.
pub fn select_db(db: u64, out: &mut Out<'_>) {
    out.byte(opcode::SELECTDB);
    len(db, out);
}

/// What closes a payload whose type and value have the checksum `crc`.
pub fn footer(crc: u64, version: u32) -> [u8; FOOTER_LEN] {
    let version = (version as u16).to_le_bytes();
    let crc = crc64::combine(crc, crc64::checksum(&version), 2).to_le_bytes();
    let mut bytes = [0; FOOTER_LEN];
    for (to, from) in bytes.iter_mut().zip(version.into_iter().chain(crc)) {
        *to = from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Cursor;
    use crate::rdb::length;

    #[test]
    fn lengths_read_back() {
        for n in [
            0,
            1,
            63,
            64,
            16383,
            16384,
            u64::from(u32::MAX),
            1 << 32,
            u64::MAX,
        ] {
            let mut out = Out::new();
            len(n, &mut out);
            let mut c = Cursor::new(out.as_bytes(), 0);
            assert_eq!(length::read(&mut c, "a length").unwrap(), n);
            assert!(c.is_empty());
        }
    }

    #[test]
    fn footers_are_those_of_servers() {
        // DUMP of "hello" by Redis 7.0 and by Valkey 9.1.
        let crc = crc64::checksum(b"\x00\x05hello");
        let redis = [0x0a, 0x00, 0x63, 0x72, 0xdf, 0x76, 0x65, 0x34, 0x20, 0x0a];
        let valkey = [0x50, 0x00, 0xac, 0x58, 0x16, 0xe7, 0xfb, 0x66, 0x47, 0xfe];
        assert_eq!(footer(crc, 10), redis);
        assert_eq!(footer(crc, 80), valkey);
    }

    #[test]
    fn headers_read_back() {
        for h in [
            Header {
                dialect: Dialect::Redis,
                version: 9,
            },
            Header {
                dialect: Dialect::Redis,
                version: 12,
            },
            Header {
                dialect: Dialect::Valkey,
                version: 80,
            },
        ] {
            assert_eq!(Header::read(&header(h)).unwrap(), h);
        }
    }
}
