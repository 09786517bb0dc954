//! Plans in one line of text, for tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use segue_core::{
    Action, Answer, AttemptReport, FailureClass, Millis, Outcome, PLAN_VERSION, Plan, Precheck,
    Probe, RunLimits, Section, Service, Task, TaskId, Teardown, Template, Timestamp,
};

/// A plan under construction.
#[derive(Clone)]
pub(crate) struct PlanText(Plan);

/// Reads `a; b: a; c: a b`: each task with its needs.
pub(crate) fn tasks(text: &str) -> PlanText {
    let mut plan = empty();
    let lines: Vec<(&str, &str)> = text
        .split(';')
        .map(|part| part.split_once(':').unwrap_or((part, "")))
        .map(|(id, needs)| (id.trim(), needs.trim()))
        .collect();
    let place = |id: &str| lines.iter().position(|(other, _)| *other == id).expect(id);
    for (id, needs) in &lines {
        let mut task = Task::new(TaskId::parse(id).unwrap(), &["true"]);
        task.needs = needs.split_whitespace().map(place).collect();
        task.retry.jitter = false;
        plan.tasks.push(task);
    }
    PlanText(plan)
}

pub(crate) fn empty() -> Plan {
    Plan {
        version: PLAN_VERSION,
        workflow: "w".into(),
        digest: "d".into(),
        params: BTreeMap::new(),
        secrets: Vec::new(),
        limits: RunLimits::default(),
        fail_fast: false,
        tasks: Vec::new(),
        outputs: Vec::new(),
        display: None,
        mode: None,
    }
}

impl PlanText {
    /// Changes the tasks called `ids`.
    pub(crate) fn with(mut self, ids: &str, change: impl Fn(&mut Task)) -> Self {
        for id in ids.split_whitespace() {
            let index = self.0.position(id).expect(id);
            change(&mut self.0.tasks[index]);
        }
        self
    }

    /// Makes services of the tasks called `ids`, each with a check that says when it is ready.
    pub(crate) fn services(self, ids: &str) -> Self {
        let ready = || Some(check(60, 2));
        self.with(ids, |task| task.background = Some(Service { ready: ready() }))
    }

    /// Makes an approval of a task.
    pub(crate) fn approval(self, id: &str, timeout: Option<u64>, default: Option<Answer>) -> Self {
        self.with(id, |task| {
            let message = Template("publish {{ task.id }}?".into());
            let timeout = timeout.map(Millis::from_secs);
            task.action = Action::Approve { message, timeout, default };
        })
    }

    /// Puts the tasks called `ids` into a section.
    pub(crate) fn section(self, ids: &str, section: Section) -> Self {
        self.with(ids, |task| task.section = section)
    }

    /// Changes the plan itself.
    pub(crate) fn plan(mut self, change: impl Fn(&mut Plan)) -> Self {
        change(&mut self.0);
        self
    }

    pub(crate) fn done(self) -> Arc<Plan> {
        Arc::new(self.0)
    }
}

/// A check of an address, for so many seconds, every so many.
pub(crate) fn check(wait: u64, every: u64) -> Precheck {
    Precheck {
        probe: Probe::Http { url: Template("http://localhost:3001/health".into()) },
        wait: Millis::from_secs(wait),
        every: Millis::from_secs(every),
        hint: Some("start it with `npm run dev`".into()),
    }
}

/// The report of an attempt that ran.
pub(crate) fn report(outcome: Outcome, class: Option<FailureClass>) -> Box<AttemptReport> {
    let started_at = Some(Timestamp::from_unix_ms(1));
    let teardown = Teardown::Verified { stragglers: 0 };
    Box::new(AttemptReport { started_at, ..AttemptReport::bare(outcome, class, teardown) })
}

/// An attempt that exited with `code`; anything but 0 is a failure of class `execution`.
pub(crate) fn exited(code: i32) -> Box<AttemptReport> {
    report(Outcome::Exited { code }, (code != 0).then_some(FailureClass::Execution))
}
