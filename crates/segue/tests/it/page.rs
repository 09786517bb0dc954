//! `report.html` in a headless Chromium: it draws, it is complete, it asks nobody for anything.
//!
//! Chromium is named by `SEGUE_TEST_CHROMIUM`, as `cargo xtask test` does, or is on the path.

use std::path::Path;

use crate::lab::Lab;

const FLOW: &str = r#"
name: page
params: {note: {type: string, default: "<script>alert(1)</script> & \"quotes\""}}
tasks:
  gather: {stage: 1, run: "echo {{ params.note }}; sleep 0.2"}
  flaky:
    stage: 1
    retry: {attempts: 2, delay: 50ms}
    run: "echo '<b>bold</b>'; [ {{ task.attempt }} = 2 ]"
  draft: {stage: 1, needs: [gather], run: sleep 0.1}
  bad: {stage: 2, needs: [draft], run: "echo boom >&2; exit 3"}
  after: {stage: 2, needs: [bad], run: "true"}
"#;

fn chromium() -> String {
    std::env::var("SEGUE_TEST_CHROMIUM").unwrap_or_else(|_| "chromium".to_owned())
}

/// The page as Chromium has it after running it, and what Chromium logged.
fn render(lab: &Lab, page: &Path) -> (String, String) {
    let mut command = lab.command(&chromium());
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args(["--no-first-run", "--disable-extensions", "--disable-background-networking"]);
    // Nothing that is asked for is found, whoever asks: a test talks to nobody.
    command.arg("--host-resolver-rules=MAP * ~NOTFOUND");
    command.args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", lab.root().join("chromium").display()));
    command.arg(format!("file://{}", page.display()));
    let done = lab.finish(command);
    assert_eq!(done.code, 0, "{done:#?}");
    (done.stdout, done.stderr)
}

#[test]
fn heavy_the_report_is_a_page_of_its_own() {
    let lab = Lab::with(FLOW);
    lab.expect(1, &["run", "flow.segue.yaml", "--concurrency", "2"]);
    let page = lab.latest().join("report.html");
    let text = std::fs::read_to_string(&page).expect("a page");
    for mark in ["src=\"http", "href=\"http", "url(http", "@import", "<link", "<iframe"] {
        assert!(!text.contains(mark), "the page loads something: {mark}");
    }
    let (dom, log) = render(&lab, &page);
    assert!(dom.matches("<svg").count() >= 2, "a Gantt chart and a graph: {dom}");
    for task in ["gather", "flaky", "draft", "bad", "after"] {
        assert!(dom.contains(task), "{task} is missing");
    }
    for word in ["blocked", "failed", "succeeded", "boom"] {
        assert!(dom.contains(word), "{word} is missing");
    }
    assert!(!dom.contains("<script>alert") && !dom.contains("<b>bold"), "text became markup");
    assert!(!log.contains("CONSOLE"), "the page has errors: {log}");
    // A copy that tells what it has loaded: nothing.
    let telling = lab.write(
        "telling.html",
        &text.replace(
            "</body>",
            "<p id=loaded></p><script>loaded.textContent = 'loaded: ' + \
             performance.getEntriesByType('resource').map(r => r.name) + '.'</script></body>",
        ),
    );
    let (dom, log) = render(&lab, &telling);
    assert!(dom.contains("loaded: .</p>"), "it loads something: {log}");
}
