//! `exec`: a strategy without a file. The library's functions behind flags; it decides nothing.

mod jobs;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use segue_core::Millis;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::error::{CommandError, CommandResult, exit};
use super::{print_error, print_line, store};
use crate::library::{
    AgentProcess, ContextOf, Handover, ProcessResult, Session, SessionOptions, Stopper, Strategy,
    StrategyError, rehearse, start, start_kept,
};
use crate::progress::plain_text;

/// Between two commands on one command line.
const SEPARATOR: &str = ":::";

/// What stands on the command line behind `exec`.
pub(super) fn grammar() -> Command {
    let number = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .value_parser(value_parser!(u32).range(1..))
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("exec")
        .about("Run commands without a workflow: at once, in a row, with fallbacks, in batches")
        .after_help(
            "Several commands are separated by `:::`:\n  \
             segue exec --fallback -- ./fast ::: ./thorough\n\
             Without a strategy they run in parallel, as many at once as the machine bears.\n\
             Jobs are JSON Lines: {\"id\": …, \"argv\": […]} or {\"agent\": \"claude\", \
             \"prompt\": …}, with prompt_via, cwd, env, timeout, stall.",
        )
        .arg(number("parallel", "N", "So many at once"))
        .arg(flag("sequential", "One after the other"))
        .arg(flag("fallback", "One after the other until one succeeds"))
        .arg(number("batch", "N", "In batches of N, each after the one before"))
        .group(ArgGroup::new("strategy").args(["parallel", "sequential", "fallback", "batch"]))
        .arg(flag("pass-output", "Put what was printed before into the next prompts, or stdins"))
        .arg(flag(
            "stop-on-failure",
            "Start nothing more after a failure; with --parallel stop all",
        ))
        .arg(
            text("context", "WHOSE", "Whose output is passed on")
                .value_parser(["all", "successful"]),
        )
        .arg(
            text("context-limit", "BYTES", "Pass on at most so many bytes, the newest")
                .value_parser(value_parser!(u64)),
        )
        .arg(text("timeout", "DURATION", "How long each may take, as in 90s, 5m"))
        .arg(text("stall", "DURATION", "How long each may neither print nor work"))
        .arg(text("model", "MODEL", "The model of agents that name none"))
        .arg(flag("skip-permissions", "Let agents do everything without asking"))
        .arg(
            text("jobs", "FILE", "Read jobs from a file, or `-` for stdin; results go to stdout")
                .value_parser(value_parser!(PathBuf))
                .conflicts_with("CMD"),
        )
        .arg(
            text("log-dir", "DIR", "Keep a session's logs there")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(flag("keep", "Keep the run in the store, for `show`, `logs`, `resume`"))
        .arg(flag("dry-run", "Show what would run; start nothing"))
        .arg(flag("json", "Results as JSON Lines on stdout, as each process ends"))
        .arg(
            Arg::new("CMD")
                .num_args(0..)
                .last(true)
                .help("The command; several with `:::` between"),
        )
}

/// `segue exec`.
pub(super) fn exec(matches: &ArgMatches) -> CommandResult {
    let strategy = strategy(matches)?;
    let as_json = matches.get_flag("json") || matches.contains_id("jobs");
    let processes = processes(matches, &strategy, as_json)?;
    if matches.get_flag("dry-run") {
        return show(&strategy, &processes, as_json);
    }
    let caught = Arc::new(AtomicU8::new(0));
    let signals = Signals::new()?;
    let kept = matches.get_flag("keep").then(|| store(true)).transpose()?;
    let session = match matches.get_one::<PathBuf>("log-dir") {
        None => None,
        Some(folder) => {
            let base_log_dir = Some(std::path::absolute(folder)?);
            let store = kept.as_ref().map(|store| store.root().to_owned());
            let options = SessionOptions { base_log_dir, store, ..SessionOptions::default() };
            Some(Session::new(strategy.word(), &options).map_err(refused)?)
        }
    };
    let running = match (&session, &kept) {
        (Some(session), _) => session.start(&strategy, &processes),
        (None, Some(store)) => start_kept(&strategy, &processes, store.root()),
        (None, None) => start(&strategy, &processes),
    };
    let mut running = running.map_err(refused)?;
    signals.stop_by(running.stopper(), Arc::clone(&caught))?;
    let mut ended: Vec<Ended> = Vec::new();
    for result in running.by_ref() {
        if as_json {
            print_line(&result.to_json().to_string());
        }
        ended.push(Ended::of(&result));
    }
    let run = kept.and_then(|_| running.run().cloned());
    running.wait().map_err(refused)?;
    if !as_json {
        print_error(&farewell(&ended, processes.len(), session.as_ref()));
        if let Some(run) = run {
            print_error(&format!("  kept: `segue show {run}`\n"));
        }
    }
    Ok(exit_code(&strategy, &ended, caught.load(Ordering::Relaxed)))
}

/// What is remembered of a result once it is printed.
struct Ended {
    index: usize,
    failure: Option<(segue_core::FailureClass, String)>,
}

impl Ended {
    fn of(result: &ProcessResult) -> Self {
        let told = || format!("`{}` failed: {}", result.id, plain_text(&result.message));
        Self { index: result.index, failure: result.class.map(|class| (class, told())) }
    }
}

fn exit_code(strategy: &Strategy, ended: &[Ended], caught: u8) -> u8 {
    if caught != 0 {
        return caught;
    }
    // Of a fallback only the last that was tried decides.
    let decides = |one: &&Ended| match strategy {
        Strategy::Fallback { .. } => ended.iter().all(|other| other.index <= one.index),
        _ => true,
    };
    let mut failures =
        ended.iter().filter(decides).filter_map(|one| one.failure.as_ref()).peekable();
    if failures.peek().is_none() {
        exit::SUCCESS
    } else if failures.all(|(class, _)| class.is_verdict()) {
        exit::VERDICT
    } else {
        exit::FAILED
    }
}

fn farewell(ended: &[Ended], given: usize, session: Option<&Session>) -> String {
    let mut text = String::new();
    for (_, told) in ended.iter().filter_map(|one| one.failure.as_ref()) {
        text.push_str(&format!("  {told}\n"));
    }
    let failed = ended.iter().filter(|one| one.failure.is_some()).count();
    if given > 1 {
        let good = ended.len() - failed;
        text.push_str(&format!("  {good} of {given} succeeded, {failed} failed"));
        match given - ended.len() {
            0 => text.push('\n'),
            left => text.push_str(&format!(", {left} were not started\n")),
        }
    }
    if let Some(session) = session {
        text.push_str(&format!("  logs: {}\n", session.log_dir().display()));
    }
    text
}

fn strategy(matches: &ArgMatches) -> CommandResult<Strategy> {
    let size = |name: &str| matches.get_one::<u32>(name).map(|size| *size as usize);
    let handover = Handover {
        pass_output: matches.get_flag("pass-output"),
        stop_on_failure: matches.get_flag("stop-on-failure"),
        context: matches.get_one::<String>("context").map(|whose| match whose.as_str() {
            "all" => ContextOf::All,
            _ => ContextOf::Successful,
        }),
        context_limit: matches.get_one::<u64>("context-limit").copied(),
    };
    let hands_over = handover.pass_output || handover.context.is_some();
    let (strategy, in_turn) = if matches.get_flag("sequential") {
        (Strategy::Sequential(handover), true)
    } else if let Some(size) = size("batch") {
        (Strategy::Batched { size, handover }, true)
    } else if matches.get_flag("fallback") {
        if handover.stop_on_failure {
            let message = "`--stop-on-failure` and `--fallback` exclude each other";
            return Err(CommandError::usage(message));
        }
        (Strategy::Fallback { timeout: duration(matches, "timeout")?.map(span) }, false)
    } else {
        let stop_on_failure = handover.stop_on_failure;
        (Strategy::Parallel { max_parallel: size("parallel"), stop_on_failure }, false)
    };
    if hands_over && !in_turn {
        let message = "`--pass-output` and `--context` need something that goes before";
        return Err(CommandError::usage(message).hint("add `--sequential` or `--batch N`"));
    }
    Ok(strategy)
}

const fn span(millis: Millis) -> std::time::Duration {
    std::time::Duration::from_millis(millis.0)
}

fn duration(matches: &ArgMatches, name: &str) -> CommandResult<Option<Millis>> {
    let Some(text) = matches.get_one::<String>(name) else { return Ok(None) };
    let wrong = |why| CommandError::usage(format!("--{name} {text:?} is no duration: {why}"));
    Ok(Some(segue_spec::duration(text, true).map_err(wrong)?))
}

/// The processes of the command line or of the jobs, with what the flags say of all of them.
fn processes(
    matches: &ArgMatches,
    strategy: &Strategy,
    as_json: bool,
) -> CommandResult<Vec<AgentProcess>> {
    let timeout = duration(matches, "timeout")?.map(span);
    let stall = duration(matches, "stall")?.map(span);
    let given = match matches.get_one::<PathBuf>("jobs") {
        Some(path) => jobs::read(path)?,
        None => {
            let words = matches.get_many::<String>("CMD").into_iter().flatten().cloned();
            commands(words.collect())?
        }
    };
    let equipped = given.into_iter().map(|mut process| {
        if let (Some(timeout), false) = (timeout, matches!(strategy, Strategy::Fallback { .. })) {
            process = process.timeout_if_none(timeout);
        }
        if let Some(stall) = stall {
            process = process.idle_if_fitting(stall);
        }
        if let Some(model) = matches.get_one::<String>("model") {
            process = process.model_if_none(model);
        }
        if matches.get_flag("skip-permissions") {
            process = process.skip_permissions(true);
        }
        process.stream_output(!as_json)
    });
    Ok(equipped.collect())
}

fn commands(words: Vec<String>) -> CommandResult<Vec<AgentProcess>> {
    if words.is_empty() {
        return Err(CommandError::usage("no command given")
            .hint("`segue exec -- CMD`, or `segue exec --jobs FILE`"));
    }
    let commands: Vec<Vec<String>> =
        words.split(|word| word == SEPARATOR).map(<[String]>::to_vec).collect();
    if commands.iter().any(Vec::is_empty) {
        let message = format!("there is no command between two `{SEPARATOR}`, or at an end");
        return Err(CommandError::usage(message));
    }
    Ok(commands.into_iter().map(AgentProcess::command).collect())
}

/// `--dry-run`.
fn show(strategy: &Strategy, processes: &[AgentProcess], as_json: bool) -> CommandResult {
    let plan = rehearse(strategy, processes).map_err(refused)?;
    let slots = plan.limits.concurrency;
    if as_json {
        let shown: Vec<serde_json::Value> = plan
            .tasks
            .iter()
            .zip(processes)
            .enumerate()
            .map(|(index, (task, process))| {
                json!({
                    "index": index,
                    "id": task.id,
                    "command": process.command_line(),
                    "prompt_bytes": process.prompt_bytes(),
                    "needs": task.needs,
                    "stage": task.stage,
                    "when": task.when.word(),
                    "timeout": task.limits.timeout.map(Millis::as_secs_f64),
                    "stall": task.limits.stall.map(Millis::as_secs_f64),
                })
            })
            .collect();
        let document = json!({
            "strategy": strategy.word(), "concurrency": slots, "processes": shown,
        });
        print_line(&document.to_string());
        return Ok(exit::SUCCESS);
    }
    let at_once = slots.unwrap_or(1);
    print_line(&format!("{}: {} processes, {at_once} at once", strategy.word(), processes.len()));
    for (task, process) in plan.tasks.iter().zip(processes) {
        print_line(&format!("  {}  {}", task.id, plain_text(&process.command_line())));
    }
    Ok(exit::SUCCESS)
}

/// The signals that end a strategy. Caught from before its first process is started.
struct Signals {
    runtime: tokio::runtime::Runtime,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let guard = runtime.enter();
        let (interrupt, terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let hangup = signal(SignalKind::hangup())?;
        drop(guard);
        Ok(Self { runtime, interrupt, terminate, hangup })
    }

    /// The first signal stops gracefully, the second at once. A terminal that goes away ends
    /// nothing.
    fn stop_by(mut self, stopper: Stopper, caught: Arc<AtomicU8>) -> std::io::Result<()> {
        let wait = move || {
            self.runtime.block_on(async {
                loop {
                    let code = tokio::select! {
                        _ = self.interrupt.recv() => exit::INTERRUPTED,
                        _ = self.terminate.recv() => exit::TERMINATED,
                        _ = self.hangup.recv() => continue,
                    };
                    if caught.swap(code, Ordering::Relaxed) == 0 {
                        stopper.stop();
                    } else {
                        stopper.kill();
                    }
                }
            });
        };
        std::thread::Builder::new().name("segue-signals".to_owned()).spawn(wait).map(|_| ())
    }
}

/// What the library refuses is a matter of usage; what breaks off is not.
fn refused(error: StrategyError) -> CommandError {
    match error {
        StrategyError::NoProcesses => {
            CommandError::usage("`--fallback` needs at least one process")
        }
        StrategyError::Size { .. }
        | StrategyError::TooMany { .. }
        | StrategyError::NoTime { .. }
        | StrategyError::NoLimit { .. }
        | StrategyError::InvalidId { .. }
        | StrategyError::InvalidName(_)
        | StrategyError::NoProgram { .. } => CommandError::usage(error.to_string()),
        StrategyError::Run(error) => error.into(),
        error => CommandError::internal(&error),
    }
}
