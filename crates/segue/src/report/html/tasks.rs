//! The table of tasks, and below each what there is to know of its attempts.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use segue_core::{AttemptId, AttemptView, RunView, TaskStatus, TaskView, Timestamp};

use super::super::facts::{
    attempt_duration, bytes, failure_words, item_words, log_files, shown_items, status_words,
    task_duration, teardown_trouble, whole_cost,
};
use crate::graph::{Escaped, symbol};

/// How many attempts' log tails the page holds at most.
pub(super) const LOGS_MAX: usize = 200;
/// How many items of one task the page shows.
const ITEMS_MAX: usize = 1000;
/// Bytes of one log tail that the page shows.
const LOG_BYTES_MAX: usize = 8 << 10;

/// The log tails that are shown, by attempt.
type Logs = BTreeMap<AttemptId, String>;

pub(super) fn write_tasks(
    out: &mut String,
    view: &RunView,
    logs: &dyn Fn(&AttemptId) -> Option<String>,
) -> fmt::Result {
    let logs = chosen_logs(view, logs);
    out.push_str("<h2>Tasks</h2>\n<table class=\"tasks\"><thead><tr><th>Task</th><th>Status</th>");
    out.push_str("<th class=\"n\">Duration</th><th class=\"n\">Attempts</th>");
    out.push_str("<th class=\"n\">Cost</th><th class=\"n\">Exit code</th></tr></thead><tbody>\n");
    let now = view.ended_at.unwrap_or(view.state().last_at);
    for task in view.tasks() {
        write_row(out, view, &task, &logs, now)?;
    }
    if view.plan().tasks.is_empty() {
        out.push_str("<tr><td colspan=\"6\">no tasks</td></tr>\n");
    }
    out.push_str("</tbody></table>\n");
    Ok(())
}

/// The log tails that are shown: those of failed attempts first, then in file order.
fn chosen_logs(view: &RunView, logs: &dyn Fn(&AttemptId) -> Option<String>) -> Logs {
    let attempts = || view.nodes().flat_map(|task| task.attempts.iter().map(move |a| (task, a)));
    let failed = |(_, attempt): &(TaskView<'_>, &AttemptView)| {
        attempt.report.as_ref().is_some_and(|report| report.class.is_some())
    };
    let first = attempts().filter(failed);
    let chosen = first.chain(attempts().filter(|attempt| !failed(attempt))).take(LOGS_MAX);
    chosen
        .filter_map(|(task, attempt)| {
            let id = task.attempt_id(attempt.number);
            let text = logs(&id)?;
            let mut from = text.len().saturating_sub(LOG_BYTES_MAX);
            while !text.is_char_boundary(from) {
                from += 1;
            }
            let text = console::strip_ansi_codes(&text[from..]).into_owned();
            (!text.trim().is_empty()).then_some((id, text))
        })
        .collect()
}

fn write_row(
    out: &mut String,
    view: &RunView,
    task: &TaskView<'_>,
    logs: &Logs,
    now: Timestamp,
) -> fmt::Result {
    let status = task.entry.status;
    let dash = || "–".to_owned();
    let last = task.attempts.last().and_then(|attempt| attempt.report.as_ref());
    let code = last.and_then(|report| report.exit_code());
    let items = if task.item.is_none() { view.items(task.index).len() } else { 0 };
    let attempts = if items > 0 { view.attempts_of(task.index) } else { task.attempts.len() };
    let name = match task.item {
        Some(item) => item.key.shown(),
        None => task.task.id.to_string(),
    };
    let more = items > 0 || !task.attempts.is_empty();
    write!(
        out,
        "<tr{}><td class=\"mono\">{}</td><td><span class=\"status {status}\">{}</span> ",
        if more { " class=\"has\"" } else { "" },
        Escaped(&name),
        symbol(status),
    )?;
    super::write_coded(out, &status_words(task))?;
    let cells = [
        ("took", task_duration(task, now).map_or_else(dash, |span| span.to_string())),
        ("attempts", attempts.to_string()),
        ("cost", whole_cost(view, task).map_or_else(dash, |cost| cost.to_string())),
        ("exit", code.map_or_else(dash, |code| code.to_string())),
    ];
    out.push_str("</td>");
    for (label, text) in cells {
        write!(out, "<td class=\"n\" data-label=\"{label}\">{text}</td>")?;
    }
    out.push_str("</tr>\n");
    if more {
        out.push_str("<tr class=\"more\"><td colspan=\"6\">");
        if items > 0 {
            write_items(out, view, task, logs, now)?;
        }
        for attempt in task.attempts {
            let log = logs.get(&task.attempt_id(attempt.number));
            write_attempt(out, task, attempt, log, now)?;
        }
        out.push_str("</td></tr>\n");
    }
    Ok(())
}

/// A task's items in a table of their own, shut but where one failed.
fn write_items(
    out: &mut String,
    view: &RunView,
    task: &TaskView<'_>,
    logs: &Logs,
    now: Timestamp,
) -> fmt::Result {
    let Some(expansion) = &task.entry.expansion else { return Ok(()) };
    let open = if task.entry.status == TaskStatus::Failed { " open" } else { "" };
    write!(out, "<details{open}><summary>{}</summary>", item_words(&expansion.counts))?;
    out.push_str("<table class=\"tasks\"><thead><tr><th>Item</th><th>Status</th>");
    out.push_str("<th class=\"n\">Duration</th><th class=\"n\">Attempts</th>");
    out.push_str("<th class=\"n\">Cost</th><th class=\"n\">Exit code</th></tr></thead><tbody>\n");
    let (items, hidden) = shown_items(view, task, ITEMS_MAX);
    for item in &items {
        write_row(out, view, item, logs, now)?;
    }
    if hidden > 0 {
        write!(out, "<tr><td colspan=\"6\">and {hidden} more, in report.json</td></tr>")?;
    }
    out.push_str("</tbody></table></details>\n");
    Ok(())
}

fn write_attempt(
    out: &mut String,
    task: &TaskView<'_>,
    attempt: &AttemptView,
    log: Option<&String>,
    now: Timestamp,
) -> fmt::Result {
    let took = attempt_duration(attempt, now);
    // The last failure of a failed task is what people look for: it stands open.
    let is_last = task.attempts.last().is_some_and(|last| last.number == attempt.number);
    let open = if is_last && task.entry.status == TaskStatus::Failed { " open" } else { "" };
    write!(out, "<details{open}><summary>attempt {}: ", attempt.number)?;
    let Some(report) = &attempt.report else {
        write!(out, "running for {took}</summary>")?;
        write_pre(out, "Log", log.map_or("", String::as_str))?;
        out.push_str("</details>");
        return Ok(());
    };
    match failure_words(report) {
        Some(words) => {
            let word = match report.class {
                Some(segue_core::FailureClass::Cancelled) => "stopped",
                _ => "<span class=\"no\">failed</span>",
            };
            write!(out, "{word} after {took}: ")?;
            super::write_coded(out, &words)?;
        }
        None => write!(out, "succeeded in {took}")?,
    }
    out.push_str("</summary>\n<ul class=\"verdicts\">");
    for finding in &report.findings {
        let word = if finding.passed { "✓ passed" } else { "✗ failed" };
        write!(out, "<li>gate {}: {word}: ", Escaped(&finding.gate))?;
        super::write_coded(out, &finding.detail)?;
        out.push_str("</li>");
    }
    if let Some(trouble) = teardown_trouble(&report.teardown) {
        write!(out, "<li>{}</li>", Escaped(&trouble))?;
    }
    let resources = &report.resources;
    write!(
        out,
        "<li class=\"faint\">{} · peak memory {} · printed {}</li></ul>",
        Escaped(&report.outcome.to_string()),
        bytes(resources.tree_peak_memory_bytes.unwrap_or(resources.peak_memory_bytes)),
        bytes(resources.stdout_bytes.saturating_add(resources.stderr_bytes)),
    )?;
    write_links(out, task, attempt)?;
    write_outputs(out, attempt)?;
    write_pre(out, "Last lines of stderr", &console::strip_ansi_codes(&report.stderr_tail))?;
    write_pre(out, "Log", log.map_or("", String::as_str))?;
    out.push_str("</details>\n");
    Ok(())
}

/// Links to the attempt's logs, which lie beside the page in the run's folder.
fn write_links(out: &mut String, task: &TaskView<'_>, attempt: &AttemptView) -> fmt::Result {
    let paths = log_files(task, attempt);
    for (place, path) in paths.iter().enumerate() {
        let before = if place == 0 { "<div class=\"faint\">files: " } else { ", " };
        // A folder's name has `%` in place of what no URL may have; here it is a name again.
        let (link, path) = (path.replace('%', "%25"), Escaped(path));
        write!(out, "{before}<a href=\"{}\"><code>{path}</code></a>", Escaped(&link))?;
    }
    out.push_str(if paths.is_empty() { "" } else { "</div>\n" });
    Ok(())
}

fn write_outputs(out: &mut String, attempt: &AttemptView) -> fmt::Result {
    let outputs = attempt.report.iter().flat_map(|report| &report.outputs);
    for (name, value) in outputs {
        let value = value.to_value().to_string();
        let short: String = value.chars().take(200).collect();
        let more = if short.len() < value.len() { " …" } else { "" };
        let (name, short) = (Escaped(name), Escaped(&short));
        writeln!(out, "<div>output {name}: <code>{short}{more}</code></div>")?;
    }
    Ok(())
}

fn write_pre(out: &mut String, title: &str, text: &str) -> fmt::Result {
    let text = text.trim_end();
    if text.trim().is_empty() {
        return Ok(());
    }
    writeln!(out, "<div class=\"faint\">{title}</div><pre>{}</pre>", Escaped(text))
}
