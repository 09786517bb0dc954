//! What many runs' statistics come to: rates, middle and upper times, costs, causes.

use std::collections::BTreeMap;

use segue_core::{FailureClass, Millis, RunStatus, TaskId, TaskStatus, Usd, quantile};

use crate::statistics::{RunStatistics, TaskStatistics};

/// What the ended runs of one workflow come to.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowTally {
    /// Its name.
    pub workflow: String,
    /// How its runs ended.
    pub runs: BTreeMap<RunStatus, usize>,
    /// How long they were under way, sorted: those that succeeded, or all if none did.
    pub times: Vec<Millis>,
    /// What they cost together; `None` if none told.
    pub cost: Option<Usd>,
    /// Retries in all of them.
    pub retries: u64,
    /// Why attempts failed, and how many.
    pub failures: BTreeMap<FailureClass, u64>,
    /// Their tasks, by id.
    pub tasks: BTreeMap<TaskId, TaskTally>,
}

/// What one task of a workflow comes to over its runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskTally {
    /// How it ended.
    pub ends: BTreeMap<TaskStatus, usize>,
    /// How long it took, sorted: where it succeeded, or everywhere if it never did.
    pub times: Vec<Millis>,
    /// Attempts that got a slot.
    pub attempts: u64,
    /// Retries, feedback rounds included.
    pub retries: u64,
    /// What it cost; `None` if it never told.
    pub cost: Option<Usd>,
    /// Why attempts failed, and how many.
    pub failures: BTreeMap<FailureClass, u64>,
    /// The greatest memory of any one process.
    pub peak_memory_bytes: u64,
}

/// Tallies runs by workflow, the workflows by name.
#[must_use]
pub fn tally(runs: &[RunStatistics]) -> Vec<WorkflowTally> {
    let mut by_name: BTreeMap<&str, Vec<&RunStatistics>> = BTreeMap::new();
    runs.iter().for_each(|run| by_name.entry(&run.workflow).or_default().push(run));
    by_name.into_iter().map(|(name, runs)| tally_workflow(name, &runs)).collect()
}

fn tally_workflow(name: &str, runs: &[&RunStatistics]) -> WorkflowTally {
    let good = [RunStatus::Succeeded, RunStatus::Warned];
    let mut ended = BTreeMap::new();
    let mut by_task: BTreeMap<&TaskId, Vec<&TaskStatistics>> = BTreeMap::new();
    for run in runs {
        *ended.entry(run.status).or_default() += 1;
        run.tasks.iter().for_each(|(id, task)| by_task.entry(id).or_default().push(task));
    }
    let tasks: BTreeMap<TaskId, TaskTally> =
        by_task.into_iter().map(|(id, tasks)| (id.clone(), tally_task(&tasks))).collect();
    let mut failures = BTreeMap::new();
    for (class, count) in tasks.values().flat_map(|task| &task.failures) {
        *failures.entry(*class).or_default() += count;
    }
    let times = runs.iter().map(|run| (good.contains(&run.status), Some(run.took)));
    WorkflowTally {
        workflow: name.to_owned(),
        runs: ended,
        times: times_of(times),
        cost: sum(runs.iter().map(|run| run.cost)),
        retries: tasks.values().map(|task| task.retries).sum(),
        failures,
        tasks,
    }
}

fn tally_task(runs: &[&TaskStatistics]) -> TaskTally {
    let mut tally = TaskTally {
        times: times_of(runs.iter().map(|task| (task.status == TaskStatus::Succeeded, task.took))),
        cost: sum(runs.iter().map(|task| task.cost)),
        ..TaskTally::default()
    };
    for task in runs {
        *tally.ends.entry(task.status).or_default() += 1;
        tally.attempts += u64::from(task.attempts);
        tally.retries += u64::from(task.retries);
        tally.peak_memory_bytes = tally.peak_memory_bytes.max(task.peak_memory_bytes);
        for (class, count) in &task.failures {
            *tally.failures.entry(*class).or_default() += u64::from(*count);
        }
    }
    tally
}

fn sum(costs: impl Iterator<Item = Option<Usd>>) -> Option<Usd> {
    costs.flatten().fold(None, |sum: Option<Usd>, cost| {
        let mut sum = sum.unwrap_or_default();
        sum += cost;
        Some(sum)
    })
}

/// The durations that say how long something takes, sorted: of what succeeded, and only if
/// nothing ever did, of the rest. What fails at once says nothing about the next success.
fn times_of(of: impl Iterator<Item = (bool, Option<Millis>)>) -> Vec<Millis> {
    let (good, bad): (Vec<_>, Vec<_>) =
        of.filter_map(|(good, took)| Some((good, took?))).partition(|(good, _)| *good);
    let mut times: Vec<Millis> =
        if good.is_empty() { bad } else { good }.into_iter().map(|(_, took)| took).collect();
    times.sort_unstable();
    times
}

/// How many of a hundred are good, of those that came to an end of their own: what a person
/// cancelled or a signal interrupted counts neither way; `None` of none.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn percent(good: usize, bad: usize) -> Option<f64> {
    let all = good + bad;
    (all > 0).then(|| good as f64 * 100.0 / all as f64)
}

impl WorkflowTally {
    /// How many of a hundred runs succeed, with or without warnings; those that were cancelled or
    /// interrupted count neither way.
    #[must_use]
    pub fn success_percent(&self) -> Option<f64> {
        let count = |status| self.runs.get(&status).copied().unwrap_or(0);
        percent(count(RunStatus::Succeeded) + count(RunStatus::Warned), count(RunStatus::Failed))
    }

    /// The least duration that `percent` of a hundred do not exceed.
    #[must_use]
    pub fn time(&self, percent: usize) -> Option<Millis> {
        quantile(&self.times, percent).copied()
    }
}

impl TaskTally {
    /// How many of a hundred succeed, of those that succeeded or failed.
    #[must_use]
    pub fn success_percent(&self) -> Option<f64> {
        let count = |status| self.ends.get(&status).copied().unwrap_or(0);
        percent(count(TaskStatus::Succeeded), count(TaskStatus::Failed))
    }

    /// The least duration that `percent` of a hundred do not exceed.
    #[must_use]
    pub fn time(&self, percent: usize) -> Option<Millis> {
        quantile(&self.times, percent).copied()
    }
}

/// What each of `tasks` took in these runs, for a forecast: `None` where it was skipped. As with
/// [`WorkflowTally`], what failed counts only for a task that never succeeded.
#[must_use]
pub fn history(runs: &[RunStatistics], tasks: &[&TaskId]) -> Vec<Vec<Option<Millis>>> {
    let of_task = |id: &&TaskId| {
        let seen = runs.iter().filter_map(|run| run.tasks.get(*id));
        let seen: Vec<&TaskStatistics> = seen.collect();
        let succeeded = seen.iter().any(|task| task.status == TaskStatus::Succeeded);
        let counts = |task: &&&TaskStatistics| match task.status {
            TaskStatus::Succeeded | TaskStatus::Skipped => true,
            TaskStatus::Failed => !succeeded,
            _ => false,
        };
        let took = |task: &&TaskStatistics| match task.status {
            TaskStatus::Skipped => None,
            _ => task.took,
        };
        seen.iter().filter(counts).map(took).collect()
    };
    tasks.iter().map(of_task).collect()
}
