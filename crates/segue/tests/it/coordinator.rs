//! The coordinator example: thirteen real agents on a C project with real compile errors.

use crate::lab::{Lab, count, read_json};

#[test]
fn thirteen_agents_mend_a_project() {
    let lab = Lab::with_example("coordinator");
    let done = lab.expect(0, &["run", "coordinator.segue.yaml", "--work", "work/mended", "--json"]);
    let result: serde_json::Value = serde_json::from_str(&done.stdout).expect("one document");
    let outputs = &result["outputs"];
    assert_eq!((&outputs["errors_found"], &outputs["errors_left"]), (&11.into(), &0.into()));
    assert_eq!(outputs["tests_passed"], 12);
    let state = lab.state();
    assert_eq!(
        (&state["metrics"]["succeeded"], &state["metrics"]["total"]),
        (&13.into(), &13.into())
    );
    let report = lab.read("work/mended/qa-report.txt");
    assert!(report.contains("compile errors left: 0"), "{report}");
    // The project itself is as it was.
    assert!(lab.read("project/src/stock.c").matches("stock_find(struct stock").count() == 2);
}

#[test]
fn no_stage_starts_before_the_one_before_it_has_ended() {
    let lab = Lab::with_example("coordinator");
    lab.expect(0, &["run", "coordinator.segue.yaml", "--concurrency", "4"]);
    let events = lab.events();
    let at = |kind: &str, task: &str| {
        let is_it = |event: &&serde_json::Value| {
            let event = &event["event"];
            event["type"] == kind && (event["task"] == task || event["attempt"]["task"] == task)
        };
        events.iter().find(is_it).expect("it happened")["seq"].as_u64().expect("a number")
    };
    let stages: [&[&str]; 7] = [
        &["build_analyzer", "error_counter"],
        &["error_agent", "analysis"],
        &["architect"],
        &["dev_core", "dev_integration", "dev_patterns"],
        &["duplicate_fix", "constraints_fix", "inheritance_fix"],
        &["qa_automation"],
        &["qa_final"],
    ];
    for pair in stages.windows(2) {
        let ended = pair[0].iter().map(|task| at("task_succeeded", task)).max();
        let begun = pair[1].iter().map(|task| at("attempt_dispatched", task)).min();
        assert!(ended < begun, "{pair:?}");
    }
}

/// S2 defect 4: the original waited for ever.
#[test]
fn a_failed_agent_blocks_those_that_need_it_and_no_others() {
    let lab = Lab::with_example("coordinator");
    lab.write("agents/architect.sh", "#!/bin/sh\necho no plan today >&2\nexit 3\n");
    let command = ["run", "coordinator.segue.yaml", "--retry", "1", "--retry-delay", "10ms"];
    let done = lab.expect(1, &command);
    assert!(done.stderr.contains("architect"), "{done:#?}");
    assert_eq!(lab.status("architect"), "failed");
    for task in ["dev_core", "dev_integration", "dev_patterns", "qa_automation", "qa_final"] {
        assert_eq!(lab.status(task), "blocked", "{task}");
    }
    for task in ["duplicate_fix", "constraints_fix", "inheritance_fix"] {
        assert_eq!(lab.status(task), "succeeded", "{task}");
    }
    let report = read_json(&lab.latest().join("report.json"));
    assert_eq!(report["tasks"]["architect"]["exit_code"], 3);
}

/// S2 defect 3: the original never tried twice.
#[test]
fn an_agent_that_fails_once_is_tried_again() {
    let lab = Lab::with_example("coordinator");
    let analysis = lab.read("agents/analysis.sh");
    let flaky = "[ -e tried ] || { : >tried; echo not today >&2; exit 1; }\n. \"$(dirname";
    lab.write("agents/analysis.sh", &analysis.replace(". \"$(dirname", flaky));
    lab.expect(0, &["run", "coordinator.segue.yaml", "--retry-delay", "10ms"]);
    assert_eq!(count(&lab.events(), "attempt_ended", "analysis"), 2);
}
