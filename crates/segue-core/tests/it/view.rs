//! What people see of a run: the counters and the attempts.

use segue_core::{Input, ResumeScope, Usd};
use serde_json::json;

use crate::plans::{exited, tasks};
use crate::rig::Rig;

#[test]
fn counters_add_up_and_retries_are_attempts_after_the_first() {
    let plan = tasks("a; b: a; c; d: c").with("a", |t| t.retry.attempts = 3);
    let mut rig = Rig::started(plan.done(), 2);
    rig.run(|attempt| !matches!(attempt, "a.1" | "a.2" | "c.1"));
    let metrics = serde_json::to_value(rig.view.metrics()).unwrap();
    assert_eq!(
        metrics,
        json!({
            "pending": 0, "queued": 0, "running": 0, "waiting": 0,
            "succeeded": 2, "failed": 1, "skipped": 0, "blocked": 1, "cancelled": 0,
            "total": 4, "retries": 2,
        })
    );
}

#[test]
fn a_recalled_attempt_is_no_retry_and_an_adopted_one_is_not_two() {
    let plan = tasks("a").with("a", |t| t.retry.attempts = 2);
    let mut rig = Rig::started(plan.done(), 1);
    rig.fails("a");
    rig.wait(5000);
    rig.crash(rig.journal.len());
    rig.resume(ResumeScope::Unfinished, 1);
    rig.input(Input::Reattached { attempt: Rig::attempt("a.2") });
    assert_eq!((rig.view.task(0).attempts.len(), rig.view.metrics().retries), (2, 1));
    rig.input(Input::NeverStarted { attempt: Rig::attempt("a.2") });
    assert_eq!((rig.view.task(0).attempts.len(), rig.view.metrics().retries), (2, 1));
    let mut end = exited(0);
    end.cost = Some(Usd(1_500_000));
    rig.end("a", end);
    assert_eq!(rig.view.cost(), Some(Usd(1_500_000)));
    assert_eq!(rig.view.task(0).attempts[1].report.as_ref().unwrap().exit_code(), Some(0));
}

#[test]
fn cost_counts_every_attempt() {
    let plan = tasks("a").with("a", |t| t.retry.attempts = 3);
    let mut rig = Rig::started(plan.done(), 1);
    for code in [1, 1, 0] {
        let mut end = exited(code);
        end.cost = Some(Usd(1000));
        rig.end("a", end);
        rig.wait(60_000);
    }
    assert_eq!(rig.view.cost(), Some(Usd(3000)));
    assert_eq!(rig.view.state().cost, Some(Usd(3000)));
}
