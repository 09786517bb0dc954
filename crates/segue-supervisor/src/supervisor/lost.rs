//! Attempts whose keeper was killed: what they left is ended, then they are reported.
//!
//! The kernel has made the keeper's orphans children of the supervisor. Everything below the
//! supervisor that is neither a keeper nor left on purpose is theirs. One pass a turn of the loop:
//! other attempts do not wait for it.

use std::collections::HashSet;

use super::pool::Assigned;
use crate::report::{Ended, Outcome, Teardown};
use crate::sys::{self, Waited};
use crate::tree;

/// How long KILL may take before the teardown counts as unverified.
const KILL_MS_MAX: u64 = 2_000;
const PAUSE_MS: u64 = 5;

#[derive(Debug, Default)]
pub(super) struct Lost {
    attempts: Vec<Assigned>,
    killed: HashSet<u32>,
    give_up_at: u64,
}

impl Lost {
    pub(super) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    pub(super) fn add(&mut self, assigned: Assigned, now: u64) {
        self.attempts.push(assigned);
        self.give_up_at = now + KILL_MS_MAX;
    }

    /// How long the loop may wait, in milliseconds; `None` as long as it takes.
    pub(super) fn next_look(&self, now: u64) -> Option<u64> {
        (!self.is_empty()).then(|| PAUSE_MS.min(self.give_up_at.saturating_sub(now)))
    }

    /// One pass; what it returns is over. `is_exempt` names keepers and what was left on purpose.
    pub(super) fn pursue(&mut self, is_exempt: &dyn Fn(u32) -> bool, now: u64) -> Vec<Ended> {
        let is_there = tree::kill_pass(is_exempt, &mut self.killed);
        if is_there && now < self.give_up_at {
            return Vec::new();
        }
        let left = tree::below(std::process::id(), is_exempt);
        let teardown = if left.is_empty() {
            let stragglers = u32::try_from(self.killed.len()).unwrap_or(u32::MAX);
            Teardown::Verified { stragglers }
        } else {
            Teardown::Unverified { pids: left.iter().map(|process| process.pid).collect() }
        };
        self.killed.clear();
        self.attempts.drain(..).map(|assigned| ended(assigned, teardown.clone())).collect()
    }
}

fn ended(assigned: Assigned, teardown: Teardown) -> Ended {
    Ended {
        run_dir: assigned.head.run_dir,
        number: assigned.head.number,
        label: assigned.head.label,
        outcome: Outcome::Lost,
        started_unix_ms: assigned.started_unix_ms,
        ended_unix_ms: sys::unix_ms().max(assigned.started_unix_ms),
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

/// Ends everything below this process but what is exempt, within a bound.
pub(super) fn end_below(is_exempt: &dyn Fn(u32) -> bool) {
    let give_up_at = sys::boottime_ms() + KILL_MS_MAX;
    let mut killed = HashSet::new();
    while tree::kill_pass(is_exempt, &mut killed) && sys::boottime_ms() < give_up_at {
        // Only what is not exempt: a keeper's end is for the loop to see.
        for pid in &killed {
            let _: Waited = sys::wait_for_if_ended(*pid);
        }
        let _ = sys::poll([None], Some(1));
    }
}
