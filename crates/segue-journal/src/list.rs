//! The runs of a store as people see them, one unreadable run never hiding the others.
//!
//! A run's journal is the truth. The index spares reading it as long as the journal is as
//! long and as old as when the index was told of it; without an index everything is read.

use std::collections::HashMap;

use segue_core::{RunId, RunStatus};

use crate::disk::IoError;
use crate::index::{self, Stamp};
use crate::summary::RunSummary;
use crate::{JournalError, Store, reading};

/// One run of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEntry {
    /// Its id.
    pub run: RunId,
    /// What is known of it; `None` if it has not begun or cannot be read. Its status is
    /// `interrupted` where the journal does not end and no engine holds the run.
    pub summary: Option<RunSummary>,
    /// Why it cannot be read, in one line that names the file.
    pub problem: Option<String>,
}

impl Store {
    /// All runs, newest first. A run that cannot be read has a `problem`; one that is about
    /// to begin has neither problem nor summary.
    ///
    /// # Errors
    /// [`IoError`] if the store's own folder cannot be read.
    pub fn list(&self) -> Result<Vec<RunEntry>, IoError> {
        let known = index::known_runs(self);
        Ok(self.run_ids()?.into_iter().map(|run| self.entry(run, &known)).collect())
    }

    /// One run as [`Store::list`] shows it.
    #[must_use]
    pub fn describe(&self, run: &RunId) -> RunEntry {
        self.entry(run.clone(), &HashMap::new())
    }

    fn entry(&self, run: RunId, known: &HashMap<RunId, (Stamp, RunSummary)>) -> RunEntry {
        // The lock first: an engine that ends between the two looks leaves an ended journal.
        let held = self.is_locked(&run).unwrap_or(true);
        let dir = self.run_dir(&run);
        let fresh = known.get(&run).filter(|(stamp, _)| Stamp::of(&dir).as_ref() == Some(stamp));
        let read = match fresh {
            Some((_, summary)) => Ok(Some(summary.clone())),
            None => reading::read(&dir).map(|reading| RunSummary::of(&reading.records)),
        };
        match read {
            Ok(Some(mut summary)) => {
                if summary.status == RunStatus::Running && !held {
                    summary.status = RunStatus::Interrupted;
                }
                RunEntry { run, summary: Some(summary), problem: None }
            }
            Err(JournalError::Empty { .. } | JournalError::Missing { .. }) if held => {
                RunEntry { run, summary: None, problem: None }
            }
            Ok(None) => {
                let problem = format!("journal of `{run}` does not begin with `run_started`");
                RunEntry { run, summary: None, problem: Some(problem) }
            }
            Err(error) => RunEntry { run, summary: None, problem: Some(error.to_string()) },
        }
    }
}
