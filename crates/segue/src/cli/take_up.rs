//! `resume` and `retry`: going on with a run that an engine left or ended.

use std::sync::Arc;

use clap::ArgMatches;
use segue_core::{
    Input, Plan, Resume, ResumeScope, RunId, RunRequest, RunStatus, RunView, Scheduler, Section,
    TaskId,
};
use segue_engine::{RunError, Taken};
use segue_journal::{JournalError, Store};

use super::error::{CommandError, CommandResult, exit};
use super::faces::{self, Show};
use super::load::{self, Loaded};
use super::run::{carry_out, conclude, show_of, text};
use super::{args, execute, hardware, print_error, store, strategies};

/// `segue resume RUN`.
pub(crate) fn resume(matches: &ArgMatches) -> CommandResult {
    let store = store(false)?;
    let run = store.find(&text(matches, "RUN"))?;
    let Some(taken) = take(&store, &run)? else { return begin(&store, run, matches) };
    let view = taken.view();
    if matches!(view.status(), RunStatus::Succeeded | RunStatus::Warned) {
        print_error(&format!(
            "run {run} has {}; there is nothing to resume\n\
             hint: `segue retry {run} --from TASK` does a part again\n",
            view.status(),
        ));
        return Ok(exit::SUCCESS);
    }
    let held = held(view);
    if let Some(task) = held.first()
        && !has_work_left(view)?
    {
        let message = format!("task `{task}` was started and is never retried by itself");
        return Err(CommandError::usage(message)
            .hint(format!("`segue retry {run} --from {task}` starts it again")));
    }
    let skip = matches.get_many::<String>("skip").into_iter().flatten().cloned().collect();
    take_up(&store, run, taken, ResumeScope::Unfinished, skip, matches)
}

/// `segue retry RUN --from TASK`.
pub(crate) fn retry(matches: &ArgMatches) -> CommandResult {
    let store = store(false)?;
    let run = store.find(&text(matches, "RUN"))?;
    let from = text(matches, "from");
    let plan = execute::kept_plan(&store.run_dir(&run))?;
    if plan.position(&from).is_none() {
        let names: Vec<&str> = plan.tasks.iter().map(|task| task.id.as_str()).collect();
        return Err(CommandError::not_found(format!("run {run} has no task `{from}`"))
            .hint(format!("its tasks are: {}", names.join(", "))));
    }
    let from = TaskId::parse(&from).map_err(|error| CommandError::usage(error.to_string()))?;
    let Some(taken) = take(&store, &run)? else { return begin(&store, run, matches) };
    take_up(&store, run, taken, ResumeScope::From(from), Vec::new(), matches)
}

/// Takes the run from other engines; `None` if its engine died before it recorded anything.
fn take(store: &Store, run: &RunId) -> CommandResult<Option<Taken>> {
    let kept = execute::kept_plan(&store.run_dir(run))?;
    // Nothing is started before its event is on disk: with attempts, the journal was lost.
    let attempts = store.run_dir(run).join("attempts.jsonl");
    let has_begun = std::fs::metadata(attempts).is_ok_and(|records| records.len() > 0);
    match Taken::take(store, run.clone(), kept) {
        Err(RunError::Journal(JournalError::Empty { .. })) if !has_begun => Ok(None),
        taken => Ok(Some(taken?)),
    }
}

/// Begins a run that has no more than its folder.
fn begin(store: &Store, run: RunId, matches: &ArgMatches) -> CommandResult {
    if let Some(kept) = strategies::kept(store, &run)? {
        return strategies::begin(store, run, kept, matches);
    }
    let loaded = load::load_kept(&store.run_dir(&run))?;
    carry_out(store, execute::created(store, run)?, &loaded, &show_of(matches), false)
}

/// The run as its journal shows it now.
pub(crate) fn seen(store: &Store, run: &RunId) -> CommandResult<RunView> {
    let dir = store.run_dir(run);
    let mut view = RunView::new(execute::kept_plan(&dir)?);
    let reading = match segue_journal::read(&dir) {
        // Its engine died before the first event: it begins with the resume.
        Err(JournalError::Empty { .. }) => return Ok(view),
        reading => reading?,
    };
    for recorded in &reading.records {
        view.apply(recorded).map_err(|error| CommandError::internal(&error))?;
    }
    Ok(view)
}

/// Tasks that may have had their effect and are only started again by name.
pub(crate) fn held(view: &RunView) -> Vec<String> {
    let held = |task: &segue_core::TaskView<'_>| view.state().is_held(view.plan(), task.index);
    view.tasks().filter(held).map(|view| view.task.id.to_string()).collect()
}

/// Whether a resume has more to do than what only goes on by name.
fn has_work_left(view: &RunView) -> CommandResult<bool> {
    let scheduler = Scheduler::restore(Arc::clone(view.plan()), view.state().clone())
        .map_err(|error| CommandError::internal(&error))?;
    Ok(scheduler.has_work_left(&ResumeScope::Unfinished, view.state().request.force))
}

fn take_up(
    store: &Store,
    run: RunId,
    taken: Taken,
    scope: ResumeScope,
    skip: Vec<String>,
    matches: &ArgMatches,
) -> CommandResult {
    if let Some(kept) = strategies::kept(store, &run)? {
        return strategies::take_up(store, &run, &kept, taken, scope, matches);
    }
    let dir = store.run_dir(&run);
    let kept = load::load_kept(&dir)?;
    let changed = changed(&kept, matches.get_flag("accept-changes"))?;
    let accepted = changed.is_some();
    let loaded = changed.unwrap_or(kept);
    loaded.warnings().iter().for_each(|warnings| print_error(&warnings.render(false, 100)));
    let seen = taken.view();
    let mut request = seen.state().request.clone();
    args::common_request(matches, &mut request)?;
    request.skip.extend(skip);
    let show = show_of(matches);
    let plan = Arc::new(loaded.plan(&request, run.as_str(), seen.state().started_at)?);
    let is_kept = *plan == **seen.plan();
    let resume = resume_input(scope, request, &plan)?;
    let secrets = execute::secrets(&plan.secrets)?;
    let context = execute::context(store, &run, &loaded, &plan, secrets)?;
    let session = taken.resume(Arc::clone(&plan), resume).map_err(|error| match error {
        RunError::Corrupt { source, .. } if accepted => {
            let message = format!("run {run} cannot go on with the changed workflow: {source}");
            CommandError::usage(message)
                .hint("a task that has begun can be neither removed nor renamed")
        }
        error => error.into(),
    })?;
    // Under the run's lock, and only what its journal folds over.
    if accepted || !is_kept {
        session.keep(&if accepted { loaded.inputs() } else { Vec::new() })?;
    }
    let ended = faces::with_faces(&show, &dir, &plan, |observer| {
        execute::drive(session, context, observer)
    })?;
    conclude(store, &run, &ended, &show, false)
}

pub(crate) fn resume_input(
    scope: ResumeScope,
    request: RunRequest,
    plan: &Plan,
) -> CommandResult<Resume> {
    let slots = execute::slots(&request, plan, &hardware::detect())?;
    Ok(Resume { scope, request, slots, segue: execute::VERSION.to_owned(), answers: Vec::new() })
}

/// The workflow to go on with instead of what the run has kept: its file, if that has changed
/// and the change is accepted.
fn changed(kept: &Loaded, accept: bool) -> CommandResult<Option<Loaded>> {
    let path = &kept.origin.path;
    let same = |text: Vec<u8>| text == kept.text.as_bytes();
    let alone = kept.workflow.files().is_empty();
    if !path.exists() || alone && std::fs::read(path).is_ok_and(same) {
        return Ok(None);
    }
    let now = match load::load(path) {
        Ok(now) => now,
        Err(_) if !accept => return Err(refuse_change(path)),
        Err(error) => return Err(error),
    };
    if now.workflow.digest() == kept.workflow.digest() {
        return Ok(None);
    }
    if !accept {
        return Err(refuse_change(path));
    }
    if !now.workflow.unsupported().is_empty() {
        return Err(CommandError::diagnostics(now.workflow.unsupported()));
    }
    Ok(Some(now))
}

fn refuse_change(path: &std::path::Path) -> CommandError {
    let message = format!("workflow `{}` has changed since the run began", path.display());
    CommandError::usage(message)
        .hint("`--accept-changes` goes on with it as it is now; or undo the change")
}

/// Takes up a run that nobody drives only to end it.
pub(crate) fn take_up_to_end(store: &Store, run: &RunId, stop: Input) -> CommandResult {
    let Some(taken) = take(store, run)? else {
        return Err(CommandError::not_found(format!("run {run} has not begun")));
    };
    let seen = taken.view();
    let request = seen.state().request.clone();
    let plan = Arc::clone(seen.plan());
    let resume = resume_input(ResumeScope::Unfinished, request, &plan)?;
    // After a cancellation nothing starts but what `finally` says.
    let last = seen
        .tasks()
        .filter(|view| view.task.section == Section::Finally && !view.entry.status.is_final());
    let needed: Vec<String> = last.flat_map(|view| view.task.secrets.clone()).collect();
    let secrets = execute::secrets_at_hand(&plan, &needed)?;
    let context = match strategies::kept(store, run)? {
        Some(kept) => strategies::context(store, run, &kept)?,
        None => {
            let loaded = load::load_kept(&store.run_dir(run))?;
            execute::context(store, run, &loaded, &plan, secrets)?
        }
    };
    let mut session = taken.resume(plan, resume)?;
    session.then(stop);
    let ended = execute::drive(session, context, &mut ())?;
    conclude(store, run, &ended, &Show::default(), false)?;
    Ok(exit::SUCCESS)
}
