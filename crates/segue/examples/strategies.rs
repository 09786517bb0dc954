//! The four strategies on small commands: `cargo run -p segue --example strategies`.
//!
//! Its `main` begins with `main_hook`, so that it needs no installed `segue`.

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::error::Error;

use segue::{
    AgentProcess, Handover, ProcessResult, Session, SessionOptions, in_input_order, main_hook,
};

fn main() -> Result<(), Box<dyn Error>> {
    main_hook();
    let logs = tempfile::tempdir()?;
    let options =
        SessionOptions { base_log_dir: Some(logs.path().to_owned()), ..SessionOptions::default() };
    let session = Session::new("example", &options)?;

    let given = [sh("sleep 0.3; echo slow").id("slow"), sh("echo quick").id("quick")];
    let results = session.run_parallel(&given, Some(2))?;
    show("parallel, as they ended", &results);
    show("parallel, as they were given", &in_input_order(results));

    let handover = Handover { pass_output: true, ..Handover::default() };
    let given = [sh("echo a draft"), AgentProcess::command(["wc", "-l"]).prompt("Improve it.")];
    show("sequential", &session.run_sequential(&given, &handover)?);

    let given = [sh("echo no luck >&2; exit 1"), sh("echo a second way")];
    show("fallback", &session.run_with_fallback(&given, None)?.history);

    let given: Vec<AgentProcess> = (1..=5).map(|n| sh(&format!("echo part {n}"))).collect();
    show("batches of two", &session.run_batched(&given, 2, &Handover::default())?);

    println!("{}", session.summarize());
    Ok(())
}

fn sh(script: &str) -> AgentProcess {
    AgentProcess::command(["sh", "-c", script])
}

fn show(what: &str, results: &[ProcessResult]) {
    println!("{what}:");
    for result in results {
        let (id, code, output) = (&result.id, result.exit_code(), result.stdout.trim());
        println!("  {id} ended with {code}: {output}");
    }
}
