//! Whether there is disk enough for another attempt.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use segue_core::{Millis, Plan, Timestamp};

/// How long one look holds.
const LOOK_HOLDS: Millis = Millis(1000);

/// Looks at the free disk under a run's folder, at most once a second.
#[derive(Debug)]
pub(crate) struct FreeDisk {
    path: PathBuf,
    bytes_min: u64,
    looked: Option<(Timestamp, u64)>,
}

impl FreeDisk {
    pub(crate) fn new(run_dir: &Path, plan: &Plan) -> Self {
        Self { path: run_dir.to_owned(), bytes_min: plan.limits.min_free_disk_bytes, looked: None }
    }

    /// Says in one line why nothing may start.
    pub(crate) fn check(&mut self, now: Timestamp) -> Result<(), String> {
        let stale = self.looked.is_none_or(|(at, _)| now.since(at) >= LOOK_HOLDS);
        if stale {
            // A file system that cannot be asked does not hold anything back.
            let free = statvfs(&self.path)
                .map_or(u64::MAX, |stat| stat.blocks_available() * stat.fragment_size());
            self.looked = Some((now, free));
        }
        let free = self.looked.map_or(u64::MAX, |(_, free)| free);
        if free >= self.bytes_min {
            return Ok(());
        }
        let mib = |bytes: u64| bytes >> 20;
        Err(format!(
            "free disk of {} MiB is below `min_free_disk` of {} MiB",
            mib(free),
            mib(self.bytes_min)
        ))
    }
}
