//! stub
use std::path::Path;

use super::StoreError;
use crate::clock::UnixMillis;
use crate::view::journal::{EntryKind, Recorded};

/// Reads.
#[derive(Debug)]
pub struct Reader {}

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this target.
    pub target: Option<String>,
    /// Of this rule.
    pub rule: Option<String>,
    /// Of this kind.
    pub kind: Option<EntryKind>,
    /// Not before.
    pub since: Option<UnixMillis>,
    /// After this number.
    pub after_seq: Option<i64>,
    /// At most this many.
    pub limit: Option<usize>,
}

impl Reader {
    /// Opens.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(_path: &Path) -> Result<Self, StoreError> {
        Ok(Self {})
    }

    /// Queries.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn query(&self, _filter: &Filter) -> Result<Vec<Recorded>, StoreError> {
        Ok(Vec::new())
    }
}
