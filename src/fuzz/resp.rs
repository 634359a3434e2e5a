//! What comes over a connection: replies, and commands.

use super::{BASE, Dice, assert_inside};
use crate::error::Result;
use crate::resp::Reply;
use crate::resp::read::command::{Arg, Found, Splitter};
use crate::resp::read::{End, head};

/// Replies or commands, one behind the other. At once and in pieces they end alike, and fail at the same place.
pub fn resp(bytes: &[u8]) {
    let whole = pieces(bytes, bytes.len().max(1), replies);
    assert_eq!(whole, pieces(bytes, 1, replies));
    assert_eq!(whole, pieces(bytes, 7, replies));
    let whole = pieces(bytes, bytes.len().max(1), commands);
    assert_eq!(whole, pieces(bytes, 1, commands));
    assert_eq!(whole, pieces(bytes, 7, commands));
}

/// Where each thing ends, and the place of the error, if there is one.
type Ends = (Vec<usize>, Option<u64>);

/// A parser that is given more and more of what starts at an offset: the length of what is whole.
type Step<'s> = Box<dyn FnMut(&[u8], u64) -> Result<Option<usize>> + 's>;

fn pieces(bytes: &[u8], most: usize, parser: fn() -> Step<'static>) -> Ends {
    let mut dice = Dice::new(bytes);
    let mut step = parser();
    let (mut ends, mut start, mut there) = (Vec::new(), 0, 0);
    loop {
        match step(&bytes[start..there], BASE + start as u64) {
            Ok(Some(n)) => {
                assert!(n > 0 && n <= there - start);
                start += n;
                ends.push(start);
            }
            Ok(None) if there == bytes.len() => return (ends, None),
            Ok(None) => there = (there + 1 + dice.below(most)).min(bytes.len()),
            Err(e) => {
                assert_inside(&e, BASE, bytes);
                return (ends, e.offset());
            }
        }
    }
}

fn replies() -> Step<'static> {
    let mut end = End::default();
    Box::new(move |bytes, base| {
        // A line by itself agrees with the reply it begins.
        let line = head(bytes, base)?;
        let found = end.find(bytes, base)?;
        if let Some(n) = found {
            assert!(line.is_some_and(|(_, len)| len <= n));
            let reply = Reply::read(&bytes[..n], base)?;
            assert!(reply.is_some());
            assert_eq!(reply, Reply::read(bytes, base)?);
            assert_eq!(Reply::read(&bytes[..n - 1], base)?, None);
        }
        Ok(found)
    })
}

fn commands() -> Step<'static> {
    let mut splitter = Splitter::default();
    let mut args = [Arg::default(); 4];
    Box::new(move |bytes, base| {
        let found = splitter.step(bytes, base, &mut args)?;
        assert!(splitter.complete() <= splitter.args());
        let room = args.len().min(splitter.complete() as usize);
        let mut last = 0;
        for arg in &args[..room] {
            assert!(arg.start > last && arg.of(bytes).len() as u64 == arg.len);
            last = arg.start + arg.of(bytes).len();
        }
        Ok(match found {
            Found::Whole(n) => {
                assert_eq!(splitter.complete(), splitter.args());
                assert!(splitter.begun().is_none());
                // A command is also what a reply may be.
                assert_eq!(End::default().find(bytes, base)?, Some(n));
                splitter.restart();
                Some(n)
            }
            Found::More => {
                if let Some(arg) = splitter.begun() {
                    assert!(arg.start >= last && arg.start <= bytes.len());
                    assert!((arg.of(bytes).len() as u64) <= arg.len);
                }
                None
            }
        })
    })
}
