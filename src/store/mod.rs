//! What must survive: intents and outcomes, the journal, received alerts, pauses.
//!
//! One writer thread owns the database. Jobs that wait together are committed together, each in a savepoint of its
//! own; nobody is told of success before the commit is on disk. `decide` runs inside the commit, on the ledger that
//! this commit makes durable: charging and writing intents is one step.

pub mod alerts;
pub mod journal;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, UnixMillis};
use crate::policy::decide::{Plan, Spared};
use crate::policy::intent::{Answer, Intent, IntentId};
use crate::policy::ledger::Books;
use crate::policy::matcher::Labels;
use crate::policy::names::{RuleName, TargetName};
use crate::policy::outcome::Outcome;
use crate::policy::session::SessionKey;
use crate::policy::time::Steady;
use crate::view::journal::{Entry, Recorded};

/// Where and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder; created if it is not there.
    pub path: PathBuf,
    /// How long journal entries and settled intents are kept.
    pub retention: Duration,
}

/// What `decide` says inside the commit: the plan, and the journal entries that tell of it.
#[derive(Debug, Default)]
pub struct Decision {
    /// Kills become intents; new ghosts charge the shadow ledger.
    pub plan: Plan,
    /// Written in the same commit, before the intents' own entries.
    pub entries: Vec<Entry>,
}

/// `decide`, ready to run inside the commit.
pub type Decide = Box<dyn FnOnce(&Books, Steady) -> Decision + Send>;

/// What a commit made durable.
#[derive(Debug, Default)]
pub struct Committed {
    /// The permits to kill.
    pub intents: Vec<Intent>,
    /// Who was spared.
    pub spared: Vec<Spared>,
}

/// An intent that is not settled yet, as the store knows it (also from before a restart).
#[derive(Clone, Debug)]
pub struct OpenIntent {
    /// Its number.
    pub id: IntentId,
    /// Where.
    pub target: TargetName,
    /// Why.
    pub rule: RuleName,
    /// Whom.
    pub key: SessionKey,
    /// When it was committed.
    pub committed: Steady,
    /// The word of the server's answer ([`Answer::as_str`]); `None` when none was recorded.
    pub answer: Option<String>,
}

/// An alert as it was received: a state per fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    /// Alertmanager's fingerprint of the labels.
    pub fingerprint: String,
    /// Whether it fires; otherwise it is resolved.
    pub firing: bool,
    /// Its labels.
    pub labels: Labels,
    /// The target that the labels name.
    pub target: TargetName,
    /// When it was last delivered, wall time.
    pub received: UnixMillis,
    /// Grows with every activation (firing after resolved, or firing for the first time).
    pub activation: i64,
}

/// stub
#[derive(Clone, Debug)]
pub struct Store {}

/// stub
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// stub
    #[error("the queue of the store is full")]
    Full,
}
