//! What an engine asks of its supervisor: open a run, start an attempt, stop it.
//!
//! Plain data, no behaviour but the check of a start. Knows nothing of frames, processes or tasks.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The shortest secret that is masked; a shorter one would blank out ordinary text.
pub const SECRET_BYTES_MIN: usize = 8;

/// One order to the supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Takes the run's `starts.lock`. Answered by `RunOpened` or `RunRefused`; a start of a run
    /// that is not open is refused.
    OpenRun {
        /// The run's folder, absolute.
        run_dir: PathBuf,
    },
    /// Lets go of the run's `starts.lock` once its starts are recorded, and ends what its
    /// attempts left behind by [`Start::leave`].
    CloseRun {
        /// The run's folder, as it was opened.
        run_dir: PathBuf,
    },
    /// Starts an attempt. Answered by `Spawned` and then `Ended`, by `Ended` alone, or by
    /// `StartRefused`.
    Start(Box<Start>),
    /// Stops an attempt; it still ends by `Ended`. Without such an attempt nothing happens, for
    /// its end is already on the way.
    Stop {
        /// The run's folder.
        run_dir: PathBuf,
        /// The attempt's [`Start::number`].
        number: u64,
        /// How gently.
        mode: StopMode,
        /// Why; becomes `Outcome::Cancelled`, unless the attempt was already being stopped.
        reason: StopReason,
    },
}

/// How gently an attempt is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// The stop ladder: interrupt, TERM, `kill_grace`, KILL.
    Graceful,
    /// KILL at once, also when a ladder is already under way.
    AtOnce,
}

/// Why an attempt was stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// A person or the plan wanted it gone.
    Cancelled,
    /// Segue or the machine goes down; no retry is used.
    Shutdown,
    /// Its money or tokens are spent.
    Budget,
    /// Its work is no longer wanted: another alternative won, or its run failed fast.
    Superseded,
}

/// What one attempt runs, where, and within which limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The run's folder, absolute.
    pub run_dir: PathBuf,
    /// Unique in the run, below 2^63: the byte of `attempts.jsonl` locked for the attempt's life.
    pub number: u64,
    /// What the records call the attempt, such as `script.2`.
    pub label: String,
    /// Where `stdout.log` and `stderr.log` go; made at the first byte of output.
    pub attempt_dir: PathBuf,
    /// The program and its arguments. A name without a slash is looked up in the `PATH` of
    /// [`env`](Self::env), a relative path with one from [`cwd`](Self::cwd).
    pub argv: Vec<OsString>,
    /// The working directory, absolute.
    pub cwd: PathBuf,
    /// The complete environment; nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// What the program reads.
    pub stdin: Stdin,
    /// Masked as `***` in what is captured, raw and in JSON-escaped form, at least
    /// [`SECRET_BYTES_MIN`] bytes each.
    pub secrets: Vec<Vec<u8>>,
    /// When the attempt is stopped, and how.
    pub limits: Limits,
    /// The value of `SEGUE_ATTEMPT_TOKEN` that the caller put into [`env`](Self::env): what a
    /// sweep finds descendants by when both supervisor and keeper were killed.
    pub token: String,
    /// Names of processes (`comm`, at most 15 bytes) that outlive the attempt, with all below
    /// them: build daemons. They end with the run or with the supervisor.
    pub leave: Vec<String>,
}

/// What an attempt finds at descriptor 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// These bytes, then end of file. They wait in a sealed memory file, so nobody writes.
    Bytes(Vec<u8>),
    /// A terminal on which nobody types; what is written to it goes to `stderr.log`.
    Pty,
}

/// Limits of one attempt; `None` is no limit. Timers run through a suspend of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Longest life of the attempt.
    pub timeout_ms: Option<u64>,
    /// Longest time without output and with less than 1 % of a core used in the tree.
    pub stall_ms: Option<u64>,
    /// From the first signal of the stop ladder to KILL.
    pub kill_grace_ms: u64,
    /// Most bytes kept of each stream's text; past it the middle is lost, counted.
    pub output_bytes_max: Option<u64>,
    /// Bytes of stdout past which the attempt is stopped. With it stdout never loses its middle.
    pub stdout_bytes_stop: Option<u64>,
    /// How long the attempt goes on while no engine holds the run.
    pub orphan_ms: Option<u64>,
    /// When the run has to be over, in milliseconds since the Unix epoch.
    pub run_deadline_unix_ms: Option<u64>,
    /// Most memory of all its processes together; above it they are killed.
    pub memory_bytes_max: Option<u64>,
    /// Most processor of all its processes together, in thousandths of a core. Held only where a
    /// control group can be made: see [`containment`](crate::containment).
    pub cpu_millis_max: Option<u64>,
    /// A signal for the program's process group, half of `kill_grace_ms` before TERM.
    pub interrupt: Option<i32>,
}

/// Why a start cannot be carried out as it stands: a mistake of the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// There is no program.
    #[error("argv is empty")]
    NoProgram,
    /// The number cannot be locked.
    #[error("attempt number {0} is not below 2^63")]
    Number(u64),
    /// A path is not absolute.
    #[error("{name} `{path}` is not absolute", path = path.display())]
    RelativePath {
        /// The field.
        name: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// A secret is too short to be masked.
    #[error("a secret of {bytes} bytes is shorter than {SECRET_BYTES_MIN} and cannot be masked")]
    ShortSecret {
        /// Its length.
        bytes: usize,
    },
    /// The signal does not exist.
    #[error("interrupt signal {0} is not between 1 and 64")]
    Interrupt(i32),
}

impl Start {
    /// Checks what can be checked before anything happens.
    ///
    /// # Errors
    /// The first mistake found.
    pub fn check(&self) -> Result<(), StartError> {
        if self.argv.is_empty() {
            return Err(StartError::NoProgram);
        }
        if self.number >= i64::MAX.unsigned_abs() {
            return Err(StartError::Number(self.number));
        }
        absolute("run_dir", &self.run_dir)?;
        absolute("attempt_dir", &self.attempt_dir)?;
        absolute("cwd", &self.cwd)?;
        if let Some(secret) = self.secrets.iter().find(|secret| secret.len() < SECRET_BYTES_MIN) {
            return Err(StartError::ShortSecret { bytes: secret.len() });
        }
        match self.limits.interrupt {
            Some(signal) if !(1..=64).contains(&signal) => Err(StartError::Interrupt(signal)),
            _ => Ok(()),
        }
    }
}

fn absolute(name: &'static str, path: &Path) -> Result<(), StartError> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(StartError::RelativePath { name, path: path.to_owned() })
}
