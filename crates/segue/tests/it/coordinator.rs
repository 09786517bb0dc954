//! The coordinator example: thirteen real agents on a C project with real compile errors, and
//! modes that choose among them by how many there are.

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
        (&14.into(), &14.into())
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

/// S2 defect 18: the original's smart mode had no effect, or never ended.
#[test]
fn the_smart_mode_does_what_the_number_of_errors_calls_for() {
    let as_it_is = Lab::with_example("coordinator");
    let few = Lab::with_example("coordinator");
    let price = few.read("project/src/price.c");
    few.write(
        "project/src/price.c",
        &price.replace("const struct item *item", "struct item *item"),
    );
    let none = Lab::with_example("coordinator");
    std::fs::remove_dir_all(none.work().join("project")).expect("removed");
    for file in ["src/main.c", "tests/test_stock.c"] {
        none.write(&format!("project/{file}"), "int main(void) { return 0; }\n");
    }
    none.write("project/include/shop.h", "#ifndef SHOP_H\n#define SHOP_H\n#endif\n");
    for (lab, mode, succeeded) in
        [(as_it_is, "full", 14), (few, "targeted", 8), (none, "minimal", 5)]
    {
        lab.expect(0, &["run", "coordinator.segue.yaml", "--retry-delay", "10ms"]);
        let chosen = lab.events().into_iter().find(|event| event["event"]["type"] == "mode_chosen");
        assert_eq!(chosen.expect("one is chosen")["event"]["mode"], mode);
        assert_eq!(lab.state()["metrics"]["succeeded"], succeeded, "{mode}");
    }
}

#[test]
fn a_mode_is_a_callers_choice_too() {
    let lab = Lab::with_example("coordinator");
    lab.expect(0, &["run", "coordinator.segue.yaml", "--mode", "minimal"]);
    let metrics = &lab.state()["metrics"];
    assert_eq!((&metrics["succeeded"], &metrics["skipped"]), (&4.into(), &9.into()));
    let done = lab.expect(2, &["run", "coordinator.segue.yaml", "--mode", "minimum"]);
    assert!(done.stderr.contains("minimal"), "{done:#?}");
    let plan = lab.expect(0, &["plan", "coordinator.segue.yaml"]).stdout;
    for mode in ["minimal", "targeted", "full"] {
        assert!(plan.contains(&format!("mode {mode}")), "{plan}");
    }
}
