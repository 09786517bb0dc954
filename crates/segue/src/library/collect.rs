//! From events to results: what the driving thread sees, and the thread that makes results of it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::thread::JoinHandle;

use segue_attempt::read_result_file;
use segue_core::{AttemptId, AttemptReport, Event, Outcome, Plan, Recorded, RunView, TaskId};
use segue_engine::Observer;

use super::engine::{Home, joined};
use super::error::StrategyError;
use super::record::Records;
use super::result::ProcessResult;
use super::session::Diary;

/// What the driving thread tells of processes.
pub(super) enum Word {
    /// An attempt got its slot.
    Began { index: usize, attempt: AttemptId },
    /// An attempt ended; the process may be tried again.
    Tried { index: usize },
    /// The process is over.
    Over { index: usize, attempt: AttemptId, report: Box<AttemptReport> },
}

/// Tells the collector what events mean for processes.
pub(super) struct Watcher {
    places: HashMap<TaskId, usize>,
    /// The last report of what is not over.
    last: BTreeMap<usize, (AttemptId, Box<AttemptReport>)>,
    words: Sender<Word>,
}

impl Watcher {
    pub(super) fn new(plan: &Plan, words: Sender<Word>) -> Self {
        let places = plan.tasks.iter().enumerate().map(|(index, task)| (task.id.clone(), index));
        Self { places: places.collect(), last: BTreeMap::new(), words }
    }

    fn tell(&self, word: Word) {
        // The collector goes last.
        let _ = self.words.send(word);
    }

    fn over(&mut self, task: &TaskId) {
        if let Some(index) = self.places.get(task).copied()
            && let Some((attempt, report)) = self.last.remove(&index)
        {
            self.tell(Word::Over { index, attempt, report });
        }
    }

    /// What a stop has left between two tries.
    pub(super) fn tell_rest(&mut self) {
        for (index, (attempt, report)) in std::mem::take(&mut self.last) {
            self.tell(Word::Over { index, attempt, report });
        }
    }
}

impl Observer for Watcher {
    fn observe(&mut self, events: &[Recorded], _view: &RunView) {
        for Recorded { event, .. } in events {
            match event {
                Event::AttemptDispatched { attempt } => {
                    if let Some(index) = self.places.get(&attempt.task).copied() {
                        self.tell(Word::Began { index, attempt: attempt.clone() });
                    }
                }
                Event::AttemptEnded { attempt, report } => {
                    if let Some(index) = self.places.get(&attempt.task).copied() {
                        self.tell(Word::Tried { index });
                        self.last.insert(index, (attempt.clone(), report.clone()));
                    }
                }
                Event::TaskSucceeded { task, .. }
                | Event::TaskFailed { task, .. }
                | Event::TaskCancelled { task, .. } => self.over(task),
                _ => {}
            }
        }
    }
}

/// What the collecting thread has.
pub(super) struct Collector {
    pub(super) ids: Vec<TaskId>,
    pub(super) logs: Vec<Option<PathBuf>>,
    pub(super) records: Arc<Records>,
    pub(super) run_dir: PathBuf,
    /// Its store; a private one may go with this.
    pub(super) home: Home,
    pub(super) diary: Option<Arc<Diary>>,
}

impl Collector {
    pub(super) fn collect(
        self,
        words: &Receiver<Word>,
        results: &SyncSender<ProcessResult>,
        driver: JoinHandle<Result<(), StrategyError>>,
    ) -> Result<(), StrategyError> {
        for word in words {
            match word {
                Word::Began { index, attempt } => {
                    let number = attempt.number;
                    self.records.begin(index, number, self.folder(&attempt));
                }
                Word::Tried { index } => self.records.end_attempt(index),
                Word::Over { index, attempt, report } => {
                    let result = self.result(index, &attempt, *report);
                    self.records.end(&result);
                    if let Some(diary) = &self.diary {
                        diary.note(&result);
                    }
                    // Nobody may want it any more.
                    let _ = results.send(result);
                }
            }
        }
        self.records.close();
        joined(driver)?
    }

    fn folder(&self, attempt: &AttemptId) -> PathBuf {
        self.run_dir.join("attempts").join(attempt.folder())
    }

    /// Puts together all that is known of a process, its whole output with it.
    fn result(&self, index: usize, attempt: &AttemptId, report: AttemptReport) -> ProcessResult {
        let id = self.ids[index].to_string();
        let mut result = ProcessResult::of(id, index, attempt.number, report);
        let folder = self.folder(attempt);
        (result.stdout, result.stdout_path) = self.output(index, &folder, "stdout.log");
        (result.stderr, result.stderr_path) = self.output(index, &folder, "stderr.log");
        if let Outcome::SpawnFailed { message, .. } = &result.outcome {
            result.stderr.push_str(message);
        }
        let written = self.run_dir.join("results").join(format!("{}.json", attempt.folder()));
        match read_result_file(&written) {
            Ok(value) => result.value = value,
            Err(why) => result.value_error = Some(why),
        }
        result
    }

    /// A stream's text, and where its bytes are kept.
    fn output(&self, index: usize, folder: &Path, name: &str) -> (String, Option<PathBuf>) {
        let log = folder.join(name);
        let bytes = match std::fs::read(&log) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, "`{}` cannot be read", log.display());
                Vec::new()
            }
        };
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        if self.home.private().is_none() {
            return (text, log.exists().then_some(log));
        }
        let Some(logs) = self.logs[index].as_ref().filter(|_| log.exists()) else {
            return (text, None);
        };
        let kept = logs.join(format!("{}.{name}", self.ids[index]));
        let linked = std::fs::hard_link(&log, &kept);
        // Another file system takes a copy.
        let copied = linked.or_else(|_| std::fs::copy(&log, &kept).map(|_| ()));
        if let Err(error) = &copied {
            tracing::warn!(%error, "`{}` could not be kept", kept.display());
        }
        (text, copied.is_ok().then_some(kept))
    }
}
