//! Services as real processes: beside what needs them, gone after it, whatever happened.

use std::time::{Duration, Instant};

use crate::adoption::{Victim, await_print, pids};
use crate::lab::{Lab, Signal, count, signal};

/// A service that says when it is ready, notes its life, and takes its time to end.
const SERVES: &str = r#"
name: serves
limits: {concurrency: 1}
defaults: {kill_grace: 5s, timeout: 30m}
tasks:
  db:
    run: |
      trap 'echo down >> life; rm -f up; exit 0' TERM
      echo up >> life
      touch up
      while :; do sleep 0.05; done
    background: true
    ready: {file: up, wait: 20s, every: 100ms}
  a: {needs: [db], run: "echo \"a $([ -e up ] && echo served)\" >> life"}
  b:
    needs: [db, a]
    run: |
      echo "b $([ -e up ] && echo served)" >> life
      echo holding
      until [ -e go ]; do sleep 0.02; done
  c: {needs: [b], run: "echo \"c $([ -e up ] && echo served)\" >> late; sleep 0.1"}
finally:
  tidy: {run: "echo tidy >> life"}
"#;

#[test]
fn a_service_lives_as_long_as_what_needs_it() {
    let lab = Lab::with(SERVES);
    lab.write("go", "");
    let done = lab.expect(0, &["run", "flow.segue.yaml"]);
    assert_eq!(lab.read("life"), "up\na served\nb served\ndown\ntidy\n");
    assert!(done.stderr.contains("is ready"), "{done:#?}");
    assert_eq!(lab.status("db"), "succeeded");
    lab.await_emptiness();
}

#[test]
fn one_that_does_not_listen_is_killed_and_has_succeeded() {
    let lab = Lab::with(
        r#"
name: stubborn
tasks:
  db:
    run: |
      trap '' TERM
      (trap '' TERM; setsid sleep 300) &
      touch up
      while :; do sleep 0.05; done
    background: true
    ready: {file: up, every: 100ms}
    kill_grace: 300ms
  a: {needs: [db], run: "true"}
"#,
    );
    let began = Instant::now();
    lab.expect(0, &["run", "flow.segue.yaml"]);
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(lab.status("db"), "succeeded");
    lab.await_emptiness();
}

#[test]
fn a_failed_dependent_ends_it_as_well() {
    let lab = Lab::with(&SERVES.replace("until [ -e go ]; do sleep 0.02; done", "exit 7"));
    lab.expect(1, &["run", "flow.segue.yaml"]);
    assert_eq!(lab.read("life"), "up\na served\nb served\ndown\ntidy\n");
    assert_eq!((lab.status("db").as_str(), lab.status("c").as_str()), ("succeeded", "blocked"));
    // A resume starts it again, for what is left.
    lab.expect(1, &["resume", "latest"]);
    assert_eq!(lab.read("life").matches("up\n").count(), 2);
    lab.await_emptiness();
}

#[test]
fn one_that_dies_fails_what_runs_on_it_with_its_last_words() {
    let lab = Lab::with(
        r#"
name: dies
tasks:
  db:
    run: "touch up; until [ -e die ]; do sleep 0.02; done; echo 'disk is full' >&2; exit 3"
    background: true
    ready: {file: up, every: 100ms}
  a: {needs: [db], run: "trap 'exit 1' TERM; echo holding; while :; do sleep 0.05; done"}
  b: {needs: [a, db], run: "true"}
"#,
    );
    let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events"]);
    live.dispatched("a");
    lab.write("die", "");
    assert_eq!(live.wait().code, 1);
    let state = lab.state();
    let message =
        |task: &str| state["tasks"][task]["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(message("db"), "it ended before what needs it: exited with code 3: disk is full");
    assert!(message("a").starts_with("its service `db` is gone: it ended before"), "{state:#}");
    assert_eq!(lab.status("b"), "blocked");
    lab.await_emptiness();
}

#[test]
fn one_that_is_never_ready_is_told_of_and_gone() {
    let lab = Lab::with(
        "name: x\ntasks:\n  db: {run: sleep 300, background: true, ready: {file: up, wait: 200ms, \
         every: 100ms, hint: is the disk full?}}\n  a: {needs: [db], run: \"true\"}\n",
    );
    lab.expect(1, &["run", "flow.segue.yaml"]);
    let task = &lab.state()["tasks"]["db"];
    assert_eq!(task["class"], "precheck");
    let message = task["message"].as_str().unwrap_or_default();
    let expected =
        "ready `file: up` did not pass within 0.2s: it does not exist; is the disk full?";
    assert_eq!(message, expected);
    lab.await_emptiness();
}

#[test]
fn stops_end_it_after_what_needs_it() {
    for (cancel, code) in [(false, 130), (true, 1)] {
        let lab = Lab::with(SERVES);
        let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events"]);
        live.dispatched("b");
        if cancel {
            lab.expect(0, &["cancel", "latest"]);
        } else {
            live.signal(Signal::INT);
        }
        assert_eq!(live.wait().code, code);
        lab.await_emptiness();
        let life = lab.read("life");
        assert!(life.contains("down\n"), "{life}");
        lab.write("go", "");
        lab.expect(0, &["resume", "latest"]);
        assert_eq!(lab.read("life").matches("up\n").count(), 2, "{life}");
        assert_eq!(lab.status("db"), "succeeded");
        lab.await_emptiness();
    }
}

#[test]
fn the_runs_time_ends_it() {
    let lab = Lab::with(&SERVES.replace("concurrency: 1", "concurrency: 1, timeout: 2s"));
    lab.expect(1, &["run", "flow.segue.yaml"]);
    lab.await_emptiness();
}

#[test]
fn a_killed_engines_service_is_adopted() {
    let lab = Lab::with(SERVES);
    let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events"]);
    live.dispatched("b");
    live.kill();
    assert!(!lab.processes().is_empty(), "it goes on");
    lab.write("go", "");
    lab.expect(0, &["resume", "latest"]);
    let life = lab.read("life");
    assert_eq!((life.matches("up\n").count(), life.matches("down\n").count()), (1, 1), "{life}");
    assert_eq!(count(&lab.events(), "service_ready", "db"), 1);
    lab.await_emptiness();
}

#[test]
fn one_that_died_without_an_engine_starts_again() {
    let lab = Lab::with(SERVES);
    let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events"]);
    live.dispatched("b");
    await_print(&lab, "b");
    live.kill();
    // Supervisor and keepers are killed before one of them can tell of another's end.
    let owners = [pids(&lab, Victim::Supervisor), pids(&lab, Victim::Keeper)].concat();
    for which in [Signal::STOP, Signal::KILL] {
        owners.iter().for_each(|pid| signal(*pid, which));
    }
    lab.await_emptiness();
    std::fs::remove_file(lab.work().join("up")).expect("it was up");
    lab.write("go", "");
    lab.expect(1, &["resume", "latest"]);
    assert_eq!(lab.state()["tasks"]["b"]["class"], "lost");
    assert_eq!(lab.status("db"), "succeeded", "it started again, and nobody blames it");
    lab.expect(0, &["resume", "latest"]);
    assert!(lab.read("life").ends_with("down\ntidy\n"));
    lab.await_emptiness();
}
