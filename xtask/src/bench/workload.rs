//! The workloads, as data, and the same as a workflow file.
//!
//! The floor and Segue get the very same tasks; nothing here knows how they are run.

use anyhow::{Context, Result};

use super::floor::Sink;
use super::table::Bar;

/// Tasks, how many of them run at once, and the bar for Segue.
pub(super) struct Workload {
    pub(super) name: String,
    pub(super) tasks: Vec<Task>,
    pub(super) slots: usize,
    /// Where the floor lets the tasks' output go.
    pub(super) sink: Sink,
    pub(super) bar: Bar,
    /// Whether they are jobs of `segue exec` in place of a workflow.
    pub(super) jobs: bool,
    /// To Segue they are the items of one task.
    pub(super) as_items: bool,
}

/// One process and the tasks, by index, that have to end before it.
pub(super) struct Task {
    pub(super) argv: Vec<String>,
    pub(super) needs: Vec<usize>,
}

/// Every workload that is compared with the floor.
pub(super) fn all() -> Result<Vec<Workload>> {
    let sleep = Workload {
        name: "200 × `sleep 0.1` at 50".to_owned(),
        bar: Bar::Most(0.46, " s"),
        ..uniform(200, 50, &["sleep", "0.1"])
    };
    let exec = Workload {
        name: "1,000 × `sleep 1` at 1,000 by `segue exec`".to_owned(),
        jobs: true,
        ..uniform(1_000, 1_000, &["sleep", "1"])
    };
    let first = [flat(1_000, 2), flat(1_000, 8), items(10_000, 8), chain(500)];
    let then = [layers(20, 50, 3), sleep, exec, output()?];
    Ok(first.into_iter().chain(then).collect())
}

/// `count` × `true`, independent of each other.
pub(super) fn flat(count: usize, slots: usize) -> Workload {
    Workload { name: format!("{count} × `true` at {slots}"), ..uniform(count, slots, &["true"]) }
}

/// `count` × `true`, to Segue the items of one task.
pub(super) fn items(count: usize, slots: usize) -> Workload {
    let name = format!("for_each of {count} × `true` at {slots}");
    Workload { name, as_items: true, ..uniform(count, slots, &["true"]) }
}

/// `count` × `true`, each after the one before.
fn chain(count: usize) -> Workload {
    let mut workload = uniform(count, 2, &["true"]);
    for (index, task) in workload.tasks.iter_mut().enumerate().skip(1) {
        task.needs = vec![index - 1];
    }
    Workload { name: format!("chain of {count} × `true`"), ..workload }
}

/// Layers of `true`; each task needs some of the layer before.
pub(super) fn layers(layers: usize, width: usize, needs: usize) -> Workload {
    let mut workload = uniform(layers * width, 8, &["true"]);
    for (index, task) in workload.tasks.iter_mut().enumerate().skip(width) {
        let (layer, column) = (index / width, index % width);
        let need = |step: usize| (layer - 1) * width + (column + step) % width;
        task.needs = (0..needs).map(need).collect();
    }
    let name = format!("{layers} layers × {width} with {needs} needs each at 8");
    Workload { name, ..workload }
}

/// Much output: 50 processes that print 20 MB of lines each.
pub(super) fn output() -> Result<Workload> {
    let printer = std::env::current_exe().context("failed to find xtask's own binary")?;
    let argv = [&printer.display().to_string(), "lines", "20000000"];
    Ok(Workload {
        name: "50 × 20 MB of lines captured at 8".to_owned(),
        sink: Sink::File,
        bar: Bar::Ratio(2.5),
        ..uniform(50, 8, &argv)
    })
}

fn uniform(count: usize, slots: usize, argv: &[&str]) -> Workload {
    let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
    let tasks = (0..count).map(|_| Task { argv: argv.clone(), needs: Vec::new() });
    Workload {
        name: String::new(),
        tasks: tasks.collect(),
        slots,
        sink: Sink::Null,
        bar: Bar::Ratio(1.5),
        jobs: false,
        as_items: false,
    }
}

impl Workload {
    /// The workload as jobs of `segue exec`.
    pub(super) fn to_jobs(&self) -> String {
        let job = |task: &Task| format!("{}\n", serde_json::json!({"argv": task.argv}));
        self.tasks.iter().map(job).collect()
    }

    /// The workload as a workflow file.
    pub(super) fn to_yaml(&self) -> String {
        let mut yaml = String::from("name: bench\ntasks:\n");
        if self.as_items {
            let argv = serde_json::to_string(&self.tasks[0].argv).expect("words are JSON");
            let items = format!("{{items: \"range({})\"}}", self.tasks.len());
            yaml.push_str(&format!("  each: {{argv: {argv}, for_each: {items}}}\n"));
            return yaml;
        }
        for (index, task) in self.tasks.iter().enumerate() {
            let argv = serde_json::to_string(&task.argv).expect("words are JSON");
            let needs: Vec<String> = task.needs.iter().map(|need| format!("t{need}")).collect();
            let needs = match needs.is_empty() {
                true => String::new(),
                false => format!(", needs: [{}]", needs.join(", ")),
            };
            yaml.push_str(&format!("  t{index}: {{argv: {argv}{needs}}}\n"));
        }
        yaml
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_a_workflow() {
        let expected = "name: bench\ntasks:\n  t0: {argv: [\"true\"]}\n  t1: {argv: [\"true\"]}\n  \
                        t2: {argv: [\"true\"], needs: [t0, t1]}\n  \
                        t3: {argv: [\"true\"], needs: [t1, t0]}\n";
        assert_eq!(layers(2, 2, 2).to_yaml(), expected);
    }

    #[test]
    fn items_are_one_task() {
        let expected = "name: bench\ntasks:\n  each: {argv: [\"true\"], for_each: {items: \
                        \"range(3)\"}}\n";
        assert_eq!(items(3, 2).to_yaml(), expected);
    }

    #[test]
    fn needs_point_backwards() {
        for workload in [chain(500), layers(20, 50, 3)] {
            for (index, task) in workload.tasks.iter().enumerate() {
                assert!(task.needs.iter().all(|need| *need < index), "{}", workload.name);
            }
        }
    }
}
