//! What must hold whatever the sessions, limits and answers are.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::super::decide::decide;
use super::super::intent::IntentId;
use super::super::ledger::{Books, Charge, Ledger};
use super::super::pending::Pending;
use super::super::rule::{Mode, Rate};
use super::super::time::Steady;
use super::{One, clear, compile, find, idle, list, protection, rule};

fn sessions() -> impl Strategy<Value = Vec<One>> {
    let flags = prop::sample::select(vec!["N", "N", "N", "b", "P", "O", "S"]);
    let names = prop::sample::select(vec!["", "vip", "worker", "reaperd"]);
    prop::collection::vec((flags, names, 0..100i64), 0..40).prop_map(|rows| {
        let row = |(index, (flags, name, seconds)): (usize, _)| {
            let id = i64::try_from(index).unwrap() + 1;
            One { flags, name, ..idle(id, seconds) }
        };
        rows.into_iter().enumerate().map(row).collect()
    })
}

proptest! {
    /// Every candidate gets one answer; nobody protected goes; nobody goes twice; budgets hold.
    #[test]
    fn candidates_are_kills_and_spared(
        sessions in sessions(),
        budgets in (0..30u32, 0..30u32, 0..30u32),
        share in 0..=100u32,
        observe in any::<bool>(),
    ) {
        let mut first = rule("a", r#"idle > duration("20s")"#);
        first.limits.kills = Some(Rate { kills: budgets.0, window: Duration::from_secs(10) });
        first.mode = if observe { Mode::Observe } else { Mode::Enforce };
        let second = rule("b", r#"kind in ["normal", "monitor"] && age > duration("5s")"#);
        let rules = compile(vec![first, second], vec![protection(r#"name == "vip""#, None)]);
        let lists = [list(0, &sessions)];
        let found = find(&rules, &mut Pending::default(), &lists).candidates;
        let mut situation = clear(&rules, &found, &lists);
        situation.limits.share = super::Share::percent(share);
        situation.limits.target = Rate { kills: budgets.1, window: Duration::from_secs(10) };
        situation.limits.fleet = Rate { kills: budgets.2, window: Duration::from_secs(10) };
        let plan = decide(&found, &situation, &Books::default(), lists[0].at);

        prop_assert_eq!(plan.kills.len() + plan.spared.len(), found.len());
        let killed: HashSet<i64> = plan.kills.iter().map(|kill| kill.session().key.id).collect();
        prop_assert_eq!(killed.len(), plan.kills.len());
        for session in sessions.iter().filter(|session| killed.contains(&session.id)) {
            prop_assert!(session.id != 1 && session.flags != "S" && session.name != "vip" && session.name != "reaperd");
        }
        prop_assert!(plan.kills.len() <= budgets.1.min(budgets.2) as usize);
        let allowed = super::Share::percent(share).of(lists[0].seen()).max(situation.limits.share_floor);
        prop_assert!(plan.kills.len() <= allowed);
    }

    /// The answer does not depend on the order in which the server lists its sessions.
    #[test]
    fn the_order_of_the_list_does_not_matter(sessions in sessions(), seed in any::<u64>()) {
        let mut one = rule("a", r#"idle > duration("20s")"#);
        one.max = Some(5);
        let rules = compile(vec![one], vec![]);
        let kills = |sessions: &[One]| {
            let lists = [list(0, sessions)];
            let found = find(&rules, &mut Pending::default(), &lists).candidates;
            let plan = decide(&found, &clear(&rules, &found, &lists), &Books::default(), lists[0].at);
            super::killed(&plan)
        };
        let mut shuffled = sessions.clone();
        shuffled.sort_by_key(|session| seed.wrapping_mul(session.id.unsigned_abs().wrapping_add(7)) >> 7);
        prop_assert_eq!(kills(&sessions), kills(&shuffled));
    }

    /// Whatever the delay between commit and kill: no window of length W sees more than N kills carried out. Time goes on
    /// in steps; in each, what the budget leaves is committed, and each kill is carried out and answered some steps later.
    #[test]
    fn no_window_sees_more_kills_than_the_budget(
        limit in 1..8u32,
        window in 1..20i64,
        delays in prop::collection::vec((0..15i64, 0..15i64, any::<bool>()), 1..120),
    ) {
        let rate = Rate { kills: limit, window: Duration::from_millis(window.unsigned_abs()) };
        let mut ledger = Ledger::default();
        let mut delays = delays.into_iter().enumerate();
        let mut ends: HashMap<i64, Vec<(IntentId, bool)>> = HashMap::new();
        let mut carried_out: Vec<i64> = Vec::new();
        for now in 0..400i64 {
            let at = Steady::from_millis(now);
            for (id, left) in ends.remove(&now).unwrap_or_default() {
                if left { ledger.end(id, at) } else { ledger.take_back(id) }
            }
            let scope = super::super::ledger::Scope::Fleet;
            for _ in 0..ledger.remaining(scope, rate, at) {
                let Some((index, (until_done, until_answer, left))) = delays.next() else { break };
                let id = IntentId(i64::try_from(index).unwrap());
                let charge = Charge { id, target: "t".into(), node: "n".into(), rule: "r".into(), committed: at, ended: None };
                ledger.charge(charge);
                if left {
                    carried_out.push(now + until_done);
                }
                // Answers that are due now are taken in the next step.
                ends.entry(now + (until_done + until_answer).max(1)).or_default().push((id, left));
            }
        }
        carried_out.sort_unstable();
        for (index, start) in carried_out.iter().enumerate() {
            let within = carried_out[index..].iter().take_while(|done| **done <= start + window).count();
            prop_assert!(within <= limit as usize, "{within} kills within {window} ms from {start}: {carried_out:?}");
        }
    }
}
