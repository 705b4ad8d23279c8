//! What waits to be written: bounded, and alerts never hold up a kill.
//!
//! Engine jobs wait for room; a webhook is told at once that there is none, since Alertmanager sends again. Alerts
//! wait in a line of their own, of which every group takes a little.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

use super::alerts::ReceivedAlert;
use super::error::StoreError;
use super::intents::Settled;
use super::pauses::Pause;
use super::{AlertRow, Committed, Decide};
use crate::policy::intent::{Answer, IntentId};
use crate::policy::names::TargetName;
use crate::policy::outcome::Outcome;
use crate::view::journal::Entry;

/// How many jobs may wait, alerts aside.
const JOBS: usize = 1024;
/// How many alerts may wait. One webhook of 16 MiB holds fewer.
pub(super) const ALERTS: usize = 32_768;
/// How many jobs are committed together.
const GROUP: usize = 256;
/// After this many alerts a group takes no further webhook.
const GROUP_ALERTS: usize = 1000;

/// What is to be written.
pub(super) enum Work {
    Commit { target: TargetName, decide: Decide },
    Answered(Vec<(IntentId, Answer)>),
    Settle(Vec<Settled>),
    Record(Vec<Entry>),
    Receive(Vec<ReceivedAlert>),
    Resolve(Vec<AlertRow>),
    Pause(Pause),
    Resume(Option<TargetName>),
}

/// What the asker gets once it is on disk.
pub(super) type Reply = oneshot::Sender<Result<Delivery, StoreError>>;

/// Work that somebody waits for.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) reply: Option<Reply>,
    /// The room that it takes, until its rows are written.
    _room: Option<OwnedSemaphorePermit>,
}

/// What was committed, on its way to the asker.
///
/// If the asker has given up meanwhile, nobody can carry the intents out any more: they never leave, and are settled
/// as such instead of staying open and charged.
pub(super) struct Delivery {
    committed: Committed,
    queue: Weak<Queue>,
}

impl Delivery {
    pub(super) fn new(committed: Committed, queue: &Arc<Queue>) -> Self {
        Self { committed, queue: Arc::downgrade(queue) }
    }

    fn accept(mut self) -> Committed {
        std::mem::take(&mut self.committed)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let Some(queue) = self.queue.upgrade().filter(|_| !self.committed.intents.is_empty()) else { return };
        let not_sent = |id| Settled { id, outcome: Outcome::NotSent, detail: Some("nobody waited for it".to_owned()) };
        let settled = self.committed.intents.iter().map(|intent| not_sent(intent.id())).collect();
        // After the last moment of the queue the intents stay open, and the next start settles them by a look.
        drop(queue.push(Job { work: Work::Settle(settled), reply: None, _room: None }));
    }
}

/// The two lines.
#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    alerts: VecDeque<Job>,
    closed: bool,
}

/// What the writer finds.
pub(super) enum Next {
    Jobs(Vec<Job>),
    Idle,
    Closed,
}

/// The queue between everybody and the one writer.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    room: Arc<Semaphore>,
    alert_room: Arc<Semaphore>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("depth", &self.depth()).finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            room: Arc::new(Semaphore::new(JOBS)),
            alert_room: Arc::new(Semaphore::new(ALERTS)),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while holding it, and two lines of jobs are whole at any moment.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room, then for the commit.
    pub(super) async fn ask(&self, work: Work) -> Result<Committed, StoreError> {
        let room = self.room.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        self.submit(work, room).await
    }

    /// Waits for the commit, if there is room now.
    pub(super) async fn receive(&self, alerts: Vec<ReceivedAlert>) -> Result<(), StoreError> {
        let count = u32::try_from(alerts.len().clamp(1, ALERTS)).unwrap_or(u32::MAX);
        let room = self.alert_room.clone().try_acquire_many_owned(count).map_err(|error| match error {
            TryAcquireError::NoPermits => StoreError::Full,
            TryAcquireError::Closed => StoreError::Closed,
        })?;
        self.submit(Work::Receive(alerts), room).await.map(drop)
    }

    async fn submit(&self, work: Work, room: OwnedSemaphorePermit) -> Result<Committed, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.push(Job { work, reply: Some(reply), _room: Some(room) })?;
        // A writer that ends drops what it did not do.
        answer.await.map_err(|_| StoreError::Closed)?.map(Delivery::accept)
    }

    fn push(&self, job: Job) -> Result<(), StoreError> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(StoreError::Closed);
        }
        match job.work {
            Work::Receive(_) => waiting.alerts.push_back(job),
            Work::Commit { .. }
            | Work::Answered(_)
            | Work::Settle(_)
            | Work::Record(_)
            | Work::Resolve(_)
            | Work::Pause(_)
            | Work::Resume(_) => waiting.jobs.push_back(job),
        }
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// The next group; waits for one for at most this long.
    pub(super) fn next(&self, wait: Duration) -> Next {
        let empty = |waiting: &mut Waiting| waiting.jobs.is_empty() && waiting.alerts.is_empty() && !waiting.closed;
        let (mut waiting, _) =
            self.wake.wait_timeout_while(self.waiting(), wait, empty).unwrap_or_else(PoisonError::into_inner);
        let closed = waiting.closed;
        let count = waiting.jobs.len().min(GROUP);
        let mut group: Vec<Job> = waiting.jobs.drain(..count).collect();
        let mut alerts = 0;
        while alerts < GROUP_ALERTS
            && let Some(job) = waiting.alerts.pop_front()
        {
            if let Work::Receive(received) = &job.work {
                alerts += received.len().max(1);
            }
            group.push(job);
        }
        match (group.is_empty(), closed) {
            (false, _) => Next::Jobs(group),
            (true, true) => Next::Closed,
            (true, false) => Next::Idle,
        }
    }

    /// Takes nothing more; what waits is still written.
    pub(super) fn close(&self) {
        self.room.close();
        self.alert_room.close();
        self.waiting().closed = true;
        self.wake.notify_one();
    }

    /// Takes nothing more, and drops what waits: the writer has ended.
    pub(super) fn abandon(&self) {
        self.close();
        let mut waiting = self.waiting();
        let dropped = (std::mem::take(&mut waiting.jobs), std::mem::take(&mut waiting.alerts));
        // What a job drops may come back to this queue: not while it is locked.
        drop(waiting);
        drop(dropped);
    }

    /// How many jobs wait or are being written; of webhooks, how many alerts.
    pub(super) fn depth(&self) -> usize {
        let used = |semaphore: &Semaphore, all: usize| all - semaphore.available_permits().min(all);
        used(&self.room, JOBS) + used(&self.alert_room, ALERTS)
    }
}
