//! The writer: one thread that owns the database.
//!
//! What waits together is committed together, each job in a savepoint of its own: a job that fails takes its rows
//! and its charges with it, and its neighbours never notice. Nobody is told of success before the commit is on disk.
//! A job's charges enter the books as soon as its savepoint is released, so that the next job of the group decides
//! on them; charges end only after the commit. When the commit fails, every job of the group has failed, and the
//! ledger is replayed from what is on disk. As long as that fails too, nothing is committed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::watch;

use super::error::StoreError;
use super::jobs::{self, Counters, Effect, PendingCommit};
use super::lock::Lock;
use super::pauses::{self, Pause};
use super::queue::{Delivery, Job, Next, Queue, Reply, Work};
use super::retention::Retention;
use super::{AlertRow, Config, OpenIntent, alerts, intents, schema};
use crate::clock::Clock;
use crate::policy::ledger::Books;

/// What the writer and the handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Arc<Queue>,
    /// Never locked across a disk operation.
    books: Mutex<Books>,
    pauses: Mutex<Vec<Pause>>,
    pub(super) alerts: watch::Sender<u64>,
    pub(super) entries: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) file: PathBuf,
    pub(super) clock: Clock,
}

impl Shared {
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        // A reader may panic while it holds them, but it cannot change them.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pauses(&self) -> MutexGuard<'_, Vec<Pause>> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running writer.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
    pub(super) ended: watch::Receiver<()>,
}

impl Writer {
    /// Returns when the writer has ended: after [`super::Store::close`], or because of a bug.
    ///
    /// # Errors
    /// What the thread's panic said.
    pub async fn ended(mut self) -> Result<(), String> {
        // It never sends: the channel closes when it ends.
        drop(self.ended.changed().await);
        self.thread.join().map_err(|panic| jobs::panic_words(&*panic))
    }
}

/// What [`start`] gives.
pub(super) struct Started {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    pub(super) open_intents: Vec<OpenIntent>,
    pub(super) alerts: Vec<AlertRow>,
}

/// Takes the folder, opens the database, reads what it remembers, and starts the thread.
pub(super) fn start(config: &Config, clock: Clock) -> Result<Started, StoreError> {
    let lock = Lock::take(&config.path)?;
    let file = schema::file(&config.path);
    let db = schema::open(&file)?;
    let now = clock.reading();
    let refuse = |error: rusqlite::Error| StoreError::read(&file, &error);
    let open_intents = intents::open(&db, &now).map_err(refuse)?;
    let firing = alerts::active(&db).map_err(refuse)?;
    let shared = Arc::new(Shared {
        queue: Arc::new(Queue::new()),
        books: Mutex::default(),
        pauses: Mutex::new(pauses::all(&db).map_err(refuse)?),
        alerts: watch::Sender::new(0),
        entries: AtomicU64::new(0),
        failures: AtomicU64::new(0),
        file: file.clone(),
        clock,
    });
    let mut state = State {
        retention: Retention::new(config.retention, now.steady),
        shared: shared.clone(),
        db,
        counters: Counters::default(),
        stale: true,
        _lock: lock,
    };
    state.replay()?;
    let (alive, ended) = watch::channel(());
    let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || {
        // Dropped last, when the database is closed and the folder is free.
        let (_alive, mut state) = (alive, state);
        state.run();
    });
    let thread = thread.map_err(|error| StoreError::folder(&file, "starting the writer's thread", &error))?;
    Ok(Started { shared, writer: Writer { thread, ended }, open_intents, alerts: firing })
}

/// The writer's own.
struct State {
    db: Connection,
    shared: Arc<Shared>,
    counters: Counters,
    /// The books in memory may not be what is on disk: a commit failed, and they could not be replayed since.
    stale: bool,
    retention: Retention,
    _lock: Lock,
}

impl Drop for State {
    fn drop(&mut self) {
        // However the thread ends, nobody may wait for it.
        self.shared.queue.abandon();
    }
}

impl State {
    fn run(&mut self) {
        loop {
            let wait = self.retention.wait(self.shared.clock.steady());
            match self.shared.queue.next(wait) {
                Next::Jobs(jobs) => self.group(jobs),
                Next::Idle => {}
                Next::Closed => return,
            }
            self.tidy();
        }
    }

    /// Drops a little of what is too old, when that is due.
    fn tidy(&mut self) {
        let now = self.shared.clock.steady();
        if !self.retention.wait(now).is_zero() {
            return;
        }
        let mut books = self.shared.books();
        books.ledger.forget(now);
        books.shadow.forget(now);
        drop(books);
        if let Err(error) = self.retention.batch(&mut self.db, &self.shared.clock.reading()) {
            tracing::warn!("old entries were not dropped: {}", StoreError::write(&self.shared.file, &error));
        }
    }

    /// Commits these jobs together.
    fn group(&mut self, jobs: Vec<Job>) {
        let mut jobs = jobs.into_iter();
        if let Err(error) = self.begin() {
            jobs.for_each(|job| self.refuse(job.reply, &error));
            return;
        }
        let mut done: Vec<(Effect, Option<Reply>)> = Vec::with_capacity(jobs.len());
        let mut lost = None;
        while lost.is_none()
            && let Some(job) = jobs.next()
        {
            match self.job(job.work, job.reply.as_ref()) {
                Ok(effect) => done.push((effect, job.reply)),
                Err(error) => {
                    self.refuse(job.reply, &error);
                    // Some failures (a full disk, a failed write) end the transaction, and the neighbours with it.
                    lost = self.db.is_autocommit().then_some(error);
                }
            }
        }
        match lost.map_or_else(|| self.execute("COMMIT"), Err) {
            Ok(()) => done.into_iter().for_each(|(effect, reply)| self.finish(effect, reply)),
            Err(error) => self.lose(done, jobs, &error),
        }
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        if self.stale {
            self.replay()?;
        }
        self.execute("BEGIN IMMEDIATE")
    }

    fn execute(&self, sql: &str) -> Result<(), StoreError> {
        let run = || self.db.prepare_cached(sql)?.execute([]);
        run().map(drop).map_err(|error| StoreError::write(&self.shared.file, &error))
    }

    /// Runs one job in a savepoint; its new charges count from here on.
    fn job(&mut self, work: Work, reply: Option<&Reply>) -> Result<Effect, StoreError> {
        if matches!(work, Work::Commit { .. }) && reply.is_none_or(Reply::is_closed) {
            // Nobody waits for the intents any more.
            return Ok(Effect::none(self.shared.clock.steady()));
        }
        self.execute("SAVEPOINT job")?;
        let before = self.counters.clone();
        let performed = jobs::perform(&self.db, &self.shared, &mut self.counters, work)
            .and_then(|effect| self.execute("RELEASE job").map(|()| effect));
        let error = match performed {
            Ok(effect) => {
                effect.charge(&mut self.shared.books());
                return Ok(effect);
            }
            Err(error) => error,
        };
        self.counters = before;
        let undone = self.execute("ROLLBACK TO job").and_then(|()| self.execute("RELEASE job"));
        if undone.is_err() && !self.db.is_autocommit() {
            // What is left of the job cannot be told from its neighbours: the whole group goes.
            drop(self.execute("ROLLBACK"));
        }
        Err(error)
    }

    /// The commit is on disk: the books follow, and the askers are told.
    fn finish(&self, effect: Effect, reply: Option<Reply>) {
        effect.settle(&mut self.shared.books());
        self.shared.entries.fetch_add(effect.entries, Ordering::Relaxed);
        if effect.alerts {
            self.shared.alerts.send_modify(|version| *version += 1);
        }
        if let Some(pauses) = effect.pauses {
            *self.shared.pauses() = pauses;
        }
        let committed = effect.committed.map(PendingCommit::committed).unwrap_or_default();
        if let Some(reply) = reply {
            // Where nobody waits any more, dropping the delivery settles what is in it.
            drop(reply.send(Ok(Delivery::new(committed, &self.shared.queue))));
        }
    }

    /// Nothing of the group is on disk: neither its effects nor its charges.
    fn lose(&mut self, done: Vec<(Effect, Option<Reply>)>, rest: impl Iterator<Item = Job>, error: &StoreError) {
        if !self.db.is_autocommit() {
            drop(self.execute("ROLLBACK"));
        }
        let mut books = self.shared.books();
        done.iter().for_each(|(effect, _)| effect.forget_ghosts(&mut books));
        drop(books);
        if let Err(error) = self.replay() {
            tracing::error!("nothing is committed until the intents can be read back: {error}");
        }
        for reply in done.into_iter().map(|(_, reply)| reply).chain(rest.map(|job| job.reply)) {
            self.refuse(reply, error);
        }
    }

    fn refuse(&self, reply: Option<Reply>, error: &StoreError) {
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
        if let Some(reply) = reply {
            drop(reply.send(Err(error.clone())));
        }
    }

    /// Takes the books and counters anew from what is on disk.
    fn replay(&mut self) -> Result<(), StoreError> {
        self.stale = true;
        let refuse = |error: rusqlite::Error| StoreError::read(&self.shared.file, &error);
        self.counters.reload(&self.db).map_err(refuse)?;
        let ledger = intents::replay(&self.db, &self.shared.clock.reading()).map_err(refuse)?;
        self.shared.books().ledger = ledger;
        self.stale = false;
        Ok(())
    }
}
