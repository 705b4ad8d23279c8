//! What would be done, and why: the answers of `plan` and `explain`.

use serde::Serialize;

use super::session::SessionView;

/// `reaperd plan -o json`.
#[derive(Clone, Debug, Serialize)]
pub struct PlanView {
    /// When the lists were asked for, RFC 3339.
    pub at: String,
    /// One for each rule on each target.
    pub plans: Vec<RulePlan>,
    /// Nodes that could not be listed: nothing is known about them.
    pub errors: Vec<NodeFailure>,
}

/// What one rule would do on one target.
#[derive(Clone, Debug, Serialize)]
pub struct RulePlan {
    /// The target.
    pub target: String,
    /// The rule.
    pub rule: String,
    /// The mode that holds there.
    pub mode: String,
    /// Who would be killed.
    pub kills: Vec<Killed>,
    /// Who would not, and why.
    pub spared: Vec<SparedView>,
    /// Who matches, but not for the rule's `for` yet.
    pub pending: Vec<PendingView>,
    /// The fields that the rule needs and the target lacks; then it does nothing there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_applicable: Option<String>,
    /// The state of the rule's guard; it has none.
    pub guard: Option<String>,
}

/// A session that would be killed.
#[derive(Clone, Debug, Serialize)]
pub struct Killed {
    /// Whom.
    pub session: SessionView,
}

/// A session that would be spared.
#[derive(Clone, Debug, Serialize)]
pub struct SparedView {
    /// Whom.
    pub session: SessionView,
    /// Why.
    pub reason: String,
    /// More words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A session that has to match for longer.
#[derive(Clone, Debug, Serialize)]
pub struct PendingView {
    /// Whom.
    pub session: SessionView,
    /// For how much longer, in seconds.
    pub for_left: f64,
}

/// A node that could not be listed.
#[derive(Clone, Debug, Serialize)]
pub struct NodeFailure {
    /// The target.
    pub target: String,
    /// The node.
    pub node: String,
    /// Why.
    pub error: String,
}

/// `reaperd explain -o json`.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainView {
    /// The target.
    pub target: String,
    /// The session.
    pub session: SessionView,
    /// One for each rule.
    pub rules: Vec<RuleExplanation>,
}

/// What one rule says about the session.
#[derive(Clone, Debug, Serialize)]
pub struct RuleExplanation {
    /// The rule.
    pub rule: String,
    /// `kill`, `spared`, `pending`, `not_named`, `not_chosen` (others go first, up to `max`), `not_applicable` or
    /// `other_target`.
    pub verdict: &'static str,
    /// Why it is spared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// More words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The conditions that `match` joins with `&&`.
    pub clauses: Vec<ClauseView>,
}

/// One condition, with the values it tests.
#[derive(Clone, Debug, Serialize)]
pub struct ClauseView {
    /// As it is written.
    pub clause: String,
    /// `true`, `false` or `unknown`.
    pub value: &'static str,
    /// The values: `idle = 2h5m`.
    pub values: String,
}
