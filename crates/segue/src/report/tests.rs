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
fn items_are_reported_below_their_task() {
    let tape = sample::items(5);
    let report = json(&tape.view);
    insta::assert_snapshot!("markdown_items", markdown(&tape.view));
    insta::assert_snapshot!(
        "json_items",
        serde_json::to_string_pretty(&report["tasks"]["lessons"]["items"]).unwrap()
    );
    let keys: Vec<_> = report["tasks"]["lessons"]["item_list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["key"].as_str().unwrap(), item["status"].as_str().unwrap()))
        .collect();
    assert_eq!(keys[..3], [("one", "succeeded"), ("two|<b>", "failed"), ("three", "skipped")]);
    let page = html(&tape.view, &|attempt| Some(format!("log of {attempt}")));
    let said = "5 items: 1 pending, 1 running, 1 succeeded, 1 failed, 1 skipped";
    assert!(page.contains(said) && page.contains("log of lessons.two|&lt;b&gt;.1"), "{page}");
}

#[test]
fn a_page_of_many_items_stays_small() {
    let tape = sample::items(20_000);
    let page = html(&tape.view, &|_| Some("x".repeat(1 << 20)));
    assert!(page.len() < 2 << 20, "{}", page.len());
    assert!(page.contains("and 19000 more, in report.json"));
    assert!(markdown(&tape.view).contains("And 19000 more; report.json has them all."));
}

#[test]
fn a_page_of_nothing_is_a_page() {
    let view = RunView::new(std::sync::Arc::new(sample::plan(&[])));
    let page = html(&view, &|_| None);
    assert!(page.contains("no tasks") && page.ends_with("</html>\n"));
}
