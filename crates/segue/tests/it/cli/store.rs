//! Where things are kept, and that nobody else can read them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::cli::SMALL;
use crate::lab::{Done, Lab};

/// Runs in `folder` without `SEGUE_HOME`.
fn run_in(lab: &Lab, folder: &str, arguments: &[&str]) -> Done {
    let folder = lab.work().join(folder);
    std::fs::create_dir_all(&folder).expect("room");
    let mut command = lab.segue(arguments);
    command.current_dir(folder).env_remove("SEGUE_HOME");
    lab.finish(command)
}

#[test]
fn the_store_is_the_nearest_one_above_else_at_the_repositorys_root() {
    let lab = Lab::with(SMALL);
    assert_eq!(run_in(&lab, "", &["list"]).code, 4, "looking makes nothing");
    assert!(!lab.work().join(".segue").exists());
    assert_eq!(run_in(&lab, "", &["list", "--json"]).stdout, "[]\n");
    // No repository: here.
    assert_eq!(run_in(&lab, "plain", &["run", "../flow.segue.yaml"]).code, 0);
    assert!(lab.work().join("plain/.segue/runs").is_dir());
    // The nearest above.
    assert_eq!(run_in(&lab, "plain/deep/er", &["show", "latest"]).code, 0);
    // A repository's root.
    std::fs::create_dir_all(lab.work().join("repo/.git")).expect("room");
    assert_eq!(run_in(&lab, "repo/sub", &["run", "../../flow.segue.yaml"]).code, 0);
    assert!(lab.work().join("repo/.segue/runs").is_dir());
    assert!(!lab.work().join("repo/sub/.segue").exists());
    assert!(!lab.store().exists());
}

#[test]
fn a_store_that_cannot_be_read_is_not_an_empty_one() {
    let lab = Lab::with(SMALL);
    std::fs::create_dir(lab.store()).expect("room");
    std::fs::write(lab.store().join("runs"), "no folder").expect("room");
    let done = lab.expect(70, &["list", "--json"]);
    assert!(done.stdout.starts_with("{\"error\""), "{done:#?}");
}

#[test]
fn halves_of_runs_are_removed_once_they_are_old() {
    let lab = Lab::with(SMALL);
    lab.expect(0, &["run", "flow.segue.yaml"]);
    let runs = lab.store().join("runs");
    for name in [".new-old-1", ".new-fresh-1"] {
        std::fs::create_dir_all(runs.join(name).join("inputs")).expect("room");
    }
    let mut touch = lab.command("touch");
    touch.args(["-d", "2 hours ago"]).arg(runs.join(".new-old-1"));
    assert_eq!(lab.finish(touch).code, 0);
    let done = lab.expect(0, &["doctor"]);
    assert!(done.stdout.contains("removed   1 "), "{done:#?}");
    assert!(!runs.join(".new-old-1").exists() && runs.join(".new-fresh-1").exists());
    assert_eq!(std::fs::read_dir(&runs).expect("a folder").count(), 2);
}

#[test]
fn paths_start_at_the_workflows_folder_wherever_it_is_run() {
    let lab = Lab::new();
    lab.write(
        "deep/flow.segue.yaml",
        "name: paths\ntasks:\n  here: {run: pwd > here}\n  there: {cwd: sub, run: pwd > there}\n",
    );
    lab.write("deep/sub/file", "");
    lab.expect(0, &["run", "deep/flow.segue.yaml"]);
    let work = lab.work().canonicalize().expect("it is there");
    let deep = work.join("deep");
    assert_eq!(lab.read("deep/here").trim(), deep.display().to_string());
    assert_eq!(lab.read("deep/sub/there").trim(), deep.join("sub").display().to_string());
}

/// Every file and folder below `path` that others may read.
fn open_to_others(path: &Path, found: &mut Vec<String>) {
    let mode = std::fs::symlink_metadata(path).expect("it is there").permissions().mode();
    if mode & 0o077 != 0 {
        found.push(format!("{:o} {}", mode & 0o777, path.display()));
    }
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a folder").flatten() {
            open_to_others(&entry.path(), found);
        }
    }
}

#[test]
fn what_is_kept_is_private() {
    let lab = Lab::with(SMALL);
    lab.expect(0, &["run", "flow.segue.yaml"]);
    lab.expect(0, &["run", "flow.segue.yaml", "--detach"]);
    lab.await_emptiness();
    let mut found = Vec::new();
    open_to_others(&lab.store(), &mut found);
    assert!(found.is_empty(), "others may read: {found:#?}");
}

#[test]
fn a_store_of_many_runs_finds_the_newest() {
    let lab = Lab::with(SMALL);
    for who in ["Ann", "Bob", "Cay"] {
        lab.expect(0, &["run", "flow.segue.yaml", who]);
    }
    let newest = lab.expect(0, &["logs", "latest", "greet"]).stdout;
    assert!(newest.starts_with("hello Cay\n"), "{newest}");
    let listed = lab.expect(0, &["list", "--limit", "2", "--verbose"]).stdout;
    let cay = listed.find("who = Cay").expect("it is listed");
    assert!(listed.find("who = Bob").is_some_and(|bob| cay < bob), "newest first: {listed}");
    assert!(!listed.contains("who = Ann"), "{listed}");
}
