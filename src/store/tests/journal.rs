//! The journal: filters, the chain, and what retention leaves.

use super::*;
use crate::store::journal::{Filter, VerifyError};
use crate::view::journal::{Entry, EntryKind};

fn entry(kind: EntryKind, target: &str, rule: &str) -> Entry {
    let mut entry = Entry::new(kind);
    entry.target = (!target.is_empty()).then(|| target.to_owned());
    entry.rule = (!rule.is_empty()).then(|| rule.to_owned());
    entry
}

/// A journal of six entries.
async fn written(place: &Place) -> Store {
    let Opened { store, .. } = place.open();
    let entries = [
        entry(EntryKind::Start, "", ""),
        entry(EntryKind::Evaluation, "orders", "idle"),
        entry(EntryKind::Spared, "orders", "idle"),
        entry(EntryKind::Evaluation, "payments", "idle"),
        entry(EntryKind::Evaluation, "orders", "swollen"),
        entry(EntryKind::Reload, "", ""),
    ];
    store.record(entries.into()).await.unwrap();
    store
}

#[tokio::test]
async fn filters() {
    let place = Place::new();
    let store = written(&place).await;
    let found = |filter: Filter| {
        let entries = place.reader().query(&filter).unwrap();
        entries.into_iter().map(|entry| entry.seq).collect::<Vec<_>>()
    };
    let all = Filter::default();
    assert_eq!(found(all.clone()), [1, 2, 3, 4, 5, 6]);
    assert_eq!(found(Filter { target: Some("orders".to_owned()), ..all.clone() }), [2, 3, 5]);
    assert_eq!(found(Filter { rule: Some("idle".to_owned()), ..all.clone() }), [2, 3, 4]);
    assert_eq!(found(Filter { kind: Some(EntryKind::Evaluation), ..all.clone() }), [2, 4, 5]);
    assert_eq!(found(Filter { limit: Some(2), ..all.clone() }), [1, 2]);
    assert_eq!(found(Filter { limit: Some(2), newest: true, ..all.clone() }), [5, 6]);
    assert_eq!(found(Filter { after_seq: Some(2), limit: Some(2), ..all.clone() }), [3, 4]);
    assert_eq!(
        found(Filter {
            target: Some("orders".to_owned()),
            kind: Some(EntryKind::Evaluation),
            newest: true,
            limit: Some(1),
            ..all.clone()
        }),
        [5]
    );
    let now = place.clock.wall();
    assert_eq!(found(Filter { since: Some(now + 60_000), ..all.clone() }), [0; 0]);
    assert_eq!(found(Filter { since: Some(now - 60_000), ..all }), [1, 2, 3, 4, 5, 6]);
    assert_eq!(store.journal_entries(), 6);
}

#[tokio::test]
async fn the_chain_goes_on_over_a_restart_and_is_readable_without_a_daemon() {
    let place = Place::new();
    written(&place).await.close().await;
    let Opened { store, .. } = place.open();
    store.record(vec![entry(EntryKind::Start, "", "")]).await.unwrap();
    store.close().await;
    let verified = place.reader().verify().unwrap();
    assert_eq!((verified.entries, verified.first_seq), (7, 1));
    let last = place.reader().query(&Filter { newest: true, limit: Some(1), ..Filter::default() }).unwrap();
    assert_eq!(last[0].hash, verified.last_hash);
}

#[tokio::test]
async fn every_kind_of_damage_is_found_where_it_is() {
    for (sql, seq, word) in [
        ("UPDATE journal SET text = replace(text, 'orders', 'borders') WHERE seq = 3", 3, "hash"),
        ("UPDATE journal SET hash = (SELECT hash FROM journal WHERE seq = 1) WHERE seq = 4", 4, "hash"),
        ("DELETE FROM journal WHERE seq = 2", 2, "missing"),
        ("DELETE FROM journal WHERE seq = 1", 1, "missing"),
        ("UPDATE journal SET target = 'other' WHERE seq = 5", 5, "`target`"),
        ("UPDATE journal SET rule = NULL WHERE seq = 2", 2, "`rule`"),
        ("UPDATE journal SET kind = 'start' WHERE seq = 6", 6, "`kind`"),
        ("UPDATE journal SET at = at + 1 WHERE seq = 1", 1, "`at`"),
    ] {
        let place = Place::new();
        written(&place).await.close().await;
        assert_eq!(place.reader().verify().unwrap().entries, 6);
        assert_eq!(place.raw().execute(sql, []).unwrap(), 1, "{sql}");
        match place.reader().verify().unwrap_err() {
            VerifyError::Broken(broken) => {
                assert!(broken.seq == seq && broken.what.contains(word), "{sql}: {broken}");
            }
            VerifyError::Store(error) => panic!("{sql}: {error}"),
        }
    }
}

#[tokio::test]
async fn retention_drops_what_is_old_and_keeps_what_counts() {
    let mut place = Place::new();
    let store = written(&place).await;
    let committed = store.commit("orders".into(), kill_all(0..3)).await.unwrap();
    let ids = ids(&committed);
    let gone = |id| crate::store::Settled { id, outcome: crate::policy::outcome::Outcome::Gone, detail: None };
    store.settle(vec![gone(ids[0]), gone(ids[1])]).await.unwrap();
    let alert = |firing| crate::store::ReceivedAlert {
        fingerprint: format!("{firing}"),
        firing,
        labels: Default::default(),
        target: "orders".into(),
    };
    store.receive_alerts(vec![alert(true), alert(false)]).await.unwrap();
    store.close().await;
    // The first has left the horizon, the second has not, the third is open.
    let old = "UPDATE intents SET ended_boot = 'another', ended_at = ended_at - 90000000 WHERE id = ?1";
    place.raw().execute(old, [ids[0].0]).unwrap();
    let before = place.reader().verify().unwrap();
    assert_eq!(before.entries, 11);

    place.retention = Duration::ZERO;
    let Opened { store, .. } = place.open();
    while place.value::<i64>("SELECT count(*) FROM journal") > 0
        || place.value::<i64>("SELECT count(*) FROM intents") > 2
        || place.value::<i64>("SELECT count(*) FROM alerts") > 1
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(charged(&store), 2);
    let verified = place.reader().verify().unwrap();
    assert_eq!((verified.entries, verified.first_seq), (0, 12));
    assert_eq!(verified.last_hash, before.last_hash);
    store.close().await;
    place.retention = Duration::from_secs(3600);
    let Opened { store, open_intents, alerts, .. } = place.open();
    store.record(vec![entry(EntryKind::Start, "", ""); 2]).await.unwrap();
    let verified = place.reader().verify().unwrap();
    assert_eq!((verified.entries, verified.first_seq), (2, 12));
    assert_eq!((charged(&store), open_intents.len(), alerts.len()), (2, 1, 1));
}

#[tokio::test]
async fn a_journal_larger_than_a_batch_is_dropped_to_its_end() {
    let mut place = Place::new();
    let Opened { store, .. } = place.open();
    store.record(vec![entry(EntryKind::Evaluation, "orders", "idle"); 1_700]).await.unwrap();
    store.close().await;
    place.raw().execute_batch("UPDATE journal SET at = 0 WHERE seq <= 1600").unwrap();
    place.retention = Duration::from_secs(3600);
    let Opened { store, .. } = place.open();
    while place.value::<i64>("SELECT count(*) FROM journal") > 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let verified = place.reader().verify().unwrap();
    assert_eq!((verified.entries, verified.first_seq), (100, 1_601));
    store.close().await;
}

#[test]
fn a_folder_without_a_journal_is_named() {
    let place = Place::new();
    let error = crate::store::journal::Reader::open(place.dir.path()).unwrap_err().to_string();
    assert!(error.contains(place.dir.path().to_str().unwrap()) && error.contains("did it ever run"), "{error}");
}
