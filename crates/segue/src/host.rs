//! Which program serves as the supervisor: this one, or the `segue` that is installed.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use segue_engine::Launch;

/// What asks the network for the checks of a run: this crate alone sees both ends.
pub(crate) const GET: segue_attempt::Get = |url, limit| Box::pin(segue_outbound::get(url, limit));

static HOOKED: AtomicBool = AtomicBool::new(false);

static NAMED: OnceLock<PathBuf> = OnceLock::new();

/// To be called first in `main` by a program that runs workflows, so that its own binary can
/// serve as the supervisor. If this process was started as one, it serves and never returns.
pub fn main_hook() {
    segue_supervisor::main_hook();
    HOOKED.store(true, Ordering::Relaxed);
}

/// Names the `segue` that is to serve as the supervisor, in place of `SEGUE_BIN` and `PATH`: for
/// programs whose `main` is not their own, such as tests. The first call counts; says whether
/// this was it.
pub fn use_supervisor(program: impl Into<PathBuf>) -> bool {
    NAMED.set(program.into()).is_ok()
}

/// There is no program that could serve as the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSupervisor {
    /// Nothing was named, and nothing found.
    #[error(
        "no supervisor: call `segue::main_hook()` first in `main`, or put `segue` on PATH, or \
         name it by SEGUE_BIN"
    )]
    Nowhere,
    /// What `SEGUE_BIN` names cannot be it; what is on PATH is not asked then.
    #[error("no supervisor: SEGUE_BIN names `{}`, which is no program", path.display())]
    NoProgram {
        /// What it names.
        path: PathBuf,
    },
}

/// What to launch as the supervisor: this very program if its `main` called [`main_hook`], else
/// the `segue` that [`use_supervisor`] or `SEGUE_BIN` names, else the one on `PATH`.
///
/// # Errors
/// [`NoSupervisor::Nowhere`] names these three ways, [`NoSupervisor::NoProgram`] a wrong
/// `SEGUE_BIN`.
pub fn supervisor() -> Result<Launch, NoSupervisor> {
    if HOOKED.load(Ordering::Relaxed) {
        return Ok(Launch { program: None });
    }
    let named = NAMED.get().map(OsString::from).or_else(|| env::var_os("SEGUE_BIN"));
    let program = found(named, &env::var_os("PATH").unwrap_or_default())?;
    Ok(Launch { program: Some(program) })
}

/// 64 random bits, for names that must not collide.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds each of these from the system's randomness.
    let state = std::collections::hash_map::RandomState::new();
    state.build_hasher().finish()
}

fn found(named: Option<OsString>, path: &OsStr) -> Result<PathBuf, NoSupervisor> {
    if let Some(named) = named.filter(|named| !named.is_empty()).map(PathBuf::from) {
        return if is_program(&named) {
            Ok(named)
        } else {
            Err(NoSupervisor::NoProgram { path: named })
        };
    }
    let mut programs = env::split_paths(path).map(|dir| dir.join("segue"));
    programs.find(|path| is_program(path)).ok_or(NoSupervisor::Nowhere)
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_not_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().as_os_str();
        assert_eq!(found(None, path), Err(NoSupervisor::Nowhere));
        let shell = PathBuf::from("/bin/sh");
        let on_path = folder.path().join("segue");
        std::os::unix::fs::symlink(&shell, &on_path).expect("room");
        assert_eq!(found(Some(OsString::new()), path), Ok(on_path));
        assert_eq!(found(Some("/bin/sh".into()), path), Ok(shell));
        let wrong = PathBuf::from("/no/such/program");
        let error = found(Some(wrong.clone().into()), path);
        assert_eq!(error, Err(NoSupervisor::NoProgram { path: wrong }));
    }
}
