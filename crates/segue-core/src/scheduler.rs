//! The scheduler: the pure machine that decides what a run does next.
//!
//! # Theory of operation
//!
//! A [`Scheduler`] holds the plan, the state ([`RunState`], a fold of the run's events), and an
//! index derived from both. [`Scheduler::handle`] takes one [`Input`] and the time and does
//! three things: it records what the input means as events; it *settles*, that is, follows the
//! consequences until nothing more can be decided (dependents skipped or blocked, stages and
//! sections opened, attempts cleared and dispatched, the run ended); and it returns the events
//! together with the effects they call for. Every event goes through [`RunState::apply`] the
//! moment it is recorded, so the machine never knows more than its journal will.
//!
//! An attempt goes through these steps: *cleared* (on disk: it may have started from now on),
//! *dispatched* (holds a slot; the order to start it goes out), *ended*. Attempts are cleared
//! ahead of free slots, so that a slow disk does not stand between one attempt's end and the
//! next one's start. An effect bears the place of the event that must be on disk before it is
//! performed ([`Ordered::after`]); for a start that is the clearing, not the dispatch.
//!
//! After a crash, [`Scheduler::recover`] folds the journal and [`Input::Resume`] asks for the
//! fate of every attempt that was cleared and has not ended. Until the answer comes such an
//! attempt is *doubtful*: it counts against the slots and is not started again.
//!
//! # Rules for the caller
//!
//! Call `handle` with a time that never goes back, append the events, perform the effects in
//! order once their event is on disk, and call again with [`Input::TimerFired`] no later than
//! [`Scheduler::next_deadline`]. Inputs about attempts that are no longer current are dropped,
//! so reports may come twice or late.

use std::borrow::Borrow;
use std::sync::Arc;

use crate::index::{Graph, Index, Role};
use crate::retry::{self, Next};
use crate::state::{AttemptStep, Phase, RunState, STATE_VERSION};
use crate::{
    AttemptId, AttemptReport, Effect, Event, FailureClass, Input, ItemKey, Millis, NodeIndex,
    Ordered, Outcome, Output, Plan, Recorded, Seq, StopReason, Task, TaskId, TaskIndex, Teardown,
    TimeLimit, Timestamp,
};

/// How long after a backstop the scheduler asks again.
const BACKSTOP_AGAIN: Millis = Millis::from_secs(60);

/// How far a keeper's clock and the journal's may differ about the run's deadline.
const DEADLINE_SLACK: Millis = Millis::from_secs(1);

/// A journal that does not fold over this plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} does not fit the run: {reason}")]
pub struct CorruptJournal {
    /// The event's place.
    pub seq: Seq,
    /// What is wrong with it.
    pub reason: String,
}

/// A snapshot that this build cannot take up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("snapshot of version {version} with {tasks} tasks does not fit the plan")]
pub struct IncompatibleState {
    /// The snapshot's version.
    pub version: u32,
    /// How many tasks it has.
    pub tasks: usize,
}

/// The machine of one run.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) plan: Arc<Plan>,
    pub(crate) graph: Graph,
    pub(crate) state: RunState,
    pub(crate) index: Index,
    pub(crate) now: Timestamp,
    pub(crate) output: Output,
}

impl Scheduler {
    /// A machine for a new run; its first input is [`Input::Start`].
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        let state = RunState::new(plan.tasks.len());
        Self::assemble(plan, state)
    }

    /// A machine that has taken in the events of an earlier one; its first input is
    /// [`Input::Resume`].
    ///
    /// # Errors
    /// If the events do not fold over this plan.
    pub fn recover(
        plan: Arc<Plan>,
        events: impl IntoIterator<Item: Borrow<Recorded>>,
    ) -> Result<Self, CorruptJournal> {
        let graph = Graph::new(&plan);
        let mut state = RunState::new(plan.tasks.len());
        for recorded in events {
            let Recorded { seq, at, event } = recorded.borrow();
            let index = graph.node(&state, event);
            state
                .apply(*seq, *at, event, index, |id| graph.position(id.as_str()))
                .map_err(|illegal| CorruptJournal { seq: *seq, reason: illegal.to_string() })?;
        }
        Ok(Self::assemble(plan, state))
    }

    /// A machine from a snapshot of its state.
    ///
    /// # Errors
    /// If the snapshot is newer than this build or not of this plan.
    pub fn restore(plan: Arc<Plan>, state: RunState) -> Result<Self, IncompatibleState> {
        let (version, tasks) = (state.version, state.task_count());
        if version > STATE_VERSION || tasks != plan.tasks.len() {
            return Err(IncompatibleState { version, tasks });
        }
        Ok(Self::assemble(plan, state))
    }

    fn assemble(plan: Arc<Plan>, state: RunState) -> Self {
        let graph = Graph::new(&plan);
        let index = Index::build(&plan, &graph, &state);
        let now = state.last_at;
        Self { plan, graph, state, index, now, output: Output::default() }
    }

    /// The state as of the last input.
    #[must_use]
    pub const fn state(&self) -> &RunState {
        &self.state
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The place of a task in the plan.
    #[must_use]
    pub fn position(&self, id: &TaskId) -> Option<TaskIndex> {
        self.graph.position(id.as_str())
    }

    /// Compares the index with one built from scratch, for tests: `Err` names the difference.
    ///
    /// # Errors
    /// If they differ where they must not.
    #[doc(hidden)]
    pub fn check_index(&self) -> Result<(), String> {
        let built = Index::build(&self.plan, &self.graph, &self.state);
        self.index.same_as(&built, &self.state, self.now)
    }

    /// When [`Input::TimerFired`] is due at the latest; `None` if nothing waits for time.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if self.state.phase != Phase::Running {
            return None;
        }
        let retry = self.index.retries.first().map(|&(at, _)| at);
        let retry = retry.filter(|_| !self.state.stop.is_some_and(|stop| stop.interrupts()));
        let backstop = self.index.backstops.first().map(|&(at, _)| at);
        let run = self.timed().then(|| self.run_deadline());
        [retry, backstop, run].into_iter().flatten().min()
    }

    /// Whether the run's time limit still has something to end.
    fn timed(&self) -> bool {
        !self.state.stop.is_some_and(|stop| stop.blocks(self.state.section))
    }

    /// When the run's time is up.
    #[must_use]
    pub fn run_deadline(&self) -> Timestamp {
        self.state.clock_from + self.plan.limits.timeout
    }

    /// Takes in what happened and says what follows. `now` never goes back.
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Output {
        self.now = now.max(self.state.last_at);
        let live = self.state.phase == Phase::Running;
        match input {
            Input::Start { started } if self.state.phase == Phase::Fresh => self.record(*started),
            Input::Resume(resume) if self.state.phase != Phase::Fresh => self.resume(*resume),
            _ if !live => {}
            Input::Start { .. } | Input::Resume(_) | Input::TimerFired => {}
            Input::AttemptEnded { attempt, report } => self.attempt_ended(attempt, *report),
            Input::Reattached { attempt } => self.reattached(attempt),
            Input::NeverStarted { attempt } => self.never_started(attempt),
            Input::Granted { attempt } => {
                if self.current(&attempt, asks).is_some() {
                    self.record(Event::Granted { attempt });
                }
            }
            Input::Refused { attempt, message } => self.refused(attempt, message),
            Input::Stop { task: None, reason, at_once } => self.stop_run(reason, at_once),
            Input::Stop { task: Some(task), reason, at_once } => {
                if let Some(index) = self.graph.position(task.as_str()) {
                    self.stop_task(index, reason, at_once);
                }
            }
            Input::Checked { task, number, answer } => self.checked(&task, number, answer),
            Input::Answered(given) => self.answered(given),
            Input::Expanded { task, items } => self.expanded(&task, items),
            Input::SlotsChanged { slots } if slots != self.state.slots && slots > 0 => {
                self.record(Event::SlotsChanged { slots });
            }
            Input::SlotsChanged { .. } => {}
        }
        if self.state.phase == Phase::Running {
            self.fire_due();
            self.settle();
        }
        std::mem::take(&mut self.output)
    }

    /// Records an event: the only way in which the state changes.
    pub(crate) fn record(&mut self, event: Event) {
        let seq = self.state.last_seq + 1;
        let node = self.graph.node(&self.state, &event);
        let rebuild = matches!(event, Event::RunStarted { .. } | Event::RunResumed { .. });
        let before = node.map(|i| Role::of(self.task(i), &self.state.tasks[i]));
        self.state
            .apply(seq, self.now, &event, node, |id| self.graph.position(id.as_str()))
            .expect("the scheduler records only events that follow on its own state");
        if let (Some(i), Some(before)) = (node, before) {
            self.index.moved(&self.plan, &self.graph, &self.state, i, before);
            if matches!(event, Event::ItemsExpanded { .. }) {
                self.index.open(&self.plan, &self.state, i);
            }
        }
        if rebuild {
            self.index = Index::build(&self.plan, &self.graph, &self.state);
        }
        self.output.events.push(event);
    }

    /// Orders an effect, to be performed once every event so far is on disk.
    pub(crate) fn order(&mut self, effect: Effect) {
        self.output.effects.push(Ordered { after: self.state.last_seq, effect });
    }

    /// The task of the plan that a node is of.
    pub(crate) fn task(&self, node: NodeIndex) -> &Task {
        &self.plan.tasks[self.state.owner(node)]
    }

    /// What events call a node.
    pub(crate) fn name(&self, node: NodeIndex) -> (TaskId, Option<ItemKey>) {
        let item = self.state.item(node).map(|item| item.key.clone());
        (self.task(node).id.clone(), item)
    }

    pub(crate) fn attempt_id(&self, node: NodeIndex, number: u32) -> AttemptId {
        let (task, item) = self.name(node);
        AttemptId { task, item, number }
    }

    /// The node that an attempt is of.
    #[must_use]
    pub fn node_of(&self, attempt: &AttemptId) -> Option<NodeIndex> {
        let task = self.graph.position(attempt.task.as_str())?;
        self.state.node(task, attempt.item.as_ref())
    }

    /// The attempts that have not ended, whether they began or not.
    pub fn attempts_under_way(&self) -> impl Iterator<Item = AttemptId> {
        let entries = self.state.tasks.iter().enumerate();
        entries.filter_map(|(i, entry)| Some(self.attempt_id(i, entry.attempt.as_ref()?.number)))
    }

    /// The node and step of `attempt`, if it is the current one of its task or item.
    pub(crate) fn step(&self, attempt: &AttemptId) -> Option<(NodeIndex, &AttemptStep)> {
        let index = self.node_of(attempt)?;
        let current = self.state.tasks[index].attempt.as_ref()?;
        (current.number == attempt.number).then_some((index, &current.step))
    }

    /// The node of `attempt`, if it is current and its step is one of these.
    pub(crate) fn current(
        &self,
        attempt: &AttemptId,
        is: impl Fn(&AttemptStep) -> bool,
    ) -> Option<NodeIndex> {
        self.step(attempt).filter(|(_, step)| is(step)).map(|(index, _)| index)
    }

    fn attempt_ended(&mut self, attempt: AttemptId, mut report: AttemptReport) {
        let Some(index) = self.current(&attempt, AttemptStep::begun) else { return };
        if report.class.is_none() {
            report.class = report.outcome.class_at_least();
        }
        if report.class.is_none() {
            self.judge(index, &mut report);
            self.judge_probe(index, &mut report);
        }
        if self.is_of_an_earlier_deadline(&report.outcome) {
            report.outcome = Outcome::Cancelled { reason: StopReason::Shutdown };
            report.message = "stopped at the deadline from before the resume".to_owned();
        }
        self.end_attempt(index, attempt, report);
    }

    /// Whether a keeper stopped an attempt at a deadline of the run that a resume has moved since.
    fn is_of_an_earlier_deadline(&self, outcome: &Outcome) -> bool {
        let at_deadline = matches!(outcome, Outcome::TimedOut { limit: TimeLimit::Run });
        at_deadline && self.now + DEADLINE_SLACK < self.run_deadline()
    }

    /// Records an attempt's end and what follows from it for its task or item.
    fn end_attempt(&mut self, index: NodeIndex, attempt: AttemptId, report: AttemptReport) {
        let plan = Arc::clone(&self.plan);
        let task = &plan.tasks[self.state.owner(index)];
        let stopped = self.is_stopping(index);
        let left = self.step(&attempt).is_some_and(|(_, step)| *step == AttemptStep::Doubtful);
        self.record(Event::AttemptEnded {
            attempt: attempt.clone(),
            report: Box::new(report.clone()),
        });
        if task.group.is_some() {
            self.order(Effect::Release { attempt });
        }
        if task.background.is_some() {
            return self.service_ended(index, left);
        }
        let (task, item) = (task, self.name(index).1);
        let id = task.id.clone();
        let Some(class) = report.class else {
            return self.record(Event::TaskSucceeded { task: id, item });
        };
        let ran = report.started_at.is_some();
        match report.outcome {
            Outcome::Cancelled { reason: StopReason::Shutdown | StopReason::DiskFull }
            | Outcome::Parked
                if !(stopped || task.retry.never && ran) => {}
            Outcome::Cancelled { reason: StopReason::Cancelled | StopReason::FailFast } => {
                self.record(Event::TaskCancelled { task: id, item })
            }
            _ if stopped => self.record(Event::TaskCancelled { task: id, item }),
            Outcome::Cancelled { reason: StopReason::ServiceEnded } => self.fail_with_need(index),
            Outcome::TimedOut { limit: TimeLimit::Run }
            | Outcome::Cancelled { reason: StopReason::RunTimeout } => {
                let message = "stopped at the run's timeout".to_owned();
                self.fail(index, FailureClass::Timeout, message);
            }
            _ => self.retry_or_fail(index, &report, class),
        }
    }

    fn retry_or_fail(&mut self, index: NodeIndex, report: &AttemptReport, class: FailureClass) {
        let entry = &self.state.tasks[index];
        let (task, item) = self.name(index);
        let run = self.state.run.as_ref();
        let halted = self.is_halted(self.state.owner(index));
        match retry::next(self.task(index), item.as_ref(), entry, report, class, run) {
            Next::Retry(_) | Next::Feedback if halted || self.missing_service(index).is_some() => {
                self.fail_with(index, report, class);
            }
            Next::Retry(_) | Next::Feedback
                if self.ended_by(index).is_some_and(|reason| reason != StopReason::RunTimeout) =>
            {
                self.record(Event::TaskCancelled { task, item });
            }
            Next::Retry(delay) if self.ended_by(index).is_none() => {
                let until = self.now + delay;
                self.record(Event::RetryScheduled { task, item, until, class, feedback: false });
            }
            Next::Feedback if self.ended_by(index).is_none() => {
                let until = self.now;
                self.record(Event::RetryScheduled { task, item, until, class, feedback: true });
            }
            _ => self.fail_with(index, report, class),
        }
    }

    fn fail_with(&mut self, index: NodeIndex, report: &AttemptReport, class: FailureClass) {
        let message = if report.message.is_empty() {
            report.outcome.to_string()
        } else {
            report.message.clone()
        };
        self.fail(index, class, message);
    }

    /// Records that a task failed, and with `fail_fast` the end of everything else; or that an
    /// item did, and what its task says to that.
    pub(crate) fn fail(&mut self, index: NodeIndex, class: FailureClass, message: String) {
        let plan = Arc::clone(&self.plan);
        let owner = self.state.owner(index);
        let (id, item) = self.name(index);
        let is_item = item.is_some();
        self.record(Event::TaskFailed { task: id, item, class, message });
        if is_item {
            if self.is_halted(owner) {
                self.halt(owner);
            }
            return;
        }
        let task = &plan.tasks[owner];
        if plan.fail_fast && !task.optional && self.state.stop.is_none() {
            self.stop_run(StopReason::FailFast, false);
        }
    }

    fn refused(&mut self, attempt: AttemptId, message: String) {
        let Some(index) = self.current(&attempt, asks) else { return };
        let mut report = never_ran(Outcome::SpawnFailed {
            kind: "refused".to_owned(),
            message: message.clone(),
        });
        report.class = Some(FailureClass::Conflict);
        report.message = message;
        self.end_attempt(index, attempt, report);
    }

    /// Brings up due retries and asks about overdue attempts.
    fn fire_due(&mut self) {
        while let Some(&(at, index)) = self.index.retries.first() {
            if at > self.now {
                break;
            }
            self.index.retries.pop_first();
            self.index.dirty.insert(index);
        }
        while let Some(&(at, index)) = self.index.backstops.first() {
            if at > self.now {
                break;
            }
            self.index.arm(index, self.now + BACKSTOP_AGAIN);
            if let Some(current) = &self.state.tasks[index].attempt {
                let (number, seq) = (current.number, current.seq);
                let attempt = self.attempt_id(index, number);
                self.order(Effect::Reattach { attempt, number: seq });
            }
        }
    }

    /// Ends a run whose time is up.
    pub(crate) fn end_overdue(&mut self) {
        if self.timed() && self.now >= self.run_deadline() {
            self.stop_run(StopReason::RunTimeout, false);
        }
    }
}

/// The report of an attempt that no process was made for.
pub(crate) fn never_ran(outcome: Outcome) -> AttemptReport {
    AttemptReport::bare(outcome, Some(FailureClass::Cancelled), Teardown::None)
}

/// Whether an attempt waits for the arbiter.
const fn asks(step: &AttemptStep) -> bool {
    matches!(step, AttemptStep::Asked(_))
}
