//! The state as a snapshot: a golden file of its version, and what a machine made of it does.

use segue_core::{
    ConcurrencyGroup, Expression, Input, OnBusy, Phase, ResumeScope, RunState, STATE_VERSION,
    Scheduler, StopReason,
};

use crate::plans::{exited, tasks};
use crate::rig::Rig;

const GOLDEN: &str = include_str!("golden/run-state-1.json");

/// A run in which every kind of entry stands.
fn busy() -> Rig {
    let plan = tasks("ok; bad; retry; skip; after: bad; run; ahead; ask; held; late: run; stop")
        .with("retry", |t| t.retry.attempts = 2)
        .with("skip", |t| t.condition = Some(Expression("false".into())))
        .with("ask held", |task| {
            let key = Expression("'g'".into());
            task.group = Some(ConcurrencyGroup { key, max: 1, on_busy: OnBusy::Queue });
        });
    let mut rig = Rig::started(plan.done(), 3);
    let mut end = exited(0);
    end.cost = Some(segue_core::Usd(250_000));
    rig.end("ok", end);
    rig.fails("bad");
    rig.fails("retry");
    rig.input(Input::Granted { attempt: Rig::attempt("held.1") });
    rig.cancel_task("stop");
    rig
}

#[test]
fn version_1_is_written_and_read_as_ever() {
    let rig = busy();
    let text = serde_json::to_string_pretty(rig.scheduler.state()).unwrap() + "\n";
    assert_eq!(STATE_VERSION, 1, "a new version needs a golden file of its own");
    assert_eq!(text, GOLDEN, "the format of a snapshot has changed");
    let read: RunState = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(&read, rig.scheduler.state());
}

#[test]
fn a_restored_machine_goes_on_as_the_first_would() {
    let mut rig = busy();
    let state: RunState = serde_json::from_str(GOLDEN).unwrap();
    let mut other = Scheduler::restore(rig.scheduler.plan().clone(), state).unwrap();
    assert_eq!(other.next_deadline(), rig.scheduler.next_deadline());
    let inputs = [
        Input::TimerFired,
        Input::AttemptEnded { attempt: Rig::attempt("run.1"), report: exited(0) },
        Input::SlotsChanged { slots: 8 },
        Input::Granted { attempt: Rig::attempt("ask.1") },
        Input::Stop { task: None, reason: StopReason::Cancelled, at_once: false },
    ];
    for input in inputs {
        let expected = rig.scheduler.handle(rig.now, input.clone());
        assert_eq!(other.handle(rig.now, input), expected);
        assert_eq!(other.state(), rig.scheduler.state());
    }
}

#[test]
fn a_snapshot_that_does_not_fit_is_refused() {
    let plan = tasks("a; b").done();
    let refused =
        |state: RunState| Scheduler::restore(plan.clone(), state).unwrap_err().to_string();
    let mut newer = RunState::new(2);
    newer.version = 2;
    assert_eq!(refused(newer), "snapshot of version 2 with 2 tasks does not fit the plan");
    let other = RunState::new(3);
    assert_eq!(refused(other), "snapshot of version 1 with 3 tasks does not fit the plan");
}

#[test]
fn a_snapshot_of_an_ended_run_can_be_resumed() {
    let plan = tasks("a").done();
    let mut rig = Rig::started(plan.clone(), 1);
    rig.fails("a");
    let text = serde_json::to_string(rig.scheduler.state()).unwrap();
    rig.scheduler = Scheduler::restore(plan, serde_json::from_str(&text).unwrap()).unwrap();
    assert!(matches!(rig.scheduler.state().phase, Phase::Ended(_)));
    rig.resume(ResumeScope::Unfinished, 1);
    rig.run(|_| true);
    assert_eq!(rig.order(), "a.1 a.2");
}
