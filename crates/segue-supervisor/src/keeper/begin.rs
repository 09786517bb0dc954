//! The first half of an attempt: the number locked, `spawning` recorded, the program started.
//!
//! Knows nothing of what comes after.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use super::Keeper;
use super::output::{Keep, Stream};
use super::program::{self, Descriptors, Failure};
use crate::cgroup::{Bounds, Group};
use crate::mask::Masker;
use crate::records;
use crate::request::{Start, Stdin};
use crate::sys::{self, Command, ExecError, Region, Spawner, Stage};

/// Locks the number and records that it may run; the error is for the engine to read, and
/// nothing was recorded. `None`: the supervisor is gone, so that an adopter may already have read
/// that this number never started.
pub(super) fn begin(keeper: &Keeper, start: &Start) -> Result<Option<File>, String> {
    start.check().map_err(|error| error.to_string())?;
    let path = records::path(&start.run_dir);
    let failed = |error| format!("failed to record the start in `{}`: {error}", path.display());
    let file = records::open(&start.run_dir).map_err(failed)?;
    if !sys::try_lock(&file, Region::Byte(start.number)).map_err(failed)? {
        return Err(format!("attempt number {} is running already", start.number));
    }
    // After the lock: an adopter kills the supervisor first and then looks at locks, so either it
    // sees ours or we see its deed.
    if sys::parent_pid() != keeper.supervisor_pid {
        return Ok(None);
    }
    let record = records::Spawning {
        number: start.number,
        label: start.label.clone(),
        keeper_pid: std::process::id(),
        keeper_started_ticks: keeper.started_ticks,
        boot: keeper.boot.clone(),
        token: start.token.clone(),
        at_unix_ms: sys::unix_ms(),
    };
    records::append_spawning(&file, &record).map_err(failed)?;
    Ok(Some(file))
}

/// What a started program comes with.
pub(super) struct Spawned {
    pub(super) stdout: Stream,
    pub(super) stderr: Stream,
    /// Master and terminal; holding the terminal keeps the master from hanging up.
    pub(super) terminal: Option<(File, OwnedFd)>,
    pub(super) program: u32,
    /// Its control group, and which of its limits that holds.
    pub(super) group: Option<(Group, Bounds)>,
}

/// Makes the pipes and what stdin is, and starts the program between them.
pub(super) fn spawn(keeper: &mut Keeper, start: &Start) -> Result<Spawned, Failure> {
    let io = |error: std::io::Error| Failure::other(format!("failed to start: {error}"));
    let keep = match start.limits.output_bytes_max {
        Some(bytes_max) => Keep::Ends { bytes_max },
        None => Keep::All,
    };
    let keep_stdout = match start.limits.stdout_bytes_stop {
        Some(bytes_max) => Keep::Head { bytes_max },
        None => keep,
    };
    let stream = |name: &str, keep| {
        Stream::new(start.attempt_dir.join(name), keep, Masker::new(&start.secrets))
    };
    let stdout = stream("stdout.log", keep_stdout).map_err(io)?;
    let stderr = stream("stderr.log", keep).map_err(io)?;
    let mut terminal = None;
    let mut memory = None;
    match &start.stdin {
        Stdin::Null => {}
        Stdin::Bytes(bytes) => memory = Some(sys::memory_file(bytes).map_err(io)?),
        Stdin::Pty => terminal = Some(sys::pseudo_terminal().map_err(io)?),
    }
    let stdin = terminal.as_ref().map(|(_, terminal)| terminal).or(memory.as_ref());
    let descriptors = Descriptors {
        stdin: stdin.map(AsFd::as_fd),
        stdout: stdout.writer(),
        stderr: stderr.writer(),
        terminal: terminal.is_some(),
    };
    let command = program::command(start, descriptors)?;
    let bounds = Bounds {
        memory_bytes_max: start.limits.memory_bytes_max,
        cpu_millis_max: start.limits.cpu_millis_max,
    };
    let wanted = (bounds != Bounds::default()).then(|| Group::make(start.number, bounds));
    let spawned = spawn_within(&mut keeper.spawner, &command, wanted.flatten());
    let (program, group) = spawned.map_err(|error| program::explain(start, &error))?;
    let terminal = terminal.map(|(master, terminal)| (File::from(master), terminal));
    Ok(Spawned { stdout, stderr, terminal, program, group })
}

/// Starts the program in its group, or without one if it cannot join that.
fn spawn_within(
    spawner: &mut Spawner,
    command: &Command<'_>,
    group: Option<(Group, Bounds)>,
) -> Result<(u32, Option<(Group, Bounds)>), ExecError> {
    let Some((group, held)) = group else {
        return Ok((spawner.spawn(command)?, None));
    };
    let door = group.door();
    let joining = Command { group: door.as_ref().ok().map(AsFd::as_fd), ..command.clone() };
    match spawner.spawn(&joining) {
        Ok(program) if door.is_ok() => Ok((program, Some((group, held)))),
        Ok(program) => {
            group.remove();
            Ok((program, None))
        }
        Err(ExecError { stage: Stage::Group, .. }) => {
            group.remove();
            Ok((spawner.spawn(command)?, None))
        }
        Err(error) => {
            group.remove();
            Err(error)
        }
    }
}
