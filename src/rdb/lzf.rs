//! LZF decompression into a buffer that is kept from string to string.
//!
//! ```text
//!   000nnnnn                       copy the next n+1 bytes of the input             1 to 32
//!   nnndddddd dddddddd  (nnn < 7)  copy n+2 bytes of the output, from d+1 back      3 to 8
//!   111ddddd nnnnnnnn dddddddd     copy n+9 bytes of the output, from d+1 back      9 to 264
//!
//!   01 6161   e0 0e 00   00 62   20 00   01 6262      = 25 x "a", 6 x "b"
//! ```
//!
//! A copy may overlap what it writes: that is how runs are made. Three input bytes give at most 264, so nothing is denser
//! than 88 to 1 and a larger claim is refused before any memory is taken.

use super::string::Scratch;
use crate::error::{RdbError, Result};

/// The most bytes that one byte of LZF data can stand for.
pub const MAX_RATIO: u64 = 88;

/// Bytes past the end of the output that block copies may scribble on.
const SLOP: usize = 32;
/// Output space taken at first; a claim beyond it must prove itself byte by byte.
const FIRST: usize = 1 << 20;

/// What is wrong with LZF data, and where in the compressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// Offset of the instruction in the compressed bytes.
    pub at: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Broken {
    /// As the error of the LZF string that starts at `string` in the file.
    #[cold]
    pub fn into_error(self, string: u64) -> RdbError {
        RdbError::corrupt(
            string,
            format!("LZF data, compressed byte {}: {}", self.at, self.what),
        )
    }
}

/// Decompresses `data`, which must give exactly `len` bytes.
///
/// ```
/// use rdbtool::rdb::{lzf, string::Scratch};
/// let mut scratch = Scratch::new();
/// let out = lzf::decompress(b"\x01aa\xe0\x0e\x00\x00b", 26, &mut scratch).unwrap();
/// assert_eq!(out, b"aaaaaaaaaaaaaaaaaaaaaaaaab");
/// ```
pub fn decompress<'s>(
    data: &[u8],
    len: usize,
    scratch: &'s mut Scratch,
) -> Result<&'s [u8], Broken> {
    let mut space = len.min(FIRST);
    let out = scratch.grow(space + SLOP);
    let (mut i, mut o) = (0, 0);
    loop {
        // An instruction writes up to 264 bytes: stop that much short of the space, unless the space is all there will be.
        let stop = if space < len { space - LONGEST } else { len };
        (i, o) = run(data, i, out, o, stop, len)?;
        if i >= data.len() {
            break;
        }
        space = len.min(space * 2);
        out.resize((space + SLOP).max(out.len()), 0);
    }
    if o != len {
        return Err(Broken {
            at: data.len(),
            what: "less output than the length says",
        });
    }
    Ok(&out[..len])
}

/// The most bytes one instruction writes.
const LONGEST: usize = 264;
/// How far back a reference can reach.
const HISTORY: usize = 8192;
/// How much [`Pieces`] gives at a time, about.
const PIECE: usize = 64 << 10;

/// Strings up to this size are decompressed as a whole; larger ones in [`Pieces`].
pub const WHOLE: usize = 4 << 20;

/// Decompresses a string of any size in a buffer of fixed size, a piece after the other.
#[derive(Debug)]
pub struct Pieces<'a> {
    data: &'a [u8],
    i: usize,
    /// Bytes still to come.
    left: usize,
    buffer: Vec<u8>,
    filled: usize,
}

impl<'a> Pieces<'a> {
    /// Pieces of what `data` decompresses to, which must be `len` bytes.
    pub fn new(data: &'a [u8], len: usize) -> Self {
        Pieces {
            data,
            i: 0,
            left: len,
            buffer: vec![0; HISTORY + PIECE + LONGEST + SLOP],
            filled: 0,
        }
    }

    /// The next piece, `None` behind the last.
    pub fn next_piece(&mut self) -> Result<Option<&[u8]>, Broken> {
        if self.i >= self.data.len() {
            return match self.left {
                0 => Ok(None),
                _ => Err(Broken {
                    at: self.i,
                    what: "less output than the length says",
                }),
            };
        }
        let keep = self.filled.min(HISTORY);
        self.buffer.copy_within(self.filled - keep..self.filled, 0);
        let limit = self.left.saturating_add(keep);
        let (i, o) = run(
            self.data,
            self.i,
            &mut self.buffer,
            keep,
            keep + PIECE,
            limit,
        )?;
        (self.i, self.filled) = (i, o);
        self.left -= o - keep;
        Ok(Some(&self.buffer[keep..o]))
    }
}

/// Executes instructions from byte `i` of `data` on, writing to `out` from `o` on, until the data ends or `stop` bytes are written.
/// More than `limit` are an error. Gives the new `i` and `o`.
#[inline]
fn run(
    data: &[u8],
    mut i: usize,
    out: &mut [u8],
    mut o: usize,
    stop: usize,
    limit: usize,
) -> Result<(usize, usize), Broken> {
    while let Some(&ctrl) = data.get(i) {
        if o >= stop && o < limit {
            break;
        }
        let start = i;
        let broken = |what| Broken { at: start, what };
        let ctrl = usize::from(ctrl);
        i += 1;
        if ctrl < 32 {
            let n = ctrl + 1;
            if o + n > limit {
                return Err(broken("more output than the length says"));
            }
            if let (Some(from), Some(to)) = (
                data.get(i..).and_then(|d| d.first_chunk::<32>()),
                out.get_mut(o..).and_then(|d| d.first_chunk_mut::<32>()),
            ) {
                *to = *from;
            } else {
                match (data.get(i..i + n), out.get_mut(o..o + n)) {
                    (Some(from), Some(to)) => to.copy_from_slice(from),
                    _ => return Err(broken("a literal run past the end of the data")),
                }
            }
            i += n;
            o += n;
            continue;
        }
        let mut n = (ctrl >> 5) + 2;
        if n == 9 {
            let Some(&more) = data.get(i) else {
                return Err(broken("a reference cut short"));
            };
            n += usize::from(more);
            i += 1;
        }
        let Some(&low) = data.get(i) else {
            return Err(broken("a reference cut short"));
        };
        i += 1;
        let distance = ((ctrl & 31) << 8 | usize::from(low)) + 1;
        if distance > o {
            return Err(broken("a reference before the start of the output"));
        }
        if o + n > limit {
            return Err(broken("more output than the length says"));
        }
        copy_back(out, o, distance, n);
        o += n;
    }
    Ok((i, o))
}

/// Copies `n` bytes within `out` to `o` from `distance` before it; the two may overlap.
#[inline(always)]
fn copy_back(out: &mut [u8], o: usize, distance: usize, n: usize) {
    let from = o - distance;
    if distance >= 16 {
        // Blocks of 16 cannot overlap themselves; the last may reach into the slop.
        let mut k = 0;
        loop {
            let Some(&block) = out.get(from + k..).and_then(|b| b.first_chunk::<16>()) else {
                return;
            };
            if let Some(to) = out.get_mut(o + k..).and_then(|b| b.first_chunk_mut::<16>()) {
                *to = block;
            }
            k += 16;
            if k >= n {
                return;
            }
        }
    }
    if distance == 1 {
        let b = out[from];
        out[o..o + n].fill(b);
        return;
    }
    // A short pattern: each copy doubles what can be copied next.
    let mut done = 0;
    while done < n {
        let k = (n - done).min(distance + done);
        out.copy_within(from..from + k, o + done);
        done += k;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain version: a byte at a time. Yardstick of the fast one.
    fn plain(data: &[u8], len: usize) -> Option<Vec<u8>> {
        let mut out: Vec<u8> = Vec::new();
        let mut input = data.iter().copied();
        while let Some(c) = input.next() {
            let c = usize::from(c);
            if c < 32 {
                for _ in 0..=c {
                    out.push(input.next()?);
                }
            } else {
                let mut n = c >> 5;
                if n == 7 {
                    n += usize::from(input.next()?);
                }
                let d = ((c & 31) << 8) + usize::from(input.next()?) + 1;
                for _ in 0..n + 2 {
                    out.push(*out.get(out.len().checked_sub(d)?)?);
                }
            }
            if out.len() > len {
                return None;
            }
        }
        (out.len() == len).then_some(out)
    }

    fn in_pieces(data: &[u8], len: usize) -> Option<Vec<u8>> {
        let mut pieces = Pieces::new(data, len);
        let mut all = Vec::new();
        while let Some(piece) = pieces.next_piece().ok()? {
            all.extend_from_slice(piece);
        }
        Some(all)
    }

    #[test]
    fn fast_equals_plain_on_made_up_data() {
        let mut seed = 1u64;
        let mut random = move || {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) as usize
        };
        let mut scratch = Scratch::new();
        let mut whole = 0;
        for _ in 0..20_000 {
            // Mostly valid instructions, with distances that favour overlaps.
            let (mut data, mut len) = (Vec::new(), 0usize);
            for _ in 0..random() % 24 {
                if len == 0 || random() % 3 == 0 {
                    let n = random() % 32;
                    data.push(n as u8);
                    data.extend((0..=n).map(|_| random() as u8));
                    len += n + 1;
                } else {
                    let (n, d) = (1 + random() % 262, random() % len.min(40));
                    let n = if random() % 2 == 0 { 1 + n % 6 } else { n };
                    if n < 7 {
                        data.push((n << 5) as u8 | (d >> 8) as u8);
                    } else {
                        data.extend([0xe0 | (d >> 8) as u8, (n - 7) as u8]);
                    }
                    data.push(d as u8);
                    len += n + 2;
                }
            }
            if random() % 4 == 0 && !data.is_empty() {
                let at = random() % data.len();
                data[at] = random() as u8;
            }
            let want = plain(&data, len);
            let got = decompress(&data, len, &mut scratch)
                .ok()
                .map(<[u8]>::to_vec);
            whole += usize::from(want.is_some());
            assert_eq!(got, want, "{data:02x?} -> {len}");
            assert_eq!(in_pieces(&data, len), want, "{data:02x?} -> {len}");
        }
        assert!(whole > 10_000, "{whole}");
    }

    #[test]
    fn a_bomb_grows_as_it_proves_itself() {
        // One literal, then references of 264 bytes at distance 1: 3 MiB out of 36 KiB.
        let mut data = vec![0, b'x'];
        let n = 12_000;
        for _ in 0..n {
            data.extend([0xe0, 0xff, 0]);
        }
        let len = 1 + n * 264;
        let mut scratch = Scratch::new();
        assert!(
            decompress(&data, len, &mut scratch)
                .unwrap()
                .iter()
                .all(|&b| b == b'x')
        );
        assert!(in_pieces(&data, len).is_some_and(|all| all == vec![b'x'; len]));
        // The same claim with nothing behind it takes no more than the first space.
        let mut scratch = Scratch::new();
        assert!(decompress(&data[..100], len, &mut scratch).is_err());
        assert!(scratch.grow(0).len() <= FIRST + SLOP);
    }
}
