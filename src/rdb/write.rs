//! The pieces of the format, appended to a buffer: the counterpart of [`length`](super::length) and
//! [`RdbStr`], and the two ways to close what has been written.
//!
//! ```text
//!   payload  = type byte, value, version u16 LE, CRC-64 u64 LE of all before it      RESTORE takes it, DUMP gives it
//!   file end = FF, CRC-64 u64 LE of all before it                                    the latter from version 5 on
//! ```

use super::header::{Dialect, HEADER_LEN, Header};
use super::packed::Element;
use super::string::{self, Form, RdbStr};
use super::{crc64, opcode};
use crate::error::Result;
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

/// Bytes that are copied at once.
const PIECE: usize = 256 << 10;

/// Bytes as they are, however many: in pieces, so that the buffer stays within its budget.
#[inline]
pub fn bytes(bytes: &[u8], out: &mut Out<'_>) -> Result<()> {
    if bytes.len() <= PIECE {
        out.raw(bytes);
        return Ok(());
    }
    for piece in bytes.chunks(PIECE) {
        out.raw(piece);
        out.checkpoint()?;
    }
    Ok(())
}

/// A string that is the decimal text of an integer: as an integer where there is a form for it.
#[inline]
pub fn int(n: i64, out: &mut Out<'_>) {
    const SPECIAL: u8 = 0xc0;
    if let Ok(n) = i8::try_from(n) {
        out.lit(&[SPECIAL | string::ENC_INT8, n as u8]);
    } else if let Ok(n) = i16::try_from(n) {
        out.byte(SPECIAL | string::ENC_INT16);
        out.lit(&n.to_le_bytes());
    } else if let Ok(n) = i32::try_from(n) {
        out.byte(SPECIAL | string::ENC_INT32);
        out.lit(&n.to_le_bytes());
    } else {
        string(itoa::Buffer::new().format(n).as_bytes(), out);
    }
}

/// A string that is an element of a packed blob or of anything else.
#[inline]
pub fn element(e: Element<'_>, out: &mut Out<'_>) -> Result<()> {
    match e {
        Element::Int(n) => {
            int(n, out);
            Ok(())
        }
        Element::Bytes(b) => {
            len(b.len() as u64, out);
            bytes(b, out)
        }
    }
}

/// A string in the form in which it was read.
#[inline]
pub fn rdb_str(s: &RdbStr<'_>, out: &mut Out<'_>) -> Result<()> {
    match s.form() {
        Form::Raw(b) => element(Element::Bytes(b), out),
        Form::Int(n) => element(Element::Int(n.into()), out),
        Form::Lzf { data, len: n } => {
            out.byte(0xc0 | string::ENC_LZF);
            len(data.len() as u64, out);
            len(n as u64, out);
            bytes(data, out)
        }
    }
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
    let crc = crc64::extend(crc, &version).to_le_bytes();
    let mut bytes = [0; FOOTER_LEN];
    for (to, from) in bytes.iter_mut().zip(version.into_iter().chain(crc)) {
        *to = from;
    }
    bytes
}

/// What closes a file with this header of which all bytes before, the header among them, have the checksum `crc`.
pub fn file_end(crc: u64, h: Header) -> Vec<u8> {
    let mut bytes = vec![opcode::EOF];
    if h.has_checksum() {
        let crc = crc64::extend(crc, &bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Cursor;
    use crate::rdb::length;

    #[test]
    fn strings_read_back_in_their_form() {
        let rows: [&[u8]; 7] = [
            b"\x00",
            b"\x05hello",
            b"\xc0\xfb",
            b"\xc1\x7f\xff",
            b"\xc2\x87\xd6\x12\x00",
            b"\x0a2147483648",
            b"\xc3\x0d\x1f\x01aa\xe0\x0e\x00\x00b\x20\x00\x01bb",
        ];
        for bytes in rows {
            let s = RdbStr::read(&mut Cursor::new(bytes, 0)).unwrap();
            let mut out = Out::new();
            rdb_str(&s, &mut out).unwrap();
            assert_eq!(out.as_bytes(), bytes);
        }
        let mut out = Out::new();
        int(2_147_483_648, &mut out);
        assert_eq!(out.as_bytes(), rows[5]);
    }

    #[test]
    fn a_file_ends_as_servers_end_it() {
        let file = b"REDIS0001\xfe\0\0\x01k\x01v";
        let h = Header::read(file).unwrap();
        assert_eq!(file_end(crc64::checksum(file), h), [0xff]);
        let file = b"REDIS0006\xfe\0\xfc\x7b\xd8\xc3\x2c\xbb\x03\0\0\0\x01k\x01v\xfe\x02\0\x01n\xc1\x39\x30";
        let h = Header::read(file).unwrap();
        let want = b"\xff\x23\x0a\x61\x45\x89\xce\xc3\x86";
        assert_eq!(file_end(crc64::checksum(file), h), want);
    }

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
