//! Answers and outcomes: the first one stays.

use super::*;
use crate::policy::intent::Answer;
use crate::policy::outcome::Outcome;
use crate::store::Settled;
use crate::store::journal::Filter;
use crate::view::journal::{EntryKind, Recorded};

fn outcomes(place: &Place) -> Vec<Recorded> {
    place.reader().query(&Filter { kind: Some(EntryKind::Outcome), ..Filter::default() }).unwrap()
}

#[tokio::test]
async fn the_journal_tells_of_intent_and_outcome() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let committed = store.commit("orders".into(), kill_all(3..4)).await.unwrap();
    let id = committed.intents[0].id();
    store.answered(vec![(id, Answer::Refused("ERR no".to_owned()))]).await.unwrap();
    let settled = Settled { id, outcome: Outcome::Survived, detail: Some("seen again".to_owned()) };
    store.settle(vec![settled]).await.unwrap();

    let all = place.reader().query(&Filter::default()).unwrap();
    assert_eq!(all.iter().map(|entry| entry.entry.kind).collect::<Vec<_>>(), [EntryKind::Intent, EntryKind::Outcome]);
    for recorded in &all {
        let entry = &recorded.entry;
        assert_eq!(entry.target.as_deref(), Some("orders"));
        assert_eq!(entry.node.as_deref(), Some("127.0.0.1:6379"));
        assert_eq!(entry.rule.as_deref(), Some("idle"));
        assert_eq!(entry.intent, Some(id.0));
        let session = entry.session.as_ref().unwrap();
        assert_eq!((session.id, session.addr.as_deref(), session.idle), (3, Some("10.0.0.1:3"), Some(90.0)));
    }
    assert_eq!(all[1].entry.outcome.as_deref(), Some("survived"));
    assert_eq!(all[1].entry.detail.as_deref(), Some("refused: ERR no; seen again"));
}

#[tokio::test]
async fn the_first_outcome_stays() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let id = store.commit("orders".into(), kill_all(0..1)).await.unwrap().intents[0].id();
    for outcome in [Outcome::Gone, Outcome::Survived, Outcome::NotSent] {
        store.settle(vec![Settled { id, outcome, detail: None }]).await.unwrap();
    }
    store.answered(vec![(id, Answer::NotSent("late".to_owned()))]).await.unwrap();
    let outcomes = outcomes(&place);
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].entry.outcome.as_deref(), Some("gone"));
    assert_eq!(charged(&store), 1, "a kill that was seen to work is not taken back");
    store.close().await;
    assert_eq!(charged(&place.open().store), 1);
}

#[tokio::test]
async fn a_kill_that_was_answered_is_not_taken_back() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let id = store.commit("orders".into(), kill_all(0..1)).await.unwrap().intents[0].id();
    store.answered(vec![(id, Answer::Accepted)]).await.unwrap();
    store.answered(vec![(id, Answer::NotSent("late".to_owned()))]).await.unwrap();
    assert_eq!(outcomes(&place), []);
    store.settle(vec![Settled { id, outcome: Outcome::NotSent, detail: None }]).await.unwrap();
    assert_eq!(charged(&store), 1);
    store.close().await;
    assert_eq!(charged(&place.open().store), 1);
}

#[tokio::test]
async fn a_final_answer_may_follow_silence() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let id = store.commit("orders".into(), kill_all(0..1)).await.unwrap().intents[0].id();
    store.answered(vec![(id, Answer::Unanswered("timed out".to_owned()))]).await.unwrap();
    store.answered(vec![(id, Answer::NotSent("never written".to_owned()))]).await.unwrap();
    assert_eq!(charged(&store), 0);
    assert_eq!(outcomes(&place)[0].entry.detail.as_deref(), Some("not_sent: never written"));
    store.close().await;
    let Opened { store, open_intents, .. } = place.open();
    assert_eq!((charged(&store), open_intents.len()), (0, 0));
}

#[tokio::test]
async fn intents_that_nobody_waited_for_are_not_sent() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (started, start) = tokio::sync::oneshot::channel();
    let decide: Decide = Box::new(move |_, _| {
        started.send(()).unwrap();
        assert!(wait.recv().is_err(), "it is only ever dropped");
        plan(vec![kill(1), kill(2)])
    });
    tokio::select! {
        _ = store.commit("orders".into(), decide) => unreachable!("it is held"),
        started = start => started.unwrap(),
    }
    // The asker is gone now. One that was gone before its turn is not even decided.
    let never: Decide = Box::new(|_, _| unreachable!("nobody waits for it"));
    tokio::select! {
        biased;
        _ = store.commit("orders".into(), never) => unreachable!("it is behind the held one"),
        () = std::future::ready(()) => {}
    }
    drop(go);
    // The first is written behind the commit, the second behind the settling that the commit led to.
    store.record(Vec::new()).await.unwrap();
    store.record(Vec::new()).await.unwrap();
    assert_eq!(outcomes(&place).len(), 2);
    assert_eq!(charged(&store), 0);
    assert_eq!(store.failures(), 0);
}

#[tokio::test]
async fn an_intent_number_is_never_used_twice() {
    let mut place = Place::new();
    let Opened { store, .. } = place.open();
    let last = *ids(&store.commit("orders".into(), kill_all(0..9)).await.unwrap()).last().unwrap();
    let not_sent = (1..=last.0).map(|id| (IntentId(id), Answer::NotSent("x".to_owned()))).collect();
    store.answered(not_sent).await.unwrap();
    store.close().await;
    place.retention = Duration::ZERO;
    let Opened { store, .. } = place.open();
    while place.value::<i64>("SELECT count(*) FROM intents") > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    store.close().await;
    let next = place.open().store.commit("orders".into(), kill_all(0..1)).await.unwrap().intents[0].id();
    assert_eq!(next.0, last.0 + 1);
}
