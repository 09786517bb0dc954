//! A plan gone through in the head: which task starts when, if each takes as long as is said.
//!
//! It starts what is ready as the scheduler does – needs, stages, sections, slots, priority, then
//! the longest path – but knows neither failures nor waits. Previews, forecasts and the bound on
//! time are made of it; the scheduler itself never looks here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use crate::index::{Graph, ReadyKey};
use crate::{Millis, Plan, Section, TaskIndex, When};

/// Every section, in the order in which they open.
const SECTIONS: [Section; 5] =
    [Section::Probe, Section::Main, Section::OnSuccess, Section::OnFailure, Section::Finally];

/// Goes through a plan, as often as is asked.
#[derive(Debug)]
pub struct Rehearsal<'p> {
    plan: &'p Plan,
    graph: Graph,
    left_out: Vec<bool>,
}

/// What one go through a plan comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rehearsed {
    /// The tasks that run, in the order in which they start.
    pub order: Vec<TaskIndex>,
    /// When each of them ends, from the run's start; by [`TaskIndex`], `None` for the others.
    pub ends: Vec<Option<Millis>>,
    /// How long the whole takes.
    pub span: Millis,
    /// Whose end let each task start.
    after: Vec<Option<TaskIndex>>,
}

/// Tasks that never run, whatever happens: those that were not selected, and those that are
/// skipped because of one. By [`TaskIndex`].
#[must_use]
pub fn left_out(plan: &Plan) -> Vec<bool> {
    let graph = Graph::new(plan);
    let mut out: Vec<bool> = plan.tasks.iter().map(|task| task.excluded).collect();
    let mut queue: Vec<TaskIndex> = (0..out.len()).filter(|&i| out[i]).collect();
    while let Some(need) = queue.pop() {
        for &index in graph.dependents(need) {
            let task = &plan.tasks[index];
            let skipped = match task.when {
                When::AllSucceeded => true,
                When::AllDone => false,
                When::AnySucceeded | When::AnyFailed => task.needs.iter().all(|&need| out[need]),
            };
            if skipped && !std::mem::replace(&mut out[index], true) {
                queue.push(index);
            }
        }
    }
    out
}

impl<'p> Rehearsal<'p> {
    /// Takes a plan in hand.
    #[must_use]
    pub fn of(plan: &'p Plan) -> Self {
        Self { plan, graph: Graph::new(plan), left_out: left_out(plan) }
    }

    /// Whether a task never runs: see [`left_out`].
    #[must_use]
    pub fn is_left_out(&self, index: TaskIndex) -> bool {
        self.left_out[index]
    }

    /// Goes through the plan with `slots` attempts at once. `took` says how long a task takes;
    /// `None` is one that does not run. Tasks that are left out are not asked about.
    #[must_use]
    pub fn perform(&self, slots: usize, took: &dyn Fn(TaskIndex) -> Option<Millis>) -> Rehearsed {
        let tasks = &self.plan.tasks;
        let spans = (0..tasks.len()).map(|i| if self.left_out[i] { None } else { took(i) });
        let mut go = Go {
            rehearsal: self,
            spans: spans.collect(),
            unmet: tasks.iter().map(|task| task.needs.len()).collect(),
            ready: BTreeSet::new(),
            running: BinaryHeap::new(),
            barriers: BTreeMap::new(),
            rehearsed: Rehearsed {
                ends: vec![None; tasks.len()],
                after: vec![None; tasks.len()],
                ..Rehearsed::default()
            },
        };
        let mut last = None;
        for section in SECTIONS {
            last = go.perform(section, slots.max(1), last);
        }
        go.rehearsed
    }

    /// The tasks that the whole waits for, first to last, if slots are no matter: a run can only
    /// be faster where one of them is.
    #[must_use]
    pub fn critical_path(&self, took: &dyn Fn(TaskIndex) -> Option<Millis>) -> Vec<TaskIndex> {
        let rehearsed = self.perform(usize::MAX, took);
        let ended = |&index: &TaskIndex| (rehearsed.ends[index], Reverse(index));
        let mut at = rehearsed.order.iter().copied().max_by_key(ended);
        let mut path = Vec::new();
        while let Some(index) = at {
            path.push(index);
            at = rehearsed.after[index];
        }
        path.reverse();
        path
    }
}

/// The tasks of a plan's stage that have not ended, and those of it that only wait for it to open.
#[derive(Debug, Default)]
struct Barrier {
    left: usize,
    waiting: Vec<TaskIndex>,
}

/// One go under way.
struct Go<'r, 'p> {
    rehearsal: &'r Rehearsal<'p>,
    /// How long each task takes; `None` for one that does not run.
    spans: Vec<Option<Millis>>,
    unmet: Vec<usize>,
    ready: BTreeSet<ReadyKey>,
    running: BinaryHeap<Reverse<(Millis, TaskIndex)>>,
    /// By stage; only stages with tasks that have not ended.
    barriers: BTreeMap<u32, Barrier>,
    rehearsed: Rehearsed,
}

impl Go<'_, '_> {
    /// Goes through one section from where `last` ended, and gives what ended last.
    fn perform(
        &mut self,
        section: Section,
        slots: usize,
        mut last: Option<TaskIndex>,
    ) -> Option<TaskIndex> {
        let rehearsal = self.rehearsal;
        let tasks = rehearsal.graph.section(section);
        if section == Section::Main {
            for stage in tasks.iter().filter_map(|&i| rehearsal.plan.tasks[i].stage) {
                self.barriers.entry(stage).or_default().left += 1;
            }
        }
        let (run, idle): (Vec<TaskIndex>, Vec<_>) =
            tasks.iter().partition(|&&i| self.spans[i].is_some());
        let first: Vec<TaskIndex> = run.into_iter().filter(|&i| self.unmet[i] == 0).collect();
        first.into_iter().for_each(|index| self.admit(index, last));
        idle.into_iter().for_each(|index| self.end(index, last));
        loop {
            while self.running.len() < slots
                && let Some((.., index)) = self.ready.pop_first()
            {
                self.rehearsed.order.push(index);
                let span = self.spans[index].unwrap_or_default();
                let end = Millis(self.rehearsed.span.0.saturating_add(span.0));
                self.running.push(Reverse((end, index)));
            }
            let Some(Reverse((end, index))) = self.running.pop() else { return last };
            self.rehearsed.span = end;
            self.rehearsed.ends[index] = Some(end);
            last = Some(index);
            self.end(index, last);
        }
    }

    /// A task whose needs have ended, `by` the last of them: ready, or waiting for its stage.
    fn admit(&mut self, index: TaskIndex, by: Option<TaskIndex>) {
        let Rehearsal { plan, graph, .. } = self.rehearsal;
        let task = &plan.tasks[index];
        let open = self.barriers.first_key_value().map(|(stage, _)| *stage);
        if let (Section::Main, Some(stage)) = (task.section, task.stage)
            && open.is_some_and(|open| open < stage)
            && let Some(barrier) = self.barriers.get_mut(&stage)
        {
            barrier.waiting.push(index);
            return;
        }
        self.rehearsed.after[index] = by;
        self.ready.insert(graph.task_key(plan, index));
    }

    /// A task has ended, or does not run; `by` is what ended last.
    fn end(&mut self, index: TaskIndex, by: Option<TaskIndex>) {
        let Rehearsal { plan, graph, .. } = self.rehearsal;
        for &dependent in graph.dependents(index) {
            self.unmet[dependent] -= 1;
            if self.unmet[dependent] == 0 && self.spans[dependent].is_some() {
                self.admit(dependent, by);
            }
        }
        let task = &plan.tasks[index];
        let (Section::Main, Some(stage)) = (task.section, task.stage) else { return };
        let Some(barrier) = self.barriers.get_mut(&stage) else { return };
        barrier.left -= 1;
        // Stages all of whose tasks have ended hold nobody up any more.
        while let Some(mut first) = self.barriers.first_entry() {
            let waiting = std::mem::take(&mut first.get_mut().waiting);
            if first.get().left > 0 {
                waiting.into_iter().for_each(|index| self.admit(index, by));
                break;
            }
            first.remove();
        }
    }
}
