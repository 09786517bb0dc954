//! Requests to end: a task, the run, at once, by a failure, by time, to be resumed later.

use segue_core::{FailureClass, Input, Millis, ResumeScope, RunStatus, Section, StopReason};

use crate::plans::tasks;
use crate::rig::Rig;

#[test]
fn a_cancelled_run_stops_what_runs_and_cancels_the_rest() {
    let plan = tasks("a; b; c: a; end").section("end", Section::Finally);
    let mut rig = Rig::started(plan.done(), 1);
    rig.effects();
    rig.stop(StopReason::Cancelled, false);
    assert_eq!(rig.effects(), "stop a.1 cancelled");
    assert_eq!(rig.statuses(), "a running, b cancelled, c cancelled, end pending");
    rig.stopped("a", StopReason::Cancelled);
    assert_eq!(rig.effects(), "start end.1", "`finally` runs after a graceful cancel");
    rig.ok("end");
    assert_eq!(rig.status(), RunStatus::Cancelled);
}

#[test]
fn a_second_cancel_is_at_once() {
    let plan = tasks("a; end").section("end", Section::Finally);
    let mut rig = Rig::started(plan.done(), 1);
    rig.stop(StopReason::Cancelled, false);
    rig.stop(StopReason::Cancelled, false);
    rig.effects();
    rig.stop(StopReason::Cancelled, true);
    assert_eq!(rig.effects(), "stop a.1 cancelled at once");
    rig.stopped("a", StopReason::Cancelled);
    assert_eq!(
        (rig.statuses().as_str(), rig.status()),
        ("a cancelled, end cancelled", RunStatus::Cancelled)
    );
}

#[test]
fn a_task_that_succeeds_while_it_is_stopped_has_succeeded() {
    let mut rig = Rig::started(tasks("a").done(), 1);
    rig.stop(StopReason::Cancelled, false);
    rig.ok("a");
    assert_eq!((rig.statuses().as_str(), rig.status()), ("a succeeded", RunStatus::Succeeded));
}

#[test]
fn nothing_is_retried_under_a_stop() {
    for (reason, expected) in [
        (StopReason::Cancelled, "a cancelled"),
        (StopReason::RunTimeout, "a failed"),
        (StopReason::FailFast, "a cancelled"),
    ] {
        let mut rig = Rig::started(tasks("a").with("a", |t| t.retry.attempts = 3).done(), 1);
        rig.stop(reason, false);
        rig.fails("a");
        assert_eq!(rig.statuses(), expected, "{reason:?}");
        assert_ne!(rig.status(), RunStatus::Running, "{reason:?}");
    }
}

#[test]
fn one_task_can_be_cancelled() {
    let mut rig = Rig::started(tasks("a; b; c: b; d: a").done(), 1);
    rig.effects();
    rig.cancel_task("b");
    assert_eq!(rig.statuses(), "a running, b cancelled, c blocked, d pending");
    rig.cancel_task("a");
    assert_eq!(rig.effects(), "stop a.1 cancelled");
    rig.stopped("a", StopReason::Cancelled);
    assert_eq!(rig.statuses(), "a cancelled, b cancelled, c blocked, d blocked");
    assert_eq!(rig.status(), RunStatus::Failed);
    let failure = rig.view.failure.as_ref().unwrap();
    assert_eq!(failure.class, FailureClass::Cancelled);
    rig.cancel_task("a");
}

#[test]
fn a_task_waiting_for_its_retry_can_be_cancelled() {
    let mut rig = Rig::started(tasks("a").with("a", |t| t.retry.attempts = 3).done(), 1);
    rig.fails("a");
    rig.cancel_task("a");
    assert_eq!(rig.statuses(), "a cancelled");
}

#[test]
fn fail_fast_cancels_the_rest() {
    let plan = tasks("a; b; c; why; end")
        .plan(|plan| plan.fail_fast = true)
        .section("why", Section::OnFailure)
        .section("end", Section::Finally);
    let mut rig = Rig::started(plan.done(), 2);
    rig.effects();
    rig.fails("a");
    assert_eq!(rig.effects(), "stop b.1 failfast");
    rig.stopped("b", StopReason::FailFast);
    rig.run(|_| true);
    assert_eq!(rig.statuses(), "a failed, b cancelled, c cancelled, why succeeded, end succeeded");
    assert_eq!(rig.status(), RunStatus::Failed);
    assert_eq!(rig.view.failure.unwrap().task.unwrap().as_str(), "a");
}

#[test]
fn an_optional_failure_is_no_reason_to_fail_fast() {
    let plan = tasks("a; b").plan(|plan| plan.fail_fast = true).with("a", |t| t.optional = true);
    let mut rig = Rig::started(plan.done(), 1);
    rig.run(|attempt| attempt != "a.1");
    assert_eq!(rig.status(), RunStatus::Warned);
}

#[test]
fn a_shutdown_interrupts_and_a_resume_goes_on() {
    let plan = tasks("a; b; c: a; end").section("end", Section::Finally);
    let mut rig = Rig::started(plan.done(), 1);
    rig.effects();
    rig.stop(StopReason::Shutdown, false);
    assert_eq!(rig.effects(), "stop a.1 shutdown");
    rig.stopped("a", StopReason::Shutdown);
    assert_eq!(rig.effects(), "finish");
    assert_eq!(rig.status(), RunStatus::Interrupted);
    // `b` was cleared ahead and never started: it stays so, with its number.
    assert_eq!(rig.statuses(), "a pending, b queued, c pending, end pending");
    rig.resume(ResumeScope::Unfinished, 1);
    assert_eq!(rig.effects(), "reattach b.1");
    rig.input(Input::NeverStarted { attempt: Rig::attempt("b.1") });
    rig.run(|_| true);
    assert_eq!(rig.status(), RunStatus::Succeeded);
    assert_eq!(rig.order(), "a.1 a.2 b.1 c.1 end.1");
}

#[test]
fn a_shutdown_after_the_last_end_is_no_interruption() {
    let mut rig = Rig::started(tasks("a").done(), 1);
    rig.stop(StopReason::Shutdown, false);
    rig.ok("a");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn a_full_disk_interrupts() {
    let mut rig = Rig::started(tasks("a; b").done(), 1);
    rig.stop(StopReason::DiskFull, false);
    rig.stopped("a", StopReason::DiskFull);
    assert_eq!(rig.status(), RunStatus::Interrupted);
}

#[test]
fn a_run_ends_at_its_timeout() {
    let plan = tasks("a; b; end")
        .plan(|plan| plan.limits.timeout = Millis(60_000))
        .section("end", Section::Finally);
    let mut rig = Rig::started(plan.done(), 1);
    rig.effects();
    assert_eq!(rig.scheduler.next_deadline().unwrap().since(rig.now).0, 60_000);
    rig.wait(60_000);
    assert_eq!(rig.effects(), "stop a.1 runtimeout");
    rig.stopped("a", StopReason::RunTimeout);
    assert_eq!(rig.statuses(), "a failed, b cancelled, end cancelled");
    assert_eq!(rig.status(), RunStatus::Failed);
    assert_eq!(rig.view.failure.unwrap().class, FailureClass::Timeout);
}

/// A cancelled run that still cleans up is bounded, too.
#[test]
fn the_timeout_bounds_what_runs_after_a_cancel() {
    let plan = tasks("a; end")
        .plan(|plan| plan.limits.timeout = Millis(60_000))
        .section("end", Section::Finally);
    let mut rig = Rig::started(plan.done(), 1);
    rig.stop(StopReason::Cancelled, false);
    rig.stopped("a", StopReason::Cancelled);
    rig.effects();
    rig.wait(60_000);
    assert_eq!(rig.effects(), "stop end.1 runtimeout");
    rig.stopped("end", StopReason::RunTimeout);
    assert_ne!(rig.status(), RunStatus::Running);
}

/// What would start only to be stopped does not start.
#[test]
fn nothing_starts_after_the_timeout() {
    let plan = tasks("a; end")
        .plan(|plan| plan.limits.timeout = Millis(60_000))
        .section("end", Section::Finally);
    let mut rig = Rig::started(plan.done(), 1);
    rig.stop(StopReason::Cancelled, false);
    rig.effects();
    rig.now = rig.now + Millis(60_000);
    rig.stopped("a", StopReason::Cancelled);
    assert_eq!(rig.effects(), "finish");
    assert_eq!(rig.statuses(), "a cancelled, end cancelled");
}

/// A stop that comes while an attempt's fate is unknown reaches it once it is known.
#[test]
fn a_stop_reaches_doubtful_attempts() {
    for (at_once, whole_run) in [(false, true), (true, true), (false, false)] {
        let mut rig = Rig::started(tasks("a; b").done(), 2);
        rig.crash(rig.journal.len());
        rig.resume(ResumeScope::Unfinished, 2);
        assert_eq!(rig.effects(), "reattach a.1, reattach b.1");
        if whole_run {
            rig.stop(StopReason::Cancelled, at_once);
        } else {
            rig.cancel_task("a");
            rig.cancel_task("b");
        }
        assert_eq!(rig.effects(), "");
        rig.input(Input::Reattached { attempt: Rig::attempt("a.1") });
        let suffix = if at_once { " at once" } else { "" };
        assert_eq!(rig.effects(), format!("stop a.1 cancelled{suffix}"));
        rig.input(Input::NeverStarted { attempt: Rig::attempt("b.1") });
        assert_eq!(rig.effects(), "", "what never started does not start any more");
        assert_eq!(rig.statuses(), "a running, b cancelled");
    }
}
