use super::*;
use crate::Decode;
use crate::error::ErrorKind;
use crate::pipeline::Progress;
use crate::sink::Plain;
use crate::source::Source;

/// Everything that `reader` gives, and the error it ends with.
fn read_all(mut reader: impl Read) -> (Vec<u8>, Option<RdbError>) {
    let mut all = Vec::new();
    let r = reader.read_to_end(&mut all);
    (all, r.err().map(|e| RdbError::io("reading", e)))
}

/// A reader that gives one byte at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let n = to.len().min(1);
        self.0.read(&mut to[..n])
    }
}

/// What decoding gives.
fn decoded(json: &[u8]) -> Result<String> {
    let mut out = Vec::new();
    let decode = Decode {
        threads: 1,
        ..Decode::default()
    };
    let mut sources = [Source::from_bytes("input", json)];
    decode.run(&mut sources, &Progress::new(), &mut Plain(&mut out))?;
    Ok(String::from_utf8(out).unwrap())
}

/// Lines that come back as they are.
const LINES: &[&str] = &[
    r#"{"db":0,"key":"","type":"string","value":""}"#,
    r#"{"db":0,"key":"k","type":"string","expire_at_ms":-5,"idle_s":3,"value":"12345"}"#,
    r#"{"db":7,"key":{"base64":"/w=="},"type":"string","freq":255,"value":{"base64":"/wA="}}"#,
    r#"{"db":18446744073709551615,"key":"base64:","type":"string","value":"\u0000\u001f\"\\é😀"}"#,
    r#"{"db":0,"key":"k","type":"string","key_meta":{"base64":"AQEAAAAFAXgCAQA="},"value":"v"}"#,
    r#"{"db":0,"key":"l","type":"list","value":["a",{"base64":"/w=="},"","a"]}"#,
    r#"{"db":0,"key":"l","type":"list","value":[]}"#,
    r#"{"db":0,"key":"s","type":"set","value":["a","1"]}"#,
    r#"{"db":0,"key":"z","type":"zset","value":[{"member":"a","score":"-inf"},{"member":"b","score":-0.0},{"member":"c","score":0.30000000000000004},{"member":"d","score":5e-324},{"member":"e","score":"inf"}]}"#,
    r#"{"db":0,"key":"h","type":"hash","value":{"a":"1","base64:/w==":{"base64":"/w=="},"base64:YmFzZTY0Og==":"x","":""}}"#,
    r#"{"db":0,"key":"h","type":"hash","value":[{"field":"a","value":"1","expire_at_ms":0},{"field":"b","value":"2"},{"field":"c","value":"3","expire_at_ms":281474976710655}]}"#,
    r#"{"db":0,"key":"a","type":"array","value":{"cursor":0,"elements":[{"index":0,"value":"10"},{"index":1,"value":"2.5"},{"index":2,"value":"-0"},{"index":3,"value":"01"},{"index":4,"value":"a longer string"},{"index":18446744073709551614,"value":""}]}}"#,
    r#"{"db":0,"key":"a","type":"array","value":{"elements":[{"index":3,"value":{"base64":"/w=="}}]}}"#,
    r#"{"db":0,"key":"g","type":"gcra","value":18446744073709551615}"#,
    r##"{"function":"#!lua name=x\n"}"##,
    // Streams: the five layouts.
    r#"{"db":0,"key":"x","type":"stream","value":{"length":0,"last_id":"0-0","entries":[],"groups":[]}}"#,
    r#"{"db":0,"key":"x","type":"stream","value":{"length":3,"last_id":"18446744073709551615-1","entries":[{"id":"1-1","fields":[["a","1"],["a","x"]]},{"id":"2-0","fields":[["a","y"],["a","-7"]]},{"id":"18446744073709551615-0","fields":[["b",{"base64":"/w=="}]]}],"groups":[{"name":"g","last_id":"1-1","pending":[{"id":"1-1","consumer":"c","delivered_at_ms":5,"deliveries":1}],"consumers":[{"name":"c","seen_at_ms":6,"pending":["1-1"]}]}]}}"#,
    r#"{"db":0,"key":"x","type":"stream","value":{"length":1,"last_id":"1-1","first_id":"1-1","max_deleted_id":"0-0","entries_added":1,"entries":[{"id":"1-1","fields":[]}],"groups":[{"name":"g","last_id":"1-1","entries_read":null,"pending":[],"consumers":[{"name":"c","seen_at_ms":6,"pending":[]}]}]}}"#,
    r#"{"db":0,"key":"x","type":"stream","value":{"length":0,"last_id":"1-1","first_id":"0-0","max_deleted_id":"1-1","entries_added":1,"entries":[],"groups":[{"name":"g","last_id":"1-1","entries_read":1,"pending":[],"consumers":[{"name":"c","seen_at_ms":6,"active_at_ms":-1,"pending":[]}]}]}}"#,
    r#"{"db":0,"key":"x","type":"stream","value":{"length":0,"last_id":"1-1","first_id":"0-0","max_deleted_id":"1-1","entries_added":1,"entries":[],"groups":[],"idmp":{"duration_s":1,"max_entries":2,"producers":[{"id":"p","iids":[{"iid":"i","entry_id":"1-1"}]}],"iids_added":3,"iids_duplicates":4}}}"#,
    r#"{"db":0,"key":"x","type":"stream","value":{"length":0,"last_id":"1-1","first_id":"0-0","max_deleted_id":"1-1","entries_added":1,"entries":[],"groups":[{"name":"g","last_id":"1-1","entries_read":1,"pending":[{"id":"1-1","delivered_at_ms":0,"deliveries":0},{"id":"1-2","consumer":"c","delivered_at_ms":0,"deliveries":0}],"consumers":[{"name":"c","seen_at_ms":6,"active_at_ms":7,"pending":["1-2"]}],"nacked":["1-1"]}],"idmp":{"duration_s":1,"max_entries":2,"producers":[],"iids_added":3,"iids_duplicates":4}}}"#,
    // Modules.
    r#"{"db":0,"key":"m","type":"module","value":{"module":"test__rdb","version":1,"value":{"base64":"AgEFBWhlbGxvAwAAwD8A"}}}"#,
    r#"{"db":0,"key":"m","type":"module","value":{"module":"ReJSON-RL","version":3,"value":{"a": [1.50,1e400],"a":null}}}"#,
    r#"{"db":0,"key":"m","type":"module","value":{"module":"ReJSON-RL","version":2,"value":"text"}}"#,
    r#"{"db":0,"key":"m","type":"module","value":{"module":"ReJSON-RL","version":0,"value":{"a":[1,-1,1.5,true,false,null,"\u0001"],"b":{}}}}"#,
    r#"{"db":0,"key":"m","type":"module","value":{"module":"ReJSON-RL","version":4,"value":{"a":[1,-1,300,70000,5000000000,18446744073709551615,-9223372036854775808,1.5,-0.0,true,false,null,"text"],"b":{},"c":[]}}}"#,
    r#"{"db":0,"key":"m","type":"module","value":{"module":"ReJSON-RL","version":4,"value":7}}"#,
];

#[test]
fn lines_come_back() {
    for line in LINES {
        assert_eq!(decoded(line.as_bytes()).unwrap(), format!("{line}\n"));
    }
    let all = LINES.join("\n");
    let array = format!(" [\n{}\n]\n", LINES.join(" ,\r\n"));
    assert_eq!(decoded(all.as_bytes()).unwrap(), format!("{all}\n"));
    assert_eq!(decoded(array.as_bytes()).unwrap(), format!("{all}\n"));
}

/// Lines of a log that come back as they are.
const LOG: &[&str] = &[
    r#"{"select":0}"#,
    r#"{"select":0}"#,
    r#"{"timestamp":1795208898}"#,
    r#"{"db":0,"command":["SET","k",{"base64":"/w=="}]}"#,
    r#"{"annotation":" by hand"}"#,
    r#"{"annotation":"with its own line end\n"}"#,
    r#"{"annotation":"TS:007"}"#,
    r#"{"annotation":{"base64":"/w=="}}"#,
    r#"{"annotation":""}"#,
    r#"{"db":4294967295,"command":["DEL","","a"]}"#,
    r#"{"db":4294967295,"command":["MULTI"]}"#,
    r#"{"db":3,"command":["SET","k","\r\né"]}"#,
    r#"{"select":0}"#,
    r#"{"db":0,"command":["exec"]}"#,
];

#[test]
fn lines_of_a_log_come_back() {
    let log = LOG.join("\n");
    let (aof, none) = read_all(ToRdb::new(log.as_bytes()));
    assert!(none.is_none());
    let select = "*2\\r\\n$6\\r\\nSELECT\\r\\n$1\\r\\n0\\r\\n";
    let text = aof.escape_ascii().to_string();
    assert!(text.starts_with(&format!(
        "{select}{select}#TS:1795208898\\r\\n*3\\r\\n$3\\r\\nSET\\r\\n$1\\r\\nk\\r\\n$1\\r\\n\\xff\\r\\n# by hand\\r\\n#with its own line end\\n#TS:007\\r\\n"
    )));
    // The database is another only where one has been selected, or a key is in it: here within the transaction.
    assert!(text.contains("MULTI\\r\\n*2\\r\\n$6\\r\\nSELECT\\r\\n$1\\r\\n3\\r\\n*3"));
    let again = decoded(&aof).unwrap();
    assert_eq!(again, decoded(log.as_bytes()).unwrap());
    let (twice, none) = read_all(ToRdb::new(again.as_bytes()));
    assert!(none.is_none() && twice == aof);
    // Behind keys, of whichever database the last is.
    for key in [LINES[0], LINES[2]] {
        let (all, none) = read_all(ToRdb::new(format!("{key}\n{log}").as_bytes()));
        assert!(none.is_none());
        let (rdb, _) = read_all(ToRdb::new(key.as_bytes()));
        assert!(all == [rdb, aof.clone()].concat());
    }
}

#[test]
fn commands_in_other_hands() {
    let rows = [
        (
            r#"{"meta":{"offset":7},"command":["SET","k","v"],"db":0}"#,
            r#"{"db":0,"command":["SET","k","v"]}"#,
        ),
        (
            "[{\"command\" : [\n\"S\\u0045T\" , \"k\",{\"base64\":\"dg==\"} ] }]",
            r#"{"db":0,"command":["SET","k","v"]}"#,
        ),
        // Of a database of which nobody has spoken.
        (
            r#"{"db":2,"command":["DEL","k"]} {"db":2,"command":["DEL","l"]}{"command":["DEL","m"]}"#,
            "{\"select\":2}\n{\"db\":2,\"command\":[\"DEL\",\"k\"]}\n{\"db\":2,\"command\":[\"DEL\",\"l\"]}\n{\"select\":0}\n{\"db\":0,\"command\":[\"DEL\",\"m\"]}",
        ),
    ];
    for (line, want) in rows {
        assert_eq!(decoded(line.as_bytes()).unwrap(), format!("{want}\n"));
    }
    // The longest annotation, and one that is longer.
    for (n, ok) in [(1021, true), (1022, false)] {
        let line = format!("{{\"annotation\":\"{}\"}}", "x".repeat(n));
        let got = decoded(line.as_bytes());
        assert_eq!(got.is_ok_and(|l| l == format!("{line}\n")), ok, "{n}");
    }
}

#[test]
fn the_same_in_any_pieces_in_memory_and_on_disk() {
    let all = [LINES, LOG].concat().join("\n");
    let (want, none) = read_all(ToRdb::new(all.as_bytes()));
    assert!(none.is_none());
    for (buffer, in_memory) in [(32, 1 << 20), (33, 10), (57, 1), (1000, 40)] {
        let (got, none) = read_all(ToRdb::with_limits(Drops(all.as_bytes()), buffer, in_memory));
        assert!(none.is_none(), "{none:?}");
        assert!(got == want, "buffer {buffer}, {in_memory} in memory");
    }
}

#[test]
fn in_other_hands() {
    let rows = [
        (
            r#"{"value":["a"],"type":"list","key":"k"}"#,
            r#"{"db":0,"key":"k","type":"list","value":["a"]}"#,
        ),
        (
            "{ \"type\" : \"zset\",\r\n \"key\":\"k\",\"meta\":{\"x\":[{}]},\"value\":[{\"score\":1.50e1,\"member\":\"m\"}] }",
            r#"{"db":0,"key":"k","type":"zset","value":[{"member":"m","score":15}]}"#,
        ),
        (
            r#"{"value":{"version":3,"value":{"b" :1},"module":"ReJSON-RL"},"key":"k","type":"module","expire_at_ms":4.1024448e+12}"#,
            r#"{"db":0,"key":"k","type":"module","expire_at_ms":4102444800000,"value":{"module":"ReJSON-RL","version":3,"value":{"b" :1}}}"#,
        ),
        (
            r#"{"key":"\u0061\/","type":"string","value":"\ud83d\ude00"}"#,
            "{\"db\":0,\"key\":\"a/\",\"type\":\"string\",\"value\":\"\u{1f600}\"}",
        ),
    ];
    for (line, want) in rows {
        assert_eq!(decoded(line.as_bytes()).unwrap(), format!("{want}\n"));
    }
    assert_eq!(decoded(b"[]\n").unwrap(), "");
}

#[test]
fn documents_that_look_like_base64() {
    // A document {"base64":"AA=="} is written as the serialization it is, and that is what is read.
    let doc = b"\x05\x11{\"base64\":\"AA==\"}\x00";
    let base64 = base64_simd::STANDARD.encode_to_string(doc);
    let line = format!(
        r#"{{"db":0,"key":"m","type":"module","value":{{"module":"ReJSON-RL","version":3,"value":{{"base64":"{base64}"}}}}}}"#
    );
    assert_eq!(decoded(line.as_bytes()).unwrap(), format!("{line}\n"));
}

#[test]
fn slots_being_imported() {
    let job = "0123456789abcdef0123456789abcdef01234567";
    let slots = format!(r#"{{"slot_import":{{"job":"{job}","slots":[[0,10],[65,255]]}}}}"#);
    let hash = r#"{"db":0,"key":"h","type":"hash","value":[{"field":"a","value":"1","expire_at_ms":9},{"field":"b","value":"2"}]}"#;
    let (rdb, none) = read_all(ToRdb::new(format!("{slots}{hash}").as_bytes()));
    assert!(none.is_none());
    assert!(rdb.starts_with(b"VALKEY080\xf3\x280123"));
    assert_eq!(
        decoded(format!("{slots}\n{hash}").as_bytes()).unwrap(),
        format!("{hash}\n")
    );
    let late = decoded(format!("{hash}\n{slots}").as_bytes()).unwrap_err();
    assert_eq!(late.line(), Some(2), "{late}");
}

#[test]
fn what_is_wrong_is_said_and_where() {
    // A line, what in it the error points at (nothing: its end), its number, and what is said.
    let rows: &[(&str, &str, u64, &str)] = &[
        (
            r#"{"key":"k","type":"string","value":"\ud800"}"#,
            r"\ud800",
            1,
            "surrogate",
        ),
        (
            "\n{\"key\":\"k\",\"type\":\"strung\",\"value\":\"\"}",
            r#""strung""#,
            2,
            "expected one of string",
        ),
        (r#"{"key":"k","value":"v"}"#, "{", 1, "without \"type\""),
        (r#"{"key":"k","type":"set"}"#, "{", 1, "without \"value\""),
        (r#"{"type":"set","value":[]}"#, "{", 1, "without \"key\""),
        (
            r#"{"key":"k","colour":1}"#,
            r#""colour""#,
            1,
            "\"colour\": no such field",
        ),
        (r#"{"key":"k","key":"k"}"#, r#""key":"k"}"#, 1, "twice"),
        (r#"{"db":0,"db":0}"#, r#""db":0}"#, 1, "twice"),
        (r#"{"db":-1}"#, "-1", 1, "out of range"),
        (r#"{"freq":256}"#, "256", 1, "0 to 255"),
        (
            r#"{"db":0,"command":[]}"#,
            "[]",
            1,
            "expected at least its name",
        ),
        (
            r#"{"command":["SET","k",1]}"#,
            "1]",
            1,
            "a number: expected a string",
        ),
        (
            "{\"select\":0}\n{\"db\":1,\"command\":[ \"select\",\"1\"]}",
            "\"select\",",
            2,
            "{\"select\":n}",
        ),
        (
            r#"{"command":["SET"],"db":4294967296}"#,
            "4294967296",
            1,
            "database 4294967296 of a command: expected 0 to 4294967295",
        ),
        (r#"{"select":4294967296}"#, "4294967296", 1, "expected 0 to"),
        (
            r#"{"select":0,"db":0}"#,
            r#""db""#,
            1,
            "the end of this line",
        ),
        (r#"{"timestamp":-1}"#, "-1", 1, "seconds"),
        (
            r#"{"annotation":"a\nSET"}"#,
            r#""a\nSET""#,
            1,
            "a line end within",
        ),
        (
            r#"{"db":0,"command":["A"],"command":["B"]}"#,
            r#""command":["B"]"#,
            1,
            "twice",
        ),
        (
            r#"{"command":["A"],"key":"k"}"#,
            r#""key""#,
            1,
            "\"key\": no such field in a line of a command",
        ),
        (
            r#"{"key":"k","command":["A"]}"#,
            r#""command""#,
            1,
            "no such field in a line of a key",
        ),
        (
            "{\"key\":\"a\",\"type\":\"set\",\"value\":[\"x\"]}\n{\"timestamp\":1}\n{\"db\":0,\"key\":\"k\",\"type\":\"set\",\"value\":[]}",
            r#""key":"k""#,
            3,
            "before the first command",
        ),
        (
            "{\"command\":[\"A\"]}\n{\"function\":\"x\"}",
            r#""function""#,
            2,
            "before the first command",
        ),
        (
            r#"{"db":0,"key":"k","ttl":-1,"type":"string","value":"v","size":1}"#,
            r#""ttl""#,
            1,
            "redis-dump",
        ),
        (
            r#"{"key":"k","type":"list","value":{}}"#,
            "{}",
            1,
            "an object: expected an array",
        ),
        (
            r#"{"key":"k","type":"zset","value":[{"member":"m"}]}"#,
            r#""member""#,
            1,
            "\"score\"",
        ),
        (
            r#"{"key":"k","type":"zset","value":[{"score":"nan","member":"m"}]}"#,
            r#""nan""#,
            1,
            "inf",
        ),
        (
            r#"{"key":"k","type":"hash","value":[{"field":"f","value":"v","expire_at_ms":-1}]}"#,
            "-1",
            1,
            "expiry",
        ),
        (
            r#"{"key":"k","type":"module","value":{"module":"vectorset","version":0,"value":{"dim":2}}}"#,
            r#"{"dim""#,
            1,
            "\"raw\"",
        ),
        (
            r#"{"key":"k","type":"module","value":{"module":"vectorset","version":0,"value":{"base64":"BwA="}}}"#,
            r#"{"base64""#,
            1,
            "no module data",
        ),
        (
            r#"{"key":"k","type":"module","value":{"module":"vectorset","version":0,"value":{"base64":"AAA="}}}"#,
            r#"{"base64""#,
            1,
            "after its end",
        ),
        (
            r#"{"key":"k","type":"module","value":{"module":"vectorset","version":0,"value":{"base64":"Ag=="}}}"#,
            r#"{"base64""#,
            1,
            "too early",
        ),
        (
            r#"{"function":"x","key":"k"}"#,
            r#""key""#,
            1,
            "the end of this line",
        ),
        (r#"{"key":"k""#, "", 1, "input ends"),
        (
            r#"[{"key":"k","type":"set","value":[]}"#,
            "",
            1,
            "input ends",
        ),
        ("{}", "{", 1, "without \"key\""),
        ("[1]", "1", 1, "a number: expected an object"),
    ];
    for (line, place, on, what) in rows {
        let at = match place.is_empty() {
            true => line.len(),
            false => line.find(place).unwrap(),
        };
        let e = decoded(line.as_bytes()).unwrap_err();
        let found = (e.offset(), e.line());
        assert_eq!(found, (Some(at as u64), Some(*on)), "{line}: {e}");
        assert!(e.what().contains(what), "{line}: {e}");
    }
    let e = decoded(rows[0].0.as_bytes()).unwrap_err().to_string();
    assert!(
        e.starts_with("input: byte 36, line 1: key \"k\" (string): "),
        "{e}"
    );
}

#[test]
fn pending_entries_are_told_twice_and_alike() {
    let line = LINES.iter().find(|l| l.contains("nacked")).unwrap();
    for (from, to) in [
        ("\"consumer\":\"c\"", "\"consumer\":\"d\""),
        ("\"pending\":[\"1-2\"]", "\"pending\":[\"1-3\"]"),
        ("\"nacked\":[\"1-1\"]", "\"nacked\":[]"),
    ] {
        let other = line.replace(from, to);
        assert_ne!(&other, line);
        let e = decoded(other.as_bytes()).unwrap_err();
        assert!(e.what().contains("not the same"), "{e}");
    }
}

#[test]
fn what_stands_before_an_error_comes_out() {
    let text = format!("{}\n{{oops", LINES[1]);
    let mut out = Vec::new();
    let mut sources = [Source::from_bytes("input", text.into_bytes())];
    let r = Decode::default().run(&mut sources, &Progress::new(), &mut Plain(&mut out));
    assert_eq!(r.unwrap_err().line(), Some(2));
    assert_eq!(out, format!("{}\n", LINES[1]).as_bytes());
}

#[test]
fn damage_is_an_error_or_another_line() {
    for line in LINES.iter().chain(LOG) {
        for n in 1..line.len() {
            let (_, e) = read_all(ToRdb::with_limits(&line.as_bytes()[..n], 32, 64));
            let kind = e.map(|e| e.kind());
            // A cut within a character, an escape or a number may be something else than an end.
            assert!(
                matches!(kind, Some(ErrorKind::UnexpectedEof | ErrorKind::Corrupt)),
                "{line} cut at {n}: {kind:?}"
            );
        }
        for i in 0..line.len() {
            for flip in [0x01, 0x02, 0x10, 0x80, 0xff] {
                let mut bytes = line.as_bytes().to_vec();
                bytes[i] ^= flip;
                let (rdb, e) = read_all(ToRdb::with_limits(&bytes[..], 64, 64));
                if e.is_none() {
                    let log = matches!(rdb.first(), Some(b'*' | b'#'));
                    assert!(log || rdb.ends_with(b"\xff\0\0\0\0\0\0\0\0"));
                }
            }
        }
    }
}
