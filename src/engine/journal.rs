//! The journal entries of an evaluation: one with counts for each rule that had candidates, and one for each session whose
//! verdict is news. So 10,000 sessions that are spared at every poll do not fill the disk.

use std::collections::BTreeMap;

use super::mailbox::Cause;
use super::memory::Verdicts;
use crate::policy::decide::{Plan, Situation, Spared};
use crate::policy::names::RuleName;
use crate::view::journal::{Entry, EntryKind};
use crate::view::session::SessionView;

/// The word for a kill among the verdicts.
pub(super) const KILL: &str = "kill";

/// How many candidates got which verdict, by rule.
pub(super) fn counts<'a>(
    kills: impl Iterator<Item = &'a RuleName>,
    spared: &'a [Spared],
) -> BTreeMap<&'a RuleName, BTreeMap<&'static str, u64>> {
    let mut counts: BTreeMap<&RuleName, BTreeMap<&'static str, u64>> = BTreeMap::new();
    for rule in kills {
        *counts.entry(rule).or_default().entry(KILL).or_default() += 1;
    }
    for spared in spared {
        *counts.entry(&spared.rule).or_default().entry(spared.reason.as_str()).or_default() += 1;
    }
    counts
}

/// Whether this verdict differs from the last one.
pub(super) fn is_news(before: &Verdicts, spared: &Spared) -> bool {
    before.get(&(spared.rule.clone(), spared.session.key.clone())) != Some(&spared.reason)
}

/// The entries that tell of a plan; the store adds the intents' own.
pub(super) fn of_plan(situation: &Situation, plan: &Plan, before: &Verdicts, cause: Cause) -> Vec<Entry> {
    let target = situation.target.as_str();
    let rules = counts(plan.kills.iter().map(crate::policy::decide::Kill::rule), &plan.spared);
    let mut entries: Vec<Entry> = rules
        .into_iter()
        .map(|(rule, counts)| Entry {
            target: Some(target.to_owned()),
            rule: Some(rule.as_str().to_owned()),
            detail: Some(cause.as_str().to_owned()),
            counts: counts.into_iter().map(|(verdict, count)| (verdict.to_owned(), count)).collect(),
            ..Entry::new(EntryKind::Evaluation)
        })
        .collect();
    entries.extend(plan.spared.iter().filter(|spared| is_news(before, spared)).map(|spared| of_spared(target, spared)));
    entries
}

fn of_spared(target: &str, spared: &Spared) -> Entry {
    Entry {
        target: Some(target.to_owned()),
        node: Some(spared.session.key.node.as_str().to_owned()),
        rule: Some(spared.rule.as_str().to_owned()),
        session: Some(SessionView::from(&*spared.session)),
        reason: Some(spared.reason.as_str().to_owned()),
        detail: spared.detail.as_ref().map(|detail| detail.as_ref().to_owned()),
        ..Entry::new(EntryKind::Spared)
    }
}
