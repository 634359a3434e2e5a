//! What each stage can do, in bytes of input a second: `cargo bench --bench stages [NAME]`.
//!
//! Every input is made here, from a fixed seed, and every bench asserts what it counted, so that a broken fast path cannot
//! win. `benches/peers` measures the whole program on files of a real server.

#![allow(clippy::unwrap_used, missing_docs)] // a bench that cannot run should stop; criterion's macros make public items

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rdbtool::ndjson::{escape, number};
use rdbtool::out::Out;
use rdbtool::rdb::crc64;
use rdbtool::rdb::lzf;
use rdbtool::rdb::packed::{Blob, Element, intset, listpack, ziplist, zipmap};
use rdbtool::rdb::scan::{Item, Scanner};
use rdbtool::rdb::string::Scratch;
use rdbtool::sink::Count;
use rdbtool::source::Source;
use rdbtool::{Decode, Progress};
use std::hint::black_box;

/// A generator of numbers that are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }

    fn text(&mut self, min: u64, max: u64) -> Vec<u8> {
        let n = min + self.below(max - min + 1);
        (0..n)
            .map(|_| b"abcdefghijklmnopqrstuvwxyz012345"[self.below(32) as usize])
            .collect()
    }
}

fn push_len(n: usize, out: &mut Vec<u8>) {
    match n {
        0..64 => out.push(n as u8),
        64..16384 => out.extend([0x40 | (n >> 8) as u8, n as u8]),
        _ => {
            out.push(0x80);
            out.extend((n as u32).to_be_bytes());
        }
    }
}

fn push_str(s: &[u8], out: &mut Vec<u8>) {
    push_len(s.len(), out);
    out.extend_from_slice(s);
}

fn file(records: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut f = b"REDIS0011\xfe\x00".to_vec();
    records(&mut f);
    f.push(0xff);
    f.extend(crc64::checksum(&f).to_le_bytes());
    f
}

/// Short strings, every fourth with an expiry.
fn strings(n: usize) -> Vec<u8> {
    let mut r = Random(1);
    file(|f| {
        for i in 0..n {
            if i % 4 == 0 {
                f.push(0xfc);
                f.extend(4102444800000u64.to_le_bytes());
            }
            f.push(0);
            push_str(&r.text(20, 50), f);
            push_str(&r.text(12, 60), f);
        }
    })
}

/// One hash of many fields.
fn hash(n: usize) -> Vec<u8> {
    let mut r = Random(2);
    file(|f| {
        f.push(4);
        push_str(b"hash", f);
        push_len(n, f);
        for i in 0..n {
            push_str(format!("field:{i:08}").as_bytes(), f);
            push_str(&r.text(8, 32), f);
        }
    })
}

fn listpack_of(elements: &[Element<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for e in elements {
        let from = body.len();
        match *e {
            Element::Int(n @ 0..128) => body.push(n as u8),
            Element::Int(n) => {
                body.push(0xf3);
                body.extend((n as i32).to_le_bytes());
            }
            Element::Bytes(b) => {
                body.push(0x80 | b.len() as u8);
                body.extend_from_slice(b);
            }
        }
        body.push((body.len() - from) as u8);
    }
    let mut lp = ((body.len() + 7) as u32).to_le_bytes().to_vec();
    lp.extend((elements.len() as u16).to_le_bytes());
    lp.extend(body);
    lp.push(0xff);
    lp
}

fn ziplist_of(elements: &[Element<'_>]) -> Vec<u8> {
    let (mut body, mut previous, mut tail) = (Vec::new(), 0, 10);
    for e in elements {
        tail = 10 + body.len();
        let from = body.len();
        body.push(previous as u8);
        match *e {
            Element::Int(n) => {
                body.push(0xd0);
                body.extend((n as i32).to_le_bytes());
            }
            Element::Bytes(b) => {
                body.push(b.len() as u8);
                body.extend_from_slice(b);
            }
        }
        previous = body.len() - from;
    }
    let mut zl = ((body.len() + 11) as u32).to_le_bytes().to_vec();
    zl.extend((tail as u32).to_le_bytes());
    zl.extend((elements.len() as u16).to_le_bytes());
    zl.extend(body);
    zl.push(0xff);
    zl
}

fn containers(c: &mut Criterion) {
    const N: usize = 20_000;
    let mut r = Random(3);
    let texts: Vec<Vec<u8>> = (0..N).map(|_| r.text(4, 20)).collect();
    let strings: Vec<Element<'_>> = texts.iter().map(|t| Element::Bytes(t)).collect();
    let ints: Vec<Element<'_>> = (0..N)
        .map(|_| Element::Int(r.below(1 << 30) as i64))
        .collect();
    let pairs: Vec<Element<'_>> = (0..N)
        .map(|i| {
            if i % 2 == 0 {
                strings[i]
            } else {
                Element::Int(r.below(128) as i64)
            }
        })
        .collect();
    let mut g = c.benchmark_group("containers");
    for (name, elements) in [("strings", &strings), ("ints", &ints), ("pairs", &pairs)] {
        let lp = listpack_of(elements);
        g.throughput(Throughput::Bytes(lp.len() as u64));
        g.bench_function(format!("listpack {name}"), |b| {
            b.iter(|| {
                let mut iter = listpack::Iter::new(Blob::in_file(&lp, 0)).unwrap();
                let mut n = 0;
                while let Some(e) = iter.next_element().unwrap() {
                    black_box(e);
                    n += 1;
                }
                assert_eq!(n, N);
            });
        });
        let zl = ziplist_of(elements);
        g.throughput(Throughput::Bytes(zl.len() as u64));
        g.bench_function(format!("ziplist {name}"), |b| {
            b.iter(|| {
                let mut iter = ziplist::Iter::new(Blob::in_file(&zl, 0)).unwrap();
                let mut n = 0;
                while let Some(e) = iter.next_element().unwrap() {
                    black_box(e);
                    n += 1;
                }
                assert_eq!(n, N);
            });
        });
    }
    let mut set = [4u32.to_le_bytes(), (N as u32).to_le_bytes()].concat();
    for i in 0..N as i32 {
        set.extend((i * 7).to_le_bytes());
    }
    g.throughput(Throughput::Bytes(set.len() as u64));
    g.bench_function("intset", |b| {
        b.iter(|| {
            let iter = intset::Iter::new(Blob::in_file(&set, 0)).unwrap();
            let n = iter.fold(0, |n, e| n + usize::from(black_box(e).is_ok()));
            assert_eq!(n, N);
        });
    });
    let mut map = vec![254];
    for t in &texts {
        map.push(t.len() as u8);
        map.extend_from_slice(t);
        map.extend([1, 0, b'v']);
    }
    map.push(255);
    g.throughput(Throughput::Bytes(map.len() as u64));
    g.bench_function("zipmap", |b| {
        b.iter(|| {
            let iter = zipmap::Iter::new(Blob::in_file(&map, 0)).unwrap();
            let n = iter.fold(0, |n, e| n + usize::from(black_box(e).is_ok()));
            assert_eq!(n, 2 * N);
        });
    });
    g.finish();
}

fn scan(c: &mut Criterion) {
    let mut g = c.benchmark_group("scan");
    for (name, file, keys) in [
        ("strings", strings(200_000), 200_000),
        ("one hash", hash(300_000), 1),
    ] {
        g.throughput(Throughput::Bytes(file.len() as u64));
        g.bench_function(name, |b| {
            b.iter(|| {
                let items = Scanner::new(&file).unwrap();
                let n = items.filter(|i| matches!(i, Ok(Item::Key(_)))).count();
                assert_eq!(n, keys);
            });
        });
        let path = stored("scan", &file);
        g.bench_function(format!("{name}, cut into batches"), |b| {
            // A database that is not there: everything is scanned and nothing looked at.
            let decode = Decode {
                threads: 2,
                ignore_checksum: true,
                filter: rdbtool::filter::Filter::new(
                    rdbtool::filter::Options {
                        db: Some("1".parse().unwrap()),
                        ..Default::default()
                    },
                    0,
                )
                .unwrap(),
                ..Decode::default()
            };
            b.iter(|| assert_eq!(run(&decode, &path), (0, 0)));
        });
        std::fs::remove_file(&path).unwrap();
    }
    g.finish();
}

/// Puts a file where it can be mapped.
fn stored(name: &str, file: &[u8]) -> std::path::PathBuf {
    let path =
        std::env::temp_dir().join(format!("rdbtool-bench-{}-{name}.rdb", std::process::id()));
    std::fs::write(&path, file).unwrap();
    path
}

/// Decodes a file; gives the keys and the bytes written.
fn run(decode: &Decode, path: &std::path::Path) -> (u64, u64) {
    let mut count = Count::default();
    let mut sources = [Source::open(path).unwrap()];
    let summaries = decode
        .run(&mut sources, &Progress::new(), &mut count)
        .unwrap();
    (summaries.iter().map(|s| s.keys).sum(), count.0)
}

fn json(c: &mut Criterion) {
    let mut g = c.benchmark_group("json");
    for (name, file, keys) in [
        ("strings", strings(200_000), 200_000),
        ("one hash", hash(300_000), 1),
    ] {
        g.throughput(Throughput::Bytes(file.len() as u64));
        let path = stored("json", &file);
        for threads in [1, 2] {
            let decode = Decode {
                threads,
                ..Decode::default()
            };
            g.bench_function(format!("{name}, {threads} threads"), |b| {
                b.iter(|| assert_eq!(run(&decode, &path).0, keys));
            });
        }
        std::fs::remove_file(&path).unwrap();
    }
    g.finish();
}

fn pieces(c: &mut Criterion) {
    let mut g = c.benchmark_group("pieces");
    let mut r = Random(4);

    // Text like a document's: a literal run, then a reference into what has been written.
    let (mut data, mut len) = (Vec::new(), 0usize);
    while len < 1 << 20 {
        let text = r.text(3, 12);
        data.push(text.len() as u8 - 1);
        data.extend_from_slice(&text);
        len += text.len();
        let distance = r.below(len.min(2000) as u64) as usize;
        let n = 3 + r.below(5) as usize;
        data.extend([((n - 2) << 5) as u8 | (distance >> 8) as u8, distance as u8]);
        len += n;
    }
    g.throughput(Throughput::Bytes(data.len() as u64));
    g.bench_function("lzf", |b| {
        let mut scratch = Scratch::new();
        b.iter(|| {
            assert_eq!(
                lzf::decompress(&data, len, &mut scratch).unwrap().len(),
                len
            )
        });
    });

    let document = r#"{"name":"Ann","city":"K\u00f6ln","note":"line one","n":17},"#.repeat(2000);
    let plain = r.text(100_000, 100_000);
    let utf8 = "stra\u{df}e \u{e9}t\u{e9} 12345 ".repeat(6000);
    let binary: Vec<u8> = (0..100_000).map(|_| r.below(256) as u8).collect();
    let words: Vec<u8> = (0..10_000).flat_map(|_| r.text(8, 8)).collect();
    for (name, bytes, size) in [
        ("escape plain text", &plain[..], 48_000),
        ("escape documents", document.as_bytes(), 48_000),
        ("escape UTF-8", utf8.as_bytes(), 48_000),
        ("escape short words", &words, 8),
        ("base64 of binary", &binary, 48_000),
    ] {
        g.throughput(Throughput::Bytes(bytes.len() as u64));
        g.bench_function(name, |b| {
            let mut out = Out::new();
            b.iter(|| {
                out.truncate(0);
                for piece in bytes.chunks(size) {
                    escape::string(piece, &mut out).unwrap();
                }
                assert!(out.len() >= bytes.len());
            });
        });
    }

    let doubles: Vec<f64> = (0..10_000).map(|_| r.below(1 << 30) as f64 / 1e4).collect();
    g.throughput(Throughput::Bytes(8 * doubles.len() as u64));
    g.bench_function("doubles", |b| {
        let mut out = Out::new();
        b.iter(|| {
            out.truncate(0);
            doubles.iter().for_each(|&x| number::double(x, &mut out));
            assert!(out.len() > doubles.len());
        });
    });

    g.throughput(Throughput::Bytes(binary.len() as u64));
    let want = crc64::checksum(&binary);
    g.bench_function("crc64", |b| {
        b.iter(|| assert_eq!(crc64::checksum(&binary), want))
    });
    g.finish();
}

criterion_group!(stages, scan, containers, pieces, json);
criterion_main!(stages);
