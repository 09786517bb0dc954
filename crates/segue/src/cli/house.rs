//! Keeping house: `schema init doctor completions demo`.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use segue_journal::Store;
use serde_json::json;

use super::error::{CommandError, CommandResult, exit};
use super::run::{carry_out, show_of};
use super::{args, execute, hardware, load, print_error, print_line, store};

/// How long an unfinished run's folder is left alone: making one takes less than a second.
const DRAFT_AGE: Duration = Duration::from_secs(3600);

/// The workflow that `init` writes.
const EXAMPLE: &str = include_str!("../../assets/example.segue.yaml");

/// The workflow that `demo` runs.
const DEMO: &str = include_str!("../../assets/demo.segue.yaml");

/// `segue schema`.
pub(crate) fn schema() -> CommandResult {
    print_line(&serde_json::to_string_pretty(&segue_spec::schema()).unwrap_or_default());
    Ok(exit::SUCCESS)
}

/// `segue init [DIR]`.
pub(crate) fn init(matches: &ArgMatches) -> CommandResult {
    let folder = matches.get_one::<PathBuf>("DIR").cloned().unwrap_or_default();
    let path = folder.join("example.segue.yaml");
    let path = path.strip_prefix(".").map(PathBuf::from).unwrap_or(path);
    std::fs::create_dir_all(&folder).map_err(|error| {
        CommandError::usage(format!("folder `{}` cannot be made: {error}", folder.display()))
    })?;
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = made.map_err(|error| {
        let message = format!("`{}` cannot be written: {error}", path.display());
        CommandError::usage(message).hint("an existing file is never overwritten")
    })?;
    std::io::Write::write_all(&mut file, EXAMPLE.as_bytes())?;
    print_line(&path.display().to_string());
    print_error(&format!("run it with `segue run {} World`\n", path.display()));
    Ok(exit::SUCCESS)
}

/// `segue completions SHELL`.
pub(crate) fn completions(matches: &ArgMatches) -> CommandResult {
    let Some(shell) = matches.get_one::<clap_complete::Shell>("SHELL") else {
        return Err(CommandError::usage("no shell given"));
    };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut args::command(), "segue", &mut script);
    print_line(String::from_utf8_lossy(&script).trim_end());
    Ok(exit::SUCCESS)
}

/// `segue doctor [--rebuild]`.
pub(crate) fn doctor(matches: &ArgMatches) -> CommandResult {
    if matches.get_flag("rebuild") {
        return rebuild(&store(false)?);
    }
    let hardware = hardware::detect();
    let slots = segue_core::concurrency_for(&hardware);
    let home = std::env::var_os("SEGUE_HOME");
    let root = Store::locate(&std::env::current_dir()?, home.as_deref());
    let (entries, drafts) = if root.is_dir() {
        let store = Store::open(&root)?;
        let drafts = store.remove_drafts(DRAFT_AGE)?;
        (store.list()?, drafts)
    } else {
        (Vec::new(), 0)
    };
    let unreadable: Vec<_> = entries.iter().filter(|entry| entry.problem.is_some()).collect();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if matches.get_flag("json") {
        let problems: Vec<_> = unreadable
            .iter()
            .map(|entry| json!({"run": entry.run, "problem": entry.problem}))
            .collect();
        let document = json!({
            "version": execute::VERSION, "kernel": kernel.trim(), "hardware": hardware,
            "slots": slots, "store": root, "runs": entries.len(), "unreadable": problems,
            "drafts_removed": drafts,
        });
        print_line(&serde_json::to_string_pretty(&document).unwrap_or_default());
    } else {
        print_line(&format!("segue     {}", execute::VERSION));
        print_line(&format!("kernel    {}", kernel.trim()));
        print_line(&format!(
            "machine   {}, {} cores, {} MiB, {}",
            hardware.kind,
            hardware.cores,
            hardware.memory_bytes >> 20,
            hardware.cpu_model
        ));
        print_line(&format!(
            "slots     {slots} at once, unless a workflow or a flag says otherwise"
        ));
        let made = if root.is_dir() { "" } else { " (not made yet)" };
        print_line(&format!("store     {}{made}", root.display()));
        print_line(&format!("runs      {}", entries.len()));
        if drafts > 0 {
            print_line(&format!("removed   {drafts} halves of runs that were never begun"));
        }
        for entry in &unreadable {
            let problem = entry.problem.as_deref().unwrap_or_default();
            print_line(&format!("unreadable {}: {problem}", entry.run));
        }
        if unreadable.is_empty() {
            print_line("all is well");
        }
    }
    Ok(if unreadable.is_empty() { exit::SUCCESS } else { exit::FAILED })
}

fn rebuild(store: &Store) -> CommandResult {
    let renamed = segue_journal::rebuild(store)?;
    let rebuilt = &renamed.rebuilt;
    print_line(&format!("segue.db made anew from {} runs", rebuilt.runs));
    if let Some(kept) = &renamed.to {
        print_line(&format!("the old one is kept as {}", kept.display()));
    }
    for (run, why) in &rebuilt.unreadable {
        print_error(&format!("run {run} cannot be read: {why}\n"));
    }
    Ok(exit::SUCCESS)
}

/// `segue demo`.
pub(crate) fn demo(matches: &ArgMatches) -> CommandResult {
    let store = store(true)?;
    let folder = store.root().join("demo");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("demo.segue.yaml");
    segue_journal::write_atomic(&path, DEMO.as_bytes())?;
    let loaded = load::load(&path)?;
    let request = segue_core::RunRequest::default();
    let created = execute::create(&store, &loaded, request)?;
    let dir = store.run_dir(&created.run);
    let code = carry_out(&store, created, &loaded, &show_of(matches), false)?;
    print_error(&format!(
        "\nnext:\n  segue show latest            how every task went\n  \
         segue logs latest            what they printed\n  \
         segue report latest          the report; its page is {}\n  \
         segue graph latest           the picture\n  \
         segue plan {}   what it would do, without doing it\n  \
         segue init && segue run example.segue.yaml World\n",
        dir.join("report.html").display(),
        path.display(),
    ));
    Ok(code)
}
