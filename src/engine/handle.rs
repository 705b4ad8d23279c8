//! What HTTP may ask of the engine. (bodies to be filled)

use std::time::Duration;

use crate::monitoring::alertmanager::Pairs;
use crate::policy::directory::Resolution;
use crate::policy::matcher::Labels;
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

/// A handle on the running engine; clones are the same engine.
#[derive(Clone)]
pub struct Handle {}

impl Handle {
    /// Whether every target was listed, or failed to be, at least once.
    #[must_use]
    pub fn ready(&self) -> bool {
        todo!()
    }
    /// The daemon as a whole.
    #[must_use]
    pub fn status(&self) -> Status {
        todo!()
    }
    /// Every target.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetView> {
        todo!()
    }
    /// A page of a target's sessions at its last listing.
    ///
    /// # Errors
    /// [`HandleError::NoTarget`].
    pub fn sessions(&self, _target: &str, _offset: usize, _limit: usize) -> Result<SessionsView, HandleError> {
        todo!()
    }
    /// Every rule.
    #[must_use]
    pub fn rules(&self) -> Vec<RuleView> {
        todo!()
    }
    /// The target that an alert's labels name.
    #[must_use]
    pub fn resolve(&self, _labels: &Pairs<'_>) -> Resolution {
        todo!()
    }
    /// Whether some rule is made active by an alert with these labels.
    #[must_use]
    pub fn wants(&self, _labels: &Labels) -> bool {
        todo!()
    }
    /// Loads the config anew, all or nothing.
    ///
    /// # Errors
    /// [`HandleError::Reload`] with every finding; the config in force stays.
    pub async fn reload(&self) -> Result<(), HandleError> {
        todo!()
    }
    /// Evaluates a target now; returns before it is done.
    ///
    /// # Errors
    /// [`HandleError::NoTarget`].
    pub fn evaluate(&self, _target: &str) -> Result<(), HandleError> {
        todo!()
    }
    /// Pauses a target, or everything.
    ///
    /// # Errors
    /// [`HandleError::NoTarget`] or [`HandleError::Store`].
    pub async fn pause(
        &self,
        _target: Option<&str>,
        _reason: &str,
        _for: Option<Duration>,
    ) -> Result<PauseView, HandleError> {
        todo!()
    }
    /// Ends the pause of a target, or of everything.
    ///
    /// # Errors
    /// [`HandleError::NoTarget`] or [`HandleError::Store`].
    pub async fn resume(&self, _target: Option<&str>) -> Result<(), HandleError> {
        todo!()
    }
}
