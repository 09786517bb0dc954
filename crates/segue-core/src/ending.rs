//! The end of a run: when there is nothing left to wait for, and what it comes to.

use std::collections::BTreeMap;

use crate::plan::Value;
use crate::scheduler::Scheduler;
use crate::scope::run_scope_with;
use crate::state::AttemptStep;
use crate::template::evaluate_in;
use crate::{Effect, Event, Failure, FailureClass, RunStatus, StopReason, TaskEntry, TaskStatus};

impl Scheduler {
    /// Ends the run if nothing runs and nothing can start any more.
    pub(crate) fn finish_if_done(&mut self) {
        let begun = self.index.running + self.index.doubtful + self.index.looks;
        if begun > 0 || !self.index.services.is_empty() {
            return;
        }
        let stop = self.state.stop.filter(crate::Stop::interrupts);
        if !self.index.sections.is_empty() && stop.is_none() {
            return;
        }
        let interrupted = !self.index.sections.is_empty();
        if interrupted {
            self.give_back();
        }
        let mut failure = self.first_failure();
        let mut status = self.final_status(interrupted);
        let (outputs, missing) = self.outputs(status);
        if let (RunStatus::Succeeded | RunStatus::Warned, Some(message)) = (status, missing) {
            status = RunStatus::Failed;
            failure = Some(Failure { task: None, class: FailureClass::Output, message });
        }
        let failure = failure.filter(|_| status == RunStatus::Failed);
        let verdict_only = status == RunStatus::Failed && failure.is_some() && self.verdict_only();
        self.record(Event::RunEnded { status, outputs, failure, verdict_only });
        self.order(Effect::FinishRun);
    }

    /// Gives back every grant and every place in a queue before an interruption.
    fn give_back(&mut self) {
        for index in 0..self.state.tasks.len() {
            let Some(current) = &self.state.tasks[index].attempt else { continue };
            if self.task(index).group.is_none() {
                continue;
            }
            if matches!(current.step, AttemptStep::Asked(_)) {
                let attempt = self.attempt_id(index, current.number);
                self.order(Effect::Release { attempt });
            } else {
                self.give_up(index, StopReason::Shutdown);
            }
        }
    }

    fn final_status(&self, interrupted: bool) -> RunStatus {
        let reason = self.state.stop.map(|stop| stop.reason);
        if interrupted {
            return RunStatus::Interrupted;
        }
        let tasks = || self.plan.tasks.iter().zip(&self.state.tasks);
        let counts = |status| tasks().any(|(task, e)| !task.optional && e.status == status);
        if reason == Some(StopReason::Cancelled) && counts(TaskStatus::Cancelled) {
            return RunStatus::Cancelled;
        }
        let failed = [TaskStatus::Failed, TaskStatus::Blocked, TaskStatus::Cancelled];
        if failed.into_iter().any(counts) || reason == Some(StopReason::RunTimeout) {
            return RunStatus::Failed;
        }
        let warned = tasks().any(|(_, entry)| failed.contains(&entry.status));
        if warned || self.state.unverified { RunStatus::Warned } else { RunStatus::Succeeded }
    }

    fn first_failure(&self) -> Option<Failure> {
        let tasks = self.plan.tasks.iter().zip(&self.state.tasks);
        let failed = tasks.filter(|(task, _)| !task.optional).filter_map(|(task, entry)| {
            let (class, message) = entry.failure.clone()?;
            let failure = Failure { task: Some(task.id.clone()), class, message };
            Some((entry.ended_at, failure))
        });
        let first = failed.min_by_key(|(ended_at, _)| *ended_at).map(|(_, failure)| failure);
        first.or_else(|| self.first_cancelled()).or_else(|| {
            let timeout = self.state.stop.is_some_and(|s| s.reason == StopReason::RunTimeout);
            let message = format!("the run took longer than {}", self.plan.limits.timeout);
            timeout.then_some(Failure { task: None, class: FailureClass::Timeout, message })
        })
    }

    /// A task that a person ended counts as a root cause where nothing failed by itself.
    fn first_cancelled(&self) -> Option<Failure> {
        let mut tasks = self.plan.tasks.iter().zip(&self.state.tasks);
        let by_person = |entry: &TaskEntry| entry.status == TaskStatus::Cancelled && entry.stopping;
        let (task, _) = tasks.find(|(task, entry)| !task.optional && by_person(entry))?;
        let message = format!("task `{}` was cancelled", task.id);
        Some(Failure { task: Some(task.id.clone()), class: FailureClass::Cancelled, message })
    }

    fn verdict_only(&self) -> bool {
        let tasks = self.plan.tasks.iter().zip(&self.state.tasks);
        let mut causes = tasks
            .filter(|(task, _)| !task.optional)
            .filter_map(|(_, entry)| entry.failure.as_ref())
            .peekable();
        let stopped = self.state.stop.is_some_and(|s| s.reason != StopReason::FailFast);
        causes.peek().is_some()
            && causes.all(|(class, _)| class.is_verdict())
            && !stopped
            && self.first_cancelled().is_none()
    }

    /// The workflow's outputs; what cannot be evaluated is null and named.
    fn outputs(&self, status: RunStatus) -> (BTreeMap<String, Value>, Option<String>) {
        let mut values = BTreeMap::new();
        let mut missing = None;
        for (name, source) in &self.plan.outputs {
            let position = |id: &str| self.graph.position(id);
            let value = evaluate_in(&source.0, |names| {
                run_scope_with(&self.plan, &self.state, names, status, position)
            });
            if let Err(error) = &value {
                missing.get_or_insert(format!("output `{name}: {}`: {error}", source.0));
            }
            values.insert(name.clone(), value.unwrap_or(Value::Null));
        }
        (values, missing)
    }
}
