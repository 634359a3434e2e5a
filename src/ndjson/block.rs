//! Sixteen bytes at a time: which of them JSON wants escaped, and which are not ASCII.
#![allow(unsafe_code)] // one call, of a function that needs SSE2, which every x86-64 has

/// Sixteen bytes of input, those past its end zero.
#[derive(Clone, Copy)]
pub(super) struct Block([u8; 16]);

impl Block {
    /// Sixteen bytes.
    #[inline(always)]
    pub(super) fn whole(bytes: [u8; 16]) -> Block {
        Block(bytes)
    }

    /// The bytes.
    #[inline(always)]
    pub(super) fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// One of them, by its place modulo 16.
    #[inline(always)]
    pub(super) fn byte(self, at: usize) -> u8 {
        self.0[at & 15]
    }

    /// The first bytes of `bytes`, of which there are at most 15, zeros behind them.
    #[inline(always)]
    pub(super) fn partial(bytes: &[u8]) -> Block {
        let n = bytes.len();
        // Two overlapping loads; the second is shifted down to where the first ends.
        let (low, high) = if n >= 8 {
            match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
                (Some(a), Some(b)) => (
                    u64::from_le_bytes(*a),
                    u64::from_le_bytes(*b).unbounded_shr(8 * (16 - n as u32)),
                ),
                _ => (0, 0),
            }
        } else if n >= 4 {
            match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
                (Some(a), Some(b)) => (
                    u64::from(u32::from_le_bytes(*a))
                        | u64::from(u32::from_le_bytes(*b)) << (8 * (n - 4)),
                    0,
                ),
                _ => (0, 0),
            }
        } else {
            let mut low = 0;
            for (i, &b) in bytes.iter().enumerate() {
                low |= u64::from(b) << (8 * i);
            }
            (low, 0)
        };
        Block(((u128::from(high) << 64) | u128::from(low)).to_le_bytes())
    }

    /// A bit for each byte that must be escaped, and one for each that is not ASCII.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn classify(self) -> (u32, u32) {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe { self.classify_sse2() }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "sse2")]
    #[inline]
    fn classify_sse2(self) -> (u32, u32) {
        use std::arch::x86_64::*;
        let v = u128::from_le_bytes(self.0);
        let v = _mm_set_epi64x((v >> 64) as i64, v as i64);
        let control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
        let quote = _mm_cmpeq_epi8(v, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(v, _mm_set1_epi8(b'\\' as i8));
        let escape = _mm_or_si128(control, _mm_or_si128(quote, backslash));
        (
            _mm_movemask_epi8(escape) as u32,
            _mm_movemask_epi8(v) as u32,
        )
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub(super) fn classify(self) -> (u32, u32) {
        self.classify_plain()
    }

    /// The same a byte at a time.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn classify_plain(self) -> (u32, u32) {
        let (mut escape, mut high) = (0, 0);
        for (i, &b) in self.0.iter().enumerate() {
            escape |= u32::from(b < 0x20 || b == b'"' || b == b'\\') << i;
            high |= u32::from(b >= 0x80) << i;
        }
        (escape, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_equals_plain() {
        let bytes: Vec<u8> = (1..=15).collect();
        for n in 0..16 {
            let mut want = [0; 16];
            want[..n].copy_from_slice(&bytes[..n]);
            assert_eq!(Block::partial(&bytes[..n]).bytes(), want, "{n}");
        }
    }

    #[test]
    fn classify_equals_plain() {
        for b in 0..=255u8 {
            for at in 0..16 {
                let mut block = [b'x'; 16];
                block[at] = b;
                block[15 - at] = b.wrapping_mul(7);
                assert_eq!(Block(block).classify(), Block(block).classify_plain());
            }
        }
    }
}
