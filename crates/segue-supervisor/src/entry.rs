//! How a process becomes a supervisor: what the client starts, and what `main` checks first.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::client::arguments;
use crate::supervisor;
use crate::sys;

/// The first call of `main` in a program that hosts an engine: if this process was started as a
/// supervisor, it serves as one and never returns; otherwise nothing happens.
///
/// It costs a look at the arguments. Nothing may run before it: threads and open files of the
/// host have no place in a fork server.
pub fn main_hook() {
    if let Some(descriptor) = requested_descriptor() {
        let code = match serve(descriptor) {
            Ok(()) => 0,
            // Nobody reads this process's stderr; the engine sees the socket close.
            Err(_) => 70,
        };
        sys::exit(code);
    }
}

/// Whether this process ought to be a supervisor by its arguments.
pub(crate) fn was_started_as_supervisor() -> bool {
    requested_descriptor().is_some()
}

fn requested_descriptor() -> Option<RawFd> {
    let given: Vec<OsString> = std::env::args_os().skip(1).take(4).collect();
    let [_, _, descriptor] = given.as_slice() else { return None };
    let descriptor: RawFd = descriptor.to_str()?.parse().ok()?;
    (given == arguments(descriptor)).then_some(descriptor)
}

/// Starts `program` as a supervisor that talks through `theirs`.
pub(crate) fn start(program: &Path, theirs: UnixStream) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .arg0("segue-supervisor")
        .args(arguments(theirs.as_raw_fd()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    sys::hand_over_in_own_session(&mut command, theirs);
    // The command owns `theirs`: it is closed here when both go out of scope.
    command.spawn()
}

fn serve(descriptor: RawFd) -> io::Result<()> {
    let socket = UnixStream::from(sys::inherited_socket(descriptor)?);
    sys::close_all_but(descriptor);
    std::env::set_current_dir("/")?;
    sys::block_all_signals()?;
    sys::reap_orphans_here()?;
    sys::name_process(c"segue-supervise");
    supervisor::run(socket)
}
