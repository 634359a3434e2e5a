//! CRC-64 with the polynomial of D. Jones, as files and payloads carry it.
//!
//! ```text
//!   width 64   poly ad93d23594c935a9   init 0   reflected   xorout 0      "123456789" -> e9c6d914c4b8d9ca
//! ```
//!
//! Not the CRC-64 of xz, nor that of NVMe, whose polynomial begins with the same digits. With init and xorout 0 the CRCs of
//! parts can be combined, which is how it is computed by all threads at once.

use crc_fast::CrcAlgorithm::Crc64Redis;

/// The CRC of `bytes`.
///
/// ```
/// assert_eq!(rdbtool::rdb::crc64::checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
/// ```
pub fn checksum(bytes: &[u8]) -> u64 {
    crc_fast::checksum(Crc64Redis, bytes)
}

/// The CRC of what has the CRC `crc` and then a few more bytes, one at a time.
pub fn extend(crc: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(crc, |crc, b| TABLE[usize::from(crc as u8 ^ b)] ^ (crc >> 8))
}

/// The CRC of each byte.
static TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (POLY & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// The CRC of two parts one after the other, from the CRC of each and the length of the second.
///
/// The first is multiplied by x^(8 * length) modulo the polynomial: one multiplication for each bit that is set in the length.
/// `crc_fast::checksum_combine` gives the same but took 50 us, a tenth of the time of a batch.
pub fn combine(first: u64, second: u64, second_len: u64) -> u64 {
    let mut crc = first;
    let mut n = second_len;
    while n != 0 {
        crc = multiply(POWERS[n.trailing_zeros() as usize], crc);
        n &= n - 1;
    }
    crc ^ second
}

/// The polynomial, reflected: bit 63 is the coefficient of 1.
const POLY: u64 = 0x95ac_9329_ac4b_c9b5;

/// x^(8 * 2^k) for each k.
static POWERS: [u64; 64] = {
    let mut powers = [0; 64];
    // x^8
    let mut p = 1 << (63 - 8);
    let mut k = 0;
    while k < 64 {
        powers[k] = p;
        p = multiply(p, p);
        k += 1;
    }
    powers
};

/// The product of two polynomials modulo the polynomial of the CRC.
const fn multiply(a: u64, mut b: u64) -> u64 {
    let (mut product, mut bit) = (0, 63);
    loop {
        product ^= b & ((a >> bit) & 1).wrapping_neg();
        if bit == 0 {
            return product;
        }
        b = (b >> 1) ^ (POLY & (b & 1).wrapping_neg());
        bit -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bit at a time.
    fn plain(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0u64, |crc, &b| {
            (0..8).fold(crc ^ u64::from(b), |crc, _| {
                (crc >> 1) ^ if crc & 1 == 1 { POLY } else { 0 }
            })
        })
    }

    #[test]
    fn equals_the_plain_one_and_combines() {
        let bytes: Vec<u8> = (0..5000u32).map(|i| (i * i / 7) as u8).collect();
        for n in [0, 1, 7, 8, 15, 16, 127, 128, 129, 1000, 4096, 5000] {
            assert_eq!(checksum(&bytes[..n]), plain(&bytes[..n]), "{n}");
            let (a, b) = bytes.split_at(n);
            assert_eq!(
                combine(checksum(a), checksum(b), b.len() as u64),
                checksum(&bytes),
                "{n}"
            );
            assert_eq!(extend(checksum(a), b), checksum(&bytes), "{n}");
        }
        for len in [0, 1, 255, 256 << 10, u64::from(u32::MAX), 1 << 40, u64::MAX] {
            let theirs = crc_fast::checksum_combine(Crc64Redis, 0x0123_4567_89ab_cdef, 42, len);
            assert_eq!(combine(0x0123_4567_89ab_cdef, 42, len), theirs, "{len}");
        }
    }
}
