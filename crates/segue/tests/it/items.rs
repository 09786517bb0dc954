//! `for_each` with real processes: where items come from, what their ends mean, what a killed
//! engine leaves of them.

use serde_json::{Value, json};

use crate::lab::{Lab, Signal, read_json};

/// The items of a task as the newest run's report has them: `key status`.
fn items(lab: &Lab, task: &str) -> Vec<String> {
    let report = read_json(&lab.latest().join("report.json"));
    let list = report["tasks"][task]["item_list"].as_array().cloned().unwrap_or_default();
    let word = |item: &Value, name: &str| item[name].as_str().unwrap_or("-").to_owned();
    list.iter().map(|item| format!("{} {}", word(item, "key"), word(item, "status"))).collect()
}

#[test]
fn items_come_from_lists_globs_matrices_parameters_and_other_tasks() {
    let lab = Lab::with(
        r#"
name: sources
params: {topics: {type: list, default: ["a b", "it's"]}}
tasks:
  plan:
    run: |
      echo '{"lessons": [{"order": 2, "to": "two"}, {"order": 1, "to": "one"}]}'
  lessons:
    needs: [plan]
    for_each: {items: tasks.plan.result.lessons, key: item.order, as: lesson}
    run: |
      echo {{ lesson.to }} {{ item.order }} {{ loop.index }} $SEGUE_TASK $SEGUE_ITEM >> lessons
      echo to={{ lesson.to }} >> "$SEGUE_OUTPUT"
  topics: {for_each: {items: params.topics}, run: "echo {{ item }} >> topics"}
  files:
    for_each: {glob: "src/**/*.ts", exclude: ["**/*.test.ts"]}
    argv: [cp, "{{ item }}", "{{ item }}.copy"]
  builds:
    for_each: {matrix: {os: [linux, mac], node: [20, 22]}, exclude: [{os: mac, node: 20}]}
    run: echo {{ item.os }}-{{ item.node }} >> builds
  none: {for_each: {list: []}, run: touch never}
  sum:
    needs: [lessons, none]
    run: echo {{ tasks.lessons.items | map(attribute='outputs.to') | join(' ') }} > sum
outputs: {keys: "tasks.lessons.items | map(attribute='key') | list"}
"#,
    );
    for name in ["src/b.ts", "src/deep/a.ts", "src/a.test.ts", "src/a.js"] {
        lab.write(name, name);
    }
    lab.expect(0, &["run", "flow.segue.yaml", "--concurrency", "1"]);
    assert_eq!(lab.read("lessons"), "two 2 1 lessons 2\none 1 2 lessons 1\n");
    assert_eq!(lab.read("sum"), "'two one'\n".replace('\'', ""));
    assert_eq!(lab.read("topics"), "a b\nit's\n");
    assert_eq!(lab.read("src/deep/a.ts.copy"), "src/deep/a.ts");
    assert_eq!(items(&lab, "files"), ["src/b.ts succeeded", "src/deep/a.ts succeeded"]);
    assert_eq!(lab.read("builds"), "linux-20\nlinux-22\nmac-22\n");
    assert_eq!(items(&lab, "builds")[2], "mac,22 succeeded");
    let state = lab.state();
    assert_eq!(state["tasks"]["none"]["items"]["total"], 0);
    assert!(!lab.work().join("never").exists());
    assert_eq!(state["run"]["outputs"]["keys"], json!(["2", "1"]));
    assert_eq!(state["metrics"]["total"], 7);
}

#[test]
fn a_large_list_and_large_items_are_read_from_their_files() {
    let lab = Lab::with(
        r#"
name: large
tasks:
  plan:
    run: |
      printf '['
      for n in $(seq 1 2000); do printf '{"n": %d, "text": "%s"},' $n abcdefghijklmnopqrstuvwxyz; done
      printf '{"n": 0, "text": "%s"}]' "$(head -c 20000 /dev/zero | tr '\0' x)"
  each:
    needs: [plan]
    for_each: {items: tasks.plan.result, key: item.n, max_parallel: 4}
    skip_if: item.n > 2
    run: echo {{ item.n }} >> each
"#,
    );
    lab.expect(0, &["run", "flow.segue.yaml", "--concurrency", "1"]);
    assert_eq!(lab.read("each"), "1\n2\n0\n");
    let counters = &lab.state()["tasks"]["each"]["items"];
    assert_eq!((&counters["succeeded"], &counters["skipped"]), (&json!(3), &json!(1998)));
}

#[test]
fn what_is_no_list_fails_the_task_before_an_item_begins() {
    for (items, said) in [
        ("{items: params.text}", "`for_each.items: params.text` gives text, not a list"),
        ("{items: params.same}", "items 1 and 2 of `for_each` have the same key \"x\""),
        ("{items: params.same, key: item.id}", "`for_each.key: item.id` could not be evaluated"),
        ("{glob: \"../*.md\"}", "leaves"),
    ] {
        let lab = Lab::with(&format!(
            "name: no\nparams:\n  text: {{type: string, default: t}}\n  same: {{type: list, \
             default: [x, x]}}\ntasks:\n  t:\n    for_each: {items}\n    run: touch began\n"
        ));
        std::fs::write(lab.root().join("outside.md"), "x").expect("a file");
        let done = lab.run(&["run", "flow.segue.yaml"]);
        assert_ne!(done.code, 0, "{items}");
        assert!(done.stderr.contains(said), "{items}: {done:#?}");
        assert!(!lab.work().join("began").exists());
    }
}

const FAILING: &str = r#"
name: failing
tasks:
  each:
    for_each: {list: [1, 2, 3, 4], on_item_failure: POLICY}
    run: |
      echo {{ item }} >> began
      [ -e mended ] || [ {{ item }} != 2 ]
  after: {needs: [each], run: touch after}
"#;

#[test]
fn a_failed_item_stops_the_others_or_not_and_a_resume_runs_what_is_left() {
    for (policy, began, left) in
        [("continue", "1\n2\n3\n4\n", "2\n"), ("stop", "1\n2\n", "2\n3\n4\n")]
    {
        let lab = Lab::with(&FAILING.replace("POLICY", policy));
        let done = lab.expect(1, &["run", "flow.segue.yaml", "--concurrency", "1"]);
        assert!(done.stderr.contains("1 of 4 items failed: 2"), "{done:#?}");
        assert_eq!((lab.read("began").as_str(), lab.status("after").as_str()), (began, "blocked"));
        lab.write("mended", "");
        lab.expect(0, &["resume", "latest"]);
        assert_eq!(lab.read("began"), format!("{began}{left}"), "{policy}");
        assert!(lab.work().join("after").exists());
        lab.expect(0, &["retry", "latest", "--from", "each"]);
        assert_eq!(lab.read("began"), format!("{began}{left}1\n2\n3\n4\n"), "{policy}");
    }
}

#[test]
fn a_batch_ends_before_the_next_begins() {
    let lab = Lab::with(
        r#"
name: batches
tasks:
  each:
    for_each: {items: "range(6)", batch: 2}
    run: |
      echo begin {{ item }} >> log
      sleep 0.0{{ 5 - item % 2 * 4 }}
      echo end {{ item }} >> log
"#,
    );
    lab.expect(0, &["run", "flow.segue.yaml", "--concurrency", "4"]);
    let log = lab.read("log");
    let batches: Vec<Vec<u32>> = log
        .lines()
        .collect::<Vec<_>>()
        .chunks(4)
        .map(|lines| {
            let mut numbers: Vec<u32> =
                lines.iter().filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
            numbers.sort_unstable();
            numbers
        })
        .collect();
    assert_eq!(batches, [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5]], "{log}");
}

#[test]
fn skip_if_passes_over_items_that_are_done_unless_forced() {
    let lab = Lab::with(
        r#"
name: idempotent
tasks:
  see: {run: "echo \"{\\\"done\\\": [$(cat done 2>/dev/null)]}\""}
  each:
    needs: [see]
    for_each: {list: [1, 2, 3]}
    skip_if: item in tasks.see.result.done
    run: echo {{ item }} >> ran
"#,
    );
    lab.write("done", "1, 3");
    lab.expect(0, &["run", "flow.segue.yaml"]);
    assert_eq!(lab.read("ran"), "2\n");
    assert_eq!(items(&lab, "each"), ["1 skipped", "2 succeeded", "3 skipped"]);
    lab.expect(0, &["run", "flow.segue.yaml", "--force", "--concurrency", "1"]);
    assert_eq!(lab.read("ran"), "2\n1\n2\n3\n");
}

#[test]
fn kill_the_engine_amid_items_and_only_unfinished_ones_run_again() {
    let lab = Lab::with(
        r#"
name: killed
tasks:
  each:
    for_each: {items: "range(6)", max_parallel: 2}
    run: |
      echo {{ item }} >> began
      [ {{ item }} -lt 2 ] || until [ -e go ]; do sleep 0.02; done
      echo {{ item }} >> ended
  after: {needs: [each], run: touch after}
"#,
    );
    let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events", "--concurrency", "4"]);
    for _ in 0..2 {
        live.event(|event| event["type"] == "task_succeeded" && event["item"].is_string());
    }
    let under_way = |event: &Value| event["type"] == "attempt_dispatched";
    let later = |event: &Value| event["attempt"]["item"].as_str().is_some_and(|key| key >= "2");
    live.event(|event| under_way(event) && later(event));
    live.kill();
    lab.write("go", "");
    lab.await_emptiness();
    lab.expect(0, &["resume", "latest"]);
    let mut began: Vec<String> = lab.read("began").lines().map(str::to_owned).collect();
    began.sort_unstable();
    assert_eq!(began, ["0", "1", "2", "3", "4", "5"], "each item ran once");
    assert_eq!(lab.read("ended").lines().count(), 6);
    assert_eq!(lab.state()["tasks"]["each"]["items"]["succeeded"], 6);
    assert!(lab.work().join("after").exists());
}

#[test]
fn an_interrupted_run_goes_on_with_the_items_it_had() {
    let lab = Lab::with(
        r#"
name: interrupted
defaults: {kill_grace: 1s}
tasks:
  each:
    for_each: {glob: "*.in"}
    run: |
      echo {{ item }} >> began
      touch new-{{ item }}
      [ -e go ] || sleep 60
"#,
    );
    lab.write("a.in", "");
    lab.write("b.in", "");
    let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events", "--concurrency", "1"]);
    live.dispatched("each");
    lab.await_file("began");
    live.signal(Signal::INT);
    assert_eq!(live.wait().code, 130);
    lab.write("go", "");
    lab.expect(0, &["resume", "latest"]);
    assert_eq!(lab.read("began"), "a.in\na.in\nb.in\n", "files made meanwhile are no items");
}

#[test]
fn items_are_seen_everywhere() {
    let lab = Lab::with(
        r#"
name: seen
tasks:
  each:
    for_each: {list: ["one/two", "x y"]}
    run: echo hello {{ item }}; [ {{ item }} != 'x y' ]
"#,
    );
    let plan = lab.expect(0, &["plan", "flow.segue.yaml"]);
    assert!(plan.stdout.contains("each  for each of 2 items"), "{plan:#?}");
    let done = lab.expect(1, &["run", "flow.segue.yaml", "--concurrency", "1"]);
    for line in [" each[one/two]  succeeded", " each[x y]  failed", " each  has 2 items"] {
        assert!(done.stderr.contains(line), "{line}: {done:#?}");
    }
    let logs = |name: &str| lab.expect(0, &["logs", "latest", name]).stdout;
    assert_eq!(logs("each[one/two]"), "hello one/two\n");
    assert_eq!(logs("each"), "each[one/two] | hello one/two\neach[x y]     | hello x y\n");
    let unknown = lab.expect(4, &["logs", "latest", "each[none]"]);
    assert!(unknown.stderr.contains("its items are: one/two, x y"), "{unknown:#?}");
    let show = lab.expect(0, &["show", "latest"]).stdout;
    assert!(show.contains("2 items: 1 succeeded, 1 failed; execution: 1 of 2 items failed: x y"));
    assert!(show.contains("\n✗   x y  failed"), "{show}");
    let graph = lab.expect(0, &["graph", "latest"]).stdout;
    assert!(graph.contains("each ×2"), "{graph}");
    let report = |format| lab.expect(0, &["report", "latest", "--format", format]).stdout;
    assert!(report("md").contains("| one/two | succeeded |"));
    assert!(report("html").contains("each[x y], attempt 1"));
    assert!(lab.latest().join("attempts/each.one%2Ftwo.1/stdout.log").exists());
}
