//! A strict JSON reader of our own, for judging JSON that we write.
//!
//! It keeps numbers as they are written (a score must be compared as a double, an id as 64 bits, and a general reader
//! rounds one of the two), keeps the order of members, and refuses a member that comes twice.

use std::collections::HashSet;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number, as it is written.
    Num(String),
    /// A string, unescaped.
    Str(String),
    /// An array.
    Arr(Vec<Json>),
    /// An object, its members in their order.
    Obj(Vec<(String, Json)>),
}

impl Json {
    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.members()
            .ok()?
            .iter()
            .find(|m| m.0 == name)
            .map(|m| &m.1)
    }

    /// A member that must be there.
    pub fn need(&self, name: &str) -> Result<&Json, String> {
        let short = || format!("no member {name:?} in {}", self.short());
        self.get(name).ok_or_else(short)
    }

    /// The members of an object.
    pub fn members(&self) -> Result<&[(String, Json)], String> {
        match self {
            Json::Obj(members) => Ok(members),
            _ => Err(format!("expected an object, found {}", self.short())),
        }
    }

    /// The elements of an array.
    pub fn elements(&self) -> Result<&[Json], String> {
        match self {
            Json::Arr(elements) => Ok(elements),
            _ => Err(format!("expected an array, found {}", self.short())),
        }
    }

    /// A string.
    pub fn str(&self) -> Result<&str, String> {
        match self {
            Json::Str(s) => Ok(s),
            _ => Err(format!("expected a string, found {}", self.short())),
        }
    }

    /// A whole number.
    pub fn int(&self) -> Result<i128, String> {
        let not = || format!("expected a whole number, found {}", self.short());
        match self {
            Json::Num(n) => n.parse().map_err(|_| not()),
            _ => Err(not()),
        }
    }

    /// The bytes of a base64 string.
    pub fn base64(&self) -> Result<Vec<u8>, String> {
        unbase64(self.str()?)
    }

    /// An object's members checked against a shape: names in this order, those with a `?` may be left out.
    ///
    /// Gives a value, or `None`, for each name.
    pub fn shape<const N: usize>(&self, names: [&str; N]) -> Result<[Option<&Json>; N], String> {
        let mut rest = self.members()?.iter().peekable();
        let mut found = [None; N];
        for (slot, name) in found.iter_mut().zip(names) {
            let bare = name.trim_end_matches('?');
            *slot = rest.next_if(|m| m.0 == bare).map(|m| &m.1);
            if slot.is_none() && bare == name {
                let at = rest.peek().map_or("the end", |m| m.0.as_str());
                let short = self.short();
                return Err(format!("expected member {name:?}, found {at:?} in {short}"));
            }
        }
        match rest.next() {
            Some(m) => Err(format!("member {:?} out of place in {}", m.0, self.short())),
            None => Ok(found),
        }
    }

    /// The value as text, cut to a length that a failure message can bear.
    pub fn short(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 160);
        text
    }

    fn write(&self, to: &mut String, limit: usize) {
        if to.len() > limit {
            if !to.ends_with('…') {
                to.push('…');
            }
            return;
        }
        match self {
            Json::Null => to.push_str("null"),
            Json::Bool(b) => to.push_str(&b.to_string()),
            Json::Num(n) => to.push_str(n),
            Json::Str(s) => {
                let cut: String = s.chars().take(limit).collect();
                to.push_str(&format!("{cut:?}"));
                if cut.len() < s.len() {
                    to.push_str(&format!("… {} bytes", s.len()));
                }
            }
            Json::Arr(elements) => {
                to.push('[');
                for (i, e) in elements.iter().enumerate().take(limit) {
                    if i > 0 {
                        to.push(',');
                    }
                    e.write(to, limit);
                }
                to.push(']');
            }
            Json::Obj(members) => {
                to.push('{');
                for (i, (name, e)) in members.iter().enumerate().take(limit) {
                    if i > 0 {
                        to.push(',');
                    }
                    let cut: String = name.chars().take(limit).collect();
                    to.push_str(&format!("{cut:?}:"));
                    e.write(to, limit);
                }
                to.push('}');
            }
        }
    }
}

/// The bytes of standard, padded base64.
pub fn unbase64(text: &str) -> Result<Vec<u8>, String> {
    base64_simd::STANDARD
        .decode_to_vec(text)
        .map_err(|_| format!("not base64: {text:.60?}"))
}

/// Reads one value and nothing after it (white space apart).
pub fn parse(text: &[u8]) -> Result<Json, String> {
    let text = std::str::from_utf8(text).map_err(|e| format!("not UTF-8: {e}"))?;
    let mut p = Parser { text, at: 0 };
    p.space();
    let value = p.value(0)?;
    p.space();
    match p.peek() {
        None => Ok(value),
        Some(_) => Err(p.wrong("the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong(&self, expected: &str) -> String {
        let rest = &self.text.as_bytes()[self.at.min(self.text.len())..];
        let near = String::from_utf8_lossy(&rest[..rest.len().min(30)]);
        format!(
            "JSON: column {}: expected {expected}, found {near:?}",
            self.at
        )
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, b: u8) -> bool {
        let here = self.peek() == Some(b);
        self.at += usize::from(here);
        here
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > 32 {
            return Err(self.wrong("less nesting"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::Str(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in [
                    ("null", Json::Null),
                    ("true", Json::Bool(true)),
                    ("false", Json::Bool(false)),
                ] {
                    if self.text[self.at..].starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.wrong("a value"))
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut seen = HashSet::new();
        self.space();
        if self.eat(b'}') {
            return Ok(Json::Obj(members));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a name"));
            }
            let name = self.string()?;
            if !seen.insert(name.clone()) {
                return Err(format!("JSON: member {name:.60?} comes twice"));
            }
            self.space();
            if !self.eat(b':') {
                return Err(self.wrong("a colon"));
            }
            self.space();
            members.push((name, self.value(depth + 1)?));
            self.space();
            if self.eat(b'}') {
                return Ok(Json::Obj(members));
            }
            if !self.eat(b',') {
                return Err(self.wrong("a comma or }"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut elements = Vec::new();
        self.space();
        if self.eat(b']') {
            return Ok(Json::Arr(elements));
        }
        loop {
            self.space();
            elements.push(self.value(depth + 1)?);
            self.space();
            if self.eat(b']') {
                return Ok(Json::Arr(elements));
            }
            if !self.eat(b',') {
                return Err(self.wrong("a comma or ]"));
            }
        }
    }

    fn digits(&mut self) -> Result<(), String> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.wrong("a digit"));
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'-') {
                self.eat(b'+');
            }
            self.digits()?;
        }
        Ok(Json::Num(self.text[start..self.at].to_owned()))
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let plain = rest
                .iter()
                .take_while(|&&b| b != b'"' && b != b'\\' && b >= b' ');
            let plain = plain.count();
            out.push_str(&self.text[self.at..self.at + plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                _ => return Err(self.wrong("an escape or the end of the string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let plain = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let high = self.hex4()?;
                let code = match high {
                    0xd800..=0xdbff => {
                        if !(self.eat(b'\\') && self.eat(b'u')) {
                            return Err(self.wrong("the second half of a surrogate pair"));
                        }
                        let low = self.hex4()?;
                        if !(0xdc00..=0xdfff).contains(&low) {
                            return Err(self.wrong("the second half of a surrogate pair"));
                        }
                        0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                    }
                    code => code,
                };
                let wrong = || self.wrong("the first half of a surrogate pair before this");
                return char::from_u32(code).ok_or_else(wrong);
            }
            _ => return Err(self.wrong("an escape")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn hex4(&mut self) -> Result<u32, String> {
        let wrong = self.wrong("four hex digits");
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|d| std::str::from_utf8(d).ok());
        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        code.ok_or(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts() {
        for (text, expected) in [
            ("null", Json::Null),
            (" -0.0 ", Json::Num("-0.0".into())),
            (
                "18446744073709551615",
                Json::Num("18446744073709551615".into()),
            ),
            ("1e+300", Json::Num("1e+300".into())),
            (r#""\u0000\ud83d\ude00é\/""#, Json::Str("\0😀é/".into())),
            ("[]", Json::Arr(vec![])),
            (
                r#"{"b":1,"a":[true]}"#,
                Json::Obj(vec![
                    ("b".into(), Json::Num("1".into())),
                    ("a".into(), Json::Arr(vec![Json::Bool(true)])),
                ]),
            ),
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses() {
        for text in [
            &b""[..],
            b"nul",
            b"01",
            b"+1",
            b"1.",
            b".5",
            b"1e",
            b"-",
            b"NaN",
            b"inf",
            b"\"\n\"",
            b"\"\\x41\"",
            b"\"\\u12g4\"",
            b"\"\\u+123\"",
            b"\"\\ud800\"",
            b"\"\\ud800\\u0041\"",
            b"\"\\udc00\"",
            b"\"\xff\"",
            b"\"\\u",
            b"\"",
            b"[1,]",
            b"[1 2]",
            b"{\"a\":1,}",
            b"{a:1}",
            b"{\"a\"}",
            b"{\"a\":1,\"a\":1}",
            b"1 1",
        ] {
            let shown = String::from_utf8_lossy(text);
            assert!(parse(text).is_err(), "{shown} was taken");
        }
    }

    #[test]
    fn shape_wants_names_in_order() {
        let shape = |text: &str| {
            let json = parse(text.as_bytes()).expect("good JSON");
            json.shape(["a", "b?", "c"])
                .map(|found| found.iter().map(|f| f.is_some()).collect::<Vec<_>>())
        };
        assert_eq!(shape(r#"{"a":1,"b":2,"c":3}"#), Ok(vec![true, true, true]));
        assert_eq!(shape(r#"{"a":1,"c":3}"#), Ok(vec![true, false, true]));
        for bad in [
            r#"{"a":1,"c":3,"b":2}"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a":1,"c":3,"d":4}"#,
            r#"{"c":3}"#,
            "[]",
        ] {
            assert!(shape(bad).is_err(), "{bad}");
        }
    }
}
