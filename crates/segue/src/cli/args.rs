//! The command line's grammar. A workflow's parameters become flags of `run` and `plan`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use segue_core::{Millis, RunRequest, Value};
use segue_spec::{ParamSpec, ParamType};

use super::error::{CommandError, CommandResult};
use super::load;

/// The hidden verb that drives a detached run.
pub(crate) const ENGINE_VERB: &str = "__engine";

/// Why there is nothing to do.
#[derive(Debug)]
pub(crate) enum Refusal {
    Clap(Box<clap::Error>),
    Command(CommandError),
}

/// Parses the command line.
pub(crate) fn parse(words: Vec<OsString>) -> Result<ArgMatches, Refusal> {
    let words = without_resume(words);
    let mut command = command();
    let text = |index: usize| words.get(index).and_then(|word| word.to_str());
    if let Some(verb @ ("run" | "plan")) = text(1)
        && let Some(path) = file_of(&words, &command)
    {
        let loaded = load::load(&path).map_err(Refusal::Command)?;
        command = command.mut_subcommand(verb, |command| with_params(command, &loaded));
    }
    command.try_get_matches_from(words).map_err(|error| Refusal::Clap(Box::new(error)))
}

/// `run --resume RUN`, or `--restore`, is `resume RUN`.
fn without_resume(mut words: Vec<OsString>) -> Vec<OsString> {
    if words.get(1).is_none_or(|verb| verb != "run") {
        return words;
    }
    let found = words.iter().take_while(|word| *word != "--").enumerate().find_map(|(at, word)| {
        let text = word.to_str()?;
        let rest = ["--resume", "--restore"].iter().find_map(|flag| text.strip_prefix(flag))?;
        let value = rest.strip_prefix('=').map(OsString::from);
        (rest.is_empty() || value.is_some()).then_some((at, value))
    });
    let Some((at, value)) = found else { return words };
    match value {
        Some(value) => words[at] = value,
        None => drop(words.remove(at)),
    }
    // A run's folder names it as well.
    let path = words.get(at).map(PathBuf::from).filter(|path| path.is_dir());
    if let Some(name) = path.as_deref().and_then(Path::file_name) {
        words[at] = name.to_owned();
    }
    words[1] = "resume".into();
    words
}

/// The workflow's file: of the words after the verb that are no flags and no known flag's value,
/// the first one that is a file or is called like one, else the first. The flags of its
/// parameters, and so which words are their values, are known only once it is read.
fn file_of(words: &[OsString], command: &Command) -> Option<PathBuf> {
    let run = command.find_subcommand("run");
    let takes_next = |arg: &&Arg| arg.get_action().takes_values() && !arg.is_require_equals_set();
    let valued = run.into_iter().flat_map(Command::get_arguments).filter(takes_next);
    let valued: Vec<String> =
        valued.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect();
    let mut words = words.iter().skip(2);
    let mut first = None;
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if valued.iter().any(|flag| *flag == text) {
            words.next();
        } else if !text.starts_with('-') {
            if text.ends_with(".yaml") || text.ends_with(".yml") || is_file(&text) {
                return Some(PathBuf::from(word));
            }
            first = first.or_else(|| Some(PathBuf::from(word)));
        }
    }
    first
}

fn with_params(command: Command, loaded: &load::Loaded) -> Command {
    let workflow = &loaded.workflow;
    let about = match workflow.description() {
        "" => format!("Run workflow `{}`", workflow.name()),
        description => format!("{description} (workflow `{}`)", workflow.name()),
    };
    let mut command = command.about(about).after_help(None::<&str>);
    for param in workflow.params() {
        command = command.arg(param_arg(param));
    }
    for (place, param) in workflow.params().iter().filter(|param| param.positional).enumerate() {
        let name = format!("{}{}", POSITIONAL_PREFIX, param.name);
        command = command.arg(
            Arg::new(name)
                .value_name(param.name.to_uppercase())
                .index(place + 2)
                .help(param.help.clone())
                .conflicts_with(PARAM_PREFIX.to_owned() + &param.name),
        );
    }
    command
}

const PARAM_PREFIX: &str = "param:";
const POSITIONAL_PREFIX: &str = "positional:";

fn param_arg(param: &ParamSpec) -> Arg {
    let mut help = param.help.clone();
    let mut note = |text: String| {
        if !help.is_empty() {
            help.push(' ');
        }
        help.push_str(&text);
    };
    if let Some(default) = &param.default {
        let shown = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        note(format!("[default: {shown}]"));
    }
    if param.required && !param.positional {
        note("[required]".to_owned());
    }
    let mut arg = Arg::new(format!("{PARAM_PREFIX}{}", param.name))
        .long(param.flag())
        .value_name(param.name.to_uppercase())
        .help(help)
        .help_heading("Parameters")
        .allow_hyphen_values(true);
    arg = arg.visible_aliases(param.aliases.clone());
    if param.name.contains('_') {
        arg = arg.alias(param.name.clone());
    }
    match param.kind {
        ParamType::Boolean => {
            arg.num_args(0..=1).default_missing_value("true").require_equals(true)
        }
        ParamType::List => arg.action(ArgAction::Append),
        _ => arg,
    }
}

/// The request that the flags of `run` and `plan` make up.
pub(crate) fn request(matches: &ArgMatches, params: &[ParamSpec]) -> CommandResult<RunRequest> {
    let mut request = RunRequest::default();
    for param in params {
        let named = format!("{PARAM_PREFIX}{}", param.name);
        let positional = format!("{POSITIONAL_PREFIX}{}", param.name);
        let given = matches.get_many::<String>(&named);
        let given = given.or_else(|| {
            param.positional.then(|| matches.get_many::<String>(&positional)).flatten()
        });
        let Some(values) = given else { continue };
        let mut values: Vec<&String> = values.collect();
        let value = match (values.len(), param.kind) {
            (2.., ParamType::List) => values.into_iter().cloned().map(Value::String).collect(),
            _ => values.pop().map_or(Value::Null, |value| Value::String(value.clone())),
        };
        request.params.insert(param.name.clone(), value);
    }
    common_request(matches, &mut request)?;
    let many = |name: &str| -> Vec<String> {
        matches.get_many::<String>(name).into_iter().flatten().cloned().collect()
    };
    request.only = many("only");
    request.skip = many("skip");
    request.force = matches.get_flag("force");
    request.mode = matches.get_one::<String>("mode").cloned();
    request.probe = matches.get_one::<f64>("probe").copied();
    if request.probe.is_some_and(|number| !number.is_finite()) {
        return Err(CommandError::usage("`--probe` takes a number, not one without an end"));
    }
    Ok(request)
}

/// The flags that `run` and `resume` share.
pub(crate) fn common_request(matches: &ArgMatches, request: &mut RunRequest) -> CommandResult<()> {
    if let Some(slots) = matches.get_one::<u32>("concurrency") {
        request.concurrency = Some(*slots);
    }
    if request.concurrency.is_none() {
        request.concurrency = super::execute::slots_of_environment()?;
    }
    // What a run was asked for once is stronger than the environment it is resumed in.
    let timeout = matches.get_one::<String>("timeout").map(|text| ("--timeout", text.clone()));
    let of_env = |name, asked: Option<Millis>| match asked {
        Some(_) => None,
        None => env_of(&[name]),
    };
    if let Some(given) = timeout.or_else(|| of_env("SEGUE_TIMEOUT", request.timeout)) {
        request.timeout = Some(duration(&given)?);
    }
    if let Some(given) = of_env("AGENT_TIMEOUT", request.attempt_timeout) {
        request.attempt_timeout = Some(duration(&given)?);
    }
    let tries = matches.try_get_one::<u32>("retry").ok().flatten().copied();
    request.retry_attempts = tries.or(request.retry_attempts);
    if let (None, Some((name, text))) =
        (request.retry_attempts, env_of(&["SEGUE_RETRY_ATTEMPTS", "RETRY_ATTEMPTS"]))
    {
        let wrong = || CommandError::usage(format!("{name} {text:?} is no number from 1 up"));
        request.retry_attempts = Some(text.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?);
    }
    for flag in ["budget", "tokens", "record", "replay"] {
        if matches.try_contains_id(flag).unwrap_or(false) && matches.contains_id(flag) {
            let message = format!("`--{flag}` is not acted on by this build");
            return Err(CommandError::usage(message).hint("leave it out; it comes with agents"));
        }
    }
    Ok(())
}

fn duration((name, text): &(&str, String)) -> CommandResult<Millis> {
    let wrong = |why| CommandError::usage(format!("{name} {text:?} is no duration: {why}"));
    segue_spec::duration(text, true).map_err(wrong)
}

/// The first of these variables that is set and not empty, with its value.
fn env_of(names: &[&'static str]) -> Option<(&'static str, String)> {
    let mut set = names.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?)));
    set.find(|(_, text)| !text.is_empty())
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn value(name: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value_name).help(help)
}

fn slots_arg() -> Arg {
    value("concurrency", "N", "How many attempts run at once [default: what the machine bears]")
        .value_parser(value_parser!(u32).range(1..))
}

fn run_arg() -> Arg {
    Arg::new("RUN").required(true).help("`latest`, a run's id, or the beginning of it")
}

fn follow_arg() -> Arg {
    Arg::new("follow")
        .short('f')
        .long("follow")
        .action(ArgAction::SetTrue)
        .help("Go on as it grows")
}

fn json_arg() -> Arg {
    flag("json", "Machine-readable output on stdout")
}

/// The whole grammar, parameters of no workflow in it.
pub(crate) fn command() -> Command {
    Command::new("segue")
        .version(super::execute::VERSION)
        .about("Runs AI agents and commands in production: durable, bounded, verified")
        .after_help("Start with `segue demo`, or `segue init` and `segue run FILE`.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(acting())
        .subcommands(looking())
        .subcommands(housekeeping())
}

fn file_arg() -> Arg {
    Arg::new("FILE").value_parser(value_parser!(PathBuf)).help("The workflow's file").index(1)
}

/// The flags that `run` and `plan` share.
fn run_args(command: Command) -> Command {
    command
        .arg(file_arg().required(true))
        .after_help("`segue run FILE --help` shows the parameters of that workflow, too.")
        .arg(slots_arg())
        .arg(value("timeout", "DURATION", "How long the run may take, as in 90s, 5m, 1h30m"))
        .arg(
            value("retry", "N", "Tries for every task that may be retried")
                .value_parser(value_parser!(u32).range(1..)),
        )
        .arg(
            value("only", "TASK", "Only this task and what it needs; repeatable")
                .action(ArgAction::Append),
        )
        .arg(value("skip", "TASK", "Not this task; repeatable").action(ArgAction::Append))
        .arg(flag("force", "Run also what `skip_if` would skip"))
        .arg(value("mode", "MODE", "In this mode of the workflow [default: the file's]"))
        .arg(
            value("probe", "N", "As if the mode's probe had measured this; it does not run")
                .value_parser(value_parser!(f64))
                .allow_negative_numbers(true),
        )
        .arg(value("budget", "AMOUNT", "Not in this build").hide(true))
        .arg(value("tokens", "N", "Not in this build").hide(true))
        .arg(value("record", "DIR", "Not in this build").hide(true))
        .arg(value("replay", "DIR", "Not in this build").hide(true))
}

fn acting() -> Vec<Command> {
    let resume = Command::new("resume")
        .about("Go on with a run: what did not succeed runs, what runs is adopted")
        .arg(run_arg())
        .arg(slots_arg())
        .arg(value("timeout", "DURATION", "How long it may take from now on"))
        .arg(value("skip", "TASK", "Not this task; repeatable").action(ArgAction::Append))
        .arg(flag("accept-changes", "Go on although the workflow has changed since"))
        .arg(output_arg())
        .arg(json_run_arg());
    let retry = Command::new("retry")
        .about("Run a task of a finished run again, and all that depends on it")
        .arg(run_arg())
        .arg(value("from", "TASK", "Where to start over").required(true))
        .arg(slots_arg())
        .arg(value("timeout", "DURATION", "How long it may take from now on"))
        .arg(flag("accept-changes", "Go on although the workflow has changed since"))
        .arg(output_arg())
        .arg(json_run_arg());
    vec![
        run_args(Command::new("run").about("Run a workflow"))
            .arg(
                value("resume", "RUN", "Go on with a run, as `segue resume RUN` does")
                    .visible_alias("restore"),
            )
            .arg(flag("dry-run", "Show what would happen, as `plan` does"))
            .arg(flag("detach", "Run in the background and print the run's id"))
            .arg(flag("ephemeral", "Keep nothing: a private store, deleted at the end"))
            .arg(flag("no-checkpoints", "The same as --ephemeral").hide(true))
            .arg(flag("no-metrics", "Accepted; this build takes no samples").hide(true))
            .arg(output_arg())
            .arg(json_run_arg()),
        run_args(
            Command::new("plan").about("Show what a run would do; starts and records nothing"),
        )
        .arg(json_arg()),
        resume,
        retry,
        Command::new("cancel")
            .about("End a run, or one task of it; `resume` takes it up again")
            .arg(run_arg())
            .arg(Arg::new("TASK").help("Only this task"))
            .arg(flag("now", "Without grace")),
        super::exec::grammar(),
        answer("approve", "Let a task go on that waits for a person's answer"),
        answer("reject", "Fail a task that waits for a person's answer"),
        Command::new(ENGINE_VERB).hide(true).arg(run_arg()),
    ]
}

fn answer(verb: &'static str, about: &'static str) -> Command {
    Command::new(verb)
        .about(about)
        .arg(run_arg())
        .arg(Arg::new("TASK").required(true).help("The task that asks"))
        .arg(value("note", "TEXT", "What to say to it; dependents see it as an output"))
}

fn output_arg() -> Arg {
    value("output", "HOW", "What to show of the tasks' own output")
        .value_parser(["prefixed", "raw", "none"])
        .default_value("none")
}

fn json_run_arg() -> Arg {
    Arg::new("json")
        .long("json")
        .value_name("WHAT")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("result")
        .value_parser(["result", "events"])
        .help("Print the result, or with =events every event, as JSON on stdout")
}

fn looking() -> Vec<Command> {
    let format = |values: [&'static str; 3], default: &'static str| {
        value("format", "FORMAT", "How to print it").value_parser(values).default_value(default)
    };
    vec![
        Command::new("check")
            .about("Say everything that is wrong with workflows")
            .arg(
                Arg::new("FILE")
                    .required(true)
                    .num_args(1..)
                    .value_parser(value_parser!(PathBuf))
                    .help("Workflow files"),
            )
            .arg(json_arg()),
        Command::new("graph")
            .about("Draw a workflow, or a run with how it stands")
            .arg(Arg::new("WHAT").required(true).help("A workflow's file, or a run"))
            .arg(format(["mermaid", "dot", "svg"], "mermaid")),
        Command::new("list")
            .about("List runs, newest first")
            .arg(
                value("status", "A,B", "Only runs that are running, succeeded, warned, failed, …")
                    .value_delimiter(','),
            )
            .arg(value("workflow", "NAME", "Only runs of this workflow"))
            .arg(
                value("param", "K=V", "Only runs that were given this parameter")
                    .action(ArgAction::Append),
            )
            .arg(flag("resumable", "Only runs that `resume` can go on with"))
            .arg(
                value("limit", "N", "At most so many")
                    .value_parser(value_parser!(usize))
                    .default_value("50"),
            )
            .arg(
                Arg::new("verbose")
                    .short('v')
                    .long("verbose")
                    .action(ArgAction::SetTrue)
                    .help("Parameters, steps and failures too"),
            )
            .arg(json_arg()),
        Command::new("show").about("Show how a run stands").arg(run_arg()).arg(json_arg()),
        Command::new("logs")
            .about("Print what tasks printed")
            .arg(run_arg())
            .arg(Arg::new("TASK").help("Only this task, or TASK[KEY] for one of its items"))
            .arg(follow_arg()),
        Command::new("events")
            .about("Print a run's events as JSON lines")
            .arg(run_arg())
            .arg(follow_arg()),
        Command::new("report")
            .about("Print the report of a run")
            .arg(run_arg())
            .arg(format(["md", "json", "html"], "md")),
        Command::new("stats")
            .about("Print what ended runs come to: success rates, times, costs, causes")
            .arg(Arg::new("WORKFLOW").help("Only this workflow, by its name"))
            .arg(value("since", "WHEN", "Only runs that ended since: 12h, 30d or 2026-11-25"))
            .arg(json_arg()),
    ]
}

fn housekeeping() -> Vec<Command> {
    vec![
        Command::new("schema").about("Print the JSON Schema of workflow files"),
        Command::new("init").about("Write an example workflow").arg(
            Arg::new("DIR")
                .value_parser(value_parser!(PathBuf))
                .default_value(".")
                .help("Where to"),
        ),
        Command::new("doctor")
            .about("Check this machine and the store")
            .arg(flag("rebuild", "Make segue.db anew from the runs' journals"))
            .arg(json_arg()),
        Command::new("gc")
            .about("Remove old runs; never one that is at work, nor one that can be resumed")
            .arg(
                value("older-than", "AGE", "Only runs that ended so long ago, as in 12h or 30d")
                    .default_value("30d"),
            )
            .arg(
                value("keep", "N", "Keep the newest N runs of each workflow, however old")
                    .value_parser(value_parser!(usize))
                    .default_value("10"),
            )
            .arg(flag("resumable", "Also failed, cancelled and interrupted runs"))
            .arg(flag("dry-run", "Say what would be removed, and remove nothing"))
            .arg(json_arg()),
        Command::new("completions").about("Print shell completions").arg(
            Arg::new("SHELL")
                .required(true)
                .value_parser(value_parser!(clap_complete::Shell))
                .help("The shell"),
        ),
        Command::new("demo")
            .about("See Segue at work: a small workflow of real processes")
            .arg(json_run_arg()),
    ]
}

/// Whether `text` names a file rather than a run.
pub(crate) fn is_file(text: &str) -> bool {
    Path::new(text).is_file()
}

#[cfg(test)]
mod tests;
