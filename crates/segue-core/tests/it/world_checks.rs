//! What must hold in the world around a scheduler, whatever happened.

use std::sync::Arc;

use segue_core::{
    AttemptId, Effect, Input, ItemKey, ItemsReset, Ordered, Phase, RunState, Scheduler, Section,
    TaskId, TaskStatus,
};

use crate::world::{Process, World};

impl World {
    /// What holds after every input.
    pub(crate) fn check(&self) {
        assert_eq!(self.view.state(), self.scheduler.state(), "the view differs from the machine");
        let metrics = self.view.metrics();
        let sum: usize = metrics.counts.iter().map(|(_, count)| count).sum();
        assert_eq!(sum, metrics.total, "the counters do not add up: {metrics:?}");
        for (status, count) in metrics.counts {
            let having = self.view.tasks().filter(|view| view.entry.status == status).count();
            assert_eq!(count, having, "{status} is miscounted");
        }
        let state = self.state();
        for (node, entry) in state.tasks.iter().enumerate() {
            let ended = entry.status.is_final().then_some(entry.status);
            let key = state.item(node).map(|item| &item.key);
            let audited = self.auditor.status_of(state.owner(node), key);
            assert_eq!(ended, audited, "node {node}, item {key:?}");
            let Some(items) = &entry.expansion else { continue };
            assert_eq!(items.counts.total(), items.nodes.len(), "items are miscounted");
            for &status in TaskStatus::ALL {
                let having = items.nodes.iter().filter(|&&i| state.tasks[i].status == status);
                assert_eq!(having.count(), items.counts.of(status), "{status} items of {node}");
            }
        }
        if self.state().phase == Phase::Running {
            self.scheduler.check_index().unwrap();
        }
    }

    /// A machine made from the state alone has nothing to add to what this one decided.
    pub(crate) fn check_settled(&self) {
        if self.state().phase != Phase::Running {
            return;
        }
        let text = serde_json::to_string(self.state()).unwrap();
        let state: RunState = serde_json::from_str(&text).unwrap();
        assert_eq!(&state, self.state(), "the snapshot does not come back as it was");
        let mut other = Scheduler::restore(Arc::clone(&self.plan), state).unwrap();
        let output = other.handle(self.told_at, Input::TimerFired);
        assert_eq!(output.events, [], "something was left undecided");
        let asks = |ordered: &Ordered| matches!(ordered.effect, Effect::Reattach { .. });
        assert!(output.effects.iter().all(asks), "{:?}", output.effects);
    }

    /// Once everything is performed, whatever runs and must not has been told to stop.
    pub(crate) fn check_stopped(&self) {
        for (attempt, process) in &self.processes {
            let Process::Runs { stop: None } = process else { continue };
            let place = self.plan.position(attempt.task.as_str()).unwrap();
            let (task, entry) = (&self.plan.tasks[place], &self.state().tasks[place]);
            // A service is stopped after those that need it.
            let needs = |other: &AttemptId| {
                let other = self.plan.position(other.task.as_str()).unwrap();
                self.plan.tasks[other].needs.contains(&place)
            };
            let used = task.background.is_some() && self.running().iter().any(needs);
            let asked = self.state().stop.is_some_and(|stop| stop.blocks(task.section)) && !used;
            assert!(!entry.stopping && !asked, "{attempt} was never told to stop");
        }
    }

    pub(crate) fn check_no_process(&self) {
        let alive = self.processes.iter().find(|(_, p)| matches!(p, Process::Runs { .. }));
        assert!(alive.is_none(), "the run ends while {alive:?}");
        assert!(self.looks.is_empty(), "the run ends while {:?}", self.looks);
    }

    /// Nothing that succeeded starts over, unless it was asked for; the sections after the DAG
    /// may, if the DAG does.
    pub(crate) fn check_reset(&self, reset: &[TaskId]) {
        let place = |id: &TaskId| self.plan.position(id.as_str()).unwrap();
        let section = |id: &TaskId| self.plan.tasks[place(id)].section;
        let reopens = |id: &TaskId| {
            let ended = self.auditor.status(place(id));
            let optional = self.plan.tasks[place(id)].optional;
            section(id) <= Section::Main
                && (self.retried_from.contains(id)
                    || ended == Some(TaskStatus::Cancelled)
                    || !optional && matches!(ended, Some(TaskStatus::Failed | TaskStatus::Blocked)))
        };
        let reopened = reset.iter().any(reopens);
        let whole = !self.auditor.main_ended();
        for id in reset {
            let succeeded = self.auditor.status(place(id)) == Some(TaskStatus::Succeeded);
            let asked = self.retried_from.contains(id);
            let handler = section(id) > Section::Main && (reopened || whole);
            let service = self.plan.tasks[place(id)].background.is_some();
            let wrong = succeeded && !asked && !handler && !service;
            assert!(!wrong, "`{id}` succeeded and starts over");
            let task = &self.plan.tasks[place(id)];
            let ran = self.last_ran(id, None);
            // A check may have failed it before it began again.
            let began = self.view.state().tasks[place(id)].started_at.is_some();
            let failed = began && self.auditor.status(place(id)) == Some(TaskStatus::Failed);
            assert!(!(task.retry.never && ran && failed) || asked, "`{id}` may never start over");
        }
    }

    /// No item that succeeded starts over, unless its task was asked for or handles a DAG that
    /// starts over.
    pub(crate) fn check_items_reset(&self, items: &ItemsReset, reset: &[TaskId]) {
        let place = self.plan.position(items.task.as_str()).unwrap();
        let task = &self.plan.tasks[place];
        let asked = self.retried_from.contains(&items.task)
            || task.section > Section::Main && reset.contains(&items.task);
        for key in &items.keys {
            let ended = self.auditor.status_of(place, Some(key));
            let again = ended != Some(TaskStatus::Succeeded);
            assert!(again || asked, "`{}` {key} succeeded and starts over", items.task);
            let ran = self.last_ran(&items.task, Some(key));
            let failed = ended == Some(TaskStatus::Failed);
            assert!(!(task.retry.never && ran && failed) || asked, "{key} may never start over");
        }
    }

    /// Whether a process was made for the last attempt of a task or item.
    pub(crate) fn last_ran(&self, task: &TaskId, item: Option<&ItemKey>) -> bool {
        let place = self.plan.position(task.as_str()).unwrap();
        let number = self.auditor.attempts(place, item);
        let last = AttemptId { task: task.clone(), item: item.cloned(), number };
        self.processes.get(&last).is_some_and(|process| match process {
            Process::Runs { .. } => true,
            Process::Ended { report } => report.started_at.is_some(),
        })
    }

    pub(crate) fn check_issued(&mut self, ordered: &Ordered) {
        let once = match &ordered.effect {
            Effect::StartAttempt { attempt, .. } => format!("start {attempt}"),
            Effect::Ask { attempt, .. } => format!("ask {attempt}"),
            Effect::Release { attempt } => format!("release {attempt}"),
            Effect::Expand { task } => format!("expand {task}"),
            Effect::Check { number, .. } => format!("check {number}"),
            Effect::StopCheck { .. } => return,
            Effect::FinishRun => format!("finish {}", self.journal.len()),
            Effect::StopAttempt { .. } | Effect::Reattach { .. } => return,
        };
        assert!(self.issued.insert(once.clone()), "issued twice: {once}");
    }
}
