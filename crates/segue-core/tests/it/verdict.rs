//! What decides whether an attempt and a run count: score gates, feedback, outputs, exit code 3.

use segue_core::{
    AttemptReport, Expression, FailureClass, Gate, GateCheck, Outcome, RunStatus, Stored,
};
use serde_json::json;

use crate::plans::{PlanText, exited, report, tasks};
use crate::rig::Rig;

fn scored(rounds: u32) -> PlanText {
    tasks("a; b: a").with("a", |task| {
        let check = GateCheck::Score { expression: Expression("output.quality".into()), min: 7.0 };
        task.gates.push(Gate { check, feedback: rounds > 0, rounds });
    })
}

fn with_quality(quality: serde_json::Value) -> Box<AttemptReport> {
    let mut end = exited(0);
    end.result = Some(Stored::Inline(json!({ "quality": quality })));
    end
}

#[test]
fn a_score_gate_passes_at_equality_and_fails_closed() {
    for (quality, statuses) in [
        (json!(7), "a succeeded, b running"),
        (json!("7.5"), "a succeeded, b running"),
        (json!(6.99), "a failed, b blocked"),
        (json!("good"), "a failed, b blocked"),
        (json!(null), "a failed, b blocked"),
    ] {
        let plan = scored(0).with("a", |t| t.retry.attempts = 1);
        let mut rig = Rig::started(plan.done(), 1);
        rig.end("a", with_quality(quality.clone()));
        assert_eq!(rig.statuses(), statuses, "{quality}");
    }
    let mut rig = Rig::started(scored(0).done(), 1);
    rig.ok("a");
    let finding = &rig.view.task(0).entry.last.as_ref().unwrap().findings[0];
    assert_eq!(
        (finding.passed, finding.detail.as_str()),
        (false, "`output.quality` has no value: `output.quality` is undefined")
    );
}

/// Feedback rounds come at once and beyond the tries.
#[test]
fn feedback_rounds_are_attempts_beyond_the_tries() {
    let mut rig = Rig::started(scored(2).done(), 1);
    rig.end("a", with_quality(json!(1)));
    rig.end("a", with_quality(json!(2)));
    assert_eq!(rig.effects(), "start a.1, start a.2, start a.3");
    rig.end("a", with_quality(json!(3)));
    assert_eq!(rig.statuses(), "a failed, b blocked");
    let entry = rig.view.task(0).entry;
    assert_eq!((entry.attempts, entry.rounds, entry.tries), (3, 2, 1));
    assert!(rig.view.verdict_only, "every root cause is a gate");
}

#[test]
fn only_gates_and_budgets_make_a_verdict() {
    let ends = |classes: &[FailureClass]| {
        let plan = tasks("a; b").with("a b", |t| t.retry.attempts = 1);
        let mut rig = Rig::started(plan.done(), 2);
        for (task, class) in ["a", "b"].iter().zip(classes) {
            rig.end(task, report(Outcome::Exited { code: 1 }, Some(*class)));
        }
        assert_eq!(rig.status(), RunStatus::Failed);
        rig.view.verdict_only
    };
    assert!(ends(&[FailureClass::Quality, FailureClass::Budget]));
    assert!(!ends(&[FailureClass::Quality, FailureClass::Execution]));
}

#[test]
fn outputs_are_the_runs_result() {
    let plan = tasks("a").plan(|plan| {
        for (name, source) in
            [("quality", "tasks.a.result.quality"), ("how", "run.status"), ("spent", "run.cost")]
        {
            plan.outputs.push((name.into(), Expression(source.into())));
        }
    });
    let plan = plan.with("a", |t| t.retry.attempts = 2).done();
    let mut rig = Rig::started(plan.clone(), 1);
    let mut first = exited(1);
    first.cost = segue_core::Usd::from_dollars(0.25);
    rig.end("a", first);
    rig.wait(5000);
    let mut second = with_quality(json!(8.5));
    second.cost = segue_core::Usd::from_dollars(0.5);
    rig.end("a", second);
    assert_eq!(rig.status(), RunStatus::Succeeded);
    let outputs = json!(rig.view.outputs);
    assert_eq!(outputs, json!({"quality": 8.5, "how": "succeeded", "spent": 0.75}));

    let mut rig = Rig::started(plan, 1);
    rig.ok("a");
    assert_eq!(rig.status(), RunStatus::Failed, "a promised output is missing");
    let failure = rig.view.failure.as_ref().unwrap();
    assert_eq!((failure.class, &failure.task), (FailureClass::Output, &None));
    assert!(failure.message.starts_with("output `quality: "), "{}", failure.message);
    assert_eq!(rig.view.outputs["quality"], json!(null));
}

#[test]
fn outputs_are_evaluated_after_failures_too() {
    let plan = tasks("a").plan(|plan| {
        plan.outputs.push(("why".into(), Expression("run.failure.message".into())));
    });
    let mut rig = Rig::started(plan.done(), 1);
    rig.fails("a");
    assert_eq!(json!(rig.view.outputs), json!({"why": "exited with code 1"}));
}
