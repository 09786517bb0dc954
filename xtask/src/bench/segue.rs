//! Runs of the real binary, each on a fresh store, and what they cost.
//!
//! It knows Segue only as a user does: the command line, exit codes, and `state.json`. A run that
//! did not do all of its work is an error, however fast it was.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::workload::Workload;

/// How often memory is sampled.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// Events of the journal whose resume is measured.
const RESUMED_EVENTS: f64 = 100_000.0;

/// A workflow file beside a fresh store; both are removed at the end.
struct Store {
    folder: PathBuf,
}

impl Store {
    fn new(scratch: &Path, yaml: &str) -> Result<Self> {
        let folder = scratch.join("segue");
        std::fs::create_dir(&folder).context("failed to create a store's folder")?;
        let store = Self { folder };
        std::fs::write(store.workflow(), yaml).context("failed to write a workflow")?;
        Ok(store)
    }

    fn workflow(&self) -> PathBuf {
        self.folder.join("bench.segue.yaml")
    }

    fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// The binary, on this store, without a word on the terminal.
    fn segue(&self, binary: &Path) -> Result<Command> {
        let stderr = std::fs::File::create(self.folder.join("stderr"))
            .context("failed to create a file for stderr")?;
        let mut command = Command::new(binary);
        command
            .current_dir(&self.folder)
            .env("SEGUE_HOME", self.home())
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        Ok(command)
    }

    fn run_command(&self, binary: &Path, slots: usize, sync_delay_ms: u64) -> Result<Command> {
        let mut command = self.segue(binary)?;
        command.arg("run").arg(self.workflow());
        command.args(["--concurrency", &slots.to_string(), "--output", "none"]);
        if sync_delay_ms > 0 {
            command.env("SEGUE_TEST_SYNC_DELAY_MS", sync_delay_ms.to_string());
        }
        Ok(command)
    }

    /// Fails with the last line of stderr unless the exit code is this one.
    fn expect_code(&self, status: ExitStatus, code: i32) -> Result<()> {
        if status.code() == Some(code) {
            return Ok(());
        }
        let stderr = std::fs::read(self.folder.join("stderr")).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&stderr);
        let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no word");
        bail!("ended with {status}: {last}");
    }

    /// The only run of the store.
    fn only_run(&self) -> Result<PathBuf> {
        let runs = self.home().join("runs");
        let listed =
            std::fs::read_dir(&runs).with_context(|| format!("no run in `{}`", runs.display()))?;
        let folders: Vec<PathBuf> =
            listed.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        match folders.as_slice() {
            [only] => Ok(only.clone()),
            _ => bail!("{} runs in a fresh store", folders.len()),
        }
    }

    /// Fails unless the run's state counts every task of the workload as succeeded.
    fn expect_succeeded(&self, workload: &Workload) -> Result<()> {
        let tasks = workload.tasks.len();
        let path = self.only_run()?.join("state.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("failed to read `{}`", path.display()))?;
        let state: serde_json::Value =
            serde_json::from_str(&text).context("`state.json` is not JSON")?;
        let counters =
            if workload.as_items { &state["tasks"]["each"]["items"] } else { &state["metrics"] };
        match counters["succeeded"].as_u64() {
            Some(succeeded) if succeeded == tasks as u64 => Ok(()),
            other => bail!("`state.json` counts {other:?} of {tasks} tasks as succeeded"),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("failed to remove `{}`: {error}", self.folder.display());
        }
    }
}

/// Seconds of one run of the workload on a fresh store.
pub(super) fn run(
    binary: &Path,
    workload: &Workload,
    scratch: &Path,
    sync_delay_ms: u64,
) -> Result<f64> {
    if workload.jobs {
        return exec(binary, workload, scratch);
    }
    let store = Store::new(scratch, &workload.to_yaml())?;
    let mut command = store.run_command(binary, workload.slots, sync_delay_ms)?;
    let (seconds, status) = time(&mut command)?;
    store.expect_code(status, 0)?;
    store.expect_succeeded(workload)?;
    Ok(seconds)
}

/// Seconds of `segue exec` on the workload's jobs. Every one of them must come back.
fn exec(binary: &Path, workload: &Workload, scratch: &Path) -> Result<f64> {
    let store = Store::new(scratch, &workload.to_jobs())?;
    let results = store.folder.join("results");
    let file = std::fs::File::create(&results).context("failed to create a file for results")?;
    let mut command = store.segue(binary)?;
    command.args(["exec", "--parallel", &workload.slots.to_string(), "--jobs"]);
    // Its private store is to lie on the disk that is measured.
    command.arg(store.workflow()).stdout(file).env("TMPDIR", &store.folder);
    let (seconds, status) = time(&mut command)?;
    store.expect_code(status, 0)?;
    let text = std::fs::read_to_string(&results).context("failed to read the results")?;
    let good = text.lines().filter(|line| line.contains("\"status\":\"succeeded\"")).count();
    if good != workload.tasks.len() {
        bail!("{good} of {} jobs came back as succeeded", workload.tasks.len());
    }
    Ok(seconds)
}

/// Seconds of `segue --version`.
pub(super) fn version(binary: &Path) -> Result<f64> {
    let mut command = Command::new(binary);
    command.arg("--version").env_remove("LD_LIBRARY_PATH").stdout(Stdio::null());
    let (seconds, status) = time(&mut command)?;
    if !status.success() {
        bail!("`--version` ended with {status}");
    }
    Ok(seconds)
}

/// Seconds of `segue check` on the workload's file.
pub(super) fn check(binary: &Path, workload: &Workload, scratch: &Path) -> Result<f64> {
    let store = Store::new(scratch, &workload.to_yaml())?;
    let mut command = store.segue(binary)?;
    let (seconds, status) = time(command.arg("check").arg(store.workflow()))?;
    store.expect_code(status, 0)?;
    Ok(seconds)
}

/// Seconds of `segue resume` on a run in which every task but one succeeded, for each 100,000
/// events of its journal. The one fails again, so the whole of a resume is in it.
pub(super) fn resume(binary: &Path, workload: &Workload, scratch: &Path) -> Result<f64> {
    let yaml = workload.to_yaml() + "  fails: {argv: [\"false\"]}\n";
    let store = Store::new(scratch, &yaml)?;
    let (_, status) = time(&mut store.run_command(binary, workload.slots, 0)?)?;
    store.expect_code(status, 1)?;
    let journal = store.only_run()?.join("events.jsonl");
    let events = std::fs::read(&journal)
        .with_context(|| format!("failed to read `{}`", journal.display()))?
        .split(|byte| *byte == b'\n')
        .count()
        .saturating_sub(1);
    let mut command = store.segue(binary)?;
    let (seconds, status) = time(command.args(["resume", "latest", "--output", "none"]))?;
    store.expect_code(status, 1)?;
    eprintln!("resumed {events} events in {seconds:.3} s");
    Ok(seconds * RESUMED_EVENTS / events.max(1) as f64)
}

/// The greatest sum of proportional set sizes, in MB, of engine, supervisor and keepers at one
/// instant of a run. The tasks' own processes, which run other binaries, do not count.
pub(super) fn peak_memory(
    binary: &Path,
    workload: &Workload,
    scratch: &Path,
    sync_delay_ms: u64,
) -> Result<f64> {
    let store = Store::new(scratch, &workload.to_yaml())?;
    let mut child = store
        .run_command(binary, workload.slots, sync_delay_ms)?
        .spawn()
        .context("failed to start segue")?;
    let pid = child.id();
    let ended = AtomicBool::new(false);
    let (status, peak) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0;
            while !ended.load(Ordering::Relaxed) {
                peak = peak.max(tree_pss_kb(pid, binary));
                std::thread::sleep(SAMPLE_EVERY);
            }
            peak
        });
        let status = child.wait();
        ended.store(true, Ordering::Relaxed);
        (status, sampler.join().expect("the sampler does not panic"))
    });
    store.expect_code(status.context("failed to wait for segue")?, 0)?;
    store.expect_succeeded(workload)?;
    if peak == 0 {
        bail!("no sample of its memory was taken");
    }
    Ok(peak as f64 * 1024.0 / 1e6)
}

fn time(command: &mut Command) -> Result<(f64, ExitStatus)> {
    let began = Instant::now();
    let status = command.status().context("failed to start segue")?;
    Ok((began.elapsed().as_secs_f64(), status))
}

/// The summed PSS, in KiB, of the processes from `pid` down that run `binary`.
fn tree_pss_kb(pid: u32, binary: &Path) -> u64 {
    let runs_binary =
        |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path == binary);
    descendants(pid).iter().filter(|pid| runs_binary(pid)).map(|pid| pss_kb(*pid)).sum()
}

/// The process and everything below it. Processes that end meanwhile are left out.
fn descendants(pid: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![pid];
    while let Some(pid) = waiting.pop() {
        if !found.insert(pid) {
            continue;
        }
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        for thread in threads.flatten() {
            let children = std::fs::read_to_string(thread.path().join("children"));
            let children = children.unwrap_or_default();
            waiting.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    found
}

/// The process's PSS in KiB; 0 once it has ended.
fn pss_kb(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    parse_pss_kb(&rollup.unwrap_or_default()).unwrap_or(0)
}

fn parse_pss_kb(rollup: &str) -> Option<u64> {
    let value = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pss_is_read_in_kib() {
        let rollup = "55d0-7ffc ---p 0 00:00 0 [rollup]\nRss:  2000 kB\nPss:       1234 kB\n";
        assert_eq!(parse_pss_kb(rollup), Some(1234));
        assert_eq!(parse_pss_kb(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_is_found_below_this_process() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let this = std::process::id();
        assert!(descendants(this).contains(&child.id()));
        assert!(tree_pss_kb(this, &std::env::current_exe().unwrap()) > 0);
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn a_run_that_did_nothing_is_not_fast_but_wrong() {
        let scratch = tempfile::tempdir().unwrap();
        let one = super::super::workload::flat(1, 1);
        let error = run(Path::new("true"), &one, scratch.path(), 0).unwrap_err();
        assert!(format!("{error:#}").contains("no run in"), "{error:#}");
    }
}
