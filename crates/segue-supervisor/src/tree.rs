//! The processes below one, read from `/proc`, and how they are ended.
//!
//! Owns how a tree is listed, measured and killed. Does not decide when. A number can be reused
//! between a listing and a signal unless the process is our own child; so a descendant further down
//! is signalled through a descriptor that was opened first and looked at after.

use std::collections::HashSet;
use std::fs;

use crate::sys::{self, PidFd};

/// Most processes of one tree looked at in one pass; the next pass takes the rest.
const PROCESSES_MAX: usize = 20_000;

/// Rounds of listing and stopping within one pass, each over what the last one did not see.
const ROUNDS_MAX: usize = 16;

/// One process of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
}

/// The processes whose parent is `pid`, zombies included.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let single = format!("/proc/{pid}/task/{pid}/children");
    let tasks = format!("/proc/{pid}/task");
    let mut children = numbers(&fs::read_to_string(single).unwrap_or_default());
    // Supervisor and keeper have one thread each. Others may have forked from a second one.
    if pid != std::process::id() {
        for entry in fs::read_dir(tasks).into_iter().flatten().flatten() {
            if entry.file_name().to_str() != Some(pid.to_string().as_str()) {
                let listed = fs::read_to_string(entry.path().join("children"));
                children.extend(numbers(&listed.unwrap_or_default()));
            }
        }
    }
    children
}

fn numbers(text: &str) -> Vec<u32> {
    text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Everything below `root`, depth first, without what `is_exempt` names and all below that.
pub(crate) fn below(root: u32, is_exempt: &dyn Fn(u32) -> bool) -> Vec<Process> {
    let mut found = Vec::new();
    let mut stack = vec![root];
    while let Some(parent) = stack.pop() {
        for pid in children_of(parent) {
            if found.len() < PROCESSES_MAX && !is_exempt(pid) {
                found.push(Process { pid, parent });
                stack.push(pid);
            }
        }
    }
    found
}

/// Signals one process of a listing, if it is still the one that was listed.
pub(crate) fn signal(root: u32, process: Process, signals: &[i32]) {
    if process.parent == root {
        // Our own child: until we wait for it, its number is its own.
        for signal in signals {
            let _ = sys::kill(process.pid, *signal);
        }
        return;
    }
    let Ok(handle) = PidFd::open(process.pid) else { return };
    let parent = stat_of(process.pid).map(|stat| stat.parent);
    // Orphaned in between, it has become our child.
    if parent == Some(process.parent) || parent == Some(root) {
        for signal in signals {
            let _ = handle.signal(*signal);
        }
    }
}

/// One pass over everything below this process: stop all until a listing shows nothing new, then
/// kill all. Adds what it killed to `killed`; true if there was anything.
///
/// What forks faster than this can list is caught by one of the next passes: a stopped process
/// forks no more, and every pass stops some for good.
pub(crate) fn kill_pass(is_exempt: &dyn Fn(u32) -> bool, killed: &mut HashSet<u32>) -> bool {
    let root = std::process::id();
    let mut stopped: HashSet<u32> = HashSet::new();
    let mut listed = Vec::new();
    for _ in 0..ROUNDS_MAX {
        listed = below(root, is_exempt);
        let fresh: Vec<Process> =
            listed.iter().copied().filter(|process| stopped.insert(process.pid)).collect();
        for process in &fresh {
            signal(root, *process, &[libc::SIGSTOP]);
        }
        if fresh.is_empty() {
            break;
        }
    }
    for process in &listed {
        signal(root, *process, &[libc::SIGKILL]);
        killed.insert(process.pid);
    }
    !listed.is_empty()
}

/// The few fields of `/proc/<pid>/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: u32,
    /// Processor time of the process and of the children it waited for, in clock ticks.
    pub(crate) cpu_ticks: u64,
    /// When it started, in clock ticks since boot: with the number, an identity.
    pub(crate) started_ticks: u64,
    /// A zombie does nothing any more.
    pub(crate) is_zombie: bool,
}

/// Reads a process's `stat`, if there is such a process.
pub(crate) fn stat_of(pid: u32) -> Option<Stat> {
    // The name may hold anything, even a parenthesis and bytes that are not UTF-8.
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        is_zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: u32::try_from(number(1)?).ok()?,
        cpu_ticks: number(11)? + number(12)? + number(13)? + number(14)?,
        started_ticks: number(19)?,
    })
}

/// The name of a process, at most 15 bytes, as `leave` compares it.
pub(crate) fn name_of(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
}

/// Memory of all that live below `root`, in bytes: what they share counts once, what is swapped out
/// counts too. Of a process that may not be looked into, such as another user's, all it has
/// mapped counts.
pub(crate) fn memory_bytes_below(root: u32) -> u64 {
    below(root, &|_| false).iter().map(|process| memory_bytes_of(process.pid)).sum()
}

fn memory_bytes_of(pid: u32) -> u64 {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let share = read("smaps_rollup").and_then(|text| {
        let used = kib(&text, "Pss:")?;
        Some(used + kib(&text, "SwapPss:").unwrap_or(0))
    });
    let mapped = || kib(&read("status")?, "VmRSS:");
    share.or_else(mapped).unwrap_or(0) * 1024
}

/// The number of KiB in the line that begins with `name`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Processor time used by all that live below `root`, in milliseconds.
pub(crate) fn cpu_ms_below(root: u32) -> u64 {
    let live = below(root, &|_| false);
    let ticks: u64 = live.iter().filter_map(|p| stat_of(p.pid)).map(|stat| stat.cpu_ticks).sum();
    ticks * 1000 / sys::ticks_per_second()
}
