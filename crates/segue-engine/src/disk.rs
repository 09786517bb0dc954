//! Whether there is disk enough for another attempt, and the starts that wait for it.
//!
//! A start that is held back uses no attempt and fails nothing: it goes out, in its turn, once
//! there is disk enough again. Knows no tasks and no slots.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use segue_core::{AttemptId, Millis, Plan, Seq, Timestamp};

/// How long one look holds.
const LOOK_HOLDS: Millis = Millis(1000);

/// Looks at the free disk under a run's folder, at most once a second.
#[derive(Debug)]
pub(crate) struct DiskGuard {
    path: PathBuf,
    bytes_min: u64,
    looked: Option<(Timestamp, u64)>,
    /// Ordered to start and held back, in that order.
    held: VecDeque<(AttemptId, Seq)>,
}

impl DiskGuard {
    pub(crate) fn new(run_dir: &Path, plan: &Plan) -> Self {
        Self {
            path: run_dir.to_owned(),
            bytes_min: plan.limits.min_free_disk_bytes,
            looked: None,
            held: VecDeque::new(),
        }
    }

    /// Whether `attempt` may start now; if not, it is held back.
    pub(crate) fn admits(&mut self, attempt: &AttemptId, number: Seq, now: Timestamp) -> bool {
        if self.held.is_empty() {
            let free = self.free(now);
            if free >= self.bytes_min {
                return true;
            }
            tracing::warn!(
                "nothing starts until there is disk: {} MiB free, `min_free_disk` is {} MiB",
                free >> 20,
                self.bytes_min >> 20
            );
        }
        if !self.holds(attempt) {
            self.held.push_back((attempt.clone(), number));
        }
        false
    }

    /// What was held back and may start now, the first one first.
    pub(crate) fn freed(&mut self, now: Timestamp) -> VecDeque<(AttemptId, Seq)> {
        if self.held.is_empty() || self.free(now) < self.bytes_min {
            return VecDeque::new();
        }
        tracing::info!("there is disk again; starts go on");
        std::mem::take(&mut self.held)
    }

    /// Forgets a start that is held back; whether there was one.
    pub(crate) fn forget(&mut self, attempt: &AttemptId) -> bool {
        let before = self.held.len();
        self.held.retain(|(held, _)| held != attempt);
        self.held.len() < before
    }

    /// Whether the start of `attempt` is held back.
    pub(crate) fn holds(&self, attempt: &AttemptId) -> bool {
        self.held.iter().any(|(held, _)| held == attempt)
    }

    /// When to look again; `None` if nothing waits for it.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let (at, _) = self.looked.filter(|_| !self.held.is_empty())?;
        Some(at + LOOK_HOLDS)
    }

    fn free(&mut self, now: Timestamp) -> u64 {
        if let Some((at, free)) = self.looked
            && at <= now
            && now.since(at) < LOOK_HOLDS
        {
            return free;
        }
        // A file system that cannot be asked does not hold anything back.
        let free = statvfs(&self.path)
            .map_or(u64::MAX, |stat| stat.blocks_available() * stat.fragment_size());
        self.looked = Some((now, free));
        free
    }
}

#[cfg(test)]
mod tests {
    use segue_core::TaskId;

    use super::*;

    fn attempt(task: &str) -> AttemptId {
        AttemptId { task: TaskId::parse(task).unwrap(), item: None, number: 1 }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    fn guard(bytes_min: u64) -> DiskGuard {
        let path = std::env::temp_dir();
        DiskGuard { path, bytes_min, looked: None, held: VecDeque::new() }
    }

    #[test]
    fn starts_wait_in_their_order_and_go_out_together() {
        let mut guard = guard(u64::MAX - 1);
        assert_eq!(guard.due(), None);
        assert!(!guard.admits(&attempt("a"), 1, at(0)));
        assert!(!guard.admits(&attempt("b"), 2, at(10)));
        assert!(!guard.admits(&attempt("b"), 2, at(20)));
        assert_eq!(guard.due(), Some(at(1000)));
        assert!(guard.freed(at(1000)).is_empty());
        assert_eq!(guard.due(), Some(at(2000)));
        guard.bytes_min = 0;
        assert_eq!(guard.freed(at(2000)), [(attempt("a"), 1), (attempt("b"), 2)]);
        assert_eq!(guard.due(), None);
        assert!(guard.admits(&attempt("c"), 3, at(2001)));
    }

    #[test]
    fn a_forgotten_start_does_not_go_out() {
        let mut guard = guard(u64::MAX - 1);
        assert!(!guard.admits(&attempt("a"), 1, at(0)));
        assert!(!guard.admits(&attempt("b"), 2, at(0)));
        assert!(guard.holds(&attempt("a")));
        assert!(guard.forget(&attempt("a")));
        assert!(!guard.forget(&attempt("a")));
        guard.bytes_min = 0;
        assert_eq!(guard.freed(at(1000)), [(attempt("b"), 2)]);
    }

    #[test]
    fn a_clock_that_went_back_is_no_reason_to_wait() {
        let mut guard = guard(u64::MAX - 1);
        assert!(!guard.admits(&attempt("a"), 1, at(60_000)));
        guard.bytes_min = 0;
        guard.looked = Some((at(60_000), 0));
        guard.freed(at(0));
        assert_eq!(guard.looked.map(|(at, _)| at), Some(at(0)));
    }
}
