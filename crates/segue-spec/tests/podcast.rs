//! The podcast example's own workflows, which must always check and lower.

use std::path::Path;

use segue_core::RunRequest;
use segue_spec::{LowerContext, Source, check};
use serde_json::json;

#[test]
fn the_podcast_example_checks_and_lowers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/podcast");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".segue.yaml") {
            continue;
        }
        count += 1;
        let source = Source { name, text: std::fs::read_to_string(&path).unwrap() };
        let files =
            |file: &str| std::fs::read_to_string(folder.join(file)).map_err(|e| e.to_string());
        let workflow =
            check(&source, &files).unwrap_or_else(|e| panic!("{}", e.render(false, 100)));
        let unsupported = workflow.unsupported();
        assert!(unsupported.is_empty(), "{}", unsupported.render(false, 100));
        let mut request = RunRequest::default();
        for param in workflow.params().iter().filter(|param| param.required) {
            let value = if param.name == "topic" { "Why do we dream?" } else { "ep_1" };
            request.params.insert(param.name.clone(), json!(value));
        }
        let context = LowerContext {
            run_id: "episode-1".to_owned(),
            started_at_local: "2026-11-25T11:27:46+01:00".to_owned(),
            env: &|_| None,
        };
        let plan = workflow.plan(&request, &context);
        let plan = plan.unwrap_or_else(|e| panic!("{}", e.render(false, 100)));
        assert!(!plan.tasks.is_empty());
    }
    assert!(count >= 4, "{count} workflows found");
}
