//! Modes: what each leaves out, whether that makes sense, and which one a caller means.
//!
//! Owns what can be said of modes as a whole; single keys are checked by the table. A mode whose
//! `only` names no parameter is judged when the file is checked, the others when values are known.

use std::collections::BTreeMap;

use segue_core::{RunRequest, Section, When, evaluate, truthy};
use serde_json::{Value, json};

use crate::diagnostic::Sink;
use crate::nearest::suggest;
use crate::node::{Data, Key, Node, Span};

/// A task as modes see it.
pub(crate) struct ModeTask<'n> {
    pub(crate) id: &'n str,
    pub(crate) node: &'n Node,
    pub(crate) section: Section,
    pub(crate) needs: &'n [usize],
}

/// The modes of a file, in its order.
pub(crate) fn modes(root: &Node) -> &[(Key, Node)] {
    root.get("modes").map(Node::entries).unwrap_or_default()
}

/// The mode of this name.
pub(crate) fn find<'n>(root: &'n Node, name: &str) -> Option<&'n Node> {
    modes(root).iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
}

/// Says what is wrong with the modes of a file, as far as no value is needed.
pub(crate) fn check(root: &Node, tasks: &[ModeTask<'_>], sink: &mut Sink) {
    let mut default: Option<&str> = None;
    for (key, node) in modes(root) {
        if node.get("default").and_then(Node::bool) == Some(true)
            && let Some(first) = default.replace(&key.text)
        {
            let message = format!("both `{first}` and `{}` are the default mode", key.text);
            let help = "keep `default: true` in one of them";
            sink.error("segue::spec::modes", &key.span, message, "one too many", help);
        }
        check_choice(root, key, node, sink);
    }
    if sink.has_errors() {
        return;
    }
    for (key, node) in modes(root) {
        if !names_params(node) {
            left_out(key, node, tasks, &BTreeMap::new(), sink);
        }
    }
}

/// Whether what a mode leaves out depends on parameters.
fn names_params(node: &Node) -> bool {
    let texts = ["only", "skip"].into_iter().filter_map(|name| node.get(name)?.scalar());
    let mut names = texts.filter_map(|text| segue_core::check_expression(text).ok()).flatten();
    names.any(|name| name == "params" || name.starts_with("params."))
}

fn check_choice(root: &Node, key: &Key, node: &Node, sink: &mut Sink) {
    let name = &key.text;
    let (probe, choose) = (node.get("probe"), node.get("choose"));
    if probe.is_some() != choose.is_some() {
        let (one, other) = if probe.is_some() { ("probe", "choose") } else { ("choose", "probe") };
        let message = format!("`{one}` means nothing without `{other}`");
        let help = format!("add `{other}: …` to mode `{name}`, or remove `{one}`");
        sink.error("segue::spec::modes", &key.span, message, "half a choice", help);
    }
    let Some(choose) = choose else { return };
    let own = ["only", "skip", "concurrency"].into_iter().find(|one| node.get(one).is_some());
    if let Some(own) = own {
        let message = format!("mode `{name}` picks another mode, and has `{own}` of its own");
        let help = format!("move `{own}` to the modes that it picks");
        sink.error("segue::spec::modes", &key.span, message, "one or the other", help);
    }
    let mut open = true;
    for choice in choose.items() {
        let Some(target) = choice.get("use").filter(|node| node.is_scalar()) else { continue };
        match find(root, &target.text) {
            None => {
                let message = format!("there is no mode `{}`", target.text);
                let names = modes(root).iter().map(|(key, _)| key.text.as_str());
                let help = suggest("mode", &target.text, names.filter(|other| other != name));
                sink.error("segue::spec::unknown_mode", &target.span, message, "not one", help);
            }
            Some(other) if other.get("choose").is_some() => {
                let message = format!("mode `{}` picks a mode by itself", target.text);
                let help = "use a mode that leaves out tasks or sets `concurrency`";
                sink.error("segue::spec::modes", &target.span, message, "no end of picking", help);
            }
            Some(_) => {}
        }
        if !open {
            let message = "this choice is never looked at".to_owned();
            let help = "the one before it has no `if` and is always taken; move that to the end";
            sink.error("segue::spec::modes", &choice.span, message, "too late", help);
        }
        open &= choice.get("if").is_some();
    }
}

/// The mode that a request means: the one it names, else the file's default. The flag says
/// whether it is wrong, and told.
pub(crate) fn picked<'n>(
    root: &'n Node,
    request: &RunRequest,
    sink: &mut Sink,
) -> Option<&'n (Key, Node)> {
    let all = modes(root);
    let Some(name) = &request.mode else {
        let is_default = |node: &Node| node.get("default").and_then(Node::bool) == Some(true);
        return all.iter().find(|(_, node)| is_default(node));
    };
    let found = all.iter().find(|(key, _)| key.text == *name);
    if found.is_none() {
        let message = format!("`--mode` names `{name}`, which is no mode of this workflow");
        let names = all.iter().map(|(key, _)| key.text.as_str());
        let help = match all.is_empty() {
            true => "it has no modes: leave `--mode` out".to_owned(),
            false => suggest("mode", name, names),
        };
        let span = heading(root);
        sink.error("segue::spec::unknown_mode", &span, message, "not one of these", help);
    }
    found
}

/// Where a file's modes begin, or else its name.
pub(crate) fn heading(root: &Node) -> Span {
    let keys = ["modes", "name"].into_iter();
    let mut found = keys.filter_map(|name| root.entries().iter().find(|(key, _)| key.text == name));
    found.next().map_or(0..0, |(key, _)| key.span.clone())
}

/// The tasks of the DAG that do not run in a mode. What makes no sense goes to `sink`.
pub(crate) fn left_out(
    key: &Key,
    mode: &Node,
    tasks: &[ModeTask<'_>],
    params: &BTreeMap<String, Value>,
    sink: &mut Sink,
) -> Vec<usize> {
    let only = mode.get("only").map(|node| chosen(key, node, tasks, params, sink));
    let skip = mode.get("skip").map(|node| chosen(key, node, tasks, params, sink));
    let main = |index: &usize| tasks[*index].section == Section::Main;
    let is_out = |index: &usize| {
        only.as_ref().is_some_and(|only| !only[*index])
            || skip.as_ref().is_some_and(|skip| skip[*index])
    };
    let out: Vec<usize> = (0..tasks.len()).filter(main).filter(is_out).collect();
    if (only.is_some() || skip.is_some()) && out.len() == (0..tasks.len()).filter(main).count() {
        let message = format!("mode `{}` leaves out every task", key.text);
        let help = "let `only` choose some";
        sink.error("segue::spec::modes", &key.span, message, "nothing to do", help);
        return out;
    }
    let gone = |need: &usize| out.binary_search(need).is_ok();
    for (index, task) in tasks.iter().enumerate().filter(|(index, _)| !gone(index)) {
        let missing = task.needs.iter().copied().find(gone).filter(|_| stands_on(task, &gone));
        if let (Section::Main, Some(need)) = (tasks[index].section, missing) {
            let need = tasks[need].id;
            let message =
                format!("mode `{}` runs `{}` without `{need}`, which it needs", key.text, task.id);
            let help = format!(
                "let it choose `{need}` too, or leave out `{}`, or give that `when: all_done`",
                task.id
            );
            let span = mode.get("only").or_else(|| mode.get("skip"));
            let span = span.map_or(&key.span, |node| &node.span);
            sink.error("segue::spec::modes", span, message, "leaves out a need", help);
        }
    }
    out
}

/// Whether a task is skipped because of needs that are gone.
fn stands_on(task: &ModeTask<'_>, gone: &impl Fn(&usize) -> bool) -> bool {
    match task.node.get("when").and_then(Node::scalar).unwrap_or_default() {
        word if word == When::AllDone.word() => false,
        word if word == When::AnySucceeded.word() || word == When::AnyFailed.word() => {
            task.needs.iter().all(gone)
        }
        _ => true,
    }
}

/// What an expression or a list of names chooses.
fn chosen(
    key: &Key,
    node: &Node,
    tasks: &[ModeTask<'_>],
    params: &BTreeMap<String, Value>,
    sink: &mut Sink,
) -> Vec<bool> {
    if let Data::Seq(names) = &node.data {
        let mut chosen = vec![false; tasks.len()];
        for name in names.iter().filter(|name| name.is_scalar()) {
            match tasks.iter().position(|task| task.id == name.text) {
                Some(index) => chosen[index] = true,
                None => {
                    let message = format!("mode `{}` names `{}`, no task", key.text, name.text);
                    let help = suggest("task", &name.text, tasks.iter().map(|task| task.id));
                    let label = "no such task";
                    sink.error("segue::spec::unknown_task", &name.span, message, label, help);
                }
            }
        }
        return chosen;
    }
    let mut failed = false;
    let main = tasks.iter().map(|task| {
        if task.section != Section::Main || failed {
            return false;
        }
        let number = |name: &str| task.node.get(name).and_then(Node::int);
        let flag = |name: &str| task.node.get(name).and_then(Node::bool).unwrap_or(false);
        let scope = json!({
            "params": params,
            "task": {
                "id": task.id,
                "stage": number("stage"),
                "priority": number("priority").unwrap_or(0),
                "optional": flag("optional"),
            },
        });
        evaluate(node.text.trim(), &scope).map(|value| truthy(&value)).unwrap_or_else(|error| {
            failed = true;
            let message =
                format!("mode `{}` cannot be judged for task `{}`: {error}", key.text, task.id);
            let help = "in scope: `params` and the task's `id`, `stage` (null without one), \
                        `priority` and `optional`";
            sink.error("segue::spec::modes", &node.span, message, "here", help);
            false
        })
    });
    main.collect()
}
