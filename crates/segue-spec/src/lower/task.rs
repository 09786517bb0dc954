//! One task of the file to one task of the plan.

use segue_core::{
    Action, AttemptLimits, Backoff, ConcurrencyGroup, FailureClass, FailureList, Gate, GateCheck,
    Millis, OnBusy, OutputSource, ResultSource, Retry, Stdin, Stream, Task, TaskId, When,
};

use super::{Lowering, cores, expression, float, merged_env, template, whole};
use crate::node::{Data, Node};
use crate::quantity;

/// How long a `verify` script may take unless its gate says so.
const VERIFY_TIMEOUT: Millis = Millis::from_secs(600);

impl<'a> Lowering<'a> {
    /// All tasks, in file order.
    pub(super) fn tasks(&mut self) -> Vec<Task> {
        let workflow = self.workflow;
        let mut tasks = Vec::with_capacity(workflow.tasks.len());
        for ((key, node), facts) in workflow.task_entries().zip(&workflow.tasks) {
            let Ok(id) = TaskId::parse(&key.text) else { continue };
            let mut task = Task::new(id, &[]);
            task.section = facts.section;
            task.needs.clone_from(&facts.needs);
            self.fill_order(&mut task, node);
            self.fill_action(&mut task, node);
            self.fill_evidence(&mut task, node);
            self.fill_waits(&mut task, node);
            task.result_wanted = facts.wanted || wants_result(&task);
            tasks.push(task);
        }
        tasks
    }

    /// A key of the task, else of `defaults`.
    fn how(&self, node: &'a Node, name: &str) -> Option<&'a Node> {
        node.get(name).or_else(|| self.default(name))
    }

    pub(super) fn default(&self, name: &str) -> Option<&'a Node> {
        self.workflow.root.get("defaults")?.get(name)
    }

    fn fill_order(&mut self, task: &mut Task, node: &'a Node) {
        let int = |name: &str| node.get(name).and_then(Node::int);
        task.stage = int("stage").and_then(|stage| u32::try_from(stage).ok());
        task.priority = int("priority").unwrap_or(0);
        task.condition = node.get("if").map(expression);
        task.skip_if = node.get("skip_if").map(expression);
        task.optional = node.get("optional").and_then(Node::bool).unwrap_or(false);
        task.when = match node.get("when").and_then(Node::scalar) {
            Some("all_done") => When::AllDone,
            Some("any_succeeded") => When::AnySucceeded,
            Some("any_failed") => When::AnyFailed,
            _ => When::AllSucceeded,
        };
        task.for_each = node.get("for_each").map(|each| {
            let max_parallel = self.quantity(each.get("max_parallel"), whole);
            let batch = self.quantity(each.get("batch"), whole);
            crate::for_each::lowered(each, max_parallel, batch)
        });
        task.group = node.get("concurrency_group").and_then(|group| {
            Some(ConcurrencyGroup {
                key: expression(group.get("key")?),
                max: self.quantity(group.get("max"), whole).unwrap_or(1),
                on_busy: match group.get("on_busy").and_then(Node::scalar) {
                    Some("reject") => OnBusy::Reject,
                    _ => OnBusy::Queue,
                },
            })
        });
    }

    fn fill_action(&mut self, task: &mut Task, node: &'a Node) {
        let root = &self.workflow.root;
        let words = |node: &Node| node.scalars().into_iter().map(str::to_owned).collect();
        task.action = match node.get("run") {
            Some(script) => {
                Action::Run { script: template(script), shell: node.get("shell").map(words) }
            }
            None => Action::Argv {
                argv: node
                    .get("argv")
                    .map(Node::items)
                    .unwrap_or_default()
                    .iter()
                    .map(template)
                    .collect(),
            },
        };
        task.cwd = self.how(node, "cwd").map(template);
        task.env = merged_env([root.get("env"), self.default("env"), node.get("env")]);
        let files = [root.get("env_file"), self.how(node, "env_file")];
        task.env_files = files.into_iter().flatten().flat_map(one_or_many).map(template).collect();
        let secrets = self.how(node, "secrets").map(Node::scalars).unwrap_or_default();
        task.secrets = secrets.into_iter().map(str::to_owned).collect();
        task.stdin = match self.how(node, "stdin") {
            Some(stdin) if stdin.text == "pty" => Stdin::Pty,
            Some(stdin) => {
                stdin.get("text").map_or(Stdin::None, |text| Stdin::Text { text: template(text) })
            }
            None => Stdin::None,
        };
        let plain = AttemptLimits::default();
        let timeout = self.quantity(self.how(node, "timeout"), quantity::duration);
        let stall = self.quantity(self.how(node, "stall"), quantity::duration);
        let grace = self.quantity(self.how(node, "kill_grace"), quantity::duration);
        let output = self.quantity(self.how(node, "output_limit"), quantity::size);
        let orphan = self.quantity(self.how(node, "orphan_for"), quantity::duration);
        let memory = self.quantity(self.how(node, "memory_limit"), quantity::size);
        let cpu = self.quantity(self.how(node, "cpu_limit"), cores);
        task.limits = AttemptLimits {
            timeout: timeout.or(self.request.attempt_timeout).or(plain.timeout),
            stall: stall.or(plain.stall),
            kill_grace: grace.unwrap_or(plain.kill_grace),
            output_bytes_max: output.unwrap_or(plain.output_bytes_max),
            orphan_for: orphan.unwrap_or(plain.orphan_for),
            memory_bytes_max: memory,
            cpu_millis_max: cpu,
        };
        task.retry = self.retry(node);
    }

    /// The task's retry over that of `defaults`, key by key. `--retry` is stronger than both, save
    /// that `never` stays never.
    fn retry(&mut self, node: &'a Node) -> Retry {
        let layers = [node.get("retry"), self.default("retry")];
        let own = layers[0];
        let never = |layer: Option<&Node>| layer.is_some_and(|layer| layer.text == "never");
        if never(own) || own.is_none() && never(layers[1]) {
            return Retry { never: true, ..Retry::default() };
        }
        let find = |name: &str| layers.into_iter().flatten().find_map(|layer| layer.get(name));
        let plain = Retry::default();
        let attempts = match self.request.retry_attempts {
            Some(attempts) => Some(attempts.max(1)),
            None => self.quantity(find("attempts"), whole),
        };
        let delay = self.quantity(find("delay"), quantity::duration).unwrap_or(plain.delay);
        let max_delay = self.quantity(find("max_delay"), quantity::duration);
        let on = find("on")
            .map(|on| on.scalars().into_iter().filter_map(FailureClass::from_word).collect());
        Retry {
            attempts: attempts.unwrap_or(plain.attempts),
            delay,
            backoff: match find("backoff").and_then(Node::scalar) {
                Some("fixed") => Backoff::Fixed,
                Some("linear") => Backoff::Linear,
                _ => Backoff::Exponential,
            },
            max_delay: max_delay.unwrap_or_else(|| plain.max_delay.max(delay)),
            jitter: find("jitter").and_then(Node::bool).unwrap_or(plain.jitter),
            on: on.unwrap_or(plain.on),
            never: false,
        }
    }

    fn fill_evidence(&mut self, task: &mut Task, node: &'a Node) {
        if let Some(codes) = node.get("success_codes") {
            let codes = codes.items().iter().filter_map(Node::int);
            task.success_codes = codes.filter_map(|code| i32::try_from(code).ok()).collect();
        }
        task.result = match node.get("result") {
            Some(result) if result.text == "json" => ResultSource::Json,
            Some(result) if result.text == "text" => ResultSource::Text,
            Some(result) => result
                .get("file")
                .map_or(ResultSource::Auto, |path| ResultSource::File { path: template(path) }),
            None => ResultSource::Auto,
        };
        let outputs = node.get("outputs").map(Node::entries).unwrap_or_default().iter();
        task.outputs =
            outputs.filter_map(|(key, value)| Some((key.text.clone(), output(value)?))).collect();
        for gate in node.get("gates").map(Node::items).unwrap_or_default() {
            if let Some(check) = self.gate_check(gate) {
                let rounds = self.quantity(gate.get("rounds"), whole);
                let feedback = gate.get("feedback").and_then(Node::bool);
                let feedback = feedback.unwrap_or(rounds.is_some());
                let rounds = if feedback { rounds.unwrap_or(1) } else { 0 };
                task.gates.push(Gate { check, feedback, rounds });
            }
        }
    }

    /// The check of a gate; `None` for a judge, which this build refuses before.
    fn gate_check(&mut self, gate: &'a Node) -> Option<GateCheck> {
        if let Some(score) = gate.get("score") {
            let min = self.quantity(gate.get("min"), float).unwrap_or(0.0);
            return Some(GateCheck::Score { expression: expression(score), min });
        }
        if let Some(verify) = gate.get("verify") {
            let timeout = self.quantity(verify.get("timeout"), quantity::duration);
            let failures = verify.get("failures").and_then(|failures| {
                let text = |name: &str| failures.get(name).map(|node| node.text.clone());
                let junit = text("junit").map(FailureList::Junit);
                junit.or_else(|| text("regex").map(FailureList::Regex))
            });
            let timeout = timeout.unwrap_or(VERIFY_TIMEOUT);
            return Some(GateCheck::Verify {
                script: template(verify.get("run")?),
                failures,
                timeout,
            });
        }
        if let Some(schema) = gate.get("schema") {
            let known = schema.scalar().and_then(|file| self.workflow.schemas.get(file));
            let schema = known.cloned().unwrap_or_else(|| schema.to_json());
            return Some(GateCheck::Schema { schema });
        }
        let files = gate.get("files")?;
        let fresh = gate.get("fresh").and_then(Node::bool).unwrap_or(false);
        Some(GateCheck::Files {
            globs: one_or_many(files).into_iter().map(template).collect(),
            fresh,
        })
    }
}

pub(super) fn one_or_many(node: &Node) -> Vec<&Node> {
    match &node.data {
        Data::Seq(items) => items.iter().collect(),
        _ => vec![node],
    }
}

fn output(node: &Node) -> Option<OutputSource> {
    if let Some(path) = node.get("file") {
        return Some(OutputSource::File { path: template(path) });
    }
    if let Some(pointer) = node.get("json") {
        return Some(OutputSource::Json { pointer: pointer.text.clone() });
    }
    let patterns = node.get("regex")?.scalars().into_iter().map(str::to_owned).collect();
    let from = match node.get("from").and_then(Node::scalar) {
        Some("stderr") => Stream::Stderr,
        _ => Stream::Stdout,
    };
    Some(OutputSource::Regex { patterns, from })
}

/// Whether the task itself looks at its result.
fn wants_result(task: &Task) -> bool {
    matches!(task.result, ResultSource::Json | ResultSource::File { .. })
        || task.outputs.iter().any(|(_, source)| matches!(source, OutputSource::Json { .. }))
        || task.gates.iter().any(|gate| matches!(gate.check, GateCheck::Schema { .. }))
}
