//! `rdbtool decode` against what real servers said of their own files.
//!
//! Every file of the corpus is decoded by the program, and every key, every fact about the file and every line's shape is compared with
//! the server's own answers. All failures of a run are reported together.

mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use support::json::{self, Json};
use support::line::{self, Key, Line};
use support::truth::{self, Place, name, place};
use support::value::show;
use support::{Case, Report, corpus, for_each, lines, rdbtool, rdbtool_reading, scratch};

/// Files in the corpus. A test that found fewer would prove less than it says.
const FILES: usize = 338;

/// Keys in all of them.
const KEYS: usize = 32_082;

#[test]
fn every_file_is_what_the_server_said() {
    let cases = corpus();
    assert_eq!(cases.len(), FILES);
    let report = Report::default();
    let keys = std::sync::atomic::AtomicUsize::new(0);
    for_each(&cases, |case| {
        match decode(["--meta".as_ref(), case.path.as_os_str()]) {
            Err(how) => report.fail(&case.name, how),
            Ok(output) => {
                let seen = Decoded::read(case, &output, &report);
                keys.fetch_add(seen.keys.len(), std::sync::atomic::Ordering::Relaxed);
                keys_are_the_truth(case, &seen, &report);
                for check in [
                    counts,
                    functions,
                    versions,
                    replication,
                    scripts,
                    slots,
                    offsets,
                ] {
                    report.check(&case.name, check(case, &seen));
                }
            }
        }
    });
    report.finish();
    assert_eq!(keys.into_inner(), KEYS, "keys in all files");
}

/// Lines are a source: what they are decoded to is the same lines again.
#[test]
fn lines_can_be_read_back() {
    let cases = corpus();
    assert_eq!(cases.len(), FILES);
    let report = Report::default();
    for_each(&cases, |case| {
        let from_file = |args: &[&str]| {
            let args = args.iter().map(OsString::from);
            decode(args.chain([case.path.clone().into_os_string()]))
        };
        let read_back = |lines: &[u8]| rdbtool_reading(["decode", "-"], lines).ok();
        let compared = || -> Result<(), String> {
            let lines = from_file(&[])?;
            if lines.is_empty() {
                return Ok(());
            }
            for form in [&[][..], &["--meta"], &["--format", "json"]] {
                let back = read_back(&from_file(form)?).map_err(|e| format!("{form:?}: {e}"))?;
                let differ = || {
                    let differing = support::lines(&lines).zip(support::lines(&back));
                    let first = differing.into_iter().find(|(a, b)| a != b);
                    format!("{form:?}: {:.400?}", first.map(|(a, b)| (text(a), text(b))))
                };
                if back != lines {
                    return Err(differ());
                }
            }
            Ok(())
        };
        report.check(&case.name, compared());
    });
    report.finish();
}

/// A new RDB file of each file decodes to the same lines; and so do the lines of a file, written as one.
#[test]
fn new_files_say_the_same() {
    let cases = corpus();
    assert_eq!(cases.len(), FILES);
    let report = Report::default();
    for_each(&cases, |case| {
        let compared = || -> Result<(), String> {
            let path = case.path.clone().into_os_string();
            let dump = |more: &[&str], input: &[u8]| {
                let args = ["dump", "--format", "rdb", "-q"].iter().chain(more);
                let args = args.map(OsString::from);
                match input.is_empty() {
                    true => rdbtool(args.chain([path.clone()])),
                    false => rdbtool_reading(args.chain(["-".into()]), input),
                }
                .ok()
            };
            let lines = decode([path.clone()])?;
            let file = dump(&[], b"")?;
            if rdbtool_reading(["decode", "-"], &file).ok()? != lines {
                return Err("the new file says something else".to_owned());
            }
            rdbtool_reading(["check", "--on-error", "skip", "-"], &file).ok()?;
            if !lines.is_empty() {
                let file = dump(&[], &lines)?;
                if rdbtool_reading(["decode", "-"], &file).ok()? != lines {
                    return Err("the new file of the lines says something else".to_owned());
                }
            }
            Ok(())
        };
        report.check(&case.name, compared());
    });
    report.finish();
}

fn decode<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Result<Vec<u8>, String> {
    let args = args.into_iter().map(Into::into);
    rdbtool(std::iter::once("decode".into()).chain(args)).ok()
}

/// The output of one file, line by line.
#[derive(Default)]
struct Decoded {
    /// Keys by place.
    keys: HashMap<Place, Key>,
    /// Places in the order of the output.
    order: Vec<Place>,
    aux: Vec<(Vec<u8>, Vec<u8>)>,
    functions: Vec<Vec<u8>>,
}

impl Decoded {
    fn read(case: &Case, output: &[u8], report: &Report) -> Decoded {
        let mut seen = Decoded::default();
        if !output.is_empty() && !output.ends_with(b"\n") {
            report.fail(&case.name, "the last line has no end");
        }
        for (i, text) in lines(output).enumerate() {
            match line::parse(text) {
                Err(how) => report.fail(&case.name, format!("line {}: {how}", i + 1)),
                Ok(Line::Aux(pairs)) => seen.aux.extend(pairs),
                Ok(Line::ModuleAux(_)) => {}
                Ok(Line::Function(code)) => {
                    if !seen.order.is_empty() {
                        report.fail(&case.name, "a function after the first key");
                    }
                    seen.functions.push(code);
                }
                Ok(Line::Key(key)) => {
                    let place = (key.db, key.key.clone());
                    seen.order.push(place.clone());
                    if seen.keys.insert(place.clone(), *key).is_some() {
                        report.fail(&case.name, format!("{} comes twice", name(&place)));
                    }
                }
            }
        }
        seen
    }

    /// Values of an AUX field, in order.
    fn aux<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let named = move |a: &&(Vec<u8>, Vec<u8>)| a.0 == name.as_bytes();
        self.aux.iter().filter(named).map(|a| a.1.as_slice())
    }
}

fn keys_are_the_truth(case: &Case, seen: &Decoded, report: &Report) {
    let file = truth::File {
        magic: case.meta.need("magic").and_then(Json::str).expect("magic"),
        rdb_version: case
            .meta
            .need("rdb_version")
            .and_then(Json::int)
            .expect("rdb_version"),
    };
    let mut told = HashSet::new();
    for line in case.truth() {
        let place = place(&line).unwrap_or_else(|e| panic!("{}: bad truth: {e}", case.name));
        match seen.keys.get(&place) {
            None => report.fail(&case.name, format!("{}: missing", name(&place))),
            Some(key) => {
                for how in truth::compare(&line, key, file) {
                    report.fail(&case.name, format!("{}: {how}", name(&place)));
                }
            }
        }
        told.insert(place);
    }
    for place in seen.keys.keys().filter(|p| !told.contains(*p)) {
        report.fail(&case.name, format!("{}: not expected", name(place)));
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, expected: T, found: T) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let cut = |v: &T| format!("{v:?}").chars().take(400).collect::<String>();
    let (expected, found) = (cut(&expected), cut(&found));
    Err(format!("{what}: expected {expected}, found {found}"))
}

/// Keys, and keys with an expiry, by something.
type Counts = BTreeMap<i128, (i128, i128)>;

fn count<'a>(keys: impl Iterator<Item = (i128, &'a Key)>) -> Counts {
    let mut counts = Counts::new();
    for (by, key) in keys {
        let one = counts.entry(by).or_default();
        one.0 += 1;
        one.1 += i128::from(key.expire_at_ms.is_some());
    }
    counts
}

fn told_counts(of: &Json) -> Result<Counts, String> {
    let one = |(by, of): &(String, Json)| {
        let by = by.parse().map_err(|_| format!("{by:?} is no number"))?;
        let both = (of.need("keys")?.int()?, of.need("expires")?.int()?);
        Ok((by, both))
    };
    of.members()?.iter().map(one).collect()
}

/// Keys and expiries per database.
fn counts(case: &Case, seen: &Decoded) -> Result<(), String> {
    let told = told_counts(case.meta.need("databases")?)?;
    let found = count(seen.keys.values().map(|k| (k.db, k)));
    equal("keys and expiries per database", told, found)
}

/// Function libraries, whole.
fn functions(case: &Case, seen: &Decoded) -> Result<(), String> {
    if let Some(names) = case.meta.get("functions_rc1") {
        // Release candidates of 7.0 kept name and engine beside the code, which has no first line that says them; the code becomes a
        // library of today with that line. Of these servers only the names are known.
        let first = |code: &Vec<u8>| text(lines(code).next().unwrap_or_default()).to_lowercase();
        let mut found: Vec<String> = seen.functions.iter().map(first).collect();
        let of = |n: &Json| Ok(format!("#!lua name={}", n.str()?));
        let told = names.elements()?.iter().map(of);
        let mut told = told.collect::<Result<Vec<_>, String>>()?;
        told.sort();
        found.sort();
        return equal("names of function libraries", told, found);
    }
    let mut found: Vec<String> = seen.functions.iter().map(|f| text(f)).collect();
    found.sort();
    let mut told = Vec::new();
    for f in case
        .meta
        .get("functions")
        .map_or(Ok(&[][..]), Json::elements)?
    {
        told.push(text(&f.need("code_b64")?.base64()?));
    }
    told.sort();
    equal("function libraries", told, found)
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The release that the file says wrote it (3.2 and later say so).
fn versions(case: &Case, seen: &Decoded) -> Result<(), String> {
    let version = case.meta.need("server_version")?.str()?;
    let rdb_version = case.meta.need("rdb_version")?.int()?;
    let valkey = case.server.starts_with("valkey");
    let says = |n: &str| seen.aux(n).map(text).collect::<Vec<_>>();
    let (redis_ver, valkey_ver) = (says("redis-ver"), says("valkey-ver"));
    let one = vec![version.to_owned()];
    let (told_redis, told_valkey) = match (rdb_version, valkey) {
        (..=6, _) => (vec![], vec![]),
        (_, true) => (vec![], one),
        (_, false) => (one, vec![]),
    };
    equal("aux redis-ver", told_redis, redis_ver)?;
    equal("aux valkey-ver", told_valkey, valkey_ver)?;
    if rdb_version >= 7 {
        equal("aux redis-bits", vec!["64".to_owned()], says("redis-bits"))?;
    }
    Ok(())
}

/// The replication state of a file that was written with a replica attached.
fn replication(case: &Case, seen: &Decoded) -> Result<(), String> {
    let ids: Vec<String> = seen.aux("repl-id").map(text).collect();
    let offsets: Vec<String> = seen.aux("repl-offset").map(text).collect();
    let Some(repl) = case.meta.get("repl") else {
        return equal("aux repl-id", vec![], ids);
    };
    equal("aux repl-id", vec![repl.need("id")?.str()?.to_owned()], ids)?;
    let from = repl.need("offset_before_save")?.int()?;
    let to = repl.need("offset_after_save")?.int()?;
    match offsets.as_slice() {
        [one] if one.parse().is_ok_and(|n| (from..=to).contains(&n)) => Ok(()),
        _ => Err(format!(
            "aux repl-offset: expected {from} to {to}, found {offsets:?}"
        )),
    }
}

/// Cached scripts, which 4.0 to 6.2 put into such a file.
fn scripts(case: &Case, seen: &Decoded) -> Result<(), String> {
    let mut told = Vec::new();
    for s in case
        .meta
        .get("scripts")
        .map_or(Ok(&[][..]), Json::elements)?
    {
        told.push(text(&s.need("body_b64")?.base64()?));
    }
    let mut found: Vec<String> = seen.aux("lua").map(text).collect();
    told.sort();
    found.sort();
    equal("aux lua", told, found)
}

/// Keys and expiries per cluster slot.
fn slots(case: &Case, seen: &Decoded) -> Result<(), String> {
    let Some(slots) = case.meta.get("slots") else {
        return Ok(());
    };
    let told = told_counts(slots)?;
    let mut keys = Vec::new();
    for key in seen.keys.values() {
        keys.push((key.meta_int("slot")?, key));
    }
    equal("keys and expiries per slot", told, count(keys.into_iter()))
}

/// Lines come in file order, and `meta` says where in the file each key is.
fn offsets(case: &Case, seen: &Decoded) -> Result<(), String> {
    let mut last = 8;
    for place in &seen.order {
        let key = &seen.keys[place];
        let offset = key.meta_int("offset")?;
        let rdb_bytes = key.meta_int("rdb_bytes")?;
        let rdb_type = key.meta_int("rdb_type")?;
        let wrong = |how: &str| {
            let name = name(place);
            Err(format!(
                "{name}: meta.offset {offset}, rdb_bytes {rdb_bytes}: {how}"
            ))
        };
        if offset <= last {
            return wrong("not after the key before it");
        }
        last = offset;
        if rdb_bytes < 1 || offset + rdb_bytes >= case.bytes.len() as i128 {
            return wrong("past the end of the file");
        }
        let first = usize::try_from(offset).ok().and_then(|o| case.bytes.get(o));
        // A record begins with its type or with an attribute: an expiry, idle time, frequency or metadata.
        match first {
            Some(&b)
                if i128::from(b) == rdb_type || matches!(b, 0xf3 | 0xf8 | 0xf9 | 0xfc | 0xfd) => {}
            _ => return wrong("no record begins there"),
        }
    }
    Ok(())
}

// ---- one output, whatever the way to it -------------------------------------------------------------------------------

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let cases = corpus();
    assert_eq!(cases.len(), FILES);
    let report = Report::default();
    for_each(&cases, |case| {
        let path = case.path.as_os_str();
        let run = |n: &str| decode(["--meta".as_ref(), "--threads".as_ref(), n.as_ref(), path]);
        let one = run("1");
        if let Err(how) = &one {
            return report.fail(&case.name, how);
        }
        for n in ["2", "8"] {
            report.check(&case.name, same(&format!("--threads {n}"), &one, &run(n)));
        }
        let unsaid = decode(["--meta".as_ref(), path]);
        report.check(&case.name, same("no --threads", &one, &unsaid));
    });
    report.finish();
}

#[test]
fn json_is_one_array_of_the_same_objects() {
    let cases = corpus();
    assert_eq!(cases.len(), FILES);
    let report = Report::default();
    for_each(&cases, |case| {
        for meta in [&["--meta"][..], &[]] {
            report.check(&case.name, same_objects(meta, &[&case.path]));
        }
    });
    report.finish();
}

#[test]
fn json_of_several_sources_is_one_array() {
    let cases = corpus();
    let paths: Vec<&Path> = [
        "redis-2.8.24/expires",
        "redis-8.0.6/empty",
        "valkey-9.1.2/functions",
    ]
    .iter()
    .map(|n| named(&cases, n).path.as_path())
    .collect();
    same_objects(&[], &paths).expect("one array");
    same_objects(&["--meta"], &paths).expect("one array");
}

fn same_objects(options: &[&str], paths: &[&Path]) -> Result<(), String> {
    let sources = || paths.iter().map(|p| p.as_os_str().to_owned());
    let options = || options.iter().map(OsString::from);
    let plain = decode(options().chain(sources()))?;
    let format = ["--format".into(), "json".into()];
    let array = decode(options().chain(format).chain(sources()))?;
    serde_json::from_slice::<serde_json::Value>(&array)
        .map_err(|e| format!("serde_json refuses the array: {e}"))?;
    let array = json::parse(&array)?;
    let mut array = array.elements()?.iter();
    for (i, text) in lines(&plain).enumerate() {
        let told = json::parse(text)?;
        match array.next() {
            Some(found) if *found == told => {}
            found => {
                let found = found.map_or("nothing".into(), Json::short);
                return Err(format!(
                    "element {i}: expected {}, found {found}",
                    told.short()
                ));
            }
        }
    }
    let more = array.count();
    if more > 0 {
        return Err(format!("{more} elements too many"));
    }
    Ok(())
}

#[test]
fn ndjson_is_the_format_that_need_not_be_named() {
    let cases = corpus();
    let path = named(&cases, "redis-7.2.6/expires").path.as_os_str();
    let named = decode(["--format".as_ref(), "ndjson".as_ref(), path]);
    same("--format ndjson", &decode([path]), &named).expect("the same");
}

#[test]
fn without_meta_a_line_lacks_only_the_meta() {
    let cases = corpus();
    let report = Report::default();
    for_each(&cases, |case| {
        report.check(&case.name, only_meta_is_missing(case));
    });
    report.finish();
}

fn only_meta_is_missing(case: &Case) -> Result<(), String> {
    let path = case.path.as_os_str();
    let plain = decode([path])?;
    let with = decode(["--meta".as_ref(), path])?;
    let mut plain = lines(&plain);
    for text in lines(&with) {
        if text.starts_with(b"{\"aux\":") || text.starts_with(b"{\"module_aux\":") {
            continue;
        }
        let bare = plain.next().ok_or("lines are missing without --meta")?;
        let bare = bare.strip_suffix(b"}").ok_or("a line that is no object")?;
        let rest = text.strip_prefix(bare).unwrap_or(b"");
        let function = rest == b"}" && bare.starts_with(b"{\"function\":");
        if !function && !rest.starts_with(b",\"meta\":{") {
            return Err(format!("{} against {}", show(bare), show(text)));
        }
    }
    match plain.next() {
        None => Ok(()),
        Some(text) => Err(format!("only without --meta: {}", show(text))),
    }
}

fn named<'a>(cases: &'a [Case], name: &str) -> &'a Case {
    let found = cases.iter().find(|c| c.name == name);
    found.unwrap_or_else(|| panic!("no {name} in the corpus"))
}

/// Two outputs, byte for byte.
fn same(
    what: &str,
    expected: &Result<Vec<u8>, String>,
    found: &Result<Vec<u8>, String>,
) -> Result<(), String> {
    let (e, f) = match (expected, found) {
        (Ok(e), Ok(f)) if e == f => return Ok(()),
        (Ok(e), Ok(f)) => (e, f),
        (Err(how), _) | (_, Err(how)) => return Err(format!("{what}: {how}")),
    };
    let at = e.iter().zip(f).take_while(|(a, b)| a == b).count();
    let from = |b: &[u8]| show(&b[at.saturating_sub(20).min(b.len())..]);
    let (e_len, f_len) = (e.len(), f.len());
    let (e, f) = (from(e), from(f));
    Err(format!(
        "{what}: other output from byte {at} on: expected {e} ({e_len} bytes), found {f} ({f_len} bytes)"
    ))
}

/// Releases whose files take every way in: they have every theme between them.
const WAYS_IN: [&str; 3] = ["redis-2.4.18", "redis-7.2.6", "valkey-9.1.2"];

#[test]
fn packed_piped_and_plain_give_the_same_lines() {
    let cases: Vec<Case> = corpus()
        .into_iter()
        .filter(|c| WAYS_IN.contains(&c.server.as_str()))
        .collect();
    assert!(cases.len() > 45, "{} files", cases.len());
    let report = Report::default();
    for_each(&cases, |case| {
        let told = decode(["--meta".as_ref(), case.path.as_os_str()]);
        let (gz, zst) = (gzip(&case.bytes), zstd(&case.bytes));
        let (front, back) = case.bytes.split_at(case.bytes.len() / 2);
        let gz_members = [gzip(front), gzip(back)].concat();
        let zst_frames = [zstd(front), zstd(back)].concat();
        for (what, bytes) in [
            ("gz", &gz),
            ("gz of two members", &gz_members),
            ("zst", &zst),
            ("zst of two frames", &zst_frames),
        ] {
            // The name says nothing: what a file is, is told by its content.
            let file = format!("{}-{what}", case.name.replace('/', "-"));
            let path = scratch(&file, bytes);
            let found = decode(["--meta".as_ref(), path.as_os_str()]);
            report.check(&case.name, same(what, &told, &found));
        }
        for (what, bytes) in [
            ("stdin", &case.bytes),
            ("gz on stdin", &gz),
            ("zst on stdin", &zst),
        ] {
            let found = rdbtool_reading(["decode", "--meta", "-"], bytes).ok();
            report.check(&case.name, same(what, &told, &found));
        }
    });
    report.finish();
}

#[test]
fn several_sources_are_one_after_another() {
    let cases = corpus();
    let names = [
        "redis-2.0.5/zsets",
        "redis-7.2.6/mixed",
        "redis-8.6.3/streams",
        "valkey-9.1.2/hash_ttl",
    ];
    let cases: Vec<&Case> = names.iter().map(|n| named(&cases, n)).collect();
    let mut told = Vec::new();
    for case in &cases {
        told.extend(decode([case.path.as_os_str()]).expect("each alone is read"));
    }
    let found = decode(cases.iter().map(|c| c.path.as_os_str()));
    same("four sources", &Ok(told.clone()), &found).expect("the same");

    let mut args = vec![OsString::from("decode")];
    args.extend(cases.iter().map(|c| c.path.clone().into_os_string()));
    args[2] = "-".into();
    let found = rdbtool_reading(args, &cases[1].bytes).ok();
    same("four sources, one of them stdin", &Ok(told), &found).expect("the same");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    to.write_all(bytes).expect("into memory");
    to.finish().expect("into memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("into memory")
}
