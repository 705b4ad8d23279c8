//! A redis-server of our own, and the little of its protocol that is needed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::harness::wall;

/// A port that nobody listens on.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A folder on the disk of the build, where an fsync costs what it costs.
pub(crate) fn folder() -> anyhow::Result<TempDir> {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).context("cannot make a folder under target/")
}

/// Waits until `done` says so, asking every millisecond.
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = wall() + Duration::from_secs(60);
    while !done() {
        anyhow::ensure!(wall() < deadline, "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A running redis-server; it dies with this value.
pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl RedisServer {
    /// On 127.0.0.1, for whoever is to be killed, and on 127.0.0.2, for everybody else.
    pub(crate) fn start(clients: usize) -> anyhow::Result<Self> {
        let (port, folder) = (free_port()?, folder()?);
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "127.0.0.2", "--protected-mode", "no"])
            .args(["--save", "", "--appendonly", "no", "--maxclients", &(clients + 100).to_string()])
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start redis-server")?;
        let server = Self { child, port, _folder: folder };
        wait_for("redis-server", || Connection::open(server.address(2)).and_then(|mut c| c.ask("PING")).is_ok())?;
        Ok(server)
    }

    pub(crate) fn address(&self, last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], self.port))
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A connection that sends inline commands.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The reply: a line, or a bulk string.
    pub(crate) fn ask(&mut self, command: &str) -> anyhow::Result<String> {
        self.send(command)?;
        self.reply(command)
    }

    pub(crate) fn send(&mut self, command: &str) -> anyhow::Result<()> {
        Ok(self.0.get_mut().write_all(format!("{command}\r\n").as_bytes())?)
    }

    /// The next reply; to this command.
    pub(crate) fn reply(&mut self, command: &str) -> anyhow::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        match line.trim_end().split_at_checked(1) {
            Some(("+" | ":", rest)) => Ok(rest.to_owned()),
            Some(("$", length)) => {
                // With the line end after it.
                let mut bulk = vec![0; length.parse::<usize>()? + 2];
                self.0.read_exact(&mut bulk)?;
                Ok(String::from_utf8(bulk)?)
            }
            _ => bail!("`{command}` was answered with {line:?}"),
        }
    }

    /// How many clients the server has.
    pub(crate) fn clients(&mut self) -> anyhow::Result<usize> {
        let info = self.ask("INFO clients")?;
        let count = info.lines().find_map(|line| line.strip_prefix("connected_clients:"));
        Ok(count.context("INFO shows no connected_clients")?.trim().parse()?)
    }
}

/// When a PING was sent, and how long its answer took.
type Ping = (Duration, Duration);

/// Somebody else on the server, who sends a PING every millisecond, or as soon as the one before was answered.
pub(crate) struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Vec<Ping>>>,
}

impl Probe {
    pub(crate) fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let mut connection = Connection::open(address)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut pings = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let sent = wall();
                connection.ask("PING")?;
                let took = wall() - sent;
                pings.push((sent, took));
                std::thread::sleep(Duration::from_millis(1).saturating_sub(took));
            }
            Ok(pings)
        });
        Ok(Self { stop, thread })
    }

    /// How long the PINGs took that were sent from one moment to another, in seconds.
    pub(crate) fn stop(self, from: Duration, to: Duration) -> anyhow::Result<Vec<f64>> {
        self.stop.store(true, Ordering::Relaxed);
        let pings = self.thread.join().map_err(|_| anyhow::anyhow!("the probe panicked"))??;
        Ok(pings.iter().filter(|(sent, _)| (from..=to).contains(sent)).map(|(_, took)| took.as_secs_f64()).collect())
    }
}
