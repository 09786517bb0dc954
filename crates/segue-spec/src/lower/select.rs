//! `--only` and `--skip`: which tasks a run leaves out.
//!
//! `--only T` takes T and everything it needs; the sections after the DAG stay as they are
//! unless one of their tasks is named. `--skip T` leaves out T alone; what needs T is then
//! skipped by the scheduler, with T as the reason.

use segue_core::{RunRequest, Section, Task};

use crate::Workflow;
use crate::diagnostic::Sink;
use crate::nearest::suggest;

pub(super) fn exclude(
    workflow: &Workflow,
    request: &RunRequest,
    tasks: &mut [Task],
    sink: &mut Sink,
) {
    let only = named("--only", &request.only, workflow, tasks, sink);
    let skip = named("--skip", &request.skip, workflow, tasks, sink);
    if !request.only.is_empty() {
        let mut kept = vec![false; tasks.len()];
        let mut sections = vec![Section::Main];
        let mut open = only.clone();
        while let Some(index) = open.pop() {
            sections.push(tasks[index].section);
            if !std::mem::replace(&mut kept[index], true) {
                open.extend(&tasks[index].needs);
            }
        }
        for index in skip.iter().filter(|index| kept[**index]) {
            let id = tasks[*index].id.as_str();
            let message = format!("`--skip {id}` leaves out what `--only` chose or needs");
            let help = format!("drop `--skip {id}`, or choose other tasks with `--only`");
            let span = span(workflow, id);
            sink.error("segue::spec::selection", &span, message, "this task", help);
        }
        for (task, kept) in tasks.iter_mut().zip(kept) {
            task.excluded = !kept && sections.contains(&task.section);
        }
    }
    for index in skip {
        tasks[index].excluded = true;
    }
    let all_out = || tasks.iter().all(|task| task.excluded || task.section != Section::Main);
    if request.only.is_empty() && !request.skip.is_empty() && all_out() {
        let span = workflow.root.entries().iter().find(|(key, _)| key.text == "tasks");
        let span = span.map_or(0..0, |(key, _)| key.span.clone());
        let message = "`--skip` leaves out every task".to_owned();
        let help = "leave some to run, or nothing is done";
        sink.error("segue::spec::selection", &span, message, "all of these", help);
    }
}

/// Leaves out what a mode does not run. What `--only` chose is not among it, or that is told.
pub(super) fn exclude_of_mode(
    workflow: &Workflow,
    request: &RunRequest,
    mode: &str,
    out: &[usize],
    tasks: &mut [Task],
    sink: &mut Sink,
) {
    let chosen = out.iter().find(|&&index| !request.only.is_empty() && !tasks[index].excluded);
    if let Some(&index) = chosen {
        let id = tasks[index].id.as_str();
        let message = format!("`--only` chose or needs `{id}`, which mode `{mode}` leaves out");
        let help = "pick another mode by `--mode`, or other tasks by `--only`";
        sink.error("segue::spec::selection", &span(workflow, id), message, "this task", help);
    }
    out.iter().for_each(|&index| tasks[index].excluded = true);
}

fn named(
    flag: &str,
    names: &[String],
    workflow: &Workflow,
    tasks: &[Task],
    sink: &mut Sink,
) -> Vec<usize> {
    let find = |name: &&String| tasks.iter().position(|task| task.id.as_str() == name.as_str());
    let unknown = names.iter().filter(|name| find(name).is_none());
    for name in unknown {
        let message = format!("`{flag}` names `{name}`, which is no task");
        let help = suggest("task", name, tasks.iter().map(|task| task.id.as_str()));
        let span = workflow.root.entries().iter().find(|(key, _)| key.text == "tasks");
        let span = span.map_or(0..0, |(key, _)| key.span.clone());
        sink.error("segue::spec::unknown_task", &span, message, "not one of these", help);
    }
    names.iter().filter_map(|name| find(&name)).collect()
}

fn span(workflow: &Workflow, id: &str) -> crate::node::Span {
    workflow
        .task_entries()
        .find(|(key, _)| key.text == id)
        .map_or(0..0, |(key, _)| key.span.clone())
}
