//! Giant values: cut into parts, they come out as if they had not been.

use crate::dump::{Dump, Format};
use crate::error::Result;
use crate::filter::{self, Filter, OnConflict};
use crate::pipeline::Progress;
use crate::rdb::length;
use crate::sink::Plain;
use crate::source::Source;
use crate::{Decode, ErrorKind};

/// Decodes `file`; see [`every_way`].
fn decode(file: &[u8], decode: &Decode) -> (String, Result<()>) {
    every_way(file, |source, threads, json| {
        let decode = Decode {
            threads,
            ..decode.clone()
        };
        let r = decode.run(&mut [source], &Progress::new(), &mut Plain(json));
        r.map(drop)
    })
}

/// Does `work` on `file`, by pipe and mapped, with any number of threads, which must give the same: the output and how it ended.
fn every_way(
    file: &[u8],
    work: impl Fn(Source, usize, &mut Vec<u8>) -> Result<()>,
) -> (String, Result<()>) {
    let mut all: Vec<(String, Result<()>)> = Vec::new();
    for threads in [1, 2, 5] {
        for mapped in [false, true] {
            let path = std::env::temp_dir().join(format!(
                "rdbtool-giant-{}-{:?}.rdb",
                std::process::id(),
                std::thread::current().id()
            ));
            let source = match mapped {
                false => Source::from_reader("test", std::io::Cursor::new(file.to_vec())),
                true => {
                    std::fs::write(&path, file).unwrap();
                    Source::open(&path).unwrap()
                }
            };
            let mut out = Vec::new();
            let r = work(source, threads, &mut out);
            let _ = std::fs::remove_file(&path);
            all.push((String::from_utf8_lossy(&out).into_owned(), r));
        }
    }
    for (out, r) in &all {
        assert!(*out == all[0].0 && r.is_ok() == all[0].1.is_ok());
    }
    all.swap_remove(0)
}

fn string(s: &str, out: &mut Vec<u8>) {
    length::write(s.len() as u64, out);
    out.extend_from_slice(s.as_bytes());
}

/// A hash of `n` fields, as a record.
fn hash(key: &str, n: u64, out: &mut Vec<u8>) {
    out.push(4);
    string(key, out);
    length::write(n, out);
    for i in 0..n {
        string(&format!("field:{i}"), out);
        string(&format!("value {i}"), out);
    }
}

fn hash_json(n: u64) -> String {
    let fields: Vec<String> = (0..n)
        .map(|i| format!("\"field:{i}\":\"value {i}\""))
        .collect();
    format!("{{{}}}", fields.join(","))
}

#[test]
fn a_giant_that_is_the_first_item() {
    let mut file = b"REDIS0004".to_vec();
    hash("h", 60_000, &mut file);
    file.extend(b"\x00\x01k\x01v\xff");
    let (json, r) = decode(&file, &Decode::default());
    r.unwrap();
    let want = format!(
        "{{\"db\":0,\"key\":\"h\",\"type\":\"hash\",\"value\":{}}}\n{{\"db\":0,\"key\":\"k\",\"type\":\"string\",\"value\":\"v\"}}\n",
        hash_json(60_000)
    );
    assert!(json == want);
}

#[test]
fn a_giant_of_a_database_that_is_filtered_out() {
    let mut file = b"REDIS0004\xfe\x01".to_vec();
    hash("h", 60_000, &mut file);
    file.extend(b"\xfe\x02\x00\x01k\x01v\xff");
    let options = filter::Options {
        db: Some("2".parse().unwrap()),
        ..filter::Options::default()
    };
    let only = Decode {
        filter: Filter::new(options, 0).unwrap(),
        ..Decode::default()
    };
    let (json, r) = decode(&file, &only);
    r.unwrap();
    assert_eq!(
        json,
        "{\"db\":2,\"key\":\"k\",\"type\":\"string\",\"value\":\"v\"}\n"
    );
}

#[test]
fn a_list_whose_first_parts_hold_no_element() {
    // Empty nodes, which servers pass over, for longer than a part; then one element.
    let mut file = b"REDIS0010\xfe\x00\x12\x01l".to_vec();
    let empty = 100_000;
    length::write(empty + 1, &mut file);
    for _ in 0..empty {
        file.extend(b"\x02\x07\x07\0\0\0\0\0\xff");
    }
    file.extend(b"\x02\x09\x09\0\0\0\x01\0\x05\x01\xff\xff\0\0\0\0\0\0\0\0");
    let meta = Decode {
        meta: true,
        ..Decode::default()
    };
    let (json, r) = decode(&file, &meta);
    r.unwrap();
    assert!(json.contains("\"value\":[\"5\"],"), "{json}");
    assert!(json.contains("\"elements\":1,"), "{json}");
}

#[test]
fn damage_within_a_giant_comes_after_all_that_stands_before_it() {
    let mut file = b"REDIS0004\xfe\x00\x00\x01k\x01v".to_vec();
    hash("h", 60_000, &mut file);
    file.truncate(file.len() - 100);
    let (json, r) = decode(&file, &Decode::default());
    let e = r.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::UnexpectedEof);
    assert!(e.to_string().contains("key \"h\" (hash)"), "{e}");
    assert!(json.starts_with("{\"db\":0,\"key\":\"k\",\"type\":\"string\",\"value\":\"v\"}\n"));
    let skip = Decode {
        format: crate::encode::json::Format::Keys,
        ..Decode::default()
    };
    assert_eq!(decode(&file, &skip).0, "\"k\"\n\"h\"\n");
}

#[test]
fn a_giant_is_restored_whole_up_to_a_size_and_by_commands_beyond() {
    let mut small = Vec::new();
    hash("small", 30_000, &mut small);
    let mut large = Vec::new();
    hash("large", 60_000, &mut large);
    let file = [&b"REDIS0004\xfe\x00"[..], &large, &small, b"\xff"].concat();
    let big_key = 1 << 20;
    assert!((small.len()..large.len()).contains(&(big_key as usize)));
    let restore = |big_key, whole| {
        every_way(&file, |source, threads, out| {
            let dump = Dump {
                format: Format::Restore { big_key, whole },
                threads,
                on_conflict: OnConflict::Replace,
                ..Dump::default()
            };
            let mut all = Vec::new();
            let r = dump.run(&mut [source], &Progress::new(), &mut Plain(&mut all));
            // How many fields there are to a command depends on how the value was cut.
            for line in all.split_inclusive(|&b| b == b'\n') {
                let head = [&b"HMSET\r\n"[..], b"large\r\n"].contains(&line);
                if !head && !line.starts_with(b"*") && !line.starts_with(b"$") {
                    out.extend_from_slice(line);
                }
            }
            r.map(|d| assert_eq!(d.summaries[0].keys, 2))
        })
    };
    let (mixed, r) = restore(big_key, false);
    r.unwrap();
    let fields: String = (0..60_000)
        .map(|i| format!("field:{i}\r\nvalue {i}\r\n"))
        .collect();
    let (commands, payload) = mixed.split_once("RESTORE\r\nsmall\r\n0\r\n").unwrap();
    assert!(commands.ends_with(&fields));
    assert!(payload.starts_with('\u{4}') && payload.ends_with("REPLACE\r\n"));
    // Both may be whole; and none may come as commands.
    let (whole, r) = restore(u64::MAX, true);
    r.unwrap();
    assert_eq!(whole.matches("RESTORE\r\n").count(), 2);
    let (nothing, r) = restore(big_key, true);
    let e = r.unwrap_err();
    assert!(e.to_string().contains("key \"large\" (hash)"), "{e}");
    assert!(!nothing.contains("field:1"));
}
