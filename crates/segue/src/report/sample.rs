//! Runs made by hand, for the tests of all faces: events applied to a view one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use segue_core::{
    AttemptId, AttemptReport, Event, Expression, Failure, FailureClass, Finding, ForEach, Hardware,
    ItemKey, ItemSource, ListedItem, Millis, OnItemFailure, Outcome, Plan, Recorded, Resources,
    RunId, RunLimits, RunRequest, RunStatus, RunView, Section, SkipReason, Stored, Task, TaskId,
    Teardown, Timestamp, Usd,
};
use serde_json::json;

/// 2026-11-25T12:03:04Z.
const BEGIN_MS: i64 = 1_795_608_184_000;

/// A task id that no workflow could have.
pub(crate) fn odd_id(text: &str) -> TaskId {
    serde_json::from_value(json!(text)).unwrap()
}

/// A plan of tasks with their needs by name.
pub(crate) fn plan(tasks: &[(&str, &[&str])]) -> Plan {
    let place = |name: &&str| tasks.iter().position(|(id, _)| id == name).unwrap();
    let task = |(id, needs): &(&str, &[&str])| Task {
        needs: needs.iter().map(place).collect(),
        ..Task::new(odd_id(id), &["true"])
    };
    Plan {
        version: 1,
        workflow: "episode".to_owned(),
        digest: "d1".to_owned(),
        params: BTreeMap::from([("topic".to_owned(), json!("Why do we <dream>?"))]),
        secrets: Vec::new(),
        limits: RunLimits::default(),
        fail_fast: false,
        tasks: tasks.iter().map(task).collect(),
        outputs: vec![("score".to_owned(), Expression("1".to_owned()))],
        display: None,
        mode: None,
    }
}

/// A run as it is told: events with their times.
pub(crate) struct Tape {
    pub(crate) view: RunView,
    pub(crate) records: Vec<Recorded>,
    at: Timestamp,
}

impl Tape {
    /// A run of `plan` that has begun.
    pub(crate) fn begin(plan: Plan) -> Self {
        let plan = Arc::new(plan);
        let event = Event::RunStarted {
            run: RunId::parse("episode-01kb2test").unwrap(),
            workflow: plan.workflow.clone(),
            digest: plan.digest.clone(),
            request: RunRequest::default(),
            slots: 2,
            segue: "0.1.0".to_owned(),
            hardware: Hardware {
                cores: 4,
                memory_bytes: 8 << 30,
                cpu_model: "Test <CPU> 3000".to_owned(),
                kind: "vm".to_owned(),
            },
        };
        let at = Timestamp::from_unix_ms(BEGIN_MS);
        let mut tape = Self { view: RunView::new(plan), records: Vec::new(), at };
        tape.tell(0, event);
        tape
    }

    /// `later_ms` after the last event.
    pub(crate) fn tell(&mut self, later_ms: u64, event: Event) {
        self.at = self.at + Millis(later_ms);
        let seq = self.records.len() as u64 + 1;
        let recorded = Recorded { seq, at: self.at, event };
        self.view.apply(&recorded).unwrap();
        self.records.push(recorded);
    }

    pub(crate) fn start(&mut self, later_ms: u64, task: &str, number: u32) {
        let attempt = attempt(task, number);
        self.tell(later_ms, Event::AttemptCleared { attempt: attempt.clone() });
        self.tell(0, Event::AttemptDispatched { attempt });
    }

    pub(crate) fn end(&mut self, later_ms: u64, task: &str, number: u32, report: AttemptReport) {
        let attempts = self.view.tasks().find(|t| t.task.id.as_str() == task).unwrap().attempts;
        let started_at = Some(attempts.last().unwrap().dispatched_at + Millis(10));
        let ended_at = Some(self.at + Millis(later_ms));
        let report = Box::new(AttemptReport { started_at, ended_at, ..report });
        self.tell(later_ms, Event::AttemptEnded { attempt: attempt(task, number), report });
    }

    pub(crate) fn succeed(&mut self, later_ms: u64, task: &str, number: u32) {
        self.end(later_ms, task, number, passed());
        self.tell(0, Event::TaskSucceeded { task: odd_id(task), item: None });
    }

    pub(crate) fn retry(&mut self, task: &str, class: FailureClass, feedback: bool) {
        let until = self.at + Millis(5000);
        self.tell(
            0,
            Event::RetryScheduled { task: odd_id(task), item: None, until, class, feedback },
        );
    }

    pub(crate) fn finish(&mut self, status: RunStatus, failure: Option<Failure>) {
        let outputs = BTreeMap::from([
            ("score".to_owned(), json!(8.2)),
            ("files".to_owned(), json!(["output/<a>.mp3", "output/b.mp3"])),
        ]);
        self.tell(10, Event::RunEnded { status, outputs, failure, verdict_only: false });
    }
}

/// A run amid the items of a task: one succeeded, one failed, one skipped, one that runs and
/// one in line; of `count` in all.
pub(crate) fn items(count: usize) -> Tape {
    let mut plan = plan(&[("plan", &[]), ("lessons", &["plan"])]);
    plan.tasks[1].for_each = Some(ForEach {
        source: ItemSource::Items(Expression("tasks.plan.result".to_owned())),
        exclude: Vec::new(),
        name: None,
        key: None,
        max_parallel: Some(2),
        batch: None,
        on_item_failure: OnItemFailure::Continue,
    });
    let mut tape = Tape::begin(plan);
    tape.start(10, "plan", 1);
    tape.succeed(500, "plan", 1);
    let keys = ["one", "two|<b>", "three", "four", "five"].map(str::to_owned);
    let more = (keys.len()..count).map(|n| format!("more-{n}"));
    let listed = keys
        .into_iter()
        .chain(more)
        .map(|key| ListedItem { key: ItemKey::new(&key), value: Stored::Inline(json!(key)) });
    let task = || odd_id("lessons");
    tape.tell(0, Event::ItemsExpanded { task: task(), items: listed.collect() });
    for (key, class) in [("one", None), ("two|<b>", Some(FailureClass::Execution))] {
        let item = Some(ItemKey::new(key));
        let attempt = AttemptId { task: task(), item: item.clone(), number: 1 };
        tape.tell(5, Event::AttemptCleared { attempt: attempt.clone() });
        tape.tell(0, Event::AttemptDispatched { attempt: attempt.clone() });
        let mut report = passed();
        report.class = class;
        report.cost = Some(Usd(30_000));
        tape.tell(1200, Event::AttemptEnded { attempt, report: Box::new(report) });
        let message = "exited with code 1".to_owned();
        tape.tell(
            0,
            match class {
                None => Event::TaskSucceeded { task: task(), item },
                Some(class) => Event::TaskFailed { task: task(), item, class, message },
            },
        );
    }
    let reason = SkipReason::SkipIf { expression: "item.done".to_owned() };
    let item = Some(ItemKey::new("three"));
    tape.tell(0, Event::TaskSkipped { task: task(), item, reason });
    let attempt = AttemptId { task: task(), item: Some(ItemKey::new("four")), number: 1 };
    tape.tell(5, Event::AttemptCleared { attempt: attempt.clone() });
    tape.tell(0, Event::AttemptDispatched { attempt });
    tape
}

pub(crate) fn attempt(task: &str, number: u32) -> AttemptId {
    AttemptId { task: odd_id(task), item: None, number }
}

/// The report of an attempt that succeeded.
pub(crate) fn passed() -> AttemptReport {
    let resources = Resources {
        user_ms: 1500,
        system_ms: 250,
        peak_memory_bytes: 42 << 20,
        tree_peak_memory_bytes: Some(64 << 20),
        stdout_bytes: 120,
        ..Resources::default()
    };
    let teardown = Teardown::Verified { stragglers: 0 };
    let bare = AttemptReport::bare(Outcome::Exited { code: 0 }, None, teardown);
    AttemptReport { resources, cost: Some(Usd(120_000)), ..bare }
}

/// The report of an attempt that exited with `code`.
pub(crate) fn exited(code: i32, message: &str, stderr_tail: &str) -> AttemptReport {
    AttemptReport {
        outcome: Outcome::Exited { code },
        class: Some(FailureClass::Execution),
        message: message.to_owned(),
        stderr_tail: stderr_tail.to_owned(),
        cost: None,
        ..passed()
    }
}

fn judged(score: f64) -> AttemptReport {
    let passed_gate = score >= 7.0;
    let finding = Finding {
        gate: "score".to_owned(),
        passed: passed_gate,
        detail: format!("quality {score} is {} 7", if passed_gate { "at least" } else { "below" }),
        value: Some(score),
        feedback: !passed_gate,
    };
    AttemptReport {
        class: (!passed_gate).then_some(FailureClass::Quality),
        message: if passed_gate { String::new() } else { finding.detail.clone() },
        outputs: BTreeMap::from([("score".to_owned(), Stored::Inline(json!(score)))]),
        files: vec!["output/script.md".to_owned()],
        findings: vec![finding],
        ..passed()
    }
}

/// The plan of [`finished`] and [`running`].
fn episode() -> Plan {
    let mut plan = plan(&[
        ("fetch", &[]),
        ("flaky", &[]),
        ("script", &["fetch", "flaky"]),
        ("broken", &["fetch"]),
        ("after-broken", &["broken", "script"]),
        ("publish", &["script"]),
        ("cleanup", &[]),
    ]);
    for (index, stage) in [(0, 1), (1, 1), (2, 2), (3, 2), (4, 2), (5, 2)] {
        plan.tasks[index].stage = Some(stage);
    }
    plan.tasks[3].limits.timeout = Some(Millis(1900));
    plan.limits.budget = Some(Usd(5_510_000));
    plan.tasks[5].optional = true;
    plan.tasks[6].section = Section::Finally;
    plan
}

/// A run under way: one task done, one running, one waiting for its retry.
pub(crate) fn running() -> Tape {
    let mut tape = Tape::begin(episode());
    tape.tell(0, Event::StageOpened { stage: 1 });
    tape.start(5, "fetch", 1);
    tape.start(0, "flaky", 1);
    let tail = "thread 'main' panicked\nno <route> to host\n";
    tape.end(1200, "flaky", 1, exited(7, "exited with code 7: no <route> to host", tail));
    tape.retry("flaky", FailureClass::Execution, false);
    tape.succeed(1100, "fetch", 1);
    tape.start(3900, "flaky", 2);
    tape
}

/// A run that failed, with everything in it that can be shown.
pub(crate) fn finished() -> RunView {
    finished_tape().view
}

/// As [`finished`], with its events.
pub(crate) fn finished_tape() -> Tape {
    let mut tape = running();
    tape.succeed(800, "flaky", 2);
    tape.tell(0, Event::StageOpened { stage: 2 });
    tape.start(2, "script", 1);
    tape.start(0, "broken", 1);
    tape.end(2500, "script", 1, judged(6.1));
    tape.retry("script", FailureClass::Quality, true);
    tape.start(1000, "script", 2);
    let message = "exited with code 3: <script>alert('x')</script> | 100 %";
    let tail = "Traceback:\n  ValueError: <script>alert('x')</script>\n```\n";
    tape.end(900, "broken", 1, exited(3, message, tail));
    let (class, task) = (FailureClass::Execution, odd_id("broken"));
    tape.tell(
        0,
        Event::TaskFailed { task: task.clone(), item: None, class, message: message.to_owned() },
    );
    tape.tell(0, Event::TaskBlocked { task: odd_id("after-broken"), item: None, by: task.clone() });
    tape.end(61_000, "script", 2, judged(8.2));
    tape.tell(0, Event::TaskSucceeded { task: odd_id("script"), item: None });
    let reason = SkipReason::ConditionFalse { expression: "params.publish < 1".to_owned() };
    tape.tell(0, Event::TaskSkipped { task: odd_id("publish"), item: None, reason });
    tape.tell(0, Event::SectionOpened { section: Section::Finally });
    tape.start(3, "cleanup", 1);
    tape.succeed(400, "cleanup", 1);
    let failure = Failure { task: Some(task), class, message: message.to_owned() };
    tape.finish(RunStatus::Failed, Some(failure));
    tape
}

/// A run of `count` tasks, each 10 s long, four at a time.
pub(crate) fn many(count: usize) -> RunView {
    let names: Vec<String> = (0..count).map(|index| format!("task-{index:04}")).collect();
    let tasks: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
    let mut tape = Tape::begin(plan(&tasks));
    for four in names.chunks(4) {
        for name in four {
            tape.start(100, name, 1);
        }
        for name in four {
            tape.succeed(2500, name, 1);
        }
    }
    tape.finish(RunStatus::Succeeded, None);
    tape.view
}
