//! How things stand and how they ended: statuses, outcomes, failure classes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::TaskId;

/// Makes an enum of plain words: one table for serde, `Display`, `ALL` and parsing.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// Every value, in the order of the glossary.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word for it, as files and screens show it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The value that `word` names.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words! {
    /// How a task stands.
    TaskStatus {
        /// Its needs or its stage are not there yet.
        Pending = "pending",
        /// Cleared to start, waiting for a slot.
        Queued = "queued",
        /// An attempt of it may be running.
        Running = "running",
        /// Holds no slot and waits: for a retry, a limit, an approval or a lock.
        Waiting = "waiting",
        /// Done, with evidence.
        Succeeded = "succeeded",
        /// Out of tries.
        Failed = "failed",
        /// Decided against: a condition, a choice, a skipped need.
        Skipped = "skipped",
        /// Cannot run because a need failed.
        Blocked = "blocked",
        /// Ended by a person or by `fail_fast`.
        Cancelled = "cancelled",
    }
}

impl TaskStatus {
    /// Whether nothing more happens to the task unless the run is resumed.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Skipped | Self::Blocked | Self::Cancelled
        )
    }
}

words! {
    /// How a run stands.
    RunStatus {
        /// Under way, or its engine died and nobody has resumed it yet.
        Running = "running",
        /// Everything that counts succeeded.
        Succeeded = "succeeded",
        /// An optional task failed, or a teardown could not be verified.
        Warned = "warned",
        /// A task failed, was blocked, or the run's time was up.
        Failed = "failed",
        /// Ended by a person; `resume` takes it up again.
        Cancelled = "cancelled",
        /// Stopped by a signal; `resume` goes on.
        Interrupted = "interrupted",
    }
}

words! {
    /// Why an attempt counts as failed.
    FailureClass {
        /// Money or tokens are used up.
        Budget = "budget",
        /// A key is missing or refused.
        Auth = "auth",
        /// The provider says: later.
        RateLimit = "rate_limit",
        /// The provider is overloaded.
        Overloaded = "overloaded",
        /// The network failed.
        Network = "network",
        /// The attempt's or the run's time was up.
        Timeout = "timeout",
        /// No output and no work for the stall window.
        Stall = "stall",
        /// Out of memory.
        Memory = "memory",
        /// A gate did not pass.
        Quality = "quality",
        /// A permission was denied.
        Permission = "permission",
        /// A precheck never passed.
        Precheck = "precheck",
        /// A promised output or result is missing or malformed.
        Output = "output",
        /// The request itself is wrong.
        InvalidRequest = "invalid_request",
        /// The program could not be started or prepared.
        Spawn = "spawn",
        /// Nobody knows how it ended: its keeper and supervisor were killed.
        Lost = "lost",
        /// Stopped on request.
        Cancelled = "cancelled",
        /// A merge conflict.
        Conflict = "conflict",
        /// The same failures came back unchanged.
        NoProgress = "no_progress",
        /// The program failed: exit code or signal.
        Execution = "execution",
        /// None of the above.
        Unknown = "unknown",
    }
}

impl FailureClass {
    /// Classes that can pass on another try: what `retry.on` holds unless it is given.
    pub const RETRIED: &'static [Self] = &[
        Self::RateLimit,
        Self::Overloaded,
        Self::Network,
        Self::Timeout,
        Self::Stall,
        Self::Lost,
        Self::Spawn,
        Self::Execution,
        Self::Quality,
    ];

    /// Whether a run whose every root cause is of this class ends with exit code 3.
    #[must_use]
    pub const fn is_verdict(self) -> bool {
        matches!(self, Self::Quality | Self::Budget)
    }
}

/// Which time limit ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeLimit {
    /// The attempt's `timeout`.
    Total,
    /// The attempt's `stall`.
    Stall,
    /// The run's `limits.timeout`.
    Run,
}

/// Why an attempt was stopped on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// A person cancelled the run or the task.
    Cancelled,
    /// Segue was told to stop, or the keeper was; no retry is used.
    Shutdown,
    /// Another task failed and the workflow says `fail_fast`.
    FailFast,
    /// The run's own time limit.
    RunTimeout,
    /// The journal could not be written.
    DiskFull,
    /// All that needed the service has ended.
    Released,
    /// The service was not ready in time.
    NotReady,
    /// A service that it needs ended early.
    ServiceEnded,
}

/// How an attempt ended, as the kernel or Segue itself saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Outcome {
    /// The program ended by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal that Segue did not send ended it.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// Segue stopped it at a time limit.
    TimedOut {
        /// Which limit.
        limit: TimeLimit,
    },
    /// It never ran.
    SpawnFailed {
        /// `prepare`, `program_not_found`, `directory_not_found`, … .
        kind: String,
        /// What failed, naming the thing.
        message: String,
    },
    /// Segue stopped it on request.
    Cancelled {
        /// Whose request.
        reason: StopReason,
    },
    /// Stopped after `orphan_for` without an engine; resume goes on without using a try.
    Parked,
    /// Nobody knows: keeper and supervisor were killed.
    Lost,
    /// It printed more than its structured stream may hold.
    OutputLimit,
}

impl Outcome {
    /// The class of an attempt that ended so whatever else is known; `None` for a program that
    /// ended by itself, which alone can have succeeded.
    #[must_use]
    pub const fn class_at_least(&self) -> Option<FailureClass> {
        Some(match self {
            Self::Exited { .. } => return None,
            Self::Signaled { .. } => FailureClass::Execution,
            Self::TimedOut { limit: TimeLimit::Stall } => FailureClass::Stall,
            Self::TimedOut { .. } => FailureClass::Timeout,
            Self::SpawnFailed { .. } => FailureClass::Spawn,
            Self::Cancelled { .. } => FailureClass::Cancelled,
            Self::Parked | Self::Lost => FailureClass::Lost,
            Self::OutputLimit => FailureClass::Output,
        })
    }

    /// Whether an attempt that ended so counts against the allowance of tries.
    pub(crate) const fn uses_a_try(&self) -> bool {
        !matches!(
            self,
            Self::Parked | Self::Cancelled { reason: StopReason::Shutdown | StopReason::DiskFull }
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exited with code {code}"),
            Self::Signaled { signal } => write!(f, "ended by signal {signal}"),
            Self::TimedOut { limit: TimeLimit::Total } => f.write_str("timed out"),
            Self::TimedOut { limit: TimeLimit::Stall } => f.write_str("stalled"),
            Self::TimedOut { limit: TimeLimit::Run } => f.write_str("stopped at the run's timeout"),
            Self::SpawnFailed { message, .. } => write!(f, "could not start: {message}"),
            Self::Cancelled { .. } => f.write_str("stopped on request"),
            Self::Parked => f.write_str("parked"),
            Self::Lost => f.write_str("lost: its keeper and supervisor were killed"),
            Self::OutputLimit => f.write_str("printed more than its limit"),
        }
    }
}

/// What was seen of an attempt's process tree when it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "teardown", rename_all = "snake_case")]
pub enum Teardown {
    /// The tree was seen to be empty.
    Verified {
        /// How many processes outlived the main one and were killed.
        #[serde(default, skip_serializing_if = "is_zero")]
        stragglers: u32,
    },
    /// Nobody saw it empty: the kernel refused, or its keeper was killed.
    Unverified {
        /// The processes that may still run, as far as they are known.
        pids: Vec<u32>,
    },
    /// There was no process.
    None,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Why a task was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum SkipReason {
    /// `if` was false.
    ConditionFalse {
        /// The expression.
        expression: String,
    },
    /// `skip_if` was true.
    SkipIf {
        /// The expression.
        expression: String,
    },
    /// A need was skipped.
    NeedSkipped {
        /// Which one.
        need: TaskId,
    },
    /// `when` asked for something its needs did not do.
    WhenUnmet {
        /// The rule, as written.
        rule: String,
    },
    /// `--only` or `--skip` left it out.
    NotSelected,
    /// The run did not end in the way that this task handles.
    SectionNotEntered,
    /// It is a service, and all that needs it has ended.
    NotNeeded,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConditionFalse { expression } => write!(f, "`if: {expression}` is false"),
            Self::SkipIf { expression } => write!(f, "`skip_if: {expression}` is true"),
            Self::NeedSkipped { need } => write!(f, "its need `{need}` was skipped"),
            Self::WhenUnmet { rule } => write!(f, "`when: {rule}` did not come about"),
            Self::NotSelected => f.write_str("not selected"),
            Self::NotNeeded => f.write_str("nothing that needs it is left to run"),
            Self::SectionNotEntered => f.write_str("the run did not end that way"),
        }
    }
}

/// What a waiting task waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "on", rename_all = "snake_case")]
pub enum WaitingOn {
    /// The delay before the next try.
    Retry,
    /// What must be there before its first attempt.
    Precheck,
    /// A person's answer.
    Approval,
    /// A grant of the arbiter: a concurrency group.
    Lock {
        /// The key of the group.
        key: String,
    },
}

/// A key of a check: which gate it was, for reports and feedback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// `score`, `verify`, `schema` or `files`.
    pub gate: String,
    /// Whether it passed. Gates fail closed: one that could not be evaluated did not pass.
    pub passed: bool,
    /// What was seen, naming the thing: `quality 6.1 is below 7`.
    pub detail: String,
    /// The measured value, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Whether the next attempt is a feedback round.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub feedback: bool,
}
