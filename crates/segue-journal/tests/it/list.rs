//! Lists: every run is there, and says what it knows or why it knows nothing.

use std::fs;

use segue_core::{Event, RunRequest, RunStatus};
use segue_journal::{Index, RunSummary, Store, Summarizer};

use crate::support::{Scene, ended, history, plan, recorded, run_id, task};

#[test]
fn one_unreadable_run_hides_no_other() {
    let scene = Scene::new();
    for number in 0..5 {
        let (run, _lock, mut journal) = scene.run(number);
        let mut records = history(&run, 3);
        records.push(ended(4, RunStatus::Succeeded));
        journal.append(&records).unwrap();
    }
    fs::write(scene.file(&run_id(1)), "garbage\nand more\n").unwrap();
    fs::write(scene.file(&run_id(2)), "").unwrap();
    fs::remove_dir_all(scene.store.run_dir(&run_id(3))).unwrap();
    fs::create_dir(scene.store.run_dir(&run_id(3))).unwrap();
    let list = scene.store.list().unwrap();
    assert_eq!(list.len(), 5);
    let problems: Vec<bool> = list.iter().rev().map(|entry| entry.problem.is_some()).collect();
    assert_eq!(problems, [false, true, true, true, false]);
    let problem = list[3].problem.as_ref().unwrap();
    assert!(problem.ends_with("events.jsonl` is not a journal of Segue"), "{problem}");
    let summary = list[0].summary.as_ref().unwrap();
    assert_eq!((summary.status, summary.tasks.succeeded), (RunStatus::Succeeded, 2));
}

#[test]
fn a_run_without_an_engine_is_interrupted() {
    let scene = Scene::new();
    let (run, lock, mut journal) = scene.run(1);
    let entry = scene.store.describe(&run);
    assert_eq!((entry.summary, entry.problem), (None, None), "it is about to begin");
    journal.append(&history(&run, 2)).unwrap();
    let status = || scene.store.list().unwrap()[0].summary.as_ref().unwrap().status;
    assert_eq!(status(), RunStatus::Running);
    drop((lock, journal));
    assert_eq!(status(), RunStatus::Interrupted);
}

#[test]
fn the_index_spares_reading_only_what_has_not_changed() {
    let scene = Scene::new();
    let (run, _lock, mut journal) = scene.run(1);
    journal.append(&history(&run, 3)).unwrap();
    let (mut index, _) = Index::open(&scene.store).unwrap();
    let mut told = RunSummary::of(&history(&run, 3)).unwrap();
    told.attempts = 77; // to be told apart from what is read
    index.record_run(&told, None).unwrap();
    let attempts = || scene.store.list().unwrap()[0].summary.as_ref().unwrap().attempts;
    assert_eq!(attempts(), 77);
    journal.append(&[ended(4, RunStatus::Failed)]).unwrap();
    assert_eq!(attempts(), 0);
}

#[test]
fn a_store_that_is_not_there_has_no_runs_and_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::existing(&folder.path().join(".segue"));
    assert!(store.list().unwrap().is_empty());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_summary_counts_each_task_once_over_resumes() {
    let run = run_id(1);
    let mut records = history(&run, 3);
    let class = segue_core::FailureClass::Execution;
    let failed = Event::TaskFailed { task: task("a"), item: None, class, message: "x".to_owned() };
    records.push(recorded(4, failed));
    records.push(recorded(5, Event::TaskBlocked { task: task("b"), item: None, by: task("a") }));
    records.push(ended(6, RunStatus::Failed));
    let first = RunSummary::of(&records).unwrap();
    assert_eq!((first.tasks.succeeded, first.tasks.failed, first.tasks.blocked), (2, 1, 1));
    assert_eq!(first.ended_at, Some(records[5].at));
    let resumed = Event::RunResumed {
        reset: vec![task("a"), task("b")],
        request: RunRequest::default(),
        slots: 1,
        digest: plan().digest,
        segue: "0.1.0".to_owned(),
        items: Vec::new(),
    };
    records.push(recorded(7, resumed));
    let second = RunSummary::of(&records).unwrap();
    assert_eq!((second.status, second.ended_at), (RunStatus::Running, None));
    assert_eq!((second.tasks.succeeded, second.tasks.failed, second.tasks.blocked), (2, 0, 0));
    records.push(recorded(8, Event::TaskSucceeded { task: task("a"), item: None }));
    let mut summarizer = Summarizer::default();
    assert_eq!(summarizer.summary(), None);
    records.iter().for_each(|recorded| summarizer.apply(recorded));
    let third = summarizer.summary().unwrap();
    assert_eq!((third.tasks.succeeded, third.resumes, third.last_seq), (3, 1, 8));
}
