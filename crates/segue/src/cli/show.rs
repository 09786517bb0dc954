//! `segue show`: how one run stands, task by task.

use clap::ArgMatches;
use segue_core::{RunId, RunStatus, RunView, TaskStatus, TaskView, Timestamp};
use segue_journal::Store;
use serde_json::json;

use super::error::{CommandResult, exit};
use super::list::{is_resumable, plain};
use super::run::text;
use super::{load, print_line, store, take_up};
use crate::graph::{run_symbol, symbol};
use crate::progress::{plain_text, waits};
use crate::report::{item_words, whole_cost};

/// How much of a failure's message is shown, in characters.
const MESSAGE_CHARS_MAX: usize = 500;

/// How many items of a task are named where all would be too many.
pub(crate) const ITEMS_MAX: usize = 20;

/// `segue show RUN`.
pub(crate) fn show(matches: &ArgMatches) -> CommandResult {
    let store = store(false)?;
    let run = store.find(&text(matches, "RUN"))?;
    let view = take_up::seen(&store, &run)?;
    let status = status_of(&store, &run, &view)?;
    if matches.get_flag("json") {
        let mut document = segue_engine::state_document(&view);
        document["run"]["status"] = json!(status);
        print_line(&serde_json::to_string_pretty(&document).unwrap_or_default());
        return Ok(exit::SUCCESS);
    }
    let state = view.state();
    let until = view.ended_at.unwrap_or_else(|| {
        if status == RunStatus::Running { segue_engine::wall_now() } else { state.last_at }
    });
    print_line(&format!("run       {run}"));
    print_line(&format!("workflow  {}", view.plan().workflow));
    print_line(&format!("status    {} {status}", run_symbol(status)));
    if let Some(mode) = segue_engine::mode_of(&view) {
        print_line(&format!("mode      {mode}"));
    }
    print_line(&format!("started   {}", load::local_time(state.started_at)));
    print_line(&format!("duration  {}", until.since(state.started_at)));
    if let Some(cost) = view.cost() {
        print_line(&format!("cost      {cost}"));
    }
    print_line(&format!("folder    {}", store.run_dir(&run).display()));
    print_line("");
    let priced = view.cost().is_some();
    let rows: Vec<TaskView<'_>> = view.tasks().flat_map(|task| with_items(&view, task)).collect();
    let wide = rows.iter().map(|task| name(task).chars().count()).max().unwrap_or(0);
    let until = (status == RunStatus::Running).then_some(until);
    let row = Row { priced, wide, until };
    for task in &rows {
        print_line(&row.of(&view, task));
    }
    if !view.outputs.is_empty() {
        print_line("");
    }
    for (name, value) in &view.outputs {
        print_line(&format!("{name} = {}", plain(value)));
    }
    if is_resumable(status) {
        print_line(&format!("\ngo on with `segue resume {run}`"));
    }
    Ok(exit::SUCCESS)
}

/// A task, and those of its items that say more than its counters: failed and under way.
fn with_items<'a>(
    view: &'a RunView,
    task: TaskView<'a>,
) -> impl Iterator<Item = TaskView<'a>> + use<'a> {
    let failed = view.items(task.index).filter(|item| item.entry.failure.is_some());
    let under_way = view
        .items(task.index)
        .filter(|item| !item.entry.status.is_final() && item.entry.status != TaskStatus::Pending);
    std::iter::once(task).chain(failed.chain(under_way).take(ITEMS_MAX))
}

fn name(task: &TaskView<'_>) -> String {
    match task.item {
        Some(item) => format!("  {}", item.key.shown()),
        None => task.task.id.to_string(),
    }
}

/// How a line of the table is laid out.
struct Row {
    /// It has a column of costs.
    priced: bool,
    /// The width of names.
    wide: usize,
    /// Now, while the run goes on.
    until: Option<Timestamp>,
}

impl Row {
    /// A task, or an item below it.
    fn of(&self, view: &RunView, task: &TaskView<'_>) -> String {
        let (entry, wide) = (task.entry, self.wide);
        let name = name(task);
        let spent = match (entry.started_at, entry.ended_at.or(self.until)) {
            (Some(from), Some(to)) => to.since(from).to_string(),
            _ => "-".to_owned(),
        };
        let attempts =
            if task.item.is_some() { task.attempts.len() } else { view.attempts_of(task.index) };
        let word = if attempts == 1 { "attempt" } else { "attempts" };
        let cost = whole_cost(view, task).map_or_else(|| "-".to_owned(), |cost| cost.to_string());
        let cost = if self.priced { format!("{cost:>8}  ") } else { String::new() };
        let (mark, status, note) = (symbol(entry.status), entry.status, note(view, task));
        let line = format!(
            "{mark} {name:<wide$}  {status:<9}  {attempts:>2} {word:<8}  {spent:>9}  {cost}{note}",
        );
        line.trim_end().to_owned()
    }
}

/// How a task's items stand, and why it did not succeed.
fn note(view: &RunView, task: &TaskView<'_>) -> String {
    let entry = task.entry;
    let mut notes = Vec::new();
    if let Some(items) = &entry.expansion {
        notes.push(item_words(&items.counts));
    }
    match (&entry.failure, &entry.skipped, &entry.blocked_by) {
        (Some((class, message)), ..) => {
            let message: String = plain_text(message).chars().take(MESSAGE_CHARS_MAX).collect();
            notes.push(format!("{class}: {message}"));
        }
        (_, Some(reason), _) => notes.push(reason.to_string()),
        (.., Some(by)) => notes.push(format!("by `{by}`")),
        _ => notes.extend(waiting_note(view, task)),
    }
    notes.join("; ")
}

/// What a task waits for that a person can do something about.
fn waiting_note(view: &RunView, task: &TaskView<'_>) -> Option<String> {
    let asks = waits::question(task, view.state().run.as_ref());
    let asks = asks.map(|asks| format!("asks: {asks}"));
    asks.or_else(|| waits::last_seen(view.plan(), task))
}

/// The run's status; one that nobody drives any more is interrupted.
fn status_of(store: &Store, run: &RunId, view: &RunView) -> CommandResult<RunStatus> {
    let status = view.status();
    let left = status == RunStatus::Running && !store.is_locked(run)?;
    Ok(if left { RunStatus::Interrupted } else { status })
}
