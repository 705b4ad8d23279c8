//! The intents: one row each, from "about to kill this one" to what became of it.
//!
//! The row tells the ledger everything: `committed` is the charge, `ended` is the moment from which the kill could no
//! longer be carried out, and `counting` is cleared when the charge was taken back or has left the ledger's horizon.
//! Whoever changes a row says which charge ended or was taken back, so that the ledger in memory follows the commit.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::OpenIntent;
use super::journal::to_json;
use crate::clock::{Reading, Stamp};
use crate::policy::decide::Kill;
use crate::policy::intent::{Answer, IntentId};
use crate::policy::ledger::{Charge, HORIZON, Ledger};
use crate::policy::names::TargetName;
use crate::policy::outcome::{Outcome, UNVERIFIED_IN_FLIGHT};
use crate::policy::session::SessionKey;
use crate::view::journal::{Entry, EntryKind};
use crate::view::session::SessionView;

/// What a later list or look says about an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The intent.
    pub id: IntentId,
    /// What became of it.
    pub outcome: Outcome,
    /// More words, where there are any.
    pub detail: Option<String>,
}

/// What happened to a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChargeChange {
    /// Nothing: it had ended before.
    None,
    /// The kill cannot be carried out any more after this long.
    Ended {
        /// From the moment of the change.
        lag: Duration,
    },
    /// The kill never left.
    TakenBack,
}

/// The number that the next intent gets. The newest row is never dropped, so that no number is used twice.
pub(super) fn next_id(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("SELECT coalesce(max(id), 0) + 1 FROM intents", [], |row| row.get(0))
}

/// Writes a new intent; returns its journal entry.
pub(super) fn insert(
    db: &Connection,
    id: IntentId,
    target: &TargetName,
    kill: &Kill,
    now: &Stamp,
) -> rusqlite::Result<Entry> {
    let session = SessionView::from(&**kill.session());
    let key = &kill.session().key;
    let sql = "INSERT INTO intents (id, target, node, run, session_id, peer, rule, session,
            committed_at, committed_boot, committed_uptime, counting)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 1)";
    db.prepare_cached(sql)?.execute(params![
        id.0,
        target.as_str(),
        key.node.as_str(),
        key.run.as_str(),
        key.id,
        kill.session().peer.as_deref(),
        kill.rule().as_str(),
        to_json(&session)?,
        now.wall,
        &*now.boot,
        now.uptime,
    ])?;
    let mut entry = Entry::new(EntryKind::Intent);
    entry.target = Some(target.to_string());
    entry.node = Some(key.node.to_string());
    entry.rule = Some(kill.rule().to_string());
    entry.intent = Some(id.0);
    entry.session = Some(session);
    Ok(entry)
}

/// Writes the server's answer. Only the first final answer counts; one that came before it was not final.
pub(super) fn answer(
    db: &Connection,
    id: IntentId,
    answer: &Answer,
    now: &Stamp,
) -> rusqlite::Result<(ChargeChange, Option<Entry>)> {
    let detail = match answer {
        Answer::Accepted | Answer::NoSuchSession => None,
        Answer::Refused(words) | Answer::NotSent(words) | Answer::Unanswered(words) => Some(words.as_str()),
    };
    let sql = "UPDATE intents SET answer = ?2, answer_detail = ?3, answered_at = ?4
        WHERE id = ?1 AND (answer IS NULL OR answer = 'unanswered')";
    if db.prepare_cached(sql)?.execute(params![id.0, answer.as_str(), detail, now.wall])? == 0 {
        return Ok((ChargeChange::None, None));
    }
    match answer {
        Answer::NotSent(_) => settle(db, &Settled { id, outcome: Outcome::NotSent, detail: None }, now),
        Answer::Accepted | Answer::NoSuchSession | Answer::Refused(_) => Ok((end(db, id, now, Duration::ZERO)?, None)),
        Answer::Unanswered(_) => Ok((ChargeChange::None, None)),
    }
}

/// Writes the outcome, if there is none yet, and returns its journal entry.
pub(super) fn settle(
    db: &Connection,
    settled: &Settled,
    now: &Stamp,
) -> rusqlite::Result<(ChargeChange, Option<Entry>)> {
    let sql = "UPDATE intents SET outcome = ?2, outcome_detail = ?3, settled_at = ?4
        WHERE id = ?1 AND outcome IS NULL";
    let id = settled.id;
    let values = params![id.0, settled.outcome.as_str(), settled.detail, now.wall];
    if db.prepare_cached(sql)?.execute(values)? == 0 {
        return Ok((ChargeChange::None, None));
    }
    let change = match settled.outcome {
        Outcome::Gone | Outcome::Survived => end(db, id, now, Duration::ZERO)?,
        Outcome::Unverified => end(db, id, now, UNVERIFIED_IN_FLIGHT)?,
        Outcome::NotSent => take_back(db, id)?,
    };
    Ok((change, outcome_entry(db, settled)?))
}

/// The charge ends after `lag`, unless it has ended before.
fn end(db: &Connection, id: IntentId, now: &Stamp, lag: Duration) -> rusqlite::Result<ChargeChange> {
    let now = now.later(lag);
    let sql = "UPDATE intents SET ended_at = ?2, ended_boot = ?3, ended_uptime = ?4
        WHERE id = ?1 AND ended_at IS NULL AND counting = 1";
    let ended = db.prepare_cached(sql)?.execute(params![id.0, now.wall, &*now.boot, now.uptime])? == 1;
    Ok(if ended { ChargeChange::Ended { lag } } else { ChargeChange::None })
}

/// The charge does not count at all, unless the server has answered the kill: then it did leave.
fn take_back(db: &Connection, id: IntentId) -> rusqlite::Result<ChargeChange> {
    let sql = "UPDATE intents SET counting = 0 WHERE id = ?1 AND ended_at IS NULL AND counting = 1";
    let taken_back = db.prepare_cached(sql)?.execute([id.0])? == 1;
    Ok(if taken_back { ChargeChange::TakenBack } else { ChargeChange::None })
}

fn outcome_entry(db: &Connection, settled: &Settled) -> rusqlite::Result<Option<Entry>> {
    let sql = "SELECT target, node, rule, session, answer, answer_detail FROM intents WHERE id = ?1";
    let entry = |row: &Row<'_>| {
        let session: String = row.get(3)?;
        let answer: (Option<String>, Option<String>) = (row.get(4)?, row.get(5)?);
        let mut entry = Entry::new(EntryKind::Outcome);
        entry.target = Some(row.get(0)?);
        entry.node = Some(row.get(1)?);
        entry.rule = Some(row.get(2)?);
        entry.intent = Some(settled.id.0);
        entry.session = serde_json::from_str(&session).ok();
        entry.outcome = Some(settled.outcome.as_str().to_owned());
        entry.detail = words(answer, settled.detail.as_deref());
        Ok(entry)
    };
    db.prepare_cached(sql)?.query_row([settled.id.0], entry).optional()
}

/// `refused: ERR no; seen again`: the answer, its own words, and the outcome's.
fn words((answer, reason): (Option<String>, Option<String>), detail: Option<&str>) -> Option<String> {
    let answer = match (answer, reason) {
        (Some(answer), Some(reason)) => Some(format!("{answer}: {reason}")),
        (answer, reason) => answer.or(reason),
    };
    match (answer, detail) {
        (Some(answer), Some(detail)) => Some(format!("{answer}; {detail}")),
        (answer, detail) => answer.or_else(|| detail.map(str::to_owned)),
    }
}

const STAMPS: &str = "committed_at, committed_boot, committed_uptime, ended_at, ended_boot, ended_uptime";

/// The two stamps in the columns [`STAMPS`] from `first` on.
fn stamps(row: &Row<'_>, first: usize) -> rusqlite::Result<(Stamp, Option<Stamp>)> {
    let boot = |index: usize| row.get_ref(index).and_then(|value| Ok(Arc::from(value.as_str()?)));
    let committed = Stamp { wall: row.get(first)?, boot: boot(first + 1)?, uptime: row.get(first + 2)? };
    let ended = match row.get::<_, Option<i64>>(first + 3)? {
        Some(wall) => Some(Stamp { wall, boot: boot(first + 4)?, uptime: row.get(first + 5)? }),
        None => None,
    };
    Ok((committed, ended))
}

/// The ledger that the intents amount to.
pub(super) fn replay(db: &Connection, now: &Reading) -> rusqlite::Result<Ledger> {
    let sql = format!("SELECT id, target, node, rule, {STAMPS} FROM intents WHERE counting = 1 ORDER BY id");
    let mut statement = db.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut names = Names::default();
    let mut charges = Vec::new();
    while let Some(row) = rows.next()? {
        let (committed, ended) = stamps(row, 4)?;
        let ended = ended.map(|stamp| now.place(&stamp));
        if ended.is_some_and(|ended| now.steady.since(ended) > HORIZON) {
            continue;
        }
        charges.push(Charge {
            id: IntentId(row.get(0)?),
            target: names.get(row.get_ref(1)?.as_str()?).into(),
            node: names.get(row.get_ref(2)?.as_str()?).into(),
            rule: names.get(row.get_ref(3)?.as_str()?).into(),
            committed: now.place(&committed),
            ended,
        });
    }
    Ok(Ledger::replay(charges))
}

/// Each name once in memory, however many charges carry it.
#[derive(Default)]
struct Names(HashSet<Arc<str>>);

impl Names {
    fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.0.insert(name.clone());
        name
    }
}

/// The intents without an outcome.
pub(super) fn open(db: &Connection, now: &Reading) -> rusqlite::Result<Vec<OpenIntent>> {
    let sql = format!(
        "SELECT id, target, rule, node, run, session_id, answer, {STAMPS} FROM intents
        WHERE counting = 1 AND outcome IS NULL ORDER BY id"
    );
    let mut statement = db.prepare(&sql)?;
    let text = |row: &Row<'_>, index: usize| row.get::<_, String>(index);
    let rows = statement.query_map([], |row| {
        let (committed, _) = stamps(row, 7)?;
        Ok(OpenIntent {
            id: IntentId(row.get(0)?),
            target: text(row, 1)?.into(),
            rule: text(row, 2)?.into(),
            key: SessionKey { node: text(row, 3)?.into(), run: text(row, 4)?.into(), id: row.get(5)? },
            committed: now.place(&committed),
            answer: row.get(6)?,
        })
    })?;
    rows.collect()
}

/// Marks settled intents that have left the ledger's horizon; says how many.
pub(super) fn retire(db: &Connection, now: &Reading, limit: u32) -> rusqlite::Result<usize> {
    let sql = format!(
        "SELECT id, {STAMPS} FROM intents WHERE counting = 1 AND outcome IS NOT NULL ORDER BY id LIMIT {limit}"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, stamps(row, 1)?)))?;
    let mut retired = 0;
    for row in rows {
        let (id, (_, ended)) = row?;
        if ended.is_some_and(|stamp| now.steady.since(now.place(&stamp)) > HORIZON) {
            retired += db.prepare_cached("UPDATE intents SET counting = 0 WHERE id = ?1")?.execute([id])?;
        }
    }
    Ok(retired)
}

/// Drops intents that were settled before `cutoff` and do not count any more; says how many. Only the oldest `limit`
/// rows are looked at, so that a round costs the same however many there are.
pub(super) fn drop_old(db: &Connection, cutoff: i64, limit: u32) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM intents WHERE id IN (
            SELECT id FROM (SELECT id, counting, settled_at FROM intents ORDER BY id LIMIT ?2) AS oldest
            WHERE counting = 0 AND settled_at < ?1
        ) AND id < (SELECT max(id) FROM intents)";
    db.prepare_cached(sql)?.execute(params![cutoff, limit])
}
