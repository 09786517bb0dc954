//! The auditor: reads a run's events and holds them against the plan, with nothing of the
//! core's own fold. What it allows is what the design promises.

use std::collections::BTreeMap;
use std::sync::Arc;

use segue_core::{
    AttemptId, Event, Plan, Recorded, RunStatus, Section, StopReason, TaskId, TaskIndex,
    TaskStatus, When,
};

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
    lines: Vec<Line>,
    slots: usize,
    section: Section,
    stop: Option<(StopReason, bool, Section)>,
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
            lines: vec![Line::default(); plan.tasks.len()],
            slots: 0,
            section: Section::Main,
            stop: None,
            seq: 0,
            at: segue_core::Timestamp::default(),
            over: None,
        }
    }

    pub(crate) fn status(&self, task: TaskIndex) -> Option<TaskStatus> {
        self.lines[task].ended
    }

    /// Whether every task of the DAG has ended.
    pub(crate) fn main_ended(&self) -> bool {
        let mut tasks = self.plan.tasks.iter().zip(&self.lines);
        tasks.all(|(task, line)| task.section != Section::Main || line.ended.is_some())
    }

    /// The greatest attempt number of a task.
    pub(crate) fn attempts(&self, task: TaskIndex) -> u32 {
        self.lines[task].attempts
    }

    fn line(&mut self, task: &TaskId) -> &mut Line {
        let line = &mut self.lines[self.places[task]];
        assert_eq!(line.ended, None, "`{task}` goes on after its end");
        line
    }

    pub(crate) fn take(&mut self, recorded: &Recorded) {
        assert_eq!(recorded.seq, self.seq + 1, "a gap in the journal");
        assert!(recorded.at >= self.at, "time goes back");
        (self.seq, self.at) = (recorded.seq, recorded.at);
        let begins = matches!(recorded.event, Event::RunStarted { .. } | Event::RunResumed { .. });
        assert!(begins || (self.over.is_none() && self.seq > 1), "an event outside the run");
        match &recorded.event {
            Event::RunStarted { slots, .. } => {
                assert_eq!(self.seq, 1);
                self.slots = usize::try_from(*slots).unwrap();
            }
            Event::RunResumed { reset, slots, .. } => self.resumed(reset, *slots),
            Event::SlotsChanged { slots } => self.slots = usize::try_from(*slots).unwrap(),
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
                self.line(task);
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
                let line = self.line(&attempt.task);
                assert_eq!(line.attempt.take().map(|(number, _)| number), Some(attempt.number));
            }
            Event::RetryScheduled { task, .. } => {
                let line = self.line(task);
                assert_eq!(line.attempt, None);
                line.waits_for_retry = true;
            }
            Event::TaskSucceeded { task } => self.ends(task, TaskStatus::Succeeded),
            Event::TaskFailed { task, .. } => self.ends(task, TaskStatus::Failed),
            Event::TaskSkipped { task, .. } => self.ends(task, TaskStatus::Skipped),
            Event::TaskBlocked { task, by } => {
                let bad = [TaskStatus::Failed, TaskStatus::Cancelled];
                let root = self.status(self.places[by]).expect("the root of a block has ended");
                assert!(bad.contains(&root), "`{task}` is blocked by `{by}`, which is {root}");
                self.ends(task, TaskStatus::Blocked);
            }
            Event::TaskCancelled { task } => {
                self.ends(task, TaskStatus::Cancelled);
            }
        }
    }

    fn ends(&mut self, task: &TaskId, status: TaskStatus) {
        let line = self.line(task);
        assert_eq!(line.attempt, None, "`{task}` is {status} while an attempt is under way");
        line.ended = Some(status);
    }

    fn begins(&mut self, attempt: &AttemptId, step: Step) {
        let line = self.line(&attempt.task);
        assert_eq!(line.attempt, None, "`{attempt}` begins while another is under way");
        assert_eq!(attempt.number, line.attempts + 1, "attempt numbers only grow");
        line.attempts = attempt.number;
        line.attempt = Some((attempt.number, Some(step)));
        line.waits_for_retry = false;
        self.may_go_on(attempt);
    }

    fn moves(&mut self, attempt: &AttemptId, from: &[Step], to: Step) {
        let line = self.line(&attempt.task);
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
        let index = self.places[&attempt.task];
        if self.lines[index].attempt != Some((attempt.number, Some(Step::Doubtful))) {
            let holds = |line: &&Line| {
                line.attempt.is_some_and(|(_, step)| {
                    matches!(step, Some(Step::Dispatched | Step::Doubtful))
                })
            };
            let held = self.lines.iter().filter(holds).count();
            assert!(held < self.slots, "`{attempt}` is dispatched over {held} slots");
            self.may_go_on(attempt);
        }
        self.moves(attempt, &[Step::Cleared, Step::Doubtful], Step::Dispatched);
    }

    /// Whether plan and requests allow work on a task at all.
    fn may_go_on(&self, attempt: &AttemptId) {
        let index = self.places[&attempt.task];
        let task = &self.plan.tasks[index];
        assert!(self.needs_met(index), "`{attempt}` begins before its needs are met");
        assert!(task.section <= self.section, "`{attempt}` begins before its section");
        if let (Section::Main, Some(stage)) = (task.section, task.stage) {
            self.all_ended_before(stage);
        }
        self.earlier_sections_ended(task.section);
        assert!(!task.excluded, "`{attempt}` was not selected");
        if let Some((reason, at_once, section)) = self.stop {
            let spared = match reason {
                StopReason::FailFast => task.section != Section::Main,
                StopReason::Cancelled => {
                    !at_once && task.section == Section::Finally && section != Section::Finally
                }
                _ => false,
            };
            assert!(spared, "`{attempt}` begins although {reason:?} was asked for");
        }
    }

    fn needs_met(&self, index: TaskIndex) -> bool {
        let task = &self.plan.tasks[index];
        let ends: Option<Vec<TaskStatus>> = task.needs.iter().map(|&n| self.status(n)).collect();
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
        for (task, line) in self.plan.tasks.iter().zip(&self.lines) {
            let before = task.section == Section::Main && task.stage.is_some_and(|s| s < stage);
            assert!(!before || line.ended.is_some(), "stage {stage} opens before `{}`", task.id);
        }
    }

    fn earlier_sections_ended(&self, section: Section) {
        for (task, line) in self.plan.tasks.iter().zip(&self.lines) {
            let before = task.section < section;
            assert!(!before || line.ended.is_some(), "{section:?} opens before `{}`", task.id);
        }
    }

    fn resumed(&mut self, reset: &[TaskId], slots: u32) {
        (self.stop, self.over, self.section) = (None, None, Section::Main);
        self.slots = usize::try_from(slots).unwrap();
        for id in reset {
            let line = &mut self.lines[self.places[id]];
            assert!(line.ended.take().is_some(), "`{id}` starts over without an end");
            assert_eq!(line.attempt, None);
        }
        for (_, step) in self.lines.iter_mut().filter_map(|line| line.attempt.as_mut()) {
            if matches!(step, Some(Step::Cleared | Step::Dispatched)) {
                *step = Some(Step::Doubtful);
            }
        }
    }

    fn ended(&mut self, status: RunStatus) {
        self.over = Some(status);
        let interrupted = status == RunStatus::Interrupted;
        let held = |line: &Line| {
            line.attempt.is_some_and(|(_, s)| matches!(s, Some(Step::Dispatched | Step::Doubtful)))
        };
        assert!(!self.lines.iter().any(held), "the run ends while attempts run");
        let all_ended = self.lines.iter().all(|line| line.ended.is_some());
        assert_ne!(all_ended, interrupted, "the run is {status}, all tasks ended: {all_ended}");
        let bad = [TaskStatus::Failed, TaskStatus::Blocked, TaskStatus::Cancelled];
        let tasks = || self.plan.tasks.iter().zip(&self.lines);
        let failed = tasks()
            .any(|(task, line)| !task.optional && line.ended.is_some_and(|end| bad.contains(&end)));
        if matches!(status, RunStatus::Succeeded | RunStatus::Warned) {
            assert!(!failed, "the run is {status} although a task is not");
        }
        if status == RunStatus::Succeeded {
            assert!(tasks().all(|(_, line)| line.ended.is_some_and(|end| !bad.contains(&end))));
        }
    }
}
