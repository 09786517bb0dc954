//! Modes of a workflow with real probes: what they pick, what is refused, what a resume keeps.

use serde_json::Value;

use crate::lab::Lab;

const FLOW: &str = r#"
name: flow
limits: {concurrency: 2}
modes:
  minimal:  {only: task.stage <= 1}
  parallel: {concurrency: limits.concurrency * 2}
  full: {}
  smart:
    default: true
    probe: {run: "cat count.json", json: /total_errors}
    choose: [{if: probe == 0, use: minimal}, {if: probe <= 10, use: parallel}, {if: probe < 100, use: full}]
tasks:
  first: {stage: 1, run: "echo first >> did"}
  second: {stage: 2, needs: [first], run: "echo second >> did; test ! -e broken"}
finally: {last: {run: "echo last >> did"}}
"#;

fn lab(count: &str) -> Lab {
    let lab = Lab::with(FLOW);
    lab.write("count.json", count);
    lab
}

#[track_caller]
fn check(count: &str, arguments: &[&str], mode: &str, did: &str, slots: u64) {
    let lab = lab(count);
    let mut all = vec!["run", "flow.segue.yaml"];
    all.extend(arguments);
    lab.expect(0, &all);
    assert_eq!(lab.read("did").replace('\n', " ").trim(), did);
    let run = &lab.state()["run"];
    assert_eq!((&run["mode"], &run["max_concurrent"]), (&mode.into(), &slots.into()), "{run}");
}

#[test]
fn a_probe_picks_the_mode() {
    check(r#"{"total_errors": 0}"#, &[], "minimal", "first last", 2);
    check(r#"{"total_errors": 10}"#, &[], "parallel", "first second last", 4);
    check("noise\n{\"total_errors\": \"11\"}\nmore", &[], "full", "first second last", 2);
}

#[test]
fn a_mode_can_be_asked_for_and_a_probe_left_out() {
    check("", &["--mode", "minimal"], "minimal", "first last", 2);
    check("", &["--mode", "parallel"], "parallel", "first second last", 4);
    check("", &["--mode", "parallel", "--concurrency", "3"], "parallel", "first second last", 3);
    check("", &["--probe", "0"], "minimal", "first last", 2);
    check("", &["--mode", "smart", "--probe=-1"], "parallel", "first second last", 4);
}

#[test]
fn a_probe_that_fails_or_measures_nothing_ends_the_run_before_anything_begins() {
    let cases = [
        ("", "no_file", "exited with code 1"),
        ("{}", "count.json", "total_errors"),
        (r#"{"total_errors": "many"}"#, "count.json", "measured no number, but \"many\""),
        (r#"{"total_errors": 100}"#, "count.json", "no choice fits the probe's number, 100"),
    ];
    for (count, file, message) in cases {
        let lab = Lab::with(&FLOW.replace("count.json", file));
        lab.write("count.json", count);
        let done = lab.expect(1, &["run", "flow.segue.yaml"]);
        assert!(done.stderr.contains(message), "no {message:?} in {done:#?}");
        assert_eq!(lab.read("did"), "last\n", "{message}");
        assert_eq!(
            (lab.status("first").as_str(), lab.status("mode:smart").as_str()),
            ("blocked", "failed")
        );
    }
}

#[test]
fn a_resume_keeps_what_the_probe_picked() {
    let lab = lab(r#"{"total_errors": 5}"#);
    lab.write("broken", "");
    lab.expect(1, &["run", "flow.segue.yaml"]);
    std::fs::remove_file(lab.work().join("broken")).expect("it is there");
    lab.write("count.json", r#"{"total_errors": 0}"#);
    lab.expect(0, &["resume", "latest"]);
    assert_eq!(lab.state()["run"]["mode"], "parallel");
    assert_eq!(lab.state()["run"]["max_concurrent"], 4);
    assert_eq!(lab.read("did"), "first\nsecond\nlast\nsecond\nlast\n");
    let chosen = lab.events().into_iter().filter(|one| one["event"]["type"] == "mode_chosen");
    assert_eq!(chosen.count(), 1);
    // Asked for by name it measures again.
    lab.expect(0, &["retry", "latest", "--from", "mode:smart"]);
    assert_eq!(lab.state()["run"]["mode"], "minimal");
    assert_eq!(lab.status("second"), "skipped");
    let logged = lab.expect(0, &["logs", "latest", "mode:smart"]).stdout;
    assert!(logged.contains("total_errors"), "{logged}");
}

#[test]
fn a_plan_shows_every_choice_and_runs_no_probe() {
    let lab = Lab::with(&FLOW.replace("cat count.json", "touch probed"));
    let shown = lab.expect(0, &["plan", "flow.segue.yaml"]).stdout;
    let parts = [
        "mode smart, which picks one by what its probe measures",
        "if probe == 0: mode minimal, 2 at once, without second; at worst",
        "if probe <= 10: mode parallel, 4 at once; at worst",
        "if probe < 100: mode full, 2 at once; at worst",
        "before anything else",
        "touch probed",
    ];
    for part in parts {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let plan = |arguments: &[&str]| -> Value {
        let mut all = vec!["plan", "flow.segue.yaml", "--json"];
        all.extend(arguments);
        serde_json::from_str(&lab.expect(0, &all).stdout).expect("JSON")
    };
    let all = plan(&[]);
    assert_eq!(all["choices"][0]["left_out"], serde_json::json!(["second"]));
    assert_eq!(all["choices"][1]["slots"], 4);
    let one = plan(&["--probe", "0"]);
    assert_eq!((&one["mode"], &one["choices"]), (&"minimal".into(), &Value::Null));
    assert_eq!(one["order"], serde_json::json!(["first", "last"]));
    assert!(!lab.work().join("probed").exists() && !lab.store().exists());
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_made() {
    let lab = lab("");
    let cases: [(&[&str], &str); 5] = [
        (&["--mode", "paralel"], "did you mean `parallel`?"),
        (&["--mode", "full", "--probe", "1"], "mode `full` has no probe"),
        (&["--probe", "100"], "no choice fits"),
        (&["--probe", "few"], "invalid value"),
        (&["--mode", "minimal", "--only", "second"], "which mode `minimal` leaves out"),
    ];
    for (arguments, message) in cases {
        let mut all = vec!["run", "flow.segue.yaml"];
        all.extend(arguments);
        let done = lab.expect(2, &all);
        assert!(done.stderr.contains(message), "no {message:?} in {done:#?}");
    }
    assert!(!lab.store().exists());
}

#[test]
fn what_is_skipped_takes_along_what_needs_it_and_says_so() {
    let lab = lab("");
    let done = lab.expect(0, &["run", "flow.segue.yaml", "--mode", "full", "--skip", "first"]);
    assert!(done.stderr.contains("what they need is not selected: second"), "{done:#?}");
    assert_eq!(lab.read("did"), "last\n");
    let done = lab.expect(2, &["run", "flow.segue.yaml", "--skip", "first", "--skip", "second"]);
    assert!(done.stderr.contains("leaves out every task"), "{done:#?}");
    let done = lab.expect(2, &["run", "flow.segue.yaml", "--only", "secnd"]);
    assert!(done.stderr.contains("did you mean `second`?"), "{done:#?}");
}
