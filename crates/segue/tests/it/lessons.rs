//! The lessons example: a seed in TypeScript, a scheme of work, a lesson for each of its entries,
//! and diagrams by a service that may not be there.
//!
//! It needs the packages of `examples/lessons/package.json`, which `cargo xtask test` installs and
//! names in `SEGUE_TEST_NODE_MODULES`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::lab::{Lab, count};

fn lab() -> Lab {
    let lab = Lab::with_example("lessons");
    let given = std::env::var_os("SEGUE_TEST_NODE_MODULES").map(PathBuf::from);
    let made =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/lessons-packages/node_modules");
    let found = given.into_iter().chain([made]).find(|modules| modules.join(".bin/tsx").exists());
    let modules = found.expect("tsx: run `cargo xtask setup`, or the tests by `cargo xtask test`");
    let modules = modules.canonicalize().expect("it exists");
    std::os::unix::fs::symlink(modules, lab.work().join("node_modules")).expect("room");
    lab
}

/// The example's own diagram service, on a free port.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(lab: &Lab) -> Self {
        let mut command = Command::new("python3");
        command.args(["-u", "pipeline/diagram_service.py", "0"]).current_dir(lab.work());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("python3 is installed");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().trim_start_matches("listening on ").to_owned();
        Self { child, address }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_course_is_authored_with_its_diagrams() {
    let lab = lab();
    let service = Service::start(&lab);
    let done = lab.expect(
        0,
        &["run", "lessons.segue.yaml", "math", "--diagram-service", &service.address, "--json"],
    );
    let result: serde_json::Value = serde_json::from_str(&done.stdout).expect("one document");
    assert_eq!(result["outputs"]["course_id"], "course_mathematics_n5");
    assert_eq!(result["outputs"]["lessons"], 10);
    assert!(lab.read("out/course_mathematics_n5/lessons/10.md").contains("Probability, part 2"));
    assert!(lab.read("out/course_mathematics_n5/diagrams/01.svg").contains("Fractions, part 1"));
    // What is written is not written again, unless it is asked for.
    let again = ["run", "lessons.segue.yaml", "math", "--skip-diagrams"];
    lab.expect(0, &again);
    assert_eq!(lab.state()["tasks"]["lessons"]["items"]["skipped"], 10);
    lab.expect(0, &[&again[..], &["--force"]].concat());
    assert_eq!(lab.state()["tasks"]["lessons"]["items"]["succeeded"], 10);
}

#[test]
fn a_resume_writes_only_the_lessons_that_failed() {
    let lab = lab();
    let mut command = lab.segue(&["run", "lessons.segue.yaml", "physics", "--skip-diagrams"]);
    command.env("LESSONS_FAIL", "2,5");
    let done = lab.finish(command);
    assert_eq!(done.code, 1, "{done:#?}");
    assert!(done.stderr.contains("2 of 6 items failed: 2, 5"), "{done:#?}");
    assert_eq!(lab.status("diagrams"), "blocked");
    lab.expect(0, &["resume", "latest"]);
    assert_eq!(count(&lab.events(), "attempt_dispatched", "lessons"), 8, "six, and two again");
    // S3 defect 3: a flag holds for a resume too.
    assert_eq!(lab.status("diagrams"), "skipped");
    // S3 defect 1: a run that has succeeded is left alone.
    let done = lab.expect(0, &["resume", "latest"]);
    assert!(done.stderr.contains("nothing to resume"), "{done:#?}");
}

#[test]
fn without_its_service_the_run_warns_and_tells_how_to_start_it() {
    let lab = lab();
    let nowhere = ["--diagram-service", "http://127.0.0.1:9", "--diagram-timeout", "200ms"];
    let run = ["run", "lessons.segue.yaml", "applications"];
    let done = lab.expect(0, &[&run[..], &nowhere].concat());
    assert!(done.stderr.contains("python3 pipeline/diagram_service.py"), "{done:#?}");
    assert!(done.stderr.contains("http://127.0.0.1:9/health"), "{done:#?}");
    assert_eq!(lab.status("diagrams"), "failed");
    assert_eq!(lab.state()["run"]["status"], "warned");
}

/// S3 defect 2: a preview of the original made a real run, and needed the service.
#[test]
fn a_dry_run_needs_nothing_and_leaves_nothing() {
    let lab = lab();
    lab.expect(0, &["run", "lessons.segue.yaml", "math", "--dry-run"]);
    assert!(!lab.store().exists() && !lab.work().join("out").exists());
    let done = lab.expect(2, &["run", "lessons.segue.yaml", "zzz"]);
    assert!(done.stderr.contains("mathematics"), "{done:#?}");
}
