//! What must survive: intents and outcomes, the journal, received alerts, pauses.
//!
//! One writer thread owns the database. Jobs that wait together are committed together, each in a savepoint of its
//! own; nobody is told of success before the commit is on disk. `decide` runs inside the commit, on the ledger that
//! this commit makes durable: charging and writing intents is one step.

mod alerts;
mod error;
mod intents;
mod jobs;
pub mod journal;
mod lock;
mod pauses;
mod queue;
mod reader;
mod retention;
mod schema;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, UnixMillis};
use crate::policy::decide::{Plan, Spared};
use crate::policy::intent::{Answer, Intent, IntentId};
use crate::policy::ledger::Books;
use crate::policy::matcher::Labels;
use crate::policy::names::{RuleName, TargetName};
use crate::policy::session::SessionKey;
use crate::policy::time::Steady;
use crate::view::journal::Entry;

pub use alerts::ReceivedAlert;
pub use error::StoreError;
pub use intents::Settled;
pub use pauses::Pause;
pub use writer::Writer;

use queue::{Queue, Work};
use writer::Shared;

/// Where and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder; created if it is not there.
    pub path: PathBuf,
    /// How long journal entries and settled intents are kept.
    pub retention: Duration,
}

/// What `decide` says inside the commit: the plan, and the journal entries that tell of it.
#[derive(Debug, Default)]
pub struct Decision {
    /// Kills become intents; new ghosts charge the shadow ledger.
    pub plan: Plan,
    /// Written in the same commit, before the intents' own entries.
    pub entries: Vec<Entry>,
}

/// `decide`, ready to run inside the commit.
pub type Decide = Box<dyn FnOnce(&Books, Steady) -> Decision + Send>;

/// What a commit made durable.
#[derive(Debug, Default)]
pub struct Committed {
    /// The permits to kill.
    pub intents: Vec<Intent>,
    /// Who was spared.
    pub spared: Vec<Spared>,
}

/// An intent that is not settled yet, as the store knows it (also from before a restart).
#[derive(Clone, Debug)]
pub struct OpenIntent {
    /// Its number.
    pub id: IntentId,
    /// Where.
    pub target: TargetName,
    /// Why.
    pub rule: RuleName,
    /// Whom.
    pub key: SessionKey,
    /// When it was committed.
    pub committed: Steady,
    /// The word of the server's answer ([`Answer::as_str`]); `None` when none was recorded.
    pub answer: Option<String>,
}

/// An alert as it was received: a state per fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    /// Alertmanager's fingerprint of the labels.
    pub fingerprint: String,
    /// Whether it fires; otherwise it is resolved.
    pub firing: bool,
    /// Its labels.
    pub labels: Labels,
    /// The target that the labels name.
    pub target: TargetName,
    /// When it was last delivered, wall time.
    pub received: UnixMillis,
    /// Grows with every activation (firing after resolved, or firing for the first time).
    pub activation: i64,
}

/// A store that was opened, and what it remembers.
#[derive(Debug)]
pub struct Opened {
    /// The handle.
    pub store: Store,
    /// The one writer: when it ends, nothing is recorded any more.
    pub writer: Writer,
    /// Intents without an outcome, oldest first.
    pub open_intents: Vec<OpenIntent>,
    /// The alerts that fired when the daemon stopped.
    pub alerts: Vec<AlertRow>,
    /// The pauses that are in force.
    pub pauses: Vec<Pause>,
}

/// A handle on the store; clones are the same store. When the last one is dropped, the writer ends.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
    closer: Arc<Closer>,
    ended: watch::Receiver<()>,
}

/// Closes the queue when the last handle is gone.
#[derive(Debug)]
struct Closer(Arc<Queue>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Store {
    /// Takes the folder, opens the database, replays the ledger and starts the writer.
    ///
    /// # Errors
    /// [`StoreError`] with the path and what to do: the folder is in use, cannot be made or written, or holds a
    /// database that is damaged or too new.
    pub fn open(config: &Config, clock: Clock) -> Result<Opened, StoreError> {
        let start = writer::start(config, clock)?;
        let closer = Arc::new(Closer(start.shared.queue.clone()));
        let store = Self { shared: start.shared, closer, ended: start.writer.ended.clone() };
        let pauses = store.pauses();
        Ok(Opened { store, writer: start.writer, open_intents: start.open_intents, alerts: start.alerts, pauses })
    }

    async fn ask(&self, work: Work) -> Result<Committed, StoreError> {
        self.shared.queue.ask(work).await
    }

    /// Decides, charges and writes the intents in one commit. Waits while the queue is full.
    ///
    /// If the caller stops waiting, nothing is killed: intents that were committed meanwhile are settled as not sent.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be committed: nothing is charged, nobody may be killed.
    pub async fn commit(&self, target: TargetName, decide: Decide) -> Result<Committed, StoreError> {
        self.ask(Work::Commit { target, decide }).await
    }

    /// Writes what the servers answered. A final answer ends the charge; a kill that was not sent is taken back and
    /// settled. Answers to what is answered already change nothing.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written; the charges then go on.
    pub async fn answered(&self, answers: Vec<(IntentId, Answer)>) -> Result<(), StoreError> {
        self.ask(Work::Answered(answers)).await.map(drop)
    }

    /// Writes outcomes, which ends the charges that had not ended. The first outcome of an intent stays.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written; the intents then stay open.
    pub async fn settle(&self, settled: Vec<Settled>) -> Result<(), StoreError> {
        self.ask(Work::Settle(settled)).await.map(drop)
    }

    /// Writes journal entries.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be written.
    pub async fn record(&self, entries: Vec<Entry>) -> Result<(), StoreError> {
        self.ask(Work::Record(entries)).await.map(drop)
    }

    /// Writes received alerts, all or none.
    ///
    /// # Errors
    /// [`StoreError::Full`], at once, when too many wait already; another when they could not be written.
    pub async fn receive_alerts(&self, alerts: Vec<ReceivedAlert>) -> Result<(), StoreError> {
        self.shared.queue.receive(alerts).await
    }

    /// Ends alerts that were not delivered again since these rows were read.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written; they then go on.
    pub async fn resolve_alerts(&self, rows: Vec<AlertRow>) -> Result<(), StoreError> {
        self.ask(Work::Resolve(rows)).await.map(drop)
    }

    /// Changes whenever alerts were received or resolved.
    #[must_use]
    pub fn alerts_changed(&self) -> watch::Receiver<u64> {
        self.shared.alerts.subscribe()
    }

    /// The alerts that fire.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be read.
    pub async fn active_alerts(&self) -> Result<Vec<AlertRow>, StoreError> {
        let file = self.shared.file.clone();
        let read = move || {
            let db = schema::open_read_only(&file)?;
            alerts::active(&db).map_err(|error| StoreError::read(&file, &error))
        };
        // It ends without an answer only when the runtime stops.
        tokio::task::spawn_blocking(read).await.unwrap_or(Err(StoreError::Closed))
    }

    /// Begins a pause, in place of an earlier one of the same target.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written; it is then not in force.
    pub async fn pause(&self, pause: Pause) -> Result<(), StoreError> {
        self.ask(Work::Pause(pause)).await.map(drop)
    }

    /// Ends the pause of a target, or, without one, the pause of everything (those of single targets stay).
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written; the pause then goes on.
    pub async fn resume(&self, target: Option<TargetName>) -> Result<(), StoreError> {
        self.ask(Work::Resume(target)).await.map(drop)
    }

    /// The pauses that are in force now.
    #[must_use]
    pub fn pauses(&self) -> Vec<Pause> {
        let now = self.shared.clock.wall();
        self.shared.pauses().iter().filter(|pause| pause.holds(now)).cloned().collect()
    }

    /// Reads the books, for drafts and metrics; charges of a commit that is under way are in them.
    ///
    /// `read` holds up the writer: it must be short.
    pub fn with_books<T>(&self, read: impl FnOnce(&Books, Steady) -> T) -> T {
        read(&self.shared.books(), self.shared.clock.steady())
    }

    /// How many jobs and alerts wait or are being written.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.shared.queue.depth()
    }

    /// How many journal entries were written since the start.
    #[must_use]
    pub fn journal_entries(&self) -> u64 {
        self.shared.entries.load(Ordering::Relaxed)
    }

    /// How many jobs could not be written since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Takes nothing more, writes what waits, and returns when the writer has ended and let go of the folder.
    pub async fn close(&self) {
        self.closer.0.close();
        // The writer never sends: the channel closes when it ends.
        drop(self.ended.clone().changed().await);
    }
}

#[cfg(test)]
mod tests;
