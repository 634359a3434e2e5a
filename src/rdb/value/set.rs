//! Sets.
//!
//! ```text
//!   2   n × STR        11  STR intset        20  STR listpack
//! ```

use super::{Elements, Scratches};
use crate::error::Result;
use crate::rdb::packed::{Element, intset, listpack};
use crate::rdb::string::RdbStr;
use crate::rdb::value_type::ValueType;

/// Calls `f` for each member, in the order of the file.
pub fn each(
    elements: &Elements<'_>,
    scratch: &mut Scratches,
    mut f: impl FnMut(Element<'_>) -> Result<()>,
) -> Result<()> {
    match elements.value_type {
        ValueType::Set => {
            let mut c = elements.cursor();
            while elements.more(&c) {
                f(RdbStr::read(&mut c)?.as_element(&mut scratch.first)?)?;
            }
        }
        ValueType::SetIntset => {
            let mut iter = intset::Iter::new(elements.blob(&mut scratch.blob)?)?;
            while let Some(e) = iter.next_element()? {
                f(e)?;
            }
        }
        ValueType::SetListpack => {
            let mut iter = listpack::Iter::new(elements.blob(&mut scratch.blob)?)?;
            while let Some(e) = iter.next_element()? {
                f(e)?;
            }
        }
        _ => return Err(elements.mismatch("set")),
    }
    Ok(())
}
