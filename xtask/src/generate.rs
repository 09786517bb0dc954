//! Files that are made from code and kept in the repository, and the check that they are current.
//!
//! It owns the list. A file is what one invocation of the `segue` binary prints.

use anyhow::{Context, Result, bail};

use crate::command::{cargo, read, root};

/// A kept file and the arguments of `segue` that print it.
struct Generated {
    path: &'static str,
    arguments: &'static [&'static str],
}

/// Every generated file of the repository.
const GENERATED: &[Generated] =
    &[Generated { path: "docs/workflow.schema.json", arguments: &["schema"] }];

/// Writes every generated file, or with `check` fails on those that are stale.
pub(crate) fn run(check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for file in GENERATED {
        let mut segue = cargo();
        segue.args(["run", "--quiet", "--package", "segue", "--"]).args(file.arguments);
        let expected = read(&mut segue)?;
        let path = root().join(file.path);
        if std::fs::read_to_string(&path).is_ok_and(|found| found == expected) {
            continue;
        }
        if check {
            stale.push(file.path);
        } else {
            std::fs::write(&path, expected)
                .with_context(|| format!("failed to write `{}`", path.display()))?;
            eprintln!("wrote `{}`", file.path);
        }
    }
    if !stale.is_empty() {
        bail!("stale generated files: {} (run `cargo xtask generate`)", stale.join(", "));
    }
    eprintln!("{} generated files are current", GENERATED.len());
    Ok(())
}
