//! Commands of a log on their way to a server, which may be older than the one that logged them.
//!
//! ```text
//!   logged                   for                        written
//!   SET k v PXAT ms          before 6.2                 SET k v, PEXPIREAT k ms
//!   UNLINK k                 before 4.0                 DEL k
//!   HSET k f v g w           before 4.0                 HMSET k f v g w
//!   anything else            a release without it       nothing: it is counted, and named
//!   SET k v EX 100           any                        as it is: it is counted, since 100 seconds from when is not known
//!   #TS:1795208898           before 7.0                 nothing: it is counted
//! ```

use crate::command::table::Keys;
use crate::command::{Command, Raw, write_argument};
use crate::error::Result;
use crate::loss::{Losses, Reason};
use crate::out::Out;
use crate::rdb::release::Release;
use crate::resp::write;

/// Appends a command for servers of `release`, or whoever reads it.
#[inline]
pub(super) fn command(
    command: &Command<'_>,
    release: Option<Release>,
    losses: &mut Losses,
    out: &mut Out<'_>,
) -> Result<()> {
    if is_relative(command) {
        losses.note_with(Reason::RelativeExpiry, command.db, || command.raw.example());
    }
    match release {
        None => command.write(out),
        Some(release) => for_release(command, release, losses, out),
    }
}

/// Appends a time stamp: what is written is a log too. Servers before 7.0 do not load a log with any.
pub(super) fn annotation(
    line: &[u8],
    release: Option<Release>,
    losses: &mut Losses,
    out: &mut Out<'_>,
) {
    match release {
        Some(r) if !r.is_at_least((7, 0), (0, 0)) => {
            losses.note(Reason::TimeStamps, 0, line.trim_ascii_end());
        }
        _ => out.raw(line),
    }
}

fn for_release(
    command: &Command<'_>,
    release: Release,
    losses: &mut Losses,
    out: &mut Out<'_>,
) -> Result<()> {
    let Some(spec) = command.spec else {
        losses.note_with(Reason::UnknownCommand, command.db, || command.raw.example());
        return command.write(out);
    };
    let since = |redis| release.is_at_least(redis, (7, 2));
    match spec.name {
        "UNLINK" if !since((4, 0)) => return renamed(command, b"DEL", out),
        "HSET" if !since((4, 0)) && command.count() > 4 => return renamed(command, b"HMSET", out),
        "SET" if !since((6, 2)) && command.count() > 3 => {
            return set(command, release, losses, out);
        }
        _ if spec.is_in(release) => return command.write(out),
        _ => {}
    }
    losses.note_with(Reason::LackingCommand, command.db, || command.raw.example());
    Ok(())
}

/// The same under another name.
fn renamed(command: &Command<'_>, name: &[u8], out: &mut Out<'_>) -> Result<()> {
    write::head(command.count(), out);
    let mut first = true;
    command.each(|a| {
        if std::mem::take(&mut first) {
            write::arg(name, out);
            return Ok(());
        }
        write_argument(&a, out)
    })
}

/// SET with options, for servers that know neither PXAT nor GET.
fn set(
    command: &Command<'_>,
    release: Release,
    losses: &mut Losses,
    out: &mut Out<'_>,
) -> Result<()> {
    let mut expiry: Option<(&[u8], &[u8])> = None;
    let mut known = true;
    let mut options = command.raw.args().skip(3);
    while let Some(option) = options.next() {
        let is = |word: &[u8]| option.eq_ignore_ascii_case(word);
        if is(b"PXAT") {
            expiry = options.next().map(|t| (&b"PEXPIREAT"[..], t));
        } else if is(b"EXAT") {
            expiry = options.next().map(|t| (&b"EXPIREAT"[..], t));
        } else if is(b"EX") || is(b"PX") {
            options.next();
        } else if is(b"KEEPTTL") {
            known &= release.is_at_least((6, 0), (0, 0));
        } else if !is(b"NX") && !is(b"XX") {
            known = false;
        }
    }
    let Some((name, at)) = expiry.filter(|_| known) else {
        if known {
            return command.write(out);
        }
        losses.note_with(Reason::LackingCommand, command.db, || command.raw.example());
        return Ok(());
    };
    // Logged because it was done: whether on a key that was there or not no longer matters.
    let mut key = Vec::new();
    let mut i = 0;
    write::head(3, out);
    command.each(|a| {
        i += 1;
        if i > 3 {
            return Ok(());
        }
        if a.is_key {
            key = a.joined(&mut Vec::new()).to_vec();
        }
        write_argument(&a, out)
    })?;
    write::command(&[name, &key, at], out);
    out.checkpoint()
}

/// Whether a command says of an expiry how long from now, and so from a moment that a log does not tell.
#[inline]
fn is_relative(command: &Command<'_>) -> bool {
    let Some(spec) = command.spec else {
        return false;
    };
    let raw = &command.raw;
    let (name, n) = (spec.name, raw.count());
    match name.as_bytes() {
        [b'S', b'E', b'T'] => n > 4 && has_time(raw, 3),
        b"SETEX" | b"PSETEX" | b"EXPIRE" | b"PEXPIRE" | b"HEXPIRE" | b"HPEXPIRE" => true,
        b"GETEX" | b"HSETEX" | b"HGETEX" => has_time(raw, 2),
        b"MSETEX" => {
            // Its options stand behind the pairs.
            let pairs = match spec.keys {
                Keys::CountedPairs(_) => raw.keys().1.len(),
                _ => 0,
            };
            has_time(raw, usize::try_from(2 + 2 * pairs).unwrap_or(usize::MAX))
        }
        b"RESTORE" | b"RESTORE-ASKING" => {
            raw.args().nth(2).is_some_and(|ttl| ttl != b"0")
                && !raw
                    .args()
                    .skip(4)
                    .any(|a| a.eq_ignore_ascii_case(b"ABSTTL"))
        }
        _ => false,
    }
}

/// Whether EX or PX is among the options from argument `from` on; fields of a hash are none.
fn has_time(raw: &Raw<'_>, from: usize) -> bool {
    raw.args()
        .skip(from)
        .take_while(|a| !a.eq_ignore_ascii_case(b"FIELDS"))
        .any(|a| a.eq_ignore_ascii_case(b"EX") || a.eq_ignore_ascii_case(b"PX"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, release: Option<&str>) -> (String, Vec<Reason>) {
        let args: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        let mut out = Out::new();
        write::command(&args, &mut out);
        let raw = Raw::read(out.as_bytes(), 0).unwrap().unwrap();
        let c = Command::as_is(0, 0, raw.spec(), raw);
        let (mut made, mut losses) = (Out::new(), Losses::default());
        let release = release.map(|r| r.parse().unwrap());
        command(&c, release, &mut losses, &mut made).unwrap();
        let mut rest = made.as_bytes();
        let mut all = Vec::new();
        while let Some(raw) = Raw::read(rest, 0).unwrap() {
            let args: Vec<_> = raw.args().map(String::from_utf8_lossy).collect();
            all.push(args.join(" "));
            rest = &rest[raw.bytes().len()..];
        }
        assert!(rest.is_empty());
        (all.join("; "), losses.iter().map(|l| l.reason).collect())
    }

    #[test]
    fn for_older_servers() {
        let rows: &[(&str, Option<&str>, &str, &[Reason])] = &[
            ("SET k v PXAT 9", None, "SET k v PXAT 9", &[]),
            ("SET k v PXAT 9", Some("redis-6.2"), "SET k v PXAT 9", &[]),
            (
                "set k v NX PXAT 9",
                Some("redis-6.0"),
                "set k v; PEXPIREAT k 9",
                &[],
            ),
            (
                "SET k v KEEPTTL",
                Some("redis-5.0"),
                "",
                &[Reason::LackingCommand],
            ),
            ("SET k v KEEPTTL", Some("redis-6.0"), "SET k v KEEPTTL", &[]),
            ("UNLINK a b", Some("redis-3.2"), "DEL a b", &[]),
            ("UNLINK a b", Some("valkey-8.1"), "UNLINK a b", &[]),
            ("HSET k f v g w", Some("redis-3.2"), "HMSET k f v g w", &[]),
            ("HSET k f v", Some("redis-3.2"), "HSET k f v", &[]),
            (
                "XADD k 1-1 f v",
                Some("redis-4.0"),
                "",
                &[Reason::LackingCommand],
            ),
            (
                "NOSUCH k",
                Some("redis-4.0"),
                "NOSUCH k",
                &[Reason::UnknownCommand],
            ),
            ("NOSUCH k", None, "NOSUCH k", &[]),
        ];
        for (command, release, want, losses) in rows {
            let (got, found) = written(command, *release);
            assert_eq!((got.as_str(), &found[..]), (*want, *losses), "{command}");
        }
    }

    #[test]
    fn expiries_from_an_unknown_moment() {
        for (command, want) in [
            ("SET k v", false),
            ("SET EX PX", false),
            ("SET k v EX 5", true),
            ("SET k v NX px 5", true),
            ("SET k v PXAT 5", false),
            ("EXPIRE k 5", true),
            ("PEXPIREAT k 5", false),
            ("RESTORE k 0 x", false),
            ("RESTORE k 5 x", true),
            ("RESTORE k 5 x ABSTTL", false),
            ("RESTORE k 5 ABSTTL", true),
            ("HSETEX k PXAT 5 FIELDS 1 EX v", false),
            ("HSETEX k EX 5 FIELDS 1 f v", true),
            ("MSETEX 1 EX EX", false),
            ("MSETEX 1 k v PX 5", true),
        ] {
            let (_, losses) = written(command, None);
            assert_eq!(losses == [Reason::RelativeExpiry], want, "{command}");
        }
    }
}
