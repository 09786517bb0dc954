//! The process library: several processes at once, in a row, with fallbacks, in batches.
//!
//! Each strategy is a plan on the one engine: what `segue run` promises of a task, these promise
//! of a process. It ends with everything it started, its output is kept whole and outside of this
//! process's memory until it has ended, and whatever goes wrong is a result.
//!
//! ```
//! # segue::main_hook();
//! use segue::{AgentProcess, run_parallel};
//!
//! let processes = [
//!     AgentProcess::command(["sh", "-c", "sleep 0.2; echo slow"]).id("slow"),
//!     AgentProcess::command(["echo", "quick"]).id("quick"),
//! ];
//! let results = run_parallel(&processes, Some(2))?;
//! // In the order in which they ended; `index` is the place among the inputs.
//! assert_eq!((results[0].id.as_str(), results[0].index), ("quick", 1));
//! assert_eq!(results[1].stdout, "slow\n");
//! # Ok::<(), segue::StrategyError>(())
//! ```
//!
//! An agent is only its command line here: [`AgentProcess::new`].

mod collect;
pub mod compat;
mod engine;
mod error;
mod kept;
pub mod patterns;
mod pool;
mod private;
mod process;
mod record;
mod result;
mod session;
mod strategy;

use std::time::Duration;

pub use engine::{ORPHAN_FOR, RUN_TIMEOUT, Running, Stopper};
pub use error::StrategyError;
pub use pool::{POOL_PROCESSES_MAX, Pool};
pub use process::{AGENT_IDLE, AgentProcess, Delegate, PromptVia};
pub use result::{ProcessResult, Usage, in_input_order};
pub use session::{Session, SessionOptions};
pub use strategy::{ContextOf, Handover, PARALLEL_MAX, PROCESSES_MAX, Strategy};

pub(crate) use engine::rehearse;
use engine::{Home, Place};
pub(crate) use kept::{Kept, context as kept_context};

/// Starts a strategy without a session and returns at once.
///
/// Results come in the order in which processes end; dropping what is returned stops everything.
///
/// ```
/// # segue::main_hook();
/// use segue::{AgentProcess, Strategy, start};
///
/// let sleepers = vec![AgentProcess::command(["sleep", "60"]); 3];
/// let mut running = start(&Strategy::parallel(Some(3)), &sleepers)?;
/// running.stopper().stop();
/// assert!(running.all(|result| !result.succeeded()));
/// # Ok::<(), segue::StrategyError>(())
/// ```
///
/// # Errors
/// [`StrategyError`], before anything was started.
pub fn start(strategy: &Strategy, processes: &[AgentProcess]) -> Result<Running, StrategyError> {
    Running::start(strategy, processes, &alone(strategy)?)
}

/// As [`start`], in a store that keeps the run.
pub(crate) fn start_kept(
    strategy: &Strategy,
    processes: &[AgentProcess],
    store: &std::path::Path,
) -> Result<Running, StrategyError> {
    let home = Home::Kept(store.to_owned());
    Running::start(strategy, processes, &Place { home, ..alone(strategy)? })
}

/// The place of a strategy without a session.
fn alone(strategy: &Strategy) -> Result<Place, StrategyError> {
    Ok(Place {
        name: strategy.word().to_owned(),
        working_dir: session::absolute(None)?,
        home: Home::Private,
        run_timeout: RUN_TIMEOUT,
        first_number: 1,
        group_max: None,
        diary: None,
    })
}

/// Runs all processes, at most `max_parallel` at once, and gives their results in the order in
/// which they ended. Every process is run, whatever becomes of the others.
///
/// `max_parallel` of `None` is what the machine bears, as
/// [`concurrency_for`](crate::concurrency_for) says. No processes give no results.
///
/// # Errors
/// [`StrategyError`]: `max_parallel` of 0, a faulty definition, no supervisor, a broken-off run.
pub fn run_parallel(
    processes: &[AgentProcess],
    max_parallel: Option<usize>,
) -> Result<Vec<ProcessResult>, StrategyError> {
    start(&Strategy::parallel(max_parallel), processes)?.wait()
}

/// Runs processes one after the other and gives their results in that order.
///
/// With `pass_output` each prompt is `"\n\n--- Previous output ---\n"`, all earlier stdouts one
/// behind the other, `"\n\n--- New task ---\n"` and the prompt itself; nothing is put before it
/// where nothing was printed. Those that failed count, unless `context` says otherwise. With
/// `stop_on_failure` the failed one is the last result.
///
/// ```
/// # segue::main_hook();
/// use segue::{AgentProcess, Handover, run_sequential};
///
/// let processes = [
///     AgentProcess::command(["echo", "one"]),
///     AgentProcess::command(["cat"]).prompt("and two"),
/// ];
/// let handover = Handover { pass_output: true, ..Handover::default() };
/// let results = run_sequential(&processes, &handover)?;
/// let told = "\n\n--- Previous output ---\none\n\n\n--- New task ---\nand two";
/// assert_eq!(results[1].stdout, told);
/// # Ok::<(), segue::StrategyError>(())
/// ```
///
/// # Errors
/// [`StrategyError`]: a faulty definition, no supervisor, a broken-off run.
pub fn run_sequential(
    processes: &[AgentProcess],
    handover: &Handover,
) -> Result<Vec<ProcessResult>, StrategyError> {
    Ok(in_input_order(start(&Strategy::Sequential(handover.clone()), processes)?.wait()?))
}

/// What a fallback came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempts {
    /// The first success; else the last failure, whose stderr says how many were tried.
    pub result: ProcessResult,
    /// Every process that was tried, in order, as it ended.
    pub history: Vec<ProcessResult>,
}

/// Tries processes in order until one succeeds. A `timeout` takes the place of each one's own.
///
/// ```
/// # segue::main_hook();
/// use segue::{AgentProcess, run_with_fallback};
///
/// let tried = run_with_fallback(
///     &[AgentProcess::command(["false"]), AgentProcess::command(["echo", "saved"])],
///     None,
/// )?;
/// assert_eq!(tried.result.stdout, "saved\n");
/// assert_eq!(tried.history[0].exit_code(), 1);
/// # Ok::<(), segue::StrategyError>(())
/// ```
///
/// # Errors
/// [`StrategyError`]: no process, a faulty definition, no supervisor, a broken-off run, or a stop
/// before the first was tried.
pub fn run_with_fallback(
    processes: &[AgentProcess],
    timeout: Option<Duration>,
) -> Result<Attempts, StrategyError> {
    attempts_of(start(&Strategy::Fallback { timeout }, processes)?.wait()?)
}

fn attempts_of(results: Vec<ProcessResult>) -> Result<Attempts, StrategyError> {
    let history = in_input_order(results);
    let mut result = history.last().cloned().ok_or(StrategyError::Stopped)?;
    if !result.succeeded() {
        let (count, last) = (history.len(), &result.stderr);
        result.stderr = format!("All {count} fallback attempts failed. Last error: {last}");
    }
    Ok(Attempts { result, history })
}

/// Runs processes in batches of `batch_size`, each batch at once and after the one before, and
/// gives their results batch by batch, within a batch in the order in which they ended.
///
/// With `pass_output` the successful stdouts of all earlier batches go before each prompt under
/// `--- Previous batch output ---`, in input order, with an empty line between those of one batch
/// and nothing between batches: the same inputs give the same prompts. Batches go on after
/// failures unless `stop_on_failure`.
///
/// # Errors
/// [`StrategyError`]: `batch_size` of 0, a faulty definition, no supervisor, a broken-off run.
pub fn run_batched(
    processes: &[AgentProcess],
    batch_size: usize,
    handover: &Handover,
) -> Result<Vec<ProcessResult>, StrategyError> {
    let strategy = Strategy::Batched { size: batch_size, handover: handover.clone() };
    start(&strategy, processes)?.wait()
}
