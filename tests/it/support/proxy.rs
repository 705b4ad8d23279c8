//! A TCP proxy in front of a Redis that slows a client's bytes down: commands are passed on one at a time, with a pause
//! before each, and the moment of each is written down.
//!
//! When the client goes away, what was not passed on yet never is. So a `kill -9` of the client cuts a batch that it had
//! long handed to the kernel.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A command that was passed on to the server.
#[derive(Clone, Debug)]
pub(crate) struct Forwarded {
    pub(crate) at: Instant,
    pub(crate) words: Vec<String>,
}

impl Forwarded {
    /// The id of a `CLIENT KILL ID n ...`.
    pub(crate) fn kills(&self) -> Option<i64> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["CLIENT", "KILL", "ID", id, ..] => Some(id.parse().unwrap()),
            ["CLIENT", "KILL", ..] => panic!("a kill that is not by id: {words:?}"),
            _ => None,
        }
    }
}

struct Shared {
    server: u16,
    pause_micros: AtomicU64,
    stop: AtomicBool,
    forwarded: Mutex<Vec<Forwarded>>,
}

/// The proxy; it lets go of its clients when it is dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy in front of the server at `server`, with a pause before each command.
    pub(crate) fn start(server: u16, pause: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", super::free_port())).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server,
            pause_micros: AtomicU64::default(),
            stop: AtomicBool::default(),
            forwarded: Mutex::default(),
        });
        let accepting = shared.clone();
        let acceptor = std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.stop.load(Ordering::Relaxed) {
                    return;
                }
                let shared = accepting.clone();
                std::thread::spawn(move || serve(&client, &shared));
            }
        });
        let proxy = Self { port, shared, acceptor: Some(acceptor) };
        proxy.set_pause(pause);
        proxy
    }

    /// The pause before each command, from the next one on.
    pub(crate) fn set_pause(&self, pause: Duration) {
        self.shared.pause_micros.store(u64::try_from(pause.as_micros()).unwrap(), Ordering::Relaxed);
    }

    /// The CLIENT KILL commands that were passed on: when, and whom.
    pub(crate) fn kills(&self) -> Vec<(Instant, i64)> {
        let forwarded = self.shared.forwarded.lock().unwrap();
        forwarded.iter().filter_map(|command| Some((command.at, command.kills()?))).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the acceptor.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

/// What the client sent and was not passed on yet.
#[derive(Default)]
struct Waiting {
    commands: Mutex<(VecDeque<Vec<u8>>, bool)>,
    changed: Condvar,
}

impl Waiting {
    fn push(&self, command: Vec<u8>) {
        self.commands.lock().unwrap().0.push_back(command);
        self.changed.notify_all();
    }

    /// The client went away: nothing more is passed on.
    fn close(&self) {
        let mut waiting = self.commands.lock().unwrap();
        waiting.0.clear();
        waiting.1 = true;
        self.changed.notify_all();
    }

    /// Waits until there is a command; `false` when the client went away.
    fn is_any(&self) -> bool {
        let waiting = self.commands.lock().unwrap();
        let waiting = self.changed.wait_while(waiting, |(commands, closed)| commands.is_empty() && !*closed).unwrap();
        !waiting.1
    }

    /// Waits; `false` when the client went away meanwhile.
    fn pause(&self, pause: Duration) -> bool {
        let waiting = self.commands.lock().unwrap();
        !self.changed.wait_timeout_while(waiting, pause, |(_, closed)| !*closed).unwrap().0.1
    }
}

/// One client: a thread that takes what it sends as fast as it can, so that its end is noticed at once; one that passes
/// commands on; and one that passes answers back, whole.
fn serve(client: &TcpStream, shared: &Arc<Shared>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", shared.server)) else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let waiting = Waiting::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            take_all(client, &waiting);
            waiting.close();
        });
        scope.spawn(|| {
            pass_on(&server, &waiting, shared);
            close(&server);
        });
        let (mut from, mut to) = (&server, client);
        drop(std::io::copy(&mut from, &mut to));
        close(client);
    });
}

fn close(stream: &TcpStream) {
    // The other side may have closed it already.
    drop(stream.shutdown(Shutdown::Both));
}

fn take_all(mut client: &TcpStream, waiting: &Waiting) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..length]);
        while let Some(length) = first_command(&bytes) {
            waiting.push(bytes.drain(..length).collect());
        }
    }
}

fn pass_on(mut server: &TcpStream, waiting: &Waiting, shared: &Shared) {
    while waiting.is_any() && waiting.pause(Duration::from_micros(shared.pause_micros.load(Ordering::Relaxed))) {
        // The lock keeps the client's end out: a command is either passed on and written down, or neither.
        let mut commands = waiting.commands.lock().unwrap();
        let Some(command) = commands.0.pop_front() else { continue };
        let forwarded = Forwarded { at: super::now(), words: words(&command) };
        shared.forwarded.lock().unwrap().push(forwarded);
        if server.write_all(&command).is_err() {
            return;
        }
    }
}

/// The length of the first whole command, an array of bulk strings.
fn first_command(bytes: &[u8]) -> Option<usize> {
    let (count, mut at) = number(bytes, 0, b'*')?;
    for _ in 0..count {
        let (length, start) = number(bytes, at, b'$')?;
        at = start + length + 2;
    }
    (at <= bytes.len()).then_some(at)
}

fn words(command: &[u8]) -> Vec<String> {
    let (count, mut at) = number(command, 0, b'*').unwrap();
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, start) = number(command, at, b'$').unwrap();
        words.push(String::from_utf8_lossy(&command[start..start + length]).into_owned());
        at = start + length + 2;
    }
    words
}

/// Reads `*12\r\n` or `$12\r\n` at a position: the number, and where what follows begins.
fn number(bytes: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let rest = bytes.get(at..)?;
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    assert_eq!(rest[0], kind, "only arrays of bulk strings are understood");
    Some((std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap(), at + end + 2))
}
