//! After the engine: what a crash leaves, what starts over, what is never repeated.

use segue_core::{
    CorruptJournal, Event, Expression, Input, Outcome, ResumeScope, RunStatus, Scheduler, Section,
    StopReason, TaskId,
};

use crate::plans::{PlanText, exited, report, tasks};
use crate::rig::Rig;

fn from(task: &str) -> ResumeScope {
    ResumeScope::From(TaskId::parse(task).unwrap())
}

/// Runs `plan` with `failing` tasks, then resumes, all well; says what started the second time.
#[track_caller]
fn again(plan: PlanText, failing: &[&str], scope: ResumeScope, expected: &str) -> Rig {
    let mut rig = Rig::started(plan.done(), 1);
    rig.run(|attempt| !failing.iter().any(|task| attempt.starts_with(&format!("{task}."))));
    rig.starts.clear();
    rig.resume(scope, 1);
    rig.run(|_| true);
    assert_eq!(rig.order(), expected);
    rig
}

#[test]
fn a_resume_runs_what_did_not_succeed() {
    let rig = again(tasks("a; b; c: b"), &["b"], ResumeScope::Unfinished, "b.2 c.1");
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn from_runs_a_task_and_all_that_depend_on_it() {
    again(tasks("a; b: a; c: b; d"), &[], from("b"), "b.2 c.2");
    again(tasks("a; b: a; c: b; d"), &["d"], from("b"), "b.2 c.2 d.2");
}

#[test]
fn a_fresh_allowance_of_tries_and_growing_numbers() {
    let plan = tasks("a").with("a", |t| t.retry.attempts = 2);
    let mut rig = Rig::started(plan.done(), 1);
    rig.run(|_| false);
    rig.resume(ResumeScope::Unfinished, 1);
    rig.run(|_| false);
    assert_eq!(rig.order(), "a.1 a.2 a.3 a.4");
}

#[test]
fn retry_never_starts_again_only_from_it() {
    let plan = || tasks("a; b: a").with("a", |t| t.retry.never = true);
    let rig = again(plan(), &["a"], ResumeScope::Unfinished, "");
    assert_eq!(rig.statuses(), "a failed, b blocked");
    again(plan(), &["a"], from("a"), "a.2 b.1");
}

/// That it ran is known from its end, though the record of its dispatch was lost.
#[test]
fn retry_never_holds_after_a_lost_dispatch() {
    let plan = tasks("a").with("a", |t| t.retry.never = true);
    let mut rig = Rig::started(plan.done(), 1);
    rig.crash(rig.journal.len() - 1);
    rig.resume(ResumeScope::Unfinished, 1);
    rig.input(Input::AttemptEnded { attempt: Rig::attempt("a.1"), report: exited(1) });
    rig.effects();
    rig.resume(ResumeScope::Unfinished, 1);
    assert_eq!((rig.effects().as_str(), rig.status()), ("finish", RunStatus::Failed));
}

/// Handlers do not run again for a DAG that may not start over, nor between two resumes.
#[test]
fn a_dag_that_may_not_start_over_stays_closed() {
    let plan = tasks("a; b; bad; end")
        .with("a", |t| t.retry.never = true)
        .with("b", |t| t.optional = true)
        .section("bad", Section::OnFailure)
        .section("end", Section::Finally);
    let mut rig = Rig::started(plan.done(), 1);
    rig.fails("a");
    rig.fails("b");
    rig.ok("bad");
    for _ in 0..2 {
        rig.crash(rig.journal.len());
        rig.resume(ResumeScope::Unfinished, 1);
        assert_eq!(rig.effects(), "reattach end.1");
    }
    assert_eq!(rig.statuses(), "a failed, b failed, bad succeeded, end running");
}

#[test]
fn retry_never_holds_back_nothing_that_never_ran() {
    let plan = tasks("a; b").with("b", |t| t.retry.never = true);
    let mut rig = Rig::started(plan.done(), 1);
    rig.stop(StopReason::Cancelled, false);
    rig.stopped("a", StopReason::Cancelled);
    rig.starts.clear();
    rig.resume(ResumeScope::Unfinished, 1);
    rig.run(|_| true);
    assert_eq!(rig.order(), "a.2 b.2");
}

#[test]
fn what_was_decided_against_stays_so() {
    let plan = tasks("a; b; c: b; tidy")
        .with("a", |t| t.condition = Some(Expression("false".into())))
        .section("tidy", Section::Finally);
    let rig = again(plan, &["b"], ResumeScope::Unfinished, "b.2 c.1 tidy.2");
    assert_eq!(rig.statuses(), "a skipped, b succeeded, c succeeded, tidy succeeded");
}

#[test]
fn whoever_was_skipped_because_of_a_failure_is_decided_anew() {
    let plan = tasks("a; b: a").with("b", |t| t.when = segue_core::When::AnyFailed);
    again(plan, &["b"], from("a"), "a.2");
}

/// A handler that succeeded does not run again because an optional task had failed.
#[test]
fn a_dag_that_ended_well_stays_closed() {
    let plan = tasks("a; b; publish; end")
        .with("b", |t| t.optional = true)
        .section("publish", Section::OnSuccess)
        .section("end", Section::Finally);
    let mut rig = Rig::started(plan.done(), 1);
    rig.ok("a");
    rig.fails("b");
    rig.wait(0);
    rig.ok("publish");
    rig.crash(rig.journal.len());
    rig.starts.clear();
    rig.resume(ResumeScope::Unfinished, 1);
    assert_eq!(rig.effects(), "reattach end.1");
    rig.input(Input::NeverStarted { attempt: Rig::attempt("end.1") });
    rig.run(|_| true);
    assert_eq!(rig.order(), "end.1");
    assert_eq!(rig.status(), RunStatus::Warned);
}

#[test]
fn each_answer_about_a_doubtful_attempt() {
    let begin = || {
        let mut rig = Rig::started(tasks("a; b; c").done(), 1);
        rig.crash(rig.journal.len());
        rig.resume(ResumeScope::Unfinished, 1);
        // `b` and `c` were cleared ahead: they, too, may have started.
        assert_eq!(rig.effects(), "reattach a.1, reattach b.1, reattach c.1");
        rig
    };
    let mut rig = begin();
    for attempt in ["b.1", "c.1"] {
        rig.input(Input::NeverStarted { attempt: Rig::attempt(attempt) });
    }
    assert_eq!(rig.effects(), "", "the doubtful one may hold the only slot");
    rig.input(Input::Reattached { attempt: Rig::attempt("a.1") });
    assert_eq!(rig.effects(), "");
    rig.input(Input::AttemptEnded { attempt: Rig::attempt("a.1"), report: exited(0) });
    assert_eq!(rig.effects(), "start b.1");

    let mut rig = begin();
    rig.input(Input::AttemptEnded { attempt: Rig::attempt("b.1"), report: exited(0) });
    rig.input(Input::NeverStarted { attempt: Rig::attempt("c.1") });
    rig.input(Input::NeverStarted { attempt: Rig::attempt("a.1") });
    assert_eq!(rig.effects(), "start a.1", "the same number again");
    rig.run(|_| true);
    assert_eq!(rig.order(), "a.1 a.1 c.1");
}

/// What runs goes on; what waits behind a need that starts over waits again.
#[test]
fn a_need_that_starts_over_holds_up_its_dependents() {
    let plan = tasks("a; b: a").with("a", |t| t.optional = true).with("b", |t| {
        t.retry.attempts = 2;
    });
    let mut rig = Rig::started(plan.done(), 2);
    rig.fails("a");
    rig.fails("b");
    rig.crash(rig.journal.len());
    rig.resume(ResumeScope::Unfinished, 2);
    assert_eq!(rig.effects(), "start a.2");
    rig.wait(60_000);
    assert_eq!(rig.effects(), "");
    rig.ok_of("a.2");
    assert_eq!(rig.effects(), "start b.2");
}

#[test]
fn a_finished_run_can_only_be_taken_up_from_a_task() {
    let mut rig = Rig::started(tasks("a").done(), 1);
    rig.ok("a");
    rig.starts.clear();
    rig.resume(ResumeScope::Unfinished, 1);
    assert_eq!((rig.order().as_str(), rig.status()), ("", RunStatus::Succeeded));
}

#[test]
fn every_prefix_of_a_journal_folds() {
    let plan = tasks("a; b: a; c").with("a", |t| t.retry.attempts = 2).done();
    let mut rig = Rig::started(plan.clone(), 1);
    rig.run(|attempt| attempt != "a.1");
    for length in 0..=rig.journal.len() {
        let events = rig.journal[..length].iter().cloned();
        let scheduler = Scheduler::recover(plan.clone(), events).unwrap();
        assert_eq!(scheduler.state().last_seq, u64::try_from(length).unwrap());
    }
}

#[test]
fn a_journal_that_does_not_fold_is_refused_by_place() {
    let plan = tasks("a").done();
    let rig = Rig::started(plan.clone(), 1);
    let refused = |change: &dyn Fn(&mut Vec<segue_core::Recorded>)| -> CorruptJournal {
        let mut events = rig.journal.clone();
        change(&mut events);
        Scheduler::recover(plan.clone(), events).unwrap_err()
    };
    let gap = refused(&|events| drop(events.remove(1)));
    assert_eq!(
        gap.to_string(),
        "event 3 does not fit the run: attempt_dispatched cannot follow: \
        its number does not follow on the last"
    );
    let twice = refused(&|events| events[2].event = events[1].event.clone());
    assert_eq!(twice.seq, 3);
    let unknown = refused(&|events| {
        events[1].event = Event::AttemptCleared { attempt: Rig::attempt("nobody.1") };
    });
    assert!(unknown.reason.contains("no such task"), "{unknown}");
}

#[test]
fn a_deadline_from_before_the_resume_uses_no_try() {
    let plan = tasks("a").plan(|plan| plan.limits.timeout = segue_core::Millis::from_secs(60));
    let mut rig = Rig::started(plan.done(), 1);
    rig.crash(usize::MAX);
    rig.wait(50_000);
    rig.resume(ResumeScope::Unfinished, 1);
    rig.input(Input::Reattached { attempt: Rig::attempt("a.1") });
    rig.wait(10_000);
    let limit = segue_core::TimeLimit::Run;
    let ended = report(Outcome::TimedOut { limit }, Some(segue_core::FailureClass::Timeout));
    rig.input(Input::AttemptEnded { attempt: Rig::attempt("a.1"), report: ended });
    rig.run(|_| true);
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn the_first_start_in_a_run_is_remembered_over_resumes() {
    let mut rig = Rig::started(tasks("a").done(), 1);
    let first = rig.scheduler.state().tasks[0].first_started_at;
    rig.run(|_| false);
    rig.wait(5_000);
    rig.resume(ResumeScope::Unfinished, 1);
    let entry = &rig.scheduler.state().tasks[0];
    assert!(first.is_some() && entry.first_started_at == first);
    assert!(entry.started_at > first);
}
