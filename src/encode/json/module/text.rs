//! JSON text from elsewhere, let through when it is JSON.
//!
//! It is checked strictly: UTF-8, no control character in a string, every escape one that JSON has, surrogates in
//! pairs, numbers as the grammar wants them, at most [`MAX_DEPTH`] levels. Then it is copied as it is: numbers keep their digits,
//! and a name that occurs twice occurs twice. Only blanks outside strings go, and only when there is a line break among them.

use crate::out::Out;
use crate::rdb::value::module::document::MAX_DEPTH;

// One bit a level.
const _: () = assert!(MAX_DEPTH <= 128);

/// Appends `text` if it is one JSON value and nothing else, on one line. Appends nothing otherwise, and says so.
pub(super) fn append(text: &[u8], out: &mut Out) -> bool {
    if std::str::from_utf8(text).is_err() {
        return false;
    }
    let mut check = Check {
        text,
        at: 0,
        breaks: false,
    };
    if check.document().is_none() {
        return false;
    }
    if check.breaks {
        compact(text, out);
    } else {
        out.raw(text);
    }
    true
}

/// Whether `text`, if it is JSON, is an object whose first member has this name, which is plain text.
pub(super) fn begins_with(name: &[u8], text: &[u8]) -> bool {
    let Some(inner) = text.trim_ascii_start().strip_prefix(b"{\"") else {
        let Some(inner) = text.trim_ascii_start().strip_prefix(b"{") else {
            return false;
        };
        // Once the blanks are gone it is the case above.
        let inner = inner.trim_ascii_start();
        return inner.starts_with(b"\"") && begins_with(name, &[b"{", inner].concat());
    };
    let Some(end) = inner.iter().position(|&b| b == b'"') else {
        return false;
    };
    let found = inner.get(..end).unwrap_or_default();
    if !found.contains(&b'\\') {
        return found == name;
    }
    // Escaped, it is at most six times as long.
    let quoted = [b"\"", found, b"\""].concat();
    found.len() <= 6 * name.len()
        && serde_json::from_slice::<String>(&quoted).is_ok_and(|s| s.as_bytes() == name)
}

/// Appends valid JSON without the blanks between its tokens.
fn compact(mut text: &[u8], out: &mut Out) {
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    while !text.is_empty() {
        let skipped = text.iter().take_while(|b| blank(b)).count();
        text = text.get(skipped..).unwrap_or_default();
        let mut in_string = false;
        let mut escaped = false;
        let token = text
            .iter()
            .take_while(|b| {
                match b {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => in_string = !in_string,
                    _ => {}
                }
                in_string || !blank(b)
            })
            .count();
        let (token, rest) = text.split_at_checked(token).unwrap_or((text, &[]));
        out.raw(token);
        text = rest;
    }
}

struct Check<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether a line break has been met between tokens.
    breaks: bool,
}

impl Check<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.breaks |= matches!(b, b'\r' | b'\n');
            self.at += 1;
        }
    }

    fn eat(&mut self, b: u8) -> Option<()> {
        (self.peek()? == b).then(|| self.at += 1)
    }

    fn document(&mut self) -> Option<()> {
        let mut depth = 0;
        // The innermost level lowest: 1 for an object.
        let mut objects = 0u128;
        loop {
            self.blanks();
            let opened = self.peek()?;
            match opened {
                b'{' | b'[' => {
                    if depth == MAX_DEPTH {
                        return None;
                    }
                    depth += 1;
                    objects = objects << 1 | u128::from(opened == b'{');
                    self.at += 1;
                    self.blanks();
                    // '}' and ']' lie two above their openings.
                    if self.peek()? != opened + 2 {
                        if opened == b'{' {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b'"' => self.string()?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                _ => self.number()?,
            }
            // A value, or an empty container but for its closing, has been read.
            loop {
                self.blanks();
                if depth == 0 {
                    return (self.at == self.text.len()).then_some(());
                }
                let object = objects & 1 == 1;
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        if object {
                            self.blanks();
                            self.name()?;
                        }
                        break;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return None,
                }
                self.at += 1;
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    fn name(&mut self) -> Option<()> {
        self.string()?;
        self.blanks();
        self.eat(b':')
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text
            .get(self.at..)?
            .starts_with(word)
            .then(|| self.at += word.len())
    }

    fn string(&mut self) -> Option<()> {
        self.eat(b'"')?;
        loop {
            let b = self.peek()?;
            self.at += 1;
            match b {
                b'"' => return Some(()),
                b'\\' => {
                    let escape = self.peek()?;
                    self.at += 1;
                    match escape {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => match self.hex()? {
                            0xd800..0xdc00 => {
                                self.eat(b'\\')?;
                                self.eat(b'u')?;
                                (0xdc00..0xe000).contains(&self.hex()?).then_some(())?;
                            }
                            0xdc00..0xe000 => return None,
                            _ => {}
                        },
                        _ => return None,
                    }
                }
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    fn hex(&mut self) -> Option<u32> {
        let mut n = 0;
        for _ in 0..4 {
            n = n << 4 | char::from(self.peek()?).to_digit(16)?;
            self.at += 1;
        }
        Some(n)
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(text: &[u8]) -> Option<String> {
        let mut out = Out::new();
        append(text, &mut out).then(|| String::from_utf8(out.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn json_goes_through_as_it_is() {
        for text in [
            "null",
            " true ",
            "0",
            "-0",
            "-0.0",
            "12345678901234567890123.4500e+400",
            "\"\"",
            "\"a\\u0041\\ud83d\\ude00\\/\\\"\u{2028}\u{7f}\"",
            "[]",
            "[ ]",
            "{}",
            "{ }",
            "[[],{},[1,2],{\"a\":{}}]",
            "{\"a\":1,\"a\":[2, 3],\"\":{\"b\":false}}",
        ] {
            assert_eq!(through(text.as_bytes()).as_deref(), Some(text));
            let v: serde_json::Result<serde_json::Value> = serde_json::from_str(text);
            assert!(v.is_ok() || text.contains("e+400"), "{text}");
        }
    }

    #[test]
    fn first_members() {
        for (text, want) in [
            (r#"{"base64":"AA=="}"#, true),
            (" {\n \"base64\" :1,\"a\":2}", true),
            (r#"{"b\u0061se6\u0034":"AA=="}"#, true),
            (r#"{"a":1,"base64":2}"#, false),
            (r#"{"base6":1}"#, false),
            (r#"{}"#, false),
            (r#"["base64"]"#, false),
            ("{\"base64", false),
        ] {
            assert_eq!(begins_with(b"base64", text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn line_breaks_go() {
        let rows = [
            ("{\n  \"a b\": [1,\r\n 2]\n}\n", r#"{"a b":[1,2]}"#),
            ("\n\"a \\\" b\\\\\"", r#""a \" b\\""#),
            ("\n", ""),
        ];
        for (text, want) in rows {
            assert_eq!(through(text.as_bytes()).unwrap_or_default(), want);
        }
    }

    #[test]
    fn what_is_not_json() {
        for text in [
            "",
            " ",
            "nul",
            "nulll",
            "1 2",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "1e+",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\t\"",
            "[",
            "]",
            "[1",
            "[1,]",
            "[,1]",
            "[1}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1]",
            "{1:2}",
            "[]]",
            "NaN",
            "'a'",
            "{\"a\":1 \"b\":2}",
            "[1 2]",
            "\u{feff}1",
        ] {
            assert_eq!(through(text.as_bytes()), None, "{text}");
            let v: serde_json::Result<serde_json::Value> = serde_json::from_str(text);
            assert!(v.is_err(), "{text}");
        }
        assert_eq!(through(b"\"\xff\""), None);
    }

    #[test]
    fn depth() {
        let nest = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(through(nest(MAX_DEPTH).as_bytes()).is_some());
        assert!(through(nest(MAX_DEPTH + 1).as_bytes()).is_none());
        assert!(through("[{\"a\":".repeat(64).as_bytes()).is_none());
    }
}
