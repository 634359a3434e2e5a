//! Compares a key that `decode --meta` wrote with what the server had said of it.

use super::json::Json;
use super::line::Key;
use super::value::{self, show};

/// What is known of the file as a whole.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// `REDIS0011`
    pub magic: &'a str,
    /// 11
    pub rdb_version: i128,
}

/// The place of a key in the comparison: its database and its bytes.
pub type Place = (i128, Vec<u8>);

/// Where a line of truth belongs.
pub fn place(line: &Json) -> Result<Place, String> {
    Ok((line.need("db")?.int()?, line.need("key_b64")?.base64()?))
}

/// A place in words.
pub fn name(place: &Place) -> String {
    format!("db {} key {}", place.0, show(&place.1))
}

/// Every way in which a key differs from the truth, one line each.
pub fn compare(truth: &Json, key: &Key, file: File<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |result: Result<(), String>| wrong.extend(result.err());
    check(kind(truth, key));
    check(attribute(truth, "expire_at_ms", key.expire_at_ms, 0));
    check(attribute(truth, "idle_s", key.idle_s, IDLE_TOLERANCE));
    check(attribute(truth, "freq", key.freq, 0));
    check(same_value(truth, key));
    check(encoding(truth, key, file));
    check(elements(key));
    wrong
}

/// Seconds by which the idle time in the file may differ from what the server had said before it wrote the file.
const IDLE_TOLERANCE: i128 = 2;

fn kind(truth: &Json, key: &Key) -> Result<(), String> {
    let told = truth.need("type")?.str()?;
    let told = if told.starts_with("module:") {
        "module"
    } else {
        told
    };
    if told == key.kind {
        Ok(())
    } else {
        Err(format!("type: expected {told:?}, found {:?}", key.kind))
    }
}

/// A number that stands beside the value. `null` or nothing in the truth is nothing in ours.
fn attribute(truth: &Json, name: &str, found: Option<i128>, tolerance: i128) -> Result<(), String> {
    let told = match truth.get(name) {
        None | Some(Json::Null) => None,
        Some(n) => Some(n.int()?),
    };
    match (told, found) {
        (None, None) => Ok(()),
        (Some(e), Some(f)) if (e - f).abs() <= tolerance => Ok(()),
        _ => Err(format!("{name}: expected {told:?}, found {found:?}")),
    }
}

fn same_value(truth: &Json, key: &Key) -> Result<(), String> {
    let expected = value::expected(truth).map_err(|e| format!("bad truth: {e}"))?;
    let found = value::found(key).map_err(|e| format!("value: {e}"))?;
    value::differ(&expected, &found).map_or(Ok(()), Err)
}

/// `meta.elements` counts what the value holds.
fn elements(key: &Key) -> Result<(), String> {
    let count = match (key.kind.as_str(), &key.value) {
        ("list" | "set" | "zset" | "hash", Json::Arr(e)) => e.len(),
        ("hash", Json::Obj(m)) => m.len(),
        ("stream", v) => v.need("entries")?.elements()?.len(),
        _ => return Ok(()),
    };
    let said = key.meta_int("elements")?;
    if usize::try_from(said) == Ok(count) {
        Ok(())
    } else {
        Err(format!("meta.elements: expected {count}, found {said}"))
    }
}

/// Longest string that every release from 3.2 on keeps beside its object header (`embstr`); Valkey 9 keeps longer ones there, too.
const EMBSTR_LONGEST: usize = 44;

/// Shortest string that some release does not (3.2 and later have 44, 3.0 had 39).
const RAW_SHORTEST: usize = 40;

/// Compares `meta.encoding` with OBJECT ENCODING.
///
/// The server told the encoding in its memory; ours can only be read off the file. Where the file does not hold the difference, a
/// rule below says so; everything else must be equal.
fn encoding(truth: &Json, key: &Key, file: File<'_>) -> Result<(), String> {
    let told = match truth.need("encoding")? {
        // 2.0 has no OBJECT command; 5.0 says "unknown" of streams.
        Json::Null => return Ok(()),
        told => told.str()?,
    };
    // "raw" of a module value is only what OBJECT ENCODING says when it has nothing to say.
    if told == "unknown" || key.kind == "module" {
        return Ok(());
    }
    let meta = key.meta.as_ref().ok_or("no member \"meta\"")?;
    let ours = meta.need("encoding")?.str()?;
    let rdb_type = meta.need("rdb_type")?.int()?;
    let wrong = || format!("meta.encoding: expected {told:?}, found {ours:?} (type {rdb_type})");
    let ok = match (told, ours) {
        // How a short string or a number is held is decided when it is set or loaded, and an APPEND may have undone it: the file has
        // the bytes alone. Ours must be one that a string of these bytes can have.
        ("int" | "embstr" | "raw", "int" | "embstr" | "raw") => {
            let bytes = super::line::bytes(&key.value)?;
            match ours {
                "int" => is_canonical_int(&bytes),
                "embstr" => told == "embstr" || bytes.len() <= EMBSTR_LONGEST,
                _ => told == "raw" || bytes.len() >= RAW_SHORTEST,
            }
        }
        // RDB 1 knows only the plain types: 2.2 kept ziplists, zipmaps and intsets in memory but wrote their elements one by one.
        (_, "linkedlist" | "hashtable" | "skiplist") if file.rdb_version == 1 => {
            told == ours
                || matches!(
                    (told, ours),
                    ("ziplist", "linkedlist")
                        | ("zipmap" | "intset", "hashtable")
                        | ("ziplist", "skiplist")
                )
        }
        // From 7.2 on a short list is one listpack in memory, and is written as a quicklist of that one node.
        ("listpack", "quicklist") | ("quicklist", "listpack") => rdb_type == 18,
        // A hash whose fields have all lost their expiries keeps the room for them in memory, but is written without.
        ("listpackex", "listpack") => rdb_type == 16,
        _ => told == ours,
    };
    if ok { Ok(()) } else { Err(wrong()) }
}

/// Whether the bytes are the decimal of a 64-bit integer as a server would write it.
fn is_canonical_int(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).ok();
    let n = text.and_then(|t| t.parse::<i64>().ok());
    n.is_some_and(|n| n.to_string().as_bytes() == bytes)
}

#[cfg(test)]
mod tests {
    use super::super::{json, line};
    use super::*;

    const V12: File<'_> = File {
        magic: "REDIS0012",
        rdb_version: 12,
    };

    fn run(truth: &str, ours: &str, file: File<'_>) -> Vec<String> {
        let truth = json::parse(truth.as_bytes()).expect("good truth");
        match line::parse(ours.as_bytes()) {
            Ok(line::Line::Key(key)) => compare(&truth, &key, file),
            other => vec![format!("{other:?}")],
        }
    }

    /// A truth and a line that agree, then edits of the line, each of which must be noticed.
    struct Row {
        name: &'static str,
        truth: &'static str,
        ours: &'static str,
        edits: &'static [(&'static str, &'static str)],
    }

    const ROWS: &[Row] = &[
        Row {
            name: "string",
            truth: r#"{"db":0,"key_b64":"aw==","type":"string","encoding":"embstr","expire_at_ms":4102444800001,"value":"dg==","idle_s":10}"#,
            ours: r#"{"db":0,"key":"k","type":"string","expire_at_ms":4102444800001,"idle_s":12,"value":"v","meta":{"encoding":"embstr","rdb_type":0}}"#,
            edits: &[
                (r#""value":"v""#, r#""value":"V""#),
                (r#""value":"v""#, r#""value":"vv""#),
                (r#""value":"v""#, r#""value":["v"]"#),
                (r#""value":"v""#, r#""value":{"base64":"dg=="}"#),
                ("4102444800001", "4102444800000"),
                (r#""expire_at_ms":4102444800001,"#, ""),
                (r#""idle_s":12"#, r#""idle_s":13"#),
                (r#""idle_s":12,"#, ""),
                (r#""idle_s":12"#, r#""idle_s":12,"freq":0"#),
                (r#""encoding":"embstr""#, r#""encoding":"int""#),
                (r#""encoding":"embstr""#, r#""encoding":"raw""#),
                (r#""encoding":"embstr""#, r#""encoding":"listpack""#),
                (r#""encoding":"embstr","#, ""),
                (r#""type":"string""#, r#""type":"list""#),
            ],
        },
        Row {
            name: "binary string, with freq",
            truth: r#"{"db":0,"key_b64":"/w==","type":"string","encoding":"raw","expire_at_ms":null,"value":"/wA=","freq":255}"#,
            ours: r#"{"db":0,"key":{"base64":"/w=="},"type":"string","freq":255,"value":{"base64":"/wA="},"meta":{"encoding":"raw","rdb_type":0}}"#,
            edits: &[
                ("/wA=", "/gA="),
                (r#""freq":255"#, r#""freq":254"#),
                (r#""freq":255,"#, ""),
            ],
        },
        Row {
            name: "list",
            truth: r#"{"db":0,"key_b64":"aw==","type":"list","encoding":"listpack","expire_at_ms":null,"value":["YQ==","","YQ=="]}"#,
            ours: r#"{"db":0,"key":"k","type":"list","value":["a","","a"],"meta":{"encoding":"quicklist","rdb_type":18,"elements":3}}"#,
            edits: &[
                (r#"["a","","a"]"#, r#"["","a","a"]"#),
                (r#"["a","","a"]"#, r#"["a",""]"#),
                (r#"["a","","a"]"#, r#"["a","","a","a"]"#),
                (r#""elements":3"#, r#""elements":2"#),
                (r#""rdb_type":18"#, r#""rdb_type":14"#),
            ],
        },
        Row {
            name: "set in another order",
            truth: r#"{"db":0,"key_b64":"aw==","type":"set","encoding":"intset","expire_at_ms":null,"value":["MQ==","Mg=="]}"#,
            ours: r#"{"db":0,"key":"k","type":"set","value":["2","1"],"meta":{"encoding":"intset","rdb_type":11,"elements":2}}"#,
            edits: &[
                (r#"["2","1"]"#, r#"["2","3"]"#),
                (r#"["2","1"]"#, r#"["2"]"#),
                (r#"["2","1"]"#, r#"["2","1","2"]"#),
                (r#"["2","1"]"#, r#"[2,1]"#),
                (r#""intset""#, r#""hashtable""#),
            ],
        },
        Row {
            name: "zset",
            truth: r#"{"db":0,"key_b64":"aw==","type":"zset","encoding":"skiplist","expire_at_ms":null,"value":[["YQ==","-inf"],["Yg==","-0"],["Yw==","0.10000000000000001"],["ZA==","1.7976931348623157e+308"]]}"#,
            ours: r#"{"db":0,"key":"k","type":"zset","value":[{"member":"d","score":1.7976931348623157e308},{"member":"c","score":0.1},{"member":"b","score":-0.0},{"member":"a","score":"-inf"}],"meta":{"encoding":"skiplist","rdb_type":5,"elements":4}}"#,
            edits: &[
                ("-0.0", "0"),
                ("0.1}", "0.10000000000000002}"),
                (r#""-inf""#, r#""inf""#),
                (r#""-inf""#, r#""-Inf""#),
                ("1.7976931348623157e308", "1e400"),
                (r#""score":0.1"#, r#""score":"0.1""#),
                (r#"{"member":"c","score":0.1},"#, ""),
                (r#""member":"c""#, r#""member":"d""#),
            ],
        },
        Row {
            name: "hash",
            truth: r#"{"db":0,"key_b64":"aw==","type":"hash","encoding":"listpack","expire_at_ms":null,"value":[["YmFzZTY0Og==","dg==",null],["Zg==","dg==",null],["/w==","/w==",null]]}"#,
            ours: r#"{"db":0,"key":"k","type":"hash","value":{"f":"v","base64:/w==":{"base64":"/w=="},"base64:YmFzZTY0Og==":"v"},"meta":{"encoding":"listpack","rdb_type":16,"elements":3}}"#,
            edits: &[
                (r#""f":"v""#, r#""f":"w""#),
                (r#""f":"v""#, r#""g":"v""#),
                (r#""f":"v","#, ""),
                (r#""f":"v""#, r#""f":"v","g":"v""#),
                (r#""f":"v""#, r#""f":"v","f":"v""#),
                (r#""f":"v""#, r#""base64:Zg==":"v""#),
                (r#""base64:YmFzZTY0Og==""#, r#""base64:""#),
                (r#""rdb_type":16"#, r#""rdb_type":25"#),
            ],
        },
        Row {
            name: "hash with expiries",
            truth: r#"{"db":0,"key_b64":"aw==","type":"hash","encoding":"listpackex","expire_at_ms":null,"value":[["Zg==","dg==",4102444800000],["Zw==","dw==",null]]}"#,
            ours: r#"{"db":0,"key":"k","type":"hash","value":[{"field":"g","value":"w"},{"field":"f","value":"v","expire_at_ms":4102444800000}],"meta":{"encoding":"listpackex","rdb_type":25,"elements":2}}"#,
            edits: &[
                ("4102444800000", "4102444800001"),
                (r#","expire_at_ms":4102444800000"#, ""),
                (r#""value":"w""#, r#""value":"w","expire_at_ms":0"#),
                (r#""value":"w""#, r#""value":"w","expire_at_ms":null"#),
                (
                    r#"{"field":"g","value":"w"}"#,
                    r#"{"value":"w","field":"g"}"#,
                ),
                (r#""rdb_type":25"#, r#""rdb_type":16"#),
                (r#""listpackex""#, r#""listpack""#),
            ],
        },
        Row {
            name: "stream of 7.2",
            truth: r#"{"db":0,"key_b64":"aw==","type":"stream","encoding":"stream","expire_at_ms":null,"value":{"entries":[["1-1",[["YQ==","MQ=="],["YQ==","Mg=="]]],["2-0",[["Yg==","Mw=="]]]],"length":2,"last_id":"2-0","max_deleted_id":"1-2","entries_added":3,"first_id":"1-1","nodes":1,"groups":[{"name_b64":"Zw==","last_delivered_id":"1-1","entries_read":null,"pel":[["1-1","Yw==",99,1]],"consumers":[{"name_b64":"Yw==","seen_time_ms":100,"pending":["1-1"],"active_time_ms":98},{"name_b64":"ZA==","seen_time_ms":100,"pending":[],"active_time_ms":null}]}]}}"#,
            ours: r#"{"db":0,"key":"k","type":"stream","value":{"length":2,"last_id":"2-0","first_id":"1-1","max_deleted_id":"1-2","entries_added":3,"entries":[{"id":"1-1","fields":[["a","1"],["a","2"]]},{"id":"2-0","fields":[["b","3"]]}],"groups":[{"name":"g","last_id":"1-1","entries_read":null,"pending":[{"id":"1-1","consumer":"c","delivered_at_ms":99,"deliveries":1}],"consumers":[{"name":"d","seen_at_ms":100,"active_at_ms":-1,"pending":[]},{"name":"c","seen_at_ms":100,"active_at_ms":98,"pending":["1-1"]}]}]},"meta":{"encoding":"stream","rdb_type":21,"elements":2}}"#,
            edits: &[
                (r#""length":2"#, r#""length":3"#),
                (r#""last_id":"2-0""#, r#""last_id":"2-1""#),
                (r#""last_id":"2-0""#, r#""last_id":"02-0""#),
                (r#""first_id":"1-1","#, ""),
                (r#""first_id":"1-1""#, r#""first_id":"1-2""#),
                (r#""max_deleted_id":"1-2","#, ""),
                (r#""entries_added":3"#, r#""entries_added":4"#),
                (r#"["a","1"],["a","2"]"#, r#"["a","2"],["a","1"]"#),
                (r#"["b","3"]"#, r#"["b","3"],["b","3"]"#),
                (r#"["b","3"]"#, r#"["b",3]"#),
                (r#"{"id":"2-0""#, r#"{"id":"2-1""#),
                (r#""entries_read":null"#, r#""entries_read":0"#),
                (r#""entries_read":null,"#, ""),
                (r#""delivered_at_ms":99"#, r#""delivered_at_ms":98"#),
                (r#""deliveries":1"#, r#""deliveries":2"#),
                (r#""consumer":"c""#, r#""consumer":"d""#),
                (r#""consumer":"c","#, ""),
                (r#""active_at_ms":98"#, r#""active_at_ms":100"#),
                (r#""active_at_ms":98,"#, ""),
                (r#""active_at_ms":-1"#, r#""active_at_ms":100"#),
                (r#""active_at_ms":-1"#, r#""active_at_ms":null"#),
                (
                    r#""seen_at_ms":100,"active_at_ms":98"#,
                    r#""seen_at_ms":98,"active_at_ms":98"#,
                ),
                (r#""pending":["1-1"]"#, r#""pending":[]"#),
                (r#"{"name":"g""#, r#"{"name":"G""#),
                (r#"]},"meta""#, r#"],"idmp":{}},"meta""#),
                (r#""rdb_type":21"#, r#""rdb_type":15"#),
                (r#""rdb_type":21"#, r#""rdb_type":26"#),
            ],
        },
        Row {
            name: "stream of 5.0",
            truth: r#"{"db":0,"key_b64":"aw==","type":"stream","encoding":"unknown","expire_at_ms":null,"value":{"entries":[],"length":0,"last_id":"7-7","nodes":0,"groups":[{"name_b64":"Zw==","last_delivered_id":"3-1","pel":[],"consumers":[{"name_b64":"Yw==","seen_time_ms":100,"pending":[]}]}]}}"#,
            ours: r#"{"db":0,"key":"k","type":"stream","value":{"length":0,"last_id":"7-7","entries":[],"groups":[{"name":"g","last_id":"3-1","pending":[],"consumers":[{"name":"c","seen_at_ms":100,"pending":[]}]}]},"meta":{"encoding":"stream","rdb_type":15,"elements":0}}"#,
            edits: &[
                (r#""last_id":"7-7""#, r#""last_id":"7-7","first_id":"0-0""#),
                (
                    r#""last_id":"3-1""#,
                    r#""last_id":"3-1","entries_read":null"#,
                ),
                (
                    r#""seen_at_ms":100"#,
                    r#""seen_at_ms":100,"active_at_ms":100"#,
                ),
                (r#""seen_at_ms":100"#, r#""seen_at_ms":101"#),
            ],
        },
        Row {
            name: "module",
            truth: r#"{"db":0,"key_b64":"aw==","type":"module:test__rdb","encoding":"raw","expire_at_ms":null,"value":null}"#,
            ours: r#"{"db":0,"key":"k","type":"module","value":{"module":"test__rdb","version":1,"value":{"base64":"AA=="}},"meta":{"rdb_type":7}}"#,
            edits: &[
                ("test__rdb", "test__rdc"),
                (r#""version":1,"#, ""),
                (r#","value":{"base64":"AA=="}"#, ""),
            ],
        },
    ];

    #[test]
    fn agreement_is_seen_and_every_edit_is_noticed() {
        for row in ROWS {
            let name = row.name;
            assert_eq!(run(row.truth, row.ours, V12), [""; 0], "{name}");
            for (from, to) in row.edits {
                assert!(row.ours.contains(from), "{name}: nothing to edit: {from}");
                let edited = row.ours.replacen(from, to, 1);
                let wrong = run(row.truth, &edited, V12);
                assert!(!wrong.is_empty(), "{name}: not noticed: {from} -> {to}");
            }
        }
    }

    #[test]
    fn encodings_that_a_file_does_not_hold() {
        let v1 = File {
            magic: "REDIS0001",
            rdb_version: 1,
        };
        for (kind, value, told, ours, rdb_type, file, good) in [
            ("list", "[]", "ziplist", "linkedlist", 1, v1, true),
            ("list", "[]", "ziplist", "linkedlist", 1, V12, false),
            ("hash", "{}", "zipmap", "hashtable", 4, v1, true),
            ("hash", "{}", "listpackex", "listpack", 16, V12, true),
            ("hash", "{}", "listpack", "ziplist", 13, V12, false),
            ("set", "[]", "intset", "hashtable", 2, v1, true),
            ("set", "[]", "intset", "hashtable", 2, V12, false),
            ("zset", "[]", "skiplist", "skiplist", 5, V12, true),
            ("list", "[]", "quicklist", "listpack", 18, V12, true),
        ] {
            let truth = format!(
                r#"{{"db":0,"key_b64":"aw==","type":"{kind}","encoding":"{told}","expire_at_ms":null,"value":[]}}"#
            );
            let ours = format!(
                r#"{{"db":0,"key":"k","type":"{kind}","value":{value},"meta":{{"encoding":"{ours}","rdb_type":{rdb_type},"elements":0}}}}"#
            );
            let wrong = run(&truth, &ours, file);
            assert_eq!(wrong.is_empty(), good, "{kind} {told} {ours}: {wrong:?}");
        }
    }
}
