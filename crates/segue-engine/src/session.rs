//! Taking a run in hand: a new one, or one that another engine left.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use segue_attempt::{Launch, RunContext, Runner, adoption};
use segue_core::{CorruptJournal, Event, Input, Plan, Recorded, Resume, RunId, RunView, Scheduler};
use segue_journal::{Journal, JournalError, LockError, RunLock, Store, StoreError};

use crate::load::LoadReader;
use crate::requests::Requests;

/// How long an adopting engine waits for a dead engine's supervisor before it kills it.
const STARTS_PATIENCE: Duration = Duration::from_secs(5);

/// How long an engine waits for the lock of a run whose engine is gone.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How long between two looks at such a lock.
const LOCK_LOOK: Duration = Duration::from_millis(5);

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

/// A run that exists, taken from other engines: its lock is held and its journal read, but how
/// it goes on is not decided. Dropped, it stands as it stood.
#[derive(Debug)]
pub struct Taken {
    store: Store,
    run: RunId,
    run_dir: PathBuf,
    lock: RunLock,
    journal: Journal,
    view: RunView,
    recovered: Vec<Recorded>,
    requests_mark: u64,
}

impl Taken {
    /// Takes the run's lock, then reads its journal over the plan that it has kept.
    ///
    /// # Errors
    /// If another engine has the run, or its journal is damaged.
    pub fn take(store: &Store, run: RunId, kept: Arc<Plan>) -> Result<Self, RunError> {
        let run_dir = store.run_dir(&run);
        let requests_mark = Requests::mark(&run_dir);
        let lock = lock_after(store, &run)?;
        let (journal, recovered) = Journal::open(&run_dir, &lock)?;
        let view = fold(&run, kept, &recovered)?;
        let store = store.clone();
        Ok(Self { store, run, run_dir, lock, journal, view, recovered, requests_mark })
    }

    /// The run as its journal shows it.
    #[must_use]
    pub const fn view(&self) -> &RunView {
        &self.view
    }

    /// Waits for the end of an earlier supervisor's starts, and decides how the run goes on: by
    /// this plan, which is the kept one or a changed one.
    ///
    /// # Errors
    /// If the journal does not fold over the plan, or the supervisor does not end.
    pub fn resume(self, plan: Arc<Plan>, mut resume: Resume) -> Result<Session, RunError> {
        let Self { store, run, run_dir, lock, journal, view, recovered, requests_mark } = self;
        let adopted = adoption::take_starts_lock(&run_dir, STARTS_PATIENCE);
        drop(adopted.map_err(|source| RunError::Adoption { run: run.clone(), source })?);
        resume.answers = Requests::answers(&run_dir, requests_mark)?;
        let scheduler = Scheduler::recover(Arc::clone(&plan), &recovered)
            .map_err(|source| RunError::Corrupt { run: run.clone(), source })?;
        let view = if *plan == **view.plan() { view } else { fold(&run, plan, &recovered)? };
        Ok(Session {
            store,
            run,
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
            load: None,
        })
    }
}

/// Takes the lock of a run that another engine may have had. One that was killed while it started
/// its supervisor leaves a process that has yet to become it, and until then holds the lock.
fn lock_after(store: &Store, run: &RunId) -> Result<RunLock, LockError> {
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match store.lock_run(run) {
            Err(LockError::Busy { pid: Some(pid), .. })
                if is_gone(pid) && Instant::now() < until =>
            {
                std::thread::sleep(LOCK_LOOK);
            }
            taken => return taken,
        }
    }
}

fn is_gone(pid: u32) -> bool {
    let pid = i32::try_from(pid).map(Pid::from_raw);
    pid.is_ok_and(|pid| kill(pid, None) == Err(nix::errno::Errno::ESRCH))
}

fn fold(run: &RunId, plan: Arc<Plan>, recovered: &[Recorded]) -> Result<RunView, RunError> {
    let mut view = RunView::new(plan);
    for recorded in recovered {
        view.apply(recorded).map_err(|source| RunError::Corrupt { run: run.clone(), source })?;
    }
    Ok(view)
}

/// A run in hand: its lock is held, its journal is open, its first input is decided.
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
    /// How to read the machine's load, if the number of slots is left to the machine and so
    /// follows it.
    pub load: Option<LoadReader>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("run", &self.run).finish_non_exhaustive()
    }
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
            load: None,
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
