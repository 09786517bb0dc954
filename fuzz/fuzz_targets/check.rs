//! Any text as a workflow file: checking and lowering never panic, and every diagnostic
//! has a place in the text and something to say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use segue_core::RunRequest;
use segue_spec::{LowerContext, Source, check};

fuzz_target!(|text: &str| {
    let source = Source { name: "fuzz.yaml".to_owned(), text: text.to_owned() };
    let checked = check(&source, &|_| Ok("{\"type\": \"object\"}".to_owned()));
    let context = LowerContext {
        run_id: "fuzz-1".to_owned(),
        started_at_local: "2026-11-25T11:27:46+01:00".to_owned(),
        env: &|_| None,
    };
    let planned = checked.and_then(|workflow| workflow.plan(&RunRequest::default(), &context));
    if let Err(all) = planned {
        assert!(!all.is_empty());
        for one in all.iter() {
            assert!(source.text.get(one.span.clone()).is_some(), "{one:?}");
            assert!(!one.help.is_empty() && !one.label.is_empty(), "{one:?}");
        }
        let _ = (all.render(false, 80), all.to_json());
    }
});
