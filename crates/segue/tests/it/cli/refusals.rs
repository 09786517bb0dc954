//! Bad input: every one is a clear error with the right exit code, and touches nothing.

use crate::cli::SMALL;
use crate::lab::{Lab, journal};

const FAILS: &str = "name: fails\ntasks: {only: {run: exit 5}}\n";

const GATED: &str = r#"
name: gated
tasks:
  only: {run: "echo '{\"q\": 5}'", gates: [{score: output.q, min: 6}]}
"#;

#[test]
fn exit_codes_say_how_it_ended() {
    let lab = Lab::new();
    for (text, code, status) in
        [(SMALL, 0, "succeeded"), (FAILS, 1, "failed"), (GATED, 3, "failed")]
    {
        lab.write("flow.segue.yaml", text);
        lab.expect(code, &["run", "flow.segue.yaml"]);
        assert_eq!(lab.state()["run"]["status"], status);
        // A resume of what failed fails in the same way; one of what succeeded changes nothing.
        lab.expect(code, &["resume", "latest"]);
    }
}

#[test]
fn a_gate_beside_another_failure_is_no_verdict() {
    let lab = Lab::with(&format!("{GATED}  other: {{run: exit 5}}\n"));
    lab.expect(1, &["run", "flow.segue.yaml"]);
}

#[test]
fn a_warned_run_is_a_success() {
    let lab = Lab::with("name: w\ntasks: {only: {run: exit 5, optional: true}}\n");
    lab.expect(0, &["run", "flow.segue.yaml"]);
    assert_eq!(lab.state()["run"]["status"], "warned");
}

#[test]
fn usage_is_checked_before_anything_is_made() {
    let lab = Lab::with(SMALL);
    lab.write("broken.segue.yaml", "name: b\ntasks: {t: {run: true, neds: [x]}}\n");
    lab.write("latin.segue.yaml", "name: l\n");
    std::fs::write(lab.work().join("latin.segue.yaml"), b"name: \xff\n").expect("room");
    lab.write("later.segue.yaml", "name: l\ntasks: {t: {agent: claude, prompt: hi}}\n");
    lab.write(
        "need.segue.yaml",
        "name: n\nparams: {p: {type: integer, required: true}}\ntasks: {t: {run: 'true'}}\n",
    );
    lab.write(
        "secret.segue.yaml",
        "name: s\nsecrets: [MISSING_KEY]\ntasks: {t: {run: 'true', secrets: [MISSING_KEY]}}\n",
    );
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["frobnicate"], "frobnicate"),
        (&["run"], "FILE"),
        (&["run", "nowhere.segue.yaml"], "nowhere.segue.yaml"),
        (&["run", "."], "cannot be read"),
        (&["run", "flow.segue.yaml", "--frobnicate"], "--frobnicate"),
        (&["run", "flow.segue.yaml", "one", "two"], "two"),
        (&["run", "flow.segue.yaml", "--concurrency", "0"], "concurrency"),
        (&["run", "flow.segue.yaml", "--timeout", "soon"], "soon"),
        (&["run", "flow.segue.yaml", "--retry", "0"], "retry"),
        (&["run", "flow.segue.yaml", "--only", "nobody"], "nobody"),
        (&["run", "flow.segue.yaml", "--skip", "nobody"], "nobody"),
        (&["run", "flow.segue.yaml", "--budget", "5 USD"], "--budget"),
        (&["run", "flow.segue.yaml", "--detach", "--ephemeral"], "--ephemeral"),
        (&["run", "broken.segue.yaml"], "neds"),
        (&["run", "latin.segue.yaml"], "UTF-8"),
        (&["run", "later.segue.yaml"], "agent"),
        (&["run", "need.segue.yaml"], "p"),
        (&["run", "need.segue.yaml", "--p", "many"], "many"),
        (&["run", "secret.segue.yaml"], "MISSING_KEY"),
        (&["check", "broken.segue.yaml"], "neds"),
        (&["plan", "broken.segue.yaml"], "neds"),
    ];
    for (arguments, named) in cases {
        let done = lab.expect(2, arguments);
        assert!(done.stderr.contains(named), "{arguments:?} does not name {named}: {done:#?}");
        assert!(!done.stderr.contains("panicked"), "{done:#?}");
        assert_eq!(lab.runs(), Vec::<std::path::PathBuf>::new(), "{arguments:?} made a run");
    }
}

#[test]
fn a_secret_is_no_parameter_for_parameters_are_recorded() {
    let lab = Lab::with(
        "name: s\nsecrets: [LONG_KEY]\nparams: {who: {type: string, default: you}}\n\
         tasks: {t: {run: 'echo {{ params.who }}'}}\n",
    );
    let mut command = lab.segue(&["run", "flow.segue.yaml", "--who", "an \"a-long-enough-key\""]);
    command.env("LONG_KEY", "\"a-long-enough-key\"");
    let done = lab.finish(command);
    assert_eq!(done.code, 2, "{done:#?}");
    assert!(done.stderr.contains("`who` holds the secret LONG_KEY"), "{done:#?}");
    assert!(!done.stderr.contains("a-long-enough-key"), "{done:#?}");
    assert_eq!(lab.runs(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn an_error_is_json_where_json_was_asked_for() {
    let lab = Lab::with("name: b\ntasks: {t: {run: true, neds: [x]}}\n");
    let done = lab.expect(2, &["run", "flow.segue.yaml", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(document["error"]["kind"], "usage");
    let found = document["error"]["diagnostics"].as_array().expect("a list");
    assert!(found.iter().any(|one| one["code"] == "segue::spec::unknown_key"), "{found:?}");
}

#[test]
fn unknown_runs_are_not_found() {
    let lab = Lab::with(SMALL);
    for verb in ["show", "resume", "events", "logs", "report", "cancel", "graph"] {
        let done = lab.expect(4, &[verb, "latest"]);
        assert!(done.stderr.contains("error: "), "{done:#?}");
    }
    lab.expect(0, &["run", "flow.segue.yaml"]);
    let long = "x".repeat(300);
    let names = ["../../x", "..", "/etc", "a/b", "nope", "", "new\nline", "🦀", &long, "-"];
    for verb in ["show", "resume", "events", "logs", "report", "cancel", "graph"] {
        for name in names {
            let done = lab.run(&[verb, "--", name]);
            assert_eq!(done.code, 4, "{verb} {name:?}: {done:#?}");
            assert!(done.stderr.contains("error: "), "{done:#?}");
        }
    }
    lab.expect(4, &["retry", "nope", "--from", "greet"]);
    let done = lab.expect(4, &["retry", "latest", "--from", "nobody"]);
    assert!(done.stderr.contains("greet"), "the hint names its tasks: {done:#?}");
    lab.expect(4, &["logs", "latest", "nobody"]);
    lab.expect(4, &["cancel", "latest", "nobody"]);
    lab.expect(2, &["list", "--status", "happy"]);
    lab.expect(2, &["list", "--param", "no-equals-sign"]);
}

#[test]
fn an_ambiguous_prefix_is_refused_and_a_plain_one_taken() {
    let lab = Lab::with(SMALL);
    lab.expect(0, &["run", "flow.segue.yaml"]);
    let done = lab.expect(0, &["show", "small"]);
    assert!(done.stdout.contains("succeeded"));
    lab.expect(0, &["run", "flow.segue.yaml"]);
    let done = lab.expect(4, &["show", "small"]);
    assert!(done.stderr.contains("give more of its id"), "{done:#?}");
    let id = lab.latest().file_name().expect("a name").to_string_lossy().into_owned();
    lab.expect(0, &["show", &id]);
    // The last eight characters are chance; all before them are the time.
    lab.expect(0, &["show", &id[..id.len() - 4]]);
}

#[test]
fn a_finished_run_is_not_resumed() {
    let lab = Lab::with(SMALL);
    lab.expect(0, &["run", "flow.segue.yaml"]);
    let path = lab.latest().join("events.jsonl");
    let before = std::fs::read(&path).expect("a journal");
    let done = lab.expect(0, &["resume", "latest"]);
    assert!(done.stderr.contains("nothing to resume"), "{done:#?}");
    let done = lab.expect(0, &["cancel", "latest"]);
    assert!(done.stderr.contains("nothing was changed"), "{done:#?}");
    assert_eq!(std::fs::read(&path).expect("a journal"), before);
}

#[test]
fn a_changed_workflow_is_refused_until_accepted() {
    let lab = Lab::with(FAILS);
    lab.expect(1, &["run", "flow.segue.yaml"]);
    let before = std::fs::read(lab.latest().join("events.jsonl")).expect("a journal");
    lab.write("flow.segue.yaml", "name: fails\ntasks: {only: {run: echo better > better}}\n");
    let done = lab.expect(2, &["resume", "latest"]);
    assert!(done.stderr.contains("--accept-changes"), "{done:#?}");
    assert_eq!(std::fs::read(lab.latest().join("events.jsonl")).expect("a journal"), before);
    lab.expect(0, &["resume", "latest", "--accept-changes"]);
    assert_eq!(lab.read("better"), "better\n");
    assert_eq!(lab.runs().len(), 1);
    // The journal still folds, over the plan it now has.
    lab.expect(0, &["show", "latest"]);
}

#[test]
fn strange_parameters_reach_their_task_as_they_are() {
    let lab = Lab::with(SMALL);
    let long = "é".repeat(300);
    let names =
        ["two\nlines", "🦀 'n' \"quotes\"", "$(touch pwned) `touch pwned`", "../../x", "-x", &long];
    for name in names {
        // What begins with a dash is a parameter only behind `--who=`.
        lab.expect(0, &["run", "flow.segue.yaml", &format!("--who={name}")]);
        let done = lab.expect(0, &["logs", "latest", "greet"]);
        assert!(done.stdout.starts_with(&format!("hello {name}\n")), "{done:#?}");
    }
    assert!(!lab.work().join("pwned").exists());
    let made: Vec<_> = std::fs::read_dir(lab.root()).expect("a folder").flatten().collect();
    assert_eq!(made.len(), 4, "something was written beside the store: {made:?}");
}

#[test]
fn strange_task_names_are_refused_or_safe() {
    let lab = Lab::new();
    let long = "t".repeat(300);
    for name in ["a/b", "../x", "two\\nlines", "🦀", "", ".", "..", &long] {
        lab.write("flow.segue.yaml", &format!("name: n\ntasks: {{\"{name}\": {{run: 'true'}}}}\n"));
        let done = lab.run(&["run", "flow.segue.yaml"]);
        assert!(done.code == 2 || done.code == 0, "{name:?}: {done:#?}");
        assert!(!done.stderr.contains("panicked"), "{done:#?}");
        for run in lab.runs() {
            assert!(!journal(&run).is_empty());
        }
    }
    for name in ["a/b", "../x", "🦀", &long] {
        lab.write("flow.segue.yaml", &format!("name: \"{name}\"\ntasks: {{t: {{run: 'true'}}}}\n"));
        let done = lab.run(&["run", "flow.segue.yaml"]);
        assert!(done.code == 2 || done.code == 0, "{name:?}: {done:#?}");
    }
    let made = std::fs::read_dir(lab.root()).expect("a folder").flatten();
    let made: Vec<_> = made.map(|entry| entry.file_name()).collect();
    let ours = ["work", "tmp", "talk", "store"];
    assert!(made.iter().all(|name| ours.iter().any(|ours| name == ours)), "{made:?}");
}

#[test]
fn a_journal_emptied_after_attempts_is_no_run_to_begin() {
    let lab = Lab::with("name: e\ntasks: {t: {run: echo once >> ran}}\n");
    lab.expect(0, &["run", "flow.segue.yaml"]);
    std::fs::write(lab.latest().join("events.jsonl"), "").expect("room");
    for arguments in [&["resume", "latest"][..], &["retry", "latest", "--from", "t"]] {
        let done = lab.expect(70, arguments);
        assert!(done.stderr.contains("events.jsonl"), "{done:#?}");
    }
    assert_eq!(lab.read("ran"), "once\n");
}

#[test]
fn a_damaged_run_is_refused_by_name_and_hides_no_other() {
    let lab = Lab::with(SMALL);
    lab.expect(0, &["run", "flow.segue.yaml"]);
    let damaged = lab.latest();
    lab.expect(0, &["run", "flow.segue.yaml"]);
    let journal = damaged.join("events.jsonl");
    let text = std::fs::read_to_string(&journal).expect("a journal");
    std::fs::write(&journal, text.replacen("greet", "grxxt", 1)).expect("room");
    let id = damaged.file_name().expect("a name").to_string_lossy().into_owned();
    let done = lab.run(&["resume", &id]);
    assert_ne!(done.code, 0, "{done:#?}");
    assert!(done.stderr.contains("events.jsonl"), "{done:#?}");
    lab.expect(0, &["show", "latest"]);
    let listed = lab.expect(0, &["list"]);
    assert!(listed.stdout.contains("succeeded"), "{listed:#?}");
    let kept = std::fs::read_to_string(&journal).expect("a journal");
    assert!(kept.contains("grxxt"), "a refusal changes nothing");
    std::fs::write(damaged.join("plan.json"), "{").expect("room");
    let done = lab.expect(70, &["show", &id]);
    assert!(done.stderr.contains("plan.json` is damaged"), "{done:#?}");
}
