//! The timeline: a bar for each attempt, its waits between them, an axis of elapsed time.
//!
//! Positions along the axis are percentages, so that the chart has the width of its page, however
//! narrow, and its text keeps its size; what a narrow page has no room for carries the class
//! `roomy`. Up to [`ROWS_MAX`] tasks and items have a row each. More are folded: bars share rows in
//! which they do not overlap, so that a thousand items take about as many rows as ran at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::{self, Write};

use segue_core::{AttemptView, FailureClass, Millis, RunView, TaskView, Timestamp};

use super::super::facts::{attempt_duration, began_at, ended_at, failure_words};
use crate::graph::{Escaped, symbol};

/// Tasks that have a row of their own; beyond, rows are shared.
const ROWS_MAX: usize = 80;
/// Rows that are drawn at all.
const FOLDED_ROWS_MAX: usize = 200;
const ROW_HEIGHT: f64 = 22.0;
const AXIS_HEIGHT: f64 = 26.0;
/// How wide the plot is on a wide page, for what is shown only where it has room.
const PLOT_WIDTH: f64 = 900.0;
const NAME_CHARS_MAX: usize = 28;
const CHAR_WIDTH: f64 = 7.3;

/// Where time goes on the picture.
struct Scale {
    begin: Timestamp,
    span: Millis,
}

impl Scale {
    /// In percent of the plot's width.
    fn x(&self, at: Timestamp) -> f64 {
        100.0 * (at.since(self.begin).as_secs_f64() / self.span.as_secs_f64())
    }
}

pub(super) fn write_gantt(out: &mut String, view: &RunView) -> fmt::Result {
    let mut tasks: Vec<TaskView<'_>> =
        view.nodes().filter(|task| !task.attempts.is_empty()).collect();
    tasks.sort_by_key(|task| began_at(&task.attempts[0]));
    let now = view.ended_at.unwrap_or(view.state().last_at);
    let (rows, folded) = rows(&tasks, now);
    let shown = rows.iter().max().map_or(0, |last| last + 1).min(FOLDED_ROWS_MAX);
    let names = tasks.iter().map(|task| task.label().chars().count().min(NAME_CHARS_MAX));
    let chars = if folded { 0 } else { names.max().unwrap_or(0) };
    let begin = view.state().started_at;
    #[expect(clippy::cast_precision_loss, reason = "a count of characters and of rows")]
    let (left, height) = (
        if folded { 14.0 } else { chars as f64 * CHAR_WIDTH + 34.0 },
        AXIS_HEIGHT + shown as f64 * ROW_HEIGHT + 8.0,
    );
    let scale = Scale { begin, span: Millis(now.since(begin).0.max(1)) };
    let drawn = || tasks.iter().zip(&rows).filter(|(_, row)| **row < shown);
    #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
    let y = |row: usize| AXIS_HEIGHT + row as f64 * ROW_HEIGHT;
    writeln!(
        out,
        "<div class=\"gantt\" role=\"img\" aria-label=\"Attempts over time\" \
         style=\"--wide:{left:.0}px\">\n<svg class=\"names\" height=\"{height:.0}\">",
    )?;
    for (task, row) in drawn().filter(|_| !folded) {
        write_name(out, task, y(*row))?;
    }
    writeln!(out, "</svg>\n<svg class=\"plot\" height=\"{height:.0}\">")?;
    write_axis(out, &scale, height)?;
    for (task, row) in drawn() {
        write_task(out, task, &scale, y(*row), folded, now)?;
    }
    out.push_str("</svg></div>");
    Ok(())
}

fn write_name(out: &mut String, task: &TaskView<'_>, y: f64) -> fmt::Result {
    let short: String = task.label().chars().take(NAME_CHARS_MAX).collect();
    let (mark, name) = (symbol(task.entry.status), Escaped(&short));
    write!(out, "<text x=\"8\" y=\"{}\">{mark} {name}</text>", y + 15.0)
}

/// Each task's row, and whether rows are shared.
fn rows(tasks: &[TaskView<'_>], now: Timestamp) -> (Vec<usize>, bool) {
    if tasks.len() <= ROWS_MAX {
        return ((0..tasks.len()).collect(), false);
    }
    // Tasks come in order of their start: each takes the first row that has become free.
    let mut busy = BinaryHeap::new();
    let mut free = BinaryHeap::new();
    let mut count = 0;
    let mut rows = Vec::with_capacity(tasks.len());
    for task in tasks {
        let begin = began_at(&task.attempts[0]);
        while let Some(&Reverse((end, row))) = busy.peek()
            && end <= begin
        {
            busy.pop();
            free.push(Reverse(row));
        }
        let row = free.pop().map_or_else(
            || {
                count += 1;
                count - 1
            },
            |Reverse(row)| row,
        );
        let end = task.attempts.last().and_then(ended_at).unwrap_or(now);
        busy.push(Reverse((end, row)));
        rows.push(row);
    }
    (rows, true)
}

/// Lines at round times, six to twelve of them.
fn write_axis(out: &mut String, scale: &Scale, height: f64) -> fmt::Result {
    const STEPS: [u64; 22] = [
        10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000,
        300_000, 600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 86_400_000,
    ];
    let fits = |step: &&u64| scale.span.0 / **step <= 10;
    let days = 86_400_000 * (scale.span.0 / 864_000_000 + 1);
    let step = STEPS.iter().find(fits).copied().unwrap_or(days);
    let mut at = 0;
    while at <= scale.span.0 {
        let x = scale.x(scale.begin + Millis(at));
        let roomy = if (at / step).is_multiple_of(2) { "" } else { " roomy" };
        write!(
            out,
            "<line class=\"grid\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"{AXIS_HEIGHT}\" \
             y2=\"{height:.0}\"/><text class=\"axis{roomy}\" x=\"{x:.2}%\" y=\"16\" \
             text-anchor=\"middle\">{}</text>",
            tick(at, step),
        )?;
        at += step;
    }
    out.push('\n');
    Ok(())
}

/// A time on the axis, as short as its step allows.
fn tick(ms: u64, step: u64) -> String {
    let seconds = ms / 1000;
    match (ms, step) {
        (0, _) => "0".to_owned(),
        (_, ..100) => format!("{seconds}.{:02}s", ms % 1000 / 10),
        (_, ..1000) => format!("{seconds}.{}s", ms % 1000 / 100),
        (_, ..60_000) if seconds < 60 => format!("{seconds}s"),
        (_, ..60_000) => format!("{}:{:02}", seconds / 60, seconds % 60),
        (_, ..3_600_000) if seconds < 3600 => format!("{}m", seconds / 60),
        _ => format!("{}h{:02}", seconds / 3600, seconds / 60 % 60),
    }
}

fn write_task(
    out: &mut String,
    task: &TaskView<'_>,
    scale: &Scale,
    y: f64,
    folded: bool,
    now: Timestamp,
) -> fmt::Result {
    let label = task.label();
    let id = label.as_str();
    let base = y + 15.0;
    let mut before: Option<Timestamp> = None;
    for attempt in task.attempts {
        if let Some(end) = before {
            let (x, to, middle) = (scale.x(end), scale.x(began_at(attempt)), y + 11.0);
            write!(
                out,
                "<line class=\"gap\" x1=\"{x:.2}%\" x2=\"{to:.2}%\" y1=\"{middle}\" \
                 y2=\"{middle}\"/>",
            )?;
        }
        write_bar(out, task, attempt, scale, y, now)?;
        before = ended_at(attempt);
    }
    let first = &task.attempts[0];
    let width = scale.x(ended_at(first).unwrap_or(now)) - scale.x(began_at(first));
    #[expect(clippy::cast_precision_loss, reason = "a count of characters")]
    let needed = id.chars().count() as f64 * CHAR_WIDTH + 8.0;
    if folded && width / 100.0 * PLOT_WIDTH > needed {
        let x = scale.x(began_at(first));
        let id = Escaped(id);
        write!(out, "<text class=\"in roomy\" x=\"{x:.2}%\" dx=\"4\" y=\"{base}\">{id}</text>")?;
    }
    out.push('\n');
    Ok(())
}

fn write_bar(
    out: &mut String,
    task: &TaskView<'_>,
    attempt: &AttemptView,
    scale: &Scale,
    y: f64,
    now: Timestamp,
) -> fmt::Result {
    let begin = began_at(attempt);
    let x = scale.x(begin);
    let width = scale.x(ended_at(attempt).unwrap_or(now)) - x;
    let (class, words) = match &attempt.report {
        None => ("run", "running".to_owned()),
        Some(report) => match report.class {
            None => ("ok", "succeeded".to_owned()),
            Some(FailureClass::Cancelled) => ("stop", "cancelled".to_owned()),
            Some(_) => ("bad", format!("failed: {}", failure_words(report).unwrap_or_default())),
        },
    };
    write!(
        out,
        "<rect class=\"bar {class}\" x=\"{x:.2}%\" y=\"{}\" style=\"width:max(2px,{width:.2}%)\" \
         height=\"16\" rx=\"2\"><title>{}, attempt {}: {}, {} from {begin}</title></rect>",
        y + 3.0,
        Escaped(&task.label()),
        attempt.number,
        Escaped(&words),
        attempt_duration(attempt, now),
    )?;
    // The outcome by a symbol too, where it has room.
    let room = width / 100.0 * PLOT_WIDTH;
    if room >= 14.0 && class != "ok" {
        let mark = match class {
            "bad" => "✗",
            "stop" => "■",
            _ => "▶",
        };
        let roomy = if room < 60.0 { " roomy" } else { "" };
        write!(
            out,
            "<text class=\"in{roomy}\" x=\"{:.2}%\" dx=\"-12\" y=\"{}\">{mark}</text>",
            x + width,
            y + 15.0
        )?;
    }
    Ok(())
}
