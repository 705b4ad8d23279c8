//! Ghosts: whom observe would have killed. Remembered until they disappear, counted once, watched for regret: a ghost
//! that later did useful work is a kill that would have hurt.
//!
//! A server's own writes to a subscriber or a monitor reset `idle`, so those never count as regret.

use std::collections::{HashMap, HashSet};

use super::field::{Field, Kind};
use super::names::{NodeName, RuleName};
use super::session::{SessionKey, Snapshot};
use super::time::Steady;

/// `idle` has a resolution of a second: activity this close to the verdict may lie before it.
const RESOLUTION_MILLIS: i64 = 1_000;

/// The ghosts of a target.
#[derive(Clone, Debug, Default)]
pub struct Ghosts {
    ghosts: HashMap<(RuleName, SessionKey), Ghost>,
}

#[derive(Clone, Debug)]
struct Ghost {
    since: Steady,
    regretted: bool,
}

impl Ghosts {
    /// Remembers a ghost.
    pub fn insert(&mut self, rule: RuleName, key: SessionKey, now: Steady) {
        self.ghosts.entry((rule, key)).or_insert(Ghost { since: now, regretted: false });
    }

    /// The (rule, session) pairs.
    #[must_use]
    pub fn pairs(&self) -> HashSet<(RuleName, SessionKey)> {
        self.ghosts.keys().cloned().collect()
    }

    /// Forgets the ghosts of rules that are gone.
    pub fn keep_rules(&mut self, exists: impl Fn(&RuleName) -> bool) {
        self.ghosts.retain(|(rule, _), _| exists(rule));
    }

    /// Forgets the ghosts on other nodes than these.
    pub fn keep_nodes(&mut self, nodes: &[NodeName]) {
        self.ghosts.retain(|(_, key), _| nodes.contains(&key.node));
    }

    /// Forgets the ghosts that left the node, and returns the rules of those that are regretted now, one entry each.
    pub fn watch(&mut self, snapshot: &Snapshot) -> Vec<RuleName> {
        if self.ghosts.is_empty() {
            return Vec::new();
        }
        let rows: HashMap<i64, usize> =
            (0..snapshot.sessions.len()).map(|row| (snapshot.sessions.id(row), row)).collect();
        let mut regretted = Vec::new();
        self.ghosts.retain(|(rule, key), ghost| {
            if key.node != snapshot.node {
                return true;
            }
            let Some(row) = rows.get(&key.id).filter(|_| key.run == snapshot.run) else { return false };
            if !ghost.regretted && worked_after(snapshot, *row, ghost.since) {
                ghost.regretted = true;
                regretted.push(rule.clone());
            }
            true
        });
        regretted
    }
}

fn worked_after(snapshot: &Snapshot, row: usize, since: Steady) -> bool {
    let works = match snapshot.sessions.kind(row) {
        Some(Kind::Normal | Kind::Blocked | Kind::Replica | Kind::Master) => true,
        Some(Kind::Pubsub | Kind::Monitor) | None => false,
    };
    let Some(idle) = snapshot.sessions.int(Field::Idle, row) else { return false };
    works && snapshot.at.millis() - idle > since.millis() + RESOLUTION_MILLIS
}
