//! stub
use super::{Store, StoreError};
use crate::policy::matcher::Labels;
use crate::policy::names::TargetName;

/// An alert to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedAlert {
    /// Alertmanager's fingerprint of the labels.
    pub fingerprint: String,
    /// Whether it fires; otherwise it is resolved.
    pub firing: bool,
    /// Its labels.
    pub labels: Labels,
    /// The target that the labels name.
    pub target: TargetName,
}

impl Store {
    /// Stores alerts durably.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn receive_alerts(&self, _alerts: Vec<ReceivedAlert>) -> Result<(), StoreError> {
        Err(StoreError::Full)
    }
}
