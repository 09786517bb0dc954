//! `segue show`: how one run stands, task by task.

use clap::ArgMatches;
use segue_core::{RunId, RunStatus, RunView};
use segue_journal::Store;
use serde_json::json;

use super::error::{CommandResult, exit};
use super::list::{is_resumable, plain};
use super::run::text;
use super::{load, print_line, store, take_up};
use crate::graph::{run_symbol, symbol};
use crate::progress::plain_text;
use crate::report::task_cost;

/// How much of a failure's message is shown, in characters.
const MESSAGE_CHARS_MAX: usize = 500;

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
    print_line(&format!("started   {}", load::local_time(state.started_at)));
    print_line(&format!("duration  {}", until.since(state.started_at)));
    if let Some(cost) = view.cost() {
        print_line(&format!("cost      {cost}"));
    }
    print_line(&format!("folder    {}", store.run_dir(&run).display()));
    print_line("");
    let priced = view.cost().is_some();
    let wide = view.plan().tasks.iter().map(|task| task.id.as_str().len()).max().unwrap_or(0);
    for task in view.tasks() {
        let note = match (&task.entry.failure, &task.entry.skipped, &task.entry.blocked_by) {
            (Some((class, message)), ..) => {
                format!(
                    "{class}: {}",
                    plain_text(message).chars().take(MESSAGE_CHARS_MAX).collect::<String>()
                )
            }
            (_, Some(reason), _) => reason.to_string(),
            (.., Some(by)) => format!("by `{by}`"),
            _ => String::new(),
        };
        let spent = match (task.entry.started_at, task.entry.ended_at) {
            (Some(from), Some(to)) => to.since(from).to_string(),
            (Some(from), None) if status == RunStatus::Running => until.since(from).to_string(),
            _ => "-".to_owned(),
        };
        let attempts = task.attempts.len();
        let word = if attempts == 1 { "attempt" } else { "attempts" };
        let cost = task_cost(&task).map_or_else(|| "-".to_owned(), |cost| cost.to_string());
        let cost = if priced { format!("{cost:>8}  ") } else { String::new() };
        let line = format!(
            "{} {:<wide$}  {:<9}  {attempts:>2} {word:<8}  {spent:>9}  {cost}{note}",
            symbol(task.entry.status),
            task.task.id.as_str(),
            task.entry.status,
        );
        print_line(line.trim_end());
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

/// The run's status; one that nobody drives any more is interrupted.
fn status_of(store: &Store, run: &RunId, view: &RunView) -> CommandResult<RunStatus> {
    let status = view.status();
    let left = status == RunStatus::Running && !store.is_locked(run)?;
    Ok(if left { RunStatus::Interrupted } else { status })
}
