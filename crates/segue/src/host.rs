//! Which program serves as the supervisor: this one, or the `segue` that is installed.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use segue_engine::Launch;

static HOOKED: AtomicBool = AtomicBool::new(false);

/// To be called first in `main` by a program that runs workflows, so that its own binary can
/// serve as the supervisor. If this process was started as one, it serves and never returns.
pub fn main_hook() {
    segue_supervisor::main_hook();
    HOOKED.store(true, Ordering::Relaxed);
}

/// There is no program that could serve as the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no supervisor: call `segue::main_hook()` first in `main`, or put `segue` on PATH, or name it \
     by SEGUE_BIN"
)]
pub struct NoSupervisor;

/// What to launch as the supervisor: this very program if its `main` called [`main_hook`], else
/// the `segue` that `SEGUE_BIN` names, else the one on `PATH`.
///
/// # Errors
/// [`NoSupervisor`] names these three ways.
pub fn supervisor() -> Result<Launch, NoSupervisor> {
    if HOOKED.load(Ordering::Relaxed) {
        return Ok(Launch { program: None });
    }
    let named = env::var_os("SEGUE_BIN").map(PathBuf::from).filter(|path| path.is_file());
    let path = env::var_os("PATH").unwrap_or_default();
    let found = || env::split_paths(&path).map(|dir| dir.join("segue")).find(|p| is_program(p));
    let program = named.or_else(found).ok_or(NoSupervisor)?;
    Ok(Launch { program: Some(program) })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
