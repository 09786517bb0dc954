//! `segue.db`: the runs of a store at a glance, their statistics, and who holds which
//! concurrency group.
//!
//! Owns the database file: its schema, its one writing connection a process, and what
//! happens when it is damaged – it is renamed, never overwritten, and made anew from the
//! runs' journals, which stay the only truth. It decides nothing about groups
//! (`groups.rs` asks the core) and nothing about runs.
//!
//! Theory of operation. A database is always made whole under another name and renamed into
//! place, under the lock of `segue.db.lock`; so a file of that name without a schema is
//! damaged, not new. A connection notices by the file's inode that another process put a new
//! database in its place, and does its work again there: every operation is idempotent. No
//! connection deletes the write-ahead log when it closes, which might by then belong to the
//! new file.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};
use segue_core::{RunId, RunStatus};

use crate::disk::{self, IoError};
use crate::rebuild::{self, Rebuilt};
use crate::statistics::RunStatistics;
use crate::statistics_table::{self, StatisticsFilter};
use crate::summary::RunSummary;
use crate::{Store, journal, ofd};

/// The version of the schema that this build writes, in `PRAGMA user_version`.
pub(crate) const SCHEMA_VERSION: i64 = 2;

const SCHEMA: &str = "
    CREATE TABLE runs (
        run TEXT PRIMARY KEY,
        workflow TEXT NOT NULL,
        status TEXT NOT NULL,
        started_ms INTEGER NOT NULL,
        journal_bytes INTEGER NOT NULL,
        journal_ns INTEGER NOT NULL,
        summary TEXT NOT NULL
    );
    CREATE INDEX runs_by_time ON runs (started_ms);
    CREATE TABLE grants (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run TEXT NOT NULL,
        attempt TEXT NOT NULL,
        key TEXT NOT NULL,
        max INTEGER NOT NULL,
        reject INTEGER NOT NULL,
        priority INTEGER NOT NULL,
        since_ms INTEGER NOT NULL,
        granted INTEGER NOT NULL,
        UNIQUE (run, attempt)
    );
    CREATE INDEX grants_by_key ON grants (key);
";

/// How long an operation waits for other processes' transactions.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(30);

/// Up to this size a database is checked whole when it is opened (about 1 ms).
const CHECKED_BYTES_MAX: u64 = 1 << 20;

/// How often an operation follows a database that is replaced under it.
const REPLACED_TIMES_MAX: u32 = 5;

/// Why the index could not be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A newer Segue wrote it.
    #[error(
        "`{}` is of version {version}; this build reads up to {SCHEMA_VERSION}",
        path.display()
    )]
    Newer {
        /// Where it is.
        path: PathBuf,
        /// Its version.
        version: i64,
    },
    /// It was replaced again and again while it was used.
    #[error("`{}` is being replaced by another process", path.display())]
    Unsteady {
        /// Where it is.
        path: PathBuf,
    },
    /// SQLite failed: the disk is full, or another process kept it locked too long.
    #[error("failed to use `{}`: {source}", path.display())]
    Sql {
        /// Where it is.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A file could not be used.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// A database was put aside and made anew.
#[derive(Debug)]
pub struct Renamed {
    /// Where the old one is now; `None` if there was none.
    pub to: Option<PathBuf>,
    /// What the new one holds.
    pub rebuilt: Rebuilt,
}

/// Which runs to give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only of this workflow.
    pub workflow: Option<String>,
    /// Only with one of these statuses; empty is any.
    pub statuses: Vec<RunStatus>,
    /// At most so many; `None` is all.
    pub limit: Option<u32>,
}

/// A writing connection to a store's `segue.db`. One a process.
#[derive(Debug)]
pub struct Index {
    store: Store,
    path: PathBuf,
    db: Connection,
    inode: u64,
    renamed: Option<Renamed>,
}

impl Index {
    /// Opens the store's database and makes it if it is not there. A damaged one is put
    /// aside and made anew from the runs' journals; then the second value says so.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn open(store: &Store) -> Result<(Self, Option<Renamed>), IndexError> {
        let path = path_in(store);
        let lock = lock_file(store)?;
        let mut renamed = None;
        let (mut db, inode) = match connect(&path) {
            Ok(connected) => connected,
            Err(error) if is_missing(&path) || is_damage(&error) => {
                let replaced = rebuild::replace(store)?;
                renamed = replaced.to.is_some().then_some(replaced);
                connect(&path)?
            }
            Err(error) => return Err(error),
        };
        if version(&db).map_err(|source| sql(&path, source))? < SCHEMA_VERSION {
            statistics_table::migrate(store, &mut db).map_err(|source| sql(&path, source))?;
        }
        drop(lock);
        let index = Self { store: store.clone(), path, db, inode, renamed: None };
        Ok((index, renamed))
    }

    /// What happened to the database since the last call: it was found damaged during an
    /// operation, put aside and made anew. To be told to the user.
    pub fn take_renamed(&mut self) -> Option<Renamed> {
        self.renamed.take()
    }

    /// Tells the index of a run; again whenever it has changed enough to matter. `statistics`
    /// are those of a run that has ended; without them, it forgets what it had.
    ///
    /// # Errors
    /// [`IndexError`]. The run is not harmed by it: its journal is the truth.
    pub fn record_run(
        &mut self,
        summary: &RunSummary,
        statistics: Option<&RunStatistics>,
    ) -> Result<(), IndexError> {
        let stamp = Stamp::of(&self.store.run_dir(&summary.run)).unwrap_or_default();
        self.perform(|db| {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            insert_run(&transaction, summary, stamp)?;
            match statistics {
                Some(statistics) => statistics_table::insert(&transaction, statistics)?,
                None => statistics_table::remove(&transaction, &summary.run)?,
            }
            transaction.commit()
        })
    }

    /// Forgets a run that is gone; its statistics stay.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn forget_run(&mut self, run: &RunId) -> Result<(), IndexError> {
        self.perform(|db| {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("DELETE FROM runs WHERE run = ?1", [run.as_str()])?;
            transaction.execute("DELETE FROM grants WHERE run = ?1", [run.as_str()])?;
            transaction.commit()
        })
    }

    /// The statistics of ended runs, the last to end first.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn statistics(
        &mut self,
        filter: &StatisticsFilter,
    ) -> Result<Vec<RunStatistics>, IndexError> {
        self.perform(|db| statistics_table::select(db, filter))
    }

    /// The runs it was told of, newest first, as they were then: one that it has as
    /// `running` may have ended since.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn runs(&mut self, filter: &RunFilter) -> Result<Vec<RunSummary>, IndexError> {
        let words: Vec<&str> = filter.statuses.iter().map(|status| status.word()).collect();
        let limit = filter.limit.map_or(-1, i64::from);
        let statuses = serde_json::json!(words).to_string();
        self.perform(|db| {
            let mut statement = db.prepare_cached(
                "SELECT summary FROM runs
                 WHERE (?1 IS NULL OR workflow = ?1)
                   AND (?2 = '[]' OR status IN (SELECT value FROM json_each(?2)))
                 ORDER BY started_ms DESC, run DESC LIMIT ?3",
            )?;
            let rows = statement
                .query_map(params![filter.workflow, statuses, limit], |row| row.get(0))?
                .collect::<Result<Vec<String>, _>>()?;
            // A summary of a newer version that this one cannot read is passed over; the
            // journal has it.
            Ok(rows.iter().filter_map(|json| serde_json::from_str(json).ok()).collect())
        })
    }

    /// A number that grows whenever another process has changed the database: a cheap look
    /// for whoever waits in a group, before asking again.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn changes_by_others(&mut self) -> Result<i64, IndexError> {
        self.perform(|db| db.pragma_query_value(None, "data_version", |row| row.get(0)))
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// Performs an idempotent operation on the database of that name, whatever becomes of
    /// the file meanwhile.
    pub(crate) fn perform<T>(
        &mut self,
        mut operation: impl FnMut(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        for _ in 0..REPLACED_TIMES_MAX {
            if inode_of(&self.path) == Some(self.inode) {
                match operation(&mut self.db) {
                    Ok(done) if inode_of(&self.path) == Some(self.inode) => return Ok(done),
                    Ok(_) => {}
                    Err(source) => {
                        let error = IndexError::Sql { path: self.path.clone(), source };
                        if !is_damage(&error) {
                            return Err(error);
                        }
                        self.put_aside()?;
                    }
                }
            }
            let (fresh, renamed) = Self::open(&self.store)?;
            self.db = fresh.db;
            self.inode = fresh.inode;
            self.renamed = renamed.or(self.renamed.take());
        }
        Err(IndexError::Unsteady { path: self.path.clone() })
    }

    /// Replaces the damaged database, unless another process has done so.
    fn put_aside(&mut self) -> Result<(), IndexError> {
        let _lock = lock_file(&self.store)?;
        if inode_of(&self.path) == Some(self.inode) {
            self.renamed = Some(rebuild::replace(&self.store)?);
        }
        Ok(())
    }
}

/// The length and age of a run's journal, by which a summary is known to be fresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    bytes: i64,
    ns: i64,
}

impl Stamp {
    pub(crate) fn of(run_dir: &Path) -> Option<Self> {
        let found = fs::metadata(run_dir.join(journal::FILE_NAME)).ok()?;
        let ns = found.mtime().wrapping_mul(1_000_000_000).wrapping_add(found.mtime_nsec());
        Some(Self { bytes: i64::try_from(found.len()).ok()?, ns })
    }
}

/// What the index knows of all runs; nothing if it cannot be read. Makes and mends nothing.
pub(crate) fn known_runs(store: &Store) -> HashMap<RunId, (Stamp, RunSummary)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let known = || -> rusqlite::Result<HashMap<RunId, (Stamp, RunSummary)>> {
        let db = Connection::open_with_flags(path_in(store), flags)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        db.busy_timeout(BUSY_WAIT)?;
        let mut statement = db.prepare("SELECT journal_bytes, journal_ns, summary FROM runs")?;
        let rows = statement.query_map([], |row| {
            let stamp = Stamp { bytes: row.get(0)?, ns: row.get(1)? };
            Ok((stamp, row.get::<_, String>(2)?))
        })?;
        let summaries = rows.filter_map(|row| {
            let (stamp, json) = row.ok()?;
            let summary: RunSummary = serde_json::from_str(&json).ok()?;
            Some((summary.run.clone(), (stamp, summary)))
        });
        Ok(summaries.collect())
    };
    known().unwrap_or_default()
}

/// Where the store's database is.
pub(crate) fn path_in(store: &Store) -> PathBuf {
    store.root().join("segue.db")
}

/// The lock under which a database is opened or replaced; waits for it.
pub(crate) fn lock_file(store: &Store) -> Result<File, IndexError> {
    let path = store.root().join("segue.db.lock");
    let file = disk::private().open(&path).map_err(IoError::at("open", &path))?;
    ofd::lock(&file).map_err(IoError::at("lock", &path))?;
    Ok(file)
}

/// Makes an empty database at `path` that no other process knows of yet.
pub(crate) fn create(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    // Not durable while it is made: it is synced as a whole before it gets its name.
    db.pragma_update(None, "journal_mode", "OFF")?;
    db.pragma_update(None, "synchronous", "OFF")?;
    db.execute_batch(SCHEMA)?;
    db.execute_batch(statistics_table::SCHEMA)?;
    db.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(db)
}

/// Upserts a run.
pub(crate) fn insert_run(
    db: &Connection,
    summary: &RunSummary,
    stamp: Stamp,
) -> rusqlite::Result<()> {
    let json = serde_json::to_string(summary)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    db.prepare_cached(
        "INSERT INTO runs (run, workflow, status, started_ms, journal_bytes, journal_ns, summary)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (run) DO UPDATE SET status = ?3, journal_bytes = ?5, journal_ns = ?6,
             summary = ?7",
    )?
    .execute(params![
        summary.run.as_str(),
        summary.workflow,
        summary.status.word(),
        summary.started_at.unix_ms(),
        stamp.bytes,
        stamp.ns,
        json,
    ])?;
    Ok(())
}

/// Connects to a database that must be there and whole.
fn connect(path: &Path) -> Result<(Connection, u64), IndexError> {
    let sql = |source| sql(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(sql)?;
    let found = fs::metadata(path).map_err(IoError::at("read", path))?;
    let version = prepare(&db, found.len() <= CHECKED_BYTES_MAX).map_err(sql)?;
    if version > SCHEMA_VERSION {
        return Err(IndexError::Newer { path: path.to_owned(), version });
    }
    Ok((db, found.ino()))
}

pub(crate) fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn sql(path: &Path, source: rusqlite::Error) -> IndexError {
    IndexError::Sql { path: path.to_owned(), source }
}

/// Sets a connection up, and gives the database's version.
fn prepare(db: &Connection, check: bool) -> rusqlite::Result<i64> {
    db.busy_timeout(BUSY_WAIT)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let version = version(db)?;
    // Before anything is written: a file without a schema stays as it is.
    if version < 1 {
        return Err(damaged("it has no schema"));
    }
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    if check {
        let found: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            return Err(damaged(&found));
        }
    }
    Ok(version)
}

fn damaged(why: &str) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some(why.to_owned()))
}

/// Whether an error means that the file is not the database it was.
fn is_damage(error: &IndexError) -> bool {
    let IndexError::Sql { source, .. } = error else { return false };
    matches!(source.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn is_missing(path: &Path) -> bool {
    inode_of(path).is_none()
}

fn inode_of(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.ino())
}
