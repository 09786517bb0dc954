//! Many engines on one store: processes of their own that run, index and hold groups at
//! the same time.
//!
//! The processes are this test binary again, with a role in its environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use segue_core::{AttemptId, RunId, RunStatus, Wants};
use segue_journal::{
    Asked, HolderId, Index, Journal, LockError, RunFilter, RunStatistics, RunSummary, Store, read,
};

use crate::support::{Scene, at, ended, history, plan, run_id, succeeded, task};

const ROLE: &str = "SEGUE_TEST_ENGINE";
const ENGINES: u64 = 8;
const RUNS_EACH: u64 = 5;
const EVENTS: u64 = 40;

/// What each engine does: a few runs after each other, each event synced by itself, with a
/// look into the index at start and end, and a group that only one of all may hold.
fn engine(root: &Path, number: u64) {
    let store = Store::open(root).unwrap();
    let (mut index, renamed) = Index::open(&store).unwrap();
    assert!(renamed.is_none());
    for round in 0..RUNS_EACH {
        let run = RunId::new("demo", at(0), number * 1000 + round);
        let dir = store.create_run(&run, &[], &plan()).unwrap();
        let lock = store.lock_run(&run).unwrap();
        let mut journal = Journal::create(&dir.path, &lock).unwrap();
        let syncer = journal.syncer().unwrap();
        let mut records = history(&run, 2);
        journal.append(&records).unwrap();
        syncer.sync().unwrap();
        index
            .record_run(&RunSummary::of(&records).unwrap(), RunStatistics::of(&records).as_ref())
            .unwrap();
        hold_group(&mut index, &store, &run);
        for seq in 3..EVENTS {
            records.push(succeeded(seq));
            journal.append(&records[records.len() - 1..]).unwrap();
            syncer.sync().unwrap();
        }
        records.push(ended(EVENTS, RunStatus::Succeeded));
        journal.append(&records[records.len() - 1..]).unwrap();
        syncer.sync().unwrap();
        index
            .record_run(&RunSummary::of(&records).unwrap(), RunStatistics::of(&records).as_ref())
            .unwrap();
    }
}

/// Takes the group, proves to be alone, and gives it back.
fn hold_group(index: &mut Index, store: &Store, run: &RunId) {
    let attempt = AttemptId { task: task("a"), item: None, number: 1 };
    let holder = HolderId { run: run.clone(), attempt };
    let wants = Wants { group: "one".to_owned(), max: 1, reject: false };
    let mut seen = 0;
    while index.ask_among_live(&holder, &wants, 0, at(1)).unwrap() != Asked::Granted {
        // Wait for a change by another process, as an engine does.
        while index.changes_by_others().unwrap() == seen {
            std::thread::yield_now();
        }
        seen = index.changes_by_others().unwrap();
    }
    let mark = store.root().join("held");
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&mark);
    assert!(file.is_ok(), "two runs hold the group");
    std::fs::remove_file(mark).unwrap();
    index.release(&holder, at(2)).unwrap();
}

#[test]
fn an_engine_of_its_own() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (number, root) = role.split_once(' ').unwrap();
    engine(Path::new(root), number.parse().unwrap());
}

#[test]
fn eight_engines_share_one_store() {
    let folder = tempfile::tempdir().unwrap();
    // Not made yet: they race for that too.
    let root = folder.path().join(".segue");
    let engines: Vec<_> = (0..ENGINES)
        .map(|number| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "engines::an_engine_of_its_own", "--nocapture"])
                .env(ROLE, format!("{number} {}", root.display()))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for engine in engines {
        let output = engine.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let store = Store::existing(&root);
    let list = store.list().unwrap();
    assert_eq!(list.len() as u64, ENGINES * RUNS_EACH);
    for entry in list {
        let summary = entry.summary.unwrap_or_else(|| panic!("{:?}", entry.problem));
        assert_eq!((summary.status, summary.last_seq), (RunStatus::Succeeded, EVENTS));
        assert_eq!(read(&store.run_dir(&entry.run)).unwrap().records.len() as u64, EVENTS);
    }
    let (mut index, renamed) = Index::open(&store).unwrap();
    assert!(renamed.is_none());
    let runs = index.runs(&RunFilter::default()).unwrap();
    let mut statuses = BTreeMap::new();
    runs.iter().for_each(|run| *statuses.entry(run.status).or_insert(0u64) += 1);
    assert_eq!(statuses, BTreeMap::from([(RunStatus::Succeeded, ENGINES * RUNS_EACH)]));
}

#[test]
fn another_process_cannot_take_a_run_and_its_death_frees_it() {
    let scene = Scene::new();
    scene.store.create_run(&run_id(1), &[], &plan()).unwrap();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "engines::a_holder_of_a_lock", "--nocapture"])
        .env(ROLE, scene.store.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its line says that it has the lock.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(holder.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().ends_with("locked")));
    match scene.store.lock_run(&run_id(1)) {
        Err(LockError::Busy { pid, .. }) => assert_eq!(pid, Some(holder.id())),
        other => panic!("{other:?}"),
    }
    assert!(scene.store.is_locked(&run_id(1)).unwrap());
    holder.kill().unwrap();
    holder.wait().unwrap();
    scene.store.lock_run(&run_id(1)).unwrap();
}

#[test]
fn a_holder_of_a_lock() {
    let Ok(root) = std::env::var(ROLE) else { return };
    let store = Store::existing(Path::new(&root));
    let _lock = store.lock_run(&run_id(1)).unwrap();
    println!("locked");
    // Until it is killed, or whoever started it is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}
