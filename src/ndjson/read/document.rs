//! JSON documents in the layouts of RedisJSON that are not text: the tree of 1.0 (version 0), and CBOR (version 4).
//!
//! ```text
//!   {"a":[1,true]}    tree   object 1, pair "a", array 2, integer 1, boolean "1"
//!                     CBOR   a1 61 61 82 01 f5
//! ```
//!
//! Counts stand before what they count, so a document is read twice: once to count. A number without point and exponent is an
//! integer, where it has room.

use super::bytes::bytes;
use super::gather::{Gather, Sink};
use super::lexer::Lexer;
use crate::error::{RdbError, Result};
use crate::rdb::value::module;
use crate::rdb::value::module::document::MAX_DEPTH;

/// One token of a document.
enum Token {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// A text, which is in the scratch; whether it is a name.
    Text(bool),
    /// An object (true) or an array, and how many pairs or elements it has.
    Open(bool, u64),
}

/// How many pairs or elements each object and array has, in the order in which they begin.
pub(super) fn counts(lex: &mut Lexer<'_>) -> Result<Vec<u64>> {
    let mut counts = Vec::new();
    let mut open = Vec::new();
    let mut scratch = Gather::new(1 << 20);
    walk(lex, &mut scratch, &mut |token, _| {
        match token {
            At::Element => {
                if let Some(n) = open.last().and_then(|&i: &usize| counts.get_mut(i)) {
                    *n += 1;
                }
            }
            At::Open(_) => {
                open.push(counts.len());
                counts.push(0);
            }
            At::Close => {
                open.pop();
            }
            At::Scalar(_) => {}
        }
        Ok(())
    })?;
    Ok(counts)
}

/// What a walk comes by.
enum At {
    /// An element or a pair begins.
    Element,
    Open(bool),
    Close,
    Scalar(Token),
}

/// Walks a document; a text is in the scratch when it is come to.
fn walk(
    lex: &mut Lexer<'_>,
    scratch: &mut Gather,
    f: &mut dyn FnMut(At, &mut Gather) -> Result<()>,
) -> Result<()> {
    // Objects (true) and arrays that are open, and whether nothing stands in them yet.
    let mut open: Vec<(bool, bool)> = Vec::new();
    loop {
        let at = match lex.peek()? {
            Some(b @ (b'{' | b'[')) => {
                if open.len() >= MAX_DEPTH {
                    let what = format!("a document of more than {MAX_DEPTH} levels");
                    return Err(RdbError::limit(lex.offset(), what).on_line(lex.line()));
                }
                lex.punctuation(b, "")?;
                open.push((b == b'{', true));
                At::Open(b == b'{')
            }
            Some(b'"') => {
                scratch.clear();
                bytes(lex, scratch)?;
                At::Scalar(Token::Text(false))
            }
            Some(b't') => {
                lex.word(b"true")?;
                At::Scalar(Token::Bool(true))
            }
            Some(b'f') => {
                lex.word(b"false")?;
                At::Scalar(Token::Bool(false))
            }
            Some(b'n') => {
                lex.word(b"null")?;
                At::Scalar(Token::Null)
            }
            _ => At::Scalar(number(lex)?),
        };
        f(at, scratch)?;
        loop {
            let Some((object, first)) = open.last_mut() else {
                return Ok(());
            };
            let object = *object;
            if lex.more(if object { b'}' } else { b']' }, first)? {
                f(At::Element, scratch)?;
                if object {
                    scratch.clear();
                    lex.text(scratch)?;
                    lex.punctuation(b':', "a colon")?;
                    f(At::Scalar(Token::Text(true)), scratch)?;
                }
                break;
            }
            f(At::Close, scratch)?;
            open.pop();
        }
    }
}

fn number(lex: &mut Lexer<'_>) -> Result<Token> {
    lex.peek()?;
    let at = lex.offset();
    let text = lex.digits()?;
    // Minus zero is a double only.
    if !text.contains(['.', 'e', 'E']) && text != "-0" {
        if let Ok(n) = text.parse() {
            return Ok(Token::Int(n));
        }
        if let Ok(n) = text.parse() {
            return Ok(Token::Uint(n));
        }
    }
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() => Ok(Token::Float(x)),
        _ => Err(lex.corrupt(at, "a number too large for a double")),
    }
}

/// Calls `f` for each token, objects and arrays with their counts.
fn each(
    lex: &mut Lexer<'_>,
    counts: &[u64],
    scratch: &mut Gather,
    mut f: impl FnMut(Token, &mut Gather) -> Result<()>,
) -> Result<()> {
    let mut counts = counts.iter();
    walk(lex, scratch, &mut |at, scratch| match at {
        At::Element | At::Close => Ok(()),
        At::Open(object) => {
            let n = counts.next().copied().unwrap_or_default();
            f(Token::Open(object, n), scratch)
        }
        At::Scalar(token) => f(token, scratch),
    })
}

/// Appends a document as a tree of module items.
pub(super) fn tree(
    lex: &mut Lexer<'_>,
    counts: &[u64],
    scratch: &mut Gather,
    to: &mut Gather,
) -> Result<()> {
    fn uint(n: u64, to: &mut Gather) {
        to.length(module::UINT);
        to.length(n);
    }
    each(lex, counts, scratch, |token, text| {
        match token {
            Token::Null => uint(1, to),
            Token::Text(is_name) => {
                uint(if is_name { 128 } else { 2 }, to);
                to.length(module::STRING);
                to.string_of(text)?;
            }
            Token::Float(x) => {
                uint(4, to);
                to.length(module::DOUBLE);
                to.put(&x.to_le_bytes())?;
            }
            Token::Uint(n) => {
                uint(4, to);
                to.length(module::DOUBLE);
                to.put(&(n as f64).to_le_bytes())?;
            }
            Token::Int(n) => {
                uint(8, to);
                uint(n as u64, to);
            }
            Token::Bool(b) => {
                uint(16, to);
                to.length(module::STRING);
                to.string(if b { b"1" } else { b"0" })?;
            }
            Token::Open(object, n) => {
                uint(if object { 32 } else { 64 }, to);
                uint(n, to);
            }
        }
        Ok(())
    })
}

/// Appends a document as CBOR.
pub(super) fn cbor(
    lex: &mut Lexer<'_>,
    counts: &[u64],
    scratch: &mut Gather,
    to: &mut Gather,
) -> Result<()> {
    fn head(major: u8, n: u64, to: &mut Gather) -> Result<()> {
        let major = major << 5;
        match n {
            0..24 => to.put(&[major | n as u8]),
            24..0x100 => to.put(&[major | 24, n as u8]),
            0x100..0x1_0000 => {
                to.put(&[major | 25])?;
                to.put(&(n as u16).to_be_bytes())
            }
            0x1_0000..0x1_0000_0000 => {
                to.put(&[major | 26])?;
                to.put(&(n as u32).to_be_bytes())
            }
            _ => {
                to.put(&[major | 27])?;
                to.put(&n.to_be_bytes())
            }
        }
    }
    each(lex, counts, scratch, |token, text| match token {
        Token::Null => to.put(&[0xf6]),
        Token::Bool(b) => to.put(&[0xf4 | u8::from(b)]),
        Token::Int(n) if n < 0 => head(1, !n as u64, to),
        Token::Int(n) => head(0, n as u64, to),
        Token::Uint(n) => head(0, n, to),
        Token::Float(x) => {
            to.put(&[0xfb])?;
            to.put(&x.to_be_bytes())
        }
        Token::Text(_) => {
            head(3, text.len(), to)?;
            to.all_of(text)
        }
        Token::Open(object, n) => head(if object { 5 } else { 4 }, n, to),
    })
}
