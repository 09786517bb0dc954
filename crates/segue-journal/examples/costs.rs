//! What the steps of a run cost: beginning it, and writing and reading a journal of 100,000
//! events, all of which a resume reads.
//!
//! `costs [EVENTS]` prints seconds and bytes.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench: a failure ends it")]

use std::time::Instant;

use segue_core::{
    AttemptId, AttemptReport, Event, FailureClass, Hardware, Outcome, Recorded, RunId, RunRequest,
    Seq, Task, TaskId, Teardown, Timestamp,
};
use segue_journal::{Follower, Index, Journal, RunSummary, Store, read};

fn main() {
    let events: Seq = std::env::args().nth(1).map_or(100_000, |arg| arg.parse().unwrap());
    let report = |what: &str, begun: Instant| {
        println!("{what} {:.4} s", begun.elapsed().as_secs_f64());
    };
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let store = Store::open(&folder.path().join(".segue")).unwrap();
    report("new store", begun);
    let begun = Instant::now();
    let run = RunId::new("bench", Timestamp::default(), 1);
    let dir = store.create_run(&run, &[("w.yaml".to_owned(), vec![b'x'; 2000])], &plan()).unwrap();
    let lock = store.lock_run(&run).unwrap();
    let mut journal = Journal::create(&dir.path, &lock).unwrap();
    report("new run", begun);
    for what in ["new index", "index again"] {
        let begun = Instant::now();
        Index::open(&store).unwrap();
        report(what, begun);
    }
    let records: Vec<Recorded> = (1..=events).map(|seq| record(&run, seq)).collect();
    let begun = Instant::now();
    records.chunks(10).for_each(|batch| journal.append(batch).unwrap());
    report("append in batches of 10", begun);
    let begun = Instant::now();
    let reading = read(&dir.path).unwrap();
    report("read", begun);
    let begun = Instant::now();
    let summary = RunSummary::of(&reading.records).unwrap();
    report("summarize", begun);
    let (mut index, _) = Index::open(&store).unwrap();
    let begun = Instant::now();
    index.record_run(&summary, None).unwrap();
    report("record run", begun);
    let begun = Instant::now();
    let followed = Follower::new(&dir.path, 0).poll().unwrap();
    report("follow", begun);
    assert_eq!(followed.len(), reading.records.len());
    println!("events {} bytes {}", summary.last_seq, reading.whole_bytes);
}

/// The four events of each attempt, over and over.
fn record(run: &RunId, seq: Seq) -> Recorded {
    let task = TaskId::parse(&format!("task-{}", seq / 4)).unwrap();
    let attempt = AttemptId { task: task.clone(), item: None, number: 1 };
    let at = Timestamp::from_unix_ms(1_764_000_000_000 + seq as i64);
    let event = match seq % 4 {
        _ if seq == 1 => Event::RunStarted {
            run: run.clone(),
            workflow: "bench".to_owned(),
            digest: String::new(),
            request: RunRequest::default(),
            slots: 2,
            segue: "0.1.0".to_owned(),
            hardware: Hardware::default(),
        },
        0 => Event::AttemptCleared { attempt },
        1 => Event::AttemptDispatched { attempt },
        2 => {
            let verified = Teardown::Verified { stragglers: 0 };
            let class = Some(FailureClass::Execution);
            let mut report = AttemptReport::bare(Outcome::Exited { code: 1 }, class, verified);
            report.started_at = Some(at);
            report.ended_at = Some(at);
            Event::AttemptEnded { attempt, report: Box::new(report) }
        }
        _ => Event::TaskSucceeded { task, item: None },
    };
    Recorded { seq, at, event }
}

fn plan() -> segue_core::Plan {
    segue_core::Plan {
        version: segue_core::PLAN_VERSION,
        workflow: "bench".to_owned(),
        digest: String::new(),
        params: std::collections::BTreeMap::new(),
        secrets: Vec::new(),
        limits: segue_core::RunLimits::default(),
        fail_fast: false,
        tasks: vec![Task::new(TaskId::parse("a").unwrap(), &["true"])],
        outputs: Vec::new(),
        display: None,
        mode: None,
    }
}
