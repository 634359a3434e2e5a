//! Documents of RedisJSON 1.0 (`ReJSON-RL`, version 0): a tree of nodes in module items.
//!
//! ```text
//!   UINT 1                         null
//!   UINT 2   STRING                text
//!   UINT 4   DOUBLE                number
//!   UINT 8   UINT                  integer, two's complement
//!   UINT 16  STRING "0" or "1"     boolean
//!   UINT 32  UINT n, n × ( UINT 128, STRING key, node )     object
//!   UINT 64  UINT n, n × node                               array
//! ```

use super::Items;
use super::document::{Document, Event};
use crate::error::{RdbError, Result};
use crate::rdb::string::{Form, RdbStr};

const NULL: u64 = 1;
const TEXT: u64 = 2;
const NUMBER: u64 = 4;
const INTEGER: u64 = 8;
const BOOLEAN: u64 = 16;
const OBJECT: u64 = 32;
const ARRAY: u64 = 64;
const PAIR: u64 = 128;

/// A reader of such a tree.
#[derive(Debug, Clone)]
pub struct Tree<'a> {
    items: Items<'a>,
}

impl<'a> Tree<'a> {
    /// The tree in these items.
    pub fn new(items: Items<'a>) -> Self {
        Tree { items }
    }

    fn corrupt(&self, what: String) -> RdbError {
        RdbError::corrupt(self.items.cursor().offset(), what)
    }
}

impl<'a> Document<'a> for Tree<'a> {
    fn value(&mut self) -> Result<Event<'a>> {
        Ok(match self.items.uint("the kind of a JSON node")? {
            NULL => Event::Null,
            TEXT => Event::Text(self.items.string("a JSON text")?),
            NUMBER => Event::Float(self.items.double("a JSON number")?),
            INTEGER => Event::Int(self.items.uint("a JSON integer")? as i64),
            BOOLEAN => match self.items.string("a JSON boolean")?.form() {
                Form::Raw(b"1") | Form::Int(1) => Event::Bool(true),
                Form::Raw(b"0") | Form::Int(0) => Event::Bool(false),
                _ => return Err(self.corrupt("JSON boolean: expected \"0\" or \"1\"".into())),
            },
            OBJECT => Event::Map(Some(self.items.uint("the size of a JSON object")?)),
            ARRAY => Event::Array(Some(self.items.uint("the size of a JSON array")?)),
            n => return Err(self.corrupt(format!("JSON node of kind {n}"))),
        })
    }

    fn key(&mut self) -> Result<RdbStr<'a>> {
        match self.items.uint("the kind of a JSON node")? {
            PAIR => self.items.string("the key of a JSON pair"),
            n => Err(self.corrupt(format!("JSON node of kind {n} in an object"))),
        }
    }

    fn ended(&mut self) -> bool {
        false
    }

    fn end(&mut self) -> Result<()> {
        self.items.end()
    }
}
