//! Settling: following the consequences of an input until nothing more can be decided.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::index::Role;
use crate::plan::Value;
use crate::scheduler::Scheduler;
use crate::scope::task_scope_with;
use crate::state::AttemptStep;
use crate::template::evaluate_in;
use crate::{
    Action, AttemptId, AttemptReport, CheckKind, Effect, Event, Expression, ExpressionError,
    FailureClass, Finding, GateCheck, NodeIndex, OnBusy, Ordered, Section, SkipReason, StopReason,
    Task, TaskIndex, TaskStatus, Wants, When, output_scope, truthy,
};

/// How many ready attempts are cleared ahead of free slots.
const CLEARED_AHEAD_MAX: usize = 32;

/// What a task's needs say about it.
pub(crate) enum Verdict {
    Wait,
    Go,
    Skip(SkipReason),
    Block(TaskIndex),
}

impl Scheduler {
    /// Decides everything that can be decided now.
    pub(crate) fn settle(&mut self) {
        loop {
            self.end_overdue();
            while let Some(index) = self.index.dirty.pop_first() {
                self.examine(index);
            }
            if !self.tend_services() && !self.open_next() {
                break;
            }
        }
        self.dispatch();
        self.finish_if_done();
    }

    /// Looks at one task whose needs, stage, section, items or attempt changed.
    fn examine(&mut self, index: NodeIndex) {
        if self.state.item(index).is_some() {
            return self.examine_item(index);
        }
        let plan = Arc::clone(&self.plan);
        let task = &plan.tasks[index];
        let retries = match Role::of(task, &self.state.tasks[index]) {
            Role::Open => return self.examine_open(index),
            Role::Idle => false,
            Role::Retry(until) if until <= self.now => true,
            role => return self.examine_waiting(index, role),
        };
        if self.state.stop.is_some_and(|stop| stop.blocks(task.section)) {
            if !self.state.stop.is_some_and(|stop| stop.interrupts()) {
                let reason = self.state.stop.map_or(StopReason::Cancelled, |stop| stop.reason);
                self.cancel_idle(index, reason);
            }
            return;
        }
        if task.section > self.state.section {
            return;
        }
        match self.mode_verdict(task) {
            Some(Verdict::Block(probe)) => return self.block(index, probe),
            Some(_) => return,
            None => {}
        }
        if self.state.is_excluded(&plan, index) {
            return self.skip(index, SkipReason::NotSelected);
        }
        let began = self.state.tasks[index].attempts > 0 || task.precheck.is_some();
        if began && !self.enters(task.section) {
            return self.skip(index, SkipReason::SectionNotEntered);
        }
        match self.verdict(index, task) {
            Verdict::Wait => {}
            Verdict::Skip(reason) => self.skip(index, reason),
            Verdict::Block(need) => self.block(index, need),
            Verdict::Go if task.section == Section::Main && task.stage > self.state.stage => {}
            Verdict::Go if retries => self.enqueue(index, task),
            Verdict::Go => self.admit(index, task),
        }
    }

    /// Looks at a task that waits for something whose time may have come.
    fn examine_waiting(&mut self, index: TaskIndex, role: Role) {
        match role {
            _ if self.stop_asked(index).is_some() => {}
            Role::Asking(until) if self.is_over(until) => self.unanswered(index),
            Role::Checking(next) if self.is_over(next) => self.look(index, CheckKind::Precheck),
            Role::Service(_, next) if self.is_over(next) => self.look(index, CheckKind::Ready),
            _ => {}
        }
    }

    pub(crate) fn skip(&mut self, index: NodeIndex, reason: SkipReason) {
        let (task, item) = self.name(index);
        self.record(Event::TaskSkipped { task, item, reason });
    }

    pub(crate) fn block(&mut self, index: NodeIndex, need: TaskIndex) {
        let by = self.root_of(need);
        let (task, item) = self.name(index);
        self.record(Event::TaskBlocked { task, item, by });
    }

    /// The task at the root of a failed, blocked or cancelled need.
    fn root_of(&self, need: TaskIndex) -> crate::TaskId {
        let entry = &self.state.tasks[need];
        entry.blocked_by.clone().unwrap_or_else(|| self.plan.tasks[need].id.clone())
    }

    pub(crate) fn verdict(&self, index: TaskIndex, task: &Task) -> Verdict {
        let status = |need: &TaskIndex| self.state.tasks[*need].status;
        let bad = |need: &TaskIndex| match status(need) {
            TaskStatus::Failed | TaskStatus::Blocked => !self.plan.tasks[*need].optional,
            TaskStatus::Cancelled => true,
            _ => false,
        };
        let ended = self.index.unmet[index] == 0;
        let unmet = || SkipReason::WhenUnmet { rule: task.when.word().to_owned() };
        match task.when {
            When::AllSucceeded => {
                if let Some(&need) = task.needs.iter().find(|need| bad(need)) {
                    return Verdict::Block(need);
                }
                let skipped = |need: &&TaskIndex| status(need) == TaskStatus::Skipped;
                if let Some(&need) = task.needs.iter().find(skipped) {
                    let need = self.plan.tasks[need].id.clone();
                    return Verdict::Skip(SkipReason::NeedSkipped { need });
                }
                if ended { Verdict::Go } else { Verdict::Wait }
            }
            _ if !ended => Verdict::Wait,
            When::AllDone => Verdict::Go,
            When::AnySucceeded => {
                let good = |need: &TaskIndex| {
                    status(need) == TaskStatus::Succeeded || self.is_served(*need)
                };
                if task.needs.iter().any(good) {
                    Verdict::Go
                } else if let Some(&need) = task.needs.iter().find(|need| bad(need)) {
                    Verdict::Block(need)
                } else {
                    Verdict::Skip(unmet())
                }
            }
            When::AnyFailed => {
                let failed = |need: &TaskIndex| {
                    matches!(status(need), TaskStatus::Failed | TaskStatus::Blocked)
                };
                if task.needs.iter().any(failed) { Verdict::Go } else { Verdict::Skip(unmet()) }
            }
        }
    }

    /// A task that may start as far as its needs go: its conditions, then its items or group.
    fn admit(&mut self, index: TaskIndex, task: &Task) {
        if let Some(condition) = &task.condition {
            match self.control(index, condition) {
                Ok(value) if truthy(&value) => {}
                Ok(_) => {
                    let expression = condition.0.clone();
                    return self.skip(index, SkipReason::ConditionFalse { expression });
                }
                Err(error) => return self.fail_to_evaluate(index, "if", condition, &error),
            }
        }
        if task.background.is_some() && !self.is_needed(index) {
            self.skip(index, SkipReason::NotNeeded);
        } else if task.for_each.is_none() && !self.passes_skip_if(index, task) {
            // Its end is recorded.
        } else if self.is_unchecked(index, task) {
            self.look(index, CheckKind::Precheck);
        } else if let Some(for_each) = &task.for_each {
            self.list(index, for_each);
        } else {
            self.enqueue(index, task);
        }
    }

    /// Puts a task or item in line for a slot, behind its group's queue if it has a group.
    pub(crate) fn enqueue(&mut self, index: NodeIndex, task: &Task) {
        if task.background.is_some() {
            self.start_service(index);
        } else if matches!(task.action, Action::Approve { .. }) {
            self.ask_person(index, task);
        } else if task.group.is_some() {
            self.ask(index);
        } else {
            self.index.ready.insert(self.graph.key(&self.plan, &self.state, index));
        }
    }

    /// Whether needs, stage, section, batch and other items let a task or item go on: a resume
    /// may close what was open.
    pub(crate) fn unhindered(&self, index: NodeIndex) -> bool {
        let owner = self.state.owner(index);
        let task = &self.plan.tasks[owner];
        let behind = self.state.item(index).is_some_and(|item| {
            self.index.fans.get(&owner).is_some_and(|fan| fan.is_behind(item.position))
        });
        let earlier = self.index.sections.range(..task.section).next();
        let stage = self.index.stages.first_key_value().map(|(stage, _)| *stage);
        let staged = task.section == Section::Main && stage.is_some();
        earlier.is_none()
            && self.mode_verdict(task).is_none()
            && (!staged || task.stage <= stage)
            && self.enters(task.section)
            && !behind
            && !self.is_halted(owner)
            && matches!(self.verdict(owner, task), Verdict::Go)
    }

    /// Asks the arbiter for a grant for the next attempt of a task with a concurrency group.
    fn ask(&mut self, index: NodeIndex) {
        let plan = Arc::clone(&self.plan);
        let Some(group) = &plan.tasks[self.state.owner(index)].group else { return };
        match self.control(index, &group.key) {
            Ok(key) => {
                let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                let reject = group.on_busy == OnBusy::Reject;
                let wants = Wants { group: key, max: group.max, reject };
                let attempt = self.attempt_id(index, self.state.tasks[index].attempts + 1);
                self.record(Event::GrantAsked { attempt: attempt.clone(), wants: wants.clone() });
                self.order(Effect::Ask { attempt, wants });
            }
            Err(error) => {
                self.fail_to_evaluate(index, "concurrency_group.key", &group.key, &error);
            }
        }
    }

    pub(crate) fn scope_of(&self, index: NodeIndex, names: &BTreeSet<String>) -> Value {
        let position = |id: &str| self.graph.position(id);
        task_scope_with(&self.plan, &self.state, index, names, position)
    }

    pub(crate) fn control(
        &self,
        index: NodeIndex,
        source: &Expression,
    ) -> Result<Value, ExpressionError> {
        evaluate_in(&source.0, |names| self.scope_of(index, names))
    }

    pub(crate) fn fail_to_evaluate(
        &mut self,
        index: NodeIndex,
        key: &str,
        source: &Expression,
        error: &ExpressionError,
    ) {
        let message = format!("`{key}: {}` could not be evaluated: {error}", source.0);
        self.fail(index, FailureClass::InvalidRequest, message);
    }

    /// Evaluates the score gates of an attempt that otherwise succeeded.
    pub(crate) fn judge(&self, index: NodeIndex, report: &mut AttemptReport) {
        for gate in &self.task(index).gates {
            let GateCheck::Score { expression, min } = &gate.check else { continue };
            let value = evaluate_in(&expression.0, |names| {
                output_scope(self.scope_of(index, names), report)
            });
            let number = value.as_ref().ok().and_then(number);
            let passed = number.is_some_and(|number| number >= *min);
            let detail = match (&value, number) {
                (Err(error), _) => format!("`{}` has no value: {error}", expression.0),
                (Ok(value), None) => format!("`{}` is {value}, not a number", expression.0),
                (_, Some(n)) if passed => format!("`{}` is {n}, at least {min}", expression.0),
                (_, Some(n)) => format!("`{}` is {n}, below {min}", expression.0),
            };
            if !passed && report.class.is_none() {
                report.class = Some(FailureClass::Quality);
                report.message = format!("score gate: {detail}");
            }
            let feedback = gate.feedback;
            let gate = "score".to_owned();
            report.findings.push(Finding { gate, passed, detail, value: number, feedback });
        }
    }

    /// Opens the next stage or section whose predecessors have ended. Says whether it did.
    fn open_next(&mut self) -> bool {
        if self.state.stop.is_some_and(|stop| stop.interrupts()) {
            return false;
        }
        if let Some(decided) = self.decide_mode() {
            return decided;
        }
        if self.state.section == Section::Main
            && let Some((&stage, _)) = self.index.stages.first_key_value()
            && self.state.stage.is_none_or(|open| open < stage)
        {
            self.record(Event::StageOpened { stage });
            self.index.dirty.extend(self.graph.stage(stage));
            return true;
        }
        let section = self.state.section;
        let left = self.index.sections.range(..=section).next().is_some();
        let Some((&next, _)) = self.index.sections.range(section..).find(|(s, _)| **s > section)
        else {
            return false;
        };
        if left {
            return false;
        }
        self.open_section(next)
    }

    fn open_section(&mut self, next: Section) -> bool {
        let entered = self.enters(next);
        self.record(Event::SectionOpened { section: next });
        self.index.dirty.extend(self.graph.section(next));
        if !entered {
            for index in std::mem::take(&mut self.index.dirty) {
                let entry = &self.state.tasks[index];
                let begun = entry.attempt.as_ref().is_some_and(|attempt| attempt.step.begun());
                // What an earlier engine began, when the DAG had ended the other way, goes on.
                if entry.expansion.is_some() {
                    self.index.dirty.insert(index);
                } else if entry.waits.look().is_some() {
                    self.stop_look(index);
                } else if !entry.status.is_final() && !begun {
                    self.give_up_check(index);
                    self.give_up(index, StopReason::Shutdown);
                    self.skip(index, SkipReason::SectionNotEntered);
                }
            }
        }
        true
    }

    /// Whether the DAG, all of which has ended, ended in the way that a section handles.
    pub(crate) fn enters(&self, section: Section) -> bool {
        let cancelled = self.state.stop.is_some_and(|stop| stop.reason == StopReason::Cancelled);
        match section {
            Section::Probe | Section::Main | Section::Finally => true,
            Section::OnSuccess => !cancelled && !self.main_failed(),
            Section::OnFailure => !cancelled && self.main_failed(),
        }
    }

    fn main_failed(&self) -> bool {
        let bad = [TaskStatus::Failed, TaskStatus::Blocked, TaskStatus::Cancelled];
        let tasks = [Section::Probe, Section::Main].map(|section| self.graph.section(section));
        tasks.into_iter().flatten().any(|&index| {
            !self.plan.tasks[index].optional && bad.contains(&self.state.tasks[index].status)
        })
    }

    /// Fills free slots with the best ready tasks, and clears more ahead of the slots.
    fn dispatch(&mut self) {
        if self.state.stop.is_some_and(|stop| stop.blocks(self.state.section)) {
            return;
        }
        let slots = usize::try_from(self.state.slots).unwrap_or(usize::MAX);
        while self.index.running + self.index.doubtful < slots {
            let Some(&(.., index)) = self.index.ready.first() else { break };
            let attempt = self.clear(index);
            let number = self.state.tasks[index].attempt.as_ref().map_or(0, |state| state.seq);
            self.record(Event::AttemptDispatched { attempt: attempt.clone() });
            let effect = Effect::StartAttempt { attempt, number };
            self.output.effects.push(Ordered { after: number, effect });
        }
        if self.index.cleared >= CLEARED_AHEAD_MAX.min(self.index.ready.len()) {
            return;
        }
        let ahead = self.index.ready.iter().take(CLEARED_AHEAD_MAX).map(|&(.., index)| index);
        let uncleared = |index: &NodeIndex| {
            let attempt = self.state.tasks[*index].attempt.as_ref();
            attempt.is_none_or(|attempt| attempt.step != AttemptStep::Cleared)
        };
        for index in ahead.filter(uncleared).collect::<Vec<_>>() {
            if self.index.cleared < CLEARED_AHEAD_MAX {
                self.clear(index);
            }
        }
    }

    /// The attempt of a task or item, cleared if it was not.
    fn clear(&mut self, index: NodeIndex) -> AttemptId {
        let entry = &self.state.tasks[index];
        let (number, cleared) = match &entry.attempt {
            Some(state) => (state.number, state.step == AttemptStep::Cleared),
            None => (entry.attempts + 1, false),
        };
        let attempt = self.attempt_id(index, number);
        if !cleared {
            self.record(Event::AttemptCleared { attempt: attempt.clone() });
        }
        attempt
    }
}

/// A number, or a string of one.
pub(crate) fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    number.filter(|number| number.is_finite())
}
