//! The only reader of the system clock.
//!
//! Two times, for two uses. [`Clock::steady`] starts as the wall time of the process start and advances with the
//! monotonic clock: it never steps, and ages, `for`, the ledger and deadlines use it. [`Clock::wall`] is what the
//! operating system says now: journal times, expiries and alert times use it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::policy::time::{Steady, millis};

/// A wall time in milliseconds since the Unix epoch.
pub type UnixMillis = i64;

/// A reader of the system clock. Clones share their start.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    start_wall: UnixMillis,
    boot: Arc<str>,
}

/// A moment that survives a restart: the wall time, and the uptime of the boot it was read in.
///
/// Within one boot, uptime tells how long ago it was whatever the wall clock did meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Wall time.
    pub wall: UnixMillis,
    /// The kernel's boot id; empty where it cannot be read.
    pub boot: Arc<str>,
    /// Milliseconds since boot.
    pub uptime: i64,
}

impl Stamp {
    /// The moment this much later.
    #[must_use]
    pub fn later(&self, by: Duration) -> Self {
        Self { wall: self.wall + millis(by), boot: self.boot.clone(), uptime: self.uptime + millis(by) }
    }
}

impl Clock {
    /// Starts a clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
    pub fn start() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { start: Instant::now(), start_wall: wall(), boot: boot.trim().into() }
    }

    /// Now, on the clock that never steps.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
    pub fn steady(&self) -> Steady {
        Steady::from_millis(self.start_wall).plus(Instant::now().saturating_duration_since(self.start))
    }

    /// Now, as the operating system says; it may step.
    #[must_use]
    pub fn wall(&self) -> UnixMillis {
        wall()
    }

    /// Now, in a form that a later process can read.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp { wall: wall(), boot: self.boot.clone(), uptime: uptime() }
    }

    /// Where an earlier process's `stamp` lies on this process's steady clock.
    #[must_use]
    pub fn place(&self, stamp: &Stamp) -> Steady {
        self.reading().place(stamp)
    }

    /// All clocks read once, for placing many stamps.
    #[must_use]
    pub fn reading(&self) -> Reading {
        Reading { steady: self.steady(), stamp: self.stamp() }
    }
}

/// One moment on the steady clock and as a stamp.
#[derive(Clone, Debug)]
pub struct Reading {
    /// On the steady clock.
    pub steady: Steady,
    /// In a form that a later process can read.
    pub stamp: Stamp,
}

impl Reading {
    /// Where an earlier process's `stamp` lies on this process's steady clock.
    ///
    /// Within the same boot the uptime decides. Across boots only the wall time is left; a stamp from the future
    /// (the clock was set back) is taken as now, so that a budget is never refilled by a clock. For the same reason
    /// a stamp is never placed earlier than it was: what the uptime's resolution hides is given to it.
    #[must_use]
    pub fn place(&self, stamp: &Stamp) -> Steady {
        let same_boot = !self.stamp.boot.is_empty() && stamp.boot == self.stamp.boot;
        let age = if same_boot {
            self.stamp.uptime - stamp.uptime - UPTIME_RESOLUTION
        } else {
            (self.stamp.wall - stamp.wall).max(0)
        };
        Steady::from_millis(self.steady.millis().saturating_sub(age))
    }
}

/// `/proc/uptime` has two decimals.
const UPTIME_RESOLUTION: i64 = 10;

#[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
fn wall() -> UnixMillis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Milliseconds since boot, sleep included; 0 where the kernel does not tell.
fn uptime() -> i64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let Some((whole, fraction)) = text.split_whitespace().next().and_then(|first| first.split_once('.')) else {
        return 0;
    };
    let whole: i64 = whole.parse().unwrap_or(0);
    // Two digits: hundredths of a second.
    let hundredths: i64 = fraction.parse().unwrap_or(0);
    whole * 1000 + hundredths * 10
}

/// A wall time as people and journals read it: RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn rfc3339(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_of_this_boot_is_placed_by_uptime_whatever_the_wall_clock_did() {
        let clock = Clock::start();
        let mut stamp = clock.stamp();
        stamp.wall += 3_600_000;
        stamp.uptime -= 5_000;
        let age = clock.steady().since(clock.place(&stamp)).as_millis();
        assert!((4_900..6_000).contains(&age), "{age}");
    }

    #[test]
    fn wall_times_are_shown_with_milliseconds() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_767_225_600_120), "2026-01-01T00:00:00.120Z");
    }

    #[test]
    fn a_stamp_from_the_future_of_another_boot_is_now() {
        let clock = Clock::start();
        let stamp = Stamp { wall: clock.wall() + 3_600_000, boot: "another".into(), uptime: 1 };
        assert!(clock.steady().since(clock.place(&stamp)).as_millis() < 100);
    }
}
