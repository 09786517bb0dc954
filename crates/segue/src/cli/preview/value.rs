//! The preview for programs. Durations are numbers of seconds; what is not known is null.

use segue_core::{Millis, Quantiles, TaskIndex};
use serde_json::{Value, json};

use super::Preview;
use super::fill::Filled;

/// How many waits between tries are listed.
const DELAYS_MAX: usize = 50;

pub(super) fn document(preview: &Preview) -> Value {
    let plan = &preview.plan;
    let (worst, forecast) = (&preview.worst, &preview.forecast);
    let name = |index: &TaskIndex| plan.tasks[*index].id.as_str();
    let names = |indexes: &[TaskIndex]| indexes.iter().map(name).collect::<Vec<_>>();
    let unbounded = worst.unbounded.iter();
    let unbounded: Vec<Value> =
        unbounded.map(|(i, why)| json!({"task": name(i), "why": why.words()})).collect();
    let never = (0..plan.tasks.len()).filter(|&index| preview.left_out[index]);
    let tasks = preview.order.iter().copied().chain(never);
    json!({
        "workflow": plan.workflow,
        "digest": plan.digest,
        "params": plan.params,
        "mode": plan.mode.as_ref().map(|mode| &mode.name),
        "choices": choices(preview),
        "slots": preview.slots,
        "tasks": tasks.map(|index| task(preview, index)).collect::<Vec<_>>(),
        "order": names(&preview.order),
        "critical_path": names(&preview.critical),
        "critical_path_by": preview.measure.word(),
        "time_bound_seconds": worst.all_tasks.map(Millis::as_secs_f64),
        "run_bound_seconds": worst.run().as_secs_f64(),
        "run_timeout_seconds": plan.limits.timeout.as_secs_f64(),
        "unbounded": unbounded,
        "forecast": {
            "earlier_runs": preview.earlier_runs,
            "p50_seconds": forecast.run.map(|run| run.p50.as_secs_f64()),
            "p90_seconds": forecast.run.map(|run| run.p90.as_secs_f64()),
            "unknown": names(&forecast.unknown),
        },
        "secrets": plan.secrets,
        "missing_secrets": preview.missing_secrets,
    })
}

/// What a mode with a probe may pick; null without one.
fn choices(preview: &Preview) -> Value {
    if preview.choices.is_empty() {
        return Value::Null;
    }
    let choices = preview.choices.iter().map(|choice| {
        let names = choice.left_out.iter().map(|&index| &preview.plan.tasks[index].id);
        json!({
            "if": choice.condition,
            "mode": choice.mode,
            "left_out": names.collect::<Vec<_>>(),
            "slots": choice.slots.as_ref().ok(),
            "run_bound_seconds": choice.worst.run().as_secs_f64(),
            "forecast": choice.forecast.run.map(quantiles),
        })
    });
    choices.collect()
}

fn task(preview: &Preview, index: TaskIndex) -> Value {
    let task = &preview.plan.tasks[index];
    let filled = Filled::of(&preview.plan, task);
    let seconds = |span: Millis| span.as_secs_f64();
    let delays: Vec<f64> = task.retry.delays().take(DELAYS_MAX).map(seconds).collect();
    let env: serde_json::Map<String, Value> =
        filled.env().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let worst = preview.worst.tasks[index].filter(|_| !preview.left_out[index]);
    json!({
        "id": task.id,
        "section": task.section,
        "stage": task.stage,
        "priority": task.priority,
        "needs": filled.needs(),
        "when": task.when,
        "if": task.condition,
        "skip_if": task.skip_if,
        "selected": !task.excluded,
        "left_out": preview.left_out[index],
        "optional": task.optional,
        "critical": preview.is_critical[index],
        "command": filled.command(),
        "stdin": filled.stdin(),
        "cwd": filled.cwd(),
        "env": env,
        "env_files": filled.env_files(),
        "secrets": task.secrets,
        "for_each": task.for_each,
        "waits": filled.waits(),
        "concurrency_group": filled.group(),
        "timeout_seconds": task.limits.timeout.map(seconds),
        "stall_seconds": task.limits.stall.map(seconds),
        "memory_bytes_max": task.limits.memory_bytes_max,
        "cores_max": task.limits.cpu_millis_max.map(|millis| millis as f64 / 1000.0),
        "tries": task.retry.tries(),
        "retry_delays_seconds": delays,
        "gates": filled.gates(),
        "worst_seconds": worst.map(seconds),
        "forecast": preview.forecast.tasks[index].map(quantiles),
    })
}

fn quantiles(quantiles: Quantiles) -> Value {
    json!({
        "runs": quantiles.count,
        "p50_seconds": quantiles.p50.as_secs_f64(),
        "p90_seconds": quantiles.p90.as_secs_f64(),
    })
}
