//! Keys as JSON: one object a key.
//!
//! ```text
//!   {"db":0,"key":S,"type":"hash","expire_at_ms":n,"idle_s":n,"freq":n,"value":...,"meta":{...}}
//! ```
//!
//! Fields come in this order; absent ones are left out. The four formats are the same objects: a line each, one array, only
//! the keys, or the columns of a table.

mod array;
mod command;
mod csv;
mod module;
mod stream;
mod string;

use super::{Encode, Part};
use crate::cluster::slot::slot;
use crate::command::Command;
use crate::cursor::Cursor;
use crate::error::Result;
use crate::ndjson::{escape, number};
use crate::out::Out;
use crate::rdb::entry::Entry;
use crate::rdb::header::Header;
use crate::rdb::logical_type::LogicalType;
use crate::rdb::scan::Item;
use crate::rdb::string::{Form, RdbStr, Scratch};
use crate::rdb::template::Templates;
use crate::rdb::value::{Elements, Scratches, hash, list, set, zset};
use crate::rdb::value_type::ValueType;
use crate::rdb::{length, lzf};

/// What the output looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One object a line.
    #[default]
    Ndjson,
    /// One array of objects.
    Json,
    /// Only the keys, a JSON string a line.
    Keys,
    /// Comma-separated values with a header line.
    Csv,
}

impl Format {
    /// What the whole output begins with, before any item.
    pub fn prologue(self, meta: bool) -> &'static [u8] {
        match (self, meta) {
            (Format::Csv, false) => b"db,key,type,expire_at_ms,idle_s,freq,value\n",
            (Format::Csv, true) => {
                b"db,key,type,expire_at_ms,idle_s,freq,value,encoding,rdb_type,rdb_bytes,elements,slot,offset\n"
            }
            _ => b"",
        }
    }

    /// Appends the line of a SELECT, where the format has one.
    pub fn select(self, db: u64, out: &mut Out<'_>) {
        match self {
            Format::Keys | Format::Csv => return,
            Format::Json => out.byte(b','),
            Format::Ndjson => {}
        }
        out.lit(b"{\"select\":");
        out.u64(db);
        out.lit(b"}\n");
    }
}

/// Encodes items as JSON.
#[derive(Debug)]
pub struct Json {
    format: Format,
    meta: bool,
    selects: bool,
    version: u32,
    scratch: Scratches,
    key: Scratch,
}

/// What `--meta` tells of a value that is known only once it has been walked.
struct Measured {
    rdb_bytes: u64,
    elements: Option<u64>,
    encoding: &'static str,
}

impl Json {
    /// An encoder for the items of a file with this header; `meta` adds what the file knows of each key beside its data.
    pub fn new(format: Format, meta: bool, header: Header) -> Self {
        Json {
            format,
            meta,
            selects: false,
            version: header.version,
            scratch: Scratches::default(),
            key: Scratch::new(),
        }
    }

    /// The same with a line for each SELECT of a log, so that what is made of the lines again is the same log.
    #[must_use]
    pub fn with_selects(mut self, selects: bool) -> Self {
        self.selects = selects;
        self
    }

    /// Everything up to the value.
    #[inline]
    fn open(&mut self, e: &Entry<'_>, out: &mut Out<'_>) -> Result<()> {
        match self.format {
            Format::Csv => return csv::open(e, &mut self.key, out),
            Format::Json => out.byte(b','),
            Format::Ndjson | Format::Keys => {}
        }
        if e.db == 0 {
            out.lit(b"{\"db\":0,\"key\":");
        } else {
            out.lit(b"{\"db\":");
            out.u64(e.db);
            out.lit(b",\"key\":");
        }
        escape::element(e.key.as_element(&mut self.key)?, out)?;
        match e.value_type.logical() {
            LogicalType::String => out.lit(b",\"type\":\"string\""),
            other => {
                out.lit(b",\"type\":\"");
                out.raw(other.name().as_bytes());
                out.byte(b'"');
            }
        }
        if let Some(ms) = e.expire_at_ms {
            out.lit(b",\"expire_at_ms\":");
            out.i64(ms);
        }
        if let Some(s) = e.idle_s {
            out.lit(b",\"idle_s\":");
            out.u64(s);
        }
        if let Some(n) = e.freq {
            out.lit(b",\"freq\":");
            out.u64(n.into());
        }
        if !e.metadata.is_empty() {
            out.lit(b",\"key_meta\":{\"base64\":\"");
            escape::base64_pieces(e.metadata, out)?;
            out.lit(b"\"}");
        }
        out.lit(b",\"value\":");
        Ok(())
    }

    /// Everything after the value.
    #[inline]
    fn close(&mut self, e: &Entry<'_>, m: &Measured, out: &mut Out<'_>) -> Result<()> {
        if self.meta {
            let key = e.key.as_bytes(&mut self.key)?;
            if self.format == Format::Csv {
                csv::meta(e, m, key, out);
            } else {
                meta(e, m, key, out);
            }
        }
        match self.format {
            Format::Csv => out.byte(b'\n'),
            _ => out.lit(b"}\n"),
        }
        Ok(())
    }

    /// The value; gives how many elements it has, for a collection.
    fn value(
        &mut self,
        e: &Entry<'_>,
        templates: &Templates,
        out: &mut Out<'_>,
    ) -> Result<Option<u64>> {
        let mut n = 0;
        let logical = e.value_type.logical();
        match logical {
            LogicalType::String => {
                let s = RdbStr::read(&mut Cursor::new(e.body, e.body_offset))?;
                return self.string(&s, out).map(|()| None);
            }
            LogicalType::Stream => {
                let version = e.value_type.stream_version().unwrap_or(1);
                let blob = &mut self.scratch.blob;
                return stream::value(e.body, e.body_offset, version, blob, out).map(Some);
            }
            LogicalType::Module => {
                module::value(e.body, e.body_offset, &mut self.scratch.blob, out)?;
                return Ok(None);
            }
            LogicalType::Array => {
                return array::value(e.body, e.body_offset, &mut self.scratch.blob, out).map(Some);
            }
            LogicalType::RateLimiter => {
                let mut c = Cursor::new(e.body, e.body_offset);
                out.u64(length::read(&mut c, "an arrival time")?);
                return Ok(None);
            }
            LogicalType::List | LogicalType::Set | LogicalType::Zset | LogicalType::Hash => {}
        }
        let (elements, _) = Elements::of(e)?;
        out.byte(open_bracket(e.value_type));
        self.elements(&elements, templates, &mut n, true, out)?;
        out.byte(close_bracket(e.value_type));
        Ok(Some(n))
    }

    /// A string value.
    #[inline]
    fn string(&mut self, s: &RdbStr<'_>, out: &mut Out<'_>) -> Result<()> {
        match s.form() {
            Form::Lzf { data, len } if len > lzf::WHOLE => string::lzf(data, len, s.offset(), out),
            _ => escape::element(s.as_element(&mut self.scratch.first)?, out),
        }
    }

    /// Elements of a collection; a comma before each but the first of the value.
    fn elements(
        &mut self,
        elements: &Elements<'_>,
        templates: &Templates,
        n: &mut u64,
        first: bool,
        out: &mut Out<'_>,
    ) -> Result<()> {
        let scratch = &mut self.scratch;
        let mut comma = |out: &mut Out<'_>| {
            if *n > 0 || !first {
                out.byte(b',');
            }
            *n += 1;
        };
        match elements.value_type.logical() {
            LogicalType::List => list::each(elements, scratch, |e| {
                comma(out);
                escape::element(e, out)?;
                out.checkpoint()
            }),
            LogicalType::Set => set::each(elements, scratch, |e| {
                comma(out);
                escape::element(e, out)?;
                out.checkpoint()
            }),
            LogicalType::Zset => zset::each(elements, scratch, |member, score| {
                comma(out);
                out.lit(b"{\"member\":");
                escape::element(member, out)?;
                out.lit(b",\"score\":");
                number::double(score, out);
                out.byte(b'}');
                out.checkpoint()
            }),
            LogicalType::Hash if elements.value_type.has_field_expiry() => {
                hash::each(elements, templates, scratch, |field, value, expiry| {
                    comma(out);
                    out.lit(b"{\"field\":");
                    escape::element(field, out)?;
                    out.lit(b",\"value\":");
                    escape::element(value, out)?;
                    if let Some(ms) = expiry {
                        out.lit(b",\"expire_at_ms\":");
                        out.i64(ms);
                    }
                    out.byte(b'}');
                    out.checkpoint()
                })
            }
            _ => hash::each(elements, templates, scratch, |field, value, _| {
                comma(out);
                escape::name(field, out);
                out.byte(b':');
                escape::element(value, out)?;
                out.checkpoint()
            }),
        }
    }
}

impl Encode for Json {
    const SEPARATOR: Option<u8> = Some(b',');

    fn item(&mut self, item: &Item<'_>, out: &mut Out<'_>) -> Result<()> {
        if matches!(self.format, Format::Keys | Format::Csv) {
            return Ok(());
        }
        let mark = out.mark();
        if self.format == Format::Json {
            out.byte(b',');
        }
        let Scratches { first, second, .. } = &mut self.scratch;
        match *item {
            Item::Function { code } => {
                out.lit(b"{\"function\":");
                escape::element(code.as_element(first)?, out)?;
            }
            Item::FunctionPreGa { name, engine, code } => {
                // What 7.0 makes of it when it loads such a file.
                let text = super::library(&name, &engine, &code, first)?;
                out.lit(b"{\"function\":");
                escape::string(&text, out)?;
            }
            Item::Aux { name, value } if self.meta => {
                out.lit(b"{\"aux\":{");
                escape::name(name.as_element(first)?, out);
                out.byte(b':');
                escape::element(value.as_element(second)?, out)?;
                out.byte(b'}');
            }
            Item::ModuleAux {
                id, when, items, ..
            } if self.meta => {
                out.lit(b"{\"module_aux\":");
                module::aux(id, when, items, out)?;
            }
            Item::SlotImport {
                job,
                ranges,
                offset,
            } if self.meta => {
                out.lit(b"{\"slot_import\":{\"job\":");
                escape::element(job.as_element(first)?, out)?;
                out.lit(b",\"slots\":[");
                let mut c = Cursor::new(ranges, offset);
                while !c.is_empty() {
                    if c.position() > 0 {
                        out.byte(b',');
                    }
                    out.byte(b'[');
                    out.u64(length::read(&mut c, "a first slot")?);
                    out.byte(b',');
                    out.u64(length::read(&mut c, "a last slot")?);
                    out.byte(b']');
                }
                out.lit(b"]}");
            }
            _ => {
                out.rewind(mark);
                return Ok(());
            }
        }
        out.lit(b"}\n");
        Ok(())
    }

    #[inline]
    fn entry(&mut self, e: &Entry<'_>, templates: &Templates, out: &mut Out<'_>) -> Result<()> {
        if self.format == Format::Keys {
            escape::element(e.key.as_element(&mut self.key)?, out)?;
            out.byte(b'\n');
            return Ok(());
        }
        self.open(e, out)?;
        let elements = match self.format {
            Format::Csv if e.value_type == ValueType::String => {
                let s = RdbStr::read(&mut Cursor::new(e.body, e.body_offset))?;
                csv::text(s.as_bytes(&mut self.scratch.first)?, out)?;
                None
            }
            Format::Csv => {
                out.byte(b'"');
                let n = csv::cell(out, |out| self.value(e, templates, out))?;
                out.byte(b'"');
                n
            }
            _ => self.value(e, templates, out)?,
        };
        let m = Measured {
            rdb_bytes: e.body.len() as u64,
            elements,
            encoding: if self.meta {
                encoding(e, self.version)?
            } else {
                ""
            },
        };
        self.close(e, &m, out)?;
        out.checkpoint()
    }

    fn finds_ends(&self) -> bool {
        self.format != Format::Keys
    }

    fn select(&mut self, db: u64, out: &mut Out<'_>) -> Result<()> {
        if self.selects {
            self.format.select(db, out);
        }
        out.checkpoint()
    }

    #[inline]
    fn command(&mut self, command: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        self.write_command(command, out)
    }

    fn annotation(&mut self, line: &[u8], out: &mut Out<'_>) -> Result<()> {
        self.write_annotation(line, out)
    }

    fn part(&mut self, part: &Part<'_>, elements: &mut u64, out: &mut Out<'_>) -> Result<()> {
        let e = &part.entry;
        if self.format == Format::Keys {
            if part.first {
                escape::element(e.key.as_element(&mut self.key)?, out)?;
                out.byte(b'\n');
            }
            return Ok(());
        }
        let csv = self.format == Format::Csv;
        if part.first {
            self.open(e, out)?;
            if csv {
                out.byte(b'"');
            }
        }
        if csv {
            csv::cell(out, |out| self.part_of_value(part, elements, out))?;
        } else {
            self.part_of_value(part, elements, out)?;
        }
        if let Some(end) = part.end() {
            if csv {
                out.byte(b'"');
            }
            let mut m = Measured {
                rdb_bytes: end.saturating_sub(e.body_offset),
                elements: None,
                encoding: "",
            };
            if self.meta {
                m.elements = Some((part.elements_before)() + *elements);
                m.encoding = encoding(e, self.version)?;
            }
            self.close(e, &m, out)?;
        }
        Ok(())
    }
}

impl Json {
    fn part_of_value(&mut self, part: &Part<'_>, n: &mut u64, out: &mut Out<'_>) -> Result<()> {
        let t = part.entry.value_type;
        if let Some(version) = t.stream_version() {
            return stream::part(part, version, n, &mut self.scratch.blob, out);
        }
        if part.first {
            out.byte(open_bracket(t));
        }
        // A value large enough to be cut is of no template.
        self.elements(&part.elements(), &Templates::default(), n, part.first, out)?;
        if part.end().is_some() {
            out.byte(close_bracket(t));
        }
        Ok(())
    }
}

fn is_object(t: ValueType) -> bool {
    t.logical() == LogicalType::Hash && !t.has_field_expiry()
}

fn open_bracket(t: ValueType) -> u8 {
    if is_object(t) { b'{' } else { b'[' }
}

fn close_bracket(t: ValueType) -> u8 {
    if is_object(t) { b'}' } else { b']' }
}

/// What `--meta` adds to a key.
fn meta(e: &Entry<'_>, m: &Measured, key: &[u8], out: &mut Out<'_>) {
    out.lit(b",\"meta\":{\"encoding\":\"");
    out.raw(m.encoding.as_bytes());
    out.lit(b"\",\"rdb_type\":");
    out.u64(e.value_type.byte().into());
    out.lit(b",\"rdb_bytes\":");
    out.u64(m.rdb_bytes);
    if let Some(n) = m.elements {
        out.lit(b",\"elements\":");
        out.u64(n);
    }
    out.lit(b",\"slot\":");
    out.u64(slot(key).into());
    out.lit(b",\"offset\":");
    out.u64(e.offset);
    out.byte(b'}');
}

/// The encoding in the server's words, as `OBJECT ENCODING` would say it of the value that the file was written from; as far as
/// the file tells, for a server picks it by settings that the file does not hold.
fn encoding(e: &Entry<'_>, version: u32) -> Result<&'static str> {
    let mut c = Cursor::new(e.body, e.body_offset);
    Ok(match e.value_type {
        ValueType::String => string::encoding(&RdbStr::read(&mut c)?),
        ValueType::List => "linkedlist",
        ValueType::Set | ValueType::Hash | ValueType::HashMetadata => "hashtable",
        ValueType::HashMetadataPreGa | ValueType::Hash2 => "hashtable",
        ValueType::Zset | ValueType::Zset2 => "skiplist",
        ValueType::HashZipmap => "zipmap",
        ValueType::ListZiplist | ValueType::ZsetZiplist | ValueType::HashZiplist => "ziplist",
        ValueType::SetIntset => "intset",
        ValueType::ListQuicklist => "quicklist",
        // From 7.2 on a list of one packed node is a bare listpack.
        ValueType::ListQuicklist2 if version >= 11 && !c.is_empty() => {
            match length::read(&mut c, "nodes")? {
                1 if length::read(&mut c, "the container of a quicklist node")? == list::PACKED => {
                    "listpack"
                }
                _ => "quicklist",
            }
        }
        ValueType::ListQuicklist2 => "quicklist",
        ValueType::HashListpack | ValueType::ZsetListpack | ValueType::SetListpack => "listpack",
        ValueType::HashListpackExPreGa | ValueType::HashListpackEx => "listpackex",
        ValueType::StreamListpacks
        | ValueType::StreamListpacks2
        | ValueType::StreamListpacks3
        | ValueType::StreamListpacks4
        | ValueType::StreamListpacks5 => "stream",
        ValueType::ModulePreGa | ValueType::Module2 => "module",
        ValueType::Array => "array",
        ValueType::HashTemplateListpack | ValueType::HashTemplateListpackRef => "listpack",
        ValueType::HashTemplateArray | ValueType::HashTemplateArrayRef => "hashtable",
        ValueType::Gcra => "gcra",
    })
}
