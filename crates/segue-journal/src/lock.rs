//! Who may write a run: the lock on its `run.lock`, held for an engine's life.
//!
//! The lock belongs to the open file, is gone with its holder however that dies, and is not
//! inherited over `exec`. The process id in the file is for people only.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use segue_core::RunId;

use crate::disk::{self, IoError};
use crate::ofd::{self, Range};

/// Why a run could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another engine has it.
    #[error("run `{run}` is locked by {}", holder(*pid))]
    Busy {
        /// The run.
        run: RunId,
        /// Its holder's process id, if it wrote one.
        pid: Option<u32>,
    },
    /// There is no such run.
    #[error("there is no run `{run}`")]
    NoSuchRun {
        /// The run.
        run: RunId,
    },
    /// A file could not be used.
    #[error(transparent)]
    Io(#[from] IoError),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// The right to write a run's journal; given back on drop.
#[derive(Debug)]
pub struct RunLock {
    dir: PathBuf,
    _file: File,
}

impl RunLock {
    /// The run's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes the lock of the run in `dir`, without waiting.
    pub(crate) fn take(dir: &Path, run: &RunId) -> Result<Self, LockError> {
        if !dir.is_dir() {
            return Err(LockError::NoSuchRun { run: run.clone() });
        }
        let path = dir.join("run.lock");
        let mut file = disk::private().open(&path).map_err(IoError::at("open", &path))?;
        if !ofd::try_lock(&file).map_err(IoError::at("lock", &path))? {
            let mut text = String::new();
            // Who it is only helps; not knowing is no failure.
            let _ = file.read_to_string(&mut text);
            return Err(LockError::Busy { run: run.clone(), pid: text.trim().parse().ok() });
        }
        // On a full disk a lock without its holder's name is as good.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { dir: dir.to_owned(), _file: file })
    }
}

/// Whether anyone holds the lock on `range` of the file at `path`; `false` if there is none.
pub(crate) fn is_held(path: &Path, range: Range) -> Result<bool, IoError> {
    match File::open(path) {
        Ok(file) => ofd::is_locked(&file, range).map_err(IoError::at("probe the lock of", path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(IoError::at("open", path)(error)),
    }
}
