//! The floor: one loop of `posix_spawn` and wait-for-any, with a durable line per finished task.
//!
//! `std::process::Command` uses `posix_spawn` as long as nothing has to run between fork and
//! exec. The loop is single-threaded and syncs inline, as a person would write it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::wait::{WaitStatus, wait};

use super::workload::Workload;

/// Where the output of the tasks goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sink {
    /// `/dev/null`.
    Null,
    /// A file for each task, written by the task itself.
    File,
    /// A file for each task, written by a thread that reads the task's pipe.
    Pipe,
}

/// Runs the workload and returns the seconds it took.
pub(super) fn run(
    workload: &Workload,
    sink: Sink,
    scratch: &Path,
    sync_delay: Duration,
) -> Result<f64> {
    let folder = scratch.join("floor");
    std::fs::create_dir(&folder).context("failed to create the floor's folder")?;
    let mut record = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("finished"))
        .context("failed to create the floor's record")?;
    let began = Instant::now();
    let mut order = Order::new(workload);
    let mut running: HashMap<i32, Running> = HashMap::new();
    while order.left > 0 {
        while running.len() < workload.slots
            && let Some(index) = order.ready.pop()
        {
            let (pid, child) = start(workload, index, sink, &folder)?;
            running.insert(pid, child);
        }
        let (pid, code) = match wait().context("failed to wait for a task")? {
            WaitStatus::Exited(pid, code) => (pid.as_raw(), code),
            other => bail!("a task of the floor ended with {other:?}"),
        };
        let ended = running.remove(&pid).context("a process ended that no task started")?;
        if code != 0 {
            bail!("task {} of the floor exited with {code}", ended.index);
        }
        if let Some(copier) = ended.copier {
            copier.join().map_err(|_| anyhow::anyhow!("a copier panicked"))??;
        }
        writeln!(record, "{{\"task\":\"t{}\",\"exited\":{code:>128}}}", ended.index)
            .context("failed to append to the floor's record")?;
        if !sync_delay.is_zero() {
            std::thread::sleep(sync_delay);
        }
        record.sync_data().context("failed to sync the floor's record")?;
        order.finished(ended.index);
    }
    let seconds = began.elapsed().as_secs_f64();
    std::fs::remove_dir_all(&folder).context("failed to remove the floor's folder")?;
    Ok(seconds)
}

/// A started task and, for a pipe, the thread that copies its output.
struct Running {
    index: usize,
    copier: Option<JoinHandle<Result<()>>>,
}

/// Starts a task; the loop waits for any child, so nobody waits for this one by name.
fn start(workload: &Workload, index: usize, sink: Sink, folder: &Path) -> Result<(i32, Running)> {
    let argv = &workload.tasks[index].argv;
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null()).env_remove("LD_LIBRARY_PATH");
    let log = || {
        File::create(folder.join(format!("t{index}.log"))).context("failed to create a task's log")
    };
    command.stdout(match sink {
        Sink::Null => Stdio::null(),
        Sink::File => Stdio::from(log()?),
        Sink::Pipe => Stdio::piped(),
    });
    let mut child =
        command.spawn().with_context(|| format!("failed to start `{}`", argv.join(" ")))?;
    let copier = match child.stdout.take() {
        None => None,
        Some(mut pipe) => {
            let mut log = log()?;
            Some(std::thread::spawn(move || {
                std::io::copy(&mut pipe, &mut log).context("failed to copy a task's output")?;
                Ok(())
            }))
        }
    };
    let pid = i32::try_from(child.id()).context("a process id that is none")?;
    Ok((pid, Running { index, copier }))
}

/// Which tasks may start: the readiness of a dependency graph, and no more.
struct Order {
    /// A stack, the first task on top.
    ready: Vec<usize>,
    /// For each task, how many of its needs have not finished.
    missing: Vec<usize>,
    dependents: Vec<Vec<usize>>,
    left: usize,
}

impl Order {
    fn new(workload: &Workload) -> Self {
        let missing: Vec<usize> = workload.tasks.iter().map(|task| task.needs.len()).collect();
        let mut dependents = vec![Vec::new(); missing.len()];
        for (index, task) in workload.tasks.iter().enumerate() {
            for need in &task.needs {
                dependents[*need].push(index);
            }
        }
        let ready = (0..missing.len()).rev().filter(|index| missing[*index] == 0).collect();
        Self { ready, left: missing.len(), missing, dependents }
    }

    fn finished(&mut self, index: usize) {
        self.left -= 1;
        for dependent in std::mem::take(&mut self.dependents[index]) {
            self.missing[dependent] -= 1;
            if self.missing[dependent] == 0 {
                self.ready.push(dependent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::workload::layers;

    #[test]
    fn every_task_becomes_ready_after_its_needs() {
        let workload = layers(5, 4, 3);
        let mut order = Order::new(&workload);
        let mut finished = Vec::new();
        while let Some(index) = order.ready.pop() {
            assert!(workload.tasks[index].needs.iter().all(|need| finished.contains(need)));
            finished.push(index);
            order.finished(index);
        }
        assert_eq!((finished.len(), order.left), (20, 0));
    }

    #[test]
    fn a_floor_runs_every_task_through_every_sink() {
        for sink in [Sink::Null, Sink::File, Sink::Pipe] {
            let scratch = tempfile::tempdir().unwrap();
            let seconds = run(&layers(2, 3, 2), sink, scratch.path(), Duration::ZERO).unwrap();
            assert!(seconds > 0.0);
        }
    }
}
