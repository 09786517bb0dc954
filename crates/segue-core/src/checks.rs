//! Checks: what must be there before a task's first attempt, and what says that a service is ready.
//!
//! A check is a row of *looks*, each ordered of the driver and answered by it. Between two looks
//! nothing of it runs. It ends when a look passes; or with the look that `wait` ends with. A
//! task under its precheck waits and holds nothing; its retries do not check again, a resume
//! does, unless it has an attempt that may have begun.
//!
//! A look that is under way is never left behind: what ends the task, or the run, orders the
//! look to stop and goes on when it has answered.

use crate::scheduler::Scheduler;
use crate::{
    CheckAnswer, CheckEnded, CheckKind, CheckStarted, Effect, Event, FailureClass, NodeIndex, Plan,
    Precheck, Seq, Task, TaskId, TaskIndex,
};

impl Scheduler {
    /// Whether a task has to pass its precheck before it goes on.
    pub(crate) fn is_unchecked(&self, index: NodeIndex, task: &Task) -> bool {
        task.precheck.is_some() && !self.state.tasks[index].waits.passed
    }

    /// Looks, for the first time or again.
    pub(crate) fn look(&mut self, index: TaskIndex, kind: CheckKind) {
        let Some(check) = check_of(&self.plan.tasks[index], kind) else { return };
        let known = self.state.tasks[index].waits.check.as_ref().map(|state| state.until);
        let until = known.unwrap_or(self.now + check.wait);
        let task = self.plan.tasks[index].id.clone();
        self.record(Event::CheckStarted(CheckStarted { task: task.clone(), kind, until }));
        let number = self.state.last_seq;
        self.order(Effect::Check { task, kind, number, until });
    }

    /// Orders the look under way to stop, if there is one.
    pub(crate) fn stop_look(&mut self, index: NodeIndex) {
        if let Some(number) = self.state.tasks[index].waits.look() {
            self.order(Effect::StopCheck { number });
        }
    }

    /// The driver's answer to a look.
    pub(crate) fn checked(&mut self, task: &TaskId, number: Seq, answer: CheckAnswer) {
        let Some(index) = self.graph.position(task.as_str()) else { return };
        let Some(state) = &self.state.tasks[index].waits.check else { return };
        if state.look != Some(number) {
            return;
        }
        let (kind, until) = (state.kind, state.until);
        let Some(check) = check_of(&self.plan.tasks[index], kind).cloned() else { return };
        let goes_on = match kind {
            CheckKind::Precheck => self.stop_asked(index).is_none() && self.is_let_go(index),
            CheckKind::Ready => self.is_awaited(index),
        };
        let again = (self.now < until && goes_on).then(|| until.min(self.now + check.every));
        let (passed, seen, next) = match answer {
            CheckAnswer::Passed => (true, String::new(), None),
            CheckAnswer::NotYet(seen) => (false, seen, again),
            CheckAnswer::Never(why) => (false, why, None),
        };
        let ended = CheckEnded { task: task.clone(), kind, passed, seen: seen.clone(), next };
        self.record(Event::CheckEnded(ended));
        if next.is_some() {
            return;
        }
        let missed = (!passed && goes_on).then(|| told(&self.plan, &check, kind, &seen));
        match kind {
            CheckKind::Ready => self.ready_or_not(index, passed, missed),
            CheckKind::Precheck => {
                if let Some(reason) = self.ended_by(index) {
                    self.cancel_idle(index, reason);
                } else if let Some(message) = missed {
                    self.fail(index, FailureClass::Precheck, message);
                }
            }
        }
    }

    /// Ends a check between two looks, or orders its look to stop.
    pub(crate) fn give_up_check(&mut self, index: TaskIndex) {
        let Some(state) = self.state.tasks[index].waits.check.clone() else { return };
        if state.look.is_some() {
            self.stop_look(index);
        } else {
            let task = self.plan.tasks[index].id.clone();
            let (kind, seen) = (state.kind, state.seen);
            let ended = CheckEnded { task, kind, passed: false, seen, next: None };
            self.record(Event::CheckEnded(ended));
        }
    }
}

fn check_of(task: &Task, kind: CheckKind) -> Option<&Precheck> {
    match kind {
        CheckKind::Precheck => task.precheck.as_ref(),
        CheckKind::Ready => task.background.as_ref()?.ready.as_ref(),
    }
}

/// Why a check was given up: what it looked at, what it saw last, and the hint.
fn told(plan: &Plan, check: &Precheck, kind: CheckKind, seen: &str) -> String {
    let (kind, what) = (kind.word(), check.probe.shown(plan));
    let hint = check.hint.as_ref().map(|hint| format!("; {}", hint.trim())).unwrap_or_default();
    format!("{kind} `{what}` did not pass within {}: {seen}{hint}", check.wait)
}
