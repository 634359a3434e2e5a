use super::*;
use crate::rdb::length;

/// Values as servers dumped them, without type byte: who wrote it, the bytes, the JSON.
const VECTORS: [(&str, &str, &str); 3] = [
    (
        "8.0.6, vector set",
        "81bde72da2bb1eb4000202020102500002000502656c05089a99193fcdcc4c3f020602010280010000000200\
         02200200028040a0000000",
        r#"{"module":"vectorset","version":0,"value":{"dim":2,"quantization":"float32","m":16,"elements":[{"member":"el","vector":[3,4]}]},"raw":{"base64":"AgICAQJQAAIABQJlbAUImpkZP83MTD8CBgIBAoABAAAAAgACIAIAAoBAoAAAAA=="}}"#,
    ),
    (
        "8.0.6, example module, every kind of item",
        "81b5eb2dfffadd6c010201050568656c6c6f030000c03f05c30f16043078612e61e00300043965702d3500",
        r#"{"module":"test__rdb","version":1,"value":{"base64":"AgEFBWhlbGxvAwAAwD8Fww8WBDB4YS5h4AMABDllcC01AA=="}}"#,
    ),
    (
        "8.0.6, example module",
        "81b5eb2dffffddb401022a050361626300",
        r#"{"module":"test___dt","version":1,"value":{"base64":"AioFA2FiYwA="}}"#,
    ),
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn json(body: &[u8]) -> Result<String> {
    let mut out = Out::new();
    value(body, 0, &mut Scratch::new(), &mut out)?;
    Ok(String::from_utf8(out.as_bytes().to_vec()).unwrap())
}

#[test]
fn values_of_servers() {
    for (name, hex, want) in VECTORS {
        assert_eq!(json(&bytes(hex)).unwrap(), want, "{name}");
    }
}

/// The number of a module type.
fn id(name: &str, version: u64) -> u64 {
    let all = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    name.bytes().fold(0, |id, c| {
        id << 6 | all.iter().position(|&a| a == c).unwrap() as u64
    }) << 10
        | version
}

/// A module value: items as a test writes them.
#[derive(Clone, Copy)]
enum I<'a> {
    U(u64),
    D(f64),
    S(&'a [u8]),
}
use I::{D, S, U};

fn module(name: &str, version: u64, items: &[I<'_>]) -> Vec<u8> {
    let mut b = Vec::new();
    length::write(id(name, version), &mut b);
    for item in items {
        match *item {
            U(n) => {
                b.push(2);
                length::write(n, &mut b);
            }
            D(x) => {
                b.push(4);
                b.extend(x.to_le_bytes());
            }
            S(s) => {
                b.push(5);
                length::write(s.len() as u64, &mut b);
                b.extend(s);
            }
        }
    }
    b.push(0);
    b
}

/// The value in the JSON of a RedisJSON document; `None` if it is base64.
fn document(version: u64, items: &[I<'_>]) -> Option<String> {
    let b = module("ReJSON-RL", version, items);
    let text = json(&b).unwrap();
    let head = format!("{{\"module\":\"ReJSON-RL\",\"version\":{version},\"value\":");
    let value = text.strip_prefix(&head).unwrap().strip_suffix('}').unwrap();
    if value.starts_with("{\"base64\":") {
        let v: serde_json::Value = serde_json::from_str(&text).unwrap();
        let raw = base64_simd::STANDARD
            .decode_to_vec(v["value"]["base64"].as_str().unwrap())
            .unwrap();
        assert_eq!(raw, &b[9..]);
        return None;
    }
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
    Some(value.to_owned())
}

#[test]
fn documents_as_text() {
    let rows: [(&str, u64, &[I<'_>], Option<&str>); 10] = [
        (
            "as it is",
            3,
            &[S(b"{\"a\":1.50,\"a\":[]}")],
            Some(r#"{"a":1.50,"a":[]}"#),
        ),
        ("line breaks", 3, &[S(b"[1,\n2]")], Some("[1,2]")),
        ("not JSON", 3, &[S(b"[1,")], None),
        ("not UTF-8", 3, &[S(b"\"\xff\"")], None),
        ("more items", 3, &[S(b"1"), U(0)], None),
        ("no item", 3, &[], None),
        ("a number", 3, &[U(1)], None),
        ("version 2", 2, &[S(b"true"), U(0)], Some("true")),
        ("version 2, no number", 2, &[S(b"true")], None),
        ("an unknown version", 5, &[S(b"true")], None),
    ];
    for (name, version, items, want) in rows {
        assert_eq!(document(version, items).as_deref(), want, "{name}");
    }
    // What version 2 had beside the text stays in the serialization.
    let b = module("ReJSON-RL", 2, &[S(b"1"), U(1), S(b"x"), S(b"y")]);
    let text = json(&b).unwrap();
    assert!(text.contains("\"value\":1,\"raw\":{\"base64\":"), "{text}");
}

#[test]
fn documents_as_a_tree() {
    let rows: [(&str, &[I<'_>], Option<&str>); 14] = [
        ("null", &[U(1)], Some("null")),
        (
            "text",
            &[U(2), S("\u{e9}\"\n".as_bytes())],
            Some("\"\u{e9}\\\"\\n\""),
        ),
        ("number", &[U(4), D(-1.5)], Some("-1.5")),
        ("whole number", &[U(4), D(2.0)], Some("2.0")),
        ("integer", &[U(8), U(u64::MAX)], Some("-1")),
        (
            "booleans",
            &[U(64), U(2), U(16), S(b"1"), U(16), S(b"0")],
            Some("[true,false]"),
        ),
        (
            "empty",
            &[U(64), U(2), U(32), U(0), U(64), U(0)],
            Some("[{},[]]"),
        ),
        (
            "nested",
            &[
                U(32),
                U(2),
                U(128),
                S(b"a"),
                U(64),
                U(1),
                U(1),
                U(128),
                S(b"base64:"),
                U(8),
                U(1),
            ],
            Some(r#"{"a":[null],"base64:":1}"#),
        ),
        ("number that is none", &[U(4), D(f64::NAN)], None),
        ("text not UTF-8", &[U(2), S(b"\xff")], None),
        (
            "key not UTF-8",
            &[U(32), U(1), U(128), S(b"\xff"), U(1)],
            None,
        ),
        ("boolean of another kind", &[U(16), S(b"2")], None),
        ("too few", &[U(64), U(u64::MAX), U(1)], None),
        ("too many", &[U(1), U(1)], None),
    ];
    for (name, items, want) in rows {
        assert_eq!(document(0, items).as_deref(), want, "{name}");
    }
    let mut deep = [U(64), U(1)].repeat(MAX_DEPTH - 1);
    deep.extend([U(64), U(0)]);
    assert!(document(0, &deep).is_some());
    deep.splice(0..0, [U(64), U(1)]);
    assert!(document(0, &deep).is_none());
}

#[test]
fn documents_as_cbor() {
    let rows: [(&str, &[u8], Option<&str>); 28] = [
        ("null", b"\xf6", Some("null")),
        ("booleans", b"\x82\xf4\xf5", Some("[false,true]")),
        (
            "largest",
            b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
            Some("18446744073709551615"),
        ),
        (
            "smallest",
            b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff",
            Some("-9223372036854775808"),
        ),
        ("smaller", b"\x3b\x80\0\0\0\0\0\0\0", None),
        (
            "integers of all sizes",
            b"\x84\x17\x18\x18\x19\x01\x00\x1a\0\x01\0\0",
            Some("[23,24,256,65536]"),
        ),
        ("f16", b"\xf9\x3c\x00", Some("1.0")),
        ("f32", b"\xfa\x3f\xc0\0\0", Some("1.5")),
        ("f64", b"\xfb\x3f\xb9\x99\x99\x99\x99\x99\x9a", Some("0.1")),
        (
            "large f64",
            b"\xfb\x7e\x37\xe4\x3c\x88\x00\x75\x9c",
            Some("1e+300"),
        ),
        ("not a number", b"\xf9\x7e\x00", None),
        ("text", b"\x62\xc3\xa9", Some("\"\u{e9}\"")),
        ("text not UTF-8", b"\x61\xff", None),
        (
            "map",
            b"\xa2\x61a\x82\x01\xf5\x60\xa0",
            Some(r#"{"a":[1,true],"":{}}"#),
        ),
        ("key of another kind", b"\xa1\x01\x01", None),
        (
            "open-ended",
            b"\x9f\xbf\x61a\x9f\xff\xff\x01\xff",
            Some(r#"[{"a":[]},1]"#),
        ),
        ("open-ended, not closed", b"\x9f\x01", None),
        ("close without open", b"\xff", None),
        ("bytes", b"\x41a", None),
        ("u8", b"\xd8\x40\x43\x00\x7f\xff", Some("[0,127,255]")),
        ("i16", b"\xd8\x4d\x44\xff\xff\x00\x80", Some("[-1,-32768]")),
        (
            "u64 and none",
            b"\x82\xd8\x47\x40\xd8\x47\x48\xff\xff\xff\xff\xff\xff\xff\xff",
            Some("[[],[18446744073709551615]]"),
        ),
        (
            "f32s",
            b"\xd8\x55\x48\0\0\xc0\x3f\0\0\x80\xbf",
            Some("[1.5,-1.0]"),
        ),
        ("bfloat16", b"\xda\0\x01\0\0\x42\xc0\x3f", Some("[1.5]")),
        ("half a number", b"\xd8\x4d\x41\xff", None),
        ("an unknown tag", b"\xc1\x01", None),
        ("more than the document", b"\x01\x01", None),
        (
            "a size beyond all",
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            None,
        ),
    ];
    for (name, bytes, want) in rows {
        assert_eq!(document(4, &[S(bytes)]).as_deref(), want, "{name}");
    }
    assert!(
        document(
            4,
            &[S(&[&[0x81].repeat(MAX_DEPTH - 1)[..], &[0x80]].concat())]
        )
        .is_some()
    );
    assert!(document(4, &[S(&[&[0x81].repeat(MAX_DEPTH)[..], &[0x80]].concat())]).is_none());
}

#[test]
fn vector_sets() {
    let l2_range = u64::from(2f32.to_bits()) | u64::from(0.5f32.to_bits()) << 32;
    // Level 1 of serialisation version 1: one link below, none above.
    let graph = [
        U(9),
        U(7),
        U(1 << 24 | 1),
        U(1),
        U(32),
        U(8),
        U(0),
        U(0),
        U(16),
        U(0),
        U(l2_range),
    ];
    let graph = [&[U(10)], &graph[1..]].concat();
    let set = |config: u64, flags: u64, head: &[I<'_>], middle: &[I<'_>], graph: &[I<'_>]| {
        let b = module(
            "vectorset",
            0,
            &[
                &[U(3), U(1), U(config), U(flags)],
                head,
                &[S(b"m")],
                middle,
                graph,
            ]
            .concat(),
        );
        let text = json(&b).unwrap();
        let v: serde_json::Value = serde_json::from_str(&text).unwrap();
        let raw = v["raw"]["base64"]
            .as_str()
            .or(v["value"]["base64"].as_str())
            .unwrap();
        assert_eq!(base64_simd::STANDARD.decode_to_vec(raw).unwrap(), &b[9..]);
        v["value"].to_string()
    };
    assert_eq!(
        set(5 << 8 | 1, 2, &[], &[S(b"{}"), S(b"\x7f\x81\x00")], &graph),
        r#"{"dim":3,"quantization":"int8","m":5,"elements":[{"member":"m","vector":[1,-1,0],"attributes":"{}"}]}"#
    );
    assert_eq!(
        set(2, 0, &[], &[S(b"\x05\0\0\0\0\0\0\0")], &graph),
        r#"{"dim":3,"quantization":"binary","m":16,"elements":[{"member":"m","vector":[1,-1,1]}]}"#
    );
    let matrix = [0; 24];
    assert_eq!(
        set(
            1,
            3,
            &[U(2), S(&matrix)],
            &[S(b""), S(b"\x7f\x81\x00")],
            &graph
        ),
        r#"{"dim":3,"input_dim":2,"quantization":"int8","m":16,"elements":[{"member":"m","vector":[1,-1,0]}]}"#
    );
    // What does not fit.
    let binary = [S(b"\x05\0\0\0\0\0\0\0")];
    let many = [U(1), U(0), U(u64::MAX), U(0)];
    for (name, text) in [
        ("quantisation 3", set(3, 0, &[], &binary, &graph)),
        ("flags 4", set(2, 4, &[], &binary, &graph)),
        ("vector too short", set(1, 0, &[], &[S(b"\x7f")], &graph)),
        (
            "matrix too short",
            set(2, 1, &[U(2), S(b"x")], &binary, &graph),
        ),
        (
            "fewer numbers",
            set(2, 0, &[], &binary, &[&[U(9)], &graph[1..]].concat()),
        ),
        (
            "more numbers",
            set(
                2,
                0,
                &[],
                &binary,
                &[&[U(11)], &graph[1..], &[U(0)]].concat(),
            ),
        ),
        (
            "links beyond all",
            set(2, 0, &[], &binary, &[&[U(u64::MAX)], &many[..]].concat()),
        ),
        (
            "items behind",
            set(2, 0, &[], &binary, &[&graph[..], &[U(0)]].concat()),
        ),
    ] {
        assert!(text.starts_with("{\"base64\":"), "{name}: {text}");
    }
}

#[test]
fn damage_is_an_error_or_another_value() {
    let cbor = b"\xa2\x61a\x82\xd8\x4d\x44\xff\xff\x00\x80\xf5\x60\x9f\xf9\x3c\x00\xff";
    let tree = [
        U(32),
        U(2),
        U(128),
        S(b"a"),
        U(64),
        U(1),
        U(4),
        D(1.0),
        U(128),
        S(b"b"),
        U(16),
        S(b"1"),
    ];
    let mut all: Vec<_> = VECTORS.iter().map(|(_, hex, _)| bytes(hex)).collect();
    all.push(module("ReJSON-RL", 0, &tree));
    all.push(module(
        "ReJSON-RL",
        2,
        &[S(b"[1,{\"a\":\"\\ud83d\\ude00\"}]"), U(1), S(b"x"), S(b"y")],
    ));
    all.push(module(
        "ReJSON-RL",
        3,
        &[S(b"[1,{\"a\":\"\\ud83d\\ude00\"}]")],
    ));
    all.push(module("ReJSON-RL", 4, &[S(cbor)]));
    for (v, whole) in all.iter().enumerate() {
        for n in 0..whole.len() {
            assert!(json(&whole[..n]).is_err(), "{v}: cut at {n}");
        }
        for i in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut b = whole.clone();
                b[i] ^= flip;
                if let Ok(text) = json(&b) {
                    serde_json::from_str::<serde_json::Value>(&text)
                        .unwrap_or_else(|e| panic!("{v}: byte {i} ^ {flip:02x}: {e}: {text}"));
                }
            }
        }
    }
}
