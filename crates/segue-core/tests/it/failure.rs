//! What follows a failure: retries and their delays, blocked dependents, optional tasks.

use segue_core::{FailureClass, Outcome, RunStatus, Teardown, TimeLimit};

use crate::plans::{exited, report, tasks};
use crate::rig::Rig;

#[track_caller]
fn check(plan: crate::plans::PlanText, failing: &[&str], statuses: &str, status: RunStatus) {
    let mut rig = Rig::started(plan.done(), 4);
    rig.run(|attempt| !failing.iter().any(|task| attempt.starts_with(&format!("{task}."))));
    assert_eq!((rig.statuses().as_str(), rig.status()), (statuses, status));
}

#[test]
fn a_failed_need_blocks_by_its_root_and_nothing_else() {
    let plan = tasks("a; b: a; c: b; free; late: free");
    check(
        plan,
        &["a"],
        "a failed, b blocked, c blocked, free succeeded, late succeeded",
        RunStatus::Failed,
    );
    let mut rig = Rig::started(tasks("a; b: a; c: b").done(), 1);
    rig.fails("a");
    let by: Vec<_> = rig.view.tasks().map(|view| view.entry.blocked_by.clone()).collect();
    let a = segue_core::TaskId::parse("a").unwrap();
    assert_eq!(by, [None, Some(a.clone()), Some(a)]);
    let failure = rig.view.failure.unwrap();
    assert_eq!(
        (failure.class, failure.message.as_str()),
        (FailureClass::Execution, "exited with code 1")
    );
}

#[test]
fn an_optional_failure_counts_as_met_and_warns() {
    let plan = || tasks("a; b: a; c: b").with("a", |t| t.optional = true);
    let statuses = "a failed, b succeeded, c succeeded";
    check(plan(), &["a"], statuses, RunStatus::Warned);
    check(plan(), &["b"], "a succeeded, b failed, c blocked", RunStatus::Failed);
    // An optional task that is blocked counts as met, too.
    let plan = tasks("a; b: a; c: b").with("b", |t| t.optional = true);
    check(plan, &["a"], "a failed, b blocked, c succeeded", RunStatus::Failed);
}

#[test]
fn an_unverified_teardown_warns() {
    let mut rig = Rig::started(tasks("a").done(), 1);
    let mut end = exited(0);
    end.teardown = Teardown::Unverified { pids: vec![7] };
    rig.end("a", end);
    assert_eq!(rig.status(), RunStatus::Warned);
}

#[test]
fn retries_wait_as_the_backoff_says_and_hold_no_slot() {
    let plan = tasks("a; b").with("a", |t| t.retry.attempts = 4);
    let mut rig = Rig::started(plan.done(), 1);
    for (attempt, delay) in [5000, 10_000, 20_000].into_iter().enumerate() {
        rig.fails("a");
        if attempt == 0 {
            rig.ok("b");
        }
        assert_eq!(rig.statuses(), "a waiting, b succeeded");
        let due = rig.scheduler.next_deadline().unwrap();
        assert_eq!(due.since(rig.now).0, delay);
        rig.effects();
        rig.wait(delay - 1);
        assert_eq!(rig.effects(), "");
        rig.wait(1);
        assert_eq!(rig.effects(), format!("start a.{}", attempt + 2));
    }
    rig.fails("a");
    assert_eq!(
        (rig.statuses().as_str(), rig.status()),
        ("a failed, b succeeded", RunStatus::Failed)
    );
    assert_eq!(rig.view.metrics().retries, 3);
}

#[test]
fn jitter_is_the_same_each_time() {
    let due = || {
        let plan = tasks("a").with("a", |t| {
            t.retry.attempts = 2;
            t.retry.jitter = true;
        });
        let mut rig = Rig::started(plan.done(), 1);
        rig.fails("a");
        rig.scheduler.next_deadline().unwrap().since(rig.now).0
    };
    assert_eq!(due(), due());
    assert!((2500..=5000).contains(&due()), "{}", due());
}

/// Ends the one attempt of a task with three tries; says whether another is scheduled.
#[track_caller]
fn retried(outcome: Outcome, class: FailureClass) -> bool {
    let mut rig = Rig::started(tasks("a").with("a", |t| t.retry.attempts = 3).done(), 1);
    rig.end("a", report(outcome, Some(class)));
    rig.statuses() == "a waiting"
}

#[test]
fn only_what_can_pass_is_tried_again() {
    let failed = || Outcome::Exited { code: 1 };
    for class in [
        FailureClass::RateLimit,
        FailureClass::Network,
        FailureClass::Stall,
        FailureClass::Execution,
        FailureClass::Quality,
    ] {
        assert!(retried(failed(), class), "{class}");
    }
    for class in [FailureClass::Auth, FailureClass::Budget, FailureClass::Permission] {
        assert!(!retried(failed(), class), "{class}");
    }
    assert!(retried(Outcome::Lost, FailureClass::Lost));
    let limit = |limit| Outcome::TimedOut { limit };
    assert!(retried(limit(TimeLimit::Total), FailureClass::Timeout));
    assert!(!retried(limit(TimeLimit::Run), FailureClass::Timeout));
}

#[test]
fn retry_never_means_once() {
    let plan = tasks("a").with("a", |t| {
        t.retry.attempts = 5;
        t.retry.never = true;
    });
    let mut rig = Rig::started(plan.done(), 1);
    rig.end("a", report(Outcome::Lost, Some(FailureClass::Lost)));
    assert_eq!(rig.statuses(), "a failed");
}

/// Stopped from outside, an attempt uses no try: the task goes on as if nothing had been.
#[test]
fn a_shutdown_from_outside_and_parking_use_no_try() {
    let plan = tasks("a").with("a", |t| t.retry.attempts = 2);
    let mut rig = Rig::started(plan.done(), 1);
    rig.stopped("a", segue_core::StopReason::Shutdown);
    rig.end("a", report(Outcome::Parked, Some(FailureClass::Lost)));
    rig.fails("a");
    rig.wait(5000);
    rig.ok("a");
    assert_eq!(rig.order(), "a.1 a.2 a.3 a.4");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

/// Nothing lies: without a program that ended by itself there is no success.
#[test]
fn an_end_without_an_exit_is_never_a_success() {
    for outcome in [
        Outcome::Lost,
        Outcome::Signaled { signal: 9 },
        Outcome::OutputLimit,
        Outcome::TimedOut { limit: TimeLimit::Total },
        Outcome::SpawnFailed { kind: "prepare".into(), message: "x".into() },
    ] {
        let mut rig = Rig::started(tasks("a").done(), 1);
        rig.end("a", report(outcome.clone(), None));
        assert_eq!(rig.statuses(), "a failed", "{outcome:?}");
    }
}
