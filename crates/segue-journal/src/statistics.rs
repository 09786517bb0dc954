//! What an ended run says about the next one, folded from its events: times, tries, costs.
//!
//! It counts; what an event means for a task is the core's affair. It opens no file.

use std::collections::BTreeMap;

use segue_core::{
    AttemptReport, Event, FailureClass, Millis, Recorded, RunId, RunStatus, SkipReason, TaskId,
    TaskStatus, Timestamp, Usd,
};
use serde::{Deserialize, Serialize};

use crate::summary::ended_task;

/// What is kept of an ended run for statistics and forecasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStatistics {
    /// The run.
    pub run: RunId,
    /// Its workflow's name.
    pub workflow: String,
    /// How it ended last.
    pub status: RunStatus,
    /// When it ended last.
    pub ended_at: Timestamp,
    /// How long it was under way: what lies between an end and a resume is left out.
    pub took: Millis,
    /// What its attempts cost; `None` if none of them told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Usd>,
    /// The tasks that ended or began, by id.
    pub tasks: BTreeMap<TaskId, TaskStatistics>,
}

/// What is kept of one task of an ended run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskStatistics {
    /// How it stands at the end.
    pub status: TaskStatus,
    /// How long its last go took, from its first attempt to its end, retry delays included and
    /// the time between an end of the run and its resume left out; `None` if it never ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took: Option<Millis>,
    /// Attempts that got a slot, over all goes.
    #[serde(skip_serializing_if = "is_default")]
    pub attempts: u32,
    /// Retries, feedback rounds included.
    #[serde(skip_serializing_if = "is_default")]
    pub retries: u32,
    /// What its attempts cost; `None` if none of them told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Usd>,
    /// Why attempts failed, and how many.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<FailureClass, u32>,
    /// The greatest memory of any one process.
    #[serde(skip_serializing_if = "is_default")]
    pub peak_memory_bytes: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for TaskStatistics {
    fn default() -> Self {
        Self {
            status: TaskStatus::Pending,
            took: None,
            attempts: 0,
            retries: 0,
            cost: None,
            failures: BTreeMap::new(),
            peak_memory_bytes: 0,
        }
    }
}

impl RunStatistics {
    /// The statistics of a whole journal; `None` unless the run has ended.
    #[must_use]
    pub fn of(records: &[Recorded]) -> Option<Self> {
        let mut statistician = Statistician::default();
        records.iter().for_each(|recorded| statistician.apply(recorded));
        statistician.statistics()
    }
}

/// Folds events into [`RunStatistics`], one by one, as an engine records them.
#[derive(Clone, Debug, Default)]
pub struct Statistician {
    so_far: Option<RunStatistics>,
    /// Since when the run is under way.
    since: Option<Timestamp>,
    /// Since when the tasks that have begun and not ended are at it.
    at_it: BTreeMap<TaskId, Timestamp>,
    last_at: Timestamp,
}

impl Statistician {
    /// Takes in the next event.
    pub fn apply(&mut self, recorded: &Recorded) {
        let Recorded { at, event, .. } = recorded;
        match event {
            Event::RunStarted { run, workflow, .. } => {
                self.so_far = Some(RunStatistics {
                    run: run.clone(),
                    workflow: workflow.clone(),
                    status: RunStatus::Running,
                    ended_at: *at,
                    took: Millis(0),
                    cost: None,
                    tasks: BTreeMap::new(),
                });
                self.since = Some(*at);
            }
            Event::RunResumed { reset, .. } => self.resume(*at, reset),
            Event::RunEnded { status, .. } => self.pause(*at, *status),
            event => self.apply_to_task(*at, event),
        }
        self.last_at = *at;
    }

    /// The run, if it has ended.
    #[must_use]
    pub fn statistics(&self) -> Option<RunStatistics> {
        self.so_far.clone().filter(|so_far| so_far.status != RunStatus::Running)
    }

    fn resume(&mut self, at: Timestamp, reset: &[TaskId]) {
        // An engine that was killed was last at it when it last recorded something.
        self.pause(self.last_at, RunStatus::Running);
        self.since = Some(at);
        let Some(so_far) = &mut self.so_far else { return };
        for task in reset {
            if let Some(task) = so_far.tasks.get_mut(task) {
                task.took = None;
                task.status = TaskStatus::Pending;
            }
        }
    }

    fn pause(&mut self, at: Timestamp, status: RunStatus) {
        let Some(so_far) = &mut self.so_far else { return };
        so_far.status = status;
        so_far.ended_at = at;
        if let Some(since) = self.since.take() {
            so_far.took.0 = so_far.took.0.saturating_add(at.since(since).0);
        }
        for (task, since) in std::mem::take(&mut self.at_it) {
            add(&mut so_far.tasks.entry(task).or_default().took, at.since(since));
        }
    }

    fn apply_to_task(&mut self, at: Timestamp, event: &Event) {
        let Some(so_far) = &mut self.so_far else { return };
        match event {
            Event::AttemptDispatched { attempt } => {
                let task = so_far.tasks.entry(attempt.task.clone()).or_default();
                task.attempts += 1;
                self.at_it.entry(attempt.task.clone()).or_insert(at);
            }
            Event::AttemptRecalled { attempt } => {
                let task = so_far.tasks.entry(attempt.task.clone()).or_default();
                task.attempts = task.attempts.saturating_sub(1);
            }
            Event::AttemptEnded { attempt, report } => {
                if let Some(cost) = report.cost {
                    *so_far.cost.get_or_insert_default() += cost;
                }
                so_far.tasks.entry(attempt.task.clone()).or_default().add(report);
            }
            Event::RetryScheduled { task, .. } => {
                so_far.tasks.entry(task.clone()).or_default().retries += 1;
            }
            Event::TaskSkipped { task, item: None, reason } if so_far.passes_over(task, reason) => {
            }
            event => {
                let Some((id, status)) = ended_task(event) else { return };
                let task = so_far.tasks.entry(id.clone()).or_default();
                task.status = status;
                if let Some(since) = self.at_it.remove(id) {
                    add(&mut task.took, at.since(since));
                }
            }
        }
    }
}

impl RunStatistics {
    /// Whether a task was skipped for a reason that says nothing about other runs: it, or a need
    /// of it, was not selected, or the run did not end in the way that it handles.
    fn passes_over(&self, task: &TaskId, reason: &SkipReason) -> bool {
        let begun = self.tasks.contains_key(task);
        !begun
            && match reason {
                SkipReason::NotSelected | SkipReason::SectionNotEntered => true,
                SkipReason::NeedSkipped { need } => !self.tasks.contains_key(need),
                _ => false,
            }
    }
}

fn add(took: &mut Option<Millis>, more: Millis) {
    let so_far = took.get_or_insert_default();
    so_far.0 = so_far.0.saturating_add(more.0);
}

impl TaskStatistics {
    fn add(&mut self, report: &AttemptReport) {
        if let Some(cost) = report.cost {
            *self.cost.get_or_insert_default() += cost;
        }
        if let Some(class) = report.class {
            *self.failures.entry(class).or_default() += 1;
        }
        self.peak_memory_bytes = self.peak_memory_bytes.max(report.resources.peak_memory_bytes);
    }
}
