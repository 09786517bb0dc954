//! Good files: what they lower to, what the generated schema says of them, and bounds.

use std::fmt::Write as _;
use std::path::Path;

use segue_core::{Plan, RunRequest};
use segue_spec::{Diagnostics, LowerContext, Source, Workflow, check, schema};
use serde_json::{Value, json};

const EVERYTHING: &str = include_str!("good/everything.segue.yaml");

fn files(name: &str) -> Result<String, String> {
    match name {
        "schemas/result.json" => Ok("{\"type\": \"object\"}".to_owned()),
        "common.env" | "work/one.env" => Ok(String::new()),
        _ => Err("it does not exist".to_owned()),
    }
}

fn read(text: &str) -> Result<Workflow, Diagnostics> {
    check(&Source { name: "test.segue.yaml".to_owned(), text: text.to_owned() }, &files)
}

#[track_caller]
fn plan(text: &str, request: &Value) -> Plan {
    let workflow = read(text).unwrap_or_else(|e| panic!("{}", e.render(false, 100)));
    let request: RunRequest = serde_json::from_value(request.clone()).expect("a request");
    let context = LowerContext {
        run_id: "everything-1".to_owned(),
        started_at_local: "2026-11-25T11:27:46+01:00".to_owned(),
        env: &|name| (name == "MAX_COST").then(|| "$7".to_owned()),
    };
    let plan = workflow.plan(&request, &context);
    plan.unwrap_or_else(|e| panic!("{}", e.render(false, 100)))
}

#[test]
fn every_key_of_this_build_is_lowered() {
    let workflow = read(EVERYTHING).unwrap_or_else(|e| panic!("{}", e.render(false, 100)));
    let unsupported = workflow.unsupported().render(false, 100);
    assert!(workflow.unsupported().is_empty(), "{unsupported}");
    let plan = plan(EVERYTHING, &json!({"params": {"topic": "why?", "q": "9"}}));
    insta::with_settings!({prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("everything", serde_json::to_string_pretty(&plan).unwrap());
    });
    let written = serde_json::to_value(&plan).unwrap();
    assert_eq!(serde_json::from_value::<Plan>(written).unwrap(), plan);
}

#[test]
fn a_cpu_limit_that_nothing_holds_is_told_of_each_task() {
    let text = "name: x\nparams: {cores: {type: number, default: 2}}\ntasks:\n  \
        a: {run: echo, cpu_limit: 1.5}\n  b: {run: echo}\nfinally:\n  \
        c: {run: echo, cpu_limit: \"{{ params.cores }}\"}\n";
    let workflow = read(text).expect("it is right");
    assert!(workflow.warnings().is_empty() && workflow.unsupported().is_empty());
    let found = workflow.unheld_cpu_limits();
    assert!(!found.has_errors());
    let messages: Vec<&str> = found.iter().map(|one| one.message.as_str()).collect();
    let message = |task| format!("nothing here holds task `{task}` to its `cpu_limit`");
    assert_eq!(messages, [message("a"), message("c")]);
    let limits: Vec<_> =
        plan(text, &json!({})).tasks.iter().map(|task| task.limits.cpu_millis_max).collect();
    assert_eq!(limits, [Some(1500), None, Some(2000)]);
    let all = read(&text.replace("tasks:", "defaults: {cpu_limit: 3}\ntasks:")).expect("right");
    assert_eq!(all.unheld_cpu_limits().len(), 3, "the default counts for who has none");
}

#[test]
fn a_request_goes_before_the_file() {
    let text = "name: x\nlimits: {timeout: 1h, concurrency: 2}\ndefaults: {retry: {attempts: 2}}\n\
        tasks:\n  a: {run: echo}\n  b: {run: echo, retry: {attempts: 5}}\n  c: {run: echo, \
        retry: never}\n";
    let plan = plan(text, &json!({"timeout": 9000, "concurrency": 7, "retry_attempts": 4}));
    assert_eq!((plan.limits.timeout.0, plan.limits.concurrency), (9000, Some(7)));
    let attempts: Vec<u32> = plan.tasks.iter().map(|task| task.retry.attempts).collect();
    assert_eq!(attempts, [4, 4, 1]);
    assert!(plan.tasks[2].retry.never);
}

#[test]
fn only_takes_needs_along_and_skip_leaves_out() {
    let text = "name: x\ntasks:\n  a: {run: echo}\n  b: {run: echo, needs: [a]}\n  c: {run: echo}\n\
        finally: {f: {run: echo}}\n";
    let excluded = |request: Value| -> Vec<bool> {
        plan(text, &request).tasks.iter().map(|task| task.excluded).collect()
    };
    assert_eq!(excluded(json!({"only": ["b"]})), [false, false, true, false]);
    assert_eq!(excluded(json!({"skip": ["a"]})), [true, false, false, false]);
    assert_eq!(excluded(json!({"skip": ["f"]})), [false, false, false, true]);
}

#[test]
fn a_result_is_wanted_only_by_who_looks_at_it() {
    let text = "name: x\ntasks:\n  a: {run: echo}\n  b: {run: echo, outputs: {o: {json: /x}}}\n  \
        c: {run: echo, gates: [{score: output.q, min: 1}]}\n  d: {run: echo}\n  e: {run: echo}\n\
        outputs: {x: tasks.d.result.y, y: tasks.a.outputs.z}\n";
    let wanted = |text: &str| -> Vec<bool> {
        plan(text, &json!({})).tasks.iter().map(|task| task.result_wanted).collect()
    };
    assert_eq!(wanted(text), [false, true, true, true, false]);
    assert_eq!(wanted(&format!("{text}display: '{{{{ tasks | length }}}}'\n")), [true; 5]);
}

#[test]
fn the_digest_covers_the_files_too() {
    let source = Source {
        name: "x".to_owned(),
        text: "name: x\ntasks: {a: {run: echo, gates: \
        [{schema: s.json}]}}"
            .to_owned(),
    };
    let one = check(&source, &|_| Ok("{}".to_owned())).unwrap();
    let two = check(&source, &|_| Ok("{\"type\": \"array\"}".to_owned())).unwrap();
    assert_ne!(one.digest(), two.digest());
    assert_eq!(one.files(), [("s.json".to_owned(), "{}".to_owned())]);
}

#[test]
fn the_schema_accepts_what_the_parser_accepts() {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let yaml = |text: &str| segue_spec::to_json(text).unwrap();
    let mut texts = vec![EVERYTHING.to_owned()];
    let podcast = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/podcast");
    for entry in std::fs::read_dir(podcast).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with(".segue.yaml") {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
    for text in texts {
        let errors: Vec<String> = validator
            .iter_errors(&yaml(&text))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    for text in
        ["name: x", "name: x\ntasks: {a: {run: x, argv: [y]}}", "name: x\ntasks: {a: {rnu: x}}"]
    {
        assert!(!validator.is_valid(&yaml(text)), "{text}");
    }
    insta::with_settings!({prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("schema", serde_json::to_string_pretty(&schema).unwrap());
    });
}

#[test]
fn sizes_are_bounded() {
    let codes = |text: String| -> Vec<&str> {
        read(&text).err().map(|all| all.iter().map(|one| one.code).collect()).unwrap_or_default()
    };
    let value = format!("name: x\ntasks: {{a: {{run: \"{}\"}}}}", "x".repeat(1 << 20 | 1));
    assert_eq!(codes(value), ["segue::spec::too_large"]);
    let file = format!("name: x\ntasks: {{a: {{run: echo}}}}\n#{}", "x".repeat(16 << 20));
    assert_eq!(codes(file), ["segue::spec::too_large"]);
    let many: String = (0..1000).map(|n| format!("k{n}: 1\n")).collect();
    assert_eq!(codes(many).len(), segue_spec::DIAGNOSTICS_MAX);
}

/// Run in release by hand: `check` takes about 1 s for 100,000 tasks there, bound 2 s.
#[test]
fn a_large_plan_is_not_quadratic() {
    const TASKS: usize = if cfg!(debug_assertions) { 20_000 } else { 100_000 };
    let mut text = "name: large\ntasks:\n".to_owned();
    for n in 0..TASKS {
        let needs =
            if n > 2 { format!(", needs: [t{}, t{}]", n - 1, n / 2) } else { String::new() };
        writeln!(text, "  t{n}: {{argv: [\"true\", \"{{{{ run.id }}}}\"]{needs}}}").unwrap();
    }
    let started = std::time::Instant::now();
    let plan = plan(&text, &json!({}));
    assert_eq!(plan.tasks.len(), TASKS);
    let took = started.elapsed();
    eprintln!("{TASKS} tasks checked and lowered in {took:?}");
    assert!(took.as_secs() < 20, "{took:?}");
}
