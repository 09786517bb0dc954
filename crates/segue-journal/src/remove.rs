//! Removing runs: never one that is live, and never half of one.
//!
//! A run's folder loses its name first, under the run's lock, so that a removal that is killed
//! leaves no run without some of its files; what it left is removed with the next one.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use segue_core::RunId;

use crate::disk::{self, IoError};
use crate::lock::{self, LockError};
use crate::ofd::Range;
use crate::{Index, IndexError, Store};

/// What the name of a run's folder begins with once the run is gone.
const GONE_PREFIX: &str = ".gone-";

/// Why a run was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// An engine has it, or there is no such run.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It has no engine, but attempts of it go on, or are being started.
    #[error("run `{run}` has attempts that go on without an engine")]
    Live {
        /// The run.
        run: RunId,
    },
    /// A file could not be used.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The index could not be told; the run is gone.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl Store {
    /// Whether anything of a run may still be at work: an engine, a supervisor or a keeper. In
    /// doubt it is.
    #[must_use]
    pub fn is_live(&self, run: &RunId) -> bool {
        let dir = self.run_dir(run);
        let held = |name: &&str| lock::is_held(&dir.join(name), Range::Whole).unwrap_or(true);
        ["run.lock", "starts.lock", "attempts.jsonl"].iter().any(held)
    }

    /// How much disk a run's folder takes, in bytes; what cannot be read counts as nothing.
    #[must_use]
    pub fn bytes_of(&self, run: &RunId) -> u64 {
        bytes_below(&self.run_dir(run))
    }

    /// Removes a run's folder and gives back how much disk it took. What its statistics say stays.
    ///
    /// # Errors
    /// [`RemoveError`]. Except for [`RemoveError::Index`], the run is then as it was, or hidden
    /// and removed by the next call.
    pub fn remove_run(&self, index: &mut Index, run: &RunId) -> Result<u64, RemoveError> {
        self.remove_gone()?;
        let dir = self.run_dir(run);
        let lock = self.lock_run(run)?;
        let held = |name| lock::is_held(&dir.join(name), Range::Whole).unwrap_or(true);
        if held("starts.lock") || held("attempts.jsonl") {
            return Err(RemoveError::Live { run: run.clone() });
        }
        let bytes = bytes_below(&dir);
        let gone = self.runs_dir().join(format!("{GONE_PREFIX}{run}"));
        fs::rename(&dir, &gone).map_err(IoError::at("remove", &dir))?;
        disk::sync_dir(&self.runs_dir())?;
        drop(lock);
        fs::remove_dir_all(&gone).map_err(IoError::at("remove", &gone))?;
        index.forget_run(run)?;
        Ok(bytes)
    }

    /// Removes what a removal that was killed has left.
    fn remove_gone(&self) -> Result<(), IoError> {
        let runs = self.runs_dir();
        let entries = fs::read_dir(&runs).map_err(IoError::at("read", &runs))?;
        let is_gone = |path: &PathBuf| {
            let name = path.file_name().and_then(OsStr::to_str);
            name.is_some_and(|name| name.starts_with(GONE_PREFIX))
        };
        for path in entries.flatten().map(|entry| entry.path()).filter(is_gone) {
            fs::remove_dir_all(&path).map_err(IoError::at("remove", &path))?;
        }
        Ok(())
    }
}

fn bytes_below(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.path().symlink_metadata() else { continue };
            if meta.is_dir() {
                open.push(entry.path());
            }
            // As `du` counts it.
            bytes += meta.blocks() * 512;
        }
    }
    bytes
}
