//! Commands, appended to a buffer.

use crate::out::Out;

/// The head of a command of `n` arguments, its name among them.
#[inline]
pub fn head(n: u64, out: &mut Out<'_>) {
    out.byte(b'*');
    out.u64(n);
    out.lit(b"\r\n");
}

/// An argument.
#[inline]
pub fn arg(bytes: &[u8], out: &mut Out<'_>) {
    arg_len(bytes.len() as u64, out);
    out.raw(bytes);
    out.lit(b"\r\n");
}

/// What stands before an argument of `n` bytes; the bytes and a line end must follow.
#[inline]
pub fn arg_len(n: u64, out: &mut Out<'_>) {
    out.byte(b'$');
    out.u64(n);
    out.lit(b"\r\n");
}

/// An argument that is a number.
#[inline]
pub fn arg_i64(n: i64, out: &mut Out<'_>) {
    arg(itoa::Buffer::new().format(n).as_bytes(), out);
}

/// An argument that is a number.
#[inline]
pub fn arg_u64(n: u64, out: &mut Out<'_>) {
    arg(itoa::Buffer::new().format(n).as_bytes(), out);
}

/// A whole command.
///
/// ```
/// use rdbtool::{out::Out, resp::write};
/// let mut out = Out::new();
/// write::command(&[b"SELECT", b"3"], &mut out);
/// assert_eq!(out.as_bytes(), b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n");
/// ```
pub fn command(args: &[&[u8]], out: &mut Out<'_>) {
    head(args.len() as u64, out);
    for a in args {
        arg(a, out);
    }
}
