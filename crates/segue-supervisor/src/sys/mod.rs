//! What this crate asks of the kernel, behind safe functions: the only `unsafe` in Segue.
//!
//! Each function is one system call or one short sequence that is useless in parts. It owns no
//! policy: what to start, when to stop and what to record is decided by its callers.

mod fd;
mod file;
mod launch;
mod lock;
mod process;
mod signal;
mod spawn;

pub(crate) use fd::{
    Epoll, Interest, bytes_waiting, close_all_but, grow_pipe, inherited_socket, memory_file, pipe,
    poll, pseudo_terminal, splice,
};
pub(crate) use file::may_write;
pub(crate) use launch::hand_over_in_own_session;
pub(crate) use lock::{Region, is_locked, lock, try_lock, unlock};
pub(crate) use process::{
    Forked, PidFd, Waited, exit, fork, kill, kill_group, name_process, parent_pid,
    reap_orphans_here, wait_any, wait_for, wait_for_if_ended,
};
pub(crate) use signal::{Signal, SignalFd, block_all_signals};
pub(crate) use spawn::{Command, ExecError, Spawner, Stage};

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since boot, suspends included.
pub(crate) fn boottime_ms() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec, which the call fills.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds * 1000 + nanos / 1_000_000
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Kernel clock ticks a second, the unit of `/proc/<pid>/stat`.
pub(crate) fn ticks_per_second() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0).unwrap_or(100)
}

/// The result of a call that answers -1 for an error.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The result of a call that answers a byte count or -1.
fn check_size(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
