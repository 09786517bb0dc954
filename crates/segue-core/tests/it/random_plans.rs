//! Plans by chance, with something of everything that a plan may hold.

use segue_core::{
    Action, Answer, ConcurrencyGroup, Expression, ForEach, Gate, GateCheck, ItemSource, Millis,
    OnBusy, OnItemFailure, Plan, Section, Service, Task, TaskId, Template, When,
};

use crate::chance::Chance;
use crate::{modes, plans};

/// At most a dozen tasks: what goes wrong between many goes wrong between few.
pub(crate) fn random_plan(chance: &mut Chance, short: bool) -> Plan {
    let mut plan = plans::empty();
    plan.fail_fast = chance.one_in(6);
    plan.limits.timeout = Millis::from_secs(if short { 120 } else { 10_000_000 });
    let count = chance.between(1, 10);
    let staged = chance.one_in(3);
    for number in 0..count {
        let task = random_task(chance, &plan, number, staged);
        plan.tasks.push(task);
    }
    if chance.one_in(4) {
        modes::random_mode(chance, &mut plan);
    }
    if chance.one_in(4) {
        let expression = Expression("tasks.t0.status".into());
        plan.outputs.push(("o".to_owned(), expression));
    }
    plan
}

fn random_task(chance: &mut Chance, plan: &Plan, number: u64, staged: bool) -> Task {
    let mut task = Task::new(TaskId::parse(&format!("t{number}")).unwrap(), &["true"]);
    if chance.one_in(5) {
        let sections = [Section::OnSuccess, Section::OnFailure, Section::Finally];
        task.section = *chance.pick(&sections);
    }
    if staged && task.section == Section::Main {
        task.stage = Some(u32::try_from(chance.between(1, 3)).unwrap());
    }
    for (need, other) in plan.tasks.iter().enumerate() {
        // A need in a later stage would never come to its end: the language refuses it.
        if other.section == task.section && other.stage <= task.stage && chance.one_in(3) {
            task.needs.push(need);
        }
    }
    task.priority = i64::try_from(chance.between(0, 2)).unwrap();
    let whens = [When::AllSucceeded, When::AllDone, When::AnySucceeded, When::AnyFailed];
    if chance.one_in(4) {
        task.when = *chance.pick(&whens);
    }
    task.optional = chance.one_in(6);
    task.excluded = chance.one_in(20);
    let condition = |chance: &mut Chance, text: &[&str]| Expression((*chance.pick(text)).into());
    if chance.one_in(8) {
        task.condition = Some(condition(chance, &["true", "true", "false", "params.none"]));
    }
    if chance.one_in(10) {
        task.skip_if = Some(condition(chance, &["true", "false"]));
    }
    if chance.one_in(4) {
        let (key, max) = *chance.pick(&[("'g'", 1), ("'h'", 2)]);
        let on_busy = *chance.pick(&[OnBusy::Queue, OnBusy::Queue, OnBusy::Reject]);
        task.group = Some(ConcurrencyGroup { key: Expression(key.into()), max, on_busy });
    }
    task.retry.attempts = u32::try_from(chance.between(1, 3)).unwrap();
    task.retry.never = chance.one_in(10);
    if chance.one_in(5) {
        let check = GateCheck::Score { expression: Expression("10".into()), min: 7.0 };
        let rounds = u32::try_from(chance.between(0, 2)).unwrap();
        task.gates.push(Gate { check, feedback: true, rounds });
    }
    if chance.one_in(6) {
        task.limits.timeout = None;
    }
    if chance.one_in(4) {
        random_items(chance, &mut task);
    }
    if chance.one_in(6) {
        task.precheck = Some(plans::check(chance.between(1, 20), chance.between(1, 3)));
    }
    match chance.below(10) {
        0 | 1 => {
            let ready = (!chance.one_in(3)).then(|| plans::check(chance.between(1, 20), 1));
            task.background = Some(Service { ready });
            task.limits.timeout = None;
            only_what_waits_takes(&mut task);
        }
        2 => {
            let timeout = chance.one_in(2).then(|| Millis::from_secs(chance.between(1, 100)));
            let default = *chance.pick(&[None, Some(Answer::Approve), Some(Answer::Reject)]);
            task.action = Action::Approve { message: Template("?".into()), timeout, default };
            only_what_waits_takes(&mut task);
        }
        _ => {}
    }
    task
}

/// Services and approvals have no tries, gates, items or groups: the language refuses them.
fn only_what_waits_takes(task: &mut Task) {
    (task.for_each, task.group, task.skip_if) = (None, None, None);
    task.retry = segue_core::Retry::default();
    task.gates.clear();
}

/// Few items: what goes wrong between many goes wrong between few.
fn random_items(chance: &mut Chance, task: &mut Task) {
    let count = chance.between(0, 6);
    let glob =
        || ItemSource::Glob(Template(if count == 6 { "-".into() } else { count.to_string() }));
    let source = match chance.below(4) {
        0 => ItemSource::List((0..count).map(|n| format!("i{n}").into()).collect()),
        1 if count == 6 => ItemSource::Items(Expression("params.none".into())),
        1 | 2 => ItemSource::Items(Expression(format!("range({count})"))),
        _ => glob(),
    };
    let is_glob = matches!(source, ItemSource::Glob(_));
    let mut limit = |n| chance.one_in(2).then(|| u32::try_from(chance.between(1, n)).unwrap());
    let (max_parallel, batch) = (limit(3), limit(3));
    let on_item_failure = *chance.pick(&[OnItemFailure::Continue, OnItemFailure::Stop]);
    task.for_each = Some(ForEach {
        source,
        exclude: Vec::new(),
        name: None,
        key: is_glob.then(|| Expression("item.key".into())),
        max_parallel,
        batch,
        on_item_failure,
    });
    if chance.one_in(5) {
        let text = ["loop.index == 2", "loop.index is odd", "item.none", "true"];
        task.skip_if = Some(Expression((*chance.pick(&text)).into()));
    }
    if let Some(group) = task.group.as_mut().filter(|_| chance.one_in(3)) {
        group.key = Expression(format!("'k{}-' ~ loop.index0 % 2", group.max));
    }
}
