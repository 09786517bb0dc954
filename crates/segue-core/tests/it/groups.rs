//! Concurrency groups: what the scheduler asks the arbiter for, and gives back.

use segue_core::{ConcurrencyGroup, Expression, Input, OnBusy, ResumeScope, RunStatus, StopReason};

use crate::plans::{PlanText, tasks};
use crate::rig::Rig;

fn grouped(text: &str, ids: &str) -> PlanText {
    tasks(text).with(ids, |task| {
        let key = Expression("'episode-' ~ 7".into());
        task.group = Some(ConcurrencyGroup { key, max: 1, on_busy: OnBusy::Queue });
    })
}

fn granted(text: &str) -> Input {
    Input::Granted { attempt: Rig::attempt(text) }
}

#[test]
fn a_grouped_task_starts_with_a_grant_and_gives_it_back() {
    let mut rig = Rig::started(grouped("a; b", "a").done(), 1);
    assert_eq!(rig.effects(), "ask a.1 episode-7, start b.1");
    assert_eq!(rig.statuses(), "a waiting, b running");
    rig.input(granted("a.1"));
    assert_eq!(rig.effects(), "", "it waits for a slot");
    rig.ok("b");
    assert_eq!(rig.effects(), "start a.1");
    rig.ok("a");
    assert_eq!(rig.effects(), "release a.1, finish");
}

#[test]
fn each_retry_asks_anew() {
    let plan = grouped("a", "a").with("a", |t| t.retry.attempts = 2);
    let mut rig = Rig::started(plan.done(), 1);
    rig.input(granted("a.1"));
    rig.fails("a");
    assert_eq!(rig.effects(), "ask a.1 episode-7, start a.1, release a.1");
    rig.wait(5000);
    assert_eq!(rig.effects(), "ask a.2 episode-7");
    rig.input(granted("a.1"));
    assert_eq!(rig.effects(), "");
    rig.input(granted("a.2"));
    assert_eq!(rig.effects(), "start a.2");
}

#[test]
fn a_refusal_fails_the_task() {
    let mut rig = Rig::started(grouped("a; b: a", "a").done(), 1);
    rig.effects();
    let message = "concurrency group `episode-7` is held".to_owned();
    rig.input(Input::Refused { attempt: Rig::attempt("a.1"), message: message.clone() });
    assert_eq!(rig.effects(), "release a.1, finish");
    assert_eq!(rig.statuses(), "a failed, b blocked");
    assert_eq!(rig.view.failure.unwrap().message, message);
}

#[test]
fn a_key_without_a_value_fails_the_task() {
    let plan = tasks("a").with("a", |task| {
        let key = Expression("params.none".into());
        task.group = Some(ConcurrencyGroup { key, max: 1, on_busy: OnBusy::Queue });
    });
    let rig = Rig::started(plan.done(), 1);
    assert_eq!((rig.statuses().as_str(), rig.status()), ("a failed", RunStatus::Failed));
}

#[test]
fn a_cancelled_wait_leaves_the_queue() {
    let mut rig = Rig::started(grouped("a", "a").done(), 1);
    rig.effects();
    rig.stop(StopReason::Cancelled, false);
    assert_eq!(rig.effects(), "release a.1, finish");
    assert_eq!(rig.status(), RunStatus::Cancelled);
}

/// An interrupted run blocks nobody: neither in the queue nor with a grant.
#[test]
fn an_interruption_gives_back_all_it_does_not_use() {
    let mut rig = Rig::started(grouped("busy; a; b", "a b").done(), 1);
    rig.input(granted("a.1"));
    rig.effects();
    rig.stop(StopReason::Shutdown, false);
    rig.stopped("busy", StopReason::Shutdown);
    assert_eq!(rig.effects(), "stop busy.1 shutdown, release a.1, release b.1, finish");
    rig.resume(ResumeScope::Unfinished, 1);
    let effects = rig.effects();
    assert!(effects.contains("ask b.1") && effects.contains("ask a.2"), "{effects}");
    assert!(!effects.contains("start a"), "{effects}");
}

/// After a crash a grant may be anybody's; what an ended attempt holds may never have been
/// given back.
#[test]
fn no_grant_is_carried_over_a_crash() {
    let plan = grouped("a; b", "a").with("a", |t| t.retry.attempts = 2);
    let mut rig = Rig::started(plan.done(), 2);
    rig.input(granted("a.1"));
    rig.fails("a");
    rig.crash(rig.journal.len());
    rig.resume(ResumeScope::Unfinished, 2);
    assert_eq!(rig.effects(), "release a.1, reattach b.1");
    rig.wait(5000);
    rig.input(granted("a.2"));
    rig.crash(rig.journal.len() - 1);
    rig.resume(ResumeScope::Unfinished, 3);
    assert_eq!(rig.effects(), "release a.1, reattach a.2, reattach b.1");
    rig.input(Input::NeverStarted { attempt: Rig::attempt("a.2") });
    assert_eq!(rig.effects(), "release a.2, ask a.3 episode-7");
}
