//! `rdbtool check`: the files of real servers are whole, damaged ones are not, and what only a server would stumble over is found.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use support::file::{file, hex};
use support::json::{self, Json};
use support::{
    Case, Report, Run, corpus, facts, for_each, lines, names, rdbtool, rdbtool_reading, read,
    scratch, testdata,
};

/// Files in the corpus, and damaged ones.
const FILES: usize = 338;
const DAMAGED: usize = 64;

fn check(flags: &[&str], path: &Path) -> Run {
    let flags = ["check"].iter().chain(flags).map(AsRef::as_ref);
    rdbtool(flags.chain([path.as_os_str()]))
}

/// The one object that `--format json` gives.
fn report(flags: &[&str], path: &Path) -> (Run, Json) {
    let run = check(&[&["--format", "json"], flags].concat(), path);
    assert_eq!(lines(&run.stdout).count(), 1, "{}", run.stderr);
    let one = json::parse(run.stdout.trim_ascii()).expect("good JSON");
    (run, one)
}

fn text<'a>(report: &'a Json, name: &str) -> &'a str {
    report
        .need(name)
        .and_then(Json::str)
        .unwrap_or_else(|e| panic!("{e}"))
}

fn int(report: &Json, name: &str) -> i128 {
    report
        .need(name)
        .and_then(Json::int)
        .unwrap_or_else(|e| panic!("{e}"))
}

// ---- files of servers -------------------------------------------------------------------------------------------------

#[test]
fn every_file_of_a_server_is_whole() {
    let cases = corpus();
    assert_eq!(cases.len(), FILES);
    let failures = Report::default();
    let notes = AtomicI64::new(0);
    for_each(&cases, |case| {
        let (run, found) = report(&[], &case.path);
        if run.status != Some(0) || !run.stderr.is_empty() {
            failures.fail(&case.name, format!("{:?}: {}", run.status, run.stderr));
            failures.fail(&case.name, found.short());
            return;
        }
        failures.check(&case.name, is_what_the_server_said(case, &found));
        for (kind, _) in found.need("notes").and_then(Json::members).expect("notes") {
            // The release candidate's functions are the only thing to be noted of any file.
            if kind != "old_function" {
                failures.fail(&case.name, format!("a note: {kind}"));
            }
            notes.fetch_add(1, Ordering::Relaxed);
        }
    });
    failures.finish();
    assert_eq!(notes.into_inner(), 1);
}

/// Keys and expiries by database, keys by database and type, fields with an expiry.
fn is_what_the_server_said(case: &Case, found: &Json) -> Result<(), String> {
    let mut told: BTreeMap<i128, [i128; 3]> = BTreeMap::new();
    let mut types: BTreeMap<(i128, String), i128> = BTreeMap::new();
    for key in case.truth() {
        let db = key.need("db")?.int()?;
        let counts = told.entry(db).or_default();
        counts[0] += 1;
        counts[1] += i128::from(key.need("expire_at_ms")? != &Json::Null);
        let t = key.need("type")?.str()?;
        let t = t.split(':').next().unwrap_or(t);
        *types.entry((db, t.to_owned())).or_default() += 1;
        if t == "hash" {
            for field in key.need("value")?.elements()? {
                let expiry = field.elements()?.get(2);
                counts[2] += i128::from(expiry.is_some_and(|e| e != &Json::Null));
            }
        }
    }
    let mut seen = BTreeMap::new();
    let mut seen_types = BTreeMap::new();
    for db in found.need("databases")?.elements()? {
        let n = db.need("db")?.int()?;
        let counts = ["keys", "expires", "fields_with_expiry"].map(|name| int(db, name));
        seen.insert(n, counts);
        for (t, counts) in db.need("types")?.members()? {
            seen_types.insert((n, t.clone()), int(counts, "keys"));
        }
    }
    let same = |what: &str, told: String, seen: String| match told == seen {
        true => Ok(()),
        false => Err(format!("{what}: the server says {told}, found {seen}")),
    };
    same("databases", format!("{told:?}"), format!("{seen:?}"))?;
    same("types", format!("{types:?}"), format!("{seen_types:?}"))?;
    let keys: i128 = told.values().map(|c| c[0]).sum();
    same("keys", keys.to_string(), int(found, "keys").to_string())?;
    let past = int(found, "expired");
    if case.theme == "expired" && past == 0
        || case.theme == "expires" && case.server >= "redis-2.6".into() && past > 0
    {
        return Err(format!("{past} keys expired"));
    }
    let functions = case
        .meta
        .get("functions")
        .map_or(Ok(0), |f| f.elements().map(<[_]>::len));
    if case.meta.get("functions_rc1").is_none() {
        same(
            "functions",
            functions?.to_string(),
            int(found, "functions").to_string(),
        )?;
    }
    let version = case.meta.need("rdb_version")?.int()?;
    let sum = match case.theme.as_str() {
        _ if version < 5 => "absent",
        "nochecksum" => "not computed",
        _ => "ok",
    };
    same("checksum", sum.into(), text(found, "checksum").into())?;
    if version >= 7 {
        let writer = text(found, "writer").to_lowercase().replace(' ', "-");
        let told = case.meta.need("server_version")?.str()?;
        let name = case.server.split('-').next().unwrap_or_default();
        same("writer", format!("{name}-{told}"), writer)?;
    }
    Ok(())
}

// ---- damaged files ----------------------------------------------------------------------------------------------------

/// Where this checker and the server's own do not agree, and why. Everything else both refuse, or both find whole.
fn other_verdict(damage: &str) -> Option<&'static str> {
    Some(match damage {
        // Valkey's checker looks at any version; this one refuses those that may hold anything. So does the server.
        "future-version" => "broken",
        _ => return None,
    })
}

/// Where a damage can be noticed only later than at the record it is in.
fn place_is_known(damage: &str) -> bool {
    // A hole of zeros has no one place, and its meta.json gives none.
    damage != "nul-hole"
}

#[test]
fn damaged_files_are_broken_where_they_are_damaged() {
    let dir = testdata().join("damaged/rdb");
    let damaged: Vec<String> = names(&dir)
        .iter()
        .filter_map(|n| n.strip_suffix(".meta.json"))
        .map(str::to_owned)
        .collect();
    assert_eq!(damaged.len(), DAMAGED);
    let failures = Report::default();
    for_each(&damaged, |name| {
        let facts = facts(&dir.join(format!("{name}.meta.json")));
        let path = dir.join(format!("{name}.rdb"));
        failures.check(name, one_damaged(name, &path, &facts));
    });
    failures.finish();
}

fn one_damaged(name: &str, path: &Path, facts: &Json) -> Result<(), String> {
    let damage = name.split_once("--").ok_or("no damage")?.1;
    let (run, found) = report(&[], path);
    let refused = facts.need("check_rdb")?.need("rc")?.int()? != 0;
    let expected = match other_verdict(damage) {
        Some(verdict) => verdict,
        None if refused => "broken",
        None => "whole",
    };
    let verdict = text(&found, "verdict");
    if verdict != expected {
        return Err(format!("{verdict}, expected {expected}: {}", run.stderr));
    }
    let before = facts.need("keys_wholly_before_damage")?.elements()?.len() as i128;
    let keys = int(&found, "keys");
    if expected == "whole" {
        return match run.status {
            Some(0) if keys >= before && run.stderr.is_empty() => Ok(()),
            status => Err(format!("{status:?}, {keys} keys: {}", run.stderr)),
        };
    }
    let len = facts.need("bytes")?.int()?;
    let error = found.need("error")?;
    let known = error.get("offset").is_some();
    if !known && facts.need("damage_offset")?.int()? != 0 {
        return Err(format!("no offset: {}", run.stderr));
    }
    if known {
        let at = int(error, "offset");
        if at != i128::from(run.error_offset(path)?) {
            return Err(format!("offset {at} here, and {}", run.stderr));
        }
        let first = match facts.need("damage_offset")?.int()? {
            _ if !place_is_known(damage) => 0,
            0..9 => 0,
            offset => offset,
        };
        if !(first..=len).contains(&at) {
            return Err(format!("at byte {at}: expected {first} to {len}"));
        }
    }
    // A value that has swallowed others may be whole by chance, so there may be one or two more.
    if !(before..=before + 2).contains(&keys) && !matches!(damage, "flip-in-text" | "nul-hole") {
        return Err(format!("{keys} whole keys, expected {before}"));
    }
    if damage == "flip-in-text" && (keys != 14 || text(&found, "checksum") != "wrong") {
        return Err(format!(
            "{keys} keys and the checksum wrong: {}",
            found.short()
        ));
    }
    // The same as decode says, but for what to do about it.
    let decode = rdbtool(["decode".as_ref(), path.as_os_str()]);
    let first = |s: &str| s.lines().next().map(str::to_owned);
    if first(&decode.stderr) != first(&run.stderr) {
        return Err(format!(
            "decode says {}, check {}",
            decode.stderr, run.stderr
        ));
    }
    for threads in ["1", "8"] {
        let (_, again) = report(&["--threads", threads], path);
        if again != found {
            return Err(format!("--threads {threads}: {}", again.short()));
        }
    }
    let piped = rdbtool_reading(["check", "--format", "json", "-"], &read(path));
    let again = json::parse(piped.stdout.trim_ascii())?;
    let same = |name: &str| again.get(name) == found.get(name);
    // The error may be another: a pipe does not tell how many bytes are left, so a count is believed for longer.
    if !["verdict", "keys", "checksum"].iter().all(|n| same(n)) {
        return Err(format!("from a pipe: {}", again.short()));
    }
    Ok(())
}

// ---- what only a server would stumble over ----------------------------------------------------------------------------

/// A listpack of numbers from 0 to 127 and short strings.
fn listpack(elements: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for e in elements {
        match e.parse::<i64>() {
            Ok(n @ 0..=127) => body.extend([n as u8, 1]),
            Ok(n) => {
                body.push(0xf4);
                body.extend(n.to_le_bytes());
                body.push(9);
            }
            Err(_) => {
                body.push(0x80 | e.len() as u8);
                body.extend(e.bytes());
                body.push(e.len() as u8 + 1);
            }
        }
    }
    let mut lp = (body.len() as u32 + 7).to_le_bytes().to_vec();
    lp.extend((elements.len() as u16).to_le_bytes());
    lp.extend(body);
    lp.push(0xff);
    lp
}

/// A string with a 32-bit length.
fn string(bytes: &[u8]) -> Vec<u8> {
    let mut s = vec![0x80];
    s.extend((bytes.len() as u32).to_be_bytes());
    s.extend(bytes);
    s
}

/// A key `k` with this type and value.
fn key(value_type: u8, value: &[u8]) -> Vec<u8> {
    [&[value_type, 1, b'k'], value].concat()
}

fn packed(value_type: u8, elements: &[&str]) -> Vec<u8> {
    key(value_type, &string(&listpack(elements)))
}

/// A stream of layout 1 with the entry 1-1 {a: 1}, that says it has `length` entries; then its groups.
fn stream(length: &str, groups: &str) -> Vec<u8> {
    let node = "01 10 00000000000000010000000000000001 1c 1c0000000a00 0101 0001 0101 816102 0001 0201 0001 0001 0101 0401 ff";
    key(15, &hex(&format!("{node} {length} 0101 {groups}")))
}

struct Row {
    name: &'static str,
    items: Vec<u8>,
    /// `problems`, `notes` or none of them; the kind and how many.
    found: Option<(&'static str, &'static str, i128)>,
    /// A part of the first message.
    says: &'static str,
}

fn row(
    name: &'static str,
    items: Vec<u8>,
    found: Option<(&'static str, &'static str, i128)>,
    says: &'static str,
) -> Row {
    Row {
        name,
        items,
        found,
        says,
    }
}

fn rows() -> Vec<Row> {
    let problem = |kind| Some(("problems", kind, 1));
    let note = |kind| Some(("notes", kind, 1));
    let group = "0167 0101 00 00";
    let consumer = "0163 0000000000000000 00";
    let many: Vec<String> = (0..30).map(|i| format!("m{i}")).collect();
    let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
    let thirty = packed(20, &many);
    many.push("m7");
    vec![
        row("a set", key(2, &hex("02 0161 0162")), None, ""),
        row(
            "a member twice",
            key(2, &hex("03 0161 0162 0161")),
            problem("duplicate"),
            r#"member "a" is there twice"#,
        ),
        row(
            "an integer and its text",
            key(2, &hex("02 c007 0137")),
            problem("duplicate"),
            r#"member "7" is there twice"#,
        ),
        row("thirty members", thirty, None, ""),
        row(
            "one of thirty twice, in a listpack",
            packed(20, &many),
            problem("duplicate"),
            r#"member "m7" is there twice"#,
        ),
        row(
            "a field twice",
            key(4, &hex("02 0161 0178 0161 0179")),
            problem("duplicate"),
            r#"field "a" is there twice"#,
        ),
        row(
            "a value like a field is no field",
            key(4, &hex("02 0161 0162 0162 0161")),
            None,
            "",
        ),
        row(
            "a field twice in a listpack",
            packed(16, &["a", "1", "a", "2"]),
            problem("duplicate"),
            r#"field "a" is there twice"#,
        ),
        row(
            "a member with two scores",
            key(5, &hex("02 0161 0000000000000000 0161 000000000000f03f")),
            problem("duplicate"),
            r#"member "a" is there twice"#,
        ),
        row(
            "a plain zset may be in any order",
            key(5, &hex("02 0161 000000000000f03f 0162 0000000000000000")),
            None,
            "",
        ),
        row(
            "a packed zset",
            packed(17, &["b", "1", "a", "2", "b2", "2"]),
            None,
            "",
        ),
        row(
            "a packed zset with scores out of order",
            packed(17, &["a", "2", "b", "1"]),
            problem("unsorted"),
            "member 1, counted from 0, is less",
        ),
        row(
            "a packed zset with members of one score out of order",
            packed(17, &["a", "1", "c", "1", "b", "1"]),
            problem("unsorted"),
            "member 2, counted from 0, is less",
        ),
        row(
            "fields by expiry, those without one last",
            packed(23, &["f", "v", "5000", "g", "v", "6000", "h", "v", "0"]),
            None,
            "",
        ),
        row(
            "a field without an expiry before one with",
            packed(23, &["f", "v", "0", "g", "v", "6000"]),
            problem("unsorted_expiries"),
            "field 1, counted from 0, is less",
        ),
        row("a stream", stream("01", "00"), None, ""),
        row(
            "a stream that counts wrongly",
            stream("05", "00"),
            problem("stream_length"),
            "1 entries where the stream says 5",
        ),
        row(
            "two groups of one name",
            stream("01", &format!("02 {group} {group}")),
            problem("stream_names"),
            r#"consumer group "g" is there twice"#,
        ),
        row(
            "two consumers of one name",
            stream("01", &format!("01 0167 0101 00 02 {consumer} {consumer}")),
            problem("stream_names"),
            r#"consumer "c" is there twice in group "g""#,
        ),
        row(
            "a library without its first line",
            hex("f5 0472657475"),
            problem("library"),
            "does not begin with #!",
        ),
        row("an empty set", key(2, &[0]), note("empty"), "no elements"),
        row("an empty list", key(18, &[0]), note("empty"), "no elements"),
        row(
            "an empty listpack",
            packed(16, &[]),
            note("empty"),
            "no elements",
        ),
        row(
            "an empty stream is a stream",
            key(15, &hex("00 00 0707 00")),
            None,
            "",
        ),
        row(
            "a list node of 65536 elements",
            [&[18, 1, b'k', 1, 2][..], &long_node(65536)].concat(),
            note("long_node"),
            "a node of 65536 elements",
        ),
        row(
            "two nodes of 65535 elements",
            [
                &[18, 1, b'k', 2, 2][..],
                &long_node(65535),
                &[2],
                &long_node(65535),
            ]
            .concat(),
            None,
            "",
        ),
        row(
            "database 15",
            [&[0xfe, 15], &key(0, &[0])[..]].concat(),
            None,
            "",
        ),
        row(
            "database 16",
            [&[0xfe, 16], &key(0, &[0])[..]].concat(),
            note("database"),
            "database 16",
        ),
        row(
            "a function of a release candidate",
            hex("f6 016d 034c5541 00 0178"),
            note("old_function"),
            r#"function "m""#,
        ),
    ]
}

/// A listpack of so many zeros, as a string.
fn long_node(n: usize) -> Vec<u8> {
    let mut lp = (n as u32 * 2 + 7).to_le_bytes().to_vec();
    lp.extend((n.min(65535) as u16).to_le_bytes());
    lp.extend([0, 1].repeat(n));
    lp.push(0xff);
    string(&lp)
}

#[test]
fn what_servers_stumble_over_is_found() {
    let failures = Report::default();
    for (i, row) in rows().iter().enumerate() {
        let path = scratch(&format!("check-row-{i}.rdb"), &file(12, &row.items));
        failures.check(row.name, one_row(row, &path));
    }
    failures.finish();
}

fn one_row(row: &Row, path: &Path) -> Result<(), String> {
    let (run, found) = report(&[], path);
    let wrong = || Err(format!("{:?} {} {}", run.status, found.short(), run.stderr));
    let problem = matches!(row.found, Some(("problems", ..)));
    let (status, verdict) = match problem {
        true => (1, "problems"),
        false => (0, "whole"),
    };
    if run.status != Some(status) || text(&found, "verdict") != verdict || !run.stderr.is_empty() {
        return wrong();
    }
    let mut kinds = Vec::new();
    for list in ["problems", "notes"] {
        for (kind, found) in found.need(list)?.members()? {
            let first = found.need("first")?.elements()?;
            let says = first.first().map_or("", |f| text(f, "message"));
            if !says.contains(row.says) {
                return Err(format!("says {says:?}, expected {:?}", row.says));
            }
            kinds.push((list, kind.as_str(), int(found, "count")));
        }
    }
    if kinds != Vec::from_iter(row.found) {
        return wrong();
    }
    // In the text too, and of a problem even when there is nothing else to be told.
    let told = check(&[], path);
    let quiet = check(&["-q"], path);
    let says = |s: &[u8]| String::from_utf8_lossy(s).contains(row.says);
    if !says(&told.stdout) || told.status != Some(status) {
        return Err(format!("{}", told.stdout.escape_ascii()));
    }
    if !quiet.stdout.is_empty() || problem == quiet.stderr.is_empty() {
        return Err(format!("-q: {}", quiet.stderr));
    }
    match problem && !says(quiet.stderr.as_bytes()) {
        true => Err(format!("-q: {}", quiet.stderr)),
        false => Ok(()),
    }
}

// ---- values larger than a batch ---------------------------------------------------------------------------------------

/// A set of `n` members of 20 bytes, `m` followed by a number, and then these.
fn big_set(n: usize, more: &[&str]) -> Vec<u8> {
    let mut items = vec![0xfe, 0, 2, 3, b'b', b'i', b'g', 0x80];
    items.extend(((n + more.len()) as u32).to_be_bytes());
    let member = |m: String| [&[m.len() as u8][..], m.as_bytes()].concat();
    for i in 0..n {
        items.extend(member(format!("m{i:019}")));
    }
    for m in more {
        items.extend(member((*m).to_owned()));
    }
    items
}

#[test]
fn a_member_twice_in_different_parts_of_a_large_set() {
    let rows = [
        ("none", 100_000, None),
        ("the first", 100_000, Some("m0000000000000000000")),
        ("one in the middle", 100_000, Some("m0000000000000050000")),
        ("the last", 100_000, Some("m0000000000000099999")),
        (
            "in a set that grows its table",
            600_000,
            Some("m0000000000000000007"),
        ),
    ];
    for (name, n, twice) in rows {
        let items = big_set(n, &Vec::from_iter(twice));
        let path = scratch("check-big-set.rdb", &file(11, &items));
        for threads in ["1", "2", "7"] {
            let (run, found) = report(&["--threads", threads], &path);
            let problems = found.need("problems").unwrap();
            match twice {
                None => assert_eq!(
                    (run.status, problems.members().unwrap().len()),
                    (Some(0), 0)
                ),
                Some(member) => {
                    let told = problems.need("duplicate").unwrap();
                    assert_eq!((run.status, int(told, "count")), (Some(1), 1), "{name}");
                    let first = &told.need("first").unwrap().elements().unwrap()[0];
                    let says = format!("member \"{member}\" is there twice");
                    assert_eq!(text(first, "message"), says, "{name}");
                    assert!(text(first, "key").contains("big"));
                }
            }
            let set = found.need("databases").unwrap().elements().unwrap()[0].clone();
            let set = set.need("types").and_then(|t| t.need("set")).unwrap();
            assert_eq!(
                int(set, "elements"),
                (n + usize::from(twice.is_some())) as i128
            );
            assert_eq!(int(set, "bytes"), items.len() as i128 - 7);
        }
    }
}

#[test]
fn too_many_members_are_not_compared_and_that_is_noted() {
    let path = scratch(
        "check-too-many.rdb",
        &file(11, &big_set(1_100_000, &["m0000000000000000000"])),
    );
    let (run, found) = report(&[], &path);
    assert_eq!((run.status, text(&found, "verdict")), (Some(0), "whole"));
    let note = found
        .need("notes")
        .and_then(|n| n.need("uncompared"))
        .unwrap();
    assert_eq!(int(note, "count"), 1);
}

/// Stream nodes of one entry each, of the keys given, padded so that some hundred fill a batch.
fn big_stream(keys: impl Iterator<Item = u64> + Clone, length: u32) -> Vec<u8> {
    let mut items = vec![0xfe, 0, 15, 3, b'b', b'i', b'g', 0x80];
    items.extend((keys.clone().count() as u32).to_be_bytes());
    let pad = [b'x'; 3000];
    let mut field = vec![0xe0 | (pad.len() >> 8) as u8, pad.len() as u8];
    field.extend(pad);
    let size = field.len();
    field.extend([(size >> 7) as u8, 0x80 | (size & 127) as u8]);
    let mut body = hex("0101 0001 0101 816102 0001 0201 0001 0001");
    body.extend(&field);
    body.extend(hex("0401"));
    let mut lp = (body.len() as u32 + 7).to_le_bytes().to_vec();
    lp.extend(10u16.to_le_bytes());
    lp.extend(body);
    lp.push(0xff);
    for key in keys {
        items.push(16);
        items.extend(key.to_be_bytes());
        items.extend(1u64.to_be_bytes());
        items.extend(string(&lp));
    }
    items.push(0x80);
    items.extend(length.to_be_bytes());
    items.extend(hex("0101 00"));
    items
}

#[test]
fn streams_larger_than_a_batch() {
    let n = 500;
    let whole = file(11, &big_stream((0..n).map(|i| i + 1), 500));
    let short = file(11, &big_stream((0..n).map(|i| i + 1), 499));
    // Parts that are sound each, but not in this order: the second half begins again at 1.
    let again = file(11, &big_stream((0..n).map(|i| i % 250 + 1), 500));
    let path = scratch("check-big-stream.rdb", &whole);
    let (run, found) = report(&[], &path);
    assert_eq!((run.status, text(&found, "verdict")), (Some(0), "whole"));
    let path = scratch("check-big-stream.rdb", &short);
    let (run, found) = report(&[], &path);
    assert_eq!((run.status, text(&found, "verdict")), (Some(1), "problems"));
    found
        .need("problems")
        .and_then(|p| p.need("stream_length"))
        .unwrap();
    let path = scratch("check-big-stream.rdb", &again);
    let (run, found) = report(&[], &path);
    assert_eq!((run.status, text(&found, "verdict")), (Some(1), "broken"));
    let says = text(found.need("error").unwrap(), "message");
    assert!(says.contains("expected ascending keys"), "{says}");
}

// ---- options and statuses ---------------------------------------------------------------------------------------------

/// Three keys, the second of which has a listpack with a wrong count.
fn broken_value() -> Vec<u8> {
    let mut lp = listpack(&["a", "b"]);
    lp[4] = 9;
    let items = [
        key(0, &hex("0176")),
        [&[20, 1, b'x'][..], &string(&lp)].concat(),
        [&[0, 1, b'y'][..], &hex("0176")].concat(),
    ];
    file(12, &items.concat())
}

#[test]
fn broken_values_are_passed_over_when_asked() {
    let path = scratch("check-broken-value.rdb", &broken_value());
    let (run, found) = report(&[], &path);
    assert_eq!(run.status, Some(1));
    assert_eq!(
        (text(&found, "verdict"), int(&found, "keys")),
        ("broken", 1)
    );
    let told = check(&[], &path);
    let says = String::from_utf8_lossy(&told.stdout);
    assert!(says.contains("1 key whole before the damage"), "{says}");
    assert!(
        told.stderr.contains(r#"key "x" (set, listpack)"#),
        "{}",
        told.stderr
    );

    let (run, found) = report(&["--on-error", "skip"], &path);
    assert_eq!((run.status, run.stderr.as_str()), (Some(3), ""));
    assert_eq!(
        (text(&found, "verdict"), int(&found, "keys")),
        ("incomplete", 2)
    );
    let broken = found.need("broken_values").unwrap();
    assert_eq!(int(broken, "count"), 1);
    let first = &broken.need("first").unwrap().elements().unwrap()[0];
    assert_eq!(text(first, "key"), r#""x" (set, listpack)"#);
    assert_eq!(text(&found, "checksum"), "ok");
    let quiet = check(&["-q", "--on-error", "skip"], &path);
    assert_eq!((quiet.status, quiet.stdout.len()), (Some(3), 0));
    assert!(quiet.stderr.contains(r#"key "x""#), "{}", quiet.stderr);
}

#[test]
fn many_broken_values_are_counted_and_the_first_named() {
    let mut lp = listpack(&["a", "b"]);
    lp[4] = 9;
    let mut items = Vec::new();
    for i in 0..20_000 {
        let name = format!("k{i:05}");
        items.extend([20, 6]);
        items.extend(name.bytes());
        items.extend(string(&lp));
    }
    let path = scratch("check-many-broken.rdb", &file(12, &items));
    let (_, one) = report(&["--on-error", "skip", "--threads", "1"], &path);
    let broken = one.need("broken_values").unwrap();
    assert_eq!(int(broken, "count"), 20_000);
    let first = broken.need("first").and_then(Json::elements).unwrap();
    let keys: Vec<_> = first.iter().map(|f| &text(f, "key")[..8]).collect();
    let want: Vec<_> = (0..10).map(|i| format!("\"k{i:05}\"")).collect();
    assert_eq!(keys, want);
    let (_, many) = report(&["--on-error", "skip", "--threads", "6"], &path);
    assert_eq!(one, many);
}

/// A zset larger than a batch with one score in its middle that is not a number.
#[test]
fn a_broken_value_larger_than_a_batch_is_one() {
    let n = 60_000u32;
    let mut items = vec![0xfe, 0, 5, 3, b'b', b'i', b'g', 0x80];
    items.extend(n.to_be_bytes());
    for i in 0..n {
        items.extend([8]);
        items.extend(format!("{i:08}").bytes());
        let score = if i % 20_000 == 10_000 {
            f64::NAN
        } else {
            i.into()
        };
        items.extend(score.to_le_bytes());
    }
    items.extend(key(0, &hex("0176")));
    let path = scratch("check-big-broken.rdb", &file(11, &items));
    for threads in ["1", "5"] {
        let (run, found) = report(&["--on-error", "skip", "--threads", threads], &path);
        assert_eq!((run.status, int(&found, "keys")), (Some(3), 1));
        let broken = found.need("broken_values").unwrap();
        assert_eq!(int(broken, "count"), 1);
        let first = &broken.need("first").unwrap().elements().unwrap()[0];
        // The first of the three: after 10000 members of 17 bytes, and the head of the record.
        assert_eq!(int(first, "offset"), 9 + 12 + 10_000 * 17 + 9);
        let (run, found) = report(&["--threads", threads], &path);
        assert_eq!((run.status, int(&found, "keys")), (Some(1), 0));
        assert_eq!(
            int(found.need("error").unwrap(), "offset"),
            9 + 12 + 10_000 * 17 + 9
        );
    }
}

#[test]
fn a_wrong_checksum_alone() {
    let mut bytes = file(9, &key(0, &hex("0176")));
    bytes[13] ^= 1;
    let path = scratch("check-bad-sum.rdb", &bytes);
    let run = check(&[], &path);
    let says = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status, Some(1));
    assert!(
        says.contains("checksum    wrong") && says.contains("data        1 key,"),
        "{says}"
    );
    let (run, found) = report(&["--no-checksum"], &path);
    assert_eq!(
        (run.status, text(&found, "checksum")),
        (Some(0), "not verified")
    );
}

#[test]
fn every_source_is_looked_at() {
    let good = scratch("check-good.rdb", &file(9, &key(0, &hex("0176"))));
    let bad = scratch("check-bad.rdb", &file(9, &hex("aa")));
    let skipped = scratch("check-broken-value.rdb", &broken_value());
    let paths = [&bad, &good, &skipped].map(|p| p.as_os_str());
    let flags = ["check", "--format", "json", "--on-error", "skip"].map(AsRef::as_ref);
    let run = rdbtool(flags.into_iter().chain(paths));
    assert_eq!(run.status, Some(1));
    let verdicts: Vec<_> = lines(&run.stdout)
        .map(|l| text(&json::parse(l).unwrap(), "verdict").to_owned())
        .collect();
    assert_eq!(verdicts, ["broken", "whole", "incomplete"]);
    assert!(
        run.stderr
            .contains("check-bad.rdb: byte 9: unknown opcode 0xaa"),
        "{}",
        run.stderr
    );
    let run = rdbtool(
        flags
            .into_iter()
            .chain([&good, &skipped].map(|p| p.as_os_str())),
    );
    assert_eq!(run.status, Some(3));
    // One that cannot be opened, or holds nothing, does not keep the others from being looked at.
    let empty = scratch("check-empty.rdb", b"");
    let nowhere = Path::new("/nowhere.rdb");
    let flags = ["check", "-"].map(AsRef::as_ref);
    let all = [&empty, nowhere, &good].map(|p: &Path| p.as_os_str());
    let run = rdbtool_reading(flags.into_iter().chain(all), &read(&good));
    let says = String::from_utf8_lossy(&run.stdout).into_owned();
    assert_eq!((run.status, run.stderr.lines().count()), (Some(1), 2));
    assert_eq!(says.matches(": whole\n").count(), 2, "{says}");
    assert_eq!(says.matches(": broken\n").count(), 2, "{says}");
    for (args, status) in [
        (vec!["check"], 2),
        (vec!["check", "-", "-"], 2),
        (vec!["check", "--format", "x", "-"], 2),
        (vec!["check", "/nowhere.rdb"], 1),
    ] {
        assert_eq!(rdbtool(args).status, Some(status));
    }
}

#[test]
fn the_summary() {
    let items = [
        hex(
            "fa 0972656469732d766572 05372e322e36  fa 0a72656469732d62697473 c040  fa 056374696d65 c200e1f505",
        ),
        hex("f5 0b 23216c7561206e616d653d"),
        hex("f7 81b5eb2dfffadd6c01 02 01 02 01 00"),
        hex("fe00 fc 0100000000000000 00 0161 0176"),
        hex("fc 0000000000000100 04 0168 01 0166 0176"),
        key(
            25,
            &[
                &hex("0000000000000000")[..],
                &string(&listpack(&["f", "v", "5000", "g", "v", "0"])),
            ]
            .concat(),
        ),
        hex("fe03 02 0173 02 0161 0162"),
    ];
    let mut bytes = file(12, &items.concat());
    bytes.extend(b"more");
    let path = scratch("check-summary.rdb", &bytes);
    let run = check(&[], &path);
    let says = String::from_utf8(run.stdout).unwrap();
    let want = format!(
        r#"{}: whole
  format      RDB 12, by Redis 7.2.6 (64 bits), saved 1973-03-03T09:46:40Z
  data        4 keys, values of 56 bytes
  expiries    2 keys, 1 of them in the past; 1 hash field
  db 0        3 keys, 2 with an expiry
    string      1 key, 2 bytes
    hash        2 keys, 3 elements, 49 bytes
  db 3        1 key
    set         1 key, 2 elements, 5 bytes
  functions   1 library
  aux         redis-ver "7.2.6"
  aux         redis-bits "64"
  aux         ctime "100000000"
  module aux  test__rdb version 1, before the keys, 3 bytes
  checksum    ok
  trailing    bytes follow the end; servers ignore them, and so does this
"#,
        path.display()
    );
    assert_eq!(says, want);
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""));
}
