//! Golden cases of bad files: what a person sees, for each kind of mistake.
//!
//! A case is `tests/bad/NAME.yaml`; what is drawn for it is `tests/bad/NAME.snap`. A first
//! line `# plan: {…}` is the request of a run, for mistakes that only values can make.

use segue_core::RunRequest;
use segue_spec::{Diagnostics, LowerContext, Source, check};

/// The files that cases may name.
fn files(name: &str) -> Result<String, String> {
    match name {
        "broken.json" => Ok("{\"type\": [\"object\"".to_owned()),
        _ => Err("it does not exist".to_owned()),
    }
}

/// Everything there is to say about a file: errors, else warnings and unsupported keys.
fn diagnose(source: &Source) -> Vec<Diagnostics> {
    let workflow = match check(source, &files) {
        Ok(workflow) => workflow,
        Err(errors) => return vec![errors],
    };
    let mut all = vec![workflow.warnings().clone(), workflow.unsupported().clone()];
    let first = source.text.lines().next().unwrap_or_default();
    if let Some(request) = first.strip_prefix("# plan: ") {
        let request: RunRequest = serde_json::from_str(request).expect("a request");
        let context = LowerContext {
            run_id: "x-1".to_owned(),
            started_at_local: "2026-11-25T11:27:46+01:00".to_owned(),
            env: &|_| None,
        };
        all.extend(workflow.plan(&request, &context).err());
    }
    all.retain(|one| !one.is_empty());
    all
}

#[test]
fn every_bad_file_is_told_where_and_what_to_do() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bad");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    paths.sort();
    assert!(paths.len() >= 40, "only {} cases", paths.len());
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let source = Source { name, text: std::fs::read_to_string(&path).unwrap() };
        let all = diagnose(&source);
        assert!(!all.is_empty(), "nothing is said about {}", source.name);
        for one in all.iter().flat_map(Diagnostics::iter) {
            assert!(one.code.starts_with("segue::spec::"), "{one:?}");
            assert!(!one.help.is_empty() && !one.label.is_empty(), "{one:?}");
            assert!(source.text.get(one.span.clone()).is_some(), "{one:?}");
            let nowhere = one.span.is_empty() && !source.text.is_empty();
            let whole = ["unknown_param", "missing_key", "empty", "syntax"];
            let code = one.code.rsplit(':').next().unwrap();
            assert!(!nowhere || whole.contains(&code), "no span: {one:?}");
        }
        for row in all.iter().flat_map(|one| one.to_json().as_array().unwrap().clone()) {
            assert!(row["line"].as_u64().unwrap() >= 1 && row["column"].as_u64().unwrap() >= 1);
        }
        let drawn: String = all.iter().map(|one| one.render(false, 100)).collect();
        let case = path.file_stem().unwrap().to_str().unwrap();
        insta::with_settings!({
            omit_expression => true,
            prepend_module_to_snapshot => false,
            snapshot_path => "bad",
        }, {
            insta::assert_snapshot!(case, drawn);
        });
    }
}
