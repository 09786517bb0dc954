//! What goes into the scheduler and what comes out besides events.

use crate::{
    AttemptId, AttemptReport, CheckAnswer, CheckKind, Event, GivenAnswer, RunRequest, Seq,
    StopReason, Stored, TaskId, Timestamp, Wants,
};

/// Something that happened, as the driver tells it to the scheduler.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Begin. The first input of a new run, exactly once.
    Start {
        /// What [`Event::RunStarted`] records.
        started: Box<Event>,
    },
    /// Go on after [`Scheduler::recover`](crate::Scheduler::recover). The first input then.
    Resume(Box<Resume>),
    /// The deadline that `next_deadline` named has come.
    TimerFired,
    /// An attempt ended.
    AttemptEnded {
        /// Which.
        attempt: AttemptId,
        /// How.
        report: Box<AttemptReport>,
    },
    /// Answer to [`Effect::Reattach`]: it runs and is being watched.
    Reattached {
        /// Which.
        attempt: AttemptId,
    },
    /// Answer to [`Effect::Reattach`]: no process was ever made for it.
    NeverStarted {
        /// Which.
        attempt: AttemptId,
    },
    /// Answer to [`Effect::Ask`]: it has what it wants.
    Granted {
        /// Which.
        attempt: AttemptId,
    },
    /// Answer to [`Effect::Ask`]: it will not get it.
    Refused {
        /// Which.
        attempt: AttemptId,
        /// In one line.
        message: String,
    },
    /// Answer to [`Effect::Expand`]: the values of a task's items, in input order, exclusions
    /// applied ([`list_items`](crate::list_items)); what is not small lies in a file.
    Expanded {
        /// The task.
        task: TaskId,
        /// The values; or in one line why there is no list.
        items: Result<Vec<Stored>, String>,
    },
    /// Answer to [`Effect::Check`].
    Checked {
        /// Whose check.
        task: TaskId,
        /// The look's number.
        number: Seq,
        /// What it found.
        answer: CheckAnswer,
    },
    /// A person answers what a task asks.
    Answered(GivenAnswer),
    /// A person or a signal asks for an end.
    Stop {
        /// Only this task; `None` is the run.
        task: Option<TaskId>,
        /// Why.
        reason: StopReason,
        /// Without grace.
        at_once: bool,
    },
    /// The number of slots changed.
    SlotsChanged {
        /// From now on; at least 1.
        slots: u32,
    },
}

impl Input {
    /// The number of slots that it brings, if it does.
    #[must_use]
    pub fn slots(&self) -> Option<u32> {
        match self {
            Self::Start { started } => match **started {
                Event::RunStarted { slots, .. } => Some(slots),
                _ => None,
            },
            Self::Resume(resume) => Some(resume.slots),
            Self::SlotsChanged { slots } => Some(*slots),
            _ => None,
        }
    }
}

/// What to do with a recovered run.
#[derive(Clone, Debug, PartialEq)]
pub struct Resume {
    /// Which tasks start over.
    pub scope: ResumeScope,
    /// The request from now on, overrides applied.
    pub request: RunRequest,
    /// How many attempts may run at once.
    pub slots: u32,
    /// Segue's version.
    pub segue: String,
    /// What was answered while nobody drove the run.
    pub answers: Vec<GivenAnswer>,
}

/// Which tasks of a recovered run start over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResumeScope {
    /// Those that did not succeed.
    Unfinished,
    /// This one and all that depend on it, succeeded or not.
    From(TaskId),
}

/// An order to the driver. Idempotent: the same effect may be issued again after a crash.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Start the attempt, unless it was ever started.
    StartAttempt {
        /// Which.
        attempt: AttemptId,
        /// The place of its `attempt_cleared` event: its number for locks and records.
        number: Seq,
    },
    /// Stop it; it then ends with a report like any other.
    StopAttempt {
        /// Which.
        attempt: AttemptId,
        /// Why.
        reason: StopReason,
        /// Without grace.
        at_once: bool,
    },
    /// Find out what became of it and answer `Reattached`, `NeverStarted` or `AttemptEnded`.
    Reattach {
        /// Which.
        attempt: AttemptId,
        /// Its number for locks and records.
        number: Seq,
    },
    /// Ask the arbiter, and answer `Granted` or `Refused` when it is decided.
    Ask {
        /// For which attempt.
        attempt: AttemptId,
        /// What it wants.
        wants: Wants,
    },
    /// List the items of a `for_each` task whose list the scheduler cannot make: it is made of
    /// files or of values that lie in files, or it has large items. Answer `Expanded`.
    Expand {
        /// The task.
        task: TaskId,
    },
    /// Look once, and answer [`Input::Checked`].
    Check {
        /// Whose check.
        task: TaskId,
        /// Which of the task's checks.
        kind: CheckKind,
        /// The look's number for locks and records: the place of its `check_started`.
        number: Seq,
        /// When the time for the check is up.
        until: Timestamp,
    },
    /// End a look at once; it still has an answer.
    StopCheck {
        /// The look's number.
        number: Seq,
    },
    /// Give back what the attempt holds or asks for at the arbiter.
    Release {
        /// Which.
        attempt: AttemptId,
    },
    /// The run has ended; its last event is in this output.
    FinishRun,
}

/// What one input led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Facts to append, in order.
    pub events: Vec<Event>,
    /// Orders to perform afterwards, each no earlier than its event is on disk.
    pub effects: Vec<Ordered>,
}

/// An effect and the event that must be on disk before it is performed.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordered {
    /// The place of that event.
    pub after: Seq,
    /// The order.
    pub effect: Effect,
}
