//! Approvals: a task asks a person, holds nothing meanwhile, and ends with the answer.
//!
//! A question is known by the place of its event, so an answer is to that question and to no
//! later one, whenever it comes and however often. It outlives its engine: a resume asks no
//! second time and keeps the deadline, and takes what was answered meanwhile before it looks at
//! the clock.

use crate::scheduler::Scheduler;
use crate::{
    Action, Answer, ApprovalAnswered, ApprovalAsked, Event, FailureClass, GivenAnswer, Mode, Task,
    TaskIndex, Timestamp, check_template, render,
};

/// How much of a question is asked, and of a note kept.
const TEXT_CHARS_MAX: usize = 4000;

impl Scheduler {
    /// Asks what the task is for. It waits from here on.
    pub(crate) fn ask_person(&mut self, index: TaskIndex, task: &Task) {
        let Action::Approve { message, timeout, default } = &task.action else { return };
        let rendered = check_template(&message.0, Mode::Text)
            .and_then(|names| render(&message.0, Mode::Text, &self.scope_of(index, &names)));
        match rendered {
            Ok(message) => self.record(Event::ApprovalAsked(ApprovalAsked {
                task: task.id.clone(),
                message: message.trim().chars().take(TEXT_CHARS_MAX).collect(),
                until: timeout.map(|timeout| self.now + timeout),
                default: *default,
            })),
            Err(error) => {
                let message = format!("`approve.message` cannot be filled in: {error}");
                self.fail(index, FailureClass::InvalidRequest, message);
            }
        }
    }

    /// Takes an answer, if it is to what is asked.
    pub(crate) fn answered(&mut self, given: GivenAnswer) {
        let GivenAnswer { asked, mut answered } = given;
        let Some(index) = self.graph.position(answered.task.as_str()) else { return };
        let question = self.state.tasks[index].waits.question.as_ref();
        if question.is_some_and(|question| question.asked == asked) {
            answered.note = answered.note.chars().take(TEXT_CHARS_MAX).collect();
            self.conclude_approval(index, answered);
        }
    }

    /// The time for an answer is up.
    pub(crate) fn unanswered(&mut self, index: TaskIndex) {
        let task = self.plan.tasks[index].id.clone();
        let Some(question) = &self.state.tasks[index].waits.question else { return };
        if let Some(answer) = question.default {
            let (by, note) = (String::new(), String::new());
            return self.conclude_approval(index, ApprovalAnswered { task, answer, by, note });
        }
        let Action::Approve { timeout, .. } = &self.plan.tasks[index].action else { return };
        let within = timeout.map(|timeout| format!(" within {timeout}")).unwrap_or_default();
        let message = format!("nobody answered{within}");
        self.fail(index, FailureClass::Timeout, message);
    }

    fn conclude_approval(&mut self, index: TaskIndex, answered: ApprovalAnswered) {
        let task = answered.task.clone();
        self.record(Event::ApprovalAnswered(answered.clone()));
        match answered.answer {
            Answer::Approve => self.record(Event::TaskSucceeded { task, item: None }),
            Answer::Reject => {
                let who = if answered.by.is_empty() {
                    "nobody answered in time, and the default is to reject".to_owned()
                } else {
                    format!("rejected by {}", answered.by)
                };
                let note = answered.note.trim();
                let note = if note.is_empty() { String::new() } else { format!(": {note}") };
                self.fail(index, FailureClass::Permission, who + &note);
            }
        }
    }

    /// Withdraws the question of a task that begins anew.
    pub(crate) fn withdraw_question(&mut self, index: TaskIndex) {
        if self.state.tasks[index].waits.question.is_some() {
            let task = self.plan.tasks[index].id.clone();
            self.record(Event::ApprovalWithdrawn { task });
        }
    }

    /// Whether the time for an answer is up at `until`.
    pub(crate) fn is_over(&self, until: Option<Timestamp>) -> bool {
        until.is_some_and(|until| until <= self.now)
    }
}
