//! A scheduler on a bench: every effect is performed at once and told in one line, the clock
//! moves only when told to.

use std::fmt::Write as _;
use std::sync::Arc;

use segue_core::{
    Answer, ApprovalAnswered, AttemptId, AttemptReport, CheckAnswer, Effect, Event, GivenAnswer,
    Input, Millis, Outcome, Plan, Recorded, Resume, ResumeScope, RunId, RunRequest, RunStatus,
    RunView, Scheduler, Seq, StopReason, TaskId, Timestamp,
};

use crate::plans::{exited, report};

pub(crate) struct Rig {
    pub(crate) scheduler: Scheduler,
    pub(crate) view: RunView,
    pub(crate) journal: Vec<Recorded>,
    pub(crate) now: Timestamp,
    pub(crate) request: RunRequest,
    /// Attempts ordered to start that have not ended.
    pub(crate) live: Vec<AttemptId>,
    /// Every start with the seq it waits for and the number it bears.
    pub(crate) starts: Vec<(String, Seq, Seq)>,
    /// Looks ordered that were not answered, the newest last.
    pub(crate) looks: Vec<(TaskId, Seq)>,
    /// What is answered before the next resume.
    pub(crate) answers: Vec<GivenAnswer>,
    /// Effects since the last look, in one line each.
    effects: Vec<String>,
}

impl Rig {
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        Self {
            scheduler: Scheduler::new(Arc::clone(&plan)),
            view: RunView::new(plan),
            journal: Vec::new(),
            now: Timestamp::from_unix_ms(1_000_000),
            request: RunRequest::default(),
            live: Vec::new(),
            starts: Vec::new(),
            looks: Vec::new(),
            answers: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// A rig whose run has begun with `slots` slots.
    pub(crate) fn started(plan: Arc<Plan>, slots: u32) -> Self {
        let mut rig = Self::new(plan);
        rig.start(slots);
        rig
    }

    pub(crate) fn start(&mut self, slots: u32) {
        let started = Event::RunStarted {
            run: RunId::parse("run-1").unwrap(),
            workflow: "w".into(),
            digest: "d".into(),
            request: self.request.clone(),
            slots,
            segue: "0".into(),
            hardware: segue_core::Hardware::default(),
        };
        self.input(Input::Start { started: Box::new(started) });
    }

    /// Feeds one input and performs what follows.
    pub(crate) fn input(&mut self, input: Input) {
        let output = self.scheduler.handle(self.now, input);
        for event in output.events {
            let recorded = Recorded {
                seq: u64::try_from(self.journal.len()).unwrap() + 1,
                at: self.now,
                event,
            };
            self.view.apply(&recorded).unwrap();
            self.journal.push(recorded);
        }
        for ordered in output.effects {
            assert!(ordered.after <= u64::try_from(self.journal.len()).unwrap());
            let line = match ordered.effect {
                Effect::StartAttempt { attempt, number } => {
                    self.starts.push((attempt.to_string(), ordered.after, number));
                    let line = format!("start {attempt}");
                    self.live.push(attempt);
                    line
                }
                Effect::StopAttempt { attempt, reason, at_once } => {
                    let at_once = if at_once { " at once" } else { "" };
                    format!("stop {attempt} {reason:?}{at_once}").to_lowercase()
                }
                Effect::Reattach { attempt, .. } => format!("reattach {attempt}"),
                Effect::Ask { attempt, wants } => format!("ask {attempt} {}", wants.group),
                Effect::Release { attempt } => format!("release {attempt}"),
                Effect::Check { task, kind, number, .. } => {
                    let line = format!("look at {} of {task}", kind.word());
                    self.looks.push((task, number));
                    line
                }
                Effect::StopCheck { .. } => "stop the look".to_owned(),
                Effect::Expand { task } => format!("expand {task}"),
                Effect::FinishRun => "finish".to_owned(),
            };
            self.effects.push(line);
        }
        assert_eq!(self.view.state(), self.scheduler.state());
        if self.view.state().phase == segue_core::Phase::Running {
            self.scheduler.check_index().unwrap();
        }
        let metrics = self.view.metrics();
        assert_eq!(metrics.counts.iter().map(|(_, n)| n).sum::<usize>(), metrics.total);
    }

    /// The effects since the last look.
    pub(crate) fn effects(&mut self) -> String {
        std::mem::take(&mut self.effects).join(", ")
    }

    /// The live attempt of the task, or of the item written `task.key`, ends so.
    pub(crate) fn end(&mut self, task: &str, report: Box<AttemptReport>) {
        let named = |attempt: &AttemptId| {
            let text = attempt.to_string();
            text.rsplit_once('.').is_some_and(|(name, _)| name == task)
        };
        let place = self.live.iter().position(named);
        let attempt = self.live.remove(place.unwrap_or_else(|| panic!("{task} does not run")));
        self.input(Input::AttemptEnded { attempt, report });
    }

    pub(crate) fn ok(&mut self, task: &str) {
        self.end(task, exited(0));
    }

    /// The attempt, written `task.number`, ends well, whoever started it.
    pub(crate) fn ok_of(&mut self, attempt: &str) {
        let attempt = Self::attempt(attempt);
        self.live.retain(|other| *other != attempt);
        self.input(Input::AttemptEnded { attempt, report: exited(0) });
    }

    pub(crate) fn fails(&mut self, task: &str) {
        self.end(task, exited(1));
    }

    /// The task's live attempt ends because it was stopped.
    pub(crate) fn stopped(&mut self, task: &str, reason: StopReason) {
        let class = Some(segue_core::FailureClass::Cancelled);
        self.end(task, report(Outcome::Cancelled { reason }, class));
    }

    pub(crate) fn stop(&mut self, reason: StopReason, at_once: bool) {
        self.input(Input::Stop { task: None, reason, at_once });
    }

    pub(crate) fn cancel_task(&mut self, task: &str) {
        let task = Some(TaskId::parse(task).unwrap());
        self.input(Input::Stop { task, reason: StopReason::Cancelled, at_once: false });
    }

    /// The look under way for the task ends so.
    pub(crate) fn looked(&mut self, task: &str, answer: CheckAnswer) {
        let place = self.looks.iter().position(|(id, _)| id.as_str() == task);
        let (task, number) = self.looks.remove(place.unwrap_or_else(|| panic!("{task}")));
        self.input(Input::Checked { task, number, answer });
    }

    pub(crate) fn passes(&mut self, task: &str) {
        self.looked(task, CheckAnswer::Passed);
    }

    pub(crate) fn misses(&mut self, task: &str, seen: &str) {
        self.looked(task, CheckAnswer::NotYet(seen.to_owned()));
    }

    /// A person's answer to what the task asks now.
    pub(crate) fn answer_of(&self, task: &str, answer: Answer, note: &str) -> GivenAnswer {
        let index = self.scheduler.plan().position(task).unwrap();
        let question = self.scheduler.state().tasks[index].waits.question.as_ref();
        let (task, by, note) = (TaskId::parse(task).unwrap(), "ann".into(), note.into());
        let answered = ApprovalAnswered { task, answer, by, note };
        GivenAnswer { asked: question.expect("it asks").asked, answered }
    }

    pub(crate) fn answer(&mut self, task: &str, answer: Answer, note: &str) {
        let given = self.answer_of(task, answer, note);
        self.input(Input::Answered(given));
    }

    /// Time goes on by `ms`, and the timer fires.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now = self.now + Millis(ms);
        self.input(Input::TimerFired);
    }

    /// Ends live attempts in the order of their start, and waits when none is live, until the
    /// run has ended. `script` says whether an attempt, written `task.number`, succeeds.
    pub(crate) fn run(&mut self, script: impl Fn(&str) -> bool) {
        for _ in 0..10_000 {
            if let Some(attempt) = self.live.first().cloned() {
                let code = i32::from(!script(&attempt.to_string()));
                self.live.remove(0);
                self.input(Input::AttemptEnded { attempt, report: exited(code) });
            } else if self.status() == RunStatus::Running {
                let deadline = self.scheduler.next_deadline().expect("the run waits for nothing");
                let ms = deadline.since(self.now).0;
                self.wait(ms);
            } else {
                return;
            }
        }
        panic!("the run does not end");
    }

    pub(crate) fn status(&self) -> RunStatus {
        self.view.status()
    }

    /// Every task and its status: `a succeeded, b failed`.
    pub(crate) fn statuses(&self) -> String {
        let tasks = self.view.tasks();
        let lines = tasks.map(|view| format!("{} {}", view.task.id, view.entry.status));
        lines.collect::<Vec<_>>().join(", ")
    }

    /// Every item of a task and its status: `1 succeeded, 2 failed`.
    pub(crate) fn items(&self, task: &str) -> String {
        let index = self.view.plan().position(task).unwrap();
        let items = self.view.items(index);
        let lines = items.map(|view| format!("{} {}", view.item.unwrap().key, view.entry.status));
        lines.collect::<Vec<_>>().join(", ")
    }

    /// The starts in their order: `a.1 b.1 a.2`.
    pub(crate) fn order(&self) -> String {
        self.starts.iter().fold(String::new(), |mut text, (attempt, ..)| {
            let space = if text.is_empty() { "" } else { " " };
            write!(text, "{space}{attempt}").unwrap();
            text
        })
    }

    /// The engine dies and all but the first `keep` events are lost; nothing is resumed yet.
    pub(crate) fn crash(&mut self, keep: usize) {
        self.journal.truncate(keep);
        let plan = Arc::clone(self.scheduler.plan());
        let events = self.journal.iter().cloned();
        self.scheduler = Scheduler::recover(Arc::clone(&plan), events).unwrap();
        self.view = RunView::new(plan);
        for recorded in &self.journal {
            self.view.apply(recorded).unwrap();
        }
        self.effects.clear();
        self.live.clear();
        self.looks.clear();
    }

    pub(crate) fn resume(&mut self, scope: ResumeScope, slots: u32) {
        let (request, answers) = (self.request.clone(), std::mem::take(&mut self.answers));
        let segue = "0".into();
        self.input(Input::Resume(Box::new(Resume { scope, request, slots, segue, answers })));
    }

    /// An attempt's id from `task.number` or `task.key.number`.
    #[track_caller]
    pub(crate) fn attempt(text: &str) -> AttemptId {
        let (name, number) = text.rsplit_once('.').unwrap();
        let (task, item) = name.split_once('.').map_or((name, None), |(t, key)| (t, Some(key)));
        let number = number.parse().unwrap();
        let item = item.map(segue_core::ItemKey::new);
        AttemptId { task: TaskId::parse(task).unwrap(), item, number }
    }
}
