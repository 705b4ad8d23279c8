//! The redis-server of the demo: a child process on a free port, without persistence, that ends with the demo.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::wire::Client;

/// A free port may be taken by somebody else before the server has it.
const TRIES: usize = 3;
/// How long the server may take to answer.
const START: Duration = Duration::from_secs(10);
/// How long the operating system may take to end it.
const END: Duration = Duration::from_secs(5);
const LOG: &str = "redis.log";

/// A running redis-server; killed when dropped.
pub(super) struct Server {
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Its version.
    pub(super) version: String,
}

impl Server {
    /// Starts a server that works in `folder`. `None` when it was told to stop before the server answered.
    pub(super) async fn start(folder: &Path, stop: &CancellationToken) -> anyhow::Result<Option<Self>> {
        let mut last = anyhow!("no port was tried");
        for _ in 0..TRIES {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr())?.port();
            let mut child = spawn(folder, port)?;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let answered = stop.run_until_cancelled(tokio::time::timeout(START, answers(&mut child, address))).await;
            if let Some(Ok(Ok(version))) = answered {
                return Ok(Some(Self { child, address, version }));
            }
            kill(&mut child).await;
            last = match answered {
                None => return Ok(None),
                Some(Ok(Err(error))) => error,
                Some(Ok(Ok(_)) | Err(_)) => anyhow!("it does not answer on {address} within {} s", START.as_secs()),
            };
        }
        Err(last.context(format!("redis-server did not start{}", said(folder))))
    }

    /// Ends it, by its pid, and waits until it is gone.
    pub(super) async fn stop(&mut self) {
        kill(&mut self.child).await;
    }
}

fn spawn(folder: &Path, port: u16) -> anyhow::Result<Child> {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        // Protected mode would refuse the crowd, which comes from 127.0.0.2 and up.
        .args(["--protected-mode", "no", "--daemonize", "no", "--logfile", LOG, "--dir"])
        .arg(folder)
        // Redis's own brake on subscribers that do not read is off, so that one is there to be found.
        .args(["--client-output-buffer-limit", "pubsub 0 0 0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return anyhow!(
                "redis-server is not on PATH, and the demo needs a real one: install it (Debian and Ubuntu: `apt-get \
                 install redis-server`, Fedora: `dnf install redis`), or run `make demo`, which does that"
            );
        }
        anyhow::Error::new(error).context("redis-server cannot be run")
    })
}

/// Waits until this very process answers, and returns its version: the demo would kill in whatever server it talks to.
async fn answers(child: &mut Child, address: SocketAddr) -> anyhow::Result<String> {
    let mut client = loop {
        if let Some(status) = child.try_wait().context("cannot ask after redis-server")? {
            bail!("it ended: {status}");
        }
        match Client::connect(Ipv4Addr::LOCALHOST, address, None).await {
            Ok(client) => break client,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let info = client.ask(&["INFO", "server"]).await?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("process_id:") != child.id().map(|id| id.to_string()).as_deref() {
        bail!("another server answers on {address}");
    }
    Ok(field("redis_version:").unwrap_or("(unknown version)").to_owned())
}

async fn kill(child: &mut Child) {
    // It fails only when the process has ended already.
    drop(tokio::time::timeout(END, child.kill()).await);
}

/// The end of its log.
fn said(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join(LOG)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().rev().take(3).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("; its log ends with: {}", lines.into_iter().rev().collect::<Vec<_>>().join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::config::Folder;

    #[tokio::test]
    async fn it_answers_and_then_it_is_gone() {
        let folder = Folder::create().unwrap();
        let mut server = Server::start(folder.path(), &CancellationToken::new()).await.unwrap().unwrap();
        let pid = server.child.id().unwrap();
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        assert!(server.version.contains('.'), "{}", server.version);
        server.stop().await;
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
