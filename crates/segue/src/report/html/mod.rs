//! `report.html`: one page that needs nothing else: no script, no request, light and dark.
//!
//! Status is always said by word. What makes the page large is bounded: log tails, rows of the
//! chart, characters of a value.

use std::fmt::{self, Write};

use segue_core::{AttemptId, RunView};

use super::advice::recommendations;
use super::facts::{budget_percent, bytes, cost_per_minute, duration, totals, verdicts};
use crate::graph::{self, Escaped, run_symbol, symbol};

mod gantt;
mod tasks;

/// Characters of one output's value that the page shows.
const VALUE_CHARS_MAX: usize = 4000;
/// Plans above this many tasks are not drawn: nobody finds anything in the picture.
const GRAPH_TASKS_MAX: usize = 3000;

/// The report as a page. `logs` gives the tail of an attempt's log; it is asked for at most
/// 200 attempts, failed ones first.
#[must_use]
pub fn html(view: &RunView, logs: &dyn Fn(&AttemptId) -> Option<String>) -> String {
    let mut out = String::new();
    write_page(&mut out, view, logs).expect("a string takes all that is written");
    out
}

fn write_page(
    out: &mut String,
    view: &RunView,
    logs: &dyn Fn(&AttemptId) -> Option<String>,
) -> fmt::Result {
    let (workflow, status) = (Escaped(&view.plan().workflow), view.status());
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"generator\" content=\"segue\">\n\
         <title>{workflow}: {status}</title>\n<style>\n{}</style></head>\n<body>",
        include_str!("page.css"),
    )?;
    write_header(out, view)?;
    writeln!(out, "<main>")?;
    write_outputs(out, view)?;
    write_recommendations(out, view)?;
    if view.nodes().any(|task| !task.attempts.is_empty()) {
        out.push_str("<h2>Timeline</h2>\n<div class=\"scroll\" tabindex=\"0\">");
        gantt::write_gantt(out, view)?;
        out.push_str("</div>\n");
    }
    let count = view.plan().tasks.len();
    if (1..=GRAPH_TASKS_MAX).contains(&count) {
        out.push_str("<h2>Graph</h2>\n<div class=\"scroll\" tabindex=\"0\">");
        out.push_str(&graph::svg(view.plan(), Some(view)));
        out.push_str("</div>\n");
    }
    tasks::write_tasks(out, view, logs)?;
    write_verdicts(out, view)?;
    write_hardware(out, view)?;
    out.push_str("</main>\n</body></html>\n");
    Ok(())
}

fn write_header(out: &mut String, view: &RunView) -> fmt::Result {
    let (state, status) = (view.state(), view.status());
    write!(
        out,
        "<header><h1>{} <span class=\"status {status}\">{} {status}</span></h1>\n\
         <div class=\"faint\">",
        Escaped(&view.plan().workflow),
        run_symbol(status),
    )?;
    if let Some(run) = &state.run {
        write!(out, "<code>{run}</code> · started {}", time(state.started_at))?;
    }
    match view.ended_at {
        Some(at) => write!(out, " · ended {}", time(at))?,
        None => out.push_str(" · not ended"),
    }
    out.push_str("</div>\n<dl class=\"facts\">\n");
    fact(out, "Duration", &duration(view).to_string())?;
    if let Some(mode) = segue_engine::mode_of(view) {
        fact(out, "Mode", mode)?;
    }
    let cost = view.cost().map_or("–".to_owned(), |cost| cost.to_string());
    fact(out, "Cost", &cost)?;
    if let Some(rate) = cost_per_minute(view) {
        fact(out, "Cost a minute", &format!("${rate:.2}"))?;
    }
    if let (Some(percent), Some(budget)) = (budget_percent(view), view.plan().limits.budget) {
        fact(out, "Budget used", &format!("{percent:.1} % of {budget}"))?;
    }
    let metrics = view.metrics();
    fact(out, "Tasks", &metrics.total.to_string())?;
    for (status, count) in metrics.counts.iter().filter(|(_, count)| *count > 0) {
        writeln!(
            out,
            "<div><dt>{status}</dt><dd class=\"{status}\">{} {count}</dd></div>",
            symbol(*status),
        )?;
    }
    fact(out, "retries", &metrics.retries.to_string())?;
    out.push_str("</dl>\n");
    if let Some(failure) = &view.failure {
        out.push_str("<p class=\"note\" role=\"note\">The run failed");
        if let Some(task) = &failure.task {
            write!(out, " at <code>{}</code>", Escaped(task.as_str()))?;
        }
        writeln!(out, ": {}: {}</p>", failure.class, Escaped(&failure.message))?;
    }
    writeln!(out, "</header>")
}

fn fact(out: &mut String, name: &str, value: &str) -> fmt::Result {
    writeln!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", Escaped(value))
}

/// A time to the second, as UTC.
fn time(at: segue_core::Timestamp) -> String {
    let shown = at.to_jiff().strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    format!("<time datetime=\"{at}\">{shown}</time>")
}

fn write_outputs(out: &mut String, view: &RunView) -> fmt::Result {
    if view.outputs.is_empty() {
        return Ok(());
    }
    out.push_str("<h2>Outputs</h2>\n<table><tbody>\n");
    for (name, value) in &view.outputs {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            value => serde_json::to_string_pretty(value).unwrap_or_default(),
        };
        let (short, more) = match text.char_indices().nth(VALUE_CHARS_MAX) {
            Some((at, _)) => (&text[..at], " …"),
            None => (text.as_str(), ""),
        };
        let (open, close) =
            if short.contains('\n') { ("<pre>", "</pre>") } else { ("<code>", "</code>") };
        let (name, value) = (Escaped(name), Escaped(short));
        writeln!(out, "<tr><th scope=\"row\">{name}</th><td>{open}{value}{more}{close}</td></tr>")?;
    }
    out.push_str("</tbody></table>\n");
    Ok(())
}

fn write_recommendations(out: &mut String, view: &RunView) -> fmt::Result {
    let recommendations = recommendations(view);
    if recommendations.is_empty() {
        return Ok(());
    }
    out.push_str("<h2>Recommendations</h2>\n<ul>\n");
    for recommendation in &recommendations {
        out.push_str("<li>");
        write_coded(out, recommendation)?;
        out.push_str("</li>\n");
    }
    out.push_str("</ul>\n");
    Ok(())
}

/// Text in which pairs of backticks are code, as in the Markdown report; without pairs they are
/// just backticks.
fn write_coded(out: &mut String, text: &str) -> fmt::Result {
    if !text.matches('`').count().is_multiple_of(2) {
        return write!(out, "{}", Escaped(text));
    }
    for (place, part) in text.split('`').enumerate() {
        match place % 2 {
            0 => write!(out, "{}", Escaped(part))?,
            _ => write!(out, "<code>{}</code>", Escaped(part))?,
        }
    }
    Ok(())
}

fn write_verdicts(out: &mut String, view: &RunView) -> fmt::Result {
    let mut verdicts = verdicts(view).peekable();
    if verdicts.peek().is_none() {
        return Ok(());
    }
    out.push_str("<h2>Gates</h2>\n<div class=\"scroll\" tabindex=\"0\"><table><thead><tr>");
    out.push_str("<th>Task</th><th class=\"n\">Attempt</th><th>Gate</th><th>Verdict</th>");
    out.push_str("<th>Seen</th></tr></thead><tbody>\n");
    for verdict in verdicts {
        let finding = verdict.finding;
        let (class, word) =
            if finding.passed { ("succeeded", "✓ passed") } else { ("no", "✗ failed") };
        write!(
            out,
            "<tr><td class=\"mono\">{}</td><td class=\"n\">{}</td><td>{}</td>\
             <td class=\"status {class}\">{word}</td><td>",
            Escaped(&verdict.task.label()),
            verdict.number,
            Escaped(&finding.gate),
        )?;
        write_coded(out, &finding.detail)?;
        out.push_str("</td></tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    Ok(())
}

fn write_hardware(out: &mut String, view: &RunView) -> fmt::Result {
    let (hardware, totals) = (&view.hardware, totals(view));
    out.push_str("<h2>Machine and resources</h2>\n<dl class=\"facts\">\n");
    if hardware.cores > 0 {
        fact(out, "Kind", &hardware.kind)?;
        fact(out, "Cores", &hardware.cores.to_string())?;
        fact(out, "Memory", &bytes(hardware.memory_bytes))?;
        fact(out, "Processor", &hardware.cpu_model)?;
    }
    fact(out, "At once", &view.state().slots.to_string())?;
    fact(out, "Peak memory of a process", &bytes(totals.peak_memory_bytes))?;
    if let Some(peak) = totals.tree_peak_memory_bytes {
        fact(out, "Peak memory of an attempt", &bytes(peak))?;
    }
    fact(out, "CPU time, user", &totals.user.to_string())?;
    fact(out, "CPU time, system", &totals.system.to_string())?;
    out.push_str("</dl>\n");
    Ok(())
}
