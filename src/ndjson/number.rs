//! Numbers in JSON.

use crate::out::Out;

/// Appends a double as the shortest decimal that reads back as the same one; `"inf"`, `"-inf"` and `"nan"` as strings,
/// negative zero as `-0.0`.
pub fn double(x: f64, out: &mut Out) {
    if !x.is_finite() {
        out.raw(if x.is_nan() {
            b"\"nan\""
        } else if x > 0.0 {
            b"\"inf\""
        } else {
            b"\"-inf\""
        });
    } else if x == x.trunc()
        && x.abs() < 9_007_199_254_740_992.0
        && !(x == 0.0 && x.is_sign_negative())
    {
        out.i64(x as i64);
    } else {
        out.raw(zmij::Buffer::new().format_finite(x).as_bytes());
    }
}
