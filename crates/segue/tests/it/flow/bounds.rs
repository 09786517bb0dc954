//! Time, space, and groups that span runs: everything ends within its bounds.

use std::time::{Duration, Instant};

use super::ends;
use crate::lab::{Lab, Signal, count};

#[test]
fn a_timeout_ends_the_whole_tree() {
    let lab = Lab::with(
        r#"
name: timeout
tasks:
  t:
    timeout: 1s
    kill_grace: 2s
    run: |
      (setsid sh -c 'sleep 300' &) ; sh -c 'trap "" TERM; sleep 300 & sleep 300' & sleep 300
"#,
    );
    let began = Instant::now();
    lab.expect(1, &["run", "flow.segue.yaml"]);
    // Its second, the grace, and some room for a loaded machine.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(ends(&lab, "t"), [("timed_out".to_owned(), "timeout".to_owned())]);
    let events = lab.expect(0, &["events", "latest"]).stdout;
    assert!(events.contains(r#""teardown":"verified""#), "{events}");
    lab.await_emptiness();
}

#[test]
fn a_stall_is_no_output_and_no_work() {
    let lab = Lab::with(
        r#"
name: stall
limits: {concurrency: 3}
defaults: {kill_grace: 1s}
tasks:
  idle: {stall: 2s, timeout: 60s, run: "echo hi; sleep 300", optional: true}
  works: {stall: 1s, timeout: 4s, run: "(setsid sh -c 'while :; do :; done' &); sleep 300", optional: true}
  talks: {stall: 2s, run: "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.5; done"}
"#,
    );
    lab.expect(0, &["run", "flow.segue.yaml"]);
    assert_eq!(ends(&lab, "idle"), [("timed_out".to_owned(), "stall".to_owned())]);
    assert_eq!(ends(&lab, "talks")[0].0, "exited");
    assert_eq!(ends(&lab, "works"), [("timed_out".to_owned(), "timeout".to_owned())]);
}

#[test]
fn a_tree_above_its_memory_limit_is_killed_and_says_so() {
    let lab = Lab::with(
        r#"
name: memory
tasks:
  grows:
    memory_limit: 80MiB
    timeout: 60s
    optional: true
    run: |
      # Gone from the session, from the shell and from its pipes, and still below the keeper.
      setsid python3 -c 'import time; x = bytearray(200 << 20); time.sleep(60)' > /dev/null &
      sleep 60
  fits: {memory_limit: 500MiB, run: "sleep 0.5"}
"#,
    );
    lab.expect(0, &["run", "flow.segue.yaml"]);
    assert_eq!(ends(&lab, "grows"), [("signaled".to_owned(), "memory".to_owned())]);
    assert_eq!(ends(&lab, "fits")[0].0, "exited");
    let state = lab.state();
    let message = state["tasks"]["grows"]["message"].as_str().expect("it failed");
    assert!(message.contains("`memory_limit` is 80.0 MiB"), "{message}");
    let report = lab.expect(0, &["report", "latest", "--format", "json"]).stdout;
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let peak = report["performance"]["tree_peak_memory_bytes"].as_u64().expect("it was looked at");
    assert!(peak >= 80 << 20, "{peak}");
    lab.await_emptiness();
}

#[test]
fn a_cpu_limit_is_held_or_told_not_to_be() {
    let lab = Lab::with("name: cpu\ntasks: {t: {cpu_limit: 0.5, run: 'true'}}\n");
    let is_held = segue_attempt::containment().cpu;
    for verb in ["check", "plan", "run"] {
        let told = lab.expect(0, &[verb, "flow.segue.yaml"]).stderr;
        let warning = "nothing here holds task `t` to its `cpu_limit`";
        assert_eq!(told.contains(warning), !is_held, "{verb}: {told}");
    }
}

#[test]
fn a_run_has_a_limit_too() {
    let lab = Lab::with(
        "name: long\nlimits: {timeout: 1s}\ndefaults: {kill_grace: 1s}\ntasks:\n  \
         t: {run: sleep 300}\n  next: {needs: [t], run: 'true'}\n\
          finally: {clean: {run: touch cleaned}}\n",
    );
    let began = Instant::now();
    let done = lab.expect(1, &["run", "flow.segue.yaml"]);
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(done.stderr.contains("timeout"), "{done:#?}");
    lab.await_emptiness();
    // The flag is stronger than the file.
    lab.write(
        "flow.segue.yaml",
        "name: long\nlimits: {timeout: 1h}\n\
     defaults: {kill_grace: 1s}\ntasks: {t: {run: sleep 300}}\n",
    );
    lab.expect(1, &["run", "flow.segue.yaml", "--timeout", "1s"]);
    let mut command = lab.segue(&["run", "flow.segue.yaml"]);
    command.env("SEGUE_TIMEOUT", "1s");
    assert_eq!(lab.finish(command).code, 1);
}

#[test]
fn agent_timeout_is_for_tasks_that_say_nothing() {
    let lab = Lab::with(
        "name: agents\ndefaults: {kill_grace: 1s}\nlimits: {concurrency: 2}\ntasks:\n  \
         silent: {run: sleep 300, optional: true}\n  \
         says: {run: 'sleep 2; touch made', timeout: 1m}\n  \
         next: {needs: [says], run: 'true'}\n",
    );
    let mut command = lab.segue(&["run", "flow.segue.yaml"]);
    command.env("AGENT_TIMEOUT", "1s");
    let done = lab.finish(command);
    assert_eq!(done.code, 0, "it does not bound the run: {done:#?}");
    assert_eq!(ends(&lab, "silent"), [("timed_out".to_owned(), "timeout".to_owned())]);
    assert_eq!(lab.status("next"), "succeeded");
    let mut command = lab.segue(&["run", "flow.segue.yaml"]);
    command.env("AGENT_TIMEOUT", "soon");
    let done = lab.finish(command);
    assert!(done.code == 2 && done.stderr.contains("AGENT_TIMEOUT"), "{done:#?}");
}

/// More than any disk of this decade has.
const FULL: &str = "name: full\nlimits: {min_free_disk: 900TB, timeout: 2s}\n\
    defaults: {retry: {attempts: 3}}\ntasks: {t: {run: touch ran}}\n";

#[test]
fn nothing_starts_on_a_disk_that_is_nearly_full() {
    let lab = Lab::with(FULL);
    let done = lab.expect(1, &["run", "flow.segue.yaml"]);
    assert_eq!(done.stderr.matches("`min_free_disk`").count(), 1, "{done:#?}");
    let events = lab.events();
    assert_eq!(count(&events, "attempt_dispatched", "t"), 1, "no try is used");
    assert_eq!(count(&events, "retry_scheduled", "t"), 0);
    assert!(!lab.work().join("ran").exists());
}

#[test]
fn a_start_that_waits_for_disk_can_be_stopped_and_resumed() {
    let lab = Lab::with(&FULL.replace("2s", "1h"));
    let mut live = lab.start(lab.segue(&["run", "--json=events", "flow.segue.yaml"]));
    live.dispatched("t");
    live.signal(Signal::INT);
    let done = live.wait();
    assert_eq!(done.code, 130, "{done:#?}");
    assert_eq!(ends(&lab, "t"), [("cancelled".to_owned(), "cancelled".to_owned())]);
    let workflow = FULL.replace("900TB", "1KiB");
    lab.write("flow.segue.yaml", &workflow);
    lab.expect(0, &["resume", "latest", "--accept-changes"]);
    assert!(lab.work().join("ran").exists());
    assert_eq!(ends(&lab, "t").len(), 2);
}

#[test]
fn programs_and_folders_that_are_missing_are_told_apart() {
    let lab = Lab::with(
        "name: missing\ntasks:\n  program: {argv: [no-such-program-anywhere], optional: true}\n  \
         folder: {argv: ['true'], cwd: nowhere, optional: true}\n  \
         outside: {argv: ['true'], cwd: link, optional: true}\n",
    );
    std::os::unix::fs::symlink("/", lab.work().join("link")).expect("room");
    lab.expect(0, &["run", "flow.segue.yaml"]);
    let events = lab.events();
    let message = |task: &str| {
        let failed = events.iter().map(|recorded| &recorded["event"]);
        let mut failed = failed.filter(|e| e["type"] == "task_failed" && e["task"] == task);
        failed.next().expect("it failed")["message"].as_str().unwrap_or_default().to_owned()
    };
    assert!(message("program").contains("no-such-program-anywhere"), "{}", message("program"));
    assert!(message("folder").contains("nowhere"), "{}", message("folder"));
    assert_ne!(message("outside"), "");
    assert_eq!(count(&events, "task_succeeded", "outside"), 0);
}

/// Each run says `+` when its task begins and `-` when it ends.
const GROUP: &str = r#"
name: group
params: {key: {type: string, default: a}, hold: {type: string, default: "0.3"}}
tasks:
  t:
    concurrency_group: {key: params.key, max: 1, on_busy: queue}
    run: echo + >> log; sleep {{ params.hold }}; echo - >> log
"#;

#[test]
fn two_runs_of_one_group_never_overlap() {
    let lab = Lab::with(GROUP);
    let runs: Vec<_> = (0..4).map(|_| lab.live(&["run", "flow.segue.yaml"])).collect();
    for run in runs {
        let done = run.wait();
        assert_eq!(done.code, 0, "{done:#?}");
    }
    assert_eq!(lab.read("log"), "+\n-\n".repeat(4));
}

#[test]
fn runs_of_different_groups_overlap() {
    let lab =
        Lab::with(&GROUP.replace(
            "sleep {{ params.hold }}",
            "until [ $(grep -c + log) = 2 ]; do sleep 0.02; done",
        ));
    let runs = ["a", "b"].map(|key| lab.live(&["run", "flow.segue.yaml", "--key", key]));
    for run in runs {
        assert_eq!(run.wait().code, 0);
    }
    assert!(lab.read("log").starts_with("+\n+\n"));
}

#[test]
fn a_busy_group_rejects_where_asked_to() {
    let lab = Lab::with(&GROUP.replace("on_busy: queue", "on_busy: reject"));
    let mut first = lab.live(&["run", "flow.segue.yaml", "--hold", "300", "--json=events"]);
    first.dispatched("t");
    let done = lab.expect(1, &["run", "flow.segue.yaml"]);
    assert!(done.stderr.contains("conflict"), "{done:#?}");
    first.kill();
}

#[test]
fn a_killed_engine_keeps_its_group_until_its_task_has_ended() {
    let lab =
        Lab::with(&GROUP.replace(
            "sleep {{ params.hold }}",
            "until [ -e {{ params.hold }} ]; do sleep 0.02; done",
        ));
    let mut first = lab.live(&["run", "flow.segue.yaml", "--hold", "one", "--json=events"]);
    first.dispatched("t");
    while lab.read("log").is_empty() {
        std::thread::yield_now();
    }
    first.kill();
    let mut second = lab.live(&["run", "flow.segue.yaml", "--hold", "two", "--json=events"]);
    second.event(|event| event["type"] == "grant_asked");
    lab.write("two", "");
    assert_eq!(lab.read("log"), "+\n", "the first still holds it");
    lab.write("one", "");
    assert_eq!(second.wait().code, 0);
    assert_eq!(lab.read("log"), "+\n-\n+\n-\n");
}
