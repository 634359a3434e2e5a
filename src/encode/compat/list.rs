//! Lists: quicklists of ziplists for Redis 3.2 to 6.2, plain elements for those before.
//!
//! ```text
//!   18  LEN n, n × (LEN 2, STR listpack | LEN 1, STR element)  ──►  14  LEN n, n × STR ziplist
//! ```

use super::{append, count};
use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use crate::out::Out;
use crate::rdb::length;
use crate::rdb::lzf::{self, Pieces};
use crate::rdb::packed::{listpack, ziplist};
use crate::rdb::string::{Form, RdbStr, Scratch};
use crate::rdb::value::list::{self, PACKED, PLAIN};
use crate::rdb::value::{Elements, Scratches};
use crate::rdb::write;

/// Size of a listpack without elements. Newer servers pass over such a node; older ones take it as it is and then stumble over it, so
/// it is left out. None writes one.
const EMPTY: usize = 7;

/// How many nodes there are that are not empty.
pub(super) fn nodes(elements: &Elements<'_>) -> Result<u64> {
    let mut n = 0;
    each_node(elements, |container, node, _| {
        n += u64::from(!is_empty(container, &node));
        Ok(())
    })?;
    Ok(n)
}

/// Refuses empty nodes: in a list that is written in parts they have been counted already.
pub(super) fn no_empty_nodes(elements: &Elements<'_>) -> Result<()> {
    each_node(elements, |container, node, at| {
        if is_empty(container, &node) {
            return Err(RdbError::unsupported(
                at,
                "a node without elements in a list of this size, which releases before 7.0 do not load",
            ));
        }
        Ok(())
    })
}

fn is_empty(container: u64, node: &RdbStr<'_>) -> bool {
    container == PACKED && node.len() == EMPTY
}

pub(super) fn each_node<'a>(
    elements: &Elements<'a>,
    mut f: impl FnMut(u64, RdbStr<'a>, u64) -> Result<()>,
) -> Result<()> {
    let mut c = Cursor::new(elements.bytes, elements.offset);
    while !c.is_empty() {
        let at = c.offset();
        let container = length::read(&mut c, "the container of a quicklist node")?;
        f(container, RdbStr::read(&mut c)?, at)?;
    }
    Ok(())
}

/// Appends the nodes of a type 18 as those of a type 14, one for one but for those that are empty.
pub(super) fn quicklist(
    elements: &Elements<'_>,
    scratch: &mut Scratch,
    ziplist: &mut ziplist::Builder,
    out: &mut Out<'_>,
) -> Result<()> {
    each_node(elements, |container, node, at| {
        match container {
            PLAIN => one_element(&node, at, scratch, out)?,
            PACKED => {
                let blob = node.as_blob(scratch)?;
                let mut iter = listpack::Iter::new(blob)?;
                ziplist.clear();
                while let Some(e) = iter.next_element()? {
                    if !ziplist.push(e) {
                        return Err(too_large(at));
                    }
                }
                if !ziplist.is_empty() {
                    let bytes = ziplist.finish();
                    write::len(bytes.len() as u64, out);
                    write::bytes(bytes, out)?;
                }
            }
            other => {
                return Err(RdbError::corrupt(
                    at,
                    format!("quicklist container {other}: expected 1 or 2"),
                ));
            }
        }
        out.checkpoint()
    })
}

/// Appends a ziplist of one element, which may be large.
fn one_element(node: &RdbStr<'_>, at: u64, scratch: &mut Scratch, out: &mut Out<'_>) -> Result<()> {
    if node.is_empty() {
        return Err(RdbError::corrupt(at, "an empty plain node in a quicklist"));
    }
    let (before, total) = ziplist::before_one(node.len()).ok_or_else(|| too_large(at))?;
    write::len(total.into(), out);
    out.raw(&before);
    match node.form() {
        Form::Lzf { data, len } if len > lzf::WHOLE => {
            let mut pieces = Pieces::new(data, len);
            while let Some(piece) = pieces
                .next_piece()
                .map_err(|e| e.into_error(node.offset()))?
            {
                out.raw(piece);
                out.checkpoint()?;
            }
        }
        _ => write::bytes(node.as_bytes(scratch)?, out)?,
    }
    out.byte(0xff);
    Ok(())
}

/// Appends the elements of any list, and their number before them.
pub(super) fn plain(
    elements: &Elements<'_>,
    scratch: &mut Scratches,
    out: &mut Out<'_>,
) -> Result<()> {
    let mut n = 0;
    list::each(elements, scratch, |_| count(&mut n))?;
    write::len(n, out);
    list::each(elements, scratch, |e| append(e, out))
}

#[cold]
fn too_large(at: u64) -> RdbError {
    RdbError::unsupported(
        at,
        "a quicklist node of more than 4 GiB, which no ziplist can hold",
    )
}
