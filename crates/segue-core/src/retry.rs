//! How long to wait before the next try, and whether there is one.

use crate::{
    AttemptReport, Backoff, FailureClass, ItemKey, Millis, Retry, RunId, Task, TaskEntry, TaskId,
};

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another try after this delay.
    Retry(Millis),
    /// A gate's feedback round, at once.
    Feedback,
    /// The task has failed.
    Fail,
}

/// Decides what follows a failed attempt of class `class`; `entry` already counts it.
pub(crate) fn next(
    task: &Task,
    item: Option<&ItemKey>,
    entry: &TaskEntry,
    report: &AttemptReport,
    class: FailureClass,
    run: Option<&RunId>,
) -> Next {
    if task.retry.never {
        return Next::Fail;
    }
    let rounds = task.gates.iter().filter(|gate| gate.feedback).map(|gate| gate.rounds).max();
    let asked = report.findings.iter().any(|finding| finding.feedback && !finding.passed);
    if class == FailureClass::Quality && asked && entry.rounds < rounds.unwrap_or(0) {
        return Next::Feedback;
    }
    if task.retry.on.contains(&class) && entry.tries < task.retry.attempts {
        return Next::Retry(delay(&task.retry, entry.tries, run, &task.id, item));
    }
    Next::Fail
}

impl Retry {
    /// How many tries there are, feedback rounds apart.
    #[must_use]
    pub const fn tries(&self) -> u32 {
        if self.never { 1 } else { self.attempts }
    }

    /// The delays between the tries, jitter left out: none is longer.
    pub fn delays(&self) -> impl Iterator<Item = Millis> {
        (1..self.tries()).map(|tries| self.delay_at_most(tries))
    }

    /// The delay after try number `tries` (from 1): grown by the backoff, and capped.
    fn delay_at_most(&self, tries: u32) -> Millis {
        let base = self.delay.0;
        let grown = match self.backoff {
            Backoff::Fixed => base,
            Backoff::Linear => base.saturating_mul(u64::from(tries)),
            Backoff::Exponential => {
                base.saturating_mul(1_u64.checked_shl(tries.saturating_sub(1)).unwrap_or(u64::MAX))
            }
        };
        Millis(grown.min(self.max_delay.0.max(base)))
    }
}

/// The delay after try number `tries` (from 1), with jitter shortened by up to half, always by
/// the same amount for the same run, task, item and try.
pub(crate) fn delay(
    retry: &Retry,
    tries: u32,
    run: Option<&RunId>,
    task: &TaskId,
    item: Option<&ItemKey>,
) -> Millis {
    let capped = retry.delay_at_most(tries).0;
    if !retry.jitter {
        return Millis(capped);
    }
    let run = run.map_or("", RunId::as_str);
    let seed = match item {
        None => format!("{run}/{task}/{tries}"),
        Some(item) => format!("{run}/{task}/{item}/{tries}"),
    };
    let thousandths = crate::stable_hash(seed.as_bytes()) >> 20 & 0x3ff;
    Millis(capped - capped / 2 * thousandths.min(1000) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(backoff: Backoff, expected: &[u64]) {
        let attempts = u32::try_from(expected.len()).unwrap() + 1;
        let retry = Retry { attempts, backoff, jitter: false, ..Retry::default() };
        let task = TaskId::parse("t").unwrap();
        let got: Vec<u64> = (1..attempts).map(|n| delay(&retry, n, None, &task, None).0).collect();
        assert_eq!(got, expected);
        assert_eq!(retry.delays().map(|delay| delay.0).collect::<Vec<_>>(), expected);
        assert_eq!(Retry { never: true, ..retry }.delays().count(), 0);
    }

    #[test]
    fn delays_grow_as_the_backoff_says_up_to_the_cap() {
        check(Backoff::Fixed, &[5000, 5000, 5000]);
        check(Backoff::Linear, &[5000, 10_000, 15_000]);
        check(Backoff::Exponential, &[5000, 10_000, 20_000, 40_000, 60_000, 60_000]);
    }

    #[test]
    fn jitter_shortens_by_at_most_half_and_is_the_same_each_time() {
        let retry = Retry { delay: Millis(10_000), ..Retry::default() };
        let run = RunId::parse("run-1").unwrap();
        let task = TaskId::parse("t").unwrap();
        let once = delay(&retry, 1, Some(&run), &task, None);
        assert_eq!(once, delay(&retry, 1, Some(&run), &task, None));
        assert!((5000..=10_000).contains(&once.0), "{once:?}");
        let other = RunId::parse("run-2").unwrap();
        assert_ne!(once, delay(&retry, 1, Some(&other), &task, None));
        assert_ne!(once, delay(&retry, 1, Some(&run), &task, Some(&ItemKey::new("a"))));
    }
}
