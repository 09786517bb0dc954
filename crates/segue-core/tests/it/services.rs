//! Services: beside what needs them, without a slot, until the last has ended.

use segue_core::{
    FailureClass, Millis, Outcome, ResumeScope, RunStatus, Section, StopReason, When,
};

use crate::plans::{check, exited, report, tasks};
use crate::rig::Rig;

fn failure(rig: &Rig, task: &str) -> String {
    let index = rig.scheduler.plan().position(task).unwrap();
    rig.scheduler.state().tasks[index].failure.clone().expect("it failed").1
}

/// Ends the service as a keeper that was told to stop it does.
fn released(rig: &mut Rig, task: &str) {
    rig.stopped(task, StopReason::Released);
}

#[test]
fn a_service_runs_beside_its_dependents_in_one_slot() {
    let mut rig = Rig::started(tasks("db; a: db; b: db; c: b").services("db").done(), 1);
    assert_eq!(rig.effects(), "start db.1, look at ready of db");
    assert_eq!(rig.statuses(), "db running, a pending, b pending, c pending");
    rig.misses("db", "refused");
    rig.wait(2000);
    rig.effects();
    rig.passes("db");
    assert_eq!(rig.effects(), "start b.1");
    rig.ok("b");
    assert_eq!(rig.effects(), "start a.1");
    rig.ok("a");
    assert_eq!(rig.effects(), "stop db.1 released, start c.1");
    released(&mut rig, "db");
    rig.ok("c");
    assert_eq!(rig.statuses(), "db succeeded, a succeeded, b succeeded, c succeeded");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn the_run_ends_after_its_services() {
    let plan = tasks("db; a: db; last").services("db").section("last", Section::Finally);
    let mut rig = Rig::started(plan.done(), 1);
    rig.passes("db");
    rig.fails("a");
    assert_eq!(rig.statuses(), "db running, a failed, last pending", "`finally` waits for it");
    // However it takes being stopped.
    rig.end("db", report(Outcome::Signaled { signal: 9 }, Some(FailureClass::Execution)));
    rig.ok("last");
    assert_eq!(rig.statuses(), "db succeeded, a failed, last succeeded");
    assert_eq!(rig.status(), RunStatus::Failed);
}

#[test]
fn without_a_check_it_is_ready_as_it_starts() {
    let plan = tasks("db; a: db").services("db").with("db", |task| {
        task.background = Some(segue_core::Service { ready: None });
    });
    let mut rig = Rig::started(plan.done(), 1);
    assert_eq!(rig.effects(), "start db.1, start a.1");
}

#[test]
fn one_that_dies_takes_along_what_needs_it() {
    let plan = tasks("db; a: db; b: db; c: b; other").services("db");
    let plan = plan.with("db a b c", |task| task.priority = -1);
    let mut rig = Rig::started(plan.with("a", |task| task.priority = -2).done(), 1);
    rig.passes("db");
    rig.input(segue_core::Input::SlotsChanged { slots: 2 });
    rig.ok("other");
    assert_eq!(rig.statuses(), "db running, a running, b running, c pending, other succeeded");
    rig.ok("a");
    rig.effects();
    let mut death = exited(3);
    death.message = "exited with code 3: disk is full".into();
    rig.end("db", death);
    assert_eq!(rig.effects(), "stop b.1 serviceended");
    rig.stopped("b", StopReason::ServiceEnded);
    assert_eq!(rig.statuses(), "db failed, a succeeded, b failed, c blocked, other succeeded");
    let early = "it ended before what needs it: exited with code 3: disk is full";
    assert_eq!(failure(&rig, "db"), early);
    assert_eq!(failure(&rig, "b"), format!("its service `db` is gone: {early}"));
    assert_eq!(rig.view.failure.as_ref().unwrap().task.as_ref().unwrap().as_str(), "db");
}

#[test]
fn an_end_with_0_is_early_too() {
    let mut rig = Rig::started(tasks("db; a: db").services("db").done(), 1);
    rig.effects();
    rig.ok("db");
    assert_eq!(rig.effects(), "stop the look");
    assert_eq!(rig.status(), RunStatus::Running, "the look is waited for");
    rig.passes("db");
    assert_eq!(rig.statuses(), "db failed, a blocked");
}

#[test]
fn what_is_not_started_is_blocked_and_what_succeeded_stays_so() {
    let plan = tasks("db; a: db; b: db").services("db").with("b", |task| {
        task.precheck = Some(check(60, 2));
    });
    let mut rig = Rig::started(plan.done(), 1);
    rig.passes("db");
    rig.fails("db");
    assert_eq!(rig.statuses(), "db failed, a running, b waiting");
    rig.misses("b", "no");
    assert_eq!(rig.statuses(), "db failed, a running, b blocked");
    rig.ok("a");
    assert_eq!(rig.statuses(), "db failed, a succeeded, b blocked", "it was faster");
}

#[test]
fn an_optional_service_may_end() {
    let plan = tasks("db; a: db; b: a db").services("db").with("db", |task| task.optional = true);
    let mut rig = Rig::started(plan.done(), 1);
    rig.passes("db");
    rig.effects();
    rig.fails("db");
    assert_eq!(rig.effects(), "");
    rig.ok("a");
    rig.ok("b");
    assert_eq!(rig.status(), RunStatus::Warned);
}

#[test]
fn one_that_is_not_ready_in_time_is_stopped_and_has_failed() {
    let mut rig = Rig::started(tasks("db; a: db").services("db").done(), 1);
    rig.now = rig.now + Millis(60_000);
    rig.effects();
    rig.misses("db", "it answered 500");
    assert_eq!(rig.effects(), "stop db.1 notready");
    rig.stopped("db", StopReason::NotReady);
    assert_eq!(rig.statuses(), "db failed, a blocked");
    assert!(failure(&rig, "db").starts_with("ready `http: http://localhost:3001/health`"));
}

#[test]
fn services_need_services() {
    let mut rig = Rig::started(tasks("db; web: db; a: web").services("db web").done(), 1);
    rig.passes("db");
    rig.passes("web");
    rig.ok("a");
    assert_eq!(rig.statuses(), "db running, web running, a succeeded");
    released(&mut rig, "web");
    released(&mut rig, "db");
    assert_eq!(rig.status(), RunStatus::Succeeded);
    // And the death of the lower one is told by the upper one.
    let mut rig = Rig::started(tasks("db; web: db; a: web").services("db web").done(), 1);
    rig.passes("db");
    rig.passes("web");
    rig.fails("db");
    rig.stopped("web", StopReason::ServiceEnded);
    rig.stopped("a", StopReason::ServiceEnded);
    assert_eq!(rig.statuses(), "db failed, web failed, a failed");
    assert!(failure(&rig, "a").starts_with("its service `web` is gone: its service `db` is gone"));
}

#[test]
fn a_ready_service_holds_no_stage_open() {
    let plan = tasks("db; a; b: db").services("db");
    let plan = plan.with("db a", |task| task.stage = Some(1));
    let plan = plan.with("b", |task| task.stage = Some(2));
    let mut rig = Rig::started(plan.done(), 1);
    rig.ok("a");
    assert_eq!(rig.statuses(), "db running, a succeeded, b pending", "it is not ready");
    rig.passes("db");
    assert_eq!(rig.statuses(), "db running, a succeeded, b running");
    rig.ok("b");
    released(&mut rig, "db");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn one_that_nothing_needs_any_more_is_not_started() {
    let plan = tasks("x; db: x; a: db").services("db").with("a", |task| task.excluded = true);
    let mut rig = Rig::started(plan.done(), 1);
    rig.ok("x");
    assert_eq!(rig.statuses(), "x succeeded, db skipped, a skipped");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn a_stop_of_the_run_ends_it_after_those_that_need_it() {
    for (reason, statuses) in [
        (StopReason::Cancelled, "db succeeded, a cancelled"),
        (StopReason::Shutdown, "db pending, a pending"),
        (StopReason::RunTimeout, "db succeeded, a failed"),
    ] {
        let mut rig = Rig::started(tasks("db; a: db").services("db").done(), 1);
        rig.passes("db");
        rig.effects();
        rig.stop(reason, false);
        let word = format!("{reason:?}").to_lowercase();
        assert_eq!(rig.effects(), format!("stop a.1 {word}"));
        rig.stopped("a", reason);
        let why = if reason == StopReason::Shutdown { "shutdown" } else { "released" };
        assert_eq!(rig.effects(), format!("stop db.1 {why}"));
        let why = if reason == StopReason::Shutdown { reason } else { StopReason::Released };
        rig.stopped("db", why);
        assert_eq!(rig.statuses(), statuses, "{reason:?}");
        assert_ne!(rig.status(), RunStatus::Running);
    }
    let mut rig = Rig::started(tasks("db; a: db").services("db").done(), 1);
    rig.passes("db");
    rig.effects();
    rig.stop(StopReason::Cancelled, true);
    assert_eq!(rig.effects(), "stop a.1 cancelled at once, stop db.1 cancelled at once");
}

#[test]
fn a_second_stop_does_not_wait_for_one_that_is_being_stopped() {
    let mut rig = Rig::started(tasks("db; a: db").services("db").done(), 1);
    rig.passes("db");
    rig.stop(StopReason::Shutdown, false);
    rig.stopped("a", StopReason::Shutdown);
    rig.effects();
    rig.stop(StopReason::Shutdown, true);
    assert_eq!(rig.effects(), "stop db.1 shutdown at once");
}

#[test]
fn a_person_may_end_it() {
    let mut rig = Rig::started(tasks("db; a: db; b: db").services("db").done(), 1);
    rig.passes("db");
    rig.effects();
    rig.cancel_task("db");
    assert_eq!(rig.effects(), "stop db.1 cancelled");
    rig.stopped("db", StopReason::Cancelled);
    assert_eq!(rig.effects(), "stop a.1 serviceended");
    rig.stopped("a", StopReason::ServiceEnded);
    assert_eq!(rig.statuses(), "db cancelled, a failed, b blocked");
}

#[test]
fn it_is_adopted_ready_or_not() {
    for ready in [false, true] {
        let mut rig = Rig::started(tasks("db; a: db").services("db").done(), 1);
        if ready {
            rig.passes("db");
        }
        rig.crash(rig.journal.len());
        rig.resume(ResumeScope::Unfinished, 1);
        rig.effects();
        rig.input(segue_core::Input::Reattached { attempt: Rig::attempt("db.1") });
        rig.live.push(Rig::attempt("db.1"));
        if ready {
            rig.input(segue_core::Input::NeverStarted { attempt: Rig::attempt("a.1") });
        } else {
            assert_eq!(rig.effects(), "look at ready of db");
            rig.passes("db");
        }
        rig.ok("a");
        released(&mut rig, "db");
        assert_eq!(rig.status(), RunStatus::Succeeded);
    }
}

#[test]
fn one_that_was_lost_with_its_engine_starts_again() {
    let mut rig = Rig::started(tasks("db; a: db").services("db").done(), 1);
    rig.passes("db");
    rig.crash(rig.journal.len());
    rig.resume(ResumeScope::Unfinished, 1);
    let lost = report(Outcome::Lost, Some(FailureClass::Lost));
    rig.input(segue_core::Input::AttemptEnded {
        attempt: Rig::attempt("db.1"),
        report: lost.clone(),
    });
    rig.input(segue_core::Input::NeverStarted { attempt: Rig::attempt("a.1") });
    assert_eq!(rig.statuses(), "db running, a pending");
    rig.passes("db");
    rig.end("db", lost);
    rig.stopped("a", StopReason::ServiceEnded);
    assert_eq!(rig.statuses(), "db failed, a failed", "but not under an engine");
}

#[test]
fn a_service_starts_over_with_what_needs_it() {
    let mut rig = Rig::started(tasks("db; a: db").services("db").done(), 1);
    rig.passes("db");
    rig.fails("a");
    released(&mut rig, "db");
    assert_eq!(rig.statuses(), "db succeeded, a failed");
    rig.effects();
    rig.resume(ResumeScope::Unfinished, 1);
    assert_eq!(rig.effects(), "start db.2, look at ready of db");
    rig.passes("db");
    rig.ok("a");
    released(&mut rig, "db");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn one_that_was_told_to_stop_by_others_starts_again() {
    let mut rig = Rig::started(tasks("db; a: db; b: db").services("db").done(), 1);
    rig.passes("db");
    rig.effects();
    rig.stopped("db", StopReason::Shutdown);
    assert_eq!(rig.effects(), "start db.2, look at ready of db");
    rig.ok("a");
    assert_eq!(rig.effects(), "", "b waits for it to be ready again");
    rig.passes("db");
    rig.ok("b");
    released(&mut rig, "db");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn other_rules_take_a_ready_service_as_done() {
    for (when, started) in
        [(When::AllDone, true), (When::AnySucceeded, true), (When::AnyFailed, false)]
    {
        let plan = tasks("db; a: db; b: db").services("db").with("b", |task| task.when = when);
        let mut rig = Rig::started(plan.done(), 2);
        rig.passes("db");
        assert_eq!(rig.order().contains(" b.1"), started, "{when:?}");
    }
}
