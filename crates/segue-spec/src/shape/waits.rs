//! What the keys of approvals, services and checks say together.

use segue_core::Precheck;

use super::Shape;
use crate::node::{self, Node};

/// What an approval takes besides itself: it has no attempt, so nothing that is about one.
const BESIDE_APPROVE: &[&str] = &[
    "approve", "needs", "stage", "priority", "if", "when", "optional", "precheck", "skip_if",
    "help",
];

/// What actions an approval excludes; that there are two is said elsewhere.
const ACTIONS: &[&str] = &["run", "argv", "agent", "workflow"];

/// What makes no sense for a service, and why.
const NOT_FOR_SERVICES: &[(&str, &str)] = &[
    ("agent", "an agent comes to its end by itself"),
    ("workflow", "a workflow comes to its end by itself"),
    ("for_each", "declare each service by itself"),
    ("retry", "one that ends early has failed its dependents"),
    ("outputs", "it is stopped, not finished"),
    ("gates", "it is stopped, not finished"),
    ("success_codes", "it succeeds by living as long as its dependents"),
    ("result", "it is stopped, not finished"),
    ("concurrency_group", "its dependents might wait for what it holds"),
    ("resources", "its dependents might wait for what it holds"),
];

impl Shape<'_, '_> {
    /// What a task waits for, or is waited for by.
    pub(super) fn waits(&mut self, node: &Node, key: &node::Key) {
        if node.get("approve").is_some() {
            let beside = |(key, _): &&(node::Key, Node)| {
                !BESIDE_APPROVE.contains(&key.text.as_str())
                    && !ACTIONS.contains(&key.text.as_str())
            };
            for (key, _) in node.entries().iter().filter(beside) {
                let message = format!("`{}` means nothing beside `approve`", key.text);
                let why = match key.text.as_str() {
                    "timeout" => "`approve: {timeout: …}` says how long to wait",
                    _ => "an approval starts nothing",
                };
                let help = format!("remove it: {why}");
                self.error("segue::spec::one_of", &key.span, message, "of no use here", help);
            }
        }
        let background = node.get("background").and_then(Node::bool);
        if background == Some(true) {
            self.service(node, key);
        } else if let (Some(false), Some(ready)) = (background, node.get("ready")) {
            let message = format!("`{}` is no service that could be ready", key.text);
            let help = "write `background: true`, or remove `ready`".to_owned();
            self.error("segue::spec::one_of", &ready.span, message, "on its own", help);
        }
        for check in [node.get("precheck"), node.get("ready")].into_iter().flatten() {
            self.check_times(check);
        }
    }

    fn service(&mut self, node: &Node, key: &node::Key) {
        for (name, why) in NOT_FOR_SERVICES {
            let Some((found, _)) = node.entries().iter().find(|(key, _)| key.text == *name) else {
                continue;
            };
            let message = format!("`{}` is a service: `{name}` means nothing for it", key.text);
            let help = format!("remove `{name}` or `background`: {why}");
            self.error("segue::spec::one_of", &found.span, message, "not for a service", help);
        }
    }

    fn check_times(&mut self, check: &Node) {
        let read = |name: &str, unless: segue_core::Millis| {
            let Some(value) = check.get(name) else {
                return Some((unless, unless.to_string(), None));
            };
            let length = crate::quantity::duration(value.scalar()?, false).ok()?;
            Some((length, value.text.clone(), Some(value.span.clone())))
        };
        let (wait, every) = (read("wait", Precheck::WAIT), read("every", Precheck::EVERY));
        if let Some((length, text, Some(span))) = &every
            && *length < Precheck::EVERY_MIN
        {
            let message = format!("`every: {text}` is too short");
            let help = "look less often: `every: 100ms` or more".to_owned();
            self.error("segue::spec::impossible", span, message, "too often", help);
        }
        if let (Some((wait, limit, _)), Some((length, text, Some(span)))) = (wait, every)
            && length > wait
        {
            let message = format!("`every` ({text}) is longer than `wait` ({limit})");
            let help = "raise `wait`, or shorten `every`".to_owned();
            self.error("segue::spec::impossible", &span, message, "never a second look", help);
        }
    }
}
