//! Open-file-description locks behind one interface: held by an open file, not by a process,
//! so that two handles of one process exclude each other and a fork shares them.
//!
//! Elsewhere than on Linux the whole file is locked by `flock`, which is enough to develop.

use std::fs::File;
use std::io;

/// Which bytes of a file a lock covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// All of it, however long it grows.
    Whole,
    /// One byte, which need not exist.
    Byte(u64),
}

/// Takes the write lock on all of `file`, or says `false` if another handle has it.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    imp::try_lock(file)
}

/// Takes the write lock on all of `file`; waits for it.
pub(crate) fn lock(file: &File) -> io::Result<()> {
    imp::lock(file)
}

/// Whether another handle holds a lock on `range` of `file`.
pub(crate) fn is_locked(file: &File, range: Range) -> io::Result<bool> {
    imp::is_locked(file, range)
}

#[cfg(target_os = "linux")]
mod imp {
    use std::fs::File;
    use std::io;

    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    use super::Range;

    fn request(range: Range) -> io::Result<libc::flock> {
        let (start, length) = match range {
            Range::Whole => (0, 0),
            Range::Byte(at) => (at, 1),
        };
        let start = libc::off_t::try_from(start).map_err(io::Error::other)?;
        Ok(libc::flock {
            l_type: libc::c_short::try_from(libc::F_WRLCK).map_err(io::Error::other)?,
            l_whence: libc::c_short::try_from(libc::SEEK_SET).map_err(io::Error::other)?,
            l_start: start,
            l_len: length,
            l_pid: 0,
        })
    }

    pub(super) fn try_lock(file: &File) -> io::Result<bool> {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&request(Range::Whole)?)) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    pub(super) fn lock(file: &File) -> io::Result<()> {
        let wanted = request(Range::Whole)?;
        loop {
            match fcntl(file, FcntlArg::F_OFD_SETLKW(&wanted)) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    pub(super) fn is_locked(file: &File, range: Range) -> io::Result<bool> {
        let mut found = request(range)?;
        fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
        Ok(i32::from(found.l_type) != libc::F_UNLCK)
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::fs::{File, TryLockError};
    use std::io;

    use super::Range;

    pub(super) fn try_lock(file: &File) -> io::Result<bool> {
        match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(source)) => Err(source),
        }
    }

    pub(super) fn lock(file: &File) -> io::Result<()> {
        file.lock()
    }

    pub(super) fn is_locked(file: &File, range: Range) -> io::Result<bool> {
        if range != Range::Whole {
            return Ok(false);
        }
        let free = try_lock(file)?;
        if free {
            file.unlock()?;
        }
        Ok(!free)
    }
}
