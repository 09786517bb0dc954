//! What people see of a run: the fold of its events with their times and attempts.
//!
//! Terminal, `state.json` and reports all read this and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::index::Graph;
use crate::plan::Value;
use crate::state::{AttemptStep, RunState, TaskEntry};
use crate::{
    AttemptId, AttemptReport, CorruptJournal, Event, Failure, Hardware, Item, ItemKey, NodeIndex,
    Plan, Recorded, RunStatus, Task, TaskIndex, TaskStatus, Timestamp, Usd,
};

/// The view of one run.
#[derive(Debug)]
pub struct RunView {
    plan: Arc<Plan>,
    graph: Graph,
    state: RunState,
    attempts: Vec<Vec<AttemptView>>,
    counts: BTreeMap<TaskStatus, usize>,
    retries: usize,
    /// The run's result, once it has ended.
    pub outputs: BTreeMap<String, Value>,
    /// The first root cause, if it failed.
    pub failure: Option<Failure>,
    /// Whether every root cause is a gate or a budget.
    pub verdict_only: bool,
    /// When it ended, if it has.
    pub ended_at: Option<Timestamp>,
    /// The machine it started on.
    pub hardware: Hardware,
}

/// One attempt as people see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttemptView {
    /// Its number.
    pub number: u32,
    /// When it got its slot.
    pub dispatched_at: Timestamp,
    /// How it ended; `None` while it runs.
    pub report: Option<Box<AttemptReport>>,
    /// When its end was recorded.
    pub ended_at: Option<Timestamp>,
}

/// A task, or one item of a task, with its entry and attempts.
#[derive(Clone, Copy, Debug)]
pub struct TaskView<'a> {
    /// The task's place in the plan.
    pub index: TaskIndex,
    /// The item; `None` for the task itself.
    pub item: Option<&'a Item>,
    /// The plan's word on it.
    pub task: &'a Task,
    /// How it stands.
    pub entry: &'a TaskEntry,
    /// Its attempts that got a slot, oldest first.
    pub attempts: &'a [AttemptView],
}

/// A counter per task status; they add up to `total`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// By status, in the order of the glossary.
    pub counts: Vec<(TaskStatus, usize)>,
    /// All tasks; those with items count as one.
    pub total: usize,
    /// Attempts after the first, over all tasks and items.
    pub retries: usize,
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (status, count) in &self.counts {
            map.serialize_entry(status.word(), count)?;
        }
        map.serialize_entry("total", &self.total)?;
        map.serialize_entry("retries", &self.retries)?;
        map.end()
    }
}

impl RunView {
    /// The view before the first event.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        let count = plan.tasks.len();
        Self {
            graph: Graph::new(&plan),
            state: RunState::new(count),
            attempts: vec![Vec::new(); count],
            counts: BTreeMap::from([(TaskStatus::Pending, count)]),
            retries: 0,
            outputs: BTreeMap::new(),
            failure: None,
            verdict_only: false,
            ended_at: None,
            hardware: Hardware::default(),
            plan,
        }
    }

    /// Takes in one event.
    ///
    /// # Errors
    /// If it does not follow on those before it.
    pub fn apply(&mut self, recorded: &Recorded) -> Result<(), CorruptJournal> {
        let Recorded { seq, at, event } = recorded;
        let index = self.graph.node(&self.state, event);
        let before = index.map(|i| self.state.tasks[i].status);
        self.state
            .apply(*seq, *at, event, index, |id| self.graph.position(id.as_str()))
            .map_err(|illegal| CorruptJournal { seq: *seq, reason: illegal.to_string() })?;
        if let (Some(i), Some(before)) = (index, before) {
            let after = self.state.tasks[i].status;
            self.attempts.resize_with(self.state.tasks.len(), Vec::new);
            if before != after && i < self.plan.tasks.len() {
                *self.counts.entry(before).or_default() -= 1;
                *self.counts.entry(after).or_default() += 1;
            }
            self.note_attempt(i, *at, event);
        } else {
            self.note_run(*at, event);
        }
        Ok(())
    }

    fn note_attempt(&mut self, index: TaskIndex, at: Timestamp, event: &Event) {
        let attempts = &mut self.attempts[index];
        match event {
            Event::AttemptDispatched { attempt }
                if attempts.last().is_none_or(|last| last.number < attempt.number) =>
            {
                self.retries += usize::from(attempt.number > 1);
                attempts.push(AttemptView {
                    number: attempt.number,
                    dispatched_at: at,
                    report: None,
                    ended_at: None,
                });
            }
            Event::AttemptRecalled { attempt }
                if attempts.last().is_some_and(|last| last.number == attempt.number) =>
            {
                self.retries -= usize::from(attempt.number > 1);
                attempts.pop();
            }
            Event::AttemptEnded { attempt, report } => {
                if let Some(last) = attempts.last_mut().filter(|a| a.number == attempt.number) {
                    last.report = Some(report.clone());
                    last.ended_at = Some(at);
                } else if report.started_at.is_some() {
                    self.retries += usize::from(attempt.number > 1);
                    attempts.push(AttemptView {
                        number: attempt.number,
                        dispatched_at: report.started_at.unwrap_or(at),
                        report: Some(report.clone()),
                        ended_at: Some(at),
                    });
                }
            }
            _ => {}
        }
    }

    fn note_run(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::RunStarted { hardware, .. } => self.hardware = hardware.clone(),
            Event::RunResumed { .. } => {
                self.counts.clear();
                for entry in &self.state.tasks[..self.plan.tasks.len()] {
                    *self.counts.entry(entry.status).or_default() += 1;
                }
                self.outputs.clear();
                self.failure = None;
                self.verdict_only = false;
                self.ended_at = None;
            }
            Event::RunEnded { outputs, failure, verdict_only, .. } => {
                self.outputs.clone_from(outputs);
                self.failure.clone_from(failure);
                self.verdict_only = *verdict_only;
                self.ended_at = Some(at);
            }
            _ => {}
        }
    }

    /// The plan it is a view of.
    #[must_use]
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The fold below it.
    #[must_use]
    pub const fn state(&self) -> &RunState {
        &self.state
    }

    /// The run's status.
    #[must_use]
    pub const fn status(&self) -> RunStatus {
        self.state.status()
    }

    /// All tasks, in file order.
    pub fn tasks(&self) -> impl Iterator<Item = TaskView<'_>> {
        (0..self.plan.tasks.len()).map(|index| self.task(index))
    }

    /// One task.
    ///
    /// # Panics
    /// If the plan has no such place.
    #[must_use]
    pub fn task(&self, index: TaskIndex) -> TaskView<'_> {
        TaskView {
            index,
            task: &self.plan.tasks[index],
            entry: &self.state.tasks[index],
            attempts: &self.attempts[index],
            item: None,
        }
    }

    /// The present items of a task, in input order; none unless it has been listed.
    ///
    /// # Panics
    /// If the plan has no such place.
    pub fn items(&self, index: TaskIndex) -> impl ExactSizeIterator<Item = TaskView<'_>> {
        self.state.items_of(index).iter().map(|&node| self.item(node))
    }

    /// How many attempts of a task got a slot, those of its items included.
    ///
    /// # Panics
    /// If the plan has no such place.
    #[must_use]
    pub fn attempts_of(&self, index: TaskIndex) -> usize {
        let items = self.items(index).map(|item| item.attempts.len()).sum::<usize>();
        self.attempts[index].len() + items
    }

    /// One item of a task by its key, also one that is not listed any more.
    #[must_use]
    pub fn item_of(&self, index: TaskIndex, key: &ItemKey) -> Option<TaskView<'_>> {
        self.state.node(index, Some(key)).map(|node| self.item(node))
    }

    fn item(&self, node: NodeIndex) -> TaskView<'_> {
        TaskView {
            entry: &self.state.tasks[node],
            attempts: &self.attempts[node],
            item: self.state.item(node),
            ..self.task(self.state.owner(node))
        }
    }

    /// Every task, each followed by its items: whatever may have attempts.
    pub fn nodes(&self) -> impl Iterator<Item = TaskView<'_>> {
        self.tasks().flat_map(|task| std::iter::once(task).chain(self.items(task.index)))
    }

    /// The counters; they always add up.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let count = |status| self.counts.get(&status).copied().unwrap_or(0);
        Metrics {
            counts: TaskStatus::ALL.iter().map(|&status| (status, count(status))).collect(),
            total: self.plan.tasks.len(),
            retries: self.retries,
        }
    }

    /// How many tasks run, in constant time.
    #[must_use]
    pub fn running(&self) -> usize {
        self.counts.get(&TaskStatus::Running).copied().unwrap_or(0)
    }

    /// What the run cost, as far as attempts told; `None` if none did.
    #[must_use]
    pub fn cost(&self) -> Option<Usd> {
        let reports = self.attempts.iter().flatten().filter_map(|a| a.report.as_deref()?.cost);
        reports.fold(None, |sum: Option<Usd>, cost| {
            let mut sum = sum.unwrap_or_default();
            sum += cost;
            Some(sum)
        })
    }
}

impl TaskView<'_> {
    /// What people call it in one line: `task`, or `task[key]` for an item.
    #[must_use]
    pub fn label(&self) -> String {
        crate::label(&self.task.id, self.item.map(|item| &item.key))
    }

    /// The id of its attempt with this number.
    #[must_use]
    pub fn attempt_id(&self, number: u32) -> AttemptId {
        let item = self.item.map(|item| item.key.clone());
        AttemptId { task: self.task.id.clone(), item, number }
    }

    /// When its running attempt got its slot.
    #[must_use]
    pub fn running_since(&self) -> Option<Timestamp> {
        match self.entry.attempt.as_ref()?.step {
            AttemptStep::Dispatched(at) => Some(at),
            _ => None,
        }
    }
}
