//! The DAG of a plan as a picture: Mermaid, Graphviz and SVG.
//!
//! `marks` says how a status looks, `layout` where every node goes, `text` and `svg` write the
//! formats. It reads a plan and, if there is one, the view of its run; it knows no files.

mod layout;
mod marks;
mod svg;
mod text;

pub use svg::svg;
pub use text::{dot, mermaid};

pub(crate) use marks::{Escaped, run_symbol, symbol};

use segue_core::{Plan, RunView, Section, Task, TaskStatus};

/// What a set of tasks that start together is called: `stage 2`, `finally`; `None` for plain
/// tasks of the DAG.
fn band_label(task: &Task) -> Option<String> {
    match (task.section, task.stage) {
        (Section::Probe, _) => Some("mode".to_owned()),
        (Section::Main, None) => None,
        (Section::Main, Some(stage)) => Some(format!("stage {stage}")),
        (Section::OnSuccess, _) => Some("on_success".to_owned()),
        (Section::OnFailure, _) => Some("on_failure".to_owned()),
        (Section::Finally, _) => Some("finally".to_owned()),
    }
}

/// The barrier a task stands behind.
fn main_stage(task: &Task) -> Option<u32> {
    task.stage.filter(|_| task.section == Section::Main)
}

/// The status of every task by its place; empty without a view, or with a view of another plan.
fn statuses(plan: &Plan, view: Option<&RunView>) -> Vec<TaskStatus> {
    let view = view.filter(|view| view.plan().tasks.len() == plan.tasks.len());
    view.map_or_else(Vec::new, |view| view.tasks().map(|task| task.entry.status).collect())
}

/// What every task is called by its place: its id, and how many items it has, if it has items.
fn names(plan: &Plan, view: Option<&RunView>) -> Vec<String> {
    let view = view.filter(|view| view.plan().tasks.len() == plan.tasks.len());
    let name = |(index, task): (usize, &Task)| {
        let Some(for_each) = &task.for_each else { return task.id.to_string() };
        let listed = view.and_then(|view| view.task(index).entry.expansion.as_ref());
        let count = listed.map(|items| items.nodes.len()).or_else(|| for_each.count(&plan.params));
        match count {
            Some(count) => format!("{} ×{count}", task.id),
            None => format!("{} ×n", task.id),
        }
    };
    plan.tasks.iter().enumerate().map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use segue_core::{Plan, Task};

    use super::*;
    use crate::report::sample;

    #[test]
    fn a_run_is_drawn_in_every_format() {
        let view = sample::finished();
        let plan = view.plan();
        insta::assert_snapshot!("mermaid", mermaid(plan, Some(&view)));
        insta::assert_snapshot!("mermaid_of_a_plan", mermaid(plan, None));
        insta::assert_snapshot!("dot", dot(plan, Some(&view)));
        insta::assert_snapshot!("dot_of_a_plan", dot(plan, None));
        insta::assert_snapshot!("svg", svg(plan, Some(&view)));
    }

    #[test]
    fn names_cannot_leave_their_place() {
        let mut plan = sample::plan(&[("a", &[])]);
        plan.tasks[0].id = sample::odd_id("<script>alert(\"1\")</script>\\\n]");
        plan.workflow = "\"<b>\"".to_owned();
        for drawn in [mermaid(&plan, None), dot(&plan, None), svg(&plan, None)] {
            assert!(!drawn.contains("<script>") && !drawn.contains("<b>"), "{drawn}");
        }
        insta::assert_snapshot!("dot_escaped", dot(&plan, None));
        insta::assert_snapshot!("mermaid_escaped", mermaid(&plan, None));
    }

    #[test]
    fn a_plan_without_tasks_is_an_empty_picture() {
        let plan = sample::plan(&[]);
        assert!(svg(&plan, None).starts_with("<svg "));
        assert_eq!(mermaid(&plan, None).lines().next(), Some("flowchart LR"));
    }

    fn large(layers: usize, width: usize) -> Plan {
        let mut plan = sample::plan(&[]);
        for index in 0..layers * width {
            let mut task = Task::new(sample::odd_id(&format!("task-{index:04}")), &["true"]);
            if index >= width {
                let before = (index / width - 1) * width;
                task.needs = (0..3).map(|n| before + (index * 7 + n * 5) % width).collect();
                task.needs.sort_unstable();
                task.needs.dedup();
            }
            plan.tasks.push(task);
        }
        plan
    }

    #[test]
    fn two_thousand_tasks_are_drawn_quickly() {
        for plan in [large(20, 100), large(2000, 1), large(1, 2000)] {
            let begun = Instant::now();
            let drawn = svg(&plan, None);
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
            assert_eq!(drawn.matches("<rect ").count(), 2000);
            assert!(drawn.len() < 3_000_000, "{}", drawn.len());
        }
    }
}
