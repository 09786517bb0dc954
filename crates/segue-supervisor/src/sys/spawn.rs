//! Starting a program: a child that shares the keeper's memory until it has become the program.
//!
//! `clone(CLONE_VM | CLONE_VFORK)` costs no copy of page tables, suspends the keeper until the
//! program runs, and lets the child leave the reason of a failure in memory both see: no pipe and
//! no round trip. In the child nothing allocates and nothing unwinds; everything it needs was put
//! together before.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::{null, read_volatile, write_volatile};

use super::{check, wait_for};

const STACK_BYTES: usize = 64 << 10;

/// A program with everything around it, as the kernel wants it.
#[derive(Clone, Debug)]
pub(crate) struct Command<'a> {
    pub(crate) argv: Vec<CString>,
    /// Where the program may be, tried in order.
    pub(crate) candidates: Vec<CString>,
    pub(crate) env: Vec<CString>,
    pub(crate) cwd: CString,
    /// `None`: descriptor 0 as it is.
    pub(crate) stdin: Option<BorrowedFd<'a>>,
    pub(crate) stdout: BorrowedFd<'a>,
    pub(crate) stderr: BorrowedFd<'a>,
    /// Standard input is a terminal, which becomes the controlling one.
    pub(crate) terminal: bool,
    /// The `cgroup.procs` of the control group that it joins.
    pub(crate) group: Option<BorrowedFd<'a>>,
}

/// How far a start came before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Joining its control group.
    Group,
    /// Before or at the making of the process, or setting up its descriptors.
    Setup,
    /// Entering the working directory.
    Directory,
    /// Becoming the program.
    Program,
}

/// Why a program did not start.
#[derive(Debug)]
pub(crate) struct ExecError {
    pub(crate) stage: Stage,
    pub(crate) error: io::Error,
}

/// What the child reads, and the two numbers it writes.
struct Shared {
    keeper: libc::pid_t,
    stdin: RawFd,
    stdout: RawFd,
    stderr: RawFd,
    terminal: bool,
    group: RawFd,
    cwd: *const libc::c_char,
    candidates: *const *const libc::c_char,
    /// One free place, then the arguments: a script without a first line `#!` is run by `sh`.
    argv: *mut *const libc::c_char,
    env: *const *const libc::c_char,
    mask: libc::sigset_t,
    failed_stage: i32,
    failed_errno: i32,
}

/// Starts programs; keeps the stack their children briefly stand on.
#[derive(Debug)]
pub(crate) struct Spawner {
    stack: Vec<u128>,
}

impl Spawner {
    pub(crate) fn new() -> Self {
        Self { stack: vec![0; STACK_BYTES / size_of::<u128>()] }
    }

    /// Starts the program and returns its process once it is the program.
    ///
    /// The child leads a session, is killed when this process ends, and has no signal blocked.
    pub(crate) fn spawn(&mut self, command: &Command<'_>) -> Result<u32, ExecError> {
        let mut argv = pointers(&command.argv);
        argv.insert(0, null());
        let candidates = pointers(&command.candidates);
        let env = pointers(&command.env);
        let mut shared = Shared {
            keeper: std::process::id().cast_signed(),
            stdin: command.stdin.map_or(-1, |fd| fd.as_raw_fd()),
            stdout: command.stdout.as_raw_fd(),
            stderr: command.stderr.as_raw_fd(),
            terminal: command.terminal,
            group: command.group.map_or(-1, |fd| fd.as_raw_fd()),
            cwd: command.cwd.as_ptr(),
            candidates: candidates.as_ptr(),
            argv: argv.as_mut_ptr(),
            env: env.as_ptr(),
            // SAFETY: an all-zero set is a valid, empty one.
            mask: unsafe { std::mem::zeroed() },
            failed_stage: 0,
            failed_errno: 0,
        };
        let shared_at = &raw mut shared;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the stack grows down from its aligned end and is used by nobody else; all
        // signals are blocked, so no handler runs on it; `shared` and all it points to outlive
        // the call, for CLONE_VFORK returns only after the child has called exec or _exit.
        let child = check(unsafe {
            let top = self.stack.as_mut_ptr().add(self.stack.len());
            libc::clone(become_program, top.cast(), flags, shared_at.cast())
        });
        let child = child.map_err(|error| ExecError { stage: Stage::Setup, error })?;
        let child = child.unsigned_abs();
        // SAFETY: `shared_at` points to a live local; volatile, as another process wrote there.
        let (stage, errno) = unsafe {
            let stage = read_volatile(&raw const (*shared_at).failed_stage);
            (stage, read_volatile(&raw const (*shared_at).failed_errno))
        };
        let stage = match stage {
            0 => return Ok(child),
            GROUP => Stage::Group,
            DIRECTORY => Stage::Directory,
            PROGRAM => Stage::Program,
            _ => Stage::Setup,
        };
        wait_for(child);
        Err(ExecError { stage, error: io::Error::from_raw_os_error(errno) })
    }
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([null()]).collect()
}

const SETUP: i32 = 1;
const DIRECTORY: i32 = 2;
const PROGRAM: i32 = 3;
const GROUP: i32 = 4;

extern "C" fn become_program(shared: *mut libc::c_void) -> libc::c_int {
    let shared: *mut Shared = shared.cast();
    // SAFETY: `spawn` passed a pointer to its live `Shared` and waits.
    let (stage, errno) = unsafe { try_become(&mut *shared) };
    // SAFETY: as above; volatile, as the other process reads it.
    unsafe {
        write_volatile(&raw mut (*shared).failed_errno, errno);
        write_volatile(&raw mut (*shared).failed_stage, stage);
        libc::_exit(127)
    }
}

/// Comes back only with the stage and number of an error.
///
/// # Safety
/// Runs in the child of `spawn`, with pointers to terminated strings and null-terminated lists.
unsafe fn try_become(shared: &mut Shared) -> (i32, i32) {
    // SAFETY: system calls on integers and on the strings the caller vouches for; none of them
    // allocates or takes a lock.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        // The keeper may have died before that took effect.
        if libc::getppid() != shared.keeper {
            return (SETUP, libc::ESRCH);
        }
        // Before anything else: whatever it does from here on is counted there. 0 is the writer.
        if shared.group >= 0 && libc::write(shared.group, c"0".as_ptr().cast(), 1) != 1 {
            return (GROUP, errno());
        }
        if libc::setsid() == -1 {
            return (SETUP, errno());
        }
        for (from, to) in [(shared.stdin, 0), (shared.stdout, 1), (shared.stderr, 2)] {
            if from >= 0 && libc::dup2(from, to) == -1 {
                return (SETUP, errno());
            }
        }
        if shared.terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) == -1 {
            return (SETUP, errno());
        }
        if libc::chdir(shared.cwd) == -1 {
            return (DIRECTORY, errno());
        }
        libc::sigprocmask(libc::SIG_SETMASK, &raw const shared.mask, std::ptr::null_mut());
        (PROGRAM, exec_first(shared))
    }
}

/// Tries each place the program may be, as `execvp` does; comes back with the telling error.
///
/// # Safety
/// As for `try_become`.
unsafe fn exec_first(shared: &mut Shared) -> i32 {
    let mut telling = libc::ENOENT;
    let mut candidates = shared.candidates;
    // SAFETY: the lists end with a null pointer; `argv` has a free place in front.
    unsafe {
        while !(*candidates).is_null() {
            libc::execve(*candidates, shared.argv.add(1), shared.env);
            match errno() {
                libc::ENOEXEC => {
                    *shared.argv = c"sh".as_ptr();
                    *shared.argv.add(1) = *candidates;
                    libc::execve(c"/bin/sh".as_ptr(), shared.argv, shared.env);
                    return errno();
                }
                libc::EACCES => telling = libc::EACCES,
                libc::ENOENT | libc::ENOTDIR => {}
                other => return other,
            }
            candidates = candidates.add(1);
        }
    }
    telling
}

fn errno() -> i32 {
    // SAFETY: the C library's own pointer to this thread's errno.
    unsafe { *libc::__errno_location() }
}
