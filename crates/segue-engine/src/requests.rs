//! Requests from other processes to a run's engine: lines appended to `requests.jsonl`.
//!
//! A file needs no server, survives an engine that is just starting, and is private by its
//! folder's mode. Whoever has written rings the engine's bell, a socket beside the file that
//! carries nothing. The engine takes only lines written since before it took the run's lock:
//! whoever saw the lock held is heard.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use segue_attempt::async_fd;
use segue_core::{GivenAnswer, Input, StopReason, TaskId};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

use crate::changes::Changes;

const FILE_NAME: &str = "requests.jsonl";

const BELL_NAME: &str = "requests.sock";

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
    /// Take a person's answer. Unlike the others it is for whoever drives the run next, if
    /// nobody does now: it says itself which question it answers.
    Answer(GivenAnswer),
}

impl Request {
    pub(crate) fn into_input(self) -> Input {
        match self {
            Self::Cancel { task, at_once } => {
                Input::Stop { task, reason: StopReason::Cancelled, at_once }
            }
            Self::Answer(given) => Input::Answered(given),
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
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)?.write_all(&line)?;
    // Nobody there, or a bell that rings already: the line is read all the same.
    let _ = at_bell(run_dir, |bell| UnixDatagram::unbound()?.send_to(&[0], bell).map(drop));
    Ok(())
}

/// Calls `with` with a path of the bell that is short enough for a socket.
fn at_bell<T>(run_dir: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let folder = fs::File::open(run_dir)?;
    with(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(BELL_NAME))
}

/// What wakes the engine for a request.
#[derive(Debug)]
enum Bell {
    Socket {
        socket: AsyncFd<UnixDatagram>,
        path: PathBuf,
    },
    /// On a file system without sockets. To close a watch takes the kernel some 10 ms.
    Watch(AsyncFd<Changes>),
}

impl Bell {
    fn hang(run_dir: &Path) -> io::Result<Self> {
        let path = run_dir.join(BELL_NAME);
        // One that a killed engine left; the run's lock says that there is no other.
        let _ = fs::remove_file(&path);
        let bound = at_bell(run_dir, |bell| UnixDatagram::bind(bell));
        let Ok(socket) = bound else { return Self::watch(&run_dir.join(FILE_NAME)) };
        socket.set_nonblocking(true)?;
        Ok(Self::Socket { socket: async_fd(socket)?, path })
    }

    fn watch(file: &Path) -> io::Result<Self> {
        let changes = Changes::new()?;
        changes.add_file(file)?;
        Ok(Self::Watch(async_fd(changes)?))
    }

    async fn rung(&mut self) -> io::Result<()> {
        match self {
            Self::Socket { socket, .. } => {
                let mut ready = socket.readable_mut().await?;
                while ready.get_inner().recv(&mut [0]).is_ok() {}
                ready.clear_ready();
            }
            Self::Watch(changes) => {
                let mut ready = changes.readable_mut().await?;
                ready.get_inner().clear();
                ready.clear_ready();
            }
        }
        Ok(())
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        if let Self::Socket { path, .. } = self {
            // If it stays, the next engine removes it.
            let _ = fs::remove_file(path);
        }
    }
}

/// The engine's end.
#[derive(Debug)]
pub(crate) struct Requests {
    path: PathBuf,
    offset: u64,
    bell: Bell,
    /// Whether what was there before the bell has been read.
    begun: bool,
}

impl Requests {
    /// Where the next request will be written. To be asked before the run's lock is taken.
    pub(crate) fn mark(run_dir: &Path) -> u64 {
        fs::metadata(run_dir.join(FILE_NAME)).map_or(0, |metadata| metadata.len())
    }

    /// The answers written before `mark`, also to questions that are none any more.
    pub(crate) fn answers(run_dir: &Path, mark: u64) -> io::Result<Vec<GivenAnswer>> {
        let mut bytes = Vec::new();
        match fs::File::open(run_dir.join(FILE_NAME)) {
            Ok(file) => file.take(mark).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let lines = bytes.split(|byte| *byte == b'\n');
        let requests = lines.filter_map(|line| serde_json::from_slice(line).ok());
        Ok(requests
            .filter_map(|request| match request {
                Request::Answer(given) => Some(given),
                Request::Cancel { .. } => None,
            })
            .collect())
    }

    /// Listens for requests from `mark` on.
    pub(crate) fn open(run_dir: &Path, mark: u64) -> io::Result<Self> {
        let path = run_dir.join(FILE_NAME);
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        Ok(Self { path, offset: mark, bell: Bell::hang(run_dir)?, begun: false })
    }

    /// The next requests; may be none. Cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<Vec<Request>> {
        if self.begun {
            self.bell.rung().await?;
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
    use segue_core::{Answer, ApprovalAnswered};

    use super::*;

    fn cancel(at_once: bool) -> Request {
        Request::Cancel { task: None, at_once }
    }

    #[tokio::test]
    async fn what_is_asked_between_the_lock_and_the_bell_is_heard() {
        let folder = tempfile::tempdir().expect("a folder");
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

    #[test]
    fn answers_are_for_whoever_comes_next() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Requests::answers(folder.path(), 0).expect("no file is no answer"), []);
        let task = TaskId::parse("ok").expect("an id");
        let (by, note) = ("ann".to_owned(), "it's \"fine\"\n".to_owned());
        let answered = ApprovalAnswered { task, answer: Answer::Approve, by, note };
        let given = GivenAnswer { asked: 7, answered };
        send_request(folder.path(), &cancel(false)).expect("written");
        send_request(folder.path(), &Request::Answer(given.clone())).expect("written");
        let mark = Requests::mark(folder.path());
        send_request(folder.path(), &Request::Answer(given.clone())).expect("written");
        assert_eq!(Requests::answers(folder.path(), mark).expect("read"), [given]);
    }

    #[tokio::test]
    async fn the_bell_hangs_in_deep_folders_and_where_a_dead_engine_left_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let deep = folder.path().join("d".repeat(200));
        fs::create_dir(&deep).expect("made");
        drop(at_bell(&deep, |bell| UnixDatagram::bind(bell)).expect("bound and left behind"));
        let mut requests = Requests::open(&deep, 0).expect("listened");
        assert!(matches!(requests.bell, Bell::Socket { .. }));
        assert_eq!(requests.next().await.expect("read"), []);
        send_request(&deep, &cancel(true)).expect("written");
        assert_eq!(requests.next().await.expect("read"), [cancel(true)]);
        drop(requests);
        assert!(!deep.join(BELL_NAME).exists());
        send_request(&deep, &cancel(true)).expect("nobody needs to be there");
    }

    #[tokio::test]
    async fn without_sockets_the_file_is_watched() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut requests = Requests::open(folder.path(), 0).expect("listened");
        requests.bell = Bell::watch(&folder.path().join(FILE_NAME)).expect("watched");
        assert_eq!(requests.next().await.expect("read"), []);
        send_request(folder.path(), &cancel(false)).expect("written");
        assert_eq!(requests.next().await.expect("read"), [cancel(false)]);
    }
}
