//! `for`: since when each session has matched, on every snapshot.
//!
//! Kept by the rule's meaning (its fingerprint), the node, the run of its server and the session's id. A session that
//! did not match once, a gap between snapshots, another run of the server or a restart of the daemon start anew. A
//! node that could not be listed has no snapshot, so a single failed list changes nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::names::{NodeName, RunId};
use super::rule::{Fingerprint, Rule};
use super::session::Snapshot;
use super::time::Steady;

/// The `for` timers of a target.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    timers: HashMap<(Fingerprint, NodeName), NodeTimers>,
}

#[derive(Clone, Debug)]
struct NodeTimers {
    run: RunId,
    last: Steady,
    since: HashMap<i64, Steady>,
}

/// How far a session is with a rule's `for`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Long enough.
    Yes,
    /// Not yet, for this much longer.
    Left(Duration),
}

impl Pending {
    /// The sessions with these ids match `rule` on `snapshot`; says of each, in the same order, whether it has done so
    /// for long enough. `gap` is the longest time between two snapshots over which a timer goes on.
    pub(super) fn advance(&mut self, rule: &Rule, snapshot: &Snapshot, ids: &[i64], gap: Duration) -> Vec<Held> {
        if rule.hold.is_zero() {
            return vec![Held::Yes; ids.len()];
        }
        let key = (rule.fingerprint(), snapshot.node.clone());
        let before = self
            .timers
            .remove(&key)
            .filter(|timers| timers.run == snapshot.run && snapshot.at.since(timers.last) <= gap)
            .map(|timers| timers.since)
            .unwrap_or_default();
        let since: HashMap<i64, Steady> =
            ids.iter().map(|id| (*id, before.get(id).copied().unwrap_or(snapshot.at))).collect();
        let held = ids.iter().map(|id| held(rule.hold, since[id], snapshot.at)).collect();
        self.timers.insert(key, NodeTimers { run: snapshot.run.clone(), last: snapshot.at, since });
        held
    }

    /// Forgets the timers of other nodes than these.
    pub fn keep_nodes(&mut self, nodes: &[NodeName]) {
        self.timers.retain(|(_, node), _| nodes.contains(node));
    }

    /// Forgets the timers of rules that are no longer active.
    pub(super) fn keep_only(&mut self, active: &HashSet<Fingerprint>) {
        self.timers.retain(|(rule, _), _| active.contains(rule));
    }
}

/// At least two snapshots: on the first one `at` is `since`, and no `for` above zero has passed.
fn held(hold: Duration, since: Steady, at: Steady) -> Held {
    match hold.saturating_sub(at.since(since)) {
        Duration::ZERO => Held::Yes,
        left => Held::Left(left),
    }
}
