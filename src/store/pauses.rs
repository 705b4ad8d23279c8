//! The emergency brake, as far as it must survive: at most one pause a target, and one of everything.

use rusqlite::{Connection, params};

use crate::clock::UnixMillis;
use crate::policy::names::TargetName;

/// A pause of a target, or of everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The target; everything without.
    pub target: Option<TargetName>,
    /// Why, in the operator's words.
    pub reason: String,
    /// When it ends by itself, wall time; without, it lasts until it is resumed.
    pub until: Option<UnixMillis>,
    /// When it began, wall time.
    pub at: UnixMillis,
}

impl Pause {
    /// Whether it is in force at this wall time.
    #[must_use]
    pub fn holds(&self, at: UnixMillis) -> bool {
        self.until.is_none_or(|until| at < until)
    }
}

fn key(target: Option<&TargetName>) -> &str {
    target.map_or("", TargetName::as_str)
}

/// Begins a pause, in place of an earlier one of the same target.
pub(super) fn begin(db: &Connection, pause: &Pause) -> rusqlite::Result<()> {
    let sql = "INSERT INTO pauses (target, reason, until, at) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (target) DO UPDATE SET reason = excluded.reason, until = excluded.until, at = excluded.at";
    db.prepare_cached(sql)?.execute(params![key(pause.target.as_ref()), pause.reason, pause.until, pause.at]).map(drop)
}

/// Ends the pause of a target, or the one of everything.
pub(super) fn end(db: &Connection, target: Option<&TargetName>) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM pauses WHERE target = ?1")?.execute([key(target)]).map(drop)
}

/// All of them, also those whose end has passed.
pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<Pause>> {
    let mut statement = db.prepare("SELECT target, reason, until, at FROM pauses ORDER BY target")?;
    let rows = statement.query_map([], |row| {
        let target: String = row.get(0)?;
        let target = (!target.is_empty()).then(|| target.into());
        Ok(Pause { target, reason: row.get(1)?, until: row.get(2)?, at: row.get(3)? })
    })?;
    rows.collect()
}
