//! Approvals: asked, answered from another process, with and without an engine.

use crate::lab::{Lab, Live, Signal, count};

const ASKS: &str = r#"
name: asks
limits: {concurrency: 1}
tasks:
  draft: {run: "echo '{\"title\": \"On sleep\"}'", outputs: {title: {json: /title}}}
  sign-off:
    needs: [draft]
    approve: {message: "Publish \"{{ tasks.draft.outputs.title }}\"?", timeout: 1h, default: reject}
  publish:
    needs: [sign-off]
    run: echo {{ tasks['sign-off'].outputs.note }} > published
"#;

fn asked(lab: &Lab) -> Live {
    let mut live = lab.live(&["run", "flow.segue.yaml", "--json=events"]);
    let question = live.event(|event| event["type"] == "approval_asked");
    assert_eq!(question["event"]["message"], "Publish \"On sleep\"?");
    live
}

#[test]
fn an_approval_lets_the_run_go_on() {
    let lab = Lab::with(ASKS);
    let live = asked(&lab);
    let shown = lab.expect(0, &["show", "latest"]).stdout;
    assert!(shown.contains("asks: Publish \"On sleep\"?  `segue approve asks-"), "{shown}");
    let mut command = lab.segue(&["approve", "latest", "sign-off", "--note", "it's fine"]);
    command.env("USER", "ann");
    let done = lab.finish(command);
    assert_eq!(done.code, 0, "{done:#?}");
    assert!(done.stderr.contains("has succeeded"), "{done:#?}");
    assert_eq!(live.wait().code, 0);
    assert_eq!(lab.read("published"), "it's fine\n");
    let answer = &lab.state()["tasks"]["sign-off"]["answer"];
    assert_eq!((answer["by"].as_str(), answer["answer"].as_str()), (Some("ann"), Some("approve")));
    let again = lab.expect(2, &["reject", "latest", "sign-off"]);
    assert!(again.stderr.contains("has its answer"), "{again:#?}");
}

#[test]
fn a_plain_line_says_what_to_type() {
    let lab = Lab::with(ASKS);
    let live = lab.live(&["run", "flow.segue.yaml"]);
    let mut follower = loop {
        let journal = lab.runs().first().map(|run| run.join("events.jsonl"));
        let begun = journal.and_then(|journal| journal.metadata().ok());
        if begun.is_some_and(|journal| journal.len() > 0) {
            break lab.live(&["events", "latest", "-f"]);
        }
        std::thread::yield_now();
    };
    follower.event(|event| event["type"] == "approval_asked");
    let id = lab.latest().file_name().expect("named").to_string_lossy().into_owned();
    lab.expect(0, &["approve", &id, "sign-off"]);
    let done = live.wait();
    let line = done.stderr.lines().find(|line| line.contains("waits for an answer"));
    let line = line.unwrap_or_else(|| panic!("{done:#?}"));
    assert!(line.contains(&format!("`segue approve {id} sign-off`")), "{line}");
    assert!(line.contains("rejected by itself in 1h"), "{line}");
}

#[test]
fn a_rejection_fails_it_and_what_needs_it_does_not_run() {
    let lab = Lab::with(ASKS);
    let live = asked(&lab);
    lab.expect(0, &["reject", "latest", "sign-off", "--note", "too long"]);
    assert_eq!(live.wait().code, 1);
    let task = &lab.state()["tasks"]["sign-off"];
    assert_eq!(task["class"], "permission");
    assert!(task["message"].as_str().is_some_and(|m| m.ends_with(": too long")), "{task}");
    assert_eq!(lab.read("published"), "");
    // A resume asks again: that answer was to that question.
    let mut live = lab.live(&["resume", "latest", "--json=events"]);
    live.event(|event| event["type"] == "run_resumed");
    live.event(|event| event["type"] == "approval_asked");
    lab.expect(0, &["approve", "latest", "sign-off"]);
    assert_eq!(live.wait().code, 0);
}

#[test]
fn a_killed_run_keeps_its_question_and_an_answer_that_nobody_took() {
    let lab = Lab::with(ASKS);
    asked(&lab).kill();
    let until = lab.events().iter().find(|r| r["event"]["type"] == "approval_asked").cloned();
    let done = lab.expect(0, &["approve", "latest", "sign-off", "--note", "later"]);
    assert!(done.stderr.contains("recorded; nobody drives run"), "{done:#?}");
    lab.expect(0, &["resume", "latest"]);
    assert_eq!(lab.read("published"), "later\n");
    assert_eq!(count(&lab.events(), "approval_asked", "sign-off"), 1, "{until:?}");
}

#[test]
fn a_resumed_run_asks_no_second_time() {
    for kill in [Signal::INT, Signal::KILL] {
        let lab = Lab::with(ASKS);
        let live = asked(&lab);
        live.signal(kill);
        live.wait();
        let before = lab.run(&["show", "latest", "--json"]).stdout;
        let mut live = lab.live(&["resume", "latest", "--json=events"]);
        live.event(|event| event["type"] == "run_resumed");
        let after = lab.run(&["show", "latest", "--json"]).stdout;
        let waiting = |text: &str| -> serde_json::Value {
            let state: serde_json::Value = serde_json::from_str(text).expect("JSON");
            state["tasks"]["sign-off"]["waiting"].clone()
        };
        assert_eq!(waiting(&before), waiting(&after), "the deadline is kept");
        assert_eq!(waiting(&after)["for"]["on"], "approval");
        lab.expect(0, &["approve", "latest", "sign-off"]);
        assert_eq!(live.wait().code, 0);
        assert_eq!(count(&lab.events(), "approval_asked", "sign-off"), 1);
    }
}

#[test]
fn time_answers_by_default_or_fails() {
    for (default, code, class) in [
        (", default: approve", 0, None),
        (", default: reject", 1, Some("permission")),
        ("", 1, Some("timeout")),
    ] {
        let lab = Lab::with(&format!(
            "name: x\ntasks:\n  ok: {{approve: {{message: go on?, timeout: 50ms{default}}}}}\n"
        ));
        lab.expect(code, &["run", "flow.segue.yaml"]);
        assert_eq!(lab.state()["tasks"]["ok"]["class"].as_str(), class, "{default}");
    }
}

#[test]
fn only_what_waits_can_be_answered() {
    let lab = Lab::with(ASKS);
    let live = asked(&lab);
    let done = lab.expect(2, &["approve", "latest", "publish"]);
    assert!(done.stderr.contains("waiting for an answer: sign-off"), "{done:#?}");
    lab.expect(4, &["approve", "latest", "nothing"]);
    lab.expect(4, &["approve", "nothing", "sign-off"]);
    lab.expect(0, &["cancel", "latest"]);
    assert_eq!(live.wait().code, 1);
    assert_eq!(lab.status("sign-off"), "cancelled");
    lab.expect(2, &["approve", "latest", "sign-off"]);
}
