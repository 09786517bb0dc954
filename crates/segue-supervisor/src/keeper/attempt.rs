//! One attempt, from its start to its record.
//!
//! The order of things: lock the number, record `spawning`, start the program, then one loop –
//! wait for what ended, look at the clocks, move on in the teardown, wait for news – until there
//! is no child left. What is still in the pipes is taken, `ended` is recorded, the number unlocked,
//! and the supervisor told.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use super::begin::{self, Spawned};
use super::ladder::{self, Ladder, Step};
use super::limits::{Deadlines, World};
use super::meter::Meter;
use super::output::Stream;
use super::program::Failure;
use super::{Afterwards, Keeper};
use crate::report::{Ended, Outcome, Report, SpawnFailure, Teardown};
use crate::request::{Start, StopMode, StopReason};
use crate::sys::{self, Interest, Region, Waited};
use crate::wire::{Frame, Kind, Writer};
use crate::{codec, records, tree};

/// A `Spawned` waits this long for an `Ended` to travel with.
const SPAWNED_DELAY_MS: u64 = 2;
/// A deadline is looked at this often at least: a suspend stops the kernel's wait, not our clock.
const WAIT_MS_MAX: u64 = 30_000;
/// Most children waited for in a row, against one that forks without end.
const REAPED_IN_A_ROW_MAX: u32 = 4_096;

#[derive(Debug, Default)]
struct Usage {
    user_us: u64,
    system_us: u64,
    peak_kib: u64,
}

struct Attempt<'k> {
    keeper: &'k mut Keeper,
    start: Start,
    records: File,
    started_unix_ms: u64,
    stdout: Stream,
    stderr: Stream,
    /// Master and terminal; holding the terminal keeps the master from hanging up.
    terminal: Option<(File, OwnedFd)>,
    deadlines: Deadlines,
    meter: Meter,
    ladder: Ladder,
    program: u32,
    /// How the program ended, once it has.
    exit: Option<Outcome>,
    /// Why it was stopped, if it was before it ended.
    verdict: Option<Outcome>,
    usage: Usage,
    /// `Spawned`, and when it has to go.
    unsent: Option<(Vec<u8>, u64)>,
}

/// Carries out one start.
pub(super) fn run(keeper: &mut Keeper, frame: &Frame) -> Afterwards {
    let start = match codec::read_start(frame) {
        Ok(start) => start,
        Err(error) => {
            keeper.report(&Report::Rejected { message: error.to_string() });
            return Afterwards::Exit;
        }
    };
    match begin::begin(keeper, &start) {
        Ok(Some(records)) => carry_out(keeper, start, records),
        Ok(None) => Afterwards::Exit,
        Err(message) => {
            let Start { run_dir, number, .. } = start;
            keeper.report(&Report::StartRefused { run_dir, number, message });
            Afterwards::WaitForNext
        }
    }
}

fn carry_out(keeper: &mut Keeper, start: Start, records: File) -> Afterwards {
    let started_unix_ms = sys::unix_ms();
    match begin::spawn(keeper, &start) {
        Ok(parts) => {
            let mut attempt = parts.into_attempt(keeper, start, records, started_unix_ms);
            let teardown = attempt.watch();
            attempt.finish(teardown)
        }
        Err(Failure { kind, message }) => {
            let outcome = Outcome::SpawnFailed { kind, message };
            let ended =
                ended(&start, started_unix_ms, outcome, Teardown::Verified { stragglers: 0 });
            conclude(keeper, &records, ended, Vec::new());
            Afterwards::WaitForNext
        }
    }
}

impl Spawned {
    fn into_attempt(
        self,
        keeper: &mut Keeper,
        start: Start,
        records: File,
        started_unix_ms: u64,
    ) -> Attempt<'_> {
        let now = sys::boottime_ms();
        let mut deadlines = Deadlines::new(&start.limits, now, started_unix_ms);
        if keeper.orphaned {
            deadlines.lost_engine(now);
        }
        let meter = Meter::new(&start.limits, self.group, now);
        let spawned = codec::write_report(&Report::Spawned {
            run_dir: start.run_dir.clone(),
            number: start.number,
            pid: self.program,
            keeper_pid: std::process::id(),
            started_unix_ms,
        });
        Attempt {
            keeper,
            start,
            records,
            started_unix_ms,
            stdout: self.stdout,
            stderr: self.stderr,
            terminal: self.terminal,
            deadlines,
            meter,
            ladder: Ladder::new(),
            program: self.program,
            exit: None,
            verdict: None,
            usage: Usage::default(),
            unsent: spawned.ok().map(|frame| (frame, now + SPAWNED_DELAY_MS)),
        }
    }
}

impl Attempt<'_> {
    /// Runs until the tree is empty, or the kernel does not let it become so.
    fn watch(&mut self) -> Teardown {
        // A stop, or the news that the engine is gone, may have been read with the start.
        self.take_orders();
        loop {
            if self.reap() {
                return self.ladder.verified(self.program);
            }
            let now = sys::boottime_ms();
            self.check_limits(now);
            if let Some(teardown) = self.advance(now) {
                return teardown;
            }
            let timeout_ms = self.next_look(now).map(|at| at.saturating_sub(now));
            self.wait(timeout_ms);
        }
    }

    /// Waits for children that have ended; true when there is none left at all.
    fn reap(&mut self) -> bool {
        for _ in 0..REAPED_IN_A_ROW_MAX {
            match sys::wait_any() {
                Waited::Empty => return true,
                Waited::Nothing => return false,
                Waited::Child { pid, status, user_us, system_us, peak_kib } => {
                    self.usage.user_us += user_us;
                    self.usage.system_us += system_us;
                    self.usage.peak_kib = self.usage.peak_kib.max(peak_kib);
                    if pid == self.program && self.exit.is_none() {
                        self.exit = Some(outcome_of(status));
                    }
                }
            }
        }
        false
    }

    fn check_limits(&mut self, now: u64) {
        if self.exit.is_some() || self.verdict.is_some() {
            return;
        }
        let stop_at = self.start.limits.stdout_bytes_stop;
        if stop_at.is_some_and(|most| self.stdout.bytes() > most) {
            self.stop(Outcome::OutputLimit, StopMode::Graceful, now);
            return;
        }
        if self.meter.check(now, || tree::memory_bytes_below(std::process::id())) {
            // As the kernel does it: past the limit there is no time for a grace.
            self.stop(Outcome::Signaled { signal: libc::SIGKILL }, StopMode::AtOnce, now);
            return;
        }
        if self.deadlines.next().is_some_and(|at| at <= now) {
            let mut world =
                Surroundings { start: &self.start, usage: &self.usage, meter: &mut self.meter };
            if let Some(outcome) = self.deadlines.check(now, &mut world) {
                self.stop(outcome, StopMode::Graceful, now);
            }
        }
    }

    /// Begins the stop ladder, or shortens one under way. The first reason is the outcome.
    fn stop(&mut self, outcome: Outcome, mode: StopMode, now: u64) {
        if self.exit.is_none() && self.verdict.is_none() {
            self.verdict = Some(outcome);
        }
        self.ladder.stop(&self.start, self.program, mode, now);
    }

    /// Moves on in the teardown as far as this instant allows; the teardown when it is over.
    fn advance(&mut self, now: u64) -> Option<Teardown> {
        if self.exit.is_some() {
            self.ladder.settle(now);
            if ladder::has_only_left(&self.start) {
                return Some(self.ladder.verified(self.program));
            }
        }
        let Step::Killed { is_last } = self.ladder.advance(&self.start, now) else { return None };
        if self.reap() {
            return Some(self.ladder.verified(self.program));
        }
        is_last.then(|| match ladder::not_left(&self.start) {
            pids if pids.is_empty() && self.exit.is_some() => self.ladder.verified(self.program),
            pids => Teardown::Unverified { pids },
        })
    }

    fn next_look(&self, now: u64) -> Option<u64> {
        let is_open = self.exit.is_none() && self.verdict.is_none();
        let deadline = self.deadlines.next().into_iter().chain(self.meter.next()).min();
        let deadline = deadline.filter(|_| is_open);
        let unsent = self.unsent.as_ref().map(|(_, at)| *at);
        let next = [self.ladder.next_look(now), deadline, unsent].into_iter().flatten().min();
        next.map(|at| at.min(now + WAIT_MS_MAX))
    }

    /// Waits for news and takes it in.
    fn wait(&mut self, timeout_ms: Option<u64>) {
        let readable = |fd| Some(Interest { fd, writable: false });
        let link = &self.keeper.link;
        let link = Interest { fd: link.as_fd(), writable: link.has_queued() };
        let ready = sys::poll(
            [
                (!self.keeper.link.has_ended()).then_some(link),
                readable(self.keeper.signals.as_fd()),
                readable(self.stdout.reader()),
                readable(self.stderr.reader()),
                self.terminal.as_ref().and_then(|(master, _)| readable(master.as_fd())),
            ],
            timeout_ms,
        );
        let Ok([link, signals, stdout, stderr, terminal]) = ready else { return };
        let buffer = &mut self.keeper.buffer;
        let mut has_output = stdout.readable && self.stdout.pump(buffer);
        has_output |= stderr.readable && self.stderr.pump(buffer);
        has_output |= terminal.readable && self.pump_terminal();
        if has_output {
            self.deadlines.saw_output(sys::boottime_ms());
        }
        if signals.readable {
            self.take_signals();
        }
        if link.readable || link.writable {
            self.take_orders();
        }
        self.send_spawned_if_due();
    }

    /// Takes what was said on the terminal, up to a bound; true if there was anything.
    fn pump_terminal(&mut self) -> bool {
        const READS_MAX: usize = 64;
        let Some((master, _)) = &mut self.terminal else { return false };
        let mut bytes = [0; 4 << 10];
        let mut has_output = false;
        for _ in 0..READS_MAX {
            // By reading, not by asking how much there is: see `sys::pseudo_terminal`.
            let count = master.read(&mut bytes).unwrap_or(0);
            if count == 0 {
                break;
            }
            self.stderr.take(&bytes[..count]);
            has_output = true;
        }
        has_output
    }

    fn take_signals(&mut self) {
        let signals: Vec<sys::Signal> = self.keeper.signals.read().collect();
        let now = sys::boottime_ms();
        for signal in signals {
            let mode = match signal.number {
                libc::SIGTERM => StopMode::Graceful,
                libc::SIGQUIT => StopMode::AtOnce,
                _ => continue,
            };
            let code = u8::try_from(signal.value).unwrap_or(0);
            let reason = codec::reason_of(code).unwrap_or(StopReason::Shutdown);
            self.stop(Outcome::Cancelled { reason }, mode, now);
        }
    }

    fn take_orders(&mut self) {
        let now = sys::boottime_ms();
        let _ = self.keeper.link.flush();
        self.keeper.link.fill();
        self.keeper.orphaned |= self.keeper.link.has_ended();
        while let Ok(Some(frame)) = self.keeper.link.next() {
            match frame.kind {
                Kind::Orphaned => self.keeper.orphaned = true,
                Kind::Stop => {
                    let Ok((run_dir, number, order)) = codec::read_stop(&frame) else { continue };
                    if number == self.start.number && run_dir == self.start.run_dir {
                        let outcome = Outcome::Cancelled { reason: order.reason };
                        self.stop(outcome, order.mode, now);
                    }
                }
                _ => {}
            }
        }
        if self.keeper.orphaned {
            self.deadlines.lost_engine(now);
        }
    }

    fn send_spawned_if_due(&mut self) {
        if self.unsent.as_ref().is_some_and(|(_, at)| *at <= sys::boottime_ms())
            && let Some((frame, _)) = self.unsent.take()
        {
            self.keeper.send(&frame);
        }
    }

    fn finish(mut self, teardown: Teardown) -> Afterwards {
        if self.terminal.is_some() {
            self.pump_terminal();
        }
        let buffer = &mut self.keeper.buffer;
        let stdout = self.stdout.finish(buffer);
        let stderr = self.stderr.finish(buffer);
        let unknown = || Outcome::SpawnFailed {
            kind: SpawnFailure::Other,
            message: "the program's end was not seen".to_owned(),
        };
        let memory = self.meter.finish();
        // A program that did not die has a verdict: nothing else leads to an unverified teardown.
        let outcome = self.verdict.or(self.exit).unwrap_or_else(unknown);
        let is_verified = matches!(teardown, Teardown::Verified { .. });
        let mut ended = ended(&self.start, self.started_unix_ms, outcome, teardown);
        ended.user_ms = self.usage.user_us / 1000;
        ended.system_ms = self.usage.system_us / 1000;
        ended.peak_memory_bytes = self.usage.peak_kib * 1024;
        ended.tree_peak_memory_bytes = memory.peak_bytes;
        // Another reason to stop it came first.
        let is_killed = matches!(ended.outcome, Outcome::Signaled { .. });
        ended.memory_exceeded = memory.exceeded.filter(|_| is_killed);
        ended.stdout_bytes = stdout.bytes;
        ended.stderr_bytes = stderr.bytes;
        ended.omitted_bytes = stdout.omitted + stderr.omitted;
        ended.log_error = stdout.error.or(stderr.error);
        let mut frames = self.unsent.map(|(frame, _)| frame).unwrap_or_default();
        let mut afterwards = Afterwards::WaitForNext;
        // Seen empty, the next attempt cannot meet anything of this one.
        if !is_verified || !self.start.leave.is_empty() {
            let behind = tree::children_of(std::process::id());
            if !is_verified || !behind.is_empty() {
                let retiring = Writer::new(Kind::Retiring).list(&behind, |w, pid| w.u32(*pid));
                frames.extend(retiring.finish().unwrap_or_default());
                afterwards = Afterwards::Exit;
            }
        }
        conclude(self.keeper, &self.records, ended, frames);
        afterwards
    }
}

/// Records the end, unlocks the number, tells the supervisor; `frames` go before the report.
fn conclude(keeper: &mut Keeper, records: &File, mut ended: Ended, mut frames: Vec<u8>) {
    let json = serde_json::to_vec(&ended).expect("a struct of numbers and strings");
    if let Err(error) = records::append_ended(records, &json) {
        ended.log_error = Some(format!("failed to record the end: {error}"));
    }
    let _ = sys::unlock(records, Region::Byte(ended.number));
    frames.extend(codec::write_report(&Report::Ended(ended)).unwrap_or_default());
    keeper.send(&frames);
}

fn ended(start: &Start, started_unix_ms: u64, outcome: Outcome, teardown: Teardown) -> Ended {
    Ended {
        run_dir: start.run_dir.clone(),
        number: start.number,
        label: start.label.clone(),
        outcome,
        started_unix_ms,
        ended_unix_ms: sys::unix_ms().max(started_unix_ms),
        user_ms: 0,
        system_ms: 0,
        peak_memory_bytes: 0,
        tree_peak_memory_bytes: None,
        memory_exceeded: None,
        stdout_bytes: 0,
        stderr_bytes: 0,
        omitted_bytes: 0,
        log_error: None,
        teardown,
    }
}

fn outcome_of(status: i32) -> Outcome {
    if libc::WIFSIGNALED(status) {
        Outcome::Signaled { signal: libc::WTERMSIG(status) }
    } else {
        Outcome::Exited { code: libc::WEXITSTATUS(status) }
    }
}

/// What the clocks need to know of the world.
struct Surroundings<'a> {
    start: &'a Start,
    usage: &'a Usage,
    meter: &'a mut Meter,
}

impl World for Surroundings<'_> {
    fn cpu_ms(&mut self) -> u64 {
        let gone_ms = (self.usage.user_us + self.usage.system_us) / 1000;
        self.meter.cpu_ms(gone_ms + tree::cpu_ms_below(std::process::id()))
    }

    fn has_engine(&mut self) -> bool {
        File::open(self.start.run_dir.join("run.lock"))
            .and_then(|file| sys::is_locked(&file, Region::Whole))
            .unwrap_or(false)
    }
}
