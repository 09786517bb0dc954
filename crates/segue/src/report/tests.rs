//! The formats over runs made by hand.

use segue_core::RunView;

use super::{json, markdown, sample};

#[test]
fn a_failed_run_reads_well_in_every_format() {
    let view = sample::finished();
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&json(&view)).unwrap());
    insta::assert_snapshot!("markdown", markdown(&view));
}

#[test]
fn a_run_under_way_reads_well() {
    let view = sample::running().view;
    insta::assert_snapshot!("markdown_under_way", markdown(&view));
}

#[test]
fn a_run_without_events_or_tasks_is_no_trouble() {
    let view = RunView::new(std::sync::Arc::new(sample::plan(&[])));
    insta::assert_snapshot!("markdown_empty", markdown(&view));
    assert_eq!(json(&view)["metrics"]["total"], 0);
    assert_eq!(json(&view)["recommendations"], serde_json::json!([]));
}

#[test]
fn the_report_keeps_what_scripts_read_in_the_state_file() {
    let view = sample::finished();
    let (report, state) = (json(&view), segue_engine::state_document(&view));
    for key in ["version", "run", "metrics", "hardware"] {
        assert_eq!(report[key], state[key], "{key}");
    }
    for (id, task) in state["tasks"].as_object().unwrap() {
        for (key, value) in task.as_object().unwrap() {
            assert_eq!(&report["tasks"][id][key], value, "{id}.{key}");
        }
    }
}
