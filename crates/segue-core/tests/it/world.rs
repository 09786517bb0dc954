//! The world around a scheduler: a journal that syncs late, processes that outlive the engine,
//! an arbiter with other runs at it, and an engine that performs effects in order, may die at
//! any point, and may lose, repeat and delay what it is told.
//!
//! What really happened (which processes were made, how they ended) survives a crash; what the
//! engine knew does not. Every step is held against the auditor and the invariants below.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use segue_core::{
    Arbiter, ArbiterInput, AttemptId, AttemptReport, CheckAnswer, Decision, Effect, Event, ForEach,
    GivenAnswer, Input, ItemSource, Ordered, Phase, Plan, Recorded, Resume, ResumeScope, RunId,
    RunRequest, RunState, RunView, Scheduler, Section, Seq, StopReason, Stored, TaskId, Template,
    Timestamp, Wants,
};

use crate::audit::Auditor;
use crate::rig::Rig;

/// A process tree of an attempt.
#[derive(Clone, Debug)]
pub(crate) enum Process {
    Runs { stop: Option<StopReason> },
    Ended { report: Box<AttemptReport> },
}

/// An effect that waits for its event to be on disk.
pub(crate) struct Pending {
    ordered: Ordered,
    /// The slots there were when it was ordered.
    slots: u32,
}

pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    pub(crate) scheduler: Scheduler,
    pub(crate) now: Timestamp,
    /// When the scheduler was last told something.
    pub(crate) told_at: Timestamp,
    pub(crate) journal: Vec<Recorded>,
    pub(crate) durable: usize,
    pub(crate) pending: VecDeque<Pending>,
    /// By attempt; what is not here was never made.
    pub(crate) processes: BTreeMap<AttemptId, Process>,
    /// Looks under way, and whether they were told to stop. They end with their engine.
    pub(crate) looks: BTreeMap<Seq, (TaskId, bool)>,
    /// Answers given while no engine was there.
    pub(crate) answers: Vec<GivenAnswer>,
    /// Attempts whose end the engine will be told.
    pub(crate) watched: BTreeSet<AttemptId>,
    pub(crate) arbiter: Arbiter,
    /// What the engine is about to be told.
    pub(crate) inbox: Vec<Input>,
    /// What it was told before.
    pub(crate) told: Vec<Input>,
    pub(crate) auditor: Auditor,
    pub(crate) view: RunView,
    /// Effects issued in this engine's life that must not be issued again.
    pub(crate) issued: BTreeSet<String>,
    pub(crate) finished: bool,
    /// How often the items of a task were asked for.
    pub(crate) expansions: usize,
    /// How many events there were when the run was last seen to have ended.
    pub(crate) retried_from: BTreeSet<TaskId>,
}

impl World {
    pub(crate) fn new(plan: Arc<Plan>, slots: u32) -> Self {
        let mut world = Self {
            scheduler: Scheduler::new(Arc::clone(&plan)),
            now: Timestamp::from_unix_ms(1_000_000),
            told_at: Timestamp::default(),
            journal: Vec::new(),
            durable: 0,
            pending: VecDeque::new(),
            processes: BTreeMap::new(),
            looks: BTreeMap::new(),
            answers: Vec::new(),
            watched: BTreeSet::new(),
            arbiter: Arbiter::default(),
            inbox: Vec::new(),
            told: Vec::new(),
            auditor: Auditor::new(&plan),
            view: RunView::new(Arc::clone(&plan)),
            issued: BTreeSet::new(),
            finished: false,
            expansions: 0,
            retried_from: BTreeSet::new(),
            plan,
        };
        world.start(slots);
        world
    }

    fn start(&mut self, slots: u32) {
        let started = Event::RunStarted {
            run: RunId::parse("run-1").unwrap(),
            workflow: "w".into(),
            digest: "d".into(),
            request: RunRequest::default(),
            slots,
            segue: "0".into(),
            hardware: segue_core::Hardware::default(),
        };
        self.feed(Input::Start { started: Box::new(started) });
    }

    pub(crate) fn state(&self) -> &RunState {
        self.scheduler.state()
    }

    pub(crate) fn over(&self) -> bool {
        matches!(self.state().phase, Phase::Ended(_))
    }

    /// Hands the scheduler one input, and checks what it makes of it.
    pub(crate) fn feed(&mut self, input: Input) {
        if let Input::NeverStarted { attempt } = &input {
            self.issued.remove(&format!("start {attempt}"));
        }
        self.told_at = self.now;
        let output = self.scheduler.handle(self.now, input);
        for event in output.events {
            let seq = Seq::try_from(self.journal.len()).unwrap() + 1;
            let recorded = Recorded { seq, at: self.now, event };
            if let Event::RunResumed { reset, items, .. } = &recorded.event {
                self.check_reset(reset);
                items.iter().for_each(|items| self.check_items_reset(items, reset));
            }
            self.auditor.take(&recorded);
            self.view.apply(&recorded).expect("the view folds what the scheduler records");
            if matches!(recorded.event, Event::RunEnded { .. }) {
                self.check_no_process();
            }
            self.journal.push(recorded);
        }
        for ordered in output.effects {
            self.check_issued(&ordered);
            assert!(ordered.after <= self.state().last_seq);
            self.pending.push_back(Pending { slots: self.state().slots, ordered });
        }
        self.check();
    }

    /// Brings the first `events` events to the disk.
    pub(crate) fn sync(&mut self, events: usize) {
        self.durable = self.durable.max(events);
    }

    /// Whether the next effect's event is on disk.
    pub(crate) fn can_perform(&self) -> bool {
        let durable = Seq::try_from(self.durable).unwrap();
        self.pending.front().is_some_and(|next| next.ordered.after <= durable)
    }

    pub(crate) fn idle(&self) -> bool {
        self.pending.is_empty() && self.inbox.is_empty() && self.durable == self.journal.len()
    }

    /// Performs the next effect; a start fails to make a process if `spawn_fails` says how.
    pub(crate) fn perform(&mut self, spawn_fails: Option<Box<AttemptReport>>) {
        let Pending { ordered, slots } = self.pending.pop_front().expect("asked for before");
        match ordered.effect {
            Effect::StartAttempt { attempt, number } => {
                self.check_number(&attempt, number);
                self.start_process(attempt, slots, spawn_fails);
            }
            Effect::StopAttempt { attempt, reason, .. } => {
                match self.processes.get_mut(&attempt).expect("what is stopped was started") {
                    Process::Runs { stop } => *stop = Some(reason),
                    Process::Ended { .. } => {}
                }
            }
            Effect::Reattach { attempt, number } => {
                self.check_number(&attempt, number);
                let answer = match self.processes.get(&attempt) {
                    None => Input::NeverStarted { attempt },
                    Some(Process::Runs { .. }) => {
                        self.watched.insert(attempt.clone());
                        Input::Reattached { attempt }
                    }
                    Some(Process::Ended { report }) => {
                        Input::AttemptEnded { report: report.clone(), attempt }
                    }
                };
                self.inbox.push(answer);
            }
            Effect::Check { task, number, .. } => {
                assert_eq!(self.looks.insert(number, (task, false)), None);
            }
            Effect::StopCheck { number } => {
                // It may have ended.
                if let Some((_, stopped)) = self.looks.get_mut(&number) {
                    *stopped = true;
                }
            }
            Effect::Ask { attempt, wants } => self.ask(&attempt, wants),
            Effect::Release { attempt } => self.release(&holder(&attempt)),
            Effect::Expand { task } => {
                self.expansions += 1;
                let items = self.found(&task);
                self.inbox.push(Input::Expanded { task, items });
            }
            Effect::FinishRun => self.finished = true,
        }
    }

    /// What a walk over files finds: each time one more, and some that have changed.
    fn found(&self, task: &TaskId) -> Result<Vec<Stored>, String> {
        let task = &self.plan.tasks[self.plan.position(task.as_str()).unwrap()];
        let Some(ForEach { source: ItemSource::Glob(Template(count)), .. }) = &task.for_each else {
            panic!("`{}` asks for a list that can be made without files", task.id);
        };
        let count: usize = count.parse().map_err(|_| "nothing is found".to_owned())?;
        let count = count + self.expansions % 3;
        let item = |n| {
            let changed = if n == 1 { self.expansions % 2 } else { 0 };
            Stored::Inline(serde_json::json!({"key": format!("f{n}"), "changed": changed}))
        };
        Ok((0..count).map(item).collect())
    }

    fn check_number(&self, attempt: &AttemptId, number: Seq) {
        let cleared = &self.journal[usize::try_from(number).unwrap() - 1].event;
        assert_eq!(cleared, &Event::AttemptCleared { attempt: attempt.clone() });
    }

    fn start_process(
        &mut self,
        attempt: AttemptId,
        slots: u32,
        spawn_fails: Option<Box<AttemptReport>>,
    ) {
        self.watched.insert(attempt.clone());
        if self.processes.contains_key(&attempt) {
            return;
        }
        if let Some(report) = spawn_fails {
            self.inbox
                .push(Input::AttemptEnded { attempt: attempt.clone(), report: report.clone() });
            self.processes.insert(attempt, Process::Ended { report });
            return;
        }
        let holds = |attempt: &AttemptId| !self.is_service(attempt);
        let running = self.running().iter().filter(|other| holds(other)).count();
        let slots = usize::try_from(slots).unwrap();
        let fits = running < slots || !holds(&attempt);
        assert!(fits, "{attempt} starts beside {running} with {slots} slots");
        let task = &self.plan.tasks[self.plan.position(attempt.task.as_str()).unwrap()];
        if task.group.is_some() {
            self.check_grant(&attempt);
        }
        self.processes.insert(attempt, Process::Runs { stop: None });
    }

    /// A grouped attempt starts only under a grant, and no more at once than the group bears.
    fn check_grant(&self, attempt: &AttemptId) {
        let held: Vec<_> = self.arbiter.grants.iter().filter(|grant| grant.granted).collect();
        let own = held.iter().find(|grant| grant.holder == holder(attempt));
        let own = own.unwrap_or_else(|| panic!("{attempt} starts without a grant"));
        let beside = held.iter().filter(|grant| grant.wants.group == own.wants.group).count();
        assert!(beside <= usize::try_from(own.wants.max).unwrap(), "the group is overfull");
    }

    pub(crate) fn is_service(&self, attempt: &AttemptId) -> bool {
        let place = self.plan.position(attempt.task.as_str()).unwrap();
        self.plan.tasks[place].background.is_some()
    }

    /// A look ends; the engine is told.
    pub(crate) fn end_look(&mut self, number: Seq, answer: CheckAnswer) {
        let (task, _) = self.looks.remove(&number).expect("it is under way");
        self.inbox.push(Input::Checked { task, number, answer });
    }

    pub(crate) fn running(&self) -> Vec<AttemptId> {
        let runs = |(_, p): &(&AttemptId, &Process)| matches!(p, Process::Runs { .. });
        self.processes.iter().filter(runs).map(|(attempt, _)| attempt.clone()).collect()
    }

    /// A process ends; the engine is told if it watches.
    pub(crate) fn end_process(&mut self, attempt: &AttemptId, report: Box<AttemptReport>) {
        self.processes.insert(attempt.clone(), Process::Ended { report: report.clone() });
        if self.watched.contains(attempt) {
            self.inbox.push(Input::AttemptEnded { attempt: attempt.clone(), report });
        }
    }

    fn ask(&mut self, attempt: &AttemptId, wants: Wants) {
        let input = ArbiterInput::Ask { holder: holder(attempt), wants, priority: 0 };
        for (who, decision) in self.arbiter.handle(self.now, input) {
            self.tell(&who, &decision);
        }
    }

    pub(crate) fn release(&mut self, who: &str) {
        let input = ArbiterInput::Release { holder: who.to_owned() };
        for (who, decision) in self.arbiter.handle(self.now, input) {
            self.tell(&who, &decision);
        }
    }

    /// Another run asks for a group.
    pub(crate) fn other_asks(&mut self, who: &str, wants: Wants) {
        let input = ArbiterInput::Ask { holder: who.to_owned(), wants, priority: 0 };
        self.arbiter.handle(self.now, input);
    }

    fn tell(&mut self, who: &str, decision: &Decision) {
        let Some(attempt) = who.strip_prefix("run-1/") else { return };
        let attempt = Rig::attempt(attempt);
        match decision {
            Decision::Granted => self.inbox.push(Input::Granted { attempt }),
            Decision::Waits { .. } => {}
            Decision::Refused { message } => {
                self.inbox.push(Input::Refused { attempt, message: message.clone() });
            }
        }
    }

    /// Grants of this run whose attempt does not run: nobody alive holds them.
    pub(crate) fn dead_grants(&self) -> Vec<String> {
        let alive: BTreeSet<String> = self.running().iter().map(holder).collect();
        let ours = self.arbiter.grants.iter().filter(|grant| grant.holder.starts_with("run-1/"));
        ours.map(|g| g.holder.clone()).filter(|holder| !alive.contains(holder)).collect()
    }

    /// The engine dies; the disk has kept the first `kept` events, and nothing else of it is
    /// left. The next engine is made, but not yet told to resume.
    pub(crate) fn crash(&mut self, kept: usize) {
        assert!(kept >= self.durable);
        let whole = kept == self.journal.len();
        self.journal.truncate(kept);
        self.durable = kept;
        self.pending.clear();
        self.inbox.clear();
        self.told.clear();
        self.watched.clear();
        self.issued.clear();
        self.looks.clear();
        self.finished = false;
        let events = self.journal.iter().cloned();
        let scheduler = Scheduler::recover(Arc::clone(&self.plan), events).unwrap();
        if whole {
            assert_eq!(scheduler.state(), self.scheduler.state(), "recovered differs from live");
        }
        self.scheduler = scheduler;
        self.auditor = Auditor::new(&self.plan);
        self.view = RunView::new(Arc::clone(&self.plan));
        for recorded in &self.journal {
            self.auditor.take(recorded);
            self.view.apply(recorded).unwrap();
        }
    }

    /// The next engine goes on.
    pub(crate) fn resume(&mut self, scope: ResumeScope, slots: u32) {
        if self.journal.is_empty() {
            return self.start(slots);
        }
        self.retried_from.clear();
        if let ResumeScope::From(task) = &scope {
            self.note_from(task);
        }
        self.issued.clear();
        self.finished = false;
        let request = RunRequest::default();
        let answers = std::mem::take(&mut self.answers);
        self.feed(Input::Resume(Box::new(Resume {
            scope,
            request,
            slots,
            segue: "0".into(),
            answers,
        })));
    }

    fn note_from(&mut self, task: &TaskId) {
        self.retried_from.insert(task.clone());
        let probe = self.plan.mode.as_ref().and_then(|mode| mode.choice.as_ref());
        if probe.is_some_and(|choice| self.plan.tasks[choice.probe].id == *task) {
            let main = self.plan.tasks.iter().filter(|task| task.section == Section::Main);
            self.retried_from.extend(main.map(|task| task.id.clone()));
        }
        loop {
            let known = self.retried_from.len();
            for task in &self.plan.tasks {
                let id = |&need: &usize| &self.plan.tasks[need].id;
                if task.needs.iter().any(|need| self.retried_from.contains(id(need))) {
                    self.retried_from.insert(task.id.clone());
                }
            }
            if self.retried_from.len() == known {
                return;
            }
        }
    }
}

pub(crate) fn holder(attempt: &AttemptId) -> String {
    format!("run-1/{attempt}")
}
