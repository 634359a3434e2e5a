//! A line of `rdbtool decode`, taken apart and checked against the promised shape.

use super::json::{self, Json, unbase64};

/// One line.
#[derive(Debug)]
pub enum Line {
    /// A key.
    Key(Box<Key>),
    /// Fields of the file itself, under `--meta`.
    Aux(Vec<(Vec<u8>, Vec<u8>)>),
    /// The code of a function library.
    Function(Vec<u8>),
    /// A module's own data, under `--meta`.
    ModuleAux(Json),
}

/// A line that holds a key.
#[derive(Debug)]
pub struct Key {
    pub db: i128,
    pub key: Vec<u8>,
    pub kind: String,
    pub expire_at_ms: Option<i128>,
    pub idle_s: Option<i128>,
    pub freq: Option<i128>,
    /// What modules attached to the key, as the file has it.
    pub key_meta: Option<Vec<u8>>,
    pub value: Json,
    pub meta: Option<Json>,
}

impl Key {
    /// The number of the value type in the file, from `meta`.
    pub fn rdb_type(&self) -> Option<i128> {
        self.meta.as_ref()?.get("rdb_type")?.int().ok()
    }

    /// A number of `meta` by name.
    pub fn meta_int(&self, name: &str) -> Result<i128, String> {
        let meta = self.meta.as_ref().ok_or("no member \"meta\"")?;
        meta.need(name)?.int()
    }
}

/// Takes a line apart. The order of the members is part of the promise.
pub fn parse(line: &[u8]) -> Result<Line, String> {
    // A second, general reader agrees that it is strict JSON.
    serde_json::from_slice::<serde_json::Value>(line)
        .map_err(|e| format!("serde_json refuses the line: {e}"))?;
    read(&json::parse(line)?)
}

/// Takes an object apart.
pub fn read(line: &Json) -> Result<Line, String> {
    match line.members()?.first().map(|m| m.0.as_str()) {
        Some("aux") => {
            let [aux] = line.shape(["aux"])?;
            let members = aux.ok_or("no aux")?.members()?;
            let pairs = members.iter().map(|(n, v)| Ok((name(n)?, bytes(v)?)));
            Ok(Line::Aux(pairs.collect::<Result<_, String>>()?))
        }
        Some("function") => {
            let [code] = line.shape(["function"])?;
            Ok(Line::Function(bytes(code.ok_or("no function")?)?))
        }
        Some("module_aux") => {
            let [aux] = line.shape(["module_aux"])?;
            Ok(Line::ModuleAux(aux.ok_or("no module_aux")?.clone()))
        }
        _ => key(line).map(|k| Line::Key(Box::new(k))),
    }
}

fn key(line: &Json) -> Result<Key, String> {
    let [db, key, kind, expire, idle, freq, key_meta, value, meta] = line.shape([
        "db",
        "key",
        "type",
        "expire_at_ms?",
        "idle_s?",
        "freq?",
        "key_meta?",
        "value",
        "meta?",
    ])?;
    let int = |v: Option<&Json>| v.map(Json::int).transpose();
    Ok(Key {
        db: db.ok_or("no db")?.int()?,
        key: bytes(key.ok_or("no key")?)?,
        kind: kind.ok_or("no type")?.str()?.to_owned(),
        expire_at_ms: int(expire)?,
        idle_s: int(idle)?,
        freq: int(freq)?,
        key_meta: key_meta.map(base64).transpose()?,
        value: value.ok_or("no value")?.clone(),
        meta: meta.cloned(),
    })
}

/// Bytes that are no text, whether or not they would be UTF-8.
fn base64(bytes: &Json) -> Result<Vec<u8>, String> {
    let [base64] = bytes.shape(["base64"])?;
    base64.ok_or("no base64")?.base64()
}

/// The bytes of a byte string: a JSON string when they are UTF-8, `{"base64":"..."}` when, and only when, they are not.
pub fn bytes(s: &Json) -> Result<Vec<u8>, String> {
    if let Json::Str(text) = s {
        return Ok(text.as_bytes().to_vec());
    }
    let [base64] = s.shape(["base64"])?;
    let bytes = base64.ok_or("no base64")?.base64()?;
    if std::str::from_utf8(&bytes).is_ok() {
        return Err(format!("UTF-8 written as base64: {}", s.short()));
    }
    Ok(bytes)
}

/// The bytes of a byte string that stands as a name: `base64:` and base64 when, and only when, they are not UTF-8 or begin
/// with `base64:` themselves.
pub fn name(text: &str) -> Result<Vec<u8>, String> {
    let Some(base64) = text.strip_prefix("base64:") else {
        return Ok(text.as_bytes().to_vec());
    };
    let bytes = unbase64(base64)?;
    if std::str::from_utf8(&bytes).is_ok() && !bytes.starts_with(b"base64:") {
        return Err(format!("UTF-8 written as base64: {text:.60?}"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_lines() {
        let line = br#"{"db":3,"key":{"base64":"/w=="},"type":"string","expire_at_ms":-5,"idle_s":7,"freq":255,"key_meta":{"base64":"YQ=="},"value":"v","meta":{"rdb_type":0}}"#;
        let Ok(Line::Key(k)) = parse(line) else {
            panic!("{:?}", parse(line))
        };
        assert_eq!((k.db, k.key.as_slice()), (3, &b"\xff"[..]));
        assert_eq!((k.expire_at_ms, k.idle_s), (Some(-5), Some(7)));
        assert_eq!((k.freq, k.rdb_type()), (Some(255), Some(0)));
        assert_eq!(k.key_meta.as_deref(), Some(&b"a"[..]));
    }

    #[test]
    fn refuses_another_order_and_unknown_members() {
        for bad in [
            r#"{"key":"k","db":0,"type":"string","value":"v"}"#,
            r#"{"db":0,"key":"k","type":"string","value":"v","expire_at_ms":1}"#,
            r#"{"db":0,"key":"k","type":"string","freq":1,"idle_s":1,"value":"v"}"#,
            r#"{"db":0,"key":"k","type":"string","value":"v","ttl":1}"#,
            r#"{"db":0,"key":"k","type":"string","value":"v","key_meta":{"base64":""}}"#,
            r#"{"db":0,"key":"k","type":"string","key_meta":"a","value":"v"}"#,
            r#"{"db":0,"key":"k","type":"string"}"#,
            r#"{"db":0,"key":"k","type":"string","expire_at_ms":null,"value":"v"}"#,
            r#"{"function":"a","function2":"b"}"#,
            r#"[]"#,
            r#"{}"#,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn byte_strings() {
        let read = |text: &str| bytes(&json::parse(text.as_bytes()).expect("JSON"));
        assert_eq!(read(r#""a\u0000""#), Ok(b"a\0".to_vec()));
        assert_eq!(read(r#"{"base64":"/w=="}"#), Ok(b"\xff".to_vec()));
        for bad in [
            r#"{"base64":"YQ=="}"#,
            r#"{"base64":"/w"}"#,
            r#"{"base64":"/w==","x":1}"#,
            "1",
            "null",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(name("a"), Ok(b"a".to_vec()));
        assert_eq!(name("base64:/w=="), Ok(b"\xff".to_vec()));
        assert_eq!(name("base64:YmFzZTY0Og=="), Ok(b"base64:".to_vec()));
        assert!(name("base64:YQ==").is_err());
        assert!(name("base64:*").is_err());
    }
}
