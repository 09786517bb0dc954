//! Tables of `for_each`: what is listed, in which order items begin, what their ends mean.

use segue_core::{
    Event, Expression, FailureClass, ForEach, Input, ItemKey, ItemSource, Millis, OnItemFailure,
    ResumeScope, RunStatus, StopReason, Stored, Task, TaskId, Template, Value,
};
use serde_json::json;

use crate::plans::{exited, tasks};
use crate::rig::Rig;

fn each(source: &str) -> ForEach {
    ForEach {
        source: ItemSource::Items(Expression(source.into())),
        exclude: Vec::new(),
        name: None,
        key: None,
        max_parallel: None,
        batch: None,
        on_item_failure: OnItemFailure::Continue,
    }
}

fn over(source: &'static str) -> impl Fn(&mut Task) {
    move |task| task.for_each = Some(each(source))
}

fn change(task: &mut Task, change: impl Fn(&mut ForEach)) {
    change(task.for_each.as_mut().unwrap());
}

#[test]
fn items_begin_in_input_order_and_their_task_ends_with_them() {
    let plan = tasks("a; b: a; c: b").with("b", over("['x', 'y', 'z']"));
    let mut rig = Rig::started(plan.done(), 2);
    rig.ok("a");
    assert_eq!(rig.items("b"), "x running, y running, z queued");
    assert_eq!(rig.statuses(), "a succeeded, b running, c pending");
    rig.ok("b.y");
    rig.ok("b.x");
    assert_eq!(rig.statuses(), "a succeeded, b running, c pending");
    rig.ok("b.z");
    rig.ok("c");
    assert_eq!(rig.order(), "a.1 b.x.1 b.y.1 b.z.1 c.1");
    assert_eq!(rig.status(), RunStatus::Succeeded);
    assert_eq!(rig.view.metrics().total, 3);
}

#[test]
fn max_parallel_counts_what_waits_for_a_retry() {
    let plan = tasks("a").with("a", over("range(3)")).with("a", |task| {
        change(task, |each| each.max_parallel = Some(1));
        task.retry.attempts = 2;
    });
    let mut rig = Rig::started(plan.done(), 4);
    rig.fails("a.0");
    assert_eq!(rig.items("a"), "0 waiting, 1 pending, 2 pending");
    rig.run(|_| true);
    assert_eq!(rig.order(), "a.0.1 a.0.2 a.1.1 a.2.1");
}

#[test]
fn a_batch_ends_before_the_next_begins() {
    let plan = tasks("a").with("a", over("range(5)")).with("a", |task| {
        change(task, |each| each.batch = Some(2));
    });
    let mut rig = Rig::started(plan.done(), 4);
    rig.fails("a.1");
    assert_eq!(rig.items("a"), "0 running, 1 failed, 2 pending, 3 pending, 4 pending");
    rig.ok("a.0");
    assert_eq!(rig.items("a"), "0 succeeded, 1 failed, 2 running, 3 running, 4 pending");
    rig.run(|_| true);
    assert_eq!(rig.statuses(), "a failed");
}

fn failure(rig: &Rig) -> String {
    rig.view.failure.as_ref().map_or_else(String::new, |f| format!("{}: {}", f.class, f.message))
}

#[test]
fn a_failed_item_leaves_the_others_or_stops_those_that_have_not_begun() {
    let plan = |policy| {
        tasks("a; b: a").with("a", over("range(4)")).with("a", move |task| {
            change(task, |each| each.on_item_failure = policy);
        })
    };
    let mut rig = Rig::started(plan(OnItemFailure::Continue).done(), 2);
    rig.run(|attempt| !matches!(attempt, "a.1.1" | "a.3.1"));
    assert_eq!(rig.items("a"), "0 succeeded, 1 failed, 2 succeeded, 3 failed");
    assert_eq!(failure(&rig), "execution: 2 of 4 items failed: 1, 3");
    assert_eq!(rig.statuses(), "a failed, b blocked");

    let mut rig = Rig::started(plan(OnItemFailure::Stop).done(), 2);
    rig.fails("a.0");
    assert_eq!(rig.items("a"), "0 failed, 1 running, 2 cancelled, 3 cancelled");
    rig.ok("a.1");
    assert_eq!(failure(&rig), "execution: 1 of 4 items failed: 0");
    assert_eq!((rig.order().as_str(), rig.status()), ("a.0.1 a.1.1", RunStatus::Failed));
}

#[test]
fn fail_fast_looks_at_the_task_and_not_at_one_item() {
    let plan = tasks("a; b").with("a", over("range(2)")).plan(|plan| plan.fail_fast = true);
    let mut rig = Rig::started(plan.done(), 3);
    rig.fails("a.0");
    assert_eq!(rig.statuses(), "a running, b running");
    rig.ok("a.1");
    rig.stopped("b", StopReason::FailFast);
    assert_eq!(rig.statuses(), "a failed, b cancelled");
}

#[track_caller]
fn check_refused(source: &str, key: Option<&str>, message: &str) {
    let plan = tasks("a").with("a", |task| {
        task.for_each = Some(each(source));
        change(task, |each| each.key = key.map(|key| Expression(key.into())));
    });
    let rig = Rig::started(plan.done(), 2);
    assert_eq!(failure(&rig), format!("invalid_request: {message}"));
    assert_eq!(rig.order(), "", "an item has begun");
}

#[test]
fn what_is_no_list_fails_its_task_before_an_item_begins() {
    check_refused("1 + 1", None, "`for_each.items: 1 + 1` gives a number, not a list");
    check_refused("[1, 2]", Some("'k'"), r#"items 1 and 2 of `for_each` have the same key "k""#);
    check_refused(
        "range(100000) | list + [1]",
        Some("loop.index"),
        "`for_each` gives 100001 items, more than 100000",
    );
}

#[test]
fn an_empty_list_has_succeeded() {
    let mut rig = Rig::started(tasks("a; b: a").with("a", over("[]")).done(), 1);
    rig.ok("b");
    assert_eq!(
        (rig.statuses().as_str(), rig.items("a").as_str()),
        ("a succeeded, b succeeded", "")
    );
}

#[test]
fn skip_if_is_asked_of_each_item_unless_all_are_forced() {
    let plan = tasks("a").with("a", over("['x', 'y']")).with("a", |task| {
        task.skip_if = Some(Expression("item == 'x' or loop.index > 2".into()));
    });
    let mut rig = Rig::started(plan.clone().done(), 2);
    rig.ok("a.y");
    assert_eq!(rig.items("a"), "x skipped, y succeeded");
    assert_eq!(rig.statuses(), "a succeeded");
    let mut rig = Rig::new(plan.done());
    rig.request.force = true;
    rig.start(2);
    rig.run(|_| true);
    assert_eq!(rig.order(), "a.x.1 a.y.1");
}

#[test]
fn dependents_see_every_item_in_input_order() {
    let plan = tasks("a; b: a; c: a")
        .with("a", over("[{'n': 2}, {'n': 1}]"))
        .with("a", |task| change(task, |each| each.key = Some(Expression("item.n".into()))))
        .with("b", |task| {
            let text = "tasks.a.items | map(attribute='key') | join(',') == '2,1' \
                        and tasks.a.items[0].outputs.o == 'x' \
                        and tasks.a.items[1].result.score == 5 \
                        and tasks.a.items[1].item.n == 1";
            task.condition = Some(Expression(text.into()));
        })
        .with("c", over("tasks.a.items | selectattr('status', 'eq', 'succeeded') | list"));
    let mut rig = Rig::started(plan.done(), 2);
    let mut end = exited(0);
    end.outputs.insert("o".into(), Stored::Inline("x".into()));
    rig.end("a.2", end);
    let mut end = exited(0);
    end.result = Some(Stored::Inline(json!({"score": 5})));
    rig.end("a.1", end);
    rig.run(|_| true);
    assert_eq!(rig.order(), "a.2.1 a.1.1 b.1 c.1.1 c.2.1");
}

#[test]
fn a_resume_runs_the_unfinished_items_and_a_retry_by_name_all() {
    let plan = tasks("a; b: a").with("a", over("range(3)")).done();
    let mut rig = Rig::started(plan, 3);
    rig.run(|attempt| attempt != "a.1.1");
    rig.resume(ResumeScope::Unfinished, 3);
    assert_eq!(rig.items("a"), "0 succeeded, 1 running, 2 succeeded");
    rig.run(|_| true);
    assert_eq!(rig.order(), "a.0.1 a.1.1 a.2.1 a.1.2 b.1");
    rig.resume(ResumeScope::From(TaskId::parse("a").unwrap()), 3);
    rig.run(|_| true);
    assert_eq!(rig.order(), "a.0.1 a.1.1 a.2.1 a.1.2 b.1 a.0.2 a.1.3 a.2.2 b.2");
}

#[test]
fn items_under_way_are_adopted_and_those_in_line_wait_for_their_turn() {
    let plan = tasks("a").with("a", over("range(4)")).with("a", |task| {
        change(task, |each| each.max_parallel = Some(2));
    });
    let mut rig = Rig::started(plan.done(), 4);
    rig.ok("a.0");
    rig.crash(rig.journal.len());
    rig.resume(ResumeScope::Unfinished, 4);
    assert_eq!(rig.effects(), "reattach a.1.1, reattach a.2.1");
    rig.input(Input::Reattached { attempt: Rig::attempt("a.1.1") });
    rig.ok_of("a.2.1");
    assert_eq!(rig.items("a"), "0 succeeded, 1 running, 2 succeeded, 3 running");
    rig.ok_of("a.1.1");
    rig.run(|_| true);
    assert_eq!(rig.status(), RunStatus::Succeeded);
}

#[test]
fn a_task_that_never_retries_keeps_its_failed_item_and_runs_the_rest() {
    let plan = tasks("a").with("a", over("range(3)")).with("a", |task| task.retry.never = true);
    let mut rig = Rig::started(plan.done(), 1);
    rig.fails("a.0");
    rig.stop(StopReason::Shutdown, false);
    rig.ok("a.1");
    rig.resume(ResumeScope::Unfinished, 1);
    rig.input(Input::NeverStarted { attempt: Rig::attempt("a.2.1") });
    assert_eq!(rig.items("a"), "0 failed, 1 succeeded, 2 running");
    rig.ok("a.2");
    let index = rig.scheduler.position(&TaskId::parse("a").unwrap()).unwrap();
    assert!(rig.view.state().is_held(rig.view.plan(), index));
    rig.resume(ResumeScope::From(TaskId::parse("a").unwrap()), 3);
    rig.run(|_| true);
    assert_eq!(
        (rig.status(), rig.items("a").as_str()),
        (RunStatus::Succeeded, "0 succeeded, 1 succeeded, 2 succeeded")
    );
}

#[test]
fn cancelling_the_task_cancels_every_item() {
    let plan = tasks("a; b").with("a", over("range(3)"));
    let mut rig = Rig::started(plan.done(), 2);
    rig.effects();
    rig.cancel_task("a");
    assert_eq!(rig.effects(), "stop a.0.1 cancelled, stop a.1.1 cancelled");
    rig.stopped("a.0", StopReason::Cancelled);
    rig.stopped("a.1", StopReason::Cancelled);
    assert_eq!(rig.items("a"), "0 cancelled, 1 cancelled, 2 cancelled");
    rig.ok("b");
    assert_eq!(rig.statuses(), "a cancelled, b succeeded");
}

fn values(texts: &[&str]) -> Vec<Stored> {
    texts.iter().map(|text| Stored::Inline(Value::from(*text))).collect()
}

fn files(plan: &str) -> crate::plans::PlanText {
    tasks(plan).with("a", |task| {
        task.for_each = Some(each(""));
        change(task, |each| each.source = ItemSource::Glob(Template("*.md".into())));
    })
}

#[test]
fn a_list_that_takes_files_is_asked_of_the_driver() {
    let task = || TaskId::parse("a").unwrap();
    let mut rig = Rig::started(files("a").done(), 2);
    assert_eq!(rig.effects(), "expand a");
    assert_eq!(rig.statuses(), "a running");
    rig.crash(rig.journal.len());
    rig.resume(ResumeScope::Unfinished, 2);
    assert_eq!(rig.effects(), "expand a");
    rig.input(Input::Expanded { task: task(), items: Ok(values(&["x.md", "y.md"])) });
    rig.input(Input::Expanded { task: task(), items: Ok(values(&["late.md"])) });
    rig.run(|_| true);
    assert_eq!(rig.order(), "a.x.md.1 a.y.md.1");

    let mut rig = Rig::started(files("a").done(), 2);
    rig.input(Input::Expanded { task: task(), items: Err("no such folder".into()) });
    assert_eq!(failure(&rig), "invalid_request: no such folder");
}

#[test]
fn a_value_that_lies_in_a_file_or_is_large_is_read_by_the_driver() {
    let plan = tasks("p; a: p").with("a", over("tasks.p.result.list")).done();
    let mut rig = Rig::started(plan, 2);
    let mut end = exited(0);
    let (path, head) = ("attempts/p.1/result.value.json".to_owned(), json!({"list": {}}));
    end.result = Some(Stored::Ref { path: path.clone(), bytes: 20_000, sha256: "0".into(), head });
    rig.end("p", end);
    assert_eq!(rig.effects(), "start p.1, expand a");
    let (_, sources) = rig.scheduler.list_sources(&TaskId::parse("a").unwrap()).unwrap();
    assert_eq!(sources.files, [("/tasks/p/result".to_owned(), path)]);

    let plan = tasks("a").with("a", |task| {
        task.for_each = Some(each(""));
        let large = Value::from("x".repeat(20_000));
        change(task, |each| each.source = ItemSource::List(vec![large.clone()]));
    });
    assert_eq!(Rig::started(plan.done(), 1).effects(), "expand a");
}

#[test]
fn what_a_task_listed_anew_found_again_unchanged_is_not_done_twice() {
    let task = || TaskId::parse("a").unwrap();
    let plan = files("o; a: o").with("o", |task| task.optional = true);
    let mut rig = Rig::started(plan.done(), 3);
    rig.fails("o");
    rig.input(Input::Expanded { task: task(), items: Ok(values(&["x", "y"])) });
    rig.ok("a.x");
    rig.fails("a.y");
    // The optional need starts over, so the list may be another.
    rig.resume(ResumeScope::Unfinished, 3);
    rig.ok("o");
    rig.input(Input::Expanded { task: task(), items: Ok(values(&["z", "x", "y"])) });
    rig.run(|_| true);
    assert_eq!(rig.order(), "o.1 a.x.1 a.y.1 o.2 a.z.1 a.y.2");
    assert_eq!(rig.items("a"), "z succeeded, x succeeded, y succeeded");
}

#[test]
fn retries_of_items_do_not_come_all_at_once() {
    let plan = tasks("a").with("a", over("range(20)")).with("a", |task| {
        task.retry.attempts = 2;
        task.retry.jitter = true;
        task.retry.delay = Millis(10_000);
    });
    let mut rig = Rig::started(plan.done(), 20);
    (0..20).for_each(|n| rig.fails(&format!("a.{n}")));
    let times = rig.journal.iter().filter_map(|recorded| match &recorded.event {
        Event::RetryScheduled { until, item: Some(_), class: FailureClass::Execution, .. } => {
            Some(*until)
        }
        _ => None,
    });
    assert!(times.collect::<std::collections::BTreeSet<_>>().len() > 10);
    assert!(rig.view.item_of(0, &ItemKey::new("7")).is_some());
}
