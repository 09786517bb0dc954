//! `state.json`: the run's view for scripts, written whole, at most twice a second and at the end.

use std::path::{Path, PathBuf};

use segue_core::{
    Hardware, ItemCounts, Metrics, Millis, RunStatus, RunView, TaskStatus, TaskView, Timestamp,
};
use segue_journal::{IoError, write_atomic};
use serde_json::{Value, json};

/// The version of `state.json` and `report.json`.
pub const STATE_FILE_VERSION: u32 = 1;

/// How long after one write the next one is due at the earliest.
const PAUSE: Millis = Millis(500);

/// The document: `version run metrics tasks hardware`.
///
/// Every time `X` in it is whole seconds of RFC 3339 in UTC, as jq's `fromdateiso8601` wants
/// them, with `X_ms` beside it, milliseconds since the Unix epoch.
#[must_use]
pub fn state_document(view: &RunView) -> Value {
    let tasks = view.tasks().map(|task| (task.task.id.to_string(), task_value(view, &task)));
    let metrics: Metrics = view.metrics();
    json!({
        "version": STATE_FILE_VERSION,
        "run": run_value(view),
        "metrics": metrics,
        "tasks": tasks.collect::<serde_json::Map<_, _>>(),
        "hardware": hardware(&view.hardware),
    })
}

fn run_value(view: &RunView) -> Value {
    let state = view.state();
    let until = view.ended_at.unwrap_or(state.last_at);
    let mut value = json!({
        "id": state.run,
        "workflow": view.plan().workflow,
        "status": view.status(),
        "duration": until.since(state.started_at).as_secs_f64(),
        "max_concurrent": state.slots,
        "mode": mode_of(view),
        "stage": state.stage,
        "cost_usd": view.cost().map(segue_core::Usd::dollars),
        "outputs": view.outputs,
        "failure": view.failure,
        "params": view.plan().params,
        "last_seq": state.last_seq,
    });
    put_time(&mut value, "started_at", (state.last_seq > 0).then_some(state.started_at));
    put_time(&mut value, "ended_at", view.ended_at);
    value
}

/// The mode that the run is in: the one that was picked, or that a probe has picked.
#[must_use]
pub fn mode_of(view: &RunView) -> Option<&str> {
    let picked = view.plan().mode.as_ref()?;
    Some(view.state().mode.as_ref().map_or(&picked.name, |chosen| &chosen.name))
}

/// Puts a time into a document twice: see [`state_document`].
pub fn put_time(value: &mut Value, name: &str, at: Option<Timestamp>) {
    value[name] = json!(at.map(Timestamp::to_second));
    value[format!("{name}_ms")] = json!(at.map(Timestamp::unix_ms));
}

fn task_value(run: &RunView, view: &TaskView<'_>) -> Value {
    let entry = view.entry;
    let last = entry.last.as_deref();
    let mut value = json!({
        "status": entry.status,
        "attempts": run.attempts_of(view.index),
        "exit_code": last.and_then(segue_core::AttemptReport::exit_code),
        "class": entry.failure.as_ref().map(|(class, _)| class),
        "blocked_by": entry.blocked_by,
    });
    put_time(&mut value, "started_at", entry.started_at);
    put_time(&mut value, "ended_at", entry.ended_at);
    if let Some(items) = &entry.expansion {
        value["items"] = counters(&items.counts);
    }
    if let Some((_, message)) = &entry.failure {
        value["message"] = json!(message);
    }
    if let Some(reason) = &entry.skipped {
        value["skipped"] = json!(reason.to_string());
    }
    if let Some((on, until)) = &entry.waiting {
        let mut waiting = json!({"for": on});
        put_time(&mut waiting, "until", *until);
        if let Some(question) = &entry.waits.question {
            waiting["message"] = json!(question.message);
            waiting["default"] = json!(question.default);
        }
        if let Some(check) = entry.waits.check.as_ref().filter(|check| !check.seen.is_empty()) {
            waiting["seen"] = json!(check.seen);
        }
        value["waiting"] = waiting;
    }
    if let Some(answered) = &entry.waits.answer {
        value["answer"] = json!(answered);
    }
    if let Some(report) = last.filter(|report| !report.outputs.is_empty()) {
        let outputs = report.outputs.iter().map(|(name, value)| (name.clone(), value.to_value()));
        value["outputs"] = outputs.collect();
    }
    value
}

/// How many of a task's items stand how: a counter per status, and `total`.
fn counters(counts: &ItemCounts) -> Value {
    let by_status = TaskStatus::ALL.iter().map(|&status| (status.word(), counts.of(status)));
    let all = by_status.chain([("total", counts.total())]);
    all.map(|(word, count)| (word.to_owned(), json!(count))).collect()
}

fn hardware(hardware: &Hardware) -> Value {
    json!({
        "cpu_cores": hardware.cores,
        "memory_bytes": hardware.memory_bytes,
        "cpu_model": hardware.cpu_model,
        "kind": hardware.kind,
    })
}

/// Writes `state.json` no more often than is useful.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    written_at: Option<Timestamp>,
    dirty: bool,
}

impl StateFile {
    pub(crate) fn new(run_dir: &Path) -> Self {
        Self { path: run_dir.join("state.json"), written_at: None, dirty: false }
    }

    /// The view has changed.
    pub(crate) const fn touch(&mut self) {
        self.dirty = true;
    }

    /// When the next write is due; `None` if nothing has changed since the last.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.dirty.then(|| self.written_at.map_or(Timestamp::default(), |at| at + PAUSE))
    }

    /// Writes the file if it is due or the run has ended.
    pub(crate) fn write_if_due(&mut self, view: &RunView, now: Timestamp) -> Result<(), IoError> {
        let ended = view.status() != RunStatus::Running;
        if !self.dirty || (!ended && self.due().is_some_and(|due| due > now)) {
            return Ok(());
        }
        self.dirty = false;
        self.written_at = Some(now);
        let bytes = serde_json::to_vec(&state_document(view)).unwrap_or_default();
        write_atomic(&self.path, &bytes)
    }
}
