//! The keeper's clocks over real processes.

use std::time::{Duration, Instant, SystemTime};

use segue_supervisor::{Outcome, TimeLimit};

use super::support::{Bench, assert_exited};

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
