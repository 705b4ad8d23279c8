//! Real servers and real clients for tests: children on free ports of the loopback address, ended with the test.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A redis-server, killed when dropped.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
    arguments: Vec<String>,
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    pub(super) fn start(arguments: &[&str]) -> Self {
        let port = free_port();
        let arguments: Vec<String> = arguments.iter().map(|part| part.replace("PORT", &port.to_string())).collect();
        let child = Self::spawn(port, &arguments);
        Self { child, port, arguments }
    }

    fn spawn(port: u16, arguments: &[String]) -> Child {
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        let mut child = command.args(arguments).stdout(Stdio::null()).spawn().expect("redis-server must be installed");
        let mut tries = 0;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "redis-server did not start: {arguments:?}");
            tries += 1;
            assert!(tries < 1000, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    /// Another run on the same port.
    pub(super) fn restart(&mut self) {
        self.end();
        self.child = Self::spawn(self.port, &self.arguments);
    }

    /// Stops (`STOP`) or continues (`CONT`) the process.
    pub(super) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }

    fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Another client of this server.
    pub(super) fn guest(&self) -> Guest {
        self.try_guest().expect("the server must let a guest in")
    }

    /// Another client of this server, which logs in first.
    pub(super) fn guest_with(&self, login: &str) -> Guest {
        self.admit(Some(login)).expect("the server must let a guest in")
    }

    /// Another client of this server, if it is let in.
    pub(super) fn try_guest(&self) -> Option<Guest> {
        self.admit(None)
    }

    fn admit(&self, login: Option<&str>) -> Option<Guest> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut guest = Guest { reader: BufReader::new(stream), id: 0 };
        if let Some(login) = login {
            guest.ask(login)?;
        }
        let id = guest.ask("CLIENT ID")?;
        guest.id = id.strip_prefix(':')?.parse().ok()?;
        Some(guest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A client that speaks by itself.
pub(super) struct Guest {
    reader: BufReader<TcpStream>,
    pub(super) id: i64,
}

impl Guest {
    /// The first line of the answer; none when the connection is closed.
    pub(super) fn ask(&mut self, command: &str) -> Option<String> {
        write!(self.reader.get_mut(), "{command}\r\n").ok()?;
        let mut line = String::new();
        self.reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        (!line.is_empty()).then(|| line.to_owned())
    }

    pub(super) fn is_alive(&mut self) -> bool {
        self.ask("PING").is_some()
    }
}
