//! `approve` and `reject`: a person's answer to what a task asks.
//!
//! The answer is written to the run's requests, to that one question. An engine that drives the
//! run takes it at once; where there is none it stays, and the next resume takes it.

use std::time::{Duration, Instant};

use clap::ArgMatches;
use segue_core::{Answer, ApprovalAnswered, GivenAnswer, RunId, RunView, TaskIndex, TaskStatus};
use segue_engine::{Changes, Request, send_request};
use segue_journal::Store;

use super::error::{CommandError, CommandResult, exit};
use super::run::text;
use super::{print_error, store, take_up};

/// How long to wait for the engine to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait between two looks, should a change be missed.
const LOOK: Duration = Duration::from_millis(200);

/// `segue approve RUN TASK` and `segue reject RUN TASK`.
pub(crate) fn answer(matches: &ArgMatches, answer: Answer) -> CommandResult {
    let store = store(false)?;
    let run = store.find(&text(matches, "RUN"))?;
    let task = text(matches, "TASK");
    let seen = take_up::seen(&store, &run)?;
    let Some(index) = seen.plan().position(&task) else {
        return Err(
            CommandError::not_found(format!("run {run} has no task `{task}`")).hint(waiting(&seen))
        );
    };
    let view = seen.task(index);
    let Some(question) = &view.entry.waits.question else {
        let status = view.entry.status;
        let message = match (&view.entry.waits.answer, status.is_final()) {
            (Some(_), true) => format!("task `{task}` has its answer: it has {status}"),
            _ => format!("task `{task}` waits for no answer: it is {status}"),
        };
        return Err(CommandError::usage(message).hint(waiting(&seen)));
    };
    let by = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let given = GivenAnswer {
        asked: question.asked,
        answered: ApprovalAnswered {
            task: view.task.id.clone(),
            answer,
            by: by.filter(|by| !by.is_empty()).unwrap_or_else(|| "somebody".to_owned()),
            note: text(matches, "note"),
        },
    };
    let dir = store.run_dir(&run);
    let changes = Changes::new()?;
    changes.add(&dir)?;
    send_request(&dir, &Request::Answer(given.clone()))?;
    if let Some(status) = taken(&store, &run, index, &given, &changes)? {
        print_error(&format!("task `{task}` of run {run} has {status}\n"));
        return Ok(exit::SUCCESS);
    }
    print_error(&format!(
        "recorded; nobody drives run {run} now: `segue resume {run}` takes the answer and goes on\n"
    ));
    Ok(exit::SUCCESS)
}

/// Waits until the engine has taken the answer, and gives what became of the task; `None` if
/// there is no engine that takes it.
fn taken(
    store: &Store,
    run: &RunId,
    index: TaskIndex,
    given: &GivenAnswer,
    changes: &Changes,
) -> CommandResult<Option<TaskStatus>> {
    let until = Instant::now() + PATIENCE;
    loop {
        // Looked at first: what an engine took before it ended is seen.
        let driven = store.is_locked(run)? && Instant::now() < until;
        let seen = take_up::seen(store, run)?;
        let entry = seen.task(index).entry;
        let question = entry.waits.question.as_ref();
        if question.is_none_or(|question| question.asked != given.asked) {
            if entry.waits.answer.as_ref() == Some(&given.answered) {
                return Ok(Some(entry.status));
            }
            let (task, status) = (&given.answered.task, entry.status);
            let message = format!("task `{task}` was decided before this answer: it is {status}");
            return Err(CommandError::usage(message));
        }
        if !driven {
            return Ok(None);
        }
        changes.wait(LOOK);
    }
}

/// Which tasks do wait for an answer.
fn waiting(view: &RunView) -> String {
    let asks = view.tasks().filter(|task| task.entry.waits.question.is_some());
    let names: Vec<String> = asks.map(|task| task.task.id.to_string()).collect();
    if names.is_empty() {
        "no task of this run waits for an answer".to_owned()
    } else {
        format!("waiting for an answer: {}", names.join(", "))
    }
}
