//! Protections: sessions that are never killed, whatever a rule says.
//!
//! Always protected are
//! - replicas and masters: killing a replication link makes a full resync;
//! - our own connections, and any session named `reaperd` under our user (another reaperd);
//! - Sentinel's links, which look normal but are not;
//! - a session whose kind is not known;
//! - every kind other than `normal`, unless the rule's `match` names that kind with `==` or `in`, or tests `flags`: a
//!   bare `idle > ...` would name workers in BLPOP and quiet subscribers.
//!
//! The config's `protect:` list comes on top. **A protection holds unless it is known false**, the opposite of a rule:
//! one that a target cannot evaluate protects everything there.

use std::sync::Arc;

use super::expr::Expr;
use super::field::{Field, Kind};
use super::rule::Rule;
use super::session::Snapshot;

/// The name that our own connections have.
pub const OWN_NAME: &str = "reaperd";

/// One entry of the config's `protect:` list.
#[derive(Clone, Debug)]
pub struct Protection {
    /// Whom it protects.
    pub matches: Expr,
    /// Why, for the operator.
    pub reason: Arc<str>,
    /// When it ends, in unix milliseconds of wall time; it never does without.
    pub until: Option<i64>,
}

impl Protection {
    /// Its reason; and, where the node lists nothing to judge it by, that this is why it holds for everybody.
    pub(super) fn words(&self, snapshot: &Snapshot) -> Arc<str> {
        let lacking = self.matches.needs().without(snapshot.sessions.fields());
        if lacking.is_empty() {
            return self.reason.clone();
        }
        format!("{} (the node does not list {lacking}, so it protects every session there)", self.reason).into()
    }

    /// Whether it still holds at this wall time.
    #[must_use]
    pub fn in_force(&self, wall: i64) -> bool {
        self.until.is_none_or(|until| wall < until)
    }
}

/// The reason why this session is always protected from this rule, if it is.
pub(super) fn always(rule: &Rule, snapshot: &Snapshot, row: usize) -> Option<Arc<str>> {
    let sessions = &snapshot.sessions;
    if snapshot.own.contains(&sessions.id(row)) {
        return Some("our own connection".into());
    }
    let name = sessions.text(Field::Name, row).unwrap_or_default();
    if name == OWN_NAME && is_own_user(snapshot, sessions.text(Field::User, row)) {
        return Some("a connection named reaperd".into());
    }
    if name.starts_with("sentinel-") && (name.ends_with("-cmd") || name.ends_with("-pubsub")) {
        return Some("a link of Sentinel".into());
    }
    match sessions.kind(row) {
        None => Some("its kind is not known".into()),
        Some(Kind::Normal) => None,
        Some(Kind::Replica | Kind::Master) => Some("a replication link".into()),
        Some(kind @ (Kind::Monitor | Kind::Pubsub | Kind::Blocked)) => (!rule.matches.names_kind(kind)
            && !rule.matches.tests_flags())
        .then(|| format!("kind {} is not named by the rule", kind.as_str()).into()),
    }
}

/// Where either user is not known, it may be ours.
fn is_own_user(snapshot: &Snapshot, user: Option<&str>) -> bool {
    match (&snapshot.own_user, user) {
        (Some(own), Some(user)) => **own == *user,
        (None, _) | (_, None) => true,
    }
}
