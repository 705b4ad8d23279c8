//! What the supervisor, the tasks of the targets and the handle share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::{Semaphore, watch};

use super::mailbox::Mailbox;
use super::memory::Published;
use super::settings::Settings;
use crate::clock::{Clock, UnixMillis};
use crate::metrics::Metrics;
use crate::policy::names::TargetName;
use crate::store::{AlertRow, Pause, Store};

/// How the last reload went.
#[derive(Clone, Debug)]
pub(super) struct Reloaded {
    /// When the settings in force were loaded, wall time.
    pub(super) at: UnixMillis,
    /// Why the last reload failed.
    pub(super) error: Option<String>,
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
    pub(super) pause_file: PathBuf,
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

    /// Why everything is paused by the PAUSE file, if it is. A file that cannot be looked for pauses too.
    pub(super) fn pause_file_reason(&self) -> Option<String> {
        match self.pause_file.try_exists() {
            Ok(false) => None,
            Ok(true) => {
                let text = std::fs::read_to_string(&self.pause_file).unwrap_or_default();
                let text = text.lines().next().unwrap_or_default().trim();
                let why = if text.is_empty() { String::new() } else { format!(": {text}") };
                Some(format!("the file {} is there{why}", self.pause_file.display()))
            }
            Err(error) => Some(format!("cannot tell whether {} is there: {error}", self.pause_file.display())),
        }
    }

    /// The pauses that have not expired.
    pub(super) fn pauses(&self) -> Vec<Pause> {
        let now = self.clock.wall();
        let pauses = self.pauses.read().unwrap_or_else(PoisonError::into_inner);
        pauses.iter().filter(|pause| pause.until.is_none_or(|until| now < until)).cloned().collect()
    }

    /// Why this target is paused, if it is.
    pub(super) fn paused(&self, target: &TargetName) -> Option<Arc<str>> {
        if let Some(reason) = self.pause_file_reason() {
            return Some(reason.into());
        }
        let pauses = self.pauses();
        let pause = pauses.iter().find(|pause| pause.target.as_ref().is_none_or(|paused| paused == target))?;
        Some(pause.reason.as_str().into())
    }
}
