//! The policy as a whole: evaluate, confirm, decide, settle, on lists that are written down here.

mod decide;
mod evaluate;
mod outcome;
mod properties;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::confirm::{Confirmation, Confirmations};
use super::decide::{NodeFacts, Plan, Situation, decide};
use super::evaluate::{Candidate, Found, Question, evaluate};
use super::expr::Expr;
use super::field::Field;
use super::ledger::Books;
use super::limits::Limits;
use super::matcher::Matchers;
use super::pending::Pending;
use super::protect::Protection;
use super::rule::{Mode, Order, Rate, Rule, RuleLimits, Share, Source, When};
use super::ruleset::RuleSet;
use super::session::{ConnectionId, SessionsBuilder, Snapshot};
use super::time::Steady;

/// A moment, in seconds.
pub(super) fn at(seconds: i64) -> Steady {
    Steady::from_millis(seconds * 1000)
}

/// One session: id, flags, idle and age in seconds, name.
#[derive(Clone, Debug)]
pub(super) struct One {
    pub(super) id: i64,
    pub(super) flags: &'static str,
    pub(super) idle: i64,
    pub(super) age: i64,
    pub(super) name: &'static str,
    pub(super) peer: String,
}

/// A normal session that has been idle all its life.
pub(super) fn idle(id: i64, idle: i64) -> One {
    One { id, flags: "N", idle, age: idle, name: "", peer: format!("10.0.0.1:{id}") }
}

/// A list of node `n`, run `r`, asked for at `seconds`.
pub(super) fn list(seconds: i64, sessions: &[One]) -> Arc<Snapshot> {
    list_of("n", "r", seconds, sessions)
}

pub(super) fn list_of(node: &str, run: &str, seconds: i64, sessions: &[One]) -> Arc<Snapshot> {
    let mut text = String::new();
    for session in sessions {
        text.push_str(&session.peer);
    }
    let mut builder = SessionsBuilder::new(text, sessions.len());
    let mut start = 0;
    for session in sessions {
        builder.int(Field::Id, session.id);
        builder.int(Field::Idle, session.idle * 1000);
        builder.int(Field::Age, session.age * 1000);
        builder.symbol_text(Field::Flags, session.flags);
        builder.symbol_text(Field::Name, session.name);
        builder.symbol_text(Field::User, "default");
        builder.span(Field::Peer, start..start + session.peer.len());
        if let Some((ip, _)) = session.peer.split_once(':').filter(|(ip, _)| !ip.starts_with('/')) {
            builder.symbol_text(Field::Ip, ip);
        }
        start += session.peer.len();
        assert!(builder.end_session());
    }
    let node = node.into();
    Arc::new(Snapshot {
        sessions: builder.finish(&node),
        node,
        run: run.into(),
        connection: ConnectionId(1),
        at: at(seconds),
        own: vec![1],
        own_user: Some("default".into()),
    })
}

/// A rule in enforce on every poll, without limits of its own.
pub(super) fn rule(name: &str, matches: &str) -> Rule {
    Rule {
        name: name.into(),
        group: "g".into(),
        summary: "".into(),
        when: vec![When::Poll],
        targets: Matchers::default(),
        matches: Expr::parse(matches).unwrap(),
        hold: Duration::ZERO,
        mode: Mode::Enforce,
        limits: RuleLimits::default(),
        order: Order::default(),
        max: None,
        source: Source { file: "rules.yml".into(), line: 1 },
    }
}

pub(super) fn rate(text: &str) -> Rate {
    Rate::parse(text).unwrap()
}

/// Limits that are in nobody's way.
pub(super) fn wide() -> Limits {
    Limits { target: rate("100000/1m"), fleet: rate("100000/1m"), share: Share::ALL, ..Limits::default() }
}

pub(super) fn protection(matches: &str, until: Option<i64>) -> Protection {
    Protection { matches: Expr::parse(matches).unwrap(), reason: "operators".into(), until }
}

pub(super) fn compile(rules: Vec<Rule>, protections: Vec<Protection>) -> Arc<RuleSet> {
    Arc::new(RuleSet::compile(rules.into_iter().map(Arc::new).collect(), protections))
}

/// Evaluates all rules on these lists, with `for` timers that go on over a minute.
pub(super) fn find(rules: &RuleSet, pending: &mut Pending, lists: &[Arc<Snapshot>]) -> Found {
    let active: HashSet<usize> = (0..rules.rules().len()).collect();
    let gap = Duration::from_secs(60);
    evaluate(Question { rules, active: &active, snapshots: lists, wall: 0, gap }, pending)
}

/// A situation in which nothing stands against a kill, and every candidate was confirmed.
pub(super) fn clear(rules: &Arc<RuleSet>, found: &[Candidate], lists: &[Arc<Snapshot>]) -> Situation {
    let facts =
        |list: &Arc<Snapshot>| NodeFacts { listed: list.at, connection: ConnectionId(1), most_seen: list.seen() };
    Situation {
        target: "t".into(),
        rules: rules.clone(),
        mode: Mode::Enforce,
        limits: wide(),
        paused: None,
        max_snapshot_age: Duration::from_secs(10),
        nodes: lists.iter().map(|list| (list.node.clone(), facts(list))).collect(),
        open: HashSet::new(),
        ghosts: HashSet::new(),
        confirmations: Some(confirmed(found, lists)),
    }
}

pub(super) fn confirmed(found: &[Candidate], lists: &[Arc<Snapshot>]) -> Confirmations {
    let at: HashMap<_, _> = lists.iter().map(|list| (list.node.clone(), list.at)).collect();
    let one = |candidate: &Candidate| {
        let key = candidate.session().key.clone();
        let looked = at[&key.node];
        ((candidate.rule(), key), Confirmation::Confirmed(ConnectionId(1), looked))
    };
    found.iter().map(one).collect()
}

/// Evaluates and decides on fresh books, at the time of the first list.
pub(super) fn plan(rules: &Arc<RuleSet>, lists: &[Arc<Snapshot>], change: impl FnOnce(&mut Situation)) -> Plan {
    let found = find(rules, &mut Pending::default(), lists);
    let mut situation = clear(rules, &found.candidates, lists);
    change(&mut situation);
    decide(&found.candidates, &situation, &Books::default(), lists[0].at)
}

pub(super) fn killed(plan: &Plan) -> Vec<i64> {
    plan.kills.iter().map(|kill| kill.session().key.id).collect()
}

/// The spared as `id reason`, in order.
pub(super) fn spared(plan: &Plan) -> Vec<String> {
    plan.spared.iter().map(|spared| format!("{} {}", spared.session.key.id, spared.reason.as_str())).collect()
}
