//! A run under way: followed, detached, signalled, cancelled.

use serde_json::Value;

use crate::cli::SMALL;
use crate::lab::{Lab, Live, PATIENCE, Signal, await_end, count};

/// Holds until a file named `go` is there, then ends; says so when it holds.
const HOLDS: &str = r#"
name: holds
defaults: {kill_grace: 2s}
tasks:
  first: {run: echo first >> done}
  hold:
    needs: [first]
    run: |
      echo holding
      until [ -e go ]; do sleep 0.02; done
      echo held >> done
  last: {needs: [hold], run: echo last >> done}
"#;

/// A run of [`HOLDS`] in which `hold` runs.
fn holding(lab: &Lab) -> Live {
    let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events"]);
    live.dispatched("hold");
    printed(lab);
    live
}

/// Waits until `hold` has printed its line.
fn printed(lab: &Lab) {
    let mut logs = lab.live(&["logs", "latest", "hold", "-f"]);
    logs.line(|line| line == "holding");
    logs.kill();
}

#[test]
fn every_event_is_told_as_it_happens() {
    let lab = Lab::with(HOLDS);
    let mut live = holding(&lab);
    let mut follower = lab.live(&["events", "latest", "-f"]);
    follower.dispatched("hold");
    assert_eq!(lab.run(&["show", "latest"]).code, 0);
    lab.write("go", "");
    live.event(|event| event["type"] == "task_succeeded" && event["task"] == "last");
    follower.event(|event| event["type"] == "run_ended");
    assert_eq!(follower.wait().code, 0, "a follower ends with the run");
    let done = live.wait();
    assert_eq!(done.code, 0);
    assert_eq!(done.stdout.lines().count(), lab.events().len());
    assert_eq!(lab.read("done"), "first\nheld\nlast\n");
}

#[test]
fn the_result_is_one_json_document() {
    let lab = Lab::with(SMALL);
    let done = lab.expect(0, &["run", "flow.segue.yaml", "--json"]);
    let result: Value = serde_json::from_str(&done.stdout).expect("one document");
    assert_eq!(result["status"], "succeeded");
    assert_eq!(result["outputs"], serde_json::json!({"length": 7}));
    assert_eq!(result["metrics"]["total"], 2);
}

#[test]
fn output_is_shown_as_asked() {
    let lab = Lab::with(SMALL);
    let shown = |how: &str| {
        let done = lab.expect(0, &["run", "flow.segue.yaml", "Ann", "--output", how]);
        format!("{}{}", done.stdout, done.stderr)
    };
    let prefixed = shown("prefixed");
    let line = prefixed.lines().find(|line| line.ends_with("hello Ann")).expect("it is shown");
    assert!(line.contains("greet"), "{line}");
    assert!(shown("raw").lines().any(|line| line == "hello Ann"));
    assert!(!shown("none").contains("hello Ann"));
    lab.expect(2, &["run", "flow.segue.yaml", "--output", "loud"]);
}

#[test]
fn an_ephemeral_run_leaves_nothing() {
    let lab = Lab::with(SMALL);
    for flag in ["--ephemeral", "--no-checkpoints"] {
        let done = lab.expect(0, &["run", "flow.segue.yaml", flag]);
        assert_eq!(done.stdout, "It took 1 attempt.\n");
        assert!(!lab.store().exists());
        assert_eq!(std::fs::read_dir(lab.root().join("tmp")).expect("a folder").count(), 0);
    }
    // Nor where nobody reads what it prints.
    let mut command = lab.command("bash");
    let script = format!("{} run flow.segue.yaml --ephemeral --json | true", crate::lab::SEGUE);
    command.args(["-c", &format!("{script}; echo ${{PIPESTATUS[0]}}")]);
    assert_eq!(lab.finish(command).stdout, "0\n");
    assert_eq!(std::fs::read_dir(lab.root().join("tmp")).expect("a folder").count(), 0);
    lab.await_emptiness();
}

#[test]
fn a_detached_run_goes_on_alone() {
    let lab = Lab::with(HOLDS);
    let done = lab.expect(0, &["run", "flow.segue.yaml", "--detach"]);
    let id = done.stdout.trim();
    assert_eq!(lab.latest().file_name().and_then(|name| name.to_str()), Some(id));
    let mut follower = lab.live(&["events", id, "-f"]);
    follower.dispatched("hold");
    lab.write("go", "");
    follower.event(|event| event["type"] == "run_ended" && event["status"] == "succeeded");
    assert_eq!(follower.wait().code, 0);
    lab.await_emptiness();
    assert!(lab.latest().join("report.html").exists());
}

#[test]
fn a_line_is_shown_when_it_is_printed() {
    let lab = Lab::with(
        r#"
name: slow
tasks:
  talk:
    run: |
      for i in 1 2 3; do
        echo "line $i $(date +%s%N)"
        until [ -e go$i ]; do sleep 0.02; done
      done
"#,
    );
    let live = lab.live(&["run", "flow.segue.yaml", "--detach"]);
    assert_eq!(live.wait().code, 0);
    let mut logs = lab.live(&["logs", "latest", "-f"]);
    for i in 1..=3 {
        let line = logs.line(|line| line.contains(&format!("line {i} ")));
        let printed: u128 = line.split(' ').next_back().expect("a time").parse().expect("digits");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let late = now.expect("after 1970").as_nanos().saturating_sub(printed) / 1_000_000;
        // One second is promised; the first line also waits for `logs` itself to start, and a
        // loaded machine gets some room.
        assert!(i == 1 || late < 2_000, "line {i} came after {late} ms");
        lab.write(&format!("go{i}"), "");
    }
    assert_eq!(logs.wait().code, 0, "it ends with the run");
}

#[test]
fn one_interrupt_stops_gracefully_and_a_resume_finishes() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let lab = Lab::with(HOLDS);
        let live = holding(&lab);
        live.signal(signal);
        let done = live.wait();
        assert_eq!(done.code, code, "{done:#?}");
        assert_eq!(lab.state()["run"]["status"], "interrupted");
        lab.await_emptiness();
        lab.write("go", "");
        lab.expect(0, &["resume", "latest"]);
        assert_eq!(lab.read("done"), "first\nheld\nlast\n");
        assert_eq!(count(&lab.events(), "task_succeeded", "first"), 1);
    }
}

#[test]
fn run_can_say_resume_as_well() {
    let lab = Lab::with(HOLDS);
    let live = holding(&lab);
    live.signal(Signal::INT);
    assert_eq!(live.wait().code, 130);
    let folder = lab.latest().display().to_string();
    lab.expect(4, &["run", "--resume", "nothing"]);
    lab.expect(2, &["run", "flow.segue.yaml", "--resume", &folder]);
    lab.write("go", "");
    lab.expect(0, &["run", "--concurrency", "2", "--restore", &folder]);
    assert_eq!(lab.read("done"), "first\nheld\nlast\n");
    lab.expect(0, &["run", "--resume=latest"]);
    assert_eq!(lab.runs().len(), 1);
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let lab = Lab::with(
        r#"
name: stubborn
defaults: {kill_grace: 50s}
tasks:
  hold:
    run: |
      trap 'echo ignored' TERM INT
      echo holding
      while :; do sleep 0.02; done
"#,
    );
    let live = holding(&lab);
    live.signal(Signal::INT);
    let mut logs = lab.live(&["logs", "latest", "hold", "-f"]);
    logs.line(|line| line == "ignored");
    let began = std::time::Instant::now();
    live.signal(Signal::INT);
    let done = live.wait();
    assert_eq!(done.code, 130, "{done:#?}");
    assert!(began.elapsed().as_secs() < 20, "it waited for the grace");
    lab.await_emptiness();
}

#[test]
fn a_hangup_does_not_end_it() {
    let lab = Lab::with(HOLDS);
    let mut live = holding(&lab);
    live.signal(Signal::HUP);
    lab.write("go", "");
    live.event(|event| event["type"] == "run_ended" && event["status"] == "succeeded");
    assert_eq!(live.wait().code, 0);
}

#[test]
fn a_run_under_way_is_cancelled() {
    let lab = Lab::with(HOLDS);
    let mut live = holding(&lab);
    lab.expect(0, &["cancel", "latest"]);
    live.event(|event| event["type"] == "run_ended" && event["status"] == "cancelled");
    assert_eq!(live.wait().code, 1);
    assert_eq!(lab.status("hold"), "cancelled");
    lab.await_emptiness();
}

#[test]
fn one_task_is_cancelled() {
    let lab = Lab::with(
        "name: two\ntasks:\n  hold: {run: \"echo holding; sleep 300\", optional: true}\n  \
         other: {run: \"until [ -e go ]; do sleep 0.02; done\"}\n",
    );
    let mut live = holding(&lab);
    lab.expect(0, &["cancel", "latest", "hold", "--now"]);
    live.event(|event| event["type"] == "task_cancelled" && event["task"] == "hold");
    lab.write("go", "");
    live.event(|event| event["type"] == "task_succeeded" && event["task"] == "other");
    live.wait();
    lab.await_emptiness();
}

#[test]
fn a_run_that_nobody_drives_is_cancelled() {
    let lab = Lab::with(HOLDS);
    let live = holding(&lab);
    live.signal(Signal::INT);
    assert_eq!(live.wait().code, 130);
    lab.expect(0, &["cancel", "latest"]);
    assert_eq!(lab.state()["run"]["status"], "cancelled");
    // And one whose engine was killed: its task still runs, and ends.
    let lab = Lab::with(HOLDS);
    holding(&lab).kill();
    lab.expect(0, &["cancel", "latest"]);
    assert_eq!(lab.state()["run"]["status"], "cancelled");
    lab.await_emptiness();
    assert_eq!(lab.read("done"), "first\n");
}

#[test]
fn a_cancellation_needs_no_secrets_but_those_of_what_still_runs() {
    let workflow = format!("{HOLDS}secrets: [LONG_KEY]\n")
        .replace("  last: {needs: [hold],", "  last: {needs: [hold], secrets: [LONG_KEY],");
    let left = |workflow: &str| {
        let lab = Lab::with(workflow);
        let mut command = lab.segue(&["run", "flow.segue.yaml", "--json=events"]);
        command.env("LONG_KEY", "a-long-enough-key");
        let mut live = lab.start(command);
        live.dispatched("hold");
        live.signal(Signal::INT);
        assert_eq!(live.wait().code, 130);
        lab
    };
    let lab = left(&workflow);
    lab.expect(2, &["resume", "latest"]);
    lab.expect(0, &["cancel", "latest"]);
    assert_eq!(lab.state()["run"]["status"], "cancelled");

    let tidies = "finally: {tidy: {run: echo $LONG_KEY > key, secrets: [LONG_KEY]}}\n";
    let lab = left(&format!("{workflow}{tidies}"));
    let done = lab.expect(2, &["cancel", "latest"]);
    assert!(done.stderr.contains("LONG_KEY"), "{done:#?}");
    let mut command = lab.segue(&["cancel", "latest"]);
    command.env("LONG_KEY", "a-long-enough-key");
    assert_eq!(lab.finish(command).code, 0);
    assert_eq!(lab.read("key"), "a-long-enough-key\n");
}

#[test]
fn a_run_without_a_listener_goes_on() {
    // stdout and stderr are closed pipes: a terminal that went away.
    let lab = Lab::with(SMALL);
    let mut command = lab.command("bash");
    command.args(["-c", &format!("{} run flow.segue.yaml 2>&1 | true", crate::lab::SEGUE)]);
    assert_eq!(lab.finish(command).code, 0);
    lab.await_emptiness();
    assert_eq!(lab.state()["run"]["status"], "succeeded");
}

#[test]
fn what_stdout_could_not_take_is_no_success() {
    let lab = Lab::with(SMALL);
    lab.expect(0, &["run", "flow.segue.yaml"]);
    for verb in ["list", "report latest --format json", "events latest", "logs latest"] {
        let mut command = lab.command("bash");
        command.args(["-c", &format!("{} {verb} > /dev/full", crate::lab::SEGUE)]);
        let done = lab.finish(command);
        assert_eq!(done.code, 70, "{verb}: {done:#?}");
        assert!(done.stderr.contains("stdout could not be written"), "{verb}: {done:#?}");
    }
}

#[test]
fn a_terminal_shows_progress() {
    let lab = Lab::with(SMALL);
    let mut command = lab.command("script");
    command.args(["-qec", &format!("{} run flow.segue.yaml", crate::lab::SEGUE), "/dev/null"]);
    command.env("TERM", "xterm-256color");
    let done = lab.finish(command);
    assert_eq!(done.code, 0, "{done:#?}");
    assert!(done.stdout.contains("greet") && done.stdout.contains("keep"), "{done:#?}");
    assert!(done.stdout.contains("It took 1 attempt."), "{done:#?}");
}

#[test]
fn fifty_runs_at_once_have_fifty_ids() {
    let lab = Lab::with(SMALL);
    let lives: Vec<Live> =
        (0..50).map(|_| lab.live(&["run", "flow.segue.yaml", "--json"])).collect();
    for live in lives {
        assert!(await_end(live.pid(), PATIENCE));
        assert_eq!(live.wait().code, 0);
    }
    assert_eq!(lab.runs().len(), 50);
    let listed = lab.expect(0, &["list", "--json"]).stdout;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(50));
}
