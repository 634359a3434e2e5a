//! Real servers: found under a directory, started one at a time, gone when dropped.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::resp::{Client, cmd};

/// A server that is installed: `redis-7.0` and its program.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) name: String,
    program: PathBuf,
}

/// The servers there are, or `None` when the run shall do without.
///
/// They are looked for in `RDBTOOL_SERVERS`, else in target/servers, where `tests/run` puts them. To find none
/// is a failure: a test that silently compares with nothing proves nothing.
pub(crate) fn installed() -> Option<&'static [Installed]> {
    static FOUND: OnceLock<Option<Vec<Installed>>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let dir = match std::env::var_os("RDBTOOL_SERVERS") {
                Some(v) if v == "none" => {
                    say("RDBTOOL_SERVERS=none: skipped, nothing is compared with a real server");
                    return None;
                }
                Some(v) if !v.is_empty() => PathBuf::from(v),
                _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers"),
            };
            let found = find(&dir);
            assert!(
                !found.is_empty(),
                "no server under {}.\n\
                 `tests/run` (or `just test`) brings them and runs the tests;\n\
                 `tests/servers/get-servers target/servers` brings them only;\n\
                 RDBTOOL_SERVERS=DIR takes them from elsewhere, RDBTOOL_SERVERS=none does without",
                dir.display()
            );
            let names: Vec<_> = found.iter().map(|s| s.name.as_str()).collect();
            say(&format!("comparing with {}", names.join(", ")));
            Some(found)
        })
        .as_deref()
}

/// The newest server of each line.
pub(crate) fn newest(all: &'static [Installed]) -> Vec<&'static Installed> {
    let newest = |line: &str| all.iter().rfind(|i| i.name.starts_with(line));
    ["redis-", "valkey-"]
        .into_iter()
        .filter_map(newest)
        .collect()
}

fn find(dir: &Path) -> Vec<Installed> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        for program in ["redis-server", "valkey-server"] {
            let program = entry.path().join("bin").join(program);
            if program.exists() {
                let name = entry.file_name().to_string_lossy().into_owned();
                found.push(Installed { name, program });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Says something even when the test passes: only the `print` macros are captured.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "live servers: {line}");
}

/// A running server with a directory of its own. Killed, and the directory removed, when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    dir: PathBuf,
    port: u16,
    program: PathBuf,
    settings: Vec<String>,
    /// Name of the installation, for messages.
    pub(crate) name: String,
    /// Whether it is Valkey, which counts its versions on from Redis 7.2.
    pub(crate) valkey: bool,
    /// Major and minor version.
    pub(crate) version: (u32, u32),
}

impl Installed {
    /// The command line client of this installation, if it has one.
    pub(crate) fn cli(&self) -> Option<PathBuf> {
        let name = self.program.file_name()?.to_str()?.replace("server", "cli");
        let cli = self.program.with_file_name(name);
        cli.exists().then_some(cli)
    }
}

impl Server {
    /// Starts a server with these settings beside the usual ones, and waits until it answers.
    pub(crate) fn start(installed: &Installed, settings: &[&str]) -> Self {
        Self::start_on(installed, settings, &[])
    }

    /// Starts a server that loads this file, if it has any bytes.
    pub(crate) fn start_on(installed: &Installed, settings: &[&str], dump: &[u8]) -> Self {
        // Another process may take a port between our look and the server's bind, so try a few.
        let mut last = String::new();
        for _ in 0..5 {
            match Self::try_start(installed, settings, dump) {
                Ok(server) => return server,
                Err(log) => last = log,
            }
        }
        panic!("{} does not start: {last}", installed.name)
    }

    /// The same, once; what the server says if it does not start.
    pub(crate) fn try_start(
        installed: &Installed,
        settings: &[&str],
        dump: &[u8],
    ) -> Result<Self, String> {
        Self::try_start_at(installed, free_port(), settings, |dir| {
            if !dump.is_empty() {
                fs::write(dir.join("dump.rdb"), dump).expect("a file for the server");
            }
        })
    }

    /// The same on a port, in a directory that has been prepared.
    pub(crate) fn try_start_at(
        installed: &Installed,
        port: u16,
        settings: &[&str],
        prepare: impl FnOnce(&Path),
    ) -> Result<Self, String> {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("server-{}-{port}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory for the server");
        prepare(&dir);
        let log = dir.join("log");
        let settings: Vec<_> = settings.iter().map(|&s| s.to_owned()).collect();
        let child = spawn(&installed.program, port, &dir, &settings)?;
        let mut server = Server {
            child,
            dir,
            port,
            program: installed.program.clone(),
            settings,
            name: installed.name.clone(),
            valkey: false,
            version: (0, 0),
        };
        match server.wait() {
            true => Ok(server),
            false => Err(fs::read_to_string(&log).unwrap_or_default()),
        }
    }

    /// Where it keeps its files.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts it again after it has been killed, with other settings and what it has on disk.
    pub(crate) fn restart_with(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(|&s| s.to_owned()).collect();
        self.restart();
    }

    /// Waits until it answers, or is gone.
    fn wait(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            if self.greet() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Ends it at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again after that, with what it has on disk.
    pub(crate) fn restart(&mut self) {
        self.child =
            spawn(&self.program, self.port, &self.dir, &self.settings).expect("it starts again");
        assert!(self.wait(), "{} does not start again", self.name);
    }

    /// Whether it is this server that answers, with all of its data; learns its version.
    fn greet(&mut self) -> bool {
        let Ok(mut client) = Client::connect(self.port) else {
            return false;
        };
        let info = cmd!(client, "INFO", "server").text();
        let get = |name: &str| {
            info.lines()
                .find_map(|l| l.strip_prefix(name))
                .map(str::trim)
        };
        if get("process_id:") != Some(&self.child.id().to_string()) {
            return false;
        }
        let persistence = cmd!(client, "INFO", "persistence").text();
        // Newer servers say async_loading, too.
        if !persistence.contains("\nloading:0") {
            return false;
        }
        self.valkey = get("valkey_version:").is_some();
        let version = get("valkey_version:")
            .or(get("redis_version:"))
            .expect("a version");
        let mut numbers = version.split('.').map(|n| n.parse().expect("a version"));
        self.version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        true
    }

    /// A new connection.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port).expect("the server takes a connection")
    }

    /// Where it listens, on the loopback interface.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The file that it writes.
    pub(crate) fn dump(&self) -> PathBuf {
        self.dir.join("dump.rdb")
    }

    /// Has the server write its file, and says where.
    pub(crate) fn save(&self) -> PathBuf {
        cmd!(self.client(), "SAVE");
        self.dump()
    }

    /// Whether this is Redis from the one version on, or Valkey from the other.
    pub(crate) fn since(&self, redis: (u32, u32), valkey: (u32, u32)) -> bool {
        self.version >= if self.valkey { valkey } else { redis }
    }
}

fn spawn(program: &Path, port: u16, dir: &Path, settings: &[String]) -> Result<Child, String> {
    let out = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("a log for the server");
    Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(dir)
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .args(["--databases", "16"])
        .args(settings)
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("one log for both"))
        .stderr(out)
        .spawn()
        .map_err(|e| format!("{}: {e}", program.display()))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir); // kept for a look after a failure
        }
    }
}

/// A port nobody listens on, low enough that a cluster bus has its own 10000 above, and that also below those which the system gives to
/// whoever connects.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 12_000).unwrap_or(0);
    loop {
        let port = 10_500 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if [port, port + 10_000]
            .iter()
            .all(|p| TcpListener::bind(("127.0.0.1", *p)).is_ok())
        {
            return port;
        }
    }
}
