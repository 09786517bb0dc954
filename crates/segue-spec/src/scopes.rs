//! What is in scope where: the roots of names, and the fields of what they stand for.

use crate::keys::Place;

pub(crate) const RUN: &[&str] =
    &["id", "started_at", "status", "failure", "cost", "duration", "workflow"];
pub(crate) const RUN_EARLY: &[&str] = &["id", "started_at"];
pub(crate) const TASK: &[&str] = &["id", "attempt", "item"];
pub(crate) const TASK_OF_MODE: &[&str] = &["id", "stage", "priority", "optional"];
pub(crate) const LIMITS: &[&str] = &["concurrency"];
pub(crate) const PREVIOUS: &[&str] = &["class", "exit_code", "stderr_tail", "message", "findings"];
pub(crate) const OF_TASK: &[&str] =
    &["status", "outputs", "result", "exit_code", "files", "attempts", "error", "class", "items"];
pub(crate) const FUNCTIONS: &[&str] = &["range", "dict", "namespace", "debug"];

/// The names in scope of a place.
pub(crate) const fn roots(place: Place) -> &'static [&'static str] {
    match place {
        Place::Default => &["params", "run"],
        Place::Limit => &["params"],
        Place::Text | Place::Check => {
            &["params", "env", "run", "tasks", "task", "previous", "event"]
        }
        Place::Secret => &["params", "env", "secrets", "run", "tasks", "task", "previous", "event"],
        Place::Control => &["params", "run", "tasks", "task", "previous", "event"],
        Place::Gate => {
            &["params", "env", "run", "tasks", "task", "previous", "event", "output", "outputs"]
        }
        Place::Result => &["params", "run", "tasks"],
        Place::Channel => &["params", "env", "secrets", "run", "tasks", "event"],
        Place::Trigger => &["params", "env", "event"],
        Place::Mode => &["params", "task"],
        Place::Choice => &["params", "probe"],
        Place::Slots => &["params", "limits", "probe"],
    }
}
