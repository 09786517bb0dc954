//! Decisions about whether a task runs at all: `if`, `skip_if`, `when`, skipped needs, choices.

use segue_core::{Expression, RunStatus, TaskStatus, When};

use crate::plans::{PlanText, tasks};
use crate::rig::Rig;

#[track_caller]
fn check(plan: PlanText, failing: &[&str], statuses: &str) -> Rig {
    let mut rig = Rig::started(plan.done(), 4);
    rig.run(|attempt| !failing.iter().any(|task| attempt.starts_with(&format!("{task}."))));
    assert_eq!(rig.statuses(), statuses);
    rig
}

fn expression(text: &str) -> Option<Expression> {
    Some(Expression(text.into()))
}

#[test]
fn a_false_condition_skips_the_task_and_its_dependents() {
    let plan =
        |text: &'static str| tasks("a; b: a; c: b").with("b", |t| t.condition = expression(text));
    let rig = check(plan("params.none | default(false)"), &[], "a succeeded, b skipped, c skipped");
    assert_eq!(rig.status(), RunStatus::Succeeded);
    let reasons: Vec<String> = rig
        .view
        .tasks()
        .filter_map(|view| view.entry.skipped.as_ref().map(ToString::to_string))
        .collect();
    assert_eq!(
        reasons,
        ["`if: params.none | default(false)` is false", "its need `b` was skipped"]
    );
    check(plan("tasks.a.exit_code == 0"), &[], "a succeeded, b succeeded, c succeeded");
}

#[test]
fn a_condition_that_cannot_be_evaluated_fails_its_task() {
    let plan = tasks("a; b: a").with("a", |t| t.condition = expression("params.none"));
    let rig = check(plan, &[], "a failed, b blocked");
    let failure = rig.view.failure.unwrap();
    assert!(failure.message.contains("`if: params.none`"), "{}", failure.message);
}

#[test]
fn skip_if_is_overruled_by_force() {
    let plan = || tasks("a").with("a", |t| t.skip_if = expression("true"));
    check(plan(), &[], "a skipped");
    let mut rig = Rig::new(plan().done());
    rig.request.force = true;
    rig.start(1);
    rig.run(|_| true);
    assert_eq!(rig.statuses(), "a succeeded");
}

#[test]
fn what_was_not_selected_is_skipped() {
    let plan = tasks("a; b; c: b").with("b", |t| t.excluded = true);
    check(plan, &[], "a succeeded, b skipped, c skipped");
}

#[track_caller]
fn decides(when: When, failing: &[&str], skipped: &[&str], expected: TaskStatus) {
    let mut plan = tasks("a; b; d: a b").with("d", |t| t.when = when);
    for id in skipped {
        plan = plan.with(id, |t| t.condition = expression("false"));
    }
    let mut rig = Rig::started(plan.done(), 4);
    rig.run(|attempt| !failing.iter().any(|task| attempt.starts_with(task)));
    let got = rig.view.tasks().nth(2).unwrap().entry.status;
    assert_eq!(got, expected, "{when:?} with {failing:?} failed and {skipped:?} skipped");
}

#[test]
fn when_rules() {
    use TaskStatus::{Blocked, Skipped, Succeeded};
    let table: &[(When, &[&str], &[&str], TaskStatus)] = &[
        (When::AllSucceeded, &[], &[], Succeeded),
        (When::AllSucceeded, &["a"], &[], Blocked),
        (When::AllSucceeded, &[], &["a"], Skipped),
        (When::AllDone, &["a", "b"], &[], Succeeded),
        (When::AllDone, &["a"], &["b"], Succeeded),
        (When::AnySucceeded, &["a"], &[], Succeeded),
        (When::AnySucceeded, &["a", "b"], &[], Blocked),
        (When::AnySucceeded, &[], &["a", "b"], Skipped),
        (When::AnyFailed, &["b"], &[], Succeeded),
        (When::AnyFailed, &[], &[], Skipped),
        (When::AnyFailed, &[], &["a"], Skipped),
    ];
    for (when, failing, skipped, expected) in table {
        decides(*when, failing, skipped, *expected);
    }
}

/// `all_done` waits for every need, whatever the first of them did.
#[test]
fn all_done_waits_for_all() {
    let plan = tasks("a; b; d: a b").with("d", |t| t.when = When::AllDone);
    let mut rig = Rig::started(plan.done(), 4);
    rig.fails("a");
    assert_eq!(rig.statuses(), "a failed, b running, d pending");
    rig.ok("b");
    assert_eq!(rig.statuses(), "a failed, b succeeded, d running");
}
