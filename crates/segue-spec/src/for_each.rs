//! What can be said of a `for_each` before any value is known: its names, and its literal lists.

use segue_core::{Expression, ForEach, ItemSource, OnItemFailure, Template};
use segue_core::{check_expression, item_keys, list_items};
use serde_json::{Value, json};

use crate::diagnostic::Sink;
use crate::node::{Data, Node, has_template};
use crate::shape::TaskNode;

/// Names that mean something else where items are in scope.
const TAKEN: &[&str] = &[
    "params",
    "env",
    "secrets",
    "run",
    "task",
    "tasks",
    "loop",
    "event",
    "limits",
    "output",
    "outputs",
    "previous",
    "range",
    "dict",
    "namespace",
    "debug",
    "true",
    "false",
    "none",
    "not",
    "and",
    "or",
    "in",
    "is",
    "if",
    "else",
];

/// Whether a name is what a `for_each` calls its items.
pub(crate) fn names_item(each: &Node, name: &str) -> bool {
    let own = each.get("as").and_then(Node::scalar);
    name == "item" || name == "loop" || own == Some(name)
}

/// Whether a text of a task is about one item: what decides whether there is a list, and what
/// makes it, comes before.
pub(crate) fn knows_items(task: &Node, text: &Node) -> bool {
    let Some(each) = task.get("for_each") else { return false };
    let early = [task.get("if"), each.get("items"), each.get("glob")];
    !early.into_iter().flatten().any(|node| std::ptr::eq(node, text))
}

/// Checks every `for_each` of a workflow.
pub(crate) fn check(tasks: &[TaskNode<'_>], sink: &mut Sink) {
    for each in tasks.iter().filter_map(|task| task.node.get("for_each")) {
        check_name(each, sink);
        let mut templates = Vec::new();
        for name in ["list", "matrix", "exclude"] {
            each.get(name).into_iter().for_each(|node| find_templates(node, &mut templates));
        }
        for node in &templates {
            let message = "the values of a literal list are not templates";
            let help = "write an expression: `items: [params.a, params.b]`";
            sink.error("segue::spec::literal", &node.span, message, "would stay as it is", help);
        }
        if templates.is_empty() {
            check_list(each, sink);
        }
        check_exclude(each, sink);
    }
}

fn check_name(each: &Node, sink: &mut Sink) {
    let Some(name) = each.get("as") else { return };
    if TAKEN.contains(&name.text.as_str()) {
        let message = format!("an item cannot be called `{}`", name.text);
        let help = "choose another name; `item` is always there";
        sink.error("segue::spec::taken_name", &name.span, message, "means something else", help);
    } else if name.text.contains('-') {
        let message = format!("an item cannot be called `{}`", name.text);
        let help = "templates would subtract at `-`; write `_` for it";
        sink.error("segue::spec::taken_name", &name.span, message, "no name of a template", help);
    }
}

/// Literal values are taken as they are, so a template in one is a mistake.
fn find_templates<'n>(node: &'n Node, found: &mut Vec<&'n Node>) {
    match &node.data {
        Data::Seq(items) => items.iter().for_each(|item| find_templates(item, found)),
        Data::Map(entries) => {
            entries.iter().for_each(|(_, value)| find_templates(value, found));
        }
        _ if node.scalar().is_some_and(has_template) => found.push(node),
        _ => {}
    }
}

/// A list that stands in the file is listed as a run would list it.
fn check_list(each: &Node, sink: &mut Sink) {
    let Some(node) = each.get("list").or_else(|| each.get("matrix")) else { return };
    if each.get("items").or_else(|| each.get("glob")).is_some() {
        return;
    }
    let for_each = lowered(each, None, None);
    let alone = for_each.key.as_ref().is_none_or(|key| names_item_alone(key, &for_each));
    let checked = list_items(&for_each, &Value::Null, Vec::new()).and_then(|items| {
        if alone { item_keys(&for_each, json!({}), &items).map(drop) } else { Ok(()) }
    });
    if let Err(message) = checked {
        let help = "give each item a key of its own with `key`, or correct the list";
        sink.error("segue::spec::items", &node.span, message, "this list", help);
    }
}

/// Whether a key needs nothing but its item.
fn names_item_alone(key: &Expression, for_each: &ForEach) -> bool {
    check_expression(&key.0).is_ok_and(|names| {
        names.iter().all(|name| {
            let root = name.split('.').next().unwrap_or_default();
            root == "item" || root == "loop" || for_each.name.as_deref() == Some(root)
        })
    })
}

fn check_exclude(each: &Node, sink: &mut Sink) {
    if each.get("glob").is_none() {
        return;
    }
    for item in each.get("exclude").map(Node::items).unwrap_or_default() {
        if !matches!(item.data, Data::Text | Data::Bad) {
            let message = format!("a glob leaves out paths by globs, not by {}", item.kind());
            let help = "write a glob, such as `\"**/*.test.ts\"`";
            sink.error("segue::spec::wrong_type", &item.span, message, item.kind(), help);
        }
    }
}

/// Where the items come from; `None` if nothing says so.
fn source(each: &Node) -> Option<ItemSource> {
    if let Some(items) = each.get("items") {
        return Some(ItemSource::Items(Expression(items.text.trim().to_owned())));
    }
    if let Some(list) = each.get("list") {
        return Some(ItemSource::List(list.items().iter().map(Node::to_json).collect()));
    }
    if let Some(glob) = each.get("glob") {
        return Some(ItemSource::Glob(Template(glob.text.clone())));
    }
    let axes = each.get("matrix")?.entries().iter();
    let values = |node: &Node| node.items().iter().map(Node::to_json).collect();
    Some(ItemSource::Matrix(axes.map(|(name, axis)| (name.text.clone(), values(axis))).collect()))
}

/// A `for_each` as the plan has it.
pub(crate) fn lowered(each: &Node, max_parallel: Option<u32>, batch: Option<u32>) -> ForEach {
    let name = each.get("as").and_then(Node::scalar).filter(|name| *name != "item");
    ForEach {
        source: source(each).unwrap_or(ItemSource::List(Vec::new())),
        exclude: each
            .get("exclude")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .map(Node::to_json)
            .collect(),
        name: name.map(str::to_owned),
        key: each.get("key").map(|key| Expression(key.text.trim().to_owned())),
        max_parallel,
        batch,
        on_item_failure: match each.get("on_item_failure").and_then(Node::scalar) {
            Some("stop") => OnItemFailure::Stop,
            _ => OnItemFailure::Continue,
        },
    }
}
