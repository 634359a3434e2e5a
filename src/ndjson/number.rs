//! Numbers in JSON: the shortest decimal that reads back as the same one.
//!
//! ```text
//!   1.5   3   1e300   -0.0   0.30000000000000004      "inf"   "-inf"   "nan"
//! ```
//!
//! What JSON has no number for is a string. A whole number is written without a point, but for negative zero, which would lose
//! its sign.

use crate::out::Out;

/// Appends a double.
///
/// ```
/// use rdbtool::{ndjson::number, out::Out};
/// let mut out = Out::new();
/// for x in [3.0, 0.1, -0.0, f64::INFINITY] {
///     number::double(x, &mut out);
///     out.byte(b' ');
/// }
/// assert_eq!(out.as_bytes(), b"3 0.1 -0.0 \"inf\" ");
/// ```
#[inline]
pub fn double(x: f64, out: &mut Out<'_>) {
    if x.is_finite() {
        out.raw(Text::new().format(x).as_bytes());
    } else {
        not_finite(x, out);
    }
}

/// A place for the text of a double.
pub struct Text {
    whole: itoa::Buffer,
    other: zmij::Buffer,
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Text")
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

impl Text {
    /// An empty place.
    #[inline]
    pub fn new() -> Self {
        Text {
            whole: itoa::Buffer::new(),
            other: zmij::Buffer::new(),
        }
    }

    /// The shortest text that reads back as the same double; `inf`, `-inf` and `nan`, which are no JSON.
    #[inline]
    pub fn format(&mut self, x: f64) -> &str {
        /// From here on not every whole number is a double, and the shortest decimal may be another.
        const WHOLE: f64 = 9_007_199_254_740_992.0;
        if x == x.trunc() && x.abs() < WHOLE && !(x == 0.0 && x.is_sign_negative()) {
            self.whole.format(x as i64)
        } else if x.is_finite() {
            self.other.format_finite(x)
        } else {
            match x {
                f64::INFINITY => "inf",
                f64::NEG_INFINITY => "-inf",
                _ => "nan",
            }
        }
    }
}

/// Appends a single-precision number: what reads back as the same one of these is shorter.
pub fn single(x: f32, out: &mut Out<'_>) {
    if x.is_finite() && x != x.trunc() {
        out.raw(zmij::Buffer::new().format_finite(x).as_bytes());
    } else {
        double(x.into(), out);
    }
}

#[cold]
fn not_finite(x: f64, out: &mut Out<'_>) {
    out.raw(match x {
        f64::INFINITY => b"\"inf\"",
        f64::NEG_INFINITY => b"\"-inf\"",
        _ => b"\"nan\"",
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Out<'_>)) -> String {
        let mut out = Out::new();
        write(&mut out);
        String::from_utf8(out.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn doubles() {
        let rows = [
            (0.0, "0"),
            (-0.0, "-0.0"),
            (3.0, "3"),
            (-17.0, "-17"),
            (1.5, "1.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (f64::INFINITY, "\"inf\""),
            (f64::NEG_INFINITY, "\"-inf\""),
            (f64::NAN, "\"nan\""),
        ];
        for (x, want) in rows {
            assert_eq!(text(|out| double(x, out)), want);
        }
    }

    #[test]
    fn every_double_reads_back() {
        let mut x = 1u64;
        for _ in 0..100_000 {
            x = x
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let d = f64::from_bits(x);
            if d.is_finite() {
                assert_eq!(
                    text(|out| double(d, out)).parse::<f64>().unwrap().to_bits(),
                    x
                );
            }
            let f = f32::from_bits((x >> 32) as u32);
            if f.is_finite() {
                let back = text(|out| single(f, out)).parse::<f32>().unwrap();
                assert_eq!(back.to_bits(), f.to_bits());
            }
        }
        for big in [9_007_199_254_740_992.0, 1e22, 5e-324, f64::MAX, 1.234e17] {
            assert_eq!(text(|out| double(big, out)).parse::<f64>().unwrap(), big);
        }
    }

    #[test]
    fn singles_are_short() {
        assert_eq!(text(|out| single(0.6, out)), "0.6");
        assert_eq!(text(|out| single(3.0, out)), "3");
    }
}
