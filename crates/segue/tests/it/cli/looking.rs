//! The verbs that look, and those that keep house.

use serde_json::Value;

use crate::cli::SMALL;
use crate::lab::{Lab, read_json};

#[test]
fn every_verb_explains_itself() {
    let lab = Lab::with(SMALL);
    let help = lab.expect(0, &["--help"]).stdout;
    let verbs = [
        "run",
        "plan",
        "check",
        "schema",
        "graph",
        "list",
        "show",
        "logs",
        "events",
        "report",
        "stats",
        "resume",
        "retry",
        "cancel",
        "init",
        "doctor",
        "gc",
        "completions",
        "demo",
    ];
    for verb in verbs {
        assert!(help.contains(&format!("  {verb} ")), "`--help` lists `{verb}`: {help}");
        let done = lab.expect(0, &[verb, "--help"]);
        assert!(done.stdout.contains("Usage:") && done.stderr.is_empty(), "{done:#?}");
    }
    // The parameters of the workflow are flags.
    let done = lab.expect(0, &["run", "flow.segue.yaml", "--help"]);
    assert!(done.stdout.contains("--who <WHO>") && done.stdout.contains("nobody"), "{done:#?}");
    let version = lab.expect(0, &["--version"]).stdout;
    assert_eq!(version.trim(), format!("segue {}", env!("CARGO_PKG_VERSION")));
    assert!(!lab.store().exists(), "a store was made for nothing");
}

#[test]
fn a_run_is_seen_from_every_side() {
    let lab = Lab::with(SMALL);
    let done = lab.expect(0, &["run", "flow.segue.yaml", "Ann"]);
    assert_eq!(done.stdout, "It took 1 attempt.\n", "stdout is data: {done:#?}");
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_str(&lab.expect(0, arguments).stdout).expect("JSON")
    };

    // jq's `fromdateiso8601` knows no fractions of a second.
    for (file, path) in [("state.json", "run"), ("report.json", "run")] {
        let document = read_json(&lab.latest().join(file));
        let at = document[path]["started_at"].as_str().expect("a time");
        assert_eq!((at.len(), at.ends_with('Z')), ("2026-11-25T12:03:04Z".len(), true), "{at}");
        assert!(document[path]["started_at_ms"].as_u64() > Some(1_700_000_000_000));
    }

    let shown = json(&["show", "latest", "--json"]);
    let state = lab.state();
    assert_eq!(shown["metrics"], state["metrics"]);
    assert_eq!(shown["tasks"], state["tasks"]);
    assert_eq!(shown["run"]["outputs"]["length"], 7);
    let counted: u64 = [
        "pending",
        "queued",
        "running",
        "waiting",
        "succeeded",
        "failed",
        "skipped",
        "blocked",
        "cancelled",
    ]
    .iter()
    .map(|status| state["metrics"][status].as_u64().expect("a counter"))
    .sum();
    assert_eq!(state["metrics"]["total"], counted);

    let listed = json(&["list", "--json", "--workflow", "small", "--param", "who=Ann"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(listed[0]["status"], "succeeded");
    for filter in ["--workflow=other", "--param=who=Bob", "--status=failed", "--resumable"] {
        assert_eq!(json(&["list", "--json", filter]), Value::Array(Vec::new()), "{filter}");
    }
    assert!(lab.expect(0, &["list", "--verbose"]).stdout.contains("who = Ann"));

    let events = lab.expect(0, &["events", "latest"]).stdout;
    let followed = lab.expect(0, &["events", "latest", "-f"]).stdout;
    assert_eq!(events, followed);
    assert_eq!(events.lines().count(), lab.events().len());
    assert_eq!(lab.expect(0, &["logs", "latest", "keep"]).stdout, "kept\ngrumble\n");
    let all = lab.expect(0, &["logs", "latest"]).stdout;
    assert!(all.contains("hello Ann") && all.contains("grumble"), "{all}");

    let report = json(&["report", "latest", "--format", "json"]);
    assert_eq!(report["metrics"]["succeeded"], 2);
    assert_eq!(report, read_json(&lab.latest().join("report.json")));
    let markdown = lab.expect(0, &["report", "latest"]).stdout;
    assert!(markdown.contains("greet") && markdown.contains("succeeded"), "{markdown}");
    let page = lab.expect(0, &["report", "latest", "--format", "html"]).stdout;
    assert!(page.starts_with("<!") && page.contains("greet"), "{page}");
    assert!(lab.latest().join("report.html").exists() && lab.latest().join("report.md").exists());
    lab.await_emptiness();
}

#[test]
fn a_run_and_its_file_are_drawn() {
    let lab = Lab::with(SMALL);
    lab.expect(0, &["run", "flow.segue.yaml"]);
    for (format, begins) in [("mermaid", "flowchart"), ("dot", "digraph"), ("svg", "<svg")] {
        for what in ["flow.segue.yaml", "latest"] {
            let drawn = lab.expect(0, &["graph", what, "--format", format]).stdout;
            assert!(drawn.contains(begins), "{format} of {what}: {drawn}");
            assert!(drawn.contains("greet") && drawn.contains("keep"), "{drawn}");
        }
    }
    lab.expect(2, &["graph", "latest", "--format", "png"]);
}

#[test]
fn house_is_kept() {
    let lab = Lab::new();
    let schema: Value =
        serde_json::from_str(&lab.expect(0, &["schema"]).stdout).expect("the schema is JSON");
    assert!(schema["properties"]["tasks"].is_object());
    for shell in ["bash", "zsh", "fish"] {
        assert!(lab.expect(0, &["completions", shell]).stdout.contains("segue"));
    }
    lab.expect(2, &["completions", "abacus"]);
    assert!(lab.expect(0, &["doctor"]).stdout.contains("kernel"));
    let doctor = lab.expect(0, &["doctor", "--json"]).stdout;
    assert!(serde_json::from_str::<Value>(&doctor).expect("JSON")["slots"].as_u64() > Some(0));

    let made = lab.expect(0, &["init"]).stdout;
    assert_eq!(made.trim(), "example.segue.yaml");
    lab.write("example.segue.yaml", "mine");
    lab.expect(2, &["init"]);
    assert_eq!(lab.read("example.segue.yaml"), "mine", "never overwritten");
    lab.expect(0, &["init", "fresh/folder"]);
    lab.expect(0, &["check", "fresh/folder/example.segue.yaml"]);
    lab.expect(0, &["run", "fresh/folder/example.segue.yaml", "World"]);
    assert_eq!(lab.read("fresh/folder/greeting.txt"), "Hello, World!\n");
}

#[test]
fn the_demo_shows_what_it_promises() {
    let lab = Lab::new();
    let done = lab.expect(0, &["demo"]);
    assert!(done.stdout.contains("after 2 drafts"), "{done:#?}");
    assert!(done.stderr.contains("segue report latest"), "{done:#?}");
    assert_eq!(lab.status("flaky"), "succeeded");
    assert_eq!(lab.status("announce"), "skipped");
    let state = lab.state();
    assert_eq!(state["tasks"]["flaky"]["attempts"], 2);
    assert_eq!(state["metrics"]["retries"].as_u64(), Some(2), "one retry, one feedback round");
}

#[test]
fn a_damaged_index_is_rebuilt_from_the_runs() {
    let lab = Lab::with(SMALL);
    lab.expect(0, &["run", "flow.segue.yaml", "Ann"]);
    lab.expect(0, &["run", "flow.segue.yaml", "Bob"]);
    let before = lab.expect(0, &["list", "--json"]).stdout;
    for name in ["segue.db-wal", "segue.db-shm"] {
        // They are there or not, as SQLite left them.
        let _ = std::fs::remove_file(lab.store().join(name));
    }
    let garbage = "not a database at all\n".repeat(500);
    std::fs::write(lab.store().join("segue.db"), &garbage).expect("room");
    // No run is lost meanwhile.
    assert!(lab.expect(0, &["show", "latest"]).stdout.contains("succeeded"));
    let done = lab.expect(0, &["doctor", "--rebuild"]);
    assert!(done.stdout.contains("2 runs"), "{done:#?}");
    assert_eq!(lab.expect(0, &["list", "--json"]).stdout, before);
    let kept = std::fs::read_dir(lab.store()).expect("a folder").flatten();
    let kept = kept
        .filter(|entry| std::fs::read_to_string(entry.path()).is_ok_and(|text| text == garbage));
    assert_eq!(kept.count(), 1, "the damaged one is renamed, not overwritten");
}

#[test]
fn colour_is_only_for_terminals_and_never_under_no_color() {
    let lab = Lab::with("name: b\ntasks: {t: {run: true, neds: [x]}}\n");
    let done = lab.expect(2, &["run", "flow.segue.yaml"]);
    assert!(!done.stderr.contains('\u{1b}'), "{done:#?}");
    // `script` gives it a terminal.
    let on_terminal = |no_color: bool| {
        let mut command = lab.command("script");
        command.args(["-qec", &format!("{} run flow.segue.yaml", crate::lab::SEGUE), "/dev/null"]);
        command.env("TERM", "xterm-256color");
        if no_color {
            command.env("NO_COLOR", "1");
        }
        lab.finish(command).stdout
    };
    assert!(on_terminal(false).contains("\u{1b}["));
    let plain = on_terminal(true);
    assert!(plain.contains("neds") && !plain.contains("\u{1b}[3"), "{plain:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let lab = Lab::with(SMALL);
    lab.expect(0, &["run", "flow.segue.yaml"]);
    for verb in ["events latest", "logs latest", "report latest --format html", "schema", "--help"]
    {
        let mut command = lab.command("bash");
        let script =
            format!("{} {verb} | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}", crate::lab::SEGUE);
        command.args(["-c", &script]);
        let done = lab.finish(command);
        assert_eq!(done.stdout, "0\n", "{verb}: {done:#?}");
        assert!(!done.stderr.contains("panicked"), "{done:#?}");
    }
}
