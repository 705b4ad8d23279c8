//! The store as its callers see it: real files, real threads, real processes.

mod alerts;
mod budgets;
mod crash;
mod failures;
mod intents;
mod journal;
mod property;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{Committed, Config, Decide, Decision, Opened, Store, StoreError};
use crate::clock::Clock;
use crate::policy::decide::{Kill, Plan};
use crate::policy::field::Field;
use crate::policy::intent::{Intent, IntentId};
use crate::policy::ledger::{HORIZON, Scope};
use crate::policy::session::{ConnectionId, Session, SessionsBuilder};

/// A folder of a test, and one clock for all the stores that are opened in it one after the other.
struct Place {
    dir: TempDir,
    clock: Clock,
    retention: Duration,
}

impl Place {
    fn new() -> Self {
        let retention = Duration::from_secs(90 * 24 * 60 * 60);
        Self { dir: tempfile::tempdir().unwrap(), clock: Clock::start(), retention }
    }

    fn config(&self) -> Config {
        Config { path: self.dir.path().to_owned(), retention: self.retention }
    }

    fn open(&self) -> Opened {
        Store::open(&self.config(), self.clock.clone()).unwrap()
    }

    /// A connection beside the store's, to look or to do harm.
    fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(super::schema::file(self.dir.path())).unwrap()
    }

    /// What one query that gives one value says.
    fn value<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        self.raw().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn reader(&self) -> super::journal::Reader {
        super::journal::Reader::open(self.dir.path()).unwrap()
    }
}

fn session(id: i64) -> Arc<Session> {
    let text = format!("10.0.0.1:{id}N");
    let address = 0..text.len() - 1;
    let flags = address.end..text.len();
    let mut builder = SessionsBuilder::new(text, 1);
    builder.int(Field::Id, id);
    builder.int(Field::Idle, 90_000);
    builder.span(Field::Addr, address.clone());
    builder.span(Field::Peer, address);
    builder.symbol(Field::Flags, flags);
    assert!(builder.end_session());
    let node = "127.0.0.1:6379".into();
    Arc::new(Session::from_columns(&node, &"run1".into(), &builder.finish(&node), 0))
}

fn kill(id: i64) -> Kill {
    Kill::for_test("idle".into(), session(id), ConnectionId(1))
}

fn plan(kills: Vec<Kill>) -> Decision {
    Decision { plan: Plan { kills, spared: Vec::new() }, entries: Vec::new() }
}

/// Kills the sessions with these ids, whatever the books say.
fn kill_all(ids: std::ops::Range<i64>) -> Decide {
    Box::new(move |_, _| plan(ids.map(kill).collect()))
}

fn ids(committed: &Committed) -> Vec<IntentId> {
    committed.intents.iter().map(Intent::id).collect()
}

/// How many charges count.
fn charged(store: &Store) -> usize {
    store.with_books(|books, now| books.ledger.count(Scope::Fleet, HORIZON, now))
}

/// Holds the writer inside of a job until the sender is dropped; what is asked meanwhile becomes one group.
///
/// Ask with `tokio::join!`, and let go as its last branch: it polls them in this order.
async fn hold(store: &Store) -> (mpsc::Sender<()>, JoinSet<Result<Committed, StoreError>>) {
    let (go, wait) = mpsc::channel::<()>();
    let (started, start) = tokio::sync::oneshot::channel();
    let decide: Decide = Box::new(move |_, _| {
        started.send(()).unwrap();
        assert!(wait.recv().is_err(), "it is only ever dropped");
        Decision::default()
    });
    let store = store.clone();
    let mut held = JoinSet::new();
    held.spawn(async move { store.commit("holder".into(), decide).await });
    start.await.unwrap();
    (go, held)
}
