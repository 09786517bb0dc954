//! Walks the tree of a file along the table of keys and says where they disagree.
//!
//! Owns everything that can be said of a value by itself: its key is known, its type fits,
//! its quantity reads, its path stays inside. What a value *names* is collected as [`Use`]s
//! for [`crate::names`]; tasks are collected for [`crate::graph`].

mod files;
mod task;
mod waits;

use std::collections::BTreeMap;

use segue_core::{Mode, Section, check_name};
use serde_json::Value;

use crate::diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Severity, Sink};
use crate::keys::{Key, Kind, MapKey, Object, Place, Support, TASK, WORKFLOW};
use crate::nearest::{meant, nearest, suggest};
use crate::node::{self, Data, Node, Span, has_template};
use crate::paths::Folder;
use crate::scalar::{expected, problem};

/// A template or expression that stands somewhere.
pub(crate) struct Use<'n> {
    pub(crate) node: &'n Node,
    pub(crate) form: Form,
    pub(crate) place: Place,
    /// The task it belongs to, by its place in [`Shape::tasks`].
    pub(crate) owner: Option<usize>,
    /// The place of its parameter in the file, for a default.
    pub(crate) param: usize,
}

/// How a text is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Template(Mode),
    Expression,
}

/// A task as it stands in the file.
pub(crate) struct TaskNode<'n> {
    pub(crate) id: &'n str,
    pub(crate) span: &'n Span,
    pub(crate) node: &'n Node,
    pub(crate) section: Section,
}

/// Reads a file relative to the workflow's folder.
pub(crate) type Files<'f> = &'f dyn Fn(&str) -> Result<String, String>;

/// What the walk gathers.
pub(crate) struct Shape<'n, 'f> {
    pub(crate) sink: Sink,
    /// Keys that this build does not act on.
    pub(crate) later: Vec<Diagnostic>,
    pub(crate) uses: Vec<Use<'n>>,
    pub(crate) tasks: Vec<TaskNode<'n>>,
    /// Texts of the files that are part of the workflow, by name.
    pub(crate) texts: BTreeMap<String, String>,
    /// JSON Schemas among them.
    pub(crate) schemas: BTreeMap<String, Value>,
    files: Files<'f>,
    folder: Folder,
    section: Section,
    owner: Option<usize>,
    param: usize,
    default_agent: bool,
}

impl<'n, 'f> Shape<'n, 'f> {
    /// Walks a whole workflow.
    pub(crate) fn of(root: &'n Node, sink: Sink, files: Files<'f>) -> Self {
        let allowed = root.get("allow_paths").map(Node::scalars).unwrap_or_default();
        let mut shape = Self {
            sink,
            later: Vec::new(),
            uses: Vec::new(),
            tasks: Vec::new(),
            texts: BTreeMap::new(),
            schemas: BTreeMap::new(),
            files,
            folder: Folder::new(&allowed),
            section: Section::Main,
            owner: None,
            param: 0,
            default_agent: root.get("defaults").and_then(|d| d.get("agent")).is_some(),
        };
        shape.object(root, &WORKFLOW, "the file", &(root.span.start..root.span.start));
        shape
    }

    fn error(
        &mut self,
        code: &'static str,
        span: &Span,
        message: String,
        label: &str,
        help: String,
    ) {
        self.sink.error(code, span, message, label, help);
    }

    fn object(&mut self, node: &'n Node, object: &Object, name: &str, at: &Span) {
        if !self.is_mapping(node, object.what, name, at, || as_mapping(node, object, name)) {
            return;
        }
        for (key, value) in node.entries() {
            match object.find(&key.text) {
                Some(known) => self.entry(known, key, value),
                None => {
                    let message = format!("{} has no key `{}`", object.what, key.text);
                    let names = object.keys().map(|key| key.name);
                    let help = suggest("key", &key.text, names);
                    let label = "not a key of the language";
                    self.error("segue::spec::unknown_key", &key.span, message, label, help);
                }
            }
        }
        // What a slip of the pen already explains is not said a second time.
        let strangers: Vec<&str> = node
            .entries()
            .iter()
            .map(|(key, _)| key.text.as_str())
            .filter(|key| object.find(key).is_none())
            .collect();
        let meant = |name: &str| strangers.iter().any(|key| nearest(key, [name]).is_some());
        let missing = object.keys().filter(|key| key.required && node.get(key.name).is_none());
        for missing in missing.filter(|key| !meant(key.name)) {
            let message = format!("{} needs the key `{}`", object.what, missing.name);
            let help = format!("add `{}: …`: {}", missing.name, missing.help);
            self.error("segue::spec::missing_key", at, message, "it is missing here", help);
        }
        self.one_of(node, object, !strangers.is_empty(), at);
    }

    fn is_mapping(
        &mut self,
        node: &Node,
        what: &str,
        name: &str,
        at: &Span,
        help: impl FnOnce() -> String,
    ) -> bool {
        match node.data {
            Data::Map(_) => true,
            Data::Bad => false,
            _ => {
                let span = if node.span.is_empty() { at } else { &node.span };
                let mapping = if what == "a mapping" { "" } else { ", a mapping" };
                let message = match node.data {
                    Data::Null => format!("`{name}` is empty; it must be {what}{mapping}"),
                    _ => format!("`{name}` must be {what}{mapping}, not {}", node.kind()),
                };
                self.error("segue::spec::wrong_type", span, message, node.kind(), help());
                false
            }
        }
    }

    fn one_of(&mut self, node: &Node, object: &Object, has_strangers: bool, at: &Span) {
        let given: Vec<&(node::Key, Node)> = node
            .entries()
            .iter()
            .filter(|(key, _)| object.one_of.contains(&key.text.as_str()))
            .collect();
        let list = object.one_of.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>();
        let list = list.join(", ");
        if let [(first, _), second, ..] = given.as_slice() {
            let first = &first.text;
            let message = format!("{} has both `{first}` and `{}`", object.what, second.0.text);
            let help = format!("keep exactly one of {list}");
            let span = second.0.span.clone();
            self.error("segue::spec::one_of", &span, message, "one too many", help);
        } else if given.is_empty() && !object.one_of.is_empty() {
            let prompted = node.get("prompt").or_else(|| node.get("prompt_file")).is_some();
            if has_strangers || self.default_agent && prompted {
                return;
            }
            let message = format!("{} has none of {list}", object.what);
            let help = format!("add exactly one of {list}");
            self.error("segue::spec::one_of", at, message, "says nothing to do", help);
        }
    }

    fn entry(&mut self, known: &Key, key: &'n node::Key, value: &'n Node) {
        let section = match known.name {
            "on_success" => Section::OnSuccess,
            "on_failure" => Section::OnFailure,
            "finally" => Section::Finally,
            _ => Section::Main,
        };
        if self.owner.is_none() {
            self.section = section;
        }
        let later = match known.support {
            Support::Yes => false,
            Support::No => true,
            Support::NotWords(words) => value.scalar().is_some_and(|word| words.contains(&word)),
        };
        if later && self.later.len() < DIAGNOSTICS_MAX {
            self.later.push(Diagnostic {
                code: "segue::spec::not_in_this_build",
                severity: Severity::Error,
                message: match known.support {
                    Support::NotWords(_) => {
                        format!("this build does not act on `{}: {}`", key.text, value.text)
                    }
                    _ => format!("this build does not act on `{}`", key.text),
                },
                span: key.span.clone(),
                label: "part of the language, but not of this build".to_owned(),
                help: "remove it, or run this file with a build that has it".to_owned(),
            });
        }
        self.value(value, &known.kind, &key.text, &key.span);
    }

    fn value(&mut self, node: &'n Node, kind: &Kind, name: &str, at: &Span) {
        match (kind, &node.data) {
            (_, Data::Bad) | (Kind::Any, _) | (Kind::Nullable(_), Data::Null) => {}
            (Kind::Nullable(inner), _) => self.value(node, inner, name, at),
            (Kind::Object(object), _) => self.object(node, object, name, at),
            (Kind::Map(inner, keys), _) => self.map(node, inner, *keys, name, at),
            (Kind::List(inner) | Kind::Several(inner), _) => {
                let several = matches!(kind, Kind::Several(_));
                self.list(node, inner, several, name, at);
            }
            (Kind::OneOrMany(inner), Data::Seq(_)) => self.list(node, inner, true, name, at),
            (Kind::OneOrMany(inner), _) => self.value(node, inner, name, at),
            (Kind::OneOf(kinds), _) => self.choice(node, kinds, name, at),
            (Kind::Schema, _) => self.schema(node, name),
            _ => self.scalar(node, kind, name, at),
        }
    }

    fn choice(&mut self, node: &'n Node, kinds: &'static [Kind], name: &str, at: &Span) {
        let fits = |kind: &Kind| match (kind, &node.data) {
            (Kind::Object(_) | Kind::Map(..) | Kind::Schema, data) => matches!(data, Data::Map(_)),
            (Kind::List(_) | Kind::Several(_), data) => matches!(data, Data::Seq(_)),
            (Kind::File(_), _) => node.is_scalar(),
            (kind, _) => problem(kind, node).is_none(),
        };
        match kinds.iter().find(|kind| fits(kind)) {
            Some(kind) => self.value(node, kind, name, at),
            None => self.mismatch(node, &Kind::OneOf(kinds), name, at),
        }
    }

    fn mismatch(&mut self, node: &Node, kind: &Kind, name: &str, at: &Span) {
        let wanted = expected(kind);
        let span = if node.span.is_empty() { at } else { &node.span };
        if node.is_scalar() {
            let message = format!("`{name}` cannot be `{}`", shorten(&node.text));
            let reason = problem(kind, node).unwrap_or_default();
            let words = words(kind);
            let near = meant(&node.text, &words);
            let label = if words.len() > 6 {
                "not one of its words".to_owned()
            } else {
                format!("not {wanted}")
            };
            let help = match (near, reason.is_empty()) {
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, _) if name == "retry" && node.text.parse::<u32>().is_ok() => {
                    format!("write it as `retry: {{attempts: {}}}`", node.text)
                }
                (None, true) => format!("it must be {wanted}"),
                (None, false) if reason.contains("write ") => reason,
                (None, false) => format!("it must be {wanted}: {reason}"),
            };
            self.error("segue::spec::wrong_value", span, message, &label, help);
        } else {
            let message = format!("`{name}` must be {wanted}, not {}", node.kind());
            let help = match (&node.data, kind) {
                (Data::Null, _) => format!("give it a value, or remove the key `{name}`"),
                _ => format!("write {wanted} here"),
            };
            self.error("segue::spec::wrong_type", span, message, node.kind(), help);
        }
    }

    fn list(&mut self, node: &'n Node, inner: &'static Kind, several: bool, name: &str, at: &Span) {
        let Data::Seq(items) = &node.data else {
            let span = if node.span.is_empty() { at } else { &node.span };
            let message = format!("`{name}` must be a list, not {}", node.kind());
            let help = match node.scalar() {
                Some(text) if name == "argv" && is_plain(text) => {
                    let words: Vec<&str> = text.split_whitespace().collect();
                    format!("write it as a list of words: `argv: [{}]`", words.join(", "))
                }
                Some(text) => format!("write it as a list: `{name}: [{}]`", shorten(text)),
                None if matches!(node.data, Data::Map(_)) => {
                    format!("write it as a list: `{name}: [{{…}}]`")
                }
                None => format!("write it as `{name}: [one, two]`"),
            };
            return self.error("segue::spec::wrong_type", span, message, node.kind(), help);
        };
        if several && items.is_empty() {
            let message = format!("`{name}` is empty");
            let help = format!("give at least one, or remove the key `{name}`");
            self.error("segue::spec::wrong_value", &node.span, message, "nothing in it", help);
        }
        for item in items {
            self.value(item, inner, name, &item.span);
        }
    }

    fn map(&mut self, node: &'n Node, inner: &'static Kind, keys: MapKey, name: &str, at: &Span) {
        if keys == MapKey::Env && node.is_scalar() {
            let message = format!("`{name}` must be a mapping of names to values");
            let help = format!("write it as `{name}: {{NAME: value}}`");
            return self.error("segue::spec::wrong_type", &node.span, message, "not one", help);
        }
        let help = || match (keys, &node.data) {
            (MapKey::Task, Data::Seq(_)) => {
                format!("give each task an id: `{name}: {{my_task: {{…}}}}`")
            }
            (MapKey::Env, Data::Seq(_)) => format!("write it as `{name}: {{NAME: value}}`"),
            _ => "write a mapping as `key: value` lines, indented below it".to_owned(),
        };
        if !self.is_mapping(node, "a mapping", name, at, help) {
            return;
        }
        if keys == MapKey::Task && node.entries().is_empty() && name == "tasks" {
            let help = "add a task: `hello: {run: echo hello}`".to_owned();
            let message = "the workflow has no tasks".to_owned();
            self.error("segue::spec::missing_key", &node.span, message, "nothing to do", help);
        }
        for (key, value) in node.entries() {
            self.map_key(key, keys);
            if keys == MapKey::Task {
                self.owner = Some(self.tasks.len());
                self.folder.enter(value.get("cwd").and_then(Node::scalar));
                let section = self.section;
                self.tasks.push(TaskNode { id: &key.text, span: &key.span, node: value, section });
            }
            self.value(value, inner, &key.text, &key.span);
            if keys == MapKey::Task {
                self.task(value, key);
                self.owner = None;
                self.folder.enter(None);
            }
            if keys == MapKey::Param {
                self.param_default(value);
                self.param += 1;
            }
        }
    }

    fn map_key(&mut self, key: &node::Key, keys: MapKey) {
        let (what, wrong) = match keys {
            MapKey::Env => ("environment name", !is_env_name(&key.text)),
            MapKey::Name | MapKey::Param => ("name", check_name("name", &key.text).is_err()),
            MapKey::Task => ("task id", check_name("task", &key.text).is_err()),
        };
        let unreachable = keys == MapKey::Param
            && (key.text.contains('-') || key.text.starts_with(|c: char| c.is_ascii_digit()));
        if wrong {
            let message = format!("{:?} is not a valid {what}", shorten(&key.text));
            let help = match keys {
                MapKey::Env => "use ASCII letters, digits and `_`, not first a digit",
                _ => "use ASCII letters, digits, `_` and `-`, at most 128 of them",
            };
            let help = help.to_owned();
            self.error("segue::spec::bad_name", &key.span, message, "this name", help);
        } else if unreachable {
            let message = format!("templates cannot name a parameter called `{}`", key.text);
            let help = format!(
                "call it `{}`; its flag will be `--{}`",
                key.text.replace('-', "_").trim_start_matches(|c: char| c.is_ascii_digit()),
                key.text.replace('_', "-")
            );
            self.error("segue::spec::bad_name", &key.span, message, "this name", help);
        }
    }

    fn param_default(&mut self, node: &'n Node) {
        let Some(default) = node.get("default") else { return };
        let param = self.param;
        let texts: Vec<&Node> = match &default.data {
            Data::Seq(items) => items.iter().collect(),
            _ => vec![default],
        };
        for node in texts {
            if node.scalar().is_some_and(has_template) {
                let form = Form::Template(Mode::Text);
                self.uses.push(Use { node, form, place: Place::Default, owner: None, param });
            }
        }
    }

    fn scalar(&mut self, node: &'n Node, kind: &Kind, name: &str, at: &Span) {
        if !node.is_scalar() || problem(kind, node).is_some() {
            return self.mismatch(node, kind, name, at);
        }
        match kind {
            Kind::Late(_) if has_template(&node.text) => {
                self.names(node, Form::Template(Mode::Text), Place::Limit);
            }
            Kind::Template(place) => self.names(node, Form::Template(Mode::Text), *place),
            Kind::Shell(place) => self.names(node, Form::Template(Mode::Shell), *place),
            Kind::Expression(place) => self.names(node, Form::Expression, *place),
            Kind::Path(place) => {
                self.names(node, Form::Template(Mode::Text), *place);
                self.path(node, name, name == "cwd");
            }
            Kind::Glob(place) => {
                self.names(node, Form::Template(Mode::Text), *place);
                self.path(node, name, false);
            }
            Kind::File(usage) => self.file(node, *usage, name),
            _ => {}
        }
    }

    fn names(&mut self, node: &'n Node, form: Form, place: Place) {
        if form == Form::Expression || has_template(&node.text) {
            self.uses.push(Use { node, form, place, owner: self.owner, param: self.param });
        }
    }

    fn path(&mut self, node: &Node, name: &str, is_cwd: bool) -> bool {
        let inside =
            if is_cwd { self.folder.holds_cwd(&node.text) } else { self.folder.holds(&node.text) };
        if !inside {
            let message = format!("`{name}` leaves the workflow's folder");
            let help = "use a path inside it, or list the folder under `allow_paths`".to_owned();
            let label = "not inside";
            self.error("segue::spec::outside_folder", &node.span, message, label, help);
        }
        inside
    }
}

/// Whether a text can name an environment variable.
pub(crate) fn is_env_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 256
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// How to write as a mapping what stands there as something else.
fn as_mapping(node: &Node, object: &Object, name: &str) -> String {
    let what = object.what;
    if what == TASK.what && TASK.one_of.contains(&name) {
        return format!("give the task an id: `my_task: {{{name}: …}}`");
    }
    let required = object.keys().find(|key| key.required).map(|key| key.name);
    match (node.scalar(), required.or_else(|| object.one_of.first().copied())) {
        (Some(text), Some(key)) if !name.contains(' ') => {
            let text = if is_plain(text) { shorten(text) } else { "…".to_owned() };
            format!("write it as `{name}: {{{key}: {text}}}`")
        }
        _ => format!("write {what} as `key: value` lines, indented below it"),
    }
}

/// Whether a text may stand in YAML's `{…}` as it is.
fn is_plain(text: &str) -> bool {
    let own = |c: char| c.is_ascii_alphanumeric() || " _-./=@+*".contains(c);
    !text.is_empty() && text.chars().all(own) && text.starts_with(|c: char| c.is_alphanumeric())
}

/// The words that a kind takes, alternatives included.
fn words(kind: &Kind) -> Vec<&'static str> {
    match kind {
        Kind::Word(words) => words.to_vec(),
        Kind::OneOf(kinds) => kinds.iter().flat_map(words).collect(),
        Kind::Late(inner) | Kind::Nullable(inner) | Kind::OneOrMany(inner) => words(inner),
        _ => Vec::new(),
    }
}

/// The text, cut for a message.
pub(crate) fn shorten(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}
