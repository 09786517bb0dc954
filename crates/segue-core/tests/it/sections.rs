//! What runs after the DAG: `on_success`, `on_failure`, `finally`.

use segue_core::{RunStatus, Section};

use crate::plans::tasks;
use crate::rig::Rig;

#[track_caller]
fn check(failing: &[&str], order: &str, statuses: &str, status: RunStatus) {
    let plan = tasks("end; good; bad; a; b; good2: good")
        .section("good good2", Section::OnSuccess)
        .section("bad", Section::OnFailure)
        .section("end", Section::Finally)
        .with("b", |t| t.optional = true);
    let mut rig = Rig::started(plan.done(), 4);
    rig.run(|attempt| !failing.iter().any(|task| attempt == format!("{task}.1")));
    assert_eq!(rig.order(), order);
    assert_eq!((rig.statuses().as_str(), rig.status()), (statuses, status));
}

#[test]
fn each_section_runs_when_the_dag_has_ended_its_way() {
    check(
        &[],
        "a.1 b.1 good.1 good2.1 end.1",
        "end succeeded, good succeeded, bad skipped, a succeeded, b succeeded, good2 succeeded",
        RunStatus::Succeeded,
    );
    check(
        &["a"],
        "a.1 b.1 bad.1 end.1",
        "end succeeded, good skipped, bad succeeded, a failed, b succeeded, good2 skipped",
        RunStatus::Failed,
    );
    check(
        &["b"],
        "a.1 b.1 good.1 good2.1 end.1",
        "end succeeded, good succeeded, bad skipped, a succeeded, b failed, good2 succeeded",
        RunStatus::Warned,
    );
    check(
        &["good"],
        "a.1 b.1 good.1 end.1",
        "end succeeded, good failed, bad skipped, a succeeded, b succeeded, good2 blocked",
        RunStatus::Failed,
    );
}

#[test]
fn a_plan_may_hold_nothing_but_a_section() {
    let plan = tasks("end").section("end", Section::Finally);
    let mut rig = Rig::started(plan.done(), 1);
    rig.run(|_| true);
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

/// What an earlier engine began in a section, when the DAG had failed, goes on beside the DAG
/// that starts over, and a section that is not entered the second time does not start it again.
#[test]
fn a_handler_left_from_before_ends_by_itself() {
    let plan = tasks("a; bad; bad2").section("bad bad2", Section::OnFailure);
    let mut rig = Rig::started(plan.done(), 1);
    rig.fails("a");
    rig.crash(rig.journal.len());
    rig.resume(segue_core::ResumeScope::Unfinished, 2);
    assert_eq!(rig.effects(), "reattach bad.1, reattach bad2.1");
    rig.input(segue_core::Input::Reattached { attempt: Rig::attempt("bad.1") });
    rig.input(segue_core::Input::NeverStarted { attempt: Rig::attempt("bad2.1") });
    assert_eq!(rig.effects(), "start a.2");
    rig.ok_of("a.2");
    assert_eq!(rig.statuses(), "a succeeded, bad running, bad2 skipped");
    rig.ok_of("bad.1");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

/// Such a handler is not tried again when the DAG has ended the other way.
#[test]
fn a_handler_left_from_before_is_not_tried_again() {
    let plan = tasks("a; bad").section("bad", Section::OnFailure);
    let mut rig = Rig::started(plan.with("bad", |t| t.retry.attempts = 2).done(), 1);
    rig.fails("a");
    rig.crash(rig.journal.len());
    rig.resume(segue_core::ResumeScope::Unfinished, 2);
    rig.input(segue_core::Input::Reattached { attempt: Rig::attempt("bad.1") });
    rig.ok_of("a.2");
    let failed = crate::plans::exited(1);
    rig.input(segue_core::Input::AttemptEnded { attempt: Rig::attempt("bad.1"), report: failed });
    rig.wait(60_000);
    assert_eq!(rig.statuses(), "a succeeded, bad skipped");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}
