//! Starting a supervisor from a program that may have threads.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets the command's process inherit this descriptor, under the number it has, and lead a session
/// of its own, so that a Ctrl-C at the engine's terminal does not reach it.
pub(crate) fn hand_over_in_own_session(command: &mut Command, descriptor: impl Into<OwnedFd>) {
    let descriptor: OwnedFd = descriptor.into();
    let in_child = move || {
        // SAFETY: system calls on integers only, allowed between fork and exec.
        unsafe {
            if libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFD, 0) == -1 {
                return Err(std::io::Error::last_os_error());
            }
            libc::setsid();
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(in_child) };
}
