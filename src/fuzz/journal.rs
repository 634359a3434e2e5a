//! The file of `--resume`.

use crate::target::journal::State;

/// A file to begin with: its first line.
pub const JOURNAL: &[u8] = br#"{"rdbtool_restore":1,"of":{"target":"h:1"},"begun":true,"started_ms":-5,"client":"c","markers":"c","was_empty":true,"position":7,"sum":"0f","keys":3,"bound":9,"conflicts":["ff"],"skipped":1,"failed":2,"restarted":3,"unconfirmed":4,"errors":[{"kind":"ERR","count":2,"first":[[0,"k","ERR x"]]}],"runs":{"h:1":"id"}}"#;

/// The first line, with the sum that it ought to have, and a whole file. What is read is written, and read again, as the same.
pub fn journal(bytes: &[u8]) {
    let _ = State::read(bytes);
    let Ok(line) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(state) = State::read(State::sealed(line.to_owned()).as_bytes()) {
        assert_eq!(State::read(&state.write()), Ok(state));
    }
}
