//! The task of one target: waits for a trigger, a poll or an open intent, one at a time.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::alerts;
use super::mailbox::{Cause, Trigger};
use super::memory::{Memory, Published};
use super::settings::{Settings, TargetSettings};
use super::shared::{Shared, TargetEntry};
use crate::backend::Backend;
use crate::policy::names::TargetName;
use crate::policy::outcome::Open;
use crate::policy::time::Steady;

/// How soon after a kill its sessions are looked at.
const FIRST_LOOK: Duration = Duration::from_millis(300);
/// The longest time between two looks at open intents.
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// How long a target that is being stopped waits for its open intents to settle.
const LAST_LOOKS: Duration = Duration::from_secs(3);

/// The task of one target.
pub(super) struct Guard<B> {
    pub(super) name: TargetName,
    pub(super) target: Arc<TargetSettings>,
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Arc<TargetEntry>,
    pub(super) backend: B,
    pub(super) memory: Memory,
    /// A new backend after a reload that changed how the target is reached.
    pub(super) replacements: mpsc::UnboundedReceiver<B>,
    pub(super) shutdown: CancellationToken,
    next_poll: Option<Steady>,
    next_look: Option<Steady>,
    look_delay: Duration,
}

impl<B: Backend> Guard<B> {
    pub(super) fn new(
        target: Arc<TargetSettings>,
        shared: Arc<Shared>,
        entry: Arc<TargetEntry>,
        backend: B,
        replacements: mpsc::UnboundedReceiver<B>,
        open: Vec<Open>,
        shutdown: CancellationToken,
    ) -> Self {
        let memory = Memory { open, ..Memory::default() };
        let (next_poll, next_look, look_delay) = (None, None, FIRST_LOOK);
        let name = target.name.clone();
        Self { name, target, shared, entry, backend, memory, replacements, shutdown, next_poll, next_look, look_delay }
    }

    /// Guards the target until it is removed or the daemon stops; returns the intents that are still open then.
    pub(super) async fn run(mut self) -> Vec<Open> {
        let mut settings = self.shared.settings.subscribe();
        self.first_list().await;
        while !self.shutdown.is_cancelled() {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                Some(backend) = self.replacements.recv() => self.replace(backend).await,
                Ok(()) = settings.changed() => self.take_over(),
                trigger = next(&self.entry, &self.shared, self.next_poll) => {
                    self.handle(trigger).await;
                    self.schedule_look();
                    // After the poll, so that a slow one is not followed by another at once.
                    if trigger.cause == Cause::Poll {
                        self.schedule_poll();
                    }
                }
                () = until(&self.shared, self.next_look) => self.look_unless_triggered().await,
            }
        }
        self.last_looks().await;
        self.memory.open
    }

    /// After a reload: the poll interval may be another, and what belongs to rules that are gone is forgotten.
    fn take_over(&mut self) {
        let settings = self.refresh();
        self.memory.ghosts.keep_rules(|name| settings.rules.rules().iter().any(|rule| rule.name == *name));
        self.schedule_poll();
    }

    /// The first list starts at once; the polls after it have a phase that is a hash of the name, so that targets do
    /// not list in step.
    async fn first_list(&mut self) {
        let trigger = Trigger { cause: Cause::Poll, at: self.shared.clock.steady() };
        let shared = self.shared.clone();
        let shutdown = self.shutdown.clone();
        let Some(Ok(permit)) = shutdown.run_until_cancelled(shared.first_lists.acquire()).await else { return };
        self.handle(trigger).await;
        drop(permit);
        self.schedule_look();
        self.schedule_poll();
    }

    fn schedule_poll(&mut self) {
        let interval = self.target.poll_interval;
        let now = self.shared.clock.steady();
        let interval_millis = crate::policy::time::millis(interval).max(1);
        let phase = i64::try_from(phase(&self.name) % interval_millis.unsigned_abs()).unwrap_or(0);
        // The next moment of this target's phase that is not now.
        let into = (now.millis() - phase).rem_euclid(interval_millis);
        self.next_poll = Some(Steady::from_millis(now.millis() - into + interval_millis));
    }

    async fn replace(&mut self, backend: B) {
        tracing::info!(target = %self.name, "how the target is reached has changed; connecting anew");
        let before = std::mem::replace(&mut self.backend, backend);
        self.backend.inherit(before);
        let nodes = self.backend.nodes();
        self.publish(|published| published.nodes.retain(|node, _| nodes.contains(node)));
        self.memory.keep_nodes(&nodes);
        self.give_up_nodes(&nodes).await;
        self.count_nodes(&nodes);
        let now = self.shared.clock.steady();
        self.entry.mailbox.post(Cause::Manual, now);
    }

    /// The settings in force. They are read once a trigger, so that one evaluation is judged by one configuration. A
    /// target that is being removed keeps its last.
    pub(super) fn refresh(&mut self) -> Arc<Settings> {
        let settings = self.shared.settings();
        if let Some(target) = settings.targets.get(&self.name) {
            self.target = target.clone();
        }
        settings
    }

    /// The rules that a poll or a firing alert makes active here now.
    pub(super) fn active(&self, settings: &Settings) -> HashSet<usize> {
        let (alerts, now) = (self.shared.alerts(), self.shared.clock.wall());
        let here: Vec<_> = alerts::firing(&alerts, settings, &self.name, now).collect();
        let fired = |index: &usize| {
            let rule = &settings.rules.rules()[*index];
            rule.on_poll() || rule.on_alerts().any(|on| here.iter().any(|labels| on.matches(labels)))
        };
        settings.rules_for(&self.target).into_iter().filter(fired).collect()
    }

    /// Changes what others see of this target.
    pub(super) fn publish(&self, change: impl FnOnce(&mut Published)) {
        change(&mut self.entry.published.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Looks at the sessions of open intents soon after their kill, and then less and less often.
    pub(super) fn schedule_look(&mut self) {
        self.look_delay = FIRST_LOOK;
        self.next_look = (!self.memory.open.is_empty()).then(|| self.shared.clock.steady().plus(self.look_delay));
    }

    /// Verifying never holds up a trigger, however slow a node is: its list settles what is open, too.
    async fn look_unless_triggered(&mut self) {
        let (entry, shutdown) = (self.entry.clone(), self.shutdown.clone());
        let trigger = tokio::select! {
            biased;
            () = shutdown.cancelled() => None,
            trigger = entry.mailbox.take() => Some(trigger),
            () = self.look_at_open() => None,
        };
        if let Some(trigger) = trigger {
            self.handle(trigger).await;
            self.schedule_look();
        }
    }

    async fn look_at_open(&mut self) {
        self.settle_by_look().await;
        self.look_delay = (self.look_delay * 2).min(LONGEST_LOOK);
        self.next_look = (!self.memory.open.is_empty()).then(|| self.shared.clock.steady().plus(self.look_delay));
    }

    /// On the way out, gives what was just killed a chance to be seen gone. What stays open is settled after a restart.
    async fn last_looks(&mut self) {
        let looks = async {
            while !self.memory.open.is_empty() {
                tokio::time::sleep(FIRST_LOOK).await;
                self.settle_by_look().await;
            }
        };
        if tokio::time::timeout(LAST_LOOKS, looks).await.is_err() {
            tracing::warn!(target = %self.name, "{} kills are not settled yet", self.memory.open.len());
        }
    }
}

/// The next trigger: one that was posted, or the poll when it is due.
async fn next(entry: &TargetEntry, shared: &Shared, poll: Option<Steady>) -> Trigger {
    tokio::select! {
        biased;
        trigger = entry.mailbox.take() => trigger,
        () = until(shared, poll) => Trigger { cause: Cause::Poll, at: shared.clock.steady() },
    }
}

/// Sleeps until a moment, or forever.
async fn until(shared: &Shared, at: Option<Steady>) {
    match at {
        Some(at) => tokio::time::sleep(at.since(shared.clock.steady())).await,
        None => std::future::pending().await,
    }
}

/// The same for a name in every process, so that a restart does not shift the polls.
fn phase(name: &TargetName) -> u64 {
    let mut hasher =
        std::hash::BuildHasherDefault::<std::collections::hash_map::DefaultHasher>::default().build_hasher();
    hasher.write(name.as_str().as_bytes());
    hasher.finish()
}
