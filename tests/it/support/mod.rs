//! What the tests are made of: servers, the daemon, clients of all kinds, a proxy.

pub(crate) mod alertmanager;
pub(crate) mod crowd;
pub(crate) mod daemon;
pub(crate) mod http;
pub(crate) mod proxy;
pub(crate) mod redis_server;
pub(crate) mod resp;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);

/// Long enough for anything that is expected to happen soon, on a machine that is busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(20);

#[expect(clippy::disallowed_methods, reason = "tests watch the daemon from outside, with a clock of their own")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within `timeout`; `what` says what was waited for.
#[track_caller]
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool, timeout: Duration, what: &str) {
    wait_for(|| condition().then_some(()), timeout, what);
}

/// Waits until there is something, and returns it.
#[track_caller]
pub(crate) fn wait_for<T>(mut look: impl FnMut() -> Option<T>, timeout: Duration, what: &str) -> T {
    let deadline = now() + timeout;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(now() < deadline, "waited {timeout:?} in vain: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// A port of the loopback address that nobody listens on. It lies below those that the kernel gives to clients, so that
/// none of the many connections of these tests takes it in the meantime.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at the same time start at different places.
    let start = std::process::id().wrapping_mul(131);
    loop {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from(start.wrapping_add(next) % u32::from(COUNT)).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Sends a signal (`TERM`, `HUP`, `STOP`) to one process.
pub(crate) fn signal(pid: u32, signal: &str) {
    let done = std::process::Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(done.unwrap().success(), "kill -{signal} {pid}");
}
