//! The limits of the config: they hold for all rules together, whatever a rule's own limits are.

use std::time::Duration;

use super::rule::{Rate, Share};

/// The limits of the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Kills per target.
    pub target: Rate,
    /// Kills over all targets.
    pub fleet: Rate,
    /// The largest part of a node's sessions that a rule, and all rules together, may name.
    pub share: Share,
    /// Kills committed on a node within this time count towards the share.
    pub share_window: Duration,
    /// A share never refuses this many or fewer.
    pub share_floor: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            target: Rate { kills: 50, window: minute },
            fleet: Rate { kills: 200, window: minute },
            share: Share::percent(25),
            share_window: 10 * minute,
            share_floor: 3,
        }
    }
}
