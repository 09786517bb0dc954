//! `cancel`: asks a run's engine to end it, or ends it here if nobody drives it.

use clap::ArgMatches;
use segue_core::{Input, RunStatus, StopReason, TaskId};
use segue_engine::{Changes, Request, send_request};

use super::error::{CommandError, CommandResult, exit};
use super::run::text;
use super::{print_error, store, take_up};

/// How long to wait between two looks while an engine ends the run, should a change be missed.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// `segue cancel RUN [TASK]`.
pub(crate) fn cancel(matches: &ArgMatches) -> CommandResult {
    let store = store(false)?;
    let run = store.find(&text(matches, "RUN"))?;
    let seen = take_up::seen(&store, &run)?;
    let task = matches.get_one::<String>("TASK");
    if let Some(task) = task
        && seen.plan().position(task).is_none()
    {
        let names: Vec<&str> = seen.plan().tasks.iter().map(|task| task.id.as_str()).collect();
        return Err(CommandError::not_found(format!("run {run} has no task `{task}`"))
            .hint(format!("its tasks are: {}", names.join(", "))));
    }
    if !matches!(seen.status(), RunStatus::Running | RunStatus::Interrupted) {
        print_error(&format!("run {run} is over ({}); nothing was changed\n", seen.status()));
        return Ok(exit::SUCCESS);
    }
    let task = task.map(|task| TaskId::parse(task)).transpose();
    let task = task.map_err(|error| CommandError::usage(error.to_string()))?;
    let at_once = matches.get_flag("now");
    if !store.is_locked(&run)? {
        if let Some(task) = &task {
            let message = format!("nobody drives run {run}: it can only be ended as a whole");
            return Err(CommandError::usage(message)
                .hint(format!("`segue resume {run} --skip {task}` goes on without it")));
        }
        let reason = StopReason::Cancelled;
        return take_up::take_up_to_end(&store, &run, Input::Stop { task, reason, at_once });
    }
    let dir = store.run_dir(&run);
    let changes = Changes::new()?;
    changes.add(&dir)?;
    send_request(&dir, &Request::Cancel { task: task.clone(), at_once })?;
    if let Some(task) = task {
        print_error(&format!("run {run}: its engine was asked to cancel `{task}`\n"));
        return Ok(exit::SUCCESS);
    }
    while store.is_locked(&run)? {
        changes.wait(LOOK);
    }
    print_error(&format!("run {run} {}\n", take_up::seen(&store, &run)?.status()));
    Ok(exit::SUCCESS)
}
