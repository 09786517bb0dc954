//! A checked workflow and a request to a [`Plan`].
//!
//! The file's shape is known to be right; only what depends on parameters can still be
//! wrong here. Every limit becomes a number; commands and paths stay templates.

mod modes;
mod select;
mod task;
mod waits;

use task::one_or_many;

use std::collections::BTreeMap;

use segue_core::{Expression, Mode, Plan, RunLimits, RunRequest, Template, render};
use serde_json::{Value, json};

use crate::diagnostic::Sink;
use crate::node::{Node, has_template};
use crate::params;
use crate::{LowerContext, Workflow, quantity};

/// Reads a quantity; the flag says whether a unit may be missing.
type Reader<T> = fn(&str, bool) -> Result<T, String>;

/// What all parts of the lowering share.
pub(super) struct Lowering<'a> {
    workflow: &'a Workflow,
    request: &'a RunRequest,
    sink: &'a mut Sink,
    /// What limits may name.
    scope: Value,
}

/// Lowers; what is wrong goes to `sink`, and the plan is then of no use.
pub(crate) fn plan(
    workflow: &Workflow,
    request: &RunRequest,
    context: &LowerContext<'_>,
    sink: &mut Sink,
) -> Plan {
    let root = &workflow.root;
    let params = params::resolve(&workflow.params, &request.params, context, sink);
    // A limit over a parameter that is wrong already would only be reported a second time.
    let params_ok = !sink.has_errors();
    let scope = json!({"params": params});
    let mut rest = Sink::default();
    let mut lowering =
        Lowering { workflow, request, sink: if params_ok { sink } else { &mut rest }, scope };
    let limits = lowering.limits();
    let tasks = lowering.tasks();
    let outputs = root.get("outputs").map(Node::entries).unwrap_or_default().iter();
    let mut plan = Plan {
        version: segue_core::PLAN_VERSION,
        workflow: workflow.name().to_owned(),
        digest: workflow.digest.clone(),
        params,
        secrets: workflow.secrets().to_vec(),
        limits,
        fail_fast: root.get("fail_fast").and_then(Node::bool).unwrap_or(false),
        tasks,
        outputs: outputs.map(|(key, value)| (key.text.clone(), expression(value))).collect(),
        display: root.get("display").map(template),
        mode: None,
    };
    let mode = lowering.mode(&plan);
    select::exclude(workflow, request, &mut plan.tasks, sink);
    if let Some((mode, out, probe)) = mode {
        select::exclude_of_mode(workflow, request, &mode.name, &out, &mut plan.tasks, sink);
        plan.tasks.extend(probe);
        plan.mode = Some(mode);
    }
    plan
}

fn template(node: &Node) -> Template {
    Template(node.text.clone())
}

fn expression(node: &Node) -> Expression {
    Expression(node.text.trim().to_owned())
}

/// A count, for [`Reader`].
fn count(text: &str, _bare: bool) -> Result<u64, String> {
    quantity::count(text)
}

/// Thousandths of a core, for [`Reader`].
fn cores(text: &str, _bare: bool) -> Result<u64, String> {
    quantity::cores(text)
}

fn whole(text: &str, _bare: bool) -> Result<u32, String> {
    match text.trim().parse::<u32>() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(number) if number <= 100_000 => Ok(number),
        Ok(_) => Err("it must be at most 100000".to_owned()),
        Err(_) => Err("it must be a whole number".to_owned()),
    }
}

fn float(text: &str, _bare: bool) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| "it must be a number".to_owned())
}

impl Lowering<'_> {
    /// Reads a quantity that may be a template over parameters.
    fn quantity<T>(&mut self, node: Option<&Node>, read: Reader<T>) -> Option<T> {
        let node = node?;
        let text = node.scalar()?;
        if !has_template(text) {
            return read(text, false).ok();
        }
        let result = render(text, Mode::Text, &self.scope)
            .map_err(|error| error.to_string())
            .and_then(|text| {
                read(&text, true).map_err(|why| format!("`{}` is not valid: {why}", text.trim()))
            });
        result
            .map_err(|why| {
                let message = format!("a limit cannot be filled in: {why}");
                let help = "give its parameter another value, or correct the template";
                let label = "with this run's parameters";
                self.sink.error("segue::spec::limit", &node.span, message, label, help);
            })
            .ok()
    }

    fn limits(&mut self) -> RunLimits {
        let root = &self.workflow.root;
        let limit = |name: &str| root.get("limits").and_then(|limits| limits.get(name));
        let plain = RunLimits::default();
        let auto = |node: &&Node| node.text != "auto";
        let timeout = self.quantity(limit("timeout"), quantity::duration);
        let concurrency = self.quantity(limit("concurrency").filter(auto), whole);
        let disk = self.quantity(limit("min_free_disk"), quantity::size);
        let budget = self.quantity(limit("budget"), quantity::money);
        let tokens = self.quantity(limit("tokens"), count);
        RunLimits {
            timeout: self.request.timeout.or(timeout).unwrap_or(plain.timeout),
            concurrency: self.request.concurrency.or(concurrency),
            min_free_disk_bytes: disk.unwrap_or(plain.min_free_disk_bytes),
            budget: self.request.budget.or(budget),
            tokens: self.request.tokens.or(tokens),
        }
    }
}

/// Environments laid over each other: a later value of a name replaces an earlier one.
fn merged_env<'n>(
    layers: impl IntoIterator<Item = Option<&'n Node>>,
) -> Vec<(String, Option<Template>)> {
    let mut env: Vec<(String, Option<Template>)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, value) in layers.into_iter().flatten().flat_map(Node::entries) {
        let value = value.is_scalar().then(|| template(value));
        match places.get(key.text.as_str()) {
            Some(place) => env[*place].1 = value,
            None => {
                places.insert(&key.text, env.len());
                env.push((key.text.clone(), value));
            }
        }
    }
    env
}
