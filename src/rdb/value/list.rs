//! Lists.
//!
//! ```text
//!   1   n × STR                    10   STR ziplist
//!   14  n × STR ziplist            18   n × (LEN container, STR)     container 1: one element, 2: a listpack
//! ```

use super::{Elements, Scratches};
use crate::error::{RdbError, Result};
use crate::rdb::length;
use crate::rdb::packed::{Element, listpack, ziplist};
use crate::rdb::string::RdbStr;
use crate::rdb::value_type::ValueType;

/// Container of a quicklist node that is one element.
pub const PLAIN: u64 = 1;
/// Container of a quicklist node that is a listpack.
pub const PACKED: u64 = 2;

/// Calls `f` for each element, head first.
pub fn each(
    elements: &Elements<'_>,
    scratch: &mut Scratches,
    mut f: impl FnMut(Element<'_>) -> Result<()>,
) -> Result<()> {
    let mut c = elements.cursor();
    match elements.value_type {
        ValueType::List => {
            while elements.more(&c) {
                f(RdbStr::read(&mut c)?.as_element(&mut scratch.first)?)?;
            }
        }
        ValueType::ListZiplist | ValueType::ListQuicklist => {
            while elements.more(&c) {
                let blob = RdbStr::read(&mut c)?.as_blob(&mut scratch.blob)?;
                let mut iter = ziplist::Iter::new(blob)?;
                while let Some(e) = iter.next_element()? {
                    f(e)?;
                }
            }
        }
        ValueType::ListQuicklist2 => {
            while elements.more(&c) {
                let at = c.offset();
                let container = length::read(&mut c, "the container of a quicklist node")?;
                let node = RdbStr::read(&mut c)?;
                match container {
                    PLAIN if node.is_empty() => {
                        return Err(RdbError::corrupt(at, "an empty plain node in a quicklist"));
                    }
                    PLAIN => f(Element::Bytes(node.as_bytes(&mut scratch.blob)?))?,
                    PACKED => {
                        let mut iter = listpack::Iter::new(node.as_blob(&mut scratch.blob)?)?;
                        while let Some(e) = iter.next_element()? {
                            f(e)?;
                        }
                    }
                    other => {
                        return Err(RdbError::corrupt(
                            at,
                            format!("quicklist container {other}: expected 1 or 2"),
                        ));
                    }
                }
            }
        }
        _ => return Err(elements.mismatch("list")),
    }
    Ok(())
}
