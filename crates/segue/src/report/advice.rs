//! Recommendations: what a person could do now, from what the run shows.

use std::collections::BTreeMap;

use segue_core::{
    FailureClass, Outcome, RunStatus, RunView, StopReason, TaskStatus, TaskView, Teardown,
    TimeLimit,
};

/// How many recommendations a report gives at most.
const RECOMMENDATIONS_MAX: usize = 20;

/// What to do now, most urgent first; empty when nothing needs doing.
pub(super) fn recommendations(view: &RunView) -> Vec<String> {
    let mut found = for_the_run(view);
    let blocked = blocked_by(view);
    for task in view.tasks().filter(|task| task.entry.status == TaskStatus::Failed) {
        found.extend(for_a_failure(&task, blocked.get(task.task.id.as_str()).copied()));
    }
    for task in view.nodes() {
        found.extend(for_what_worked(&task));
        found.extend(for_every_task(&task));
    }
    found.truncate(RECOMMENDATIONS_MAX);
    found
}

fn for_the_run(view: &RunView) -> Vec<String> {
    let Some(run) = &view.state().run else { return Vec::new() };
    match view.status() {
        RunStatus::Interrupted => {
            vec![format!("Go on where it was stopped: `segue resume {run}`.")]
        }
        RunStatus::Failed => {
            vec![format!(
                "Once the causes are mended, `segue resume {run}` runs what did not succeed, and \
                 nothing that did."
            )]
        }
        _ => Vec::new(),
    }
}

/// How many tasks each failed task blocks.
fn blocked_by(view: &RunView) -> BTreeMap<&str, usize> {
    let mut blocked = BTreeMap::new();
    for by in view.tasks().filter_map(|task| task.entry.blocked_by.as_ref()) {
        *blocked.entry(by.as_str()).or_default() += 1;
    }
    blocked
}

fn for_a_failure(task: &TaskView<'_>, blocked: Option<usize>) -> Vec<String> {
    let id = &task.task.id;
    let Some((class, message)) = &task.entry.failure else { return Vec::new() };
    let advice = match class {
        FailureClass::Timeout => match task.task.limits.timeout {
            Some(limit) if !was_the_runs(task) => {
                format!("`{id}` ran into its timeout of {limit}: raise it, or split it.")
            }
            _ => format!("`{id}` ran into the run's timeout: raise `limits.timeout`."),
        },
        FailureClass::Stall => {
            format!("`{id}` fell silent: raise `stall`, or let it print its progress.")
        }
        FailureClass::Spawn => format!("`{id}` {message}."),
        FailureClass::Auth => format!("`{id}` was refused: check its key or its login."),
        FailureClass::Budget => format!("`{id}` used up its budget: give it more, or less to do."),
        FailureClass::Memory => format!("`{id}` ran out of memory: raise `memory_limit`."),
        FailureClass::Quality => format!("`{id}` did not pass its gates: {message}."),
        FailureClass::Output => format!("`{id}` did not deliver what it promises: {message}."),
        class if task.task.retry.attempts == 1 && FailureClass::RETRIED.contains(class) => {
            format!("`{id}` failed ({class}) and has one try: if that can pass, give it `retry`.")
        }
        class => format!("`{id}` failed ({class}): see its stderr and log."),
    };
    let mut found = vec![advice];
    if let Some(count) = blocked {
        let tasks = if count == 1 { "1 task".to_owned() } else { format!("{count} tasks") };
        found.push(format!("Mend `{id}` first: it blocks {tasks}."));
    }
    found
}

/// Whether the task's last attempt was stopped because the run's time was up.
fn was_the_runs(task: &TaskView<'_>) -> bool {
    let report = task.attempts.last().and_then(|attempt| attempt.report.as_deref());
    report.is_some_and(|report| {
        matches!(
            report.outcome,
            Outcome::TimedOut { limit: TimeLimit::Run }
                | Outcome::Cancelled { reason: StopReason::RunTimeout }
        )
    })
}

fn for_what_worked(task: &TaskView<'_>) -> Vec<String> {
    let id = task.label();
    if task.entry.status != TaskStatus::Succeeded {
        return Vec::new();
    }
    let mut found = Vec::new();
    // A feedback round after a gate is the work going as planned, and a person may stop a run.
    let failed = task.attempts.iter().filter(|attempt| {
        let class = attempt.report.as_ref().and_then(|report| report.class);
        class.is_some_and(|c| !matches!(c, FailureClass::Quality | FailureClass::Cancelled))
    });
    match failed.count() {
        0 => {}
        1 => found.push(format!("`{id}` failed once before it succeeded: look at its failure.")),
        n => found.push(format!("`{id}` failed {n} times before it succeeded: look at why.")),
    }
    let spans = task.attempts.last().and_then(|attempt| {
        let report = attempt.report.as_ref()?;
        Some(report.ended_at?.since(report.started_at?))
    });
    if let (Some(took), Some(limit)) = (spans, task.task.limits.timeout)
        && took.0 > limit.0 / 5 * 4
    {
        found.push(format!("`{id}` took {took} of its timeout of {limit}: raise it."));
    }
    found
}

fn for_every_task(task: &TaskView<'_>) -> Vec<String> {
    let id = task.label();
    let mut found = Vec::new();
    for report in task.attempts.iter().filter_map(|attempt| attempt.report.as_deref()) {
        if let Teardown::Unverified { pids } = &report.teardown
            && !pids.is_empty()
        {
            let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
            found.push(format!("`{id}` left processes behind: look at {}.", pids.join(", ")));
        }
        if report.resources.omitted_bytes > 0 {
            found.push(format!("`{id}` printed more than was kept: raise `output_limit`."));
        }
        if report.outcome == Outcome::Lost {
            found.push(format!("`{id}` was lost: its keeper was killed."));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}
