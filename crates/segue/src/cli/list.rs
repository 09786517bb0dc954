//! `segue list`: the runs of the store, newest first, and how to go on with those that wait.

use clap::ArgMatches;
use segue_core::{RunStatus, RunView, Section, TaskStatus, Value};
use segue_engine::put_time;
use segue_journal::{RunSummary, Store};
use serde_json::json;

use super::error::{CommandError, CommandResult, Kind, exit};
use super::{load, print_error, print_line, store, take_up};
use crate::graph::run_symbol;
use crate::progress::plain_text;

/// How many resume commands are shown under a list.
const RESUMABLE_MAX: usize = 5;

/// How much of a failure's message a verbose list shows, in characters.
const MESSAGE_CHARS_MAX: usize = 60;

/// Which runs are asked for.
struct Wanted<'a> {
    statuses: Vec<RunStatus>,
    workflow: Option<&'a String>,
    params: Vec<(&'a str, &'a str)>,
    resumable: bool,
}

/// `segue list`.
pub(crate) fn list(matches: &ArgMatches) -> CommandResult {
    let wanted = Wanted::read(matches)?;
    let store = match store(false) {
        Ok(store) => store,
        // No store is no runs; one that cannot be read is not.
        Err(error) if matches.get_flag("json") && error.kind == Kind::NotFound => {
            print_line("[]");
            print_error(&error.to_text());
            return Ok(exit::SUCCESS);
        }
        Err(error) => return Err(error),
    };
    let limit = matches.get_one::<usize>("limit").copied().unwrap_or(usize::MAX);
    let (known, unreadable): (Vec<_>, Vec<_>) =
        store.list()?.into_iter().partition(|entry| entry.summary.is_some());
    let summaries = known.into_iter().filter_map(|entry| entry.summary);
    let summaries: Vec<RunSummary> =
        summaries.filter(|summary| wanted.has(summary)).take(limit).collect();
    let verbose = matches.get_flag("verbose");
    if matches.get_flag("json") {
        let values: Vec<Value> = summaries.iter().map(|s| value(&store, s, verbose)).collect();
        print_line(&serde_json::to_string_pretty(&values).unwrap_or_default());
    } else if summaries.is_empty() {
        print_error("no runs\n");
    } else {
        print_table(&store, &summaries, verbose);
    }
    for entry in unreadable {
        if let Some(problem) = entry.problem {
            print_error(&format!("run {} cannot be read: {problem}\n", entry.run));
        }
    }
    Ok(exit::SUCCESS)
}

impl<'a> Wanted<'a> {
    fn read(matches: &'a ArgMatches) -> CommandResult<Self> {
        let words = matches.get_many::<String>("status").into_iter().flatten();
        let statuses = words.map(|word| {
            RunStatus::from_word(word.trim()).ok_or_else(|| {
                let words: Vec<&str> = RunStatus::ALL.iter().map(|s| s.word()).collect();
                let error = CommandError::usage(format!("unknown status `{word}`"));
                match segue_spec::nearest_name(word, words.iter().copied()) {
                    Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
                    None => error.hint(format!("runs are: {}", words.join(", "))),
                }
            })
        });
        let pairs = matches.get_many::<String>("param").into_iter().flatten();
        let params = pairs.map(|pair| {
            pair.split_once('=').ok_or_else(|| {
                CommandError::usage(format!("`--param {pair}` is not of the form NAME=VALUE"))
            })
        });
        Ok(Self {
            statuses: statuses.collect::<Result<_, _>>()?,
            workflow: matches.get_one::<String>("workflow"),
            params: params.collect::<Result<_, _>>()?,
            resumable: matches.get_flag("resumable"),
        })
    }

    fn has(&self, summary: &RunSummary) -> bool {
        let is_param = |(name, value): &(&str, &str)| {
            summary.params.get(*name).is_some_and(|own| plain(own) == *value)
        };
        (self.statuses.is_empty() || self.statuses.contains(&summary.status))
            && self.workflow.is_none_or(|name| *name == summary.workflow)
            && self.params.iter().all(is_param)
            && (!self.resumable || is_resumable(summary.status))
    }
}

/// Whether `segue resume` can go on with a run that stands so.
pub(crate) const fn is_resumable(status: RunStatus) -> bool {
    matches!(status, RunStatus::Failed | RunStatus::Interrupted | RunStatus::Cancelled)
}

/// A value as a person would type it.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The task that ended well last, and the one that a run is at or would go on with.
fn steps(view: &RunView) -> (Option<String>, Option<String>) {
    let succeeded = |task: &segue_core::TaskView<'_>| task.entry.status == TaskStatus::Succeeded;
    let steps = || view.tasks().filter(|task| task.task.section == Section::Main);
    let last = steps().filter(succeeded).max_by_key(|task| task.entry.ended_at);
    let mut open: Vec<_> = steps()
        .filter(|task| !matches!(task.entry.status, TaskStatus::Succeeded | TaskStatus::Skipped))
        .collect();
    // What has begun before what has not, and a cause before what it blocks.
    let rank = |status: TaskStatus| match status {
        TaskStatus::Running => 0,
        TaskStatus::Failed => 1,
        TaskStatus::Blocked => 3,
        _ => 2,
    };
    open.sort_by_key(|task| rank(task.entry.status));
    let name = |task: segue_core::TaskView<'_>| task.task.id.to_string();
    (last.map(name), open.into_iter().next().map(name))
}

/// The message of a run's failure, in one line and short.
fn message(summary: &RunSummary) -> Option<String> {
    let failure = summary.failure.as_ref()?;
    let text = plain_text(&failure.message);
    let short: String = text.chars().take(MESSAGE_CHARS_MAX).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    Some(format!("{}: {short}{more}", failure.class))
}

fn value(store: &Store, summary: &RunSummary, verbose: bool) -> Value {
    let mut value = json!(summary);
    put_time(&mut value, "started_at", Some(summary.started_at));
    put_time(&mut value, "ended_at", summary.ended_at);
    let resumable = is_resumable(summary.status);
    value["resumable"] = json!(resumable);
    if resumable {
        value["resume"] = json!(format!("segue resume {}", summary.run));
    }
    if verbose && let Ok(view) = take_up::seen(store, &summary.run) {
        let (last, next) = steps(&view);
        value["last_step"] = json!(last);
        value["next_step"] = json!(next);
    }
    value
}

fn print_table(store: &Store, summaries: &[RunSummary], verbose: bool) {
    let wide = summaries.iter().map(|s| s.run.as_str().len()).max().unwrap_or(0);
    for summary in summaries {
        let until = summary.ended_at.map(|at| at.since(summary.started_at).to_string());
        let tasks = &summary.tasks;
        let counts = format!("{} succeeded, {} failed", tasks.succeeded, tasks.failed);
        let started = load::local_time(summary.started_at);
        print_line(&format!(
            "{:<wide$}  {} {:<11}  {}  {:>10}  {counts}",
            summary.run.as_str(),
            run_symbol(summary.status),
            summary.status,
            started.get(..19).unwrap_or(&started).replace('T', " "),
            until.unwrap_or_else(|| "-".to_owned()),
        ));
        if verbose {
            print_details(store, summary, wide);
        }
    }
    let waiting = || summaries.iter().filter(|summary| is_resumable(summary.status));
    let count = waiting().count();
    if count > 0 {
        print_line("\ngo on with");
        for summary in waiting().take(RESUMABLE_MAX) {
            print_line(&format!("  segue resume {}", summary.run));
        }
    }
    if count > RESUMABLE_MAX {
        let more = count - RESUMABLE_MAX;
        print_line(&format!("  and {more} more: `segue list --resumable`"));
    }
}

fn print_details(store: &Store, summary: &RunSummary, wide: usize) {
    let line = |text: String| print_line(&format!("{:<wide$}    {text}", ""));
    for (name, value) in &summary.params {
        line(format!("{name} = {}", plain(value)));
    }
    if let Ok(view) = take_up::seen(store, &summary.run) {
        let (last, next) = steps(&view);
        if let Some(last) = last {
            line(format!("last step {last}"));
        }
        if let Some(next) = next {
            line(format!("next step {next}"));
        }
    }
    if let Some(message) = message(summary) {
        line(message);
    }
}

#[cfg(test)]
mod tests {
    use super::steps;
    use crate::report::sample;

    #[test]
    fn the_steps_are_what_ended_well_last_and_what_a_run_is_at() {
        assert_eq!(steps(&sample::running().view).1.as_deref(), Some("flaky"));
        let (last, next) = steps(&sample::finished());
        assert_eq!((last.as_deref(), next.as_deref()), (Some("script"), Some("broken")));
    }
}
