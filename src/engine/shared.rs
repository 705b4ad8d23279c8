//! What the supervisor, the tasks of the targets and the handle share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::mailbox::Mailbox;
use super::memory::Published;
use super::settings::Settings;
use crate::clock::{Clock, UnixMillis};
use crate::metrics::Metrics;
use crate::policy::names::TargetName;
use crate::policy::time::Steady;
use crate::store::{AlertRow, Pause, Store};

/// How the last reload went.
#[derive(Clone, Debug)]
pub(super) struct Reloaded {
    /// When the settings in force were loaded, wall time.
    pub(super) at: UnixMillis,
    /// Why the last reload failed.
    pub(super) error: Option<String>,
}

/// How long what was seen of the PAUSE file is good for: it is asked for before every kill.
const PAUSE_FILE_LOOK: Duration = Duration::from_millis(100);

/// The file that pauses everything while it is there.
pub(super) struct PauseFile {
    path: PathBuf,
    seen: Mutex<(Option<Steady>, Option<String>)>,
}

impl PauseFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, seen: Mutex::new((None, None)) }
    }

    /// Why everything is paused by it, if it is, as last seen.
    fn as_known(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Why everything is paused by it, if it is.
    fn look(&self, now: Steady) -> Option<String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0.is_none_or(|at| now.since(at) >= PAUSE_FILE_LOOK) {
            *seen = (Some(now), self.read());
        }
        seen.1.clone()
    }

    /// A file that cannot be looked for pauses too.
    fn read(&self) -> Option<String> {
        match self.path.try_exists() {
            Ok(false) => None,
            Ok(true) => {
                let text = std::fs::read_to_string(&self.path).unwrap_or_default();
                let text = text.lines().next().unwrap_or_default().trim();
                let why = if text.is_empty() { String::new() } else { format!(": {text}") };
                Some(format!("the file {} is there{why}", self.path.display()))
            }
            Err(error) => Some(format!("cannot tell whether {} is there: {error}", self.path.display())),
        }
    }
}

/// A target as others see it.
pub(super) struct TargetEntry {
    pub(super) mailbox: Mailbox,
    pub(super) published: RwLock<Published>,
}

/// Shared by all of the engine.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) store: Store,
    pub(super) settings: watch::Sender<Arc<Settings>>,
    pub(super) targets: RwLock<BTreeMap<TargetName, Arc<TargetEntry>>>,
    pub(super) alerts: RwLock<Arc<Vec<AlertRow>>>,
    pub(super) pauses: RwLock<Vec<Pause>>,
    pub(super) pause_file: PauseFile,
    pub(super) reloaded: Mutex<Reloaded>,
    pub(super) started: UnixMillis,
    /// So that a thousand targets do not list all at once at the start.
    pub(super) first_lists: Semaphore,
}

impl Shared {
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone()
    }

    pub(super) fn alerts(&self) -> Arc<Vec<AlertRow>> {
        self.alerts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn reloaded(&self) -> MutexGuard<'_, Reloaded> {
        self.reloaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn target(&self, name: &str) -> Option<Arc<TargetEntry>> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Why everything is paused by the PAUSE file, if it is.
    pub(super) fn pause_file_reason(&self) -> Option<String> {
        self.pause_file.look(self.clock.steady())
    }

    /// The pauses that have not expired.
    pub(super) fn pauses(&self) -> Vec<Pause> {
        let now = self.clock.wall();
        let pauses = self.pauses.read().unwrap_or_else(PoisonError::into_inner);
        pauses.iter().filter(|pause| pause.until.is_none_or(|until| now < until)).cloned().collect()
    }

    /// Why this target is paused, if it is.
    pub(super) fn paused(&self, target: &TargetName) -> Option<Arc<str>> {
        self.pause_file.look(self.clock.steady()).map(Into::into).or_else(|| self.paused_by_hand(target))
    }

    /// The same without touching the disk: for where a lock is held.
    pub(super) fn paused_as_known(&self, target: &TargetName) -> Option<Arc<str>> {
        self.pause_file.as_known().map(Into::into).or_else(|| self.paused_by_hand(target))
    }

    fn paused_by_hand(&self, target: &TargetName) -> Option<Arc<str>> {
        let pauses = self.pauses();
        let pause = pauses.iter().find(|pause| pause.target.as_ref().is_none_or(|paused| paused == target))?;
        Some(pause.reason.as_str().into())
    }

    /// Whether these settings are still those in force.
    pub(super) fn is_in_force(&self, settings: &Arc<Settings>) -> bool {
        Arc::ptr_eq(&*self.settings.borrow(), settings)
    }
}
