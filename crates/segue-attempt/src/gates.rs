//! The gates that look at the world: `files`, `schema`, `verify`. They fail closed.
//!
//! Score gates are control expressions and belong to the scheduler.

use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use globset::GlobBuilder;
use regex::Regex;
use segue_core::{FailureList, Finding, Gate, GateCheck, Mode, Template, Timestamp, Value};

use crate::collect::clip;
use crate::prepare::{PrepareError, Prepared, RunContext, confine, normalize, text};
use crate::result::tail_text;

/// How far a file's time may lie before the attempt's start: the kernel stamps files with a
/// clock that ticks every few milliseconds.
const CLOCK_SLACK: Duration = Duration::from_millis(20);

/// How many files a glob may walk over.
const WALKED_MAX: usize = 200_000;

/// The folder that Segue keeps its runs in, unless it is told of another.
const STORE: &str = ".segue";

/// How many failing tests a finding names.
const NAMED_MAX: usize = 20;

/// How long a finding's detail may be.
const DETAIL_CHARS_MAX: usize = 2000;

/// How much of what a verify script left is looked at.
pub(crate) const VERIFY_BYTES_MAX: u64 = 4 << 20;

/// Whether a file was changed at or after `since`.
pub(crate) fn is_fresh(path: &Path, since: Timestamp) -> bool {
    let since = Duration::from_millis(u64::try_from(since.unix_ms()).unwrap_or(0));
    let limit = UNIX_EPOCH + since.saturating_sub(CLOCK_SLACK);
    let changed: Option<SystemTime> = path.metadata().and_then(|meta| meta.modified()).ok();
    changed.is_some_and(|changed| changed >= limit)
}

/// Checks a `files` gate; also gives the files found, relative to `base` where they lie in it.
pub(crate) fn files_gate(
    gate: &Gate,
    globs: &[Template],
    fresh_since: Option<Timestamp>,
    cwd: &Path,
    base: &Path,
    scope: &Value,
) -> (Finding, Vec<String>) {
    let mut found = Vec::new();
    for template in globs {
        let result = text("gates.files", template, Mode::Text, scope)
            .and_then(|glob| expand(cwd, &glob).map(|paths| (glob, paths)));
        let (glob, paths) = match result {
            Ok(found) => found,
            Err(error) => return (finding(gate, "files", false, error.0), found),
        };
        let total = paths.len();
        let kept: Vec<PathBuf> = match fresh_since {
            Some(since) => paths.into_iter().filter(|path| is_fresh(path, since)).collect(),
            None => paths,
        };
        if kept.is_empty() {
            let detail = if total == 0 {
                format!("no file matches `{glob}`")
            } else {
                format!("`{glob}` matches {total} files, none changed since the task began")
            };
            return (finding(gate, "files", false, detail), found);
        }
        found.extend(kept.iter().map(|path| shown(path, base)));
    }
    found.sort();
    found.dedup();
    (finding(gate, "files", true, format!("{} files", found.len())), found)
}

/// A path relative to `base` where it lies in it.
pub(crate) fn shown(path: &Path, base: &Path) -> String {
    path.strip_prefix(base).unwrap_or(path).to_string_lossy().into_owned()
}

/// The files a glob matches, sorted; none in a store of Segue's own. `*` does not cross a slash,
/// `**` does.
pub(crate) fn expand(cwd: &Path, glob: &str) -> Result<Vec<PathBuf>, PrepareError> {
    let wrong = |why: String| PrepareError(format!("glob `{glob}`: {why}"));
    let full = normalize(&cwd.join(glob));
    // A folder's own brackets mean nothing: only what the glob itself says is a pattern.
    let root = if full.starts_with(cwd) { cwd } else { Path::new("/") };
    let pattern = full.strip_prefix(root).unwrap_or(&full);
    let text = pattern.to_str().ok_or_else(|| wrong("it is not UTF-8".to_owned()))?;
    let matcher = GlobBuilder::new(text)
        .literal_separator(true)
        .build()
        .map_err(|error| wrong(error.kind().to_string()))?
        .compile_matcher();
    let is_plain =
        |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']);
    let plain = root.join(pattern.components().take_while(is_plain).collect::<PathBuf>());
    if plain.is_file() {
        return Ok(vec![plain]);
    }
    let matches = |path: &Path| path.strip_prefix(root).is_ok_and(|path| matcher.is_match(path));
    let mut found = Vec::new();
    let mut folders = vec![plain];
    let mut walked = 0;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            walked += 1;
            if walked > WALKED_MAX {
                return Err(wrong(format!("it walks over more than {WALKED_MAX} files")));
            }
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && entry.file_name() == STORE => {}
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(_) if matches(&path) && path.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Checks a `schema` gate against the attempt's result.
pub(crate) fn schema_gate(gate: &Gate, schema: &Value, result: Option<&Value>) -> Finding {
    let Some(result) = result else {
        return finding(gate, "schema", false, "the task has no result".to_owned());
    };
    match jsonschema::validator_for(schema) {
        Err(error) => finding(gate, "schema", false, format!("the schema is not valid: {error}")),
        Ok(validator) => match validator.iter_errors(result).next() {
            None => finding(gate, "schema", true, "the result fits the schema".to_owned()),
            Some(error) => {
                let at = error.instance_path().to_string();
                let at = if at.is_empty() { "the result".to_owned() } else { format!("`{at}`") };
                finding(gate, "schema", false, format!("{at}: {error}"))
            }
        },
    }
}

/// The finding of a `verify` gate whose script has ended. `failing` are the tests it named.
pub(crate) fn verify_finding(
    gate: &Gate,
    ended: &str,
    passed: bool,
    output: &str,
    mut failing: Vec<String>,
) -> Finding {
    if passed {
        return finding(gate, "verify", true, "the script ended with 0".to_owned());
    }
    let detail = if failing.is_empty() {
        let tail = crate::result::last_lines(output, 400);
        format!("the script {ended}: {tail}")
    } else {
        let more = failing.len().saturating_sub(NAMED_MAX);
        failing.truncate(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("the script {ended}; failing: {}{more}", failing.join(", "))
    };
    finding(gate, "verify", false, detail)
}

/// The failing tests that a verify script named; none if what it wrote cannot be read.
pub(crate) fn failing_tests(
    failures: Option<&FailureList>,
    output: &str,
    prepared: &Prepared,
    context: &RunContext,
) -> Vec<String> {
    match failures {
        None => Vec::new(),
        Some(FailureList::Regex(pattern)) => matches(pattern, output),
        Some(FailureList::Junit(path)) => {
            let template = Template(path.clone());
            let path = text("gates.verify.failures.junit", &template, Mode::Text, &prepared.scope)
                .and_then(|path| confine(context, &prepared.cwd, "junit", &path));
            let read = |path: PathBuf| tail_text(&path, VERIFY_BYTES_MAX).unwrap_or_default();
            junit_failures(&path.map(read).unwrap_or_default())
        }
    }
}

fn matches(pattern: &str, text: &str) -> Vec<String> {
    // `^` and `$` mean lines: each that matches names a failure.
    let Ok(pattern) = Regex::new(&format!("(?m){pattern}")) else { return Vec::new() };
    let mut names: Vec<String> = pattern
        .captures_iter(text)
        .filter_map(|found| found.get(1).or_else(|| found.get(0)))
        .map(|found| found.as_str().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Names of the test cases of a JUnit file that hold a `failure` or an `error`.
fn junit_failures(text: &str) -> Vec<String> {
    let case = Regex::new(r#"(?s)<testcase\b([^>]*[^/])>(.*?)</testcase>"#)
        .expect("the pattern is constant");
    let name = Regex::new(r#"\bname="([^"]*)""#).expect("the pattern is constant");
    case.captures_iter(text)
        .filter(|found| found[2].contains("<failure") || found[2].contains("<error"))
        .filter_map(|found| Some(name.captures(&found[1])?[1].to_owned()))
        .collect()
}

/// A finding of `gate`. What it cites may be long; the finding is not.
pub(crate) fn finding(gate: &Gate, name: &str, passed: bool, detail: String) -> Finding {
    let detail = clip(&detail, DETAIL_CHARS_MAX);
    Finding { gate: name.to_owned(), passed, detail, value: None, feedback: gate.feedback }
}

/// Whether a check is one that this module evaluates.
pub(crate) const fn is_score(check: &GateCheck) -> bool {
    matches!(check, GateCheck::Score { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junit_names_the_failing_cases() {
        let text = r#"<testsuite><testcase name="a" time="1"/>
            <testcase classname="x" name="b"><failure message="no"/></testcase>
            <testcase name="c"><error/></testcase><testcase name="d"></testcase></testsuite>"#;
        assert_eq!(junit_failures(text), ["b", "c"]);
    }

    #[test]
    fn globs_find_files_and_no_folders() {
        let folder = tempfile::tempdir().unwrap();
        let cwd = folder.path().join("odd [1] {2}");
        let make = |name: &str| {
            let path = cwd.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        ["a/one.mp3", "a/b/two.mp3", "a/three.txt"].into_iter().for_each(make);
        let names = |glob: &str| {
            let found = expand(&cwd, glob).unwrap();
            found.iter().map(|path| shown(path, &cwd)).collect::<Vec<_>>()
        };
        assert_eq!(names("a/*.mp3"), ["a/one.mp3"]);
        assert_eq!(names("./a/../a/*.mp3"), ["a/one.mp3"]);
        assert_eq!(names("a/**/*.mp3"), ["a/b/two.mp3", "a/one.mp3"]);
        assert_eq!(names("a/three.txt"), ["a/three.txt"]);
        assert!(names("nope/*").is_empty());
    }
}
