//! Keys as RESTORE commands: the value as serialized, with a footer; nothing is decoded.
//!
//! ```text
//!   SELECT 0
//!   RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME s | FREQ n]
//!                   payload = [F3 metadata] type byte, value, version u16 LE, CRC-64 u64 LE
//!   FUNCTION LOAD [REPLACE] code
//! ```
//!
//! The version is the lowest that has the type, so that a plain string of the newest server goes into nearly any. Expiries are absolute:
//! ABSTTL from Redis 5.0 on, PEXPIREAT before. A value that the target's release does not load is re-encoded into a type it does, or comes as
//! ordinary commands; so does one larger than a limit, because it would block the target and may be more than it takes at once.

use super::Encode;
use super::Part;
use super::commands::{self, Commands};
use super::compat::{Rewriter, Way};
use super::loss::{Losses, Reason};
use super::replay;
use crate::command::Command;
use crate::error::{RdbError, Result};
use crate::out::Out;
use crate::rdb::entry::Entry;
use crate::rdb::header::Header;
use crate::rdb::release::{self, Release};
use crate::rdb::scan::Item;
use crate::rdb::string::Scratch;
use crate::rdb::template::Templates;
use crate::rdb::value_type::ValueType;
use crate::rdb::{crc64, opcode, write as rdb};
use crate::resp::write as resp;

/// How to restore.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Who reads the commands; `None` for a server at least as new as the file, and of the same line.
    pub release: Option<Release>,
    /// Whether what stands under the same name is replaced.
    pub replace: bool,
    /// Values larger than this, in bytes as serialized, come as ordinary commands.
    pub big_key: u64,
    /// Whether such a value is an error instead: where a key that is there already must be noticed, which commands do not.
    pub whole: bool,
}

/// Encodes items as RESTORE commands.
#[derive(Debug)]
pub struct Restore {
    options: Options,
    commands: Commands,
    rewriter: Rewriter,
    losses: Losses,
    key: Scratch,
    /// A value in another type, whose size must be known before it is written.
    rewritten: Vec<u8>,
    /// Keys that came as ordinary commands.
    converted: u64,
}

/// Bytes of a value that are copied at once.
const PIECE: usize = 1 << 20;

impl Restore {
    /// An encoder for the items of a file with this header.
    pub fn new(header: Header, options: Options) -> Self {
        let commands = commands::Options {
            release: options.release,
            replace: options.replace,
        };
        Restore {
            options,
            commands: Commands::new(header, commands),
            rewriter: Rewriter::new(options.release),
            losses: Losses::default(),
            key: Scratch::new(),
            rewritten: Vec::new(),
            converted: 0,
        }
    }

    /// What could not be kept, and how many keys came as ordinary commands.
    pub fn into_losses(self) -> (Losses, u64) {
        let mut losses = self.losses;
        losses.merge(self.commands.into_losses());
        (losses, self.converted)
    }

    fn restore(
        &mut self,
        e: &Entry<'_>,
        t: ValueType,
        body: &[u8],
        out: &mut Out<'_>,
    ) -> Result<()> {
        let Options {
            release, replace, ..
        } = self.options;
        let since = |redis| release.is_none_or(|r: Release| r.is_at_least(redis, (7, 2)));
        let key = e.key.as_bytes(&mut self.key)?;
        let absolute = since((5, 0));
        let mut label = match release {
            Some(r) => r.label(t),
            None => release::label(t),
        };
        let mut metadata = e.metadata;
        if !metadata.is_empty() {
            if release.is_none_or(|r| r.is_at_least((8, 6), (u16::MAX, 0))) {
                label = label.max(METADATA_SINCE);
            } else {
                metadata = &[];
                self.losses.note(Reason::KeyMetadata, e.db, key);
            }
        }
        let has_use = e.idle_s.is_some() || e.freq.is_some();
        if has_use && !absolute {
            self.losses.note(Reason::IdleOrFreq, e.db, key);
        }
        let carries_use = has_use && absolute;
        let expires = e.expire_at_ms.is_some();
        let args =
            4 + u8::from(replace) + u8::from(expires && absolute) + 2 * u8::from(carries_use);
        let mut head = *b"*0\r\n$7\r\nRESTORE\r\n";
        head[1] += args;
        out.lit(&head);
        resp::arg(key, out);
        match e.expire_at_ms {
            // 0 would be no expiry at all, and less is refused: in 1970 is as past.
            Some(ms) if absolute => resp::arg_i64(ms.max(1), out),
            _ => out.lit(b"$1\r\n0\r\n"),
        }
        let meta_len = match metadata.len() {
            0 => 0,
            n => n + 1,
        };
        resp::arg_len((meta_len + 1 + body.len() + rdb::FOOTER_LEN) as u64, out);
        let mark = out.len();
        if meta_len > 0 {
            out.byte(opcode::KEY_META);
            out.raw(metadata);
        }
        out.byte(t.byte());
        let version = (label as u16).to_le_bytes();
        let crc = if body.len() <= PIECE {
            out.raw(body);
            out.lit(&version);
            crc64::checksum(out.as_bytes().get(mark..).unwrap_or_default())
        } else {
            let head = out.as_bytes().get(mark..).unwrap_or_default();
            let (head, sum) = (crc64::checksum(head), crc64::checksum(body));
            for piece in body.chunks(PIECE) {
                out.raw(piece);
                out.checkpoint()?;
            }
            out.lit(&version);
            crc64::extend(crc64::combine(head, sum, body.len() as u64), &version)
        };
        out.lit(&crc.to_le_bytes());
        out.lit(b"\r\n");
        if replace {
            out.lit(b"$7\r\nREPLACE\r\n");
        }
        if expires && absolute {
            out.lit(b"$6\r\nABSTTL\r\n");
        }
        match (e.idle_s, e.freq) {
            (Some(s), _) if carries_use => {
                out.lit(b"$8\r\nIDLETIME\r\n");
                resp::arg_u64(s.min(i64::MAX as u64), out);
            }
            (None, Some(n)) if carries_use => {
                out.lit(b"$4\r\nFREQ\r\n");
                resp::arg_u64(n.into(), out);
            }
            _ => {}
        }
        if let Some(ms) = e.expire_at_ms.filter(|_| !absolute) {
            resp::head(3, out);
            out.lit(b"$9\r\nPEXPIREAT\r\n");
            resp::arg(key, out);
            resp::arg_i64(ms, out);
        }
        out.checkpoint()
    }

    /// Counts a value that is to come as ordinary commands because of its size, unless it must not.
    fn admit(&mut self, e: &Entry<'_>) -> Result<()> {
        if self.options.whole {
            return Err(RdbError::limit(
                e.body_offset,
                format!(
                    "a value of more than {} bytes, which is what the target takes at once; as ordinary commands it would be added to \
                     what stands there under its name, so that is done with --on-conflict replace only",
                    self.options.big_key
                ),
            ));
        }
        self.converted += 1;
        Ok(())
    }
}

/// RDB version of the first payloads with metadata of modules.
const METADATA_SINCE: u32 = 13;

impl Encode for Restore {
    // The size of a payload stands before it.
    fn whole_up_to(&self) -> u64 {
        self.options.big_key
    }

    fn item(&mut self, item: &Item<'_>, out: &mut Out<'_>) -> Result<()> {
        self.commands.item(item, out)
    }

    fn entry(&mut self, e: &Entry<'_>, templates: &Templates, out: &mut Out<'_>) -> Result<()> {
        if e.body.len() as u64 > self.options.big_key {
            self.admit(e)?;
            return self.commands.entry(e, templates, out);
        }
        match self.rewriter.way_of(e)? {
            Way::AsIs => self.restore(e, e.value_type, e.body, out),
            Way::As(t) => {
                let mut body = Out::over(std::mem::take(&mut self.rewritten));
                let r = self
                    .rewriter
                    .value(e, templates, t, &mut self.losses, &mut body);
                let r = r.and_then(|()| self.restore(e, t, body.as_bytes(), out));
                self.rewritten = body.into_parts().0;
                r
            }
            Way::Commands => {
                self.converted += 1;
                self.commands.entry(e, templates, out)
            }
            Way::Lost(reason) => {
                let key = e.key.as_bytes(&mut self.key)?;
                self.losses.note(reason, e.db, key);
                Ok(())
            }
        }
    }

    fn part(&mut self, part: &Part<'_>, elements: &mut u64, out: &mut Out<'_>) -> Result<()> {
        if part.first {
            self.admit(&part.entry)?;
        }
        self.commands.part(part, elements, out)
    }

    fn command(&mut self, command: &Command<'_>, out: &mut Out<'_>) -> Result<()> {
        replay::command(command, self.options.release, &mut self.losses, out)
    }
}
