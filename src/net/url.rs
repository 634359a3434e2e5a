//! Where a server is, as a URL says it.
//!
//! ```text
//!   redis:// valkey://        [user:password@]host[:port][/db]      port 6379, host localhost if it is empty
//!   rediss:// valkeys://      the same, over TLS
//!   unix://                   [user:password@]path[?db=n]           unix:///run/redis.sock
//!
//!   user, password, host and path may have any byte as %XX;  an IPv6 address stands in brackets: redis://[::1]:6380
//! ```
//!
//! As for redis-cli, what stands alone before the `@` is a password: `redis://secret@host`.

use std::fmt;
use std::path::PathBuf;

/// Where a server listens unless told otherwise.
pub const DEFAULT_PORT: u16 = 6379;

/// Something that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Keeps `bytes` from being shown.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(bytes.into())
    }

    /// The bytes, for the server only.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A server's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host name or IP address (without brackets), and a port.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

/// `host:port`, or the path of the socket.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A server, and who to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its place.
    pub address: Address,
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// The user, if one is named.
    pub user: Option<String>,
    /// The password, if there is one.
    pub password: Option<Secret>,
    /// The database, if one is named.
    pub db: Option<u64>,
    /// What it began with, to show it again.
    scheme: &'static str,
}

/// What a URL may begin with, and whether TLS is meant.
const SCHEMES: [(&str, bool); 5] = [
    ("redis", false),
    ("rediss", true),
    ("valkey", false),
    ("valkeys", true),
    ("unix", false),
];

/// Whether `text` is meant as a URL of a server, and no path.
pub fn is_url(text: &str) -> bool {
    scheme(text).is_some()
}

fn scheme(text: &str) -> Option<(&'static str, bool, &str)> {
    let (name, rest) = text.split_once("://")?;
    let (scheme, tls) = SCHEMES
        .into_iter()
        .find(|(s, _)| s.eq_ignore_ascii_case(name))?;
    Some((scheme, tls, rest))
}

impl Endpoint {
    /// The server at `address`, without TLS, nobody named.
    pub fn new(address: Address) -> Endpoint {
        Endpoint {
            scheme: match address {
                Address::Tcp(..) => "redis",
                Address::Unix(_) => "unix",
            },
            address,
            tls: false,
            user: None,
            password: None,
            db: None,
        }
    }

    /// The same, at another address: another node of a cluster.
    #[must_use]
    pub fn at(&self, address: Address) -> Endpoint {
        Endpoint {
            address,
            ..self.clone()
        }
    }

    /// Reads a URL. What is wrong with it is said without quoting what may be a secret.
    ///
    /// ```
    /// use rdbtool::net::Endpoint;
    /// let e = Endpoint::parse("rediss://ann:p%40ss@db.example:7000/2")?;
    /// assert_eq!(e.to_string(), "rediss://db.example:7000/2");
    /// assert_eq!(e.user.as_deref(), Some("ann"));
    /// assert_eq!(e.password.unwrap().reveal(), b"p@ss");
    /// # Ok::<(), String>(())
    /// ```
    pub fn parse(text: &str) -> Result<Endpoint, String> {
        let Some((scheme, tls, rest)) = scheme(text) else {
            return Err(
                "no URL of a server: expected redis://, rediss://, valkey://, valkeys:// or unix://"
                    .to_owned(),
            );
        };
        let mut e = Endpoint {
            address: Address::Tcp(String::new(), DEFAULT_PORT),
            tls,
            user: None,
            password: None,
            db: None,
            scheme,
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        // The authority ends at the first slash; an @ behind it belongs to a password that has one.
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        if scheme != "unix" && path.contains('@') || query.is_some_and(|q| q.contains('@')) {
            return Err(
                "an @ behind the first / or ?: in a password these are written %2F, %3F and %40"
                    .to_owned(),
            );
        }
        let place = match authority.rsplit_once('@') {
            Some((who, place)) => {
                e.who(who)?;
                place
            }
            None => authority,
        };
        if scheme == "unix" {
            let path = decode(&format!("{place}{path}"), "path")?;
            if path.is_empty() {
                return Err("a unix:// URL without a path".to_owned());
            }
            e.address = Address::Unix(path_of(path)?);
        } else {
            e.address = tcp(place)?;
            let db = path.trim_matches('/');
            if !db.is_empty() {
                e.db = Some(number(db, "database")?);
            }
        }
        for parameter in query.into_iter().flat_map(|q| q.split('&')) {
            match parameter.split_once('=') {
                Some(("db", db)) => e.db = Some(number(db, "database")?),
                _ if parameter.is_empty() => {}
                // Its name only: the value may be a password.
                other => {
                    let name = other.map_or(parameter, |(name, _)| name);
                    return Err(format!("unknown parameter {name:?}: there is db only"));
                }
            }
        }
        Ok(e)
    }

    /// What stands before the `@`.
    fn who(&mut self, who: &str) -> Result<(), String> {
        let (user, password) = match who.split_once(':') {
            Some((user, password)) => (user, password),
            None => ("", who),
        };
        if !user.is_empty() {
            let user = String::from_utf8(decode(user, "user")?);
            self.user = Some(user.map_err(|_| "the user's name is not UTF-8")?);
        }
        if !password.is_empty() {
            self.password = Some(Secret(decode(password, "password")?));
        }
        Ok(())
    }
}

/// Without user and password.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.address)?;
        match (&self.address, self.db) {
            (_, None) => Ok(()),
            (Address::Tcp(..), Some(db)) => write!(f, "/{db}"),
            (Address::Unix(_), Some(db)) => write!(f, "?db={db}"),
        }
    }
}

impl std::str::FromStr for Endpoint {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Endpoint::parse(s)
    }
}

/// `host`, `host:port`, `[::1]`, `[::1]:port`, `:port`.
fn tcp(place: &str) -> Result<Address, String> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest
                .split_once(']')
                .ok_or("a [ without its ]: expected an IPv6 address in brackets, as [::1]")?;
            host.parse::<std::net::Ipv6Addr>()
                .map_err(|_| format!("{host:?} in brackets is no IPv6 address"))?;
            match port.strip_prefix(':') {
                Some(port) => (host.to_owned(), Some(port)),
                None if port.is_empty() => (host.to_owned(), None),
                None => {
                    return Err(format!(
                        "{port:?} behind the ]: expected a colon and a port"
                    ));
                }
            }
        }
        None => {
            let (host, port) = match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            };
            if port.is_some_and(|p| p.contains(':')) {
                return Err(
                    "more than one colon in the host: an IPv6 address stands in brackets, as [::1]"
                        .to_owned(),
                );
            }
            let host = String::from_utf8(decode(host, "host")?);
            (host.map_err(|_| "the host's name is not UTF-8")?, port)
        }
    };
    let port = match port {
        None | Some("") => DEFAULT_PORT,
        Some(text) => match text.parse() {
            Ok(0) | Err(_) => return Err(format!("{text:?} is no port: expected 1 to 65535")),
            Ok(port) => port,
        },
    };
    Ok(Address::Tcp(
        match host.is_empty() {
            true => "localhost".to_owned(),
            false => host,
        },
        port,
    ))
}

fn number(text: &str, what: &str) -> Result<u64, String> {
    match text.parse::<u32>() {
        Ok(n) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(u64::from(n)),
        _ => Err(format!("{text:?} is no {what}: expected a number")),
    }
}

/// Every `%XX` as the byte it stands for. The text itself is not told: it may be a password.
fn decode(text: &str, what: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        bytes.push(match b {
            b'%' => {
                let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => u8::try_from(16 * high + low).unwrap_or_default(),
                    _ => {
                        return Err(format!(
                            "a % in the {what} without two hex digits behind it: a % itself is written %25"
                        ));
                    }
                }
            }
            b => b,
        });
    }
    Ok(bytes)
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> Result<PathBuf, String> {
    use std::os::unix::ffi::OsStringExt;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> Result<PathBuf, String> {
    let path = String::from_utf8(bytes).map_err(|_| "the path is not UTF-8")?;
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a URL says: address, TLS, user, password, database.
    fn parts(url: &str) -> (String, bool, String, String, Option<u64>) {
        let e = Endpoint::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"));
        (
            e.address.to_string(),
            e.tls,
            e.user.unwrap_or_default(),
            e.password.map_or(String::new(), |p| {
                String::from_utf8(p.reveal().to_vec()).unwrap()
            }),
            e.db,
        )
    }

    #[test]
    fn what_urls_say() {
        let rows = [
            ("redis://h", "h:6379", false, "", "", None),
            ("redis://", "localhost:6379", false, "", "", None),
            ("redis://h/", "h:6379", false, "", "", None),
            ("redis://h:/", "h:6379", false, "", "", None),
            ("redis://:7000", "localhost:7000", false, "", "", None),
            ("REDIS://h:1/0", "h:1", false, "", "", Some(0)),
            ("valkey://h/15", "h:6379", false, "", "", Some(15)),
            ("valkeys://h", "h:6379", true, "", "", None),
            ("rediss://u:p@h:1/2", "h:1", true, "u", "p", Some(2)),
            ("redis://:p@h", "h:6379", false, "", "p", None),
            ("redis://p@h", "h:6379", false, "", "p", None),
            ("redis://u:@h", "h:6379", false, "u", "", None),
            ("redis://u:a:b@h", "h:6379", false, "u", "a:b", None),
            ("redis://u:a@b@h", "h:6379", false, "u", "a@b", None),
            (
                "redis://u%3A:%2f%3F%23%25@h",
                "h:6379",
                false,
                "u:",
                "/?#%",
                None,
            ),
            ("redis://[::1]", "[::1]:6379", false, "", "", None),
            (
                "redis://u:p@[fe80::1]:7/3",
                "[fe80::1]:7",
                false,
                "u",
                "p",
                Some(3),
            ),
            ("redis://h?db=4", "h:6379", false, "", "", Some(4)),
            ("unix:///run/r.sock", "/run/r.sock", false, "", "", None),
            ("unix://r.sock?db=3", "r.sock", false, "", "", Some(3)),
            ("unix://:p@/run/a@b%20c", "/run/a@b c", false, "", "p", None),
        ];
        for (url, address, tls, user, password, db) in rows {
            let want = (address.into(), tls, user.into(), password.into(), db);
            assert_eq!(parts(url), want, "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        let rows = [
            ("http://h", "no URL"),
            ("redis:/h", "no URL"),
            ("redis://h:0", "\"0\" is no port"),
            ("redis://h:65536", "\"65536\" is no port"),
            ("redis://h:x", "\"x\" is no port"),
            ("redis://h/x", "\"x\" is no database"),
            ("redis://h/-1", "\"-1\" is no database"),
            ("redis://h/1/2", "\"1/2\" is no database"),
            ("redis://::1", "more than one colon"),
            ("redis://[::1", "a [ without its ]"),
            ("redis://[h]", "no IPv6 address"),
            ("redis://[::1]6379", "behind the ]"),
            ("redis://u:SECRET%@h", "a % in the password"),
            ("redis://u:SECRET%4@h", "a % in the password"),
            ("redis://u:SECRET/SECRET@h", "an @ behind"),
            ("redis://u:SECRET?SECRET@h", "an @ behind"),
            (
                "redis://h?password=SECRET",
                "unknown parameter \"password\"",
            ),
            ("unix://", "without a path"),
            ("unix://?db=1", "without a path"),
            ("unix:///s?db=", "is no database"),
        ];
        for (url, what) in rows {
            let e = Endpoint::parse(url).unwrap_err();
            assert!(e.contains(what), "{url}: {e}");
            assert!(!e.contains("SECRET"), "{url}: {e}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        for url in [
            "redis://u:SECRET@h:1/2",
            "redis://SECRET@h",
            "unix://:SECRET@/s?db=1",
        ] {
            let e = Endpoint::parse(url).unwrap();
            let shown = format!("{e} {e:?}");
            assert!(!shown.contains("SECRET"), "{shown}");
        }
        let shown = Endpoint::parse("valkeys://u:p@[::1]/2")
            .unwrap()
            .to_string();
        assert_eq!(shown, "valkeys://[::1]:6379/2");
        let shown = Endpoint::parse("unix://u:p@/s?db=1").unwrap().to_string();
        assert_eq!(shown, "unix:///s?db=1");
    }
}
