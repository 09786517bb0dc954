//! A strategy under way: its plan as a run on the one engine, in a thread of its own.
//!
//! Two threads serve a strategy: one drives the run as `segue run` does, the other makes results
//! of what has ended. So the caller's thread is never a runtime's, and a slow caller stalls no
//! process. A private store lies in a temporary folder and goes with the last result; its
//! processes do not outlive this one by more than [`ORPHAN_FOR`], so that a killed caller leaves
//! nothing running. A store that was named is like any other: what runs goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use segue_core::{AttemptLimits, Event, Input, Plan, RunId, RunRequest, StopReason, Timestamp};
use segue_engine::{Launch, wall_now};
use segue_journal::{Store, StoreError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::collect::{Collector, Watcher, Word};
use super::error::StrategyError;
use super::kept::{self, Kept};
use super::private::PrivateFolder;
use super::process::{AgentProcess, Surroundings};
use super::record::{self, Records};
use super::result::ProcessResult;
use super::session::Diary;
use super::strategy::{self, Frame, Strategy};

/// How long processes of a private store go on after the one that started them was killed.
pub const ORPHAN_FOR: Duration = Duration::from_secs(1);

/// A strategy as a whole ends within this, unless the session says otherwise.
pub const RUN_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Below so much free disk nothing starts in a private store.
const PRIVATE_FREE_DISK_BYTES: u64 = 64 << 20;

/// Results that wait for the caller before the next one is read from disk.
const RESULTS_WAITING_MAX: usize = 16;

/// How often a fresh run id is tried; two ids differ by 40 random bits.
const ID_TRIES: u32 = 20;

/// Where and how a strategy is run.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The run's name.
    pub(super) name: String,
    /// What relative folders start from, absolute.
    pub(super) working_dir: PathBuf,
    pub(super) home: Home,
    pub(super) run_timeout: Duration,
    /// The number of the first process without a name.
    pub(super) first_number: usize,
    /// At most so many at once among all strategies of the store that say so.
    pub(super) group_max: Option<u32>,
    /// Told of every result.
    pub(super) diary: Option<Arc<Diary>>,
}

/// In which store.
#[derive(Clone, Debug)]
pub(super) enum Home {
    /// One of its own, gone when it ends.
    Private,
    /// A private one, gone when nobody has it any more.
    Shared(Arc<PrivateFolder>),
    /// One that is kept.
    Kept(PathBuf),
}

impl Home {
    /// The same, with the folder of a private one made.
    fn made(&self) -> Result<Self, StrategyError> {
        Ok(match self {
            Self::Private => Self::Shared(Arc::new(PrivateFolder::make()?)),
            home => home.clone(),
        })
    }

    /// The folder that goes when nobody has it any more.
    pub(super) fn private(&self) -> Option<&Path> {
        match self {
            Self::Shared(folder) => Some(folder.path()),
            Self::Private | Self::Kept(_) => None,
        }
    }

    fn root(&self) -> PathBuf {
        match self {
            Self::Kept(root) => root.clone(),
            home => home.private().unwrap_or(Path::new("")).join("store"),
        }
    }
}

/// A strategy under way.
///
/// [`next`](Iterator::next) gives results in the order in which processes end. Dropping it stops
/// everything, as [`Stopper::stop`] does, and returns when nothing runs any more.
#[derive(Debug)]
pub struct Running {
    results: Option<Receiver<ProcessResult>>,
    collector: Option<JoinHandle<Result<(), StrategyError>>>,
    stopper: Stopper,
    run: Option<RunId>,
}

/// Stops a strategy, from any thread. It then still ends with results.
#[derive(Clone, Debug)]
pub struct Stopper(UnboundedSender<Input>);

impl Stopper {
    /// Starts nothing more and stops what runs: TERM, then KILL after each one's grace.
    pub fn stop(&self) {
        self.send(false);
    }

    /// Starts nothing more and kills what runs.
    pub fn kill(&self) {
        self.send(true);
    }

    fn send(&self, at_once: bool) {
        let stop = Input::Stop { task: None, reason: StopReason::Shutdown, at_once };
        // A strategy that is over is stopped.
        let _ = self.0.send(stop);
    }
}

impl Running {
    /// Starts a strategy.
    pub(super) fn start(
        strategy: &Strategy,
        processes: &[AgentProcess],
        place: &Place,
    ) -> Result<Self, StrategyError> {
        strategy::check(strategy, processes)?;
        let hardware = crate::cli::detect_hardware();
        let slots = strategy.slots(processes.len(), crate::concurrency_for(&hardware))?;
        let (controls, received) = unbounded_channel();
        let stopper = Stopper(controls);
        if processes.is_empty() {
            return Ok(Self { results: None, collector: None, stopper, run: None });
        }
        let launch = crate::supervisor()?;
        let home = place.home.made()?;
        let around = Surroundings::of_this_process();
        let store = Store::open(&home.root())?;
        let ids = record::reserve(processes, place.first_number)?;
        let frame = frame(place, slots, home.private().is_some(), around.clone());
        let plan = strategy::lower(strategy, processes, &ids, &frame);
        let is_private = home.private().is_some();
        let kept_in = (!is_private).then_some(place.working_dir.as_path());
        let (run, started) = create(&store, &plan, hardware, kept_in)?;
        let prefixed = slots > 1;
        let collector = Collector {
            ids: ids.clone(),
            logs: processes.iter().map(|process| process.log_dir.clone()).collect(),
            records: Records::new(processes, &ids, &around, prefixed),
            run_dir: store.run_dir(&run),
            home,
            diary: place.diary.clone(),
        };
        let engine = Engine { store, run: run.clone(), plan, started, launch };
        let base_dir = place.working_dir.clone();
        let (words, told) = channel();
        let (sender, results) = sync_channel(RESULTS_WAITING_MAX);
        let driver = spawn("segue-strategy", move || engine.drive(&base_dir, received, words))?;
        let collector = spawn("segue-results", move || collector.collect(&told, &sender, driver))?;
        let (results, collector) = (Some(results), Some(collector));
        Ok(Self { results, collector, stopper, run: Some(run) })
    }

    /// What stops it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// The run's id in its store; `None` if there was nothing to run.
    #[must_use]
    pub const fn run(&self) -> Option<&RunId> {
        self.run.as_ref()
    }

    /// Waits until all is over; the results that were not taken yet, in the order in which the
    /// processes ended.
    ///
    /// # Errors
    /// If the run broke off.
    pub fn wait(mut self) -> Result<Vec<ProcessResult>, StrategyError> {
        let results = self.results.take().into_iter().flatten().collect();
        self.join()?;
        Ok(results)
    }

    /// As [`wait`](Self::wait), without holding up the thread. Needs no particular runtime.
    /// Dropping the future stops everything.
    ///
    /// # Errors
    /// If the run broke off.
    pub async fn finished(self) -> Result<Vec<ProcessResult>, StrategyError> {
        /// Stops what is still under way.
        struct Guard(Stopper);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.stop();
            }
        }
        let guard = Guard(self.stopper());
        let (sender, receiver) = tokio::sync::oneshot::channel();
        spawn("segue-wait", move || {
            // Whoever waited may have gone.
            let _ = sender.send(self.wait());
        })?;
        let finished = receiver.await;
        drop(guard);
        finished.map_err(|_| StrategyError::Thread("segue-wait".to_owned()))?
    }

    fn join(&mut self) -> Result<(), StrategyError> {
        match self.collector.take() {
            Some(collector) => joined(collector)?,
            None => Ok(()),
        }
    }
}

impl Iterator for Running {
    type Item = ProcessResult;

    fn next(&mut self) -> Option<ProcessResult> {
        self.results.as_ref()?.recv().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.collector.is_some() {
            self.stopper.stop();
            self.results = None;
            // What went wrong has nobody to be told.
            let _ = self.join();
        }
    }
}

/// The plan of a strategy as it would be; starts and makes nothing.
pub(crate) fn rehearse(
    strategy: &Strategy,
    processes: &[AgentProcess],
) -> Result<Plan, StrategyError> {
    strategy::check(strategy, processes)?;
    let detected = crate::concurrency_for(&crate::cli::detect_hardware());
    let frame = Frame {
        name: strategy.word().to_owned(),
        slots: strategy.slots(processes.len(), detected)?,
        run_timeout: RUN_TIMEOUT,
        orphan_for: ORPHAN_FOR,
        min_free_disk_bytes: PRIVATE_FREE_DISK_BYTES,
        around: Surroundings::of_this_process(),
        group_max: None,
    };
    let unlogged: Vec<AgentProcess> =
        processes.iter().cloned().map(AgentProcess::unlogged).collect();
    let ids = record::reserve(&unlogged, 1)?;
    Ok(strategy::lower(strategy, processes, &ids, &frame))
}

fn frame(place: &Place, slots: u32, is_private: bool, around: Surroundings) -> Frame {
    let usual = AttemptLimits::default().orphan_for.0;
    Frame {
        name: place.name.clone(),
        slots,
        run_timeout: place.run_timeout,
        orphan_for: if is_private { ORPHAN_FOR } else { Duration::from_millis(usual) },
        min_free_disk_bytes: if is_private {
            PRIVATE_FREE_DISK_BYTES
        } else {
            segue_core::RunLimits::default().min_free_disk_bytes
        },
        around,
        group_max: place.group_max,
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StrategyError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|error| StrategyError::Thread(error.to_string()))
}

pub(super) fn joined<T>(thread: JoinHandle<T>) -> Result<T, StrategyError> {
    thread.join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        StrategyError::Thread(text.unwrap_or("it panicked").to_owned())
    })
}

/// Makes the run's folder and its first event, with what it takes to go on with it if it is kept:
/// the folder that relative ones start from.
fn create(
    store: &Store,
    plan: &Plan,
    hardware: segue_core::Hardware,
    kept_in: Option<&Path>,
) -> Result<(RunId, Event), StrategyError> {
    let mut tries = 0;
    loop {
        let run = RunId::new(&plan.workflow, wall_now(), crate::host::random());
        let started = Event::RunStarted {
            run: run.clone(),
            workflow: plan.workflow.clone(),
            digest: plan.digest.clone(),
            request: RunRequest::default(),
            slots: plan.limits.concurrency.unwrap_or(1),
            segue: env!("CARGO_PKG_VERSION").to_owned(),
            hardware: hardware.clone(),
        };
        let inputs = kept_in.map_or_else(Vec::new, |folder| Kept::new(folder, &started).inputs());
        match store.create_run(&run, &inputs, plan) {
            Err(StoreError::RunExists { .. }) if tries < ID_TRIES => tries += 1,
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok((run, started)),
        }
    }
}

/// What the driving thread has.
struct Engine {
    store: Store,
    run: RunId,
    plan: Plan,
    started: Event,
    launch: Launch,
}

impl Engine {
    fn drive(
        self,
        base_dir: &Path,
        controls: UnboundedReceiver<Input>,
        words: Sender<Word>,
    ) -> Result<(), StrategyError> {
        let Self { store, run, plan, started, launch } = self;
        let run_dir = store.run_dir(&run);
        let context = kept::context(&run, &run_dir, base_dir).map_err(|source| {
            StrategyError::Folder { what: "failed to find", path: run_dir.clone(), source }
        })?;
        let mut watcher = Watcher::new(&plan, words);
        let mut session = segue_engine::Session::create(&store, run, Arc::new(plan), started)?;
        session.launch = launch;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(segue_engine::RunError::Loop)?;
        let local = tokio::task::LocalSet::new();
        let driven =
            local.block_on(&runtime, segue_engine::drive(session, context, controls, &mut watcher));
        watcher.tell_rest();
        driven?;
        Ok(())
    }
}

/// When a session, or anything else of this module, begins.
pub(super) fn now() -> Timestamp {
    wall_now()
}
