//! The ratchet on the length of Rust files.
//!
//! A file has at most 500 lines; one listed in `xtask/tidy-ratchet.txt` has at most the number
//! beside it, never more than 800. A number may only fall: `cargo xtask tidy --lower` writes what
//! the files are now, and a listed file that fits has to leave the list.

use anyhow::{Context, Result};

use super::Finding;
use crate::command::root;

/// A file longer than this has to be listed.
const LINES: usize = 500;
/// A file is never longer than this.
const LINES_MAX: usize = 800;
/// Where the list lies, from the root.
const LIST: &str = "xtask/tidy-ratchet.txt";

/// The list: its opening comment, and what each listed file may have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ratchet {
    comment: String,
    entries: Vec<(String, usize)>,
}

/// Reads the list from the tree.
pub(super) fn read() -> Result<Ratchet> {
    let text = std::fs::read_to_string(root().join(LIST))
        .with_context(|| format!("failed to read `{LIST}`"))?;
    parse(&text)
}

/// Writes the list to the tree.
pub(super) fn write(ratchet: &Ratchet) -> Result<()> {
    let mut text = ratchet.comment.clone();
    for (path, lines) in &ratchet.entries {
        text.push_str(&format!("{path} {lines}\n"));
    }
    std::fs::write(root().join(LIST), text).with_context(|| format!("failed to write `{LIST}`"))
}

fn parse(text: &str) -> Result<Ratchet> {
    let mut ratchet = Ratchet { comment: String::new(), entries: Vec::new() };
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with('#') {
            ratchet.comment.push_str(&format!("{line}\n"));
            continue;
        }
        let (path, lines) =
            line.split_once(' ').with_context(|| format!("`{LIST}`: no number in `{line}`"))?;
        let lines = lines.parse().with_context(|| format!("`{LIST}`: no number in `{line}`"))?;
        ratchet.entries.push((path.to_owned(), lines));
    }
    Ok(ratchet)
}

/// Compares the list with the number of lines of every Rust file.
pub(super) fn check(ratchet: &Ratchet, counts: &[(String, usize)]) -> Vec<Finding> {
    let listed = |path: &str| ratchet.entries.iter().find(|(listed, _)| listed == path);
    let mut findings = Vec::new();
    let mut add = |at: &str, what: String| {
        findings.push(Finding { at: at.to_owned(), line: None, what });
    };
    for (path, lines) in counts {
        let allowed = listed(path).map_or(LINES, |(_, lines)| *lines).min(LINES_MAX);
        if *lines > allowed {
            add(path, format!("{lines} lines, more than {allowed}: cut it at a smaller interface"));
        }
    }
    for (path, _) in &ratchet.entries {
        match counts.iter().find(|(counted, _)| counted == path) {
            None => add(LIST, format!("`{path}` does not exist: remove its line")),
            Some((_, lines)) if *lines <= LINES => {
                add(LIST, format!("`{path}` has {lines} lines by now: remove its line"));
            }
            Some(_) => {}
        }
    }
    findings
}

/// The list with every number no greater than before, without the files that fit or are gone.
pub(super) fn lowered(ratchet: &Ratchet, counts: &[(String, usize)]) -> Ratchet {
    let entries = ratchet.entries.iter().filter_map(|(path, allowed)| {
        let (_, lines) = counts.iter().find(|(counted, _)| counted == path)?;
        (*lines > LINES).then(|| (path.clone(), *allowed.min(lines)))
    });
    Ratchet { comment: ratchet.comment.clone(), entries: entries.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, usize)]) -> Vec<(String, usize)> {
        list.iter().map(|(path, lines)| ((*path).to_owned(), *lines)).collect()
    }

    #[track_caller]
    fn finds(list: &str, files: &[(&str, usize)], expected: &[&str]) {
        let found = check(&parse(list).unwrap(), &counts(files));
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (finding, part) in found.iter().zip(expected) {
            assert!(finding.to_string().contains(part), "{finding} has no {part:?}");
        }
    }

    #[test]
    fn a_file_may_not_outgrow_its_number() {
        finds("", &[("a.rs", 500)], &[]);
        finds("", &[("a.rs", 501)], &["501 lines, more than 500"]);
        finds("a.rs 600\n", &[("a.rs", 600)], &[]);
        finds("a.rs 600\n", &[("a.rs", 601)], &["601 lines, more than 600"]);
        finds("a.rs 900\n", &[("a.rs", 801)], &["801 lines, more than 800"]);
    }

    #[test]
    fn a_file_that_fits_or_is_gone_leaves_the_list() {
        finds("# why\na.rs 600\n", &[("a.rs", 400)], &["has 400 lines by now"]);
        finds("a.rs 600\n", &[], &["does not exist"]);
    }

    #[test]
    fn lowering_never_raises() {
        let list = parse("# why\na.rs 600\nb.rs 700\nc.rs 700\nd.rs 700\n").unwrap();
        let files = counts(&[("a.rs", 650), ("b.rs", 650), ("c.rs", 450), ("e.rs", 900)]);
        let expected = parse("# why\na.rs 600\nb.rs 650\n").unwrap();
        assert_eq!(lowered(&list, &files), expected);
    }
}
