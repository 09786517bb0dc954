//! A checked workflow: what its file says, before any value is known.

use std::collections::BTreeMap;

use segue_core::{Plan, RunRequest, Section};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::diagnostic::{Diagnostic, Diagnostics, Severity, Sink};
use crate::graph::Graph;
use crate::modes::{self, ModeTask};
use crate::names::Names;
use crate::nearest::suggest;
use crate::node::Node;
use crate::params::{self, ParamSpec, SecretName};
use crate::shape::{Files, Shape};

/// The keys that hold tasks.
const SECTIONS: [&str; 4] = ["tasks", "on_success", "on_failure", "finally"];

/// How a `cpu_limit` comes to be held.
const CPU_LIMIT_HELP: &str = "start Segue where cgroup v2 with `cpu` is delegated to it, as by \
    `systemd-run --user -p Delegate=yes -p DelegateSubgroup=segue`, or remove the limit";

/// A workflow's text.
#[derive(Clone, Debug)]
pub struct Source {
    /// What diagnostics call the file.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// The folders outside of the workflow's own that it says its paths may lead to, as they
    /// are written; for who reads its files while it is being checked.
    #[must_use]
    pub fn allow_paths(&self) -> Vec<String> {
        let root = crate::yaml::parse(&self.text, &mut Sink::default());
        root.as_ref().map(allow_paths).unwrap_or_default()
    }
}

fn allow_paths(root: &Node) -> Vec<String> {
    let paths = root.get("allow_paths").map(Node::scalars).unwrap_or_default();
    paths.into_iter().map(str::to_owned).collect()
}

/// What lowering needs to know of the world besides the request.
pub struct LowerContext<'a> {
    /// The run's id; `run.id` in defaults.
    pub run_id: String,
    /// When the run starts, RFC 3339 with the local offset; `run.started_at` in defaults.
    pub started_at_local: String,
    /// Reads an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// A workflow whose file is right; its parameters have no values yet.
#[derive(Debug)]
pub struct Workflow {
    pub(crate) source: Source,
    pub(crate) root: Node,
    pub(crate) digest: String,
    pub(crate) params: Vec<ParamSpec>,
    secrets: Vec<SecretName>,
    unsupported: Diagnostics,
    warnings: Diagnostics,
    pub(crate) schemas: BTreeMap<String, Value>,
    files: Vec<(String, String)>,
    pub(crate) tasks: Vec<TaskFacts>,
}

/// What was found out about a task.
#[derive(Debug)]
pub(crate) struct TaskFacts {
    pub(crate) section: Section,
    pub(crate) needs: Vec<usize>,
    pub(crate) wanted: bool,
}

/// Checks a workflow as a whole.
///
/// `files` reads a file relative to the workflow's folder and gives its text, or says in a
/// few words why it cannot; paths that leave the folder are never asked for. The result's
/// [`Workflow::warnings`] do not stop a run, its [`Workflow::unsupported`] do.
///
/// # Errors
/// Everything that is wrong, at once, if anything is.
pub fn check(source: &Source, files: Files<'_>) -> Result<Workflow, Diagnostics> {
    let mut sink = Sink::default();
    let refuse = |sink: Sink| Err(Diagnostics::new(&source.name, &source.text, sink.list));
    let Some(root) = crate::yaml::parse(&source.text, &mut sink) else {
        if sink.list.is_empty() {
            let help = "start with `name:` and `tasks:`; `segue init` writes an example";
            let label = "nothing here";
            sink.error("segue::spec::empty", &(0..0), "the file is empty", label, help);
        }
        return refuse(sink);
    };
    let mut shape = Shape::of(&root, sink, files);
    let mut sink = std::mem::take(&mut shape.sink);
    let params = params::read(&root, &mut sink);
    let graph = Graph::of(&shape.tasks, &mut sink);
    graph.check_services(&shape.tasks, &mut sink);
    let secrets = root.get("secrets").map(Node::scalars).unwrap_or_default();
    check_secrets(&root, &shape, &secrets, &mut sink);
    crate::for_each::check(&shape.tasks, &mut sink);
    let mut names = Names::new(&source.text, &shape.tasks, &graph, &mut sink);
    names.params = params.iter().map(|param| param.name.as_str()).collect();
    let is_number = |param: &&ParamSpec| {
        use params::ParamType::{Boolean, Integer, Number};
        matches!(param.kind, Integer | Number | Boolean)
    };
    names.numbers = params.iter().filter(is_number).map(|param| param.name.as_str()).collect();
    names.secrets = secrets.clone();
    let wanted = names.check(&shape.uses);
    if !sink.has_errors() {
        let tasks = shape.tasks.iter().zip(&graph.needs);
        let tasks = tasks.map(|(task, needs)| {
            let (id, node, section) = (task.id, task.node, task.section);
            ModeTask { id, node, section, needs }
        });
        modes::check(&root, &tasks.collect::<Vec<_>>(), &mut sink);
    }
    if sink.has_errors() {
        return refuse(sink);
    }
    let facts = shape.tasks.iter().zip(graph.needs).zip(wanted);
    let tasks = facts
        .map(|((task, needs), wanted)| TaskFacts { section: task.section, needs, wanted })
        .collect();
    let secrets = secrets.into_iter().map(str::to_owned).collect();
    let digest = digest(&source.text, &shape.texts);
    let unsupported = Diagnostics::new(&source.name, &source.text, shape.later);
    let warnings = Diagnostics::new(&source.name, &source.text, sink.list);
    let (files, schemas) = (shape.texts.into_iter().collect(), shape.schemas);
    let source = source.clone();
    Ok(Workflow {
        source,
        root,
        digest,
        params,
        secrets,
        unsupported,
        warnings,
        schemas,
        files,
        tasks,
    })
}

/// Tasks may list only secrets that the workflow declares.
fn check_secrets(root: &Node, shape: &Shape<'_, '_>, declared: &[&str], sink: &mut Sink) {
    let defaults = root.get("defaults");
    let lists = defaults.into_iter().chain(shape.tasks.iter().map(|task| task.node));
    for secret in lists.filter_map(|node| node.get("secrets")).flat_map(Node::items) {
        if secret.is_scalar() && !declared.contains(&secret.text.as_str()) {
            let message = format!("the secret `{}` is not declared", secret.text);
            let help = if declared.is_empty() {
                format!("declare it at the top: `secrets: [{}]`", secret.text)
            } else {
                suggest("secret", &secret.text, declared.iter().copied())
            };
            let label = "not under `secrets` of the workflow";
            sink.error("segue::spec::unknown_name", &secret.span, message, label, help);
        }
    }
}

/// SHA-256 of the text and of every file it is made of, each with its name and length.
fn digest(text: &str, files: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    let mut part = |part: &str| {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    };
    part(text);
    for (name, text) in files {
        part(name);
        part(text);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Workflow {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.root.get("name").and_then(Node::scalar).unwrap_or_default()
    }

    /// What it does; empty unless given.
    #[must_use]
    pub fn description(&self) -> &str {
        self.root.get("description").and_then(Node::scalar).unwrap_or_default()
    }

    /// Its parameters, in file order.
    #[must_use]
    pub fn params(&self) -> &[ParamSpec] {
        &self.params
    }

    /// The secrets it declares, by name.
    #[must_use]
    pub fn secrets(&self) -> &[SecretName] {
        &self.secrets
    }

    /// The folders outside of the workflow's own that its paths may lead to, as they are
    /// written.
    #[must_use]
    pub fn allow_paths(&self) -> Vec<String> {
        allow_paths(&self.root)
    }

    /// Keys that are right but that this build does not act on: a run must refuse them.
    #[must_use]
    pub const fn unsupported(&self) -> &Diagnostics {
        &self.unsupported
    }

    /// What is allowed but looks wrong.
    #[must_use]
    pub const fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// What is to be said where nothing can hold the `cpu_limit` of its tasks: a warning at each
    /// of them. Whether that is so here, the workflow does not know.
    #[must_use]
    pub fn unheld_cpu_limits(&self) -> Diagnostics {
        let mut found = Vec::new();
        let limit = |node: &Node| {
            let mut keys = node.entries().iter();
            keys.find(|(key, _)| key.text == "cpu_limit").map(|(key, _)| key.span.clone())
        };
        let default = self.root.get("defaults").and_then(&limit);
        for (key, node) in self.task_entries() {
            if let Some(span) = limit(node).or_else(|| default.clone()) {
                found.push(Diagnostic {
                    code: "segue::spec::cpu_limit",
                    severity: Severity::Warning,
                    message: format!("nothing here holds task `{}` to its `cpu_limit`", key.text),
                    span,
                    label: "takes a control group, and none can be made".to_owned(),
                    help: CPU_LIMIT_HELP.to_owned(),
                });
            }
        }
        Diagnostics::new(&self.source.name, &self.source.text, found)
    }

    /// SHA-256 of the workflow's text and of every file it is made of, in hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The other files it is made of, schemas and prompts: name and text.
    #[must_use]
    pub fn files(&self) -> &[(String, String)] {
        &self.files
    }

    /// The entries of its tasks, all sections, in file order.
    pub(crate) fn task_entries(&self) -> impl Iterator<Item = (&crate::node::Key, &Node)> {
        let sections = self.root.entries().iter();
        let sections = sections.filter(|(key, _)| SECTIONS.contains(&key.text.as_str()));
        sections.flat_map(|(_, node)| node.entries()).map(|(key, node)| (key, node))
    }

    /// The plan of one run.
    ///
    /// # Errors
    /// Every parameter that is missing or wrong, every limit that a parameter makes
    /// impossible, every task that `only` or `skip` names wrongly; all at once.
    pub fn plan(
        &self,
        request: &RunRequest,
        context: &LowerContext<'_>,
    ) -> Result<Plan, Diagnostics> {
        let mut sink = Sink::default();
        let plan = crate::lower::plan(self, request, context, &mut sink);
        if sink.list.iter().any(|one| one.severity == Severity::Error) {
            return Err(Diagnostics::new(&self.source.name, &self.source.text, sink.list));
        }
        Ok(plan)
    }
}
