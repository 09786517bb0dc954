//! Plans in one line of text, for tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use segue_core::{
    AttemptReport, FailureClass, Outcome, PLAN_VERSION, Plan, RunLimits, Section, Task, TaskId,
    Teardown, Timestamp,
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
