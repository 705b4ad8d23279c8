//! Confirm: between the list and the kill a session may have woken up, left, or changed. Only what a fresh look shows to
//! be the same session (same key and peer, at least as old), still named by the rule and still unprotected, may go.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::evaluate::Candidate;
use super::field::Field;
use super::names::NodeName;
use super::ruleset::{RuleSet, Standing};
use super::session::{ConnectionId, Session, SessionKey, Sessions, Snapshot};
use super::time::Steady;

/// What a fresh look says about a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// Still the same, still named, still unprotected, as seen on this connection by a look asked for at this time.
    Confirmed(ConnectionId, Steady),
    /// Gone, another session, awake, or protected by now.
    Changed,
    /// The look at its node failed.
    LookFailed,
}

/// What was looked at again, by rule and session.
pub type Confirmations = HashMap<(usize, SessionKey), Confirmation>;

/// Compares what was found with a fresh look at it. `looks` holds one snapshot for each node whose look succeeded.
#[must_use]
pub fn confirm(found: &[Candidate], looks: &[Arc<Snapshot>], rules: &RuleSet, wall: i64) -> Confirmations {
    let by_node: HashMap<&NodeName, Looked> =
        looks.iter().map(|look| (&look.node, Looked::new(look, found, rules, wall))).collect();
    found
        .iter()
        .map(|candidate| {
            let key = candidate.session().key.clone();
            let confirmation = match by_node.get(&key.node) {
                Some(looked) => looked.confirm(candidate, rules),
                None => Confirmation::LookFailed,
            };
            ((candidate.rule(), key), confirmation)
        })
        .collect()
}

struct Looked<'a> {
    look: &'a Snapshot,
    rows: HashMap<i64, usize>,
    verdicts: super::ruleset::Verdicts,
}

impl<'a> Looked<'a> {
    fn new(look: &'a Snapshot, found: &[Candidate], rules: &RuleSet, wall: i64) -> Self {
        let asked: HashSet<usize> = found.iter().map(Candidate::rule).collect();
        let rows = (0..look.sessions.len()).map(|row| (look.sessions.id(row), row)).collect();
        Self { look, rows, verdicts: rules.run(look, &asked, wall) }
    }

    fn confirm(&self, candidate: &Candidate, rules: &RuleSet) -> Confirmation {
        let before = candidate.session();
        if self.look.run != before.key.run {
            return Confirmation::Changed;
        }
        let Some(row) = self.rows.get(&before.key.id).copied() else { return Confirmation::Changed };
        let standing = self.verdicts.standing(rules, candidate.rule(), self.look, row);
        if standing == Standing::Named && is_same(before, &self.look.sessions, row) {
            Confirmation::Confirmed(self.look.connection, self.look.at)
        } else {
            Confirmation::Changed
        }
    }
}

/// An address can be taken over by another session, which is then younger.
fn is_same(before: &Session, now: &Sessions, row: usize) -> bool {
    let as_old = match (before.int(Field::Age), now.int(Field::Age, row)) {
        (Some(before), Some(now)) => now >= before,
        (None, _) => true,
        (Some(_), None) => false,
    };
    before.peer.as_deref() == now.text(Field::Peer, row) && as_old
}
