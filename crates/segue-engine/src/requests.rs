//! Requests from other processes to a run's engine: lines appended to `requests.jsonl`.
//!
//! A file needs no server, survives an engine that is just starting, and is private by its
//! folder's mode. The engine watches it and takes only lines written after it began.

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
}

impl Requests {
    pub(crate) fn open(run_dir: &Path) -> io::Result<Self> {
        let path = run_dir.join(FILE_NAME);
        let changes = Changes::new()?;
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        changes.add_file(&path)?;
        let offset = fs::metadata(&path)?.len();
        Ok(Self { path, offset, changes: async_fd(changes)? })
    }

    /// The next requests; may be none. Cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<Vec<Request>> {
        let mut ready = self.changes.readable_mut().await?;
        ready.get_inner().clear();
        ready.clear_ready();
        let mut file = fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut text = String::new();
        file.take(1 << 20).read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        self.offset += u64::try_from(whole).unwrap_or(0);
        let lines = text[..whole].lines();
        Ok(lines.filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}
