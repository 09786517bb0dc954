//! Prechecks against real addresses, files and scripts.

use std::net::TcpListener;
use std::sync::atomic::Ordering;

use super::ill_for;
use crate::lab::{Lab, Signal, count};

#[test]
fn a_task_waits_for_an_address_and_tells_what_it_sees() {
    let (url, asked) = ill_for(2);
    let lab = Lab::with(&format!(
        r#"
name: x
tasks:
  a:
    run: echo done
    precheck: {{http: "{url}", wait: 30s, every: 100ms}}
"#
    ));
    let done = lab.expect(0, &["run", "flow.segue.yaml"]);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert!(done.stderr.contains(&format!("waits for precheck `http: {url}`")), "{done:#?}");
    assert_eq!(done.stderr.matches("not yet: it answered 503").count(), 1, "{done:#?}");
    assert_eq!(count(&lab.events(), "check_started", "a"), 3);
}

#[test]
fn nothing_there_in_time_fails_it_with_the_hint() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    drop(listener);
    let lab = Lab::with(&format!(
        r#"
name: x
params: {{patience: {{type: duration, default: 5m}}}}
tasks:
  a:
    run: echo never > ran
    precheck:
      http: "{url}"
      wait: "{{{{ params.patience }}}}"
      every: 100ms
      hint: start it with `npm run dev`
  b: {{needs: [a], run: "true"}}
"#
    ));
    let done = lab.expect(1, &["run", "flow.segue.yaml", "--patience", "300ms"]);
    let state = lab.state();
    let message = state["tasks"]["a"]["message"].as_str().unwrap_or_default();
    assert_eq!(
        message,
        format!(
            "precheck `http: {url}` did not pass within 0.3s: the connection was refused; start \
             it with `npm run dev`"
        )
    );
    assert_eq!(
        (state["tasks"]["a"]["class"].as_str(), lab.status("b").as_str()),
        (Some("precheck"), "blocked")
    );
    assert!(done.stderr.contains("npm run dev"), "{done:#?}");
    assert_eq!(lab.read("ran"), "");
}

#[test]
fn scripts_see_what_their_task_sees_and_leave_nothing() {
    let lab = Lab::with(
        r#"
name: x
secrets: [LONG_KEY]
tasks:
  a:
    run: echo done
    cwd: work
    env: {PLACE: here}
    secrets: [LONG_KEY]
    precheck:
      run: |
        sleep 300 &
        echo "$PLACE $LONG_KEY $(basename $PWD)"
        echo look >> ../looks
        [ -e ../there ]
      wait: 30s
      every: 100ms
"#,
    );
    lab.write("work/x", "");
    let mut command = lab.segue(&["run", "flow.segue.yaml", "--json=events"]);
    command.env("LONG_KEY", "a-long-enough-key");
    let mut live = lab.start(command);
    let seen = live.event(|event| event["type"] == "check_ended");
    assert_eq!(seen["event"]["seen"], "exited with code 1: here *** work");
    lab.write("there", "");
    assert_eq!(live.wait().code, 0);
    lab.await_emptiness();
}

#[test]
fn a_script_that_hangs_is_ended_with_the_time() {
    let lab = Lab::with(
        "name: x\ntasks:\n  a: {run: \"true\", precheck: {run: \"trap '' TERM; sleep 300; true\", \
         wait: 200ms, every: 100ms}}\n",
    );
    lab.expect(1, &["run", "flow.segue.yaml"]);
    let message = lab.state()["tasks"]["a"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("timed out"), "{message}");
    lab.await_emptiness();
}

#[test]
fn a_file_is_waited_for_without_a_slot() {
    let lab = Lab::with(
        "name: x\nlimits: {concurrency: 1}\ntasks:\n  a: {run: cat data, precheck: {file: data, \
         wait: 30s, every: 100ms}}\n  b: {run: \"sleep 0.3; echo made > data\"}\n",
    );
    lab.expect(0, &["run", "flow.segue.yaml"]);
    assert_eq!(lab.status("a"), "succeeded");
}

#[test]
fn what_is_wrong_with_a_check_is_said_at_once() {
    let lab = Lab::with(
        r#"
name: x
params: {p: {type: string, default: ../../etc}}
tasks:
  a: {run: "true", precheck: {file: "{{ params.p }}", wait: 5m}}
"#,
    );
    lab.expect(1, &["run", "flow.segue.yaml"]);
    let message = lab.state()["tasks"]["a"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("leaves"), "{message}");
}

#[test]
fn a_plan_looks_at_nothing() {
    let (url, asked) = ill_for(0);
    let lab = Lab::with(&format!(
        r#"
name: x
tasks:
  a: {{run: "true", precheck: {{http: "{url}"}}}}
  b: {{run: "true", needs: [db]}}
  db: {{run: touch served, background: true, ready: {{run: touch looked}}}}
"#
    ));
    for verb in [&["plan", "flow.segue.yaml"][..], &["run", "flow.segue.yaml", "--dry-run"]] {
        let done = lab.expect(0, verb);
        assert!(done.stdout.contains(&format!("precheck `http: {url}`")), "{done:#?}");
        assert!(done.stdout.contains("service"), "{done:#?}");
    }
    lab.expect(0, &["check", "flow.segue.yaml"]);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert!(!lab.work().join("looked").exists() && !lab.work().join("served").exists());
    assert!(!lab.store().exists());
}

const HANGS: &str = "name: x\ntasks:\n  a: {run: echo done > ran, precheck: {run: \"echo look >> \
                     looks; until [ -e go ]; do sleep 0.05; done\", wait: 1m, every: 100ms}}\n";

#[test]
fn stops_and_kills_leave_no_script_behind() {
    for (kill, code) in [(Signal::INT, 130), (Signal::KILL, -9)] {
        let lab = Lab::with(HANGS);
        let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events"]);
        live.event(|event| event["type"] == "check_started");
        live.signal(kill);
        assert_eq!(live.wait().code, code);
        lab.await_emptiness();
        lab.write("go", "");
        lab.expect(0, &["resume", "latest"]);
        assert_eq!(lab.read("ran"), "done\n");
        assert!(count(&lab.events(), "check_started", "a") >= 2, "it is looked at anew");
    }
}
