//! What the live screen shows: its permanent lines and its rows, as text. It draws nothing.

use std::sync::Arc;

use segue_core::{
    AttemptId, ItemCounts, ItemKey, Plan, Recorded, RunView, TaskIndex, TaskStatus, TaskView,
    Timestamp, WaitingOn,
};

use super::plain::coloured;
use super::teller::{Line, Teller, Tone};
use crate::graph::{run_symbol, symbol};
use crate::report::duration;

/// Rows that are left to what stands above: the prompt, and a little history.
const ROWS_LEFT: usize = 3;

/// The live screen's contents: a fold of its own of the run's events.
#[derive(Debug)]
pub(super) struct Screen {
    view: RunView,
    teller: Teller,
    colour: bool,
    /// What is shown in rows: running tasks, the oldest first, each with its items under way,
    /// then waiting ones.
    active: Vec<(TaskIndex, Option<ItemKey>)>,
}

/// The size of the terminal, and the time it is drawn for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) now: Timestamp,
}

impl Screen {
    pub(super) fn new(plan: Arc<Plan>, colour: bool) -> Self {
        let teller = Teller::new(&plan);
        Self { view: RunView::new(plan), teller, colour, active: Vec::new() }
    }

    /// Takes in events that are history: they are not told.
    pub(super) fn recall(&mut self, events: &[Recorded]) {
        self.take(events);
    }

    /// Takes in events and gives the lines that stay.
    pub(super) fn take(&mut self, events: &[Recorded]) -> Vec<String> {
        let mut lines = Vec::new();
        for recorded in events {
            // What does not fold was refused by the engine before it came here.
            if self.view.apply(recorded).is_err() {
                continue;
            }
            let line = self.teller.tell(recorded, &self.view);
            // A start is told by the task's row.
            let stays = |line: &Line| line.tone != Tone::Task(TaskStatus::Running);
            lines.extend(line.filter(stays).map(|line| self.permanent(&line)));
        }
        self.active = self.find_active();
        lines
    }

    fn permanent(&self, line: &Line) -> String {
        let mark = match line.tone {
            Tone::Run(status) => run_symbol(status),
            Tone::Task(status) => symbol(status),
        };
        let (name, width) = (&line.subject, self.teller.width());
        format!("{mark} {name:width$}  {}", coloured(line, self.colour))
    }

    fn find_active(&self) -> Vec<(TaskIndex, Option<ItemKey>)> {
        let shown = |task: &TaskView<'_>| {
            matches!(task.entry.status, TaskStatus::Running | TaskStatus::Waiting)
        };
        let order = |task: &TaskView<'_>| {
            let since = task.running_since().or(task.entry.started_at);
            (task.entry.status != TaskStatus::Running, since, task.index)
        };
        let mut active: Vec<_> = self.view.tasks().filter(shown).collect();
        active.sort_by_key(order);
        let with_items = active.iter().flat_map(|task| {
            let items = self.view.items(task.index).filter(shown);
            let items = items.map(|item| (item.index, item.item.map(|item| item.key.clone())));
            std::iter::once((task.index, None)).chain(items)
        });
        with_items.collect()
    }

    /// The rows for now, the footer last. `last_line` gives an attempt's last line of output
    /// and is asked only for rows that are shown.
    pub(super) fn rows(
        &self,
        frame: Frame,
        last_line: &dyn Fn(&AttemptId) -> Option<String>,
    ) -> Vec<String> {
        let room = frame.rows.saturating_sub(ROWS_LEFT).max(1);
        let shown = self.active.len().min(room);
        let mut rows: Vec<String> = self.active[..shown]
            .iter()
            .filter_map(|(index, key)| match key {
                None => Some(self.view.task(*index)),
                Some(key) => self.view.item_of(*index, key),
            })
            .map(|shown| self.row(&shown, frame.now, last_line))
            .collect();
        rows.push(self.footer(frame.now, self.active.len() - shown));
        let columns = frame.columns.saturating_sub(1).max(10);
        rows.iter().map(|row| console::truncate_str(row, columns, "…").into_owned()).collect()
    }

    fn row(
        &self,
        task: &TaskView<'_>,
        now: Timestamp,
        last_line: &dyn Fn(&AttemptId) -> Option<String>,
    ) -> String {
        let name = match task.item {
            Some(item) => format!("  {}", item.key.shown()),
            None => task.task.id.to_string(),
        };
        let (status, id) = (task.entry.status, super::plain_text(&name));
        let head = format!("{} {id:width$}  {status}", symbol(status), width = self.teller.width());
        if let Some((on, until)) = &task.entry.waiting {
            let what = match on {
                WaitingOn::Retry => "for its retry".to_owned(),
                WaitingOn::Precheck => {
                    let seen = super::waits::last_seen(self.view.plan(), task);
                    format!("for {}", seen.unwrap_or_default())
                }
                WaitingOn::Approval => {
                    let run = self.view.state().run.as_ref();
                    let asks = super::waits::question(task, run).unwrap_or_default();
                    format!("for an answer: {asks}")
                }
                WaitingOn::Lock { key } => format!("for group {}", super::plain_text(key)),
            };
            let left = until.map_or_else(String::new, |at| format!(", {} left", at.since(now)));
            return format!("{head}  {what}{left}");
        }
        let number = task.entry.attempts;
        let since = task.running_since().or(task.entry.started_at).unwrap_or(now);
        if let Some(items) = &task.entry.expansion {
            return format!("{head}  {}  {:>7}", done_words(&items.counts), now.since(since));
        }
        if task.entry.listing {
            return format!("{head}  looks for its items");
        }
        let last = last_line(&task.attempt_id(number)).unwrap_or_default();
        let cost = crate::report::task_cost(task).map_or("–".to_owned(), |cost| cost.to_string());
        let elapsed = now.since(since).to_string();
        format!("{head}  attempt {number}  {elapsed:>7}  {cost:>6}  {last}")
    }

    fn footer(&self, now: Timestamp, hidden: usize) -> String {
        let metrics = self.view.metrics();
        let ended: usize =
            metrics.counts.iter().filter(|(s, _)| s.is_final()).map(|(_, count)| count).sum();
        let mut parts = vec![format!("{ended} of {} done", metrics.total)];
        for (status, count) in &metrics.counts {
            let known = matches!(status, TaskStatus::Pending | TaskStatus::Succeeded);
            if *count > 0 && !known {
                parts.push(format!("{count} {status}"));
            }
        }
        if hidden > 0 {
            parts.push(format!("{hidden} not shown"));
        }
        let elapsed = match self.view.ended_at {
            Some(_) => duration(&self.view),
            None => now.since(self.view.state().started_at),
        };
        parts.push(elapsed.to_string());
        parts.extend(self.view.cost().map(|cost| cost.to_string()));
        format!("{} {}", run_symbol(self.view.status()), parts.join(" · "))
    }
}

/// How far a task is with its items: `12 of 40 done, 2 failed, 4 running`.
fn done_words(counts: &ItemCounts) -> String {
    let mut words = format!("{} of {} done", counts.ended(), counts.total());
    for status in [TaskStatus::Failed, TaskStatus::Running, TaskStatus::Waiting] {
        let count = counts.of(status);
        if count > 0 {
            words.push_str(&format!(", {count} {status}"));
        }
    }
    words
}
