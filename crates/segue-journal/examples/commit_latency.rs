//! How long a journal commit takes (append and sync of one event) with one engine on a store
//! and with eight, each a process of its own, as `cargo xtask bench` asks.
//!
//! `commit_latency [ROUNDS] [COMMITS] [PACE_US]`: an engine commits at most once in PACE_US, as
//! one that runs tasks does; 0 is as fast as it can. Prints `p50` and `p99` in microseconds of
//! all rounds together, and `ratio p99(8)/p99(1)` of the median round. SQLite is told of a
//! run at its start and its end, as by an engine.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench: a failure ends it")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use segue_core::{
    Event, Hardware, Plan, Recorded, RunId, RunLimits, RunRequest, RunStatus, Seq, TaskId,
    Timestamp,
};
use segue_journal::{Index, Journal, RunSummary, Store};

const ENGINES: usize = 8;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, root, number, commits, pace] = &args[..]
        && role == "engine"
    {
        let pace = Duration::from_micros(pace.parse().unwrap());
        return engine(Path::new(root), number.parse().unwrap(), commits.parse().unwrap(), pace);
    }
    let arg = |at: usize, default: u64| args.get(at).map_or(default, |arg| arg.parse().unwrap());
    let (rounds, commits, pace) = (arg(0, 5), arg(1, 1000), arg(2, 2000));
    let (mut one, mut eight, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        // Next to each other, so that the disk's mood is the same.
        let alone = measure(1, commits, pace);
        let together = measure(ENGINES, commits, pace);
        ratios.push(percentile(&together, 99.0) / percentile(&alone, 99.0));
        one.extend(alone);
        eight.extend(together);
    }
    for (engines, micros) in [(1, sorted(one)), (ENGINES, sorted(eight))] {
        let (p50, p99) = (percentile(&micros, 50.0), percentile(&micros, 99.0));
        println!("engines {engines} commits {} p50 {p50:.0} p99 {p99:.0}", micros.len());
    }
    let ratio = percentile(&sorted(ratios), 50.0);
    println!("ratio p99(8)/p99(1) {ratio:.2}");
    println!("bench: commit_p99_ratio {ratio:.2}");
}

/// Lets engines commit at the same time, and gives the sorted microseconds of all commits.
fn measure(engines: usize, commits: u64, pace_us: u64) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join(".segue");
    let mut children: Vec<Child> = (0..engines)
        .map(|number| {
            Command::new(std::env::current_exe().unwrap())
                .args(["engine", root.to_str().unwrap(), &number.to_string()])
                .args([commits.to_string(), pace_us.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut outputs: Vec<_> =
        children.iter_mut().map(|child| BufReader::new(child.stdout.take().unwrap())).collect();
    // All have begun their runs before any of them is measured.
    for output in &mut outputs {
        output.read_line(&mut String::new()).unwrap();
    }
    for child in &mut children {
        child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }
    let lines = outputs.into_iter().flat_map(std::io::BufRead::lines);
    let micros = sorted(lines.map(|line| line.unwrap().parse().unwrap()).collect());
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(micros.len() as u64, commits * engines as u64);
    micros
}

fn engine(root: &Path, number: u64, commits: u64, pace: Duration) {
    let store = Store::open(root).unwrap();
    let (mut index, _) = Index::open(&store).unwrap();
    let run = RunId::new("bench", Timestamp::default(), number);
    let dir = store.create_run(&run, &[], &plan()).unwrap();
    let lock = store.lock_run(&run).unwrap();
    let mut journal = Journal::create(&dir.path, &lock).unwrap();
    let syncer = journal.syncer().unwrap();
    let mut commit = |recorded: Recorded| {
        journal.append(&[recorded]).unwrap();
        syncer.sync().unwrap();
    };
    let first = recorded(1, started(&run));
    let mut summary = RunSummary::of(std::slice::from_ref(&first)).unwrap();
    commit(first);
    index.record_run(&summary, None).unwrap();
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();

    let mut micros = Vec::new();
    let mut due = Instant::now();
    for seq in 2..commits + 2 {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let begun = Instant::now();
        commit(recorded(
            seq,
            Event::TaskSucceeded { task: TaskId::parse("task-0001").unwrap(), item: None },
        ));
        micros.push(begun.elapsed().as_secs_f64() * 1e6);
        due = begun + pace;
    }
    let (status, outputs) = (RunStatus::Succeeded, std::collections::BTreeMap::new());
    let end = Event::RunEnded { status, outputs, failure: None, verdict_only: false };
    commit(recorded(commits + 2, end));
    summary.status = status;
    index.record_run(&summary, None).unwrap();
    let lines: Vec<String> = micros.iter().map(f64::to_string).collect();
    println!("{}", lines.join("\n"));
}

fn recorded(seq: Seq, event: Event) -> Recorded {
    Recorded { seq, at: Timestamp::default(), event }
}

fn started(run: &RunId) -> Event {
    Event::RunStarted {
        run: run.clone(),
        workflow: "bench".to_owned(),
        digest: String::new(),
        request: RunRequest::default(),
        slots: 2,
        segue: "0.1.0".to_owned(),
        hardware: Hardware::default(),
    }
}

fn plan() -> Plan {
    Plan {
        version: segue_core::PLAN_VERSION,
        workflow: "bench".to_owned(),
        digest: String::new(),
        params: std::collections::BTreeMap::new(),
        secrets: Vec::new(),
        limits: RunLimits::default(),
        fail_fast: false,
        tasks: Vec::new(),
        outputs: Vec::new(),
        display: None,
        mode: None,
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which `percent` of the sorted `values` lie.
fn percentile(values: &[f64], percent: f64) -> f64 {
    let place = (values.len() as f64 - 1.0) * percent / 100.0;
    values[place.round() as usize]
}
