//! What a later engine finds of a run's attempts, and how it takes them over.
//!
//! An adopter holds `run.lock`, then takes [`take_starts_lock`], then asks [`find`]: between the
//! second and the third no start can be under way. The same is right after a supervisor died under
//! a living engine. Nothing here talks to a keeper but by its process, its lock and its records,
//! so the versions of both need not match.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::codec;
use crate::records::{self, Known, Spawning};
use crate::report::Ended;
use crate::request::{StopMode, StopReason};
use crate::supervisor::{Holder, open_starts_lock};
use crate::sys::{self, PidFd, Region};
use crate::tree;

/// Between two looks at a lock that cannot be waited for with a bound.
const PAUSE_MS: u64 = 2;
/// How long a process that has let go of its locks, or was killed, may take to be gone.
const DEATH_MS_MAX: u64 = 2_000;
/// How long a keeper may take between its lock and its record.
const RECORD_MS_MAX: u64 = 5_000;

/// The run's `starts.lock`: while it is held no supervisor starts anything in the run. To be
/// dropped before one is asked to open the run.
#[derive(Debug)]
pub struct StartsLock {
    file: File,
}

impl Drop for StartsLock {
    fn drop(&mut self) {
        let _ = sys::unlock(&self.file, Region::Whole);
    }
}

/// Takes the run's `starts.lock`, for which its supervisor has to have recorded every start.
///
/// After `patience` that supervisor is killed, by the process it wrote into the lock's file; this
/// ends no attempt. Blocks the thread, `patience` and two seconds at most.
///
/// # Errors
/// The lock's file cannot be used, or is held by someone who cannot be killed.
pub fn take_starts_lock(run_dir: &Path, patience: Duration) -> io::Result<StartsLock> {
    let file = open_starts_lock(run_dir)?;
    if !lock_within(&file, patience)? {
        kill_holder(run_dir)?;
        if !lock_within(&file, Duration::from_millis(DEATH_MS_MAX))? {
            let message = format!("starts.lock of `{}` stays locked", run_dir.display());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
    }
    // A supervisor that dies loses its lock a moment before its keepers lose their parent. Only
    // after that is a start without a record one that will not happen.
    if let Some(holder) = holder(run_dir) {
        await_death(&holder)?;
    }
    Ok(StartsLock { file })
}

fn lock_within(file: &File, patience: Duration) -> io::Result<bool> {
    let give_up = Instant::now() + patience;
    loop {
        if sys::try_lock(file, Region::Whole)? {
            return Ok(true);
        }
        if Instant::now() >= give_up {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(PAUSE_MS));
    }
}

fn holder(run_dir: &Path) -> Option<Holder> {
    serde_json::from_slice(&std::fs::read(run_dir.join("starts.lock")).ok()?).ok()
}

fn kill_holder(run_dir: &Path) -> io::Result<()> {
    let Some(holder) = holder(run_dir) else { return Ok(()) };
    let Ok(process) = PidFd::open(holder.pid) else { return Ok(()) };
    // Looked at after the descriptor was opened: it is that very process, or it is nobody's.
    if holder.is_alive() && holder.pid != std::process::id() {
        process.signal(libc::SIGKILL)?;
        process.wait_ended(DEATH_MS_MAX)?;
    }
    Ok(())
}

fn await_death(holder: &Holder) -> io::Result<()> {
    let Ok(process) = PidFd::open(holder.pid) else { return Ok(()) };
    if holder.is_alive() && !process.wait_ended(DEATH_MS_MAX)? {
        let message = format!("supervisor {} let go of its lock and lives on", holder.pid);
        return Err(io::Error::new(io::ErrorKind::TimedOut, message));
    }
    Ok(())
}

/// What became of one attempt.
#[derive(Debug)]
pub enum Found {
    /// No record: the same start may be asked for again. After the machine went down this is
    /// known only of attempts whose journal says so, for records are not synced.
    NeverStarted,
    /// It ended, with or without an engine.
    Ended(Ended),
    /// It runs under its keeper.
    Running(Watched),
    /// Its keeper was killed, and nobody recorded the end. [`sweep`] with the token ends what may
    /// be left of it.
    Lost {
        /// The attempt's [`Start::token`](crate::Start::token).
        token: String,
        /// What the records call it.
        label: String,
        /// When it was started, in milliseconds since the Unix epoch.
        started_unix_ms: u64,
    },
}

/// Finds one attempt. See [`find_all`].
///
/// # Errors
/// The records cannot be read.
pub fn find(run_dir: &Path, number: u64) -> io::Result<Found> {
    let mut found = find_all(run_dir, &[number])?;
    Ok(found.pop().expect("one for one"))
}

/// Finds attempts, in the order of `numbers`; reads the records once, or twice if one ends
/// meanwhile.
///
/// # Errors
/// The records cannot be read.
pub fn find_all(run_dir: &Path, numbers: &[u64]) -> io::Result<Vec<Found>> {
    let give_up = Instant::now() + Duration::from_millis(RECORD_MS_MAX);
    let mut decided: HashMap<u64, Found> = HashMap::new();
    loop {
        // The lock before the records: what was not locked then has written all it will.
        let mut unlocked = HashSet::new();
        for number in numbers.iter().filter(|number| !decided.contains_key(number)) {
            if !is_locked(run_dir, *number)? {
                unlocked.insert(*number);
            }
        }
        let mut known = records::read(run_dir)?;
        for number in numbers {
            if !decided.contains_key(number) {
                let facts = known.remove(number).unwrap_or_default();
                if let Some(found) = decide(run_dir, *number, facts, unlocked.contains(number)) {
                    decided.insert(*number, found);
                }
            }
        }
        let is_complete = numbers.iter().all(|number| decided.contains_key(number));
        if is_complete {
            break;
        }
        if Instant::now() >= give_up {
            let message = format!("a keeper in `{}` does not record its start", run_dir.display());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        std::thread::sleep(Duration::from_millis(PAUSE_MS));
    }
    Ok(numbers.iter().map(|number| decided.remove(number).unwrap_or(Found::NeverStarted)).collect())
}

/// `None`: it changed while it was looked at, or is about to.
fn decide(run_dir: &Path, number: u64, facts: Known, was_unlocked: bool) -> Option<Found> {
    match facts {
        Known { ended: Some(ended), .. } => Some(Found::Ended(ended)),
        Known { spawning: Some(spawning), .. } if was_unlocked => Some(Found::Lost {
            token: spawning.token,
            label: spawning.label,
            started_unix_ms: spawning.at_unix_ms,
        }),
        Known { spawning: Some(spawning), .. } => {
            Watched::open(run_dir, number, &spawning).map(Found::Running)
        }
        // Locked without a record: its keeper records it now, or drops it.
        Known { spawning: None, .. } => was_unlocked.then_some(Found::NeverStarted),
    }
}

/// A running attempt as its adopter sees it.
///
/// Its descriptor becomes readable when the keeper exits, which it does after the attempt when no
/// engine is left of those it was started by. Then [`find`] says how it ended.
#[derive(Debug)]
pub struct Watched {
    keeper: PidFd,
    keeper_pid: u32,
    run_dir: PathBuf,
    number: u64,
    started_unix_ms: u64,
}

impl Watched {
    fn open(run_dir: &Path, number: u64, spawning: &Spawning) -> Option<Self> {
        let keeper = PidFd::open(spawning.keeper_pid).ok()?;
        let stat = tree::stat_of(spawning.keeper_pid)?;
        if stat.started_ticks != spawning.keeper_started_ticks || stat.is_zombie {
            return None;
        }
        Some(Self {
            keeper,
            keeper_pid: spawning.keeper_pid,
            run_dir: run_dir.to_owned(),
            number,
            started_unix_ms: spawning.at_unix_ms,
        })
    }

    /// The attempt's number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The process that owns the attempt.
    #[must_use]
    pub fn keeper_pid(&self) -> u32 {
        self.keeper_pid
    }

    /// When the attempt was started, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn started_unix_ms(&self) -> u64 {
        self.started_unix_ms
    }

    /// The attempt's oldest process: the program, unless it has ended already.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        tree::children_of(self.keeper_pid).first().copied()
    }

    /// Stops the attempt through its keeper; it ends `cancelled` for `reason`.
    ///
    /// # Errors
    /// The keeper may not be signalled. That it is gone is no error.
    pub fn stop(&self, mode: StopMode, reason: StopReason) -> io::Result<()> {
        // A keeper that finished this attempt under a living supervisor may have another by now.
        if !is_locked(&self.run_dir, self.number)? {
            return Ok(());
        }
        let signal = match mode {
            StopMode::Graceful => libc::SIGTERM,
            StopMode::AtOnce => libc::SIGQUIT,
        };
        match self.keeper.signal_with(signal, i32::from(codec::reason_code(reason))) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.keeper.as_fd()
    }
}

impl std::os::fd::AsRawFd for Watched {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.as_fd())
    }
}

/// Whether a keeper holds the attempt: it runs, or its end is being recorded.
///
/// # Errors
/// The records cannot be opened; that they are missing is no error.
pub fn is_locked(run_dir: &Path, number: u64) -> io::Result<bool> {
    match File::open(records::path(run_dir)) {
        Ok(file) => sys::is_locked(&file, Region::Byte(number)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Blocks the thread until no keeper holds the attempt.
///
/// # Errors
/// The records cannot be opened or locked.
pub fn wait_unlocked(run_dir: &Path, number: u64) -> io::Result<()> {
    let file = records::open(run_dir)?;
    sys::lock(&file, Region::Byte(number))?;
    sys::unlock(&file, Region::Byte(number))
}

/// The kernel's name for the time since it was booted; another one means that no process of before
/// is left.
#[must_use]
pub fn boot_id() -> String {
    records::boot_id()
}

/// What a sweep ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The processes that were killed.
    pub killed: Vec<u32>,
}

/// Kills every process whose environment has `SEGUE_ATTEMPT_TOKEN` with this value, and all below
/// them: what a lost attempt may have left. An empty token sweeps nothing.
///
/// Repeated until a look finds none, within two seconds.
#[must_use]
pub fn sweep(token: &str) -> Swept {
    const SWEEP_MS_MAX: u64 = 2_000;
    let mut killed = HashSet::new();
    if token.is_empty() {
        return Swept::default();
    }
    let variable = format!("SEGUE_ATTEMPT_TOKEN={token}");
    let give_up = Instant::now() + Duration::from_millis(SWEEP_MS_MAX);
    while kill_marked(variable.as_bytes(), &mut killed) && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(PAUSE_MS));
    }
    let mut killed: Vec<u32> = killed.into_iter().collect();
    killed.sort_unstable();
    Swept { killed }
}

/// One look at every process; true if one was marked.
fn kill_marked(variable: &[u8], killed: &mut HashSet<u32>) -> bool {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut has_marked = false;
    for pid in pids.filter(|pid| *pid != std::process::id()) {
        if !is_marked(pid, variable) {
            continue;
        }
        // Looked at again once it is opened, so that the signal cannot reach a successor.
        let Ok(process) = PidFd::open(pid) else { continue };
        if is_marked(pid, variable) && process.signal(libc::SIGSTOP).is_ok() {
            has_marked = true;
            for descendant in tree::below(pid, &|_| false) {
                tree::signal(pid_of_nobody(), descendant, &[libc::SIGKILL]);
                killed.insert(descendant.pid);
            }
            let _ = process.signal(libc::SIGKILL);
            killed.insert(pid);
        }
    }
    has_marked
}

/// No process is our own child here: every signal goes through a descriptor.
const fn pid_of_nobody() -> u32 {
    0
}

/// A zombie's environment is empty, so what was killed is not found again.
fn is_marked(pid: u32, variable: &[u8]) -> bool {
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == variable))
}
