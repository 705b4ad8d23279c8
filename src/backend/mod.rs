//! The one seam for servers: list their sessions, look at some of them again, kill some of them.

pub mod dcs;
pub mod redis;

use std::future::Future;

use crate::policy::field::FieldSet;
use crate::policy::intent::{Answer, Intent, IntentId};
use crate::policy::names::NodeName;
use crate::policy::session::{SessionKey, Snapshot};

/// Why a node could not be listed or looked at. The reason is a label of `reaperd_list_failures_total`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("node {node}: {message}")]
pub struct NodeError {
    /// Which node.
    pub node: NodeName,
    /// What kind of failure.
    pub reason: FailureReason,
    /// What happened and what to do about it.
    pub message: String,
}

/// The closed set of reasons for a failed list or look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The node could not be reached, or the connection broke.
    Connect,
    /// The node refused the credentials or a right is missing.
    Auth,
    /// The node did not answer in time.
    Timeout,
    /// The node answered with an error.
    Server,
    /// The answer was truncated or garbled, and was refused whole.
    Garbled,
}

impl FailureReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Connect, Self::Auth, Self::Timeout, Self::Server, Self::Garbled];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Auth => "auth",
            Self::Timeout => "timeout",
            Self::Server => "server",
            Self::Garbled => "garbled",
        }
    }
}

/// Says of an intent, right before it is sent, why it must not be sent any more, if so.
pub type Gate<'a> = &'a (dyn Fn(&Intent) -> Option<String> + Sync);

/// What listing a target gave: one answer a node.
pub type Listing = Vec<Result<Snapshot, NodeError>>;

/// A group of Redis-compatible nodes that are guarded as one target.
pub trait Backend: Send + 'static {
    /// The target's nodes, as far as they are known.
    fn nodes(&self) -> Vec<NodeName>;

    /// The fields that this kind of server can list at all, whatever its version.
    fn fields(&self) -> FieldSet;

    /// Lists every node, each whole or not at all. Nodes are listed concurrently; a dead one does not hold up the
    /// others for longer than its deadline.
    fn list(&mut self) -> impl Future<Output = Listing> + Send;

    /// Looks at these sessions now: per node named in `keys`, a snapshot of those that are still there, whole, or an
    /// error. A session that is not in an `Ok` snapshot is not there any more.
    fn look(&mut self, keys: &[SessionKey]) -> impl Future<Output = Listing> + Send;

    /// Carries out committed intents, each on the connection that listed its session, and returns one answer for each.
    /// `gate` is asked about each right before it is sent; one that it refuses is [`Answer::NotSent`].
    fn kill(&mut self, intents: &[Intent], gate: Gate<'_>) -> impl Future<Output = Vec<(IntentId, Answer)>> + Send;

    /// Takes over from the backend that this one replaces whatever connections are still right.
    fn inherit(&mut self, before: Self);
}
