//! Taking a run in hand: a new one, or one that another engine left.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use segue_attempt::{Launch, RunContext, Runner, adoption};
use segue_core::{CorruptJournal, Event, Input, Plan, Recorded, Resume, RunId, RunView, Scheduler};
use segue_journal::{Journal, JournalError, LockError, RunLock, Store, StoreError};

use crate::requests::Requests;

/// How long an adopting engine waits for a dead engine's supervisor before it kills it.
const STARTS_PATIENCE: Duration = Duration::from_secs(5);

/// Why a run could not be taken in hand or gone on with.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The run's lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The run's journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal does not fold over the plan.
    #[error("the journal of run `{run}` does not fit its plan: {source}")]
    Corrupt {
        /// The run.
        run: RunId,
        /// Where.
        #[source]
        source: CorruptJournal,
    },
    /// The processes of an earlier engine could not be taken over.
    #[error("the attempts of run `{run}` cannot be adopted")]
    Adoption {
        /// The run.
        run: RunId,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What was appended to the journal could not be made durable.
    #[error("the journal of run `{run}` could not be synced: {source}")]
    Sync {
        /// The run.
        run: RunId,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No supervisor.
    #[error("no supervisor could be started: {0}")]
    Supervisor(String),
    /// The loop's own descriptors and threads.
    #[error("the run's loop failed")]
    Loop(#[from] std::io::Error),
}

/// A run in hand: its lock is held, its journal is open, its first input is decided.
#[derive(Debug)]
pub struct Session {
    pub(crate) store: Store,
    pub(crate) run: RunId,
    pub(crate) run_dir: PathBuf,
    pub(crate) lock: RunLock,
    pub(crate) journal: Journal,
    pub(crate) scheduler: Scheduler,
    pub(crate) view: RunView,
    pub(crate) recovered: Vec<Recorded>,
    /// What the first turn takes in.
    pub(crate) first: Vec<Input>,
    pub(crate) requests_mark: u64,
    /// A sync of the journal takes this much longer, to see Segue on a slow disk.
    pub sync_delay: Option<Duration>,
    /// What is started as the supervisor.
    pub launch: Launch,
}

impl Session {
    /// Takes in hand a run whose folder was just made. `started` is its
    /// [`Event::RunStarted`].
    ///
    /// # Errors
    /// If the lock is held or the journal cannot be made.
    pub fn create(
        store: &Store,
        run: RunId,
        plan: Arc<Plan>,
        started: Event,
    ) -> Result<Self, RunError> {
        let run_dir = store.run_dir(&run);
        let requests_mark = Requests::mark(&run_dir);
        let lock = store.lock_run(&run)?;
        let journal = Journal::create(&run_dir, &lock)?;
        Ok(Self {
            store: store.clone(),
            run,
            run_dir,
            lock,
            journal,
            scheduler: Scheduler::new(Arc::clone(&plan)),
            view: RunView::new(plan),
            recovered: Vec::new(),
            first: vec![Input::Start { started: Box::new(started) }],
            requests_mark,
            sync_delay: None,
            launch: Launch::default(),
        })
    }

    /// Takes in hand a run that exists: its lock, then its journal, then the end of an earlier
    /// supervisor's starts.
    ///
    /// # Errors
    /// If another engine has the run, or its journal is damaged.
    pub fn resume(
        store: &Store,
        run: RunId,
        plan: Arc<Plan>,
        resume: Resume,
    ) -> Result<Self, RunError> {
        let run_dir = store.run_dir(&run);
        let requests_mark = Requests::mark(&run_dir);
        let lock = store.lock_run(&run)?;
        let (journal, recovered) = Journal::open(&run_dir, &lock)?;
        let adopted = adoption::take_starts_lock(&run_dir, STARTS_PATIENCE);
        drop(adopted.map_err(|source| RunError::Adoption { run: run.clone(), source })?);
        let corrupt = |source| RunError::Corrupt { run: run.clone(), source };
        let scheduler = Scheduler::recover(Arc::clone(&plan), &recovered).map_err(corrupt)?;
        let mut view = RunView::new(plan);
        for recorded in &recovered {
            view.apply(recorded).map_err(corrupt)?;
        }
        Ok(Self {
            store: store.clone(),
            run: run.clone(),
            run_dir,
            lock,
            journal,
            scheduler,
            view,
            recovered,
            first: vec![Input::Resume(Box::new(resume))],
            requests_mark,
            sync_delay: None,
            launch: Launch::default(),
        })
    }

    /// Keeps what the run goes on with from here: its plan, and `inputs` in place of those of
    /// their names. To be called before it is driven.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn keep(&self, inputs: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        self.store.replace_inputs(&self.lock, &self.run, inputs, self.scheduler.plan())
    }

    /// Hands in an input together with the first one, before an effect of that is performed.
    pub fn then(&mut self, input: Input) {
        self.first.push(input);
    }

    /// The run as its events so far show it.
    #[must_use]
    pub const fn view(&self) -> &RunView {
        &self.view
    }

    /// The run's folder.
    #[must_use]
    pub const fn run_dir(&self) -> &PathBuf {
        &self.run_dir
    }

    pub(crate) fn runner(&self, context: Arc<RunContext>) -> Runner {
        Runner::new(context, Arc::clone(self.scheduler.plan()), self.launch.clone())
    }
}
