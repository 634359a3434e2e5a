//! RDB files made by hand, from bytes in hex.

/// The CRC-64 that ends a file: Jones' polynomial, reflected, one bit at a time.
pub fn crc64(bytes: &[u8]) -> u64 {
    const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
    let mut crc = 0;
    for &byte in bytes {
        crc ^= u64::from(byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc >>= 1;
            if carry == 1 {
                crc ^= POLYNOMIAL;
            }
        }
    }
    crc
}

/// Bytes written in hex; spaces and `|` may stand anywhere between bytes.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|b| !matches!(b, b' ' | b'|' | b'\n'))
        .map(|b| (b as char).to_digit(16).expect("a hex digit") as u8)
        .collect();
    assert!(digits.len().is_multiple_of(2), "half a byte in {text}");
    digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
}

/// The nine bytes a file of this version begins with; 80 and above are Valkey's.
pub fn magic(version: u16) -> Vec<u8> {
    if version >= 80 {
        format!("VALKEY{version:03}").into_bytes()
    } else {
        format!("REDIS{version:04}").into_bytes()
    }
}

/// A whole file around `items`: magic, items, end and, from version 5 on, the checksum.
pub fn file(version: u16, items: &[u8]) -> Vec<u8> {
    let mut file = magic(version);
    file.extend_from_slice(items);
    file.push(0xff);
    if version >= 5 {
        let crc = crc64(&file);
        file.extend_from_slice(&crc.to_le_bytes());
    }
    file
}

/// A `DUMP` payload as the value of the key `k` in database 0 of a file of the payload's version.
///
/// Its first `attributes` bytes belong before the type.
pub fn file_of_payload(payload: &[u8], attributes: usize) -> Vec<u8> {
    let (body, version) = unwrap_payload(payload);
    let (attributes, value) = body.split_at(attributes);
    let mut items = vec![0xfe, 0x00];
    items.extend_from_slice(attributes);
    items.push(value[0]);
    items.extend_from_slice(b"\x01k");
    items.extend_from_slice(&value[1..]);
    file(version, &items)
}

/// What a `DUMP` payload holds before its footer, and the version in the footer. Its checksum is verified, unless it is zero.
pub fn unwrap_payload(payload: &[u8]) -> (&[u8], u16) {
    let (covered, crc) = payload.split_last_chunk::<8>().expect("a footer");
    let (body, version) = covered.split_last_chunk::<2>().expect("a footer");
    let crc = u64::from_le_bytes(*crc);
    assert!(
        crc == 0 || crc == crc64(covered),
        "a payload with a wrong checksum"
    );
    (body, u16::from_le_bytes(*version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_digits() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn a_file_is_what_a_server_writes() {
        let items = hex("fe00 fc7bd8c32cbb030000 00 016b 0176 fe02 00 016e c13930");
        let written = hex(
            "524544495330303036fe00fc7bd8c32cbb03000000016b0176fe0200016ec13930ff230a614589cec386",
        );
        assert_eq!(file(6, &items), written);
        assert_eq!(magic(80), b"VALKEY080");
    }
}
