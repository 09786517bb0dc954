//! Executing a run in this process: from a plan, or from where an earlier engine left it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use segue_attempt::real_path;
use segue_core::{Event, Input, Plan, RunId, RunRequest, RunStatus, RunView, StopReason, Value};
use segue_engine::{Observer, RunContext, Session, inherited_environment, wall_now};
use segue_journal::{Store, StoreError};
use segue_supervisor::{Masker, SECRET_BYTES_MIN};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::error::{CommandError, CommandResult, exit};
use super::hardware;
use super::load::{Loaded, repository};

/// Segue's version, as events and files carry it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The name of the run's first event among its inputs.
const STARTED_NAME: &str = "started.json";

/// The number of the signal of `ulimit -f`.
const SIGXFSZ: i32 = rustix::process::Signal::XFSZ.as_raw();

/// How often a fresh run id is tried; two ids differ by 40 random bits.
const ID_TRIES: u32 = 20;

/// A run that has its folder.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) run: RunId,
    pub(crate) plan: Plan,
    pub(crate) started: Event,
}

/// Makes a run's folder from a checked workflow. Nothing is started.
pub(crate) fn create(
    store: &Store,
    loaded: &Loaded,
    request: RunRequest,
) -> CommandResult<Created> {
    let hardware = hardware::detect();
    for _ in 0..ID_TRIES {
        let now = wall_now();
        let run = RunId::new(loaded.workflow.name(), now, crate::host::random());
        let plan = loaded.plan(&request, run.as_str(), now)?;
        let slots = slots(&request, &plan, &hardware)?;
        let started = Event::RunStarted {
            run: run.clone(),
            workflow: plan.workflow.clone(),
            digest: plan.digest.clone(),
            request: request.clone(),
            slots,
            segue: VERSION.to_owned(),
            hardware: hardware.clone(),
        };
        let mut inputs = loaded.inputs();
        inputs.push((
            STARTED_NAME.to_owned(),
            serde_json::to_vec(&started).map_err(|error| CommandError::internal(&error))?,
        ));
        match store.create_run(&run, &inputs, &plan) {
            Err(StoreError::RunExists { .. }) => continue,
            result => result?,
        };
        return Ok(Created { run, plan, started });
    }
    Err(CommandError::locked(format!("no free run id in {ID_TRIES} tries")))
}

/// Takes up a run that [`create`] made, in another process.
pub(crate) fn created(store: &Store, run: RunId) -> CommandResult<Created> {
    let dir = store.run_dir(&run);
    let plan = read_json(&dir.join("plan.json"))?;
    let started = read_json(&dir.join("inputs").join(STARTED_NAME))?;
    Ok(Created { run, plan, started })
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> CommandResult<T> {
    let text = fs::read(path)
        .map_err(|error| CommandError::not_found(format!("`{}`: {error}", path.display())))?;
    serde_json::from_slice(&text).map_err(|error| {
        let error = std::io::Error::other(format!("`{}` is damaged: {error}", path.display()));
        CommandError::internal(&error)
    })
}

/// The plan that a run has kept.
pub(crate) fn kept_plan(dir: &Path) -> CommandResult<Arc<Plan>> {
    let plan: Plan = read_json(&dir.join("plan.json"))?;
    if plan.version > segue_core::PLAN_VERSION {
        let message = format!("plan.json of version {} is newer than this build", plan.version);
        return Err(CommandError::internal(&std::io::Error::other(message)));
    }
    Ok(Arc::new(plan))
}

/// How many attempts may run at once: flag, environment, workflow, machine; the last two as the
/// mode has it.
pub(crate) fn slots(
    request: &RunRequest,
    plan: &Plan,
    hardware: &segue_core::Hardware,
) -> CommandResult<u32> {
    if let Some(slots) = request.concurrency {
        return Ok(slots);
    }
    if let Some(slots) = slots_of_environment()? {
        return Ok(slots);
    }
    let detected = || segue_core::concurrency_for(hardware);
    let slots = plan.limits.concurrency.unwrap_or_else(detected);
    let Some(mode) = &plan.mode else { return Ok(slots) };
    plan.slots_in_mode(mode.concurrency.as_ref(), slots, request.probe)
        .map_err(|why| CommandError::usage(format!("mode `{}`: {why}", mode.name)))
}

/// How many slots the environment asks for.
pub(crate) fn slots_of_environment() -> CommandResult<Option<u32>> {
    for name in ["SEGUE_CONCURRENCY", "MAX_CONCURRENT_AGENTS"] {
        if let Ok(text) = std::env::var(name)
            && text != "auto"
        {
            return match text.parse() {
                Ok(slots) if slots > 0 => Ok(Some(slots)),
                _ => {
                    let message = format!("{name}={text:?} is no number of slots from 1 up");
                    Err(CommandError::usage(message))
                }
            };
        }
    }
    Ok(None)
}

/// Whether the number of slots is left to the machine, and so follows its load.
fn slots_are_auto(plan: &Plan) -> CommandResult<bool> {
    // The plan has the flag's number, if there was a flag.
    let given = slots_of_environment()?.is_some() || plan.limits.concurrency.is_some();
    let choice = plan.mode.as_ref().and_then(|mode| mode.choice.as_ref());
    let alternatives = choice.into_iter().flat_map(|choice| &choice.alternatives);
    // What a mode will say is not to be undone by a look at the machine.
    let fixed = alternatives.into_iter().any(|one| one.concurrency.is_some());
    Ok(!given && !fixed)
}

/// The values of the workflow's secrets; all that are missing are named at once.
pub(crate) fn secrets(names: &[String]) -> CommandResult<BTreeMap<String, String>> {
    let values = names.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)));
    let values: BTreeMap<String, String> = values.filter(|(_, v)| !v.is_empty()).collect();
    let missing: Vec<&str> =
        names.iter().filter(|name| !values.contains_key(*name)).map(String::as_str).collect();
    if !missing.is_empty() {
        let message = format!("secrets are missing: {}", missing.join(", "));
        return Err(CommandError::usage(message)
            .hint(format!("set them in the environment, as in `export {}=…`", missing[0])));
    }
    let is_short = |value: &String| value.len() < SECRET_BYTES_MIN;
    let short = values.iter().filter(|(_, value)| is_short(value));
    let short: Vec<&str> = short.map(|(name, _)| name.as_str()).collect();
    if !short.is_empty() {
        let short = short.join(", ");
        let message =
            format!("secrets shorter than {SECRET_BYTES_MIN} bytes cannot be masked: {short}");
        return Err(CommandError::usage(message));
    }
    Ok(values)
}

/// Refuses parameters with a secret in them: they are recorded as they are given.
pub(crate) fn refuse_secret_params(
    params: &BTreeMap<String, Value>,
    secrets: &BTreeMap<String, String>,
) -> CommandResult<()> {
    for (name, secret) in secrets {
        let Some(mut masker) = Masker::new(&[secret.as_bytes().to_vec()]) else { continue };
        let mut holds = |value: &Value| {
            let text = value.to_string();
            masker.mask_text(&text) != text
        };
        if let Some((param, _)) = params.iter().find(|(_, value)| holds(value)) {
            let message = format!("parameter `{param}` holds the secret {name}");
            let hint = format!("parameters are recorded; a task that lists {name} in `secrets`");
            let hint = format!("{hint} has it in its environment");
            return Err(CommandError::usage(message).hint(hint));
        }
    }
    Ok(())
}

/// The values of those of the plan's secrets that are there, and of all that `needed` names.
pub(crate) fn secrets_at_hand(
    plan: &Plan,
    needed: &[String],
) -> CommandResult<BTreeMap<String, String>> {
    let is_there =
        |name: &str| std::env::var(name).is_ok_and(|value| value.len() >= SECRET_BYTES_MIN);
    let names = plan.secrets.iter().filter(|name| needed.contains(name) || is_there(name));
    secrets(&names.cloned().collect::<Vec<_>>())
}

/// What every attempt of the run needs. `secrets` are their values.
pub(crate) fn context(
    store: &Store,
    run: &RunId,
    loaded: &Loaded,
    plan: &Plan,
    secrets: BTreeMap<String, String>,
) -> CommandResult<Arc<RunContext>> {
    let base_dir = loaded.origin.base_dir.clone();
    let mut allowed: Vec<PathBuf> = vec![base_dir.clone(), repository(&base_dir).to_owned()];
    allowed.extend(loaded.workflow.allow_paths().iter().map(|path| base_dir.join(path)));
    Ok(Arc::new(RunContext {
        run: run.clone(),
        run_dir: store.run_dir(run).canonicalize()?,
        allowed: allowed.iter().map(|path| real_path(path)).collect(),
        base_dir,
        environment: inherited_environment(std::env::vars_os(), &plan.secrets),
        secrets,
        get: crate::GET,
    }))
}

/// A run that has ended in this process.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) view: RunView,
    /// The signal that asked for the end, if one did.
    pub(crate) signal: Option<u8>,
}

impl Ended {
    pub(crate) fn exit_code(&self) -> u8 {
        match self.view.status() {
            RunStatus::Succeeded | RunStatus::Warned => exit::SUCCESS,
            RunStatus::Failed if self.view.verdict_only => exit::VERDICT,
            RunStatus::Interrupted => self.signal.unwrap_or(exit::FAILED),
            RunStatus::Failed | RunStatus::Cancelled | RunStatus::Running => exit::FAILED,
        }
    }
}

/// Executes a new run to its end.
pub(crate) fn start(
    store: &Store,
    created: Created,
    context: Arc<RunContext>,
    observer: &mut dyn Observer,
) -> CommandResult<Ended> {
    let Created { run, plan, started } = created;
    let session = Session::create(store, run, Arc::new(plan), started)?;
    drive(session, context, observer)
}

/// Executes a run in hand to its end.
pub(crate) fn drive(
    mut session: Session,
    context: Arc<RunContext>,
    observer: &mut dyn Observer,
) -> CommandResult<Ended> {
    session.sync_delay = sync_delay();
    let plan = session.view().plan();
    let is_auto = slots_are_auto(plan)?;
    session.load = is_auto.then(hardware::load_reader);
    session.launch = crate::supervisor().map_err(|error| CommandError::internal(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (controls, received) = unbounded_channel();
    let caught = std::rc::Rc::new(std::cell::Cell::new(None));
    let local = tokio::task::LocalSet::new();
    let finished: CommandResult<_> = local.block_on(&runtime, async {
        listen(SignalKind::interrupt(), exit::INTERRUPTED, &controls, &caught)?;
        listen(SignalKind::terminate(), exit::TERMINATED, &controls, &caught)?;
        outlive_signals()?;
        segue_engine::drive(session, context, received, observer).await.map_err(Into::into)
    });
    Ok(Ended { view: finished?.view, signal: caught.get() })
}

/// The first signal asks for a graceful end, the second for one at once.
fn listen(
    kind: SignalKind,
    code: u8,
    controls: &UnboundedSender<Input>,
    caught: &std::rc::Rc<std::cell::Cell<Option<u8>>>,
) -> std::io::Result<()> {
    let mut signals = signal(kind)?;
    let (controls, caught) = (controls.clone(), std::rc::Rc::clone(caught));
    tokio::task::spawn_local(async move {
        while signals.recv().await.is_some() {
            let at_once = caught.replace(Some(code)).is_some();
            let input = Input::Stop { task: None, reason: StopReason::Shutdown, at_once };
            if controls.send(input).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// A terminal that goes away takes the display with it and not the run, and a limit on the size
/// of files (`ulimit -f`) is an error of the write, as a full disk is.
fn outlive_signals() -> std::io::Result<()> {
    for kind in [SignalKind::hangup(), SignalKind::from_raw(SIGXFSZ)] {
        let mut signals = signal(kind)?;
        tokio::task::spawn_local(async move { while signals.recv().await.is_some() {} });
    }
    Ok(())
}

/// `SEGUE_TEST_SYNC_DELAY_MS` makes every sync slower, to see Segue on a slow disk.
fn sync_delay() -> Option<std::time::Duration> {
    let text = std::env::var("SEGUE_TEST_SYNC_DELAY_MS").ok()?;
    text.parse().ok().filter(|ms| *ms > 0).map(std::time::Duration::from_millis)
}
