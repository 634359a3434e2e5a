//! One function a parser: takes any bytes, walks everything that can be reached, and asserts what must hold. For fuzzers, and for
//! the tests that run the same functions over damaged files.

use crate::Decode;
use crate::error::Result;
use crate::pipeline::Progress;
use crate::sink::Count;
use crate::source::Source;

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

/// Checks any bytes.
pub fn check(bytes: &[u8]) -> Result<u64> {
    decode(bytes)
}
