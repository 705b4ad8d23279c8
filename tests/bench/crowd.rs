//! Real connections that do nothing but notice when they are closed.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::Context;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::wall;

/// When the first and the last connection were seen closed.
pub(crate) struct Gone {
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

/// Open connections, in a thread of their own.
pub(crate) struct Crowd(Receiver<Gone>);

impl Crowd {
    pub(crate) fn connect(address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let (open, opened) = channel();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(live(address, count, &open, &tell)))
        });
        opened.recv().context("the crowd is not there")?.with_context(|| format!("cannot open {count} connections"))?;
        Ok(Self(told))
    }

    /// Waits until all are gone.
    pub(crate) fn gone(&self) -> anyhow::Result<Gone> {
        self.0.recv_timeout(Duration::from_secs(60)).context("after a minute, some connections are still there")
    }
}

async fn live(address: SocketAddr, count: usize, open: &Sender<std::io::Result<()>>, tell: &Sender<Gone>) {
    let mut connections = JoinSet::new();
    for _ in 0..count {
        match TcpStream::connect(address).await {
            Ok(mut stream) => drop(connections.spawn(async move {
                let mut bytes = [0; 16];
                // Nobody sends anything, so whatever ends the read is the end.
                drop(stream.read(&mut bytes).await);
                wall()
            })),
            Err(error) => return drop(open.send(Err(error))),
        }
    }
    drop(open.send(Ok(())));
    let mut gone = Gone { first: Duration::MAX, last: Duration::ZERO };
    while let Some(Ok(at)) = connections.join_next().await {
        gone = Gone { first: gone.first.min(at), last: gone.last.max(at) };
    }
    // Where the bench has given up meanwhile, nobody wants to know.
    drop(tell.send(gone));
}
