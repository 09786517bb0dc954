//! `segue stats`: what ended runs come to, by workflow and task.

use clap::ArgMatches;
use segue_core::{Millis, Timestamp, Usd};
use segue_journal::{Index, StatisticsFilter, TaskTally, WorkflowTally, tally};
use serde_json::{Value, json};

use super::error::{CommandError, CommandResult, Kind, exit};
use super::{print_error, print_line, store};

/// `segue stats [WORKFLOW] [--since WHEN] [--json]`.
pub(crate) fn stats(matches: &ArgMatches) -> CommandResult {
    let as_json = matches.get_flag("json");
    let now = segue_engine::wall_now();
    let since = matches.get_one::<String>("since").map(|text| since(text, now)).transpose()?;
    let store = match store(false) {
        Ok(store) => store,
        Err(error) if as_json && error.kind == Kind::NotFound => {
            print_line("[]");
            print_error(&error.to_text());
            return Ok(exit::SUCCESS);
        }
        Err(error) => return Err(error),
    };
    let (mut index, renamed) = Index::open(&store)?;
    if let Some(kept) = renamed.and_then(|renamed| renamed.to) {
        let kept = kept.display();
        print_error(&format!("note: segue.db was damaged and made anew; it is kept as {kept}\n"));
    }
    let workflow = matches.get_one::<String>("WORKFLOW").cloned();
    let filter = StatisticsFilter { workflow: workflow.clone(), since, limit: None };
    let tallies = tally(&index.statistics(&filter)?);
    if let (true, Some(name)) = (tallies.is_empty(), &workflow) {
        let all = tally(&index.statistics(&StatisticsFilter::default())?);
        return Err(nothing_of(name, &all));
    }
    if as_json {
        let values: Vec<Value> = tallies.iter().map(value).collect();
        print_line(&serde_json::to_string_pretty(&values).unwrap_or_default());
    } else if tallies.is_empty() {
        print_error("no ended runs\n");
    } else {
        let texts: Vec<String> = tallies.iter().map(text).collect();
        print_line(texts.join("\n").trim_end());
    }
    Ok(exit::SUCCESS)
}

/// A workflow that has no ended runs, or none in the time that was asked for.
fn nothing_of(name: &str, all: &[WorkflowTally]) -> CommandError {
    let names: Vec<&str> = all.iter().map(|tally| tally.workflow.as_str()).collect();
    if names.contains(&name) {
        let message = format!("no run of workflow `{name}` has ended in that time");
        return CommandError::not_found(message).hint("give an earlier `--since`");
    }
    let error = CommandError::not_found(format!("no run of a workflow `{name}` has ended here"));
    match segue_spec::nearest_name(name, names.iter().copied()) {
        Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
        None if names.is_empty() => error.hint("`segue run FILE` makes the first"),
        None => error.hint(format!("there are runs of: {}", names.join(", "))),
    }
}

/// The time that `--since` and its like name: how long ago, a day, or a time.
pub(crate) fn since(text: &str, now: Timestamp) -> CommandResult<Timestamp> {
    if let Ok(ago) = segue_spec::duration(text, false) {
        return Ok(now - ago);
    }
    let zone = jiff::tz::TimeZone::system();
    let at = text.parse::<jiff::Timestamp>().or_else(|_| {
        let civil = text.parse::<jiff::civil::DateTime>();
        civil.and_then(|civil| zone.to_timestamp(civil))
    });
    let at = at.map_err(|_| {
        CommandError::usage(format!("`{text}` names no time"))
            .hint("write how long ago, as `12h` or `30d`, or a day, as `2026-11-25`")
    })?;
    Ok(Timestamp::from_unix_ms(at.as_millisecond()))
}

fn percent(percent: Option<f64>) -> String {
    percent.map_or_else(|| "–".to_owned(), |percent| format!("{percent:.1} %"))
}

fn shown<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

/// Counts by word: `3 network, 1 timeout`.
fn counts<'a, K: ToString + 'a, N: ToString + 'a>(
    of: impl IntoIterator<Item = (&'a K, &'a N)>,
) -> String {
    let words = of.into_iter().map(|(word, n)| format!("{} {}", n.to_string(), word.to_string()));
    words.collect::<Vec<_>>().join(", ")
}

fn text(tally: &WorkflowTally) -> String {
    let runs: usize = tally.runs.values().sum();
    let word = if runs == 1 { "run" } else { "runs" };
    let mut text = format!("{}: {runs} {word} ({})\n", tally.workflow, counts(&tally.runs));
    text.push_str(&format!("  success   {}\n", percent(tally.success_percent())));
    let (p50, p95) = (shown(tally.time(50)), shown(tally.time(95)));
    text.push_str(&format!("  time      P50 {p50}, P95 {p95}\n"));
    if let Some(cost) = tally.cost {
        #[expect(clippy::cast_precision_loss, reason = "a count of runs")]
        let mean = cost.dollars() / runs.max(1) as f64;
        text.push_str(&format!("  cost      {cost} in all, ${mean:.2} a run\n"));
    }
    text.push_str(&format!("  retries   {}\n", tally.retries));
    if !tally.failures.is_empty() {
        text.push_str(&format!("  failures  {}\n", counts(&tally.failures)));
    }
    let wide = tally.tasks.keys().map(|id| id.as_str().chars().count()).max().unwrap_or(0).max(4);
    text.push_str(&format!(
        "\n  {:<wide$}  {:>8}  {:>10}  {:>10}  {:>8}  {:>7}  {:>8}  failures\n",
        "task", "success", "P50", "P95", "attempts", "retries", "cost",
    ));
    for (id, task) in &tally.tasks {
        let line = format!(
            "  {:<wide$}  {:>8}  {:>10}  {:>10}  {:>8}  {:>7}  {:>8}  {}",
            id.as_str(),
            percent(task.success_percent()),
            shown(task.time(50)),
            shown(task.time(95)),
            task.attempts,
            task.retries,
            shown(task.cost),
            counts(&task.failures),
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Durations are numbers of seconds, money numbers of dollars, rates from 0 to 1; what is not
/// known is null.
fn value(tally: &WorkflowTally) -> Value {
    let tasks = tally.tasks.iter().map(|(id, task)| (id.to_string(), task_value(task)));
    json!({
        "workflow": tally.workflow,
        "runs": tally.runs.values().sum::<usize>(),
        "ends": tally.runs,
        "success_rate": tally.success_percent().map(|percent| percent / 100.0),
        "p50_seconds": tally.time(50).map(Millis::as_secs_f64),
        "p95_seconds": tally.time(95).map(Millis::as_secs_f64),
        "cost_usd": tally.cost.map(Usd::dollars),
        "retries": tally.retries,
        "failures": tally.failures,
        "tasks": tasks.collect::<serde_json::Map<_, _>>(),
    })
}

fn task_value(task: &TaskTally) -> Value {
    json!({
        "ends": task.ends,
        "success_rate": task.success_percent().map(|percent| percent / 100.0),
        "p50_seconds": task.time(50).map(Millis::as_secs_f64),
        "p95_seconds": task.time(95).map(Millis::as_secs_f64),
        "attempts": task.attempts,
        "retries": task.retries,
        "cost_usd": task.cost.map(Usd::dollars),
        "failures": task.failures,
        "peak_memory_bytes": task.peak_memory_bytes,
    })
}
