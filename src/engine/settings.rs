//! What a reload swaps: rules, limits, modes, targets.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::redis;
use crate::policy::directory::Directory;
use crate::policy::limits::Limits;
use crate::policy::matcher::Labels;
use crate::policy::names::TargetName;
use crate::policy::rule::Mode;
use crate::policy::ruleset::RuleSet;

/// One target, as configured.
#[derive(Clone, Debug)]
pub struct TargetSettings {
    /// Its name.
    pub name: TargetName,
    /// Its labels, the reserved ones included.
    pub labels: Labels,
    /// Between two polls.
    pub poll_interval: Duration,
    /// No kill from an older list.
    pub max_snapshot_age: Duration,
    /// The mode that caps every rule's here, the config's taken into account.
    pub mode: Mode,
    /// How its nodes are reached.
    pub redis: redis::config::Config,
}

/// A whole, valid configuration of the engine.
#[derive(Debug)]
pub struct Settings {
    /// The mode of the config.
    pub mode: Mode,
    /// The rules and protections.
    pub rules: Arc<RuleSet>,
    /// The limits of the config.
    pub limits: Limits,
    /// After this long without another delivery, a firing alert is taken as resolved.
    pub alert_timeout: Duration,
    /// The targets.
    pub targets: BTreeMap<TargetName, Arc<TargetSettings>>,
    /// Which target an alert's labels name.
    pub directory: Directory,
}

impl Settings {
    /// The rules whose `targets` match this target, by position.
    #[must_use]
    pub fn rules_for(&self, target: &TargetSettings) -> HashSet<usize> {
        let rules = self.rules.rules().iter().enumerate();
        rules.filter(|(_, rule)| rule.targets.matches(&target.labels)).map(|(index, _)| index).collect()
    }
}

/// Loads the configuration anew, all or nothing; the error is every finding, ready to be read.
pub type Load = Box<dyn Fn() -> Result<Settings, String> + Send + Sync>;
