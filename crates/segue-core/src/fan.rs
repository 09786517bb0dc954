//! The items of a `for_each` task under way: listed, let in one by one, and summed up.
//!
//! An item is a node like any task: it is cleared, dispatched, retried, stopped and adopted by
//! the code that does so for tasks. What is its own is here. Its task, the parent, has no
//! attempt; it holds a window over its items. Those that are in it are ready, run, or wait for
//! a grant or a retry; whatever does none of this stands in line behind it, in input order, and
//! comes in when the window, the batch, and all that holds for the task let it. Only the parent
//! counts in needs, stages and sections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::for_each::{is_small, item_keys, list_items};
use crate::index::Role;
use crate::plan::Value;
use crate::scheduler::Scheduler;
use crate::settle::Verdict;
use crate::state::AttemptStep;
use crate::{
    Effect, Event, FailureClass, ForEach, ItemSource, ListSources, ListedItem, Mode, NodeIndex,
    OnItemFailure, RunState, Section, SkipReason, StopReason, Stored, Task, TaskId, TaskIndex,
    TaskStatus, check_expression, check_template, truthy,
};

/// How many failed items a failure names.
const NAMED_MAX: usize = 10;

/// The window over a task's items. Places count from 0 in input order.
#[derive(Debug)]
pub(crate) struct Fan {
    batch: usize,
    max: usize,
    /// Items in line.
    line: BTreeSet<usize>,
    /// How many are in the window, by batch; only batches with some.
    inside: BTreeMap<usize, usize>,
    /// How many are in the window.
    width: usize,
    /// Needs, stage and section let the task go on; they stay so until a resume.
    pub(crate) open: bool,
}

impl Fan {
    pub(crate) fn build(task: &Task, state: &RunState, index: TaskIndex) -> Self {
        let each = task.for_each.as_ref();
        let limit = |limit: Option<u32>| {
            limit.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(usize::MAX)
        };
        let mut fan = Self {
            batch: limit(each.and_then(|each| each.batch)),
            max: limit(each.and_then(|each| each.max_parallel)),
            line: BTreeSet::new(),
            inside: BTreeMap::new(),
            width: 0,
            open: false,
        };
        for (place, &node) in state.items_of(index).iter().enumerate() {
            match Role::of(task, &state.tasks[node]) {
                Role::Final => {}
                Role::Idle => {
                    fan.line.insert(place);
                }
                _ => fan.enter(place),
            }
        }
        fan
    }

    /// How many items have not ended.
    fn left(&self) -> usize {
        self.line.len() + self.width
    }

    /// The next item in line, if it may come in as far as window and batch go.
    fn next(&self) -> Option<usize> {
        let &place = self.line.first()?;
        let earlier = self.inside.first_key_value().is_some_and(|(&b, _)| b < place / self.batch);
        (self.width < self.max && !earlier).then_some(place)
    }

    /// Whether an item of an earlier batch has not ended.
    pub(crate) fn is_behind(&self, place: usize) -> bool {
        let batch = place / self.batch;
        let inside = self.inside.first_key_value().is_some_and(|(&first, _)| first < batch);
        inside || self.line.first().is_some_and(|&first| first / self.batch < batch)
    }

    /// Takes in what an event made of an item.
    pub(crate) fn moved(&mut self, place: usize, to: Role) {
        match to {
            Role::Final => {
                if !self.line.remove(&place) {
                    self.leave(place);
                }
            }
            Role::Idle => self.back_in_line(place),
            _ => self.admit(place),
        }
    }

    fn admit(&mut self, place: usize) {
        if self.line.remove(&place) {
            self.enter(place);
        }
    }

    fn back_in_line(&mut self, place: usize) {
        if self.line.insert(place) {
            self.leave(place);
        }
    }

    fn enter(&mut self, place: usize) {
        *self.inside.entry(place / self.batch).or_default() += 1;
        self.width += 1;
    }

    fn leave(&mut self, place: usize) {
        let batch = place / self.batch;
        if let Some(count) = self.inside.get_mut(&batch) {
            *count -= 1;
            self.width -= 1;
            if *count == 0 {
                self.inside.remove(&batch);
            }
        }
    }

    /// Whether this window agrees with one `built` from the state, which does not know of items
    /// that are `ready` and have no attempt, nor of `due` retries that are back in line.
    pub(crate) fn same_as(
        &self,
        built: &Self,
        ready: impl Fn(usize) -> bool,
        due: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        let missing = built.line.difference(&self.line).copied().all(ready);
        let extra = self.line.difference(&built.line).copied().all(due);
        if self.left() != built.left() || !missing || !extra {
            return Err(format!("a window is {built:?}, not {self:?}"));
        }
        Ok(())
    }
}

/// A name as a part of a JSON pointer.
fn pointer_part(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl Scheduler {
    /// Gets the items of a `for_each` task that may go on: made here, or asked of the driver.
    pub(crate) fn list(&mut self, index: TaskIndex, for_each: &ForEach) {
        let ItemSource::Items(source) = &for_each.source else {
            return match &for_each.source {
                ItemSource::Glob(_) => self.ask_for_items(index),
                _ => self.listed_here(index, list_items(for_each, &Value::Null, Vec::new())),
            };
        };
        let names = check_expression(&source.0).unwrap_or_default();
        if !self.in_files(&names).is_empty() {
            return self.ask_for_items(index);
        }
        let values = list_items(for_each, &self.scope_of(index, &names), Vec::new());
        self.listed_here(index, values);
    }

    fn listed_here(&mut self, index: TaskIndex, values: Result<Vec<Value>, String>) {
        match values {
            Ok(values) if !values.iter().all(is_small) => self.ask_for_items(index),
            values => {
                let inline = |values: Vec<_>| values.into_iter().map(Stored::Inline).collect();
                self.expand(index, values.map(inline));
            }
        }
    }

    fn ask_for_items(&mut self, index: TaskIndex) {
        let task = self.plan.tasks[index].id.clone();
        self.record(Event::ItemsAsked { task: task.clone() });
        self.order(Effect::Expand { task });
    }

    /// The results and outputs of tasks among `names` that are known by their head only: the JSON
    /// pointer of each in a scope, and its file.
    fn in_files(&self, names: &BTreeSet<String>) -> Vec<(String, String)> {
        let ids = names.iter().filter_map(|name| name.strip_prefix("tasks.")?.split('.').next());
        let mut places: BTreeSet<_> = ids.filter_map(|id| self.graph.position(id)).collect();
        if names.contains("tasks") {
            places = (0..self.plan.tasks.len()).collect();
        }
        let mut files = Vec::new();
        for index in places {
            let Some(report) = self.state.tasks[index].last.as_deref() else { continue };
            let id = pointer_part(self.plan.tasks[index].id.as_str());
            let result = report.result.iter().map(|value| ("/result".to_owned(), value));
            let outputs = report.outputs.iter();
            let outputs = outputs.map(|(name, v)| (format!("/outputs/{}", pointer_part(name)), v));
            for (place, value) in result.chain(outputs) {
                if let Stored::Ref { path, .. } = value {
                    files.push((format!("/tasks/{id}{place}"), path.clone()));
                }
            }
        }
        files
    }

    /// What the driver needs to list a task's items ([`Effect::Expand`]); `None` if it has none.
    #[must_use]
    pub fn list_sources(&self, task: &TaskId) -> Option<(TaskIndex, ListSources)> {
        let index = self.position(task)?;
        let names = match &self.plan.tasks[index].for_each.as_ref()?.source {
            ItemSource::Items(source) => check_expression(&source.0).unwrap_or_default(),
            ItemSource::Glob(glob) => check_template(&glob.0, Mode::Text).unwrap_or_default(),
            ItemSource::List(_) | ItemSource::Matrix(_) => BTreeSet::new(),
        };
        let scope = self.scope_of(index, &names);
        Some((index, ListSources { scope, files: self.in_files(&names) }))
    }

    /// The driver's answer.
    pub(crate) fn expanded(&mut self, task: &TaskId, items: Result<Vec<Stored>, String>) {
        let Some(index) = self.graph.position(task.as_str()) else { return };
        let waits = Role::of(&self.plan.tasks[index], &self.state.tasks[index]) == Role::Listing;
        // An answer that comes while the run winds down is asked for again by the next engine.
        if waits && self.stop_asked(index).is_none() {
            self.expand(index, items);
        }
    }

    fn expand(&mut self, index: TaskIndex, items: Result<Vec<Stored>, String>) {
        let plan = Arc::clone(&self.plan);
        let task = &plan.tasks[index];
        let Some(for_each) = &task.for_each else { return };
        let listed = items.and_then(|values| {
            let seen: Vec<Value> = values.iter().map(Stored::to_value).collect();
            let key = for_each.key.as_ref();
            let names = key.and_then(|key| check_expression(&key.0).ok()).unwrap_or_default();
            let keys = item_keys(for_each, self.scope_of(index, &names), &seen)?;
            let pairs = keys.into_iter().zip(values);
            Ok(pairs.map(|(key, value)| ListedItem { key, value }).collect())
        });
        match listed {
            Ok(items) => self.record(Event::ItemsExpanded { task: task.id.clone(), items }),
            Err(message) => self.fail(index, FailureClass::InvalidRequest, message),
        }
    }

    /// Looks at an item whose retry is due: it stands in line again.
    pub(crate) fn examine_item(&mut self, node: NodeIndex) {
        let Some(item) = self.state.item(node) else { return };
        let (task, place) = (item.task, item.position);
        let role = Role::of(&self.plan.tasks[task], &self.state.tasks[node]);
        if matches!(role, Role::Retry(until) if until <= self.now)
            && let Some(fan) = self.index.fans.get_mut(&task)
        {
            fan.back_in_line(place);
            self.index.dirty.insert(task);
        }
    }

    /// Looks at a task with items: lets in whoever may come, or sums up when all have ended.
    pub(crate) fn examine_open(&mut self, index: TaskIndex) {
        let plan = Arc::clone(&self.plan);
        let task = &plan.tasks[index];
        let Some(fan) = self.index.fans.get(&index) else { return };
        if fan.left() == 0 {
            return self.sum_up(index);
        }
        if let Some((reason, _)) = self.stop_asked(index) {
            if self.ended_by(index).is_some() {
                self.end_line(index, |this, node| this.cancel_idle(node, reason));
            }
            return;
        }
        if self.is_halted(index) {
            return self.end_line(index, |this, node| {
                this.cancel_idle(node, StopReason::FailFast);
            });
        }
        if !fan.open {
            if task.section > self.state.section {
                return;
            }
            let verdict = match self.mode_verdict(task) {
                Some(verdict) => verdict,
                None => self.verdict(index, task),
            };
            let verdict = match verdict {
                _ if self.state.is_excluded(&self.plan, index) => {
                    Verdict::Skip(SkipReason::NotSelected)
                }
                _ if !self.enters(task.section) => Verdict::Skip(SkipReason::SectionNotEntered),
                verdict => verdict,
            };
            match verdict {
                Verdict::Wait => return,
                Verdict::Go if task.section == Section::Main && task.stage > self.state.stage => {
                    return;
                }
                Verdict::Go => {}
                Verdict::Skip(reason) => {
                    return self.end_line(index, |this, node| this.skip(node, reason.clone()));
                }
                Verdict::Block(need) => {
                    return self.end_line(index, |this, node| this.block(node, need));
                }
            }
        }
        if let Some(fan) = self.index.fans.get_mut(&index) {
            fan.open = true;
        }
        self.let_in(index, task);
    }

    fn let_in(&mut self, index: TaskIndex, task: &Task) {
        while let Some(place) = self.index.fans.get(&index).and_then(Fan::next) {
            let node = self.state.items_of(index)[place];
            let retries = matches!(Role::of(task, &self.state.tasks[node]), Role::Retry(_));
            if !retries && !self.passes_skip_if(node, task) {
                continue;
            }
            if let Some(fan) = self.index.fans.get_mut(&index) {
                fan.admit(place);
            }
            self.enqueue(node, task);
        }
    }

    /// Evaluates a node's `skip_if`. If it does not let it go on, its end is recorded.
    pub(crate) fn passes_skip_if(&mut self, node: NodeIndex, task: &Task) -> bool {
        let Some(condition) = task.skip_if.as_ref().filter(|_| !self.state.request.force) else {
            return true;
        };
        match self.control(node, condition) {
            Ok(value) if truthy(&value) => {
                let expression = condition.0.clone();
                self.skip(node, SkipReason::SkipIf { expression });
            }
            Ok(_) => return true,
            Err(error) => self.fail_to_evaluate(node, "skip_if", condition, &error),
        }
        false
    }

    /// Ends every item that stands in line.
    fn end_line(&mut self, index: TaskIndex, end: impl Fn(&mut Self, NodeIndex)) {
        let places = self.index.fans.get(&index).map(|fan| fan.line.clone()).unwrap_or_default();
        for place in places {
            end(self, self.state.items_of(index)[place]);
        }
    }

    /// Whether a failed item has ended what a task may begin.
    pub(crate) fn is_halted(&self, index: TaskIndex) -> bool {
        let each = self.plan.tasks[index].for_each.as_ref();
        let stops = each.is_some_and(|each| each.on_item_failure == OnItemFailure::Stop);
        let expansion = self.state.tasks[index].expansion.as_ref();
        stops && expansion.is_some_and(|expansion| expansion.counts.of(TaskStatus::Failed) > 0)
    }

    /// Cancels every item of a halted task that does not run.
    pub(crate) fn halt(&mut self, index: TaskIndex) {
        for node in self.state.items_of(index).to_vec() {
            let entry = &self.state.tasks[node];
            let begun = entry.attempt.as_ref().is_some_and(|attempt| attempt.step.begun());
            if !entry.status.is_final() && !begun {
                self.cancel_idle(node, StopReason::FailFast);
            }
        }
    }

    /// Asks all of a task's items to end.
    pub(crate) fn stop_items(&mut self, index: TaskIndex, reason: StopReason, at_once: bool) {
        for node in self.state.items_of(index).to_vec() {
            let entry = &self.state.tasks[node];
            if entry.status.is_final() {
                continue;
            }
            match entry.attempt.as_ref().map(|attempt| (attempt.number, &attempt.step)) {
                Some((number, AttemptStep::Dispatched(_))) => {
                    let attempt = self.attempt_id(node, number);
                    self.order(Effect::StopAttempt { attempt, reason, at_once });
                }
                Some((_, AttemptStep::Doubtful)) => {}
                _ => self.cancel_idle(node, reason),
            }
        }
    }

    /// Ends a task all of whose items have ended.
    fn sum_up(&mut self, index: TaskIndex) {
        let task = self.plan.tasks[index].id.clone();
        let Some(expansion) = &self.state.tasks[index].expansion else { return };
        let count = |status| expansion.counts.of(status);
        let cancelled = count(TaskStatus::Cancelled) > 0;
        let by_person = self.ended_by(index).is_some_and(|reason| reason == StopReason::Cancelled);
        if count(TaskStatus::Failed) > 0 && !(cancelled && by_person) {
            let (class, message) = self.failed_items(index);
            return self.fail(index, class, message);
        }
        let mut entries = expansion.nodes.iter().map(|&node| &self.state.tasks[node]);
        let event = if cancelled {
            Event::TaskCancelled { task, item: None }
        } else if let Some(by) = entries.clone().find_map(|entry| entry.blocked_by.clone()) {
            Event::TaskBlocked { task, item: None, by }
        } else if let Some(reason) = entries.find_map(|entry| {
            entry.skipped.clone().filter(|reason| !matches!(reason, SkipReason::SkipIf { .. }))
        }) {
            Event::TaskSkipped { task, item: None, reason }
        } else {
            Event::TaskSucceeded { task, item: None }
        };
        self.record(event);
    }

    /// The class of the item that failed first, and the failed ones by name.
    fn failed_items(&self, index: TaskIndex) -> (FailureClass, String) {
        let nodes = self.state.items_of(index);
        let failed = || nodes.iter().filter(|&&n| self.state.tasks[n].failure.is_some());
        let first = failed().min_by_key(|&&node| self.state.tasks[node].ended_at);
        let class = first.and_then(|&node| self.state.tasks[node].failure.as_ref());
        let class = class.map_or(FailureClass::Unknown, |(class, _)| *class);
        let count = failed().count();
        let names = failed().take(NAMED_MAX).filter_map(|&node| self.state.item(node));
        let names = names.map(|item| item.key.shown()).collect::<Vec<_>>().join(", ");
        let more = count.saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (class, format!("{count} of {} items failed: {names}{more}", nodes.len()))
    }
}
