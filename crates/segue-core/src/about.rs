//! What an event is about: which task, which item; and one that cannot follow.

use crate::{
    ApprovalAnswered, ApprovalAsked, AttemptId, CheckEnded, CheckStarted, Event, ItemKey,
    ServiceReleased, TaskId,
};

/// An event that cannot follow on those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} cannot follow: {why}")]
pub(crate) struct Illegal {
    pub(crate) event: String,
    pub(crate) why: &'static str,
}

impl Event {
    /// The attempt it is about, if it is about one.
    #[must_use]
    pub const fn attempt(&self) -> Option<&AttemptId> {
        match self {
            Self::GrantAsked { attempt, .. }
            | Self::Granted { attempt }
            | Self::AttemptCleared { attempt }
            | Self::AttemptDispatched { attempt }
            | Self::AttemptRecalled { attempt }
            | Self::AttemptEnded { attempt, .. } => Some(attempt),
            _ => None,
        }
    }

    /// The task it is about; `None` if it is about the run.
    #[must_use]
    pub const fn task(&self) -> Option<&TaskId> {
        match self {
            Self::GrantAsked { attempt, .. }
            | Self::Granted { attempt }
            | Self::AttemptCleared { attempt }
            | Self::AttemptDispatched { attempt }
            | Self::AttemptRecalled { attempt }
            | Self::AttemptEnded { attempt, .. } => Some(&attempt.task),
            Self::RetryScheduled { task, .. }
            | Self::TaskSucceeded { task, .. }
            | Self::TaskFailed { task, .. }
            | Self::TaskSkipped { task, .. }
            | Self::TaskBlocked { task, .. }
            | Self::TaskCancelled { task, .. }
            | Self::ApprovalWithdrawn { task }
            | Self::ServiceReady { task }
            | Self::CheckStarted(CheckStarted { task, .. })
            | Self::CheckEnded(CheckEnded { task, .. })
            | Self::ApprovalAsked(ApprovalAsked { task, .. })
            | Self::ApprovalAnswered(ApprovalAnswered { task, .. })
            | Self::ServiceReleased(ServiceReleased { task, .. })
            | Self::ItemsAsked { task }
            | Self::ItemsExpanded { task, .. } => Some(task),
            Self::StopRequested { task, .. } => task.as_ref(),
            Self::RunStarted { .. }
            | Self::RunResumed { .. }
            | Self::SlotsChanged { .. }
            | Self::ModeChosen { .. }
            | Self::StageOpened { .. }
            | Self::SectionOpened { .. }
            | Self::RunEnded { .. } => None,
        }
    }

    /// The item of that task it is about; `None` if it is about the task as a whole.
    #[must_use]
    pub const fn item(&self) -> Option<&ItemKey> {
        match self {
            Self::RetryScheduled { item, .. }
            | Self::TaskSucceeded { item, .. }
            | Self::TaskFailed { item, .. }
            | Self::TaskSkipped { item, .. }
            | Self::TaskBlocked { item, .. }
            | Self::TaskCancelled { item, .. } => item.as_ref(),
            _ => match self.attempt() {
                Some(attempt) => attempt.item.as_ref(),
                None => None,
            },
        }
    }

    /// Whether a task or item has come to its end with it.
    pub(crate) const fn ends_task(&self) -> bool {
        matches!(
            self,
            Self::TaskSucceeded { .. }
                | Self::TaskFailed { .. }
                | Self::TaskSkipped { .. }
                | Self::TaskBlocked { .. }
                | Self::TaskCancelled { .. }
        )
    }

    /// Its `type`, for messages.
    pub(crate) fn kind(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value["type"].as_str().unwrap_or("event").to_owned()
    }
}
