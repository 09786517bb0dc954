//! The log of each process, and its output on the terminal while it runs.
//!
//! A log is begun when its name is taken, by making the file, so that two processes never share
//! one and nothing that was written is ever written over. Output comes from the attempt's own log
//! files as they grow; nothing of Segue stands between a process and its pipe.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use segue_core::{NAME_BYTES_MAX, TaskId};
use segue_engine::Changes;

use super::error::StrategyError;
use super::process::{AgentProcess, Surroundings};
use super::result::ProcessResult;

/// How long a line waits at most before it is seen.
const PATIENCE: Duration = Duration::from_millis(150);

/// How much is read at a time.
const READ_BYTES: usize = 64 << 10;

/// A line longer than this is shown in pieces.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Between the head of a log and its lines.
const RULE: &str =
    "--------------------------------------------------------------------------------";

/// Gives every process a name that no other has, and makes its log.
pub(super) fn reserve(
    processes: &[AgentProcess],
    first_number: usize,
) -> Result<Vec<TaskId>, StrategyError> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut tried: HashMap<String, usize> = HashMap::new();
    let mut ids = Vec::with_capacity(processes.len());
    for (index, process) in processes.iter().enumerate() {
        let wanted = process.id.clone();
        let wanted = wanted.unwrap_or_else(|| format!("process_{:03}", first_number + index));
        if let Some(folder) = &process.log_dir {
            make_folder(folder)?;
        }
        let id = loop {
            let count = tried.entry(wanted.clone()).or_default();
            *count += 1;
            let id = numbered(&wanted, *count);
            if !taken.contains(&id) && make_log(process, &id)? {
                break id;
            }
        };
        let valid = TaskId::parse(&id);
        ids.push(valid.map_err(|source| StrategyError::InvalidId { index, source })?);
        taken.insert(id);
    }
    Ok(ids)
}

/// `name`, `name-2`, `name-3`, … , never longer than a name may be.
fn numbered(name: &str, count: usize) -> String {
    if count == 1 {
        return name.to_owned();
    }
    let number = format!("-{count}");
    let kept = name.len().min(NAME_BYTES_MAX - number.len());
    // Names are ASCII.
    format!("{}{number}", &name[..kept])
}

pub(super) fn make_folder(folder: &Path) -> Result<(), StrategyError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| StrategyError::Folder {
        what: "failed to make folder",
        path: folder.to_owned(),
        source,
    })
}

fn log_path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.log"))
}

/// Makes the log; false if there is one of this name.
fn make_log(process: &AgentProcess, id: &str) -> Result<bool, StrategyError> {
    let Some(folder) = &process.log_dir else { return Ok(true) };
    let path = log_path(folder, id);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(StrategyError::Folder { what: "failed to make log", path, source }),
    }
}

/// The time of day, as logs have it.
pub(super) fn clock() -> String {
    local("%H:%M:%S")
}

/// The date and the time of day.
pub(super) fn date() -> String {
    local("%Y-%m-%d %H:%M:%S")
}

fn local(format: &str) -> String {
    let zone = jiff::tz::TimeZone::system();
    segue_engine::wall_now().to_jiff().to_zoned_datetime(zone).strftime(format).to_string()
}

/// Appends one whole text to a log. That it cannot be written stops no process.
pub(super) fn append(path: &Path, text: &str) {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
        tracing::warn!(%error, "log `{}` could not be written", path.display());
    }
}

/// The logs and mirrors of one strategy's processes.
#[derive(Debug)]
pub(super) struct Records {
    faces: Vec<Face>,
    /// Whether lines bear their process's name, as several may print at once.
    prefixed: bool,
    width: usize,
    tails: Mutex<BTreeMap<usize, Tail>>,
}

/// What is known of a process before it runs.
#[derive(Debug)]
struct Face {
    id: String,
    log: Option<PathBuf>,
    stream: bool,
    prompt: String,
    command: String,
}

/// The output of a process that runs.
#[derive(Debug)]
struct Tail {
    folder: PathBuf,
    logs: [Log; 2],
    watched: bool,
}

#[derive(Debug, Default)]
struct Log {
    offset: u64,
    /// The beginning of a line that has not ended.
    partial: Vec<u8>,
    /// The last line ended with a carriage return, whose line end may follow.
    returned: bool,
}

impl Records {
    pub(super) fn new(
        processes: &[AgentProcess],
        ids: &[TaskId],
        around: &Surroundings,
        prefixed: bool,
    ) -> Arc<Self> {
        let face = |(process, id): (&AgentProcess, &TaskId)| Face {
            id: id.to_string(),
            log: process.log_dir.as_deref().map(|folder| log_path(folder, id.as_str())),
            stream: process.stream_output,
            prompt: process.prompt_head(),
            command: process.shown(around),
        };
        let faces: Vec<Face> = processes.iter().zip(ids).map(face).collect();
        let width = faces.iter().filter(|face| face.stream).map(|face| face.id.len()).max();
        let width = width.unwrap_or(0).min(24);
        let records = Arc::new(Self { faces, prefixed, width, tails: Mutex::default() });
        if records.faces.iter().any(Face::is_followed) {
            let weak = Arc::downgrade(&records);
            let thread = std::thread::Builder::new().name("segue-mirror".to_owned());
            if let Err(error) = thread.spawn(move || follow(&weak)) {
                tracing::warn!(%error, "output is shown only when its process has ended");
            }
        }
        records
    }

    /// An attempt of a process is started; its logs will be in `folder`.
    pub(super) fn begin(&self, index: usize, attempt: u32, folder: PathBuf) {
        let face = &self.faces[index];
        if let Some(log) = &face.log {
            let (id, time) = (&face.id, clock());
            let head = if attempt == 1 {
                let (date, prompt) = (date(), face.prompt.escape_debug());
                format!("Process: {id}\nStarted: {date}\nPrompt: {prompt}\n{RULE}\n")
            } else {
                String::new()
            };
            let command = &face.command;
            append(
                log,
                &format!(
                    "{head}[{time}] [INFO] [{id}] Starting process (attempt {attempt})\n\
                     [{time}] [INFO] [{id}] Command: {command}\n"
                ),
            );
        }
        if face.is_followed() {
            let tail = Tail { folder, logs: <[Log; 2]>::default(), watched: false };
            self.tails().insert(index, tail);
        }
    }

    /// An attempt has ended: shows what is left of its output.
    pub(super) fn end_attempt(&self, index: usize) {
        let tail = self.tails().remove(&index);
        if let Some(mut tail) = tail {
            self.show_new(index, &mut tail, true);
        }
    }

    /// A process has ended.
    pub(super) fn end(&self, result: &ProcessResult) {
        let face = &self.faces[result.index];
        let Some(log) = &face.log else { return };
        let (id, time) = (&face.id, clock());
        let mut text = String::new();
        if !result.succeeded() {
            let why = result.message.escape_debug();
            text.push_str(&format!("[{time}] [WARNING] [{id}] {why}\n"));
        }
        let (code, seconds) = (result.exit_code(), result.duration.as_secs_f64());
        text.push_str(&format!(
            "[{time}] [INFO] [{id}] Completed with exit_code={code} in {seconds:.1}s\n"
        ));
        append(log, &text);
    }

    /// Everything is over: the logs of what never ran go.
    pub(super) fn close(&self) {
        for face in &self.faces {
            if let Some(log) = &face.log
                && log.metadata().is_ok_and(|meta| meta.len() == 0)
            {
                // One that stays is empty and in nobody's way.
                let _ = std::fs::remove_file(log);
            }
        }
    }

    fn tails(&self) -> MutexGuard<'_, BTreeMap<usize, Tail>> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pump(&self, changes: Option<&Changes>) {
        for (index, tail) in self.tails().iter_mut() {
            if let (Some(changes), false) = (changes, tail.watched) {
                tail.watched = changes.add(&tail.folder).is_ok();
            }
            self.show_new(*index, tail, false);
        }
    }

    fn show_new(&self, index: usize, tail: &mut Tail, ended: bool) {
        let face = &self.faces[index];
        let Tail { folder, logs, .. } = tail;
        for (log, name) in logs.iter_mut().zip(["stdout.log", "stderr.log"]) {
            let is_error = name == "stderr.log";
            // A file that is not there yet is one with nothing in it.
            let Ok(mut file) = File::open(folder.join(name)) else { continue };
            if file.seek(SeekFrom::Start(log.offset)).is_err() {
                continue;
            }
            let mut buffer = vec![0; READ_BYTES];
            while let Ok(count) = file.read(&mut buffer) {
                let bytes = &buffer[..count];
                log.offset += count as u64;
                if face.stream && !self.prefixed {
                    print_bytes(is_error, bytes);
                }
                let lines = log.lines(bytes, ended && count == 0);
                if !lines.is_empty() {
                    self.show_lines(face, is_error, &lines);
                }
                if count == 0 {
                    break;
                }
            }
        }
    }

    fn show_lines(&self, face: &Face, is_error: bool, lines: &[String]) {
        let (id, time, width) = (&face.id, clock(), self.width);
        if let Some(log) = &face.log {
            let level = if is_error { "STDERR" } else { "STDOUT" };
            let line = |line: &String| format!("[{time}] [{level}] [{id}] {line}\n");
            append(log, &lines.iter().map(line).collect::<String>());
        }
        if face.stream && self.prefixed {
            let line =
                |line: &String| format!("{id:width$} | {}\n", crate::progress::plain_text(line));
            print_bytes(is_error, lines.iter().map(line).collect::<String>().as_bytes());
        }
    }
}

impl Face {
    const fn is_followed(&self) -> bool {
        self.stream || self.log.is_some()
    }
}

impl Log {
    /// The lines that have ended; a carriage return ends one, too, so that progress is seen.
    fn lines(&mut self, bytes: &[u8], ended: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            self.partial.extend_from_slice(piece);
            let is_whole = piece.ends_with(b"\n") || piece.ends_with(b"\r");
            if is_whole || self.partial.len() > LINE_BYTES_MAX {
                self.take_line(&mut lines);
            }
        }
        if ended {
            self.take_line(&mut lines);
        }
        lines
    }

    fn take_line(&mut self, lines: &mut Vec<String>) {
        let line = std::mem::take(&mut self.partial);
        let rest_of_end = std::mem::replace(&mut self.returned, line.ends_with(b"\r"));
        if line.is_empty() || rest_of_end && line == b"\n" {
            return;
        }
        lines.push(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
    }
}

fn print_bytes(is_error: bool, bytes: &[u8]) {
    // Nobody may be listening.
    let _ = if is_error {
        io::stderr().lock().write_all(bytes)
    } else {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush())
    };
}

/// The thread that shows output as it comes, for as long as somebody has the records.
fn follow(records: &Weak<Records>) {
    let changes = Changes::new().ok();
    loop {
        match &changes {
            Some(changes) => changes.wait(PATIENCE),
            None => std::thread::sleep(PATIENCE),
        }
        let Some(records) = records.upgrade() else { return };
        records.pump(changes.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_different_and_stay_short() {
        assert_eq!(numbered("a", 1), "a");
        assert_eq!(numbered("a", 12), "a-12");
        assert_eq!(numbered(&"x".repeat(128), 2).len(), 128);
    }

    #[test]
    fn progress_without_line_ends_is_seen() {
        let mut log = Log::default();
        assert_eq!(log.lines(b"10%\r20%", false), ["10%"]);
        assert_eq!(log.lines(b"\rdone\r", false), ["20%", "done"]);
        assert_eq!(log.lines(b"\n\nbye", false), [""]);
        assert_eq!(log.lines(b"", true), ["bye"]);
        assert!(log.lines(b"", true).is_empty());
    }
}
