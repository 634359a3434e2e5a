use super::command::{Arg, Found, Splitter};
use super::*;
use crate::ErrorKind;

fn bulk(s: &str) -> Reply {
    Reply::Bulk(s.as_bytes().to_vec())
}

macro_rules! replies {
    ($($name:ident: $bytes:expr => $want:expr;)*) => { $(
        #[test]
        fn $name() {
            let bytes: &[u8] = $bytes;
            assert_eq!(Reply::read(bytes, 0).unwrap(), Some($want));
            // Cut anywhere it needs more; in any two pieces, and byte by byte, it ends in the same place.
            let mut slowly = End::default();
            for cut in 0..bytes.len() {
                let mut end = End::default();
                assert_eq!(end.find(&bytes[..cut], 0).unwrap(), None, "cut at {cut}");
                assert_eq!(end.find(bytes, 0).unwrap(), Some(bytes.len()), "cut at {cut}");
                assert_eq!(slowly.find(&bytes[..cut], 0).unwrap(), None, "cut at {cut}");
                assert_eq!(Reply::read(&bytes[..cut], 0).unwrap(), None, "cut at {cut}");
            }
            let two = [bytes, b"+next\r\n"].concat();
            assert_eq!(slowly.find(&two, 0).unwrap(), Some(bytes.len()));
            assert_eq!(slowly.find(&two[bytes.len()..], 0).unwrap(), Some(7));
        }
    )* };
}

replies! {
    status:             b"+OK\r\n"                      => Reply::Status("OK".into());
    status_empty:       b"+\r\n"                        => Reply::Status(String::new());
    error:              b"-ERR no such key\r\n"         => Reply::Error("ERR no such key".into());
    int:                b":42\r\n"                      => Reply::Int(42);
    int_smallest:       b":-9223372036854775808\r\n"    => Reply::Int(i64::MIN);
    int_largest:        b":9223372036854775807\r\n"     => Reply::Int(i64::MAX);
    string:             b"$5\r\nhello\r\n"              => bulk("hello");
    string_empty:       b"$0\r\n\r\n"                   => bulk("");
    string_of_line_end: b"$2\r\n\r\n\r\n"               => bulk("\r\n");
    no_string:          b"$-1\r\n"                      => Reply::Nil;
    no_array:           b"*-1\r\n"                      => Reply::Nil;
    array_empty:        b"*0\r\n"                       => Reply::Array(vec![]);
    array:              b"*3\r\n:1\r\n$1\r\na\r\n*-1\r\n"
        => Reply::Array(vec![Reply::Int(1), bulk("a"), Reply::Nil]);
    array_in_array:     b"*2\r\n*2\r\n*0\r\n:1\r\n*1\r\n*1\r\n+OK\r\n"
        => Reply::Array(vec![
            Reply::Array(vec![Reply::Array(vec![]), Reply::Int(1)]),
            Reply::Array(vec![Reply::Array(vec![Reply::Status("OK".into())])]),
        ]);
}

#[test]
fn what_is_no_reply_is_refused_where_it_stands() {
    let rows: &[(&[u8], u64, &str)] = &[
        (b"OK\r\n", 0, "\"OK\\x0d\\x0a\" where a reply is expected"),
        (b"+OK\n", 0, "\\n alone"),
        (b":1 \r\n", 0, "byte 100: \"1 \" where a number is expected"),
        (b":\r\n", 0, "where a number"),
        (b":-\r\n", 0, "where a number"),
        (b":+1\r\n", 0, "where a number"),
        (b":9223372036854775808\r\n", 0, "where a number"),
        (b":-9223372036854775809\r\n", 0, "where a number"),
        (b"$-2\r\n", 0, "a length of -2"),
        (b"*-2\r\n", 0, "a length of -2"),
        (
            b"$1099511627777\r\n",
            0,
            "a length of 1099511627777: expected -1, or 0 to 1099511627776",
        ),
        (b"$000000000000000000000000", 0, "longer than 24 bytes"),
        (b"*1\r\n$1\r\nab\r\n", 9, "a string's line end"),
        (b"*2\r\n:1\r\n%1\r\n", 8, "\"%1"),
        (b"\x15\x03\x01\x00\x02\x02\x28", 0, "an alert of TLS"),
    ];
    for (bytes, at, what) in rows {
        let e = End::default().find(bytes, 100).unwrap_err();
        assert_eq!(
            (e.kind(), e.offset()),
            (ErrorKind::Corrupt, Some(100 + at)),
            "{e}"
        );
        assert!(e.to_string().contains(what), "{e}");
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = |n: usize| [b"*1\r\n".repeat(n), b":1\r\n".to_vec()].concat();
    assert!(Reply::read(&deep(DEPTH), 0).unwrap().is_some());
    let e = Reply::read(&deep(DEPTH + 1), 0).unwrap_err();
    assert_eq!(e.offset(), Some(4 * DEPTH as u64));
}

#[test]
fn nothing_is_allocated_for_what_is_only_announced() {
    for bytes in [&b"*1099511627776\r\n"[..], b"$1099511627776\r\nab"] {
        assert_eq!(Reply::read(bytes, 0).unwrap(), None);
    }
}

// --- commands ---------------------------------------------------------------------

#[test]
fn a_command_cut_anywhere_is_the_same_command() {
    let bytes = b"*4\r\n$4\r\nHSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n$12\r\nhello, world\r\n";
    let want: [&[u8]; 4] = [b"HSET", b"", b"\r\n", b"hello, world"];
    let mut slowly = (Splitter::default(), [Arg::default(); 4]);
    for cut in 0..=bytes.len() {
        let (mut splitter, mut args) = (Splitter::default(), [Arg::default(); 4]);
        let found = splitter.step(&bytes[..cut], 7, &mut args).unwrap();
        if cut < bytes.len() {
            assert_eq!(found, Found::More, "cut at {cut}");
            for i in 0..splitter.complete() as usize {
                assert_eq!(args[i].of(&bytes[..cut]), want[i]);
            }
            if let Some(arg) = splitter.begun() {
                let whole = want[splitter.complete() as usize];
                assert_eq!(arg.len, whole.len() as u64);
                let there = arg.of(&bytes[..cut]);
                assert_eq!(there, &whole[..there.len()]);
            }
        }
        let found = splitter.step(bytes, 7, &mut args).unwrap();
        assert_eq!(found, Found::Whole(bytes.len()));
        assert_eq!(args.map(|a| a.of(bytes)), want);
        let (splitter, args) = &mut slowly;
        splitter.step(&bytes[..cut], 7, args).unwrap();
    }
    assert_eq!(slowly.0.complete(), 4);
    assert_eq!(slowly.1.map(|a| a.of(bytes)), want);
}

#[test]
fn arguments_without_room_are_counted_and_checked() {
    let bytes = b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n";
    let (mut splitter, mut args) = (Splitter::default(), [Arg::default(); 1]);
    let found = splitter.step(bytes, 0, &mut args).unwrap();
    assert_eq!(
        (found, splitter.args()),
        (Found::Whole(bytes.len()), 3),
        "{args:?}"
    );
    assert_eq!(args[0].of(bytes), b"a");
}

#[test]
fn what_is_no_command_is_refused_where_it_stands() {
    let rows: &[(&[u8], u64, &str)] = &[
        (
            b"PING\r\n",
            0,
            "\"PING\\x0d\\x0a\" where a command (*) is expected",
        ),
        (b"*0\r\n", 0, "a command of 0 arguments"),
        (b"*-1\r\n", 0, "a length of -1"),
        (b"*2147483648\r\n", 0, "a command of 2147483648 arguments"),
        (b"*1\r\n*1\r\n", 4, "where an argument ($) is expected"),
        (b"*1\r\n$-1\r\n", 4, "a length of -1"),
        (b"*1\r\n$x\r\n", 4, "\"x\" where a number"),
        (b"*1\r\n$4\r\nPINGxx", 12, "a string's line end"),
    ];
    for (bytes, at, what) in rows {
        let e = Splitter::default()
            .step(bytes, 100, &mut [Arg::default(); 8])
            .unwrap_err();
        assert_eq!(e.offset(), Some(100 + at), "{e}");
        assert!(e.to_string().contains(what), "{e}");
    }
}
