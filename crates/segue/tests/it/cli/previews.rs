//! `segue plan` before and after there are runs, and `segue stats` over them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::lab::{Lab, Live};

const FLOW: &str = r#"
name: flow
params: {who: {type: string, default: "the world"}}
secrets: [FLOW_KEY]
env: {GREETING: "hello {{ params.who }}"}
limits: {timeout: 1h, concurrency: 2}
tasks:
  slow: {stage: 1, timeout: 1m, run: "touch made; sleep 0.2"}
  quick: {stage: 1, timeout: 1m, run: "echo {{ params.who }} {{ run.id }}"}
  flaky:
    stage: 2
    needs: [slow]
    timeout: 10s
    kill_grace: 1s
    retry: {attempts: 3, delay: 100ms, jitter: false}
    run: "[ {{ task.attempt }} = 2 ]"
  reader: {needs: [quick], timeout: 1m, argv: [cat], stdin: {text: "{{ tasks.quick.result }}"}}
finally: {last: {timeout: 1m, run: "true"}}
"#;

#[track_caller]
fn json(lab: &Lab, arguments: &[&str]) -> Value {
    serde_json::from_str(&lab.expect(0, arguments).stdout).expect("JSON")
}

fn run(lab: &Lab) {
    let mut command = lab.segue(&["run", "flow.segue.yaml"]);
    command.env("FLOW_KEY", "0123456789abcdef");
    let done = Live::wait(lab.start(command));
    assert_eq!(done.code, 0, "{done:#?}");
}

/// Everything in a folder, with sizes and the times of changes; of SQLite's shared memory only
/// that it is there.
fn tree(folder: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let meta = entry.metadata().expect("it is there");
            if meta.is_dir() {
                open.push(entry.path());
            }
            let memory = entry.path().extension().is_some_and(|end| end == "db-shm");
            let changed = meta.modified().expect("a time");
            let changed = if memory { SystemTime::UNIX_EPOCH } else { changed };
            found.push((entry.path(), meta.len(), changed));
        }
    }
    found.sort();
    found
}

#[test]
fn a_plan_says_what_is_known_and_starts_nothing() {
    let lab = Lab::with(FLOW);
    for arguments in [&["plan", "flow.segue.yaml"][..], &["run", "flow.segue.yaml", "--dry-run"]] {
        let shown = lab.expect(0, arguments).stdout;
        let expected = [
            "workflow flow: 5 tasks, 2 at once",
            "secret FLOW_KEY is not set: a run would be refused",
            "env GREETING=hello the world",
            "echo 'the world' {{ run.id }}",
            "[ 1 = 2 ]",
            "timeout 10.0s · 3 tries, waits 0.1s, 0.2s",
            "at worst 33.3s",
            "reads:\n    {{ tasks.quick.result }}",
            "critical path, by worst case: quick → reader → last",
            "no forecast",
            "nothing was started, contacted or recorded",
        ];
        for part in expected {
            assert!(shown.contains(part), "no {part:?} in {shown}");
        }
    }
    assert!(!lab.store().exists() && !lab.work().join("made").exists());
    let shown = json(&lab, &["plan", "flow.segue.yaml", "--who", "Ann", "--json"]);
    assert_eq!(shown["order"], serde_json::json!(["slow", "quick", "flaky", "reader", "last"]));
    assert_eq!(shown["tasks"][1]["command"], "echo Ann {{ run.id }}");
    assert_eq!(shown["run_timeout_seconds"], 3600.0);
    assert_eq!(shown["forecast"]["p50_seconds"], Value::Null);
    assert!(shown["time_bound_seconds"].as_f64() < Some(400.0), "{shown}");
}

#[test]
fn a_plan_forecasts_from_earlier_runs_and_leaves_no_trace() {
    let lab = Lab::with(FLOW);
    run(&lab);
    run(&lab);
    let before = tree(lab.root());
    let shown = json(&lab, &["plan", "flow.segue.yaml", "--json"]);
    assert_eq!(shown["forecast"]["earlier_runs"], 2);
    let p50 = shown["forecast"]["p50_seconds"].as_f64().expect("a forecast");
    assert!((0.3..5.0).contains(&p50), "{shown}");
    assert_eq!(shown["tasks"][0]["forecast"]["runs"], 2);
    assert_eq!(shown["critical_path_by"], "forecast");
    assert!(lab.expect(0, &["plan", "flow.segue.yaml"]).stdout.contains("from 2 earlier runs"));
    let talk = |entry: &(PathBuf, u64, SystemTime)| !entry.0.starts_with(lab.root().join("talk"));
    let (mut before, mut after) = (before, tree(lab.root()));
    before.retain(talk);
    after.retain(talk);
    assert_eq!(after, before, "a plan changed something");
}

#[test]
fn what_has_no_bound_is_named() {
    let lab = Lab::with(
        "name: w\ntasks:\n  t: {run: \"true\", concurrency_group: {key: \"'k'\"}}\n  \
         u: {run: \"true\"}\n",
    );
    let shown = lab.expect(0, &["plan", "flow.segue.yaml"]).stdout;
    assert!(shown.contains("run's own timeout: t waits for other runs"), "{shown}");
    assert!(shown.contains("stopped after 24h 0m 0s"), "{shown}");
    let shown = json(&lab, &["plan", "flow.segue.yaml", "--json", "--skip", "t"]);
    assert_eq!(
        (&shown["unbounded"], &shown["tasks"][1]["left_out"]),
        (&Value::Array(vec![]), &Value::Bool(true))
    );
}

#[test]
fn ended_runs_come_to_statistics() {
    let lab = Lab::with(FLOW);
    lab.expect(4, &["stats"]);
    assert_eq!(lab.expect(0, &["stats", "--json"]).stdout, "[]\n");
    run(&lab);
    run(&lab);
    lab.write("bad.segue.yaml", "name: bad\ntasks: {no: {run: exit 3}}\n");
    lab.expect(1, &["run", "bad.segue.yaml"]);
    let check = |all: &Value| {
        let (bad, flow) = (&all[0], &all[1]);
        assert_eq!((&bad["workflow"], &flow["workflow"]), (&"bad".into(), &"flow".into()));
        assert_eq!((&bad["success_rate"], &bad["failures"]["execution"]), (&0.0.into(), &1.into()));
        assert_eq!((&flow["runs"], &flow["success_rate"]), (&2.into(), &1.0.into()));
        assert_eq!(flow["tasks"]["flaky"]["attempts"], 4);
        assert_eq!(flow["tasks"]["flaky"]["retries"], 2);
        assert!(flow["tasks"]["slow"]["p50_seconds"].as_f64() >= Some(0.2), "{flow}");
        assert!(flow["p95_seconds"].as_f64() >= Some(0.3), "{flow}");
    };
    check(&json(&lab, &["stats", "--json"]));
    let shown = lab.expect(0, &["stats", "flow", "--since", "1h"]).stdout;
    assert!(shown.contains("flow: 2 runs (2 succeeded)") && !shown.contains("bad:"), "{shown}");
    assert!(shown.contains("100.0 %") && shown.contains("2 execution"), "{shown}");
    lab.expect(0, &["doctor", "--rebuild"]);
    check(&json(&lab, &["stats", "--json"]));
    let refused = lab.expect(4, &["stats", "flwo"]);
    assert!(refused.stderr.contains("did you mean `flow`?"), "{refused:#?}");
    let refused = lab.expect(4, &["stats", "flow", "--since", "2100-01-01"]);
    assert!(refused.stderr.contains("an earlier `--since`"), "{refused:#?}");
    let refused = lab.expect(2, &["stats", "--since", "yore"]);
    assert!(refused.stderr.contains("`30d`"), "{refused:#?}");
}
