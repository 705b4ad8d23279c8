//! The journal: what was done, in a chain of hashes.
//!
//! `hash` is the hex of sha256(the hash before ‖ the stored text), both as text; the first entry follows the empty
//! text. With one `sha256sum` a stranger can check any link. The chain detects corruption and careless edits; it
//! does not stop a forger, who can compute it anew. Retention drops the oldest entries and keeps the number and hash
//! of the last one dropped, the anchor, so that the rest can still be checked.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::schema;
use crate::clock::{UnixMillis, rfc3339};
use crate::view::journal::Entry;

pub use super::reader::{Broken, Filter, Reader, Verified, VerifyError};

/// The stored text: an entry with its number and time.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Numbered<E> {
    pub(super) seq: i64,
    pub(super) at: String,
    #[serde(flatten)]
    pub(super) entry: E,
}

/// The end of the chain: what the next entry follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) seq: i64,
    pub(super) hash: String,
}

impl Chain {
    /// The last entry's end; the anchor's when there is no entry.
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let last = "SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1";
        let last = db.query_row(last, [], |row| Ok(Self { seq: row.get(0)?, hash: row.get(1)? })).optional()?;
        last.map_or_else(|| Self::anchor(db), Ok)
    }

    /// What the oldest entry follows.
    pub(super) fn anchor(db: &Connection) -> rusqlite::Result<Self> {
        let seq = schema::get(db, "journal_anchor_seq")?.and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Self { seq, hash: schema::get(db, "journal_anchor_hash")?.unwrap_or_default() })
    }

    /// Makes this end the anchor.
    pub(super) fn set_anchor(&self, db: &Connection) -> rusqlite::Result<()> {
        schema::set(db, "journal_anchor_seq", &self.seq.to_string())?;
        schema::set(db, "journal_anchor_hash", &self.hash)
    }

    /// The end of the chain after one more text.
    pub(super) fn next(&self, text: &str) -> Self {
        let hash = Sha256::new().chain_update(&self.hash).chain_update(text).finalize();
        Self { seq: self.seq + 1, hash: hex::encode(hash) }
    }

    /// Writes an entry and moves on to it.
    pub(super) fn append(&mut self, db: &Connection, at: UnixMillis, entry: &Entry) -> rusqlite::Result<()> {
        let numbered = Numbered { seq: self.seq + 1, at: rfc3339(at), entry };
        let text = to_json(&numbered)?;
        let next = self.next(&text);
        let sql = "INSERT INTO journal (seq, at, kind, target, rule, text, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let values = params![next.seq, at, entry.kind.as_str(), entry.target, entry.rule, text, next.hash];
        db.prepare_cached(sql)?.execute(values)?;
        *self = next;
        Ok(())
    }
}

/// JSON for a column.
pub(super) fn to_json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::journal::EntryKind;

    #[test]
    fn a_link_is_what_sha256sum_says() {
        let first = Chain { seq: 0, hash: String::new() }.next("abc");
        assert_eq!(first.hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(first.seq, 1);
    }

    #[test]
    fn a_stored_text_reads_back() {
        let mut entry = Entry::new(EntryKind::Evaluation);
        entry.target = Some("orders".to_owned());
        entry.counts.insert("budget".to_owned(), 3);
        let text = to_json(&Numbered { seq: 7, at: rfc3339(5), entry: &entry }).unwrap();
        assert_eq!(
            text,
            r#"{"seq":7,"at":"1970-01-01T00:00:00.005Z","kind":"evaluation","target":"orders","counts":{"budget":3}}"#
        );
        let back: Numbered<Entry> = serde_json::from_str(&text).unwrap();
        assert_eq!(back.entry, entry);
    }
}
