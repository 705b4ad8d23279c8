//! The supervisor: owns the tasks of the targets, turns received alerts into triggers, and reloads.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::alerts;
use super::guard::Guard;
use super::handle::{Command, Handle};
use super::memory::Published;
use super::settings::{Load, Settings, TargetSettings};
use super::shared::{PauseFile, Reloaded, Shared, TargetEntry};
use crate::backend::FailureReason;
use crate::backend::redis::{Deadlines, RedisBackend};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::policy::intent::Answer;
use crate::policy::names::TargetName;
use crate::policy::outcome::{self, Open, Progress};
use crate::store::{AlertRow, OpenIntent, Pause, Settled, Store};
use crate::view::journal::{Entry, EntryKind};

/// How many targets make their first list at the same time.
const FIRST_LISTS: usize = 32;

/// How often alerts are checked for their timeout, and read again after they could not be read.
const TICK: Duration = Duration::from_secs(1);

/// What the engine starts with.
pub struct Start {
    /// The clock.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The store.
    pub store: Store,
    /// The first configuration.
    pub settings: Settings,
    /// Loads it anew.
    pub load: Load,
    /// While this file is there, nothing is killed.
    pub pause_file: PathBuf,
    /// Intents that the last process left open.
    pub open_intents: Vec<OpenIntent>,
    /// Alerts that fire.
    pub alerts: Vec<AlertRow>,
    /// Pauses.
    pub pauses: Vec<Pause>,
}

/// Why the engine ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A target's task ended.
    #[error("the task of target `{target}` ended early: {why}")]
    TaskEnded {
        /// The target.
        target: TargetName,
        /// Why.
        why: String,
    },
}

/// The task of one target.
struct Running {
    task: Id,
    stop: CancellationToken,
    replace: mpsc::UnboundedSender<RedisBackend>,
    target: Arc<TargetSettings>,
}

/// What a task leaves: intents that it could not see settled.
struct Left {
    target: TargetName,
    open: Vec<Open>,
}

/// The supervisor. There is one.
pub struct Supervisor {
    shared: Arc<Shared>,
    load: Arc<Load>,
    commands: mpsc::Receiver<Command>,
    alerts_changed: watch::Receiver<u64>,
    tasks: JoinSet<Left>,
    running: HashMap<TargetName, Running>,
    /// Tasks of removed targets that are on their way out.
    stopping: HashMap<Id, TargetName>,
    open: HashMap<TargetName, Vec<Open>>,
}

impl Supervisor {
    /// An engine that is not running yet, and its handle.
    #[must_use]
    pub fn new(start: Start) -> (Self, Handle) {
        let now = start.clock.wall();
        let open = by_target(start.open_intents, &start.clock);
        let shared = Arc::new(Shared {
            started: now,
            clock: start.clock,
            metrics: start.metrics,
            store: start.store,
            settings: watch::Sender::new(Arc::new(start.settings)),
            targets: RwLock::default(),
            alerts: RwLock::default(),
            pauses: RwLock::new(start.pauses),
            pause_file: PauseFile::new(start.pause_file),
            reloaded: Mutex::new(Reloaded { at: now, error: None }),
            stopping: AtomicBool::new(false),
            first_lists: Semaphore::new(FIRST_LISTS),
        });
        alerts::publish(&shared, start.alerts);
        // Before anything can be received, so that no alert is missed.
        let alerts_changed = shared.store.alerts_changed();
        let (sender, commands) = mpsc::channel(16);
        let handle = Handle::new(shared.clone(), sender);
        let supervisor = Self {
            shared,
            load: Arc::new(start.load),
            commands,
            alerts_changed,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            stopping: HashMap::new(),
            open,
        };
        supervisor.publish_entries();
        supervisor.announce();
        (supervisor, handle)
    }

    /// Guards every target until `shutdown`, then lets each finish what it has committed.
    ///
    /// # Errors
    /// [`EngineError`] when a task ends although it should not: the process must not go on as a ghost.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), EngineError> {
        self.give_up_unknown().await;
        self.start_missing();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut unread = false;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.stop().await,
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended).await?,
                Some(command) = self.commands.recv() => match command {
                    Command::Reload(answer) => self.reload(answer).await,
                },
                Ok(()) = self.alerts_changed.changed() => {
                    unread = alerts::refresh(&self.shared).await.is_err();
                }
                _ = tick.tick() => {
                    unread = unread && alerts::refresh(&self.shared).await.is_err();
                    alerts::expire(&self.shared).await;
                }
            }
        }
    }

    /// Open intents about targets that are not configured any more: nobody can look at their sessions.
    async fn give_up_unknown(&mut self) {
        let settings = self.shared.settings();
        let unknown: Vec<TargetName> =
            self.open.keys().filter(|target| !settings.targets.contains_key(*target)).cloned().collect();
        for target in unknown {
            let open = self.open.remove(&target).unwrap_or_default();
            self.give_up(&Left { target, open }).await;
        }
    }

    async fn give_up(&self, left: &Left) {
        if left.open.is_empty() {
            return;
        }
        let why = "the target is no longer configured";
        tracing::warn!(target = %left.target, "{} kills stay unverified: {why}", left.open.len());
        let settled = outcome::give_up(&left.open);
        let settled = settled.into_iter().map(|(id, outcome)| Settled { id, outcome, detail: Some(why.to_owned()) });
        if let Err(error) = self.shared.store.settle(settled.collect()).await {
            self.shared.metrics.store_failures_total.inc();
            tracing::error!(target = %left.target, "cannot record what became of kills: {error}");
        }
    }

    /// Starts the tasks of configured targets that have none.
    fn start_missing(&mut self) {
        let settings = self.shared.settings();
        for (name, target) in &settings.targets {
            let busy = self.running.contains_key(name) || self.stopping.values().any(|stopping| stopping == name);
            let Some(entry) = self.shared.target(name.as_str()).filter(|_| !busy) else { continue };
            let stop = CancellationToken::new();
            let (replace, replacements) = mpsc::unbounded_channel();
            let guard = Guard::new(
                target.clone(),
                self.shared.clone(),
                entry,
                backend(target, &self.shared.clock),
                replacements,
                self.open.remove(name).unwrap_or_default(),
                stop.clone(),
            );
            let name = name.clone();
            let left = name.clone();
            let task = self.tasks.spawn(async move { Left { target: left, open: guard.run().await } }).id();
            self.running.insert(name, Running { task, stop, replace, target: target.clone() });
        }
    }

    /// Loads everything, then swaps: a configuration that cannot be loaded changes nothing.
    async fn reload(&mut self, answer: oneshot::Sender<Result<(), String>>) {
        let load = self.load.clone();
        let loaded = tokio::task::spawn_blocking(move || load()).await;
        let loaded = loaded.unwrap_or_else(|panic| Err(format!("loading the config failed: {panic}")));
        let result = match loaded {
            Ok(settings) => {
                self.swap(settings).await;
                Ok(())
            }
            Err(findings) => {
                tracing::error!("the config was not reloaded; the one in force stays\n{findings}");
                self.shared.metrics.config_last_reload_successful.set(0);
                self.shared.reloaded().error = Some(findings.clone());
                Err(findings)
            }
        };
        // Whoever asked may have gone away meanwhile.
        drop(answer.send(result));
    }

    async fn swap(&mut self, settings: Settings) {
        // Backends first: a plan that was made under the old settings is void as soon as the new ones are there, so that no
        // new rule acts on an old node.
        self.replace_changed(&settings);
        self.shared.settings.send_replace(Arc::new(settings));
        *self.shared.reloaded() = Reloaded { at: self.shared.clock.wall(), error: None };
        self.stop_removed();
        self.publish_entries();
        self.start_missing();
        self.announce();
        tracing::info!("the config was reloaded");
        if let Err(error) = self.shared.store.record(vec![Entry::new(EntryKind::Reload)]).await {
            self.shared.metrics.store_failures_total.inc();
            tracing::error!("cannot record the reload: {error}");
        }
    }

    fn stop_removed(&mut self) {
        let settings = self.shared.settings();
        let removed: Vec<TargetName> =
            self.running.keys().filter(|name| !settings.targets.contains_key(*name)).cloned().collect();
        for name in removed {
            let Some(running) = self.running.remove(&name) else { continue };
            running.stop.cancel();
            self.stopping.insert(running.task, name);
        }
    }

    /// A target whose connection settings changed gets a new backend; its memory stays.
    fn replace_changed(&mut self, settings: &Settings) {
        for (name, running) in &mut self.running {
            let Some(target) = settings.targets.get(name) else { continue };
            if (&target.redis, target.max_snapshot_age) != (&running.target.redis, running.target.max_snapshot_age) {
                let backend = backend(target, &self.shared.clock);
                // The task can only have ended if it failed, which ends the daemon.
                drop(running.replace.send(backend));
            }
            running.target = target.clone();
        }
    }

    /// The targets that others can ask for are those of the settings.
    fn publish_entries(&self) {
        let settings = self.shared.settings();
        let mut entries = self.shared.targets.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *entries);
        *entries = settings
            .targets
            .keys()
            .map(|name| (name.clone(), before.get(name).cloned().unwrap_or_else(|| Arc::new(TargetEntry::default()))))
            .collect::<BTreeMap<_, _>>();
    }

    /// The metrics that depend on the settings.
    fn announce(&self) {
        let settings = self.shared.settings();
        let metrics = &self.shared.metrics;
        for (name, target) in &settings.targets {
            metrics.target(name.as_str(), FailureReason::ALL.map(FailureReason::as_str));
            metrics.poll_interval_seconds.with_label_values(&[name.as_str()]).set(target.poll_interval.as_secs_f64());
            for index in settings.rules_for(target) {
                let rule = settings.rules.rules()[index].name.as_str();
                metrics.rule_on_target(name.as_str(), rule);
            }
        }
        for rule in settings.rules.rules() {
            metrics.rule(rule.name.as_str(), rule.mode);
        }
        self.sweep();
        metrics.targets.set(i64::try_from(settings.targets.len()).unwrap_or(i64::MAX));
        metrics.config_last_reload_successful.set(1);
        #[expect(clippy::cast_precision_loss, reason = "a timestamp with a float's precision, as Prometheus has it")]
        metrics.config_last_reload_success_timestamp_seconds.set(self.shared.reloaded().at as f64 / 1000.0);
    }

    /// Forgets the series of targets and rules that are not configured any more.
    fn sweep(&self) {
        let settings = self.shared.settings();
        let applies = |target: &str, rule: &str| {
            let target = settings.targets.get(target);
            let rule = settings.rules.rules().iter().find(|known| known.name.as_str() == rule);
            target.zip(rule).is_some_and(|(target, rule)| rule.targets.matches(&target.labels))
        };
        let is_rule = |rule: &str| settings.rules.rules().iter().any(|known| known.name.as_str() == rule);
        self.shared.metrics.retain(|target, rule| match (target, rule) {
            (Some(target), Some(rule)) => applies(target, rule),
            (Some(target), None) => settings.targets.contains_key(target),
            (None, Some(rule)) => is_rule(rule),
            (None, None) => true,
        });
    }

    async fn ended(&mut self, ended: Result<(Id, Left), JoinError>) -> Result<(), EngineError> {
        match ended {
            Ok((task, left)) if self.stopping.remove(&task).is_some() => {
                if self.shared.settings().targets.contains_key(&left.target) {
                    // It was removed and is back: its next task goes on with what is open.
                    self.open.insert(left.target, left.open);
                } else {
                    self.give_up(&left).await;
                    // Its last looks may have brought back series that the reload had removed.
                    self.sweep();
                }
                self.start_missing();
                Ok(())
            }
            Ok((_, left)) => Err(EngineError::TaskEnded { target: left.target, why: "it returned".to_owned() }),
            Err(error) => {
                let of = |running: &Running| running.task == error.id();
                let running = self.running.iter().find(|(_, running)| of(running)).map(|(name, _)| name.clone());
                let target = running.or_else(|| self.stopping.get(&error.id()).cloned());
                let target = target.unwrap_or_else(|| "unknown".into());
                Err(EngineError::TaskEnded { target, why: error.to_string() })
            }
        }
    }

    /// Every target finishes the plan that it has committed, and looks once more at what it killed.
    async fn stop(mut self) -> Result<(), EngineError> {
        for running in self.running.values() {
            running.stop.cancel();
        }
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next_with_id().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                let running = self.running.iter().find(|(_, running)| running.task == error.id());
                let target = running.map_or_else(|| "unknown".into(), |(name, _)| name.clone());
                result = Err(EngineError::TaskEnded { target, why: error.to_string() });
            }
        }
        result
    }
}

fn backend(target: &TargetSettings, clock: &Clock) -> RedisBackend {
    RedisBackend::with_deadlines(target.redis.clone(), clock.clone(), Deadlines::within(target.max_snapshot_age))
}

/// Intents that the last process left open. Whether the server acted on one without an answer is not known.
fn by_target(intents: Vec<OpenIntent>, clock: &Clock) -> HashMap<TargetName, Vec<Open>> {
    let now = clock.steady();
    let mut open: HashMap<TargetName, Vec<Open>> = HashMap::new();
    for intent in intents {
        let progress = if intent.answer.as_deref().is_some_and(Answer::was_final) {
            Progress::Answered(now)
        } else {
            Progress::Lost(now)
        };
        let one = Open { id: intent.id, rule: intent.rule, key: intent.key, progress };
        open.entry(intent.target).or_default().push(one);
    }
    open
}

impl Default for TargetEntry {
    fn default() -> Self {
        Self { mailbox: super::mailbox::Mailbox::default(), published: RwLock::new(Published::default()) }
    }
}
