//! A pool: processes handed in one by one, of which so many run at once.
//!
//! Each is a run of its own in one private store, and all of them want the same concurrency
//! group: it is the arbiter that holds them back, first come, first served.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::engine::{Home, Place, RUN_TIMEOUT, Running};
use super::error::StrategyError;
use super::private::PrivateFolder;
use super::process::AgentProcess;
use super::session::{Session, absolute};
use super::strategy::{PARALLEL_MAX, Strategy};

/// The most processes of a pool that have not ended, those that wait included.
pub const POOL_PROCESSES_MAX: usize = 256;

/// A pool of processes.
///
/// ```
/// # segue::main_hook();
/// use segue::{AgentProcess, Pool};
///
/// let pool = Pool::new(2)?;
/// let handed_in: Vec<_> = (0..3)
///     .map(|n| pool.submit(&AgentProcess::command(["echo".to_owned(), n.to_string()])))
///     .collect::<Result<_, _>>()?;
/// for (n, running) in handed_in.into_iter().enumerate() {
///     let results = running.wait()?;
///     assert_eq!(results[0].stdout, format!("{n}\n"));
/// }
/// # Ok::<(), segue::StrategyError>(())
/// ```
#[derive(Debug)]
pub struct Pool {
    size: u32,
    /// Where the store is; gone with the pool and its last process.
    folder: Arc<PrivateFolder>,
    working_dir: PathBuf,
    submitted: AtomicUsize,
}

impl Pool {
    /// A pool in which `size` processes run at once.
    ///
    /// # Errors
    /// [`StrategyError`]: a size of 0 or above [`PARALLEL_MAX`], or no room for its store.
    pub fn new(size: usize) -> Result<Self, StrategyError> {
        let what = "the size of the pool";
        if size == 0 {
            return Err(StrategyError::Size { what });
        }
        if size > PARALLEL_MAX {
            return Err(StrategyError::TooMany { what, given: size, most: PARALLEL_MAX });
        }
        Ok(Self {
            size: u32::try_from(size).expect("it is at most PARALLEL_MAX"),
            folder: Arc::new(PrivateFolder::make()?),
            working_dir: absolute(None)?,
            submitted: AtomicUsize::new(0),
        })
    }

    /// Hands in a process; it starts when one before it has ended. What is returned gives its one
    /// result, or none if it is stopped before it was started; dropping it stops it.
    ///
    /// # Errors
    /// [`StrategyError`]: a faulty definition, no supervisor, or [`POOL_PROCESSES_MAX`] processes
    /// that have not ended.
    pub fn submit(&self, process: &AgentProcess) -> Result<Running, StrategyError> {
        self.submit_to(None, process)
    }

    /// As [`submit`](Self::submit), with the logs of a session.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_in(
        &self,
        session: &Session,
        process: &AgentProcess,
    ) -> Result<Running, StrategyError> {
        self.submit_to(Some(session), process)
    }

    /// How many processes have been handed in and have not ended.
    #[must_use]
    pub fn unended(&self) -> usize {
        // Each of them has a share in the store.
        Arc::strong_count(&self.folder) - 1
    }

    fn submit_to(
        &self,
        session: Option<&Session>,
        process: &AgentProcess,
    ) -> Result<Running, StrategyError> {
        if self.unended() >= POOL_PROCESSES_MAX {
            let given = self.unended() + 1;
            let what = "the number of processes in the pool";
            return Err(StrategyError::TooMany { what, given, most: POOL_PROCESSES_MAX });
        }
        let mut place = Place {
            name: "pool".to_owned(),
            working_dir: self.working_dir.clone(),
            home: Home::Shared(Arc::clone(&self.folder)),
            run_timeout: RUN_TIMEOUT,
            first_number: self.submitted.fetch_add(1, Ordering::Relaxed) + 1,
            group_max: Some(self.size),
            diary: None,
        };
        let mut process = process.clone();
        if let Some(session) = session {
            process = session.create_process(process);
            session.take_in(&mut place);
        }
        Running::start(&Strategy::parallel(Some(1)), &[process], &place)
    }
}
