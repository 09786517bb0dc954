//! Requests from other processes to a run's engine: lines appended to `requests.jsonl`.
//!
//! A file needs no server, survives an engine that is just starting, and is private by its
//! folder's mode. The engine watches it and takes only lines written since before it took the
//! run's lock: whoever saw the lock held is heard.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use segue_attempt::async_fd;
use segue_core::{Input, StopReason, TaskId};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

use crate::changes::Changes;

const FILE_NAME: &str = "requests.jsonl";

/// How much is read at once; no request is longer.
const READ_BYTES_MAX: u64 = 1 << 20;

/// What may be asked of a run under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// End the run or one task of it.
    Cancel {
        /// Only this task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
        /// Without grace.
        #[serde(default)]
        at_once: bool,
    },
}

impl Request {
    pub(crate) fn into_input(self) -> Input {
        match self {
            Self::Cancel { task, at_once } => {
                Input::Stop { task, reason: StopReason::Cancelled, at_once }
            }
        }
    }
}

/// Asks the engine of the run in `run_dir`.
///
/// # Errors
/// If the line cannot be appended.
pub fn send_request(run_dir: &Path, request: &Request) -> io::Result<()> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let path = run_dir.join(FILE_NAME);
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)?.write_all(&line)
}

/// The engine's end.
#[derive(Debug)]
pub(crate) struct Requests {
    path: PathBuf,
    offset: u64,
    changes: AsyncFd<Changes>,
    /// Whether what was there before the watch has been read.
    begun: bool,
}

impl Requests {
    /// Where the next request will be written. To be asked before the run's lock is taken.
    pub(crate) fn mark(run_dir: &Path) -> u64 {
        fs::metadata(run_dir.join(FILE_NAME)).map_or(0, |metadata| metadata.len())
    }

    /// Listens for requests from `mark` on.
    pub(crate) fn open(run_dir: &Path, mark: u64) -> io::Result<Self> {
        let path = run_dir.join(FILE_NAME);
        let changes = Changes::new()?;
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        changes.add_file(&path)?;
        Ok(Self { path, offset: mark, changes: async_fd(changes)?, begun: false })
    }

    /// The next requests; may be none. Cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<Vec<Request>> {
        if self.begun {
            let mut ready = self.changes.readable_mut().await?;
            ready.get_inner().clear();
            ready.clear_ready();
        }
        self.begun = true;
        Ok(self.read().unwrap_or_else(|error| {
            // The run does not depend on it; signals are heard all the same.
            tracing::warn!(%error, "requests.jsonl cannot be read");
            Vec::new()
        }))
    }

    fn read(&mut self) -> io::Result<Vec<Request>> {
        let mut requests = Vec::new();
        loop {
            let mut file = fs::File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.offset))?;
            let mut bytes = Vec::new();
            file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
            let is_full = bytes.len() as u64 == READ_BYTES_MAX;
            let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
                Some(at) => at + 1,
                // Without an end so far on it is no request.
                None if is_full => bytes.len(),
                None => 0,
            };
            self.offset += whole as u64;
            let lines = bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            for line in lines {
                match serde_json::from_slice(line) {
                    Ok(request) => requests.push(request),
                    Err(error) => tracing::warn!(%error, "a line of requests.jsonl is no request"),
                }
            }
            if !is_full {
                return Ok(requests);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_between_the_lock_and_the_watch_is_heard() {
        let folder = tempfile::tempdir().expect("a folder");
        let cancel = |at_once| Request::Cancel { task: None, at_once };
        send_request(folder.path(), &cancel(false)).expect("written");
        let mark = Requests::mark(folder.path());
        send_request(folder.path(), &cancel(true)).expect("written");
        let mut requests = Requests::open(folder.path(), mark).expect("watched");
        assert_eq!(requests.next().await.expect("read"), [cancel(true)]);
        let path = folder.path().join(FILE_NAME);
        let mut file = OpenOptions::new().append(true).open(path).expect("opened");
        file.write_all(b"\xff nonsense\n").expect("written");
        send_request(folder.path(), &cancel(false)).expect("written");
        assert_eq!(requests.next().await.expect("read"), [cancel(false)]);
    }
}
