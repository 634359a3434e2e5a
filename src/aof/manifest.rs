//! The manifest of an append-only directory: which files there are, what each is for.
//!
//! ```text
//!   # a comment
//!   file appendonly.aof.3.base.rdb seq 3 type b                        the base: loaded first, at most one
//!   file appendonly.aof.2.incr.aof seq 2 type h startoffset 1          history: waits for deletion, never loaded, may be gone
//!   file appendonly.aof.3.incr.aof seq 3 type i startoffset 2          loaded behind the base, in this order
//!   file "my data.aof.4.incr.aof" seq 4 type i                         a name with a blank in it
//! ```
//!
//! Names and values in pairs, in any order; names that are not known are passed over. Read as servers read it (Redis 7.0 to 8.8 and Valkey
//! 9 agree): each line ends in a line feed, the last one too, and fits in 1024 bytes; none is empty.

use crate::error::{RdbError, Result, quote};

/// Bytes of the longest line, its end included.
const LINE: usize = 1024;

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// What there was when the log was rewritten.
    Base,
    /// No longer needed.
    History,
    /// What came after the base.
    Incr,
}

impl Use {
    fn letter(self) -> u8 {
        match self {
            Use::Base => b'b',
            Use::History => b'h',
            Use::Incr => b'i',
        }
    }
}

/// A file that is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name, in the directory of the manifest.
    pub name: Vec<u8>,
    /// Its number; base and incr files are counted each for themselves, from 1.
    pub seq: u64,
    /// What it is for.
    pub what: Use,
    /// Where in the stream of replication it begins; Redis from 8.0 on. A hint.
    pub start_offset: Option<u64>,
    /// Where it ends, after the server was stopped.
    pub end_offset: Option<u64>,
}

/// The files that a manifest lists, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// All of them.
    pub files: Vec<Listed>,
}

impl Manifest {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// What a server would refuse, with the line. A manifest of comments alone is none: it lists no file.
    ///
    /// ```
    /// use rdbtool::aof::manifest::{Manifest, Use};
    /// let m = Manifest::read(b"file a.aof.1.base.rdb seq 1 type b\nfile a.aof.1.incr.aof seq 1 type i\n")?;
    /// let names: Vec<_> = m.loaded().map(|f| f.name.escape_ascii().to_string()).collect();
    /// assert_eq!(names, ["a.aof.1.base.rdb", "a.aof.1.incr.aof"]);
    /// # Ok::<(), rdbtool::RdbError>(())
    /// ```
    pub fn read(bytes: &[u8]) -> Result<Manifest> {
        if bytes.is_empty() {
            return Err(RdbError::eof(0, "the manifest is empty"));
        }
        let mut manifest = Manifest::default();
        let mut at = 0u64;
        for (line, n) in bytes.split_inclusive(|&b| b == b'\n').zip(1..) {
            manifest
                .line(line)
                .map_err(|what| RdbError::corrupt(at, what).on_line(n))?;
            at += line.len() as u64;
        }
        Ok(manifest)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if line.len() > LINE {
            return Err(format!("a line of more than {LINE} bytes"));
        }
        if line.first() == Some(&b'#') {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            return Err("the last line does not end in a line feed, so servers refuse it".into());
        }
        let text = trim(line);
        if text.is_empty() {
            return Err("an empty line".into());
        }
        let says = || quote(text);
        let words = words(text)?;
        if words.len() < 6 || words.len() % 2 == 1 {
            return Err(format!(
                "{}: expected pairs: file NAME seq N type b, h or i",
                says()
            ));
        }
        let (mut name, mut seq, mut what) = (None, None, None);
        let (mut start_offset, mut end_offset) = (None, None);
        for pair in words.chunks_exact(2) {
            let [key, value] = pair else { continue };
            let is = |word: &[u8]| key.eq_ignore_ascii_case(word);
            if is(b"file") {
                if value.iter().any(|b| matches!(b, b'/' | b'\\')) {
                    return Err(format!(
                        "file {}: expected a name without a path",
                        quote(value)
                    ));
                }
                name = Some(value.clone()).filter(|n| !n.is_empty());
            } else if is(b"seq") {
                seq = number(value).filter(|&n| n > 0);
            } else if is(b"type") {
                what = Some(match value.first() {
                    Some(b'b') => Use::Base,
                    Some(b'h') => Use::History,
                    Some(b'i') => Use::Incr,
                    _ => return Err(format!("type {}: expected b, h or i", quote(value))),
                });
            } else if is(b"startoffset") {
                start_offset = number(value);
            } else if is(b"endoffset") {
                end_offset = number(value);
            }
        }
        let (Some(name), Some(seq), Some(what)) = (name, seq, what) else {
            return Err(format!(
                "{}: expected file, seq (a number from 1 on) and type",
                says()
            ));
        };
        if what == Use::Base && self.base().is_some() {
            return Err(format!("{}: there is a base already", says()));
        }
        let last = self.files.iter().rfind(|f| f.what == Use::Incr);
        if what == Use::Incr
            && let Some(last) = last
            && last.seq >= seq
        {
            return Err(format!(
                "{}: the incr file before it has seq {}; expected a greater one",
                says(),
                last.seq
            ));
        }
        self.files.push(Listed {
            name,
            seq,
            what,
            start_offset,
            end_offset,
        });
        Ok(())
    }

    /// The base, if there is one.
    pub fn base(&self) -> Option<&Listed> {
        self.files.iter().find(|f| f.what == Use::Base)
    }

    /// The files that are loaded, in order: the base wherever it stands, then the incr files.
    pub fn loaded(&self) -> impl Iterator<Item = &Listed> {
        let incr = self.files.iter().filter(|f| f.what == Use::Incr);
        self.base().into_iter().chain(incr)
    }

    /// As a server writes it.
    pub fn write(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for f in &self.files {
            text.extend_from_slice(b"file ");
            write_name(&f.name, &mut text);
            text.extend_from_slice(format!(" seq {} type ", f.seq).as_bytes());
            text.push(f.what.letter());
            for (name, n) in [("startoffset", f.start_offset), ("endoffset", f.end_offset)] {
                if let Some(n) = n {
                    text.extend_from_slice(format!(" {name} {n}").as_bytes());
                }
            }
            text.push(b'\n');
        }
        text
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn trim(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = line {
        line = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = line {
        line = rest;
    }
    line
}

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// The words of a line. `"..."` may have escapes, `'...'` only `\'`; quotes may begin within a word, but end one.
fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line.iter().copied().peekable();
    loop {
        while rest.next_if(|&b| is_blank(b)).is_some() {}
        if rest.peek().is_none() {
            return Ok(words);
        }
        let mut word = Vec::new();
        while let Some(b) = rest.next_if(|&b| !is_blank(b)) {
            match b {
                b'"' | b'\'' => {
                    quoted(b, &mut rest, &mut word)?;
                    if rest.peek().is_some_and(|&b| !is_blank(b)) {
                        return Err("something follows a closing quote without a blank".into());
                    }
                    break;
                }
                0 => return Err("a zero byte".into()),
                b => word.push(b),
            }
        }
        words.push(word);
    }
}

/// What stands in quotes, up to the closing one.
fn quoted(
    quote: u8,
    rest: &mut std::iter::Peekable<impl Iterator<Item = u8>>,
    word: &mut Vec<u8>,
) -> Result<(), String> {
    let hex = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    loop {
        let b = match (rest.next(), quote) {
            (None | Some(0), _) => return Err("quotes that are not closed".into()),
            (Some(b), quote) if b == quote => return Ok(()),
            (Some(b'\\'), b'\'') => rest.next_if_eq(&b'\'').unwrap_or(b'\\'),
            (Some(b'\\'), _) => match rest.next() {
                None => return Err("quotes that are not closed".into()),
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'a') => 7,
                Some(b'b') => 8,
                Some(b'x') => {
                    // Without two digits it is an x.
                    let mut digits = [0; 2];
                    let mut n = 0;
                    while n < 2
                        && let Some(b) = rest.next_if(|&b| hex(b).is_some())
                    {
                        digits[n] = b;
                        n += 1;
                    }
                    match n {
                        2 => hex(digits[0]).unwrap_or(0) << 4 | hex(digits[1]).unwrap_or(0),
                        n => {
                            word.push(b'x');
                            word.extend_from_slice(&digits[..n]);
                            continue;
                        }
                    }
                }
                Some(other) => other,
            },
            (Some(b), _) => b,
        };
        word.push(b);
    }
}

/// A name as it is, or in quotes if it would not be read as one word.
fn write_name(name: &[u8], text: &mut Vec<u8>) {
    let plain = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\');
    if !name.is_empty() && name.iter().all(plain) {
        return text.extend_from_slice(name);
    }
    text.push(b'"');
    for &b in name {
        match b {
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', b]),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            7 => text.extend_from_slice(b"\\a"),
            8 => text.extend_from_slice(b"\\b"),
            b' '..=b'~' => text.push(b),
            _ => text.extend_from_slice(format!("\\x{b:02x}").as_bytes()),
        }
    }
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>> {
        let m = Manifest::read(text.as_bytes())?;
        // What is written is read as the same.
        assert!(m.files.is_empty() || Manifest::read(&m.write())? == m);
        let shown = |f: &Listed| f.name.escape_ascii().to_string();
        Ok(m.loaded().map(shown).collect())
    }

    #[test]
    fn as_servers_read_it() {
        let rows = [
            ("file a seq 1 type b\n", "a"),
            ("file a seq 1 type b", "refuse"),
            ("", "empty"),
            ("# only a comment", ""),
            ("#\nfile a seq 1 type i\n#\n", "a"),
            ("\n", "an empty line"),
            ("file a seq 1 type i\n \t\r\n", "an empty line"),
            ("  file\ta seq 1   type i \r\n", "a"),
            ("TYPE base Seq 7 FILE a other x\n", "a"),
            ("file a seq 1 type q\n", "expected b, h or i"),
            ("file a seq 1\n", "expected pairs"),
            ("file a seq 1 type i x\n", "expected pairs"),
            ("file a seq 0 type i\n", "a number from 1 on"),
            ("file a seq x type i\n", "a number from 1 on"),
            ("file a type i other x\n", "a number from 1 on"),
            ("file ../a seq 1 type i\n", "without a path"),
            ("file a\\b seq 1 type i\n", "without a path"),
            (
                "file a seq 1 type b\nfile b seq 2 type b\n",
                "a base already",
            ),
            (
                "file a seq 2 type i\nfile b seq 2 type i\n",
                "a greater one",
            ),
            ("file a seq 2 type i\nfile b seq 9 type i\n", "a b"),
            (
                "file i seq 2 type i\nfile h seq 1 type h\nfile b seq 2 type b\n",
                "b i",
            ),
            ("file \"a b\" seq 1 type i\n", "a b"),
            (r#"file "\"\n\r\t\a\b\x41\xe9\q" seq 1 type i"#, "refuse"),
            (
                "file \"\\\"\\n\\r\\t\\a\\b\\x41\\xe9\\q\" seq 1 type i\n",
                r#"\"\n\r\t\x07\x08A\xe9q"#,
            ),
            ("file 'a\\'\"' seq 1 type i\n", r#"a\'\""#),
            ("file \"a\"b seq 1 type i\n", "closing quote"),
            ("file \"a seq 1 type i\n", "not closed"),
            ("file a\0 seq 1 type i\n", "zero byte"),
            ("file \"\" seq 1 type i\n", "expected file"),
        ];
        for (text, want) in rows {
            match names(text) {
                Ok(names) => assert_eq!(names.join(" "), want, "{text:?}"),
                Err(e) => assert!(e.what().contains(want), "{text:?}: {e}"),
            }
        }
    }

    #[test]
    fn offsets_are_kept() {
        let text = "file a seq 1 type i startoffset 0 endoffset 991\n";
        let m = Manifest::read(text.as_bytes()).unwrap();
        assert_eq!(m.files[0].start_offset, Some(0));
        assert_eq!(m.files[0].end_offset, Some(991));
        assert_eq!(m.write(), text.as_bytes());
    }

    #[test]
    fn long_lines() {
        let line = |n: usize| format!("file {} seq 1 type i\n", "a".repeat(n - 19));
        assert!(names(&line(LINE)).is_ok());
        let e = names(&line(LINE + 1)).unwrap_err();
        assert_eq!((e.offset(), e.line()), (Some(0), Some(1)));
    }

    #[test]
    fn says_the_line() {
        let e = names("file a seq 1 type b\nfile b seq 2 type x\n").unwrap_err();
        assert_eq!((e.offset(), e.line()), (Some(20), Some(2)));
    }
}
