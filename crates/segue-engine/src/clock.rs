//! Time for the loop: wall time that never goes back, and one timer that a suspend does not stop.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use segue_attempt::async_fd;
use segue_core::Timestamp;
use tokio::io::unix::AsyncFd;

/// The wall clock as a [`Timestamp`].
#[must_use]
pub fn wall_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// One timer on `CLOCK_BOOTTIME`.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: AsyncFd<TimerHandle>,
    armed: Option<Timestamp>,
}

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
        Ok(Self { fd: async_fd(TimerHandle(timer))?, armed: None })
    }

    /// Arms the timer for `deadline`, or disarms it; without effect if it is armed so already.
    pub(crate) fn arm(&mut self, deadline: Option<Timestamp>, now: Timestamp) -> io::Result<()> {
        if self.armed == deadline {
            return Ok(());
        }
        self.armed = deadline;
        let Some(deadline) = deadline else {
            return Ok(self.fd.get_ref().0.unset()?);
        };
        // A time of zero would disarm it.
        let left = Duration::from_millis(deadline.since(now).0.max(1));
        let expiration = Expiration::OneShot(TimeSpec::from_duration(left));
        Ok(self.fd.get_ref().0.set(expiration, TimerSetTimeFlags::empty())?)
    }

    /// Returns when the timer has fired. Cancel-safe.
    pub(crate) async fn fired(&mut self) -> io::Result<()> {
        let mut ready = self.fd.readable_mut().await?;
        let _ = ready.get_inner().0.wait();
        ready.clear_ready();
        self.armed = None;
        Ok(())
    }
}

/// The timer's descriptor, under the traits that the loop asks for.
#[derive(Debug)]
struct TimerHandle(TimerFd);

impl AsFd for TimerHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for TimerHandle {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
