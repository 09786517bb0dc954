//! The podcast example: the real LangGraph program, through its four workflows.
//!
//! It needs Python with the packages of `examples/podcast/requirements.txt`, in a virtual
//! environment that `cargo xtask test` makes and names in `SEGUE_TEST_VENV`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::adoption::await_print;
use crate::lab::{Done, Lab, Live, count, read_json};

const TOPIC: &str = "Why do we dream?";

/// A place with a copy of the example and the right `python` first on the path.
struct Studio {
    lab: Lab,
    path: String,
}

fn venv() -> PathBuf {
    let given = std::env::var_os("SEGUE_TEST_VENV").map(PathBuf::from);
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/podcast-venv");
    let found = given.into_iter().chain([made]).find(|venv| venv.join("bin/python").exists());
    found.expect(
        "a virtual environment: run `cargo xtask setup`, or the tests by `cargo xtask test`",
    )
}

impl Studio {
    fn new() -> Self {
        let lab = Lab::with_example("podcast");
        let path = std::env::var("PATH").expect("a search path");
        Self { lab, path: format!("{}:{path}", venv().join("bin").display()) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.segue(arguments);
        command.env("PATH", &self.path);
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        self.lab.finish(self.command(arguments))
    }

    /// Runs with `--json`; the result.
    #[track_caller]
    fn result(&self, code: i32, arguments: &[&str]) -> Value {
        let done = self.run(&[&["run"], arguments, &["--json"]].concat());
        assert_eq!(done.code, code, "{arguments:?}: {done:#?}");
        serde_json::from_str(&done.stdout).expect("one document")
    }

    fn live(&self, arguments: &[&str], stage_seconds: &str) -> Live {
        let mut command = self.command(arguments);
        command.env("PODCAST_STAGE_SECONDS", stage_seconds);
        self.lab.start(command)
    }

    fn episode(&self, id: &str) -> PathBuf {
        self.lab.work().join("podcast_production/episodes").join(id)
    }
}

fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> =
        value.as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect();
    keys.sort();
    keys
}

const RESULT_KEYS: [&str; 9] = [
    "command",
    "episode_id",
    "error_message",
    "execution_time",
    "final_cost",
    "output_files",
    "quality_score",
    "status",
    "topic",
];

#[test]
fn an_episode_is_produced() {
    let studio = Studio::new();
    let result = studio.result(0, &["prod-episode.segue.yaml", TOPIC, "--episode-id", "ep001"]);
    let outputs = &result["outputs"];
    assert_eq!(keys(outputs), RESULT_KEYS);
    assert_eq!(outputs["command"], "prod-episode");
    assert_eq!(outputs["episode_id"], "ep001");
    assert_eq!(outputs["topic"], TOPIC);
    assert_eq!(outputs["status"], "success");
    assert_eq!(outputs["error_message"], Value::Null);
    assert!(outputs["final_cost"].as_f64().is_some_and(|cost| cost > 0.0 && cost <= 5.51));
    assert!(outputs["quality_score"].as_f64().is_some_and(|quality| quality >= 8.0));
    assert!(outputs["output_files"].as_array().is_some_and(|files| files.len() >= 4));
    for name in ["research.json", "script.md", "episode.wav", "metadata.json"] {
        assert!(studio.episode("ep001").join(name).exists(), "{name}");
    }
    // The promised files are kept with the run, and its reports carry the result.
    let run = studio.lab.latest();
    let kept = run.join("attempts/episode.1/outputs");
    assert!(std::fs::read_dir(&kept).is_ok_and(|files| files.count() >= 4), "{}", kept.display());
    assert_eq!(&read_json(&run.join("report.json"))["run"]["outputs"], outputs);
    studio.lab.await_emptiness();
}

#[test]
fn an_episode_ends_with_a_text_for_people() {
    let studio = Studio::new();
    let done = studio.run(&["run", "prod-episode.segue.yaml", TOPIC]);
    assert_eq!(done.code, 0, "{done:#?}");
    let lines: Vec<&str> = done.stdout.lines().collect();
    let begins = [
        "✅ **Execution Status**: success",
        "💰 **Total Cost**: $",
        "⏱️ **Duration**: ",
        "📊 **Quality Score**: ",
        "📁 **Output Files**: ",
    ];
    assert_eq!(lines.len(), begins.len(), "{done:#?}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line:?} does not begin with {begin:?}");
    }
    assert!(lines[3].ends_with("/10"), "{}", lines[3]);
    let id = studio.lab.state()["run"]["outputs"]["episode_id"].as_str().unwrap_or("").to_owned();
    assert!(id.starts_with("ep_20") && id.len() == "ep_20261125_120000".len(), "{id}");
}

#[test]
fn stages_are_produced_one_by_one() {
    let studio = Studio::new();
    let research =
        studio.result(0, &["prod-research.segue.yaml", "AI safety", "--episode-id", "r1"]);
    let outputs = &research["outputs"];
    for key in
        ["command", "episode_id", "topic", "research_data", "sources_found", "cost", "duration"]
    {
        assert!(!outputs[key].is_null(), "{key}: {outputs}");
    }
    assert!(outputs["sources_found"].as_u64() > Some(0));
    let script = studio.result(0, &["prod-script.segue.yaml", "r1"]);
    assert_eq!(keys(&script["outputs"]), RESULT_KEYS);
    assert_eq!(script["outputs"]["command"], "prod-script");
    let audio = studio.result(0, &["prod-audio.segue.yaml", "r1"]);
    assert_eq!(audio["outputs"]["command"], "prod-audio");
    assert!(studio.episode("r1").join("episode.wav").exists());
}

#[test]
fn money_that_does_not_suffice_is_a_failure() {
    let studio = Studio::new();
    let arguments = [
        "prod-episode.segue.yaml",
        TOPIC,
        "--episode-id",
        "b1",
        "--budget-limit",
        "1",
        "--retry",
        "1",
    ];
    let result = studio.result(3, &arguments);
    assert_eq!(result["failure"]["class"], "budget");
    assert_eq!(result["outputs"]["status"], "error");
    let error = result["outputs"]["error_message"].as_str().unwrap_or_default();
    assert!(error.contains("budget"), "{error}");
    assert_eq!(count(&studio.lab.events(), "attempt_dispatched", "episode"), 1);
    assert!(!studio.episode("b1").join("episode.wav").exists());
}

#[test]
fn quality_below_its_threshold_is_a_failure() {
    let studio = Studio::new();
    let result = studio.result(
        1,
        &["prod-episode.segue.yaml", TOPIC, "--quality-threshold", "9.99", "--retry", "1"],
    );
    assert_eq!(result["outputs"]["status"], "error");
    let error = result["outputs"]["error_message"].as_str().unwrap_or_default();
    assert!(error.contains("quality"), "{error}");
    for arguments in [&["prod-episode.segue.yaml", ""][..], &["prod-audio.segue.yaml", "../x"]] {
        assert_eq!(studio.run(&[&["run"], arguments].concat()).code, 2, "{arguments:?}");
    }
}

#[test]
fn two_runs_of_one_episode_never_overlap() {
    let studio = Studio::new();
    let arguments = ["run", "prod-research.segue.yaml", TOPIC, "--episode-id", "same"];
    let runs = [(); 2].map(|()| studio.live(&arguments, "0.5"));
    for run in runs {
        let done = run.wait();
        assert_eq!(done.code, 0, "{done:#?}");
    }
    let mut spans: Vec<(String, String)> = studio
        .lab
        .runs()
        .iter()
        .map(|run| {
            let events = crate::lab::journal(run);
            let ended = events.iter().find(|e| e["event"]["type"] == "attempt_ended").expect("one");
            let at =
                |key: &str| ended["event"]["report"][key].as_str().unwrap_or_default().to_owned();
            (at("started_at"), at("ended_at"))
        })
        .collect();
    spans.sort();
    assert!(spans[0].1 <= spans[1].0, "they overlap: {spans:?}");
}

#[test]
fn kill_the_engine_amid_an_episode_and_resume() {
    let studio = Studio::new();
    let arguments =
        ["run", "prod-episode.segue.yaml", TOPIC, "--episode-id", "k1", "--json=events"];
    let mut live = studio.live(&arguments, "0.7");
    live.dispatched("episode");
    await_print(&studio.lab, "episode");
    live.kill();
    let done = studio.run(&["resume", "latest", "--json"]);
    assert_eq!(done.code, 0, "{done:#?}");
    let result: Value = serde_json::from_str(&done.stdout).expect("one document");
    assert_eq!(result["outputs"]["status"], "success");
    assert_eq!(count(&studio.lab.events(), "attempt_cleared", "episode"), 1, "it was adopted");
    studio.lab.await_emptiness();
}
