//! What starts when: needs, stages, priority, the critical path, slots, clearing ahead.

use segue_core::{Effect, Event, Input, RunStatus, Scheduler};

use crate::plans::{PlanText, exited, tasks};
use crate::rig::Rig;

#[track_caller]
fn check(plan: PlanText, slots: u32, order: &str) {
    let mut rig = Rig::started(plan.done(), slots);
    rig.run(|_| true);
    assert_eq!(rig.order(), order);
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn tasks_start_after_their_needs_in_file_order() {
    check(tasks("a; b; c"), 1, "a.1 b.1 c.1");
    check(tasks("c: a b; a; b: a"), 4, "a.1 b.1 c.1");
    check(tasks("a; b: a; c: a; d: b c"), 4, "a.1 b.1 c.1 d.1");
}

#[test]
fn smaller_priorities_then_longer_paths_start_first() {
    check(tasks("a; b; c").with("c", |t| t.priority = -1), 1, "c.1 a.1 b.1");
    // `b` has the longest way to go, `c` comes before `a` by priority.
    check(tasks("a; b; d: b; e: d; c").with("c", |t| t.priority = -1), 1, "c.1 b.1 d.1 a.1 e.1");
}

#[test]
fn a_stage_starts_when_all_before_it_have_ended() {
    let plan = tasks("a; b; c; free; d: a")
        .with("a", |t| t.stage = Some(2))
        .with("d", |t| t.stage = Some(2))
        .with("b c", |t| t.stage = Some(1))
        .with("b", |t| t.optional = true);
    let mut rig = Rig::started(plan.done(), 4);
    assert_eq!(rig.effects(), "start b.1, start c.1, start free.1");
    rig.ok("c");
    assert_eq!(rig.effects(), "");
    rig.fails("b");
    assert_eq!(rig.effects(), "start a.1");
    rig.run(|_| true);
    assert_eq!(rig.order(), "b.1 c.1 free.1 a.1 d.1");
}

#[test]
fn an_empty_plan_succeeds_at_once() {
    let plan = tasks("a").plan(|plan| plan.tasks.clear());
    let mut rig = Rig::started(plan.done(), 1);
    assert_eq!((rig.status(), rig.effects().as_str()), (RunStatus::Succeeded, "finish"));
}

#[test]
fn no_more_attempts_run_than_there_are_slots() {
    let mut rig = Rig::started(tasks("a; b; c; d; e").done(), 2);
    assert_eq!(rig.effects(), "start a.1, start b.1");
    rig.input(Input::SlotsChanged { slots: 3 });
    assert_eq!(rig.effects(), "start c.1");
    rig.input(Input::SlotsChanged { slots: 1 });
    rig.ok("a");
    rig.ok("b");
    assert_eq!(rig.effects(), "");
    rig.ok("c");
    assert_eq!(rig.effects(), "start d.1");
    rig.input(Input::SlotsChanged { slots: 0 });
    rig.ok("d");
    assert_eq!(rig.effects(), "start e.1", "a run never has less than one slot");
}

/// A start waits for its own clearing alone: attempts cleared ahead start without another sync.
#[test]
fn starts_wait_for_their_own_clearing() {
    let mut rig = Rig::started(tasks("a; b; c").done(), 1);
    rig.ok("a");
    rig.ok("b");
    let cleared = |task: &str| {
        let is = |event: &Event| match event {
            Event::AttemptCleared { attempt } => attempt.task.as_str() == task,
            _ => false,
        };
        rig.journal.iter().find(|recorded| is(&recorded.event)).unwrap().seq
    };
    let expected: Vec<_> =
        ["a", "b", "c"].map(|t| (format!("{t}.1"), cleared(t), cleared(t))).into();
    assert_eq!(rig.starts, expected);
    // All three were cleared before the first ended.
    let first_end = rig.journal.iter().find(|r| matches!(r.event, Event::AttemptEnded { .. }));
    assert!(cleared("c") < first_end.unwrap().seq);
}

#[test]
fn clearing_ahead_is_bounded() {
    let names: Vec<String> = (0..100).map(|n| format!("t{n}")).collect();
    let rig = Rig::started(tasks(&names.join(";")).done(), 2);
    let cleared = |r: &&segue_core::Recorded| matches!(r.event, Event::AttemptCleared { .. });
    assert_eq!(rig.journal.iter().filter(cleared).count(), 34);
}

/// A better task that becomes ready late still goes before those cleared ahead.
#[test]
fn what_is_cleared_ahead_has_no_precedence() {
    let plan = tasks("a; b; c; d: a").with("d", |t| t.priority = -5);
    let mut rig = Rig::started(plan.done(), 1);
    rig.run(|_| true);
    assert_eq!(rig.order(), "a.1 d.1 b.1 c.1");
}

#[test]
fn stale_and_repeated_reports_change_nothing() {
    let mut rig = Rig::started(tasks("a; b: a").with("a", |t| t.retry.attempts = 2).done(), 1);
    let late = |number: &str, code| Input::AttemptEnded {
        attempt: Rig::attempt(&format!("a.{number}")),
        report: exited(code),
    };
    rig.fails("a");
    let events = rig.journal.len();
    rig.input(late("1", 0));
    rig.input(late("2", 0));
    rig.input(Input::Reattached { attempt: Rig::attempt("a.1") });
    rig.input(Input::NeverStarted { attempt: Rig::attempt("a.1") });
    rig.input(Input::Granted { attempt: Rig::attempt("a.2") });
    rig.input(Input::Refused { attempt: Rig::attempt("a.1"), message: "no".into() });
    rig.input(Input::AttemptEnded { attempt: Rig::attempt("nobody.1"), report: exited(0) });
    assert_eq!(rig.journal.len(), events);
    rig.wait(5000);
    rig.ok("a");
    rig.input(late("2", 1));
    rig.ok("b");
    let events = rig.journal.len();
    rig.input(late("2", 1));
    rig.stop(segue_core::StopReason::Cancelled, true);
    assert_eq!((rig.journal.len(), rig.status()), (events, RunStatus::Succeeded));
}

/// An attempt that is overdue beyond its own limits is asked about, again and again.
#[test]
fn an_overdue_attempt_is_asked_about() {
    let mut rig = Rig::started(tasks("a").done(), 1);
    rig.effects();
    let limit = 30 * 60_000 + 10_000 + 60_000;
    rig.wait(limit - 1);
    assert_eq!(rig.effects(), "");
    rig.wait(1);
    assert_eq!(rig.effects(), "reattach a.1");
    rig.input(Input::Reattached { attempt: Rig::attempt("a.1") });
    rig.wait(60_000);
    assert_eq!(rig.effects(), "reattach a.1");
    // The order was lost on its way: it is given again.
    rig.input(Input::NeverStarted { attempt: Rig::attempt("a.1") });
    assert_eq!(rig.effects(), "start a.1");
}

#[test]
fn a_fresh_machine_waits_for_nothing() {
    let mut scheduler = Scheduler::new(tasks("a").done());
    assert_eq!(scheduler.next_deadline(), None);
    let output = scheduler.handle(segue_core::Timestamp::from_unix_ms(5), Input::TimerFired);
    assert_eq!(output, segue_core::Output::default());
    let finish = |effect: &Effect| *effect == Effect::FinishRun;
    assert!(!output.effects.iter().any(|ordered| finish(&ordered.effect)));
}
