//! How many sessions a node had lately: the base of the share.

use std::collections::VecDeque;
use std::time::Duration;

use super::time::Steady;

/// The counts of a node, newest last; a count that a later one reaches is dropped, so the first is the largest.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    counts: VecDeque<(Steady, usize)>,
}

impl Seen {
    /// Adds what a list showed, replication left out.
    pub fn add(&mut self, at: Steady, count: usize) {
        while self.counts.back().is_some_and(|(_, older)| *older <= count) {
            self.counts.pop_back();
        }
        self.counts.push_back((at, count));
    }

    /// The most sessions seen within the last `window`.
    pub fn most(&mut self, window: Duration, now: Steady) -> usize {
        while self.counts.front().is_some_and(|(at, _)| *at < now.minus(window)) {
            self.counts.pop_front();
        }
        self.counts.front().map_or(0, |(_, count)| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_within_the_window() {
        let at = |seconds: i64| Steady::from_millis(seconds * 1000);
        let window = Duration::from_secs(10);
        let mut seen = Seen::default();
        assert_eq!(seen.most(window, at(0)), 0);
        for (second, count) in [(0, 5), (4, 9), (6, 7), (8, 3)] {
            seen.add(at(second), count);
        }
        assert_eq!(seen.most(window, at(8)), 9);
        assert_eq!(seen.most(window, at(14)), 9);
        assert_eq!(seen.most(window, at(15)), 7);
        assert_eq!(seen.most(window, at(17)), 3);
        assert_eq!(seen.most(window, at(19)), 0);
    }
}
