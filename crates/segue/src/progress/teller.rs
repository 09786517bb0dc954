//! Events in words: one line for each that matters to somebody who watches.
//!
//! It remembers of a run only what its lines need and knows neither colours nor streams.

use std::collections::{BTreeMap, BTreeSet};

use segue_core::{
    AttemptId, AttemptReport, Event, ItemKey, Millis, Outcome, Plan, Recorded, RunStatus, RunView,
    Section, SkipReason, StopReason, TaskId, TaskStatus, Timestamp, WaitingOn, label,
};

use super::plain_text;
use super::waits::told;
use crate::report::{counts, duration};

/// Names are padded to the longest of the plan, but no further than this.
const NAME_CHARS_MAX: usize = 24;

/// What a line is about, for its colour and its symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// The run itself.
    Run(RunStatus),
    /// A task that came to this status.
    Task(TaskStatus),
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) at: Timestamp,
    pub(super) tone: Tone,
    /// The task, or `run`.
    pub(super) subject: String,
    pub(super) text: String,
}

/// What the last attempt of a task or item left to say.
#[derive(Debug, Default)]
struct Memory {
    number: u32,
    dispatched_at: Timestamp,
    took: Millis,
    failure: String,
    /// How many items it has, for a task that has items; they were dispatched with it.
    items: Option<usize>,
    /// What a check of it last saw, once one is under way.
    seen: Option<String>,
}

/// Puts events into words, in order.
#[derive(Debug)]
pub(super) struct Teller {
    sections: BTreeSet<Section>,
    width: usize,
    /// By task and item, until it has ended.
    memory: BTreeMap<(TaskId, Option<ItemKey>), Memory>,
}

impl Teller {
    pub(super) fn new(plan: &Plan) -> Self {
        let longest = plan.tasks.iter().map(|task| task.id.as_str().chars().count()).max();
        Self {
            sections: plan.tasks.iter().map(|task| task.section).collect(),
            width: longest.unwrap_or(0).clamp(3, NAME_CHARS_MAX),
            memory: BTreeMap::new(),
        }
    }

    /// The width that names are padded to.
    pub(super) const fn width(&self) -> usize {
        self.width
    }

    /// Takes in one event; `view` is the view after it, or after more.
    pub(super) fn tell(&mut self, recorded: &Recorded, view: &RunView) -> Option<Line> {
        let (tone, subject, text) = match told_of_run(&recorded.event, &self.sections, view) {
            Some((status, text)) => (Tone::Run(status), "run".to_owned(), text),
            None => {
                let (status, text) = self.told_of_task(recorded, view)?;
                let task = recorded.event.task()?;
                (Tone::Task(status), label(task, recorded.event.item()), text)
            }
        };
        let (subject, text) = (plain_text(&subject), plain_text(&text));
        Some(Line { at: recorded.at, tone, subject, text })
    }

    fn told_of_task(
        &mut self,
        recorded: &Recorded,
        view: &RunView,
    ) -> Option<(TaskStatus, String)> {
        let at = recorded.at;
        Some(match &recorded.event {
            Event::GrantAsked { wants, .. } => {
                let WaitingOn::Lock { key } = wants.waiting_on() else { return None };
                (TaskStatus::Waiting, format!("asks for group {key}"))
            }
            Event::ItemsExpanded { task, items } => {
                let memory = self.memory_of(task, None);
                memory.dispatched_at = at;
                memory.items = Some(items.len());
                (TaskStatus::Running, format!("has {}", counted(items.len(), "item")))
            }
            Event::AttemptDispatched { attempt } => {
                (TaskStatus::Running, self.dispatched(attempt, at))
            }
            Event::AttemptEnded { attempt, report } => {
                let text = self.ended(attempt, report, at)?;
                (TaskStatus::Cancelled, text)
            }
            Event::RetryScheduled { task, item, until, feedback, .. } => {
                let memory = self.memory_of(task, item.as_ref());
                let next = if *feedback { "feedback round" } else { "retry" };
                let when = match until.since(at) {
                    Millis(0) => "follows".to_owned(),
                    delay => format!("in {delay}"),
                };
                let Memory { took, failure, .. } = memory;
                let text = format!("failed after {took}: {failure}; {next} {when}");
                (TaskStatus::Waiting, text)
            }
            Event::TaskSucceeded { task, item } => {
                let memory = self.forget(task, item.as_ref());
                let text = match memory.items {
                    Some(count) => {
                        let took = at.since(memory.dispatched_at);
                        format!("succeeded in {took} ({})", counted(count, "item"))
                    }
                    // A person's answer was told, and is all there is.
                    None if memory.number == 0 => "succeeded".to_owned(),
                    None => format!("succeeded in {}{}", memory.took, attempt_words(memory.number)),
                };
                (TaskStatus::Succeeded, text)
            }
            Event::TaskFailed { task, item, class, message } => {
                let attempt = attempt_words(self.forget(task, item.as_ref()).number);
                (TaskStatus::Failed, format!("failed: {class}: {message}{attempt}"))
            }
            Event::TaskSkipped { reason, .. } => match reason {
                // Whoever selected tasks knows, and sections are told when they open.
                SkipReason::NotSelected | SkipReason::SectionNotEntered => return None,
                reason => (TaskStatus::Skipped, format!("skipped: {reason}")),
            },
            Event::TaskBlocked { by, .. } => (TaskStatus::Blocked, format!("blocked by {by}")),
            Event::TaskCancelled { .. } => (TaskStatus::Cancelled, "cancelled".to_owned()),
            Event::StopRequested { task: Some(_), .. } => {
                (TaskStatus::Cancelled, "is being cancelled".to_owned())
            }
            event => {
                let seen = &mut self.memory_of(event.task()?, None).seen;
                return told(event, at, view.plan(), view.state().run.as_ref(), seen);
            }
        })
    }

    fn memory_of(&mut self, task: &TaskId, item: Option<&ItemKey>) -> &mut Memory {
        self.memory.entry((task.clone(), item.cloned())).or_default()
    }

    fn forget(&mut self, task: &TaskId, item: Option<&ItemKey>) -> Memory {
        self.memory.remove(&(task.clone(), item.cloned())).unwrap_or_default()
    }

    fn dispatched(&mut self, attempt: &AttemptId, at: Timestamp) -> String {
        let memory = self.memory_of(&attempt.task, attempt.item.as_ref());
        memory.number = attempt.number;
        memory.dispatched_at = at;
        format!("started{}", attempt_words(attempt.number))
    }

    /// Words for an attempt that ended without counting as a try; the others are told by what
    /// becomes of their task.
    fn ended(
        &mut self,
        attempt: &AttemptId,
        report: &AttemptReport,
        at: Timestamp,
    ) -> Option<String> {
        let memory = self.memory_of(&attempt.task, attempt.item.as_ref());
        let begin = report.started_at.unwrap_or(memory.dispatched_at);
        memory.number = attempt.number;
        memory.took = report.ended_at.unwrap_or(at).since(begin);
        memory.failure = failure_words(report);
        match report.outcome {
            Outcome::Parked => Some("parked: it was too long without an engine".to_owned()),
            Outcome::Cancelled { reason: StopReason::Shutdown | StopReason::DiskFull } => {
                Some(format!("stopped after {}; a resume starts it again", memory.took))
            }
            _ => None,
        }
    }
}

/// ` (attempt 2)`; nothing for the first.
fn attempt_words(number: u32) -> String {
    if number > 1 { format!(" (attempt {number})") } else { String::new() }
}

fn failure_words(report: &AttemptReport) -> String {
    let Some(class) = report.class else { return String::new() };
    if report.message.is_empty() {
        format!("{class}: {}", report.outcome)
    } else {
        format!("{class}: {}", report.message)
    }
}

fn told_of_run(
    event: &Event,
    sections: &BTreeSet<Section>,
    view: &RunView,
) -> Option<(RunStatus, String)> {
    let text = match event {
        Event::RunStarted { run, slots, .. } => {
            let tasks = counted(view.plan().tasks.len(), "task");
            format!("started: {run} ({tasks}, {} at once)", slots)
        }
        Event::RunResumed { slots, .. } => {
            let metrics = view.metrics();
            let done = metrics.counts.iter().find(|(s, _)| *s == TaskStatus::Succeeded);
            let (done, total) = (done.map_or(0, |(_, count)| *count), metrics.total);
            format!("resumed: {done} of {total} tasks have succeeded ({slots} at once)")
        }
        Event::SlotsChanged { slots } => format!("{slots} attempts at once from now on"),
        Event::ModeChosen { mode, number, excluded, slots, .. } => {
            let without = match excluded.len() {
                0 => String::new(),
                count => format!(", without {}", counted(count, "task")),
            };
            let slots = slots.map_or_else(String::new, |slots| format!(", {slots} at once"));
            format!("mode {mode}, as the probe measured {number}{without}{slots}")
        }
        Event::StageOpened { stage } => format!("stage {stage} opened"),
        Event::SectionOpened { section }
            if sections.contains(section) && enters(view, *section) =>
        {
            match section {
                Section::Probe | Section::Main => return None,
                Section::OnSuccess => "on_success opened".to_owned(),
                Section::OnFailure => "on_failure opened".to_owned(),
                Section::Finally => "finally opened".to_owned(),
            }
        }
        Event::StopRequested { task: None, reason, at_once } => stop_words(*reason, *at_once),
        Event::RunEnded { status, .. } => {
            let cost = view.cost().map_or_else(String::new, |cost| format!("; {cost}"));
            let words = counts(&view.metrics());
            return Some((*status, format!("{status} in {}: {words}{cost}", duration(view))));
        }
        _ => return None,
    };
    Some((RunStatus::Running, text))
}

/// Whether a section is for the way in which the run goes.
fn enters(view: &RunView, section: Section) -> bool {
    let bad = |task: segue_core::TaskView<'_>| {
        use TaskStatus::{Blocked, Cancelled, Failed};
        let status = task.entry.status;
        let is_bad = matches!(status, Failed | Blocked | Cancelled);
        task.task.section <= Section::Main && !task.task.optional && is_bad
    };
    match section {
        Section::Probe | Section::Main | Section::Finally => true,
        Section::OnSuccess => !view.tasks().any(bad),
        Section::OnFailure => view.tasks().any(bad),
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn stop_words(reason: StopReason, at_once: bool) -> String {
    let (what, why) = match reason {
        StopReason::Cancelled => ("cancelled", "by request"),
        StopReason::Shutdown => ("stopping", "by request"),
        StopReason::FailFast => {
            ("cancelling the rest", "a task failed, and the workflow is fail_fast")
        }
        StopReason::RunTimeout => ("stopping", "the run's time is up"),
        StopReason::DiskFull => ("stopping", "the journal cannot be written"),
        // A run is not stopped for these.
        StopReason::Released | StopReason::NotReady | StopReason::ServiceEnded => ("stopping", ""),
    };
    let how = if at_once { "at once" } else { "gracefully" };
    let more = match (reason, at_once) {
        (StopReason::Shutdown, false) => "; a second Ctrl-C stops at once",
        _ => "",
    };
    format!("{what} {how}: {why}{more}")
}
