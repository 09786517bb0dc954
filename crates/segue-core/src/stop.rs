//! Stopping: what a request to end the run or one task leads to.
//!
//! A request orders running attempts to stop and cancels what does not run. Attempts whose
//! fate is unknown are left alone until the answer comes; the end of every attempt asks
//! [`Scheduler::stop_asked`] before it leads to another.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::index::Role;
use crate::scheduler::{Scheduler, never_ran};
use crate::state::AttemptStep;
use crate::{Effect, Event, NodeIndex, Outcome, Section, StopReason, TaskIndex};

/// A request to end the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Why.
    pub reason: StopReason,
    /// Without grace.
    pub at_once: bool,
    /// The section it came in.
    pub section: Section,
}

impl Stop {
    /// Whether tasks of `section` no longer start.
    #[must_use]
    pub fn blocks(&self, section: Section) -> bool {
        match self.reason {
            StopReason::FailFast => section <= Section::Main,
            StopReason::Cancelled => {
                self.at_once || section != Section::Finally || self.section == Section::Finally
            }
            StopReason::Shutdown | StopReason::RunTimeout | StopReason::DiskFull => true,
            StopReason::Released | StopReason::NotReady | StopReason::ServiceEnded => false,
        }
    }

    /// Whether the run can be taken up where it was left.
    #[must_use]
    pub const fn interrupts(&self) -> bool {
        matches!(self.reason, StopReason::Shutdown | StopReason::DiskFull)
    }
}

impl Scheduler {
    pub(crate) fn stop_run(&mut self, reason: StopReason, at_once: bool) {
        if let Some(stop) = self.state.stop
            && stop.reason != StopReason::FailFast
            && (stop.at_once || !at_once)
            && stop.blocks(self.state.section)
        {
            return;
        }
        self.record(Event::StopRequested { task: None, reason, at_once });
        let Some(stop) = self.state.stop else { return };
        let plan = Arc::clone(&self.plan);
        for index in 0..self.state.tasks.len() {
            let task = &plan.tasks[self.state.owner(index)];
            let entry = &self.state.tasks[index];
            // A task with items ends with them.
            if !stop.blocks(task.section)
                || matches!(Role::of(task, entry), Role::Final | Role::Open)
                || !self.state.is_listed(index)
            {
                continue;
            }
            let (released, looks) = (entry.waits.released.is_some(), entry.waits.look().is_some());
            match entry.attempt.as_ref().map(|attempt| (attempt.number, &attempt.step)) {
                // It is stopped after those that need it.
                Some(_) if task.background.is_some() && !(released && stop.at_once) => {}
                Some((number, AttemptStep::Dispatched(_))) => {
                    let attempt = self.attempt_id(index, number);
                    self.order(Effect::StopAttempt { attempt, reason, at_once: stop.at_once });
                }
                Some((_, AttemptStep::Doubtful)) => {}
                _ if looks => self.stop_look(index),
                _ if stop.interrupts() => {}
                _ => self.cancel_idle(index, reason),
            }
        }
    }

    pub(crate) fn stop_task(&mut self, index: TaskIndex, reason: StopReason, at_once: bool) {
        let entry = &self.state.tasks[index];
        if entry.status.is_final() {
            return;
        }
        let id = self.plan.tasks[index].id.clone();
        let number = entry.attempt.as_ref().map(|attempt| (attempt.number, attempt.step.clone()));
        let (open, looks) = (entry.expansion.is_some(), entry.waits.look().is_some());
        self.record(Event::StopRequested { task: Some(id), reason, at_once });
        if open {
            return self.stop_items(index, reason, at_once);
        }
        match number {
            Some((number, AttemptStep::Dispatched(_))) => {
                let attempt = self.attempt_id(index, number);
                self.order(Effect::StopAttempt { attempt, reason, at_once });
            }
            Some((_, AttemptStep::Doubtful)) => {}
            _ if looks => self.stop_look(index),
            _ => self.cancel_idle(index, reason),
        }
    }

    /// Cancels a task or item none of whose attempts runs.
    pub(crate) fn cancel_idle(&mut self, index: NodeIndex, reason: StopReason) {
        self.give_up(index, reason);
        let (task, item) = self.name(index);
        self.record(Event::TaskCancelled { task, item });
    }

    /// Ends an attempt that never ran, if there is one, and returns its grant.
    pub(crate) fn give_up(&mut self, index: NodeIndex, reason: StopReason) {
        let Some(current) = &self.state.tasks[index].attempt else { return };
        let attempt = self.attempt_id(index, current.number);
        let report = Box::new(never_ran(Outcome::Cancelled { reason }));
        self.record(Event::AttemptEnded { attempt: attempt.clone(), report });
        if self.task(index).group.is_some() {
            self.order(Effect::Release { attempt });
        }
    }

    /// Why a task or item must not go on, and whether at once: it was asked to end, or the run was.
    pub(crate) fn stop_asked(&self, index: NodeIndex) -> Option<(StopReason, bool)> {
        if self.is_stopping(index) {
            return Some((StopReason::Cancelled, false));
        }
        let section = self.task(index).section;
        let stop = self.state.stop.filter(|stop| stop.blocks(section))?;
        Some((stop.reason, stop.at_once))
    }

    /// Whether a person asked for the end of a task, or of the task of an item.
    pub(crate) fn is_stopping(&self, index: NodeIndex) -> bool {
        self.state.tasks[self.state.owner(index)].stopping
    }

    /// As [`Scheduler::stop_asked`], but only if the task does not go on after a resume either.
    pub(crate) fn ended_by(&self, index: NodeIndex) -> Option<StopReason> {
        let (reason, _) = self.stop_asked(index)?;
        let interrupts = matches!(reason, StopReason::Shutdown | StopReason::DiskFull);
        (!interrupts).then_some(reason)
    }
}
