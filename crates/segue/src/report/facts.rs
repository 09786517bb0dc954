//! What more than one face shows of a run: spans, sums, verdicts.

use segue_core::{
    AttemptReport, AttemptView, Finding, ItemCounts, Metrics, Millis, Resources, RunView,
    TaskStatus, TaskView, Teardown, Timestamp, Usd, WaitingOn,
};

/// The run's time so far: until its end, or its last event.
pub(crate) fn duration(view: &RunView) -> Millis {
    let state = view.state();
    view.ended_at.unwrap_or(state.last_at).since(state.started_at)
}

/// The counters in words, those at zero left out: `3 succeeded, 1 failed`.
pub(crate) fn counts(metrics: &Metrics) -> String {
    let some = metrics.counts.iter().filter(|(_, count)| *count > 0);
    let mut words: Vec<String> = some.map(|(status, count)| format!("{count} {status}")).collect();
    match metrics.retries {
        0 => {}
        1 => words.push("1 retry".to_owned()),
        count => words.push(format!("{count} retries")),
    }
    if words.is_empty() { "no tasks".to_owned() } else { words.join(", ") }
}

/// A task's items in words: `3 items: 2 succeeded, 1 failed`.
pub(crate) fn item_words(counts: &ItemCounts) -> String {
    let some = TaskStatus::ALL.iter().map(|&status| (status, counts.of(status)));
    let some = some.filter(|(_, count)| *count > 0);
    let words: Vec<String> = some.map(|(status, count)| format!("{count} {status}")).collect();
    match counts.total() {
        0 => "no items".to_owned(),
        1 => format!("1 item: {}", words.join(", ")),
        total => format!("{total} items: {}", words.join(", ")),
    }
}

/// What a task's attempts and those of its items cost together; `None` if none told.
pub(crate) fn whole_cost(view: &RunView, task: &TaskView<'_>) -> Option<Usd> {
    let own = task.item.is_none().then(|| view.items(task.index));
    let costs = own.into_iter().flatten().filter_map(|item| task_cost(&item));
    costs.chain(task_cost(task)).fold(None, |sum: Option<Usd>, cost| {
        let mut sum = sum.unwrap_or_default();
        sum += cost;
        Some(sum)
    })
}

/// The items of a task that a table shows: failed ones first, at most `max`; and how many it
/// leaves out.
pub(crate) fn shown_items<'a>(
    view: &'a RunView,
    task: &TaskView<'_>,
    max: usize,
) -> (Vec<TaskView<'a>>, usize) {
    let mut items: Vec<TaskView<'_>> = view.items(task.index).collect();
    if items.len() > max {
        items.sort_by_key(|item| item.entry.status != TaskStatus::Failed);
    }
    let hidden = items.len().saturating_sub(max);
    items.truncate(max);
    (items, hidden)
}

/// When an attempt's process began: its own word, else when it got its slot.
pub(super) fn began_at(attempt: &AttemptView) -> Timestamp {
    attempt.report.as_ref().and_then(|report| report.started_at).unwrap_or(attempt.dispatched_at)
}

/// When an attempt ended; `None` while it runs.
pub(super) fn ended_at(attempt: &AttemptView) -> Option<Timestamp> {
    attempt.report.as_ref().and_then(|report| report.ended_at).or(attempt.ended_at)
}

/// How long an attempt took, or has taken until `now`.
pub(super) fn attempt_duration(attempt: &AttemptView, now: Timestamp) -> Millis {
    ended_at(attempt).unwrap_or(now).since(began_at(attempt))
}

/// How long a task took from its first attempt to its end; `None` if it never started.
pub(super) fn task_duration(task: &TaskView<'_>, now: Timestamp) -> Option<Millis> {
    Some(task.entry.ended_at.unwrap_or(now).since(task.entry.started_at?))
}

/// What a task's attempts cost together; `None` if none told.
pub(crate) fn task_cost(task: &TaskView<'_>) -> Option<Usd> {
    let mut sum = None;
    for cost in task.attempts.iter().filter_map(|attempt| attempt.report.as_ref()?.cost) {
        *sum.get_or_insert(Usd::default()) += cost;
    }
    sum
}

/// A task's status with its reason, where there is one: `skipped: not selected`. A failure's
/// reason is told by its attempts.
pub(super) fn status_words(task: &TaskView<'_>) -> String {
    let (entry, status) = (task.entry, task.entry.status);
    let reason = match status {
        TaskStatus::Skipped => entry.skipped.as_ref().map(|reason| format!(": {reason}")),
        TaskStatus::Blocked => entry.blocked_by.as_ref().map(|by| format!(" by `{by}`")),
        TaskStatus::Waiting => entry.waiting.as_ref().map(|(on, _)| match on {
            WaitingOn::Retry => " for its retry".to_owned(),
            WaitingOn::Precheck => " for its precheck".to_owned(),
            WaitingOn::Approval => " for an answer".to_owned(),
            WaitingOn::Lock { key } => format!(" for group `{key}`"),
        }),
        _ => None,
    };
    let items =
        task.entry.expansion.as_ref().map(|items| format!("; {}", item_words(&items.counts)));
    format!("{status}{}{}", reason.unwrap_or_default(), items.unwrap_or_default())
}

/// A failed attempt in one line: class, message, and the outcome where the message does not
/// say it; `None` if it did not fail.
pub(super) fn failure_words(report: &AttemptReport) -> Option<String> {
    let class = report.class?;
    let outcome = report.outcome.to_string();
    Some(match report.message.as_str() {
        "" => format!("{class}: {outcome}"),
        message if message.contains(&outcome) || report.exit_code() == Some(0) => {
            format!("{class}: {message}")
        }
        message => format!("{class}: {message} ({outcome})"),
    })
}

/// A verdict with where it was given.
pub(super) struct Verdict<'a> {
    pub(super) task: TaskView<'a>,
    pub(super) number: u32,
    pub(super) finding: &'a Finding,
}

/// Everything gates said, in the order of tasks and attempts.
pub(super) fn verdicts(view: &RunView) -> impl Iterator<Item = Verdict<'_>> {
    view.nodes().flat_map(|task| {
        task.attempts.iter().flat_map(move |attempt| {
            let findings = attempt.report.iter().flat_map(|report| &report.findings);
            findings.map(move |finding| Verdict { task, number: attempt.number, finding })
        })
    })
}

/// Sums over all ended attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) peak_memory_bytes: u64,
    /// Of a whole tree, where one was looked at.
    pub(super) tree_peak_memory_bytes: Option<u64>,
    pub(super) user: Millis,
    pub(super) system: Millis,
}

pub(super) fn totals(view: &RunView) -> Totals {
    let reports = view.nodes().flat_map(|task| task.attempts.iter());
    let mut totals = Totals::default();
    for report in reports.filter_map(|attempt| attempt.report.as_ref()) {
        let resources = &report.resources;
        totals.peak_memory_bytes = totals.peak_memory_bytes.max(resources.peak_memory_bytes);
        totals.tree_peak_memory_bytes =
            totals.tree_peak_memory_bytes.max(resources.tree_peak_memory_bytes);
        totals.user.0 = totals.user.0.saturating_add(resources.user_ms);
        totals.system.0 = totals.system.0.saturating_add(resources.system_ms);
    }
    totals
}

/// Dollars per minute of the run; `None` without a cost or a duration.
pub(super) fn cost_per_minute(view: &RunView) -> Option<f64> {
    let minutes = duration(view).as_secs_f64() / 60.0;
    view.cost().filter(|_| minutes > 0.0).map(|cost| cost.dollars() / minutes)
}

/// How much of the run's budget is used, of a hundred; `None` without a budget.
/// Attempts that told no cost count as none.
pub(super) fn budget_percent(view: &RunView) -> Option<f64> {
    let budget = view.plan().limits.budget.filter(|budget| budget.0 > 0)?;
    let cost = view.cost().unwrap_or_default();
    Some(cost.dollars() * 100.0 / budget.dollars())
}

/// The files that an attempt's output went to, relative to the run's folder: those that were made.
pub(super) fn log_files(task: &TaskView<'_>, attempt: &AttemptView) -> Vec<String> {
    let id = task.attempt_id(attempt.number);
    let resources = attempt.report.as_ref().map(|report| &report.resources);
    let made = |bytes: fn(&Resources) -> u64| resources.is_none_or(|r| bytes(r) > 0);
    let stdout = made(|resources| resources.stdout_bytes).then_some("stdout.log");
    let stderr = made(|resources| resources.stderr_bytes).then_some("stderr.log");
    let names = [stdout, stderr].into_iter().flatten();
    names.map(|name| format!("attempts/{}/{name}", id.folder())).collect()
}

/// What was seen of an attempt's processes, in words; `None` where all is well.
pub(super) fn teardown_trouble(teardown: &Teardown) -> Option<String> {
    match teardown {
        Teardown::Unverified { pids } if pids.is_empty() => {
            Some("teardown unverified: nobody saw its last process end".to_owned())
        }
        Teardown::Unverified { pids } => {
            let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
            Some(format!("teardown unverified: processes {} may still run", pids.join(", ")))
        }
        Teardown::Verified { stragglers } if *stragglers > 0 => {
            Some(format!("{stragglers} processes outlived it and were killed"))
        }
        Teardown::Verified { .. } | Teardown::None => None,
    }
}

/// Bytes as people say them: `42.0 MiB`.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}
