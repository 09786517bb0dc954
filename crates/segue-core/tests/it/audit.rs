//! The auditor: reads a run's events and holds them against the plan, with nothing of the
//! core's own fold. What it allows is what the design promises.

use std::collections::BTreeMap;
use std::sync::Arc;

use segue_core::{
    ApprovalAsked, AttemptId, CheckKind, CheckStarted, Event, ForEach, ItemKey, ItemsReset,
    ListedItem, OnItemFailure, Plan, Recorded, RunStatus, Section, StopReason, Stored, TaskId,
    TaskIndex, TaskStatus, When,
};

use crate::audit_waits::WaitsAuditor;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Asked,
    Granted,
    Cleared,
    Dispatched,
    Doubtful,
}

#[derive(Clone, Debug, Default)]
struct Line {
    ended: Option<TaskStatus>,
    attempt: Option<(u32, Option<Step>)>,
    attempts: u32,
    waits_for_retry: bool,
}

/// What is known of a run from its events alone.
pub(crate) struct Auditor {
    plan: Arc<Plan>,
    places: BTreeMap<TaskId, TaskIndex>,
    /// By task and item; a task's own is there from the start.
    lines: BTreeMap<(TaskIndex, Option<ItemKey>), Line>,
    /// The present items of tasks that have some, in input order.
    listed: BTreeMap<TaskIndex, Vec<ItemKey>>,
    values: BTreeMap<(TaskIndex, ItemKey), Stored>,
    pub(crate) waits: WaitsAuditor,
    slots: usize,
    section: Section,
    stop: Option<(StopReason, bool, Section)>,
    /// The tasks that the chosen mode leaves out; `None` before it is chosen.
    left_out: Option<Vec<TaskId>>,
    seq: u64,
    at: segue_core::Timestamp,
    pub(crate) over: Option<RunStatus>,
}

impl Auditor {
    pub(crate) fn new(plan: &Arc<Plan>) -> Self {
        let places = plan.tasks.iter().enumerate().map(|(i, task)| (task.id.clone(), i)).collect();
        Self {
            plan: Arc::clone(plan),
            places,
            lines: (0..plan.tasks.len()).map(|i| ((i, None), Line::default())).collect(),
            listed: BTreeMap::new(),
            values: BTreeMap::new(),
            waits: WaitsAuditor::new(plan),
            slots: 0,
            section: Section::Main,
            stop: None,
            left_out: None,
            seq: 0,
            at: segue_core::Timestamp::default(),
            over: None,
        }
    }

    pub(crate) fn status(&self, task: TaskIndex) -> Option<TaskStatus> {
        self.lines[&(task, None)].ended
    }

    /// How a task or item has ended.
    pub(crate) fn status_of(&self, task: TaskIndex, item: Option<&ItemKey>) -> Option<TaskStatus> {
        self.lines.get(&(task, item.cloned()))?.ended
    }

    /// Whether every task of the DAG has ended.
    pub(crate) fn main_ended(&self) -> bool {
        self.tasks().all(|(task, line)| task.section != Section::Main || line.ended.is_some())
    }

    /// The greatest attempt number of a task or item.
    pub(crate) fn attempts(&self, task: TaskIndex, item: Option<&ItemKey>) -> u32 {
        self.lines[&(task, item.cloned())].attempts
    }

    fn tasks(&self) -> impl Iterator<Item = (&segue_core::Task, &Line)> {
        self.plan.tasks.iter().enumerate().map(|(i, task)| (task, &self.lines[&(i, None)]))
    }

    /// The present items of a task.
    fn items(&self, task: TaskIndex) -> impl Iterator<Item = &Line> {
        let keys = self.listed.get(&task).into_iter().flatten();
        keys.map(move |key| &self.lines[&(task, Some(key.clone()))])
    }

    fn line(&mut self, task: &TaskId, item: Option<&ItemKey>) -> &mut Line {
        let place = self.places[task];
        if let Some(item) = item {
            let listed = self.listed.get(&place).is_some_and(|keys| keys.contains(item));
            assert!(listed, "`{task}` has no item `{item}`");
        }
        let line = self.lines.get_mut(&(place, item.cloned())).expect("it is there");
        assert_eq!(line.ended, None, "`{task}` {item:?} goes on after its end");
        line
    }

    pub(crate) fn take(&mut self, recorded: &Recorded) {
        assert_eq!(recorded.seq, self.seq + 1, "a gap in the journal");
        assert!(recorded.at >= self.at, "time goes back");
        (self.seq, self.at) = (recorded.seq, recorded.at);
        let begins = matches!(recorded.event, Event::RunStarted { .. } | Event::RunResumed { .. });
        assert!(begins || (self.over.is_none() && self.seq > 1), "an event outside the run");
        self.waits.take(recorded);
        match &recorded.event {
            Event::RunStarted { slots, .. } => {
                assert_eq!(self.seq, 1);
                self.slots = usize::try_from(*slots).unwrap();
            }
            Event::RunResumed { reset, items, slots, .. } => self.resumed(reset, items, *slots),
            Event::SlotsChanged { slots } => self.slots = usize::try_from(*slots).unwrap(),
            Event::ModeChosen { .. } => self.mode_chosen(&recorded.event),
            Event::StageOpened { stage } => self.all_ended_before(*stage),
            Event::SectionOpened { section } => {
                assert!(*section > self.section, "sections open in their order");
                self.section = *section;
                self.earlier_sections_ended(*section);
            }
            Event::StopRequested { task: None, reason, at_once } => {
                let at_once = *at_once || self.stop.is_some_and(|(_, at_once, _)| at_once);
                self.stop = Some((*reason, at_once, self.section));
            }
            Event::StopRequested { task: Some(task), .. } => {
                self.line(task, None);
            }
            Event::RunEnded { status, .. } => self.ended(*status),
            Event::GrantAsked { attempt, .. } => self.begins(attempt, Step::Asked),
            Event::Granted { attempt } => self.moves(attempt, &[Step::Asked], Step::Granted),
            Event::AttemptCleared { attempt } => self.cleared(attempt),
            Event::AttemptDispatched { attempt } => self.dispatched(attempt),
            Event::AttemptRecalled { attempt } => {
                self.moves(attempt, &[Step::Dispatched, Step::Doubtful], Step::Cleared);
            }
            Event::AttemptEnded { attempt, .. } => {
                let line = self.line(&attempt.task, attempt.item.as_ref());
                assert_eq!(line.attempt.take().map(|(number, _)| number), Some(attempt.number));
            }
            Event::RetryScheduled { task, item, .. } => {
                let line = self.line(task, item.as_ref());
                assert_eq!(line.attempt, None);
                line.waits_for_retry = true;
            }
            Event::TaskSucceeded { task, item } => self.ends(task, item, TaskStatus::Succeeded),
            Event::TaskFailed { task, item, .. } => self.ends(task, item, TaskStatus::Failed),
            Event::TaskSkipped { task, item, .. } => self.ends(task, item, TaskStatus::Skipped),
            Event::TaskBlocked { task, item, by } => {
                let bad = [TaskStatus::Failed, TaskStatus::Cancelled];
                let root = self.status(self.places[by]).expect("the root of a block has ended");
                assert!(bad.contains(&root), "`{task}` is blocked by `{by}`, which is {root}");
                self.ends(task, item, TaskStatus::Blocked);
            }
            Event::TaskCancelled { task, item } => {
                self.ends(task, item, TaskStatus::Cancelled);
            }
            Event::ItemsAsked { task } => {
                assert!(!self.listed.contains_key(&self.places[task]), "`{task}` has items");
                self.line(task, None);
            }
            Event::ItemsExpanded { task, items } => self.expanded(task, items),
            event => self.waited(event),
        }
    }

    fn waited(&mut self, event: &Event) {
        match event {
            Event::CheckStarted(CheckStarted { task, kind, .. }) => {
                let attempt = self.line(task, None).attempt.is_some();
                assert_eq!(attempt, *kind == CheckKind::Ready, "`{task}` {kind:?}");
                if *kind == CheckKind::Precheck {
                    self.task_may_go_on(self.places[task], task);
                }
            }
            Event::ApprovalAsked(ApprovalAsked { task, .. }) => {
                self.line(task, None);
                self.task_may_go_on(self.places[task], task);
                assert!(self.waits.is_checked(self.places[task]), "`{task}` is not checked");
            }
            _ => {}
        }
    }

    fn mode_chosen(&mut self, event: &Event) {
        let Event::ModeChosen { probe, number, mode, excluded, slots } = event else { return };
        let choice = self.plan.mode.as_ref().and_then(|mode| mode.choice.as_ref());
        let choice = choice.expect("only a mode with a choice chooses");
        assert_eq!(self.plan.tasks[choice.probe].id, *probe);
        assert_eq!(self.status(choice.probe), Some(TaskStatus::Succeeded));
        assert!(self.left_out.is_none(), "a mode is chosen once");
        let known = choice.alternatives.iter().any(|one| one.mode == *mode);
        assert!(known && number.is_finite(), "`{mode}` for {number}");
        self.left_out = Some(excluded.clone());
        self.slots = slots.map_or(self.slots, |slots| usize::try_from(slots).unwrap());
    }

    fn expanded(&mut self, task: &TaskId, items: &[ListedItem]) {
        let place = self.places[task];
        self.line(task, None);
        assert!(self.plan.tasks[place].for_each.is_some(), "`{task}` is no for_each");
        // A service may have ended while they were listed; then none of them begins.
        let services = self.plan.tasks[place].needs.iter().any(|&need| self.waits.is_service(need));
        if !services {
            self.task_may_go_on(place, task);
        }
        for ListedItem { key, value } in items {
            let line = self.lines.entry((place, Some(key.clone()))).or_default();
            let before = self.values.insert((place, key.clone()), value.clone());
            if before.is_some_and(|before| before != *value) {
                line.ended = None;
            }
            assert_eq!(line.attempt, None, "an item of `{task}` is listed while it runs");
        }
        let keys: Vec<_> = items.iter().map(|item| item.key.clone()).collect();
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "`{task}` lists an item twice");
        assert!(self.listed.insert(place, keys).is_none(), "`{task}` has items already");
    }

    fn ends(&mut self, task: &TaskId, item: &Option<ItemKey>, status: TaskStatus) {
        if item.is_none() {
            self.items_ended(task, status);
        }
        let line = self.line(task, item.as_ref());
        assert_eq!(line.attempt, None, "`{task}` is {status} while an attempt is under way");
        line.ended = Some(status);
    }

    /// A task with items ends after them, and as they did.
    fn items_ended(&self, task: &TaskId, status: TaskStatus) {
        let place = self.places[task];
        let Some(keys) = self.listed.get(&place) else {
            let each = self.plan.tasks[place].for_each.is_some();
            let done = each && status == TaskStatus::Succeeded;
            return assert!(!done, "`{task}` succeeded without its items");
        };
        let ends: Vec<_> = self.items(place).map(|line| line.ended).collect();
        assert!(ends.iter().all(Option::is_some), "`{task}` is {status} before its items {keys:?}");
        let any = |status| ends.contains(&Some(status));
        let expected = if any(TaskStatus::Failed) && !any(TaskStatus::Cancelled) {
            Some(TaskStatus::Failed)
        } else if any(TaskStatus::Failed) {
            assert!(matches!(status, TaskStatus::Failed | TaskStatus::Cancelled));
            None
        } else if any(TaskStatus::Cancelled) {
            Some(TaskStatus::Cancelled)
        } else if any(TaskStatus::Blocked) {
            Some(TaskStatus::Blocked)
        } else {
            assert!(matches!(status, TaskStatus::Succeeded | TaskStatus::Skipped));
            None
        };
        assert!(
            expected.is_none_or(|expected| expected == status),
            "`{task}` is {status}: {ends:?}"
        );
    }

    fn begins(&mut self, attempt: &AttemptId, step: Step) {
        let line = self.line(&attempt.task, attempt.item.as_ref());
        assert_eq!(line.attempt, None, "`{attempt}` begins while another is under way");
        assert_eq!(attempt.number, line.attempts + 1, "attempt numbers only grow");
        line.attempts = attempt.number;
        line.attempt = Some((attempt.number, Some(step)));
        let retries = std::mem::take(&mut line.waits_for_retry);
        let place = self.places[&attempt.task];
        let checked = retries || attempt.item.is_some() || self.waits.is_checked(place);
        assert!(checked, "`{attempt}` begins before its precheck has passed");
        self.may_go_on(attempt);
    }

    fn moves(&mut self, attempt: &AttemptId, from: &[Step], to: Step) {
        let line = self.line(&attempt.task, attempt.item.as_ref());
        let (number, step) = line.attempt.unwrap_or_else(|| panic!("`{attempt}` is not there"));
        assert_eq!(number, attempt.number);
        assert!(step.is_some_and(|step| from.contains(&step)), "`{attempt}` is {step:?}");
        line.attempt = Some((number, Some(to)));
    }

    fn cleared(&mut self, attempt: &AttemptId) {
        let grouped = self.plan.tasks[self.places[&attempt.task]].group.is_some();
        if grouped {
            self.moves(attempt, &[Step::Granted], Step::Cleared);
            self.may_go_on(attempt);
        } else {
            self.begins(attempt, Step::Cleared);
        }
    }

    fn dispatched(&mut self, attempt: &AttemptId) {
        let place = (self.places[&attempt.task], attempt.item.clone());
        if self.lines[&place].attempt != Some((attempt.number, Some(Step::Doubtful))) {
            let holds = |line: &&Line| {
                line.attempt.is_some_and(|(_, step)| {
                    matches!(step, Some(Step::Dispatched | Step::Doubtful))
                })
            };
            let is_service = |task| self.waits.is_service(task);
            let lines = self.lines.iter().filter(|((task, _), _)| !is_service(*task));
            let held = lines.map(|(_, line)| line).filter(holds).count();
            assert!(
                held < self.slots || is_service(place.0),
                "`{attempt}` is dispatched over {held} slots"
            );
            self.may_go_on(attempt);
        }
        self.moves(attempt, &[Step::Cleared, Step::Doubtful], Step::Dispatched);
    }

    /// Whether plan and requests allow work on a task or item at all.
    fn may_go_on(&self, attempt: &AttemptId) {
        let index = self.places[&attempt.task];
        self.task_may_go_on(index, &attempt.task);
        let each = self.plan.tasks[index].for_each.as_ref();
        assert_eq!(each.is_some(), attempt.item.is_some(), "`{attempt}` is of the wrong kind");
        if let (Some(each), Some(item)) = (each, &attempt.item) {
            self.item_may_go_on(each, index, item);
        }
    }

    /// Window, batch, and what a failed item means.
    fn item_may_go_on(&self, each: &ForEach, index: TaskIndex, item: &ItemKey) {
        let size = |count: Option<u32>| count.map_or(usize::MAX, |n| usize::try_from(n).unwrap());
        let inside = self.items(index).filter(|line| line.attempt.is_some()).count();
        assert!(inside <= size(each.max_parallel), "{inside} items at once with {item}");
        let batch = size(each.batch);
        let place = self.listed[&index].iter().position(|key| key == item).unwrap();
        let earlier = place / batch * batch;
        let ended = self.items(index).take(earlier).all(|line| line.ended.is_some());
        assert!(ended, "{item} begins before the batch before it has ended");
        if each.on_item_failure == OnItemFailure::Stop {
            let failed = self.items(index).any(|line| line.ended == Some(TaskStatus::Failed));
            assert!(!failed, "{item} begins after another has failed");
        }
    }

    fn task_may_go_on(&self, index: TaskIndex, what: &TaskId) {
        let task = &self.plan.tasks[index];
        assert!(self.needs_met(index), "`{what}` begins before its needs are met");
        assert!(task.section <= self.section, "`{what}` begins before its section");
        if let (Section::Main, Some(stage)) = (task.section, task.stage) {
            self.all_ended_before(stage);
        }
        self.earlier_sections_ended(task.section);
        assert!(!task.excluded, "`{what}` was not selected");
        if self.plan.mode.is_some() && task.section == Section::Main {
            let left_out = self.left_out.as_ref().expect("the mode is chosen before the DAG");
            assert!(!left_out.contains(&task.id), "`{what}` does not run in this mode");
        }
        if let Some((reason, at_once, section)) = self.stop {
            let spared = match reason {
                StopReason::FailFast => task.section != Section::Main,
                StopReason::Cancelled => {
                    !at_once && task.section == Section::Finally && section != Section::Finally
                }
                _ => false,
            };
            assert!(spared, "`{what}` begins although {reason:?} was asked for");
        }
    }

    fn needs_met(&self, index: TaskIndex) -> bool {
        let task = &self.plan.tasks[index];
        let end = |&need: &TaskIndex| {
            let served = self.waits.serves(need).then_some(TaskStatus::Succeeded);
            self.status(need).or(served)
        };
        let ends: Option<Vec<TaskStatus>> = task.needs.iter().map(end).collect();
        let Some(ends) = ends else { return false };
        let is = |wanted: &[TaskStatus]| ends.iter().any(|end| wanted.contains(end));
        match task.when {
            When::AllSucceeded => task.needs.iter().zip(&ends).all(|(&need, end)| match end {
                TaskStatus::Succeeded => true,
                TaskStatus::Failed | TaskStatus::Blocked => self.plan.tasks[need].optional,
                _ => false,
            }),
            When::AllDone => true,
            When::AnySucceeded => is(&[TaskStatus::Succeeded]),
            When::AnyFailed => is(&[TaskStatus::Failed, TaskStatus::Blocked]),
        }
    }

    fn all_ended_before(&self, stage: u32) {
        for (place, (task, line)) in self.tasks().enumerate() {
            let before = task.section == Section::Main && task.stage.is_some_and(|s| s < stage);
            let done = line.ended.is_some() || self.waits.has_served(place);
            assert!(!before || done, "stage {stage} opens before `{}`", task.id);
        }
    }

    fn earlier_sections_ended(&self, section: Section) {
        for (task, line) in self.tasks() {
            let before = task.section < section;
            assert!(!before || line.ended.is_some(), "{section:?} opens before `{}`", task.id);
        }
    }

    fn resumed(&mut self, reset: &[TaskId], items: &[ItemsReset], slots: u32) {
        (self.stop, self.over, self.section) = (None, None, Section::Main);
        self.slots = usize::try_from(slots).unwrap();
        for id in reset {
            self.starts_over(id, None);
            if self.plan.tasks[self.places[id]].section == Section::Probe {
                self.left_out = None;
            }
        }
        for ItemsReset { task, keys, anew } in items {
            keys.iter().for_each(|key| self.starts_over(task, Some(key)));
            self.line(task, None);
            if *anew {
                self.listed.remove(&self.places[task]).expect("it had items");
            }
        }
        for (_, step) in self.lines.values_mut().filter_map(|line| line.attempt.as_mut()) {
            if matches!(step, Some(Step::Cleared | Step::Dispatched)) {
                *step = Some(Step::Doubtful);
            }
        }
    }

    fn starts_over(&mut self, id: &TaskId, item: Option<&ItemKey>) {
        let line = self.lines.get_mut(&(self.places[id], item.cloned())).unwrap();
        assert!(line.ended.take().is_some(), "`{id}` {item:?} starts over without an end");
        assert_eq!(line.attempt, None);
    }

    fn ended(&mut self, status: RunStatus) {
        self.over = Some(status);
        let interrupted = status == RunStatus::Interrupted;
        let held = |line: &Line| {
            line.attempt.is_some_and(|(_, s)| matches!(s, Some(Step::Dispatched | Step::Doubtful)))
        };
        assert!(!self.lines.values().any(held), "the run ends while attempts run");
        let all_ended = self.tasks().all(|(_, line)| line.ended.is_some());
        assert_ne!(all_ended, interrupted, "the run is {status}, all tasks ended: {all_ended}");
        let bad = [TaskStatus::Failed, TaskStatus::Blocked, TaskStatus::Cancelled];
        let failed = self
            .tasks()
            .any(|(task, line)| !task.optional && line.ended.is_some_and(|end| bad.contains(&end)));
        if matches!(status, RunStatus::Succeeded | RunStatus::Warned) {
            assert!(!failed, "the run is {status} although a task is not");
        }
        if status == RunStatus::Succeeded {
            let well = |line: &Line| line.ended.is_some_and(|end| !bad.contains(&end));
            assert!(self.tasks().all(|(_, line)| well(line)));
        }
    }
}
