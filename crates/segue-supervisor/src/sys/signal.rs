//! Signals as messages: everything is blocked, and what matters is read from a descriptor.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, check_size};

/// Gives every signal its default action and blocks all that can be blocked: nothing interrupts
/// this process, and what it starts needs only an empty mask.
pub(crate) fn block_all_signals() -> io::Result<()> {
    for signal in 1..=64 {
        // A child that stops is no news; one that ends is.
        let flags = if signal == libc::SIGCHLD { libc::SA_NOCLDSTOP } else { 0 };
        let action =
            KernelAction { flags: u64::from(flags.unsigned_abs()), ..KernelAction::DEFAULT };
        // SAFETY: the pointer is to a live action and the mask's size is the kernel's. The C
        // library's function would leave out its own two signals, which may be ignored, too.
        // KILL and STOP are refused, which is fine.
        unsafe {
            let none = std::ptr::null_mut::<KernelAction>();
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, none, 8);
        }
    }
    // SAFETY: an all-zero set is a valid value, which sigfillset then fills.
    let mut all: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: the pointers are to a live set; the old mask is not wanted.
    check(unsafe {
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut())
    })
    .map(drop)
}

/// The kernel's `struct sigaction` on 64-bit Linux: handler 0 is the default action.
#[repr(C)]
struct KernelAction {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

impl KernelAction {
    const DEFAULT: Self = Self { handler: 0, flags: 0, restorer: 0, mask: 0 };
}

/// One signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    pub(crate) number: i32,
    /// The number it carries when it was queued with one, else 0.
    pub(crate) value: i32,
}

/// CHLD, TERM and QUIT as a readable descriptor.
#[derive(Debug)]
pub(crate) struct SignalFd {
    fd: OwnedFd,
}

impl SignalFd {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: an all-zero set is a valid value, which sigemptyset then empties.
        let mut wanted: libc::sigset_t = unsafe { zeroed() };
        // SAFETY: the pointers are to a live set; the answer is a new descriptor.
        let fd = check(unsafe {
            libc::sigemptyset(&raw mut wanted);
            for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGQUIT] {
                libc::sigaddset(&raw mut wanted, signal);
            }
            libc::signalfd(-1, &raw const wanted, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        })?;
        // SAFETY: the kernel just made this descriptor for us.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The signals that came since the last call; at most four, as each is pending only once.
    pub(crate) fn read(&self) -> impl Iterator<Item = Signal> {
        const ROOM: usize = 4;
        // SAFETY: an all-zero siginfo is a valid value to be filled in.
        let mut infos: [libc::signalfd_siginfo; ROOM] = unsafe { zeroed() };
        // SAFETY: the pointer is to that many live bytes.
        let read = check_size(unsafe {
            libc::read(
                self.fd.as_raw_fd(),
                infos.as_mut_ptr().cast(),
                size_of::<libc::signalfd_siginfo>() * ROOM,
            )
        });
        let count = read.unwrap_or(0) / size_of::<libc::signalfd_siginfo>();
        infos.into_iter().take(count).map(|info| Signal {
            number: info.ssi_signo.cast_signed(),
            value: if info.ssi_code == libc::SI_QUEUE { info.ssi_int } else { 0 },
        })
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
