//! When to try a node again that could not be reached.
//!
//! The delay doubles from 100 ms to 30 s and is shortened at random by up to a half, so that many targets on one host
//! that came back are not tried in the same instant. Until it is over, questions are answered with the last failure.

use std::time::Duration;

use crate::policy::time::{ShowDuration, Steady};

use super::failure::Failure;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// The failed attempts to reach one node since the last good one.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
    last: Option<(Failure, Steady)>,
}

impl Backoff {
    /// The last failure, while it is too early to try again.
    pub(super) fn refuses(&self, now: Steady) -> Option<Failure> {
        let (failure, until) = self.last.as_ref().filter(|(_, until)| now < *until)?;
        let message = format!("{} (next try in {})", failure.message, ShowDuration(until.since(now)));
        Some(Failure { message, ..failure.clone() })
    }

    /// An attempt failed at `now`; `jitter` is a number from 0 to 1.
    pub(super) fn failed(&mut self, failure: &Failure, now: Steady, jitter: f64) {
        let full = SHORTEST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures += 1;
        self.last = Some((failure.clone(), now.plus(full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0))));
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::FailureReason;

    #[test]
    fn delays_double_to_a_limit_and_a_success_forgets_them() {
        let failure = Failure::new(FailureReason::Connect, "refused");
        let mut backoff = Backoff::default();
        let mut now = Steady::from_millis(0);
        let mut delays = Vec::new();
        for _ in 0..12 {
            assert!(backoff.refuses(now).is_none());
            backoff.failed(&failure, now, 0.0);
            let (_, until) = backoff.last.clone().unwrap();
            assert!(backoff.refuses(until.minus(Duration::from_millis(1))).is_some());
            delays.push(until.since(now).as_millis());
            now = until;
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
        backoff.failed(&failure, now, 1.0);
        let refused = backoff.refuses(now).unwrap();
        assert_eq!(refused.message, "refused (next try in 15s)");
        backoff.succeeded();
        assert!(backoff.refuses(now).is_none());
    }
}
