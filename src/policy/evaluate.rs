//! Evaluate: which sessions the active rules name now. Rules name, they do not permit: see `decide`.
//!
//! Per rule, the sessions that match (and have for the rule's `for`) become candidates: first those that are neither
//! protected nor unidentified, most deserving first and at most `max`; then the protected and unidentified ones, which
//! will be spared, so that they are seen.
//!
//! A rule that needs a field which a node does not list is not applicable there, and says so.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::field::{Field, FieldSet};
use super::pending::{Held, Pending};
use super::rule::{Order, Rule};
use super::ruleset::{RuleSet, Standing};
use super::session::{Session, Snapshot};

/// A (session, rule) pair that evaluate names. Made only here.
#[derive(Clone, Debug)]
pub struct Candidate {
    rule: usize,
    session: Arc<Session>,
    standing: Standing,
}

impl Candidate {
    /// The position of its rule in the rule set.
    #[must_use]
    pub fn rule(&self) -> usize {
        self.rule
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The protection that holds for it.
    #[must_use]
    pub fn protection(&self) -> Option<&Arc<str>> {
        match &self.standing {
            Standing::Protected(reason) => Some(reason),
            Standing::Unidentified | Standing::Named | Standing::NotNamed => None,
        }
    }

    /// Whether the rule would name it only if its hidden address were known.
    #[must_use]
    pub fn is_unidentified(&self) -> bool {
        self.standing == Standing::Unidentified
    }
}

/// A session that matches, but not yet for the rule's `for`.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The position of its rule in the rule set.
    pub rule: usize,
    /// The session.
    pub session: Arc<Session>,
    /// How much longer it has to match.
    pub left: Duration,
}

/// What evaluate found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// In the order of rules, and within a rule in the order in which they should go.
    pub candidates: Vec<Candidate>,
    /// Matching, but not for long enough.
    pub waiting: Vec<Waiting>,
    /// Rules that need fields which a node of the target does not list.
    pub not_applicable: Vec<(usize, FieldSet)>,
}

/// What is evaluated.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// All rules.
    pub rules: &'a RuleSet,
    /// The positions of those that are active on this target now.
    pub active: &'a HashSet<usize>,
    /// The nodes that could be listed.
    pub snapshots: &'a [Arc<Snapshot>],
    /// Wall time, for protections that expire.
    pub wall: i64,
    /// The longest time between two snapshots over which a `for` timer goes on.
    pub gap: Duration,
}

/// Names the candidates, and advances the `for` timers.
#[must_use]
pub fn evaluate(question: Question<'_>, pending: &mut Pending) -> Found {
    let Question { rules, active, snapshots, .. } = question;
    pending.keep_only(&active.iter().map(|rule| rules.rules()[*rule].fingerprint()).collect());
    let mut by_rule: HashMap<usize, Vec<Candidate>> = HashMap::new();
    let mut found = Found::default();
    for snapshot in snapshots {
        evaluate_node(question, snapshot, pending, &mut by_rule, &mut found);
    }
    for (index, rule) in rules.rules().iter().enumerate() {
        if let Some(candidates) = by_rule.remove(&index) {
            found.candidates.extend(choose(rule, candidates));
        }
    }
    found.waiting.sort_by(|a, b| (a.rule, &a.session.key).cmp(&(b.rule, &b.session.key)));
    found
}

fn evaluate_node(
    question: Question<'_>,
    snapshot: &Snapshot,
    pending: &mut Pending,
    by_rule: &mut HashMap<usize, Vec<Candidate>>,
    found: &mut Found,
) {
    let rules = question.rules;
    let mut asked = HashSet::new();
    for rule in question.active.iter().copied() {
        let lacking = lacking(&rules.rules()[rule], snapshot);
        if lacking.is_empty() {
            asked.insert(rule);
        } else {
            note_not_applicable(found, rule, lacking);
        }
    }
    let verdicts = rules.run(snapshot, &asked, question.wall);
    let mut owned: HashMap<usize, Arc<Session>> = HashMap::new();
    for rule in asked {
        let rows = verdicts.rows(rule);
        let ids: Vec<i64> = rows.iter().map(|row| snapshot.sessions.id(*row)).collect();
        let held = pending.advance(&rules.rules()[rule], snapshot, &ids, question.gap);
        for (row, held) in rows.into_iter().zip(held) {
            let session = owned.entry(row).or_insert_with(|| Arc::new(snapshot.session(row))).clone();
            match held {
                Held::Yes => {
                    let standing = verdicts.standing(rules, rule, snapshot, row);
                    by_rule.entry(rule).or_default().push(Candidate { rule, session, standing });
                }
                Held::Left(left) => found.waiting.push(Waiting { rule, session, left }),
            }
        }
    }
}

/// The fields that the rule needs and no session of the node has. Whether an address is hidden is a matter of each
/// session, not of the node.
#[must_use]
pub fn lacking(rule: &Rule, snapshot: &Snapshot) -> FieldSet {
    rule.needs().without(snapshot.sessions.fields()).without(FieldSet::EMPTY.with(Field::Ip).with(Field::Port))
}

fn note_not_applicable(found: &mut Found, rule: usize, lacking: FieldSet) {
    match found.not_applicable.iter_mut().find(|(known, _)| *known == rule) {
        Some((_, fields)) => *fields = fields.union(lacking),
        None => found.not_applicable.push((rule, lacking)),
    }
}

/// Most deserving first, at most `max` of those that may go; then those that will be spared anyway.
fn choose(rule: &Rule, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by(|a, b| deserving(rule.order, &a.session, &b.session));
    let (mut eligible, spared): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| candidate.standing == Standing::Named);
    eligible.truncate(rule.max.unwrap_or(usize::MAX));
    eligible.extend(spared);
    eligible
}

/// A session whose value is missing goes last.
fn deserving(order: Order, a: &Session, b: &Session) -> Ordering {
    let by_value = match (a.int(order.field), b.int(order.field)) {
        (Some(a), Some(b)) if order.descending => b.cmp(&a),
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    };
    by_value.then_with(|| a.key.cmp(&b.key))
}
