//! The order of refusals, shares and budgets.

use std::time::Duration;

use super::super::confirm::Confirmation;
use super::super::decide::{Plan, Reason, decide};
use super::super::intent::IntentId;
use super::super::ledger::{Books, Charge, Ledger};
use super::super::pending::Pending;
use super::super::rule::{Mode, RuleLimits, Share};
use super::super::session::ConnectionId;
use super::{One, at, clear, compile, find, idle, killed, list, plan, protection, rate, rule, spared};

const IDLE: &str = r#"idle > duration("10s")"#;

fn charge(id: i64, rule: &str, target: &str, seconds: i64) -> Charge {
    let committed = at(seconds);
    Charge {
        id: IntentId(id),
        target: target.into(),
        node: "n".into(),
        rule: rule.into(),
        committed,
        ended: Some(committed),
    }
}

fn books(charges: impl IntoIterator<Item = Charge>) -> Books {
    Books { ledger: Ledger::replay(charges), shadow: Ledger::default() }
}

/// Twenty idle sessions, one rule with these limits, these books, at second 100.
fn with_limits(limits: RuleLimits, books: &Books) -> Plan {
    let mut one = rule("r", IDLE);
    one.limits = limits;
    let rules = compile(vec![one], vec![]);
    let lists = [list(100, &(2..22).map(|id| idle(id, 60)).collect::<Vec<_>>())];
    let found = find(&rules, &mut Pending::default(), &lists).candidates;
    decide(&found, &clear(&rules, &found, &lists), books, at(100))
}

#[test]
fn the_first_reason_that_applies_is_the_answer() {
    let rules = compile(vec![rule("r", IDLE)], vec![protection(r#"name == "vip""#, None)]);
    let lists = [list(0, &[idle(2, 60), One { name: "vip", ..idle(3, 50) }, idle(4, 40)])];
    assert_eq!(
        spared(&plan(&rules, &lists, |s| s.paused = Some("incident".into()))),
        ["2 paused", "4 paused", "3 paused"]
    );
    assert_eq!(spared(&plan(&rules, &lists, |_| ())), ["3 protected"]);
    assert_eq!(killed(&plan(&rules, &lists, |_| ())), [2, 4]);
    let stale = |s: &mut super::Situation| {
        for facts in s.nodes.values_mut() {
            facts.listed = facts.listed.minus(Duration::from_secs(11));
        }
    };
    assert_eq!(spared(&plan(&rules, &lists, stale)), ["2 stale_snapshot", "4 stale_snapshot", "3 protected"]);
    let set = |to: Confirmation| {
        move |s: &mut super::Situation| {
            for (key, confirmation) in s.confirmations.iter_mut().flatten() {
                if key.1.id == 2 {
                    *confirmation = to;
                }
            }
        }
    };
    for (to, reason) in [
        (Confirmation::Changed, "2 changed"),
        (Confirmation::LookFailed, "2 stale_snapshot"),
        (Confirmation::Confirmed(ConnectionId(2), at(0)), "2 stale_snapshot"),
        (Confirmation::Confirmed(ConnectionId(1), at(-11)), "2 stale_snapshot"),
    ] {
        let plan = plan(&rules, &lists, set(to));
        assert!(spared(&plan).contains(&reason.to_owned()), "{to:?}: {:?}", spared(&plan));
        assert_eq!(killed(&plan), [4]);
    }
    let open = |s: &mut super::Situation| {
        let open = s.confirmations.iter().flatten().map(|(key, _)| key.1.clone()).find(|key| key.id == 4);
        s.open.extend(open);
    };
    assert_eq!(spared(&plan(&rules, &lists, open)), ["4 taken", "3 protected"]);
    assert_eq!(spared(&plan(&rules, &lists, |s| s.mode = Mode::Observe)), ["3 protected", "2 observe", "4 observe"]);
}

#[test]
fn who_was_not_looked_at_is_not_killed() {
    let rules = compile(vec![rule("r", IDLE)], vec![]);
    let lists = [list(0, &[idle(2, 60), idle(3, 50)])];
    let forget = |s: &mut super::Situation| {
        if let Some(confirmations) = &mut s.confirmations {
            confirmations.retain(|key, _| key.1.id == 3);
        }
    };
    let plan = plan(&rules, &lists, forget);
    assert_eq!((killed(&plan), spared(&plan)), (vec![3], vec!["2 budget".to_owned()]));
}

#[test]
fn an_earlier_rule_takes_a_session_unless_it_only_observes() {
    let mut first = rule("first", IDLE);
    let second = rule("second", IDLE);
    let lists = [list(0, &[idle(2, 60)])];
    let both = plan(&compile(vec![first.clone(), second.clone()], vec![]), &lists, |_| ());
    assert_eq!((killed(&both), spared(&both)), (vec![2], vec!["2 taken".to_owned()]));
    assert_eq!(both.kills[0].rule().as_str(), "first");
    first.mode = Mode::Observe;
    let observed = plan(&compile(vec![first, second], vec![]), &lists, |_| ());
    assert_eq!((killed(&observed), spared(&observed)), (vec![2], vec!["2 observe".to_owned()]));
    assert_eq!(observed.kills[0].rule().as_str(), "second");
}

#[test]
fn a_share_that_is_too_large_kills_nobody_of_the_rule_on_that_node() {
    let idle_ones = |count: i64| (2..2 + count).map(|id| idle(id, 60));
    let busy = (100..120).map(|id| idle(id, 1));
    for (count, share, kills) in [(6, "25%", 6), (7, "25%", 0), (20, "50%", 20), (3, "0%", 3), (4, "0%", 0)] {
        let mut one = rule("r", IDLE);
        one.limits.share = Some(Share::parse(share).unwrap());
        let rules = compile(vec![one], vec![]);
        let lists = [list(0, &idle_ones(count).chain(busy.clone()).collect::<Vec<_>>())];
        let plan = plan(&rules, &lists, |_| ());
        assert_eq!(plan.kills.len(), kills, "{count} of {} at {share}", count + 20);
    }
}

#[test]
fn kills_within_the_share_window_count_towards_the_share() {
    let mut one = rule("r", IDLE);
    one.limits.share = Some(Share::percent(50));
    let rules = compile(vec![one], vec![]);
    let lists =
        [list(1000, &(2..8).map(|id| idle(id, 60)).chain((100..106).map(|id| idle(id, 1))).collect::<Vec<_>>())];
    let found = find(&rules, &mut Pending::default(), &lists).candidates;
    let situation = clear(&rules, &found, &lists);
    let after = |seconds| decide(&found, &situation, &books([charge(1, "other", "t", seconds)]), at(1000)).kills.len();
    assert_eq!(after(1000 - 601), 6, "before the window of 10m");
    assert_eq!(after(1000 - 599), 0, "6 + 1 are more than half of 12");
}

#[test]
fn the_configs_share_holds_for_all_rules_together() {
    let lists =
        [list(0, &(2..12).map(|id| idle(id, id * 10)).chain((100..110).map(|id| idle(id, 1))).collect::<Vec<_>>())];
    let rules = compile(
        vec![
            rule("old", r#"idle > duration("90s")"#),
            rule("young", r#"idle > duration("15s") && idle <= duration("90s")"#),
        ],
        vec![],
    );
    let plan = plan(&rules, &lists, |s| s.limits.share = Share::percent(40));
    // 2 of 20, then 2 + 8 of 20: more than 40 %.
    assert_eq!(killed(&plan), [11, 10]);
    assert_eq!(plan.spared.len(), 8);
    assert!(spared(&plan).iter().all(|line| line.ends_with(" share")));
}

#[test]
fn budgets_slide_and_take_what_fits() {
    let five = RuleLimits { kills: Some(rate("5/10s")), ..RuleLimits::default() };
    assert_eq!(with_limits(five.clone(), &Books::default()).kills.len(), 5);
    let used =
        books([charge(1, "r", "t", 91), charge(2, "r", "t", 90), charge(3, "r", "t", 89), charge(4, "r", "u", 99)]);
    assert_eq!(with_limits(five, &used).kills.len(), 3, "89 is out, another target does not count");
    let fleet = RuleLimits { fleet: Some(rate("5/10s")), ..RuleLimits::default() };
    assert_eq!(with_limits(fleet, &used).kills.len(), 2, "all targets count");
    let nothing = RuleLimits { kills: Some(rate("0/10s")), ..RuleLimits::default() };
    assert_eq!(with_limits(nothing, &Books::default()).kills.len(), 0);
}

#[test]
fn a_kill_that_was_never_answered_counts_until_it_is_settled() {
    let limits = RuleLimits { kills: Some(rate("5/10s")), ..RuleLimits::default() };
    let mut books = books([Charge { ended: None, ..charge(1, "r", "t", 0) }]);
    assert_eq!(with_limits(limits.clone(), &books).kills.len(), 4, "committed 100 s ago, and still under way");
    books.ledger.end(IntentId(1), at(89));
    assert_eq!(with_limits(limits.clone(), &books).kills.len(), 5);
    let mut books = Books { ledger: Ledger::replay([Charge { ended: None, ..charge(1, "r", "t", 99) }]), ..books };
    books.ledger.take_back(IntentId(1));
    assert_eq!(with_limits(limits, &books).kills.len(), 5, "it never left");
}

#[test]
fn target_and_fleet_budgets_hold_over_all_rules_of_a_plan() {
    let rules = compile(vec![rule("a", r#"idle > duration("60s")"#), rule("b", IDLE)], vec![]);
    let lists = [list(0, &(2..22).map(|id| idle(id, if id < 6 { 90 } else { 50 })).collect::<Vec<_>>())];
    let target = plan(&rules, &lists, |s| s.limits.target = rate("7/1m"));
    assert_eq!(target.kills.len(), 7);
    let fleet = plan(&rules, &lists, |s| s.limits.fleet = rate("3/1m"));
    assert_eq!(fleet.kills.len(), 3);
    let of_budget = fleet.spared.iter().filter(|spared| spared.reason == Reason::Budget);
    let words: Vec<_> = of_budget.filter_map(|spared| spared.detail.clone()).collect();
    assert!(words.len() == 18 && words.iter().all(|detail| detail.contains("fleet")), "{words:?}");
}

#[test]
fn cooldown_runs_from_the_last_kill() {
    let cooling = RuleLimits { cooldown: Duration::from_secs(30), ..RuleLimits::default() };
    for (last, kills) in [(71, 0), (70, 20)] {
        assert_eq!(with_limits(cooling.clone(), &books([charge(1, "r", "t", last)])).kills.len(), kills, "{last}");
    }
    assert_eq!(with_limits(cooling, &books([charge(1, "r", "u", 99), charge(2, "q", "t", 99)])).kills.len(), 20);
}

#[test]
fn observe_counts_a_ghost_once_and_is_held_by_the_same_budgets() {
    let mut one = rule("r", IDLE);
    one.mode = Mode::Observe;
    one.limits.kills = Some(rate("2/1m"));
    let rules = compile(vec![one], vec![]);
    let lists = [list(0, &[idle(2, 60), idle(3, 50), idle(4, 40)])];
    let first = plan(&rules, &lists, |_| ());
    assert_eq!(spared(&first), ["2 observe", "3 observe", "4 budget"]);
    assert_eq!(first.spared.iter().filter(|spared| spared.new_ghost).count(), 2);
    let again = plan(&rules, &lists, |s| {
        s.ghosts = first
            .spared
            .iter()
            .filter(|spared| spared.new_ghost)
            .map(|g| (g.rule.clone(), g.session.key.clone()))
            .collect();
    });
    assert_eq!(spared(&again), ["2 observe", "3 observe", "4 observe"]);
    assert_eq!(again.spared.iter().filter(|spared| spared.new_ghost).count(), 1, "only the new one");
}

#[test]
fn an_unlisted_node_has_no_kills() {
    let rules = compile(vec![rule("r", IDLE)], vec![]);
    let lists = [list(0, &[idle(2, 60)])];
    let plan = plan(&rules, &lists, |s| s.nodes.clear());
    assert_eq!((killed(&plan), spared(&plan)), (vec![], vec!["2 stale_snapshot".to_owned()]));
}

#[test]
fn the_draft_tells_whom_to_look_at() {
    let mut limited = rule("r", IDLE);
    limited.limits.kills = Some(rate("1/1m"));
    let rules = compile(vec![limited], vec![]);
    let lists = [list(0, &[idle(2, 60), idle(3, 50)])];
    let draft = plan(&rules, &lists, |s| s.confirmations = None);
    let wanted: Vec<i64> = draft.to_confirm().into_iter().map(|(_, key)| key.id).collect();
    assert_eq!(wanted, [2]);
}
