//! Values of all types but streams and modules.
//!
//! ```text
//!   "x"                                   type 0     STR
//!   ["a","b"]                             1, 2       LEN n, n × STR
//!   [{"member":"a","score":1.5}]          5          LEN n, n × (STR, f64 LE)
//!   {"f":"v"}                             4          LEN n, n × (STR, STR)
//!   [{"field":"f","value":"v"}]           24         i64 LE 0, LEN n, n × (LEN expiry + 1 or 0, STR, STR)
//!                                         22         LEN n, n × (STR, STR, i64 LE expiry or -1), in files of Valkey
//!   {"cursor":0,"elements":[...]}         28         LEN n, LEN 0 or 1, [LEN cursor], n × (LEN index, LEN tag, payload)
//!   7                                     33         LEN
//! ```
//!
//! The simplest encoding of each: every server of a version that has the type reads it.

use super::bytes::{self, bytes as read_bytes, string};
use super::gather::Sink;
use super::lexer::Lexer;
use super::{Written, twice, unknown};
use crate::error::Result;
use crate::rdb::value::array::{self, DoubleText};
use crate::rdb::value_type::ValueType;
use crate::rdb::{header::Dialect, length};

/// Expiries of fields are below.
const MAX_FIELD_EXPIRY: i64 = 1 << 48;

/// A string.
pub(super) fn plain(lex: &mut Lexer<'_>, w: &mut Written) -> Result<ValueType> {
    bytes::bytes(lex, &mut w.body)?;
    length::write(w.body.len(), &mut w.head);
    Ok(ValueType::String)
}

/// A list or a set.
pub(super) fn strings(lex: &mut Lexer<'_>, t: ValueType, w: &mut Written) -> Result<ValueType> {
    lex.punctuation(b'[', "an array of strings")?;
    let (mut n, mut first) = (0, true);
    while lex.more(b']', &mut first)? {
        string(lex, &mut w.first, &mut w.body)?;
        n += 1;
    }
    length::write(n, &mut w.head);
    Ok(t)
}

/// A sorted set.
pub(super) fn zset(lex: &mut Lexer<'_>, w: &mut Written) -> Result<ValueType> {
    lex.punctuation(b'[', "an array of members with their scores")?;
    let (mut n, mut first) = (0, true);
    while lex.more(b']', &mut first)? {
        lex.punctuation(b'{', "an object {\"member\":...,\"score\":...}")?;
        let start = lex.offset();
        let (mut member, mut score, mut first) = (false, None, true);
        while lex.more(b'}', &mut first)? {
            let at = lex.offset();
            match lex.name()? {
                b"member" if !member => {
                    string(lex, &mut w.first, &mut w.body)?;
                    member = true;
                }
                b"score" if score.is_none() => score = Some(lex.double("a score")?),
                b"member" | b"score" => return Err(twice(lex, at)),
                _ => return Err(unknown(lex, at, "a member of a sorted set")),
            }
        }
        match score {
            Some(score) if member => w.body.put(&score.to_le_bytes())?,
            _ => return Err(lex.corrupt(start, "expected both \"member\" and \"score\"")),
        }
        n += 1;
    }
    length::write(n, &mut w.head);
    Ok(ValueType::Zset2)
}

/// A hash, in either of its shapes.
pub(super) fn hash(lex: &mut Lexer<'_>, dialect: Dialect, w: &mut Written) -> Result<ValueType> {
    let (mut n, mut first) = (0, true);
    match lex.peek()? {
        Some(b'{') => {
            lex.punctuation(b'{', "")?;
            while lex.more(b'}', &mut first)? {
                bytes::name(lex, &mut w.first, &mut w.body)?;
                string(lex, &mut w.first, &mut w.body)?;
                n += 1;
            }
            length::write(n, &mut w.head);
            Ok(ValueType::Hash)
        }
        Some(b'[') => {
            lex.punctuation(b'[', "")?;
            while lex.more(b']', &mut first)? {
                field(lex, dialect, w)?;
                n += 1;
            }
            let t = match dialect {
                Dialect::Valkey => ValueType::Hash2,
                Dialect::Redis => {
                    // Expiries count from 0: the least of them is not known before the last.
                    w.head.extend_from_slice(&0i64.to_le_bytes());
                    ValueType::HashMetadata
                }
            };
            length::write(n, &mut w.head);
            Ok(t)
        }
        _ => Err(lex.expected("an object of fields, or an array of them with expiries")),
    }
}

/// A field that may have an expiry.
fn field(lex: &mut Lexer<'_>, dialect: Dialect, w: &mut Written) -> Result<()> {
    lex.punctuation(b'{', "an object {\"field\":...,\"value\":...}")?;
    let start = lex.offset();
    w.first.clear();
    w.second.clear();
    let (mut field, mut value, mut expiry, mut first) = (false, false, None, true);
    while lex.more(b'}', &mut first)? {
        let at = lex.offset();
        match lex.name()? {
            b"field" if !field => {
                read_bytes(lex, &mut w.first)?;
                field = true;
            }
            b"value" if !value => {
                read_bytes(lex, &mut w.second)?;
                value = true;
            }
            b"expire_at_ms" if expiry.is_none() => {
                lex.peek()?;
                let at = lex.offset();
                let ms = lex.i64("an expiry")?;
                let most = match dialect {
                    Dialect::Redis => MAX_FIELD_EXPIRY - 1,
                    Dialect::Valkey => i64::MAX,
                };
                if !(0..=most).contains(&ms) {
                    let what = format!("{ms}: expected the expiry of a field, 0 to {most}");
                    return Err(lex.corrupt(at, what));
                }
                expiry = Some(ms);
            }
            b"field" | b"value" | b"expire_at_ms" => return Err(twice(lex, at)),
            _ => return Err(unknown(lex, at, "a field of a hash")),
        }
    }
    if !field || !value {
        return Err(lex.corrupt(start, "expected both \"field\" and \"value\""));
    }
    if dialect == Dialect::Redis {
        w.body.length(expiry.map_or(0, |ms| ms as u64 + 1));
    }
    w.body.string_of(&mut w.first)?;
    w.body.string_of(&mut w.second)?;
    if dialect == Dialect::Valkey {
        w.body.put(&expiry.unwrap_or(-1).to_le_bytes())?;
    }
    Ok(())
}

/// An array.
pub(super) fn array(lex: &mut Lexer<'_>, w: &mut Written) -> Result<ValueType> {
    lex.punctuation(b'{', "an object {\"elements\":[...]}")?;
    let start = lex.offset();
    let (mut cursor, mut n, mut first) = (None, None, true);
    while lex.more(b'}', &mut first)? {
        let at = lex.offset();
        match lex.name()? {
            b"cursor" if cursor.is_none() => cursor = Some(lex.u64("a cursor")?),
            b"elements" if n.is_none() => n = Some(elements(lex, w)?),
            b"cursor" | b"elements" => return Err(twice(lex, at)),
            _ => return Err(unknown(lex, at, "an array")),
        }
    }
    let Some(n) = n else {
        return Err(lex.corrupt(start, "expected \"elements\""));
    };
    length::write(n, &mut w.head);
    length::write(cursor.is_some().into(), &mut w.head);
    if let Some(cursor) = cursor {
        length::write(cursor, &mut w.head);
    }
    Ok(ValueType::Array)
}

fn elements(lex: &mut Lexer<'_>, w: &mut Written) -> Result<u64> {
    lex.punctuation(b'[', "an array of elements")?;
    let (mut n, mut first) = (0, true);
    let mut last = None;
    while lex.more(b']', &mut first)? {
        lex.punctuation(b'{', "an object {\"index\":n,\"value\":...}")?;
        let start = lex.offset();
        w.first.clear();
        let (mut index, mut value, mut first) = (None, false, true);
        while lex.more(b'}', &mut first)? {
            let at = lex.offset();
            match lex.name()? {
                b"index" if index.is_none() => index = Some(lex.u64("an index")?),
                b"value" if !value => {
                    read_bytes(lex, &mut w.first)?;
                    value = true;
                }
                b"index" | b"value" => return Err(twice(lex, at)),
                _ => return Err(unknown(lex, at, "an element of an array")),
            }
        }
        let Some(index) = index.filter(|_| value) else {
            return Err(lex.corrupt(start, "expected both \"index\" and \"value\""));
        };
        if index == u64::MAX || last.is_some_and(|last| index <= last) {
            let what = match last {
                Some(last) => format!("index {index} after {last}: expected ascending ones"),
                None => format!("index {index}: the largest is {}", u64::MAX - 1),
            };
            return Err(lex.corrupt(start, what));
        }
        last = Some(index);
        w.body.length(index);
        element(w)?;
        n += 1;
    }
    Ok(n)
}

/// Writes an element as the server would keep it: a number that its text gives back as one.
fn element(w: &mut Written) -> Result<()> {
    let Some(text) = w.first.in_memory() else {
        w.body.length(array::TAG_STRING);
        return w.body.string_of(&mut w.first);
    };
    if let Some(n) = canonical_int(text) {
        w.body.length(array::TAG_INT);
        return w.body.put(&n.to_le_bytes());
    }
    if text.len() <= 32
        && matches!(text.first(), Some(b'-' | b'0'..=b'9'))
        && let Some(x) = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok())
        && DoubleText::new().format(x) == text
    {
        w.body.length(array::TAG_DOUBLE);
        return w.body.put(&x.to_le_bytes());
    }
    w.body.length(match text.len() {
        0..=7 => array::TAG_SHORT,
        _ => array::TAG_STRING,
    });
    w.body.string(text)
}

/// The integer of which this is the decimal text, and the only one.
#[inline]
pub(super) fn canonical_int(text: &[u8]) -> Option<i64> {
    if !(1..=20).contains(&text.len()) || !matches!(text.first(), Some(b'-' | b'0'..=b'9')) {
        return None;
    }
    let n: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (itoa::Buffer::new().format(n).as_bytes() == text).then_some(n)
}

/// A rate limiter.
pub(super) fn gcra(lex: &mut Lexer<'_>, w: &mut Written) -> Result<ValueType> {
    length::write(lex.u64("an arrival time")?, &mut w.head);
    Ok(ValueType::Gcra)
}
