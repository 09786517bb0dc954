//! `segue.db`: what it remembers, and that damage costs nothing.

use std::fs;
use std::path::PathBuf;

use segue_core::{RunId, RunStatus};
use segue_journal::{Index, IndexError, RunFilter, RunStatistics, RunSummary, rebuild};

use crate::support::{Scene, ended, history, run_id};

/// A store with `count` ended runs, all in the index.
fn indexed(count: u64) -> (Scene, Index) {
    let scene = Scene::new();
    let (mut index, renamed) = Index::open(&scene.store).unwrap();
    assert!(renamed.is_none());
    for number in 0..count {
        let (run, _lock, mut journal) = scene.run(number);
        let mut records = history(&run, 2);
        let failed = number % 2 == 1;
        let status = if failed { RunStatus::Failed } else { RunStatus::Succeeded };
        records.push(ended(3, status));
        journal.append(&records).unwrap();
        index.record_run(&RunSummary::of(&records[..2]).unwrap(), None).unwrap();
        index
            .record_run(&RunSummary::of(&records).unwrap(), RunStatistics::of(&records).as_ref())
            .unwrap();
    }
    (scene, index)
}

fn database(scene: &Scene) -> PathBuf {
    scene.store.root().join("segue.db")
}

fn ids(runs: &[RunSummary]) -> Vec<RunId> {
    runs.iter().map(|summary| summary.run.clone()).collect()
}

#[test]
fn runs_are_remembered_and_filtered() {
    let (scene, mut index) = indexed(4);
    drop(index);
    index = Index::open(&scene.store).unwrap().0;
    let all = index.runs(&RunFilter::default()).unwrap();
    assert_eq!(ids(&all), [run_id(3), run_id(2), run_id(1), run_id(0)]);
    assert_eq!(all[0].status, RunStatus::Failed);
    let filter = RunFilter { statuses: vec![RunStatus::Failed], ..RunFilter::default() };
    assert_eq!(ids(&index.runs(&filter).unwrap()), [run_id(3), run_id(1)]);
    let filter = RunFilter { limit: Some(1), ..RunFilter::default() };
    assert_eq!(ids(&index.runs(&filter).unwrap()), [run_id(3)]);
    let filter = RunFilter { workflow: Some("other".to_owned()), ..RunFilter::default() };
    assert!(index.runs(&filter).unwrap().is_empty());
}

/// Damages the database while nobody has it open, and looks at what opening it does.
#[track_caller]
fn check_damage(spoil: impl FnOnce(&mut Vec<u8>)) {
    let (scene, index) = indexed(3);
    drop(index);
    let path = database(&scene);
    // Into the database with everything: no log is to hide the damage.
    let db = rusqlite::Connection::open(&path).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(db);
    let mut bytes = fs::read(&path).unwrap();
    spoil(&mut bytes);
    fs::write(&path, &bytes).unwrap();

    let (mut index, renamed) = Index::open(&scene.store).unwrap();
    let renamed = renamed.expect("the damage is said");
    let kept = renamed.to.unwrap();
    assert!(kept.file_name().unwrap().to_str().unwrap().starts_with("segue.db.damaged-"));
    assert!(fs::read(kept).unwrap() == bytes, "the damaged file is not kept as it was");
    assert_eq!((renamed.rebuilt.runs, renamed.rebuilt.unreadable.len()), (3, 0));
    let runs = index.runs(&RunFilter::default()).unwrap();
    assert_eq!(ids(&runs), [run_id(2), run_id(1), run_id(0)]);
    assert_eq!(runs[1].status, RunStatus::Failed);
    assert_eq!(scene.store.list().unwrap().len(), 3);
    assert!(Index::open(&scene.store).unwrap().1.is_none(), "it is well again");
}

#[test]
fn a_database_of_garbage_is_put_aside_and_made_anew() {
    check_damage(|bytes| bytes.fill(0x5a));
    check_damage(|bytes| *bytes = b"not a database at all".to_vec());
}

#[test]
fn a_truncated_database_is_put_aside_and_made_anew() {
    check_damage(|bytes| bytes.truncate(bytes.len() / 2));
    check_damage(|bytes| bytes.truncate(4096));
    check_damage(Vec::clear);
}

#[test]
fn a_database_with_a_spoiled_page_is_put_aside_and_made_anew() {
    check_damage(|bytes| bytes[4096..4096 + 64].fill(0xff));
}

#[test]
fn a_database_damaged_while_it_is_open_heals() {
    let (scene, mut index) = indexed(3);
    let path = database(&scene);
    let length = fs::metadata(&path).unwrap().len() as usize;
    fs::write(&path, vec![0x5a; length.max(8192)]).unwrap();
    fs::write(scene.store.root().join("segue.db-wal"), b"").unwrap();
    let summary = scene.store.describe(&run_id(1)).summary.unwrap();
    index.record_run(&summary, None).unwrap();
    assert_eq!(index.runs(&RunFilter::default()).unwrap().len(), 3);
    let (mut other, _) = Index::open(&scene.store).unwrap();
    assert_eq!(other.runs(&RunFilter::default()).unwrap().len(), 3);
}

#[test]
fn a_rebuild_restores_the_list_and_names_what_it_cannot_read() {
    let (scene, mut index) = indexed(4);
    fs::write(scene.file(&run_id(2)), "{}\n{}\n").unwrap();
    let renamed = rebuild(&scene.store).unwrap();
    assert!(renamed.to.unwrap().exists());
    assert_eq!(renamed.rebuilt.runs, 3);
    assert_eq!(renamed.rebuilt.unreadable.len(), 1);
    assert_eq!(renamed.rebuilt.unreadable[0].0, run_id(2));
    // A connection of before works on with the new one.
    assert_eq!(index.runs(&RunFilter::default()).unwrap().len(), 3);
    index.record_run(&scene.store.describe(&run_id(3)).summary.unwrap(), None).unwrap();
    drop(index);
    let (mut index, renamed) = Index::open(&scene.store).unwrap();
    assert!(renamed.is_none());
    assert_eq!(ids(&index.runs(&RunFilter::default()).unwrap()), [run_id(3), run_id(1), run_id(0)]);
}

#[test]
fn a_deleted_database_comes_back() {
    let (scene, mut index) = indexed(2);
    for name in ["segue.db", "segue.db-wal", "segue.db-shm"] {
        fs::remove_file(scene.store.root().join(name)).unwrap();
    }
    assert_eq!(index.runs(&RunFilter::default()).unwrap().len(), 2);
}

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let (scene, index) = indexed(1);
    drop(index);
    let db = rusqlite::Connection::open(database(&scene)).unwrap();
    db.pragma_update(None, "user_version", 3).unwrap();
    drop(db);
    let before = fs::read(database(&scene)).unwrap();
    let opened = Index::open(&scene.store);
    assert!(matches!(opened, Err(IndexError::Newer { version: 3, .. })), "{opened:?}");
    assert_eq!(fs::read(database(&scene)).unwrap(), before);
}

#[test]
fn changes_of_others_are_seen_and_own_ones_are_not() {
    let (scene, mut index) = indexed(1);
    let (mut other, _) = Index::open(&scene.store).unwrap();
    let mut summary = scene.store.describe(&run_id(0)).summary.unwrap();
    summary.attempts += 1;
    let before = index.changes_by_others().unwrap();
    index.record_run(&summary, None).unwrap();
    assert_eq!(index.changes_by_others().unwrap(), before);
    summary.attempts += 1;
    other.record_run(&summary, None).unwrap();
    assert_ne!(index.changes_by_others().unwrap(), before);
}

#[test]
fn many_who_find_the_damage_at_once_put_it_aside_once() {
    let (scene, index) = indexed(3);
    drop(index);
    fs::write(database(&scene), [0x5a; 8192]).unwrap();
    let store = &scene.store;
    let renamed = std::thread::scope(|scope| {
        let opened: Vec<_> = (0..8).map(|_| scope.spawn(|| Index::open(store).unwrap())).collect();
        let opened: Vec<_> = opened.into_iter().map(|thread| thread.join().unwrap()).collect();
        opened
            .into_iter()
            .filter(|(_, renamed)| renamed.is_some())
            .map(|(mut index, _)| assert_eq!(index.runs(&RunFilter::default()).unwrap().len(), 3))
            .count()
    });
    assert_eq!(renamed, 1);
    let kept = fs::read_dir(store.root()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        let name = name.to_str().unwrap();
        // Each may have its log beside it.
        name.starts_with("segue.db.damaged-") && name.ends_with('Z')
    });
    assert_eq!(kept.count(), 1);
}
