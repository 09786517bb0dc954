//! The world around a scheduler: a journal that syncs late, processes that outlive the engine,
//! an arbiter with other runs at it, and an engine that performs effects in order, may die at
//! any point, and may lose, repeat and delay what it is told.
//!
//! What really happened (which processes were made, how they ended) survives a crash; what the
//! engine knew does not. Every step is held against the auditor and the invariants below.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use segue_core::{
    Arbiter, ArbiterInput, AttemptId, AttemptReport, Decision, Effect, Event, ForEach, Input,
    ItemKey, ItemSource, ItemsReset, Ordered, Phase, Plan, Recorded, Resume, ResumeScope, RunId,
    RunRequest, RunState, RunView, Scheduler, Section, Seq, StopReason, Stored, TaskId, TaskStatus,
    Template, Timestamp, Wants,
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
struct Pending {
    ordered: Ordered,
    /// The slots there were when it was ordered.
    slots: u32,
}

pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    pub(crate) scheduler: Scheduler,
    pub(crate) now: Timestamp,
    /// When the scheduler was last told something.
    told_at: Timestamp,
    pub(crate) journal: Vec<Recorded>,
    pub(crate) durable: usize,
    pending: VecDeque<Pending>,
    /// By attempt; what is not here was never made.
    pub(crate) processes: BTreeMap<AttemptId, Process>,
    /// Attempts whose end the engine will be told.
    watched: BTreeSet<AttemptId>,
    pub(crate) arbiter: Arbiter,
    /// What the engine is about to be told.
    pub(crate) inbox: Vec<Input>,
    /// What it was told before.
    pub(crate) told: Vec<Input>,
    pub(crate) auditor: Auditor,
    view: RunView,
    /// Effects issued in this engine's life that must not be issued again.
    issued: BTreeSet<String>,
    pub(crate) finished: bool,
    /// How often the items of a task were asked for.
    expansions: usize,
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

    /// What holds after every input.
    fn check(&self) {
        assert_eq!(self.view.state(), self.scheduler.state(), "the view differs from the machine");
        let metrics = self.view.metrics();
        let sum: usize = metrics.counts.iter().map(|(_, count)| count).sum();
        assert_eq!(sum, metrics.total, "the counters do not add up: {metrics:?}");
        for (status, count) in metrics.counts {
            let having = self.view.tasks().filter(|view| view.entry.status == status).count();
            assert_eq!(count, having, "{status} is miscounted");
        }
        let state = self.state();
        for (node, entry) in state.tasks.iter().enumerate() {
            let ended = entry.status.is_final().then_some(entry.status);
            let key = state.item(node).map(|item| &item.key);
            let audited = self.auditor.status_of(state.owner(node), key);
            assert_eq!(ended, audited, "node {node}, item {key:?}");
            let Some(items) = &entry.expansion else { continue };
            assert_eq!(items.counts.total(), items.nodes.len(), "items are miscounted");
            for &status in TaskStatus::ALL {
                let having = items.nodes.iter().filter(|&&i| state.tasks[i].status == status);
                assert_eq!(having.count(), items.counts.of(status), "{status} items of {node}");
            }
        }
        if self.state().phase == Phase::Running {
            self.scheduler.check_index().unwrap();
        }
    }

    /// A machine made from the state alone has nothing to add to what this one decided.
    pub(crate) fn check_settled(&self) {
        if self.state().phase != Phase::Running {
            return;
        }
        let text = serde_json::to_string(self.state()).unwrap();
        let state: RunState = serde_json::from_str(&text).unwrap();
        assert_eq!(&state, self.state(), "the snapshot does not come back as it was");
        let mut other = Scheduler::restore(Arc::clone(&self.plan), state).unwrap();
        let output = other.handle(self.told_at, Input::TimerFired);
        assert_eq!(output.events, [], "something was left undecided");
        let asks = |ordered: &Ordered| matches!(ordered.effect, Effect::Reattach { .. });
        assert!(output.effects.iter().all(asks), "{:?}", output.effects);
    }

    /// Once everything is performed, whatever runs and must not has been told to stop.
    pub(crate) fn check_stopped(&self) {
        for (attempt, process) in &self.processes {
            let Process::Runs { stop: None } = process else { continue };
            let place = self.plan.position(attempt.task.as_str()).unwrap();
            let (task, entry) = (&self.plan.tasks[place], &self.state().tasks[place]);
            let asked = self.state().stop.is_some_and(|stop| stop.blocks(task.section));
            assert!(!entry.stopping && !asked, "{attempt} was never told to stop");
        }
    }

    fn check_no_process(&self) {
        let alive = self.processes.iter().find(|(_, p)| matches!(p, Process::Runs { .. }));
        assert!(alive.is_none(), "the run ends while {alive:?}");
    }

    /// Nothing that succeeded starts over, unless it was asked for; the sections after the DAG
    /// may, if the DAG does.
    fn check_reset(&self, reset: &[TaskId]) {
        let place = |id: &TaskId| self.plan.position(id.as_str()).unwrap();
        let section = |id: &TaskId| self.plan.tasks[place(id)].section;
        let reopens = |id: &TaskId| {
            let ended = self.auditor.status(place(id));
            let optional = self.plan.tasks[place(id)].optional;
            section(id) <= Section::Main
                && (self.retried_from.contains(id)
                    || ended == Some(TaskStatus::Cancelled)
                    || !optional && matches!(ended, Some(TaskStatus::Failed | TaskStatus::Blocked)))
        };
        let reopened = reset.iter().any(reopens);
        let whole = !self.auditor.main_ended();
        for id in reset {
            let succeeded = self.auditor.status(place(id)) == Some(TaskStatus::Succeeded);
            let asked = self.retried_from.contains(id);
            let handler = section(id) > Section::Main && (reopened || whole);
            assert!(!succeeded || asked || handler, "`{id}` succeeded and starts over");
            let task = &self.plan.tasks[place(id)];
            let ran = self.last_ran(id, None);
            let failed = self.auditor.status(place(id)) == Some(TaskStatus::Failed);
            assert!(!(task.retry.never && ran && failed) || asked, "`{id}` may never start over");
        }
    }

    /// No item that succeeded starts over, unless its task was asked for or handles a DAG that
    /// starts over.
    fn check_items_reset(&self, items: &ItemsReset, reset: &[TaskId]) {
        let place = self.plan.position(items.task.as_str()).unwrap();
        let task = &self.plan.tasks[place];
        let asked = self.retried_from.contains(&items.task)
            || task.section > Section::Main && reset.contains(&items.task);
        for key in &items.keys {
            let ended = self.auditor.status_of(place, Some(key));
            let again = ended != Some(TaskStatus::Succeeded);
            assert!(again || asked, "`{}` {key} succeeded and starts over", items.task);
            let ran = self.last_ran(&items.task, Some(key));
            let failed = ended == Some(TaskStatus::Failed);
            assert!(!(task.retry.never && ran && failed) || asked, "{key} may never start over");
        }
    }

    /// Whether a process was made for the last attempt of a task or item.
    fn last_ran(&self, task: &TaskId, item: Option<&ItemKey>) -> bool {
        let place = self.plan.position(task.as_str()).unwrap();
        let number = self.auditor.attempts(place, item);
        let last = AttemptId { task: task.clone(), item: item.cloned(), number };
        self.processes.get(&last).is_some_and(|process| match process {
            Process::Runs { .. } => true,
            Process::Ended { report } => report.started_at.is_some(),
        })
    }

    fn check_issued(&mut self, ordered: &Ordered) {
        let once = match &ordered.effect {
            Effect::StartAttempt { attempt, .. } => format!("start {attempt}"),
            Effect::Ask { attempt, .. } => format!("ask {attempt}"),
            Effect::Release { attempt } => format!("release {attempt}"),
            Effect::Expand { task } => format!("expand {task}"),
            Effect::FinishRun => format!("finish {}", self.journal.len()),
            Effect::StopAttempt { .. } | Effect::Reattach { .. } => return,
        };
        assert!(self.issued.insert(once.clone()), "issued twice: {once}");
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
        let running = self.running().len();
        let slots = usize::try_from(slots).unwrap();
        assert!(running < slots, "{attempt} starts beside {running} with {slots} slots");
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
        self.feed(Input::Resume(Box::new(Resume { scope, request, slots, segue: "0".into() })));
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
