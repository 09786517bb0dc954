//! Modes that a probe's number picks: before the DAG, once, and kept by a resume.

use std::sync::Arc;

use segue_core::{
    Alternative, Event, Expression, ModeChoice, Plan, PlanMode, ResumeScope, RunStatus, Section,
    Stored, Task, TaskId,
};
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::plans::{PlanText, exited, tasks};
use crate::rig::Rig;

/// `none` for 0, `few` (without `b`, two at once) up to 3, `many` (twice as many at once) above,
/// but nothing from 100 on.
fn with_mode(plan: PlanText) -> Arc<Plan> {
    let alternative = |condition: &str, mode: &str, excluded: &[usize], concurrency: &str| {
        let some = |text: &str| (!text.is_empty()).then(|| Expression(text.to_owned()));
        let (condition, concurrency) = (some(condition), some(concurrency));
        Alternative { condition, mode: mode.to_owned(), excluded: excluded.to_vec(), concurrency }
    };
    let plan = plan.plan(|plan| {
        let mut probe = Task::new(TaskId::parse("mode:smart").unwrap(), &["true"]);
        probe.section = Section::Probe;
        let alternatives = vec![
            alternative("probe == 0", "none", &[0, 1], ""),
            alternative("probe <= 3", "few", &[1], "2"),
            alternative("probe < 100", "many", &[], "limits.concurrency * 2"),
        ];
        let choice = Some(ModeChoice { probe: plan.tasks.len(), alternatives });
        plan.tasks.push(probe);
        plan.mode = Some(PlanMode { name: "smart".into(), concurrency: None, choice });
    });
    plan.done()
}

fn three() -> Arc<Plan> {
    with_mode(tasks("a; b; last").section("last", Section::Finally))
}

fn measures(rig: &mut Rig, number: Value) {
    let mut report = exited(0);
    report.outputs.insert(ModeChoice::OUTPUT.to_owned(), Stored::Inline(number));
    rig.end("mode:smart", report);
}

#[track_caller]
fn check(number: Value, chosen: &str, effects: &str, slots: u32) {
    let mut rig = Rig::started(three(), 1);
    assert_eq!(rig.effects(), "start mode:smart.1", "nothing else begins");
    measures(&mut rig, number);
    assert_eq!(rig.scheduler.state().mode.as_ref().unwrap().name, chosen);
    assert_eq!((rig.effects().as_str(), rig.scheduler.state().slots), (effects, slots));
    rig.run(|_| true);
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn the_number_picks_which_tasks_run_and_how_many_at_once() {
    check(json!(0), "none", "start last.1", 1);
    check(json!(3), "few", "start a.1", 2);
    check(json!(3.5), "many", "start a.1, start b.1", 2);
    check(json!(" 12\n"), "many", "start a.1, start b.1", 2);
}

#[track_caller]
fn check_failure(end: impl Fn(&mut Rig), message: &str) {
    let mut rig = Rig::started(three(), 2);
    end(&mut rig);
    assert_eq!(rig.effects(), "start mode:smart.1, start last.1", "{message}");
    let expected = "a blocked, b blocked, last pending, mode:smart failed";
    assert_eq!(rig.statuses().replace("last running", "last pending"), expected);
    rig.run(|_| true);
    assert_eq!(rig.status(), RunStatus::Failed);
    let failure = rig.view.failure.clone().unwrap();
    assert_eq!((failure.task.unwrap().as_str(), failure.message.as_str()), ("mode:smart", message));
}

#[test]
fn a_probe_that_fails_or_measures_nothing_fails_the_run_before_anything_begins() {
    check_failure(|rig| rig.fails("mode:smart"), "exited with code 1");
    check_failure(
        |rig| rig.ok("mode:smart"),
        "the probe of mode `smart` measured no number, but nothing",
    );
    check_failure(
        |rig| measures(rig, json!("lots")),
        "the probe of mode `smart` measured no number, but \"lots\"",
    );
    check_failure(
        |rig| measures(rig, json!(100)),
        "mode `smart`: no choice fits the probe's number, 100",
    );
}

#[test]
fn a_resume_keeps_what_was_chosen() {
    let mut rig = Rig::started(three(), 1);
    measures(&mut rig, json!(2));
    rig.fails("a");
    rig.run(|_| true);
    assert_eq!(rig.statuses(), "a failed, b skipped, last succeeded, mode:smart succeeded");
    rig.effects();
    rig.resume(ResumeScope::Unfinished, 7);
    assert_eq!((rig.effects().as_str(), rig.scheduler.state().slots), ("start a.2", 2));
    rig.run(|_| true);
    assert_eq!(rig.statuses(), "a succeeded, b skipped, last succeeded, mode:smart succeeded");
    let chosen =
        |recorded: &&segue_core::Recorded| matches!(recorded.event, Event::ModeChosen { .. });
    assert_eq!(rig.journal.iter().filter(chosen).count(), 1);
    // Asked for by name, it measures again, and the whole DAG follows.
    rig.effects();
    rig.resume(ResumeScope::From(TaskId::parse("mode:smart").unwrap()), 1);
    assert_eq!(rig.effects(), "start mode:smart.2");
    measures(&mut rig, json!(50));
    assert_eq!(rig.effects(), "start a.3, start b.1");
}

#[test]
fn what_the_probe_measured_outlives_the_engine_that_asked() {
    let mut rig = Rig::started(three(), 1);
    measures(&mut rig, json!(2));
    let succeeded = rig
        .journal
        .iter()
        .position(|recorded| matches!(&recorded.event, Event::TaskSucceeded { .. }));
    rig.crash(succeeded.unwrap() + 1);
    assert!(rig.scheduler.state().mode.is_none());
    rig.resume(ResumeScope::Unfinished, 1);
    assert_eq!(rig.effects(), "start a.1");
    assert_eq!(rig.scheduler.state().mode.as_ref().unwrap().name, "few");
}

#[test]
fn a_number_asked_for_is_stronger_than_the_modes() {
    let mut rig = Rig::new(three());
    rig.request.concurrency = Some(5);
    rig.start(5);
    measures(&mut rig, json!(2));
    assert_eq!(rig.scheduler.state().slots, 5);
}

#[test]
fn slots_in_a_mode_are_a_number_from_1_up() {
    let plan = three();
    let slots = |text: &str| plan.slots_in_mode(Some(&Expression(text.into())), 4, Some(3.0));
    assert_eq!(slots("limits.concurrency * 2"), Ok(8));
    assert_eq!((slots("probe"), slots("2.7")), (Ok(3), Ok(2)));
    assert_eq!(plan.slots_in_mode(None, 4, None), Ok(4));
    for (text, part) in [("0", "is 0, not 1 or more"), ("'x'", "not 1 or more"), ("x", "undefined")]
    {
        assert!(slots(text).unwrap_err().contains(part), "{text}");
    }
}

/// A probe, and what its number picks.
pub(crate) fn random_mode(chance: &mut Chance, plan: &mut Plan) {
    let alternative = |chance: &mut Chance, condition: Option<&str>| {
        let places = 0..plan.tasks.len();
        let main = places.filter(|&i| plan.tasks[i].section == Section::Main);
        let concurrency = *chance.pick(&[None, Some("limits.concurrency + 1"), Some("probe")]);
        Alternative {
            condition: condition.map(|text| Expression(text.into())),
            mode: format!("m{}", condition.map_or(0, str::len)),
            excluded: main.filter(|_| chance.one_in(4)).collect(),
            concurrency: concurrency.map(|text| Expression(text.into())),
        }
    };
    let mut alternatives =
        vec![alternative(chance, Some("probe == 0")), alternative(chance, Some("probe <= 3"))];
    if chance.one_in(2) {
        alternatives.push(alternative(chance, None));
    }
    let mut probe = Task::new(TaskId::parse("mode:m").unwrap(), &["true"]);
    probe.section = Section::Probe;
    probe.retry.attempts = u32::try_from(chance.between(1, 2)).unwrap();
    let choice = Some(ModeChoice { probe: plan.tasks.len(), alternatives });
    plan.tasks.push(probe);
    plan.mode = Some(PlanMode { name: "m".into(), concurrency: None, choice });
}
