//! The command line: arguments in, engine calls out, exit codes back. It decides nothing.

mod answer;
mod args;
mod error;
mod exec;
mod execute;
mod faces;
mod follow;
mod gc;
mod hardware;
mod house;
mod list;
mod load;
mod look;
mod preview;
mod run;
mod show;
mod stats;

mod stop;
mod strategies;
mod take_up;

use std::process::ExitCode;

use clap::ArgMatches;

pub(crate) use hardware::detect as detect_hardware;

use error::{CommandError, CommandResult, exit};
use segue_journal::Store;

use crate::stdout::Stdout;

/// Runs the command line of this process and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    init_log();
    let words: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let wants_json = words.iter().any(|word| word == "--json" || word == "--json=result");
    let code = match args::parse(words) {
        Ok(matches) => dispatch(&matches),
        Err(args::Refusal::Clap(error)) => {
            // Help and version go to stdout, mistakes to stderr; a closed pipe is no failure.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::SUCCESS });
        }
        Err(args::Refusal::Command(error)) => Err(error),
    };
    match code {
        Ok(code) => ExitCode::from(told(code)),
        Err(error) => {
            if wants_json {
                print_line(&error.to_json().to_string());
            }
            print_error(&error.to_text());
            ExitCode::from(error.exit_code())
        }
    }
}

/// The exit code of a command that has done its work, if what it had to say of it was written.
fn told(code: u8) -> u8 {
    match Stdout::fault() {
        Some(why) => {
            print_error(&format!("error: stdout could not be written: {why}\n"));
            if code == exit::SUCCESS { exit::INTERNAL } else { code }
        }
        None => code,
    }
}

fn dispatch(matches: &ArgMatches) -> CommandResult {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(CommandError::usage("no verb given").hint("`segue --help` lists them"));
    };
    match verb {
        "run" => run::run(matches),
        "plan" => run::plan(matches),
        args::ENGINE_VERB => run::engine(matches),
        "exec" => exec::exec(matches),
        "check" => look::check(matches),
        "graph" => look::graph(matches),
        "list" => list::list(matches),
        "show" => show::show(matches),
        "logs" => follow::logs(matches),
        "events" => follow::events(matches),
        "report" => look::report(matches),
        "stats" => stats::stats(matches),
        "resume" => take_up::resume(matches),
        "retry" => take_up::retry(matches),
        "cancel" => stop::cancel(matches),
        "approve" => answer::answer(matches, segue_core::Answer::Approve),
        "reject" => answer::answer(matches, segue_core::Answer::Reject),
        "schema" => house::schema(),
        "init" => house::init(matches),
        "gc" => gc::gc(matches),
        "doctor" => house::doctor(matches),
        "completions" => house::completions(matches),
        "demo" => house::demo(matches),
        other => Err(CommandError::usage(format!("unknown verb `{other}`"))),
    }
}

/// The store by the one rule that every verb follows; made if `make`.
fn store(make: bool) -> CommandResult<Store> {
    let home = std::env::var_os("SEGUE_HOME");
    let root = Store::locate(&std::env::current_dir()?, home.as_deref());
    if make || root.is_dir() {
        return Ok(Store::open(&root)?);
    }
    let message = format!("there are no runs here: `{}` does not exist", root.display());
    Err(CommandError::not_found(message).hint("`segue run FILE` makes it; SEGUE_HOME names it"))
}

/// One line of data on stdout; whether somebody still reads. That nobody does is no failure.
pub(crate) fn print_line(line: &str) -> bool {
    use std::io::Write;
    let mut out = Stdout::new();
    let line = format!("{line}\n");
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Talk on stderr. Nobody may be listening.
pub(crate) fn print_error(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// `SEGUE_LOG` (or the originals' `DEBUG`) turns Segue's own log on, on stderr.
fn init_log() {
    let debug = std::env::var("DEBUG").is_ok_and(|value| value == "true" || value == "1");
    let filter = std::env::var("SEGUE_LOG")
        .or_else(|_| std::env::var("PIPELINE_LOG_LEVEL").map(|level| level.to_lowercase()))
        .unwrap_or_else(|_| if debug { "debug" } else { "warn" }.to_owned());
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
