//! One line of the journal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::session::SessionView;

/// What a journal entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// The daemon started.
    Start,
    /// An evaluation that had candidates: counts by verdict.
    Evaluation,
    /// A kill was permitted and charged.
    Intent,
    /// A candidate's verdict changed to this reason.
    Spared,
    /// What became of an intent.
    Outcome,
    /// The config was reloaded.
    Reload,
    /// A pause began.
    Pause,
    /// A pause was ended.
    Resume,
}

impl EntryKind {
    /// The name in the journal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Evaluation => "evaluation",
            Self::Intent => "intent",
            Self::Spared => "spared",
            Self::Outcome => "outcome",
            Self::Reload => "reload",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// What is to be written; the store adds number, time and hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is about.
    pub kind: EntryKind,
    /// The target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The intent's number, in intents and outcomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<i64>,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionView>,
    /// Why it was spared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// More words: the protection, the server's answer, the reason of a pause, the trigger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Numbers by name: of an evaluation, candidates by verdict.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
}

impl Entry {
    /// An entry of this kind about nothing yet.
    #[must_use]
    pub const fn new(kind: EntryKind) -> Self {
        Self {
            kind,
            target: None,
            node: None,
            rule: None,
            intent: None,
            session: None,
            reason: None,
            outcome: None,
            detail: None,
            counts: BTreeMap::new(),
        }
    }
}

/// An entry as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its number, from 1, without gaps.
    pub seq: i64,
    /// When, as RFC 3339 in UTC with milliseconds.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub entry: Entry,
    /// sha256(the hash before ‖ the stored text), in hex.
    pub hash: String,
}
