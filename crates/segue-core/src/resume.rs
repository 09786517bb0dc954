//! Resuming: which tasks start over, and what becomes of attempts that an earlier engine left.
//!
//! A grant of the arbiter is never carried over: the engine before may be long gone, and the
//! arbiter may have given it to somebody else. So a task of a concurrency group whose attempt
//! does not run asks anew, and whatever its ended attempts may still hold is given back.
//!
//! A task that starts over may be a need, or in an earlier stage or section, of one that had
//! begun. What runs goes on; what does not run waits as if it had not begun.

use crate::scheduler::Scheduler;
use crate::state::AttemptStep;
use crate::{
    AttemptId, AttemptReport, Effect, Event, Resume, ResumeScope, Section, SkipReason, StopReason,
    Task, TaskEntry, TaskIndex, TaskStatus,
};

impl Scheduler {
    pub(crate) fn resume(&mut self, resume: Resume) {
        let Resume { scope, request, slots, segue } = resume;
        let reset = self.to_reset(&scope, request.force);
        let reset = reset.into_iter().map(|i| self.plan.tasks[i].id.clone()).collect();
        let digest = self.plan.digest.clone();
        self.record(Event::RunResumed { reset, request, slots, digest, segue });
        for index in 0..self.plan.tasks.len() {
            self.release_earlier(index);
            let Some(current) = self.state.tasks[index].attempt.clone() else { continue };
            let attempt = self.attempt_id(index, current.number);
            match current.step {
                AttemptStep::Doubtful => {
                    self.order(Effect::Reattach { attempt, number: current.seq });
                }
                AttemptStep::Asked(wants) if self.unhindered(index) => {
                    self.order(Effect::Ask { attempt, wants });
                }
                AttemptStep::Asked(_) | AttemptStep::Granted => {
                    self.give_up(index, StopReason::Shutdown);
                }
                AttemptStep::Cleared | AttemptStep::Dispatched(_) => {}
            }
        }
    }

    /// Gives back what ended attempts may hold: the order to do so may have been lost.
    fn release_earlier(&mut self, index: TaskIndex) {
        if self.plan.tasks[index].group.is_none() {
            return;
        }
        let entry = &self.state.tasks[index];
        let ended = entry.attempts - u32::from(entry.attempt.is_some());
        for number in 1..=ended {
            let attempt = self.attempt_id(index, number);
            self.order(Effect::Release { attempt });
        }
    }

    pub(crate) fn reattached(&mut self, attempt: AttemptId) {
        if self.step(&attempt) != Some(&AttemptStep::Doubtful) {
            return;
        }
        let index =
            self.graph.position(attempt.task.as_str()).expect("its step was found by its task");
        self.record(Event::AttemptDispatched { attempt: attempt.clone() });
        if let Some((reason, at_once)) = self.stop_asked(index) {
            self.order(Effect::StopAttempt { attempt, reason, at_once });
        }
    }

    pub(crate) fn never_started(&mut self, attempt: AttemptId) {
        if !self.step(&attempt).is_some_and(AttemptStep::begun) {
            return;
        }
        let index =
            self.graph.position(attempt.task.as_str()).expect("its step was found by its task");
        if let Some(reason) = self.ended_by(index) {
            self.cancel_idle(index, reason);
        } else if self.plan.tasks[index].group.is_some() || !self.unhindered(index) {
            self.give_up(index, StopReason::Shutdown);
        } else {
            self.record(Event::AttemptRecalled { attempt });
        }
    }

    /// Which tasks start over: see [`ResumeScope`].
    ///
    /// Nothing that succeeded does, except from `From` on. A DAG that ended well stays closed:
    /// its optional failures count as met. One that starts over takes the sections after it
    /// along, since they deal with its end.
    fn to_reset(&self, scope: &ResumeScope, force: bool) -> Vec<TaskIndex> {
        let tasks = &self.plan.tasks;
        let closed = self.main_closed();
        let mut chosen = vec![false; tasks.len()];
        let mut queue = Vec::new();
        for (i, entry) in self.state.tasks.iter().enumerate() {
            let task = &tasks[i];
            let over = match &entry.skipped {
                Some(SkipReason::NotSelected) => !task.excluded,
                Some(SkipReason::SkipIf { .. }) => force,
                Some(_) => false,
                None => entry.status.is_final() && entry.status != TaskStatus::Succeeded,
            };
            if over && !self.held(i, entry) && !(closed && task.section == Section::Main) {
                chosen[i] = true;
                queue.push(i);
            }
        }
        // Whoever was skipped because of a task that starts over is decided anew.
        while let Some(i) = queue.pop() {
            for &dependent in self.graph.dependents(i) {
                let skipped = self.state.tasks[dependent].status == TaskStatus::Skipped;
                if skipped && !std::mem::replace(&mut chosen[dependent], true) {
                    queue.push(dependent);
                }
            }
        }
        if let ResumeScope::From(from) = scope {
            self.choose_from(from, &mut chosen);
        }
        let main = |i: TaskIndex| tasks[i].section == Section::Main;
        if (0..tasks.len()).any(|i| main(i) && chosen[i]) {
            for (i, entry) in self.state.tasks.iter().enumerate() {
                chosen[i] |= !main(i) && entry.status.is_final() && !self.held(i, entry);
            }
        }
        (0..tasks.len()).filter(|&i| chosen[i]).collect()
    }

    fn choose_from(&self, from: &crate::TaskId, chosen: &mut [bool]) {
        let mut queue: Vec<TaskIndex> = self.graph.position(from.as_str()).into_iter().collect();
        let mut seen = vec![false; chosen.len()];
        while let Some(i) = queue.pop() {
            if !std::mem::replace(&mut seen[i], true) {
                chosen[i] = self.state.tasks[i].status.is_final();
                queue.extend(self.graph.dependents(i));
            }
        }
    }

    /// Whether only `From` may start the task again: `retry: never`, and it may have run; or it
    /// is blocked by such a task.
    fn held(&self, index: TaskIndex, entry: &TaskEntry) -> bool {
        if let Some(by) = &entry.blocked_by {
            let root = self.graph.position(by.as_str());
            return root.is_some_and(|root| self.held(root, &self.state.tasks[root]));
        }
        entry.is_held(&self.plan.tasks[index])
    }

    /// Whether the DAG has ended in a way that needs no second go, or may have none.
    fn main_closed(&self) -> bool {
        let bad = |i: &TaskIndex| {
            let entry = &self.state.tasks[*i];
            match entry.status {
                _ if self.held(*i, entry) => false,
                TaskStatus::Failed | TaskStatus::Blocked => !self.plan.tasks[*i].optional,
                status => status == TaskStatus::Cancelled || !status.is_final(),
            }
        };
        !self.graph.section(Section::Main).iter().any(bad)
    }
}

impl TaskEntry {
    /// Whether only a retry by name may start `task`, whose entry this is, again: it is
    /// `retry: never`, did not succeed, and may have had its effect.
    #[must_use]
    pub fn is_held(&self, task: &Task) -> bool {
        task.retry.never
            && self.started_at.is_some()
            && self.status.is_final()
            && self.status != TaskStatus::Succeeded
            && self.last.as_deref().is_some_and(AttemptReport::may_have_run)
    }
}
