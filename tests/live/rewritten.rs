//! Files of other releases, written for each server: it loads them and has the same values, but for what was said to be lost.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdbtool::encode::compat::{self, Way};
use rdbtool::encode::loss::{Losses, Reason};
use rdbtool::encode::rdb::Rdb;
use rdbtool::encode::{Encode, Part};
use rdbtool::filter::{Filter, Transform};
use rdbtool::out::Out;
use rdbtool::pipeline::{self, OnError, Options, Progress};
use rdbtool::rdb::entry::Entry;
use rdbtool::rdb::header::Header;
use rdbtool::rdb::release::Release;
use rdbtool::rdb::scan::Item;
use rdbtool::rdb::template::Templates;
use rdbtool::rdb::value_type::ValueType;
use rdbtool::rdb::{crc64, write};
use rdbtool::sink::Plain;
use rdbtool::source::Source;
use rdbtool::{Decode, Result};
use serde_json::{Value, json};

use crate::resp::{Reply, cmd};
use crate::server::{Server, installed};
use crate::support::{Case, corpus, for_each};
use crate::told::{databases, keys, normal, told};
use crate::{assert_same, bytes};

/// What many files have in common while they become one.
#[derive(Default)]
struct Merged {
    /// Databases used so far. Each database of each file becomes one of its own.
    dbs: u64,
    /// Values that are in the file already. Many samples hold the same.
    seen: HashSet<u64>,
    /// Number in the new file, by number in the one being read.
    map: BTreeMap<u64, u64>,
    /// What is new in the one being read: database and key.
    taken: HashSet<(u64, Vec<u8>)>,
}

/// Puts the databases of a file into others, and leaves out what is there already.
struct Into<'r> {
    rdb: Rdb,
    release: Release,
    merged: &'r Mutex<Merged>,
    db: Option<u64>,
}

impl Into<'_> {
    /// The key's database in the new file, which is selected; `None` if the key is not wanted.
    fn place(&mut self, e: &Entry<'_>, out: &mut Out<'_>) -> Option<u64> {
        if e.value_type == ValueType::Module2 {
            return None; // no server here has the modules
        }
        let mut merged = self.merged.lock().unwrap();
        let mut hasher = DefaultHasher::new();
        (e.value_type, e.body, e.expire_at_ms.is_some()).hash(&mut hasher);
        if !e.body.is_empty() && !merged.seen.insert(hasher.finish()) {
            return None;
        }
        let next = merged.dbs;
        let db = *merged.map.entry(e.db).or_insert(next);
        merged.dbs = merged.dbs.max(db + 1);
        let key = e.key.as_bytes(&mut Default::default()).unwrap().to_vec();
        merged.taken.insert((e.db, key));
        if self.db != Some(db) {
            write::select_db(db, out);
            self.db = Some(db);
        }
        Some(db)
    }
}

impl Encode for Into<'_> {
    fn item(&mut self, item: &Item<'_>, out: &mut Out<'_>) -> Result<()> {
        match item {
            // Of one name there can be only one library; they are tested elsewhere.
            Item::SelectDb(_) | Item::Function { .. } | Item::FunctionPreGa { .. } => Ok(()),
            Item::ModuleAux { .. } => Ok(()),
            item => self.rdb.item(item, out),
        }
    }

    fn entry(&mut self, e: &Entry<'_>, templates: &Templates, out: &mut Out<'_>) -> Result<()> {
        match self.place(e, out) {
            Some(db) => self.rdb.entry(&Entry { db, ..*e }, templates, out),
            None => Ok(()),
        }
    }

    fn part(&mut self, part: &Part<'_>, elements: &mut u64, out: &mut Out<'_>) -> Result<()> {
        if part.first && self.place(&part.entry, out).is_none() {
            panic!("no two giants are the same");
        }
        let way = compat::way_in_parts(part.entry.value_type, Some(self.release));
        assert!(!matches!(way, Way::Commands), "{:?}", part.entry.value_type);
        self.rdb.part(part, elements, out)
    }
}

/// All samples as one file for a release; what is in it, as decoded, by database and key; and what was lost.
fn file_for(
    release: Release,
    cases: &[(Case, Vec<Value>)],
) -> (Vec<u8>, BTreeMap<(u64, Vec<u8>), Value>, Losses) {
    let header = release.header();
    let mut file = write::header(header).to_vec();
    let mut decoded = BTreeMap::new();
    let mut losses = Losses::default();
    let merged = Mutex::new(Merged::default());
    let filter = Filter::default();
    let transform = Transform::default();
    let options = Options {
        log: Default::default(),
        threads: 1,
        filter: &filter,
        transform: &transform,
        unique: None,
        libraries: None,
        checksum: true,
        on_error: OnError::Stop,
        limit: None,
    };
    for (case, lines) in cases {
        merged.lock().unwrap().map.clear();
        merged.lock().unwrap().taken.clear();
        let (_, encoders) = pipeline::run(
            &mut Source::from_bytes(&case.name, &case.bytes[..]),
            &options,
            &Progress::new(),
            &mut Plain(&mut file),
            |header: Header| Into {
                rdb: Rdb::new(header, Some(release)),
                release,
                merged: &merged,
                db: None,
            },
        )
        .unwrap();
        for e in encoders {
            losses.merge(e.rdb.into_losses());
        }
        let merged = merged.lock().unwrap();
        for line in lines {
            if line.get("key").is_none() {
                continue;
            }
            let place = (line["db"].as_u64().unwrap(), bytes(&line["key"]));
            if !merged.taken.contains(&place) {
                continue;
            }
            let db = merged.map[&place.0];
            let mut line = line.clone();
            line["db"] = json!(db);
            line["from"] = json!(case.name);
            decoded.insert((db, place.1), line);
        }
    }
    let crc = crc64::checksum(&file);
    file.extend(write::file_end(crc, header));
    (file, decoded, losses)
}

/// What `decode` says of a sample, whose own test compares that with what its server said.
fn lines(case: &Case) -> Vec<Value> {
    let mut json = Vec::new();
    Decode::default()
        .run(
            &mut [Source::from_bytes(&case.name, &case.bytes[..])],
            &Progress::new(),
            &mut Plain(&mut json),
        )
        .unwrap();
    let lines = json.split(|&b| b == b'\n').filter(|l| !l.is_empty());
    lines.map(|l| serde_json::from_slice(l).unwrap()).collect()
}

/// Whether anything of a key has expired, or is about to.
fn expires_soon(line: &Value) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    let soon = |v: &Value| {
        v.get("expire_at_ms")
            .and_then(Value::as_i64)
            .is_some_and(|at| at < now + 3_600_000)
    };
    let fields =
        line["type"] == "hash" && line["value"].as_array().is_some_and(|f| f.iter().any(soon));
    soon(line) || fields
}

/// Takes out of both what only one of them can have: what the release that wrote the stream, or the one that loaded it, does not know.
fn in_common(a: &mut Value, b: &mut Value) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.retain(|name, _| b.contains_key(name));
            b.retain(|name, _| a.contains_key(name));
            for (name, a) in a.iter_mut() {
                in_common(a, &mut b[name]);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            a.iter_mut().zip(b).for_each(|(a, b)| in_common(a, b));
        }
        _ => {}
    }
}

#[test]
fn every_sample_is_loaded_by_every_server() {
    let servers = installed().unwrap_or_default();
    if servers.is_empty() {
        return;
    }
    let cases: Vec<_> = corpus()
        .into_iter()
        .map(|case| {
            let lines = lines(&case);
            (case, lines)
        })
        .collect();
    for_each(servers, |installed| {
        let release: Release = installed.name.parse().unwrap();
        let (file, mut decoded, losses) = file_for(release, &cases);
        let server = Server::start_on(installed, &["--databases", "3000"], &file);
        let what = &server.name;
        let c = &mut server.client();
        let deadline = Instant::now() + Duration::from_secs(20);
        while matches!(c.call(&["DBSIZE"]), Reply::Error(e) if e.starts_with("LOADING")) {
            assert!(Instant::now() < deadline, "{what} does not come to an end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let said: Vec<Reason> = losses.iter().map(|l| l.reason).collect();
        let mut lost = HashSet::new();
        let mut asked = 0;
        for db in databases(c) {
            cmd!(c, "SELECT", db.to_string());
            for key in keys(c) {
                let line = decoded
                    .remove(&(db, key.clone()))
                    .unwrap_or_else(|| panic!("{what} has {:?}", key.escape_ascii().to_string()));
                if expires_soon(&line) {
                    continue;
                }
                asked += 1;
                let mut line = normal(line);
                let given = line.get("expire_at_ms").and_then(Value::as_u64);
                let expiry = if server.since((7, 0), (0, 0)) {
                    u64::try_from(cmd!(c, "PEXPIRETIME", key).int()).ok()
                } else {
                    assert_eq!(cmd!(c, "PTTL", key).int() > 0, given.is_some());
                    given
                };
                let mut told = told(&server, c, db, &key, expiry);
                let of = format!("{what}: {} of {}", told["key"], line["from"]);
                for more in ["from", "idle_s", "freq"] {
                    line.as_object_mut().unwrap().shift_remove(more);
                }
                for one in [&mut line, &mut told] {
                    let members = one["value"].as_array_mut().into_iter().flatten();
                    for m in members {
                        // Compact sorted sets of newer servers have no negative zero, nor have old large ones.
                        if m.get("score")
                            .is_some_and(|x| x == "-0.0 = 8000000000000000")
                        {
                            m["score"] = json!("0.0 = 0000000000000000");
                        }
                        if !server.since((7, 4), (9, 0))
                            && m.get("field").is_some()
                            && m.as_object_mut()
                                .unwrap()
                                .shift_remove("expire_at_ms")
                                .is_some()
                        {
                            lost.insert(Reason::FieldExpiry);
                        }
                    }
                }
                if line["type"] == "hash" {
                    for one in [&mut line, &mut told] {
                        one["value"]
                            .as_array_mut()
                            .unwrap()
                            .sort_by_key(Value::to_string);
                    }
                }
                if line["type"] == "stream" {
                    let of = &line["value"];
                    let has = |v: &Value, name: &str| v.get(name).is_some();
                    if !has(&told["value"], "entries_added")
                        && has(of, "entries_added")
                        && (of["entries_added"] != of["length"] || of["max_deleted_id"] != "0-0")
                    {
                        lost.insert(Reason::StreamCounters);
                    }
                    let at = ["value", "idmp"];
                    let idmp = |v: &Value| v.get(at[0]).and_then(|v| v.get(at[1])).is_some();
                    if idmp(&line) && !idmp(&told) {
                        lost.insert(Reason::StreamProducers);
                    }
                    if server.version < (6, 0) {
                        line = without_times_at_all(line);
                        told = without_times_at_all(told);
                    }
                    for one in [&mut line, &mut told] {
                        if let Some(idmp) =
                            one["value"].get_mut("idmp").and_then(Value::as_object_mut)
                        {
                            // A server forgets ids when their time has passed, which is long ago.
                            idmp.shift_remove("producers");
                            idmp.shift_remove("iids");
                        }
                    }
                    in_common(&mut line, &mut told);
                }
                assert_same(&of, &line, &told);
            }
        }
        for line in decoded.values() {
            let stream = line["type"] == "stream" && server.version < (5, 0);
            if stream {
                lost.insert(Reason::Stream);
            }
            let known = stream || expires_soon(line);
            assert!(
                known,
                "{what} does not have {} of {}",
                line["key"], line["from"]
            );
        }
        for reason in [
            Reason::Stream,
            Reason::FieldExpiry,
            Reason::StreamCounters,
            Reason::StreamProducers,
        ] {
            assert_eq!(
                said.contains(&reason),
                lost.contains(&reason),
                "{what}: {reason} {:?}",
                losses.iter().find(|l| l.reason == reason)
            );
        }
        assert!(asked > 2000, "{what} has {asked} keys only");
    });
}

/// Redis 5 tells times only as time that has passed since.
fn without_times_at_all(mut line: Value) -> Value {
    for group in line["value"]["groups"].as_array_mut().into_iter().flatten() {
        for (list, time) in [("pending", "delivered_at_ms"), ("consumers", "seen_at_ms")] {
            for one in group[list].as_array_mut().into_iter().flatten() {
                one.as_object_mut().unwrap().shift_remove(time);
            }
        }
    }
    line
}
