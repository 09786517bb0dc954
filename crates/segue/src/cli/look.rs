//! The verbs that only look: `check graph report`.

use std::path::{Path, PathBuf};

use clap::ArgMatches;
use segue_core::AttemptId;
use serde_json::{Value, json};

use super::error::{CommandResult, exit};
use super::run::text;
use super::{args, load, print_error, print_line, store, take_up};

/// How much of a log a report shows.
const LOG_TAIL_BYTES: u64 = 16 << 10;

/// `segue check FILE…`.
pub(crate) fn check(matches: &ArgMatches) -> CommandResult {
    let as_json = matches.get_flag("json");
    let mut wrong = false;
    let mut all: Vec<Value> = Vec::new();
    for path in matches.get_many::<PathBuf>("FILE").into_iter().flatten() {
        let file = path.display().to_string();
        match load::load(path) {
            Ok(loaded) => {
                let mut notes = vec![loaded.workflow.unsupported().clone()];
                notes.extend(loaded.warnings());
                let later = !loaded.workflow.unsupported().is_empty();
                if as_json {
                    let found = notes.iter().flat_map(|n| n.to_json().as_array().cloned());
                    let found: Vec<Value> = found.flatten().collect();
                    all.push(json!({"file": file, "ok": true, "diagnostics": found}));
                } else {
                    for notes in notes.into_iter().filter(|notes| !notes.is_empty()) {
                        print_error(&notes.render(console::colors_enabled_stderr(), 100));
                    }
                    let note =
                        if later { " (but this build does not act on all of it)" } else { "" };
                    print_line(&format!("{file}: ok{note}"));
                }
            }
            Err(error) => {
                wrong = true;
                if as_json {
                    let diagnostics =
                        error.rendered.as_ref().map_or_else(|| json!([]), |found| found.1.clone());
                    all.push(json!({
                        "file": file, "ok": false,
                        "message": error.message, "diagnostics": diagnostics,
                    }));
                } else {
                    print_error(&error.to_text());
                }
            }
        }
    }
    if as_json {
        print_line(&serde_json::to_string_pretty(&all).unwrap_or_default());
    }
    Ok(if wrong { exit::USAGE } else { exit::SUCCESS })
}

/// `segue graph FILE|RUN`.
pub(crate) fn graph(matches: &ArgMatches) -> CommandResult {
    let what = text(matches, "WHAT");
    let (plan, view) = if args::is_file(&what) {
        let loaded = load::load(Path::new(&what))?;
        // The shape of a workflow does not depend on its parameters.
        let request = example_request(&loaded);
        (loaded.plan(&request, "run-preview", segue_engine::wall_now())?, None)
    } else {
        let store = store(false)?;
        let view = take_up::seen(&store, &store.find(&what)?)?;
        (view.plan().as_ref().clone(), Some(view))
    };
    let view = view.as_ref();
    let drawn = match text(matches, "format").as_str() {
        "dot" => crate::graph::dot(&plan, view),
        "svg" => crate::graph::svg(&plan, view),
        _ => crate::graph::mermaid(&plan, view),
    };
    print_line(drawn.trim_end());
    Ok(exit::SUCCESS)
}

/// Some value for every parameter that has none.
fn example_request(loaded: &load::Loaded) -> segue_core::RunRequest {
    use segue_spec::ParamType;
    let mut request = segue_core::RunRequest::default();
    for param in loaded.workflow.params().iter().filter(|p| p.required && p.default.is_none()) {
        let value = param.choices.first().cloned().unwrap_or_else(|| match param.kind {
            ParamType::Number | ParamType::Integer => json!(param.min.unwrap_or(1.0)),
            ParamType::Boolean => json!(true),
            ParamType::Money | ParamType::Duration => json!(param.min.unwrap_or(1.0).to_string()),
            ParamType::List => json!([]),
            ParamType::String | ParamType::Path => json!(param.name),
        });
        request.params.insert(param.name.clone(), value);
    }
    request
}

/// `segue report RUN`.
pub(crate) fn report(matches: &ArgMatches) -> CommandResult {
    let store = store(false)?;
    let run = store.find(&text(matches, "RUN"))?;
    let view = take_up::seen(&store, &run)?;
    let dir = store.run_dir(&run);
    let text = match text(matches, "format").as_str() {
        "json" => serde_json::to_string_pretty(&crate::report::json(&view)).unwrap_or_default(),
        "html" => crate::report::html(&view, &|attempt| log_tail(&dir, attempt)),
        _ => crate::report::markdown(&view),
    };
    print_line(text.trim_end());
    Ok(exit::SUCCESS)
}

/// The end of what an attempt printed, stderr after stdout.
pub(crate) fn log_tail(run_dir: &Path, attempt: &AttemptId) -> Option<String> {
    let folder = run_dir.join("attempts").join(attempt.folder());
    let read = |name: &str| {
        segue_attempt::tail_text(&folder.join(name), LOG_TAIL_BYTES).unwrap_or_default()
    };
    let (out, err) = (read("stdout.log"), read("stderr.log"));
    let text = [out.trim_end(), err.trim_end()].map(str::to_owned);
    let text: Vec<String> = text.into_iter().filter(|part| !part.is_empty()).collect();
    (!text.is_empty()).then(|| text.join("\n"))
}
