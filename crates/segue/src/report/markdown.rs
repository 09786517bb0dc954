//! `report.md`: the run in prose and tables, for people and for agents that read on.

use std::fmt::{self, Write};

use segue_core::{RunView, TaskView, Timestamp};

use super::advice::recommendations;
use super::facts::{
    attempt_duration, budget_percent, bytes, cost_per_minute, counts, duration, failure_words,
    log_files, shown_items, status_words, task_cost, task_duration, teardown_trouble, totals,
    verdicts, whole_cost,
};

/// Lines of a failed attempt's stderr that the report shows.
const STDERR_LINES_MAX: usize = 20;
/// Items of one task that the report shows.
const ITEMS_MAX: usize = 1000;
/// Failed attempts that the report tells of.
const FAILURES_MAX: usize = 200;
/// Characters of one output's value that the report shows.
const VALUE_CHARS_MAX: usize = 2000;

/// The report as Markdown (CommonMark with tables).
#[must_use]
pub fn markdown(view: &RunView) -> String {
    let mut out = String::new();
    write_all(&mut out, view).expect("a string takes all that is written");
    out
}

fn write_all(out: &mut String, view: &RunView) -> fmt::Result {
    write_summary(out, view)?;
    write_results(out, view)?;
    write_tasks(out, view)?;
    write_verdicts(out, view)?;
    write_failures(out, view)?;
    write_recommendations(out, view)
}

fn write_summary(out: &mut String, view: &RunView) -> fmt::Result {
    let state = view.state();
    writeln!(out, "# Run of {}: {}\n", Inline(&view.plan().workflow), view.status())?;
    writeln!(out, "## Execution Summary\n")?;
    if let Some(run) = &state.run {
        writeln!(out, "- Run: `{run}`")?;
        writeln!(out, "- Started: {}", state.started_at)?;
    }
    match view.ended_at {
        Some(at) => writeln!(out, "- Ended: {at}")?,
        None => writeln!(out, "- Ended: not yet")?,
    }
    writeln!(out, "- Duration: {}", duration(view))?;
    writeln!(out, "- Max concurrent: {}", state.slots)?;
    if let Some(mode) = segue_engine::mode_of(view) {
        writeln!(out, "- Mode: {}", Inline(mode))?;
    }
    if let Some(cost) = view.cost() {
        write!(out, "- Cost: {cost}")?;
        match cost_per_minute(view) {
            Some(rate) => writeln!(out, " (${rate:.2} a minute)")?,
            None => out.push('\n'),
        }
    }
    if let (Some(percent), Some(budget)) = (budget_percent(view), view.plan().limits.budget) {
        writeln!(out, "- Budget: {percent:.1} % of {budget} used")?;
    }
    let totals = totals(view);
    writeln!(out, "- Peak memory of a process: {}", bytes(totals.peak_memory_bytes))?;
    if let Some(peak) = totals.tree_peak_memory_bytes {
        writeln!(out, "- Peak memory of an attempt: {}", bytes(peak))?;
    }
    writeln!(out, "- CPU time: {} user, {} system", totals.user, totals.system)?;
    let hardware = &view.hardware;
    if hardware.cores > 0 {
        writeln!(
            out,
            "- Machine: {}, {} cores, {}, {}",
            hardware.kind,
            hardware.cores,
            bytes(hardware.memory_bytes),
            Inline(&hardware.cpu_model),
        )?;
    }
    Ok(())
}

fn write_results(out: &mut String, view: &RunView) -> fmt::Result {
    writeln!(out, "\n## Results\n")?;
    writeln!(
        out,
        "{} of {} tasks: {}.",
        done(view),
        view.metrics().total,
        counts(&view.metrics())
    )?;
    if let Some(failure) = &view.failure {
        write!(out, "\nThe run failed")?;
        if let Some(task) = &failure.task {
            write!(out, " at `{}`", Code(task.as_str()))?;
        }
        writeln!(out, ": {}: {}", failure.class, Inline(&failure.message))?;
    }
    if !view.outputs.is_empty() {
        writeln!(out, "\n### Outputs\n")?;
        for (name, value) in &view.outputs {
            writeln!(out, "- **{}**: {}", Inline(name), value_words(value))?;
        }
    }
    let files = view.nodes().flat_map(|task| {
        let files = task.entry.last.iter().flat_map(|report| &report.files);
        files.map(move |path| (path, task.label()))
    });
    for (count, (path, task)) in files.enumerate() {
        if count == 0 {
            writeln!(out, "\n### Files\n")?;
        }
        writeln!(out, "- `{}` ({})", Code(path), Inline(&task))?;
    }
    Ok(())
}

/// How many tasks have ended.
fn done(view: &RunView) -> usize {
    let counts = view.metrics().counts.into_iter();
    counts.filter(|(status, _)| status.is_final()).map(|(_, count)| count).sum()
}

fn value_words(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let short: String = text.chars().take(VALUE_CHARS_MAX).collect();
    let more = if short.len() < text.len() { " …" } else { "" };
    if short.contains('\n') {
        return format!("\n\n{}\n", fenced(&short));
    }
    format!("{}{more}", Inline(&short))
}

fn write_tasks(out: &mut String, view: &RunView) -> fmt::Result {
    let now = view.state().last_at;
    writeln!(out, "\n## Task Details\n")?;
    writeln!(out, "| Task | Status | Duration | Attempts | Cost |")?;
    writeln!(out, "| --- | --- | ---: | ---: | ---: |")?;
    for task in view.tasks() {
        let dash = || "–".to_owned();
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            Inline(task.task.id.as_str()),
            Inline(&status_words(&task)),
            task_duration(&task, now).map_or_else(dash, |span| span.to_string()),
            view.attempts_of(task.index),
            whole_cost(view, &task).map_or_else(dash, |cost| cost.to_string()),
        )?;
    }
    for task in view.tasks().filter(|task| view.items(task.index).len() > 0) {
        write_items(out, view, &task)?;
    }
    Ok(())
}

fn write_items(out: &mut String, view: &RunView, task: &TaskView<'_>) -> fmt::Result {
    let now = view.state().last_at;
    writeln!(out, "\n### Items of {}\n", Inline(task.task.id.as_str()))?;
    writeln!(out, "| Item | Status | Duration | Attempts | Cost |")?;
    writeln!(out, "| --- | --- | ---: | ---: | ---: |")?;
    let (items, hidden) = shown_items(view, task, ITEMS_MAX);
    for item in items {
        let dash = || "–".to_owned();
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            Inline(&item.item.map_or_else(String::new, |item| item.key.shown())),
            Inline(&status_words(&item)),
            task_duration(&item, now).map_or_else(dash, |span| span.to_string()),
            item.attempts.len(),
            task_cost(&item).map_or_else(dash, |cost| cost.to_string()),
        )?;
    }
    if hidden > 0 {
        writeln!(out, "\nAnd {hidden} more; report.json has them all.")?;
    }
    Ok(())
}

fn write_verdicts(out: &mut String, view: &RunView) -> fmt::Result {
    for (count, verdict) in verdicts(view).enumerate() {
        if count == 0 {
            writeln!(out, "\n## Gates\n")?;
            writeln!(out, "| Task | Attempt | Gate | Verdict | Seen |")?;
            writeln!(out, "| --- | ---: | --- | --- | --- |")?;
        }
        let finding = verdict.finding;
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            Inline(&verdict.task.label()),
            verdict.number,
            Inline(&finding.gate),
            if finding.passed { "passed" } else { "failed" },
            Inline(&finding.detail),
        )?;
    }
    Ok(())
}

fn write_failures(out: &mut String, view: &RunView) -> fmt::Result {
    let mut first = true;
    let mut left = FAILURES_MAX;
    for task in view.nodes() {
        let failed = task.attempts.iter().filter(|attempt| {
            attempt.report.as_ref().is_some_and(|report| {
                report.class.is_some() || teardown_trouble(&report.teardown).is_some()
            })
        });
        for attempt in failed {
            if std::mem::take(&mut first) {
                writeln!(out, "\n## Failures")?;
            }
            if left == 0 {
                return writeln!(out, "\nAnd more, which report.json has.");
            }
            left -= 1;
            write_failure(out, &task, attempt, view.state().last_at)?;
        }
    }
    Ok(())
}

fn write_failure(
    out: &mut String,
    task: &TaskView<'_>,
    attempt: &segue_core::AttemptView,
    now: Timestamp,
) -> fmt::Result {
    let Some(report) = &attempt.report else { return Ok(()) };
    let took = attempt_duration(attempt, now);
    let (label, number) = (task.label(), attempt.number);
    let id = Inline(&label);
    writeln!(out, "\n### {id}, attempt {number}\n")?;
    if let Some(words) = failure_words(report) {
        writeln!(out, "After {took}: {}", Inline(&words))?;
    }
    if let Some(trouble) = teardown_trouble(&report.teardown) {
        writeln!(out, "\n{trouble}.")?;
    }
    if !report.stderr_tail.trim().is_empty() {
        let lines: Vec<&str> = report.stderr_tail.trim_end().lines().collect();
        let tail = lines[lines.len().saturating_sub(STDERR_LINES_MAX)..].join("\n");
        writeln!(out, "\n{}", fenced(&tail))?;
    }
    let logs: Vec<String> =
        log_files(task, attempt).iter().map(|path| format!("`{}`", Code(path))).collect();
    if !logs.is_empty() {
        writeln!(out, "\nLogs: {}", logs.join(", "))?;
    }
    Ok(())
}

fn write_recommendations(out: &mut String, view: &RunView) -> fmt::Result {
    writeln!(out, "\n## Recommendations\n")?;
    let recommendations = recommendations(view);
    if recommendations.is_empty() {
        writeln!(out, "None.")?;
    }
    for recommendation in &recommendations {
        writeln!(out, "- {}", Inline(recommendation))?;
    }
    Ok(())
}

/// Text within a line or a table's cell: no markup but code spans without markup's characters
/// in them, no newlines.
struct Inline<'a>(&'a str);

impl fmt::Display for Inline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut in_code = false;
        let balanced = self.0.matches('`').count().is_multiple_of(2);
        for c in self.0.chars() {
            match c {
                '`' if balanced => {
                    in_code = !in_code;
                    f.write_char('`')?;
                }
                '|' | '`' => write!(f, "\\{c}")?,
                '\\' | '*' | '[' | ']' | '<' | '>' | '#' if !in_code => write!(f, "\\{c}")?,
                c if c.is_whitespace() => f.write_char(' ')?,
                c if c.is_control() => {}
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Text within a code span of one backtick.
struct Code<'a>(&'a str);

impl fmt::Display for Code<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars().filter(|c| !c.is_control()) {
            f.write_char(if c == '`' { '\'' } else { c })?;
        }
        Ok(())
    }
}

/// A code block that its text cannot close.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let text: String =
        text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    format!("{fence}text\n{text}\n{fence}")
}
