//! A run's log, and what spans runs in SQLite.
//!
//! Owns every file of a store (`.segue/`) but the ones that keepers write: its folders and
//! their modes, run ids made unique on disk, the journal `events.jsonl` with its checksums,
//! the locks, and `segue.db`. Everything here is synchronous; who waits where is the
//! engine's affair. It knows no process and no plan's meaning, and times come from outside.
//!
//! Reading order: [`Store`] (folders and runs), [`RunLock`] (who may write), [`Journal`]
//! and [`Syncer`] (writing), [`read`] and [`Follower`] (reading), [`RunSummary`] and
//! [`RunEntry`] (what people see of many runs), [`RunStatistics`] and [`tally()`] (what they
//! say about the next one), [`Index`] (`segue.db`: runs, statistics, groups), [`rebuild`]
//! (making it anew).

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
mod remove;
mod statistics;
mod statistics_table;
mod store;
mod summary;
mod tally;

pub use disk::{IoError, network_file_system, write_atomic};
pub use groups::{Asked, HolderId};
pub use index::{Index, IndexError, Renamed, RunFilter};
pub use journal::{Journal, JournalError, Syncer};
pub use list::RunEntry;
pub use lock::{LockError, RunLock};
pub use reading::{Follower, Reading, read};
pub use rebuild::{Rebuilt, rebuild};
pub use remove::RemoveError;
pub use statistics::{RunStatistics, Statistician, TaskStatistics};
pub use statistics_table::{StatisticsFilter, peek_statistics};
pub use store::{FindError, RunDir, Store, StoreError};
pub use summary::{RunSummary, Summarizer, TaskCounts};
pub use tally::{TaskTally, WorkflowTally, history, tally};
