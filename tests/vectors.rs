//! The vectors of the format: payloads and files whose bytes and meaning are known, each decoded to exactly the JSON that stands here.
//!
//! Most were made by servers, one release each; "synthetic" ones were put together by hand, for types that no released server writes. The
//! payloads are what `DUMP` gives; each becomes a file of the version in its footer, as the value of the key `k`.

mod support;

use support::file::{crc64, file, file_of_payload, hex, magic, unwrap_payload};
use support::json::{self, Json};
use support::{Report, fingerprint, lines, rdbtool, scratch};

/// A `DUMP` payload and the value it stands for.
struct Payload {
    /// Number, server, trait.
    name: &'static str,
    hex: &'static str,
    kind: &'static str,
    /// JSON.
    value: &'static str,
}

const PAYLOADS: &[Payload] = &[
    Payload {
        name: "V1, of 7.0.15: a string",
        hex: "000568656c6c6f0a006372df766534200a",
        kind: "string",
        value: r#""hello""#,
    },
    Payload {
        name: "V2, of 8.6.3: the same, of version 13",
        hex: "000568656c6c6f0d00c1db56c5628157ca",
        kind: "string",
        value: r#""hello""#,
    },
    Payload {
        name: "V3, of Valkey 9.1.2: the same, of version 80",
        hex: "000568656c6c6f5000ac5816e7fb6647fe",
        kind: "string",
        value: r#""hello""#,
    },
    Payload {
        name: "V4, of 2.8.24: an int16",
        hex: "00c17fff0600818deaa8a1d5b813",
        kind: "string",
        value: r#""-129""#,
    },
    Payload {
        name: "V5, of 2.8.24: an int32",
        hex: "00c287d6120006007fd376b6de6e40cd",
        kind: "string",
        value: r#""1234567""#,
    },
    Payload {
        name: "V6, of 2.8.24: LZF with overlapping references",
        hex: "00c30d1f016161e00e00006220000162620600755f9603704bdafa",
        kind: "string",
        value: r#""aaaaaaaaaaaaaaaaaaaaaaaaabbbbbb""#,
    },
    Payload {
        name: "V7, of 2.8.24: a plain list",
        hex: "01020161c00106009419a7d957b425a9",
        kind: "list",
        value: r#"["a","1"]"#,
    },
    Payload {
        name: "V8, of 2.8.24: a ziplist with every kind of integer",
        hex: "0a3939000000360000000b0000f102fd02fe0d03fe8003c0c80004f0c063ff05f0ffff7f05d00000008006e000f2052a010000000a0268690400ff0600cb0b3cf2c2afcd4d",
        kind: "list",
        value: r#"["0","12","13","-128","200","-40000","8388607","-2147483648","5000000000","hi",""]"#,
    },
    Payload {
        name: "V9, of 2.8.24: a plain set",
        hex: "0202c0010161060026898b5399e54225",
        kind: "set",
        value: r#"["1","a"]"#,
    },
    Payload {
        name: "V10, of 2.8.24: an intset of 32 bits",
        hex: "0b14040000000300000001000000020000007011010006001338a986ae48ecc6",
        kind: "set",
        value: r#"["1","2","70000"]"#,
    },
    Payload {
        name: "V11, of 2.8.24: scores in text",
        hex: "03050163ff0162fe016103312e3501640133016513302e3130303030303030303030303030303031060053e073a6fa002583",
        kind: "zset",
        value: r#"[{"member":"c","score":"-inf"},{"member":"b","score":"inf"},{"member":"a","score":1.5},{"member":"d","score":3},{"member":"e","score":0.1}]"#,
    },
    Payload {
        name: "V12, of 2.8.24: a ziplist of scores",
        hex: "0c191900000013000000040000016103fefe0301620303312e35ff0600397647c6313a1b2f",
        kind: "zset",
        value: r#"[{"member":"a","score":-2},{"member":"b","score":1.5}]"#,
    },
    Payload {
        name: "V13, of 2.8.24: a ziplist of fields",
        hex: "0d161600000013000000040000016603017603016e03f8ff0600ecf97b38596e2de3",
        kind: "hash",
        value: r#"{"f":"v","n":"7"}"#,
    },
    Payload {
        name: "V14, of 3.2.13: a quicklist of ziplists",
        hex: "0e0114140000000f000000030000016103f202c02c01ff070049eb886f82a220c5",
        kind: "list",
        value: r#"["a","1","300"]"#,
    },
    Payload {
        name: "V15, of 4.0.14: binary scores",
        hex: "05020161000000000000f83f0162000000000000f0ff0800f1ba928ccc87ec33",
        kind: "zset",
        value: r#"[{"member":"a","score":1.5},{"member":"b","score":"-inf"}]"#,
    },
    Payload {
        name: "V16, of 5.0.14: stream layout 1, one entry deleted",
        hex: "0f011000000000000000010000000000000001363600000016000201010101018161020001020100010001010104010301000101010201040100010101dfff02010181620203010601ff02020001016701010100000000000000010000000000000001819ea5faa101000001010163819ea5faa101000001000000000000000100000000000000010900fb066a002a14fab7",
        kind: "stream",
        value: r#"{"length":2,"last_id":"2-0","entries":[{"id":"1-1","fields":[["a","1"]]},{"id":"2-0","fields":[["b","3"]]}],"groups":[{"name":"g","last_id":"1-1","pending":[{"id":"1-1","consumer":"c","delivered_at_ms":1795206520449,"deliveries":1}],"consumers":[{"name":"c","seen_at_ms":1795206520449,"pending":["1-1"]}]}]}"#,
    },
    Payload {
        name: "V17, of 5.0.14: a stream without entries",
        hex: "0f00000707000900ef8a4a6fa2147078",
        kind: "stream",
        value: r#"{"length":0,"last_id":"7-7","entries":[],"groups":[]}"#,
    },
    Payload {
        name: "V18, of 7.0.15: a plain hash",
        hex: "040201660176016ec0070a00622d07e0b30bd5ec",
        kind: "hash",
        value: r#"{"f":"v","n":"7"}"#,
    },
    Payload {
        name: "V19, of 7.0.15: a listpack of fields",
        hex: "1012120000000400816602817602816e020701ff0a00b82adea8407ffaa8",
        kind: "hash",
        value: r#"{"f":"v","n":"7"}"#,
    },
    Payload {
        name: "V20, of 7.0.15: a listpack of scores",
        hex: "1115150000000400816102dffe0281620283312e3504ff0a004c1bf83aa4045cc7",
        kind: "zset",
        value: r#"[{"member":"a","score":-2},{"member":"b","score":1.5}]"#,
    },
    Payload {
        name: "V21, of 7.0.15: a listpack with every kind of integer, in LZF",
        hex: "120102c34040407f1f7f0000000d0000017f01c08002dfff02cfff02d00002f1001003f2409c0004f3090000800005f4005ed0b220280a0009826869038001e04678e03c000148ff0a00930ef4fce1dd7c6f",
        kind: "list",
        value: r#"["0","127","128","-1","4095","-4096","4096","40000","8388608","3000000000","hi","","xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]"#,
    },
    Payload {
        name: "V22, of 7.0.15: stream layout 2",
        hex: "13011000000000000000010000000000000001363600000016000201010101018161020001020100010001010104010301000101010201040100010101dfff02010181620203010601ff0202000101010203010167010181ffffffffffffffff0100000000000000010000000000000001ef9ea5faa101000001010163ef9ea5faa101000001000000000000000100000000000000010a005d454401c1a9ef51",
        kind: "stream",
        value: r#"{"length":2,"last_id":"2-0","first_id":"1-1","max_deleted_id":"1-2","entries_added":3,"entries":[{"id":"1-1","fields":[["a","1"]]},{"id":"2-0","fields":[["b","3"]]}],"groups":[{"name":"g","last_id":"1-1","entries_read":null,"pending":[{"id":"1-1","consumer":"c","delivered_at_ms":1795206520559,"deliveries":1}],"consumers":[{"name":"c","seen_at_ms":1795206520559,"pending":["1-1"]}]}]}"#,
    },
    Payload {
        name: "V23, of 8.0.6: a plain node and a packed one",
        hex: "120201c3365004017171e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e07f00017171020a0a0000000100816202ff0c006350d2bb9ea4c07c",
        kind: "list",
        value: r#"["qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq","b"]"#,
    },
    Payload {
        name: "V24, of Valkey 8.1.1: a listpack of members",
        hex: "140c0c00000002008161020101ff0b00e040e033571bb848",
        kind: "set",
        value: r#"["a","1"]"#,
    },
    Payload {
        name: "V25, of Valkey 8.1.1: stream layout 3, a consumer that was never active",
        hex: "150110000000000000000100000000000000011c1c0000000a00010100010101816102000102010001000101010401ff0101010101000001010167000081ffffffffffffffff00010163769fa5faa1010000ffffffffffffffff000b00732e09b878adb3df",
        kind: "stream",
        value: r#"{"length":1,"last_id":"1-1","first_id":"1-1","max_deleted_id":"0-0","entries_added":1,"entries":[{"id":"1-1","fields":[["a","1"]]}],"groups":[{"name":"g","last_id":"0-0","entries_read":null,"pending":[],"consumers":[{"name":"c","seen_at_ms":1795206520694,"active_at_ms":-1,"pending":[]}]}]}"#,
    },
    Payload {
        name: "V26, of 7.4-rc1: field expiries, release candidate",
        hex: "160381000003bb2cc3eb88016b017a000167017781000003bb2cc3d800016601760c0076907b1cfd66db0d",
        kind: "hash",
        value: r#"[{"field":"k","value":"z","expire_at_ms":4102444805000},{"field":"g","value":"w"},{"field":"f","value":"v","expire_at_ms":4102444800000}]"#,
    },
    Payload {
        name: "V27, of 7.4-rc1: field expiries in a listpack, release candidate",
        hex: "171f1f0000000600816602817602f400d8c32cbb030000098167028177020001ff0c00222c6abb924b9cbc",
        kind: "hash",
        value: r#"[{"field":"f","value":"v","expire_at_ms":4102444800000},{"field":"g","value":"w"}]"#,
    },
    Payload {
        name: "V28, of 7.4.1: field expiries relative to the smallest",
        hex: "1800d8c32cbb030000035389016b017a000167017701016601760c00b4465ede1c2a6245",
        kind: "hash",
        value: r#"[{"field":"k","value":"z","expire_at_ms":4102444805000},{"field":"g","value":"w"},{"field":"f","value":"v","expire_at_ms":4102444800000}]"#,
    },
    Payload {
        name: "V29, of 7.4.1: field expiries in a listpack",
        hex: "1900d8c32cbb0300001f1f0000000600816602817602f400d8c32cbb030000098167028177020001ff0c008436d9888806ec99",
        kind: "hash",
        value: r#"[{"field":"f","value":"v","expire_at_ms":4102444800000},{"field":"g","value":"w"}]"#,
    },
    Payload {
        name: "V30, of Valkey 9.1.2: field expiries, Valkey's type 22",
        hex: "16020166017600d8c32cbb03000001670177ffffffffffffffff5000e60a2f75e1b45a59",
        kind: "hash",
        value: r#"[{"field":"f","value":"v","expire_at_ms":4102444800000},{"field":"g","value":"w"}]"#,
    },
    Payload {
        name: "V31, of 8.6.3: stream layout 4, idempotent producers",
        hex: "1a0110000001a1faa180aa000000000000000028280000000f00020100010101816102000102010001000181620204010201000101018163020401ff0281000001a1faa180aa0181000001a1faa180aa0000000200406440640202703101046969643181000001a1faa180aa000270320110893fd0cf5414759ee1ddbfcd0814bd6981000001a1faa180aa0102010d0096c7039b03f6a43f",
        kind: "stream",
        value: r#"{"length":2,"last_id":"1795206250666-1","first_id":"1795206250666-0","max_deleted_id":"0-0","entries_added":2,"entries":[{"id":"1795206250666-0","fields":[["a","b"]]},{"id":"1795206250666-1","fields":[["a","c"]]}],"groups":[],"idmp":{"duration_s":100,"max_entries":100,"producers":[{"id":"p1","iids":[{"iid":"iid1","entry_id":"1795206250666-0"}]},{"id":"p2","iids":[{"iid":{"base64":"iT/Qz1QUdZ7h3b/NCBS9aQ=="},"entry_id":"1795206250666-1"}]}],"iids_added":2,"iids_duplicates":1}}"#,
    },
    Payload {
        name: "V32, of 8.8 dev: stream layout 5, an entry nobody owns",
        hex: "1b011000000000000000010000000000000001333300000014000301000101018161020001020100010001816202040102010101000181630204010201020100018164020401ff030301010100000301016703010303000000000000000100000000000000013581a1faa10100000100000000000000020000000000000001000000000000000000000000000000000300000000000000013581a1faa1010000010101633581a1faa10100003581a1faa10100000200000000000000010000000000000001000000000000000300000000000000010100000000000000020000000000000001406440640000000e000606be71b53fc9db",
        kind: "stream",
        value: r#"{"length":3,"last_id":"3-1","first_id":"1-1","max_deleted_id":"0-0","entries_added":3,"entries":[{"id":"1-1","fields":[["a","b"]]},{"id":"2-1","fields":[["a","c"]]},{"id":"3-1","fields":[["a","d"]]}],"groups":[{"name":"g","last_id":"3-1","entries_read":3,"pending":[{"id":"1-1","consumer":"c","delivered_at_ms":1795206250805,"deliveries":1},{"id":"2-1","delivered_at_ms":0,"deliveries":0},{"id":"3-1","consumer":"c","delivered_at_ms":1795206250805,"deliveries":1}],"consumers":[{"name":"c","seen_at_ms":1795206250805,"active_at_ms":1795206250805,"pending":["1-1","3-1"]}],"nacked":["2-1"]}],"idmp":{"duration_s":100,"max_entries":100,"producers":[],"iids_added":0,"iids_duplicates":0}}"#,
    },
    Payload {
        name: "V33, of 8.8 dev: an array",
        hex: "1c050000010a000000000000000102000000000000044002030573686f727403000f61206c6f6e67657220737472696e67412c01ffffffffffffffff0e009f88b83a95fddece",
        kind: "array",
        value: r#"{"elements":[{"index":0,"value":"10"},{"index":1,"value":"2.5"},{"index":2,"value":"short"},{"index":3,"value":"a longer string"},{"index":300,"value":"-1"}]}"#,
    },
    Payload {
        name: "V34, of 8.8 dev: an array with a cursor",
        hex: "1c010100000301780e00f69bc55ec0048815",
        kind: "array",
        value: r#"{"cursor":0,"elements":[{"index":0,"value":"x"}]}"#,
    },
    Payload {
        name: "V36, of 8.0.6: a module nobody knows",
        hex: "0781b5eb2dfffadd6c010201050568656c6c6f030000c03f05c30f16043078612e61e00300043965702d35000c00328857b1011bce54",
        kind: "module",
        value: r#"{"module":"test__rdb","version":1,"value":{"base64":"AgEFBWhlbGxvAwAAwD8Fww8WBDB4YS5h4AMABDllcC01AA=="}}"#,
    },
    Payload {
        name: "V39, of 7.0.15: a listpack element with a long back length",
        hex: "120102c314409008900000000200e08279e07800050184817102ff0a0073936673ddd66965",
        kind: "list",
        value: r#"["yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy","q"]"#,
    },
    Payload {
        name: "V40, synthetic: a template hash in a listpack",
        hex: "1d0017170000000200866669656c643107866669656c643207ff0d0d0000000300000101010201ff0f000000000000000000",
        kind: "hash",
        value: r#"{"field1":"1","field2":"2"}"#,
    },
    Payload {
        name: "V41, synthetic: a template hash as an array",
        hex: "1f0102066669656c6431066669656c6432c001c0020f000000000000000000",
        kind: "hash",
        value: r#"{"field1":"1","field2":"2"}"#,
    },
];

/// A whole file.
struct File {
    name: &'static str,
    hex: &'static str,
    /// All lines without `--meta`.
    lines: &'static [&'static str],
    /// All AUX fields, in order.
    aux: &'static [(&'static str, &'static str)],
}

const FILES: &[File] = &[
    File {
        name: "F1, of 2.4.18: set, seconds, zipmap; no checksum",
        hex: "524544495330303032fe000b01730c020000000200000001000200fd005786f400016b01760901680d020166010076016702003132ffff",
        lines: &[
            r#"{"db":0,"key":"s","type":"set","value":["1","2"]}"#,
            r#"{"db":0,"key":"k","type":"string","expire_at_ms":-192522496000,"value":"v"}"#,
            r#"{"db":0,"key":"h","type":"hash","value":{"f":"v","g":"12"}}"#,
        ],
        aux: &[],
    },
    File {
        name: "F2, of 2.8.24: two databases, milliseconds",
        hex: "524544495330303036fe00fc7bd8c32cbb03000000016b0176fe0200016ec13930ff230a614589cec386",
        lines: &[
            r#"{"db":0,"key":"k","type":"string","expire_at_ms":4102444800123,"value":"v"}"#,
            r#"{"db":2,"key":"n","type":"string","value":"12345"}"#,
        ],
        aux: &[],
    },
    File {
        name: "F3, of 3.2.13: quicklist",
        hex: "524544495330303037fa0972656469732d76657206332e322e3133fa0a72656469732d62697473c040fa056374696d65c2a6ad006bfa08757365642d6d656dc250710d00fe00fb01000e016c010e0e0000000a0000000100000161ffff7cb72853797e6940",
        lines: &[r#"{"db":0,"key":"l","type":"list","value":["a"]}"#],
        aux: &[
            ("redis-ver", "3.2.13"),
            ("redis-bits", "64"),
            ("ctime", "1795206566"),
            ("used-mem", "880976"),
        ],
    },
    File {
        name: "F4, of 6.2.16: idle time",
        hex: "524544495330303039fa0972656469732d76657206362e322e3136fa0a72656469732d62697473c040fa056374696d65c2a7ad006bfa08757365642d6d656dc2684e0e00fa0c616f662d707265616d626c65c000fe00fb0101fc7bd8c32cbb030000f80000016b0176ffa06c058a189bf2df",
        lines: &[
            r#"{"db":0,"key":"k","type":"string","expire_at_ms":4102444800123,"idle_s":0,"value":"v"}"#,
        ],
        aux: &[
            ("redis-ver", "6.2.16"),
            ("redis-bits", "64"),
            ("ctime", "1795206567"),
            ("used-mem", "937576"),
            ("aof-preamble", "0"),
        ],
    },
    File {
        name: "F5, of 7.0-rc1: function of the release candidates",
        hex: "524544495330303130fa0972656469732d76657207362e392e323430fa0a72656469732d62697473c040fa056374696d65c2a7ad006bfa08757365642d6d656dc2482e0f00fa0c616f662d707265616d626c65c000f6016d034c5541003772656469732e72656769737465725f66756e6374696f6e282266222c66756e6374696f6e286b2c61292072657475726e203120656e6429ff8f38f46c557aa1cc",
        lines: &[
            r##"{"function":"#!lua name=m\nredis.register_function(\"f\",function(k,a) return 1 end)"}"##,
        ],
        aux: &[
            ("redis-ver", "6.9.240"),
            ("redis-bits", "64"),
            ("ctime", "1795206567"),
            ("used-mem", "994888"),
            ("aof-preamble", "0"),
        ],
    },
    File {
        name: "F6, of 7.0.15: frequency, checksum zero",
        hex: "524544495330303130fa0972656469732d76657206372e302e3135fa0a72656469732d62697473c040fa056374696d65c235af006bfa08757365642d6d656dc238950e00fa08616f662d62617365c000fe00fb0100f90500016b0176ff0000000000000000",
        lines: &[r#"{"db":0,"key":"k","type":"string","freq":5,"value":"v"}"#],
        aux: &[
            ("redis-ver", "7.0.15"),
            ("redis-bits", "64"),
            ("ctime", "1795206965"),
            ("used-mem", "955704"),
            ("aof-base", "0"),
        ],
    },
    File {
        name: "F7, of 8.0.6: cluster slots as an opcode",
        hex: "524544495330303132fa0972656469732d76657205382e302e36fa0a72656469732d62697473c040fa056374696d65c231af006bfa08757365642d6d656dc280701d00fa08616f662d62617365c000fe00fb0100f47c870100000161c001ff2ebe1be8c01a4bb4",
        lines: &[r#"{"db":0,"key":"a","type":"string","value":"1"}"#],
        aux: &[
            ("redis-ver", "8.0.6"),
            ("redis-bits", "64"),
            ("ctime", "1795206961"),
            ("used-mem", "1929344"),
            ("aof-base", "0"),
        ],
    },
    File {
        name: "F8, of Valkey 8.1.1: cluster slots as an aux field",
        hex: "524544495330303131fa0a76616c6b65792d76657205382e312e31fa0a72656469732d62697473c040fa056374696d65c235af006bfa08757365642d6d656dc2f82e2700fa08616f662d62617365c000fe00fb0100fa09736c6f742d696e666f0931353439352c312c30000161c001ffb56a00187fcf9341",
        lines: &[r#"{"db":0,"key":"a","type":"string","value":"1"}"#],
        aux: &[
            ("valkey-ver", "8.1.1"),
            ("redis-bits", "64"),
            ("ctime", "1795206965"),
            ("used-mem", "2567928"),
            ("aof-base", "0"),
            ("slot-info", "15495,1,0"),
        ],
    },
    File {
        name: "F9, of Valkey 9.1.2: Valkey's magic and type 22",
        hex: "56414c4b4559303830fa0a76616c6b65792d76657205392e312e32fa0a72656469732d62697473c040fa056374696d65c2a7ad006bfa08757365642d6d656dc220780f00fa08616f662d62617365c000fe00fb0100160168010166017600d8c32cbb030000ff10fefe0b5584fc6c",
        lines: &[
            r#"{"db":0,"key":"h","type":"hash","value":[{"field":"f","value":"v","expire_at_ms":4102444800000}]}"#,
        ],
        aux: &[
            ("valkey-ver", "9.1.2"),
            ("redis-bits", "64"),
            ("ctime", "1795206567"),
            ("used-mem", "1013792"),
            ("aof-base", "0"),
        ],
    },
    File {
        name: "F10, of 8.6.3: cluster of 8.6",
        hex: "524544495330303133fa0972656469732d76657205382e362e33fa0a72656469732d62697473c040fa056374696d65c233af006bfa08757365642d6d656dc2c0d42100fa08616f662d62617365c000fa10636c75737465722d61736d2d7461736b00fe00fb0100f47c870100000161c001ff7a8e1d1800a75d64",
        lines: &[r#"{"db":0,"key":"a","type":"string","value":"1"}"#],
        aux: &[
            ("redis-ver", "8.6.3"),
            ("redis-bits", "64"),
            ("ctime", "1795206963"),
            ("used-mem", "2217152"),
            ("aof-base", "0"),
            ("cluster-asm-task", ""),
        ],
    },
    File {
        name: "F11, of 8.8 dev: version 14, integers as key and value",
        hex: "524544495330303134fa0972656469732d7665720b3235352e3235352e323535fa0a72656469732d62697473c040fa056374696d65c2a7ad006bfa08757365642d6d656dc2d07f0c00fa08616f662d62617365c000fe00fb010000c07bc1c801ff06902da1d676947c",
        lines: &[r#"{"db":0,"key":"123","type":"string","value":"456"}"#],
        aux: &[
            ("redis-ver", "255.255.255"),
            ("redis-bits", "64"),
            ("ctime", "1795206567"),
            ("used-mem", "819152"),
            ("aof-base", "0"),
        ],
    },
    File {
        name: "F12, synthetic: hash templates",
        hex: "524544495330303135f20502066669656c6431066669656c6432fe00fb02001e026b310d0d0000000300050101010201ff20026b3205c001c002ffd09b556bfd40abd3",
        lines: &[
            r#"{"db":0,"key":"k1","type":"hash","value":{"field1":"1","field2":"2"}}"#,
            r#"{"db":0,"key":"k2","type":"hash","value":{"field1":"1","field2":"2"}}"#,
        ],
        aux: &[],
    },
    File {
        name: "F13, of 8.0.6: a module's own data",
        hex: "524544495330303132fa0972656469732d76657205382e302e36fa0a72656469732d62697473c040fa056374696d65c2cdac006bfa08757365642d6d656dc2808d0d00fa08616f662d62617365c000f781b5eb2dfffadd6c0102010201050342454600fe00fb02000702646b81b5eb2dffffddb401022a05036162630007026d6b81b5eb2dfffadd6c010201050568656c6c6f030000c03f05c30f16043078612e61e00300043965702d3500ff007a54cc74ef0f12",
        lines: &[
            r#"{"db":0,"key":"dk","type":"module","value":{"module":"test___dt","version":1,"value":{"base64":"AioFA2FiYwA="}}}"#,
            r#"{"db":0,"key":"mk","type":"module","value":{"module":"test__rdb","version":1,"value":{"base64":"AgEFBWhlbGxvAwAAwD8Fww8WBDB4YS5h4AMABDllcC01AA=="}}}"#,
        ],
        aux: &[
            ("redis-ver", "8.0.6"),
            ("redis-bits", "64"),
            ("ctime", "1795206349"),
            ("used-mem", "888192"),
            ("aof-base", "0"),
        ],
    },
    File {
        name: "F14, synthetic, loaded by servers: version 1",
        hex: "524544495330303031fe0000016b0176ff",
        lines: &[r#"{"db":0,"key":"k","type":"string","value":"v"}"#],
        aux: &[],
    },
    File {
        name: "F15, synthetic, loaded by servers: slot import",
        hex: "56414c4b4559303830f3283031323334353637383961626364656630313233343536373839616263646566303132333435363702000a404140fffe0000016b0176ff4304f93e137b6b47",
        lines: &[r#"{"db":0,"key":"k","type":"string","value":"v"}"#],
        aux: &[],
    },
];

#[test]
fn payloads() {
    assert_eq!(PAYLOADS.len(), 38);
    let report = Report::default();
    for p in PAYLOADS {
        let file = file_of_payload(&hex(p.hex), 0);
        let kind = p.kind;
        let line = format!(
            r#"{{"db":0,"key":"k","type":"{kind}","value":{}}}"#,
            p.value
        );
        report.check(p.name, decodes_to(&file, &[&line]));
    }
    report.finish();
}

#[test]
fn files() {
    assert_eq!(FILES.len(), 15);
    let report = Report::default();
    for f in FILES {
        let bytes = hex(f.hex);
        report.check(f.name, decodes_to(&bytes, f.lines));
        report.check(f.name, aux_is(&bytes, f.aux));
    }
    report.finish();
}

/// What a file of these bytes decodes to.
fn decode(options: &[&str], bytes: &[u8]) -> Result<Vec<u8>, String> {
    let name = format!("vector-{:016x}.rdb", fingerprint(bytes));
    let path = scratch(&name, bytes);
    let args = ["decode"].iter().chain(options).map(|a| a.as_ref());
    rdbtool(args.chain([path.as_os_str()])).ok()
}

fn decodes_to(bytes: &[u8], expected: &[&str]) -> Result<(), String> {
    let output = decode(&[], bytes)?;
    let output = String::from_utf8(output).map_err(|e| e.to_string())?;
    let mut found = output.split_inclusive('\n');
    for (i, expected) in expected.iter().enumerate() {
        let found = found.next().unwrap_or("");
        if found.strip_suffix('\n') != Some(expected) {
            let (expected, found) = (around(expected, found), around(found, expected));
            let line = i + 1;
            return Err(format!(
                "line {line}:\n  expected {expected}\n  found    {found}"
            ));
        }
    }
    match found.next() {
        None => Ok(()),
        Some(more) => Err(format!("a line too many: {more}")),
    }
}

/// The part of `text` in which it differs from `other`, where the whole is too long to show.
fn around(text: &str, other: &str) -> String {
    let same = text.bytes().zip(other.bytes()).take_while(|(a, b)| a == b);
    let at = same.count().saturating_sub(100);
    let rest = &text.as_bytes()[at..];
    let shown = String::from_utf8_lossy(&rest[..rest.len().min(1000)]).into_owned();
    if at == 0 {
        shown
    } else {
        format!("(from byte {at} on) {shown}")
    }
}

/// The lines of `--meta` whose only member has this name.
fn members(name: &str, bytes: &[u8]) -> Result<Vec<Json>, String> {
    let output = decode(&["--meta"], bytes)?;
    let mut found = Vec::new();
    for line in lines(&output) {
        let line = json::parse(line)?;
        if let Some(member) = line.get(name) {
            line.shape([name])?;
            found.push(member.clone());
        }
    }
    Ok(found)
}

fn aux_is(bytes: &[u8], expected: &[(&str, &str)]) -> Result<(), String> {
    let mut found = Vec::new();
    for aux in members("aux", bytes)? {
        for (name, value) in aux.members()? {
            found.push((name.clone(), value.str()?.to_owned()));
        }
    }
    let mut both = found.iter().zip(expected);
    if found.len() == expected.len() && both.all(|(f, e)| f.0 == e.0 && f.1 == e.1) {
        return Ok(());
    }
    Err(format!("aux: expected {expected:?}, found {found:?}"))
}

/// Vector F13 has data that the module `test__rdb` wrote before the keys: the number 1 and the string `BEF`.
#[test]
fn module_aux_stands_under_meta() {
    let bytes = hex(FILES[12].hex);
    let found = members("module_aux", &bytes).expect("decodes");
    let expected =
        r#"{"module":"test__rdb","version":1,"when":1,"value":{"base64":"AgEFA0JFRgA="}}"#;
    assert_eq!(found, [json::parse(expected.as_bytes()).expect("JSON")]);
}

/// V37, of 8.6.3: metadata stands before the type, and comes out as it is: count, classes, items.
#[test]
fn v37_key_metadata() {
    let payload = hex(
        "f30109f5c42805056d657461310201030000c03f05c30f16043078612e61e00300043965702d35000001760d0077626d242baf4c2a",
    );
    let expected = r#"{"db":0,"key":"k","type":"string","key_meta":{"base64":"AQn1xCgFBW1ldGExAgEDAADAPwXDDxYEMHhhLmHgAwAEOWVwLTUA"},"value":"v"}"#;
    decodes_to(&file_of_payload(&payload, 40), &[expected]).expect("decodes");
}

/// V38: a payload of FUNCTION DUMP, which is the part of a file that holds the functions.
#[test]
fn v38_function_dump() {
    let payload = hex(
        "f5404423216c7561206e616d653d6d0a72656469732e72656769737465725f66756e6374696f6e282266222c66756e6374696f6e286b2c61292072657475726e203120656e64290a001cc7f84fadbde212",
    );
    let (body, version) = unwrap_payload(&payload);
    let expected = r##"{"function":"#!lua name=m\nredis.register_function(\"f\",function(k,a) return 1 end)"}"##;
    decodes_to(&file(version, body), &[expected]).expect("decodes");
}

/// V35: the vector set. Vectors are kept at unit length in 32 bits, so the components come out within a rounding.
#[test]
fn v35_vector_set() {
    let payload = hex(
        "0781bde72da2bb1eb4000202020102500002000502656c05089a99193fcdcc4c3f02060201028001000000020002200200028040a00000000c00326c9cc48e17b975",
    );
    let output = decode(&[], &file_of_payload(&payload, 0)).expect("decodes");
    let line = json::parse(&output).expect("one line of JSON");
    let [db, key, kind, value] = line.shape(["db", "key", "type", "value"]).expect("a key");
    assert_eq!(db, Some(&Json::Num("0".into())));
    assert_eq!(key, Some(&Json::Str("k".into())));
    assert_eq!(kind, Some(&Json::Str("module".into())));
    let value = value.expect("a value");
    let [module, version, value, raw] = value
        .shape(["module", "version", "value", "raw"])
        .expect("a module value with its raw bytes");
    assert_eq!(module, Some(&Json::Str("vectorset".into())));
    assert_eq!(version, Some(&Json::Num("0".into())));
    let [base64] = raw.expect("raw").shape(["base64"]).expect("base64");
    let raw = base64.expect("base64").base64().expect("base64");
    let (body, _) = unwrap_payload(&payload);
    assert_eq!(raw, body[10..], "everything after type and module id");
    let [dim, quantization, m, elements] = value
        .expect("a readable value")
        .shape(["dim", "quantization", "m", "elements"])
        .expect("a vector set");
    assert_eq!(dim, Some(&Json::Num("2".into())));
    assert_eq!(quantization, Some(&Json::Str("float32".into())));
    assert_eq!(m, Some(&Json::Num("16".into())));
    let elements = elements.expect("elements").elements().expect("an array");
    let [element] = elements else {
        panic!("{elements:?}")
    };
    let [member, vector] = element.shape(["member", "vector"]).expect("an element");
    assert_eq!(member, Some(&Json::Str("el".into())));
    let vector = vector.expect("a vector").elements().expect("an array");
    let vector = vector.iter().map(|c| match c {
        Json::Num(n) => n.parse::<f64>().expect("a number"),
        other => panic!("{other:?}"),
    });
    let vector: Vec<f64> = vector.collect();
    assert_eq!(vector.len(), 2);
    for (found, expected) in vector.iter().zip([3.0, 4.0]) {
        assert!((found - expected).abs() < 1e-6, "{vector:?}");
    }
}

// ---- rules of the grammar ---------------------------------------------------------------------------------------------

/// Items between magic and end, and the lines they give.
struct Items {
    name: &'static str,
    version: u16,
    hex: &'static str,
    lines: &'static [&'static str],
}

const fn items(
    name: &'static str,
    version: u16,
    hex: &'static str,
    lines: &'static [&'static str],
) -> Items {
    Items {
        name,
        version,
        hex,
        lines,
    }
}

const K_V: &str = r#"{"db":0,"key":"k","type":"string","value":"v"}"#;
const A_V: &str = r#"{"db":0,"key":"a","type":"string","value":"v"}"#;

const ITEMS: &[Items] = &[
    items("nothing", 12, "", &[]),
    items(
        "database 0 need not be selected",
        12,
        "00 016b 0176",
        &[K_V],
    ),
    items(
        "a database may come again",
        12,
        "fe01 00 0161 0176 | fe00 00 016b 0176 | fe01 00 0162 0176",
        &[
            r#"{"db":1,"key":"a","type":"string","value":"v"}"#,
            K_V,
            r#"{"db":1,"key":"b","type":"string","value":"v"}"#,
        ],
    ),
    items(
        "a length longer than it need be",
        12,
        "00 4001 6b 80 00000001 76",
        &[K_V],
    ),
    items(
        "a length of 64 bits",
        12,
        "00 81 0000000000000001 6b 0176",
        &[K_V],
    ),
    items(
        "an expiry is of the next key alone",
        12,
        "fc 0100000000000000 00 016b 0176 | 00 0161 0176",
        &[
            r#"{"db":0,"key":"k","type":"string","expire_at_ms":1,"value":"v"}"#,
            A_V,
        ],
    ),
    items(
        "idle time and frequency are of the next key alone",
        12,
        "f8 05 f9 07 00 016b 0176 | 00 0161 0176",
        &[
            r#"{"db":0,"key":"k","type":"string","idle_s":5,"freq":7,"value":"v"}"#,
            A_V,
        ],
    ),
    items(
        "an aux field between an expiry and its key",
        12,
        "fc 0100000000000000 fa 0161 0162 00 016b 0176",
        &[r#"{"db":0,"key":"k","type":"string","expire_at_ms":1,"value":"v"}"#],
    ),
    items(
        "attributes in another order",
        12,
        "f9 ff f8 4064 fc fbffffffffffffff 00 016b 0176",
        &[
            r#"{"db":0,"key":"k","type":"string","expire_at_ms":-5,"idle_s":100,"freq":255,"value":"v"}"#,
        ],
    ),
    items(
        "seconds are signed",
        2,
        "fd ffffffff 00 016b 0176 | fd 01000000 00 0161 0176",
        &[
            r#"{"db":0,"key":"k","type":"string","expire_at_ms":-1000,"value":"v"}"#,
            r#"{"db":0,"key":"a","type":"string","expire_at_ms":1000,"value":"v"}"#,
        ],
    ),
    items(
        "sizes of a database, wrong",
        12,
        "fe00 fb 81 7fffffffffffffff 00 00 016b 0176",
        &[K_V],
    ),
    items("cluster slot", 12, "f4 7c87 01 00 00 016b 0176", &[K_V]),
    items(
        "opcodes of Redis Enterprise",
        9,
        "79 05 6b 07 00 016b 0176",
        &[K_V],
    ),
    items(
        "integers and LZF as key, field and value",
        12,
        "04 c30d1f016161e00e0000622000016262 02 c07f c180ff c2ffffff7f c30d1f016161e00e0000622000016262",
        &[
            r#"{"db":0,"key":"aaaaaaaaaaaaaaaaaaaaaaaaabbbbbb","type":"hash","value":{"127":"-128","2147483647":"aaaaaaaaaaaaaaaaaaaaaaaaabbbbbb"}}"#,
        ],
    ),
    items(
        "bytes that are not UTF-8, everywhere",
        12,
        "04 01ff 02 01fe 01fd 07 6261736536343a 0176",
        &[
            r#"{"db":0,"key":{"base64":"/w=="},"type":"hash","value":{"base64:/g==":{"base64":"/Q=="},"base64:YmFzZTY0Og==":"v"}}"#,
        ],
    ),
    items(
        "bytes that JSON wants escaped",
        12,
        "00 016b 0a 00 01 1f 22 5c 0a 09 0d 2f 08",
        &[r#"{"db":0,"key":"k","type":"string","value":"\u0000\u0001\u001f\"\\\n\t\r/\b"}"#],
    ),
    items(
        "an empty key and an empty value",
        12,
        "00 00 00",
        &[r#"{"db":0,"key":"","type":"string","value":""}"#],
    ),
    items(
        "scores in text: negative zero, and more digits than a double has",
        1,
        "03 016b 03 0161 022d30 | 0162 13302e3130303030303030303030303030303031 | 0163 fe",
        &[
            r#"{"db":0,"key":"k","type":"zset","value":[{"member":"a","score":-0.0},{"member":"b","score":0.1},{"member":"c","score":"inf"}]}"#,
        ],
    ),
    items(
        "binary scores: negative zero, smallest fraction, whole number",
        8,
        "05 016b 03 0161 0000000000000080 | 0162 000000000000e03f | 0163 00000000000024c0",
        &[
            r#"{"db":0,"key":"k","type":"zset","value":[{"member":"a","score":-0.0},{"member":"b","score":0.5},{"member":"c","score":-10}]}"#,
        ],
    ),
    items(
        "zipmap: junk after a value, the long form of a length at 254",
        2,
        "09 016b 0f 02 01 66 01 00 76 01 67 02 02 3132 0000 ff",
        &[r#"{"db":0,"key":"k","type":"hash","value":{"f":"v","g":"12"}}"#],
    ),
    items(
        "field expiries without any",
        12,
        "18 016b 0000000000000000 01 00 0166 0176",
        &[r#"{"db":0,"key":"k","type":"hash","value":[{"field":"f","value":"v"}]}"#],
    ),
    items(
        "a template with a large id, names that are integers",
        15,
        "f2 81 7fffffffffffffff 02 c001 c002 | 20 016b 81 7fffffffffffffff 0161 0162",
        &[r#"{"db":0,"key":"k","type":"hash","value":{"1":"a","2":"b"}}"#],
    ),
    items(
        "a rate limiter, which only special builds write",
        15,
        "21 016b 81 ffffffffffffffff",
        &[r#"{"db":0,"key":"k","type":"gcra","value":18446744073709551615}"#],
    ),
    items(
        "data of a module after the keys",
        12,
        "00 016b 0176 | f7 81b5eb2dfffadd6c01 02 02 | 05 03414654 | 00",
        &[K_V],
    ),
    items(
        "metadata of a key that is also about to expire",
        13,
        "fc 0100000000000000 f3 01 09f5c428 02 05 00 | 00 016b 0176 | 00 0161 0176",
        &[
            r#"{"db":0,"key":"k","type":"string","expire_at_ms":1,"key_meta":{"base64":"AQn1xCgCBQA="},"value":"v"}"#,
            A_V,
        ],
    ),
];

#[test]
fn grammar() {
    let report = Report::default();
    for i in ITEMS {
        let items = hex(i.hex);
        report.check(i.name, decodes_to(&file(i.version, &items), i.lines));
    }
    report.finish();
}

#[test]
fn zero_stands_for_no_checksum_and_bytes_may_follow_it() {
    let mut bytes = file(9, &hex("00 016b 0176"));
    let trailer = bytes.len() - 8;
    bytes[trailer..].fill(0);
    decodes_to(&bytes, &[K_V]).expect("a checksum of zero is none");
    // What follows is not ours, and worth a word.
    bytes.extend_from_slice(b"\xff\0garbage");
    let path = scratch("trailing-garbage.rdb", &bytes);
    let run = rdbtool(["decode".as_ref(), path.as_os_str()]);
    assert_eq!(run.status, Some(3), "{}", run.stderr);
    assert!(lines(&run.stdout).eq([K_V.as_bytes()]));
}

/// Two forms of the back length are in use for a listpack element of exactly 16383 bytes.
#[test]
fn both_back_lengths_of_16383() {
    const STRING: usize = 16383 - 5;
    let report = Report::default();
    for (name, back) in [("old", &[0x00, 0xff, 0xff][..]), ("new", &[0x7f, 0xff])] {
        let mut list = vec![0, 0, 0, 0, 2, 0, 0xf0];
        list.extend_from_slice(&(STRING as u32).to_le_bytes());
        list.resize(list.len() + STRING, b'x');
        list.extend_from_slice(back);
        list.extend_from_slice(&[0x07, 0x01, 0xff]);
        let total = list.len() as u32;
        list[..4].copy_from_slice(&total.to_le_bytes());
        let mut items = hex("14 016b 80");
        items.extend_from_slice(&total.to_be_bytes());
        items.extend_from_slice(&list);
        let long = "x".repeat(STRING);
        let line = format!(r#"{{"db":0,"key":"k","type":"set","value":["{long}","7"]}}"#);
        report.check(name, decodes_to(&file(11, &items), &[&line]));
    }
    report.finish();
}

/// After a ziplist entry of 254 bytes or more the next one says so in five bytes; a zipmap length of 254 or more is five bytes too.
#[test]
fn long_forms_of_old_containers() {
    let long = "y".repeat(260);
    let mut entries = vec![0x00, 0x41, 0x04];
    entries.extend_from_slice(long.as_bytes());
    let tail = 10 + entries.len() as u32;
    entries.extend_from_slice(&hex("fe 07010000 f2"));
    let mut ziplist = (10 + entries.len() as u32 + 1).to_le_bytes().to_vec();
    ziplist.extend_from_slice(&tail.to_le_bytes());
    ziplist.extend_from_slice(&[2, 0]);
    ziplist.extend_from_slice(&entries);
    ziplist.push(0xff);
    let line = format!(r#"{{"db":0,"key":"k","type":"list","value":["{long}","1"]}}"#);
    decodes_to(&one_string(6, 10, &ziplist), &[&line]).expect("a ziplist");

    let mut zipmap = hex("01 01 66 fe 04010000 00");
    zipmap.extend_from_slice(long.as_bytes());
    zipmap.push(0xff);
    let line = format!(r#"{{"db":0,"key":"k","type":"hash","value":{{"f":"{long}"}}}}"#);
    decodes_to(&one_string(2, 9, &zipmap), &[&line]).expect("a zipmap");
}

/// A file with the key `k` of a type that is one string.
fn one_string(version: u16, rdb_type: u8, blob: &[u8]) -> Vec<u8> {
    let mut items = vec![rdb_type, 1, b'k', 0x80];
    items.extend_from_slice(&(blob.len() as u32).to_be_bytes());
    items.extend_from_slice(blob);
    file(version, &items)
}

/// More elements than the sixteen bits of a container's count can say.
#[test]
fn counts_that_are_not_known() {
    const COUNT: usize = 70_000;
    let mut list = vec![0, 0, 0, 0, 0xff, 0xff];
    list.extend((0..COUNT).flat_map(|_| [0x07, 0x01]));
    list.push(0xff);
    let total = list.len() as u32;
    list[..4].copy_from_slice(&total.to_le_bytes());
    let mut items = hex("12 016b 01 02 80");
    items.extend_from_slice(&total.to_be_bytes());
    items.extend_from_slice(&list);
    let values = vec![r#""7""#; COUNT].join(",");
    let line = format!(r#"{{"db":0,"key":"k","type":"list","value":[{values}]}}"#);
    decodes_to(&file(10, &items), &[&line]).expect("70000 elements");
}

/// A value larger than a batch is cut into parts; what stands before it comes out all the same, and once.
#[test]
fn what_stands_before_a_large_value() {
    let element = "x".repeat(400 << 10);
    let mut list = hex("01 016c 02 0161 80");
    list.extend_from_slice(&(element.len() as u32).to_be_bytes());
    list.extend_from_slice(element.as_bytes());
    // A list with one more element behind the large one, so that there is something left to cut off.
    list[3] = 3;
    list.extend_from_slice(b"\x01b");
    let large = r#"{"db":0,"key":"l","type":"list","expire_at_ms":5,"value":["a","x"#;
    let aux = r#"{"aux":{"n":"w"}}"#;
    let key = r#"{"db":0,"key":"k","type":"string","value":"v","#;
    let rows: [(&str, &str, &[&str]); 3] = [
        ("nothing but its expiry", "fc0500000000000000", &[large]),
        (
            "an aux field between expiry and type",
            "fc0500000000000000 fa016e0177",
            &[aux, large],
        ),
        (
            "a key, and then the same",
            "00016b0176 fc0500000000000000 fa016e0177",
            &[key, aux, large],
        ),
    ];
    let report = Report::default();
    for (name, before, expected) in rows {
        let bytes = file(9, &[&hex(before)[..], &list].concat());
        for threads in ["1", "2"] {
            match decode(&["--meta", "--threads", threads], &bytes) {
                Ok(output) => {
                    let found: Vec<_> = lines(&output).map(String::from_utf8_lossy).collect();
                    let mut both = found.iter().zip(expected);
                    if found.len() != expected.len() || !both.all(|(f, e)| f.starts_with(e)) {
                        let found: Vec<_> = found.iter().map(|l| format!("{l:.80}")).collect();
                        report.fail(name, format!("{threads} threads: {found:#?}"));
                    }
                }
                Err(how) => report.fail(name, how),
            }
        }
    }
    report.finish();
}

// ---- what must be refused ---------------------------------------------------------------------------------------------

/// A file that must be refused, and where the offset in the error may point to.
struct Refused {
    name: &'static str,
    bytes: Vec<u8>,
    /// First and last byte; without a last one, the end of the file.
    at: (u64, Option<u64>),
    /// What stands before the damage, and is written.
    lines: &'static [&'static str],
}

/// A file of version 12 with one key `k`, whose type stands at byte 11 and whose value begins at byte 14.
fn value(name: &'static str, rdb_type: u8, value: &str) -> Refused {
    let mut items = vec![0xfe, 0x00, rdb_type, 0x01, b'k'];
    items.extend_from_slice(&hex(value));
    let bytes = file(12, &items);
    Refused {
        name,
        bytes,
        at: (11, None),
        lines: &[],
    }
}

/// The key `k` under a magic of its own, with the checksum made right.
fn with_magic(name: &'static str, magic: &[u8]) -> Refused {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&hex("fe00 00 016b 0176 ff"));
    let crc = crc64(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Refused {
        name,
        bytes,
        at: (0, Some(9)),
        lines: &[],
    }
}

fn refused() -> Vec<Refused> {
    let raw = |name, text: &str, first, last, lines| Refused {
        name,
        bytes: hex(text),
        at: (first, Some(last)),
        lines,
    };
    let mut type_8 = file(9, &hex("fe00 08 016b 0176"));
    type_8.truncate(type_8.len() - 8);
    let crc = crc64(&type_8);
    type_8.extend_from_slice(&crc.to_le_bytes());
    vec![
        raw(
            "X1: version 5 without a checksum",
            "524544495330303035fe0000016b0176ff",
            16,
            17,
            &[K_V],
        ),
        raw(
            "X2: a wrong checksum",
            "524544495330303035fe0000016b0176ff0101010101010101",
            17,
            17,
            &[K_V],
        ),
        raw(
            "X3: an expiry that is cut off",
            "524544495330303036fe00fc",
            11,
            12,
            &[],
        ),
        Refused {
            name: "X4: type 8",
            bytes: type_8,
            at: (11, Some(11)),
            lines: &[],
        },
        value("X5: LZF that reaches before its start", 0, "c3 02 05 20 00"),
        value(
            "X6: LZF that claims 2^64-1 bytes",
            0,
            "c3 01 81ffffffffffffffff 00",
        ),
        value(
            "X7: a count larger than the file",
            2,
            "81 00ffffffffffffff 0161 0162",
        ),
        value(
            "X8: listpack, back length 3 for 2",
            20,
            "0a 0a0000000100 8162 03 ff",
        ),
        value(
            "X9: listpack, count 2 for 1",
            20,
            "0a 0a0000000200 8162 02 ff",
        ),
        value(
            "X10: intset that does not ascend",
            11,
            "0c 02000000 02000000 0200 0100",
        ),
        value("X11: a score that is not a number", 3, "01 0161 fd"),
        value("X12: quicklist container 3", 18, "01 03 00"),
        with_magic("X13: REDIS0080", b"REDIS0080"),
        with_magic("X14: VALKEY011", b"VALKEY011"),
        // And more of the kind.
        with_magic("version 0", b"REDIS0000"),
        with_magic("a version that is no number", b"REDIS00x1"),
        value("a length form that does not exist", 0, "82 00000001 76"),
        value("a string form that does not exist", 0, "c4 00"),
        value(
            "a binary score that is not a number",
            5,
            "01 0161 000000000000f87f",
        ),
        value("a string longer than the file", 0, "81 ffffffffffffffff 76"),
        value(
            "listpack, one byte longer than it says",
            20,
            "0b 0a0000000100 8162 02 ff ff",
        ),
        value("listpack without its end", 20, "0a 0a0000000100 8162 02 00"),
        value(
            "listpack with an element past its end",
            20,
            "0a 0a0000000100 8462 02 ff",
        ),
        value("listpack, head f5", 20, "0a 0a0000000100 f562 02 ff"),
        value("fields without a value", 16, "0a 0a0000000100 8162 02 ff"),
        value(
            "intset of 3-byte integers",
            11,
            "0b 03000000 01000000 010203",
        ),
        value(
            "intset longer than its count",
            11,
            "0c 02000000 01000000 0100 0200",
        ),
        value(
            "ziplist, previous length 9 for 0",
            10,
            "0e 0e0000000a0000000100 09 01 61 ff",
        ),
        value(
            "ziplist, count 2 for 1",
            10,
            "0e 0e0000000a0000000200 00 01 61 ff",
        ),
        value(
            "zipmap with a length past its end",
            9,
            "08 01 01 66 7f 00 76 ff 00",
        ),
        value("hash template that was never told", 32, "05 0161"),
        value("module items without an end", 7, "81b5eb2dfffadd6c01 02 01"),
        value("module item of kind 9", 7, "81b5eb2dfffadd6c01 09 00"),
        value(
            "module of the release candidates of 4.0",
            6,
            "81b5eb2dfffadd6c01 01 00",
        ),
        value("type 34", 34, "0176"),
    ]
}

#[test]
fn broken_files_are_refused() {
    let report = Report::default();
    for x in refused() {
        let path = scratch(
            &format!("refused-{:016x}.rdb", fingerprint(&x.bytes)),
            &x.bytes,
        );
        let run = rdbtool(["decode".as_ref(), path.as_os_str()]);
        match run.error_offset(&path) {
            Err(how) => report.fail(x.name, how),
            Ok(at) => {
                let last = x.at.1.unwrap_or(x.bytes.len() as u64);
                if !(x.at.0..=last).contains(&at) {
                    let (first, error) = (x.at.0, run.stderr.trim_end());
                    report.fail(x.name, format!("not at byte {first} to {last}: {error}"));
                }
            }
        }
        if !lines(&run.stdout).eq(x.lines.iter().map(|l| l.as_bytes())) {
            let out = String::from_utf8_lossy(&run.stdout);
            report.fail(x.name, format!("it wrote {out:.200}"));
        }
    }
    report.finish();
}

#[test]
fn what_is_no_rdb_file_is_said_to_be_none() {
    let rows: [(&str, &[u8]); 3] = [
        ("another magic", b"RODIS0011\xfe\x00\xff"),
        ("text", b"hello, world\n"),
        ("a plain command", b"SELECT 0\r\n"),
    ];
    let report = Report::default();
    for (name, bytes) in rows {
        let path = scratch(&format!("no-rdb-{:016x}", fingerprint(bytes)), bytes);
        let run = rdbtool(["decode".as_ref(), path.as_os_str()]);
        let begin = format!(
            "rdbtool: {}: not an RDB or append-only file: ",
            path.display()
        );
        if run.status != Some(1) || !run.stdout.is_empty() || !run.stderr.starts_with(&begin) {
            report.fail(name, format!("{run:?}"));
        }
    }
    report.finish();
}

/// What comes out does not depend on how many threads there are, wherever an aux field stands.
#[test]
fn an_aux_field_between_an_expiry_and_its_key_comes_out_once() {
    let rows: [(&str, &str, i32, usize); 2] = [
        (
            "before damage",
            "00016b0176 fc0500000000000000 fa016e0177 0201fa",
            1,
            2,
        ),
        (
            "before another database",
            "00016b0176 fc0500000000000000 fa016e0177 fe05 00016c0176",
            0,
            3,
        ),
    ];
    let report = Report::default();
    for (name, items, status, count) in rows {
        let bytes = file(9, &hex(items));
        let path = scratch(&format!("aux-{:016x}.rdb", fingerprint(&bytes)), &bytes);
        for threads in ["1", "2"] {
            let flags = ["decode", "--meta", "--threads", threads].map(AsRef::as_ref);
            let run = rdbtool(flags.into_iter().chain([path.as_os_str()]));
            let found: Vec<_> = lines(&run.stdout).collect();
            let aux: &[u8] = br#"{"aux":{"n":"w"}}"#;
            if run.status != Some(status) || found.len() != count || found.get(1) != Some(&aux) {
                report.fail(name, format!("{threads} threads: {run:?}"));
            }
        }
    }
    report.finish();
}

#[test]
fn an_empty_file_is_refused() {
    let path = scratch("refused-empty.rdb", b"");
    let run = rdbtool(["decode".as_ref(), path.as_os_str()]);
    assert_eq!(run.status, Some(1), "{}", run.stderr);
    assert!(!run.stderr.is_empty());
}

#[test]
fn magics() {
    assert_eq!(magic(1), b"REDIS0001");
    assert_eq!(magic(15), b"REDIS0015");
    assert_eq!(magic(80), b"VALKEY080");
}
