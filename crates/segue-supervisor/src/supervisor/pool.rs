//! Keepers: forked when none is idle, reused, told to go.
//!
//! Owns their sockets and knows which attempt each has. Whether a keeper is dead is for the wait
//! for children to say; a socket that ends only stops being listened to.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::codec::{self, StartHead, StopOrder};
use crate::keeper;
use crate::link::Link;
use crate::request::{StopMode, StopReason};
use crate::sys::{self, Epoll, Forked};
use crate::wire::Frame;

/// Most keepers at once: attempts running at the same time.
const KEEPERS_MAX: usize = 4_096;
/// Most keepers kept for later; more exit after their attempt.
const IDLE_KEEPERS_MAX: usize = 64;

/// An attempt a keeper has.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) head: StartHead,
    pub(super) started_unix_ms: u64,
    pub(super) is_recorded: bool,
}

#[derive(Debug)]
struct Slot {
    link: Link,
    is_listened_to: bool,
    /// It exits after the attempt it has.
    is_retiring: bool,
    assigned: Option<Assigned>,
    last_run: PathBuf,
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    keepers: BTreeMap<u32, Slot>,
    idle: Vec<u32>,
    owners: HashMap<(PathBuf, u64), u32>,
}

impl Pool {
    pub(super) fn is_empty(&self) -> bool {
        self.keepers.is_empty()
    }

    pub(super) fn has(&self, pid: u32) -> bool {
        self.keepers.contains_key(&pid)
    }

    pub(super) fn owner_of(&self, run_dir: &Path, number: u64) -> Option<u32> {
        self.owners.get(&(run_dir.to_owned(), number)).copied()
    }

    /// Sees to it that a keeper is idle; the error is for a person.
    pub(super) fn make_idle_keeper(&mut self, epoll: &Epoll) -> Result<(), String> {
        if !self.idle.is_empty() {
            return Ok(());
        }
        if self.keepers.len() >= KEEPERS_MAX {
            return Err(format!("{KEEPERS_MAX} attempts are running already"));
        }
        let fork = |error: std::io::Error| format!("failed to make a keeper: {error}");
        let (ours, theirs) = UnixStream::pair().map_err(fork)?;
        let link = Link::new(ours).map_err(fork)?;
        let own_pid = std::process::id();
        let pid = match sys::fork().map_err(fork)? {
            Forked::Child => keeper::run(theirs, own_pid),
            Forked::Parent { child } => child,
        };
        epoll.add(link.as_fd(), u64::from(pid));
        let slot = Slot {
            link,
            is_listened_to: true,
            is_retiring: false,
            assigned: None,
            last_run: PathBuf::new(),
        };
        self.keepers.insert(pid, slot);
        self.idle.push(pid);
        Ok(())
    }

    /// Hands a start to an idle keeper, which there has to be.
    pub(super) fn assign(&mut self, head: StartHead, frame: &[u8], epoll: &Epoll) {
        let pid = self.idle.pop().expect("make_idle_keeper went before");
        let slot = self.keepers.get_mut(&pid).expect("an idle keeper is a keeper");
        slot.last_run.clone_from(&head.run_dir);
        self.owners.insert((head.run_dir.clone(), head.number), pid);
        let started_unix_ms = sys::unix_ms();
        slot.assigned = Some(Assigned { head, started_unix_ms, is_recorded: false });
        self.send(pid, frame, epoll);
    }

    pub(super) fn send(&mut self, pid: u32, frame: &[u8], epoll: &Epoll) {
        if let Some(slot) = self.keepers.get_mut(&pid).filter(|slot| slot.is_listened_to) {
            // A keeper that is gone shows as a child that ended.
            let _ = slot.link.send(frame);
            epoll.set_if_queued(&slot.link, u64::from(pid));
        }
    }

    /// Everything a keeper has said.
    pub(super) fn hear(&mut self, pid: u32, is_writable: bool, epoll: &Epoll) -> Vec<Frame> {
        let mut frames = Vec::new();
        let Some(slot) = self.keepers.get_mut(&pid).filter(|slot| slot.is_listened_to) else {
            return frames;
        };
        if is_writable && slot.link.flush().unwrap_or(true) {
            epoll.set(slot.link.as_fd(), u64::from(pid), false);
        }
        while slot.link.fill() {}
        while let Ok(Some(frame)) = slot.link.next() {
            frames.push(frame);
        }
        if slot.link.has_ended() {
            slot.is_listened_to = false;
            epoll.remove(slot.link.as_fd());
        }
        frames
    }

    /// The keeper's attempt has its record; the run, if that is news.
    pub(super) fn mark_recorded(&mut self, pid: u32) -> Option<PathBuf> {
        let assigned = self.keepers.get_mut(&pid)?.assigned.as_mut()?;
        let is_news = !std::mem::replace(&mut assigned.is_recorded, true);
        is_news.then(|| assigned.head.run_dir.clone())
    }

    /// The keeper's attempt is over: it is idle, or closed when it `is_surplus`.
    pub(super) fn release(&mut self, pid: u32, is_surplus: bool) {
        let Some(slot) = self.keepers.get_mut(&pid) else { return };
        let Some(assigned) = slot.assigned.take() else { return };
        self.owners.remove(&(assigned.head.run_dir, assigned.head.number));
        if !slot.is_listened_to || slot.is_retiring {
            return;
        }
        self.idle.push(pid);
        if is_surplus || self.idle.len() > IDLE_KEEPERS_MAX {
            self.close(pid);
        }
    }

    /// The keeper exits by itself after the attempt it has, and gets no other: one would die with
    /// it. The run it works for.
    pub(super) fn retire(&mut self, pid: u32) -> PathBuf {
        let Some(slot) = self.keepers.get_mut(&pid) else { return PathBuf::new() };
        slot.is_retiring = true;
        slot.last_run.clone()
    }

    /// Closes the writing side of an idle keeper, which exits.
    fn close(&mut self, pid: u32) {
        self.idle.retain(|idle| *idle != pid);
        if let Some(slot) = self.keepers.get_mut(&pid).filter(|slot| slot.is_listened_to) {
            let _ = slot.link.shut_down();
        }
    }

    /// There is no engine: busy keepers are told so, idle ones go.
    pub(super) fn orphan(&mut self, orphaned: &[u8], epoll: &Epoll) {
        for pid in self.idle.clone() {
            self.close(pid);
        }
        let busy: Vec<u32> = self.keepers.keys().copied().collect();
        for pid in busy {
            self.send(pid, orphaned, epoll);
        }
    }

    /// Everything is to end: busy keepers stop their attempts, idle ones go.
    pub(super) fn stop_all(&mut self, epoll: &Epoll) {
        for pid in self.idle.clone() {
            self.close(pid);
        }
        let order = StopOrder { mode: StopMode::Graceful, reason: StopReason::Shutdown };
        let busy: Vec<(u32, StartHead)> = self
            .keepers
            .iter()
            .filter_map(|(pid, slot)| Some((*pid, slot.assigned.as_ref()?.head.clone())))
            .collect();
        for (pid, head) in busy {
            if let Ok(frame) = codec::write_stop(&head.run_dir, head.number, order) {
                self.send(pid, &frame, epoll);
            }
        }
    }

    /// The keeper has ended; the attempt it had not finished, if any.
    pub(super) fn remove(&mut self, pid: u32, epoll: &Epoll) -> Option<Assigned> {
        let slot = self.keepers.remove(&pid)?;
        self.idle.retain(|idle| *idle != pid);
        if slot.is_listened_to {
            epoll.remove(slot.link.as_fd());
        }
        let assigned = slot.assigned?;
        self.owners.remove(&(assigned.head.run_dir.clone(), assigned.head.number));
        Some(assigned)
    }
}
