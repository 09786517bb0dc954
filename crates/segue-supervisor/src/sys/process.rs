//! Processes: fork, wait, signal, and what makes a process a supervisor or a keeper.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Interest, check};

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forked {
    Parent { child: u32 },
    Child,
}

/// Splits this process in two. Only for a process with one thread.
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: supervisor and keepers have one thread, so no lock is left held in the child.
    let child = check(unsafe { libc::fork() })?;
    let forked = u32::try_from(child).ok().filter(|child| *child > 0);
    Ok(forked.map_or(Forked::Child, |child| Forked::Parent { child }))
}

/// Ends this process without unwinding or flushing what its parent's memory held.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Makes orphaned descendants children of this process.
pub(crate) fn reap_orphans_here() -> io::Result<()> {
    // SAFETY: prctl with integers only.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// What `ps` calls this process; at most 15 bytes.
pub(crate) fn name_process(name: &std::ffi::CStr) {
    // SAFETY: the pointer is to a terminated string, which the kernel copies.
    let _ = unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// The parent of this process, as the kernel has it now.
pub(crate) fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

fn kernel_pid(pid: u32) -> io::Result<libc::pid_t> {
    // 0 and 1 would address a group and init: never what a caller here means.
    match libc::pid_t::try_from(pid) {
        Ok(pid) if pid > 1 => Ok(pid),
        _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

/// Signals a process by number: only a child not yet waited for, whose number cannot be reused.
pub(crate) fn kill(pid: u32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes integers only.
    check(unsafe { libc::kill(kernel_pid(pid)?, signal) }).map(drop)
}

/// Signals the process group of a leader that was not yet waited for.
pub(crate) fn kill_group(leader: u32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes integers only.
    check(unsafe { libc::kill(-kernel_pid(leader)?, signal) }).map(drop)
}

/// What waiting for children without blocking found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// This process has no child: below it there is nothing.
    Empty,
    /// There are children, none of which has ended.
    Nothing,
    /// A child ended, and is gone.
    Child { pid: u32, status: i32, user_us: u64, system_us: u64, peak_kib: u64 },
}

/// Waits for any child, without blocking. `Empty` is the proof that a tree is gone.
pub(crate) fn wait_any() -> Waited {
    wait(-1, libc::WNOHANG | libc::__WALL)
}

/// Waits for one child that is about to end.
pub(crate) fn wait_for(pid: u32) {
    if let Ok(pid) = kernel_pid(pid) {
        wait(pid, libc::__WALL);
    }
}

/// Waits for one child without blocking.
pub(crate) fn wait_for_if_ended(pid: u32) -> Waited {
    kernel_pid(pid).map_or(Waited::Empty, |pid| wait(pid, libc::WNOHANG | libc::__WALL))
}

fn wait(pid: libc::pid_t, flags: libc::c_int) -> Waited {
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid value to be filled in.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals.
    match check(unsafe { libc::wait4(pid, &raw mut status, flags, &raw mut usage) }) {
        Ok(0) => Waited::Nothing,
        Ok(pid) => Waited::Child {
            pid: pid.unsigned_abs(),
            status,
            user_us: micros(usage.ru_utime),
            system_us: micros(usage.ru_stime),
            peak_kib: usage.ru_maxrss.unsigned_abs(),
        },
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Waited::Empty,
        Err(_) => Waited::Nothing,
    }
}

fn micros(time: libc::timeval) -> u64 {
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_usec.unsigned_abs()
}

/// A descriptor of a process: readable when it has ended, and never another process's.
#[derive(Debug)]
pub(crate) struct PidFd {
    fd: OwnedFd,
}

impl PidFd {
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: the call takes integers only.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, kernel_pid(pid)?, 0) };
        let fd = check(libc::c_int::try_from(fd).unwrap_or(-1))?;
        // SAFETY: the kernel just made this descriptor for us; it closes on exec.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Sends a signal, as `kill` would.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        self.send(signal, std::ptr::null())
    }

    /// Sends a signal that carries a number, as `sigqueue` would.
    pub(crate) fn signal_with(&self, signal: i32, value: i32) -> io::Result<()> {
        let info = QueuedSignal::new(signal, value);
        self.send(signal, &raw const info)
    }

    fn send(&self, signal: i32, info: *const QueuedSignal) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        // SAFETY: the descriptor is open; `info` is null or points to 128 live bytes laid out as
        // the kernel's siginfo.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, 0) };
        check(libc::c_int::try_from(result).unwrap_or(-1)).map(drop)
    }

    /// Waits for the end of the process; false if it has not ended within `timeout_ms`.
    pub(crate) fn wait_ended(&self, timeout_ms: u64) -> io::Result<bool> {
        let interest = Interest { fd: self.as_fd(), writable: false };
        let [ready] = super::poll([Some(interest)], Some(timeout_ms))?;
        Ok(ready.readable)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The kernel's `siginfo_t` of a queued signal on 64-bit Linux, `siginfo.h`.
#[repr(C)]
struct QueuedSignal {
    signal: i32,
    errno: i32,
    code: i32,
    padding: i32,
    pid: i32,
    uid: u32,
    value: i32,
    rest: [u8; 100],
}

impl QueuedSignal {
    fn new(signal: i32, value: i32) -> Self {
        let pid = std::process::id().cast_signed();
        // SAFETY: getuid has no preconditions.
        let uid = unsafe { libc::getuid() };
        let code = libc::SI_QUEUE;
        Self { signal, errno: 0, code, padding: 0, pid, uid, value, rest: [0; 100] }
    }
}
