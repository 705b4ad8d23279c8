//! The state of the daemon, its targets and its rules, as the API and the CLI show it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::session::SessionView;

/// A pause in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseView {
    /// The paused target; everything is paused without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Why, in the operator's words.
    pub reason: String,
    /// When it ends, RFC 3339; it lasts until `resume` (or until the PAUSE file is removed) without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Whether it is the PAUSE file's, which ends only when the file is removed.
    #[serde(default)]
    pub by_file: bool,
}

/// One budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetView {
    /// `fleet`, `target/NAME`, or `rule/NAME/TARGET`.
    pub scope: String,
    /// The limit as written, `20/1m`.
    pub limit: String,
    /// How many more kills it allows now.
    pub remaining: u64,
}

/// The daemon as a whole: `GET /api/v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// When it started, RFC 3339.
    pub started: String,
    /// Whether every target was listed, or failed to be, at least once.
    pub ready: bool,
    /// The mode of the config, which caps every rule's.
    pub mode: String,
    /// Whether the last reload succeeded.
    pub reload_successful: bool,
    /// When the config in force was loaded, RFC 3339.
    pub reloaded: String,
    /// Why the last reload failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload_error: Option<String>,
    /// The pauses in force.
    pub pauses: Vec<PauseView>,
    /// The budgets: fleet, every target, and those rules that have used some.
    pub budgets: Vec<BudgetView>,
    /// Alerts that fire now and name a target.
    pub alerts_active: u64,
    /// Intents that are not settled yet.
    pub open_intents: u64,
    /// The targets.
    pub targets: Vec<TargetView>,
}

/// One node of a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub node: String,
    /// Whether its last listing succeeded; `None` before the first.
    pub up: Option<bool>,
    /// How many sessions the last successful listing showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    /// When that listing was asked for, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<String>,
    /// Why the last listing failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A rule on a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRuleView {
    /// The rule.
    pub rule: String,
    /// The mode that holds here: the lowest of config, target and rule.
    pub mode: String,
    /// Whether a poll or a firing alert makes it active now.
    pub active: bool,
    /// Candidates at the last evaluation.
    pub candidates: u64,
    /// The fields it needs and this target lacks; then it does nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_applicable: Option<String>,
    /// How the last evaluation's candidates were judged, by verdict: `kill` or a reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub verdicts: BTreeMap<String, u64>,
}

/// One target: an element of `GET /api/v1/targets`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetView {
    /// Its name.
    pub name: String,
    /// `redis` or `dcs`.
    pub provider: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The mode that caps every rule here.
    pub mode: String,
    /// Seconds between polls.
    pub poll_interval: f64,
    /// Whether it is paused, by itself or with everything.
    pub paused: bool,
    /// Its nodes.
    pub nodes: Vec<NodeView>,
    /// The rules whose `targets` match it.
    pub rules: Vec<TargetRuleView>,
}

/// The sessions of a target at its last listing: `GET /api/v1/targets/{name}/sessions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionsView {
    /// The target.
    pub target: String,
    /// All sessions of the last listing, before paging.
    pub total: u64,
    /// The position of the first one shown.
    pub offset: u64,
    /// When the oldest of the nodes' listings was asked for, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<String>,
    /// The sessions of this page, in the order of nodes and ids.
    pub sessions: Vec<SessionView>,
}

/// A rule as it was read: an element of `GET /api/v1/rules`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// Its name.
    pub rule: String,
    /// Its group.
    pub group: String,
    /// What it is for.
    pub summary: String,
    /// What makes it active: `poll`, or `alert: MATCHERS`.
    pub when: Vec<String>,
    /// Which targets, as written.
    pub targets: String,
    /// Which sessions, as written.
    #[serde(rename = "match")]
    pub matches: String,
    /// How long a session must have matched.
    #[serde(rename = "for")]
    pub hold: String,
    /// Its own mode.
    pub mode: String,
    /// Its own limits, as written.
    pub limits: BTreeMap<String, String>,
    /// Who goes first.
    pub order: String,
    /// At most this many at one evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// The file it was read from.
    pub file: String,
    /// The line in it.
    pub line: u64,
}
