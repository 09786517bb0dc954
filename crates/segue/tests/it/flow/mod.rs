//! What workflows say: what tasks are given, what counts, in which order, within which bounds.

mod bounds;
mod given;
mod load;
mod modes;
mod order;
mod results;

use serde_json::Value;

use crate::lab::Lab;

/// The newest run's ended attempts of `task`: `(outcome, class)`.
fn ends(lab: &Lab, task: &str) -> Vec<(String, String)> {
    let events = lab.events();
    let ended = events
        .iter()
        .map(|recorded| &recorded["event"])
        .filter(|event| event["type"] == "attempt_ended" && event["attempt"]["task"] == task);
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    ended.map(|e| (word(&e["report"]["outcome"]["how"]), word(&e["report"]["class"]))).collect()
}

/// The value of one of the newest run's outputs.
fn output(lab: &Lab, name: &str) -> Value {
    lab.state()["run"]["outputs"][name].clone()
}
