//! Concurrency groups over runs: one at a time, in order, and the dead hold nothing.

use std::fs;

use segue_core::{AttemptId, Event, Wants};
use segue_journal::{Asked, HolderId, Index, Journal, rebuild};

use crate::support::{Scene, at, recorded, run_id, started, task};

fn holder(run: u64, number: u32) -> HolderId {
    let attempt = AttemptId { task: task("a"), item: None, number };
    HolderId { run: run_id(run), attempt }
}

fn wants(group: &str, max: u32, reject: bool) -> Wants {
    Wants { group: group.to_owned(), max, reject }
}

fn ask(index: &mut Index, who: &HolderId, ms: i64) -> Asked {
    index.ask(who, &wants("g", 1, false), 0, at(ms), &|_| true).unwrap()
}

fn busy(holders: &[&HolderId]) -> Asked {
    Asked::Busy { holders: holders.iter().map(|holder| (*holder).clone()).collect() }
}

#[test]
fn a_group_is_held_by_one_and_passed_on_in_order() {
    let scene = Scene::new();
    let (mut one, _) = Index::open(&scene.store).unwrap();
    let (mut two, _) = Index::open(&scene.store).unwrap();
    let [a, b, c] = [holder(1, 1), holder(2, 1), holder(3, 1)];
    assert_eq!(ask(&mut one, &a, 1), Asked::Granted);
    assert_eq!(ask(&mut two, &b, 2), busy(&[&a]));
    assert_eq!(ask(&mut two, &c, 3), busy(&[&a]));
    assert_eq!(ask(&mut one, &a, 4), Asked::Granted, "asking again changes nothing");
    let other = one.ask(&b, &wants("other", 1, true), 0, at(4), &|_| true).unwrap();
    assert_eq!(other, Asked::Granted, "other groups are free");
    one.release(&b, at(4)).unwrap();
    assert_eq!(ask(&mut two, &b, 5), busy(&[&a]), "it gave up its place and got a new one");
    one.release(&a, at(6)).unwrap();
    one.release(&a, at(6)).unwrap();
    assert_eq!(ask(&mut two, &b, 7), busy(&[&c]));
    assert_eq!(ask(&mut two, &c, 8), Asked::Granted);
    let refused = one.ask(&a, &wants("g", 1, true), 0, at(9), &|_| true).unwrap();
    match refused {
        Asked::Refused { message } => assert!(message.contains("`g`"), "{message}"),
        other => panic!("{other:?}"),
    }
    two.release(&c, at(10)).unwrap();
    assert_eq!(ask(&mut two, &b, 11), Asked::Granted);
}

#[test]
fn priority_goes_before_time() {
    let scene = Scene::new();
    let (mut index, _) = Index::open(&scene.store).unwrap();
    let [a, b, c] = [holder(1, 1), holder(2, 1), holder(3, 1)];
    assert_eq!(ask(&mut index, &a, 1), Asked::Granted);
    assert_eq!(ask(&mut index, &b, 2), busy(&[&a]));
    let urgent = index.ask(&c, &wants("g", 1, false), -5, at(3), &|_| true).unwrap();
    assert_eq!(urgent, busy(&[&a]));
    index.release(&a, at(4)).unwrap();
    assert_eq!(ask(&mut index, &c, 5), Asked::Granted);
    assert_eq!(ask(&mut index, &b, 6), busy(&[&c]));
}

#[test]
fn the_dead_hold_nothing() {
    let scene = Scene::new();
    let (mut index, _) = Index::open(&scene.store).unwrap();
    let [a, b] = [holder(1, 1), holder(2, 1)];
    assert_eq!(ask(&mut index, &a, 1), Asked::Granted);
    assert_eq!(ask(&mut index, &b, 2), busy(&[&a]));
    let asked = index.ask(&b, &wants("g", 1, false), 0, at(3), &|other| *other != a).unwrap();
    assert_eq!(asked, Asked::Granted);
    assert_eq!(ask(&mut index, &a, 4), busy(&[&b]));
}

#[test]
fn a_recovered_run_gives_back_what_its_last_engine_left() {
    let scene = Scene::new();
    let (mut index, _) = Index::open(&scene.store).unwrap();
    let [old, new, other] = [holder(1, 1), holder(1, 2), holder(2, 1)];
    let granted = index.ask(&old, &wants("g", 2, false), 0, at(1), &|_| true).unwrap();
    assert_eq!(granted, Asked::Granted);
    index.ask(&new, &wants("g", 2, false), 0, at(2), &|_| true).unwrap();
    assert!(matches!(ask(&mut index, &other, 3), Asked::Busy { .. }));
    index.release_all_but(&run_id(1), std::slice::from_ref(&new.attempt), at(4)).unwrap();
    assert_eq!(ask(&mut index, &other, 5), busy(&[&new]));
}

/// A run whose attempt 1 holds group `g`, with a journal that says so.
fn granted_run(scene: &Scene) -> (segue_journal::RunLock, Journal) {
    let (run, lock, mut journal) = scene.run(1);
    let attempt = holder(1, 1).attempt;
    let asked = Event::GrantAsked { attempt: attempt.clone(), wants: wants("g", 1, false) };
    let granted = Event::Granted { attempt: attempt.clone() };
    let cleared = Event::AttemptCleared { attempt };
    let records = [started(&run), recorded(2, asked), recorded(3, granted), recorded(4, cleared)];
    journal.append(&records).unwrap();
    (lock, journal)
}

/// Takes the byte of attempt `number` as its keeper would; let go on drop.
fn keeper_lock(scene: &Scene, number: i64) -> fs::File {
    use nix::fcntl::{FcntlArg, fcntl};
    let path = scene.store.run_dir(&run_id(1)).join("attempts.jsonl");
    let options = fs::OpenOptions::new().create(true).append(true).open(path);
    let file = options.unwrap();
    let flock = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as nix::libc::c_short,
        l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
        l_start: number,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&flock)).unwrap();
    file
}

#[test]
fn an_attempt_lives_as_long_as_its_engine_or_its_keeper() {
    let scene = Scene::new();
    let (lock, journal) = granted_run(&scene);
    let who = holder(1, 1);
    assert!(scene.store.is_holder_live(&who), "its engine lives");
    let keeper = keeper_lock(&scene, 4);
    drop((lock, journal));
    assert!(scene.store.is_holder_live(&who), "its keeper lives");
    assert!(scene.store.is_attempt_live(&run_id(1), 4));
    assert!(!scene.store.is_attempt_live(&run_id(1), 5));
    assert!(!scene.store.is_holder_live(&holder(1, 2)), "never cleared");
    assert!(!scene.store.is_holder_live(&holder(7, 1)), "no such run");
    let (mut index, _) = Index::open(&scene.store).unwrap();
    let other = holder(2, 1);
    assert_eq!(ask(&mut index, &who, 1), Asked::Granted);
    let waits = index.ask_among_live(&other, &wants("g", 1, false), 0, at(2)).unwrap();
    assert_eq!(waits, busy(&[&who]));
    drop(keeper);
    assert!(!scene.store.is_holder_live(&who));
    let granted = index.ask_among_live(&other, &wants("g", 1, false), 0, at(3)).unwrap();
    assert_eq!(granted, Asked::Granted);
}

#[test]
fn a_rebuild_keeps_the_grants_that_live_and_no_others() {
    let scene = Scene::new();
    let (lock, journal) = granted_run(&scene);
    let renamed = rebuild(&scene.store).unwrap();
    assert_eq!((renamed.to, renamed.rebuilt.grants), (None, 1));
    let (mut index, _) = Index::open(&scene.store).unwrap();
    assert_eq!(ask(&mut index, &holder(2, 1), 9), busy(&[&holder(1, 1)]));
    drop((lock, journal));
    assert_eq!(rebuild(&scene.store).unwrap().rebuilt.grants, 0);
    assert_eq!(ask(&mut index, &holder(2, 1), 9), Asked::Granted);
}
