//! Nothing that anybody types makes the reader panic, and every span lies in the text.

use proptest::prelude::*;
use segue_core::RunRequest;
use segue_spec::{LowerContext, Source, check};

const GOOD: &str = include_str!("good/everything.segue.yaml");

/// What YAML and templates are made of.
const PARTS: &[&str] = &[
    "a: ", "b: ", "run: ", "needs: ", "retry: ", "- ", "{", "}", "[", "]", "\n", "  ", "\n  ",
    "\"", "'", "&a ", "*a", "!", "!!str ", "|\n", ">", "#", "{{ ", " }}", "{% if ", " %}", "{#",
    ",", "é", "5s", "12", "tasks.a", ".result", "params", " | raw", "['a']", "<<: ", "---\n", "? ",
    "\t", "%", "\u{feff}",
];

fn survives(text: String) {
    let source = Source { name: "x.yaml".to_owned(), text };
    let all = match check(&source, &|_| Err("not here".to_owned())) {
        Err(errors) => errors,
        Ok(workflow) => {
            let context = LowerContext {
                run_id: "x-1".to_owned(),
                started_at_local: "2026-11-25T11:27:46+01:00".to_owned(),
                env: &|_| None,
            };
            match workflow.plan(&RunRequest::default(), &context) {
                Ok(_) => return,
                Err(errors) => errors,
            }
        }
    };
    assert!(!all.is_empty());
    for one in all.iter() {
        assert!(source.text.get(one.span.clone()).is_some(), "{one:?}");
        assert!(!one.help.is_empty() && !one.label.is_empty(), "{one:?}");
    }
    let _ = (all.render(true, 40), all.to_json());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        survives(text);
    }

    #[test]
    fn text_that_looks_like_yaml(parts in prop::collection::vec(prop::sample::select(PARTS), 0..60))
    {
        survives(format!("name: x\ntasks:\n{}", parts.concat()));
    }

    #[test]
    fn good_files_with_a_slip(at in 0..GOOD.len(), cut in 0usize..40, put in "\\PC{0,6}") {
        let start = GOOD.floor_char_boundary(at);
        let end = GOOD.floor_char_boundary((start + cut).min(GOOD.len()));
        survives(format!("{}{put}{}", &GOOD[..start], &GOOD[end..]));
    }

    #[test]
    fn good_files_with_a_line_moved(from in 0usize..110, to in 0usize..110) {
        let mut lines: Vec<&str> = GOOD.lines().collect();
        let line = lines.remove(from % lines.len());
        lines.insert(to % lines.len(), line);
        survives(lines.join("\n"));
    }
}
