//! What fails takes nothing with it that did not fail, and leaves no charge.

use super::*;
use crate::policy::decide::{Reason, Spared};
use crate::store::journal::Filter;
use crate::view::journal::{Entry, EntryKind};

/// Makes every commit that writes to `table` fail when it is to become durable, and not before.
fn break_commits(place: &Place, table: &str) {
    let sql = format!(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
        CREATE TABLE child (parent BIGINT REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER broken AFTER INSERT ON {table} BEGIN INSERT INTO child VALUES (1); END;"
    );
    place.raw().execute_batch(&sql).unwrap();
}

fn mend_commits(place: &Place) {
    place.raw().execute_batch("DROP TRIGGER broken; DROP TABLE child; DROP TABLE parent;").unwrap();
}

fn ghostly() -> Decide {
    Box::new(|_, _| {
        let (rule, session) = ("idle".into(), session(9));
        let ghost = Spared { rule, session, reason: Reason::Observe, detail: None, new_ghost: true };
        Decision { plan: Plan { kills: vec![kill(9)], spared: vec![ghost] }, entries: Vec::new() }
    })
}

fn shadow(store: &Store) -> usize {
    store.with_books(|books, now| books.shadow.count(Scope::Fleet, HORIZON, now))
}

#[tokio::test]
async fn a_panic_in_decide_does_not_touch_the_neighbours() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let (go, mut held) = hold(&store).await;
    let (one, two, three, ()) = tokio::join!(
        store.commit("orders".into(), kill_all(0..2)),
        store.commit("payments".into(), Box::new(|_, _| panic!("what now"))),
        store.commit("orders".into(), kill_all(2..5)),
        async { drop(go) },
    );
    assert_eq!(
        two.unwrap_err(),
        StoreError::Panicked { target: "payments".to_owned(), message: "what now".to_owned() }
    );
    let numbers: Vec<i64> = [ids(&one.unwrap()), ids(&three.unwrap())].concat().iter().map(|id| id.0).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    held.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(charged(&store), 5);
    assert_eq!(store.failures(), 1);
    assert_eq!(place.reader().verify().unwrap().entries, 5);
    store.close().await;
    assert_eq!(charged(&place.open().store), 5);
}

#[tokio::test]
async fn a_job_that_cannot_be_written_does_not_touch_the_neighbours() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    // The second kill of its plan fails, after the first one was written.
    let fail = "CREATE TRIGGER broken BEFORE INSERT ON intents WHEN NEW.session_id = 11
        BEGIN SELECT RAISE(ABORT, 'no'); END";
    place.raw().execute_batch(fail).unwrap();
    let (go, mut held) = hold(&store).await;
    let (one, two, three, ()) = tokio::join!(
        store.commit("orders".into(), kill_all(0..2)),
        store.commit("payments".into(), kill_all(10..13)),
        store.commit("orders".into(), kill_all(2..5)),
        async { drop(go) },
    );
    assert!(matches!(two, Err(StoreError::Write { .. })), "{two:?}");
    assert_eq!((one.unwrap().intents.len(), three.unwrap().intents.len()), (2, 3));
    held.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(charged(&store), 5);
    assert_eq!(place.value::<i64>("SELECT count(*) FROM intents"), 5);
    assert_eq!(place.reader().verify().unwrap().entries, 5);
}

#[tokio::test]
async fn a_failure_that_ends_the_transaction_fails_the_group() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let fail = "CREATE TRIGGER broken BEFORE INSERT ON intents WHEN NEW.session_id = 11
        BEGIN SELECT RAISE(ROLLBACK, 'no'); END";
    place.raw().execute_batch(fail).unwrap();
    store.commit("orders".into(), kill_all(0..1)).await.unwrap();
    let (go, mut held) = hold(&store).await;
    let (one, two, three, ()) = tokio::join!(
        store.commit("orders".into(), kill_all(1..2)),
        store.commit("payments".into(), kill_all(10..13)),
        store.commit("orders".into(), kill_all(2..5)),
        async { drop(go) },
    );
    assert!(one.is_err() && two.is_err() && three.is_err());
    drop(held.join_next().await);
    assert_eq!(charged(&store), 1);
    assert_eq!(store.commit("orders".into(), kill_all(5..6)).await.unwrap().intents[0].id(), IntentId(2));
    assert_eq!(place.reader().verify().unwrap().entries, 2);
}

#[tokio::test]
async fn a_failed_commit_permits_nothing_and_charges_nothing() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let before = store.commit("orders".into(), kill_all(0..2)).await.unwrap();
    break_commits(&place, "intents");
    let error = store.commit("orders".into(), ghostly()).await.unwrap_err();
    assert!(error.to_string().contains("reaperd.db"), "{error}");
    assert_eq!((charged(&store), shadow(&store), store.failures()), (2, 0, 1));
    // What writes no intent still works, and answers end charges as before.
    store.answered(vec![(before.intents[0].id(), crate::policy::intent::Answer::Accepted)]).await.unwrap();
    mend_commits(&place);
    let after = store.commit("orders".into(), ghostly()).await.unwrap();
    assert_eq!(after.intents[0].id(), IntentId(3));
    assert_eq!((charged(&store), shadow(&store)), (3, 1));
    assert_eq!(place.reader().verify().unwrap().entries, 3);
    assert_eq!(place.reader().query(&Filter::default()).unwrap().len(), 3);
    store.close().await;
    assert_eq!(charged(&place.open().store), 3);
}

#[tokio::test]
async fn nothing_is_committed_until_the_intents_can_be_read_back() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    store.commit("orders".into(), kill_all(0..2)).await.unwrap();
    break_commits(&place, "journal");
    place.raw().execute_batch("ALTER TABLE intents RENAME TO lost").unwrap();
    let entry = || vec![Entry::new(EntryKind::Reload)];
    store.record(entry()).await.unwrap_err();
    mend_commits(&place);
    // The journal could be written again, but what counts is not known.
    let error = store.record(entry()).await.unwrap_err();
    assert!(matches!(error, StoreError::Read { .. }), "{error}");
    store.commit("orders".into(), kill_all(2..3)).await.unwrap_err();
    place.raw().execute_batch("ALTER TABLE lost RENAME TO intents").unwrap();
    store.record(entry()).await.unwrap();
    assert_eq!(store.commit("orders".into(), kill_all(2..3)).await.unwrap().intents[0].id(), IntentId(3));
    assert_eq!(charged(&store), 3);
    assert_eq!(place.reader().verify().unwrap().entries, 4);
}

#[tokio::test]
async fn a_second_daemon_is_refused_until_the_first_has_ended() {
    let place = Place::new();
    let Opened { store, writer, .. } = place.open();
    let error = Store::open(&place.config(), place.clock.clone()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(place.dir.path().to_str().unwrap()), "{error}");
    store.record(vec![Entry::new(EntryKind::Start)]).await.unwrap();
    drop(store);
    // The last handle is gone: the writer ends by itself.
    writer.ended().await.unwrap();
    let Opened { store, .. } = place.open();
    store.close().await;
    assert_eq!(store.record(Vec::new()).await, Err(StoreError::Closed));
    assert_eq!(store.receive_alerts(Vec::new()).await, Err(StoreError::Closed));
}

#[tokio::test]
async fn closing_writes_what_waits() {
    let place = Place::new();
    let Opened { store, .. } = place.open();
    let (go, mut held) = hold(&store).await;
    let (written, (), ()) =
        tokio::join!(store.commit("orders".into(), kill_all(0..3)), store.close(), async { drop(go) });
    assert_eq!(written.unwrap().intents.len(), 3);
    held.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(place.open().open_intents.len(), 3);
}

#[test]
fn what_is_no_database_of_ours_is_refused_by_name() {
    let place = Place::new();
    let file = crate::store::schema::file(place.dir.path());
    let error = || Store::open(&place.config(), place.clock.clone()).unwrap_err();
    std::fs::write(&file, "this is no database, but it is long enough to look like a header of one ".repeat(9))
        .unwrap();
    assert!(matches!(error(), StoreError::Corrupt { .. }), "{}", error());
    std::fs::remove_file(&file).unwrap();
    place.raw().execute_batch("CREATE TABLE others (x)").unwrap();
    assert!(matches!(error(), StoreError::Corrupt { .. }), "{}", error());
    assert!(error().to_string().contains(file.to_str().unwrap()));
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let place = Place::new();
    place.open().store.close().await;
    place.raw().execute_batch("UPDATE meta SET value = '2' WHERE key = 'schema_version'").unwrap();
    let newer = |error: StoreError| matches!(error, StoreError::Newer { found: 2, known: 1, .. });
    assert!(newer(crate::store::journal::Reader::open(place.dir.path()).unwrap_err()));
    assert!(newer(Store::open(&place.config(), place.clock.clone()).unwrap_err()));
}
