//! From a key to its slot, one of 16384, as every cluster client and server computes it.
//!
//! ```text
//!   slot = crc16(hash tag of the key) & 3fff
//!
//!   hash tag    the bytes between the first { and the first } after it, when there is at least one;
//!               otherwise the whole key. There is no second try.
//!
//!     {user1000}.following   user1000      foo{}{bar}    whole         {a}{b}   a
//!     foo{{bar}}zap          {bar          a}b{c}d       c             {        whole
//!
//!   crc16       CRC-16/XMODEM: polynomial 1021, starts at 0, nothing reflected, nothing inverted at the end;
//!               "123456789" -> 31c3
//! ```
//!
//! Source: the Redis Cluster specification; compared with `CLUSTER KEYSLOT` of Redis 7.0 and Valkey 9.1. Keys are any
//! bytes, NUL included. Channels of sharded publish/subscribe hash the same way.

/// Number of slots of a cluster; slots are `0..SLOTS`.
pub const SLOTS: u16 = 16384;

const POLYNOMIAL: u16 = 0x1021;

/// `TABLES[k][b]`: the checksum of byte `b` followed by `k` zero bytes. The checksum is linear, so that of eight bytes is
/// the XOR of one entry of each table: eight independent loads in place of a chain of eight.
static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut t = [[0u16; 256]; 8];
    let mut b = 0;
    while b < 256 {
        let mut crc = (b as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= POLYNOMIAL;
            }
            bit += 1;
        }
        t[0][b] = crc;
        b += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut b = 0;
        while b < 256 {
            let before = t[k - 1][b];
            t[k][b] = (before << 8) ^ t[0][(before >> 8) as usize];
            b += 1;
        }
        k += 1;
    }
    t
}

/// The slot of a key, `0..SLOTS`.
///
/// ```
/// use rdbtool::cluster::slot::slot;
/// assert_eq!(slot(b"foo"), 12182);
/// assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
/// ```
#[inline]
pub fn slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) & (SLOTS - 1)
}

/// The bytes of a key that decide its slot: its hash tag, or all of it.
#[inline]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    if let Some(open) = memchr::memchr(b'{', key)
        && let Some(rest) = key.get(open + 1..)
        && let Some(close) = memchr::memchr(b'}', rest)
        && close > 0
    {
        return &rest[..close];
    }
    key
}

/// CRC-16/XMODEM.
#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    // Zeros in front change nothing, since it starts at 0: so what is over comes first, as eight bytes too.
    let over = bytes.len() % 8;
    let (head, rest) = bytes.split_at_checked(over).unwrap_or((bytes, &[]));
    let first = match bytes.first_chunk::<8>() {
        _ if over == 0 => 0,
        Some(eight) => u64::from_be_bytes(*eight) >> (64 - 8 * over),
        None => head.iter().fold(0, |word, &b| word << 8 | u64::from(b)),
    };
    let mut crc = match over {
        0 => 0,
        _ => eight(0, first.to_be_bytes()),
    };
    for &word in rest.as_chunks::<8>().0 {
        crc = eight(crc, word);
    }
    crc
}

/// The checksum of what has the checksum `crc` and then eight bytes.
#[inline]
fn eight(crc: u16, [a, b, c, d, e, f, g, h]: [u8; 8]) -> u16 {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
    let at = |table: &[u16; 256], b: u8| table[usize::from(b)];
    let [high, low] = crc.to_be_bytes();
    at(t7, a ^ high)
        ^ at(t6, b ^ low)
        ^ at(t5, c)
        ^ at(t4, d)
        ^ at(t3, e)
        ^ at(t2, f)
        ^ at(t1, g)
        ^ at(t0, h)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, bit by bit.
    fn plain(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, &b| {
            (0..8).fold(crc ^ (u16::from(b) << 8), |crc, _| {
                (crc << 1) ^ if crc & 0x8000 != 0 { POLYNOMIAL } else { 0 }
            })
        })
    }

    #[test]
    fn check_value() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(plain(b"123456789"), 0x31c3);
    }

    #[test]
    fn eight_at_a_time_equals_bit_by_bit() {
        let bytes: Vec<u8> = (0..400u32).map(|i| (i * i * 31 + i) as u8).collect();
        for start in [0, 1, 5, 300] {
            for len in 0..70 {
                let b = &bytes[start..start + len];
                assert_eq!(crc16(b), plain(b), "{start} + {len}");
            }
        }
        for b in 0..=255u8 {
            assert_eq!(crc16(&[b]), plain(&[b]));
            assert_eq!(crc16(&[b; 8]), plain(&[b; 8]));
        }
    }

    /// Key, the bytes that are hashed, and the slot as servers gave it.
    #[test]
    fn slots_of_servers() {
        let rows: &[(&[u8], &[u8], u16)] = &[
            (b"", b"", 0),
            (b"foo", b"foo", 12182),
            (b"bar", b"bar", 5061),
            (b"123456789", b"123456789", 12739),
            (b"{user1000}.following", b"user1000", 3443),
            (b"user1000", b"user1000", 3443),
            (b"foo{}{bar}", b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", b"{bar", 4015),
            (b"foo{bar}{zap}", b"bar", 5061),
            (b"{\0}", b"\0", 0),
            (b"{}x", b"{}x", 10595),
            (b"{", b"{", 4092),
            (b"}", b"}", 12090),
            (b"a}b{c}d", b"c", 7365),
            (b"{a}{b}", b"a", 15495),
            (b"x{\xff\xfe}y", b"\xff\xfe", 3374),
        ];
        for &(key, tag, want) in rows {
            assert_eq!(hash_tag(key), tag, "{key:?}");
            assert_eq!(slot(key), want, "{key:?}");
        }
    }

    #[test]
    fn tags_by_name() {
        let rows: &[(&str, &[u8], &[u8])] = &[
            ("empty tag", b"{}", b"{}"),
            ("empty tag, then a full one", b"{}{a}", b"{}{a}"),
            ("never closed", b"a{bc", b"a{bc"),
            ("closed before it opens", b"}a{b", b"}a{b"),
            ("closed before and after", b"}{b}", b"b"),
            ("the tag is a brace", b"{{}", b"{"),
            ("the second close is outside", b"{a}}", b"a"),
            ("at the end", b"key{t}", b"t"),
            ("open is the last byte", b"key{", b"key{"),
        ];
        for &(name, key, tag) in rows {
            assert_eq!(hash_tag(key), tag, "{name}");
        }
    }
}
