//! `segue exec`: strategies and jobs as a user of the command line has them.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::lab::{Done, Lab, Signal};

#[track_caller]
fn results(done: &Done) -> Vec<Value> {
    let lines = done.stdout.lines();
    lines.map(|line| serde_json::from_str(line).expect("JSON a line")).collect()
}

#[track_caller]
fn exec(lab: &Lab, arguments: &str, code: i32, script: &str) -> Done {
    let mut words = vec!["exec"];
    words.extend(arguments.split_whitespace());
    words.extend(["--", "sh", "-c", script]);
    lab.expect(code, &words)
}

#[test]
fn one_command_is_itself_and_kept_nowhere() {
    let lab = Lab::new();
    let done = exec(&lab, "", 0, "echo out; echo err >&2");
    assert_eq!(done.stdout, "out\n");
    assert_eq!(done.stderr, "err\n");
    assert!(!lab.store().exists());
    assert_eq!(std::fs::read_dir(lab.root().join("tmp")).expect("a folder").count(), 0);
    let done = exec(&lab, "", 1, "exit 7");
    assert!(done.stderr.contains("`process_001` failed: exited with code 7"), "{done:?}");
    let done = exec(&lab, "--timeout 1s", 1, "sleep 60 & wait");
    assert!(done.stderr.contains("timed out"), "{done:?}");
    assert_eq!(exec(&lab, "", 3, "echo budget exceeded >&2; exit 1").code, 3);
}

#[test]
fn strategies_are_flags() {
    let lab = Lab::new();
    let fallback = lab.expect(0, &["exec", "--fallback", "--", "false", ":::", "echo", "saved"]);
    assert_eq!(fallback.stdout, "saved\n");
    let parallel =
        lab.expect(0, &["exec", "--parallel", "2", "--", "echo", "a", ":::", "echo", "b"]);
    let mut lines: Vec<&str> = parallel.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["process_001 | a", "process_002 | b"]);
    let chain = ["exec", "--sequential", "--pass-output", "--", "echo", "a", ":::", "cat"];
    assert_eq!(
        lab.expect(0, &chain).stdout,
        "a\n\n\n--- Previous output ---\na\n\n\n--- New task ---\n"
    );
    let stopping =
        ["exec", "--batch", "1", "--stop-on-failure", "--", "false", ":::", "echo", "no"];
    let done = lab.expect(1, &stopping);
    assert_eq!(done.stdout, "");
    assert!(done.stderr.contains("0 of 2 succeeded, 1 failed, 1 were not started"), "{done:?}");
}

#[test]
fn jobs_come_back_as_they_end_with_their_index() {
    let lab = Lab::new();
    lab.write(
        "jobs.jsonl",
        concat!(
            "{\"id\": \"slow\", \"argv\": [\"sh\", \"-c\", \"sleep 0.5; cat\"], ",
            "\"prompt\": \"{{ p }}\"}\n",
            "{\"id\": \"quick\", \"argv\": [\"sh\", \"-c\", \"echo $A; exit 3\"], ",
            "\"env\": {\"A\": \"é\"}}\n",
            "{\"argv\": [\"no-such-program\"]}\n",
        ),
    );
    let done = lab.expect(1, &["exec", "--jobs", "jobs.jsonl", "--parallel", "3"]);
    let mut results = results(&done);
    assert_eq!(results[2]["id"], "slow");
    results.sort_by_key(|result| result["index"].as_u64());
    assert_eq!(results[0]["stdout"], "{{ p }}");
    assert_eq!((&results[0]["status"], &results[0]["exit_code"]), (&"succeeded".into(), &0.into()));
    assert_eq!((&results[1]["stdout"], &results[1]["exit_code"]), (&"é\n".into(), &3.into()));
    assert_eq!(results[1]["class"], "execution");
    assert_eq!(results[2]["outcome"]["kind"], "program_not_found");
    assert_eq!(results[2]["exit_code"], -1);
}

#[test]
fn an_agent_is_its_command_line() {
    let lab = Lab::new();
    let script = lab.write("bin/amplihack", "#!/bin/sh\nprintf '%s|' \"$@\"\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("its owner");
    lab.write("jobs.jsonl", "{\"agent\": \"delegate\", \"prompt\": \"do it\"}\n");
    let run = |extra: &[&str]| {
        let mut command = lab.segue(&["exec", "--jobs", "jobs.jsonl"]);
        command.args(extra).env("AMPLIHACK_DELEGATE", "amplihack copilot");
        let path = std::env::var("PATH").expect("a search path");
        command.env("PATH", format!("{}:{path}", lab.work().join("bin").display()));
        results(&lab.finish(command))[0]["stdout"].as_str().expect("text").to_owned()
    };
    assert_eq!(run(&[]), "copilot|--|-p|do it|");
    let all = run(&["--skip-permissions", "--model", "m"]);
    assert_eq!(all, "copilot|--|--allow-all-tools|-p|do it|--model|m|");
}

#[test]
fn bad_jobs_are_all_named_and_none_is_started() {
    let lab = Lab::new();
    lab.write(
        "jobs.jsonl",
        "{\"argv\": [\"touch\", \"ran\"]}\nnonsense\n{\"argv\": [\"a\"], \"timeout\": 0}\n",
    );
    let done = lab.expect(2, &["exec", "--jobs", "jobs.jsonl"]);
    assert!(done.stderr.contains("jobs.jsonl:2: no JSON"), "{done:?}");
    assert!(done.stderr.contains("jobs.jsonl:3: `timeout`"), "{done:?}");
    assert!(!lab.work().join("ran").exists());
    lab.expect(2, &["exec", "--jobs", "nowhere.jsonl"]);
    lab.write("none.jsonl", "\n");
    assert_eq!(lab.expect(0, &["exec", "--jobs", "none.jsonl"]).stdout, "");
    lab.expect(2, &["exec", "--jobs", "none.jsonl", "--fallback"]);
    for bad in [
        &["exec"][..],
        &["exec", "--parallel", "0", "--", "true"],
        &["exec", "--batch", "0", "--", "true"],
        &["exec", "--batch=-1", "--", "true"],
        &["exec", "--sequential", "--fallback", "--", "true"],
        &["exec", "--pass-output", "--", "true"],
        &["exec", "--timeout", "0", "--", "true"],
        &["exec", "--timeout=-1s", "--", "true"],
        &["exec", "--", "true", ":::"],
        &["exec", "--jobs", "none.jsonl", "--", "true"],
    ] {
        lab.expect(2, bad);
    }
}

#[test]
fn jobs_come_from_stdin_and_a_dry_run_starts_nothing() {
    let lab = Lab::new();
    let mut command = lab.segue(&["exec", "--jobs", "-", "--dry-run", "--batch", "2"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("segue");
    let mut stdin = child.stdin.take().expect("piped");
    for name in ["a", "b", "c"] {
        writeln!(stdin, "{{\"id\": \"{name}\", \"argv\": [\"touch\", \"{name}\"]}}").expect("read");
    }
    drop(stdin);
    let out = child.wait_with_output().expect("it ends");
    let shown: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!((&shown["strategy"], &shown["concurrency"]), (&"batched".into(), &2.into()));
    assert_eq!(shown["processes"][2]["stage"], 1);
    assert_eq!(shown["processes"][2]["command"], "touch c");
    assert!(!lab.work().join("a").exists() && !lab.store().exists());
}

#[test]
fn ctrl_c_ends_all_of_it() {
    let lab = Lab::new();
    let sleeper = "echo begun; (trap '' TERM; sleep 60) & sleep 60";
    let mut words = vec!["exec", "--json", "--parallel", "2", "--", "echo", "first"];
    words.extend([":::", "sh", "-c", sleeper]);
    words.extend([":::", "sh", "-c", sleeper]);
    let mut live = lab.live(&words);
    live.line(|line| line.contains("\"first\\n\""));
    live.signal(Signal::INT);
    live.signal(Signal::INT);
    let done = live.wait();
    assert_eq!(done.code, 130, "{done:?}");
    lab.await_emptiness();
    assert_eq!(std::fs::read_dir(lab.root().join("tmp")).expect("a folder").count(), 0);
}

#[test]
fn kill_9_leaves_nothing_running() {
    let lab = Lab::new();
    let mut live = lab.live(&["exec", "--", "sh", "-c", "echo begun; sleep 60"]);
    live.line(|line| line == "begun");
    live.kill();
    lab.await_emptiness();
}

#[test]
fn logs_are_kept_where_they_are_wanted() {
    let lab = Lab::new();
    lab.expect(0, &["exec", "--log-dir", "logs", "--", "echo", "hello"]);
    let sessions = std::fs::read_dir(lab.work().join("logs")).expect("a folder");
    let folders: Vec<_> = sessions.flatten().map(|entry| entry.path()).collect();
    assert_eq!(folders.len(), 1);
    let log = std::fs::read_to_string(folders[0].join("process_001.log")).expect("a log");
    assert!(log.contains("[STDOUT] [process_001] hello"), "{log}");
}

/// `kill -9` of a kept run: what ran goes on and is adopted, the rest follows.
#[test]
fn a_kept_run_is_gone_on_with() {
    let lab = Lab::new();
    let made = lab.command("mkfifo").arg("go").status().expect("mkfifo");
    assert!(made.success());
    let first = "echo begun; cat go; echo first >> ran";
    let mut words = vec!["exec", "--keep", "--sequential", "--pass-output", "--", "sh", "-c"];
    words.extend([first, ":::", "sh", "-c", "cat > seen; echo second >> ran"]);
    let mut live = lab.live(&words);
    live.line(|line| line == "begun");
    live.kill();
    let resumed = lab.live(&["resume", "latest", "--json=events"]);
    let mut resumed = resumed;
    resumed.event(|event| event["type"] == "run_resumed");
    lab.write("go", "\n");
    let done = resumed.wait();
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(lab.read("ran"), "first\nsecond\n");
    assert!(lab.read("seen").contains("--- Previous output ---\nbegun\n"), "{}", lab.read("seen"));
    lab.expect(0, &["report", "latest"]);
    let done = exec(&lab, "--keep", 1, "exit 1");
    assert!(done.stderr.contains("kept: `segue show parallel-"), "{done:?}");
    lab.expect(2, &["resume", "latest", "--skip", "process_001"]);
    lab.expect(1, &["resume", "latest", "--timeout", "1h"]);
}

#[test]
fn heavy_a_thousand_run_at_once() {
    let lab = Lab::new();
    let job = "{\"argv\": [\"sleep\", \"4\"]}\n";
    lab.write("jobs.jsonl", &job.repeat(1000));
    let done = lab.expect(0, &["exec", "--jobs", "jobs.jsonl", "--parallel", "1000"]);
    let results = results(&done);
    assert_eq!(results.len(), 1000);
    assert!(results.iter().all(|result| result["exit_code"] == 0));
    let last_start = results.iter().map(|result| result["started_at"].as_str()).max();
    let first_end = results.iter().map(|result| result["ended_at"].as_str()).min();
    assert!(last_start < first_end, "{last_start:?} {first_end:?}");
}
