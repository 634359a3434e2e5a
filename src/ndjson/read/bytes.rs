//! Byte strings: the S of `docs/json.md`, and names.
//!
//! ```text
//!   "caf\u00e9"            ->  63 61 66 c3 a9
//!   {"base64":"/wA="}      ->  ff 00
//!   "base64:/wA="          ->  ff 00        where JSON wants a name
//! ```

use super::gather::{Gather, Sink};
use super::lexer::Lexer;
use crate::error::{RdbError, Result};

/// What a name that is base64 begins with.
const NAME: &[u8] = b"base64:";
/// How much base64 is decoded at a time; a multiple of four.
const PIECE: usize = 4096;

/// Appends an S as a string of RDB.
#[inline]
pub(super) fn string(lex: &mut Lexer<'_>, scratch: &mut Gather, to: &mut Gather) -> Result<()> {
    if lex.peek()? == Some(b'"')
        && let Some(bytes) = lex.plain()?
    {
        return to.string(bytes);
    }
    scratch.clear();
    bytes(lex, scratch)?;
    to.string_of(scratch)
}

/// Appends the bytes of an S.
pub(super) fn bytes(lex: &mut Lexer<'_>, to: &mut impl Sink) -> Result<()> {
    match lex.peek()? {
        Some(b'"') => match lex.plain()? {
            Some(bytes) => to.put(bytes),
            None => lex.text(to),
        },
        Some(b'{') => base64_object(lex, to),
        _ => Err(lex.expected("a string, or an object {\"base64\":\"...\"}")),
    }
}

/// Appends the bytes of an object `{"base64":"..."}`.
pub(super) fn base64_object(lex: &mut Lexer<'_>, to: &mut impl Sink) -> Result<()> {
    const EXPECTED: &str = "an object {\"base64\":\"...\"}";
    lex.punctuation(b'{', EXPECTED)?;
    if lex.peek()? != Some(b'"') {
        return Err(lex.expected("the name \"base64\""));
    }
    let at = lex.offset();
    if lex.name()? != b"base64" {
        let what = format!("{} where a byte string is: expected {EXPECTED}", lex.last());
        return Err(lex.corrupt(at, what));
    }
    if lex.peek()? != Some(b'"') {
        return Err(lex.expected("base64, a string"));
    }
    let mut base64 = Base64::new(lex, to);
    lex.text(&mut base64)?;
    base64.end()?;
    match lex.more(b'}', &mut false)? {
        true => Err(lex.expected("nothing beside \"base64\" in a byte string")),
        false => Ok(()),
    }
}

/// Appends a name as a string of RDB, and passes the colon.
pub(super) fn name(lex: &mut Lexer<'_>, scratch: &mut Gather, to: &mut Gather) -> Result<()> {
    if lex.peek()? != Some(b'"') {
        return Err(lex.expected("a name"));
    }
    let (at, line) = (lex.offset(), lex.line());
    match lex.plain()? {
        Some(bytes) if !bytes.starts_with(NAME) => to.string(bytes)?,
        Some(bytes) => {
            let bytes = bytes.to_vec();
            scratch.clear();
            let mut base64 = Base64 {
                at,
                line,
                ..Base64::new(lex, scratch)
            };
            base64.put(bytes.get(NAME.len()..).unwrap_or_default())?;
            base64.end()?;
            to.string_of(scratch)?;
        }
        None => {
            scratch.clear();
            let mut name = Name {
                start: Vec::new(),
                is_base64: false,
                base64: Base64::new(lex, scratch),
            };
            lex.text(&mut name)?;
            name.end()?;
            to.string_of(scratch)?;
        }
    }
    lex.punctuation(b':', "a colon")
}

/// Text that may turn out to be base64.
struct Name<'t, S> {
    /// What has come while that is not known.
    start: Vec<u8>,
    is_base64: bool,
    base64: Base64<'t, S>,
}

impl<S: Sink> Sink for Name<'_, S> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.is_base64 {
            return self.base64.put(bytes);
        }
        if self.start.len() == NAME.len() {
            return self.base64.to.put(bytes);
        }
        let room = (NAME.len() - self.start.len()).min(bytes.len());
        let (start, rest) = bytes.split_at(room);
        self.start.extend_from_slice(start);
        if self.start.len() < NAME.len() {
            return Ok(());
        }
        self.is_base64 = self.start == NAME;
        if !self.is_base64 {
            self.base64.to.put(&self.start)?;
        }
        self.put(rest)
    }
}

impl<S: Sink> Name<'_, S> {
    fn end(&mut self) -> Result<()> {
        if self.is_base64 {
            self.base64.end()
        } else if self.start.len() < NAME.len() {
            self.base64.to.put(&self.start)
        } else {
            Ok(())
        }
    }
}

/// Decodes base64 that comes in pieces.
struct Base64<'t, S> {
    to: &'t mut S,
    /// Up to three characters of a group that is not whole.
    open: Vec<u8>,
    /// Whether padding has been met.
    padded: bool,
    at: u64,
    line: u64,
}

impl<'t, S: Sink> Base64<'t, S> {
    fn new(lex: &Lexer<'_>, to: &'t mut S) -> Self {
        Base64 {
            to,
            open: Vec::new(),
            padded: false,
            at: lex.offset(),
            line: lex.line(),
        }
    }

    #[cold]
    fn broken(&self) -> RdbError {
        let what = "not base64 (standard alphabet, padded with =)";
        RdbError::corrupt(self.at, what).on_line(self.line)
    }

    /// Decodes whole groups.
    fn groups(&mut self, text: &[u8]) -> Result<()> {
        use base64_simd::AsOut;
        let mut room = [0; PIECE / 4 * 3];
        for piece in text.chunks(PIECE) {
            if self.padded {
                return Err(self.broken());
            }
            self.padded = piece.ends_with(b"=");
            match base64_simd::STANDARD.decode(piece, room.as_mut_slice().as_out()) {
                Ok(bytes) => self.to.put(bytes)?,
                Err(_) => return Err(self.up_to_damage(piece)),
            }
        }
        Ok(())
    }

    /// Decodes what stands before a group that is none: what is wrong there comes first, however the text came.
    #[cold]
    fn up_to_damage(&mut self, piece: &[u8]) -> RdbError {
        use base64_simd::AsOut;
        let mut room = [0; 3];
        for group in piece.chunks(4) {
            match base64_simd::STANDARD.decode(group, room.as_mut_slice().as_out()) {
                Ok(bytes) => {
                    if let Err(e) = self.to.put(bytes) {
                        return e;
                    }
                }
                Err(_) => break,
            }
            if group.ends_with(b"=") {
                break;
            }
        }
        self.broken()
    }

    /// No more comes.
    fn end(&mut self) -> Result<()> {
        match self.open.is_empty() {
            true => Ok(()),
            false => Err(self.broken()),
        }
    }
}

impl<S: Sink> Sink for Base64<'_, S> {
    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        if !self.open.is_empty() {
            let room = (4 - self.open.len()).min(bytes.len());
            let (start, rest) = bytes.split_at(room);
            self.open.extend_from_slice(start);
            bytes = rest;
            if self.open.len() < 4 {
                return Ok(());
            }
            let mut group = std::mem::take(&mut self.open);
            self.groups(&group)?;
            group.clear();
            self.open = group;
        }
        let whole = bytes.len() / 4 * 4;
        let (groups, open) = bytes.split_at(whole);
        self.groups(groups)?;
        self.open.extend_from_slice(open);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, buffer: usize, is_name: bool) -> Result<Vec<u8>> {
        let mut lex = Lexer::new(Box::new(text.as_bytes()), 0, 1, buffer);
        let (mut scratch, mut to) = (Gather::new(1000), Gather::new(1000));
        match is_name {
            true => name(&mut lex, &mut scratch, &mut to)?,
            false => string(&mut lex, &mut scratch, &mut to)?,
        }
        assert_eq!(lex.peek()?, None);
        let bytes = to.in_memory().unwrap();
        let from = if bytes[0] < 0x40 { 1 } else { 2 };
        Ok(bytes[from..].to_vec())
    }

    #[test]
    fn strings_and_names() {
        let long = [0xff; 200];
        let base64 = base64_simd::STANDARD.encode_to_string(long);
        let rows: [(bool, String, &[u8]); 9] = [
            (false, "\"a\"".into(), b"a"),
            (false, "{\"base64\":\"/wA=\"}".into(), b"\xff\0"),
            (false, " { \"base64\" : \"\\/wA=\" } ".into(), b"\xff\0"),
            (false, "{\"base64\":\"\"}".into(), b""),
            (false, format!("{{\"base64\":\"{base64}\"}}"), &long),
            (true, "\"name\" :".into(), b"name"),
            (true, "\"base\\u0036\":".into(), b"base6"),
            (true, "\"base64:/w==\":".into(), b"\xff"),
            (true, format!("\"b\\u0061se64:{base64}\":"), &long),
        ];
        for (is_name, text, want) in &rows {
            for buffer in [32, 37, 1000] {
                assert!(read(text, buffer, *is_name).unwrap() == *want, "{text}");
            }
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "1",
            "null",
            "{}",
            "{\"base64\":1}",
            "{\"base64\":\"/wA\"}",
            "{\"base64\":\"/w==AAAA\"}",
            "{\"base64\":\"/wA=\",\"a\":1}",
            "{\"base32\":\"/wA=\"}",
            "{\"base64\":\"/wA=\"",
            "{\"base64\":\"_wA=\"}",
        ] {
            for buffer in [32, 1000] {
                assert!(read(text, buffer, false).is_err(), "{text}");
            }
        }
        assert!(read("\"base64:/w\":", 32, true).is_err());
        assert!(read("\"a\"", 32, true).is_err());
    }
}
