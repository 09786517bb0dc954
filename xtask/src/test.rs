//! `cargo xtask test`: everything that has to hold, in the order in which it is cheap to fail.
//!
//! One profile (dev) serves every step, so that the workspace is built once for checks and once
//! for tests. nextest comes last: its summary is the one that CI reads. Security advisories are
//! not checked: their database is a git repository that an offline builder does not reach.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::{self, cargo, command, root};
use crate::steps::Steps;
use crate::{generate, tidy, tools};

/// Runs every step; the first failure ends it, by name.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::new();
    steps.run("format", || command::run(cargo().args(["fmt", "--all", "--check"])))?;
    steps.run("tidy", tidy::run)?;
    let Installed { venv, node_modules, chromium } = install(&mut steps)?;

    steps.run("clippy", || {
        command::run(cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    steps.run("docs", || {
        let mut doc = cargo();
        doc.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        command::run(&mut doc)
    })?;
    steps.run("dependencies", || {
        command::run(cargo().args(["deny", "--log-level", "error", "check"]).args(DENY_CHECKS))
    })?;
    steps.run("build", || command::run(cargo().args(["build", "--workspace", "--bins"])))?;
    steps.run("generated files", || generate::run(true))?;
    steps.run("podcast program", || podcast_tests(&venv))?;
    steps.run("doc tests", || command::run(cargo().args(["test", "--doc", "--workspace"])))?;
    steps.run("tests", || {
        let profile = if std::env::var_os("CI").is_some() { "ci" } else { "default" };
        let mut nextest = cargo();
        nextest.args(["nextest", "run", "--workspace", "--profile", profile]);
        nextest.env("SEGUE_TEST_VENV", &venv).env("SEGUE_TEST_CHROMIUM", &chromium);
        nextest.env("SEGUE_TEST_NODE_MODULES", &node_modules);
        command::run(&mut nextest)
    })?;
    steps.finish();
    Ok(())
}

/// Installs what the tests need, and no more.
pub(crate) fn setup() -> Result<()> {
    let mut steps = Steps::new();
    install(&mut steps)?;
    steps.finish();
    Ok(())
}

/// What the tests are told of by name.
struct Installed {
    venv: PathBuf,
    node_modules: PathBuf,
    chromium: PathBuf,
}

fn install(steps: &mut Steps) -> Result<Installed> {
    steps.run("install cargo-deny", || tools::ensure(&tools::DENY))?;
    steps.run("install cargo-nextest", || tools::ensure(&tools::NEXTEST))?;
    let venv = steps.run("install podcast packages", tools::podcast_venv)?;
    let node_modules = steps.run("install lessons packages", tools::lessons_packages)?;
    let chromium = steps.run("install chromium", tools::chromium)?;
    Ok(Installed { venv, node_modules, chromium })
}

/// What cargo-deny checks offline; `advisories` needs its database from the network.
const DENY_CHECKS: [&str; 3] = ["bans", "licenses", "sources"];

/// The podcast program's own tests, on the real LangGraph. Finding none is a failure.
fn podcast_tests(venv: &Path) -> Result<()> {
    let folders = tools::python_test_folders(Path::new("examples/podcast"))?;
    if folders.is_empty() {
        bail!("no Python tests below `examples/podcast`");
    }
    for folder in folders {
        let name = folder.strip_prefix(root()).context("tests lie below the root")?;
        eprintln!("tests of `{}`", name.display());
        let mut top = folder.as_path();
        while top.join("__init__.py").exists() {
            top = top.parent().context("a package lies in a folder")?;
        }
        let mut unittest = command(venv.join("bin/python"));
        unittest.args(["-m", "unittest", "discover", "--top-level-directory", "."]);
        unittest.arg("--start-directory").arg(&folder);
        command::run(unittest.current_dir(top).env("PYTHONDONTWRITEBYTECODE", "1"))?;
    }
    Ok(())
}
