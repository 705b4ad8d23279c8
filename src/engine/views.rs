//! The state of the engine as the API, the CLI and the metrics show it.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::memory::{NodeState, Published, RuleState};
use super::settings::{Settings, TargetSettings};
use super::shared::{Shared, TargetEntry};
use crate::clock::{UnixMillis, rfc3339};
use crate::policy::ledger::Books;
use crate::policy::names::{NodeName, RuleName, TargetName};
use crate::policy::rule::{Rate, Rule, When};
use crate::policy::time::{ShowDuration, Steady};
use crate::store::Pause;
use crate::view::session::SessionView;
use crate::view::status::{
    BudgetView, NodeView, PauseView, RuleView, SessionsView, Status, TargetRuleView, TargetView,
};

/// The word for the provider of Redis targets.
const PROVIDER: &str = "redis";

pub(super) fn ready(shared: &Shared) -> bool {
    if shared.stopping.load(Ordering::Relaxed) {
        return false;
    }
    let targets = shared.targets.read().unwrap_or_else(PoisonError::into_inner);
    targets.values().all(|entry| entry.published.read().unwrap_or_else(PoisonError::into_inner).tried())
}

pub(super) fn status(shared: &Shared) -> Status {
    let settings = shared.settings();
    let reloaded = shared.reloaded().clone();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: rfc3339(shared.started),
        ready: ready(shared),
        mode: settings.mode.as_str().to_owned(),
        reload_successful: reloaded.error.is_none(),
        reloaded: rfc3339(reloaded.at),
        reload_error: reloaded.error,
        pauses: pauses(shared),
        budgets: budgets(shared, &settings),
        alerts_active: shared.alerts().len() as u64,
        open_intents: open_intents(shared),
        targets: targets(shared),
    }
}

fn open_intents(shared: &Shared) -> u64 {
    let targets = shared.targets.read().unwrap_or_else(PoisonError::into_inner);
    let open = |entry: &TargetEntry| entry.published.read().unwrap_or_else(PoisonError::into_inner).open as u64;
    targets.values().map(|entry| open(entry)).sum()
}

/// A pause as people read it.
pub(super) fn pause(pause: &Pause) -> PauseView {
    PauseView {
        target: pause.target.as_ref().map(|target| target.as_str().to_owned()),
        reason: pause.reason.clone(),
        until: pause.until.map(rfc3339),
        by_file: false,
    }
}

fn pauses(shared: &Shared) -> Vec<PauseView> {
    let file = shared.pause_file_reason().map(|reason| PauseView { target: None, reason, until: None, by_file: true });
    file.into_iter().chain(shared.pauses().iter().map(pause)).collect()
}

pub(super) fn targets(shared: &Shared) -> Vec<TargetView> {
    let settings = shared.settings();
    settings.targets.values().map(|target| target_view(shared, &settings, target)).collect()
}

fn target_view(shared: &Shared, settings: &Settings, target: &TargetSettings) -> TargetView {
    let published = shared.target(target.name.as_str()).map_or_else(Published::default, |entry| {
        entry.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    });
    let mut rules: Vec<usize> = settings.rules_for(target).into_iter().collect();
    rules.sort_unstable();
    let rule = |index: usize| {
        let rule = &settings.rules.rules()[index];
        rule_on_target(rule, target, &published.rules.get(&rule.name).cloned().unwrap_or_default())
    };
    TargetView {
        name: target.name.as_str().to_owned(),
        provider: PROVIDER.to_owned(),
        labels: target.labels.clone(),
        mode: target.mode.as_str().to_owned(),
        poll_interval: target.poll_interval.as_secs_f64(),
        paused: shared.paused(&target.name).is_some(),
        nodes: published.nodes.iter().map(|(node, state)| node_view(shared, node, state)).collect(),
        rules: rules.into_iter().map(rule).collect(),
    }
}

fn node_view(shared: &Shared, node: &NodeName, state: &NodeState) -> NodeView {
    let snapshot = state.snapshot.as_ref();
    NodeView {
        node: node.as_str().to_owned(),
        up: state.tried.then_some(state.error.is_none()),
        sessions: snapshot.map(|snapshot| snapshot.sessions.len() as u64),
        listed: snapshot.map(|snapshot| rfc3339(to_wall(shared, snapshot.at))),
        error: state.error.clone(),
    }
}

/// A moment of the steady clock, as near to wall time as it can be told.
fn to_wall(shared: &Shared, at: Steady) -> UnixMillis {
    shared.clock.wall() - (shared.clock.steady().millis() - at.millis())
}

fn rule_on_target(rule: &Rule, target: &TargetSettings, state: &RuleState) -> TargetRuleView {
    TargetRuleView {
        rule: rule.name.as_str().to_owned(),
        mode: rule.mode.min(target.mode).as_str().to_owned(),
        active: state.active,
        candidates: state.candidates,
        not_applicable: (!state.lacking.is_empty()).then(|| state.lacking.to_string()),
        verdicts: state.verdicts.iter().map(|(verdict, count)| ((*verdict).to_owned(), *count)).collect(),
    }
}

pub(super) fn sessions(
    shared: &Shared,
    target: &str,
    entry: &TargetEntry,
    offset: usize,
    limit: usize,
) -> SessionsView {
    let published = entry.published.read().unwrap_or_else(PoisonError::into_inner).clone();
    let listed: Vec<_> = published.nodes.values().filter_map(|node| node.snapshot.clone()).collect();
    // Servers list in an order of their own, which changes: pages need one that stays.
    let rows = listed.iter().flat_map(|snapshot| {
        let mut rows: Vec<usize> = (0..snapshot.sessions.len()).collect();
        rows.sort_unstable_by_key(|row| snapshot.sessions.id(*row));
        rows.into_iter().map(move |row| (snapshot, row))
    });
    SessionsView {
        target: target.to_owned(),
        total: listed.iter().map(|snapshot| snapshot.sessions.len() as u64).sum(),
        offset: offset as u64,
        listed: published.listed().map(|at| rfc3339(to_wall(shared, at))),
        sessions: rows
            .skip(offset)
            .take(limit)
            .map(|(snapshot, row)| SessionView::from(&snapshot.session(row)))
            .collect(),
    }
}

pub(super) fn rules(shared: &Shared) -> Vec<RuleView> {
    shared.settings().rules.rules().iter().map(|rule| rule_view(rule)).collect()
}

fn rule_view(rule: &Rule) -> RuleView {
    let limits = &rule.limits;
    let cooldown = (!limits.cooldown.is_zero()).then(|| ShowDuration(limits.cooldown).to_string());
    let limits = [
        ("kills", limits.kills.map(|rate| rate.to_string())),
        ("fleet", limits.fleet.map(|rate| rate.to_string())),
        ("share", limits.share.map(|share| share.to_string())),
        ("cooldown", cooldown),
    ];
    let when = rule.when.iter().map(|when| match when {
        When::Poll => "poll".to_owned(),
        When::Alert(matchers) => format!("alert: {matchers}"),
    });
    RuleView {
        rule: rule.name.as_str().to_owned(),
        group: rule.group.as_ref().to_owned(),
        summary: rule.summary.as_ref().to_owned(),
        when: when.collect(),
        targets: rule.targets.to_string(),
        matches: rule.matches.source().to_owned(),
        hold: ShowDuration(rule.hold).to_string(),
        mode: rule.mode.as_str().to_owned(),
        limits: limits.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
        order: rule.order.to_string(),
        max: rule.max.map(|max| max as u64),
        file: rule.source.file.as_ref().to_owned(),
        line: rule.source.line as u64,
    }
}

/// The fleet's budget, every target's, and those of rules that are not full.
fn budgets(shared: &Shared, settings: &Settings) -> Vec<BudgetView> {
    shared.store.with_books(|books, now| budgets_at(settings, books, now))
}

/// One pass over what counts in the longest window, however many targets and rules there are.
fn budgets_at(settings: &Settings, books: &Books, now: Steady) -> Vec<BudgetView> {
    let limits = &settings.limits;
    let rates: HashMap<&RuleName, Rate> =
        settings.rules.rules().iter().filter_map(|rule| Some((&rule.name, rule.limits.kills?))).collect();
    let windows = rates.values().map(|rate| rate.window);
    let longest = windows.fold(limits.target.window.max(limits.fleet.window), Duration::max);
    let mut fleet = 0;
    let mut targets: HashMap<&TargetName, u64> = HashMap::new();
    let mut rules: BTreeMap<(&RuleName, &TargetName), u64> = BTreeMap::new();
    for charge in books.ledger.counting(longest, now) {
        fleet += u64::from(charge.counts(now, limits.fleet.window));
        *targets.entry(&charge.target).or_default() += u64::from(charge.counts(now, limits.target.window));
        if let Some(rate) = rates.get(&charge.rule) {
            *rules.entry((&charge.rule, &charge.target)).or_default() += u64::from(charge.counts(now, rate.window));
        }
    }
    let view = |scope: String, rate: Rate, used: u64| BudgetView {
        scope,
        limit: rate.to_string(),
        remaining: u64::from(rate.kills).saturating_sub(used),
    };
    let of_target = |target: &TargetName| {
        view(format!("target/{target}"), limits.target, targets.get(target).copied().unwrap_or(0))
    };
    let of_rule = |((rule, target), used): (&(&RuleName, &TargetName), &u64)| {
        (*used > 0 && settings.targets.contains_key(*target))
            .then(|| view(format!("rule/{rule}/{target}"), rates[*rule], *used))
    };
    let mut budgets = vec![view("fleet".to_owned(), limits.fleet, fleet)];
    budgets.extend(settings.targets.keys().map(of_target));
    budgets.extend(rules.iter().filter_map(of_rule));
    budgets
}

pub(super) fn refresh_metrics(shared: &Shared) {
    let settings = shared.settings();
    let metrics = &shared.metrics;
    let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let everything = shared.pause_file_reason().is_some() || shared.pauses().iter().any(|pause| pause.target.is_none());
    metrics.paused.set(i64::from(everything));
    let mut any_up = false;
    for name in settings.targets.keys() {
        let labels = [name.as_str()];
        metrics.target_paused.with_label_values(&labels).set(i64::from(shared.paused(name).is_some()));
        let Some(entry) = shared.target(name.as_str()) else { continue };
        let published = entry.published.read().unwrap_or_else(PoisonError::into_inner);
        any_up |= published.nodes.values().any(|node| node.tried && node.error.is_none());
        if let Some(at) = published.listed() {
            let age = shared.clock.steady().since(at).as_secs_f64();
            metrics.snapshot_age_seconds.with_label_values(&labels).set(age);
        }
    }
    metrics.provider_up.with_label_values(&[PROVIDER]).set(i64::from(any_up));
    metrics.budget_remaining.reset();
    for budget in budgets(shared, &settings) {
        metrics.budget_remaining.with_label_values(&[&budget.scope]).set(gauge(budget.remaining));
    }
    metrics.open_intents.set(gauge(open_intents(shared)));
    let written = shared.store.journal_entries();
    metrics.journal_entries_total.inc_by(written.saturating_sub(metrics.journal_entries_total.get()));
}
