//! Append-only files.

use super::Dice;
use crate::aof::manifest::Manifest;
use crate::aof::{Options, Place, Tail};
use crate::command::Raw;
use crate::dump::{Dump, Dumped};
use crate::error::Result;
use crate::filter::{self, Filter, OnConflict, Transform};
use crate::pipeline::Progress;
use crate::sink::Plain;
use crate::source::Source;

/// A log, with RDB data before it or not: what comes out of it is the same at once and in pieces, is whole commands, and comes out of itself
/// again as it is.
pub fn aof(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let mut options = filter::Options::default();
    if dice.below(2) == 0 {
        options.key = vec![filter::Glob::new(b"*[a-m0-4]*")];
    }
    if dice.below(4) == 0 {
        options.db = "0,2-9".parse().ok();
    }
    let mut transform = Transform::default();
    if dice.below(3) == 0 {
        transform.strip = b"k".to_vec();
        transform.add = b"prefix:".to_vec();
    }
    let dump = Dump {
        filter: Filter::new(options, 0).unwrap_or_default(),
        transform,
        threads: 1,
        ignore_checksum: true,
        on_conflict: OnConflict::Replace,
        limit: (dice.below(8) == 0).then(|| dice.below(20) as u64),
        log: Options {
            until: (dice.below(4) == 0).then(|| dice.below(1 << 20) as i64 * 1000),
            tail: match dice.below(3) {
                0 => Tail::Refuse,
                _ => Tail::Cut,
            },
        },
        ..Dump::default()
    };
    let place = Place {
        continues: false,
        base: dice.below(4) == 0,
        last: dice.below(4) > 0,
    };
    let (out, end) = dumped(&dump, Source::from_bytes("log", bytes).at(place));
    let reader = std::io::Cursor::new(bytes.to_vec());
    let step = 16 << dice.below(12);
    let threads = 1 + usize::from(dice.below(8) == 0);
    let again = Dump {
        threads: if dump.limit.is_some() { 1 } else { threads },
        ..dump.clone()
    };
    let pieces = Source::from_reader("log", reader).in_steps(step).at(place);
    let (other, other_end) = dumped(&again, pieces);
    assert_eq!(end.is_ok(), other_end.is_ok());
    // Neither RDB data nor compressed.
    let is_log = matches!(bytes.first(), Some(b'*' | b'#'));
    // Large values of RDB data are cut into other commands where they come in pieces.
    if is_log {
        assert!(out == other, "otherwise in pieces of {step}");
        if let (Ok(a), Ok(b)) = (&end, &other_end) {
            assert_eq!(a.summaries[0].truncated, b.summaries[0].truncated);
        }
    }
    if let (true, Ok(end)) = (is_log, &end)
        && let Some(t) = &end.summaries[0].truncated
    {
        assert!(t.bytes > 0 && t.offset + t.bytes == bytes.len() as u64);
    }
    if let (true, Err(e)) = (is_log, &end)
        && let (Some(whole), Some(at)) = (e.whole(), e.offset())
    {
        assert!(whole <= at && at <= bytes.len() as u64, "{e}");
    }
    // Nothing but whole commands and annotations came out; so that is a log, of which nothing more is left out.
    let mut rest = &out[..];
    while !rest.is_empty() {
        let n = match rest.first() {
            Some(b'#') => rest.iter().position(|&b| b == b'\n').map(|n| n + 1),
            _ => Raw::read(rest, 0)
                .ok()
                .flatten()
                .map(|raw| raw.bytes().len()),
        };
        let Some(n) = n else {
            panic!("no command came out: {}", rest.escape_ascii());
        };
        rest = &rest[n..];
    }
    let plain = Dump {
        threads: 1,
        ..Dump::default()
    };
    let (same, end) = dumped(
        &plain,
        Source::from_bytes("log", out.clone()).at(Place::ALONE),
    );
    if end.is_ok_and(|d| d.summaries[0].truncated.is_none()) {
        assert!(same == out, "not as it was");
    }
}

fn dumped(dump: &Dump, source: Source) -> (Vec<u8>, Result<Dumped>) {
    let mut out = Vec::new();
    let r = dump.run(&mut [source], &Progress::new(), &mut Plain(&mut out));
    (out, r)
}

/// A manifest: what is read is written and read as the same.
pub fn manifest(bytes: &[u8]) {
    match Manifest::read(bytes) {
        Ok(m) if m.files.is_empty() => {}
        Ok(m) => match Manifest::read(&m.write()) {
            Ok(again) => assert_eq!(m, again),
            // A name that was just short enough is longer with its escapes.
            Err(e) => assert!(e.what().contains("a line of more than"), "{e}"),
        },
        Err(e) => super::assert_inside(&e, 0, bytes),
    }
}
