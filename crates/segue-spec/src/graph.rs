//! The order of tasks: needs resolved, cycles and impossible stages found.
//!
//! Everything here is linear in tasks and needs; a plan may have 100,000 of them.

use std::collections::HashMap;

use crate::diagnostic::Sink;
use crate::nearest::suggest;
use crate::node::{Node, Span};
use crate::shape::TaskNode;

/// The tasks of a file and what each needs.
pub(crate) struct Graph {
    /// Where a task is, by id.
    pub(crate) by_id: HashMap<String, usize>,
    /// For each task, the tasks it needs, without duplicates, in the order written.
    pub(crate) needs: Vec<Vec<usize>>,
    /// Who needs a task.
    dependents: Vec<Vec<usize>>,
    /// Whether needs lead back to where they started.
    pub(crate) has_cycle: bool,
}

impl Graph {
    /// Resolves the needs of all tasks.
    pub(crate) fn of(tasks: &[TaskNode<'_>], sink: &mut Sink) -> Self {
        let mut by_id: HashMap<String, usize> = HashMap::with_capacity(tasks.len());
        for (index, task) in tasks.iter().enumerate() {
            if by_id.contains_key(task.id) {
                let message = format!("the task `{}` is declared twice", task.id);
                let help = "ids are unique in the whole file, `finally` and `on_*` included; \
                            rename this one";
                sink.error("segue::spec::duplicate_id", task.span, message, "again here", help);
            } else {
                by_id.insert(task.id.to_owned(), index);
            }
        }
        let mut graph = Self {
            by_id,
            needs: Vec::with_capacity(tasks.len()),
            dependents: vec![Vec::new(); tasks.len()],
            has_cycle: false,
        };
        for index in 0..tasks.len() {
            let needs = graph.resolve(tasks, index, sink);
            for need in &needs {
                graph.dependents[*need].push(index);
            }
            graph.needs.push(needs);
        }
        let order = graph.order(tasks, sink);
        graph.check_stages(tasks, &order, sink);
        graph
    }

    fn resolve(&self, tasks: &[TaskNode<'_>], index: usize, sink: &mut Sink) -> Vec<usize> {
        let task = &tasks[index];
        let items = task.node.get("needs").map(Node::items).unwrap_or_default();
        let mut needs = Vec::with_capacity(items.len());
        for item in items {
            let Some(name) = item.scalar().filter(|_| !sink.is_full()) else { continue };
            let Some(&need) = self.by_id.get(name) else {
                let message = format!("`{}` needs `{name}`, which is no task", task.id);
                let same = tasks.iter().filter(|one| one.section == task.section);
                let help = suggest("task", name, same.map(|one| one.id));
                sink.error("segue::spec::unknown_task", &item.span, message, "no such task", help);
                continue;
            };
            if tasks[need].section == task.section {
                if !needs.contains(&need) {
                    needs.push(need);
                }
                continue;
            }
            let message = format!("`{}` needs `{name}` of another section", task.id);
            let help = "sections run one after the other by themselves: remove the need";
            sink.error("segue::spec::section", &item.span, message, "not in this section", help);
        }
        needs
    }

    /// The tasks, needs first. Reports each cycle once.
    fn order(&mut self, tasks: &[TaskNode<'_>], sink: &mut Sink) -> Vec<usize> {
        const OPEN: u8 = 1;
        const DONE: u8 = 2;
        let mut color = vec![0u8; tasks.len()];
        let mut order = Vec::with_capacity(tasks.len());
        for root in 0..tasks.len() {
            if color[root] != 0 {
                continue;
            }
            color[root] = OPEN;
            let mut path = vec![(root, 0)];
            while let Some((task, next)) = path.last_mut() {
                let task = *task;
                let Some(&need) = self.needs[task].get(*next) else {
                    color[task] = DONE;
                    order.push(task);
                    path.pop();
                    continue;
                };
                *next += 1;
                if color[need] == OPEN {
                    self.has_cycle = true;
                    report_cycle(tasks, &path, need, sink);
                } else if color[need] == 0 {
                    color[need] = OPEN;
                    path.push((need, 0));
                }
            }
        }
        order
    }

    /// A task of one stage can never wait for a task of a later one.
    fn check_stages(&self, tasks: &[TaskNode<'_>], order: &[usize], sink: &mut Sink) {
        if self.has_cycle {
            return;
        }
        // For each task, the latest stage among all it waits for, and whose it is.
        let mut latest: Vec<Option<(i64, usize)>> = vec![None; tasks.len()];
        for &index in order {
            let own = tasks[index].node.get("stage").and_then(Node::int);
            let above = self.needs[index].iter().filter_map(|need| latest[*need]).max();
            if let (Some(own), Some((stage, culprit))) = (own, above)
                && stage > own
            {
                let need = tasks[culprit].id;
                let message = format!(
                    "`{}` (stage {own}) waits for `{need}` (stage {stage}), which starts later",
                    tasks[index].id
                );
                let help = format!(
                    "put `{}` into stage {stage} or later, or remove the need",
                    tasks[index].id
                );
                let span = need_span(&tasks[index], need);
                sink.error("segue::spec::stage", &span, message, "can never be met", help);
            }
            latest[index] = own.map(|own| (own, index)).max(above);
        }
    }

    /// A service that nothing needs would be stopped as it starts.
    pub(crate) fn check_services(&self, tasks: &[TaskNode<'_>], sink: &mut Sink) {
        for (index, task) in tasks.iter().enumerate() {
            let background = task.node.get("background").and_then(Node::bool);
            let runs = task.node.get("approve").is_none();
            if background == Some(true) && runs && self.dependents[index].is_empty() {
                let message = format!("nothing needs the service `{}`", task.id);
                let help = format!("add `needs: [{}]` to the tasks that use it", task.id);
                sink.error("segue::spec::impossible", task.span, message, "never started", help);
            }
        }
    }

    /// Which of `askers` do not come after `target`, directly or through others.
    pub(crate) fn not_after(&self, target: usize, askers: &[usize]) -> Vec<usize> {
        if askers.iter().all(|asker| self.needs[*asker].contains(&target)) {
            return Vec::new();
        }
        let mut seen = vec![false; self.needs.len()];
        let mut open = vec![target];
        while let Some(task) = open.pop() {
            for dependent in &self.dependents[task] {
                if !std::mem::replace(&mut seen[*dependent], true) {
                    open.push(*dependent);
                }
            }
        }
        askers.iter().copied().filter(|asker| !seen[*asker]).collect()
    }
}

/// Where a task says that it needs `need`, or else its id.
fn need_span(task: &TaskNode<'_>, need: &str) -> Span {
    let items = task.node.get("needs").map(Node::items).unwrap_or_default();
    let found = items.iter().find(|item| item.text == need).or_else(|| items.first());
    found.map_or_else(|| task.span.clone(), |item| item.span.clone())
}

fn report_cycle(tasks: &[TaskNode<'_>], path: &[(usize, usize)], need: usize, sink: &mut Sink) {
    const SHOWN_MAX: usize = 12;
    let start = path.iter().position(|(task, _)| *task == need).unwrap_or(0);
    let mut names: Vec<&str> = path[start..].iter().map(|(task, _)| tasks[*task].id).collect();
    if names.len() > SHOWN_MAX {
        let tail = names.split_off(names.len() - SHOWN_MAX / 2);
        names.truncate(SHOWN_MAX / 2);
        names.push("…");
        names.extend(tail);
    }
    names.push(tasks[need].id);
    let last = &tasks[path[path.len() - 1].0];
    let message = format!("tasks need each other in a circle: {}", names.join(" → "));
    let help =
        format!("remove one of these needs, for example `{}` from `{}`", tasks[need].id, last.id);
    let span = need_span(last, tasks[need].id);
    sink.error("segue::spec::cycle", &span, message, "closes the circle", help);
}
