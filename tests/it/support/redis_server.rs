//! A real redis-server on a free port of the loopback address.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::resp::{Reply, Wire};
use super::{SOON, free_port, wait_until};

/// A redis-server; ends when it is dropped.
pub(crate) struct RedisServer {
    child: Option<Child>,
    pub(crate) port: u16,
    arguments: Vec<String>,
    folder: TempDir,
}

impl RedisServer {
    /// Starts one with these arguments (`&["--maxclients", "100"]`) and waits until it answers.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_on(free_port(), arguments)
    }

    pub(crate) fn start_on(port: u16, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { child: None, port, arguments, folder };
        server.run();
        server
    }

    fn run(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--protected-mode", "no"]);
        command.args(["--save", "", "--appendonly", "no"]).args(&self.arguments);
        command.current_dir(self.folder.path()).stdout(Stdio::null());
        let mut child = command.spawn().expect("redis-server must be installed");
        let port = self.port;
        let answers = || {
            assert!(child.try_wait().unwrap().is_none(), "redis-server ended at once");
            Wire::connect(port).and_then(|mut wire| wire.ask(&["PING"])).is_ok()
        };
        wait_until(answers, SOON, "redis-server answers");
        self.child = Some(child);
    }

    /// Sends the server a signal: STOP makes it hang.
    pub(crate) fn signal(&self, name: &str) {
        super::signal(self.child.as_ref().expect("it runs").id(), name);
    }

    /// Ends it; `restart` starts another run on the same port.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        self.run();
    }

    /// The node's name as reaperd has it.
    pub(crate) fn node(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Asks one command on a connection of its own.
    #[track_caller]
    pub(crate) fn cli(&self, words: &[&str]) -> Reply {
        Wire::connect(self.port).and_then(|mut wire| wire.ask(words)).unwrap()
    }

    /// The ids of all sessions, without the one that asks.
    pub(crate) fn ids(&self) -> BTreeSet<i64> {
        let mut wire = Wire::connect(self.port).unwrap();
        let own = wire.ask(&["CLIENT", "ID"]).unwrap().int();
        let list = wire.ask(&["CLIENT", "LIST"]).unwrap();
        let id = |line: &str| line.strip_prefix("id=").unwrap().split(' ').next().unwrap().parse::<i64>().unwrap();
        list.text().lines().map(id).filter(|id| *id != own).collect()
    }

    /// The id of the session that is named `reaperd`, if there is exactly one.
    pub(crate) fn reaperd_id(&self) -> Option<i64> {
        let list = self.cli(&["CLIENT", "LIST"]);
        let mut found = list.text().lines().filter(|line| line.contains(" name=reaperd "));
        let id = found.next()?.strip_prefix("id=")?.split(' ').next()?.parse().ok();
        if found.next().is_some() { None } else { id }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}
