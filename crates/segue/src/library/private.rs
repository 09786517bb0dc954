//! Private stores: temporary folders that go with their strategies.
//!
//! A caller that is killed cannot remove its own; whoever makes the next one does. A lock that
//! ends with its process tells which are left over.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::StrategyError;

/// What their names begin with.
const PREFIX: &str = "segue-private-";

/// The name of the lock in each.
const LOCK: &str = "owner.lock";

/// How long one without an owner is left alone: it may be about to be locked, and its processes
/// have to end first.
const LEFT_ALONE: Duration = Duration::from_secs(120);

/// A private store's folder; removed when it is dropped.
#[derive(Debug)]
pub(super) struct PrivateFolder {
    folder: tempfile::TempDir,
    /// Held as long as the folder is used.
    _lock: File,
}

impl PrivateFolder {
    /// Makes one, and removes those that killed callers have left.
    pub(super) fn make() -> Result<Self, StrategyError> {
        let above = std::env::temp_dir();
        remove_left_over(&above, LEFT_ALONE);
        let failed = |path: &Path, source| StrategyError::Folder {
            what: "failed to make a private store in",
            path: path.to_owned(),
            source,
        };
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&above);
        let folder = folder.map_err(|error| failed(&above, error))?;
        let lock = File::create(folder.path().join(LOCK));
        let lock = lock.map_err(|error| failed(folder.path(), error))?;
        lock.lock().map_err(|error| failed(folder.path(), error))?;
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes what has no owner. That something cannot be looked at or removed is not this caller's
/// matter: it may be another user's.
fn remove_left_over(above: &Path, left_alone: Duration) {
    let entries = std::fs::read_dir(above).into_iter().flatten().flatten();
    let ours = |entry: &std::fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
    };
    let folders: Vec<PathBuf> = entries.filter(ours).map(|entry| entry.path()).collect();
    for folder in folders {
        let Ok(lock) = File::open(folder.join(LOCK)) else { continue };
        let age = lock.metadata().and_then(|meta| meta.modified()).ok();
        let is_old = age.and_then(|at| at.elapsed().ok()).is_some_and(|age| age >= left_alone);
        if is_old && lock.try_lock().is_ok() {
            let _ = std::fs::remove_dir_all(&folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_no_owner_is_removed() {
        let above = tempfile::tempdir().expect("a folder");
        let make = |name: &str| {
            let folder = above.path().join(name);
            std::fs::create_dir(&folder).expect("a folder");
            File::create(folder.join(LOCK)).expect("a lock")
        };
        let owned = make("segue-private-owned");
        owned.lock().expect("free");
        drop(make("segue-private-left"));
        drop(make("other"));
        remove_left_over(above.path(), LEFT_ALONE);
        assert_eq!(std::fs::read_dir(above.path()).expect("it").count(), 3);
        remove_left_over(above.path(), Duration::ZERO);
        assert!(!above.path().join("segue-private-left").exists());
        assert_eq!(std::fs::read_dir(above.path()).expect("it").count(), 2);
    }
}
