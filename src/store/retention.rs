//! What is older than the retention is dropped, a little at a time, when the writer has nothing better to do.
//!
//! The journal loses its oldest entries only, up to the first that is still young, and keeps the last dropped hash as
//! the anchor of the chain. An intent is dropped when it is settled, old, and outside of what the ledger counts.

use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};

use super::journal::Chain;
use super::{alerts, intents};
use crate::clock::{Reading, UnixMillis};
use crate::policy::time::{Steady, millis};

/// At most this many rows a table and transaction, so that nobody waits long behind one.
pub(super) const BATCH: u32 = 500;
/// Between two rounds.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// When and what to drop.
#[derive(Debug)]
pub(super) struct Retention {
    keep: Duration,
    due: Steady,
}

impl Retention {
    /// The first round is due at once.
    pub(super) fn new(keep: Duration, now: Steady) -> Self {
        Self { keep, due: now }
    }

    /// How long until the next batch is due.
    pub(super) fn wait(&self, now: Steady) -> Duration {
        self.due.since(now)
    }

    /// Drops one batch, in a transaction of its own.
    pub(super) fn batch(&mut self, db: &mut Connection, now: &Reading) -> rusqlite::Result<()> {
        // Whatever happens, not again before the next round; a failing disk is not made better by hammering it.
        self.due = now.steady.plus(EVERY);
        // Of both clocks the earlier one: a wall clock that jumps ahead must not empty the journal.
        let cutoff = now.stamp.wall.min(now.steady.millis()).saturating_sub(millis(self.keep));
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let dropped = [
            intents::retire(&transaction, now, BATCH)?,
            intents::drop_old(&transaction, cutoff, BATCH)?,
            drop_entries(&transaction, cutoff)?,
            alerts::drop_old(&transaction, cutoff, BATCH)?,
        ];
        transaction.commit()?;
        if dropped.iter().any(|count| *count > 0) {
            self.due = now.steady;
        }
        Ok(())
    }
}

/// Drops the oldest journal entries up to the first that is not older than `cutoff`.
fn drop_entries(db: &Connection, cutoff: UnixMillis) -> rusqlite::Result<usize> {
    let sql = "SELECT seq, hash, at FROM journal ORDER BY seq LIMIT ?1";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([BATCH])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if row.get::<_, UnixMillis>(2)? >= cutoff {
            break;
        }
        last = Some(Chain { seq: row.get(0)?, hash: row.get(1)? });
    }
    let Some(last) = last else { return Ok(0) };
    last.set_anchor(db)?;
    db.prepare_cached("DELETE FROM journal WHERE seq <= ?1")?.execute(params![last.seq])
}
