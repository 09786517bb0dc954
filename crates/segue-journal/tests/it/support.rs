//! What the tests share: a store in a private folder, and events to put into it.

use std::path::PathBuf;

use segue_core::{
    Event, Plan, Recorded, RunId, RunLimits, RunRequest, RunStatus, Seq, TaskId, Timestamp,
};
use segue_journal::{Journal, RunLock, Store};
use tempfile::TempDir;

/// A store that lives as long as the test.
pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) store: Store,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".segue")).unwrap();
        Self { folder, store }
    }

    /// A new run with a lock and an empty journal.
    pub(crate) fn run(&self, random: u64) -> (RunId, RunLock, Journal) {
        let run = run_id(random);
        let dir = self.store.create_run(&run, &[], &plan()).unwrap();
        let lock = self.store.lock_run(&run).unwrap();
        let journal = Journal::create(&dir.path, &lock).unwrap();
        (run, lock, journal)
    }

    /// The journal's file of `run`.
    pub(crate) fn file(&self, run: &RunId) -> PathBuf {
        self.store.run_dir(run).join("events.jsonl")
    }
}

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_764_000_000_000 + ms)
}

pub(crate) fn run_id(random: u64) -> RunId {
    RunId::new("demo", at(0), random)
}

pub(crate) fn task(id: &str) -> TaskId {
    TaskId::parse(id).unwrap()
}

pub(crate) fn plan() -> Plan {
    Plan {
        version: segue_core::PLAN_VERSION,
        workflow: "demo".to_owned(),
        digest: "d".repeat(64),
        params: std::collections::BTreeMap::new(),
        secrets: Vec::new(),
        limits: RunLimits::default(),
        fail_fast: false,
        tasks: vec![segue_core::Task::new(task("a"), &["true"])],
        outputs: Vec::new(),
        display: None,
        mode: None,
    }
}

pub(crate) fn recorded(seq: Seq, event: Event) -> Recorded {
    Recorded { seq, at: at(i64::try_from(seq).unwrap()), event }
}

pub(crate) fn started(run: &RunId) -> Recorded {
    let event = Event::RunStarted {
        run: run.clone(),
        workflow: "demo".to_owned(),
        digest: "d".repeat(64),
        request: RunRequest::default(),
        slots: 2,
        segue: "0.1.0".to_owned(),
        hardware: segue_core::Hardware::default(),
    };
    recorded(1, event)
}

pub(crate) fn succeeded(seq: Seq) -> Recorded {
    recorded(seq, Event::TaskSucceeded { task: task(&format!("t{seq}")), item: None })
}

pub(crate) fn ended(seq: Seq, status: RunStatus) -> Recorded {
    let outputs = std::collections::BTreeMap::new();
    recorded(seq, Event::RunEnded { status, outputs, failure: None, verdict_only: false })
}

/// A run's first event and successes up to number `last`.
pub(crate) fn history(run: &RunId, last: Seq) -> Vec<Recorded> {
    let mut records = vec![started(run)];
    records.extend((2..=last).map(succeeded));
    records
}
