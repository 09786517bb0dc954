//! What a task's first attempt would be given, as far as it is known before the run.

use segue_core::{
    Action, GateCheck, ItemSource, Mode, OnBusy, OnItemFailure, Plan, Precheck, Probe, Stdin, Task,
    Template, render_known, shell_quote,
};
use serde_json::{Value, json};

/// The words of one task with what is known filled in.
pub(super) struct Filled<'p> {
    plan: &'p Plan,
    task: &'p Task,
    scope: Value,
}

impl<'p> Filled<'p> {
    pub(super) fn of(plan: &'p Plan, task: &'p Task) -> Self {
        let scope = json!({
            "params": plan.params,
            "run": {"workflow": plan.workflow},
            "task": {"id": task.id, "attempt": 1},
            "previous": null,
        });
        Self { plan, task, scope }
    }

    fn text(&self, template: &Template) -> String {
        render_known(&template.0, Mode::Text, &self.scope).0
    }

    /// The command, as a shell would be given it.
    pub(super) fn command(&self) -> String {
        match &self.task.action {
            Action::Run { script, .. } => {
                let (script, _) = render_known(&script.0, Mode::Shell, &self.scope);
                script.trim_end().to_owned()
            }
            Action::Approve { message, .. } => format!("asks: {}", self.text(message)),
            Action::Argv { argv } => {
                let words = argv.iter().map(|word| {
                    let (text, known) = render_known(&word.0, Mode::Text, &self.scope);
                    // What is yet to be filled in is one word, whatever it becomes.
                    if known { shell_quote(&text) } else { text }
                });
                words.collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// What it reads; `None` if nothing, or a terminal.
    pub(super) fn stdin(&self) -> Option<String> {
        match &self.task.stdin {
            Stdin::Text { text } => Some(self.text(text)),
            Stdin::Prompt { prompt } => Some(prompt.text.clone()),
            Stdin::None | Stdin::Pty => None,
        }
    }

    pub(super) fn cwd(&self) -> Option<String> {
        self.task.cwd.as_ref().map(|path| self.text(path))
    }

    pub(super) fn env_files(&self) -> Vec<String> {
        self.task.env_files.iter().map(|path| self.text(path)).collect()
    }

    /// Its environment on top of Segue's own; `None` removes a name.
    pub(super) fn env(&self) -> Vec<(&'p str, Option<String>)> {
        let entries = self.task.env.iter();
        let filled =
            entries.map(|(name, value)| (name.as_str(), value.as_ref().map(|v| self.text(v))));
        filled.collect()
    }

    /// Its needs by name.
    pub(super) fn needs(&self) -> Vec<&'p str> {
        self.task.needs.iter().map(|&need| self.plan.tasks[need].id.as_str()).collect()
    }

    /// Its gates in words.
    pub(super) fn gates(&self) -> Vec<String> {
        let gates = self.task.gates.iter();
        gates
            .map(|gate| {
                let check = match &gate.check {
                    GateCheck::Score { expression, min } => {
                        format!("score {} ≥ {min}", expression.0)
                    }
                    GateCheck::Verify { script, timeout, .. } => {
                        let (script, _) = render_known(&script.0, Mode::Shell, &self.scope);
                        format!("verify `{}` within {timeout}", script.trim())
                    }
                    GateCheck::Schema { .. } => "schema of the result".to_owned(),
                    GateCheck::Files { globs, fresh } => {
                        let globs: Vec<String> = globs.iter().map(|g| self.text(g)).collect();
                        let fresh = if *fresh { "fresh " } else { "" };
                        format!("{fresh}files {}", globs.join(", "))
                    }
                };
                match gate.rounds {
                    0 => check,
                    1 => format!("{check}, one feedback round"),
                    rounds => format!("{check}, {rounds} feedback rounds"),
                }
            })
            .collect()
    }

    /// Its items in words, if it has items.
    pub(super) fn items(&self) -> Option<String> {
        let for_each = self.task.for_each.as_ref()?;
        let mut words = match &for_each.source {
            ItemSource::Items(source) => match for_each.count(&self.plan.params) {
                Some(count) => format!("for each of {}, {count} items", source.0),
                None => format!("for each of {}", source.0),
            },
            ItemSource::Glob(glob) => format!("for each file of {}", self.text(glob)),
            ItemSource::List(_) | ItemSource::Matrix(_) => {
                format!("for each of {} items", for_each.count(&self.plan.params).unwrap_or(0))
            }
        };
        if let Some(max) = for_each.max_parallel {
            words.push_str(&format!(", {max} at once"));
        }
        if let Some(batch) = for_each.batch {
            words.push_str(&format!(", in batches of {batch}"));
        }
        if for_each.on_item_failure == OnItemFailure::Stop {
            words.push_str(", until one fails");
        }
        Some(words)
    }

    /// What it waits for besides its needs, and what waits for it, in words.
    pub(super) fn waits(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(check) = &self.task.precheck {
            words.push(self.check("precheck", check));
        }
        if let Some(service) = &self.task.background {
            words.push("a service, beside the slots until what needs it has ended".to_owned());
            words.extend(service.ready.as_ref().map(|check| self.check("ready", check)));
        }
        if let Action::Approve { timeout, default, .. } = &self.task.action {
            let after = match default {
                None => "fails".to_owned(),
                Some(answer) => format!("counts as {}", answer.word()),
            };
            words.extend(timeout.map(|timeout| format!("after {timeout} {after}")));
        }
        words
    }

    fn check(&self, key: &str, check: &Precheck) -> String {
        let mode = match check.probe {
            Probe::Run { .. } => Mode::Shell,
            Probe::Http { .. } | Probe::File { .. } => Mode::Text,
        };
        let (what, _) = render_known(&check.probe.template().0, mode, &self.scope);
        let (word, what) = (check.probe.word(), what.trim());
        format!("{key} `{word}: {what}` within {}, every {}", check.wait, check.every)
    }

    /// Its concurrency group in words.
    pub(super) fn group(&self) -> Option<String> {
        let group = self.task.group.as_ref()?;
        let busy = match group.on_busy {
            OnBusy::Queue => "else waits",
            OnBusy::Reject => "else fails",
        };
        Some(format!("at most {} of group {}, {busy}", group.max, group.key.0))
    }
}
