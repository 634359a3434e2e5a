//! A conversation: one command, one answer.
//!
//! ```text
//!   TCP, TLS  ──►  AUTH [user] password  ──►  SELECT db  ──►  CLIENT SETNAME rdbtool  ──►  call, call ...
//! ```

use super::{Connection, Endpoint, Options, Secret};
use crate::error::{ErrorKind, RdbError, Result, quote_up_to};
use crate::out::Out;
use crate::rdb::release::{Engine, Release};
use crate::resp::read::End;
use crate::resp::{Reply, write};
use std::io::{Read, Write};

/// The largest answer that is taken.
const LARGEST: usize = 1 << 30;
/// Bytes read at a time.
const STEP: usize = 64 << 10;
/// The most that is shown of what a server says.
const SHOWN: usize = 300;

/// What connections are called, unless told otherwise.
const NAME: &str = "rdbtool";

/// A server one can ask.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    /// What was received and not yet given out.
    input: Vec<u8>,
    /// Bytes received before those.
    base: u64,
}

/// Who copies from whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Nobody is above it.
    Master,
    /// It copies another; whether the link to that one is up.
    Replica {
        /// Whether it has all its master has.
        link_up: bool,
    },
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Whose, and which version, as far as formats depend on it.
    pub release: Release,
    /// The version as the server says it.
    pub version: String,
    /// Whether it is a node of a cluster.
    pub cluster: bool,
    /// Its role.
    pub role: Role,
    /// Its id of this run.
    pub run_id: String,
    /// Whether it is still loading its data.
    pub loading: bool,
}

impl Client {
    /// Connects, and makes oneself known: AUTH, SELECT, and a name that CLIENT LIST shows.
    pub fn connect(endpoint: &Endpoint, options: &Options) -> Result<Client> {
        let mut client = Client {
            connection: Connection::open(endpoint, options)?,
            input: Vec::new(),
            base: 0,
        };
        let user = endpoint.user.as_ref().or(options.user.as_ref());
        let password = endpoint.password.as_ref().or(options.password.as_ref());
        client.authenticate(user.map(String::as_str), password)?;
        if let Some(db) = endpoint.db.filter(|&db| db > 0) {
            client.must(&[b"SELECT", db.to_string().as_bytes()])?;
        }
        // Not all users may, and Redis before 2.6.9 cannot. A server that wants a password says so at the first thing that matters.
        let name = options.name.as_deref().unwrap_or(NAME);
        match client.call(&[b"CLIENT", b"SETNAME", name.as_bytes()])? {
            // Said to no question, and then the server hangs up.
            Reply::Error(e) if e.starts_with("DENIED") || e.contains("max number of clients") => {
                Err(client.refused("the connection", &e))
            }
            _ => Ok(client),
        }
    }

    fn authenticate(&mut self, user: Option<&str>, password: Option<&Secret>) -> Result<()> {
        let reply = match (user, password) {
            (None, None) => return Ok(()),
            (Some(_), None) => {
                return Err(self.error(ErrorKind::Server, "a user without a password"));
            }
            (None, Some(p)) => self.call(&[b"AUTH", p.reveal()])?,
            (Some(user), Some(p)) => self.call(&[b"AUTH", user.as_bytes(), p.reveal()])?,
        };
        match reply {
            Reply::Error(e)
                if e.contains("without any password configured")
                    || e.contains("no password is set") =>
            {
                // Said by a server that asks nobody for a password; with a user it says this from 6.0 on too. redis-cli goes on.
                Ok(())
            }
            Reply::Error(e) => Err(self.refused("AUTH", &e)),
            _ => Ok(()),
        }
    }

    /// Who errors say it is.
    pub fn name(&self) -> &str {
        self.connection.name()
    }

    /// Sends a command and waits for its answer, which may be an error of the server's.
    pub fn call(&mut self, args: &[&[u8]]) -> Result<Reply> {
        match self.send(args) {
            Ok(()) => self.reply(args),
            // A server that hung up has perhaps said why before.
            Err(e) => self.reply(args).map_err(|_| e),
        }
    }

    /// The same, where an error of the server's is one.
    pub fn must(&mut self, args: &[&[u8]]) -> Result<Reply> {
        match self.call(args)? {
            Reply::Error(e) => Err(self.refused(&shown(args), &e)),
            reply => Ok(reply),
        }
    }

    /// Sends a command.
    pub fn send(&mut self, args: &[&[u8]]) -> Result<()> {
        let mut out = Out::new();
        write::command(args, &mut out);
        self.connection
            .write_all(out.as_bytes())
            .and_then(|()| self.connection.flush())
            .map_err(|e| {
                RdbError::io(format!("cannot send {}", shown(args)), e).with_file(self.name())
            })
    }

    /// The next answer.
    fn reply(&mut self, args: &[&[u8]]) -> Result<Reply> {
        let mut end = End::default();
        loop {
            let found = end
                .find(&self.input, self.base)
                .map_err(|e| self.garbled(e))?;
            if let Some(n) = found {
                let bytes = self.input.get(..n).unwrap_or_default();
                let reply = Reply::read(bytes, self.base)?;
                self.input.drain(..n);
                self.base += n as u64;
                if let Some(reply) = reply {
                    return Ok(reply);
                }
            }
            if self.input.len() > LARGEST {
                let what = format!("{}: an answer larger than {LARGEST} bytes", shown(args));
                return Err(self.error(ErrorKind::Limit, what));
            }
            let n = self.input.len();
            self.input.resize(n + STEP, 0);
            let got = self
                .connection
                .read(self.input.get_mut(n..).unwrap_or_default());
            self.input.truncate(n + *got.as_ref().unwrap_or(&0));
            match got {
                Ok(0) => {
                    let what = format!(
                        "{}: the server closed the connection without an answer{}",
                        shown(args),
                        self.silent()
                    );
                    return Err(self.error(ErrorKind::Server, what));
                }
                Ok(_) => {}
                Err(e) => {
                    let what = format!("no answer to {}{}", shown(args), self.silent());
                    return Err(RdbError::io(what, e).with_file(self.name()));
                }
            }
        }
    }

    /// What the server says of itself.
    pub fn info(&mut self) -> Result<Info> {
        let mut text = String::new();
        // One by one: before 7.0 INFO takes one section only.
        for section in [&b"server"[..], b"cluster", b"replication", b"persistence"] {
            let reply = self.must(&[b"INFO", section])?;
            text.push_str(reply.text().unwrap_or_default());
            text.push('\n');
        }
        Info::parse(&text).ok_or_else(|| {
            self.error(
                ErrorKind::Server,
                "INFO server: no redis_version in the answer",
            )
        })
    }

    /// The connection, and what was received of it and not yet given out.
    pub fn into_parts(self) -> (Connection, Vec<u8>) {
        (self.connection, self.input)
    }

    /// The error of a command that the server refused.
    #[cold]
    pub(crate) fn refused(&self, command: &str, answer: &str) -> RdbError {
        refusal(self.name(), command, answer)
    }

    /// A hint about a server that has never said anything.
    fn silent(&self) -> &'static str {
        match self.base == 0 && self.input.is_empty() && !self.connection.is_tls() {
            true => " (does that port want TLS? rediss:// or --tls)",
            false => "",
        }
    }

    #[cold]
    fn garbled(&self, e: RdbError) -> RdbError {
        let hint = match e.what().starts_with("an alert of TLS") {
            true => " (that port wants TLS: rediss:// or --tls)",
            false => "",
        };
        self.error(
            ErrorKind::Server,
            format!("no server of Redis or Valkey: {e}{hint}"),
        )
    }

    #[cold]
    fn error(&self, kind: ErrorKind, what: impl Into<String>) -> RdbError {
        RdbError::other(kind, what).with_file(self.name())
    }
}

/// The error of a command that the server called `name` refused.
#[cold]
pub(crate) fn refusal(name: &str, command: &str, answer: &str) -> RdbError {
    let hint = hint(answer).map_or(String::new(), |h| format!(" ({h})"));
    let said = quote_up_to(SHOWN, answer.as_bytes());
    let what = format!("{command}: the server says {said}{hint}");
    RdbError::other(ErrorKind::Server, what).with_file(name)
}

/// A command as errors show it: its name, and of those that are two words the second. Never an argument, which may be a secret.
fn shown(args: &[&[u8]]) -> String {
    let word = |i: usize| {
        args.get(i)
            .map_or(String::new(), |a| String::from_utf8_lossy(a).into_owned())
    };
    match word(0).as_str() {
        two @ ("CLIENT" | "CLUSTER" | "CONFIG" | "FUNCTION" | "INFO" | "REPLCONF" | "SELECT") => {
            format!("{two} {}", word(1))
        }
        one => one.to_owned(),
    }
}

/// What may be done about a server's error.
pub fn hint(answer: &str) -> Option<&'static str> {
    let word = answer.split(' ').next().unwrap_or_default();
    Some(match word {
        "NOAUTH" => "a password is needed: -a, REDISCLI_AUTH, or in the URL",
        "WRONGPASS" => "user or password is wrong, or the user is disabled",
        "NOPERM" => "the user's ACL does not allow it",
        "DENIED" => {
            "protected mode: the server takes strangers only with a password or a bind address"
        }
        "LOADING" => "the server is still loading its data: try again later",
        "MASTERDOWN" | "NOMASTERLINK" => "that replica has lost its master: try again later",
        "READONLY" => "that is a replica: write to its master",
        "MISCONF" => "the server cannot save and so takes no writes",
        "OOM" => "the server's memory is full (maxmemory)",
        "CLUSTERDOWN" => "the cluster lacks nodes",
        _ if answer.contains("not connected with my master") => {
            "that replica has lost its master: try again later"
        }
        _ if answer.contains("invalid password") => "the password is wrong",
        _ if answer.contains("wrong number of arguments for 'auth'") => {
            "before 6.0 there are no users: give a password only"
        }
        _ if answer.contains("operation not permitted") => {
            "a password is needed: -a, REDISCLI_AUTH, or in the URL"
        }
        _ if answer.contains("max number of clients") => "the server has no connection to spare",
        _ if answer.contains("DB index is out of range") => "the server has fewer databases",
        _ if answer.contains("not allowed in cluster mode") => "a cluster has database 0 only",
        _ => return None,
    })
}

impl Info {
    /// Out of the text of INFO.
    fn parse(text: &str) -> Option<Info> {
        let get = |name: &str| {
            text.lines()
                .find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        // Valkey says redis_version:7.2.4, for the sake of clients that know no other.
        let (engine, version) = match get("valkey_version") {
            Some(v) => (Engine::Valkey, v),
            None if get("server_name") == Some("valkey") => (Engine::Valkey, get("redis_version")?),
            None => (Engine::Redis, get("redis_version")?),
        };
        let mut numbers = version.split('.').map(|n| n.parse::<u16>().ok());
        let (major, minor) = (numbers.next()??, numbers.next()??);
        Some(Info {
            release: Release {
                engine,
                version: (major, minor),
            },
            version: version.to_owned(),
            cluster: get("cluster_enabled") == Some("1"),
            role: match get("role") {
                Some("slave" | "replica") => Role::Replica {
                    link_up: get("master_link_status") == Some("up"),
                },
                _ => Role::Master,
            },
            run_id: get("run_id").unwrap_or_default().to_owned(),
            loading: get("loading") == Some("1"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_info_says() {
        let text = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\nrun_id:ab\r\n\
             # Cluster\r\ncluster_enabled:1\r\nrole:slave\r\nmaster_link_status:down\r\nloading:0\r\n";
        let info = Info::parse(text).unwrap();
        assert_eq!(info.release, Release::valkey(9, 1));
        assert_eq!(
            (info.version.as_str(), info.run_id.as_str()),
            ("9.1.2", "ab")
        );
        assert!(info.cluster && !info.loading);
        assert_eq!(info.role, Role::Replica { link_up: false });

        let info = Info::parse("redis_version:2.8.24\r\nrole:master\r\nloading:1\r\n").unwrap();
        assert_eq!(info.release, Release::redis(2, 8));
        assert_eq!(info.role, Role::Master);
        assert!(!info.cluster && info.loading);

        for bad in [
            "",
            "redis_version:\r\n",
            "redis_version:x.y\r\n",
            "redis_version:7\r\n",
        ] {
            assert_eq!(Info::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_argument_of_a_command_is_shown() {
        assert_eq!(shown(&[b"AUTH", b"ann", b"SECRET"]), "AUTH");
        assert_eq!(shown(&[b"CLIENT", b"SETNAME", b"x"]), "CLIENT SETNAME");
        assert_eq!(shown(&[b"RESTORE", b"key"]), "RESTORE");
    }
}
