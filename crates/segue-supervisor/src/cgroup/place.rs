//! Where control groups may be made: found through what the kernel says of this process.
//!
//! A place is a group of the second version's hierarchy, this process's own or one above it, that
//! this user may write to and that can hand out the wanted controllers. The kernel lets a group
//! hand out controllers only if it has no processes itself, so the own group is a place only
//! where it is the hierarchy's root; what a service manager delegates is a group above
//! (`DelegateSubgroup=`, a user's slice). No group is passed on the way up that limits memory or
//! processor: an attempt would escape from that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys;

/// Which controllers a group has to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) memory: bool,
    pub(crate) cpu: bool,
}

impl Wanted {
    fn names(self) -> impl Iterator<Item = &'static str> {
        [(self.memory, "memory"), (self.cpu, "cpu")]
            .into_iter()
            .filter_map(|(is_wanted, name)| is_wanted.then_some(name))
    }
}

/// A group in which others can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    dir: PathBuf,
    /// Controllers that it does not hand out yet.
    missing: Vec<&'static str>,
}

impl Place {
    #[cfg(test)]
    pub(super) fn new(dir: PathBuf, missing: Vec<&'static str>) -> Self {
        Self { dir, missing }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the group hand out what is missing; nothing if it does so already.
    pub(super) fn enable(&self) -> io::Result<()> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let words: Vec<String> = self.missing.iter().map(|name| format!("+{name}")).collect();
        fs::write(self.dir.join("cgroup.subtree_control"), words.join(" "))
    }
}

/// What the kernel says of this process.
#[derive(Clone, Debug)]
pub(super) struct System {
    /// `/proc/self/mountinfo`.
    mounts: String,
    /// `/proc/self/cgroup`.
    own: String,
}

impl System {
    pub(super) fn of_this_process() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self { mounts: read("/proc/self/mountinfo"), own: read("/proc/self/cgroup") }
    }

    /// The mount of the hierarchy, and this process's group in it.
    fn own_group(&self) -> Option<(PathBuf, PathBuf)> {
        let (root, mount) = self.mounts.lines().find_map(mount_of)?;
        let path = self.own.lines().find_map(|line| line.strip_prefix("0::"))?;
        // A group outside of what is mounted or of the own namespace shows as `/..`.
        let below = Path::new(path).strip_prefix(&root).ok()?;
        let is_plain = below.components().all(|c| matches!(c, std::path::Component::Normal(_)));
        is_plain.then(|| (mount.clone(), mount.join(below)))
    }
}

/// Root and mount point of a line, if it is one of the second version's hierarchy.
fn mount_of(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (mount, system) = line.split_once(" - ")?;
    if system.split(' ').next()? != "cgroup2" {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    Some((unescaped(fields.next()?), unescaped(fields.next()?)))
}

/// A path as the kernel writes it: blanks, tabs, newlines and backslashes in octal.
fn unescaped(text: &str) -> PathBuf {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    codes.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain)).into()
}

/// The nearest group that can be a place. Changes nothing.
pub(super) fn find(system: &System, wanted: Wanted) -> Option<Place> {
    let (mount, own) = system.own_group()?;
    for dir in own.ancestors().take_while(|dir| dir.starts_with(&mount)) {
        if let Some(missing) = missing(dir, wanted) {
            return Some(Place { dir: dir.to_owned(), missing });
        }
        if is_limited(dir) {
            return None;
        }
    }
    None
}

/// What the group does not hand out yet and could; `None` if it is no place.
fn missing(dir: &Path, wanted: Wanted) -> Option<Vec<&'static str>> {
    let may_write = |name: &str| sys::may_write(&dir.join(name));
    // To move a process takes both ends of the way, and the lowest group above both.
    if !sys::may_write(dir) || !may_write("cgroup.procs") {
        return None;
    }
    let words = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    let (there, handed_out) = (words("cgroup.controllers"), words("cgroup.subtree_control"));
    let has = |text: &str, name: &str| text.split_whitespace().any(|word| word == name);
    if !wanted.names().all(|name| has(&there, name)) {
        return None;
    }
    let missing: Vec<_> = wanted.names().filter(|name| !has(&handed_out, name)).collect();
    let is_root = !dir.join("cgroup.type").exists();
    let is_free = is_root || words("cgroup.procs").trim().is_empty();
    (missing.is_empty() || is_free && may_write("cgroup.subtree_control")).then_some(missing)
}

/// Whether the group limits what is in it.
fn is_limited(dir: &Path) -> bool {
    ["memory.max", "memory.high", "memory.swap.max", "cpu.max"].iter().any(|name| {
        let text = fs::read_to_string(dir.join(name)).unwrap_or_default();
        text.split_whitespace().next().is_some_and(|first| first != "max")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hierarchy in a plain folder: groups with what they can and do hand out.
    struct Fake {
        folder: tempfile::TempDir,
    }

    impl Fake {
        fn new(groups: &[(&str, &str, &str, &str)]) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            for (path, controllers, handed_out, processes) in groups {
                let dir = folder.path().join("a mount").join(path);
                fs::create_dir_all(&dir).expect("made");
                let write = |name: &str, text: &str| {
                    fs::write(dir.join(name), text).expect("room");
                };
                write("cgroup.controllers", controllers);
                write("cgroup.subtree_control", handed_out);
                write("cgroup.procs", processes);
                if !path.is_empty() {
                    write("cgroup.type", "domain\n");
                }
            }
            Self { folder }
        }

        fn dir(&self, path: &str) -> PathBuf {
            self.folder.path().join("a mount").join(path)
        }

        fn system(&self, root: &str, own: &str) -> System {
            let mount = self.dir("").display().to_string().replace(' ', "\\040");
            let mounts = format!(
                "22 1 0:20 / /proc rw - proc proc rw\n\
                 31 1 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                 41 1 0:38 {root} {} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n",
                mount.trim_end_matches('/')
            );
            System { mounts, own: format!("4:memory:/elsewhere\n0::{own}\n") }
        }

        /// The place for a process in `own`, below the mount, and what is missing there.
        #[track_caller]
        fn check(&self, own: &str, wanted: Wanted, expected: Option<(&str, &[&'static str])>) {
            let found = find(&self.system("/", own), wanted);
            let expected = expected.map(|(path, missing)| Place {
                dir: self.dir(path).components().collect(),
                missing: missing.to_vec(),
            });
            assert_eq!(found, expected, "{own} {wanted:?}");
        }
    }

    const MEMORY: Wanted = Wanted { memory: true, cpu: false };
    const CPU: Wanted = Wanted { memory: false, cpu: true };
    const BOTH: Wanted = Wanted { memory: true, cpu: true };

    #[test]
    fn the_nearest_group_that_can_hand_out_the_controllers_is_the_place() {
        let fake = Fake::new(&[
            ("", "cpu memory pids\n", "cpu memory pids\n", ""),
            ("unit", "cpu memory pids\n", "", ""),
            ("unit/supervisor", "", "", "1\n2\n"),
            ("busy", "cpu memory\n", "", "1\n"),
            ("slice", "memory pids\n", "memory\n", ""),
            ("slice/scope", "memory\n", "", "1\n"),
        ]);
        fake.check("/unit/supervisor", BOTH, Some(("unit", &["memory", "cpu"])));
        fake.check("/unit/supervisor", CPU, Some(("unit", &["cpu"])));
        // The group itself has processes, so it can hand out nothing: the one above does.
        fake.check("/busy", BOTH, Some(("", &[])));
        fake.check("/slice/scope", MEMORY, Some(("slice", &[])));
        fake.check("/slice/scope", CPU, Some(("", &[])));
        fake.check("/", CPU, Some(("", &[])));
        let place = find(&fake.system("/", "/unit/supervisor"), BOTH).expect("as above");
        place.enable().expect("written");
        let written = fs::read_to_string(fake.dir("unit/cgroup.subtree_control"));
        assert_eq!(written.expect("it is there"), "+memory +cpu");
    }

    #[test]
    fn no_limit_is_left_behind() {
        let fake = Fake::new(&[
            ("", "cpu memory\n", "cpu memory\n", ""),
            ("unit", "cpu memory\n", "", "1\n"),
        ]);
        let file = fake.dir("unit/memory.max");
        for (text, is_place) in [("max\n", true), ("1073741824\n", false)] {
            fs::write(&file, text).expect("room");
            fake.check("/unit", CPU, is_place.then_some(("", &[])));
        }
        fs::write(file, "max\n").expect("room");
        fs::write(fake.dir("unit/cpu.max"), "200000 100000\n").expect("room");
        fake.check("/unit", MEMORY, None);
    }

    #[test]
    fn without_a_hierarchy_or_outside_of_it_there_is_no_place() {
        let fake = Fake::new(&[("", "cpu memory\n", "cpu memory\n", "")]);
        let none =
            System { mounts: "22 1 0:20 / /proc rw - proc proc rw\n".into(), own: "0::/\n".into() };
        assert_eq!(find(&none, MEMORY), None);
        assert_eq!(find(&fake.system("/", "/../other"), MEMORY), None);
        assert_eq!(find(&fake.system("/docker/1", "/other"), MEMORY), None);
        let own = System { own: "4:memory:/elsewhere\n".into(), ..fake.system("/", "/") };
        assert_eq!(find(&own, MEMORY), None, "only the first version");
        // A part of the hierarchy is mounted, such as in a container.
        assert!(find(&fake.system("/docker/1", "/docker/1"), BOTH).is_some());
        let poor = Fake::new(&[("", "hugetlb\n", "", "")]);
        poor.check("/", MEMORY, None);
    }
}
