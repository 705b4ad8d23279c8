//! A client of the crowd: one TCP connection from a chosen loopback address, and just enough RESP2 to misbehave.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// A server on this machine that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(10);

/// One connection.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    /// Its own end, which is how the server's client list names it.
    pub(super) address: SocketAddr,
}

impl Client {
    /// Connects from a loopback address; a small receive buffer makes a client that does not read felt soon.
    pub(super) async fn connect(from: Ipv4Addr, to: SocketAddr, receive_buffer: Option<u32>) -> anyhow::Result<Self> {
        let connect = async {
            let socket = TcpSocket::new_v4()?;
            if let Some(bytes) = receive_buffer {
                socket.set_recv_buffer_size(bytes)?;
            }
            socket.bind((from, 0).into())?;
            socket.connect(to).await
        };
        let stream = within(DEADLINE, connect).await.with_context(|| {
            format!("cannot connect from {from} to {to}: Linux has all of 127.0.0.0/8; elsewhere add {from} to lo")
        })?;
        let address = stream.local_addr()?;
        Ok(Self { stream: BufReader::new(stream), address })
    }

    /// Sends a command and reads its answer.
    pub(super) async fn ask(&mut self, words: &[&str]) -> io::Result<String> {
        within(DEADLINE, async {
            self.send(command(words).as_bytes()).await?;
            self.answer().await
        })
        .await
    }

    /// Sends a command that blocks, and waits for its answer for however long that takes.
    pub(super) async fn wait(&mut self, words: &[&str]) -> io::Result<String> {
        self.send(command(words).as_bytes()).await?;
        self.answer().await
    }

    /// Sends bytes as they are.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(DEADLINE, self.stream.get_mut().write_all(bytes)).await
    }

    /// Reads and forgets whatever comes, until the server closes the connection.
    pub(super) async fn drain(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        while self.stream.read(&mut buffer).await? > 0 {}
        Ok(())
    }

    /// One answer; of an array, its parts on lines of their own.
    async fn answer(&mut self) -> io::Result<String> {
        let mut parts = Vec::new();
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            let line = self.line().await?;
            let (kind, rest) = line.split_at_checked(1).unwrap_or_default();
            let length = || rest.parse::<usize>().map_err(|_| garbled(&line));
            match kind {
                "-" => return Err(io::Error::other(rest.to_owned())),
                "+" | ":" => parts.push(rest.to_owned()),
                "$" | "*" if rest == "-1" => {}
                "$" => parts.push(self.bulk(length()?).await?),
                "*" => left = left.saturating_add(length()?),
                _ => return Err(garbled(&line)),
            }
        }
        Ok(parts.join("\n"))
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    async fn bulk(&mut self, length: usize) -> io::Result<String> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).await?;
        bytes.truncate(length);
        String::from_utf8(bytes).map_err(|_| garbled("(not UTF-8)"))
    }
}

fn command(words: &[&str]) -> String {
    let parts: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{parts}", words.len())
}

fn garbled(line: &str) -> io::Error {
    io::Error::other(format!("the server's answer is not understood: {}", line.escape_debug()))
}

async fn within<T>(deadline: Duration, call: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(deadline, call).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
