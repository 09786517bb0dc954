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
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_end().to_owned()
}
