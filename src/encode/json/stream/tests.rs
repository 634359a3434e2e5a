use super::*;
use crate::rdb::header::Dialect;
use crate::rdb::length;
use crate::rdb::packed::Element;
use crate::rdb::value_type::ValueType;

fn version_of(type_byte: u8) -> Option<u8> {
    ValueType::from_byte(type_byte, Dialect::Redis)?.stream_version()
}

/// Values as servers dumped them, with the type byte: who wrote it, the bytes, the JSON.
const VECTORS: [(&str, &str, &str); 6] = [
    (
        "5.0.14, an entry deleted, one pending",
        "0f01100000000000000001000000000000000136360000001600020101010101816102000102010001000101\
         0104010301000101010201040100010101dfff02010181620203010601ff0202000101670101010000000000\
         0000010000000000000001819ea5faa101000001010163819ea5faa101000001000000000000000100000000\
         00000001",
        r#"{"length":2,"last_id":"2-0","entries":[{"id":"1-1","fields":[["a","1"]]},{"id":"2-0","fields":[["b","3"]]}],"groups":[{"name":"g","last_id":"1-1","pending":[{"id":"1-1","consumer":"c","delivered_at_ms":1795206520449,"deliveries":1}],"consumers":[{"name":"c","seen_at_ms":1795206520449,"pending":["1-1"]}]}]}"#,
    ),
    (
        "5.0.14, empty",
        "0f0000070700",
        r#"{"length":0,"last_id":"7-7","entries":[],"groups":[]}"#,
    ),
    (
        "7.0.15, entries read not known",
        "1301100000000000000001000000000000000136360000001600020101010101816102000102010001000101\
         0104010301000101010201040100010101dfff02010181620203010601ff0202000101010203010167010181\
         ffffffffffffffff0100000000000000010000000000000001ef9ea5faa101000001010163ef9ea5faa10100\
         000100000000000000010000000000000001",
        r#"{"length":2,"last_id":"2-0","first_id":"1-1","max_deleted_id":"1-2","entries_added":3,"entries":[{"id":"1-1","fields":[["a","1"]]},{"id":"2-0","fields":[["b","3"]]}],"groups":[{"name":"g","last_id":"1-1","entries_read":null,"pending":[{"id":"1-1","consumer":"c","delivered_at_ms":1795206520559,"deliveries":1}],"consumers":[{"name":"c","seen_at_ms":1795206520559,"pending":["1-1"]}]}]}"#,
    ),
    (
        "Valkey 8.1.1, a consumer that never got anything",
        "150110000000000000000100000000000000011c1c0000000a00010100010101816102000102010001000101\
         010401ff0101010101000001010167000081ffffffffffffffff00010163769fa5faa1010000ffffffffffff\
         ffff00",
        r#"{"length":1,"last_id":"1-1","first_id":"1-1","max_deleted_id":"0-0","entries_added":1,"entries":[{"id":"1-1","fields":[["a","1"]]}],"groups":[{"name":"g","last_id":"0-0","entries_read":null,"pending":[],"consumers":[{"name":"c","seen_at_ms":1795206520694,"active_at_ms":-1,"pending":[]}]}]}"#,
    ),
    (
        "8.6.3, message ids of two producers",
        "1a0110000001a1faa180aa000000000000000028280000000f00020100010101816102000102010001000181\
         620204010201000101018163020401ff0281000001a1faa180aa0181000001a1faa180aa0000000200406440\
         640202703101046969643181000001a1faa180aa000270320110893fd0cf5414759ee1ddbfcd0814bd698100\
         0001a1faa180aa010201",
        r#"{"length":2,"last_id":"1795206250666-1","first_id":"1795206250666-0","max_deleted_id":"0-0","entries_added":2,"entries":[{"id":"1795206250666-0","fields":[["a","b"]]},{"id":"1795206250666-1","fields":[["a","c"]]}],"groups":[],"idmp":{"duration_s":100,"max_entries":100,"producers":[{"id":"p1","iids":[{"iid":"iid1","entry_id":"1795206250666-0"}]},{"id":"p2","iids":[{"iid":{"base64":"iT/Qz1QUdZ7h3b/NCBS9aQ=="},"entry_id":"1795206250666-1"}]}],"iids_added":2,"iids_duplicates":1}}"#,
    ),
    (
        "8.8, a pending entry that nobody has",
        "1b01100000000000000001000000000000000133330000001400030100010101816102000102010001000181\
         6202040102010101000181630204010201020100018164020401ff0303010101000003010167030103030000\
         00000000000100000000000000013581a1faa101000001000000000000000200000000000000010000000000\
         00000000000000000000000300000000000000013581a1faa1010000010101633581a1faa10100003581a1fa\
         a101000002000000000000000100000000000000010000000000000003000000000000000101000000000000\
         0002000000000000000140644064000000",
        r#"{"length":3,"last_id":"3-1","first_id":"1-1","max_deleted_id":"0-0","entries_added":3,"entries":[{"id":"1-1","fields":[["a","b"]]},{"id":"2-1","fields":[["a","c"]]},{"id":"3-1","fields":[["a","d"]]}],"groups":[{"name":"g","last_id":"3-1","entries_read":3,"pending":[{"id":"1-1","consumer":"c","delivered_at_ms":1795206250805,"deliveries":1},{"id":"2-1","delivered_at_ms":0,"deliveries":0},{"id":"3-1","consumer":"c","delivered_at_ms":1795206250805,"deliveries":1}],"consumers":[{"name":"c","seen_at_ms":1795206250805,"active_at_ms":1795206250805,"pending":["1-1","3-1"]}],"nacked":["2-1"]}],"idmp":{"duration_s":100,"max_entries":100,"producers":[],"iids_added":0,"iids_duplicates":0}}"#,
    ),
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn json(dump: &[u8]) -> Result<String> {
    let (mut out, mut scratch) = (Out::new(), Scratch::new());
    let version = version_of(dump[0]).unwrap();
    value(&dump[1..], 1, version, &mut scratch, &mut out)?;
    Ok(String::from_utf8(out.as_bytes().to_vec()).unwrap())
}

#[test]
fn streams_of_every_version() {
    for (name, hex, want) in VECTORS {
        assert_eq!(json(&bytes(hex)).unwrap(), want, "{name}");
        serde_json::from_str::<serde_json::Value>(want).unwrap();
    }
}

#[test]
fn damage_is_an_error_or_another_stream() {
    for (name, hex, _) in VECTORS {
        let whole = bytes(hex);
        for n in 1..whole.len() {
            assert!(json(&whole[..n]).is_err(), "{name}: cut at {n}");
        }
        for i in 1..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut b = whole.clone();
                b[i] ^= flip;
                if let Ok(text) = json(&b) {
                    serde_json::from_str::<serde_json::Value>(&text)
                        .unwrap_or_else(|e| panic!("{name}: byte {i} ^ {flip:02x}: {e}: {text}"));
                }
            }
        }
    }
}

#[test]
fn parts_make_the_whole() {
    let (_, hex, want) = VECTORS[5];
    let body = &bytes(hex)[1..];
    let (mut out, mut scratch) = (Out::new(), Scratch::new());
    // One node, the same twice: the second run of nodes begins with a comma.
    let node = 1 + 17 + 1 + usize::from(body[18]);
    let end = Tail::read(&mut Cursor::new(&body[node..], 0), 5).unwrap();
    let mut first = true;
    for _ in 0..2 {
        let n = nodes(&body[1..node], 1, &mut first, &mut scratch, &mut out).unwrap();
        assert_eq!(n, 3);
    }
    let entries = want.split_once("\"entries\":[").unwrap().1;
    let entries = entries.split_once("],\"groups\"").unwrap().0;
    assert_eq!(out.as_bytes(), format!("{entries},{entries}").as_bytes());
    out.truncate(0);
    head(&end, &mut out);
    tail(&end, &mut scratch, &mut out).unwrap();
    assert_eq!(out.as_bytes(), want.replace(entries, "").as_bytes());
}

/// A listpack of these elements.
fn listpack(elements: &[Element<'_>]) -> Vec<u8> {
    let mut b = vec![0; 6];
    for e in elements {
        let from = b.len();
        match *e {
            Element::Int(n @ 0..=127) => b.push(n as u8),
            Element::Int(n) => {
                b.push(0xf4);
                b.extend(n.to_le_bytes());
            }
            Element::Bytes(s) => {
                b.push(0x80 | s.len() as u8);
                b.extend(s);
            }
        }
        b.push((b.len() - from) as u8);
    }
    b.push(0xff);
    let len = (b.len() as u32).to_le_bytes();
    b[..4].copy_from_slice(&len);
    b[4..6].copy_from_slice(&(elements.len() as u16).to_le_bytes());
    b
}

fn entries(key: StreamId, items: &[Element<'_>]) -> Result<String> {
    let (b, mut out) = (listpack(items), Out::new());
    node(key, Blob::in_file(&b, 0), &mut true, &mut out)?;
    Ok(String::from_utf8(out.as_bytes().to_vec()).unwrap())
}

macro_rules! items {
    ($($e:expr),* $(,)?) => { &[$(Item::from($e).0),*] };
}

struct Item<'a>(Element<'a>);

impl From<i64> for Item<'_> {
    fn from(n: i64) -> Self {
        Item(Element::Int(n))
    }
}

impl<'a> From<&'a str> for Item<'a> {
    fn from(s: &'a str) -> Self {
        Item(Element::Bytes(s.as_bytes()))
    }
}

#[test]
fn records() {
    let key = StreamId {
        ms: u64::MAX,
        seq: 5,
    };
    let rows: [(&str, &[Element<'_>], &str); 5] = [
        ("none", items![0, 0, 1, "a", 0], ""),
        ("all deleted", items![0, 1, 1, "a", 0, 3, 0, 0, "x", 4], ""),
        (
            "integer field names",
            items![1, 0, 2, 7, "b", 0, 2, 0, 0, -1, "x", 5],
            r#"{"id":"18446744073709551615-5","fields":[["7","-1"],["b","x"]]}"#,
        ),
        (
            "no fields",
            items![1, 0, 0, 0, 2, 0, 0, 3],
            r#"{"id":"18446744073709551615-5","fields":[]}"#,
        ),
        (
            // The sequence goes down where the milliseconds go up, and both wrap around at 2^64.
            "differences wrap around",
            items![2, 0, 1, "a", 0, 2, -1, -6, 1, 4, 2, 0, -4, 2, 4],
            r#"{"id":"18446744073709551614-18446744073709551615","fields":[["a","1"]]},{"id":"18446744073709551615-1","fields":[["a","2"]]}"#,
        ),
    ];
    for (name, items, want) in rows {
        assert_eq!(entries(key, items).unwrap(), want, "{name}");
    }
}

#[test]
fn records_that_are_refused() {
    let rows: [(&str, &[Element<'_>]); 16] = [
        ("nothing", items![]),
        ("a string for a count", items!["1", 0, 1, "a", 0]),
        ("a negative count", items![-1, 0, 1, "a", 0]),
        ("more master fields than there are", items![1, 0, 9, "a", 0]),
        ("no end of the master entry", items![0, 0, 1, "a", "0"]),
        ("another end of the master entry", items![0, 0, 1, "a", 1]),
        ("fewer records", items![2, 0, 1, "a", 0, 2, 0, 0, 1, 4]),
        (
            "more records",
            items![1, 0, 1, "a", 0, 2, 0, 0, 1, 4, 2, 0, 1, 1, 4],
        ),
        (
            "deleted, but not counted",
            items![1, 0, 1, "a", 0, 3, 0, 0, 1, 4],
        ),
        (
            "counted deleted, but not",
            items![0, 1, 1, "a", 0, 2, 0, 0, 1, 4],
        ),
        ("an unknown flag", items![1, 0, 1, "a", 0, 6, 0, 0, 1, 4]),
        (
            "a wrong closing count",
            items![1, 0, 1, "a", 0, 2, 0, 0, 1, 5],
        ),
        (
            "a wrong closing count of a deleted one",
            items![0, 1, 1, "a", 0, 3, 0, 0, 1, 5],
        ),
        (
            "the same id again",
            items![2, 0, 1, "a", 0, 2, 0, 0, 1, 4, 2, 0, 0, 1, 4],
        ),
        (
            "a field without value",
            items![1, 0, 1, "a", 0, 0, 0, 0, 2, "a", "b", "c"],
        ),
        (
            "a count of fields beyond all",
            items![1, 0, 1, "a", 0, 0, 0, 0, i64::MAX, "a", "b", 6],
        ),
    ];
    for (name, items) in rows {
        let key = StreamId { ms: 1, seq: 1 };
        assert!(entries(key, items).is_err(), "{name}");
        let b = listpack(items);
        if let Ok(mut r) = Records::new(key, Blob::in_file(&b, 0)) {
            while let Ok(Some(_)) = r.next_record() {}
            assert!(
                matches!(r.next_record(), Ok(None)),
                "{name}: nothing follows an error"
            );
        }
    }
}

#[test]
fn pairs_not_asked_for_are_passed_over() {
    let b = listpack(items![
        2, 0, 1, "a", 0, 2, 0, 0, 1, 4, 0, 0, 1, 1, "b", 2, 6
    ]);
    let mut r = Records::new(StreamId::default(), Blob::in_file(&b, 0)).unwrap();
    for seq in 0..2 {
        assert_eq!(
            r.next_record().unwrap().unwrap().id,
            StreamId { ms: 0, seq }
        );
    }
    assert!(r.next_record().unwrap().is_none() && r.next_record().unwrap().is_none());
}

#[test]
fn node_keys_ascend() {
    let mut b = Vec::new();
    for key in [1u8, 2, 2] {
        let mut id = [0; 16];
        id[15] = key;
        b.push(16);
        b.extend(id);
        b.extend(b"\x02xx");
    }
    let (mut n, mut scratch) = (Nodes::new(&b, 100), Scratch::new());
    assert_eq!(n.next_node(&mut scratch).unwrap().unwrap().0.seq, 1);
    assert_eq!(n.next_node(&mut scratch).unwrap().unwrap().0.seq, 2);
    assert_eq!(n.next_node(&mut scratch).unwrap_err().offset(), Some(140));
    assert!(n.next_node(&mut scratch).unwrap().is_none());
}

/// A tail with one group: its pending ids, those of its consumers, those of nobody (version 5).
fn group(version: u8, pel: &[u64], consumers: &[&[u64]], nacked: &[u64]) -> Vec<u8> {
    let mut b = vec![0, 0, 0];
    if version >= 2 {
        b.extend([0; 5]);
    }
    b.extend([1, 1, b'g', 0, 0]);
    if version >= 2 {
        b.push(0);
    }
    let ids = |b: &mut Vec<u8>, ids: &[u64]| {
        length::write(ids.len() as u64, b);
        for &id in ids {
            b.extend(u128::from(id).to_be_bytes());
        }
    };
    length::write(pel.len() as u64, &mut b);
    for &id in pel {
        b.extend(u128::from(id).to_be_bytes());
        b.extend([0; 9]);
    }
    length::write(consumers.len() as u64, &mut b);
    for (i, pending) in consumers.iter().enumerate() {
        b.extend([1, b'A' + i as u8]);
        b.extend([0; 8]);
        if version >= 3 {
            b.extend([0; 8]);
        }
        ids(&mut b, pending);
    }
    if version >= 5 {
        ids(&mut b, nacked);
    }
    if version >= 4 {
        b.extend([0; 5]);
    }
    b
}

/// The owners of the group's pending entries, in its order; `-` for nobody.
fn owners(version: u8, pel: &[u64], consumers: &[&[u64]], nacked: &[u64]) -> Result<String> {
    let b = group(version, pel, consumers, nacked);
    let mut c = Cursor::new(&b, 0);
    let tail = Tail::read(&mut c, version)?;
    assert!(c.is_empty());
    let g = tail.groups().next_group()?.unwrap();
    let mut pending = g.pending()?;
    let mut names = String::new();
    loop {
        match pending.next_entry() {
            Ok(Some(e)) => match e.consumer {
                Some(name) => {
                    let mut scratch = Scratch::new();
                    names.push_str(std::str::from_utf8(name.as_bytes(&mut scratch)?).unwrap());
                }
                None => names.push('-'),
            },
            Ok(None) => return Ok(names),
            Err(e) => {
                assert!(pending.next_entry().unwrap().is_none());
                return Err(e);
            }
        }
    }
}

#[test]
fn who_has_what() {
    type Row = (
        &'static str,
        u8,
        &'static [u64],
        &'static [&'static [u64]],
        &'static [u64],
        &'static str,
    );
    const ROWS: [Row; 9] = [
        ("nothing pending", 1, &[], &[&[], &[]], &[], ""),
        ("one consumer", 1, &[1, 2, 3], &[&[1, 2, 3]], &[], "AAA"),
        (
            "three, one idle",
            2,
            &[1, 2, 3, 9],
            &[&[2, 9], &[], &[1, 3]],
            &[],
            "CACA",
        ),
        (
            "the group is not sorted",
            3,
            &[3, 1, 2],
            &[&[2, 3], &[1]],
            &[],
            "ABA",
        ),
        (
            "a consumer is not sorted",
            4,
            &[1, 2, 3],
            &[&[3, 1], &[2]],
            &[],
            "ABA",
        ),
        ("nobody has some", 5, &[1, 2, 3], &[&[2]], &[1, 3], "-A-"),
        (
            "nobody has some, not sorted",
            5,
            &[1, 2, 3],
            &[&[2]],
            &[3, 1],
            "-A-",
        ),
        (
            "nobody has some, nor says so",
            5,
            &[1, 2, 3],
            &[&[2]],
            &[3],
            "-A-",
        ),
        ("the same, not sorted", 5, &[2, 1, 3], &[&[2]], &[], "A--"),
    ];
    for (name, version, pel, consumers, nacked, want) in ROWS {
        assert_eq!(
            owners(version, pel, consumers, nacked).unwrap(),
            want,
            "{name}"
        );
    }
}

#[test]
fn who_cannot_have_what() {
    type Row = (
        &'static str,
        u8,
        &'static [u64],
        &'static [&'static [u64]],
        &'static [u64],
    );
    const ROWS: [Row; 14] = [
        ("no owner", 4, &[1, 2], &[&[2]], &[]),
        ("no owner, last", 4, &[1, 2], &[&[1]], &[]),
        ("no owner, not sorted", 4, &[2, 1], &[&[2]], &[]),
        ("no entry, before", 1, &[2], &[&[1, 2]], &[]),
        ("no entry, between", 1, &[1, 3], &[&[1, 2, 3]], &[]),
        ("no entry, after", 1, &[1], &[&[1, 2]], &[]),
        ("no entry, not sorted", 1, &[1, 2], &[&[2, 3, 1]], &[]),
        ("two owners", 1, &[1, 2], &[&[1], &[1, 2]], &[]),
        ("two owners, not sorted", 1, &[1, 2], &[&[1], &[2, 1]], &[]),
        ("twice in a consumer", 1, &[1], &[&[1, 1]], &[]),
        ("twice in the group", 1, &[1, 1], &[&[1]], &[]),
        ("twice in the group, nobody's", 5, &[1, 1], &[], &[]),
        ("somebody's and nobody's", 5, &[1], &[&[1]], &[1]),
        ("nobody's and not pending", 5, &[1], &[&[1]], &[2]),
    ];
    for (name, version, pel, consumers, nacked) in ROWS {
        assert!(owners(version, pel, consumers, nacked).is_err(), "{name}");
    }
}

#[test]
fn counts_beyond_the_bytes_end() {
    // Length, last id, groups: 2^62 of them; then a consumer list of 2^60 ids.
    let many = [0x81, 0x40, 0, 0, 0, 0, 0, 0, 0];
    let mut groups = vec![0, 0, 0];
    groups.extend(many);
    let mut ids = vec![
        0, 0, 0, 1, 1, b'g', 0, 0, 0, 1, 1, b'c', 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    ids.extend(many);
    for b in [groups, ids] {
        assert!(Tail::read(&mut Cursor::new(&b, 0), 1).is_err());
    }
}

#[test]
fn a_long_pending_list_comes_in_pieces() {
    let pel: Vec<u64> = (1..5000).collect();
    let (odd, even): (Vec<u64>, Vec<u64>) = pel.iter().partition(|&id| id % 2 == 1);
    let b = group(3, &pel, &[&odd, &even], &[]);
    let end = Tail::read(&mut Cursor::new(&b, 0), 3).unwrap();
    let (mut out, mut scratch) = (Out::new(), Scratch::new());
    let (mut text, mut pieces) = (Vec::new(), 0);
    let mut writer = TailWriter::new(&end);
    loop {
        let more = writer.step(&mut scratch, &mut out).unwrap();
        assert!(out.len() < 2 * PIECE);
        text.extend_from_slice(out.as_bytes());
        out.truncate(0);
        pieces += 1;
        if !more {
            break;
        }
    }
    tail(&end, &mut scratch, &mut out).unwrap();
    assert!(pieces > 3 && text == out.as_bytes());
    let text = format!(
        "[{}",
        std::str::from_utf8(&text).unwrap().trim_end_matches('}')
    );
    let text = text.replacen("[],\"groups\":", "", 1);
    let v: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(v[0]["pending"].as_array().unwrap().len(), 4999);
    assert_eq!(v[0]["pending"][1]["consumer"], "B");
    assert_eq!(
        v[0]["consumers"][0]["pending"].as_array().unwrap().len(),
        2500
    );
}
