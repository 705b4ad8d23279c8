//! What HTTP and signals may ask of the engine.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::alerts;
use super::mailbox::Cause;
use super::shared::Shared;
use super::views;
use crate::monitoring::alertmanager::Pairs;
use crate::policy::directory::Resolution;
use crate::policy::matcher::Labels;
use crate::policy::names::TargetName;
use crate::policy::time::millis;
use crate::store::{Pause, StoreError};
use crate::view::status::{PauseView, RuleView, SessionsView, Status, TargetView};

/// A question to the engine that it cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// There is no target of this name.
    #[error("there is no target `{0}`")]
    NoTarget(String),
    /// The config could not be loaded; the one in force stays.
    #[error("{0}")]
    Reload(String),
    /// The store could not write it.
    #[error("{0}")]
    Store(String),
    /// The engine is shutting down.
    #[error("the daemon is shutting down")]
    Stopping,
}

impl From<StoreError> for HandleError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// What only the supervisor can do.
pub(super) enum Command {
    Reload(oneshot::Sender<Result<(), String>>),
}

/// A handle on the running engine; clones are the same engine.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>, commands: mpsc::Sender<Command>) -> Self {
        Self { shared, commands }
    }

    /// Whether every target was listed, or failed to be, at least once.
    #[must_use]
    pub fn ready(&self) -> bool {
        views::ready(&self.shared)
    }

    /// From now on not ready: the first step of a shutdown.
    pub fn stopping(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
    }

    /// The daemon as a whole.
    #[must_use]
    pub fn status(&self) -> Status {
        views::status(&self.shared)
    }

    /// Every target.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetView> {
        views::targets(&self.shared)
    }

    /// A page of a target's sessions at its last listing.
    ///
    /// # Errors
    /// [`HandleError::NoTarget`].
    pub fn sessions(&self, target: &str, offset: usize, limit: usize) -> Result<SessionsView, HandleError> {
        let entry = self.shared.target(target).ok_or_else(|| HandleError::NoTarget(target.to_owned()))?;
        Ok(views::sessions(&self.shared, target, &entry, offset, limit))
    }

    /// Every rule.
    #[must_use]
    pub fn rules(&self) -> Vec<RuleView> {
        views::rules(&self.shared)
    }

    /// The target that an alert's labels name.
    #[must_use]
    pub fn resolve(&self, labels: &Pairs<'_>) -> Resolution {
        self.shared.settings().directory.resolve(|label| labels.get(label))
    }

    /// Whether some rule is made active on the target by an alert with these labels.
    #[must_use]
    pub fn wants(&self, target: &TargetName, labels: &Labels) -> bool {
        alerts::wanted(&self.shared.settings(), target, labels)
    }

    /// Loads the config anew, all or nothing.
    ///
    /// # Errors
    /// [`HandleError::Reload`] with every finding; the config in force stays.
    pub async fn reload(&self) -> Result<(), HandleError> {
        let (answer, result) = oneshot::channel();
        self.commands.send(Command::Reload(answer)).await.map_err(|_| HandleError::Stopping)?;
        result.await.map_err(|_| HandleError::Stopping)?.map_err(HandleError::Reload)
    }

    /// Evaluates a target now; returns before it is done.
    ///
    /// # Errors
    /// [`HandleError::NoTarget`].
    pub fn evaluate(&self, target: &str) -> Result<(), HandleError> {
        let entry = self.shared.target(target).ok_or_else(|| HandleError::NoTarget(target.to_owned()))?;
        entry.mailbox.post(Cause::Manual, self.shared.clock.steady());
        Ok(())
    }

    /// Pauses a target, or everything. It holds from the next kill on, in whatever batch that is.
    ///
    /// # Errors
    /// [`HandleError::NoTarget`] or [`HandleError::Store`].
    pub async fn pause(
        &self,
        target: Option<&str>,
        reason: &str,
        hold: Option<Duration>,
    ) -> Result<PauseView, HandleError> {
        let at = self.shared.clock.wall();
        let until = hold.map(|hold| at.saturating_add(millis(hold)));
        let pause = Pause { target: self.named(target)?, reason: reason.to_owned(), until, at };
        {
            // Before it is durable: a brake works at once.
            let mut pauses = self.shared.pauses.write().unwrap_or_else(PoisonError::into_inner);
            pauses.retain(|other| other.target != pause.target);
            pauses.push(pause.clone());
        }
        self.shared.store.pause(pause.clone()).await?;
        tracing::warn!(target = target.unwrap_or("(all)"), "paused: {reason}");
        Ok(views::pause(&pause))
    }

    /// Ends the pause of a target, or the pause of everything.
    ///
    /// # Errors
    /// [`HandleError::NoTarget`] or [`HandleError::Store`].
    pub async fn resume(&self, target: Option<&str>) -> Result<(), HandleError> {
        let name = self.named(target)?;
        let before = self.shared.pauses.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.shared.store.resume(name.clone()).await?;
        // A pause that came meanwhile goes on.
        let mut pauses = self.shared.pauses.write().unwrap_or_else(PoisonError::into_inner);
        pauses.retain(|pause| pause.target != name || !before.contains(pause));
        drop(pauses);
        tracing::warn!(target = target.unwrap_or("(all)"), "resumed");
        Ok(())
    }

    /// Sets the gauges that are only read at a scrape.
    pub fn refresh_metrics(&self) {
        views::refresh_metrics(&self.shared);
    }

    fn named(&self, target: Option<&str>) -> Result<Option<TargetName>, HandleError> {
        let Some(target) = target else { return Ok(None) };
        match self.shared.target(target) {
            Some(_) => Ok(Some(target.into())),
            None => Err(HandleError::NoTarget(target.to_owned())),
        }
    }
}
