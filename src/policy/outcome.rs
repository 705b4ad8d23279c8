//! What became of a kill: seen in a later list or look, never inferred from an OK reply.
//!
//! A list or look counts as evidence only if it was asked for after the kill was answered. A session that it does not
//! show, or whose server has another run, is gone. One that it still shows survived, unless the server is already
//! closing it: then the intent stays open.
//!
//! A kill that was never answered may still be on its way. A session that is alive shortly after proves nothing, so the
//! intent stays open until [`IN_FLIGHT`] has passed; while it is open the session is not killed again, and the budget
//! stays charged.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::intent::{Answer, IntentId};
use super::names::RuleName;
use super::session::{SessionKey, Snapshot};
use super::time::Steady;

/// How long a kill whose answer was lost may still reach the server.
pub const IN_FLIGHT: Duration = Duration::from_secs(5);

/// After this long without a usable look, an outcome is unverified.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How long a kill of which nothing more was heard is taken to be under way: a server that hangs may still hold it, and
/// carry it out when it wakes up. So long its budget stays charged.
pub const UNVERIFIED_IN_FLIGHT: Duration = Duration::from_secs(60 * 60);

/// The end of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A later list or look does not show the session any more, or the server has another run.
    Gone,
    /// A later list or look still shows it, and the server is not closing it.
    Survived,
    /// The kill provably never left.
    NotSent,
    /// No later look succeeded before the deadline.
    Unverified,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Gone, Self::Survived, Self::NotSent, Self::Unverified];

    /// The name in metrics, journal and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Survived => "survived",
            Self::NotSent => "not_sent",
            Self::Unverified => "unverified",
        }
    }
}

/// How far an open intent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The server answered at this time: it will not act on the kill any more.
    Answered(Steady),
    /// The kill provably never left; only the record of it failed.
    Unsent,
    /// The answer was lost at this time (or the daemon restarted then): the server may still act on the kill.
    Lost(Steady),
}

/// An intent that is not settled yet.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its number.
    pub id: IntentId,
    /// Why.
    pub rule: RuleName,
    /// Whom.
    pub key: SessionKey,
    /// How far it is.
    pub progress: Progress,
}

impl Open {
    /// The moment from which a list or look says something about the kill, and the one from which it can show that the
    /// kill had no effect. A kill that never left is not settled by a look.
    fn telling(&self) -> Option<(Steady, Steady)> {
        match self.progress {
            Progress::Answered(at) => Some((at, at)),
            Progress::Lost(at) => Some((at, at.plus(IN_FLIGHT))),
            Progress::Unsent => None,
        }
    }

    fn outcome(&self, snapshot: &Snapshot, rows: &HashMap<i64, usize>) -> Option<Outcome> {
        let (since, conclusive) = self.telling()?;
        if snapshot.at < since {
            return None;
        }
        let row = if snapshot.run == self.key.run { rows.get(&self.key.id) } else { None };
        match row {
            None => Some(Outcome::Gone),
            Some(row) if snapshot.sessions.is_closing(*row) => None,
            Some(_) if snapshot.at >= conclusive => Some(Outcome::Survived),
            Some(_) => None,
        }
    }
}

/// Which open intents a list, or a look at their sessions, settles.
#[must_use]
pub fn settle(open: &[Open], snapshots: &[Arc<Snapshot>]) -> Vec<(IntentId, Outcome)> {
    let mut settled = Vec::new();
    for snapshot in snapshots {
        let here: Vec<&Open> = open.iter().filter(|open| open.key.node == snapshot.node).collect();
        if here.is_empty() {
            continue;
        }
        let rows = (0..snapshot.sessions.len()).map(|row| (snapshot.sessions.id(row), row)).collect();
        settled.extend(here.iter().filter_map(|open| Some((open.id, open.outcome(snapshot, &rows)?))));
    }
    settled
}

/// Which open intents can no longer be settled by a look: none succeeded in time.
#[must_use]
pub fn expire(open: &[Open], now: Steady) -> Vec<(IntentId, Outcome)> {
    let is_late = |open: &&Open| open.telling().is_some_and(|(_, conclusive)| now.since(conclusive) > DEADLINE);
    let late = open.iter().filter(is_late);
    late.map(|open| (open.id, Outcome::Unverified)).collect()
}

/// What answers alone settle: that a kill provably never left.
#[must_use]
pub fn of_answers(answers: &[(IntentId, Answer)]) -> Vec<(IntentId, Outcome)> {
    let not_sent = |answer: &Answer| match answer {
        Answer::NotSent(_) => true,
        Answer::Accepted | Answer::NoSuchSession | Answer::Refused(_) | Answer::Unanswered(_) => false,
    };
    answers.iter().filter(|(_, answer)| not_sent(answer)).map(|(id, _)| (*id, Outcome::NotSent)).collect()
}

/// The kills that never left, and of which this could not be recorded before.
#[must_use]
pub fn unsent(open: &[Open]) -> Vec<(IntentId, Outcome)> {
    open.iter().filter(|open| open.progress == Progress::Unsent).map(|open| (open.id, Outcome::NotSent)).collect()
}

/// The end of intents at whose sessions nobody can look any more.
#[must_use]
pub fn give_up(open: &[Open]) -> Vec<(IntentId, Outcome)> {
    let outcome = |open: &Open| match open.progress {
        Progress::Unsent => Outcome::NotSent,
        Progress::Answered(_) | Progress::Lost(_) => Outcome::Unverified,
    };
    open.iter().map(|open| (open.id, outcome(open))).collect()
}
