//! Alerts and pauses.

use super::*;
use crate::store::queue::ALERTS;
use crate::store::{AlertRow, Pause, ReceivedAlert};

fn alert(fingerprint: &str, firing: bool) -> ReceivedAlert {
    let labels = [("alertname".to_owned(), "Storm".to_owned())].into();
    ReceivedAlert { fingerprint: fingerprint.to_owned(), firing, labels, target: "orders".into() }
}

async fn active(store: &Store) -> Vec<(String, i64)> {
    let rows = store.active_alerts().await.unwrap();
    rows.into_iter().map(|row| (row.fingerprint, row.activation)).collect()
}

#[tokio::test]
async fn an_alert_is_a_state_per_fingerprint() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let mut changed = store.alerts_changed();
    for (firing, expected) in
        [(false, None), (true, Some(1)), (true, Some(1)), (false, None), (false, None), (true, Some(2))]
    {
        store.receive_alerts(vec![alert("a", firing)]).await.unwrap();
        assert!(changed.has_changed().unwrap());
        changed.mark_unchanged();
        let expected: Vec<_> = expected.iter().map(|activation| ("a".to_owned(), *activation)).collect();
        assert_eq!(active(&store).await, expected);
    }
    store.receive_alerts(vec![alert("b", true), alert("c", true), alert("c", false)]).await.unwrap();
    store.close().await;
    let rows = place.open().alerts;
    assert_eq!(rows.iter().map(|row| row.fingerprint.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let AlertRow { firing, labels, target, received, .. } = &rows[0];
    assert!(firing);
    assert_eq!((labels, target), (&alert("a", true).labels, &"orders".into()));
    assert!((0..60_000).contains(&(place.clock.wall() - received)));
}

#[tokio::test]
async fn a_timeout_does_not_end_an_alert_that_was_delivered_again() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    store.receive_alerts(vec![alert("a", true), alert("b", true)]).await.unwrap();
    let rows = store.active_alerts().await.unwrap();
    let before = rows[0].received;
    while place.clock.wall() == before {
        tokio::task::yield_now().await;
    }
    store.receive_alerts(vec![alert("a", true)]).await.unwrap();
    store.resolve_alerts(rows).await.unwrap();
    assert_eq!(active(&store).await, [("a".to_owned(), 1)]);
    store.receive_alerts(vec![alert("b", true)]).await.unwrap();
    assert_eq!(active(&store).await, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
}

#[tokio::test]
async fn a_full_queue_refuses_alerts_at_once_and_takes_kills() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let (go, mut held) = hold(&store).await;
    let storm = vec![alert("storm", true); ALERTS];
    let (storm, refused, committed) =
        tokio::join!(store.receive_alerts(storm), store.receive_alerts(vec![alert("b", true)]), async {
            assert_eq!(store.queue_depth(), ALERTS + 1);
            let commit = store.commit("orders".into(), kill_all(0..1));
            let (committed, ()) = tokio::join!(commit, async { drop(go) });
            committed
        });
    assert_eq!(refused, Err(StoreError::Full));
    assert_eq!(committed.unwrap().intents.len(), 1);
    storm.unwrap();
    held.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(active(&store).await, [("storm".to_owned(), 1)]);
    store.receive_alerts(vec![alert("b", true)]).await.unwrap();
    assert_eq!(store.queue_depth(), 0);
}

#[tokio::test]
async fn pauses_survive_and_end_by_themselves() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let at = place.clock.wall();
    let pause = |target: Option<&str>, until| Pause {
        target: target.map(Into::into),
        reason: "maintenance".to_owned(),
        until,
        at,
    };
    let (all, orders) = (pause(None, None), pause(Some("orders"), Some(at + 60_000)));
    for pause in [&all, &orders, &pause(Some("over"), Some(at))] {
        store.pause(pause.clone()).await.unwrap();
    }
    assert_eq!(store.pauses(), [all.clone(), orders.clone()]);
    store.close().await;
    let Opened { store, pauses, .. } = place.open();
    assert_eq!(pauses, [all, orders.clone()]);
    store.resume(None).await.unwrap();
    assert_eq!(store.pauses(), [orders]);
    store.resume(Some("orders".into())).await.unwrap();
    assert_eq!(store.pauses(), []);
    let told = place.reader().query(&crate::store::journal::Filter::default()).unwrap();
    let told: Vec<_> = told.iter().map(|entry| (entry.entry.kind.as_str(), entry.entry.target.as_deref())).collect();
    let expected = [
        ("pause", None),
        ("pause", Some("orders")),
        ("pause", Some("over")),
        ("resume", None),
        ("resume", Some("orders")),
    ];
    assert_eq!(told, expected);
}
