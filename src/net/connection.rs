//! A connection that can be read and written at once, by one thread.
//!
//! ```text
//!              exchange(out, in)                          wait([a, b, c], until)
//!   out ─────► as much as goes      ──► server            sleeps until one of them
//!   in  ◄───── as much as there is  ◄──                   has come nearer to its end
//! ```
//!
//! Whoever sends thousands of commands before reading an answer locks up: the server stops reading when its answers are not
//! taken. So nothing here blocks: a sender exchanges with each of its connections until none moves, waits for any, and goes on.
//! For a plain conversation there are [`Read`] and [`Write`], which wait, with a timeout, on top of the same.
//!
//! Over TLS the two differ in one thing: bytes may be written (taken, encrypted) and not yet be sent. [`wait`] knows, and the next
//! `exchange` sends them, also with nothing to write.

use super::{Address, Endpoint, Options, tls};
use crate::error::{RdbError, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::net::sockopt;
use rustls::ClientConnection;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Bytes read at a time.
const STEP: usize = 64 << 10;
/// The most that one `exchange` reads: after that it is others' turn.
const READ_MOST: usize = 1 << 20;
/// After so long without a byte the system asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A connection to a server.
pub struct Connection {
    name: String,
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
    timeout: Duration,
    /// Where bytes are read to first.
    step: Box<[u8]>,
    /// The server has closed its side, and all that came before has been read.
    closed: bool,
}

enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

/// What an exchange has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exchanged {
    /// Bytes of `out` that are on their way.
    pub written: usize,
    /// Bytes appended to `input`.
    pub read: usize,
    /// The server sends nothing more.
    pub closed: bool,
}

impl Exchanged {
    /// Whether anything happened. If not, it is time to [`wait`].
    pub fn moved(&self) -> bool {
        self.written > 0 || self.read > 0 || self.closed
    }
}

impl Connection {
    /// Connects: each of the host's addresses in turn, then TLS if the endpoint or the options want it.
    pub fn open(endpoint: &Endpoint, options: &Options) -> Result<Connection> {
        let name = endpoint.address.to_string();
        let open = || {
            let tls = match endpoint.tls || options.tls.enabled {
                true => Some(Box::new(tls::client(&endpoint.address, &options.tls)?)),
                false => None,
            };
            let timeout = options.timeouts.connect;
            let socket = Socket::open(&endpoint.address, timeout)
                .map_err(|e| RdbError::io(cannot_connect(&e), e))?;
            let mut connection = Connection {
                name: name.clone(),
                socket,
                tls,
                timeout: options.timeouts.io,
                step: vec![0; STEP].into_boxed_slice(),
                closed: false,
            };
            connection
                .handshake(Instant::now() + timeout)
                .map_err(|e| RdbError::io(no_handshake(&e), e))?;
            Ok(connection)
        };
        open().map_err(|e: RdbError| e.with_file(&name))
    }

    /// `host:port`, or the path of the socket: what errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// How long [`Read`] and [`Write`] wait for a byte to move.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Changes how long [`Read`] and [`Write`] wait for a byte to move.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Writes as much of `out` as goes, appends to `input` what is there (up to 1 MiB), and does not wait for either.
    ///
    /// What a server says before it hangs up is read before the error of writing to it is told.
    pub fn exchange(&mut self, out: &[u8], input: &mut Vec<u8>) -> io::Result<Exchanged> {
        let mut done = Exchanged::default();
        self.receive(input, &mut done)?;
        match self.try_write(out) {
            Ok(n) => done.written = n,
            Err(_) if done.read > 0 || done.closed => {}
            Err(e) => {
                // The error may be that of an end whose last words are still on their way through here.
                let _ = self.receive(input, &mut done);
                if done.read == 0 {
                    return Err(e);
                }
            }
        }
        Ok(done)
    }

    fn receive(&mut self, input: &mut Vec<u8>, done: &mut Exchanged) -> io::Result<()> {
        while done.read < READ_MOST && !self.closed {
            let mut step = std::mem::take(&mut self.step);
            let got = self.try_read(&mut step);
            self.step = step;
            match got {
                Ok(0) => break,
                Ok(n) => {
                    input.extend_from_slice(self.step.get(..n).unwrap_or_default());
                    done.read += n;
                    // Without TLS that was all there is, and the system need not be asked again.
                    if self.tls.is_none() && n < STEP {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // The next call tells it again; what came before it counts.
                Err(_) if done.read > 0 => break,
                Err(e) => return Err(e),
            }
        }
        done.closed = self.closed;
        Ok(())
    }

    /// Reads what is there; `WouldBlock` if nothing is; 0 once the server has closed its side.
    pub fn try_read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() || self.closed {
            return Ok(0);
        }
        let Connection { socket, tls, .. } = self;
        let n = match tls {
            None => socket.read(to)?,
            Some(tls) => loop {
                match tls.reader().read(to) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    // An end without a farewell. Whether all came is for others to know: every transfer says its length.
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break 0,
                    other => break other?,
                }
                tls.read_tls(socket)?;
                if let Err(e) = tls.process_new_packets() {
                    // Tells the other side why.
                    let _ = tls.write_tls(socket);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, e));
                }
            },
        };
        self.closed = n == 0;
        Ok(n)
    }

    /// Writes as much as goes: 0 bytes if none.
    pub fn try_write(&mut self, mut out: &[u8]) -> io::Result<usize> {
        let whole = out.len();
        loop {
            if let Some(tls) = &mut self.tls {
                let n = tls.writer().write(out)?;
                out = out.get(n..).unwrap_or_default();
            }
            match self.flush_some() {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => return Err(e),
            }
            match (&self.tls, &mut self.socket) {
                _ if out.is_empty() => break,
                (Some(_), _) => {}
                (None, socket) => match socket.write(out) {
                    Ok(n) => out = out.get(n..).unwrap_or_default(),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e),
                },
            }
        }
        Ok(whole - out.len())
    }

    /// Sends what TLS has encrypted; whether all of it went.
    fn flush_some(&mut self) -> io::Result<bool> {
        let Connection { socket, tls, .. } = self;
        if let Some(tls) = tls {
            while tls.wants_write() {
                match tls.write_tls(socket) {
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(true)
    }

    fn handshake(&mut self, until: Instant) -> io::Result<()> {
        loop {
            self.flush_some()?;
            let Connection { socket, tls, .. } = self;
            let Some(tls) = tls.as_mut().filter(|t| t.is_handshaking()) else {
                return Ok(());
            };
            match tls.read_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    if let Err(e) = tls.process_new_packets() {
                        let _ = tls.write_tls(socket);
                        return Err(io::Error::new(io::ErrorKind::InvalidData, e));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if !self.ready(false, until)? {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Waits until there is something to read, or room to write if that is wanted; false when the time is over.
    pub fn ready(&self, write: bool, until: Instant) -> io::Result<bool> {
        wait(&mut [Wait::new(self, write)], until)
    }
}

/// A connection that is waited for.
#[derive(Debug)]
pub struct Wait<'c> {
    connection: &'c Connection,
    write: bool,
    /// Whether an exchange would move something now.
    pub ready: bool,
}

impl<'c> Wait<'c> {
    /// Waits for something to read, and for room to write if there is something to write.
    pub fn new(connection: &'c Connection, write: bool) -> Self {
        Wait {
            connection,
            write,
            ready: false,
        }
    }
}

/// Waits until at least one of them is ready, or until the time is over: then it says false.
///
/// To be called when an [`exchange`](Connection::exchange) has moved nothing: what TLS has unpacked but nobody has read is not seen here.
pub fn wait(all: &mut [Wait<'_>], until: Instant) -> io::Result<bool> {
    let mut fds: Vec<_> = all
        .iter()
        .map(|w| {
            let encrypted = w.connection.tls.as_ref();
            let write = w.write || encrypted.is_some_and(|t| t.wants_write());
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, write);
            PollFd::from_borrowed_fd(w.connection.socket.fd(), flags)
        })
        .collect();
    if !poll_until(&mut fds, until)? {
        return Ok(false);
    }
    for (w, fd) in all.iter_mut().zip(&fds) {
        w.ready = !fd.revents().is_empty();
    }
    Ok(true)
}

/// Waits until one of them has an event; false when the time is over.
fn poll_until(fds: &mut [PollFd<'_>], until: Instant) -> io::Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()) as _,
        };
        match poll(fds, Some(&left)) {
            Ok(n) => return Ok(n > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Waits for at least one byte.
impl Read for Connection {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let until = Instant::now() + self.timeout;
        loop {
            match self.try_read(to) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            self.flush_some()?;
            if !self.ready(false, until)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

/// Waits until at least one byte went. Does not read meanwhile: for commands one by one.
impl Write for Connection {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let until = Instant::now() + self.timeout;
        loop {
            let n = self.try_write(from)?;
            if n > 0 || from.is_empty() {
                return Ok(n);
            }
            self.wait_for_room(until)?;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let until = Instant::now() + self.timeout;
        while !self.flush_some()? {
            self.wait_for_room(until)?;
        }
        Ok(())
    }
}

impl Connection {
    /// Waits for room to write alone: there may be bytes to read, which nobody reads now.
    fn wait_for_room(&self, until: Instant) -> io::Result<()> {
        let fd = PollFd::from_borrowed_fd(self.socket.fd(), PollFlags::OUT);
        match poll_until(&mut [fd], until)? {
            true => Ok(()),
            false => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Socket {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(s) => s.as_fd(),
            #[cfg(unix)]
            Socket::Unix(s) => s.as_fd(),
        }
    }

    fn open(address: &Address, timeout: Duration) -> io::Result<Socket> {
        match address {
            Address::Tcp(host, port) => {
                let mut last = None;
                for at in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&at, timeout) {
                        Ok(s) => {
                            s.set_nodelay(true)?;
                            s.set_nonblocking(true)?;
                            sockopt::set_socket_keepalive(&s, true)?;
                            // Not every system has these; without them a dead server is noticed later.
                            let _ = sockopt::set_tcp_keepidle(&s, KEEPALIVE);
                            let _ = sockopt::set_tcp_keepintvl(&s, KEEPALIVE);
                            return Ok(Socket::Tcp(s));
                        }
                        Err(e) => last = Some(e),
                    }
                }
                Err(last.unwrap_or_else(|| {
                    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
                }))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let s = UnixStream::connect(path)?;
                s.set_nonblocking(true)?;
                Ok(Socket::Unix(s))
            }
            #[cfg(not(unix))]
            Address::Unix(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this system has no unix sockets",
            )),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        again(|| match self {
            Socket::Tcp(s) => s.read(to),
            #[cfg(unix)]
            Socket::Unix(s) => s.read(to),
        })
    }
}

impl Write for Socket {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        again(|| match self {
            Socket::Tcp(s) => s.write(from),
            #[cfg(unix)]
            Socket::Unix(s) => s.write(from),
        })
        .map_err(|e| match e.kind() {
            // A closed pipe means that whoever reads our output has had enough. This is not that.
            io::ErrorKind::BrokenPipe => io::ErrorKind::ConnectionReset.into(),
            _ => e,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn again(mut f: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match f() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Why there is no connection, as far as that can be guessed.
fn cannot_connect(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::ConnectionRefused => "cannot connect (is a server running there?)",
        _ => "cannot connect",
    }
}

/// Why TLS did not begin, as far as that can be guessed.
fn no_handshake(e: &io::Error) -> &'static str {
    use rustls::{AlertDescription, CertificateError, Error};
    let inner = e.get_ref().and_then(|e| e.downcast_ref::<Error>());
    match (e.kind(), inner) {
        (_, Some(Error::InvalidMessage(_)))
        | (io::ErrorKind::UnexpectedEof | io::ErrorKind::TimedOut, _) => {
            "no TLS handshake (is that port one for TLS? redis:// speaks without)"
        }
        (_, Some(Error::InvalidCertificate(CertificateError::UnknownIssuer))) => {
            "the server's certificate is not trusted (--cacert names one that is)"
        }
        (_, Some(Error::InvalidCertificate(_))) => "the server's certificate is not good",
        (_, Some(Error::AlertReceived(AlertDescription::CertificateRequired))) => {
            "the server wants a client certificate (--cert, --key)"
        }
        _ => "no TLS handshake",
    }
}
