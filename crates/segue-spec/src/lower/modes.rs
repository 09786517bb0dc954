//! The mode of a run: what it leaves out, how many attempts it lets run at once, and the task
//! that probes for it.

use segue_core::{
    Action, Alternative, ModeChoice, OutputSource, Plan, PlanMode, Section, Task, TaskId,
};

use super::{Lowering, expression, merged_env, one_or_many, template};
use crate::diagnostic::Sink;
use crate::modes::{self, ModeTask};
use crate::node::{Key, Node};

impl Lowering<'_> {
    /// Applies the mode that the request means to the tasks, and says which it is; a mode with a
    /// probe leaves them as they are and gets its probe behind them.
    pub(super) fn mode(&mut self, plan: &Plan) -> Option<(PlanMode, Vec<usize>, Option<Task>)> {
        let root = &self.workflow.root;
        let Some((key, node)) = modes::picked(root, self.request, self.sink) else {
            if self.request.probe.is_some() && self.request.mode.is_none() {
                refuse_probe(root, "no mode is in force", self.sink);
            }
            return None;
        };
        let Some(choose) = node.get("choose") else {
            if self.request.probe.is_some() {
                refuse_probe(root, &format!("mode `{}` has no probe", key.text), self.sink);
            }
            let out = self.left_out(plan, key, node);
            let concurrency = node.get("concurrency").map(expression);
            return Some((
                PlanMode { name: key.text.clone(), concurrency, choice: None },
                out,
                None,
            ));
        };
        let alternatives = choose.items().iter().filter_map(|choice| {
            let name = choice.get("use")?.text.as_str();
            let (key, node) = modes::modes(root).iter().find(|(key, _)| key.text == name)?;
            Some(Alternative {
                condition: choice.get("if").map(expression),
                mode: name.to_owned(),
                excluded: self.left_out(plan, key, node),
                concurrency: node.get("concurrency").map(expression),
            })
        });
        let choice = ModeChoice { probe: plan.tasks.len(), alternatives: alternatives.collect() };
        let Some(number) = self.request.probe else {
            let probe = self.probe(key, node)?;
            let mode = PlanMode { name: key.text.clone(), concurrency: None, choice: Some(choice) };
            return Some((mode, Vec::new(), Some(probe)));
        };
        match choice.pick(plan, number) {
            Ok(Alternative { mode, excluded, concurrency, .. }) => {
                let mode =
                    PlanMode { name: mode.clone(), concurrency: concurrency.clone(), choice: None };
                Some((mode, excluded.clone(), None))
            }
            Err(why) => {
                let message = format!("`--probe {number}` picks no mode: {why}");
                let help = "give a number that one of the choices takes, or add one without `if`";
                self.sink.error("segue::spec::modes", &choose.span, message, "of these", help);
                None
            }
        }
    }

    fn left_out(&mut self, plan: &Plan, key: &Key, node: &Node) -> Vec<usize> {
        let entries = self.workflow.task_entries();
        let tasks: Vec<ModeTask<'_>> = entries
            .zip(&self.workflow.tasks)
            .map(|((key, node), facts)| ModeTask {
                id: &key.text,
                node,
                section: facts.section,
                needs: &facts.needs,
            })
            .collect();
        modes::left_out(key, node, &tasks, &plan.params, self.sink)
    }

    fn probe(&mut self, key: &Key, node: &Node) -> Option<Task> {
        let root = &self.workflow.root;
        let probe = node.get("probe")?;
        let id = TaskId::parse(&format!("{}{}", TaskId::PROBE, key.text)).ok()?;
        let mut task = Task::new(id, &[]);
        task.section = Section::Probe;
        let script = template(probe.get("run")?);
        task.action = Action::Run { script, shell: None };
        task.env = merged_env([root.get("env"), self.default("env")]);
        let files = root.get("env_file").into_iter().flat_map(one_or_many);
        task.env_files = files.map(template).collect();
        let timeout = self.quantity(self.default("timeout"), crate::quantity::duration);
        task.limits.timeout = timeout.or(self.request.attempt_timeout).or(task.limits.timeout);
        let pointer = probe.get("json").map_or(String::new(), |node| node.text.clone());
        let number = OutputSource::Json { pointer };
        task.outputs = vec![(ModeChoice::OUTPUT.to_owned(), number)];
        task.result_wanted = true;
        Some(task)
    }
}

/// Says that a number was given for a probe that there is not.
fn refuse_probe(root: &Node, why: &str, sink: &mut Sink) {
    let message = format!("`--probe` means nothing here: {why}");
    let help = "leave it out, or pick a mode with a probe by `--mode`";
    sink.error("segue::spec::modes", &modes::heading(root), message, "no probe", help);
}
