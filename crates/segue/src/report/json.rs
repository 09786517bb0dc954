//! `report.json`: `state.json`'s document, and what only a report tells.

use segue_core::{AttemptView, RunView, TaskView, Teardown, Timestamp, Usd};
use segue_engine::put_time;
use serde_json::{Value, json};

use super::advice::recommendations;
use super::facts::{
    attempt_duration, began_at, budget_percent, cost_per_minute, duration, ended_at, log_files,
    totals, verdicts,
};

/// The report as a document: all of `state.json` (`version run metrics tasks hardware`), each
/// task's `history` of attempts and `item_list`, and `gates`, `files`, `performance`,
/// `recommendations`.
///
/// Durations are numbers of seconds, money numbers of dollars, times as
/// [`segue_engine::state_document`] has them.
#[must_use]
pub fn json(view: &RunView) -> Value {
    let now = view.state().last_at;
    let mut document = segue_engine::state_document(view);
    for task in view.tasks() {
        let attempts = task.attempts.iter();
        let history: Vec<Value> = attempts.map(|a| attempt_value(&task, a, now)).collect();
        let value = &mut document["tasks"][task.task.id.as_str()];
        value["cost_usd"] = json!(super::facts::whole_cost(view, &task).map(Usd::dollars));
        value["history"] = Value::Array(history);
        if task.entry.expansion.is_some() {
            let items = view.items(task.index).map(|item| item_value(&item, now));
            value["item_list"] = items.collect();
        }
    }
    document["gates"] = verdicts(view).map(|verdict| verdict_value(&verdict)).collect();
    document["files"] = view
        .nodes()
        .flat_map(|task| {
            let files = task.entry.last.iter().flat_map(|report| &report.files);
            files.map(move |path| with_item(&task, json!({"task": task.task.id, "path": path})))
        })
        .collect();
    document["performance"] = performance(view);
    document["recommendations"] = json!(recommendations(view));
    document
}

/// One item of a task, in input order.
fn item_value(item: &TaskView<'_>, now: Timestamp) -> Value {
    let entry = item.entry;
    let last = entry.last.as_deref();
    let history: Vec<Value> = item.attempts.iter().map(|a| attempt_value(item, a, now)).collect();
    let outputs = last.into_iter().flat_map(|report| &report.outputs);
    let outputs = outputs.map(|(name, value)| (name.clone(), value.to_value()));
    let mut value = json!({
        "key": item.item.map(|item| &item.key),
        "item": item.item.map(|item| item.value.to_value()),
        "status": entry.status,
        "attempts": item.attempts.len(),
        "exit_code": last.and_then(segue_core::AttemptReport::exit_code),
        "class": entry.failure.as_ref().map(|(class, _)| class),
        "message": entry.failure.as_ref().map(|(_, message)| message),
        "skipped": entry.skipped.as_ref().map(ToString::to_string),
        "blocked_by": entry.blocked_by,
        "outputs": outputs.collect::<serde_json::Map<_, _>>(),
        "cost_usd": super::facts::task_cost(item).map(Usd::dollars),
        "history": history,
    });
    put_time(&mut value, "started_at", entry.started_at);
    put_time(&mut value, "ended_at", entry.ended_at);
    value
}

/// Says which item something is about, if it is about one.
fn with_item(of: &TaskView<'_>, mut value: Value) -> Value {
    if let Some(item) = of.item {
        value["item"] = json!(item.key);
    }
    value
}

fn attempt_value(task: &TaskView<'_>, attempt: &AttemptView, now: Timestamp) -> Value {
    let mut value = json!({
        "number": attempt.number,
        "duration": attempt_duration(attempt, now).as_secs_f64(),
        "logs": log_files(task, attempt),
    });
    put_time(&mut value, "started_at", Some(began_at(attempt)));
    put_time(&mut value, "ended_at", ended_at(attempt));
    let Some(report) = &attempt.report else { return value };
    let more = json!({
        "outcome": report.outcome,
        "exit_code": report.exit_code(),
        "class": report.class,
        "message": report.message,
        "cost_usd": report.cost.map(Usd::dollars),
        "findings": report.findings,
        "resources": report.resources,
        "teardown": teardown(&report.teardown),
    });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

fn teardown(teardown: &Teardown) -> Value {
    match teardown {
        Teardown::Verified { stragglers } => {
            json!({"status": "verified", "stragglers": stragglers})
        }
        Teardown::Unverified { pids } => json!({"status": "unverified", "pids": pids}),
        Teardown::None => json!({"status": "none"}),
    }
}

fn verdict_value(verdict: &super::facts::Verdict<'_>) -> Value {
    let finding = verdict.finding;
    let value = json!({
        "task": verdict.task.task.id,
        "attempt": verdict.number,
        "gate": finding.gate,
        "passed": finding.passed,
        "detail": finding.detail,
        "value": finding.value,
    });
    with_item(&verdict.task, value)
}

fn performance(view: &RunView) -> Value {
    let totals = totals(view);
    let mut value = json!({
        "duration": duration(view).as_secs_f64(),
        "peak_memory_bytes": totals.peak_memory_bytes,
        "tree_peak_memory_bytes": totals.tree_peak_memory_bytes,
        "cpu": {
            "user": totals.user.as_secs_f64(),
            "system": totals.system.as_secs_f64(),
        },
    });
    if let Some(rate) = cost_per_minute(view) {
        value["cost_per_minute"] = json!((rate * 1e6).round() / 1e6);
    }
    if let Some(percent) = budget_percent(view) {
        value["budget_usd"] = json!(view.plan().limits.budget.map(Usd::dollars));
        value["budget_utilization_percent"] = json!((percent * 100.0).round() / 100.0);
    }
    value
}
