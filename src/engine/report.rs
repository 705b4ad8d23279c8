//! What the sentence tells the outside: metrics, log lines, and the state that others see.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::guard::Guard;
use super::journal;
use super::mailbox::Trigger;
use super::memory::{RuleState, Verdicts};
use super::settings::Settings;
use crate::backend::{Backend, NodeError};
use crate::policy::decide::{Reason, Situation};
use crate::policy::evaluate::Found;
use crate::policy::field::FieldSet;
use crate::policy::intent::{Answer, Intent, IntentId};
use crate::policy::names::{NodeName, RuleName};
use crate::policy::outcome::Outcome;
use crate::store::{Committed, StoreError};

impl<B: Backend> Guard<B> {
    pub(super) fn count_trigger(&self, trigger: Trigger) {
        self.shared.metrics.triggers_total.with_label_values(&[trigger.cause.as_str()]).inc();
    }

    pub(super) fn count_regrets(&self, regretted: &[RuleName]) {
        for rule in regretted {
            self.shared.metrics.regret_total.with_label_values(&[rule.as_str()]).inc();
            tracing::info!(target = %self.name, %rule, "a session that observe would have killed did useful work since");
        }
    }

    /// The gauges that a listing sets.
    pub(super) fn count_listing(&self) {
        let metrics = &self.shared.metrics;
        let mut sessions = 0;
        self.publish(|published| {
            for state in published.nodes.values() {
                let listed = state.snapshot.as_ref().filter(|_| state.error.is_none());
                sessions += listed.map_or(0, |snapshot| i64::try_from(snapshot.sessions.len()).unwrap_or(i64::MAX));
            }
        });
        metrics.sessions.with_label_values(&[self.name.as_str()]).set(sessions);
    }

    /// A target is up when each of its nodes answered last time.
    pub(super) fn count_up(&self) {
        let mut up = true;
        self.publish(|published| up = published.nodes.values().all(|state| state.error.is_none()));
        self.shared.metrics.target_up.with_label_values(&[self.name.as_str()]).set(i64::from(up));
    }

    /// Forgets the series of nodes that are not the target's any more.
    pub(super) fn count_nodes(&self, nodes: &[NodeName]) {
        let metrics = &self.shared.metrics;
        metrics.forget_nodes(self.name.as_str(), |node| nodes.iter().any(|known| known.as_str() == node));
        self.count_listing();
        self.count_up();
    }

    pub(super) fn note_node_up(&self, node: &NodeName) {
        self.shared.metrics.node_up.with_label_values(&[self.name.as_str(), node.as_str()]).set(1);
        let mut was_down = false;
        self.publish(|published| {
            let state = published.nodes.entry(node.clone()).or_default();
            was_down = state.error.take().is_some();
            state.tried = true;
        });
        if was_down {
            tracing::info!(target = %self.name, %node, "the node answers again");
        }
    }

    /// Counted every time, logged when it is news.
    pub(super) fn note_node_error(&self, error: &NodeError) {
        let metrics = &self.shared.metrics;
        metrics.node_up.with_label_values(&[self.name.as_str(), error.node.as_str()]).set(0);
        metrics.list_failures_total.with_label_values(&[self.name.as_str(), error.reason.as_str()]).inc();
        let mut is_news = false;
        self.publish(|published| {
            let state = published.nodes.entry(error.node.clone()).or_default();
            is_news = state.error.is_none();
            state.error = Some(error.message.clone());
            state.tried = true;
        });
        if is_news {
            tracing::warn!(target = %self.name, node = %error.node, reason = error.reason.as_str(), "cannot list the node, so nothing is killed there: {}", error.message);
        }
    }

    pub(super) fn note_store_error(&self, what: &str, error: &StoreError) {
        self.shared.metrics.store_failures_total.inc();
        tracing::error!(target = %self.name, "cannot {what}: {error}");
    }

    pub(super) fn count_outcomes(&self, settled: &[(IntentId, Outcome)]) {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, outcome) in settled {
            *counts.entry(outcome.as_str()).or_default() += 1;
        }
        for (outcome, count) in &counts {
            let labels = [self.name.as_str(), outcome];
            self.shared.metrics.outcomes_total.with_label_values(&labels).inc_by(*count);
        }
        if !counts.is_empty() {
            tracing::info!(target = %self.name, "outcomes: {}", words(&counts));
        }
    }

    /// Kills are counted when the server accepted them; failures by what happened instead.
    pub(super) fn count_answers(
        &self,
        batch: &[Intent],
        answers: &[(IntentId, Answer)],
        situation: &Situation,
        trigger: Trigger,
    ) {
        let metrics = &self.shared.metrics;
        let intents: HashMap<IntentId, &Intent> = batch.iter().map(|intent| (intent.id(), intent)).collect();
        let now = self.shared.clock.steady();
        let mut failures: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
        for (id, answer) in answers {
            let Some(intent) = intents.get(id) else { continue };
            let why = match answer {
                Answer::Accepted => {
                    let labels = [self.name.as_str(), intent.rule().as_str()];
                    metrics.kills_total.with_label_values(&labels).inc();
                    metrics.trigger_to_kill_seconds.observe(now.since(trigger.at).as_secs_f64());
                    let looked = situation.nodes.get(&intent.session().key.node).map(|facts| facts.listed);
                    metrics.list_to_kill_seconds.observe(now.since(looked.unwrap_or(trigger.at)).as_secs_f64());
                    continue;
                }
                Answer::NoSuchSession => continue,
                Answer::Refused(why) | Answer::NotSent(why) | Answer::Unanswered(why) => why,
            };
            metrics.kill_failures_total.with_label_values(&[self.name.as_str(), answer.as_str()]).inc();
            failures.entry(answer.as_str()).or_insert((0, why)).0 += 1;
        }
        for (what, (count, why)) in failures {
            tracing::warn!(target = %self.name, "{count} kills {what}: {why}");
        }
    }

    /// Record: counts what is news, publishes the state of the rules, and says in one line a rule what happened.
    pub(super) fn record(&mut self, settings: &Settings, found: &Found, committed: &Committed, trigger: Trigger) {
        let before = self.memory.verdicts.clone();
        let metrics = &self.shared.metrics;
        for spared in committed.spared.iter().filter(|spared| journal::is_news(&before, spared)) {
            metrics.spared_total.with_label_values(&[spared.rule.as_str(), spared.reason.as_str()]).inc();
        }
        let now = self.shared.clock.steady();
        for ghost in committed.spared.iter().filter(|spared| spared.new_ghost) {
            metrics.would_kill_total.with_label_values(&[ghost.rule.as_str()]).inc();
            self.memory.ghosts.insert(ghost.rule.clone(), ghost.session.key.clone(), now);
        }
        let counts = journal::counts(committed.intents.iter().map(Intent::rule), &committed.spared);
        self.log_batches(&counts, committed, &before, trigger);
        self.publish_rules(settings, found, &counts);
        self.remember_verdicts(committed);
    }

    fn log_batches(
        &self,
        counts: &BTreeMap<&RuleName, BTreeMap<&'static str, u64>>,
        committed: &Committed,
        before: &Verdicts,
        trigger: Trigger,
    ) {
        for (rule, verdicts) in counts {
            let news = committed.spared.iter().any(|spared| spared.rule == **rule && journal::is_news(before, spared));
            if news || verdicts.contains_key(journal::KILL) {
                tracing::info!(target = %self.name, %rule, trigger = trigger.cause.as_str(), "{}", words(verdicts));
            }
        }
    }

    fn publish_rules(
        &self,
        settings: &Settings,
        found: &Found,
        counts: &BTreeMap<&RuleName, BTreeMap<&'static str, u64>>,
    ) {
        let active = self.active(settings);
        let lacking: HashMap<usize, FieldSet> = found.not_applicable.iter().copied().collect();
        let mut rules = HashMap::new();
        for index in settings.rules_for(&self.target) {
            let name = &settings.rules.rules()[index].name;
            let verdicts = counts.get(name).cloned().unwrap_or_default();
            let state = RuleState {
                active: active.contains(&index),
                candidates: verdicts.values().sum(),
                lacking: lacking.get(&index).copied().unwrap_or_default(),
                verdicts,
            };
            self.count_rule(name, &state);
            rules.insert(name.clone(), state);
        }
        self.publish(|published| published.rules = rules);
    }

    fn count_rule(&self, rule: &RuleName, state: &RuleState) {
        let labels = [self.name.as_str(), rule.as_str()];
        let metrics = &self.shared.metrics;
        metrics.candidates.with_label_values(&labels).set(i64::try_from(state.candidates).unwrap_or(i64::MAX));
        let lacks = !state.lacking.is_empty();
        metrics.rule_not_applicable.with_label_values(&labels).set(i64::from(lacks));
    }

    /// A node that was not listed this time has no candidates; its verdicts are not forgotten for that.
    fn remember_verdicts(&mut self, committed: &Committed) {
        let mut verdicts: Verdicts = HashMap::new();
        self.publish(|published| {
            let down = |node: &NodeName| published.nodes.get(node).is_some_and(|state| state.error.is_some());
            let kept = self.memory.verdicts.iter().filter(|((_, key), _)| down(&key.node));
            verdicts.extend(kept.map(|(pair, reason)| (pair.clone(), *reason)));
        });
        let reasons = committed.spared.iter().map(|spared| (pair(spared), spared.reason));
        verdicts.extend(reasons);
        self.memory.verdicts = Arc::new(verdicts);
    }
}

fn pair(spared: &crate::policy::decide::Spared) -> (RuleName, crate::policy::session::SessionKey) {
    (spared.rule.clone(), spared.session.key.clone())
}

/// `kill 20, spared: budget 12, protected 2`: counts for a person.
fn words(counts: &BTreeMap<&str, u64>) -> String {
    let of = |(verdict, count): (&&str, &u64)| format!("{verdict} {count}");
    let (reasons, others): (Vec<_>, Vec<_>) =
        counts.iter().partition(|(verdict, _)| Reason::ALL.iter().any(|reason| reason.as_str() == **verdict));
    let mut parts: Vec<String> = others.into_iter().map(of).collect();
    if !reasons.is_empty() {
        parts.push(format!("spared: {}", reasons.into_iter().map(of).collect::<Vec<_>>().join(", ")));
    }
    parts.join(", ")
}
