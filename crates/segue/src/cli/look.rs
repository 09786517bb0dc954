//! The verbs that only look: `check graph logs events report`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use segue_core::{AttemptId, Recorded, Seq};
use segue_engine::Changes;
use segue_journal::{Follower, JournalError};
use serde_json::{Value, json};

use super::error::{CommandError, CommandResult, exit};
use super::run::text;
use super::{args, load, print_error, print_line, store, take_up};
use crate::progress::{TailStyle, Tailer};

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
