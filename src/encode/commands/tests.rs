use super::*;
use crate::filter::{Filter, Transform};
use crate::pipeline::{self, OnError, Progress};
use crate::rdb::length;
use crate::rdb::packed::testing::hex;
use crate::sink::Plain;
use crate::source::Source;

/// The arguments of each command.
fn parse(mut all: &[u8]) -> Vec<Vec<Vec<u8>>> {
    fn number(kind: u8, rest: &mut &[u8]) -> usize {
        let end = rest.windows(2).position(|w| w == b"\r\n").unwrap();
        let (line, after) = rest.split_at(end);
        assert_eq!(line[0], kind);
        *rest = &after[2..];
        std::str::from_utf8(&line[1..]).unwrap().parse().unwrap()
    }
    let mut commands = Vec::new();
    while !all.is_empty() {
        let mut command = Vec::new();
        for _ in 0..number(b'*', &mut all) {
            let n = number(b'$', &mut all);
            let (arg, rest) = all.split_at(n);
            all = rest.strip_prefix(b"\r\n").unwrap();
            command.push(arg.to_vec());
        }
        commands.push(command);
    }
    commands
}

/// Commands as lines of words.
fn text(all: &[u8]) -> Vec<String> {
    let line = |c: &Vec<Vec<u8>>| {
        let words = c.iter().map(|a| a.escape_ascii().to_string());
        words.collect::<Vec<_>>().join(" ")
    };
    parse(all).iter().map(line).collect()
}

const REDIS: Header = Header {
    dialect: Dialect::Redis,
    version: 15,
};

/// The commands of one value, given as a payload, for a key `k`; and what was lost.
fn of_payload(payload: &[u8], release: Option<Release>) -> (Vec<String>, Vec<Reason>) {
    let (&label, _) = payload[payload.len() - 10..].split_first().unwrap();
    let dialect = match label {
        80.. => Dialect::Valkey,
        _ => Dialect::Redis,
    };
    let entry = Entry {
        db: 0,
        key: RdbStr::raw(b"k", 0),
        expire_at_ms: None,
        idle_s: None,
        freq: None,
        value_type: ValueType::from_byte(payload[0], dialect).unwrap(),
        metadata: &[],
        body: &payload[1..payload.len() - 10],
        body_offset: 0,
        offset: 0,
    };
    let options = Options {
        release,
        replace: false,
    };
    let header = Header {
        dialect,
        version: label.into(),
    };
    let mut encoder = Commands::new(header, options);
    let mut out = Out::new();
    encoder
        .entry(&entry, &Templates::default(), &mut out)
        .unwrap();
    let losses = encoder.into_losses();
    let reasons = losses.iter().map(|l| l.reason).collect();
    (text(out.as_bytes()), reasons)
}

/// Values as servers dumped them, and what their rewrites would say.
#[test]
fn what_servers_dumped() {
    let rows: &[(&str, &str, &[&str])] = &[
        (
            "string",
            "000568656c6c6f0a006372df766534200a",
            &["SET k hello"],
        ),
        (
            "an integer",
            "00c17fff0600818deaa8a1d5b813",
            &["SET k -129"],
        ),
        (
            "LZF",
            "00c30d1f016161e00e00006220000162620600755f9603704bdafa",
            &["SET k aaaaaaaaaaaaaaaaaaaaaaaaabbbbbb"],
        ),
        (
            "list",
            "0e0114140000000f000000030000016103f202c02c01ff070049eb886f82a220c5",
            &["RPUSH k a 1 300"],
        ),
        (
            "set",
            "0b14040000000300000001000000020000007011010006001338a986ae48ecc6",
            &["SADD k 1 2 70000"],
        ),
        (
            "scores",
            "03050163ff0162fe016103312e3501640133016513302e3130303030303030303030303030303031060053e073a6fa002583",
            &["ZADD k -inf c inf b 1.5 a 3 d 0.1 e"],
        ),
        (
            "a negative zero",
            "0501016100000000000000800f000000000000000000",
            &["ZADD k -0.0 a", "ZADD k 1 a -0 a"],
        ),
        (
            "a negative zero in a small sorted set",
            "110e0e0000000200816102822d3003ff0f000000000000000000",
            &[r"RESTORE k 0 \x11\x0e\x0e\x00\x00\x00\x02\x00\x81a\x02\x82-0\x03\xff"],
        ),
        (
            "hash",
            "1012120000000400816602817602816e020701ff0a00b82adea8407ffaa8",
            &["HMSET k f v n 7"],
        ),
        (
            "stream of 5.0",
            "0f011000000000000000010000000000000001363600000016000201010101018161020001020100010001010104010301000101010201040100010101dfff02010181620203010601ff02020001016701010100000000000000010000000000000001819ea5faa101000001010163819ea5faa101000001000000000000000100000000000000010900fb066a002a14fab7",
            &[
                "XADD k 1-1 a 1",
                "XADD k 2-0 b 3",
                "XSETID k 2-0",
                "XGROUP CREATE k g 1-1",
                "XCLAIM k g c 0 1-1 TIME 1795206520449 RETRYCOUNT 1 JUSTID FORCE",
            ],
        ),
        (
            "empty stream",
            "0f00000707000900ef8a4a6fa2147078",
            &["XADD k MAXLEN 0 0-1 x y", "XSETID k 7-7"],
        ),
        (
            "stream of 7.0",
            "13011000000000000000010000000000000001363600000016000201010101018161020001020100010001010104010301000101010201040100010101dfff02010181620203010601ff0202000101010203010167010181ffffffffffffffff0100000000000000010000000000000001ef9ea5faa101000001010163ef9ea5faa101000001000000000000000100000000000000010a005d454401c1a9ef51",
            &[
                "XADD k 1-1 a 1",
                "XADD k 2-0 b 3",
                "XSETID k 2-0 ENTRIESADDED 3 MAXDELETEDID 1-2",
                "XGROUP CREATE k g 1-1 ENTRIESREAD -1",
                "XCLAIM k g c 0 1-1 TIME 1795206520559 RETRYCOUNT 1 JUSTID FORCE",
            ],
        ),
        (
            "a consumer without anything",
            "150110000000000000000100000000000000011c1c0000000a00010100010101816102000102010001000101010401ff0101010101000001010167000081ffffffffffffffff00010163769fa5faa1010000ffffffffffffffff000b00732e09b878adb3df",
            &[
                "XADD k 1-1 a 1",
                "XSETID k 1-1 ENTRIESADDED 1 MAXDELETEDID 0-0",
                "XGROUP CREATE k g 0-0 ENTRIESREAD -1",
                "XGROUP CREATECONSUMER k g c",
            ],
        ),
        (
            "field expiry",
            "1800d8c32cbb030000035389016b017a000167017701016601760c00b4465ede1c2a6245",
            &[
                "HMSET k k z g w f v",
                "HPEXPIREAT k 4102444805000 FIELDS 1 k",
                "HPEXPIREAT k 4102444800000 FIELDS 1 f",
            ],
        ),
        (
            "field expiry of Valkey",
            "16020166017600d8c32cbb03000001670177ffffffffffffffff5000e60a2f75e1b45a59",
            &["HMSET k f v g w", "HPEXPIREAT k 4102444800000 FIELDS 1 f"],
        ),
        (
            "idempotent producers",
            "1a0110000001a1faa180aa000000000000000028280000000f00020100010101816102000102010001000181620204010201000101018163020401ff0281000001a1faa180aa0181000001a1faa180aa0000000200406440640202703101046969643181000001a1faa180aa000270320110893fd0cf5414759ee1ddbfcd0814bd6981000001a1faa180aa0102010d0096c7039b03f6a43f",
            &[
                "XADD k 1795206250666-0 a b",
                "XIDMPRECORD k p1 iid1 1795206250666-0",
                "XADD k 1795206250666-1 a c",
                r"XIDMPRECORD k p2 \x89?\xd0\xcfT\x14u\x9e\xe1\xdd\xbf\xcd\x08\x14\xbdi 1795206250666-1",
                "XSETID k 1795206250666-1 ENTRIESADDED 2 MAXDELETEDID 0-0",
            ],
        ),
        (
            "without an owner",
            "1b011000000000000000010000000000000001333300000014000301000101018161020001020100010001816202040102010101000181630204010201020100018164020401ff030301010100000301016703010303000000000000000100000000000000013581a1faa10100000100000000000000020000000000000001000000000000000000000000000000000300000000000000013581a1faa1010000010101633581a1faa10100003581a1faa10100000200000000000000010000000000000001000000000000000300000000000000010100000000000000020000000000000001406440640000000e000606be71b53fc9db",
            &[
                "XADD k 1-1 a b",
                "XADD k 2-1 a c",
                "XADD k 3-1 a d",
                "XSETID k 3-1 ENTRIESADDED 3 MAXDELETEDID 0-0",
                "XGROUP CREATE k g 3-1 ENTRIESREAD 3",
                "XCLAIM k g c 0 1-1 TIME 1795206250805 RETRYCOUNT 1 JUSTID FORCE",
                "XNACK k g FAIL IDS 1 2-1 RETRYCOUNT 0 FORCE",
                "XCLAIM k g c 0 3-1 TIME 1795206250805 RETRYCOUNT 1 JUSTID FORCE",
            ],
        ),
        (
            "names beside the values",
            "1d0017170000000200866669656c643107866669656c643207ff0d0d0000000300000101010201ff0f000000000000000000",
            &["HMSET k field1 1 field2 2"],
        ),
    ];
    for (name, dump, want) in rows {
        let found = of_payload(&hex(dump), None).0;
        let is_payload = |(a, b): (&String, &&str)| b.starts_with("RESTORE") && a.starts_with(b);
        let same = found == *want || found.iter().zip(*want).all(is_payload);
        assert!(same, "{name}: {found:#?}");
    }
    // A module value and an array are given back as they were dumped, but for the label.
    for dump in [
        "0781b5eb2dfffadd6c010201050568656c6c6f030000c03f05c30f16043078612e61e00300043965702d35000c00328857b1011bce54",
        "1c010100000301780e00f69bc55ec0048815",
    ] {
        let payload = hex(dump);
        let release = Some(Release::redis(8, 8));
        let (commands, lost) = of_payload(&payload, release);
        assert!(lost.is_empty());
        let body = payload[..payload.len() - 10].escape_ascii().to_string();
        let start = format!("RESTORE k 0 {body}");
        assert!(commands.len() == 1 && commands[0].starts_with(&start));
    }
    let array = hex("1c010100000301780e00f69bc55ec0048815");
    let want = format!("RESTORE k 0 {}", array.escape_ascii());
    assert_eq!(of_payload(&array, None).0, [want]);
}

#[test]
fn what_older_releases_lose() {
    use Reason as R;
    let expiries = hex("1800d8c32cbb030000035389016b017a000167017701016601760c00b4465ede1c2a6245");
    let counters = hex(
        "13011000000000000000010000000000000001363600000016000201010101018161020001020100010001010104010301000101010201040100010101dfff02010181620203010601ff0202000101010203010167010181ffffffffffffffff0100000000000000010000000000000001ef9ea5faa101000001010163ef9ea5faa101000001000000000000000100000000000000010a005d454401c1a9ef51",
    );
    let idle = hex(
        "150110000000000000000100000000000000011c1c0000000a00010100010101816102000102010001000101010401ff0101010101000001010167000081ffffffffffffffff00010163769fa5faa1010000ffffffffffffffff000b00732e09b878adb3df",
    );
    let nack = hex(
        "1b011000000000000000010000000000000001333300000014000301000101018161020001020100010001816202040102010101000181630204010201020100018164020401ff030301010100000301016703010303000000000000000100000000000000013581a1faa10100000100000000000000020000000000000001000000000000000000000000000000000300000000000000013581a1faa1010000010101633581a1faa10100003581a1faa10100000200000000000000010000000000000001000000000000000300000000000000010100000000000000020000000000000001406440640000000e000606be71b53fc9db",
    );
    let vectors = hex(
        "0781bde72da2bb1eb4000202020102500002000502656c05089a99193fcdcc4c3f02060201028001000000020002200200028040a00000000c00326c9cc48e17b975",
    );
    let array = hex("1c010100000301780e00f69bc55ec0048815");
    let rows: &[(&[u8], Release, &[Reason])] = &[
        (&expiries, Release::redis(7, 2), &[R::FieldExpiry]),
        (&expiries, Release::valkey(8, 1), &[R::FieldExpiry]),
        (&expiries, Release::valkey(9, 0), &[]),
        (
            &counters,
            Release::redis(6, 2),
            &[R::StreamCounters, R::ConsumerTimes],
        ),
        (&counters, Release::redis(4, 0), &[R::Stream]),
        (&idle, Release::redis(7, 0), &[R::ConsumerTimes]),
        (
            &nack,
            Release::redis(8, 6),
            &[R::ConsumerTimes, R::PendingUnowned],
        ),
        (&vectors, Release::redis(7, 4), &[R::Module]),
        (&vectors, Release::redis(8, 0), &[]),
        (&vectors, Release::valkey(9, 0), &[R::Module]),
        (&array, Release::redis(8, 6), &[R::Array]),
    ];
    for (i, (payload, release, want)) in rows.iter().enumerate() {
        let (commands, lost) = of_payload(payload, Some(*release));
        assert_eq!(lost, *want, "{i}: {release}");
        let whole = lost.iter().any(|r| r.is_whole_key());
        assert_eq!(commands.is_empty(), whole, "{i}: {release}");
    }
    // Before there was a command for it.
    let commands = of_payload(&idle, Some(Release::redis(6, 0))).0;
    assert_eq!(commands[3], "XREADGROUP GROUP g c STREAMS k 0");
}

fn string(s: &[u8], out: &mut Vec<u8>) {
    length::write(s.len() as u64, out);
    out.extend_from_slice(s);
}

/// The commands of a file, in pieces or not, with this many threads.
fn run(file: &[u8], threads: usize, mapped: bool, options: Options) -> (Vec<u8>, Losses) {
    let how = pipeline::Options {
        log: Default::default(),
        threads,
        filter: &Filter::default(),
        transform: &Transform::default(),
        unique: None,
        libraries: None,
        checksum: false,
        on_error: OnError::Stop,
        limit: None,
    };
    let mut source = match mapped {
        true => Source::from_bytes("test", file),
        false => Source::from_reader("test", std::io::Cursor::new(file.to_vec())),
    };
    let mut out = Vec::new();
    let sink = &mut Plain(&mut out);
    let (_, encoders) = pipeline::run(&mut source, &how, &Progress::new(), sink, |h| {
        Commands::new(h, options)
    })
    .unwrap();
    let mut losses = Losses::default();
    encoders
        .into_iter()
        .for_each(|e| losses.merge(e.into_losses()));
    (out, losses)
}

/// The same without the pipeline: each value is whole.
fn plainly(file: &[u8], options: Options) -> (Vec<u8>, Losses) {
    let mut scanner = crate::rdb::scan::Scanner::new(file).unwrap();
    let mut encoder = Commands::new(scanner.header(), options);
    let mut out = Out::new();
    while let Some(item) = scanner.next_item().unwrap() {
        match item {
            Item::Key(e) => encoder.entry(&e, scanner.templates(), &mut out).unwrap(),
            other => encoder.item(&other, &mut out).unwrap(),
        }
    }
    (out.as_bytes().to_vec(), encoder.into_losses())
}

/// Puts together what consecutive commands add to one key, so that it does not matter where each ends; expiries of fields are
/// set behind the command that has the field, so they are gathered by themselves.
fn joined(all: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut done: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut later = Vec::new();
    for command in parse(all) {
        let adds = [&b"RPUSH"[..], b"SADD", b"ZADD", b"HMSET"].contains(&&command[0][..]);
        if command[0] == b"HPEXPIREAT" {
            later.push(command);
            continue;
        }
        match done.last_mut() {
            Some(last) if adds && last[..2] == command[..2] => {
                assert!((command.len() - 2) <= 128);
                last.extend_from_slice(&command[2..]);
            }
            _ => done.push(command),
        }
    }
    done.extend(later);
    done
}

#[test]
fn whole_and_in_parts() {
    let n = 40_000u64;
    let mut file = b"REDIS0012\xfe\x03".to_vec();
    for t in [1, 2, 4, 5, 24] {
        file.extend(b"\xfc\x00\xd8\xc3\x2c\xbb\x03\x00\x00");
        file.extend([t, 1, b'a' + t]);
        if t == 24 {
            file.extend(1000i64.to_le_bytes());
        }
        length::write(n, &mut file);
        for i in 0..n {
            if t == 24 {
                length::write(i % 3, &mut file);
            }
            string(format!("field:{i}").as_bytes(), &mut file);
            match t {
                4 | 24 => string(format!("value {i}").as_bytes(), &mut file),
                5 => file.extend((i as f64 / 7.0).to_le_bytes()),
                _ => {}
            }
        }
    }
    file.extend(b"\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0");
    for release in [None, Some(Release::redis(6, 2))] {
        let options = Options {
            release,
            replace: true,
        };
        let (whole, lost) = plainly(&file, options);
        let whole = joined(&whole);
        assert_eq!(lost.is_empty(), release.is_none());
        let mut first = None;
        for (threads, mapped) in [(1, true), (1, false), (2, true), (5, false)] {
            let (parts, lost_too) = run(&file, threads, mapped, options);
            assert!(joined(&parts) == whole, "{threads} {mapped}");
            assert_eq!(lost_too, lost);
            if mapped && first.replace(parts.clone()).is_some_and(|f| f != parts) {
                panic!("other commands with {threads} threads");
            }
        }
    }
}

/// A stream of `n` entries, one a node, of which every tenth pends; one pending entry is of an id that is no longer there.
fn stream(n: u64, deleted: bool, file: &mut Vec<u8>) {
    file.extend(b"\x13\x01s");
    length::write(n, file);
    let id = |i: u64| [i.to_be_bytes(), 1u64.to_be_bytes()].concat();
    for i in 1..=n {
        string(&id(2 * i), file);
        let listpack: &[u8] = b"\x1d\0\0\0\x0a\0\x01\x01\x00\x01\x01\x01\x81a\x02\x00\x01\x02\x01\x00\x01\x00\x01\x81b\x02\x04\x01\xff";
        string(listpack, file);
    }
    for x in [n, 2 * n, 1, 2, 1, 0, 0, n, 1] {
        length::write(x, file);
    }
    string(b"group", file);
    for x in [2 * n, 1, 5] {
        length::write(x, file);
    }
    let mut pending: Vec<u64> = (1..=n).filter(|i| i % 10 == 0).map(|i| 2 * i).collect();
    if deleted {
        pending.insert(1, pending[0] + 1);
    }
    length::write(pending.len() as u64, file);
    for &i in &pending {
        file.extend(id(i));
        file.extend(1_700_000_000_000i64.to_le_bytes());
        file.push(3);
    }
    file.push(1);
    string(b"consumer", file);
    file.extend([0; 8]);
    length::write(pending.len() as u64, file);
    pending.iter().for_each(|&i| file.extend(id(i)));
}

#[test]
fn streams_with_many_pending_entries() {
    let n = 100_000;
    for deleted in [false, true] {
        let mut file = b"REDIS0010\xfe\x00".to_vec();
        stream(n, deleted, &mut file);
        file.extend(b"\xff\0\0\0\0\0\0\0\0");
        let (whole, lost) = plainly(&file, Options::default());
        let commands = parse(&whole);
        let count = |name: &[u8]| commands.iter().filter(|c| c[0] == name).count() as u64;
        assert_eq!(count(b"XADD"), n);
        assert_eq!(count(b"XCLAIM"), n / 10 + u64::from(deleted));
        assert_eq!(count(b"XGROUP"), 1 + u64::from(deleted));
        let reasons: Vec<_> = lost.iter().map(|l| l.reason).collect();
        assert_eq!(reasons.contains(&Reason::PendingDeleted), deleted);
        for (threads, mapped) in [(1, true), (2, true), (3, false)] {
            let (parts, lost_too) = run(&file, threads, mapped, Options::default());
            assert!(parts == whole && lost == lost_too, "{threads} {mapped}");
        }
    }
}

#[test]
fn commands_have_at_most_64_elements() {
    for n in [1u64, 3, 4, 7, 8, 48, 49, 63, 64, 65, 128, 129, 300] {
        for (t, packed) in [(2, false), (4, false), (18, true), (16, true)] {
            let mut body = Vec::new();
            let numbers: Vec<Element<'_>> = (0..n as i64 * if t == 16 { 2 } else { 1 })
                .map(Element::Int)
                .collect();
            let blob = crate::rdb::packed::listpack::build(&numbers);
            match (t, packed) {
                (18, _) => {
                    body.extend([1, 2]);
                    string(&blob, &mut body);
                }
                (16, _) => string(&blob, &mut body),
                _ => {
                    length::write(n, &mut body);
                    for i in 0..n * if t == 4 { 2 } else { 1 } {
                        string(i.to_string().as_bytes(), &mut body);
                    }
                }
            }
            let payload = [&[t], &body[..], &[15, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
            let mut next = 0;
            let width = if t == 4 || t == 16 { 2 } else { 1 };
            let commands = of_payload(&payload, None).0;
            assert_eq!(commands.len() as u64, n.div_ceil(64), "{t} {n}");
            for c in commands {
                let words: Vec<&str> = c.split(' ').skip(2).collect();
                assert!(words.len() <= 64 * width);
                for w in words {
                    assert_eq!(w, next.to_string());
                    next += 1;
                }
            }
            assert_eq!(next, n * width as u64);
        }
    }
}

#[test]
fn large_elements_have_commands_of_their_own() {
    let large = vec![b'x'; 3 << 20];
    let mut file = b"REDIS0010\x01\x00\x05".to_vec();
    for s in [&b"a"[..], &large, b"", b"\r\n", &large[..100_000]] {
        string(s, &mut file);
    }
    file.extend(b"\x00\x00");
    string(&large, &mut file);
    file.extend(b"\xff\0\0\0\0\0\0\0\0");
    let (out, _) = run(&file, 1, true, Options::default());
    let commands = parse(&out);
    let rpush = |args: &[&[u8]]| -> Vec<Vec<u8>> {
        let all = [&[&b"RPUSH"[..], b""], args].concat();
        all.iter().map(|a| a.to_vec()).collect()
    };
    assert!(
        commands
            == [
                rpush(&[b"a"]),
                rpush(&[&large]),
                rpush(&[b"", b"\r\n"]),
                rpush(&[&large[..100_000]]),
                vec![b"SET".to_vec(), vec![], large],
            ]
    );
}

#[test]
fn what_stands_beside_the_values() {
    let mut out = Out::new();
    let mut new = Commands::new(REDIS, Options::default());
    let old = Options {
        release: Some(Release::redis(6, 2)),
        ..Options::default()
    };
    let mut old = Commands::new(REDIS, old);
    let code = RdbStr::raw(b"#!lua name=lib\nredis.register_function()", 0);
    let items = [
        Item::Function { code },
        Item::FunctionPreGa {
            name: RdbStr::raw(b"m", 0),
            engine: RdbStr::raw(b"LUA", 0),
            code: RdbStr::raw(b"code", 0),
        },
        Item::SelectDb(12),
        Item::Aux {
            name: RdbStr::raw(b"lua", 0),
            value: RdbStr::raw(b"return 1", 0),
        },
        Item::Aux {
            name: RdbStr::raw(b"ctime", 0),
            value: RdbStr::raw(b"1", 0),
        },
    ];
    for item in &items {
        new.item(item, &mut out).unwrap();
    }
    let want = [
        r"FUNCTION LOAD #!lua name=lib\nredis.register_function()",
        r"FUNCTION LOAD #!lua name=m\ncode",
        "SELECT 12",
        "SCRIPT LOAD return 1",
    ];
    assert_eq!(text(out.as_bytes()), want);
    out.truncate(0);
    for item in &items {
        old.item(item, &mut out).unwrap();
    }
    assert_eq!(text(out.as_bytes()), want[2..]);
    let losses = old.into_losses();
    let told: Vec<_> = losses.iter().map(|l| (l.reason, &l.examples[..])).collect();
    let names = [(0, "\"lib\"".into()), (0, "\"m\"".into())];
    assert_eq!(told, [(Reason::Function, &names[..])]);
    assert_eq!(text(PROLOGUE), ["SELECT 0"]);
}
