//! The durable record "about to kill this one", and what became of it.
//!
//! An [`Intent`] is the only permit to kill. It is made only in the store, by the commit that wrote it to disk and
//! charged it, so that no kill can go out that a restarted daemon would not know of.

use std::sync::Arc;

use super::decide::Kill;
use super::names::{RuleName, TargetName};
use super::session::{ConnectionId, Session};
use super::time::Steady;

/// The number of an intent in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IntentId(pub i64);

/// A committed permit to kill one session.
#[derive(Clone, Debug)]
pub struct Intent {
    id: IntentId,
    target: TargetName,
    kill: Kill,
    committed: Steady,
}

impl Intent {
    /// The permit for a kill that is on disk. Only the store calls this, after its commit succeeded.
    #[must_use]
    pub fn committed(id: IntentId, target: TargetName, kill: Kill, committed: Steady) -> Self {
        Self { id, target, kill, committed }
    }

    /// Its number in the store.
    #[must_use]
    pub fn id(&self) -> IntentId {
        self.id
    }

    /// Where.
    #[must_use]
    pub fn target(&self) -> &TargetName {
        &self.target
    }

    /// Why.
    #[must_use]
    pub fn rule(&self) -> &RuleName {
        self.kill.rule()
    }

    /// Whom.
    #[must_use]
    pub fn session(&self) -> &Arc<Session> {
        self.kill.session()
    }

    /// The connection that listed it; the kill goes out on no other.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.kill.connection()
    }

    /// When the list that showed it was asked for.
    #[must_use]
    pub fn listed(&self) -> Steady {
        self.kill.listed()
    }

    /// When it was committed and charged.
    #[must_use]
    pub fn at(&self) -> Steady {
        self.committed
    }
}

/// What the server said to a kill. Only a later look tells whether the session is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server accepted the kill (Redis `:1`, DCS 204).
    Accepted,
    /// The server knows no such session (Redis `:0`): it had already left, or is no longer what it was.
    NoSuchSession,
    /// The server refused the kill with this error, and did nothing.
    Refused(String),
    /// The kill provably never left; this says why.
    NotSent(String),
    /// No answer came: the kill may or may not have been carried out; this says why.
    Unanswered(String),
}

impl Answer {
    /// The word for the journal.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NoSuchSession => "no_such_session",
            Self::Refused(_) => "refused",
            Self::NotSent(_) => "not_sent",
            Self::Unanswered(_) => "unanswered",
        }
    }

    /// Whether this word, as the store keeps it, is that of a final answer.
    #[must_use]
    pub fn was_final(word: &str) -> bool {
        word != Self::Unanswered(String::new()).as_str()
    }

    /// Whether the server can still act on this kill after the answer: then the budget stays charged as if the kill
    /// were still under way, until a later look settles it.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Accepted | Self::NoSuchSession | Self::Refused(_) | Self::NotSent(_) => true,
            Self::Unanswered(_) => false,
        }
    }
}
