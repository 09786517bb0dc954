//! Whatever an attempt does to hide or to multiply, nothing of it is left.

use std::time::{Duration, Instant};

use segue_supervisor::{Outcome, Request, Start, StopMode, StopReason, Teardown, TimeLimit};

use super::support::{Bench, CLEAN, is_alive, marked, marker_of, pid_in};

const STRAGGLER: Teardown = Teardown::Verified { stragglers: 1 };

fn stop(bench: &mut Bench, number: u64, mode: StopMode) {
    let run_dir = bench.dir().to_owned();
    bench.send(&Request::Stop { run_dir, number, mode, reason: StopReason::Cancelled });
}

const CANCELLED: Outcome = Outcome::Cancelled { reason: StopReason::Cancelled };

#[test]
fn a_timeout_bounds_a_sleeper_in_a_grandchild() {
    let mut bench = Bench::new();
    let mut start = bench.shell("sh -c 'sh -c \"echo up; exec sleep 30\"; :'; :");
    start.limits.timeout_ms = Some(1_000);
    start.limits.kill_grace_ms = 2_000;
    let (marker, log) = (marker_of(&start), start.attempt_dir.join("stdout.log"));
    let begun = Instant::now();
    let (pid, _) = bench.spawn(start);
    super::support::await_file(&log);
    super::support::await_that("the program, its child and the sleeper", || {
        (marked(&marker).len() == 3).then_some(())
    });
    let ended = bench.ended();
    assert!(begun.elapsed() < Duration::from_millis(3_000), "{:?}", begun.elapsed());
    assert_eq!(ended.outcome, Outcome::TimedOut { limit: TimeLimit::Total });
    assert_eq!(ended.teardown, CLEAN, "all of them heed TERM");
    assert!(!is_alive(pid));
    assert_eq!(marked(&marker), [0; 0], "seen to be empty, and it is");
}

#[test]
fn one_that_ignores_term_is_killed_after_its_grace() {
    let mut bench = Bench::new();
    let start = bench.testee(&["ignore-term"]);
    let (number, log) = (start.number, start.attempt_dir.join("stdout.log"));
    let (pid, _) = bench.spawn(start);
    super::support::await_file(&log);
    let begun = Instant::now();
    stop(&mut bench, number, StopMode::Graceful);
    let ended = bench.ended();
    assert!(begun.elapsed() >= Duration::from_millis(500), "the grace is given");
    assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
    assert_eq!((ended.outcome, ended.teardown), (CANCELLED, CLEAN));
    assert!(!is_alive(pid));
}

#[test]
fn what_a_shell_ran_has_its_grace_after_the_shell_died_of_term() {
    let mut bench = Bench::new();
    let mut start = bench.shell(
        "sh -c 'trap \"sleep 0.3; echo cleaned; exit\" TERM
                echo ready; while :; do sleep 0.01; done'; :",
    );
    start.limits.kill_grace_ms = 20_000;
    let (number, log) = (start.number, start.attempt_dir.join("stdout.log"));
    bench.spawn(start);
    super::support::await_file(&log);
    stop(&mut bench, number, StopMode::Graceful);
    let ended = bench.ended();
    assert_eq!((&ended.outcome, &ended.teardown), (&CANCELLED, &CLEAN));
    assert_eq!(bench.log(&ended, "stdout.log"), b"ready\ncleaned\n");
}

#[test]
fn at_once_shortens_a_ladder_under_way() {
    let mut bench = Bench::new();
    let mut start = bench.testee(&["ignore-term"]);
    start.limits.kill_grace_ms = 600_000;
    let (number, log) = (start.number, start.attempt_dir.join("stdout.log"));
    bench.spawn(start);
    super::support::await_file(&log);
    stop(&mut bench, number, StopMode::Graceful);
    stop(&mut bench, number, StopMode::AtOnce);
    let ended = bench.ended();
    assert_eq!((ended.outcome, ended.teardown), (CANCELLED, CLEAN));
}

#[test]
fn the_interrupt_comes_before_term() {
    let mut bench = Bench::new();
    let script = "trap 'echo interrupted; exit 0' INT; trap 'echo terminated' TERM
                  echo ready; while :; do sleep 0.01; done";
    let mut start = bench.shell(script);
    start.limits.interrupt = Some(libc::SIGINT);
    start.limits.kill_grace_ms = 20_000;
    let (number, log) = (start.number, start.attempt_dir.join("stdout.log"));
    bench.spawn(start);
    super::support::await_file(&log);
    stop(&mut bench, number, StopMode::Graceful);
    let ended = bench.ended();
    assert_eq!(ended.outcome, CANCELLED);
    assert_eq!(bench.log(&ended, "stdout.log"), b"ready\ninterrupted\n");
}

#[test]
fn one_that_forks_and_exits_leaves_a_counted_straggler() {
    let mut bench = Bench::new();
    let start = bench.shell("sleep 300 & exit 7");
    let ended = bench.run(start);
    assert_eq!((ended.outcome, ended.teardown), (Outcome::Exited { code: 7 }, STRAGGLER));
}

#[test]
fn what_ends_by_itself_is_no_straggler() {
    let mut bench = Bench::new();
    // It waits for the program's end, then speaks.
    let script = "(while kill -0 $$ 2>/dev/null; do :; done; echo late) & exit 0";
    let start = bench.shell(script);
    let ended = bench.run(start);
    assert_eq!((&ended.outcome, &ended.teardown), (&Outcome::Exited { code: 0 }, &CLEAN));
    assert_eq!(bench.log(&ended, "stdout.log"), b"late\n");
}

/// Runs a start that leaves a process writing its number to the file `pid`, which must die.
#[track_caller]
fn check_escapee(bench: &mut Bench, start: Start) {
    let ended = bench.run(start);
    assert_eq!((ended.outcome, ended.teardown), (Outcome::Exited { code: 0 }, STRAGGLER));
    let escapee = pid_in(&bench.dir().join("pid"));
    assert!(!is_alive(escapee), "{escapee} got away");
}

#[test]
fn a_session_of_its_own_does_not_hide_a_process() {
    let mut bench = Bench::new();
    let start =
        bench.shell("setsid \"$TESTEE\" sleep-as \"$PWD/pid\" & while [ ! -e pid ]; do :; done");
    check_escapee(&mut bench, start);
}

#[test]
fn a_double_fork_with_a_new_session_and_no_environment_does_not_hide_a_process() {
    let mut bench = Bench::new();
    let pid_file = bench.dir().join("pid");
    let start = bench.testee(&["escape", pid_file.to_str().expect("UTF-8")]);
    check_escapee(&mut bench, start);
}

#[test]
fn one_that_forks_every_fifty_microseconds_and_ignores_term_is_ended() {
    let mut bench = Bench::new();
    let mut start = bench.testee(&["storm", "5000"]);
    start.limits.kill_grace_ms = 20;
    let (number, marker) = (start.number, marker_of(&start));
    bench.spawn(start);
    super::support::await_that("a storm", || (marked(&marker).len() > 20).then_some(()));
    stop(&mut bench, number, StopMode::Graceful);
    let ended = bench.ended();
    assert_eq!(ended.outcome, CANCELLED);
    assert!(matches!(ended.teardown, Teardown::Verified { stragglers: 20.. }), "{ended:?}");
    assert_eq!(marked(&marker), [0; 0]);
}

#[test]
fn one_that_is_a_new_process_every_fifty_microseconds_is_ended() {
    let mut bench = Bench::new();
    let start = bench.testee(&["chain", "20000"]);
    let marker = marker_of(&start);
    let ended = bench.run(start);
    // The first of the chain is gone at once, as it wants to be; the last would stay.
    assert_eq!(ended.outcome, Outcome::Exited { code: 0 });
    assert!(matches!(ended.teardown, Teardown::Verified { stragglers: 1.. }), "{ended:?}");
    assert_eq!(marked(&marker), [0; 0]);
}

#[test]
fn what_leave_names_lives_until_its_run_is_closed() {
    let mut bench = Bench::new();
    let daemon = bench.dir().join("builddaemon");
    std::fs::copy(super::support::TESTEE, &daemon).expect("copied");
    let mut start = bench.shell(
        "setsid ./builddaemon sleep-as \"$PWD/pid\" & sleep 300 & while [ ! -e pid ]; do :; done",
    );
    start.leave = vec!["builddaemon".to_owned()];
    let (_, keeper) = bench.spawn(start);
    let ended = bench.ended();
    assert_eq!((ended.outcome, ended.teardown), (Outcome::Exited { code: 0 }, STRAGGLER));
    let daemon = pid_in(&bench.dir().join("pid"));
    assert!(is_alive(daemon));
    // The next attempt has another keeper, and the daemon another parent.
    let start = bench.shell("sleep 30");
    let number = start.number;
    let (_, other_keeper) = bench.spawn(start);
    assert_ne!(keeper, other_keeper);
    stop(&mut bench, number, StopMode::AtOnce);
    bench.ended();
    assert!(is_alive(daemon));
    let run_dir = bench.dir().to_owned();
    bench.send(&Request::CloseRun { run_dir });
    super::support::await_that("the daemon's end", || (!is_alive(daemon)).then_some(()));
}
