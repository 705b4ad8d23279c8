//! Charges: made by commits, ended by answers and outcomes, and the same after a restart.

use std::time::Duration;

use super::*;
use crate::policy::decide::{Reason, Spared};
use crate::policy::intent::Answer;
use crate::policy::names::TargetName;
use crate::policy::outcome::{Outcome, UNVERIFIED_IN_FLIGHT};
use crate::policy::rule::Rate;
use crate::store::Settled;

const RATE: Rate = Rate { kills: 5, window: Duration::from_secs(60) };

/// Kills as many of these as the fleet's budget allows.
fn within(ids: std::ops::Range<i64>) -> Decide {
    Box::new(move |books, now| plan(ids.map(kill).take(books.ledger.remaining(Scope::Fleet, RATE, now)).collect()))
}

fn settled(id: IntentId, outcome: Outcome) -> Settled {
    Settled { id, outcome, detail: None }
}

#[tokio::test]
async fn a_spent_budget_is_spent_after_a_restart() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let first = store.commit("orders".into(), within(0..9)).await.unwrap();
    assert_eq!(first.intents.len(), 5);
    assert_eq!(store.commit("orders".into(), within(20..29)).await.unwrap().intents.len(), 0);
    store.answered(vec![(first.intents[0].id(), Answer::Accepted)]).await.unwrap();
    store.settle(vec![settled(first.intents[1].id(), Outcome::Gone)]).await.unwrap();
    store.close().await;

    let Opened { store, open_intents, .. } = place.open();
    assert_eq!(charged(&store), 5);
    assert_eq!(store.commit("orders".into(), within(30..39)).await.unwrap().intents.len(), 0);
    let open: Vec<IntentId> = open_intents.iter().map(|intent| intent.id).collect();
    assert_eq!(open, [&ids(&first)[..1], &ids(&first)[2..]].concat());
    assert_eq!(open_intents[0].answer.as_deref(), Some("accepted"));
    assert_eq!(open_intents[1].answer, None);
    assert_eq!(open_intents[1].key, session(2).key);
    assert_eq!(open_intents[1].target, TargetName::from("orders"));
    let age = place.clock.steady().since(open_intents[1].committed);
    assert!(age < Duration::from_secs(30), "{age:?}");
}

#[tokio::test]
async fn jobs_of_one_group_share_a_budget() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let (go, mut held) = hold(&store).await;
    let (one, two, ()) = tokio::join!(
        store.commit("orders".into(), within(0..3)),
        store.commit("payments".into(), within(10..19)),
        async { drop(go) },
    );
    assert_eq!((one.unwrap().intents.len(), two.unwrap().intents.len()), (3, 2));
    held.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_charge_counts_until_it_has_ended_and_a_window_has_passed() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let committed = store.commit("orders".into(), kill_all(0..5)).await.unwrap();
    let ids = ids(&committed);
    let answers = [
        Answer::Accepted,
        Answer::NoSuchSession,
        Answer::Refused("ERR".to_owned()),
        Answer::NotSent("no connection".to_owned()),
        Answer::Unanswered("timed out".to_owned()),
    ];
    store.answered(ids.iter().copied().zip(answers).collect()).await.unwrap();
    let count = |store: &Store, window| store.with_books(|books, now| books.ledger.count(Scope::Fleet, window, now));
    assert_eq!(count(&store, HORIZON), 4);
    let short = Duration::from_millis(40);
    while count(&store, short) > 1 {
        tokio::time::sleep(short).await;
    }
    // Only the unanswered one still counts, for however long.
    assert_eq!(count(&store, Duration::ZERO), 1);
    store.close().await;
    let Opened { store, open_intents, .. } = place.open();
    assert_eq!((count(&store, HORIZON), open_intents.len()), (4, 4));
    while count(&store, short) > 1 {
        tokio::time::sleep(short).await;
    }
    store.settle(vec![settled(ids[4], Outcome::Survived)]).await.unwrap();
    while count(&store, short) > 0 {
        tokio::time::sleep(short).await;
    }
}

#[tokio::test]
async fn a_kill_that_nobody_could_verify_counts_as_long_as_a_hanging_server_may_hold_it() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let committed = store.commit("orders".into(), kill_all(0..1)).await.unwrap();
    store.settle(vec![settled(ids(&committed)[0], Outcome::Unverified)]).await.unwrap();
    let at = |store: &Store, later| {
        store.with_books(|books, now| books.ledger.count(Scope::Fleet, Duration::ZERO, now.plus(later)))
    };
    let almost = UNVERIFIED_IN_FLIGHT - Duration::from_secs(60);
    assert_eq!(at(&store, almost), 1);
    assert_eq!(at(&store, UNVERIFIED_IN_FLIGHT + Duration::from_secs(1)), 0);
    store.close().await;
    let Opened { store, .. } = place.open();
    assert_eq!(at(&store, almost), 1, "after a restart too");
}

#[tokio::test]
async fn what_has_left_the_horizon_is_not_replayed() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let committed = store.commit("orders".into(), kill_all(0..4)).await.unwrap();
    let ids = ids(&committed);
    store.settle(ids[..3].iter().map(|id| settled(*id, Outcome::Gone)).collect()).await.unwrap();
    store.close().await;
    let beyond = i64::try_from(HORIZON.as_millis()).unwrap() + 60_000;
    let age = |id: i64, boot: &str| {
        let sql = "UPDATE intents SET ended_at = ended_at - ?2, ended_uptime = ended_uptime - ?2,
            ended_boot = coalesce(?3, ended_boot) WHERE id = ?1";
        place.raw().execute(sql, (id, beyond, (!boot.is_empty()).then_some(boot))).unwrap();
    };
    age(ids[0].0, "");
    age(ids[1].0, "another boot");
    place.raw().execute("UPDATE intents SET committed_at = committed_at - ?1, committed_boot = 'x'", [beyond]).unwrap();

    let Opened { store, open_intents, .. } = place.open();
    assert_eq!(charged(&store), 2, "the one that ended now, and the open one however old");
    assert_eq!(open_intents.len(), 1);
}

#[tokio::test]
async fn a_wall_clock_that_was_set_forward_gives_no_budget_back() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let committed = store.commit("orders".into(), within(0..5)).await.unwrap();
    store.answered(ids(&committed).into_iter().map(|id| (id, Answer::Accepted)).collect()).await.unwrap();
    store.close().await;
    // As if the wall clock had been two days behind when the rows were written.
    place.raw().execute("UPDATE intents SET committed_at = 0, ended_at = 0", []).unwrap();
    let Opened { store, .. } = place.open();
    assert_eq!(store.commit("orders".into(), within(10..19)).await.unwrap().intents.len(), 0);
}

#[tokio::test]
async fn ghosts_charge_the_shadow_ledger_once_committed() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let ghost = |new_ghost| Spared {
        rule: "idle".into(),
        session: session(7),
        reason: Reason::Observe,
        detail: None,
        new_ghost,
    };
    let decide: Decide = Box::new(move |_, _| Decision {
        plan: Plan { kills: Vec::new(), spared: vec![ghost(true), ghost(false)] },
        entries: Vec::new(),
    });
    assert_eq!(store.commit("orders".into(), decide).await.unwrap().spared.len(), 2);
    let shadow = |window| {
        store.with_books(|books, now| {
            let scope = (&"idle".into(), &"orders".into());
            (books.shadow.count(Scope::Rule(scope.0, scope.1), window, now), books.ledger.is_empty())
        })
    };
    assert_eq!(shadow(HORIZON), (1, true));
    while shadow(Duration::from_millis(20)).0 > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
