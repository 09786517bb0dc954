//! When an attempt has to be stopped: the keeper's clocks.
//!
//! Owns deadlines and the watch for a stall, all in milliseconds of CLOCK_BOOTTIME that come in
//! from outside. Reads no clock, signals nobody.

use std::collections::VecDeque;

use crate::report::{Outcome, TimeLimit};
use crate::request::Limits;

/// Processor time is sampled this often in one stall window, within bounds.
const SAMPLES_PER_WINDOW: u64 = 8;
const SAMPLE_PAUSE_MS_MIN: u64 = 50;
const SAMPLE_PAUSE_MS_MAX: u64 = 15_000;

/// Below this share of one core, in percent, a silent tree counts as stalled.
const BUSY_PERCENT: u64 = 1;

/// The deadlines of one attempt.
#[derive(Debug)]
pub(super) struct Deadlines {
    total_at: Option<u64>,
    run_at: Option<u64>,
    stall: Option<Stall>,
    orphan_ms: Option<u64>,
    orphan_at: Option<u64>,
}

/// What a look at the clock may need to know of the world.
pub(super) trait World {
    /// Processor time the attempt has used so far, in milliseconds.
    fn cpu_ms(&mut self) -> u64;
    /// Whether an engine holds the run.
    fn has_engine(&mut self) -> bool;
}

impl Deadlines {
    pub(super) fn new(limits: &Limits, now: u64, now_unix_ms: u64) -> Self {
        let run_at = limits.run_deadline_unix_ms;
        Self {
            total_at: limits.timeout_ms.map(|ms| now.saturating_add(ms)),
            run_at: run_at.map(|at| now.saturating_add(at.saturating_sub(now_unix_ms))),
            stall: limits.stall_ms.map(|window_ms| Stall::new(window_ms, now)),
            orphan_ms: limits.orphan_ms,
            orphan_at: None,
        }
    }

    /// The attempt wrote something.
    pub(super) fn saw_output(&mut self, now: u64) {
        if let Some(stall) = &mut self.stall {
            stall.output_at = now;
        }
    }

    /// The engine or the supervisor is gone.
    pub(super) fn lost_engine(&mut self, now: u64) {
        if self.orphan_at.is_none() {
            self.orphan_at = self.orphan_ms.map(|ms| now.saturating_add(ms));
        }
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<u64> {
        let stall = self.stall.as_ref().map(|stall| stall.look_at);
        [self.total_at, self.run_at, stall, self.orphan_at].into_iter().flatten().min()
    }

    /// The outcome of the limit that has been reached, if any.
    pub(super) fn check(&mut self, now: u64, world: &mut impl World) -> Option<Outcome> {
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        if is_due(self.total_at) {
            return Some(Outcome::TimedOut { limit: TimeLimit::Total });
        }
        if is_due(self.run_at) {
            return Some(Outcome::TimedOut { limit: TimeLimit::Run });
        }
        if is_due(self.orphan_at) {
            if !world.has_engine() {
                return Some(Outcome::Parked);
            }
            // Adopted meanwhile. Its adopter may die too.
            self.orphan_at = self.orphan_ms.map(|ms| now.saturating_add(ms.max(1)));
        }
        let stall = self.stall.as_mut().filter(|stall| stall.look_at <= now)?;
        let is_stalled = stall.look(now, world.cpu_ms());
        is_stalled.then_some(Outcome::TimedOut { limit: TimeLimit::Stall })
    }
}

/// Watches for a window without output in which the tree hardly used a processor.
#[derive(Debug)]
struct Stall {
    window_ms: u64,
    output_at: u64,
    look_at: u64,
    /// (when, processor time till then), the first one no younger than a window if possible.
    samples: VecDeque<(u64, u64)>,
}

impl Stall {
    fn new(window_ms: u64, now: u64) -> Self {
        let samples = VecDeque::from([(now, 0)]);
        let mut stall = Self { window_ms, output_at: now, look_at: now, samples };
        stall.schedule(now);
        stall
    }

    fn schedule(&mut self, now: u64) {
        let pause = self.window_ms / SAMPLES_PER_WINDOW;
        let regular = now + pause.clamp(SAMPLE_PAUSE_MS_MIN, SAMPLE_PAUSE_MS_MAX);
        let window_end = self.output_at.saturating_add(self.window_ms);
        self.look_at = if window_end > now { regular.min(window_end) } else { regular };
    }

    /// Takes a sample; says whether the window that ends now was silent and idle.
    fn look(&mut self, now: u64, cpu_ms: u64) -> bool {
        // Ages, not a window's start: that may lie before the machine was booted.
        let is_a_window_ago = |at: u64| now.saturating_sub(at) >= self.window_ms;
        while self.samples.get(1).is_some_and(|(at, _)| is_a_window_ago(*at)) {
            self.samples.pop_front();
        }
        self.samples.push_back((now, cpu_ms));
        let (since, cpu_then) = self.samples[0];
        let is_idle_for_long = is_a_window_ago(self.output_at) && is_a_window_ago(since);
        self.schedule(now);
        let busy_ms = cpu_ms.saturating_sub(cpu_then);
        is_idle_for_long && busy_ms * 100 < (now - since) * BUSY_PERCENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed {
        cpu_ms: u64,
        engine: bool,
    }

    impl World for Fixed {
        fn cpu_ms(&mut self) -> u64 {
            self.cpu_ms
        }
        fn has_engine(&mut self) -> bool {
            self.engine
        }
    }

    /// Runs to the first outcome: `cpu` and `outputs` say what the attempt does when.
    fn first(limits: &Limits, cpu: fn(u64) -> u64, outputs: &[u64]) -> Option<(u64, Outcome)> {
        let mut deadlines = Deadlines::new(limits, 0, 0);
        let mut outputs = outputs.to_vec();
        for _ in 0..10_000 {
            let now = deadlines.next()?;
            while outputs.first().is_some_and(|at| *at <= now) {
                deadlines.saw_output(outputs.remove(0));
            }
            let mut world = Fixed { cpu_ms: cpu(now), engine: false };
            if let Some(outcome) = deadlines.check(now, &mut world) {
                return Some((now, outcome));
            }
        }
        None
    }

    #[track_caller]
    fn check_stall(cpu: fn(u64) -> u64, outputs: &[u64], expected: Option<u64>) {
        let limits = Limits { stall_ms: Some(1_000), ..Limits::default() };
        let stalled = Outcome::TimedOut { limit: TimeLimit::Stall };
        assert_eq!(first(&limits, cpu, outputs), expected.map(|at| (at, stalled)));
    }

    #[test]
    fn a_stall_is_silence_and_idleness_together() {
        check_stall(|_| 0, &[], Some(1_000));
        check_stall(|_| 0, &[400, 900], Some(1_900));
        check_stall(|now| now / 50, &[], None);
        check_stall(|now| now / 200, &[], Some(1_000));
        // Busy for its first 300 ms: the first window that is idle begins there.
        check_stall(|now| now.min(300), &[], Some(1_375));
    }

    #[test]
    fn the_earliest_limit_wins_and_an_engine_rearms_the_orphan() {
        let limits = Limits {
            timeout_ms: Some(70),
            run_deadline_unix_ms: Some(50),
            orphan_ms: Some(20),
            ..Limits::default()
        };
        let run = Outcome::TimedOut { limit: TimeLimit::Run };
        assert_eq!(first(&limits, |_| 0, &[]), Some((50, run)));
        let mut deadlines = Deadlines::new(&limits, 0, 0);
        deadlines.lost_engine(5);
        assert_eq!(deadlines.next(), Some(25));
        assert_eq!(deadlines.check(25, &mut Fixed { cpu_ms: 0, engine: true }), None);
        assert_eq!(deadlines.next(), Some(45));
        let parked = deadlines.check(45, &mut Fixed { cpu_ms: 0, engine: false });
        assert_eq!(parked, Some(Outcome::Parked));
    }
}
