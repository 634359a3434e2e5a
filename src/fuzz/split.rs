//! Commands for a target, cut anywhere.

use super::{BASE, Dice};
use crate::resp::read::command::{Arg, Found, Splitter};
use crate::target::split::{Piece, Split};

/// A stream of commands. However it is cut, and whatever counts as large, the same commands come out, and the same are refused.
pub fn split(bytes: &[u8]) {
    // One after the other, all bytes there.
    let (mut want, mut at, mut splitter) = (Vec::new(), 0, Splitter::default());
    let mut args = [Arg::default(); 4];
    let broken = loop {
        match splitter.step(&bytes[at..], BASE + at as u64, &mut args) {
            Ok(Found::Whole(n)) => {
                at += n;
                want.push(at);
                splitter.restart();
            }
            Ok(Found::More) => break false,
            Err(_) => break true,
        }
    };
    let mut dice = Dice::new(bytes);
    for (most, large) in [(bytes.len().max(1), usize::MAX), (1, 30), (40, 64), (7, 1)] {
        let (mut got, mut seen, mut failed) = (Vec::new(), 0, false);
        let mut split = Split::new(large);
        let mut rest = bytes;
        'all: while !rest.is_empty() {
            let (mut part, more) = rest.split_at((1 + dice.below(most)).min(rest.len()));
            rest = more;
            loop {
                let (n, ends) = match split.next(&mut part) {
                    Ok(None) => break,
                    Err(_) => {
                        failed = true;
                        break 'all;
                    }
                    Ok(Some(Piece::Whole(c))) => (c.bytes, true),
                    Ok(Some(Piece::Begin(c))) => (c.bytes, false),
                    Ok(Some(Piece::More(b))) => (b, false),
                    Ok(Some(Piece::End(b))) => (b, true),
                };
                assert_eq!(n, &bytes[seen..seen + n.len()]);
                seen += n.len();
                got.extend(ends.then_some(seen));
            }
        }
        assert_eq!((&got, failed), (&want, broken), "{most}, {large}");
        assert!(failed || split.is_between() == (want.last().copied().unwrap_or(0) == bytes.len()));
    }
}
