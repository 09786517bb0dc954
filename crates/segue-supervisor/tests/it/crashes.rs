//! Engine, supervisor and keeper killed, one by one and together; what the next engine finds.

use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use segue_supervisor::adoption::{self, Found, Watched};
use segue_supervisor::{Client, Launch, Outcome, Report, Request, StopMode, StopReason, Teardown};

use super::support::{
    Bench, CLEAN, PATIENCE, TESTEE, await_that, is_alive, is_readable, kill, lock, pid_in,
    with_variable,
};

/// An engine in a process of its own, to be killed.
struct Engine {
    process: Child,
    said: std::io::Lines<BufReader<ChildStdout>>,
    /// What it said and nobody asked for yet: attempts go on in any order.
    unheard: Vec<String>,
    supervisor: u32,
}

impl Engine {
    fn start(run_dir: &Path, mode: &str, count: u64, script: &str) -> Self {
        let mut process = Command::new(TESTEE)
            .args(["engine", run_dir.to_str().expect("UTF-8"), mode, &count.to_string(), script])
            .stdout(Stdio::piped())
            .spawn()
            .expect("an engine");
        let mut said = BufReader::new(process.stdout.take().expect("piped")).lines();
        let first = said.next().expect("it speaks").expect("text");
        let supervisor = first.strip_prefix("supervisor ").expect("it names its supervisor");
        let supervisor = supervisor.parse().expect("a number");
        Self { process, said, unheard: Vec::new(), supervisor }
    }

    /// Waits for a line that begins like this; its numbers.
    fn hear(&mut self, beginning: &str) -> Vec<u32> {
        let is_it = |line: &String| line.starts_with(beginning);
        let line = loop {
            if let Some(at) = self.unheard.iter().position(is_it) {
                break self.unheard.remove(at);
            }
            let line = self.said.next().unwrap_or_else(|| panic!("no `{beginning}`"));
            self.unheard.push(line.expect("text"));
        };
        line.split(' ').filter_map(|word| word.parse().ok()).collect()
    }

    /// Waits until `count` attempts have been spawned: (number, process, keeper) of each.
    fn hear_spawned(&mut self, count: usize) -> Vec<(u64, u32, u32)> {
        let heard = (0..count).map(|_| self.hear("spawned "));
        heard.map(|numbers| (u64::from(numbers[0]), numbers[1], numbers[2])).collect()
    }

    fn kill(&mut self) {
        self.process.kill().expect("it lives");
        self.process.wait().expect("ours");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Adopts as an engine would: the lock, then the records.
fn adopt(run_dir: &Path, numbers: &[u64]) -> Vec<Found> {
    let lock = adoption::take_starts_lock(run_dir, Duration::from_secs(5)).expect("the lock");
    let found = adoption::find_all(run_dir, numbers).expect("records");
    drop(lock);
    found
}

#[track_caller]
fn running(found: Found) -> Watched {
    match found {
        Found::Running(watched) => watched,
        other => panic!("not running: {other:?}"),
    }
}

#[track_caller]
fn await_end(run_dir: &Path, watched: &Watched) -> segue_supervisor::Ended {
    assert!(is_readable(watched.as_raw_fd(), PATIENCE), "the keeper goes after its attempt");
    match adoption::find(run_dir, watched.number()).expect("records") {
        Found::Ended(ended) => ended,
        other => panic!("not ended: {other:?}"),
    }
}

#[test]
fn an_engine_is_killed_and_the_next_finds_what_ended_what_runs_and_what_never_started() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = "[ $NUMBER = 1 ] && exit 3; until [ -e go ]; do sleep 0.01; done; echo $NUMBER";
    let mut engine = Engine::start(dir.path(), "plain", 3, script);
    engine.hear("ended 1 ");
    engine.hear_spawned(3);
    engine.kill();
    let mut found = adopt(dir.path(), &[1, 2, 3, 4]).into_iter();
    let Some(Found::Ended(first)) = found.next() else { panic!("ended") };
    assert_eq!((first.outcome, first.label.as_str()), (Outcome::Exited { code: 3 }, "task-1.1"));
    let second = running(found.next().expect("four"));
    let third = running(found.next().expect("four"));
    assert!(matches!(found.next(), Some(Found::NeverStarted)));
    assert!(adoption::is_locked(dir.path(), 2).expect("records"));
    assert!(second.pid().is_some_and(is_alive));

    // One goes on to its own end, one is stopped by its adopter.
    third.stop(StopMode::Graceful, StopReason::Budget).expect("it lives");
    let third = await_end(dir.path(), &third);
    assert_eq!(third.outcome, Outcome::Cancelled { reason: StopReason::Budget });
    std::fs::write(dir.path().join("go"), "").expect("written");
    let second = await_end(dir.path(), &second);
    assert_eq!((second.outcome, second.teardown), (Outcome::Exited { code: 0 }, CLEAN));
    adoption::wait_unlocked(dir.path(), 2).expect("records");
    let supervisor = engine.supervisor;
    await_that("the supervisor's end", || (!is_alive(supervisor)).then_some(()));
    // And the run can be opened again.
    let mut client = Client::launch(&Launch { program: Some(TESTEE.into()) }).expect("started");
    client.send(&Request::OpenRun { run_dir: dir.path().to_owned() }).expect("sent");
    assert!(is_readable(client.as_raw_fd(), PATIENCE));
    let report = loop {
        if let Some(report) = client.receive().expect("it lives") {
            break report;
        }
        assert!(is_readable(client.as_raw_fd(), PATIENCE));
    };
    assert!(matches!(report, Report::RunOpened { .. }), "{report:?}");
}

/// What each start does once: a file of its own, which must not be there before.
const ONCE: &str = "set -C; echo x > ran-$NUMBER || echo twice > twice-$NUMBER; sleep 0.05";

#[test]
fn starts_still_in_the_pipe_are_recorded_before_the_lock_is_let_go() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut engine = Engine::start(dir.path(), "stopped", 20, ONCE);
    engine.hear("sent");
    engine.kill();
    let supervisor = engine.supervisor;
    kill(supervisor, libc::SIGCONT);
    let numbers: Vec<u64> = (1..=20).collect();
    for found in adopt(dir.path(), &numbers) {
        match found {
            Found::Running(watched) => {
                await_end(dir.path(), &watched);
            }
            Found::Ended(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let ran = numbers.iter().filter(|number| dir.path().join(format!("ran-{number}")).exists());
    assert_eq!(ran.count(), 20);
}

#[test]
fn a_supervisor_that_does_not_let_go_is_killed_and_its_starts_never_happen() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut engine = Engine::start(dir.path(), "stopped", 20, ONCE);
    engine.hear("sent");
    engine.kill();
    let patience = Duration::from_millis(100);
    let lock = adoption::take_starts_lock(dir.path(), patience).expect("taken by force");
    assert!(!is_alive(engine.supervisor));
    let numbers: Vec<u64> = (1..=20).collect();
    let found = adoption::find_all(dir.path(), &numbers).expect("records");
    assert!(found.iter().all(|found| matches!(found, Found::NeverStarted)), "{found:?}");
    drop(lock);
    let names = std::fs::read_dir(dir.path()).expect("a folder").flatten();
    assert!(names.into_iter().all(|name| name.file_name() == "starts.lock"));
}

#[test]
fn a_start_that_a_keeper_has_not_recorded_dies_with_the_supervisor() {
    let mut bench = Bench::new();
    let first = bench.shell("exit 0");
    bench.run(first);
    let keeper = super::support::children(bench.client.pid())[0];
    kill(keeper, libc::SIGSTOP);
    let start = bench.shell("echo x > ran");
    let number = start.number;
    bench.send(&Request::Start(Box::new(start)));
    // Answers come in order, so the start was handed over when another run is open.
    let other = tempfile::tempdir().expect("a folder");
    bench.send(&Request::OpenRun { run_dir: other.path().to_owned() });
    assert!(matches!(bench.next(), Report::RunOpened { .. }));
    kill(bench.client.pid(), libc::SIGKILL);
    let found = adopt(bench.dir(), &[number]).pop();
    assert!(matches!(found, Some(Found::NeverStarted)), "{found:?}");
    kill(keeper, libc::SIGCONT);
    await_that("the keeper's end", || (!is_alive(keeper)).then_some(()));
    assert!(!bench.dir().join("ran").exists(), "its adopter was told that it never started");
    let found = adoption::find(bench.dir(), number).expect("records");
    assert!(matches!(found, Found::NeverStarted), "{found:?}");
}

#[test]
fn a_supervisor_is_killed_at_any_moment_and_no_start_happens_twice() {
    for round in 0..20 {
        let dir = tempfile::tempdir().expect("a folder");
        let mut engine = Engine::start(dir.path(), "plain", 12, ONCE);
        if round % 2 == 0 {
            engine.hear("sent");
        } else {
            engine.hear_spawned(usize::try_from(round).expect("small") / 2 + 1);
        }
        kill(engine.supervisor, libc::SIGKILL);
        engine.kill();
        let numbers: Vec<u64> = (1..=12).collect();
        let lock = adoption::take_starts_lock(dir.path(), Duration::from_secs(5)).expect("free");
        let found = adoption::find_all(dir.path(), &numbers).expect("records");
        let mut never = Vec::new();
        for (number, found) in numbers.iter().zip(found) {
            match found {
                Found::NeverStarted => never.push(*number),
                Found::Running(watched) => {
                    await_end(dir.path(), &watched);
                }
                Found::Ended(_) => {}
                Found::Lost { .. } => panic!("round {round}: {number} lost"),
            }
        }
        for number in numbers {
            let has_run = dir.path().join(format!("ran-{number}")).exists();
            assert_eq!(has_run, !never.contains(&number), "round {round}: {number}");
            assert!(!dir.path().join(format!("twice-{number}")).exists());
        }
        drop(lock);
    }
}

#[test]
fn whoever_is_killed_with_the_engine_every_attempt_is_accounted_for() {
    for round in 0..24 {
        let dir = tempfile::tempdir().expect("a folder");
        let mut engine = Engine::start(dir.path(), "plain", 12, ONCE);
        let spawned = engine.hear_spawned(round / 4 * 2 + 1);
        let keeper = spawned.last().expect("one at least").2;
        let (with_supervisor, with_keeper) = (round % 2 == 1, round % 4 >= 2);
        if round % 8 >= 4 {
            engine.kill();
        }
        if with_supervisor {
            kill(engine.supervisor, libc::SIGKILL);
        }
        if with_keeper && is_alive(keeper) {
            kill(keeper, libc::SIGKILL);
        }
        engine.kill();
        check_all_accounted_for(dir.path(), 12, usize::from(with_keeper));
    }
}

/// Adopts the run, waits for what runs, sweeps what is lost; then nothing is unexplained, and no
/// more is lost than may be.
#[track_caller]
fn check_all_accounted_for(run_dir: &Path, count: u64, lost_max: usize) {
    let numbers: Vec<u64> = (1..=count).collect();
    let (mut never, mut lost) = (Vec::new(), 0);
    for (number, mut found) in numbers.iter().zip(adopt(run_dir, &numbers)) {
        if let Found::Running(watched) = &found {
            assert!(is_readable(watched.as_raw_fd(), PATIENCE), "{number} runs on");
            found = adoption::find(run_dir, *number).expect("records");
        }
        match found {
            Found::NeverStarted => never.push(*number),
            Found::Running(watched) => panic!("{number} runs without a keeper: {watched:?}"),
            Found::Ended(ended) => lost += usize::from(ended.outcome == Outcome::Lost),
            Found::Lost { token, .. } => {
                let _ = adoption::sweep(&token);
                lost += 1;
            }
        }
    }
    assert!(lost <= lost_max, "{lost} lost");
    for number in numbers {
        let has_run = run_dir.join(format!("ran-{number}")).exists();
        assert!(!(has_run && never.contains(&number)), "{number} ran without a record");
        assert!(!run_dir.join(format!("twice-{number}")).exists());
        let variable = format!("SEGUE_ATTEMPT_TOKEN={}-{number}", run_dir.display());
        await_that("an empty tree", || with_variable(&variable).is_empty().then_some(()));
    }
}

#[test]
fn a_supervisor_dies_under_a_living_engine_and_its_attempts_go_on() {
    let mut bench = Bench::new();
    let start = bench.shell("until [ -e go ]; do sleep 0.01; done; exit 5");
    let (number, again) = (start.number, start.clone());
    bench.spawn(start);
    kill(bench.client.pid(), libc::SIGKILL);
    assert!(is_readable(bench.client.as_raw_fd(), PATIENCE));
    let error = bench.client.receive().expect_err("it is gone");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    let watched = running(adopt(bench.dir(), &[number]).pop().expect("one"));
    // Another supervisor does not know of it, but its keeper sees the lock.
    bench.relaunch();
    bench.send(&Request::Start(Box::new(again)));
    let Report::StartRefused { message, .. } = bench.next() else { panic!("refused") };
    assert!(message.contains("running already"), "{message}");
    std::fs::write(bench.dir().join("go"), "").expect("written");
    let ended = await_end(bench.dir(), &watched);
    assert_eq!((ended.outcome, ended.teardown), (Outcome::Exited { code: 5 }, CLEAN));
}

#[test]
fn a_keeper_is_killed_and_everything_below_it_goes_and_the_attempt_is_lost() {
    let mut bench = Bench::new();
    let start = bench.shell("\"$TESTEE\" escape \"$PWD/pid\"; sleep 300 & wait");
    let number = start.number;
    let (program, keeper) = bench.spawn(start);
    let escapee = pid_in(&bench.dir().join("pid"));
    let other = bench.shell("until [ -e go ]; do sleep 0.01; done");
    bench.spawn(other);
    kill(keeper, libc::SIGKILL);
    let ended = bench.ended();
    assert_eq!((ended.number, &ended.outcome), (number, &Outcome::Lost));
    assert!(matches!(ended.teardown, Teardown::Verified { stragglers: 1.. }), "{ended:?}");
    assert!(!is_alive(program) && !is_alive(escapee));
    let Found::Ended(recorded) = adoption::find(bench.dir(), number).expect("records") else {
        panic!("the supervisor recorded it")
    };
    assert_eq!(recorded, ended);
    // The other attempt is none the worse.
    std::fs::write(bench.dir().join("go"), "").expect("written");
    assert_eq!(bench.ended().outcome, Outcome::Exited { code: 0 });
}

#[test]
fn all_three_are_killed_and_a_sweep_finds_the_rest() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = "setsid \"$TESTEE\" sleep-as \"$PWD/pid\" & wait";
    let mut engine = Engine::start(dir.path(), "plain", 1, script);
    let [(number, program, keeper)] = engine.hear_spawned(1)[..] else { panic!("one") };
    let rest = pid_in(&dir.path().join("pid"));
    engine.kill();
    kill(engine.supervisor, libc::SIGKILL);
    kill(keeper, libc::SIGKILL);
    await_that("the program's end", || (!is_alive(program)).then_some(()));
    assert!(is_alive(rest), "nobody is left who could end it");
    let Some(Found::Lost { token, label, .. }) = adopt(dir.path(), &[number]).pop() else {
        panic!("lost")
    };
    assert_eq!(label, "task-1.1");
    let swept = adoption::sweep(&token);
    assert_eq!(swept.killed, [rest]);
    await_that("its end", || (!is_alive(rest)).then_some(()));
    assert_eq!(adoption::sweep(&token), adoption::Swept::default());
}

#[test]
fn without_an_engine_an_attempt_is_parked_and_with_one_it_is_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let engine_lock = lock(&dir.path().join("run.lock"));
    let mut engine = Engine::start(dir.path(), "parks", 1, "sleep 300");
    engine.hear_spawned(1);
    engine.kill();
    // The lock stands for an engine that took over: three periods pass, and nothing happens.
    let watched = running(adopt(dir.path(), &[1]).pop().expect("one"));
    assert!(!is_readable(watched.as_raw_fd(), Duration::from_millis(1_000)));
    drop(engine_lock);
    let begun = Instant::now();
    let ended = await_end(dir.path(), &watched);
    assert_eq!((ended.outcome, ended.teardown), (Outcome::Parked, CLEAN));
    assert!(begun.elapsed() < Duration::from_secs(2));
}
