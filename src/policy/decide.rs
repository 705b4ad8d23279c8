//! stub, to be filled
use super::names::RuleName;
use super::session::{ConnectionId, Session};
use std::sync::Arc;

/// Why a candidate is not killed: a closed set, in the order in which `decide` asks. First match wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// An operator paused the target or everything.
    Paused,
    /// A protection holds, or is not known not to.
    Protected,
    /// The rule asks for the peer's address, which is hidden.
    PeerUnidentified,
    /// The list or look is older than `max_snapshot_age`, or the session could not be looked at again.
    StaleSnapshot,
    /// Looked at again, it is no longer the same session, or no longer matches.
    Changed,
    /// An earlier rule of this evaluation kills it, or an intent about it is still open.
    Taken,
    /// The rule names too large a part of the node's sessions; nothing of the rule is killed there.
    Share,
    /// The rule killed on this target too recently.
    Cooldown,
    /// A budget is used up.
    Budget,
    /// The mode is observe.
    Observe,
    /// The commit failed, so that the kill could not be recorded.
    Unrecorded,
}

impl Reason {
    /// Every reason, in the order in which `decide` asks.
    pub const ALL: [Self; 11] = [
        Self::Paused,
        Self::Protected,
        Self::PeerUnidentified,
        Self::StaleSnapshot,
        Self::Changed,
        Self::Taken,
        Self::Share,
        Self::Cooldown,
        Self::Budget,
        Self::Observe,
        Self::Unrecorded,
    ];

    /// The name in metrics, journal and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Protected => "protected",
            Self::PeerUnidentified => "peer_unidentified",
            Self::StaleSnapshot => "stale_snapshot",
            Self::Changed => "changed",
            Self::Taken => "taken",
            Self::Share => "share",
            Self::Cooldown => "cooldown",
            Self::Budget => "budget",
            Self::Observe => "observe",
            Self::Unrecorded => "unrecorded",
        }
    }
}

/// A candidate that `decide` permits to kill, once it is committed.
#[derive(Clone, Debug)]
pub struct Kill {
    rule: RuleName,
    session: Arc<Session>,
    connection: ConnectionId,
}

impl Kill {
    /// A kill that nobody decided.
    #[cfg(test)]
    pub fn for_test(rule: RuleName, session: Arc<Session>, connection: ConnectionId) -> Self {
        Self { rule, session, connection }
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> &RuleName {
        &self.rule
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Rule, session and the connection that listed it.
    #[must_use]
    pub fn into_parts(self) -> (RuleName, Arc<Session>, ConnectionId) {
        (self.rule, self.session, self.connection)
    }
}

/// A candidate that is not killed.
#[derive(Clone, Debug)]
pub struct Spared {
    /// The rule.
    pub rule: RuleName,
    /// The session.
    pub session: Arc<Session>,
    /// Why not.
    pub reason: Reason,
    /// More words, where there are any: which protection, which budget.
    pub detail: Option<Arc<str>>,
    /// Whether the shadow ledger was charged for it: observe would have killed it, for the first time.
    pub new_ghost: bool,
}

/// What `decide` answers: candidates = kills + spared, always.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Who goes, once committed.
    pub kills: Vec<Kill>,
    /// Who does not, and why.
    pub spared: Vec<Spared>,
}
