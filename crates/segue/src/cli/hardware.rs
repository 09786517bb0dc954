//! What the machine has and how it fares, as the control group allows it.
//!
//! Reads `/proc` and `/sys` and decides nothing: how many attempts that bears is the core's word.

use std::fs;
use std::path::{Path, PathBuf};

use segue_core::{Hardware, Load};

/// Words by which `/proc/1/cgroup` tells of a container.
const CONTAINERS: [&str; 5] = ["docker", "kubepods", "containerd", "libpod", "lxc"];

/// Words by which firmware tells of a virtual machine.
const MACHINES: [&str; 8] = [
    "qemu",
    "kvm",
    "vmware",
    "virtualbox",
    "xen",
    "bochs",
    "virtual machine",
    "google compute engine",
];

/// Looks at the machine.
pub(crate) fn detect() -> Hardware {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let system = System::default();
    Hardware {
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        memory_bytes: system.memory_bytes(),
        cpu_model: system.cpu_field("model name").unwrap_or_default(),
        kind: system.kind().to_owned(),
    }
}

/// Reads the machine's load, each time since the time before.
pub(crate) fn load_reader() -> segue_engine::LoadReader {
    let mut source = LoadSource::new(System::default());
    Box::new(move || source.read())
}

/// The files in which the kernel tells of the machine.
#[derive(Debug)]
struct System {
    root: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

impl System {
    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }

    /// The memory that may be used: the least that the machine or a group above this process has.
    fn memory_bytes(&self) -> u64 {
        let total = kib(&self.text("proc/meminfo"), "MemTotal:");
        let own = self.text("proc/self/cgroup");
        let path = own.lines().find_map(|line| line.split_once(":memory:")).map_or("/", |p| p.1);
        let first = self.root.join("sys/fs/cgroup/memory");
        let first = above(&first, path).map(|dir| dir.join("memory.limit_in_bytes"));
        let second = self.groups().into_iter().map(|dir| dir.join("memory.max"));
        let limits = first.chain(second).filter_map(|file| number(&file));
        limits.chain(total).min().unwrap_or(0)
    }

    /// This process's control group of the second version, and all above it.
    fn groups(&self) -> Vec<PathBuf> {
        let own = self.text("proc/self/cgroup");
        let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::")) else {
            return Vec::new();
        };
        let mounts = ["sys/fs/cgroup/unified", "sys/fs/cgroup"].map(|dir| self.root.join(dir));
        let mount = mounts.into_iter().find(|dir| dir.join("cgroup.controllers").exists());
        mount.map(|mount| above(&mount, path).collect()).unwrap_or_default()
    }

    fn kind(&self) -> &'static str {
        let exists = |path: &str| self.root.join(path).exists();
        let first = self.text("proc/1/cgroup");
        if exists(".dockerenv")
            || exists("run/.containerenv")
            || CONTAINERS.iter().any(|name| first.contains(name))
        {
            return "container";
        }
        let flags = self.cpu_field("flags").unwrap_or_default();
        let dmi = ["sys_vendor", "product_name"].map(|name| {
            let text = self.text(&format!("sys/class/dmi/id/{name}"));
            text.to_lowercase()
        });
        if flags.split(' ').any(|flag| flag == "hypervisor")
            || exists("sys/hypervisor/type")
            || exists("proc/device-tree/hypervisor")
            || MACHINES.iter().any(|word| dmi.iter().any(|text| text.contains(word)))
        {
            "vm"
        } else {
            "bare metal"
        }
    }

    fn cpu_field(&self, name: &str) -> Option<String> {
        let text = self.text("proc/cpuinfo");
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    }

    fn free_memory_bytes(&self) -> Option<u64> {
        let machine = kib(&self.text("proc/meminfo"), "MemAvailable:");
        let groups = self.groups().into_iter().filter_map(|dir| {
            let most = number(&dir.join("memory.max"))?;
            let used = number(&dir.join("memory.current"))?;
            let cache = field(&dir.join("memory.stat"), "inactive_file").unwrap_or(0);
            Some(most.saturating_sub(used.saturating_sub(cache)))
        });
        groups.chain(machine).min()
    }

    /// What was used so far, and what there was to be used, in units of their own: of the
    /// machine, and of each group with a limit of processor.
    fn cpu(&self) -> Vec<Used> {
        let stat = self.text("proc/stat");
        let line = stat.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal; guests are in user already.
        let ticks = line.split_ascii_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = ticks.filter_map(|word| word.parse().ok()).collect();
        let there: u64 = ticks.iter().sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        let machine = (!ticks.is_empty()).then(|| Used { used: there - idle, there });
        let uptime = self.text("proc/uptime");
        let seconds = uptime.split(' ').next().and_then(|word| word.parse::<f64>().ok());
        let groups = self.groups().into_iter().filter_map(|dir| {
            let limit = fs::read_to_string(dir.join("cpu.max")).ok()?;
            let mut words = limit.split_ascii_whitespace();
            let quota: f64 = words.next()?.parse().ok()?;
            let period: f64 = words.next()?.parse().ok()?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "microseconds since boot"
            )]
            let there = (seconds? * 1e6 * quota / period) as u64;
            Some(Used { used: field(&dir.join("cpu.stat"), "usage_usec")?, there })
        });
        machine.into_iter().chain(groups).collect()
    }
}

/// A count that grows, and the one it is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    used: u64,
    there: u64,
}

/// The load since the look before.
#[derive(Debug)]
struct LoadSource {
    system: System,
    before: Vec<Used>,
}

impl LoadSource {
    fn new(system: System) -> Self {
        let before = system.cpu();
        Self { system, before }
    }

    /// `None` if it cannot be told: the kernel does not say, or no time has passed.
    fn read(&mut self) -> Option<Load> {
        let now = self.system.cpu();
        let before = std::mem::replace(&mut self.before, now.clone());
        // A limit that came or went between: the next look has both.
        if now.len() != before.len() {
            return None;
        }
        let shares = now.iter().zip(&before).filter_map(|(now, before)| {
            let used = now.used.saturating_sub(before.used);
            let there = now.there.checked_sub(before.there).filter(|there| *there > 0)?;
            u32::try_from(used.saturating_mul(100) / there).ok()
        });
        let cpu_percent = shares.max()?;
        Some(Load { cpu_percent, free_memory_bytes: self.system.free_memory_bytes()? })
    }
}

/// The group at `path` below `mount`, and all above it.
fn above(mount: &Path, path: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let own = mount.join(path.trim_start_matches('/'));
    let mount = mount.to_owned();
    let dirs: Vec<PathBuf> = own.ancestors().map(Path::to_owned).collect();
    dirs.into_iter().take_while(move |dir| dir.starts_with(&mount))
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The number behind a name, in a file of `name number` lines.
fn field(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line?.trim().parse().ok()
}

/// Bytes, of a line such as `MemTotal: 16 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine in a folder: what each of its files says.
    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, System) {
        let folder = tempfile::tempdir().expect("a folder");
        let system = System { root: folder.path().to_owned() };
        files.iter().for_each(|(path, text)| write(&system, path, text));
        (folder, system)
    }

    fn write(system: &System, path: &str, text: &str) {
        let path = system.root.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, text).expect("room");
    }

    #[test]
    fn containers_virtual_machines_and_bare_metal_are_told_apart() {
        let check = |files: &[(&str, &str)], kind: &str| {
            assert_eq!(machine(files).1.kind(), kind, "{files:?}");
        };
        let host = ("proc/1/cgroup", "0::/init.scope\n");
        let plain = ("proc/cpuinfo", "model name\t: A B\nflags\t\t: fpu vme\n");
        let virtual_cpu = ("proc/cpuinfo", "flags\t\t: fpu hypervisor vme\n");
        check(&[], "bare metal");
        check(&[host, plain], "bare metal");
        check(&[host, virtual_cpu], "vm");
        check(&[host, ("sys/class/dmi/id/sys_vendor", "QEMU\n")], "vm");
        check(&[host, ("sys/class/dmi/id/product_name", "Virtual Machine\n")], "vm");
        check(&[host, ("sys/class/dmi/id/product_name", "PowerEdge R740\n")], "bare metal");
        check(&[host, ("sys/hypervisor/type", "xen\n")], "vm");
        // A container in a virtual machine is a container.
        check(&[virtual_cpu, (".dockerenv", "")], "container");
        check(&[plain, ("run/.containerenv", "")], "container");
        check(&[("proc/1/cgroup", "4:memory:/docker/0123\n")], "container");
        check(&[("proc/1/cgroup", "0::/kubepods.slice/pod1\n")], "container");
    }

    #[test]
    fn memory_is_what_the_nearest_limit_leaves() {
        let meminfo = ("proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\n");
        assert_eq!(machine(&[meminfo]).1.memory_bytes(), 16_000_000 * 1024);
        let own = ("proc/self/cgroup", "4:memory:/job/1\n0::/a.slice/b.scope\n");
        let root = ("sys/fs/cgroup/cgroup.controllers", "memory\n");
        let (_folder, system) = machine(&[
            meminfo,
            own,
            root,
            ("sys/fs/cgroup/a.slice/b.scope/memory.max", "max\n"),
            ("sys/fs/cgroup/a.slice/memory.max", "4000000000\n"),
        ]);
        assert_eq!(system.memory_bytes(), 4_000_000_000, "of the slice above");
        write(&system, "sys/fs/cgroup/memory/job/memory.limit_in_bytes", "3000000000\n");
        assert_eq!(system.memory_bytes(), 3_000_000_000, "of the first version's hierarchy");
        assert_eq!(machine(&[]).1.memory_bytes(), 0, "not told");
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemAvailable:    2000000 kB\n");

    #[test]
    fn load_is_told_since_the_look_before() {
        let (_folder, system) =
            machine(&[MEMINFO, ("proc/stat", "cpu  100 0 100 800 0 0 0 0 50 0\ncpu0 1\n")]);
        let mut source = LoadSource::new(system);
        assert_eq!(source.read(), None, "no time has passed");
        write(&source.system, "proc/stat", "cpu  180 0 110 805 5 0 0 0 90 0\ncpu0 1\n");
        let free_memory_bytes = 2_000_000 * 1024;
        assert_eq!(source.read(), Some(Load { cpu_percent: 90, free_memory_bytes }));
        write(&source.system, "proc/stat", "cpu  180 0 110 905 5 0 0 0 90 0\n");
        assert_eq!(source.read(), Some(Load { cpu_percent: 0, free_memory_bytes }));
        write(&source.system, "proc/stat", "");
        assert_eq!(source.read(), None, "not told");
    }

    #[test]
    fn a_group_with_limits_has_a_load_of_its_own() {
        let (_folder, system) = machine(&[
            MEMINFO,
            ("proc/stat", "cpu  0 0 0 1000 0 0 0 0\n"),
            ("proc/uptime", "100.00 9.99\n"),
            ("proc/self/cgroup", "0::/pod\n"),
            ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
            ("sys/fs/cgroup/pod/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/pod/cpu.stat", "usage_usec 1000000\nuser_usec 1\n"),
            ("sys/fs/cgroup/pod/memory.max", "1500000000\n"),
            ("sys/fs/cgroup/pod/memory.current", "1000000000\n"),
            ("sys/fs/cgroup/pod/memory.stat", "anon 1\ninactive_file 300000000\n"),
        ]);
        let mut source = LoadSource::new(system);
        // In two seconds it may use three of processor; the machine is as good as idle.
        write(&source.system, "proc/stat", "cpu  30 0 0 1970 0 0 0 0\n");
        write(&source.system, "proc/uptime", "102.00 9.99\n");
        write(&source.system, "sys/fs/cgroup/pod/cpu.stat", "usage_usec 3850000\n");
        let free_memory_bytes = 800_000_000;
        assert_eq!(source.read(), Some(Load { cpu_percent: 95, free_memory_bytes }));
    }

    #[test]
    fn this_machine_tells_of_itself() {
        let hardware = detect();
        assert!(hardware.cores > 0 && hardware.memory_bytes > 0, "{hardware:?}");
        assert!(System::default().free_memory_bytes().is_some_and(|free| free > 0));
        assert!(!System::default().cpu().is_empty());
    }
}
