//! Services: tasks that run in the background until the last of what needs them has ended.
//!
//! A service holds no slot: what needs it may need the only one. It starts as its own needs let
//! it, is done for those who wait for it, and for its stage, once it is *ready*, and is
//! *released*, that is told to stop, when all its dependents have ended, whatever became of
//! them. It has then succeeded, however it takes being stopped.
//!
//! A run that is stopped releases it when no dependent runs any more, or at once if the stop is.
//! If it ends by itself before that, it has failed, and what runs and needs it is stopped and
//! fails with it: nothing that such a task still does is evidence. An optional one may end.

use crate::index::Role;
use crate::scheduler::Scheduler;
use crate::settle::Verdict;
use crate::state::AttemptStep;
use crate::{
    AttemptId, AttemptReport, CheckKind, Effect, Event, FailureClass, NodeIndex, Ordered, Outcome,
    ServiceReleased, StopReason, TaskIndex, TaskStatus, TimeLimit, When,
};

impl Scheduler {
    /// Starts a service. It needs no slot.
    pub(crate) fn start_service(&mut self, index: TaskIndex) {
        let attempt = self.attempt_id(index, self.state.tasks[index].attempts + 1);
        self.record(Event::AttemptCleared { attempt: attempt.clone() });
        let number = self.state.last_seq;
        self.record(Event::AttemptDispatched { attempt: attempt.clone() });
        let effect = Effect::StartAttempt { attempt, number };
        self.output.effects.push(Ordered { after: number, effect });
    }

    /// Whether anything that needs the service may still run.
    pub(crate) fn is_needed(&self, index: TaskIndex) -> bool {
        let left = |&dependent: &TaskIndex| {
            !self.state.tasks[dependent].status.is_final()
                && !self.state.is_excluded(&self.plan, dependent)
        };
        self.graph.dependents(index).iter().any(left)
    }

    /// Whether a service under way is still to become ready.
    pub(crate) fn is_awaited(&self, index: TaskIndex) -> bool {
        let entry = &self.state.tasks[index];
        entry.attempt.is_some() && entry.waits.released.is_none() && !entry.stopping
    }

    /// Makes services ready and releases them, as far as that is due. Says whether it did.
    pub(crate) fn tend_services(&mut self) -> bool {
        let mut changed = false;
        for index in self.index.services.clone() {
            let entry = &self.state.tasks[index];
            let step = entry.attempt.as_ref().map(|attempt| &attempt.step);
            if !matches!(step, Some(AttemptStep::Dispatched(_))) || !self.is_awaited(index) {
                continue;
            }
            if let Some((reason, at_once)) = self.release_due(index) {
                self.release_service(index, reason, String::new(), at_once);
                changed = true;
            } else if !entry.waits.ready && entry.waits.check.is_none() {
                let checked = self.plan.tasks[index].background.as_ref();
                if checked.is_some_and(|service| service.ready.is_some()) {
                    self.look(index, CheckKind::Ready);
                } else {
                    self.ready_or_not(index, true, None);
                }
                changed = true;
            }
        }
        changed
    }

    fn release_due(&self, index: TaskIndex) -> Option<(StopReason, bool)> {
        let ended = |&d: &TaskIndex| self.state.tasks[d].status.is_final();
        if self.graph.dependents(index).iter().all(ended) {
            return Some((StopReason::Released, false));
        }
        let (reason, at_once) = self.stop_asked(index)?;
        let runs = |&d: &TaskIndex| self.nodes(d).any(|node| self.has_begun(node));
        let used = self.graph.dependents(index).iter().any(runs);
        (at_once || !used).then_some((reason, at_once))
    }

    fn release_service(
        &mut self,
        index: TaskIndex,
        reason: StopReason,
        fault: String,
        at_once: bool,
    ) {
        let Some(current) = &self.state.tasks[index].attempt else { return };
        let attempt = self.attempt_id(index, current.number);
        let task = attempt.task.clone();
        self.record(Event::ServiceReleased(ServiceReleased { task, reason, fault }));
        self.order(Effect::StopAttempt { attempt, reason, at_once });
        self.give_up_check(index);
    }

    /// What a service's own check led to; `missed` says why it was given up.
    pub(crate) fn ready_or_not(&mut self, index: TaskIndex, passed: bool, missed: Option<String>) {
        let runs = self.state.tasks[index].attempt.is_some();
        if !runs {
            self.conclude_service(index);
        } else if let Some(fault) = missed {
            self.release_service(index, StopReason::NotReady, fault, false);
        } else if passed && self.is_awaited(index) {
            let task = self.plan.tasks[index].id.clone();
            self.record(Event::ServiceReady { task });
        }
    }

    /// A service's attempt has ended, and its report is recorded. `left` says that it was left
    /// by an earlier engine: one that was lost with it starts again, as nobody blames it.
    pub(crate) fn service_ended(&mut self, index: TaskIndex, left: bool) {
        let lost = self.state.tasks[index].last.as_ref().map(|report| &report.outcome);
        if left && lost == Some(&Outcome::Lost) && self.is_needed(index) && !self.is_stopping(index)
        {
            return self.hold_back(index);
        }
        if self.state.tasks[index].waits.check.is_some() {
            self.give_up_check(index);
        }
        if self.state.tasks[index].waits.look().is_none() {
            self.conclude_service(index);
        }
    }

    fn conclude_service(&mut self, index: TaskIndex) {
        let entry = &self.state.tasks[index];
        let Some(report) = entry.last.clone().filter(|_| !entry.status.is_final()) else { return };
        let (released, fault) = entry.waits.released.clone().unzip();
        let fault = fault.filter(|fault| !fault.is_empty());
        let (stopping, ready) = (entry.stopping, entry.waits.ready);
        let needed = self.graph.dependents(index).iter();
        let needed = needed.copied().any(|d| !self.state.tasks[d].status.is_final());
        let (task, item) = self.name(index);
        let cut_off = self.ended_by(index).is_some_and(|reason| reason != StopReason::RunTimeout);
        match report.outcome {
            _ if stopping => self.record(Event::TaskCancelled { task, item }),
            _ if fault.is_some() => {
                self.fail(index, FailureClass::Precheck, fault.unwrap_or_default());
            }
            _ if !needed && !ready && cut_off => self.record(Event::TaskCancelled { task, item }),
            _ if !needed || released == Some(StopReason::Released) => {
                self.record(Event::TaskSucceeded { task, item });
            }
            Outcome::Cancelled { reason: StopReason::Shutdown | StopReason::DiskFull }
            | Outcome::Parked => {}
            Outcome::Cancelled { reason: StopReason::ServiceEnded } => self.fail_with_need(index),
            Outcome::TimedOut { limit: TimeLimit::Run }
            | Outcome::Cancelled { reason: StopReason::RunTimeout } => {
                let message = "stopped at the run's timeout".to_owned();
                self.fail(index, FailureClass::Timeout, message);
            }
            Outcome::Cancelled { .. } => self.record(Event::TaskCancelled { task, item }),
            _ if cut_off => self.record(Event::TaskCancelled { task, item }),
            _ => {
                let (class, message) = ended_early(&report);
                self.fail(index, class, message);
            }
        }
        if self.state.tasks[index].status != TaskStatus::Succeeded {
            self.hold_back(index);
        }
        if self.has_failed_its_dependents(index) {
            self.abandon(index);
        }
    }

    /// Whether what needs a service cannot go on without it.
    fn has_failed_its_dependents(&self, need: TaskIndex) -> bool {
        let task = &self.plan.tasks[need];
        let bad = [TaskStatus::Failed, TaskStatus::Cancelled, TaskStatus::Blocked];
        task.background.is_some() && !task.optional && bad.contains(&self.state.tasks[need].status)
    }

    /// A service that a task or item needs and that is no more.
    pub(crate) fn missing_service(&self, index: NodeIndex) -> Option<TaskIndex> {
        let needs = self.task(index).needs.iter().copied();
        needs
            .filter(|_| self.task(index).when == When::AllSucceeded)
            .find(|&need| self.has_failed_its_dependents(need))
    }

    /// Whether its needs still let a task go on.
    pub(crate) fn is_let_go(&self, index: TaskIndex) -> bool {
        matches!(self.verdict(index, &self.plan.tasks[index]), Verdict::Go)
    }

    /// Fails a task or item that was stopped because its service is no more.
    pub(crate) fn fail_with_need(&mut self, index: NodeIndex) {
        let Some(need) = self.missing_service(index) else {
            let message = "stopped, as its service had ended".to_owned();
            return self.fail(index, FailureClass::Execution, message);
        };
        let service = self.plan.tasks[need].id.clone();
        let why = self.state.tasks[need].failure.clone();
        let (class, why) =
            why.unwrap_or_else(|| (FailureClass::Cancelled, "it was cancelled".to_owned()));
        self.fail(index, class, format!("its service `{service}` is gone: {why}"));
    }

    /// Has what needs a service that has ended decided anew, but for what runs.
    fn hold_back(&mut self, service: TaskIndex) {
        for dependent in self.graph.dependents(service).to_vec() {
            if let Some(fan) = self.index.fans.get_mut(&dependent) {
                fan.open = false;
            }
            for node in self.nodes(dependent).collect::<Vec<_>>() {
                if !self.has_begun(node) {
                    self.give_up(node, StopReason::Shutdown);
                }
            }
            if !self.is_let_go(dependent) {
                self.withdraw_question(dependent);
                self.give_up_check(dependent);
            }
            self.index.dirty.insert(dependent);
        }
    }

    /// Stops what runs and needs a service that is no more.
    fn abandon(&mut self, service: TaskIndex) {
        for dependent in self.graph.dependents(service).to_vec() {
            if self.missing_service(dependent).is_none() {
                continue;
            }
            for node in self.nodes(dependent).collect::<Vec<_>>() {
                let attempt = self.state.tasks[node].attempt.as_ref();
                let runs = attempt.filter(|a| matches!(a.step, AttemptStep::Dispatched(_)));
                if let Some(number) = runs.map(|attempt| attempt.number) {
                    let attempt = self.attempt_id(node, number);
                    let reason = StopReason::ServiceEnded;
                    self.order(Effect::StopAttempt { attempt, reason, at_once: false });
                }
            }
        }
    }

    /// What an adopted attempt is told whose service is no more.
    pub(crate) fn abandon_adopted(&mut self, index: NodeIndex, attempt: AttemptId) {
        if self.missing_service(index).is_some() {
            let reason = StopReason::ServiceEnded;
            self.order(Effect::StopAttempt { attempt, reason, at_once: false });
        }
    }

    /// The nodes of a task's present items, or the task itself.
    fn nodes(&self, index: TaskIndex) -> impl Iterator<Item = NodeIndex> {
        let items = self.state.items_of(index);
        items.iter().copied().chain(items.is_empty().then_some(index))
    }

    fn has_begun(&self, node: NodeIndex) -> bool {
        self.state.tasks[node].attempt.as_ref().is_some_and(|attempt| attempt.step.begun())
    }

    /// Whether a need is a service that is ready.
    pub(crate) fn is_served(&self, need: TaskIndex) -> bool {
        matches!(Role::of(&self.plan.tasks[need], &self.state.tasks[need]), Role::Service(true, _))
    }
}

/// Why a service that ended by itself has failed.
fn ended_early(report: &AttemptReport) -> (FailureClass, String) {
    let class = report.class.unwrap_or(FailureClass::Execution);
    let how =
        if report.message.is_empty() { report.outcome.to_string() } else { report.message.clone() };
    (class, format!("it ended before what needs it: {how}"))
}
