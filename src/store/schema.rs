//! The tables, and the version they have.
//!
//! The SQL is portable on purpose (integers and texts; times are unix milliseconds): the same tables are to serve a
//! shared database one day.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::error::StoreError;

/// The schema that this version writes, and the newest that it reads.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
-- One row an intent. `committed_*` and `ended_*` are stamps: wall time, boot id and uptime, so that a restarted daemon
-- knows how long ago they were whatever the wall clock did. `counting` is 1 while the ledger may still need the row.
CREATE TABLE intents (
    id               INTEGER PRIMARY KEY,
    target           TEXT NOT NULL,
    node             TEXT NOT NULL,
    run              TEXT NOT NULL,
    session_id       BIGINT NOT NULL,
    peer             TEXT,
    rule             TEXT NOT NULL,
    session          TEXT NOT NULL,
    committed_at     BIGINT NOT NULL,
    committed_boot   TEXT NOT NULL,
    committed_uptime BIGINT NOT NULL,
    answer           TEXT,
    answer_detail    TEXT,
    answered_at      BIGINT,
    ended_at         BIGINT,
    ended_boot       TEXT,
    ended_uptime     BIGINT,
    outcome          TEXT,
    outcome_detail   TEXT,
    settled_at       BIGINT,
    counting         BIGINT NOT NULL
);
CREATE INDEX intents_counting ON intents (id) WHERE counting = 1;
-- `text` is the record; the columns before it repeat parts of it to search by.
CREATE TABLE journal (
    seq    INTEGER PRIMARY KEY,
    at     BIGINT NOT NULL,
    kind   TEXT NOT NULL,
    target TEXT,
    rule   TEXT,
    text   TEXT NOT NULL,
    hash   TEXT NOT NULL
);
CREATE INDEX journal_at ON journal (at);
CREATE INDEX journal_target ON journal (target, seq);
CREATE TABLE alerts (
    fingerprint TEXT PRIMARY KEY,
    firing      BIGINT NOT NULL,
    labels      TEXT NOT NULL,
    target      TEXT NOT NULL,
    received    BIGINT NOT NULL,
    activation  BIGINT NOT NULL
);
-- The empty target is everything.
CREATE TABLE pauses (
    target TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    until  BIGINT,
    at     BIGINT NOT NULL
);
";

/// The database file in the folder `path`.
pub(super) fn file(path: &Path) -> PathBuf {
    path.join("reaperd.db")
}

/// Opens the database for its one writer, and makes the tables if there are none.
pub(super) fn open(file: &Path) -> Result<Connection, StoreError> {
    let refuse = |error: rusqlite::Error| StoreError::open(file, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(file, flags).map_err(refuse)?;
    db.busy_timeout(Duration::from_secs(5)).map_err(refuse)?;
    db.set_prepared_statement_cache_capacity(64);
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(refuse)?;
    if mode != "wal" {
        let message = format!("its journal mode stays `{mode}`: put it on a local disk that supports shared memory");
        return Err(StoreError::Open { path: file.into(), message });
    }
    // A commit is on the platter before anybody is told of it.
    db.pragma_update(None, "synchronous", "FULL").map_err(refuse)?;
    db.pragma_update(None, "journal_size_limit", 64 << 20).map_err(refuse)?;
    // Whoever writes the last of so many pages waits until they are copied: with SQLite's 1000 that is every large kill.
    db.pragma_update(None, "wal_autocheckpoint", 4096).map_err(refuse)?;
    match version(&db).map_err(refuse)? {
        Some(found) => check(file, found)?,
        None => create(&mut db).map_err(refuse)?,
    }
    Ok(db)
}

/// Opens the database to read what is committed, whether or not a daemon writes it meanwhile.
pub(super) fn open_read_only(file: &Path) -> Result<Connection, StoreError> {
    let refuse = |error: rusqlite::Error| StoreError::open(file, &error);
    if !file.exists() {
        let message = "there is no such file: is this the storage path of the daemon, and did it ever run?".to_owned();
        return Err(StoreError::Open { path: file.into(), message });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags).map_err(refuse)?;
    db.busy_timeout(Duration::from_secs(5)).map_err(refuse)?;
    match version(&db).map_err(refuse)? {
        Some(found) => check(file, found)?,
        None => {
            let message = "it has no tables: the daemon has not finished its first start".to_owned();
            return Err(StoreError::Open { path: file.into(), message });
        }
    }
    Ok(db)
}

fn check(file: &Path, found: i64) -> Result<(), StoreError> {
    if found > VERSION {
        return Err(StoreError::Newer { path: file.into(), found, known: VERSION });
    }
    Ok(())
}

fn create(db: &mut Connection) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    transaction.execute_batch(TABLES)?;
    set(&transaction, "schema_version", &VERSION.to_string())?;
    transaction.commit()
}

/// The schema's version; `None` in an empty database.
fn version(db: &Connection) -> rusqlite::Result<Option<i64>> {
    let tables = "SELECT count(*), coalesce(sum(name = 'meta'), 0) FROM sqlite_master WHERE type = 'table'";
    let (tables, meta): (i64, i64) = db.query_row(tables, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if tables == 0 {
        return Ok(None);
    }
    let found = if meta == 1 { get(db, "schema_version")? } else { None };
    let foreign = || {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
        rusqlite::Error::SqliteFailure(code, Some("it holds the tables of another program".to_owned()))
    };
    found.and_then(|text| text.parse().ok()).ok_or_else(foreign).map(Some)
}

/// A value of `meta`.
pub(super) fn get(db: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    db.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()
}

/// Sets a value of `meta`.
pub(super) fn set(db: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    db.prepare_cached(sql)?.execute(params![key, value]).map(drop)
}
