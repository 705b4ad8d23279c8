//! One daemon a folder: two would each take the budget for their own.
//!
//! The lock is the kernel's, on the open file `lock`, so that it ends with the process however that ends. The file
//! stays, and holds the owner's process id for people to read.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::error::StoreError;

/// The folder is ours while this lives.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Makes the folder, readable by its owner only, if it is not there, and takes it.
    pub(super) fn take(folder: &Path) -> Result<Self, StoreError> {
        if !folder.is_dir() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| StoreError::folder(folder, "making the folder", &error))?;
        }
        let path = folder.join("lock");
        let refuse = |error: std::io::Error| StoreError::folder(&path, "locking the folder", &error);
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(refuse)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path: folder.into(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(refuse(error)),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(refuse)?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough where a child process was started at this moment: it holds a copy until it
        // runs its own program. A lock that cannot be given back ends with the process.
        drop(self.file.unlock());
    }
}

/// Who holds the lock, for the message; a file that cannot be read tells nothing.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!(" (pid {})", text.trim()),
        Ok(_) | Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_is_made_for_its_owner_only_and_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("deep/store");
        let lock = Lock::take(&folder).unwrap();
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let message = Lock::take(&folder).unwrap_err().to_string();
        assert!(message.contains(folder.to_str().unwrap()), "{message}");
        assert!(message.contains(&format!("(pid {})", std::process::id())), "{message}");
        drop(lock);
        Lock::take(&folder).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("store");
        std::fs::write(&folder, "").unwrap();
        let message = Lock::take(&folder).unwrap_err().to_string();
        assert!(message.contains(folder.to_str().unwrap()) && message.contains("in the way"), "{message}");
    }
}
