//! A run's log, and what spans runs in SQLite.
//!
//! Owns every file of a store (`.segue/`) but the ones that keepers write: its folders and
//! their modes, run ids made unique on disk, the journal `events.jsonl` with its checksums,
//! the locks, and `segue.db`. Everything here is synchronous; who waits where is the
//! engine's affair. It knows no process, no plan's meaning and no clock.
//!
//! Reading order: [`Store`] (folders and runs), [`RunLock`] (who may write), [`Journal`]
//! and [`Syncer`] (writing), [`read`] and [`Follower`] (reading), `RunSummary` and
//! `RunEntry` (what people see of many runs), `Index` (`segue.db`: runs and groups),
//! `rebuild` (making it anew).

mod disk;
mod journal;
mod line;
mod lock;
#[expect(dead_code, reason = "the groups of segue.db, not landed yet, take byte locks")]
mod ofd;
mod reading;
mod store;

pub use disk::{IoError, network_file_system, write_atomic};
pub use journal::{Journal, JournalError, Syncer};
pub use lock::{LockError, RunLock};
pub use reading::{Follower, Reading, read};
pub use store::{FindError, RunDir, Store, StoreError};
