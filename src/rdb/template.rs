//! Field names that many hashes share (RDB 15).
//!
//! ```text
//!   F2 | LEN id | LEN n | n × STR field name
//! ```
//!
//! Not seen from a server yet: described by the published change and two public readers.

use super::skip;
use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The field names of one template, as the file has them.
#[derive(Debug)]
pub struct Template {
    /// How many names.
    pub fields: u64,
    /// The names, `fields` × STR.
    pub names: Box<[u8]>,
    /// Where the first of them lies in the file.
    pub offset: u64,
}

/// The templates declared so far. Cheap to clone; ids may be any number, so it is a map.
#[derive(Debug, Clone, Default)]
pub struct Templates(Arc<BTreeMap<u64, Arc<Template>>>);

impl Templates {
    /// The template of this id.
    pub fn get(&self, id: u64) -> Option<&Template> {
        self.0.get(&id).map(|t| &**t)
    }

    /// Reads what follows the opcode and remembers it.
    pub(crate) fn read(&mut self, c: &mut Cursor<'_>, whole: bool) -> Result<()> {
        let at = c.offset();
        let id = super::length::read(c, "a template id")?;
        let fields = skip::count(c, 1, whole, "field names")?;
        if fields == 0 {
            return Err(RdbError::corrupt(
                at,
                format!("hash template {id} has no field"),
            ));
        }
        let (from, offset) = (c.position(), c.offset());
        for _ in 0..fields {
            skip::skip_str(c)?;
        }
        let names = c.since(from).into();
        Arc::make_mut(&mut self.0).insert(
            id,
            Arc::new(Template {
                fields,
                names,
                offset,
            }),
        );
        Ok(())
    }
}
