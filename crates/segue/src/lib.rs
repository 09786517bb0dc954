//! Segue runs the work of AI agents, and of the commands around them, in production.
//!
//! This is the facade for Rust users and the home of the `segue` binary. A program that
//! embeds Segue either has `segue` on its PATH (or named by `SEGUE_BIN`), or begins its
//! `main` with [`main_hook`], so that its own binary can serve as the supervisor:
//!
//! ```no_run
//! // The first line of `main`.
//! segue::main_hook();
//! ```

pub mod cli;
pub mod graph;
mod host;
pub mod library;
mod progress;
pub mod report;
mod stdout;

pub(crate) use host::GET;
pub use host::{NoSupervisor, main_hook, supervisor, use_supervisor};
pub use library::{
    AgentProcess, Attempts, ContextOf, Delegate, Handover, Pool, ProcessResult, PromptVia, Running,
    Session, SessionOptions, Stopper, Strategy, StrategyError, compat, in_input_order, patterns,
    run_batched, run_parallel, run_sequential, run_with_fallback, start,
};
pub use segue_core as core;
pub use segue_core::concurrency_for;
pub use segue_engine as engine;
pub use segue_spec as spec;
