//! How long a run will probably take, from how long its tasks took in earlier runs.
//!
//! A run is gone through many times in the head, each time with one earlier duration of each task,
//! drawn by a hash of its name: the same history always gives the same forecast.

use crate::rehearsal::Rehearsal;
use crate::{Millis, Plan, Section, TaskIndex, stable_hash};

/// How often a run is gone through, if its tasks are few.
const ROUNDS_MAX: usize = 200;
/// How often at least, however many they are.
const ROUNDS_MIN: usize = 20;
/// How many tasks are gone through in all rounds together, beyond the least number of rounds.
const TASKS_MAX: usize = 200_000;

/// The middle and the upper end of some durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// Half of them are no longer.
    pub p50: Millis,
    /// Nine of ten are no longer.
    pub p90: Millis,
    /// How many there are.
    pub count: usize,
}

/// What earlier runs say about the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// By [`TaskIndex`]; `None` for a task that has never run, or will not.
    pub tasks: Vec<Option<Quantiles>>,
    /// The run, if everything succeeds; `None` if none of its tasks has ever run.
    pub run: Option<Quantiles>,
    /// Tasks that have never run and may run now: they count as nothing in `run`.
    pub unknown: Vec<TaskIndex>,
}

impl Forecast {
    /// The forecast for a plan with `slots` attempts at once. `history` has for each task what it
    /// took in each earlier run, `None` where it was skipped; in any order that is always the same.
    #[must_use]
    pub fn of(plan: &Plan, slots: u32, history: &[Vec<Option<Millis>>]) -> Self {
        let rehearsal = Rehearsal::of(plan);
        let expected = |index: TaskIndex| {
            plan.tasks[index].section != Section::OnFailure && !rehearsal.is_left_out(index)
        };
        let earlier = |index: TaskIndex| history.get(index).map_or(&[][..], Vec::as_slice);
        let tasks: Vec<Option<Quantiles>> = (0..plan.tasks.len())
            .map(|index| {
                let ran = earlier(index).iter().flatten().copied();
                if rehearsal.is_left_out(index) { None } else { Quantiles::of(ran.collect()) }
            })
            .collect();
        let unknown: Vec<TaskIndex> =
            (0..tasks.len()).filter(|&i| expected(i) && earlier(i).is_empty()).collect();
        let known = (0..tasks.len()).any(|index| expected(index) && tasks[index].is_some());
        let rounds = (TASKS_MAX / tasks.len().max(1)).clamp(ROUNDS_MIN, ROUNDS_MAX);
        let run = known.then(|| {
            let slots = usize::try_from(slots).unwrap_or(usize::MAX);
            let spans = (0..rounds).map(|round| {
                let took = |index: TaskIndex| {
                    // Nobody waits for the end of a service.
                    let service = plan.tasks[index].background.is_some();
                    let drawn = draw(plan, index, round, earlier(index)).filter(|_| !service);
                    expected(index).then(|| drawn.unwrap_or_default())
                };
                rehearsal.perform(slots, &took).span
            });
            Quantiles::of(spans.collect())
        });
        Self { tasks, run: run.flatten(), unknown }
    }
}

/// One of a task's earlier durations; a run in which it was skipped is one without.
fn draw(plan: &Plan, index: TaskIndex, round: usize, earlier: &[Option<Millis>]) -> Option<Millis> {
    let seed = format!("{}/{round}", plan.tasks[index].id);
    // The low bits of FNV-1a follow the last bytes too closely.
    let drawn = usize::try_from(stable_hash(seed.as_bytes()) >> 33).unwrap_or(0);
    *earlier.get(drawn.checked_rem(earlier.len())?)?
}

impl Quantiles {
    /// Of these durations; `None` of none.
    #[must_use]
    pub fn of(mut spans: Vec<Millis>) -> Option<Self> {
        spans.sort_unstable();
        let at = |percent| quantile(&spans, percent).copied();
        Some(Self { p50: at(50)?, p90: at(90)?, count: spans.len() })
    }
}

/// The least of these values, sorted, that `percent` of a hundred do not exceed (the nearest rank);
/// `None` of none.
#[must_use]
pub fn quantile<T>(sorted: &[T], percent: usize) -> Option<&T> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.max(1) - 1)
}
