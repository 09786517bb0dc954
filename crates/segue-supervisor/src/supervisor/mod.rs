//! The fork server: takes requests of one engine, hands attempts to keepers, passes reports on.
//!
//! One loop over one epoll: the engine's socket, a socket a keeper, signals. It never waits for
//! anything else, starts no program itself, and keeps nothing an attempt could need: when it dies,
//! keepers go on. When its engine dies, it first sees to it that every start it was sent is
//! recorded or dropped, then lets go of the runs, and exits with its last keeper.

mod lost;
mod pool;
mod runs;

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use lost::Lost;
use pool::Pool;
use runs::Runs;
pub(crate) use runs::{Holder, open_starts_lock};

use crate::link::Link;
use crate::report::Report;
use crate::sys::{self, Epoll, SignalFd, Waited};
use crate::wire::{Frame, Kind, Malformed, PROTOCOL, Writer};
use crate::{cgroup, codec, records};

/// Tokens of the loop; a keeper's is its process number, which is greater.
const ENGINE: u64 = 0;
const SIGNALS: u64 = 1;

/// All a supervisor knows.
struct Supervisor {
    engine: Option<Link>,
    epoll: Epoll,
    signals: SignalFd,
    runs: Runs,
    pool: Pool,
    lost: Lost,
    /// Processes a keeper left behind, and the run they may live with.
    left: HashMap<u32, PathBuf>,
    /// It was told to go: no further start.
    is_leaving: bool,
}

/// Serves until the engine is gone and every keeper too.
pub(crate) fn run(socket: UnixStream) -> io::Result<()> {
    let mut supervisor = Supervisor {
        engine: Some(Link::new(socket)?),
        epoll: Epoll::new()?,
        signals: SignalFd::new()?,
        runs: Runs::default(),
        pool: Pool::default(),
        lost: Lost::default(),
        left: HashMap::new(),
        is_leaving: false,
    };
    supervisor.greet();
    while !supervisor.is_done() {
        supervisor.turn()?;
    }
    supervisor.end_all_left();
    Ok(())
}

impl Supervisor {
    fn greet(&mut self) {
        self.epoll.add(self.signals.as_fd(), SIGNALS);
        if let Some(engine) = &mut self.engine {
            self.epoll.add(engine.as_fd(), ENGINE);
            let hello = Writer::new(Kind::Hello).u32(PROTOCOL).finish();
            let _ = engine.send(&hello.expect("a few bytes"));
        }
    }

    fn is_done(&self) -> bool {
        let is_wanted = self.engine.is_some() && !self.is_leaving;
        !is_wanted && self.pool.is_empty() && self.lost.is_empty()
    }

    /// Waits for news and takes it in.
    fn turn(&mut self) -> io::Result<()> {
        let timeout_ms = self.lost.next_look(sys::boottime_ms());
        for (token, ready) in self.epoll.wait(timeout_ms)? {
            match token {
                ENGINE => self.hear_engine(ready.writable),
                SIGNALS => self.take_signals(),
                keeper => {
                    let pid = u32::try_from(keeper).unwrap_or(0);
                    self.hear_keeper(pid, ready.writable);
                }
            }
        }
        self.pursue_lost();
        Ok(())
    }

    fn tell(&mut self, report: &Report) {
        if let Ok(frame) = codec::write_report(report) {
            self.tell_frame(&frame);
        }
    }

    fn tell_frame(&mut self, frame: &[u8]) {
        if let Some(engine) = &mut self.engine {
            // An engine that is gone shows as the end of its socket.
            let _ = engine.send(frame);
            self.epoll.set_if_queued(engine, ENGINE);
        }
    }

    fn hear_engine(&mut self, is_writable: bool) {
        let Some(engine) = &mut self.engine else { return };
        if is_writable && engine.flush().unwrap_or(true) {
            self.epoll.set(engine.as_fd(), ENGINE, false);
        }
        // Bounded, so that a busy engine does not keep keepers from being heard.
        const FILLS_MAX: usize = 16;
        for _ in 0..FILLS_MAX {
            let Some(engine) = &mut self.engine else { return };
            let has_more = engine.fill();
            if !self.take_requests() {
                return self.lose_engine();
            }
            let Some(engine) = &self.engine else { return };
            if engine.has_ended() {
                return self.lose_engine();
            }
            if !has_more {
                return;
            }
        }
    }

    /// Does what every whole frame asks; false when the stream cannot be read on.
    fn take_requests(&mut self) -> bool {
        loop {
            let Some(engine) = &mut self.engine else { return true };
            match engine.next() {
                Ok(None) => return true,
                Ok(Some(frame)) => {
                    if let Err(error) = self.obey(&frame) {
                        self.tell(&Report::Rejected { message: error.to_string() });
                    }
                }
                Err(error @ Malformed::UnknownKind(_)) => {
                    self.tell(&Report::Rejected { message: error.to_string() });
                }
                Err(error) => {
                    self.tell(&Report::Rejected { message: error.to_string() });
                    return false;
                }
            }
        }
    }

    fn obey(&mut self, frame: &Frame) -> Result<(), Malformed> {
        match frame.kind {
            Kind::OpenRun => {
                let run_dir = frame.fields().path()?;
                let report = match self.runs.open(&run_dir) {
                    Ok(()) => Report::RunOpened { run_dir },
                    Err(message) => Report::RunRefused { run_dir, message },
                };
                self.tell(&report);
            }
            Kind::CloseRun => {
                let run_dir = frame.fields().path()?;
                self.runs.close(&run_dir);
                self.end_left(|of| *of == run_dir);
            }
            Kind::Start => {
                // Read whole here, so that a keeper gets only what it can read.
                let start = codec::read_start(frame)?;
                self.start(frame, codec::StartHead::of(&start));
            }
            Kind::Stop => {
                let (run_dir, number, _) = codec::read_stop(frame)?;
                if let Some(pid) = self.pool.owner_of(&run_dir, number) {
                    self.pool.send(pid, frame.bytes(), &self.epoll);
                }
            }
            _ => return Err(Malformed::BadValue),
        }
        Ok(())
    }

    fn start(&mut self, frame: &Frame, head: codec::StartHead) {
        let refusal = if self.is_leaving {
            Some("the supervisor is shutting down".to_owned())
        } else if !self.runs.is_open(&head.run_dir) {
            Some(format!("run `{}` is not open", head.run_dir.display()))
        } else if self.pool.owner_of(&head.run_dir, head.number).is_some() {
            // The keeper's lock would say so too, but stops would then go to the wrong keeper.
            Some(format!("attempt number {} is running already", head.number))
        } else {
            self.pool.make_idle_keeper(&self.epoll).err()
        };
        if let Some(message) = refusal {
            let codec::StartHead { run_dir, number, .. } = head;
            self.tell(&Report::StartRefused { run_dir, number, message });
            return;
        }
        self.runs.await_record(&head.run_dir);
        self.pool.assign(head, frame.bytes(), &self.epoll);
    }

    /// The engine is gone. What it sent whole has been handed out by now; the rest is dropped.
    fn lose_engine(&mut self) {
        let Some(mut engine) = self.engine.take() else { return };
        let _ = engine.flush();
        self.epoll.remove(engine.as_fd());
        let orphaned = Writer::new(Kind::Orphaned).finish().expect("a few bytes");
        self.pool.orphan(&orphaned, &self.epoll);
        self.runs.close_all();
    }

    fn hear_keeper(&mut self, pid: u32, is_writable: bool) {
        for frame in self.pool.hear(pid, is_writable, &self.epoll) {
            self.take_keeper_frame(pid, &frame);
        }
    }

    fn take_keeper_frame(&mut self, pid: u32, frame: &Frame) {
        match frame.kind {
            Kind::Spawned => {
                if let Some(run_dir) = self.pool.mark_recorded(pid) {
                    self.runs.recorded(&run_dir);
                }
                self.tell_frame(frame.bytes());
            }
            Kind::Ended | Kind::StartRefused | Kind::Rejected => {
                // First the news, which the engine answers with the next start.
                self.tell_frame(frame.bytes());
                if let Some(run_dir) = self.pool.mark_recorded(pid) {
                    self.runs.recorded(&run_dir);
                }
                let is_orphaned = self.engine.is_none();
                self.pool.release(pid, is_orphaned || self.is_leaving);
            }
            Kind::Retiring => {
                let pids = frame.fields().list(crate::wire::Fields::u32).unwrap_or_default();
                let run_dir = self.pool.retire(pid);
                self.left.extend(pids.into_iter().map(|pid| (pid, run_dir.clone())));
            }
            _ => {}
        }
    }

    fn take_signals(&mut self) {
        let is_told_to_go = self.signals.read().any(|signal| signal.number != libc::SIGCHLD);
        if is_told_to_go && !self.is_leaving {
            self.is_leaving = true;
            self.pool.stop_all(&self.epoll);
        }
        while let Waited::Child { pid, .. } = sys::wait_any() {
            self.left.remove(&pid);
            self.bury(pid);
        }
    }

    /// A child has ended. If it was a keeper with an attempt, that one is lost.
    fn bury(&mut self, pid: u32) {
        if !self.pool.has(pid) {
            return;
        }
        // Its last words may still be in the socket.
        self.hear_keeper(pid, false);
        let Some(assigned) = self.pool.remove(pid, &self.epoll) else { return };
        if !assigned.is_recorded {
            self.runs.recorded(&assigned.head.run_dir);
        }
        self.lost.add(assigned, sys::boottime_ms());
    }

    /// Ends what dead keepers have left below this process, and reports their attempts.
    fn pursue_lost(&mut self) {
        if self.lost.is_empty() {
            return;
        }
        let (pool, left) = (&self.pool, &self.left);
        let is_exempt = |pid| pool.has(pid) || left.contains_key(&pid);
        for ended in self.lost.pursue(&is_exempt, sys::boottime_ms()) {
            let recorded = records::open(&ended.run_dir)
                .and_then(|file| records::append_ended(&file, &serde_json::to_vec(&ended)?));
            let log_error = recorded.err().map(|e| format!("failed to record the end: {e}"));
            self.tell(&Report::Ended(crate::report::Ended { log_error, ..ended }));
            // What a keeper makes, it would have removed.
            cgroup::sweep_stale();
        }
    }

    fn end_all_left(&mut self) {
        self.end_left(|_| true);
    }

    /// Ends what attempts left behind, where `is_meant` by its run.
    fn end_left(&mut self, is_meant: impl Fn(&PathBuf) -> bool) {
        let (ended, kept) =
            std::mem::take(&mut self.left).into_iter().partition(|(_, run_dir)| is_meant(run_dir));
        let ended: HashMap<u32, PathBuf> = ended;
        self.left = kept;
        if !ended.is_empty() {
            let (pool, left) = (&self.pool, &self.left);
            lost::end_below(&|pid| pool.has(pid) || left.contains_key(&pid));
        }
    }
}

impl Epoll {
    /// Waits for room in the socket as well if something is left to write.
    fn set_if_queued(&self, link: &Link, token: u64) {
        if link.has_queued() {
            self.set(link.as_fd(), token, true);
        }
    }
}
