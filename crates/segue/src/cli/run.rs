//! `run`, `plan`, and the hidden verb behind `run --detach`.

use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::ArgMatches;
use segue_core::{RunId, RunView};
use segue_journal::Store;
use serde_json::json;

use super::error::{CommandError, CommandResult, exit};
use super::execute::{self, Created, Ended};
use super::faces::{self, Output, Show};
use super::load::{self, Loaded};
use super::{args, preview, print_error, print_line, store};
use crate::progress::plain_text;

/// How long a detached run's engine may take to begin.
const BEGIN_PATIENCE: Duration = Duration::from_secs(30);

/// `segue run FILE`.
pub(crate) fn run(matches: &ArgMatches) -> CommandResult {
    let loaded = runnable(matches)?;
    let request = args::request(matches, loaded.workflow.params())?;
    if matches.get_flag("dry-run") {
        return preview::show(&loaded, &request, matches.contains_id("json"));
    }
    // Parameters and secrets are all found wanting before anything is written.
    let rehearsal = loaded.plan(&request, "run", segue_engine::wall_now())?;
    let secrets = execute::secrets(&rehearsal.secrets)?;
    execute::refuse_secret_params(&rehearsal.params, &secrets)?;
    tell_left_out(&rehearsal);
    let ephemeral = matches.get_flag("ephemeral") || matches.get_flag("no-checkpoints");
    let private = ephemeral.then(tempfile::tempdir).transpose()?;
    let store = match &private {
        Some(folder) => Store::open(&folder.path().join("store"))?,
        None => store(true)?,
    };
    if matches.get_flag("detach") {
        if ephemeral {
            return Err(CommandError::usage("`--detach` and `--ephemeral` exclude each other"));
        }
        return detach(&store, &loaded, request);
    }
    let show = show_of(matches);
    let created = execute::create(&store, &loaded, request)?;
    carry_out(&store, created, &loaded, &show, ephemeral)
}

/// Says which tasks do not run because of others that were not selected.
fn tell_left_out(plan: &segue_core::Plan) {
    let out = segue_core::left_out(plan);
    let along = plan.tasks.iter().zip(out).filter(|(task, out)| *out && !task.excluded);
    let names: Vec<&str> = along.map(|(task, _)| task.id.as_str()).collect();
    if !names.is_empty() {
        let names = names.join(", ");
        print_error(&format!("note: skipped, as what they need is not selected: {names}\n"));
    }
}

/// Executes a run that has its folder and shows it, to its end.
pub(crate) fn carry_out(
    store: &Store,
    created: Created,
    loaded: &Loaded,
    show: &Show,
    ephemeral: bool,
) -> CommandResult {
    let secrets = execute::secrets(&created.plan.secrets)?;
    let context = execute::context(store, &created.run, loaded, &created.plan, secrets)?;
    let run_dir = context.run_dir.clone();
    let (run, plan) = (created.run.clone(), created.plan.clone());
    let ended = faces::with_faces(show, &run_dir, &plan, |observer| {
        execute::start(store, created, context, observer)
    })?;
    conclude(store, &run, &ended, show, ephemeral)
}

/// `segue plan FILE`.
pub(crate) fn plan(matches: &ArgMatches) -> CommandResult {
    let loaded = runnable(matches)?;
    let request = args::request(matches, loaded.workflow.params())?;
    preview::show(&loaded, &request, matches.get_flag("json"))
}

/// `segue __engine RUN`: drives a run that `run --detach` made.
pub(crate) fn engine(matches: &ArgMatches) -> CommandResult {
    let store = store(false)?;
    let run = RunId::parse(&text(matches, "RUN"))
        .map_err(|error| CommandError::not_found(error.to_string()))?;
    let loaded = load::load_kept(&store.run_dir(&run))?;
    let created = execute::created(&store, run.clone())?;
    let secrets = execute::secrets(&created.plan.secrets)?;
    let context = execute::context(&store, &run, &loaded, &created.plan, secrets)?;
    let ended = execute::start(&store, created, context, &mut ())?;
    write_reports(&store, &run, &ended.view)?;
    Ok(ended.exit_code())
}

/// The workflow named on the command line, refused if this build would not act on all of it.
fn runnable(matches: &ArgMatches) -> CommandResult<Loaded> {
    let path = matches.get_one::<PathBuf>("FILE").cloned().unwrap_or_default();
    let loaded = load::load(&path)?;
    if !loaded.workflow.unsupported().is_empty() {
        return Err(CommandError::diagnostics(loaded.workflow.unsupported()));
    }
    loaded.warnings().iter().for_each(|warnings| print_error(&warnings.render(false, 100)));
    Ok(loaded)
}

fn detach(store: &Store, loaded: &Loaded, request: segue_core::RunRequest) -> CommandResult {
    let created = execute::create(store, loaded, request)?;
    let dir = store.run_dir(&created.run);
    let mut log = std::fs::OpenOptions::new();
    let log = log.write(true).create(true).truncate(true).mode(0o600);
    let log = log.open(dir.join("engine.log"))?;
    let changes = segue_engine::Changes::new()?;
    changes.add(&dir)?;
    let child = Command::new("/proc/self/exe")
        .args([args::ENGINE_VERB, created.run.as_str()])
        .env("SEGUE_HOME", store.root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn();
    let mut engine = child.map_err(|error| CommandError::internal(&error))?;
    // Whoever follows the run finds it under way: its journal begins under its lock.
    let until = Instant::now() + BEGIN_PATIENCE;
    while !std::fs::metadata(dir.join("events.jsonl")).is_ok_and(|journal| journal.len() > 0) {
        if engine.try_wait()?.is_some() || Instant::now() > until {
            let why = std::fs::read_to_string(dir.join("engine.log")).unwrap_or_default();
            let error = std::io::Error::other(format!("its engine did not begin: {}", why.trim()));
            return Err(CommandError::internal(&error));
        }
        changes.wait(Duration::from_millis(100));
    }
    print_line(created.run.as_str());
    print_error(&format!("follow it with `segue events {} -f`\n", created.run));
    Ok(exit::SUCCESS)
}

pub(crate) fn text(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}

/// What the flags ask to be shown.
pub(crate) fn show_of(matches: &ArgMatches) -> Show {
    let output = matches.try_get_one::<String>("output").ok().flatten();
    let output = match output.map(String::as_str) {
        Some("prefixed") => Output::Prefixed,
        Some("raw") => Output::Raw,
        _ => Output::None,
    };
    let json = matches.get_one::<String>("json").map(String::as_str);
    Show { output, events: json == Some("events"), result: json == Some("result") }
}

/// Writes the reports and tells the end of a run.
pub(crate) fn conclude(
    store: &Store,
    run: &RunId,
    ended: &Ended,
    show: &Show,
    ephemeral: bool,
) -> CommandResult {
    if !ephemeral {
        write_reports(store, run, &ended.view)?;
    }
    let view = &ended.view;
    if show.result {
        print_line(&result_document(view).to_string());
    } else if !show.events {
        if let Some(text) = display(view) {
            print_line(text.trim_end());
        }
        print_error(&farewell(run, view, ephemeral));
    }
    Ok(ended.exit_code())
}

/// The run's result for machines.
pub(crate) fn result_document(view: &RunView) -> serde_json::Value {
    let state = view.state();
    let until = view.ended_at.unwrap_or(state.last_at);
    json!({
        "run": state.run,
        "workflow": view.plan().workflow,
        "status": view.status(),
        "outputs": view.outputs,
        "failure": view.failure,
        "metrics": view.metrics(),
        "duration": until.since(state.started_at).as_secs_f64(),
        "cost_usd": view.cost().map(segue_core::Usd::dollars),
    })
}

/// The workflow's `display`, rendered; what went wrong instead, if it cannot be.
fn display(view: &RunView) -> Option<String> {
    let template = view.plan().display.as_ref()?;
    let names = segue_core::check_template(&template.0, segue_core::Mode::Text).ok()?;
    let scope = segue_core::run_scope(view.plan(), view.state(), &names, view.status());
    match segue_core::render(&template.0, segue_core::Mode::Text, &scope) {
        Ok(text) => Some(text),
        // What a failed run has no value for, its failure explains.
        Err(_) if view.status() == segue_core::RunStatus::Failed => None,
        Err(error) => Some(format!("`display` cannot be rendered: {error}")),
    }
}

fn farewell(run: &RunId, view: &RunView, ephemeral: bool) -> String {
    use segue_core::RunStatus;
    let mut text = String::new();
    if let Some(failure) = &view.failure {
        let task = failure.task.as_ref().map(|task| format!("`{task}` ")).unwrap_or_default();
        let message = plain_text(&failure.message);
        text.push_str(&format!("  {task}failed ({}): {message}\n", failure.class));
    }
    if ephemeral {
        return text;
    }
    match view.status() {
        RunStatus::Interrupted => {
            text.push_str(&format!("  go on with `segue resume {run}`\n"));
        }
        RunStatus::Failed if let Some(task) = super::take_up::held(view).first() => {
            text.push_str(&format!(
                "  `{task}` may have had its effect; \
                 `segue retry {run} --from {task}` starts it again\n"
            ));
        }
        RunStatus::Failed | RunStatus::Cancelled => {
            text.push_str(&format!(
                "  look with `segue logs {run}`, go on with `segue resume {run}`\n"
            ));
        }
        _ => text.push_str(&format!("  report: `segue report {run}`\n")),
    }
    text
}

/// Writes `report.json`, `report.md` and `report.html` beside the journal, side by side.
pub(crate) fn write_reports(store: &Store, run: &RunId, view: &RunView) -> CommandResult<()> {
    let dir = store.run_dir(run);
    let write = |name: &str, text: &[u8]| segue_journal::write_atomic(&dir.join(name), text);
    std::thread::scope(|scope| {
        let json = scope.spawn(|| {
            let json = serde_json::to_vec_pretty(&crate::report::json(view)).unwrap_or_default();
            write("report.json", &json)
        });
        let markdown = crate::report::markdown(view);
        write("report.md", markdown.as_bytes())?;
        let html = crate::report::html(view, &|attempt| super::look::log_tail(&dir, attempt));
        write("report.html", html.as_bytes())?;
        json.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(())
}
