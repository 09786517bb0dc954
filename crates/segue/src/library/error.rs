//! Why a strategy could not be carried out at all. What a single process does wrong is its
//! result, never an error.

use segue_core::InvalidId;

use crate::NoSupervisor;

/// Why a strategy was refused or broke off.
#[derive(Debug, thiserror::Error)]
pub enum StrategyError {
    /// A fallback needs something to fall back to.
    #[error("run_with_fallback requires at least one process")]
    NoProcesses,
    /// A size below 1.
    #[error("{what} is 0; it must be at least 1")]
    Size {
        /// `max_parallel`, `batch_size` or `attempts`.
        what: &'static str,
    },
    /// More than the kernel, or Segue, will carry.
    #[error("{what} is {given}; it can be at most {most}")]
    TooMany {
        /// Which size.
        what: &'static str,
        /// What it is.
        given: usize,
        /// What it may be.
        most: usize,
    },
    /// A time limit that is not above zero.
    #[error("process {index}: {what} is zero; leave it out for no limit")]
    NoTime {
        /// The process's place.
        index: usize,
        /// `timeout` or `idle`.
        what: &'static str,
    },
    /// A limit that is not above zero.
    #[error("process {index}: {what} is not above zero; leave it out for no limit")]
    NoLimit {
        /// The process's place.
        index: usize,
        /// `memory_limit` or `cpu_limit`.
        what: &'static str,
    },
    /// A name that could leave the folder of logs, or is too long.
    #[error("process {index}: {source}")]
    InvalidId {
        /// The process's place.
        index: usize,
        /// What is wrong with it.
        source: InvalidId,
    },
    /// A pattern's name.
    #[error(transparent)]
    InvalidName(#[from] InvalidId),
    /// A command without a program.
    #[error("process {index}: its command is empty")]
    NoProgram {
        /// The process's place.
        index: usize,
    },
    /// No program can serve as the supervisor.
    #[error(transparent)]
    NoSupervisor(#[from] NoSupervisor),
    /// The run could not be made.
    #[error("the run could not be made")]
    Store(#[from] segue_journal::StoreError),
    /// The run broke off.
    #[error("the run broke off")]
    Run(#[from] segue_engine::RunError),
    /// A folder or log could not be used.
    #[error("{what} `{}`", path.display())]
    Folder {
        /// What was to be done.
        what: &'static str,
        /// With which file or folder.
        path: std::path::PathBuf,
        /// Why it was not.
        source: std::io::Error,
    },
    /// Nothing came of it: it was stopped before its first process was started.
    #[error("stopped before anything was started")]
    Stopped,
    /// A thread of the strategy is gone; a fault of Segue.
    #[error("a thread of the strategy failed: {0}")]
    Thread(String),
}
