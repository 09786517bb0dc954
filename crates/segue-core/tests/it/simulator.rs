//! Random plans under random outcomes, orders, duplicates, stale reports and crashes.
//!
//! A seed makes a plan and a history. When one fails, its number is printed:
//! `SEGUE_SIM_SEED=17` runs that one alone, `SEGUE_SIM_SEEDS=100000` runs more.

use std::sync::Arc;

use segue_core::{
    Answer, ApprovalAnswered, AttemptId, AttemptReport, CheckAnswer, FailureClass, Finding,
    GivenAnswer, Input, Millis, ModeChoice, Outcome, ResumeScope, RunStatus, StopReason, Stored,
    TaskId, Teardown, TimeLimit, Wants,
};

use crate::chance::Chance;
use crate::plans;
use crate::random_plans::random_plan;
use crate::world::{Process, World};

const SEEDS: u64 = 10_000;

/// More steps than any history of a plan this small can take.
const STEPS_MAX: usize = 20_000;

/// A resume gives failed tasks a fresh allowance, so a run that is never left alone never ends.
const DISTURBANCES_MAX: usize = 40;

#[expect(clippy::disallowed_methods, reason = "which seeds to run is asked for from outside")]
fn asked_for(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn random_runs_keep_every_promise_on_10_000_seeds() {
    if let Some(seed) = asked_for("SEGUE_SIM_SEED") {
        return History::new(seed, true).run();
    }
    for seed in 0..asked_for("SEGUE_SIM_SEEDS").unwrap_or(SEEDS) {
        let result = std::panic::catch_unwind(|| History::new(seed, false).run());
        assert!(result.is_ok(), "failed: rerun with SEGUE_SIM_SEED={seed}");
    }
}

struct History {
    chance: Chance,
    world: World,
    /// Print every step.
    told: bool,
    /// Whether this run may end at its own time limit.
    short: bool,
    /// How eagerly things go wrong: crashes and requests come once in so many steps.
    calm: u64,
    resumes: usize,
    disturbances: usize,
}

impl History {
    fn new(seed: u64, told: bool) -> Self {
        let mut chance = Chance::new(seed);
        let short = chance.one_in(8);
        let plan = Arc::new(random_plan(&mut chance, short));
        let calm = *chance.pick(&[12, 40, 150, 100_000]);
        let slots = u32::try_from(chance.between(1, 4)).unwrap();
        if told {
            println!("{plan:#?}");
        }
        Self {
            world: World::new(plan, slots),
            chance,
            told,
            short,
            calm,
            resumes: 0,
            disturbances: 0,
        }
    }

    fn run(mut self) {
        for step in 0.. {
            assert!(step < STEPS_MAX, "the run does not end: {:#?}", self.world.state());
            let events = self.world.journal.len();
            if !self.step() {
                break;
            }
            if self.chance.one_in(4) {
                self.world.check_settled();
            }
            if self.told {
                let from = events.min(self.world.journal.len());
                for recorded in &self.world.journal[from..] {
                    println!("{} {:?}", recorded.seq, recorded.event);
                }
            }
        }
    }

    fn note(&self, what: &str) {
        if self.told {
            println!("-- {what}");
        }
    }

    /// One thing happens. Says whether there is more to come.
    fn step(&mut self) -> bool {
        self.world.now = self.world.now + Millis(self.chance.between(0, 300));
        if self.chance.one_in(self.calm) {
            self.disturbances += 1;
            if self.disturbances == DISTURBANCES_MAX {
                self.calm = u64::MAX;
            }
            self.disturb();
            return true;
        }
        match self.chance.below(10) {
            0..3 => self.sync(),
            3..6 if self.world.can_perform() => {
                let fails = self.chance.one_in(20);
                let report = fails.then(|| spawn_failed(&mut self.chance));
                self.note("perform");
                self.world.perform(report);
            }
            6..8 if !self.world.inbox.is_empty() => self.deliver(),
            8 if !self.world.told.is_empty() && self.chance.one_in(3) => self.repeat(),
            8 if !self.world.looks.is_empty() => self.end_look(),
            9 if !self.world.running().is_empty() && self.chance.one_in(2) => self.end_one(),
            9 if !self.world.auditor.waits.questions().is_empty() => self.answer(),
            _ if self.world.idle() => return self.quiet(),
            _ => {}
        }
        true
    }

    fn sync(&mut self) {
        let (durable, whole) = (self.world.durable, self.world.journal.len());
        let reached = if self.chance.one_in(3) {
            durable + self.chance.below(whole - durable + 1)
        } else {
            whole
        };
        self.world.sync(reached);
    }

    /// The engine is told something, in any order; some of it twice.
    fn deliver(&mut self) {
        let place = self.chance.below(self.world.inbox.len());
        let input = self.world.inbox.remove(place);
        self.note(&format!("{input:?}"));
        if !matches!(input, Input::NeverStarted { .. }) {
            self.world.told.push(input.clone());
        }
        self.world.feed(input);
    }

    fn repeat(&mut self) {
        let input = self.chance.pick(&self.world.told).clone();
        self.note(&format!("again {input:?}"));
        self.world.feed(input);
    }

    fn end_look(&mut self) {
        let numbers: Vec<_> = self.world.looks.keys().copied().collect();
        let answer = match self.chance.below(12) {
            0..5 => CheckAnswer::Passed,
            5 => CheckAnswer::Never("no".into()),
            _ => CheckAnswer::NotYet("no".into()),
        };
        let number = *self.chance.pick(&numbers);
        self.note(&format!("look {number} ends: {answer:?}"));
        self.world.end_look(number, answer);
    }

    /// A person answers, what is asked or what was asked before.
    fn answer(&mut self) {
        if let Some(given) = self.random_answer() {
            self.note(&format!("{given:?}"));
            self.world.feed(Input::Answered(given));
        }
    }

    fn random_answer(&mut self) -> Option<GivenAnswer> {
        let questions = self.world.auditor.waits.questions();
        let (task, asked) = questions.get(self.chance.below(questions.len().max(1)))?.clone();
        let answer = *self.chance.pick(&[Answer::Approve, Answer::Approve, Answer::Reject]);
        let asked = if self.chance.one_in(8) { asked.saturating_sub(1) } else { asked };
        let answered = ApprovalAnswered { task, answer, by: "p".into(), note: String::new() };
        Some(GivenAnswer { asked, answered })
    }

    fn end_one(&mut self) {
        let mut running = self.world.running();
        let service = |attempt: &AttemptId| self.world.is_service(attempt);
        if running.iter().any(|attempt| !service(attempt)) && !self.chance.one_in(8) {
            running.retain(|attempt| !self.world.is_service(attempt));
        }
        let attempt = self.chance.pick(&running).clone();
        let stop = match &self.world.processes[&attempt] {
            Process::Runs { stop } => *stop,
            Process::Ended { .. } => None,
        };
        let report = random_end(&mut self.chance, stop);
        self.note(&format!("{attempt} ends: {:?}", report.outcome));
        self.world.end_process(&attempt, report);
    }

    /// Nothing is under way in the engine. Says whether anything else is.
    fn quiet(&mut self) -> bool {
        if self.world.over() {
            assert!(self.world.finished, "the engine was not told that the run has ended");
            assert_eq!(self.world.dead_grants(), [""; 0], "an ended run holds on to grants");
            return self.after_the_end();
        }
        self.world.check_stopped();
        let others: Vec<String> =
            self.world.arbiter.grants.iter().map(|g| g.holder.clone()).collect();
        let others: Vec<&String> = others.iter().filter(|g| g.starts_with("run-2/")).collect();
        let asked = !self.world.auditor.waits.questions().is_empty();
        if !self.world.looks.is_empty() && !self.chance.one_in(4) {
            self.end_look();
        } else if asked && self.chance.one_in(2) {
            self.answer();
        } else if !self.world.running().is_empty() {
            if self.chance.one_in(3) {
                self.time_passes();
            }
            self.end_one();
        } else if !others.is_empty() {
            let who = (*self.chance.pick(&others)).clone();
            self.note(&format!("{who} releases"));
            self.world.release(&who);
        } else if !self.world.looks.is_empty() {
            self.end_look();
        } else if asked && self.chance.one_in(2) {
            self.answer();
        } else {
            let deadline = self.world.scheduler.next_deadline();
            let run = self.world.scheduler.run_deadline();
            let waits = self.short || asked || deadline.is_some_and(|at| at < run);
            assert!(waits, "the run is stuck");
            self.time_passes();
        }
        true
    }

    fn time_passes(&mut self) {
        let Some(deadline) = self.world.scheduler.next_deadline() else { return };
        let run = self.world.scheduler.run_deadline();
        if deadline < run || self.short {
            self.note("time passes");
            self.world.now = self.world.now.max(deadline);
            self.world.feed(Input::TimerFired);
        }
    }

    fn after_the_end(&mut self) -> bool {
        let interrupted = self.world.scheduler.state().status() == RunStatus::Interrupted;
        self.resumes += 1;
        if self.resumes > 6 {
            // Whatever is left comes to its end undisturbed.
            self.calm = u64::MAX;
        }
        let again = interrupted || (self.resumes <= 3 && self.chance.one_in(4));
        if again {
            self.next_engine(!interrupted);
        }
        again
    }

    /// Another engine takes over, after the disk has kept what it has kept.
    fn next_engine(&mut self, from: bool) {
        let kept = self.world.journal.len();
        self.world.crash(kept);
        self.while_dead();
        let slots = u32::try_from(self.chance.between(1, 4)).unwrap();
        let scope = if from && self.chance.one_in(2) {
            ResumeScope::From(self.any_task())
        } else {
            ResumeScope::Unfinished
        };
        self.note(&format!("resume {scope:?} with {slots} slots"));
        self.world.resume(scope, slots);
    }

    fn any_task(&mut self) -> TaskId {
        let plan = Arc::clone(&self.world.plan);
        self.chance.pick(&plan.tasks).id.clone()
    }

    /// Processes end or are lost, and grants that nobody alive holds are taken away.
    fn while_dead(&mut self) {
        for attempt in self.world.running() {
            match self.chance.below(6) {
                0 => {
                    let report = random_end(&mut self.chance, None);
                    self.world.end_process(&attempt, report);
                }
                1 => {
                    let outcome = *self.chance.pick(&[Ending::Lost, Ending::Parked]);
                    self.world.end_process(&attempt, outcome.report());
                }
                _ => {}
            }
        }
        self.world.now = self.world.now + Millis(self.chance.between(0, 100_000));
        for dead in self.world.dead_grants() {
            if self.chance.one_in(2) {
                self.world.release(&dead);
            }
        }
        self.world.inbox.clear();
        if self.chance.one_in(3) {
            let given = self.random_answer();
            self.world.answers.extend(given);
        }
        if self.chance.one_in(3) {
            self.other_run();
        }
    }

    fn other_run(&mut self) {
        let group = (*self.chance.pick(&["g", "h"])).to_owned();
        let max = if group == "g" { 1 } else { 2 };
        let who = format!("run-2/{}.1", self.chance.below(3));
        self.world.other_asks(&who, Wants { group, max, reject: false });
    }

    fn disturb(&mut self) {
        match self.chance.below(10) {
            0..4 => {
                let (durable, whole) = (self.world.durable, self.world.journal.len());
                let kept = durable + self.chance.below(whole - durable + 1);
                self.note(&format!("crash, {kept} of {whole} events kept"));
                self.world.crash(kept);
                self.while_dead();
                let slots = u32::try_from(self.chance.between(1, 4)).unwrap();
                let from = self.chance.one_in(10);
                let scope =
                    if from { ResumeScope::From(self.any_task()) } else { ResumeScope::Unfinished };
                self.world.resume(scope, slots);
            }
            4 | 5 => {
                let slots = u32::try_from(self.chance.between(0, 5)).unwrap();
                self.note(&format!("{slots} slots"));
                self.world.feed(Input::SlotsChanged { slots });
            }
            6 | 7 => {
                let task = Some(self.any_task());
                let at_once = self.chance.one_in(3);
                self.note(&format!("cancel {task:?}"));
                self.world.feed(Input::Stop { task, reason: StopReason::Cancelled, at_once });
            }
            8 => {
                let reasons = [StopReason::Cancelled, StopReason::Shutdown, StopReason::DiskFull];
                let reason = *self.chance.pick(&reasons);
                let at_once = self.chance.one_in(3);
                self.note(&format!("stop: {reason:?}"));
                self.world.feed(Input::Stop { task: None, reason, at_once });
            }
            _ => self.other_run(),
        }
    }
}

#[derive(Clone, Copy)]
enum Ending {
    Lost,
    Parked,
}

impl Ending {
    fn report(self) -> Box<AttemptReport> {
        let outcome = match self {
            Self::Lost => Outcome::Lost,
            Self::Parked => Outcome::Parked,
        };
        plans::report(outcome, Some(FailureClass::Lost))
    }
}

fn spawn_failed(chance: &mut Chance) -> Box<AttemptReport> {
    let kind = (*chance.pick(&["prepare", "program_not_found"])).to_owned();
    let outcome = Outcome::SpawnFailed { kind, message: "no".into() };
    Box::new(AttemptReport::bare(outcome, Some(FailureClass::Spawn), Teardown::None))
}

fn random_end(chance: &mut Chance, stop: Option<StopReason>) -> Box<AttemptReport> {
    if let Some(reason) = stop.filter(|_| !chance.one_in(4)) {
        return plans::report(Outcome::Cancelled { reason }, Some(FailureClass::Cancelled));
    }
    let timed_out = |limit| Outcome::TimedOut { limit };
    let mut report = match chance.below(20) {
        0..12 => plans::exited(0),
        12 | 13 => plans::exited(1),
        14 => plans::report(Outcome::Exited { code: 0 }, Some(FailureClass::Quality)),
        15 => plans::report(Outcome::Exited { code: 1 }, Some(FailureClass::Auth)),
        16 => plans::report(timed_out(TimeLimit::Total), Some(FailureClass::Timeout)),
        17 => plans::report(Outcome::Signaled { signal: 9 }, None),
        18 => plans::report(
            Outcome::Cancelled { reason: StopReason::Shutdown },
            Some(FailureClass::Cancelled),
        ),
        _ => plans::report(timed_out(TimeLimit::Run), Some(FailureClass::Timeout)),
    };
    if report.class == Some(FailureClass::Quality) {
        report.findings.push(Finding {
            gate: "verify".into(),
            passed: false,
            detail: String::new(),
            value: None,
            feedback: chance.one_in(2),
        });
    }
    if !chance.one_in(6) {
        // Only a probe's is looked at.
        let number = *chance.pick(&["0", "1", "2", "3", "4.5", "\"two\"", "\"3\""]);
        let number = Stored::Inline(serde_json::from_str(number).unwrap());
        report.outputs.insert(ModeChoice::OUTPUT.to_owned(), number);
    }
    if chance.one_in(30) {
        report.teardown = Teardown::Unverified { pids: vec![1] };
    }
    report
}
