//! The facts of a run, in the past tense: what the journal holds and everything folds from.
//!
//! A change here is a change of the journal's format: give a new field a default, never
//! rename a word, and add a golden file when [`EVENT_VERSION`] grows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::Value;
use crate::{
    ApprovalAnswered, ApprovalAsked, AttemptId, CheckEnded, CheckStarted, FailureClass, Finding,
    ItemKey, ItemsReset, ListedItem, Outcome, RunId, RunRequest, RunStatus, Section,
    ServiceReleased, SkipReason, StopReason, Stored, TaskId, Teardown, Timestamp, Usd, WaitingOn,
};

/// The version of [`Event`] that this build writes. It reads this and all before it.
pub const EVENT_VERSION: u32 = 1;

/// An event's place in its run's journal, from 1 without gaps.
pub type Seq = u64;

/// An event with its place and time: one line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its place.
    pub seq: Seq,
    /// When it was recorded; never earlier than the event before it.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The run began. Always the first event.
    RunStarted {
        /// The run.
        run: RunId,
        /// The workflow's name.
        workflow: String,
        /// [`Plan::digest`](crate::Plan::digest), which a resume must find again.
        digest: String,
        /// What was asked for.
        request: RunRequest,
        /// How many attempts may run at once.
        slots: u32,
        /// Segue's version.
        segue: String,
        /// The machine, for reports.
        #[serde(default)]
        hardware: Hardware,
    },
    /// Another engine took over, or a person asked for more.
    RunResumed {
        /// Tasks that start over with a fresh allowance of tries.
        reset: Vec<TaskId>,
        /// What was asked for, the earlier request included.
        request: RunRequest,
        /// How many attempts may run at once.
        slots: u32,
        /// The digest of the plan from here on; differs after `--accept-changes`.
        digest: String,
        /// Segue's version.
        segue: String,
        /// What becomes of the items of `for_each` tasks.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        items: Vec<ItemsReset>,
    },
    /// The number of slots changed.
    SlotsChanged {
        /// From now on.
        slots: u32,
    },
    /// The probe's number picked a mode, which holds for the rest of the run and its resumes.
    ModeChosen {
        /// The probe that measured it.
        probe: TaskId,
        /// What it measured.
        number: f64,
        /// The mode.
        mode: String,
        /// Tasks that do not run in it.
        excluded: Vec<TaskId>,
        /// How many attempts may run at once in it; `None` leaves the number as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slots: Option<u32>,
    },
    /// Every task of the stages before has ended.
    StageOpened {
        /// The stage whose tasks may start now.
        stage: u32,
    },
    /// The sections before have ended.
    SectionOpened {
        /// The section whose tasks may start now.
        section: Section,
    },
    /// A task waits for the arbiter's grant for this attempt.
    GrantAsked {
        /// The attempt it is for.
        attempt: AttemptId,
        /// What it waits on.
        wants: Wants,
    },
    /// The arbiter granted it.
    Granted {
        /// The attempt it is for.
        attempt: AttemptId,
    },
    /// The attempt may start, and from now on may have started.
    AttemptCleared {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The attempt got a slot and was ordered to start.
    AttemptDispatched {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The order never reached a process; the attempt waits for a slot again.
    AttemptRecalled {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The attempt ended, or will never start.
    AttemptEnded {
        /// The attempt.
        attempt: AttemptId,
        /// How, and what is known of it.
        report: Box<AttemptReport>,
    },
    /// The task waits for its next try.
    RetryScheduled {
        /// The task.
        task: TaskId,
        /// Its item, if it is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<ItemKey>,
        /// When.
        until: Timestamp,
        /// Why the attempt before failed.
        class: FailureClass,
        /// Whether the next attempt is a gate's feedback round.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        feedback: bool,
    },
    /// The task is done.
    TaskSucceeded {
        /// The task.
        task: TaskId,
        /// Its item, if it is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<ItemKey>,
    },
    /// The task is out of tries.
    TaskFailed {
        /// The task.
        task: TaskId,
        /// Its item, if it is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<ItemKey>,
        /// Why.
        class: FailureClass,
        /// In one line, naming the thing.
        message: String,
    },
    /// The task will not run, by decision.
    TaskSkipped {
        /// The task.
        task: TaskId,
        /// Its item, if it is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<ItemKey>,
        /// Why.
        reason: SkipReason,
    },
    /// The task cannot run.
    TaskBlocked {
        /// The task.
        task: TaskId,
        /// Its item, if it is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<ItemKey>,
        /// The task at the root of it.
        by: TaskId,
    },
    /// The task was ended on request.
    TaskCancelled {
        /// The task.
        task: TaskId,
        /// Its item, if it is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<ItemKey>,
    },
    /// The driver was asked for the items of a `for_each` task.
    ItemsAsked {
        /// The task.
        task: TaskId,
    },
    /// A `for_each` task has its items.
    ItemsExpanded {
        /// The task.
        task: TaskId,
        /// All of them, in input order.
        items: Vec<ListedItem>,
    },
    /// A look of a check began.
    CheckStarted(CheckStarted),
    /// A look of a check came to its end.
    CheckEnded(CheckEnded),
    /// A person is asked.
    ApprovalAsked(ApprovalAsked),
    /// The person, or time, has answered.
    ApprovalAnswered(ApprovalAnswered),
    /// What was asked is no longer the question: the task begins anew.
    ApprovalWithdrawn {
        /// The task.
        task: TaskId,
    },
    /// A service is ready for its dependents.
    ServiceReady {
        /// The task.
        task: TaskId,
    },
    /// A service was told to stop.
    ServiceReleased(ServiceReleased),
    /// Somebody asked for a task or the whole run to end.
    StopRequested {
        /// Only this task; `None` is the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
        /// Who or what.
        reason: StopReason,
        /// Without grace.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        at_once: bool,
    },
    /// The run ended.
    RunEnded {
        /// How.
        status: RunStatus,
        /// The workflow's `outputs`.
        outputs: BTreeMap<String, Value>,
        /// The first root cause, for a run that failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
        /// Whether every root cause is a gate or a budget (exit code 3).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        verdict_only: bool,
    },
}

/// The machine a run started on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hardware {
    /// Cores that may be used.
    pub cores: u32,
    /// Memory that may be used.
    pub memory_bytes: u64,
    /// The processor's name.
    pub cpu_model: String,
    /// `container`, `vm` or `bare metal`.
    pub kind: String,
}

/// What an attempt needs of the arbiter before it may start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wants {
    /// The concurrency group's key.
    pub group: String,
    /// How many may hold it at once.
    pub max: u32,
    /// Fail instead of waiting.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reject: bool,
}

impl Wants {
    /// What the task waits on meanwhile.
    #[must_use]
    pub fn waiting_on(&self) -> WaitingOn {
        WaitingOn::Lock { key: self.group.clone() }
    }
}

/// Everything known of an ended attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Why it counts as failed; `None` if all evidence says it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<FailureClass>,
    /// The failure in one line, naming the thing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When its process was started; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When its tree was seen to be empty, or given up on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What was seen of its process tree.
    pub teardown: Teardown,
    /// Its result, if anything in the plan wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Stored>,
    /// Its outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Stored>,
    /// Files its gates found, relative to the workflow's folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// What its gates said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// The last lines of stderr of a failed attempt, at most 4 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr_tail: String,
    /// What it cost the machine.
    #[serde(default)]
    pub resources: Resources,
    /// What it cost in money; `None` if it told nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Usd>,
}

/// What an attempt took of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// CPU time in user mode, the whole tree.
    pub user_ms: u64,
    /// CPU time in the kernel, the whole tree.
    pub system_ms: u64,
    /// The greatest memory of any one process of the tree.
    pub peak_memory_bytes: u64,
    /// The most memory of the whole tree at one time, where it was looked at: what processes
    /// share counts once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree_peak_memory_bytes: Option<u64>,
    /// Bytes printed on stdout.
    pub stdout_bytes: u64,
    /// Bytes printed on stderr.
    pub stderr_bytes: u64,
    /// Bytes printed but not kept.
    pub omitted_bytes: u64,
}

/// A root cause of a run's failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The task that failed; `None` if the run itself did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// Why.
    pub class: FailureClass,
    /// In one line.
    pub message: String,
}

impl AttemptReport {
    /// A report that says only how it ended and why that is a failure.
    #[must_use]
    pub fn bare(outcome: Outcome, class: Option<FailureClass>, teardown: Teardown) -> Self {
        let message = if class.is_some() { outcome.to_string() } else { String::new() };
        Self {
            outcome,
            class,
            message,
            started_at: None,
            ended_at: None,
            teardown,
            result: None,
            outputs: BTreeMap::new(),
            files: Vec::new(),
            findings: Vec::new(),
            stderr_tail: String::new(),
            resources: Resources::default(),
            cost: None,
        }
    }

    /// Whether a process may have been made for the attempt.
    pub(crate) const fn may_have_run(&self) -> bool {
        let never = matches!(self.outcome, Outcome::SpawnFailed { .. } | Outcome::Cancelled { .. });
        self.started_at.is_some() || !never
    }

    /// The exit code, where the program ended by itself.
    #[must_use]
    pub const fn exit_code(&self) -> Option<i32> {
        match self.outcome {
            Outcome::Exited { code } => Some(code),
            _ => None,
        }
    }
}
