//! Outputs, results, gates.

use serde_json::json;

use super::{ends, output};
use crate::lab::{Lab, count};

#[test]
fn outputs_come_from_everywhere() {
    let lab = Lab::with(
        r#"
name: outputs
tasks:
  make:
    run: |
      echo "starting v1.2.3"
      echo content > made.txt
      echo "lines=7" >> "$SEGUE_OUTPUT"
      echo '{"deep": {"list": [1, {"x": "y"}]}}'
      echo "bye"
    outputs:
      made: {file: made.txt}
      deep: {json: /deep/list/1/x}
      version: {regex: ["V(\\d)", "v([\\d.]+)"]}
  written:
    run: |
      echo '{"from": "stdout"}'
      echo '{"from": "file"}' > "$SEGUE_RESULT"
  use:
    needs: [make, written]
    run: cat {{ tasks.make.outputs.made }} > used; echo {{ tasks.make.outputs.lines }} >> used
outputs:
  deep: tasks.make.outputs.deep
  version: tasks.make.outputs.version
  from: tasks.written.result.from
"#,
    );
    lab.expect(0, &["run", "flow.segue.yaml"]);
    assert_eq!(lab.read("used"), "content\n7\n");
    assert_eq!(output(&lab, "deep"), "y");
    assert_eq!(output(&lab, "version"), "1.2.3");
    assert_eq!(output(&lab, "from"), "file");
}

#[test]
fn a_promised_output_that_is_missing_or_old_fails_its_task() {
    for (run, outputs) in [
        ("'true'", "{f: {file: nowhere.txt}}"),
        ("'true'", "{f: {file: old.txt}}"),
        ("echo no json here", "{f: {json: /x}}"),
        ("'echo ''{\"y\": 1}'''", "{f: {json: /x}}"),
        ("echo nothing", "{f: {regex: \"v(\\\\d)\"}}"),
    ] {
        let lab = Lab::with(&format!(
            "name: o\ntasks:\n  t: {{run: {run}, outputs: {outputs}}}\n\
             \x20 after: {{needs: [t], run: touch ran}}\n"
        ));
        let old = lab.write("old.txt", "old");
        let hour = std::time::Duration::from_secs(3600);
        let file = std::fs::File::options().write(true).open(old).expect("it is there");
        file.set_modified(std::time::SystemTime::now() - hour).expect("its own file");
        let done = lab.expect(1, &["run", "flow.segue.yaml"]);
        assert_eq!(ends(&lab, "t")[0].1, "output", "{outputs}: {done:#?}");
        assert_eq!(lab.status("after"), "blocked");
        assert!(!lab.work().join("ran").exists());
    }
}

#[test]
fn gates_pass_at_equality_and_fail_closed() {
    let gates = [
        ("{score: output.q, min: 5}", true),
        ("{score: output.q, min: 5.01}", false),
        ("{score: output.nothing, min: 0}", false),
        ("{verify: {run: test -e made}}", true),
        ("{verify: {run: test -e missing}}", false),
        ("{verify: {run: sleep 60, timeout: 1s}}", false),
        ("{schema: {type: object, required: [q]}}", true),
        ("{schema: {type: object, required: [r]}}", false),
        ("{schema: shape.json}", true),
        ("{files: [\"ma*\"], fresh: true}", true),
        ("{files: [\"old*\"]}", true),
        ("{files: [\"old*\"], fresh: true}", false),
        ("{files: [\"ma*\", \"*.mp3\"]}", false),
    ];
    for (gate, passes) in gates {
        let lab = Lab::with(&format!(
            "name: g\ntasks:\n  t:\n    run: |\n      touch made\n      echo '{{\"q\": 5}}'\n\
             \x20   gates: [{gate}]\n"
        ));
        lab.write("shape.json", r#"{"type": "object", "properties": {"q": {"minimum": 5}}}"#);
        let old = lab.write("old.txt", "old");
        let hour = std::time::Duration::from_secs(3600);
        let file = std::fs::File::options().write(true).open(old).expect("it is there");
        file.set_modified(std::time::SystemTime::now() - hour).expect("its own file");
        let done = lab.run(&["run", "flow.segue.yaml"]);
        assert_eq!(done.code, if passes { 0 } else { 3 }, "{gate}: {done:#?}");
        let class = if passes { "-" } else { "quality" };
        assert_eq!(ends(&lab, "t"), [("exited".to_owned(), class.to_owned())], "{gate}");
    }
}

#[test]
fn a_schema_may_be_where_allow_paths_leads() {
    let flow = "name: g\nallow_paths: [../shared]\ntasks:\n  t:\n    run: echo '{}'\n    \
        gates: [{schema: ../shared/s.json}, {schema: linked.json}]\n";
    let lab = Lab::with(flow);
    let shared = lab.write("../shared/s.json", r#"{"type": "object"}"#);
    std::os::unix::fs::symlink(shared, lab.work().join("linked.json")).expect("room");
    lab.expect(0, &["run", "flow.segue.yaml"]);
    lab.write("flow.segue.yaml", &flow.replace("[../shared]", "[../other]"));
    let done = lab.expect(2, &["check", "flow.segue.yaml"]);
    assert!(done.stderr.contains("linked.json"), "{done:#?}");
    assert!(done.stderr.contains("leads out of the workflow's folder"), "{done:#?}");
}

#[test]
fn feedback_tells_the_next_round_why_and_uses_no_try() {
    let lab = Lab::with(
        r#"
name: feedback
tasks:
  draft:
    retry: {attempts: 1}
    env: {WHY: "{{ previous.findings[0].detail if previous else 'first' }}"}
    run: |
      echo "$WHY" >> why
      echo '{"q": {{ 5 + task.attempt }}}'
    gates: [{score: output.q, min: 8, feedback: true, rounds: 2}]
"#,
    );
    lab.expect(0, &["run", "flow.segue.yaml"]);
    let why = lab.read("why");
    assert_eq!(why.lines().count(), 3, "{why}");
    assert!(why.starts_with("first\n") && why.contains("below 8"), "{why}");
    assert_eq!(lab.state()["tasks"]["draft"]["attempts"], 3);
    // One round fewer is not enough.
    let text = lab.read("flow.segue.yaml").replace("rounds: 2", "rounds: 1");
    lab.write("flow.segue.yaml", &text);
    lab.expect(3, &["run", "flow.segue.yaml"]);
}

#[test]
fn verify_names_what_failed() {
    let lab = Lab::with(
        r#"
name: verify
tasks:
  t:
    run: "true"
    gates:
      - verify:
          run: "echo FAILED one; echo ok; echo FAILED two; exit 1"
          failures: {regex: "^FAILED (.*)"}
"#,
    );
    let done = lab.expect(3, &["run", "flow.segue.yaml"]);
    let events = lab.expect(0, &["events", "latest"]).stdout;
    assert!(events.contains("one") && events.contains("two"), "{done:#?}");
}

#[test]
fn a_large_value_is_a_reference_in_the_journal_and_whole_in_its_file() {
    let lab = Lab::with(
        r#"
name: large
tasks:
  make:
    run: |
      printf '{"big": "'; head -c 200000 /dev/zero | tr '\0' x; echo '"}'
    outputs: {big: {json: /big}}
  use:
    needs: [make]
    env: {PATH_OF: "{{ tasks.make.outputs.big.path }}"}
    run: wc -c < "$SEGUE_HOME/runs/{{ run.id }}/$PATH_OF" > size
"#,
    );
    lab.expect(0, &["run", "flow.segue.yaml"]);
    let size: u64 = lab.read("size").trim().parse().expect("a number");
    assert!((200_000..200_010).contains(&size), "{size}");
    let longest = lab.events().iter().map(|event| event.to_string().len()).max();
    assert!(longest < Some(40_000), "{longest:?}");
}

#[test]
fn results_are_found_among_log_lines() {
    let lab = Lab::with(
        r#"
name: results
tasks:
  pretty:
    run: |
      echo 'log {not json}'
      printf '\033[32m{"n": 1}\033[0m\n'
      printf '{\n  "n": 2,\n  "s": "} not the end"\n}\n'
      echo 'done [3 of 3]'
  text: {run: "echo just text", result: text}
  strict: {run: "echo no json at all", result: json, optional: true}
outputs:
  n: tasks.pretty.result.n
  text: tasks.text.result
"#,
    );
    lab.expect(0, &["run", "flow.segue.yaml"]);
    assert_eq!(output(&lab, "n"), json!(2));
    assert_eq!(output(&lab, "text").as_str().map(str::trim), Some("just text"));
    assert_eq!(ends(&lab, "strict")[0].1, "output");
    assert_eq!(count(&lab.events(), "task_failed", "strict"), 1);
}

#[test]
fn a_hundred_megabytes_of_output_lose_their_middle_and_nothing_else() {
    let lab = Lab::with(
        r#"
name: much
tasks:
  talk:
    output_limit: 1MiB
    run: |
      echo first line
      head -c 20000000 /dev/zero | tr '\0' x
      echo; echo last line; printf 'no newline \377'
"#,
    );
    lab.expect(0, &["run", "flow.segue.yaml"]);
    let log = std::fs::read(lab.latest().join("attempts/talk.1/stdout.log")).expect("a log");
    assert!(log.len() < 2 << 20, "{}", log.len());
    assert!(log.starts_with(b"first line\n") && log.ends_with(b"last line\nno newline \xff"));
    let resources = &lab
        .events()
        .iter()
        .find(|e| e["event"]["type"] == "attempt_ended")
        .cloned()
        .expect("it ended")["event"]["report"]["resources"];
    assert!(resources["omitted_bytes"].as_u64() > Some(18_000_000), "{resources}");
}
