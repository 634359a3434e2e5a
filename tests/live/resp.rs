//! A client for tests: one connection, one command at a time, RESP2, bytes in and bytes out.
//!
//! It trusts the server, so it checks nothing and panics at what it does not understand.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What a server answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// `+OK`
    Status(String),
    /// `-ERR ...`
    Error(String),
    /// `:1`
    Int(i64),
    /// `$3 abc`
    Bulk(Vec<u8>),
    /// `$-1` or `*-1`
    Nil,
    /// `*2 ...`
    Array(Vec<Reply>),
}

impl Reply {
    /// The bytes of a bulk string or a status.
    #[track_caller]
    pub(crate) fn bytes(self) -> Vec<u8> {
        match self {
            Reply::Bulk(b) => b,
            Reply::Status(s) => s.into_bytes(),
            other => panic!("expected a string, the server said {other:?}"),
        }
    }

    /// The same as text.
    #[track_caller]
    pub(crate) fn text(self) -> String {
        String::from_utf8(self.bytes()).expect("text in UTF-8")
    }

    #[track_caller]
    pub(crate) fn int(self) -> i64 {
        match self {
            Reply::Int(n) => n,
            other => panic!("expected an integer, the server said {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn array(self) -> Vec<Reply> {
        match self {
            Reply::Array(a) => a,
            other => panic!("expected an array, the server said {other:?}"),
        }
    }

    /// An array of strings.
    #[track_caller]
    pub(crate) fn strings(self) -> Vec<Vec<u8>> {
        self.array().into_iter().map(Reply::bytes).collect()
    }

    /// An array of strings that alternate, as of HGETALL.
    #[track_caller]
    pub(crate) fn pairs(self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let flat = self.strings();
        flat.chunks(2)
            .map(|p| (p[0].clone(), p[1].clone()))
            .collect()
    }

    /// The value of `name` in an array of names and values, as of XINFO.
    pub(crate) fn get(&self, name: &str) -> Option<Reply> {
        let Reply::Array(a) = self else { return None };
        let at = a.chunks(2).position(|p| p[0].clone().text() == name)?;
        Some(a[2 * at + 1].clone())
    }

    /// The same, where it must be there.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Reply {
        self.get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

/// A connection.
pub(crate) struct Client {
    socket: BufReader<TcpStream>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?})", self.socket.get_ref().peer_addr())
    }
}

impl Client {
    /// Connects to a port of the loopback interface.
    pub(crate) fn connect(port: u16) -> std::io::Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Client {
            socket: BufReader::new(socket),
        })
    }

    /// Sends a command and waits for the answer, which may be an error.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, argv: &[A]) -> Reply {
        let mut command = format!("*{}\r\n", argv.len()).into_bytes();
        for arg in argv {
            let arg = arg.as_ref();
            command.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            command.extend_from_slice(arg);
            command.extend_from_slice(b"\r\n");
        }
        self.socket
            .get_mut()
            .write_all(&command)
            .expect("the server takes the command");
        self.reply()
    }

    /// The same, where an error of the server's fails the test.
    #[track_caller]
    pub(crate) fn must<A: AsRef<[u8]>>(&mut self, argv: &[A]) -> Reply {
        match self.call(argv) {
            Reply::Error(e) => {
                let said: Vec<_> = argv
                    .iter()
                    .take(4)
                    .map(|a| String::from_utf8_lossy(a.as_ref()))
                    .collect();
                panic!("{} ...: {e}", said.join(" "))
            }
            reply => reply,
        }
    }

    /// Sends many commands at once and gives the answers to all of them.
    pub(crate) fn pipe(&mut self, commands: &[u8], count: usize) -> Vec<Reply> {
        let mut to = self.socket.get_ref().try_clone().expect("a socket");
        std::thread::scope(|s| {
            s.spawn(move || to.write_all(commands).expect("the server takes them"));
            (0..count).map(|_| self.reply()).collect()
        })
    }

    fn reply(&mut self) -> Reply {
        let mut line = String::new();
        self.socket
            .read_line(&mut line)
            .expect("the server answers");
        let (kind, rest) = line
            .trim_end_matches("\r\n")
            .split_at_checked(1)
            .expect("an answer");
        match (kind, rest) {
            ("+", s) => Reply::Status(s.to_owned()),
            ("-", s) => Reply::Error(s.to_owned()),
            (":", n) => Reply::Int(n.parse().expect("an integer")),
            ("$" | "*", "-1") => Reply::Nil,
            ("$", n) => {
                let mut bytes = vec![0; n.parse::<usize>().expect("a length") + 2];
                self.socket
                    .read_exact(&mut bytes)
                    .expect("the whole string");
                bytes.truncate(bytes.len() - 2);
                Reply::Bulk(bytes)
            }
            ("*", n) => Reply::Array(
                (0..n.parse().expect("a count"))
                    .map(|_| self.reply())
                    .collect(),
            ),
            _ => panic!("the server said {line:?}"),
        }
    }
}

/// One command, its arguments anything that has bytes: `cmd!(client, "SET", key, "1")`.
macro_rules! cmd {
    ($client:expr, $($arg:expr),+ $(,)?) => {
        $client.must(&[$(AsRef::<[u8]>::as_ref(&$arg)),+])
    };
}
pub(crate) use cmd;
