//! Checks, approvals and services of the file to those of the plan.

use segue_core::{Action, Answer, Millis, Precheck, Probe, Retry, Service, Task};

use super::{Lowering, template};
use crate::node::Node;
use crate::quantity;

impl<'a> Lowering<'a> {
    /// What the task waits for, and whether it is a service. To be called last: a service takes
    /// nothing from `defaults` that would end it before its time.
    pub(super) fn fill_waits(&mut self, task: &mut Task, node: &'a Node) {
        task.precheck = node.get("precheck").and_then(|check| self.check(check));
        if let Some(approve) = node.get("approve") {
            self.fill_approval(task, approve);
        }
        if node.get("background").and_then(Node::bool) == Some(true) {
            let ready = node.get("ready").and_then(|check| self.check(check));
            task.background = Some(Service { ready });
            task.retry = Retry::default();
            task.limits.timeout = self.quantity(node.get("timeout"), quantity::duration);
            task.limits.stall = self.quantity(node.get("stall"), quantity::duration);
        }
    }

    fn fill_approval(&mut self, task: &mut Task, approve: &'a Node) {
        let Some(message) = approve.get("message") else { return };
        task.action = Action::Approve {
            message: template(message),
            timeout: self.quantity(approve.get("timeout"), quantity::duration),
            default: match approve.get("default").and_then(Node::scalar) {
                Some("approve") => Some(Answer::Approve),
                Some("reject") => Some(Answer::Reject),
                _ => None,
            },
        };
        task.limits.timeout = None;
        task.retry = Retry::default();
    }

    fn check(&mut self, node: &'a Node) -> Option<Precheck> {
        let of = |name: &str| node.get(name).map(template);
        let http = of("http").map(|url| Probe::Http { url });
        let run = || of("run").map(|script| Probe::Run { script });
        let file = || of("file").map(|path| Probe::File { path });
        let time = |this: &mut Self, name: &str| this.quantity(node.get(name), quantity::duration);
        let wait = time(self, "wait").unwrap_or(Precheck::WAIT);
        let every: Millis = time(self, "every").unwrap_or(Precheck::EVERY);
        Some(Precheck {
            probe: http.or_else(run).or_else(file)?,
            wait,
            // A parameter may have made it shorter than what the file may say.
            every: every.max(Precheck::EVERY_MIN),
            hint: node.get("hint").map(|hint| hint.text.clone()),
        })
    }
}
