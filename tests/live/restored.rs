//! The corpus restored: a server that is given a file's keys must come to the same as when it loads the file itself.
//!
//! As RESTORE commands through a pipe, straight into the live server, and by way of the lines that `decode` makes of the file. Into servers of the
//! same line that are no older than the one that wrote it; `moved` has the others.

use std::io::Cursor;

use rdbtool::Decode;
use rdbtool::dump::{Dump, Format};
use rdbtool::filter::OnConflict;
use rdbtool::net::Endpoint;
use rdbtool::pipeline::Progress;
use rdbtool::sink::{Plain, Sink};
use rdbtool::source::Source;
use rdbtool::target::{self, Target};
use serde_json::Value;

use super::assert_same;
use super::commands::{
    clear, digest, digest_of_file, give, in_common, keys, reads, release, with_debug, written,
};
use super::resp::{Client, cmd};
use super::server::{Installed, Server, installed};
use super::support::{Case, for_each};

/// Release candidates and a milestone, whose files no server here loads.
const CANDIDATES: [&str; 3] = ["redis-7.0-rc1", "redis-7.4-rc1", "redis-8.0-m01"];

/// Restored from the lines that a file decodes to.
const LINES: &str = "from lines";

/// Writes RESTORE commands for a source.
fn restore(what: &str, dump: &Dump, source: Source, sink: &mut dyn Sink) {
    let dumped = dump
        .run(&mut [source], &Progress::new(), sink)
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    let lost: Vec<String> = dumped.losses.iter().map(|l| l.reason.to_string()).collect();
    assert!(lost.is_empty(), "{what}: lost {lost:?}");
}

/// The lines that a file decodes to.
fn lines(case: &Case) -> Vec<u8> {
    let mut lines = Vec::new();
    let source = Source::from_bytes(&case.name, &case.bytes[..]);
    Decode::default()
        .run(&mut [source], &Progress::new(), &mut Plain(&mut lines))
        .unwrap();
    lines
}

/// For servers that know RESTORE as it is today, or for an older one.
fn dump(of: &Installed) -> Dump {
    let to = release(&of.name);
    let whole = Format::Restore {
        big_key: u64::MAX,
        whole: true,
    };
    Dump {
        format: whole,
        release: (!to.is_at_least((5, 0), (0, 0))).then_some(to),
        on_conflict: OnConflict::Error,
        threads: 1,
        ..Dump::default()
    }
}

/// Into a live server, as `--to` does.
fn live(what: &str, case: &Case, of: &Installed, server: &Server) {
    let url = format!("redis://127.0.0.1:{}", server.port());
    let endpoint: Endpoint = url.parse().unwrap();
    let options = target::Options {
        on_conflict: OnConflict::Error,
        ..target::Options::default()
    };
    let mut target = Target::open(&endpoint, options).unwrap();
    let dump = Dump {
        release: Some(target.release()),
        ..dump(of)
    };
    let source = Source::from_bytes(&case.name, &case.bytes[..]);
    restore(what, &dump, source, &mut target);
    target
        .finish()
        .unwrap_or_else(|e| panic!("{what}, live: {e}"));
}

fn piped(what: &str, source: Source, of: &Installed, c: &mut Client) {
    let mut commands = Vec::new();
    restore(what, &dump(of), source, &mut Plain(&mut commands));
    give(what, c, &commands);
}

#[test]
fn restored_is_as_if_loaded() {
    let all_written = written(|server| !CANDIDATES.contains(&server));
    for_each(installed().unwrap_or_default(), |of| {
        let reader = Server::start(of, with_debug(of));
        let target = Server::start(of, with_debug(of));
        let c = &mut target.client();
        let mut files = 0;
        for from in all_written
            .iter()
            .filter(|f| reads(f.by, release(&of.name)))
        {
            for case in &from.cases {
                if case.theme == "vectorsets" && of.name == "redis-8.0" {
                    continue; // not every 8.0 loads those of another
                }
                files += 1;
                let what = format!("{} into {}", case.name, of.name);
                let loaded = digest_of_file(of, &reader, &case.bytes);
                let (in_file, of_file) = keys(&case.path);
                // Servers from 7.0 on make 0 of -0 in small sorted sets, unless these come packed as they were.
                let zeros = case.theme == "zsets" && target.since((7, 0), (0, 0));
                let same = |how: &str, c: &mut Client| {
                    let exempt = zeros && how == LINES;
                    assert!(
                        exempt || digest(c) == loaded,
                        "{what}: another digest, {how}"
                    );
                    if how != LINES {
                        clear(&target, c);
                        return;
                    }
                    // The digest knows of an expiry, but not of when.
                    let (mut held, functions) = keys(&target.save());
                    assert_eq!(functions, of_file, "{what}, {how}");
                    for (key, line) in &in_file {
                        let (mut a, mut b) = (line.clone(), held.remove(key).unwrap_or_default());
                        if case.theme == "vectorsets" {
                            continue; // their nodes have no order that a server keeps
                        }
                        if a["type"] == "stream" && b["type"] == "stream" {
                            in_common(&mut a["value"], &mut b["value"]);
                        }
                        assert_same(&format!("{what}, {how}: {}", line["key"]), &b, &a);
                    }
                    assert!(
                        held.is_empty(),
                        "{what}, {how}: where do {held:?} come from?"
                    );
                    clear(&target, c);
                };
                clear(&target, c);
                piped(
                    &what,
                    Source::from_bytes(&case.name, &case.bytes[..]),
                    of,
                    c,
                );
                same("piped", c);
                live(&what, case, of, &target);
                same("live", c);
                let lines = lines(case);
                if !lines.is_empty() {
                    let source = Source::from_reader("lines", Cursor::new(lines));
                    piped(&what, source, of, c);
                    same(LINES, c);
                }
            }
        }
        assert!(files > 40, "{} was given {files} files only", of.name);
    });
}

/// What is hard about keys: many databases, names of any bytes, nothing at all, time that has passed, many expiries, much that is pending.
fn hard(server: &Server, c: &mut Client) {
    cmd!(c, "DEBUG", "SET-ACTIVE-EXPIRE", "0");
    for db in 0..16 {
        cmd!(c, "SELECT", db.to_string());
        cmd!(c, "SET", b"\xff\x00\r\n*1\r\n$", b"\r\n\x00");
        cmd!(c, "SET", "", "");
        cmd!(c, "SET", "expired", "1", "PX", "1");
        cmd!(c, "RPUSH", "list", "", "\r\n");
        cmd!(c, "HSET", "hash", "", "");
    }
    cmd!(c, "SELECT", "3");
    let text = "v".repeat(200);
    let far = 4_102_444_800_000_u64;
    for i in 0..100 {
        let fields: Vec<String> = (0..1000).map(|k| format!("field:{i}:{k}")).collect();
        let mut command = vec!["HSET", "expiring fields"];
        for f in &fields {
            command.extend([f, "value"]);
        }
        c.must(&command);
        if super::fill::has_field_expiry(server) {
            let at = (far + i).to_string();
            let half = fields.iter().step_by(2).map(String::as_str);
            let mut command = vec!["HPEXPIREAT", "expiring fields", &at, "FIELDS", "500"];
            command.extend(half);
            c.must(&command);
        }
        let mut command = vec!["RPUSH", "long list"];
        command.extend([text.as_str(); 300]);
        c.must(&command);
    }
    for i in 1..=10_000 {
        cmd!(c, "XADD", "pending", format!("{i}-0"), "i", i.to_string());
    }
    cmd!(c, "XGROUP", "CREATE", "pending", "group", "0");
    for consumer in ["one", "two"] {
        let read = [
            "XREADGROUP",
            "GROUP",
            "group",
            consumer,
            "COUNT",
            "5000",
            "STREAMS",
            "pending",
            ">",
        ];
        c.must(&read);
    }
}

#[test]
fn what_is_hard_about_keys() {
    for of in super::server::newest(installed().unwrap_or_default()) {
        let server = Server::start(of, with_debug(of));
        let c = &mut server.client();
        hard(&server, c);
        let file = server.save();
        for db in 0..16 {
            cmd!(c, "SELECT", db.to_string());
            cmd!(c, "GET", "expired"); // which deletes it
        }
        let want = digest(c);
        let (truth, _) = keys(&server.save());
        // A target that takes little at once; values as ordinary commands where they are larger than that, or than much less.
        let settings = [with_debug(of), &["--proto-max-bulk-len", "1mb"]].concat();
        let target = Server::start(of, &settings);
        let url = format!("redis://127.0.0.1:{}", target.port());
        for big_key in ["1gb", "50kb"] {
            let what = format!("{}, --big-key {big_key}", of.name);
            let out = std::process::Command::new(env!("CARGO_BIN_EXE_rdbtool"))
                .args(["restore", "-q", "--on-conflict", "replace", "--to", &url])
                .args(["--big-key", big_key])
                .arg(&file)
                .output()
                .unwrap();
            // As commands the consumers' times are not kept, which is said.
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(matches!(out.status.code(), Some(0 | 3)), "{what}: {said}");
            let c = &mut target.client();
            assert!(digest(c) == want, "{what}: another digest");
            let (held, _) = keys(&target.save());
            assert_eq!(held.len(), truth.len(), "{what}");
            for (key, line) in &truth {
                let shown = format!("{what}: {}", line["key"]);
                assert_same(&shown, held.get(key).unwrap_or(&Value::Null), line);
            }
        }
    }
}
