//! Values for servers of another release: passed on as they are, re-encoded into a type that the release loads, or lost.
//!
//! ```text
//!   list     18 ──► 14 ──► 1                      nodes one for one ──► elements
//!   set      11 20 ──► 2
//!   zset     12 17 ──► 5 ──► 3
//!   hash     9 13 16  29 to 32 ──► 4
//!   hash     24 25 ◄──► HASH_2                    expiries of fields; 22 and 23 of the release candidate ──► 24 25
//!            all of them ──► 4                    without the expiries
//!   stream   27 ──► 26 ──► 21 ──► 19 ──► 15       the nodes as they are, another tail
//!
//!   7 28 33                                       nothing else is like them
//! ```
//!
//! Where there is a choice it is the plain type: every server loads it, and it has neither an order nor back lengths to get right. The
//! exception are lists, whose plain type begins with the number of elements, which is known only at the end; a quicklist begins
//! with that of its nodes. So a value of any size can be written in parts, but for a list towards releases before 3.2.

mod backlen;
mod hash;
mod list;
mod stream;
mod zset;

#[cfg(test)]
mod tests;

use super::Part;
use super::loss::{Losses, Reason};
use crate::cursor::Cursor;
use crate::error::{RdbError, Result};
use crate::out::Out;
use crate::rdb::entry::Entry;
use crate::rdb::length;
use crate::rdb::logical_type::LogicalType;
use crate::rdb::packed::{Element, ziplist};
use crate::rdb::release::{Engine, Release};
use crate::rdb::skip::Unit;
use crate::rdb::string::Scratch;
use crate::rdb::template::Templates;
use crate::rdb::value::module::ModuleId;
use crate::rdb::value::{Elements, Scratches, set};
use crate::rdb::value_type::ValueType;
use crate::rdb::write;

/// What becomes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is passed on as it is.
    AsIs,
    /// It is re-encoded as a value of this type.
    As(ValueType),
    /// No serialized form will do, but ordinary commands.
    Commands,
    /// There is no equivalent.
    Lost(Reason),
}

/// What to do with a value of type `t` for servers of `release`; of the release that wrote it, or any that loads the
/// same, if there is none.
///
/// Without a release everything is passed on but what only a file can hold (references to templates), and what only release
/// candidates knew.
///
/// ```
/// use rdbtool::encode::compat::{Way, way};
/// use rdbtool::rdb::{release::Release, value_type::ValueType};
/// let redis_6 = Some(Release::redis(6, 2));
/// assert_eq!(way(ValueType::HashListpack, redis_6), Way::As(ValueType::Hash));
/// assert_eq!(way(ValueType::HashZiplist, redis_6), Way::AsIs);
/// ```
pub fn way(t: ValueType, release: Option<Release>) -> Way {
    use ValueType as T;
    match (t, release) {
        (T::ModulePreGa, _) => return Way::Lost(Reason::Module),
        (T::HashTemplateListpackRef | T::HashTemplateArrayRef, _) => return Way::As(T::Hash),
        (T::HashMetadataPreGa, None) => return Way::As(T::HashMetadata),
        (T::HashListpackExPreGa, None) => return Way::As(T::HashListpackEx),
        _ => {}
    }
    let Some(release) = release else {
        return Way::AsIs;
    };
    // Before 2.6 a ziplist could not hold all the integers that it can now.
    let old_ziplist =
        release.rdb_version() < 6 && matches!(t, T::ListZiplist | T::ZsetZiplist | T::HashZiplist);
    if release.loads(t) && !old_ziplist {
        return Way::AsIs;
    }
    let to: &[ValueType] = match t {
        T::ListQuicklist2 => &[T::ListQuicklist, T::List],
        T::ListQuicklist | T::ListZiplist => &[T::List],
        T::SetIntset | T::SetListpack => &[T::Set],
        T::Zset2 | T::ZsetListpack | T::ZsetZiplist => &[T::Zset2, T::Zset],
        T::HashZipmap
        | T::HashZiplist
        | T::HashListpack
        | T::HashTemplateListpack
        | T::HashTemplateArray => &[T::Hash],
        T::HashListpackExPreGa => &[T::HashListpackEx, T::Hash2, T::Hash],
        T::HashMetadataPreGa | T::HashMetadata | T::HashListpackEx | T::Hash2 => {
            &[T::HashMetadata, T::Hash2, T::Hash]
        }
        T::StreamListpacks
        | T::StreamListpacks2
        | T::StreamListpacks3
        | T::StreamListpacks4
        | T::StreamListpacks5 => &[
            T::StreamListpacks4,
            T::StreamListpacks3,
            T::StreamListpacks2,
            T::StreamListpacks,
        ],
        _ => &[],
    };
    match to.iter().find(|&&t| release.loads(t)) {
        Some(&t) => Way::As(t),
        None => Way::Lost(match t.logical() {
            LogicalType::Stream => Reason::Stream,
            LogicalType::Array => Reason::Array,
            LogicalType::RateLimiter => Reason::RateLimiter,
            _ => Reason::Module,
        }),
    }
}

/// The same for a value that is written in parts, each before the next has been seen.
///
/// The plain type of a list begins with the number of its elements, so for releases that know no quicklist commands are the way.
pub fn way_in_parts(t: ValueType, release: Option<Release>) -> Way {
    match way(t, release) {
        Way::As(ValueType::List) => Way::Commands,
        way => way,
    }
}

/// Whether more than its type decides what becomes of a value of type `t` that would be passed on as it is: [`way_of`] must be asked.
pub fn depends(t: ValueType) -> bool {
    use ValueType as T;
    matches!(
        t,
        T::Module2
            | T::ListQuicklist2
            | T::SetListpack
            | T::ZsetListpack
            | T::HashListpack
            | T::HashListpackEx
    ) || t.stream_version().is_some()
}

/// The same for one value, where more than its type decides.
///
/// A vector set is a module's value, but of a module that is part of Redis 8.0 and of nothing else. Values of other modules are
/// passed on to whoever can load module values. Listpacks with entries of certain sizes are not the same to all servers.
pub fn way_of(entry: &Entry<'_>, release: Option<Release>, scratch: &mut Scratch) -> Result<Way> {
    let way = way(entry.value_type, release);
    if way != Way::AsIs || !depends(entry.value_type) {
        return Ok(way);
    }
    if entry.value_type != ValueType::Module2 {
        return Ok(backlen::way_around(entry, release, scratch).map_or(way, Way::As));
    }
    let Some(release) = release else {
        return Ok(way);
    };
    let id = ModuleId::read(&mut Cursor::new(entry.body, entry.body_offset))?;
    let known = release.engine == Engine::Redis && release.version >= (8, 0);
    if id.name() == *b"vectorset" && !known {
        return Ok(Way::Lost(Reason::Module));
    }
    Ok(way)
}

/// Re-encodes values, one after the other, with buffers that are kept.
#[derive(Debug, Default)]
pub struct Rewriter {
    /// What is written for, if that is known.
    release: Option<Release>,
    scratch: Scratches,
    key: Scratch,
    ziplist: ziplist::Builder,
}

impl Rewriter {
    /// One for servers of `release`, if that is known; with empty buffers.
    pub fn new(release: Option<Release>) -> Self {
        Rewriter {
            release,
            ..Self::default()
        }
    }

    /// What becomes of one value: [`way_of`].
    pub fn way_of(&mut self, entry: &Entry<'_>) -> Result<Way> {
        way_of(entry, self.release, &mut self.scratch.blob)
    }

    /// Whether part of a value cannot be passed on as it is although its type can, and must be written by [`Rewriter::part`].
    pub fn wants(&mut self, part: &Part<'_>) -> bool {
        depends(part.entry.value_type)
            && backlen::in_part(part, self.release, &mut self.scratch.blob)
    }

    fn form(&self) -> Option<backlen::Form> {
        self.release.map(backlen::Form::of)
    }

    /// Appends a value as it is serialized in type `to`, without the type byte. What could not be kept is noted, each reason once,
    /// and only when the whole value has been appended.
    ///
    /// # Errors
    ///
    /// The value is broken, or [`way`] never gives `to` for its type.
    pub fn value(
        &mut self,
        entry: &Entry<'_>,
        templates: &Templates,
        to: ValueType,
        losses: &mut Losses,
        out: &mut Out<'_>,
    ) -> Result<()> {
        let from = entry.value_type;
        if let Some(version) = from.stream_version() {
            let to = self.stream_version(from, to, entry.body_offset)?;
            let mut lost = Vec::new();
            let how = (version, to, self.form());
            stream::value(entry, how, &mut self.scratch.blob, &mut lost, out)?;
            return self.note(entry, &lost, losses);
        }
        let (elements, count) = Elements::of(entry)?;
        let mut lost = false;
        match to {
            ValueType::ListQuicklist if from == ValueType::ListQuicklist2 => {
                write::len(list::nodes(&elements)?, out);
                list::quicklist(&elements, &mut self.scratch.blob, &mut self.ziplist, out)?;
            }
            ValueType::ListQuicklist2 if from == to => {
                write::len(count_of_nodes(entry)?, out);
                backlen::list(&elements, self.form(), &mut self.scratch.blob, out)?;
            }
            ValueType::List => list::plain(&elements, &mut self.scratch, out)?,
            ValueType::Set => self.set(&elements, out)?,
            ValueType::Zset | ValueType::Zset2 => {
                zset::value(&elements, count, to, &mut self.scratch, out)?;
            }
            ValueType::HashListpackEx if from == ValueType::HashListpackExPreGa => {
                // The smallest expiry: servers only look at those of the fields.
                out.lit(&[0; 8]);
                write::bytes(entry.body, out)?;
            }
            ValueType::Hash | ValueType::Hash2 | ValueType::HashMetadata => {
                lost = hash::value(&elements, templates, to, &mut self.scratch, out)?;
            }
            _ => return Err(no_way(from, to, entry.body_offset)),
        }
        if lost {
            self.note(entry, &[Reason::FieldExpiry], losses)?;
        }
        Ok(())
    }

    /// Appends part of a value as it is serialized in type `to`: what `value` would append, but that field expiries of type 24 may count
    /// from another time. What could not be kept is noted with the last part; until then `elements`, which is what
    /// [`Part::elements_before`] sums up, counts what was lost.
    ///
    /// # Errors
    ///
    /// The value is broken, or [`way_in_parts`] never gives `to` for its type.
    pub fn part(
        &mut self,
        part: &Part<'_>,
        to: ValueType,
        elements: &mut u64,
        losses: &mut Losses,
        out: &mut Out<'_>,
    ) -> Result<()> {
        let from = part.entry.value_type;
        if let Some(version) = from.stream_version() {
            let to = self.stream_version(from, to, part.offset)?;
            let mut lost = Vec::new();
            let how = (version, to, self.form());
            stream::part(part, how, &mut self.scratch.blob, &mut lost, out)?;
            return self.note(&part.entry, &lost, losses);
        }
        let units = part.elements();
        if part.first {
            let count = count_of(part)?;
            if to == ValueType::HashMetadata {
                out.lit(&hash::SINCE_1970.to_le_bytes());
            }
            write::len(count, out);
        }
        match (from, to) {
            (ValueType::ListQuicklist2, ValueType::ListQuicklist2) => {
                backlen::list(&units, self.form(), &mut self.scratch.blob, out)?;
            }
            (ValueType::ListQuicklist2, ValueType::ListQuicklist) => {
                list::no_empty_nodes(&units)?;
                list::quicklist(&units, &mut self.scratch.blob, &mut self.ziplist, out)?;
            }
            (ValueType::Zset2, ValueType::Zset) => zset::units(&units, out)?,
            (_, ValueType::Hash | ValueType::Hash2 | ValueType::HashMetadata)
                if from.has_field_expiry() =>
            {
                *elements += hash::units(&units, to, hash::SINCE_1970, out)?;
                if part.last.is_some() && (part.elements_before)() + *elements > 0 {
                    self.note(&part.entry, &[Reason::FieldExpiry], losses)?;
                }
            }
            _ => return Err(no_way(from, to, part.offset)),
        }
        Ok(())
    }

    fn set(&mut self, elements: &Elements<'_>, out: &mut Out<'_>) -> Result<()> {
        let mut n = 0;
        set::each(elements, &mut self.scratch, |_| count(&mut n))?;
        write::len(n, out);
        set::each(elements, &mut self.scratch, |e| append(e, out))
    }

    fn stream_version(&self, from: ValueType, to: ValueType, at: u64) -> Result<u8> {
        to.stream_version()
            .filter(|&v| Some(v) <= from.stream_version())
            .ok_or_else(|| no_way(from, to, at))
    }

    /// Notes what was lost of a key.
    pub(super) fn note(
        &mut self,
        entry: &Entry<'_>,
        lost: &[Reason],
        losses: &mut Losses,
    ) -> Result<()> {
        if !lost.is_empty() {
            let key = entry.key.as_bytes(&mut self.key)?;
            for &reason in lost {
                losses.note(reason, entry.db, key);
            }
        }
        Ok(())
    }
}

/// Counts one more: a visitor of elements.
fn count(n: &mut u64) -> Result<()> {
    *n += 1;
    Ok(())
}

/// Appends an element as a string.
#[inline]
fn append(e: Element<'_>, out: &mut Out<'_>) -> Result<()> {
    write::element(e, out)?;
    out.checkpoint()
}

/// The number of nodes of a quicklist.
fn count_of_nodes(e: &Entry<'_>) -> Result<u64> {
    length::read(&mut Cursor::new(e.body, e.body_offset), "nodes")
}

/// The number of units, which stands before the first of them.
fn count_of(part: &Part<'_>) -> Result<u64> {
    let mut c = Cursor::new(part.raw, part.entry.body_offset);
    let prefix = Unit::of(part.entry.value_type).map_or(0, |(_, prefix)| prefix);
    c.take(prefix, "the smallest field expiry")?;
    length::read(&mut c, "elements")
}

#[cold]
fn no_way(from: ValueType, to: ValueType, at: u64) -> RdbError {
    RdbError::unsupported(
        at,
        format!(
            "a value of type {} ({}) cannot be written as one of type {} ({})",
            from.byte(),
            from.name(),
            to.byte(),
            to.name()
        ),
    )
}
