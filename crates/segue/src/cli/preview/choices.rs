//! What a mode with a probe may pick: every choice, as if its number had been measured.

use segue_core::{Forecast, Millis, Plan, PlanMode, TaskIndex, WorstCase};

/// One choice of a mode, and what the run would be in it.
pub(super) struct Choice {
    /// When it is taken; `None` is always.
    pub(super) condition: Option<String>,
    /// The mode that it picks.
    pub(super) mode: String,
    /// The tasks that do not run in it.
    pub(super) left_out: Vec<TaskIndex>,
    /// How many attempts may run at once in it; the expression where it needs the number.
    pub(super) slots: Result<u32, String>,
    pub(super) worst: WorstCase,
    pub(super) forecast: Forecast,
}

/// All choices of a plan's mode; none without a probe. `slots` is the number without a mode, and
/// `fixed` whether the caller asked for it.
pub(super) fn choices(
    plan: &Plan,
    slots: u32,
    fixed: bool,
    history: &[Vec<Option<Millis>>],
) -> Vec<Choice> {
    let choice = plan.mode.as_ref().and_then(|mode| mode.choice.as_ref());
    let alternatives = choice.into_iter().flat_map(|choice| &choice.alternatives);
    alternatives
        .map(|one| {
            let mut there = plan.clone();
            one.excluded.iter().for_each(|&index| there.tasks[index].excluded = true);
            there.mode = Some(PlanMode { name: one.mode.clone(), concurrency: None, choice: None });
            let own = one.concurrency.as_ref().filter(|_| !fixed);
            let own_slots = plan.slots_in_mode(own, slots, None);
            let at_once = own_slots.as_ref().copied().unwrap_or(1);
            Choice {
                condition: one.condition.as_ref().map(|condition| condition.0.clone()),
                mode: one.mode.clone(),
                left_out: one.excluded.clone(),
                slots: own_slots.map_err(|_| own.map_or(String::new(), |own| own.0.clone())),
                worst: WorstCase::of(&there, at_once),
                forecast: Forecast::of(&there, at_once, history),
            }
        })
        .collect()
}
