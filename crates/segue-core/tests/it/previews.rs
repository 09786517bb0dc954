//! What is said before a run: order, critical path, the bound on time, the forecast.

use segue_core::{
    AttemptId, Backoff, ConcurrencyGroup, Event, Expression, ForEach, Forecast, Gate, GateCheck,
    ItemSource, Millis, OnBusy, OnItemFailure, Plan, Quantiles, Rehearsal, RunStatus, Section,
    Task, TaskId, Template, Unbounded, When, WorstCase, left_out,
};

use crate::chance::Chance;
use crate::plans::{PlanText, check, empty, exited, tasks};
use crate::rig::Rig;

fn names(plan: &Plan, of: impl IntoIterator<Item = usize>) -> String {
    let names: Vec<&str> = of.into_iter().map(|index| plan.tasks[index].id.as_str()).collect();
    names.join(" ")
}

/// Each task takes what its timeout says, all of it work.
fn timed(text: &str) -> PlanText {
    let ids: Vec<&str> = text.split(';').map(|part| part.split(':').next().unwrap()).collect();
    tasks(text).with(&ids.join(" "), |task| task.limits.kill_grace = Millis(0))
}

fn after(ms: u64) -> impl Fn(&mut Task) {
    move |task: &mut Task| task.limits.timeout = Some(Millis(ms))
}

#[track_caller]
fn check_order(plan: PlanText, slots: usize, order: &str, path: &str, ms: u64) {
    let plan = plan.done();
    let rehearsal = Rehearsal::of(&plan);
    let took = |index: usize| plan.tasks[index].limits.timeout;
    let rehearsed = rehearsal.perform(slots, &took);
    assert_eq!(names(&plan, rehearsed.order), order);
    assert_eq!(names(&plan, rehearsal.critical_path(&took)), path);
    assert_eq!(rehearsed.span, Millis(ms));
}

#[test]
fn a_rehearsal_starts_what_the_scheduler_would() {
    check_order(
        timed("a; b: a; c: a; d: b c").with("a b c d", after(5)),
        1,
        "a b c d",
        "a c d",
        20,
    );
    check_order(
        timed("a; b: a; c: a; d: b c").with("a b c d", after(5)),
        2,
        "a b c d",
        "a c d",
        15,
    );
    let slow = || timed("a; b; c: a; d: b").with("a b c d", after(1)).with("d", after(9));
    check_order(slow(), 4, "a b c d", "b d", 10);
    let staged = timed("a; b; c; free; d: a").with("a b c d free", after(10));
    let staged = staged
        .with("a d", |t| t.stage = Some(2))
        .with("b c", |t| t.stage = Some(1))
        .with("c", after(30));
    check_order(staged, 2, "b c free a d", "c a d", 50);
    let sections = timed("a; b; good; bad; last")
        .with("a b good bad last", after(10))
        .with("b", after(20))
        .section("good", Section::OnSuccess)
        .section("bad", Section::OnFailure)
        .section("last", Section::Finally);
    check_order(sections, 4, "a b good bad last", "b good bad last", 50);
}

#[test]
fn what_was_not_selected_takes_what_needs_it_along() {
    let plan = tasks("a; b: a; c: b; d: a; e: a f; f; g: a")
        .with("a", |t| t.excluded = true)
        .with("d", |t| t.when = When::AllDone)
        .with("e", |t| t.when = When::AnySucceeded)
        .with("g", |t| t.when = When::AnyFailed)
        .done();
    let out = left_out(&plan);
    assert_eq!(names(&plan, (0..out.len()).filter(|&i| out[i])), "a b c g");
    let rehearsed = Rehearsal::of(&plan).perform(1, &|_| Some(Millis(1)));
    assert_eq!(names(&plan, rehearsed.order.iter().copied()), "f d e");
    let mut rig = Rig::started(plan, 1);
    rig.run(|_| true);
    assert_eq!(rig.order(), "f.1 d.1 e.1");
}

#[track_caller]
fn check_bound(plan: PlanText, slots: u32, ms: u64) {
    let worst = WorstCase::of(&plan.done(), slots);
    assert_eq!((worst.all_tasks, worst.unbounded.as_slice()), (Some(Millis(ms)), &[][..]));
}

#[test]
fn the_bound_counts_tries_waits_graces_and_gates() {
    let one = || timed("a").with("a", after(1000));
    check_bound(one(), 1, 1000);
    check_bound(one().with("a", |t| t.limits.kill_grace = Millis(10)), 1, 1010);
    let retried = |backoff, cap| {
        one().with("a", move |t| {
            t.retry.attempts = 4;
            t.retry.delay = Millis(100);
            t.retry.backoff = backoff;
            t.retry.max_delay = Millis(cap);
            t.retry.jitter = true;
        })
    };
    check_bound(retried(Backoff::Fixed, 1000), 1, 4300);
    check_bound(retried(Backoff::Linear, 1000), 1, 4600);
    check_bound(retried(Backoff::Exponential, 1000), 1, 4700);
    check_bound(retried(Backoff::Exponential, 200), 1, 4500);
    check_bound(retried(Backoff::Fixed, 1000).with("a", |t| t.retry.never = true), 1, 1000);
    let verify = |feedback, rounds| Gate {
        check: GateCheck::Verify {
            script: Template("true".into()),
            failures: None,
            timeout: Millis(50),
        },
        feedback,
        rounds,
    };
    check_bound(one().with("a", |t| t.gates = vec![verify(false, 0)]), 1, 1050);
    check_bound(one().with("a", |t| t.gates = vec![verify(true, 2)]), 1, 3150);
    check_bound(one().with("a", |t| t.excluded = true), 1, 0);
}

#[test]
fn the_bound_follows_needs_stages_sections_and_slots() {
    let four = || timed("a; b; c; d").with("a b c d", after(10));
    check_bound(four(), 1, 40);
    check_bound(four(), 4, 10);
    // 40 over 2 slots, and half of one that may start last.
    check_bound(four(), 2, 25);
    check_bound(timed("a; b: a; c: b").with("a b c", after(10)), 8, 30);
    let staged = four().with("a b", |t| t.stage = Some(1)).with("c d", |t| t.stage = Some(2));
    check_bound(staged, 4, 20);
    let ways = four()
        .section("b", Section::OnSuccess)
        .section("c", Section::OnFailure)
        .section("d", Section::Finally)
        .with("c", after(70));
    check_bound(ways, 4, 90);
    // A wait for the next try holds no slot.
    let waits = four().with("a", |t| (t.retry.attempts, t.retry.delay) = (2, Millis(1000)));
    check_bound(waits, 1, 1050);
}

#[test]
fn what_has_no_bound_is_named_and_the_runs_own_timeout_holds() {
    let group = |on_busy| ConcurrencyGroup { key: Expression("'k'".into()), max: 1, on_busy };
    let plan = tasks("a; b; c; d; e")
        .with("a", |t| t.limits.timeout = None)
        .with("e", |t| {
            t.for_each = Some(each(ItemSource::Items(Expression("tasks.a.result".into()))))
        })
        .with("b", |t| t.group = Some(group(OnBusy::Queue)))
        .with("c", |t| t.group = Some(group(OnBusy::Reject)))
        .with("d", |t| (t.limits.timeout, t.excluded) = (None, true))
        .plan(|plan| plan.limits.timeout = Millis(60_000))
        .done();
    let worst = WorstCase::of(&plan, 4);
    let unbounded =
        [(0, Unbounded::NoTimeout), (1, Unbounded::WaitsForGroup), (4, Unbounded::Items)];
    assert_eq!(worst.unbounded, unbounded);
    assert_eq!((worst.all_tasks, worst.run()), (None, Millis(70_000)));
    assert_eq!(worst.tasks[3], Some(Millis(0)));
    let bounded = WorstCase::of(&tasks("a").with("a", after(1000)).done(), 1);
    assert_eq!((bounded.run(), bounded.all_tasks), (Millis(11_000), Some(Millis(11_000))));
}

fn each(source: ItemSource) -> ForEach {
    ForEach {
        source,
        exclude: Vec::new(),
        name: None,
        key: None,
        max_parallel: None,
        batch: None,
        on_item_failure: OnItemFailure::Continue,
    }
}

#[test]
fn the_bound_counts_the_items_that_a_plan_lists() {
    let over = |count: u64| {
        let items = (0..count).map(segue_core::Value::from).collect();
        timed("a").with("a", after(1000)).with("a", move |task| {
            task.for_each = Some(each(ItemSource::List(Vec::clone(&items))));
        })
    };
    check_bound(over(0), 1, 0);
    check_bound(over(3), 1, 3000);
}

/// A plan of every kind that has a bound.
fn random_plan(chance: &mut Chance) -> Plan {
    let mut plan = empty();
    let staged = chance.one_in(2);
    for number in 0..chance.between(1, 9) {
        let mut task = Task::new(TaskId::parse(&format!("t{number}")).unwrap(), &["true"]);
        task.limits.timeout = Some(Millis(chance.between(1, 1000)));
        task.limits.kill_grace = Millis(chance.between(0, 20));
        task.retry.attempts = u32::try_from(chance.between(1, 3)).unwrap();
        task.retry.delay = Millis(chance.between(0, 500));
        task.priority = i64::try_from(chance.between(0, 2)).unwrap();
        task.optional = chance.one_in(3);
        task.excluded = chance.one_in(12);
        let kinds = [Section::OnSuccess, Section::OnFailure, Section::Finally];
        task.section = if chance.one_in(4) { *chance.pick(&kinds) } else { Section::Main };
        task.when = *chance.pick(&[When::AllSucceeded, When::AllSucceeded, When::AllDone]);
        let stage = (staged && task.section == Section::Main && !chance.one_in(4))
            .then(|| u32::try_from(chance.between(1, 3)).unwrap());
        let earlier = plan.tasks.iter().enumerate().filter(|(_, need)| {
            need.section == task.section && (stage.is_none() || need.stage <= stage)
        });
        task.needs = earlier.map(|(index, _)| index).filter(|_| chance.one_in(3)).collect();
        // An unstaged task in between would hide a need on a later stage.
        task.stage =
            if task.needs.iter().any(|&i| plan.tasks[i].stage.is_none()) { None } else { stage };
        plan.tasks.push(task);
    }
    plan
}

fn random_items(chance: &mut Chance, task: &mut Task) {
    if !chance.one_in(4) {
        return;
    }
    let mut limit = |n| chance.one_in(2).then(|| u32::try_from(chance.between(1, n)).unwrap());
    let (max_parallel, batch) = (limit(3), limit(3));
    let items = (0..chance.between(0, 5)).map(segue_core::Value::from).collect();
    task.for_each = Some(ForEach { max_parallel, batch, ..each(ItemSource::List(items)) });
}

#[test]
fn no_random_run_takes_longer_than_its_bound() {
    for seed in 0..3000 {
        let mut chance = Chance::new(seed);
        let mut plan = random_plan(&mut chance);
        plan.tasks.iter_mut().for_each(|task| random_items(&mut chance, task));
        let plan = std::sync::Arc::new(plan);
        let slots = u32::try_from(chance.between(1, 4)).unwrap();
        let bound = WorstCase::of(&plan, slots).run();
        let mut rig = Rig::started(std::sync::Arc::clone(&plan), slots);
        let begun = rig.now;
        let mut ends: Vec<(Millis, AttemptId)> = Vec::new();
        while rig.status() == RunStatus::Running {
            let elapsed = rig.now.since(begun);
            for attempt in &rig.live {
                if !ends.iter().any(|(_, known)| known == attempt) {
                    let limits = &plan.tasks[plan.position(attempt.task.as_str()).unwrap()].limits;
                    let most = limits.timeout.unwrap().0 + limits.kill_grace.0;
                    let took = if chance.one_in(3) { most } else { chance.between(0, most) };
                    ends.push((Millis(elapsed.0 + took), attempt.clone()));
                }
            }
            let next = ends.iter().enumerate().min_by_key(|(_, (at, _))| *at);
            let due = rig.scheduler.next_deadline().map(|at| at.since(begun));
            match next.map(|(place, (at, _))| (place, *at)) {
                Some((place, at)) if due.is_none_or(|due| at <= due) => {
                    let (_, attempt) = ends.remove(place);
                    rig.now = begun + at;
                    let name = attempt.to_string();
                    let (name, _) = name.rsplit_once('.').unwrap();
                    rig.end(name, exited(i32::from(chance.one_in(3))));
                }
                _ => {
                    let due = due.expect("something is due").0;
                    rig.wait(due.saturating_sub(elapsed.0));
                }
            }
        }
        let took = rig.now.since(begun);
        assert!(took <= bound, "seed {seed}: {took:?} of {bound:?}, {slots} slots: {plan:#?}");
    }
}

#[test]
fn a_run_where_all_goes_well_starts_in_the_rehearsed_order() {
    for seed in 0..1000 {
        let plan = std::sync::Arc::new(random_plan(&mut Chance::new(seed)));
        let on_success =
            |index: usize| (plan.tasks[index].section != Section::OnFailure).then_some(Millis(1));
        let rehearsed = Rehearsal::of(&plan).perform(1, &on_success);
        let mut rig = Rig::started(std::sync::Arc::clone(&plan), 1);
        rig.run(|_| true);
        let started = rig.journal.iter().filter_map(|recorded| match &recorded.event {
            Event::AttemptDispatched { attempt } => plan.position(attempt.task.as_str()),
            _ => None,
        });
        assert_eq!(names(&plan, rehearsed.order), names(&plan, started), "seed {seed}");
    }
}

fn millis(of: &[u64]) -> Vec<Option<Millis>> {
    of.iter().map(|&ms| Some(Millis(ms))).collect()
}

#[test]
fn a_forecast_is_made_of_what_earlier_runs_took() {
    let plan = tasks("a; b: a; c; late").section("late", Section::OnFailure).done();
    let always = |ms| millis(&[ms; 10]);
    let forecast = Forecast::of(&plan, 4, &[always(100), always(50), always(20), Vec::new()]);
    let same = |ms| Some(Quantiles { p50: Millis(ms), p90: Millis(ms), count: 10 });
    assert_eq!(forecast.tasks, [same(100), same(50), same(20), None]);
    assert_eq!(forecast.run.map(|run| (run.p50, run.p90)), Some((Millis(150), Millis(150))));
    assert!(forecast.unknown.is_empty());
    // One slot: one after the other.
    let forecast = Forecast::of(&plan, 1, &[always(100), always(50), always(20), Vec::new()]);
    assert_eq!(forecast.run.unwrap().p50, Millis(170));

    let spread = millis(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 100]);
    let forecast = Forecast::of(&plan, 4, &[spread.clone(), vec![None; 3], Vec::new()]);
    let quantiles = Quantiles { p50: Millis(5), p90: Millis(9), count: 10 };
    assert_eq!(forecast.tasks, [Some(quantiles), None, None, None]);
    assert_eq!(names(&plan, forecast.unknown.iter().copied()), "c");
    let run = forecast.run.unwrap();
    assert!((4..=6).contains(&run.p50.0) && (9..=100).contains(&run.p90.0), "{run:?}");
    assert_eq!(
        Forecast::of(&plan, 4, &[spread]),
        Forecast::of(&plan, 4, &[millis(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 100])])
    );
    assert_eq!(Forecast::of(&plan, 4, &[]).run, None);
}

#[test]
fn waits_count_in_the_bound_and_services_beside_the_slots() {
    let plan = tasks("db; ok: db; a: ok db").services("db").with("a", |task| {
        task.limits.timeout = Some(Millis::from_secs(100));
        task.limits.kill_grace = Millis::from_secs(10);
        task.precheck = Some(check(20, 2));
    });
    let bound = |timeout| {
        let plan = plan.clone().approval("ok", timeout, None).done();
        WorstCase::of(&plan, 1)
    };
    let worst = bound(Some(1000));
    // The service's check and its stop, the answer, the precheck and the task with its grace.
    assert_eq!(worst.all_tasks, Some(Millis::from_secs(61 + 10 + 1000 + 21 + 110)));
    assert_eq!(bound(None).unbounded, [(1, Unbounded::WaitsForAnswer)]);
}
