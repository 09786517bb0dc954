//! The keeper's clocks over real processes.

use std::time::{Duration, Instant, SystemTime};

use segue_supervisor::{Ended, Outcome, Start, Teardown, TimeLimit};

use super::support::{Bench, assert_exited, marked, marker_of};

#[test]
fn silence_without_work_is_a_stall_and_work_is_not() {
    let mut bench = Bench::new();
    let mut start = bench.shell("echo begun; sleep 30");
    start.limits.stall_ms = Some(400);
    let begun = Instant::now();
    let ended = bench.run(start);
    assert_eq!(ended.outcome, Outcome::TimedOut { limit: TimeLimit::Stall });
    assert!(begun.elapsed() >= Duration::from_millis(400));

    // Silent but busy in a grandchild: only its own timeout ends it.
    let mut start = bench.shell("sh -c '\"$TESTEE\" spin; :'; :");
    start.limits.stall_ms = Some(1_000);
    start.limits.timeout_ms = Some(2_500);
    let ended = bench.run(start);
    assert_eq!(ended.outcome, Outcome::TimedOut { limit: TimeLimit::Total });

    // Idle but talking.
    let mut start = bench.shell("for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done");
    start.limits.stall_ms = Some(1_000);
    assert_exited(&bench.run(start), 0);
}

#[test]
fn who_left_the_session_works_for_the_tree_all_the_same() {
    let mut bench = Bench::new();
    let mut start = bench.testee(&["away", "spin", ""]);
    start.limits.stall_ms = Some(600);
    start.limits.timeout_ms = Some(2_000);
    let ended = bench.run(start);
    assert_eq!(ended.outcome, Outcome::TimedOut { limit: TimeLimit::Total });
    // The same hiding place with nobody at work there.
    let file = bench.dir().join("pid").display().to_string();
    let mut start = bench.testee(&["away", "sleep-as", &file]);
    start.limits.stall_ms = Some(600);
    start.limits.timeout_ms = Some(20_000);
    let ended = bench.run(start);
    assert_eq!(ended.outcome, Outcome::TimedOut { limit: TimeLimit::Stall });
}

/// Whoever holds the limit here, the kernel or the keeper, the end is the same.
#[track_caller]
fn check_killed_for_memory(bench: &mut Bench, mut start: Start, mib: u64) -> Ended {
    start.limits.memory_bytes_max = Some(mib << 20);
    start.limits.timeout_ms = Some(20_000);
    let marker = marker_of(&start);
    let ended = bench.run(start);
    assert_eq!(ended.outcome, Outcome::Signaled { signal: 9 }, "{ended:?}");
    let exceeded = ended.memory_exceeded.expect("it says why");
    assert_eq!(exceeded.limit_bytes, mib << 20);
    assert!(exceeded.used_bytes >= (mib << 20) * 9 / 10, "{exceeded:?}");
    assert!(ended.tree_peak_memory_bytes.is_some_and(|peak| peak >= exceeded.used_bytes * 9 / 10));
    assert!(matches!(ended.teardown, Teardown::Verified { .. }), "{ended:?}");
    assert_eq!(marked(&marker), [0; 0]);
    ended
}

#[test]
fn a_tree_that_grows_past_its_limit_is_killed() {
    let mut bench = Bench::new();
    let start = bench.testee(&["grow", "1024"]);
    check_killed_for_memory(&mut bench, start, 100);
    // Each child stays below it, both together do not.
    let start = bench.shell("\"$TESTEE\" grow 96 & \"$TESTEE\" grow 96 & wait");
    check_killed_for_memory(&mut bench, start, 120);
}

#[test]
fn memory_of_who_left_the_session_counts() {
    let mut bench = Bench::new();
    let start = bench.testee(&["away", "grow", "1024"]);
    check_killed_for_memory(&mut bench, start, 100);
}

#[test]
fn what_processes_share_counts_once() {
    let mut bench = Bench::new();
    let mut start = bench.testee(&["share", "64", "8"]);
    start.limits.memory_bytes_max = Some(150 << 20);
    let ended = bench.run(start);
    assert_eq!(ended.outcome, Outcome::Exited { code: 0 }, "{ended:?}");
    assert_eq!(ended.memory_exceeded, None);
    let peak = ended.tree_peak_memory_bytes.expect("somebody looked");
    assert!((64 << 20..150 << 20).contains(&peak), "{peak}");
}

#[test]
fn the_deadline_of_the_run_ends_an_attempt() {
    let mut bench = Bench::new();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let mut start = bench.shell("sleep 30");
    start.limits.run_deadline_unix_ms = Some(u64::try_from(now.as_millis()).expect("fits") + 300);
    let ended = bench.run(start);
    assert_eq!(ended.outcome, Outcome::TimedOut { limit: TimeLimit::Run });
}

#[test]
fn what_an_attempt_used_is_counted() {
    let mut bench = Bench::new();
    let start =
        bench.start(&["python3", "-c", "x = bytearray(64 << 20); print(sum(range(10**6)))"]);
    let ended = bench.run(start);
    assert_exited(&ended, 0);
    assert!(ended.peak_memory_bytes > 64 << 20, "{ended:?}");
    assert!(ended.user_ms + ended.system_ms > 0, "{ended:?}");
}
