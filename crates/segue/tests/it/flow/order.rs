//! Which tasks run, and when.

use super::{ends, output};
use crate::lab::{Lab, count};

#[test]
fn conditions_skip_and_skips_are_passed_on() {
    let lab = Lab::with(
        r#"
name: conditions
params: {go: {type: boolean, default: false}}
tasks:
  maybe: {if: params.go, run: echo maybe >> ran}
  after: {needs: [maybe], run: echo after >> ran}
  anyway: {needs: [maybe], when: all_done, run: echo anyway >> ran}
  bad: {run: exit 1, optional: true}
  met: {needs: [bad], run: echo met >> ran}
  rescue: {needs: [bad], when: any_failed, run: echo rescue >> ran}
  idle: {needs: [met], when: any_failed, run: echo idle >> ran}
  one: {needs: [bad, met], when: any_succeeded, run: echo one >> ran}
"#,
    );
    lab.expect(0, &["run", "flow.segue.yaml"]);
    let sorted = || {
        let mut words: Vec<String> = lab.read("ran").lines().map(str::to_owned).collect();
        words.sort();
        words.join(" ")
    };
    assert_eq!(sorted(), "anyway met one rescue");
    assert_eq!(lab.state()["run"]["status"], "warned");
    for (task, status) in [("maybe", "skipped"), ("after", "skipped"), ("idle", "skipped")] {
        assert_eq!(lab.status(task), status, "{task}");
    }
    lab.write("ran", "");
    lab.expect(0, &["run", "flow.segue.yaml", "--go"]);
    assert_eq!(sorted(), "after anyway maybe met one rescue");
}

#[test]
fn a_stage_is_a_barrier() {
    let lab = Lab::with(
        r#"
name: stages
limits: {concurrency: 4}
tasks:
  late: {stage: 2, run: echo late >> ran}
  slow: {stage: 1, run: "sleep 0.3; echo slow >> ran"}
  quick: {stage: 1, run: echo quick >> ran}
  free: {run: "true"}
"#,
    );
    lab.expect(0, &["run", "flow.segue.yaml"]);
    assert_eq!(lab.read("ran"), "quick\nslow\nlate\n");
}

#[test]
fn failures_block_what_needs_them_and_nothing_else() {
    let lab = Lab::with(
        r#"
name: failure
tasks:
  bad: {run: exit 1}
  child: {needs: [bad], run: touch child}
  grandchild: {needs: [child], run: touch grandchild}
  other: {run: "sleep 0.1; echo other >> ran"}
on_success:
  cheer: {run: echo cheer >> ran}
on_failure:
  mourn: {run: "echo mourn {{ run.failure.task }} >> ran"}
finally:
  clean: {run: "echo clean after {{ run.failure.task }} >> ran"}
"#,
    );
    let done = lab.expect(1, &["run", "flow.segue.yaml"]);
    assert_eq!(lab.read("ran"), "other\nmourn bad\nclean after bad\n", "{done:#?}");
    let state = lab.state();
    assert_eq!(state["tasks"]["grandchild"]["status"], "blocked");
    assert_eq!(state["tasks"]["grandchild"]["blocked_by"], "bad");
    assert_eq!(state["metrics"]["blocked"], 2);
}

#[test]
fn fail_fast_cancels_the_rest() {
    let lab = Lab::with(
        "name: fast\nfail_fast: true\nlimits: {concurrency: 4}\ndefaults: {kill_grace: 1s}\n\
         tasks:\n  \
         bad: {run: 'sleep 0.2; exit 1'}\n  slow: {run: sleep 300}\n\
         \x20 next: {needs: [slow], run: 'true'}\n\
         finally: {clean: {run: touch cleaned}}\n",
    );
    lab.expect(1, &["run", "flow.segue.yaml"]);
    assert_eq!(lab.status("slow"), "cancelled");
    assert_eq!(lab.status("next"), "cancelled");
    assert!(lab.work().join("cleaned").exists());
    lab.await_emptiness();
}

#[test]
fn retries_happen_as_often_as_said() {
    let lab = Lab::with(
        r#"
name: retries
tasks:
  flaky:
    retry: {attempts: 3, delay: 50ms, backoff: fixed, jitter: false}
    run: echo {{ task.attempt }} {{ previous.exit_code if previous else '-' }} >> tries; [ {{ task.attempt }} = 3 ] || exit 7
  never: {retry: never, run: "echo x >> nevers; exit 1", optional: true}
  plain: {run: "echo x >> plains; exit 1", optional: true}
  picky:
    retry: {attempts: 5, delay: 1ms, on: [timeout]}
    run: "echo x >> pickies; exit 1"
    optional: true
"#,
    );
    lab.expect(0, &["run", "flow.segue.yaml"]);
    assert_eq!(lab.read("tries"), "1 -\n2 7\n3 7\n");
    for name in ["nevers", "plains", "pickies"] {
        assert_eq!(lab.read(name), "x\n", "{name}");
    }
    assert_eq!(lab.state()["metrics"]["retries"], 2);
    // `--retry` is stronger than what they say, `never` apart.
    lab.write("plains", "");
    lab.write("pickies", "");
    lab.write("tries", "");
    let mut command = lab.segue(&["run", "flow.segue.yaml", "--retry", "2"]);
    command.env("SEGUE_RETRY_ATTEMPTS", "4");
    lab.finish(command);
    assert_eq!(lab.read("plains"), "x\nx\n", "a flag is stronger than the environment");
    assert_eq!(lab.read("tries").lines().count(), 2);
    assert_eq!(lab.read("pickies"), "x\n", "its class is not retried");
    assert_eq!(lab.read("nevers"), "x\nx\n");
}

#[test]
fn only_skip_and_force_choose_tasks() {
    let lab = Lab::with(
        r#"
name: choice
tasks:
  a: {run: echo a >> ran}
  b: {needs: [a], run: echo b >> ran}
  c: {needs: [b], run: echo c >> ran}
  d: {skip_if: "true", run: echo d >> ran}
"#,
    );
    for (arguments, ran) in [
        (&["--only", "b"][..], "a\nb\n"),
        (&["--skip", "c"], "a\nb\n"),
        (&["--only", "d"], ""),
        (&["--only", "d", "--force"], "d\n"),
        (&["--only", "a", "--only", "d", "--force"], "a\nd\n"),
    ] {
        lab.write("ran", "");
        lab.expect(0, &[&["run", "flow.segue.yaml", "--concurrency", "1"], arguments].concat());
        assert_eq!(lab.read("ran"), ran, "{arguments:?}");
    }
}

#[test]
fn concurrency_is_what_the_nearest_word_says() {
    let text = "name: slots\nlimits: {concurrency: 3}\ntasks: {t: {run: 'true'}}\n";
    let lab = Lab::with(text);
    let slots = |arguments: &[&str], env: &[(&str, &str)]| {
        let mut command = lab.segue(&[&["run", "flow.segue.yaml"], arguments].concat());
        command.envs(env.iter().copied());
        let done = lab.finish(command);
        assert_eq!(done.code, 0, "{done:#?}");
        lab.events()[0]["event"]["slots"].as_u64()
    };
    assert_eq!(slots(&[], &[]), Some(3));
    assert_eq!(slots(&[], &[("MAX_CONCURRENT_AGENTS", "5")]), Some(5));
    assert_eq!(slots(&[], &[("MAX_CONCURRENT_AGENTS", "5"), ("SEGUE_CONCURRENCY", "6")]), Some(6));
    assert_eq!(slots(&["--concurrency", "7"], &[("SEGUE_CONCURRENCY", "6")]), Some(7));
    lab.write("flow.segue.yaml", &text.replace("concurrency: 3", "concurrency: auto"));
    assert!(slots(&[], &[]) >= Some(1));
    let mut command = lab.segue(&["run", "flow.segue.yaml"]);
    command.env("MAX_CONCURRENT_AGENTS", "none");
    assert_eq!(lab.finish(command).code, 2);
}

#[test]
fn no_more_run_at_once_than_there_are_slots() {
    let mut text = "name: many\ntasks:\n".to_owned();
    for i in 0..12 {
        text.push_str(&format!("  t{i}: {{run: \"echo + >> log; sleep 0.05; echo - >> log\"}}\n"));
    }
    let lab = Lab::with(&text);
    lab.expect(0, &["run", "flow.segue.yaml", "--concurrency", "3"]);
    let (mut now, mut most) = (0_i32, 0);
    for line in lab.read("log").lines() {
        now += if line == "+" { 1 } else { -1 };
        most = most.max(now);
    }
    assert!((2..=3).contains(&most), "{most} at once");
}

#[test]
fn a_failed_run_is_resumed_where_it_failed() {
    let lab = Lab::with(
        r#"
name: again
tasks:
  good: {run: "echo good >> ran; echo '{\"n\": 4}'", outputs: {n: {json: /n}}}
  bad: {needs: [good], run: "[ -e fixed ] && echo bad {{ tasks.good.outputs.n }} >> ran"}
  last: {needs: [bad], run: echo last >> ran}
outputs: {n: tasks.good.outputs.n}
"#,
    );
    lab.expect(1, &["run", "flow.segue.yaml"]);
    lab.expect(1, &["resume", "latest"]);
    lab.write("fixed", "");
    lab.expect(0, &["resume", "latest"]);
    assert_eq!(lab.read("ran"), "good\nbad 4\nlast\n");
    assert_eq!(output(&lab, "n"), 4);
    assert_eq!(ends(&lab, "bad").len(), 3);
    assert_eq!(count(&lab.events(), "task_succeeded", "good"), 1);
    // And from a task on, by name.
    lab.expect(0, &["retry", "latest", "--from", "bad"]);
    assert_eq!(lab.read("ran"), "good\nbad 4\nlast\nbad 4\nlast\n");
}
