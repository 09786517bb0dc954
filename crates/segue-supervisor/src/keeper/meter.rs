//! What an attempt's tree uses of memory and processor, and whether that is too much memory.
//!
//! Owns the attempt's control group, or in its place the clock of samples. Reads no clock and
//! signals nobody: the instant comes in, the verdict goes out.

use crate::cgroup::{Bounds, Group};
use crate::report::MemoryExceeded;
use crate::request::Limits;

/// Memory is sampled this often where no control group holds its limit.
const SAMPLE_PAUSE_MS: u64 = 1_000;

/// The same once more than half of the limit is used.
const SAMPLE_PAUSE_NEAR_MS: u64 = 250;

/// A sample above the limit counts only when another one agrees so much later. A process that is
/// just starting a program shares all its memory with that one, which a single look counts twice.
const CONFIRM_MS: u64 = 50;

/// Watches one attempt.
#[derive(Debug)]
pub(super) struct Meter {
    group: Option<Group>,
    limit_bytes: Option<u64>,
    /// When to take the next sample; `None` without a limit, or where the kernel holds it.
    look_at: Option<u64>,
    is_suspect: bool,
    peak_bytes: Option<u64>,
    exceeded: Option<MemoryExceeded>,
    cpu: Growing,
}

/// What is known of the tree's memory when it is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MemoryUse {
    pub(super) peak_bytes: Option<u64>,
    pub(super) exceeded: Option<MemoryExceeded>,
}

impl Meter {
    /// A watch over an attempt in this group, which holds these of its limits.
    pub(super) fn new(limits: &Limits, group: Option<(Group, Bounds)>, now: u64) -> Self {
        let (group, held) = group.map(|(group, held)| (Some(group), held)).unwrap_or_default();
        let is_sampled = limits.memory_bytes_max.is_some() && held.memory_bytes_max.is_none();
        Self {
            group,
            limit_bytes: limits.memory_bytes_max,
            look_at: is_sampled.then_some(now + SAMPLE_PAUSE_NEAR_MS),
            is_suspect: false,
            peak_bytes: None,
            exceeded: None,
            cpu: Growing::default(),
        }
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<u64> {
        self.look_at
    }

    /// Takes a sample if one is due; true when the tree has to be killed.
    pub(super) fn check(&mut self, now: u64, memory_bytes: impl FnOnce() -> u64) -> bool {
        if self.look_at.is_none_or(|at| at > now) {
            return false;
        }
        let used_bytes = memory_bytes();
        let limit_bytes = self.limit_bytes.unwrap_or(u64::MAX);
        let was_suspect = std::mem::replace(&mut self.is_suspect, used_bytes > limit_bytes);
        if self.is_suspect && !was_suspect {
            self.look_at = Some(now + CONFIRM_MS);
            return false;
        }
        self.peak_bytes = self.peak_bytes.max(Some(used_bytes));
        if self.is_suspect {
            self.exceeded = Some(MemoryExceeded { limit_bytes, used_bytes });
            self.look_at = None;
            return true;
        }
        let is_near = used_bytes > limit_bytes / 2;
        self.look_at = Some(now + if is_near { SAMPLE_PAUSE_NEAR_MS } else { SAMPLE_PAUSE_MS });
        false
    }

    /// The tree's processor time so far, in milliseconds, when this much of it can be seen.
    pub(super) fn cpu_ms(&mut self, seen_ms: u64) -> u64 {
        self.cpu.total(seen_ms)
    }

    /// The tree is gone: what is known of its memory. Lets go of the group.
    pub(super) fn finish(&mut self) -> MemoryUse {
        let Some(group) = self.group.take() else {
            return MemoryUse { peak_bytes: self.peak_bytes, exceeded: self.exceeded };
        };
        let peak_bytes = group.peak_bytes().or(self.peak_bytes);
        let exceeded = self.limit_bytes.filter(|_| group.was_out_of_memory()).map(|limit_bytes| {
            MemoryExceeded { limit_bytes, used_bytes: peak_bytes.unwrap_or(limit_bytes) }
        });
        group.remove();
        MemoryUse { peak_bytes, exceeded: exceeded.or(self.exceeded) }
    }
}

/// A sum of which parts can vanish: what a child used that nobody waited for is gone with it.
#[derive(Clone, Copy, Debug, Default)]
struct Growing {
    seen: u64,
    total: u64,
}

impl Growing {
    fn total(&mut self, seen: u64) -> u64 {
        self.total += seen.saturating_sub(self.seen);
        self.seen = seen;
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs over samples of memory in time; when it kills, and the sample instants.
    fn run(memory: &dyn Fn(u64) -> u64, until: u64) -> (Option<u64>, Vec<u64>, MemoryUse) {
        let limits = Limits { memory_bytes_max: Some(1_000), ..Limits::default() };
        let mut meter = Meter::new(&limits, None, 0);
        let mut looks = Vec::new();
        while let Some(now) = meter.next().filter(|at| *at <= until) {
            looks.push(now);
            if meter.check(now, || memory(now)) {
                return (Some(now), looks, meter.finish());
            }
        }
        (None, looks, meter.finish())
    }

    #[test]
    fn a_tree_is_killed_when_two_samples_in_a_row_are_above_the_limit() {
        let (killed, looks, used) = run(&|now| now, 60_000);
        assert_eq!(killed, Some(1_300));
        assert_eq!(looks, [250, 1_250, 1_300]);
        let exceeded = MemoryExceeded { limit_bytes: 1_000, used_bytes: 1_300 };
        assert_eq!(used, MemoryUse { peak_bytes: Some(1_300), exceeded: Some(exceeded) });
    }

    #[test]
    fn a_moment_above_the_limit_is_no_proof_and_the_limit_itself_is_allowed() {
        let (killed, _, used) = run(&|now| if now == 1_250 { 2_000 } else { 400 }, 10_000);
        assert_eq!((killed, used.peak_bytes), (None, Some(400)));
        let (killed, looks, used) = run(&|_| 1_000, 2_000);
        assert_eq!((killed, used.peak_bytes, used.exceeded), (None, Some(1_000), None));
        assert_eq!(looks, [250, 500, 750, 1_000, 1_250, 1_500, 1_750, 2_000], "it is near");
    }

    #[test]
    fn without_a_limit_nothing_is_sampled() {
        let mut meter = Meter::new(&Limits::default(), None, 0);
        assert_eq!(meter.next(), None);
        assert!(!meter.check(5_000, || unreachable!("nobody asked")));
        assert_eq!(meter.finish(), MemoryUse::default());
    }

    #[test]
    fn processor_time_never_shrinks() {
        let mut meter = Meter::new(&Limits::default(), None, 0);
        let seen = [100, 250, 40, 90, 90];
        assert_eq!(seen.map(|ms| meter.cpu_ms(ms)), [100, 250, 250, 300, 300]);
    }
}
