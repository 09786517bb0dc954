//! What an ended attempt left behind: result, outputs, the tail of its stderr, its files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use regex::Regex;
use segue_core::{
    AttemptReport, FailureClass, Mode, OutputSource, Resources, ResultSource, Stored, Stream, Task,
    Teardown, TimeLimit, Timestamp, Value,
};
use segue_supervisor as sup;
use sha2::{Digest, Sha256};

use crate::classify::classify;
use crate::gates::{is_fresh, shown};
use crate::masking::{mask_value, masker};
use crate::prepare::{Prepared, RunContext, confine, make_private_dir, parse_env, text};
use crate::result::{
    RESULT_BYTES_MAX, last_json, last_lines, read_result_file, tail_text, whole_text,
};

/// How much of stderr a report carries.
const STDERR_TAIL_BYTES: usize = 4 << 10;

/// How much a program may write at `$SEGUE_OUTPUT`.
const WRITTEN_BYTES_MAX: u64 = 1 << 20;

/// The first characters of an unparsable result that a message carries.
const SHOWN_CHARS: usize = 1000;

/// A failure found while collecting.
type Fault = (FailureClass, String);

/// Turns what the keeper recorded into a report, without results and gates yet.
pub(crate) fn report_of(task: &Task, attempt_dir: &Path, ended: &sup::Ended) -> AttemptReport {
    let outcome = outcome(&ended.outcome);
    // A service that ends by itself has not lived as long as it should.
    let succeeded = task.background.is_none()
        && outcome_code(&ended.outcome).is_some_and(|code| task.success_codes.contains(&code));
    let spawned = !matches!(ended.outcome, sup::Outcome::SpawnFailed { .. });
    let mut report = AttemptReport::bare(outcome, None, teardown(&ended.teardown));
    report.started_at = spawned.then(|| time_of(ended.started_unix_ms)).flatten();
    report.ended_at = time_of(ended.ended_unix_ms);
    report.resources = Resources {
        user_ms: ended.user_ms,
        system_ms: ended.system_ms,
        peak_memory_bytes: ended.peak_memory_bytes,
        tree_peak_memory_bytes: ended.tree_peak_memory_bytes,
        stdout_bytes: ended.stdout_bytes,
        stderr_bytes: ended.stderr_bytes,
        omitted_bytes: ended.omitted_bytes,
    };
    if !succeeded {
        let bytes = u64::try_from(STDERR_TAIL_BYTES).unwrap_or(0) * 2;
        let stderr = tail_text(&attempt_dir.join("stderr.log"), bytes);
        report.stderr_tail = last_lines(&stderr.unwrap_or_default(), STDERR_TAIL_BYTES);
        report.class = Some(classify(&report.outcome, &report.stderr_tail));
        report.message = match report.stderr_tail.lines().rev().find(|line| !line.is_empty()) {
            Some(line) => format!("{}: {}", report.outcome, clip(line.trim(), 200)),
            None => report.outcome.to_string(),
        };
        if let Some(exceeded) = ended.memory_exceeded {
            report.class = Some(FailureClass::Memory);
            report.message = memory_message(exceeded);
        }
    } else if let Some(error) = &ended.log_error {
        report.class = Some(FailureClass::Output);
        report.message = format!("its output could not be kept: {error}");
    }
    report
}

fn memory_message(exceeded: sup::MemoryExceeded) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let (used, limit) = (mib(exceeded.used_bytes), mib(exceeded.limit_bytes));
    format!("killed: its processes used {used} of memory, and `memory_limit` is {limit}")
}

/// A time of the records; `None` where it is not known.
fn time_of(unix_ms: u64) -> Option<Timestamp> {
    let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    (ms > 0).then(|| Timestamp::from_unix_ms(ms))
}

/// Finds result and outputs and puts them into the report. Of a failed attempt it takes what
/// is there and demands nothing.
pub(crate) fn collect(
    task: &Task,
    prepared: &Prepared,
    context: &RunContext,
    report: &mut AttemptReport,
) -> Option<Value> {
    let mut faults = Vec::new();
    let mut result = match find_result(task, prepared, context, report) {
        Ok(result) => result,
        Err(fault) => {
            faults.push(fault);
            None
        }
    };
    let mut outputs = BTreeMap::new();
    match written_outputs(prepared, report) {
        Ok(written) => outputs.extend(written),
        Err(fault) => faults.push(fault),
    }
    for (name, source) in &task.outputs {
        match promised(name, source, prepared, context, report, result.as_ref()) {
            Ok(value) => drop(outputs.insert(name.clone(), value)),
            Err(why) => faults.push((FailureClass::Output, format!("output `{name}`: {why}"))),
        }
    }
    if let Some(mut masker) = masker(context) {
        result.iter_mut().chain(outputs.values_mut()).for_each(|v| mask_value(&mut masker, v));
    }
    let mut keep = |name: &str, value: Value| match store(name, value, prepared) {
        Ok(stored) => Some(stored),
        Err(error) => {
            faults.push((FailureClass::Output, format!("`{name}` could not be kept: {error}")));
            None
        }
    };
    report.outputs = outputs
        .into_iter()
        .filter_map(|(name, value)| Some((name.clone(), keep(&format!("output-{name}"), value)?)))
        .collect();
    report.result = result.clone().and_then(|value| keep("result", value));
    if let (None, Some((class, message))) = (report.class, faults.into_iter().next()) {
        report.class = Some(class);
        report.message = message;
    }
    result
}

fn find_result(
    task: &Task,
    prepared: &Prepared,
    context: &RunContext,
    report: &AttemptReport,
) -> Result<Option<Value>, Fault> {
    let required = matches!(task.result, ResultSource::Json | ResultSource::File { .. });
    if !task.result_wanted && !required {
        return Ok(None);
    }
    let fault = |message: String| (FailureClass::Output, message);
    if let ResultSource::File { path } = &task.result {
        let path =
            text("result.file", path, Mode::Text, &prepared.scope).map_err(|e| fault(e.0))?;
        let full = confine(context, &prepared.cwd, "result.file", &path);
        let found = read_result_file(&full.map_err(|e| fault(e.0))?).map_err(fault)?;
        return found.map(Some).ok_or_else(|| fault(format!("result file `{path}` is missing")));
    }
    if !matches!(task.result, ResultSource::Text)
        && let Some(value) = read_result_file(&prepared.result_path()).map_err(fault)?
    {
        return Ok(Some(value));
    }
    if report.resources.stdout_bytes == 0 && !required {
        return Ok(None);
    }
    let log = prepared.attempt_dir.join("stdout.log");
    let stdout = tail_text(&log, RESULT_BYTES_MAX).map_err(|e| fault(e.to_string()))?;
    let json = if matches!(task.result, ResultSource::Text) { None } else { last_json(&stdout) };
    match (json, &task.result) {
        (Some(value), _) => Ok(Some(value)),
        (None, ResultSource::Json) => {
            let shown = clip(stdout.trim(), SHOWN_CHARS);
            Err(fault(format!("no JSON object or array in its output: {shown}")))
        }
        (None, _) => Ok(Some(Value::String(stdout.trim_end().to_owned()))),
    }
}

/// The `name=value` lines at `$SEGUE_OUTPUT`.
fn written_outputs(
    prepared: &Prepared,
    report: &AttemptReport,
) -> Result<Vec<(String, Value)>, Fault> {
    if report.started_at.is_none() {
        return Ok(Vec::new());
    }
    let written = match whole_text(&prepared.output_path(), WRITTEN_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => {
            result.map_err(|error| (FailureClass::Output, format!("$SEGUE_OUTPUT: {error}")))?
        }
    };
    let pairs = parse_env(&written).map_err(|line| {
        let message = format!("$SEGUE_OUTPUT line {line} is not of the form name=value");
        (FailureClass::Output, message)
    })?;
    Ok(pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect())
}

fn promised(
    name: &str,
    source: &OutputSource,
    prepared: &Prepared,
    context: &RunContext,
    report: &AttemptReport,
    result: Option<&Value>,
) -> Result<Value, String> {
    match source {
        OutputSource::Json { pointer } => {
            let result = result.ok_or("the task has no result")?;
            let found = result.pointer(pointer).cloned();
            found.ok_or_else(|| format!("the result has nothing at `{pointer}`"))
        }
        OutputSource::Regex { patterns, from } => {
            let log = match from {
                Stream::Stdout => "stdout.log",
                Stream::Stderr => "stderr.log",
            };
            let text = tail_text(&prepared.attempt_dir.join(log), RESULT_BYTES_MAX)
                .map_err(|error| error.to_string())?;
            first_match(patterns, &text)
                .map(Value::String)
                .ok_or_else(|| format!("nothing in its output matches {}", patterns.join(" or ")))
        }
        OutputSource::File { path } => {
            let path = text("file", path, Mode::Text, &prepared.scope).map_err(|e| e.0)?;
            let full = confine(context, &prepared.cwd, "file", &path).map_err(|e| e.0)?;
            let since = report.started_at.ok_or("the task never started")?;
            if !full.is_file() {
                return Err(format!("file `{path}` does not exist"));
            }
            if !is_fresh(&full, since) {
                return Err(format!("file `{path}` is older than the task's start"));
            }
            // One folder for each, for two files may have the same name.
            let folder = prepared.attempt_dir.join("outputs").join(file_stem(name));
            let copy = folder.join(full.file_name().ok_or("it names no file")?);
            make_private_dir(&folder)
                .and_then(|()| fs::copy(&full, &copy))
                .map_err(|error| format!("file `{path}` could not be copied: {error}"))?;
            // Absolute, for whoever is told of it may work in another folder.
            Ok(Value::String(copy.to_string_lossy().into_owned()))
        }
    }
}

fn first_match(patterns: &[String], text: &str) -> Option<String> {
    patterns.iter().find_map(|pattern| {
        let found = Regex::new(pattern).ok()?.captures(text)?;
        Some(found.get(1).or_else(|| found.get(0))?.as_str().to_owned())
    })
}

/// Keeps small values as they are and writes large ones to a file of the attempt.
fn store(name: &str, value: Value, prepared: &Prepared) -> std::io::Result<Stored> {
    let json = serde_json::to_vec(&value)?;
    if json.len() <= Stored::INLINE_BYTES_MAX {
        return Ok(Stored::Inline(value));
    }
    make_private_dir(&prepared.attempt_dir)?;
    let path = prepared.attempt_dir.join(format!("{}.value.json", file_stem(name)));
    fs::write(&path, &json)?;
    let sha256 = Sha256::digest(&json).iter().map(|byte| format!("{byte:02x}")).collect();
    let path = shown(&path, &prepared.start.run_dir);
    let head = Stored::head_of(&value, &path);
    let bytes = u64::try_from(json.len()).unwrap_or(u64::MAX);
    Ok(Stored::Ref { path, bytes, sha256, head })
}

/// An output's name as part of a file's name. Of the names that may be given it changes none.
fn file_stem(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

pub(crate) fn clip(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

pub(crate) fn outcome_code(outcome: &sup::Outcome) -> Option<i32> {
    match outcome {
        sup::Outcome::Exited { code } => Some(*code),
        _ => None,
    }
}

pub(crate) fn outcome(outcome: &sup::Outcome) -> segue_core::Outcome {
    use segue_core::{Outcome, StopReason};
    match outcome {
        sup::Outcome::Exited { code } => Outcome::Exited { code: *code },
        sup::Outcome::Signaled { signal } => Outcome::Signaled { signal: *signal },
        sup::Outcome::TimedOut { limit } => Outcome::TimedOut {
            limit: match limit {
                sup::TimeLimit::Total => TimeLimit::Total,
                sup::TimeLimit::Stall => TimeLimit::Stall,
                sup::TimeLimit::Run => TimeLimit::Run,
            },
        },
        sup::Outcome::SpawnFailed { kind, message } => {
            let kind = serde_json::to_value(kind).unwrap_or_default();
            let kind = kind.as_str().unwrap_or("other").to_owned();
            Outcome::SpawnFailed { kind, message: message.clone() }
        }
        sup::Outcome::Cancelled { reason } => Outcome::Cancelled {
            reason: match reason {
                sup::StopReason::Shutdown => StopReason::Shutdown,
                sup::StopReason::Superseded => StopReason::FailFast,
                sup::StopReason::Cancelled | sup::StopReason::Budget => StopReason::Cancelled,
            },
        },
        sup::Outcome::Parked => Outcome::Parked,
        sup::Outcome::OutputLimit => Outcome::OutputLimit,
        sup::Outcome::Lost => Outcome::Lost,
    }
}

fn teardown(teardown: &sup::Teardown) -> Teardown {
    match teardown {
        sup::Teardown::Verified { stragglers } => Teardown::Verified { stragglers: *stragglers },
        sup::Teardown::Unverified { pids } => Teardown::Unverified { pids: pids.clone() },
    }
}
