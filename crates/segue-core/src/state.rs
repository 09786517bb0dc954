//! The fold: what a run's events amount to.
//!
//! [`RunState::apply`] makes every transition and says which are legal. It evaluates nothing
//! and decides nothing, so that a journal of any age folds to the same state.

use serde::{Deserialize, Serialize};

use crate::about::Illegal;
use crate::{
    AttemptReport, ChosenMode, Event, Expansion, FailureClass, Items, NodeIndex, RunId, RunRequest,
    RunStatus, Section, Seq, SkipReason, Stop, TaskId, TaskIndex, TaskStatus, Teardown, Timestamp,
    Usd, WaitingOn, Waits, Wants,
};

/// The version of [`RunState`] as a snapshot.
pub const STATE_VERSION: u32 = 1;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing has happened yet.
    Fresh,
    /// Begun and not ended.
    Running,
    /// Ended.
    Ended(RunStatus),
}

/// Everything a run's events amount to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// [`STATE_VERSION`] of the writer.
    pub version: u32,
    /// The run; `None` before it began.
    pub run: Option<RunId>,
    /// The plan's digest.
    pub digest: String,
    /// What was asked for.
    pub request: RunRequest,
    /// How many attempts may run at once.
    pub slots: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it began or was last resumed: what its timeout counts from.
    pub clock_from: Timestamp,
    /// The place of the last event.
    pub last_seq: Seq,
    /// The time of the last event.
    pub last_at: Timestamp,
    /// How far it is.
    pub phase: Phase,
    /// The highest stage that is open.
    pub stage: Option<u32>,
    /// The section that is open.
    pub section: Section,
    /// A request to end the run.
    pub stop: Option<Stop>,
    /// An attempt's processes could not be seen to be gone.
    pub unverified: bool,
    /// What all ended attempts cost; `None` if none told.
    pub cost: Option<Usd>,
    /// The mode that a probe has picked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ChosenMode>,
    /// By [`TaskIndex`], and behind them the items by [`NodeIndex`].
    pub tasks: Vec<TaskEntry>,
    /// The items of `for_each` tasks.
    #[serde(default, skip_serializing_if = "Items::is_empty")]
    pub items: Items,
}

/// How a task or an item stands, and what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskEntry {
    /// Its status.
    pub status: TaskStatus,
    /// Its attempt that has not ended.
    pub attempt: Option<AttemptState>,
    /// The greatest attempt number so far.
    pub attempts: u32,
    /// Tries used of the present allowance.
    pub tries: u32,
    /// Feedback rounds used of the present allowance.
    pub rounds: u32,
    /// What it waits for, and until when.
    pub waiting: Option<(WaitingOn, Option<Timestamp>)>,
    /// When its first attempt was dispatched.
    pub started_at: Option<Timestamp>,
    /// When its first attempt in this run was dispatched, also before a resume.
    #[serde(default)]
    pub first_started_at: Option<Timestamp>,
    /// When it came to its final status.
    pub ended_at: Option<Timestamp>,
    /// Its last ended attempt.
    pub last: Option<Box<AttemptReport>>,
    /// Why it failed.
    pub failure: Option<(FailureClass, String)>,
    /// Why it was skipped.
    pub skipped: Option<SkipReason>,
    /// Which task's failure blocks it.
    pub blocked_by: Option<TaskId>,
    /// A person asked for its end.
    pub stopping: bool,
    /// What else it waits for, or is waited for.
    #[serde(default, skip_serializing_if = "Waits::is_none")]
    pub waits: Waits,
    /// The driver was asked for its items.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub listing: bool,
    /// Its items, for a `for_each` task that has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expansion: Option<Expansion>,
}

/// An attempt that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptState {
    /// Its number.
    pub number: u32,
    /// The place of its `attempt_cleared`; 0 before.
    pub seq: Seq,
    /// How far it is.
    pub step: AttemptStep,
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStep {
    /// Waits for the arbiter.
    Asked(Wants),
    /// Has the arbiter's grant.
    Granted,
    /// May have started, waits for a slot.
    Cleared,
    /// Holds a slot.
    Dispatched(Timestamp),
    /// An earlier engine may have started it; the driver is finding out.
    Doubtful,
}

impl AttemptStep {
    /// Whether a process may have been made for the attempt.
    #[must_use]
    pub const fn begun(&self) -> bool {
        matches!(self, Self::Dispatched(_) | Self::Doubtful)
    }
}

impl TaskEntry {
    pub(crate) const fn new() -> Self {
        Self {
            status: TaskStatus::Pending,
            attempt: None,
            attempts: 0,
            tries: 0,
            rounds: 0,
            waiting: None,
            started_at: None,
            first_started_at: None,
            ended_at: None,
            last: None,
            failure: None,
            skipped: None,
            blocked_by: None,
            stopping: false,
            waits: Waits::none(),
            listing: false,
            expansion: None,
        }
    }

    /// Starts over with a fresh allowance; attempt numbers go on.
    pub(crate) fn reset(&mut self) {
        let (attempts, last) = (self.attempts, self.last.take());
        let (first_started_at, expansion) = (self.first_started_at, self.expansion.take());
        *self = Self { attempts, last, first_started_at, expansion, ..Self::new() };
    }

    /// Its items are there and may begin.
    pub(crate) fn open_items(&mut self, at: Timestamp) {
        self.status = TaskStatus::Running;
        self.started_at.get_or_insert(at);
        self.first_started_at.get_or_insert(at);
    }

    fn end(&mut self, status: TaskStatus, at: Timestamp) {
        self.listing = false;
        self.status = status;
        self.waiting = None;
        self.ended_at = Some(at);
    }
}

impl RunState {
    /// The state before the first event of a plan with `tasks` tasks.
    #[must_use]
    pub fn new(tasks: usize) -> Self {
        Self {
            version: STATE_VERSION,
            run: None,
            digest: String::new(),
            request: RunRequest::default(),
            slots: 1,
            started_at: Timestamp::default(),
            clock_from: Timestamp::default(),
            last_seq: 0,
            last_at: Timestamp::default(),
            phase: Phase::Fresh,
            stage: None,
            section: Section::Main,
            stop: None,
            unverified: false,
            cost: None,
            mode: None,
            tasks: vec![TaskEntry::new(); tasks],
            items: Items::default(),
        }
    }

    /// The run's status for people.
    #[must_use]
    pub const fn status(&self) -> RunStatus {
        match self.phase {
            Phase::Ended(status) => status,
            Phase::Fresh | Phase::Running => RunStatus::Running,
        }
    }

    /// Takes in one event. `index` is the node that it is about; `position` gives a task's place
    /// by its id.
    pub(crate) fn apply(
        &mut self,
        seq: Seq,
        at: Timestamp,
        event: &Event,
        index: Option<NodeIndex>,
        position: impl Fn(&TaskId) -> Option<TaskIndex>,
    ) -> Result<(), Illegal> {
        let illegal = |why| Illegal { event: event.kind(), why };
        if seq != self.last_seq + 1 {
            return Err(illegal("its number does not follow on the last"));
        }
        if at < self.last_at {
            return Err(illegal("it is earlier than the last"));
        }
        match (event, self.phase) {
            (Event::RunStarted { .. }, Phase::Fresh)
            | (Event::RunResumed { .. }, Phase::Running | Phase::Ended(_)) => {}
            (Event::RunStarted { .. }, _) => return Err(illegal("the run has begun before")),
            (_, Phase::Running) => {}
            (_, _) => return Err(illegal("the run is not under way")),
        }
        match event.task() {
            None => self.apply_to_run(at, event, &position).map_err(illegal)?,
            Some(_) => {
                let index = index.ok_or_else(|| illegal("the plan has no such task or item"))?;
                let before = self.tasks[index].status;
                self.apply_to_task(seq, at, event, index).map_err(illegal)?;
                self.moved(index, before);
            }
        }
        self.last_seq = seq;
        self.last_at = at;
        Ok(())
    }

    fn apply_to_run(
        &mut self,
        at: Timestamp,
        event: &Event,
        position: impl Fn(&TaskId) -> Option<TaskIndex>,
    ) -> Result<(), &'static str> {
        match event {
            Event::RunStarted { run, digest, request, slots, .. } => {
                self.run = Some(run.clone());
                self.digest.clone_from(digest);
                self.request = request.clone();
                self.slots = (*slots).max(1);
                self.started_at = at;
                self.clock_from = at;
                self.phase = Phase::Running;
            }
            Event::RunResumed { reset, items, request, slots, digest, .. } => {
                self.request = request.clone();
                self.digest.clone_from(digest);
                self.slots = (*slots).max(1);
                self.clock_from = at;
                self.phase = Phase::Running;
                (self.stop, self.stage) = (None, None);
                self.section = Section::Main;
                for id in reset {
                    let task = position(id).ok_or("the plan has no such task")?;
                    self.mode.take_if(|mode| mode.probe == task);
                    let entry = &mut self.tasks[task];
                    if !entry.status.is_final() {
                        return Err("a task that has not ended cannot start over");
                    }
                    entry.reset();
                }
                for reset in items {
                    let task = position(&reset.task).ok_or("the plan has no such task")?;
                    self.reset_items(at, task, reset)?;
                }
                for entry in &mut self.tasks {
                    entry.stopping = false;
                    entry.wait_anew();
                    if std::mem::take(&mut entry.listing) {
                        entry.status = TaskStatus::Pending;
                    }
                    if let Some(attempt) = &mut entry.attempt
                        && matches!(attempt.step, AttemptStep::Cleared | AttemptStep::Dispatched(_))
                    {
                        attempt.step = AttemptStep::Doubtful;
                    }
                }
            }
            Event::SlotsChanged { slots } => self.slots = (*slots).max(1),
            Event::ModeChosen { .. } => self.take_mode(event, &position)?,
            Event::StageOpened { stage } => self.stage = Some(*stage),
            Event::SectionOpened { section } => self.section = *section,
            Event::StopRequested { reason, at_once, .. } => {
                let at_once = *at_once || self.stop.is_some_and(|stop| stop.at_once);
                self.stop = Some(Stop { reason: *reason, at_once, section: self.section });
            }
            Event::RunEnded { status, .. } => self.phase = Phase::Ended(*status),
            _ => return Err("it names no task"),
        }
        Ok(())
    }

    fn apply_to_task(
        &mut self,
        seq: Seq,
        at: Timestamp,
        event: &Event,
        index: NodeIndex,
    ) -> Result<(), &'static str> {
        if let Event::ItemsExpanded { items, .. } = event {
            return self.expand(at, index, items);
        }
        if event.ends_task() && !self.items_have_ended(index) {
            return Err("its items have not ended");
        }
        let entry = &mut self.tasks[index];
        if entry.status.is_final() && !matches!(event, Event::StopRequested { .. }) {
            return Err("the task has ended");
        }
        match event {
            Event::AttemptEnded { attempt, report } => {
                entry.current(attempt.number)?;
                entry.end_attempt(at, report);
                if let Some(cost) = report.cost {
                    *self.cost.get_or_insert_default() += cost;
                }
                self.unverified |= matches!(report.teardown, Teardown::Unverified { .. });
            }
            Event::RetryScheduled { until, feedback, .. } => {
                entry.status = TaskStatus::Waiting;
                entry.waiting = Some((WaitingOn::Retry, Some(*until)));
                if *feedback {
                    entry.rounds += 1;
                    entry.tries = entry.tries.saturating_sub(1);
                }
            }
            Event::ItemsAsked { .. } => {
                if entry.expansion.is_some() || entry.attempt.is_some() {
                    return Err("the task has items or an attempt");
                }
                entry.status = TaskStatus::Running;
                entry.listing = true;
            }
            Event::StopRequested { .. } => entry.stopping = true,
            _ if event.ends_task() => return entry.conclude(at, event),
            _ if event.attempt().is_some() => return entry.begin_attempt(seq, at, event),
            _ => return entry.apply_wait(seq, event),
        }
        Ok(())
    }
}

impl TaskEntry {
    fn begin_attempt(
        &mut self,
        seq: Seq,
        at: Timestamp,
        event: &Event,
    ) -> Result<(), &'static str> {
        match event {
            Event::GrantAsked { attempt, wants } => {
                self.begin(attempt.number, AttemptStep::Asked(wants.clone()))?;
                self.status = TaskStatus::Waiting;
                self.waiting = Some((wants.waiting_on(), None));
            }
            Event::Granted { attempt } => {
                let state = self.current(attempt.number)?;
                if !matches!(state.step, AttemptStep::Asked(_)) {
                    return Err("the attempt has not asked");
                }
                state.step = AttemptStep::Granted;
            }
            Event::AttemptCleared { attempt } => {
                if self.attempt.is_none() {
                    self.begin(attempt.number, AttemptStep::Granted)?;
                }
                let state = self.current(attempt.number)?;
                if state.step != AttemptStep::Granted {
                    return Err("the attempt was cleared before");
                }
                state.step = AttemptStep::Cleared;
                state.seq = seq;
                self.status = TaskStatus::Queued;
                self.waiting = None;
            }
            Event::AttemptDispatched { attempt } => {
                let state = self.current(attempt.number)?;
                if !matches!(state.step, AttemptStep::Cleared | AttemptStep::Doubtful) {
                    return Err("the attempt is not cleared");
                }
                state.step = AttemptStep::Dispatched(at);
                self.status = TaskStatus::Running;
                self.started_at.get_or_insert(at);
                self.first_started_at.get_or_insert(at);
            }
            Event::AttemptRecalled { attempt } => {
                let state = self.current(attempt.number)?;
                if !state.step.begun() {
                    return Err("the attempt has not been dispatched");
                }
                state.step = AttemptStep::Cleared;
                self.status = TaskStatus::Queued;
            }
            _ => return Err("it is no event of a task"),
        }
        Ok(())
    }

    fn begin(&mut self, number: u32, step: AttemptStep) -> Result<(), &'static str> {
        if self.attempt.is_some() {
            return Err("another attempt has not ended");
        }
        if number != self.attempts + 1 {
            return Err("the attempt's number does not follow on the last");
        }
        self.attempts = number;
        self.attempt = Some(AttemptState { number, seq: 0, step });
        (self.waits.ready, self.waits.released) = (false, None);
        Ok(())
    }

    fn current(&mut self, number: u32) -> Result<&mut AttemptState, &'static str> {
        let attempt = self.attempt.as_mut().filter(|attempt| attempt.number == number);
        attempt.ok_or("no such attempt is under way")
    }

    fn end_attempt(&mut self, at: Timestamp, report: &AttemptReport) {
        if report.may_have_run() {
            // Its dispatch may have been lost with an engine.
            let started_at = report.started_at.unwrap_or(at);
            self.started_at.get_or_insert(started_at);
            self.first_started_at.get_or_insert(started_at);
        }
        self.attempt = None;
        self.status = TaskStatus::Pending;
        self.waiting = None;
        if report.outcome.uses_a_try() {
            self.tries += 1;
        }
        self.last = Some(Box::new(report.clone()));
    }

    fn conclude(&mut self, at: Timestamp, event: &Event) -> Result<(), &'static str> {
        if self.attempt.is_some() || self.waits.look().is_some() {
            return Err("its attempt or check has not ended");
        }
        (self.waits.check, self.waits.question) = (None, None);
        match event {
            Event::TaskSucceeded { .. } => self.end(TaskStatus::Succeeded, at),
            Event::TaskFailed { class, message, .. } => {
                self.failure = Some((*class, message.clone()));
                self.end(TaskStatus::Failed, at);
            }
            Event::TaskSkipped { reason, .. } => {
                self.skipped = Some(reason.clone());
                self.end(TaskStatus::Skipped, at);
            }
            Event::TaskBlocked { by, .. } => {
                self.blocked_by = Some(by.clone());
                self.end(TaskStatus::Blocked, at);
            }
            Event::TaskCancelled { .. } => self.end(TaskStatus::Cancelled, at),
            _ => return Err("it is no event of a task"),
        }
        Ok(())
    }
}
