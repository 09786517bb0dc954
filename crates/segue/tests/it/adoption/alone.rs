//! What attempts do without an engine, and how the next one takes them up.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Victim, await_print, kill_all_but_the_engine, pids};
use crate::lab::{Lab, PATIENCE, Signal, await_end, count, signal};

/// `hold` ends once a file named `go` is there.
const HOLDS: &str = r#"
name: holds
limits: {concurrency: 4}
defaults: {kill_grace: 2s}
tasks:
  first: {run: echo first >> done}
  hold:
    needs: [first]
    run: |
      echo "{{ task.attempt }}" >> holds
      echo holding
      until [ -e go ]; do sleep 0.02; done
      echo held >> done
  last: {needs: [hold], run: echo last >> done}
"#;

/// A run whose engine was killed while `hold` ran.
fn left(workflow: &str) -> Lab {
    let lab = Lab::with(workflow);
    let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events"]);
    live.dispatched("hold");
    await_print(&lab, "hold");
    live.kill();
    lab
}

/// The outcomes of a task's ended attempts.
fn outcomes(events: &[Value], task: &str) -> Vec<String> {
    let ended = events
        .iter()
        .map(|recorded| &recorded["event"])
        .filter(|event| event["type"] == "attempt_ended" && event["attempt"]["task"] == task);
    ended
        .map(|event| event["report"]["outcome"]["how"].as_str().unwrap_or("?").to_owned())
        .collect()
}

#[test]
fn kill_the_engine_and_what_ends_meanwhile_is_taken() {
    let lab = left(HOLDS);
    lab.write("go", "");
    lab.await_emptiness();
    assert_eq!(lab.read("done"), "first\nheld\n", "it went on alone, and nothing else began");
    lab.expect(0, &["resume", "latest"]);
    assert_eq!(lab.read("done"), "first\nheld\nlast\n");
    assert_eq!(lab.read("holds"), "1\n");
    assert_eq!(outcomes(&lab.events(), "hold"), ["exited"]);
    lab.await_emptiness();
}

#[test]
fn kill_the_engine_and_what_runs_is_adopted() {
    let lab = left(HOLDS);
    let mut resumed = lab.live(&["resume", "latest", "--json=events"]);
    resumed.event(|event| event["type"] == "run_resumed");
    resumed.dispatched("hold");
    lab.write("go", "");
    assert_eq!(resumed.wait().code, 0);
    assert_eq!(lab.read("holds"), "1\n");
    assert_eq!(lab.state()["tasks"]["hold"]["attempts"], 1);
    lab.await_emptiness();
}

#[test]
fn kill_the_engine_and_an_adopted_task_can_be_cancelled() {
    let lab = left(HOLDS);
    let mut resumed = lab.live(&["resume", "latest", "--json=events"]);
    resumed.dispatched("hold");
    resumed.signal(Signal::INT);
    assert_eq!(resumed.wait().code, 130);
    lab.await_emptiness();
    assert_eq!(lab.read("done"), "first\n");
    lab.write("go", "");
    lab.expect(0, &["resume", "latest"]);
    assert_eq!(lab.read("holds"), "1\n2\n");
}

#[test]
fn kill_the_engine_and_deadlines_still_hold() {
    let text =
        HOLDS.replace("needs: [first]\n    run: |", "needs: [first]\n    timeout: 2s\n    run: |");
    let began = Instant::now();
    let lab = left(&text);
    lab.await_emptiness();
    assert!(began.elapsed() >= Duration::from_secs(2), "it had its time");
    assert!(began.elapsed() < Duration::from_secs(20), "nobody ended it in time");
    let done = lab.expect(1, &["resume", "latest"]);
    assert!(done.stderr.contains("timeout"), "{done:#?}");
    assert_eq!(outcomes(&lab.events(), "hold"), ["timed_out"]);
    assert_eq!(lab.read("holds"), "1\n");
}

#[test]
fn kill_the_engine_and_orphans_are_parked_without_using_a_try() {
    let text = HOLDS.replace("kill_grace: 2s", "kill_grace: 2s, orphan_for: 1s, retry: never");
    let lab = left(&text);
    lab.await_emptiness();
    assert_eq!(lab.read("done"), "first\n");
    let lab = left(&text.replace("retry: never", "retry: {attempts: 1}"));
    lab.await_emptiness();
    lab.write("go", "");
    lab.expect(0, &["resume", "latest"]);
    assert_eq!(lab.read("done"), "first\nheld\nlast\n");
    assert_eq!(outcomes(&lab.events(), "hold"), ["parked", "exited"]);
    assert_eq!(count(&lab.events(), "task_failed", "hold"), 0);
}

#[test]
fn kill_the_engine_and_of_two_resumes_one_goes_on() {
    let lab = left(HOLDS);
    let mut first = lab.live(&["resume", "latest", "--json=events"]);
    first.event(|event| event["type"] == "run_resumed");
    let done = lab.expect(4, &["resume", "latest"]);
    assert!(done.stderr.contains("under way"), "{done:#?}");
    lab.expect(4, &["retry", "latest", "--from", "hold"]);
    // At the very same time: which of them is first is chance.
    first.kill();
    let pair = [lab.live(&["resume", "latest"]), lab.live(&["resume", "latest"])];
    lab.write("go", "");
    let mut codes = pair.map(|live| live.wait().code);
    codes.sort_unstable();
    // The second may also come when the first has just ended the run well.
    assert!(codes == [0, 4] || codes == [0, 0], "{codes:?}");
    assert_eq!(lab.read("done"), "first\nheld\nlast\n");
    assert_eq!(lab.read("holds"), "1\n");
    lab.await_emptiness();
}

#[test]
fn kill_everything_and_what_is_never_retried_asks_for_a_retry_by_name() {
    let text =
        HOLDS.replace("needs: [first]\n    run: |", "needs: [first]\n    retry: never\n    run: |");
    let lab = left(&text);
    kill_all_but_the_engine(&lab);
    lab.write("go", "");
    let done = lab.run(&["resume", "latest"]);
    assert_ne!(done.code, 0, "{done:#?}");
    assert!(done.stderr.contains("--from hold"), "it asks: {done:#?}");
    assert_eq!(outcomes(&lab.events(), "hold"), ["lost"]);
    lab.await_emptiness();
    let done = lab.run(&["resume", "latest"]);
    assert_ne!(done.code, 0, "{done:#?}");
    assert!(done.stderr.contains("--from hold"), "it asks again: {done:#?}");
    assert_eq!(lab.read("holds"), "1\n", "it was not started again");
    lab.expect(0, &["retry", "latest", "--from", "hold"]);
    assert_eq!(lab.read("holds"), "1\n2\n");
    assert_eq!(lab.read("done"), "first\nheld\nlast\n");
}

#[test]
fn kill_everything_and_nothing_is_left_of_the_lost() {
    // A grandchild in a session of its own outlives the keeper's parent-death signal.
    let text = HOLDS.replace("echo holding", "setsid sleep 600 & echo holding");
    let lab =
        left(&text.replace("kill_grace: 2s", "kill_grace: 2s, retry: {attempts: 2, delay: 1ms}"));
    kill_all_but_the_engine(&lab);
    lab.write("go", "");
    lab.expect(0, &["resume", "latest"]);
    assert_eq!(outcomes(&lab.events(), "hold"), ["lost", "exited"]);
    lab.await_emptiness();
}

#[test]
fn kill_the_supervisor_and_the_engine_takes_another() {
    let lab = Lab::with(HOLDS);
    let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events"]);
    live.dispatched("hold");
    await_print(&lab, "hold");
    for pid in pids(&lab, Victim::Supervisor) {
        signal(pid, Signal::KILL);
        assert!(await_end(pid, PATIENCE));
    }
    lab.write("go", "");
    let done = live.wait();
    assert_eq!(done.code, 0, "{done:#?}");
    assert_eq!(lab.read("holds"), "1\n", "its keeper finished it");
    assert_eq!(lab.read("done"), "first\nheld\nlast\n");
    lab.await_emptiness();
}

#[test]
fn kill_a_keeper_and_its_attempt_is_lost_and_retried() {
    let text = HOLDS.replace("kill_grace: 2s", "kill_grace: 2s, retry: {attempts: 2, delay: 1ms}");
    let lab = Lab::with(&text);
    let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events"]);
    live.dispatched("hold");
    await_print(&lab, "hold");
    lab.write("go-later", "");
    for pid in pids(&lab, Victim::Keeper) {
        signal(pid, Signal::KILL);
    }
    live.event(|event| event["type"] == "retry_scheduled" && event["class"] == "lost");
    lab.write("go", "");
    assert_eq!(live.wait().code, 0);
    assert_eq!(outcomes(&lab.events(), "hold"), ["lost", "exited"]);
    lab.await_emptiness();
}

#[test]
fn kill_with_a_start_still_in_the_pipe() {
    for supervisor_dies in [false, true] {
        // `hold` waits for `go` and then starts two more, whose starts never get through.
        let lab =
            Lab::with(&format!("{HOLDS}  other: {{needs: [hold], run: echo other >> done}}\n"));
        let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events"]);
        live.dispatched("hold");
        await_print(&lab, "hold");
        // Its end is read from a stopped supervisor's queue by nobody: the engine hears of it by
        // the pipe, so the supervisor is stopped only once it has passed that on.
        lab.write("go", "");
        live.event(|event| event["type"] == "task_succeeded" && event["task"] == "hold");
        let supervisors = pids(&lab, Victim::Supervisor);
        for pid in &supervisors {
            signal(*pid, Signal::STOP);
        }
        live.kill();
        for pid in &supervisors {
            signal(*pid, if supervisor_dies { Signal::KILL } else { Signal::CONT });
        }
        lab.expect(0, &["resume", "latest"]);
        let done = lab.read("done");
        for line in ["first", "held", "last", "other"] {
            let times = done.lines().filter(|word| *word == line).count();
            assert_eq!(times, 1, "`{line}` {times} times: {done}");
        }
        lab.await_emptiness();
    }
}

#[test]
fn kill_the_engine_and_a_stopped_supervisor_does_not_hold_up_a_resume() {
    let lab = Lab::with(HOLDS);
    let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events"]);
    live.dispatched("hold");
    await_print(&lab, "hold");
    for pid in pids(&lab, Victim::Supervisor) {
        signal(pid, Signal::STOP);
    }
    live.kill();
    lab.write("go", "");
    lab.expect(0, &["resume", "latest"]);
    assert_eq!(lab.read("done"), "first\nheld\nlast\n");
    assert_eq!(lab.read("holds"), "1\n");
    lab.await_emptiness();
}

#[test]
fn kill_the_engine_and_a_torn_last_line_is_cut_off() {
    let lab = left(HOLDS);
    let path = lab.latest().join("events.jsonl");
    let mut text = std::fs::read_to_string(&path).expect("a journal");
    text.push_str("{\"seq\":99,\"at\":\"2026");
    std::fs::write(&path, text).expect("room");
    lab.expect(0, &["show", "latest"]);
    lab.write("go", "");
    lab.expect(0, &["resume", "latest"]);
    assert_eq!(lab.read("done"), "first\nheld\nlast\n");
}
