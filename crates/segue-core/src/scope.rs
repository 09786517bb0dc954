//! What expressions and templates see of a run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, json};

use crate::for_each::put_item;
use crate::plan::Value;
use crate::state::{RunState, TaskEntry};
use crate::{
    AttemptReport, NodeIndex, Plan, RunStatus, Section, StopReason, Stored, Task, TaskIndex,
    TaskStatus,
};

/// The scope of expressions about the whole run: `params run tasks`.
///
/// `names` are the dotted paths that the expression needs, as
/// [`check_expression`](crate::check_expression) gives them; only the tasks among them are
/// put in, all of them if `tasks` stands alone. `status` is the run's status as far as it is
/// decided.
#[must_use]
pub fn run_scope(
    plan: &Plan,
    state: &RunState,
    names: &BTreeSet<String>,
    status: RunStatus,
) -> Value {
    run_scope_with(plan, state, names, status, |id| plan.position(id))
}

/// As [`run_scope`], with a faster way to a task's place.
pub(crate) fn run_scope_with(
    plan: &Plan,
    state: &RunState,
    names: &BTreeSet<String>,
    status: RunStatus,
    position: impl Fn(&str) -> Option<TaskIndex>,
) -> Value {
    json!({
        "params": params(plan, names),
        "run": {
            "id": state.run,
            "workflow": plan.workflow,
            "started_at": state.started_at.to_string(),
            "status": status,
            "failure": failure(plan, state, names),
            "cost": state.cost.unwrap_or_default().dollars(),
            "duration": state.last_at.since(state.started_at).as_secs_f64(),
        },
        "tasks": tasks(plan, state, names, position),
    })
}

/// The parameters that are named, all of them if `params` stands alone: a list of many items
/// is not to be copied for each.
fn params(plan: &Plan, names: &BTreeSet<String>) -> Value {
    if names.contains("params") {
        return json!(plan.params);
    }
    let named = names.iter().filter_map(|name| name.strip_prefix("params.")?.split('.').next());
    let given = named.filter_map(|name| Some((name.to_owned(), plan.params.get(name)?.clone())));
    Value::Object(given.collect())
}

/// The scope of the expressions and templates of a task or item: [`run_scope`] plus `task`,
/// `previous` (the attempt before; `null` for the first), and for an item `item`, `loop` and the
/// name that `as` gives it.
#[must_use]
pub fn task_scope(
    plan: &Plan,
    state: &RunState,
    index: NodeIndex,
    names: &BTreeSet<String>,
) -> Value {
    task_scope_with(plan, state, index, names, |id| plan.position(id))
}

/// As [`task_scope`], with a faster way to a task's place.
pub(crate) fn task_scope_with(
    plan: &Plan,
    state: &RunState,
    index: NodeIndex,
    names: &BTreeSet<String>,
    position: impl Fn(&str) -> Option<TaskIndex>,
) -> Value {
    let entry = &state.tasks[index];
    let owner = state.owner(index);
    let task = &plan.tasks[owner];
    let status = status_seen_by(plan, state, owner, names);
    let mut scope = run_scope_with(plan, state, names, status, position);
    scope["task"] = json!({"id": task.id, "attempt": entry.attempts.max(1)});
    scope["previous"] = entry.last.as_deref().map_or(Value::Null, previous);
    if let (Some(for_each), Some(item)) = (&task.for_each, state.item(index)) {
        scope["task"]["item"] = json!(item.key);
        let length = state.items_of(owner).len();
        put_item(&mut scope, for_each, item.value.to_value(), item.position, length);
    }
    scope
}

/// The run's status as a task sees it: those after the DAG see how the DAG ended.
fn status_seen_by(
    plan: &Plan,
    state: &RunState,
    index: TaskIndex,
    names: &BTreeSet<String>,
) -> RunStatus {
    let asks = names.contains("run") || names.contains("run.status");
    if plan.tasks[index].section <= Section::Main || !asks {
        return state.status();
    }
    if state.stop.is_some_and(|stop| stop.reason == StopReason::Cancelled) {
        return RunStatus::Cancelled;
    }
    let ended_badly = |(task, entry): (&Task, &TaskEntry)| {
        let bad = [TaskStatus::Failed, TaskStatus::Blocked, TaskStatus::Cancelled];
        task.section <= Section::Main && !task.optional && bad.contains(&entry.status)
    };
    let failed = plan.tasks.iter().zip(&state.tasks).any(ended_badly);
    if failed { RunStatus::Failed } else { RunStatus::Succeeded }
}

/// Adds the attempt's own result and outputs to a task's scope, for its gates.
#[must_use]
pub fn output_scope(mut scope: Value, report: &AttemptReport) -> Value {
    scope["output"] = stored_or_empty(report.result.as_ref());
    scope["outputs"] = outputs(report);
    scope
}

fn tasks(
    plan: &Plan,
    state: &RunState,
    names: &BTreeSet<String>,
    position: impl Fn(&str) -> Option<TaskIndex>,
) -> Value {
    let mut named = Map::new();
    let mut put = |index: TaskIndex, with_items: bool| {
        let id = plan.tasks[index].id.to_string();
        let mut value = task_value(&state.tasks[index]);
        if with_items && plan.tasks[index].for_each.is_some() {
            value["items"] = items(state, index);
        }
        named.insert(id, value);
    };
    if names.contains("tasks") {
        (0..plan.tasks.len()).for_each(|index| put(index, true));
        return Value::Object(named);
    }
    let mut wanted = BTreeMap::<TaskIndex, bool>::new();
    for name in names {
        let mut parts = name.split('.');
        let Some(id) = parts.next().filter(|root| *root == "tasks").and_then(|_| parts.next())
        else {
            continue;
        };
        if let Some(index) = position(id) {
            // The items of a large task are worth their while only where they are read.
            *wanted.entry(index).or_default() |= matches!(parts.next(), None | Some("items"));
        }
    }
    wanted.into_iter().for_each(|(index, with_items)| put(index, with_items));
    Value::Object(named)
}

/// What dependents see of a task's items, in input order.
fn items(state: &RunState, index: TaskIndex) -> Value {
    let value = |&node: &NodeIndex| {
        let mut value = task_value(&state.tasks[node]);
        value["key"] = json!(state.item(node).map(|item| &item.key));
        value["item"] = state.item(node).map_or(Value::Null, |item| item.value.to_value());
        value
    };
    state.items_of(index).iter().map(value).collect()
}

/// The first task to fail, if any of `names` reaches it.
fn failure(plan: &Plan, state: &RunState, names: &BTreeSet<String>) -> Value {
    let reaches = |name: &String| name == "run" || name.starts_with("run.failure");
    if !names.iter().any(reaches) {
        return Value::Null;
    }
    let mut tasks = plan.tasks.iter().zip(&state.tasks);
    let failed = tasks.find_map(|(task, entry)| {
        let (class, message) = entry.failure.as_ref().filter(|_| !task.optional)?;
        Some(json!({"task": task.id, "class": class, "message": message}))
    });
    failed.unwrap_or(Value::Null)
}

fn task_value(entry: &TaskEntry) -> Value {
    let last = entry.last.as_deref();
    json!({
        "status": entry.status,
        "result": stored_or_empty(last.and_then(|report| report.result.as_ref())),
        "outputs": match &entry.waits.answer {
            Some(answer) => json!({"answer": answer.answer, "by": answer.by, "note": answer.note}),
            None => last.map_or_else(|| json!({}), outputs),
        },
        "files": last.map_or(&[][..], |report| &report.files),
        "exit_code": last.and_then(AttemptReport::exit_code),
        "attempts": entry.attempts,
        "class": entry.failure.as_ref().map(|(class, _)| class),
        "error": entry.failure.as_ref().map(|(_, message)| message),
    })
}

fn previous(report: &AttemptReport) -> Value {
    json!({
        "class": report.class,
        "exit_code": report.exit_code(),
        "message": report.message,
        "stderr_tail": report.stderr_tail,
        "findings": report.findings,
    })
}

fn outputs(report: &AttemptReport) -> Value {
    report.outputs.iter().map(|(name, value)| (name.clone(), value.to_value())).collect()
}

/// An absent value is an empty object, so that `tasks.T.result.x | default(0)` works.
fn stored_or_empty(value: Option<&Stored>) -> Value {
    value.map_or_else(|| json!({}), Stored::to_value)
}
