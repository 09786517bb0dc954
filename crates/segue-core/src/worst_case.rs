//! The bound on a run's time: no run of a plan takes longer, whatever its tasks do.
//!
//! # Why it holds
//!
//! Whenever a slot is free, a chain of tasks moves on, each of which started when its
//! predecessor – a need, or the last task of the stage or section before – had ended: its tasks
//! work, or wait for their next try. Whenever none is free, all slots work. So a run takes at
//! most the longest chain plus what the slots leave over of all work: Graham's bound for list
//! scheduling, with stages and sections as further arrows and with waits that hold no slot. A task
//! without a limit of its own, or one that waits for other runs, has no bound but the run's.

use crate::rehearsal::Rehearsal;
use crate::{Action, GateCheck, Millis, OnBusy, Plan, Precheck, Section, Task, TaskIndex};

/// The most time that a run and its tasks can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorstCase {
    /// By [`TaskIndex`]: from a task's first start to its end, waits for a slot left out; zero for
    /// one that never runs, `None` for one without a bound.
    pub tasks: Vec<Option<Millis>>,
    /// Tasks that have no bound of their own, and why.
    pub unbounded: Vec<(TaskIndex, Unbounded)>,
    /// All tasks together; `None` if one of them has no bound.
    pub all_tasks: Option<Millis>,
    /// When the run's own timeout has ended the last attempt.
    pub run_stopped: Millis,
}

/// Why a task has no bound of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbounded {
    /// It has no `timeout`.
    NoTimeout,
    /// It waits for other runs that hold its concurrency group.
    WaitsForGroup,
    /// How many items it has is known in the run.
    Items,
    /// It waits for a person as long as the run may take.
    WaitsForAnswer,
}

impl Unbounded {
    /// The reason in words, to follow on the task's name.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoTimeout => "has no timeout",
            Self::Items => "has as many items as the run finds",
            Self::WaitsForAnswer => "waits for a person's answer",
            Self::WaitsForGroup => "waits for other runs of its concurrency group",
        }
    }
}

/// A task's worst case: its work in slots, and its waits between tries; of all its items one
/// after the other, if it has items, since at least one of them moves on whenever a slot is free.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    work: Millis,
    waits: Millis,
    /// How many attempts of it may run at once.
    width: usize,
}

impl WorstCase {
    /// The bound for a plan with `slots` attempts at once.
    #[must_use]
    pub fn of(plan: &Plan, slots: u32) -> Self {
        let rehearsal = Rehearsal::of(plan);
        let mut unbounded = Vec::new();
        let worst: Vec<Option<Worst>> = (0..plan.tasks.len())
            .map(|index| match worst_of(plan, &plan.tasks[index]) {
                _ if rehearsal.is_left_out(index) => Some(Worst::default()),
                Ok(worst) => Some(worst),
                Err(why) => {
                    unbounded.push((index, why));
                    None
                }
            })
            .collect();
        let total = |worst: &Worst| Millis(worst.work.0.saturating_add(worst.waits.0));
        let known: Option<Vec<Worst>> = worst.iter().copied().collect();
        // The run ends in one of two ways, and only the section for that one is entered.
        let ways = [Section::OnSuccess, Section::OnFailure];
        let all_tasks = known.map(|worst| {
            let bounds = ways.map(|not| bound(plan, &rehearsal, &worst, slots, not));
            bounds.into_iter().max().unwrap_or_default()
        });
        let grace = plan.tasks.iter().map(|task| task.limits.kill_grace.0).max().unwrap_or(0);
        Self {
            tasks: worst.iter().map(|worst| worst.as_ref().map(total)).collect(),
            unbounded,
            all_tasks,
            run_stopped: Millis(plan.limits.timeout.0.saturating_add(grace)),
        }
    }

    /// The bound on the run: by its tasks, or by its own timeout if that comes first.
    #[must_use]
    pub fn run(&self) -> Millis {
        self.all_tasks.map_or(self.run_stopped, |tasks| tasks.min(self.run_stopped))
    }
}

/// The most that a task can take, once it may start.
fn worst_of(plan: &Plan, task: &Task) -> Result<Worst, Unbounded> {
    let check = task.precheck.as_ref().map_or(Millis(0), Precheck::worst);
    let waits_only = |waits: Millis| {
        let waits = Millis(waits.0.saturating_add(check.0));
        Ok(Worst { waits, ..Worst::default() })
    };
    if let Action::Approve { timeout, .. } = &task.action {
        return waits_only(timeout.ok_or(Unbounded::WaitsForAnswer)?);
    }
    if let Some(service) = &task.background {
        // It lives as long as others do, beside the slots; only until it is ready they wait.
        return waits_only(service.ready.as_ref().map_or(Millis(0), Precheck::worst));
    }
    let mut worst = work_of(plan, task)?;
    worst.waits.0 = worst.waits.0.saturating_add(check.0);
    Ok(worst)
}

/// The most that a task's attempts can take.
fn work_of(plan: &Plan, task: &Task) -> Result<Worst, Unbounded> {
    let limit = task.limits.timeout.ok_or(Unbounded::NoTimeout)?;
    if task.group.as_ref().is_some_and(|group| group.on_busy == OnBusy::Queue) {
        return Err(Unbounded::WaitsForGroup);
    }
    let verify = task.gates.iter().filter_map(|gate| match &gate.check {
        GateCheck::Verify { timeout, .. } => Some(*timeout),
        _ => None,
    });
    let grace = task.limits.kill_grace.0;
    let once = [limit]
        .into_iter()
        .chain(verify)
        .fold(0, |sum: u64, limit| sum.saturating_add(limit.0).saturating_add(grace));
    let rounds = task.gates.iter().filter(|gate| gate.feedback).map(|gate| gate.rounds).max();
    let tries = match task.retry.never {
        true => 1,
        false => u64::from(task.retry.attempts) + u64::from(rounds.unwrap_or(0)),
    };
    let waits = task.retry.delays().fold(0, |sum: u64, delay| sum.saturating_add(delay.0));
    let width = match &task.for_each {
        None => 1,
        Some(for_each) => for_each.count(&plan.params).ok_or(Unbounded::Items)?,
    };
    let items = u64::try_from(width).unwrap_or(u64::MAX);
    let work = Millis(once.saturating_mul(tries).saturating_mul(items));
    Ok(Worst { work, waits: Millis(waits.saturating_mul(items)), width })
}

/// The bound over all sections but `not`.
fn bound(
    plan: &Plan,
    rehearsal: &Rehearsal<'_>,
    worst: &[Worst],
    slots: u32,
    not: Section,
) -> Millis {
    let entered = |index: TaskIndex| plan.tasks[index].section != not;
    let chain = |share: &dyn Fn(u64) -> u64| {
        let took = |index: TaskIndex| {
            let Worst { work, waits, .. } = worst[index];
            entered(index).then(|| Millis(share(work.0).saturating_add(waits.0)))
        };
        rehearsal.perform(usize::MAX, &took).span
    };
    let running = (0..worst.len()).filter(|&i| entered(i) && !rehearsal.is_left_out(i));
    let (mut count, mut work) = (0_usize, 0_u64);
    for index in running {
        count = count.saturating_add(worst[index].width);
        work = work.saturating_add(worst[index].work.0);
    }
    // Services end one after another behind the last task that needs them.
    let services = plan.tasks.iter().filter(|task| task.background.is_some());
    let graces = services.fold(0, |sum: u64, task| sum.saturating_add(task.limits.kill_grace.0));
    if usize::try_from(slots).is_ok_and(|slots| slots >= count) {
        // Nobody ever waits for a slot.
        return Millis(chain(&|work| work).0.saturating_add(graces));
    }
    let slots = u64::from(slots.max(1));
    // The chain's own part of the work is not left over.
    let longest = chain(&|work| work - work / slots);
    Millis(longest.0.saturating_add(work.div_ceil(slots)).saturating_add(graces))
}
