//! The rules that one file's text can break.
//!
//! It knows lines, not syntax: a rule here must be cheap and hard to trip by accident. The marks
//! it looks for are put together at run time, so that this file does not carry them itself.

use std::sync::LazyLock;

use regex::Regex;

use super::Finding;

/// Lines of Rust are at most this wide, in characters.
const COLUMNS_MAX: usize = 100;

/// The folders of the machines that this was built on, which no file may name.
const MACHINE_FOLDERS: [&str; 3] = ["work", "farm", "root"];

/// The one folder whose code may be `unsafe`.
const UNSAFE_FOLDER: &str = "crates/segue-supervisor/";

static MARKS: LazyLock<Regex> = LazyLock::new(|| {
    let names =
        [r"todo!\(", r"unimplemented!\(", r"#\[ig|nore", r"FIX|ME", r"\bXX|X\b", r"\bTO|DO\b"];
    let joined = names.map(|name| name.replacen('|', "", 1)).join("|");
    Regex::new(&joined).expect("the marks are a pattern")
});

static MACHINE_PATHS: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = format!("/(?:{})/", MACHINE_FOLDERS.join("|"));
    Regex::new(&pattern).expect("the folders are a pattern")
});

/// Everything wrong with one file.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    if path.ends_with(".lock") {
        return Vec::new();
    }
    let mut findings = Findings { path, found: Vec::new() };
    for (index, line) in text.lines().enumerate() {
        if MACHINE_PATHS.is_match(line) {
            findings.add(index, "a path of one machine");
        }
        if is_source(path)
            && let Some(mark) = MARKS.find(line)
        {
            findings.add(index, &format!("unfinished: `{}`", mark.as_str()));
        }
    }
    if path.ends_with(".rs") {
        check_rust(&mut findings, text);
    }
    findings.found
}

/// What holds for Rust alone.
fn check_rust(findings: &mut Findings<'_>, text: &str) {
    if !text.starts_with("//!") && !text.starts_with("#![") {
        findings.add(0, "does not open with `//!`: what it is for, owns, does not know");
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut raw_string_end: Option<String> = None;
    for (index, line) in lines.iter().enumerate() {
        let in_raw_string = raw_string_end.is_some();
        raw_string_end = raw_string_after(line, raw_string_end);
        if in_raw_string {
            continue;
        }
        let columns = line.chars().count();
        if columns > COLUMNS_MAX && raw_string_end.is_none() && !line.contains("://") {
            findings.add(index, &format!("{columns} columns, more than {COLUMNS_MAX}"));
        }
        if line.contains("[allow(") && !has_reason(&lines[index..]) {
            findings.add(index, "a bare `allow`: say `#[expect(lint, reason = \"…\")]`");
        }
        if line.contains(concat!("(unsafe", "_code")) && !findings.path.starts_with(UNSAFE_FOLDER) {
            findings.add(index, "`unsafe` outside segue-supervisor");
        }
    }
}

/// Whether the attribute that begins on the first line gives a reason.
fn has_reason(lines: &[&str]) -> bool {
    let end = lines.iter().position(|line| line.contains(")]")).unwrap_or(0);
    lines[..=end].iter().any(|line| line.contains("reason"))
}

/// What would end the raw string that is open after `line`; `None` when none is.
fn raw_string_after(line: &str, open: Option<String>) -> Option<String> {
    static OPENING: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r##"\br(#+)""##).expect("a raw string opens so"));
    let (mut rest, mut open) = (line, open);
    loop {
        match open {
            Some(end) => match rest.split_once(&end) {
                Some((_, after)) => (rest, open) = (after, None),
                None => return Some(end),
            },
            None => match OPENING.captures(rest) {
                Some(found) => {
                    open = Some(format!("\"{}", &found[1]));
                    let whole = found.get(0).expect("group 0 is the match");
                    rest = &rest[whole.end()..];
                }
                None => return None,
            },
        }
    }
}

/// Whether unfinished marks are looked for: in code, not in prose.
fn is_source(path: &str) -> bool {
    [".rs", ".py", ".ts", ".tsx", ".js"].iter().any(|end| path.ends_with(end))
}

/// The findings of one file.
struct Findings<'a> {
    path: &'a str,
    found: Vec<Finding>,
}

impl Findings<'_> {
    /// Adds a finding about the line with this index.
    fn add(&mut self, index: usize, what: &str) {
        self.found.push(Finding {
            at: self.path.to_owned(),
            line: Some(index + 1),
            what: what.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[track_caller]
    fn finds(path: &str, text: &str, expected: &[(usize, &str)]) {
        let found = check(path, text);
        let found: Vec<(usize, &str)> =
            found.iter().map(|f| (f.line.unwrap_or(0), f.what.as_str())).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((line, what), (expected_line, part)) in found.iter().zip(expected) {
            assert_eq!(line, expected_line, "{what}");
            assert!(what.contains(part), "{what:?} has no {part:?}");
        }
    }

    #[test]
    fn a_source_file_opens_with_what_it_is_for() {
        finds("a.rs", "//! Why.\nfn main() {}\n", &[]);
        finds("a.rs", "#![no_main]\n", &[]);
        finds("a.rs", "fn main() {}\n", &[(1, "does not open")]);
        finds("a.md", "# Title\n", &[]);
    }

    #[test]
    fn unfinished_marks_are_found_in_code() {
        for mark in ["todo|!()", "unimplemented|!()", "#[ig|nore]", "FIX|ME", "XX|X", "TO|DO:"] {
            let mark = mark.replace('|', "");
            finds("a.rs", &format!("//! A.\n{mark}\n"), &[(2, "unfinished")]);
            finds("a.md", &mark, &[]);
        }
        finds("a.rs", "//! METHODO, TODOWRITE.\n", &[]);
    }

    #[test]
    fn paths_of_a_machine_are_found_everywhere() {
        let path = ["", "work", "x"].join("/");
        finds("a.md", &path, &[(1, "machine")]);
        finds("a.rs", &format!("//! {path}\n"), &[(1, "machine")]);
        finds("Cargo.lock", &path, &[]);
        finds("a.md", "/workspace/x", &[]);
    }

    #[test]
    fn wide_lines_are_found_outside_raw_strings_and_links() {
        let wide = "x".repeat(101);
        finds("a.rs", &format!("//! A.\n{}\n", "é".repeat(100)), &[]);
        finds("a.rs", &format!("//! A.\n{wide}\n"), &[(2, "101 columns")]);
        finds("a.rs", &format!("//! https://{wide}\n"), &[]);
        finds("a.rs", &format!("//! A.\nlet a = r#\"\n{wide}\n\"#;\n{wide}\n"), &[(5, "columns")]);
    }

    #[test]
    fn an_allow_needs_its_reason() {
        let allow = |inside: &str| format!("//! A.\n#[{}({inside})]\n", "allow");
        finds("a.rs", &allow("dead_code"), &[(2, "bare")]);
        finds("a.rs", &allow("\n    dead_code,\n    reason = \"a macro makes it\"\n"), &[]);
    }

    #[test]
    fn unsafe_stays_in_the_supervisor() {
        let text = format!("//! A.\n#![expect({}, reason = \"kernel\")]\n", "unsafe_code");
        finds("crates/segue-supervisor/src/a.rs", &text, &[]);
        finds("crates/segue/src/a.rs", &text, &[(2, "unsafe")]);
    }
}
