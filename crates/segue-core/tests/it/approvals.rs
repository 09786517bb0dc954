//! Approvals: asked once, answered once, by a person or by time.

use segue_core::{Answer, Event, FailureClass, ResumeScope, RunStatus, StopReason, TaskStatus};

use crate::plans::tasks;
use crate::rig::Rig;

const HOUR: u64 = 3600;

fn asked(rig: &Rig) -> usize {
    rig.journal.iter().filter(|r| matches!(r.event, Event::ApprovalAsked(_))).count()
}

fn failure(rig: &Rig, task: &str) -> (FailureClass, String) {
    let index = rig.scheduler.plan().position(task).unwrap();
    rig.scheduler.state().tasks[index].failure.clone().expect("it failed")
}

#[test]
fn an_approval_waits_and_holds_no_slot() {
    let plan = tasks("a; ok: a; b: ok; other").approval("ok", None, None);
    let plan = plan.with("b", |task| {
        task.condition = Some(segue_core::Expression("tasks.ok.outputs.note == 'fine'".into()));
    });
    let mut rig = Rig::started(plan.done(), 1);
    rig.ok("a");
    assert_eq!(rig.statuses(), "a succeeded, ok waiting, b pending, other running");
    let question = rig.scheduler.state().tasks[1].waits.question.clone().unwrap();
    assert_eq!((question.message.as_str(), question.until), ("publish ok?", None));
    rig.ok("other");
    rig.answer("ok", Answer::Approve, "fine");
    rig.ok("b");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn a_rejection_fails_it_with_who_and_why() {
    let mut rig = Rig::started(tasks("ok; b: ok").approval("ok", None, None).done(), 1);
    rig.answer("ok", Answer::Reject, "not yet");
    assert_eq!(rig.statuses(), "ok failed, b blocked");
    assert_eq!(failure(&rig, "ok"), (FailureClass::Permission, "rejected by ann: not yet".into()));
}

#[test]
fn time_answers_as_the_default_says() {
    for (default, status, class) in [
        (Some(Answer::Approve), TaskStatus::Succeeded, None),
        (Some(Answer::Reject), TaskStatus::Failed, Some(FailureClass::Permission)),
        (None, TaskStatus::Failed, Some(FailureClass::Timeout)),
    ] {
        let plan = tasks("ok").approval("ok", Some(HOUR), default);
        let mut rig = Rig::started(plan.done(), 1);
        let deadline = rig.scheduler.next_deadline().unwrap();
        assert_eq!(deadline.since(rig.now).0, HOUR * 1000);
        rig.wait(HOUR * 1000 - 1);
        assert_eq!(rig.statuses(), "ok waiting");
        rig.wait(1);
        let entry = &rig.scheduler.state().tasks[0];
        assert_eq!((entry.status, entry.failure.as_ref().map(|f| f.0)), (status, class));
    }
}

#[test]
fn an_answer_is_to_one_question() {
    let plan = tasks("a; ok: a").approval("ok", None, None).done();
    let mut rig = Rig::started(plan, 1);
    rig.ok("a");
    let old = rig.answer_of("ok", Answer::Reject, "");
    rig.input(segue_core::Input::Answered(old.clone()));
    rig.input(segue_core::Input::Answered(old.clone()));
    assert_eq!(rig.status(), RunStatus::Failed);
    rig.answers.push(old);
    rig.resume(ResumeScope::Unfinished, 1);
    assert_eq!((asked(&rig), rig.statuses().as_str()), (2, "a succeeded, ok waiting"));
    rig.answer("ok", Answer::Approve, "");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn a_question_outlives_its_engine_with_its_deadline() {
    let plan = tasks("ok").approval("ok", Some(HOUR), Some(Answer::Reject)).done();
    for answered_meanwhile in [false, true] {
        let mut rig = Rig::started(std::sync::Arc::clone(&plan), 1);
        let deadline = rig.scheduler.next_deadline();
        rig.crash(rig.journal.len());
        rig.now = rig.now + segue_core::Millis(HOUR * 500);
        rig.resume(ResumeScope::Unfinished, 1);
        assert_eq!((asked(&rig), rig.scheduler.next_deadline()), (1, deadline));
        if answered_meanwhile {
            let answer = rig.answer_of("ok", Answer::Approve, "");
            rig.answers.push(answer);
        }
        rig.crash(rig.journal.len());
        rig.now = rig.now + segue_core::Millis(HOUR * 5000);
        rig.resume(ResumeScope::Unfinished, 1);
        // A word that was given goes before a deadline that nobody was there to keep.
        let status = if answered_meanwhile { RunStatus::Succeeded } else { RunStatus::Failed };
        assert_eq!((asked(&rig), rig.status()), (1, status));
    }
}

#[test]
fn stops_end_a_question_or_leave_it_for_later() {
    let plan = tasks("ok").approval("ok", None, None).done();
    let mut rig = Rig::started(std::sync::Arc::clone(&plan), 1);
    rig.stop(StopReason::Cancelled, false);
    assert_eq!((rig.statuses().as_str(), rig.status()), ("ok cancelled", RunStatus::Cancelled));
    let mut rig = Rig::started(plan, 1);
    rig.stop(StopReason::Shutdown, false);
    assert_eq!((rig.statuses().as_str(), rig.status()), ("ok waiting", RunStatus::Interrupted));
    rig.resume(ResumeScope::Unfinished, 1);
    assert_eq!(asked(&rig), 1);
    rig.cancel_task("ok");
    assert_eq!(rig.statuses(), "ok cancelled");
}

#[test]
fn a_need_that_starts_over_withdraws_the_question() {
    let plan = tasks("a; ok: a").approval("ok", None, None).done();
    let mut rig = Rig::started(plan, 1);
    rig.ok("a");
    rig.stop(StopReason::Shutdown, false);
    rig.resume(ResumeScope::From(segue_core::TaskId::parse("a").unwrap()), 1);
    assert_eq!(rig.statuses(), "a running, ok pending");
    rig.ok("a");
    assert_eq!((asked(&rig), rig.statuses().as_str()), (2, "a succeeded, ok waiting"));
}

#[test]
fn a_question_that_cannot_be_filled_in_fails_its_task() {
    let plan = tasks("ok").approval("ok", None, None).with("ok", |task| {
        if let segue_core::Action::Approve { message, .. } = &mut task.action {
            message.0 = "{{ tasks.gone.outputs.x }}".into();
        }
    });
    let rig = Rig::started(plan.done(), 1);
    assert_eq!(failure(&rig, "ok").0, FailureClass::InvalidRequest);
}
