use super::*;

const A: &str = "d826a972ba028ae0e1c8883f1a4f04990e99fd47";
const B: &str = "60296537e40ba2e95d15eaed6faeb960c707b6a7";
const C: &str = "768a31b8b350628d0cab5003c9c8577bba28c879";

/// The same cluster of three in every form there is; as Redis 7.0, Redis 6.0 and Valkey 9 print it.
fn forms() -> Vec<(&'static str, String)> {
    let nodes = format!(
        "{C} 127.0.0.1:31002@41002 master - 0 1795279770490 3 connected 10923-16383\n\
         {B} 127.0.0.1:31001@41001 master - 0 1795279769485 2 connected 5461-10922\n\
         {A} 127.0.0.1:31000@41000 myself,master - 0 1795279769000 1 connected 0-5460\n"
    );
    let conf = format!(
        "{A} 127.0.0.1:31000@41000,,tls-port=0,shard-id={A} myself,master - 0 0 1 connected 0-5460\n\
         {B} 127.0.0.1:31001@41001,,tls-port=0,shard-id={B} master - 0 0 2 connected 5461-8000 8001 8002-10922\n\
         {C} 127.0.0.1:31002@41002,a.b,tls-port=0,shard-id={C} master - 0 0 3 connected 10923-16383\n\
         0{} 127.0.0.1:31003@41003 slave {C} 0 0 3 connected\n\
         1{} :0@0 master,noaddr,fail - 0 0 0 disconnected\n\
         vars currentEpoch 3 lastVoteEpoch 0\n",
        &A[1..],
        &A[1..],
    );
    let slots = format!(
        "0\n5460\n127.0.0.1\n31000\n{A}\n\n5461\n10922\n127.0.0.1\n31001\n{B}\nhostname\nhost-2\n127.0.0.1\n31005\n{C}\n\n\
         10923\n16383\n127.0.0.1\n31002\n{C}\n\n\n"
    );
    let old_slots = "0\n5460\n127.0.0.1\n31000\n5461\n10922\n127.0.0.1\n31001\n127.0.0.1\n31005\n10923\n16383\n127.0.0.1\n31002\n";
    let shown = |first: u16, last: u16, port: u16, id: &str, i: usize| {
        format!(
            "{i}) 1) (integer) {first}\n   2) (integer) {last}\n   3) 1) \"127.0.0.1\"\n      2) (integer) {port}\n      \
             3) \"{id}\"\n      4) (empty array)\n"
        )
    };
    let tty = [
        shown(0, 5460, 31000, A, 1),
        shown(5461, 10922, 31001, B, 2),
        shown(10923, 16383, 31002, C, 3),
    ];
    let shard = |first: u16, last: u16, port: u16, id: &str| {
        format!(
            "slots\n{first}\n{last}\nnodes\nid\n{A}\nport\n39999\nip\n127.0.0.1\nendpoint\n127.0.0.1\nrole\nreplica\nhealth\nonline\n\
             id\n{id}\nport\n{port}\nip\n127.0.0.1\nendpoint\n?\nhostname\n\nrole\nmaster\nreplication-offset\n0\nhealth\nonline\n\
             id\n{B}\n"
        )
    };
    let shards = [
        shard(10923, 16383, 31002, C),
        "slots\n\nnodes\nid\n1111111111111111111111111111111111111111\nport\n7\nrole\nmaster\n"
            .to_owned(),
        shard(0, 5460, 31000, A),
        shard(5461, 10922, 31001, B),
    ];
    let tty_shard = |first: u16, last: u16, port: u16, id: &str, i: usize| {
        format!(
            "{i}) 1) \"slots\"\n   2) 1) (integer) {first}\n      2) (integer) {last}\n   3) \"nodes\"\n   4) 1)  1) \"id\"\n          \
             2) \"{id}\"\n          3) \"tls-port\"\n          4) (integer) {port}\n          5) \"ip\"\n          6) \"127.0.0.1\"\n         \
             10) \"role\"\n         11) \"master\"\n"
        )
    };
    let tty_shards = [
        tty_shard(0, 5460, 31000, A, 1),
        tty_shard(5461, 10922, 31001, B, 2),
        tty_shard(10923, 16383, 31002, C, 3),
    ];
    let tty3 = |first: u16, last: u16, port: u16, id: &str, i: usize| {
        format!(
            "{i}) 1# \"slots\" => \n      1) (integer) {first}\n      2) (integer) {last}\n   2# \"nodes\" => \n      \
             1) 1# \"id\" => \"{id}\"\n         2# \"port\" => (integer) {port}\n         3# \"ip\" => \"127.0.0.1\"\n         \
             5# \"role\" => \"master\"\n   3# \"id\" => \"{id}\"\n"
        )
    };
    let tty3 = [
        tty3(0, 5460, 31000, A, 1),
        tty3(5461, 10922, 31001, B, 2),
        tty3(10923, 16383, 31002, C, 3),
    ];
    let json_shard = |first: u16, last: u16, port: u16, id: &str| {
        format!(
            "{{\"slots\":[{first},{last}],\"nodes\":[{{\"id\":\"{id}\",\"port\":{port},\"ip\":\"127.0.0.1\",\"endpoint\":\"127.0.0.1\",\
             \"role\":\"master\",\"replication-offset\":0,\"health\":\"online\"}}],\"id\":\"{id}\"}}"
        )
    };
    let node = |host: &str, port: u16, id: &str| {
        let n = host.len();
        format!("*4\r\n${n}\r\n{host}\r\n:{port}\r\n$40\r\n{id}\r\n*0\r\n")
    };
    let resp = format!(
        "*3\r\n*3\r\n:0\r\n:5460\r\n{}*4\r\n:5461\r\n:10922\r\n{}{}*3\r\n:10923\r\n:16383\r\n{}",
        node("127.0.0.1", 31000, A),
        node("", 31001, B),
        node("127.0.0.1", 31009, C),
        node("127.0.0.1", 31002, C)
    );
    let planned = |slots: &str, port: u16, id: &str| {
        format!("{{\"slots\": \"{slots}\", \"address\": \"127.0.0.1:{port}\", \"id\": \"{id}\"}}")
    };
    vec![
        ("nodes, as RESP", format!("${}\r\n{nodes}\r\n", nodes.len())),
        ("nodes", nodes.clone()),
        ("nodes, of Windows", nodes.replace('\n', "\r\n")),
        ("nodes.conf", conf),
        ("slots", slots),
        ("slots, 3.2", old_slots.to_owned()),
        ("slots, shown", tty.concat()),
        ("slots, as RESP", resp),
        (
            "slots, as JSON",
            format!(
                "[[0,5460,[\"127.0.0.1\",31000,\"{A}\",{{}}]],[5461,10922,[\"127.0.0.1\",31001,\"{B}\",{{\"hostname\":\"x\"}}]],\
                 [10923,16383,[\"127.0.0.1\",31002,\"{C}\",{{}}]]]"
            ),
        ),
        ("shards", shards.concat()),
        ("shards, shown", tty_shards.concat()),
        ("shards, shown, version 3", tty3.concat()),
        (
            "shards, as JSON",
            format!(
                "[{},{},{}]",
                json_shard(0, 5460, 31000, A),
                json_shard(5461, 10922, 31001, B),
                json_shard(10923, 16383, 31002, C)
            ),
        ),
        (
            "planned",
            format!(
                "{{\"nodes\": [{}, {}, {}]}}",
                planned("0-5460", 31000, A),
                planned("5461-7000, 7001,7002-10922", 31001, B),
                planned("10923-16383", 31002, C)
            ),
        ),
        (
            "planned, as TOML",
            format!(
                "\n# three nodes\n[[nodes]]\nslots = \"0-5460\"\naddress = '127.0.0.1:31000'\nid = \"{A}\"\n\n[[ nodes ]] # the second\n\
                 id = \"{B}\"\nslots = \"\"\"\n5461-7000, 7001,7002-10922\"\"\"\naddress = \"127.0.0.1:31001\"\r\n\
                 [[nodes]]\nslots = \"10923-16383\"\naddress = \"127.0.0.1:31002\"\nid = \"{C}\"\n"
            ),
        ),
        (
            "planned, as a list in TOML",
            format!(
                "nodes = [ {{ slots = \"0-5460\", address = \"127.0.0.1:31000\", id = \"{A}\" }},\n  # and\n  \
                 {{ slots = \"5461-10922\", address = \"127.0.0.1:31001\", id = \"{B}\" }},\n  \
                 {{ slots = \"10923-16383\", address = \"127.0.0.1:31002\", id = \"{C}\" }}, ]\n"
            ),
        ),
    ]
}

#[test]
fn every_form_tells_the_same() {
    for (name, text) in forms() {
        let t =
            topology(text.as_bytes(), Some("127.0.0.1")).unwrap_or_else(|e| panic!("{name}: {e}"));
        let got: Vec<_> = t
            .nodes()
            .iter()
            .map(|n| (n.id.as_deref(), n.to_string(), n.slots.to_string()))
            .collect();
        let id = |id| Some(id).filter(|_| name != "slots, 3.2");
        let want = [
            (id(A), "127.0.0.1:31000".to_owned(), "0-5460".to_owned()),
            (id(B), "127.0.0.1:31001".to_owned(), "5461-10922".to_owned()),
            (
                id(C),
                "127.0.0.1:31002".to_owned(),
                "10923-16383".to_owned(),
            ),
        ];
        assert_eq!(got, want, "{name}");
        assert_eq!((t.owner(5460), t.owner(5461), t.owner(16383)), (0, 1, 2));
    }
}

#[test]
fn what_was_planned_keeps_its_order() {
    let t = topology(br#"["8192-16383", "0-8191"]"#, None).unwrap();
    assert_eq!((t.owner(0), t.owner(16383)), (1, 0));
    let t = topology(
        br#"[{"slots":"100-16383"},{"slots":"0-99","address":"[::1]:7"}]"#,
        None,
    )
    .unwrap();
    assert_eq!(t.nodes()[1].to_string(), "[::1]:7");
    for text in [
        "nodes = [\"8192-16383\", '0-8191']",
        "[[nodes]]\nslots=\"8192-16383\"\n[[nodes]]\nslots=\"0-8191\"",
        "\u{feff}\"nodes\" = [{slots=\"8192-16383\"}, \"0-8191\"]",
    ] {
        let t = topology(text.as_bytes(), None).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!((t.owner(0), t.owner(16383)), (1, 0), "{text}");
    }
}

/// What is wrong, and what is said of it.
#[test]
fn one_clear_line_each() {
    let line = |id: &str, flags: &str, slots: &str| {
        format!("{id} 127.0.0.1:7000@17000 {flags} - 0 0 1 connected {slots}\n")
    };
    let two = |first: &str, second: &str| line(A, "master", first) + &line(B, "master", second);
    let rows: Vec<(String, &str)> = vec![
        (String::new(), "nothing where nodes.conf"),
        ("hello".to_owned(), "\"hello\" where nodes.conf"),
        (
            "(error) ERR This instance has cluster support disabled".to_owned(),
            "where nodes.conf",
        ),
        (
            two("0-8191", "8000-16383"),
            "line 2: slot 8000 is given to 127.0.0.1:7000 and to 127.0.0.1:7000",
        ),
        (
            two("0-8191", "8193-16383"),
            "1 of 16384 slots have no node: 8192",
        ),
        (
            two("0-10 20 30 40 50 60 70", "100"),
            "slots have no node: 11-19,21-29,31-39,41-49,51-59 ...",
        ),
        (
            two("0-8191", "8192-16384"),
            "line 2: node 60296537e40ba2e95d15eaed6faeb960c707b6a7: \"8192-16384\" where slots",
        ),
        (two("0-8191", "x"), "\"x\" where slots are expected"),
        (
            two("0-16383", &format!("[7->-{A}]")),
            "line 2: slot 7 is on its way from node 6029",
        ),
        (
            two("0-16383", &format!("[7-<-{A}]")),
            "line 2: slot 7 is on its way to node 6029",
        ),
        (
            line(A, "master,fail", "0-16383"),
            "has failed, and slots 0-16383 are its own",
        ),
        (line(A, "master,noaddr", "0-16383"), "has no known address"),
        (
            line(A, "handshake", "0-16383"),
            "is not part of the cluster yet",
        ),
        (line(A, "master", "5-3"), "5-3 is no range of slots"),
        (line(A, "master", "").repeat(2), "no node has any slot"),
        (
            format!(
                "{}\n{A} 1.2.3.4:7 master - 0",
                line(A, "master", "0-16383").trim()
            ),
            "line 2: node d826a972ba028ae0e1c8883f1a4f04990e99fd47: the line ends where a time is expected",
        ),
        (
            line(A, "master", "0-16383") + "junk",
            "line 2: \"junk\" where a node's id",
        ),
        ("*1\r\n*3\r\n:0\r\n".to_owned(), "ends before it is whole"),
        (":5\r\n".to_owned(), "where nodes.conf"),
        (
            "*1\r\n$5\r\nhello\r\n".to_owned(),
            "\"hello\" where an answer to CLUSTER SLOTS or SHARDS",
        ),
        ("*0\r\n".to_owned(), "without anything in it"),
        ("%1\r\n".to_owned(), "version 3 of the protocol"),
        ("0\n".to_owned(), "where the first and last slot"),
        ("0\n16383\n".to_owned(), "no host and port"),
        ("0\n16383\n\n7000\n".to_owned(), "neither a host nor an id"),
        (
            format!("0\n16383\nh\n7000\n{A}\n\n5\n5\nh\n7001\n{B}\n"),
            "slot 5 is given to h:7000 and to h:7001",
        ),
        (
            "1) 1) (integer) 0\n   2) what\n".to_owned(),
            "line 2: \"what\" in what a CLI printed",
        ),
        (
            "slots\n0\n16383\nnodes\nid\n\nrole\nmaster\nhealth\nfail\n".to_owned(),
            "slots 0-16383 have no master that is well",
        ),
        (
            "slots\n0\n".to_owned(),
            "slot 0 begins a range that has no end",
        ),
        ("[1".to_owned(), "JSON that cannot be read"),
        ("{}".to_owned(), "without an array \"nodes\""),
        ("[\"0-16384\"]".to_owned(), "node 1: \"0-16384\" is no slot"),
        (
            "[\"0-100\", \"100-16383\"]".to_owned(),
            "node 2: slot 100 is given to node 1 and to node 2",
        ),
        ("[{\"address\": \"h:1\"}]".to_owned(), "no \"slots\""),
        (
            "[{\"slots\": \"0-16383\", \"address\": \"h\"}]".to_owned(),
            "\"h\" is no HOST:PORT",
        ),
        (
            "[{\"slots\": \"0-16383\", \"id\": \"x\"}]".to_owned(),
            "\"x\" is no id",
        ),
        ("[7]".to_owned(), "node 1: no \"slots\""),
        ("[null]".to_owned(), "node 1: no \"slots\""),
        (
            "# a plan\n".to_owned(),
            "byte 0, line 1: no nodes: expected a table [[nodes]]",
        ),
        (
            "\n[[node]]\nslots = \"0-16383\"".to_owned(),
            "byte 3, line 2: \"node\": expected a table [[nodes]]",
        ),
        (
            "[nodes]\nslots = \"0-16383\"".to_owned(),
            "line 1: nodes, which is here of the type table: expected",
        ),
        (
            "[[nodes]]\nslots = \"0-16383\"\nadress = \"h:1\"".to_owned(),
            "byte 28, line 3: node 1: \"adress\": expected slots, address or id",
        ),
        (
            "[[nodes]]\nslots = 5\n".to_owned(),
            "byte 18, line 2: node 1: \"slots\" is no string, but of the type integer",
        ),
        (
            "[[nodes]]\nslots = \"0-100\"\n[[nodes]]\nslots = \"100-16383\"".to_owned(),
            "byte 44, line 4: node 2: slot 100 is given to node 1 and to node 2",
        ),
        (
            "[[nodes]]\nslots = \"0-16384\"".to_owned(),
            "line 2: node 1: \"0-16384\" is no slot",
        ),
        (
            "[[nodes]]\naddress = \"h\"\nslots = \"1\"".to_owned(),
            "line 2: node 1: \"h\" is no HOST:PORT",
        ),
        (
            "[[nodes]]\nid = \"x\"\nslots = \"1\"".to_owned(),
            "line 2: node 1: \"x\" is no id",
        ),
        (
            "[[nodes]]\nslots = \"1\"\n[[nodes]]\naddress = \"h:1\"".to_owned(),
            "line 3: node 2: no slots, a string",
        ),
        (
            "nodes = [\"0-8191\"]".to_owned(),
            "8192 of 16384 slots have no node: 8192-16383",
        ),
        (
            "[[nodes]]\nslots = \"0-16383\nid = 1".to_owned(),
            "line 2: TOML that cannot be read: ",
        ),
        (
            "[[nodes]]\nslots = \"0\"\nslots = \"1\"\n".to_owned(),
            "line 3: TOML that cannot be read: duplicate key",
        ),
    ];
    for (text, what) in rows {
        let e = topology(text.as_bytes(), None).expect_err(what).to_string();
        assert!(e.contains(what), "{what:?} in {e:?}, of {text:?}");
        assert_eq!(e.lines().count(), 1, "{e}");
    }
    let e = topology(b"\xff\xfe", None).unwrap_err();
    assert!(e.to_string().contains("no text"), "{e}");
}

#[test]
fn damage_is_an_error_or_a_topology() {
    for (_, text) in forms() {
        crate::fuzz::topology(text.as_bytes());
        let bytes = text.as_bytes();
        for at in (0..bytes.len()).step_by(3) {
            crate::fuzz::topology(&bytes[..at]);
            let mut broken = bytes.to_vec();
            broken[at] = [0, b' ', b'\n', b'9', b'-', b'"', b'[', 0xff][at / 3 % 8];
            crate::fuzz::topology(&broken);
        }
    }
}
