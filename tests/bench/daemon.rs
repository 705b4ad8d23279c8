//! The daemon as users run it: the release binary, a config file, a storage folder.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;

use crate::harness::wall;
use crate::redis::{folder, free_port, wait_for};

/// A running daemon; it dies with this value.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From its start to the first 200 of `/-/ready`.
    pub(crate) ready: Duration,
    folder: TempDir,
}

impl Daemon {
    /// Guards one node as the target `orders`, by the rules of one group. It polls once an hour, out of the way.
    pub(crate) fn start(node: SocketAddr, rules: &str) -> anyhow::Result<Self> {
        let (folder, address) = (folder()?, SocketAddr::from(([127, 0, 0, 1], free_port()?)));
        let path = folder.path();
        let config = format!(
            "mode: enforce\nstorage: {{path: {}}}\nweb: {{listen_address: {address}}}\nrule_files: [rules.yml]\n\
             poll_interval: 1h\n\
             limits: {{share: 100%, target: {{kills: 100000/1m}}, fleet: {{kills: 100000/1m}}}}\n\
             providers: {{redis: [{{target: orders, nodes: [\"redis://{node}\"]}}]}}\n",
            path.join("data").display(),
        );
        std::fs::write(path.join("reaperd.yml"), config)?;
        std::fs::write(path.join("rules.yml"), format!("groups: [{{name: bench, rules: [{{{rules}}}]}}]\n"))?;
        let log = File::create(path.join("log"))?;
        let start = wall();
        let child = Command::new(env!("CARGO_BIN_EXE_reaperd"))
            .arg("run")
            .arg(format!("--config.file={}", path.join("reaperd.yml").display()))
            .stderr(log)
            .spawn()
            .context("cannot start the daemon")?;
        let mut daemon = Self { child, address, ready: Duration::ZERO, folder };
        let ready = wait_for("the daemon", || daemon.get("/-/ready").is_ok());
        daemon.ready = wall() - start;
        ready.with_context(|| daemon.log())?;
        Ok(daemon)
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The body of a successful answer.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<String> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address))
    }

    /// Evaluates the target now.
    pub(crate) fn evaluate(&self) -> anyhow::Result<()> {
        let head = "POST /api/v1/targets/orders/evaluate HTTP/1.1";
        let (json, close) = ("content-type: application/json", "connection: close");
        self.ask(&format!("{head}\r\nhost: {}\r\n{json}\r\ncontent-length: 2\r\n{close}\r\n\r\n{{}}", self.address))
            .map(drop)
    }

    /// The value of a metric, labels included.
    pub(crate) fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let metrics = self.get("/metrics")?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("there is no metric {name}"))?.parse()?)
    }

    /// Resident memory, bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("there is no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
    }

    fn ask(&self, request: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of head")?;
        anyhow::ensure!(head.starts_with("HTTP/1.1 2"), "{}", head.lines().next().unwrap_or_default());
        Ok(body.to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
