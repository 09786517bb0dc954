//! Modes: what a probe's number picks, and what that means for the rest of the run.
//!
//! A mode that picks another one has a task of its own, the probe, in a section before the DAG.
//! Its attempt only counts if its number picks a mode; the pick is an event, so that a resume keeps
//! it, and until it is recorded nothing of the DAG begins. A probe that fails blocks the DAG.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::index::Role;
use crate::plan::Value;
use crate::scheduler::Scheduler;
use crate::settle::{Verdict, number};
use crate::{
    AttemptReport, Event, Expression, FailureClass, NodeIndex, Plan, RunState, Section, Task,
    TaskId, TaskIndex, TaskStatus, evaluate, truthy,
};

/// A mode: a variation that the caller picked, or that a probe picks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanMode {
    /// Its name.
    pub name: String,
    /// How many attempts may run at once in it, over the number in force without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Expression>,
    /// How it picks another mode; `None` if it is what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<ModeChoice>,
}

/// How a mode picks another one by a number that a task measures before the DAG.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModeChoice {
    /// The task of [`Section::Probe`], whose output [`ModeChoice::OUTPUT`] is the number.
    pub probe: TaskIndex,
    /// Tried in order; the first whose condition is true, or that has none, is taken.
    pub alternatives: Vec<Alternative>,
}

/// A mode that may be picked, and what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// When it is taken; `None` is always.
    #[serde(rename = "if")]
    pub condition: Option<Expression>,
    /// Its name.
    pub mode: String,
    /// The tasks that do not run in it, besides those that are excluded anyway.
    pub excluded: Vec<TaskIndex>,
    /// As [`PlanMode::concurrency`].
    pub concurrency: Option<Expression>,
}

impl ModeChoice {
    /// The name of the probe's output that is the number.
    pub const OUTPUT: &'static str = "number";
}

/// The mode that a probe's number has picked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChosenMode {
    /// Its name.
    pub name: String,
    /// The probe.
    pub probe: TaskIndex,
    /// What it measured.
    pub number: f64,
    /// Tasks that do not run in it.
    pub excluded: BTreeSet<TaskIndex>,
    /// How many attempts may run at once in it; `None` leaves the number as it is.
    pub slots: Option<u32>,
}

impl ModeChoice {
    /// The alternative that `number` picks in a plan with these parameters.
    ///
    /// # Errors
    /// In words, if a condition cannot be evaluated or none is true.
    pub fn pick(&self, plan: &Plan, number: f64) -> Result<&Alternative, String> {
        let scope = scope(plan, None, Some(number));
        for alternative in &self.alternatives {
            let Some(condition) = &alternative.condition else { return Ok(alternative) };
            let value = evaluate(&condition.0, &scope)
                .map_err(|error| format!("`if: {}` cannot be evaluated: {error}", condition.0))?;
            if truthy(&value) {
                return Ok(alternative);
            }
        }
        Err(format!("no choice fits the probe's number, {number}"))
    }
}

impl Plan {
    /// How many attempts may run at once in a mode with this `concurrency`, where it would be
    /// `slots` without one; `number` is what the probe measured, if one did.
    ///
    /// # Errors
    /// In words, if it cannot be evaluated or is no number from 1 up.
    pub fn slots_in_mode(
        &self,
        concurrency: Option<&Expression>,
        slots: u32,
        number: Option<f64>,
    ) -> Result<u32, String> {
        let Some(source) = concurrency else { return Ok(slots) };
        let value = evaluate(&source.0, &scope(self, Some(slots), number))
            .map_err(|error| format!("`concurrency: {}` cannot be evaluated: {error}", source.0))?;
        let wanted = self::number(&value).filter(|number| *number >= 1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let slots = wanted.map(|number| number.min(f64::from(SLOTS_MAX)) as u32);
        slots.ok_or_else(|| format!("`concurrency: {}` is {value}, not 1 or more", source.0))
    }
}

/// The most attempts that a mode lets run at once.
const SLOTS_MAX: u32 = 100_000;

/// What expressions of modes see.
fn scope(plan: &Plan, slots: Option<u32>, number: Option<f64>) -> Value {
    let mut scope = json!({"params": plan.params});
    if let Some(slots) = slots {
        scope["limits"] = json!({"concurrency": slots});
    }
    if let Some(number) = number {
        scope["probe"] = whole_where_it_is(number);
    }
    scope
}

/// A number without a fraction as a whole one, so that messages say `3` and not `3.0`.
fn whole_where_it_is(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "only where it is exact")]
    let whole = number as i64;
    #[expect(clippy::cast_precision_loss, reason = "compared with what it came from")]
    let same = whole as f64;
    if same.to_bits() == number.to_bits() { json!(whole) } else { json!(number) }
}

impl RunState {
    /// Takes in that a mode was chosen. `position` gives a task's place by its id.
    pub(crate) fn take_mode(
        &mut self,
        event: &Event,
        position: impl Fn(&TaskId) -> Option<TaskIndex>,
    ) -> Result<(), &'static str> {
        let Event::ModeChosen { probe, number, mode, excluded, slots } = event else {
            return Err("it chooses no mode");
        };
        if self.mode.is_some() {
            return Err("a mode was chosen before");
        }
        self.slots = slots.unwrap_or(self.slots).max(1);
        self.mode = Some(ChosenMode {
            name: mode.clone(),
            probe: position(probe).ok_or("the plan has no such task")?,
            number: *number,
            // What a changed workflow has no more does not run either.
            excluded: excluded.iter().filter_map(position).collect(),
            slots: *slots,
        });
        Ok(())
    }

    /// Whether a task does not run: it was not selected, or its mode leaves it out.
    #[must_use]
    pub fn is_excluded(&self, plan: &Plan, task: TaskIndex) -> bool {
        let by_mode = || self.mode.as_ref().is_some_and(|mode| mode.excluded.contains(&task));
        plan.tasks[task].excluded || by_mode()
    }

    /// Whether the mode is still to be found out.
    pub(crate) fn awaits_mode(&self, plan: &Plan) -> bool {
        self.mode.is_none() && choice_of(plan).is_some()
    }
}

fn choice_of(plan: &Plan) -> Option<&ModeChoice> {
    plan.mode.as_ref()?.choice.as_ref()
}

impl Scheduler {
    /// A probe's attempt counts only if its number picks a mode.
    pub(crate) fn judge_probe(&self, node: NodeIndex, report: &mut AttemptReport) {
        let is_probe = choice_of(&self.plan).is_some_and(|choice| choice.probe == node);
        if !is_probe || report.class.is_some() {
            return;
        }
        if let Err((class, message)) = self.mode_after(report) {
            report.class = Some(class);
            report.message = message;
        }
    }

    /// The event that a probe's report leads to.
    fn mode_after(&self, report: &AttemptReport) -> Result<Event, (FailureClass, String)> {
        let plan = &self.plan;
        let named = plan.mode.as_ref().map_or("", |mode| mode.name.as_str());
        let wrong = |why: String| (FailureClass::InvalidRequest, format!("mode `{named}`: {why}"));
        let choice = choice_of(plan).ok_or_else(|| wrong("it has no choice".to_owned()))?;
        let output = report.outputs.get(ModeChoice::OUTPUT).map(crate::Stored::to_value);
        let found = output.as_ref().and_then(number).ok_or_else(|| {
            let seen = output.as_ref().map_or("nothing".to_owned(), Value::to_string);
            let message = format!("the probe of mode `{named}` measured no number, but {seen}");
            (FailureClass::Output, message)
        })?;
        let slots = self.state.slots;
        let picked = choice.pick(plan, found).map_err(wrong)?;
        let own = picked.concurrency.as_ref().filter(|_| self.state.request.concurrency.is_none());
        let slots = match own {
            Some(own) => Some(plan.slots_in_mode(Some(own), slots, Some(found)).map_err(wrong)?),
            None => None,
        };
        Ok(Event::ModeChosen {
            probe: plan.tasks[choice.probe].id.clone(),
            number: found,
            mode: picked.mode.clone(),
            excluded: picked.excluded.iter().map(|&i| plan.tasks[i].id.clone()).collect(),
            slots,
        })
    }

    /// Follows the probe's end, if the mode is still to be found out: says whether that decided
    /// anything, or `None` if nothing stands in the DAG's way.
    pub(crate) fn decide_mode(&mut self) -> Option<bool> {
        if !self.state.awaits_mode(&self.plan) {
            return None;
        }
        let probe = choice_of(&self.plan)?.probe;
        let entry = &self.state.tasks[probe];
        if !entry.status.is_final() {
            return Some(false);
        }
        if entry.status == TaskStatus::Succeeded
            && let Some(Ok(event)) = entry.last.as_ref().map(|report| self.mode_after(report))
        {
            self.record(event);
            self.index.dirty.extend(self.graph.section(Section::Main));
            return Some(true);
        }
        // Nothing of the DAG can begin any more: what is idle, items too, is to be blocked.
        let is_idle = |node: &NodeIndex| {
            let entry = &self.state.tasks[*node];
            match Role::of(self.task(*node), entry) {
                Role::Idle => entry.status == TaskStatus::Pending,
                Role::Retry(until) => until <= self.now,
                _ => false,
            }
        };
        let holds_idle =
            |task: &&TaskIndex| is_idle(task) || self.state.items_of(**task).iter().any(is_idle);
        let main = self.graph.section(Section::Main).iter();
        let idle: Vec<TaskIndex> = main.filter(holds_idle).copied().collect();
        let any = !idle.is_empty();
        self.index.dirty.extend(idle);
        any.then_some(true)
    }

    /// What stands in the way of a task of the DAG while the mode is not known: it waits for the
    /// probe, or is blocked by it.
    pub(crate) fn mode_verdict(&self, task: &Task) -> Option<Verdict> {
        if task.section != Section::Main || !self.state.awaits_mode(&self.plan) {
            return None;
        }
        let probe = choice_of(&self.plan)?.probe;
        let entry = &self.state.tasks[probe];
        // After a change of the workflow even a number that was good may pick nothing any more.
        let picks = || entry.last.as_ref().is_some_and(|report| self.mode_after(report).is_ok());
        let fails = entry.status.is_final() && !(entry.status == TaskStatus::Succeeded && picks());
        Some(if fails { Verdict::Block(probe) } else { Verdict::Wait })
    }

    /// A resumed run goes on in the mode that was chosen.
    pub(crate) fn keep_mode(&mut self) {
        let chosen = self.state.mode.as_ref().and_then(|mode| mode.slots);
        if let Some(slots) = chosen
            && self.state.request.concurrency.is_none()
            && slots != self.state.slots
        {
            self.record(Event::SlotsChanged { slots });
        }
    }
}
