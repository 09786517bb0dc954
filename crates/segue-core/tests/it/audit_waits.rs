//! The auditor's part on checks, questions and services, again from events alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use segue_core::{
    CheckEnded, CheckKind, CheckStarted, Event, Plan, Recorded, Seq, TaskId, TaskIndex,
};

#[derive(Clone, Debug, Default)]
struct Line {
    look: Option<CheckKind>,
    passed: bool,
    asked: Option<Seq>,
    /// Its attempt runs and it is ready.
    serves: bool,
    /// It was, since the run began or was resumed.
    served: bool,
    released: bool,
}

/// What tasks wait for.
pub(crate) struct WaitsAuditor {
    plan: Arc<Plan>,
    lines: BTreeMap<TaskId, Line>,
}

impl WaitsAuditor {
    pub(crate) fn new(plan: &Arc<Plan>) -> Self {
        let lines = plan.tasks.iter().map(|task| (task.id.clone(), Line::default()));
        Self { lines: lines.collect(), plan: Arc::clone(plan) }
    }

    fn line(&mut self, task: &TaskId) -> &mut Line {
        self.lines.get_mut(task).expect("the plan has it")
    }

    fn of(&self, task: TaskIndex) -> &Line {
        &self.lines[&self.plan.tasks[task].id]
    }

    pub(crate) fn is_service(&self, task: TaskIndex) -> bool {
        self.plan.tasks[task].background.is_some()
    }

    /// Whether a task is a service that is ready.
    pub(crate) fn serves(&self, task: TaskIndex) -> bool {
        self.of(task).serves
    }

    /// Whether it was, since the run began or was resumed.
    pub(crate) fn has_served(&self, task: TaskIndex) -> bool {
        self.of(task).served
    }

    /// Whether a task's precheck lets a first attempt begin.
    pub(crate) fn is_checked(&self, task: TaskIndex) -> bool {
        self.plan.tasks[task].precheck.is_none() || self.of(task).passed
    }

    /// The question of every task that has one.
    pub(crate) fn questions(&self) -> Vec<(TaskId, Seq)> {
        let asked = self.lines.iter().filter_map(|(id, line)| Some((id.clone(), line.asked?)));
        asked.collect()
    }

    pub(crate) fn take(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::RunResumed { .. } => {
                for line in self.lines.values_mut() {
                    (line.look, line.passed, line.released) = (None, false, false);
                    line.served = false;
                }
            }
            Event::CheckStarted(CheckStarted { task, kind, .. }) => {
                let line = self.line(task);
                assert_eq!(line.look, None, "`{task}` is looked at twice at once");
                assert!(!line.serves && !line.released, "`{task}` is ready or released");
                line.look = Some(*kind);
            }
            Event::CheckEnded(CheckEnded { task, kind, passed, next, .. }) => {
                let line = self.line(task);
                line.look = None;
                line.passed |= *passed && *kind == CheckKind::Precheck;
                assert!(next.is_none_or(|next| next > recorded.at) && !(*passed && next.is_some()));
            }
            Event::ApprovalAsked(asked) => {
                let line = self.line(&asked.task);
                assert_eq!(line.asked.replace(recorded.seq), None, "{asked:?} is asked twice");
            }
            Event::ApprovalAnswered(answered) => {
                assert!(self.line(&answered.task).asked.take().is_some(), "nobody was asked");
            }
            Event::ApprovalWithdrawn { task } => {
                assert!(self.line(task).asked.take().is_some(), "nobody was asked");
            }
            Event::ServiceReady { task } => {
                let line = self.line(task);
                assert!(!line.released && !line.serves);
                (line.serves, line.served) = (true, true);
            }
            Event::ServiceReleased(released) => {
                let line = self.line(&released.task);
                assert!(!line.released, "it is released twice");
                line.released = true;
            }
            // One that was adopted is as ready as it was.
            Event::AttemptDispatched { attempt } if attempt.item.is_none() => {
                let line = self.line(&attempt.task);
                line.served |= line.serves;
            }
            Event::AttemptEnded { attempt, .. } if attempt.item.is_none() => {
                let line = self.line(&attempt.task);
                (line.serves, line.released) = (false, false);
            }
            Event::RunEnded { .. } => {
                let looks = self.lines.iter().find(|(_, line)| line.look.is_some());
                assert!(looks.is_none(), "the run ends while it looks: {looks:?}");
            }
            event => self.ends(event),
        }
    }

    fn ends(&mut self, event: &Event) {
        if let Event::TaskSucceeded { task, item: None }
        | Event::TaskFailed { task, item: None, .. }
        | Event::TaskSkipped { task, item: None, .. }
        | Event::TaskBlocked { task, item: None, .. }
        | Event::TaskCancelled { task, item: None } = event
        {
            let line = self.line(task);
            assert_eq!(line.look, None, "`{task}` ends while it is looked at");
            line.asked = None;
        }
    }
}
