//! The engine's end: starts a supervisor and talks with it, never waiting.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;

use crate::link::Link;
use crate::report::Report;
use crate::request::Request;
use crate::wire::{Kind, PROTOCOL};
use crate::{codec, entry};

/// What to start as the supervisor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// A program whose `main` begins with [`main_hook`](crate::main_hook); `None` is this very
    /// program, also when its file has been replaced meanwhile.
    pub program: Option<PathBuf>,
}

/// Why no supervisor was started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// This process was itself started as a supervisor, but its `main` did not call the hook.
    #[error("this process was started as a supervisor, but its main does not call main_hook")]
    NoHook,
    /// No socket pair.
    #[error("failed to make a socket pair for the supervisor")]
    Socket(#[source] io::Error),
    /// The program did not start.
    #[error("failed to start supervisor `{program}`", program = program.display())]
    Program {
        /// What was to be started.
        program: PathBuf,
        /// Why it was not.
        #[source]
        source: io::Error,
    },
}

/// The engine's end of a supervisor.
///
/// All calls return at once. [`receive`](Self::receive) until it answers `None` whenever the
/// descriptor is readable, and [`flush`](Self::flush) whenever it is writable after a `send` or
/// `flush` that left something. Dropping it is what an engine's death is to the supervisor: starts
/// under way are recorded, attempts go on under `orphan_ms`, and it exits with the last of them.
#[derive(Debug)]
pub struct Client {
    link: Option<Link>,
    supervisor: Child,
    greeted: bool,
    /// Starts without an `Ended` yet: with none, dropping waits for the supervisor's exit.
    open_starts: u64,
}

impl Client {
    /// Starts a supervisor. Whether the program really becomes one is known with its first report.
    ///
    /// # Errors
    /// The program could not be started.
    pub fn launch(launch: &Launch) -> Result<Self, LaunchError> {
        if entry::was_started_as_supervisor() {
            return Err(LaunchError::NoHook);
        }
        let (ours, theirs) = UnixStream::pair().map_err(LaunchError::Socket)?;
        let link = Link::new(ours).map_err(LaunchError::Socket)?;
        let own = || PathBuf::from("/proc/self/exe");
        let program = launch.program.clone().unwrap_or_else(own);
        let supervisor = entry::start(&program, theirs)
            .map_err(|source| LaunchError::Program { program, source })?;
        Ok(Self { link: Some(link), supervisor, greeted: false, open_starts: 0 })
    }

    /// Queues a request and writes what the socket takes.
    ///
    /// # Errors
    /// `InvalidInput`: the start is faulty ([`StartError`](crate::StartError) inside) or longer
    /// than 64 MiB; nothing was queued. Anything else: the supervisor is gone, and `receive` will
    /// say so after its last reports.
    pub fn send(&mut self, request: &Request) -> io::Result<()> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        if let Request::Start(start) = request {
            start.check().map_err(|error| {
                invalid(Box::<dyn std::error::Error + Send + Sync>::from(error))
            })?;
        }
        let frame = codec::write_request(request).map_err(|error| invalid(error.into()))?;
        self.open_starts += u64::from(matches!(request, Request::Start(_)));
        self.link().send(&frame)
    }

    /// Writes what the socket takes; true when nothing is left to write.
    ///
    /// # Errors
    /// The supervisor is gone.
    pub fn flush(&mut self) -> io::Result<bool> {
        self.link().flush()
    }

    /// The next report; `None` if there is none now.
    ///
    /// # Errors
    /// `UnexpectedEof`: the supervisor is gone. Its attempts go on under their keepers; their
    /// ends are found in the records. `InvalidData`: what answers is not a supervisor of this
    /// protocol.
    pub fn receive(&mut self) -> io::Result<Option<Report>> {
        loop {
            let frame = self.link().next().map_err(invalid_data)?;
            if let Some(frame) = frame {
                if frame.kind == Kind::Hello {
                    let version = frame.fields().u32().map_err(invalid_data)?;
                    if version != PROTOCOL {
                        let message =
                            format!("supervisor speaks protocol {version}, not {PROTOCOL}");
                        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                    }
                    self.greeted = true;
                    continue;
                }
                if let Some(report) = codec::read_report(&frame).map_err(invalid_data)? {
                    let is_over = matches!(report, Report::Ended(_) | Report::StartRefused { .. });
                    self.open_starts = self.open_starts.saturating_sub(u64::from(is_over));
                    return Ok(Some(report));
                }
                continue;
            }
            if !self.link().fill() {
                if !self.link().has_ended() {
                    return Ok(None);
                }
                let message = if self.greeted {
                    "the supervisor is gone"
                } else {
                    "the program did not become a supervisor; its main has to call main_hook first"
                };
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
        }
    }

    /// The supervisor's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.supervisor.id()
    }

    fn link(&mut self) -> &mut Link {
        self.link.as_mut().expect("taken only when dropped")
    }
}

fn invalid_data(error: crate::wire::Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_ref().expect("taken only when dropped").as_fd()
    }
}

impl AsRawFd for Client {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Client {
    /// Closes the socket. An idle supervisor exits within a millisecond or two and is waited for;
    /// one with attempts goes on, to be reaped with this process.
    fn drop(&mut self) {
        const EXIT_PATIENCE_MS: u64 = 200;
        self.link = None;
        if self.open_starts == 0
            && let Ok(handle) = crate::sys::PidFd::open(self.supervisor.id())
        {
            let _ = handle.wait_ended(EXIT_PATIENCE_MS);
        }
        let _ = self.supervisor.try_wait();
    }
}

/// Arguments by which a program knows that it was started as a supervisor.
pub(crate) fn arguments(descriptor: RawFd) -> [OsString; 3] {
    ["--segue-supervisor".into(), PROTOCOL.to_string().into(), descriptor.to_string().into()]
}
