//! Going on with runs of strategies, which have a plan and no workflow.

use std::sync::Arc;

use clap::ArgMatches;
use segue_attempt::RunContext;
use segue_core::{ResumeScope, RunId};
use segue_engine::Taken;
use segue_journal::Store;

use super::error::{CommandError, CommandResult};
use super::execute::{self, Created};
use super::run::{conclude, show_of};
use super::take_up::resume_input;
use super::{args, faces};
use crate::library::{Kept, kept_context};

/// What the run has kept of its strategy; `None` if it is one of a workflow.
pub(crate) fn kept(store: &Store, run: &RunId) -> CommandResult<Option<Kept>> {
    Ok(Kept::read(&store.run_dir(run))?)
}

/// What its attempts need.
pub(crate) fn context(store: &Store, run: &RunId, kept: &Kept) -> CommandResult<Arc<RunContext>> {
    Ok(kept_context(run, &store.run_dir(run), &kept.base_dir)?)
}

/// Begins a run that has no more than its folder.
pub(crate) fn begin(store: &Store, run: RunId, kept: Kept, matches: &ArgMatches) -> CommandResult {
    let (dir, show) = (store.run_dir(&run), show_of(matches));
    let plan = (*execute::kept_plan(&dir)?).clone();
    let context = context(store, &run, &kept)?;
    let created = Created { run: run.clone(), plan: plan.clone(), started: kept.started };
    let ended = faces::with_faces(&show, &dir, &plan, |observer| {
        execute::start(store, created, context, observer)
    })?;
    conclude(store, &run, &ended, &show, false)
}

/// Goes on with a run.
pub(crate) fn take_up(
    store: &Store,
    run: &RunId,
    kept: &Kept,
    taken: Taken,
    scope: ResumeScope,
    matches: &ArgMatches,
) -> CommandResult {
    if matches.try_get_many::<String>("skip").ok().flatten().is_some() {
        let message = format!("run {run} is one of a strategy, of which nothing can be skipped");
        return Err(CommandError::usage(message));
    }
    let (dir, show) = (store.run_dir(run), show_of(matches));
    let mut request = taken.view().state().request.clone();
    args::common_request(matches, &mut request)?;
    let mut plan = (**taken.view().plan()).clone();
    let timeout = request.timeout.unwrap_or(plan.limits.timeout);
    let is_kept = timeout == plan.limits.timeout;
    plan.limits.timeout = timeout;
    let plan = Arc::new(plan);
    let resume = resume_input(scope, request, &plan)?;
    let context = context(store, run, kept)?;
    let session = taken.resume(Arc::clone(&plan), resume)?;
    if !is_kept {
        session.keep(&[])?;
    }
    let ended = faces::with_faces(&show, &dir, &plan, |observer| {
        execute::drive(session, context, observer)
    })?;
    conclude(store, run, &ended, &show, false)
}
