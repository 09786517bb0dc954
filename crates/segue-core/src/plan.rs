//! The plan: the checked DAG of tasks, every name resolved, every limit a number.
//!
//! `segue-spec` lowers a workflow's text and its parameters to this; the scheduler and the
//! attempt act on it and nothing else. It knows no YAML and no path of the machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Answer, FailureClass, ForEach, Millis, PlanMode, Precheck, Prompt, Service, TaskId, Usd,
};

/// The version of [`Plan`] as written to `plan.json`.
pub const PLAN_VERSION: u32 = 1;

/// Any JSON value: parameters, results, outputs.
pub type Value = serde_json::Value;

/// A task's place in [`Plan::tasks`].
pub type TaskIndex = usize;

/// A minijinja template, rendered when an attempt is prepared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub String);

/// A minijinja expression, evaluated by the scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expression(pub String);

/// What one run executes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_VERSION`] of the writer.
    pub version: u32,
    /// The workflow's name.
    pub workflow: String,
    /// SHA-256 of the workflow's text and of every file it is made of, in hex.
    pub digest: String,
    /// Parameter values, defaults and conversions applied.
    pub params: BTreeMap<String, Value>,
    /// Names of all secrets the workflow declares.
    pub secrets: Vec<String>,
    /// Limits of the whole run.
    pub limits: RunLimits,
    /// Cancel everything else when a task fails.
    pub fail_fast: bool,
    /// All tasks of all sections, in file order.
    pub tasks: Vec<Task>,
    /// The run's result, in file order.
    pub outputs: Vec<(String, Expression)>,
    /// Printed at the end.
    pub display: Option<Template>,
    /// The mode it runs in; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PlanMode>,
}

/// Limits of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunLimits {
    /// How long the run may take, waiting included.
    pub timeout: Millis,
    /// How many attempts may run at once; `None` means as many as the machine bears.
    pub concurrency: Option<u32>,
    /// No attempt starts with less free disk than this.
    pub min_free_disk_bytes: u64,
    /// Money for the run.
    pub budget: Option<Usd>,
    /// Tokens for the run.
    pub tokens: Option<u64>,
}

/// Where in the run a task belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Before the DAG: what finds out the mode.
    Probe,
    /// The DAG itself.
    #[default]
    Main,
    /// After the DAG, if it succeeded.
    OnSuccess,
    /// After the DAG, if it failed.
    OnFailure,
    /// Last, whatever happened.
    Finally,
}

/// Which ends of its needs let a task start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Every need succeeded (a failed optional need counts).
    #[default]
    AllSucceeded,
    /// Every need ended, in whatever way.
    AllDone,
    /// Every need ended and at least one succeeded.
    AnySucceeded,
    /// Every need ended and at least one failed or was blocked.
    AnyFailed,
}

impl When {
    /// The word in the workflow file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::AllSucceeded => "all_succeeded",
            Self::AllDone => "all_done",
            Self::AnySucceeded => "any_succeeded",
            Self::AnyFailed => "any_failed",
        }
    }
}

/// A node of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id, unique in the plan.
    pub id: TaskId,
    /// Where it belongs.
    #[serde(default)]
    pub section: Section,
    /// Tasks that must end first, all of the same section, without duplicates.
    pub needs: Vec<TaskIndex>,
    /// Its barrier; `None` is outside the barriers.
    pub stage: Option<u32>,
    /// Smaller starts first.
    pub priority: i64,
    /// Which ends of its needs let it start.
    pub when: When,
    /// Run only if true.
    #[serde(rename = "if")]
    pub condition: Option<Expression>,
    /// Skip if true.
    pub skip_if: Option<Expression>,
    /// Its failure warns and counts as met.
    pub optional: bool,
    /// Left out by `--only` or `--skip`.
    pub excluded: bool,
    /// Makes it one task per item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<ForEach>,
    /// At most so many tasks with the same key run at once, over all runs of the store.
    pub group: Option<ConcurrencyGroup>,
    /// What must be there before its first attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precheck: Option<Precheck>,
    /// Whether it is a service, and when that is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<Service>,
    /// What it does.
    pub action: Action,
    /// Its folder, relative to the workflow's.
    pub cwd: Option<Template>,
    /// Its environment on top of Segue's own; `None` removes a name.
    pub env: Vec<(String, Option<Template>)>,
    /// Files of `NAME=value` lines, under `env`; relative to the workflow's folder.
    pub env_files: Vec<Template>,
    /// Secrets it is given, by name.
    pub secrets: Vec<String>,
    /// What it reads.
    pub stdin: Stdin,
    /// Its limits.
    pub limits: AttemptLimits,
    /// What happens after a failure.
    pub retry: Retry,
    /// Exit codes that count as success.
    pub success_codes: Vec<i32>,
    /// Where its result is.
    pub result: ResultSource,
    /// Whether anything in the plan looks at its result, so that it is worth extracting.
    pub result_wanted: bool,
    /// What it promises.
    pub outputs: Vec<(String, OutputSource)>,
    /// What decides whether an attempt counts.
    pub gates: Vec<Gate>,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// A shell script; values are quoted as they are filled in.
    Run {
        /// The script.
        script: Template,
        /// The shell's argv, before the script; `None` is `bash -eo pipefail -c`, else `sh -e -c`.
        shell: Option<Vec<String>>,
    },
    /// A program and its arguments; no shell.
    Argv {
        /// At least one.
        argv: Vec<Template>,
    },
    /// Nothing by itself: it succeeds if a person approves.
    Approve {
        /// What the person is asked.
        message: Template,
        /// How long to wait for the answer; `None` is as long as the run may take.
        timeout: Option<Millis>,
        /// The answer after that time; `None` is a failure.
        default: Option<Answer>,
    },
}

/// What a task reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Stdin {
    /// `/dev/null`.
    None,
    /// This text, then end of file.
    Text {
        /// The text.
        text: Template,
    },
    /// A terminal.
    Pty,
    /// A prompt, put together when the attempt is prepared: by an argument where it is meant to
    /// be one and fits, else as this text.
    Prompt {
        /// The prompt.
        prompt: Box<Prompt>,
    },
}

/// At most `max` at once with the same key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConcurrencyGroup {
    /// Gives the key.
    pub key: Expression,
    /// How many may run at once.
    pub max: u32,
    /// What happens when the group is full.
    pub on_busy: OnBusy,
}

/// What happens to a task whose group is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBusy {
    /// It waits, holding nothing.
    Queue,
    /// It fails.
    Reject,
}

/// Limits of each attempt of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptLimits {
    /// How long it may take; `None` is unbounded but for the run.
    pub timeout: Option<Millis>,
    /// How long it may neither print nor work.
    pub stall: Option<Millis>,
    /// Between TERM and KILL.
    pub kill_grace: Millis,
    /// How much of each output stream is kept.
    pub output_bytes_max: u64,
    /// How long it goes on without an engine.
    pub orphan_for: Millis,
    /// Most memory of its whole tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes_max: Option<u64>,
    /// Most processor of its whole tree, in thousandths of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis_max: Option<u64>,
}

/// What happens after a failed attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// Before the second try.
    pub delay: Millis,
    /// How the delay grows.
    pub backoff: Backoff,
    /// What it grows to.
    pub max_delay: Millis,
    /// Shorten each delay by up to half, by the run's id.
    pub jitter: bool,
    /// Which failures are retried.
    pub on: Vec<FailureClass>,
    /// Once started and not succeeded, only `segue retry --from` starts it again.
    pub never: bool,
}

/// How a retry's delay grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Always the same.
    Fixed,
    /// One more `delay` each time.
    Linear,
    /// Twice as long each time.
    Exponential,
}

/// Where a task's result is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ResultSource {
    /// `$SEGUE_RESULT`, else the last JSON in stdout, else the text.
    Auto,
    /// `$SEGUE_RESULT`, else the last JSON in stdout, else the attempt fails.
    Json,
    /// The text of stdout.
    Text,
    /// A file, parsed as JSON where it is JSON.
    File {
        /// Relative to the task's folder.
        path: Template,
    },
}

/// Where a promised output is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutputSource {
    /// A file that must exist and be newer than the attempt's start; copied to its folder.
    File {
        /// Relative to the task's folder.
        path: Template,
    },
    /// A pointer into the result.
    Json {
        /// RFC 6901.
        pointer: String,
    },
    /// The first pattern that matches; group 1, or the whole match.
    Regex {
        /// Tried in order.
        patterns: Vec<String>,
        /// Which stream.
        from: Stream,
    },
}

/// One of a program's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A check that decides whether an attempt counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The check.
    pub check: GateCheck,
    /// A failure makes the next attempt a feedback round.
    pub feedback: bool,
    /// How many feedback rounds there are, beyond the retries.
    pub rounds: u32,
}

/// What a gate looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GateCheck {
    /// An expression's number must be at least `min`.
    Score {
        /// The number; a string of digits counts as one.
        expression: Expression,
        /// Equality passes.
        min: f64,
    },
    /// A script must end with 0.
    Verify {
        /// The script, run as `run:` is.
        script: Template,
        /// How its failures are told.
        failures: Option<FailureList>,
        /// How long it may take.
        timeout: Millis,
    },
    /// The result must fit a JSON Schema.
    Schema {
        /// The schema.
        schema: Value,
    },
    /// Each glob must match a file.
    Files {
        /// Relative to the task's folder.
        globs: Vec<Template>,
        /// The files must have changed since the task's first attempt in this run.
        fresh: bool,
    },
}

/// How a verify script tells its failures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureList {
    /// A JUnit XML file, relative to the task's folder.
    Junit(String),
    /// Lines of its output that match; group 1 or the whole match names the failure.
    Regex(String),
}

impl Plan {
    /// The place of the task called `id`. Linear; for look-ups by people, not by machines.
    #[must_use]
    pub fn position(&self, id: &str) -> Option<TaskIndex> {
        self.tasks.iter().position(|task| task.id.as_str() == id)
    }
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self {
            timeout: Some(Millis::from_secs(30 * 60)),
            stall: None,
            kill_grace: Millis::from_secs(10),
            output_bytes_max: 100 << 20,
            orphan_for: Millis::from_secs(15 * 60),
            memory_bytes_max: None,
            cpu_millis_max: None,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            delay: Millis::from_secs(5),
            backoff: Backoff::Exponential,
            max_delay: Millis::from_secs(60),
            jitter: true,
            on: FailureClass::RETRIED.to_vec(),
            never: false,
        }
    }
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            timeout: Millis::from_secs(24 * 3600),
            concurrency: None,
            min_free_disk_bytes: 1 << 30,
            budget: None,
            tokens: None,
        }
    }
}

impl Task {
    /// A task that runs `argv` with every default; where tables and generators start from.
    #[must_use]
    pub fn new(id: TaskId, argv: &[&str]) -> Self {
        let argv = argv.iter().map(|word| Template((*word).to_owned())).collect();
        Self {
            id,
            section: Section::Main,
            needs: Vec::new(),
            stage: None,
            priority: 0,
            when: When::AllSucceeded,
            condition: None,
            skip_if: None,
            optional: false,
            excluded: false,
            for_each: None,
            group: None,
            precheck: None,
            background: None,
            action: Action::Argv { argv },
            cwd: None,
            env: Vec::new(),
            env_files: Vec::new(),
            secrets: Vec::new(),
            stdin: Stdin::None,
            limits: AttemptLimits::default(),
            retry: Retry::default(),
            success_codes: vec![0],
            result: ResultSource::Auto,
            result_wanted: false,
            outputs: Vec::new(),
            gates: Vec::new(),
        }
    }
}
