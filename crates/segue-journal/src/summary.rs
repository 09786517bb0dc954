//! A run in a few words, folded from its events: what lists show and the index keeps.
//!
//! It counts; what an event means for a task is the core's affair. It opens no file.

use std::collections::{BTreeMap, HashMap};

use segue_core::{
    Event, Failure, Recorded, RunId, RunStatus, Seq, TaskId, TaskStatus, Timestamp, Usd, Value,
};
use serde::{Deserialize, Serialize};

/// A run in a few words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// Its workflow's name.
    pub workflow: String,
    /// How it stands. A journal says `running` until the run ends; [`Store::list`] turns
    /// that into `interrupted` where no engine holds the run.
    ///
    /// [`Store::list`]: crate::Store::list
    pub status: RunStatus,
    /// When it first started.
    pub started_at: Timestamp,
    /// When it last ended; `None` while it is under way.
    pub ended_at: Option<Timestamp>,
    /// Its parameters as given.
    pub params: BTreeMap<String, Value>,
    /// Tasks that have ended, by status.
    pub tasks: TaskCounts,
    /// Attempts that got a slot.
    pub attempts: u32,
    /// Retries, feedback rounds included.
    pub retries: u32,
    /// How often it was resumed.
    pub resumes: u32,
    /// What its attempts cost; `None` if none of them told.
    pub cost: Option<Usd>,
    /// The first root cause, for a run that failed.
    pub failure: Option<Failure>,
    /// The number of its last event.
    pub last_seq: Seq,
}

/// How many tasks have ended in each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskCounts {
    /// Done, with evidence.
    pub succeeded: u32,
    /// Out of tries.
    pub failed: u32,
    /// Decided against.
    pub skipped: u32,
    /// Could not run.
    pub blocked: u32,
    /// Ended on request.
    pub cancelled: u32,
}

impl RunSummary {
    /// The summary of a whole journal; `None` unless it begins with `run_started`.
    #[must_use]
    pub fn of(records: &[Recorded]) -> Option<Self> {
        let mut summarizer = Summarizer::default();
        records.iter().for_each(|recorded| summarizer.apply(recorded));
        summarizer.summary()
    }
}

/// Folds events into a [`RunSummary`], one by one, as an engine records them.
#[derive(Clone, Debug, Default)]
pub struct Summarizer {
    summary: Option<RunSummary>,
    ended: HashMap<TaskId, TaskStatus>,
}

impl Summarizer {
    /// Takes in the next event.
    pub fn apply(&mut self, recorded: &Recorded) {
        let Recorded { seq, at, event } = recorded;
        if let Event::RunStarted { run, workflow, request, .. } = event {
            self.summary = Some(RunSummary {
                run: run.clone(),
                workflow: workflow.clone(),
                status: RunStatus::Running,
                started_at: *at,
                ended_at: None,
                params: request.params.clone(),
                tasks: TaskCounts::default(),
                attempts: 0,
                retries: 0,
                resumes: 0,
                cost: None,
                failure: None,
                last_seq: *seq,
            });
        }
        let Some(summary) = &mut self.summary else { return };
        summary.last_seq = *seq;
        match event {
            Event::RunResumed { reset, request, .. } => {
                summary.status = RunStatus::Running;
                summary.ended_at = None;
                summary.failure = None;
                summary.resumes += 1;
                summary.params.clone_from(&request.params);
                for task in reset {
                    self.ended.remove(task);
                }
            }
            Event::AttemptDispatched { .. } => summary.attempts += 1,
            Event::AttemptRecalled { .. } => {
                summary.attempts = summary.attempts.saturating_sub(1);
            }
            Event::AttemptEnded { report, .. } => {
                if let Some(cost) = report.cost {
                    *summary.cost.get_or_insert_default() += cost;
                }
            }
            Event::RetryScheduled { .. } => summary.retries += 1,
            Event::RunEnded { status, failure, .. } => {
                summary.status = *status;
                summary.ended_at = Some(*at);
                summary.failure.clone_from(failure);
            }
            event => {
                if let Some((task, status)) = ended_task(event) {
                    self.ended.insert(task.clone(), status);
                }
            }
        }
    }

    /// The run so far; `None` before its first event.
    #[must_use]
    pub fn summary(&self) -> Option<RunSummary> {
        let mut summary = self.summary.clone()?;
        for status in self.ended.values() {
            let counts = &mut summary.tasks;
            match status {
                TaskStatus::Succeeded => counts.succeeded += 1,
                TaskStatus::Failed => counts.failed += 1,
                TaskStatus::Skipped => counts.skipped += 1,
                TaskStatus::Blocked => counts.blocked += 1,
                TaskStatus::Cancelled => counts.cancelled += 1,
                TaskStatus::Pending
                | TaskStatus::Queued
                | TaskStatus::Running
                | TaskStatus::Waiting => {}
            }
        }
        Some(summary)
    }
}

/// The task that an event ended, and how; the end of an item ends no task.
pub(crate) fn ended_task(event: &Event) -> Option<(&TaskId, TaskStatus)> {
    Some(match event {
        Event::TaskSucceeded { task, item: None } => (task, TaskStatus::Succeeded),
        Event::TaskFailed { task, item: None, .. } => (task, TaskStatus::Failed),
        Event::TaskSkipped { task, item: None, .. } => (task, TaskStatus::Skipped),
        Event::TaskBlocked { task, item: None, .. } => (task, TaskStatus::Blocked),
        Event::TaskCancelled { task, item: None } => (task, TaskStatus::Cancelled),
        _ => return None,
    })
}
