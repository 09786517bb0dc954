//! A private place to run the real `segue` in: its own store, home and working folder.
//!
//! Owns the processes it starts and whatever they leave; knows nothing of what they should do.
//! Every wait ends with an event or, if a bug keeps it from coming, after [`PATIENCE`].

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, kill_process, pidfd_open};
use serde_json::Value;

pub(crate) use rustix::process::Signal;

/// The longest wait for anything: reached only by a bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) const SEGUE: &str = env!("CARGO_BIN_EXE_segue");

/// A private place; gone, with every process that was started in it, when dropped.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
    started: AtomicU32,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// The exit code; minus the signal's number if one ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("segue-it-").tempdir().expect("a folder");
        let lab = Self { folder, started: AtomicU32::new(0) };
        for name in ["work", "tmp", "talk"] {
            std::fs::create_dir(lab.root().join(name)).expect("a folder");
        }
        lab
    }

    /// A place with one workflow, `flow.segue.yaml`.
    pub(crate) fn with(workflow: &str) -> Self {
        let lab = Self::new();
        lab.write("flow.segue.yaml", workflow);
        lab
    }

    /// Everything lies below this.
    /// A place whose working folder is a copy of an example, caches and what earlier runs made
    /// left out.
    pub(crate) fn with_example(name: &str) -> Self {
        let lab = Self::new();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        copy(&examples.join(name), &lab.work());
        lab
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Where commands are run.
    pub(crate) fn work(&self) -> PathBuf {
        self.root().join("work")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.root().join("store")
    }

    /// Writes a file in the working folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
        std::fs::write(&path, text).expect("room");
        path
    }

    /// Reads a file of the working folder; a missing one is empty.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.work().join(name)).unwrap_or_default()
    }

    /// Waits until there is a file of this name in the working folder.
    #[track_caller]
    pub(crate) fn await_file(&self, name: &str) {
        let changes = segue_engine::Changes::new().expect("a watch");
        changes.add(&self.work()).expect("the folder is there");
        let until = Instant::now() + PATIENCE;
        while !self.work().join(name).exists() {
            assert!(Instant::now() < until, "`{name}` does not appear");
            changes.wait(Duration::from_millis(100));
        }
    }

    /// `program` in this place with a clean environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").expect("a search path");
        command.current_dir(self.work()).stdin(Stdio::null()).env_clear();
        command.env("PATH", path).env("HOME", self.root()).env("TMPDIR", self.root().join("tmp"));
        command.env("LANG", "C.UTF-8").env("TZ", "UTC").env("SEGUE_HOME", self.store());
        command
    }

    /// `segue ARGUMENTS`, not started.
    pub(crate) fn segue(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(SEGUE);
        command.args(arguments);
        command
    }

    /// Runs `segue ARGUMENTS` to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        self.finish(self.segue(arguments))
    }

    /// Runs `segue ARGUMENTS`, which must end with `code`.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, arguments: &[&str]) -> Done {
        let done = self.run(arguments);
        assert_eq!(done.code, code, "segue {arguments:?}: {done:#?}");
        done
    }

    /// Runs a command to its end.
    #[track_caller]
    pub(crate) fn finish(&self, command: Command) -> Done {
        self.start(command).wait()
    }

    /// Starts a command; its stdout is read line by line, its stderr goes to a file.
    pub(crate) fn start(&self, mut command: Command) -> Live {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let talk = self.root().join("talk").join(number.to_string());
        let file = std::fs::File::create(&talk).expect("room");
        let child = command.stdout(Stdio::piped()).stderr(file).spawn();
        let mut child = child.expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        Live { child, lines, seen: String::new(), talk }
    }

    /// `segue ARGUMENTS` under way.
    pub(crate) fn live(&self, arguments: &[&str]) -> Live {
        self.start(self.segue(arguments))
    }

    /// The folders of all runs, oldest first.
    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.store().join("runs")).into_iter().flatten();
        // A folder under a hidden name is still being made.
        let named =
            |entry: &std::fs::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
        let mut folders: Vec<PathBuf> =
            entries.flatten().filter(named).map(|entry| entry.path()).collect();
        folders.sort_by_key(|folder| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.rsplit('-').next().unwrap_or_default().to_owned()
        });
        folders
    }

    /// The newest run's folder.
    #[track_caller]
    pub(crate) fn latest(&self) -> PathBuf {
        self.runs().pop().expect("a run")
    }

    /// The newest run's events as its journal holds them.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        journal(&self.latest())
    }

    /// The newest run's `state.json`.
    #[track_caller]
    pub(crate) fn state(&self) -> Value {
        read_json(&self.latest().join("state.json"))
    }

    /// The newest run's status of a task.
    #[track_caller]
    pub(crate) fn status(&self, task: &str) -> String {
        self.state()["tasks"][task]["status"].as_str().unwrap_or("none").to_owned()
    }

    /// Live processes of this place: their working folder or environment leads here.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let own = std::process::id();
        let here = self.root().as_os_str().as_encoded_bytes();
        let is_here = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            environment.windows(here.len()).any(|window| window == here)
                || folder.starts_with(self.root())
        };
        let entries = std::fs::read_dir("/proc").expect("procfs").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid != own && !is_zombie(*pid)).filter(is_here).collect()
    }

    /// Waits until no process of this place is left.
    #[track_caller]
    pub(crate) fn await_emptiness(&self) {
        let until = Instant::now() + PATIENCE;
        while let Some(&pid) = self.processes().first() {
            let left = until.saturating_duration_since(Instant::now());
            assert!(await_end(pid, left), "still there: {:?}", self.describe());
        }
    }

    fn describe(&self) -> Vec<String> {
        let line = |pid: &u32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("{pid}: {}", String::from_utf8_lossy(&words).replace('\0', " "))
        };
        self.processes().iter().map(line).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for pid in self.processes() {
            signal(pid, Signal::KILL);
        }
    }
}

/// A command under way; killed if the test ends before it.
pub(crate) struct Live {
    child: Child,
    lines: Receiver<String>,
    seen: String,
    talk: PathBuf,
}

impl Live {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of stdout; `None` after the last.
    #[track_caller]
    pub(crate) fn next_line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.seen.push_str(&line);
                self.seen.push('\n');
                Some(line)
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(error) => panic!("no line: {error}; so far: {} {}", self.seen, self.told()),
        }
    }

    /// The first line from here on that `is_it`.
    #[track_caller]
    pub(crate) fn line(&mut self, is_it: impl Fn(&str) -> bool) -> String {
        while let Some(line) = self.next_line() {
            if is_it(&line) {
                return line;
            }
        }
        panic!("it ended before that line: {} {}", self.seen, self.told());
    }

    /// The first event from here on (of `--json=events` or `events -f`) that `is_it`.
    #[track_caller]
    pub(crate) fn event(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        while let Some(line) = self.next_line() {
            let recorded: Value = serde_json::from_str(&line).expect("an event a line");
            if is_it(&recorded["event"]) {
                return recorded;
            }
        }
        panic!("it ended before that event: {} {}", self.seen, self.told());
    }

    /// Waits until an attempt of `task` is ordered to start.
    #[track_caller]
    pub(crate) fn dispatched(&mut self, task: &str) {
        self.event(|event| {
            event["type"] == "attempt_dispatched" && event["attempt"]["task"] == task
        });
    }

    pub(crate) fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// What it has told on stderr so far.
    pub(crate) fn told(&self) -> String {
        let bytes = std::fs::read(&self.talk).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Done {
        while self.next_line().is_some() {}
        assert!(await_end(self.pid(), PATIENCE), "it does not end: {}", self.told());
        let code = code(self.child.wait().expect("its own child"));
        let stdout = std::mem::take(&mut self.seen);
        Done { code, stdout, stderr: self.told() }
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("its own child");
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // It may have ended long since.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| -status.signal().expect("it ended"))
}

/// Sends a signal to a process, which may be gone.
pub(crate) fn signal(pid: u32, which: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, which);
    }
}

/// Waits until a process has ended; whether it has.
pub(crate) fn await_end(pid: u32, at_most: Duration) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return true };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let timeout = Timespec::try_from(at_most).expect("a short time");
    let mut ready = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    poll(&mut ready, Some(&timeout)).is_ok_and(|count| count > 0)
}

/// Whether a process has ended and only its parent does not know.
fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X']))
}

/// A run's events as its journal holds them; a torn last line is not one.
#[track_caller]
pub(crate) fn journal(run: &Path) -> Vec<Value> {
    let text = std::fs::read(run.join("events.jsonl")).expect("a journal");
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("JSON a line")).collect()
}

#[track_caller]
pub(crate) fn read_json(path: &Path) -> Value {
    let mut text = String::new();
    let mut file = std::fs::File::open(path).expect("it is there");
    file.read_to_string(&mut text).expect("text");
    serde_json::from_str(&text).expect("valid JSON")
}

/// How many of the recorded events are `kind` and about `task`.
pub(crate) fn count(events: &[Value], kind: &str, task: &str) -> usize {
    let is_it = |recorded: &&Value| {
        let event = &recorded["event"];
        event["type"] == kind && (event["task"] == task || event["attempt"]["task"] == task)
    };
    events.iter().filter(is_it).count()
}

fn copy(from: &Path, to: &Path) {
    const LEFT_OUT: [&str; 7] =
        ["__pycache__", "episodes", ".venv", ".segue", "work", "node_modules", "out"];
    std::fs::create_dir_all(to).expect("room");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let name = entry.file_name();
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(name));
        } else {
            std::fs::copy(entry.path(), to.join(name)).expect("room");
        }
    }
}
