//! The tokens of JSON, read from a stream through a buffer of fixed size.
//!
//! ```text
//!   { "a" : [ "b" , 1.5e3 ] }          RFC 8259, strictly; blanks between tokens as one likes
//! ```
//!
//! A string is handed on in pieces, so that none need fit in memory; a number is given as its text, so that whoever knows what
//! it must be reads it exactly. Every error has the byte and the line at which the broken thing starts.

use super::gather::{Gather, Nothing, Sink};
use crate::error::{RdbError, Result};
use crate::ndjson::block::{classify, classify_words, words};
use std::io::Read;

/// Size of the buffer. Strings that lie in it whole are not copied.
pub(super) const BUFFER: usize = 128 << 10;
/// The least there can be: an escape must fit.
pub(super) const LEAST: usize = 32;
/// Levels of objects and arrays in what is passed over.
const MAX_DEPTH: u32 = 128;
/// Longer numbers than this are not read.
const MAX_NUMBER: usize = 4096;
/// Names, ids and the like are not longer; of a longer one only the beginning is kept.
const MAX_SHORT: usize = 4096;

/// Reads tokens.
pub(super) struct Lexer<'a> {
    reader: Box<dyn Read + Send + 'a>,
    buffer: Vec<u8>,
    pos: usize,
    end: usize,
    /// Where the buffer begins in the input.
    base: u64,
    /// Counted from 1.
    line: u64,
    ended: bool,
    /// Where a copy of what is read goes, and from where in the buffer on it has not gone there yet.
    tap: Option<(Gather, usize)>,
    number: Vec<u8>,
    short: Short,
}

/// The beginning of a text.
struct Short(Vec<u8>);

impl Sink for Short {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let room = MAX_SHORT - self.0.len().min(MAX_SHORT);
        self.0.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        Ok(())
    }
}

impl std::fmt::Debug for Lexer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lexer")
            .field("offset", &self.offset())
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl<'a> Lexer<'a> {
    /// The tokens of what `reader` gives, which begins at byte `base` on line `line` of the input.
    pub(super) fn new(
        reader: Box<dyn Read + Send + 'a>,
        base: u64,
        line: u64,
        buffer: usize,
    ) -> Self {
        Lexer {
            reader,
            buffer: vec![0; buffer.max(LEAST)],
            pos: 0,
            end: 0,
            base,
            line,
            ended: false,
            tap: None,
            number: Vec::new(),
            short: Short(Vec::new()),
        }
    }

    /// Where the next byte lies in the input.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    /// The line it is on.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The error that what is at `at` is not as it must be.
    #[cold]
    pub(super) fn corrupt(&self, at: u64, what: impl Into<String>) -> RdbError {
        RdbError::corrupt(at, what).on_line(self.line)
    }

    /// The error that another thing than `expected` comes next.
    #[cold]
    pub(super) fn expected(&mut self, expected: &str) -> RdbError {
        let found = match self.peek() {
            Ok(Some(b)) => b,
            Ok(None) => {
                let what = format!("the input ends where {expected} is expected");
                return RdbError::eof(self.offset(), what).on_line(self.line);
            }
            Err(e) => return e,
        };
        let found = match found {
            b'"' => "a string".to_owned(),
            b'{' => "an object".to_owned(),
            b'[' => "an array".to_owned(),
            b'-' | b'0'..=b'9' => "a number".to_owned(),
            b't' | b'f' => "true or false".to_owned(),
            b'n' => "null".to_owned(),
            b => format!("'{}'", b.escape_ascii()),
        };
        self.corrupt(self.offset(), format!("{found}: expected {expected}"))
    }

    /// Reads on behind what is there; false at the end.
    fn fill(&mut self) -> Result<bool> {
        if let Some((to, from)) = &mut self.tap {
            to.put(self.buffer.get(*from..self.pos).unwrap_or_default())?;
            *from = 0;
        }
        self.buffer.copy_within(self.pos..self.end, 0);
        self.base += self.pos as u64;
        self.end -= self.pos;
        self.pos = 0;
        while !self.ended {
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            if room.is_empty() {
                return Ok(true);
            }
            match self.reader.read(room) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    self.end = (self.end + n).min(self.buffer.len());
                    return Ok(true);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.ended = true;
                    return Err(RdbError::io("cannot read on", e));
                }
            }
        }
        Ok(false)
    }

    /// What is in the buffer from here on.
    #[inline]
    fn rest(&self) -> &[u8] {
        self.buffer.get(self.pos..self.end).unwrap_or_default()
    }

    /// Has `n` bytes in the buffer, as far as the input goes.
    fn need(&mut self, n: usize) -> Result<&[u8]> {
        while self.end - self.pos < n && self.fill()? {}
        let rest = self.rest();
        Ok(rest.get(..n).unwrap_or(rest))
    }

    /// The first byte of the next token.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            while let Some(&b) = self.rest().first() {
                match b {
                    b'\n' => self.line += 1,
                    b' ' | b'\t' | b'\r' => {}
                    b => return Ok(Some(b)),
                }
                self.pos += 1;
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads one punctuation mark.
    #[inline]
    pub(super) fn punctuation(&mut self, b: u8, expected: &str) -> Result<()> {
        if self.peek()? != Some(b) {
            return Err(self.expected(expected));
        }
        self.pos += 1;
        Ok(())
    }

    /// Within an array or object, before an element or its end: reads the comma or the end; gives whether an element comes.
    #[inline]
    pub(super) fn more(&mut self, close: u8, first: &mut bool) -> Result<bool> {
        let b = self.peek()?;
        if b == Some(close) {
            self.pos += 1;
            return Ok(false);
        }
        if !std::mem::take(first) {
            if b != Some(b',') {
                return Err(self.expected(match close {
                    b'}' => "a comma or }",
                    _ => "a comma or ]",
                }));
            }
            self.pos += 1;
        }
        if self.peek()?.is_none() {
            return Err(self.expected("an element"));
        }
        Ok(true)
    }

    /// A string without escapes that lies in the buffer whole; reads nothing if it is none.
    #[inline]
    pub(super) fn plain(&mut self) -> Result<Option<&[u8]>> {
        for again in [true, false] {
            let Some((b'"', text)) = self.rest().split_first() else {
                return Ok(None);
            };
            let (n, high) = plain_len(text);
            match text.get(n) {
                Some(b'"') => {
                    if high
                        && simdutf8::basic::from_utf8(text.get(..n).unwrap_or_default()).is_err()
                    {
                        return Ok(None);
                    }
                    let from = self.pos + 1;
                    self.pos = from + n + 1;
                    return Ok(self.buffer.get(from..from + n));
                }
                None if again && self.pos > 0 => self.fill()?,
                _ => return Ok(None),
            };
        }
        Ok(None)
    }

    /// A string, piece by piece.
    pub(super) fn text(&mut self, to: &mut impl Sink) -> Result<()> {
        let start = self.offset();
        self.punctuation(b'"', "a string")?;
        loop {
            let window = self.buffer.get(self.pos..self.end).unwrap_or_default();
            let (n, high) = plain_len(window);
            let piece = window.get(..n).unwrap_or(window);
            let mut take = n;
            if high && let Err(e) = simdutf8::compat::from_utf8(piece) {
                take = e.valid_up_to();
                if e.error_len().is_some() || n < window.len() {
                    // What stands before may be wrong too, and then that is the error, however the bytes came.
                    to.put(piece.get(..take).unwrap_or(piece))?;
                    return Err(self.corrupt(
                        self.offset() + take as u64,
                        "bytes in a string that are not UTF-8: expected {\"base64\":\"...\"}",
                    ));
                }
            }
            to.put(piece.get(..take).unwrap_or(piece))?;
            self.pos += take;
            if n == window.len() {
                if !self.fill()? {
                    let what = "the input ends inside a string";
                    return Err(RdbError::eof(start, what).on_line(self.line));
                }
                continue;
            }
            match self.rest().first() {
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape(to)?,
                Some(b) => {
                    let what = format!("byte 0x{b:02x} in a string: expected it to be escaped");
                    return Err(self.corrupt(self.offset(), what));
                }
                None => {}
            }
        }
    }

    fn escape(&mut self, to: &mut impl Sink) -> Result<()> {
        let at = self.offset();
        let byte = match self.need(2)? {
            [_, b @ (b'"' | b'\\' | b'/')] => *b,
            b"\\b" => 0x08,
            b"\\f" => 0x0c,
            b"\\n" => b'\n',
            b"\\r" => b'\r',
            b"\\t" => b'\t',
            b"\\u" => return self.unicode(to),
            [_, b] => {
                let what = format!("\\{}: no escape that JSON has", b.escape_ascii());
                return Err(self.corrupt(at, what));
            }
            _ => {
                let what = "the input ends inside an escape";
                return Err(RdbError::eof(at, what).on_line(self.line));
            }
        };
        self.pos += 2;
        to.put(&[byte])
    }

    fn unicode(&mut self, to: &mut impl Sink) -> Result<()> {
        let at = self.offset();
        let (mut code, mut len) = (self.unit(0)?, 6);
        if (0xd800..0xdc00).contains(&code) && self.need(8)?.get(6..) == Some(b"\\u") {
            let low = self.unit(6)?;
            if (0xdc00..0xe000).contains(&low) {
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                len = 12;
            }
        }
        let Some(c) = char::from_u32(code) else {
            let what = format!("\\u{code:04x}: half of a surrogate pair without the other");
            return Err(self.corrupt(at, what));
        };
        self.pos += len;
        to.put(c.encode_utf8(&mut [0; 4]).as_bytes())
    }

    /// The number in a `\uXXXX` that stands `skip` bytes from here.
    fn unit(&mut self, skip: usize) -> Result<u32> {
        let at = self.offset() + skip as u64;
        let bytes = self.need(skip + 6)?;
        let digits = bytes.get(skip + 2..).unwrap_or_default();
        let mut n = 0;
        for &b in digits {
            match char::from(b).to_digit(16) {
                Some(digit) => n = n << 4 | digit,
                None => return Err(self.corrupt(at, "\\u: expected four hexadecimal digits")),
            }
        }
        if digits.len() < 4 {
            let what = "the input ends inside an escape";
            return Err(RdbError::eof(at, what).on_line(self.line));
        }
        Ok(n)
    }

    /// A string that is short: a name, an id. Of a long one only the beginning.
    pub(super) fn short(&mut self) -> Result<&[u8]> {
        let mut short = std::mem::replace(&mut self.short, Short(Vec::new()));
        short.0.clear();
        let r = match self.plain() {
            Ok(Some(bytes)) => short.put(bytes),
            Ok(None) => self.text(&mut short),
            Err(e) => Err(e),
        };
        self.short = short;
        r.map(|()| &self.short.0[..])
    }

    /// The name of a member, and the colon.
    #[inline]
    pub(super) fn name(&mut self) -> Result<&[u8]> {
        if self.peek()? != Some(b'"') {
            return Err(self.expected("a name"));
        }
        self.short()?;
        self.punctuation(b':', "a colon")?;
        Ok(&self.short.0)
    }

    /// The same name again.
    #[inline]
    pub(super) fn last_name(&self) -> &[u8] {
        &self.short.0
    }

    /// What [`Lexer::short`] or [`Lexer::name`] read last, quoted.
    pub(super) fn last(&self) -> String {
        crate::error::quote(&self.short.0)
    }

    /// The text of a number.
    fn number(&mut self, expected: &str) -> Result<&[u8]> {
        if !matches!(self.peek()?, Some(b'-' | b'0'..=b'9')) {
            return Err(self.expected(expected));
        }
        let at = self.offset();
        self.number.clear();
        loop {
            let rest = self.buffer.get(self.pos..self.end).unwrap_or_default();
            let n = rest
                .iter()
                .take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
                .count();
            self.number.extend_from_slice(rest.get(..n).unwrap_or(rest));
            let all = n == rest.len();
            self.pos += n;
            if self.number.len() > MAX_NUMBER {
                let what = format!("a number of more than {MAX_NUMBER} digits");
                return Err(RdbError::limit(at, what).on_line(self.line));
            }
            if !all || !self.fill()? {
                break;
            }
        }
        if !is_number(&self.number) {
            let text = self.number.escape_ascii().to_string();
            return Err(self.corrupt(at, format!("{text:.40}: no number that JSON has")));
        }
        Ok(&self.number)
    }

    /// The text of a number, whatever it is.
    pub(super) fn digits(&mut self) -> Result<&str> {
        self.number("a number")?;
        Ok(std::str::from_utf8(&self.number).unwrap_or_default())
    }

    /// An integer of 64 bits. `1.0` and `1e3` are integers too.
    #[inline]
    pub(super) fn u64(&mut self, what: &str) -> Result<u64> {
        let (at, negative, n) = self.integer(what)?;
        match negative && n != 0 {
            true => Err(self.out_of_range(at, what)),
            false => Ok(n),
        }
    }

    /// The same with a sign.
    #[inline]
    pub(super) fn i64(&mut self, what: &str) -> Result<i64> {
        let (at, negative, n) = self.integer(what)?;
        let signed = match negative {
            true => 0i64.checked_sub_unsigned(n),
            false => i64::try_from(n).ok(),
        };
        signed.ok_or_else(|| self.out_of_range(at, what))
    }

    #[cold]
    fn out_of_range(&self, at: u64, what: &str) -> RdbError {
        let text = self.number.escape_ascii();
        self.corrupt(at, format!("{text:.40} is out of range for {what}"))
    }

    /// Where an integer stands, whether it is negative, and its size.
    #[inline]
    fn integer(&mut self, what: &str) -> Result<(u64, bool, u64)> {
        self.peek()?;
        let at = self.offset();
        let text = self.number(what)?;
        let (negative, digits) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, text),
        };
        match whole(digits) {
            Some(n) => Ok((at, negative, n)),
            None => {
                let text = self.number.escape_ascii();
                let what = format!("{text:.40}: expected {what}, an integer of 64 bits");
                Err(self.corrupt(at, what))
            }
        }
    }

    /// A double, as [`number::double`](crate::ndjson::number::double) writes it.
    pub(super) fn double(&mut self, what: &str) -> Result<f64> {
        if self.peek()? == Some(b'"') {
            let at = self.offset();
            return match self.short()? {
                b"inf" => Ok(f64::INFINITY),
                b"-inf" => Ok(f64::NEG_INFINITY),
                _ => {
                    let what = format!(
                        "{}: expected {what}, a number, \"inf\" or \"-inf\"",
                        self.last()
                    );
                    Err(self.corrupt(at, what))
                }
            };
        }
        self.peek()?;
        let at = self.offset();
        self.number(what)?;
        match self.digits_read().parse::<f64>() {
            Ok(x) if x.is_finite() => Ok(x),
            _ => Err(self.out_of_range(at, what)),
        }
    }

    fn digits_read(&self) -> &str {
        std::str::from_utf8(&self.number).unwrap_or_default()
    }

    /// Reads `true`, `false` or `null`.
    pub(super) fn word(&mut self, word: &[u8]) -> Result<()> {
        if self.need(word.len())? != word {
            return Err(self.corrupt(self.offset(), "expected a JSON value"));
        }
        self.pos += word.len();
        Ok(())
    }

    /// Passes over a value of any kind.
    pub(super) fn skip(&mut self) -> Result<()> {
        let mut depth = 0;
        // The innermost level lowest: 1 for an object.
        let mut objects = 0u128;
        let mut first = false;
        loop {
            if !first {
                match self.peek()? {
                    Some(open @ (b'{' | b'[')) => {
                        if depth == MAX_DEPTH {
                            let what = format!("more than {MAX_DEPTH} levels within each other");
                            return Err(RdbError::limit(self.offset(), what).on_line(self.line));
                        }
                        self.pos += 1;
                        depth += 1;
                        objects = objects << 1 | u128::from(open == b'{');
                        first = true;
                        continue;
                    }
                    Some(b'"') => match self.plain()? {
                        Some(_) => {}
                        None => self.text(&mut Nothing)?,
                    },
                    Some(b't') => self.word(b"true")?,
                    Some(b'f') => self.word(b"false")?,
                    Some(b'n') => self.word(b"null")?,
                    _ => self.number("a value").map(drop)?,
                }
            }
            // Behind a value, or an opening.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let object = objects & 1 == 1;
                if self.more(if object { b'}' } else { b']' }, &mut first)? {
                    if object {
                        self.name()?;
                    }
                    break;
                }
                first = false;
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    /// Passes over a value of any kind and keeps its text.
    pub(super) fn keep(&mut self, mut to: Gather) -> Result<Gather> {
        self.peek()?;
        to.clear();
        self.tap = Some((to, self.pos));
        let r = self.skip();
        let (mut to, from) = match self.tap.take() {
            Some(tap) => tap,
            None => return Err(self.corrupt(self.offset(), "a value")),
        };
        r?;
        to.put(self.buffer.get(from..self.pos).unwrap_or_default())?;
        Ok(to)
    }
}

/// How many bytes stand before the first that ends a string or must be escaped in it, and whether any is not ASCII.
#[inline]
fn plain_len(bytes: &[u8]) -> (usize, bool) {
    let (mut i, mut high) = (0, 0);
    while let Some(block) = bytes.get(i..).and_then(|b| b.first_chunk::<16>()) {
        let marks = classify(block);
        if marks.escape != 0 {
            let k = marks.escape.trailing_zeros();
            high |= marks.high & ((1 << k) - 1);
            return (i + k as usize, high != 0);
        }
        high |= marks.high;
        i += 16;
    }
    let tail = bytes.get(i..).unwrap_or_default();
    let (low, top) = words(tail);
    let marks = classify_words(low, top);
    let k = (marks.escape.trailing_zeros() as usize).min(tail.len());
    high |= marks.high & ((1 << k) - 1);
    (i + k, high != 0)
}

/// Whether a text is a number by the grammar of JSON.
fn is_number(text: &[u8]) -> bool {
    fn digits(text: &mut &[u8]) -> usize {
        let n = text.iter().take_while(|b| b.is_ascii_digit()).count();
        *text = text.get(n..).unwrap_or_default();
        n
    }
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let zero = rest.starts_with(b"0");
    match digits(&mut rest) {
        0 => return false,
        1 => {}
        _ if zero => return false,
        _ => {}
    }
    if let Some(after) = rest.strip_prefix(b".") {
        rest = after;
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    if let [b'e' | b'E', after @ ..] = rest {
        rest = match after {
            [b'+' | b'-', digits @ ..] => digits,
            _ => after,
        };
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    rest.is_empty()
}

/// The integer that a number without sign is, if it is one and has 64 bits.
#[inline]
fn whole(text: &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for &b in text {
        if !b.is_ascii_digit() {
            return whole_decimal(text);
        }
        n = n.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
    }
    Some(n)
}

/// The same for one with a point or an exponent.
#[cold]
fn whole_decimal(text: &[u8]) -> Option<u64> {
    let e = text.iter().position(|b| matches!(b, b'e' | b'E'));
    let (mantissa, exponent) = match e {
        Some(e) => (text.get(..e)?, text.get(e + 1..)?),
        None => (text, &b"0"[..]),
    };
    let exponent = std::str::from_utf8(exponent).ok()?.parse::<i64>().ok()?;
    let point = mantissa.iter().position(|&b| b == b'.');
    let fraction = point.map_or(0, |p| mantissa.len() - p - 1);
    let mut digits: Vec<u8> = mantissa.iter().copied().filter(|&b| b != b'.').collect();
    let mut shift = exponent.checked_sub(fraction as i64)?;
    while shift < 0 && digits.last() == Some(&b'0') {
        digits.pop();
        shift += 1;
    }
    let mut n = 0u64;
    for b in &digits {
        n = n.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
    }
    if n == 0 {
        return Some(0);
    }
    n.checked_mul(10u64.checked_pow(u32::try_from(shift).ok()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexer(text: &[u8], buffer: usize) -> Lexer<'_> {
        Lexer::new(Box::new(text), 0, 1, buffer)
    }

    #[test]
    fn strings() {
        let long = format!("\"{}\\n\u{e9}{}\"", "x".repeat(100), "\u{20ac}".repeat(50));
        let rows = [
            (r#""""#, ""),
            (r#""a\"\\\/\b\f\n\r\t""#, "a\"\\/\u{8}\u{c}\n\r\t"),
            (
                r#""\u0041\u00e9\u20AC\ud83d\ude00\u0000""#,
                "A\u{e9}\u{20ac}\u{1f600}\0",
            ),
            (&long, &long[1..long.len() - 1].replace("\\n", "\n")),
        ];
        for (text, want) in rows {
            for buffer in [32, 33, 35, 64, 1000] {
                let mut got = Short(Vec::new());
                lexer(text.as_bytes(), buffer).text(&mut got).unwrap();
                assert_eq!(got.0, want.as_bytes(), "{text}");
            }
        }
    }

    #[test]
    fn broken_strings() {
        let rows: [(&[u8], u64, &str); 10] = [
            (b"\"abc", 0, "ends inside a string"),
            (b"\"a\\", 2, "ends inside an escape"),
            (b"\"a\\u12", 2, "ends inside an escape"),
            (b"\"a\\x\"", 2, "no escape"),
            (b"\"\\u12g4\"", 1, "hexadecimal"),
            (b"\"..\\ud800\"", 3, "surrogate"),
            (b"\"..\\ud800\\u0041\"", 3, "surrogate"),
            (b"\"..\\udc00\"", 3, "surrogate"),
            (b"\"a\tb\"", 2, "0x09"),
            (b"\"ab\xff\"", 3, "UTF-8"),
        ];
        for (text, at, what) in rows {
            let e = lexer(text, 32).text(&mut Nothing).unwrap_err();
            assert_eq!(e.offset(), Some(at), "{}: {e}", text.escape_ascii());
            assert!(e.what().contains(what), "{e}");
        }
    }

    #[test]
    fn integers() {
        let rows = [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("1e3", Some(1000)),
            ("1.0", Some(1)),
            ("1.50e1", Some(15)),
            ("4.1024448E+12", Some(4_102_444_800_000)),
            ("1500e-2", Some(15)),
            ("15e-1", None),
            ("0e99999", Some(0)),
            ("0.000", Some(0)),
            ("1e99999999999999999999", None),
            ("-0", Some(0)),
            ("-1", None),
        ];
        for (text, want) in rows {
            assert_eq!(lexer(text.as_bytes(), 32).u64("n").ok(), want, "{text}");
        }
        let signed = |text: &str| lexer(text.as_bytes(), 32).i64("n").ok();
        assert_eq!(signed("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed("-9223372036854775809"), None);
        assert_eq!(signed("-1e2"), Some(-100));
    }

    #[test]
    fn doubles() {
        let rows: [(&str, Option<f64>); 8] = [
            ("1", Some(1.0)),
            ("-0.0", Some(-0.0)),
            ("-0", Some(-0.0)),
            ("0.30000000000000004", Some(0.1 + 0.2)),
            ("\"inf\"", Some(f64::INFINITY)),
            ("\"-inf\"", Some(f64::NEG_INFINITY)),
            ("1e400", None),
            ("\"nan\"", None),
        ];
        for (text, want) in rows {
            let got = lexer(text.as_bytes(), 32).double("a score").ok();
            assert_eq!(got.map(f64::to_bits), want.map(f64::to_bits), "{text}");
        }
    }

    #[test]
    fn what_is_json_is_what_others_take_for_it() {
        let rows = [
            "null",
            "true",
            "1",
            "-0.5e+3",
            "[]",
            "[ ]",
            "{}",
            "[[],{},[1,2],{\"a\":{}}]",
            "{\"a\":1,\"b\":[2, 3],\"\":{\"b\":false}}",
            "\"x\"",
            "",
            "nul",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "[",
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
            "NaN",
            "'a'",
            "{\"a\":1 \"b\":2}",
            "[1 2]",
            "]",
            "}",
        ];
        for text in rows {
            let padded = format!(" {text} ");
            for buffer in [32, 100] {
                let mut lexer = lexer(padded.as_bytes(), buffer);
                let ours = lexer.keep(Gather::new(5));
                let theirs = serde_json::from_str::<serde_json::Value>(text);
                assert_eq!(ours.is_ok(), theirs.is_ok(), "{text}");
                if let Ok(mut kept) = ours {
                    let mut copy = String::new();
                    kept.reader().unwrap().read_to_string(&mut copy).unwrap();
                    assert_eq!(copy, text);
                    assert_eq!(lexer.peek().unwrap(), None);
                }
            }
        }
        let nest = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(lexer(nest(128).as_bytes(), 32).skip().is_ok());
        assert!(lexer(nest(129).as_bytes(), 32).skip().is_err());
    }

    #[test]
    fn plain_lengths() {
        for n in 0..40 {
            for mark in [b'"', b'\\', 0x1f] {
                for high in [None, Some(n / 2)] {
                    let mut text = vec![b'a'; n];
                    if let Some(at) = high.filter(|_| n > 0) {
                        text[at] = 0xe9;
                    }
                    text.push(mark);
                    text.extend(b"\xff after");
                    assert_eq!(plain_len(&text), (n, high.is_some() && n > 0));
                    assert_eq!(plain_len(&text[..n]), (n, high.is_some() && n > 0));
                }
            }
        }
    }
}
