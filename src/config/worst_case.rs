//! The most kills that the limits allow in an hour, whatever sessions, alerts and operators do.
//!
//! A rate of N kills in any window of length W allows at most N x ceil(1h / W) kills in any hour: that many windows
//! cover the hour, and each holds at most N. The bound is reached, by bursts of N just over W apart, so there is no
//! smaller one. A cooldown of C allows a rule to kill on a target at ceil(1h / C) moments, and at each of them no more
//! than its `max`.
//!
//! Shares are left out: what they allow depends on how many sessions there are. Rules and targets whose mode, after the
//! caps, is not enforce kill nothing.

use std::time::Duration;

use super::{Config, TargetConfig};
use crate::policy::names::{RuleName, TargetName};
use crate::policy::rule::{Mode, Rate, Rule};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The most kills in any hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorstCase {
    /// By each rule, over all targets.
    pub rules: Vec<(RuleName, u64)>,
    /// On each target, by all rules.
    pub targets: Vec<(TargetName, u64)>,
    /// In all: at most the fleet's limit, the sum over the targets, and the sum over the rules.
    pub total: u64,
}

/// The most kills in any hour that the config's limits allow.
#[must_use]
pub fn worst_case_kills_per_hour(config: &Config) -> WorstCase {
    let per_target = in_an_hour(config.limits.target);
    let by = |rule: &Rule, target: &TargetConfig| on_target(rule, target).min(per_target);
    let rules: Vec<_> = config
        .rules
        .iter()
        .map(|rule| {
            let sum = sum(config.targets.iter().map(|target| by(rule, target)));
            (rule.name.clone(), sum.min(rule.limits.fleet.map_or(u64::MAX, in_an_hour)))
        })
        .collect();
    let targets: Vec<_> = config
        .targets
        .iter()
        .map(|target| (target.name.clone(), sum(config.rules.iter().map(|rule| by(rule, target))).min(per_target)))
        .collect();
    let total = sum(rules.iter().map(|(_, kills)| *kills))
        .min(sum(targets.iter().map(|(_, kills)| *kills)))
        .min(in_an_hour(config.limits.fleet));
    WorstCase { rules, targets, total }
}

/// What a rule's own limits allow on a target.
fn on_target(rule: &Rule, target: &TargetConfig) -> u64 {
    if rule.mode.min(target.mode) != Mode::Enforce || !rule.targets.matches(&target.labels) {
        return 0;
    }
    let kills = rule.limits.kills.map_or(u64::MAX, in_an_hour);
    if rule.limits.cooldown.is_zero() {
        return kills;
    }
    let at_once = rule.max.map_or(u64::MAX, |max| max as u64);
    kills.min(windows(rule.limits.cooldown).saturating_mul(at_once))
}

fn in_an_hour(rate: Rate) -> u64 {
    windows(rate.window).saturating_mul(u64::from(rate.kills))
}

/// How many windows of this length cover an hour.
fn windows(length: Duration) -> u64 {
    u64::try_from(HOUR.as_millis().div_ceil(length.as_millis().max(1))).unwrap_or(u64::MAX)
}

fn sum(parts: impl Iterator<Item = u64>) -> u64 {
    parts.fold(0, u64::saturating_add)
}
