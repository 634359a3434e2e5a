//! `rdbtool::net` with real servers: passwords, users, unix sockets, TLS, both directions at once.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rdbtool::ErrorKind;
use rdbtool::net::{Client, Connection, Endpoint, Options, Role, Secret, TlsOptions, Wait, wait};
use rdbtool::rdb::release::Engine;
use rdbtool::resp::Reply;
use rdbtool::resp::read::{Head, head};

use crate::resp::cmd;
use crate::server::{Installed, Server, free_port, installed, say};

fn endpoint(url: &str) -> Endpoint {
    Endpoint::parse(url).unwrap()
}

fn connect(url: &str) -> rdbtool::Result<Client> {
    Client::connect(&endpoint(url), &Options::default())
}

/// A directory for sockets and certificates, with a path short enough for a socket.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn every_server_says_what_it_is() {
    for installed in installed().unwrap_or_default() {
        let server = Server::start(installed, &[]);
        let mut c = connect(&format!("redis://127.0.0.1:{}/3", server.port())).unwrap();
        let info = c.info().unwrap();
        let what = &server.name;
        assert_eq!(
            info.release.engine == Engine::Valkey,
            server.valkey,
            "{what}"
        );
        let (major, minor) = info.release.version;
        assert_eq!((major.into(), minor.into()), server.version, "{what}");
        assert_eq!((info.cluster, info.loading), (false, false), "{what}");
        assert_eq!((info.role, info.run_id.len()), (Role::Master, 40), "{what}");

        // In the database of the URL; any byte; an answer of each kind.
        assert!(c.must(&[b"SET", b"k\0\r\n", b"\xff"]).unwrap().is_ok());
        let theirs = &mut server.client();
        cmd!(theirs, "SELECT", "3");
        assert_eq!(cmd!(theirs, "GET", b"k\0\r\n").bytes(), b"\xff");
        assert_eq!(c.call(&[b"GET", b"none"]).unwrap(), Reply::Nil);
        assert_eq!(c.call(&[b"DEL", b"none"]).unwrap(), Reply::Int(0));
        let e = c.must(&[b"LPUSH", b"k\0\r\n", b"SECRET"]).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Server);
        let said = e.to_string();
        let start = format!(
            "127.0.0.1:{}: LPUSH: the server says \"WRONGTYPE ",
            server.port()
        );
        assert!(
            said.starts_with(&start) && !said.contains("SECRET"),
            "{said}"
        );
        // Larger than any buffer in between, both ways.
        let large = vec![b'x'; 20 << 20];
        c.must(&[b"SET", b"large", &large]).unwrap();
        assert_eq!(c.must(&[b"GET", b"large"]).unwrap(), Reply::Bulk(large));

        let e = connect(&format!("redis://127.0.0.1:{}/16", server.port())).unwrap_err();
        assert!(
            e.to_string().contains("SELECT 16: the server says"),
            "{what}: {e}"
        );

        let names = cmd!(theirs, "CLIENT", "LIST").text();
        assert!(names.contains("name=rdbtool"), "{what}: {names}");
    }
}

#[test]
fn passwords_and_users() {
    for installed in installed().unwrap_or_default() {
        let server = Server::start(installed, &[]);
        let what = &server.name;
        let port = server.port();
        let theirs = &mut server.client();
        let old = server.version < (6, 0);
        if !old {
            cmd!(
                theirs,
                "ACL",
                "SETUSER",
                "ann",
                "on",
                ">s:e/c@r%t",
                "+@all",
                "~*"
            );
            cmd!(
                theirs, "ACL", "SETUSER", "bob", "on", ">b", "+ping", "+select"
            );
        }
        cmd!(theirs, "CONFIG", "SET", "requirepass", "pass word");

        let mut c = connect(&format!("redis://:pass%20word@127.0.0.1:{port}/2")).unwrap();
        assert_eq!(c.must(&[b"PING"]).unwrap(), Reply::Status("PONG".into()));
        let options = Options {
            password: Some(Secret::new("pass word")),
            ..Options::default()
        };
        let bare = endpoint(&format!("redis://127.0.0.1:{port}"));
        Client::connect(&bare, &options).unwrap().info().unwrap();

        let e = connect(&format!("redis://127.0.0.1:{port}"))
            .unwrap()
            .info();
        let e = e.unwrap_err().to_string();
        assert!(
            e.contains("INFO server: the server says \"NOAUTH"),
            "{what}: {e}"
        );
        assert!(e.contains("REDISCLI_AUTH"), "{what}: {e}");
        let e = connect(&format!("redis://:SECRET@127.0.0.1:{port}")).unwrap_err();
        let e = e.to_string();
        assert!(e.contains("AUTH: the server says"), "{what}: {e}");
        assert!(
            e.contains("password is wrong") && !e.contains("SECRET"),
            "{what}: {e}"
        );

        if old {
            let e = connect(&format!("redis://ann:x@127.0.0.1:{port}")).unwrap_err();
            assert!(
                e.to_string().contains("before 6.0 there are no users"),
                "{what}: {e}"
            );
            continue;
        }
        let mut c = connect(&format!("redis://ann:s:e%2Fc%40r%25t@127.0.0.1:{port}")).unwrap();
        c.info().unwrap();
        let e = connect(&format!("redis://ann:no@127.0.0.1:{port}")).unwrap_err();
        assert!(e.to_string().contains("WRONGPASS"), "{what}: {e}");
        let mut c = connect(&format!("redis://bob:b@127.0.0.1:{port}/1")).unwrap();
        let e = c.info().unwrap_err().to_string();
        assert!(
            e.contains("NOPERM") && e.contains("ACL does not allow"),
            "{what}: {e}"
        );
    }
}

#[test]
fn no_password_asked_for_is_no_error() {
    for installed in installed().unwrap_or_default() {
        let server = Server::start(installed, &[]);
        let mut c = connect(&format!("redis://:any@127.0.0.1:{}", server.port())).unwrap();
        c.info().unwrap();
    }
}

#[test]
fn unix_sockets() {
    let dir = directory();
    let path = dir.path().join("a b.sock");
    for installed in installed().unwrap_or_default() {
        let _server = Server::start(installed, &["--unixsocket", path.to_str().unwrap()]);
        let url = format!("unix://{}/a%20b.sock?db=5", dir.path().display());
        let mut c = connect(&url).unwrap();
        c.must(&[b"SET", b"k", b"v"]).unwrap();
        let info = c.must(&[b"INFO", b"keyspace"]).unwrap();
        assert!(info.text().unwrap().contains("db5:keys=1"), "{info:?}");
        assert_eq!(c.name(), path.to_str().unwrap());
    }
    let e = connect("unix:///no/such.sock").unwrap_err().to_string();
    assert!(e.starts_with("/no/such.sock: cannot connect"), "{e}");
}

#[test]
fn nobody_there() {
    let port = free_port();
    let e = connect(&format!("redis://localhost:{port}")).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Io);
    let said = e.to_string();
    let start = format!("localhost:{port}: cannot connect (is a server running there?)");
    assert!(said.starts_with(&start), "{said}");
}

/// One that takes connections and says `greeting`, once for each.
fn stranger(greeting: &'static [u8]) -> u16 {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        let mut socket = listener.accept().unwrap().0;
        socket.write_all(greeting).unwrap();
        let _ = socket.read(&mut [0; 1000]);
    });
    port
}

#[test]
fn others_than_servers() {
    let rows: [(&[u8], &str); 4] = [
        (b"", "CLIENT SETNAME: the server closed the connection"),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "no server of Redis or Valkey: byte 0: \"SSH-2.0",
        ),
        (
            b"\x15\x03\x03\x00\x02\x02\x46",
            "that port wants TLS: rediss:// or --tls",
        ),
        (
            b"-DENIED Redis is running in protected mode\r\n",
            "takes strangers only",
        ),
    ];
    for (greeting, want) in rows {
        let e = connect(&format!("redis://127.0.0.1:{}", stranger(greeting))).unwrap_err();
        assert!(e.to_string().contains(want), "{e}");
        assert_ne!(
            e.io_error().map(std::io::Error::kind),
            Some(std::io::ErrorKind::BrokenPipe)
        );
    }
    // One that never says a word.
    let port = free_port();
    let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let url = format!("redis://127.0.0.1:{port}");
    let mut options = Options::default();
    options.timeouts.io = Duration::from_millis(50);
    let e = Client::connect(&endpoint(&url), &options).unwrap_err();
    assert!(e.to_string().contains("no answer to CLIENT SETNAME"), "{e}");
    options.timeouts.connect = Duration::from_millis(50);
    options.tls.enabled = true;
    options.tls.insecure = true;
    let e = Client::connect(&endpoint(&url), &options).unwrap_err();
    assert!(e.to_string().contains("no TLS handshake"), "{e}");
}

// --- TLS --------------------------------------------------------------------------

/// Certificates: of an authority, of a server and of a client, signed by it.
pub(crate) struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    /// Makes them with the program openssl; none if it is not there.
    pub(crate) fn make() -> Option<Certificates> {
        let dir = directory();
        let run = |args: &str| {
            let args = args.split_whitespace();
            let mut command = Command::new("openssl");
            match command.args(args).current_dir(dir.path()).output() {
                Ok(out) => {
                    let said = String::from_utf8_lossy(&out.stderr);
                    assert!(out.status.success(), "openssl: {said}");
                    true
                }
                Err(_) => false,
            }
        };
        if !run(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt",
        ) {
            say("there is no program openssl: TLS is not tested");
            return None;
        }
        std::fs::write(
            dir.path().join("names"),
            "subjectAltName=IP:127.0.0.1,DNS:db.example",
        )
        .unwrap();
        run(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=self -addext subjectAltName=IP:127.0.0.1 -keyout self.key -out self.crt",
        );
        for who in ["server", "client"] {
            run(&format!(
                "req -newkey rsa:2048 -nodes -subj /CN={who} -keyout {who}.key -out {who}.csr"
            ));
            run(&format!(
                "x509 -req -in {who}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out {who}.crt"
            ));
        }
        Some(Certificates { dir })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A server with TLS on another port, or none if it was built without.
    pub(crate) fn server(&self, installed: &Installed, more: &[&str]) -> Option<(Server, u16)> {
        self.server_as("server", installed, more)
    }

    /// The same with another certificate.
    fn server_as(&self, who: &str, installed: &Installed, more: &[&str]) -> Option<(Server, u16)> {
        if installed.name.starts_with("redis-3.") || installed.name.starts_with("redis-5.") {
            return None; // TLS came with 6.0
        }
        let port = free_port();
        let of = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let (port_text, cert, key, ca) = (
            port.to_string(),
            of(&format!("{who}.crt")),
            of(&format!("{who}.key")),
            of("ca.crt"),
        );
        let mut settings = vec![
            "--tls-port",
            &port_text,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
        ];
        settings.extend(more);
        match Server::try_start(installed, &settings, &[]) {
            Ok(server) => Some((server, port)),
            Err(log) => {
                assert!(log.contains("tls-port"), "{}: {log}", installed.name);
                say(&format!("{} was built without TLS", installed.name));
                None
            }
        }
    }
}

#[test]
fn tls() {
    if installed().is_none() {
        return;
    }
    let Some(certificates) = Certificates::make() else {
        return;
    };
    let path = |name: &str| Some(certificates.path(name));
    let mut servers = 0;
    for installed in installed().unwrap_or_default() {
        let Some((server, port)) = certificates.server(installed, &["--tls-auth-clients", "no"])
        else {
            continue;
        };
        servers += 1;
        let plain = server.port();
        let with = |url: &str, tls: TlsOptions| {
            let mut options = Options {
                tls,
                ..Options::default()
            };
            // A server without TLS waits for the end of a line, and the handshake seldom has one.
            options.timeouts.connect = Duration::from_secs(2);
            Client::connect(&endpoint(url), &options).and_then(|mut c| c.info())
        };
        let url = &format!("rediss://127.0.0.1:{port}");
        let trusting = TlsOptions {
            cacert: path("ca.crt"),
            ..TlsOptions::default()
        };
        with(url, trusting.clone()).unwrap();
        with(&url.replace("rediss", "valkeys"), trusting.clone()).unwrap();
        // Not the URL, but --tls; a directory; whoever it is; by another name.
        let enabled = TlsOptions {
            enabled: true,
            ..trusting.clone()
        };
        with(&url.replace("rediss", "redis"), enabled).unwrap();
        let dir = TlsOptions {
            cacertdir: Some(certificates.dir.path().into()),
            ..TlsOptions::default()
        };
        with(url, dir).unwrap();
        with(
            url,
            TlsOptions {
                insecure: true,
                ..TlsOptions::default()
            },
        )
        .unwrap();
        let named = TlsOptions {
            sni: Some("db.example".into()),
            ..trusting.clone()
        };
        with(&url.replace("127.0.0.1", "localhost"), named).unwrap();

        let refused = |url: &str, tls: TlsOptions, want: &str| {
            let e = with(url, tls).unwrap_err().to_string();
            assert!(e.contains(want), "{}: {e}", server.name);
        };
        refused(
            url,
            TlsOptions {
                sni: Some("other.example".into()),
                ..trusting.clone()
            },
            "not good",
        );
        refused(
            url,
            TlsOptions {
                cacert: path("ca.key"),
                ..TlsOptions::default()
            },
            "no certificate in it",
        );
        refused(
            url,
            TlsOptions {
                cacert: path("none"),
                ..TlsOptions::default()
            },
            "cannot read certificates",
        );
        refused(
            url,
            TlsOptions {
                cacert: path("client.crt"),
                ..TlsOptions::default()
            },
            "--cacert",
        );
        refused(
            url,
            TlsOptions {
                cert: path("client.crt"),
                ..trusting.clone()
            },
            "without its key",
        );
        // A certificate that the server has signed itself, as an authority of its own; under its name only.
        let settings = ["--tls-auth-clients", "no"];
        let own = certificates.server_as("self", installed, &settings);
        let (_own, port_of_own) = own.expect("it has TLS");
        let named = TlsOptions {
            cacert: path("self.crt"),
            ..TlsOptions::default()
        };
        let url_of_own = &format!("rediss://127.0.0.1:{port_of_own}");
        with(url_of_own, named.clone()).unwrap();
        let other = TlsOptions {
            sni: Some("other.example".into()),
            ..named.clone()
        };
        refused(url_of_own, other, "not good");
        refused(url_of_own, trusting.clone(), "not good");
        refused(url, named, "--cacert");

        let url = &format!("rediss://127.0.0.1:{plain}");
        refused(url, trusting.clone(), "is that port one for TLS?");
        let e = connect(&format!("redis://127.0.0.1:{port}"))
            .unwrap_err()
            .to_string();
        // Some say so in an alert, some only hang up.
        assert!(e.contains("want") && e.contains("TLS"), "{e}");
        assert!(!e.contains("pipe"), "{e}");
    }
    say(&format!("TLS with {servers} servers"));
}

#[test]
fn tls_with_a_client_certificate() {
    if installed().is_none() {
        return;
    }
    let Some(certificates) = Certificates::make() else {
        return;
    };
    let path = |name: &str| Some(certificates.path(name));
    let of = installed().unwrap_or_default().iter().rev();
    if let Some((_server, port)) = of.flat_map(|i| certificates.server(i, &[])).next() {
        let mut options = Options::default();
        options.tls.cacert = path("ca.crt");
        let to = endpoint(&format!("rediss://127.0.0.1:{port}"));
        let e = Client::connect(&to, &options).unwrap_err().to_string();
        assert!(
            e.contains("CertificateRequired") || e.contains("--cert"),
            "{e}"
        );
        options.tls.cert = path("client.crt");
        options.tls.key = path("client.key");
        Client::connect(&to, &options).unwrap().info().unwrap();
    }
}

// --- both directions at once --------------------------------------------------------

/// Sends to all of them at once, with a server that answers more than it is sent, and takes no answer before all is
/// sent where it can: without reading meanwhile this locks up.
fn duplex(endpoints: &[Endpoint], options: &Options) {
    const COMMANDS: usize = 40_000;
    let value = vec![b'v'; 1000];
    let mut out = Vec::new();
    for _ in 0..COMMANDS {
        out.extend_from_slice(b"*2\r\n$4\r\nECHO\r\n$1000\r\n");
        out.extend_from_slice(&value);
        out.extend_from_slice(b"\r\n");
    }
    struct One {
        connection: Connection,
        written: usize,
        input: Vec<u8>,
        answers: usize,
    }
    let mut all: Vec<_> = endpoints
        .iter()
        .map(|e| One {
            connection: Connection::open(e, options).unwrap(),
            written: 0,
            input: Vec::new(),
            answers: 0,
        })
        .collect();
    let until = Instant::now() + Duration::from_secs(100);
    while all.iter().any(|o| o.answers < COMMANDS) {
        let mut moved = false;
        for o in &mut all {
            let done = o
                .connection
                .exchange(&out[o.written..], &mut o.input)
                .unwrap();
            moved |= done.moved();
            assert!(!done.closed);
            o.written += done.written;
            let mut at = 0;
            while let Some((Head::Bulk(n), len)) = head(&o.input[at..], 0).unwrap() {
                assert_eq!(n, 1000);
                let end = at + len + 1002;
                let Some(answer) = o.input.get(at + len..end) else {
                    break;
                };
                assert_eq!(&answer[..1000], &value);
                at = end;
                o.answers += 1;
            }
            o.input.drain(..at);
        }
        if !moved {
            let mut waits: Vec<_> = all
                .iter()
                .map(|o| Wait::new(&o.connection, o.written < out.len()))
                .collect();
            assert!(wait(&mut waits, until).unwrap(), "locked up");
            assert!(waits.iter().any(|w| w.ready));
        }
    }
    for o in &mut all {
        assert!(o.input.is_empty() && o.written == out.len());
        // Nothing more comes, and a wait for it ends.
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(!o.connection.ready(false, soon).unwrap());
    }
}

#[test]
fn both_directions_at_once() {
    let Some(newest) = installed().and_then(|all| all.last()) else {
        return;
    };
    let dir = directory();
    let path = dir.path().join("s");
    let server = Server::start(newest, &["--unixsocket", path.to_str().unwrap()]);
    let tcp = endpoint(&format!("redis://127.0.0.1:{}", server.port()));
    let unix = endpoint(&format!("unix://{}", path.display()));
    duplex(&[tcp.clone(), unix, tcp], &Options::default());
}

#[test]
fn both_directions_at_once_over_tls() {
    let Some(newest) = installed().and_then(|all| all.last()) else {
        return;
    };
    let Some(certificates) = Certificates::make() else {
        return;
    };
    if let Some((_server, port)) = certificates.server(newest, &["--tls-auth-clients", "no"]) {
        let mut options = Options::default();
        options.tls.cacert = Some(Path::new(&certificates.path("ca.crt")).into());
        let to = endpoint(&format!("rediss://127.0.0.1:{port}"));
        duplex(&[to.clone(), to], &options);
    }
}
