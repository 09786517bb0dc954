//! The runs a supervisor holds open, each by the lock on its `starts.lock`.
//!
//! The lock says: there may be starts that no record shows yet. It is let go when the run is closed
//! and every start that was handed out is recorded. The file names its holder, for an adopter that
//! loses patience.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sys::{self, Region};
use crate::{records, tree};

/// Who holds a `starts.lock`: the content of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    pub(crate) started_ticks: u64,
    pub(crate) boot: String,
}

impl Holder {
    /// This process.
    fn own() -> Self {
        let pid = std::process::id();
        let started_ticks = tree::stat_of(pid).map_or(0, |stat| stat.started_ticks);
        Self { pid, started_ticks, boot: records::boot_id() }
    }

    /// Whether that very process still lives.
    pub(crate) fn is_alive(&self) -> bool {
        let stat = tree::stat_of(self.pid);
        self.boot == records::boot_id()
            && stat.is_some_and(|s| s.started_ticks == self.started_ticks && !s.is_zombie)
    }
}

#[derive(Debug)]
struct Run {
    lock: File,
    /// Starts handed to keepers and not yet recorded.
    unrecorded: usize,
    is_closing: bool,
}

#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: HashMap<PathBuf, Run>,
}

/// Opens a run's `starts.lock`, making it if it is missing.
pub(crate) fn open_starts_lock(run_dir: &Path) -> io::Result<File> {
    let path = run_dir.join("starts.lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

impl Runs {
    /// Takes the run's lock; the error is for a person.
    pub(super) fn open(&mut self, run_dir: &Path) -> Result<(), String> {
        if let Some(run) = self.runs.get_mut(run_dir) {
            run.is_closing = false;
            return Ok(());
        }
        let take = || -> io::Result<Option<File>> {
            let lock = open_starts_lock(run_dir)?;
            if !sys::try_lock(&lock, Region::Whole)? {
                return Ok(None);
            }
            let holder = serde_json::to_vec(&Holder::own())?;
            lock.set_len(0)?;
            lock.write_all_at(&holder, 0)?;
            Ok(Some(lock))
        };
        match take() {
            Ok(Some(lock)) => {
                let run = Run { lock, unrecorded: 0, is_closing: false };
                self.runs.insert(run_dir.to_owned(), run);
                Ok(())
            }
            Ok(None) => Err("another supervisor or engine holds its starts.lock".to_owned()),
            Err(error) => Err(format!("failed to take its starts.lock: {error}")),
        }
    }

    pub(super) fn is_open(&self, run_dir: &Path) -> bool {
        self.runs.get(run_dir).is_some_and(|run| !run.is_closing)
    }

    /// A start was handed to a keeper.
    pub(super) fn await_record(&mut self, run_dir: &Path) {
        if let Some(run) = self.runs.get_mut(run_dir) {
            run.unrecorded += 1;
        }
    }

    /// A start was recorded, or never will be.
    pub(super) fn recorded(&mut self, run_dir: &Path) {
        if let Some(run) = self.runs.get_mut(run_dir) {
            run.unrecorded = run.unrecorded.saturating_sub(1);
        }
        self.let_go();
    }

    pub(super) fn close(&mut self, run_dir: &Path) {
        if let Some(run) = self.runs.get_mut(run_dir) {
            run.is_closing = true;
        }
        self.let_go();
    }

    pub(super) fn close_all(&mut self) {
        for run in self.runs.values_mut() {
            run.is_closing = true;
        }
        self.let_go();
    }

    fn let_go(&mut self) {
        self.runs.retain(|_, run| {
            let is_held = !run.is_closing || run.unrecorded > 0;
            if !is_held {
                // Emptied first: an adopter that finds a name waits for that process's death.
                let _ = run.lock.set_len(0);
                let _ = sys::unlock(&run.lock, Region::Whole);
            }
            is_held
        });
    }
}
