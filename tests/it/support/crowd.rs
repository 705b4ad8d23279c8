//! Real clients of a Redis, well-behaved and not, each of which can tell whether it was cut off.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::resp::{Wire, command};

/// A connection that does nothing.
pub(crate) struct Idle {
    wire: Wire,
    pub(crate) id: i64,
}

impl Idle {
    /// Connects; `None` when the server does not let it in.
    pub(crate) fn try_connect(port: u16) -> Option<Self> {
        let mut wire = Wire::connect(port).ok()?;
        match wire.ask(&["CLIENT", "ID"]) {
            Ok(super::resp::Reply::Int(id)) => Some(Self { wire, id }),
            Ok(_) | Err(_) => None,
        }
    }

    pub(crate) fn connect(port: u16) -> Self {
        Self::try_connect(port).expect("the server lets an idle client in")
    }

    /// A connection with a name.
    pub(crate) fn named(port: u16, name: &str) -> Self {
        let mut idle = Self::connect(port);
        assert_eq!(idle.wire.ask(&["CLIENT", "SETNAME", name]).unwrap().text(), "OK");
        idle
    }

    pub(crate) fn crowd(port: u16, count: usize) -> Vec<Self> {
        (0..count).map(|_| Self::connect(port)).collect()
    }

    /// Sessions that the rule `victims` names.
    pub(crate) fn victims(port: u16, count: usize) -> Vec<Self> {
        (0..count).map(|_| Self::named(port, "victim")).collect()
    }

    /// Whether the server has left the connection open. Nothing is sent, so it stays idle.
    pub(crate) fn is_alive(&self) -> bool {
        is_open(self.wire.socket())
    }
}

/// How many of them are alive.
pub(crate) fn alive(idle: &[Idle]) -> usize {
    idle.iter().filter(|client| client.is_alive()).count()
}

fn is_open(socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let seen = socket.peek(&mut [0]);
    socket.set_nonblocking(false).unwrap();
    match seen {
        Ok(length) => length > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// A client that works: a command every few milliseconds, and every answer is checked.
pub(crate) struct Busy {
    pub(crate) id: i64,
    state: Arc<State>,
    worker: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    closed: AtomicBool,
}

impl Busy {
    pub(crate) fn start(port: u16) -> Self {
        let Idle { mut wire, id } = Idle::connect(port);
        let state = Arc::new(State::default());
        let shared = state.clone();
        let worker = std::thread::spawn(move || {
            let mut count = 0;
            while !shared.stop.load(Ordering::Relaxed) {
                let key = format!("busy:{id}");
                count += 1;
                let pong = wire.ask(&["PING"]).is_ok_and(|reply| reply.text() == "PONG");
                if !pong || !wire.ask(&["INCR", &key]).is_ok_and(|reply| reply.int() == count) {
                    shared.closed.store(true, Ordering::Relaxed);
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { id, state, worker: Some(worker) }
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.state.closed.load(Ordering::Relaxed)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            drop(worker.join());
        }
    }
}

/// A monitor or a subscriber that reads all that it is sent.
pub(crate) struct Listener {
    pub(crate) id: i64,
    socket: TcpStream,
    state: Arc<State>,
    reader: Option<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn monitor(port: u16) -> Self {
        Self::start(port, &["MONITOR"])
    }

    pub(crate) fn subscriber(port: u16, channel: &str) -> Self {
        Self::start(port, &["SUBSCRIBE", channel])
    }

    fn start(port: u16, words: &[&str]) -> Self {
        let Idle { mut wire, id } = Idle::connect(port);
        wire.ask(words).unwrap();
        let socket = wire.socket().try_clone().unwrap();
        socket.set_read_timeout(None).unwrap();
        let state = Arc::new(State::default());
        let (mut source, shared) = (socket.try_clone().unwrap(), state.clone());
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while matches!(source.read(&mut bytes), Ok(1..)) {}
            shared.closed.store(true, Ordering::Relaxed);
        });
        Self { id, socket, state, reader: Some(reader) }
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.state.closed.load(Ordering::Relaxed)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may be closed already.
        drop(self.socket.shutdown(Shutdown::Both));
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

/// A subscriber that never reads, so that its output buffer grows in the server.
pub(crate) struct Deaf {
    pub(crate) id: i64,
    _wire: Wire,
}

impl Deaf {
    pub(crate) fn subscriber(port: u16, channel: &str) -> Self {
        let Idle { wire, id } = Idle::connect(port);
        let mut socket = wire.socket();
        socket.write_all(&command(&["SUBSCRIBE", channel])).unwrap();
        Self { id, _wire: wire }
    }
}
