//! The driver: one loop that owns everything of a run.
//!
//! # Theory of operation
//!
//! All waiting is in one `select!` that yields inputs. A *turn* takes every input that is
//! there, hands each to the scheduler, appends all resulting events with one `write`, and asks
//! the sync thread to make them durable. An effect is performed once the event it is bound to
//! is durable ([`Ordered::after`]); so a start that was cleared in an earlier turn goes out at
//! once, and one cleared in this turn goes out when its sync is back. Views are told of an
//! event when it is durable, never before. Attempts are futures beside the loop on the same
//! thread; what they report comes back as inputs.
//!
//! Of a run whose number of slots is left to the machine the loop looks at the load every few
//! seconds while attempts run, and tells the scheduler how many slots that bears.
//!
//! If an append or a sync fails, nothing more is started, what runs is stopped gracefully, and
//! the run ends with that error; the next engine finds everything up to there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use segue_attempt::{AttemptOrder, CheckOrder, Reattached, RunContext, Runner, names_needed};
use segue_core::{
    AttemptId, AttemptReport, CheckKind, Effect, FailureClass, Input, Ordered, Outcome, Output,
    Precheck, Recorded, RunStatus, RunView, Scheduler, Seq, StopReason, TaskId, Teardown,
    Timestamp, task_scope,
};
use segue_journal::{Statistician, Summarizer};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::clock::{Clock, Timer};
use crate::disk::DiskGuard;
use crate::load::LoadWatch;
use crate::requests::Requests;
use crate::session::{RunError, Session};
use crate::spans::{SpansThread, Wish};
use crate::state_file::StateFile;
use crate::sync::{SyncThread, Synced};

/// How many inputs one turn takes at most.
const INPUTS_MAX: usize = 4096;

/// Somebody who is told of events once they are durable.
pub trait Observer {
    /// New durable events, in order, and the view after them. Must not block.
    fn observe(&mut self, events: &[Recorded], view: &RunView);
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How.
    pub status: RunStatus,
    /// Everything there is to see of it.
    pub view: RunView,
}

/// Drives a run to its end. `controls` are inputs from outside, such as a signal's
/// [`Input::Stop`]. To be awaited inside of a `LocalSet`.
///
/// Not cancel-safe: a dropped run is a killed engine, to be resumed.
///
/// # Errors
/// If the journal can no longer be written, or no supervisor can be started.
pub async fn drive(
    session: Session,
    context: Arc<RunContext>,
    controls: UnboundedReceiver<Input>,
    observer: &mut dyn Observer,
) -> Result<Finished, RunError> {
    let runner = session.runner(context);
    runner.connect().map_err(RunError::Supervisor)?;
    Driver::new(session, runner, observer)?.run(controls).await
}

struct Driver<'a> {
    session: Session,
    runner: Runner,
    observer: &'a mut dyn Observer,
    inputs: UnboundedSender<Input>,
    arrived: UnboundedReceiver<Input>,
    sync: SyncThread,
    spans: SpansThread,
    clock: Clock,
    timer: Timer,
    requests: Requests,
    summarizer: Summarizer,
    statistician: Statistician,
    state_file: StateFile,
    disk: DiskGuard,
    load: LoadWatch,
    /// Appended, not known to be durable.
    unpublished: VecDeque<Recorded>,
    /// Ordered, their event not known to be durable.
    held: VecDeque<Ordered>,
    durable: Seq,
    requested: Seq,
    numbers: BTreeMap<AttemptId, Seq>,
    finished: bool,
}

impl<'a> Driver<'a> {
    fn new(
        mut session: Session,
        runner: Runner,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, RunError> {
        let (inputs, arrived) = unbounded_channel();
        let mut syncer = session.journal.syncer()?;
        syncer.sync_delay = session.sync_delay;
        let mut summarizer = Summarizer::default();
        let mut statistician = Statistician::default();
        let recovered = std::mem::take(&mut session.recovered);
        for recorded in &recovered {
            summarizer.apply(recorded);
            statistician.apply(recorded);
        }
        observer.observe(&recovered, &session.view);
        let durable = session.scheduler.state().last_seq;
        let load = LoadWatch::new(first_slots(&session), session.load.take());
        Ok(Self {
            runner,
            observer,
            sync: SyncThread::start(syncer)?,
            spans: SpansThread::start(&session.store, session.run.clone(), inputs.clone())?,
            clock: Clock::after(session.scheduler.state().last_at),
            timer: Timer::new()?,
            requests: Requests::open(&session.run_dir, session.requests_mark)?,
            summarizer,
            statistician,
            state_file: StateFile::new(&session.run_dir),
            disk: DiskGuard::new(&session.run_dir, session.scheduler.plan()),
            load,
            inputs,
            arrived,
            unpublished: VecDeque::new(),
            held: VecDeque::new(),
            durable,
            requested: durable,
            numbers: BTreeMap::new(),
            finished: false,
            session,
        })
    }

    async fn run(mut self, mut controls: UnboundedReceiver<Input>) -> Result<Finished, RunError> {
        let first = std::mem::take(&mut self.session.first);
        let resumed = matches!(first.first(), Some(Input::Resume(_)));
        let result = match self.turn(first) {
            Ok(()) => {
                if resumed {
                    self.release_stale();
                }
                self.turns(&mut controls).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.stop_after_failure(&error, &mut controls).await;
            return Err(error);
        }
        self.record_summary();
        self.spans.finish();
        let status = self.session.view.status();
        drop(self.session.lock);
        Ok(Finished { status, view: self.session.view })
    }

    async fn turns(&mut self, controls: &mut UnboundedReceiver<Input>) -> Result<(), RunError> {
        let mut controls_open = true;
        while !self.finished {
            let mut inputs = Vec::new();
            tokio::select! {
                biased;
                synced = self.sync.synced() => self.synced(synced)?,
                control = controls.recv(), if controls_open => match control {
                    Some(input) => inputs.push(input),
                    None => controls_open = false,
                },
                input = self.arrived.recv() => inputs.extend(input),
                requests = self.requests.next() => {
                    inputs.extend(requests?.into_iter().map(crate::requests::Request::into_input));
                }
                fired = self.timer.fired() => {
                    fired?;
                    inputs.push(Input::TimerFired);
                }
            }
            while inputs.len() < INPUTS_MAX
                && let Ok(input) = self.arrived.try_recv()
            {
                inputs.push(input);
            }
            if !inputs.is_empty() {
                self.turn(inputs)?;
            }
            self.rest()?;
        }
        Ok(())
    }

    /// One turn: inputs in, events appended, effects performed or held.
    fn turn(&mut self, inputs: Vec<Input>) -> Result<(), RunError> {
        let now = self.clock.now().max(self.session.scheduler.state().last_at);
        let mut records = Vec::new();
        let mut seq = self.session.scheduler.state().last_seq;
        for input in inputs {
            let Output { events, effects } = self.session.scheduler.handle(now, input);
            for event in events {
                seq += 1;
                records.push(Recorded { seq, at: now, event });
            }
            self.held.extend(effects);
        }
        if !records.is_empty() {
            self.session.journal.append(&records)?;
            self.unpublished.extend(records);
            self.request_sync();
        }
        self.perform_durable();
        Ok(())
    }

    fn request_sync(&mut self) {
        let last = self.session.scheduler.state().last_seq;
        if self.requested < last {
            self.requested = last;
            self.sync.request(last);
        }
    }

    fn synced(&mut self, synced: Synced) -> Result<(), RunError> {
        let failed = |source| RunError::Sync { run: self.session.run.clone(), source };
        self.durable = self.durable.max(synced.map_err(failed)?);
        let count = self.unpublished.iter().take_while(|r| r.seq <= self.durable).count();
        let published: Vec<Recorded> = self.unpublished.drain(..count).collect();
        for recorded in &published {
            self.summarizer.apply(recorded);
            self.statistician.apply(recorded);
            self.session
                .view
                .apply(recorded)
                .map_err(|source| RunError::Corrupt { run: self.session.run.clone(), source })?;
        }
        if let Some(first) = published.first() {
            if matches!(
                first.event,
                segue_core::Event::RunStarted { .. } | segue_core::Event::RunResumed { .. }
            ) {
                self.record_summary();
            }
            self.state_file.touch();
            self.observer.observe(&published, &self.session.view);
        }
        self.perform_durable();
        Ok(())
    }

    /// Starts what waited for disk, lets the derived file follow and arms the timer.
    fn rest(&mut self) -> Result<(), RunError> {
        let now = self.clock.now();
        for (attempt, number) in self.disk.freed(now) {
            self.start(attempt, number);
        }
        if let Err(error) = self.state_file.write_if_due(&self.session.view, now) {
            // The journal holds everything; the next write may succeed.
            tracing::warn!(%error, "state.json could not be written");
        }
        if let Some(slots) = self.load.look(now, self.session.view.running() > 0) {
            self.send(Input::SlotsChanged { slots });
        }
        let deadline = self.session.scheduler.next_deadline();
        let dues = [deadline, self.state_file.due(), self.disk.due(), self.load.due()];
        let next = dues.into_iter().flatten().min();
        self.timer.arm(next, now)?;
        Ok(())
    }

    /// Performs every held effect whose event is durable. Starts may overtake others; all else
    /// keeps its order.
    fn perform_durable(&mut self) {
        let held = std::mem::take(&mut self.held);
        for ordered in held {
            if ordered.after <= self.durable {
                self.perform(ordered.effect);
            } else {
                self.held.push_back(ordered);
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::StartAttempt { attempt, number } => {
                if self.disk.admits(&attempt, number, self.clock.now()) {
                    self.start(attempt, number);
                }
            }
            Effect::StopAttempt { attempt, reason, at_once } => {
                if self.disk.forget(&attempt) {
                    self.send(Input::AttemptEnded {
                        attempt,
                        report: Box::new(never_started(reason)),
                    });
                } else if let Some(number) = self.numbers.get(&attempt) {
                    self.runner.stop(*number, reason, at_once);
                }
            }
            // What is held back has not started, and will.
            Effect::Reattach { attempt, .. } if self.disk.holds(&attempt) => {}
            Effect::Reattach { attempt, number } => self.reattach(attempt, number),
            Effect::Ask { attempt, wants } => {
                let index = self.session.scheduler.position(&attempt.task);
                let task = index.map(|index| &self.session.scheduler.plan().tasks[index]);
                let priority = task.map_or(0, |task| task.priority);
                self.spans.wish(Wish::Ask { attempt, wants, priority });
            }
            Effect::Expand { task } => self.list(task),
            Effect::Check { task, kind, number, until } => self.look(task, kind, number, until),
            Effect::StopCheck { number } => self.runner.stop_check(number),
            Effect::Release { attempt } => self.spans.wish(Wish::Release { attempt }),
            Effect::FinishRun => self.finished = true,
        }
    }

    fn start(&mut self, attempt: AttemptId, number: Seq) {
        let Some(order) = self.order(attempt.clone(), number) else { return };
        let (runner, inputs) = (self.runner.clone(), self.inputs.clone());
        tokio::task::spawn_local(async move {
            let report = Box::new(runner.run(order).await);
            // A loop that is gone has left the attempt to the records.
            let _ = inputs.send(Input::AttemptEnded { attempt, report });
        });
    }

    fn reattach(&mut self, attempt: AttemptId, number: Seq) {
        let Some(order) = self.order(attempt.clone(), number) else { return };
        let (runner, inputs) = (self.runner.clone(), self.inputs.clone());
        tokio::task::spawn_local(async move {
            let watch = match runner.reattach(order).await {
                Reattached::NeverStarted => {
                    let _ = inputs.send(Input::NeverStarted { attempt });
                    return;
                }
                Reattached::Ended(report) => {
                    let _ = inputs.send(Input::AttemptEnded { attempt, report });
                    return;
                }
                Reattached::Running(watch) => watch,
            };
            let _ = inputs.send(Input::Reattached { attempt: attempt.clone() });
            let report = Box::new(runner.watch(watch).await);
            let _ = inputs.send(Input::AttemptEnded { attempt, report });
        });
    }

    fn list(&self, task: TaskId) {
        let Some((index, sources)) = self.session.scheduler.list_sources(&task) else { return };
        let (runner, inputs) = (self.runner.clone(), self.inputs.clone());
        tokio::task::spawn_local(async move {
            let items = runner.list(index, sources).await;
            let _ = inputs.send(Input::Expanded { task, items });
        });
    }

    fn look(&self, task: TaskId, kind: CheckKind, number: Seq, until: Timestamp) {
        let scheduler: &Scheduler = &self.session.scheduler;
        let Some(index) = scheduler.position(&task) else { return };
        let (plan, state) = (scheduler.plan(), scheduler.state());
        let entry = &state.tasks[index];
        let next = entry.attempts + u32::from(entry.attempt.is_none());
        let order = CheckOrder {
            index,
            kind,
            attempt: AttemptId { task: task.clone(), item: None, number: next },
            number,
            limit: until.since(self.clock.now()).max(Precheck::LOOK_MIN),
            scope: task_scope(plan, state, index, &names_needed(&plan.tasks[index])),
            run_deadline: self.clock.on_the_wall(scheduler.run_deadline()),
        };
        let (runner, inputs) = (self.runner.clone(), self.inputs.clone());
        tokio::task::spawn_local(async move {
            let answer = runner.check(order).await;
            let _ = inputs.send(Input::Checked { task, number, answer });
        });
    }

    fn send(&self, input: Input) {
        // The receiver lives as long as this driver.
        let _ = self.inputs.send(input);
    }

    fn order(&mut self, attempt: AttemptId, number: Seq) -> Option<AttemptOrder> {
        let scheduler: &Scheduler = &self.session.scheduler;
        let node = scheduler.node_of(&attempt)?;
        let (plan, state) = (scheduler.plan(), scheduler.state());
        let index = state.owner(node);
        let names = names_needed(&plan.tasks[index]);
        let scope = task_scope(plan, state, node, &names);
        let task_started_at = state.tasks[node].first_started_at.unwrap_or(state.last_at);
        // Keepers and files go by the wall clock. Set forward meanwhile, it makes nothing old.
        let task_started_at = task_started_at.min(self.clock.on_the_wall(task_started_at));
        let run_deadline = self.clock.on_the_wall(scheduler.run_deadline());
        self.numbers.insert(attempt.clone(), number);
        Some(AttemptOrder { index, attempt, number, scope, task_started_at, run_deadline })
    }

    /// Gives back what attempts of earlier engines held and no longer need.
    fn release_stale(&mut self) {
        let kept = self.session.scheduler.attempts_under_way().collect();
        self.spans.wish(Wish::ReleaseAllBut { kept });
    }

    fn record_summary(&mut self) {
        if let Some(summary) = self.summarizer.summary() {
            let statistics = self.statistician.statistics().map(Box::new);
            self.spans.wish(Wish::Record { summary: Box::new(summary), statistics });
        }
    }

    /// The run cannot go on, most likely for want of disk: stops what runs, as gently as it may
    /// be, and at once if that is asked for. Nothing of it is recorded but by keepers.
    async fn stop_after_failure(
        &mut self,
        error: &RunError,
        controls: &mut UnboundedReceiver<Input>,
    ) {
        tracing::error!(%error, "the run cannot go on; stopping what runs");
        let entries = &self.session.scheduler.state().tasks;
        for look in entries.iter().filter_map(|entry| entry.waits.check.as_ref()?.look) {
            self.runner.stop_check(look);
        }
        let mut running = self.running();
        running.values().for_each(|seq| self.runner.stop(*seq, StopReason::DiskFull, false));
        let mut controls_open = true;
        while !running.is_empty() {
            tokio::select! {
                control = controls.recv(), if controls_open => match control {
                    Some(Input::Stop { at_once: true, .. }) => running
                        .values()
                        .for_each(|seq| self.runner.stop(*seq, StopReason::DiskFull, true)),
                    Some(_) => {}
                    None => controls_open = false,
                },
                input = self.arrived.recv() => match input {
                    Some(Input::AttemptEnded { attempt, .. } | Input::NeverStarted { attempt }) => {
                        running.remove(&attempt);
                    }
                    Some(_) => {}
                    None => return,
                },
            }
        }
    }

    /// The attempts that were ordered to start, or looked for, and have not ended.
    fn running(&self) -> BTreeMap<AttemptId, Seq> {
        let running = self.session.scheduler.attempts_under_way().filter_map(|id| {
            let seq = *self.numbers.get(&id)?;
            Some((id, seq))
        });
        running.collect()
    }
}

/// How many slots the run begins with in this engine.
fn first_slots(session: &Session) -> u32 {
    session.first.iter().find_map(Input::slots).unwrap_or(session.scheduler.state().slots)
}

/// The report of an attempt whose start was held back until it was asked to stop.
fn never_started(reason: StopReason) -> AttemptReport {
    let class = Some(FailureClass::Cancelled);
    AttemptReport::bare(Outcome::Cancelled { reason }, class, Teardown::None)
}

/// An observer that looks away.
impl Observer for () {
    fn observe(&mut self, _: &[Recorded], _: &RunView) {}
}
