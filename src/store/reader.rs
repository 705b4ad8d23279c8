//! Reading and checking the journal, beside a running daemon or without one.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::error::StoreError;
use super::journal::{Chain, Numbered};
use super::schema;
use crate::clock::UnixMillis;
use crate::view::journal::{Entry, EntryKind, Recorded};

/// Which entries are asked for; everything without a condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this target.
    pub target: Option<String>,
    /// Of this rule.
    pub rule: Option<String>,
    /// Of this kind.
    pub kind: Option<EntryKind>,
    /// Written at this wall time or later.
    pub since: Option<UnixMillis>,
    /// With a higher number than this one: with `limit`, the way to page.
    pub after_seq: Option<i64>,
    /// At most this many.
    pub limit: Option<usize>,
    /// When `limit` bites: the newest instead of the oldest. The answer is oldest first either way.
    pub newest: bool,
}

/// What a whole journal comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many entries there are.
    pub entries: u64,
    /// The number of the oldest; what was before it fell to retention.
    pub first_seq: i64,
    /// The hash of the newest.
    pub last_hash: String,
}

/// The first entry that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal is broken at entry {seq}: {what}")]
pub struct Broken {
    /// Its number.
    pub seq: i64,
    /// What is wrong with it.
    pub what: String,
}

/// Why a journal could not be verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is not as it was written.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// It could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A read-only view of the journal.
#[derive(Debug)]
pub struct Reader {
    db: Connection,
    file: PathBuf,
}

impl Reader {
    /// Opens the journal in a storage folder.
    ///
    /// # Errors
    /// [`StoreError`] when there is none, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = schema::file(path);
        Ok(Self { db: schema::open_read_only(&file)?, file })
    }

    /// The entries that the filter asks for, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read, or holds an entry that is no journal entry.
    pub fn query(&self, filter: &Filter) -> Result<Vec<Recorded>, StoreError> {
        let (sql, values) = select(filter);
        let refuse = |error: rusqlite::Error| StoreError::read(&self.file, &error);
        let mut statement = self.db.prepare(&sql).map_err(refuse)?;
        let mut rows = statement.query(params_from_iter(values)).map_err(refuse)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(refuse)? {
            found.push(self.recorded(row)?);
        }
        if filter.newest {
            found.reverse();
        }
        Ok(found)
    }

    fn recorded(&self, row: &Row<'_>) -> Result<Recorded, StoreError> {
        let refuse = |error: rusqlite::Error| StoreError::read(&self.file, &error);
        let (seq, text, hash) = (row.get::<_, i64>(0).map_err(refuse)?, row.get_ref(1), row.get(2).map_err(refuse)?);
        let text = text.map_err(refuse)?.as_str().map_err(|error| refuse(error.into()))?;
        let stored: Numbered<Entry> = serde_json::from_str(text).map_err(|error| StoreError::Corrupt {
            path: self.file.clone(),
            message: format!("journal entry {seq}: {error}"),
        })?;
        Ok(Recorded { seq: stored.seq, at: stored.at, entry: stored.entry, hash })
    }

    /// Computes the whole chain anew, and compares every column with the text.
    ///
    /// # Errors
    /// [`VerifyError::Broken`] at the first entry that is not as it was written.
    pub fn verify(&self) -> Result<Verified, VerifyError> {
        let refuse = |error: rusqlite::Error| StoreError::read(&self.file, &error);
        // One transaction, so that the anchor and the entries are of one moment while a daemon goes on.
        let view = self.db.unchecked_transaction().map_err(refuse)?;
        let mut chain = Chain::anchor(&view).map_err(refuse)?;
        let first_seq = chain.seq + 1;
        let columns = "SELECT seq, at, kind, target, rule, text, hash FROM journal ORDER BY seq";
        let mut statement = view.prepare(columns).map_err(refuse)?;
        let mut rows = statement.query([]).map_err(refuse)?;
        while let Some(row) = rows.next().map_err(refuse)? {
            let row = Stored::read(row).map_err(refuse)?;
            chain = row.follows(&chain)?;
        }
        let entries = u64::try_from(chain.seq + 1 - first_seq).unwrap_or(0);
        Ok(Verified { entries, first_seq, last_hash: chain.hash })
    }
}

/// The query for a filter. The conditions are written only where they are asked for, so that indexes can be used.
fn select(filter: &Filter) -> (String, Vec<Value>) {
    let mut conditions = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut condition = |text: &'static str, value: Option<Value>| {
        if let Some(value) = value {
            conditions.push(text);
            values.push(value);
        }
    };
    condition("target = ?", filter.target.clone().map(Value::from));
    condition("rule = ?", filter.rule.clone().map(Value::from));
    condition("kind = ?", filter.kind.map(|kind| Value::from(kind.as_str().to_owned())));
    condition("at >= ?", filter.since.map(Value::from));
    // Numbers and times grow together, if no clock is set back: the search by time begins at a number. The plus makes
    // SQLite look for it by time, too.
    condition("seq >= (SELECT min(+seq) FROM journal WHERE at >= ?)", filter.since.map(Value::from));
    condition("seq > ?", filter.after_seq.map(Value::from));
    let mut sql = "SELECT seq, text, hash FROM journal".to_owned();
    if !conditions.is_empty() {
        sql.push_str(" WHERE ");
        sql.push_str(&conditions.join(" AND "));
    }
    sql.push_str(if filter.newest { " ORDER BY seq DESC" } else { " ORDER BY seq" });
    if let Some(limit) = filter.limit {
        sql.push_str(&format!(" LIMIT {limit}"));
    }
    (sql, values)
}

/// A row as it stands.
struct Stored {
    seq: i64,
    at: i64,
    kind: String,
    target: Option<String>,
    rule: Option<String>,
    text: String,
    hash: String,
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            at: row.get(1)?,
            kind: row.get(2)?,
            target: row.get(3)?,
            rule: row.get(4)?,
            text: row.get(5)?,
            hash: row.get(6)?,
        })
    }

    /// The end of the chain after this row, when it is what was written after `chain`.
    fn follows(&self, chain: &Chain) -> Result<Chain, Broken> {
        let expected = chain.seq + 1;
        let broken = |seq, what: String| Err(Broken { seq, what });
        if self.seq != expected {
            return broken(expected, format!("it is missing; the next one there is {}", self.seq));
        }
        let next = chain.next(&self.text);
        if next.hash != self.hash {
            return broken(self.seq, "its hash does not follow from its text and the hash before it".to_owned());
        }
        let stored: Numbered<Entry> = match serde_json::from_str(&self.text) {
            Ok(stored) => stored,
            Err(error) => return broken(self.seq, format!("its text is no journal entry: {error}")),
        };
        let at = stored.at.parse::<Timestamp>().map(Timestamp::as_millisecond).ok();
        let differs = [
            ("seq", stored.seq != self.seq),
            ("at", at != Some(self.at)),
            ("kind", stored.entry.kind.as_str() != self.kind),
            ("target", stored.entry.target != self.target),
            ("rule", stored.entry.rule != self.rule),
        ];
        match differs.iter().find(|(_, differs)| *differs) {
            Some((column, _)) => broken(self.seq, format!("its column `{column}` does not say what its text says")),
            None => Ok(next),
        }
    }
}
