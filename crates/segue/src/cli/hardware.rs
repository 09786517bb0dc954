//! What the machine has, as the cgroup allows it, and how many attempts that bears.

use std::fs;
use std::path::Path;

use segue_core::Hardware;

const GIB: u64 = 1 << 30;

/// Looks at the machine.
pub(crate) fn detect() -> Hardware {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Hardware {
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        memory_bytes: memory(),
        cpu_model: cpu_field("model name").unwrap_or_default(),
        kind: kind().to_owned(),
    }
}

/// How many attempts may run at once on this machine: the table of promise S2.9. A machine
/// that is a container keeps one core for the rest of it.
#[must_use]
pub fn concurrency_for(hardware: &Hardware) -> u32 {
    if hardware.kind == "container" {
        return hardware.cores.saturating_sub(1).max(1);
    }
    let memory = hardware.memory_bytes;
    match hardware.cores {
        16.. if memory >= 31 * GIB => 12,
        8.. if memory >= 15 * GIB => 8,
        4.. if memory >= 7 * GIB => 4,
        _ => 2,
    }
}

fn memory() -> u64 {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let total = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let v2 = own.lines().find_map(|line| line.strip_prefix("0::"));
    let limits = [
        v2.and_then(|path| number(&format!("/sys/fs/cgroup{path}/memory.max"))),
        number("/sys/fs/cgroup/memory.max"),
        number("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    ];
    limits.into_iter().flatten().chain(total.map(|kib| kib * 1024)).min().unwrap_or(0)
}

fn kind() -> &'static str {
    let exists = |path: &str| Path::new(path).exists();
    let first = fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
    let named = ["docker", "kubepods", "containerd", "libpod", "lxc"];
    if exists("/.dockerenv")
        || exists("/run/.containerenv")
        || named.iter().any(|name| first.contains(name))
    {
        "container"
    } else if cpu_field("flags").is_some_and(|flags| flags.split(' ').any(|f| f == "hypervisor")) {
        "vm"
    } else {
        "bare metal"
    }
}

fn cpu_field(name: &str) -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_the_table() {
        let cases = [
            ("vm", 32, 64, 12),
            ("vm", 16, 16, 8),
            ("vm", 8, 16, 8),
            ("bare metal", 4, 8, 4),
            ("vm", 4, 2, 2),
            ("vm", 1, 1, 2),
            ("container", 8, 64, 7),
            ("container", 1, 1, 1),
        ];
        for (kind, cores, gib, slots) in cases {
            let hardware = Hardware {
                cores,
                memory_bytes: gib * GIB,
                cpu_model: String::new(),
                kind: kind.to_owned(),
            };
            assert_eq!(concurrency_for(&hardware), slots, "{kind} {cores} {gib}");
        }
    }
}
