//! What a target's task remembers between two triggers. Pure, and kept over reloads.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::policy::decide::Reason;
use crate::policy::field::FieldSet;
use crate::policy::ghosts::Ghosts;
use crate::policy::names::{NodeName, RuleName};
use crate::policy::outcome::Open;
use crate::policy::pending::Pending;
use crate::policy::seen::Seen;
use crate::policy::session::{SessionKey, Snapshot};
use crate::policy::time::Steady;

/// The last reason of every candidate that was spared, by rule and session.
pub(super) type Verdicts = HashMap<(RuleName, SessionKey), Reason>;

/// The memory of a target.
#[derive(Default)]
pub(super) struct Memory {
    /// `for` timers.
    pub(super) pending: Pending,
    /// Whom observe would have killed.
    pub(super) ghosts: Ghosts,
    /// Intents that are not settled.
    pub(super) open: Vec<Open>,
    /// How many sessions each node had lately.
    pub(super) seen: HashMap<NodeName, Seen>,
    /// The last reason of every candidate that was spared: only a change is news.
    pub(super) verdicts: Arc<Verdicts>,
}

impl Memory {
    /// Forgets nodes that are not the target's any more.
    pub(super) fn keep_nodes(&mut self, nodes: &[NodeName]) {
        self.seen.retain(|node, _| nodes.contains(node));
        self.ghosts.keep_nodes(nodes);
        self.pending.keep_nodes(nodes);
    }
}

/// What is known of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeState {
    /// Why its last listing failed; `None` if it did not, or before the first.
    pub(super) error: Option<String>,
    /// Whether it was listed, or failed to be, at least once.
    pub(super) tried: bool,
    /// Its last successful listing.
    pub(super) snapshot: Option<Arc<Snapshot>>,
}

/// How a rule stands on the target since the last evaluation.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleState {
    /// Whether it was active.
    pub(super) active: bool,
    /// How many candidates it had.
    pub(super) candidates: u64,
    /// By verdict: `kill`, or a reason.
    pub(super) verdicts: BTreeMap<&'static str, u64>,
    /// The fields it needs and a node lacks.
    pub(super) lacking: FieldSet,
}

/// What the task publishes for those who ask.
#[derive(Clone, Debug, Default)]
pub(super) struct Published {
    pub(super) nodes: BTreeMap<NodeName, NodeState>,
    pub(super) rules: HashMap<RuleName, RuleState>,
    pub(super) open: usize,
}

impl Published {
    /// Whether every node was listed, or failed to be, at least once.
    pub(super) fn tried(&self) -> bool {
        !self.nodes.is_empty() && self.nodes.values().all(|node| node.tried)
    }

    /// When the oldest of the nodes' listings was asked for.
    pub(super) fn listed(&self) -> Option<Steady> {
        self.nodes.values().filter_map(|node| Some(node.snapshot.as_ref()?.at)).min()
    }
}
