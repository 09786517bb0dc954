//! Control groups of version 2: one for an attempt whose memory or processor is limited.
//!
//! Owns how a group is made, read and removed. Where groups may be made is found by [`place`];
//! when one is wanted, and what happens where there is none, it does not know. A group bears the
//! name of its keeper and number, so that one whose keeper is dead is known as such: it is
//! removed by whoever makes the next one.

mod place;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use place::System;
pub(crate) use place::{Place, Wanted};

use crate::tree;

/// What the names of groups begin with.
const PREFIX: &str = "segue-";

/// The length of the periods in which processor time is handed out: the kernel's own default.
const PERIOD_US: u64 = 100_000;

/// The least processor time in a period that the kernel takes.
const QUOTA_US_MIN: u64 = 1_000;

/// Most directory entries looked at for groups that are left.
const STALE_MAX: usize = 1_024;

/// Which limits of an attempt the kernel would hold here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Containment {
    /// Memory of the tree. Where it does not, the keeper takes samples and kills.
    pub memory: bool,
    /// Processor of the tree. Where it does not, nobody does.
    pub cpu: bool,
}

/// Looks whether attempts started by this process could have control groups. Changes nothing.
#[must_use]
pub fn containment() -> Containment {
    let found = |wanted| place::find(&System::of_this_process(), wanted).is_some();
    Containment {
        memory: found(Wanted { memory: true, cpu: false }),
        cpu: found(Wanted { memory: false, cpu: true }),
    }
}

/// The limits of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) memory_bytes_max: Option<u64>,
    /// In thousandths of a core.
    pub(crate) cpu_millis_max: Option<u64>,
}

/// The group of one attempt.
#[derive(Debug)]
pub(crate) struct Group {
    dir: PathBuf,
}

impl Group {
    /// Makes a group for the attempt `number` of this keeper, with as many of the limits as can
    /// be held; `None` where none can. Says which it holds.
    pub(crate) fn make(number: u64, bounds: Bounds) -> Option<(Self, Bounds)> {
        let own = tree::stat_of(std::process::id()).map_or(0, |stat| stat.started_ticks);
        let name = format!("{PREFIX}{}-{own}-{number}", std::process::id());
        let Bounds { memory_bytes_max, cpu_millis_max } = bounds;
        // Memory has another way to be held, so a place for it alone is worth less than one for
        // the processor alone.
        let choices = [
            bounds,
            Bounds { memory_bytes_max: None, cpu_millis_max },
            Bounds { memory_bytes_max, cpu_millis_max: None },
        ];
        let system = System::of_this_process();
        choices.into_iter().filter(|some| *some != Bounds::default()).find_map(|bounds| {
            let wanted = Wanted {
                memory: bounds.memory_bytes_max.is_some(),
                cpu: bounds.cpu_millis_max.is_some(),
            };
            let place = place::find(&system, wanted)?;
            sweep(&place, &is_keeper_alive);
            Some((Self::make_at(&place, &name, bounds).ok()?, bounds))
        })
    }

    fn make_at(place: &Place, name: &str, bounds: Bounds) -> io::Result<Self> {
        place.enable()?;
        let dir = place.dir().join(name);
        DirBuilder::new().mode(0o755).create(&dir)?;
        let group = Self { dir };
        match group.bound(bounds) {
            Ok(()) => Ok(group),
            Err(error) => {
                group.remove();
                Err(error)
            }
        }
    }

    fn bound(&self, bounds: Bounds) -> io::Result<()> {
        if let Some(bytes) = bounds.memory_bytes_max {
            self.write("memory.max", &bytes.to_string())?;
            // One that is killed alone leaves a tree that is neither whole nor gone.
            self.write("memory.oom.group", "1")?;
            // Else what is above the limit would only move to the disk. Without swap there is no
            // such file.
            let _ = self.write("memory.swap.max", "0");
        }
        if let Some(millis) = bounds.cpu_millis_max {
            let quota_us = (millis.saturating_mul(PERIOD_US) / 1_000).max(QUOTA_US_MIN);
            self.write("cpu.max", &format!("{quota_us} {PERIOD_US}"))?;
        }
        Ok(())
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.dir.join(file), text)
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.dir.join(file)).ok()
    }

    /// The file through which a process joins by writing `0`.
    pub(crate) fn door(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.dir.join("cgroup.procs"))
    }

    /// The most memory that was used at once, where the kernel tells (from 5.19 on).
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        self.read("memory.peak")?.trim().parse().ok()
    }

    /// Whether processes were killed for the group's own limit, and not for the machine's want.
    pub(crate) fn was_out_of_memory(&self) -> bool {
        let events = self.read("memory.events").unwrap_or_default();
        let count = |name: &str| {
            let line = events.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
        };
        count("oom") > 0 && count("oom_kill") > 0
    }

    /// Removes the group if nobody is in it; else that is left to a sweep.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Removes groups at this process's places whose keepers are dead. One that still has processes
/// stays.
pub(crate) fn sweep_stale() {
    let system = System::of_this_process();
    for wanted in [Wanted { memory: true, cpu: false }, Wanted { memory: false, cpu: true }] {
        if let Some(place) = place::find(&system, wanted) {
            sweep(&place, &is_keeper_alive);
        }
    }
}

fn sweep(place: &Place, is_alive: &dyn Fn(u32, u64) -> bool) {
    let entries = fs::read_dir(place.dir()).into_iter().flatten().flatten();
    for entry in entries.take(STALE_MAX) {
        let name = entry.file_name();
        if name.to_str().and_then(keeper_of).is_some_and(|(pid, started)| !is_alive(pid, started)) {
            // Refused while there is a process in it, whoever's.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The keeper in a group's name: its process and when that was started.
fn keeper_of(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let keeper = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let _: u64 = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(keeper)
}

fn is_keeper_alive(pid: u32, started_ticks: u64) -> bool {
    let of = |dir: &Path| fs::symlink_metadata(dir).is_ok();
    match tree::stat_of(pid) {
        Some(stat) => stat.started_ticks == started_ticks && !stat.is_zombie,
        // It may be there and not be readable: then its group is not ours to remove.
        None => of(&PathBuf::from(format!("/proc/{pid}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel has removed with the folder, a plain file system has not.
    fn remove_files(dir: &Path) {
        for entry in fs::read_dir(dir).expect("it is there").flatten() {
            if entry.path().is_file() {
                fs::remove_file(entry.path()).expect("removed");
            }
        }
    }

    fn place(dir: &Path) -> Place {
        Place::new(dir.to_owned(), Vec::new())
    }

    #[test]
    fn a_group_has_its_limits_and_tells_how_it_went() {
        let folder = tempfile::tempdir().expect("a folder");
        let bounds = Bounds { memory_bytes_max: Some(64 << 20), cpu_millis_max: Some(1_500) };
        let group = Group::make_at(&place(folder.path()), "segue-7-1-3", bounds).expect("made");
        assert_eq!(group.read("memory.max").as_deref(), Some("67108864"));
        assert_eq!(group.read("memory.oom.group").as_deref(), Some("1"));
        assert_eq!(group.read("memory.swap.max").as_deref(), Some("0"));
        assert_eq!(group.read("cpu.max").as_deref(), Some("150000 100000"));
        assert_eq!((group.peak_bytes(), group.was_out_of_memory()), (None, false));
        assert!(group.door().is_err(), "only a real group has a door");

        group.write("memory.peak", "67100000\n").expect("room");
        let events = "low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 1\n";
        group.write("memory.events", events).expect("room");
        assert_eq!((group.peak_bytes(), group.was_out_of_memory()), (Some(67_100_000), true));
        // Killed for want of the whole machine, or only slowed down at its limit.
        for events in ["max 0\noom 0\noom_kill 1\n", "max 9\noom 0\noom_kill 0\n", ""] {
            group.write("memory.events", events).expect("room");
            assert!(!group.was_out_of_memory(), "{events}");
        }

        group.remove();
        assert!(group.dir.exists(), "it is not empty");
        remove_files(&group.dir);
        group.remove();
        assert!(!group.dir.exists());
    }

    #[test]
    fn a_limit_that_is_refused_leaves_no_group() {
        let folder = tempfile::tempdir().expect("a folder");
        let bounds = Bounds { memory_bytes_max: None, cpu_millis_max: Some(1) };
        let group = Group::make_at(&place(folder.path()), "segue-7-1-3", bounds).expect("made");
        assert_eq!(group.read("cpu.max").as_deref(), Some("1000 100000"), "the kernel's least");
        assert!(Group::make_at(&place(folder.path()), "segue-7-1-3", bounds).is_err(), "twice");
        assert!(
            Group::make_at(&place(&folder.path().join("gone")), "segue-7-1-4", bounds).is_err()
        );
    }

    #[test]
    fn only_groups_of_dead_keepers_are_swept() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = ["segue-7-1-3", "segue-8-1-3", "segue-7-2-3", "segue-other", "user.slice"];
        names.iter().for_each(|name| fs::create_dir(folder.path().join(name)).expect("made"));
        let busy = folder.path().join("segue-9-1-1");
        fs::create_dir_all(busy.join("what the kernel would refuse to remove")).expect("made");
        sweep(&place(folder.path()), &|pid, started| (pid, started) == (7, 1));
        let is_there = |name: &str| folder.path().join(name).exists();
        let left: Vec<&str> = names.into_iter().filter(|name| is_there(name)).collect();
        assert_eq!(left, ["segue-7-1-3", "segue-other", "user.slice"]);
        assert!(busy.exists());
        let own = tree::stat_of(std::process::id()).expect("it lives").started_ticks;
        assert!(is_keeper_alive(std::process::id(), own));
        assert!(!is_keeper_alive(std::process::id(), own + 1));
        assert!(!is_keeper_alive(u32::MAX, own));
    }
}
