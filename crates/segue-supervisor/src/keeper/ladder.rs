//! The stop ladder: how the processes of an attempt are brought to their end.
//!
//! Owns where an attempt is on its way down and whom it had to kill. It signals and never waits:
//! its keeper asks [`Ladder::next_look`] when to come back, and reaps. Why an attempt is stopped,
//! and what its outcome is, it does not know.

use std::collections::HashSet;

use crate::report::Teardown;
use crate::request::{Start, StopMode};
use crate::{sys, tree};

/// What outlives the program may end by itself this long (`tee` behind it, a flush): only then it
/// is a straggler.
const SETTLE_MS: u64 = 100;
/// How long KILL may go on without meeting a process it has not met before; then the teardown
/// counts as unverified.
const KILL_MS_MAX: u64 = 2_000;
/// How long it may take whatever it meets.
const KILL_TOTAL_MS_MAX: u64 = 10_000;
/// Longest pause between two passes of KILL that brought no news.
const KILL_PAUSE_MS_MAX: u64 = 32;

/// Where the attempt is on its way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The program runs.
    Running,
    /// It was asked to stop: by its interrupt until TERM is due, by TERM until KILL is.
    Asked { by_term: bool, until: u64 },
    /// The program is gone and others are not.
    Settling { until: u64 },
    /// Everything is being killed.
    Killing { until: u64, at_last: u64, pause_ms: u64 },
}

/// What a step down the ladder did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is being killed yet.
    Waited,
    /// A pass of KILL: whether the tree is empty is to be looked at.
    Killed {
        /// It was the last one.
        is_last: bool,
    },
}

/// The way down of one attempt.
#[derive(Debug)]
pub(super) struct Ladder {
    phase: Phase,
    killed: HashSet<u32>,
}

impl Ladder {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Running, killed: HashSet::new() }
    }

    /// Begins the way down, or shortens one under way.
    pub(super) fn stop(&mut self, start: &Start, program: u32, mode: StopMode, now: u64) {
        let grace_ms = start.limits.kill_grace_ms;
        if matches!(self.phase, Phase::Killing { .. }) {
            return;
        }
        if mode == StopMode::AtOnce || grace_ms == 0 {
            self.phase = killing(now);
        } else if self.phase == Phase::Running {
            match start.limits.interrupt {
                Some(signal) => {
                    let _ = sys::kill_group(program, signal);
                    self.phase = Phase::Asked { by_term: false, until: now + grace_ms / 2 };
                }
                None => self.ask_by_term(start, now + grace_ms),
            }
        }
    }

    /// TERM for the whole tree, as systemd does: also for what left the process group. CONT, for
    /// what is stopped cannot take it.
    fn ask_by_term(&mut self, start: &Start, until: u64) {
        let root = std::process::id();
        for process in tree::below(root, &is_left(&start.leave)) {
            tree::signal(root, process, &[libc::SIGTERM, libc::SIGCONT]);
        }
        self.phase = Phase::Asked { by_term: true, until };
    }

    /// The program is gone: what it left has a moment to follow. What was asked to stop has the
    /// rest of its grace: a shell dies of TERM at once, and the program it ran may be cleaning up.
    pub(super) fn settle(&mut self, now: u64) {
        if self.phase == Phase::Running {
            self.phase = Phase::Settling { until: now + SETTLE_MS };
        }
    }

    /// Goes down as far as this instant allows.
    pub(super) fn advance(&mut self, start: &Start, now: u64) -> Step {
        match self.phase {
            Phase::Asked { by_term: false, until } if until <= now => {
                self.ask_by_term(start, now + start.limits.kill_grace_ms.div_ceil(2));
            }
            Phase::Asked { by_term: true, until } | Phase::Settling { until } if until <= now => {
                self.phase = killing(now);
            }
            _ => {}
        }
        let Phase::Killing { until, at_last, pause_ms } = self.phase else { return Step::Waited };
        let met = self.killed.len();
        tree::kill_pass(&is_left(&start.leave), &mut self.killed);
        let until = if self.killed.len() > met { now + KILL_MS_MAX } else { until };
        let until = until.min(at_last);
        let pause_ms = (pause_ms * 2).min(KILL_PAUSE_MS_MAX);
        self.phase = Phase::Killing { until, at_last, pause_ms };
        Step::Killed { is_last: now >= until }
    }

    /// When to advance again; `None` while there is nothing to do.
    pub(super) fn next_look(&self, now: u64) -> Option<u64> {
        match self.phase {
            Phase::Running => None,
            Phase::Asked { until, .. } | Phase::Settling { until } => Some(until),
            Phase::Killing { until, pause_ms, .. } => Some(until.min(now + pause_ms)),
        }
    }

    /// The teardown of a tree that was seen to be empty. The program itself is no straggler, also
    /// when it had to be killed.
    pub(super) fn verified(&self, program: u32) -> Teardown {
        let stragglers = self.killed.len() - usize::from(self.killed.contains(&program));
        Teardown::Verified { stragglers: u32::try_from(stragglers).unwrap_or(u32::MAX) }
    }
}

fn killing(now: u64) -> Phase {
    Phase::Killing { until: now + KILL_MS_MAX, at_last: now + KILL_TOTAL_MS_MAX, pause_ms: 1 }
}

/// The processes below this one that `leave` does not name.
pub(super) fn not_left(start: &Start) -> Vec<u32> {
    let below = tree::below(std::process::id(), &is_left(&start.leave));
    below.iter().map(|process| process.pid).collect()
}

/// Whether nothing is below but what `leave` names; looked at twice, as a tree can change while
/// it is listed.
pub(super) fn has_only_left(start: &Start) -> bool {
    !start.leave.is_empty() && (0..2).all(|_| not_left(start).is_empty())
}

/// Whether a process is one that `leave` names.
fn is_left(leave: &[String]) -> impl Fn(u32) -> bool {
    move |pid| !leave.is_empty() && tree::name_of(pid).is_some_and(|name| leave.contains(&name))
}
