//! `segue gc`, and what `list` and `show` say of runs that wait to be gone on with.

use serde_json::Value;

use crate::lab::Lab;

const GOOD: &str = "name: good\nparams: {who: {type: string, default: Ann}}\n\
                    tasks: {t: {run: \"echo hello\"}}\n";
const BAD: &str = "name: bad\ntasks:\n  first: {run: \"true\"}\n  \
                   second: {needs: [first], run: \"printf '%0100d' 7 >&2; exit 3\"}\n  \
                   third: {needs: [second], run: \"true\"}\n";

#[track_caller]
fn json(lab: &Lab, arguments: &[&str]) -> Value {
    serde_json::from_str(&lab.expect(0, arguments).stdout).expect("JSON")
}

fn count(lab: &Lab) -> usize {
    lab.runs().len()
}

#[test]
fn old_runs_are_removed_and_what_matters_stays() {
    let lab = Lab::with(GOOD);
    let nothing = lab.expect(0, &["gc"]);
    assert!(nothing.stderr.contains("no runs here") && !lab.store().exists(), "{nothing:#?}");
    lab.write("bad.segue.yaml", BAD);
    for _ in 0..3 {
        lab.expect(0, &["run", "flow.segue.yaml"]);
    }
    lab.expect(1, &["run", "bad.segue.yaml"]);
    let done = lab.expect(0, &["gc"]);
    assert!(done.stdout.contains("removed 0 runs") && count(&lab) == 4, "{done:#?}");
    let done = lab.expect(0, &["gc", "--older-than", "0s", "--keep", "1", "--dry-run"]);
    assert!(done.stdout.contains("would remove 2 runs, "), "{done:#?}");
    assert_eq!(count(&lab), 4);
    let told = json(&lab, &["gc", "--older-than", "0s", "--keep", "1", "--json"]);
    assert_eq!(told["removed"].as_array().map(Vec::len), Some(2), "{told}");
    assert!(told["bytes"].as_u64() > Some(4096), "{told}");
    assert_eq!((count(&lab), &told["kept"]["newest"]), (2, &2.into()));
    // The failed run waits to be resumed.
    let done = lab.expect(0, &["gc", "--older-than", "0s", "--keep", "0"]);
    assert!(done.stdout.contains("removed 1 run, "), "{done:#?}");
    assert!(done.stderr.contains("kept 1 run to be resumed (`--resumable`"), "{done:#?}");
    let done = lab.expect(0, &["gc", "--older-than", "0s", "--keep", "0", "--resumable"]);
    assert!(done.stdout.contains("removed 1 run, ") && count(&lab) == 0, "{done:#?}");
    // What they took is known as before.
    let stats = json(&lab, &["stats", "--json"]);
    assert_eq!(stats[1]["runs"], 3);
    lab.expect(0, &["doctor", "--rebuild"]);
    assert_eq!(json(&lab, &["stats", "--json"]), stats);
    assert_eq!(json(&lab, &["list", "--json"]), Value::Array(vec![]));
    lab.expect(2, &["gc", "--older-than", "yore"]);
    lab.expect(2, &["gc", "--keep", "-1"]);
}

#[test]
fn a_run_that_is_at_work_stays() {
    let lab = Lab::with("name: w\ntasks: {t: {run: \"echo up; read x < pipe\"}}\n");
    let made = lab.finish({
        let mut command = lab.command("mkfifo");
        command.arg("pipe");
        command
    });
    assert_eq!(made.code, 0);
    let mut live = lab.live(&["run", "flow.segue.yaml", "--output", "raw"]);
    while live.next_line().is_some_and(|line| line != "up") {}
    let done = lab.expect(0, &["gc", "--older-than", "0s", "--keep", "0", "--resumable"]);
    assert!(done.stderr.contains("kept 1 run at work") && count(&lab) == 1, "{done:#?}");
    std::fs::write(lab.work().join("pipe"), "go\n").expect("it is read");
    assert_eq!(live.wait().code, 0);
    let done = lab.expect(0, &["gc", "--older-than", "0s", "--keep", "0"]);
    assert!(done.stdout.contains("removed 1 run, ") && count(&lab) == 0, "{done:#?}");
}

#[test]
fn a_list_says_how_to_go_on() {
    let lab = Lab::with(GOOD);
    lab.write("bad.segue.yaml", BAD);
    for _ in 0..7 {
        lab.expect(1, &["run", "bad.segue.yaml"]);
    }
    lab.expect(0, &["run", "flow.segue.yaml"]);
    let shown = lab.expect(0, &["list"]).stdout;
    assert!(shown.lines().next().is_some_and(|line| line.starts_with("good-")), "{shown}");
    assert_eq!(shown.matches("segue resume bad-").count(), 5, "{shown}");
    assert!(shown.contains("and 2 more: `segue list --resumable`"), "{shown}");
    let shown = lab.expect(0, &["list", "-v", "--limit", "2"]).stdout;
    for part in ["last step first", "next step second", "last step t", "✗ failed"] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let error = shown.lines().find(|line| line.contains("execution: ")).expect("a failure");
    assert!(error.trim().chars().count() <= "execution: ".len() + 61, "{error:?}");
    let listed = json(&lab, &["list", "--json", "-v", "--status", "failed,cancelled"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(7));
    let run = listed[0]["run"].as_str().expect("an id");
    assert_eq!(listed[0]["resume"], format!("segue resume {run}"));
    assert_eq!(
        (&listed[0]["next_step"], &listed[0]["resumable"]),
        (&"second".into(), &true.into())
    );
    let refused = lab.expect(2, &["list", "--status", "faild"]);
    assert!(refused.stderr.contains("did you mean `failed`?"), "{refused:#?}");

    let shown = lab.expect(0, &["show", run]).stdout;
    for part in ["✓ first", "✗ second", "⊘ third", "status    ✗ failed", "segue resume bad-"]
    {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    for verb in ["show", "report", "logs", "events", "resume"] {
        lab.expect(4, &[verb, "nobody-01aaaaaaaaaaaaaaaa"]);
    }
}
