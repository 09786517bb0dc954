//! What a supervisor tells its engine, and how an attempt ended.
//!
//! [`Ended`] is also a persisted type: the `ended` line of `attempts.jsonl`. Knows nothing of why
//! an outcome counts as a failure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::request::StopReason;

/// One message of the supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The run's `starts.lock` is held; starts are taken.
    RunOpened {
        /// The run's folder.
        run_dir: PathBuf,
    },
    /// The run cannot be opened.
    RunRefused {
        /// The run's folder.
        run_dir: PathBuf,
        /// Why, such as another supervisor that holds its `starts.lock`.
        message: String,
    },
    /// The program runs. It comes with `Ended` when that follows within two milliseconds.
    Spawned {
        /// The run's folder.
        run_dir: PathBuf,
        /// The attempt.
        number: u64,
        /// The program's process, leader of its own session.
        pid: u32,
        /// The process that owns the attempt.
        keeper_pid: u32,
        /// When it was started, in milliseconds since the Unix epoch.
        started_unix_ms: u64,
    },
    /// Nothing was started and nothing recorded; the same start may be asked for again.
    StartRefused {
        /// The run's folder.
        run_dir: PathBuf,
        /// The attempt.
        number: u64,
        /// Why: a mistake in the start, a run that is not open, a number in use, no process left.
        message: String,
    },
    /// The attempt is over and recorded.
    Ended(Ended),
    /// A request was not understood; nothing was done about it.
    Rejected {
        /// What was wrong with it.
        message: String,
    },
}

/// How one attempt ended, and what it used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The run's folder; not part of the record, which lies in it.
    #[serde(skip)]
    pub run_dir: PathBuf,
    /// The attempt.
    pub number: u64,
    /// What the records call it.
    pub label: String,
    /// How it ended.
    pub outcome: Outcome,
    /// When the keeper took it on, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// When its processes were gone, in milliseconds since the Unix epoch.
    pub ended_unix_ms: u64,
    /// Processor time in user mode, of all processes that were waited for.
    #[serde(default)]
    pub user_ms: u64,
    /// Processor time in the kernel.
    #[serde(default)]
    pub system_ms: u64,
    /// The greatest resident set of one of its processes; the keeper's own few MiB at least,
    /// as the kernel counts what was there before `exec`.
    #[serde(default)]
    pub peak_memory_bytes: u64,
    /// The most memory of all its processes at one time, what they share counted once; `None`
    /// where nobody looked: an attempt without a limit of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_peak_memory_bytes: Option<u64>,
    /// It was killed, by `SIGKILL`, because its processes used more memory than they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_exceeded: Option<MemoryExceeded>,
    /// Bytes the attempt wrote to standard output, before masking and limits.
    #[serde(default)]
    pub stdout_bytes: u64,
    /// Bytes the attempt wrote to standard error, before masking and limits.
    #[serde(default)]
    pub stderr_bytes: u64,
    /// Bytes that are in neither log because of a limit or a failed write.
    #[serde(default)]
    pub omitted_bytes: u64,
    /// Why output or a record could not be written, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_error: Option<String>,
    /// What became of its processes.
    pub teardown: Teardown,
}

/// A limit of memory, and what was used instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryExceeded {
    /// [`Limits::memory_bytes_max`](crate::Limits::memory_bytes_max).
    pub limit_bytes: u64,
    /// What its processes used when they were killed.
    pub used_bytes: u64,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The program exited by itself.
    Exited {
        /// Its exit code, 0 to 255.
        code: i32,
    },
    /// A signal that was not ours ended the program.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// A limit in time was reached.
    TimedOut {
        /// Which one.
        limit: TimeLimit,
    },
    /// The program was not started.
    SpawnFailed {
        /// What stood in the way.
        kind: SpawnFailure,
        /// The same for a person, with the name it is about.
        message: String,
    },
    /// It was stopped from outside.
    Cancelled {
        /// Why.
        reason: StopReason,
    },
    /// No engine came back within `orphan_ms`.
    Parked,
    /// It wrote more than `stdout_bytes_stop`.
    OutputLimit,
    /// Its keeper was killed, and it with it.
    Lost,
}

/// Which limit in time was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeLimit {
    /// `timeout_ms`.
    Total,
    /// `stall_ms`.
    Stall,
    /// `run_deadline_unix_ms`.
    Run,
}

/// What stood in the way of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpawnFailure {
    /// No such program, or the interpreter its first line names is missing.
    ProgramNotFound,
    /// The working directory is missing or not a directory.
    DirectoryNotFound,
    /// The program or its directory may not be used.
    PermissionDenied,
    /// Arguments and environment are longer than the kernel takes.
    ArgumentsTooLong,
    /// Anything else; the message says it.
    Other,
}

/// What became of an attempt's processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Teardown {
    /// The tree was seen to be empty (but for what `leave` names).
    Verified {
        /// Processes that outlived the program and had to be killed.
        stragglers: u32,
    },
    /// The kernel did not let these go in time.
    Unverified {
        /// What was still there.
        pids: Vec<u32>,
    },
}
