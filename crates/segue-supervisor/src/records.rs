//! `attempts.jsonl`: what keepers leave for an engine that comes later.
//!
//! Owns the two lines, how they are appended, and how the file is read back. A number that has a
//! `spawning` line may have run; one with an `ended` line has; one with neither has not. Every
//! line carries a version; unknown fields and unknown lines are passed over, so that an engine of
//! any version can adopt.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::report::Ended;

/// The version this build writes.
const VERSION: u32 = 1;

/// Written before a program is spawned: from here on the attempt may have run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spawning {
    pub(crate) number: u64,
    pub(crate) label: String,
    pub(crate) keeper_pid: u32,
    /// In clock ticks since boot; with the number and the boot it names one process for good.
    pub(crate) keeper_started_ticks: u64,
    pub(crate) boot: String,
    pub(crate) token: String,
    pub(crate) at_unix_ms: u64,
}

#[derive(Deserialize)]
struct Header {
    kind: String,
    number: u64,
}

/// All that a run's file says of one attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) spawning: Option<Spawning>,
    pub(crate) ended: Option<Ended>,
}

/// Where a run's records are.
pub(crate) fn path(run_dir: &Path) -> PathBuf {
    run_dir.join("attempts.jsonl")
}

/// Opens the records to append to and to lock bytes of; makes the file if it is missing.
pub(crate) fn open(run_dir: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path(run_dir))
}

/// Appends the line that an attempt may run from now on.
pub(crate) fn append_spawning(file: &File, record: &Spawning) -> io::Result<()> {
    append(file, "spawning", &serde_json::to_vec(record)?)
}

/// Appends the line that an attempt is over; `json` is the [`Ended`] in JSON.
pub(crate) fn append_ended(file: &File, json: &[u8]) -> io::Result<()> {
    append(file, "ended", json)
}

/// One `write` a line: lines of several keepers never mix.
fn append(mut file: &File, kind: &str, json: &[u8]) -> io::Result<()> {
    let mut line = format!("{{\"v\":{VERSION},\"kind\":\"{kind}\",").into_bytes();
    line.extend_from_slice(&json[1..]);
    line.push(b'\n');
    match file.write(&line)? {
        written if written == line.len() => Ok(()),
        // The disk filled up within the line. Readers find the next one behind the torn piece.
        written => Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("only {written} of {} bytes of a record fit on the disk", line.len()),
        )),
    }
}

/// Reads what the file says of every attempt; a missing file says nothing.
pub(crate) fn read(run_dir: &Path) -> io::Result<HashMap<u64, Known>> {
    let bytes = match std::fs::read(path(run_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    let mut known: HashMap<u64, Known> = HashMap::new();
    for line in bytes.split(|byte| *byte == b'\n').map(whole_record) {
        let Ok(header) = serde_json::from_slice::<Header>(line) else { continue };
        let entry = known.entry(header.number).or_default();
        match header.kind.as_str() {
            "spawning" => entry.spawning = serde_json::from_slice(line).ok(),
            "ended" => {
                let ended = serde_json::from_slice::<Ended>(line).ok();
                entry.ended = ended.map(|ended| Ended { run_dir: run_dir.to_owned(), ..ended });
            }
            _ => {}
        }
    }
    Ok(known)
}

/// The record in a line, without a torn one in front of it. Within a record these bytes cannot
/// occur: JSON escapes the quotes of a string.
fn whole_record(line: &[u8]) -> &[u8] {
    const BEGIN: &[u8] = b"{\"v\":";
    let at = line.windows(BEGIN.len()).rposition(|window| window == BEGIN);
    &line[at.unwrap_or(0)..]
}

/// The kernel's name for the time since it was booted; empty if it does not say.
pub(crate) fn boot_id() -> String {
    // Asked by the supervisor when it opens a run, so that keepers are forked with the answer.
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    let read = || {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.trim_end().to_owned()
    };
    BOOT_ID.get_or_init(read).clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{MemoryExceeded, Outcome, SpawnFailure, Teardown, TimeLimit};
    use crate::request::StopReason;

    fn ended(number: u64, outcome: Outcome) -> Ended {
        Ended {
            run_dir: PathBuf::new(),
            number,
            label: "a \"{\"v\":1\" \n b.1".to_owned(),
            outcome,
            started_unix_ms: 1,
            ended_unix_ms: 2,
            user_ms: 3,
            system_ms: 4,
            peak_memory_bytes: 5,
            tree_peak_memory_bytes: Some(10),
            memory_exceeded: Some(MemoryExceeded { limit_bytes: 11, used_bytes: 12 }),
            stdout_bytes: 6,
            stderr_bytes: 7,
            omitted_bytes: 8,
            log_error: None,
            teardown: Teardown::Unverified { pids: vec![9] },
        }
    }

    fn outcomes() -> Vec<Outcome> {
        let limits = [TimeLimit::Total, TimeLimit::Stall, TimeLimit::Run];
        let kinds = [
            SpawnFailure::ProgramNotFound,
            SpawnFailure::DirectoryNotFound,
            SpawnFailure::PermissionDenied,
            SpawnFailure::ArgumentsTooLong,
            SpawnFailure::Other,
        ];
        let reasons = [
            StopReason::Cancelled,
            StopReason::Shutdown,
            StopReason::Budget,
            StopReason::Superseded,
        ];
        let mut outcomes = vec![
            Outcome::Exited { code: 255 },
            Outcome::Signaled { signal: 9 },
            Outcome::Parked,
            Outcome::OutputLimit,
            Outcome::Lost,
        ];
        outcomes.extend(limits.map(|limit| Outcome::TimedOut { limit }));
        outcomes.extend(reasons.map(|reason| Outcome::Cancelled { reason }));
        let failed = |kind| Outcome::SpawnFailed { kind, message: "\u{fe}\n".to_owned() };
        outcomes.extend(kinds.map(failed));
        outcomes
    }

    #[test]
    fn every_outcome_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = open(dir.path()).expect("made");
        for (number, outcome) in (0..).zip(outcomes()) {
            let json = serde_json::to_vec(&ended(number, outcome)).expect("plain data");
            append_ended(&file, &json).expect("room");
        }
        let mut known = read(dir.path()).expect("records");
        for (number, outcome) in (0..).zip(outcomes()) {
            let expected = Ended { run_dir: dir.path().to_owned(), ..ended(number, outcome) };
            assert_eq!(known.remove(&number).expect("written").ended, Some(expected));
        }
    }

    #[test]
    fn a_torn_line_costs_only_itself_and_unknown_lines_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = open(dir.path()).expect("made");
        let torn = b"{\"v\":1,\"kind\":\"ended\",\"number\":1,\"label\":\"x";
        let newer = b"{\"v\":9,\"kind\":\"moved\",\"number\":1}\nnot even JSON \xff\n";
        (&file).write_all(newer).expect("room");
        (&file).write_all(torn).expect("room");
        let json = serde_json::to_vec(&ended(2, Outcome::Parked)).expect("plain data");
        append_ended(&file, &json).expect("room");
        (&file).write_all(torn).expect("room");
        let known = read(dir.path()).expect("records");
        let has_ended = |number| known.get(&number).is_some_and(|known| known.ended.is_some());
        assert!(has_ended(2) && !has_ended(1), "{known:?}");
    }

    /// The first version's lines, as they were written when it was new: never to be changed.
    #[test]
    fn the_first_version_is_still_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let golden = include_str!("../tests/golden/attempts.v1.jsonl");
        std::fs::write(path(dir.path()), golden).expect("room");
        let known = read(dir.path()).expect("records");
        let spawning = known[&1].spawning.as_ref().expect("line 1");
        assert_eq!((spawning.label.as_str(), spawning.keeper_pid), ("script.2", 4211));
        assert_eq!(spawning.token, "01JD-script-2");
        let ended = known[&1].ended.as_ref().expect("line 2");
        assert_eq!(ended.outcome, Outcome::Exited { code: 3 });
        assert_eq!(ended.teardown, Teardown::Verified { stragglers: 1 });
        let ended = known[&2].ended.as_ref().expect("line 3");
        assert_eq!(ended.outcome, Outcome::TimedOut { limit: TimeLimit::Total });
        assert_eq!(ended.teardown, Teardown::Unverified { pids: vec![77] });
    }
}
