//! The formats over runs made by hand.

use segue_core::RunView;

use super::{html, json, markdown, sample};

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

#[test]
fn the_page_says_everything_and_runs_nothing() {
    let view = sample::finished();
    let logs = |attempt: &segue_core::AttemptId| {
        Some(format!("\u{1b}[1mlog\u{1b}[0m of {attempt}\n</pre><script>alert(1)</script>\n"))
    };
    let page = html(&view, &logs);
    insta::assert_snapshot!("html", page);
    for forbidden in ["<script", "http-equiv", "src=", "url(", "@import", "\u{1b}"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn a_page_of_a_thousand_tasks_stays_small() {
    let view = sample::many(1000);
    let begun = std::time::Instant::now();
    let page = html(&view, &|_| Some("x".repeat(1 << 20)));
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    assert!(page.len() < 4 << 20, "{}", page.len());
    assert_eq!(page.matches("class=\"bar ok\"").count(), 1000);
}

#[test]
fn a_page_of_nothing_is_a_page() {
    let view = RunView::new(std::sync::Arc::new(sample::plan(&[])));
    let page = html(&view, &|_| None);
    assert!(page.contains("no tasks") && page.ends_with("</html>\n"));
}
