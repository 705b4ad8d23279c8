//! What the store cannot do, in sentences that say what to do about it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too much waits to be written already; nothing was taken.
    #[error("the store's queue is full: ask again in a moment")]
    Full,
    /// The writer has ended or is about to; nothing was taken.
    #[error("the store is closed: the daemon is stopping, or its writer has ended")]
    Closed,
    /// Another process owns the folder.
    #[error("{} is in use by another reaperd{holder}: stop that one, or give this one a folder of its own", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// ` (pid N)`, where it is known.
        holder: String,
    },
    /// The folder or the database could not be opened.
    #[error("cannot open {}: {message}", path.display())]
    Open {
        /// The folder or file.
        path: PathBuf,
        /// What happened and what to do.
        message: String,
    },
    /// The file is no database, or a damaged one.
    #[error(
        "{} is damaged or is not a reaperd database ({message}): restore it from a backup, or move it away to start \
         anew; without it the journal is lost, and so is the knowledge of what was killed in the last 24 hours",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        message: String,
    },
    /// The file was written by a version that this one does not understand.
    #[error(
        "{} was written by a newer reaperd (schema {found}; this one knows {known}): run that version again",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema of the file.
        found: i64,
        /// The newest schema that is understood.
        known: i64,
    },
    /// Nothing of the job was written.
    #[error("cannot write {}: {message}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What happened and what to do.
        message: String,
    },
    /// The database could not be read.
    #[error("cannot read {}: {message}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened and what to do.
        message: String,
    },
    /// A bug in what was to run inside the commit; nothing of the job was written.
    #[error("deciding for target `{target}` panicked ({message}); nothing of it was recorded")]
    Panicked {
        /// The target.
        target: String,
        /// What the panic said.
        message: String,
    },
}

impl StoreError {
    /// The database at `path` could not be opened.
    pub(super) fn open(path: &Path, error: &rusqlite::Error) -> Self {
        Self::corrupt(path, error).unwrap_or_else(|| Self::Open { path: path.into(), message: explain(error) })
    }

    /// The folder or file at `path` could not be opened.
    pub(super) fn folder(path: &Path, doing: &str, error: &io::Error) -> Self {
        const ADVICE: [(ErrorKind, &str); 6] = [
            (ErrorKind::PermissionDenied, ": give the daemon's user the right to write there"),
            (ErrorKind::ReadOnlyFilesystem, ": mount it for writing, or set another storage path"),
            (ErrorKind::StorageFull, ": free some space there"),
            (ErrorKind::QuotaExceeded, ": free some space there"),
            (ErrorKind::NotADirectory, ": a file is in the way; set another storage path"),
            (ErrorKind::AlreadyExists, ": a file is in the way; set another storage path"),
        ];
        let advice = ADVICE.iter().find(|(kind, _)| *kind == error.kind()).map_or("", |(_, advice)| advice);
        Self::Open { path: path.into(), message: format!("{doing}: {error}{advice}") }
    }

    /// A write to the database at `path` failed.
    pub(super) fn write(path: &Path, error: &rusqlite::Error) -> Self {
        Self::corrupt(path, error).unwrap_or_else(|| Self::Write { path: path.into(), message: explain(error) })
    }

    /// A read of the database at `path` failed.
    pub(super) fn read(path: &Path, error: &rusqlite::Error) -> Self {
        Self::corrupt(path, error).unwrap_or_else(|| Self::Read { path: path.into(), message: explain(error) })
    }

    fn corrupt(path: &Path, error: &rusqlite::Error) -> Option<Self> {
        let corrupt = matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
        corrupt.then(|| Self::Corrupt { path: path.into(), message: error.to_string() })
    }
}

/// SQLite's words, and what to do.
fn explain(error: &rusqlite::Error) -> String {
    const ADVICE: [(ErrorCode, &str); 7] = [
        (ErrorCode::DiskFull, "the disk is full: free some space there"),
        (ErrorCode::ReadOnly, "it cannot be written: check its owner and mode, and that the disk is not read-only"),
        (ErrorCode::PermissionDenied, "give the daemon's user the right to read and write it and its folder"),
        (ErrorCode::CannotOpen, "check that the folder exists and that this user may read and write in it"),
        (ErrorCode::DatabaseBusy, "another program holds it locked: close other programs that have it open"),
        (ErrorCode::SystemIoFailure, "the disk failed: see the kernel's log"),
        (ErrorCode::FileLockingProtocolFailed, "its file system does not lock properly: put it on a local disk"),
    ];
    let advice = error.sqlite_error_code().and_then(|code| ADVICE.iter().find(|(known, _)| *known == code));
    advice.map_or_else(|| error.to_string(), |(_, advice)| format!("{error}; {advice}"))
}
