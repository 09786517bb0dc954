//! Waiting for files to change, without polling: for whoever follows a run.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// A watch over folders: readable when a file in one of them was written, made or moved in.
#[derive(Debug)]
pub struct Changes(Inotify);

impl Changes {
    /// A watch over nothing yet.
    ///
    /// # Errors
    /// If the kernel gives no watch.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?))
    }

    /// Watches `folder` too. Adding it again changes nothing.
    ///
    /// # Errors
    /// If the folder cannot be watched.
    pub fn add(&self, folder: &Path) -> io::Result<()> {
        let flags = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CLOSE_WRITE;
        self.0.add_watch(folder, flags)?;
        Ok(())
    }

    /// Watches one file that exists, for writes only.
    pub(crate) fn add_file(&self, file: &Path) -> io::Result<()> {
        self.0.add_watch(file, AddWatchFlags::IN_MODIFY)?;
        Ok(())
    }

    /// Forgets the changes so far.
    pub fn clear(&self) {
        while self.0.read_events().is_ok_and(|events| !events.is_empty()) {}
    }

    /// Waits for a change, at most `patience`, and forgets it.
    pub fn wait(&self, patience: Duration) {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        // An interrupted wait is a short one.
        let _ = poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout);
        self.clear();
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Changes {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
