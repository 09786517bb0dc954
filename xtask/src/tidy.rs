//! `cargo xtask tidy`: the rules of style that no lint knows, and the arrows between crates.
//!
//! `text` judges one file's text, `ratchet` holds the files that are longer than they should be,
//! `arrows` compares `cargo metadata` with the table of who may use whom. All findings are shown
//! in one go.

use std::path::Path;

use anyhow::{Result, bail};

use crate::command::{command, read, root};

mod arrows;
mod ratchet;
mod text;

/// Something a rule forbids, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// A path from the root, or the name of a crate.
    at: String,
    /// From 1; `None` when the finding is about the whole.
    line: Option<usize>,
    what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.at, self.what),
            None => write!(f, "{}: {}", self.at, self.what),
        }
    }
}

/// Checks every file of the tree and the crate graph.
pub(crate) fn run() -> Result<()> {
    let files = files()?;
    let mut findings: Vec<Finding> =
        files.iter().flat_map(|file| text::check(&file.path, &file.text)).collect();
    findings.extend(ratchet::check(&ratchet::read()?, &line_counts(&files)));
    findings.extend(arrows::check(&arrows::metadata()?));
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy found {} faults", findings.len());
    }
    eprintln!("{} files are tidy", files.len());
    Ok(())
}

/// Rewrites the ratchet list with smaller numbers where files have shrunk.
pub(crate) fn lower_ratchet() -> Result<()> {
    let lowered = ratchet::lowered(&ratchet::read()?, &line_counts(&files()?));
    ratchet::write(&lowered)
}

/// A text file of the repository.
struct TextFile {
    /// From the root, with `/`.
    path: String,
    text: String,
}

/// Every text file that git tracks or would track. Files that are not UTF-8 are left out.
fn files() -> Result<Vec<TextFile>> {
    let listed = read(command("git").args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut paths: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    Ok(paths
        .into_iter()
        .filter_map(|path| {
            let text = std::fs::read_to_string(root().join(path)).ok()?;
            Some(TextFile { path: path.to_owned(), text })
        })
        .collect())
}

/// The number of lines of each Rust file.
fn line_counts(files: &[TextFile]) -> Vec<(String, usize)> {
    files
        .iter()
        .filter(|file| Path::new(&file.path).extension().is_some_and(|end| end == "rs"))
        .map(|file| (file.path.clone(), file.text.lines().count()))
        .collect()
}
