//! The tools that the tests need, each at a pinned version, installed only when missing.
//!
//! It owns the versions. A tool is built by `cargo install --locked`, without optimisations that
//! would make a cold machine wait: it is built on every new one. Debian's packages come through
//! apt, as root or by sudo; on a machine without apt the error says what to install.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, command, find_program, read, root, run, target_dir};

/// A cargo subcommand from crates.io.
pub(crate) struct Tool {
    subcommand: &'static str,
    package: &'static str,
    version: [u64; 3],
    flags: &'static [&'static str],
}

/// Runs the tests. Without its self-updater, which needs a TLS stack.
pub(crate) const NEXTEST: Tool = Tool {
    subcommand: "nextest",
    package: "cargo-nextest",
    version: [0, 9, 143],
    flags: &["--no-default-features", "--features", "default-no-update"],
};

/// Checks licences, bans and sources of dependencies.
pub(crate) const DENY: Tool =
    Tool { subcommand: "deny", package: "cargo-deny", version: [0, 20, 2], flags: &[] };

/// Installs the tool unless one of the same release line, no older than the pin, is there.
pub(crate) fn ensure(tool: &Tool) -> Result<()> {
    if let Some(found) = installed(tool) {
        if serves(found, tool.version) {
            eprintln!("{} {} is installed", tool.package, dotted(found));
            return Ok(());
        }
        eprintln!("{} {} is installed, another line", tool.package, dotted(found));
    }
    let mut install = cargo();
    install.args(["install", "--locked", "--force", tool.package]);
    install.args(["--version", &dotted(tool.version)]).args(tool.flags);
    install
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env_remove("CARGO_TARGET_DIR");
    run(&mut install)
}

/// Python with the packages of the podcast example. Returns the virtual environment's folder.
pub(crate) fn podcast_venv() -> Result<PathBuf> {
    let requirements_path = root().join("examples/podcast/requirements.txt");
    let requirements = std::fs::read_to_string(&requirements_path)
        .with_context(|| format!("failed to read `{}`", requirements_path.display()))?;
    let venv = target_dir().join("podcast-venv");
    let python = venv.join("bin/python");
    let stamp = venv.join("requirements.installed");
    if python.exists() && std::fs::read_to_string(&stamp).is_ok_and(|text| text == requirements) {
        eprintln!("`{}` is up to date", venv.display());
        return Ok(venv);
    }
    if run(command("python3").args(["-m", "venv", "--clear"]).arg(&venv)).is_err() {
        apt_install(&["python3", "python3-venv"])?;
        run(command("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    }
    run(command(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(&requirements_path))?;
    std::fs::write(&stamp, &requirements)
        .with_context(|| format!("failed to write `{}`", stamp.display()))?;
    Ok(venv)
}

/// The packages of the lessons example, as its lock file has them. Returns their `node_modules`.
pub(crate) fn lessons_packages() -> Result<PathBuf> {
    let example = root().join("examples/lessons");
    let folder = target_dir().join("lessons-packages");
    let modules = folder.join("node_modules");
    let lock = std::fs::read_to_string(example.join("package-lock.json"))
        .context("failed to read `package-lock.json` of the lessons example")?;
    let stamp = folder.join("package-lock.installed");
    if modules.join(".bin/tsx").exists()
        && std::fs::read_to_string(&stamp).is_ok_and(|text| text == lock)
    {
        eprintln!("`{}` is up to date", modules.display());
        return Ok(modules);
    }
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("failed to make `{}`", folder.display()))?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(example.join(name), folder.join(name))
            .with_context(|| format!("failed to copy `{name}`"))?;
    }
    if find_program(&["npm"]).is_none() {
        apt_install(&["nodejs", "npm"])?;
    }
    let mut install = command("npm");
    install.args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder);
    run(&mut install)?;
    std::fs::write(&stamp, &lock)
        .with_context(|| format!("failed to write `{}`", stamp.display()))?;
    Ok(modules)
}

/// A Chromium for the page tests, installed where there is none.
pub(crate) fn chromium() -> Result<PathBuf> {
    const NAMES: &[&str] =
        &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    if let Some(found) = find_program(NAMES) {
        eprintln!("`{}` is installed", found.display());
        return Ok(found);
    }
    apt_install(&["chromium"])?;
    find_program(NAMES).context("no `chromium` on PATH after installing it")
}

/// Installs Debian packages: as they are for root, by sudo for others.
fn apt_install(packages: &[&str]) -> Result<()> {
    if find_program(&["apt-get"]).is_none() {
        bail!("no `apt-get` on this machine: install {} by hand", packages.join(" and "));
    }
    let is_root = read(command("id").arg("-u"))?.trim() == "0";
    let apt = || {
        let mut apt = if is_root { command("env") } else { command("sudo") };
        if !is_root {
            apt.arg("env");
        }
        apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2"]);
        apt
    };
    run(apt().arg("update"))?;
    run(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

/// The version of the installed tool; `None` when it is missing or does not say.
fn installed(tool: &Tool) -> Option<[u64; 3]> {
    let mut ask: Command = cargo();
    let output = ask.args([tool.subcommand, "--version"]).output().ok()?;
    output.status.success().then(|| parse_version(&String::from_utf8_lossy(&output.stdout)))?
}

/// The first word of the text that is a version.
fn parse_version(text: &str) -> Option<[u64; 3]> {
    text.split_whitespace().find_map(|word| {
        let mut parts = word.split('.').map(|part| part.parse::<u64>().ok());
        let version = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(version)
    })
}

/// Whether an installed version does for a pinned one: the same line, and no older.
fn serves(found: [u64; 3], pinned: [u64; 3]) -> bool {
    found[..2] == pinned[..2] && found[2] >= pinned[2]
}

fn dotted(version: [u64; 3]) -> String {
    version.map(|part| part.to_string()).join(".")
}

/// The folders below `folder` that hold Python tests (`test*.py`), in order.
pub(crate) fn python_test_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = read(command("git").args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        &folder.join("**/test*.py").display().to_string(),
        &folder.join("test*.py").display().to_string(),
    ]))?;
    let mut folders: Vec<PathBuf> =
        listed.lines().filter_map(|path| Some(root().join(path).parent()?.to_owned())).collect();
    folders.sort();
    folders.dedup();
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_among_words() {
        assert_eq!(parse_version("cargo-nextest 0.9.143 (60fa45f63)\n"), Some([0, 9, 143]));
        assert_eq!(parse_version("cargo-deny 0.20.2"), Some([0, 20, 2]));
        assert_eq!(parse_version("error: no such command"), None);
    }

    #[test]
    fn another_line_or_an_older_version_does_not_serve() {
        assert!(serves([0, 9, 150], [0, 9, 143]));
        assert!(!serves([0, 9, 142], [0, 9, 143]));
        assert!(!serves([0, 10, 143], [0, 9, 143]));
    }
}
