//! A TCP proxy in front of a Redis that slows a client's bytes down: commands are passed on one at a time, with a pause
//! before each, and the moment of each CLIENT KILL is written down.
//!
//! When the client goes away, what was not passed on yet never is: a `kill -9` of the client cuts a batch that it had
//! long handed to the kernel. Or, as on a slow network, all of it still arrives.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

struct Shared {
    server: u16,
    pause: Duration,
    /// Whether what a client sent is passed on after the client has gone away.
    lingers: bool,
    stop: AtomicBool,
    held: AtomicBool,
    taken: AtomicUsize,
    /// The CLIENT KILL commands that were passed on: when, and whom.
    kills: Mutex<Vec<(Instant, i64)>>,
}

/// The proxy; it lets go of its clients when it is dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy in front of the server at `server`, with a pause before each command. It forgets what a client sent when
    /// the client goes away.
    pub(crate) fn start(server: u16, pause: Duration) -> Self {
        Self::run(server, pause, false)
    }

    /// One that still delivers what a client sent before it went away.
    pub(crate) fn lingering(server: u16) -> Self {
        Self::run(server, Duration::ZERO, true)
    }

    fn run(server: u16, pause: Duration, lingers: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", super::free_port())).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server,
            pause,
            lingers,
            stop: AtomicBool::default(),
            held: AtomicBool::default(),
            taken: AtomicUsize::default(),
            kills: Mutex::default(),
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
        Self { port, shared, acceptor: Some(acceptor) }
    }

    /// The node's name as reaperd has it when it is reached over this proxy.
    pub(crate) fn node(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From here on kills are held back, and what comes after them, until their client is gone or [`Proxy::let_go`].
    pub(crate) fn hold_kills(&self) {
        self.shared.held.store(true, Ordering::Relaxed);
    }

    pub(crate) fn let_go(&self) {
        self.shared.held.store(false, Ordering::Relaxed);
    }

    /// How many CLIENT KILL commands clients have sent, passed on or not.
    pub(crate) fn kills_taken(&self) -> usize {
        self.shared.taken.load(Ordering::Relaxed)
    }

    /// The CLIENT KILL commands that were passed on: when, and whom.
    pub(crate) fn kills(&self) -> Vec<(Instant, i64)> {
        self.shared.kills.lock().unwrap().clone()
    }

    /// The most CLIENT KILL commands that were passed on in any window of this length.
    pub(crate) fn most_kills_within(&self, window: Duration) -> usize {
        let kills = self.kills();
        let within = |start: usize| kills[start..].iter().take_while(|(at, _)| *at - kills[start].0 <= window).count();
        (0..kills.len()).map(within).max().unwrap_or_default()
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
    lingers: bool,
}

impl Waiting {
    fn push(&self, command: Vec<u8>) {
        self.commands.lock().unwrap().0.push_back(command);
        self.changed.notify_all();
    }

    /// The client went away: nothing more is passed on, unless it lingers.
    fn close(&self) {
        let mut waiting = self.commands.lock().unwrap();
        if !self.lingers {
            waiting.0.clear();
        }
        waiting.1 = true;
        self.changed.notify_all();
    }

    /// Waits until there is a command; `false` when there will be none.
    fn is_any(&self) -> bool {
        let waiting = self.commands.lock().unwrap();
        let waiting = self.changed.wait_while(waiting, |(commands, closed)| commands.is_empty() && !*closed).unwrap();
        !waiting.0.is_empty()
    }

    /// Waits; `false` when the client went away meanwhile and nothing of it is to be passed on.
    fn pause(&self, pause: Duration) -> bool {
        let waiting = self.commands.lock().unwrap();
        let goes_on = |closed: bool| self.lingers || !closed;
        goes_on(self.changed.wait_timeout_while(waiting, pause, |(_, closed)| goes_on(*closed)).unwrap().0.1)
    }
}

/// One client: a thread that takes what it sends as fast as it can, so that its end is noticed at once; one that passes
/// commands on; and one that passes answers back, whole.
fn serve(client: &TcpStream, shared: &Arc<Shared>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", shared.server)) else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let waiting = Waiting { lingers: shared.lingers, ..Waiting::default() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            take_all(client, &waiting, shared);
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

fn take_all(mut client: &TcpStream, waiting: &Waiting, shared: &Shared) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..length]);
        while let Some(length) = first_command(&bytes) {
            let command: Vec<u8> = bytes.drain(..length).collect();
            let kills = usize::from(kills(&words(&command)).is_some());
            waiting.push(command);
            shared.taken.fetch_add(kills, Ordering::Relaxed);
        }
    }
}

fn pass_on(mut server: &TcpStream, waiting: &Waiting, shared: &Shared) {
    while waiting.is_any() && waiting.pause(shared.pause) {
        // The lock keeps the client's end out: a command is either passed on and written down, or neither.
        let mut commands = waiting.commands.lock().unwrap();
        let Some(command) = commands.0.front() else { continue };
        if let Some(id) = kills(&words(command)) {
            if shared.held.load(Ordering::Relaxed) {
                drop(commands);
                waiting.pause(super::PAUSE);
                continue;
            }
            shared.kills.lock().unwrap().push((super::now(), id));
        }
        if server.write_all(command).is_err() {
            return;
        }
        commands.0.pop_front();
    }
}

/// The id of a `CLIENT KILL ID n ...`.
fn kills(words: &[String]) -> Option<i64> {
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["CLIENT", "KILL", "ID", id, ..] => Some(id.parse().unwrap()),
        ["CLIENT", "KILL", ..] => panic!("a kill that is not by id: {words:?}"),
        _ => None,
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
