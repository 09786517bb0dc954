//! The verbs that only look: `check graph list show logs events report`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use segue_core::{AttemptId, Recorded, RunId, RunStatus, RunView, Seq};
use segue_engine::Changes;
use segue_journal::{Follower, JournalError, RunSummary, Store};
use serde_json::{Value, json};

use super::error::{CommandError, CommandResult, Kind, exit};
use super::run::text;
use super::{args, load, print_error, print_line, store, take_up};
use crate::progress::{TailStyle, Tailer, plain_text};

/// How much of a log a report shows.
const LOG_TAIL_BYTES: u64 = 16 << 10;

/// How long a follower sleeps at most, should a change be missed.
const LOOK: Duration = Duration::from_secs(1);

/// `segue check FILE…`.
pub(crate) fn check(matches: &ArgMatches) -> CommandResult {
    let as_json = matches.get_flag("json");
    let mut wrong = false;
    let mut all: Vec<Value> = Vec::new();
    for path in matches.get_many::<PathBuf>("FILE").into_iter().flatten() {
        let file = path.display().to_string();
        match load::load(path) {
            Ok(loaded) => {
                let mut notes = vec![loaded.workflow.unsupported().clone()];
                notes.extend(loaded.warnings());
                let later = !loaded.workflow.unsupported().is_empty();
                if as_json {
                    let found = notes.iter().flat_map(|n| n.to_json().as_array().cloned());
                    let found: Vec<Value> = found.flatten().collect();
                    all.push(json!({"file": file, "ok": true, "diagnostics": found}));
                } else {
                    for notes in notes.into_iter().filter(|notes| !notes.is_empty()) {
                        print_error(&notes.render(console::colors_enabled_stderr(), 100));
                    }
                    let note =
                        if later { " (but this build does not act on all of it)" } else { "" };
                    print_line(&format!("{file}: ok{note}"));
                }
            }
            Err(error) => {
                wrong = true;
                if as_json {
                    let diagnostics =
                        error.rendered.as_ref().map_or_else(|| json!([]), |found| found.1.clone());
                    all.push(json!({
                        "file": file, "ok": false,
                        "message": error.message, "diagnostics": diagnostics,
                    }));
                } else {
                    print_error(&error.to_text());
                }
            }
        }
    }
    if as_json {
        print_line(&serde_json::to_string_pretty(&all).unwrap_or_default());
    }
    Ok(if wrong { exit::USAGE } else { exit::SUCCESS })
}

/// `segue graph FILE|RUN`.
pub(crate) fn graph(matches: &ArgMatches) -> CommandResult {
    let what = text(matches, "WHAT");
    let (plan, view) = if args::is_file(&what) {
        let loaded = load::load(Path::new(&what))?;
        // The shape of a workflow does not depend on its parameters.
        let request = example_request(&loaded);
        (loaded.plan(&request, "run-preview", segue_engine::wall_now())?, None)
    } else {
        let store = store(false)?;
        let view = take_up::seen(&store, &store.find(&what)?)?;
        (view.plan().as_ref().clone(), Some(view))
    };
    let view = view.as_ref();
    let drawn = match text(matches, "format").as_str() {
        "dot" => crate::graph::dot(&plan, view),
        "svg" => crate::graph::svg(&plan, view),
        _ => crate::graph::mermaid(&plan, view),
    };
    print_line(drawn.trim_end());
    Ok(exit::SUCCESS)
}

/// Some value for every parameter that has none.
fn example_request(loaded: &load::Loaded) -> segue_core::RunRequest {
    use segue_spec::ParamType;
    let mut request = segue_core::RunRequest::default();
    for param in loaded.workflow.params().iter().filter(|p| p.required && p.default.is_none()) {
        let value = param.choices.first().cloned().unwrap_or_else(|| match param.kind {
            ParamType::Number | ParamType::Integer => json!(param.min.unwrap_or(1.0)),
            ParamType::Boolean => json!(true),
            ParamType::Money | ParamType::Duration => json!(param.min.unwrap_or(1.0).to_string()),
            ParamType::List => json!([]),
            ParamType::String | ParamType::Path => json!(param.name),
        });
        request.params.insert(param.name.clone(), value);
    }
    request
}

/// `segue list`.
pub(crate) fn list(matches: &ArgMatches) -> CommandResult {
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
    let statuses: Vec<RunStatus> = matches
        .get_many::<String>("status")
        .into_iter()
        .flatten()
        .map(|word| {
            RunStatus::from_word(word.trim()).ok_or_else(|| {
                let words: Vec<&str> = RunStatus::ALL.iter().map(|s| s.word()).collect();
                CommandError::usage(format!("unknown status `{word}`"))
                    .hint(format!("runs are: {}", words.join(", ")))
            })
        })
        .collect::<Result<_, _>>()?;
    let workflow = matches.get_one::<String>("workflow");
    let params: Vec<(&str, &str)> = matches
        .get_many::<String>("param")
        .into_iter()
        .flatten()
        .map(|pair| {
            pair.split_once('=').ok_or_else(|| {
                CommandError::usage(format!("`--param {pair}` is not of the form NAME=VALUE"))
            })
        })
        .collect::<Result<_, _>>()?;
    let wanted = |summary: &RunSummary| {
        let is_param = |(name, value): &(&str, &str)| {
            summary.params.get(*name).is_some_and(|own| plain(own) == *value)
        };
        (statuses.is_empty() || statuses.contains(&summary.status))
            && workflow.is_none_or(|name| *name == summary.workflow)
            && params.iter().all(is_param)
            && (!matches.get_flag("resumable") || is_resumable(summary.status))
    };
    let limit = matches.get_one::<usize>("limit").copied().unwrap_or(usize::MAX);
    let (known, unreadable): (Vec<_>, Vec<_>) =
        store.list()?.into_iter().partition(|entry| entry.summary.is_some());
    let summaries = known.into_iter().filter_map(|entry| entry.summary).filter(wanted).take(limit);
    let summaries: Vec<RunSummary> = summaries.collect();
    if matches.get_flag("json") {
        print_line(&serde_json::to_string_pretty(&summaries).unwrap_or_default());
    } else {
        print_table(&summaries, matches.get_flag("verbose"));
    }
    for entry in unreadable {
        if let Some(problem) = entry.problem {
            print_error(&format!("run {} cannot be read: {problem}\n", entry.run));
        }
    }
    Ok(exit::SUCCESS)
}

const fn is_resumable(status: RunStatus) -> bool {
    matches!(status, RunStatus::Failed | RunStatus::Interrupted | RunStatus::Cancelled)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn print_table(summaries: &[RunSummary], verbose: bool) {
    if summaries.is_empty() {
        print_error("no runs\n");
        return;
    }
    let wide = summaries.iter().map(|s| s.run.as_str().len()).max().unwrap_or(0);
    for summary in summaries {
        let until = summary.ended_at.map(|at| at.since(summary.started_at).to_string());
        let tasks = &summary.tasks;
        let counts = format!("{} succeeded, {} failed", tasks.succeeded, tasks.failed);
        let started = load::local_time(summary.started_at);
        print_line(&format!(
            "{:<wide$}  {:<11}  {}  {:>10}  {counts}",
            summary.run.as_str(),
            summary.status,
            started.get(..19).unwrap_or(&started).replace('T', " "),
            until.unwrap_or_else(|| "-".to_owned()),
        ));
        if verbose {
            for (name, value) in &summary.params {
                print_line(&format!("{:<wide$}    {name} = {}", "", plain(value)));
            }
            if let Some(failure) = &summary.failure {
                let message: String = plain_text(&failure.message).chars().take(200).collect();
                print_line(&format!("{:<wide$}    {}: {message}", "", failure.class));
            }
        }
    }
}

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
    print_line(&format!("status    {status}"));
    print_line(&format!("started   {}", load::local_time(state.started_at)));
    print_line(&format!("duration  {}", until.since(state.started_at)));
    if let Some(cost) = view.cost() {
        print_line(&format!("cost      {cost}"));
    }
    print_line(&format!("folder    {}", store.run_dir(&run).display()));
    print_line("");
    let wide = view.plan().tasks.iter().map(|task| task.id.as_str().len()).max().unwrap_or(0);
    for task in view.tasks() {
        let note = match (&task.entry.failure, &task.entry.skipped, &task.entry.blocked_by) {
            (Some((class, message)), ..) => {
                format!("{class}: {}", plain_text(message).chars().take(500).collect::<String>())
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
        let line = format!(
            "{:<wide$}  {:<9}  {attempts:>2} {word:<8}  {spent:>9}  {note}",
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

/// A follower that goes on when an engine that takes the run up cuts its torn end off.
struct Steady<'a> {
    dir: &'a Path,
    follower: Follower,
    last: Seq,
}

impl<'a> Steady<'a> {
    fn new(dir: &'a Path) -> Self {
        Self { dir, follower: Follower::new(dir, 0), last: 0 }
    }

    /// The events that are new since the last call.
    fn poll(&mut self) -> Result<Vec<Recorded>, JournalError> {
        let records = match self.follower.poll() {
            // One that has grown again since reads as damaged from where it was cut.
            Err(JournalError::CutBack { .. } | JournalError::Damaged { .. }) => {
                self.follower = Follower::new(self.dir, self.last);
                self.follower.poll()?
            }
            polled => polled?,
        };
        self.last = records.last().map_or(self.last, |recorded| recorded.seq);
        Ok(records)
    }
}

/// `segue events RUN [-f]`.
pub(crate) fn events(matches: &ArgMatches) -> CommandResult {
    let store = store(false)?;
    let run = store.find(&text(matches, "RUN"))?;
    let dir = store.run_dir(&run);
    let follow = matches.get_flag("follow");
    let changes = Changes::new()?;
    changes.add(&dir)?;
    let mut follower = Steady::new(&dir);
    loop {
        let locked = store.is_locked(&run)?;
        let mut ended = false;
        for recorded in follower.poll()? {
            ended = matches!(recorded.event, segue_core::Event::RunEnded { .. });
            if !print_line(&serde_json::to_string(&recorded).unwrap_or_default()) {
                return Ok(exit::SUCCESS);
            }
        }
        if !follow || ended || !locked {
            return Ok(exit::SUCCESS);
        }
        changes.wait(LOOK);
    }
}

/// `segue logs RUN [TASK] [-f]`.
pub(crate) fn logs(matches: &ArgMatches) -> CommandResult {
    let store = store(false)?;
    let run = store.find(&text(matches, "RUN"))?;
    let dir = store.run_dir(&run);
    let only = matches.get_one::<String>("TASK");
    let seen = take_up::seen(&store, &run)?;
    if let Some(task) = only
        && seen.plan().position(task).is_none()
    {
        let names: Vec<&str> = seen.plan().tasks.iter().map(|task| task.id.as_str()).collect();
        return Err(CommandError::not_found(format!("run {run} has no task `{task}`"))
            .hint(format!("its tasks are: {}", names.join(", "))));
    }
    let style = if only.is_some() { TailStyle::Raw } else { TailStyle::Prefixed };
    let mut tailer = Tailer::new(&dir, style);
    let changes = Changes::new()?;
    changes.add(&dir)?;
    let mut follower = Steady::new(&dir);
    loop {
        let locked = store.is_locked(&run)?;
        let mut ended = false;
        for recorded in follower.poll()? {
            match &recorded.event {
                segue_core::Event::AttemptDispatched { attempt }
                    if only.is_none_or(|task| task == attempt.task.as_str()) =>
                {
                    watch(&changes, &dir, attempt);
                    tailer.follow(attempt);
                }
                segue_core::Event::RunEnded { .. } => ended = true,
                _ => ended = false,
            }
        }
        tailer.pump();
        if !matches.get_flag("follow") || ended || !locked || tailer.is_closed() {
            tailer.finish();
            return Ok(exit::SUCCESS);
        }
        changes.wait(LOOK);
    }
}

/// Watches the attempt's folder, or the one it will appear in.
fn watch(changes: &Changes, dir: &Path, attempt: &AttemptId) {
    let attempts = dir.join("attempts");
    // A folder that is not there yet shows by its parent's change, or at the next look.
    let _ = changes.add(&attempts);
    let _ = changes.add(&attempts.join(attempt.folder()));
}

/// `segue report RUN`.
pub(crate) fn report(matches: &ArgMatches) -> CommandResult {
    let store = store(false)?;
    let run = store.find(&text(matches, "RUN"))?;
    let view = take_up::seen(&store, &run)?;
    let dir = store.run_dir(&run);
    let text = match text(matches, "format").as_str() {
        "json" => serde_json::to_string_pretty(&crate::report::json(&view)).unwrap_or_default(),
        "html" => crate::report::html(&view, &|attempt| log_tail(&dir, attempt)),
        _ => crate::report::markdown(&view),
    };
    print_line(text.trim_end());
    Ok(exit::SUCCESS)
}

/// The end of what an attempt printed, stderr after stdout.
pub(crate) fn log_tail(run_dir: &Path, attempt: &AttemptId) -> Option<String> {
    let folder = run_dir.join("attempts").join(attempt.folder());
    let read = |name: &str| {
        segue_attempt::tail_text(&folder.join(name), LOG_TAIL_BYTES).unwrap_or_default()
    };
    let (out, err) = (read("stdout.log"), read("stderr.log"));
    let text = [out.trim_end(), err.trim_end()].map(str::to_owned);
    let text: Vec<String> = text.into_iter().filter(|part| !part.is_empty()).collect();
    (!text.is_empty()).then(|| text.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use segue_journal::{Journal, Store};

    use super::Steady;
    use crate::report::sample;

    #[test]
    fn a_torn_end_that_is_cut_off_ends_no_following() {
        let tape = sample::finished_tape();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let run = tape.view.state().run.clone().unwrap();
        let dir = store.create_run(&run, &[], tape.view.plan()).unwrap().path;
        let mut follower = Steady::new(&dir);
        let lock = store.lock_run(&run).unwrap();
        let mut journal = Journal::create(&dir, &lock).unwrap();
        journal.append(&tape.records[..3]).unwrap();
        assert_eq!(follower.poll().unwrap(), tape.records[..3]);
        for at in [3, 4] {
            drop(journal);
            let mut file =
                std::fs::File::options().append(true).open(dir.join("events.jsonl")).unwrap();
            file.write_all(b"{\"seq\":4,\"torn").unwrap();
            assert_eq!(follower.poll().unwrap(), []);
            journal = Journal::open(&dir, &lock).unwrap().0;
            // Once it is seen to be shorter, once it is longer again by then.
            if at == 3 {
                assert_eq!(follower.poll().unwrap(), []);
            }
            journal.append(&tape.records[at..=at]).unwrap();
            assert_eq!(follower.poll().unwrap(), tape.records[at..=at]);
        }
    }
}
