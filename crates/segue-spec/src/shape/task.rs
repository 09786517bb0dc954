//! What the keys of a task say together: one without another, one against another.

use super::Shape;
use crate::node::{self, Node};

impl Shape<'_, '_> {
    /// What keys of a task say together.
    pub(super) fn task(&mut self, node: &Node, key: &node::Key) {
        let pairs = [
            ("shell", "run"),
            ("prompt", "agent"),
            ("prompt_file", "agent"),
            ("with", "workflow"),
            ("ready", "background"),
        ];
        for (one, other) in pairs {
            let agent = other == "agent" && self.default_agent;
            if let Some((found, _)) = node.entries().iter().find(|(key, _)| key.text == one)
                && node.get(other).is_none()
                && !agent
            {
                let message = format!("`{one}` means nothing without `{other}`");
                let help = format!("add `{other}: …` to `{}`, or remove `{one}`", key.text);
                self.error("segue::spec::one_of", &found.span, message, "on its own", help);
            }
        }
        let prompted = node.get("prompt").or_else(|| node.get("prompt_file")).is_some();
        if node.get("agent").is_some() && !prompted {
            let message = format!("the agent of `{}` is asked nothing", key.text);
            let help = "add `prompt: …` or `prompt_file: …`".to_owned();
            self.error("segue::spec::missing_key", &key.span, message, "no prompt", help);
        }
        for gate in node.get("gates").map(Node::items).unwrap_or_default() {
            self.gate(gate);
        }
        self.retry(node);
        self.waits(node, key);
    }

    fn gate(&mut self, gate: &Node) {
        let scored = gate.get("score").or_else(|| gate.get("judge")).is_some();
        let rules = [
            ("min", scored, "only `score` and `judge` have a least score"),
            ("fresh", gate.get("files").is_some(), "only `files` can be fresh"),
        ];
        for (name, fits, why) in rules {
            let found = gate.entries().iter().find(|(key, _)| key.text == name);
            if let Some((key, _)) = found.filter(|_| !fits) {
                let message = format!("`{name}` means nothing in this gate");
                let help = format!("remove it: {why}");
                self.error("segue::spec::one_of", &key.span, message, "on its own", help);
            }
        }
        if scored && gate.get("min").is_none() {
            let message = "a score passes from which value on?".to_owned();
            let help = "add `min: 7.0` beside it; equality passes".to_owned();
            self.error("segue::spec::missing_key", &gate.span, message, "no `min`", help);
        }
    }

    fn retry(&mut self, task: &Node) {
        let Some(retry) = task.get("retry") else { return };
        let span = |name: &str| {
            let value = retry.get(name)?;
            let length = crate::quantity::duration(value.scalar()?, false).ok()?;
            Some((length, value.span.clone()))
        };
        if let (Some((delay, _)), Some((most, at))) = (span("delay"), span("max_delay"))
            && most < delay
        {
            let message = format!("`max_delay` ({most}) is shorter than `delay` ({delay})");
            let help = "raise `max_delay`, or shorten `delay`".to_owned();
            self.error("segue::spec::impossible", &at, message, "too short", help);
        }
    }
}
