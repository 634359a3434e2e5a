//! Commands of a log, and what stands between them.
//!
//! ```text
//!   {"db":0,"command":["SET","k","v"]}              with --meta: ,"meta":{"offset":n}
//!   {"select":3}                                    SELECT 3, if asked for
//!   {"timestamp":1795208898}                        #TS:1795208898\r\n
//!   {"annotation":" by hand"}                       # by hand\r\n         any other line end stays in the text
//!
//!   keys    a line for each key of a command
//!   csv     0,k,command,,,,"[""SET"",""k"",""v""]"  the key is the first of them, and empty if there is none
//! ```

use super::{Format, Json, csv};
use crate::aof::scan::time_stamp;
use crate::command::{Argument, Command};
use crate::error::Result;
use crate::ndjson::escape;
use crate::out::Out;

impl Json {
    pub(super) fn write_command(&mut self, c: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        let mut room = Vec::new();
        match self.format {
            Format::Keys => {
                return c.each_key(|key| {
                    escape::string(key.joined(&mut room), out)?;
                    out.byte(b'\n');
                    out.checkpoint()
                });
            }
            Format::Csv => return self.row(c, out),
            Format::Json => out.byte(b','),
            Format::Ndjson => {}
        }
        out.lit(b"{\"db\":");
        out.u64(c.db);
        out.lit(b",\"command\":");
        arguments(c, &mut room, out)?;
        if self.meta {
            out.lit(b",\"meta\":{\"offset\":");
            out.u64(c.offset);
            out.byte(b'}');
        }
        out.lit(b"}\n");
        out.checkpoint()
    }

    fn row(&self, c: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        let mut room = Vec::new();
        out.u64(c.db);
        out.byte(b',');
        let mut first = true;
        c.each_key(|key| match std::mem::take(&mut first) {
            true => csv::text(key.joined(&mut room), out),
            false => Ok(()),
        })?;
        out.lit(b",command,,,,\"");
        csv::cell(out, |out| arguments(c, &mut room, out))?;
        out.byte(b'"');
        if self.meta {
            out.lit(b",,,,,,");
            out.u64(c.offset);
        }
        out.byte(b'\n');
        out.checkpoint()
    }

    pub(super) fn write_annotation(&mut self, line: &[u8], out: &mut Out<'_>) -> Result<()> {
        match self.format {
            Format::Keys | Format::Csv => return Ok(()),
            Format::Json => out.byte(b','),
            Format::Ndjson => {}
        }
        match time_stamp(line).filter(|s| is_plain(line, *s)) {
            Some(s) => {
                out.lit(b"{\"timestamp\":");
                out.u64(s);
            }
            None => {
                out.lit(b"{\"annotation\":");
                let text = line.strip_prefix(b"#").unwrap_or(line);
                escape::string(text.strip_suffix(b"\r\n").unwrap_or(text), out)?;
            }
        }
        out.lit(b"}\n");
        out.checkpoint()
    }
}

/// Whether a time stamp is written as servers do: what is made of it again is the same line.
fn is_plain(line: &[u8], seconds: u64) -> bool {
    let text = line.strip_prefix(b"#TS:").unwrap_or_default();
    text.strip_suffix(b"\r\n") == Some(itoa::Buffer::new().format(seconds).as_bytes())
}

/// The arguments as an array of strings.
fn arguments(c: &Command<'_>, room: &mut Vec<u8>, out: &mut Out<'_>) -> Result<()> {
    out.byte(b'[');
    let mut first = true;
    c.each(|a: Argument<'_>| {
        if !std::mem::take(&mut first) {
            out.byte(b',');
        }
        escape::string(a.joined(room), out)?;
        out.checkpoint()
    })?;
    out.byte(b']');
    Ok(())
}
