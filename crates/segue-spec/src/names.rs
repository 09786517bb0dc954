//! What templates and expressions name: that it exists, may stand there, and is done by then.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use segue_core::{ExpressionError, Mode, Section, check_expression, check_template, evaluate};

use crate::diagnostic::{Diagnostic, Severity, Sink};
use crate::for_each;
use crate::graph::Graph;
use crate::keys::Place;
use crate::nearest::{nearest, suggest};
use crate::node::{Node, Span};
use crate::scopes::{
    FUNCTIONS, LIMITS, OF_TASK, PREVIOUS, RUN, RUN_EARLY, TASK, TASK_OF_MODE, roots,
};
use crate::shape::{Form, TaskNode, Use};
use crate::shell::undone;
use crate::templates::{bracketed, filters, find_path};

/// Checks all uses of names in one file.
pub(crate) struct Names<'a, 'n> {
    pub(crate) text: &'a str,
    pub(crate) params: Vec<&'n str>,
    /// The parameters that are numbers or booleans.
    pub(crate) numbers: Vec<&'n str>,
    pub(crate) secrets: Vec<&'n str>,
    pub(crate) tasks: &'a [TaskNode<'n>],
    pub(crate) graph: &'a Graph,
    pub(crate) sink: &'a mut Sink,
    /// For each task, whether something looks at its result.
    pub(crate) wanted: Vec<bool>,
    filters: HashMap<String, bool>,
    /// By the task that is named: who names it, and where.
    asked: HashMap<usize, Vec<(usize, Span)>>,
}

impl<'a, 'n> Names<'a, 'n> {
    pub(crate) fn new(
        text: &'a str,
        tasks: &'a [TaskNode<'n>],
        graph: &'a Graph,
        sink: &'a mut Sink,
    ) -> Self {
        Self {
            text,
            params: Vec::new(),
            numbers: Vec::new(),
            secrets: Vec::new(),
            tasks,
            graph,
            sink,
            wanted: vec![false; tasks.len()],
            filters: HashMap::new(),
            asked: HashMap::new(),
        }
    }

    /// Checks everything; gives for each task whether its result is wanted.
    pub(crate) fn check(mut self, uses: &[Use<'n>]) -> Vec<bool> {
        for one in uses {
            self.one(one);
        }
        self.check_order();
        self.wanted
    }

    fn one(&mut self, one: &Use<'n>) {
        if self.sink.is_full() {
            return;
        }
        let source = one.node.text.as_str();
        let names = match one.form {
            Form::Expression => check_expression(source),
            Form::Template(mode) => check_template(source, mode),
        };
        let names = match names {
            Ok(names) => names,
            Err(error) => return self.syntax(one, &error),
        };
        self.check_filters(one);
        for name in &names {
            self.name(one, name);
        }
        if one.form == Form::Template(Mode::Shell) {
            self.warn_raw(one);
            self.warn_quoted(one);
        }
    }

    fn syntax(&mut self, one: &Use<'n>, error: &ExpressionError) {
        let source = one.node.text.as_str();
        let span = match &error.range {
            Some(range) if !range.is_empty() => self.within(one.node, range),
            _ => one.node.span.clone(),
        };
        let (what, help) = if one.form == Form::Expression && source.contains("{{") {
            ("expression", "write a bare expression here, without `{{` and `}}`")
        } else if source.contains("${#") || source.contains("{#") {
            (
                "template",
                "`{#` starts a comment of the template; put the script into \
                          `{% raw %}…{% endraw %}` or another file",
            )
        } else if one.form == Form::Expression {
            let help = match source {
                _ if source.contains("&&") || source.contains("||") => {
                    "write `and` for `&&`, `or` for `||`, `not` for `!`"
                }
                _ if error.message.contains("unexpected input") && source.contains(" = ") => {
                    "write `==` to compare"
                }
                _ => "write it as `tasks.a.outputs.x >= 3 and not params.dry`",
            };
            ("expression", help)
        } else {
            (
                "template",
                "write `{{ params.name }}`; braces that are meant as text go into \
                          `{% raw %}…{% endraw %}`",
            )
        };
        let message = format!("this {what} cannot be read: {error}");
        self.sink.error("segue::spec::template", &span, message, "here", help);
    }

    /// The bytes of the file that a range of a node's text stands at; the whole node if the
    /// text was changed on its way.
    fn within(&self, node: &Node, range: &Range<usize>) -> Span {
        let raw = self.text.get(node.span.clone()).unwrap_or_default();
        if let Some(offset) = raw.find(node.text.as_str()) {
            let start = node.span.start + offset + range.start.min(node.text.len());
            let end = node.span.start + offset + range.end.min(node.text.len());
            return if end > start { start..end } else { node.span.clone() };
        }
        let part = node.text.get(range.clone()).unwrap_or_default();
        if part.is_empty() {
            return node.span.clone();
        }
        let before = node.text.get(..range.start).map_or(0, |text| text.matches(part).count());
        raw.match_indices(part).nth(before).map_or_else(
            || node.span.clone(),
            |(at, _)| node.span.start + at..node.span.start + at + part.len(),
        )
    }

    /// Where a dotted path stands in the file.
    fn locate(&self, node: &Node, path: &str) -> Span {
        let raw = self.text.get(node.span.clone()).unwrap_or_default();
        let whole = find_path(raw, path);
        let short = || {
            let end = path.match_indices('.').nth(1).map_or(path.len(), |(at, _)| at);
            find_path(raw, &path[..end])
        };
        let found = whole.or_else(short);
        found.map_or_else(
            || node.span.clone(),
            |found| node.span.start + found.start..node.span.start + found.end,
        )
    }

    fn check_filters(&mut self, one: &Use<'n>) {
        let is_expression = one.form == Form::Expression;
        for (name, range) in filters(&one.node.text, is_expression) {
            let known = *self.filters.entry(name.to_owned()).or_insert_with(|| {
                let probe = evaluate(&format!("'' | {name}"), &serde_json::json!({}));
                !probe.is_err_and(|error| error.message.contains("unknown filter"))
            });
            if !known {
                let span = self.within(one.node, &range);
                let message = format!("there is no filter `{name}`");
                let ours = [
                    "duration", "usd", "strftime", "limit", "fence", "raw", "default", "length",
                    "upper", "lower", "trim", "join", "first", "last", "round", "int", "float",
                    "string", "tojson", "replace", "sort", "sum", "map", "select", "list",
                ];
                let help = suggest("filter", name, ours);
                self.sink.error("segue::spec::unknown_filter", &span, message, "this one", help);
            }
        }
    }

    fn warn_raw(&mut self, one: &Use<'n>) {
        for (name, range) in filters(&one.node.text, false) {
            if name == "raw" {
                self.sink.push(Diagnostic {
                    code: "segue::spec::raw_in_run",
                    severity: Severity::Warning,
                    message: "`raw` puts a value into the script unquoted".to_owned(),
                    span: self.within(one.node, &range),
                    label: "the shell will interpret it".to_owned(),
                    help: "remove `| raw`, unless the value is a piece of script by design"
                        .to_owned(),
                });
            }
        }
    }

    /// A value brings its own quotes, which end those it stands in.
    fn warn_quoted(&mut self, one: &Use<'n>) {
        let source = one.node.text.as_str();
        for (range, around) in undone(source) {
            let inside = &source[range.clone()];
            if self.is_one_word(inside.trim_matches(['{', '}', '-', ' '])) {
                continue;
            }
            let [message, label, help] = around.words();
            self.sink.push(Diagnostic {
                code: "segue::spec::quoted_in_run",
                severity: Severity::Warning,
                message: message.to_owned(),
                span: self.within(one.node, &range),
                label: label.to_owned(),
                help: help.to_owned(),
            });
        }
    }

    /// Whether an expression's value is a word that is never quoted: a number, an id.
    fn is_one_word(&self, expression: &str) -> bool {
        let plain = |name: &String| {
            let param = name.strip_prefix("params.");
            ["task.id", "task.attempt", "run.id", "run.workflow"].contains(&name.as_str())
                || param.is_some_and(|param| self.numbers.contains(&param))
        };
        !expression.contains(['\'', '"'])
            && check_expression(expression).is_ok_and(|names| names.iter().all(plain))
    }

    fn name(&mut self, one: &Use<'n>, path: &str) {
        let mut parts = path.split('.');
        let root = parts.next().unwrap_or_default();
        let field = parts.next();
        if FUNCTIONS.contains(&root) || self.is_item(one, root) {
            return;
        }
        let roots = roots(one.place);
        if !roots.contains(&root) {
            return self.unknown_root(one, path, root, roots);
        }
        match root {
            "params" => self.param(one, path, field),
            "secrets" => self.declared(one, path, field),
            "run" if one.place == Place::Default => self.field(one, path, field, RUN_EARLY),
            "run" => self.field(one, path, field, RUN),
            "task" if one.place == Place::Mode => self.field(one, path, field, TASK_OF_MODE),
            "task" => self.field(one, path, field, TASK),
            "limits" => self.field(one, path, field, LIMITS),
            "previous" => self.field(one, path, field, PREVIOUS),
            "output" if one.place == Place::Gate => self.want(one.owner),
            "tasks" => self.task(one, path, field),
            _ => {}
        }
    }

    /// Whether a name is what `for_each` calls its items, where there is one.
    fn is_item(&self, one: &Use<'n>, root: &str) -> bool {
        let places = [Place::Text, Place::Secret, Place::Control, Place::Gate];
        let task = one.owner.map(|owner| self.tasks[owner].node);
        let knows = |task| for_each::knows_items(task, one.node);
        places.contains(&one.place) && task.is_some_and(knows) && self.names_item(one, root)
    }

    fn names_item(&self, one: &Use<'n>, root: &str) -> bool {
        let each = one.owner.and_then(|owner| self.tasks[owner].node.get("for_each"));
        each.is_some_and(|each| for_each::names_item(each, root))
    }

    fn unknown_root(&mut self, one: &Use<'n>, path: &str, root: &str, roots: &[&str]) {
        let span = self.locate(one.node, path);
        if root == "secrets" {
            let message = "a secret may not stand here".to_owned();
            let help = "pass it through the task's `env` or `stdin`; the log masks it there";
            let label = "would end up in the open";
            return self.sink.error("segue::spec::secret_place", &span, message, label, help);
        }
        if self.names_item(one, root) {
            let message = format!("there is no `{root}` here");
            let help = "`skip_if` is asked of each item, `if` of the task; the list comes first";
            let label = "of no one item";
            return self.sink.error("segue::spec::unknown_name", &span, message, label, help);
        }
        let known = [
            "params", "env", "secrets", "run", "tasks", "task", "item", "event", "limits",
            "output", "previous", "loop",
        ];
        let (message, help) = if known.contains(&root) {
            let list = roots.iter().map(|root| format!("`{root}`")).collect::<Vec<_>>();
            (format!("`{root}` is not in scope here"), format!("in scope: {}", list.join(", ")))
        } else if self.params.contains(&root) {
            (format!("there is no name `{root}`"), format!("did you mean `params.{root}`?"))
        } else if self.graph.by_id.contains_key(root) {
            (format!("there is no name `{root}`"), format!("did you mean `tasks.{root}`?"))
        } else {
            (format!("there is no name `{root}`"), suggest("name", root, roots.iter().copied()))
        };
        self.sink.error("segue::spec::unknown_name", &span, message, "not defined", help);
    }

    fn field(&mut self, one: &Use<'n>, path: &str, field: Option<&str>, known: &[&str]) {
        let Some(field) = field.filter(|field| !known.contains(field)) else { return };
        let root = path.split('.').next().unwrap_or_default();
        let span = self.locate(one.node, path);
        let message = format!("`{root}` has no field `{field}`");
        let help = suggest("field", field, known.iter().copied());
        self.sink.error("segue::spec::unknown_name", &span, message, "not defined", help);
    }

    fn param(&mut self, one: &Use<'n>, path: &str, field: Option<&str>) {
        let Some(field) = field else { return };
        let place = self.params.iter().position(|param| *param == field);
        let span = || self.locate(one.node, path);
        match place {
            Some(place) if one.place == Place::Default && place >= one.param => {
                let message = format!("`{field}` is declared later than this default");
                let help = format!("a default sees only params above it; move `{field}` up");
                let span = span();
                self.sink.error("segue::spec::unknown_name", &span, message, "not known yet", help);
            }
            Some(_) => {}
            None => {
                let message = format!("there is no parameter `{field}`");
                let help = match nearest(field, self.params.iter().copied()) {
                    Some(near) => format!("did you mean `params.{near}`?"),
                    None => format!("declare it: `params: {{{field}: {{type: string}}}}`"),
                };
                let span = span();
                self.sink.error("segue::spec::unknown_name", &span, message, "not declared", help);
            }
        }
    }

    fn declared(&mut self, one: &Use<'n>, path: &str, field: Option<&str>) {
        let span = self.locate(one.node, path);
        match field {
            Some(field) if self.secrets.contains(&field) => {}
            Some(field) => {
                let message = format!("the secret `{field}` is not declared");
                let help = match nearest(field, self.secrets.iter().copied()) {
                    Some(near) => format!("did you mean `secrets.{near}`?"),
                    None => format!("declare it at the top: `secrets: [{field}]`"),
                };
                self.sink.error("segue::spec::unknown_name", &span, message, "not declared", help);
            }
            None => {
                let message = "secrets are named one by one".to_owned();
                let help = "write `secrets.NAME`";
                self.sink.error("segue::spec::secret_place", &span, message, "all of them", help);
            }
        }
    }

    fn task(&mut self, one: &Use<'n>, path: &str, id: Option<&str>) {
        let Some(id) = id else {
            let (names, dynamic) = bracketed(&one.node.text);
            for name in names {
                self.task_named(one, &name, None, &format!("tasks['{name}']"));
            }
            if dynamic {
                self.wanted.iter_mut().for_each(|wanted| *wanted = true);
            }
            return;
        };
        let field = path.split('.').nth(2);
        self.task_named(one, id, field, path);
    }

    fn task_named(&mut self, one: &Use<'n>, id: &str, field: Option<&str>, path: &str) {
        let span = self.locate(one.node, path);
        let Some(&target) = self.graph.by_id.get(id) else {
            let message = format!("there is no task `{id}`");
            let dashed = self.tasks.iter().find(|task| {
                task.id.strip_prefix(id).is_some_and(|rest| rest.starts_with('-'))
                    && one.node.text.contains(task.id)
            });
            let help = match dashed {
                Some(task) => format!("`-` subtracts here: write `tasks['{}']`", task.id),
                None => suggest("task", id, self.tasks.iter().map(|task| task.id)),
            };
            return self.sink.error(
                "segue::spec::unknown_task",
                &span,
                message,
                "no such task",
                help,
            );
        };
        if let Some(field) = field.filter(|field| !OF_TASK.contains(field)) {
            let message = format!("a task has no field `{field}`");
            let help = match self.tasks[target].node.get("outputs").and_then(|o| o.get(field)) {
                Some(_) => format!("it is an output: `tasks.{id}.outputs.{field}`"),
                None => suggest("field", field, OF_TASK.iter().copied()),
            };
            self.sink.error("segue::spec::unknown_name", &span, message, "not defined", help);
        }
        if field == Some("items") && self.tasks[target].node.get("for_each").is_none() {
            let message = format!("`{id}` has no items");
            let help = "only a task with `for_each` has; what it printed is `result`";
            self.sink.error("segue::spec::unknown_name", &span, message, "not defined", help);
        }
        if matches!(field, None | Some("result" | "items")) {
            self.wanted[target] = true;
        }
        let Some(owner) = one.owner else {
            if !matches!(one.place, Place::Result | Place::Channel) {
                let message = format!("`{id}` cannot be read by every task");
                let help = "name it in the tasks that need it, not at the top or in `defaults`";
                let label = "not done when the first task starts";
                self.sink.error("segue::spec::missing_need", &span, message, label, help);
            }
            return;
        };
        if owner == target {
            let message = format!("`{id}` cannot read itself");
            let help = "use `output` in a gate, `previous` for the attempt before";
            return self.sink.error(
                "segue::spec::missing_need",
                &span,
                message,
                "not done yet",
                help,
            );
        }
        self.ask(owner, target, span);
    }

    /// Notes that one task reads another, or says that it never can.
    fn ask(&mut self, owner: usize, target: usize, span: Span) {
        let (own, other) = (self.tasks[owner].section, self.tasks[target].section);
        let exclusive = matches!(
            (own, other),
            (Section::OnSuccess, Section::OnFailure) | (Section::OnFailure, Section::OnSuccess)
        );
        if own == other {
            self.asked.entry(target).or_default().push((owner, span));
        } else if other > own || exclusive {
            let message = format!("`{}` is not done by then", self.tasks[target].id);
            let help = "read only tasks of this section and of those that run before it";
            self.sink.error("segue::spec::section", &span, message, "runs later or never", help);
        }
    }

    fn want(&mut self, owner: Option<usize>) {
        if let Some(owner) = owner {
            self.wanted[owner] = true;
        }
    }

    /// A task may read only what it waits for.
    fn check_order(&mut self) {
        if self.graph.has_cycle {
            return;
        }
        let mut asked: Vec<_> = std::mem::take(&mut self.asked).into_iter().collect();
        asked.sort_by_key(|(target, _)| *target);
        for (target, askers) in asked {
            let owners: Vec<usize> = askers.iter().map(|(owner, _)| *owner).collect();
            let wrong: BTreeSet<usize> =
                self.graph.not_after(target, &owners).into_iter().collect();
            let need = self.tasks[target].id;
            for (owner, span) in askers.iter().filter(|(owner, _)| wrong.contains(owner)) {
                let task = &self.tasks[*owner];
                let mut needs = task.node.get("needs").map(Node::scalars).unwrap_or_default();
                if !needs.contains(&need) {
                    needs.push(need);
                }
                let message = format!("`{}` reads `{need}` without needing it", task.id);
                let help = format!("add to `{}`: `needs: [{}]`", task.id, needs.join(", "));
                let label = "may not be done yet";
                self.sink.error("segue::spec::missing_need", span, message, label, help);
            }
        }
    }
}
