//! Open-file-description locks: they belong to the opened file, so they end with its last
//! descriptor, whoever holds it, and never by a stranger's `close`.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::check;

/// What of a file is locked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Region {
    /// All of it, whatever its length.
    Whole,
    /// One byte, which need not exist.
    Byte(u64),
}

fn describe(region: Region, kind: libc::c_int) -> io::Result<libc::flock> {
    // SAFETY: an all-zero flock is a valid value; its pid has to be 0 for these locks.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::c_short::try_from(kind).expect("lock kinds are 0 to 2");
    lock.l_whence = libc::c_short::try_from(libc::SEEK_SET).expect("SEEK_SET is 0");
    if let Region::Byte(number) = region {
        lock.l_start = libc::off_t::try_from(number).map_err(io::Error::other)?;
        lock.l_len = 1;
    }
    Ok(lock)
}

fn apply(file: impl AsFd, command: i32, mut lock: libc::flock) -> io::Result<libc::flock> {
    // SAFETY: the descriptor is open and the pointer is to a live flock.
    check(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), command, &raw mut lock) })?;
    Ok(lock)
}

/// Takes the lock if nobody has it; says whether it did. The file has to be open for writing.
pub(crate) fn try_lock(file: impl AsFd, region: Region) -> io::Result<bool> {
    match apply(file, libc::F_OFD_SETLK, describe(region, libc::F_WRLCK)?) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Takes the lock, waiting for it.
pub(crate) fn lock(file: impl AsFd, region: Region) -> io::Result<()> {
    let wanted = describe(region, libc::F_WRLCK)?;
    loop {
        match apply(file.as_fd(), libc::F_OFD_SETLKW, wanted) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(drop),
        }
    }
}

/// Gives the lock back, also when a forked process still has the descriptor.
pub(crate) fn unlock(file: impl AsFd, region: Region) -> io::Result<()> {
    apply(file, libc::F_OFD_SETLK, describe(region, libc::F_UNLCK)?).map(drop)
}

/// Whether someone else holds the lock.
pub(crate) fn is_locked(file: impl AsFd, region: Region) -> io::Result<bool> {
    let found = apply(file, libc::F_OFD_GETLK, describe(region, libc::F_WRLCK)?)?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}
