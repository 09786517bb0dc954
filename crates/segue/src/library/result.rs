//! What came of a process.

use std::path::PathBuf;
use std::time::Duration;

use segue_core::{AttemptReport, FailureClass, Outcome, Timestamp, Usd, Value};
use serde_json::json;

use super::compat::{self, View};

/// Tokens that an agent used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Into the model.
    pub input_tokens: u64,
    /// Out of it.
    pub output_tokens: u64,
}

/// What came of one process: always there, whatever went wrong, and always with its name and its
/// place among the inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessResult {
    /// What it is called; unique among the results.
    pub id: String,
    /// Its place among the processes that were given.
    pub index: usize,
    /// How it ended, as the kernel or Segue itself saw it.
    pub outcome: Outcome,
    /// Why it counts as failed; `None` is success.
    pub class: Option<FailureClass>,
    /// The failure in one line; empty for a success.
    pub message: String,
    /// All it printed, as text; bytes that are no UTF-8 are replaced and nothing else is lost.
    pub stdout: String,
    /// As `stdout`. What never ran has the reason here.
    pub stderr: String,
    /// The bytes of `stdout` in a file, if its log is kept.
    pub stdout_path: Option<PathBuf>,
    /// The bytes of `stderr` in a file, if its log is kept.
    pub stderr_path: Option<PathBuf>,
    /// Bytes that were printed past the output limit and are not kept.
    pub omitted_bytes: u64,
    /// What it wrote at `$SEGUE_RESULT`: JSON where it is JSON, else text.
    pub value: Option<Value>,
    /// Why what it wrote there cannot be used.
    pub value_error: Option<String>,
    /// How long its last attempt took; zero for what never ran.
    pub duration: Duration,
    /// When its last attempt was started.
    pub started_at: Option<Timestamp>,
    /// When its last attempt's processes were seen to be gone.
    pub ended_at: Option<Timestamp>,
    /// How often it was tried.
    pub attempts: u32,
    /// What it used; `None` if nobody was told.
    pub usage: Option<Usage>,
    /// What it cost; `None` if nobody was told.
    pub cost: Option<Usd>,
    /// Processes that may still run, because the kernel did not let them be ended.
    pub left_behind: Vec<u32>,
}

impl ProcessResult {
    /// Whether it succeeded.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        self.class.is_none()
    }

    /// Its exit code in the view of the originals: -1 for what was stopped by a time limit or
    /// never ran.
    #[must_use]
    pub const fn exit_code(&self) -> i32 {
        compat::exit_code(&self.outcome, View::Orchestration)
    }

    /// Of the report of its last attempt.
    pub(super) fn of(id: String, index: usize, attempts: u32, report: AttemptReport) -> Self {
        let took = |(from, to): (Timestamp, Timestamp)| Duration::from_millis(to.since(from).0);
        let left_behind = match &report.teardown {
            segue_core::Teardown::Unverified { pids } => pids.clone(),
            _ => Vec::new(),
        };
        Self {
            id,
            index,
            duration: report.started_at.zip(report.ended_at).map_or(Duration::ZERO, took),
            outcome: report.outcome,
            class: report.class,
            message: report.message,
            stdout: String::new(),
            stderr: String::new(),
            stdout_path: None,
            stderr_path: None,
            omitted_bytes: report.resources.omitted_bytes,
            value: None,
            value_error: None,
            started_at: report.started_at,
            ended_at: report.ended_at,
            attempts,
            usage: None,
            cost: report.cost,
            left_behind,
        }
    }

    /// The result as `segue exec` writes it: one JSON object, every key always there.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "index": self.index,
            "id": self.id,
            "status": if self.succeeded() { "succeeded" } else { "failed" },
            "outcome": self.outcome,
            "class": self.class,
            "message": self.message,
            "exit_code": self.exit_code(),
            "stdout": self.stdout,
            "stderr": self.stderr,
            "stdout_path": self.stdout_path,
            "stderr_path": self.stderr_path,
            "omitted_bytes": self.omitted_bytes,
            "value": self.value,
            "value_error": self.value_error,
            "duration": self.duration.as_secs_f64(),
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "attempts": self.attempts,
            "usage": self.usage.map(|usage| json!({
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
            })),
            "cost_usd": self.cost.map(Usd::dollars),
            "left_behind": self.left_behind,
        })
    }
}

/// The same results in the order of the inputs.
#[must_use]
pub fn in_input_order(mut results: Vec<ProcessResult>) -> Vec<ProcessResult> {
    results.sort_by_key(|result| result.index);
    results
}
