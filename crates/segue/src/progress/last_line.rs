//! The last line an attempt has printed, from the end of its log files.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use segue_core::AttemptId;

use super::plain_text;

/// How much of a log's end is looked at.
const TAIL_BYTES: u64 = 4 << 10;

/// The last line with anything in it of the log that was written last; `None` before the first.
pub(super) fn last_line(run_dir: &Path, attempt: &AttemptId) -> Option<String> {
    let folder = run_dir.join("attempts").join(attempt.folder());
    let logs = ["stdout.log", "stderr.log"].map(|name| folder.join(name));
    let dated = logs.iter().filter_map(|path| {
        let metadata = fs::metadata(path).ok().filter(|metadata| metadata.len() > 0)?;
        Some((metadata.modified().ok()?, path))
    });
    let (_, path) = dated.max_by_key(|(modified, _)| *modified)?;
    let bytes = tail(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.split(['\n', '\r']).rev().map(plain_text);
    lines.map(|line| line.trim().to_owned()).find(|line| !line.is_empty())
}

fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
