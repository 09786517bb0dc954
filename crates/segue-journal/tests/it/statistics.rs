//! Statistics: what is counted of a run, where it is kept, and that looking leaves no trace.

use std::collections::BTreeMap;
use std::fs;
use std::time::SystemTime;

use segue_core::{
    AttemptId, AttemptReport, Event, FailureClass, Millis, Outcome, Recorded, RunId, RunRequest,
    RunStatus, SkipReason, TaskId, TaskStatus, Teardown, Usd,
};
use segue_journal::{
    Index, RemoveError, RunStatistics, RunSummary, StatisticsFilter, history, peek_statistics,
    rebuild, tally,
};

use crate::support::{Scene, at, ended, run_id, started, task};

/// Events at their times: `(ms, event)`.
fn tape(events: Vec<(i64, Event)>) -> Vec<Recorded> {
    let mut records = vec![started(&run_id(0))];
    for (ms, event) in events {
        let seq = u64::try_from(records.len()).unwrap() + 1;
        records.push(Recorded { seq, at: at(ms), event });
    }
    records
}

fn attempt(id: &str, number: u32) -> AttemptId {
    AttemptId { task: task(id), item: None, number }
}

fn dispatched(id: &str, number: u32) -> Event {
    Event::AttemptDispatched { attempt: attempt(id, number) }
}

fn over(id: &str, number: u32, class: Option<FailureClass>, cents: i64) -> Event {
    let outcome = Outcome::Exited { code: i32::from(class.is_some()) };
    let mut report = AttemptReport::bare(outcome, class, Teardown::None);
    report.cost = (cents > 0).then_some(Usd(cents * 10_000));
    report.resources.peak_memory_bytes = 1000 * u64::from(number);
    Event::AttemptEnded { attempt: attempt(id, number), report: Box::new(report) }
}

fn run_over(status: RunStatus) -> Event {
    Event::RunEnded { status, outputs: BTreeMap::new(), failure: None, verdict_only: false }
}

fn resumed(reset: &[&str]) -> Event {
    Event::RunResumed {
        reset: reset.iter().map(|id| task(id)).collect(),
        request: RunRequest::default(),
        slots: 1,
        digest: "d".repeat(64),
        segue: "0".to_owned(),
        items: Vec::new(),
    }
}

fn good(id: &str) -> Event {
    Event::TaskSucceeded { task: task(id), item: None }
}

fn skipped(id: &str, reason: SkipReason) -> Event {
    Event::TaskSkipped { task: task(id), item: None, reason }
}

fn failed(id: &str) -> Event {
    let (class, message) = (FailureClass::Execution, String::new());
    Event::TaskFailed { task: task(id), item: None, class, message }
}

fn retry(id: &str, ms: i64) -> Event {
    let class = FailureClass::Network;
    Event::RetryScheduled { task: task(id), item: None, until: at(ms), class, feedback: false }
}

#[test]
fn a_retried_task_takes_its_tries_and_their_delay() {
    let network = Some(FailureClass::Network);
    let records = tape(vec![
        (10, dispatched("a", 1)),
        (30, over("a", 1, network, 3)),
        (30, retry("a", 80)),
        (80, dispatched("a", 2)),
        (100, over("a", 2, None, 4)),
        (100, good("a")),
        (100, skipped("b", SkipReason::ConditionFalse { expression: "x".into() })),
        (100, skipped("c", SkipReason::NotSelected)),
        (100, skipped("d", SkipReason::NeedSkipped { need: task("c") })),
        (100, skipped("e", SkipReason::NeedSkipped { need: task("b") })),
        (101, run_over(RunStatus::Succeeded)),
    ]);
    assert_eq!(RunStatistics::of(&records[..11]), None, "it has not ended");
    let found = RunStatistics::of(&records).unwrap();
    assert_eq!((found.took, found.cost), (Millis(100), Some(Usd(70_000))));
    let ids: Vec<&str> = found.tasks.keys().map(TaskId::as_str).collect();
    assert_eq!(ids, ["a", "b", "e"], "what was not selected says nothing");
    let a = &found.tasks[&task("a")];
    assert_eq!((a.status, a.took), (TaskStatus::Succeeded, Some(Millis(90))));
    assert_eq!((a.attempts, a.retries, a.peak_memory_bytes), (2, 1, 2000));
    assert_eq!(a.failures, BTreeMap::from([(FailureClass::Network, 1)]));
    let b = &found.tasks[&task("b")];
    assert_eq!((b.status, b.took, b.attempts), (TaskStatus::Skipped, None, 0));
}

#[test]
fn the_time_between_an_end_and_a_resume_does_not_count() {
    let day = 86_400_000;
    let records = tape(vec![
        (10, dispatched("a", 1)),
        (20, dispatched("b", 1)),
        (40, over("a", 1, Some(FailureClass::Execution), 0)),
        (40, failed("a")),
        (50, over("b", 1, Some(FailureClass::Cancelled), 0)),
        (51, run_over(RunStatus::Interrupted)),
        (day, resumed(&["a"])),
        (day + 5, dispatched("b", 2)),
        (day + 9, dispatched("a", 2)),
        // The engine is killed, and another goes on.
        (2 * day, resumed(&[])),
        (2 * day + 3, dispatched("b", 2)),
        (2 * day + 7, over("b", 2, None, 0)),
        (2 * day + 7, good("b")),
        (2 * day + 8, over("a", 2, Some(FailureClass::Lost), 0)),
        (2 * day + 8, dispatched("a", 3)),
        (2 * day + 10, over("a", 3, None, 0)),
        (2 * day + 10, good("a")),
        (2 * day + 10, run_over(RunStatus::Succeeded)),
    ]);
    let first = RunStatistics::of(&records[..7]).unwrap();
    assert_eq!((first.status, first.took), (RunStatus::Interrupted, Millis(50)));
    assert_eq!(first.tasks[&task("a")].took, Some(Millis(30)));
    assert_eq!(first.tasks[&task("b")].took, Some(Millis(31)));
    assert_eq!(RunStatistics::of(&records[..10]), None, "it goes on");
    let last = RunStatistics::of(&records).unwrap();
    assert_eq!((last.status, last.took), (RunStatus::Succeeded, Millis(50 + 9 + 10)));
    assert_eq!(last.tasks[&task("a")].took, Some(Millis(2)), "its last go");
    assert_eq!(last.tasks[&task("b")].took, Some(Millis(31 + 4 + 4)));
}

fn statistics(number: u64, workflow: &str, status: RunStatus, ms: u64) -> RunStatistics {
    let run = run_id(number);
    let ended_at = at(i64::try_from(number).unwrap());
    let took = Millis(ms);
    let status_of = match status {
        RunStatus::Succeeded => TaskStatus::Succeeded,
        RunStatus::Failed => TaskStatus::Failed,
        _ => TaskStatus::Cancelled,
    };
    let mut one = segue_journal::TaskStatistics { status: status_of, ..Default::default() };
    one.took = Some(Millis(ms / 2));
    (one.attempts, one.retries) = (2, 1);
    one.cost = Some(Usd(10_000));
    one.failures = BTreeMap::from([(FailureClass::Timeout, 1)]);
    let tasks = BTreeMap::from([(task("a"), one)]);
    let workflow = workflow.to_owned();
    RunStatistics { run, workflow, status, ended_at, took, cost: Some(Usd(10_000)), tasks }
}

#[test]
fn runs_come_to_rates_times_costs_and_causes() {
    let mut runs: Vec<RunStatistics> =
        (1..=10).map(|n| statistics(n, "w", RunStatus::Succeeded, n * 100)).collect();
    runs.push(statistics(11, "w", RunStatus::Failed, 1));
    runs.push(statistics(12, "w", RunStatus::Cancelled, 1));
    runs.push(statistics(13, "v", RunStatus::Failed, 8));
    let tallies = tally(&runs);
    let names: Vec<&str> = tallies.iter().map(|tally| tally.workflow.as_str()).collect();
    assert_eq!(names, ["v", "w"]);
    let (v, w) = (&tallies[0], &tallies[1]);
    assert_eq!(w.success_percent(), Some(1000.0 / 11.0));
    assert_eq!((w.time(50), w.time(95)), (Some(Millis(500)), Some(Millis(1000))));
    assert_eq!((w.cost, w.retries), (Some(Usd(120_000)), 12));
    assert_eq!(w.failures, BTreeMap::from([(FailureClass::Timeout, 12)]));
    let a = &w.tasks[&task("a")];
    assert_eq!((a.time(50), a.attempts), (Some(Millis(250)), 24));
    assert_eq!(a.ends[&TaskStatus::Cancelled], 1);
    // What never succeeded still says how long it takes.
    assert_eq!((v.time(50), v.success_percent()), (Some(Millis(8)), Some(0.0)));
    let of = |runs: &[RunStatistics]| history(runs, &[&task("a"), &task("new")]);
    assert_eq!(of(&runs[8..12]), [vec![Some(Millis(450)), Some(Millis(500))], vec![]]);
    assert_eq!(of(&runs[12..]), [vec![Some(Millis(4))], vec![]]);
}

/// Puts two ended runs and one under way into a store, and a database of version 1.
fn of_version_1() -> Scene {
    let scene = Scene::new();
    for number in 0..3 {
        let (run, _lock, mut journal) = scene.run(number);
        let mut records = vec![started(&run), Recorded { seq: 2, at: at(2), event: good("t2") }];
        if number < 2 {
            records.push(ended(3, RunStatus::Succeeded));
        }
        journal.append(&records).unwrap();
    }
    let dump = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/segue.v1.sql");
    let db = rusqlite::Connection::open(scene.store.root().join("segue.db")).unwrap();
    db.execute_batch(&fs::read_to_string(dump).unwrap()).unwrap();
    scene
}

fn runs_of(found: &[RunStatistics]) -> Vec<RunId> {
    found.iter().map(|statistics| statistics.run.clone()).collect()
}

#[test]
fn a_database_of_version_1_learns_what_its_journals_know() {
    let scene = of_version_1();
    let peeked = peek_statistics(&scene.store, "demo", 10).unwrap();
    assert_eq!(runs_of(&peeked), [run_id(1), run_id(0)], "before it is brought up to date");
    let (mut index, renamed) = Index::open(&scene.store).unwrap();
    assert!(renamed.is_none(), "nothing was damaged");
    let found = index.statistics(&StatisticsFilter::default()).unwrap();
    assert_eq!(runs_of(&found), [run_id(1), run_id(0)]);
    let runs = index.runs(&segue_journal::RunFilter::default()).unwrap();
    assert_eq!(runs.len(), 3, "what it knew it knows");
    let grants = rusqlite::Connection::open(scene.store.root().join("segue.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM grants", [], |row| row.get::<_, i64>(0));
    assert_eq!(grants.unwrap(), 1);
    drop(index);
    assert!(Index::open(&scene.store).is_ok(), "once is enough");
}

#[test]
fn statistics_are_kept_filtered_restored_and_forgotten() {
    let scene = Scene::new();
    let (mut index, _) = Index::open(&scene.store).unwrap();
    let mut summaries = Vec::new();
    for number in 0..4 {
        let (run, _lock, mut journal) = scene.run(number);
        let at_end = at(i64::try_from(number).unwrap() + 10);
        let records = [started(&run), Recorded { at: at_end, ..ended(2, RunStatus::Succeeded) }];
        journal.append(&records).unwrap();
        summaries.push(RunSummary::of(&records).unwrap());
        index.record_run(&summaries[0], None).unwrap();
        index.record_run(summaries.last().unwrap(), RunStatistics::of(&records).as_ref()).unwrap();
    }
    let mut find = |filter: StatisticsFilter| runs_of(&index.statistics(&filter).unwrap());
    assert_eq!(find(StatisticsFilter::default()), [run_id(3), run_id(2), run_id(1)]);
    let limit = StatisticsFilter { limit: Some(1), ..StatisticsFilter::default() };
    assert_eq!(find(limit), [run_id(3)]);
    let since = StatisticsFilter { since: Some(at(12)), ..StatisticsFilter::default() };
    assert_eq!(find(since), [run_id(3), run_id(2)]);
    let other = StatisticsFilter { workflow: Some("x".into()), ..StatisticsFilter::default() };
    assert_eq!(find(other), []);
    rebuild(&scene.store).unwrap();
    // What the journals have comes back whole.
    assert_eq!(find(StatisticsFilter::default()).len(), 4);
    index.record_run(&summaries[3], None).unwrap();
    let left = peek_statistics(&scene.store, "demo", 2).unwrap();
    assert_eq!(runs_of(&left), [run_id(2), run_id(1)]);
}

/// Every file of a store, with its size and the time of its last change; of SQLite's shared memory
/// only that it is there, as readers take their locks in it.
fn files(scene: &Scene) -> Vec<(String, u64, SystemTime)> {
    let entries = fs::read_dir(scene.store.root()).unwrap().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| {
            let meta = entry.metadata().unwrap();
            let name = entry.file_name().into_string().unwrap();
            let memory = name.ends_with("-shm");
            let changed = if memory { SystemTime::UNIX_EPOCH } else { meta.modified().unwrap() };
            (name, meta.len(), changed)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_look_at_statistics_leaves_no_trace() {
    let scene = of_version_1();
    let check = |what: &str| {
        let before = files(&scene);
        assert_eq!(peek_statistics(&scene.store, "demo", 10).unwrap().len(), 2, "{what}");
        assert_eq!(files(&scene), before, "{what}");
    };
    check("version 1, no log");
    let opened = Index::open(&scene.store).unwrap();
    check("while it is open");
    drop(opened);
    check("with a log");
    let db = rusqlite::Connection::open(scene.store.root().join("segue.db")).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(db);
    check("without a log");
    fs::remove_file(scene.store.root().join("segue.db")).unwrap();
    check("without a database");
    let nowhere = segue_journal::Store::existing(&scene.folder.path().join("nowhere"));
    assert_eq!(peek_statistics(&nowhere, "demo", 10).unwrap(), []);
    assert!(!nowhere.root().exists());
}

#[test]
fn a_removed_run_is_gone_and_its_statistics_stay() {
    let scene = Scene::new();
    let (mut index, _) = Index::open(&scene.store).unwrap();
    for number in 0..2 {
        let (run, lock, mut journal) = scene.run(number);
        let records = [started(&run), ended(2, RunStatus::Succeeded)];
        journal.append(&records).unwrap();
        let summary = RunSummary::of(&records).unwrap();
        index.record_run(&summary, RunStatistics::of(&records).as_ref()).unwrap();
        let held = scene.store.remove_run(&mut index, &run).unwrap_err();
        assert!(matches!(held, RemoveError::Lock(_)), "{held:?}");
        drop(lock);
    }
    // A keeper without an engine.
    let attempts = scene.store.run_dir(&run_id(1)).join("attempts.jsonl");
    let keeper = fs::File::options().create(true).append(true).open(&attempts).unwrap();
    hold(&keeper);
    assert!(scene.store.is_live(&run_id(1)) && !scene.store.is_live(&run_id(0)));
    let live = scene.store.remove_run(&mut index, &run_id(1)).unwrap_err();
    assert!(matches!(live, RemoveError::Live { .. }), "{live:?}");
    drop(keeper);
    let left = scene.store.root().join("runs/.gone-demo-half");
    fs::create_dir(&left).unwrap();
    assert!(scene.store.remove_run(&mut index, &run_id(1)).unwrap() > 0);
    assert!(!left.exists() && !scene.store.run_dir(&run_id(1)).exists());
    assert_eq!(scene.store.run_ids().unwrap(), [run_id(0)]);
    assert_eq!(index.runs(&segue_journal::RunFilter::default()).unwrap().len(), 1);
    let absent = scene.store.remove_run(&mut index, &run_id(1)).unwrap_err();
    assert!(matches!(absent, RemoveError::Lock(_)), "{absent:?}");
    let count = |index: &mut Index| index.statistics(&StatisticsFilter::default()).unwrap().len();
    assert_eq!(count(&mut index), 2);
    rebuild(&scene.store).unwrap();
    assert_eq!(count(&mut index), 2, "a rebuild keeps what no journal has any more");
}

/// Holds a byte of a keeper's file, as a live keeper does.
fn hold(file: &fs::File) {
    use nix::fcntl::{FcntlArg, fcntl};
    let request = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as nix::libc::c_short,
        l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
        l_start: 7,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&request)).unwrap();
}
