//! From a start to what `exec` takes, and from its errors to what a person can act on.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use crate::report::SpawnFailure;
use crate::request::Start;
use crate::sys::{Command, ExecError, Stage};

/// Where a program is looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Why a program did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: SpawnFailure,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn other(message: impl Into<String>) -> Self {
        Self { kind: SpawnFailure::Other, message: message.into() }
    }
}

/// The descriptors a program is started with.
pub(super) struct Descriptors<'a> {
    pub(super) stdin: Option<BorrowedFd<'a>>,
    pub(super) stdout: BorrowedFd<'a>,
    pub(super) stderr: BorrowedFd<'a>,
    pub(super) terminal: bool,
}

/// Puts together what the kernel takes.
pub(super) fn command<'a>(
    start: &Start,
    descriptors: Descriptors<'a>,
) -> Result<Command<'a>, Failure> {
    let argv: Result<Vec<CString>, Failure> =
        start.argv.iter().map(|argument| terminated("an argument", argument)).collect();
    let env: Result<Vec<CString>, Failure> = start.env.iter().map(variable).collect();
    Ok(Command {
        argv: argv?,
        candidates: candidates(start)?,
        env: env?,
        cwd: terminated("the working directory", start.cwd.as_os_str())?,
        stdin: descriptors.stdin,
        stdout: descriptors.stdout,
        stderr: descriptors.stderr,
        terminal: descriptors.terminal,
        group: None,
    })
}

fn terminated(what: &str, text: &OsStr) -> Result<CString, Failure> {
    CString::new(text.as_bytes())
        .map_err(|_| Failure::other(format!("{what} contains a NUL byte: {}", text.display())))
}

fn variable((name, value): &(OsString, OsString)) -> Result<CString, Failure> {
    if name.is_empty() || name.as_bytes().contains(&b'=') {
        let message = format!("`{}` is not the name of a variable", name.display());
        return Err(Failure::other(message));
    }
    let text = [name.as_bytes(), b"=", value.as_bytes()].concat();
    // The value may be a secret: only the name is told.
    CString::new(text)
        .map_err(|_| Failure::other(format!("variable `{}` contains a NUL byte", name.display())))
}

fn program(start: &Start) -> &OsStr {
    start.argv.first().map_or(OsStr::new(""), OsString::as_os_str)
}

/// The program as given if it has a slash, else its name in every folder of the given `PATH`.
fn candidates(start: &Start) -> Result<Vec<CString>, Failure> {
    let name = program(start);
    if name.is_empty() || name.as_bytes().contains(&b'/') {
        return Ok(vec![terminated("the program", name)?]);
    }
    let folders = search_path(start);
    let places = folders.as_bytes().split(|byte| *byte == b':').map(|folder| {
        // An empty entry is the working directory, as everywhere in Unix.
        let folder = if folder.is_empty() { b"." } else { folder };
        terminated("PATH", OsStr::from_bytes(&[folder, b"/", name.as_bytes()].concat()))
    });
    places.collect()
}

fn search_path(start: &Start) -> &OsStr {
    let path = start.env.iter().rev().find(|(name, _)| name == "PATH");
    path.map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value.as_os_str())
}

/// Says what an error of a start means.
pub(super) fn explain(start: &Start, failed: &ExecError) -> Failure {
    let code = failed.error.raw_os_error().unwrap_or(0);
    let (kind, message) = match failed.stage {
        Stage::Setup | Stage::Group => {
            (SpawnFailure::Other, format!("failed to start: {}", failed.error))
        }
        Stage::Directory => explain_directory(start, code, &failed.error),
        Stage::Program => explain_program(start, code, &failed.error),
    };
    Failure { kind, message }
}

fn explain_directory(start: &Start, code: i32, error: &std::io::Error) -> (SpawnFailure, String) {
    let cwd = start.cwd.display();
    match code {
        libc::ENOENT => {
            (SpawnFailure::DirectoryNotFound, format!("working directory `{cwd}` does not exist"))
        }
        libc::ENOTDIR => (
            SpawnFailure::DirectoryNotFound,
            format!("working directory `{cwd}` is not a directory"),
        ),
        libc::EACCES => (
            SpawnFailure::PermissionDenied,
            format!("working directory `{cwd}` may not be entered"),
        ),
        _ => (SpawnFailure::Other, format!("failed to enter working directory `{cwd}`: {error}")),
    }
}

fn explain_program(start: &Start, code: i32, error: &std::io::Error) -> (SpawnFailure, String) {
    let name = program(start).display();
    match code {
        libc::ENOENT | libc::ENOTDIR => (SpawnFailure::ProgramNotFound, not_found(start)),
        libc::EACCES => {
            (SpawnFailure::PermissionDenied, format!("program `{name}` may not be executed"))
        }
        libc::E2BIG => (
            SpawnFailure::ArgumentsTooLong,
            format!("arguments and environment of `{name}` are too long for the kernel"),
        ),
        _ => (SpawnFailure::Other, format!("failed to execute program `{name}`: {error}")),
    }
}

fn not_found(start: &Start) -> String {
    let name = program(start);
    if name.as_bytes().contains(&b'/') {
        let place = start.cwd.join(name);
        return if place.exists() {
            let name = name.display();
            format!("program `{name}` exists, but not the interpreter it names")
        } else {
            format!("program `{}` does not exist", place.display())
        };
    }
    format!("program `{}` was not found in PATH `{}`", name.display(), search_path(start).display())
}
