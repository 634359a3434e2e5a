//! Sixteen bytes at a time: which of them JSON wants escaped, and which are not ASCII.
#![allow(unsafe_code)] // one call, of a function that needs SSE2, which every x86-64 has

/// A bit for each byte that must be escaped, and one for each that is not ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) escape: u32,
    pub(super) high: u32,
}

/// Looks at sixteen bytes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn classify(bytes: &[u8; 16]) -> Marks {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128};
    // SAFETY: SSE2 is part of every x86-64, and the reference is to sixteen bytes, which need no alignment here.
    unsafe { classify_sse2(_mm_loadu_si128(bytes.as_ptr().cast::<__m128i>())) }
}

/// Looks at sixteen bytes that are in two words, the first in the lowest bits.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn classify_words(low: u64, high: u64) -> Marks {
    use std::arch::x86_64::_mm_set_epi64x;
    // SAFETY: SSE2 is part of every x86-64.
    unsafe { classify_sse2(_mm_set_epi64x(high as i64, low as i64)) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn classify_sse2(v: std::arch::x86_64::__m128i) -> Marks {
    use std::arch::x86_64::*;
    let control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
    let quote = _mm_cmpeq_epi8(v, _mm_set1_epi8(b'"' as i8));
    let backslash = _mm_cmpeq_epi8(v, _mm_set1_epi8(b'\\' as i8));
    let escape = _mm_or_si128(control, _mm_or_si128(quote, backslash));
    Marks {
        escape: _mm_movemask_epi8(escape) as u32,
        high: _mm_movemask_epi8(v) as u32,
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn classify(bytes: &[u8; 16]) -> Marks {
    classify_plain(bytes)
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn classify_words(low: u64, high: u64) -> Marks {
    classify_plain(&(u128::from(low) | u128::from(high) << 64).to_le_bytes())
}

/// The same a byte at a time.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn classify_plain(bytes: &[u8; 16]) -> Marks {
    let (mut escape, mut high) = (0, 0);
    for (i, &b) in bytes.iter().enumerate() {
        escape |= u32::from(b < 0x20 || b == b'"' || b == b'\\') << i;
        high |= u32::from(b >= 0x80) << i;
    }
    Marks { escape, high }
}

/// At most fifteen bytes as two words, zeros behind them.
#[inline(always)]
pub(super) fn words(bytes: &[u8]) -> (u64, u64) {
    let n = bytes.len() as u32;
    // Two overlapping loads; the second is shifted down to where the first ends.
    if let (Some(a), Some(b)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        let high = u64::from_le_bytes(*b).unbounded_shr(8u32.wrapping_mul(16u32.wrapping_sub(n)));
        return (u64::from_le_bytes(*a), high);
    }
    if let (Some(a), Some(b)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let high = u64::from(u32::from_le_bytes(*b)) << (8 * (n - 4));
        return (u64::from(u32::from_le_bytes(*a)) | high, 0);
    }
    let mut low = 0;
    for (i, &b) in bytes.iter().enumerate() {
        low |= u64::from(b) << (8 * i);
    }
    (low, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_equal_plain() {
        let bytes: Vec<u8> = (1..=15).collect();
        for n in 0..16 {
            let mut want = [0; 16];
            want[..n].copy_from_slice(&bytes[..n]);
            let (low, high) = words(&bytes[..n]);
            assert_eq!(low.to_le_bytes(), want[..8], "{n}");
            assert_eq!(high.to_le_bytes(), want[8..], "{n}");
        }
    }

    #[test]
    fn classify_equals_plain() {
        for b in 0..=255u8 {
            for at in 0..16 {
                let mut block = [b'x'; 16];
                block[at] = b;
                block[15 - at] = b.wrapping_mul(7);
                let v = u128::from_le_bytes(block);
                assert_eq!(classify(&block), classify_plain(&block));
                assert_eq!(
                    classify_words(v as u64, (v >> 64) as u64),
                    classify_plain(&block)
                );
            }
        }
    }
}
