//! Time for the loop: wall time that never goes back, and one timer that a suspend does not stop.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::clock_gettime;
use segue_attempt::async_fd;
use segue_core::{Millis, Timestamp};
use tokio::io::unix::AsyncFd;

/// The wall clock as a [`Timestamp`].
#[must_use]
pub fn wall_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The loop's time: the wall clock's when it began, no earlier than the journal's end, and from
/// there on `CLOCK_BOOTTIME`. A wall clock that is set meanwhile moves no deadline.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Timestamp,
    boot_began: Millis,
}

impl Clock {
    /// A clock that goes on from `last_at` if the wall clock lies behind it.
    pub(crate) fn after(last_at: Timestamp) -> Self {
        Self { began: wall_now().max(last_at), boot_began: boot_now() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.began + Millis(boot_now().0.saturating_sub(self.boot_began.0))
    }

    /// What the wall clock shows, or showed, at a time of this clock, as it is set now.
    pub(crate) fn on_the_wall(&self, at: Timestamp) -> Timestamp {
        let set_by = wall_now().unix_ms().saturating_sub(self.now().unix_ms());
        Timestamp::from_unix_ms(at.unix_ms().saturating_add(set_by))
    }
}

fn boot_now() -> Millis {
    let since =
        clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_ahead_of_the_wall_goes_on_from_the_journals_end() {
        let hour = Millis(3_600_000);
        let last_at = wall_now() + hour;
        let clock = Clock::after(last_at);
        let begun = clock.now();
        assert!(begun >= last_at && begun.since(last_at) < hour);
        let later = boot_now().0 + 5;
        while boot_now().0 < later {
            std::thread::yield_now();
        }
        assert!(clock.now().since(begun) >= Millis(4), "it does not stand still meanwhile");
        let wall = clock.on_the_wall(clock.now());
        assert!(wall <= wall_now() + Millis(2) && wall_now().since(wall) < hour);
    }
}
