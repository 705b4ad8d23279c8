//! The listener and its connections.
//!
//! The address is taken early, so that a bad one stops the start, and served once everything is wired. The number of
//! connections is bounded; further ones wait in the kernel's queue. A client has to send its request head in time, and
//! an idle connection is closed after the same time. At shutdown nothing new is accepted, requests under way are
//! answered, idle connections are closed, and after a deadline the rest is cut.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::HttpError;

/// After a failed accept (too many open files, as a rule) there is a pause before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At one time.
    pub connections: usize,
    /// Until the head of a request, and between two requests.
    pub head_timeout: Duration,
    /// From the shutdown until what is left is cut.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 512, head_timeout: Duration::from_secs(30), drain: Duration::from_secs(5) }
    }
}

/// An address that is taken but not served yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Takes the address.
///
/// # Errors
/// [`HttpError::Bind`] with the likely cause.
pub async fn bind(address: SocketAddr) -> Result<Bound, HttpError> {
    let fail = |source: std::io::Error| {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the operating system's errors are not ours to enumerate")]
        let hint = match source.kind() {
            ErrorKind::AddrInUse => {
                "another process listens there, maybe another reaperd: stop it, or choose another --web.listen-address"
            }
            ErrorKind::AddrNotAvailable => "this machine has no such address: check --web.listen-address",
            ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege: choose a higher port with --web.listen-address"
            }
            _ => "check --web.listen-address",
        };
        HttpError::Bind { address, source, hint }
    };
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    Ok(Bound { listener, address })
}

impl Bound {
    /// The address, with the port that was given for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, and then ends within the limit's `drain`.
    pub async fn serve(self, router: Router, limits: Limits, shutdown: CancellationToken) {
        let room = Arc::new(Semaphore::new(limits.connections));
        let mut connections = JoinSet::new();
        loop {
            let (stream, peer, permit) = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = accept(&self.listener, &room) => accepted,
                Some(ended) = connections.join_next() => {
                    note(ended);
                    continue;
                }
            };
            connections.spawn(connection(stream, peer, permit, router.clone(), limits, shutdown.clone()));
        }
        // Closed first: a client that connects now is told at once.
        drop(self.listener);
        let drained = async {
            while let Some(ended) = connections.join_next().await {
                note(ended);
            }
        };
        if tokio::time::timeout(limits.drain, drained).await.is_err() {
            tracing::warn!("{} HTTP connections were cut after {:?}", connections.len(), limits.drain);
            connections.shutdown().await;
        }
    }
}

/// A connection task does not fail; that it panicked is a bug in a handler, which ends that one connection.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!("an HTTP connection ended early: {error}");
    }
}

/// The next connection, once there is room for one.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            // It is never closed.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            Err(error) => {
                tracing::warn!("cannot accept an HTTP connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    _permit: OwnedSemaphorePermit,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, "answers may be delayed: {error}");
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        answer(router.clone(), request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_timeout);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, "HTTP connection: {error}");
    }
}

async fn answer(router: Router, request: hyper::Request<Body>) -> Result<Response, Infallible> {
    router.oneshot(request).await
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::*;
    use crate::clock::Clock;

    const REQUEST: &[u8] = b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n";
    /// Longer than any of these tests may take.
    const LONG: Duration = Duration::from_secs(60);

    struct Server {
        address: SocketAddr,
        shutdown: CancellationToken,
        tasks: JoinSet<()>,
        /// `/slow` has been asked for.
        asked: Arc<Notify>,
        /// Lets `/slow` answer.
        answer: Arc<Notify>,
    }

    async fn start(limits: Limits) -> Server {
        let bound = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = bound.local_addr();
        let (asked, answer, shutdown) = (Arc::new(Notify::new()), Arc::new(Notify::new()), CancellationToken::new());
        let (at, then) = (asked.clone(), answer.clone());
        let slow = move || {
            let (at, then) = (at.clone(), then.clone());
            async move {
                at.notify_one();
                then.notified().await;
                "done"
            }
        };
        let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
        let router = Router::new().route("/slow", get(slow)).route("/peer", get(peer));
        let mut tasks = JoinSet::new();
        tasks.spawn(bound.serve(router, limits, shutdown.clone()));
        Server { address, shutdown, tasks, asked, answer }
    }

    impl Server {
        async fn connect(&self, send: &[u8]) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(send).await.unwrap();
            stream
        }

        async fn ended(mut self) {
            self.tasks.join_next().await.unwrap().unwrap();
        }
    }

    /// All that comes until the server closes.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut text)).await.unwrap().ok();
        text
    }

    #[tokio::test]
    async fn handlers_know_the_peer_and_connections_are_kept() {
        let server = start(Limits::default()).await;
        let mut stream = server.connect(b"GET /peer HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut first = [0; 1024];
        assert!(stream.read(&mut first).await.unwrap() > 0);
        stream.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let text = rest(&mut stream).await;
        assert!(text.ends_with(&stream.local_addr().unwrap().to_string()), "{text}");
    }

    #[tokio::test]
    async fn a_shutdown_answers_what_is_under_way_and_takes_nothing_new() {
        let server = start(Limits { drain: LONG, head_timeout: LONG, ..Limits::default() }).await;
        let mut under_way = server.connect(REQUEST).await;
        let mut idle = server.connect(b"").await;
        server.asked.notified().await;
        server.shutdown.cancel();
        // The idle connection is closed while the other one still waits for its answer.
        assert_eq!(rest(&mut idle).await, "");
        assert!(TcpStream::connect(server.address).await.is_err());
        server.answer.notify_one();
        let text = rest(&mut under_way).await;
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("done"), "{text}");
        server.ended().await;
    }

    #[tokio::test]
    async fn a_shutdown_does_not_wait_for_ever() {
        let server = start(Limits { drain: Duration::from_millis(50), ..Limits::default() }).await;
        let mut under_way = server.connect(REQUEST).await;
        server.asked.notified().await;
        server.shutdown.cancel();
        assert_eq!(rest(&mut under_way).await, "");
        server.ended().await;
    }

    #[tokio::test]
    async fn who_does_not_send_a_whole_head_in_time_is_cut() {
        let limits = Limits { head_timeout: Duration::from_millis(100), ..Limits::default() };
        let server = start(limits).await;
        let clock = Clock::start();
        let begin = clock.steady();
        for send in [&b""[..], b"G", b"GET /slow HTTP/1.1\r\nhost: loc"] {
            let mut stream = server.connect(send).await;
            let text = rest(&mut stream).await;
            assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
        }
        assert!(clock.steady().since(begin) < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn more_connections_than_there_is_room_for_wait_their_turn() {
        let server = start(Limits { connections: 1, head_timeout: LONG, ..Limits::default() }).await;
        let first = server.connect(b"").await;
        let mut second = server.connect(b"GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let early = tokio::time::timeout(Duration::from_millis(100), second.read_u8()).await;
        assert!(early.is_err(), "{early:?}");
        drop(first);
        assert!(rest(&mut second).await.starts_with("HTTP/1.1 200 OK"));
    }

    #[tokio::test]
    async fn a_taken_address_is_named_with_the_likely_cause() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let message = bind(taken.local_addr()).await.unwrap_err().to_string();
        assert!(message.contains(&taken.local_addr().to_string()), "{message}");
        assert!(message.contains("another process") && message.contains("--web.listen-address"), "{message}");
        let message = bind("192.0.2.1:9911".parse().unwrap()).await.unwrap_err().to_string();
        assert!(message.contains("no such address"), "{message}");
    }
}
