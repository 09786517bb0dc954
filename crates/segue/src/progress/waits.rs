//! Words for what a task waits for besides slots and grants: checks, people, services.

use segue_core::{
    Answer, ApprovalAnswered, ApprovalAsked, CheckEnded, CheckKind, CheckStarted, Event, Plan,
    Precheck, RunId, ServiceReleased, StopReason, TaskId, TaskStatus, TaskView, Timestamp,
};

/// The words for one of these events; `seen` is what a check of the task last saw, as far as
/// it was told, and is told once.
pub(super) fn told(
    event: &Event,
    at: Timestamp,
    plan: &Plan,
    run: Option<&RunId>,
    seen: &mut Option<String>,
) -> Option<(TaskStatus, String)> {
    Some(match event {
        Event::CheckStarted(CheckStarted { task, kind, until }) => {
            if seen.is_some() {
                return None;
            }
            *seen = Some(String::new());
            let check = check_of(plan, task, *kind)?;
            let text =
                format!("waits for {}, at most {}", what(plan, check, *kind), until.since(at));
            (status_of(*kind), text)
        }
        Event::CheckEnded(CheckEnded { task, kind, passed, seen: now, next }) => {
            let check = check_of(plan, task, *kind)?;
            if next.is_none() {
                *seen = None;
            }
            if *passed {
                return (*kind == CheckKind::Precheck)
                    .then(|| (TaskStatus::Queued, format!("{} passed", what(plan, check, *kind))));
            }
            if next.is_none() || seen.as_deref() == Some(now) {
                return None;
            }
            *seen = Some(now.clone());
            (status_of(*kind), format!("{} not yet: {now}", what(plan, check, *kind)))
        }
        Event::ApprovalAsked(asked) => (TaskStatus::Waiting, asks(asked, at, run)),
        Event::ApprovalAnswered(answered) => {
            let status = match answered.answer {
                Answer::Approve => TaskStatus::Succeeded,
                Answer::Reject => TaskStatus::Failed,
            };
            (status, answer_words(answered))
        }
        Event::ServiceReady { .. } => (TaskStatus::Running, "is ready".to_owned()),
        Event::ServiceReleased(ServiceReleased { reason: StopReason::Released, .. }) => {
            (TaskStatus::Running, "is stopped: nothing needs it any more".to_owned())
        }
        Event::ServiceReleased(ServiceReleased { reason: StopReason::NotReady, .. }) => {
            (TaskStatus::Cancelled, "is stopped: it was not ready in time".to_owned())
        }
        _ => return None,
    })
}

/// The commands that answer a task.
pub(crate) fn answer_commands(run: Option<&RunId>, task: &TaskId) -> String {
    let run = run.map_or("latest", RunId::as_str);
    format!("`segue approve {run} {task}` or `segue reject {run} {task}`")
}

/// What a task that waits for a person asks, and how to answer it, in one line.
pub(crate) fn question(task: &TaskView<'_>, run: Option<&RunId>) -> Option<String> {
    let question = task.entry.waits.question.as_ref()?;
    let commands = answer_commands(run, &task.task.id);
    Some(format!("{}  {commands}", super::plain_text(&question.message)))
}

/// What the check of a task that waits for one last saw.
pub(crate) fn last_seen(plan: &Plan, task: &TaskView<'_>) -> Option<String> {
    let check = task.entry.waits.check.as_ref()?;
    let spec = check_of_task(task.task, check.kind)?;
    let seen = if check.seen.is_empty() { String::new() } else { format!(": {}", check.seen) };
    Some(super::plain_text(&format!("{}{seen}", what(plan, spec, check.kind))))
}

fn asks(asked: &ApprovalAsked, at: Timestamp, run: Option<&RunId>) -> String {
    let after = match (asked.until, asked.default) {
        (None, _) => String::new(),
        (Some(until), None) => format!("; fails in {}", until.since(at)),
        (Some(until), Some(answer)) => format!("; {} in {}", verb(answer), until.since(at)),
    };
    let commands = answer_commands(run, &asked.task);
    format!("waits for an answer: {}  answer with {commands}{after}", asked.message)
}

const fn verb(answer: Answer) -> &'static str {
    match answer {
        Answer::Approve => "approved by itself",
        Answer::Reject => "rejected by itself",
    }
}

fn answer_words(answered: &ApprovalAnswered) -> String {
    let word = match answered.answer {
        Answer::Approve => "approved",
        Answer::Reject => "rejected",
    };
    let by = match answered.by.as_str() {
        "" => " by default: nobody answered in time".to_owned(),
        by => format!(" by {by}"),
    };
    let note = match answered.note.as_str() {
        "" => String::new(),
        note => format!(": {note}"),
    };
    format!("{word}{by}{note}")
}

const fn status_of(kind: CheckKind) -> TaskStatus {
    match kind {
        CheckKind::Precheck => TaskStatus::Waiting,
        CheckKind::Ready => TaskStatus::Running,
    }
}

fn what(plan: &Plan, check: &Precheck, kind: CheckKind) -> String {
    format!("{} `{}`", kind.word(), check.probe.shown(plan))
}

fn check_of<'p>(plan: &'p Plan, task: &TaskId, kind: CheckKind) -> Option<&'p Precheck> {
    check_of_task(&plan.tasks[plan.position(task.as_str())?], kind)
}

fn check_of_task(task: &segue_core::Task, kind: CheckKind) -> Option<&Precheck> {
    match kind {
        CheckKind::Precheck => task.precheck.as_ref(),
        CheckKind::Ready => task.background.as_ref()?.ready.as_ref(),
    }
}
