//! The keeper: a process that owns one attempt at a time, with everything below it.
//!
//! Forked from the supervisor without exec, a subreaper of its own, single-threaded. It owns the
//! attempt's processes, pipes, limits and records; it knows nothing of other keepers, and of runs
//! only their folder. It outlives a supervisor that dies, and exits when nobody is left who could
//! give it another attempt.

mod attempt;
mod begin;
mod ladder;
mod limits;
mod meter;
mod output;
mod program;

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::link::Link;
use crate::report::Report;
use crate::sys::{self, Interest, SignalFd, Spawner};
use crate::wire::{Frame, Kind};
use crate::{codec, records, tree};

/// What a keeper has from one attempt to the next.
pub(crate) struct Keeper {
    /// The supervisor's socket.
    link: Link,
    signals: SignalFd,
    spawner: Spawner,
    /// For what is read rather than spliced.
    buffer: Vec<u8>,
    supervisor_pid: u32,
    started_ticks: u64,
    boot: String,
    /// There is no engine, or no supervisor: no further attempt will come.
    orphaned: bool,
}

/// What a keeper does after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Afterwards {
    WaitForNext,
    Exit,
}

/// Serves attempts until there is nobody to serve; the life of a process just forked.
pub(crate) fn run(socket: UnixStream, supervisor_pid: u32) -> ! {
    sys::close_all_but(socket.as_raw_fd());
    sys::name_process(c"segue-keeper");
    // After a panic the parent-death signal ends the program, and the supervisor what is below.
    let served = catch_unwind(AssertUnwindSafe(|| -> std::io::Result<()> {
        sys::reap_orphans_here()?;
        let mut keeper = Keeper {
            link: Link::new(socket)?,
            signals: SignalFd::new()?,
            spawner: Spawner::new(),
            buffer: Vec::new(),
            supervisor_pid,
            started_ticks: tree::stat_of(std::process::id()).map_or(0, |stat| stat.started_ticks),
            boot: records::boot_id(),
            orphaned: false,
        };
        while let Some(start) = keeper.next_start()? {
            if attempt::run(&mut keeper, &start) == Afterwards::Exit || keeper.orphaned {
                break;
            }
        }
        keeper.say_goodbye()
    }));
    sys::exit(match served {
        Ok(Ok(())) => 0,
        Ok(Err(_)) => 1,
        Err(_) => 70,
    })
}

impl Keeper {
    /// Waits for the next start; `None` when there will be none.
    fn next_start(&mut self) -> std::io::Result<Option<Frame>> {
        loop {
            while let Ok(Some(frame)) = self.link.next() {
                match frame.kind {
                    Kind::Start => return Ok(Some(frame)),
                    Kind::Orphaned => return Ok(None),
                    // A stop that crossed the end of its attempt.
                    _ => {}
                }
            }
            if self.link.has_ended() {
                return Ok(None);
            }
            let link = Interest { fd: self.link.as_fd(), writable: self.link.has_queued() };
            let signals = Interest { fd: self.signals.as_fd(), writable: false };
            let [link, signals] = sys::poll([Some(link), Some(signals)], None)?;
            if link.writable {
                let _ = self.link.flush();
            }
            if signals.readable && self.signals.read().any(|s| s.number != libc::SIGCHLD) {
                return Ok(None);
            }
            if link.readable {
                self.link.fill();
            }
        }
    }

    /// Sends frames to the supervisor. If it is gone, the records say the same.
    fn send(&mut self, frames: &[u8]) {
        let _ = self.link.send(frames);
    }

    fn report(&mut self, report: &Report) {
        if let Ok(frame) = codec::write_report(report) {
            self.send(&frame);
        }
    }

    /// Gets the last reports out before the socket closes, within a second.
    fn say_goodbye(&mut self) -> std::io::Result<()> {
        const PATIENCE_MS: u64 = 1_000;
        let give_up = sys::boottime_ms() + PATIENCE_MS;
        while !self.link.flush()? {
            let now = sys::boottime_ms();
            if now >= give_up {
                break;
            }
            let link = Interest { fd: self.link.as_fd(), writable: true };
            sys::poll([Some(link)], Some(give_up - now))?;
        }
        Ok(())
    }
}
