//! Descriptors: pipes, memory files, terminals, waiting for readiness. All close on exec.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{check, check_size};

/// Takes ownership of a descriptor that a system call or a parent process just handed over.
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller got `fd` from the kernel a moment ago and keeps no other owner of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The descriptor of that number which this process inherited, if it is a socket.
pub(crate) fn inherited_socket(number: RawFd) -> io::Result<OwnedFd> {
    let mut kind: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of_val(&kind)).expect("4 fits");
    // SAFETY: both pointers are to live locals of the sizes the option wants.
    check(unsafe {
        libc::getsockopt(
            number,
            libc::SOL_SOCKET,
            libc::SO_TYPE,
            (&raw mut kind).cast(),
            &raw mut length,
        )
    })?;
    // SAFETY: fcntl on a number that is an open descriptor, as getsockopt just showed.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(own(number))
}

/// Closes every descriptor from 3 on but this one.
///
/// Only where nobody else in this process owns a descriptor: right after exec, or after a fork
/// whose child has left everything behind that its parent owned.
pub(crate) fn close_all_but(kept: RawFd) {
    let Some(kept) = u32::try_from(kept).ok().filter(|kept| *kept > 2) else { return };
    // SAFETY: the caller vouches that no owner of these descriptors is used or dropped any more.
    unsafe {
        if kept > 3 {
            libc::close_range(3, kept - 1, 0);
        }
        libc::close_range(kept + 1, u32::MAX, 0);
    }
}

/// A pipe: its reading end and its writing end.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for the two numbers.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((own(ends[0]), own(ends[1])))
}

/// A memory file with this content, read from its start, sealed against change.
pub(crate) fn memory_file(content: &[u8]) -> io::Result<OwnedFd> {
    use std::os::unix::fs::FileExt;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a terminated literal.
    let fd = own(check(unsafe { libc::memfd_create(c"segue-stdin".as_ptr(), flags) })?);
    let file = File::from(fd);
    // Written by position, so that the offset the program inherits stays 0.
    file.write_all_at(content, 0)?;
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: fcntl on an open descriptor with an integer argument.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(OwnedFd::from(file))
}

/// A pseudo-terminal without echo: the master, which never waits, and the terminal.
///
/// What was written to the terminal reaches the master a moment later, by a thread of the kernel:
/// only a read that answers `WouldBlock` says that nothing is on its way.
pub(crate) fn pseudo_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: posix_openpt has no preconditions.
    let master = own(check(unsafe { libc::posix_openpt(flags | libc::O_NONBLOCK) })?);
    let unlocked: libc::c_int = 0;
    // SAFETY: the pointer is to a live integer, as the request wants.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })?;
    // SAFETY: the request takes open flags as an integer and answers a new descriptor.
    let terminal =
        own(check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?);
    // SAFETY: an all-zero termios is a valid value to be filled in.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is a terminal and the pointer is to a live termios.
    check(unsafe { libc::tcgetattr(terminal.as_raw_fd(), &raw mut settings) })?;
    settings.c_lflag &= !libc::ECHO;
    // SAFETY: as above, read only.
    check(unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const settings) })?;
    Ok((master, terminal))
}

/// How many bytes a read would give at once.
pub(crate) fn bytes_waiting(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the pointer is to a live integer, as the request wants.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Asks for a larger pipe; the kernel may refuse, which changes nothing but speed.
pub(crate) fn grow_pipe(fd: BorrowedFd<'_>, bytes: libc::c_int) {
    // SAFETY: fcntl on an open descriptor with an integer argument.
    let _ = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) };
}

/// Moves bytes from a pipe to a position of a file; 0 or `WouldBlock` when the pipe is empty.
pub(crate) fn splice(
    pipe: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    bytes_max: usize,
) -> io::Result<usize> {
    let mut position = libc::loff_t::try_from(offset).map_err(io::Error::other)?;
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    // SAFETY: both descriptors are open, the pointer is to a live offset, the pipe takes none.
    check_size(unsafe {
        libc::splice(
            pipe.as_raw_fd(),
            std::ptr::null_mut(),
            file.as_raw_fd(),
            &raw mut position,
            bytes_max,
            flags,
        )
    })
}

/// What one descriptor is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interest<'a> {
    pub(crate) fd: BorrowedFd<'a>,
    pub(crate) writable: bool,
}

/// What a descriptor is ready for; a hang-up or an error counts as readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

impl Readiness {
    fn of(events: i32) -> Self {
        let readable = i32::from(libc::POLLIN | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL);
        Self { readable: events & readable != 0, writable: events & i32::from(libc::POLLOUT) != 0 }
    }
}

/// Waits for one of a few descriptors, at most `timeout_ms`; `None` waits as long as it takes.
pub(crate) fn poll<const N: usize>(
    interests: [Option<Interest<'_>>; N],
    timeout_ms: Option<u64>,
) -> io::Result<[Readiness; N]> {
    let mut polled = interests.map(|interest| libc::pollfd {
        // A negative number is skipped by the kernel.
        fd: interest.map_or(-1, |interest| interest.fd.as_raw_fd()),
        events: match interest {
            Some(Interest { writable: true, .. }) => libc::POLLIN | libc::POLLOUT,
            _ => libc::POLLIN,
        },
        revents: 0,
    });
    let timeout = timeout_ms.map_or(-1, |ms| i32::try_from(ms).unwrap_or(i32::MAX));
    let count = libc::nfds_t::try_from(N).expect("a few descriptors");
    // SAFETY: the pointer is to `N` live entries.
    match check(unsafe { libc::poll(polled.as_mut_ptr(), count, timeout) }) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
        _ => {}
    }
    Ok(polled.map(|entry| Readiness::of(i32::from(entry.revents))))
}

/// Waits for many descriptors, each known by a token.
#[derive(Debug)]
pub(crate) struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: epoll_create1 has no preconditions.
        Ok(Self { fd: own(check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?) })
    }

    fn control(&self, operation: i32, fd: BorrowedFd<'_>, events: i32, token: u64) {
        let events = events.unsigned_abs();
        let mut event = libc::epoll_event { events, u64: token };
        let epoll = self.fd.as_raw_fd();
        // SAFETY: both descriptors are open and the pointer is to a live event.
        let result =
            check(unsafe { libc::epoll_ctl(epoll, operation, fd.as_raw_fd(), &raw mut event) });
        debug_assert!(result.is_ok(), "epoll_ctl {operation}: {result:?}");
    }

    /// Waits for `fd` to become readable.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64) {
        self.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN, token);
    }

    /// Waits for `fd` to become readable, or also writable.
    pub(crate) fn set(&self, fd: BorrowedFd<'_>, token: u64, writable: bool) {
        let events = if writable { libc::EPOLLIN | libc::EPOLLOUT } else { libc::EPOLLIN };
        self.control(libc::EPOLL_CTL_MOD, fd, events, token);
    }

    /// Waits for `fd` no more; before it is closed, or a duplicate keeps the entry alive.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    /// What is ready, at most `timeout_ms` later; `None` waits as long as it takes.
    pub(crate) fn wait(&self, timeout_ms: Option<u64>) -> io::Result<Vec<(u64, Readiness)>> {
        const BATCH: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        let timeout = timeout_ms.map_or(-1, |ms| i32::try_from(ms).unwrap_or(i32::MAX));
        let room = i32::try_from(BATCH).expect("64 fits");
        // SAFETY: the pointer is to `BATCH` live entries.
        let ready = check(unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), room, timeout)
        });
        let ready = match ready {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => usize::try_from(other?).unwrap_or(0),
        };
        let events = events.into_iter().take(ready);
        Ok(events.map(|e| (e.u64, Readiness::of(e.events.cast_signed()))).collect())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
