//! One function a parser: takes any bytes, walks everything that can be reached, and asserts what must hold. For fuzzers, and for
//! the tests that run the same functions over damaged files.

use crate::Decode;
use crate::error::Result;
use crate::pipeline::{OnError, Progress};
use crate::sink::Count;
use crate::source::Source;
use crate::verify::Check;

/// Decodes any bytes to JSON, which is counted; the checksum is not enforced. Gives the number of keys.
pub fn decode(bytes: &[u8]) -> Result<u64> {
    let options = Decode {
        threads: 1,
        ignore_checksum: true,
        ..Decode::default()
    };
    let mut sources = [Source::from_reader(
        "input",
        std::io::Cursor::new(bytes.to_vec()),
    )];
    let summaries = options.run(&mut sources, &Progress::new(), &mut Count::default())?;
    Ok(summaries.iter().map(|s| s.keys).sum())
}

/// Checks any bytes; the checksum is not enforced. Gives the number of keys that are whole.
///
/// Asserts that a check which passes over broken values comes to the same: it ends where the other does, or goes on behind a
/// value that ended the other.
pub fn check(bytes: &[u8]) -> Result<u64> {
    let run = |on_error| {
        let check = Check {
            threads: 1,
            ignore_checksum: true,
            on_error,
            now_ms: 0,
        };
        let mut source = Source::from_reader("input", std::io::Cursor::new(bytes.to_vec()));
        check.run(&mut source, &Progress::new())
    };
    let stopping = run(OnError::Stop);
    let skipping = run(OnError::Skip);
    assert!(stopping.keys <= skipping.keys);
    if let Some(tally) = &stopping.tally {
        assert_eq!(stopping.keys, tally.total().total().keys);
    }
    if let Some(tally) = &skipping.tally {
        assert_eq!(skipping.keys, tally.total().total().keys);
        assert_eq!(stopping.error.is_some(), tally.broken.count > 0);
    }
    match stopping.error {
        Some(e) => Err(e),
        None => Ok(stopping.keys),
    }
}
