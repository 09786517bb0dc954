//! What a task waits for besides needs, slots and grants: checks, and a person's answer.
//!
//! These are the words for it in plans, events and state. How a task goes through them is in
//! `checks`, `approvals` and `services`.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::state::AttemptStep;
use crate::{
    Event, Millis, Mode, Plan, Seq, StopReason, TaskEntry, TaskId, TaskStatus, Template, Timestamp,
    WaitingOn, render_known,
};

/// Something outside of the run that must be there, and how long to look for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precheck {
    /// What is looked at.
    pub probe: Probe,
    /// How long it may take until it is there, from the first look on.
    pub wait: Millis,
    /// Between two looks.
    pub every: Millis,
    /// What a person can do about it.
    pub hint: Option<String>,
}

/// What a check looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Probe {
    /// An address that must answer a GET with 2xx.
    Http {
        /// The address.
        url: Template,
    },
    /// A script that must end with 0.
    Run {
        /// The script, run as the task's own would be.
        script: Template,
    },
    /// A file that must exist.
    File {
        /// Relative to the task's folder.
        path: Template,
    },
}

impl Precheck {
    /// Unless `wait` says otherwise.
    pub const WAIT: Millis = Millis::from_secs(60);

    /// Unless `every` says otherwise.
    pub const EVERY: Millis = Millis::from_secs(2);

    /// The shortest `every`: each look is an event.
    pub const EVERY_MIN: Millis = Millis(100);

    /// How long one look may take where there is more time than this: a GET.
    pub const GET_MAX: Millis = Millis::from_secs(5);

    /// How long one look may take at least, however little time is left.
    pub const LOOK_MIN: Millis = Millis::from_secs(1);
}

impl Precheck {
    /// The most time that it takes until it has passed or failed.
    #[must_use]
    pub fn worst(&self) -> Millis {
        Millis(self.wait.0.saturating_add(Self::LOOK_MIN.0))
    }
}

impl Probe {
    /// What is looked at, as it stands in the workflow.
    #[must_use]
    pub const fn template(&self) -> &Template {
        match self {
            Self::Http { url } => url,
            Self::Run { script } => script,
            Self::File { path } => path,
        }
    }

    /// What is looked at for people, as in `http: http://localhost/health`: the parameters filled
    /// in, the rest as it stands in the workflow.
    #[must_use]
    pub fn shown(&self, plan: &Plan) -> String {
        let mode = if matches!(self, Self::Run { .. }) { Mode::Shell } else { Mode::Text };
        let scope = json!({"params": plan.params});
        let (what, _) = render_known(&self.template().0, mode, &scope);
        format!("{}: {}", self.word(), what.trim())
    }

    /// The key it stands at in the workflow.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Run { .. } => "run",
            Self::File { .. } => "file",
        }
    }
}

/// What makes a task a service: it runs in the background until its last dependent has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// When it counts as started; `None` is as soon as it was ordered to start.
    pub ready: Option<Precheck>,
}

/// Which of a task's checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// What must be there before its first attempt.
    Precheck,
    /// What says that its service is ready.
    Ready,
}

impl CheckKind {
    /// The key it stands at in the workflow.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Precheck => "precheck",
            Self::Ready => "ready",
        }
    }
}

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckAnswer {
    /// It is there.
    Passed,
    /// Not now; in a few words what was seen instead.
    NotYet(String),
    /// Nor at any later time: the check itself is wrong.
    Never(String),
}

/// A person's word on a task that asks for it, or what stands in for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Go on.
    Approve,
    /// Do not.
    Reject,
}

impl Answer {
    /// The verb and the word in the workflow file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// A look of a check began; the place of the event is its number for locks and records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStarted {
    /// The task.
    pub task: TaskId,
    /// Which of its checks.
    pub kind: CheckKind,
    /// When the time for it is up.
    pub until: Timestamp,
}

/// A look of a check came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckEnded {
    /// The task.
    pub task: TaskId,
    /// Which of its checks.
    pub kind: CheckKind,
    /// Whether it passed.
    pub passed: bool,
    /// What was seen instead.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub seen: String,
    /// When the next look is due; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
}

/// A person is asked; the place of the event tells this question from later ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalAsked {
    /// The task.
    pub task: TaskId,
    /// What is asked.
    pub message: String,
    /// When the time for an answer is up; `None` is when the run's is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The answer after that; `None` is a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Answer>,
}

/// The answer to what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalAnswered {
    /// The task.
    pub task: TaskId,
    /// The answer.
    pub answer: Answer,
    /// Who gave it; empty if it is the default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// What they said to it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A service was told to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReleased {
    /// The task.
    pub task: TaskId,
    /// Why.
    pub reason: StopReason,
    /// What is wrong with it, if anything is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fault: String,
}

/// An answer on its way to the run: to one question and no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenAnswer {
    /// The place of the [`ApprovalAsked`] that it answers.
    pub asked: Seq,
    /// What to record of it.
    #[serde(flatten)]
    pub answered: ApprovalAnswered,
}

/// What of a task's waiting is not in its status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waits {
    /// A check under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckState>,
    /// Its precheck has passed, under this engine.
    pub passed: bool,
    /// What a person is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
    /// What was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<ApprovalAnswered>,
    /// Its attempt is a service that was ready.
    pub ready: bool,
    /// Its attempt is a service that was told to stop, and what is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<(StopReason, String)>,
}

/// How far a check is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckState {
    /// Which of the task's checks.
    pub kind: CheckKind,
    /// When the time for it is up.
    pub until: Timestamp,
    /// The number of the look under way; `None` between two.
    pub look: Option<Seq>,
    /// When the next look is due, between two.
    pub next: Option<Timestamp>,
    /// What the last look saw.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub seen: String,
}

/// A question that has no answer yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The place of its event.
    pub asked: Seq,
    /// What is asked.
    pub message: String,
    /// When the time for an answer is up.
    pub until: Option<Timestamp>,
    /// The answer after that.
    pub default: Option<Answer>,
}

impl Waits {
    pub(crate) const fn none() -> Self {
        Self {
            check: None,
            passed: false,
            question: None,
            answer: None,
            ready: false,
            released: None,
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        *self == Self::none()
    }

    /// The number of the look under way.
    pub(crate) fn look(&self) -> Option<Seq> {
        self.check.as_ref()?.look
    }
}

impl TaskEntry {
    /// Takes in one of the events of this module.
    pub(crate) fn apply_wait(&mut self, seq: Seq, event: &Event) -> Result<(), &'static str> {
        match event {
            Event::CheckStarted(CheckStarted { kind, until, .. }) => {
                if self.waits.look().is_some() {
                    return Err("its check is under way");
                }
                let ready = *kind == CheckKind::Ready;
                let runs = self.attempt.as_ref().is_some_and(|attempt| attempt.step.begun());
                if ready != runs {
                    return Err("it is not the time for this check");
                }
                let (kind, until, look) = (*kind, *until, Some(seq));
                let check = self.waits.check.take();
                let seen = check.map(|check| check.seen).unwrap_or_default();
                self.waits.check = Some(CheckState { kind, until, look, next: None, seen });
                if !ready {
                    self.status = TaskStatus::Waiting;
                    self.waiting = Some((WaitingOn::Precheck, Some(until)));
                }
            }
            Event::CheckEnded(ended) => self.end_look(ended)?,
            Event::ApprovalAsked(asked) => {
                let ApprovalAsked { message, until, default, .. } = asked.clone();
                if self.attempt.is_some() || self.waits.question.is_some() {
                    return Err("it runs, or a person is asked already");
                }
                self.waits.question = Some(Question { asked: seq, message, until, default });
                self.status = TaskStatus::Waiting;
                self.waiting = Some((WaitingOn::Approval, until));
            }
            Event::ApprovalAnswered(answered) => {
                self.waits.question.take().ok_or("nobody was asked")?;
                self.waits.answer = Some(answered.clone());
                self.idle();
            }
            Event::ApprovalWithdrawn { .. } => {
                self.waits.question.take().ok_or("nobody was asked")?;
                self.idle();
            }
            Event::ServiceReady { .. } => {
                self.serves()?;
                self.waits.ready = true;
            }
            Event::ServiceReleased(ServiceReleased { reason, fault, .. }) => {
                self.serves()?;
                self.waits.released = Some((*reason, fault.clone()));
            }
            _ => return Err("it is no event of a task that waits"),
        }
        Ok(())
    }

    fn end_look(&mut self, ended: &CheckEnded) -> Result<(), &'static str> {
        let check = self.waits.check.as_mut().filter(|check| check.kind == ended.kind);
        let check = check.ok_or("no such check is under way")?;
        check.look = None;
        check.next = ended.next;
        check.seen.clone_from(&ended.seen);
        if ended.next.is_none() {
            self.waits.check = None;
            if ended.kind == CheckKind::Precheck {
                self.waits.passed = ended.passed;
                self.idle();
            }
        }
        Ok(())
    }

    fn serves(&self) -> Result<(), &'static str> {
        let step = self.attempt.as_ref().map(|attempt| &attempt.step);
        let runs = matches!(step, Some(AttemptStep::Dispatched(_)));
        if runs { Ok(()) } else { Err("it does not run") }
    }

    fn idle(&mut self) {
        self.status = TaskStatus::Pending;
        self.waiting = None;
    }

    /// Another engine goes on: checks begin anew, questions stay.
    pub(crate) fn wait_anew(&mut self) {
        if matches!(self.waiting, Some((WaitingOn::Precheck, _))) {
            self.idle();
        }
        self.waits.check = None;
        self.waits.passed = false;
        self.waits.released = None;
    }
}
