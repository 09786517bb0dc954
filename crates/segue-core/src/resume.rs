//! Resuming: which tasks start over, and what becomes of attempts that an earlier engine left.
//!
//! A grant of the arbiter is never carried over: the engine before may be long gone, and the
//! arbiter may have given it to somebody else. So a task of a concurrency group whose attempt
//! does not run asks anew, and whatever its ended attempts may still hold is given back.
//!
//! A task that starts over may be a need, or in an earlier stage or section, of one that had
//! begun. What runs goes on; what does not run waits as if it had not begun.
//!
//! A `for_each` task that goes on or starts over keeps its items, and of these only those start
//! over that did not succeed. They are listed anew where the task or a need of it was asked to
//! start over; then one of the same key and value that succeeded stays so, unless it is the
//! task itself, or one that it depends on, that was asked for by name.

use crate::scheduler::Scheduler;
use crate::state::AttemptStep;
use crate::{
    AttemptId, AttemptReport, Effect, Event, ItemsReset, NodeIndex, Plan, Resume, ResumeScope,
    RunState, Section, SkipReason, StopReason, TaskIndex, TaskStatus,
};

impl Scheduler {
    pub(crate) fn resume(&mut self, resume: Resume) {
        let Resume { scope, request, slots, segue, answers } = resume;
        let chosen = self.to_reset(&scope, request.force);
        let items = self.items_to_reset(&chosen, request.force);
        let tasks = (0..self.plan.tasks.len()).filter(|&i| chosen[i].starts_over);
        let reset = tasks.map(|i| self.plan.tasks[i].id.clone()).collect();
        let digest = self.plan.digest.clone();
        self.record(Event::RunResumed { reset, request, slots, digest, segue, items });
        self.keep_mode();
        for index in 0..self.state.tasks.len() {
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
        for index in 0..self.plan.tasks.len() {
            if !self.unhindered(index) {
                self.withdraw_question(index);
            }
        }
        answers.into_iter().for_each(|answer| self.answered(answer));
    }

    /// Gives back what ended attempts may hold: the order to do so may have been lost.
    fn release_earlier(&mut self, index: NodeIndex) {
        if self.task(index).group.is_none() {
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
        let doubtful = |step: &AttemptStep| *step == AttemptStep::Doubtful;
        let Some(index) = self.current(&attempt, doubtful) else { return };
        self.record(Event::AttemptDispatched { attempt: attempt.clone() });
        let service = self.task(index).background.is_some() && !self.is_stopping(index);
        match self.stop_asked(index).filter(|_| !service) {
            Some((reason, at_once)) => {
                self.order(Effect::StopAttempt { attempt, reason, at_once });
            }
            None => self.abandon_adopted(index, attempt),
        }
    }

    pub(crate) fn never_started(&mut self, attempt: AttemptId) {
        let Some(index) = self.current(&attempt, AttemptStep::begun) else { return };
        if let Some(reason) = self.ended_by(index) {
            self.cancel_idle(index, reason);
        } else if self.is_halted(self.state.owner(index)) {
            self.cancel_idle(index, StopReason::FailFast);
        } else if self.asks_anew(index) || !self.unhindered(index) {
            self.give_up(index, StopReason::Shutdown);
        } else {
            self.record(Event::AttemptRecalled { attempt });
        }
    }

    /// Whether a resume would do anything for the DAG: a task of it, or a probe, would start over
    /// or has not ended. If not, only `From` goes on, or nothing is left to do.
    #[must_use]
    pub fn has_work_left(&self, scope: &ResumeScope, force: bool) -> bool {
        let chosen = self.to_reset(scope, force);
        let tasks = self.plan.tasks.iter().enumerate();
        let mut dag = tasks.filter(|(_, task)| task.section <= Section::Main);
        dag.any(|(i, _)| chosen[i].starts_over || !self.state.tasks[i].status.is_final())
    }

    /// Whether what let a task or item begin does not hold under another engine.
    fn asks_anew(&self, index: NodeIndex) -> bool {
        let task = self.task(index);
        let unchecked = self.state.item(index).is_none() && self.is_unchecked(index, task);
        task.group.is_some() || task.background.is_some() || unchecked
    }

    /// Which tasks start over: see [`ResumeScope`].
    ///
    /// Nothing that succeeded does, except from `From` on. A DAG that ended well stays closed:
    /// its optional failures count as met. One that starts over takes the sections after it
    /// along, since they deal with its end.
    fn to_reset(&self, scope: &ResumeScope, force: bool) -> Vec<Choice> {
        let tasks = &self.plan.tasks;
        let closed = self.main_closed();
        let mut chosen = vec![Choice::default(); tasks.len()];
        let mut queue = Vec::new();
        for (i, task) in tasks.iter().enumerate() {
            let over = self.is_unfinished(i, force);
            if over && !self.held(i) && !(closed && task.section == Section::Main) {
                chosen[i].starts_over = true;
                queue.push(i);
            }
        }
        // Whoever was skipped because of a task that starts over is decided anew.
        while let Some(i) = queue.pop() {
            for &dependent in self.graph.dependents(i) {
                let skipped = self.state.tasks[dependent].status == TaskStatus::Skipped;
                let choice = &mut chosen[dependent];
                if skipped && !std::mem::replace(&mut choice.starts_over, true) {
                    queue.push(dependent);
                }
            }
        }
        if let ResumeScope::From(from) = scope {
            self.choose_from(from, &mut chosen);
        }
        self.choose_services(&mut chosen);
        let main = |i: TaskIndex| tasks[i].section <= Section::Main;
        if (0..tasks.len()).any(|i| main(i) && chosen[i].starts_over) {
            for (i, choice) in chosen.iter_mut().enumerate().filter(|(i, _)| !main(*i)) {
                if self.state.tasks[i].status.is_final() && !self.held(i) {
                    *choice = Choice { starts_over: true, whole: true };
                }
            }
        }
        chosen
    }

    /// A service that has been stopped, or was not needed, starts over with what needs it.
    fn choose_services(&self, chosen: &mut [Choice]) {
        let mut queue: Vec<TaskIndex> = (0..chosen.len()).collect();
        while let Some(i) = queue.pop() {
            let left =
                |d: &TaskIndex| chosen[*d].starts_over || !self.state.tasks[*d].status.is_final();
            let ended =
                matches!(self.state.tasks[i].status, TaskStatus::Succeeded | TaskStatus::Skipped);
            let is_service = self.plan.tasks[i].background.is_some() && ended;
            if is_service && !chosen[i].starts_over && self.graph.dependents(i).iter().any(left) {
                chosen[i].starts_over = true;
                queue.extend(&self.plan.tasks[i].needs);
            }
        }
    }

    /// Whether a task or item has ended in a way that a resume does not leave it at.
    fn is_unfinished(&self, index: NodeIndex, force: bool) -> bool {
        let entry = &self.state.tasks[index];
        let owner = self.state.owner(index);
        let is_item = self.state.item(index).is_some();
        match &entry.skipped {
            Some(SkipReason::NotSelected) => !self.state.is_excluded(&self.plan, owner),
            Some(SkipReason::SkipIf { .. }) => force,
            Some(_) => is_item,
            None if entry.status == TaskStatus::Succeeded => {
                let expansion = entry.expansion.as_ref();
                force && expansion.is_some_and(|all| all.counts.of(TaskStatus::Skipped) > 0)
            }
            None => entry.status.is_final(),
        }
    }

    /// What becomes of the items of tasks that start over or have not ended.
    fn items_to_reset(&self, chosen: &[Choice], force: bool) -> Vec<ItemsReset> {
        let all = self.plan.tasks.iter().enumerate().filter_map(|(i, task)| {
            let entry = &self.state.tasks[i];
            entry.expansion.as_ref()?;
            let Choice { starts_over, whole } = chosen[i];
            if entry.status.is_final() && !starts_over {
                return None;
            }
            let over = |node: &&NodeIndex| {
                let ended = self.state.tasks[**node].status.is_final();
                ended && (whole || self.is_unfinished(**node, force) && !self.held(**node))
            };
            let nodes = self.state.items_of(i).iter().filter(over);
            let keys: Vec<_> = nodes.filter_map(|&node| self.name(node).1).collect();
            let busy = |&node: &NodeIndex| self.state.tasks[node].attempt.is_some();
            let needs = task.needs.iter().any(|&need| chosen[need].starts_over);
            let anew = (whole || needs) && !self.state.items_of(i).iter().any(busy);
            let reset = ItemsReset { task: task.id.clone(), keys, anew };
            (starts_over || anew || !reset.keys.is_empty()).then_some(reset)
        });
        all.collect()
    }

    fn choose_from(&self, from: &crate::TaskId, chosen: &mut [Choice]) {
        let mut queue: Vec<TaskIndex> = self.graph.position(from.as_str()).into_iter().collect();
        let mut seen = vec![false; chosen.len()];
        while let Some(i) = queue.pop() {
            if !std::mem::replace(&mut seen[i], true) {
                let starts_over = self.state.tasks[i].status.is_final();
                chosen[i] = Choice { starts_over, whole: true };
                queue.extend(self.graph.dependents(i));
                if self.plan.tasks[i].section == Section::Probe {
                    queue.extend(self.graph.section(Section::Main));
                }
            }
        }
    }

    /// Whether only `From` may start the task or item again: `retry: never`, and it may have
    /// run; or it is blocked by such a task.
    fn held(&self, index: NodeIndex) -> bool {
        if let Some(by) = &self.state.tasks[index].blocked_by {
            let root = self.graph.position(by.as_str());
            return root.is_some_and(|root| self.held(root));
        }
        self.state.is_held(&self.plan, index)
    }

    /// Whether the DAG has ended in a way that needs no second go, or may have none.
    fn main_closed(&self) -> bool {
        let bad = |i: &TaskIndex| match self.state.tasks[*i].status {
            _ if self.held(*i) => false,
            TaskStatus::Failed | TaskStatus::Blocked => !self.plan.tasks[*i].optional,
            status => status == TaskStatus::Cancelled || !status.is_final(),
        };
        !self.graph.section(Section::Main).iter().any(bad)
    }
}

/// What a resume does to a task.
#[derive(Clone, Copy, Default)]
struct Choice {
    /// It starts over.
    starts_over: bool,
    /// So do all of its items, whatever became of them.
    whole: bool,
}

impl RunState {
    /// Whether a task or item that does not retry was started and has not succeeded, so that only
    /// `retry --from` starts it again: it was not merely refused, and may have had its effect. A
    /// task is held with its items once none of them may start over.
    #[must_use]
    pub fn is_held(&self, plan: &Plan, index: NodeIndex) -> bool {
        let entry = &self.tasks[index];
        let task = &plan.tasks[self.owner(index)];
        if !task.retry.never || !entry.status.is_final() || entry.status == TaskStatus::Succeeded {
            return false;
        }
        let Some(expansion) = &entry.expansion else {
            let ran = entry.last.as_deref().is_some_and(AttemptReport::may_have_run);
            return entry.started_at.is_some() && ran;
        };
        let mut held = 0;
        for &node in &expansion.nodes {
            let item = &self.tasks[node];
            if self.is_held(plan, node) {
                held += 1;
            } else if !matches!(item.status, TaskStatus::Succeeded | TaskStatus::Skipped) {
                return false;
            }
        }
        held > 0
    }
}
