//! Commands, appended to a buffer.

use crate::error::Result;
use crate::out::Out;

/// The head of a command of `n` arguments, its name among them.
#[inline]
pub fn head(n: u64, out: &mut Out<'_>) {
    if n < 10 {
        return out.lit(&[b'*', b'0' + n as u8, b'\r', b'\n']);
    }
    out.byte(b'*');
    out.u64(n);
    out.lit(b"\r\n");
}

/// An argument.
#[inline]
pub fn arg(bytes: &[u8], out: &mut Out<'_>) {
    let n = bytes.len();
    let Some(&head) = HEADS.get(n) else {
        arg_len(n as u64, out);
        out.raw(bytes);
        return out.lit(b"\r\n");
    };
    // One look at the room there is for all of it: most arguments are a few bytes long.
    let room = out.room(HEAD + n + 2);
    if let Some(to) = room.first_chunk_mut::<HEAD>() {
        *to = head;
        let skip = usize::from(head[HEAD - 1]);
        // The head is written in full, and what of it is not wanted overwritten.
        if let Some(to) = room.get_mut(skip..skip + n + 2) {
            copy(bytes, to);
            if let Some(end) = to.last_chunk_mut::<2>() {
                *end = *b"\r\n";
            }
        }
        out.advance(skip + n + 2);
    }
}

/// Copies `from` to the start of `to`, which is longer. Short strings go as two blocks that may overlap, without a call.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8]) {
    macro_rules! blocks {
        ($n:literal) => {
            if let (Some(first), Some(last)) = (from.first_chunk::<$n>(), from.last_chunk::<$n>()) {
                let at = from.len() - $n;
                if let Some(to) = to.get_mut(at..at + $n) {
                    to.copy_from_slice(last);
                }
                if let Some(to) = to.first_chunk_mut::<$n>() {
                    *to = *first;
                }
                return;
            }
        };
    }
    if from.len() > 32 {
        if let Some(to) = to.get_mut(..from.len()) {
            to.copy_from_slice(from);
        }
        return;
    }
    blocks!(16);
    blocks!(8);
    blocks!(4);
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Bytes of an entry of [`HEADS`].
const HEAD: usize = 8;

/// What stands before an argument of so many bytes; the last byte says how long that is.
static HEADS: [[u8; HEAD]; 1000] = {
    let mut table = [[0; HEAD]; 1000];
    let mut n = 0;
    while n < table.len() {
        let digits = match n {
            0..10 => 1,
            10..100 => 2,
            _ => 3,
        };
        let mut left = n;
        let mut at = digits;
        while at > 0 {
            table[n][at] = b'0' + (left % 10) as u8;
            left /= 10;
            at -= 1;
        }
        table[n][0] = b'$';
        table[n][digits + 1] = b'\r';
        table[n][digits + 2] = b'\n';
        table[n][HEAD - 1] = digits as u8 + 3;
        n += 1;
    }
    table
};

/// What stands before an argument of `n` bytes; the bytes and a line end must follow.
#[inline]
pub fn arg_len(n: u64, out: &mut Out<'_>) {
    if let Some(head) = usize::try_from(n).ok().and_then(|n| HEADS.get(n)) {
        // Written in full; what of it is not wanted is overwritten.
        if let Some(to) = out.room(HEAD).first_chunk_mut::<HEAD>() {
            *to = *head;
        }
        return out.advance(usize::from(head[HEAD - 1]));
    }
    out.byte(b'$');
    out.u64(n);
    out.lit(b"\r\n");
}

/// An argument too large for the buffer, in pieces.
pub fn arg_pieces(bytes: &[u8], out: &mut Out<'_>) -> Result<()> {
    arg_len(bytes.len() as u64, out);
    raw_pieces(bytes, out)?;
    out.lit(b"\r\n");
    Ok(())
}

/// Bytes of an argument of which more may follow, in pieces.
pub fn raw_pieces(bytes: &[u8], out: &mut Out<'_>) -> Result<()> {
    for piece in bytes.chunks(PIECE) {
        out.raw(piece);
        out.checkpoint()?;
    }
    Ok(())
}

/// So much is appended between two checkpoints.
const PIECE: usize = 256 << 10;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_every_length() {
        let bytes: Vec<u8> = (0..3000).map(|i| (i * 7) as u8).collect();
        for n in (0..70).chain([99, 100, 127, 128, 999, 1000, 1001, 2999]) {
            let mut out = Out::new();
            out.lit(b"x");
            arg(&bytes[..n], &mut out);
            let mut want = format!("x${n}\r\n").into_bytes();
            want.extend_from_slice(&bytes[..n]);
            want.extend_from_slice(b"\r\n");
            assert_eq!(out.as_bytes(), want, "{n}");
            out.truncate(1);
            arg_pieces(&bytes[..n], &mut out).unwrap();
            assert_eq!(out.as_bytes(), want, "{n}, in pieces");
        }
    }
}
