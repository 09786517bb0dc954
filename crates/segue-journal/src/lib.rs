//! A run's log, and what spans runs in SQLite.
//!
//! Owns every file of a store (`.segue/`) but the ones that keepers write: its folders and
//! their modes, run ids made unique on disk, the journal `events.jsonl` with its checksums,
//! the locks, and `segue.db`. Everything here is synchronous; who waits where is the
//! engine's affair. It knows no process and no plan's meaning, and times come from outside.
//!
//! Reading order: [`Store`] (folders and runs), [`RunLock`] (who may write), [`Journal`]
//! and [`Syncer`] (writing), [`read`] and [`Follower`] (reading), [`RunSummary`] and
//! [`RunEntry`] (what people see of many runs), [`Index`] (`segue.db`: runs and groups),
//! [`rebuild`] (making it anew).

mod disk;
mod groups;
mod index;
mod journal;
mod line;
mod list;
mod lock;
mod ofd;
mod reading;
mod rebuild;
mod store;
mod summary;

pub use disk::{IoError, network_file_system, write_atomic};
pub use groups::{Asked, HolderId};
pub use index::{Index, IndexError, Renamed, RunFilter};
pub use journal::{Journal, JournalError, Syncer};
pub use list::RunEntry;
pub use lock::{LockError, RunLock};
pub use reading::{Follower, Reading, read};
pub use rebuild::{Rebuilt, rebuild};
pub use store::{FindError, RunDir, Store, StoreError};
pub use summary::{RunSummary, Summarizer, TaskCounts};
