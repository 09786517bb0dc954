//! A task's result: where it is looked for, and the last complete JSON in a noisy text.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use segue_core::Value;

/// How much of the end of a stream is searched for a result.
pub(crate) const RESULT_BYTES_MAX: u64 = 16 << 20;

/// The last complete JSON object or array that stands at the top level of `text`.
///
/// Tolerates log lines before and after it, code fences, ANSI sequences, braces inside of
/// strings, and a truncated value at the end. Scalars are no results. Takes time linear in
/// the text but for text that opens many brackets and closes none of them as JSON.
#[must_use]
pub fn last_json(text: &str) -> Option<Value> {
    /// How many openings that turn out not to be JSON are looked at.
    const MISSES_MAX: usize = 20_000;
    let mut last = None;
    let mut misses = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find(['{', '[']) {
        let start = at + found;
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                at = start + values.byte_offset();
                // `[12]` and the like in a log line is no result.
                if value.is_object() || is_result_array(text, start, at) {
                    last = Some(value);
                }
            }
            // Cut off at the end of the text: what stands inside of it is no result.
            Some(Err(error)) if error.is_eof() => break,
            _ => {
                misses += 1;
                if misses > MISSES_MAX {
                    break;
                }
                at = start + 1;
            }
        }
    }
    last
}

/// An array counts where it stands alone on its lines.
fn is_result_array(text: &str, start: usize, end: usize) -> bool {
    let before = text[..start].rsplit('\n').next().unwrap_or("");
    let after = text[end..].split('\n').next().unwrap_or("");
    let blank = |part: &str| part.trim().is_empty();
    blank(before) && blank(after)
}

/// The last `bytes_max` of a file as text, whatever its bytes; empty if there is none.
///
/// # Errors
/// On any failure but that the file is not there.
pub fn tail_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut file = match open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A whole file as text, whatever its bytes.
///
/// # Errors
/// On any failure, and if the file is larger than `bytes_max`.
pub(crate) fn whole_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it is larger than {} MiB", bytes_max >> 20)));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Opens a file to read. A task may have put a pipe in its place, which would be waited for.
fn open_regular(path: &Path) -> io::Result<fs::File> {
    if fs::metadata(path)?.is_file() {
        fs::File::open(path)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

/// The last whole lines of a text that fit into `bytes_max`.
#[must_use]
pub fn last_lines(text: &str, bytes_max: usize) -> String {
    let text = text.trim_end();
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut start = text.len() - bytes_max;
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let tail = &text[start..];
    tail.split_once('\n').map_or(tail, |(_, rest)| rest).to_owned()
}

/// What a program wrote at `$SEGUE_RESULT`: JSON where it is JSON, else text.
///
/// # Errors
/// In one line, if it is not a regular file or larger than 16 MiB.
pub fn read_result_file(path: &Path) -> Result<Option<Value>, String> {
    let shown = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("result file `{shown}` cannot be read: {error}")),
    };
    if !metadata.is_file() {
        return Err(format!("result file `{shown}` is not a regular file"));
    }
    let text = whole_text(path, RESULT_BYTES_MAX)
        .map_err(|error| format!("result file `{shown}`: {error}"))?;
    Ok(Some(serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<Value>) {
        assert_eq!(last_json(text), expected, "{text}");
    }

    #[test]
    fn the_last_complete_json_is_the_result() {
        check("plain text", None);
        check("a {\"x\": 1} b {\"y\": 2} c", Some(json!({"y": 2})));
        check("```json\n{\"x\": {\"y\": [1]}}\n```\n", Some(json!({"x": {"y": [1]}})));
        check(
            "{\n  \"a\": \"}{\",\n  \"b\": 1\n}\nDone [3/3] in 2s\n",
            Some(json!({"a": "}{", "b": 1})),
        );
        check("{\"a\": 1}\n{\"b\": tru", Some(json!({"a": 1})));
        check("{\"a\": 1}\n{\"b\": {\"c\": 2}, \"d\": tru", Some(json!({"a": 1})));
        check("\u{1b}[32mok\u{1b}[0m {\"a\": 1}\u{1b}[0m", Some(json!({"a": 1})));
        check("log\n[1, 2]\n", Some(json!([1, 2])));
        check("{\"a\": 1}\n[12] later", Some(json!({"a": 1})));
        check("{ { { {\"a\": 1}", Some(json!({"a": 1})));
    }

    #[test]
    fn a_pipe_in_a_files_place_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert!(tail_text(&pipe, 10).is_err());
        assert!(whole_text(&pipe, 10).is_err());
        assert!(read_result_file(&pipe).is_err());
    }

    #[test]
    fn tails_keep_whole_lines() {
        assert_eq!(last_lines("one\ntwo\nthree\n", 9), "three");
        assert_eq!(last_lines("short\n", 100), "short");
        assert_eq!(last_lines("ééééé", 3), "é");
    }
}
