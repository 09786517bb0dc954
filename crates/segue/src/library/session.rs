//! A session: a name, a folder of logs, and strategies that are run under both.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use segue_core::RunId;

use super::engine::{Home, Place, RUN_TIMEOUT, Running, now};
use super::error::StrategyError;
use super::process::AgentProcess;
use super::record::{append, clock, date, make_folder};
use super::result::{ProcessResult, in_input_order};
use super::strategy::{Handover, Strategy};
use super::{Attempts, attempts_of};

/// How often a fresh session id is tried.
const ID_TRIES: u32 = 20;

const RULE: &str =
    "--------------------------------------------------------------------------------";

/// Settings of a [`Session`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// What relative folders start from; `None` is the current folder.
    pub working_dir: Option<PathBuf>,
    /// Where the session's folder of logs is made; `None` is `.segue/logs` below `working_dir`.
    pub base_log_dir: Option<PathBuf>,
    /// The model of agents that name none.
    pub model: Option<String>,
    /// A store in which runs are kept, to be looked at by `segue show`; `None` is a private one
    /// for each strategy, gone when it ends.
    pub store: Option<PathBuf>,
    /// How long one strategy may take as a whole; `None` is [`RUN_TIMEOUT`].
    pub run_timeout: Option<Duration>,
    /// Repeats what is logged on stderr, as `[SESSION] …`.
    pub echo: bool,
}

/// Runs strategies with logs: `session.log`, and `<process id>.log` for each process.
///
/// ```
/// # segue::main_hook();
/// use segue::{AgentProcess, Session, SessionOptions};
///
/// let folder = tempfile::tempdir()?;
/// let options = SessionOptions {
///     base_log_dir: Some(folder.path().to_owned()),
///     ..SessionOptions::default()
/// };
/// let session = Session::new("demo", &options)?;
/// let process = session.create_process(AgentProcess::command(["echo", "hello"]).id("greet"));
/// let results = session.run_parallel(&[process], None)?;
/// assert_eq!(results[0].stdout, "hello\n");
/// let log = std::fs::read_to_string(session.process_log_path("greet"))?;
/// assert!(log.contains("Completed with exit_code=0"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    pattern: String,
    working_dir: PathBuf,
    model: Option<String>,
    store: Option<PathBuf>,
    run_timeout: Duration,
    diary: Arc<Diary>,
    created: AtomicUsize,
    numbered: AtomicUsize,
}

/// What a session writes down.
#[derive(Debug)]
pub(super) struct Diary {
    id: String,
    folder: PathBuf,
    echo: bool,
    ended: Mutex<Vec<(String, bool)>>,
}

impl Diary {
    fn log_path(&self) -> PathBuf {
        self.folder.join("session.log")
    }

    fn log(&self, level: &str, message: &str) {
        // One message is one line.
        let message = message.replace(['\n', '\r'], " ");
        append(&self.log_path(), &format!("[{}] [{level}] {message}\n", clock()));
        if self.echo {
            crate::cli::print_error(&format!("[SESSION] {message}\n"));
        }
    }

    pub(super) fn note(&self, result: &ProcessResult) {
        let level = if result.succeeded() { "INFO" } else { "WARNING" };
        let (code, seconds) = (result.exit_code(), result.duration.as_secs_f64());
        self.log(level, &format!("{}: exit_code={code} in {seconds:.1}s", result.id));
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push((result.id.clone(), result.succeeded()));
    }
}

impl Session {
    /// Begins a session: its id is `pattern` and an end that no other session has, and its folder
    /// of logs bears that name.
    ///
    /// # Errors
    /// If `pattern` is no plain name or its folder cannot be made.
    pub fn new(pattern: &str, options: &SessionOptions) -> Result<Self, StrategyError> {
        segue_core::check_name("session", pattern)?;
        let working_dir = absolute(options.working_dir.as_deref())?;
        let base = match &options.base_log_dir {
            Some(base) => working_dir.join(base),
            None => segue_journal::Store::open(&working_dir.join(".segue"))?.root().join("logs"),
        };
        make_folder(&base)?;
        let (id, folder) = fresh_folder(pattern, &base)?;
        let diary = Diary { id, folder, echo: options.echo, ended: Mutex::new(Vec::new()) };
        let session = Self {
            pattern: pattern.to_owned(),
            working_dir,
            model: options.model.clone(),
            store: options.store.clone(),
            run_timeout: options.run_timeout.unwrap_or(RUN_TIMEOUT),
            diary: Arc::new(diary),
            created: AtomicUsize::new(0),
            numbered: AtomicUsize::new(1),
        };
        append(&session.diary.log_path(), &session.head());
        Ok(session)
    }

    fn head(&self) -> String {
        let (work, logs) = (self.working_dir.display(), self.log_dir().display());
        let model = self.model.as_deref().unwrap_or("default");
        let (id, pattern, date) = (self.id(), &self.pattern, date());
        format!(
            "Session ID: {id}\nPattern: {pattern}\nWorking Directory: {work}\n\
             Log Directory: {logs}\nModel: {model}\nStarted: {date}\n{RULE}\n"
        )
    }

    /// The session's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.diary.id
    }

    /// The folder of its logs.
    #[must_use]
    pub fn log_dir(&self) -> &Path {
        &self.diary.folder
    }

    /// Its own log.
    #[must_use]
    pub fn session_log_path(&self) -> PathBuf {
        self.diary.log_path()
    }

    /// The log of the process whose result has this id.
    #[must_use]
    pub fn process_log_path(&self, id: &str) -> PathBuf {
        self.log_dir().join(format!("{id}.log"))
    }

    /// Writes a line to the session's log.
    pub fn log(&self, message: &str) {
        self.diary.log("INFO", message);
    }

    /// The process as it is in this session: with its logs, and the session's model if it is an
    /// agent that names none. What the strategies below are given gets both by itself.
    #[must_use]
    pub fn create_process(&self, process: AgentProcess) -> AgentProcess {
        self.created.fetch_add(1, Ordering::Relaxed);
        self.adopted(process)
    }

    fn adopted(&self, mut process: AgentProcess) -> AgentProcess {
        if let Some(model) = &self.model {
            process = process.model_if_none(model);
        }
        process.log_dir.get_or_insert_with(|| self.diary.folder.clone());
        process
    }

    /// Makes a pool's place one of this session.
    pub(super) fn take_in(&self, place: &mut Place) {
        place.working_dir.clone_from(&self.working_dir);
        place.run_timeout = self.run_timeout;
        place.first_number = self.numbered.fetch_add(1, Ordering::Relaxed);
        place.diary = Some(Arc::clone(&self.diary));
    }

    /// Writes a warning to the session's log.
    pub(super) fn warn(&self, message: &str) {
        self.diary.log("WARNING", message);
    }

    /// Runs one process to its end.
    pub(super) fn run_one(&self, process: AgentProcess) -> Result<ProcessResult, StrategyError> {
        let results = self.run_parallel(&[process], Some(1))?;
        results.into_iter().next().ok_or(StrategyError::Stopped)
    }

    /// What the session has done so far, for people.
    #[must_use]
    pub fn summarize(&self) -> String {
        let ended = self.diary.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let failed: Vec<&str> =
            ended.iter().filter(|(_, good)| !good).map(|(id, _)| id.as_str()).collect();
        let mut text = self.head();
        text.push_str(&format!(
            "Processes Created: {}\nProcesses Ended: {}\nSucceeded: {}\nFailed: {}",
            self.created.load(Ordering::Relaxed),
            ended.len(),
            ended.len() - failed.len(),
            failed.len()
        ));
        if !failed.is_empty() {
            text.push_str(&format!(" ({})", failed.join(", ")));
        }
        text.push('\n');
        text
    }

    /// Starts a strategy and returns at once.
    ///
    /// # Errors
    /// [`StrategyError`], before anything was started.
    pub fn start(
        &self,
        strategy: &Strategy,
        processes: &[AgentProcess],
    ) -> Result<Running, StrategyError> {
        let known = processes.iter().filter(|process| process.log_dir.is_some()).count();
        self.created.fetch_add(processes.len() - known, Ordering::Relaxed);
        let adopted: Vec<AgentProcess> =
            processes.iter().map(|process| self.adopted(process.clone())).collect();
        let place = Place {
            name: self.pattern.clone(),
            working_dir: self.working_dir.clone(),
            home: self.store.clone().map_or(Home::Private, Home::Kept),
            run_timeout: self.run_timeout,
            first_number: self.numbered.fetch_add(processes.len(), Ordering::Relaxed),
            group_max: None,
            diary: Some(Arc::clone(&self.diary)),
        };
        self.log(&format!("{}: {} processes", strategy.word(), processes.len()));
        Running::start(strategy, &adopted, &place).inspect_err(|error| {
            self.diary.log("ERROR", &error.to_string());
        })
    }

    /// As [`run_parallel`](crate::run_parallel), in this session.
    ///
    /// # Errors
    /// [`StrategyError`].
    pub fn run_parallel(
        &self,
        processes: &[AgentProcess],
        max_parallel: Option<usize>,
    ) -> Result<Vec<ProcessResult>, StrategyError> {
        self.start(&Strategy::parallel(max_parallel), processes)?.wait()
    }

    /// As [`run_sequential`](crate::run_sequential), in this session.
    ///
    /// # Errors
    /// [`StrategyError`].
    pub fn run_sequential(
        &self,
        processes: &[AgentProcess],
        handover: &Handover,
    ) -> Result<Vec<ProcessResult>, StrategyError> {
        let strategy = Strategy::Sequential(handover.clone());
        Ok(in_input_order(self.start(&strategy, processes)?.wait()?))
    }

    /// As [`run_with_fallback`](crate::run_with_fallback), in this session.
    ///
    /// # Errors
    /// [`StrategyError`].
    pub fn run_with_fallback(
        &self,
        processes: &[AgentProcess],
        timeout: Option<Duration>,
    ) -> Result<Attempts, StrategyError> {
        let results = self.start(&Strategy::Fallback { timeout }, processes)?.wait()?;
        attempts_of(results)
    }

    /// As [`run_batched`](crate::run_batched), in this session.
    ///
    /// # Errors
    /// [`StrategyError`].
    pub fn run_batched(
        &self,
        processes: &[AgentProcess],
        batch_size: usize,
        handover: &Handover,
    ) -> Result<Vec<ProcessResult>, StrategyError> {
        let strategy = Strategy::Batched { size: batch_size, handover: handover.clone() };
        self.start(&strategy, processes)?.wait()
    }
}

/// Makes a folder that no other session has.
fn fresh_folder(pattern: &str, base: &Path) -> Result<(String, PathBuf), StrategyError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut tries = 0;
    loop {
        let id = RunId::new(pattern, now(), crate::host::random()).to_string();
        let folder = base.join(&id);
        match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok((id, folder)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && tries < ID_TRIES => {
                tries += 1;
            }
            Err(source) => {
                let what = "failed to make folder";
                return Err(StrategyError::Folder { what, path: folder, source });
            }
        }
    }
}

/// The folder, or the current one, from the root on.
pub(super) fn absolute(folder: Option<&Path>) -> Result<PathBuf, StrategyError> {
    let folder = folder.unwrap_or(Path::new("."));
    std::path::absolute(folder).map_err(|source| StrategyError::Folder {
        what: "failed to find",
        path: folder.to_owned(),
        source,
    })
}
