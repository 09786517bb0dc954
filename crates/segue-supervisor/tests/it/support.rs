//! One run with one supervisor, driven to the end of an attempt at a time.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use segue_supervisor::{
    Client, Ended, Launch, Limits, Outcome, Report, Request, Start, Stdin, Teardown,
};

/// Longest wait for anything: reached only by a bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program that misbehaves; also the supervisor.
pub(crate) const TESTEE: &str = env!("CARGO_BIN_EXE_supervisor-testee");

pub(crate) const CLEAN: Teardown = Teardown::Verified { stragglers: 0 };

pub(crate) struct Bench {
    pub(crate) client: Client,
    dir: tempfile::TempDir,
    last_number: u64,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let launch = Launch { program: Some(TESTEE.into()) };
        let client = Client::launch(&launch).expect("a supervisor");
        let mut bench = Self { client, dir, last_number: 0 };
        bench.open();
        bench
    }

    /// Another supervisor in place of one that is gone.
    pub(crate) fn relaunch(&mut self) {
        let launch = Launch { program: Some(TESTEE.into()) };
        self.client = Client::launch(&launch).expect("a supervisor");
        self.open();
    }

    fn open(&mut self) {
        let run_dir = self.dir().to_owned();
        self.send(&Request::OpenRun { run_dir: run_dir.clone() });
        assert_eq!(self.next(), Report::RunOpened { run_dir });
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A start of this program with the given arguments.
    pub(crate) fn start(&mut self, argv: &[&str]) -> Start {
        self.last_number += 1;
        start(self.dir(), self.last_number, argv)
    }

    pub(crate) fn testee(&mut self, arguments: &[&str]) -> Start {
        self.start(&[&[TESTEE], arguments].concat())
    }

    pub(crate) fn shell(&mut self, script: &str) -> Start {
        self.start(&["sh", "-c", script])
    }

    pub(crate) fn send(&mut self, request: &Request) {
        self.client.send(request).expect("the supervisor lives");
    }

    /// The next report, waited for.
    pub(crate) fn next(&mut self) -> Report {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let is_flushed = self.client.flush().expect("the supervisor lives");
            if let Some(report) = self.client.receive().expect("the supervisor lives") {
                return report;
            }
            let left = give_up.saturating_duration_since(Instant::now());
            let events = if is_flushed { libc::POLLIN } else { libc::POLLIN | libc::POLLOUT };
            let is_ready = is_ready(self.client.as_raw_fd(), events, left);
            assert!(is_ready, "no report in {PATIENCE:?}");
        }
    }

    /// Starts and waits for the spawn: the program's process and its keeper's.
    pub(crate) fn spawn(&mut self, start: Start) -> (u32, u32) {
        self.send(&Request::Start(Box::new(start)));
        match self.next() {
            Report::Spawned { pid, keeper_pid, .. } => (pid, keeper_pid),
            other => panic!("not spawned: {other:?}"),
        }
    }

    /// Waits for an end, past spawns.
    pub(crate) fn ended(&mut self) -> Ended {
        loop {
            match self.next() {
                Report::Ended(ended) => return ended,
                Report::Spawned { .. } => {}
                other => panic!("not ended: {other:?}"),
            }
        }
    }

    /// Starts and waits for the end.
    pub(crate) fn run(&mut self, start: Start) -> Ended {
        self.send(&Request::Start(Box::new(start)));
        self.ended()
    }

    pub(crate) fn log(&self, ended: &Ended, name: &str) -> Vec<u8> {
        let path = self.dir().join("attempts").join(&ended.label).join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// A start in a run's folder, without limits.
pub(crate) fn start(run_dir: &Path, number: u64, argv: &[&str]) -> Start {
    let label = format!("task-{number}.1");
    Start {
        run_dir: run_dir.to_owned(),
        number,
        attempt_dir: run_dir.join("attempts").join(&label),
        label: label.clone(),
        argv: argv.iter().map(Into::into).collect(),
        cwd: run_dir.to_owned(),
        env: vec![
            ("PATH".into(), std::env::var_os("PATH").expect("a PATH")),
            ("TESTEE".into(), TESTEE.into()),
            (MARKER.into(), format!("{}/{label}", run_dir.display()).into()),
        ],
        stdin: Stdin::Null,
        secrets: Vec::new(),
        limits: Limits { kill_grace_ms: 500, ..Limits::default() },
        token: String::new(),
        leave: Vec::new(),
    }
}

/// Waits for a descriptor; false when `patience` is over.
pub(crate) fn is_readable(fd: RawFd, patience: Duration) -> bool {
    is_ready(fd, libc::POLLIN, patience)
}

fn is_ready(fd: RawFd, events: libc::c_short, patience: Duration) -> bool {
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    let timeout = i32::try_from(patience.as_millis()).expect("seconds");
    // SAFETY: the pointer is to one live entry.
    unsafe { libc::poll(&raw mut entry, 1, timeout) == 1 }
}

pub(crate) fn kill(pid: u32, signal: i32) {
    // SAFETY: the number comes from a report and is not 0.
    let result = unsafe { libc::kill(pid.cast_signed(), signal) };
    assert_eq!(result, 0, "kill {pid}: {}", std::io::Error::last_os_error());
}

/// Whether a process is there and not a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// The living processes of an attempt, found by other means than the keeper's.
pub(crate) fn marked(marker: &str) -> Vec<u32> {
    with_variable(&format!("{MARKER}={marker}"))
}

/// The living processes that have this in their environment.
pub(crate) fn with_variable(variable: &str) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("it is there").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has_it = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    };
    pids.filter(has_it).filter(|pid| is_alive(*pid)).collect()
}

/// The variable that holds the name of an attempt, unique over all tests.
pub(crate) const MARKER: &str = "TESTEE_MARKER";

/// The value of [`MARKER`] that a start has.
pub(crate) fn marker_of(start: &Start) -> String {
    let marker = start.env.iter().find(|(name, _)| name == MARKER);
    marker.and_then(|(_, value)| value.to_str()).expect("every start has one").to_owned()
}

/// Waits for a file that is made whole.
pub(crate) fn await_file(path: &Path) -> String {
    await_that(&format!("{}", path.display()), || std::fs::read_to_string(path).ok())
}

/// Waits for something of another process that nothing announces.
pub(crate) fn await_that<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn pid_in(path: &Path) -> u32 {
    await_file(path).trim().parse().expect("a process number")
}

/// The children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    listed.unwrap_or_default().split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
}

pub(crate) fn open_descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").count()
}

/// Takes a whole-file lock as an engine takes `run.lock`; it goes with the file.
pub(crate) fn lock(path: &PathBuf) -> File {
    let file = File::create(path).expect("the folder is there");
    // SAFETY: an all-zero flock describes the whole file.
    let mut whole: libc::flock = unsafe { std::mem::zeroed() };
    whole.l_type = libc::c_short::try_from(libc::F_WRLCK).expect("a small constant");
    // SAFETY: the descriptor is open and the pointer is to a live flock.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const whole) };
    assert_eq!(result, 0, "nobody else holds {}", path.display());
    file
}

#[track_caller]
pub(crate) fn assert_exited(ended: &Ended, code: i32) {
    assert_eq!(ended.outcome, Outcome::Exited { code }, "{ended:?}");
    assert_eq!(ended.teardown, CLEAN, "{ended:?}");
}
