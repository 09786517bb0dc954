//! Prechecks: looked at until they pass or their time is up, holding nothing.

use segue_core::{CheckAnswer, FailureClass, Millis, ResumeScope, RunStatus, StopReason};

use crate::plans::{check, tasks};
use crate::rig::Rig;

fn checked(text: &str) -> Rig {
    let plan = tasks(text).with("a", |task| task.precheck = Some(check(60, 2)));
    Rig::started(plan.done(), 1)
}

#[test]
fn a_task_starts_once_its_precheck_passes() {
    let mut rig = checked("a; b");
    assert_eq!(rig.effects(), "look at precheck of a, start b.1");
    assert_eq!(rig.statuses(), "a waiting, b running", "it holds no slot");
    rig.misses("a", "the connection was refused");
    assert_eq!(rig.scheduler.next_deadline().unwrap().since(rig.now), Millis(2000));
    rig.ok("b");
    assert_eq!(rig.effects(), "", "nothing runs between two looks");
    rig.wait(2000);
    assert_eq!(rig.effects(), "look at precheck of a");
    rig.passes("a");
    assert_eq!(rig.effects(), "start a.1");
    rig.ok("a");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn its_time_is_kept_to_the_last_look_and_the_failure_says_all() {
    let mut rig = checked("a; b: a");
    let began = rig.now;
    for _ in 0..1000 {
        if rig.looks.is_empty() {
            break;
        }
        rig.now = rig.now + Millis(900);
        rig.misses("a", "it answered 503");
        if let Some(deadline) = rig.scheduler.next_deadline().filter(|_| rig.looks.is_empty()) {
            rig.wait(deadline.since(rig.now).0);
        }
    }
    assert_eq!(rig.now.since(began), Millis(60_900), "the last look begins as the time is up");
    assert_eq!(rig.statuses(), "a failed, b blocked");
    let failure = rig.view.failure.clone().unwrap();
    assert_eq!(failure.class, FailureClass::Precheck);
    assert_eq!(
        failure.message,
        "precheck `http: http://localhost:3001/health` did not pass within 1m 0s: \
         it answered 503; start it with `npm run dev`"
    );
    assert_eq!(rig.order(), "");
}

#[test]
fn a_check_that_can_never_pass_fails_at_once() {
    let mut rig = checked("a");
    rig.looked("a", CheckAnswer::Never("`precheck.http`: no such name".into()));
    assert_eq!(rig.statuses(), "a failed");
}

#[test]
fn retries_do_not_check_again_and_resumes_do() {
    let plan = tasks("a").with("a", |task| {
        task.precheck = Some(check(60, 2));
        task.retry.attempts = 2;
    });
    let mut rig = Rig::started(plan.done(), 1);
    rig.passes("a");
    rig.fails("a");
    rig.effects();
    rig.wait(5000);
    assert_eq!(rig.effects(), "start a.2");
    rig.fails("a");
    assert_eq!(rig.status(), RunStatus::Failed);
    rig.effects();
    rig.resume(ResumeScope::Unfinished, 1);
    assert_eq!(rig.effects(), "look at precheck of a");
}

#[test]
fn a_crash_in_the_middle_is_looked_at_anew() {
    let mut rig = checked("a");
    let (task, stale) = rig.looks[0].clone();
    rig.crash(rig.journal.len());
    rig.now = rig.now + Millis(3_600_000);
    rig.resume(ResumeScope::Unfinished, 1);
    assert_eq!(rig.effects(), "look at precheck of a", "with all of its time");
    rig.input(segue_core::Input::Checked { task, number: stale, answer: CheckAnswer::Passed });
    assert_eq!(rig.statuses(), "a waiting", "an answer from before is no answer");
    rig.misses("a", "no");
    rig.wait(2000);
    rig.passes("a");
    rig.ok("a");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn an_attempt_that_never_started_is_checked_for_again() {
    let mut rig = checked("a");
    rig.passes("a");
    rig.crash(rig.journal.len());
    rig.resume(ResumeScope::Unfinished, 1);
    assert_eq!(rig.effects(), "reattach a.1");
    rig.input(segue_core::Input::NeverStarted { attempt: Rig::attempt("a.1") });
    assert_eq!(rig.effects(), "look at precheck of a");
}

#[test]
fn a_stop_waits_for_the_look_under_way() {
    for (reason, statuses, status) in [
        (StopReason::Cancelled, "a cancelled", RunStatus::Cancelled),
        (StopReason::Shutdown, "a pending", RunStatus::Interrupted),
    ] {
        let mut rig = checked("a");
        rig.effects();
        rig.stop(reason, false);
        assert_eq!((rig.effects().as_str(), rig.status()), ("stop the look", RunStatus::Running));
        rig.misses("a", "it was stopped");
        assert_eq!((rig.statuses().as_str(), rig.status()), (statuses, status));
        // And between two looks nothing has to be waited for.
        let mut rig = checked("a");
        rig.misses("a", "no");
        rig.stop(reason, false);
        assert_eq!(rig.status(), status);
    }
    let mut rig = checked("a");
    rig.cancel_task("a");
    assert_eq!(rig.statuses(), "a waiting");
    rig.passes("a");
    assert_eq!(rig.statuses(), "a cancelled");
}

#[test]
fn items_share_their_tasks_check() {
    let plan = tasks("a").with("a", |task| {
        task.precheck = Some(check(60, 2));
        let source = segue_core::ItemSource::List(vec!["x".into(), "y".into()]);
        task.for_each = Some(segue_core::ForEach {
            source,
            exclude: Vec::new(),
            name: None,
            key: None,
            max_parallel: None,
            batch: None,
            on_item_failure: segue_core::OnItemFailure::Continue,
        });
    });
    let mut rig = Rig::started(plan.done(), 2);
    assert_eq!(rig.effects(), "look at precheck of a");
    rig.passes("a");
    assert_eq!(rig.starts.len(), 2);
}
