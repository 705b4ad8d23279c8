//! Received alerts: a state per fingerprint, not a stream of events.
//!
//! A repeat refreshes the state. Firing when it did not fire before is a new activation, and counts up; resolved
//! never counts.

use rusqlite::{Connection, Row, params};

use super::AlertRow;
use super::journal::to_json;
use crate::clock::UnixMillis;
use crate::policy::matcher::Labels;
use crate::policy::names::TargetName;

/// An alert as the webhook delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedAlert {
    /// Alertmanager's fingerprint of the labels.
    pub fingerprint: String,
    /// Whether it fires; otherwise it is resolved.
    pub firing: bool,
    /// Its labels.
    pub labels: Labels,
    /// The target that the labels name.
    pub target: TargetName,
}

/// Takes over the state of an alert.
pub(super) fn receive(db: &Connection, alert: &ReceivedAlert, at: UnixMillis) -> rusqlite::Result<()> {
    let sql = "INSERT INTO alerts (fingerprint, firing, labels, target, received, activation)
        VALUES (?1, ?2, ?3, ?4, ?5, ?2)
        ON CONFLICT (fingerprint) DO UPDATE SET
            activation = alerts.activation
                + CASE WHEN excluded.firing = 1 AND alerts.firing = 0 THEN 1 ELSE 0 END,
            firing = excluded.firing,
            labels = excluded.labels,
            target = excluded.target,
            received = excluded.received";
    let firing = i64::from(alert.firing);
    let labels = to_json(&alert.labels)?;
    let values = params![alert.fingerprint, firing, labels, alert.target.as_str(), at];
    db.prepare_cached(sql)?.execute(values).map(drop)
}

/// Ends an alert, unless it was delivered again since `row` was read.
pub(super) fn resolve(db: &Connection, row: &AlertRow) -> rusqlite::Result<()> {
    let sql = "UPDATE alerts SET firing = 0 WHERE fingerprint = ?1 AND received = ?2";
    db.prepare_cached(sql)?.execute(params![row.fingerprint, row.received]).map(drop)
}

/// The alerts that fire.
pub(super) fn active(db: &Connection) -> rusqlite::Result<Vec<AlertRow>> {
    let sql = "SELECT fingerprint, labels, target, received, activation FROM alerts WHERE firing = 1
        ORDER BY fingerprint";
    db.prepare(sql)?.query_map([], row)?.collect()
}

fn row(row: &Row<'_>) -> rusqlite::Result<AlertRow> {
    let labels = serde_json::from_str(row.get_ref(1)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, error.into()))?;
    Ok(AlertRow {
        fingerprint: row.get(0)?,
        firing: true,
        labels,
        target: row.get::<_, String>(2)?.into(),
        received: row.get(3)?,
        activation: row.get(4)?,
    })
}

/// Drops alerts that were resolved before `cutoff`; says how many.
pub(super) fn drop_old(db: &Connection, cutoff: UnixMillis, limit: u32) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM alerts WHERE fingerprint IN
        (SELECT fingerprint FROM alerts WHERE firing = 0 AND received < ?1 LIMIT ?2)";
    db.prepare_cached(sql)?.execute(params![cutoff, limit])
}
