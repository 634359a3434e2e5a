//! A value re-encoded says what it said: over all that servers wrote, for every type it can become, whole and in parts.

use super::*;
use crate::encode::Encode;
use crate::encode::json::{Format, Json};
use crate::rdb::header::{Dialect, Header};
use crate::rdb::packed::testing::hex;
use crate::rdb::scan::{Item, Scanner};
use crate::rdb::skip::Units;
use crate::rdb::string::RdbStr;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

const RELEASES: [Release; 16] = [
    Release::redis(2, 2),
    Release::redis(2, 4),
    Release::redis(2, 8),
    Release::redis(3, 2),
    Release::redis(4, 0),
    Release::redis(5, 0),
    Release::redis(6, 2),
    Release::redis(7, 0),
    Release::redis(7, 2),
    Release::redis(7, 4),
    Release::redis(8, 4),
    Release::redis(8, 6),
    Release::redis(8, 8),
    Release::redis(8, 10),
    Release::valkey(8, 1),
    Release::valkey(9, 0),
];

/// Every type that a value of type `t` may have to become.
fn targets(t: ValueType) -> Vec<ValueType> {
    let mut to = Vec::new();
    for release in RELEASES.map(Some).into_iter().chain([None]) {
        match way(t, release) {
            Way::As(t) if !to.contains(&t) => to.push(t),
            _ => {}
        }
    }
    to
}

fn entry(value_type: ValueType, body: &[u8]) -> Entry<'_> {
    Entry {
        db: 3,
        key: RdbStr::raw(b"k", 0),
        expire_at_ms: None,
        idle_s: None,
        freq: None,
        value_type,
        metadata: &[],
        body,
        body_offset: 0,
        offset: 0,
    }
}

fn decoded(e: &Entry<'_>, templates: &Templates) -> Value {
    let header = Header {
        dialect: Dialect::Redis,
        version: 15,
    };
    let mut out = Out::new();
    Json::new(Format::Ndjson, false, header)
        .entry(e, templates, &mut out)
        .unwrap_or_else(|e| panic!("{e}"));
    let mut line: Value = serde_json::from_slice(out.as_bytes()).unwrap();
    normal(line["value"].take(), e.value_type)
}

/// The fields of a hash in one shape.
fn normal(value: Value, t: ValueType) -> Value {
    if t.logical() != LogicalType::Hash {
        return value;
    }
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(f, v)| json!([f, v, null]))
            .collect(),
        Value::Array(fields) => fields
            .into_iter()
            .map(|f| {
                let name = match &f["field"] {
                    Value::String(s) if s.starts_with("base64:") => {
                        format!("base64:{}", base64_simd::STANDARD.encode_to_string(s))
                    }
                    Value::String(s) => s.clone(),
                    other => format!("base64:{}", other["base64"].as_str().unwrap()),
                };
                json!([name, f["value"], f.get("expire_at_ms")])
            })
            .collect(),
        other => panic!("{other}"),
    }
}

/// What is left of a value in type `to`, and what is not.
fn without(mut value: Value, to: ValueType) -> (Value, BTreeSet<Reason>) {
    let mut lost = BTreeSet::new();
    if to == ValueType::Hash {
        for field in value.as_array_mut().unwrap() {
            if field[2].take() != Value::Null {
                lost.insert(Reason::FieldExpiry);
            }
        }
    }
    let Some(version) = to.stream_version() else {
        return (value, lost);
    };
    let length = value["length"].clone();
    let stream = value.as_object_mut().unwrap();
    if version < 2 {
        stream.shift_remove("first_id");
        if stream
            .shift_remove("max_deleted_id")
            .is_some_and(|id| id != "0-0")
        {
            lost.insert(Reason::StreamCounters);
        }
        if stream
            .shift_remove("entries_added")
            .is_some_and(|n| n != length)
        {
            lost.insert(Reason::StreamCounters);
        }
    }
    if version < 4
        && let Some(idmp) = stream.shift_remove("idmp")
    {
        let fresh = json!({"duration_s": 100, "max_entries": 100, "producers": [], "iids_added": 0, "iids_duplicates": 0});
        if idmp != fresh {
            lost.insert(Reason::StreamProducers);
        }
    }
    for group in stream["groups"].as_array_mut().unwrap() {
        let group = group.as_object_mut().unwrap();
        if version < 2
            && group
                .shift_remove("entries_read")
                .is_some_and(|n| !n.is_null())
        {
            lost.insert(Reason::GroupCounters);
        }
        for c in group["consumers"].as_array_mut().unwrap() {
            let c = c.as_object_mut().unwrap();
            if version < 3
                && c.shift_remove("active_at_ms")
                    .is_some_and(|at| at != c["seen_at_ms"])
            {
                lost.insert(Reason::ConsumerTimes);
            }
        }
        if version < 5 {
            group.shift_remove("nacked");
            let pending = group["pending"].as_array_mut().unwrap();
            let before = pending.len();
            pending.retain(|p| p.get("consumer").is_some());
            if pending.len() < before {
                lost.insert(Reason::PendingUnowned);
            }
        }
    }
    (value, lost)
}

fn reasons(losses: &Losses) -> BTreeSet<Reason> {
    for l in losses.iter() {
        assert_eq!(
            (l.count, &l.examples[..]),
            (1, &[(3, "\"k\"".to_owned())][..])
        );
    }
    losses.iter().map(|l| l.reason).collect()
}

/// Re-encodes a value as `to`, whole and in parts, and sees that each says the same; gives its bytes.
fn rewritten(e: &Entry<'_>, templates: &Templates, to: ValueType) -> Vec<u8> {
    let what = || format!("{:?} as {to:?}", e.value_type);
    let (want, lost) = without(decoded(e, templates), to);
    let mut out = Out::new();
    let mut losses = Losses::default();
    Rewriter::new(None)
        .value(e, templates, to, &mut losses, &mut out)
        .unwrap_or_else(|e| panic!("{}: {e}", what()));
    let whole = out.as_bytes().to_vec();
    assert!(decoded(&entry(to, &whole), templates) == want, "{}", what());
    assert_eq!(reasons(&losses), lost, "{}", what());
    let Some((unit, prefix)) = Unit::of(e.value_type).filter(|_| to != ValueType::List) else {
        return whole;
    };
    for step in [1, 7, 300, usize::MAX] {
        if e.body.len() / step > 2000 {
            continue; // that many parts take long
        }
        let (parts, losses) = in_parts(e, unit, prefix, to, step);
        assert_eq!(reasons(&losses), lost, "{} in parts", what());
        if to == ValueType::HashMetadata {
            assert!(
                decoded(&entry(to, &parts), templates) == want,
                "{} in parts",
                what()
            );
        } else {
            assert!(parts == whole, "{} in parts", what());
        }
    }
    whole
}

/// Cuts a value after every `step` bytes, as the pipeline does it with large ones.
fn in_parts(
    e: &Entry<'_>,
    unit: Unit,
    prefix: u64,
    to: ValueType,
    step: usize,
) -> (Vec<u8>, Losses) {
    let mut c = Cursor::new(e.body, 0);
    let min_expiry = match prefix {
        0 => 0,
        _ => c.clone().i64_le("").unwrap(),
    };
    let mut units = Units::read(&mut c, unit, prefix, true).unwrap();
    let tail = e.value_type.stream_version().map(|_| {
        let (mut units, mut c) = (units, c);
        units.skip(&mut c, usize::MAX).unwrap();
        (c.rest(), c.offset())
    });
    let (mut out, mut losses, mut rewriter) = (Out::new(), Losses::default(), Rewriter::new(None));
    let before = Cell::new(0);
    let mut value = 0;
    loop {
        let from = c.position();
        units.skip(&mut c, from.saturating_add(step)).unwrap();
        let to_here = c.position();
        let last = units.left == 0;
        let raw = &e.body[value..if last { e.body.len() } else { to_here }];
        let mut elements = 0;
        let part = Part {
            entry: Entry { body: b"", ..*e },
            units: &e.body[from..to_here],
            offset: from as u64,
            raw,
            min_expiry,
            tail,
            open: None,
            first: value == 0,
            last: last.then_some(e.body.len() as u64),
            elements_before: &|| before.get(),
        };
        rewriter
            .part(&part, to, &mut elements, &mut losses, &mut out)
            .unwrap_or_else(|e| panic!("{e}"));
        before.set(before.get() + elements);
        if last {
            return (out.as_bytes().to_vec(), losses);
        }
        value = to_here;
    }
}

#[test]
fn all_that_servers_wrote() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/rdb");
    let mut seen = HashSet::new();
    let mut pairs = BTreeSet::new();
    for server in std::fs::read_dir(dir).unwrap() {
        for file in std::fs::read_dir(server.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.to_string_lossy().into_owned();
            let mut file = Vec::new();
            if name.ends_with(".rdb") {
                file = std::fs::read(&path).unwrap();
            } else if name.ends_with(".rdb.gz") {
                let packed = std::fs::read(&path).unwrap();
                std::io::Read::read_to_end(
                    &mut flate2::read::MultiGzDecoder::new(&packed[..]),
                    &mut file,
                )
                .unwrap();
            } else {
                continue;
            }
            let mut scanner = Scanner::new(&file).unwrap();
            while let Some(item) = scanner.next_item().unwrap() {
                let Item::Key(e) = item else { continue };
                let mut hasher = DefaultHasher::new();
                (e.value_type, e.body).hash(&mut hasher);
                if !seen.insert(hasher.finish()) {
                    continue;
                }
                for to in targets(e.value_type) {
                    rewritten(&entry(e.value_type, e.body), scanner.templates(), to);
                    pairs.insert((e.value_type.byte(), to.byte()));
                }
            }
        }
    }
    let found: Vec<(u8, u8)> = pairs.into_iter().collect();
    assert_eq!(found, SEEN);
}

/// What the values of the samples are re-encoded from and to. No sample has what only newer releases write.
const SEEN: &[(u8, u8)] = &[
    (5, 3),
    (9, 4),
    (10, 1),
    (11, 2),
    (12, 3),
    (13, 4),
    (14, 1),
    (16, 4),
    (17, 3),
    (17, 5),
    (18, 1),
    (18, 14),
    (19, 15),
    (20, 2),
    (21, 15),
    (21, 19),
    (22, 4),
    (22, 22),
    (22, 24),
    (23, 4),
    (23, 22),
    (23, 25),
    (24, 4),
    (24, 22),
    (25, 4),
    (25, 22),
    (26, 15),
    (26, 19),
    (26, 21),
];

/// Vectors of the format, each as another one of them, or by hand.
#[test]
fn known_bytes() {
    use ValueType as T;
    let rows = [
        (
            "hash",
            T::HashListpack,
            "12 12000000 0400 816602817602816e020701ff",
            T::Hash,
            "02 0166 0176 016e c007",
        ),
        (
            "zset",
            T::ZsetListpack,
            "15 15000000 0400 816102dffe0281620283312e3504ff",
            T::Zset2,
            "02 0161 00000000000000c0 0162 000000000000f83f",
        ),
        (
            "scores as text",
            T::Zset2,
            "04 0161 000000000000f83f 0162 000000000000f0ff 0163 9a9999999999b93f 0164 0000000000000080",
            T::Zset,
            "04 0161 03312e35 0162 ff 0163 03302e31 0164 022d30",
        ),
        (
            "set",
            T::SetListpack,
            "0c 0c000000 0200 8161020101ff",
            T::Set,
            "02 0161 c001",
        ),
        (
            "intset",
            T::SetIntset,
            "14 04000000 03000000 01000000 02000000 70110100",
            T::Set,
            "03 c001 c002 c270110100",
        ),
        (
            "24, of its release candidate",
            T::HashMetadataPreGa,
            "03 81000003bb2cc3eb88 016b017a 00 01670177 81000003bb2cc3d800 01660176",
            T::HashMetadata,
            "00d8c32cbb030000 03 5389 016b017a 00 01670177 01 01660176",
        ),
        (
            "25 to Valkey",
            T::HashListpackEx,
            "00d8c32cbb030000 1f1f0000000600816602817602f400d8c32cbb030000098167028177020001ff",
            T::Hash2,
            "02 01660176 00d8c32cbb030000 01670177 ffffffffffffffff",
        ),
        (
            "25, of its release candidate",
            T::HashListpackExPreGa,
            "1f1f0000000600816602817602f400d8c32cbb030000098167028177020001ff",
            T::HashListpackEx,
            "0000000000000000 1f1f0000000600816602817602f400d8c32cbb030000098167028177020001ff",
        ),
        (
            "Valkey to 24",
            T::Hash2,
            "02 01660176 00d8c32cbb030000 01670177 ffffffffffffffff",
            T::HashMetadata,
            "00d8c32cbb030000 02 01 01660176 00 01670177",
        ),
        (
            "a quicklist",
            T::ListQuicklist2,
            "03 01 0568656c6c6f 02 07 07000000 0000 ff 02 0c 0c000000 0200 0501 816202 ff",
            T::ListQuicklist,
            "02 12 12000000 0a000000 0100 0005 68656c6c6f ff 10 10000000 0c000000 0200 00f6 020162 ff",
        ),
        (
            "names of its own, in a listpack",
            T::HashTemplateListpack,
            "00 17 17000000 0200 866669656c643107 866669656c643207 ff 0d 0d000000 0300 0001 0101 0201 ff",
            T::Hash,
            "02 066669656c6431 c001 066669656c6432 c002",
        ),
        (
            "names of its own",
            T::HashTemplateArray,
            "01 02 066669656c6431 066669656c6432 c001 c002",
            T::Hash,
            "02 066669656c6431 c001 066669656c6432 c002",
        ),
        (
            "of 8.8, with one that nobody owns",
            T::StreamListpacks5,
            "011000000000000000010000000000000001333300000014000301000101018161020001020100010001816202040102010101000181630204010201020100018164020401ff030301010100000301016703010303000000000000000100000000000000013581a1faa10100000100000000000000020000000000000001000000000000000000000000000000000300000000000000013581a1faa1010000010101633581a1faa10100003581a1faa1010000020000000000000001000000000000000100000000000000030000000000000001010000000000000002000000000000000140644064000000",
            T::StreamListpacks3,
            "011000000000000000010000000000000001333300000014000301000101018161020001020100010001816202040102010101000181630204010201020100018164020401ff030301010100000301016703010302000000000000000100000000000000013581a1faa101000001000000000000000300000000000000013581a1faa1010000010101633581a1faa10100003581a1faa1010000020000000000000001000000000000000100000000000000030000000000000001",
        ),
    ];
    for (name, from, body, to, want) in rows {
        let (body, want, templates) = (hex(body), hex(want), Templates::default());
        let e = entry(from, &body);
        if name == "a quicklist" {
            // Its second node is empty, and too late to be left out of a list in parts.
            let mut out = Out::new();
            let mut losses = Losses::default();
            Rewriter::new(None)
                .value(&e, &templates, to, &mut losses, &mut out)
                .unwrap();
            assert_eq!(out.as_bytes(), want, "{name}");
            continue;
        }
        let got = rewritten(&e, &templates, to);
        assert!(got == want, "{name}: {got:02x?}");
        for to in targets(from) {
            rewritten(&e, &templates, to);
        }
    }
}

#[test]
fn ways() {
    use Reason as R;
    use ValueType as T;
    let rows = [
        (T::String, Some(Release::redis(2, 2)), Way::AsIs),
        (T::HashListpack, Some(Release::redis(7, 0)), Way::AsIs),
        (
            T::ListQuicklist2,
            Some(Release::redis(6, 2)),
            Way::As(T::ListQuicklist),
        ),
        (
            T::ListQuicklist2,
            Some(Release::redis(2, 8)),
            Way::As(T::List),
        ),
        (T::ListZiplist, Some(Release::redis(2, 8)), Way::AsIs),
        (T::ListZiplist, Some(Release::redis(2, 4)), Way::As(T::List)),
        (T::Zset2, Some(Release::redis(3, 2)), Way::As(T::Zset)),
        (
            T::HashMetadata,
            Some(Release::valkey(9, 1)),
            Way::As(T::Hash2),
        ),
        (
            T::HashMetadata,
            Some(Release::valkey(8, 1)),
            Way::As(T::Hash),
        ),
        (
            T::Hash2,
            Some(Release::redis(8, 0)),
            Way::As(T::HashMetadata),
        ),
        (T::Hash2, Some(Release::redis(7, 2)), Way::As(T::Hash)),
        (T::Hash2, None, Way::AsIs),
        (T::HashMetadataPreGa, None, Way::As(T::HashMetadata)),
        (T::HashTemplateArrayRef, None, Way::As(T::Hash)),
        (T::HashTemplateArray, Some(Release::redis(8, 10)), Way::AsIs),
        (
            T::StreamListpacks5,
            Some(Release::valkey(9, 0)),
            Way::As(T::StreamListpacks3),
        ),
        (
            T::StreamListpacks3,
            Some(Release::redis(5, 0)),
            Way::As(T::StreamListpacks),
        ),
        (
            T::StreamListpacks,
            Some(Release::redis(4, 0)),
            Way::Lost(R::Stream),
        ),
        (T::Array, Some(Release::valkey(9, 0)), Way::Lost(R::Array)),
        (T::Module2, Some(Release::redis(3, 2)), Way::Lost(R::Module)),
        (T::ModulePreGa, None, Way::Lost(R::Module)),
    ];
    for (t, release, want) in rows {
        assert_eq!(way(t, release), want, "{t:?} {release:?}");
    }
    // Whatever the way is, the release loads what comes out.
    for &t in ValueType::ALL {
        for release in RELEASES {
            match way(t, Some(release)) {
                Way::AsIs => assert!(release.loads(t), "{t:?} {release}"),
                Way::As(to) => assert!(release.loads(to) && to.logical() == t.logical()),
                Way::Lost(_) => assert!(!release.loads(t)),
                Way::Commands => panic!("{t:?} {release}"),
            }
        }
    }
    assert_eq!(
        way_in_parts(T::ListQuicklist2, Some(Release::redis(2, 8))),
        Way::Commands
    );
    assert_eq!(
        way_in_parts(T::ListQuicklist2, Some(Release::redis(3, 2))),
        Way::As(T::ListQuicklist)
    );
}

#[test]
fn an_expiry_too_far_for_redis_is_lost() {
    let body = hex("01 0166 0176 0000000000000001");
    let (mut out, mut losses) = (Out::new(), Losses::default());
    Rewriter::new(None)
        .value(
            &entry(ValueType::Hash2, &body),
            &Templates::default(),
            ValueType::HashMetadata,
            &mut losses,
            &mut out,
        )
        .unwrap();
    assert_eq!(reasons(&losses), [Reason::FieldExpiry].into());
    assert!(out.as_bytes().ends_with(&hex("01 00 0166 0176")));
}

#[test]
fn vector_sets_are_of_redis_8() {
    let body = hex("81bde72da2bb1eb400 00");
    let e = entry(ValueType::Module2, &body);
    for (release, want) in [
        (None, Way::AsIs),
        (Some(Release::redis(8, 0)), Way::AsIs),
        (Some(Release::redis(7, 4)), Way::Lost(Reason::Module)),
        (Some(Release::valkey(9, 0)), Way::Lost(Reason::Module)),
    ] {
        assert_eq!(
            way_of(&e, release, &mut Scratch::new()).unwrap(),
            want,
            "{release:?}"
        );
    }
}

/// A listpack of strings, with one of the two forms of the back length of 16383.
fn listpack_of(strings: &[&[u8]], new: bool) -> Vec<u8> {
    let mut all = vec![0, 0, 0, 0, strings.len() as u8, 0];
    for s in strings {
        let from = all.len();
        match s.len() {
            0..64 => all.push(0x80 | s.len() as u8),
            n => {
                all.push(0xf0);
                all.extend((n as u32).to_le_bytes());
            }
        }
        all.extend_from_slice(s);
        match all.len() - from {
            n @ 0..128 => all.push(n as u8),
            16_383 if new => all.extend([0x7f, 0xff]),
            16_383 => all.extend([0, 0xff, 0xff]),
            n => all.extend([(n >> 14) as u8, (n >> 7) as u8 | 0x80, n as u8 | 0x80]),
        }
    }
    all.push(0xff);
    let len = (all.len() as u32).to_le_bytes();
    all[..4].copy_from_slice(&len);
    all
}

#[test]
fn entries_whose_length_has_two_forms() {
    let odd = [b'x'; 16_378];
    let larger = [b'y'; 16_379];
    let packed = |strings: &[&[u8]], new| {
        let mut out = Out::new();
        write::string(&listpack_of(strings, new), &mut out);
        out.as_bytes().to_vec()
    };
    let (old, new) = (Some(Release::redis(8, 6)), Some(Release::valkey(9, 1)));
    let templates = Templates::default();
    for source_is_new in [false, true] {
        // Others are passed on.
        let list = [&[1, 2][..], &packed(&[b"a", &larger, b"b"], source_is_new)].concat();
        let e = entry(ValueType::ListQuicklist2, &list);
        let asked = |e: &Entry<'_>, r| way_of(e, r, &mut Scratch::new()).unwrap();
        assert_eq!(asked(&e, old), Way::AsIs);

        let alone = packed(&[&odd], source_is_new);
        let beside = packed(&[b"a", &odd, &larger, &odd, b"b"], source_is_new);
        let list = [&[3, 2][..], &alone, &[2], &beside, &[1, 1, b'z']].concat();
        let e = entry(ValueType::ListQuicklist2, &list);
        for (release, is_new) in [(None, source_is_new), (old, false), (new, true)] {
            assert_eq!(asked(&e, release), Way::As(ValueType::ListQuicklist2));
            let mut out = Out::new();
            let mut rewriter = Rewriter::new(release);
            let to = ValueType::ListQuicklist2;
            let mut losses = Losses::default();
            rewriter
                .value(&e, &templates, to, &mut losses, &mut out)
                .unwrap();
            let beside = packed(&[b"a", &odd, &larger, &odd, b"b"], is_new);
            let plain = [&[1, 0x7f, 0xfa][..], &odd].concat();
            let want = [&[3][..], &plain, &[2], &beside, &[1, 1, b'z']].concat();
            assert!(out.as_bytes() == want, "{release:?}");
        }
        rewritten(&e, &templates, ValueType::ListQuicklist2);

        let [hash, zset] = [&[&odd[..], b"v"], &[&odd[..], b"1"]].map(|s| packed(s, source_is_new));
        let set = packed(&[b"m", &odd], source_is_new);
        for (t, to, body) in [
            (ValueType::HashListpack, ValueType::Hash, &hash),
            (ValueType::ZsetListpack, ValueType::Zset2, &zset),
            (ValueType::SetListpack, ValueType::Set, &set),
        ] {
            let e = entry(t, body);
            assert_eq!(asked(&e, None), Way::As(to));
            rewritten(&e, &templates, to);
        }

        // The nodes of a stream, of which this test need not know more: first as they come, then in the other form.
        let key = [&[16][..], &[0; 16]].concat();
        let tail = [0; 9];
        let stream = |new| [&[1][..], &key, &packed(&[b"a", &odd], new), &tail].concat();
        let body = stream(source_is_new);
        let e = entry(ValueType::StreamListpacks2, &body);
        assert_eq!(asked(&e, None), Way::AsIs);
        for (release, is_new) in [(old, false), (new, true)] {
            assert_eq!(asked(&e, release), Way::As(ValueType::StreamListpacks2));
            let (mut out, mut losses) = (Out::new(), Losses::default());
            let to = ValueType::StreamListpacks2;
            let mut rewriter = Rewriter::new(release);
            rewriter
                .value(&e, &templates, to, &mut losses, &mut out)
                .unwrap();
            assert!(out.as_bytes() == stream(is_new), "{release:?}");
            assert!(losses.is_empty());
        }
    }
}
